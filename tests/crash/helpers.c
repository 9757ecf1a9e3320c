/* SPDX-License-Identifier: MIT */
/* helpers.c: the processes that survive. They wait for orders on words of their own, not
 * as covey waits, so that no bell wakes the idle. */
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"

int64_t helpers_limit, helpers_killed_at, helpers_slowest;
static unsigned helper_count;
static uint32_t forgotten[CRASH_HELPERS + 1];

const char *wrong(const char *format, ...)
{
    static char texts[2][400]; /* one may be a part of the other */
    static unsigned turn;
    char *text = texts[turn++ % 2];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof texts[0], format, args);
    va_end(args);
    return text;
}

static void sleep_while(cvy_word *word, uint32_t is, int64_t until)
{
    struct cvy_os_wait wait = {word, is};
    (void)cvy_os_futex_waitv(&wait, 1, until);
}

_Noreturn static void be_helper(struct crash_helper *h)
{
    cpu_set_t all;
    CPU_ZERO(&all);
    for (size_t cpu = 0; cpu < 64; cpu++)
        CPU_SET(cpu, &all);
    (void)sched_setaffinity(0, sizeof all, &all);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (cvy_enter() < 0)
        _exit(1);
    atomic_store(&h->slot, cvy_thread_owner());
    for (uint32_t done = 0;; done++) {
        while (atomic_load(&h->orders) == done)
            sleep_while(&h->orders, done, INT64_MAX);
        atomic_store(&h->result, h->job());
        atomic_store(&h->ended, cvy_os_now());
        atomic_store(&h->answers, done + 1);
        (void)cvy_os_futex_wake(&h->answers, 1);
    }
}

static int wait_for_decoy(void)
{
    static covey_event *never;
    if (!never && covey_event_create(&never, NULL) < 0)
        return -1;
    return covey_event_wait(never, COVEY_FOREVER);
}

/* The decoy is the last; it makes its event itself, and the judge does not know it. */
int helpers_start(unsigned count)
{
    helper_count = count;
    for (unsigned i = 0; i <= count; i++) {
        struct crash_helper *h = &stage->helpers[i];
        *h = (struct crash_helper){0};
        fflush(NULL);
        int pid = fork();
        if (pid == 0)
            be_helper(h);
        h->pid = pid; /* the child must not write here */
        while (h->pid > 0 && !atomic_load(&h->slot))
            usleep(100);
    }
    HELPER(count, wait_for_decoy);
    while (!helper_sleeps_on(count, NULL))
        usleep(100);
    helpers_forget();
    return 0;
}

void helpers_end(void)
{
    for (unsigned i = 0; i <= helper_count; i++)
        if (stage->helpers[i].pid > 0) {
            kill(stage->helpers[i].pid, SIGKILL);
            waitpid(stage->helpers[i].pid, NULL, 0);
        }
}

void helper_give(unsigned i, crash_job *job, const char *name)
{
    struct crash_helper *h = &stage->helpers[i];
    if (helper_is_busy(i)) {
        fprintf(stderr, "crash: helper %u is still at %s\n", i, h->job_name);
        abort();
    }
    h->job = job;
    h->job_name = name;
    atomic_fetch_add(&h->orders, 1);
    (void)cvy_os_futex_wake(&h->orders, 1);
}

bool helper_is_busy(unsigned i)
{
    return atomic_load(&stage->helpers[i].orders) !=
           atomic_load(&stage->helpers[i].answers);
}

bool helper_is_started(unsigned i)
{
    return atomic_load(&stage->helpers[i].orders) != forgotten[i];
}

void helpers_forget(void)
{
    for (unsigned i = 0; i <= helper_count; i++)
        forgotten[i] = atomic_load(&stage->helpers[i].orders);
}

bool helper_sleeps_on(unsigned i, const void *object)
{
    struct crash_helper *h = &stage->helpers[i];
    struct cvy_slot *slot = cvy_slot_at(CVY_INDEX_OF(h->slot));
    cvy_ref on = atomic_load(&slot->waits_for);
    if (!on || (object && on != cvy_ref_of(object)))
        return false;
    return stepper_state_of(h->pid) == 'S' && atomic_load(&slot->waits_for) == on;
}

/* Twice asleep at a distance: a nap, or one that a ring has just woken, is no sleep. */
bool helper_settle(unsigned i)
{
    int64_t until = cvy_os_now() + helpers_limit;
    while (helper_is_busy(i) && cvy_os_now() < until) {
        if (helper_sleeps_on(i, NULL))
            return false;
        sched_yield();
        usleep(20);
    }
    return !helper_is_busy(i);
}

void helpers_settle(void)
{
    for (unsigned i = 0; i < helper_count; i++)
        if (helper_is_busy(i))
            (void)helper_settle(i);
}

int helper_result(unsigned i)
{
    return atomic_load(&stage->helpers[i].result);
}

void helper_freeze(unsigned i)
{
    kill(stage->helpers[i].pid, SIGSTOP);
    while (stepper_state_of(stage->helpers[i].pid) != 'T')
        sched_yield();
}
void helper_thaw(unsigned i)
{
    kill(stage->helpers[i].pid, SIGCONT);
}

const char *helper_await(unsigned i)
{
    struct crash_helper *h = &stage->helpers[i];
    int64_t until = cvy_os_now() + helpers_limit;
    uint32_t answers;
    while ((answers = atomic_load(&h->answers)) != atomic_load(&h->orders)) {
        if (cvy_os_now() >= until)
            return wrong("helper %u hangs in %s", i, h->job_name);
        sleep_while(&h->answers, answers, until);
    }
    int64_t took = atomic_load(&h->ended) - helpers_killed_at;
    if (helpers_killed_at && took > helpers_slowest)
        helpers_slowest = took;
    return NULL;
}

const char *helpers_await(unsigned first, unsigned last)
{
    const char *is = NULL;
    for (unsigned i = first; i <= last && !is; i++)
        is = helper_await(i);
    return is;
}

unsigned helpers_with(int result)
{
    unsigned count = 0;
    for (unsigned i = 0; i < helper_count; i++)
        count +=
            helper_is_started(i) && !helper_is_busy(i) && helper_result(i) == result;
    return count;
}
