/* SPDX-License-Identifier: MIT */
/* start.c: what every start does before and after its method's own part.
 *
 *   INITIAL -> STARTING -> STARTED        the caller owns the step to STARTING
 *                      \-> INITIAL        it failed: no child, no member, no holds left
 *
 * The child's member and its holds are made before the child exists, so that nobody can
 * free what the child is about to use, and a starter that dies leaves a member that
 * others recognize as dead. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/log.h"
#include "os/fork.h"
#include "process/process.h"
#include "region/member.h"
#include "region/object.h"
#include "region/wait.h"

/* The pipe whose read end the children watch. Both ends are this process's: none before
 * the first start that needs it, and a new pipe when the program closed one of them. */
static struct cvy_os_kept_fd lifeline_read = {.fd = -1}, lifeline_write = {.fd = -1};
static pthread_mutex_t lifeline_mutex = PTHREAD_MUTEX_INITIALIZER;

/* A child that the program forks by itself must not keep the pipe open, also where another
 * thread is just making it. */
__attribute__((constructor)) static void guard_forks(void)
{
    static struct cvy_os_fork_guard guard = {.mutex = &lifeline_mutex,
                                             .in_child = cvy_lifeline_drop_write};
    cvy_os_guard_forks(&guard);
}

/* Lock held. */
static int make_lifeline(void)
{
    int ends[2];
    (void)pthread_mutex_lock(&lifeline_mutex);
    int r = cvy_os_pipe(ends);
    if (r >= 0) {
        cvy_lifeline_drop();
        lifeline_read = cvy_os_keep(ends[0]);
        lifeline_write = cvy_os_keep(ends[1]);
    }
    (void)pthread_mutex_unlock(&lifeline_mutex);
    return r < 0 ? r : 0;
}

int cvy_lifeline(void)
{
    int r = 0;
    cvy_children_lock();
    if (!cvy_os_is_kept(&lifeline_read) || !cvy_os_is_kept(&lifeline_write))
        r = make_lifeline();
    int fd = lifeline_read.fd;
    cvy_children_unlock();
    return r < 0 ? cvy_fail_os(r, "the life-line pipe") : fd;
}

CVY_CHILD_CODE bool cvy_lifeline_is_needed(const struct covey_process *p)
{
    return cvy_process_has(p, CVY_PROCESS_DIES_WITH_PARENT) &&
           (cvy_process_has(p, CVY_PROCESS_WANTS_LIFELINE) ||
            !cvy_process_has(p, CVY_PROCESS_BY_MAIN_THREAD));
}

int cvy_lifeline_for(const struct covey_process *p)
{
    if (!cvy_lifeline_is_needed(p))
        return -1;
    int r = cvy_lifeline();
    return r == -1 ? -EIO : r;
}

/* The kernel's parent-death signal costs a child next to nothing, but it follows the
 * thread that started it. The first thread lives as long as the process, unless it calls
 * pthread_exit; then it stays until the children that rely on it have ended. */
static void outlast_children(void *unused)
{
    static cvy_word never;
    (void)unused;
    while (cvy_enter() >= 0 && cvy_os_thread_count() > 1) {
        bool relied_on = false;
        cvy_children_reap();
        cvy_children_lock();
        for (struct cvy_child *c = cvy_children(); c && !relied_on; c = c->next)
            relied_on = cvy_process_has(c->process, CVY_PROCESS_BY_MAIN_THREAD);
        cvy_children_unlock();
        if (!relied_on)
            return;
        (void)cvy_sleep(&never, 0, cvy_gong(), cvy_os_deadline(COVEY_MSEC(20)), 0);
    }
}

static pthread_key_t main_thread_key;
static pthread_once_t main_thread_once = PTHREAD_ONCE_INIT;
static bool main_thread_guarded;

static void make_key(void)
{
    main_thread_guarded = pthread_key_create(&main_thread_key, outlast_children) == 0;
}

bool cvy_lifeline_is_main_thread(void)
{
    if (cvy_os_tid() != cvy_os_pid())
        return false;
    (void)pthread_once(&main_thread_once, make_key);
    return main_thread_guarded &&
           (pthread_getspecific(main_thread_key) ||
            pthread_setspecific(main_thread_key, &main_thread_key) == 0);
}

CVY_CHILD_CODE void cvy_lifeline_drop_write(void)
{
    cvy_os_close_kept(&lifeline_write);
}

CVY_CHILD_CODE void cvy_lifeline_drop(void)
{
    cvy_os_close_kept(&lifeline_read);
    cvy_os_close_kept(&lifeline_write);
}

const char *cvy_start_what(const struct covey_process *p, char *text, size_t size)
{
    snprintf(text, size, "starting %s by %s", p->name,
             covey_start_method_name((enum covey_start_method)p->method));
    return text;
}

void cvy_start_undo(int pid)
{
    struct cvy_os_exit ended;
    (void)cvy_os_kill(pid, -1, 9);
    (void)cvy_os_wait_child(pid, -1, INT64_MAX, &ended);
}

CVY_CHILD_CODE bool cvy_start_waits(const struct covey_process *p)
{
    return p->cpus[0] || p->child.fd_count ||
           cvy_process_has(p, CVY_PROCESS_NEW_GROUP | CVY_PROCESS_CAPTURE) ||
           cvy_process_has_limits(&p->limits) || p->context ||
           p->code.kind == CVY_CODE_SHARED;
}

int cvy_start_await_setup(struct covey_process *p)
{
    bool ask_kernel = false;
    for (;;) {
        uint32_t gong = cvy_gong(), setup = atomic_load(&p->setup);
        if (setup == 1)
            return 0;
        if (setup == 2)
            return cvy_fail(p->setup_error, "%s", p->setup_text);
        /* It may have said so and ended since. */
        if (cvy_member_is_dead(p->member, ask_kernel) && !atomic_load(&p->setup))
            return cvy_fail(COVEY_ESTART, "the child ended before it was set up");
        int r = cvy_sleep(&p->setup, 0, gong, INT64_MAX, cvy_ref_of(p));
        ask_kernel = r == CVY_SLICE;
    }
}

/* ---- members and holds ---- */

static int copy_listed_holds(const struct cvy_child *child, uint32_t member)
{
    if (child->holds[0] == COVEY_NO_HOLDS)
        return 0;
    for (size_t i = 0; i < 16 && child->holds[i]; i++) {
        int r = cvy_object_hold(child->holds[i], member, ".holds");
        if (r < 0)
            return r;
    }
    return 0;
}

/* The member that the child will be, with all that it holds from its birth. */
static int make_member(struct covey_process *p, const struct cvy_child *child)
{
    uint32_t member = 0;
    int r = cvy_member_new(p->name, &member);
    if (r < 0)
        return r;
    p->member = member;
    r = cvy_object_hold(p, member, "start");
    if (r >= 0)
        r = cvy_object_hold(cvy_at(p->parent), member, "start");
    if (r >= 0)
        r = cvy_process_has(p, CVY_PROCESS_OWN_HOLDS)
                ? copy_listed_holds(child, member)
                : cvy_holds_copy(cvy_member_owner(), member);
    if (r < 0) {
        cvy_member_release(member, NULL, NULL);
        p->member = 0;
    }
    return r;
}

/* ---- starting ---- */

static int start_by_method(struct covey_process *p, struct cvy_child *child)
{
    int r = make_member(p, child);
    if (r < 0)
        return r;
    switch (p->method) {
    case COVEY_SPAWN:
        r = cvy_start_spawn(p, child);
        break;
    case COVEY_FORKSERVER:
        r = cvy_start_forkserver(p, child);
        break;
    default:
        r = cvy_start_fork(p, child);
    }
    if (r < 0) {
        cvy_member_release(p->member, NULL, NULL);
        p->member = 0;
    }
    return r;
}

static int check_startable(struct covey_process *p)
{
    const char *call = "covey_process_start";
    int r = cvy_process_enter(p, call, CVY_WANT_OWNER | CVY_WANT_OPEN);
    if (r < 0)
        return r;
    if (cvy_process_has(cvy_self(), CVY_PROCESS_DAEMON) &&
        !cvy_process_has(cvy_self(), CVY_PROCESS_CHILDREN))
        return cvy_fail(COVEY_ESTATE,
                        "%s: daemonic processes may not have children; this "
                        "one is %s",
                        call, cvy_self()->name);
    bool by_exec = p->method == COVEY_SPAWN || p->method == COVEY_FORKSERVER;
    if (by_exec && !cvy_init_was_called())
        return cvy_fail(COVEY_ESTATE,
                        "%s: %s needs covey_init(argc, argv) as the first line "
                        "of main()",
                        call,
                        covey_start_method_name((enum covey_start_method)p->method));
    if (by_exec && cvy_os_makes_secure())
        return cvy_fail(-EPERM,
                        "%s: with raised privileges only fork works: a program that is "
                        "run with them is never a child",
                        call);
    return 0;
}

int covey_process_start(covey_process *p)
{
    uint32_t initial = CVY_PROCESS_INITIAL;
    int r = check_startable(p);
    if (r < 0)
        return r;
    if (!atomic_compare_exchange_strong(&p->state, &initial, CVY_PROCESS_STARTING))
        return cvy_fail(COVEY_ESTATE, "covey_process_start: %s was started before",
                        p->name);
    struct cvy_child *child = cvy_process_local(p);
    cvy_exit_prepare();
    cvy_crash_handler_prepare();
    cvy_os_null_prepare();
    cvy_flush_streams();
    atomic_store(&p->setup, 0);
    if (cvy_lifeline_is_main_thread())
        atomic_fetch_or(&p->flags, CVY_PROCESS_BY_MAIN_THREAD);
    else /* it may have tried, and failed */
        atomic_fetch_and(&p->flags, ~(uint32_t)CVY_PROCESS_BY_MAIN_THREAD);
    r = p->method == COVEY_THREAD ? cvy_start_thread(p, child)
                                  : start_by_method(p, child);
    if (r < 0) {
        char what[128];
        cvy_detail_prefix("%s", cvy_start_what(p, what, sizeof what));
        p->pid = 0;
        atomic_store(&p->state, CVY_PROCESS_INITIAL);
        return r;
    }
    cvy_children_lock();
    cvy_children_add(child);
    atomic_store(&p->state, CVY_PROCESS_STARTED);
    cvy_children_unlock();
    if (cvy_log_is_on(COVEY_LOG_DEBUG)) /* its line is a page of stack to copy */
        (void)covey_log(COVEY_LOG_DEBUG, "started %s, pid %d, by %s", p->name, p->pid,
                        covey_start_method_name((enum covey_start_method)p->method));
    return 0;
}
