/* SPDX-License-Identifier: MIT */
/**
 * manager/started.h: managers that this process has started.
 */
#ifndef CVY_MANAGER_STARTED_H
#define CVY_MANAGER_STARTED_H

#include <stdbool.h>

#include <covey/process.h>
#include <covey/proxy.h>

/** How long a manager may take to end after it was asked to. */
#define CVY_END_PATIENCE COVEY_SEC(5)

struct cvy_started {
    int pid; /* of the starter: a fork child has a copy of the list */
    bool is_thread;
    uint64_t ticket; /* of its server, in its process */
    uint64_t serial; /* of its handle */
    const covey_manager *handle;
    char address[256];
    /* Under the list's lock. */
    struct cvy_started *next;
    unsigned users;         /* calls that use it now: `process` stays meanwhile */
    covey_process *process; /* NULL: it has ended */
    bool has_ended;
    char how[256]; /* it has ended, which does not change; "": in order */
};

/** Put one that serves into the list, so that it ends with this process, and can be awaited
 * by its handle. On failure it stays the caller's. */
int cvy_started_note(struct cvy_started *s,
                     const covey_manager *handle) COVEY_MUST_CHECK;
/** Await the end of one that is not in the list, and free it. A process gets SIGTERM at the
 * deadline, a thread is only stopped and awaited. */
void cvy_started_end_for_good(struct cvy_started *s, int64_t deadline);
/** Free one that is not in the list; what runs goes on. */
void cvy_started_free(struct cvy_started *s);

/** Await the end of the one with this handle, or which runs at its address: unless it
 * `was_asked` to end it gets SIGTERM at once, otherwise at the deadline; a thread is only
 * stopped and awaited. Returns: 1: it is gone; 0: this process has not started it;
 * -ETIMEDOUT: it is a thread that has not ended yet. */
int cvy_started_end(const covey_manager *manager, int64_t deadline, bool was_asked);
/** Forget those that have ended and whose handles are gone. */
void cvy_started_sweep(void);

#endif
