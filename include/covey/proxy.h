/* SPDX-License-Identifier: MIT */
/**
 * covey/proxy.h: objects that live in a manager, and their proxies here.
 *
 * A manager is a server process that holds objects for others: lists, dicts, locks, queues
 * or its own classes. It may be one of covey's, or stock CPython's (SyncManager, or any
 * BaseManager), on this machine or another one. A proxy stands for one object; its methods
 * are called by name, with values (covey/value.h), and run one by one in the manager.
 * covey/remote.h has functions for the standard objects.
 *
 * ```c
 * covey_manager *manager;
 * covey_proxy *list;
 * covey_value *item;
 * if (covey_manager_connect(&manager, "127.0.0.1:5000",
 *                           COVEY_CONNECT_OPTS(.authkey = COVEY_VIEW("secret", 6)),
 *                           COVEY_SEC(5)) == 0 &&
 *     covey_proxy_create(&list, manager, "list", NULL, NULL) == 0 &&
 *     covey_proxy_call(list, NULL, "append", "(i)", 42) == 0 &&
 *     covey_proxy_call(list, &item, "pop", "()") == 0)
 *     covey_value_free(item);
 * ```
 *
 * Managers and proxies lie in the family's memory: a pointer to one is valid in every
 * process of the family, under every start method and in the tasks of pools. All holds of
 * a proxy in the family are one reference in the manager, which goes with the last hold:
 * by covey_proxy_free, or at the end of the process. For a last holder that was killed a
 * manager of the family gives it back at once, if that process had called it; else who
 * next makes a proxy, or asks the manager for anything else than a call, does so.
 *
 * Each thread has a connection of its own to each manager that it uses, made at its first
 * call and closed at its end; so calls of several threads run side by side, and a lock
 * that belongs to a thread belongs to this one. Fork children have their own, too.
 *
 * *When a call fails.* An exception that the method raised is COVEY_EREMOTE: its type and
 * text are in the detail, and in covey_proxy_error_type and its like until this thread's
 * next call. So are failures of the manager itself (Python's RemoteError): a method that
 * is not exposed, a result that cannot be pickled. Every call can return, besides what its
 * comment says:
 *
 *   COVEY_EREMOTE     the method raised an exception
 *   COVEY_EEOF        the manager closed the connection, or died, before it answered; it
 *                     may or may not have done what it was asked to
 *   -ESTALE           the manager has no such object: it was restarted, or somebody gave
 *                     back references that were not his
 *   -ECONNREFUSED, -ENOENT ... of connecting; COVEY_EAUTH; of a file of `.tls` -EINVAL if
 *                     it is missing or of no use, -EACCES ... of the system
 *   -ETIMEDOUT        no answer in time. The connection is given up then, what was begun on
 *                     it, at which the manager may still be, and locks held by it
 *   COVEY_EPROTOCOL, COVEY_EPICKLE, -ENOTSUP, -EMSGSIZE: the answer is none, cannot be
 *                     read, or is larger than `.max_reply`
 *   COVEY_EFREED, -EINVAL: it is no such handle
 *   -ENOMEM, and the errors of founding the family
 *
 * *When the manager is gone.* After COVEY_EEOF the next call connects anew. With `.reconnect`
 * more is done. A manager that is not there (refuses, has no socket, ends connections that
 * are being made) is tried again, with pauses of 10 ms that double up to 1 s, drawn between
 * half and whole; a wrong key or nonsense fails at once. No try begins when `.reconnect` is
 * over, and the call fails as the last one has; if the call's own time is over before, by
 * -ETIMEDOUT. A manager that is stopped is there. A connection that has ended while nobody
 * waited is replaced, and a request that was not sent as a whole is sent again. One whose
 * answer is lost is not, since the method may have run: it is COVEY_EEOF, unless `.repeat`
 * names it as one that may run twice. That is a list such as "dict.get dict.__setitem__
 * *.read": type ids and methods, either of which can be `*`, with spaces between, at most
 * 511 bytes. Calls by covey_proxy_send are never repeated; of those to the manager itself
 * covey_manager_count, _debug_info, _connect and covey_proxy_methods are. Giving back
 * references and shutdowns try once.
 *
 * What a thread holds of Locks, RLocks and Conditions, and permits of semaphores, belong to
 * its connection: covey's manager releases them when that ends, a stock one never does. A
 * connection by which any are held is not replaced in silence: the call that finds its end
 * is COVEY_EEOF. That is counted by the calls of `acquire` and `release` in this process:
 * what another process has released counts as held. Objects do not survive their manager:
 * proxies of them are -ESTALE, and the program makes others. In a stock manager the name of
 * an old object may by chance be that of another one.
 *
 * The defaults of covey/base.h hold, and:
 *
 * Blocks:   calls without a timeout of their own at most `.timeout` of the manager, for
 *           each step.
 * Owner:    values that are passed as `covey_value *` are taken, also on failure, and may
 *           be NULL where that is said; what comes out is yours.
 * Threads:  any number may use the same manager or proxy.
 */
#ifndef COVEY_PROXY_H
#define COVEY_PROXY_H

#include <covey/base.h>
#include <covey/tls.h>
#include <covey/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A manager, as its clients see it. */
typedef struct covey_manager covey_manager;
/** What stands for an object in a manager. */
typedef struct covey_proxy covey_proxy;
/** The answer to a call that was sent and not awaited. */
typedef struct covey_reply covey_reply;

/* ---- managers --------------------------------------------------------------- */

/** Options of a connection to a manager; zero means the default. */
struct covey_connect_opts {
    size_t size; /**< sizeof(struct covey_connect_opts); COVEY_CONNECT_OPTS fills it */
    struct covey_view authkey;   /**< at most 256 bytes; default: covey_authkey */
    enum covey_switch no_key;    /**< on: the manager asks for none */
    enum covey_switch allow_md5; /**< on: prove by MD5 if the manager asks for it, as
                                      CPython before 3.12 does */
    covey_nsec timeout;   /**< how long calls wait that have no timeout of their own;
                             default: no limit */
    size_t max_reply;     /**< in bytes, also while it is read; default 1 GiB */
    covey_nsec reconnect; /**< how long to go on trying to reach a manager that is not
                               there, at first and again; default: not at all */
    const char *repeat; /**< methods that may run twice: see "When the manager is gone";
                               needs .reconnect */
    const struct covey_tls *tls; /**< not NULL: speak TLS, see covey/tls.h; so do all
                                      processes that the manager's handle, or a proxy
                                      of its, goes to */
};
#define COVEY_CONNECT_OPTS(...)                                                        \
    (&(struct covey_connect_opts){.size = sizeof(struct covey_connect_opts),           \
                                  __VA_ARGS__})

/**
 * Connect to a manager that runs, or with `.reconnect` to one that is about to, and make
 * sure that it answers.
 *
 * `address`: as in covey_client_connect.
 * Returns:  0; -EINVAL for bad options; as every call.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_manager_connect(covey_manager **out, const char *address,
                                    const struct covey_connect_opts *opts,
                                    covey_nsec timeout) COVEY_MUST_CHECK;

/**
 * Where it is, as it was given.
 *
 * Returns:  a string that lives as long as the handle; NULL if it is none.
 */
COVEY_API const char *covey_manager_address(covey_manager *manager);

/** How many objects of its own the manager has. Returns:  0; as every call. */
COVEY_API int covey_manager_count(covey_manager *manager, size_t *ret_count);

/** The manager's list of its objects, for people. Returns:  0; as every call. */
COVEY_API int covey_manager_debug_info(covey_manager *manager,
                                       struct covey_bytes *ret_text);

/**
 * Ask it to end, and wait until it closes the connection. Whoever knows the key may. Of a
 * manager that this process has started the process is awaited: after `timeout`, or if it
 * does not answer, it is ended by SIGTERM, and 5 seconds later by SIGKILL; it may have ended
 * before. To wait without asking it to end there is covey_manager_join. A manager that
 * is a thread of this process is told to end and awaited, but cannot be ended while one of
 * its methods runs; it can be shut down again, to await it.
 *
 * Returns:  0; as every call; -ETIMEDOUT also for a thread that has not ended yet.
 * Blocks:   at most `timeout`; for a process that has to be ended, until it is.
 */
COVEY_API int covey_manager_shutdown(covey_manager *manager, covey_nsec timeout);

/**
 * Drop this process's hold; NULL is fine. Proxies of it go on. The connections to it are
 * closed when nothing in the family holds it or a proxy of it any more.
 */
COVEY_API void covey_manager_free(covey_manager *manager);

/* ---- proxies ---------------------------------------------------------------- */

/**
 * Make an object in a manager.
 *
 * `type_id`: by what the manager knows its class: "list", "dict", "Queue" ...
 * `args`, `kwargs`: a tuple and a dict; NULL: none.
 * Returns:  0; as every call.
 */
COVEY_API int covey_proxy_create(covey_proxy **out, covey_manager *manager,
                                 const char *type_id, covey_value *args,
                                 covey_value *kwargs) COVEY_MUST_CHECK;

/**
 * Call a method, with arguments made by a format of covey_value_pack: a tuple, such as
 * "()" or "(i, s)". NULL: no arguments. For values that hold other proxies see
 * covey_proxy_to_value.
 *
 * `out`:    receives the result; NULL: it is dropped.
 * Returns:  0; as every call; as covey_value_pack; COVEY_ETYPE if the result is an
 *           object that stays in the manager: see covey_proxy_call_proxy.
 */
COVEY_API int covey_proxy_call(covey_proxy *proxy, covey_value **out,
                               const char *method, const char *format, ...);

/**
 * Call a method.
 *
 * `args`, `kwargs`: a tuple and a dict; NULL: none.
 * `out`:    receives the result; NULL: it is dropped.
 * Returns:  as covey_proxy_call.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_proxy_call_values(covey_proxy *proxy, covey_value **out,
                                      const char *method, covey_value *args,
                                      covey_value *kwargs, covey_nsec timeout);

/**
 * Call a method whose result is an object in a manager, such as `__iter__` of a dict, or
 * an item of a list that is a proxy itself.
 *
 * Returns:  0; as every call; COVEY_ETYPE if the result is a plain value.
 * Blocks:   at most `timeout`, for each step.
 */
COVEY_API int covey_proxy_call_proxy(covey_proxy *proxy, covey_proxy **out,
                                     const char *method, covey_value *args,
                                     covey_value *kwargs,
                                     covey_nsec timeout) COVEY_MUST_CHECK;

/**
 * Send a call and do not wait for its answer. Calls of one thread to one manager are
 * answered in the order in which they were sent, those that wait included.
 *
 * Returns:  0; as every call; -ETIMEDOUT: it was not sent, and nothing was given up
 *           unless a part of it was.
 * Blocks:   until it is on its way, at most `timeout`.
 * Owner:    the proxy must be held until the answer has come.
 */
COVEY_API int covey_proxy_send(covey_reply **out, covey_proxy *proxy,
                               const char *method, covey_value *args,
                               covey_value *kwargs,
                               covey_nsec timeout) COVEY_MUST_CHECK;

/**
 * Wait for the answer to a call, and take it.
 *
 * `out`:    receives the result; NULL: it is dropped.
 * Returns:  as covey_proxy_call; -ETIMEDOUT: it has not come, and nothing is given up;
 *           COVEY_ESTATE if it was taken before; COVEY_ENOTOWNER in another thread than
 *           the one that sent it; -ECANCELED if a later call on the same connection ran
 *           out of time.
 * Blocks:   at most `timeout`.
 * Threads:  the one that sent it.
 */
COVEY_API int covey_reply_get(covey_reply *reply, covey_value **out,
                              covey_nsec timeout);

/** Drop an answer, come or not; NULL is fine. Threads: the one that sent it. */
COVEY_API void covey_reply_free(covey_reply *reply);

/**
 * A copy of the object itself, as Python's `_getvalue`: of a list proxy a list.
 *
 * Returns:  0; as every call.
 */
COVEY_API int covey_proxy_copy(covey_proxy *proxy, covey_value **out) COVEY_MUST_CHECK;

/** The names of its methods, a tuple of str. Returns:  0; as every call. */
COVEY_API int covey_proxy_methods(covey_proxy *proxy,
                                  covey_value **out) COVEY_MUST_CHECK;

/**
 * What Python's str() of the proxy gives: the repr of the object.
 *
 * Returns:  0; as every call. `ret_text` ends with a NUL that its size omits.
 */
COVEY_API int covey_proxy_str(covey_proxy *proxy, struct covey_bytes *ret_text);

/**
 * What Python's repr() of the proxy gives:
 * `<ListProxy object, typeid 'list' at 0x200000401000>`. The manager is not asked.
 *
 * Returns:  0; -ENOMEM; COVEY_EFREED. `ret_text` ends with a NUL that its size omits.
 */
COVEY_API int covey_proxy_repr(covey_proxy *proxy, struct covey_bytes *ret_text);

/**
 * Its type id.
 *
 * Returns:  a string that lives as long as the proxy; NULL if it is none.
 */
COVEY_API const char *covey_proxy_type(covey_proxy *proxy);

/**
 * Its object's name in the manager; the same for all proxies of one object.
 *
 * Returns:  a string that lives as long as the proxy; NULL if it is none.
 */
COVEY_API const char *covey_proxy_ident(covey_proxy *proxy);

/**
 * Drop this process's hold, NULL is fine. The family's last one is told to the manager,
 * which drops the object unless others refer to it.
 *
 * Blocks:   for the last one, at most 10 s and `.timeout`.
 */
COVEY_API void covey_proxy_free(covey_proxy *proxy);

/* ---- proxies in values ------------------------------------------------------ */

/**
 * The proxy as a value, to be put into arguments and containers: the manager that gets it
 * knows its own objects, so that a list holds the dict itself. It counts as no reference:
 * hold the proxy until who gets the value has made one of it.
 *
 * Returns:  0; as every call.
 */
COVEY_API int covey_proxy_to_value(covey_proxy *proxy,
                                   covey_value **out) COVEY_MUST_CHECK;

/** Returns: 1 if a value stands for an object in a manager, else 0. */
COVEY_API int covey_value_is_proxy(const covey_value *value);

/**
 * A proxy of what covey_value_is_proxy: an item of a list that holds a proxy, an argument
 * that Python sent. Its manager is `manager`, if the address is that one's, else the one
 * at its address with the key and options of `manager`.
 *
 * Returns:  0; as every call; COVEY_EPROTOCOL if it is no proxy.
 */
COVEY_API int covey_proxy_from_value(covey_proxy **out, covey_manager *manager,
                                     const covey_value *value) COVEY_MUST_CHECK;

/* ---- what went wrong there -------------------------------------------------- */

/**
 * The exception with which this thread's last call of a manager failed: its class without
 * the module: "KeyError", "RemoteError".
 *
 * Returns:  a string that is valid until this thread's next call; "" if that call did not
 *           fail, or not by an exception.
 */
COVEY_API const char *covey_proxy_error_type(void);

/**
 * What str() of that exception is; for a RemoteError the traceback that the manager sent.
 *
 * Returns:  a string that is valid until this thread's next call; "" as above.
 */
COVEY_API const char *covey_proxy_error_text(void);

/**
 * That exception itself.
 *
 * Returns:  a value that is valid until this thread's next call; NULL as above, and for a
 *           RemoteError.
 */
COVEY_API const covey_value *covey_proxy_error_value(void);

#ifdef __cplusplus
}
#endif

#endif
