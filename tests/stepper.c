/* SPDX-License-Identifier: MIT */
/* stepper.c: see stepper.h. */
#include "stepper.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

bool stepper_works(void)
{
    int status = 0, pid = fork();
    if (pid == 0)
        _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

int stepper_pin(void *before, size_t size)
{
    cpu_set_t all, one;
    int here = sched_getcpu();
    if (here < 0 || sched_getaffinity(0, sizeof all, &all) < 0 || size != sizeof all)
        return -1;
    memcpy(before, &all, sizeof all);
    CPU_ZERO(&one);
    CPU_SET((size_t)here, &one);
    return sched_setaffinity(0, sizeof one, &one);
}

/* ---- the victim's life -------------------------------------------------------- */

void stepper_begin(struct stepper_progress *progress)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(1);
    raise(SIGSTOP);
    atomic_store(&progress->begun, 1);
}

_Noreturn static void be_victim(const struct stepper *s)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (s->prepare)
        s->prepare(s->context);
    stepper_begin(s->progress);
    s->operate(s->context);
    atomic_store(&s->progress->done, 1);
    for (;;)
        pause();
}

int stepper_start(struct stepper *s)
{
    if (!s->find) { /* else it may have begun */
        atomic_store(&s->progress->begun, 0);
        atomic_store(&s->progress->done, 0);
    }
    s->asleep = false;
    fflush(NULL);
    s->pid = s->find ? s->find(s->context) : fork();
    if (s->pid == 0)
        be_victim(s);
    if (s->pid < 0 || waitpid(s->pid, &s->status, 0) != s->pid ||
        !WIFSTOPPED(s->status) || WSTOPSIG(s->status) != SIGSTOP ||
        ptrace(PTRACE_SETOPTIONS, s->pid, NULL, PTRACE_O_EXITKILL) < 0)
        return -1;
    while (!atomic_load(&s->progress->begun))
        if (stepper_step(s, INT64_MAX) != STEPPER_STEPPED)
            return -1;
    return 0;
}

int stepper_kill(struct stepper *s)
{
    s->status = 0;
    if (s->pid <= 0 || kill(s->pid, SIGKILL) < 0)
        return -1;
    if (s->find)
        return 0;
    do
        if (waitpid(s->pid, &s->status, 0) != s->pid)
            return -1;
    while (!WIFSIGNALED(s->status) && !WIFEXITED(s->status));
    s->pid = 0;
    return WIFSIGNALED(s->status) ? 0 : -1;
}

void stepper_stop(struct stepper *s)
{
    if (s->asleep) { /* it is in a system call, where it can only be asked to stop */
        kill(s->pid, SIGSTOP);
        if (waitpid(s->pid, &s->status, 0) != s->pid)
            return;
    }
    ptrace(PTRACE_DETACH, s->pid, NULL, SIGSTOP);
    while (stepper_state_of(s->pid) != 'T' && stepper_state_of(s->pid) != 'Z')
        sched_yield();
}

/* ---- steps -------------------------------------------------------------------- */

unsigned long stepper_place(const struct stepper *s)
{
#if defined(__x86_64__)
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, s->pid, NULL, &regs) == 0)
        return regs.rip;
#else
    (void)s;
#endif
    return 0;
}

#if defined(__x86_64__)
static bool is_call(const struct stepper *s, unsigned long at)
{
    static const unsigned char syscall_insn[2] = {0x0f, 0x05};
    if (!s->any_call) /* the victim is a fork, and its code is the tracer's */
        return memcmp((const void *)(uintptr_t)at, syscall_insn, 2) == 0;
    long code = ptrace(PTRACE_PEEKTEXT, s->pid, at, NULL);
    return memcmp(&code, syscall_insn, 2) == 0;
}
#endif

/* Whether the next instruction is a system call that may sleep. */
static bool may_sleep(struct stepper *s)
{
    s->called = false;
#if defined(__x86_64__)
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, s->pid, NULL, &regs) < 0)
        return false;
    s->place = regs.rip;
    if (!is_call(s, regs.rip))
        return false;
    s->called = true;
    int operation = (int)regs.rsi & FUTEX_CMD_MASK;
    return s->any_call || regs.rax == SYS_futex_waitv ||
           (regs.rax == SYS_futex &&
            (operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET));
#else
    (void)s;
    return true;
#endif
}

bool stepper_is_exiting(const struct stepper *s)
{
#if defined(__x86_64__)
    struct user_regs_struct regs;
    return ptrace(PTRACE_GETREGS, s->pid, NULL, &regs) == 0 && is_call(s, regs.rip) &&
           regs.rax == SYS_exit_group;
#else
    (void)s;
    return false;
#endif
}

char stepper_state_of(int pid)
{
    char path[32], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    line[n] = '\0';
    const char *after_name = strrchr(line, ')');
    if (!after_name || !after_name[1])
        return '\0';
    return after_name[2];
}

/* Wait for the end of a step that may sleep. */
static int wait_or_see_asleep(struct stepper *s, int64_t deadline)
{
    for (;;) {
        int r = waitpid(s->pid, &s->status, WNOHANG);
        if (r != 0)
            return r;
        if (!s->asleep && stepper_state_of(s->pid) == 'S')
            return 0;
        if (s->asleep && cvy_os_now() >= deadline)
            return 0;
        if (s->asleep)
            usleep(20);
        else
            sched_yield();
    }
}

enum stepper_event stepper_step(struct stepper *s, int64_t deadline)
{
    bool sleepy = s->asleep || may_sleep(s);
    if (!s->asleep && ptrace(PTRACE_SINGLESTEP, s->pid, NULL, (long)s->signal) < 0)
        return STEPPER_LOST;
    s->signal = 0;
    int r = sleepy ? wait_or_see_asleep(s, deadline) : waitpid(s->pid, &s->status, 0);
    if (r == 0) {
        s->asleep = true;
        return STEPPER_ASLEEP;
    }
    s->asleep = false;
    return r == s->pid && WIFSTOPPED(s->status) && WSTOPSIG(s->status) == SIGTRAP
               ? STEPPER_STEPPED
               : STEPPER_LOST;
}

#if defined(__x86_64__)
/* Wait until it stops; it may sleep before that. Returns: as waitpid. */
static int await_stop(struct stepper *s, int64_t deadline)
{
    for (unsigned looks = 1;; looks++) {
        int r = waitpid(s->pid, &s->status, WNOHANG);
        if (r != 0)
            return r;
        if (looks % 16 == 0 &&
            (stepper_state_of(s->pid) == 'S' || cvy_os_now() >= deadline))
            return 0;
        sched_yield();
    }
}

/* Take the breakpoint at its last byte away again. */
static bool leave_breakpoint(const struct stepper *s, unsigned long place, long code)
{
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, s->pid, NULL, &regs) < 0 || regs.rip != place + 1)
        return false;
    regs.rip = place;
    return ptrace(PTRACE_SETREGS, s->pid, NULL, &regs) == 0 &&
           ptrace(PTRACE_POKETEXT, s->pid, place, code) == 0;
}
#endif

enum stepper_event stepper_run_to(struct stepper *s, unsigned long place,
                                  int64_t deadline)
{
#if defined(__x86_64__)
    errno = 0;
    long code = ptrace(PTRACE_PEEKTEXT, s->pid, place, NULL);
    if (errno || ptrace(PTRACE_POKETEXT, s->pid, place, (code & ~0xffL) | 0xcc) < 0 ||
        ptrace(PTRACE_CONT, s->pid, NULL, (long)s->signal) < 0)
        return STEPPER_LOST;
    s->signal = 0;
    int r = await_stop(s, deadline);
    if (r == 0) {
        s->asleep = true;
        return STEPPER_ASLEEP;
    }
    return r == s->pid && WIFSTOPPED(s->status) && WSTOPSIG(s->status) == SIGTRAP &&
                   leave_breakpoint(s, place, code)
               ? STEPPER_STEPPED
               : STEPPER_LOST;
#else
    (void)s;
    (void)place;
    (void)deadline;
    return STEPPER_LOST;
#endif
}

void stepper_describe(const struct stepper *s, char *text, size_t size)
{
    unsigned long at = stepper_place(s);
    char *address = (char *)(uintptr_t)at;
    Dl_info info;
    if (at && dladdr(address, &info) && info.dli_fname)
        snprintf(text, size, "%s+%#lx", info.dli_fname,
                 (unsigned long)(address - (char *)info.dli_fbase));
    else
        snprintf(text, size, "%#lx", at);
}

/* ---- what its death tells ------------------------------------------------------- */

unsigned long stepper_robust_head(const struct stepper *s)
{
    struct robust_list_head *head = NULL;
    size_t size = 0;
    return syscall(SYS_get_robust_list, s->pid, &head, &size) < 0 ? 0
                                                                  : (unsigned long)head;
}

unsigned long stepper_pending(const struct stepper *s, unsigned long head)
{
    long at = (long)(head + offsetof(struct robust_list_head, list_op_pending));
    return head ? (unsigned long)ptrace(PTRACE_PEEKDATA, s->pid, at, NULL) : 0;
}

void stepper_smash(const struct stepper *s, unsigned long head)
{
    long pending = (long)(head + offsetof(struct robust_list_head, list_op_pending));
    if (!head)
        return;
    ptrace(PTRACE_POKEDATA, s->pid, head, 8L);
    ptrace(PTRACE_POKEDATA, s->pid, pending, 0L);
}
