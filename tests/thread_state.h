/* SPDX-License-Identifier: MIT */
/* What a thread or process does, as /proc has it. */
#ifndef TESTS_THREAD_STATE_H
#define TESTS_THREAD_STATE_H

#include <sched.h>
#include <stdio.h>

#include "check.h"

/* S is asleep, T stopped, Z a zombie; X: there is none. */
static inline int state_of_thread(int tid)
{
    char path[64], line[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", tid);
    FILE *file = fopen(path, "re");
    if (file && !fgets(line, sizeof line, file))
        line[0] = '\0';
    if (file)
        fclose(file);
    const char *end = strrchr(line, ')');
    return end && end[1] ? end[2] : 'X';
}

static inline void await_state(int tid, int wanted)
{
    for (int state = 0; state != wanted; sched_yield()) {
        state = state_of_thread(tid);
        CHECK_NE(state, 'X');
    }
}

/* Until the thread sleeps in the kernel. */
static inline void await_sleep(int tid)
{
    await_state(tid, 'S');
}

#endif
