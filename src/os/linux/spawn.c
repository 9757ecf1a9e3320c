/* SPDX-License-Identifier: MIT */
/*
 * Starting another program image, by posix_spawn: no copy of this process's memory, and
 * a failed exec is an error of the call.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "os/faults.h"
#include "os/os.h"

enum { CHILD_FD = 3 };

/* This program. Its link in /proc holds also when the file was replaced; without /proc
 * there is the name it was started by. */
static const char *own_path(void)
{
    const char *path = "/proc/self/exe";
    unsigned long given;

    if (access(path, F_OK) == 0)
        return path;
    given = getauxval(AT_EXECFN);
    return given ? (const char *)given : path;
}

/* dup2 onto itself is not lost: posix_spawn clears close-on-exec then. */
static int add_actions(posix_spawn_file_actions_t *actions, int fd)
{
    int error = posix_spawn_file_actions_adddup2(actions, fd, CHILD_FD);

    return error ? error
                 : posix_spawn_file_actions_addclosefrom_np(actions, CHILD_FD + 1);
}

int cvy_os_spawn(const char *path, char *const argv[], int fd)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int error;

    CVY_FAULT_POINT("posix_spawn", EAGAIN);
    error = posix_spawn_file_actions_init(&actions);
    if (error)
        return -error;
    error = add_actions(&actions, fd);
    if (!error)
        error =
            posix_spawn(&pid, path ? path : own_path(), &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error ? -error : pid;
}
