/* SPDX-License-Identifier: MIT */
/*
 * The memory that is a process's own. Resident memory as such counts shared pages, and
 * RLIMIT_AS the reservation of the family's region, so neither can be limited.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/base.h"
#include "os/linux/linux.h"
#include "os/os.h"

/* The number of KiB behind `name` in /proc/PID/status; 0 if it is not there. */
static uint64_t field(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

static int status(int pid, char *text, size_t size)
{
    char path[CVY_PROC_PATH_SIZE] = "/proc/self/status";
    ssize_t r;

    if (pid)
        cvy_proc_path(path, "/proc/", pid, "/status");
    r = cvy_file_read(path, text, size);
    return r < 0 ? (int)r : 0;
}

int cvy_os_own_memory(int pid, uint64_t *ret_bytes)
{
    char text[4096];
    int r = status(pid, text, sizeof(text));

    if (r < 0)
        return r;
    *ret_bytes = field(text, "\nRssAnon:") + field(text, "\nVmSwap:");
    return 0;
}

void cvy_os_limit_growth(uint64_t bytes)
{
    char text[4096];
    struct rlimit limit;

    if (getrlimit(RLIMIT_DATA, &limit) < 0 || status(0, text, sizeof(text)) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (bytes != UINT64_MAX)
        limit.rlim_cur = cvy_min_u64(field(text, "\nVmData:") + bytes, limit.rlim_max);
    (void)setrlimit(RLIMIT_DATA, &limit);
}
