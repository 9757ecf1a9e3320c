/* SPDX-License-Identifier: MIT */
/* Results one by one: imap and imap_unordered. */
#include <pthread.h>
#include <stdlib.h>

#include "imap_help.h"
#include "pool/pool.h"

static int fail_if_odd(struct covey_call *call)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    return *x % 2 ? covey_call_fail(call, "%d is odd", (int)*x) : task_square(call);
}

static int die_if_five(struct covey_call *call)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    return *x == 5 ? task_die(call) : task_square(call);
}

TEST_EACH_METHOD_AND_THREAD(imap_gives_results_in_order)
{
    covey_pool *pool = pool_with(3, POOL_OPTS());
    check_ordered(pool, 0, NULL);
    check_ordered(pool, 1, NULL);
    check_ordered(pool, 10, NULL);
    check_ordered(pool, 30000, NULL);
    check_ordered(pool, 1000, COVEY_IMAP_OPTS(.window = 1));
    check_ordered(pool, 1000, COVEY_IMAP_OPTS(.chunksize = 10));
    check_ordered(pool, 1000, COVEY_IMAP_OPTS(.window_bytes = 1));
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(imap_unordered_gives_each_result_once)
{
    covey_pool *pool = pool_with(3, POOL_OPTS());
    enum { N = 30000 };
    static unsigned char seen[N];
    struct numbers in = {.end = N};
    covey_iterator *it = NULL;
    struct covey_bytes got = {0};
    uint64_t index = 0;
    CHECK_OK(covey_pool_imap_unordered(&it, pool, task_square, next_number, &in, NULL));
    CHECK_ERR(covey_iterator_index(it, &index), COVEY_ESTATE);
    for (size_t i = 0; i < N; i++) {
        CHECK_OK(covey_iterator_next(it, &got, COVEY_FOREVER));
        CHECK_OK(covey_iterator_index(it, &index));
        CHECK_LT(index, N);
        CHECK_EQ(number_in(&got), index * index);
        CHECK_EQ(seen[index]++, 0);
    }
    CHECK_ERR(covey_iterator_next(it, &got, COVEY_FOREVER), COVEY_EEND);
    covey_iterator_free(it);
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(an_item_that_fails_does_so_in_its_place)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct numbers in = {.end = 200};
    covey_iterator *it = NULL;
    struct covey_bytes got = {0};
    CHECK_OK(covey_pool_imap(&it, pool, fail_if_odd, next_number, &in, NULL));
    for (uint64_t i = 0; i < 200; i++) {
        if (i % 2) {
            CHECK_ERR(covey_iterator_next(it, &got, COVEY_FOREVER), COVEY_EREMOTE);
            CHECK_STR_HAS(covey_error_detail(), "is odd");
        } else {
            CHECK_OK(covey_iterator_next(it, &got, COVEY_FOREVER));
            CHECK_EQ(number_in(&got), i * i);
        }
    }
    CHECK_ERR(covey_iterator_next(it, &got, COVEY_FOREVER), COVEY_EEND);
    covey_iterator_free(it);
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(a_death_costs_one_result)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct numbers in = {.end = 300};
    covey_iterator *it = NULL;
    struct covey_bytes got = {0};
    CHECK_OK(covey_pool_imap(&it, pool, die_if_five, next_number, &in, NULL));
    for (uint64_t i = 0; i < 300; i++)
        if (i == 5)
            CHECK_ERR(covey_iterator_next(it, &got, COVEY_FOREVER), COVEY_ECRASHED);
        else
            CHECK_OK(covey_iterator_next(it, &got, COVEY_FOREVER));
    CHECK_ERR(covey_iterator_next(it, &got, COVEY_FOREVER), COVEY_EEND);
    covey_iterator_free(it);
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

struct outage {
    struct shared *s; /* told: 1 while no worker comes up */
    uint64_t number;
    uint64_t end;
};

static int fail_in_outage(struct covey_view arg)
{
    return (int)atomic_load(&shared_of(arg)->told);
}

static int next_of_outage(void *ctx, struct covey_view *ret_item)
{
    struct outage *outage = ctx;
    if (outage->number == outage->end)
        return 0;
    outage->number++;
    *ret_item = COVEY_VIEW_OF(*outage);
    return 1;
}

/* The first one takes its worker along, and all others for a while. */
static int begin_outage(struct covey_call *call)
{
    const struct outage *outage = covey_call_arg(call, NULL);
    if (outage->number > 1)
        return 0;
    atomic_store(&outage->s->told, 1);
    return task_die(call);
}

TEST_EACH_METHOD(the_rest_of_the_input_outlives_an_outage)
{
    struct outage in = {.s = share(), .end = 40};
    covey_pool *pool = pool_with(
        1, POOL_OPTS(.initializer = fail_in_outage, .initarg = COVEY_VIEW_OF(in.s)));
    covey_iterator *it = NULL;
    uint64_t lost = 0, index = 0;
    CHECK_OK(covey_pool_imap(&it, pool, begin_outage, next_of_outage, &in, NULL));
    CHECK_ERR(covey_iterator_next(it, NULL, COVEY_FOREVER), COVEY_ECRASHED);
    for (uint64_t i = 1; i < in.end; i++) {
        int r = covey_iterator_next(it, NULL, COVEY_FOREVER);
        CHECK(r == 0 || r == COVEY_EBROKEN);
        CHECK_OK(covey_iterator_index(it, &index));
        CHECK_EQ(index, i);
        lost += r < 0;
        atomic_store(&in.s->told, 0);
    }
    CHECK_GE(lost, 1);
    CHECK_LT(lost, in.end / 2);
    CHECK_ERR(covey_iterator_next(it, NULL, COVEY_FOREVER), COVEY_EEND);
    covey_iterator_free(it);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(an_error_of_the_input_comes_last)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct numbers in = {.end = 100, .error = -EIO};
    covey_iterator *it = NULL;
    struct covey_bytes got = {0};
    CHECK_OK(covey_pool_imap(&it, pool, task_square, next_number, &in, NULL));
    for (uint64_t i = 0; i < 100; i++)
        CHECK_OK(covey_iterator_next(it, &got, COVEY_FOREVER));
    CHECK_ERR(covey_iterator_next(it, &got, COVEY_FOREVER), -EIO);
    CHECK_ERR(covey_iterator_next(it, &got, COVEY_FOREVER), COVEY_EEND);
    covey_iterator_free(it);
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

static int wait_if_first(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    if (atomic_fetch_add(&(*s)->begun, 1) == 0)
        family_await(&(*s)->go, 1);
    return 0;
}

static int next_pointer(void *ctx, struct covey_view *ret_item)
{
    struct shared **s = ctx;
    if (atomic_fetch_add(&(*s)->told, 1) >= 1000)
        return 0;
    *ret_item = COVEY_VIEW_OF(*s);
    return 1;
}

TEST_EACH_METHOD_AND_THREAD(next_times_out_and_goes_on_and_input_is_not_read_ahead)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    covey_iterator *it = NULL;
    CHECK_OK(covey_pool_imap(&it, pool, wait_if_first, next_pointer, &s,
                             COVEY_IMAP_OPTS(.window = 8)));
    CHECK_ERR(covey_iterator_next(it, NULL, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_iterator_next(it, NULL, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_LE(atomic_load(&s->told), 16);
    family_tell(&s->go);
    for (int i = 0; i < 1000; i++)
        CHECK_OK(covey_iterator_next(it, NULL, COVEY_FOREVER));
    CHECK_ERR(covey_iterator_next(it, NULL, COVEY_FOREVER), COVEY_EEND);
    covey_iterator_free(it);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(an_iterator_may_be_dropped_in_the_middle)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    for (int i = 0; i < 10; i++) {
        struct numbers in = {.end = UINT64_MAX};
        covey_iterator *it = NULL;
        CHECK_OK(
            covey_pool_imap_unordered(&it, pool, task_square, next_number, &in, NULL));
        for (int k = 0; k < i * 50; k++)
            CHECK_OK(covey_iterator_next(it, NULL, COVEY_FOREVER));
        covey_iterator_free(it);
    }
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("on"), NULL, NULL));
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(several_iterators_at_once_and_more_than_there_are_rings)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    enum { MANY = 40 };
    struct numbers in[MANY];
    covey_iterator *its[MANY];
    for (int i = 0; i < MANY; i++) {
        in[i] = (struct numbers){.end = 50};
        CHECK_OK(
            covey_pool_imap(&its[i], pool, task_square, next_number, &in[i], NULL));
    }
    for (int k = 0; k < 50; k++)
        for (int i = 0; i < MANY; i++)
            CHECK_OK(covey_iterator_next(its[i], NULL, COVEY_FOREVER));
    for (int i = 0; i < MANY; i++) {
        CHECK_ERR(covey_iterator_next(its[i], NULL, COVEY_FOREVER), COVEY_EEND);
        covey_iterator_free(its[i]);
    }
    covey_pool_free(pool);
}

static int next_shared(void *ctx, struct covey_view *ret_item)
{
    *ret_item = COVEY_VIEW(ctx, sizeof(struct shared *));
    return 1;
}

static int wait_and_tell_pid(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    (*s)->numbers[0] = (int32_t)getpid();
    return task_wait(call);
}

/* Nobody but the map looks at the time, or at the worker that died. */
TEST_EACH_METHOD(a_map_that_finds_no_place_looks_after_the_pool)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    enum { MANY = CVY_POOL_BATCHES / 8 + 1 };
    struct shared *s = share();
    covey_iterator *its[MANY];
    uint64_t x = 3, y = 0;
    for (int i = 0; i < MANY; i++)
        CHECK_OK(covey_pool_imap(&its[i], pool, wait_and_tell_pid, next_shared, &s,
                                 COVEY_IMAP_OPTS(.window = 8)));
    family_await(&s->begun, 1);
    CHECK_ERR(covey_pool_map(pool, task_square, &x, 8, &y, 8, 1,
                             COVEY_MAP_OPTS(.timeout = COVEY_MSEC(20))),
              -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "it had not begun when the time was over");
    CHECK_EQ(kill(s->numbers[0], SIGKILL), 0);
    family_tell(&s->go);
    CHECK_OK(covey_pool_map(pool, task_square, &x, 8, &y, 8, 1, NULL));
    CHECK_EQ(y, 9);
    for (int i = 0; i < MANY; i++)
        covey_iterator_free(its[i]);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(an_iterator_outlives_its_pool)
{
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct numbers in = {.end = UINT64_MAX};
    covey_iterator *it = NULL;
    CHECK_OK(covey_pool_imap(&it, pool, task_square, next_number, &in, NULL));
    CHECK_OK(covey_iterator_next(it, NULL, COVEY_FOREVER));
    covey_pool_free(pool);
    CHECK_ERR(covey_iterator_next(it, NULL, COVEY_FOREVER), COVEY_EFREED);
    covey_iterator_free(it);
}

/* Every second item is larger than the family's memory. */
static int next_too_large(void *ctx, struct covey_view *ret_item)
{
    static char large[8 << 20];
    struct numbers *in = ctx;
    if (in->next == in->end)
        return 0;
    *ret_item = COVEY_VIEW(large, in->next++ % 2 ? sizeof large : 8);
    return 1;
}

static int task_index(struct covey_call *call)
{
    uint64_t index = covey_call_index(call);
    return covey_call_return(call, &index, sizeof index);
}

TEST_EACH_METHOD(an_item_without_memory_is_refused_and_later_ones_come)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = 4 << 20)));
    covey_pool *pool = pool_with(2, POOL_OPTS());
    for (int ordered = 0; ordered < 2; ordered++) {
        struct numbers in = {.end = 6};
        struct covey_bytes got = {0};
        covey_iterator *it = NULL;
        uint64_t index = 77;
        CHECK_OK((ordered ? covey_pool_imap : covey_pool_imap_unordered)(
            &it, pool, task_index, next_too_large, &in, NULL));
        for (uint64_t i = 0; i < 6; i++) {
            int r = covey_iterator_next(it, &got, COVEY_FOREVER);
            CHECK_OK(covey_iterator_index(it, &index));
            CHECK_EQ(index, i);
            if (i % 2)
                CHECK_ERR(r, -ENOMEM);
            else
                CHECK_EQ(number_in(&got), i);
        }
        CHECK_ERR(covey_iterator_next(it, &got, COVEY_FOREVER), COVEY_EEND);
        covey_bytes_free(&got);
        covey_iterator_free(it);
    }
    covey_pool_free(pool);
}

static bool refuses_memory;

static void *grudging_malloc(size_t size)
{
    return refuses_memory ? NULL : malloc(size);
}

static void *grudging_realloc(void *memory, size_t size)
{
    return refuses_memory ? NULL : realloc(memory, size);
}

/* Whether the workers have finished all that they were given. */
static bool all_finished(const struct cvy_pool *pool)
{
    for (uint32_t slot = 0; slot < CVY_POOL_BATCHES; slot++) {
        const struct cvy_pool_slot *s = &pool->slots[slot];
        for (uint64_t i = 0; s->use == CVY_SLOT_ACTIVE && i < s->n; i++)
            if (!cvy_outcome_is_final(atomic_load(&s->batch->outcomes[i])))
                return false;
    }
    return true;
}

/* Others want the batches of an iterator that is not read, and there is no memory to keep
 * its results elsewhere. */
TEST(no_result_is_lost_where_there_is_no_memory_to_keep_it)
{
    CHECK_OK(covey_set_allocator(grudging_malloc, grudging_realloc, free));
    covey_pool *pool = pool_with(1, NULL);
    struct cvy_pool *inner = cvy_pool_of(pool);
    struct numbers in = {.end = 8};
    covey_iterator *it = NULL;
    CHECK_OK(covey_pool_imap(&it, pool, task_square, next_number, &in, NULL));
    while (!all_finished(inner))
        cvy_os_yield();
    refuses_memory = true;
    cvy_iterators_relieve(inner);
    refuses_memory = false;
    for (uint64_t i = 0; i < 8; i++) {
        struct covey_bytes got = {0};
        CHECK_OK(covey_iterator_next(it, &got, COVEY_FOREVER));
        CHECK_EQ(number_in(&got), i * i);
        covey_bytes_free(&got);
    }
    CHECK_ERR(covey_iterator_next(it, NULL, COVEY_FOREVER), COVEY_EEND);
    covey_iterator_free(it);
    covey_pool_free(pool);
}

static uint64_t used_now(void)
{
    struct covey_family_usage usage;
    CHECK_OK(covey_family_usage(&usage));
    return usage.used;
}

/* Ten million take a minute here; a million says the same about memory. */
TEST_TIMEOUT(a_million_tasks_need_no_more_memory_than_a_thousand, 120)
{
    enum { N = SANITIZED ? 100000 : 1000000 };
    covey_pool *pool = pool_with(2, NULL);
    struct numbers in = {.end = N};
    covey_iterator *it = NULL;
    struct covey_bytes got = {0};
    uint64_t sum = 0, most = 0;
    CHECK_OK(covey_pool_imap_unordered(&it, pool, task_square, next_number, &in, NULL));
    for (uint64_t i = 0; i < N; i++) {
        CHECK_OK(covey_iterator_next(it, &got, COVEY_FOREVER));
        sum += number_in(&got);
        if (i % 1000 == 0) {
            uint64_t used = used_now();
            most = used > most ? used : most;
        }
    }
    CHECK_EQ(sum, (uint64_t)(N - 1) * N / 2 * (2 * (uint64_t)N - 1) / 3);
    CHECK_LT(most, 96 << 20);
    covey_iterator_free(it);
    covey_bytes_free(&got);
    covey_pool_free(pool);
}

/* An input that is being asked while the pool is terminated. */
struct slow {
    covey_pool *pool;
    _Atomic bool is_asked, is_terminated, is_left;
    uint64_t number;
};

/* It gives a terminate that does not wait for it the time to be over. */
static int next_slowly(void *ctx, struct covey_view *ret_item)
{
    struct slow *slow = ctx;
    if (!atomic_exchange(&slow->is_asked, true)) {
        int64_t until = cvy_os_now() + COVEY_MSEC(500);
        while (!atomic_load(&slow->is_terminated) && cvy_os_now() < until)
            cvy_os_yield();
        atomic_store(&slow->is_left, !atomic_load(&slow->is_terminated));
    }
    *ret_item = COVEY_VIEW_OF(slow->number);
    return 1;
}

static void *begin_an_iterator(void *arg)
{
    struct slow *slow = arg;
    covey_iterator *it = NULL;
    int r = covey_pool_imap(&it, slow->pool, task_square, next_slowly, slow, NULL);
    while (r >= 0)
        r = covey_iterator_next(it, NULL, COVEY_FOREVER);
    CHECK_ERR(r, COVEY_EFREED);
    covey_iterator_free(it);
    return NULL;
}

TEST_EACH_METHOD_AND_THREAD(a_pool_is_terminated_while_an_iterator_begins)
{
    struct slow slow = {.pool = pool_with(2, POOL_OPTS()), .number = 3};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, begin_an_iterator, &slow), 0);
    while (!atomic_load(&slow.is_asked))
        cvy_os_yield();
    CHECK_OK(covey_pool_terminate(slow.pool));
    atomic_store(&slow.is_terminated, true);
    CHECK(atomic_load(&slow.is_left)); /* nobody took the iterator from under it */
    CHECK_EQ(pthread_join(thread, NULL), 0);
    covey_pool_free(slow.pool);
}

TEST(bad_arguments_are_refused)
{
    covey_pool *pool = pool_with(1, NULL);
    struct numbers in = {0};
    covey_iterator *it = NULL;
    CHECK_ERR(covey_pool_imap(NULL, pool, task_square, next_number, &in, NULL),
              -EINVAL);
    CHECK_ERR(covey_pool_imap(&it, pool, NULL, next_number, &in, NULL), -EINVAL);
    CHECK_ERR(covey_pool_imap(&it, pool, task_square, NULL, &in, NULL), -EINVAL);
    CHECK_ERR(covey_iterator_next(NULL, NULL, COVEY_NOWAIT), -EINVAL);
    covey_iterator_free(NULL);
    covey_pool_free(pool);
}

/* ---- many of them -------------------------------------------------------------- */

static void open_many(covey_pool *pool, covey_iterator **its, size_t n)
{
    static struct numbers nothing;
    for (size_t i = 0; i < n; i++)
        CHECK_OK(
            covey_pool_imap(&its[i], pool, task_square, next_number, &nothing, NULL));
}

static void free_many(covey_iterator **its, size_t n)
{
    for (size_t i = 0; i < n; i++)
        covey_iterator_free(its[i]);
}

/* Who would wait may be the one who is to read them. */
TEST_EACH_METHOD_AND_THREAD(a_map_does_not_wait_for_iterators)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    covey_iterator *its[CVY_POOL_BATCHES];
    uint64_t x = 3, y = 0;
    open_many(pool, its, CVY_POOL_BATCHES);
    CHECK_ERR(covey_pool_map(pool, task_square, &x, 8, &y, 8, 1, NULL), -EAGAIN);
    CHECK_ERR(covey_pool_map(pool, task_square, &x, 8, &y, 8, 1,
                             COVEY_MAP_OPTS(.timeout = COVEY_MSEC(50))),
              -EAGAIN);
    covey_iterator_free(its[0]);
    CHECK_OK(covey_pool_map(pool, task_square, &x, 8, &y, 8, 1, NULL));
    CHECK_EQ(y, 9);
    free_many(its + 1, CVY_POOL_BATCHES - 1);
    covey_pool_free(pool);
}

struct waiting_map {
    covey_pool *pool;
    struct shared *s;
};

static void *map_what_waits(void *arg)
{
    const struct waiting_map *map = arg;
    CHECK_OK(covey_pool_apply(map->pool, task_wait, COVEY_VIEW_OF(map->s), NULL, NULL));
    return NULL;
}

/* It waits for another thread's, which may end any time. */
TEST_EACH_METHOD_AND_THREAD(a_map_waits_for_another_within_its_time)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    covey_iterator *its[CVY_POOL_BATCHES - 1];
    struct waiting_map other = {pool, share()};
    struct covey_map_summary sum;
    unsigned char outcome = COVEY_OUTCOME_OK;
    const struct covey_map_opts *opts =
        COVEY_MAP_OPTS(.timeout = COVEY_MSEC(50), .outcomes = &outcome,
                       .summary = &sum);
    uint64_t x = 3, y = 1;
    struct covey_view in = COVEY_VIEW_OF(x);
    pthread_t thread;
    open_many(pool, its, CVY_POOL_BATCHES - 1);
    CHECK_EQ(pthread_create(&thread, NULL, map_what_waits, &other), 0);
    await_count(&other.s->begun, 1);
    CHECK_ERR(covey_pool_map(pool, task_square, &x, 8, &y, 8, 1, opts), -ETIMEDOUT);
    CHECK_EQ(outcome, COVEY_OUTCOME_CANCELLED);
    CHECK_EQ(sum.failed, 1);
    CHECK_EQ(y, 0);
    outcome = COVEY_OUTCOME_OK;
    CHECK_ERR(covey_pool_map_bytes(pool, task_square, &in, NULL, 1, opts), -ETIMEDOUT);
    CHECK_EQ(outcome, COVEY_OUTCOME_CANCELLED);
    CHECK_EQ(sum.failed, 1);
    family_tell(&other.s->go);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    free_many(its, CVY_POOL_BATCHES - 1);
    covey_pool_free(pool);
}

CHECK_MAIN()
