/* SPDX-License-Identifier: MIT */
/**
 * types/results.h: what is to come of a Pool's work: AsyncResult and its Iterators.
 */
#ifndef CVY_MANAGER_TYPES_RESULTS_H
#define CVY_MANAGER_TYPES_RESULTS_H

#include "manager/crew.h"

/** What get gives, or raises; waits until `until` for it. It keeps the errand meanwhile. */
int cvy_errand_get(struct cvy_call *call, struct cvy_errand *errand, int64_t until);

/** Return a proxy of a new AsyncResult. `is_map`: it is CPython's MapResult. */
int cvy_return_async_result(struct cvy_call *call, struct cvy_errand *errand,
                            bool is_map);

/** What an Iterator is in CPython. */
enum cvy_results_order {
    CVY_RESULTS_IN_ORDER, /* IMapIterator */
    CVY_RESULTS_AS_THEY_COME,
};
/** Return a proxy of a new Iterator. `is_generator`: it goes through parts of several
 * items, and has send, throw and close. */
int cvy_return_results(struct cvy_call *call, struct cvy_errand *errand,
                       enum cvy_results_order order, bool is_generator);

#endif
