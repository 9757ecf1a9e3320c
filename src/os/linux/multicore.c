/* SPDX-License-Identifier: MIT */
/* multicore.c: whether spinning can pay. Asked before each spin, so the answer is kept;
 * it is asked anew when covey changes the affinity, and in a new program. */
#include <sched.h>

#include "os/linux/linux.h"
#include "os/os.h"

enum { UNKNOWN = 0, ONE, SEVERAL };
static _Atomic int cores;

void cvy_multicore_forget(void)
{
    atomic_store(&cores, UNKNOWN);
}

/* Out of line: each look of a spin comes by here, and a sanitizer clears room for the set. */
static __attribute__((noinline)) int count(void)
{
    cpu_set_t set;
    int known = SEVERAL; /* also when there are more processors than the set holds */
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1)
        known = ONE;
    atomic_store(&cores, known);
    return known;
}

bool cvy_os_is_multicore(void)
{
    int known = atomic_load_explicit(&cores, memory_order_relaxed);
    return (known == UNKNOWN ? count() : known) == SEVERAL;
}
