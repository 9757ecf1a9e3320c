/* SPDX-License-Identifier: MIT */
/* child.c: the life of a child, from its first instruction of ours to its end.
 *
 * Order: watch the parent's life-line; forget what the memory image says of the parent;
 * attach as the member the starter made; set up (stdin, stderr, group, limits,
 * processors, crash handler); say so; run the target; end in order.
 * What fails before the target runs becomes the result of the starter's call. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "process/message.h"
#include "region/member.h"

/* How this process ends; of a child only. */
enum { NO_CHILD, CHILD_BY_FORK, CHILD_BY_EXEC };

bool cvy_child_is_fork(void)
{
    return cvy_own()->birth == CHILD_BY_FORK;
}

/* The parent may be dead already, which nothing tells any more. */
CVY_CHILD_CODE static void die_with_thread(const struct covey_process *p)
{
    if (cvy_os_die_with_thread(p->parent_pid) == -ESRCH)
        cvy_os_die();
}

CVY_CHILD_CODE static void watch_parent(const struct cvy_child_plan *plan)
{
    static const uint32_t both =
        CVY_PROCESS_DIES_WITH_PARENT | CVY_PROCESS_BY_MAIN_THREAD;
    const struct covey_process *p = plan->process;
    if ((atomic_load(&p->flags) & both) == both)
        die_with_thread(p);
    if (plan->lifeline < 0)
        return;
    cvy_lifeline_drop_write();
    int r = cvy_os_die_with_pipe(plan->lifeline);
    if (r == -EPIPE)
        cvy_os_die();
    if (r < 0)
        die_with_thread(p);
    if (plan->owns_lifeline)
        cvy_os_close(plan->lifeline);
}

CVY_CHILD_CODE static int set_stdin(void)
{
    int r = cvy_os_null_to_stdin();
    if (r >= 0)
        return 0;
    int null = cvy_os_open_null();
    if (null < 0)
        return cvy_fail_os(null, "the null device for its stdin");
    r = cvy_os_dup_to(null, 0);
    cvy_os_close(null);
    return r < 0 ? cvy_fail_os(r, "its stdin") : 0;
}

static int set_limit(enum cvy_os_limit which, uint64_t value, const char *name)
{
    int r = value ? cvy_os_set_limit(which, value) : 0;
    return r < 0 ? cvy_fail_os(r, "its limit of %s", name) : 0;
}

CVY_CHILD_CODE static int set_limits(const struct covey_limits *l)
{
    int r = set_limit(CVY_OS_LIMIT_CPU, l->cpu_seconds, "processor time");
    if (r >= 0)
        r = set_limit(CVY_OS_LIMIT_DATA, l->data_bytes, "data");
    if (r >= 0)
        r = set_limit(CVY_OS_LIMIT_STACK, l->stack_bytes, "stack");
    if (r >= 0)
        r = set_limit(CVY_OS_LIMIT_FILE, l->file_bytes, "file size");
    if (r >= 0)
        r = set_limit(CVY_OS_LIMIT_OPEN, l->open_files, "open files");
    if (r >= 0 && l->core_dumps == COVEY_OFF)
        r = cvy_os_set_limit(CVY_OS_LIMIT_CORE, 0);
    return r;
}

CVY_CHILD_CODE static int set_up(const struct cvy_child_plan *plan)
{
    struct covey_process *p = plan->process;
    int r = cvy_process_has(p, CVY_PROCESS_KEEP_STDIN) ? 0 : set_stdin();
    if (r >= 0 && cvy_process_has(p, CVY_PROCESS_NEW_GROUP)) {
        r = cvy_os_new_group();
        if (r < 0)
            return cvy_fail_os(r, "its process group");
    }
    if (r >= 0 && p->cpus[0]) {
        r = cvy_os_set_cpus(p->cpus);
        if (r < 0)
            return cvy_fail_os(r, "its processors %s", p->cpus);
    }
    if (r >= 0)
        r = set_limits(&p->limits);
    if (r >= 0 && plan->stderr_read >= 0)
        r = cvy_capture_begin(p, plan->stderr_read, plan->stderr_write);
    if (r < 0)
        return r;
    if (cvy_process_has(p, CVY_PROCESS_CRASH_HANDLER)) {
        if (!plan->prepared)
            cvy_crash_handler_install();
    } else if (plan->prepared) {
        cvy_os_off_crash();
    }
    return 0;
}

CVY_CHILD_CODE static int find_target(const struct covey_process *p)
{
    cvy_code_fn *fn;
    return p->code.kind == CVY_CODE_NONE ? 0 : cvy_code_decode(&p->code, &fn);
}

/* Returns: `result`, or that it could not be said. */
CVY_CHILD_CODE static int say(const struct cvy_child_plan *plan, int result)
{
    struct covey_process *p = plan->process;
    struct cvy_start_reply reply = {.code = result};
    int r = 0;
    if (result < 0) {
        snprintf(reply.text, sizeof reply.text, "%s", covey_error_detail());
        p->setup_error = result;
        memcpy(p->setup_text, reply.text, sizeof p->setup_text - 1);
    }
    atomic_store(&p->setup, result < 0 ? 2 : 1);
    if (plan->reply < 0 && cvy_start_waits(p))
        (void)cvy_os_futex_wake(&p->setup, 1);
    if (plan->reply >= 0) {
        r = cvy_os_send(plan->reply, &reply, sizeof reply, NULL, 0);
        cvy_os_close(plan->reply);
    }
    return result < 0 ? result : r;
}

CVY_CHILD_CODE int cvy_process_run(struct covey_process *p)
{
    cvy_code_fn *fn = NULL;
    if (p->code.kind == CVY_CODE_NONE)
        return 0;
    if (cvy_code_decode(&p->code, &fn) < 0) {
        (void)covey_log(COVEY_LOG_ERROR, "%s: %s", p->name, covey_error_detail());
        return 1;
    }
    struct covey_view arg = {p->arg_size ? cvy_at(p->arg) : NULL, p->arg_size};
    return (int)((unsigned)((covey_target_fn *)fn)(arg)&0xffu);
}

CVY_CHILD_CODE void cvy_child_end(int status)
{
    if (cvy_own()->birth == CHILD_BY_EXEC)
        exit(status);
    cvy_process_end(status);
    cvy_os_exit(status);
}

/* Whether somebody may ask about this member before it makes a covey call: a starter that
 * waits for the set-up, or others after a starter that did not live long enough to enter
 * the pid. */
CVY_CHILD_CODE static bool must_attach(const struct cvy_child_plan *plan)
{
    return plan->by_exec ||
           !cvy_process_has(plan->process, CVY_PROCESS_DIES_WITH_PARENT) ||
           cvy_start_waits(plan->process);
}

/* Unless the starter did: it may know this process by another number, from outside of a
 * namespace. */
CVY_CHILD_CODE static void note_pid(struct covey_process *p)
{
    int32_t none = 0;
    (void)__atomic_compare_exchange_n(&p->pid, &none, cvy_os_pid(), false,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void cvy_child_prepare(void)
{
    cvy_exit_prepare();
    cvy_os_null_prepare();
    cvy_crash_handler_install();
    cvy_self_forget(); /* a page that was never looked at is one to find at first */
}

CVY_CHILD_CODE void cvy_child_live(const struct cvy_child_plan *plan)
{
    struct covey_process *p = plan->process;
    if (!plan->watches)
        watch_parent(plan);
    cvy_self_forget();
    cvy_own()->birth = plan->by_exec ? CHILD_BY_EXEC : CHILD_BY_FORK;
    if (!must_attach(plan))
        cvy_attach_later(plan->member);
    else if (cvy_attach_as(plan->member) < 0)
        cvy_os_exit(1); /* given up by the starter, or by who found it dead */
    note_pid(p);
    cvy_self_become(p);
    cvy_exit_prepare();
    int r = set_up(plan);
    if (r >= 0)
        r = find_target(p);
    r = say(plan, r);
    if (r < 0) {
        cvy_process_end(1);
        cvy_os_exit(1);
    }
    if (cvy_log_is_on(COVEY_LOG_INFO))
        (void)covey_log(COVEY_LOG_INFO, "child process %s begins", p->name);
    cvy_child_end(cvy_process_run(p));
}
