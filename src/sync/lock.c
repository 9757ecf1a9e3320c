/* SPDX-License-Identifier: MIT */
/* lock.c: the lock: one owner word (region/lock.h) that names the process that has it.
 *
 * Acquire and release are one compare-and-swap each, so a process that dies has acquired
 * (released) it or not. The word of a dead owner is taken over by whoever comes next, who
 * is told. The fields beside the word are notes of the owner's: they may be stale from a
 * dead one, and are believed only together with the word. */
#include "region/lock.h"

#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "base/mutant.h"
#include "base/opts.h"
#include "region/look.h"
#include "region/wait.h"
#include "sync/sync.h"

static bool nobody_dies(uint32_t owner, bool ask_kernel)
{
    (void)owner;
    (void)ask_kernel;
    return false;
}

/* ---- what conditions and shared values use too ---- */

static inline uint32_t lock_taker(const struct covey_lock *lock)
{
    return lock->flags & CVY_LOCK_HANDOFF ? CVY_OWNER_NOBODY : cvy_member_owner();
}

static uint32_t taker_of(const struct covey_lock *lock)
{
    return lock->object.kind == CVY_KIND_RLOCK ? cvy_thread_owner() : lock_taker(lock);
}

/* What tells whether an owner of it is dead. */
static cvy_is_dead_fn *death_of(const struct covey_lock *lock)
{
    if (lock->object.kind == CVY_KIND_RLOCK)
        return cvy_slot_is_dead;
    return lock->flags & CVY_LOCK_HANDOFF ? nobody_dies : cvy_member_is_dead;
}

uint32_t cvy_lock_owner(const struct covey_lock *lock)
{
    uint32_t owner = atomic_load(&lock->word) & CVY_OWNER_MASK;
    return owner && !death_of(lock)(owner, false) ? owner : 0;
}

int cvy_lock_take_slowly(struct covey_lock *lock, int64_t deadline)
{
    struct cvy_taker taker = {.me = taker_of(lock),
                              .is_dead = death_of(lock),
                              .what = cvy_ref_of(lock),
                              .interruptible = true};
    int r = cvy_lock_take(&lock->word, &taker, deadline);
    if (r < 0)
        return r;
    cvy_process_owns();
    if (lock->object.kind == CVY_KIND_RLOCK && !CVY_MUTANT(rlock_depth))
        atomic_store_explicit(&lock->depth, 1, memory_order_relaxed);
    if (r == 0 || CVY_MUTANT(lock_remark))
        return 0;
    atomic_store(&lock->abandoned_to, taker.me);
    return COVEY_ABANDONED;
}

void cvy_lock_wake_next(struct covey_lock *lock, uint32_t seen)
{
    uint32_t released = CVY_MUTANT(lock_not_sticky) ? 0 : CVY_WAITERS;
    if (!CVY_MUTANT(lock_wake_unarmed))
        cvy_bell_arm(); /* who dies before the wake is to be heard */
    while (!atomic_compare_exchange_weak(&lock->word, &seen, released))
        if (!(seen & CVY_OWNER_MASK))
            return; /* released by two at once */
    cvy_lock_wake(&lock->word);
}

bool cvy_lock_is_mine(const struct covey_lock *lock)
{
    return (atomic_load_explicit(&lock->word, memory_order_relaxed) & CVY_OWNER_MASK) ==
           taker_of(lock);
}

bool cvy_lock_is_abandoned(const struct covey_lock *lock)
{
    return cvy_lock_is_mine(lock) && atomic_load(&lock->abandoned_to) == taker_of(lock);
}

int cvy_lock_fail(const struct covey_lock *lock, int r, const char *call)
{
    char owner[96];
    uint32_t word = atomic_load(&lock->word) & CVY_OWNER_MASK;
    if (r == -EINTR)
        return cvy_fail(r, "%s: a signal came", call);
    if (word && lock->object.kind == CVY_KIND_RLOCK)
        word = cvy_sync_member_of(word);
    if (word)
        cvy_sync_member_text(word, owner, sizeof owner);
    return cvy_fail(r, "%s: lock%s%s is had by %s", call, lock->name[0] ? " " : "",
                    lock->name, word ? owner : "somebody");
}

uint32_t cvy_lock_release_all(struct covey_lock *lock)
{
    uint32_t depth = atomic_load_explicit(&lock->depth, memory_order_relaxed),
             mine = taker_of(lock);
    if (atomic_load_explicit(&lock->abandoned_to, memory_order_relaxed))
        atomic_store(&lock->abandoned_to, 0);
    if (lock->object.kind == CVY_KIND_RLOCK)
        atomic_store_explicit(&lock->depth, 1, memory_order_relaxed);
    if (!atomic_compare_exchange_strong(&lock->word, &mine, 0))
        cvy_lock_wake_next(lock, mine);
    return depth;
}

int cvy_lock_reacquire(struct covey_lock *lock, uint32_t depth)
{
    uint32_t free_word = 0;
    int r = 0;
    if (!atomic_compare_exchange_strong(&lock->word, &free_word, taker_of(lock)))
        do
            r = cvy_lock_take_slowly(lock, INT64_MAX);
        while (r == -EINTR);
    atomic_store_explicit(&lock->depth, depth, memory_order_relaxed);
    return r;
}

/* ---- the public calls ---- */

int covey_lock_create(covey_lock **out, const struct covey_lock_opts *opts)
{
    static const char call[] = "covey_lock_create";
    struct covey_lock_opts o;
    void *made;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".handoff", o.handoff});
    if (r >= 0)
        r = cvy_sync_begin(out, call);
    if (r >= 0)
        r = cvy_sync_create(CVY_KIND_LOCK, sizeof(struct covey_lock), o.name,
                            offsetof(struct covey_lock, name), &made);
    if (r < 0)
        return r;
    *out = made;
    if (o.handoff == COVEY_ON)
        (*out)->flags = CVY_LOCK_HANDOFF;
    return 0;
}

static inline bool try_acquire(covey_lock *lock)
{
    uint32_t free_word = 0;
    if (!atomic_compare_exchange_strong_explicit(&lock->word, &free_word,
                                                 lock_taker(lock), memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    cvy_process_owns();
    atomic_store_explicit(&lock->depth, cvy_thread_owner(), memory_order_relaxed);
    return true;
}

__attribute__((noinline)) static int acquire_slowly(covey_lock *lock,
                                                    covey_nsec timeout)
{
    static const char call[] = "covey_lock_acquire";
    int r = cvy_sync_enter(lock, CVY_KIND_LOCK, call);
    if (r < 0 || try_acquire(lock))
        return r;
    r = cvy_lock_take_slowly(lock, cvy_os_deadline(timeout));
    if (r < 0)
        return cvy_lock_fail(lock, r, call);
    atomic_store_explicit(&lock->depth, cvy_thread_owner(), memory_order_relaxed);
    return r;
}

int covey_lock_acquire(covey_lock *lock, covey_nsec timeout)
{
    if (cvy_likely(cvy_sync_is_entered(lock, CVY_KIND_LOCK) && try_acquire(lock)))
        return 0;
    return acquire_slowly(lock, timeout);
}

/* Release it if somebody has it and nobody may sleep on it. */
static inline bool try_release(covey_lock *lock)
{
    uint32_t seen = atomic_load_explicit(&lock->word, memory_order_relaxed);
    if (cvy_unlikely(atomic_load_explicit(&lock->abandoned_to, memory_order_relaxed)))
        atomic_store(&lock->abandoned_to, 0);
    return seen & CVY_OWNER_MASK && !(seen & CVY_WAITERS) &&
           atomic_compare_exchange_strong_explicit(
               &lock->word, &seen, 0, memory_order_release, memory_order_relaxed);
}

__attribute__((noinline)) static int release_slowly(covey_lock *lock)
{
    static const char call[] = "covey_lock_release";
    int r = cvy_sync_enter(lock, CVY_KIND_LOCK, call);
    if (r < 0)
        return r;
    for (uint32_t seen; (seen = atomic_load(&lock->word)) & CVY_OWNER_MASK;) {
        if (try_release(lock))
            return 0;
        if (seen & CVY_WAITERS) {
            cvy_lock_wake_next(lock, seen);
            return 0;
        }
    }
    return cvy_fail(COVEY_ERELEASED, "%s: lock%s%s is not acquired", call,
                    lock->name[0] ? " " : "", lock->name);
}

int covey_lock_release(covey_lock *lock)
{
    if (cvy_likely(cvy_sync_is_entered(lock, CVY_KIND_LOCK) && try_release(lock)))
        return 0;
    return release_slowly(lock);
}

int covey_lock_locked(covey_lock *lock)
{
    int r = cvy_sync_enter(lock, CVY_KIND_LOCK, "covey_lock_locked");
    return r < 0 ? r : cvy_lock_owner(lock) != 0;
}

int covey_lock_abandoned(covey_lock *lock)
{
    int r = cvy_sync_enter(lock, CVY_KIND_LOCK, "covey_lock_abandoned");
    return r < 0 ? r : cvy_lock_is_abandoned(lock);
}

/* What Python's locks show of an owner that is not this thread. */
static void owner_text(uint32_t member, uint32_t slot, char *text, size_t size)
{
    const char *name = cvy_member_at(CVY_INDEX_OF(member))->name;
    if (member != cvy_member_owner())
        (void)snprintf(text, size, "SomeOtherProcess");
    else if (slot != cvy_thread_owner())
        (void)snprintf(text, size, "SomeOtherThread");
    else if (cvy_os_tid() == cvy_os_pid())
        (void)snprintf(text, size, "%.60s", name);
    else
        (void)snprintf(text, size, "%.60s|Thread-%d", name, cvy_os_tid());
}

void cvy_lock_text(const struct covey_lock *lock, char *text, size_t size)
{
    uint32_t word = cvy_lock_owner(lock), depth = atomic_load(&lock->depth);
    char owner[96] = "None";
    if (lock->object.kind == CVY_KIND_LOCK) {
        if (word)
            owner_text(word == CVY_OWNER_NOBODY ? cvy_sync_member_of(depth) : word,
                       depth, owner, sizeof owner);
        (void)snprintf(text, size, "<Lock(owner=%s)>", owner);
        return;
    }
    if (word)
        owner_text(cvy_sync_member_of(word), word, owner, sizeof owner);
    if (word && word != cvy_thread_owner())
        (void)snprintf(text, size, "<RLock(%s, nonzero)>", owner);
    else
        (void)snprintf(text, size, "<RLock(%s, %u)>", owner, word ? depth : 0);
}

int covey_lock_repr(covey_lock *lock, struct covey_bytes *ret_text)
{
    static const char call[] = "covey_lock_repr";
    char text[128];
    int r = cvy_sync_enter(lock, CVY_KIND_LOCK, call);
    if (r < 0)
        return r;
    cvy_lock_text(lock, text, sizeof text);
    return cvy_sync_text(ret_text, call, "%s", text);
}

void covey_lock_free(covey_lock *lock)
{
    cvy_sync_free(lock, CVY_KIND_LOCK, "covey_lock_free");
}

/* ---- from outside ---- */

void cvy_lock_look(const struct cvy_head *head, const struct cvy_object *object,
                   char *text, size_t size)
{
    const struct covey_lock *lock = (const void *)object;
    uint32_t word = atomic_load(&lock->word) & CVY_OWNER_MASK;
    bool is_rlock = object->kind == CVY_KIND_RLOCK;
    char owner[96];
    if (!word || word == CVY_OWNER_NOBODY) {
        (void)snprintf(text, size, "%s", word ? "acquired, to be handed on" : "free");
        return;
    }
    cvy_look_member(head, is_rlock ? cvy_look_member_of(head, word) : word, owner,
                    sizeof owner);
    if (is_rlock)
        (void)snprintf(text, size, "had %u times by %s", atomic_load(&lock->depth),
                       owner);
    else
        (void)snprintf(text, size, "had by %s", owner);
}

__attribute__((constructor)) static void show_locks(void)
{
    cvy_look_register(CVY_KIND_LOCK, offsetof(struct covey_lock, name), CVY_NAME_BYTES,
                      cvy_lock_look);
    cvy_look_register(CVY_KIND_RLOCK, offsetof(struct covey_lock, name), CVY_NAME_BYTES,
                      cvy_lock_look);
}
