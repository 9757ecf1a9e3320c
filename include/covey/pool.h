/* SPDX-License-Identifier: MIT */
/**
 * covey/pool.h: a pool of worker processes that work off tasks.
 *
 * Workers take items by themselves from the family's memory, as many at a time as their
 * measured duration makes worth while, and commit each result as it is done. When a
 * worker dies only the item it was working on is affected; all others finish, and a new
 * worker takes its place.
 *
 * Tasks may have processes and pools of their own, which end with their worker, however that
 * ends. The defaults of covey/base.h hold. A pool is used by the process that created it, by
 * any of its threads; elsewhere its functions return COVEY_ENOTOWNER.
 */
#ifndef COVEY_POOL_H
#define COVEY_POOL_H

#include <covey/base.h>
#include <covey/call.h>
#include <covey/process.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A pool of workers. */
typedef struct covey_pool covey_pool;
/** What will come of tasks that were submitted. Memory of the submitting process. */
typedef struct covey_result covey_result;
/** Results of tasks, one by one. Memory of the process that made it. */
typedef struct covey_iterator covey_iterator;

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

/* ---- a pool ----------------------------------------------------------------- */

/** Faults to be made on purpose, for tests of programs that use pools: each number is that
 * of a task, in the order in which tasks are submitted to the pool from 1 on; 0: none.
 * Maps are submitted as tasks then, too. */
struct covey_pool_faults {
    uint64_t die_at;    /**< the worker is killed as it begins this task */
    uint64_t hang_at;   /**< the task does not end */
    uint64_t memory_at; /**< the task takes memory until it is stopped */
};

/** Options of a pool; zero means the default. */
struct covey_pool_opts {
    /** sizeof(struct covey_pool_opts); COVEY_POOL_OPTS fills it. */
    size_t size;
    /** Default "Pool-1"; workers are "PoolWorker-1", ... */
    const char *name;
    enum covey_start_method method;
    /** How often an item whose worker died is run again; default 0. */
    unsigned retries;
    /** Objects that workers hold while the pool lives. */
    const void *holds[16];
    /** Run by each worker before its first task; if its result is not 0 the worker
     * ends. */
    covey_target_fn *initializer;
    /** Its argument, copied. */
    struct covey_view initarg;
    /** Run by each worker that ends in order. */
    covey_target_fn *exit_hook;
    /** Its argument, copied. */
    struct covey_view exitarg;
    /** A worker is replaced after so many; default never. Its successor is started when
     * its last task begins, and begins others meanwhile, so at most twice as many tasks as
     * there are workers run at once. */
    size_t max_tasks;
    /** A worker that is older is replaced, after the task that it is at and when its
     * successor is up; default never. */
    covey_nsec max_age;
    /** A worker that has more bytes of its own is replaced in the same way; default
     * never. */
    uint64_t max_memory;
    /** When there was nothing to do for so long, all workers but `min_workers` end; with
     * the next work they come back; default never. */
    covey_nsec idle_timeout;
    /** Default 1. */
    size_t min_workers;
    /** Bytes that tasks with `.memory` may declare together while they are under way;
     * default: not counted. */
    uint64_t memory;
    /** Most that covey_pool_resize may ask for; default 4 times what it begins with, at
     * least 16. */
    size_t max_workers;
    /** Processors workers may run on, as "0-3,6". */
    const char *cpus;
    /** On: no thread of covey's; the program's event loop polls covey_pool_fd and calls
     * covey_pool_dispatch. */
    enum covey_switch own_loop;
    /** Tasks that may wait; a submission waits while there are more; default 100,000,
     * or 1 GiB of arguments. */
    size_t backlog;
    /** Path of a file that receives a slice per task, in the format of Chrome's and
     * Perfetto's viewers; default: the environment's COVEY_TRACE, with "%p" for the
     * process id. */
    const char *trace;
    struct covey_pool_faults faults;
    /** On: the times of all tasks are counted, for covey_pool_histogram, at some 0.1 us
     * each; else of those that are submitted alone or have limits. */
    enum covey_switch measure;
};
#define COVEY_POOL_OPTS(...)                                                           \
    (&(struct covey_pool_opts){.size = sizeof(struct covey_pool_opts), __VA_ARGS__})

/**
 * Make a pool and start its workers.
 *
 * `workers`: how many; 0 means covey_cpu_count, most 1024. In a task: its share, which is
 *           the cores of its pool by the workers of that, at least 1.
 * Returns:  0; -EINVAL for bad options; -ENOMEM when the family's budget is used up; the
 *           errors of covey_process_start, no worker is left then.
 * Blocks:   until the workers are started, not until they are initialized.
 */
COVEY_API int covey_pool_create(covey_pool **out, size_t workers,
                                const struct covey_pool_opts *opts) COVEY_MUST_CHECK;

/** Called when a result is there: by the pool's thread, or by who dispatches. It may use
 * the pool and any result, but neither free nor join the pool. It may end the process;
 * others that run then do not keep it for longer than 5 s. */
typedef void covey_done_fn(void *ctx, covey_result *result);

/** How a map went, for people and programs. */
struct covey_map_summary {
    /** Items whose outcome is OK. */
    size_t ok;
    /** Items with any other outcome. */
    size_t failed;
    /** Workers that died while they had an item of this map. */
    size_t crashes;
    /** Items that were run again. */
    size_t retried;
    /** Index of the first item that is not OK, SIZE_MAX if none. */
    size_t first_failed;
    /** About the first failure or crash, "" if there was none. */
    char text[256];
};

/** Called by the thread that waits in a map, about every 50 ms and once at the end. It may
 * use the pool, but not free it. */
typedef void covey_progress_fn(void *ctx, size_t done, size_t total);

/** Options of one map; zero means the default. */
struct covey_map_opts {
    /** sizeof(struct covey_map_opts); COVEY_MAP_OPTS fills it. */
    size_t size;
    /** Items a worker takes at a time; default: by measured duration. */
    size_t chunksize;
    /** Receives n values of enum covey_outcome. */
    unsigned char *outcomes;
    /** Receives how it went. */
    struct covey_map_summary *summary;
    /** Told how far it is. */
    covey_progress_fn *progress;
    void *progress_ctx;
    /** Default none; when it is over what has not begun is CANCELLED, what runs is
     * TIMEOUT and its worker replaced. */
    covey_nsec timeout;
    /** Of each item; when it is over the item is TIMEOUT and its worker replaced. */
    covey_nsec time_limit;
    /** Of each item; then covey_call_cancelled says 1. */
    covey_nsec soft_limit;
    /** Of each item: bytes that its worker may take in addition to what it had before
     * its first limited task. */
    uint64_t memory_limit;
    /** Of asynchronous maps, as of covey_task_opts. */
    int priority;
    /** Of asynchronous maps, as of covey_task_opts. */
    uint64_t group;
    /** Of asynchronous maps, as of covey_task_opts, for each item. */
    covey_nsec duplicate_after;
    /** Of asynchronous maps: called if all items are OK. */
    covey_done_fn *callback;
    /** Called otherwise. */
    covey_done_fn *error_callback;
    /** Handed to both. */
    void *callback_ctx;
    /** As of covey_task_opts. */
    enum covey_switch detached;
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
 * and `out` may be the same array if the sizes are equal; else they must not overlap. Of
 * one that is both, in a pool with `.retries`, the arguments are copied.
 *
 * Returns:  0 if every item is OK; else by the first item that is not: COVEY_EREMOTE if
 *           its function failed, -EMSGSIZE if its result had another size,
 *           COVEY_ECRASHED if its worker died, -ETIMEDOUT; the detail says which and why.
 *           -EINVAL for bad arguments; -ENOMEM, what there was no memory for is
 *           CANCELLED; COVEY_EFREED; COVEY_ENOTOWNER;
 *           COVEY_EBROKEN if workers cannot be started any more; -EAGAIN if 63 iterators
 *           of the pool are open, which no map waits for.
 * Blocks:   until all items are done, or `timeout` of the options. Threads cannot be
 *           killed: a pool of them waits for what runs at the timeout.
 * Threads:  several may map at the same time.
 */
COVEY_API int covey_pool_map(covey_pool *pool, covey_task_fn *fn, const void *in,
                             size_t in_size, void *out, size_t out_size, size_t n,
                             const struct covey_map_opts *opts);

/**
 * The same with arguments and results of any size: item i is `in[i]`, its result goes to
 * `out[i]`, whose memory is reused and grows as needed. `out` NULL: no results are wanted.
 * The results of items that are not OK have size 0. Arguments that lie in the family's
 * shared memory are not copied. An item for which there is no memory is CANCELLED, with
 * -ENOMEM, and no other because of it.
 *
 * Returns:  as covey_pool_map; also blocks like that.
 */
COVEY_API int covey_pool_map_bytes(covey_pool *pool, covey_task_fn *fn,
                                   const struct covey_view *in, struct covey_bytes *out,
                                   size_t n, const struct covey_map_opts *opts);

/**
 * The same with tuples of `width` arguments: those of item i are `in[i * width]` and the
 * following; tasks read them with covey_call_arg_at.
 *
 * Returns:  as covey_pool_map; -EINVAL if `width` is 0 or above 4096.
 */
COVEY_API int covey_pool_starmap(covey_pool *pool, covey_task_fn *fn,
                                 const struct covey_view *in, size_t width,
                                 struct covey_bytes *out, size_t n,
                                 const struct covey_map_opts *opts);

/**
 * The same over values: `list` is a list or tuple, `*out` becomes a list of the results, to
 * be freed by the caller; None where an item is not OK. Tasks use covey_call_value and
 * covey_call_return_value.
 *
 * Returns:  as covey_pool_map; COVEY_ETYPE if `list` is none; the error that sticks to it;
 *           the errors of covey_value_pickle. `*out` is set when all items were run, to
 *           whatever end; else untouched.
 */
COVEY_API int covey_pool_map_values(covey_pool *pool, covey_task_fn *fn,
                                    const covey_value *list, covey_value **out,
                                    const struct covey_map_opts *opts);

/* ---- tasks ------------------------------------------------------------------ */

/** Options of one task; zero means the default. */
struct covey_task_opts {
    /** sizeof(struct covey_task_opts); COVEY_TASK_OPTS fills it. */
    size_t size;
    /** Of a run; then it is TIMEOUT and its worker replaced. */
    covey_nsec time_limit;
    /** Of a run; then covey_call_cancelled says 1. */
    covey_nsec soft_limit;
    /** From the submission on: what has not begun then is CANCELLED, what runs is
     * TIMEOUT. */
    covey_nsec timeout;
    /** Bytes that its worker may take in addition to what it had before its first
     * limited task; then it is MEMORY. */
    uint64_t memory_limit;
    /** Higher ones run first, -100 to 100; a task that waits gains one per second.
     * What the workers have been given already, some 10 ms of work each, is not
     * overtaken. */
    int priority;
    /** A number of the program's, for covey_pool_cancel_group; default 0: none. */
    uint64_t group;
    /** Bytes that it declares to need: it is begun when they fit into the pool's
     * `.memory`; later ones wait behind it. */
    uint64_t memory;
    /** A task that is MEMORY is run again, with so many times `.memory` and
     * `.memory_limit`, as long as the pool's `.memory`, or half of the machine's, has
     * room for it; default 0: never. */
    unsigned memory_growth;
    /** Called if the outcome is OK. */
    covey_done_fn *callback;
    /** Called otherwise. */
    covey_done_fn *error_callback;
    /** Handed to both. */
    void *callback_ctx;
    /** A number of the program's: tasks with the same one go to the same worker, which
     * may have kept what they need; default 0: to any. */
    uint64_t affinity;
    /** When that worker has not begun it in this time any may; default 0: 10 ms;
     * COVEY_FOREVER: only that worker, or the one that takes its place. */
    covey_nsec affinity_wait;
    /** A run that lasts longer gets company: when a worker has nothing else to do it
     * runs the task, too; the first run that ends by itself counts, the other one is
     * ended, at the price of its worker. A thread is only asked to end, and may read
     * its argument until it does, when that is in the family's memory. Default 0:
     * never. */
    covey_nsec duplicate_after;
    /** On: when a task of a pool submits it, it does not end by that task's deadline, nor is
     * it asked to end when that task is, as it is by default. */
    enum covey_switch detached;
};
#define COVEY_TASK_OPTS(...)                                                           \
    (&(struct covey_task_opts){.size = sizeof(struct covey_task_opts), __VA_ARGS__})

/**
 * Run one task and wait for its result. A callback of the options has returned by then,
 * but for calls in a callback of this pool.
 *
 * `arg`:    copied, but used in place if it lies in the family's shared memory.
 * `ret_result`: receives the bytes, reused and grown; may be NULL.
 * Returns:  0; the errors of covey_pool_map.
 * Blocks:   until it is done, or `timeout` of the options.
 */
COVEY_API int covey_pool_apply(covey_pool *pool, covey_task_fn *fn,
                               struct covey_view arg, struct covey_bytes *ret_result,
                               const struct covey_task_opts *opts);

/**
 * Submit one task.
 *
 * `arg`:    copied, but used in place if it lies in the family's shared memory.
 * `out`:    receives the result to come, to be freed with covey_result_free, at any time;
 *           may be NULL when only callbacks matter.
 * Returns:  0; -EINVAL; -ENOMEM; COVEY_ECLOSED after covey_pool_close or _terminate;
 *           COVEY_ENOTOWNER; COVEY_EFREED; -EAGAIN in a callback when `backlog` tasks wait.
 * Blocks:   while `backlog` tasks wait.
 */
COVEY_API int covey_pool_apply_async(covey_result **out, covey_pool *pool,
                                     covey_task_fn *fn, struct covey_view arg,
                                     const struct covey_task_opts *opts);

/**
 * covey_pool_map without waiting. `in` and `out` are read and written until the result is
 * ready; `out` NULL: the result keeps the array, covey_result_get copies it. `.outcomes`
 * and `.summary` of the options are filled before it is ready; `.progress` is not called.
 *
 * Returns:  as covey_pool_apply_async.
 */
COVEY_API int covey_pool_map_async(covey_result **out_result, covey_pool *pool,
                                   covey_task_fn *fn, const void *in, size_t in_size,
                                   void *out, size_t out_size, size_t n,
                                   const struct covey_map_opts *opts);

/**
 * covey_pool_starmap without waiting; width 1 is covey_pool_map_bytes. `in`, what it
 * refers to, and `out` are used until the result is ready.
 *
 * Returns:  as covey_pool_apply_async.
 */
COVEY_API int covey_pool_starmap_async(covey_result **out_result, covey_pool *pool,
                                       covey_task_fn *fn, const struct covey_view *in,
                                       size_t width, struct covey_bytes *out, size_t n,
                                       const struct covey_map_opts *opts);

/* ---- results ---------------------------------------------------------------- */

/**
 * Wait for a result and copy it. May be repeated. In a pool of `.own_loop` it dispatches
 * meanwhile.
 *
 * `ret_bytes`: receives the bytes of covey_pool_apply_async, or the array of a
 *           covey_pool_map_async without `out`; may be NULL.
 * Returns:  0 if all tasks are OK; -ETIMEDOUT if it is not ready in time, or a task was
 *           ended by its time limit (covey_result_ready tells which); else as
 *           covey_pool_map; -ECANCELED if it was cancelled, also
 *           by the end of its pool; -ENOMEM if it was ended by its memory limit, there is
 *           no shared memory to run it, or no memory for the copy; COVEY_EBROKEN if workers
 *           cannot be started.
 * Blocks:   at most `timeout`.
 * Threads:  any, of the process that submitted.
 */
COVEY_API int covey_result_get(covey_result *result, struct covey_bytes *ret_bytes,
                               covey_nsec timeout);

/**
 * Wait until a result is ready, good or bad.
 *
 * Returns:  0; -ETIMEDOUT; COVEY_ENOTOWNER; -EINVAL.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_result_wait(covey_result *result, covey_nsec timeout);

/**
 * Ask whether a result is there.
 *
 * Returns:  1 or 0; COVEY_ENOTOWNER; -EINVAL.
 */
COVEY_API int covey_result_ready(covey_result *result);

/**
 * Ask whether all tasks of a result are OK.
 *
 * Returns:  1 or 0; COVEY_ESTATE while it is not ready.
 */
COVEY_API int covey_result_successful(covey_result *result);

/**
 * Take back what has not begun; with `running` not 0 also end what runs, at the price of
 * its worker. Where that cannot be (COVEY_THREAD), and without `running`,
 * covey_call_cancelled says 1 in the task, which may heed it.
 *
 * Returns:  0 if anything was taken back or asked to end; -EALREADY if it was ready.
 */
COVEY_API int covey_result_cancel(covey_result *result, int running);

/**
 * The same for all results of the pool that were submitted with this `.group` and are not
 * ready. Later submissions may use the number again.
 *
 * Returns:  0 if anything was taken back or asked to end; -EALREADY if nothing of it was
 *           left; -EINVAL for group 0; COVEY_ENOTOWNER; COVEY_EFREED.
 */
COVEY_API int covey_pool_cancel_group(covey_pool *pool, uint64_t group, int running);

/**
 * Ask how far a result is. Of several tasks: how many are finished, of how many. Of one:
 * what it has said by covey_call_progress, 0 of 1 before that; 1 of 1 when it is finished.
 *
 * Returns:  0; COVEY_ENOTOWNER; -EINVAL.
 */
COVEY_API int covey_result_progress(covey_result *result, uint64_t *ret_done,
                                    uint64_t *ret_total);

/** What is known about a task; of several, about the first one that is not OK. */
struct covey_task_report {
    enum covey_outcome outcome;
    int code;        /**< what covey_result_get returns */
    unsigned tries;  /**< how often it was begun, as far as known */
    int pid;         /**< of the worker; 0 if it never began */
    int exitcode;    /**< CRASHED: how the worker ended, as covey_process_exitcode */
    covey_nsec wait; /**< from its submission to its begin */
    covey_nsec run;  /**< how long it ran */
    uint64_t peak;   /**< most bytes seen in addition, if it had a memory limit */
    const char *backtrace; /**< CRASHED: one frame per line, else "" */
    const char *text;      /**< one line, "" if it is OK */
};

/**
 * Read what is known about a result. The strings live as long as the result.
 *
 * Returns:  0; COVEY_ESTATE while it is not ready; -EINVAL.
 */
COVEY_API int covey_result_report(covey_result *result,
                                  struct covey_task_report *ret_report);

/** Drop a result; NULL is fine. Its tasks go on, and its callbacks are called. */
COVEY_API void covey_result_free(covey_result *result);

/* ---- results one by one ----------------------------------------------------- */

/** The next item of an input: sets `*ret_item`, which must be valid until the next call.
 * Returns 1 for an item, 0 at the end, negative for an error. */
typedef int covey_next_fn(void *ctx, struct covey_view *ret_item);

/** Options of covey_pool_imap; zero means the default. */
struct covey_imap_opts {
    /** sizeof(struct covey_imap_opts); COVEY_IMAP_OPTS fills it. */
    size_t size;
    /** Items a worker takes at a time; default: by duration. */
    size_t chunksize;
    /** Most items that were taken from the input and whose results were not fetched yet;
     * default: by duration. */
    size_t window;
    /** Most shared memory they use, but for results that are larger than was expected; one
     * item is always possible, alone; default about 64 MiB. */
    size_t window_bytes;
    /** Of each item, as of covey_task_opts. */
    covey_nsec time_limit;
    covey_nsec soft_limit;
    uint64_t memory_limit;
    /** As of covey_task_opts. */
    enum covey_switch detached;
};
#define COVEY_IMAP_OPTS(...)                                                           \
    (&(struct covey_imap_opts){.size = sizeof(struct covey_imap_opts), __VA_ARGS__})

/**
 * Call `fn` for each item of an input of any length, and hand out the results in order.
 * The input is read by covey_iterator_next, in the thread that calls that, and never much
 * further than the results are fetched: however long it is, memory is bounded.
 *
 * `next`:   called for items, from within covey_pool_imap and covey_iterator_next; it must
 *           not end the pool, nor read or free the iterator.
 * Returns:  0; as covey_pool_apply_async; -EAGAIN when 63 iterators and maps of the pool are
 *           under way.
 */
COVEY_API int covey_pool_imap(covey_iterator **out, covey_pool *pool, covey_task_fn *fn,
                              covey_next_fn *next, void *ctx,
                              const struct covey_imap_opts *opts);

/**
 * The same, with results as they come.
 *
 * Returns:  as covey_pool_imap.
 */
COVEY_API int covey_pool_imap_unordered(covey_iterator **out, covey_pool *pool,
                                        covey_task_fn *fn, covey_next_fn *next,
                                        void *ctx, const struct covey_imap_opts *opts);

/**
 * The next result. An item that failed gives its error in its place, later ones still come;
 * an error of the input comes as the last one.
 *
 * `ret_bytes`: receives the bytes, reused and grown; may be NULL.
 * Returns:  0; COVEY_EEND when all results were fetched; -ETIMEDOUT if none is ready in time,
 *           it may be called again; what the input's function returned; COVEY_EFREED if the
 *           pool was terminated; else as covey_pool_map for the item.
 * Blocks:   at most `timeout`, plus what the input's function takes.
 * Threads:  one at a time per iterator; others wait.
 */
COVEY_API int covey_iterator_next(covey_iterator *iterator,
                                  struct covey_bytes *ret_bytes, covey_nsec timeout);

/**
 * The position in the input of the item whose result, or error, was fetched last.
 *
 * Returns:  0; COVEY_ESTATE if none was.
 */
COVEY_API int covey_iterator_index(covey_iterator *iterator, uint64_t *ret_index);

/** Take back what has not begun, end what runs, and drop the iterator; NULL is fine. */
COVEY_API void covey_iterator_free(covey_iterator *iterator);

/* ---- running a pool --------------------------------------------------------- */

/**
 * Have another number of workers: new ones are started, those that are too many end when
 * they have done the item they are at.
 *
 * Returns:  0; -EINVAL for 0 or more than `.max_workers`; COVEY_ECLOSED; the errors of
 *           covey_process_start, those that came up stay.
 */
COVEY_API int covey_pool_resize(covey_pool *pool, size_t workers);

/**
 * The descriptor of a pool of `.own_loop`: it polls readable when covey_pool_dispatch has
 * something to do. It belongs to the pool.
 *
 * Returns:  0; COVEY_ESTATE without `.own_loop`; COVEY_ENOTOWNER.
 */
COVEY_API int covey_pool_fd(covey_pool *pool, int *ret_fd);

/**
 * Do what is to be done: results are collected, callbacks called, limits watched, workers
 * that died replaced.
 *
 * Returns:  0; -ETIMEDOUT if there was nothing to do; COVEY_ENOTOWNER; COVEY_EFREED.
 * Blocks:   at most `timeout`, until there was something to do or the pool has ended.
 * Threads:  several may dispatch; callbacks are called one at a time.
 */
COVEY_API int covey_pool_dispatch(covey_pool *pool, covey_nsec timeout);

/** Numbers of a pool since its creation. */
struct covey_pool_stats {
    /** How many there should be. */
    uint64_t workers;
    /** Tasks that were submitted, those of maps counted at their end. */
    uint64_t submitted;
    /** Asynchronous tasks that no worker was offered yet. */
    uint64_t queued;
    /** Tasks that are offered to workers or run. */
    uint64_t running;
    /** Finished tasks. */
    uint64_t done;
    /** Of these with another outcome than OK. */
    uint64_t failed;
    /** Workers that died at a task. */
    uint64_t crashes;
    /** Tasks that were begun again. */
    uint64_t retried;
    /** Workers that were started besides the first ones. */
    uint64_t restarts;
    /** Of arguments. */
    uint64_t bytes_in;
    /** Of results. */
    uint64_t bytes_out;
};

/**
 * Read a pool's numbers.
 *
 * Returns:  0; COVEY_EFREED; -EINVAL.
 * Threads:  any of any process of the family.
 */
COVEY_API int covey_pool_stats(covey_pool *pool, struct covey_pool_stats *ret_stats);

/** Times of tasks that are counted. */
enum covey_pool_time {
    COVEY_TIME_WAIT, /**< from the submission to the begin */
    COVEY_TIME_RUN,  /**< from the begin to the end */
    COVEY_TIME_FETCH /**< from the end until the submitter has it */
};
/** Buckets: 0 counts times below 1 us, i those below 2^i us, the last all that are longer. */
#define COVEY_HISTOGRAM_SIZE 32

/**
 * Read how often tasks took how long, of those whose times are measured (`.measure`).
 *
 * `ret_counts`: receives COVEY_HISTOGRAM_SIZE numbers.
 * Returns:  0; COVEY_EFREED; -EINVAL.
 * Threads:  any of any process of the family.
 */
COVEY_API int covey_pool_histogram(covey_pool *pool, enum covey_pool_time which,
                                   uint64_t ret_counts[COVEY_HISTOGRAM_SIZE]);

/**
 * A progress bar on standard error, if that is a terminal, as `.progress` of a map, with
 * rate and time left. `ctx`: a title, or NULL.
 */
COVEY_API void covey_progress_bar(void *ctx, size_t done, size_t total);

/**
 * Accept no more tasks. Those that were submitted are done. Twice is fine.
 *
 * Returns:  0; COVEY_ENOTOWNER; COVEY_EFREED.
 */
COVEY_API int covey_pool_close(covey_pool *pool);

/**
 * End the workers at once. What is not done becomes CANCELLED; maps of other threads return
 * COVEY_EFREED. Twice is fine. Exit hooks that another thread's covey_pool_join waits for
 * get no more time.
 *
 * Returns:  0; COVEY_ENOTOWNER; COVEY_EFREED.
 * Blocks:   as covey_pool_free.
 */
COVEY_API int covey_pool_terminate(covey_pool *pool);

/**
 * Wait until all submitted tasks are done, and end the workers in order. What iterators
 * have not fetched is not waited for. Exit hooks have what is left of the time, and at
 * least a second; a worker that is not over then is killed. What another thread ends at the
 * same time is waited for, until `timeout`.
 *
 * Returns:  0; -ETIMEDOUT; COVEY_ESTATE before covey_pool_close or _terminate;
 *           COVEY_ENOTOWNER; COVEY_EFREED.
 * Blocks:   at most `timeout`, and while workers end.
 */
COVEY_API int covey_pool_join(covey_pool *pool, covey_nsec timeout);

/**
 * End the workers at once, wait for them, and drop the pool: covey_pool_terminate and _join.
 * Results stay readable until they are freed themselves; those that are not ready become
 * CANCELLED. Maps of other threads return COVEY_EFREED, and who waits for a result, joins or
 * dispatches there returns before the pool goes. In another process than the pool's, and for
 * NULL, it does nothing.
 *
 * Blocks:   until the workers have ended: idle ones do at once, busy ones get SIGTERM and
 *           after 100 ms SIGKILL. Threads cannot be killed: what they run is waited for.
 * Threads:  others may be in calls of the pool, but begin none any more, as with free().
 */
COVEY_API void covey_pool_free(covey_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
