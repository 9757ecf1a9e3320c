/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a child's end and reaping it.
 *
 * Only the child that is meant is reaped, never another one of the program. With a pidfd
 * even a child that somebody else reaped, and whose id was given to a new one, is not
 * confused with it.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "os/linux/linux.h"
#include "os/os.h"

#define WAIT_BY_PIDFD ((idtype_t)3)

static int64_t time_of(struct timeval time)
{
    return COVEY_SEC(time.tv_sec) + COVEY_USEC(time.tv_usec);
}

static void describe(const siginfo_t *info, const struct rusage *usage,
                     struct cvy_os_exit *ret_exit)
{
    *ret_exit = (struct cvy_os_exit){
        .pid = info->si_pid,
        .status = info->si_code == CLD_EXITED ? info->si_status : -info->si_status,
        .core_dumped = info->si_code == CLD_DUMPED,
        .user_time = time_of(usage->ru_utime),
        .system_time = time_of(usage->ru_stime),
        .max_rss = (uint64_t)usage->ru_maxrss * 1024,
    };
}

/* waitid(2) itself, since libc's does not tell the resources used. */
static int call_waitid(idtype_t by, int id, int flags, siginfo_t *info,
                       struct rusage *usage)
{
    long r;

    memset(info, 0, sizeof(*info));
    do {
        r = syscall(SYS_waitid, by, id, info, WEXITED | flags, usage);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

/* The stops of a child that the program traces are reported whether they are asked for or
 * not. They are the tracer's, so a look must leave them. */
static bool has_ended(const siginfo_t *info)
{
    return info->si_pid && (info->si_code == CLD_EXITED ||
                            info->si_code == CLD_KILLED || info->si_code == CLD_DUMPED);
}

/* Returns: 1 reaped, 0 not ended (with WNOHANG, or because it stopped), -ECHILD. */
static int reap(int pid, int pidfd, int flags, struct cvy_os_exit *ret_exit)
{
    idtype_t by = WAIT_BY_PIDFD;
    struct rusage usage;
    siginfo_t info;
    int id = pidfd, r = -EINVAL;

    if (pid <= 0)
        return -ECHILD;
    if (pidfd >= 0)
        r = call_waitid(by, id, flags | WNOWAIT, &info, &usage);
    if (r < 0 && r != -ECHILD) { /* no pidfd, or a system that does not wait by it */
        by = P_PID;
        id = pid;
        r = call_waitid(by, id, flags | WNOWAIT, &info, &usage);
    }
    if (r < 0 || !has_ended(&info))
        return r;
    r = call_waitid(by, id, WNOHANG, &info, &usage);
    if (r < 0 || !has_ended(&info))
        return r < 0 ? r : -ECHILD;
    describe(&info, &usage, ret_exit);
    return 1;
}

/* Look again and again, until the deadline. */
static int reap_by_looking(int pid, int pidfd, int64_t deadline,
                           struct cvy_os_exit *ret_exit)
{
    int64_t pause = COVEY_MSEC(1);
    int r;

    while ((r = reap(pid, pidfd, WNOHANG, ret_exit)) == 0) {
        if (cvy_os_now() >= deadline)
            return 0;
        cvy_clock_sleep(pause, deadline);
        pause = cvy_min_i64(pause * 2, COVEY_MSEC(20));
    }
    return r;
}

int cvy_os_wait_child(int pid, int pidfd, int64_t deadline,
                      struct cvy_os_exit *ret_exit)
{
    int own_pidfd = -1;
    int r = reap(pid, pidfd, deadline == INT64_MAX ? 0 : WNOHANG, ret_exit);

    if (r == 0 && cvy_os_now() < deadline) {
        /* It is a child that has not been reaped, so the id is its own still. */
        if (pidfd < 0)
            own_pidfd = cvy_os_pidfd_open(pid);
        cvy_os_poll_in(pidfd < 0 ? own_pidfd : pidfd, deadline);
        r = reap_by_looking(pid, pidfd, deadline, ret_exit);
        cvy_os_close(own_pidfd);
    }
    return r > 0 ? 0 : r < 0 ? r : -ETIMEDOUT;
}

int cvy_os_await_end(int pid, int64_t deadline)
{
    int pidfd, flags = deadline == INT64_MAX ? WNOWAIT : WNOWAIT | WNOHANG;
    struct rusage usage;
    siginfo_t info;
    int r = call_waitid(P_PID, pid, flags, &info, &usage);

    if (r < 0 || has_ended(&info))
        return r;
    if (cvy_os_now() >= deadline)
        return -ETIMEDOUT;
    /* It is a child that has not been reaped, so the id is its own still. */
    pidfd = cvy_os_pidfd_open(pid);
    if (pidfd >= 0)
        (void)cvy_os_poll_in(pidfd, deadline);
    cvy_os_close(pidfd);
    /* Whose tracer has not been told of its end yet has not ended for its parent. */
    for (int64_t pause = COVEY_MSEC(1);;) {
        r = call_waitid(P_PID, pid, flags, &info, &usage);
        if (r < 0 || has_ended(&info))
            return r;
        if (cvy_os_now() >= deadline)
            return -ETIMEDOUT;
        cvy_clock_sleep(pause, deadline);
        pause = cvy_min_i64(pause * 2, COVEY_MSEC(20));
    }
}
