/* SPDX-License-Identifier: MIT */
/**
 * scenario.h: your own program before `./run crash --program`.
 *
 * Copy this file; it needs nothing else. A process of the program, the victim, calls
 * crash_begin, does what is to be tried, and calls crash_end. The program runs once for each
 * instruction in between, after which the victim is killed by SIGKILL; all others go on at
 * full speed. Whether they were harmed the program says itself: it exits with 0 when all is
 * as it has to be, and in time. `tests/crash/scenario_lock.c` is one.
 *
 * Without `./run crash` both calls do nothing. In a run the first process that begins is the
 * victim, and only its thread that begins goes step by step. Both are to be called from the
 * same file.
 */
#ifndef CRASH_SCENARIO_H
#define CRASH_SCENARIO_H

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int crash_is_victim;

/* Returns: a connection to the tracer, which takes the first only; -1 without one. */
static inline int crash_connect(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX}; /* abstract: a 0 first */
    size_t size = strlen(name);
    if (size > sizeof address.sun_path - 1)
        return -1;
    memcpy(address.sun_path + 1, name, size);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, length) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/** From here on this thread runs instruction by instruction, and may die of any. */
static inline void crash_begin(void)
{
    const char *name = getenv("COVEY_CRASH");
    int fd = name ? crash_connect(name) : -1;
    int thread = (int)syscall(SYS_gettid);
    char go;
    if (fd < 0)
        return;
    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    crash_is_victim =
        write(fd, &thread, sizeof thread) == sizeof thread && read(fd, &go, 1) == 1;
    close(fd);
}

/** It is over, and was survived. */
static inline void crash_end(void)
{
    if (crash_is_victim)
        raise(SIGSTOP); /* which the tracer keeps to itself */
    crash_is_victim = 0;
}

#endif
