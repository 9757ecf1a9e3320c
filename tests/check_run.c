/* SPDX-License-Identifier: MIT */
/* The runner: picks the tests, runs each in a process of its own, looks at what is left
 * of it, and reports in TAP. */
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check_internal.h"

/* How long processes may take to die after their test has ended. */
#define GRACE_SECONDS 1.0

struct selection {
    char **patterns; /* none: all */
    int count;
    unsigned methods;
};

/* One run of one test. */
struct run {
    const struct check_test *test;
    enum covey_start_method method; /* COVEY_DEFAULT_METHOD: not about methods */
    char name[160];
};

static double time_factor = 1.0;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- in the test's process ---------------------------------------------------- */

static void check_leavings(struct check_names *before)
{
    char why[512] = "";
    if (check_at_end && check_at_end(why, sizeof why) < 0)
        check_note("at the end: %s", why);
    struct check_names after = check_descriptors();
    check_compare_names(before, &after, "descriptor", true);
    check_list_descendants("child not joined", false);
}

_Noreturn static void run_body(const struct check_test *test)
{
    pid_t self = getpid();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(STDERR_FILENO, STDOUT_FILENO); /* the runner's stdout is for TAP */

    /* Static, so that a fork child by another thread does not seem to have lost it. */
    static struct check_names before;
    before = check_descriptors();
    test->body();
    if (getpid() != self) {
        check_note("a forked child returned from the test's body");
        _exit(1);
    }
    check_leavings(&before);
    exit(atomic_load(&check_report->used) > 0);
}

/* ---- in the runner ------------------------------------------------------------ */

/* Sleeps until a child changes, at most until the deadline; reaps all that ended. Orphans
 * of the test are reaped at once as well: zombies would look alive to the test. */
static bool reap(pid_t wanted, double deadline, int *status)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    for (;;) {
        int ended;
        pid_t pid;
        while ((pid = waitpid(-1, &ended, WNOHANG | __WALL)) > 0)
            if (pid == wanted) {
                *status = ended;
                return true;
            }
        double left = deadline - now();
        if (left <= 0)
            return false;
        struct timespec time = {(time_t)left,
                                (long)((left - (double)(time_t)left) * 1e9)};
        sigtimedwait(&child, NULL, &time);
    }
}

/* Waits for the test and for all it started. */
static int supervise(const struct run *run, pid_t pid)
{
    int status = 0;
    const char *gdb = getenv("CHECK_GDB");
    double limit = run->test->seconds * time_factor;
    if (!reap(pid, now() + limit, &status)) {
        check_note("no end after %g s", limit);
        check_list_descendants("hangs", gdb && *gdb == '1');
    } else if (WIFSIGNALED(status)) {
        check_note("killed by signal %d (%s)", WTERMSIG(status),
                   strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != CHECK_SKIPPED) {
        check_note("exit status %d", WEXITSTATUS(status));
    }
    /* After a failure there is more left than the failure's own fault. */
    double end = now() + GRACE_SECONDS * time_factor;
    bool failed = atomic_load(&check_report->used) > 0;
    while (!failed && check_count_descendants() > 0 && now() < end)
        reap(-1, now() + 0.002, &(int){0});
    if (!failed)
        check_list_descendants("orphan", false);
    check_kill_descendants();
    return status;
}

static void print_diagnostics(void)
{
    char *line, *rest = check_report->text;
    check_report->text[sizeof check_report->text - 1] = '\0';
    while ((line = strsep(&rest, "\n")))
        if (*line)
            printf("# %s\n", line);
}

/* Gives whether the test passed or was skipped. */
static bool run_one(const struct run *run, int number)
{
    memset(check_report, 0, sizeof *check_report);
    check_set_method(run->method);
    struct check_names shm_before = check_shm_names();
    double start = now();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        run_body(run->test);
    int status = supervise(run, pid);
    struct check_names shm_after = check_shm_names();
    check_compare_names(&shm_before, &shm_after, "name in /dev/shm", false);

    bool passed = atomic_load(&check_report->used) == 0;
    if (!passed)
        print_diagnostics();
    else if (now() - start > 2)
        printf("# %s took %.1f s\n", run->name, now() - start);
    printf("%s %d %s", passed ? "ok" : "not ok", number, run->name);
    if (passed && WIFEXITED(status) && WEXITSTATUS(status) == CHECK_SKIPPED)
        printf(" # SKIP %s", check_report->skip_reason);
    putchar('\n');
    fflush(stdout);
    return passed;
}

/* ---- which tests --------------------------------------------------------------- */

static bool is_selected(const struct selection *selection, const struct run *run)
{
    if (run->method != COVEY_DEFAULT_METHOD &&
        !(selection->methods >> run->method & 1U))
        return false;
    for (int i = 0; i < selection->count; i++)
        if (fnmatch(selection->patterns[i], run->name, 0) == 0 ||
            fnmatch(selection->patterns[i], run->test->name, 0) == 0)
            return true;
    return selection->count == 0;
}

static size_t add_runs(const struct selection *selection, const struct check_test *test,
                       struct run *runs)
{
    size_t count = 0;
    for (unsigned method = COVEY_DEFAULT_METHOD; method <= COVEY_THREAD; method++) {
        struct run *run = &runs[count];
        if (test->methods ? !(test->methods >> method & 1U)
                          : method != COVEY_DEFAULT_METHOD)
            continue;
        run->test = test;
        run->method = (enum covey_start_method)method;
        snprintf(run->name, sizeof run->name, "%s%s%s", test->name, method ? "/" : "",
                 method ? check_method_name(run->method) : "");
        count += is_selected(selection, run);
    }
    return count;
}

static size_t select_runs(const struct selection *selection, struct run **ret)
{
    size_t tests = 0, count = 0;
    for (const struct check_test *test = check_tests; test; test = test->next)
        tests++;
    *ret = calloc(tests + 1, (COVEY_THREAD + 1) * sizeof **ret);
    for (const struct check_test *test = check_tests; *ret && test; test = test->next)
        count += add_runs(selection, test, *ret + count);
    return count;
}

static unsigned method_bit(const char *name)
{
    for (unsigned method = COVEY_FORK; method <= COVEY_THREAD; method++)
        if (strcmp(name, check_method_name((enum covey_start_method)method)) == 0)
            return 1U << method;
    fprintf(stderr, "check: no start method \"%s\"\n", name);
    exit(2);
}

static void prepare(void)
{
    const char *factor = getenv("CHECK_TIMEOUT");
    if (factor && atof(factor) > 0)
        time_factor = atof(factor);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &child, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    check_private_shm();
    check_report_create();
}

int check_run(int argc, char **argv)
{
    struct selection selection = {argv + 1, 0, ~0U};
    static struct run *runs;
    bool list = false;
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0)
            list = true;
        else if (strcmp(argv[i], "--method") == 0 && i + 1 < argc)
            selection.methods = method_bit(argv[++i]);
        else
            selection.patterns[selection.count++] = argv[i];
    }
    size_t count = select_runs(&selection, &runs);
    if (list) {
        for (size_t i = 0; i < count; i++)
            puts(runs[i].name);
    } else if (count == 0) {
        puts("Bail out! No such test.");
        failed = 1;
    } else {
        prepare();
        printf("1..%zu\n", count);
        for (size_t i = 0; i < count; i++)
            failed += !run_one(&runs[i], (int)i + 1);
    }
    free(runs);
    return failed > 0;
}
