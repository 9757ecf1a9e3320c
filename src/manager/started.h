/* SPDX-License-Identifier: MIT */
/**
 * manager/started.h: managers that this process has started.
 */
#ifndef CVY_MANAGER_STARTED_H
#define CVY_MANAGER_STARTED_H

#include <stdbool.h>

#include <covey/process.h>

/** How long a manager may take to end after it was asked to. */
#define CVY_END_PATIENCE COVEY_SEC(5)

struct cvy_started {
    struct cvy_started *next;
    int pid; /* of the starter: a fork child has a copy of the list */
    bool is_thread;
    uint64_t ticket; /* of its server, in its process */
    covey_process *process;
    char address[256];
};

/** Put one that serves into the list, so that it ends with this process. On failure it
 * stays the caller's. */
int cvy_started_note(struct cvy_started *s) COVEY_MUST_CHECK;
/** Await the end of one that is not in the list, and free it. A process gets SIGTERM at the
 * deadline, a thread is only stopped and awaited. */
void cvy_started_end_for_good(struct cvy_started *s, int64_t deadline);
/** Free one that is not in the list; what runs goes on. */
void cvy_started_free(struct cvy_started *s);

/** Await the end of the manager at this address, if this process has started it: unless it
 * `was_asked` to end it gets SIGTERM at once, otherwise at the deadline; a thread is only
 * stopped and awaited. Returns: 1: it is gone; 0: this process has not started it;
 * -ETIMEDOUT: it is a thread that has not ended yet. */
int cvy_started_end(const char *address, int64_t deadline, bool was_asked);

#endif
