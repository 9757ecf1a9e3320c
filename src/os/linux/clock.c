/* SPDX-License-Identifier: MIT */
/*
 * Time: nanoseconds of CLOCK_MONOTONIC, the clock that all waits of the kernel used here
 * understand. Deadlines are absolute; 0 is long past, INT64_MAX never comes.
 */
#include <sched.h>
#include <unistd.h>

#include "base/base.h"
#include "os/linux/calls.h"
#include "os/linux/linux.h"
#include "os/linux/raw.h"
#include "os/os.h"

#define NS_PER_SECOND 1000000000

int64_t cvy_os_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

int64_t cvy_os_last_tick(void)
{
    struct timespec tick;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &tick);
    return (int64_t)tick.tv_sec * NS_PER_SECOND + tick.tv_nsec;
}

uint64_t cvy_os_boot_ticks(void)
{
    static long per_second;
    struct timespec now;

    if (!per_second)
        per_second = sysconf(_SC_CLK_TCK);
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * (uint64_t)per_second +
           (uint64_t)now.tv_nsec * (uint64_t)per_second / NS_PER_SECOND + 1;
}

int64_t cvy_os_deadline(covey_nsec timeout)
{
    int64_t deadline;

    if (timeout <= 0)
        return 0;
    if (timeout == COVEY_FOREVER ||
        __builtin_add_overflow(cvy_os_now(), timeout, &deadline))
        return INT64_MAX;
    return deadline;
}

covey_nsec cvy_os_time_left(int64_t deadline)
{
    if (deadline == INT64_MAX)
        return COVEY_FOREVER;
    int64_t left = deadline > 0 ? deadline - cvy_os_now() : 0;
    return left > 0 ? left : COVEY_NOWAIT;
}

CVY_CHILD_CODE void cvy_os_yield(void)
{
    (void)cvy_raw_call(SYS_sched_yield, 0, 0, 0);
}

const struct timespec *cvy_clock_absolute(int64_t deadline, struct timespec *buffer)
{
    if (deadline == INT64_MAX)
        return NULL;
    deadline = cvy_max_i64(deadline, 0);
    buffer->tv_sec = (time_t)(deadline / NS_PER_SECOND);
    buffer->tv_nsec = (long)(deadline % NS_PER_SECOND);
    return buffer;
}

const struct timespec *cvy_clock_relative(int64_t deadline, struct timespec *buffer)
{
    if (deadline == INT64_MAX)
        return NULL;
    return cvy_clock_absolute(deadline > 0 ? deadline - cvy_os_now() : 0, buffer);
}

void cvy_clock_sleep(int64_t duration, int64_t deadline)
{
    struct timespec until;
    int64_t end = cvy_min_i64(cvy_os_now() + duration, deadline);

    cvy_call_sleep_until(cvy_clock_absolute(end, &until));
}
