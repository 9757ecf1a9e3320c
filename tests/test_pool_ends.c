/* SPDX-License-Identifier: MIT */
/* How pools end: with their process, and in order. */
#include <pthread.h>

#include "pool/pool.h"
#include "pool_help.h"

#include <covey.h>

/* ---- with the process ----------------------------------------------------------- */

/* Ends by SIGKILL only. */
static int block_without_sigterm(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    (void)signal(SIGTERM, SIG_IGN);
    family_tell(&(*s)->begun);
    return task_block(call);
}

static int leave_a_pool(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    covey_pool *pool = NULL;
    CHECK_OK(covey_log_to_stderr(COVEY_LOG_WARNING));
    CHECK_OK(covey_pool_create(&pool, 2, NULL));
    CHECK_OK(covey_pool_apply_async(NULL, pool, block_without_sigterm, COVEY_VIEW_OF(s),
                                    NULL));
    family_await(&s->begun, 1);
    return 7;
}

/* A daemon that is left to itself is awaited for 5 s, and then named. */
TEST_EACH_METHOD(a_process_ends_the_workers_of_its_pools)
{
    struct shared *s = share();
    struct catcher c = catch_output(2);
    int code = run(leave_a_pool, COVEY_VIEW_OF(s), OPTS(.daemon = COVEY_OFF));
    const char *text = caught(&c);
    CHECK_STR_EQ(text, "");
    CHECK_EQ(code, 7);
}

/* ---- from a callback ------------------------------------------------------------ */

static int tell_the_end(struct covey_view arg)
{
    family_tell(&shared_of(arg)->ended);
    return 0;
}

static void exit_from_here(void *ctx, covey_result *result)
{
    (void)ctx;
    CHECK_EQ(covey_result_successful(result), 1);
    exit(7);
}

static void covey_exit_from_here(void *ctx, covey_result *result)
{
    (void)ctx;
    CHECK_EQ(covey_result_successful(result), 1);
    covey_exit(7);
}

static void call_back_for_ever(void *ctx, covey_result *result)
{
    struct shared *s = ctx;
    (void)result;
    family_tell(&s->told);
    family_pause();
}

/* Meanwhile a task of the pool hangs, and the first thread waits for it. */
static int end_in_a_callback(struct covey_view arg, covey_done_fn *callback)
{
    struct shared *s = shared_of(arg);
    covey_pool *pool = NULL;
    covey_result *hangs = NULL;
    CHECK_OK(covey_log_to_stderr(COVEY_LOG_WARNING));
    CHECK_OK(covey_at_exit(tell_the_end, arg, -1));
    CHECK_OK(covey_pool_create(&pool, 2, NULL));
    CHECK_OK(covey_pool_apply_async(&hangs, pool, block_without_sigterm,
                                    COVEY_VIEW_OF(s), NULL));
    family_await(&s->begun, 1);
    CHECK_OK(covey_pool_apply_async(NULL, pool, task_echo, text_view("x"),
                                    COVEY_TASK_OPTS(.callback = callback)));
    (void)covey_result_get(hangs, NULL, COVEY_FOREVER);
    family_pause();
}

static int exit_in_a_callback(struct covey_view arg)
{
    return end_in_a_callback(arg, exit_from_here);
}

static int covey_exit_in_a_callback(struct covey_view arg)
{
    return end_in_a_callback(arg, covey_exit_from_here);
}

TEST_EACH_METHOD(a_process_may_end_in_a_callback)
{
    static covey_target_fn *const ways[] = {exit_in_a_callback,
                                            covey_exit_in_a_callback};
    for (int i = 0; i < 2; i++) {
        struct shared *s = share();
        struct catcher c = catch_output(2);
        int code = run(ways[i], COVEY_VIEW_OF(s), OPTS(.daemon = COVEY_OFF));
        const char *text = caught(&c);
        CHECK_STR_EQ(text, "");
        CHECK_EQ(code, 7);
        CHECK_EQ(s->ended, 1);
    }
}

static int end_beside_a_callback(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    covey_pool *pool = NULL;
    CHECK_OK(covey_pool_create(&pool, 1, NULL));
    CHECK_OK(covey_pool_apply_async(
        NULL, pool, task_echo, text_view("x"),
        COVEY_TASK_OPTS(.callback = call_back_for_ever, .callback_ctx = s)));
    family_await(&s->told, 1);
    return 7;
}

TEST(a_callback_that_does_not_end_keeps_no_process)
{
    struct shared *s = share();
    int code = run(end_beside_a_callback, COVEY_VIEW_OF(s), OPTS(.daemon = COVEY_OFF));
    CHECK_EQ(code, 7);
}

/* ---- beside who waits ------------------------------------------------------------ */

struct waiter {
    covey_pool *pool;
    struct shared *s;
    covey_result *result;
};

static int map_what_blocks(struct covey_view arg)
{
    const struct waiter *w;
    memcpy(&w, arg.data, sizeof w);
    struct shared *in[8] = {w->s, w->s, w->s, w->s, w->s, w->s, w->s, w->s};
    CHECK_ERR(covey_pool_map(w->pool, task_wait, in, sizeof in[0], NULL, 0, 8, NULL),
              COVEY_EFREED);
    family_tell(&w->s->ended);
    return 0;
}

static int gather_what_blocks(struct covey_view arg)
{
    const struct waiter *w;
    memcpy(&w, arg.data, sizeof w);
    struct covey_view in[8];
    for (int i = 0; i < 8; i++)
        in[i] = COVEY_VIEW_OF(w->s);
    CHECK_ERR(covey_pool_map_bytes(w->pool, task_wait, in, NULL, 8, NULL),
              COVEY_EFREED);
    family_tell(&w->s->ended);
    return 0;
}

static void await_maps(const covey_pool *pool, uint32_t maps)
{
    struct cvy_pool *inner = cvy_pool_of(pool);
    for (uint32_t seen = 0; seen < maps; cvy_os_yield()) {
        (void)pthread_mutex_lock(&inner->lock);
        seen = inner->map_count;
        (void)pthread_mutex_unlock(&inner->lock);
    }
}

static int end_beside_maps(struct covey_view arg)
{
    static covey_target_fn *const ways[] = {map_what_blocks, gather_what_blocks};
    static struct waiter w;
    const struct waiter *at = &w;
    w.s = shared_of(arg);
    CHECK_OK(covey_pool_create(&w.pool, 4, NULL));
    for (int i = 0; i < 2; i++) {
        covey_process *thread = NULL;
        CHECK_OK(covey_process_create(
            &thread, ways[i], COVEY_VIEW_OF(at),
            COVEY_PROCESS_OPTS(.method = COVEY_THREAD, .daemon = COVEY_OFF)));
        CHECK_OK(covey_process_start(thread));
    }
    await_maps(w.pool, 2);
    family_await(&w.s->begun, 1);
    return 7;
}

TEST_EACH_METHOD(maps_give_up_when_their_process_ends)
{
    struct shared *s = share();
    CHECK_EQ(run(end_beside_maps, COVEY_VIEW_OF(s), OPTS(.daemon = COVEY_OFF)), 7);
    CHECK_EQ(s->ended, 2);
}

static void wait_in_the_callback(void *ctx, covey_result *result)
{
    const struct waiter *w = ctx;
    covey_result *own = NULL;
    (void)result;
    CHECK_OK(
        covey_pool_apply_async(&own, w->pool, task_wait, COVEY_VIEW_OF(w->s), NULL));
    CHECK_ERR(covey_result_get(own, NULL, COVEY_FOREVER), -ECANCELED);
    covey_result_free(own);
    family_tell(&w->s->ended);
}

static int end_beside_a_callback_that_waits(struct covey_view arg)
{
    static struct waiter w;
    w.s = shared_of(arg);
    CHECK_OK(covey_pool_create(&w.pool, 1, NULL));
    CHECK_OK(covey_pool_apply_async(
        NULL, w.pool, task_echo, text_view("x"),
        COVEY_TASK_OPTS(.callback = wait_in_the_callback, .callback_ctx = &w)));
    family_await(&w.s->begun, 1);
    return 7;
}

TEST_EACH_METHOD(a_callback_that_waits_is_told_of_the_end)
{
    struct shared *s = share();
    CHECK_EQ(run(end_beside_a_callback_that_waits, COVEY_VIEW_OF(s),
                 OPTS(.daemon = COVEY_OFF)),
             7);
    CHECK_EQ(s->ended, 1);
}

static int use_what_is_left(struct covey_view arg)
{
    const struct waiter *w;
    memcpy(&w, arg.data, sizeof w);
    CHECK_ERR(covey_result_get(w->result, NULL, COVEY_FOREVER), -ECANCELED);
    CHECK_ERR(covey_pool_apply(w->pool, task_echo, text_view("x"), NULL, NULL),
              COVEY_ECLOSED);
    covey_pool_free(w->pool);
    covey_result_free(w->result);
    family_tell(&w->s->ended);
    return 0;
}

static int leave_a_result_to_a_hook(struct covey_view arg)
{
    static struct waiter w;
    const struct waiter *at = &w;
    w.s = shared_of(arg);
    CHECK_OK(covey_pool_create(&w.pool, 1, NULL));
    CHECK_OK(
        covey_pool_apply_async(&w.result, w.pool, task_wait, COVEY_VIEW_OF(w.s), NULL));
    CHECK_OK(covey_at_exit(use_what_is_left, COVEY_VIEW_OF(at), -1));
    return 7;
}

static int leave_many_pools_and_a_result(struct covey_view arg)
{
    covey_pool *idle[200];
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++)
        CHECK_OK(
            covey_pool_create(&idle[i], 1, COVEY_POOL_OPTS(.method = COVEY_THREAD)));
    return leave_a_result_to_a_hook(arg);
}

TEST_EACH_METHOD(a_late_hook_is_told_of_the_end)
{
    static covey_target_fn *const ways[] = {leave_a_result_to_a_hook,
                                            leave_many_pools_and_a_result};
    for (int i = 0; i < 2; i++) {
        struct shared *s = share();
        CHECK_EQ(run(ways[i], COVEY_VIEW_OF(s), OPTS(.daemon = COVEY_OFF)), 7);
        CHECK_EQ(s->ended, 1);
    }
}

/* ---- in order ------------------------------------------------------------------- */

static int end_slowly(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    nanosleep(&(struct timespec){1, 500000000}, NULL); /* longer than it has by right */
    family_tell(&s->ended);
    return 0;
}

/* Of each worker, also of one that has not left its last batch yet: that says its line. */
TEST_EACH_METHOD_AND_THREAD(a_join_waits_for_exit_hooks)
{
    struct shared *s = share();
    covey_pool *pool =
        pool_with(2, POOL_OPTS(.exit_hook = end_slowly, .exitarg = COVEY_VIEW_OF(s)));
    struct cvy_pool *inner = cvy_pool_of(pool);
    for (int i = 0; i < 2; i++)
        while (!atomic_load(&inner->shared->lines[i].thread))
            cvy_os_yield();
    atomic_store(&inner->shared->lines[0].batch, 1);
    CHECK_OK(covey_pool_close(pool));
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    CHECK_EQ(s->ended, 2);
    covey_pool_free(pool);
}

static int hang_in_the_hook(struct covey_view arg)
{
    family_tell(&shared_of(arg)->ended);
    family_pause();
}

static void await_visits(struct cvy_pool *pool, uint32_t visits)
{
    for (uint32_t seen = 0; seen < visits; cvy_os_yield()) {
        (void)pthread_mutex_lock(&pool->lock);
        seen = pool->visits;
        (void)pthread_mutex_unlock(&pool->lock);
    }
}

static void *close_and_join(void *arg)
{
    CHECK_OK(covey_pool_close(arg));
    CHECK_OK(covey_pool_join(arg, COVEY_FOREVER));
    return NULL;
}

struct joiner {
    covey_pool *pool;
    int pid; /* of the worker */
};

static void *join_until_it_is_gone(void *arg)
{
    const struct joiner *joiner = arg;
    CHECK_OK(covey_pool_join(joiner->pool, COVEY_FOREVER));
    CHECK_EQ(kill(joiner->pid, 0), -1);
    return NULL;
}

TEST_EACH_METHOD(a_join_that_hangs_is_ended_by_others)
{
    for (int terminates = 0; terminates < 2; terminates++) {
        struct shared *s = share();
        pthread_t threads[2];
        struct covey_bytes pid = {0};
        covey_pool *pool = pool_with(
            1, POOL_OPTS(.exit_hook = hang_in_the_hook, .exitarg = COVEY_VIEW_OF(s)));
        CHECK_OK(covey_pool_apply(pool, task_pid, COVEY_NO_VIEW, &pid, NULL));
        struct joiner joiner = {pool, *(const int *)pid.data};
        CHECK_EQ(pthread_create(&threads[0], NULL, close_and_join, pool), 0);
        family_await(&s->ended, 1);
        CHECK_ERR(covey_pool_join(pool, COVEY_MSEC(10)), -ETIMEDOUT);
        CHECK_EQ(pthread_create(&threads[1], NULL, join_until_it_is_gone, &joiner), 0);
        await_visits(cvy_pool_of(pool), 2);
        if (terminates)
            CHECK_OK(covey_pool_terminate(pool));
        else
            covey_pool_free(pool);
        CHECK_EQ(kill(joiner.pid, 0), -1);
        for (int i = 0; i < 2; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
        if (terminates)
            covey_pool_free(pool);
        covey_bytes_free(&pid);
    }
}

/* ---- beside threads that wait ----------------------------------------------------- */

struct visit {
    covey_pool *pool;
    covey_result *result;
    struct shared *s;
    int pid; /* of the worker */
};

/* Goes on when the pool has ended its worker, and is about to go. */
static void outlast_the_worker(void *ctx, covey_result *result)
{
    const struct visit *visit = ctx;
    CHECK_EQ(covey_result_successful(result), 1);
    family_tell(&visit->s->begun);
    await_gone(visit->pid);
    for (int i = 0; i < 1000; i++)
        cvy_os_yield();
}

static void *wait_and_call_back(void *arg)
{
    const struct visit *visit = arg;
    CHECK_OK(covey_result_get(visit->result, NULL, COVEY_FOREVER));
    return NULL;
}

TEST_EACH_METHOD(a_pool_stays_while_another_thread_calls_back)
{
    covey_pool *pool = pool_with(1, POOL_OPTS(.own_loop = COVEY_ON));
    struct visit visit = {.pool = pool, .s = share()};
    struct covey_bytes pid = {0};
    pthread_t thread;
    CHECK_OK(covey_pool_apply(pool, task_pid, COVEY_NO_VIEW, &pid, NULL));
    visit.pid = *(const int *)pid.data;
    CHECK_OK(covey_pool_apply_async(
        &visit.result, pool, task_echo, text_view("x"),
        COVEY_TASK_OPTS(.callback = outlast_the_worker, .callback_ctx = &visit)));
    CHECK_EQ(pthread_create(&thread, NULL, wait_and_call_back, &visit), 0);
    family_await(&visit.s->begun, 1);
    covey_pool_free(pool);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    covey_result_free(visit.result);
    covey_bytes_free(&pid);
}

static void *wait_for_the_result(void *arg)
{
    const struct visit *visit = arg;
    CHECK_ERR(covey_result_get(visit->result, NULL, COVEY_FOREVER), -ECANCELED);
    return NULL;
}

static void *wait_for_the_end(void *arg)
{
    CHECK_OK(covey_pool_join(((const struct visit *)arg)->pool, COVEY_FOREVER));
    return NULL;
}

static void *wait_for_something_to_do(void *arg)
{
    while (covey_pool_dispatch(((const struct visit *)arg)->pool, COVEY_FOREVER) == 0)
        continue;
    return NULL;
}

TEST_EACH_METHOD(who_waits_in_a_pool_that_is_freed_returns)
{
    static void *(*const ways[])(void *) = {wait_for_the_result, wait_for_the_end,
                                            wait_for_something_to_do};
    for (int loop = 0; loop < 2; loop++) {
        struct visit visit = {.s = share()};
        pthread_t threads[3];
        visit.pool = pool_with(1, POOL_OPTS(.own_loop = loop ? COVEY_ON : COVEY_OFF));
        struct cvy_pool *inner = cvy_pool_of(visit.pool);
        CHECK_OK(covey_pool_apply_async(&visit.result, visit.pool, task_wait,
                                        COVEY_VIEW_OF(visit.s), NULL));
        CHECK_OK(covey_pool_close(visit.pool));
        for (int i = 0; i < 3; i++)
            CHECK_EQ(pthread_create(&threads[i], NULL, ways[i], &visit), 0);
        await_visits(inner, 3);
        covey_pool_free(visit.pool);
        for (int i = 0; i < 3; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
        covey_result_free(visit.result);
    }
}

static void *submit_late(void *arg)
{
    int r = covey_pool_apply_async(NULL, arg, task_echo, text_view("x"), NULL);
    CHECK(r == COVEY_ECLOSED || r == COVEY_EFREED);
    return NULL;
}

static void *free_it(void *arg)
{
    covey_pool_free(arg);
    return NULL;
}

/* Both wait for their turn when it is the other one's. */
TEST_EACH_METHOD_AND_THREAD(a_pool_stays_while_another_thread_submits)
{
    for (int loop = 0; loop < 2; loop++) {
        covey_pool *pool =
            pool_with(1, POOL_OPTS(.own_loop = loop ? COVEY_ON : COVEY_OFF));
        struct cvy_pool *inner = cvy_pool_of(pool);
        pthread_t submits, frees;
        (void)pthread_mutex_lock(&inner->turn);
        CHECK_EQ(pthread_create(&submits, NULL, submit_late, pool), 0);
        await_visits(inner, 1);
        CHECK_EQ(pthread_create(&frees, NULL, free_it, pool), 0);
        while (atomic_load(&inner->state) != CVY_POOL_ENDED)
            cvy_os_yield();
        (void)pthread_mutex_unlock(&inner->turn);
        CHECK_EQ(pthread_join(submits, NULL), 0);
        CHECK_EQ(pthread_join(frees, NULL), 0);
    }
}

CHECK_MAIN()
