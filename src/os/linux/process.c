/* SPDX-License-Identifier: MIT */
/*
 * Processes: fork, exit, signals, and whether one still runs.
 *
 * Ids are used again: a process is known by its id together with the time it began, as
 * /proc tells it, or a later time at which it was seen.
 */
#include <errno.h>
#include <signal.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "os/faults.h"
#include "os/linux/linux.h"
#include "os/os.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

/* In test builds only; otherwise their addresses are NULL. */
__attribute__((weak)) void __lsan_do_leak_check(void);
__attribute__((weak)) void __gcov_dump(void);

/* Another thread may have had the locks of the leak checker's allocator at a fork: in the
 * child they are held for ever. */
static bool leaks_are_unknown;

static bool has_threads(void)
{
    struct stat tasks; /* a link for each, and two */

    return stat("/proc/self/task", &tasks) < 0 || tasks.st_nlink > 3;
}

CVY_CHILD_CODE int cvy_os_fork(void)
{
    bool is_beside = __lsan_do_leak_check && has_threads();
    int pid;

    CVY_FAULT_POINT("fork", EAGAIN);
    pid = fork();
    if (pid == 0 && is_beside)
        leaks_are_unknown = true;
    return pid < 0 ? -errno : pid;
}

static _Noreturn void live_apart(int fd, void (*fn)(void *context), void *context)
{
    (void)setsid();
    (void)!chdir("/");
    if (fd >= 0)
        (void)cvy_os_dup_to(fd, 0);
    (void)cvy_os_close_from(fd >= 0 ? 1 : 0);
    fn(context);
    if (__gcov_dump)
        __gcov_dump();
    _exit(0);
}

int cvy_os_fork_apart(int fd, void (*fn)(void *context), void *context)
{
    sigset_t all, old;
    int pid;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* which the child inherits */
    pid = cvy_os_fork();
    if (pid == 0)
        live_apart(fd, fn, context);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return pid;
}

CVY_CHILD_CODE bool cvy_os_has_output(FILE *stream)
{
#ifdef __GLIBC__ /* what __fpending does for narrow streams, without touching libc's code */
    if (stream->_mode <= 0)
        return stream->_IO_write_ptr > stream->_IO_write_base;
#endif
    return __fpending(stream) != 0;
}

/* A line of the log. One fwrite, as log.c says. */
static void write_line(const char *line, size_t size)
{
    struct cvy_pipe_signal held;
    bool is_lost;

    cvy_pipe_signal_hold(&held);
    is_lost = fwrite(line, 1, size, stderr) < size && errno == EPIPE;
    cvy_pipe_signal_release(&held, is_lost);
}

__attribute__((constructor)) static void prepare_log(void)
{
    cvy_log_write_by(write_line);
}

CVY_CHILD_CODE void cvy_os_exit(int status)
{
    if (__gcov_dump)
        __gcov_dump();
    if (__lsan_do_leak_check && !leaks_are_unknown)
        __lsan_do_leak_check();
    _exit(status);
}

CVY_CHILD_CODE void cvy_os_die(void)
{
    (void)kill(getpid(), SIGKILL);
    cvy_os_exit(1); /* the first process of a pid namespace cannot kill itself */
}

int cvy_os_pidfd_open(int pid)
{
    int fd;

    CVY_FAULT_POINT("pidfd_open", EMFILE);
    fd = cvy_fd_above_std((int)syscall(SYS_pidfd_open, pid, 0));
    return fd < 0 ? -errno : fd;
}

int cvy_os_kill(int pid, int pidfd, int signal)
{
    if (pidfd >= 0) {
        if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0)
            return 0;
        /* EPERM: perhaps a filter's; EBADF: the program closed it. */
        if (errno != ENOSYS && errno != EPERM && errno != EBADF)
            return -errno;
    }
    if (pid <= 0) /* would mean a group, or everybody */
        return -ESRCH;
    return kill(pid, signal) < 0 ? -errno : 0;
}

/* Why /proc shows no such process: it is gone, or hidden, or /proc is not there. */
static int explain_missing(int pid)
{
    return kill(pid, 0) < 0 && errno == ESRCH ? -ESRCH : -ENOENT;
}

/* The start of field `number` of a stat line, counted from 3 after the last ')', since
 * the program's name before it may hold anything; NULL if there are not so many. */
static const char *find_field(const char *line, int number)
{
    const char *at = strrchr(line, ')');

    for (int i = 2; at && i < number; i++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return at;
}

int cvy_os_start_time(int pid, uint64_t *ret_ticks)
{
    char path[CVY_PROC_PATH_SIZE], line[1024];
    const char *state, *threads, *start;
    ssize_t r;

    if (pid <= 0)
        return -ESRCH;
    cvy_proc_path(path, "/proc/", pid, "/stat");
    r = cvy_file_read(path, line, sizeof(line));
    if (r == -ENOENT)
        return explain_missing(pid);
    if (r < 0)
        return (int)r;
    state = find_field(line, 3);
    threads = find_field(line, 20);
    start = find_field(line, 22);
    if (!state || !threads || !start)
        return -ENOENT;
    /* A main thread that has ended by itself looks like a zombie while others run. */
    if (*state == 'X' || (*state == 'Z' && strtol(threads, NULL, 10) <= 1))
        return -ESRCH;
    *ret_ticks = strtoull(start, NULL, 10);
    return 0;
}

bool cvy_os_is_running(int pid, uint64_t ticks)
{
    uint64_t found;
    int r = cvy_os_start_time(pid, &found);

    if (r == -ESRCH)
        return false;
    return r < 0 || !ticks || found <= ticks;
}

int cvy_os_cpu_of(int pid)
{
    char path[CVY_PROC_PATH_SIZE], line[1024];
    const char *state, *cpu;

    cvy_proc_path(path, "/proc/", pid, "/stat");
    if (cvy_file_read(path, line, sizeof(line)) < 0)
        return -1;
    state = find_field(line, 3);
    cpu = find_field(line, 39);
    return state && cpu && *state == 'R' ? (int)strtol(cpu, NULL, 10) : -1;
}

int cvy_os_new_group(void)
{
    return setpgid(0, 0) < 0 ? -errno : 0;
}

bool cvy_os_is_secure(void)
{
    return getauxval(AT_SECURE) != 0;
}

bool cvy_os_makes_secure(void)
{
    return getuid() != geteuid() || getgid() != getegid();
}

int cvy_os_thread_count(void)
{
    char line[1024];
    const char *threads = NULL;

    if (cvy_file_read("/proc/self/stat", line, sizeof(line)) > 0)
        threads = find_field(line, 20);
    return threads ? (int)strtol(threads, NULL, 10) : 1;
}
