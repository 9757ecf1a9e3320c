/* SPDX-License-Identifier: MIT */
/*
 * Barrier. All that wait go on before any other request is served, so that the barrier is
 * free again as soon as it has opened: CPython's states of filling and draining are one.
 * Who waits and whose session ends leaves its place to another.
 */
#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/types/help.h"
#include "manager/types/lock.h"
#include "manager/types/types.h"
#include "value/text.h"

struct barrier {
    int64_t parties;
    size_t waiting;
    bool broken;
    covey_value *timeout; /* None, or seconds */
    struct cvy_waiters waiters;
};

enum outcome { WAITING, OPENED, BROKEN };

/* ---- the object ---------------------------------------------------------------- */

static int check_args(struct cvy_call *call, const covey_value *const args[CVY_PARAMS],
                      int64_t *ret_parties)
{
    int r;

    if (!cvy_is_real(args[0]))
        return cvy_raise_unordered(call, "<", args[0], covey_value_int(1));
    if ((r = cvy_take_index(call, args[0], ret_parties)))
        return r;
    if (*ret_parties < 1)
        return cvy_raise(call, "ValueError", "parties must be > 0");
    if (!cvy_is_missing(args[1]))
        return cvy_raise(call, "NotImplementedError",
                         "this manager cannot call what came as action");
    return 0;
}

static int barrier_create(struct cvy_call *call, void **ret_self)
{
    static const struct cvy_params params = {.function = "Barrier.__init__",
                                             .self = 1,
                                             .required = 1,
                                             .count = 3,
                                             .names = {"parties", "action", "timeout"}};
    const covey_value *args[CVY_PARAMS];
    struct barrier *barrier;
    int64_t parties = 0;
    int r;

    if ((r = cvy_take_params(call, &params, args)) ||
        (r = check_args(call, args, &parties)))
        return r;
    if (!(barrier = cvy_calloc(1, sizeof(*barrier))))
        return cvy_fail(-ENOMEM, "no memory for a Barrier");
    barrier->parties = parties;
    barrier->timeout = args[2] ? covey_value_ref(args[2]) : covey_value_none();
    *ret_self = barrier;
    return 0;
}

static void barrier_destroy(void *self)
{
    struct barrier *barrier = self;

    covey_value_free(barrier->timeout);
    cvy_free(barrier);
}

static int barrier_repr(struct cvy_call *call, void *self)
{
    const struct barrier *barrier = self;
    char rest[80] = ": broken";

    if (!barrier->broken)
        snprintf(rest, sizeof(rest), ": waiters=%zu/%lld", barrier->waiting,
                 (long long)barrier->parties);
    return cvy_return_address(call, "threading.Barrier", self, rest);
}

/* ---- waiting ------------------------------------------------------------------- */

static int raise_broken(struct cvy_call *call)
{
    return cvy_raise_args(call, "threading", "BrokenBarrierError", NULL);
}

/* Let all that wait go on with this outcome. */
static void let_go(struct barrier *barrier, enum outcome outcome)
{
    for (struct cvy_call *call = barrier->waiters.first; call; call = call->next)
        call->kept[1].number = outcome;
    cvy_wake_all(&barrier->waiters);
    barrier->waiting = 0;
}

static void break_it(struct barrier *barrier)
{
    barrier->broken = true;
    let_go(barrier, BROKEN);
}

static int wait_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    struct barrier *barrier = self;

    if (why == CVY_WOKEN && call->kept[1].number == OPENED)
        return cvy_return(call, covey_value_int(call->kept[0].number));
    if (call->kept[1].number == WAITING)
        barrier->waiting--;
    if (why == CVY_TIMED_OUT)
        break_it(barrier);
    return raise_broken(call);
}

static int barrier_wait(struct cvy_call *call, void *self)
{
    static const struct cvy_params params = {
        .function = "Barrier.wait", .self = 1, .count = 1, .names = {"timeout"}};
    struct barrier *barrier = self;
    const covey_value *args[CVY_PARAMS];
    int64_t index = (int64_t)barrier->waiting, until;
    int r = cvy_take_params(call, &params, args);

    if (r)
        return r;
    if (barrier->broken)
        return raise_broken(call);
    if (index + 1 == barrier->parties) {
        let_go(barrier, OPENED);
        return cvy_return(call, covey_value_int(index));
    }
    if ((r = cvy_take_added_timeout(
             call, cvy_is_missing(args[0]) ? barrier->timeout : args[0], &until)))
        return r;
    if (!until) {
        break_it(barrier);
        return raise_broken(call);
    }
    call->kept[0].number = index;
    call->kept[1].number = WAITING;
    r = cvy_park(call, &barrier->waiters, until, wait_resume);
    barrier->waiting += r == CVY_PARKED;
    return r;
}

static int barrier_abort(struct cvy_call *call, void *self)
{
    int r = cvy_take_no_params(call, "Barrier.abort");

    if (r)
        return r;
    break_it(self);
    return cvy_return_none(call);
}

static int barrier_reset(struct cvy_call *call, void *self)
{
    struct barrier *barrier = self;
    int r = cvy_take_no_params(call, "Barrier.reset");

    if (r)
        return r;
    let_go(barrier, BROKEN);
    barrier->broken = false;
    return cvy_return_none(call);
}

/* ---- attributes ---------------------------------------------------------------- */

static int barrier_get(struct cvy_call *call, void *self)
{
    const struct barrier *barrier = self;
    const covey_value *name;
    int r = cvy_take_slot(call, 1, "", &name);

    if (r)
        return r;
    if (!cvy_is_kind(name, COVEY_VALUE_STR))
        return cvy_raise(call, "TypeError", "attribute name must be string, not '%s'",
                         cvy_type_of(name));
    if (cvy_text_is(name, "parties"))
        return cvy_return(call, covey_value_int(barrier->parties));
    if (cvy_text_is(name, "n_waiting"))
        return cvy_return_size(call, barrier->waiting);
    if (cvy_text_is(name, "broken"))
        return cvy_return_bool(call, barrier->broken);
    return cvy_raise(call, "AttributeError", "'Barrier' object has no attribute '%s'",
                     cvy_as_text(name)->data);
}

/* ---- the class ----------------------------------------------------------------- */

static const struct cvy_method methods[] = {
    {"__getattribute__", barrier_get, 0},
    {"wait", barrier_wait, 0},
    {"abort", barrier_abort, 0},
    {"reset", barrier_reset, 0},
};

const struct cvy_class cvy_type_barrier = {
    .name = "Barrier",
    .proxy = "BarrierProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = barrier_create,
    .destroy = barrier_destroy,
    .repr = barrier_repr,
};
