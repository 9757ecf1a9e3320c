/* SPDX-License-Identifier: MIT */
/*
 * Condition: a lock, of its own or shared by proxy, and those who wait to be notified. Who
 * is notified, or has waited long enough, queues for the lock before it returns.
 */
#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/types/help.h"
#include "manager/types/lock.h"
#include "manager/types/types.h"

struct condition {
    struct cvy_owned_lock *lock;
    struct cvy_waiters waiters;
};

/* ---- the object ---------------------------------------------------------------- */

/* The lock that a proxy stands for; NULL with what the constructor has to return. */
static struct cvy_owned_lock *find_lock(struct cvy_call *call, const covey_value *value,
                                        int *ret_error)
{
    const struct cvy_class *class = NULL;
    void *self = cvy_call_find(call, value, &class);

    if (self && (class == &cvy_type_lock || class == &cvy_type_rlock))
        return self;
    *ret_error =
        cvy_raise(call, "AttributeError", "'%s' object has no attribute 'acquire'",
                  self ? class->name : cvy_type_of(value));
    return NULL;
}

static int condition_create(struct cvy_call *call, void **ret_self)
{
    static const struct cvy_params params = {
        .function = "Condition.__init__", .self = 1, .count = 1, .names = {"lock"}};
    const covey_value *args[CVY_PARAMS];
    struct condition *condition;
    struct cvy_owned_lock *lock = NULL;
    int r = cvy_take_params(call, &params, args);

    if (r || (!cvy_is_missing(args[0]) && !(lock = find_lock(call, args[0], &r))))
        return r;
    condition = cvy_calloc(1, sizeof(*condition));
    if (!condition)
        return cvy_fail(-ENOMEM, "no memory for a Condition");
    if (lock) {
        cvy_owned_ref(lock);
    } else if (!(lock = cvy_owned_new(true))) {
        cvy_free(condition);
        return covey_value_check(NULL);
    }
    condition->lock = lock;
    *ret_self = condition;
    return 0;
}

static void condition_destroy(void *self)
{
    struct condition *condition = self;

    cvy_owned_drop(condition->lock);
    cvy_free(condition);
}

static int condition_repr(struct cvy_call *call, void *self)
{
    const struct condition *condition = self;
    char rest[40];
    size_t waiting = 0;

    for (const struct cvy_call *w = condition->waiters.first; w; w = w->next)
        waiting++;
    snprintf(rest, sizeof(rest), ">, %zu)", waiting);
    return cvy_owned_repr(call, condition->lock, "Condition(", rest);
}

/* ---- methods ------------------------------------------------------------------- */

static int condition_acquire(struct cvy_call *call, void *self)
{
    return cvy_owned_acquire(call, ((struct condition *)self)->lock);
}

static int condition_release(struct cvy_call *call, void *self)
{
    return cvy_owned_release(call, ((struct condition *)self)->lock);
}

static int retake_resume(struct cvy_call *call, void *self, enum cvy_why why);

/* Who cannot have the lock again, for lack of memory or since its client is gone, leaves its
 * notification to the next. */
static int retake(struct cvy_call *call, struct condition *condition)
{
    bool notified = call->kept[2].number;
    int r = cvy_owned_retake(call, condition->lock, (uint64_t)call->kept[1].number,
                             notified, retake_resume);

    if (r < 0 && notified)
        cvy_wake_first(&condition->waiters);
    return r;
}

static int retake_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    struct condition *condition = self;

    if (why != CVY_CANCELLED)
        return retake(call, condition);
    if (call->kept[2].number)
        cvy_wake_first(&condition->waiters);
    return cvy_return_none(call);
}

/* If it was woken and goes before it could go on, cvy_cancel has woken the next. */
static int wait_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    if (why == CVY_CANCELLED)
        return cvy_return_none(call);
    call->kept[2].number = why == CVY_WOKEN;
    return retake(call, self);
}

/* Wait no time. Those that wait for the lock get it meanwhile, or a session that looks again
 * and again would keep it for ever. */
static int yield(struct cvy_call *call, const struct condition *condition)
{
    struct cvy_owned_lock *lock = condition->lock;
    int r;

    if (!lock->waiters.first)
        return cvy_return_bool(call, false);
    if ((r = cvy_park(call, &lock->waiters, INT64_MAX, retake_resume)) == CVY_PARKED)
        call->kept[1].number = (int64_t)cvy_owned_release_all(lock);
    return r;
}

static int condition_wait(struct cvy_call *call, void *self)
{
    static const struct cvy_params params = {
        .function = "Condition.wait", .self = 1, .count = 1, .names = {"timeout"}};
    struct condition *condition = self;
    const covey_value *args[CVY_PARAMS];
    int64_t until;
    int r = cvy_take_params(call, &params, args);

    if (r)
        return r;
    if (!cvy_owned_is_held(condition->lock, call->session))
        return cvy_raise(call, "RuntimeError", "cannot wait on un-acquired lock");
    if ((r = cvy_take_timeout(call, args[0], ">", &until)))
        return r;
    if (!until)
        return yield(call, condition);
    if ((r = cvy_park(call, &condition->waiters, until, wait_resume)) == CVY_PARKED)
        call->kept[1].number = (int64_t)cvy_owned_release_all(condition->lock);
    return r;
}

/* Wake as many as there are, at most `count`. */
static int notify(struct cvy_call *call, struct condition *condition, int64_t count)
{
    while (count-- > 0 && cvy_wake_first(&condition->waiters))
        continue;
    return cvy_return_none(call);
}

static int check_notify(struct cvy_call *call, const struct condition *condition)
{
    if (cvy_owned_is_held(condition->lock, call->session))
        return 0;
    return cvy_raise(call, "RuntimeError", "cannot notify on un-acquired lock");
}

static int condition_notify(struct cvy_call *call, void *self)
{
    static const struct cvy_params params = {
        .function = "Condition.notify", .self = 1, .count = 1, .names = {"n"}};
    struct condition *condition = self;
    const covey_value *args[CVY_PARAMS];
    double count = 1;
    int r;

    if ((r = cvy_take_params(call, &params, args)) ||
        (r = check_notify(call, condition)))
        return r;
    if (!condition->waiters.first)
        return cvy_return_none(call);
    if (args[0] && !cvy_get_real(args[0], &count))
        return cvy_raise_unordered(call, ">", args[0], covey_value_int(0));
    /* 1.5 wakes two, as counting it down in Python would. */
    while (count > 0 && cvy_wake_first(&condition->waiters))
        count--;
    return cvy_return_none(call);
}

static int condition_notify_all(struct cvy_call *call, void *self)
{
    struct condition *condition = self;
    int r;

    if ((r = cvy_take_no_params(call, "Condition.notify_all")) ||
        (r = check_notify(call, condition)))
        return r;
    return notify(call, condition, INT64_MAX);
}

/* ---- the class ----------------------------------------------------------------- */

static const struct cvy_method methods[] = {
    {"acquire", condition_acquire, 0},
    {"release", condition_release, 0},
    {"wait", condition_wait, 0},
    {"notify", condition_notify, 0},
    {"notify_all", condition_notify_all, 0},
};

const struct cvy_class cvy_type_condition = {
    .name = "Condition",
    .proxy = "ConditionProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = condition_create,
    .destroy = condition_destroy,
    .repr = condition_repr,
};
