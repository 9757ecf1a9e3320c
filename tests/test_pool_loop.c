/* SPDX-License-Identifier: MIT */
/* A pool that the program's own event loop drives, by one descriptor. */
#include <poll.h>

#include "pool/pool.h"
#include "pool_help.h"

static void count_call(void *ctx, covey_result *result)
{
    CHECK_EQ(covey_result_ready(result), 1);
    (*(int *)ctx)++;
}

/* Until its process has come so far that it takes work. */
static void await_up(const struct cvy_pool *pool, uint32_t line)
{
    while (!atomic_load(&pool->shared->lines[line].thread))
        cvy_os_yield();
}

static size_t own_threads(void)
{
    return (size_t)cvy_os_thread_count();
}

static uint64_t workers_of(covey_pool *pool)
{
    struct covey_pool_stats stats;
    CHECK_OK(covey_pool_stats(pool, &stats));
    return stats.workers;
}

/* As an event loop does it. */
static void dispatch_until_workers(covey_pool *pool, uint64_t count)
{
    struct pollfd entry = {.events = POLLIN};
    CHECK_OK(covey_pool_fd(pool, &entry.fd));
    while (workers_of(pool) != count) {
        CHECK_EQ(poll(&entry, 1, 20000), 1);
        (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
    }
}

/* Only the first line has a worker, which is up, and nothing is due any more. */
static void dispatch_until_quiet(covey_pool *pool)
{
    const struct cvy_pool *inner = cvy_pool_of(pool);
    struct pollfd entry = {.events = POLLIN};
    uint32_t others;
    CHECK_OK(covey_pool_fd(pool, &entry.fd));
    do {
        (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
        others = 0;
        for (uint32_t i = 1; i < inner->lines; i++)
            others += inner->worker[i].process != NULL;
    } while (others || !atomic_load(&inner->shared->lines[0].thread) ||
             atomic_load(&inner->next_look) != INT64_MAX || poll(&entry, 1, 0));
}

TEST_EACH_METHOD(an_event_loop_drives_a_pool_without_a_thread)
{
    covey_pool *pool = pool_with(2, POOL_OPTS(.own_loop = COVEY_ON));
    struct pollfd entry = {.events = POLLIN};
    int called = 0, died = 0;
    size_t threads = own_threads();
    CHECK_OK(covey_pool_fd(pool, &entry.fd));
    for (int i = 0; i < 200; i++)
        CHECK_OK(covey_pool_apply_async(
            NULL, pool, task_echo, text_view("x"),
            COVEY_TASK_OPTS(.callback = count_call, .callback_ctx = &called)));
    CHECK_OK(covey_pool_apply_async(
        NULL, pool, task_die, COVEY_NO_VIEW,
        COVEY_TASK_OPTS(.error_callback = count_call, .callback_ctx = &died)));
    CHECK_OK(covey_pool_apply_async(NULL, pool, task_block, COVEY_NO_VIEW,
                                    COVEY_TASK_OPTS(.time_limit = COVEY_MSEC(50),
                                                    .error_callback = count_call,
                                                    .callback_ctx = &died)));
    while (called < 200 || died < 2) {
        CHECK_EQ(poll(&entry, 1, 20000), 1);
        (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
    }
    CHECK_EQ(own_threads(), threads);
    covey_result *result = NULL;
    CHECK_OK(covey_pool_apply_async(&result, pool, task_echo, text_view("x"), NULL));
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    covey_result_free(result);
    CHECK_OK(covey_pool_close(pool));
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    covey_pool_free(pool);
}

TEST(a_pool_with_a_thread_has_no_descriptor)
{
    covey_pool *pool = pool_with(1, NULL);
    int fd = -1;
    CHECK_ERR(covey_pool_fd(pool, &fd), COVEY_ESTATE);
    CHECK_ERR(covey_pool_dispatch(pool, COVEY_NOWAIT), -ETIMEDOUT);
    covey_pool_free(pool);
}

/* Nothing was submitted or dispatched yet. */
TEST_EACH_METHOD(the_first_worker_that_grows_old_wakes_the_loop)
{
    covey_pool *pool =
        pool_with(1, POOL_OPTS(.own_loop = COVEY_ON, .max_age = COVEY_MSEC(1)));
    struct pollfd entry = {.events = POLLIN};
    struct covey_pool_stats stats = {0};
    CHECK_OK(covey_pool_fd(pool, &entry.fd));
    while (!stats.restarts) {
        CHECK_EQ(poll(&entry, 1, 20000), 1);
        (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
        CHECK_OK(covey_pool_stats(pool, &stats));
    }
    covey_pool_free(pool);
}

/* The timer is set by what is due after the start of a successor that was up at once. */
TEST_EACH_METHOD(a_successor_that_is_up_at_once_is_looked_at)
{
    covey_pool *pool =
        pool_with(1, POOL_OPTS(.own_loop = COVEY_ON, .max_age = COVEY_SEC(3600)));
    struct cvy_pool *inner = cvy_pool_of(pool);
    await_up(inner, 0);
    (void)pthread_mutex_lock(&inner->lock);
    inner->worker[0].born -= COVEY_SEC(3600);
    cvy_staff_look(inner);
    CHECK_OK(cvy_pool_start_workers(inner));
    CHECK_EQ(inner->worker[1].relieves, 1);
    await_up(inner, 1);
    CHECK_LE(cvy_pool_due(inner), cvy_os_now() + COVEY_SEC(1));
    cvy_staff_look(inner);
    CHECK_EQ(inner->worker[1].relieves, 0);
    CHECK_LE(cvy_pool_due(inner), inner->worker[1].born + COVEY_SEC(3600));
    (void)pthread_mutex_unlock(&inner->lock);
    covey_pool_free(pool);
}

/* The time of one that was started after the look counts, too. */
TEST(the_age_of_a_worker_counts_from_its_start)
{
    covey_pool *pool =
        pool_with(1, POOL_OPTS(.own_loop = COVEY_ON, .max_age = COVEY_SEC(3600)));
    struct cvy_pool *inner = cvy_pool_of(pool);
    (void)pthread_mutex_lock(&inner->lock);
    CHECK_OK(covey_process_kill(inner->worker[0].process));
    cvy_pool_reap_worker(inner, 0);
    cvy_staff_look(inner);
    CHECK_OK(cvy_pool_start_workers(inner));
    await_up(inner, 0);
    CHECK_LE(cvy_pool_due(inner), inner->worker[0].born + COVEY_SEC(3600));
    (void)pthread_mutex_unlock(&inner->lock);
    covey_pool_free(pool);
}

/* The small pool looks for nothing by itself; after the resize it does. */
TEST_EACH_METHOD(a_pool_that_was_resized_shrinks_again)
{
    covey_pool *pool =
        pool_with(4, POOL_OPTS(.own_loop = COVEY_ON, .idle_timeout = COVEY_MSEC(5)));
    dispatch_until_workers(pool, 1);
    dispatch_until_quiet(pool);
    CHECK_OK(covey_pool_resize(pool, 2));
    CHECK_EQ(workers_of(pool), 2);
    dispatch_until_workers(pool, 1);
    covey_pool_free(pool);
}

/* What another thread leaves to be started later is told to the loop: after several deaths
 * in a row that one only notes when the next start is worth trying. */
TEST(a_start_that_is_put_off_wakes_the_loop)
{
    covey_pool *pool = pool_with(1, COVEY_POOL_OPTS(.own_loop = COVEY_ON));
    struct cvy_pool *inner = cvy_pool_of(pool);
    struct pollfd entry = {.events = POLLIN};
    CHECK_OK(covey_pool_fd(pool, &entry.fd));
    dispatch_until_quiet(pool);
    (void)pthread_mutex_lock(&inner->lock);
    CHECK_OK(covey_process_kill(inner->worker[0].process));
    inner->barren = 10;
    cvy_pool_reap_worker(inner, 0);
    CHECK_OK(cvy_pool_start_workers(inner));
    CHECK(!inner->worker[0].process);
    (void)pthread_mutex_unlock(&inner->lock);
    while (!inner->worker[0].process) {
        CHECK_EQ(poll(&entry, 1, 20000), 1);
        (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
    }
    covey_pool_free(pool);
}

/* Those that come back with the next work grow old before there is nothing to do again. */
TEST(the_age_of_those_that_come_back_counts)
{
    covey_pool *pool =
        pool_with(2, COVEY_POOL_OPTS(.own_loop = COVEY_ON, .max_age = COVEY_SEC(3600),
                                     .idle_timeout = COVEY_SEC(7200)));
    struct cvy_pool *inner = cvy_pool_of(pool);
    (void)pthread_mutex_lock(&inner->lock);
    await_up(inner, 0);
    inner->staff.idle_since -= COVEY_SEC(7200);
    cvy_staff_look(inner);
    CHECK(inner->staff.is_small);
    cvy_staff_wake(inner);
    CHECK(!inner->staff.is_small);
    CHECK_LE(inner->staff.due, inner->worker[0].born + COVEY_SEC(3600));
    (void)pthread_mutex_unlock(&inner->lock);
    covey_pool_free(pool);
}

static int wait_for_go(struct covey_view arg)
{
    struct shared *const *s = arg.data;
    family_await(&(*s)->go, 1);
    return 0;
}

/* Nobody is in a batch, since no worker has come up yet. */
TEST_EACH_METHOD_AND_THREAD(a_pool_is_not_idle_while_work_waits)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(
        3, POOL_OPTS(.own_loop = COVEY_ON, .idle_timeout = COVEY_MSEC(5),
                     .initializer = wait_for_go, .initarg = COVEY_VIEW_OF(s)));
    struct cvy_pool *inner = cvy_pool_of(pool);
    for (int i = 0; i < 3; i++)
        CHECK_OK(covey_pool_apply_async(NULL, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    (void)pthread_mutex_lock(&inner->lock);
    inner->staff.idle_since -= COVEY_SEC(1);
    cvy_staff_look(inner);
    (void)pthread_mutex_unlock(&inner->lock);
    CHECK_EQ(workers_of(pool), 3);
    family_tell(&s->go);
    covey_pool_free(pool);
}

/* One that sleeps looks up, since the pool tells all. */
TEST(who_is_relieved_at_a_resize_is_told)
{
    covey_pool *pool =
        pool_with(1, COVEY_POOL_OPTS(.own_loop = COVEY_ON, .max_age = COVEY_SEC(3600)));
    struct cvy_pool *inner = cvy_pool_of(pool);
    (void)pthread_mutex_lock(&inner->lock);
    await_up(inner, 0);
    inner->worker[0].born -= COVEY_SEC(3600);
    cvy_staff_look(inner);
    CHECK_EQ(inner->worker[1].relieves, 1);
    uint32_t bell = atomic_load(&inner->shared->doorbell);
    CHECK_OK(cvy_staff_resize(inner, 1));
    CHECK_EQ(inner->worker[1].relieves, 0);
    CHECK(atomic_load(&inner->shared->lines[0].retire) != CVY_STAYS);
    CHECK_GE(atomic_load(&inner->shared->doorbell), bell + CVY_RING_STEP);
    (void)pthread_mutex_unlock(&inner->lock);
    covey_pool_free(pool);
}

/* At the end nobody is relieved any more, so nobody needs to look whether it can be done. */
TEST(a_relief_is_no_reason_to_look_at_the_end)
{
    covey_pool *pool =
        pool_with(1, COVEY_POOL_OPTS(.own_loop = COVEY_ON, .max_age = COVEY_SEC(3600)));
    struct cvy_pool *inner = cvy_pool_of(pool);
    (void)pthread_mutex_lock(&inner->lock);
    for (uint32_t i = 0; i < 2; i++) {
        await_up(inner, i);
        if (i)
            break;
        inner->worker[0].born -= COVEY_SEC(3600);
        cvy_staff_look(inner);
        CHECK_OK(cvy_pool_start_workers(inner));
    }
    CHECK_EQ(inner->worker[1].relieves, 1);
    CHECK(cvy_pool_wants_reaping(inner));
    inner->closing = true;
    CHECK(!cvy_pool_wants_reaping(inner));
    CHECK_EQ(cvy_pool_due(inner), INT64_MAX);
    inner->closing = false;
    (void)pthread_mutex_unlock(&inner->lock);
    covey_pool_free(pool);
}

TEST(times_may_be_forever)
{
    covey_pool *pool =
        pool_with(2, COVEY_POOL_OPTS(.own_loop = COVEY_ON, .max_age = COVEY_FOREVER,
                                     .idle_timeout = COVEY_FOREVER));
    struct cvy_pool *inner = cvy_pool_of(pool);
    (void)pthread_mutex_lock(&inner->lock);
    for (uint32_t i = 0; i < 2; i++)
        await_up(inner, i);
    CHECK_GT(cvy_pool_due(inner), cvy_os_deadline(COVEY_SEC(3600)));
    cvy_staff_look(inner);
    CHECK_GT(cvy_pool_due(inner), cvy_os_deadline(COVEY_SEC(3600)));
    (void)pthread_mutex_unlock(&inner->lock);
    covey_pool_free(pool);
}

/* ---- a death between two looks --------------------------------------------------- */

struct scene {
    covey_pool *pool;
    struct cvy_pool *inner;
    int told, died;
};

static void count_death(void *ctx, covey_result *result)
{
    struct scene *scene = ctx;
    (void)result;
    scene->died++;
}

/* Nobody succeeds the worker in the second line, whose end would be a reason to look. */
static void kill_the_last_worker(void *ctx, covey_result *result)
{
    struct scene *scene = ctx;
    struct pollfd end = {.events = POLLIN};
    covey_process *process = scene->inner->worker[1].process;
    (void)result;
    scene->told++;
    CHECK_OK(covey_pool_resize(scene->pool, 1));
    CHECK_OK(covey_process_sentinel(process, &end.fd));
    CHECK_OK(covey_process_kill(process));
    CHECK_EQ(poll(&end, 1, 20000), 1);
}

/* The callback is called in the first look of a dispatch, so the second one finds a death
 * that has woken nobody. */
TEST_EACH_METHOD(a_death_within_a_dispatch_wakes_the_loop)
{
    struct scene scene = {.pool = pool_with(2, POOL_OPTS(.own_loop = COVEY_ON))};
    struct shared *s = share();
    struct pollfd entry = {.events = POLLIN};
    covey_result *queued = NULL;
    scene.inner = cvy_pool_of(scene.pool);
    CHECK_OK(covey_pool_fd(scene.pool, &entry.fd));
    for (int i = 0; i < 2; i++)
        CHECK_OK(covey_pool_apply_async(
            NULL, scene.pool, task_wait, COVEY_VIEW_OF(s),
            COVEY_TASK_OPTS(.error_callback = count_death, .callback_ctx = &scene)));
    while (atomic_load(&s->begun) < 2)
        (void)covey_pool_dispatch(scene.pool, COVEY_MSEC(10));
    CHECK_OK(
        covey_pool_apply_async(&queued, scene.pool, task_echo, text_view("x"),
                               COVEY_TASK_OPTS(.error_callback = kill_the_last_worker,
                                               .callback_ctx = &scene)));
    CHECK_OK(covey_result_cancel(queued, 0));
    while (!scene.died) {
        CHECK_EQ(poll(&entry, 1, 20000), 1);
        (void)covey_pool_dispatch(scene.pool, COVEY_NOWAIT);
    }
    CHECK_EQ(scene.told, 1);
    family_tell(&s->go);
    covey_result_free(queued);
    covey_pool_free(scene.pool);
}

/* ---- what is not heard ------------------------------------------------------------ */

static void begin_waiting(struct scene *scene, struct pollfd *entry,
                          covey_result **ret_result)
{
    struct shared *s = share();
    scene->pool = pool_with(1, POOL_OPTS(.own_loop = COVEY_ON));
    scene->inner = cvy_pool_of(scene->pool);
    CHECK_OK(covey_pool_fd(scene->pool, &entry->fd));
    CHECK_OK(covey_pool_apply_async(ret_result, scene->pool, task_wait,
                                    COVEY_VIEW_OF(s), NULL));
    while (!atomic_load(&s->begun))
        (void)covey_pool_dispatch(scene->pool, COVEY_MSEC(1));
}

static void await_the_crash(struct scene *scene, struct pollfd *entry,
                            covey_result *result)
{
    while (!covey_result_ready(result)) {
        CHECK_EQ(poll(entry, 1, 20000), 1);
        (void)covey_pool_dispatch(scene->pool, COVEY_NOWAIT);
    }
    CHECK_ERR(covey_result_get(result, NULL, COVEY_NOWAIT), COVEY_ECRASHED);
    covey_result_free(result);
    covey_pool_free(scene->pool);
}

/* As one that was started while there was no descriptor for its sentinel. */
TEST_EACH_METHOD(a_death_without_a_sentinel_wakes_the_loop)
{
    struct scene scene = {0};
    struct pollfd entry = {.events = POLLIN};
    covey_result *result = NULL;
    begin_waiting(&scene, &entry, &result);
    (void)pthread_mutex_lock(&scene.inner->lock);
    cvy_loop_unwatch(scene.inner, 0);
    (void)pthread_mutex_unlock(&scene.inner->lock);
    CHECK_OK(covey_process_kill(scene.inner->worker[0].process));
    await_the_crash(&scene, &entry, result);
}

/* Its life word is another's, which lives. */
TEST_EACH_METHOD(a_loop_asks_the_kernel_about_a_death)
{
    struct scene scene = {0};
    struct pollfd entry = {.events = POLLIN};
    covey_result *result = NULL;
    begin_waiting(&scene, &entry, &result);
    atomic_store(&scene.inner->shared->lines[0].thread, cvy_thread_owner());
    CHECK_OK(covey_process_kill(scene.inner->worker[0].process));
    await_the_crash(&scene, &entry, result);
}

static int await_go(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    family_await(&s->go, 1);
    return 0;
}

/* A worker whose last task was the 40th had claimed more, and lasts until it may go. There
 * are no slices in the time of this test. */
TEST_EACH_METHOD_AND_THREAD(what_a_retiring_worker_drops_waits_for_nobody)
{
    enum { N = 64 };
    slices_never_end();
    struct shared *s = share();
    struct pollfd entry = {.events = POLLIN};
    struct covey_view in[N];
    covey_result *result = NULL;
    covey_pool *pool =
        pool_with(1, POOL_OPTS(.own_loop = COVEY_ON, .max_tasks = 40,
                               .exit_hook = await_go, .exitarg = COVEY_VIEW_OF(s)));
    struct cvy_pool *inner = cvy_pool_of(pool);
    CHECK_OK(covey_pool_fd(pool, &entry.fd));
    (void)pthread_mutex_lock(&inner->lock);
    cvy_pool_cost(inner, task_echo)->cost = 16 * 1000;
    (void)pthread_mutex_unlock(&inner->lock);
    for (int i = 0; i < N; i++)
        in[i] = text_view("x");
    CHECK_OK(covey_pool_starmap_async(&result, pool, task_echo, in, 1, NULL, N, NULL));
    while (!covey_result_ready(result)) {
        CHECK_EQ(poll(&entry, 1, 20000), 1);
        (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
    }
    CHECK_OK(covey_result_get(result, NULL, COVEY_NOWAIT));
    family_tell(&s->go);
    covey_result_free(result);
    covey_pool_free(pool);
}

/* While a task runs the loop is woken after each slice, and not any more afterwards. */
TEST_EACH_METHOD_AND_THREAD(an_idle_pool_leaves_the_loop_alone)
{
    struct pollfd entry = {.events = POLLIN};
    covey_result *result = NULL;
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(10))));
    struct shared *s = share();
    covey_pool *pool = pool_with(1, POOL_OPTS(.own_loop = COVEY_ON));
    CHECK_OK(covey_pool_fd(pool, &entry.fd));
    CHECK_OK(covey_pool_apply_async(&result, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(poll(&entry, 1, 20000), 1);
        (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
    }
    await_count(&s->begun, 1);
    family_tell(&s->go);
    while (!covey_result_ready(result)) {
        CHECK_EQ(poll(&entry, 1, 20000), 1);
        (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
    }
    while (covey_pool_dispatch(pool, COVEY_NOWAIT) >= 0 || poll(&entry, 1, 0))
        ;
    CHECK_EQ(poll(&entry, 1, 50), 0);
    covey_result_free(result);
    covey_pool_free(pool);
}

/* ---- callbacks that go on for ever --------------------------------------------------- */

struct chain {
    covey_pool *pool;
    int links, most;
};

/* Each submits another task, which is over at once. */
static void add_link(void *ctx, covey_result *result)
{
    struct chain *chain = ctx;
    (void)result;
    if (chain->links < chain->most) {
        chain->links++;
        CHECK_OK(covey_pool_apply_async(NULL, chain->pool, task_echo, text_view("x"),
                                        COVEY_TASK_OPTS(.timeout = COVEY_NOWAIT,
                                                        .error_callback = add_link,
                                                        .callback_ctx = chain)));
    }
}

TEST_EACH_METHOD_AND_THREAD(a_chain_of_callbacks_keeps_nobody)
{
    enum { MOST = 2000000 };
    struct shared *s = share();
    struct chain chain = {.pool = pool_with(1, POOL_OPTS(.own_loop = COVEY_ON)),
                          .most = MOST};
    covey_result *result = NULL;
    CHECK_OK(
        covey_pool_apply_async(&result, chain.pool, task_wait, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    add_link(&chain, NULL);
    CHECK_OK(covey_pool_dispatch(chain.pool, COVEY_NOWAIT));
    CHECK_LT(chain.links, MOST);
    CHECK_ERR(covey_result_wait(result, COVEY_MSEC(10)), -ETIMEDOUT);
    CHECK_LT(chain.links, MOST);
    chain.most = 0;
    family_tell(&s->go);
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    covey_result_free(result);
    covey_pool_free(chain.pool);
}

/* What was due before the end is not due any more, however long the loop goes on. */
TEST_EACH_METHOD_AND_THREAD(a_pool_that_has_ended_leaves_the_loop_alone)
{
    struct pollfd entry = {.events = POLLIN};
    covey_result *result = NULL;
    covey_pool *pool = pool_with(2, POOL_OPTS(.own_loop = COVEY_ON));
    CHECK_OK(covey_pool_fd(pool, &entry.fd));
    CHECK_OK(covey_pool_apply_async(&result, pool, task_echo, text_view("x"), NULL));
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    CHECK_OK(covey_pool_close(pool));
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
    (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
    CHECK_EQ(poll(&entry, 1, 0), 0);
    CHECK_EQ(cvy_loop_next_look(cvy_pool_of(pool)), INT64_MAX);
    covey_result_free(result);
    covey_pool_free(pool);
}

CHECK_MAIN()
