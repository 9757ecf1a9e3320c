/* SPDX-License-Identifier: MIT */
/* events.c: epoll, level-triggered. */
#include "os/events.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "os/faults.h"
#include "os/linux/calls.h"
#include "os/linux/linux.h"
#include "os/os.h"

enum { PIECE = 64 };

int cvy_os_events_create(void)
{
    int fd;

    CVY_FAULT_POINT("epoll_create1", EMFILE);
    fd = cvy_fd_above_std(epoll_create1(EPOLL_CLOEXEC));
    return fd < 0 ? -errno : fd;
}

static int control(int events, int operation, int fd, unsigned kinds, void *about)
{
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = about};

    if (kinds & CVY_OS_CAN_READ)
        event.events |= EPOLLIN;
    if (kinds & CVY_OS_CAN_WRITE)
        event.events |= EPOLLOUT;
    return epoll_ctl(events, operation, fd, &event) < 0 ? -errno : 0;
}

int cvy_os_events_add(int events, int fd, unsigned kinds, void *about)
{
    CVY_FAULT_POINT("epoll_ctl", ENOMEM);
    return control(events, EPOLL_CTL_ADD, fd, kinds, about);
}

int cvy_os_events_change(int events, int fd, unsigned kinds, void *about)
{
    return control(events, EPOLL_CTL_MOD, fd, kinds, about);
}

void cvy_os_events_remove(int events, int fd)
{
    (void)epoll_ctl(events, EPOLL_CTL_DEL, fd, NULL);
}

/* Milliseconds to the deadline, rounded up. */
static int milliseconds(int64_t deadline)
{
    int64_t left;

    if (deadline == INT64_MAX)
        return -1;
    left = deadline > 0 ? deadline - cvy_os_now() : 0;
    if (left <= 0)
        return 0;
    left = (left + COVEY_MSEC(1) - 1) / COVEY_MSEC(1);
    return (int)cvy_min_i64(left, 3600000);
}

static unsigned kinds_of(uint32_t events)
{
    unsigned kinds = 0;

    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        kinds |= CVY_OS_CAN_READ;
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        kinds |= CVY_OS_CAN_WRITE;
    if (events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP))
        kinds |= CVY_OS_GONE;
    return kinds;
}

int cvy_os_events_wait(int events, struct cvy_os_event *ret_events, size_t capacity,
                       int64_t deadline)
{
    struct epoll_event got[PIECE];
    int r;

    do {
        r = cvy_call_epoll(events, got, (int)cvy_min_size(capacity, PIECE),
                           milliseconds(deadline));
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    for (int i = 0; i < r; i++)
        ret_events[i] = (struct cvy_os_event){.about = got[i].data.ptr,
                                              .kinds = kinds_of(got[i].events)};
    return r;
}

/* ---- what a server looks after ---- */

uint64_t cvy_os_allocated(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 0;
#elif defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
}

void cvy_os_trim(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

uint64_t cvy_os_raise_open_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    if (limit.rlim_cur != limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur;
}

/* ---- signals ---- */

static void (*on_terminate)(void), (*on_interrupt)(void);
static pid_t handler_of; /* the process that wants it */

/* The signal comes again when its handler has returned. */
static void raise_by_default(int signal)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    (void)sigaction(signal, &action, NULL);
    (void)raise(signal);
}

static void handle(int signal)
{
    int error = errno;

    if (getpid() != handler_of) /* a fork child, for which it has no meaning */
        raise_by_default(signal);
    else if (signal == SIGTERM)
        on_terminate();
    else
        on_interrupt();
    errno = error;
}

static void install(int signal)
{
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};

    handler_of = getpid();
    sigemptyset(&action.sa_mask);
    (void)sigaction(signal, &action, NULL);
}

void cvy_os_on_terminate(void (*fn)(void))
{
    on_terminate = fn;
    install(SIGTERM);
}

void cvy_os_ignore_lost_readers(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
}

void cvy_os_on_interrupt(void (*fn)(void))
{
    on_interrupt = fn;
    install(SIGINT);
}
