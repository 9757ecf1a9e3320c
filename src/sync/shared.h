/* SPDX-License-Identifier: MIT */
/** sync/shared.h: what shared values and arrays have in common. */
#ifndef CVY_SYNC_SHARED_H
#define CVY_SYNC_SHARED_H

#include "sync/sync.h"

#include <covey/shared.h>

/*
 * A shared value is an array of one.
 *
 *   |  header, type  | name | own rlock  | data, if it is small |
 *      line 1, 2              lines 3, 4   lines 5 ...
 *
 * Larger data is a run of the object. Everything but lock and data stays as made.
 */
struct cvy_shared {
    struct cvy_object object;
    cvy_ref data;
    cvy_ref lock; /* 0: none */
    uint64_t count;
    uint64_t item_size;
    uint32_t typecode; /* 0: a struct */
    uint32_t reserved[3];
    char name[CVY_NAME_BYTES - 16];
    struct covey_lock own; /* an rlock, if the user gave no lock */
};
_Static_assert(sizeof(struct cvy_shared) == 256, "data begins a cache line");
struct covey_shared_value {
    struct cvy_shared shared;
};
struct covey_array {
    struct cvy_shared shared;
};

/** What is to be made. */
struct cvy_shared_want {
    enum cvy_kind kind;
    const char *call;
    char typecode; /* 0: a struct of item_size bytes */
    size_t item_size, count;
    const void *initial;
    const struct covey_shared_opts *opts;
};
/** Make it. Returns: as the public calls that create. */
int cvy_shared_create(const struct cvy_shared_want *want, void **out);

int cvy_shared_acquire(struct cvy_shared *s, covey_nsec timeout, const char *call);
int cvy_shared_release(struct cvy_shared *s, const char *call);
covey_rlock *cvy_shared_rlock(struct cvy_shared *s);
/** Copy `size` bytes between memory and the data at `offset`, under the lock. */
int cvy_shared_read(struct cvy_shared *s, size_t offset, void *to, size_t size,
                    const char *call);
int cvy_shared_write(struct cvy_shared *s, size_t offset, const void *from, size_t size,
                     const char *call);
/** Another of the same type and content. */
int cvy_shared_copy(struct cvy_shared *s, enum cvy_kind kind, void **out,
                    const char *call);

#endif
