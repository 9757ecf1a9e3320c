/* SPDX-License-Identifier: MIT */
/* Tasks that are submitted and not waited for: results, callbacks, cancelling, ends. */
#include <pthread.h>

#include "pool_help.h"

/* ---- results ----------------------------------------------------------------- */

TEST_EACH_METHOD_AND_THREAD(a_result_comes_and_stays)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    covey_result *result = NULL;
    struct covey_bytes got = {0};
    CHECK_OK(
        covey_pool_apply_async(&result, pool, task_echo, text_view("later"), NULL));
    CHECK_OK(covey_result_wait(result, COVEY_FOREVER));
    CHECK_EQ(covey_result_ready(result), 1);
    CHECK_EQ(covey_result_successful(result), 1);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(covey_result_get(result, &got, COVEY_NOWAIT));
        check_bytes_are(&got, "later");
    }
    covey_pool_free(pool);
    CHECK_OK(covey_result_get(result, &got, COVEY_NOWAIT));
    check_bytes_are(&got, "later");
    covey_result_free(result);
    covey_bytes_free(&got);
}

TEST_EACH_METHOD_AND_THREAD(a_get_that_times_out_may_be_repeated)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    covey_result *result = NULL;
    struct covey_bytes got = {0};
    CHECK_OK(covey_pool_apply_async(&result, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    CHECK_ERR(covey_result_get(result, &got, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_result_get(result, &got, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_ERR(covey_result_wait(result, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_EQ(covey_result_ready(result), 0);
    CHECK_ERR(covey_result_successful(result), COVEY_ESTATE);
    family_tell(&s->go);
    CHECK_OK(covey_result_get(result, &got, COVEY_FOREVER));
    check_bytes_are(&got, "done");
    covey_result_free(result);
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(thousands_of_results)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    enum { N = 5000 };
    static covey_result *results[N];
    struct covey_bytes got = {0};
    for (uint64_t i = 0; i < N; i++)
        CHECK_OK(covey_pool_apply_async(&results[i], pool, task_square,
                                        COVEY_VIEW_OF(i), NULL));
    for (uint64_t i = 0; i < N; i++) {
        CHECK_OK(covey_result_get(results[i], &got, COVEY_FOREVER));
        CHECK_EQ(*(uint64_t *)got.data, i * i);
        covey_result_free(results[i]);
    }
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(a_failed_task_tells_its_result)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    covey_result *result = NULL;
    struct covey_task_report report;
    CHECK_OK(covey_pool_apply_async(&result, pool, task_fail, text_view("milk"), NULL));
    CHECK_ERR(covey_result_get(result, NULL, COVEY_FOREVER), COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "no milk today");
    CHECK_EQ(covey_result_successful(result), 0);
    CHECK_OK(covey_result_report(result, &report));
    CHECK_EQ(report.outcome, COVEY_OUTCOME_ERROR);
    CHECK_EQ(report.tries, 1);
    CHECK_GT(report.pid, 0);
    CHECK_GE(report.run, 0);
    CHECK_STR_HAS(report.text, "no milk today");
    covey_result_free(result);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_killed_worker_fails_its_task_alone)
{
    covey_pool *pool = pool_with(2, POOL_OPTS(.retries = 1));
    covey_result *dies = NULL, *others[20];
    struct covey_task_report report;
    CHECK_OK(covey_pool_apply_async(&dies, pool, task_die, COVEY_NO_VIEW, NULL));
    for (int i = 0; i < 20; i++)
        CHECK_OK(
            covey_pool_apply_async(&others[i], pool, task_echo, text_view("x"), NULL));
    CHECK_ERR(covey_result_get(dies, NULL, COVEY_FOREVER), COVEY_ECRASHED);
    CHECK_STR_HAS(covey_error_detail(), "SIGKILL");
    CHECK_OK(covey_result_report(dies, &report));
    CHECK_EQ(report.outcome, COVEY_OUTCOME_CRASHED);
    CHECK_EQ(report.tries, 2);
    CHECK_EQ(report.exitcode, -SIGKILL);
    for (int i = 0; i < 20; i++) {
        CHECK_OK(covey_result_get(others[i], NULL, COVEY_FOREVER));
        covey_result_free(others[i]);
    }
    covey_result_free(dies);
    covey_pool_free(pool);
}

/* ---- many items -------------------------------------------------------------- */

TEST_EACH_METHOD_AND_THREAD(map_async_fills_the_array)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    enum { N = 20000 };
    static uint64_t in[N], out[N];
    covey_result *result = NULL;
    struct covey_bytes got = {0};
    for (uint64_t i = 0; i < N; i++)
        in[i] = i;
    CHECK_OK(covey_pool_map_async(&result, pool, task_square, in, 8, out, 8, N, NULL));
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    for (uint64_t i = 0; i < N; i++)
        CHECK_EQ(out[i], i * i);
    covey_result_free(result);
    CHECK_OK(covey_pool_map_async(&result, pool, task_square, in, 8, NULL, 8, 9, NULL));
    CHECK_OK(covey_result_get(result, &got, COVEY_FOREVER));
    CHECK_EQ(got.size, 72);
    CHECK_EQ(((uint64_t *)got.data)[8], 64);
    covey_result_free(result);
    CHECK_OK(covey_pool_map_async(&result, pool, task_square, in, 8, out, 4, 9, NULL));
    CHECK_ERR(covey_result_get(result, &got, COVEY_FOREVER), -EMSGSIZE);
    covey_result_free(result);
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

static int concatenate(struct covey_call *call)
{
    char text[32];
    size_t a, b;
    const char *first = covey_call_arg_at(call, 0, &a);
    const char *second = covey_call_arg_at(call, 1, &b);
    memcpy(text, first, a);
    memcpy(text + a, second, b);
    return covey_call_return(call, text, a + b);
}

TEST_EACH_METHOD_AND_THREAD(starmap_async_passes_tuples)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct covey_view in[] = {text_view("a"), text_view("bc"), text_view("def"),
                              text_view("g")};
    struct covey_bytes out[2] = {{0}};
    covey_result *result = NULL;
    CHECK_OK(covey_pool_starmap_async(&result, pool, concatenate, in, 2, out, 2, NULL));
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    check_bytes_are(&out[0], "abc");
    check_bytes_are(&out[1], "defg");
    covey_result_free(result);
    covey_bytes_free(&out[0]);
    covey_bytes_free(&out[1]);
    covey_pool_free(pool);
}

TEST(nothing_to_do_is_ready_at_once)
{
    covey_pool *pool = pool_with(1, NULL);
    covey_result *result = NULL;
    CHECK_OK(
        covey_pool_map_async(&result, pool, task_square, NULL, 8, NULL, 8, 0, NULL));
    CHECK_EQ(covey_result_ready(result), 1);
    CHECK_EQ(covey_result_successful(result), 1);
    covey_result_free(result);
    covey_pool_free(pool);
}

/* ---- callbacks --------------------------------------------------------------- */

struct calls {
    cvy_word ok, failed;
    covey_pool *pool;
    covey_result *nested;
    char text[64];
};

static void on_ok(void *ctx, covey_result *result)
{
    struct calls *calls = ctx;
    struct covey_bytes got = {0};
    CHECK_OK(covey_result_get(result, &got, COVEY_NOWAIT));
    if (got.size)
        memcpy(calls->text, got.data, got.size);
    covey_bytes_free(&got);
    atomic_fetch_add(&calls->ok, 1);
}

static void on_error(void *ctx, covey_result *result)
{
    struct calls *calls = ctx;
    CHECK_EQ(covey_result_successful(result), 0);
    atomic_fetch_add(&calls->failed, 1);
}

TEST_EACH_METHOD_AND_THREAD(callbacks_are_called_before_the_result_is_ready)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct calls calls = {0};
    covey_result *good = NULL, *bad = NULL;
    const struct covey_task_opts *opts =
        COVEY_TASK_OPTS(.callback = on_ok, .error_callback = on_error,
                        .callback_ctx = &calls);
    CHECK_OK(covey_pool_apply_async(&good, pool, task_echo, text_view("hi"), opts));
    CHECK_OK(covey_result_wait(good, COVEY_FOREVER));
    CHECK_EQ(atomic_load(&calls.ok), 1);
    CHECK_STR_EQ(calls.text, "hi");
    CHECK_OK(covey_pool_apply_async(&bad, pool, task_fail, text_view("hi"), opts));
    CHECK_OK(covey_result_wait(bad, COVEY_FOREVER));
    CHECK_EQ(atomic_load(&calls.failed), 1);
    for (int i = 0; i < 100; i++)
        CHECK_OK(covey_pool_apply_async(NULL, pool, task_echo, text_view("hi"), opts));
    CHECK_OK(covey_pool_close(pool));
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    CHECK_EQ(atomic_load(&calls.ok), 101);
    covey_result_free(good);
    covey_result_free(bad);
    covey_pool_free(pool);
}

/* What this worker blocks. */
static int task_blocked(struct covey_call *call)
{
    sigset_t mask;
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    return covey_call_return(call, &mask, sizeof mask);
}

static void tell_failure(void *ctx, covey_result *result)
{
    struct calls *calls = ctx;
    CHECK_EQ(covey_result_ready(result), 1);
    family_tell(&calls->failed);
}

/* The pool's own thread, which handles none, starts it while nobody else waits. */
TEST_EACH_METHOD(a_worker_that_comes_later_blocks_the_same_signals)
{
    sigset_t mask;
    struct calls calls = {0};
    struct covey_bytes got = {0};
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &mask, NULL), 0);
    covey_pool *pool = pool_with(1, POOL_OPTS());
    for (int i = 0; i < 2; i++) {
        CHECK_OK(covey_pool_apply(pool, task_blocked, COVEY_NO_VIEW, &got, NULL));
        CHECK_EQ(got.size, sizeof mask);
        memcpy(&mask, got.data, sizeof mask);
        CHECK_EQ(sigismember(&mask, SIGUSR2), 1);
        CHECK_EQ(sigismember(&mask, SIGTERM), 0);
        CHECK_EQ(sigismember(&mask, SIGSEGV), 0);
        CHECK_OK(covey_pool_apply_async(
            NULL, pool, task_die, COVEY_NO_VIEW,
            COVEY_TASK_OPTS(.error_callback = tell_failure, .callback_ctx = &calls)));
        family_await(&calls.failed, (uint32_t)i + 1);
    }
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

/* Waits for another task, submits one, frees the results. */
static void use_pool(void *ctx, covey_result *result)
{
    struct calls *calls = ctx;
    struct covey_bytes got = {0};
    covey_result *other = NULL;
    CHECK_OK(covey_pool_apply_async(
        &other, calls->pool, task_echo, text_view("in"),
        COVEY_TASK_OPTS(.callback = on_ok, .callback_ctx = calls)));
    CHECK_OK(covey_result_get(other, &got, COVEY_FOREVER));
    check_bytes_are(&got, "in");
    CHECK_OK(covey_pool_apply(calls->pool, task_echo, text_view("here"), &got, NULL));
    CHECK_ERR(covey_pool_join(calls->pool, COVEY_FOREVER), COVEY_ESTATE);
    covey_bytes_free(&got);
    covey_result_free(other);
    CHECK_EQ(covey_result_ready(result), 1);
}

TEST_EACH_METHOD_AND_THREAD(a_callback_may_use_the_pool)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct calls calls = {.pool = pool};
    covey_result *result = NULL;
    CHECK_OK(covey_pool_apply_async(
        &result, pool, task_echo, text_view("out"),
        COVEY_TASK_OPTS(.callback = use_pool, .callback_ctx = &calls)));
    CHECK_OK(covey_result_wait(result, COVEY_FOREVER));
    CHECK_OK(covey_pool_close(pool));
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    CHECK_EQ(atomic_load(&calls.ok), 1);
    covey_result_free(result);
    covey_pool_free(pool);
}

/* The second stage of a pipeline: its pool has no thread of its own before. */
struct stage {
    covey_pool *next;
    covey_result *result;
    _Atomic int is_begun, calls;
};

static void count_call(void *ctx, covey_result *result)
{
    struct stage *stage = ctx;
    (void)result;
    atomic_fetch_add(&stage->calls, 1);
}

static void begin_next(void *ctx, covey_result *result)
{
    struct stage *stage = ctx;
    (void)result;
    CHECK_OK(covey_pool_apply_async(
        &stage->result, stage->next, task_echo, text_view("x"),
        COVEY_TASK_OPTS(.callback = count_call, .callback_ctx = stage)));
    atomic_store(&stage->is_begun, 1);
}

TEST_EACH_METHOD_AND_THREAD(a_callback_may_begin_to_use_another_pool)
{
    struct stage stage = {.next = pool_with(1, POOL_OPTS())};
    covey_pool *first = pool_with(1, POOL_OPTS());
    CHECK_OK(covey_pool_apply_async(
        NULL, first, task_echo, text_view("x"),
        COVEY_TASK_OPTS(.callback = begin_next, .callback_ctx = &stage)));
    while (!atomic_load(&stage.is_begun))
        cvy_os_yield();
    CHECK_OK(covey_result_get(stage.result, NULL, COVEY_SEC(20)));
    CHECK_EQ(atomic_load(&stage.calls), 1);
    covey_result_free(stage.result);
    CHECK_OK(covey_pool_close(stage.next));
    CHECK_OK(covey_pool_join(stage.next, COVEY_SEC(20)));
    covey_pool_free(stage.next);
    covey_pool_free(first);
}

/* ---- cancelling and deadlines ------------------------------------------------- */

TEST_EACH_METHOD_AND_THREAD(what_waits_is_taken_back)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    covey_result *first = NULL, *waits[50];
    CHECK_OK(covey_pool_apply_async(&first, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    for (int i = 0; i < 50; i++)
        CHECK_OK(
            covey_pool_apply_async(&waits[i], pool, task_echo, text_view("x"), NULL));
    for (int i = 0; i < 50; i += 2) {
        CHECK_OK(covey_result_cancel(waits[i], 0));
        CHECK_ERR(covey_result_get(waits[i], NULL, COVEY_FOREVER), -ECANCELED);
    }
    family_tell(&s->go);
    for (int i = 0; i < 50; i++) {
        CHECK_OK(covey_result_wait(waits[i], COVEY_FOREVER));
        CHECK_EQ(covey_result_successful(waits[i]), i % 2);
        CHECK_ERR(covey_result_cancel(waits[i], 1), -EALREADY);
        covey_result_free(waits[i]);
    }
    CHECK_OK(covey_result_get(first, NULL, COVEY_FOREVER));
    covey_result_free(first);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(what_runs_may_be_asked_to_end)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    covey_result *result = NULL;
    CHECK_OK(
        covey_pool_apply_async(&result, pool, task_hang_told, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    CHECK_OK(covey_result_cancel(result, 0));
    CHECK_ERR(covey_result_get(result, NULL, COVEY_FOREVER), COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "was asked to end");
    covey_result_free(result);
    covey_pool_free(pool);
}

static int block_told(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    family_tell(&(*s)->begun);
    signal(SIGTERM, SIG_IGN);
    return task_block(call);
}

TEST_EACH_METHOD(what_runs_may_be_ended)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    covey_result *result = NULL;
    struct covey_task_report report;
    CHECK_OK(covey_pool_apply_async(&result, pool, block_told, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    CHECK_OK(covey_result_cancel(result, 1));
    CHECK_ERR(covey_result_get(result, NULL, COVEY_FOREVER), -ECANCELED);
    CHECK_OK(covey_result_report(result, &report));
    CHECK_EQ(report.outcome, COVEY_OUTCOME_CANCELLED);
    covey_result_free(result);
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("on"), NULL, NULL));
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_deadline_ends_what_waits_and_what_runs)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    covey_result *runs = NULL, *waits = NULL;
    const struct covey_task_opts *opts = COVEY_TASK_OPTS(.timeout = COVEY_MSEC(150));
    CHECK_OK(covey_pool_apply_async(&runs, pool, block_told, COVEY_VIEW_OF(s), opts));
    await_count(&s->begun, 1);
    CHECK_OK(covey_pool_apply_async(&waits, pool, task_echo, text_view("x"),
                                    COVEY_TASK_OPTS(.timeout = COVEY_MSEC(1))));
    CHECK_ERR(covey_result_get(waits, NULL, COVEY_FOREVER), -ECANCELED);
    CHECK_ERR(covey_result_get(runs, NULL, COVEY_FOREVER), -ETIMEDOUT);
    covey_result_free(runs);
    covey_result_free(waits);
    covey_pool_free(pool);
}

enum { EACH = 100 };

struct ordered {
    struct shared *s;
    int32_t is_high;
};

/* Counts those of each kind that are among the first half. It works for as long that only
 * a few of them are with the worker at a time: those are in no order. */
static int note_order(struct covey_call *call)
{
    const struct ordered *arg = covey_call_arg(call, NULL);
    int64_t end = cvy_os_now() + COVEY_MSEC(1);
    while (cvy_os_now() < end)
        ;
    if (atomic_fetch_add(&arg->s->told, 1) < EACH)
        arg->s->numbers[arg->is_high]++;
    return 0;
}

static void submit_kind(covey_pool *pool, struct shared *s, int32_t is_high,
                        covey_result **results)
{
    struct ordered arg = {s, is_high};
    for (int i = 0; i < EACH; i++)
        CHECK_OK(covey_pool_apply_async(&results[i], pool, note_order,
                                        COVEY_VIEW_OF(arg),
                                        COVEY_TASK_OPTS(.priority = is_high ? 50 : 0)));
}

/* Some that were offered to the worker already are not overtaken. */
TEST_EACH_METHOD_AND_THREAD(higher_priorities_go_first)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    covey_result *first = NULL, *results[2 * EACH];
    CHECK_OK(covey_pool_apply_async(&first, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    submit_kind(pool, s, 0, results);
    submit_kind(pool, s, 1, results + EACH);
    family_tell(&s->go);
    for (int i = 0; i < 2 * EACH; i++) {
        CHECK_OK(covey_result_get(results[i], NULL, COVEY_FOREVER));
        covey_result_free(results[i]);
    }
    CHECK_GE(s->numbers[1], EACH - 50);
    covey_result_free(first);
    CHECK_ERR(covey_pool_apply_async(NULL, pool, task_echo, text_view("x"),
                                     COVEY_TASK_OPTS(.priority = 101)),
              -EINVAL);
    covey_pool_free(pool);
}

/* ---- ends -------------------------------------------------------------------- */

TEST_EACH_METHOD_AND_THREAD(a_closed_pool_finishes_and_refuses)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    covey_result *results[100];
    uint64_t x = 3;
    CHECK_ERR(covey_pool_join(pool, COVEY_FOREVER), COVEY_ESTATE);
    for (int i = 0; i < 100; i++)
        CHECK_OK(covey_pool_apply_async(&results[i], pool, task_square,
                                        COVEY_VIEW_OF(x), NULL));
    CHECK_OK(covey_pool_close(pool));
    CHECK_OK(covey_pool_close(pool));
    CHECK_ERR(covey_pool_apply(pool, task_square, COVEY_VIEW_OF(x), NULL, NULL),
              COVEY_ECLOSED);
    CHECK_ERR(covey_pool_apply_async(NULL, pool, task_square, COVEY_VIEW_OF(x), NULL),
              COVEY_ECLOSED);
    CHECK_ERR(covey_pool_map(pool, task_square, &x, 8, &x, 8, 1, NULL), COVEY_ECLOSED);
    CHECK_ERR(covey_pool_resize(pool, 1), COVEY_ECLOSED);
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    for (int i = 0; i < 100; i++) {
        CHECK_OK(covey_result_get(results[i], NULL, COVEY_NOWAIT));
        covey_result_free(results[i]);
    }
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(a_join_has_a_deadline)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    covey_result *result = NULL;
    CHECK_OK(covey_pool_apply_async(&result, pool, task_wait, COVEY_VIEW_OF(s), NULL));
    CHECK_OK(covey_pool_close(pool));
    CHECK_ERR(covey_pool_join(pool, COVEY_MSEC(10)), -ETIMEDOUT);
    family_tell(&s->go);
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    CHECK_OK(covey_result_get(result, NULL, COVEY_NOWAIT));
    covey_result_free(result);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(terminate_ends_what_ignores_signals)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct shared *s = share();
    covey_result *runs = NULL, *waits[20];
    CHECK_OK(covey_pool_apply_async(&runs, pool, block_told, COVEY_VIEW_OF(s), NULL));
    await_count(&s->begun, 1);
    for (int i = 0; i < 20; i++)
        CHECK_OK(
            covey_pool_apply_async(&waits[i], pool, task_block, COVEY_NO_VIEW, NULL));
    CHECK_OK(covey_pool_terminate(pool));
    CHECK_OK(covey_pool_terminate(pool));
    CHECK_OK(covey_pool_join(pool, COVEY_NOWAIT));
    CHECK_ERR(covey_result_get(runs, NULL, COVEY_NOWAIT), -ECANCELED);
    for (int i = 0; i < 20; i++) {
        CHECK_ERR(covey_result_get(waits[i], NULL, COVEY_NOWAIT), -ECANCELED);
        covey_result_free(waits[i]);
    }
    covey_result_free(runs);
    CHECK_ERR(covey_pool_apply_async(NULL, pool, task_echo, text_view("x"), NULL),
              COVEY_ECLOSED);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_pool_may_be_freed_with_results_under_way)
{
    for (int i = 0; i < 5; i++) {
        covey_pool *pool = pool_with(2, POOL_OPTS());
        covey_result *results[30];
        for (int k = 0; k < 30; k++)
            CHECK_OK(covey_pool_apply_async(&results[k], pool, task_echo,
                                            text_view("x"), NULL));
        covey_pool_free(pool);
        for (int k = 0; k < 30; k++) {
            int r = covey_result_get(results[k], NULL, COVEY_NOWAIT);
            CHECK(r == 0 || r == -ECANCELED);
            covey_result_free(results[k]);
        }
    }
}

/* ---- several threads ---------------------------------------------------------- */

static void *submit_and_get(void *arg)
{
    covey_pool *pool = arg;
    struct covey_bytes got = {0};
    for (uint64_t i = 0; i < 500; i++) {
        covey_result *result = NULL;
        CHECK_OK(
            covey_pool_apply_async(&result, pool, task_square, COVEY_VIEW_OF(i), NULL));
        CHECK_OK(covey_result_get(result, &got, COVEY_FOREVER));
        CHECK_EQ(*(uint64_t *)got.data, i * i);
        covey_result_free(result);
    }
    covey_bytes_free(&got);
    return NULL;
}

TEST_EACH_METHOD(several_threads_submit_and_wait)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, submit_and_get, pool), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_full_backlog_makes_submissions_wait)
{
    covey_pool *pool = pool_with(2, POOL_OPTS(.backlog = 10));
    static covey_result *results[2000];
    for (uint64_t i = 0; i < 2000; i++)
        CHECK_OK(covey_pool_apply_async(&results[i], pool, task_square,
                                        COVEY_VIEW_OF(i), NULL));
    for (uint64_t i = 0; i < 2000; i++) {
        CHECK_OK(covey_result_get(results[i], NULL, COVEY_FOREVER));
        covey_result_free(results[i]);
    }
    covey_pool_free(pool);
}

TEST(a_result_belongs_to_the_process_that_submitted)
{
    covey_pool *pool = pool_with(1, NULL);
    covey_result *result = NULL;
    CHECK_OK(covey_pool_apply_async(&result, pool, task_echo, text_view("x"), NULL));
    CHECK_OK(covey_result_wait(result, COVEY_FOREVER));
    pid_t pid = fork();
    if (pid == 0) {
        CHECK_ERR(covey_result_get(result, NULL, COVEY_NOWAIT), COVEY_ENOTOWNER);
        CHECK_ERR(covey_pool_apply_async(NULL, pool, task_echo, text_view("x"), NULL),
                  COVEY_ENOTOWNER);
        covey_pool_free(pool);
        _exit(7);
    }
    int status = 0;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(WEXITSTATUS(status), 7);
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("x"), NULL, NULL));
    covey_result_free(result);
    covey_pool_free(pool);
    CHECK_ERR(covey_result_wait(NULL, COVEY_NOWAIT), -EINVAL);
    covey_result_free(NULL);
}

/* What does not fit into a batch that was begun is held for the next one. */
static void end_with_a_full_pool(void)
{
    enum { FIRST = 40, COUNT = 3000, LARGE = 4000 };
    static char arg[LARGE];
    static covey_result *results[COUNT];
    struct shared *s[2] = {share(), share()};
    covey_pool *pool = pool_with(1, POOL_OPTS());
    for (int i = 0; i < 20; i++) /* its cost is known then */
        CHECK_OK(covey_pool_apply(pool, task_echo, text_view("x"), NULL, NULL));
    CHECK_OK(covey_pool_apply_async(NULL, pool, task_wait, COVEY_VIEW_OF(s[0]), NULL));
    await_count(&s[0]->begun, 1);
    for (int i = 0; i < COUNT; i++) {
        if (i == FIRST)
            CHECK_OK(covey_pool_apply_async(NULL, pool, task_wait, COVEY_VIEW_OF(s[1]),
                                            NULL));
        CHECK_OK(covey_pool_apply_async(&results[i], pool, task_echo,
                                        COVEY_VIEW(arg, i % 3 ? 16 : LARGE), NULL));
    }
    family_tell(&s[0]->go);
    await_count(&s[1]->begun, 1);
    CHECK_OK(covey_result_get(results[0], NULL, COVEY_FOREVER)); /* feeds once more */
    CHECK_OK(covey_pool_terminate(pool));
    for (int i = 0; i < COUNT; i++) {
        CHECK_OK(covey_result_wait(results[i], COVEY_SEC(20)));
        covey_result_free(results[i]);
    }
    covey_pool_free(pool);
}

TEST_EACH_METHOD(what_waits_for_room_ends_with_its_pool)
{
    for (int i = 0; i < 10; i++)
        end_with_a_full_pool();
}

CHECK_MAIN()
