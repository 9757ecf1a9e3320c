/* SPDX-License-Identifier: MIT */
/**
 * value/hash.h: hashes of values, equal for what Python finds equal.
 */
#ifndef CVY_VALUE_HASH_H
#define CVY_VALUE_HASH_H

#include "value/node.h"

/** Hash any value, also what Python cannot hash. */
uint64_t cvy_hash(const covey_value *value);

/** What makes a value one that Python cannot hash: itself, or what is in it; NULL if it
 * can be hashed. */
const covey_value *cvy_unhashable(const covey_value *value);

/** The hash of a str with this text. */
uint64_t cvy_hash_text(const void *text, size_t size);

#endif
