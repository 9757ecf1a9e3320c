/* SPDX-License-Identifier: MIT */
/*
 * Lock and RLock. To CPython's server an owner is the thread that serves a connection; here
 * it is the session. A Lock may be released by anybody. What a session that ends still owns
 * is released.
 */
#include "manager/types/lock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/types/help.h"
#include "manager/types/types.h"
#include "os/os.h"

/* ---- times --------------------------------------------------------------------- */

int cvy_take_deadline(struct cvy_call *call, double seconds, bool is_integer,
                      int64_t *ret)
{
    if (isnan(seconds))
        return cvy_raise(call, "ValueError", "Invalid value NaN (not a number)");
    if (seconds * 1e9 >= (double)INT64_MAX)
        return cvy_raise(call, "OverflowError",
                         is_integer ? "timestamp too large to convert to C PyTime_t"
                                    : "timestamp out of range for platform time_t");
    *ret = cvy_os_deadline((covey_nsec)(seconds * 1e9));
    return 0;
}

int cvy_take_timeout(struct cvy_call *call, const covey_value *value,
                     const char *operator, int64_t * ret)
{
    double seconds;

    *ret = cvy_is_missing(value) ? INT64_MAX : 0;
    if (cvy_is_missing(value))
        return 0;
    if (!cvy_get_real(value, &seconds))
        return cvy_raise_unordered(call, operator, value, covey_value_int(0));
    return seconds > 0 ? cvy_take_deadline(call, seconds, cvy_is_integer(value), ret)
                       : 0;
}

int cvy_check_addend(struct cvy_call *call, const covey_value *value)
{
    double seconds;

    if (!cvy_is_integer(value) || covey_value_get_float(value, &seconds) == 0)
        return 0;
    return cvy_raise(call, "OverflowError", "int too large to convert to float");
}

int cvy_take_added_timeout(struct cvy_call *call, const covey_value *value,
                           int64_t *ret)
{
    int r;

    if (!cvy_is_missing(value) && !cvy_is_real(value) &&
        !cvy_is_kind(value, COVEY_VALUE_COMPLEX))
        return cvy_raise(call, "TypeError",
                         "unsupported operand type(s) for +: 'float' and '%s'",
                         cvy_type_of(value));
    if (!cvy_is_missing(value) && (r = cvy_check_addend(call, value)))
        return r;
    return cvy_take_timeout(call, value, ">", ret);
}

/* ---- locks, inside ------------------------------------------------------------- */

struct cvy_owned_lock *cvy_owned_new(bool reentrant)
{
    struct cvy_owned_lock *lock = cvy_calloc(1, sizeof(*lock));

    if (!lock) {
        cvy_fail(-ENOMEM, "no memory for a lock");
        return NULL;
    }
    lock->refs = 1;
    lock->reentrant = reentrant;
    return lock;
}

void cvy_owned_ref(struct cvy_owned_lock *lock)
{
    lock->refs++;
}

void cvy_owned_drop(struct cvy_owned_lock *lock)
{
    if (--lock->refs > 0)
        return;
    if (lock->owner)
        cvy_unwatch(lock->owner, lock);
    cvy_free(lock);
}

bool cvy_owned_is_held(const struct cvy_owned_lock *lock,
                       const struct cvy_session *session)
{
    return lock->count && (!lock->reentrant || lock->owner == session);
}

/* It is free now. */
static void pass_on(struct cvy_owned_lock *lock)
{
    lock->owner = NULL;
    lock->count = 0;
    cvy_wake_first(&lock->waiters);
}

static void owner_gone(void *thing, struct cvy_session *session)
{
    (void)session;
    pass_on(thing);
}

/* It is free. If it stays so for lack of memory, it is the next one's turn. */
static int take(struct cvy_call *call, struct cvy_owned_lock *lock, uint64_t count)
{
    int r =
        cvy_watch(call->session, lock, lock->reentrant ? "RLock" : "Lock", owner_gone);

    if (r < 0) {
        cvy_wake_first(&lock->waiters);
        return r;
    }
    lock->owner = call->session;
    lock->count = count;
    return 0;
}

uint64_t cvy_owned_release_all(struct cvy_owned_lock *lock)
{
    uint64_t count = lock->count;

    cvy_unwatch(lock->owner, lock);
    pass_on(lock);
    return count;
}

/* ---- acquiring ----------------------------------------------------------------- */

static int acquire_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    struct cvy_owned_lock *lock = call->kept[0].pointer;
    int r;

    (void)self;
    if (why != CVY_WOKEN)
        return cvy_return_bool(call, false);
    if (lock->count)
        return cvy_park_first(call, &lock->waiters, call->until, acquire_resume);
    r = take(call, lock, 1);
    return r < 0 ? r : cvy_return_bool(call, true);
}

/* `blocking` and `timeout` as CPython's locks take them. */
static int take_patience(struct cvy_call *call, int64_t *ret_until)
{
    static const char *const names[] = {"blocking", "timeout"};
    const covey_value *args[2];
    double seconds = -1;
    bool blocking;
    int r = cvy_take_keywords(call, "acquire", 2, names, args);

    if (r)
        return r;
    if (args[1] && !cvy_get_real(args[1], &seconds))
        return cvy_raise(call, "TypeError",
                         "'%s' object cannot be interpreted as an integer",
                         cvy_type_of(args[1]));
    blocking = !args[0] || covey_value_truth(args[0]);
    if (args[1] && isnan(seconds))
        return cvy_take_deadline(call, seconds, false, ret_until);
    if (!blocking && seconds != -1)
        return cvy_raise(call, "ValueError",
                         "can't specify a timeout for a non-blocking call");
    if (seconds < 0 && seconds != -1)
        return cvy_raise(call, "ValueError",
                         "timeout value must be a non-negative number");
    *ret_until = blocking ? INT64_MAX : 0;
    return args[1] && seconds != -1
               ? cvy_take_deadline(call, seconds, cvy_is_integer(args[1]), ret_until)
               : 0;
}

int cvy_owned_acquire(struct cvy_call *call, struct cvy_owned_lock *lock)
{
    int64_t until = 0;
    int r = take_patience(call, &until);

    if (r)
        return r;
    if (lock->reentrant && lock->count && lock->owner == call->session) {
        lock->count++;
        return cvy_return_bool(call, true);
    }
    if (!lock->count && !lock->waiters.first) {
        r = take(call, lock, 1);
        return r < 0 ? r : cvy_return_bool(call, true);
    }
    if (!until)
        return cvy_return_bool(call, false);
    call->kept[0].pointer = lock;
    return cvy_park(call, &lock->waiters, until, acquire_resume);
}

int cvy_owned_release(struct cvy_call *call, struct cvy_owned_lock *lock)
{
    int r = cvy_take_none(call, lock->reentrant ? "RLock" : "lock");

    if (r)
        return r;
    if (!cvy_owned_is_held(lock, call->session))
        return cvy_raise(call, "RuntimeError",
                         lock->reentrant ? "cannot release un-acquired lock"
                                         : "release unlocked lock");
    if (lock->count > 1)
        lock->count--;
    else
        cvy_owned_release_all(lock);
    return cvy_return_none(call);
}

int cvy_owned_locked(struct cvy_call *call, const struct cvy_owned_lock *lock)
{
    int r = cvy_take_none(call, lock->reentrant ? "RLock" : "lock");

    return r ? r : cvy_return_bool(call, lock->count != 0);
}

int cvy_owned_retake(struct cvy_call *call, struct cvy_owned_lock *lock, uint64_t count,
                     bool result, cvy_resume_fn *resume)
{
    int r;

    if (!lock->count) {
        r = take(call, lock, count);
        return r < 0 ? r : cvy_return_bool(call, result);
    }
    return cvy_park(call, &lock->waiters, INT64_MAX, resume);
}

/* ---- repr ---------------------------------------------------------------------- */

int cvy_owned_repr(struct cvy_call *call, const struct cvy_owned_lock *lock,
                   const char *before, const char *after)
{
    const char *state = lock->count ? "locked" : "unlocked";
    char what[120];

    if (lock->reentrant)
        snprintf(what, sizeof(what), "%s<%s _thread.RLock object owner=%d count=%llu",
                 before, state, lock->count != 0, (unsigned long long)lock->count);
    else
        snprintf(what, sizeof(what), "%s<%s _thread.lock object", before, state);
    return cvy_return_address(call, what, lock, after);
}

/* ---- the objects --------------------------------------------------------------- */

static int lock_create(struct cvy_call *call, void **ret_self)
{
    size_t count = cvy_arg_count(call);

    if (covey_value_count(call->kwds))
        return cvy_raise(call, "TypeError", "lock() takes no keyword arguments");
    if (count)
        return cvy_raise(call, "TypeError", "lock expected 0 arguments, got %zu",
                         count);
    *ret_self = cvy_owned_new(false);
    return covey_value_check(*ret_self);
}

/* Takes whatever it is given, as in CPython before 3.15. */
static int rlock_create(struct cvy_call *call, void **ret_self)
{
    (void)call;
    *ret_self = cvy_owned_new(true);
    return covey_value_check(*ret_self);
}

static void lock_destroy(void *self)
{
    cvy_owned_drop(self);
}

static int lock_acquire(struct cvy_call *call, void *self)
{
    return cvy_owned_acquire(call, self);
}

static int lock_release(struct cvy_call *call, void *self)
{
    return cvy_owned_release(call, self);
}

static int lock_locked(struct cvy_call *call, void *self)
{
    return cvy_owned_locked(call, self);
}

static int lock_repr(struct cvy_call *call, void *self)
{
    return cvy_owned_repr(call, self, "", "");
}

static const struct cvy_method methods[] = {
    {"acquire", lock_acquire, 0},
    {"locked", lock_locked, 0},
    {"release", lock_release, 0},
};

const struct cvy_class cvy_type_lock = {
    .name = "Lock",
    .proxy = "AcquirerProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = lock_create,
    .destroy = lock_destroy,
    .repr = lock_repr,
};

const struct cvy_class cvy_type_rlock = {
    .name = "RLock",
    .proxy = "AcquirerProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = rlock_create,
    .destroy = lock_destroy,
    .repr = lock_repr,
};
