/* SPDX-License-Identifier: MIT */
/*
 * Starting another program image without a copy of this process's memory, so that a failed
 * exec is an error of the call.
 *
 * The child runs in this memory while the calling thread stands still, until it is another
 * program. No handler of a signal may run in it: the kernel takes them away as it makes
 * the child (CLONE_CLEAR_SIGHAND, Linux 5.5), where libc asks for 64 signals one by one.
 * Without that there is posix_spawn, and where a filter forbids the system call that libc
 * makes for it (clone3, without falling back as if it did not exist), fork.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/base.h"
#include "os/faults.h"
#include "os/linux/calls.h"
#include "os/linux/raw.h"
#include "os/os.h"

enum { CHILD_FD = 3, REPORT_FD = 4 };

/* ---- in this memory ---- */

enum { STACK_SIZE = 4096 }; /* of a child that only makes system calls */

#define CLONE_SHARED_MEMORY  UINT64_C(0x100)
#define CLONE_UNTIL_EXEC     UINT64_C(0x4000)
#define CLONE_CLEAR_HANDLERS UINT64_C(0x100000000)

/* Linux 5.3's struct clone_args; older headers do not have it. */
struct clone_request {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

/* What is to be run, and what became of it. */
struct image {
    const char *path;
    char *const *argv;
    char *const *env;
    int fd;
    uint64_t mask;  /* the caller's blocked signals */
    bool has_tried; /* to execute the program, which failed with `error` */
    long error;
};

/* In the child, which shares all with the caller but descriptors and signals. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static void
become_image(void *context)
{
    struct image *image = context;
    long r = image->fd == CHILD_FD ? cvy_raw_call(SYS_fcntl, CHILD_FD, F_SETFD, 0)
                                   : cvy_raw_call(SYS_dup3, image->fd, CHILD_FD, 0);

    if (r >= 0)
        r = cvy_raw_call(SYS_close_range, CHILD_FD + 1, (long)~0U, 0);
    if (r >= 0)
        r = cvy_raw_call5(SYS_rt_sigprocmask, SIG_SETMASK, (long)&image->mask, 0,
                          sizeof(image->mask), 0);
    if (r >= 0) {
        image->has_tried = true;
        r = cvy_raw_call(SYS_execve, (long)image->path, (long)image->argv,
                         (long)image->env);
    }
    image->error = r;
    for (;;)
        (void)cvy_raw_call(SYS_exit_group, 127, 0, 0);
}

/* Returns: the child's id; -errno of the program's execution; -ENOSYS: not in this way. */
static int spawn_in_memory(const char *path, char *const argv[], int fd)
{
    _Alignas(16) char stack[STACK_SIZE];
    struct image image = {.path = path, .argv = argv, .env = environ, .fd = fd};
    struct clone_request request = {
        .flags = CLONE_SHARED_MEMORY | CLONE_UNTIL_EXEC | CLONE_CLEAR_HANDLERS,
        .exit_signal = SIGCHLD,
        .stack = (uintptr_t)stack,
        .stack_size = sizeof(stack),
    };
    const uint64_t all = UINT64_MAX;
    struct cvy_os_exit ended;
    long pid;

    /* Without libc, which leaves out the signals of its own, for instance that of
     * pthread_cancel. */
    (void)cvy_raw_call5(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&image.mask,
                        sizeof(all), 0);
    pid = cvy_raw_clone_call(&request, sizeof(request), become_image, &image);
    (void)cvy_raw_call5(SYS_rt_sigprocmask, SIG_SETMASK, (long)&image.mask, 0,
                        sizeof(image.mask), 0);
    if (pid < 0)
        return pid == -EAGAIN || pid == -ENOMEM ? (int)pid : -ENOSYS;
    if (!image.error)
        return (int)pid;
    (void)cvy_os_wait_child((int)pid, -1, INT64_MAX, &ended);
    return image.has_tried ? (int)image.error : -ENOSYS;
}

/* ---- by libc ---- */

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

static int spawn_by_libc(const char *path, char *const argv[], int fd)
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

static int spawn(const char *path, char *const argv[], int fd)
{
    int r = spawn_in_memory(path, argv, fd);

    return r == -ENOSYS ? spawn_by_libc(path, argv, fd) : r;
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
