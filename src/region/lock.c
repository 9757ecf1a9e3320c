/* SPDX-License-Identifier: MIT */
/* lock.c: the internal owner-word lock, and the region lock made of it. */
#include "region/lock.h"

#include <errno.h>
#include <limits.h>

#include "base/mutant.h"
#include "region/alloc.h"
#include "region/member.h"
#include "region/object.h"
#include "region/undo.h"
#include "region/wait.h"

#define MOMENT COVEY_MSEC(1)

/* Announce that somebody sleeps on `lock`. Returns: false if it is worth another look. */
static bool announce_waiter(cvy_word *lock, uint32_t *ret_seen)
{
    uint32_t seen = atomic_load(lock);
    if (!(seen & CVY_OWNER_MASK))
        return false;
    *ret_seen = seen | CVY_WAITERS;
    return seen & CVY_WAITERS ||
           atomic_compare_exchange_strong(lock, &seen, seen | CVY_WAITERS);
}

int cvy_lock_take(cvy_word *lock, struct cvy_taker *taker, int64_t deadline)
{
    struct cvy_spin spin = {0};
    bool ask_kernel = deadline <= 0 && cvy_slice_is_over(lock);
    for (;;) {
        uint32_t gong = cvy_gong(), seen = atomic_load(lock),
                 owner = seen & CVY_OWNER_MASK;
        if (!owner) {
            if (atomic_compare_exchange_strong(lock, &seen,
                                               taker->me | (seen & CVY_WAITERS)))
                return 0;
            continue;
        }
        if (deadline > 0 && cvy_spin(&spin))
            continue;
        /* Waiters may sleep that the dead one was to wake. */
        if (!CVY_MUTANT(lock_dead_owner) &&
            taker->is_dead(owner, ask_kernel && !CVY_MUTANT(lock_kernel_unasked)) &&
            atomic_compare_exchange_strong(lock, &seen, taker->me | CVY_WAITERS)) {
            taker->dead = owner;
            return CVY_OWNER_DIED;
        }
        if (deadline <= 0)
            return -ETIMEDOUT;
        if (!announce_waiter(lock, &seen))
            continue;
        int r = cvy_sleep(lock, seen, gong, deadline, taker->what);
        if (r == -ETIMEDOUT || (r == -EINTR && taker->interruptible))
            return r;
        ask_kernel = r == CVY_SLICE;
        spin = (struct cvy_spin){0};
    }
}

void cvy_lock_wake(cvy_word *lock)
{
    if (cvy_os_futex_wake(lock, 1) > 0)
        return;
    /* Nobody slept: clear the bit, and wake all who went to sleep on it meanwhile, for
     * without it nobody else will. That can be several: others may have had the lock since,
     * and have released it to WAITERS again. */
    uint32_t waiters = CVY_WAITERS;
    if (atomic_compare_exchange_strong(lock, &waiters, 0))
        (void)cvy_os_futex_wake(lock, INT_MAX);
}

int cvy_lock_wait(cvy_word *lock, int64_t deadline, uint32_t *ret_dead)
{
    struct cvy_taker taker = {.me = cvy_thread_owner(),
                              .is_dead = cvy_slot_is_dead,
                              .what = cvy_ref_of(lock)};
    int r = cvy_lock_take(lock, &taker, deadline);
    *ret_dead = taker.dead;
    return r;
}

int cvy_lock_wait_briefly(cvy_word *lock, int64_t deadline, uint32_t *ret_dead)
{
    if (deadline <= 0)
        deadline = cvy_os_now() + MOMENT;
    return cvy_lock_wait(lock, deadline, ret_dead);
}

int cvy_lock_acquire(cvy_word *lock, int64_t deadline)
{
    uint32_t dead;
    return cvy_lock_at_once(lock) ? 0 : cvy_lock_wait(lock, deadline, &dead);
}

void cvy_lock_release(cvy_word *lock)
{
    uint32_t mine = cvy_thread_owner();
    if (atomic_compare_exchange_strong_explicit(lock, &mine, 0, memory_order_release,
                                                memory_order_relaxed))
        return;
    cvy_bell_arm(); /* who dies before the wake is to be heard */
    atomic_store_explicit(lock, CVY_WAITERS, memory_order_release);
    cvy_lock_wake(lock);
}

void cvy_region_lock(void)
{
    if (cvy_lock_acquire(&cvy_head->lock, COVEY_FOREVER) == CVY_OWNER_DIED &&
        !CVY_MUTANT(region_no_rollback))
        cvy_rollback();
}

void cvy_region_end(void)
{
    if ((atomic_load(&cvy_head->lock) & CVY_OWNER_MASK) != cvy_thread_owner())
        return;
    cvy_rollback();
    cvy_region_unlock();
}

void cvy_region_unlock(void)
{
    cvy_commit();
    while (cvy_head->graves)
        cvy_graves_dig();
    cvy_ref page = cvy_alloc_limbo_mine();
    cvy_lock_release(&cvy_head->lock);
    if (page)
        cvy_alloc_settle();
}
