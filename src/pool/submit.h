/* SPDX-License-Identifier: MIT */
/** pool/submit.h: what the files of submitted tasks share. */
#ifndef CVY_POOL_SUBMIT_H
#define CVY_POOL_SUBMIT_H

#include "pool/pool.h"

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

#endif
