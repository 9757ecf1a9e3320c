/* SPDX-License-Identifier: MIT */
/*
 * Starting another program image, by posix_spawn: no copy of this process's memory, and
 * a failed exec is an error of the call. Where a filter forbids the system call that
 * libc makes for it (clone3, without falling back as if it did not exist), by fork.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "os/faults.h"
#include "os/linux/calls.h"
#include "os/os.h"

enum { CHILD_FD = 3, REPORT_FD = 4 };

/* dup2 onto itself is not lost: posix_spawn clears close-on-exec then. */
static int add_actions(posix_spawn_file_actions_t *actions, int fd)
{
    int error = posix_spawn_file_actions_adddup2(actions, fd, CHILD_FD);

    return error ? error
                 : posix_spawn_file_actions_addclosefrom_np(actions, CHILD_FD + 1);
}

/* In the fork: the descriptors, the program, or else the errno to `report`. */
static _Noreturn void exec_in_fork(const char *path, char *const argv[], int fd,
                                   int report)
{
    int error;

    fd = fcntl(fd, F_DUPFD_CLOEXEC, REPORT_FD + 1);
    report = fcntl(report, F_DUPFD_CLOEXEC, REPORT_FD + 1);
    if (dup2(fd, CHILD_FD) == CHILD_FD &&
        dup3(report, REPORT_FD, O_CLOEXEC) == REPORT_FD &&
        cvy_os_close_from(REPORT_FD + 1) == 0) {
        execve(path, argv, environ);
        report = REPORT_FD;
    }
    error = errno;
    (void)!cvy_call_write(report, &error, sizeof(error));
    _exit(127);
}

static int spawn_by_fork(const char *path, char *const argv[], int fd)
{
    int ends[2], error = 0, r = cvy_os_pipe(ends);
    pid_t pid;

    if (r < 0)
        return r;
    pid = fork();
    if (pid == 0)
        exec_in_fork(path, argv, fd, ends[1]);
    r = pid < 0 ? -errno : pid;
    cvy_os_close(ends[1]);
    if (pid > 0 && cvy_os_read(ends[0], &error, sizeof(error)) == sizeof(error)) {
        struct cvy_os_exit ended;

        (void)cvy_os_wait_child(pid, -1, INT64_MAX, &ended);
        r = -error;
    }
    cvy_os_close(ends[0]);
    return r;
}

static int spawn(const char *path, char *const argv[], int fd)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int error;

    error = posix_spawn_file_actions_init(&actions);
    if (error)
        return -error;
    error = add_actions(&actions, fd);
    if (!error)
        error = posix_spawn(&pid, path, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error == EPERM)
        return spawn_by_fork(path, argv, fd);
    return error ? -error : pid;
}

/* This program's link in /proc holds also when the file was replaced; without /proc there
 * is the name it was started by. */
int cvy_os_spawn(const char *path, char *const argv[], int fd)
{
    unsigned long given;
    int r;

    CVY_FAULT_POINT("posix_spawn", EAGAIN);
    r = spawn(path ? path : "/proc/self/exe", argv, fd);
    if (r != -ENOENT || path)
        return r;
    given = getauxval(AT_EXECFN);
    return given ? spawn((const char *)given, argv, fd) : r;
}
