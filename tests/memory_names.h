/* SPDX-License-Identifier: MIT */
/* Named memory as tests look at it: its names, and what is in it. */
#ifndef TESTS_MEMORY_NAMES_H
#define TESTS_MEMORY_NAMES_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include "check.h"

/* Whether the name is there. */
static inline bool exists(const char *name)
{
    char path[300];
    struct stat info;

    snprintf(path, sizeof path, "/dev/shm/%s", name);
    return lstat(path, &info) == 0;
}

static inline covey_memory *opened(const char *name)
{
    covey_memory *memory = NULL;

    CHECK_OK(covey_memory_open(&memory, name, NULL));
    return memory;
}

static inline char *bytes_of(const covey_memory *memory)
{
    char *bytes = covey_memory_data(memory, NULL);

    CHECK(bytes != NULL);
    return bytes;
}

#endif
