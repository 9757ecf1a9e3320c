/* SPDX-License-Identifier: MIT */
/**
 * os/linux/calls.h: system calls that libc makes cancellation points, as ones that are
 * not: a thread that the program cancels must not vanish from inside of a covey call,
 * with its locks held. As in libc they return -1 with errno on failure.
 */
#ifndef CVY_OS_LINUX_CALLS_H
#define CVY_OS_LINUX_CALLS_H

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static inline int cvy_call_open(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

static inline int cvy_call_close(int fd)
{
    return (int)syscall(SYS_close, fd);
}

static inline ssize_t cvy_call_read(int fd, void *data, size_t size)
{
    return syscall(SYS_read, fd, data, size);
}

static inline ssize_t cvy_call_read_at(int fd, void *data, size_t size, off_t offset)
{
    return syscall(SYS_pread64, fd, data, size, offset);
}

static inline ssize_t cvy_call_write(int fd, const void *data, size_t size)
{
    return syscall(SYS_write, fd, data, size);
}

static inline ssize_t cvy_call_send(int fd, const void *data, size_t size, int flags)
{
    return syscall(SYS_sendto, fd, data, size, flags, NULL, 0);
}

static inline ssize_t cvy_call_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return syscall(SYS_sendmsg, fd, message, flags);
}

static inline ssize_t cvy_call_recvmsg(int fd, struct msghdr *message, int flags)
{
    return syscall(SYS_recvmsg, fd, message, flags);
}

static inline int cvy_call_epoll(int set, struct epoll_event *events, int capacity,
                                 int milliseconds)
{
#ifdef __SANITIZE_THREAD__ /* which runs handlers only in calls that it knows to wait */
    return epoll_wait(set, events, capacity, milliseconds);
#else
    return (int)syscall(SYS_epoll_pwait, set, events, capacity, milliseconds, NULL, 0);
#endif
}

/** `left` NULL: for ever. It is not changed. */
static inline int cvy_call_poll(struct pollfd *fds, unsigned count,
                                const struct timespec *left)
{
    struct timespec copy = left ? *left : (struct timespec){0};

    return (int)syscall(SYS_ppoll, fds, count, left ? &copy : NULL, NULL, 0);
}

static inline void cvy_call_sleep_until(const struct timespec *until)
{
    (void)syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, until, NULL);
}

#endif
