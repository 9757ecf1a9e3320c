/* SPDX-License-Identifier: MIT */
/* Event: a flag that can be waited for. */
#include <errno.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/types/help.h"
#include "manager/types/lock.h"
#include "manager/types/types.h"

struct event {
    bool set;
    struct cvy_waiters waiters;
};

static int event_create(struct cvy_call *call, void **ret_self)
{
    int r = cvy_take_no_params(call, "Event.__init__");

    if (r)
        return r;
    *ret_self = cvy_calloc(1, sizeof(struct event));
    return *ret_self ? 0 : cvy_fail(-ENOMEM, "no memory for an Event");
}

static int event_repr(struct cvy_call *call, void *self)
{
    const struct event *event = self;

    return cvy_return_address(call, "threading.Event", self,
                              event->set ? ": set" : ": unset");
}

static int event_is_set(struct cvy_call *call, void *self)
{
    const struct event *event = self;
    int r = cvy_take_no_params(call, "Event.is_set");

    return r ? r : cvy_return_bool(call, event->set);
}

static int event_set(struct cvy_call *call, void *self)
{
    struct event *event = self;
    int r = cvy_take_no_params(call, "Event.set");

    if (r)
        return r;
    event->set = true;
    cvy_wake_all(&event->waiters);
    return cvy_return_none(call);
}

static int event_clear(struct cvy_call *call, void *self)
{
    struct event *event = self;
    int r = cvy_take_no_params(call, "Event.clear");

    if (r)
        return r;
    event->set = false;
    return cvy_return_none(call);
}

static int wait_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    (void)self;
    return cvy_return_bool(call, why == CVY_WOKEN);
}

static int event_wait(struct cvy_call *call, void *self)
{
    static const struct cvy_params params = {
        .function = "Event.wait", .self = 1, .count = 1, .names = {"timeout"}};
    struct event *event = self;
    const covey_value *args[CVY_PARAMS];
    int64_t until;
    int r = cvy_take_params(call, &params, args);

    if (r)
        return r;
    if (event->set)
        return cvy_return_bool(call, true);
    if ((r = cvy_take_timeout(call, args[0], ">", &until)))
        return r;
    return until ? cvy_park(call, &event->waiters, until, wait_resume)
                 : cvy_return_bool(call, false);
}

static const struct cvy_method methods[] = {
    {"is_set", event_is_set, 0},
    {"set", event_set, 0},
    {"clear", event_clear, 0},
    {"wait", event_wait, 0},
};

const struct cvy_class cvy_type_event = {
    .name = "Event",
    .proxy = "EventProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = event_create,
    .destroy = cvy_free,
    .repr = event_repr,
};
