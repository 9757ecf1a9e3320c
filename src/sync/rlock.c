/* SPDX-License-Identifier: MIT */
/* rlock.c: the recursive lock: an owner word that names the thread's slot, and a depth
 * that only the owner writes. The depth is 1 whenever the lock is free, so that acquiring
 * stays one compare-and-swap; who takes it over from a dead owner sets it to 1. */
#include <errno.h>

#include "base/error.h"
#include "base/opts.h"
#include "region/lock.h"
#include "sync/sync.h"

int covey_rlock_create(covey_rlock **out, const struct covey_rlock_opts *opts)
{
    static const char call[] = "covey_rlock_create";
    struct covey_rlock_opts o;
    void *made;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = cvy_sync_begin(out, call);
    if (r >= 0)
        r = cvy_sync_create(CVY_KIND_RLOCK, sizeof(struct covey_rlock), o.name,
                            offsetof(struct covey_lock, name), &made);
    if (r < 0)
        return r;
    *out = made;
    atomic_store(&(*out)->lock.depth, 1);
    return 0;
}

int cvy_rlock_acquire(struct covey_lock *lock, covey_nsec timeout, const char *call)
{
    uint32_t seen = 0, me = cvy_thread_owner();
    if (cvy_likely(atomic_compare_exchange_strong_explicit(
            &lock->word, &seen, me, memory_order_acquire, memory_order_relaxed))) {
        cvy_process_owns();
        return 0;
    }
    if ((seen & CVY_OWNER_MASK) == me) {
        uint32_t depth = atomic_load_explicit(&lock->depth, memory_order_relaxed);
        if (depth == UINT32_MAX)
            return cvy_fail(-EOVERFLOW, "%s: acquired 2^32 - 1 times", call);
        atomic_store_explicit(&lock->depth, depth + 1, memory_order_relaxed);
        return 0;
    }
    int r = cvy_lock_take_slowly(lock, cvy_os_deadline(timeout));
    return r < 0 ? cvy_lock_fail(lock, r, call) : r;
}

int cvy_rlock_release(struct covey_lock *lock, const char *call)
{
    uint32_t seen = atomic_load_explicit(&lock->word, memory_order_relaxed),
             mine = cvy_thread_owner();
    if (cvy_unlikely((seen & CVY_OWNER_MASK) != mine))
        return cvy_fail(COVEY_ENOTOWNER, "%s: this thread does not have lock%s%s", call,
                        lock->name[0] ? " " : "", lock->name);
    uint32_t depth = atomic_load_explicit(&lock->depth, memory_order_relaxed);
    if (depth > 1) {
        atomic_store_explicit(&lock->depth, depth - 1, memory_order_relaxed);
        return 0;
    }
    if (cvy_unlikely(atomic_load_explicit(&lock->abandoned_to, memory_order_relaxed)))
        atomic_store(&lock->abandoned_to, 0);
    if (!atomic_compare_exchange_strong_explicit(
            &lock->word, &mine, 0, memory_order_release, memory_order_relaxed))
        cvy_lock_wake_next(lock, mine);
    return 0;
}

int covey_rlock_acquire(covey_rlock *lock, covey_nsec timeout)
{
    static const char call[] = "covey_rlock_acquire";
    int r = cvy_sync_enter(lock, CVY_KIND_RLOCK, call);
    return cvy_unlikely(r < 0) ? r : cvy_rlock_acquire(&lock->lock, timeout, call);
}

int covey_rlock_release(covey_rlock *lock)
{
    static const char call[] = "covey_rlock_release";
    int r = cvy_sync_enter(lock, CVY_KIND_RLOCK, call);
    return cvy_unlikely(r < 0) ? r : cvy_rlock_release(&lock->lock, call);
}

int covey_rlock_locked(covey_rlock *lock)
{
    int r = cvy_sync_enter(lock, CVY_KIND_RLOCK, "covey_rlock_locked");
    return r < 0 ? r : cvy_lock_owner(&lock->lock) != 0;
}

int covey_rlock_abandoned(covey_rlock *lock)
{
    int r = cvy_sync_enter(lock, CVY_KIND_RLOCK, "covey_rlock_abandoned");
    return r < 0 ? r : cvy_lock_is_abandoned(&lock->lock);
}

int covey_rlock_repr(covey_rlock *lock, struct covey_bytes *ret_text)
{
    static const char call[] = "covey_rlock_repr";
    char text[128];
    int r = cvy_sync_enter(lock, CVY_KIND_RLOCK, call);
    if (r < 0)
        return r;
    cvy_lock_text(&lock->lock, text, sizeof text);
    return cvy_sync_text(ret_text, call, "%s", text);
}

void covey_rlock_free(covey_rlock *lock)
{
    cvy_sync_free(lock, CVY_KIND_RLOCK, "covey_rlock_free");
}
