/* SPDX-License-Identifier: MIT */
/**
 * pool/pool.h: the side of a pool that its creating process keeps to itself.
 *
 *   pool.c     create, free; the private record
 *   map.c      one map: cut into batches, filled, waited for, its results collected
 *   slots.c    slots and memory of batches, waking workers
 *   recover.c  workers that died: whom it cost what, and their successors
 *
 * All threads that map share the private record under `lock`; functions marked "locked"
 * need it. Nobody sleeps for items while holding it, but starting and reaping workers
 * happens under it.
 */
#ifndef CVY_POOL_POOL_H
#define CVY_POOL_POOL_H

#include <pthread.h>

#include "pool/batch.h"

#include <covey/pool.h>

#define CVY_POOL_SPARES 32u
#define CVY_POOL_COSTS  16u

enum cvy_slot_use {
    CVY_SLOT_UNUSED = 0,
    CVY_SLOT_FILLING,
    CVY_SLOT_ACTIVE,
    CVY_SLOT_RETIRED
};

/* Memory of a batch. */
struct cvy_pool_run {
    cvy_ref ref;
    uint64_t bytes;
};

/* A slot. FILLING and ACTIVE: a map's; RETIRED: waits for workers that still look at it. */
struct cvy_pool_slot {
    enum cvy_slot_use use;
    struct cvy_pool_run run;
    struct cvy_batch *batch;
    struct cvy_map *map;
    uint64_t n;
    uint64_t prefix; /* items below it are finished; the map's thread only */
    bool all_ok;     /* those are OK; the map's thread only */
    bool deaths;     /* a worker died in it: look for missing items */
    bool all_called; /* every worker has been woken for it */
};

/* How often an item's worker died. */
struct cvy_pool_attempts {
    uint64_t item;
    uint32_t deaths;
};

/* One call of covey_pool_map; on its thread's stack. */
struct cvy_map {
    struct cvy_pool *pool;
    uint32_t index; /* of its ring */
    struct cvy_code code;
    covey_task_fn *fn;
    const char *in;
    char *out;
    size_t in_size, out_size;
    uint64_t n;
    uint32_t chunk;
    bool copy_in, copy_out;
    uint64_t batch_items; /* items per batch, at most */
    uint32_t batch_limit; /* batches at once */

    uint64_t mine;         /* slots it has, as bits */
    uint64_t next;         /* first item that is in no batch yet */
    uint64_t done;         /* items in collected batches */
    uint8_t *outcomes;     /* the caller's, may be NULL */
    uint8_t first_outcome; /* of sum.first_failed */
    char first_text[CVY_POOL_TEXT];

    /* locked, since another thread may find the death */
    _Atomic bool give_up; /* the pool broke or is being freed; read without the lock */
    bool timed_out;       /* workers are killed because the time is over */
    struct covey_map_summary sum;
    char crash_text[CVY_POOL_TEXT]; /* of the first death */
    uint64_t lost_item;             /* the first CRASHED item, UINT64_MAX none, */
    char lost_text[CVY_POOL_TEXT];  /* and its text */
    struct cvy_pool_attempts *attempts;
    size_t attempt_count, attempt_room;
};

struct cvy_pool_worker {
    covey_process *process; /* NULL: none at the moment */
    int64_t due; /* no process: when to start one; not up yet: when to look */
};

struct cvy_pool {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a slot or a map's index is free; a map has ended */
    struct covey_pool *object;
    struct cvy_pool_shared *shared;
    enum covey_start_method method;
    unsigned retries;
    const void *holds[16];
    char name[64];

    uint32_t workers;
    struct cvy_pool_worker *worker;
    uint32_t started; /* for names */

    uint32_t barren;   /* deaths and failed starts since an item was finished */
    uint64_t finished; /* sum of the lines' at the last of those */
    char cause[CVY_POOL_TEXT];
    bool closing;

    struct cvy_pool_slot slots[CVY_POOL_BATCHES];
    struct cvy_map *maps[CVY_POOL_BATCHES];
    uint32_t map_count;
    uint32_t next_code_id;
    struct cvy_pool_run spares[CVY_POOL_SPARES];
    uint64_t spare_bytes;
    struct {
        covey_task_fn *fn;
        uint32_t cost;
    } costs[CVY_POOL_COSTS];
    uint64_t *ranges; /* room for a snapshot: 2 * workers + orphans */
};

/** Wait for `changed`; locked. No cancellation point, unlike pthread_cond_wait. */
static inline void cvy_pool_await_change(struct cvy_pool *pool)
{
    int cancel;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    (void)pthread_cond_wait(&pool->changed, &pool->lock);
    (void)pthread_setcancelstate(cancel, NULL);
}

/* ---- slots.c; locked ---- */

/** A slot with room for `items` of the map, in state FILLING.
 * Returns: 0; -EAGAIN if all are in use; -ENOMEM with the detail set. */
int cvy_pool_slot_take(struct cvy_pool *pool, struct cvy_map *map, uint64_t items,
                       uint32_t *ret_slot);
/** Let workers have it. */
void cvy_pool_slot_publish(struct cvy_pool *pool, uint32_t slot);
/** Workers get it no more; its memory is used again when the last one has left it. */
void cvy_pool_slot_retire(struct cvy_pool *pool, uint32_t slot);
/** Whether a worker is in it. */
bool cvy_pool_slot_is_visited(const struct cvy_pool *pool, uint32_t slot);
/** Tell workers that there are `items` to do, of `cost` each (0: unknown). */
void cvy_pool_ring(struct cvy_pool *pool, uint64_t items, uint32_t cost);
/** Wake the thread that waits in the map. */
void cvy_pool_ring_map(struct cvy_pool *pool, uint32_t map);
/** Where the parts of a batch begin, from its start. */
struct cvy_batch_parts {
    uint64_t in, out, end;
};
struct cvy_batch_parts cvy_pool_parts(const struct cvy_map *map, uint64_t items);

/* ---- recover.c; locked ---- */

/** Start a worker in each line that has none. Returns: 0 or the first error. */
int cvy_pool_start_workers(struct cvy_pool *pool);
/** Look for workers that died, settle what they had, replace them.
 * `ask_kernel`: do not trust what memory says about them. */
void cvy_pool_reap(struct cvy_pool *pool, bool ask_kernel);
/** Whether a worker's life word says that it died, or a look is due. No ring is needed
 * for this: one that died while nobody slept was not heard. */
bool cvy_pool_wants_reaping(const struct cvy_pool *pool);
/** When cvy_pool_reap has to be called though nothing was heard; INT64_MAX: never. */
int64_t cvy_pool_due(const struct cvy_pool *pool);
/** Hand out again what was in dead workers' hands. */
void cvy_pool_find_missing(struct cvy_pool *pool, uint32_t slot);
/** Begin nothing more of this batch. */
void cvy_pool_cancel(struct cvy_pool *pool, uint32_t slot);
/** Kill the workers that are in this batch. Returns: false if it cannot (threads). */
bool cvy_pool_kill_in(struct cvy_pool *pool, uint32_t slot);
/** End all workers: what is idle at once, what is busy by force. */
void cvy_pool_stop_workers(struct cvy_pool *pool);

#endif
