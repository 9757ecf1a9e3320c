/* SPDX-License-Identifier: MIT */
/* Processes that run one instruction at a time under ptrace, to be killed between two.
 *
 * The tracer and its victims should share one processor, which makes a step four times as
 * fast. Nothing here fails a test: results say what happened. */
#ifndef TESTS_STEPPER_H
#define TESTS_STEPPER_H

#include <stdbool.h>
#include <stddef.h>

#include "os/os.h"

/* How far a victim is; lies in memory shared with it. */
struct stepper_progress {
    cvy_word begun, done;
};

struct stepper {
    const char *name;
    void (*prepare)(void *context); /* in the victim, at full speed; may be NULL */
    void (*operate)(void *context); /* in the victim, step by step */
    void *context;
    /* Instead of those: the id of a process that this thread forked, which calls
     * stepper_begin and is reaped by somebody else; else NULL. */
    int (*find)(void *context);
    struct stepper_progress *progress;
    int pid;
    bool any_call; /* all its system calls may sleep, not only waits for futexes; and it
                      may run another image than the tracer */
    bool asleep;   /* its last instruction, a system call, sleeps */
    bool called;   /* its last instruction was a system call */
    int signal;    /* is given to it with the next step; 0 none */
    int status;    /* of the last wait, for messages */
    unsigned long place; /* of its last instruction; 0 if that cannot be told */
};

enum stepper_event {
    STEPPER_STEPPED, /* it has run one more instruction */
    STEPPER_ASLEEP, /* it sleeps in a system call; the next step waits for that to end */
    STEPPER_LOST    /* it did not stop again; `status` says what it did */
};

/* Whether processes may be traced here. */
bool stepper_works(void);
/* Run this process, and what it forks, on one processor; `before` is what was allowed. */
int stepper_pin(void *before, size_t size);

/* In a victim: be traced, and stepped through what follows. */
void stepper_begin(struct stepper_progress *progress);
/* Fork or find the victim and let it come to where its operation begins. Returns: 0 or -1. */
int stepper_start(struct stepper *s);
/* One instruction, or the rest of the system call it sleeps in, at most until `deadline`. */
enum stepper_event stepper_step(struct stepper *s, int64_t deadline);
/* At full speed to the instruction at `place`. Returns: STEPPED: that is its next one;
 * ASLEEP: it does not come there, and is good for nothing but to be killed; LOST. */
enum stepper_event stepper_run_to(struct stepper *s, unsigned long place,
                                  int64_t deadline);
static inline bool stepper_is_done(const struct stepper *s)
{
    return atomic_load(&s->progress->done);
}
/* Whether its next instruction ends the process. */
bool stepper_is_exiting(const struct stepper *s);
/* The address of its next instruction; 0 if that cannot be told. */
unsigned long stepper_place(const struct stepper *s);
/* The same as file+offset, for addr2line. */
void stepper_describe(const struct stepper *s, char *text, size_t size);

/* Where the kernel looks for what the victim leaves: its robust list's head. */
unsigned long stepper_robust_head(const struct stepper *s);
/* The head's pending slot: not 0 if its death rings a bell. */
unsigned long stepper_pending(const struct stepper *s, unsigned long head);
/* What a crash does that overwrites the thread's control block: no list, no bell. */
void stepper_smash(const struct stepper *s, unsigned long head);

/* Kill it and wait for its end, if it was forked. Returns: 0; -1 if it had ended by itself. */
int stepper_kill(struct stepper *s);
/* Let go of it, stopped as by SIGSTOP. */
void stepper_stop(struct stepper *s);

/* The letter that the system shows for a process's state; 0 if there is none. */
char stepper_state_of(int pid);

#endif
