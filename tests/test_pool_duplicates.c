/* SPDX-License-Identifier: MIT */
/* Second runs of tasks that take long: which one counts, and what becomes of the other. */
#include "pool_help.h"

#include <covey.h>

#define OTHERS          100u
#define DUPLICATED(...) COVEY_TASK_OPTS(.duplicate_after = COVEY_MSEC(1), __VA_ARGS__)

/* Which run of its task the caller is, from 0 on. */
static uint32_t count_run(struct shared *s)
{
    uint32_t run = atomic_fetch_add(&s->begun, 1);
    cvy_os_futex_wake(&s->begun, 100);
    return run;
}

static struct shared *shared_in(struct covey_call *call)
{
    return *(struct shared *const *)covey_call_arg(call, NULL);
}

static covey_result *submitted(covey_pool *pool, covey_task_fn *fn, struct shared **s,
                               const struct covey_task_opts *opts)
{
    covey_result *result = NULL;
    CHECK_OK(covey_pool_apply_async(&result, pool, fn, COVEY_VIEW_OF(*s), opts));
    return result;
}

static void result_is(covey_result *result, int code)
{
    int r = covey_result_get(result, NULL, COVEY_SEC(20));
    CHECK_EQ(r, code);
    covey_result_free(result);
}

static void still_works(covey_pool *pool)
{
    for (int i = 0; i < 10; i++)
        CHECK_OK(covey_pool_apply(pool, task_echo, text_view("on"), NULL, NULL));
    covey_pool_free(pool);
}

/* ---- which one counts -------------------------------------------------------- */

static int hang_at_first(struct covey_call *call)
{
    return count_run(shared_in(call)) == 0 ? task_hang(call)
                                           : covey_call_return(call, "second", 6);
}

TEST_EACH_METHOD_AND_THREAD(a_second_run_overtakes_one_that_hangs)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct covey_bytes bytes = {0};
    struct covey_task_report report;
    covey_result *result = submitted(pool, hang_at_first, &s, DUPLICATED());
    CHECK_OK(covey_result_get(result, &bytes, COVEY_SEC(20)));
    check_bytes_are(&bytes, "second");
    CHECK_OK(covey_result_report(result, &report));
    CHECK_EQ(report.outcome, COVEY_OUTCOME_OK);
    CHECK_EQ(report.tries, 2);
    covey_result_free(result);
    covey_bytes_free(&bytes);
    still_works(pool);
    CHECK_EQ(atomic_load(&s->begun), 2);
}

TEST_EACH_METHOD(a_call_that_waits_gets_the_second_run)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct covey_bytes bytes = {0};
    CHECK_OK(
        covey_pool_apply(pool, hang_at_first, COVEY_VIEW_OF(s), &bytes, DUPLICATED()));
    check_bytes_are(&bytes, "second");
    covey_bytes_free(&bytes);
    still_works(pool);
}

static int wait_in_both(struct covey_call *call)
{
    struct shared *s = shared_in(call);
    uint32_t run = count_run(s);
    family_await(&s->go, 1 + run);
    return covey_call_return(call, run ? "second" : "first", run ? 6 : 5);
}

TEST_EACH_METHOD(the_first_run_counts_if_it_ends_first)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct covey_bytes bytes = {0};
    covey_result *result = submitted(pool, wait_in_both, &s, DUPLICATED());
    await_count(&s->begun, 2);
    family_tell(&s->go);
    CHECK_OK(covey_result_get(result, &bytes, COVEY_SEC(20)));
    check_bytes_are(&bytes, "first");
    covey_result_free(result);
    covey_bytes_free(&bytes);
    still_works(pool);
}

static int wait_at_first(struct covey_call *call)
{
    struct shared *s = shared_in(call);
    if (count_run(s) == 0)
        family_await(&s->go, 1);
    return covey_call_return(call, "done", 4);
}

/* A copy waits once the task has run for so long and somebody has looked. */
static void await_copy(covey_pool *pool, covey_result *result, uint64_t others)
{
    struct covey_pool_stats stats;
    do {
        CHECK_ERR(covey_result_wait(result, COVEY_MSEC(1)), -ETIMEDOUT);
        CHECK_OK(covey_pool_stats(pool, &stats));
    } while (stats.queued + stats.running < 2 + others);
}

/* With others the copy waits where submissions do, else in a batch. */
static void submit_others(covey_pool *pool, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        CHECK_OK(covey_pool_apply_async(NULL, pool, task_echo, COVEY_NO_VIEW, NULL));
}

TEST_EACH_METHOD_AND_THREAD(a_second_run_waits_for_a_worker)
{
    for (unsigned others = 0; others <= OTHERS; others += OTHERS) {
        struct shared *s = share();
        covey_pool *pool = pool_with(1, POOL_OPTS());
        covey_result *result = submitted(pool, wait_at_first, &s, DUPLICATED());
        submit_others(pool, others);
        await_copy(pool, result, others);
        CHECK_EQ(atomic_load(&s->begun), 1);
        family_tell(&s->go);
        result_is(result, 0);
        still_works(pool);
    }
}

static int fail_at_second(struct covey_call *call)
{
    return count_run(shared_in(call)) == 0 ? task_hang(call)
                                           : covey_call_fail(call, "seen twice");
}

TEST_EACH_METHOD_AND_THREAD(a_run_that_fails_counts)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    result_is(submitted(pool, fail_at_second, &s, DUPLICATED()), COVEY_EREMOTE);
    still_works(pool);
}

/* ---- runs that end otherwise ------------------------------------------------- */

static int die_beside_a_second(struct covey_call *call)
{
    struct shared *s = shared_in(call);
    if (count_run(s) == 0) {
        await_count(&s->begun, 2);
        raise(SIGKILL);
    }
    family_await(&s->go, 1);
    return 0;
}

TEST_EACH_METHOD(a_death_does_not_count_while_the_other_runs)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct covey_pool_stats stats;
    covey_result *result = submitted(pool, die_beside_a_second, &s, DUPLICATED());
    do {
        CHECK_ERR(covey_result_wait(result, COVEY_MSEC(1)), -ETIMEDOUT);
        CHECK_OK(covey_pool_stats(pool, &stats));
    } while (!stats.crashes);
    family_tell(&s->go);
    result_is(result, 0);
    still_works(pool);
}

static int die_twice(struct covey_call *call)
{
    struct shared *s = shared_in(call);
    (void)count_run(s);
    await_count(&s->begun, 2);
    raise(SIGKILL);
    return 0;
}

TEST_EACH_METHOD(two_deaths_count)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    result_is(submitted(pool, die_twice, &s, DUPLICATED()), COVEY_ECRASHED);
    still_works(pool);
}

TEST_EACH_METHOD(a_time_limit_ends_both)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    result_is(
        submitted(pool, wait_in_both, &s, DUPLICATED(.time_limit = COVEY_MSEC(50))),
        -ETIMEDOUT);
    still_works(pool);
}

/* ---- taking back ------------------------------------------------------------- */

TEST_EACH_METHOD(cancelling_ends_both)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    covey_result *result = submitted(pool, wait_in_both, &s, DUPLICATED());
    await_count(&s->begun, 2);
    CHECK_OK(covey_result_cancel(result, 1));
    result_is(result, -ECANCELED);
    still_works(pool);
}

TEST_EACH_METHOD(cancelling_ends_one_whose_copy_waits)
{
    for (unsigned others = 0; others <= OTHERS; others += OTHERS) {
        struct shared *s = share();
        covey_pool *pool = pool_with(1, POOL_OPTS());
        covey_result *result = submitted(pool, wait_in_both, &s, DUPLICATED());
        submit_others(pool, others);
        await_copy(pool, result, others);
        CHECK_OK(covey_result_cancel(result, 1));
        result_is(result, -ECANCELED);
        still_works(pool);
        CHECK_EQ(atomic_load(&s->begun), 1);
    }
}

TEST_EACH_METHOD(the_end_of_the_pool_is_that_of_both)
{
    for (unsigned others = 0; others <= OTHERS; others += OTHERS) {
        struct shared *s = share();
        covey_pool *pool = pool_with(others ? 1 : 2, POOL_OPTS());
        covey_result *result = submitted(pool, wait_in_both, &s, DUPLICATED());
        submit_others(pool, others);
        if (others)
            await_copy(pool, result, others);
        else
            await_count(&s->begun, 2);
        CHECK_OK(covey_pool_terminate(pool));
        result_is(result, -ECANCELED);
        covey_pool_free(pool);
    }
}

TEST_EACH_METHOD(a_limit_counts_while_the_copy_waits)
{
    struct shared *s = share(), *t = share();
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct covey_pool_stats stats;
    covey_result *result =
        submitted(pool, wait_in_both, &s, DUPLICATED(.time_limit = COVEY_MSEC(50)));
    for (unsigned i = 0; i < OTHERS; i++)
        CHECK_OK(covey_pool_apply_async(NULL, pool, task_wait, COVEY_VIEW_OF(t), NULL));
    result_is(result, -ETIMEDOUT);
    CHECK_EQ(atomic_load(&s->begun), 1);
    family_tell(&t->go);
    do
        CHECK_OK(covey_pool_stats(pool, &stats));
    while (stats.queued + stats.running);
    still_works(pool);
}

static int wait_at_all(struct covey_call *call)
{
    struct shared *s = shared_in(call);
    (void)count_run(s);
    family_await(&s->go, 1);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(what_is_cancelled_is_not_begun_again)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    covey_result *result = submitted(
        pool, wait_at_all, &s, COVEY_TASK_OPTS(.duplicate_after = COVEY_MSEC(100)));
    await_count(&s->begun, 1);
    CHECK_OK(covey_result_cancel(result, 0)); /* which is only asking */
    CHECK_ERR(covey_result_wait(result, COVEY_MSEC(200)), -ETIMEDOUT);
    CHECK_EQ(atomic_load(&s->begun), 1);
    family_tell(&s->go);
    result_is(result, 0);
    still_works(pool);
}

/* ---- many -------------------------------------------------------------------- */

struct item {
    struct shared *shared;
    uint64_t number;
};

static int hang_at_first_50(struct covey_call *call)
{
    const struct item *item = covey_call_arg(call, NULL);
    if (item->number == 50 && count_run(item->shared) == 0)
        return task_hang(call);
    uint64_t square = item->number * item->number;
    return covey_call_return(call, &square, sizeof square);
}

TEST_EACH_METHOD_AND_THREAD(an_item_of_a_map_is_overtaken)
{
    enum { COUNT = 100 };
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    static struct item in[COUNT];
    static uint64_t out[COUNT];
    covey_result *result = NULL;
    for (uint64_t i = 0; i < COUNT; i++)
        in[i] = (struct item){s, i};
    CHECK_OK(covey_pool_map_async(&result, pool, hang_at_first_50, in, sizeof in[0],
                                  out, 8, COUNT,
                                  COVEY_MAP_OPTS(.duplicate_after = COVEY_MSEC(1))));
    result_is(result, 0);
    for (uint64_t i = 0; i < COUNT; i++)
        CHECK_EQ(out[i], i * i);
    still_works(pool);
}

static int echo_slowly(struct covey_call *call)
{
    int64_t until = cvy_os_now() + COVEY_USEC(300);
    while (cvy_os_now() < until)
        ;
    return task_echo(call);
}

static int fail_60_hang_50(struct covey_call *call)
{
    const struct item *item = covey_call_arg(call, NULL);
    return item->number == 60 ? covey_call_fail(call, "sixty") : hang_at_first_50(call);
}

TEST_EACH_METHOD(runs_of_other_items_are_not_counted)
{
    enum { COUNT = 100 };
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    static struct item in[COUNT];
    static uint64_t out[COUNT];
    struct covey_task_report report;
    covey_result *result = NULL;
    for (uint64_t i = 0; i < COUNT; i++)
        in[i] = (struct item){s, i};
    CHECK_OK(covey_pool_map_async(&result, pool, fail_60_hang_50, in, sizeof in[0], out,
                                  8, COUNT,
                                  COVEY_MAP_OPTS(.duplicate_after = COVEY_MSEC(20))));
    CHECK_ERR(covey_result_get(result, NULL, COVEY_SEC(20)), COVEY_EREMOTE);
    CHECK_OK(covey_result_report(result, &report));
    CHECK_EQ(report.tries, 1);
    covey_result_free(result);
    still_works(pool);
}

TEST_EACH_METHOD(times_that_never_come_are_no_limits)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    const struct covey_task_opts *opts =
        COVEY_TASK_OPTS(.duplicate_after = COVEY_FOREVER, .time_limit = COVEY_FOREVER,
                        .soft_limit = COVEY_FOREVER - 1, .affinity = 1,
                        .affinity_wait = COVEY_FOREVER);
    for (int i = 0; i < 20; i++)
        CHECK_OK(covey_pool_apply(pool, task_echo, text_view("x"), NULL, opts));
    covey_pool_free(pool);
}

/* Whichever run is first: each task has one outcome. */
TEST_EACH_METHOD_AND_THREAD(all_tasks_twice_have_one_outcome_each)
{
    enum { COUNT = 200 };
    covey_pool *pool = pool_with(3, POOL_OPTS());
    covey_result *results[COUNT];
    struct covey_bytes bytes = {0};
    for (uint64_t i = 0; i < COUNT; i++)
        CHECK_OK(covey_pool_apply_async(&results[i], pool, echo_slowly,
                                        COVEY_VIEW_OF(i),
                                        COVEY_TASK_OPTS(.duplicate_after = 1)));
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_OK(covey_result_get(results[i], &bytes, COVEY_SEC(20)));
        CHECK_MEM_EQ(bytes.data, &i, sizeof i);
        covey_result_free(results[i]);
    }
    covey_bytes_free(&bytes);
    still_works(pool);
}

TEST(negative_times_are_errors)
{
    covey_pool *pool = pool_with(1, NULL);
    const struct covey_task_opts *opts = COVEY_TASK_OPTS(.duplicate_after = -1);
    CHECK_ERR(covey_pool_apply_async(NULL, pool, task_echo, COVEY_NO_VIEW, opts),
              -EINVAL);
    CHECK_ERR(covey_pool_apply(pool, task_echo, COVEY_NO_VIEW, NULL, opts), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "duplicate_after");
    covey_pool_free(pool);
}

CHECK_MAIN()
