/* SPDX-License-Identifier: MIT */
/* How processes end: exit codes, signals, waiting, hooks, and the order of an end. */
#include <sys/prctl.h>
#include <sys/ptrace.h>

#include "process_help.h"
#include "thread_state.h"

/* ---- exit codes --------------------------------------------------------------- */

enum way { BY_RETURN, BY_COVEY_EXIT, BY_EXIT, BY_UNDERSCORE_EXIT };

struct ending {
    enum way way;
    int code;
};

static int end_as_told(struct covey_view arg)
{
    const struct ending *e = arg.data;
    if (e->way == BY_COVEY_EXIT)
        covey_exit(e->code);
    if (e->way == BY_EXIT)
        exit(e->code);
    if (e->way == BY_UNDERSCORE_EXIT)
        _exit(e->code);
    return e->code;
}

TEST_EACH_METHOD_AND_THREAD(exit_codes_count_modulo_256)
{
    static const int codes[][2] = {{0, 0},    {1, 1},    {255, 255}, {256, 0},
                                   {300, 44}, {-1, 255}, {-256, 0}};
    enum way last = check_method() == COVEY_THREAD ? BY_COVEY_EXIT : BY_UNDERSCORE_EXIT;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        for (enum way way = BY_RETURN; way <= last; way++) {
            struct ending e = {way, codes[i][0]};
            CHECK_EQ(run(end_as_told, COVEY_VIEW_OF(e), OPTS()), codes[i][1]);
        }
}

TEST_EACH_METHOD_AND_THREAD(no_function_is_exit_code_0)
{
    CHECK_EQ(run(NULL, COVEY_NO_VIEW, OPTS()), 0);
}

static int exit_deep_inside(struct covey_view arg)
{
    (void)arg;
    return run(end_as_told, COVEY_VIEW_OF(((struct ending){BY_COVEY_EXIT, 9})),
               COVEY_PROCESS_OPTS(.method = COVEY_THREAD));
}

TEST_EACH_METHOD(covey_exit_of_a_thread_ends_the_thread_only)
{
    CHECK_EQ(run(exit_deep_inside, COVEY_NO_VIEW, OPTS()), 9);
}

/* ---- signals ------------------------------------------------------------------ */

static void check_signal(int (*send)(covey_process *), int signal)
{
    struct shared *s = share();
    covey_process *p = started(run_for_ever, COVEY_VIEW_OF(s), OPTS());
    family_await(&s->begun, 1);
    CHECK_OK(send(p));
    CHECK_EQ(exitcode_of(p), -signal);
    CHECK_OK(covey_process_terminate(p)); /* of no effect, and no error, afterwards */
    CHECK_OK(covey_process_kill(p));
    CHECK_OK(covey_process_interrupt(p));
    CHECK_EQ(exitcode_of(p), -signal);
    covey_process_free(p);
}

TEST_EACH_METHOD(terminate_kill_and_interrupt_end_by_their_signal)
{
    check_signal(covey_process_terminate, SIGTERM);
    check_signal(covey_process_kill, SIGKILL);
    check_signal(covey_process_interrupt, SIGINT);
}

TEST_EACH_METHOD(signal_to_an_ended_child_that_was_not_joined_is_no_error)
{
    covey_process *p = started(do_nothing, COVEY_NO_VIEW, OPTS());
    int fd = -1;
    CHECK_OK(covey_process_sentinel(p, &fd));
    CHECK_EQ(cvy_os_poll_in(fd, INT64_MAX), 1);
    CHECK_OK(covey_process_terminate(p));
    CHECK_OK(covey_process_kill(p));
    CHECK_EQ(end_of(p), 0);
}

TEST(thread_cannot_be_sent_signals)
{
    struct shared *s = share();
    const struct covey_process_opts *opts = COVEY_PROCESS_OPTS(.method = COVEY_THREAD);
    covey_process *p = started(run_until_told, COVEY_VIEW_OF(s), opts);
    CHECK_ERR(covey_process_terminate(p), -ENOTSUP);
    CHECK_ERR(covey_process_kill(p), -ENOTSUP);
    CHECK_ERR(covey_process_interrupt(p), -ENOTSUP);
    family_tell(&s->go);
    CHECK_EQ(end_of(p), 0);
}

/* ---- waiting ------------------------------------------------------------------ */

TEST_EACH_METHOD_AND_THREAD(join_gives_up_in_time)
{
    struct shared *s = share();
    covey_process *p = started(run_until_told, COVEY_VIEW_OF(s), OPTS());
    int64_t begin = cvy_os_now();
    CHECK_ERR(covey_process_join(p, COVEY_MSEC(20)), -ETIMEDOUT);
    CHECK_GE(cvy_os_now() - begin, COVEY_MSEC(20));
    CHECK_STR_HAS(covey_error_detail(), "Process-1");
    CHECK_ERR(covey_process_join(p, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_process_join(p, 0), -ETIMEDOUT);
    CHECK_ERR(covey_process_join(p, INT64_MIN), -ETIMEDOUT);
    family_tell(&s->go);
    CHECK_OK(covey_process_join(p, COVEY_SEC(20)));
    CHECK_EQ(end_of(p), 0);
}

static void *join_it(void *p)
{
    CHECK_EQ(exitcode_of(p), 6);
    return NULL;
}

TEST_EACH_METHOD_AND_THREAD(several_threads_may_join_at_once)
{
    struct shared *s = share();
    pthread_t threads[8];
    s->numbers[0] = 6;
    covey_process *p = started(run_until_told, COVEY_VIEW_OF(s), OPTS());
    for (size_t i = 0; i < 8; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, join_it, p), 0);
    CHECK_ERR(covey_process_join(p, COVEY_MSEC(5)), -ETIMEDOUT);
    family_tell(&s->go);
    CHECK_EQ(exitcode_of(p), 6);
    for (size_t i = 0; i < 8; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    covey_process_free(p);
}

TEST_EACH_METHOD_AND_THREAD(sentinel_is_readable_from_the_end_on)
{
    struct shared *s = share();
    int fd = -1, again = -1;
    covey_process *p = started(run_until_told, COVEY_VIEW_OF(s), OPTS());
    CHECK_OK(covey_process_sentinel(p, &fd));
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(cvy_os_poll_in(fd, 0), 0);
    family_tell(&s->go);
    CHECK_EQ(cvy_os_poll_in(fd, INT64_MAX), 1);
    CHECK_OK(covey_process_join(p, COVEY_SEC(20)));
    CHECK_OK(covey_process_sentinel(p, &again));
    CHECK_EQ(again, fd);
    CHECK_EQ(cvy_os_poll_in(fd, 0), 1);
    covey_process_free(p);
    CHECK_EQ(fcntl(fd, F_GETFD), -1); /* belonged to the object */

    p = started(do_nothing, COVEY_NO_VIEW, OPTS()); /* asked for after the end */
    CHECK_EQ(exitcode_of(p), 0);
    CHECK_OK(covey_process_sentinel(p, &fd));
    CHECK_EQ(cvy_os_poll_in(fd, 0), 1);
    CHECK_OK(covey_process_close(p));
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    covey_process_free(p);
}

static int leave_a_grandchild(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    fflush(NULL);
    int pid = fork(); /* the program's own: not joined at the end */
    if (pid == 0)
        run_for_ever(arg);
    s->numbers[1] = pid;
    return 4;
}

TEST_EACH_METHOD(grandchild_cannot_hold_the_end_up)
{
    struct shared *s = share();
    int fd = -1;
    covey_process *p = started(leave_a_grandchild, COVEY_VIEW_OF(s), OPTS());
    family_await(&s->begun, 1);
    CHECK_OK(covey_process_sentinel(p, &fd));
    CHECK_EQ(cvy_os_poll_in(fd, cvy_os_deadline(COVEY_SEC(20))), 1);
    CHECK_OK(covey_process_join(p, COVEY_SEC(20)));
    CHECK_EQ(end_of(p), 4);
    CHECK_EQ(kill(s->numbers[1], SIGKILL), 0);
}

/* ---- exit hooks --------------------------------------------------------------- */

struct note {
    struct shared *shared;
    char letter;
};

static int add_letter(struct covey_view arg)
{
    const struct note *n = arg.data;
    CHECK_EQ((uintptr_t)arg.data % 16, 0);
    CHECK_EQ(arg.size, sizeof *n);
    strncat(n->shared->text, &n->letter, 1);
    return 99; /* is of no meaning */
}

static void add_hook(struct shared *s, char letter, int priority)
{
    struct note n = {s, letter};
    CHECK_OK(covey_at_exit(add_letter, COVEY_VIEW_OF(n), priority));
}

static int add_hook_late(struct covey_view arg)
{
    add_hook(shared_of(arg), 'L', 20);
    return 0;
}

static int end_with_hooks(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    add_hook(s, 'e', 0);
    add_hook(s, 'g', -7);
    add_hook(s, 'f', -1);
    add_hook(s, 'd', 0);
    add_hook(s, 'b', 10);
    add_hook(s, 'a', 15);
    CHECK_OK(covey_at_exit(add_hook_late, arg, 5));
    add_hook(s, 'c', 3);
    add_hook(s, 'z', INT_MIN);
    CHECK_ERR(covey_at_exit(NULL, COVEY_NO_VIEW, 0), -EINVAL);
    CHECK_ERR(covey_at_exit(add_letter, COVEY_VIEW(NULL, 3), 0), -EINVAL);
    struct ending e = {(enum way)s->numbers[0], 3};
    return end_as_told(COVEY_VIEW_OF(e));
}

TEST_EACH_METHOD(hooks_run_by_priority_then_last_first)
{
    struct shared *s = share();
    for (enum way way = BY_RETURN; way <= BY_UNDERSCORE_EXIT; way++) {
        s->numbers[0] = (int)way;
        s->text[0] = 0;
        CHECK_EQ(run(end_with_hooks, COVEY_VIEW_OF(s), OPTS()), 3);
        CHECK_STR_EQ(s->text, way == BY_UNDERSCORE_EXIT ? "" : "abLcdefgz");
    }
}

struct enders {
    _Atomic int tid; /* of the second one, once the first one ends the process */
    _Atomic int go;
};

static struct enders enders;

static void *exit_too(void *unused)
{
    while (!atomic_load(&enders.go))
        sched_yield();
    atomic_store(&enders.tid, cvy_os_tid());
    exit(9);
    return unused;
}

static int wait_for_the_other_one(struct covey_view arg)
{
    int tid;
    atomic_store(&enders.go, 1);
    while (!(tid = atomic_load(&enders.tid)))
        sched_yield();
    await_sleep(tid);
    family_tell(&shared_of(arg)->ended);
    return 0;
}

static int end_in_two_threads(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    pthread_t second;
    CHECK_OK(covey_at_exit(wait_for_the_other_one, arg, 0));
    CHECK_EQ(pthread_create(&second, NULL, exit_too, NULL), 0);
    struct ending e = {(enum way)s->numbers[0], 3};
    return end_as_told(COVEY_VIEW_OF(e));
}

TEST_EACH_METHOD(one_thread_ends_the_process_and_others_wait)
{
    struct shared *s = share();
    for (enum way way = BY_RETURN; way < BY_UNDERSCORE_EXIT; way++) {
        s->numbers[0] = (int)way;
        CHECK_EQ(run(end_in_two_threads, COVEY_VIEW_OF(s), OPTS()), 3);
        CHECK_EQ(s->ended, way + 1);
    }
}

static int start_another_with_hooks(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    enum covey_start_method method;
    CHECK_OK(covey_start_method_from_name(s->other_text, &method));
    add_hook(s, 'p', 0);
    add_hook(s, 'q', -1);
    CHECK_EQ(run(end_with_hooks, arg, COVEY_PROCESS_OPTS(.method = method)), 3);
    CHECK_STR_EQ(s->text, "abLcdefgz");
    return 0;
}

TEST_EACH_METHOD(hooks_are_not_inherited)
{
    struct shared *s = share();
    strcpy(s->other_text, covey_start_method_name(check_method()));
    for (enum way way = BY_RETURN; way < BY_UNDERSCORE_EXIT; way++) {
        s->numbers[0] = (int)way;
        s->text[0] = 0;
        CHECK_EQ(run(start_another_with_hooks, COVEY_VIEW_OF(s), OPTS()), 0);
        CHECK_STR_EQ(s->text, "abLcdefgzpq");
    }
}

static int note_children(struct covey_view arg)
{
    size_t count = 77;
    struct note n = *(const struct note *)arg.data;
    CHECK_OK(covey_active_children(NULL, 0, &count));
    n.letter = (char)('0' + count);
    return add_letter(COVEY_VIEW_OF(n));
}

static int end_with_a_daemon(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    struct note n = {s, 0};
    enum covey_start_method method;
    CHECK_OK(covey_start_method_from_name(s->other_text, &method));
    (void)started(run_for_ever, arg,
                  COVEY_PROCESS_OPTS(.method = method, .daemon = COVEY_ON));
    CHECK_OK(covey_at_exit(note_children, COVEY_VIEW_OF(n), 0));
    CHECK_OK(covey_at_exit(note_children, COVEY_VIEW_OF(n), -1));
    family_await(&s->begun, 1);
    return 0;
}

TEST_EACH_METHOD(hooks_from_priority_0_run_before_children_end)
{
    struct shared *s = share();
    strcpy(s->other_text, covey_start_method_name(check_method()));
    CHECK_EQ(run(end_with_a_daemon, COVEY_VIEW_OF(s), OPTS()), 0);
    CHECK_STR_EQ(s->text, "10");
}

static int testing; /* pid */

static void must_not_run(void)
{
    if (getpid() != testing)
        check_failed(__FILE__, __LINE__, "the parent's atexit handler ran in a child");
}

TEST_EACH_METHOD(handlers_of_the_parent_do_not_run_in_children)
{
    testing = getpid();
    CHECK_EQ(atexit(must_not_run), 0);
    for (enum way way = BY_RETURN; way <= BY_COVEY_EXIT; way++) {
        struct ending e = {way, 3};
        CHECK_EQ(run(end_as_told, COVEY_VIEW_OF(e), OPTS()), 3);
    }
}

/* ---- children at the end ------------------------------------------------------ */

static int finish_late(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    family_tell(&s->begun);
    family_await(&s->go, 1);
    family_tell(&s->ended);
    return 0;
}

static int start_and_end(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    enum covey_start_method method;
    CHECK_OK(covey_start_method_from_name(s->other_text, &method));
    (void)started(finish_late, arg, COVEY_PROCESS_OPTS(.method = method));
    struct ending e = {(enum way)s->numbers[0], 3};
    return end_as_told(COVEY_VIEW_OF(e));
}

TEST_EACH_METHOD_AND_THREAD(end_waits_for_children_that_are_no_daemons)
{
    struct shared *s = share();
    strcpy(s->other_text, covey_start_method_name(check_method()));
    for (enum way way = BY_RETURN; way <= BY_EXIT; way++) {
        s->numbers[0] = (int)way;
        s->begun = s->go = s->ended = 0;
        covey_process *p =
            started(start_and_end, COVEY_VIEW_OF(s), COVEY_PROCESS_OPTS());
        family_await(&s->begun, 1);
        CHECK_ERR(covey_process_join(p, COVEY_MSEC(20)), -ETIMEDOUT);
        family_tell(&s->go);
        CHECK_EQ(end_of(p), 3);
        CHECK_EQ(s->ended, 1);
    }
}

static struct shared *seen_by_handler;

static void note_signal(int signal)
{
    seen_by_handler->numbers[2] = signal;
    _exit(0);
}

static int wait_for_signal(struct covey_view arg)
{
    seen_by_handler = shared_of(arg);
    signal(SIGTERM, note_signal);
    seen_by_handler->numbers[1] = getpid();
    return run_for_ever(arg);
}

/* What the program's first process does; here one that the test forks by itself. */
static int end_as_main(struct shared *s)
{
    CHECK_STR_EQ(covey_process_name(covey_current_process()), "MainProcess");
    (void)started(wait_for_signal, COVEY_VIEW_OF(s), OPTS(.daemon = COVEY_ON));
    (void)started(run_until_told, COVEY_VIEW_OF(s), OPTS());
    family_await(&s->begun, 2);
    family_tell(&s->go);
    exit(5);
}

TEST_EACH_METHOD(exit_of_the_main_process_ends_daemons_and_joins_the_others)
{
    struct shared *s = share();
    int status = 0, pid = family_fork();
    if (pid == 0)
        end_as_main(s);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 5 << 8);
    CHECK_EQ(s->numbers[2], SIGTERM);
    CHECK_EQ(kill(s->numbers[1], 0), -1);
}

static int be_stubborn(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    signal(SIGTERM, SIG_IGN);
    s->numbers[atomic_fetch_add(&s->told, 1)] = getpid();
    return run_for_ever(arg);
}

static int wait_for_the_stubborn(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    for (int i = 0; i < 3; i++)
        await_gone(s->numbers[i]);
    return 0;
}

static int start_stubborn_daemons(struct covey_view arg)
{
    for (unsigned method = COVEY_FORK; method <= COVEY_FORKSERVER; method++)
        (void)started(be_stubborn, arg,
                      COVEY_PROCESS_OPTS(.method = (enum covey_start_method)method,
                                         .daemon = COVEY_ON));
    family_await(&shared_of(arg)->begun, 3);
    /* Joined, but not before the daemons are gone: it waits for that. */
    (void)started(wait_for_the_stubborn, arg, COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    CHECK_OK(covey_log_to_stderr(COVEY_LOG_OFF));
    return 0;
}

TEST(daemons_that_ignore_sigterm_are_killed_in_bounded_time)
{
    struct shared *s = share();
    int64_t begin = cvy_os_now();
    CHECK_EQ(run(start_stubborn_daemons, COVEY_VIEW_OF(s), COVEY_PROCESS_OPTS()), 0);
    CHECK_LT(cvy_os_now() - begin, COVEY_SEC(15));
    for (int i = 0; i < 3; i++)
        CHECK_EQ(kill(s->numbers[i], 0), -1);
}

static int sleep_in_thread(struct covey_view arg)
{
    (void)arg;
    family_pause();
}

static int start_thread_daemon(struct covey_view arg)
{
    (void)started(sleep_in_thread, arg,
                  COVEY_PROCESS_OPTS(.method = COVEY_THREAD, .daemon = COVEY_ON));
    return 2;
}

TEST_EACH_METHOD(thread_daemons_go_down_with_their_process)
{
    CHECK_EQ(run(start_thread_daemon, COVEY_NO_VIEW, OPTS()), 2);
}

/* ---- daemons ------------------------------------------------------------------ */

static int be_a_daemon(struct covey_view arg)
{
    (void)arg;
    CHECK_EQ(covey_process_daemon(covey_current_process()), 1);
    for (unsigned method = COVEY_FORK; method <= COVEY_THREAD; method++) {
        covey_process *p =
            made(do_nothing, COVEY_NO_VIEW,
                 COVEY_PROCESS_OPTS(.method = (enum covey_start_method)method));
        CHECK_EQ(covey_process_daemon(p), 1); /* as its creator */
        CHECK_ERR(covey_process_start(p), COVEY_ESTATE);
        CHECK_STR_HAS(covey_error_detail(), "daemon");
        CHECK_OK(covey_process_set_daemon(p, 0));
        CHECK_EQ(covey_process_daemon(p), 0);
        CHECK_ERR(covey_process_start(p), COVEY_ESTATE);
        covey_process_free(p);
        p = made(do_nothing, COVEY_NO_VIEW, COVEY_PROCESS_OPTS(.daemon = COVEY_OFF));
        CHECK_EQ(covey_process_daemon(p), 0);
        covey_process_free(p);
    }
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(daemons_have_no_children)
{
    covey_process *p = made(be_a_daemon, COVEY_NO_VIEW, OPTS());
    CHECK_EQ(covey_process_daemon(p), 0);
    CHECK_OK(covey_process_set_daemon(p, 5));
    CHECK_EQ(covey_process_daemon(p), 1);
    CHECK_OK(covey_process_start(p));
    CHECK_EQ(exitcode_of(p), 0);
    CHECK_EQ(covey_process_daemon(p), 1);
    covey_process_free(p);
}

/* ---- output ------------------------------------------------------------------- */

static int print(struct covey_view arg)
{
    const struct ending *e = arg.data;
    printf("child %d, ", (int)e->way);
    return end_as_told(arg);
}

TEST_EACH_METHOD(stdout_is_flushed_once)
{
    static char buffer[4096];
    struct catcher c = catch_output(1);
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    printf("parent, ");
    for (enum way way = BY_RETURN; way <= BY_EXIT; way++) {
        struct ending e = {way, 0};
        CHECK_EQ(run(print, COVEY_VIEW_OF(e), OPTS()), 0);
        printf("again, ");
    }
    const char *text = caught(&c);
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK_STR_EQ(text, "parent, child 0, again, child 1, again, child 2, again, ");
}

/* ---- traced -------------------------------------------------------------------- */

static int stop_traced(struct covey_view arg)
{
    (void)arg;
    forks_beside_threads(); /* no leak check either: it does not work traced */
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        return 77;
    raise(SIGSTOP);
    return 7;
}

/* The stop is for the program, which traces its child; it is no end. */
TEST(a_stop_of_a_traced_process_is_not_its_end)
{
    covey_process *p =
        started(stop_traced, COVEY_NO_VIEW, COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t)pid_of(p), &info, WSTOPPED | WEXITED | WNOWAIT), 0);
    if (info.si_code == CLD_EXITED)
        SKIP("processes may not be traced here");
    CHECK_ERR(covey_process_join(p, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_process_join(p, COVEY_MSEC(20)), -ETIMEDOUT);
    CHECK_EQ(covey_process_is_alive(p), 1);
    int status = 0;
    CHECK_EQ(waitpid(pid_of(p), &status, 0), pid_of(p));
    CHECK(WIFSTOPPED(status));
    CHECK_EQ(ptrace(PTRACE_CONT, pid_of(p), NULL, NULL), 0);
    CHECK_EQ(end_of(p), 7);
}

static int may_be_traced(struct covey_view arg)
{
    forks_beside_threads();
    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    return run_for_ever(arg);
}

/* Traces a process, of whose end it has to be told first, until that says go. */
static int make_tracer(struct shared *s, int pid)
{
    int tracer = family_fork();
    if (tracer == 0) {
        forks_beside_threads();
        s->numbers[0] = ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0;
        family_tell(&s->told);
        family_await(&s->go, 1);
        _exit(0);
    }
    family_await(&s->told, 1);
    return tracer;
}

/* Until its tracer has been told, nobody can say how it ended. */
TEST(a_traced_process_has_not_ended_before_its_tracer_lets_go)
{
    struct shared *s = share();
    int code = 0;
    covey_process *p = started(may_be_traced, COVEY_VIEW_OF(s),
                               COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    family_await(&s->begun, 1);
    int tracer = make_tracer(s, pid_of(p));
    if (s->numbers[0])
        SKIP("processes may not be traced here");
    CHECK_EQ(kill(pid_of(p), SIGKILL), 0);
    await_gone(pid_of(p));
    CHECK_ERR(covey_process_join(p, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_process_join(p, COVEY_MSEC(20)), -ETIMEDOUT);
    CHECK_ERR(covey_process_exitcode(p, &code), -EBUSY);
    CHECK_EQ(covey_process_is_alive(p), 1);
    family_tell(&s->go);
    family_join(tracer);
    CHECK_EQ(end_of(p), -SIGKILL);
}

CHECK_MAIN()
