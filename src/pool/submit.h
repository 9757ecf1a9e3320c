/* SPDX-License-Identifier: MIT */
/** pool/submit.h: what the files of submitted tasks share. */
#ifndef CVY_POOL_SUBMIT_H
#define CVY_POOL_SUBMIT_H

#include "pool/result.h"

struct cvy_submissions {
    struct cvy_flow flow;
    struct covey_result **heap; /* least key first */
    size_t count, room;
    _Atomic uint64_t waiting;   /* tasks in the heap */
    uint64_t bytes;             /* of their arguments */
    uint64_t memory;            /* declared by tasks that are out */
    struct covey_result *first; /* that are not ready */
    _Atomic int64_t next_deadline;
    _Atomic bool is_open; /* its ring may be waited for */
    uint64_t round;       /* of cancelling a group */
    bool drops_all;       /* nothing is tried again */
};

/* ---- heap.c; locked ---- */

/** Let it wait; one that was not pulled to its end. -ENOMEM. */
int cvy_heap_add(struct cvy_submissions *tasks,
                 struct covey_result *result) COVEY_MUST_CHECK;
/** Let it wait no more, if it does. */
void cvy_heap_remove(struct cvy_submissions *tasks, struct covey_result *result);

/* ---- submit.c; locked ---- */

/** The item that the flow holds and has found no room for yet. */
void cvy_tasks_give_back(struct cvy_submissions *tasks, struct covey_result *result);
/** Cancel an item of the result's that is out, or with UINT64_MAX all of them, as
 * cvy_flow_cancel does. Returns: whether any was not finished. */
bool cvy_tasks_take_out(struct cvy_submissions *tasks,
                        const struct covey_result *result, uint64_t index,
                        enum covey_outcome outcome, enum covey_outcome running);

/* ---- duplicate.c; with the turn ---- */

/** A run has ended. Returns: whose outcome it is, and sets the item's index; NULL: the item
 * has one, or is to get another's. */
struct covey_result *cvy_duplicate_judge(struct cvy_submissions *tasks,
                                         struct cvy_done *done);
/** Cancel the copies of this result's items that are out; locked. */
bool cvy_duplicates_cancel(struct cvy_submissions *tasks,
                           const struct covey_result *result,
                           enum covey_outcome outcome, enum covey_outcome running);
/** Take back a copy of one of its items that is not out: it has ended. NULL: none is. */
struct covey_result *cvy_duplicates_withdraw(struct cvy_submissions *tasks,
                                             const struct covey_result *result);

#endif
