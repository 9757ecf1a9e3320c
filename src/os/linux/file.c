/* SPDX-License-Identifier: MIT */
/*
 * Small files of /proc and /sys, read without stdio or memory from malloc.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "os/linux/calls.h"
#include "os/linux/linux.h"
#include "os/os.h"

/* By hand: in a fresh fork child each function of libc costs a page fault. */
static char *append(char *end, const char *text)
{
    while ((*end = *text++))
        end++;
    return end;
}

void cvy_proc_path(char path[CVY_PROC_PATH_SIZE], const char *prefix, int number,
                   const char *suffix)
{
    char digits[12];
    size_t first = sizeof(digits) - 1;

    digits[first] = 0;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    path = append(path, prefix);
    path = append(path, digits + first);
    append(path, suffix);
}

static ssize_t file_read(const char *path, char *buffer, size_t size)
{
    int fd = cvy_call_open(path, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    ssize_t r = 0;

    if (fd < 0)
        return -errno;
    while (length < size - 1) {
        r = cvy_call_read(fd, buffer + length, size - 1 - length);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        length += (size_t)r;
    }
    r = r < 0 ? -errno : (ssize_t)length;
    buffer[length] = 0;
    cvy_call_close(fd);
    return r;
}

/* Called with locks held: the thread must not be cancelled here. */
ssize_t cvy_file_read(const char *path, char *buffer, size_t size)
{
    int cancel = cvy_os_disable_cancel();
    ssize_t r = file_read(path, buffer, size);

    cvy_os_restore_cancel(cancel);
    return r;
}
