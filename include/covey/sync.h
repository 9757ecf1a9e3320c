/* SPDX-License-Identifier: MIT */
/**
 * covey/sync.h: lock, rlock, semaphore, bounded semaphore, condition, event, barrier.
 *
 * They lie in the family's memory: a pointer to one is valid in every process of the
 * family, under every start method. A process child is born holding what its starter
 * holds; see covey_hold for pointers that travel in another way.
 *
 * What death means. A process that is killed inside or outside of these calls hangs
 * nobody:
 *
 *   lock, rlock        whoever acquires it next gets it with the remark COVEY_ABANDONED:
 *                      what it protects may be half-written. Once; then it is as new.
 *   semaphore          its permits come back, unless the semaphore is used as a signal:
 *                      a process has released more than it holds
 *   condition          its notification goes to another waiter; a notify that it died
 *                      in is carried through by the waiters
 *   event              never depends on who waits
 *   barrier            if it had arrived: broken, all who wait get COVEY_EBROKEN
 *
 * "Dead" is also a process that ended in order or ran another program by exec. A stopped
 * one (SIGSTOP) is not dead, nor is a thread whose process goes on: its lock stays the
 * process's. Only an rlock belongs to a thread; when that ends, it is abandoned.
 *
 * The defaults of covey/base.h hold, and: any thread of any process of the family that
 * holds the object may call. `timeout` counts on the monotonic clock, see covey_nsec.
 * Every call returns -EINVAL for what is no such object (NULL among it), COVEY_EFREED for
 * one that was freed, and the errors of founding the family. A call that blocks returns
 * -EINTR after a signal handler that was installed without SA_RESTART.
 *
 * Sizes in shared memory: lock, rlock and event 128 bytes, semaphore and barrier 704,
 * condition 832. Beyond the first few processes (semaphore) or threads (condition,
 * barrier) that use one at a time it grows by 4 KiB for 512 more, 8 KiB for the next
 * 1,024 and so on; a call that finds no memory for that returns -ENOMEM.
 */
#ifndef COVEY_SYNC_H
#define COVEY_SYNC_H

#include <covey/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Mutual exclusion that any process or thread may release. */
typedef struct covey_lock covey_lock;
/** A lock that the thread which has it may acquire again. */
typedef struct covey_rlock covey_rlock;
/** Permits: a number that never falls below zero. */
typedef struct covey_semaphore covey_semaphore;
/** A semaphore that is never released above its first value. */
typedef struct covey_bounded_semaphore covey_bounded_semaphore;
/** Waiting for a change of what a lock protects. */
typedef struct covey_condition covey_condition;
/** A flag one can wait for. */
typedef struct covey_event covey_event;
/** A place where a number of threads wait until all have come. */
typedef struct covey_barrier covey_barrier;

/* ---- lock ------------------------------------------------------------------- */

/** Options of a lock; zero means the default. */
struct covey_lock_opts {
    size_t size;      /**< sizeof(struct covey_lock_opts); COVEY_LOCK_OPTS fills it */
    const char *name; /**< shown by covey_family_describe; its first 47 bytes count */
    enum covey_switch handoff; /**< on: whoever acquires it may end and leave it to
                                    somebody else to release; nobody's death frees it */
};
#define COVEY_LOCK_OPTS(...)                                                           \
    (&(struct covey_lock_opts){.size = sizeof(struct covey_lock_opts), __VA_ARGS__})

/**
 * Make a lock.
 *
 * Returns:  0; -EINVAL for bad options; -ENOMEM when the family's budget is used up.
 */
COVEY_API int covey_lock_create(covey_lock **out,
                                const struct covey_lock_opts *opts) COVEY_MUST_CHECK;

/**
 * Acquire the lock. It is not recursive: a thread that has it already waits.
 *
 * Returns:  0; COVEY_ABANDONED: acquired, its last owner died having it; -ETIMEDOUT;
 *           -EINTR.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_lock_acquire(covey_lock *lock, covey_nsec timeout);

/**
 * Release the lock, whoever acquired it.
 *
 * Returns:  0; COVEY_ERELEASED if nobody has it.
 */
COVEY_API int covey_lock_release(covey_lock *lock);

/** Returns:  1 if anybody has the lock; 0 if nobody does, or one who is dead. */
COVEY_API int covey_lock_locked(covey_lock *lock);

/**
 * Whether the calling process has the lock and got it from an owner that died: after a
 * wait on a condition whose timeout ended it, for instance.
 *
 * Returns:  1 or 0.
 */
COVEY_API int covey_lock_abandoned(covey_lock *lock);

/**
 * Write what Python shows: `<Lock(owner=None)>`, `<Lock(owner=Process-1)>` or, in a
 * thread that is not the first, `<Lock(owner=Process-1|Thread-4711)>` with its thread id,
 * `<Lock(owner=SomeOtherThread)>`, `<Lock(owner=SomeOtherProcess)>`. The dead are nobody.
 *
 * Returns:  0; -ENOMEM. `ret_text` ends with a NUL that its size omits.
 */
COVEY_API int covey_lock_repr(covey_lock *lock, struct covey_bytes *ret_text);

/** Drop this process's hold; NULL is fine. The lock is as it was for those who go on. */
COVEY_API void covey_lock_free(covey_lock *lock);

/* ---- rlock ------------------------------------------------------------------ */

/** Options of an rlock; zero means the default. */
struct covey_rlock_opts {
    size_t size;      /**< sizeof(struct covey_rlock_opts); COVEY_RLOCK_OPTS fills it */
    const char *name; /**< shown by covey_family_describe; its first 47 bytes count */
};
#define COVEY_RLOCK_OPTS(...)                                                          \
    (&(struct covey_rlock_opts){.size = sizeof(struct covey_rlock_opts), __VA_ARGS__})

/**
 * Make a recursive lock.
 *
 * Returns:  0; -EINVAL for bad options; -ENOMEM when the family's budget is used up.
 */
COVEY_API int covey_rlock_create(covey_rlock **out,
                                 const struct covey_rlock_opts *opts) COVEY_MUST_CHECK;

/**
 * Acquire the lock, or once more if the calling thread has it.
 *
 * Returns:  0; COVEY_ABANDONED: acquired, the last owner died or its thread ended having
 *           it; -ETIMEDOUT; -EINTR; -EOVERFLOW after 2^32 - 1 times.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_rlock_acquire(covey_rlock *lock, covey_nsec timeout);

/**
 * Undo one acquire of the calling thread.
 *
 * Returns:  0; COVEY_ENOTOWNER if this thread does not have it.
 */
COVEY_API int covey_rlock_release(covey_rlock *lock);

/** Returns:  1 if anybody has the lock; 0 if nobody does, or a thread that has ended. */
COVEY_API int covey_rlock_locked(covey_rlock *lock);

/** Returns:  1 if this thread has the lock and got it from an owner that died, else 0. */
COVEY_API int covey_rlock_abandoned(covey_rlock *lock);

/**
 * Write what Python shows: `<RLock(None, 0)>`, `<RLock(MainProcess, 2)>`,
 * `<RLock(SomeOtherThread, nonzero)>`, `<RLock(SomeOtherProcess, nonzero)>`. The dead are
 * nobody.
 *
 * Returns:  0; -ENOMEM. `ret_text` ends with a NUL that its size omits.
 */
COVEY_API int covey_rlock_repr(covey_rlock *lock, struct covey_bytes *ret_text);

/** Drop this process's hold; NULL is fine. */
COVEY_API void covey_rlock_free(covey_rlock *lock);

/* ---- scoped acquire --------------------------------------------------------- */

#if defined(__GNUC__)
/** Of COVEY_WITH_LOCK. Returns:  the lock, acquired; NULL if that failed. */
static inline covey_lock *covey_lock_enter(covey_lock *lock)
{
    return covey_lock_acquire(lock, COVEY_FOREVER) >= 0 ? lock : NULL;
}
/** Of COVEY_WITH_LOCK: release and forget it. */
static inline void covey_lock_leave(covey_lock **lock)
{
    if (*lock)
        (void)covey_lock_release(*lock);
    *lock = NULL;
}
/** Of COVEY_WITH_RLOCK. Returns:  the lock, acquired; NULL if that failed. */
static inline covey_rlock *covey_rlock_enter(covey_rlock *lock)
{
    return covey_rlock_acquire(lock, COVEY_FOREVER) >= 0 ? lock : NULL;
}
/** Of COVEY_WITH_RLOCK: release and forget it. */
static inline void covey_rlock_leave(covey_rlock **lock)
{
    if (*lock)
        (void)covey_rlock_release(*lock);
    *lock = NULL;
}

/**
 * Run the statement that follows with the lock acquired, and release it whichever way the
 * statement is left: by its end, break, goto or return. If acquiring fails, the statement
 * is not run and covey_error_detail tells why.
 *
 *     COVEY_WITH_LOCK(lock) {
 *         counter->value++;
 *     }
 */
#define COVEY_WITH_LOCK(lock)                                                          \
    COVEY_WITH_(lock, covey_lock, COVEY_JOIN_(covey_held_, __LINE__))
/** The same with an rlock. */
#define COVEY_WITH_RLOCK(lock)                                                         \
    COVEY_WITH_(lock, covey_rlock, COVEY_JOIN_(covey_held_, __LINE__))

/* A name of its own for each line, so that nested ones shadow nothing. */
#define COVEY_JOIN_(a, b)  COVEY_JOIN__(a, b)
#define COVEY_JOIN__(a, b) a##b
#define COVEY_WITH_(lock, type, held)                                                  \
    for (__attribute__((cleanup(type##_leave))) type *held = type##_enter(lock); held; \
         type##_leave(&held))
#endif

/* ---- semaphore -------------------------------------------------------------- */

/** Options of a semaphore; zero means the default. */
struct covey_semaphore_opts {
    /** sizeof(struct covey_semaphore_opts); COVEY_SEMAPHORE_OPTS fills it. */
    size_t size;
    /** Shown by covey_family_describe; its first 47 bytes count. */
    const char *name;
    /** On: permits are never given back for the dead. Without it a semaphore becomes a
     * signal, for ever, when it starts at 0 or a process releases more permits than it
     * holds: all of them are nobody's then. */
    enum covey_switch signal;
};
#define COVEY_SEMAPHORE_OPTS(...)                                                      \
    (&(struct covey_semaphore_opts){.size = sizeof(struct covey_semaphore_opts),       \
                                    __VA_ARGS__})

/**
 * Make a semaphore with `value` permits.
 *
 * Returns:  0; -EOVERFLOW over 2^31 - 1; -EINVAL for bad options; -ENOMEM.
 */
COVEY_API int
covey_semaphore_create(covey_semaphore **out, unsigned value,
                       const struct covey_semaphore_opts *opts) COVEY_MUST_CHECK;

/**
 * Take a permit.
 *
 * Returns:  0; -ETIMEDOUT; -EINTR; -ENOMEM, see covey_semaphore_create.
 * Blocks:   while there is none, at most `timeout`.
 */
COVEY_API int covey_semaphore_acquire(covey_semaphore *semaphore, covey_nsec timeout);

/**
 * Give `n` permits, also more than there were at first.
 *
 * Returns:  0; -EOVERFLOW if there would be more than 2^31 - 1; -EINVAL if `n` is 0.
 */
COVEY_API int covey_semaphore_release(covey_semaphore *semaphore, unsigned n);

/** Read how many permits there are. Returns:  0. */
COVEY_API int covey_semaphore_get_value(covey_semaphore *semaphore,
                                        unsigned *ret_value);

/** Returns:  1 if there is no permit, else 0. */
COVEY_API int covey_semaphore_locked(covey_semaphore *semaphore);

/**
 * Write what Python shows: `<Semaphore(value=2)>`.
 *
 * Returns:  0; -ENOMEM. `ret_text` ends with a NUL that its size omits.
 */
COVEY_API int covey_semaphore_repr(covey_semaphore *semaphore,
                                   struct covey_bytes *ret_text);

/** Drop this process's hold; NULL is fine. */
COVEY_API void covey_semaphore_free(covey_semaphore *semaphore);

/**
 * Make a bounded semaphore with `value` permits, which it never exceeds.
 *
 * Returns:  0; -EOVERFLOW over 2^31 - 1; -EINVAL for bad options; -ENOMEM.
 */
COVEY_API int covey_bounded_semaphore_create(
    covey_bounded_semaphore **out, unsigned value,
    const struct covey_semaphore_opts *opts) COVEY_MUST_CHECK;

/**
 * Take a permit.
 *
 * Returns:  0; -ETIMEDOUT; -EINTR; -ENOMEM.
 * Blocks:   while there is none, at most `timeout`.
 */
COVEY_API int covey_bounded_semaphore_acquire(covey_bounded_semaphore *semaphore,
                                              covey_nsec timeout);

/**
 * Give `n` permits back.
 *
 * Returns:  0; COVEY_ERELEASED if there would be more than at first; -EINVAL if `n` is 0.
 */
COVEY_API int covey_bounded_semaphore_release(covey_bounded_semaphore *semaphore,
                                              unsigned n);

/** Read how many permits there are. Returns:  0. */
COVEY_API int covey_bounded_semaphore_get_value(covey_bounded_semaphore *semaphore,
                                                unsigned *ret_value);

/** Returns:  1 if there is no permit, else 0. */
COVEY_API int covey_bounded_semaphore_locked(covey_bounded_semaphore *semaphore);

/**
 * Write what Python shows: `<BoundedSemaphore(value=2, maxvalue=2)>`.
 *
 * Returns:  0; -ENOMEM. `ret_text` ends with a NUL that its size omits.
 */
COVEY_API int covey_bounded_semaphore_repr(covey_bounded_semaphore *semaphore,
                                           struct covey_bytes *ret_text);

/** Drop this process's hold; NULL is fine. */
COVEY_API void covey_bounded_semaphore_free(covey_bounded_semaphore *semaphore);

/* ---- condition -------------------------------------------------------------- */

/** Options of a condition; zero means the default. */
struct covey_condition_opts {
    /** sizeof(struct covey_condition_opts); COVEY_CONDITION_OPTS fills it. */
    size_t size;
    /** Shown by covey_family_describe; its first 47 bytes count. */
    const char *name;
    /** The lock it works with, which the condition holds; only one of these two. Default:
     * an rlock of its own. */
    covey_lock *lock;
    covey_rlock *rlock;
};
#define COVEY_CONDITION_OPTS(...)                                                      \
    (&(struct covey_condition_opts){.size = sizeof(struct covey_condition_opts),       \
                                    __VA_ARGS__})

/** Says whether one need not wait any longer: 1 or 0; negative ends the wait too. */
typedef int covey_predicate_fn(void *ctx);

/**
 * Make a condition.
 *
 * Returns:  0; -EINVAL for bad options; -ENOMEM when the family's budget is used up.
 */
COVEY_API int
covey_condition_create(covey_condition **out,
                       const struct covey_condition_opts *opts) COVEY_MUST_CHECK;

/** Acquire the condition's lock: covey_lock_acquire or covey_rlock_acquire of it.
 *
 * Returns:  as those.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_condition_acquire(covey_condition *condition, covey_nsec timeout);

/** Release the condition's lock. Returns:  as the lock's release. */
COVEY_API int covey_condition_release(covey_condition *condition);

/**
 * Release the lock, however often this thread has acquired it, sleep until notified, and
 * acquire it again as often, which is not limited by `timeout`.
 *
 * Returns:  0: notified; COVEY_ABANDONED: notified, and the lock was had from an owner
 *           that died; -ETIMEDOUT, -EINTR and -ENOMEM, with the lock acquired;
 *           COVEY_ENOTOWNER if this thread (an rlock) or process (a lock) does not have
 *           it.
 * Blocks:   at most `timeout`, and until the lock is free.
 */
COVEY_API int covey_condition_wait(covey_condition *condition, covey_nsec timeout);

/**
 * Wait until `predicate(ctx)`, which is called with the lock acquired, is not 0.
 *
 * Returns:  0; COVEY_ABANDONED; -ETIMEDOUT; -EINTR; a negative result of `predicate`;
 *           COVEY_ENOTOWNER; -ENOMEM.
 * Blocks:   at most `timeout`, and until the lock is free.
 */
COVEY_API int covey_condition_wait_for(covey_condition *condition,
                                       covey_predicate_fn *predicate, void *ctx,
                                       covey_nsec timeout);

/**
 * Wake the `n` threads that have waited longest, or all there are.
 *
 * Returns:  0, also when nobody waits; COVEY_ENOTOWNER if the lock is not this thread's
 *           (an rlock) or process's (a lock); -EINVAL if `n` is 0.
 */
COVEY_API int covey_condition_notify(covey_condition *condition, unsigned n);

/** Wake all who wait. Returns:  0; COVEY_ENOTOWNER. */
COVEY_API int covey_condition_notify_all(covey_condition *condition);

/**
 * Write what Python shows: `<Condition(<RLock(None, 0)>, 0)>`, with how many wait.
 *
 * Returns:  0; -ENOMEM. `ret_text` ends with a NUL that its size omits.
 */
COVEY_API int covey_condition_repr(covey_condition *condition,
                                   struct covey_bytes *ret_text);

/** Drop this process's hold; NULL is fine. */
COVEY_API void covey_condition_free(covey_condition *condition);

/* ---- event ------------------------------------------------------------------ */

/** Options of an event; zero means the default. */
struct covey_event_opts {
    size_t size;      /**< sizeof(struct covey_event_opts); COVEY_EVENT_OPTS fills it */
    const char *name; /**< shown by covey_family_describe; its first 47 bytes count */
};
#define COVEY_EVENT_OPTS(...)                                                          \
    (&(struct covey_event_opts){.size = sizeof(struct covey_event_opts), __VA_ARGS__})

/**
 * Make an event that is not set.
 *
 * Returns:  0; -EINVAL for bad options; -ENOMEM when the family's budget is used up.
 */
COVEY_API int covey_event_create(covey_event **out,
                                 const struct covey_event_opts *opts) COVEY_MUST_CHECK;

/** Set it and wake all who wait. Returns:  0. */
COVEY_API int covey_event_set(covey_event *event);

/** Unset it. Who waited when it was set returns from its wait all the same. Returns:  0. */
COVEY_API int covey_event_clear(covey_event *event);

/** Returns:  1 if it is set, else 0. */
COVEY_API int covey_event_is_set(covey_event *event);

/**
 * Wait until it is set.
 *
 * Returns:  0; -ETIMEDOUT; -EINTR.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_event_wait(covey_event *event, covey_nsec timeout);

/**
 * Write `<Event at 0x200000123456 unset>`, as Python does.
 *
 * Returns:  0; -ENOMEM. `ret_text` ends with a NUL that its size omits.
 */
COVEY_API int covey_event_repr(covey_event *event, struct covey_bytes *ret_text);

/** Drop this process's hold; NULL is fine. */
COVEY_API void covey_event_free(covey_event *event);

/* ---- barrier ---------------------------------------------------------------- */

/** Runs once each time all have come, before any of them goes on; negative: failed. */
typedef int covey_action_fn(void);

/** Options of a barrier; zero means the default. */
struct covey_barrier_opts {
    size_t size; /**< sizeof(struct covey_barrier_opts); COVEY_BARRIER_OPTS fills it */
    const char *name; /**< shown by covey_family_describe; its first 47 bytes count */
    covey_action_fn *action; /**< called by the last to come, in its process */
    covey_nsec timeout;      /**< for waits with COVEY_FOREVER; default: no limit */
};
#define COVEY_BARRIER_OPTS(...)                                                        \
    (&(struct covey_barrier_opts){.size = sizeof(struct covey_barrier_opts),           \
                                  __VA_ARGS__})

/**
 * Make a barrier for `parties` threads, of whichever processes.
 *
 * Returns:  0; -EINVAL for no or over 65,535 parties, bad options, or an action that lies
 *           in no program or shared object; -ENOMEM when the family's budget is used up.
 */
COVEY_API int
covey_barrier_create(covey_barrier **out, unsigned parties,
                     const struct covey_barrier_opts *opts) COVEY_MUST_CHECK;

/**
 * Wait until all parties have come. The barrier is then ready for the next time. While an
 * action runs all have come, and wait for it without limit; who comes meanwhile waits for
 * the next time to begin.
 *
 * `ret_index`: receives a number from 0 to parties - 1, another for each; may be NULL.
 * Returns:  0; COVEY_EBROKEN: it is broken, or was while this thread waited, or was reset:
 *           the detail says why; -ETIMEDOUT and -EINTR, which break it for all, or, while
 *           the action of those before still runs, leave it as if this thread had not come;
 *           what the action returned if that is negative and this thread called it;
 *           -ENOMEM, as if it had not come.
 * Blocks:   at most `timeout`, and for those who have come while the action runs.
 */
COVEY_API int covey_barrier_wait(covey_barrier *barrier, covey_nsec timeout,
                                 unsigned *ret_index);

/** Make it as new; who waits gets COVEY_EBROKEN. Returns:  0. */
COVEY_API int covey_barrier_reset(covey_barrier *barrier);

/** Break it: who waits and who comes gets COVEY_EBROKEN until a reset. Returns:  0. */
COVEY_API int covey_barrier_abort(covey_barrier *barrier);

/** Returns:  1 if it is broken, else 0. */
COVEY_API int covey_barrier_broken(covey_barrier *barrier);

/** Read how many threads it is for. Returns:  0. */
COVEY_API int covey_barrier_parties(covey_barrier *barrier, unsigned *ret_parties);

/** Read how many threads wait. Returns:  0. */
COVEY_API int covey_barrier_n_waiting(covey_barrier *barrier, unsigned *ret_waiting);

/**
 * Write `<Barrier at 0x200000123456: waiters=0/3>`, as Python does; "broken" in place of
 * the numbers.
 *
 * Returns:  0; -ENOMEM. `ret_text` ends with a NUL that its size omits.
 */
COVEY_API int covey_barrier_repr(covey_barrier *barrier, struct covey_bytes *ret_text);

/** Drop this process's hold; NULL is fine. */
COVEY_API void covey_barrier_free(covey_barrier *barrier);

#ifdef __cplusplus
}
#endif

#endif
