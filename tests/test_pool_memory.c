/* SPDX-License-Identifier: MIT */
/* Tasks that declare the memory they need, and those that turn out to need more. */
#include <stdlib.h>

#include "pool/pool.h"
#include "pool_help.h"

#include <covey.h>

#define MIB (UINT64_C(1) << 20)

/* ---- admission --------------------------------------------------------------- */

/* numbers[0]: tasks that run, numbers[1]: most of them at once. */
static int count_running(struct covey_call *call)
{
    struct shared *const *at = covey_call_arg(call, NULL);
    _Atomic int64_t *running = (_Atomic int64_t *)&(*at)->numbers[0];
    _Atomic int64_t *most = (_Atomic int64_t *)&(*at)->numbers[1];
    int64_t now = atomic_fetch_add(running, 1) + 1, seen = atomic_load(most);
    while (seen < now && !atomic_compare_exchange_weak(most, &seen, now))
        continue;
    nanosleep(&(struct timespec){0, 500000}, NULL);
    atomic_fetch_sub(running, 1);
    return covey_call_return(call, NULL, 0);
}

TEST_EACH_METHOD_AND_THREAD(as_many_run_as_memory_is_declared_for)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(4, POOL_OPTS(.memory = 10 * MIB));
    covey_result *results[40];
    for (int i = 0; i < 40; i++)
        CHECK_OK(covey_pool_apply_async(
            &results[i], pool, count_running, COVEY_VIEW_OF(s),
            COVEY_TASK_OPTS(.memory = i % 2 ? 4 * MIB : 5 * MIB)));
    for (int i = 0; i < 40; i++) {
        CHECK_OK(covey_result_get(results[i], NULL, COVEY_FOREVER));
        covey_result_free(results[i]);
    }
    CHECK_GE(s->numbers[1], 1);
    CHECK_LE(s->numbers[1], 2);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(memory_of_the_dead_and_the_cancelled_comes_back)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(2, POOL_OPTS(.memory = 8));
    const struct covey_task_opts *all = COVEY_TASK_OPTS(.memory = 8);
    covey_result *first = NULL, *second = NULL;
    CHECK_ERR(covey_pool_apply(pool, task_die, COVEY_NO_VIEW, NULL, all),
              COVEY_ECRASHED);
    CHECK_ERR(covey_pool_apply(pool, task_fail, text_view("x"), NULL, all),
              COVEY_EREMOTE);
    CHECK_OK(covey_pool_apply_async(&first, pool, task_wait, COVEY_VIEW_OF(s), all));
    CHECK_OK(covey_pool_apply_async(&second, pool, task_echo, text_view("y"), all));
    await_count(&s->begun, 1);
    CHECK_OK(covey_result_cancel(second, 0)); /* waits for the first one's memory */
    CHECK_OK(covey_result_cancel(first, 1));
    CHECK_ERR(covey_result_get(first, NULL, COVEY_FOREVER), -ECANCELED);
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("z"), NULL, all));
    covey_result_free(first);
    covey_result_free(second);
    covey_pool_free(pool);
}

TEST(wrong_memory_is_an_error)
{
    covey_pool *pool = pool_with(1, COVEY_POOL_OPTS(.memory = 8, .name = "small"));
    CHECK_ERR(covey_pool_apply(pool, task_echo, text_view("x"), NULL,
                               COVEY_TASK_OPTS(.memory = 9)),
              -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "declares 9 bytes, small has 8");
    CHECK_ERR(covey_pool_apply(pool, task_echo, text_view("x"), NULL,
                               COVEY_TASK_OPTS(.memory_growth = 2)),
              -EINVAL);
    CHECK_ERR(covey_pool_apply(pool, task_echo, text_view("x"), NULL,
                               COVEY_TASK_OPTS(.memory_growth = 1, .memory_limit = 1)),
              -EINVAL);
    covey_pool_free(pool);
}

/* ---- what the family has ------------------------------------------------------ */

TEST_EACH_METHOD(what_does_not_fit_cancels_nothing_else)
{
    enum { N = 40, LARGE = 20 };
    static const char large[8 * MIB];
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = 4 * MIB)));
    struct shared *s = share();
    covey_pool *pool = pool_with(1, POOL_OPTS(.memory = 100));
    covey_result *first = NULL, *results[N];
    struct covey_task_report report;
    CHECK_OK(covey_pool_apply_async(&first, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    for (int i = 0; i < N; i++)
        CHECK_OK(covey_pool_apply_async(&results[i], pool, task_echo,
                                        COVEY_VIEW(large, i == LARGE ? 8 * MIB : 1),
                                        COVEY_TASK_OPTS(.memory = 100)));
    family_tell(&s->go);
    CHECK_OK(covey_result_get(first, NULL, COVEY_FOREVER));
    covey_result_free(first);
    for (int i = 0; i < N; i++) {
        if (i != LARGE) {
            CHECK_OK(covey_result_get(results[i], NULL, COVEY_FOREVER));
        } else {
            CHECK_ERR(covey_result_get(results[i], NULL, COVEY_FOREVER), -ENOMEM);
            CHECK_STR_HAS(covey_error_detail(), "budget");
            CHECK_OK(covey_result_report(results[i], &report));
            CHECK_EQ(report.outcome, COVEY_OUTCOME_CANCELLED);
            CHECK_EQ(report.tries, 0);
        }
        covey_result_free(results[i]);
    }
    covey_pool_free(pool);
}

/* A worker that leaves a batch still looks at it when the last outcome is there. */
TEST_EACH_METHOD(memory_of_a_batch_that_is_being_left_is_waited_for)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = 16 * MIB)));
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct cvy_pool *inner = cvy_pool_of(pool);
    struct cvy_map map = {.pool = inner, .in_size = 10 * MIB, .copy_in = true};
    cvy_word *looks_at = &inner->shared->lines[0].batch;
    uint32_t left = 0, slot = 0;
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("x"), NULL, NULL));
    while (atomic_load(looks_at))
        cvy_os_yield();
    (void)pthread_mutex_lock(&inner->lock);
    CHECK_OK(cvy_pool_slot_take(inner, &map, 1, &left));
    atomic_store(looks_at, left + 1);
    cvy_pool_slot_retire(inner, left);
    CHECK_EQ(cvy_pool_slot_take(inner, &map, 1, &slot), -EAGAIN);
    atomic_store(looks_at, 0);
    CHECK_OK(cvy_pool_slot_take(inner, &map, 1, &slot));
    CHECK_EQ(cvy_pool_slot_take(inner, &map, 1, &left), -ENOMEM);
    cvy_pool_slot_retire(inner, slot);
    (void)pthread_mutex_unlock(&inner->lock);
    covey_pool_free(pool);
}

/* Of a tuple the first part. */
static int task_first(struct covey_call *call)
{
    size_t size = 0;
    const char *data = covey_call_arg_at(call, 0, &size);
    return covey_call_return(call, data, size);
}

TEST_EACH_METHOD(an_item_of_a_map_that_does_not_fit_cancels_nothing_else)
{
    enum { N = 300, LARGE = 20, LAST = N - 1 };
    static const char large[8 * MIB];
    static struct covey_view in[2 * N];
    unsigned char outcomes[N];
    struct covey_bytes out[N] = {0};
    struct covey_map_summary sum;
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = 4 * MIB)));
    covey_pool *pool = pool_with(2, POOL_OPTS());
    for (size_t width = 1; width <= 2; width++) {
        for (size_t i = 0; i < N; i++)
            for (size_t part = 0; part < width; part++)
                in[i * width + part] =
                    COVEY_VIEW(large, i == LARGE || i == LAST ? 8 * MIB : 1 + i % 9);
        const struct covey_map_opts *opts =
            COVEY_MAP_OPTS(.outcomes = outcomes, .summary = &sum);
        int r = width == 1 ? covey_pool_map_bytes(pool, task_echo, in, out, N, opts)
                           : covey_pool_starmap(pool, task_first, in, 2, out, N, opts);
        CHECK_ERR(r, -ENOMEM);
        CHECK_STR_HAS(covey_error_detail(), "item 20: ");
        CHECK_STR_HAS(covey_error_detail(), "budget");
        CHECK_STR_HAS(sum.text, "item 20: ");
        CHECK_EQ(sum.first_failed, LARGE);
        CHECK_EQ(sum.failed, 2);
        CHECK_EQ(sum.ok, N - 2);
        for (size_t i = 0; i < N; i++) {
            bool fits = i != LARGE && i != LAST;
            CHECK_EQ(outcomes[i], fits ? COVEY_OUTCOME_OK : COVEY_OUTCOME_CANCELLED);
            CHECK_EQ(out[i].size, fits ? 1 + i % 9 : 0);
        }
    }
    for (size_t i = 0; i < N; i++)
        covey_bytes_free(&out[i]);
    covey_pool_free(pool);
}

/* ---- limits ------------------------------------------------------------------- */

/* Whether it gets 256 MiB, which it does not touch. */
static int ask_for_much(struct covey_call *call)
{
    void *volatile memory = malloc(256 * MIB);
    if (!memory)
        return covey_call_fail(call, "there is no memory");
    free(memory);
    return 0;
}

static int exit_with_much(struct covey_view arg)
{
    void *volatile memory = malloc(256 * MIB);
    atomic_store(&shared_of(arg)->ended, memory ? 1 : 2);
    free(memory);
    return 0;
}

TEST_EACH_METHOD(a_limit_of_memory_is_of_its_task_only)
{
    if (SANITIZED)
        return;
    struct shared *s = share();
    covey_pool *pool = pool_with(
        1, POOL_OPTS(.exit_hook = exit_with_much, .exitarg = COVEY_VIEW_OF(s)));
    const struct covey_task_opts *limit = COVEY_TASK_OPTS(.memory_limit = 16 * MIB);
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("x"), NULL, limit));
    CHECK_OK(covey_pool_map(pool, ask_for_much, NULL, 0, NULL, 0, 3, NULL));
    CHECK_ERR(covey_pool_apply(pool, ask_for_much, COVEY_NO_VIEW, NULL, limit),
              COVEY_EREMOTE);
    CHECK_OK(covey_pool_close(pool));
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    CHECK_EQ(s->ended, 1);
    covey_pool_free(pool);
}

/* ---- growth ------------------------------------------------------------------ */

static int take_memory(struct covey_call *call)
{
    const uint64_t *bytes = covey_call_arg(call, NULL);
    char *volatile memory = malloc(*bytes);
    if (!memory)
        return -ENOMEM;
    for (uint64_t i = 0; i < *bytes; i += 4096) {
        memory[i] = 1;
        if (i % MIB == 0) /* so that who looks has the time to */
            nanosleep(&(struct timespec){0, 200000}, NULL);
    }
    free(memory);
    return covey_call_return(call, bytes, sizeof *bytes);
}

static void check_growth(const struct covey_pool_opts *pool_opts, int code,
                         unsigned tries)
{
    covey_pool *pool = pool_with(2, pool_opts);
    const uint64_t bytes = 100 * MIB;
    covey_result *result = NULL;
    struct covey_task_report report;
    CHECK_OK(
        covey_pool_apply_async(&result, pool, take_memory, COVEY_VIEW_OF(bytes),
                               COVEY_TASK_OPTS(.memory_limit = 16 * MIB,
                                               .memory = 4 * MIB, .memory_growth = 4)));
    int r = covey_result_get(result, NULL, COVEY_FOREVER);
    if (code)
        CHECK_ERR(r, code);
    else
        CHECK_OK(r);
    CHECK_OK(covey_result_report(result, &report));
    CHECK_EQ(report.outcome, code ? COVEY_OUTCOME_MEMORY : COVEY_OUTCOME_OK);
    CHECK_EQ(report.tries, tries);
    covey_result_free(result);
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("on"), NULL,
                              COVEY_TASK_OPTS(.memory = 64 * MIB)));
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_task_that_needs_more_gets_more)
{
    if (SANITIZED)
        return;
    check_growth(POOL_OPTS(.memory = 1024 * MIB), 0, 3);
}

TEST_EACH_METHOD(a_task_gets_no_more_than_there_is)
{
    if (SANITIZED)
        return;
    check_growth(POOL_OPTS(.memory = 128 * MIB), -ENOMEM, 2);
}

/* ---- memory of results ------------------------------------------------------- */

static uint64_t used_memory(void)
{
    struct covey_family_usage usage;
    CHECK_OK(covey_family_usage(&usage));
    return usage.used;
}

/* Has a result of 1 MiB, and then none. */
static int return_and_fail(struct covey_call *call)
{
    static const char large[MIB];
    CHECK_EQ(covey_call_return(call, large, sizeof large), 0);
    return -1;
}

TEST_EACH_METHOD_AND_THREAD(a_worker_that_ends_leaves_no_result_behind)
{
    covey_pool *pool = pool_with(1, POOL_OPTS(.max_tasks = 1));
    uint64_t before = 0;
    for (int i = 0; i < 20; i++) {
        CHECK_ERR(covey_pool_apply(pool, return_and_fail, COVEY_NO_VIEW, NULL, NULL),
                  COVEY_EREMOTE);
        if (i == 0)
            before = used_memory();
    }
    CHECK_LE(used_memory(), before + 8 * MIB); /* a few may be on their way out */
    covey_pool_free(pool);
}

/* The worker is killed when it has noted where its large result is, and not said yet that
 * it has finished: the next run has a result of its own. */
TEST_EACH_METHOD(the_result_of_a_dead_try_is_given_back)
{
    struct shared *s = share();
    covey_pool *pool = pool_with(1, POOL_OPTS(.own_loop = COVEY_ON, .retries = 1));
    struct cvy_pool *inner = cvy_pool_of(pool);
    covey_result *result = NULL;
    cvy_ref ref = 0;
    CHECK_OK(covey_pool_apply_async(&result, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    uint64_t before = used_memory();
    (void)pthread_mutex_lock(&inner->lock);
    struct cvy_batch *batch = inner->slots[0].batch;
    struct cvy_entry *entry = cvy_batch_entries(batch, batch->room);
    CHECK_OK(cvy_object_add_run(pool, 64 * MIB, &ref));
    entry->result = ref;
    CHECK_OK(covey_process_kill(inner->worker[0].process));
    cvy_pool_reap_worker(inner, 0);
    CHECK_EQ(entry->result, 0);
    (void)pthread_mutex_unlock(&inner->lock);
    CHECK_LE(used_memory(), before + 8 * MIB);
    family_tell(&s->go);
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    covey_result_free(result);
    covey_pool_free(pool);
}

CHECK_MAIN()
