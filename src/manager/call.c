/* SPDX-License-Identifier: MIT */
/* call.c: requests as methods see them: results, budget, waiting, watches.
 *
 * A parked call is in the list of its object and, if it has a time, in the heap. Waking
 * moves it from there to the list of the woken. Everything happens in the server's thread. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/memory.h"
#include "manager/class.h"
#include "value/text.h"

/* The budget of a call when nobody says otherwise: a tenth of a second or so, and what one
 * reply may have. */
#define USUAL_STEPS ((uint64_t)20 * 1000 * 1000)
#define USUAL_BYTES ((uint64_t)256 << 20)

/* ---- lists ---- */

static void put_last(struct cvy_waiters *list, struct cvy_call *call)
{
    call->waiters = list;
    call->next = NULL;
    call->prev = list->last;
    if (list->last)
        list->last->next = call;
    else
        list->first = call;
    list->last = call;
}

static void put_first(struct cvy_waiters *list, struct cvy_call *call)
{
    call->waiters = list;
    call->prev = NULL;
    call->next = list->first;
    if (list->first)
        list->first->prev = call;
    else
        list->last = call;
    list->first = call;
}

static void take_out(struct cvy_call *call)
{
    struct cvy_waiters *list = call->waiters;
    if (!list)
        return;
    if (call->prev)
        call->prev->next = call->next;
    else
        list->first = call->next;
    if (call->next)
        call->next->prev = call->prev;
    else
        list->last = call->prev;
    call->waiters = NULL;
    call->next = call->prev = NULL;
}

/* ---- the heap of those with a time: its root is the next ---- */

static void place(struct cvy_parking *p, size_t at, struct cvy_call *call)
{
    p->timed[at] = call;
    call->timer = at + 1;
}

static void sift_up(struct cvy_parking *p, size_t at, struct cvy_call *call)
{
    while (at > 0 && p->timed[(at - 1) / 2]->until > call->until) {
        place(p, at, p->timed[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(p, at, call);
}

static void sift_down(struct cvy_parking *p, size_t at, struct cvy_call *call)
{
    for (size_t child; (child = 2 * at + 1) < p->timed_count; at = child) {
        if (child + 1 < p->timed_count &&
            p->timed[child + 1]->until < p->timed[child]->until)
            child++;
        if (p->timed[child]->until >= call->until)
            break;
        place(p, at, p->timed[child]);
    }
    place(p, at, call);
}

static int add_timer(struct cvy_parking *p, struct cvy_call *call)
{
    if (p->timed_count == p->timed_capacity) {
        size_t capacity = p->timed_capacity ? 2 * p->timed_capacity : 16;
        void *more = cvy_realloc(p->timed, capacity * sizeof *p->timed);
        if (!more)
            return cvy_fail(-ENOMEM, "no memory for one more waiting call");
        p->timed = more;
        p->timed_capacity = capacity;
    }
    sift_up(p, p->timed_count++, call);
    return 0;
}

static void drop_timer(struct cvy_parking *p, struct cvy_call *call)
{
    if (!call->timer)
        return;
    size_t at = call->timer - 1;
    struct cvy_call *other = p->timed[--p->timed_count];
    call->timer = 0;
    if (other == call)
        return;
    if (at > 0 && p->timed[(at - 1) / 2]->until > other->until)
        sift_up(p, at, other);
    else
        sift_down(p, at, other);
}

/* ---- waiting ---- */

static int park(struct cvy_call *call, struct cvy_waiters *waiters, int64_t until,
                cvy_resume_fn *resume,
                void (*put)(struct cvy_waiters *, struct cvy_call *))
{
    call->resume = resume;
    call->until = until;
    int r = until == INT64_MAX ? 0 : add_timer(call->parking, call);
    if (r < 0)
        return r;
    put(waiters, call);
    return CVY_PARKED;
}

int cvy_park(struct cvy_call *call, struct cvy_waiters *waiters, int64_t until,
             cvy_resume_fn *resume)
{
    return park(call, waiters, until, resume, put_last);
}

int cvy_park_first(struct cvy_call *call, struct cvy_waiters *waiters, int64_t until,
                   cvy_resume_fn *resume)
{
    return park(call, waiters, until, resume, put_first);
}

void cvy_wake(struct cvy_call *call)
{
    call->left = call->waiters;
    take_out(call);
    drop_timer(call->parking, call);
    put_last(&call->parking->woken, call);
}

bool cvy_wake_first(struct cvy_waiters *waiters)
{
    struct cvy_call *call = waiters->first;
    if (call)
        cvy_wake(call);
    return call != NULL;
}

void cvy_wake_all(struct cvy_waiters *waiters)
{
    while (cvy_wake_first(waiters))
        continue;
}

static void go_on(struct cvy_call *call, enum cvy_why why)
{
    struct cvy_parking *p = call->parking;
    take_out(call);
    drop_timer(p, call);
    int r = call->resume(call, call->object->self, why);
    if (r < 0)
        r = cvy_raise_code(call, r);
    if (r != CVY_PARKED)
        p->done(call, r);
}

void cvy_parking_run(struct cvy_parking *parking, int64_t now)
{
    for (;;) {
        if (parking->woken.first)
            go_on(parking->woken.first, CVY_WOKEN);
        else if (parking->timed_count > 0 && parking->timed[0]->until <= now)
            go_on(parking->timed[0], CVY_TIMED_OUT);
        else
            return;
    }
}

int64_t cvy_parking_next(const struct cvy_parking *parking)
{
    return parking->timed_count > 0 ? parking->timed[0]->until : INT64_MAX;
}

/* Its list is there as long as its object, which the call keeps, or as what its resume
 * function lets go of. */
void cvy_cancel(struct cvy_call *call)
{
    bool is_woken = call->waiters == &call->parking->woken;
    take_out(call);
    drop_timer(call->parking, call);
    if (is_woken)
        cvy_wake_first(call->left);
    (void)call->resume(call, call->object->self, CVY_CANCELLED);
}

void cvy_parking_free(struct cvy_parking *parking)
{
    cvy_free(parking->timed);
    *parking = (struct cvy_parking){.done = parking->done};
}

/* ---- calls ---- */

void cvy_call_begin(struct cvy_call *call, struct cvy_parking *parking,
                    struct cvy_session *session, struct cvy_referent *object,
                    const covey_value *args, const covey_value *kwds)
{
    *call = (struct cvy_call){
        .args = args,
        .kwds = kwds,
        .session = session,
        .budget = {.limit = USUAL_BYTES,
                   .steps = USUAL_STEPS,
                   .max_weight = UINT64_MAX,
                   .max_depth = COVEY_VALUE_DEPTH_MAX},
        .object = object,
        .parking = parking,
    };
}

static void drop_made(struct cvy_call *call)
{
    if (call->made && !call->made_of && call->made->destroy)
        call->made->destroy(call->made_self);
    covey_value_free(call->made_of);
    call->made = NULL;
    call->made_self = NULL;
    call->made_type = NULL;
    call->made_of = NULL;
}

void cvy_call_end(struct cvy_call *call)
{
    covey_value_free(call->reply);
    call->reply = NULL;
    drop_made(call);
}

static void set_reply(struct cvy_call *call, covey_value *reply)
{
    covey_value_free(call->reply);
    call->reply = reply;
    drop_made(call);
}

int cvy_return(struct cvy_call *call, covey_value *value)
{
    int r = covey_value_check(value);
    set_reply(call, r < 0 ? NULL : value);
    if (r < 0)
        covey_value_free(value);
    return r;
}

int cvy_return_typed(struct cvy_call *call, struct cvy_type *type,
                     const struct cvy_class *cls, void *self)
{
    set_reply(call, NULL);
    call->made = cls;
    call->made_self = self;
    call->made_type = type;
    return 0;
}

int cvy_return_new(struct cvy_call *call, struct cvy_type *type,
                   const struct cvy_class *cls, covey_value *of)
{
    (void)cvy_return_typed(call, type, cls, NULL);
    call->made_of = of;
    return 0;
}

int cvy_return_object(struct cvy_call *call, const struct cvy_class *cls, void *self)
{
    return cvy_return_typed(call, NULL, cls, self);
}

/* ---- exceptions ---- */

int cvy_raise_value(struct cvy_call *call, covey_value *exception)
{
    int r = cvy_return(call, exception);
    return r < 0 ? r : CVY_RAISED;
}

int cvy_raise_args(struct cvy_call *call, const char *module, const char *name,
                   covey_value *args)
{
    covey_value *given = args ? args : covey_value_tuple();
    return cvy_raise_value(call,
                           covey_value_call(covey_value_global(module, name), given));
}

int cvy_raise(struct cvy_call *call, const char *name, const char *format, ...)
{
    if (!format)
        return cvy_raise_args(call, "builtins", name, NULL);
    va_list list;
    covey_value *args = covey_value_tuple();
    va_start(list, format);
    int r = covey_value_append(args, cvy_str_format_any(format, list));
    va_end(list);
    if (r < 0) {
        covey_value_free(args);
        return r;
    }
    return cvy_raise_args(call, "builtins", name, args);
}

int cvy_raise_code(struct cvy_call *call, int code)
{
    const char *name = "OSError", *detail = covey_error_detail();
    switch (code) {
    case -ENOMEM:
    case -EMSGSIZE:
        name = "MemoryError";
        break;
    case COVEY_ETYPE:
        name = "TypeError";
        break;
    case -EINVAL:
    case -EILSEQ:
        name = "ValueError";
        break;
    case -EOVERFLOW:
        name = "OverflowError";
        break;
    case -ENOTSUP:
        name = "NotImplementedError";
        break;
    case COVEY_ESTATE:
        name = "RuntimeError";
        break;
    default:
        break;
    }
    return cvy_raise(call, name, "%s", *detail ? detail : covey_strerror(code));
}

int cvy_charge_steps(struct cvy_call *call, uint64_t steps)
{
    if (cvy_likely(steps <= call->budget.steps)) {
        call->budget.steps -= steps;
        return 0;
    }
    call->budget.steps = 0;
    return cvy_raise(call, "RuntimeError",
                     "%s takes more steps than the manager grants a request",
                     call->method ? call->method : "the request");
}

int cvy_charge_bytes(struct cvy_call *call, uint64_t bytes)
{
    if (cvy_likely(bytes <= call->budget.limit - call->budget.used)) {
        call->budget.used += bytes;
        return 0;
    }
    return cvy_raise(call, "MemoryError",
                     "%s takes more memory than the manager grants a request",
                     call->method ? call->method : "the request");
}

/* ---- running ---- */

static cvy_method_fn *special(const struct cvy_class *cls, const char *name)
{
    if (strcmp(name, "__repr__") == 0)
        return cls->repr;
    if (strcmp(name, "__str__") == 0)
        return cls->str ? cls->str : cls->repr;
    if (strcmp(name, "#GETVALUE") == 0)
        return cls->value;
    return NULL;
}

static cvy_method_fn *find_method(const struct cvy_class *cls, const char *name)
{
    for (size_t i = 0; i < cls->method_count; i++)
        if (strcmp(cls->methods[i].name, name) == 0)
            return cls->methods[i].fn;
    return special(cls, name);
}

static int run(struct cvy_call *call, cvy_method_fn *fn, const char *name)
{
    call->method = name;
    int r = fn(call, call->object->self);
    return r < 0 ? cvy_raise_code(call, r) : r;
}

int cvy_call_run(struct cvy_call *call, const char *method)
{
    const struct cvy_class *cls = call->object->cls;
    cvy_method_fn *fn = find_method(cls, method);
    if (!fn && strcmp(method, "#GETVALUE") == 0)
        return cvy_fail(-ENOTSUP, "cannot pickle '%s' object", cls->name);
    if (!fn)
        return cvy_fail(-ENOENT, "method '%s' of '%s' object is not exposed", method,
                        cls->name);
    return run(call, fn, method);
}

int cvy_call_method(struct cvy_call *call, const struct cvy_method *method)
{
    return run(call, method->fn, method->name);
}

/* ---- watches ---- */

int cvy_watch(struct cvy_session *session, void *thing, const char *what,
              cvy_gone_fn *gone)
{
    if (session->watch_count == session->watch_capacity) {
        size_t capacity = session->watch_capacity ? 2 * session->watch_capacity : 4;
        void *more = cvy_realloc(session->watches, capacity * sizeof *session->watches);
        if (!more)
            return cvy_fail(-ENOMEM, "no memory for one more thing that '%s' holds",
                            session->name);
        session->watches = more;
        session->watch_capacity = capacity;
    }
    session->watches[session->watch_count++] =
        (struct cvy_watch){.thing = thing, .what = what, .gone = gone};
    return 0;
}

/* What was taken last is mostly given back first. */
void cvy_unwatch(struct cvy_session *session, const void *thing)
{
    size_t i = session->watch_count;
    while (i-- > 0)
        if (session->watches[i].thing == thing) {
            session->watches[i] = session->watches[--session->watch_count];
            return;
        }
}

void cvy_session_end(struct cvy_session *session)
{
    while (session->watch_count > 0) {
        const struct cvy_watch *watch = &session->watches[--session->watch_count];
        watch->gone(watch->thing, session);
    }
    cvy_free(session->watches);
    session->watches = NULL;
    session->watch_capacity = 0;
}
