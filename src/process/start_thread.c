/* SPDX-License-Identifier: MIT */
/* start_thread.c: a process that is a thread, as in multiprocessing.dummy. */
#include <errno.h>
#include <limits.h>

#include "base/error.h"
#include "process/process.h"
#include "region/member.h"

/* Publish the end: state first, then whoever waits or polls. The record may be gone as
 * soon as the lock is given back; waking who waits at its address then harms nobody. */
static void announce_end(struct covey_process *p, int status)
{
    struct cvy_child *child = cvy_process_local(p);
    uint64_t one = 1;
    p->exit_status = status;
    cvy_self_set_thread(NULL);
    cvy_children_lock();
    if (child->thread_bell >= 0)
        (void)cvy_os_write_all(child->thread_bell, &one, sizeof one);
    atomic_store(&child->thread_done, 1);
    cvy_children_unlock();
    (void)cvy_os_futex_wake(&child->thread_done, INT_MAX);
}

void cvy_thread_end(int status)
{
    announce_end(cvy_self_thread(), status);
    pthread_exit(NULL);
}

static void *live(void *arg)
{
    struct covey_process *p = arg;
    cvy_self_set_thread(p);
    p->pid = cvy_os_tid();
    atomic_store(&p->setup, 1);
    (void)cvy_os_futex_wake(&p->setup, 1);
    announce_end(p, cvy_process_run(p));
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
    child->thread_bell = ends[1];
    return ends[0];
}

int cvy_start_thread(struct covey_process *p, struct cvy_child *child)
{
    p->member = cvy_member_owner();
    child->thread_done = 0;
    int r = -pthread_create(&child->thread, NULL, live, p);
    if (r < 0)
        return cvy_fail_os(r, "a thread");
    while (!atomic_load(&p->setup)) { /* until its id is known */
        struct cvy_os_wait wait = {&p->setup, 0};
        (void)cvy_os_futex_waitv(&wait, 1, INT64_MAX);
    }
    return 0;
}
