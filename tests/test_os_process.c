/* SPDX-License-Identifier: MIT */
/* The system contract: starting processes, waiting for them, telling whether they run. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os_help.h"

/* ---- helpers ------------------------------------------------------------------ */

static void pause_for_ever(void)
{
    for (;;)
        pause();
}

static pid_t start_pausing(void)
{
    pid_t pid = fork();

    if (pid == 0)
        pause_for_ever();
    await_sleep(pid);
    return pid;
}

static void kill_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    reap(pid);
}

static void await_zombie(pid_t pid)
{
    siginfo_t info;

    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

/* ---- fork --------------------------------------------------------------------- */

static bool forked;

static void note_fork(void)
{
    forked = true;
}

TEST(fork_runs_the_programs_handlers)
{
    int pid;

    CHECK_EQ(pthread_atfork(NULL, NULL, note_fork), 0);
    pid = cvy_os_fork();
    if (pid == 0)
        cvy_os_exit(forked ? 7 : 1);
    CHECK_EQ(reap(pid), 7 << 8);
}

/* ---- clone_sibling ------------------------------------------------------------ */

static pthread_mutex_t *make_mutex(bool robust)
{
    pthread_mutex_t *mutex = mmap(NULL, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attributes;

    CHECK(mutex != MAP_FAILED);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    if (robust)
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    CHECK_EQ(pthread_mutex_init(mutex, &attributes), 0);
    return mutex;
}

/* A server that makes one sibling, which runs `body`. Returns: the sibling's pid, which
 * is a child of the test. */
static pid_t serve(struct shared *shared, void (*body)(void))
{
    pid_t server = fork();

    if (server == 0) {
        int32_t noted = 0, pid = cvy_os_clone_sibling(&noted);

        if (pid == 0) {
            body();
            _exit(42);
        }
        CHECK_GT(pid, 0);
        CHECK_EQ(noted, pid);
        atomic_store(&shared->result, (uint32_t)pid);
        _exit(0);
    }
    CHECK_EQ(reap(server), 0);
    return (pid_t)atomic_load(&shared->result);
}

static void do_nothing(void)
{
}

TEST(sibling_is_a_child_of_the_servers_parent)
{
    CHECK_EQ(reap(serve(share(), do_nothing)), 42 << 8);
}

static pthread_mutex_t *plain_mutex, *robust_mutex;

/* glibc takes the thread's id for the owner from its own memory. */
static void own_mutexes(void)
{
    CHECK_EQ(pthread_mutex_lock(plain_mutex), 0);
    CHECK_EQ(pthread_mutex_lock(plain_mutex), EDEADLK);
    CHECK_EQ(plain_mutex->__data.__owner, cvy_os_tid());
    CHECK_EQ(pthread_mutex_unlock(plain_mutex), 0);
    CHECK_EQ(pthread_mutex_lock(robust_mutex), 0);
}

TEST(sibling_owns_what_it_locks)
{
    plain_mutex = make_mutex(false);
    robust_mutex = make_mutex(true);
    CHECK_EQ(reap(serve(share(), own_mutexes)), 42 << 8);
    CHECK_EQ(pthread_mutex_lock(robust_mutex), EOWNERDEAD);
}

static void *lock_mutex_from_thread(void *unused)
{
    (void)unused;
    CHECK_EQ(pthread_mutex_lock(robust_mutex), 0);
    return NULL;
}

/* Threads, stdio, malloc and fork work in it. */
static void live_normally(void)
{
    pthread_t thread;
    char *memory = malloc(100000);
    FILE *file = fopen("/dev/null", "we");
    pid_t pid;

    CHECK(memory && file && fprintf(file, "%p", (void *)memory) > 0);
    fclose(file);
    free(memory);
    CHECK_EQ(pthread_create(&thread, NULL, lock_mutex_from_thread, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(pthread_mutex_lock(robust_mutex), EOWNERDEAD);
    pid = fork();
    if (pid == 0)
        _exit(cvy_os_ppid() == 0);
    CHECK_EQ(reap(pid), 0);
}

TEST(sibling_lives_normally)
{
    robust_mutex = make_mutex(true);
    CHECK_EQ(reap(serve(share(), live_normally)), 42 << 8);
}

/* A mutex that the server holds is still the server's when the sibling ends. */
TEST(sibling_does_not_own_the_servers_mutexes)
{
    struct shared *shared = share();
    pthread_mutex_t *mutex = make_mutex(true);
    pid_t server = fork();

    if (server == 0) {
        int pid;

        CHECK_EQ(pthread_mutex_lock(mutex), 0);
        pid = cvy_os_clone_sibling(NULL);
        if (pid == 0)
            _exit(0);
        atomic_store(&shared->result, (uint32_t)pid);
        raise_word(&shared->ready);
        await_word(&shared->object, 1);
        CHECK_EQ(pthread_mutex_unlock(mutex), 0);
        _exit(0);
    }
    await_word(&shared->ready, 1);
    CHECK_EQ(reap((pid_t)atomic_load(&shared->result)), 0);
    CHECK_EQ(pthread_mutex_trylock(mutex), EBUSY);
    raise_word(&shared->object);
    CHECK_EQ(reap(server), 0);
    CHECK_EQ(pthread_mutex_lock(mutex), 0);
}

/* Where the kernel does not tell the address of glibc's thread id. */
static void make_sibling_by_layout(void)
{
    deny(SYS_prctl, EINVAL);
    CHECK_EQ(reap(serve(share(), own_mutexes)), 42 << 8);
}

TEST(sibling_finds_the_thread_id_without_prctl)
{
    pid_t pid = fork();

    plain_mutex = make_mutex(false);
    robust_mutex = make_mutex(true);
    if (pid == 0) {
        make_sibling_by_layout();
        _exit(0);
    }
    CHECK_EQ(reap(pid), 0);
}

static struct shared *bell_of;

static void arm_and_end(void)
{
    CHECK_EQ(cvy_os_arm_bell(&bell_of->bell), 0);
}

TEST(sibling_can_arm_the_bell)
{
    pid_t sleeper;

    bell_of = share();
    sleeper = fork();
    if (sleeper == 0)
        _exit(
            cvy_os_futex_waitv(&(struct cvy_os_wait){&bell_of->bell, 0}, 1, INT64_MAX));
    await_sleep(sleeper);
    CHECK_EQ(reap(serve(share(), arm_and_end)), 42 << 8);
    CHECK_EQ(reap(sleeper), 0);
}

/* ---- pidfds and signals ------------------------------------------------------- */

TEST(pidfd_polls_readable_at_the_end)
{
    pid_t pid = start_pausing();
    int fd = cvy_os_pidfd_open(pid);

    CHECK_GE(fd, 0);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(cvy_os_poll_in(fd, 0), 0);
    CHECK_EQ(cvy_os_kill(pid, fd, SIGKILL), 0);
    CHECK_EQ(cvy_os_poll_in(fd, INT64_MAX), 1);
    reap(pid);
    CHECK_EQ(cvy_os_poll_in(fd, 0), 1);
    CHECK_EQ(cvy_os_kill(pid, fd, SIGKILL), -ESRCH);
    CHECK_EQ(cvy_os_kill(pid, -1, SIGKILL), -ESRCH);
    CHECK_EQ(cvy_os_pidfd_open(pid), -ESRCH);
    cvy_os_close(fd);
}

TEST(kill_reaches_one_process_only)
{
    pid_t pid = start_pausing();

    CHECK_EQ(cvy_os_kill(0, -1, SIGKILL), -ESRCH); /* not the group, not everybody */
    CHECK_EQ(cvy_os_kill(-1, -1, SIGKILL), -ESRCH);
    CHECK_EQ(cvy_os_kill(pid, -1, 0), 0);
    CHECK_EQ(cvy_os_kill(pid, -1, 9999), -EINVAL);
    CHECK_EQ(cvy_os_kill(pid, -1, SIGTERM), 0);
    CHECK_EQ(reap(pid), SIGTERM);
}

static void kill_without_pidfds(void)
{
    pid_t pid = start_pausing();
    int fd = cvy_os_pidfd_open(pid);
    struct cvy_os_exit end;

    CHECK_GE(fd, 0);
    deny(SYS_pidfd_send_signal, EPERM);
    CHECK_EQ(cvy_os_kill(pid, fd, SIGTERM), 0);
    CHECK_EQ(cvy_os_wait_child(pid, fd, INT64_MAX, &end), 0);
    CHECK_EQ(end.status, -SIGTERM);
}

TEST(kill_works_where_pidfds_may_not_signal)
{
    pid_t pid = fork();

    if (pid == 0) {
        kill_without_pidfds();
        _exit(0);
    }
    CHECK_EQ(reap(pid), 0);
}

/* ---- waiting ------------------------------------------------------------------ */

TEST(wait_tells_how_a_child_ended)
{
    struct cvy_os_exit end;
    pid_t pid = fork();

    if (pid == 0)
        _exit(255);
    CHECK_EQ(cvy_os_wait_child(pid, -1, INT64_MAX, &end), 0);
    CHECK_EQ(end.pid, pid);
    CHECK_EQ(end.status, 255);
    CHECK(!end.core_dumped);
    CHECK_EQ(cvy_os_wait_child(pid, -1, INT64_MAX, &end), -ECHILD);
    pid = start_pausing();
    kill(pid, SIGKILL);
    CHECK_EQ(cvy_os_wait_child(pid, -1, cvy_os_deadline(COVEY_SEC(10)), &end), 0);
    CHECK_EQ(end.status, -SIGKILL);
    CHECK_EQ(cvy_os_wait_child(0, -1, 0, &end), -ECHILD);
    CHECK_EQ(cvy_os_wait_child(-1, -1, 0, &end), -ECHILD);
}

/* Also where it ignores and blocks what it can. */
TEST(who_dies_was_killed)
{
    struct cvy_os_exit ended;
    pid_t pid = fork();

    if (pid == 0) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        cvy_os_die();
    }
    CHECK_EQ(cvy_os_wait_child(pid, -1, INT64_MAX, &ended), 0);
    CHECK_EQ(ended.status, -SIGKILL);
}

TEST(wait_tells_what_a_child_used)
{
    struct cvy_os_exit end;
    pid_t pid = fork();
    if (pid == 0) {
        volatile char *memory = malloc(32 << 20);
        if (!memory)
            _exit(1);
        for (size_t i = 0; i < 32 << 20; i += 1024)
            memory[i] = 1;
        while (clock() < CLOCKS_PER_SEC / 20)
            continue;
        _exit(memory[1024] != 1);
    }
    CHECK_EQ(cvy_os_wait_child(pid, -1, INT64_MAX, &end), 0);
    CHECK_EQ(end.status, 0);
    CHECK_GE(end.user_time + end.system_time, COVEY_MSEC(45));
    CHECK_LT(end.user_time + end.system_time, COVEY_SEC(20));
    CHECK_GE(end.max_rss, 32 << 20);
}

static void check_wait_with_deadline(int pidfd_wanted)
{
    struct cvy_os_exit end = {.pid = -7};
    pid_t pid = start_pausing();
    int fd = pidfd_wanted ? cvy_os_pidfd_open(pid) : -1;
    int64_t deadline = cvy_os_deadline(COVEY_MSEC(30));

    CHECK_EQ(cvy_os_wait_child(pid, fd, 0, &end), -ETIMEDOUT);
    CHECK_EQ(cvy_os_wait_child(pid, fd, deadline, &end), -ETIMEDOUT);
    CHECK_GE(cvy_os_now(), deadline);
    CHECK_EQ(end.pid, -7);
    kill(pid, SIGKILL);
    CHECK_EQ(cvy_os_wait_child(pid, fd, cvy_os_deadline(COVEY_SEC(10)), &end), 0);
    CHECK_EQ(end.status, -SIGKILL);
    CHECK_EQ(cvy_os_wait_child(pid, fd, 0, &end), -ECHILD);
    cvy_os_close(fd);
}

TEST(wait_ends_at_the_deadline)
{
    check_wait_with_deadline(true);
    check_wait_with_deadline(false);
}

TEST(wait_needs_no_pidfds)
{
    pid_t pid = fork();

    if (pid == 0) {
        deny(SYS_pidfd_open, ENOSYS);
        check_wait_with_deadline(false);
        _exit(0);
    }
    CHECK_EQ(reap(pid), 0);
}

TEST(wait_leaves_other_children_alone)
{
    struct cvy_os_exit end;
    pid_t other = fork(), pid;

    if (other == 0)
        _exit(1);
    await_zombie(other);
    pid = start_pausing();
    CHECK_EQ(cvy_os_wait_child(pid, -1, cvy_os_deadline(COVEY_MSEC(5)), &end),
             -ETIMEDOUT);
    kill_and_reap(pid);
    CHECK_EQ(reap(other), 1 << 8);
}

TEST(wait_for_a_child_that_the_program_reaps_ends)
{
    struct cvy_os_exit end;
    pid_t pid;
    int fd;

    signal(SIGCHLD, SIG_IGN); /* the kernel reaps */
    for (int way = 0; way < 4; way++) {
        pid = start_pausing();
        fd = way & 1 ? cvy_os_pidfd_open(pid) : -1;
        kill(pid, SIGKILL);
        CHECK_EQ(cvy_os_wait_child(pid, fd,
                                   way & 2 ? INT64_MAX : cvy_os_deadline(COVEY_SEC(10)),
                                   &end),
                 -ECHILD);
        cvy_os_close(fd);
    }
    signal(SIGCHLD, SIG_DFL);
    pid = start_pausing();
    fd = cvy_os_pidfd_open(pid);
    kill_and_reap(pid);
    CHECK_EQ(cvy_os_wait_child(pid, fd, INT64_MAX, &end), -ECHILD);
    cvy_os_close(fd);
}

TEST(wait_is_for_children_only)
{
    struct cvy_os_exit end;

    CHECK_EQ(cvy_os_wait_child(1, -1, INT64_MAX, &end), -ECHILD);
    CHECK_EQ(cvy_os_wait_child(getpid(), -1, 0, &end), -ECHILD);
}

/* ---- who runs ----------------------------------------------------------------- */

TEST(start_time_identifies_a_process)
{
    uint64_t mine = 0, again = 0, childs = 0;
    pid_t pid = start_pausing();

    CHECK_EQ(cvy_os_start_time(getpid(), &mine), 0);
    CHECK_EQ(cvy_os_start_time(getpid(), &again), 0);
    CHECK_GT(mine, 0);
    CHECK_EQ(mine, again);
    CHECK_EQ(cvy_os_start_time(pid, &childs), 0);
    CHECK_GE(childs, mine);
    CHECK_GE(cvy_os_boot_ticks(), childs);
    CHECK(cvy_os_is_running(pid, childs));
    CHECK(cvy_os_is_running(pid, 0));
    CHECK(!cvy_os_is_running(pid, childs - 1)); /* an older one had its number */
    kill(pid, SIGKILL);
    await_zombie(pid);
    CHECK_EQ(cvy_os_start_time(pid, &again), -ESRCH);
    CHECK(!cvy_os_is_running(pid, childs));
    reap(pid);
    CHECK_EQ(cvy_os_start_time(pid, &again), -ESRCH);
    CHECK(!cvy_os_is_running(pid, 0));
    CHECK_EQ(again, mine);
    CHECK_EQ(cvy_os_start_time(0, &again), -ESRCH);
    CHECK_EQ(cvy_os_start_time(-5, &again), -ESRCH);
}

TEST(start_time_is_read_behind_any_name)
{
    uint64_t before = 0, after = 0;

    CHECK_EQ(cvy_os_start_time(getpid(), &before), 0);
    cvy_os_set_comm(") S 1 2 (x) Z 3");
    CHECK_EQ(cvy_os_start_time(getpid(), &after), 0);
    CHECK_EQ(before, after);
}

static void *stay(void *unused)
{
    (void)unused;
    pause_for_ever();
    return NULL;
}

TEST(process_whose_main_thread_ended_runs)
{
    pid_t pid = fork();

    if (pid == 0) {
        pthread_t thread;

        pthread_create(&thread, NULL, stay, NULL);
        syscall(SYS_exit, 0);
    }
    await_state(pid, 'Z');
    CHECK(cvy_os_is_running(pid, 0));
    kill(pid, SIGKILL);
    await_zombie(pid);
    CHECK(!cvy_os_is_running(pid, 0));
    reap(pid);
}

static void look_without_proc(void)
{
    pid_t pid = start_pausing();
    uint64_t ticks;

    deny(SYS_openat, ENOENT);
    CHECK_EQ(cvy_os_start_time(pid, &ticks), -ENOENT);
    CHECK(cvy_os_is_running(pid, 7)); /* cannot tell otherwise */
    kill_and_reap(pid);
    CHECK_EQ(cvy_os_start_time(pid, &ticks), -ESRCH);
    CHECK(!cvy_os_is_running(pid, 7));
}

TEST(who_runs_is_known_without_proc)
{
    pid_t pid = fork();

    if (pid == 0) {
        look_without_proc();
        _exit(0);
    }
    CHECK_EQ(reap(pid), 0);
}

TEST(new_group_is_led_by_the_process)
{
    pid_t pid = fork();

    if (pid == 0) {
        CHECK_EQ(cvy_os_new_group(), 0);
        _exit(getpgrp() != getpid());
    }
    CHECK_EQ(reap(pid), 0);
    CHECK(!cvy_os_is_secure());
}

CHECK_MAIN()
