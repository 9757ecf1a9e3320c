/* SPDX-License-Identifier: MIT */
/**
 * types/types.h: the classes that every manager has under Python's names.
 */
#ifndef CVY_MANAGER_TYPES_TYPES_H
#define CVY_MANAGER_TYPES_TYPES_H

#include "manager/class.h"

extern const struct cvy_class cvy_type_list, cvy_type_dict, cvy_type_set,
    cvy_type_iterator, cvy_type_namespace, cvy_type_value, cvy_type_array,
    cvy_type_lock, cvy_type_rlock, cvy_type_semaphore, cvy_type_bounded_semaphore,
    cvy_type_condition, cvy_type_event, cvy_type_barrier, cvy_type_queue,
    cvy_type_joinable_queue, cvy_type_pool, cvy_type_async_result, cvy_type_results;

#endif
