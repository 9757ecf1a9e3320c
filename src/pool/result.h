/* SPDX-License-Identifier: MIT */
/** pool/result.h: what becomes of submitted tasks. */
#ifndef CVY_POOL_RESULT_H
#define CVY_POOL_RESULT_H

#include "pool/flow.h"

enum cvy_result_state {
    CVY_RESULT_PENDING = 0,
    CVY_RESULT_DONE, /* its callback is to be called */
    CVY_RESULT_READY
};

/* Its tasks are its creator's to count, under the turn; `state` and links are locked. */
struct covey_result {
    uint32_t magic;
    uint32_t owner; /* owner word of the member that submitted */
    struct cvy_pool *pool;
    _Atomic uint32_t refs; /* the program's and the pool's */
    _Atomic uint32_t state;
    struct covey_result *next, *previous; /* that are not ready */
    struct covey_result *next_callback;

    covey_task_fn *fn;
    struct cvy_limits limits;
    struct cvy_affinity affinity;
    int64_t submitted, deadline, key; /* what has the least key is begun first */
    struct cvy_bounds bounds;         /* as it was submitted */
    uint64_t place;                   /* in the heap, + 1; 0: not there */
    covey_done_fn *callback, *error_callback;
    void *callback_ctx;
    struct covey_map_summary *summary; /* the caller's */
    bool is_canceled;                  /* no more copies; locked */
    bool is_late;                      /* its deadline was over before it was ready */
    uint64_t group, round; /* the caller's; of the last cancelling that saw it */
    uint64_t memory;       /* declared, of each task */
    unsigned growth;       /* factor, 0 none */
    unsigned more_runs;    /* that were begun for another reason than a death */
    bool is_copy;          /* see duplicate.c */
    struct cvy_duplicate *duplicates; /* of its items; locked */

    struct cvy_work work;
    struct covey_view arg; /* of a single task; behind this */
    struct covey_bytes bytes;
    bool keeps_array; /* work.out is to be freed */

    int code; /* what get returns */
    struct covey_task_report report;
    char *backtrace;
    char text[CVY_POOL_TEXT];
};

/** One more of its items is finished; with the turn. */
void cvy_result_put(struct covey_result *result, const struct cvy_done *done);
/** All are: note what came of it. Returns: whether a callback is to be called. */
bool cvy_result_settle(struct covey_result *result);
/** Whether it is ready for the caller, who may be in a callback. */
bool cvy_result_is_ready(const struct covey_result *result);
void cvy_result_unref(struct covey_result *result);

#endif
