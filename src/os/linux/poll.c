/* SPDX-License-Identifier: MIT */
/*
 * Waiting for several descriptors, and descriptors that are made to be waited for.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>

#include "base/base.h"
#include "base/memory.h"
#include "os/faults.h"
#include "os/linux/calls.h"
#include "os/linux/linux.h"
#include "os/os.h"
#include "os/socket.h"

enum { PIECE = 64 };

int cvy_os_poll_out(int fd, int64_t deadline)
{
    struct cvy_os_poll item = {.fd = fd, .out = true};

    return cvy_os_poll_many(&item, 1, deadline);
}

static int poll_entries(struct pollfd *entries, size_t count, int64_t deadline)
{
    struct timespec left;
    int r;

    do {
        r = cvy_call_poll(entries, (unsigned)count,
                          cvy_clock_relative(deadline, &left));
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

static void to_entries(struct pollfd *entries, const struct cvy_os_poll *items,
                       size_t count)
{
    for (size_t i = 0; i < count; i++)
        entries[i] = (struct pollfd){.fd = items[i].fd,
                                     .events = items[i].out ? POLLOUT : POLLIN};
}

int cvy_os_poll_many(struct cvy_os_poll *items, size_t count, int64_t deadline)
{
    struct pollfd few[PIECE], *entries = few;
    int r;

    if (count > PIECE) {
        entries = cvy_malloc(count * sizeof(*entries));
        if (!entries)
            return -ENOMEM;
    }
    to_entries(entries, items, count);
    r = poll_entries(entries, count, deadline);
    for (size_t i = 0; i < count && r >= 0; i++) {
        items[i].ready = entries[i].revents != 0;
        if (entries[i].revents & POLLNVAL)
            r = -EBADF;
    }
    if (entries != few)
        cvy_free(entries);
    return r;
}

/* ---- sets ---- */

int cvy_os_set_create(void)
{
    int fd;

    CVY_FAULT_POINT("epoll_create1", EMFILE);
    fd = cvy_fd_above_std(epoll_create1(EPOLL_CLOEXEC));
    return fd < 0 ? -errno : fd;
}

int cvy_os_set_add(int set, int fd, uint32_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = tag};

    CVY_FAULT_POINT("epoll_ctl", ENOMEM);
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void cvy_os_set_remove(int set, int fd)
{
    (void)epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
}

void cvy_os_set_heed(int set, int fd, uint32_t tag, bool heeds)
{
    struct epoll_event event = {.events = heeds ? EPOLLIN : 0, .data.u32 = tag};

    (void)epoll_ctl(set, EPOLL_CTL_MOD, fd, &event);
}

int cvy_os_set_wait(int set, uint32_t *ret_tags, size_t capacity, int64_t deadline)
{
    struct epoll_event events[PIECE];
    int r = cvy_os_poll_in(set, deadline);

    if (r <= 0)
        return r;
    do {
        r = cvy_call_epoll(set, events, (int)cvy_min_size(capacity, PIECE), 0);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    for (int i = 0; i < r; i++)
        ret_tags[i] = events[i].data.u32;
    return r;
}

/* ---- flags ---- */

int cvy_os_flag_create(void)
{
    int fd;

    CVY_FAULT_POINT("eventfd", EMFILE);
    fd = cvy_fd_above_std(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return fd < 0 ? -errno : fd;
}

void cvy_os_flag_raise(int fd)
{
    const uint64_t one = 1;

    (void)!cvy_call_write(fd, &one, sizeof(one));
}

void cvy_os_flag_lower(int fd)
{
    uint64_t count;

    (void)!cvy_call_read(fd, &count, sizeof(count));
}

int cvy_os_timer_create(void)
{
    int fd;

    CVY_FAULT_POINT("timerfd_create", EMFILE);
    fd = cvy_fd_above_std(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    return fd < 0 ? -errno : fd;
}

/* Zero would disarm it; it is long past 1. */
void cvy_os_timer_set(int fd, int64_t deadline)
{
    struct itimerspec when = {{0}, {0}};
    struct timespec buffer;

    if (deadline != INT64_MAX)
        when.it_value = *cvy_clock_absolute(deadline > 0 ? deadline : 1, &buffer);
    (void)timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL);
}
