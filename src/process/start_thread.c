/* SPDX-License-Identifier: MIT */
/* start_thread.c: a process that is a thread, as in multiprocessing.dummy. */
#include <errno.h>
#include <limits.h>

#include "base/error.h"
#include "process/process.h"
#include "region/member.h"

#define NO_RESULT 255 /* of a thread that does not return from its target */

/* Publish the end: state first, then whoever waits or polls. The record may be gone as
 * soon as the lock is given back. */
static void announce_end(struct covey_process *p, enum cvy_thread_end how)
{
    struct cvy_child *child = cvy_process_local(p);
    uint64_t one = 1;
    cvy_self_set_thread(NULL);
    cvy_children_lock();
    if (cvy_os_is_kept(&child->thread_bell))
        (void)cvy_os_write_all(child->thread_bell.fd, &one, sizeof one);
    atomic_store(&child->thread_done, (uint32_t)how);
    (void)cvy_os_futex_wake(&child->thread_done, INT_MAX);
    cvy_children_unlock();
}

/* However the thread ends: by return, pthread_exit, or cancellation. */
static void end_of_thread(void *arg)
{
    if (cvy_self_thread() == arg)
        announce_end(arg, CVY_THREAD_ENDED);
}

void cvy_thread_end(int status)
{
    cvy_self_thread()->exit_status = status;
    pthread_exit(NULL);
}

void cvy_thread_exits_process(int status)
{
    struct covey_process *p = cvy_self_thread();
    p->exit_status = status;
    announce_end(p, CVY_THREAD_STAYS);
}

static void *live(void *arg)
{
    struct covey_process *p = arg;
    cvy_self_set_thread(p);
    p->pid = cvy_os_tid();
    atomic_store(&p->setup, 1);
    (void)cvy_os_futex_wake(&p->setup, 1);
    p->exit_status = NO_RESULT;
    pthread_cleanup_push(end_of_thread, p);
    int status = cvy_process_run(p);
    if (cvy_self_thread() == p) /* not in a fork that returned as well */
        p->exit_status = status;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_cleanup_pop(1);
    return NULL;
}

int cvy_thread_sentinel(struct cvy_child *child)
{
    int ends[2];
    if (atomic_load(&child->thread_done))
        return cvy_os_ready_fd();
    int r = cvy_os_pipe(ends);
    if (r < 0)
        return r;
    child->thread_bell = cvy_os_keep(ends[1]);
    return ends[0];
}

int cvy_start_thread(struct covey_process *p, struct cvy_child *child)
{
    p->member = cvy_member_owner();
    child->thread_done = CVY_THREAD_RUNS;
    int r = -pthread_create(&child->thread, NULL, live, p);
    if (r < 0)
        return cvy_fail_os(r, "a thread");
    while (!atomic_load(&p->setup)) { /* until its id is known */
        struct cvy_os_wait wait = {&p->setup, 0};
        (void)cvy_os_futex_waitv(&wait, 1, INT64_MAX);
    }
    return 0;
}
