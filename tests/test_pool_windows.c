/* SPDX-License-Identifier: MIT */
/* How far iterators read ahead, and that what is ready is found. */
#include <pthread.h>

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
    uint64_t number;
};

/* Number 0 waits for `go`. */
static int wait_if_zero(struct covey_call *call)
{
    const struct gated *item = covey_call_arg(call, NULL);
    if (item->number == 0)
        family_await(&item->shared->go, 1);
    return covey_call_return(call, &item->number, sizeof item->number);
}

struct gated_input {
    struct gated item;
    uint64_t next, end;
};

static int next_gated(void *ctx, struct covey_view *ret_item)
{
    struct gated_input *in = ctx;
    in->item.number = in->next++;
    *ret_item = COVEY_VIEW_OF(in->item);
    return in->item.number < in->end;
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

/* One of those that a read has passed is finished before the next read. */
TEST_EACH_METHOD_AND_THREAD(a_result_that_is_ready_is_found)
{
    enum { N = 64 };
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct gated_input in = {.item = {share(), 0}, .next = 1, .end = 2000};
    covey_iterator *it = NULL;
    CHECK_OK(covey_pool_imap_unordered(&it, pool, wait_if_zero, next_gated, &in, NULL));
    for (int i = 1; i < 2000; i++) /* now it is known that they cost little */
        CHECK_OK(covey_iterator_next(it, NULL, COVEY_FOREVER));
    CHECK_ERR(covey_iterator_next(it, NULL, COVEY_FOREVER), COVEY_EEND);
    covey_iterator_free(it);

    in.next = 0;
    in.end = N;
    CHECK_OK(covey_pool_imap_unordered(&it, pool, wait_if_zero, next_gated, &in, NULL));
    CHECK_OK(covey_iterator_next(it, NULL, COVEY_FOREVER));
    family_tell(&in.item.shared->go);
    while (!all_are_finished(cvy_pool_of(pool)))
        sched_yield();
    for (int i = 1; i < N; i++)
        CHECK_OK(covey_iterator_next(it, NULL, COVEY_NOWAIT));
    CHECK_ERR(covey_iterator_next(it, NULL, COVEY_NOWAIT), COVEY_EEND);
    covey_iterator_free(it);
    covey_pool_free(pool);
}

CHECK_MAIN()
