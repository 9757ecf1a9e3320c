/* SPDX-License-Identifier: MIT */
/* Limits of time and memory per task, faults on purpose, and what a pool does besides
 * tasks: initializers, exit hooks, replacing workers, another size. */
#include <poll.h>
#include <pthread.h>

#include "pool/limits.h"
#include "pool_help.h"

/* ---- time --------------------------------------------------------------------- */

static int block_if_three(struct covey_call *call)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    return *x == 3 ? task_block(call) : task_square(call);
}

TEST_EACH_METHOD(a_time_limit_ends_one_item_of_a_map)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    enum { N = 50 };
    uint64_t in[N], out[N];
    unsigned char outcomes[N];
    for (uint64_t i = 0; i < N; i++)
        in[i] = i;
    CHECK_ERR(covey_pool_map(
                  pool, block_if_three, in, 8, out, 8, N,
                  COVEY_MAP_OPTS(.time_limit = COVEY_MSEC(150), .outcomes = outcomes)),
              -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "item 3");
    for (uint64_t i = 0; i < N; i++) {
        CHECK_EQ(outcomes[i], i == 3 ? COVEY_OUTCOME_TIMEOUT : COVEY_OUTCOME_OK);
        CHECK_EQ(out[i], i == 3 ? 0 : i * i);
    }
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_time_limit_ends_a_submitted_task)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    covey_result *result = NULL;
    struct covey_task_report report;
    CHECK_OK(covey_pool_apply_async(&result, pool, task_block, COVEY_NO_VIEW,
                                    COVEY_TASK_OPTS(.time_limit = COVEY_MSEC(40))));
    CHECK_ERR(covey_result_get(result, NULL, COVEY_FOREVER), -ETIMEDOUT);
    CHECK_EQ(covey_result_ready(result), 1);
    CHECK_OK(covey_result_report(result, &report));
    CHECK_EQ(report.outcome, COVEY_OUTCOME_TIMEOUT);
    CHECK_GE(report.run, COVEY_MSEC(40));
    covey_result_free(result);
    covey_pool_free(pool);
}

/* One task runs that ends when told to go; nobody watches the pool but the test. */
struct scene {
    struct shared *s;
    covey_pool *pool;
    struct cvy_pool *inner;
    covey_result *result;
};

static void begin_task(struct scene *scene, covey_task_fn *task)
{
    struct shared *s = scene->s = share();
    scene->pool =
        pool_with(1, COVEY_POOL_OPTS(.method = COVEY_FORK, .own_loop = COVEY_ON));
    scene->inner = cvy_pool_of(scene->pool);
    CHECK_OK(covey_pool_apply_async(&scene->result, scene->pool, task, COVEY_VIEW_OF(s),
                                    NULL));
    CHECK_ERR(covey_result_wait(scene->result, COVEY_NOWAIT), -ETIMEDOUT);
    await_count(&s->begun, 1);
}

static void end_scene(struct scene *scene)
{
    covey_result_free(scene->result);
    covey_pool_free(scene->pool);
}

/* As task_wait, but never asleep. */
static int task_spin(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    family_tell(&(*s)->begun);
    while (!atomic_load(&(*s)->go))
        cvy_os_yield();
    return covey_call_return(call, "done", 4);
}

/* The pool says that its time is over, and does not come to killing it for a while. */
TEST(who_waits_for_its_end_sleeps)
{
    struct scene scene;
    begin_task(&scene, task_spin);
    struct cvy_pool *inner = scene.inner;
    uint8_t running = CVY_OUTCOME_RUNNING;
    CHECK(atomic_compare_exchange_strong(&inner->slots[0].batch->outcomes[0], &running,
                                         COVEY_OUTCOME_TIMEOUT));
    family_tell(&scene.s->go);
    while (state_of_thread(inner->worker[0].pid) != 'S')
        cvy_os_yield();
    cvy_limits_end(inner, 0, 0);
    CHECK_ERR(covey_result_get(scene.result, NULL, COVEY_FOREVER), -ETIMEDOUT);
    end_scene(&scene);
}

struct map_of_one {
    covey_pool *pool;
    struct shared *s;
};

static void *map_one(void *arg)
{
    const struct map_of_one *map = arg;
    char out[4];
    CHECK_OK(covey_pool_map(map->pool, task_wait, &map->s, sizeof map->s, out,
                            sizeof out, 1, NULL));
    return NULL;
}

/* The pool has decided to end it, and comes to that when the item has just ended. */
TEST_EACH_METHOD(who_is_to_be_ended_in_a_batch_begins_nothing_else)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct cvy_pool *inner = cvy_pool_of(pool);
    struct cvy_pool_line *line = &inner->shared->lines[0];
    pthread_t thread;
    struct map_of_one map = {pool, s};
    CHECK_EQ(pthread_create(&thread, NULL, map_one, &map), 0);
    await_count(&s->begun, 1);
    uint32_t doomed = atomic_fetch_or(&line->batch, CVY_LINE_DOOMED) | CVY_LINE_DOOMED;
    family_tell(&s->go);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(pthread_create(&thread, NULL, map_one, &map), 0);
    while (!atomic_load(&inner->shared->active))
        cvy_os_yield();
    CHECK_EQ(atomic_load(&line->batch), doomed);
    CHECK_EQ(atomic_load(&s->begun), 1);
    (void)pthread_mutex_lock(&inner->lock);
    CHECK_OK(covey_process_kill(inner->worker[0].process));
    cvy_pool_reap_worker(inner, 0);
    (void)cvy_pool_start_workers(inner);
    (void)pthread_mutex_unlock(&inner->lock);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(atomic_load(&s->begun), 2);
    covey_pool_free(pool);
}

static int die_once(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    if (!atomic_fetch_add(&(*s)->told, 1))
        raise(SIGKILL);
    return 0;
}

static uint32_t line_in_a_batch(struct cvy_pool *inner)
{
    for (uint32_t i = 0;; i = (i + 1) % inner->workers)
        if (atomic_load(&inner->shared->lines[i].batch))
            return i;
}

/* Else the item of the next batch in its place, whose worker dies, seems to be in the hands
 * of the first one, and nobody runs it again. */
TEST_EACH_METHOD(who_leaves_a_canceled_batch_has_nothing_in_its_hands)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS(.retries = 1));
    struct cvy_pool *inner = cvy_pool_of(pool);
    struct map_of_one map = {pool, s};
    struct covey_map_summary sum;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, map_one, &map), 0);
    await_count(&s->begun, 1);
    uint32_t first = line_in_a_batch(inner);
    const struct cvy_pool_line *line = &inner->shared->lines[first];
    CHECK_EQ(atomic_load(&line->batch), 1);
    (void)pthread_mutex_lock(&inner->lock);
    cvy_pool_cancel(inner, 0);
    (void)pthread_mutex_unlock(&inner->lock);
    family_tell(&s->go);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    while (atomic_load(&line->batch) ||
           state_of_thread(inner->worker[first].pid) != 'S')
        cvy_os_yield();
    CHECK_EQ(atomic_load(&line->running), 0);
    CHECK_EQ(kill(inner->worker[first].pid, SIGSTOP), 0);
    CHECK_OK(covey_pool_map(pool, die_once, &s, sizeof s, NULL, 0, 1,
                            COVEY_MAP_OPTS(.summary = &sum)));
    CHECK_EQ(sum.retried, 1);
    CHECK_EQ(kill(inner->worker[first].pid, SIGCONT), 0);
    covey_pool_free(pool);
}

/* A worker that has counted the next task and not said yet which one it is. */
TEST(the_next_task_is_not_asked_to_end)
{
    struct scene scene;
    begin_task(&scene, task_wait);
    struct cvy_pool *inner = scene.inner;
    struct cvy_pool_line *line = &inner->shared->lines[0];
    _Atomic uint8_t *outcome = &inner->slots[0].batch->outcomes[0];
    atomic_store(outcome, COVEY_OUTCOME_OK);
    cvy_limits_warn(inner, 0, 0);
    CHECK_NE(atomic_load(&line->warned), atomic_load(&line->serial));
    atomic_store(outcome, CVY_OUTCOME_RUNNING);
    cvy_limits_warn(inner, 0, 0);
    CHECK_EQ(atomic_load(&line->warned), atomic_load(&line->serial));
    family_tell(&scene.s->go);
    CHECK_OK(covey_result_get(scene.result, NULL, COVEY_FOREVER));
    end_scene(&scene);
}

TEST_EACH_METHOD_AND_THREAD(a_soft_limit_asks)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    CHECK_ERR(covey_pool_apply(pool, task_hang, COVEY_NO_VIEW, NULL,
                               COVEY_TASK_OPTS(.soft_limit = COVEY_MSEC(20))),
              COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "was asked to end");
    covey_pool_free(pool);
}

static int next_x(void *ctx, struct covey_view *ret_item)
{
    int *left = ctx;
    *ret_item = text_view("x");
    return (*left)-- > 0;
}

/* Nobody reads while the limit is over. */
static int take_then_hang(struct covey_call *call)
{
    size_t size = (size_t)100 << 20;
    char *memory = malloc(size);
    for (size_t i = 0; memory && i < size; i += 4096)
        memory[i] = 1;
    (void)task_hang(call);
    free(memory);
    return 0;
}

/* What is submitted between two calls of dispatch has a clock, too. */
TEST_EACH_METHOD(an_event_loop_hears_of_limits)
{
    for (int kind = 0; kind < 2; kind++) {
        covey_pool *pool = pool_with(1, POOL_OPTS(.own_loop = COVEY_ON));
        covey_result *result = NULL;
        struct pollfd ready = {.events = POLLIN};
        CHECK_OK(covey_pool_fd(pool, &ready.fd));
        CHECK_OK(covey_pool_apply(pool, task_echo, text_view("x"), NULL, NULL));
        while (covey_pool_dispatch(pool, COVEY_NOWAIT) >= 0)
            ;
        CHECK_OK(
            covey_pool_apply_async(&result, pool, task_block, COVEY_NO_VIEW,
                                   kind ? COVEY_TASK_OPTS(.time_limit = COVEY_MSEC(30))
                                        : COVEY_TASK_OPTS(.timeout = COVEY_MSEC(30))));
        while (!covey_result_ready(result)) {
            CHECK_EQ(poll(&ready, 1, 20000), 1);
            (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
        }
        CHECK_ERR(covey_result_get(result, NULL, COVEY_NOWAIT), -ETIMEDOUT);
        covey_result_free(result);
        covey_pool_free(pool);
    }
}

/* What is submitted before the first call of dispatch, too. */
TEST_EACH_METHOD(an_event_loop_hears_of_the_first_limits)
{
    for (int kind = 0; kind < 3; kind++) {
        covey_pool *pool = pool_with(1, POOL_OPTS(.own_loop = COVEY_ON));
        covey_result *result = NULL;
        struct pollfd ready = {.events = POLLIN};
        CHECK_OK(covey_pool_fd(pool, &ready.fd));
        CHECK_OK(covey_pool_apply_async(
            &result, pool, kind == 2 ? task_hang : task_block, COVEY_NO_VIEW,
            kind == 0   ? COVEY_TASK_OPTS(.timeout = COVEY_MSEC(30))
            : kind == 1 ? COVEY_TASK_OPTS(.time_limit = COVEY_MSEC(30))
                        : COVEY_TASK_OPTS(.soft_limit = COVEY_MSEC(30))));
        while (!covey_result_ready(result)) {
            CHECK_EQ(poll(&ready, 1, 20000), 1);
            (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
        }
        CHECK_ERR(covey_result_get(result, NULL, COVEY_NOWAIT),
                  kind == 2 ? COVEY_EREMOTE : -ETIMEDOUT);
        covey_result_free(result);
        covey_pool_free(pool);
    }
}

/* Limits are of tasks, whatever is submitted after them. */
TEST_EACH_METHOD(limits_hold_beside_tasks_without_any)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    for (int kind = 0; kind < 3; kind++) {
        covey_result *limited = NULL;
        CHECK_OK(covey_pool_apply_async(
            &limited, pool, kind == 2 ? take_then_hang : task_hang, COVEY_NO_VIEW,
            kind == 0   ? COVEY_TASK_OPTS(.time_limit = COVEY_MSEC(50))
            : kind == 1 ? COVEY_TASK_OPTS(.soft_limit = COVEY_MSEC(50))
                        : COVEY_TASK_OPTS(.memory_limit = UINT64_C(64) << 20)));
        CHECK_OK(covey_pool_apply(pool, task_echo, text_view("x"), NULL, NULL));
        for (int i = 0; i < 10; i++)
            CHECK_OK(
                covey_pool_apply_async(NULL, pool, task_echo, text_view("x"), NULL));
        CHECK_ERR(covey_result_get(limited, NULL, COVEY_SEC(20)), kind == 0 ? -ETIMEDOUT
                                                                  : kind == 1
                                                                      ? COVEY_EREMOTE
                                                                      : -ENOMEM);
        CHECK_EQ(covey_result_ready(limited), 1);
        covey_result_free(limited);
    }
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_time_limit_ends_items_of_an_iterator)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    covey_iterator *it = NULL;
    int left = 3;
    CHECK_OK(covey_pool_imap(&it, pool, task_block, next_x, &left,
                             COVEY_IMAP_OPTS(.time_limit = COVEY_MSEC(30))));
    for (int i = 0; i < 3; i++)
        CHECK_ERR(covey_iterator_next(it, NULL, COVEY_FOREVER), -ETIMEDOUT);
    CHECK_ERR(covey_iterator_next(it, NULL, COVEY_FOREVER), COVEY_EEND);
    covey_iterator_free(it);
    covey_pool_free(pool);
}

/* ---- memory ------------------------------------------------------------------- */

static int take_if_seven(struct covey_call *call)
{
    static void *volatile taken; /* each piece points to the one before */
    const uint64_t *x = covey_call_arg(call, NULL);
    size_t size = *x == 7 ? (size_t)8 << 30 : 1 << 20;
    for (size_t at = 0; at < size; at += 1 << 20) {
        void *memory = malloc(1 << 20);
        if (!memory)
            return -ENOMEM;
        memset(memory, 1, 1 << 20);
        if (*x != 7) {
            free(memory);
            continue;
        }
        *(void **)memory = taken;
        taken = memory;
    }
    return covey_call_return(call, x, sizeof *x);
}

TEST_EACH_METHOD_TIMEOUT(one_that_eats_memory_beside_many_good_ones, 60)
{
    if (SANITIZED)
        return; /* their allocators keep what is freed */
    covey_pool *pool = pool_with(2, POOL_OPTS());
    enum { N = 300 };
    uint64_t in[N], out[N];
    unsigned char outcomes[N];
    for (uint64_t i = 0; i < N; i++)
        in[i] = i;
    CHECK_ERR(
        covey_pool_map(pool, take_if_seven, in, 8, out, 8, N,
                       COVEY_MAP_OPTS(.memory_limit = 64 << 20, .outcomes = outcomes)),
        -ENOMEM);
    CHECK_STR_HAS(covey_error_detail(), "item 7");
    for (uint64_t i = 0; i < N; i++)
        CHECK_EQ(outcomes[i], i == 7 ? COVEY_OUTCOME_MEMORY : COVEY_OUTCOME_OK);
    covey_pool_free(pool);
}

/* ---- faults ------------------------------------------------------------------- */

TEST_EACH_METHOD(faults_on_purpose_happen)
{
    if (SANITIZED)
        return;
    covey_pool *pool =
        pool_with(2, POOL_OPTS(.faults = {.die_at = 2, .hang_at = 3, .memory_at = 4}));
    const struct covey_task_opts *opts =
        COVEY_TASK_OPTS(.time_limit = COVEY_MSEC(500), .memory_limit = 16 << 20);
    static const int codes[] = {0, COVEY_ECRASHED, -ETIMEDOUT, -ENOMEM, 0, 0};
    for (int i = 0; i < 6; i++) {
        int r = covey_pool_apply(pool, task_echo, text_view("x"), NULL, opts);
        if (r != codes[i])
            check_failed(__FILE__, __LINE__, "task %d: %d, %s", i + 1, r,
                         covey_error_detail());
    }
    covey_pool_free(pool);
}

/* It comes to the net under the limit before anybody has looked. */
TEST(fault_of_memory_under_a_small_limit_is_seen)
{
    if (SANITIZED)
        return;
    for (int i = 0; i < 10; i++) {
        covey_pool *pool = pool_with(1, POOL_OPTS(.faults = {.memory_at = 1}));
        CHECK_ERR(covey_pool_apply(pool, task_echo, text_view("x"), NULL,
                                   COVEY_TASK_OPTS(.memory_limit = 1 << 20)),
                  -ENOMEM);
        covey_pool_free(pool);
    }
}

/* ---- before and after tasks ---------------------------------------------------- */

static int init_worker(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    covey_worker_set_state(s);
    atomic_fetch_add(&s->begun, 1);
    return 0;
}

static int end_worker(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    CHECK(covey_worker_state() == s);
    atomic_fetch_add(&s->ended, 1);
    return 0;
}

static int use_state(struct covey_call *call)
{
    struct shared *s = covey_worker_state();
    (void)call;
    atomic_fetch_add(&s->told, 1);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(initializer_and_exit_hook_run_once_per_worker)
{
    struct shared *s = share();
    covey_pool *pool =
        pool_with(3, POOL_OPTS(.initializer = init_worker, .initarg = COVEY_VIEW_OF(s),
                               .exit_hook = end_worker, .exitarg = COVEY_VIEW_OF(s)));
    for (int i = 0; i < 100; i++)
        CHECK_OK(covey_pool_apply(pool, use_state, COVEY_NO_VIEW, NULL, NULL));
    CHECK_EQ(atomic_load(&s->told), 100);
    await_count(&s->begun, 1);
    CHECK_OK(covey_pool_close(pool));
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    CHECK_EQ(atomic_load(&s->begun), atomic_load(&s->ended));
    CHECK_LE(atomic_load(&s->begun), 3);
    covey_pool_free(pool);
}

static int fail_init(struct covey_view arg)
{
    (void)arg;
    return 42;
}

TEST_EACH_METHOD(a_failing_initializer_is_told)
{
    covey_pool *pool = pool_with(2, POOL_OPTS(.initializer = fail_init));
    covey_result *result = NULL;
    int r = covey_pool_apply(pool, task_echo, text_view("x"), NULL, NULL);
    CHECK_EQ(r, COVEY_EBROKEN);
    CHECK_STR_HAS(covey_error_detail(), "the initializer returned 42");
    CHECK_OK(covey_pool_apply_async(&result, pool, task_echo, text_view("x"), NULL));
    CHECK_ERR(covey_result_get(result, NULL, COVEY_FOREVER), COVEY_EBROKEN);
    CHECK_STR_HAS(covey_error_detail(), "the initializer returned 42");
    covey_result_free(result);
    covey_pool_free(pool);
}

static int crash_init(struct covey_view arg)
{
    (void)arg;
    raise(SIGKILL);
    return 0;
}

/* Also by iterators, item by item. */
TEST_EACH_METHOD(a_crashing_initializer_is_told)
{
    covey_pool *pool = pool_with(1, POOL_OPTS(.initializer = crash_init));
    covey_iterator *it = NULL;
    int left = 2;
    CHECK_OK(covey_pool_imap(&it, pool, task_echo, next_x, &left, NULL));
    for (int i = 0; i < 2; i++) {
        CHECK_ERR(covey_iterator_next(it, NULL, COVEY_FOREVER), COVEY_EBROKEN);
        CHECK_STR_HAS(covey_error_detail(), "SIGKILL");
    }
    CHECK_ERR(covey_iterator_next(it, NULL, COVEY_FOREVER), COVEY_EEND);
    covey_iterator_free(it);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_worker_is_replaced_after_its_tasks)
{
    covey_pool *pool = pool_with(1, POOL_OPTS(.max_tasks = 3));
    struct covey_bytes got = {0};
    int pids[12], changes = 0;
    for (int i = 0; i < 12; i++) {
        CHECK_OK(covey_pool_apply(pool, task_pid, COVEY_NO_VIEW, &got, NULL));
        pids[i] = *(int *)got.data;
        changes += i && pids[i] != pids[i - 1];
        CHECK_EQ(i && pids[i] != pids[i - 1], i && i % 3 == 0);
    }
    CHECK_EQ(changes, 3);
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(maps_go_through_workers_that_are_replaced)
{
    covey_pool *pool = pool_with(2, POOL_OPTS(.max_tasks = 40));
    enum { N = 1000 };
    uint64_t in[N], out[N];
    struct covey_map_summary sum;
    for (uint64_t i = 0; i < N; i++)
        in[i] = i;
    CHECK_OK(covey_pool_map(pool, task_square, in, 8, out, 8, N,
                            COVEY_MAP_OPTS(.summary = &sum)));
    for (uint64_t i = 0; i < N; i++)
        CHECK_EQ(out[i], i * i);
    CHECK_EQ(sum.crashes, 0);
    covey_pool_free(pool);
}

/* ---- size --------------------------------------------------------------------- */

static size_t children(void)
{
    size_t n = 0;
    CHECK_OK(covey_active_children(NULL, 0, &n));
    return n;
}

TEST_EACH_METHOD(a_pool_gets_larger_and_smaller)
{
    covey_pool *pool = pool_with(1, POOL_OPTS(.max_workers = 5));
    struct covey_pool_stats stats;
    enum { N = 2000 };
    uint64_t in[N], out[N];
    for (uint64_t i = 0; i < N; i++)
        in[i] = i;
    static const size_t sizes[] = {5, 2, 3, 1, 4};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK_OK(covey_pool_resize(pool, sizes[i]));
        CHECK_OK(covey_pool_map(pool, task_square, in, 8, out, 8, N, NULL));
        for (uint64_t k = 0; k < N; k++)
            CHECK_EQ(out[k], k * k);
        CHECK_OK(covey_pool_stats(pool, &stats));
        CHECK_EQ(stats.workers, sizes[i]);
        while (children() != sizes[i]) /* those that are too many are about to end */
            cvy_os_yield();
    }
    CHECK_ERR(covey_pool_resize(pool, 0), -EINVAL);
    CHECK_ERR(covey_pool_resize(pool, 6), -EINVAL);
    covey_pool_free(pool);
}

/* ---- numbers and traces --------------------------------------------------------- */

static int look_at_stats(struct covey_call *call)
{
    covey_pool *const *pool = covey_call_arg(call, NULL);
    struct covey_pool_stats stats;
    int r = covey_pool_stats(*pool, &stats);
    return r < 0 ? r : covey_call_return(call, &stats, sizeof stats);
}

TEST_EACH_METHOD_AND_THREAD(any_process_may_read_the_numbers)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct covey_pool_stats stats;
    struct covey_bytes got = {0};
    for (int i = 0; i < 10; i++)
        CHECK_OK(covey_pool_apply(pool, task_echo, text_view("abc"), NULL, NULL));
    CHECK_ERR(covey_pool_apply(pool, task_fail, text_view("abc"), NULL, NULL),
              COVEY_EREMOTE);
    CHECK_OK(covey_pool_apply(pool, look_at_stats, COVEY_VIEW_OF(pool), &got, NULL));
    memcpy(&stats, got.data, sizeof stats);
    CHECK_EQ(stats.workers, 2);
    CHECK_EQ(stats.done, 11);
    CHECK_EQ(stats.failed, 1);
    CHECK_EQ(stats.bytes_out, 30);
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

static char *file_text(const char *path)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

TEST_EACH_METHOD(a_trace_has_a_slice_per_task)
{
    char path[] = "/tmp/covey-trace-XXXXXX", command[256];
    int fd = mkstemp(path);
    CHECK_GE(fd, 0);
    close(fd);
    covey_pool *pool = pool_with(2, POOL_OPTS(.trace = path));
    enum { N = 100 };
    uint64_t in[N] = {0}, out[N];
    CHECK_OK(covey_pool_map(pool, task_square, in, 8, out, 8, N, NULL));
    CHECK_ERR(covey_pool_apply(pool, task_fail, text_view("\"quoted\""), NULL, NULL),
              COVEY_EREMOTE);
    covey_pool_free(pool);
    size_t slices = 0;
    for (const char *at = file_text(path); (at = strstr(at, "\"ph\":\"X\"")); at++)
        slices++;
    CHECK_EQ(slices, N + 1);
    CHECK_STR_HAS(file_text(path), "no \\\"quoted\\\" today");
    snprintf(command, sizeof command,
             "python3 -c 'import json,sys; json.load(open(sys.argv[1]))' %s", path);
    CHECK_EQ(system(command), 0);
    unlink(path);
}

static int no_item(void *ctx, struct covey_view *ret_item)
{
    (void)ctx;
    (void)ret_item;
    return 0;
}

TEST(negative_limits_are_errors)
{
    covey_pool *pool = pool_with(1, NULL);
    covey_result *result = NULL;
    covey_iterator *it = NULL;
    const struct covey_view none = COVEY_NO_VIEW;
    for (int soft = 0; soft < 2; soft++) {
        covey_nsec time = soft ? 0 : -1;
        const struct covey_task_opts *one =
            COVEY_TASK_OPTS(.time_limit = time, .soft_limit = -soft);
        const struct covey_map_opts *all =
            COVEY_MAP_OPTS(.time_limit = time, .soft_limit = -soft);
        const struct covey_imap_opts *some =
            COVEY_IMAP_OPTS(.time_limit = time, .soft_limit = -soft);
        CHECK_ERR(covey_pool_apply(pool, task_echo, COVEY_NO_VIEW, NULL, one), -EINVAL);
        CHECK_ERR(covey_pool_apply_async(&result, pool, task_echo, COVEY_NO_VIEW, one),
                  -EINVAL);
        CHECK_ERR(covey_pool_map(pool, task_echo, NULL, 0, NULL, 0, 1, all), -EINVAL);
        CHECK_ERR(
            covey_pool_map_async(&result, pool, task_echo, NULL, 0, NULL, 0, 1, all),
            -EINVAL);
        CHECK_ERR(covey_pool_map_bytes(pool, task_echo, &none, NULL, 1, all), -EINVAL);
        CHECK_ERR(covey_pool_imap(&it, pool, task_echo, no_item, NULL, some), -EINVAL);
        CHECK_STR_HAS(covey_error_detail(), "is negative");
    }
    covey_pool_free(pool);
}

TEST(progress_is_quiet_where_nobody_looks)
{
    struct catcher c = catch_output(2);
    covey_progress_bar(NULL, 0, 100);
    covey_progress_bar(NULL, 100, 100);
    CHECK_STR_EQ(caught(&c), "");
}

CHECK_MAIN()
