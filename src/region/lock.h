/* SPDX-License-Identifier: MIT */
/**
 * lock.h: locks that know their owner: one word. Covey's own structures are locked by
 * threads (the slot's owner word); what users acquire is locked by processes too.
 *
 *   0 -> me                free, taken without waiters
 *   me -> 0                released, nobody slept
 *   me -> WAITERS          released while somebody slept: one is woken, and the bit stays
 *   WAITERS -> me|WAITERS  taken by whoever comes first
 *   dead -> me|WAITERS     taken over; the caller repairs
 *
 * The bit stays ("sticky") so that a woken sleeper who dies before it acts strands
 * nobody: the next release wakes again. It goes when a wake finds nobody asleep.
 */
#ifndef CVY_REGION_LOCK_H
#define CVY_REGION_LOCK_H

#include "base/base.h"
#include "region/layout.h"
#include "region/member.h"

/** Remark of what takes a lock: held, and its last owner died holding it. */
enum { CVY_OWNER_DIED = 1 };

/**
 * Take `lock`; the thread must be attached.
 * Returns: 0, CVY_OWNER_DIED, -ETIMEDOUT. Signals do not interrupt it.
 */
int cvy_lock_acquire(cvy_word *lock, int64_t deadline);
/** Its two halves: take it if it is free; and if it was not, wait for it. `*ret_dead` is from
 * whom it was taken over, with CVY_OWNER_DIED. */
static inline bool cvy_lock_at_once(cvy_word *lock)
{
    uint32_t free_word = 0;
    return cvy_likely(atomic_compare_exchange_strong_explicit(
        lock, &free_word, cvy_thread_owner(), memory_order_acquire,
        memory_order_relaxed));
}
int cvy_lock_wait(cvy_word *lock, int64_t deadline, uint32_t *ret_dead);
/** The same of one that is held for a moment only: who does not want to wait for what it
 * guards waits for that. */
int cvy_lock_wait_briefly(cvy_word *lock, int64_t deadline, uint32_t *ret_dead);
void cvy_lock_release(cvy_word *lock);

/** Who takes a lock, where that is not a thread for covey's own purpose. */
struct cvy_taker {
    uint32_t me; /* the owner word to write */
    cvy_is_dead_fn *is_dead;
    cvy_ref what; /* waited for, for those who look from outside */
    bool interruptible;
    uint32_t dead; /* out: from whom it was taken over, with CVY_OWNER_DIED */
};
/** Take `lock` after a first attempt failed, sleeping if needed; a deadline of 0 only
 * looks. Returns: 0, CVY_OWNER_DIED, -ETIMEDOUT, and -EINTR if `interruptible`. */
int cvy_lock_take(cvy_word *lock, struct cvy_taker *taker, int64_t deadline);
/** Wake one sleeper of a lock whose word was just set to CVY_WAITERS; the bell is armed. */
void cvy_lock_wake(cvy_word *lock);

/* The region lock protects everything marked [R] in layout.h. */

/** Take it, after putting right what a dead owner left. The thread must be attached. */
void cvy_region_lock(void);
/** The thread ends: if that is inside of a call, do as if it had been killed there. */
void cvy_region_end(void);
/** Commit and release; gives back memory that was freed under it. */
void cvy_region_unlock(void);

#endif
