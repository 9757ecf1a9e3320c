/* SPDX-License-Identifier: MIT */
/* Pools in tasks of pools. */
#include "pool_help.h"

#include <covey.h>

enum { INNER = 20 };

/* Sums squares by a pool of its own. */
static int sum_by_pool(struct covey_call *call)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    uint64_t in[INNER], out[INNER], sum = 0;
    covey_pool *pool = NULL;
    struct covey_pool_stats stats;
    for (uint64_t i = 0; i < INNER; i++)
        in[i] = *x + i;
    if (covey_pool_create(&pool, 0, NULL) < 0 ||
        covey_pool_map(pool, task_square, in, 8, out, 8, INNER, NULL) < 0 ||
        covey_pool_stats(pool, &stats) < 0)
        return covey_call_fail(call, "%s", covey_error_detail());
    for (int i = 0; i < INNER; i++)
        sum += out[i];
    covey_pool_free(pool);
    if (stats.workers != 1)
        return covey_call_fail(call, "%d workers", (int)stats.workers);
    return covey_call_return(call, &sum, sizeof sum);
}

TEST_EACH_METHOD_AND_THREAD(tasks_have_pools_of_their_own)
{
    size_t cores;
    CHECK_OK(covey_cpu_count(&cores));
    covey_pool *pool = pool_with(cores, POOL_OPTS());
    uint64_t in[6], out[6];
    for (uint64_t i = 0; i < 6; i++)
        in[i] = 100 * i;
    CHECK_OK(covey_pool_map(pool, sum_by_pool, in, 8, out, 8, 6, NULL));
    for (uint64_t i = 0; i < 6; i++) {
        uint64_t sum = 0;
        for (uint64_t x = in[i]; x < in[i] + INNER; x++)
            sum += x * x;
        CHECK_EQ(out[i], sum);
    }
    covey_pool_free(pool);
}

static int count_workers(struct covey_call *call)
{
    uint64_t workers[2] = {0};
    covey_pool *pool = NULL;
    struct covey_pool_stats stats;
    struct covey_bytes bytes = {0};
    const int *depth = covey_call_arg(call, NULL);
    int below = *depth - 1;
    CHECK_OK(covey_pool_create(&pool, 0, NULL));
    CHECK_OK(covey_pool_stats(pool, &stats));
    workers[0] = stats.workers;
    if (*depth > 1) {
        CHECK_OK(
            covey_pool_apply(pool, count_workers, COVEY_VIEW_OF(below), &bytes, NULL));
        memcpy(&workers[1], bytes.data, sizeof workers[1]);
    }
    covey_bytes_free(&bytes);
    covey_pool_free(pool);
    return covey_call_return(call, workers, sizeof workers);
}

/* A pool of one worker hands on all cores; the pool in that has used them up. */
TEST(nested_pools_share_the_cores)
{
    size_t cores;
    uint64_t workers[2];
    int depth = 2;
    struct covey_bytes bytes = {0};
    CHECK_OK(covey_cpu_count(&cores));
    covey_pool *pool = pool_with(1, NULL);
    CHECK_OK(covey_pool_apply(pool, count_workers, COVEY_VIEW_OF(depth), &bytes, NULL));
    memcpy(workers, bytes.data, sizeof workers);
    CHECK_EQ(workers[0], cores);
    CHECK_EQ(workers[1], 1);
    covey_bytes_free(&bytes);
    covey_pool_free(pool);
}

static int keep_state(struct covey_view arg)
{
    covey_worker_set_state(shared_of(arg));
    return 0;
}

static int task_has_state(struct covey_call *call)
{
    int has = covey_worker_state() != NULL;
    return covey_call_return(call, &has, sizeof has);
}

/* Workers that are forks of this one. */
static int ask_for_state_below(struct covey_call *call)
{
    struct covey_bytes bytes = {0};
    covey_pool *pool = NULL;
    CHECK(covey_worker_state() != NULL);
    CHECK_OK(covey_pool_create(&pool, 1, COVEY_POOL_OPTS(.method = COVEY_FORK)));
    CHECK_OK(covey_pool_apply(pool, task_has_state, COVEY_NO_VIEW, &bytes, NULL));
    int has = *(const int *)bytes.data;
    covey_bytes_free(&bytes);
    covey_pool_free(pool);
    return covey_call_return(call, &has, sizeof has);
}

TEST_EACH_METHOD(a_worker_in_a_task_begins_without_a_state)
{
    struct shared *s = share();
    struct covey_bytes bytes = {0};
    covey_pool *pool =
        pool_with(1, POOL_OPTS(.initializer = keep_state, .initarg = COVEY_VIEW_OF(s)));
    CHECK_OK(covey_pool_apply(pool, ask_for_state_below, COVEY_NO_VIEW, &bytes, NULL));
    CHECK_EQ(*(const int *)bytes.data, 0);
    covey_bytes_free(&bytes);
    covey_pool_free(pool);
}

/* Tells the pid of a worker of its own pool, which hangs. What is below has the same end,
 * and may come to it a little before this does. */
static int hang_below(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    struct covey_bytes bytes = {0};
    covey_pool *pool = NULL;
    CHECK_OK(covey_pool_create(&pool, 1, NULL));
    CHECK_OK(covey_pool_apply(pool, task_pid, COVEY_NO_VIEW, &bytes, NULL));
    (*s)->numbers[0] = *(int *)bytes.data;
    family_tell(&(*s)->begun);
    (void)covey_pool_apply(pool, task_block, COVEY_NO_VIEW, NULL, NULL);
    family_pause();
}

/* Returns: whether it had come so far that something was below. */
static bool check_ends_below(struct covey_task_opts *opts, int code)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(1, POOL_OPTS());
    covey_result *result = NULL;
    CHECK_OK(covey_pool_apply_async(&result, pool, hang_below, COVEY_VIEW_OF(s), opts));
    if (code == -ECANCELED) {
        await_count(&s->begun, 1);
        CHECK_OK(covey_result_cancel(result, 1));
    }
    CHECK_ERR(covey_result_get(result, NULL, COVEY_FOREVER), code);
    bool has_begun = atomic_load(&s->begun);
    if (has_begun)
        await_gone((int)s->numbers[0]);
    covey_result_free(result);
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("on"), NULL, NULL));
    covey_pool_free(pool);
    /* What was coming up then is about to end, but for this process and a fork server. */
    while (!has_begun && family_usage().members > 2)
        cvy_os_yield();
    return has_begun;
}

/* A busy machine may want more time until something is below. */
TEST_EACH_METHOD(a_time_limit_ends_what_is_below)
{
    covey_nsec limit = COVEY_MSEC(125);
    do
        limit *= 2;
    while (!check_ends_below(COVEY_TASK_OPTS(.time_limit = limit), -ETIMEDOUT));
}

TEST_EACH_METHOD(a_cancelled_task_takes_its_pool_along)
{
    CHECK(check_ends_below(COVEY_TASK_OPTS(.priority = 0), -ECANCELED));
}

TEST_EACH_METHOD(a_pool_that_ends_takes_nested_ones_along)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(1, POOL_OPTS());
    CHECK_OK(covey_pool_apply_async(NULL, pool, hang_below, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    covey_pool_free(pool);
    await_gone((int)s->numbers[0]);
}

CHECK_MAIN()
