/* SPDX-License-Identifier: MIT */
/* Seeing and steering tasks that are under way: groups, progress, times. */
#include <pthread.h>
#include <stdatomic.h>

#include "pool/pool.h"
#include "pool_help.h"

#include <covey.h>

/* ---- groups ------------------------------------------------------------------ */

TEST_EACH_METHOD_AND_THREAD(a_group_is_taken_back_together)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    covey_result *first = NULL, *waits[40];
    CHECK_OK(covey_pool_apply_async(&first, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    for (unsigned i = 0; i < 40; i++)
        CHECK_OK(covey_pool_apply_async(&waits[i], pool, task_echo, text_view("x"),
                                        COVEY_TASK_OPTS(.group = i % 3)));
    CHECK_OK(covey_pool_cancel_group(pool, 2, 0));
    CHECK_ERR(covey_pool_cancel_group(pool, 2, 0), -EALREADY);
    CHECK_STR_HAS(covey_error_detail(), "nothing of group 2 is left");
    for (unsigned i = 2; i < 40; i += 3)
        CHECK_ERR(covey_result_get(waits[i], NULL, COVEY_NOWAIT), -ECANCELED);
    family_tell(&s->go);
    for (unsigned i = 0; i < 40; i++) {
        CHECK_OK(covey_result_wait(waits[i], COVEY_FOREVER));
        CHECK_EQ(covey_result_successful(waits[i]), i % 3 != 2);
        covey_result_free(waits[i]);
    }
    CHECK_OK(covey_result_get(first, NULL, COVEY_FOREVER));
    covey_result_free(first);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_group_is_ended_where_it_runs)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct shared *s = share();
    struct shared *args[6];
    covey_result *results[2], *map = NULL;
    const struct covey_task_opts *opts = COVEY_TASK_OPTS(.group = UINT64_MAX);
    for (int i = 0; i < 2; i++)
        CHECK_OK(covey_pool_apply_async(&results[i], pool, task_hang_told,
                                        COVEY_VIEW_OF(s), opts));
    await_count(&s->begun, 2);
    for (int i = 0; i < 6; i++)
        args[i] = s;
    CHECK_OK(covey_pool_map_async(&map, pool, task_hang_told, args, sizeof args[0],
                                  NULL, 0, 6, COVEY_MAP_OPTS(.group = UINT64_MAX)));
    CHECK_OK(covey_pool_cancel_group(pool, UINT64_MAX, 1));
    for (int i = 0; i < 2; i++) {
        CHECK_ERR(covey_result_get(results[i], NULL, COVEY_FOREVER), -ECANCELED);
        covey_result_free(results[i]);
    }
    CHECK_ERR(covey_result_get(map, NULL, COVEY_FOREVER), -ECANCELED);
    covey_result_free(map);
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("on"), NULL, NULL));
    covey_pool_free(pool);
}

static void note_result(void *ctx, covey_result *result)
{
    struct covey_task_report report;
    CHECK_OK(covey_result_report(result, &report));
    atomic_store((atomic_int *)ctx, 100 + (int)report.outcome);
}

static void *apply_in_group(void *pool)
{
    CHECK_ERR(covey_pool_apply(pool, task_hang, COVEY_NO_VIEW, NULL,
                               COVEY_TASK_OPTS(.group = 5)),
              -ECANCELED);
    return NULL;
}

TEST_EACH_METHOD(apply_heeds_what_a_submission_heeds)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    atomic_int told = 0;
    pthread_t thread;
    CHECK_OK(covey_pool_apply(
        pool, task_echo, text_view("x"), NULL,
        COVEY_TASK_OPTS(.callback = note_result, .callback_ctx = &told)));
    CHECK_EQ(told, 100 + COVEY_OUTCOME_OK);
    CHECK_ERR(covey_pool_apply(pool, task_fail, text_view("x"), NULL,
                               COVEY_TASK_OPTS(.error_callback = note_result,
                                               .callback_ctx = &told)),
              COVEY_EREMOTE);
    CHECK_EQ(told, 100 + COVEY_OUTCOME_ERROR);
    CHECK_ERR(covey_pool_apply(pool, task_echo, text_view("x"), NULL,
                               COVEY_TASK_OPTS(.priority = 101)),
              -EINVAL);
    CHECK_EQ(pthread_create(&thread, NULL, apply_in_group, pool), 0);
    while (covey_pool_cancel_group(pool, 5, 1) < 0)
        cvy_os_yield();
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_OK(covey_pool_apply_async(NULL, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    CHECK_ERR(
        covey_pool_apply(pool, task_echo, text_view("x"), NULL,
                         COVEY_TASK_OPTS(.priority = 1, .timeout = COVEY_MSEC(10))),
        -ETIMEDOUT);
    family_tell(&s->go);
    covey_pool_free(pool);
}

static void *apply_in_the_end(void *pool)
{
    CHECK_ERR(covey_pool_apply(pool, task_echo, text_view("x"), NULL,
                               COVEY_TASK_OPTS(.priority = 1)),
              COVEY_EFREED);
    return NULL;
}

TEST_EACH_METHOD(apply_says_that_its_pool_goes)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct covey_pool_stats stats = {0};
    struct shared *s = share();
    pthread_t thread;
    CHECK_OK(covey_pool_apply_async(NULL, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    CHECK_EQ(pthread_create(&thread, NULL, apply_in_the_end, pool), 0);
    while (stats.submitted < 2)
        CHECK_OK(covey_pool_stats(pool, &stats));
    CHECK_OK(covey_pool_terminate(pool));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    covey_pool_free(pool);
}

TEST(wrong_groups_are_errors)
{
    covey_pool *pool = pool_with(1, NULL);
    CHECK_ERR(covey_pool_cancel_group(pool, 0, 0), -EINVAL);
    CHECK_ERR(covey_pool_cancel_group(pool, 1, 0), -EALREADY); /* nothing submitted */
    CHECK_ERR(covey_pool_cancel_group(NULL, 1, 0), -EINVAL);
    covey_pool_free(pool);
}

/* ---- progress ---------------------------------------------------------------- */

/* Says 3 of 10, waits, says 7 of 10, waits again. */
static int task_in_steps(struct covey_call *call)
{
    struct shared *const *at = covey_call_arg(call, NULL);
    struct shared *s = *at;
    CHECK_EQ(covey_call_progress(call, 3, 10), 0);
    family_tell(&s->begun);
    family_await(&s->go, 1);
    CHECK_EQ(covey_call_progress(call, 7, 10), 0);
    family_tell(&s->begun);
    family_await(&s->go, 2);
    return covey_call_return(call, "done", 4);
}

static void check_progress(covey_result *result, uint64_t done, uint64_t total)
{
    uint64_t is_done = 77, of = 77;
    CHECK_OK(covey_result_progress(result, &is_done, &of));
    CHECK_EQ(is_done, done);
    CHECK_EQ(of, total);
}

TEST_EACH_METHOD_AND_THREAD(a_task_tells_how_far_it_is)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    covey_result *result = NULL, *behind = NULL;
    CHECK_OK(
        covey_pool_apply_async(&result, pool, task_in_steps, COVEY_VIEW_OF(s), NULL));
    CHECK_OK(covey_pool_apply_async(&behind, pool, task_echo, text_view("x"), NULL));
    await_count(&s->begun, 1);
    check_progress(result, 3, 10);
    check_progress(behind, 0, 1);
    family_tell(&s->go);
    await_count(&s->begun, 2);
    check_progress(result, 7, 10);
    family_tell(&s->go);
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    check_progress(result, 1, 1);
    CHECK_OK(covey_result_get(behind, NULL, COVEY_FOREVER));
    check_progress(behind, 1, 1);
    covey_result_free(behind);
    covey_result_free(result);
    covey_pool_free(pool);
}

static int task_until_asked(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    family_tell(&(*s)->begun);
    uint64_t step = 0;
    while (!covey_call_progress(call, ++step, UINT64_MAX))
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    return covey_call_fail(call, "was asked to end");
}

TEST_EACH_METHOD_AND_THREAD(who_tells_is_told_to_end)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    covey_result *result = NULL;
    CHECK_OK(covey_pool_apply_async(&result, pool, task_until_asked, COVEY_VIEW_OF(s),
                                    NULL));
    await_count(&s->begun, 1);
    CHECK_OK(covey_result_cancel(result, 0));
    CHECK_ERR(covey_result_get(result, NULL, COVEY_FOREVER), COVEY_EREMOTE);
    covey_result_free(result);
    covey_pool_free(pool);
}

static int square_and_tell(struct covey_call *call)
{
    CHECK_EQ(covey_call_progress(call, 1, 2), 0);
    return task_square(call);
}

TEST_EACH_METHOD_AND_THREAD(progress_of_several_is_what_is_finished)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    uint64_t in[100], out[100];
    covey_result *result = NULL;
    for (uint64_t i = 0; i < 100; i++)
        in[i] = i;
    CHECK_OK(covey_pool_map(pool, square_and_tell, in, 8, out, 8, 100, NULL));
    CHECK_EQ(out[99], 99 * 99);
    CHECK_OK(
        covey_pool_map_async(&result, pool, square_and_tell, in, 8, out, 8, 100, NULL));
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    check_progress(result, 100, 100);
    CHECK_ERR(covey_result_progress(result, NULL, NULL), -EINVAL);
    covey_result_free(result);
    covey_pool_free(pool);
}

/* ---- ends --------------------------------------------------------------------- */

/* A submission that has found the pool open, and goes on when that has ended. */
TEST_EACH_METHOD_AND_THREAD(a_late_submission_starts_no_thread)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct cvy_pool *inner = cvy_pool_of(pool);
    CHECK_OK(covey_pool_apply_async(NULL, pool, task_echo, text_view("x"), NULL));
    CHECK_OK(covey_pool_terminate(pool));
    CHECK_ERR(cvy_watcher_start(inner), COVEY_ECLOSED);
    CHECK(!inner->watcher);
    covey_pool_free(pool);
}

/* ---- times ------------------------------------------------------------------- */

static uint64_t counted(covey_pool *pool, enum covey_pool_time which, uint32_t from)
{
    uint64_t counts[COVEY_HISTOGRAM_SIZE], sum = 0;
    CHECK_OK(covey_pool_histogram(pool, which, counts));
    for (uint32_t i = from; i < COVEY_HISTOGRAM_SIZE; i++)
        sum += counts[i];
    return sum;
}

static int nap(struct covey_call *call)
{
    (void)call;
    nanosleep(&(struct timespec){0, 5000000}, NULL);
    return covey_call_return(call, NULL, 0);
}

TEST_EACH_METHOD_AND_THREAD(times_are_counted)
{
    covey_pool *pool = pool_with(2, POOL_OPTS(.measure = COVEY_ON));
    struct covey_view items[30];
    for (int i = 0; i < 30; i++)
        items[i] = text_view("x");
    CHECK_EQ(counted(pool, COVEY_TIME_RUN, 0), 0);
    CHECK_OK(covey_pool_map_bytes(pool, task_echo, items, NULL, 30, NULL));
    CHECK_OK(covey_pool_map(pool, nap, NULL, 0, NULL, 0, 4, NULL));
    CHECK_OK(covey_pool_apply(pool, nap, COVEY_NO_VIEW, NULL, NULL));
    for (int which = COVEY_TIME_WAIT; which <= COVEY_TIME_FETCH; which++)
        CHECK_EQ(counted(pool, (enum covey_pool_time)which, 0), 35);
    CHECK_GE(counted(pool, COVEY_TIME_RUN, 13), 5); /* from 4 ms on */
    covey_pool_free(pool);
}

TEST(times_are_not_counted_unless_asked_for)
{
    covey_pool *pool = pool_with(1, NULL);
    uint64_t in[100] = {0}, out[100], counts[COVEY_HISTOGRAM_SIZE];
    CHECK_OK(covey_pool_map(pool, task_square, in, 8, out, 8, 100, NULL));
    CHECK_EQ(counted(pool, COVEY_TIME_RUN, 0), 0);
    CHECK_ERR(covey_pool_histogram(pool, (enum covey_pool_time)3, counts), -EINVAL);
    CHECK_ERR(covey_pool_histogram(pool, COVEY_TIME_RUN, NULL), -EINVAL);
    CHECK_ERR(covey_pool_histogram(NULL, COVEY_TIME_RUN, counts), -EINVAL);
    covey_pool_free(pool);
}

/* ---- who sees to them ---------------------------------------------------------- */

static void note_call(void *ctx, covey_result *result)
{
    (void)result;
    family_tell(&((struct shared *)ctx)->told);
}

/* Leaves no room for another thread. Returns: what the limit was. */
static uint32_t take_all_slots(void)
{
    uint32_t taken = 0, limit = cvy_head->slot_limit;
    while ((uint32_t)atomic_load(&cvy_slot_at(taken)->word)) /* its thread's id */
        taken++;
    cvy_head->slot_limit = taken + 1; /* one is kept for who makes room */
    return limit;
}

TEST(a_submission_that_nobody_could_see_to_fails)
{
    struct shared *s = share();
    covey_pool *pool = NULL;
    const struct covey_task_opts *opts =
        COVEY_TASK_OPTS(.callback = note_call, .callback_ctx = s);
    CHECK_OK(covey_pool_create(&pool, 1, COVEY_POOL_OPTS(.method = COVEY_FORK)));
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("x"), NULL, NULL));
    uint32_t limit = take_all_slots();
    CHECK_ERR(covey_pool_apply_async(NULL, pool, task_echo, text_view("x"), opts),
              -EAGAIN);
    CHECK_STR_HAS(covey_error_detail(), "sees to the tasks");
    cvy_head->slot_limit = limit;
    CHECK_OK(covey_pool_apply_async(NULL, pool, task_echo, text_view("x"), opts));
    await_count(&s->told, 1);
    CHECK_OK(covey_pool_close(pool));
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    covey_pool_free(pool);
}

CHECK_MAIN()
