/* SPDX-License-Identifier: MIT */
/* A process that is trapped after each of its own instructions, so that it can end itself
 * between any two of them: under every start method, by nobody's help.
 *
 * The processor's trap flag does it, and its signal tells where the stack is. */
#ifndef TESTS_STEP_SELF_H
#define TESTS_STEP_SELF_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>
#include <unistd.h>

enum step_self_verdict { STEP_SELF_ON, STEP_SELF_OFF, STEP_SELF_DIE };

/* Called after each instruction, in a signal handler; `stack` is the stack pointer. */
typedef enum step_self_verdict step_self_fn(uintptr_t stack);

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#include <x86intrin.h>

#define STEP_SELF_WORKS 1
#define STEP_SELF_FLAG  0x100

static step_self_fn *step_self_look;

static void step_self_trapped(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)number, (void)info;
    switch (step_self_look((uintptr_t)registers[REG_RSP])) {
    case STEP_SELF_DIE:
        kill(getpid(), SIGKILL);
        break;
    case STEP_SELF_OFF:
        registers[REG_EFL] &= ~(greg_t)STEP_SELF_FLAG;
        break;
    case STEP_SELF_ON:
        break;
    }
}

/* Be trapped from here on. */
static inline void step_self(step_self_fn *look)
{
    struct sigaction action = {.sa_sigaction = step_self_trapped,
                               .sa_flags = SA_SIGINFO | SA_RESTART};
    step_self_look = look;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTRAP, &action, NULL);
    __writeeflags(__readeflags() | STEP_SELF_FLAG);
}

#else
#define STEP_SELF_WORKS 0

static inline void step_self(step_self_fn *look)
{
    (void)look;
}
#endif

#endif
