/* SPDX-License-Identifier: MIT */
/**
 * value/hash.h: hashes of values, equal for what Python finds equal.
 */
#ifndef CVY_VALUE_HASH_H
#define CVY_VALUE_HASH_H

#include "value/node.h"

/** Hash any value, also what Python cannot hash. */
uint64_t cvy_hash(const covey_value *value);

/** The hash of a str with this text. */
uint64_t cvy_hash_text(const void *text, size_t size);

#endif
