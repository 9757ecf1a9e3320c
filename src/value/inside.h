/* SPDX-License-Identifier: MIT */
/**
 * value/inside.h: pickles of messages whose outer part is always the same: who writes or
 * reads many need not make values of that part each time. The bytes are the same.
 */
#ifndef CVY_VALUE_INSIDE_H
#define CVY_VALUE_INSIDE_H

#include <covey/value.h>

/** What is around the values: opcodes, without PROTO, FRAME and STOP. */
struct cvy_around {
    struct covey_view before, after;
    unsigned memoized; /* how many objects `before` has memoized */
};

/** Write a pickle of `before`, the values, `after`. It overwrites `pickle`. Returns: as
 * covey_value_pickle of what contains the values. */
int cvy_pickle_around(struct covey_bytes *pickle, const struct cvy_around *around,
                      const covey_value *const *values, size_t count) COVEY_MUST_CHECK;

/** Read one value of opcodes from the middle of a pickle, in which `memoized` objects came
 * before. Returns: 0; an error: the whole pickle has to be read to know what it is. */
int cvy_unpickle_inside(covey_value **out, const void *data, size_t size,
                        unsigned memoized,
                        const struct covey_unpickle_opts *opts) COVEY_MUST_CHECK;

#endif
