/* SPDX-License-Identifier: MIT */
/**
 * os/linux/cgroup.h: limits that control groups set for this process.
 */
#ifndef CVY_OS_LINUX_CGROUP_H
#define CVY_OS_LINUX_CGROUP_H

#include <stdint.h>

/** Where to read; tests have their own. */
struct cvy_cgroup_source {
    const char *membership; /* as /proc/self/cgroup */
    const char *mounts;     /* as /proc/self/mountinfo */
};

/** Bytes of memory this process's groups may use; UINT64_MAX: no limit. `source` NULL:
 * /proc/self. */
uint64_t cvy_cgroup_memory(const struct cvy_cgroup_source *source);

/** Processors' worth of time this process's groups may use, rounded up; UINT64_MAX: no
 * limit. */
uint64_t cvy_cgroup_cpus(const struct cvy_cgroup_source *source);

#endif
