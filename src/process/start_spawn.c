/* SPDX-License-Identifier: MIT */
/* start_spawn.c: a child by a fresh run of this program; see image.c. */
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/log.h"
#include "process/message.h"
#include "region/member.h"

static void note_pid(void *ctx, int pid)
{
    struct covey_process *p = ctx;
    p->pid = pid;
    cvy_member_set_pid(p->member, pid);
}

static int run_child(struct covey_process *p, const struct cvy_child *child,
                     int lifeline, const int tail[2])
{
    struct cvy_start_message m = {.role = CVY_ROLE_CHILD,
                                  .member = p->member,
                                  .object = cvy_ref_of(p),
                                  .has_lifeline = lifeline >= 0,
                                  .has_tail = tail[0] >= 0,
                                  .fd_count = (uint32_t)child->fd_count};
    int fds[CVY_MOST_FDS + 3];
    size_t count = 0;
    if (lifeline >= 0)
        fds[count++] = lifeline;
    if (tail[0] >= 0) {
        fds[count++] = tail[0];
        fds[count++] = tail[1];
    }
    for (size_t i = 0; i < child->fd_count; i++) {
        m.fd_numbers[i] = child->fds[i];
        fds[count++] = child->fds[i];
    }
    int pid = cvy_exec_image(&m, fds, count, p->name, (covey_nsec)p->start_timeout,
                             NULL, note_pid, p);
    return pid < 0 ? pid : 0;
}

int cvy_start_spawn(struct covey_process *p, struct cvy_child *child)
{
    int tail[2] = {-1, -1}, lifeline = -1, r = 0;
    lifeline = cvy_lifeline_for(p);
    if (lifeline < -1)
        return lifeline;
    if (r >= 0 && cvy_process_has(p, CVY_PROCESS_CAPTURE)) {
        r = cvy_os_pipe(tail);
        if (r < 0)
            r = cvy_fail_os(r, "a pipe for its stderr");
    }
    if (r >= 0)
        r = run_child(p, child, lifeline, tail);
    cvy_os_close(tail[1]);
    if (r >= 0)
        child->tail_fd = cvy_os_keep(tail[0]);
    else
        cvy_os_close(tail[0]);
    return r < 0 ? r : 0;
}
