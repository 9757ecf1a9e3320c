/* SPDX-License-Identifier: MIT */
/**
 * manager/start.h: managers that this process has started.
 */
#ifndef CVY_MANAGER_START_H
#define CVY_MANAGER_START_H

#include <stdbool.h>

#include <covey/base.h>

/** Await the end of the manager at this address, if this process has started it: it gets
 * SIGTERM at the deadline. Returns: whether it has, and the manager is gone. */
bool cvy_start_end(const char *address, int64_t deadline);

#endif
