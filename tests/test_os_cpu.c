/* SPDX-License-Identifier: MIT */
/* Processors: which one a thread is on, and leaving it to another process. */
#include <errno.h>
#include <string.h>

#include "cpu_help.h"

TEST(who_runs_is_on_a_processor_and_who_sleeps_is_not)
{
    cpu_set_t all = own_cpus();
    int cpu = first_of(&all);
    bind_to(cpu);
    CHECK_EQ(cvy_os_cpu(), cpu);
    CHECK_EQ(cvy_os_cpu_of(getpid()), cpu);
    pid_t busy = started(cpu, true), asleep = started(cpu, false);
    while (cvy_os_cpu_of(busy) != cpu || cvy_os_cpu_of(asleep) != -1)
        sched_yield();
    end(busy);
    end(asleep);
    CHECK_EQ(cvy_os_cpu_of(busy), -1);
}

/* One try to part from a busy process on the same processor, from which the kernel may have
 * taken this one before. Returns: whether it went. */
static bool try_to_part(pid_t busy, int cpu, const cpu_set_t *all)
{
    struct cvy_os_cpus taken = {{0}};
    cpu_set_t after;
    cvy_os_add_cpu(&taken, cpu);
    bind_to(cpu);
    CHECK_EQ(sched_setaffinity(0, sizeof *all, all), 0);
    int r = cvy_os_part_from(busy, &taken);
    int now = cvy_os_cpu();
    after = own_cpus();
    CHECK(CPU_EQUAL(&after, all));
    CHECK(r == 0 || r == -ESRCH);
    return r == 0 && now != cpu;
}

TEST(who_shares_a_processor_goes_to_a_free_one_and_is_not_bound_to_it)
{
    cpu_set_t all = own_cpus();
    struct cvy_os_cpus taken;
    int cpu = first_of(&all);
    bool parted = false;
    if (CPU_COUNT(&all) < 2)
        SKIP("one processor");
    pid_t busy = started(cpu, true);
    while (cvy_os_cpu_of(busy) != cpu)
        sched_yield();
    for (int i = 0; i < 1000 && !parted; i++)
        parted = try_to_part(busy, cpu, &all);
    CHECK(parted);
    bind_to(cpu);
    memset(&taken, 0xff, sizeof taken);
    CHECK_EQ(cvy_os_part_from(busy, &taken), -EBUSY);
    memset(&taken, 0, sizeof taken);
    end(busy);
    CHECK_EQ(cvy_os_part_from(busy, &taken), -ESRCH);
    all = own_cpus();
    CHECK_EQ(CPU_COUNT(&all), 1);
}

CHECK_MAIN()
