/* SPDX-License-Identifier: MIT */
/* The caller's part of test_pool_matrix: the same few items given to a pool by each kind of
 * submission, and what came of each of them in the terms of one outcome per item. */
#ifndef TESTS_POOL_KINDS_H
#define TESTS_POOL_KINDS_H

#include "pool_matrix.h"

struct limits {
    covey_nsec time;   /* of each item */
    uint64_t memory;   /* of each item */
    bool is_cancelled; /* as soon as something happened, in the kind's own way */
};

/* One submission. */
struct call {
    covey_pool *pool;
    struct stage *stage;
    struct limits limits;
    const struct kind *kind;
    struct item items[ITEMS];
    size_t fed; /* items that were read, of an input */
    int code;   /* of the call; of several, the first that is not 0 */
    char text[512];
    enum covey_outcome outcomes[ITEMS];
    uint64_t values[ITEMS];
    struct covey_map_summary sum;    /* of kinds that have one */
    struct covey_task_report report; /* of kinds that have one; strings are gone */
};

typedef void kind_fn(struct call *call);

struct kind {
    const char *name;
    kind_fn *submit;
    bool is_chunked;  /* items one by one: none waits behind another */
    bool has_summary; /* `sum` is filled */
    bool has_report;  /* `report` is filled for what is not OK */
};

/* ---- what came of it -------------------------------------------------------------- */

static enum covey_outcome outcome_of(int code)
{
    switch (code) {
    case 0:
        return COVEY_OUTCOME_OK;
    case COVEY_ECRASHED:
        return COVEY_OUTCOME_CRASHED;
    case -ETIMEDOUT:
        return COVEY_OUTCOME_TIMEOUT;
    case -ENOMEM:
        return COVEY_OUTCOME_MEMORY;
    case -ECANCELED:
    case COVEY_EFREED:
    case COVEY_ECLOSED:
        return COVEY_OUTCOME_CANCELLED;
    case COVEY_EBROKEN:
        return COVEY_OUTCOME_LOST;
    default:
        return COVEY_OUTCOME_ERROR;
    }
}

static void note_code(struct call *call, int code)
{
    if (code >= 0 || call->code)
        return;
    call->code = code;
    snprintf(call->text, sizeof call->text, "%s", covey_error_detail());
}

static uint64_t value_in(const struct covey_bytes *bytes)
{
    uint64_t value = 0;
    if (bytes->size == sizeof value)
        memcpy(&value, bytes->data, sizeof value);
    return value;
}

static void note_item(struct call *call, uint64_t i, int code,
                      const struct covey_bytes *bytes)
{
    CHECK_LT(i, ITEMS);
    CHECK_EQ(call->outcomes[i], COVEY_OUTCOME_NONE); /* no result comes twice */
    note_code(call, code);
    call->outcomes[i] = outcome_of(code);
    call->values[i] = code < 0 ? 0 : value_in(bytes);
}

static void note_all(struct call *call, int code,
                     const unsigned char outcomes[static ITEMS])
{
    note_code(call, code);
    for (size_t i = 0; i < ITEMS; i++)
        call->outcomes[i] = (enum covey_outcome)outcomes[i];
}

/* ---- kinds ------------------------------------------------------------------------ */

/* How long after its begin a call that waits ends early. */
static covey_nsec timeout_of(const struct call *call)
{
    return call->limits.is_cancelled ? COVEY_MSEC(20) : 0;
}

/* One after the other. A pool that is broken or ended is asked only once: the first takes
 * its time. */
static void by_apply(struct call *call)
{
    struct covey_bytes bytes = {0};
    for (size_t i = 0; i < ITEMS; i++) {
        if (call->code == COVEY_EBROKEN || call->code == COVEY_EFREED) {
            call->outcomes[i] = outcome_of(call->code);
            continue;
        }
        bytes.size = 0;
        int r = covey_pool_apply(call->pool, act, COVEY_VIEW_OF(call->items[i]), &bytes,
                                 COVEY_TASK_OPTS(.time_limit = call->limits.time,
                                                 .memory_limit = call->limits.memory,
                                                 .timeout = timeout_of(call)));
        note_item(call, i, r, &bytes);
    }
    covey_bytes_free(&bytes);
}

static void by_map(struct call *call)
{
    unsigned char outcomes[ITEMS];
    memset(outcomes, COVEY_OUTCOME_CANCELLED, sizeof outcomes); /* if it is refused */
    int r = covey_pool_map(
        call->pool, act, call->items, sizeof *call->items, call->values,
        sizeof *call->values, ITEMS,
        COVEY_MAP_OPTS(.chunksize = 1, .outcomes = outcomes, .summary = &call->sum,
                       .timeout = timeout_of(call), .time_limit = call->limits.time,
                       .memory_limit = call->limits.memory));
    note_all(call, r, outcomes);
}

static void by_starmap(struct call *call)
{
    unsigned char outcomes[ITEMS];
    struct covey_view in[2 * ITEMS];
    struct covey_bytes out[ITEMS] = {{0}};
    memset(outcomes, COVEY_OUTCOME_CANCELLED, sizeof outcomes);
    for (size_t i = 0; i < ITEMS; i++) {
        in[2 * i] = COVEY_VIEW_OF(call->items[i].stage);
        in[2 * i + 1] = COVEY_VIEW_OF(call->items[i].number);
    }
    int r = covey_pool_starmap(
        call->pool, act, in, 2, out, ITEMS,
        COVEY_MAP_OPTS(.chunksize = 1, .outcomes = outcomes, .summary = &call->sum,
                       .timeout = timeout_of(call), .time_limit = call->limits.time,
                       .memory_limit = call->limits.memory));
    note_all(call, r, outcomes);
    for (size_t i = 0; i < ITEMS; i++) {
        call->values[i] = value_in(&out[i]);
        covey_bytes_free(&out[i]);
    }
}

static int next_item(void *context, struct covey_view *ret_item)
{
    struct call *call = context;
    if (call->fed == ITEMS)
        return 0;
    *ret_item = COVEY_VIEW_OF(call->items[call->fed]);
    call->fed++;
    return 1;
}

/* What the pool's end keeps from being read, and what is not read, is CANCELLED. */
static void read_all(struct call *call, covey_iterator *it, bool ordered)
{
    struct covey_bytes bytes = {0};
    for (uint64_t read = 0; !call->limits.is_cancelled; read++) {
        uint64_t i = 0;
        int r = covey_iterator_next(it, &bytes, COVEY_FOREVER);
        if (r == COVEY_EEND)
            break;
        if (r == COVEY_EFREED) {
            note_code(call, r);
            break;
        }
        CHECK_OK(covey_iterator_index(it, &i));
        if (ordered)
            CHECK_EQ(i, read);
        note_item(call, i, r, &bytes);
    }
    covey_bytes_free(&bytes);
    for (size_t i = 0; i < ITEMS; i++)
        if (!call->outcomes[i])
            call->outcomes[i] = COVEY_OUTCOME_CANCELLED;
}

static void iterate(struct call *call, bool ordered)
{
    covey_iterator *it = NULL;
    struct covey_imap_opts *opts =
        COVEY_IMAP_OPTS(.chunksize = 1, .time_limit = call->limits.time,
                        .memory_limit = call->limits.memory);
    call->fed = 0;
    CHECK_OK(ordered ? covey_pool_imap(&it, call->pool, act, next_item, call, opts)
                     : covey_pool_imap_unordered(&it, call->pool, act, next_item, call,
                                                 opts));
    if (call->limits.is_cancelled)
        family_await(&call->stage->happened, 1);
    read_all(call, it, ordered);
    covey_iterator_free(it);
}

static void by_imap(struct call *call)
{
    iterate(call, true);
}

static void by_imap_unordered(struct call *call)
{
    iterate(call, false);
}

static void by_async(struct call *call)
{
    covey_result *results[ITEMS] = {NULL};
    struct covey_bytes bytes = {0};
    for (size_t i = 0; i < ITEMS; i++)
        CHECK_OK(covey_pool_apply_async(
            &results[i], call->pool, act, COVEY_VIEW_OF(call->items[i]),
            COVEY_TASK_OPTS(.time_limit = call->limits.time,
                            .memory_limit = call->limits.memory)));
    if (call->limits.is_cancelled)
        family_await(&call->stage->happened, 1);
    for (size_t i = 0; call->limits.is_cancelled && i < ITEMS; i++)
        CHECK_OK(covey_result_cancel(results[i], 1));
    for (size_t i = 0; i < ITEMS; i++) {
        bytes.size = 0;
        int before = call->code;
        int r = covey_result_get(results[i], &bytes, COVEY_FOREVER);
        note_item(call, i, r, &bytes);
        if (before != call->code)
            CHECK_OK(covey_result_report(results[i], &call->report));
        covey_result_free(results[i]);
    }
    covey_bytes_free(&bytes);
}

static const struct kind kinds[] = {
    {"apply", by_apply, false, false, false},
    {"map", by_map, true, true, false},
    {"imap", by_imap, true, false, false},
    {"imap_unordered", by_imap_unordered, true, false, false},
    {"starmap", by_starmap, true, true, false},
    {"async", by_async, false, false, true},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static inline struct call new_call(covey_pool *pool, struct stage *stage,
                                   const struct kind *kind)
{
    struct call call = {.pool = pool, .stage = stage, .kind = kind};
    for (size_t i = 0; i < ITEMS; i++)
        call.items[i] = (struct item){stage, i};
    return call;
}

#endif
