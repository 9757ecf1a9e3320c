/* SPDX-License-Identifier: MIT */
/*
 * The program's allocator.
 *
 * States: open (nothing allocated yet; covey_set_allocator works) -> fixed, by the first
 * allocation, for ever: memory must go back to where it came from. The functions are
 * written in the open state only, so that reading them needs no lock.
 */
#include "base/memory.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"

static _Atomic bool fixed;

static struct {
    void *(*malloc_fn)(size_t size);
    void *(*realloc_fn)(void *memory, size_t size);
    void (*free_fn)(void *memory);
} allocator = {malloc, realloc, free};

int covey_set_allocator(void *(*malloc_fn)(size_t size),
                        void *(*realloc_fn)(void *memory, size_t size),
                        void (*free_fn)(void *memory))
{
    int given = (malloc_fn != NULL) + (realloc_fn != NULL) + (free_fn != NULL);

    if (given != 0 && given != 3)
        return cvy_fail(-EINVAL, "set_allocator: give all three functions, or none");
    if (atomic_load(&fixed))
        return cvy_fail(COVEY_ESTATE,
                        "set_allocator: covey has allocated memory already");
    allocator.malloc_fn = malloc_fn ? malloc_fn : malloc;
    allocator.realloc_fn = realloc_fn ? realloc_fn : realloc;
    allocator.free_fn = free_fn ? free_fn : free;
    return 0;
}

/* Test before storing: the flag's cache line stays shared between threads. */
static void fix_allocator(void)
{
    if (cvy_unlikely(!atomic_load_explicit(&fixed, memory_order_relaxed)))
        atomic_store(&fixed, true);
}

void *cvy_malloc(size_t size)
{
    fix_allocator();
    return allocator.malloc_fn(size ? size : 1);
}

void *cvy_calloc(size_t count, size_t size)
{
    size_t total;
    void *memory;

    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    fix_allocator();
    if (allocator.malloc_fn == malloc)
        return calloc(1, total ? total : 1);
    memory = cvy_malloc(total);
    if (memory)
        memset(memory, 0, total);
    return memory;
}

void *cvy_realloc(void *memory, size_t size)
{
    fix_allocator();
    return allocator.realloc_fn(memory, size ? size : 1);
}

void cvy_free(void *memory)
{
    if (memory)
        allocator.free_fn(memory);
}

char *cvy_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = cvy_malloc(size);

    return copy ? memcpy(copy, text, size) : NULL;
}
