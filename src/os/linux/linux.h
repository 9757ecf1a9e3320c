/* SPDX-License-Identifier: MIT */
/**
 * os/linux/linux.h: what the files of this folder share.
 */
#ifndef CVY_OS_LINUX_H
#define CVY_OS_LINUX_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/** Bytes that the path "/proc/2147483647/..." may need. */
#define CVY_PROC_PATH_SIZE 48

/** The absolute time `deadline` for the kernel; NULL for ever. */
const struct timespec *cvy_clock_absolute(int64_t deadline, struct timespec *buffer);
/** The time from now to `deadline`, at least 0; NULL for ever. */
const struct timespec *cvy_clock_relative(int64_t deadline, struct timespec *buffer);
/** Sleep for `duration` but not beyond `deadline`. */
void cvy_clock_sleep(int64_t duration, int64_t deadline);

/** Build `prefix number suffix` without stdio, as signal handlers need it. */
void cvy_proc_path(char path[CVY_PROC_PATH_SIZE], const char *prefix, int number,
                   const char *suffix);
/** Read a small file whole and end it with a NUL. Returns: its size, -errno; what does
 * not fit is cut. */
ssize_t cvy_file_read(const char *path, char *buffer, size_t size);

/** Whether a file may become that long. Beyond RLIMIT_FSIZE the system would raise SIGXFSZ,
 * which kills; better an error. */
bool cvy_size_is_allowed(uint64_t size);

/** The same open file under a number above 2, which a program may close or take for its
 * standard streams; `fd` is closed if it is not. Negative with errno stays. */
int cvy_fd_above_std(int fd);

/** A write to a pipe that nobody reads raises SIGPIPE in this thread: between these two it is
 * held back, and taken back if that happened. errno stays. */
struct cvy_pipe_signal {
    sigset_t mask;
    bool was_pending;
};
void cvy_pipe_signal_hold(struct cvy_pipe_signal *held);
void cvy_pipe_signal_release(const struct cvy_pipe_signal *held, bool is_raised);

/** The affinity has changed: ask again before the next spin. */
void cvy_multicore_forget(void);

/** The robust list head that libc registered for this thread; NULL if there is none. */
struct robust_list_head *cvy_thread_robust_head(void);

#endif
