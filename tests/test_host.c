/* SPDX-License-Identifier: MIT */
/* Hosts with signals and children of their own: covey takes none of them. */
#include "host.h"

/* ---- a host that forks beside busy threads ---- */

struct busy {
    _Atomic bool over;
    cvy_word ready;
    pthread_t threads[4];
};

static void *busy_in_malloc(void *arg)
{
    struct busy *busy = arg;
    family_tell(&busy->ready);
    for (size_t i = 1; !atomic_load(&busy->over); i++) {
        volatile char *memory = malloc(i % 5000 + 1);
        CHECK(memory != NULL);
        *memory = 1;
        free((char *)(uintptr_t)memory);
    }
    return NULL;
}

static void *busy_in_stdio(void *arg)
{
    struct busy *busy = arg;
    FILE *null = fopen("/dev/null", "we");
    CHECK(null != NULL);
    family_tell(&busy->ready);
    while (!atomic_load(&busy->over))
        fprintf(null, "%d %s\n", 42, "of them");
    fclose(null);
    return NULL;
}

static void *busy_in_covey(void *arg)
{
    struct busy *busy = arg;
    family_tell(&busy->ready);
    while (!atomic_load(&busy->over)) {
        covey_process *p = NULL;
        struct covey_family_usage usage;
        struct covey_bytes text = {0};
        CHECK_OK(covey_process_create(&p, host_return_arg, COVEY_NO_VIEW, NULL));
        CHECK_OK(covey_process_repr(p, &text));
        CHECK_OK(covey_family_usage(&usage));
        CHECK_OK(covey_log(COVEY_LOG_DEBUG, "%s", (char *)text.data));
        covey_bytes_free(&text);
        covey_process_free(p);
    }
    return NULL;
}

static void busy_begin(struct busy *busy)
{
    void *(*const bodies[])(void *) = {busy_in_malloc, busy_in_stdio, busy_in_covey,
                                       busy_in_covey};
    if (SANITIZED)
        SKIP("the sanitizers' allocators do not survive such forks");
    memset(busy, 0, sizeof *busy);
    for (size_t i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&busy->threads[i], NULL, bodies[i], busy), 0);
    family_await(&busy->ready, 4);
}

static void busy_end(struct busy *busy)
{
    atomic_store(&busy->over, true);
    for (size_t i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(busy->threads[i], NULL), 0);
}

/* What a child that the host forked does with covey. */
static void live_as_forked_child(void)
{
    covey_process *p = NULL;
    size_t count = 99;
    int pid = 0;
    char *memory = malloc(100);
    CHECK_OK(covey_process_create(&p, host_return_arg, COVEY_NO_VIEW, NULL));
    covey_process_free(p);
    CHECK_OK(covey_active_children(NULL, 0, &count));
    CHECK_EQ(count, 0);
    p = covey_current_process();
    CHECK(p != NULL);
    CHECK_OK(covey_process_pid(p, &pid));
    CHECK_EQ(pid, getpid());
    CHECK(covey_parent_process() == NULL);
    free(memory);
}

TEST_TIMEOUT(host_forks_beside_busy_threads, 90)
{
    struct busy busy;
    CHECK(covey_current_process() != NULL);
    busy_begin(&busy);
    for (int i = 0; i < 1000; i++) {
        int pid = family_fork();
        if (pid == 0) {
            live_as_forked_child();
            _exit(0);
        }
        CHECK_EQ(host_wait(pid), 0);
    }
    busy_end(&busy);
    struct covey_family_usage usage;
    CHECK_OK(covey_family_usage(&usage));
    CHECK_EQ(usage.members, 1);
}

/* The same children start processes of their own. */
TEST_EACH_METHOD_TIMEOUT(forked_child_of_a_busy_host_starts_processes, 60)
{
    struct busy busy;
    host_run(7);
    busy_begin(&busy);
    for (int i = 0; i < (int)family_long(10, 200); i++) {
        int pid = family_fork();
        if (pid == 0) {
            host_run(8);
            exit(0);
        }
        CHECK_EQ(host_wait(pid), 0);
    }
    busy_end(&busy);
    host_run(9);
}

/* ---- the host and SIGCHLD ---- */

static int die_by_arg(struct covey_view arg)
{
    kill(getpid(), *(const int *)arg.data);
    return 0;
}

static void check_codes(void)
{
    const int codes[] = {0, 1, 42, 255};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        host_run(codes[i]);
    covey_process *p = host_start(host_sleep, COVEY_NO_VIEW);
    CHECK_ERR(covey_process_join(p, COVEY_MSEC(1)), -ETIMEDOUT);
    CHECK_EQ(covey_process_is_alive(p), 1);
    CHECK_OK(covey_process_kill(p));
    CHECK_OK(covey_process_join(p, COVEY_SEC(20)));
    CHECK_EQ(covey_process_is_alive(p), 0);
    covey_process_free(p);
}

TEST_EACH_METHOD(host_ignores_sigchld)
{
    signal(SIGCHLD, SIG_IGN);
    check_codes();
}

TEST_EACH_METHOD(host_wants_no_zombies)
{
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    sigaction(SIGCHLD, &action, NULL);
    check_codes();
}

/* The default action is restored between start and join, and the reverse. */
TEST_EACH_METHOD(host_changes_its_mind_about_sigchld)
{
    int code = 5;
    for (int i = 0; i < 4; i++) {
        signal(SIGCHLD, i % 2 ? SIG_IGN : SIG_DFL);
        covey_process *p = host_start(host_return_arg, COVEY_VIEW_OF(code));
        signal(SIGCHLD, i % 2 ? SIG_DFL : SIG_IGN);
        host_ends(p, code);
    }
}

TEST_EACH_METHOD(sigchld_is_ignored_and_children_end_by_signal)
{
    int signal_number = SIGKILL, fd = -1;
    struct covey_process_report report;
    signal(SIGCHLD, SIG_IGN);
    covey_process *p = host_start(die_by_arg, COVEY_VIEW_OF(signal_number));
    CHECK_OK(covey_process_sentinel(p, &fd));
    CHECK_EQ(cvy_os_poll_in(fd, cvy_os_deadline(COVEY_SEC(20))), 1);
    CHECK_NE(exitcode_of(p), 0);
    CHECK_OK(covey_process_report(p, &report));
    CHECK_NE(report.text[0], 0);
    covey_process_free(p);
}

/* ---- a host that waits for any child ---- */

static _Atomic bool waiter_over;
static _Atomic uint32_t waiter_reaped;

static void *wait_for_any(void *arg)
{
    (void)arg;
    while (!atomic_load(&waiter_over)) {
        int status;
        if (wait(&status) > 0)
            atomic_fetch_add(&waiter_reaped, 1);
        else
            sched_yield();
    }
    return NULL;
}

TEST_EACH_METHOD(host_waits_for_any_child)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, wait_for_any, NULL), 0);
    for (int i = 0; i < 10; i++)
        check_codes();
    int last =
        family_fork(); /* its end is that of the thread's wait, if it is in one */
    if (last == 0)
        family_pause();
    atomic_store(&waiter_over, true);
    CHECK_EQ(kill(last, SIGKILL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(waitpid(last, NULL, WNOHANG) != 0 || waitpid(last, NULL, 0) == last);
}

/* The child's end is known before anybody joins it, and the host is faster. */
TEST_EACH_METHOD(host_reaps_a_process_before_it_is_joined)
{
    int code = 77;
    covey_process *p = host_start(host_return_arg, COVEY_VIEW_OF(code));
    CHECK_EQ(host_wait(pid_of(p)), 77);
    CHECK_EQ(covey_process_is_alive(p), 0);
    CHECK_OK(covey_process_terminate(p));
    host_ends(p, code);
}

/* A process that is no child of the host's, and has to run until that says go. Returns: its
 * pid, and that of its parent, which sees to it. */
static int make_stranger(struct shared *s, int *ret_parent)
{
    *ret_parent = family_fork();
    if (*ret_parent == 0) {
        int stranger = family_fork();
        if (stranger == 0)
            for (;;)
                pause();
        s->numbers[0] = stranger;
        family_tell(&s->begun);
        family_await(&s->go, 1);
        family_kill(stranger);
        _exit(0);
    }
    family_await(&s->begun, 1);
    return s->numbers[0];
}

/* When the host has reaped a process, its number may be given to any other. */
TEST(number_of_a_reaped_process_is_not_signalled)
{
    struct shared *s = share();
    int code = 77, parent;
    covey_process *p = started(host_return_arg, COVEY_VIEW_OF(code),
                               COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    CHECK_EQ(host_wait(pid_of(p)), 77);
    p->pid = make_stranger(s, &parent);
    CHECK_OK(covey_process_interrupt(p));
    CHECK_OK(covey_process_terminate(p));
    CHECK_OK(covey_process_kill(p));
    family_tell(&s->go);
    family_join(parent);
    host_ends(p, code);
}

TEST(number_of_a_reaped_process_is_not_watched)
{
    struct shared *s = share();
    int code = 77, parent, fd = -1;
    covey_process *p = started(host_return_arg, COVEY_VIEW_OF(code),
                               COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    CHECK_EQ(host_wait(pid_of(p)), 77);
    p->pid = make_stranger(s, &parent);
    CHECK_OK(covey_process_sentinel(p, &fd));
    CHECK_EQ(cvy_os_poll_in(fd, 0), 1);
    family_tell(&s->go);
    family_join(parent);
    host_ends(p, code);
}

TEST(number_of_a_reaped_daemon_is_not_signalled_at_the_end)
{
    struct shared *s = share();
    int host = family_fork(), parent;
    if (host == 0) {
        covey_process *p =
            started(host_sleep, COVEY_NO_VIEW,
                    COVEY_PROCESS_OPTS(.method = COVEY_FORK, .daemon = COVEY_ON));
        CHECK_EQ(kill(pid_of(p), SIGKILL), 0);
        CHECK_EQ(host_wait(pid_of(p)), -SIGKILL);
        p->pid = make_stranger(s, &parent);
        cvy_process_end(0);
        family_tell(&s->go);
        family_join(parent);
        _exit(0);
    }
    family_join(host);
}

TEST_EACH_METHOD(children_of_the_host_are_not_reaped)
{
    size_t count = 0;
    int pids[8];
    for (int i = 0; i < 8; i++) {
        pids[i] = family_fork();
        if (pids[i] == 0)
            _exit(10 + i);
    }
    check_codes();
    CHECK_OK(covey_active_children(NULL, 0, &count));
    CHECK_EQ(count, 0);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(host_wait(pids[i]), 10 + i);
}

/* ---- signal actions ---- */

static _Atomic int children_told, others_told;

static void count_child(int number)
{
    (void)number;
    atomic_fetch_add(&children_told, 1);
}

static void count_other(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    atomic_fetch_add(&others_told, 1);
}

static void read_actions(struct sigaction *actions)
{
    memset(actions, 0, NSIG * sizeof *actions);
    for (int i = 1; i < NSIG; i++)
        if (i != 32 && i != 33) /* libc's own */
            (void)sigaction(i, NULL, &actions[i]);
}

static void set_actions(void)
{
    static const int mine[] = {SIGTERM, SIGSEGV, SIGPIPE, SIGINT, SIGABRT, SIGBUS,
                               SIGUSR1, SIGUSR2, SIGIO,   SIGHUP, SIGFPE,  SIGILL};
    struct sigaction action = {.sa_handler = count_child, .sa_flags = SA_NOCLDSTOP};
    sigaddset(&action.sa_mask, SIGUSR1);
    CHECK_EQ(sigaction(SIGCHLD, &action, NULL), 0);
    action.sa_sigaction = count_other;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        CHECK_EQ(sigaction(mine[i], &action, NULL), 0);
}

static void use_covey(void)
{
    struct covey_process_report report;
    int fd = -1;
    check_codes();
    covey_process *p = host_start(host_sleep, COVEY_NO_VIEW);
    CHECK_OK(covey_process_sentinel(p, &fd));
    CHECK_OK(covey_process_kill(p));
    CHECK_EQ(exitcode_of(p), -SIGKILL);
    CHECK_OK(covey_process_report(p, &report));
    covey_process_free(p);
}

TEST_EACH_METHOD(handlers_of_the_host_stay_as_they_are)
{
    struct sigaction before[NSIG], after[NSIG];
    sigset_t mask_before, mask_after;
    stack_t stack_before, stack_after;
    set_actions();
    read_actions(before);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask_before), 0);
    CHECK_EQ(sigaltstack(NULL, &stack_before), 0);
    use_covey();
    read_actions(after);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask_after), 0);
    CHECK_EQ(sigaltstack(NULL, &stack_after), 0);
    for (int i = 1; i < NSIG; i++) {
        CHECK_EQ((intptr_t)before[i].sa_sigaction, (intptr_t)after[i].sa_sigaction);
        CHECK_EQ(before[i].sa_flags, after[i].sa_flags);
        for (int j = 1; j < NSIG; j++)
            CHECK_EQ(sigismember(&before[i].sa_mask, j),
                     sigismember(&after[i].sa_mask, j));
        CHECK_EQ(sigismember(&mask_before, i), sigismember(&mask_after, i));
    }
    CHECK_EQ((intptr_t)stack_before.ss_sp, (intptr_t)stack_after.ss_sp);
    CHECK_GT(atomic_load(&children_told), 0); /* the host is told as ever */
    CHECK_EQ(atomic_load(&others_told), 0);   /* SIGPIPE and SIGIO among them */
}

static int tell_handlers(struct covey_view arg)
{
    struct sigaction term, segv;
    (void)arg;
    CHECK_EQ(sigaction(SIGTERM, NULL, &term), 0);
    CHECK_EQ(sigaction(SIGSEGV, NULL, &segv), 0);
    return (term.sa_sigaction == count_other) + 2 * (segv.sa_sigaction == count_other);
}

TEST(handlers_of_the_host_live_on_in_a_fork)
{
    covey_process *p = NULL;
    set_actions();
    CHECK_OK(covey_process_create(&p, tell_handlers, COVEY_NO_VIEW,
                                  COVEY_PROCESS_OPTS(.method = COVEY_FORK)));
    CHECK_OK(covey_process_start(p));
    host_ends(p, 3);
}

/* Every wait goes on under a storm of signals whose handlers do not restart calls. */
static void *storm(void *arg)
{
    const pthread_t victim = *(pthread_t *)arg;
    while (!atomic_load(&waiter_over)) {
        CHECK_EQ(pthread_kill(victim, SIGUSR1), 0);
        sched_yield();
    }
    return NULL;
}

TEST_EACH_METHOD(handlers_interrupt_every_call)
{
    struct sigaction action = {.sa_sigaction = count_other, .sa_flags = SA_SIGINFO};
    pthread_t thread, self = pthread_self();
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    host_run(0);
    CHECK_EQ(pthread_create(&thread, NULL, storm, &self), 0);
    while (!atomic_load(&others_told))
        sched_yield();
    for (int i = 0; i < 5; i++)
        host_run(i);
    atomic_store(&waiter_over, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* ---- Ctrl-C ---- */

static int wait_for_interrupt(struct covey_view arg)
{
    struct sigaction action;
    CHECK_EQ(sigaction(SIGINT, NULL, &action), 0);
    CHECK_EQ((intptr_t)action.sa_handler, (intptr_t)SIG_DFL);
    return host_sleep(arg);
}

/* SIGINT to the group reaches processes, which end by it; a group of its own does not. */
TEST_EACH_METHOD(interrupt_to_the_group_ends_processes_but_not_other_groups)
{
    covey_process *near = NULL, *far = NULL;
    CHECK_EQ(setpgid(0, 0), 0);
    CHECK_OK(covey_process_create(&near, wait_for_interrupt, COVEY_NO_VIEW,
                                  COVEY_PROCESS_OPTS(.method = check_method())));
    CHECK_OK(covey_process_create(
        &far, host_sleep, COVEY_NO_VIEW,
        COVEY_PROCESS_OPTS(.method = check_method(), .new_group = COVEY_ON)));
    CHECK_OK(covey_process_start(near));
    CHECK_OK(covey_process_start(far));
    signal(SIGINT, SIG_IGN); /* the parent decides for itself */
    CHECK_EQ(kill(0, SIGINT), 0);
    host_ends(near, -SIGINT);
    CHECK_ERR(covey_process_join(far, COVEY_MSEC(50)), -ETIMEDOUT);
    CHECK_OK(covey_process_kill(far));
    host_ends(far, -SIGKILL);
}

CHECK_MAIN()
