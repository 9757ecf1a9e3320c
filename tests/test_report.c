/* SPDX-License-Identifier: MIT */
/* What is known of an ended process: how it ended, where it crashed, what it said last. */
#include "process_help.h"

#define NO_CORE .limits = {.core_dumps = COVEY_OFF}

static struct covey_process_report report_of(covey_process *p)
{
    struct covey_process_report report;
    CHECK_OK(covey_process_join(p, COVEY_FOREVER));
    CHECK_OK(covey_process_report(p, &report));
    return report;
}

/* ---- ends --------------------------------------------------------------------- */

static int work_a_little(struct covey_view arg)
{
    int64_t end = cvy_os_now() + COVEY_MSEC(60);
    volatile char *memory = malloc(16 << 20);
    (void)arg;
    if (!memory)
        return 1;
    for (size_t i = 0; i < 16 << 20; i += 1024)
        memory[i] = 1;
    while (cvy_os_now() < end)
        continue;
    free((void *)(uintptr_t)memory);
    return 3;
}

TEST_EACH_METHOD(report_tells_exit_code_and_resources)
{
    covey_process *p = started(work_a_little, COVEY_NO_VIEW, OPTS());
    struct covey_process_report r = report_of(p);
    char line[128];
    snprintf(line, sizeof line, "Process-1 (pid %d) ended with exit code 3", r.pid);
    CHECK_STR_EQ(r.text, line);
    CHECK_EQ(r.pid, pid_of(p));
    CHECK_EQ(r.exitcode, 3);
    CHECK_EQ(r.core_dumped, 0);
    CHECK_GT(r.user_time + r.system_time, COVEY_MSEC(5));
    CHECK_LT(r.user_time + r.system_time, COVEY_SEC(20));
    CHECK_GE(r.max_rss, 16 << 20);
    CHECK_STR_EQ(r.stderr_tail, "");
    CHECK_STR_EQ(r.backtrace, "");
    covey_process_free(p);
}

TEST(report_of_a_thread_tells_the_exit_code)
{
    covey_process *p = started(work_a_little, COVEY_NO_VIEW,
                               COVEY_PROCESS_OPTS(.method = COVEY_THREAD));
    struct covey_process_report r = report_of(p);
    CHECK_EQ(r.exitcode, 3);
    CHECK_STR_HAS(r.text, "ended with exit code 3");
    CHECK_STR_EQ(r.stderr_tail, "");
    CHECK_STR_EQ(r.backtrace, "");
    covey_process_free(p);
}

/* ---- crashes ------------------------------------------------------------------ */

static void *volatile nowhere;

static int crash(struct covey_view arg)
{
    int signal = *(const int *)arg.data;
    if (signal == SIGABRT)
        abort();
    if (signal == SIGSEGV)
        memset(nowhere, 1, 1);
    raise(signal);
    return 0;
}

TEST_EACH_METHOD(crash_leaves_signal_and_backtrace)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS};
    static const char *const names[] = {"SIGABRT", "SIGSEGV", "SIGBUS",
                                        "SIGFPE",  "SIGILL",  "SIGSYS"};
    /* A sanitizer handles the others itself. */
    size_t last = SANITIZED ? 1 : sizeof names / sizeof *names;
    for (size_t i = 0; i < last; i++) {
        covey_process *p = started(crash, COVEY_VIEW_OF(signals[i]), OPTS(NO_CORE));
        struct covey_process_report r = report_of(p);
        CHECK_EQ(r.exitcode, -signals[i]);
        CHECK_STR_HAS(r.text, "ended with signal ");
        CHECK_STR_HAS(r.text, names[i]);
        CHECK_STR_HAS(r.backtrace, "#0 0x");
        CHECK_STR_HAS(r.backtrace, "\n#1 0x");
        CHECK_STR_HAS(r.backtrace, "test_report");
        covey_process_free(p);
    }
}

TEST_EACH_METHOD(backtrace_is_made_only_if_wanted_and_only_in_a_crash)
{
    int signal = SIGABRT;
    covey_process *p = started(crash, COVEY_VIEW_OF(signal),
                               OPTS(.crash_handler = COVEY_OFF, NO_CORE));
    struct covey_process_report r = report_of(p);
    CHECK_EQ(r.exitcode, -SIGABRT);
    CHECK_STR_EQ(r.backtrace, "");
    covey_process_free(p);
    signal = SIGKILL;
    p = started(crash, COVEY_VIEW_OF(signal), OPTS());
    r = report_of(p);
    CHECK_EQ(r.exitcode, -SIGKILL);
    CHECK_STR_EQ(r.backtrace, "");
    covey_process_free(p);
}

static volatile int depth;

static int overflow(struct covey_view arg)
{
    volatile char room[4096];
    room[0] = 1;
    if (++depth < 0)
        return 0;
    return room[0] + overflow(arg) + room[arg.size];
}

TEST_EACH_METHOD(stack_overflow_leaves_a_backtrace)
{
    if (SANITIZED)
        return;
    covey_process *p =
        started(overflow, COVEY_NO_VIEW, OPTS(.limits = {.core_dumps = COVEY_OFF}));
    struct covey_process_report r = report_of(p);
    CHECK_EQ(r.exitcode, -SIGSEGV);
    CHECK_STR_HAS(r.backtrace, "\n#20 0x");
    CHECK_LE(strlen(r.backtrace), 4096);
    covey_process_free(p);
}

static void *crash_in_thread(void *unused)
{
    (void)unused;
    abort();
}

static int start_thread_that_crashes(struct covey_view arg)
{
    pthread_t thread;
    (void)arg;
    CHECK_EQ(pthread_create(&thread, NULL, crash_in_thread, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    return 0;
}

TEST_EACH_METHOD(crash_of_another_thread_leaves_a_backtrace)
{
    covey_process *p = started(start_thread_that_crashes, COVEY_NO_VIEW, OPTS(NO_CORE));
    struct covey_process_report r = report_of(p);
    CHECK_EQ(r.exitcode, -SIGABRT);
    CHECK_STR_HAS(r.backtrace, "#0 0x");
    covey_process_free(p);
}

static void handle(int signal)
{
    _exit(signal);
}

static int handle_and_crash(struct covey_view arg)
{
    if (arg.size)
        signal(SIGABRT, handle);
    abort();
}

TEST_EACH_METHOD(handlers_of_the_program_are_left_alone)
{
    covey_process *p = started(handle_and_crash, COVEY_VIEW("x", 1), OPTS());
    CHECK_EQ(end_of(p), SIGABRT);
    signal(SIGABRT, handle); /* which a fork child inherits */
    p = started(handle_and_crash, COVEY_NO_VIEW, OPTS(NO_CORE));
    CHECK_EQ(exitcode_of(p), check_method() == COVEY_FORK ? SIGABRT : -SIGABRT);
    covey_process_free(p);
}

static covey_process *unfreed;

static void make_unfreed(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    unfreed = started(do_nothing, COVEY_NO_VIEW, OPTS(.fds = &fd, .fd_count = 1));
    CHECK_EQ(report_of(unfreed).exitcode, 0);
    close(fd);
}

/* Also for a leak checker, which looks at private memory and not at the family's. */
TEST_EACH_METHOD(what_a_fork_inherits_of_a_process_is_not_lost)
{
    make_unfreed();
    int pid = family_fork();
    if (pid == 0)
        exit(0);
    family_join(pid);
    covey_process_free(unfreed);
}

/* ---- the last words ----------------------------------------------------------- */

static int say(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    for (int i = 0; i < s->numbers[1]; i++)
        fprintf(stderr, "line %05d\n", i);
    family_tell(&s->begun);
    if (s->numbers[2])
        raise(s->numbers[2]);
    return 0;
}

/* All of it was shown. A signal ends the reader of it too, maybe while it shows a piece
 * or before it could count that; then its creator shows the piece again. */
static void check_shown(const char *shown, const char *all, int signal)
{
    size_t same = 0, twice = strlen(shown) - strlen(all);
    while (shown[same] && shown[same] == all[same])
        same++;
    if (!signal || twice > same)
        CHECK_STR_EQ(shown, all);
    else
        CHECK_STR_EQ(shown + same, all + same - twice);
}

/* What `lines` lines of a child leave, which then gets `signal`. */
static void check_tail(int lines, int signal)
{
    static char all[1 << 20];
    struct shared *s = share();
    size_t size = 0;
    for (int i = 0; i < lines; i++)
        size += (size_t)snprintf(all + size, 12, "line %05d\n", i);
    all[size] = 0;
    s->numbers[1] = lines;
    s->numbers[2] = signal;
    struct catcher c = catch_output(2);
    covey_process *p =
        started(say, COVEY_VIEW_OF(s), OPTS(.capture_stderr = COVEY_ON, NO_CORE));
    struct covey_process_report r = report_of(p);
    const char *shown = caught(&c);
    CHECK_EQ(r.exitcode, -signal);
    CHECK_STR_EQ(r.stderr_tail, size > 4096 ? all + size - 4096 : all);
    check_shown(shown, all, signal);
    covey_process_free(p);
}

TEST_EACH_METHOD(last_words_are_kept)
{
    check_tail(0, 0);
    check_tail(1, 0);
    check_tail(373, 0);
    check_tail(2000, 0);
}

TEST_EACH_METHOD(last_words_of_a_killed_child_are_kept)
{
    check_tail(1, SIGKILL);
    check_tail(2000, SIGKILL);
    check_tail(100, SIGABRT);
    check_tail(3, SIGTERM);
}

TEST_EACH_METHOD(much_stderr_is_no_obstacle)
{
    struct shared *s = share();
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC),
        old = fcntl(2, F_DUPFD_CLOEXEC, 3);
    s->numbers[1] = 50000;
    dup2(null, 2);
    covey_process *p = started(say, COVEY_VIEW_OF(s), OPTS(.capture_stderr = COVEY_ON));
    struct covey_process_report r = report_of(p);
    cvy_forkserver_stop();
    dup2(old, 2);
    close(old);
    close(null);
    CHECK_EQ(r.exitcode, 0);
    CHECK_EQ(strlen(r.stderr_tail), 4096);
    CHECK_STR_EQ(r.stderr_tail + 4096 - 11, "line 49999\n");
    covey_process_free(p);
}

static int say_in_generations(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    int left = s->numbers[0]--;
    forks_beside_threads();
    if (left > 0)
        CHECK_EQ(run(say_in_generations, arg, COVEY_PROCESS_OPTS(.method = COVEY_FORK)),
                 0);
    fprintf(stderr, "%d ", left);
    return 0;
}

TEST_EACH_METHOD(last_words_of_its_children_are_the_childs)
{
    struct shared *s = share();
    struct catcher c = catch_output(2);
    for (int i = 0; i < 20; i++) {
        s->numbers[0] = 3;
        covey_process *p = started(say_in_generations, COVEY_VIEW_OF(s),
                                   OPTS(.capture_stderr = COVEY_ON));
        struct covey_process_report r = report_of(p);
        CHECK_EQ(r.exitcode, 0);
        CHECK_STR_EQ(r.stderr_tail, "0 1 2 3 ");
        covey_process_free(p);
    }
    (void)caught(&c);
}

static int capture_below(struct covey_view arg)
{
    forks_beside_threads();
    fprintf(stderr, "above ");
    covey_process *p =
        started(say_in_generations, arg,
                COVEY_PROCESS_OPTS(.method = COVEY_FORK, .capture_stderr = COVEY_ON));
    struct covey_process_report r = report_of(p);
    CHECK_STR_EQ(r.stderr_tail, "0 ");
    return 0;
}

TEST_EACH_METHOD(captures_nest)
{
    struct shared *s = share();
    struct catcher c = catch_output(2);
    covey_process *p =
        started(capture_below, COVEY_VIEW_OF(s), OPTS(.capture_stderr = COVEY_ON));
    struct covey_process_report r = report_of(p);
    CHECK_STR_EQ(caught(&c), "above 0 ");
    CHECK_STR_EQ(r.stderr_tail, "above 0 ");
    covey_process_free(p);
}

static int close_and_wait(struct covey_view arg)
{
    close(2);
    return run_until_told(arg);
}

TEST_EACH_METHOD(child_that_closes_its_stderr_rests)
{
    struct shared *s = share();
    covey_process *p =
        started(close_and_wait, COVEY_VIEW_OF(s), OPTS(.capture_stderr = COVEY_ON));
    family_await(&s->begun, 1);
    CHECK_ERR(covey_process_join(p, COVEY_MSEC(300)), -ETIMEDOUT);
    family_tell(&s->go);
    struct covey_process_report r = report_of(p);
    CHECK_EQ(r.exitcode, 0);
    CHECK_LT(r.user_time + r.system_time, COVEY_MSEC(150));
    covey_process_free(p);
}

static pthread_t main_thread;

static void note_thread(int signal)
{
    (void)signal;
    _exit(pthread_self() == main_thread ? 1 : 2);
}

static int take_signal(struct covey_view arg)
{
    sigset_t usr1;
    main_thread = pthread_self();
    signal(SIGUSR1, note_thread);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
    CHECK_EQ(kill(getpid(), SIGUSR1), 0); /* to whichever thread takes it */
    family_tell(&shared_of(arg)->begun);
    usleep(20000);
    CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &usr1, NULL), 0);
    return 0;
}

TEST_EACH_METHOD(reader_takes_no_signals_of_the_program)
{
    struct shared *s = share();
    CHECK_EQ(run(take_signal, COVEY_VIEW_OF(s), OPTS(.capture_stderr = COVEY_ON)), 1);
}

CHECK_MAIN()
