/* SPDX-License-Identifier: MIT */
/* work.c: arrays of arguments and of results, for flows. Which item is whose says its
 * index alone, so results may come in any order. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "pool/flow.h"

int cvy_work_pull(struct cvy_work *work, struct cvy_item *ret_item)
{
    if (work->next == work->n)
        return COVEY_EEND;
    ret_item->cookie = (struct cvy_cookie){work, work->next, work->given};
    if (work->views) {
        ret_item->parts = work->views + work->next * cvy_max_u64(work->width, 1);
    } else {
        work->view = COVEY_VIEW(work->in ? work->in + work->next * work->in_size : NULL,
                                work->in_size);
        ret_item->parts = &work->view;
    }
    work->next++;
    return 1;
}

/* Returns: 0, or why the result cannot be kept, with a text. */
static int keep_result(struct cvy_work *work, uint64_t index, struct covey_view result,
                       char *text, size_t size)
{
    if (work->bytes) {
        if (covey_bytes_resize(&work->bytes[index], result.size) < 0) {
            (void)snprintf(text, size, "no memory for its result of %zu bytes",
                           result.size);
            return -ENOMEM;
        }
        if (result.size)
            memcpy(work->bytes[index].data, result.data, result.size);
        return 0;
    }
    if (!work->out_size)
        return 0;
    if (result.size != work->out_size) {
        (void)snprintf(text, size, "the result has %zu bytes where %zu are wanted",
                       result.size, work->out_size);
        return -EMSGSIZE;
    }
    memcpy(work->out + index * work->out_size, result.data, result.size);
    return 0;
}

static void clear_result(struct cvy_work *work, uint64_t index)
{
    if (work->bytes)
        work->bytes[index].size = 0;
    else if (work->out_size)
        memset(work->out + index * work->out_size, 0, work->out_size);
}

static void note(struct cvy_work *work, uint64_t index, uint8_t outcome, int code,
                 const char *text)
{
    work->done++;
    if (work->outcomes)
        work->outcomes[index] = outcome;
    if (outcome == COVEY_OUTCOME_OK)
        return;
    work->sum.failed++;
    clear_result(work, index);
    if (work->sum.failed > 1 && index > work->sum.first_failed)
        return;
    work->sum.first_failed = (size_t)index;
    work->first_outcome = outcome;
    work->first_code = code;
    (void)snprintf(work->first_text, sizeof work->first_text, "%s", text);
}

void cvy_work_put(struct cvy_work *work, uint64_t index, const struct cvy_done *done)
{
    char text[CVY_POOL_TEXT] = "";
    uint8_t outcome = done->outcome;
    int code = done->code;
    if (outcome == COVEY_OUTCOME_OK) {
        code = keep_result(work, index, done->result, text, sizeof text);
        if (code < 0)
            outcome = COVEY_OUTCOME_ERROR;
    }
    const struct cvy_pool_attempts *attempt = &done->attempt;
    if (attempt->deaths) {
        bool lost = outcome == COVEY_OUTCOME_CRASHED;
        work->sum.crashes += attempt->deaths;
        work->sum.retried += attempt->deaths - lost;
        if (!work->sum.text[0] && attempt->text)
            (void)snprintf(work->sum.text, sizeof work->sum.text, "item %llu: %.220s",
                           (unsigned long long)index, attempt->text);
    }
    note(work, index, outcome, code, text[0] ? text : done->text);
}

void cvy_work_skip(struct cvy_work *work, enum covey_outcome outcome)
{
    int code = outcome == COVEY_OUTCOME_LOST ? COVEY_EBROKEN : -ECANCELED;
    while (work->next < work->n)
        note(work, work->next++, (uint8_t)outcome, code,
             cvy_outcome_text((uint8_t)outcome));
}

int cvy_work_judge(struct cvy_work *work)
{
    work->sum.ok = (size_t)(work->n - work->sum.failed);
    if (!work->sum.failed) {
        work->sum.first_failed = SIZE_MAX;
        return 0;
    }
    (void)snprintf(work->sum.text, sizeof work->sum.text, "item %zu: %.220s",
                   work->sum.first_failed, work->first_text);
    if (work->n == 1)
        return cvy_fail(work->first_code, "%s: %s", work->call, work->first_text);
    return cvy_fail(work->first_code, "%s: of %llu items, item %zu: %s", work->call,
                    (unsigned long long)work->n, work->sum.first_failed,
                    work->first_text);
}

/* ---- as an exchange ---- */

static int pull(void *ctx, struct cvy_item *ret_item)
{
    return cvy_work_pull(ctx, ret_item);
}

static void put(void *ctx, const struct cvy_done *done)
{
    cvy_work_put(ctx, done->cookie.index, done);
}

static void drop(void *ctx, enum covey_outcome outcome, bool held)
{
    struct cvy_work *work = ctx;
    work->next -= held;
    cvy_work_skip(work, outcome);
}

static void tell(void *ctx, uint64_t *ret_done, uint64_t *ret_total)
{
    const struct cvy_work *work = ctx;
    *ret_done = work->done;
    *ret_total = work->n;
}

/* Why not every item went its way, if it is the pool's doing. */
static int judge(struct cvy_work *work, const struct cvy_map *map, int r)
{
    const struct cvy_pool *pool = map->pool;
    if (r < 0)
        (void)snprintf(work->sum.text, sizeof work->sum.text, "%s",
                       covey_error_detail());
    else
        r = cvy_work_judge(work);
    if (work->first_outcome == COVEY_OUTCOME_CANCELLED && r == -ECANCELED &&
        cvy_bounds_canceled(&map->bounds))
        r = cvy_fail(-ECANCELED, "%s: item %zu of %llu: its caller was asked to end",
                     work->call, work->sum.first_failed, (unsigned long long)work->n);
    else if (work->first_outcome == COVEY_OUTCOME_CANCELLED && r == -ECANCELED)
        r = cvy_fail(-ETIMEDOUT,
                     "%s: item %zu of %llu had not begun when the time was over",
                     work->call, work->sum.first_failed, (unsigned long long)work->n);
    if (map->give_up && pool->closing)
        r = cvy_fail(COVEY_EFREED, "%s: the pool was freed meanwhile", work->call);
    else if (map->give_up && work->sum.failed)
        r = cvy_fail(COVEY_EBROKEN, "%s: workers keep dying: %s", work->call,
                     pool->cause);
    return r;
}

static int finish(void *ctx, struct cvy_map *map, int r)
{
    struct cvy_work *work = ctx;
    const struct covey_map_opts *opts = work->opts;
    r = judge(work, map, r);
    if (opts->summary)
        *opts->summary = work->sum;
    if (opts->progress)
        opts->progress(opts->progress_ctx, (size_t)work->n, (size_t)work->n);
    return r;
}

const struct cvy_exchange cvy_arrays = {
    .pull = pull, .put = put, .drop = drop, .tell = tell, .close = finish};
