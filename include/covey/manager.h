/* SPDX-License-Identifier: MIT */
/**
 * covey/manager.h: managers: servers of objects, in a child or in this process.
 *
 * A manager holds objects for others: lists, dicts, locks, queues, and those of a
 * program's own classes. Its clients are programs in C (covey/proxy.h) and stock CPython
 * (multiprocessing.managers), here or on other machines: it speaks CPython's protocol.
 *
 * A class is a table of functions, registered under a name before the manager starts:
 *
 * ```c
 * static int increment(covey_request *request, void *self)
 * {
 *     int *count = self;
 *     return covey_request_return(request, covey_value_int(++*count));
 * }
 * static int make(covey_request *request, void **ret_self)
 * {
 *     (void)request;
 *     *ret_self = calloc(1, sizeof(int));
 *     return *ret_self ? 0 : -ENOMEM;
 * }
 * static const struct covey_method counter_methods[] = {{.name = "increment",
 *                                                        .fn = increment}};
 * static const struct covey_class counter = {.size = sizeof(struct covey_class),
 *                                            .methods = counter_methods,
 *                                            .method_count = 1,
 *                                            .create = make,
 *                                            .destroy = free};
 * // in main: covey_manager_register("Counter", &counter, NULL);
 * ```
 *
 * One thread of the manager runs all methods, one after the other, so they need no locks
 * and each call is atomic; but while one runs everybody waits. A method that takes long or
 * blocks says so by COVEY_METHOD_BLOCKS: it runs in a thread of its own.
 *
 * The defaults of covey/base.h hold.
 */
#ifndef COVEY_MANAGER_H
#define COVEY_MANAGER_H

#include <covey/base.h>
#include <covey/process.h>
#include <covey/proxy.h>
#include <covey/tls.h>
#include <covey/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A call of a method or function that a client has asked for. */
typedef struct covey_request covey_request;

/* ---- classes ---------------------------------------------------------------- */

/**
 * What a method does. `self` is what the constructor made.
 *
 * Returns:  what covey_request_return, _return_object, _return_new or _raise returned; or a
 *           negative code, which becomes an exception with the detail as its text.
 */
typedef int covey_method_fn(covey_request *request, void *self);

/** How a method is to be called. */
enum covey_method_flag {
    COVEY_METHOD_BLOCKS = 1, /**< in a thread of its own, so it may block or take long;
                                  other methods of the object may run meanwhile */
    COVEY_METHOD_GROWS = 2   /**< the object may be larger afterwards: refused with
                                  MemoryError when the manager's memory is used up */
};

/** One method. */
struct covey_method {
    const char *name;    /**< as clients call it */
    covey_method_fn *fn; /**< what it does */
    unsigned flags;      /**< of enum covey_method_flag */
};

/** A class. The table is copied, the functions have to stay. */
struct covey_class {
    size_t size; /**< sizeof(struct covey_class) */
    const struct covey_method *methods;
    size_t method_count;
    /** Make an object of the arguments: set `*ret_self` and return 0, or end as a method
     * that failed. NULL: clients cannot make one, methods of other classes do. */
    int (*create)(covey_request *request, void **ret_self);
    void (*destroy)(void *self); /**< free it; NULL: nothing is to be done */
    covey_method_fn *repr;  /**< a str, for repr() and str(); NULL: "<Name object>" */
    covey_method_fn *value; /**< a copy of what it is, for Python's _getvalue() and
                                      copy.deepcopy; NULL: it cannot be copied */
};

/** Options of registering; zero means the default. */
struct covey_register_opts {
    /** sizeof(struct covey_register_opts); COVEY_REGISTER_OPTS fills it. */
    size_t size;
    /** Names of the methods that clients may call; default: all. */
    const char *const *exposed;
    size_t exposed_count;
};
#define COVEY_REGISTER_OPTS(...)                                                       \
    (&(struct covey_register_opts){.size = sizeof(struct covey_register_opts),         \
                                   __VA_ARGS__})

/**
 * Let managers that this process starts or serves from now on have a class by this name.
 * A name that is there already, also one of the standard types, is replaced.
 *
 * Returns:  0; -EINVAL for a bad class or name, or a name in `.exposed` that is no method;
 *           -ENOMEM.
 */
COVEY_API int
covey_manager_register(const char *type_id, const struct covey_class *cls,
                       const struct covey_register_opts *opts) COVEY_MUST_CHECK;

/**
 * Let all clients that create a `type_id` have the same object: one of the type `of`, which
 * is registered or a standard one ("Queue"), made of these arguments when the first asks. It
 * shows the methods that `of` exposes.
 * This is Python's `register('get_queue', callable=lambda: queue)`.
 *
 * `args`:   a tuple; NULL: none.
 * Returns:  0; -EINVAL for a bad name, or if there is no such type; COVEY_ETYPE; -ENOMEM.
 */
COVEY_API int covey_manager_share(const char *type_id, const char *of,
                                  const covey_value *args) COVEY_MUST_CHECK;

/* ---- functions -------------------------------------------------------------- */

/**
 * A function that clients can have called. It is called in a worker of a manager's Pool with
 * covey_request_args and covey_request_kwargs, ends as a method does, and cannot make
 * objects (covey_request_return_object and _return_new are -ENOTSUP).
 */
typedef int covey_function_fn(covey_request *request);

/**
 * Let managers that this process starts or serves from now on call a function where a
 * client names one of Python's: as what a Pool's methods call and as its initializer.
 * Nothing else that clients name is ever called. A name that is there already is replaced.
 *
 * `name`:   as Python pickles it: the module, a dot, the qualified name: "math.sqrt",
 *           "__main__.Shape.area". Without a module: of builtins. Modules written in C may
 *           lie behind others: operator.mul is "_operator.mul".
 * Returns:  0; -EINVAL for a bad name, or if `fn` lies in no program or shared object;
 *           -ENOMEM.
 */
COVEY_API int covey_manager_register_function(const char *name,
                                              covey_function_fn *fn) COVEY_MUST_CHECK;

/* ---- requests --------------------------------------------------------------- */

/** Returns: the arguments, a tuple, valid until the method returns. */
COVEY_API const covey_value *covey_request_args(const covey_request *request);
/** Returns: the keyword arguments, a dict, valid as those; NULL: none. */
COVEY_API const covey_value *covey_request_kwargs(const covey_request *request);
/** Returns: what the client's thread calls itself: "MainProcess", "Process-1|Thread-2". */
COVEY_API const char *covey_request_client(const covey_request *request);

/**
 * Whether nobody waits for the result any more: the client has ended, or the manager is
 * about to. For methods that block, to look at now and then. In functions it is 0: what
 * nobody waits for is ended with its pool.
 *
 * Returns:  1 or 0.
 */
COVEY_API int covey_request_cancelled(const covey_request *request);

/**
 * Return a value; NULL: the code of this thread's last failure.
 *
 * Returns:  0, or that code.
 * Owner:    takes `value`.
 */
COVEY_API int covey_request_return(covey_request *request, covey_value *value);

/**
 * Return a proxy of a new object of the registered type `type_id`.
 *
 * Returns:  0; -EINVAL if there is no such type of this program's; -ENOTSUP in a function.
 * Owner:    takes `self` if it returns 0.
 */
COVEY_API int covey_request_return_object(covey_request *request, const char *type_id,
                                          void *self);

/**
 * Return a proxy of a new object of any type that clients can create, made as if one did: of
 * the registered ones, or a standard one such as "list". Of a type of covey_manager_share it
 * is the object that all get. What its constructor raises the client gets, as a failure of the
 * manager.
 * This is Python's `method_to_typeid`, where `args` is what the method returned.
 *
 * `args`:   a tuple; NULL: none.
 * `kwargs`: a dict with str keys; NULL: none.
 * Returns:  0; -EINVAL if there is no such type, or clients cannot create one; COVEY_ETYPE;
 *           -ENOTSUP in a function; -ENOMEM.
 * Owner:    takes `args` and `kwargs`, also on failure.
 */
COVEY_API int covey_request_return_new(covey_request *request, const char *type_id,
                                       covey_value *args, covey_value *kwargs);

/**
 * Raise an exception of Python's with a text, made as by printf; bytes in it that are no
 * UTF-8 become '?'.
 *
 * `name`:   of module builtins, "ValueError"; or with its module, "queue.Empty".
 * Returns:  a positive number; -ENOMEM.
 */
COVEY_API int covey_request_raise(covey_request *request, const char *name,
                                  const char *format, ...) COVEY_PRINTF(3, 4);

/* ---- managers --------------------------------------------------------------- */

/** Options of a manager; zero means the default. Limits: zero is the default, too. */
struct covey_manager_opts {
    /** sizeof(struct covey_manager_opts); COVEY_MANAGER_OPTS fills it. */
    size_t size;
    /** As in covey_listener_create; default: a fresh abstract name. A path whose socket
     * nobody listens at is replaced, unless somebody keeps its folder locked by flock. */
    const char *address;
    /** What clients have to know; default: covey_authkey. */
    struct covey_view authkey;
    /** On: accept proofs by MD5, as CPython before 3.12 makes them; default off. */
    enum covey_switch allow_md5;
    /** Of covey_manager_start. */
    enum covey_start_method method;
    /** Of its process; default "Manager-1", then "Manager-2" and so on. */
    const char *name;
    /** On: it goes on when this process is killed; at its orderly end it is shut down
     * all the same. */
    enum covey_switch outlive;
    /** Off: only registered ones; default on. */
    enum covey_switch standard_types;
    /** Bytes of a request; default 256 MiB. */
    size_t max_message;
    /** Bytes of a reply; default 1 GiB. */
    size_t max_reply;
    /** Default 1 million. */
    size_t max_objects;
    /** Connections at the same time; default 20,000. One more is closed as soon as it has
     * proved that it knows the key: COVEY_EEOF for its client. */
    size_t max_sessions;
    /** Processes that all Pools may have together; default 4 for each processor, at
     * least 64. */
    size_t max_workers;
    /** Bytes, beyond which objects may not grow, and requests of over 64 KiB that are not
     * all there are answered by MemoryError; default half of what the machine or the cgroup
     * has. */
    uint64_t max_memory;
    /** One request may take: items looked at, compared, copied; default 50 million,
     * about a second at worst. */
    uint64_t max_steps;
    /** One request may make of others: by repeating, sorting, printing; default 256
     * MiB. */
    uint64_t max_bytes;
    /** For proving that one knows the key; default 10 s. */
    covey_nsec handshake_timeout;
    /** A client that reads nothing of its reply for so long, or has begun a request and
     * sends nothing more of it, is disconnected; default 60 s. */
    covey_nsec send_timeout;
    /** For covey_manager_start; default 30 s. */
    covey_nsec start_timeout;
    /** covey_manager_serve_forever calls it when clients can connect. */
    void (*ready)(void *context, const char *address);
    /** For `ready`. */
    void *context;
    /** On: it looks after named memory, see covey/segment.h. Then clients can have any
     * named memory removed that it may remove; default off. */
    enum covey_switch segments;
    /** Of covey_manager_serve_forever, in place of `.address`: a socket that listens, which
     * is closed when that returns 0, and stays yours if it fails. Who has made its path
     * removes that. Default: none. */
    int listen_fd;
    /** Not NULL: all clients have to speak TLS, see covey/tls.h. covey_manager_start
     * connects with the same options, so that its certificate serves both sides. Calls
     * from the manager's own family, by a path or a name, go through its memory still. */
    const struct covey_tls *tls;
    /** Of covey_manager_start: run in the manager's process before it serves; if its result
     * is not 0 there is no manager. What it registers (covey_manager_register and its like)
     * the manager has, besides what its starter has registered; under COVEY_THREAD the whole
     * process. The manager holds none of its starter's objects: covey_hold what it is to
     * keep. */
    covey_target_fn *initializer;
    /** Its argument, copied. */
    struct covey_view initarg;
};
#define COVEY_MANAGER_OPTS(...)                                                        \
    (&(struct covey_manager_opts){.size = sizeof(struct covey_manager_opts),           \
                                  __VA_ARGS__})

/**
 * Start a manager in a child process, and connect to it.
 *
 * The child ignores SIGINT, ends in order by SIGTERM, and is killed when this process
 * dies, unless `.outlive` is on. Its handle goes as any other one: covey_manager_shutdown
 * ends it and waits for the child; so does the end of this process.
 *
 * By COVEY_THREAD it is a thread of this process, which nothing can end while a method
 * runs: it ends when that returns, and covey_manager_stop ends it, too.
 *
 * Returns:  0; -EINVAL for bad options; the errors of covey_process_start and of
 *           covey_listener_create; COVEY_ESTART if the child has ended or did not come up,
 *           or if its initializer failed: what it returned, or how the child has ended, is
 *           in the detail. No child is left then.
 * Blocks:   until clients can connect, at most `.start_timeout`; a thread that has not come
 *           up by then is given 5 seconds to end.
 */
COVEY_API int
covey_manager_start(covey_manager **out,
                    const struct covey_manager_opts *opts) COVEY_MUST_CHECK;

/**
 * Wait until a manager that this process has started has ended, for whatever reason: a client
 * has shut it down, somebody has sent SIGTERM, it has died. Nothing is asked of it; to end it
 * call covey_manager_shutdown. Afterwards the handle is still to be freed, and joining it
 * again gives the same result.
 *
 * `manager`: what covey_manager_start gave, in the process that called it.
 * Returns:  0 when it has ended in order; COVEY_ECRASHED when it has ended otherwise, by which
 *           signal or exit code is in the detail; -ETIMEDOUT while it runs; COVEY_ENOTOWNER
 *           if another process has started it, or the handle is of covey_manager_connect;
 *           COVEY_ESTATE in a thread that is the manager itself; -EINVAL, COVEY_EFREED:
 *           it is no such handle.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_manager_join(covey_manager *manager, covey_nsec timeout);

/**
 * Be a manager, until a client asks it to shut down or covey_manager_stop is called.
 *
 * Returns:  0; -EINVAL for bad options, an `.initializer` among them; the errors of
 *           covey_listener_create.
 * Blocks:   as said.
 * Threads:  it runs methods in the calling thread.
 */
COVEY_API int
covey_manager_serve_forever(const struct covey_manager_opts *opts) COVEY_MUST_CHECK;

/**
 * Let all covey_manager_serve_forever of this process return soon, also those that do not
 * serve yet. May be called by a signal handler.
 */
COVEY_API void covey_manager_stop(void);

#ifdef __cplusplus
}
#endif

#endif
