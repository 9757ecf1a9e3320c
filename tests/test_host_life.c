/* SPDX-License-Identifier: MIT */
/* Hosts that end, exec, or become daemons: in many ways, with processes running. */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "host.h"
#include "thread_state.h"

/* Between the test and a host of its own, in memory of the test's. */
struct scene {
    cvy_word started, watched, over;
    int32_t pids[2]; /* of the processes: started by the first thread, by another */
    int32_t pid, code;
    char text[64];
};

static struct scene *scene;

static void *start_in_thread(void *arg)
{
    (void)arg;
    scene->pids[1] = pid_of(host_start(host_sleep, COVEY_NO_VIEW));
    return NULL;
}

/* Two processes that never end by themselves, started by different threads. */
static void start_two(void)
{
    pthread_t thread;
    scene->pids[0] = pid_of(host_start(host_sleep, COVEY_NO_VIEW));
    CHECK_EQ(pthread_create(&thread, NULL, start_in_thread, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* A host with two processes that does `act` once the test watches them. */
static int begin_host(void (*act)(void))
{
    scene = family_shared(sizeof *scene);
    int host = family_fork();
    if (host == 0) {
        start_two();
        family_tell(&scene->started);
        family_await(&scene->watched, 1);
        act();
        check_failed(__FILE__, __LINE__, "the host goes on");
    }
    family_await(&scene->started, 1);
    return host;
}

/* After `act` the host's processes are gone within a second. */
static int nothing_is_left_after(void (*act)(void))
{
    int watch[2], host = begin_host(act);
    for (int i = 0; i < 2; i++) {
        watch[i] = cvy_os_pidfd_open(scene->pids[i]);
        CHECK_GE(watch[i], 0);
    }
    family_tell(&scene->watched);
    int end = host_wait(host);
    int64_t deadline = cvy_os_deadline(COVEY_SEC(1));
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(cvy_os_poll_in(watch[i], deadline), 1);
        close(watch[i]);
    }
    return end;
}

/* ---- ends without exit() ---- */

static void end_by_sigkill(void)
{
    (void)raise(SIGKILL);
}

static void end_by_immediate_exit(void)
{
    _exit(3);
}

static void end_by_quick_exit(void)
{
    quick_exit(4);
}

static void end_by_crash(void)
{
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    signal(SIGABRT, SIG_DFL);
    abort();
}

TEST_EACH_METHOD(killed_host_leaves_no_process)
{
    CHECK_EQ(nothing_is_left_after(end_by_sigkill), -SIGKILL);
}

TEST_EACH_METHOD(host_that_leaves_by_immediate_exit_leaves_no_process)
{
    CHECK_EQ(nothing_is_left_after(end_by_immediate_exit), 3);
}

TEST_EACH_METHOD(host_that_leaves_by_quick_exit_leaves_no_process)
{
    CHECK_EQ(nothing_is_left_after(end_by_quick_exit), 4);
}

TEST_EACH_METHOD(host_that_aborts_leaves_no_process)
{
    CHECK_EQ(nothing_is_left_after(end_by_crash), -SIGABRT);
}

/* A child that the host forked by itself lives on, and keeps nothing else alive. */
static void die_with_a_fork_left(void)
{
    int pid = family_fork();
    if (pid == 0)
        family_pause();
    scene->pid = pid;
    end_by_sigkill();
}

TEST_EACH_METHOD(fork_of_the_hosts_own_keeps_no_process_alive)
{
    CHECK_EQ(nothing_is_left_after(die_with_a_fork_left), -SIGKILL);
    CHECK_GT(scene->pid, 0);
    CHECK_EQ(kill(scene->pid, SIGKILL), 0);
}

/* A fork in another thread while the life-line is being made: between the system call and
 * the note of what it gave. */
static atomic_bool fork_wanted, fork_over;
static atomic_int forking_thread;
static int made_end, forked;

static void *fork_once(void *arg)
{
    forks_beside_threads();
    atomic_store(&forking_thread, cvy_os_tid());
    forked = fork();
    if (forked == 0)
        _exit(fcntl(made_end, F_GETFD) != -1);
    atomic_store(&fork_over, true);
    return arg;
}

int pipe2(int ends[2], int flags) __attribute__((visibility("default")));
int pipe2(int ends[2], int flags)
{
    static pthread_t thread;
    int r = (int)syscall(SYS_pipe2, ends, flags);
    if (r < 0 || !atomic_exchange(&fork_wanted, false))
        return r;
    made_end = ends[1];
    CHECK_EQ(pthread_create(&thread, NULL, fork_once, NULL), 0);
    CHECK_EQ(pthread_detach(thread), 0);
    while (!atomic_load(&forking_thread))
        sched_yield();
    /* Until it has forked, or waits for what is being made. */
    while (!atomic_load(&fork_over) &&
           state_of_thread(atomic_load(&forking_thread)) != 'S')
        sched_yield();
    return r;
}

TEST(fork_beside_the_making_of_the_life_line_does_not_keep_it_open)
{
    CHECK(covey_current_process() != NULL);
    atomic_store(&fork_wanted, true);
    CHECK_GE(cvy_lifeline(), 0);
    CHECK(!atomic_load(&fork_wanted));
    while (!atomic_load(&fork_over))
        sched_yield();
    CHECK_EQ(host_wait(forked), 0);
}

/* ---- exec ---- */

static void exec_another_program(void)
{
    execl("/bin/sh", "sh", "-c", "exit 5", (char *)NULL);
}

static void exec_a_program_that_stays(void)
{
    execl("/bin/sleep", "sleep", "60", (char *)NULL);
}

TEST_EACH_METHOD(host_that_execs_leaves_no_process)
{
    CHECK_EQ(nothing_is_left_after(exec_another_program), 5);
}

/* By the life-line. Those of the first thread that only have the parent-death signal, and
 * all by a fork server that it started, end with the program that it has become, whose
 * children they are. */
TEST_EACH_METHOD(processes_of_threads_end_when_the_host_execs)
{
    int host = begin_host(exec_a_program_that_stays);
    family_tell(&scene->watched);
    if (check_method() != COVEY_FORKSERVER)
        CHECK(host_gone(scene->pids[1], COVEY_SEC(1)));
    CHECK_EQ(kill(host, SIGKILL), 0);
    CHECK_EQ(host_wait(host), -SIGKILL);
    CHECK(host_gone(scene->pids[0], COVEY_SEC(1)));
    CHECK(host_gone(scene->pids[1], COVEY_SEC(1)));
}

static void exec_when_watched(void)
{
    covey_process *p =
        started(host_sleep, COVEY_NO_VIEW, OPTS(.die_with_parent = COVEY_ON));
    scene->pids[0] = pid_of(p);
    family_tell(&scene->started);
    family_await(&scene->watched, 1);
    exec_a_program_that_stays();
}

TEST_EACH_METHOD(process_with_a_life_line_ends_when_the_host_execs)
{
    scene = family_shared(sizeof *scene);
    int host = family_fork();
    if (host == 0)
        exec_when_watched();
    family_await(&scene->started, 1);
    int watch = cvy_os_pidfd_open(scene->pids[0]);
    family_tell(&scene->watched);
    CHECK_EQ(cvy_os_poll_in(watch, cvy_os_deadline(COVEY_SEC(1))), 1);
    close(watch);
    CHECK_EQ(kill(host, SIGKILL), 0);
    CHECK_EQ(host_wait(host), -SIGKILL);
}

static int exec_in_member(struct covey_view arg)
{
    (void)arg;
    execl("/bin/sh", "sh", "-c", "exit 6", (char *)NULL);
    return 1;
}

TEST_EACH_METHOD(process_that_execs_gives_the_exit_code_of_its_program)
{
    host_ends(host_start(exec_in_member, COVEY_NO_VIEW), 6);
    signal(SIGCHLD, SIG_IGN);
    covey_process *p = host_start(exec_in_member, COVEY_NO_VIEW);
    CHECK_NE(end_of(p), 0); /* nobody can tell it */
}

/* Holds something, attaches, and is another program from then on. */
static int exec_while_holding(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    covey_process *own = made(host_return_arg, COVEY_NO_VIEW, NULL);
    s->numbers[1] = own != NULL;
    CHECK_OK(covey_family_usage(&(struct covey_family_usage){0}));
    execl("/bin/sleep", "sleep", "60", (char *)NULL);
    return 1;
}

TEST_EACH_METHOD(exec_counts_as_having_left)
{
    struct shared *s = share();
    struct covey_family_usage usage = family_usage();
    const uint64_t objects = usage.objects;
    covey_process *p = host_start(exec_while_holding, COVEY_VIEW_OF(s));
    const int64_t deadline = cvy_os_deadline(COVEY_SEC(10));
    do {
        CHECK_LT(cvy_os_now(), deadline);
        sched_yield();
        CHECK_OK(covey_family_usage(&usage)); /* notices the dead */
    } while (!s->numbers[1] || usage.deaths == 0);
    CHECK_EQ(covey_process_is_alive(p), 1); /* as a process it goes on */
    CHECK_ERR(covey_process_join(p, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_LE(family_usage().objects,
             objects + 1 + (check_method() == COVEY_FORKSERVER));
    host_kill(p);
}

/* ---- daemon(3) ---- */

static void become_daemon(void)
{
    int pipe_ends[2];
    CHECK_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
    CHECK_EQ(daemon(1, 1), 0);
    size_t count = 99;
    CHECK_OK(covey_active_children(NULL, 0, &count));
    CHECK_EQ(count, 0); /* they were its parent's */
    scene->pid = getpid();
    CHECK_STR_EQ(covey_process_name(covey_current_process()), "MainProcess");
    CHECK_EQ(pid_of(covey_current_process()), getpid());
    host_run(7);
    host_run(8);
    scene->code = 9;
    family_tell(&scene->over);
    exit(0);
}

/* The daemon is a new member; the old processes were its parent's and end with that. */
TEST_EACH_METHOD(daemon_is_a_member_of_its_own)
{
    CHECK_EQ(nothing_is_left_after(become_daemon), 0);
    family_await(&scene->over, 1);
    CHECK_EQ(scene->code, 9);
    CHECK(host_gone(scene->pid, COVEY_SEC(10)));
}

static int daemonize_and_work(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    CHECK_EQ(daemon(1, 1), 0);
    s->numbers[1] = getpid();
    covey_process *p = host_start(host_return_arg, COVEY_VIEW_OF(s->numbers[0]));
    host_ends(p, s->numbers[0]);
    family_tell(&s->ended);
    family_await(&s->go, 1);
    exit(0);
}

/* A member that becomes a daemon has ended for its parent. */
TEST_EACH_METHOD(member_may_become_a_daemon)
{
    struct shared *s = share();
    s->numbers[0] = 11;
    covey_process *p = host_start(daemonize_and_work, COVEY_VIEW_OF(s));
    host_ends(p, 0);
    family_await(&s->ended, 1);
    family_tell(&s->go);
    CHECK(host_gone(s->numbers[1], COVEY_SEC(10)));
}

/* ---- exit() ---- */

static int note_hook(struct covey_view arg)
{
    (void)arg;
    strcat(scene->text, "h");
    return 0;
}

static void early_handler(void)
{
    strcat(scene->text, "e");
}

static void late_handler(void)
{
    strcat(scene->text, "l");
}

static void use_then_exit(void)
{
    CHECK_EQ(atexit(early_handler), 0);
    CHECK(covey_current_process() != NULL);
    CHECK_OK(covey_at_exit(note_hook, COVEY_NO_VIEW, 0));
    host_run(1);
    CHECK_EQ(atexit(late_handler), 0);
}

static void *exit_in_thread(void *arg)
{
    (void)arg;
    exit(21);
}

static void check_exit(void (*body)(void), int code, const char *text)
{
    scene = family_shared(sizeof *scene);
    int pid = family_fork();
    if (pid == 0) {
        body();
        exit(20);
    }
    CHECK_EQ(host_wait(pid), code);
    CHECK_STR_EQ(scene->text, text);
}

TEST_EACH_METHOD(exit_runs_hooks_among_the_hosts_handlers)
{
    check_exit(use_then_exit, 20, "lhe");
}

static void exit_by_thread(void)
{
    pthread_t thread;
    use_then_exit();
    CHECK_EQ(pthread_create(&thread, NULL, exit_in_thread, NULL), 0);
    family_pause();
}

TEST_EACH_METHOD(exit_by_a_thread_that_never_called_covey)
{
    check_exit(exit_by_thread, 21, "lhe");
}

static int in_handler(struct covey_view arg)
{
    (void)arg;
    return 0;
}

/* Calls of covey in the host's own handlers give an error or work; none hangs. */
static void use_in_early_handler(void)
{
    covey_process *p = NULL;
    size_t count = 0;
    int r = covey_process_create(&p, in_handler, COVEY_NO_VIEW, NULL);
    strcat(scene->text, r < 0 ? "refused" : "made");
    CHECK(covey_active_children(NULL, 0, &count) <= 0);
}

static void use_in_late_handler(void)
{
    host_run(2);
    strcat(scene->text, "worked,");
}

static void exit_with_use_in_handlers(void)
{
    CHECK_EQ(atexit(use_in_early_handler), 0);
    host_run(1);
    CHECK_EQ(atexit(use_in_late_handler), 0);
}

TEST_EACH_METHOD(handlers_of_the_host_may_call_covey)
{
    check_exit(exit_with_use_in_handlers, 20, "worked,refused");
}

/* exit() in a child that the host forked runs covey's end for that child only. */
static void exit_in_fork_child(void)
{
    covey_process *p = host_start(host_sleep, COVEY_NO_VIEW);
    CHECK_OK(covey_at_exit(note_hook, COVEY_NO_VIEW, 0));
    int pid = family_fork();
    if (pid == 0)
        exit(30);
    CHECK_EQ(host_wait(pid), 30);
    pid = family_fork();
    if (pid == 0) {
        host_run(3);
        exit(31);
    }
    CHECK_EQ(host_wait(pid), 31);
    CHECK_STR_EQ(scene->text, "");
    CHECK_EQ(covey_process_is_alive(p), 1);
    host_kill(p);
}

TEST_EACH_METHOD(exit_in_a_fork_of_the_hosts_own_ends_only_that)
{
    check_exit(exit_in_fork_child, 20, "h");
}

/* Non-daemons are joined, daemons are ended, whichever thread exits. */
static void exit_with_daemon_running(void)
{
    covey_process *p = started(host_sleep, COVEY_NO_VIEW, OPTS(.daemon = COVEY_ON));
    scene->pid = pid_of(p);
}

TEST_EACH_METHOD(exit_ends_daemons)
{
    check_exit(exit_with_daemon_running, 20, "");
    CHECK(host_gone(scene->pid, COVEY_SEC(1)));
}

/* ---- subreapers ---- */

/* Orphans of covey's go to the host if it asks for orphans; there are none. */
TEST_EACH_METHOD(host_is_a_subreaper)
{
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    /* A leak checker looks from a process of its own, which a spare that is killed at its
     * end leaves behind. */
    CHECK_EQ(setenv("ASAN_OPTIONS", "detect_leaks=0", 1), 0);
    for (int i = 0; i < 5; i++)
        host_run(i);
    cvy_forkserver_stop();
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_EQ(errno, ECHILD);
}

CHECK_MAIN()
