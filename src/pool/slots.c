/* SPDX-License-Identifier: MIT */
/* slots.c: slots and memory of batches, and waking workers.
 *
 *   UNUSED -> FILLING -> ACTIVE -> RETIRED -> UNUSED
 *             the map's thread     no worker gets in; the last looks are waited for
 *             writes it            (`line->batch`, a hazard pointer)
 *
 * Memory is kept for the next batch: the first touch of a page costs more than most
 * batches. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "pool/pool.h"
#include "region/object.h"
#include "region/wait.h"

#define LEAST_RUN   8192u
#define SPARE_BYTES (UINT64_C(16) << 20)

/* ---- memory ---- */

struct cvy_batch_parts cvy_pool_parts(const struct cvy_map *map, uint64_t items)
{
    struct cvy_batch_parts parts;
    uint64_t at = cvy_round_up(sizeof(struct cvy_batch) + items, 64);
    parts.in = at;
    if (map->copy_in)
        at = cvy_round_up(at + items * map->in_size, 64);
    parts.out = at;
    if (map->copy_out)
        at += items * map->out_size;
    parts.end = at;
    return parts;
}

static uint64_t run_size(uint64_t bytes)
{
    uint64_t size = LEAST_RUN;
    if (bytes > CVY_POOL_LARGE)
        return cvy_round_up(bytes, CVY_POOL_LARGE);
    while (size < bytes)
        size *= 2;
    return size;
}

static void drop_spare(struct cvy_pool *pool, struct cvy_pool_run *spare)
{
    pool->spare_bytes -= spare->bytes;
    cvy_object_give_run(spare->ref);
    *spare = (struct cvy_pool_run){0};
}

static bool take_spare(struct cvy_pool *pool, uint64_t bytes, uint64_t most,
                       struct cvy_pool_run *ret_run)
{
    struct cvy_pool_run *best = NULL;
    most = cvy_min_u64(most, 4 * bytes);
    for (uint32_t i = 0; i < CVY_POOL_SPARES; i++) {
        struct cvy_pool_run *spare = &pool->spares[i];
        if (spare->ref && spare->bytes >= bytes && spare->bytes <= most &&
            (!best || spare->bytes < best->bytes))
            best = spare;
    }
    if (!best)
        return false;
    *ret_run = *best;
    pool->spare_bytes -= best->bytes;
    *best = (struct cvy_pool_run){0};
    return true;
}

static void clear_orphans(struct cvy_batch *batch)
{
    memset((char *)batch + offsetof(struct cvy_batch, orphans), 0,
           sizeof batch->orphans);
}

/* `written`: so many of them, from the first on, by this process. */
static int take_run(struct cvy_pool *pool, uint64_t bytes, uint64_t most,
                    uint64_t written, struct cvy_pool_run *ret_run)
{
    cvy_ref ref = 0;
    bytes = run_size(bytes);
    if (bytes > most)
        return -E2BIG;
    if (take_spare(pool, bytes, most, ret_run))
        return 0;
    int r = cvy_object_add_run(pool->object, bytes, &ref);
    for (uint32_t i = 0; r == -ENOMEM && i < CVY_POOL_SPARES; i++) {
        if (!pool->spares[i].ref)
            continue;
        drop_spare(pool, &pool->spares[i]);
        r = cvy_object_add_run(pool->object, bytes, &ref);
    }
    if (r < 0)
        return r;
    if (written >= CVY_POOL_LARGE) /* else page by page, when touched */
        (void)cvy_os_populate(cvy_at(ref), cvy_round_up(written, CVY_PAGE));
    struct cvy_batch *batch = cvy_at(ref);
    batch->code_id = 0; /* the memory is an earlier owner's */
    clear_orphans(batch);
    *ret_run = (struct cvy_pool_run){ref, bytes};
    return 0;
}

static void give_run(struct cvy_pool *pool, struct cvy_pool_run run)
{
    if (pool->spare_bytes + run.bytes <= SPARE_BYTES)
        for (uint32_t i = 0; i < CVY_POOL_SPARES; i++)
            if (!pool->spares[i].ref) {
                pool->spares[i] = run;
                pool->spare_bytes += run.bytes;
                return;
            }
    cvy_object_give_run(run.ref);
}

/* ---- slots ---- */

bool cvy_pool_slot_is_visited(const struct cvy_pool *pool, uint32_t slot)
{
    for (uint32_t i = 0; i < pool->workers; i++)
        if (cvy_line_batch(&pool->shared->lines[i]) == slot + 1)
            return true;
    return false;
}

static void retire(struct cvy_pool *pool, uint32_t slot)
{
    pool->slots[slot].use = CVY_SLOT_RETIRED;
    pool->retired |= UINT64_C(1) << slot;
}

static bool settle(struct cvy_pool *pool, uint32_t slot)
{
    struct cvy_pool_slot *s = &pool->slots[slot];
    if (s->use == CVY_SLOT_RETIRED && !cvy_pool_slot_is_visited(pool, slot)) {
        if (s->deaths)
            clear_orphans(cvy_at(s->run.ref)); /* they are clear in all other runs */
        give_run(pool, s->run);
        *s = (struct cvy_pool_slot){.use = CVY_SLOT_UNUSED};
        pool->retired &= ~(UINT64_C(1) << slot);
    }
    return s->use == CVY_SLOT_UNUSED;
}

/* Returns: whether any still holds memory that comes back by itself. */
static bool settle_all(struct cvy_pool *pool)
{
    for (uint64_t left = pool->retired; left; left &= left - 1)
        (void)settle(pool, (uint32_t)__builtin_ctzll(left));
    return pool->retired;
}

/* Batches go round through the slots, and workers after them: what comes first begins first. */
static int take_slot(struct cvy_pool *pool, struct cvy_map *map, uint64_t items,
                     uint64_t bytes, uint64_t most, uint64_t written,
                     uint32_t *ret_slot)
{
    uint32_t slot = pool->next_slot, tried = 0;
    (void)settle_all(pool); /* their memory is the warmest */
    while (tried < CVY_POOL_BATCHES && !settle(pool, slot)) {
        slot = (slot + 1) % CVY_POOL_BATCHES;
        tried++;
    }
    if (tried == CVY_POOL_BATCHES)
        return -EAGAIN;
    struct cvy_pool_run run;
    int r = take_run(pool, bytes, most, written, &run);
    if (r == -ENOMEM) {
        bool comes_back = settle_all(pool);
        r = take_run(pool, bytes, most, written, &run);
        if (r == -ENOMEM && comes_back)
            r = -EAGAIN;
    }
    if (r < 0)
        return r;
    pool->slots[slot] = (struct cvy_pool_slot){.use = CVY_SLOT_FILLING,
                                               .run = run,
                                               .batch = cvy_at(run.ref),
                                               .map = map,
                                               .n = items,
                                               .all_ok = true};
    pool->next_slot = (slot + 1) % CVY_POOL_BATCHES;
    *ret_slot = slot;
    return 0;
}

int cvy_pool_slot_take(struct cvy_pool *pool, struct cvy_map *map, uint64_t items,
                       uint32_t *ret_slot)
{
    struct cvy_batch_parts parts = cvy_pool_parts(map, items);
    return take_slot(pool, map, items, parts.end, UINT64_MAX, parts.out, ret_slot);
}

static int make_room(struct cvy_slot_room *room, uint64_t items)
{
    if (room->size < items) {
        uint64_t size = cvy_max_u64(2 * room->size, cvy_max_u64(items, 64));
        uint8_t *marks = cvy_malloc(size);
        struct cvy_cookie *cookies = cvy_calloc(size, sizeof *cookies);
        if (!marks || !cookies) {
            cvy_free(marks);
            cvy_free(cookies);
            return cvy_fail(-ENOMEM, "no memory for %llu tasks",
                            (unsigned long long)items);
        }
        cvy_free(room->marks);
        cvy_free(room->cookies);
        *room = (struct cvy_slot_room){marks, cookies, size};
    }
    memset(room->marks, 0, items);
    return 0;
}

int cvy_pool_slot_take_bytes(struct cvy_pool *pool, struct cvy_map *map, uint64_t items,
                             uint64_t bytes, uint64_t most, uint32_t *ret_slot)
{
    int r = take_slot(pool, map, items, bytes, most, 0, ret_slot);
    if (r < 0)
        return r;
    r = make_room(&pool->rooms[*ret_slot], items);
    if (r < 0) {
        retire(pool, *ret_slot);
        (void)settle(pool, *ret_slot);
    }
    return r;
}

struct cvy_cost *cvy_pool_cost(struct cvy_pool *pool, covey_task_fn *fn)
{
    struct cvy_cost *cost = &pool->costs[(uintptr_t)fn / 16 % CVY_POOL_COSTS];
    if (cost->fn != fn)
        *cost = (struct cvy_cost){.fn = fn};
    return cost;
}

void cvy_pool_slot_publish(struct cvy_pool *pool, uint32_t slot)
{
    struct cvy_pool_slot *s = &pool->slots[slot];
    struct cvy_batch *batch = s->batch;
    if (!batch->code_id ||
        memcmp(&batch->code, &s->map->code, sizeof batch->code) != 0) {
        batch->code = s->map->code;
        batch->code_id = ++pool->next_code_id;
        if (!batch->code_id)
            batch->code_id = ++pool->next_code_id;
    }
    s->fn = s->map->fn;
    batch->cost = cvy_pool_cost(pool, s->fn)->cost;
    s->use = CVY_SLOT_ACTIVE;
    atomic_store(&pool->shared->batches[slot], s->run.ref);
    atomic_store_explicit(&pool->shared->oldest, (slot + 1) % CVY_POOL_BATCHES,
                          memory_order_release);
    atomic_fetch_or(&pool->shared->active, UINT64_C(1) << slot);
    bool prefers = atomic_load(&batch->prefers); /* whoever that is */
    cvy_pool_ring(pool, prefers ? UINT64_MAX : s->n, prefers ? 0 : batch->cost);
    s->all_called = prefers || batch->cost == 0;
}

void cvy_pool_slot_retire(struct cvy_pool *pool, uint32_t slot)
{
    struct cvy_pool_slot *s = &pool->slots[slot];
    uint32_t cost = atomic_load_explicit(&s->batch->measured, memory_order_relaxed);
    if (cost)
        cvy_pool_cost(pool, s->fn)->cost = cost;
    /* Pairs with enter() of the worker. */
    atomic_fetch_and(&pool->shared->active, ~(UINT64_C(1) << slot));
    retire(pool, slot);
    s->map = NULL;
    s->batch = NULL;
    (void)settle(pool, slot);
    (void)pthread_cond_broadcast(&pool->changed);
}

void cvy_pool_drop_result(const struct cvy_pool_slot *s, uint64_t at)
{
    struct cvy_entry *entry = &cvy_batch_entries(s->batch, s->batch->room)[at];
    uint64_t result = entry->result;
    entry->result = entry->result_size = 0;
    if (result && (result < s->run.ref || result >= s->run.ref + s->run.bytes))
        cvy_object_give_run((cvy_ref)result);
}

/* ---- waking ---- */

/* The bit goes before the wake-up and comes back if there may be more sleepers: who adds
 * it in between finds the word changed and looks again. */
static void wake(cvy_word *word, uint32_t count)
{
    atomic_fetch_and(word, ~CVY_RING_SLEEPS);
    int woken = cvy_os_futex_wake(word, (int)count);
    if (woken < 0 || (uint32_t)woken >= count)
        atomic_fetch_or(word, CVY_RING_SLEEPS);
}

/* A worker that spins sees the bell by itself; pairs with spin_for_work(). It loses its mark
 * here, since it comes for one call only: the next one may be for another item, which would
 * wait until this one is done. Work that is done sooner than a sleeper wakes up is left to
 * one. */
void cvy_pool_ring(struct cvy_pool *pool, uint64_t items, uint32_t cost)
{
    if (pool->staff.idle_timeout)
        cvy_staff_wake(pool);
    cvy_word *word = &pool->shared->doorbell;
    uint32_t needed = (uint32_t)cvy_min_u64(items, pool->workers);
    bool sleepers = cvy_ring_step(word);
    if (!sleepers)
        return;
    if (cost && items < CVY_WORTH_A_CALL / cost)
        needed = 1;
    uint32_t spinner = needed ? atomic_load(&pool->shared->spinner) : 0;
    if (spinner && atomic_compare_exchange_strong(&pool->shared->spinner, &spinner, 0))
        needed--;
    if (needed)
        wake(word, needed);
}

void cvy_pool_ring_map(struct cvy_pool *pool, uint32_t map)
{
    cvy_word *word = &pool->shared->rings[map].word;
    if (cvy_ring_step(word))
        (void)cvy_os_futex_wake(word, INT_MAX);
    cvy_loop_raise(pool);
}
