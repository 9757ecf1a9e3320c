/* SPDX-License-Identifier: MIT */
/**
 * manager/pool_end.h: the end of a pool in a thread of its own.
 */
#ifndef CVY_MANAGER_POOL_END_H
#define CVY_MANAGER_POOL_END_H

#include <stdbool.h>

#include <covey/pool.h>

/** End a pool and wait for its workers; `is_done`: all of its tasks are. Afterwards the
 * calling thread does not use the family any more; it ends soon. */
void cvy_pool_end(covey_pool *pool, bool is_done);

#endif
