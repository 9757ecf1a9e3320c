/* SPDX-License-Identifier: MIT */
/*
 * Futexes on words in shared memory, hence never FUTEX_PRIVATE.
 *
 * futex_waitv came with Linux 5.16 and is often missing in sandboxes, where a filter may
 * answer with any errno. It counts as there when a call whose word differs says EAGAIN,
 * and as gone from the first answer that it cannot give by itself.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "os/linux/linux.h"
#include "os/linux/raw.h"
#include "os/os.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum { WAITV_UNKNOWN, WAITV_HERE, WAITV_MISSING };

/* Linux 5.16's struct futex_waitv; older headers do not have it. */
struct waiter {
    uint64_t expected;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};

static atomic_int waitv_state = WAITV_UNKNOWN;

static int call_waitv(const struct cvy_os_wait *waits, unsigned n, int64_t deadline)
{
    struct waiter waiters[CVY_OS_MOST_WAITS];
    struct timespec until;
    long r;

    for (unsigned i = 0; i < n; i++) {
        waiters[i] = (struct waiter){
            .expected = waits[i].expected,
            .address = (uintptr_t)waits[i].word,
            .flags = 2, /* 32 bits, shared */
        };
    }
    r = syscall(SYS_futex_waitv, waiters, n, 0, cvy_clock_absolute(deadline, &until),
                CLOCK_MONOTONIC);
    return r < 0 ? -errno : (int)r;
}

bool cvy_os_has_waitv(void)
{
    int state = atomic_load_explicit(&waitv_state, memory_order_relaxed);
    cvy_word word = 1;
    struct cvy_os_wait wait = {&word, 0};

    if (cvy_likely(state != WAITV_UNKNOWN))
        return state == WAITV_HERE;
    state = call_waitv(&wait, 1, 0) == -EAGAIN ? WAITV_HERE : WAITV_MISSING;
    atomic_store(&waitv_state, state);
    return state == WAITV_HERE;
}

static int wait_one(const struct cvy_os_wait *wait, int64_t deadline)
{
    struct timespec until;
    long r =
        syscall(SYS_futex, wait->word, FUTEX_WAIT_BITSET, wait->expected,
                cvy_clock_absolute(deadline, &until), NULL, FUTEX_BITSET_MATCH_ANY);

    return r < 0 ? -errno : 0;
}

int cvy_os_futex_waitv(const struct cvy_os_wait *waits, unsigned n, int64_t deadline)
{
    int r;

    if (n == 1)
        return wait_one(waits, deadline);
    if (n == 0 || n > CVY_OS_MOST_WAITS)
        return -EINVAL;
    if (!cvy_os_has_waitv())
        return -ENOSYS;
    r = call_waitv(waits, n, deadline);
    if (r >= 0 || r == -EAGAIN || r == -ETIMEDOUT || r == -EINTR || r == -EFAULT ||
        r == -EINVAL || r == -ENOMEM)
        return r;
    atomic_store(&waitv_state, WAITV_MISSING); /* a filter came after the question */
    return -ENOSYS;
}

CVY_CHILD_CODE int cvy_os_futex_wait_for(cvy_word *word, uint32_t expected,
                                         covey_nsec timeout)
{
    struct timespec length = {timeout / COVEY_SEC(1), timeout % COVEY_SEC(1)};

    return (int)cvy_raw_call5(SYS_futex, (long)word, FUTEX_WAIT, expected,
                              (long)&length, 0);
}

CVY_CHILD_CODE int cvy_os_futex_wake(cvy_word *word, int n)
{
    return (int)cvy_raw_call(SYS_futex, (long)word, FUTEX_WAKE, n);
}
