/* SPDX-License-Identifier: MIT */
/**
 * manager/job.h: what functions of a program's classes are given, and those that run in
 * threads.
 */
#ifndef CVY_MANAGER_JOB_H
#define CVY_MANAGER_JOB_H

#include <stdatomic.h>

#include "base/error.h"
#include "manager/class.h"

#include <covey/manager.h>
#include <covey/pool.h>

struct covey_request {
    const covey_value *args, *kwargs;
    const char *client;
    covey_value *reply; /* result or exception */
    struct cvy_type
        *made; /* the type of the object `made_self`, or of one of `made_of` */
    void *made_self;
    covey_value *made_of;      /* its arguments: (args, kwargs); NULL: it is there */
    struct cvy_server *server; /* NULL: of a function in a worker */
    const struct covey_call *task; /* of that; NULL: none */
    _Atomic int cancelled;
    char detail[CVY_DETAIL_SIZE]; /* of a failure in another thread */
};

/** Make a reply of what a function returned and left in its request. */
int cvy_custom_finish(struct cvy_call *call, covey_request *request, int result);
/** Destroy an object that it made and nobody gets. */
void cvy_custom_drop_made(covey_request *request);

/** Run a method in a thread; the call is parked. */
int cvy_job_start(struct cvy_call *call, void *self,
                  covey_method_fn *fn) COVEY_MUST_CHECK;

#endif
