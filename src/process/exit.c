/* SPDX-License-Identifier: MIT */
/* exit.c: exit hooks and the order of an end.
 *
 *   hooks with priority >= 0
 *   pools end their workers; what is pending there is cancelled
 *   daemons get SIGTERM; all children are awaited, daemons that do not end are killed
 *   the fork server ends
 *   hooks with priority < 0
 *   named memory is left, and the paths of listeners are removed
 *   stdout and stderr are flushed
 *   the process leaves the family
 *
 * It runs once per process, from the end of a child's target, covey_exit, or libc's exit(),
 * to which it is registered once per program: a fork child inherits the registration. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "memory/memory.h"
#include "process/process.h"
#include "region/member.h"

#define DAEMON_PATIENCE COVEY_SEC(5)

struct hook {
    struct hook *next;
    covey_target_fn *fn;
    int priority;
    size_t size;
    _Alignas(16) unsigned char arg[];
};

static struct hook *hooks; /* highest priority first, then last one first */
/* Of all ancestors; never run. Volatile, or the compiler drops what nobody reads: leak
 * checkers do. */
static struct hook *volatile inherited_hooks;
static bool registered; /* also in a fork child; under hooks_mutex */

CVY_CHILD_CODE void cvy_exit_forget(void)
{
    struct hook **end = &hooks;
    if (!hooks) /* writing would copy a page */
        return;
    while (*end)
        end = &(*end)->next;
    *end = inherited_hooks;
    inherited_hooks = hooks;
    hooks = NULL;
}

int covey_at_exit(covey_target_fn *fn, struct covey_view arg, int priority)
{
    if (!fn || (arg.size && !arg.data))
        return cvy_fail(-EINVAL, "covey_at_exit: the function or its argument is NULL");
    int r = cvy_enter();
    if (r < 0)
        return r;
    struct hook *hook = cvy_malloc(sizeof *hook + arg.size);
    if (!hook)
        return cvy_fail(-ENOMEM, "covey_at_exit: no memory");
    hook->fn = fn;
    hook->priority = priority;
    hook->size = arg.size;
    if (arg.size)
        memcpy(hook->arg, arg.data, arg.size);
    cvy_exit_prepare();
    (void)pthread_mutex_lock(&cvy_own()->hooks_mutex);
    struct hook **at = &hooks;
    while (*at && (*at)->priority > priority)
        at = &(*at)->next;
    hook->next = *at;
    *at = hook;
    (void)pthread_mutex_unlock(&cvy_own()->hooks_mutex);
    return 0;
}

/* The first hook, out of the list, if its priority is at least `least`. */
static struct hook *take_hook(int least)
{
    (void)pthread_mutex_lock(&cvy_own()->hooks_mutex);
    struct hook *hook = hooks;
    if (hook && hook->priority < least)
        hook = NULL;
    if (hook)
        hooks = hook->next;
    (void)pthread_mutex_unlock(&cvy_own()->hooks_mutex);
    return hook;
}

static void run_hooks(int least)
{
    for (struct hook *hook = take_hook(least); hook; hook = take_hook(least)) {
        struct covey_view arg = {hook->size ? hook->arg : NULL, hook->size};
        (void)hook->fn(arg);
        cvy_free(hook);
    }
}

static void (*_Atomic before_daemons)(void); /* also in a fork child */

void cvy_exit_set_before_daemons(void (*fn)(void))
{
    atomic_store(&before_daemons, fn);
}

static void end_what_starts_daemons(void)
{
    void (*fn)(void) = atomic_load(&before_daemons);
    if (fn)
        fn();
}

static void terminate_daemons(void)
{
    cvy_children_lock();
    for (struct cvy_child *c = cvy_children(); c; c = c->next)
        if (cvy_process_has(c->process, CVY_PROCESS_DAEMON) &&
            c->process->method != COVEY_THREAD)
            (void)cvy_process_signal(c->process, SIGTERM);
    cvy_children_unlock();
}

/* A child to wait for: daemons first, whose time is limited, since others may wait for
 * them. Thread daemons just go down with the process. */
static struct covey_process *next_child(void)
{
    struct covey_process *daemon = NULL, *other = NULL;
    cvy_children_lock();
    for (struct cvy_child *c = cvy_children(); c && !daemon; c = c->next) {
        if (!cvy_process_has(c->process, CVY_PROCESS_DAEMON))
            other = c->process;
        else if (c->process->method != COVEY_THREAD)
            daemon = c->process;
    }
    cvy_children_unlock();
    return daemon ? daemon : other;
}

static void join_children(void)
{
    int64_t patience = 0;
    for (struct covey_process *p = next_child(); p; p = next_child()) {
        bool daemon = cvy_process_has(p, CVY_PROCESS_DAEMON);
        if (!patience)
            patience = cvy_os_deadline(DAEMON_PATIENCE);
        if (cvy_process_wait(p, daemon ? patience : INT64_MAX) != -ETIMEDOUT)
            continue;
        (void)covey_log(COVEY_LOG_WARNING, "%s did not end by SIGTERM and is killed",
                        p->name);
        cvy_children_lock();
        (void)cvy_process_signal(p, SIGKILL);
        cvy_children_unlock();
        (void)cvy_process_wait(p, INT64_MAX);
    }
}

/* Looking first costs no lock and, after a fork, no copied page. Flushing is a
 * cancellation point. */
CVY_CHILD_CODE void cvy_flush_streams(void)
{
    int cancel;
    if (!cvy_os_has_output(stdout) && !cvy_os_has_output(stderr))
        return;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    fflush(stdout);
    fflush(stderr);
    (void)pthread_setcancelstate(cancel, NULL);
}

static void log_exit(int status)
{
    if (cvy_log_is_on(COVEY_LOG_INFO))
        (void)covey_log(COVEY_LOG_INFO, "process exiting with exit code %d", status);
}

/* A child that never made a covey call has no hooks and no children. A process that the
 * program forked is no child of covey's. */
CVY_CHILD_CODE static void end_unattached(int status)
{
    struct covey_process *p = cvy_self_unattached();
    if (!p)
        return;
    p->exit_status = status;
    atomic_fetch_or(&p->flags, CVY_PROCESS_LEFT);
    cvy_memory_end_if_used();
    log_exit(status);
    cvy_flush_streams();
}

/* What ends the process is one thread's work. Another one must not return, or it would end
 * the process under the first: it stays here, as POSIX.1-2024 wants of exit().
 * Returns: whether it is this one's; no if it was before. */
CVY_CHILD_CODE static bool begin_end(void)
{
    uint32_t none = 0, me = (uint32_t)cvy_os_tid();
    if (atomic_compare_exchange_strong(&cvy_own()->ending, &none, me))
        return true;
    while (none != me)
        (void)cvy_os_futex_wait_for(&cvy_own()->ending, none, COVEY_FOREVER);
    return false;
}

CVY_CHILD_CODE void cvy_process_end(int status)
{
    if (cvy_self_thread())
        cvy_thread_exits_process(status);
    if (!begin_end() || !cvy_process_page)
        return;
    if (!atomic_load(&cvy_process_page->epoch)) {
        end_unattached(status);
        return;
    }
    if (cvy_enter() < 0) /* the thread that ends the process may be new to covey */
        return;
    run_hooks(0);
    end_what_starts_daemons();
    terminate_daemons();
    join_children();
    cvy_forkserver_stop();
    run_hooks(INT_MIN);
    cvy_leave_call();
    cvy_memory_end_if_used();
    log_exit(status);
    cvy_flush_streams();
    cvy_capture_finish();
    cvy_member_leave(status);
}

/* libc has taken it off its list, so another thread that calls exit() meanwhile would not
 * come here. */
static void at_exit(int status, void *unused)
{
    (void)unused;
    if (atomic_load(&cvy_own()->ending) != (uint32_t)cvy_os_tid())
        (void)on_exit(at_exit, NULL);
    cvy_process_end(status & 0xff);
}

CVY_CHILD_CODE void cvy_exit_prepare(void)
{
    if (__atomic_load_n(&registered, __ATOMIC_ACQUIRE))
        return;
    (void)pthread_mutex_lock(&cvy_own()->hooks_mutex);
    if (!registered)
        __atomic_store_n(&registered, on_exit(at_exit, NULL) == 0, __ATOMIC_RELEASE);
    (void)pthread_mutex_unlock(&cvy_own()->hooks_mutex);
}

void covey_exit(int code)
{
    if (cvy_self_thread())
        cvy_thread_end(code & 0xff);
    if (cvy_child_is_fork())
        cvy_child_end(code & 0xff);
    exit(code);
}
