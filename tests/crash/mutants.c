/* SPDX-License-Identifier: MIT */
/* mutants.c: the library with one safety step left out; the proof must fail. */
#include <string.h>
#include <unistd.h>

#include "base/mutant.h"
#include "storm.h"

struct mutant {
    const char *name, *text;
};
#define LINE(name, text) {#name, text},
static const struct mutant mutants[] = {CVY_MUTANT_MAP(LINE)};

/* Slices are too long to help, but where the kernel has to be asked. */
static bool is_caught(struct program *p, enum crash_way way, bool bell_off, bool all)
{
    struct crash_options o = {.limit = COVEY_SEC(1),
                              .way = way,
                              .bell_off = bell_off,
                              .all = all,
                              .at_length = all,
                              .slice = way == CRASH_SMASH  ? COVEY_MSEC(20)
                                       : way == CRASH_STOP ? COVEY_MSEC(40)
                                                           : COVEY_SEC(60)};
    return !run_cases(&o, p);
}

int run_to_first(struct program *p)
{
    bool caught = false;
    for (int way = CRASH_KILL; way <= CRASH_SPARE && !caught; way++)
        caught = is_caught(p, (enum crash_way)way, false, false);
    if (caught || is_caught(p, CRASH_KILL, true, false)) {
        printf("FAILED: %s\n", p->caught);
        return 1;
    }
    run_programs(p);
    return p->failed > 0;
}

#ifdef CVY_MUTANTS

enum cvy_mutant cvy_mutant;

/* Where and in which way a mutant is looked for: among the cases of what it is about, as
 * its name begins, or at those that are known to notice. */
static const struct place {
    const char *prefix, *only;
    enum crash_way way;
    bool bell_off;
    bool all; /* not only after changes of the shared state */
} places[] = {
    {"lock_kernel_unasked", "lock acquire, uncontended", CRASH_SMASH, false, false},
    {"lock_not_sticky", "lock release, two asleep", CRASH_SPARE, false, false},
    {"lock_wake_unarmed", "lock release, one asleep, disarmed", CRASH_KILL, false,
     false},
    {"lock", "lock acquire", CRASH_KILL, false, false},
    {"rlock", "rlock acquire, again", CRASH_KILL, false, false},
    {"sleep", "lock", CRASH_KILL, false, false},
    {"semaphore_undo_only", "semaphore release, one asleep", CRASH_KILL, false, false},
    {"semaphore_waiters", "semaphore release, one after the other", CRASH_SPARE, false,
     false},
    {"semaphore_wake_unarmed", "semaphore release, as a signal, disarmed", CRASH_KILL,
     false, false},
    {"semaphore", "semaphore", CRASH_KILL, false, false},
    {"condition_heir_late", "condition wait, recovery of a waiter", CRASH_KILL, false,
     false},
    {"condition_bury", "condition notify, notified one dead", CRASH_KILL, true, false},
    {"condition_notify_note", "condition notify", CRASH_KILL, false, false},
    {"condition", "cond", CRASH_KILL, false, false},
    {"event_generation", "event set, clear", CRASH_SPARE, false, false},
    {"event", "event", CRASH_KILL, false, false},
    {"barrier_late_note", "barrier wait, one asleep", CRASH_STOP, false, false},
    {"barrier_reset_unmarked", "barrier reset", CRASH_SPARE, false, false},
    {"barrier", "barrier", CRASH_KILL, false, false},
    {"region", "object", CRASH_KILL, false, false},
    {"queue_lost", "queue get, uncontended", CRASH_KILL, false, false},
    {"queue_put_extent", "queue commit", CRASH_KILL, false, false},
    {"queue_get_extent", "queue get, extent", CRASH_KILL, false, false},
    {"queue_joined", "joinable get", CRASH_KILL, false, false},
    {"queue", "queue put, uncontended", CRASH_KILL, false, true},
    {"pool_begin_unasked", "item begin, cancelled, goes on", CRASH_KILL, false, true},
    {"pool_commit_unasked", "item end, over its time, goes on", CRASH_KILL, false,
     false},
    {"pool_progress", "task progress", CRASH_KILL, false, false},
    {"pool", "item end", CRASH_KILL, false, false}};

static const struct place *place_of(const char *name)
{
    for (size_t i = 0; i < CVY_ARRAY_SIZE(places); i++)
        if (strncmp(name, places[i].prefix, strlen(places[i].prefix)) == 0)
            return &places[i];
    return NULL;
}

static bool try_mutant(struct program *p, size_t i)
{
    const char *only = p->only;
    int64_t begun = cvy_os_now();
    p->quiet = true;
    p->points = 0;
    cvy_mutant = (enum cvy_mutant)(i + 1);
    const struct place *at = place_of(mutants[i].name);
    if (!only && at && !p->storm)
        p->only = at->only;
    bool caught =
        p->storm ? !run_storms(p) : at && is_caught(p, at->way, at->bell_off, at->all);
    /* Without the bell all look by themselves every 20 ms: on a busy machine too soon. */
    for (int again = 0; again < 5 && !caught && !p->storm && at && at->bell_off;
         again++)
        caught = is_caught(p, at->way, at->bell_off, at->all);
    p->only = only;
    for (int way = CRASH_KILL; way <= CRASH_SPARE && !caught && p->at_length; way++)
        caught = is_caught(p, (enum crash_way)way, false, false);
    printf("%s %s (%s)\n    %s%s; %ld points, %.1f s\n", caught ? "caught" : "MISSED",
           mutants[i].name, mutants[i].text, caught ? "by " : "not noticed",
           caught ? p->caught : "", p->points, (double)(cvy_os_now() - begun) / 1e9);
    fflush(stdout);
    return caught;
}

#endif

static int list(void)
{
    for (size_t i = 0; i < CVY_ARRAY_SIZE(mutants); i++)
        printf("%-26s %s\n", mutants[i].name, mutants[i].text);
    return 0;
}

int run_mutants(struct program *p)
{
    unsigned tried = 0, caught = 0;
    if (strcmp(p->mutant, "list") == 0)
        return list();
#ifdef CVY_MUTANTS
    for (size_t i = 0; i < CVY_ARRAY_SIZE(mutants); i++)
        if (strcmp(p->mutant, "all") == 0 || strcmp(p->mutant, mutants[i].name) == 0) {
            tried++;
            caught += try_mutant(p, i);
        }
#else
    char path[500], storm_ns[40];
    const char *argv[8] = {path, "--mutate", p->mutant};
    int argc = 3;
    snprintf(path, sizeof path, "%s/crash_mutants", p->folder);
    snprintf(storm_ns, sizeof storm_ns, "%.3gs", (double)p->storm / 1e9);
    if (p->only) {
        argv[argc++] = "--only";
        argv[argc++] = p->only;
    }
    if (p->storm) {
        argv[argc++] = "--storm";
        argv[argc++] = storm_ns;
    }
    execv(path, (char **)(uintptr_t)argv);
    perror(path);
#endif
    printf("%u mutants, %u caught\n", tried, caught);
    return !tried || caught < tried;
}
