/* SPDX-License-Identifier: MIT */
/*
 * Dying with the parent.
 *
 * By pipe: the kernel can send a signal of choice when something happens on a descriptor.
 * For the read end of a pipe that is also the close of the last write end, by whomever
 * and however, so SIGKILL as that signal is a life-line without a thread that watches it.
 * Whom to signal belongs to the open file, which relatives share: this process opens the
 * pipe once more for itself.
 *
 * By thread: prctl(PR_SET_PDEATHSIG), which follows the thread that created us.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/base.h"
#include "os/faults.h"
#include "os/linux/calls.h"
#include "os/linux/linux.h"
#include "os/linux/raw.h"
#include "os/os.h"

/* The life-line that is in force. A program may close descriptors that are not its own,
 * and the number may be another's then: a pipe that kills is ours. */
static int line_fd = -1;

CVY_CHILD_CODE void cvy_os_line_drop(void)
{
    if (line_fd < 0)
        return;
    if (cvy_raw_call(SYS_fcntl, line_fd, F_GETSIG, 0) == SIGKILL &&
        cvy_raw_call(SYS_fcntl, line_fd, F_GETPIPE_SZ, 0) > 0)
        cvy_os_close(line_fd);
    line_fd = -1;
}

CVY_CHILD_CODE static int arm_line(int fd)
{
    struct f_owner_ex owner = {.type = F_OWNER_PID, .pid = cvy_os_pid()};
    struct pollfd state = {.fd = fd};
    struct timespec now = {0};
    long r = cvy_raw_call(SYS_fcntl, fd, F_SETOWN_EX, (long)&owner);

    if (r >= 0)
        r = cvy_raw_call(SYS_fcntl, fd, F_SETSIG, SIGKILL);
    if (r >= 0)
        r = cvy_raw_call(SYS_fcntl, fd, F_SETFL, O_ASYNC | O_NONBLOCK);
    /* From here on a close kills; one that came before shows now. */
    if (r >= 0)
        r = cvy_raw_call5(SYS_ppoll, (long)&state, 1, (long)&now, 0, 0);
    if (r < 0)
        return (int)r;
    return state.revents & (POLLHUP | POLLERR) ? -EPIPE : 0;
}

/* Open the pipe of `fd` once more. */
static int reopen(int fd)
{
    char path[CVY_PROC_PATH_SIZE];
    int copy;

    if (fcntl(fd, F_GETPIPE_SZ) < 0) /* EBADF, also of what is open but no pipe */
        return fcntl(fd, F_GETFD) < 0 ? -EBADF : -EINVAL;
    cvy_proc_path(path, "/proc/self/fd/", fd, "");
    copy = cvy_fd_above_std(cvy_call_open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    return copy < 0 ? -errno : copy;
}

int cvy_os_line_open(int fd)
{
    CVY_FAULT_POINT("open(life-line)", EMFILE);
    return reopen(fd);
}

CVY_CHILD_CODE int cvy_os_line_watch(int copy)
{
    int r = arm_line(copy);

    if (r < 0) {
        cvy_os_close(copy);
        return r;
    }
    cvy_os_line_drop();
    line_fd = copy;
    return 0;
}

int cvy_os_die_with_pipe(int fd)
{
    int copy = cvy_os_line_open(fd);

    return copy < 0 ? copy : cvy_os_line_watch(copy);
}

CVY_CHILD_CODE int cvy_os_die_with_thread(int parent_pid)
{
    int parent_now, r;

    r = (int)cvy_raw_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0);
    if (r < 0)
        return r;
    /* A parent outside of this process's pid namespace is 0 here. */
    parent_now = cvy_os_ppid();
    return parent_now == parent_pid || parent_now == 0 ? 0 : -ESRCH;
}
