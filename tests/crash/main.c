/* SPDX-License-Identifier: MIT */
/* main.c: which cases are run in which ways, and what is said of them; see
 * docs/design/crash.md. Each case is run by a process of its own, as many at a time as there
 * are processors. */
#include <fnmatch.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storm.h"

/* A case that does not get on for so many times what survivors may take is killed. */
#define PATIENCE 10

static const struct crash_case *const sets[] = {
    crash_locks,    crash_semaphores, crash_conditions, crash_events,
    crash_barriers, crash_regions,    crash_messages,   crash_pools};
static const char *const way_names[] = {"killed", "smashed, killed", "stopped",
                                        "spared"};

/* ---- one case ------------------------------------------------------------------- */

/* One case in one way, by a process of its own. */
struct turn {
    const struct crash_case *c;
    struct crash_verdict *verdict; /* in memory that is shared with the process */
    int pid;                       /* 0: it has ended */
    long seen;                     /* points, at that time */
    int64_t since;
};

static void begin_turn(struct turn *turn, const struct crash_options *o)
{
    fflush(NULL);
    turn->seen = -1;
    int pid = fork();
    turn->pid = pid > 0 ? pid : 0;
    if (pid < 0) {
        turn->verdict->failed++;
        snprintf(turn->verdict->first, sizeof turn->verdict->first,
                 "point 0: there is no process for it");
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        crash_run(turn->c, o, turn->verdict);
        cvy_region_abandon();
        _exit(0);
    }
}

static void note_end(struct turn *turn, int status)
{
    struct crash_verdict *verdict = turn->verdict;
    turn->pid = 0;
    if (!status)
        return;
    verdict->failed++;
    snprintf(verdict->first, sizeof verdict->first,
             "point %ld: the judge hung, or ended with status %#x", verdict->points,
             (unsigned)status);
}

/* What a process leaves dies with it; one that does not get on is killed. */
static void look_at_turn(struct turn *turn, covey_nsec patience)
{
    int status = 0, pid = waitpid(turn->pid, &status, WNOHANG);
    int64_t now = cvy_os_now();
    if (pid != 0) {
        note_end(turn, pid < 0 ? -1 : status);
        return;
    }
    if (turn->verdict->points != turn->seen) {
        turn->seen = turn->verdict->points;
        turn->since = now;
    }
    if (now - turn->since > patience) {
        kill(turn->pid, SIGKILL);
        waitpid(turn->pid, &status, 0);
        note_end(turn, status);
    }
}

/* The short form leaves out what takes long, and of the other ways most. */
static bool is_short(const struct crash_case *c, const struct crash_options *o)
{
    if (o->way == CRASH_SPARE)
        return true;
    if (o->way == CRASH_KILL && !o->bell_off)
        return !(c->flags & CRASH_BRIEF) && strcmp(c->path, "grown") != 0;
    return strcmp(c->path, "two asleep") == 0 || strcmp(c->path, "asleep, woken") == 0;
}

/* ---- tables ----------------------------------------------------------------------- */

static bool is_selected(const struct crash_case *c, const struct program *p,
                        enum crash_way way)
{
    char name[128];
    snprintf(name, sizeof name, "%s, %s", c->operation, c->path);
    return (!p->only || strstr(name, p->only) || fnmatch(p->only, name, 0) == 0) &&
           !(way == CRASH_STOP && c->flags & CRASH_NOT_STOPPED) &&
           !(way == CRASH_SPARE && !(c->flags & CRASH_LIVES));
}

/* For TAP: a name without blanks. */
static void tap_line(const struct crash_case *c, const struct crash_options *o,
                     const struct crash_verdict *v, struct program *p)
{
    char name[160];
    snprintf(name, sizeof name, "%s/%s/%s%s", c->operation, c->path, way_names[o->way],
             o->bell_off ? "/bell off" : "");
    for (char *at = name; *at; at++)
        if (*at == ' ' || *at == ',')
            *at = '_';
    if (v->failed)
        printf("# %s\n", v->first);
    printf("%s %ld %s\n", v->failed ? "not ok" : "ok", p->cases, name);
}

static void table_line(const struct crash_case *c, const struct crash_verdict *v)
{
    printf("%-18s %-24s %6ld %6ld %8.1f\n", c->operation, c->path, v->points, v->stores,
           (double)v->slowest / 1e6);
    if (v->failed)
        printf("    FAILED after %s\n", v->first);
}

static void count_case(const struct turn *turn, const struct crash_options *o,
                       struct program *p)
{
    const struct crash_case *c = turn->c;
    const struct crash_verdict *v = turn->verdict;
    p->cases++;
    p->points += v->points;
    p->failed += v->failed;
    if (v->slowest > p->slowest && o->way != CRASH_SMASH)
        p->slowest = v->slowest;
    if (p->tap)
        tap_line(c, o, v, p);
    else if (!p->quiet)
        table_line(c, v);
    fflush(stdout);
    if (v->failed && p->quiet)
        snprintf(p->caught, sizeof p->caught, "%s, %s (%s%s), after %s", c->operation,
                 c->path, way_names[o->way], o->bell_off ? ", bell off" : "", v->first);
}

/* ---- cases side by side ----------------------------------------------------------- */

enum { MOST_TURNS = 256 };

static size_t select_cases(const struct crash_options *o, const struct program *p,
                           struct turn turns[MOST_TURNS])
{
    size_t count = 0;
    for (size_t set = 0; set < CVY_ARRAY_SIZE(sets); set++)
        for (const struct crash_case *c = sets[set]; c->operation; c++)
            if (is_selected(c, p, o->way) && (!p->tap || is_short(c, o))) {
                if (count == MOST_TURNS)
                    abort();
                memset(&p->verdicts[count], 0, sizeof p->verdicts[count]);
                turns[count] = (struct turn){.c = c, .verdict = &p->verdicts[count]};
                count++;
            }
    return count;
}

/* One for each processor; one in all where other tests run, where the first failure counts,
 * and where a late recovery is a failure. */
static size_t at_once(const struct crash_options *o, const struct program *p)
{
    cpu_set_t cpus;
    if (p->tap || p->quiet || o->must_be_fast ||
        sched_getaffinity(0, sizeof cpus, &cpus) < 0)
        return 1;
    return (size_t)CPU_COUNT(&cpus);
}

bool run_cases(const struct crash_options *o, struct program *p)
{
    struct turn turns[MOST_TURNS];
    size_t count = select_cases(o, p, turns), begun = 0, told = 0, running = 0;
    if (!p->tap && !p->quiet)
        printf("\n%s after each %s%s, slice %.3g s\n"
               "%-18s %-24s %6s %6s %8s\n",
               way_names[o->way], o->all ? "instruction" : "change of shared state",
               o->bell_off ? ", without the bell" : "", (double)o->slice / 1e9,
               "operation", "path", "points", "stores", "slowest/ms");
    while (told < count) {
        for (; running < at_once(o, p) && begun < count; begun++) {
            begin_turn(&turns[begun], o);
            running += turns[begun].pid != 0;
        }
        usleep(1000);
        for (size_t i = told; i < begun; i++)
            if (turns[i].pid) {
                look_at_turn(&turns[i], PATIENCE * o->limit);
                running -= !turns[i].pid;
            }
        for (; told < begun && !turns[told].pid; told++) {
            count_case(&turns[told], o, p);
            if (turns[told].verdict->failed && p->quiet)
                return false;
        }
    }
    return true;
}

/* ---- the tests that do their own killing ------------------------------------------ */

/* Their lines "NAME: N of M points" count. */
static void run_program(struct program *p, const char *name)
{
    char command[600], line[256];
    snprintf(command, sizeof command, "CHECK_LONG=%d '%s/test_%s' 2>&1", p->at_length,
             p->folder, name);
    FILE *pipe = popen(command, "r");
    long tried, of;
    while (pipe && fgets(line, sizeof line, pipe)) {
        char *colon = strrchr(line, ':');
        if (colon && sscanf(colon, ": %ld of %ld points", &tried, &of) == 2) {
            p->points += tried;
            *colon = '\0';
            printf("%-43s %6ld %6s of %ld\n", line, tried, "", of);
            fflush(stdout);
        } else if (strncmp(line, "not ok", 6) == 0 || strstr(line, "killed after")) {
            printf("    FAILED %s", line);
            p->failed += line[0] == 'n';
        }
    }
    if (!pipe || pclose(pipe) < 0)
        p->failed++;
}

void run_programs(struct program *p)
{
    static const char *const names[] = {"region_kills", "queue_kills",
                                        "conn_kills",   "process_points",
                                        "pool_points",  "memory_kills"};
    printf("\nkilled in the region, in processes and in pools: points, of so many\n");
    for (size_t i = 0; i < CVY_ARRAY_SIZE(names) && !(p->quiet && p->failed); i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/test_%s", p->folder, names[i]);
        if (access(path, X_OK) == 0)
            run_program(p, names[i]);
    }
}

/* ---- all ways ---------------------------------------------------------------------- */

void run_all_ways(struct program *p)
{
    struct crash_options o = p->options;
    bool chosen = p->options.bell_off || p->options.slice;
    if (!o.slice)
        o.slice = COVEY_MSEC(500);
    o.limit = o.limit ? o.limit : COVEY_SEC(5);
    o.at_length = p->at_length;
    o.must_be_fast = o.slice > COVEY_SEC(5);
    o.all = !p->tap && (!o.bell_off || p->at_length);
    run_cases(&o, p);
    if (chosen)
        return;
    o.way = CRASH_SPARE;
    o.slice = COVEY_SEC(60);
    run_cases(&o, p);
    o.way = CRASH_KILL;
    o.slice = COVEY_MSEC(500);
    o.all = p->at_length;
    o.bell_off = true;
    run_cases(&o, p);
    o.bell_off = false;
    o.way = CRASH_SMASH;
    o.slice = COVEY_MSEC(20);
    run_cases(&o, p);
    o.way = CRASH_STOP;
    o.all = false;
    o.slice = COVEY_MSEC(40);
    run_cases(&o, p);
}

static int64_t time_of(const char *text)
{
    char *unit;
    double number = strtod(text, &unit);
    return (int64_t)(number * (strcmp(unit, "ms") == 0 ? 1e6 : 1e9));
}

static const struct option long_options[] = {{"only", required_argument, NULL, 'o'},
                                             {"slice", required_argument, NULL, 's'},
                                             {"bell", required_argument, NULL, 'b'},
                                             {"mutate", required_argument, NULL, 'm'},
                                             {"long", no_argument, NULL, 'l'},
                                             {"tap", no_argument, NULL, 't'},
                                             {"limit", required_argument, NULL, 'L'},
                                             {"brief", no_argument, NULL, 'B'},
                                             {"storm", required_argument, NULL, 'S'},
                                             {"program", required_argument, NULL, 'P'},
                                             {"points", required_argument, NULL, 'n'},
                                             {"first", no_argument, NULL, 'f'},
                                             {NULL, 0, NULL, 0}};

/* Which makes ten steps of each. */
static bool is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

static int usage(void)
{
    fprintf(stderr, "usage: crash [--only PATTERN] [--slice TIME] [--bell off] "
                    "[--mutate NAME|list|all] [--long] [--brief] [--storm TIME] "
                    "[--program COMMAND [--points NUMBER]] [--limit TIME] [--first]\n");
    return 2;
}

static bool take_options(struct program *p, int argc, char **argv)
{
    for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;)
        switch (c) {
        case 'o':
            p->only = optarg;
            break;
        case 's':
            p->options.slice = time_of(optarg);
            break;
        case 'b':
            p->options.bell_off = strcmp(optarg, "off") == 0;
            break;
        case 'm':
            p->mutant = optarg;
            break;
        case 'l':
            p->at_length = true;
            break;
        case 't':
            p->tap = true;
            break;
        case 'L':
            p->options.limit = time_of(optarg);
            break;
        case 'B':
            p->brief = true;
            break;
        case 'S':
            p->storm = time_of(optarg);
            break;
        case 'f':
            p->quiet = true;
            break;
        case 'n':
            p->most = strtol(optarg, NULL, 10);
            if (p->most <= 0)
                return false;
            break;
        case 'P':
            p->scenario = optarg;
            break;
        default:
            return false;
        }
    return optind == argc;
}

int main(int argc, char **argv)
{
    static struct program p;
    if (!take_options(&p, argc, argv))
        return usage();
    p.verdicts = mmap(NULL, MOST_TURNS * sizeof *p.verdicts, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    snprintf(p.folder, sizeof p.folder, "%s", argv[0]);
    char *slash = strrchr(p.folder, '/');
    if (slash)
        *slash = '\0';
    if (p.verdicts == MAP_FAILED || !slash)
        return 2;
    if (!stepper_works() || ((p.tap || p.scenario) && is_sanitized())) {
        puts("1..0 # SKIP processes may not be traced here, or a sanitizer is in the "
             "way");
        return p.tap ? 0 : 77;
    }
    if (p.mutant)
        return run_mutants(&p);
    if (p.scenario)
        return run_scenario(&p);
    if (p.quiet)
        return run_to_first(&p);
    if (p.storm)
        (void)run_storms(&p);
    else
        run_all_ways(&p);
    if (p.tap) {
        printf("1..%ld\n", p.cases);
        return p.failed > 0;
    }
    if (p.storm) {
        printf("\n%ld kills, %ld failed\n", p.points, p.failed);
        return p.failed > 0;
    }
    if (!p.only && !p.options.slice && !p.options.bell_off && !p.brief)
        run_programs(&p);
    printf("\n%ld kill points, %ld failed; slowest recovery %.1f ms\n", p.points,
           p.failed, (double)p.slowest / 1e6);
    return p.failed > 0;
}
