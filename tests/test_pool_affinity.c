/* SPDX-License-Identifier: MIT */
/* Tasks that prefer the worker that had others of their key. */
#include <pthread.h>

#include "pool_help.h"

#include <covey.h>

#define KEYED(...) COVEY_TASK_OPTS(.affinity_wait = COVEY_FOREVER, __VA_ARGS__)

/* Who runs it: a process, or a thread of one. */
static int task_self(struct covey_call *call)
{
    uint64_t self = (uint64_t)getpid() ^ (uint64_t)pthread_self() << 16;
    return covey_call_return(call, &self, sizeof self);
}

static uint64_t take_number(covey_result *result)
{
    struct covey_bytes bytes = {0};
    uint64_t number = 0;
    CHECK_OK(covey_result_get(result, &bytes, COVEY_FOREVER));
    CHECK_EQ(bytes.size, sizeof number);
    memcpy(&number, bytes.data, sizeof number);
    covey_bytes_free(&bytes);
    covey_result_free(result);
    return number;
}

static covey_result *submitted(covey_pool *pool, covey_task_fn *fn,
                               struct covey_view arg,
                               const struct covey_task_opts *opts)
{
    covey_result *result = NULL;
    CHECK_OK(covey_pool_apply_async(&result, pool, fn, arg, opts));
    return result;
}

static uint64_t self_of(covey_pool *pool, const struct covey_task_opts *opts)
{
    return take_number(submitted(pool, task_self, COVEY_NO_VIEW, opts));
}

TEST_EACH_METHOD_AND_THREAD(tasks_of_a_key_run_in_one_worker)
{
    enum { KEYS = 20, ROUNDS = 10 };
    covey_pool *pool = pool_with(3, POOL_OPTS());
    covey_result *results[KEYS * ROUNDS];
    uint64_t selves[KEYS], others = 0;
    for (int i = 0; i < KEYS * ROUNDS; i++)
        results[i] = submitted(pool, task_self, COVEY_NO_VIEW,
                               KEYED(.affinity = 1 + (uint64_t)i % KEYS));
    for (int i = 0; i < KEYS * ROUNDS; i++) {
        uint64_t self = take_number(results[i]);
        if (i >= KEYS)
            CHECK_EQ(self, selves[i % KEYS]);
        selves[i % KEYS] = self;
    }
    for (int i = 1; i < KEYS; i++)
        others += selves[i] != selves[0];
    CHECK_GT(others, 0); /* they are spread */
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(a_busy_worker_is_not_waited_for_any_longer)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    uint64_t self = self_of(pool, KEYED(.affinity = 7));
    covey_result *busy =
        submitted(pool, task_wait, COVEY_VIEW_OF(s), KEYED(.affinity = 7));
    await_count(&s->begun, 1);
    const struct covey_task_opts *soon =
        COVEY_TASK_OPTS(.affinity = 7, .affinity_wait = COVEY_MSEC(1));
    CHECK_NE(self_of(pool, soon), self);
    CHECK_NE(self_of(pool, COVEY_TASK_OPTS(.affinity = 7)), self);
    CHECK_NE(self_of(pool, NULL), self);
    family_tell(&s->go);
    CHECK_OK(covey_result_get(busy, NULL, COVEY_FOREVER));
    covey_result_free(busy);
    CHECK_EQ(self_of(pool, KEYED(.affinity = 7)), self);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_key_outlives_its_worker)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(3, POOL_OPTS());
    covey_result *busy =
        submitted(pool, task_wait, COVEY_VIEW_OF(s), KEYED(.affinity = UINT64_MAX));
    await_count(&s->begun, 1);
    covey_result *later =
        submitted(pool, task_self, COVEY_NO_VIEW, KEYED(.affinity = UINT64_MAX));
    CHECK_OK(covey_result_cancel(busy, 1)); /* which ends the worker */
    CHECK_ERR(covey_result_get(busy, NULL, COVEY_FOREVER), -ECANCELED);
    covey_result_free(busy);
    uint64_t self = take_number(later);
    CHECK_EQ(self_of(pool, KEYED(.affinity = UINT64_MAX)), self);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(keys_of_workers_that_go_move)
{
    covey_pool *pool = pool_with(4, POOL_OPTS());
    for (size_t workers = 4; workers; workers--) {
        CHECK_OK(covey_pool_resize(pool, workers));
        for (uint64_t key = 1; key <= 20; key++)
            CHECK_EQ(self_of(pool, KEYED(.affinity = key)),
                     self_of(pool, KEYED(.affinity = key)));
    }
    covey_pool_free(pool);
}

TEST_EACH_METHOD(keys_in_an_event_loop_are_not_waited_for_any_longer)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS(.own_loop = COVEY_ON));
    covey_result *busy =
        submitted(pool, task_wait, COVEY_VIEW_OF(s), KEYED(.affinity = 7));
    while (!atomic_load(&s->begun))
        (void)covey_pool_dispatch(pool, COVEY_SEC(1));
    covey_result *other =
        submitted(pool, task_self, COVEY_NO_VIEW, COVEY_TASK_OPTS(.affinity = 7));
    while (!covey_result_ready(other))
        (void)covey_pool_dispatch(pool, COVEY_FOREVER);
    (void)take_number(other);
    family_tell(&s->go);
    CHECK_OK(covey_result_get(busy, NULL, COVEY_FOREVER));
    covey_result_free(busy);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_call_that_waits_has_a_key_too)
{
    covey_pool *pool = pool_with(3, POOL_OPTS());
    struct covey_bytes bytes = {0};
    uint64_t selves[2];
    for (int i = 0; i < 2; i++) {
        CHECK_OK(covey_pool_apply(pool, task_self, COVEY_NO_VIEW, &bytes,
                                  KEYED(.affinity = 3)));
        memcpy(&selves[i], bytes.data, sizeof selves[i]);
    }
    CHECK_EQ(selves[0], selves[1]);
    covey_bytes_free(&bytes);
    covey_pool_free(pool);
}

TEST(wrong_affinities_are_errors)
{
    covey_pool *pool = pool_with(1, NULL);
    CHECK_ERR(covey_pool_apply_async(
                  NULL, pool, task_self, COVEY_NO_VIEW,
                  COVEY_TASK_OPTS(.affinity = 1, .affinity_wait = COVEY_NOWAIT)),
              -EINVAL);
    CHECK_ERR(covey_pool_apply(pool, task_self, COVEY_NO_VIEW, NULL,
                               COVEY_TASK_OPTS(.affinity_wait = 1)),
              -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "affinity");
    covey_pool_free(pool);
}

CHECK_MAIN()
