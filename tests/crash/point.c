/* SPDX-License-Identifier: MIT */
/* point.c: one case: its victims, killed at each point. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crash.h"

#define FAST COVEY_MSEC(100)

struct crash_stage *stage;

static const struct crash_case *the_case;
static const struct crash_options *options;
static struct stepper victim, first;
static long first_at; /* changes of the first victim, LONG_MAX: to its end */

/* One run of a case: up to where, and what was seen on the way. */
struct run {
    long limit;     /* points to pass */
    bool by_change; /* counted are changes of the shared state, else instructions */
    long steps, changes;
    long last;     /* steps when it last changed */
    unsigned naps; /* how often it slept */
    bool ended;    /* the operation has ended before the limit */
    bool missed;   /* it did not come to its mark, and so not to the point */
};

#define TO_THE_END 100000000L /* as a limit */

/* ---- the victims ---------------------------------------------------------------- */

/* What a program does that has robust mutexes of its own: libc disarms the bell. */
static void use_own_mutex(void)
{
    pthread_mutexattr_t attr;
    pthread_mutex_t mutex;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &attr);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
}

static void prepare_victim(void *unused)
{
    (void)unused;
    if (cvy_enter() < 0)
        _exit(1);
    stage->member = cvy_member_owner();
    stage->slot = cvy_thread_owner();
    if (the_case->prepare)
        the_case->prepare();
    if (the_case->flags & CRASH_DISARMED)
        use_own_mutex();
}

static void operate_victim(void *unused)
{
    (void)unused;
    the_case->operate();
}

static void prepare_first(void *unused)
{
    (void)unused;
    if (cvy_enter() < 0)
        _exit(1);
    stage->first_member = cvy_member_owner();
    stage->first_slot = cvy_thread_owner();
    if (the_case->first_prepare)
        the_case->first_prepare();
}

static void operate_first(void *unused)
{
    (void)unused;
    if (the_case->first_operate)
        the_case->first_operate();
}

static const char *lost(const struct stepper *s)
{
    return wrong("%s did not stop after a step: status %#x", s->name,
                 (unsigned)s->status);
}

/* ---- the first of two victims --------------------------------------------------- */

static long first_changes; /* of its last run */
static const char *first_failed;

void crash_first_start(void)
{
    first = (struct stepper){.name = "the first victim",
                             .prepare = prepare_first,
                             .operate = operate_first,
                             .progress = &stage->first_progress};
    first_changes = 0;
    if (stepper_start(&first) < 0) {
        first_failed = lost(&first);
        return;
    }
    uint32_t member = stage->member, slot = stage->slot;
    stage->member = stage->first_member;
    stage->slot = stage->first_slot;
    crash_watch_begin();
    while (first_changes < first_at && !stepper_is_done(&first)) {
        enum stepper_event event = stepper_step(&first, 0);
        if (event == STEPPER_LOST)
            first_failed = lost(&first);
        if (event != STEPPER_STEPPED)
            break;
        first_changes += crash_watch_changed() || first.called;
    }
    stage->member = member;
    stage->slot = slot;
}

bool crash_first_sleeps(void)
{
    return first.asleep;
}

bool crash_first_wakes(void)
{
    return stepper_step(&first, cvy_os_now() + helpers_limit) == STEPPER_STEPPED;
}

void crash_first_kill(void)
{
    if (first.pid > 0)
        (void)stepper_kill(&first);
}

/* ---- up to the point ------------------------------------------------------------ */

/* Whoever looks for a stopped one in short naps never sleeps when it is stepped. */
#define POLLS 2000

/* One that was found is over where it sleeps, too, since nobody wakes it, and before its
 * last system call: its pool reaps it. */
static bool is_over(void)
{
    return stepper_is_done(&victim) ||
           (the_case->find && (victim.asleep || stepper_is_exiting(&victim)));
}

/* Whether the point is reached. */
static bool is_there(const struct run *run)
{
    return is_over() || (run->by_change ? run->changes : run->steps) >= run->limit;
}

void crash_victim_goes_on(void)
{
    while (!is_over() && stepper_step(&victim, 0) != STEPPER_LOST)
        ;
}

/* The victim sleeps in its operation: let it be woken, or wait for its time-out. */
static const char *get_past_sleep(bool *called)
{
    if (the_case->asleep && !*called) {
        *called = true;
        the_case->asleep();
    }
    enum stepper_event event = stepper_step(&victim, cvy_os_now() + helpers_limit);
    if (event == STEPPER_ASLEEP)
        return "the victim sleeps and is not woken";
    return event == STEPPER_LOST ? lost(&victim) : NULL;
}

/* At full speed to the last mark before the point, if there is one. Whoever polls for a
 * stopped one does so in steps. */
static const char *run_to_mark(struct run *run, bool will_poll)
{
    const struct crash_mark *mark = NULL;
    if (options->way == CRASH_KILL && !stepper_is_done(&victim))
        mark = crash_marks_find(run->steps,
                                will_poll && run->limit > POLLS ? POLLS : run->limit,
                                run->naps);
    if (!mark)
        return NULL;
    enum stepper_event event =
        stepper_run_to(&victim, mark->place, cvy_os_now() + helpers_limit);
    if (event == STEPPER_LOST)
        return lost(&victim);
    run->missed = event == STEPPER_ASLEEP;
    run->steps = mark->steps;
    if (run->missed)
        crash_marks_drop(mark);
    return NULL;
}

static unsigned long robust_head, pending; /* the victim's, if it is watched */

static void watch_begin(const struct run *run)
{
    crash_watch_begin();
    if (the_case->watch)
        the_case->watch();
    robust_head = stepper_robust_head(&victim);
    pending = stepper_pending(&victim, robust_head);
    if (run->limit == TO_THE_END)
        crash_marks_forget();
}

/* What the last step has changed. */
static void watch_step(struct run *run)
{
    unsigned long before = pending;
    pending = stepper_pending(&victim, robust_head);
    if (crash_watch_changed() || pending != before || victim.called || victim.asleep) {
        run->changes++;
        run->last = run->steps;
    }
}

static const char *step_to_point(struct run *run)
{
    bool called = false, watched = run->by_change || run->limit == TO_THE_END;
    bool runs = !watched; /* to the next mark */
    if (watched)
        watch_begin(run);
    while (!is_there(run)) {
        const char *is = NULL;
        bool polls = the_case->asleep && first.pid && !called;
        if (runs) {
            is = run_to_mark(run, polls);
            runs = false;
            if (is || run->missed)
                return is;
            continue;
        }
        if (run->steps > POLLS && polls) {
            called = runs = true;
            the_case->asleep();
        } else if (victim.asleep) {
            is = get_past_sleep(&called);
            run->naps++;
            runs = true;
        } else if (stepper_step(&victim, 0) == STEPPER_LOST) {
            is = lost(&victim);
        } else if (run->limit == TO_THE_END) {
            crash_marks_note(run->steps, run->naps, victim.place);
        }
        if (is)
            return is;
        runs = runs && !watched;
        run->steps++;
        if (watched)
            watch_step(run);
    }
    run->ended = is_over();
    return NULL;
}

/* ---- the three ways ------------------------------------------------------------- */

/* Somebody whom nobody waits for dies: all are to look, and to find nothing. */
static void die_aside(void)
{
    int pid = fork();
    if (pid == 0) {
        (void)cvy_enter();
        kill(getpid(), SIGKILL);
    }
    struct stepper other = {.pid = pid};
    (void)stepper_kill(&other);
}

/* Who waited for this operation needs nobody's death. */
static const char *all_come_through(void)
{
    if (the_case->flags & CRASH_LIVES)
        for (unsigned i = 0; i < CRASH_HELPERS; i++)
            if (helper_is_started(i) && helper_await(i))
                return wrong("helper %u hangs in %s, though nobody died", i,
                             stage->helpers[i].job_name);
    return NULL;
}

/* The victim is stopped for a while, and goes on: nobody may have taken it for dead. */
static const char *stop_and_go_on(void)
{
    bool called = false;
    int64_t until;
    int pid = victim.pid;
    stepper_stop(&victim);
    die_aside();
    usleep((useconds_t)(3 * options->slice / 2000));
    helpers_settle();
    if (!(the_case->flags & CRASH_BREAKS) &&
        (helpers_with(COVEY_ABANDONED) || helpers_with(COVEY_EBROKEN)))
        return "a stopped process was taken for dead";
    kill(pid, SIGCONT);
    until = cvy_os_now() + helpers_limit;
    while (!stepper_is_done(&victim) && cvy_os_now() < until) {
        struct cvy_slot *slot = cvy_slot_at(CVY_INDEX_OF(stage->slot));
        if (the_case->asleep && !called && atomic_load(&slot->waits_for) &&
            stepper_state_of(pid) == 'S') {
            called = true;
            the_case->asleep();
        }
        usleep(50);
    }
    if (!stepper_is_done(&victim))
        return "the stopped process does not go on";
    helpers_settle();
    return all_come_through();
}

static const char *end_victim(char *place, size_t size)
{
    const char *is = NULL;
    unsigned long head = stepper_robust_head(&victim);
    stepper_describe(&victim, place, size);
    if (the_case->against)
        the_case->against();
    helpers_settle();
    if (options->way == CRASH_STOP)
        is = stop_and_go_on();
    if (options->way == CRASH_SPARE)
        is = all_come_through();
    if (is)
        return is;
    if (options->way == CRASH_SMASH) {
        if (victim.asleep) { /* memory is written between two steps only */
            kill(victim.pid, SIGSTOP);
            (void)stepper_step(&victim, INT64_MAX);
        }
        stepper_smash(&victim, head);
    }
    bool strike = the_case->flags & CRASH_DISARMED && !the_case->committed();
    if (the_case->look)
        the_case->look();
    helpers_killed_at = cvy_os_now();
    if (!stage->is_gone && stepper_kill(&victim) < 0)
        return lost(&victim);
    if (strike)
        cvy_gong_strike(); /* as a slice would: the program took the bell away */
    return NULL;
}

/* ---- one point ------------------------------------------------------------------ */

static void reset_stage(void)
{
    stage->object = stage->other = NULL;
    stage->variant = the_case->variant;
    stage->member = stage->slot = stage->first_member = stage->first_slot = 0;
    stage->result = INT32_MAX;
    stage->is_gone = false;
    stage->got_count = 0;
    atomic_store(&stage->inside, 0);
    atomic_store(&stage->collisions, 0);
    atomic_store(&stage->acted, 0);
    helpers_forget();
    helpers_killed_at = 0;
    helpers_slowest = 0;
    first_failed = NULL;
}

static const char *clean_up(void)
{
    helpers_settle();
    if (stage->object && cvy_object_release(stage->object) < 0)
        return "the object cannot be freed";
    if (stage->other && cvy_object_release(stage->other) < 0)
        return "the other object cannot be freed";
    return crash_books_check();
}

static const char *run_to(struct run *run, char *place, size_t size)
{
    const struct crash_case *c = the_case;
    reset_stage();
    if (c->set_up)
        c->set_up();
    bool has_first = c->first_prepare || c->first_operate;
    if (has_first && !(c->flags & CRASH_FIRST_STARTS_LATE))
        crash_first_start();
    if (c->first_stopped)
        c->first_stopped();
    victim = (struct stepper){.name = "the victim",
                              .prepare = prepare_victim,
                              .operate = operate_victim,
                              .find = c->find,
                              .progress = &stage->progress};
    if (stepper_start(&victim) < 0)
        return lost(&victim);
    if (has_first && !(c->flags & CRASH_FIRST_DIES_LATE))
        crash_first_kill();
    if (c->ready)
        c->ready();
    const char *is = step_to_point(run);
    if (!is)
        is = first_failed;
    if (!is)
        is = end_victim(place, size);
    if (has_first)
        crash_first_kill(); /* if the victim's operation did not come so far */
    if (!is)
        is = c->after();
    if (!is && atomic_load(&stage->collisions))
        is = "two had the lock at once";
    return is ? is : clean_up();
}

/* A slow recovery is tried again: others may have had the processors. */
static const char *run_fast(struct run *run, char *place, size_t size)
{
    const struct run start = *run;
    const char *is = run_to(run, place, size);
    for (int i = 0; i < 2 && !is && options->must_be_fast && helpers_slowest > FAST;
         i++) {
        *run = start;
        is = run_to(run, place, size);
    }
    if (!is && options->must_be_fast && helpers_slowest > FAST)
        is = wrong("the recovery took %.1f ms", (double)helpers_slowest / 1e6);
    return is;
}

static bool go_to(struct run *run, struct crash_verdict *verdict)
{
    char place[160] = "";
    const char *is = run_fast(run, place, sizeof place);
    verdict->points++;
    if (helpers_slowest > verdict->slowest) {
        verdict->slowest = helpers_slowest;
        verdict->slowest_at = run->steps;
    }
    if (!is)
        return true;
    verdict->failed++;
    int n = snprintf(verdict->first, sizeof verdict->first, "%s %ld%s",
                     run->by_change ? "change" : "instruction",
                     run->by_change ? run->changes : run->steps,
                     victim.asleep ? " (asleep)" : "");
    if (the_case->first_operate && n > 0)
        n += snprintf(verdict->first + n, sizeof verdict->first - (size_t)n,
                      ", the first victim after change %ld", first_changes);
    snprintf(verdict->first + n, sizeof verdict->first - (size_t)n, ", at %s: %s",
             place, is);
    return false;
}

/* ---- a case --------------------------------------------------------------------- */

/* What follows the last change of the shared state is text for people, for thousands of
 * instructions if there is an error to be told: of those not all are tried. */
#define AFTERMATH 50
#define STRIDE    97

/* All points of the victim, with the first one where it is. */
static bool go_through(bool by_change, long last, struct crash_verdict *verdict)
{
    for (long at = 0;;) {
        struct run run;
        do {
            run = (struct run){.limit = at, .by_change = by_change};
            if (!go_to(&run, verdict))
                return false;
        } while (run.missed);
        if (run.ended)
            return true;
        at += by_change || at < last + AFTERMATH || options->at_length ? 1 : STRIDE;
    }
}

static bool found_family(void)
{
    cpu_set_t before;
    const struct covey_family_opts opts = {.size = sizeof opts,
                                           .budget = 16u << 20,
                                           .slice = options->slice,
                                           .bell = options->bell_off ? COVEY_OFF
                                                                     : COVEY_ON};
    void *object;
    if (stepper_pin(&before, sizeof before) < 0 || covey_family_configure(&opts) < 0 ||
        cvy_enter() < 0)
        return false;
    for (int i = 0; i < 3; i++)
        if (cvy_object_create(CVY_KIND_TEST, 64, 0, 0, &object, NULL) < 0)
            return false;
    helpers_limit = options->limit;
    return helpers_start(the_case->helpers ? the_case->helpers : 3) == 0;
}

static bool go_through_all(struct crash_verdict *verdict)
{
    bool by_change = !options->all || the_case->flags & CRASH_BRIEF ||
                     (the_case->flags & CRASH_THIN && !options->at_length);
    struct run trace = {.limit = TO_THE_END};
    first_at = INT64_MAX;
    if (!go_to(&trace, verdict))
        return false;
    if (options->way == CRASH_SPARE)
        return true;
    verdict->stores = trace.changes;
    long last = trace.last;
    if (!the_case->first_operate || the_case->flags & CRASH_FIRST_ENDS)
        return go_through(by_change, last, verdict);
    long most = first_changes;
    for (first_at = 0; first_at <= most; first_at++) {
        trace = (struct run){.limit = TO_THE_END}; /* for its marks */
        if ((!by_change && !go_to(&trace, verdict)) ||
            !go_through(by_change, last, verdict))
            return false;
    }
    return true;
}

void crash_run(const struct crash_case *c, const struct crash_options *o,
               struct crash_verdict *verdict)
{
    the_case = c;
    options = o;
    stage = mmap(NULL, sizeof *stage, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (stage == MAP_FAILED || !found_family()) {
        verdict->failed++;
        snprintf(verdict->first, sizeof verdict->first, "no family: %s",
                 covey_error_detail());
        return;
    }
    crash_books_note();
    (void)go_through_all(verdict);
    helpers_end();
}
