/* SPDX-License-Identifier: MIT */
/* The allocator of fuzz targets; see fuzz.h. */
#include <stdbool.h>

#include "fuzz.h"

size_t live_bytes, most_bytes, until_failure = SIZE_MAX;

enum { HEAD = 16 };

static void *counting_malloc(size_t size)
{
    char *memory;

    if (until_failure != SIZE_MAX && until_failure-- == 0)
        return NULL;
    memory = malloc(size + HEAD);
    MUST(memory);
    memcpy(memory, &size, sizeof(size));
    live_bytes += size;
    if (live_bytes > most_bytes)
        most_bytes = live_bytes;
    return memory + HEAD;
}

static size_t size_of(void *memory)
{
    size_t size;

    memcpy(&size, (char *)memory - HEAD, sizeof(size));
    return size;
}

static void counting_free(void *memory)
{
    live_bytes -= size_of(memory);
    free((char *)memory - HEAD);
}

static void *counting_realloc(void *old, size_t size)
{
    void *memory = counting_malloc(size);

    if (!memory || !old)
        return memory;
    memcpy(memory, old, size < size_of(old) ? size : size_of(old));
    counting_free(old);
    return memory;
}

void use_allocator(void)
{
    static bool used;

    if (!used)
        MUST(covey_set_allocator(counting_malloc, counting_realloc, counting_free) ==
             0);
    used = true;
}
