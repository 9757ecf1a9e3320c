/* SPDX-License-Identifier: MIT */
/* What a manager in a child of the test says in its log. */
#ifndef TESTS_SERVER_HEARD_H
#define TESTS_SERVER_HEARD_H

#include <stdatomic.h>

#include "server_help.h"

/* Lines that the manager, which is another process, has logged. */
struct heard {
    _Atomic size_t size;
    char text[200000];
};

static struct heard *heard;

static inline void hear(void *context, int level, const char *line)
{
    struct heard *h = context;
    (void)level;
    size_t size = atomic_load(&h->size), more = strlen(line) + 1;
    if (size + more > sizeof h->text)
        return;
    memcpy(h->text + size, line, more);
    atomic_store(&h->size, size + more);
}

/* A manager that is heard from here on. */
static inline struct server server_start_heard(struct covey_manager_opts opts)
{
    if (!heard)
        heard = family_shared(sizeof *heard);
    atomic_store(&heard->size, 0);
    CHECK_OK(covey_set_log_level(COVEY_LOG_INFO));
    CHECK_OK(covey_set_log_hook(hear, heard));
    return server_start(opts);
}

/* In how many lines both are. */
static inline int heard_lines(const char *one, const char *two)
{
    int count = 0;
    size_t size = atomic_load(&heard->size);
    for (size_t at = 0; at < size; at += strlen(heard->text + at) + 1)
        count += strstr(heard->text + at, one) && strstr(heard->text + at, two);
    return count;
}

/* Wait for a line that has both in it. */
static inline void await_line(const char *one, const char *two)
{
    while (!heard_lines(one, two))
        cvy_os_yield();
}

/* Wait for so many of them, which have to be all. */
static inline void await_lines(int count, const char *one, const char *two)
{
    while (heard_lines(one, two) < count)
        cvy_os_yield();
    CHECK_EQ(heard_lines(one, two), count);
}

#endif
