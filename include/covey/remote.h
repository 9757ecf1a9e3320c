/* SPDX-License-Identifier: MIT */
/**
 * covey/remote.h: the standard objects of managers: list, dict, Namespace, locks, events,
 * conditions, barriers, queues, pools, Value and Array, each by its proxy (covey/proxy.h).
 *
 * Every call is one method of the object, and happens as a whole. What lies in a list or
 * dict came there as a copy: to change it, get it, change it, and set it again, or put a
 * proxy there (covey_proxy_to_value). Indices count from the end if they are negative.
 *
 * The defaults of covey/proxy.h hold, and:
 *
 * Returns:  0, or 0 and 1 of a question. Python's exceptions are these codes, with type and
 *           text in the detail, and in covey_proxy_error_type and its like:
 *             -ENOENT          IndexError, KeyError, AttributeError
 *             -ETIMEDOUT       Empty, Full, TimeoutError
 *             COVEY_ECLOSED    ShutDown, of queues from Python 3.13 on
 *             COVEY_EBROKEN    BrokenBarrierError
 *             COVEY_ETYPE      TypeError
 *             -EINVAL          ValueError
 *             COVEY_ESTATE     RuntimeError, as of a release of what is not acquired
 *             COVEY_EREMOTE    any other
 * Blocks:   calls with a `timeout` wait in the manager for at most that, COVEY_NOWAIT not
 *           at all; the answer may take `.timeout` more.
 */
#ifndef COVEY_REMOTE_H
#define COVEY_REMOTE_H

#include <covey/proxy.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- lists, and Array where it has the same methods --------------------------- */

/** Of a slice: this end, or the step, is left out. */
#define COVEY_OPEN INT64_MIN

/** Add an item at the end. Returns:  0; as every call. */
COVEY_API int covey_list_append(covey_proxy *list, covey_value *item);
/** Add all items of a list, tuple, or what else Python can go through. Returns:  0; as
 * every call. */
COVEY_API int covey_list_extend(covey_proxy *list, covey_value *items);
/** Add an item before another one. Returns:  0; as every call. */
COVEY_API int covey_list_insert(covey_proxy *list, int64_t index, covey_value *item);
/** Read an item. Returns:  0; -ENOENT; as every call. */
COVEY_API int covey_list_get(covey_proxy *list, int64_t index,
                             covey_value **out) COVEY_MUST_CHECK;
/** Replace an item. Returns:  0; -ENOENT; as every call. */
COVEY_API int covey_list_set(covey_proxy *list, int64_t index, covey_value *item);
/** Take an item out. Returns:  0; -ENOENT; as every call. */
COVEY_API int covey_list_delete(covey_proxy *list, int64_t index);
/** Read `list[start:stop:step]`, as a list. Returns:  0; -EINVAL for a step of 0; as every
 * call. */
COVEY_API int covey_list_slice(covey_proxy *list, int64_t start, int64_t stop,
                               int64_t step, covey_value **out) COVEY_MUST_CHECK;
/** Replace a slice by other items, with a step by just as many. Returns:  0; -EINVAL; as
 * every call. */
COVEY_API int covey_list_set_slice(covey_proxy *list, int64_t start, int64_t stop,
                                   int64_t step, covey_value *items);
/** Take a slice out. Returns:  0; -EINVAL for a step of 0; as every call. */
COVEY_API int covey_list_delete_slice(covey_proxy *list, int64_t start, int64_t stop,
                                      int64_t step);
/** Take all items out. Returns:  0; as every call. */
COVEY_API int covey_list_clear(covey_proxy *list);
/** Take an item out, -1 the last; `out` NULL: it is dropped. Returns:  0; -ENOENT; as every
 * call. */
COVEY_API int covey_list_pop(covey_proxy *list, int64_t index, covey_value **out);
/** Take out the first item that is equal. Returns:  0; -ENOENT; as every call. */
COVEY_API int covey_list_remove(covey_proxy *list, covey_value *item);
/** Find the first item that is equal. Returns:  0; -ENOENT; as every call. */
COVEY_API int covey_list_index(covey_proxy *list, covey_value *item, size_t *ret_index);
/** Count the items that are equal: Python's `count`. Returns:  0; as every call. */
COVEY_API int covey_list_occurrences(covey_proxy *list, covey_value *item,
                                     size_t *ret_count);
/** How many items it has: Python's `len`. Returns:  0; as every call. */
COVEY_API int covey_list_count(covey_proxy *list, size_t *ret_count);
/** Ask whether an item is equal. Returns:  1 or 0; as every call. */
COVEY_API int covey_list_contains(covey_proxy *list, covey_value *item);
/** Sort it; `reverse` not 0: the largest first. Returns:  0; COVEY_ETYPE if two items have
 * no order; as every call. */
COVEY_API int covey_list_sort(covey_proxy *list, int reverse);
/** Turn it around. Returns:  0; as every call. */
COVEY_API int covey_list_reverse(covey_proxy *list);
/** The items from the last to the first, as a list. Returns:  0; as every call. */
COVEY_API int covey_list_reversed(covey_proxy *list,
                                  covey_value **out) COVEY_MUST_CHECK;
/** `list + other`, as a list; `other` is a list. Returns:  0; as every call. */
COVEY_API int covey_list_concat(covey_proxy *list, covey_value *other,
                                covey_value **out) COVEY_MUST_CHECK;
/** `list * times`, as a list. Returns:  0; as every call. */
COVEY_API int covey_list_repeat(covey_proxy *list, int64_t times,
                                covey_value **out) COVEY_MUST_CHECK;
/**
 * Walk through it, a call for each item, as Python does: others may change it meanwhile.
 * All at once is covey_proxy_copy.
 *
 * `position`: 0 at first; belongs to the walk.
 * Returns:  1 with an item; 0 at the end; as every call.
 */
COVEY_API int covey_list_next(covey_proxy *list, size_t *position, covey_value **out);

/* ---- dicts ------------------------------------------------------------------ */

/** Read the value of a key. Returns:  0; -ENOENT; as every call. */
COVEY_API int covey_dict_get(covey_proxy *dict, covey_value *key,
                             covey_value **out) COVEY_MUST_CHECK;
/** The same; for a key that is not there `otherwise`. Returns:  0; as every call. */
COVEY_API int covey_dict_get_or(covey_proxy *dict, covey_value *key,
                                covey_value *otherwise,
                                covey_value **out) COVEY_MUST_CHECK;
/** Set the value of a key. Returns:  0; COVEY_ETYPE for a key that cannot be one; as every
 * call. */
COVEY_API int covey_dict_set(covey_proxy *dict, covey_value *key, covey_value *value);
/** Take a key out. Returns:  0; -ENOENT; as every call. */
COVEY_API int covey_dict_delete(covey_proxy *dict, covey_value *key);
/** Take a key out and read its value; `out` NULL: it is dropped. Returns:  0; -ENOENT; as
 * every call. */
COVEY_API int covey_dict_pop(covey_proxy *dict, covey_value *key, covey_value **out);
/** Take the newest key out. `out`: receives (key, value). Returns:  0; -ENOENT if there is
 * none; as every call. */
COVEY_API int covey_dict_popitem(covey_proxy *dict, covey_value **out);
/** Read the value of a key, which is set to `value` if it is not there. `out` may be NULL.
 * Returns:  0; as every call. */
COVEY_API int covey_dict_setdefault(covey_proxy *dict, covey_value *key,
                                    covey_value *value, covey_value **out);
/** Set all that another dict, or list of pairs, has. Returns:  0; as every call. */
COVEY_API int covey_dict_update(covey_proxy *dict, covey_value *other);
/** Take all keys out. Returns:  0; as every call. */
COVEY_API int covey_dict_clear(covey_proxy *dict);
/** Ask whether a key is there. Returns:  1 or 0; as every call. */
COVEY_API int covey_dict_contains(covey_proxy *dict, covey_value *key);
/** How many keys it has. Returns:  0; as every call. */
COVEY_API int covey_dict_count(covey_proxy *dict, size_t *ret_count);
/** Its keys, as a list. Returns:  0; as every call. */
COVEY_API int covey_dict_keys(covey_proxy *dict, covey_value **out) COVEY_MUST_CHECK;
/** Its values, as a list. Returns:  0; as every call. */
COVEY_API int covey_dict_values(covey_proxy *dict, covey_value **out) COVEY_MUST_CHECK;
/** Its (key, value) pairs, as a list. Returns:  0; as every call. */
COVEY_API int covey_dict_items(covey_proxy *dict, covey_value **out) COVEY_MUST_CHECK;
/**
 * An iterator over its keys, which lives in the manager, for covey_proxy_next. All keys at
 * once is covey_dict_keys.
 *
 * Returns:  0; as every call.
 */
COVEY_API int covey_dict_iterate(covey_proxy *dict, covey_proxy **out) COVEY_MUST_CHECK;
/**
 * The next item of an iterator: of a dict's, or what a Pool's imap returns.
 *
 * Returns:  1 with an item; 0 at the end; COVEY_ESTATE if the dict has changed its size; as
 *           every call.
 */
COVEY_API int covey_proxy_next(covey_proxy *iterator, covey_value **out);
/**
 * The next item of what covey_proxy_pool_imap returned, if it comes in time.
 *
 * Returns:  1 with an item; 0 at the end; -ETIMEDOUT, and it may be called again; the
 *           exception of the function for this item; as every call.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_proxy_next_within(covey_proxy *iterator, covey_value **out,
                                      covey_nsec timeout);

/* ---- namespaces, Value ------------------------------------------------------ */

/** Read an attribute. Returns:  0; -ENOENT; as every call. */
COVEY_API int covey_namespace_get(covey_proxy *space, const char *name,
                                  covey_value **out) COVEY_MUST_CHECK;
/** Set an attribute. Returns:  0; as every call. */
COVEY_API int covey_namespace_set(covey_proxy *space, const char *name,
                                  covey_value *value);
/** Take an attribute away. Returns:  0; -ENOENT; as every call. */
COVEY_API int covey_namespace_delete(covey_proxy *space, const char *name);
/** Read a Value. Returns:  0; as every call. */
COVEY_API int covey_proxy_value_get(covey_proxy *value,
                                    covey_value **out) COVEY_MUST_CHECK;
/** Set a Value. Returns:  0; as every call. */
COVEY_API int covey_proxy_value_set(covey_proxy *value, covey_value *to);

/* ---- locks of managers ------------------------------------------------------ */

/**
 * Acquire a Lock, RLock, Semaphore, BoundedSemaphore or Condition. An RLock and a
 * Condition belong to the calling thread. When that or its process ends, what it has is
 * released; not the permits of a semaphore that is used as a signal: one that starts at 0,
 * or that a thread has released more often than it had acquired it. With COVEY_FOREVER no
 * argument is sent: the method of a class of the program's own needs defaults as Python's.
 *
 * Returns:  0; -ETIMEDOUT; as every call.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_proxy_lock_acquire(covey_proxy *lock, covey_nsec timeout);
/** Release one. Returns:  0; COVEY_ESTATE if it is not acquired; -EINVAL for a
 * BoundedSemaphore that is released too often; as every call. */
COVEY_API int covey_proxy_lock_release(covey_proxy *lock);
/**
 * Wait until another one notifies the condition; it must be acquired.
 *
 * Returns:  0; -ETIMEDOUT; COVEY_ESTATE if it is not acquired; as every call.
 * Blocks:   at most `timeout`, and until it is acquired again.
 */
COVEY_API int covey_proxy_condition_wait(covey_proxy *condition, covey_nsec timeout);
/** Wake up to `count` of those that wait. Returns:  0; COVEY_ESTATE if it is not acquired;
 * as every call. */
COVEY_API int covey_proxy_condition_notify(covey_proxy *condition, size_t count);
/** Wake all that wait. Returns:  0; COVEY_ESTATE if it is not acquired; as every call. */
COVEY_API int covey_proxy_condition_notify_all(covey_proxy *condition);

/** Set an Event. Returns:  0; as every call. */
COVEY_API int covey_proxy_event_set(covey_proxy *event);
/** Clear an Event. Returns:  0; as every call. */
COVEY_API int covey_proxy_event_clear(covey_proxy *event);
/** Ask whether an Event is set. Returns:  1 or 0; as every call. */
COVEY_API int covey_proxy_event_is_set(covey_proxy *event);
/**
 * Wait until an Event is set.
 *
 * Returns:  0; -ETIMEDOUT; as every call.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_proxy_event_wait(covey_proxy *event, covey_nsec timeout);

/**
 * Wait until as many as a Barrier has parties wait for it.
 *
 * `ret_index`: receives 0 ... parties - 1, another number for each; may be NULL.
 * Returns:  0; COVEY_EBROKEN, also for all who wait when the time of one is up; as every
 *           call.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_proxy_barrier_wait(covey_proxy *barrier, covey_nsec timeout,
                                       size_t *ret_index);
/** Break it. Returns:  0; as every call. */
COVEY_API int covey_proxy_barrier_abort(covey_proxy *barrier);
/** Make it as new; those who wait get COVEY_EBROKEN. Returns:  0; as every call. */
COVEY_API int covey_proxy_barrier_reset(covey_proxy *barrier);

/* ---- queues of managers ----------------------------------------------------- */

/**
 * Put a value into a Queue or JoinableQueue. With COVEY_FOREVER the value is the only
 * argument.
 *
 * Returns:  0; -ETIMEDOUT: it is full; COVEY_ECLOSED; as every call.
 * Blocks:   while it is full, at most `timeout`.
 */
COVEY_API int covey_proxy_queue_put(covey_proxy *queue, covey_value *value,
                                    covey_nsec timeout);
/**
 * Get a value.
 *
 * Returns:  0; -ETIMEDOUT: it is empty; COVEY_ECLOSED; as every call.
 * Blocks:   while it is empty, at most `timeout`.
 */
COVEY_API int covey_proxy_queue_get(covey_proxy *queue, covey_value **out,
                                    covey_nsec timeout) COVEY_MUST_CHECK;
/** How many values are in it. Returns:  0; as every call. */
COVEY_API int covey_proxy_queue_count(covey_proxy *queue, size_t *ret_count);
/** Ask whether it is empty. Returns:  1 or 0; as every call. */
COVEY_API int covey_proxy_queue_empty(covey_proxy *queue);
/** Ask whether it is full. Returns:  1 or 0; as every call. */
COVEY_API int covey_proxy_queue_full(covey_proxy *queue);
/** What was got is done with. Returns:  0; -EINVAL if that is said too often; as every
 * call. */
COVEY_API int covey_proxy_queue_done(covey_proxy *queue);
/** Wait until all that was put is done with. Returns:  0; as every call. */
COVEY_API int covey_proxy_queue_join(covey_proxy *queue);

/* ---- pools of managers ------------------------------------------------------ */
/* A function is a global, covey_value_global("math", "sqrt"): one that the manager's program
 * has registered (covey_manager_register_function), or that a stock manager can import. What
 * it raises comes as codes, too, see above; what a manager of covey says of a worker that
 * died is COVEY_ESTATE. All calls take their values. */

/**
 * Call `function(*args, **kwargs)` in a worker, and wait for its result.
 *
 * `args`, `kwargs`: a tuple and a dict; NULL: none.
 * `out`:    receives the result; NULL: it is dropped.
 * Returns:  0; -EINVAL if the pool does not run; as every call.
 * Blocks:   until it is done.
 */
COVEY_API int covey_proxy_pool_apply(covey_proxy *pool, covey_value *function,
                                     covey_value *args, covey_value *kwargs,
                                     covey_value **out);
/**
 * Call a function for each item, and wait for the list of results.
 *
 * `items`:  a list, tuple, or what else Python can go through.
 * `chunksize`: items that are one task; 0: four tasks for each worker.
 * Returns:  0; the first exception; -EINVAL if the pool does not run; as every call.
 * Blocks:   until all is done.
 */
COVEY_API int covey_proxy_pool_map(covey_proxy *pool, covey_value *function,
                                   covey_value *items, size_t chunksize,
                                   covey_value **out);
/**
 * The same where each item is a tuple of arguments.
 *
 * Returns:  as covey_proxy_pool_map.
 * Blocks:   as that.
 */
COVEY_API int covey_proxy_pool_starmap(covey_proxy *pool, covey_value *function,
                                       covey_value *items, size_t chunksize,
                                       covey_value **out);
/** covey_proxy_pool_apply without waiting: `*out` is for covey_proxy_result_get. Returns:  0;
 * -EINVAL if the pool does not run; as every call. */
COVEY_API int covey_proxy_pool_apply_async(covey_proxy **out, covey_proxy *pool,
                                           covey_value *function, covey_value *args,
                                           covey_value *kwargs) COVEY_MUST_CHECK;
/** covey_proxy_pool_map without waiting. Returns:  as covey_proxy_pool_apply_async. */
COVEY_API int covey_proxy_pool_map_async(covey_proxy **out, covey_proxy *pool,
                                         covey_value *function, covey_value *items,
                                         size_t chunksize) COVEY_MUST_CHECK;
/** covey_proxy_pool_starmap without waiting. Returns:  as covey_proxy_pool_apply_async. */
COVEY_API int covey_proxy_pool_starmap_async(covey_proxy **out, covey_proxy *pool,
                                             covey_value *function, covey_value *items,
                                             size_t chunksize) COVEY_MUST_CHECK;
/** Call a function for each item; `*out` is an iterator over the results in their order, for
 * covey_proxy_next_within. Returns:  as covey_proxy_pool_apply_async. */
COVEY_API int covey_proxy_pool_imap(covey_proxy **out, covey_proxy *pool,
                                    covey_value *function,
                                    covey_value *items) COVEY_MUST_CHECK;
/** The same with results as they come. Returns:  as covey_proxy_pool_apply_async. */
COVEY_API int covey_proxy_pool_imap_unordered(covey_proxy **out, covey_proxy *pool,
                                              covey_value *function,
                                              covey_value *items) COVEY_MUST_CHECK;
/**
 * Wait for a result. May be repeated.
 *
 * `out`:    receives it; NULL: it is dropped.
 * Returns:  0; -ETIMEDOUT; what was raised; as every call.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_proxy_result_get(covey_proxy *result, covey_value **out,
                                     covey_nsec timeout);
/**
 * Wait until a result is there, good or bad.
 *
 * Returns:  0; -ETIMEDOUT; as every call.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_proxy_result_wait(covey_proxy *result, covey_nsec timeout);
/** Ask whether a result is there. Returns:  1 or 0; as every call. */
COVEY_API int covey_proxy_result_ready(covey_proxy *result);
/** Ask whether nothing was raised. Returns:  1 or 0; -EINVAL while it is not ready; as every
 * call. */
COVEY_API int covey_proxy_result_successful(covey_proxy *result);
/** Accept no more calls. Returns:  0; as every call. */
COVEY_API int covey_proxy_pool_close(covey_proxy *pool);
/**
 * End the workers, whatever they do.
 *
 * Returns:  0; as every call.
 * Blocks:   until they have ended.
 */
COVEY_API int covey_proxy_pool_terminate(covey_proxy *pool);
/**
 * Wait until a closed pool has done everything, or a terminated one has ended.
 *
 * Returns:  0; -EINVAL before either; as every call.
 * Blocks:   as said.
 */
COVEY_API int covey_proxy_pool_join(covey_proxy *pool);

#ifdef __cplusplus
}
#endif

#endif
