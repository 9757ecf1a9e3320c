/* SPDX-License-Identifier: MIT */
/**
 * pool/pool.h: the side of a pool that its creating process keeps to itself. Items of any
 * size are in pool/flow.h, what becomes of submitted tasks in pool/result.h.
 *
 *   pool.c     create; the private record
 *   end.c      close, terminate, join, free
 *   map.c      one map of equal items: cut into batches, filled, its results collected
 *   flow.c   items of any size, one after the other, through batches with entries
 *   gather.c   flows that are waited for, by an exchange: usually arrays; apply
 *   work.c     arrays as an exchange
 *   iterator.c flows that are read one by one
 *   submit.c   tasks that nobody waits for: their queue and their flow
 *   result.c   what becomes of those
 *   watcher.c  the thread, or the event loop, that sees to them
 *   drive.c    waiting for batches, seeing to the workers meanwhile
 *   slots.c    slots and memory of batches, waking workers
 *   limits.c   time and memory of tasks that run
 *   staff.c    how many workers there are, and which
 *   recover.c  workers that died: whom it cost what
 *   trace.c    a slice per task in a file
 *
 * All threads that map share the private record under `lock`; functions marked "locked"
 * need it. Nobody sleeps for items while holding it, but starting and reaping workers
 * happens under it. `turn` comes before it: who has it may fill and collect the flow of
 * submitted tasks. No user's function is called under either.
 */
#ifndef CVY_POOL_POOL_H
#define CVY_POOL_POOL_H

#include <pthread.h>

#include "pool/batch.h"
#include "region/object.h"

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

struct cvy_limits {
    int64_t time, soft; /* of a run, ns; 0 none */
    int64_t duplicate;  /* the same: then there is another one */
    uint64_t memory;    /* bytes of its own, 0 none */
};
static inline bool cvy_limits_any(const struct cvy_limits *limits)
{
    return limits->time || limits->soft || limits->memory || limits->duplicate;
}

/* A slot. FILLING and ACTIVE: a map's; RETIRED: waits for workers that still look at it. */
struct cvy_pool_slot {
    enum cvy_slot_use use;
    struct cvy_pool_run run;
    struct cvy_batch *batch;
    struct cvy_map *map;
    covey_task_fn *fn;
    uint64_t n;
    uint64_t prefix;       /* items below it are finished; the map's thread only */
    bool all_ok;           /* those are OK; the map's thread only */
    bool deaths;           /* a worker died in it or leaves: look for missing items */
    bool all_called;       /* every worker has been woken for it */
    int64_t prefers_until; /* if its batch prefers a worker */
    /* of a flow; by who drives that */
    struct cvy_limits limits; /* of its items */
    uint64_t taken;           /* items whose outcome was taken out */
    uint64_t scan;            /* where to look for the next one */
};

/* Whose item of a flow it is, and which one there. */
struct cvy_cookie {
    void *owner;
    uint64_t index;
    int64_t given; /* when it was submitted; 0: unknown */
};

/* What a slot needs for the items of a flow; stays for the next batch. */
struct cvy_slot_room {
    uint8_t *marks; /* 1: its outcome was taken out */
    struct cvy_cookie *cookies;
    uint64_t size;
};

/* What is known of a function's calls. */
struct cvy_cost {
    covey_task_fn *fn;
    uint32_t cost;    /* 1/16 ns, 0 unknown */
    uint32_t reserve; /* bytes for a result, 0 unknown */
};

/* How often an item's worker died, and how the last one did. */
struct cvy_pool_attempts {
    uint64_t item;
    uint32_t deaths;
    int exitcode;
    char *text;      /* of flows; may be NULL */
    char *backtrace; /* of flows; may be NULL */
};

/* See affinity.c. */
struct cvy_affinity {
    uint64_t key; /* 0: none */
    int64_t wait; /* for its worker, ns; 0: the usual time */
};

/* One call of covey_pool_map, on its thread's stack; or the base of a flow. */
struct cvy_map {
    struct cvy_pool *pool;
    struct cvy_flow *flow; /* whose base this is; NULL of a map */
    const char *call;      /* for messages */
    uint32_t index;        /* of its ring */
    struct cvy_bounds bounds;
    struct cvy_code code;
    covey_task_fn *fn;
    const char *in;
    char *out;
    size_t in_size, out_size;
    uint64_t n;
    uint32_t chunk;
    bool copy_in, copy_out;
    uint64_t batch_items; /* of a batch, at most */
    uint64_t first_items; /* of the first one, if it is copied */
    uint32_t batch_limit; /* batches at once */
    bool is_starved;      /* no slot was free for its only batch */
    int64_t look_due;     /* when to see to the workers though items move; 0: unknown */

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
    _Atomic size_t attempt_count; /* "any" is asked without the lock */
    size_t attempt_room;
};

struct cvy_pool_worker {
    covey_process *process; /* NULL: none at the moment */
    int64_t due;     /* no process: when to start one; not up yet: when to look */
    int pid;         /* of the process */
    bool ended;      /* by us, for what its task did */
    int64_t ends_by; /* it leaves, and is killed then; 0: it works */
    int64_t sample;  /* when its memory is to be looked at again */
    uint64_t sampled, peak; /* serial of the task, and its most memory so far */
    int64_t born;
    uint32_t relieves; /* line + 1 of whom it succeeds, who retires when it is up */
    bool is_wanted;    /* the line: somebody is to work there */
};

/* See staff.c. */
struct cvy_staff {
    int64_t max_age; /* of a worker; 0: any */
    uint64_t max_memory;
    bool relieves;  /* workers are replaced by age, memory or tasks */
    uint32_t least; /* workers that stay when there is nothing to do */
    uint32_t full;  /* is_small: how many there are to be otherwise */
    bool is_small;
    int64_t idle_timeout, idle_since;
    uint64_t finished; /* claims, when idleness was last looked for */
    int64_t weighed;   /* when memory was last looked at */
    int64_t due;       /* when to look again; INT64_MAX: not by itself */
};

static inline bool cvy_staff_is_watched(const struct cvy_staff *staff)
{
    return staff->relieves || staff->idle_timeout;
}

/* A file of slices. */
struct cvy_trace;
struct cvy_submissions;
struct cvy_watcher;
struct cvy_loop;
struct cvy_done;
struct cvy_flow;

enum cvy_pool_state { CVY_POOL_OPEN = 0, CVY_POOL_CLOSED, CVY_POOL_ENDED };

struct cvy_pool {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a slot or a map's index is free; a map has ended */
    struct covey_pool *object;
    struct cvy_pool_shared *shared;
    enum covey_start_method method;
    unsigned retries;
    const void *holds[16];
    char name[64];
    char cpus[64];
    uint32_t owner;         /* the object's, which may be gone */
    bool is_listed;         /* for the end of the process */
    uint32_t refs, visits;  /* the object's, results, iterators; threads that wait */
    _Atomic uint32_t state; /* enum cvy_pool_state */
    bool is_over;           /* ENDED, and who ended it is done; locked */
    _Atomic bool hurries;   /* exit hooks get no more time */
    struct covey_pool_faults faults;
    size_t backlog;
    uint64_t memory;              /* for declared needs; 0 any */
    _Atomic uint64_t begun_items; /* of flows, for the faults */

    pthread_mutex_t stopping; /* of who ends the workers */
    pthread_mutex_t turn;
    _Atomic(struct cvy_submissions *) tasks; /* what was submitted; NULL before that */
    struct cvy_watcher *watcher;
    struct covey_result *callbacks, **callbacks_end; /* to be called */
    bool calls_back;                                 /* one is being called */
    struct cvy_loop *loop;
    struct cvy_trace *trace;

    bool limited; /* there was a flow with limits */
    /* when who sees to tasks looks again; INT64_MAX: unknown */
    _Atomic int64_t next_look;
    bool has_affinity;       /* there was a task with one */
    bool measures;           /* begin and end of all tasks */
    _Atomic uint32_t target; /* workers wanted; guessed from without the lock, too */
    uint32_t capacity;       /* most that may be wanted */
    uint32_t
        lines; /* lines there are; more than workers, for successors of who leaves */
    _Atomic uint32_t workers; /* lines that were ever in use; the same */
    struct cvy_staff staff;
    struct cvy_pool_worker *worker;
    uint32_t started; /* for names */

    uint32_t barren; /* deaths and failed starts since an item was finished */
    int64_t barren_since;
    bool barren_by_kill; /* one of those at least */
    uint64_t finished;   /* sum of the lines' at the last of those */
    char cause[CVY_POOL_TEXT];
    bool closing;

    struct cvy_pool_slot slots[CVY_POOL_BATCHES];
    uint32_t next_slot; /* where to look for one that is free */
    uint64_t retired;   /* slots that are RETIRED, as bits */
    struct cvy_slot_room rooms[CVY_POOL_BATCHES];
    struct cvy_map *maps[CVY_POOL_BATCHES];
    uint32_t map_count;
    uint32_t next_code_id;
    struct cvy_pool_run spares[CVY_POOL_SPARES];
    uint64_t spare_bytes;
    struct cvy_cost costs[CVY_POOL_COSTS]; /* by function */
    struct covey_iterator *iterators;
    uint64_t *ranges; /* room for a snapshot: 2 * workers + orphans */
};

/** A handle's pool, in the process that created it. */
static inline struct cvy_pool *cvy_pool_of(const covey_pool *object)
{
    return (struct cvy_pool *)(uintptr_t)object->state;
}

/** Wait for `changed`; locked. No cancellation point, unlike pthread_cond_wait. */
static inline void cvy_pool_await_change(struct cvy_pool *pool)
{
    int cancel;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    (void)pthread_cond_wait(&pool->changed, &pool->lock);
    (void)pthread_setcancelstate(cancel, NULL);
}

/* ---- pool.c ---- */

/** The same until `deadline` at most; locked, too. */
void cvy_pool_await_change_until(struct cvy_pool *pool, int64_t deadline);

/** The pool of a public call, of this process, not locked. With `open`, COVEY_ECLOSED when
 * it accepts no more. */
int cvy_pool_enter(covey_pool *object, const char *call, bool open,
                   struct cvy_pool **ret_pool);
/** A thread waits in the pool, which stays until it leaves. Returns: false if it went. */
bool cvy_pool_visit(struct cvy_pool *pool);
void cvy_pool_leave(struct cvy_pool *pool);
/** Drop a reference; the last one frees the private record. */
void cvy_pool_unref(struct cvy_pool *pool);

/* ---- drive.c ---- */

/** Get a ring of its own; the map must stay where it is until cvy_map_end. A map waits for
 * others to end. COVEY_EFREED; -EAGAIN when there is none and it is an iterator, or
 * iterators have all of them; -ETIMEDOUT at the deadline of its bounds. */
int cvy_map_begin(struct cvy_map *map);
void cvy_map_end(struct cvy_map *map);
/** Maps that threads wait in, besides what has a ring for other reasons; locked. */
uint32_t cvy_maps_waited_for(const struct cvy_pool *pool);
/** The word that workers ring. */
cvy_word *cvy_map_ring(const struct cvy_map *map);
/** Wait until it was rung since `seen`; looks at limits first.
 * Returns: whether a slice has gone by without a word. */
bool cvy_map_wait(struct cvy_map *map, uint32_t seen, uint32_t gong, int64_t until);
/** The same for one of several threads that wait for the same map, without a spin. */
bool cvy_map_sleep(struct cvy_map *map, uint32_t seen, uint32_t gong, int64_t until);
/** Call all sleeping workers for what is not claimed, before the caller sleeps. */
void cvy_map_call_all(struct cvy_map *map);
/** See to the workers: those that died, and what died with them. */
void cvy_map_look_after(struct cvy_map *map, bool slice);
/** The same from time to time, and to limits, by who has something else to do all the time
 * and so does not come to wait; to be called at least each CVY_LOOK_EVERY items. */
#define CVY_LOOK_EVERY 64u
void cvy_map_look_meanwhile(struct cvy_map *map);
/** Nothing more begins: what still runs at the time `patience` is ended with its worker,
 * or waited for where that cannot be. */
void cvy_map_end_running(struct cvy_map *map, int64_t patience);
/** Give a batch's head its values, but for what depends on its kind. */
void cvy_batch_reset(const struct cvy_map *map, struct cvy_pool_slot *s, uint64_t base);
static inline bool cvy_is_in_region(const void *data, size_t bytes)
{
    uintptr_t at = (uintptr_t)data - (uintptr_t)cvy_head;
    return at < cvy_head->reservation && bytes <= cvy_head->reservation - at;
}

/* ---- duplicate.c; locked ---- */

/** This item, a submitted task's, runs for long: another run of it is to be begun. */
void cvy_duplicate_make(struct cvy_pool *pool, uint32_t slot, uint64_t at);

/* ---- submit.c ---- */

/** Make sure that tasks can be submitted. */
int cvy_tasks_begin(struct cvy_pool *pool);
/** Submit `result`, which takes a reference of its own then. -EAGAIN in callbacks. */
int cvy_tasks_submit(struct cvy_pool *pool, struct covey_result *result);
/** Feed and collect the submitted tasks once, and see to the workers if that is all there is
 * to do or a slice is over. Neither locked nor with the turn.
 * Returns: whether anything happened. */
bool cvy_tasks_step(struct cvy_pool *pool, bool slice);
/** When cvy_tasks_step has to be called again though nothing was heard. */
int64_t cvy_tasks_due(struct cvy_pool *pool);
/** The base of their flow. */
struct cvy_map *cvy_tasks_map(struct cvy_pool *pool);
/** Whether any is not ready; locked. */
bool cvy_tasks_are_left(const struct cvy_pool *pool);
/** Take a result's tasks back. Returns: whether there were any. */
bool cvy_tasks_cancel(struct cvy_pool *pool, struct covey_result *result,
                      enum covey_outcome outcome, enum covey_outcome running);
/** The same for all results of a group. */
bool cvy_tasks_cancel_group(struct cvy_pool *pool, uint64_t group,
                            enum covey_outcome running);
/** How far a result is: of one task what that says of itself. */
void cvy_tasks_progress(struct cvy_pool *pool, const struct covey_result *result,
                        uint64_t *ret_done, uint64_t *ret_total);
/** The pool ends, its workers may still run: whatever is left becomes CANCELLED. */
void cvy_tasks_end(struct cvy_pool *pool);
void cvy_tasks_free(struct cvy_pool *pool);
/** Something has changed for those who wait for results. */
void cvy_tasks_tell(struct cvy_pool *pool);

/* ---- iterator.c ---- */

#define CVY_STARVED_TIME COVEY_MSEC(1) /* between looks for a batch that is free */

/** Results that nobody has read yet hold batches: move them aside, where no batch is free
 * for others. Neither locked nor with an iterator's mutex but the caller's own. */
void cvy_iterators_relieve(struct cvy_pool *pool);
/** The same by who found none. Returns: when to try again, at the latest `until`. */
int64_t cvy_iterators_make_room(struct cvy_pool *pool, int64_t until);
/** End all iterators: the pool goes. */
void cvy_iterators_end(struct cvy_pool *pool);

/* ---- watcher.c ---- */

/** Start the thread, unless it runs or an event loop does its work. COVEY_ECLOSED when the
 * pool has ended. */
int cvy_watcher_start(struct cvy_pool *pool);
/** End it and wait for that. Not from its own callbacks. */
void cvy_watcher_stop(struct cvy_pool *pool);
/** A result's callback is to be called; locked. */
void cvy_watcher_queue(struct cvy_pool *pool, struct covey_result *result);
/** Call one. Returns: whether there was one. */
bool cvy_watcher_call_back(struct cvy_pool *pool);
/** Call those that are queued now, not what they queue, until `stops` (may be NULL).
 * Returns: whether there was any. */
bool cvy_watcher_call_queued(struct cvy_pool *pool, const cvy_word *stops);
/** Whether the caller is in a callback of this pool. */
bool cvy_watcher_is_me(const struct cvy_pool *pool);

/* ---- loop.c ---- */

int cvy_loop_create(struct cvy_pool *pool);
void cvy_loop_free(struct cvy_pool *pool);
/** When somebody has to look though nothing was heard. Tells it to those who bring what has
 * to be looked at earlier, so it is followed by a sleep until then. Not locked. */
int64_t cvy_loop_next_look(struct cvy_pool *pool);
/** Something has to be looked at by then; with the lock or without. */
void cvy_loop_look_by(struct cvy_pool *pool, int64_t due);
/** Tasks are under way: the event loop is to look from time to time. Not locked. */
void cvy_loop_begin_slice(struct cvy_pool *pool);
/** The event loop is to call covey_pool_dispatch. */
void cvy_loop_raise(struct cvy_pool *pool);
/** A worker came; is going; locked. */
void cvy_loop_watch(struct cvy_pool *pool, uint32_t index);
void cvy_loop_unwatch(struct cvy_pool *pool, uint32_t index);

/* ---- trace.c ---- */

/** Open the file; NULL as path: by environment. Returns: 0, also for no file; -errno. */
int cvy_trace_open(struct cvy_pool *pool, const char *path);
/** One slice; locked. */
void cvy_trace_add(struct cvy_pool *pool, const struct cvy_done *done);
void cvy_trace_close(struct cvy_pool *pool);

/* ---- counting; locked, or relaxed by the one who drives ---- */

static inline void cvy_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- slots.c; locked ---- */

/** Give back the room of an item's result if that has a run of its own; locked or not. */
void cvy_pool_drop_result(const struct cvy_pool_slot *s, uint64_t at);

/** What is known of this function, now or from now on. */
struct cvy_cost *cvy_pool_cost(struct cvy_pool *pool, covey_task_fn *fn);
/** A slot with room for `items` of the map, in state FILLING.
 * Returns: 0; -EAGAIN if all are in use, or memory is soon free; -ENOMEM with the detail. */
int cvy_pool_slot_take(struct cvy_pool *pool, struct cvy_map *map, uint64_t items,
                       uint32_t *ret_slot);
/** The same with room for `items` entries, and a run of `bytes`; -E2BIG: it takes > `most`. */
int cvy_pool_slot_take_bytes(struct cvy_pool *pool, struct cvy_map *map, uint64_t items,
                             uint64_t bytes, uint64_t most, uint32_t *ret_slot);
/** Let workers have it. */
void cvy_pool_slot_publish(struct cvy_pool *pool, uint32_t slot);
/** Workers get it no more; its memory is used again when the last one has left it. */
void cvy_pool_slot_retire(struct cvy_pool *pool, uint32_t slot);
/** Whether a worker is in it. */
bool cvy_pool_slot_is_visited(const struct cvy_pool *pool, uint32_t slot);
/** Tell workers that there are `items` to do, of `cost` each (0: unknown). */
void cvy_pool_ring(struct cvy_pool *pool, uint64_t items, uint32_t cost);
/** Wake the thread that waits in the map, and the event loop. */
void cvy_pool_ring_map(struct cvy_pool *pool, uint32_t map);
/** Where the parts of a batch begin, from its start. */
struct cvy_batch_parts {
    uint64_t in, out, end;
};
struct cvy_batch_parts cvy_pool_parts(const struct cvy_map *map, uint64_t items);

/* ---- staff.c; locked ---- */

/** Start a worker in each wanted line that has none, and tell who watches what is due then.
 * Returns: 0 or the first error. */
int cvy_pool_start_workers(struct cvy_pool *pool);
/** Have so many workers from now on. Returns: as cvy_pool_start_workers. */
int cvy_staff_resize(struct cvy_pool *pool, uint32_t workers);
/** There is something to do: be as many as usual. */
void cvy_staff_wake(struct cvy_pool *pool);
/** Look who is to be relieved, and whether there are too many. */
void cvy_staff_look(struct cvy_pool *pool);
/** Whether a worker may have a successor now. */
bool cvy_staff_may_relieve(const struct cvy_pool *pool);
/** A worker died, by SIGKILL or otherwise, or did not start, while nothing was finished. */
void cvy_staff_count_barren(struct cvy_pool *pool, const char *cause, bool killed);
/** Whether that has gone on for so long that it will not be better. */
bool cvy_staff_is_hopeless(const struct cvy_pool *pool);
/** Start the next one in this line when that is worth trying. */
void cvy_staff_put_off(struct cvy_pool *pool, uint32_t index);
/** Its worker, which is not up yet, was looked at. */
void cvy_staff_looked(struct cvy_pool *pool, uint32_t index);

/* ---- recover.c; locked ---- */

/** Look for workers that died, settle what they had, replace them.
 * `ask_kernel`: do not trust what memory says about them. */
void cvy_pool_reap(struct cvy_pool *pool, bool ask_kernel);
/** Only that: nobody is started instead of them. */
void cvy_pool_reap_workers(struct cvy_pool *pool, bool ask_kernel);
/** Whether a worker's life word says that it died, or a look is due. No ring is needed
 * for this: one that died while nobody slept was not heard. */
bool cvy_pool_wants_reaping(const struct cvy_pool *pool);
/** When cvy_pool_reap has to be called though nothing was heard; INT64_MAX: never. */
int64_t cvy_pool_due(const struct cvy_pool *pool);
/** Hand out again what was in dead workers' hands. */
void cvy_pool_find_missing(struct cvy_pool *pool, uint32_t slot);
/** Begin nothing more of this batch. */
void cvy_pool_cancel(struct cvy_pool *pool, uint32_t slot);
/** Kill the workers that are in this batch. Returns: whether nobody is in it any more;
 * threads cannot be killed. */
bool cvy_pool_kill_in(struct cvy_pool *pool, uint32_t slot);
/** End all workers, not locked: what is idle at once, what is busy by force. With `patience`,
 * all in order until then. */
void cvy_pool_stop_workers(struct cvy_pool *pool, int64_t patience);
/** No map begins any more, and all that there are give up. */
void cvy_pool_close_maps(struct cvy_pool *pool);
/** End all workers and maps at the end of the process, without waiting for other threads;
 * not locked. */
void cvy_pool_stop_at_exit(struct cvy_pool *pool);
/** Reap the worker, which has died or was killed. */
void cvy_pool_reap_worker(struct cvy_pool *pool, uint32_t index);
/** Take out what is known of the deaths of the item's workers; its texts are the caller's. */
struct cvy_pool_attempts cvy_pool_take_attempt(struct cvy_map *map, uint64_t item);
/** Free the texts; needs no lock. */
void cvy_pool_free_attempt(struct cvy_pool_attempts *attempt);
void cvy_pool_forget_attempts(struct cvy_map *map);

#endif
