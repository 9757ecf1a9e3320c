/* SPDX-License-Identifier: MIT */
/*
 * Semaphore and BoundedSemaphore. Permits that a session has when it ends come back, as
 * those of the family's semaphores do when a process dies. A semaphore that starts at 0, or
 * that a session releases more often than it has acquired it, is a signal: its permits are
 * nobody's, and used up.
 */
#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/types/help.h"
#include "manager/types/lock.h"
#include "manager/types/types.h"

struct holder {
    struct cvy_session *session; /* watched */
    int64_t count;
};

struct semaphore {
    bool bounded, is_signal;
    int64_t value, initial;
    struct holder *holders; /* of permits; none of a signal */
    size_t holder_count, holder_capacity;
    struct cvy_waiters waiters;
};

/* ---- who has permits ----------------------------------------------------------- */

/* NULL: it has none. */
static struct holder *find_holder(struct semaphore *semaphore,
                                  const struct cvy_session *session)
{
    for (size_t i = semaphore->holder_count; i-- > 0;)
        if (semaphore->holders[i].session == session)
            return &semaphore->holders[i];
    return NULL;
}

static void drop_holder(struct semaphore *semaphore, struct holder *holder)
{
    *holder = semaphore->holders[--semaphore->holder_count];
}

static void wake(struct semaphore *semaphore, int64_t count)
{
    while (count-- > 0 && cvy_wake_first(&semaphore->waiters))
        continue;
}

static void holder_gone(void *thing, struct cvy_session *session)
{
    struct semaphore *semaphore = thing;
    struct holder *holder = find_holder(semaphore, session);
    if (!holder) /* it would not be told of an end */
        return;
    int64_t count = holder->count;
    drop_holder(semaphore, holder);
    semaphore->value += count;
    wake(semaphore, count);
}

static int add_holder(struct semaphore *semaphore, struct cvy_session *session)
{
    int r;

    if (semaphore->holder_count == semaphore->holder_capacity) {
        size_t capacity =
            semaphore->holder_capacity ? 2 * semaphore->holder_capacity : 4;
        void *more = cvy_realloc(semaphore->holders, capacity * sizeof(struct holder));

        if (!more)
            return cvy_fail(-ENOMEM, "no memory for one more holder of a permit");
        semaphore->holders = more;
        semaphore->holder_capacity = capacity;
    }
    r = cvy_watch(session, semaphore, "Semaphore", holder_gone);
    if (r < 0)
        return r;
    semaphore->holders[semaphore->holder_count++] = (struct holder){session, 1};
    return 0;
}

static int note_taken(struct semaphore *semaphore, struct cvy_session *session)
{
    struct holder *holder;

    if (semaphore->is_signal)
        return 0;
    holder = find_holder(semaphore, session);
    if (!holder)
        return add_holder(semaphore, session);
    holder->count++;
    return 0;
}

static void forget_holders(struct semaphore *semaphore)
{
    for (size_t i = 0; i < semaphore->holder_count; i++)
        cvy_unwatch(semaphore->holders[i].session, semaphore);
    cvy_free(semaphore->holders);
    semaphore->holders = NULL;
    semaphore->holder_count = semaphore->holder_capacity = 0;
}

static void note_given(struct semaphore *semaphore, struct cvy_session *session,
                       int64_t count)
{
    struct holder *holder = find_holder(semaphore, session);

    if (semaphore->is_signal)
        return;
    if (!holder || holder->count < count) {
        semaphore->is_signal = true;
        forget_holders(semaphore);
    } else if (!(holder->count -= count)) {
        cvy_unwatch(session, semaphore);
        drop_holder(semaphore, holder);
    }
}

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
    semaphore->is_signal = value == 0;
    *ret_self = semaphore;
    return 0;
}

static void semaphore_destroy(void *self)
{
    forget_holders(self);
    cvy_free(self);
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

/* There is a permit. If it stays for lack of memory, it is the next one's turn. */
static int take(struct cvy_call *call, struct semaphore *semaphore)
{
    int r = note_taken(semaphore, call->session);

    if (r < 0) {
        wake(semaphore, 1);
        return r;
    }
    semaphore->value--;
    return cvy_return_bool(call, true);
}

static int acquire_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    struct semaphore *semaphore = self;

    if (why != CVY_WOKEN)
        return cvy_return_bool(call, false);
    if (!semaphore->value)
        return cvy_park_first(call, &semaphore->waiters, call->until, acquire_resume);
    return take(call, semaphore);
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
    if (semaphore->value && !semaphore->waiters.first)
        return take(call, semaphore);
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
    note_given(semaphore, call->session, count);
    semaphore->value = value;
    wake(semaphore, count);
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
    .destroy = semaphore_destroy,
    .repr = semaphore_repr,
};

const struct cvy_class cvy_type_bounded_semaphore = {
    .name = "BoundedSemaphore",
    .proxy = "AcquirerProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = bounded_create,
    .destroy = semaphore_destroy,
    .repr = semaphore_repr,
};
