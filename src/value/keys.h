/* SPDX-License-Identifier: MIT */
/**
 * value/keys.h: dicts, sets and frozensets.
 *
 * These functions do not ask whether the value may be changed; the public ones do.
 */
#ifndef CVY_VALUE_KEYS_H
#define CVY_VALUE_KEYS_H

#include "value/heap.h"

struct cvy_keys *cvy_keys_new(struct cvy_heap *heap, unsigned kind);

/** The entry of a key; NULL if there is none or it cannot be a key. */
const struct cvy_entry *cvy_keys_find(const struct cvy_keys *table,
                                      const covey_value *key);

/**
 * The same with the key's hash, for any key; `steps` as for cvy_same.
 * Returns: 0, also when `*ret` is NULL; -EMSGSIZE.
 */
int cvy_keys_lookup(const struct cvy_keys *table, const covey_value *key, uint64_t hash,
                    uint64_t *steps, const struct cvy_entry **ret);

/**
 * Set a key; the value of a set is NULL. An equal key that is there stays, its value is
 * replaced. Takes both, also on failure. Only a strict heap is charged for the table's
 * growth, which is none of the business of who adds the last key.
 * Returns: 0; COVEY_ETYPE if the key cannot be hashed; -EMSGSIZE; -ENOMEM; with a strict
 * heap -ENOTSUP for equal keys that have objects, which Python may tell apart.
 */
int cvy_keys_put(struct cvy_heap *heap, struct cvy_keys *table, covey_value *key,
                 covey_value *value) COVEY_MUST_CHECK;

/** The entry of a key. Returns: 0, also when `*ret` is NULL; COVEY_ETYPE if the key cannot
 * be hashed; -EMSGSIZE. */
int cvy_keys_get(struct cvy_heap *heap, const struct cvy_keys *table,
                 const covey_value *key, const struct cvy_entry **ret) COVEY_MUST_CHECK;

/** Take an entry out. Returns: it, with its references. */
struct cvy_entry cvy_keys_take(struct cvy_keys *table, const struct cvy_entry *entry);

/** The next entry from `*position` on; NULL at the end. */
const struct cvy_entry *cvy_keys_next(const struct cvy_keys *table, size_t *position);

void cvy_keys_destroy(struct cvy_keys *table);

/** The same entries. */
covey_value *cvy_keys_copy(struct cvy_heap *heap, const struct cvy_keys *table);

#endif
