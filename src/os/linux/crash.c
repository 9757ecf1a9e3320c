/* SPDX-License-Identifier: MIT */
/*
 * Crashes: telling of them before the process ends by the signal it got.
 *
 * The handler is taken away by the kernel as it is called (SA_RESETHAND), so the signal
 * comes again when it returns, or when a timer sends it because the frames could not be
 * read: unwinding may need the loader's lock or the heap, which the crash may have hit.
 */
#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "os/os.h"

enum { STACK_SIZE = 65536, FRAMES = 48 };

/* A set in a constant: a table would be one more page that a child touches. */
#define CRASH_SIGNALS                                                                  \
    (1u << SIGSEGV | 1u << SIGBUS | 1u << SIGFPE | 1u << SIGILL | 1u << SIGABRT |      \
     1u << SIGSYS)

static void *stack;
static void (*report)(int signal, void *context);

void cvy_os_ignore_interrupt(void)
{
    signal(SIGINT, SIG_IGN);
}

static void handle(int signal, siginfo_t *info, void *context)
{
    (void)info;
    if (report)
        report(signal, context);
    raise(signal);
}

/* Threads that come here at once may waste one mapping. */
CVY_CHILD_CODE void cvy_os_crash_prepare(void (*fn)(int signal, void *context))
{
    void *memory;

    if (report != fn) /* writing would copy a page, after each fork */
        report = fn;
    if (__atomic_load_n(&stack, __ATOMIC_ACQUIRE))
        return;
    memory = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                  -1, 0);
    if (memory != MAP_FAILED)
        __atomic_store_n(&stack, memory, __ATOMIC_RELEASE);
}

CVY_CHILD_CODE void cvy_os_on_crash(void)
{
    struct sigaction action, old;
    stack_t alternate = {.ss_size = STACK_SIZE};

    alternate.ss_sp = stack;
    if (!stack || sigaltstack(&alternate, NULL) < 0)
        return;
    memset(&action, 0, sizeof(action));
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND | SA_NODEFER;
    for (int signal = 1; signal < 32; signal++) {
        if (CRASH_SIGNALS >> signal & 1 && sigaction(signal, &action, &old) == 0 &&
            old.sa_handler != SIG_DFL)
            sigaction(signal, &old, NULL);
    }
}

void cvy_os_off_crash(void)
{
    struct sigaction is, standard = {.sa_handler = SIG_DFL};

    for (int signal = 1; signal < 32; signal++) {
        if (CRASH_SIGNALS >> signal & 1 && sigaction(signal, NULL, &is) == 0 &&
            is.sa_flags & SA_SIGINFO && is.sa_sigaction == handle)
            sigaction(signal, &standard, NULL);
    }
}

/* libc's timer_create allocates; the system call does not. */
static void end_in_a_second(int signal)
{
    struct sigevent event;
    struct itimerspec second = {.it_value.tv_sec = 1};
    int timer = 0;

    memset(&event, 0, sizeof(event));
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = signal;
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0)
        (void)syscall(SYS_timer_settime, timer, 0, &second, NULL);
}

static size_t write_frame(int number, void *address, char *text, size_t size)
{
    Dl_info where;
    int n;

    if (!dladdr(address, &where) || !where.dli_fname)
        n = snprintf(text, size, "#%d %p\n", number, address);
    else if (where.dli_sname)
        n = snprintf(text, size, "#%d %p %s+0x%tx (%s)\n", number, address,
                     where.dli_sname, (char *)address - (char *)where.dli_saddr,
                     where.dli_fname);
    else
        n = snprintf(text, size, "#%d %p (%s+0x%tx)\n", number, address,
                     where.dli_fname, (char *)address - (char *)where.dli_fbase);
    return n < 0 ? 0 : cvy_min_size((size_t)n, size);
}

size_t cvy_os_backtrace(int signal, char *text, size_t size)
{
    void *frames[FRAMES];
    size_t used = 0;
    int count;

    end_in_a_second(signal);
    count = backtrace(frames, FRAMES);
    for (int i = 0; i < count && used < size; i++)
        used += write_frame(i, frames[i], text + used, size - used);
    return used;
}
