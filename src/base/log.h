/* SPDX-License-Identifier: MIT */
/**
 * base/log.h: what the process layer tells the log.
 */
#ifndef CVY_BASE_LOG_H
#define CVY_BASE_LOG_H

#include <stddef.h>

/** What a spawned child takes over from its parent. */
struct cvy_log_state {
    int level;
    int to_stderr; /* 1 if covey_log_to_stderr is in force, also under a hook */
};

struct cvy_log_state cvy_log_get_state(void);
void cvy_log_set_state(struct cvy_log_state state);

/** Who knows the name in the lines of this process, which is cut after 63 bytes. `fn` may
 * return NULL: "MainProcess". A rename during a line gives a mixed name at worst. */
void cvy_log_ask_process_name(const char *(*fn)(void));

/** The name in the lines of this thread instead, for a process that is a thread; NULL:
 * the process's again. */
void cvy_log_set_thread_name(const char *name);

/** What writes a line to stderr, so that no reader is no signal for this process; until it
 * is set the C library does. errno may change. */
void cvy_log_write_by(void (*fn)(const char *line, size_t size));

/** Whether a line of this level would go anywhere; to save the work of making it. */
int cvy_log_is_on(int level);

#endif
