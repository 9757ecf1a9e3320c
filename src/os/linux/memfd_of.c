/* SPDX-License-Identifier: MIT */
/*
 * The shared memory of a process that one is no relative of, found by its name among the
 * files that the process has open or mapped.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/linux/calls.h"
#include "os/linux/linux.h"
#include "os/os.h"

/* Whether the link `entry` of the folder leads to the memfd; then it is opened. */
static int open_if_it_is(int folder, const char *entry, const char *wanted)
{
    char target[64];
    ssize_t n = readlinkat(folder, entry, target, sizeof target - 1);

    if (n < 0)
        return -errno;
    target[n] = 0;
    if (strcmp(target, wanted) != 0)
        return -ENOENT;
    n = openat(folder, entry, O_RDONLY | O_CLOEXEC);
    return n < 0 ? -errno : (int)n;
}

static int find_memfd(int pid, const char *name)
{
    char path[48], wanted[64];
    struct dirent *entry;
    int fd = -ESRCH;
    DIR *folder;

    (void)snprintf(path, sizeof path, "/proc/%d/fd", pid);
    (void)snprintf(wanted, sizeof wanted, "/memfd:%s (deleted)", name);
    folder = opendir(path);
    if (!folder)
        return errno == ENOENT ? -ESRCH : -errno;
    while (fd < 0 && (entry = readdir(folder))) {
        int r = open_if_it_is(dirfd(folder), entry->d_name, wanted);
        fd = r >= 0 ? r : fd;
    }
    (void)closedir(folder);
    return fd;
}

/* Where it is mapped: the process may have closed its descriptor. */
static int find_mapped(int pid, const char *name)
{
    char path[80], wanted[64], line[256];
    FILE *maps;
    int fd = -ESRCH;

    (void)snprintf(path, sizeof path, "/proc/%d/maps", pid);
    (void)snprintf(wanted, sizeof wanted, "/memfd:%s (deleted)\n", name);
    maps = fopen(path, "re");
    if (!maps)
        return errno == ENOENT ? -ESRCH : -errno;
    while (fd == -ESRCH && fgets(line, sizeof line, maps)) {
        const char *file = strchr(line, '/');
        if (!file || strcmp(file, wanted) != 0)
            continue;
        (void)snprintf(path, sizeof path, "/proc/%d/map_files/%.*s", pid,
                       (int)strcspn(line, " "), line);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        fd = fd < 0 ? -errno : fd;
    }
    (void)fclose(maps);
    return fd;
}

int cvy_os_map_memfd_of(int pid, const char *name, const void **ret_memory,
                        uint64_t *ret_size)
{
    struct stat status;
    void *memory;
    int error = 0, cancel = cvy_os_disable_cancel(); /* which opendir and fopen heed */
    int fd = find_memfd(pid, name);

    if (fd == -ESRCH)
        fd = find_mapped(pid, name);
    cvy_os_restore_cancel(cancel);
    fd = fd >= 0 ? cvy_fd_above_std(fd) : fd;
    if (fd < 0)
        return fd;
    if (fstat(fd, &status) < 0 || status.st_size <= 0) {
        cvy_call_close(fd);
        return -ESRCH;
    }
    memory = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED | MAP_NORESERVE,
                  fd, 0);
    if (memory == MAP_FAILED)
        error = errno;
    cvy_call_close(fd);
    if (error)
        return -error;
    *ret_memory = memory;
    *ret_size = (uint64_t)status.st_size;
    return 0;
}
