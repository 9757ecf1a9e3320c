/* SPDX-License-Identifier: MIT */
/**
 * covey/call.h: what a task, run by a worker of a pool, sees of its call: the argument,
 * where the result goes, and whether somebody wants it to end. These functions are called by
 * the task's own thread, until the task returns.
 */
#ifndef COVEY_CALL_H
#define COVEY_CALL_H

#include <string.h>

#include <covey/base.h>
#include <covey/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One call of a task function, in a worker; use the functions below. */
struct covey_call {
    const void *arg_data;
    size_t arg_size;
    void *result_data;      /**< where the result goes */
    size_t result_capacity; /**< the size a result must have */
    size_t result_size;     /**< what was returned, SIZE_MAX before */
};

/** A task: reads its argument, returns its result, and returns 0; negative is failure. */
typedef int covey_task_fn(struct covey_call *call);

/**
 * The argument of this call, valid until the task returns. It is aligned as an element
 * of an array is: to the largest power of two that divides its size, at most 64; where
 * the array lies in shared memory already, as the caller has aligned that.
 *
 * `ret_size`: receives its size in bytes, may be NULL.
 * Returns:  a pointer, NULL for an empty argument.
 */
static inline const void *covey_call_arg(const struct covey_call *call,
                                         size_t *ret_size)
{
    if (ret_size)
        *ret_size = call->arg_size;
    return call->arg_data;
}

/**
 * The result of this call when its size is not the expected one; covey_call_return calls
 * it.
 *
 * Returns:  -EMSGSIZE.
 */
COVEY_API int covey_call_return_other(struct covey_call *call, const void *data,
                                      size_t size);

/**
 * Give the result of this call; the bytes are copied. Again: replaces the first.
 *
 * Returns:  0, so that a task can end with it; -EMSGSIZE if `size` is not what the
 *           caller of the pool asked for.
 */
static inline int covey_call_return(struct covey_call *call, const void *data,
                                    size_t size)
{
    if (size != call->result_capacity)
        return covey_call_return_other(call, data, size);
    if (size)
        memcpy(call->result_data, data, size);
    call->result_size = size;
    return 0;
}

/**
 * Fail this call with a text that the caller of the pool sees.
 *
 * Returns:  COVEY_EREMOTE, so that a task can end with it.
 */
COVEY_API int covey_call_fail(struct covey_call *call, const char *format, ...)
    COVEY_PRINTF(2, 3);

/**
 * One part of the argument of a task of covey_pool_starmap; of any other task the whole
 * argument is part 0. It is aligned to 16 bytes and valid until the task returns.
 *
 * `ret_size`: receives its size in bytes, may be NULL.
 * Returns:  a pointer; NULL if there is no such part, or it is empty.
 */
COVEY_API const void *covey_call_arg_at(const struct covey_call *call, size_t part,
                                        size_t *ret_size);

/**
 * The argument as a value, for tasks of covey_pool_map_values and whoever submits pickles.
 *
 * Returns:  0, `*out` is the task's to free; COVEY_EPICKLE; -ENOMEM.
 */
COVEY_API int covey_call_value(const struct covey_call *call, covey_value **out);

/**
 * Give a value as the result, as its pickle.
 *
 * Returns:  0; what covey_value_pickle says; -EMSGSIZE where results have one size.
 * Owner:    `value` stays yours.
 */
COVEY_API int covey_call_return_value(struct covey_call *call,
                                      const covey_value *value);

/**
 * Which item this call is for: of a map that is waited for its index in the arrays, of an
 * iterator how many came before it. What was submitted, also as an asynchronous map, is
 * numbered in the order in which the pool took it; a second run has a number of its own.
 *
 * Returns:  the index, from 0 on.
 */
COVEY_API size_t covey_call_index(const struct covey_call *call);

/**
 * Ask whether this task should end early: its soft time limit is over, somebody cancelled
 * it, or, if a task of a pool submitted it, that task should end early. Costs a load or
 * two; nothing happens by itself.
 *
 * Returns:  1 or 0.
 */
COVEY_API int covey_call_cancelled(const struct covey_call *call);

/**
 * How long this task may still run: until the end of its `.time_limit`, of its `.timeout`,
 * or of the map's that it belongs to, whichever comes first. Tasks that it submits to other
 * pools have that deadline, too, unless they are `.detached`.
 *
 * Returns:  nanoseconds, which can be handed on as a timeout: COVEY_FOREVER if it has no
 *           deadline, COVEY_NOWAIT if that has come.
 */
COVEY_API covey_nsec covey_call_time_left(const struct covey_call *call);

/**
 * Tell how far this task is: `done` of `total`, in units of its own. Costs a few stores.
 * Who waits reads it by covey_result_progress. In a covey_pool_map of equal items it is not
 * kept, since there the items are counted.
 *
 * Returns:  1 if the task should end early, as covey_call_cancelled; else 0.
 */
COVEY_API int covey_call_progress(struct covey_call *call, uint64_t done,
                                  uint64_t total);

/**
 * Keep something for the tasks to come in this worker, for instance what the initializer
 * opened. Each worker has its own, NULL at first.
 */
COVEY_API void covey_worker_set_state(void *state);

/**
 * What was kept in this worker.
 *
 * Returns:  the pointer; NULL outside of workers.
 */
COVEY_API void *covey_worker_state(void);

#ifdef __cplusplus
}
#endif

#endif
