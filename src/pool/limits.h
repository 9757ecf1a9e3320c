/* SPDX-License-Identifier: MIT */
/** pool/limits.h: what has to be looked at by the clock while tasks wait and run. */
#ifndef CVY_POOL_LIMITS_H
#define CVY_POOL_LIMITS_H

#include "pool/pool.h"

/* ---- limits.c; locked ---- */

/** Limits that cannot be: -EINVAL; else 0. Needs no lock. */
int cvy_limits_refuse(const char *call, const struct cvy_limits *limits);
/** Look at the tasks that run. Returns: when to look again, INT64_MAX: not by itself. */
int64_t cvy_limits_check(struct cvy_pool *pool);
/** When what begins `now` has to be looked at. */
int64_t cvy_limits_due(const struct cvy_limits *limits, int64_t now);
/** End the worker of an item that has its outcome; processes only. */
void cvy_limits_end(struct cvy_pool *pool, uint32_t slot, uint64_t at);
/** What an item that runs says of itself. Returns: false if it has said nothing. */
bool cvy_limits_said(struct cvy_pool *pool, uint32_t slot, uint64_t at,
                     uint64_t *ret_done, uint64_t *ret_total);
/** Let covey_call_cancelled say 1 in it. */
void cvy_limits_warn(struct cvy_pool *pool, uint32_t slot, uint64_t at);

/* ---- affinity.c; locked ---- */

/** The batch in this slot, which is filled, is for the worker of the flow's key.
 * Returns: until when; INT64_MAX: it has none. */
int64_t cvy_affinity_mark(const struct cvy_flow *flow, uint32_t slot);
/** Give to anyone what its worker has not taken in time. Returns: as cvy_limits_check. */
int64_t cvy_affinity_check(struct cvy_pool *pool);

#endif
