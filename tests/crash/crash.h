/* SPDX-License-Identifier: MIT */
/**
 * crash.h: the proof that kill -9 harms nobody.
 *
 * A case is one operation on one path. For each of its points - between any two of its
 * instructions - a judge does this:
 *
 *   set_up   makes the objects, lets helpers take and wait
 *   prepare  in a new process, the victim, at full speed
 *   ready    the victim is stopped before its operation; helpers go to sleep behind it
 *   operate  in the victim, instruction by instruction up to the point
 *   asleep   on the way: the victim sleeps, let somebody wake it
 *   against  the victim is stopped at the point: helpers run and block against it
 *            the victim is killed (or stopped, or smashed and killed)
 *   after    all that survive must go on, and what they find must be right
 *
 * Helpers are processes that live as long as the case, so that no exit of theirs rings
 * the bell. One of them, the decoy, always sleeps on an event that nobody sets: it is the
 * first in the bell's queue, so a death is heard by somebody whom it does not concern.
 *
 * Two victims: a case with a `first` lets that one run to each of its points as well, and
 * kills it before the victim's operation, or while the victim sleeps in it.
 */
#ifndef TESTS_CRASH_H
#define TESTS_CRASH_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../stepper.h"
#include "base/base.h"
#include "region/lock.h"
#include "region/member.h"
#include "region/object.h"
#include "region/region.h"
#include "region/wait.h"
#include "sync/sync.h"

#define CRASH_HELPERS 12u

typedef int crash_job(void);

struct crash_helper {
    cvy_word orders, answers; /* numbers of the last job given and done */
    _Atomic uint32_t slot;    /* owner word of its thread */
    crash_job *job;
    const char *job_name;
    _Atomic int result;
    _Atomic int64_t ended;
    int pid;
};

/* Shared by the judge, the victims and the helpers. */
struct crash_stage {
    void *object, *other; /* what the case is about */
    int variant;          /* the case's */
    struct stepper_progress progress, first_progress;
    uint32_t member, slot; /* the victim's owner words */
    uint32_t first_member, first_slot;
    int result;              /* of the victim's operation */
    _Atomic uint32_t inside; /* how many have the lock; never 2 */
    _Atomic uint32_t collisions;
    _Atomic uint32_t acted; /* calls of the barrier's action */
    int got[4];             /* numbers of the messages that the victim has got */
    unsigned got_count;
    bool is_gone; /* the victim was ended and reaped before it was killed */
    struct crash_helper helpers[CRASH_HELPERS + 1];
};
extern struct crash_stage *stage;

enum crash_flag {
    CRASH_FIRST_ENDS = 1,        /* the first victim always runs to its end */
    CRASH_FIRST_STARTS_LATE = 2, /* the hook `asleep` starts the first victim */
    CRASH_FIRST_DIES_LATE = 128, /* the hook `asleep` kills it */
    CRASH_LIVES = 4,        /* helpers come through though the victim is not killed */
    CRASH_BREAKS = 8,       /* the operation itself may break what helpers wait for */
    CRASH_DISARMED = 16,    /* the program has used robust mutexes of its own */
    CRASH_NOT_STOPPED = 32, /* no sense in a victim that is only stopped */
    CRASH_BRIEF = 64,       /* long: only after changes of the shared state */
    CRASH_THIN = 256        /* each instruction with --long only */
};

struct crash_case {
    const char *operation, *path;
    void (*set_up)(void);
    void (*prepare)(void);
    void (*ready)(void);
    void (*operate)(void);
    void (*asleep)(void);
    void (*against)(void);
    const char *(*after)(void); /* NULL, or what is wrong */
    int variant;
    unsigned flags;
    unsigned helpers; /* besides the decoy; default 3 */
    void (*first_prepare)(void);
    void (*first_operate)(void);
    void (*first_stopped)(void); /* the judge, before there is another victim */
    void (*look)(void);          /* stopped at the point: note what is expected */
    bool (*committed)(void);     /* CRASH_DISARMED: the operation has happened */
    int (*find)(void *unused);   /* the victim is a child that calls stepper_begin, and
                                    is reaped by others; where it sleeps it ends */
    void (*watch)(void);         /* name more of what may change, crash_watch_add */
};

extern const struct crash_case crash_locks[], crash_semaphores[], crash_conditions[],
    crash_conditions_too[], crash_events[], crash_barriers[], crash_regions[],
    crash_pools[], crash_messages[];

/* ---- what happens at the points ---- */

/* SPARE: nobody dies before the operation is over and who waited for that is through. */
enum crash_way { CRASH_KILL, CRASH_SMASH, CRASH_STOP, CRASH_SPARE };

struct crash_options {
    covey_nsec slice;
    bool bell_off;
    bool all; /* each instruction; else after each change of the shared state */
    bool must_be_fast; /* no slice may help: 100 ms at most, of three attempts */
    bool at_length;    /* no instruction is left out */
    covey_nsec limit;  /* in which the survivors must be through */
    enum crash_way way;
};

/* Lies in memory shared with the program, since a case runs in a process of its own. */
struct crash_verdict {
    long points, failed;
    long stores;     /* changes of the shared state, in the run to the end */
    int64_t slowest; /* recovery, ns */
    long slowest_at;
    char first[600]; /* the first failure */
};

/* Run a case in this process, as judge. */
void crash_run(const struct crash_case *c, const struct crash_options *options,
               struct crash_verdict *verdict);

/* ---- places that can be run to ---- */

/* Where an instruction is reached for the first time. */
struct crash_mark {
    long steps; /* before it */
    unsigned long place;
    unsigned naps; /* before it */
};
void crash_marks_forget(void);
/* In the order of `steps`, for each of them: whether it becomes a mark is decided here. */
void crash_marks_note(long steps, unsigned naps, unsigned long place);
/* The last one with more than `from` and at most `to` steps; NULL. */
const struct crash_mark *crash_marks_find(long from, long to, unsigned naps);
/* The victim did not come there: forget it, and those that lie behind it. */
void crash_marks_drop(const struct crash_mark *missed);

/* For hooks: let the first victim begin and run to its point; kill it. */
void crash_first_start(void);
void crash_first_kill(void);
/* Let it step until it sleeps; let it finish that system call. */
bool crash_first_sleeps(void);
bool crash_first_wakes(void);

/* For `against`: the victim, which was found, goes on to its end, or until it sleeps. */
void crash_victim_goes_on(void);

/* A text of what is wrong. */
const char *wrong(const char *format, ...) COVEY_PRINTF(1, 2);

/* ---- the shared state ---- */

/* Look at what lies in shared memory from now on. */
void crash_watch_begin(void);
void crash_watch_add(const void *at, size_t size);
/* Whether it has changed since the last look. */
bool crash_watch_changed(void);
/* What must be as before once the dead are swept: members, objects, memory. */
void crash_books_note(void);
const char *crash_books_check(void);

/* ---- helpers ---- */

int helpers_start(unsigned count);
void helpers_end(void);
/* Give helper `i` a job; it must be idle. */
#define HELPER(i, job) helper_give((i), (job), #job)
void helper_give(unsigned i, crash_job *job, const char *name);
/* Wait until it is done or sleeps. Returns: whether it is done. */
bool helper_settle(unsigned i);
void helpers_settle(void);
bool helper_is_busy(unsigned i);
bool helper_is_started(unsigned i); /* at this point */
/* Whether it sleeps on `object` (or a part of it). */
bool helper_sleeps_on(unsigned i, const void *object);
int helper_result(unsigned i);
/* Stop it in its sleep, so that it looks late; let it go on. */
void helper_freeze(unsigned i);
void helper_thaw(unsigned i);
/* It must be through within the limit. Returns: NULL, or what is wrong. */
const char *helper_await(unsigned i);
const char *helpers_await(unsigned first, unsigned last);
/* Let the idle begin the point with a clean slate. */
void helpers_forget(void);
/* How many of the started have had this result. */
unsigned helpers_with(int result);
extern int64_t helpers_limit, helpers_killed_at, helpers_slowest;

#endif
