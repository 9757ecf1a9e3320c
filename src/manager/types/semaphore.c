/* SPDX-License-Identifier: MIT */
/*
 * Semaphore and BoundedSemaphore. Nobody owns a semaphore: whoever likes may release it, as
 * a signal for instance, so that nothing is given back when a session ends.
 */
#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/types/help.h"
#include "manager/types/lock.h"
#include "manager/types/types.h"

struct semaphore {
    bool bounded;
    int64_t value, initial;
    struct cvy_waiters waiters;
};

/* ---- the object ---------------------------------------------------------------- */

/* A number that CPython compares with another by `<`. */
static int take_number(struct cvy_call *call, const covey_value *value, int64_t *ret)
{
    if (!cvy_is_real(value))
        return cvy_raise_unordered(call, "<", value, covey_value_int(0));
    return cvy_take_index(call, value, ret);
}

static int create(struct cvy_call *call, bool bounded, void **ret_self)
{
    static const struct cvy_params params[] = {
        {.function = "Semaphore.__init__", .self = 1, .count = 1, .names = {"value"}},
        {.function = "BoundedSemaphore.__init__",
         .self = 1,
         .count = 1,
         .names = {"value"}}};
    const covey_value *args[CVY_PARAMS];
    struct semaphore *semaphore;
    int64_t value = 1;
    int r = cvy_take_params(call, &params[bounded], args);

    if (r || (args[0] && (r = take_number(call, args[0], &value))))
        return r;
    if (value < 0)
        return cvy_raise(call, "ValueError", "semaphore initial value must be >= 0");
    if (!(semaphore = cvy_calloc(1, sizeof(*semaphore))))
        return cvy_fail(-ENOMEM, "no memory for a semaphore");
    semaphore->bounded = bounded;
    semaphore->value = semaphore->initial = value;
    *ret_self = semaphore;
    return 0;
}

static int semaphore_create(struct cvy_call *call, void **ret_self)
{
    return create(call, false, ret_self);
}

static int bounded_create(struct cvy_call *call, void **ret_self)
{
    return create(call, true, ret_self);
}

static int semaphore_repr(struct cvy_call *call, void *self)
{
    const struct semaphore *semaphore = self;
    char rest[80];

    if (semaphore->bounded)
        snprintf(rest, sizeof(rest), ": value=%lld/%lld", (long long)semaphore->value,
                 (long long)semaphore->initial);
    else
        snprintf(rest, sizeof(rest), ": value=%lld", (long long)semaphore->value);
    return cvy_return_address(
        call, semaphore->bounded ? "threading.BoundedSemaphore" : "threading.Semaphore",
        self, rest);
}

/* ---- methods ------------------------------------------------------------------- */

static int acquire_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    struct semaphore *semaphore = self;

    if (why != CVY_WOKEN)
        return cvy_return_bool(call, false);
    if (!semaphore->value)
        return cvy_park_first(call, &semaphore->waiters, call->until, acquire_resume);
    semaphore->value--;
    return cvy_return_bool(call, true);
}

static int semaphore_acquire(struct cvy_call *call, void *self)
{
    static const struct cvy_params params = {.function = "Semaphore.acquire",
                                             .self = 1,
                                             .count = 2,
                                             .names = {"blocking", "timeout"}};
    struct semaphore *semaphore = self;
    const covey_value *args[CVY_PARAMS];
    bool blocking;
    int64_t until;
    int r = cvy_take_params(call, &params, args);

    if (r)
        return r;
    blocking = !args[0] || covey_value_truth(args[0]);
    if (!blocking && !cvy_is_missing(args[1]))
        return cvy_raise(call, "ValueError",
                         "can't specify timeout for non-blocking acquire");
    if (semaphore->value && !semaphore->waiters.first) {
        semaphore->value--;
        return cvy_return_bool(call, true);
    }
    if (!blocking)
        return cvy_return_bool(call, false);
    if ((r = cvy_take_added_timeout(call, args[1], &until)))
        return r;
    return until ? cvy_park(call, &semaphore->waiters, until, acquire_resume)
                 : cvy_return_bool(call, false);
}

static int semaphore_release(struct cvy_call *call, void *self)
{
    static const struct cvy_params params[] = {
        {.function = "Semaphore.release", .self = 1, .count = 1, .names = {"n"}},
        {.function = "BoundedSemaphore.release",
         .self = 1,
         .count = 1,
         .names = {"n"}}};
    struct semaphore *semaphore = self;
    const covey_value *args[CVY_PARAMS];
    int64_t count = 1, value;
    int r = cvy_take_params(call, &params[semaphore->bounded], args);

    if (r || (args[0] && (r = take_number(call, args[0], &count))))
        return r;
    if (count < 1)
        return cvy_raise(call, "ValueError", "n must be one or more");
    if (__builtin_add_overflow(semaphore->value, count, &value))
        return cvy_raise(call, "OverflowError",
                         "Python int too large to convert to C ssize_t");
    if (semaphore->bounded && value > semaphore->initial)
        return cvy_raise(call, "ValueError", "Semaphore released too many times");
    semaphore->value = value;
    while (count-- > 0 && cvy_wake_first(&semaphore->waiters))
        continue;
    return cvy_return_none(call);
}

/* ---- the classes --------------------------------------------------------------- */

static const struct cvy_method methods[] = {
    {"acquire", semaphore_acquire, 0},
    {"release", semaphore_release, 0},
};

const struct cvy_class cvy_type_semaphore = {
    .name = "Semaphore",
    .proxy = "AcquirerProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = semaphore_create,
    .destroy = cvy_free,
    .repr = semaphore_repr,
};

const struct cvy_class cvy_type_bounded_semaphore = {
    .name = "BoundedSemaphore",
    .proxy = "AcquirerProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = bounded_create,
    .destroy = cvy_free,
    .repr = semaphore_repr,
};
