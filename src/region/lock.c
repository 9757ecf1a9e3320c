/* SPDX-License-Identifier: MIT */
/* lock.c: the internal owner-word lock, and the region lock made of it. */
#include "region/lock.h"

#include <errno.h>

#include "region/alloc.h"
#include "region/member.h"
#include "region/object.h"
#include "region/undo.h"
#include "region/wait.h"

/* Try to take `lock`, whose value was `seen`. Returns: 0, CVY_OWNER_DIED, or -EBUSY. */
static int try_take(cvy_word *lock, uint32_t seen, bool ask_kernel)
{
    uint32_t owner = seen & CVY_OWNER_MASK, me = cvy_thread_owner();
    if (!owner) {
        if (atomic_compare_exchange_strong(lock, &seen, me | (seen & CVY_WAITERS)))
            return 0;
    } else if (cvy_slot_is_dead(owner, ask_kernel)) {
        /* Waiters may sleep that the dead one was to wake. */
        if (atomic_compare_exchange_strong(lock, &seen, me | CVY_WAITERS))
            return CVY_OWNER_DIED;
    }
    return -EBUSY;
}

static int acquire_slowly(cvy_word *lock, int64_t deadline)
{
    struct cvy_spin spin = {0};
    bool ask_kernel = false;
    for (;;) {
        uint32_t gong = cvy_gong(), seen = atomic_load(lock);
        int r = try_take(lock, seen, ask_kernel);
        if (r != -EBUSY)
            return r;
        if (cvy_spin(&spin))
            continue;
        seen = atomic_load(lock);
        if (!(seen & CVY_OWNER_MASK))
            continue;
        if (!(seen & CVY_WAITERS) &&
            !atomic_compare_exchange_strong(lock, &seen, seen | CVY_WAITERS))
            continue;
        r = cvy_sleep(lock, seen | CVY_WAITERS, gong, deadline, cvy_ref_of(lock));
        if (r == -ETIMEDOUT)
            return r;
        ask_kernel = r == CVY_SLICE;
    }
}

int cvy_lock_acquire(cvy_word *lock, int64_t deadline)
{
    uint32_t free_word = 0;
    if (atomic_compare_exchange_strong_explicit(lock, &free_word, cvy_thread_owner(),
                                                memory_order_acquire,
                                                memory_order_relaxed))
        return 0;
    return acquire_slowly(lock, deadline);
}

void cvy_lock_release(cvy_word *lock)
{
    uint32_t mine = cvy_thread_owner();
    if (atomic_compare_exchange_strong_explicit(lock, &mine, 0, memory_order_release,
                                                memory_order_relaxed))
        return;
    atomic_store_explicit(lock, CVY_WAITERS, memory_order_release);
    if (cvy_os_futex_wake(lock, 1) > 0)
        return;
    /* Nobody slept: clear the bit, and wake whoever went to sleep on it meanwhile. */
    uint32_t waiters = CVY_WAITERS;
    if (atomic_compare_exchange_strong(lock, &waiters, 0))
        (void)cvy_os_futex_wake(lock, 1);
}

void cvy_region_lock(void)
{
    if (cvy_lock_acquire(&cvy_head->lock, COVEY_FOREVER) == CVY_OWNER_DIED)
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
