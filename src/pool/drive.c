/* SPDX-License-Identifier: MIT */
/* drive.c: what all who wait for batches have in common: a ring of their own, seeing to
 * workers while they wait, and ending what runs when the time is over.
 *
 * Who wakes the thread that waits here: the last worker that leaves a batch or one with
 * news, the gong when a process dies, and at the latest the slice. Then it looks for
 * itself. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "pool/flow.h"
#include "pool/limits.h"
#include "region/wait.h"

#define WORTH_SPINNING (UINT64_C(100000) * 16) /* 1/16 ns */
#define BUSY_TIME      COVEY_MSEC(5)           /* between looks of who never waits */

cvy_word *cvy_map_ring(const struct cvy_map *map)
{
    return &map->pool->shared->rings[map->index].word;
}

void cvy_batch_reset(const struct cvy_map *map, struct cvy_pool_slot *s, uint64_t base)
{
    struct cvy_batch *batch = s->batch;
    atomic_store(&batch->n, s->n);
    batch->chunk = map->chunk;
    batch->map = map->index;
    batch->base = base;
    batch->flags = 0;
    if (map->bounds.deadline != INT64_MAX || map->bounds.outers[0].line) {
        batch->flags = CVY_BATCH_BOUND;
        batch->bounds = map->bounds;
    }
    atomic_store(&batch->prefers, 0);
    batch->memory = 0;
    atomic_store(&batch->orphan_set, 0);
    atomic_store(&batch->canceled, 0);
    atomic_store(&batch->measured, 0);
    atomic_store(&batch->text_owner, 0);
    atomic_store(&batch->text_item, 0);
    memset((char *)batch + offsetof(struct cvy_batch, outcomes), 0, s->n);
}

/* ---- waiting ---- */

/* Work that is left in published batches, per worker; 1/16 ns, 0 unknown. */
static uint64_t expected_time(const struct cvy_map *map)
{
    uint64_t sum = 0;
    for (uint64_t mine = map->mine; mine; mine &= mine - 1) {
        const struct cvy_pool_slot *s = &map->pool->slots[__builtin_ctzll(mine)];
        uint64_t cost = atomic_load_explicit(&s->batch->measured, memory_order_relaxed);
        if (!cost)
            cost = s->batch->cost;
        if (!cost)
            return 0;
        sum += (s->n - s->prefix) * cost;
    }
    return sum / map->pool->workers;
}

static bool spin_for_ring(const struct cvy_map *map, const cvy_word *word,
                          uint32_t seen)
{
    struct cvy_spin spin = {.is_handover = true};
    if (!cvy_os_is_multicore() || expected_time(map) > WORTH_SPINNING)
        return false;
    while (atomic_load_explicit(word, memory_order_acquire) == seen)
        if (!cvy_spin(&spin))
            return false;
    return true;
}

/* The estimate that one worker was enough may have been wrong. */
void cvy_map_call_all(struct cvy_map *map)
{
    struct cvy_pool *pool = map->pool;
    for (uint64_t mine = map->mine; mine; mine &= mine - 1) {
        struct cvy_pool_slot *s = &pool->slots[__builtin_ctzll(mine)];
        if (s->all_called)
            continue;
        s->all_called = true;
        (void)pthread_mutex_lock(&pool->lock);
        cvy_pool_ring(pool, UINT64_MAX, 0);
        (void)pthread_mutex_unlock(&pool->lock);
        return;
    }
}

/* Whether the thread may sleep: nobody died while it was busy, which it would not hear any
 * more. `until`: in, out, when it has to look at the workers at the latest. */
static bool may_sleep(struct cvy_pool *pool, int64_t *until)
{
    (void)pthread_mutex_lock(&pool->lock);
    *until = cvy_min_i64(*until, cvy_limits_check(pool));
    *until = cvy_min_i64(*until, cvy_affinity_check(pool));
    bool may = !cvy_pool_wants_reaping(pool);
    *until = cvy_min_i64(*until, cvy_pool_due(pool));
    (void)pthread_mutex_unlock(&pool->lock);
    return may;
}

bool cvy_map_sleep(struct cvy_map *map, uint32_t seen, uint32_t gong, int64_t until)
{
    cvy_word *word = cvy_map_ring(map);
    uint32_t now = seen;
    if (!(seen & CVY_RING_SLEEPS) &&
        !atomic_compare_exchange_strong(word, &now, seen | CVY_RING_SLEEPS))
        return false;
    int r = CVY_WOKEN;
    if (may_sleep(map->pool, &until))
        r = cvy_sleep(word, seen | CVY_RING_SLEEPS, gong, until,
                      cvy_ref_of(map->pool->object));
    return r == CVY_SLICE;
}

bool cvy_map_wait(struct cvy_map *map, uint32_t seen, uint32_t gong, int64_t until)
{
    cvy_word *word = cvy_map_ring(map);
    if (spin_for_ring(map, word, seen))
        return false;
    cvy_map_call_all(map);
    bool slice = cvy_map_sleep(map, seen, gong, until);
    atomic_fetch_and(word, ~CVY_RING_SLEEPS);
    return slice;
}

static bool want_missing(const struct cvy_pool_slot *s, bool slice)
{
    return (s->deaths || slice) && atomic_load(&s->batch->cursor) >= s->n;
}

void cvy_map_look_after(struct cvy_map *map, bool slice)
{
    struct cvy_pool *pool = map->pool;
    (void)pthread_mutex_lock(&pool->lock);
    if (slice || cvy_pool_wants_reaping(pool))
        cvy_pool_reap(pool, slice);
    for (uint64_t mine = map->mine; mine; mine &= mine - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(mine);
        if (want_missing(&pool->slots[slot], slice))
            cvy_pool_find_missing(pool, slot);
        if (slice)
            pool->slots[slot].all_called = false; /* perhaps one who spun was stopped */
    }
    (void)pthread_mutex_unlock(&pool->lock);
}

void cvy_map_look_meanwhile(struct cvy_map *map)
{
    struct cvy_pool *pool = map->pool;
    int64_t now = cvy_os_now(), due = map->look_due;
    if (due && now < due)
        return;
    map->look_due = now + BUSY_TIME;
    if (!due)
        return;
    (void)pthread_mutex_lock(&pool->lock);
    (void)cvy_limits_check(pool);
    (void)cvy_affinity_check(pool);
    (void)pthread_mutex_unlock(&pool->lock);
    cvy_map_look_after(map, false);
}

/* ---- ending early ---- */

static bool is_left(const struct cvy_map *map)
{
    for (uint64_t mine = map->mine; mine; mine &= mine - 1)
        if (cvy_pool_slot_is_visited(map->pool, (uint32_t)__builtin_ctzll(mine)))
            return false;
    return true;
}

static void wait_until_left(struct cvy_map *map, int64_t deadline)
{
    cvy_word *word = cvy_map_ring(map);
    while (cvy_os_now() < deadline) {
        uint32_t gong = cvy_gong(), seen = atomic_load(word);
        if (is_left(map))
            return;
        cvy_map_look_after(map, false);
        (void)cvy_map_wait(map, seen, gong, deadline);
    }
}

/* A thread cannot be ended; then the map lasts as long as what it runs. */
void cvy_map_end_running(struct cvy_map *map, int64_t patience)
{
    struct cvy_pool *pool = map->pool;
    bool killed = true;
    wait_until_left(map, patience);
    (void)pthread_mutex_lock(&pool->lock);
    map->timed_out = true;
    for (uint64_t mine = map->mine; mine; mine &= mine - 1)
        killed = cvy_pool_kill_in(pool, (uint32_t)__builtin_ctzll(mine)) && killed;
    (void)cvy_pool_start_workers(pool);
    (void)pthread_mutex_unlock(&pool->lock);
    if (!killed)
        wait_until_left(map, INT64_MAX);
}

/* ---- begin and end ---- */

uint32_t cvy_maps_waited_for(const struct cvy_pool *pool)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < CVY_POOL_BATCHES; m++) {
        const struct cvy_map *map = pool->maps[m];
        count += map && !(map->flow && map->flow->is_read);
    }
    return count;
}

static bool find_index(struct cvy_map *map)
{
    uint32_t index = 0;
    while (index < CVY_POOL_BATCHES && map->pool->maps[index])
        index++;
    if (index < CVY_POOL_BATCHES)
        map->index = index;
    return index < CVY_POOL_BATCHES;
}

/* Locked. Maps end by themselves, so another one waits for them; iterators only when they
 * are read, perhaps by who would wait. */
static int await_index(struct cvy_map *map)
{
    struct cvy_pool *pool = map->pool;
    while (!pool->closing && !find_index(map)) {
        if ((map->flow && map->flow->is_read) || !cvy_maps_waited_for(pool))
            return cvy_fail(-EAGAIN, "%s: %u iterators and maps are under way",
                            map->call, CVY_POOL_BATCHES);
        if (map->bounds.deadline != INT64_MAX && cvy_os_now() >= map->bounds.deadline)
            return cvy_fail(-ETIMEDOUT,
                            "%s: %u iterators and maps were under way all the time",
                            map->call, CVY_POOL_BATCHES);
        cvy_pool_await_change_until(pool, map->bounds.deadline);
    }
    return pool->closing
               ? cvy_fail(COVEY_EFREED, "%s: the pool is being freed", map->call)
               : 0;
}

int cvy_map_begin(struct cvy_map *map)
{
    struct cvy_pool *pool = map->pool;
    (void)pthread_mutex_lock(&pool->lock);
    int r = await_index(map);
    if (r >= 0) {
        if (pool->map_count++ == 0)
            pool->barren = 0; /* what was wrong may have been put right */
        pool->maps[map->index] = map;
        if (cvy_pool_wants_reaping(pool))
            cvy_pool_reap(pool, false);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return r;
}

void cvy_map_end(struct cvy_map *map)
{
    struct cvy_pool *pool = map->pool;
    (void)pthread_mutex_lock(&pool->lock);
    pool->maps[map->index] = NULL;
    pool->map_count--;
    (void)pthread_cond_broadcast(&pool->changed);
    (void)pthread_mutex_unlock(&pool->lock);
    cvy_pool_forget_attempts(map);
}
