/* SPDX-License-Identifier: MIT */
/**
 * covey/segment.h: named memory that a manager looks after: what Python has as
 * multiprocessing.managers.SharedMemoryManager.
 *
 * Memory of covey/memory.h goes with its last user. A segment stays when nobody has it
 * open, for as long as its manager runs: results that others fetch later, a cache, data
 * that one step of a program leaves to the next. When the manager ends, its segments' names
 * go, all of them; also when it is killed, or the program that has started it: a helper
 * process, forked when the manager begins, sees to that. Who has one open then keeps it
 * until it is closed.
 *
 * ```c
 * covey_manager *manager;
 * covey_memory *memory;
 * if (covey_manager_start(&manager, COVEY_MANAGER_OPTS(.segments = COVEY_ON)) == 0 &&
 *     covey_segment_create(&memory, manager, NULL, 1000, NULL) == 0) {
 *     puts(covey_memory_name(memory)); // others open it by covey_memory_open, or in Python
 *     covey_memory_free(memory);       // it stays
 *     covey_manager_shutdown(manager, COVEY_SEC(10)); // it goes
 * }
 * ```
 *
 * The manager may be one of covey's on this machine, made with `.segments` or by `covey
 * serve --segments`, or a stock SharedMemoryManager.
 *
 * The defaults of covey/proxy.h hold, and all calls can return -ENOTSUP: the manager looks
 * after no memory.
 */
#ifndef COVEY_SEGMENT_H
#define COVEY_SEGMENT_H

#include <covey/memory.h>
#include <covey/proxy.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Make memory, open it, and have it looked after.
 *
 * `name`, `size`, `opts`: as in covey_memory_create; `.keep` has no meaning.
 * Returns:  0; the errors of covey_memory_create; as every call, and then there is none.
 * Owner:    the handle is closed and freed as any other one.
 */
COVEY_API int
covey_segment_create(covey_memory **out, covey_manager *manager, const char *name,
                     size_t size,
                     const struct covey_memory_opts *opts) COVEY_MUST_CHECK;

/**
 * The same with a shareable list.
 *
 * `name` to `opts`: as in covey_shareable_list_create; `.keep` has no meaning.
 * Returns:  0; the errors of covey_shareable_list_create; as every call, and then there
 *           is none.
 */
COVEY_API int
covey_segment_create_list(covey_shareable_list **out, covey_manager *manager,
                          const char *name, const struct covey_shareable_item *items,
                          size_t count,
                          const struct covey_memory_opts *opts) COVEY_MUST_CHECK;

/**
 * Have memory looked after that is there, whoever made it: Python's `track_segment`. Twice
 * is fine.
 *
 * Returns:  0; -ENOENT: a manager of covey's does not find it; as every call.
 */
COVEY_API int covey_segment_track(covey_manager *manager, covey_memory *memory);

/**
 * Remove a segment's name now: Python's `release_segment`. Who has it open keeps it.
 *
 * Returns:  0; -ENOENT: it is no segment of this manager, or, of a stock one, gone; as
 *           every call.
 */
COVEY_API int covey_segment_release(covey_manager *manager, const char *name);

/**
 * The names of all segments, a list of str: Python's `list_segments`.
 *
 * Returns:  0; as every call.
 */
COVEY_API int covey_segment_names(covey_manager *manager,
                                  covey_value **out) COVEY_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
