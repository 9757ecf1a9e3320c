/* SPDX-License-Identifier: MIT */
/**
 * covey/queue.h: queues of messages between processes.
 *
 * Any number of processes and threads put and get; a message is bytes of any size, from
 * none to what the family's budget holds. Order is kept for each producer. Messages lie
 * in the family's memory from the moment put returns: there is no feeder thread, nothing
 * waits at exit, and a process that dies takes along at most what it was just getting,
 * which covey_queue_lost counts. A message is never torn, doubled or reordered by a death.
 *
 * The defaults of covey/base.h hold, and: any thread of any process of the family that
 * holds the queue may call. Pointers to queues are valid in every process of the family.
 * `timeout` counts on the monotonic clock, see covey_nsec. Every call returns -EINVAL for
 * what is no such queue (NULL among it), COVEY_EFREED for one that was freed, and the
 * errors of founding the family. A call that blocks returns -EINTR after a signal handler
 * that was installed without SA_RESTART.
 *
 * COVEY_EPEERDIED: a get from an empty (put to a full) queue that nobody can fill (empty)
 * any more: at least one other process has held the queue, all of them have died or freed
 * it, and this thread is the only one of its process that uses covey.
 */
#ifndef COVEY_QUEUE_H
#define COVEY_QUEUE_H

#include <covey/base.h>
#include <covey/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A queue. */
typedef struct covey_queue covey_queue;
/** A queue whose messages are acknowledged when they have been worked off. */
typedef struct covey_joinable_queue covey_joinable_queue;
/** A queue without a limit and without timeouts. */
typedef struct covey_simple_queue covey_simple_queue;

/* ---- queue ------------------------------------------------------------------ */

/** Options of a queue; zero means the default. */
struct covey_queue_opts {
    size_t size;      /**< sizeof(struct covey_queue_opts); COVEY_QUEUE_OPTS fills it */
    const char *name; /**< shown by covey_family_describe; its first 47 bytes count */
    uint64_t max_bytes; /**< bytes in it at most; default: no limit but the family's */
};
#define COVEY_QUEUE_OPTS(...)                                                          \
    (&(struct covey_queue_opts){.size = sizeof(struct covey_queue_opts), __VA_ARGS__})

/**
 * Make a queue.
 *
 * `maxsize`: how many messages it takes; 0: no limit.
 * Returns:  0; -EINVAL for bad options or over 2^31 - 1; -ENOMEM when the family's budget
 *           is used up.
 */
COVEY_API int covey_queue_create(covey_queue **out, size_t maxsize,
                                 const struct covey_queue_opts *opts) COVEY_MUST_CHECK;

/**
 * Put a message, which is copied.
 *
 * Returns:  0; -ETIMEDOUT: it stayed full; COVEY_ECLOSED; COVEY_EPEERDIED; -EMSGSIZE over
 *           `max_bytes`; -ENOMEM when the family's budget has no room though the queue is
 *           empty; -EINTR.
 * Blocks:   while it is full, or the family's budget used up, at most `timeout`.
 */
COVEY_API int covey_queue_put(covey_queue *queue, struct covey_view message,
                              covey_nsec timeout);

/**
 * Put several messages, as many at a time as there is room for; those of one time are
 * adjacent and become visible together.
 *
 * `ret_count`: receives how many were put, also on failure; may be NULL.
 * Returns:  0: all of them; else as covey_queue_put.
 * Blocks:   until all are put, at most `timeout`.
 */
COVEY_API int covey_queue_put_many(covey_queue *queue,
                                   const struct covey_view *messages, size_t count,
                                   covey_nsec timeout, size_t *ret_count);

/**
 * Get the next message.
 *
 * `ret_message`: receives it; its memory is reused and grown as needed.
 * Returns:  0; -ETIMEDOUT: it stayed empty; COVEY_ECLOSED: empty and closed;
 *           COVEY_EPEERDIED; -ENOMEM, the message stays in the queue; -EINTR.
 * Blocks:   while it is empty, at most `timeout`.
 */
COVEY_API int covey_queue_get(covey_queue *queue, struct covey_bytes *ret_message,
                              covey_nsec timeout);

/**
 * Get the next message into memory of the caller's.
 *
 * `ret_size`: receives its size, also with -EMSGSIZE.
 * Returns:  as covey_queue_get; -EMSGSIZE: it is larger than `capacity` and stays in the
 *           queue.
 * Blocks:   while it is empty, at most `timeout`.
 */
COVEY_API int covey_queue_get_into(covey_queue *queue, void *to, size_t capacity,
                                   size_t *ret_size, covey_nsec timeout);

/**
 * Get several messages: waits for the first, and takes of the others what is there.
 *
 * `messages`: `count` of them, each reused; the first is grown as in covey_queue_get, the
 *           others only as far as about 1 MiB in all allows.
 * `ret_count`: receives how many there are, at least 1 on success, else 0.
 * Returns:  as covey_queue_get.
 * Blocks:   while it is empty, at most `timeout`.
 */
COVEY_API int covey_queue_get_many(covey_queue *queue, struct covey_bytes *messages,
                                   size_t count, covey_nsec timeout, size_t *ret_count);

/* ---- values ----------------------------------------------------------------- */

/**
 * Put a value: its pickle, which any Python can read.
 *
 * Returns:  as covey_queue_put, and as covey_value_pickle.
 * Blocks:   while the queue is full, or the family's budget used up, at most `timeout`.
 * Owner:    `value` stays yours.
 */
COVEY_API int covey_queue_put_value(covey_queue *queue, const covey_value *value,
                                    covey_nsec timeout);

/**
 * Get the next message, which is the pickle of a value.
 *
 * A message that is no pickle, or beyond the limits, is gone afterwards; the detail tells
 * its size and what is wrong with it.
 *
 * `limits`: NULL for those of covey_value_unpickle.
 * Returns:  as covey_queue_get; COVEY_EPICKLE, -EMSGSIZE and -ENOTSUP as
 *           covey_value_unpickle, and -ENOMEM, when the detail says that it is gone.
 * Blocks:   while the queue is empty, at most `timeout`.
 * Owner:    the value is yours.
 */
COVEY_API int
covey_queue_get_value(covey_queue *queue, covey_value **out, covey_nsec timeout,
                      const struct covey_unpickle_opts *limits) COVEY_MUST_CHECK;

/* ---- without copying -------------------------------------------------------- */

/** A message in shared memory, in this process's hands. */
struct covey_loan {
    void *data;      /**< aligned to 16 bytes */
    size_t size;     /**< in bytes; a producer may make it smaller before commit */
    uint64_t extent; /**< covey's */
    struct covey_bytes copy; /**< covey's */
};

/**
 * Take memory for a message of `size` bytes, to be filled and committed, or given back by
 * covey_queue_done. It goes back by itself if this process dies.
 *
 * Returns:  0; -ENOMEM when the family's budget is used up; -EMSGSIZE over `max_bytes`.
 */
COVEY_API int covey_queue_reserve(covey_queue *queue, size_t size,
                                  struct covey_loan *ret_loan) COVEY_MUST_CHECK;

/**
 * Put the message that was filled; the loan is over, its `data` is NULL.
 *
 * Returns:  as covey_queue_put; on failure the loan goes on. -EINVAL if `loan` is over or
 *           its size was made larger.
 * Blocks:   while the queue is full, at most `timeout`.
 */
COVEY_API int covey_queue_commit(covey_queue *queue, struct covey_loan *loan,
                                 covey_nsec timeout);

/**
 * Get the next message without copying it if it is large; to be given back by
 * covey_queue_done.
 *
 * Returns:  as covey_queue_get.
 * Blocks:   while the queue is empty, at most `timeout`.
 */
COVEY_API int covey_queue_view(covey_queue *queue, struct covey_loan *ret_loan,
                               covey_nsec timeout) COVEY_MUST_CHECK;

/** Give back the memory of a loan; one that is over, or zeroed, is fine. */
COVEY_API void covey_queue_done(covey_queue *queue, struct covey_loan *loan);

/* ---- event loops ------------------------------------------------------------ */

/**
 * Get a descriptor for poll, epoll and the like: readable while there is something to get
 * or the queue is closed. It is covey's: only poll it. Get with COVEY_NOWAIT then, since
 * another process may have been faster.
 *
 * It costs this process a thread that sleeps while nothing happens, and each get a look
 * whether the queue is empty now; the first message after an empty queue is told some
 * 10 to 50 us late. Deaths are not told: poll the sentinels of processes as well.
 *
 * `ret_fd`: the same one for this queue each time, unless the program has closed it. Closed
 *           by the last free of the queue in this process.
 * Returns:  0; -EMFILE, -ENFILE; -EAGAIN if there can be no more threads; -ENOMEM.
 * Fork:     a child that wants one calls this itself; its copy of the parent's is closed.
 */
COVEY_API int covey_queue_fd(covey_queue *queue, int *ret_fd) COVEY_MUST_CHECK;

/* ---- questions, and the end ------------------------------------------------- */

/** Read how many messages are in it: exact for the moment. Returns:  0. */
COVEY_API int covey_queue_count(covey_queue *queue, size_t *ret_count);

/** Read how many bytes are in it. Returns:  0. */
COVEY_API int covey_queue_bytes(covey_queue *queue, uint64_t *ret_bytes);

/** Returns:  1 if there is no message in it, else 0. */
COVEY_API int covey_queue_empty(covey_queue *queue);

/** Returns:  1 if it has `maxsize` messages or more, else 0. */
COVEY_API int covey_queue_full(covey_queue *queue);

/**
 * Read how many messages were lost, ever, since a process died that had just taken them
 * and not yet returned from its get. Deaths that nobody has noticed are looked for first.
 *
 * Returns:  0.
 */
COVEY_API int covey_queue_lost(covey_queue *queue, uint64_t *ret_lost);

/**
 * Close the queue for the whole family: nothing can be put any more; what is in it can be
 * got, then a get returns COVEY_ECLOSED. Twice is fine.
 *
 * Returns:  0; -ETIMEDOUT if a process that is stopped is in the middle of a put.
 * Blocks:   up to a second for that.
 */
COVEY_API int covey_queue_close(covey_queue *queue);

/** Returns:  1 if it was closed, else 0. */
COVEY_API int covey_queue_closed(covey_queue *queue);

/** Drop this process's hold; NULL is fine. */
COVEY_API void covey_queue_free(covey_queue *queue);

/* ---- joinable queue --------------------------------------------------------- */

/**
 * Make a joinable queue.
 *
 * Returns:  as covey_queue_create.
 */
COVEY_API int
covey_joinable_queue_create(covey_joinable_queue **out, size_t maxsize,
                            const struct covey_queue_opts *opts) COVEY_MUST_CHECK;

/**
 * The queue that it is, for all calls of covey_queue: put, get, close and so on; but not
 * covey_queue_free.
 *
 * Returns:  the queue; NULL on error.
 */
COVEY_API covey_queue *covey_joinable_queue_queue(covey_joinable_queue *queue);

/**
 * Put a message.
 *
 * Returns:  as covey_queue_put.
 * Blocks:   while it is full, at most `timeout`.
 */
COVEY_API int covey_joinable_queue_put(covey_joinable_queue *queue,
                                       struct covey_view message, covey_nsec timeout);

/**
 * Get a message.
 *
 * Returns:  as covey_queue_get.
 * Blocks:   while it is empty, at most `timeout`.
 */
COVEY_API int covey_joinable_queue_get(covey_joinable_queue *queue,
                                       struct covey_bytes *ret_message,
                                       covey_nsec timeout);

/**
 * Put a value.
 *
 * Returns:  as covey_queue_put_value.
 * Blocks:   while it is full, at most `timeout`.
 */
COVEY_API int covey_joinable_queue_put_value(covey_joinable_queue *queue,
                                             const covey_value *value,
                                             covey_nsec timeout);

/**
 * Get a value. A message that is no pickle was got, too, and is to be acknowledged.
 *
 * Returns:  as covey_queue_get_value.
 * Blocks:   while it is empty, at most `timeout`.
 */
COVEY_API int covey_joinable_queue_get_value(
    covey_joinable_queue *queue, covey_value **out, covey_nsec timeout,
    const struct covey_unpickle_opts *limits) COVEY_MUST_CHECK;

/**
 * Say that a message that was got has been worked off.
 *
 * Returns:  0; COVEY_ERELEASED if all that were got have been; -ENOMEM.
 */
COVEY_API int covey_joinable_queue_task_done(covey_joinable_queue *queue);

/**
 * Wait until every message that was put has been worked off. Those that a process had got
 * when it died count as worked off; covey_joinable_queue_abandoned counts them. That can
 * be told only of processes that acknowledge what they got themselves: once one has called
 * task_done for what others had got, deaths do not end a join of this queue any more.
 *
 * Returns:  0; -ETIMEDOUT; -EINTR.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_joinable_queue_join(covey_joinable_queue *queue,
                                        covey_nsec timeout);

/** Read how many messages the dead had got and not worked off, ever. Returns:  0. */
COVEY_API int covey_joinable_queue_abandoned(covey_joinable_queue *queue,
                                             uint64_t *ret_count);

/** Drop this process's hold; NULL is fine. */
COVEY_API void covey_joinable_queue_free(covey_joinable_queue *queue);

/* ---- simple queue ----------------------------------------------------------- */

/**
 * Make a simple queue.
 *
 * Returns:  0; -ENOMEM when the family's budget is used up.
 */
COVEY_API int covey_simple_queue_create(covey_simple_queue **out) COVEY_MUST_CHECK;

/** Put a message. Returns:  as covey_queue_put. */
COVEY_API int covey_simple_queue_put(covey_simple_queue *queue,
                                     struct covey_view message);

/** Wait for a message and get it. Returns:  as covey_queue_get. */
COVEY_API int covey_simple_queue_get(covey_simple_queue *queue,
                                     struct covey_bytes *ret_message);

/** Put a value. Returns:  as covey_queue_put_value. */
COVEY_API int covey_simple_queue_put_value(covey_simple_queue *queue,
                                           const covey_value *value);

/** Wait for a value and get it. Returns:  as covey_queue_get_value. */
COVEY_API int
covey_simple_queue_get_value(covey_simple_queue *queue, covey_value **out,
                             const struct covey_unpickle_opts *limits) COVEY_MUST_CHECK;

/** Returns:  1 if there is no message in it, else 0. */
COVEY_API int covey_simple_queue_empty(covey_simple_queue *queue);

/** Close it for the whole family, as covey_queue_close. Returns:  0; -ETIMEDOUT. */
COVEY_API int covey_simple_queue_close(covey_simple_queue *queue);

/** Drop this process's hold; NULL is fine. */
COVEY_API void covey_simple_queue_free(covey_simple_queue *queue);

#ifdef __cplusplus
}
#endif

#endif
