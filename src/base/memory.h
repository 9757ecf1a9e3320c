/* SPDX-License-Identifier: MIT */
/**
 * base/memory.h: private memory of this process, from the program's allocator.
 *
 * All memory that covey takes for itself comes through here and goes back by cvy_free.
 * A size of 0 gives a pointer that can be freed. NULL means that there is no memory.
 */
#ifndef CVY_BASE_MEMORY_H
#define CVY_BASE_MEMORY_H

#include <stddef.h>

void *cvy_malloc(size_t size) __attribute__((malloc));
/** Zeroed; NULL also when `count * size` is too large. */
void *cvy_calloc(size_t count, size_t size) __attribute__((malloc));
/** On failure `memory` stays as it was. */
void *cvy_realloc(void *memory, size_t size);
/** NULL is fine. */
void cvy_free(void *memory);
char *cvy_strdup(const char *text) __attribute__((malloc));

#endif
