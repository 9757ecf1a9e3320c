/* SPDX-License-Identifier: MIT */
/**
 * covey/pool.h: a pool of worker processes that work off tasks.
 *
 * Workers take items by themselves from the family's memory, as many at a time as their
 * measured duration makes worth while, and commit each result as it is done. When a
 * worker dies only the item it was working on is affected; all others finish, and a new
 * worker takes its place.
 *
 * The defaults of covey/base.h hold. A pool is used by the process that created it, by
 * any of its threads; elsewhere its functions return COVEY_ENOTOWNER.
 */
#ifndef COVEY_POOL_H
#define COVEY_POOL_H

#include <string.h>

#include <covey/base.h>
#include <covey/process.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A pool of workers. */
typedef struct covey_pool covey_pool;

/** What became of one item. */
enum covey_outcome {
    COVEY_OUTCOME_NONE = 0, /**< not finished */
    COVEY_OUTCOME_OK,       /**< its function returned 0 */
    COVEY_OUTCOME_ERROR,   /**< its function failed, or its result had the wrong size */
    COVEY_OUTCOME_TIMEOUT, /**< it took longer than allowed */
    COVEY_OUTCOME_CANCELLED, /**< taken back before it was done */
    COVEY_OUTCOME_CRASHED,   /**< the worker died while it ran */
    COVEY_OUTCOME_MEMORY,    /**< it took more memory than allowed */
    COVEY_OUTCOME_LOST       /**< nobody is left to run it */
};

/* ---- inside a task ---------------------------------------------------------- */

/** One call of a task function, in a worker; use the functions below. */
struct covey_call {
    const void *arg_data;
    size_t arg_size;
    void *result_data;      /**< where the result goes */
    size_t result_capacity; /**< the size a result must have */
    size_t result_size;     /**< what was returned, SIZE_MAX before */
    size_t index;           /**< the item's position in its batch */
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

/* ---- a pool ----------------------------------------------------------------- */

/** Options of a pool; zero means the default. */
struct covey_pool_opts {
    size_t size;      /**< sizeof(struct covey_pool_opts); COVEY_POOL_OPTS fills it */
    const char *name; /**< default "Pool-1"; workers are "PoolWorker-1", ... */
    enum covey_start_method method;
    unsigned
        retries; /**< how often an item whose worker died is run again; default 0 */
    const void *holds[16]; /**< objects that workers hold while the pool lives */
};
#define COVEY_POOL_OPTS(...)                                                           \
    (&(struct covey_pool_opts){.size = sizeof(struct covey_pool_opts), __VA_ARGS__})

/**
 * Make a pool and start its workers.
 *
 * `workers`: how many; 0 means covey_cpu_count, most 1024.
 * Returns:  0; -EINVAL for bad options; -ENOMEM when the family's budget is used up; the
 *           errors of covey_process_start, no worker is left then.
 * Blocks:   until the workers are started.
 */
COVEY_API int covey_pool_create(covey_pool **out, size_t workers,
                                const struct covey_pool_opts *opts) COVEY_MUST_CHECK;

/** How a map went, for people and programs. */
struct covey_map_summary {
    size_t ok;      /**< items whose outcome is OK */
    size_t failed;  /**< items with any other outcome */
    size_t crashes; /**< workers that died while they had an item of this map */
    size_t retried; /**< items that were run again */
    size_t
        first_failed; /**< index of the first item that is not OK, SIZE_MAX if none */
    char text[256];   /**< about the first failure or crash, "" if there was none */
};

/** Called by the thread that waits in a map, about every 50 ms and once at the end. It may
 * use the pool, but not free it. */
typedef void covey_progress_fn(void *ctx, size_t done, size_t total);

/** Options of one map; zero means the default. */
struct covey_map_opts {
    size_t size; /**< sizeof(struct covey_map_opts); COVEY_MAP_OPTS fills it */
    size_t
        chunksize; /**< items a worker takes at a time; default: by measured duration */
    unsigned char *outcomes;           /**< receives n values of enum covey_outcome */
    struct covey_map_summary *summary; /**< receives how it went */
    covey_progress_fn *progress;       /**< told how far it is */
    void *progress_ctx;
    covey_nsec timeout; /**< default none; when it is over what has not begun is
                             CANCELLED, what runs is TIMEOUT and its worker replaced */
};
#define COVEY_MAP_OPTS(...)                                                            \
    (&(struct covey_map_opts){.size = sizeof(struct covey_map_opts), __VA_ARGS__})

/**
 * Call `fn` for each of `n` items, in the workers, and collect the results in order.
 * Item i is `in_size` bytes at `in + i * in_size`, its result `out_size` bytes at
 * `out + i * out_size`. `in` may be NULL when `in_size` is 0, `out` when `out_size` is.
 * All items are run, also when some fail; results of items that are not OK are zero.
 *
 * Arrays that lie in the family's shared memory are used in place, others are copied, a
 * part at a time, through about half a MiB per batch and a few batches per worker. `in`
 * and `out` may be the same array if the sizes are equal; else they must not overlap.
 *
 * Returns:  0 if every item is OK; else by the first item that is not: COVEY_EREMOTE if
 *           its function failed, -EMSGSIZE if its result had another size,
 *           COVEY_ECRASHED if its worker died, -ETIMEDOUT; the detail says which and why.
 *           -EINVAL for bad arguments; -ENOMEM, what there was no memory for is
 *           CANCELLED; COVEY_EFREED; COVEY_ENOTOWNER;
 *           COVEY_EBROKEN if workers cannot be started any more.
 * Blocks:   until all items are done, or `timeout` of the options. Threads cannot be
 *           killed: a pool of them waits for what runs at the timeout.
 * Threads:  several may map at the same time.
 */
COVEY_API int covey_pool_map(covey_pool *pool, covey_task_fn *fn, const void *in,
                             size_t in_size, void *out, size_t out_size, size_t n,
                             const struct covey_map_opts *opts);

/**
 * End the workers at once, wait for them, and drop the pool. Maps of other threads return
 * COVEY_EFREED. In another process than the pool's, and for NULL, it does nothing.
 *
 * Blocks:   until the workers have ended: idle ones do at once, busy ones get SIGTERM and
 *           after 100 ms SIGKILL. Threads cannot be killed: what they run is waited for.
 */
COVEY_API void covey_pool_free(covey_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
