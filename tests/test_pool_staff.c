/* SPDX-License-Identifier: MIT */
/* Which workers a pool has: successors of those that are old, large or at their last task,
 * and fewer when there is nothing to do. */
#include <stdlib.h>

#include "pool/pool.h"
#include "pool_help.h"

#include <covey.h>

static int pid_of_worker(covey_pool *pool)
{
    struct covey_bytes bytes = {0};
    int pid = 0;
    CHECK_OK(covey_pool_apply(pool, task_pid, COVEY_NO_VIEW, &bytes, NULL));
    CHECK_EQ(bytes.size, sizeof pid);
    memcpy(&pid, bytes.data, sizeof pid);
    covey_bytes_free(&bytes);
    return pid;
}

static uint64_t workers_of(covey_pool *pool)
{
    struct covey_pool_stats stats;
    CHECK_OK(covey_pool_stats(pool, &stats));
    return stats.workers;
}

static void await_workers(covey_pool *pool, uint64_t count)
{
    while (workers_of(pool) != count)
        cvy_os_yield();
}

/* ---- growing ----------------------------------------------------------------- */

static int leave_when_told(struct covey_view arg)
{
    struct shared *const *s = arg.data;
    atomic_fetch_add(&(*s)->begun, 1);
    cvy_os_futex_wake(&(*s)->begun, 100);
    family_await(&(*s)->go, 1);
    return 0;
}

static size_t children(void)
{
    size_t n = 0;
    CHECK_OK(covey_active_children(NULL, 0, &n));
    return n;
}

TEST_EACH_METHOD(who_is_leaving_is_not_counted_on_when_a_pool_grows_again)
{
    struct shared *s = share();
    covey_pool *pool =
        pool_with(3, POOL_OPTS(.max_workers = 3, .exit_hook = leave_when_told,
                               .exitarg = COVEY_VIEW_OF(s)));
    CHECK_OK(covey_pool_resize(pool, 1));
    await_count(&s->begun, 2);
    CHECK_OK(covey_pool_resize(pool, 3));
    CHECK_EQ(children(), 5);
    CHECK_EQ(workers_of(pool), 3);
    family_tell(&s->go);
    while (children() != 3)
        cvy_os_yield();
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_pool_grows_and_shrinks_without_other_calls)
{
    covey_pool *pool = pool_with(3, POOL_OPTS(.max_workers = 3));
    for (int i = 0; i < 8; i++) {
        CHECK_OK(covey_pool_resize(pool, 1));
        while (children() != 1)
            cvy_os_yield();
        CHECK_OK(covey_pool_resize(pool, 3));
        CHECK_EQ(children(), 3);
    }
    CHECK_LE(cvy_pool_of(pool)->workers, 6);
    covey_pool_free(pool);
}

/* ---- relief ------------------------------------------------------------------ */

/* The first worker comes up at once, later ones when they are told to. */
static int come_up(struct covey_view arg)
{
    struct shared *const *s = arg.data;
    uint32_t before = atomic_fetch_add(&(*s)->begun, 1);
    cvy_os_futex_wake(&(*s)->begun, 100);
    if (before > 0)
        family_await(&(*s)->go, 1);
    return 0;
}

TEST_EACH_METHOD(an_old_worker_works_until_its_successor_is_up)
{
    struct shared *s = share();
    covey_pool *pool =
        pool_with(1, POOL_OPTS(.max_age = COVEY_MSEC(1), .initializer = come_up,
                               .initarg = COVEY_VIEW_OF(s)));
    int first = pid_of_worker(pool);
    await_count(&s->begun, 2);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(pid_of_worker(pool), first);
    CHECK_EQ(workers_of(pool), 1);
    family_tell(&s->go);
    while (pid_of_worker(pool) == first)
        cvy_os_yield();
    covey_pool_free(pool);
}

/* 4 MiB that stay: each piece points to the one before. */
static int leak(struct covey_call *call)
{
    static void *volatile last;
    void *memory = malloc(4 << 20);
    CHECK(memory != NULL);
    memset(memory, 1, 4 << 20);
    *(void **)memory = last;
    last = memory;
    return task_pid(call);
}

TEST_EACH_METHOD(a_worker_that_has_grown_is_replaced)
{
    covey_pool *pool = pool_with(1, POOL_OPTS(.max_memory = UINT64_C(256) << 20));
    struct covey_task_report report;
    int first = pid_of_worker(pool), pid = first;
    for (int i = 0; i < 1000 && pid == first; i++) {
        covey_result *result = NULL;
        CHECK_OK(covey_pool_apply_async(&result, pool, leak, COVEY_NO_VIEW, NULL));
        CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
        CHECK_OK(covey_result_report(result, &report));
        pid = report.pid;
        covey_result_free(result);
    }
    CHECK_NE(pid, first);
    struct covey_pool_stats stats;
    CHECK_OK(covey_pool_stats(pool, &stats));
    CHECK_EQ(stats.failed, 0);
    CHECK_EQ(stats.crashes, 0);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(a_successor_is_started_when_the_last_task_begins)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(1, POOL_OPTS(.max_tasks = 1));
    covey_result *result = NULL;
    struct covey_pool_stats stats;
    CHECK_OK(covey_pool_apply_async(&result, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    do {
        CHECK_OK(covey_pool_stats(pool, &stats));
        cvy_os_yield();
    } while (!stats.restarts);
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("on"), NULL, NULL));
    CHECK_EQ(covey_result_ready(result), 0);
    family_tell(&s->go);
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    covey_result_free(result);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(all_items_are_done_while_workers_are_relieved)
{
    covey_pool *pool = pool_with(
        3, POOL_OPTS(.max_age = COVEY_MSEC(2), .max_tasks = 500, .retries = 0));
    enum { COUNT = 20000 };
    static uint64_t in[COUNT], out[COUNT];
    for (uint64_t i = 0; i < COUNT; i++)
        in[i] = i;
    for (int round = 0; round < 3; round++) {
        memset(out, 0, sizeof out);
        CHECK_OK(covey_pool_map(pool, task_square, in, 8, out, 8, COUNT, NULL));
        for (uint64_t i = 0; i < COUNT; i++)
            CHECK_EQ(out[i], i * i);
        CHECK_OK(covey_pool_resize(pool, 2 + (size_t)round));
        CHECK_EQ(workers_of(pool), 2 + (uint64_t)round);
    }
    struct covey_pool_stats stats;
    CHECK_OK(covey_pool_stats(pool, &stats));
    CHECK_EQ(stats.crashes, 0);
    CHECK_GT(stats.restarts, 0);
    covey_pool_free(pool);
}

/* Which lines are wanted is the pool's secret, but how many is not: as many as workers. */
static uint32_t wanted_in(covey_pool *object)
{
    struct cvy_pool *pool = NULL;
    uint32_t count = 0;
    CHECK_OK(cvy_pool_enter(object, "a test", true, &pool));
    (void)pthread_mutex_lock(&pool->lock);
    for (uint32_t i = 0; i < pool->lines; i++)
        count += pool->worker[i].is_wanted;
    (void)pthread_mutex_unlock(&pool->lock);
    return count;
}

/* Kill one of the children: a worker, or who starts them. */
static void kill_child(unsigned which)
{
    char pids[1024];
    unsigned count = 0;
    read_children(pids, sizeof pids);
    for (size_t i = 0; pids[i]; i++)
        count += pids[i] == ' ';
    if (!count)
        return;
    const char *pid = pids;
    for (which %= count; which; which--)
        pid = strchr(pid, ' ') + 1;
    (void)kill(atoi(pid), SIGKILL);
}

/* The lines of the dead are used again at once, by successors of others. */
TEST_EACH_METHOD(killing_those_who_are_relieved_loses_no_worker)
{
    covey_pool *pool = pool_with(3, POOL_OPTS(.max_age = COVEY_USEC(500)));
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    for (unsigned i = 0; i < 60; i++) {
        kill_child(i);
        (void)covey_pool_apply(pool, task_echo, text_view("x"), NULL, NULL);
        CHECK_EQ(wanted_in(pool), 3);
    }
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_relief_survives_the_death_of_both)
{
    struct shared *s = share();
    covey_pool *pool =
        pool_with(1, POOL_OPTS(.max_age = COVEY_MSEC(1), .initializer = come_up,
                               .initarg = COVEY_VIEW_OF(s)));
    int first = pid_of_worker(pool);
    await_count(&s->begun, 2);
    CHECK_EQ(kill(first, SIGKILL), 0); /* while its successor is not up */
    await_gone(first);
    family_tell(&s->go);
    CHECK_NE(pid_of_worker(pool), first);
    CHECK_EQ(workers_of(pool), 1);
    covey_pool_free(pool);
}

static uint32_t count_processes(const struct cvy_pool *pool)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < pool->lines; i++)
        count += pool->worker[i].process != NULL;
    return count;
}

/* A worker at its last task has a successor; that one, which is at its last task at once,
 * has none until the first has ended. Nobody looks all the time until then. */
TEST_EACH_METHOD_AND_THREAD(a_successor_at_its_last_task_waits_for_a_line)
{
    struct shared *s = share();
    covey_result *results[4];
    covey_pool *pool =
        pool_with(1, POOL_OPTS(.own_loop = COVEY_ON, .max_workers = 2, .max_tasks = 1));
    struct cvy_pool *inner = cvy_pool_of(pool);
    for (int i = 0; i < 4; i++)
        CHECK_OK(covey_pool_apply_async(&results[i], pool, task_wait, COVEY_VIEW_OF(s),
                                        NULL));
    while (atomic_load(&s->begun) < 2)
        (void)covey_pool_dispatch(pool, COVEY_MSEC(10));
    (void)pthread_mutex_lock(&inner->lock);
    cvy_pool_reap(inner, false);
    CHECK_EQ(count_processes(inner), 2);
    CHECK(!cvy_pool_wants_reaping(inner));
    (void)pthread_mutex_unlock(&inner->lock);
    family_tell(&s->go);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(covey_result_get(results[i], NULL, COVEY_FOREVER));
        covey_result_free(results[i]);
    }
    covey_pool_free(pool);
}

/* There is no line for another one. */
TEST_EACH_METHOD_AND_THREAD(nobody_looks_for_a_line_all_the_time)
{
    struct shared *s = share();
    covey_pool *pool =
        pool_with(1, POOL_OPTS(.own_loop = COVEY_ON, .max_workers = 1, .max_tasks = 1));
    struct cvy_pool *inner = cvy_pool_of(pool);
    for (int i = 0; i < 2; i++)
        CHECK_OK(covey_pool_apply_async(NULL, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    while (atomic_load(&s->begun) < 2)
        (void)covey_pool_dispatch(pool, COVEY_MSEC(10));
    (void)pthread_mutex_lock(&inner->lock);
    cvy_pool_reap(inner, false);
    CHECK(!cvy_pool_wants_reaping(inner));
    (void)pthread_mutex_unlock(&inner->lock);
    family_tell(&s->go);
    covey_pool_free(pool);
}

/* ---- slow ends ---------------------------------------------------------------- */

static struct shared *exit_box;

/* In a process that has a program of its own; others leave without that. */
static void linger(void)
{
    family_await(&exit_box->go, 1);
    family_tell(&exit_box->ended);
}

static int linger_at_exit(struct covey_view arg)
{
    exit_box = shared_of(arg);
    return atexit(linger);
}

/* Begin the end of the first worker of such a pool. Returns: its process id. */
static int begin_to_linger(covey_pool *pool)
{
    struct cvy_pool *inner = cvy_pool_of(pool);
    int pid = inner->worker[0].pid;
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("x"), NULL, NULL));
    while (!atomic_load(&inner->shared->lines[0].left))
        cvy_os_yield();
    return pid;
}

static bool is_in_first_line(covey_pool *pool, int pid)
{
    struct cvy_pool *inner = cvy_pool_of(pool);
    (void)pthread_mutex_lock(&inner->lock);
    cvy_pool_reap(inner, false);
    bool is_there = inner->worker[0].process && inner->worker[0].pid == pid;
    CHECK(!is_there || cvy_pool_due(inner) <= cvy_os_deadline(COVEY_SEC(1)));
    (void)pthread_mutex_unlock(&inner->lock);
    return is_there;
}

/* Nobody who looks waits for it. */
TEST(a_worker_may_take_its_time_to_exit)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(
        1, COVEY_POOL_OPTS(.method = COVEY_SPAWN, .own_loop = COVEY_ON, .max_tasks = 1,
                           .initializer = linger_at_exit, .initarg = COVEY_VIEW_OF(s)));
    int pid = begin_to_linger(pool);
    CHECK(is_in_first_line(pool, pid));
    family_tell(&s->go);
    await_count(&s->ended, 1);
    while (is_in_first_line(pool, pid))
        (void)covey_pool_dispatch(pool, COVEY_MSEC(10));
    covey_pool_free(pool);
}

TEST(a_worker_that_takes_too_long_to_exit_is_killed)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(
        1, COVEY_POOL_OPTS(.method = COVEY_SPAWN, .own_loop = COVEY_ON, .max_tasks = 1,
                           .initializer = linger_at_exit, .initarg = COVEY_VIEW_OF(s)));
    int pid = begin_to_linger(pool);
    while (is_in_first_line(pool, pid))
        (void)covey_pool_dispatch(pool, COVEY_MSEC(100));
    CHECK_EQ(atomic_load(&s->ended), 0);
    family_tell(&s->go);
    covey_pool_free(pool);
}

/* ---- idle -------------------------------------------------------------------- */

TEST_EACH_METHOD_AND_THREAD(an_idle_pool_has_few_workers)
{
    covey_pool *pool = pool_with(4, POOL_OPTS(.idle_timeout = COVEY_MSEC(20)));
    uint64_t in[100], out[100];
    for (uint64_t i = 0; i < 100; i++)
        in[i] = i;
    for (int round = 0; round < 3; round++) {
        await_workers(pool, 1);
        CHECK_OK(covey_pool_map(pool, task_square, in, 8, out, 8, 100, NULL));
        CHECK_EQ(out[99], 99 * 99);
    }
    await_workers(pool, 1);
    covey_result *result = NULL;
    CHECK_OK(covey_pool_apply_async(&result, pool, task_echo, text_view("x"), NULL));
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    covey_result_free(result);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_busy_pool_is_not_idle)
{
    struct shared *s = share();
    covey_pool *pool =
        pool_with(3, POOL_OPTS(.idle_timeout = COVEY_MSEC(1), .min_workers = 2));
    covey_result *result = NULL;
    await_workers(pool, 2);
    CHECK_OK(covey_pool_apply_async(&result, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    CHECK_EQ(workers_of(pool), 3);
    for (int i = 0; i < 20; i++)
        (void)covey_result_wait(result, COVEY_MSEC(1));
    CHECK_EQ(workers_of(pool), 3);
    family_tell(&s->go);
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    await_workers(pool, 2);
    covey_result_free(result);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(an_idle_pool_in_an_event_loop_shrinks)
{
    covey_pool *pool =
        pool_with(3, POOL_OPTS(.idle_timeout = COVEY_MSEC(5), .own_loop = COVEY_ON));
    while (workers_of(pool) != 1)
        (void)covey_pool_dispatch(pool, COVEY_SEC(1));
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("x"), NULL, NULL));
    CHECK_EQ(workers_of(pool), 3);
    covey_pool_free(pool);
}

TEST(a_resize_wakes_an_idle_pool)
{
    covey_pool *pool = pool_with(4, COVEY_POOL_OPTS(.idle_timeout = COVEY_MSEC(50)));
    await_workers(pool, 1);
    CHECK_OK(covey_pool_resize(pool, 2));
    CHECK_EQ(workers_of(pool), 2);
    await_workers(pool, 1);
    covey_pool_free(pool);
}

TEST(wrong_times_are_errors)
{
    covey_pool *pool = NULL;
    CHECK_ERR(covey_pool_create(&pool, 1, COVEY_POOL_OPTS(.max_age = -1)), -EINVAL);
    CHECK_ERR(covey_pool_create(&pool, 1, COVEY_POOL_OPTS(.idle_timeout = -1)),
              -EINVAL);
    CHECK_ERR(covey_pool_create(&pool, 1, COVEY_POOL_OPTS(.min_workers = 1)), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "min_workers");
}

CHECK_MAIN()
