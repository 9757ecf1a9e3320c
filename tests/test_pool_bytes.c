/* SPDX-License-Identifier: MIT */
/* Tasks with arguments and results of any size, waited for: apply, map_bytes, starmap,
 * map_values. */
#include "pool_help.h"

/* ---- apply ------------------------------------------------------------------- */

TEST_EACH_METHOD_AND_THREAD(apply_gives_the_result)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct covey_bytes got = {0};
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("hello"), &got, NULL));
    check_bytes_are(&got, "hello");
    CHECK_OK(covey_pool_apply(pool, task_echo, COVEY_NO_VIEW, &got, NULL));
    CHECK_EQ(got.size, 0);
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("dropped"), NULL, NULL));
    for (uint64_t x = 0; x < 1000; x++) {
        CHECK_OK(covey_pool_apply(pool, task_square, COVEY_VIEW_OF(x), &got, NULL));
        CHECK_EQ(got.size, 8);
        CHECK_EQ(*(uint64_t *)got.data, x * x);
    }
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(apply_tells_why_a_task_failed)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct covey_bytes got = {0};
    CHECK_ERR(covey_pool_apply(pool, task_fail, text_view("bread"), &got, NULL),
              COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "no bread today");
    CHECK_EQ(got.size, 0);
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(apply_tells_of_a_dead_worker_and_the_pool_goes_on)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct covey_bytes got = {0};
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(covey_pool_apply(pool, task_die, COVEY_NO_VIEW, &got, NULL),
                  COVEY_ECRASHED);
        CHECK_STR_HAS(covey_error_detail(), "SIGKILL");
        CHECK_OK(covey_pool_apply(pool, task_echo, text_view("on"), &got, NULL));
        check_bytes_are(&got, "on");
    }
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(apply_ends_in_time)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    CHECK_ERR(covey_pool_apply(pool, task_block, COVEY_NO_VIEW, NULL,
                               COVEY_TASK_OPTS(.timeout = COVEY_MSEC(30))),
              -ETIMEDOUT);
    CHECK_ERR(covey_pool_apply(pool, task_block, COVEY_NO_VIEW, NULL,
                               COVEY_TASK_OPTS(.time_limit = COVEY_MSEC(30))),
              -ETIMEDOUT);
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("on"), NULL, NULL));
    covey_pool_free(pool);
}

static int add_to_state(struct covey_call *call)
{
    uintptr_t n = (uintptr_t)covey_worker_state() + 1;
    covey_worker_set_state((void *)n);
    return covey_call_return(call, &n, sizeof n);
}

TEST_EACH_METHOD_AND_THREAD(a_worker_keeps_its_state)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct covey_bytes got = {0};
    CHECK(covey_worker_state() == NULL);
    for (uintptr_t i = 1; i < 5; i++) {
        CHECK_OK(covey_pool_apply(pool, add_to_state, COVEY_NO_VIEW, &got, NULL));
        CHECK_EQ(*(uintptr_t *)got.data, i);
    }
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

/* ---- bytes ------------------------------------------------------------------- */

static int repeat(struct covey_call *call)
{
    const uint32_t *size = covey_call_arg(call, NULL);
    char *data = malloc(*size + 1);
    CHECK(data != NULL);
    memset(data, (int)(*size % 251), *size);
    int r = covey_call_return(call, data, *size);
    free(data);
    return r;
}

static void check_sizes(covey_pool *pool, uint32_t n, uint32_t step)
{
    uint32_t *sizes = calloc(n, sizeof *sizes);
    struct covey_view *in = calloc(n, sizeof *in);
    struct covey_bytes *out = calloc(n, sizeof *out);
    CHECK(sizes && in && out);
    for (uint32_t i = 0; i < n; i++) {
        sizes[i] = i * step;
        in[i] = COVEY_VIEW_OF(sizes[i]);
    }
    CHECK_OK(covey_pool_map_bytes(pool, repeat, in, out, n, NULL));
    for (uint32_t i = 0; i < n; i++) {
        const unsigned char *data = out[i].data;
        CHECK_EQ(out[i].size, sizes[i]);
        for (uint32_t k = 0; k < sizes[i]; k += 1 + sizes[i] / 50)
            CHECK_EQ(data[k], sizes[i] % 251);
        covey_bytes_free(&out[i]);
    }
    free(sizes);
    free(in);
    free(out);
}

TEST_EACH_METHOD_AND_THREAD(results_have_any_size)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    check_sizes(pool, 1, 0);
    check_sizes(pool, 2000, 1);
    check_sizes(pool, 300, 1000);
    check_sizes(pool, 10, 1000000);
    check_sizes(pool, 5000, 0);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(arguments_have_any_size)
{
    covey_pool *pool = pool_with(3, POOL_OPTS());
    enum { N = 400 };
    static char text[N * 5000];
    struct covey_view in[N];
    struct covey_bytes out[N] = {{0}};
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 7 + i / 1000);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < N; i++)
            in[i] = COVEY_VIEW(text, i * (round == 2 ? 5000 : i % 7 * round));
        CHECK_OK(covey_pool_map_bytes(pool, task_echo, in, out, N, NULL));
        for (size_t i = 0; i < N; i++) {
            CHECK_EQ(out[i].size, in[i].size);
            if (in[i].size)
                CHECK_MEM_EQ(out[i].data, in[i].data, in[i].size);
        }
    }
    for (size_t i = 0; i < N; i++)
        covey_bytes_free(&out[i]);
    covey_pool_free(pool);
}

/* Workers take back at once what comes too late, so that something always comes. */
TEST_EACH_METHOD_AND_THREAD(a_map_whose_time_is_over_hands_out_nothing_more)
{
    enum { N = 200000 };
    static struct covey_view in[N];
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct covey_pool_stats stats;
    struct covey_map_summary sum;
    const struct covey_map_opts *opts = COVEY_MAP_OPTS(.timeout = 1, .summary = &sum);
    for (int i = 0; i < N; i++)
        in[i] = text_view("x");
    CHECK_OK(covey_pool_map_bytes(pool, task_echo, in, NULL, 1000, NULL));
    CHECK_ERR(covey_pool_map_bytes(pool, task_echo, in, NULL, N, opts), -ETIMEDOUT);
    CHECK_EQ(sum.failed, N);
    CHECK_ERR(covey_pool_starmap(pool, task_echo, in, 2, NULL, N / 2, opts),
              -ETIMEDOUT);
    CHECK_EQ(sum.failed, N / 2);
    CHECK_OK(covey_pool_stats(pool, &stats));
    CHECK_LE(stats.done, 1000 + 2 * (65536 + 2048)); /* what may be out at once */
    covey_pool_free(pool);
}

/* Fails if its argument is not aligned as an element of an array of such is. */
static int check_alignment(struct covey_call *call)
{
    size_t size, wanted;
    uintptr_t address = (uintptr_t)covey_call_arg(call, &size);
    for (wanted = 1; wanted < 64 && size % (2 * wanted) == 0;)
        wanted *= 2;
    return address % wanted == 0
               ? 0
               : covey_call_fail(call, "%zu bytes lie at %#zx", size, (size_t)address);
}

TEST_EACH_METHOD_AND_THREAD(arguments_are_aligned_by_their_size)
{
    enum { N = 2000 };
    static const size_t sizes[] = {64, 1, 64, 24, 32, 192, 48, 128, 8};
    static const char bytes[192];
    static struct covey_view in[N];
    covey_pool *pool = pool_with(2, POOL_OPTS());
    for (int i = 0; i < N; i++)
        in[i] = COVEY_VIEW(bytes, sizes[i % 9]);
    for (int i = 0; i < 9; i++)
        CHECK_OK(covey_pool_apply(pool, check_alignment, in[i], NULL, NULL));
    CHECK_OK(covey_pool_map_bytes(pool, check_alignment, in, NULL, N, NULL));
    for (int i = 0; i < 9; i++) { /* one with a deadline */
        covey_result *result = NULL;
        CHECK_OK(covey_pool_apply_async(&result, pool, check_alignment, in[i],
                                        COVEY_TASK_OPTS(.timeout = COVEY_SEC(100))));
        CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
        covey_result_free(result);
    }
    covey_pool_free(pool);
}

static int fail_every_third(struct covey_call *call)
{
    return covey_call_index(call) % 3
               ? task_echo(call)
               : covey_call_fail(call, "item %zu", covey_call_index(call));
}

TEST_EACH_METHOD_AND_THREAD(outcomes_tell_which_items_failed)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    enum { N = 1000 };
    struct covey_view in[N];
    static struct covey_bytes out[N];
    unsigned char outcomes[N];
    struct covey_map_summary sum;
    for (size_t i = 0; i < N; i++)
        in[i] = text_view("x");
    CHECK_ERR(
        covey_pool_map_bytes(pool, fail_every_third, in, out, N,
                             COVEY_MAP_OPTS(.outcomes = outcomes, .summary = &sum)),
        COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "item 0");
    CHECK_EQ(sum.failed, 334);
    CHECK_EQ(sum.ok, 666);
    CHECK_EQ(sum.first_failed, 0);
    for (size_t i = 0; i < N; i++) {
        CHECK_EQ(outcomes[i], i % 3 ? COVEY_OUTCOME_OK : COVEY_OUTCOME_ERROR);
        CHECK_EQ(out[i].size, i % 3 ? 1 : 0);
        covey_bytes_free(&out[i]);
    }
    covey_pool_free(pool);
}

static int die_at_seven(struct covey_call *call)
{
    return covey_call_index(call) == 7 ? task_die(call) : task_echo(call);
}

TEST_EACH_METHOD(a_death_costs_one_item_of_many)
{
    for (unsigned retries = 0; retries < 3; retries++) {
        covey_pool *pool = pool_with(2, POOL_OPTS(.retries = retries));
        enum { N = 100 };
        struct covey_view in[N];
        struct covey_bytes out[N] = {{0}};
        unsigned char outcomes[N];
        struct covey_map_summary sum;
        for (size_t i = 0; i < N; i++)
            in[i] = text_view("x");
        CHECK_ERR(
            covey_pool_map_bytes(pool, die_at_seven, in, out, N,
                                 COVEY_MAP_OPTS(.outcomes = outcomes, .summary = &sum)),
            COVEY_ECRASHED);
        CHECK_EQ(sum.failed, 1);
        CHECK_EQ(sum.first_failed, 7);
        CHECK_EQ(sum.crashes, retries + 1);
        CHECK_EQ(sum.retried, retries);
        for (size_t i = 0; i < N; i++) {
            CHECK_EQ(outcomes[i], i == 7 ? COVEY_OUTCOME_CRASHED : COVEY_OUTCOME_OK);
            covey_bytes_free(&out[i]);
        }
        covey_pool_free(pool);
    }
}

TEST(bad_arguments_are_refused)
{
    covey_pool *pool = pool_with(1, NULL);
    struct covey_view in = text_view("x"), bad = {NULL, 5};
    struct covey_bytes out = {0};
    CHECK_ERR(covey_pool_map_bytes(pool, NULL, &in, &out, 1, NULL), -EINVAL);
    CHECK_ERR(covey_pool_map_bytes(pool, task_echo, NULL, &out, 1, NULL), -EINVAL);
    CHECK_ERR(covey_pool_map_bytes(pool, task_echo, &bad, &out, 1, NULL), -EINVAL);
    CHECK_ERR(covey_pool_map_bytes(pool, task_echo, &in, &out, SIZE_MAX, NULL),
              -EINVAL);
    CHECK_ERR(covey_pool_starmap(pool, task_echo, &in, 0, &out, 1, NULL), -EINVAL);
    CHECK_ERR(covey_pool_apply(pool, NULL, in, &out, NULL), -EINVAL);
    CHECK_ERR(covey_pool_apply(NULL, task_echo, in, &out, NULL), -EINVAL);
    CHECK_OK(covey_pool_map_bytes(pool, task_echo, NULL, NULL, 0, NULL));
    covey_pool_free(pool);
}

/* ---- tuples ------------------------------------------------------------------ */

static int join_parts(struct covey_call *call)
{
    char text[64];
    size_t a, b, c, d = 1;
    const char *first = covey_call_arg_at(call, 0, &a);
    const char *second = covey_call_arg_at(call, 1, &b);
    const char *third = covey_call_arg_at(call, 2, &c);
    CHECK(covey_call_arg_at(call, 3, &d) == NULL && d == 0);
    CHECK_EQ((uintptr_t)first % 16 + (uintptr_t)second % 16, 0);
    int n = snprintf(text, sizeof text, "%.*s-%.*s-%.*s", (int)a, a ? first : "",
                     (int)b, b ? second : "", (int)c, c ? third : "");
    return covey_call_return(call, text, (size_t)n);
}

TEST_EACH_METHOD_AND_THREAD(starmap_passes_tuples)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct covey_view in[] = {text_view("a"),     text_view("bc"), text_view("def"),
                              text_view("gh"),    COVEY_NO_VIEW,   text_view("i"),
                              text_view("jklmn"), text_view("o"),  COVEY_NO_VIEW};
    struct covey_bytes out[3] = {{0}};
    CHECK_OK(covey_pool_starmap(pool, join_parts, in, 3, out, 3, NULL));
    check_bytes_are(&out[0], "a-bc-def");
    check_bytes_are(&out[1], "gh--i");
    check_bytes_are(&out[2], "jklmn-o-");
    for (int i = 0; i < 3; i++)
        covey_bytes_free(&out[i]);
    covey_pool_free(pool);
}

/* ---- values ------------------------------------------------------------------ */

static int double_value(struct covey_call *call)
{
    covey_value *value = NULL;
    int64_t number = 0;
    CHECK_OK(covey_call_value(call, &value));
    int r = covey_value_get_int(value, &number);
    covey_value_free(value);
    if (r < 0)
        return covey_call_fail(call, "not a number");
    covey_value *twice = covey_value_int(2 * number);
    r = covey_call_return_value(call, twice);
    covey_value_free(twice);
    return r;
}

TEST_EACH_METHOD_AND_THREAD(map_values_maps_a_list_to_a_list)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    covey_value *in = covey_value_list(), *out = NULL;
    struct covey_bytes repr = {0};
    for (int i = 0; i < 5; i++)
        CHECK_OK(covey_value_append(in, covey_value_int(i)));
    CHECK_OK(covey_pool_map_values(pool, double_value, in, &out, NULL));
    CHECK_OK(covey_value_repr(out, &repr));
    CHECK_STR_EQ(repr.data, "[0, 2, 4, 6, 8]");
    covey_value_free(out);
    CHECK_OK(covey_value_append(in, covey_value_str("x")));
    out = NULL;
    CHECK_ERR(covey_pool_map_values(pool, double_value, in, &out, NULL), COVEY_EREMOTE);
    CHECK_STR_HAS(covey_error_detail(), "not a number");
    CHECK_OK(covey_value_repr(out, &repr));
    CHECK_STR_EQ(repr.data, "[0, 2, 4, 6, 8, None]");
    covey_value_free(out);
    covey_value_free(in);
    in = covey_value_int(3);
    CHECK_ERR(covey_pool_map_values(pool, double_value, in, &out, NULL), COVEY_ETYPE);
    covey_value_free(in);
    covey_bytes_free(&repr);
    covey_pool_free(pool);
}

TEST(map_values_refuses_a_list_that_is_not_whole)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    covey_value *in = covey_value_list(), *out = NULL;
    CHECK_OK(covey_value_append(in, covey_value_int(1)));
    CHECK_ERR(covey_value_append(in, covey_value_str("\xff")), -EILSEQ);
    CHECK_ERR(covey_pool_map_values(pool, double_value, in, &out, NULL), -EILSEQ);
    CHECK(!out);
    covey_value_free(in);
    covey_pool_free(pool);
}

static int double_or_block(struct covey_call *call)
{
    covey_value *value = NULL;
    CHECK_OK(covey_call_value(call, &value));
    bool blocks = covey_value_kind(value) == COVEY_VALUE_NONE;
    covey_value_free(value);
    return blocks ? task_block(call) : double_value(call);
}

TEST_EACH_METHOD(map_values_gives_what_there_is_beside_an_item_that_took_too_long)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    covey_value *in = covey_value_list(), *out = NULL;
    struct covey_bytes repr = {0};
    CHECK_OK(covey_value_append(in, covey_value_int(7)));
    CHECK_OK(covey_value_append(in, covey_value_none()));
    CHECK_OK(covey_value_append(in, covey_value_int(8)));
    CHECK_ERR(covey_pool_map_values(pool, double_or_block, in, &out,
                                    COVEY_MAP_OPTS(.time_limit = COVEY_MSEC(200))),
              -ETIMEDOUT);
    CHECK(out != NULL);
    CHECK_OK(covey_value_repr(out, &repr));
    CHECK_STR_EQ(repr.data, "[14, None, 16]");
    covey_value_free(out);
    out = NULL;
    CHECK_OK(covey_pool_close(pool));
    CHECK_ERR(covey_pool_map_values(pool, double_or_block, in, &out, NULL),
              COVEY_ECLOSED);
    CHECK(out == NULL);
    covey_value_free(in);
    covey_bytes_free(&repr);
    covey_pool_free(pool);
}

/* ---- a pool that is freed meanwhile ------------------------------------------- */

struct freed {
    covey_pool *pool;
    struct shared *words;
    atomic_bool is_over; /* free has returned */
};

static int block_told(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    family_tell(&(*s)->begun);
    return task_block(call);
}

/* The last call comes before the pool goes, however long it takes. */
static void last_is_before_the_end(void *ctx, size_t done, size_t total)
{
    struct freed *freed = ctx;
    struct covey_pool_stats stats;
    for (int i = 0; done == total && i < 20000; i++) {
        CHECK(!atomic_load(&freed->is_over));
        cvy_os_yield();
    }
    CHECK_OK(covey_pool_stats(freed->pool, &stats));
}

static void *map_until_freed(void *context)
{
    struct freed *freed = context;
    const struct covey_view item = COVEY_VIEW_OF(freed->words);
    CHECK_ERR(covey_pool_map_bytes(freed->pool, block_told, &item, NULL, 1,
                                   COVEY_MAP_OPTS(.progress = last_is_before_the_end,
                                                  .progress_ctx = freed)),
              COVEY_EFREED);
    CHECK_STR_HAS(covey_error_detail(), "the pool was freed meanwhile");
    return NULL;
}

TEST_EACH_METHOD(a_pool_goes_when_maps_of_other_threads_are_over)
{
    struct freed freed = {.pool = pool_with(2, POOL_OPTS()), .words = share()};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, map_until_freed, &freed), 0);
    await_count(&freed.words->begun, 1);
    covey_pool_free(freed.pool);
    atomic_store(&freed.is_over, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

CHECK_MAIN()
