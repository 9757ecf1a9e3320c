/* SPDX-License-Identifier: MIT */
/**
 * types/lock.h: locks that belong to sessions, and the times that waiting may take.
 */
#ifndef CVY_MANAGER_TYPES_LOCK_H
#define CVY_MANAGER_TYPES_LOCK_H

#include "manager/class.h"

/** A Lock or RLock; conditions may share it. */
struct cvy_owned_lock {
    unsigned refs;
    bool reentrant;
    uint64_t count;            /* how often the owner has it; 0: free */
    struct cvy_session *owner; /* of a Lock: who acquired it, whoever may release it;
                                  the lock watches it, whichever object shows the lock */
    struct cvy_waiters waiters;
};

struct cvy_owned_lock *cvy_owned_new(bool reentrant);
void cvy_owned_ref(struct cvy_owned_lock *lock);
void cvy_owned_drop(struct cvy_owned_lock *lock);

/** Whether a method of this session that needs the lock may go on. */
bool cvy_owned_is_held(const struct cvy_owned_lock *lock,
                       const struct cvy_session *session);

/** The methods, for whatever has a lock. */
int cvy_owned_acquire(struct cvy_call *call, struct cvy_owned_lock *lock);
int cvy_owned_release(struct cvy_call *call, struct cvy_owned_lock *lock);
int cvy_owned_locked(struct cvy_call *call, const struct cvy_owned_lock *lock);
int cvy_owned_repr(struct cvy_call *call, const struct cvy_owned_lock *lock,
                   const char *before, const char *after);

/** Release it wholly. Returns: how often it was held, for cvy_owned_retake. */
uint64_t cvy_owned_release_all(struct cvy_owned_lock *lock);
/** Take it again as often, and return `result`, a bool; if it is not free, park with
 * `resume`, to try it again. Returns: as a method; -ENOMEM. */
int cvy_owned_retake(struct cvy_call *call, struct cvy_owned_lock *lock, uint64_t count,
                     bool result, cvy_resume_fn *resume) COVEY_MUST_CHECK;

/* ---- times --------------------------------------------------------------------- */

/** The monotonic time that is so many seconds, > 0, from now; an int or a float, of which
 * exceptions tell. Returns: 0; CVY_RAISED (OverflowError). */
int cvy_take_deadline(struct cvy_call *call, double seconds, bool is_integer,
                      int64_t *ret) COVEY_MUST_CHECK;

/** A timeout of a function in Python that compares it by `operator` with 0, and waits only
 * if it is greater: None is for ever; what is not greater gives `*ret` 0, which is past.
 * Returns: 0; CVY_RAISED. */
int cvy_take_timeout(struct cvy_call *call, const covey_value *value,
                     const char *operator, int64_t * ret) COVEY_MUST_CHECK;

/** Refuse an integer that cannot be added to a float. Returns: 0; CVY_RAISED. */
int cvy_check_addend(struct cvy_call *call, const covey_value *value) COVEY_MUST_CHECK;

/** The same as cvy_take_timeout where the time is added to that of the clock first. */
int cvy_take_added_timeout(struct cvy_call *call, const covey_value *value,
                           int64_t *ret) COVEY_MUST_CHECK;

#endif
