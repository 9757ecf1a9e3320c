/* SPDX-License-Identifier: MIT */
/* What the tests of named memory share. */
#ifndef TESTS_MEMORY_HELP_H
#define TESTS_MEMORY_HELP_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory_names.h"

/* Whether nothing is there, hidden files included. */
static inline bool is_bare(void)
{
    DIR *folder = opendir("/dev/shm");
    struct dirent *entry;
    bool bare = true;

    CHECK(folder != NULL);
    while ((entry = readdir(folder)))
        bare = bare && (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."));
    closedir(folder);
    return bare;
}

static inline covey_memory *made(const char *name, size_t size)
{
    covey_memory *memory = NULL;

    CHECK_OK(covey_memory_create(&memory, name, size, NULL));
    return memory;
}

/* Whether they are the same bit by bit: a NaN is, and zeros of two signs are not. */
static inline bool same_float(double a, double b)
{
    uint64_t a_bits, b_bits;

    memcpy(&a_bits, &a, sizeof a_bits);
    memcpy(&b_bits, &b, sizeof b_bits);
    return a_bits == b_bits;
}

/* Run `fn` in a fork child. Returns: its pid. */
static inline pid_t forked(int (*fn)(void *context), void *context)
{
    fflush(NULL);
    pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (pid == 0)
        _exit(fn(context));
    return pid;
}

/* How a child ended: its exit code, or -N for signal N. */
static inline int end_of(pid_t pid)
{
    int status;

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline void kill_and_reap(pid_t pid)
{
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(end_of(pid), -SIGKILL);
}

/* A fork child that opens or makes something, and then waits to be killed or told. */
struct holder {
    pid_t pid;
    int ready[2], go[2];
};

static inline void tell(int fd)
{
    CHECK_EQ(write(fd, "x", 1), 1);
}

static inline void hear(int fd)
{
    char byte;

    CHECK_EQ(read(fd, &byte, 1), 1);
}

/* Run `fn(context)` in a child, which then waits to be told; afterwards it ends by exit(),
 * or by _exit() if it is to leave without notice. */
static inline struct holder hold(void (*fn)(void *context), void *context, bool by_exit)
{
    struct holder holder;

    CHECK_EQ(pipe2(holder.ready, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(holder.go, O_CLOEXEC), 0);
    fflush(NULL);
    holder.pid = fork();
    CHECK_GE(holder.pid, 0);
    if (holder.pid == 0) {
        fn(context);
        tell(holder.ready[1]);
        hear(holder.go[0]);
        if (by_exit)
            exit(0);
        _exit(0);
    }
    hear(holder.ready[0]);
    return holder;
}

static inline void close_holder(struct holder *holder)
{
    for (int i = 0; i < 2; i++) {
        close(holder->ready[i]);
        close(holder->go[i]);
    }
}

static inline void let_go(struct holder *holder)
{
    tell(holder->go[1]);
    CHECK_EQ(end_of(holder->pid), 0);
    close_holder(holder);
}

static inline void kill_holder(struct holder *holder)
{
    kill_and_reap(holder->pid);
    close_holder(holder);
}

static inline void make_it(void *name)
{
    strcpy(bytes_of(made(name, 100)), "from the dead");
}

static inline void open_it(void *name)
{
    (void)opened(name);
}

/* A name whose only user has died. */
static inline void make_orphan(const char *name)
{
    char copy[256];

    snprintf(copy, sizeof copy, "%s", name);
    struct holder holder = hold(make_it, copy, false);
    kill_holder(&holder);
    CHECK(exists(name));
}

#endif
