/* SPDX-License-Identifier: MIT */
/*
 * Fault points: a counter that each call adds 1 to, and the number that fails. With
 * several threads each number is given once, so exactly one call fails.
 */
#include "os/faults.h"

#ifdef CVY_FAULTS

#include <stdatomic.h>
#include <stdlib.h>

static atomic_long seen;
static atomic_long failing; /* 0: disarmed */
static atomic_int failing_error;
static _Atomic(const char *) failed_call;

void cvy_faults_arm(long nth, int error)
{
    atomic_store(&failing, 0);
    atomic_store(&failed_call, NULL);
    atomic_store(&failing_error, error);
    atomic_store(&seen, 0);
    atomic_store(&failing, nth);
}

long cvy_faults_count(void)
{
    return atomic_load(&seen);
}

const char *cvy_faults_last(void)
{
    return atomic_load(&failed_call);
}

bool cvy_faults_hit(const char *call, int *error)
{
    long number = atomic_fetch_add(&seen, 1) + 1;
    int chosen = atomic_load(&failing_error);

    if (number != atomic_load(&failing))
        return false;
    atomic_store(&failed_call, call);
    if (chosen)
        *error = chosen;
    return true;
}

__attribute__((constructor)) static void read_environment(void)
{
    const char *text = getenv("COVEY_FAULT");
    char *end;
    long nth, error = 0;

    if (!text)
        return;
    nth = strtol(text, &end, 10);
    if (*end == ':')
        error = strtol(end + 1, NULL, 10);
    cvy_faults_arm(nth, (int)error);
}

#else

/* C wants a file to declare something. */
typedef int cvy_faults_are_off;

#endif
