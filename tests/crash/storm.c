/* SPDX-License-Identifier: MIT */
/* storm.c: the judge of storms, and what a worker's life is; see storm.h. */
#include "storm.h"

#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILL_EVERY  COVEY_MSEC(2) /* on average */
#define AUDIT_EVERY COVEY_MSEC(250)
/* Where that is permitted, the judge, the newborn and the dying need not wait until one of
 * the busy leaves a processor; or there would be few kills. */
#define HURRY -10

struct storm *storm;
int storm_variant;

static const struct storm_noun *const sets[] = {storm_locks, storm_waits, storm_queues};

/* What came of one noun's storm; shared with the program. */
struct result {
    long kills, audits, told;
    double rate; /* operations a second */
    int64_t pause;
    bool over;
    char wrong[400];
};

static const struct storm_noun *noun;
static struct result *result;
static covey_nsec patience;
static uint64_t random_state = 88172645463325252u;
static uint32_t last_id;

uint64_t storm_random(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

covey_nsec storm_timeout(void)
{
    uint64_t kind = storm_random(16);
    if (kind == 0)
        return COVEY_NOWAIT;
    return kind < 4 ? (covey_nsec)storm_random(100000) + 1 : COVEY_FOREVER;
}

void *storm_data(size_t size)
{
    void *data =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        abort();
    return data;
}

uint64_t storm_counts(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < noun->places; i++)
        sum += atomic_load(&storm->places[i].count);
    return sum;
}

static void sleep_until(int64_t moment)
{
    struct timespec at = {moment / COVEY_SEC(1), moment % COVEY_SEC(1)};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* ---- workers -------------------------------------------------------------------- */

void storm_wrong(const char *format, ...)
{
    uint32_t none = 0;
    va_list args;
    va_start(args, format);
    if (atomic_compare_exchange_strong(&storm->is_wrong, &none, 1)) {
        (void)vsnprintf(storm->wrong, sizeof storm->wrong, format, args);
        atomic_store(&storm->is_wrong, 2);
    }
    va_end(args);
    for (;;)
        pause();
}

static void park(struct storm_place *place)
{
    uint32_t seen = atomic_load(&storm->parking);
    if (!(seen & 1))
        return;
    atomic_store(&place->parked, seen);
    while (atomic_load(&storm->parking) == seen) {
        struct cvy_os_wait wait = {&storm->parking, seen};
        (void)cvy_os_futex_waitv(&wait, 1, INT64_MAX);
    }
}

_Noreturn static void be_worker(unsigned i)
{
    struct storm_place *place = &storm->places[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    random_state = place->id * UINT64_C(2654435761) + 1;
    if (cvy_enter() < 0)
        storm_wrong("a worker cannot attach: %s", covey_error_detail());
    place->member = cvy_member_owner();
    place->slot = cvy_thread_owner();
    (void)setpriority(PRIO_PROCESS, 0, 0);
    for (;;) {
        noun->work(i);
        atomic_fetch_add_explicit(&place->operations, 1, memory_order_relaxed);
        park(place);
    }
}

static void start_worker(unsigned i)
{
    struct storm_place *place = &storm->places[i];
    place->id = ++last_id % STORM_IDS;
    atomic_store(&storm->doomed[place->id], 0);
    place->member = place->slot = 0;
    atomic_store(&place->phase, STORM_AWAY);
    fflush(NULL);
    int pid = fork();
    if (pid == 0)
        be_worker(i);
    place->pid = pid;
}

/* ---- deaths --------------------------------------------------------------------- */

/* Returns: whether it had what is to be told of; only in rounds in which it is stopped. */
static bool stop_and_look(unsigned i)
{
    int status = 0, pid = storm->places[i].pid;
    kill(pid, SIGSTOP);
    return waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) &&
           noun->owns(i);
}

/* Returns: NULL, or what is wrong. */
static const char *kill_worker(unsigned i)
{
    struct storm_place *place = &storm->places[i];
    int status = 0;
    atomic_store(&storm->doomed[place->id], 1);
    (void)setpriority(PRIO_PROCESS, (id_t)place->pid, HURRY);
    bool owned = storm->stops && stop_and_look(i);
    kill(place->pid, SIGKILL);
    if (waitpid(place->pid, &status, 0) != place->pid || status != SIGKILL)
        return wrong("the worker at place %u ended by itself, status %#x", i,
                     (unsigned)status);
    uint32_t phase = atomic_load(&place->phase);
    storm->deaths[phase]++;
    storm->owned += owned;
    storm->owned_taking += owned && phase == STORM_TAKING;
    result->kills++;
    return NULL;
}

/* ---- audits --------------------------------------------------------------------- */

static const char *phase_name(uint32_t phase)
{
    static const char *const names[] = {"away", "taking", "having", "giving"};
    return names[phase % STORM_PHASES];
}

static bool has_gone_wrong(void)
{
    return atomic_load(&storm->is_wrong) != 0;
}

static const char *let_park(void)
{
    int64_t until = cvy_os_now() + patience;
    atomic_fetch_add(&storm->parking, 1);
    for (unsigned i = 0; i < noun->places && !has_gone_wrong(); i++)
        while (!storm_has_parked(i) && !has_gone_wrong()) {
            if (noun->calm)
                noun->calm();
            if (cvy_os_now() > until)
                return wrong("the worker at place %u hangs (%s)", i,
                             phase_name(atomic_load(&storm->places[i].phase)));
            sleep_until(cvy_os_now() + COVEY_USEC(100));
        }
    return NULL;
}

/* Who dies owning it is told of once, unless the one to be told dies before it can say so. */
static const char *audit_told(void)
{
    long told = (long)atomic_load(&storm->told);
    long most = storm->stops ? storm->owned : storm_deaths_inside();
    long least = storm->stops ? storm->owned - storm->owned_taking : 0;
    if (!noun->owns || (told >= least && told <= most))
        return NULL;
    return wrong("%ld were told of an owner's death, not %ld to %ld", told, least,
                 most);
}

static void begin_round(void)
{
    memset(storm->deaths, 0, sizeof storm->deaths);
    storm->all_told += (long)atomic_exchange(&storm->told, 0);
    storm->owned = storm->owned_taking = 0;
    storm->stops = noun->owns && result->audits % 2;
}

static const char *audit(void)
{
    const char *is = let_park();
    if (has_gone_wrong())
        return NULL;
    if (!is)
        is = noun->audit();
    if (!is)
        is = audit_told();
    result->audits++;
    begin_round();
    atomic_fetch_add(&storm->parking, 1);
    (void)cvy_os_futex_wake(&storm->parking, STORM_PLACES);
    return is;
}

/* ---- one noun's storm ------------------------------------------------------------- */

static uint64_t operations(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < noun->places; i++)
        sum += atomic_load(&storm->places[i].operations);
    return sum;
}

/* Whether somebody has got on, lately enough. */
static const char *note_progress(void)
{
    static uint64_t seen;
    static int64_t since;
    uint64_t now_done = operations();
    int64_t now = cvy_os_now();
    if (now_done != seen || !since) {
        seen = now_done;
        since = now;
    }
    if (now - since > result->pause)
        result->pause = now - since;
    return now - since > patience ? "nobody gets on" : NULL;
}

static const char *rage(int64_t length)
{
    int64_t begun = cvy_os_now(), moment = begun, next_audit = begun + AUDIT_EVERY;
    const char *is = NULL;
    while (cvy_os_now() < begun + length && !is && !has_gone_wrong()) {
        moment += (int64_t)storm_random(2 * KILL_EVERY);
        sleep_until(moment);
        is = note_progress();
        unsigned i = (unsigned)storm_random(noun->places);
        if (!is)
            is = kill_worker(i);
        start_worker(i);
        if (!is && cvy_os_now() > next_audit) {
            is = audit();
            next_audit = cvy_os_now() + AUDIT_EVERY;
        }
    }
    result->rate = (double)operations() * 1e9 / (double)(cvy_os_now() - begun);
    return is || has_gone_wrong() ? is : audit();
}

/* All are dead: nothing is left of them. */
static const char *check_books(void)
{
    if (storm->object && cvy_object_release(storm->object) < 0)
        return "the object cannot be freed";
    if (storm->other && cvy_object_release(storm->other) < 0)
        return "the other object cannot be freed";
    return crash_books_check();
}

static void end_workers(void)
{
    for (unsigned i = 0; i < noun->places; i++) {
        kill(storm->places[i].pid, SIGKILL);
        waitpid(storm->places[i].pid, NULL, 0);
    }
}

static bool found_family(const struct crash_options *options)
{
    const struct covey_family_opts opts = {.size = sizeof opts,
                                           .budget = 64u << 20,
                                           .slice = options->slice,
                                           .bell = options->bell_off ? COVEY_OFF
                                                                     : COVEY_ON};
    return covey_family_configure(&opts) >= 0 && cvy_enter() >= 0;
}

static const char *run_storm(const struct crash_options *options, int64_t length)
{
    storm = storm_data(sizeof *storm);
    storm_variant = noun->variant;
    patience = options->limit;
    (void)setpriority(PRIO_PROCESS, 0, HURRY);
    if (!found_family(options))
        return wrong("no family: %s", covey_error_detail());
    void *first; /* what only the first object needs */
    if (cvy_object_create(CVY_KIND_TEST, 64, 0, 0, &first, NULL) < 0)
        return wrong("no object: %s", covey_error_detail());
    crash_books_note();
    noun->set_up();
    for (unsigned i = 0; i < noun->places; i++)
        start_worker(i);
    const char *is = rage(length);
    if (!is && has_gone_wrong())
        is = storm->wrong;
    result->told = storm->all_told;
    end_workers();
    return is ? is : check_books();
}

/* In a process of its own, since a family is for life. */
static void judge(const struct crash_options *options, int64_t length)
{
    memset(result, 0, sizeof *result);
    fflush(NULL);
    int pid = fork(), status = 0;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        const char *is = run_storm(options, length);
        snprintf(result->wrong, sizeof result->wrong, "%s", is ? is : "");
        result->over = true;
        cvy_region_abandon();
        _exit(0);
    }
    int64_t until = cvy_os_now() + length + 6 * options->limit;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (cvy_os_now() > until)
            kill(pid, SIGKILL);
        sleep_until(cvy_os_now() + COVEY_MSEC(2));
    }
    if (!result->over)
        snprintf(result->wrong, sizeof result->wrong,
                 "the judge hung, or ended with status %#x", (unsigned)status);
}

/* ---- all of them ------------------------------------------------------------------ */

static void say(struct program *p)
{
    bool failed = result->wrong[0];
    p->cases++;
    p->points += result->kills;
    p->failed += failed;
    if (p->quiet) {
        snprintf(p->caught, sizeof p->caught, "the storm over %s, after %ld kills: %s",
                 noun->name, result->kills, result->wrong);
        return;
    }
    if (p->tap) {
        if (failed)
            printf("# %s\n", result->wrong);
        printf("%s %ld storm_over_", failed ? "not ok" : "ok", p->cases);
        for (const char *at = noun->name; *at; at++)
            putchar(*at == ' ' ? '_' : *at);
        putchar('\n');
    } else {
        printf("%-18s %7ld %7ld %12.0f %9.1f %7ld\n", noun->name, result->kills,
               result->audits, result->rate, (double)result->pause / 1e6, result->told);
        if (failed)
            printf("    FAILED: %s\n", result->wrong);
    }
    fflush(stdout);
}

static bool is_selected(const struct storm_noun *n, const struct program *p)
{
    return !p->only || strstr(n->name, p->only) || fnmatch(p->only, n->name, 0) == 0;
}

static long count_selected(const struct program *p)
{
    long count = 0;
    for (size_t set = 0; set < CVY_ARRAY_SIZE(sets); set++)
        for (const struct storm_noun *n = sets[set]; n->name; n++)
            count += is_selected(n, p);
    return count;
}

bool run_storms(struct program *p)
{
    struct crash_options options = p->options;
    long count = count_selected(p);
    int64_t length = count ? p->storm / count : 0;
    result = storm_data(sizeof *result);
    options.slice = options.slice ? options.slice : COVEY_MSEC(500);
    options.limit = options.limit ? options.limit : COVEY_SEC(10);
    if (!p->tap && !p->quiet)
        printf("\nkilled at random moments, every %.0f ms on average%s\n"
               "%-18s %7s %7s %12s %9s %7s\n",
               (double)KILL_EVERY / 1e6, options.bell_off ? ", without the bell" : "",
               "noun", "kills", "audits", "operations/s", "pause/ms", "told");
    for (size_t set = 0; set < CVY_ARRAY_SIZE(sets); set++)
        for (const struct storm_noun *n = sets[set]; n->name; n++) {
            if (!is_selected(n, p))
                continue;
            noun = n;
            judge(&options, length);
            say(p);
            if (result->wrong[0] && p->quiet)
                return false;
        }
    return true;
}
