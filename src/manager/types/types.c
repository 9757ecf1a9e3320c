/* SPDX-License-Identifier: MIT */
/* The list of the standard classes. */
#include "manager/types/types.h"

#include "base/base.h"

const struct cvy_class *const cvy_types[] = {
    &cvy_type_queue,
    &cvy_type_joinable_queue,
    &cvy_type_event,
    &cvy_type_lock,
    &cvy_type_rlock,
    &cvy_type_semaphore,
    &cvy_type_bounded_semaphore,
    &cvy_type_condition,
    &cvy_type_barrier,
    &cvy_type_list,
    &cvy_type_dict,
    &cvy_type_set,
    &cvy_type_value,
    &cvy_type_array,
    &cvy_type_namespace,
    &cvy_type_pool,
    &cvy_type_async_result,
    &cvy_type_iterator,
};
const size_t cvy_type_count = CVY_ARRAY_SIZE(cvy_types);
