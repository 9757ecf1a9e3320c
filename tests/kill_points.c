/* SPDX-License-Identifier: MIT */
/* kill_points.c: see kill_points.h. */
#include "kill_points.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* How far the victim is; shared with it. */
struct progress {
    atomic_int begun, done;
};

static void pin_to_one_processor(cpu_set_t *before)
{
    cpu_set_t one;
    CHECK_EQ(sched_getaffinity(0, sizeof *before, before), 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
        if (CPU_ISSET(cpu, before))
            CPU_SET(cpu, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
}

_Noreturn static void be_victim(const struct kill_points *points,
                                struct progress *progress)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(1);
    if (points->prepare)
        points->prepare(points->context);
    raise(SIGSTOP);
    atomic_store(&progress->begun, 1);
    points->operate(points->context);
    atomic_store(&progress->done, 1);
    for (;;)
        pause();
}

/* One instruction further; the victim must stop again. */
static void step(const struct kill_points *points, int pid)
{
    int status = 0;
    if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 ||
        waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) ||
        WSTOPSIG(status) != SIGTRAP)
        check_failed(__FILE__, __LINE__, "%s: a step ended with status %#x",
                     points->name, (unsigned)status);
}

static int start_victim(const struct kill_points *points, struct progress *progress)
{
    int status = 0;
    atomic_store(&progress->begun, 0);
    atomic_store(&progress->done, 0);
    fflush(NULL);
    int pid = fork();
    CHECK_GE(pid, 0);
    if (pid == 0)
        be_victim(points, progress);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP)
        check_failed(__FILE__, __LINE__, "%s: the victim did not come up: status %#x",
                     points->name, (unsigned)status);
    CHECK_EQ(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL), 0);
    while (!atomic_load(&progress->begun))
        step(points, pid);
    return pid;
}

/* Where the victim is, for addr2line. */
static void describe_place(int pid, char *text, size_t size)
{
    unsigned long at = 0;
#if defined(__x86_64__)
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) == 0)
        at = regs.rip;
#else
    (void)pid;
#endif
    Dl_info info;
    char *address = (char *)(uintptr_t)at;
    if (at && dladdr(address, &info) && info.dli_fname)
        snprintf(text, size, "%s+%#lx", info.dli_fname,
                 (unsigned long)(address - (char *)info.dli_fbase));
    else
        snprintf(text, size, "%#lx", at);
}

static void kill_victim(int pid)
{
    int status = 0;
    CHECK_EQ(kill(pid, SIGKILL), 0);
    do
        CHECK_EQ(waitpid(pid, &status, 0), pid);
    while (!WIFSIGNALED(status) && !WIFEXITED(status));
    CHECK(WIFSIGNALED(status));
}

/* Kill after `limit` instructions or at the end. Returns: how many were run. */
static long run_one(const struct kill_points *points, struct progress *progress,
                    long limit)
{
    char place[256] = "";
    if (points->before)
        points->before(points->context);
    int pid = start_victim(points, progress);
    long n = 0;
    while (n < limit && !atomic_load(&progress->done)) {
        step(points, pid);
        n++;
    }
    describe_place(pid, place, sizeof place);
    kill_victim(pid);
    const char *wrong = points->after(points->context);
    if (wrong)
        check_failed(__FILE__, __LINE__,
                     "%s: killed after instruction %ld, before %s: %s", points->name, n,
                     place, wrong);
    return n;
}

int kill_points_work(void)
{
    int status = 0, pid = fork();
    if (pid == 0)
        _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

long kill_points_run(const struct kill_points *points, long most)
{
    cpu_set_t before;
#ifdef __SANITIZE_THREAD__ /* which makes ten steps of each */
    SKIP("stepping through ThreadSanitizer takes an hour");
#endif
    pin_to_one_processor(&before);
    struct progress *progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(progress != MAP_FAILED);
    long count = run_one(points, progress, 100000000), tried = 1;
    long stride = most > 0 && count > most ? count / most : 1;
    for (long n = 0; n < count; n += stride, tried++)
        run_one(points, progress, n);
    fprintf(stderr, "%s: %ld of %ld points\n", points->name, tried, count + 1);
    munmap(progress, sizeof *progress);
    CHECK_EQ(sched_setaffinity(0, sizeof before, &before), 0);
    return count;
}
