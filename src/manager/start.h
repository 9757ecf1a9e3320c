/* SPDX-License-Identifier: MIT */
/**
 * manager/start.h: managers that this process has started.
 */
#ifndef CVY_MANAGER_START_H
#define CVY_MANAGER_START_H

#include <stdbool.h>

#include <covey/base.h>

/** Await the end of the manager at this address, if this process has started it: unless it
 * `was_asked` to end it gets SIGTERM at once, otherwise at the deadline; a thread is only
 * stopped and awaited. Returns: 1: it is gone; 0: this process has not started it;
 * -ETIMEDOUT: it is a thread that has not ended yet. */
int cvy_start_end(const char *address, int64_t deadline, bool was_asked);

#endif
