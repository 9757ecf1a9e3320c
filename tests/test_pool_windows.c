/* SPDX-License-Identifier: MIT */
/* How far iterators read ahead, and that what is ready is heard of. */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "imap_help.h"
#include "pool/pool.h"

struct windowed {
    struct numbers in;
    uint64_t window, fetched;
};

static int next_in_window(void *ctx, struct covey_view *ret_item)
{
    struct windowed *w = ctx;
    int r = next_number(&w->in, ret_item);
    CHECK_LE(w->in.next - w->fetched, w->window);
    return r;
}

/* Tiny items, of whose cost enough is known for large batches. */
TEST_EACH_METHOD_AND_THREAD(a_window_is_not_overshot)
{
    static const uint64_t windows[] = {1, 2, 3, 7, 10, 100, 1000};
    covey_pool *pool = pool_with(2, POOL_OPTS());
    for (int chunk = 0; chunk <= 20; chunk += 20)
        for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
            struct windowed w = {.in = {.end = 5000}, .window = windows[i]};
            covey_iterator *it = NULL;
            check_ordered(pool, 1000, NULL);
            CHECK_OK(covey_pool_imap(
                &it, pool, task_square, next_in_window, &w,
                COVEY_IMAP_OPTS(.window = w.window, .chunksize = (size_t)chunk)));
            for (; w.fetched < w.in.end; w.fetched++)
                CHECK_OK(covey_iterator_next(it, NULL, COVEY_FOREVER));
            CHECK_ERR(covey_iterator_next(it, NULL, COVEY_FOREVER), COVEY_EEND);
            covey_iterator_free(it);
        }
    covey_pool_free(pool);
}

/* What batches with items that were not fetched yet take of shared memory. */
static uint64_t bytes_out(covey_pool *pool, uint64_t *ret_items)
{
    struct cvy_pool *inner = cvy_pool_of(pool);
    uint64_t bytes = 0;
    *ret_items = 0;
    (void)pthread_mutex_lock(&inner->lock);
    for (unsigned i = 0; i < CVY_POOL_BATCHES; i++)
        if (inner->slots[i].use == CVY_SLOT_ACTIVE) {
            bytes += inner->slots[i].run.bytes;
            *ret_items += inner->slots[i].n;
        }
    (void)pthread_mutex_unlock(&inner->lock);
    return bytes;
}

/* Many of one size, then some of another. */
static int next_of_any_size(void *ctx, struct covey_view *ret_item)
{
    static const size_t sizes[] = {8, 1000, 300, 20000, 8, 150000, 60, 5000};
    static const char bytes[150000];
    struct numbers *n = ctx;
    if (n->next == n->end)
        return 0;
    size_t size = sizes[n->next++ / 300 % (sizeof sizes / sizeof *sizes)];
    *ret_item = COVEY_VIEW(bytes, size);
    return 1;
}

static int task_nothing(struct covey_call *call)
{
    return covey_call_return(call, NULL, 0);
}

TEST_EACH_METHOD_AND_THREAD(a_window_of_bytes_is_not_overshot)
{
    static const uint64_t windows[] = {1, 20000, 100000, 300000, 3000000};
    covey_pool *pool = pool_with(2, POOL_OPTS());
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        struct numbers in = {.end = 4800};
        covey_iterator *it = NULL;
        uint64_t items = 0;
        CHECK_OK(covey_pool_imap(&it, pool, task_nothing, next_of_any_size, &in,
                                 COVEY_IMAP_OPTS(.window_bytes = windows[i])));
        for (uint64_t fetched = 0; fetched < in.end; fetched++) {
            CHECK(bytes_out(pool, &items) <= windows[i] || items == 1);
            CHECK_OK(covey_iterator_next(it, NULL, COVEY_FOREVER));
        }
        CHECK_ERR(covey_iterator_next(it, NULL, COVEY_FOREVER), COVEY_EEND);
        covey_iterator_free(it);
    }
    covey_pool_free(pool);
}

/* ---- what is ready ---------------------------------------------------------------- */

struct gated {
    struct shared *shared;
    bool waits; /* for `go` */
};

static int wait_if_gated(struct covey_call *call)
{
    const struct gated *item = covey_call_arg(call, NULL);
    if (item->waits)
        family_await(&item->shared->go, 1);
    return covey_call_return(call, NULL, 0);
}

/* So many items, of which one waits. */
struct gated_input {
    struct gated item;
    uint64_t next, end, gated;
};

static int next_gated(void *ctx, struct covey_view *ret_item)
{
    struct gated_input *in = ctx;
    in->item.waits = in->next == in->gated;
    *ret_item = COVEY_VIEW_OF(in->item);
    return in->next++ < in->end;
}

static bool all_are_finished(const struct cvy_pool *pool)
{
    for (unsigned i = 0; i < CVY_POOL_BATCHES; i++) {
        const struct cvy_pool_slot *s = &pool->slots[i];
        for (uint64_t k = 0; s->use == CVY_SLOT_ACTIVE && k < s->n; k++)
            if (!cvy_outcome_is_final(atomic_load(&s->batch->outcomes[k])))
                return false;
    }
    return true;
}

static void read_all(covey_iterator *it, uint64_t n, covey_nsec timeout)
{
    for (uint64_t i = 0; i < n; i++)
        CHECK_OK(covey_iterator_next(it, NULL, timeout));
    CHECK_ERR(covey_iterator_next(it, NULL, timeout), COVEY_EEND);
    covey_iterator_free(it);
}

/* A pool in which no wake-up that was forgotten is made good by the end of a slice. It knows
 * that the function costs little, so there are many items in a batch. */
static covey_pool *attentive_pool(size_t workers)
{
    slices_never_end();
    struct gated_input in = {.item = {.shared = share()}, .end = 2000, .gated = 2000};
    covey_iterator *it = NULL;
    covey_pool *pool = pool_with(workers, POOL_OPTS());
    CHECK_OK(
        covey_pool_imap_unordered(&it, pool, wait_if_gated, next_gated, &in, NULL));
    read_all(it, in.end, COVEY_FOREVER);
    return pool;
}

/* Returns: whether all items were under way at the first read; where each one takes long, as
 * under a sanitizer on a busy machine, they may not be. */
static bool read_what_is_ready(covey_pool *pool)
{
    struct gated_input in = {.item = {.shared = share()}, .end = 64, .gated = 0};
    covey_iterator *it = NULL;
    CHECK_OK(
        covey_pool_imap_unordered(&it, pool, wait_if_gated, next_gated, &in, NULL));
    CHECK_OK(covey_iterator_next(it, NULL, COVEY_FOREVER));
    family_tell(&in.item.shared->go);
    while (!all_are_finished(cvy_pool_of(pool)))
        sched_yield();
    bool are_ready = in.next >= in.end;
    read_all(it, in.end - 1, are_ready ? COVEY_NOWAIT : COVEY_FOREVER);
    return are_ready;
}

/* One of those that a read has passed is finished before the next read. */
TEST_EACH_METHOD_AND_THREAD(a_result_that_is_ready_is_found)
{
    covey_pool *pool = attentive_pool(2);
    while (!read_what_is_ready(pool))
        continue;
    covey_pool_free(pool);
}

static void read_those_before_the_last(size_t workers)
{
    covey_pool *pool = attentive_pool(workers);
    struct gated_input in = {.item = {.shared = share()}, .end = 8, .gated = 7};
    covey_iterator *it = NULL;
    CHECK_OK(
        covey_pool_imap_unordered(&it, pool, wait_if_gated, next_gated, &in, NULL));
    for (uint64_t i = 0; i < in.gated; i++)
        CHECK_OK(covey_iterator_next(it, NULL, COVEY_FOREVER));
    family_tell(&in.item.shared->go);
    read_all(it, 1, COVEY_FOREVER);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(results_come_while_their_worker_has_a_long_one)
{
    read_those_before_the_last(1);
}

TEST_EACH_METHOD_AND_THREAD(results_come_while_another_worker_has_a_long_one)
{
    read_those_before_the_last(2);
}

/* The same of tasks that were submitted. */
static void await_those_before_the_last(bool own_loop)
{
    enum { N = 8 };
    slices_never_end();
    covey_pool *pool = pool_with(1, POOL_OPTS(.own_loop = own_loop ? COVEY_ON : 0));
    struct cvy_pool *inner = cvy_pool_of(pool);
    struct gated item = {.shared = share()};
    struct pollfd entry = {.events = POLLIN};
    covey_result *results[N];
    (void)pthread_mutex_lock(&inner->lock);
    cvy_pool_cost(inner, wait_if_gated)->cost = 16 * 1000;
    (void)pthread_mutex_unlock(&inner->lock);
    for (int i = 0; i < N; i++) {
        item.waits = i == N - 1;
        CHECK_OK(covey_pool_apply_async(&results[i], pool, wait_if_gated,
                                        COVEY_VIEW_OF(item), NULL));
    }
    if (own_loop)
        CHECK_OK(covey_pool_fd(pool, &entry.fd));
    for (int i = 0; i < N; i++) {
        if (i == N - 1)
            family_tell(&item.shared->go);
        while (own_loop && !covey_result_ready(results[i])) {
            CHECK_EQ(poll(&entry, 1, 20000), 1);
            (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
        }
        CHECK_OK(covey_result_get(results[i], NULL, COVEY_FOREVER));
        covey_result_free(results[i]);
    }
    covey_pool_free(pool);
}

/* All in one batch, and nobody looks but the pool's thread. */
TEST_EACH_METHOD_AND_THREAD(progress_goes_on_beside_a_long_one)
{
    enum { N = 8 };
    slices_never_end();
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct cvy_pool *inner = cvy_pool_of(pool);
    struct gated items[N] = {{0}};
    covey_result *result = NULL;
    uint64_t done = 0, total = 0;
    for (int i = 0; i < N; i++)
        items[i] = (struct gated){i ? items[0].shared : share(), i == N - 1};
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("up"), NULL, NULL));
    (void)pthread_mutex_lock(&inner->lock);
    cvy_pool_cost(inner, wait_if_gated)->cost = 16 * 100;
    (void)pthread_mutex_unlock(&inner->lock);
    CHECK_OK(covey_pool_map_async(&result, pool, wait_if_gated, items, sizeof *items,
                                  NULL, 0, N, NULL));
    while (done < N - 1) {
        CHECK_OK(covey_result_progress(result, &done, &total));
        sched_yield();
    }
    family_tell(&items[0].shared->go);
    CHECK_OK(covey_result_get(result, NULL, COVEY_FOREVER));
    covey_result_free(result);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(submitted_tasks_are_ready_before_a_long_one)
{
    await_those_before_the_last(false);
}

TEST_EACH_METHOD_AND_THREAD(a_loop_hears_of_tasks_before_a_long_one)
{
    await_those_before_the_last(true);
}

/* ---- waking up --------------------------------------------------------------------- */

/* The worker that was awake got the first. */
TEST_EACH_METHOD_AND_THREAD(two_that_were_submitted_run_side_by_side)
{
    slices_never_end();
    covey_pool *pool = pool_with(2, POOL_OPTS());
    for (int i = 0; i < 100; i++) {
        struct shared *s = share();
        covey_result *results[2];
        for (int k = 0; k < 2; k++)
            CHECK_OK(covey_pool_apply_async(&results[k], pool, task_wait,
                                            COVEY_VIEW_OF(s), NULL));
        await_count(&s->begun, 2);
        family_tell(&s->go);
        for (int k = 0; k < 2; k++) {
            CHECK_OK(covey_result_get(results[k], NULL, COVEY_FOREVER));
            covey_result_free(results[k]);
        }
    }
    covey_pool_free(pool);
}

/* Says that it runs, and is stopped then. */
static int task_stop(struct covey_call *call)
{
    struct shared *const *s = covey_call_arg(call, NULL);
    family_tell(&(*s)->begun);
    raise(SIGSTOP);
    return 0;
}

struct starmap {
    covey_pool *pool;
    struct shared *s;
};

static void *starmap_two(void *arg)
{
    struct starmap *starmap = arg;
    struct covey_view in[] = {COVEY_VIEW_OF(starmap->s), COVEY_VIEW_OF(starmap->s)};
    struct covey_bytes out[2] = {{0}};
    CHECK_ERR(covey_pool_starmap(starmap->pool, task_stop, in, 1, out, 2, NULL),
              COVEY_EFREED);
    return NULL;
}

static int note_order(struct covey_call *call)
{
    struct gated const *item = covey_call_arg(call, NULL);
    int32_t number = (int32_t)atomic_fetch_add(&item->shared->told, 1);
    return covey_call_return(call, &number, sizeof number);
}

static void submit_in_order(covey_pool *pool, struct shared *s, int n)
{
    struct gated item = {.shared = s};
    struct covey_bytes got = {0};
    covey_result **results = calloc((size_t)n, sizeof(covey_result *));
    int32_t first = (int32_t)atomic_load(&s->told);
    CHECK(results != NULL);
    for (int i = 0; i < n; i++)
        CHECK_OK(covey_pool_apply_async(&results[i], pool, note_order,
                                        COVEY_VIEW_OF(item), NULL));
    for (int i = 0; i < n; i++) {
        CHECK_OK(covey_result_get(results[i], &got, COVEY_FOREVER));
        CHECK_EQ(*(int32_t *)(void *)got.data, first + i);
        covey_result_free(results[i]);
    }
    covey_bytes_free(&got);
    free(results);
}

/* Batches are filled while others are worked on, and after the worker was idle. */
TEST_EACH_METHOD_AND_THREAD(what_is_submitted_first_begins_first)
{
    covey_pool *pool = pool_with(1, POOL_OPTS());
    struct shared *s = share();
    submit_in_order(pool, s, 500);
    for (int i = 0; i < 100; i++)
        submit_in_order(pool, s, 1 + i % 7);
    covey_pool_free(pool);
}

/* A map that is waited for ends with its pool, whatever its workers do. */
TEST_EACH_METHOD(a_starmap_ends_with_its_pool)
{
    slices_never_end();
    struct shared *s = share();
    struct starmap starmap = {pool_with(2, POOL_OPTS()), s};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, starmap_two, &starmap), 0);
    await_count(&s->begun, 1);
    CHECK_OK(covey_pool_terminate(starmap.pool));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    covey_pool_free(starmap.pool);
}

/* ---- with fewer and more workers meanwhile ---- */

struct resizer {
    covey_pool *pool;
    _Atomic unsigned count;
    _Atomic bool is_over;
};

static void *resize_all_the_time(void *arg)
{
    struct resizer *r = arg;
    while (!atomic_load(&r->is_over)) {
        unsigned i = atomic_fetch_add(&r->count, 1);
        CHECK_OK(covey_pool_resize(r->pool, i % 2 ? 4 : 1));
        for (unsigned k = 0; i % 3 == 0 && k < 200; k++)
            cvy_os_yield(); /* so that some have ended before they are wanted again */
    }
    return NULL;
}

TEST_EACH_METHOD_AND_THREAD(maps_end_while_workers_come_and_go)
{
    slices_never_end();
    struct resizer r = {.pool = pool_with(4, POOL_OPTS(.max_workers = 4))};
    pthread_t thread;
    forks_beside_threads();
    CHECK_EQ(pthread_create(&thread, NULL, resize_all_the_time, &r), 0);
    uint64_t in[50], out[50];
    for (unsigned i = 0; i < 200; i++) {
        size_t n = 1 + i % 50;
        for (size_t k = 0; k < n; k++)
            in[k] = i + k;
        while (atomic_load(&r.count) <= i)
            cvy_os_yield();
        CHECK_OK(covey_pool_map(r.pool, task_square, in, 8, out, 8, n,
                                COVEY_MAP_OPTS(.chunksize = i % 3)));
        for (size_t k = 0; k < n; k++)
            CHECK_EQ(out[k], in[k] * in[k]);
    }
    atomic_store(&r.is_over, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    covey_pool_free(r.pool);
}

CHECK_MAIN()
