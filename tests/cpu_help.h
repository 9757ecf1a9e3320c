/* SPDX-License-Identifier: MIT */
/* Processors, and children that keep one busy. */
#ifndef TESTS_CPU_HELP_H
#define TESTS_CPU_HELP_H

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "os/os.h"

static inline cpu_set_t own_cpus(void)
{
    cpu_set_t set;
    CHECK_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    return set;
}

static inline void bind_to(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    CHECK_EQ(sched_setaffinity(0, sizeof set, &set), 0);
}

static inline pid_t started(int cpu, bool is_busy)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    bind_to(cpu);
    while (is_busy)
        continue;
    for (;;)
        pause();
}

static inline void end(pid_t pid)
{
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static inline int first_of(const cpu_set_t *set)
{
    int cpu = 0;
    while (!CPU_ISSET((size_t)cpu, set))
        cpu++;
    return cpu;
}

#endif
