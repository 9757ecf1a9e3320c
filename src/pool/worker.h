/* SPDX-License-Identifier: MIT */
/** pool/worker.h: what a worker knows, shared by its loop, claiming, and calls. */
#ifndef CVY_POOL_WORKER_H
#define CVY_POOL_WORKER_H

#include "pool/batch.h"

#include <covey/pool.h>

#define CVY_WORKER_FUNCTIONS 16u
#define CVY_WORKER_RUNS      32u

struct cvy_worker {
    struct covey_call call;   /* tasks get its address */
    char text[CVY_POOL_TEXT]; /* of covey_call_fail in this call, "" */

    struct cvy_pool_shared *shared;
    struct cvy_pool_line *line;
    uint32_t index;
    uint32_t steal_from; /* line to look at first */

    /* the batch it is in, copied from its head */
    struct cvy_batch *batch;
    uint32_t slot;
    uint32_t chunk;
    uint64_t n;
    uint64_t cost; /* per item, 1/16 ns; 0 unknown */
    const char *in;
    char *out;
    covey_task_fn *fn;
    struct cvy_entry *entries; /* of a batch that has them, else NULL */
    int64_t *deadlines;        /* of its items; NULL: they have none of their own */
    uint32_t flags;            /* of the batch; 0 outside of one */

    uint64_t item;            /* with entries: the one that runs */
    _Atomic int64_t deadline; /* of what runs; INT64_MAX: none */
    char *result;             /* where its result is */
    cvy_ref extra;            /* a run that it got for that, 0 none, */
    uint64_t extra_bytes;     /* and its size */
    uint64_t net;             /* limit of memory that its process has, 0 none */
    int64_t rung;             /* when it last told the map of finished items */
    bool has_news; /* it has finished some since, which are taken one by one */
    /* line + 1 of who seems stopped while it writes a text, 0 none */
    uint32_t stuck_writer;

    struct covey_pool *pool;
    uint64_t tasks_left; /* items until it ends; UINT64_MAX: never */
    bool is_thread;
    bool has_slept; /* since it was last in a batch */
    int pid;

    struct {
        uint32_t code_id;
        covey_task_fn *fn;
    } functions[CVY_WORKER_FUNCTIONS];
    cvy_ref runs[CVY_WORKER_RUNS]; /* large memory of batches that it has been to */
    uint32_t next_run;
};

/** Whether it is to end, with this item or after it. */
static inline bool cvy_worker_is_leaving(const struct cvy_worker *w)
{
    return !w->tasks_left ||
           atomic_load_explicit(&w->line->retire, memory_order_relaxed);
}

/** The caller's thread is this worker's; NULL: not any more. */
void cvy_worker_is_here(struct cvy_worker *w);
/** The worker whose thread calls; NULL: none's. */
struct cvy_worker *cvy_worker_here(void);
/** Item `i` of a batch with entries and bounds begins now. Returns: its deadline. */
int64_t cvy_worker_set_deadline(struct cvy_worker *w, uint64_t i, int64_t now);

/** Items from now on may take so many bytes more; 0: any. */
void cvy_task_limit_memory(struct cvy_worker *w, uint64_t limit);
/** Run items of a batch with entries. */
void cvy_task_run(struct cvy_worker *w, uint64_t range);
/** covey_call_return in such a batch. */
int cvy_task_return(struct cvy_worker *w, const void *data, size_t size);
/** The pool is about to end this process; threads are only asked, and go on. */
void cvy_task_await_end(struct cvy_worker *w);
/** Run the initializer; the exit hook. Returns: what it returned, 0 if there is none. */
int cvy_task_init(struct cvy_worker *w);
int cvy_task_exit(struct cvy_worker *w);

/** Note in its line which processor it is on. */
void cvy_worker_say_where(struct cvy_worker *w);
/** It has just entered a batch: if another one that is in a batch runs on the same processor,
 * or was called, too, and waits for it, go to one that is free. */
void cvy_worker_spread(struct cvy_worker *w);
/** Wake who waits for the batches of a map; also an event loop. */
void cvy_worker_ring(struct cvy_worker *w, uint32_t map);
/** The same in a batch with entries, if that was not done lately. */
void cvy_worker_tell(struct cvy_worker *w, int64_t now);

/** How many cores a pool of the caller's may keep busy: of a task its share of those of its
 * pool; else 0, which is all. Returns: 0; as covey_cpu_count. */
int cvy_pool_share_of_cores(size_t *ret_cores);

/** Target of a worker process. */
int cvy_pool_work(struct covey_view arg);

/** Take a range of items of the batch: `running` and `claim` of the line are set.
 * Returns: false if there is nothing to take any more. */
bool cvy_claim_take(struct cvy_worker *w);
/** Go on to the next items of what was taken. Returns: their range, 0 at the end. */
uint64_t cvy_claim_next(struct cvy_worker *w);
/** Tell how long `count` items took, in ns. */
void cvy_claim_measure(struct cvy_worker *w, uint64_t count, int64_t time);

#endif
