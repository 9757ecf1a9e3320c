/* SPDX-License-Identifier: MIT */
/* claim.c: how a worker takes items of a batch, and how many.
 *
 * Two sizes. A *claim* is what a worker takes from the cursor: about 100 us of work by
 * what items of this batch have cost so far, and never more than a fair part of what is
 * left ("guided self-scheduling", Polychronopoulos and Kuck, 1987). A *bite* is what it
 * takes out of its claim to run: about 2 us of work, or `chunksize`. What is claimed and
 * not bitten off can be stolen by a worker that finds nothing else; it takes the half.
 * So an estimate that is wrong costs one bite, not one claim.
 *
 * Every move announces first, then takes by one compare-and-swap:
 *
 *     running := range;  CAS(cursor: i -> i + k)                 from the cursor
 *     running := range;  CAS(orphans[x]: range -> 0)             after a death
 *     running := range;  CAS(other claim: [a,b) -> [a,m))        from a worker
 *     running := bite;   CAS(own claim: [a,b) -> [a+s,b))        the next bite
 *
 * A loser announces again. After the first three the range is split into `claim` and
 * `running`; meanwhile `taking` is odd, so that nobody who looks for missing items takes
 * the moment between the two stores for a loss. */
#include "pool/worker.h"

#define CLAIM_TIME (UINT64_C(100000) * 16) /* 1/16 ns */
#define BITE_TIME  (UINT64_C(2000) * 16)

static uint64_t items_in(uint64_t time, uint64_t cost)
{
    return cost ? cvy_min_u64(time / cost, CVY_RANGE_COUNT) : 1;
}

static uint64_t bite_size(const struct cvy_worker *w)
{
    uint64_t size = w->chunk ? w->chunk : cvy_max_u64(items_in(BITE_TIME, w->cost), 1);
    return cvy_min_u64(size, w->tasks_left);
}

static uint64_t claim_size(const struct cvy_worker *w, uint64_t left)
{
    uint64_t workers = atomic_load_explicit(&w->shared->workers, memory_order_relaxed);
    uint64_t fair = left / (2 * workers);
    uint64_t size = cvy_min_u64(items_in(CLAIM_TIME, w->cost), fair);
    size = cvy_max_u64(size, cvy_max_u64(w->chunk, 1));
    return cvy_min_u64(cvy_min_u64(size, left), CVY_RANGE_COUNT);
}

void cvy_claim_measure(struct cvy_worker *w, uint64_t count, int64_t time)
{
    uint64_t cost = ((uint64_t)(time > 0 ? time : 0) * 16 + count - 1) / count;
    cost = cvy_min_u64(cvy_max_u64(cost, 1), UINT32_MAX);
    /* Dearer than thought counts at once, cheaper little by little. */
    if (cost < w->cost)
        cost = (w->cost + 3 * cost) / 4;
    w->cost = cvy_max_u64(cost, 1);
    atomic_store_explicit(&w->batch->measured, (uint32_t)w->cost, memory_order_relaxed);
}

/* ---- moving ranges ---- */

/* Pairs with cvy_pool_snapshot, which wants it even and unchanged. */
static void taking_begins(struct cvy_worker *w)
{
    uint32_t taking = atomic_load_explicit(&w->line->taking, memory_order_relaxed);
    atomic_store_explicit(&w->line->taking, taking + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}
static void taking_ends(struct cvy_worker *w)
{
    uint32_t taking = atomic_load_explicit(&w->line->taking, memory_order_relaxed);
    atomic_store_explicit(&w->line->taking, taking + 1, memory_order_release);
}

static void announce(struct cvy_worker *w, uint64_t range)
{
    atomic_store_explicit(&w->line->running, range, memory_order_release);
}

/* The range that is announced is ours: keep a bite, offer the rest. */
static void split(struct cvy_worker *w, uint64_t range)
{
    uint64_t start = cvy_range_start(range), count = cvy_range_count(range);
    uint64_t bite = cvy_min_u64(bite_size(w), count);
    if (bite == count)
        return;
    atomic_store_explicit(&w->line->claim,
                          cvy_range(w->slot, start + bite, count - bite),
                          memory_order_release);
    announce(w, cvy_range(w->slot, start, bite));
}

static bool take_from_cursor(struct cvy_worker *w)
{
    _Atomic uint64_t *cursor = &w->batch->cursor;
    uint64_t at = atomic_load_explicit(cursor, memory_order_acquire);
    while (at < w->n) {
        uint64_t range = cvy_range(w->slot, at, claim_size(w, w->n - at));
        announce(w, range);
        if (atomic_compare_exchange_strong(cursor, &at, cvy_range_end(range))) {
            split(w, range);
            return true;
        }
    }
    return false;
}

static bool take_orphan(struct cvy_worker *w)
{
    struct cvy_batch *batch = w->batch;
    uint64_t set = atomic_load_explicit(&batch->orphan_set, memory_order_acquire);
    for (; set; set &= set - 1) {
        uint32_t x = (uint32_t)__builtin_ctzll(set);
        uint64_t range = atomic_load_explicit(&batch->orphans[x], memory_order_acquire);
        if (!range)
            continue;
        announce(w, range);
        if (!atomic_compare_exchange_strong(&batch->orphans[x], &range, 0))
            continue;
        split(w, range);
        return true;
    }
    return false;
}

/* The greater half of what `victim` has not bitten off. */
static bool steal_from(struct cvy_worker *w, struct cvy_pool_line *victim)
{
    uint64_t theirs = atomic_load_explicit(&victim->claim, memory_order_acquire);
    while (cvy_range_is_of(theirs, w->slot)) {
        uint64_t start = cvy_range_start(theirs), count = cvy_range_count(theirs);
        uint64_t left = count / 2;
        uint64_t range = cvy_range(w->slot, start + left, count - left);
        announce(w, range);
        if (atomic_compare_exchange_strong(&victim->claim, &theirs,
                                           cvy_range(w->slot, start, left))) {
            split(w, range);
            return true;
        }
    }
    return false;
}

static bool steal(struct cvy_worker *w)
{
    uint32_t workers = atomic_load_explicit(&w->shared->workers, memory_order_acquire);
    for (uint32_t i = 0; i < workers; i++) {
        uint32_t victim = (w->steal_from + i) % workers;
        if (victim == w->index || !steal_from(w, &w->shared->lines[victim]))
            continue;
        w->steal_from = victim;
        return true;
    }
    return false;
}

/* What was taken before is finished. Who leaves must not seem to have it any longer: soon
 * there may be another batch in this slot, and a range tells no more than that. */
bool cvy_claim_take(struct cvy_worker *w)
{
    if (atomic_load_explicit(&w->batch->canceled, memory_order_acquire) ||
        cvy_worker_is_leaving(w)) {
        announce(w, 0);
        return false;
    }
    taking_begins(w);
    bool taken = take_orphan(w) || take_from_cursor(w) || steal(w);
    if (!taken)
        announce(w, 0);
    taking_ends(w);
    return taken;
}

/* What a worker that leaves had claimed is in nobody's hands then, and the pool finds it
 * when it is told, in leave. */
uint64_t cvy_claim_next(struct cvy_worker *w)
{
    uint64_t claim = atomic_load_explicit(&w->line->claim, memory_order_relaxed);
    bool is_dropped = claim && cvy_worker_is_leaving(w);
    w->has_news |= is_dropped;
    if (is_dropped ||
        (claim && atomic_load_explicit(&w->batch->canceled, memory_order_acquire))) {
        atomic_store_explicit(&w->line->claim, 0, memory_order_release);
        claim = 0;
    }
    while (claim) {
        uint64_t start = cvy_range_start(claim), count = cvy_range_count(claim);
        uint64_t bite = cvy_min_u64(bite_size(w), count);
        uint64_t range = cvy_range(w->slot, start, bite);
        announce(w, range);
        if (atomic_compare_exchange_strong(
                &w->line->claim, &claim,
                cvy_range(w->slot, start + bite, count - bite)))
            return range;
    }
    announce(w, 0);
    return 0;
}
