/* SPDX-License-Identifier: MIT */
/**
 * covey/base.h: results and their texts, bytes, time, logging, memory hooks.
 *
 * Defaults for every function of every covey header, unless its comment says otherwise:
 *
 * Returns:  0, a remark (>= 0x40000000), or a negative code: `-errno` of the system,
 *           or a COVEY_E... code below -4095. Outputs are untouched on failure.
 * Blocks:   no.
 * Owner:    pointers passed in stay the caller's; what a call hands out is the caller's.
 * Threads:  any thread, at any time.
 * Fork:     usable in children, also in those the program forks by itself.
 *           Not from a signal handler.
 */
#ifndef COVEY_BASE_H
#define COVEY_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define COVEY_VERSION_MAJOR 0
#define COVEY_VERSION_MINOR 1
#define COVEY_VERSION_PATCH 0

#if defined(__GNUC__)
#define COVEY_API                __attribute__((visibility("default")))
#define COVEY_MUST_CHECK         __attribute__((warn_unused_result))
#define COVEY_PRINTF(fmt, first) __attribute__((__format__(__printf__, fmt, first)))
#else
#define COVEY_API
#define COVEY_MUST_CHECK
#define COVEY_PRINTF(fmt, first)
#endif

/* ---- results ---------------------------------------------------------------- */

/**
 * Conditions that no errno names: X(code, NAME, text, Python exception).
 * System failures are exactly `-errno`, for instance -EINVAL or -ENOMEM.
 */
#define COVEY_ERROR_MAP(X)                                                             \
    X(-5001, ECLOSED, "closed", "ValueError")                                          \
    X(-5002, EPEERDIED, "every other process that used it has died",                   \
      "BrokenPipeError")                                                               \
    X(-5003, EREMOTE, "the task itself failed", "RemoteError")                         \
    X(-5004, EBROKEN, "broken", "BrokenBarrierError")                                  \
    X(-5005, ESTATE, "not possible in this state", "AssertionError")                   \
    X(-5006, EAUTH, "authentication failed", "AuthenticationError")                    \
    X(-5007, EPROTOCOL, "the peer does not keep to the protocol", "OSError")           \
    X(-5008, EFORKED, "not usable in this forked process", "RuntimeError")             \
    X(-5009, EFREED, "used after it was freed", "ValueError")                          \
    X(-5010, ECRASHED, "the process working on it died", "ProcessError")               \
    X(-5011, EBUILD, "the two sides are different builds", "ImportError")              \
    X(-5012, ENOTSTARTED, "not started", "AssertionError")                             \
    X(-5013, ENOTOWNER, "not the owner", "AssertionError")                             \
    X(-5014, ESTART, "the child did not come up", "RuntimeError")                      \
    X(-5015, ETYPE, "not possible with this type of value", "TypeError")               \
    X(-5016, EPICKLE, "malformed pickle", "UnpicklingError")                           \
    X(-5017, ERELEASED, "released more often than acquired", "ValueError")             \
    X(-5018, EEOF, "the other side has closed the connection", "EOFError")             \
    X(-5019, ETRUNCATED, "the connection ended in the middle of a message", "OSError") \
    X(-5020, EEND, "there are no more", "StopIteration")

/** Result codes of covey's own; see COVEY_ERROR_MAP for their texts. */
enum covey_code {
#define COVEY_ERROR_ENUM(code, name, text, python) COVEY_##name = (code),
    COVEY_ERROR_MAP(COVEY_ERROR_ENUM)
#undef COVEY_ERROR_ENUM
    /** Remark: the lock is held now, but its last owner died holding it. */
    COVEY_ABANDONED = 0x40000000,
    /** Remark: the message is accepted, but a part of it is still to be sent. */
    COVEY_PENDING = 0x40000001
};

/**
 * The text for a result code, as one line without a full stop.
 *
 * Returns:  a string that lives as long as the program; for an unknown code a text that
 *           says so. Never NULL.
 */
COVEY_API const char *covey_strerror(int code);

/**
 * The name of a result code: "COVEY_ECLOSED", "EINVAL", "COVEY_ABANDONED", "0".
 *
 * Returns:  a string that lives as long as the program; "unknown" for an unknown code.
 */
COVEY_API const char *covey_error_name(int code);

/**
 * The Python exception a result code stands for, e.g. "ValueError", "OSError".
 *
 * Returns:  a string that lives as long as the program.
 */
COVEY_API const char *covey_error_python(int code);

/**
 * What the last failed call of this thread could not do: which object, in which process,
 * and why; one line for people. Never decide by it.
 *
 * Returns:  a string of this thread that is valid until its next failing covey call;
 *           "" when none failed yet.
 * Threads:  each has its own.
 */
COVEY_API const char *covey_error_detail(void);

/* ---- options ---------------------------------------------------------------- */

/** A yes or no whose zero means "the default". */
enum covey_switch { COVEY_UNSET = 0, COVEY_ON = 1, COVEY_OFF = -1 };

/* ---- time ------------------------------------------------------------------- */

/** A duration in nanoseconds on the monotonic clock. */
typedef int64_t covey_nsec;

/** Do not wait: only look. Any duration <= 0 means the same in a call. */
#define COVEY_NOWAIT ((covey_nsec)-1)
/** Wait without a limit. */
#define COVEY_FOREVER ((covey_nsec)INT64_MAX)
#define COVEY_USEC(n) ((covey_nsec)(n)*1000)
#define COVEY_MSEC(n) ((covey_nsec)(n)*1000000)
#define COVEY_SEC(n)  ((covey_nsec)(n)*1000000000)

/* ---- bytes ------------------------------------------------------------------ */

/** Bytes that somebody else owns; borrowed for the time of a call. */
struct covey_view {
    const void *data;
    size_t size; /**< in bytes */
};

/** Bytes that you own; zero-initialize, reuse as often as you like, free at the end. */
struct covey_bytes {
    void *data;
    size_t size;     /**< in bytes */
    size_t capacity; /**< bytes allocated at `data` */
};

/** A view of the C object `x`, as argument of a process or task. */
#define COVEY_VIEW_OF(x) (COVEY_VIEW(&(x), sizeof(x)))

/** No bytes. */
#define COVEY_NO_VIEW (COVEY_VIEW(NULL, 0))

/** A view of `size` bytes at `data`. */
static inline struct covey_view COVEY_VIEW(const void *data, size_t size) {
    struct covey_view view;
    view.data = data;
    view.size = size;
    return view;
}

/**
 * Give `bytes` a size; grows its memory as needed and keeps what was there.
 *
 * Returns:  0; -ENOMEM.
 * Threads:  one at a time per `bytes`.
 */
COVEY_API int
covey_bytes_resize(struct covey_bytes *bytes, size_t size) COVEY_MUST_CHECK;

/** Free the memory of `bytes` and set it to zero; NULL and twice are fine. */
COVEY_API void covey_bytes_free(struct covey_bytes *bytes);

/* ---- logging ---------------------------------------------------------------- */

/** Levels as in Python's logging, with multiprocessing's two additions. */
enum covey_log_level {
    COVEY_LOG_SUBDEBUG = 5,
    COVEY_LOG_DEBUG = 10,
    COVEY_LOG_INFO = 20,
    COVEY_LOG_SUBWARNING = 25,
    COVEY_LOG_WARNING = 30,
    COVEY_LOG_ERROR = 40,
    COVEY_LOG_OFF = 100
};

/** Receives one line without a newline; may be called by any thread. */
typedef void covey_log_fn(void *ctx, int level, const char *line);

/**
 * Write log lines `[LEVEL/process-name] text` to standard error from now on, in this
 * process and in the children it starts later. Calling it again changes the level only.
 * The environment's COVEY_LOG, the name or number of a level, asks for the same from
 * outside, unless the program sets level or hook by itself.
 *
 * `level`: lines below it are dropped; 0 keeps the level that is set.
 * Returns:  0.
 */
COVEY_API int covey_log_to_stderr(int level);

/**
 * Drop log lines below `level` (COVEY_LOG_OFF: all, the default is COVEY_LOG_WARNING).
 *
 * Returns:  0; -EINVAL if `level` is negative.
 */
COVEY_API int covey_set_log_level(int level);

/**
 * Hand log lines to `fn(ctx, ...)` instead of standard error; NULL: to nobody.
 * Children under fork inherit it; under spawn and forkserver they log to standard error
 * if covey_log_to_stderr was called, else nowhere.
 *
 * Returns:  0.
 */
COVEY_API int covey_set_log_hook(covey_log_fn *fn, void *ctx);

/**
 * Write one line to covey's log.
 *
 * Returns:  0, also when the level is below the one that is set.
 */
COVEY_API int covey_log(int level, const char *format, ...) COVEY_PRINTF(2, 3);

/* ---- memory hooks ----------------------------------------------------------- */

/**
 * Let covey take the private memory of this process from these functions, which have the
 * contracts of malloc, realloc and free; all NULL: back to libc's. Memory shared between
 * processes does not come from here.
 *
 * Returns:  0; -EINVAL if only some are NULL; COVEY_ESTATE once covey has allocated.
 * Fork:     children inherit it under fork; under spawn and forkserver they use libc's.
 */
COVEY_API int covey_set_allocator(void *(*malloc_fn)(size_t size),
                                  void *(*realloc_fn)(void *memory, size_t size),
                                  void (*free_fn)(void *memory)) COVEY_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
