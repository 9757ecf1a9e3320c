/* SPDX-License-Identifier: MIT */
/* affinity.c: tasks that prefer a worker.
 *
 * Tasks of one key are in batches of their own, and such a batch names the line whose worker
 * is to take it. Others pass it by until its time is over, or the line is nobody's; then the
 * pool takes the name away, and it is a batch like all others. So nobody but who sleeps in
 * the pool looks at a clock.
 *
 * Each key draws a number for each line and takes the highest ("highest random weight",
 * Thaler and Ravishankar, 1998): when a line comes or goes only the keys that it had, or
 * gets, move. */
#include "pool/flow.h"
#include "pool/limits.h"

#define USUAL_WAIT COVEY_MSEC(10)

/* The finalizer of SplitMix64 (Steele, Lea and Flood, 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Returns: a line + 1; 0: none is wanted. */
static uint32_t line_of(const struct cvy_pool *pool, uint64_t key)
{
    uint32_t best = 0;
    uint64_t most = 0;
    for (uint32_t i = 0; i < pool->lines; i++) {
        uint64_t weight = mix(key ^ mix(i + 1));
        if (!pool->worker[i].is_wanted || (best && weight <= most))
            continue;
        best = i + 1;
        most = weight;
    }
    return best;
}

int64_t cvy_affinity_mark(const struct cvy_flow *flow, uint32_t slot)
{
    struct cvy_pool *pool = flow->map.pool;
    const struct cvy_affinity *affinity = &flow->affinity;
    if (!affinity->key)
        return INT64_MAX;
    pool->has_affinity = true;
    pool->slots[slot].prefers_until =
        cvy_os_deadline(affinity->wait ? affinity->wait : USUAL_WAIT);
    atomic_store(&pool->slots[slot].batch->prefers, line_of(pool, affinity->key));
    return pool->slots[slot].prefers_until;
}

int64_t cvy_affinity_check(struct cvy_pool *pool)
{
    int64_t due = INT64_MAX, now = pool->has_affinity ? cvy_os_now() : 0;
    bool any = false;
    for (uint32_t slot = 0; pool->has_affinity && slot < CVY_POOL_BATCHES; slot++) {
        const struct cvy_pool_slot *s = &pool->slots[slot];
        uint32_t line = s->use == CVY_SLOT_ACTIVE ? atomic_load(&s->batch->prefers) : 0;
        if (line && now < s->prefers_until && pool->worker[line - 1].is_wanted) {
            due = cvy_min_i64(due, s->prefers_until);
        } else if (line) {
            atomic_store(&s->batch->prefers, 0);
            any = true;
        }
    }
    if (any)
        cvy_pool_ring(pool, UINT64_MAX, 0);
    return due;
}
