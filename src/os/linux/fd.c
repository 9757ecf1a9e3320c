/* SPDX-License-Identifier: MIT */
/*
 * Descriptors: making, copying, closing, reading, writing. All are close-on-exec.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/base.h"
#include "os/faults.h"
#include "os/linux/calls.h"
#include "os/linux/linux.h"
#include "os/linux/raw.h"
#include "os/os.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

CVY_CHILD_CODE int cvy_os_close(int fd)
{
    if (fd >= 0)
        (void)cvy_raw_call(SYS_close, fd, 0, 0); /* closed even after EINTR, on Linux */
    return -1;
}

struct cvy_os_kept_fd cvy_os_keep(int fd)
{
    struct cvy_os_kept_fd kept = {.fd = fd};
    struct stat info;

    if (fd >= 0 && fstat(fd, &info) == 0) {
        kept.device = info.st_dev;
        kept.inode = info.st_ino;
        kept.is_alike = (info.st_mode & S_IFMT) == 0; /* an anonymous inode */
    }
    return kept;
}

CVY_CHILD_CODE bool cvy_os_is_kept(const struct cvy_os_kept_fd *kept)
{
    struct stat info = {.st_mode = 0};

    return kept->fd >= 0 && cvy_raw_fstat(kept->fd, &info) == 0 &&
           info.st_dev == kept->device && info.st_ino == kept->inode;
}

CVY_CHILD_CODE void cvy_os_close_kept(struct cvy_os_kept_fd *kept)
{
    if (kept->fd < 0)
        return;
    if (cvy_os_is_kept(kept))
        cvy_os_close(kept->fd);
    kept->fd = -1;
}

int cvy_fd_above_std(int fd)
{
    int above, saved_errno;

    if (fd < 0 || fd > 2)
        return fd;
    above = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    saved_errno = errno;
    cvy_call_close(fd);
    errno = saved_errno;
    return above;
}

/* Returns: 0, or -errno with both closed. */
static int keep_pair(int ends[2], int ret_ends[2])
{
    ends[0] = cvy_fd_above_std(ends[0]);
    ends[1] = cvy_fd_above_std(ends[1]);
    if (ends[0] < 0 || ends[1] < 0) {
        int error = errno;

        cvy_os_close(ends[0]);
        cvy_os_close(ends[1]);
        return -error;
    }
    memcpy(ret_ends, ends, 2 * sizeof(*ends));
    return 0;
}

static int new_pipe(int flags, int ret_ends[2])
{
    int ends[2];

    CVY_FAULT_POINT("pipe2", EMFILE);
    if (pipe2(ends, flags) < 0)
        return -errno;
    return keep_pair(ends, ret_ends);
}

int cvy_os_pipe(int ret_ends[2])
{
    return new_pipe(O_CLOEXEC, ret_ends);
}

int cvy_os_flag_pipe(int ret_ends[2])
{
    return new_pipe(O_CLOEXEC | O_NONBLOCK, ret_ends);
}

int cvy_os_socketpair(int ret_ends[2])
{
    int ends[2];

    CVY_FAULT_POINT("socketpair", EMFILE);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    return keep_pair(ends, ret_ends);
}

int cvy_os_dup(int fd, int lowest)
{
    int copy;

    CVY_FAULT_POINT("fcntl(F_DUPFD_CLOEXEC)", EMFILE);
    copy = fcntl(fd, F_DUPFD_CLOEXEC, lowest);
    return copy < 0 ? -errno : copy;
}

CVY_CHILD_CODE int cvy_os_dup_to(int from, int to)
{
    long r;

    CVY_FAULT_POINT("dup2", EBADF);
    do {
        r = from == to ? cvy_raw_call(SYS_fcntl, to, F_SETFD, 0)
                       : cvy_raw_call(SYS_dup3, from, to, 0);
    } while (r == -EINTR || r == -EBUSY);
    return r < 0 ? (int)r : 0;
}

int cvy_os_open_null(void)
{
    int fd;

    CVY_FAULT_POINT("open", EMFILE);
    fd = cvy_fd_above_std(cvy_call_open("/dev/null", O_RDWR | O_CLOEXEC));
    return fd < 0 ? -errno : fd;
}

/* The descriptor may be closed by the program, and be another file's then: it is looked
 * at before it is used. */
static _Atomic int null_fd = -1;

CVY_CHILD_CODE static bool is_null(int fd)
{
    struct stat info = {.st_mode = 0};

    return cvy_raw_fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) &&
           info.st_rdev == makedev(1, 3);
}

void cvy_os_null_prepare(void)
{
    int none = -1, fd;

    if (atomic_load(&null_fd) >= 0)
        return;
    fd = cvy_fd_above_std(cvy_call_open("/dev/null", O_RDWR | O_CLOEXEC));
    if (fd >= 0 && !atomic_compare_exchange_strong(&null_fd, &none, fd))
        cvy_call_close(fd);
}

CVY_CHILD_CODE int cvy_os_null_to_stdin(void)
{
    int fd = atomic_load(&null_fd);

    if (fd < 0 || !is_null(fd))
        return -EBADF;
    return cvy_os_dup_to(fd, 0);
}

int cvy_os_ready_fd(void)
{
    int fd;

    CVY_FAULT_POINT("eventfd", EMFILE);
    fd = cvy_fd_above_std(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
    return fd < 0 ? -errno : fd;
}

/* What readdir would do, but without its allocation. */
struct directory_entry {
    uint64_t inode;
    int64_t next;
    unsigned short size;
    unsigned char type;
    char name[];
};

/* The number that `text` spells, -1 for "." and "..". */
static int entry_number(const char *text)
{
    int number = 0;

    if (*text < '0' || *text > '9')
        return -1;
    for (; *text; text++)
        number = number * 10 + (*text - '0');
    return number;
}

/* Close what one reading of the folder shows. Returns: whether anything was closed. */
static bool close_listed(int folder, int lowest)
{
    _Alignas(struct directory_entry) char buffer[2048];
    bool closed = false;
    long size;

    lseek(folder, 0, SEEK_SET);
    while ((size = syscall(SYS_getdents64, folder, buffer, sizeof(buffer))) > 0) {
        for (long at = 0; at < size;) {
            struct directory_entry *entry = (void *)(buffer + at);
            int fd = entry_number(entry->name);

            if (fd >= lowest && fd != folder && cvy_call_close(fd) == 0)
                closed = true;
            at += entry->size;
        }
    }
    return closed;
}

int cvy_os_close_from(int lowest)
{
    struct rlimit limit;
    int folder;

    if (syscall(SYS_close_range, (unsigned)lowest, ~0U, 0) == 0)
        return 0;
    /* A filter forbids it. Closing shifts what the folder lists, hence the repetition. */
    folder = cvy_call_open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        while (close_listed(folder, lowest))
            continue;
        cvy_call_close(folder);
        return 0;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    for (int fd = lowest; fd < (int)cvy_min_u64(limit.rlim_max, 1 << 20); fd++)
        cvy_call_close(fd);
    return 0;
}

int cvy_os_own_descriptors(int first, int second)
{
    if (unshare(CLONE_FILES) < 0)
        return -errno;
    (void)cvy_raw_call(SYS_dup3, first, 0, O_CLOEXEC);
    (void)cvy_raw_call(SYS_dup3, second, 1, O_CLOEXEC);
    return cvy_os_close_from(2);
}

/* poll one descriptor. Returns: 1, or 0 at the deadline. */
static int poll_one(int fd, short events, int64_t deadline)
{
    struct pollfd entry = {.fd = fd, .events = events};
    struct timespec left;
    int r;

    do {
        r = cvy_call_poll(&entry, 1, cvy_clock_relative(deadline, &left));
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    return entry.revents & POLLNVAL ? -EBADF : r;
}

int cvy_os_poll_in(int fd, int64_t deadline)
{
    return fd < 0 ? -EBADF : poll_one(fd, POLLIN, deadline);
}

int cvy_os_readable(int fd)
{
    int size = 0;

    return ioctl(fd, FIONREAD, &size) < 0 ? -errno : size;
}

ssize_t cvy_os_read_now(int fd, void *data, size_t size)
{
    int r = cvy_os_poll_in(fd, 0);

    if (r <= 0)
        return r < 0 ? r : -EAGAIN;
    return cvy_os_read(fd, data, size);
}

ssize_t cvy_os_read(int fd, void *data, size_t size)
{
    ssize_t r;

    CVY_FAULT_POINT("read", EIO);
    do {
        r = cvy_call_read(fd, data, size);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

/* Write some, by send while `*is_socket`, so that a lost peer is no signal. */
static ssize_t write_some(int fd, const void *data, size_t size, bool *is_socket)
{
    ssize_t r;

    if (*is_socket) {
        r = cvy_call_send(fd, data, size, MSG_NOSIGNAL);
        if (r >= 0 || errno != ENOTSOCK)
            return r;
        *is_socket = false;
    }
    return cvy_call_write(fd, data, size);
}

void cvy_pipe_signal_hold(struct cvy_pipe_signal *held)
{
    sigset_t pipe_only, pending;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    held->was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_only, &held->mask);
}

void cvy_pipe_signal_release(const struct cvy_pipe_signal *held, bool is_raised)
{
    const struct timespec at_once = {0};
    sigset_t pipe_only;
    int error = errno, cancel = cvy_os_disable_cancel(); /* which sigtimedwait heeds */

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (is_raised && !held->was_pending)
        (void)sigtimedwait(&pipe_only, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &held->mask, NULL);
    cvy_os_restore_cancel(cancel);
    errno = error;
}

/* A little at a time: what poll promises room for in a pipe. */
static int write_pieces(int fd, const char *at, size_t size, covey_nsec patience)
{
    bool is_socket = true;

    while (size) {
        int ready = poll_one(fd, POLLOUT, cvy_os_deadline(patience));
        ssize_t r;

        if (ready <= 0)
            return ready < 0 ? ready : -ETIMEDOUT;
        r = write_some(fd, at, cvy_min_size(size, PIPE_BUF), &is_socket);
        if (r >= 0) {
            at += r;
            size -= (size_t)r;
        } else if (errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

int cvy_os_write_patiently(int fd, const void *data, size_t size, covey_nsec patience)
{
    struct cvy_pipe_signal held;
    int r;

    CVY_FAULT_POINT("write", EIO);
    if (fd < 0)
        return -EBADF;
    cvy_pipe_signal_hold(&held);
    r = write_pieces(fd, data, size, patience);
    cvy_pipe_signal_release(&held, r == -EPIPE);
    return r;
}

int cvy_os_write_all(int fd, const void *data, size_t size)
{
    return cvy_os_write_patiently(fd, data, size, COVEY_FOREVER);
}

int cvy_os_random(void *data, size_t size)
{
    char *at = data;

    CVY_FAULT_POINT("getrandom", ENOSYS);
    while (size) {
        ssize_t r = getrandom(at, size, 0);

        if (r < 0 && errno != EINTR)
            return -errno;
        if (r > 0) {
            at += r;
            size -= (size_t)r;
        }
    }
    return 0;
}

bool cvy_os_is_terminal(FILE *stream)
{
    return isatty(fileno(stream));
}
