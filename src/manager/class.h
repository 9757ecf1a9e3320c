/* SPDX-License-Identifier: MIT */
/**
 * manager/class.h: what a class of shared objects is, and what its methods may do.
 *
 * A manager's server is one thread with one loop. It takes a request, finds the object and
 * the method, calls its function, and sends the reply. So methods never run at the same
 * time, need no locks, and each call is atomic; but while a function runs everybody else
 * waits. It must not block, sleep, or work without limit: it parks, and it charges.
 *
 * *Memory.* The state of an object (`self`) is the class's own: cvy_calloc and cvy_free of
 * base/memory.h. Values come from the makers of covey/value.h. `call->args` and
 * `call->kwds` are borrowed and never change; what an object keeps of them it takes a
 * reference of (covey_value_ref), which costs nothing. A container that an object keeps to
 * change it must not be in another value and have no other reference while it is changed
 * (rule 4 of covey/value.h). A result may be a reference of such a container: the reply is
 * pickled and dropped before the next method runs, resumed ones included.
 *
 * *Comparing.* Items and keys are compared by cvy_same (value/compare.h) with the steps
 * that the request has left, `&call->budget.steps`; a comparison that uses them up gives
 * -EMSGSIZE, which a method may just return. Order is cvy_compare.
 *
 * *Budget.* A request has a number of steps and of bytes. A method charges before it works:
 * one step for each item that it visits, compares, moves or copies, and the bytes that it
 * is going to allocate beyond those of the request itself (repeat, repr, sort, slices).
 * What is of constant size costs nothing: the request itself has been charged. Functions
 * of src/value that take a heap are given `&call->budget` and charge by themselves.
 *
 * *Results.* A function ends in one of these ways, and returns what that returned:
 *
 *     return cvy_return(call, value);              a value; takes it
 *     return cvy_return_object(call, cls, self);   a proxy of a new object; takes `self`
 *     return cvy_raise(call, "IndexError", "...")  an exception with a text
 *     return cvy_raise_value(call, exception);     any exception; takes it
 *     return cvy_park(call, waiters, until, fn);   not yet
 *     return r;                                    a negative code of covey: an exception
 *                                                  with the detail, see cvy_raise_code
 *
 * *Parking.* A parked call waits in a list of the object's, and its session waits for it.
 * It goes on in one of three ways, always by its `resume` function:
 *
 *     CVY_WOKEN      somebody called cvy_wake for it. Resume functions of the woken run in
 *                    that order as soon as the current function has returned, before any
 *                    other request: nobody can overtake them.
 *     CVY_TIMED_OUT  `until` is over. It is out of the list.
 *     CVY_CANCELLED  the session has ended, or the object goes. It is out of the list; what
 *                    it returns is ignored, and it must not park again.
 *
 * A resume function ends as a method does; it may park again. If the session of a woken
 * call ends before the call could go on, it is cancelled, and the next in its list is woken
 * in its place. So a list is of those who wait for the same.
 *
 * *Sessions.* A session is one client thread's connection: what a thread is to Python's
 * locks. Compare pointers to tell owners. What has to be given back when its client dies
 * asks for that by cvy_watch. A lock may be released by another session than its owner:
 * unwatch the owner's.
 *
 * *Tests without a server.* A call can be made by hand: cvy_call_begin, the function,
 * cvy_call_end; call.c needs nothing else of a server. See tests/test_manager_call.c.
 */
#ifndef CVY_MANAGER_CLASS_H
#define CVY_MANAGER_CLASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "value/heap.h"

#include <covey/base.h>
#include <covey/value.h>

struct cvy_call;
struct cvy_class;
struct cvy_referent;
struct cvy_session;
struct cvy_type;

/** What functions return besides 0 and negative codes. */
enum cvy_call_result {
    CVY_RAISED = 1, /* call->reply is an exception */
    CVY_PARKED = 2
};

/** Why a parked call goes on. */
enum cvy_why { CVY_WOKEN, CVY_TIMED_OUT, CVY_CANCELLED };

typedef int cvy_method_fn(struct cvy_call *call, void *self);
typedef int cvy_resume_fn(struct cvy_call *call, void *self, enum cvy_why why);
/** Told of each value that an object keeps. */
typedef void cvy_visit_fn(void *context, const covey_value *value);

/* ---- classes ---------------------------------------------------------------- */

enum cvy_method_flag {
    CVY_GROWS = 1 /* the object may be larger afterwards: refused with MemoryError when
                     the server's memory is used up */
};

struct cvy_method {
    const char *name; /* as Python calls it: "append", "__getitem__" */
    cvy_method_fn *fn;
    unsigned flags;
};

/** A class. All of it is constant, and shared by all objects. */
struct cvy_class {
    const char *name; /* the type id: "list" */
    /* the class of its proxies in multiprocessing.managers: "ListProxy"; NULL:
     * "AutoProxy" */
    const char *proxy;
    const struct cvy_method *methods; /* in the order of `exposed` in Python */
    size_t method_count;
    /** Make the state: what the class does when it is called. Ends as a method does, but
     * by `*ret_self = self; return 0;` where that returns a value, and it cannot park. NULL:
     * clients cannot create it, methods of others make it. */
    int (*create)(struct cvy_call *call, void **ret_self);
    /** Free the state. All its parked calls have been cancelled. */
    void (*destroy)(void *self);
    /** Tell all values that the state keeps, so that the objects whose proxies are in them
     * live on. NULL: it keeps none that a client gave. */
    void (*visit)(const void *self, cvy_visit_fn *fn, void *context);
    /** What __repr__ and __str__ give (`str`, if not NULL, the latter): a str. */
    cvy_method_fn *repr, *str;
    /** What #GETVALUE gives, a copy of the referent. NULL: it cannot be pickled. */
    cvy_method_fn *value;
};

/** An object as the server knows it. */
struct cvy_referent {
    const struct cvy_class *cls;
    void *self;
};

/* ---- sessions --------------------------------------------------------------- */

/** A session has ended: give back what it held of this. */
typedef void cvy_gone_fn(void *thing, struct cvy_session *session);

struct cvy_watch {
    void *thing;
    const char *what;
    cvy_gone_fn *gone;
};

struct cvy_session {
    /* what its client calls itself: "MainProcess", "Process-1|Thread-2" */
    const char *name;
    struct cvy_watch *watches;
    size_t watch_count, watch_capacity;
};

/**
 * Have `gone` called for a thing when a session ends. It watches a session once at a time,
 * and takes that back before it goes itself. `what` names it in the log; it is borrowed.
 * Returns: 0; -ENOMEM.
 */
int cvy_watch(struct cvy_session *session, void *thing, const char *what,
              cvy_gone_fn *gone) COVEY_MUST_CHECK;
/** Take it back. In `gone` it is gone already. */
void cvy_unwatch(struct cvy_session *session, const void *thing);

/* ---- waiting ---------------------------------------------------------------- */

/** Parked calls of an object, the one that waits longest first. Zeroed: none. */
struct cvy_waiters {
    struct cvy_call *first, *last;
};

/** What drives parked calls: the woken ones, and those with a time. Zeroed: none. */
struct cvy_parking {
    struct cvy_waiters woken;
    struct cvy_call **timed; /* a heap by `until` */
    size_t timed_count, timed_capacity;
    /** A call that was parked has a reply, or (`result` < 0) failed. It owns the call. */
    void (*done)(struct cvy_call *call, int result);
};

/* ---- calls ------------------------------------------------------------------ */

struct cvy_call {
    /* what a method looks at */
    const covey_value *args; /* a tuple */
    const covey_value *kwds; /* a dict; NULL: none */
    const char *method;
    struct cvy_session *session;
    struct cvy_heap budget;
    union {
        int64_t number;
        void *pointer;
    } kept[4]; /* for what a parked call has to remember; zeroed at the beginning */

    /* what it gives; set by the functions below */
    covey_value *reply;           /* result or exception */
    const struct cvy_class *made; /* the reply is a proxy of `made_self` */
    void *made_self;
    struct cvy_type *made_type; /* NULL: the one that shows all of its class */
    covey_value
        *made_of; /* the object is to be made: (args, kwargs); NULL: it is there */

    /* the machinery's */
    struct cvy_referent *object;
    struct cvy_parking *parking;
    void *server;
    cvy_resume_fn *resume;
    struct cvy_waiters *waiters; /* the list it is in; NULL: none */
    struct cvy_waiters *left;    /* of a woken one: the list it was in */
    struct cvy_call *next, *prev;
    int64_t until;
    size_t timer; /* place in `timed` + 1; 0: none */
};

/** Begin a call with the usual budget. */
void cvy_call_begin(struct cvy_call *call, struct cvy_parking *parking,
                    struct cvy_session *session, struct cvy_referent *object,
                    const covey_value *args, const covey_value *kwds);
/** Drop its reply and what it made. It must not be parked. */
void cvy_call_end(struct cvy_call *call);

/** Return a value; NULL: the code of the last failure. Takes it. Returns: 0, or that. */
int cvy_return(struct cvy_call *call, covey_value *value);
/** Return a proxy of a new object. Takes `self`, also on failure. Returns: 0. */
int cvy_return_object(struct cvy_call *call, const struct cvy_class *cls, void *self);

/** The same of a type whose objects may show less than all methods of its class. */
int cvy_return_typed(struct cvy_call *call, struct cvy_type *type,
                     const struct cvy_class *cls, void *self);
/** The same of one that is to be made of (args, kwargs), which it takes. */
int cvy_return_new(struct cvy_call *call, struct cvy_type *type,
                   const struct cvy_class *cls, covey_value *of);

/** Raise an exception of module builtins with a text; NULL: without arguments.
 * Returns: CVY_RAISED; -ENOMEM. */
int cvy_raise(struct cvy_call *call, const char *name, const char *format, ...)
    COVEY_PRINTF(3, 4);
/** Raise an exception of any module with these arguments, a tuple. Takes it. NULL: none. */
int cvy_raise_args(struct cvy_call *call, const char *module, const char *name,
                   covey_value *args);
/** Raise an exception that is a value already. Takes it. */
int cvy_raise_value(struct cvy_call *call, covey_value *exception);
/** Raise what a code of covey is in Python (-ENOMEM: MemoryError, COVEY_ETYPE: TypeError,
 * -EMSGSIZE: the budget's MemoryError ...) with the detail. The server does this with what
 * a method returns. */
int cvy_raise_code(struct cvy_call *call, int code);

/** Take from the budget. Returns: 0; CVY_RAISED, for the method to return: RuntimeError
 * for steps, MemoryError for bytes; -ENOMEM. */
int cvy_charge_steps(struct cvy_call *call, uint64_t steps) COVEY_MUST_CHECK;
int cvy_charge_bytes(struct cvy_call *call, uint64_t bytes) COVEY_MUST_CHECK;

/**
 * Park this call at the end of a list, until it is woken or the monotonic clock says
 * `until` (cvy_os_deadline makes it of a timeout; INT64_MAX: for ever).
 * Returns: CVY_PARKED; -ENOMEM.
 */
int cvy_park(struct cvy_call *call, struct cvy_waiters *waiters, int64_t until,
             cvy_resume_fn *resume) COVEY_MUST_CHECK;
/** The same at the head: for one that was woken and finds nothing. */
int cvy_park_first(struct cvy_call *call, struct cvy_waiters *waiters, int64_t until,
                   cvy_resume_fn *resume) COVEY_MUST_CHECK;

/** Take a parked call out of its list, and let it be resumed. */
void cvy_wake(struct cvy_call *call);
/** Wake the first, if there is one. Returns: whether. */
bool cvy_wake_first(struct cvy_waiters *waiters);
void cvy_wake_all(struct cvy_waiters *waiters);

/* ---- for the server --------------------------------------------------------- */

/** Resume all that are woken, then those whose time is over, until none is left. */
void cvy_parking_run(struct cvy_parking *parking, int64_t now);
/** When the next one's time is over; INT64_MAX: none has one. */
int64_t cvy_parking_next(const struct cvy_parking *parking);
/** End a parked call: resume it with CVY_CANCELLED. `done` is not called; the caller has
 * it back. */
void cvy_cancel(struct cvy_call *call);
void cvy_parking_free(struct cvy_parking *parking);

/** The session has ended, and its calls are cancelled: serve its watches. */
void cvy_session_end(struct cvy_session *session);

/**
 * Run a method, special ones (`__repr__`, `__str__`, `#GETVALUE`) included.
 * Returns: 0 or CVY_RAISED with call->reply or call->made set; CVY_PARKED; -ENOENT: there
 * is no such method; -ENOTSUP: #GETVALUE of what cannot be pickled; -ENOMEM.
 */
int cvy_call_run(struct cvy_call *call, const char *method);
/** The same with one of the class's methods that is known already. */
int cvy_call_method(struct cvy_call *call, const struct cvy_method *method);

/* ---- objects and classes ---------------------------------------------------- */

/**
 * The object that a proxy in a request stands for, if it is one of this server's.
 * Returns: its state; NULL if `value` is no proxy, or another server's.
 */
void *cvy_call_find(struct cvy_call *call, const covey_value *value,
                    const struct cvy_class **ret_cls);

/** The classes that every server knows: each file of types/ defines some, and
 * types/types.c lists them all. */
extern const struct cvy_class *const cvy_types[];
extern const size_t cvy_type_count;

#endif
