/* SPDX-License-Identifier: MIT */
/* Tasks that fail: their items, the others', and the texts they give. */
#include <pthread.h>

#include "pool/pool.h"
#include "pool_help.h"

static int fail_if_odd(struct covey_call *call)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    if (*x % 2)
        return covey_call_fail(call, "%llu\nis odd", (unsigned long long)*x);
    return covey_call_return(call, x, sizeof *x);
}

static int bare_error(struct covey_call *call)
{
    (void)call;
    return -EDOM;
}

static int too_short(struct covey_call *call)
{
    return covey_call_return(call, "abc", 3);
}

static int no_result(struct covey_call *call)
{
    (void)call;
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(a_failing_task_fails_its_item_only)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    enum { N = 1001 };
    uint64_t x[N], y[N];
    unsigned char outcomes[N];
    struct covey_map_summary sum;
    for (size_t i = 0; i < N; i++)
        x[i] = i;
    memset(y, 0xee, sizeof y);
    CHECK_ERR(covey_pool_map(pool, fail_if_odd, x, 8, y, 8, N,
                             COVEY_MAP_OPTS(.outcomes = outcomes, .summary = &sum)),
              COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "item 1 of 1001: 1 is odd");
    for (size_t i = 0; i < N; i++) {
        CHECK_EQ(outcomes[i], i % 2 ? COVEY_OUTCOME_ERROR : COVEY_OUTCOME_OK);
        CHECK_EQ(y[i], i % 2 ? 0 : i);
    }
    CHECK_EQ(sum.ok, 501);
    CHECK_EQ(sum.failed, 500);
    CHECK_EQ(sum.first_failed, 1);
    CHECK_EQ(sum.crashes, 0);
    CHECK_STR_HAS(sum.text, "1 is odd");
    CHECK_OK(covey_pool_map(pool, task_square, x, 8, y, 8, 100, NULL));
    CHECK_EQ(y[99], 99 * 99);
    covey_pool_free(pool);
}

static atomic_uint arrived;

/* Two at a time. */
static int fail_with_another(struct covey_call *call)
{
    unsigned pair = atomic_fetch_add(&arrived, 1) / 2;
    while (atomic_load(&arrived) / 2 == pair)
        sched_yield();
    return covey_call_fail(call, "%s fails",
                           *(const int *)covey_call_arg(call, NULL) ? "second"
                                                                    : "first");
}

/* By threads, which can meet so closely. */
TEST(first_text_is_kept_of_items_that_fail_at_once)
{
    covey_pool *pool = pool_with(2, COVEY_POOL_OPTS(.method = COVEY_THREAD));
    const int x[2] = {0, 1};
    for (int i = 0; i < 500; i++) {
        CHECK_ERR(covey_pool_map(pool, fail_with_another, x, sizeof *x, NULL, 0, 2,
                                 COVEY_MAP_OPTS(.chunksize = 1)),
                  COVEY_EREMOTE);
        CHECK_STR_HAS(covey_error_detail(), "item 0 of 2: first fails");
    }
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_task_that_returns_an_error_code)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    CHECK_ERR(covey_pool_map(pool, bare_error, NULL, 0, NULL, 0, 3, NULL),
              COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "EDOM");
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_result_of_the_wrong_size_is_an_error)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    uint64_t y[2] = {1, 1};
    unsigned char outcomes[2];
    struct covey_map_opts *opts = COVEY_MAP_OPTS(.outcomes = outcomes);
    CHECK_ERR(covey_pool_map(pool, too_short, NULL, 0, y, 8, 2, opts), -EMSGSIZE);
    CHECK_STR_HAS(covey_error_detail(), "the result has 3 bytes where 8 are wanted");
    CHECK_EQ(outcomes[0], COVEY_OUTCOME_ERROR);
    CHECK_EQ(y[0], 0);
    CHECK_ERR(covey_pool_map(pool, no_result, NULL, 0, y, 8, 2, opts), -EMSGSIZE);
    CHECK_STR_HAS(covey_error_detail(), "no result");
    CHECK_ERR(covey_pool_map(pool, too_short, NULL, 0, NULL, 0, 2, opts), -EMSGSIZE);
    covey_pool_free(pool);
}

struct step {
    struct shared *s;
    uint64_t number;
};

/* Number 7 ends its worker once, when its result is there. */
static int add_one(struct covey_call *call)
{
    struct step step = *(const struct step *)covey_call_arg(call, NULL);
    bool dies = step.number == 7;
    step.number++;
    int r = covey_call_return(call, &step, sizeof step);
    if (dies && atomic_fetch_add(&step.s->told, 1) == 0)
        raise(SIGKILL);
    return r;
}

TEST_EACH_METHOD(an_item_that_runs_again_gets_its_argument)
{
    enum { N = 20 };
    covey_pool *pool = pool_with(2, POOL_OPTS(.retries = 1));
    struct shared *s = share();
    void *object = NULL;
    cvy_ref body = 0;
    CHECK_OK(cvy_object_create(CVY_KIND_TEST, 64, 0, N * sizeof(struct step), &object,
                               &body));
    struct step *steps = cvy_at(body);
    for (uint64_t i = 0; i < N; i++)
        steps[i] = (struct step){s, i};
    CHECK_OK(covey_pool_map(pool, add_one, steps, sizeof *steps, steps, sizeof *steps,
                            N, NULL));
    for (uint64_t i = 0; i < N; i++)
        CHECK_EQ(steps[i].number, i + 1);
    CHECK_EQ(s->told, 2); /* runs of number 7 */
    covey_pool_free(pool);
    CHECK_OK(cvy_object_release(object));
}

struct lost_map {
    covey_pool *pool;
    struct shared *s;
};

static void *map_in_place(void *arg)
{
    const struct lost_map *map = arg;
    unsigned char outcome = COVEY_OUTCOME_NONE;
    memcpy(&map->s->numbers[0], &map->s, sizeof map->s);
    CHECK_ERR(covey_pool_map(map->pool, task_wait, &map->s->numbers[0], sizeof map->s,
                             &map->s->numbers[4], 4, 1,
                             COVEY_MAP_OPTS(.outcomes = &outcome)),
              COVEY_EBROKEN);
    CHECK_EQ(outcome, COVEY_OUTCOME_TIMEOUT);
    return NULL;
}

/* Another thread finds that workers cannot be started, just after one has begun. */
TEST_EACH_METHOD(a_map_that_is_given_up_leaves_nobody_in_its_arrays)
{
    struct shared *s = share();
    struct lost_map map = {pool_with(1, POOL_OPTS()), s};
    struct cvy_pool *inner = cvy_pool_of(map.pool);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, map_in_place, &map), 0);
    await_count(&s->begun, 1);
    (void)pthread_mutex_lock(&inner->lock);
    inner->maps[0]->give_up = true;
    cvy_pool_ring_map(inner, 0);
    (void)pthread_mutex_unlock(&inner->lock);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(cvy_line_batch(&inner->shared->lines[0]), 0);
    family_tell(&s->go);
    covey_pool_free(map.pool);
}

CHECK_MAIN()
