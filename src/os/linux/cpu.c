/* SPDX-License-Identifier: MIT */
/* cpu.c: on which processor a thread is. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/base.h"
#include "os/linux/linux.h"
#include "os/os.h"

#define WORD_BITS (8 * sizeof(uint64_t))
_Static_assert(sizeof(struct cvy_os_cpus) == sizeof(cpu_set_t), "as the kernel has it");

int cvy_os_cpu(void)
{
    int cpu = sched_getcpu();

    return cpu < (int)CVY_OS_CPUS ? cpu : -1;
}

void cvy_os_add_cpu(struct cvy_os_cpus *cpus, int cpu)
{
    if (cpu < 0 || cpu >= (int)CVY_OS_CPUS)
        return;
    cpus->words[(size_t)cpu / WORD_BITS] |= UINT64_C(1) << (size_t)cpu % WORD_BITS;
}

static int set_own(const struct cvy_os_cpus *cpus)
{
    return sched_setaffinity(0, sizeof(*cpus), (const cpu_set_t *)(const void *)cpus);
}

/* To all that the system allows, if those are what it had: else it would not get those that
 * are allowed later, as Linux keeps what was asked for. */
static void go_back_to(const struct cvy_os_cpus *own)
{
    struct cvy_os_cpus all, now = {{0}};

    memset(&all, 0xff, sizeof(all));
    (void)set_own(&all);
    if (sched_getaffinity(0, sizeof(now), (cpu_set_t *)(void *)&now) < 0 ||
        memcmp(&now, own, sizeof(now)) != 0)
        (void)set_own(own);
}

int cvy_os_part_from(int pid, const struct cvy_os_cpus *taken)
{
    struct cvy_os_cpus own = {{0}}, free;
    uint64_t any = 0;
    int cpu = cvy_os_cpu();

    if (sched_getaffinity(0, sizeof(own), (cpu_set_t *)(void *)&own) < 0)
        return -errno;
    for (size_t i = 0; i < CVY_ARRAY_SIZE(own.words); i++)
        any |= free.words[i] = own.words[i] & ~taken->words[i];
    if (!any)
        return -EBUSY;
    if (cpu < 0 || cvy_os_cpu_of(pid) != cpu)
        return -ESRCH;
    if (set_own(&free) < 0)
        return -errno;
    go_back_to(&own);
    return 0;
}
