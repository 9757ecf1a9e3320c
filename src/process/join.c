/* SPDX-License-Identifier: MIT */
/* join.c: waiting for ends, reaping, signals, and what is known afterwards.
 *
 * Waiting does not reap (any number of threads may wait); reaping happens under the lock
 * of the private records, and signals are sent under it, so that none goes to a process
 * whose number was given to another. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "process/process.h"
#include "region/lock.h"
#include "region/member.h"
#include "region/object.h"
#include "region/wait.h"

/* ---- reaping ---- */

/* Enter how it ended. `reaped` -ECHILD: the program reaped it first; then what the child
 * itself left behind tells, if it ended in order. */
static void note_end(struct covey_process *p, int reaped,
                     const struct cvy_os_exit *ended)
{
    bool left = false;
    int status = 255;
    cvy_member_release(p->member, &left, &status);
    if (!left && cvy_process_has(p, CVY_PROCESS_LEFT)) {
        left = true;
        status = p->exit_status;
    }
    if (reaped >= 0) {
        p->exit_status = ended->status;
        p->user_time = ended->user_time;
        p->system_time = ended->system_time;
        p->max_rss = ended->max_rss;
        if (ended->core_dumped)
            atomic_fetch_or(&p->flags, CVY_PROCESS_CORE_DUMPED);
    } else {
        p->exit_status = left ? status : 255;
        if (!left)
            atomic_fetch_or(&p->flags, CVY_PROCESS_STATUS_UNKNOWN);
    }
}

/* Destructors of the program's may still run at the end of a thread, and may use covey, so who
 * waits for them holds no lock. Of two that wait for each other, or one that waits for itself,
 * one is told so. pthread_join is a cancellation point. */
static void end_thread(pthread_t thread, bool may_wait)
{
    int cancel;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    if (!may_wait || pthread_join(thread, NULL) == EDEADLK)
        (void)pthread_detach(thread);
    (void)pthread_setcancelstate(cancel, NULL);
}

/* Lock held; it has ended, and the caller ends its thread. The object may be gone afterwards.
 * Returns: false if it cannot be reaped yet, as somebody else who traces it has to be told of
 * its end first. */
static bool reap(struct cvy_child *child)
{
    struct covey_process *p = child->process;
    struct cvy_os_exit ended = {0};
    if (p->method != COVEY_THREAD) {
        /* Not by its sentinel, which the program may have replaced by anything. */
        int r = cvy_os_wait_child(p->pid, -1, 0, &ended);
        if (r == -ETIMEDOUT)
            return false;
        note_end(p, r, &ended);
        if (cvy_process_has(p, CVY_PROCESS_CAPTURE))
            cvy_capture_collect(p, &child->tail_fd);
        cvy_os_close_kept(&child->tail_fd);
    }
    cvy_children_remove(child);
    atomic_store(&p->state, CVY_PROCESS_STOPPED);
    if (child->released) {
        p->local = 0;
        cvy_child_free(child); /* which is part of the object */
        (void)cvy_object_release(p);
    }
    return true;
}

static int await_end(struct covey_process *p, struct cvy_child *child, int64_t deadline)
{
    if (p->method != COVEY_THREAD)
        return cvy_os_await_end(p->pid, deadline);
    while (!atomic_load(&child->thread_done)) {
        struct cvy_os_wait wait = {&child->thread_done, 0};
        if (cvy_os_now() >= deadline)
            return -ETIMEDOUT;
        (void)cvy_os_futex_waitv(&wait, 1, deadline);
    }
    return 0;
}

int cvy_process_wait(struct covey_process *p, int64_t deadline)
{
    for (bool over = atomic_load(&p->state) == CVY_PROCESS_STOPPED; !over;) {
        struct cvy_child *child = cvy_process_local(p);
        bool is_thread = p->method == COVEY_THREAD;
        if (await_end(p, child, deadline) == -ETIMEDOUT)
            return -ETIMEDOUT;
        cvy_children_lock();
        bool is_mine = atomic_load(&p->state) == CVY_PROCESS_STARTED;
        pthread_t thread = child->thread;
        bool may_wait =
            child->thread_done != CVY_THREAD_STAYS && cvy_os_now() < deadline;
        over = !is_mine || reap(child);
        cvy_children_unlock();
        if (is_mine && is_thread)
            end_thread(thread, may_wait);
    }
    cvy_capture_show();
    return 0;
}

void cvy_children_reap(void)
{
    cvy_children_lock();
    for (struct cvy_child *c = cvy_children(), *next; c; c = next) {
        next = c->next;
        if (await_end(c->process, c, 0) == -ETIMEDOUT)
            continue;
        if (c->process->method == COVEY_THREAD)
            end_thread(c->thread, false);
        (void)reap(c);
    }
    cvy_children_unlock();
    cvy_capture_show();
}

/* ---- waiting ---- */

static bool is_parent(const struct covey_process *p)
{
    struct covey_process *self = cvy_self();
    return self && self->parent && cvy_at(self->parent) == p;
}

/* When a parent ends, its children are given to another. (0: it is in another namespace.) */
static bool parent_has_ended(int pid)
{
    int parent = cvy_os_ppid();
    return parent && parent != pid;
}

static int await_parent(struct covey_process *parent, int64_t deadline)
{
    static cvy_word never;
    int pid = cvy_self()->parent_pid, fd = cvy_os_pidfd_open(pid), r = 0;
    bool ended = parent_has_ended(pid); /* else `fd` is the parent's */
    if (!ended && fd >= 0) {
        r = cvy_os_poll_in(fd, deadline);
        r = r > 0 ? 0 : r < 0 ? r : -ETIMEDOUT;
    }
    cvy_os_close(fd);
    if (ended || fd >= 0)
        return r;
    for (uint32_t gong = cvy_gong(); r >= 0 && !parent_has_ended(pid);
         gong = cvy_gong())
        r = cvy_sleep(&never, 0, gong, deadline, cvy_ref_of(parent));
    return r < 0 ? r : 0;
}

int covey_process_join(covey_process *p, covey_nsec timeout)
{
    static const char call[] = "covey_process_join";
    int r = cvy_process_enter(p, call, 0);
    if (r < 0)
        return r;
    if (p == cvy_self())
        return cvy_fail(COVEY_ESTATE, "%s: a process cannot wait for itself", call);
    int64_t deadline = cvy_os_deadline(timeout);
    if (is_parent(p) && p->member == cvy_member_owner())
        return cvy_fail(COVEY_ESTATE, "%s: %s cannot end before this thread", call,
                        p->name);
    if (is_parent(p)) {
        r = await_parent(p, deadline);
    } else {
        r = cvy_process_enter(p, call,
                              CVY_WANT_OWNER | CVY_WANT_OPEN | CVY_WANT_STARTED);
        if (r < 0)
            return r;
        r = cvy_process_wait(p, deadline);
    }
    return r == -ETIMEDOUT ? cvy_fail(r, "%s: %s still runs", call, p->name) : r;
}

int covey_process_is_alive(covey_process *p)
{
    static const char call[] = "covey_process_is_alive";
    int r = cvy_process_enter(p, call, 0);
    if (r < 0)
        return r;
    if (p == cvy_self())
        return 1;
    if (is_parent(p))
        return p->member == cvy_member_owner() ||
               !parent_has_ended(cvy_self()->parent_pid);
    r = cvy_process_enter(p, call, CVY_WANT_OWNER | CVY_WANT_OPEN);
    if (r < 0)
        return r;
    if (atomic_load(&p->state) <= CVY_PROCESS_STARTING)
        return 0;
    return cvy_process_wait(p, 0) == -ETIMEDOUT;
}

int covey_process_exitcode(covey_process *p, int *ret_exitcode)
{
    static const char call[] = "covey_process_exitcode";
    int r = cvy_process_enter_for(p, call, ret_exitcode,
                                  CVY_WANT_OWNER | CVY_WANT_OPEN | CVY_WANT_STARTED);
    if (r < 0)
        return r;
    if (cvy_process_wait(p, 0) == -ETIMEDOUT)
        return cvy_fail(-EBUSY, "%s: %s still runs", call, p->name);
    *ret_exitcode = p->exit_status;
    return 0;
}

/* ---- sentinel ---- */

/* Where the system has no pidfds (or denies them), a thread waits instead. */
struct watch {
    int pid;
    struct cvy_os_kept_fd bell;
};

static void *watch_end(void *arg)
{
    struct watch watch = *(struct watch *)arg;
    uint64_t one = 1;
    cvy_free(arg);
    (void)cvy_os_await_end(watch.pid, INT64_MAX);
    if (cvy_os_is_kept(&watch.bell))
        (void)cvy_os_write_all(watch.bell.fd, &one, sizeof one);
    cvy_os_close_kept(&watch.bell);
    return NULL;
}

static int sentinel_by_thread(int pid)
{
    int ends[2];
    struct watch *watch = cvy_malloc(sizeof *watch);
    int r = watch ? cvy_os_pipe(ends) : -ENOMEM;
    if (r < 0) {
        cvy_free(watch);
        return r;
    }
    *watch = (struct watch){pid, cvy_os_keep(ends[1])};
    r = cvy_os_run_aside(watch_end, watch);
    if (r < 0) {
        cvy_os_close(ends[0]);
        cvy_os_close(ends[1]);
        cvy_free(watch);
        return r;
    }
    return ends[0];
}

/* Lock held. */
static int make_sentinel(struct covey_process *p, struct cvy_child *child)
{
    if (atomic_load(&p->state) == CVY_PROCESS_STOPPED)
        return cvy_os_ready_fd();
    if (p->method == COVEY_THREAD)
        return cvy_thread_sentinel(child);
    int fd = cvy_os_pidfd_open(p->pid);
    if (cvy_os_await_end(p->pid, 0) == -ECHILD) { /* the number may be another's */
        cvy_os_close(fd);
        return cvy_os_ready_fd();
    }
    if (fd < 0 && fd != -EMFILE && fd != -ENFILE && fd != -ENOMEM && fd != -ESRCH)
        fd = sentinel_by_thread(p->pid);
    return fd == -ESRCH ? cvy_os_ready_fd() : fd;
}

int covey_process_sentinel(covey_process *p, int *ret_fd)
{
    static const char call[] = "covey_process_sentinel";
    int r = cvy_process_enter_for(p, call, ret_fd, CVY_WANT_OPEN);
    if (r < 0)
        return r;
    if (p == cvy_self())
        return cvy_fail(-ENOTSUP, "%s: a process has none for itself", call);
    r = cvy_process_enter(p, call, CVY_WANT_OWNER | CVY_WANT_STARTED);
    if (r < 0)
        return r;
    cvy_children_lock();
    struct cvy_child *child = cvy_process_local(p);
    if (child->sentinel < 0)
        child->sentinel = make_sentinel(p, child);
    int fd = child->sentinel;
    cvy_children_unlock();
    if (fd < 0)
        return cvy_fail_os(fd, "%s of %s", call, p->name);
    *ret_fd = fd;
    return 0;
}

/* ---- signals ---- */

/* The program may have reaped it, or the system as SIGCHLD is ignored, and its number is
 * another's then. A pidfd taken before it is seen to be a child keeps it from being so until
 * the signal is sent. */
int cvy_process_signal(struct covey_process *p, int signal)
{
    if (atomic_load(&p->state) != CVY_PROCESS_STARTED)
        return 0;
    int pidfd = cvy_os_pidfd_open(p->pid), r = 0;
    if (cvy_os_await_end(p->pid, 0) == -ETIMEDOUT)
        r = cvy_os_kill(p->pid, pidfd, signal);
    cvy_os_close(pidfd);
    return r == -ESRCH ? 0 : r;
}

static int send_signal(struct covey_process *p, int signal, const char *call)
{
    int r =
        cvy_process_enter(p, call, CVY_WANT_OWNER | CVY_WANT_OPEN | CVY_WANT_STARTED);
    if (r < 0)
        return r;
    if (p->method == COVEY_THREAD)
        return cvy_fail(-ENOTSUP, "%s: %s is a thread", call, p->name);
    cvy_children_lock();
    r = cvy_process_signal(p, signal);
    cvy_children_unlock();
    return r < 0 ? cvy_fail_os(r, "%s: %s, pid %d", call, p->name, p->pid) : 0;
}

int covey_process_terminate(covey_process *p)
{
    return send_signal(p, SIGTERM, "covey_process_terminate");
}
int covey_process_kill(covey_process *p)
{
    return send_signal(p, SIGKILL, "covey_process_kill");
}
int covey_process_interrupt(covey_process *p)
{
    return send_signal(p, SIGINT, "covey_process_interrupt");
}
