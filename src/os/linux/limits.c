/* SPDX-License-Identifier: MIT */
/*
 * Processors and resource limits of a process.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/base.h"
#include "os/faults.h"
#include "os/linux/cgroup.h"
#include "os/linux/linux.h"
#include "os/os.h"

/* More than the kernel can be built for. */
enum { MOST_CPUS = 8192 };

struct cpu_bits {
    unsigned long words[MOST_CPUS / (CHAR_BIT * sizeof(unsigned long))];
};

static void add_cpu(struct cpu_bits *bits, unsigned cpu)
{
    const unsigned per_word = CHAR_BIT * sizeof(unsigned long);

    bits->words[cpu / per_word] |= 1UL << cpu % per_word;
}

/* Read a number and step over it. Returns: whether there was one below MOST_CPUS. */
static bool read_cpu(const char **text, unsigned *ret_cpu)
{
    unsigned cpu = 0;
    const char *at = *text;

    for (; *at >= '0' && *at <= '9'; at++) {
        cpu = cpu * 10 + (unsigned)(*at - '0');
        if (cpu >= MOST_CPUS)
            return false;
    }
    if (at == *text)
        return false;
    *text = at;
    *ret_cpu = cpu;
    return true;
}

static int parse_cpus(const char *list, struct cpu_bits *bits)
{
    *bits = (struct cpu_bits){{0}};
    if (!list)
        return -EINVAL;
    for (;;) {
        unsigned first, last;

        if (!read_cpu(&list, &first))
            return -EINVAL;
        last = first;
        if (*list == '-' && (list++, !read_cpu(&list, &last)))
            return -EINVAL;
        if (last < first)
            return -EINVAL;
        for (unsigned cpu = first; cpu <= last; cpu++)
            add_cpu(bits, cpu);
        if (!*list)
            return 0;
        if (*list++ != ',')
            return -EINVAL;
    }
}

int cvy_os_check_cpus(const char *list)
{
    struct cpu_bits bits;

    return parse_cpus(list, &bits);
}

int cvy_os_set_cpus(const char *list)
{
    struct cpu_bits bits;
    int r = parse_cpus(list, &bits);

    CVY_FAULT_POINT("sched_setaffinity", EINVAL);
    if (r < 0)
        return r;
    r = sched_setaffinity(0, sizeof(bits), (const cpu_set_t *)(const void *)&bits);
    cvy_multicore_forget();
    return r < 0 ? -errno : 0;
}

int cvy_os_set_limit(enum cvy_os_limit which, uint64_t value)
{
    static const enum __rlimit_resource resources[] = {
        [CVY_OS_LIMIT_CPU] = RLIMIT_CPU,     [CVY_OS_LIMIT_DATA] = RLIMIT_DATA,
        [CVY_OS_LIMIT_STACK] = RLIMIT_STACK, [CVY_OS_LIMIT_FILE] = RLIMIT_FSIZE,
        [CVY_OS_LIMIT_OPEN] = RLIMIT_NOFILE, [CVY_OS_LIMIT_CORE] = RLIMIT_CORE,
    };
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

    CVY_FAULT_POINT("setrlimit", EPERM);
    if ((size_t)which >= CVY_ARRAY_SIZE(resources))
        return -EINVAL;
    if (which == CVY_OS_LIMIT_CPU && value < RLIM_INFINITY - 1)
        limit.rlim_max = value + 1;
    return setrlimit(resources[which], &limit) < 0 ? -errno : 0;
}

int cvy_os_cpu_count(size_t *ret_count)
{
    struct cpu_bits bits = {{0}};
    size_t count = 0;

    CVY_FAULT_POINT("sched_getaffinity", EINVAL);
    if (sched_getaffinity(0, sizeof(bits), (cpu_set_t *)(void *)&bits) < 0)
        return -errno;
    for (size_t i = 0; i < CVY_ARRAY_SIZE(bits.words); i++)
        count += (size_t)__builtin_popcountl(bits.words[i]);
    count = (size_t)cvy_min_u64(count, cvy_cgroup_cpus(NULL));
    *ret_count = cvy_max_size(count, 1);
    return 0;
}

uint64_t cvy_os_memory_limit(void)
{
    struct sysinfo info;
    uint64_t ram = UINT64_MAX;

    if (sysinfo(&info) == 0)
        ram = (uint64_t)info.totalram * info.mem_unit;
    return cvy_min_u64(ram, cvy_cgroup_memory(NULL));
}
