/* SPDX-License-Identifier: MIT */
/* start_fork.c: a child by libc's fork().
 *
 * There is no gate at which the child waits for its parent: whichever comes first enters
 * the pid in the child's member record, by a compare-and-swap, and a child whose record
 * was given up meanwhile (its parent died and somebody noticed) ends at once. */
#include <errno.h>

#include "base/base.h"
#include "base/error.h"
#include "process/process.h"
#include "region/member.h"

CVY_CHILD_CODE static void live_as_child(struct covey_process *p, int lifeline,
                                         const int tail[2])
{
    struct cvy_child_plan plan = {
        .process = p,
        .member = p->member,
        .lifeline = lifeline,
        .stderr_read = tail[0],
        .stderr_write = tail[1],
        .reply = -1,
    };
    cvy_child_live(&plan);
}

CVY_CHILD_CODE static int fork_it(struct covey_process *p, struct cvy_child *child,
                                  int lifeline, const int tail[2])
{
    cvy_capture_fork_begins(p);
    int pid = cvy_os_fork();
    cvy_capture_fork_ends();
    if (pid < 0)
        return cvy_fail_os(pid, "fork");
    if (pid == 0)
        live_as_child(p, lifeline, tail);
    cvy_member_set_pid(p->member, pid);
    p->pid = pid;
    child->tail_fd = cvy_os_keep(tail[0]);
    if (!cvy_start_waits(p))
        return 0;
    int r = cvy_start_await_setup(p);
    if (r < 0) {
        cvy_start_undo(pid);
        child->tail_fd.fd = -1;
    }
    return r;
}

CVY_CHILD_CODE int cvy_start_fork(struct covey_process *p, struct cvy_child *child)
{
    int tail[2] = {-1, -1}, lifeline = -1, r = cvy_self_make_authkey();
    if (r < 0)
        return r;
    lifeline = cvy_lifeline_for(p);
    if (lifeline < -1)
        return lifeline;
    if (cvy_process_has(p, CVY_PROCESS_CAPTURE)) {
        r = cvy_os_pipe(tail);
        if (r < 0)
            return cvy_fail_os(r, "a pipe for its stderr");
    }
    r = fork_it(p, child, lifeline, tail);
    cvy_os_close(tail[1]);
    if (r < 0)
        cvy_os_close(tail[0]);
    return r;
}
