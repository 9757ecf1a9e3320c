/* SPDX-License-Identifier: MIT */
/** pool/flow.h: items of any size, where they come from and where their results go. */
#ifndef CVY_POOL_FLOW_H
#define CVY_POOL_FLOW_H

#include "pool/pool.h"

/** An item that a source gives. */
struct cvy_item {
    const struct covey_view *parts; /* one, or a tuple's */
    struct cvy_cookie cookie;
    int64_t deadline; /* of its own; INT64_MAX: none, unless the source sets one */
};

/** The next item: 1; 0 none at the moment; negative: none ever again. */
typedef int cvy_pull_fn(void *ctx, struct cvy_item *ret_item);

/**
 * Items of any size on their way through the pool. One thread at a time drives it. What
 * the source gives is held here until there is room, so the source's bytes must stay until
 * the next pull.
 */
struct cvy_flow {
    struct cvy_map map; /* first */
    cvy_pull_fn *pull;
    void *ctx;
    uint32_t width; /* parts of each item; 0: one, no tuple */
    struct cvy_limits limits;
    struct cvy_affinity affinity;
    bool ordered;
    bool is_read;  /* by iterator, or otherwise by nobody who waits in a map */
    bool is_mixed; /* functions, widths and limits change between batches: the source */
    bool is_filling; /* sets them, but not while a batch is being filled */
    uint64_t window, window_bytes;
    uint32_t batches; /* most at once; 0: the usual number */

    uint64_t cost;    /* of an item, 1/16 ns; 0 unknown */
    uint64_t reserve; /* bytes for each result */
    uint64_t bytes;   /* of the batches that are out */
    uint64_t out;     /* items that are out */
    struct cvy_item held;
    bool has_held;
    int ended;                 /* what the source said at the end, 1 before */
    _Atomic bool is_starved;   /* no slot was free for its first batch */
    int64_t quiet_since;       /* nothing to be taken since then; 0: not known */
    _Atomic int64_t next_look; /* when to look though nobody rang; INT64_MAX: never */
    uint8_t order[CVY_POOL_BATCHES]; /* slots, oldest first */
    uint32_t order_count;
    struct {
        uint64_t done, failed, in, out;
    } tally; /* not in the pool's counts yet */
};

/** An item that is finished. */
struct cvy_done {
    uint32_t slot;
    uint64_t at;   /* in the batch */
    uint64_t item; /* in the flow */
    struct cvy_cookie cookie;
    uint8_t outcome;          /* without CVY_OUTCOME_SIZE */
    int code;                 /* what a call for it alone returns */
    struct covey_view result; /* while it is not released */
    const char *text;         /* if it is not OK; in `buffer` or the attempt's */
    struct cvy_pool_attempts attempt; /* deaths 0: no worker of it died */
    int64_t started, ended;           /* 0 unknown */
    uint32_t line;                    /* + 1, 0 unknown */
    int pid;                          /* of its worker, 0 unknown */
    unsigned more_runs;               /* beside this one, but for a death */
    uint64_t peak;                    /* memory, if that is limited */
    char buffer[CVY_POOL_TEXT];
};

void cvy_flow_init(struct cvy_flow *flow, struct cvy_pool *pool, covey_task_fn *fn,
                   cvy_pull_fn *pull, void *ctx);
/** The function of the batches to come; locked. The caller sets map.code besides. */
void cvy_flow_set_fn(struct cvy_flow *flow, covey_task_fn *fn);
/** Give workers what there is room for. Returns: batches added; -ENOMEM, with the detail:
 * there is no room for the item that is held, though no other is out. */
int cvy_flow_feed(struct cvy_flow *flow);
/** After that: the item is not begun, but CANCELLED, with this code and the detail. */
void cvy_flow_refuse(struct cvy_flow *flow, int code, struct cvy_done *ret_done);
/** Take a finished item out. Returns: whether there was one. */
bool cvy_flow_take(struct cvy_flow *flow, struct cvy_done *ret_done);
/** There was none: when is it worth looking again, though nobody rings? Kept in next_look.
 * Returns: that time. */
int64_t cvy_flow_plan_look(struct cvy_flow *flow);
/** It was one run of several and does not count. */
void cvy_flow_uncount(struct cvy_flow *flow, const struct cvy_done *done);
/** Its result and texts are used no more. */
void cvy_flow_release(struct cvy_flow *flow, struct cvy_done *done);
/** Nothing that was pulled is out any more, and there will be nothing. */
bool cvy_flow_is_over(const struct cvy_flow *flow);
/** Finish all that is out: what has not begun gets `outcome`, what runs is ended as
 * `running`, or waited for if that is NONE. What was not filled in can still come. */
void cvy_flow_finish_out(struct cvy_flow *flow, enum covey_outcome outcome,
                         enum covey_outcome running);
/** The same, and begin nothing more. */
void cvy_flow_stop(struct cvy_flow *flow, enum covey_outcome outcome,
                   enum covey_outcome running);
/** An item of a batch that is out: take it back, or, if it runs, ask it to end, and end it
 * unless `running` is NONE. Locked. Returns: whether it was not finished before. */
bool cvy_flow_cancel(struct cvy_pool *pool, uint32_t slot, uint64_t at,
                     enum covey_outcome outcome, enum covey_outcome running);
/** Free what the flow has. */
void cvy_flow_free(struct cvy_flow *flow);
/** For an outcome without a text of its own. */
const char *cvy_outcome_text(uint8_t outcome);
/** What functions return for it. */
int cvy_outcome_code(uint8_t outcome);

/* ---- work.c ---- */

/* Arrays that are worked off: where items come from, where results go, how it went. */
struct cvy_work {
    const char *call; /* for messages */
    uint64_t n, next, done;
    int64_t given;  /* when it was submitted; 0: unknown */
    const char *in; /* items of `in_size` each, or */
    size_t in_size;
    const struct covey_view *views; /* `width` of them each, at least 1 */
    uint32_t width;
    struct covey_view view; /* what was pulled last */
    char *out;              /* `out_size` each, and must be; or */
    size_t out_size;
    struct covey_bytes *bytes;

    unsigned char *outcomes;           /* the caller's; may be NULL */
    const struct covey_map_opts *opts; /* of a call that waits */
    struct covey_map_summary sum;
    int first_code; /* of sum.first_failed, with its text */
    uint8_t first_outcome;
    char first_text[CVY_POOL_TEXT];
};

/** Take the next item. Returns: 1; COVEY_EEND. */
int cvy_work_pull(struct cvy_work *work, struct cvy_item *ret_item);
/** An item is finished: keep its result. */
void cvy_work_put(struct cvy_work *work, uint64_t index, const struct cvy_done *done);
/** All items from `next` on are not begun. */
void cvy_work_skip(struct cvy_work *work, enum covey_outcome outcome);
/** What it comes to. Returns: 0 or the first failure, with the detail. */
int cvy_work_judge(struct cvy_work *work);

/** Of a `struct cvy_work`. */
extern const struct cvy_exchange cvy_arrays;

/* ---- gather.c ---- */

/**
 * Where the items of a flow come from, and where what became of them goes. Built in are
 * arrays (work.c); another system's queue is one more. All is called by the thread that
 * runs the exchange, without a lock.
 */
struct cvy_exchange {
    /** The next item. When it gave 0, "none at the moment", and there are some again, the
     * map is to be rung (cvy_pool_ring_map), which any thread may do. */
    cvy_pull_fn *pull;
    /** An item is finished, or there was no memory for it alone (CANCELLED, with the code
     * -ENOMEM); its result is there during the call. */
    void (*put)(void *ctx, const struct cvy_done *done);
    /** Nothing more is begun: what was not pulled gets this outcome, with `held` also the
     * last that was. */
    void (*drop)(void *ctx, enum covey_outcome outcome, bool held);
    /** For the options' progress function. */
    void (*tell)(void *ctx, uint64_t *ret_done, uint64_t *ret_total);
    /** It begins, with this map, which goes when the run has ended; a ring by its index
     * that comes later does no harm. May be NULL. */
    void (*open)(void *ctx, struct cvy_map *map);
    /** It is over, and the pool still there. `r`: what the run returns. Returns: what it
     * is to return instead. May be NULL. */
    int (*close)(void *ctx, struct cvy_map *map, int r);
};

/** Run one to its end, by the parts of `opts` that flows have.
 * Returns: 0, whatever became of the items; what its source ended with; what its `close`
 * says. Neither opened nor closed: the errors of covey_pool_map for its arguments. */
int cvy_exchange_run(struct cvy_pool *pool, const char *call, covey_task_fn *fn,
                     uint32_t width, const struct cvy_exchange *exchange, void *ctx,
                     const struct covey_map_opts *opts);

/** Whether a map has options that only flows can. */
bool cvy_map_needs_flow(const struct cvy_pool *pool, const struct covey_map_opts *opts);
/** Check arguments of flows. Returns: 0, -EINVAL. */
int cvy_check_views(const char *call, const struct covey_view *in, size_t width,
                    size_t n);
/** Take the parts of a flow's options. */
void cvy_flow_limit(struct cvy_flow *flow, int64_t time, int64_t soft, uint64_t memory);
/** Work it off with a flow, and wait. */
int cvy_gather(struct cvy_pool *pool, covey_task_fn *fn, struct cvy_work *work,
               const struct covey_map_opts *opts);

#endif
