/* SPDX-License-Identifier: MIT */
/* What the tests of covey in all sorts of host programs share. */
#ifndef TESTS_HOST_H
#define TESTS_HOST_H

#include <sched.h>

#include "process_help.h"

/* ---- processes by the method of the test ---- */

static inline covey_process *host_start(covey_target_fn *fn, struct covey_view arg)
{
    return started(fn, arg, OPTS(.name = NULL));
}

/* It ends with `code`; the object is dropped. */
static inline void host_ends(covey_process *p, int code)
{
    CHECK_OK(covey_process_join(p, COVEY_SEC(20)));
    CHECK_EQ(end_of(p), code);
}

/* A target: its argument is the exit code. */
static inline int host_return_arg(struct covey_view arg)
{
    return *(const int *)arg.data;
}

/* A target that never ends by itself. */
static inline int host_sleep(struct covey_view arg)
{
    (void)arg;
    family_pause();
}

/* A task of a pool: twice an int. */
static inline int host_double(struct covey_call *call)
{
    const int *x = covey_call_arg(call, NULL);
    int y = 2 * *x;
    return covey_call_return(call, &y, sizeof y);
}

/* One process that ends with `code`. */
static inline void host_run(int code)
{
    host_ends(host_start(host_return_arg, COVEY_VIEW_OF(code)), code);
}

static inline void host_kill(covey_process *p)
{
    CHECK_OK(covey_process_kill(p));
    host_ends(p, -SIGKILL);
}

/* ---- the program's own processes ---- */

/* Its exit code, or -N; also while signals come in. */
static inline int host_wait(int pid)
{
    int status = 0, r;
    do
        r = waitpid(pid, &status, 0);
    while (r < 0 && errno == EINTR);
    CHECK_EQ(r, pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Process `pid`, child or not, is gone in time; zombies count as gone. */
static inline bool host_gone(int pid, covey_nsec timeout)
{
    uint64_t ticks;
    int64_t deadline = cvy_os_deadline(timeout);
    int fd = cvy_os_pidfd_open(pid);
    if (fd >= 0) {
        (void)cvy_os_poll_in(fd, deadline);
        close(fd);
    }
    return cvy_os_start_time(pid, &ticks) == -ESRCH;
}

#endif
