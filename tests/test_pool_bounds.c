/* SPDX-License-Identifier: MIT */
/* The time that tasks have, and what tasks in tasks have from those outside of them. */
#include "pool_help.h"

#include <covey.h>

#define LONG COVEY_SEC(1000)

/* ---- what a task knows ---------------------------------------------------------- */

static int task_time_left(struct covey_call *call)
{
    covey_nsec left = covey_call_time_left(call);
    return covey_call_return(call, &left, sizeof left);
}

static covey_nsec take_time(struct covey_bytes *bytes)
{
    covey_nsec left;
    CHECK_EQ(bytes->size, sizeof left);
    memcpy(&left, bytes->data, sizeof left);
    covey_bytes_free(bytes);
    return left;
}

static covey_nsec left_in_apply(covey_pool *pool, const struct covey_task_opts *opts)
{
    struct covey_bytes bytes = {0};
    CHECK_OK(covey_pool_apply(pool, task_time_left, COVEY_NO_VIEW, &bytes, opts));
    return take_time(&bytes);
}

static covey_nsec left_in_apply_async(covey_pool *pool,
                                      const struct covey_task_opts *opts)
{
    covey_result *result = NULL;
    struct covey_bytes bytes = {0};
    CHECK_OK(
        covey_pool_apply_async(&result, pool, task_time_left, COVEY_NO_VIEW, opts));
    CHECK_OK(covey_result_get(result, &bytes, COVEY_FOREVER));
    covey_result_free(result);
    return take_time(&bytes);
}

static covey_nsec left_in_map(covey_pool *pool, const struct covey_task_opts *opts)
{
    covey_nsec left[2];
    CHECK_OK(covey_pool_map(pool, task_time_left, NULL, 0, left, sizeof *left, 2,
                            COVEY_MAP_OPTS(.timeout = opts->timeout,
                                           .time_limit = opts->time_limit,
                                           .detached = opts->detached)));
    return left[1];
}

static covey_nsec left_in_map_async(covey_pool *pool,
                                    const struct covey_task_opts *opts)
{
    covey_result *result = NULL;
    covey_nsec left[2];
    CHECK_OK(covey_pool_map_async(
        &result, pool, task_time_left, NULL, 0, left, sizeof *left, 2,
        COVEY_MAP_OPTS(.timeout = opts->timeout, .time_limit = opts->time_limit,
                       .detached = opts->detached)));
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    covey_result_free(result);
    return left[1];
}

static covey_nsec left_in_starmap(covey_pool *pool, const struct covey_task_opts *opts)
{
    struct covey_bytes bytes = {0};
    struct covey_view parts[2] = {text_view("a"), text_view("b")};
    CHECK_OK(covey_pool_starmap(pool, task_time_left, parts, 2, &bytes, 1,
                                COVEY_MAP_OPTS(.timeout = opts->timeout,
                                               .time_limit = opts->time_limit,
                                               .detached = opts->detached)));
    return take_time(&bytes);
}

static int once(void *ctx, struct covey_view *ret_item)
{
    *ret_item = COVEY_NO_VIEW;
    return (*(int *)ctx)-- > 0;
}

/* Its items have no deadline together. */
static covey_nsec left_in_imap(covey_pool *pool, const struct covey_task_opts *opts)
{
    covey_iterator *it = NULL;
    int items = 1;
    struct covey_bytes bytes = {0};
    CHECK_OK(covey_pool_imap(&it, pool, task_time_left, once, &items,
                             COVEY_IMAP_OPTS(.time_limit = opts->time_limit
                                                               ? opts->time_limit
                                                               : opts->timeout,
                                             .detached = opts->detached)));
    CHECK_OK(covey_iterator_next(it, &bytes, COVEY_FOREVER));
    covey_iterator_free(it);
    return take_time(&bytes);
}

static covey_nsec (*const ways[])(covey_pool *, const struct covey_task_opts *) = {
    left_in_apply,     left_in_apply_async, left_in_map,
    left_in_map_async, left_in_starmap,     left_in_imap,
};
enum { WAYS = sizeof ways / sizeof *ways };

static void is_within(covey_nsec left, covey_nsec most)
{
    CHECK_GT(left, most / 2); /* nothing here takes minutes */
    CHECK_LE(left, most);
}

TEST_EACH_METHOD_AND_THREAD(a_task_knows_how_long_it_may_run)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    for (int i = 0; i < WAYS; i++) {
        CHECK_EQ(ways[i](pool, COVEY_TASK_OPTS(.timeout = 0)), COVEY_FOREVER);
        is_within(ways[i](pool, COVEY_TASK_OPTS(.timeout = LONG)), LONG);
        is_within(ways[i](pool, COVEY_TASK_OPTS(.time_limit = LONG)), LONG);
        is_within(
            ways[i](pool, COVEY_TASK_OPTS(.timeout = 4 * LONG, .time_limit = LONG)),
            LONG);
        CHECK_EQ(ways[i](pool, COVEY_TASK_OPTS(.timeout = 0)), COVEY_FOREVER);
    }
    covey_pool_free(pool);
}

/* ---- what tasks in tasks have ---------------------------------------------------- */

struct order {
    struct shared *s;
    int depth, way;
};

/* What the innermost one has: detached or with less time where `way` says so. */
static int ask_below(struct covey_call *call)
{
    const struct order *order = covey_call_arg(call, NULL);
    struct order next = {order->s, order->depth - 1, order->way};
    struct covey_bytes bytes = {0};
    covey_nsec left;
    covey_pool *pool = NULL;
    CHECK_OK(covey_pool_create(&pool, 1, NULL));
    if (order->depth > 1) {
        CHECK_OK(covey_pool_apply(pool, ask_below, COVEY_VIEW_OF(next), &bytes, NULL));
        left = take_time(&bytes);
    } else {
        int way = order->way % WAYS, kind = order->way / WAYS;
        struct covey_task_opts opts = {.size = sizeof opts};
        opts.timeout = kind == 1 ? LONG / 10 : kind == 2 ? 10 * LONG : 0;
        opts.detached = kind == 3 ? COVEY_ON : COVEY_UNSET;
        left = ways[way](pool, &opts);
    }
    covey_pool_free(pool);
    return covey_call_return(call, &left, sizeof left);
}

static covey_nsec asked_below(covey_pool *pool, int depth, int way, covey_nsec timeout)
{
    struct order order = {NULL, depth, way};
    struct covey_bytes bytes = {0};
    CHECK_OK(covey_pool_apply(pool, ask_below, COVEY_VIEW_OF(order), &bytes,
                              COVEY_TASK_OPTS(.timeout = timeout)));
    return take_time(&bytes);
}

TEST_EACH_METHOD_AND_THREAD(a_task_in_a_task_has_no_more_time)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    for (int way = 0; way < WAYS; way++) {
        is_within(asked_below(pool, 1, way, LONG), LONG);
        is_within(asked_below(pool, 1, way + WAYS, LONG), LONG / 10);
        is_within(asked_below(pool, 1, way + 2 * WAYS, LONG), LONG);
        CHECK_EQ(asked_below(pool, 1, way + 3 * WAYS, LONG), COVEY_FOREVER);
        CHECK_EQ(asked_below(pool, 1, way, 0), COVEY_FOREVER);
    }
    is_within(asked_below(pool, 3, 0, LONG), LONG);
    covey_pool_free(pool);
}

/* ---- the time is over ------------------------------------------------------------- */

static int hang_in_apply(covey_pool *pool)
{
    return covey_pool_apply(pool, task_block, COVEY_NO_VIEW, NULL, NULL);
}

static int hang_in_map(covey_pool *pool)
{
    return covey_pool_map(pool, task_block, NULL, 0, NULL, 0, 3, NULL);
}

static int hang_in_map_bytes(covey_pool *pool)
{
    struct covey_view items[3] = {{0}};
    struct covey_bytes out[3] = {{0}};
    return covey_pool_map_bytes(pool, task_block, items, out, 3, NULL);
}

static int hang_in_result(covey_pool *pool)
{
    covey_result *result = NULL;
    CHECK_OK(covey_pool_apply_async(&result, pool, task_block, COVEY_NO_VIEW, NULL));
    int r = covey_result_get(result, NULL, COVEY_FOREVER);
    covey_result_free(result);
    return r;
}

static int hang_in_iterator(covey_pool *pool)
{
    covey_iterator *it = NULL;
    int items = 3;
    CHECK_OK(covey_pool_imap(&it, pool, task_block, once, &items, NULL));
    int r = covey_iterator_next(it, NULL, COVEY_FOREVER);
    covey_iterator_free(it);
    return r;
}

static int (*const hangs[])(covey_pool *) = {
    hang_in_apply, hang_in_map, hang_in_map_bytes, hang_in_result, hang_in_iterator,
};

/* Tells what the call says that would last for ever. */
static int wait_below(struct covey_call *call)
{
    const int *way = covey_call_arg(call, NULL);
    covey_pool *pool = NULL;
    CHECK_OK(covey_pool_create(&pool, 1, NULL));
    int r = hangs[*way](pool);
    bool over = covey_call_time_left(call) == COVEY_NOWAIT;
    covey_pool_free(pool);
    CHECK(over);
    return covey_call_return(call, &r, sizeof r);
}

/* A thread cannot be ended, so it depends on the end of what it waits for. */
TEST(a_thread_gets_on_when_its_time_is_over)
{
    covey_pool *pool = pool_with(1, COVEY_POOL_OPTS(.method = COVEY_THREAD));
    for (int way = 0; way < (int)(sizeof hangs / sizeof *hangs); way++) {
        struct covey_bytes bytes = {0};
        covey_result *result = NULL;
        CHECK_OK(
            covey_pool_apply_async(&result, pool, wait_below, COVEY_VIEW_OF(way),
                                   COVEY_TASK_OPTS(.time_limit = COVEY_MSEC(100))));
        (void)covey_result_get(result, &bytes, COVEY_FOREVER);
        struct covey_task_report report;
        CHECK_OK(covey_result_report(result, &report));
        CHECK_EQ(report.outcome, COVEY_OUTCOME_OK);
        CHECK_EQ(*(int *)bytes.data, -ETIMEDOUT);
        covey_bytes_free(&bytes);
        covey_result_free(result);
    }
    covey_pool_free(pool);
}

static int count_run(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    atomic_fetch_add(&(*s)->ended, 1);
    return 0;
}

/* ---- asked to end ----------------------------------------------------------------- */

/* One worker: the first one hangs until it is asked to end, the others wait behind it. */
static void hang_and_queue(struct shared *s, covey_pool *pool, int codes[3])
{
    covey_result *results[3];
    for (int i = 0; i < 3; i++)
        CHECK_OK(covey_pool_apply_async(
            &results[i], pool, i ? count_run : task_hang_told, COVEY_VIEW_OF(s), NULL));
    for (int i = 0; i < 3; i++) {
        codes[i] = covey_result_get(results[i], NULL, COVEY_FOREVER);
        covey_result_free(results[i]);
    }
}

static int hang_below(struct covey_call *call)
{
    const struct order *order = covey_call_arg(call, NULL);
    struct order next = {order->s, order->depth - 1, order->way};
    struct shared *args[3] = {order->s, order->s, order->s};
    int codes[3] = {0};
    struct covey_bytes bytes = {0};
    covey_pool *pool = NULL;
    CHECK_OK(covey_pool_create(&pool, 1, NULL));
    if (order->depth > 1) {
        codes[0] =
            covey_pool_apply(pool, hang_below, COVEY_VIEW_OF(next), &bytes, NULL);
        if (codes[0] == 0)
            memcpy(codes, bytes.data, sizeof codes);
        covey_bytes_free(&bytes);
    } else if (order->way == 0) {
        hang_and_queue(order->s, pool, codes);
    } else if (order->way == 1) {
        codes[0] = covey_pool_map(pool, task_hang_told, args, sizeof *args, NULL, 0, 3,
                                  COVEY_MAP_OPTS(.chunksize = 1));
    } else {
        struct covey_view views[3] = {COVEY_VIEW_OF(args[0]), COVEY_VIEW_OF(args[1]),
                                      COVEY_VIEW_OF(args[2])};
        codes[0] = covey_pool_map_bytes(pool, task_hang_told, views, NULL, 3, NULL);
    }
    covey_pool_free(pool);
    CHECK_EQ(covey_call_cancelled(call), 1);
    return covey_call_return(call, codes, sizeof codes);
}

/* What a task gave that was asked to end when `s` had told that it may be. */
static void ask_to_end(covey_task_fn *fn, struct covey_view arg, struct shared *s,
                       int codes[3])
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    covey_result *result = NULL;
    struct covey_bytes bytes = {0};
    CHECK_OK(covey_pool_apply_async(&result, pool, fn, arg, NULL));
    await_count(&s->begun, 1);
    CHECK_OK(covey_result_cancel(result, 0));
    CHECK_OK(covey_result_get(result, &bytes, COVEY_SEC(60)));
    CHECK_EQ(bytes.size, 3 * sizeof *codes);
    memcpy(codes, bytes.data, bytes.size);
    covey_bytes_free(&bytes);
    covey_result_free(result);
    covey_pool_free(pool);
}

static void check_asked(int depth, int way)
{
    struct shared *s = share();
    struct order order = {s, depth, way};
    int codes[3];
    ask_to_end(hang_below, COVEY_VIEW_OF(order), s, codes);
    CHECK_EQ(codes[0], COVEY_EREMOTE); /* it said that it was asked to end */
    for (int i = 1; i < 3 && way == 0; i++)
        CHECK_EQ(codes[i], -ECANCELED);
    CHECK_EQ(atomic_load(&s->ended), 0);
}

TEST_EACH_METHOD_AND_THREAD(a_task_that_is_asked_to_end_asks_its_own)
{
    for (int way = 0; way < 3; way++)
        check_asked(1, way);
    check_asked(2, 0);
    check_asked(3, 1);
}

/* Submits when it has been asked to end: one that is detached, and two others. */
static int submit_late(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    const struct covey_task_opts *detached = COVEY_TASK_OPTS(.detached = COVEY_ON);
    uint64_t in[2] = {1, 2}, out[2];
    int codes[3];
    covey_pool *pool = NULL;
    CHECK_OK(covey_pool_create(&pool, 1, NULL));
    family_tell(&(*s)->begun);
    while (!covey_call_cancelled(call))
        cvy_os_yield();
    codes[0] = covey_pool_apply(pool, task_echo, text_view("x"), NULL, detached);
    codes[1] = covey_pool_apply(pool, task_echo, text_view("x"), NULL, NULL);
    CHECK_STR_HAS(covey_error_detail(), "its caller was asked to end");
    codes[2] = covey_pool_map(pool, task_square, in, 8, out, 8, 2, NULL);
    covey_pool_free(pool);
    return covey_call_return(call, codes, sizeof codes);
}

TEST_EACH_METHOD_AND_THREAD(only_a_detached_task_begins_after_the_request)
{
    struct shared *s = share();
    int codes[3];
    ask_to_end(submit_late, COVEY_VIEW_OF(s), s, codes);
    CHECK_EQ(codes[0], 0);
    CHECK_EQ(codes[1], -ECANCELED);
    CHECK_EQ(codes[2], -ECANCELED);
}

static int tell_time_left(struct covey_view arg)
{
    covey_pool *pool = pool_with(1, NULL);
    bool free = left_in_apply(pool, NULL) == COVEY_FOREVER;
    covey_pool_free(pool);
    shared_of(arg)->numbers[0] = free;
    return 0;
}

static int start_process(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    CHECK_NE(covey_call_time_left(call), COVEY_FOREVER);
    covey_process *p =
        started(tell_time_left, COVEY_VIEW_OF(*s),
                COVEY_PROCESS_OPTS(.method = COVEY_FORK, .children = COVEY_ON));
    CHECK_EQ(exitcode_of(p), 0);
    covey_process_free(p);
    return 0;
}

/* It may go on when the task has ended, and another one has taken its place. */
TEST_EACH_METHOD(a_process_of_a_task_has_its_own_time)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(1, POOL_OPTS());
    CHECK_OK(covey_pool_apply(pool, start_process, COVEY_VIEW_OF(s), NULL,
                              COVEY_TASK_OPTS(.timeout = LONG)));
    CHECK_EQ(s->numbers[0], 1);
    covey_pool_free(pool);
}

/* What comes after a task that was asked to end is not asked. */
TEST_EACH_METHOD_AND_THREAD(the_next_task_has_bounds_of_its_own)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(1, POOL_OPTS());
    covey_result *result = NULL;
    CHECK_OK(covey_pool_apply_async(&result, pool, task_hang_told, COVEY_VIEW_OF(s),
                                    COVEY_TASK_OPTS(.timeout = LONG)));
    await_count(&s->begun, 1);
    CHECK_OK(covey_result_cancel(result, 0));
    CHECK_ERR(covey_result_get(result, NULL, COVEY_SEC(60)), COVEY_EREMOTE);
    covey_result_free(result);
    CHECK_EQ(asked_below(pool, 1, 0, 0), COVEY_FOREVER);
    covey_pool_free(pool);
}

CHECK_MAIN()
