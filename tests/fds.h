/* SPDX-License-Identifier: MIT */
/* What the tests ask about this process's descriptors. */
#ifndef TESTS_FDS_H
#define TESTS_FDS_H

#include <fcntl.h>
#include <stdbool.h>

static inline bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* How many there are, of the numbers that tests get to. */
static inline int count_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += is_open(fd);
    return count;
}

#endif
