/* SPDX-License-Identifier: MIT */
/* The pool: what a map promises while no worker dies; test_pool_kills has the rest. */
#include <pthread.h>
#include <time.h>

#include "pool/pool.h"
#include "process_help.h"

static void *room(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    CHECK(memory != NULL);
    return memory;
}

/* ---- tasks ------------------------------------------------------------------- */

static int square(struct covey_call *call)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    uint64_t y = *x * *x;
    return covey_call_return(call, &y, sizeof y);
}

static int nothing(struct covey_call *call)
{
    (void)call;
    return 0;
}

static int index_of_call(struct covey_call *call)
{
    uint64_t index = covey_call_index(call);
    return covey_call_return(call, &index, sizeof index);
}

static int reverse(struct covey_call *call)
{
    size_t size;
    const unsigned char *in = covey_call_arg(call, &size);
    unsigned char *out = room(size + 1);
    for (size_t i = 0; i < size; i++)
        out[i] = in[size - 1 - i];
    int r = covey_call_return(call, out, size);
    free(out);
    return r;
}

static int alignment(struct covey_call *call)
{
    uint64_t address = (uintptr_t)covey_call_arg(call, NULL);
    return covey_call_return(call, &address, sizeof address);
}

static int process_id(struct covey_call *call)
{
    uint64_t pid = (uint64_t)getpid();
    return covey_call_return(call, &pid, sizeof pid);
}

static void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static int sleep_long_if_five(struct covey_call *call)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    if (*x == 5)
        sleep_ms(60000);
    return covey_call_return(call, x, sizeof *x);
}

static int sleep_a_little(struct covey_call *call)
{
    size_t size;
    const void *x = covey_call_arg(call, &size);
    sleep_ms(20);
    return covey_call_return(call, x, size);
}

static int ignores_interrupts(struct covey_call *call)
{
    uint64_t yes = raise(SIGINT) == 0;
    return covey_call_return(call, &yes, sizeof yes);
}

/* ---- help -------------------------------------------------------------------- */

static covey_pool *new_pool(size_t workers)
{
    covey_pool *pool = NULL;
    CHECK_OK(
        covey_pool_create(&pool, workers, COVEY_POOL_OPTS(.method = check_method())));
    return pool;
}

static uint64_t *count_up(size_t n)
{
    uint64_t *x = room((n + 1) * sizeof *x);
    CHECK(x != NULL);
    for (size_t i = 0; i < n; i++)
        x[i] = i;
    return x;
}

static void check_squares(covey_pool *pool, size_t n, size_t chunksize)
{
    uint64_t *in = count_up(n), *out = room((n + 1) * sizeof *out);
    struct covey_map_summary sum;
    unsigned char *outcomes = room(n + 1);
    CHECK_OK(covey_pool_map(
        pool, square, in, sizeof *in, out, sizeof *out, n,
        COVEY_MAP_OPTS(.chunksize = chunksize, .outcomes = outcomes, .summary = &sum)));
    for (size_t i = 0; i < n; i++) {
        CHECK_EQ(out[i], i * i);
        CHECK_EQ(outcomes[i], COVEY_OUTCOME_OK);
    }
    CHECK_EQ(sum.ok, n);
    CHECK_EQ(sum.failed, 0);
    CHECK(sum.first_failed == SIZE_MAX);
    CHECK_STR_EQ(sum.text, "");
    free(in);
    free(out);
    free(outcomes);
}

/* ---- results ----------------------------------------------------------------- */

TEST_EACH_METHOD_AND_THREAD(map_gives_results_in_order)
{
    covey_pool *pool = new_pool(3);
    check_squares(pool, 7, 0);
    check_squares(pool, 0, 0);
    check_squares(pool, 1, 0);
    check_squares(pool, 1000, 1);
    check_squares(pool, 1000, 7);
    check_squares(pool, 100, 1000);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(map_of_a_million_items)
{
    covey_pool *pool = new_pool(2);
    check_squares(pool, 1000000, 0);
    check_squares(pool, 100000, 1);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(more_workers_than_items_and_processors)
{
    covey_pool *pool = new_pool(12);
    for (int i = 0; i < 20; i++) {
        check_squares(pool, 3, 0);
        check_squares(pool, 5000, 0);
    }
    covey_pool_free(pool);
}

TEST(zero_workers_means_one_per_processor)
{
    covey_pool *pool = NULL;
    size_t processors = 0, children = 0;
    CHECK_OK(covey_cpu_count(&processors));
    CHECK_OK(covey_pool_create(&pool, 0, NULL));
    CHECK_OK(covey_active_children(NULL, 0, &children));
    CHECK_EQ(children, processors);
    covey_pool_free(pool);
}

static void check_reverse(covey_pool *pool, size_t size, size_t n)
{
    unsigned char *in = room(size * n + 1), *out = room(size * n + 1);
    for (size_t i = 0; i < size * n; i++)
        in[i] = (unsigned char)(i * 31 + i / 251);
    CHECK_OK(covey_pool_map(pool, reverse, in, size, out, size, n, NULL));
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < size; k++)
            if (out[i * size + k] != in[i * size + size - 1 - k])
                check_failed(__FILE__, __LINE__, "size %zu, item %zu, byte %zu", size,
                             i, k);
    free(in);
    free(out);
}

TEST_EACH_METHOD_AND_THREAD(items_of_any_size)
{
    static const size_t sizes[] = {0, 1, 3, 8, 24, 100, 4095, 4096, 65537, 1 << 20};
    covey_pool *pool = new_pool(2);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_reverse(pool, sizes[i], sizes[i] > 60000 ? 20 : 300);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(arguments_are_aligned_as_in_an_array)
{
    static const size_t sizes[] = {1, 2, 4, 8, 16, 32, 48, 64, 96};
    covey_pool *pool = new_pool(2);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t size = sizes[s], natural = size & -size;
        _Alignas(64) static unsigned char in[200 * 96];
        uint64_t addresses[200];
        CHECK_OK(covey_pool_map(pool, alignment, in, size, addresses, 8, 200, NULL));
        for (size_t i = 0; i < 200; i++)
            CHECK_EQ(addresses[i] % (natural < 16 ? natural : 16), 0);
    }
    covey_pool_free(pool);
}

TEST_EACH_METHOD(tasks_without_argument_or_result)
{
    covey_pool *pool = new_pool(2);
    uint64_t index[5000];
    CHECK_OK(covey_pool_map(pool, nothing, NULL, 0, NULL, 0, 5000, NULL));
    CHECK_OK(covey_pool_map(pool, index_of_call, NULL, 0, index, 8, 5000, NULL));
    for (size_t i = 0; i < 5000; i++)
        CHECK_EQ(index[i], i);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(an_item_knows_its_index_in_large_maps)
{
    covey_pool *pool = new_pool(2);
    enum { N = 300000 };
    uint64_t *index = room(N * sizeof *index);
    CHECK_OK(covey_pool_map(pool, index_of_call, NULL, 0, index, 8, N, NULL));
    for (size_t i = 0; i < N; i++)
        CHECK_EQ(index[i], i);
    free(index);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(one_array_may_be_input_and_output)
{
    covey_pool *pool = new_pool(2);
    enum { N = 200000 };
    uint64_t *x = count_up(N);
    CHECK_OK(covey_pool_map(pool, square, x, 8, x, 8, N, NULL));
    for (size_t i = 0; i < N; i++)
        CHECK_EQ(x[i], i * i);
    free(x);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(arrays_in_shared_memory_are_used_in_place)
{
    covey_pool *pool = new_pool(2);
    enum { N = 100000 };
    void *object = NULL;
    cvy_ref body = 0;
    CHECK_OK(cvy_object_create(CVY_KIND_TEST, 64, 0, N * 16, &object, &body));
    uint64_t *in = cvy_at(body), *out = in + N, address = 0;
    for (size_t i = 0; i < N; i++)
        in[i] = i;
    CHECK_OK(covey_pool_map(pool, square, in, 8, out, 8, N, NULL));
    for (size_t i = 0; i < N; i++)
        CHECK_EQ(out[i], i * i);
    CHECK_OK(covey_pool_map(pool, alignment, in + 3, 8, &address, 8, 1, NULL));
    CHECK_EQ(address, (uintptr_t)(in + 3));
    covey_pool_free(pool);
    CHECK_OK(cvy_object_release(object));
}

TEST_EACH_METHOD(work_is_done_in_several_processes_not_in_this_one)
{
    covey_pool *pool = new_pool(2);
    uint64_t zeros[8] = {0}, pids[8];
    CHECK_OK(covey_pool_map(pool, sleep_a_little, zeros, 8, pids, 8, 8, NULL));
    CHECK_OK(covey_pool_map(pool, process_id, NULL, 0, pids, 8, 8, NULL));
    for (size_t i = 0; i < 8; i++)
        CHECK_NE(pids[i], getpid());
    covey_pool_free(pool);
}

/* ---- balance ----------------------------------------------------------------- */

/* An item that meets others, in other workers. */
struct meeting {
    struct shared *s;
    uint64_t index;
};

static struct meeting *meetings(size_t n)
{
    struct shared *s = share();
    struct meeting *x = room(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (struct meeting){s, i};
    return x;
}

enum { TINY = 100000, FIRST = 10000, LAST = FIRST + 7 };

static int meet_in_the_middle(struct covey_call *call)
{
    const struct meeting *x = covey_call_arg(call, NULL);
    if (x->index >= FIRST && x->index <= LAST) {
        family_tell(&x->s->begun);
        family_await(&x->s->begun, 4);
    }
    return covey_call_return(call, &x->index, sizeof x->index);
}

/* Eight items in a row, amid many that take nothing, fall to one worker. The first one ends
 * when four workers have one each. */
TEST_EACH_METHOD(slow_items_in_a_row_are_taken_over_by_idle_workers)
{
    covey_pool *pool = new_pool(4);
    struct meeting *x = meetings(TINY);
    uint64_t *y = room(TINY * sizeof *y);
    CHECK_OK(covey_pool_map(pool, meet_in_the_middle, x, sizeof *x, y, sizeof *y, TINY,
                            COVEY_MAP_OPTS(.chunksize = 1)));
    for (size_t i = 0; i < TINY; i++)
        CHECK_EQ(y[i], i);
    free(x);
    free(y);
    covey_pool_free(pool);
}

/* ---- several maps ------------------------------------------------------------ */

struct mapper {
    covey_pool *pool;
    size_t n;
    pthread_t thread;
};

static void *map_often(void *context)
{
    struct mapper *m = context;
    for (int i = 0; i < 30; i++)
        check_squares(m->pool, m->n, 0);
    return NULL;
}

static void map_from_threads(covey_pool *pool, size_t threads)
{
    struct mapper mappers[80];
    for (size_t i = 0; i < threads; i++) {
        mappers[i] = (struct mapper){pool, i * i * 7 % 5000, 0};
        CHECK_EQ(pthread_create(&mappers[i].thread, NULL, map_often, &mappers[i]), 0);
    }
    for (size_t i = 0; i < threads; i++)
        CHECK_EQ(pthread_join(mappers[i].thread, NULL), 0);
}

TEST_EACH_METHOD_AND_THREAD(threads_map_at_the_same_time)
{
    covey_pool *pool = new_pool(2);
    map_from_threads(pool, 5);
    covey_pool_free(pool);
}

TEST(more_threads_map_than_there_are_places_for_maps)
{
    covey_pool *pool = new_pool(2);
    map_from_threads(pool, 80);
    covey_pool_free(pool);
}

enum { LONG = 40, LATE = 30 };

/* The first ones last longer than a turn of a worker, once the short map is there; the
 * others until that is over. */
static int outlast_a_short_map(struct covey_call *call)
{
    const struct meeting *x = covey_call_arg(call, NULL);
    family_tell(&x->s->begun);
    family_await(&x->s->go, x->index < LATE ? 1 : 2);
    sleep_ms(11);
    return covey_call_return(call, &x->index, sizeof x->index);
}

struct long_map {
    covey_pool *pool;
    struct meeting *x;
};

static void *map_something_long(void *context)
{
    const struct long_map *map = context;
    uint64_t y[LONG];
    CHECK_OK(covey_pool_map(map->pool, outlast_a_short_map, map->x, sizeof *map->x, y,
                            sizeof *y, LONG, NULL));
    return NULL;
}

static void *map_something_short(void *pool)
{
    check_squares(pool, 10, 0);
    return NULL;
}

TEST_EACH_METHOD(a_short_map_is_not_kept_waiting_by_a_long_one)
{
    struct long_map map = {new_pool(2), meetings(LONG)};
    struct shared *s = map.x[0].s;
    struct cvy_pool *inner = cvy_pool_of(map.pool);
    pthread_t long_one, short_one;
    CHECK_EQ(pthread_create(&long_one, NULL, map_something_long, &map), 0);
    family_await(&s->begun, 2);
    CHECK_EQ(pthread_create(&short_one, NULL, map_something_short, map.pool), 0);
    while (__builtin_popcountll(atomic_load(&inner->shared->active)) < 2)
        cvy_os_yield();
    family_tell(&s->go);
    CHECK_EQ(pthread_join(short_one, NULL), 0);
    family_tell(&s->go);
    CHECK_EQ(pthread_join(long_one, NULL), 0);
    covey_pool_free(map.pool);
    free(map.x);
}

TEST_EACH_METHOD(pools_side_by_side)
{
    covey_pool *a = new_pool(2), *b = new_pool(1);
    for (int i = 0; i < 20; i++) {
        check_squares(a, 100, 0);
        check_squares(b, 100, 0);
    }
    covey_pool_free(a);
    check_squares(b, 100, 0);
    covey_pool_free(b);
}

/* ---- misuse, and ends ----------------------------------------------------------- */

TEST_EACH_METHOD(bad_arguments_are_refused)
{
    covey_pool *pool = new_pool(1), *none = NULL;
    static uint64_t x[4];
    CHECK_ERR(covey_pool_map(NULL, square, x, 8, x, 8, 4, NULL), -EINVAL);
    CHECK_ERR(covey_pool_map((covey_pool *)(void *)x, square, x, 8, x, 8, 4, NULL),
              -EINVAL);
    CHECK_ERR(covey_pool_map(pool, NULL, x, 8, x, 8, 4, NULL), -EINVAL);
    CHECK_ERR(covey_pool_map(pool, square, NULL, 8, x, 8, 4, NULL), -EINVAL);
    CHECK_ERR(covey_pool_map(pool, square, x, 8, NULL, 8, 4, NULL), -EINVAL);
    CHECK_ERR(covey_pool_map(pool, square, x, SIZE_MAX / 2, x, 8, 4, NULL), -EINVAL);
    CHECK_ERR(covey_pool_map(pool, (covey_task_fn *)(uintptr_t)x, x, 8, x, 8, 4, NULL),
              -EINVAL);
    struct covey_map_opts unsized = {.chunksize = 1};
    CHECK_ERR(covey_pool_map(pool, square, x, 8, x, 8, 4, &unsized), -EINVAL);
    CHECK_ERR(covey_pool_create(NULL, 1, NULL), -EINVAL);
    CHECK_ERR(covey_pool_create(&none, 1025, NULL), -EINVAL);
    CHECK_ERR(covey_pool_create(&none, 1, COVEY_POOL_OPTS(.name = "")), -EINVAL);
    CHECK_ERR(covey_pool_create(&none, 1,
                                COVEY_POOL_OPTS(.method = (enum covey_start_method)99)),
              -EINVAL);
    CHECK(none == NULL);
    check_squares(pool, 10, 0);
    covey_pool_free(pool);
    covey_pool_free(NULL);
}

/* What only the creator may do, while the pool is there. */
static void all_refuse(covey_pool *pool, int code)
{
    uint64_t x = 3;
    CHECK_ERR(covey_pool_map(pool, square, &x, 8, &x, 8, 1, NULL), code);
    CHECK_ERR(covey_pool_resize(pool, 1), code);
    CHECK_ERR(covey_pool_dispatch(pool, COVEY_NOWAIT), code);
    CHECK_ERR(covey_pool_cancel_group(pool, 1, 0), code);
    CHECK_ERR(covey_pool_close(pool), code);
    CHECK_ERR(covey_pool_join(pool, COVEY_NOWAIT), code);
    CHECK_ERR(covey_pool_terminate(pool), code);
}

TEST_EACH_METHOD(a_freed_pool_is_recognized)
{
    covey_pool *pool = new_pool(2);
    struct covey_pool_stats stats;
    uint64_t counts[COVEY_HISTOGRAM_SIZE];
    covey_pool_free(pool);
    all_refuse(pool, COVEY_EFREED);
    CHECK_ERR(covey_pool_stats(pool, &stats), COVEY_EFREED);
    CHECK_ERR(covey_pool_histogram(pool, COVEY_TIME_RUN, counts), COVEY_EFREED);
    covey_pool_free(pool);
}

static int use_pool_of_parent(struct covey_view arg)
{
    covey_pool *pool = ((const struct mapper *)arg.data)->pool;
    all_refuse(pool, COVEY_ENOTOWNER);
    covey_pool_free(pool);
    return 0;
}

TEST_EACH_METHOD(only_its_creator_operates_a_pool)
{
    covey_pool *pool = new_pool(1);
    struct mapper mapper = {.pool = pool};
    CHECK_EQ(run(use_pool_of_parent, COVEY_VIEW_OF(mapper),
                 COVEY_PROCESS_OPTS(.method = check_method())),
             0);
    check_squares(pool, 10, 0);
    covey_pool_free(pool);
}

static int make_pool_in_child(struct covey_view arg)
{
    int depth = *(const int *)arg.data - 1, code = -1;
    covey_pool *pool = new_pool(2);
    check_squares(pool, 1000, 0);
    if (depth > 0) {
        covey_process *child = NULL;
        CHECK_OK(covey_process_create(&child, make_pool_in_child, COVEY_VIEW_OF(depth),
                                      COVEY_PROCESS_OPTS(.method = check_method())));
        CHECK_OK(covey_process_start(child));
        check_squares(pool, 1000, 0);
        CHECK_OK(covey_process_join(child, COVEY_FOREVER));
        CHECK_OK(covey_process_exitcode(child, &code));
        CHECK_EQ(code, 0);
        covey_process_free(child);
    }
    covey_pool_free(pool);
    return 0;
}

TEST_EACH_METHOD(a_child_of_a_child_has_a_pool)
{
    int depth = 3;
    CHECK_EQ(make_pool_in_child(COVEY_VIEW_OF(depth)), 0);
}

static int leave_pool_behind(struct covey_view arg)
{
    (void)arg;
    check_squares(new_pool(2), 100, 0);
    return 7;
}

TEST_EACH_METHOD(a_pool_left_behind_does_not_hold_up_the_end)
{
    covey_process *child = started(leave_pool_behind, COVEY_NO_VIEW,
                                   COVEY_PROCESS_OPTS(.method = check_method()));
    CHECK_EQ(exitcode_of(child), 7);
    covey_process_free(child);
}

TEST_EACH_METHOD(workers_ignore_interrupts)
{
    covey_pool *pool = new_pool(2);
    uint64_t yes[4] = {0};
    CHECK_OK(covey_pool_map(pool, ignores_interrupts, NULL, 0, yes, 8, 4, NULL));
    CHECK_EQ(yes[3], 1);
    covey_pool_free(pool);
}

/* ---- time -------------------------------------------------------------------- */

TEST_EACH_METHOD(a_map_ends_with_its_timeout)
{
    covey_pool *pool = new_pool(2);
    uint64_t *x = count_up(20), y[20];
    unsigned char outcomes[20];
    struct covey_map_summary sum;
    CHECK_ERR(covey_pool_map(pool, sleep_long_if_five, x, 8, y, 8, 20,
                             COVEY_MAP_OPTS(.timeout = COVEY_MSEC(200), .chunksize = 1,
                                            .outcomes = outcomes, .summary = &sum)),
              -ETIMEDOUT);
    CHECK_EQ(outcomes[5], COVEY_OUTCOME_TIMEOUT);
    CHECK_EQ(sum.first_failed, 5);
    CHECK_EQ(sum.ok, 19);
    CHECK_EQ(y[5], 0);
    CHECK_EQ(y[19], 19);
    check_squares(pool, 100, 0);
    free(x);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(what_has_not_begun_in_time_is_cancelled)
{
    covey_pool *pool = new_pool(1);
    enum { N = 200 };
    uint64_t *x = count_up(N), y[N];
    unsigned char outcomes[N];
    CHECK_ERR(covey_pool_map(
                  pool, sleep_a_little, x, 8, y, 8, N,
                  COVEY_MAP_OPTS(.timeout = COVEY_MSEC(300), .outcomes = outcomes)),
              -ETIMEDOUT);
    CHECK_EQ(outcomes[0], COVEY_OUTCOME_OK);
    CHECK_EQ(outcomes[N - 1], COVEY_OUTCOME_CANCELLED);
    check_squares(pool, 100, 0);
    free(x);
    covey_pool_free(pool);
}

struct shown {
    size_t calls, last, total;
};

static void show(void *context, size_t done, size_t total)
{
    struct shown *shown = context;
    CHECK_GE(done, shown->last);
    shown->calls++;
    shown->last = done;
    shown->total = total;
}

TEST_EACH_METHOD(progress_is_told_while_it_runs_and_at_the_end)
{
    covey_pool *pool = new_pool(2);
    uint64_t *x = count_up(20), y[20];
    struct shown shown = {0, 0, 0};
    CHECK_OK(covey_pool_map(pool, sleep_a_little, x, 8, y, 8, 20,
                            COVEY_MAP_OPTS(.progress = show, .progress_ctx = &shown)));
    CHECK_EQ(shown.last, 20);
    CHECK_EQ(shown.total, 20);
    CHECK_GE(shown.calls, 3);
    CHECK_LE(shown.calls, 15);
    free(x);
    covey_pool_free(pool);
}

/* ---- memory ------------------------------------------------------------------ */

TEST_EACH_METHOD(memory_does_not_grow_with_maps)
{
    covey_pool *pool = new_pool(2);
    struct covey_family_usage before, after;
    enum { N = 12, SIZE = 280000 };
    char *large = room((size_t)N * SIZE);
    /* So slow that all the batches a map may have are in use at once. */
    CHECK_OK(covey_pool_map(pool, sleep_a_little, large, SIZE, large, SIZE, N, NULL));
    free(large);
    check_squares(pool, 200000, 0);
    check_reverse(pool, 100000, 20);
    CHECK_OK(covey_family_usage(&before));
    for (int i = 0; i < 1000; i++)
        check_squares(pool, (size_t)i * 13 % 700, 0);
    check_squares(pool, 200000, 0);
    check_reverse(pool, 100000, 20);
    CHECK_OK(covey_family_usage(&after));
    CHECK_LE(after.used, before.used + (1 << 20));
    CHECK_EQ(after.objects, before.objects);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(pools_give_everything_back)
{
    struct covey_family_usage before, after;
    covey_pool_free(new_pool(2));
    CHECK_OK(covey_family_usage(&before));
    for (int i = 0; i < 20; i++) {
        covey_pool *pool = new_pool(2);
        check_squares(pool, 1000, 0);
        covey_pool_free(pool);
    }
    CHECK_OK(covey_family_usage(&after));
    CHECK_EQ(after.used, before.used);
    CHECK_EQ(after.objects, before.objects);
    CHECK_EQ(after.members, before.members);
}

TEST_EACH_METHOD(beyond_the_budget_a_map_is_refused_and_the_pool_goes_on)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = 4 << 20)));
    covey_pool *pool = new_pool(2);
    size_t size = 8 << 20;
    unsigned char *in = room(size), *out = room(size), outcome = 99;
    struct covey_map_summary sum;
    memset(out, 1, size);
    CHECK_ERR(covey_pool_map(pool, reverse, in, size, out, size, 1,
                             COVEY_MAP_OPTS(.outcomes = &outcome, .summary = &sum)),
              -ENOMEM);
    CHECK_STR_HAS(covey_error_detail(), "budget");
    CHECK_STR_HAS(sum.text, "budget");
    CHECK_EQ(sum.ok, 0);
    CHECK_EQ(sum.failed, 1);
    CHECK_EQ(outcome, COVEY_OUTCOME_CANCELLED);
    CHECK_EQ(out[0], 0);
    check_squares(pool, 1000, 0);
    check_reverse(pool, 500000, 30); /* what fits only in parts is done in parts */
    check_squares(pool, 100000, 0);
    free(in);
    free(out);
    covey_pool_free(pool);
}

CHECK_MAIN()
