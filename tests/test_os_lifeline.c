/* SPDX-License-Identifier: MIT */
/* The system contract: dying with the parent, by pipe and by thread. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os_help.h"

/* ---- helpers ------------------------------------------------------------------ */

/* Say that all is set up and wait to be killed. */
static void be_ready_and_pause(struct shared *shared)
{
    raise_word(&shared->ready);
    for (;;)
        pause();
}

/* Start a process that dies with the pipe and holds nothing else of it. */
static pid_t start_victim(struct shared *shared, const int ends[2])
{
    uint32_t before = atomic_load(&shared->ready);
    pid_t pid = fork();

    if (pid == 0) {
        close(ends[1]);
        CHECK_EQ(cvy_os_die_with_pipe(ends[0]), 0);
        close(ends[0]);
        be_ready_and_pause(shared);
    }
    await_word(&shared->ready, before + 1);
    return pid;
}

/* The kernel has sent the signal by the time close returns, so a process that it does
 * not concern still answers afterwards. */
static void check_alive(pid_t pid)
{
    struct cvy_os_exit end;

    CHECK_EQ(cvy_os_wait_child(pid, -1, cvy_os_deadline(COVEY_MSEC(20)), &end),
             -ETIMEDOUT);
}

/* A test of one process in a child, whose life-line is left behind. */
static void in_child(void (*body)(void))
{
    pid_t pid = fork();

    if (pid == 0) {
        body();
        _exit(0);
    }
    CHECK_EQ(reap(pid), 0);
}

/* ---- by pipe ------------------------------------------------------------------ */

TEST(last_close_of_the_pipe_kills)
{
    struct shared *shared = share();
    int ends[2], copy;
    pid_t pid;

    CHECK_EQ(cvy_os_pipe(ends), 0);
    pid = start_victim(shared, ends);
    copy = cvy_os_dup(ends[1], 0);
    close(ends[1]);
    check_alive(pid);
    close(copy);
    CHECK_EQ(reap(pid), SIGKILL);
    close(ends[0]);
}

/* A process that holds the write end, and that the test may kill. */
static pid_t start_holder(struct shared *shared)
{
    pid_t pid = fork();

    if (pid == 0)
        be_ready_and_pause(shared);
    await_word(&shared->ready, 1);
    return pid;
}

TEST(death_of_the_last_writer_kills)
{
    struct shared *shared = share();
    int ends[2];
    pid_t holder, victim;

    CHECK_EQ(cvy_os_pipe(ends), 0);
    holder = start_holder(shared);
    victim = start_victim(shared, ends);
    close(ends[1]);
    check_alive(victim);
    kill(holder, SIGKILL);
    CHECK_EQ(reap(victim), SIGKILL);
    CHECK_EQ(reap(holder), SIGKILL);
    close(ends[0]);
}

struct thread_of_victim {
    struct shared *shared;
    int ends[2];
    pid_t victim;
};

static void *start_from_thread(void *argument)
{
    struct thread_of_victim *thread = argument;

    thread->victim = start_victim(thread->shared, thread->ends);
    return NULL;
}

TEST(end_of_the_thread_that_forked_does_not_kill)
{
    struct thread_of_victim starter = {.shared = share()};
    pthread_t thread;

    CHECK_EQ(cvy_os_pipe(starter.ends), 0);
    CHECK_EQ(pthread_create(&thread, NULL, start_from_thread, &starter), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    check_alive(starter.victim);
    close(starter.ends[1]);
    CHECK_EQ(reap(starter.victim), SIGKILL);
    close(starter.ends[0]);
}

static void *close_from_thread(void *fd)
{
    close(*(int *)fd);
    return NULL;
}

TEST(close_by_another_thread_kills)
{
    struct shared *shared = share();
    pthread_t thread;
    int ends[2];
    pid_t pid;

    CHECK_EQ(cvy_os_pipe(ends), 0);
    pid = start_victim(shared, ends);
    CHECK_EQ(pthread_create(&thread, NULL, close_from_thread, &ends[1]), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(reap(pid), SIGKILL);
    close(ends[0]);
}

/* Parent -> child -> grandchild, each with a line to the one above: killing the child
 * kills the grandchild, and nothing of the line to the parent. */
TEST(grandchild_dies_with_its_own_parent)
{
    struct shared *shared = share();
    int ends[2];
    pid_t child;

    CHECK_EQ(cvy_os_pipe(ends), 0);
    child = fork();
    if (child == 0) {
        int own_ends[2];

        close(ends[1]);
        CHECK_EQ(cvy_os_die_with_pipe(ends[0]), 0);
        CHECK_EQ(cvy_os_pipe(own_ends), 0);
        atomic_store(&shared->result, (uint32_t)start_victim(shared, own_ends));
        be_ready_and_pause(shared);
    }
    await_word(&shared->ready, 2);
    check_alive(child);
    CHECK(cvy_os_is_running((int)atomic_load(&shared->result), 0));
    close(ends[1]); /* the child, hence the grandchild, which the harness awaits */
    CHECK_EQ(reap(child), SIGKILL);
    close(ends[0]);
}

/* Both have lines of one pipe, in open files of their own. */
TEST(relatives_die_with_the_same_pipe)
{
    struct shared *shared = share();
    int ends[2];
    pid_t pids[3];

    CHECK_EQ(cvy_os_pipe(ends), 0);
    for (int i = 0; i < 3; i++)
        pids[i] = start_victim(shared, ends);
    close(ends[1]);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(reap(pids[i]), SIGKILL);
    close(ends[0]);
}

TEST(fork_child_is_not_concerned_before_it_asks)
{
    struct shared *shared = share();
    int ends[2];
    pid_t child;

    CHECK_EQ(cvy_os_pipe(ends), 0);
    child = fork();
    if (child == 0) {
        close(ends[1]);
        CHECK_EQ(cvy_os_die_with_pipe(ends[0]), 0);
        if (fork() == 0) {
            raise_word(&shared->ready);
            await_word(&shared->object, 1);
            raise_word(&shared->result);
            _exit(0);
        }
        be_ready_and_pause(shared);
    }
    await_word(&shared->ready, 2);
    close(ends[1]);
    CHECK_EQ(reap(child), SIGKILL);
    raise_word(&shared->object); /* the grandchild lives to answer */
    await_word(&shared->result, 1);
    close(ends[0]);
}

TEST(second_line_replaces_the_first)
{
    struct shared *shared = share();
    int first[2], second[2];
    pid_t pid;

    CHECK_EQ(cvy_os_pipe(first), 0);
    CHECK_EQ(cvy_os_pipe(second), 0);
    pid = fork();
    if (pid == 0) {
        close(first[1]);
        close(second[1]);
        CHECK_EQ(cvy_os_die_with_pipe(first[0]), 0);
        CHECK_EQ(cvy_os_die_with_pipe(second[0]), 0);
        be_ready_and_pause(shared);
    }
    await_word(&shared->ready, 1);
    close(first[1]);
    check_alive(pid);
    close(second[1]);
    CHECK_EQ(reap(pid), SIGKILL);
    close(first[0]);
    close(second[0]);
}

static void use_closed_pipe(void)
{
    int ends[2];

    CHECK_EQ(cvy_os_pipe(ends), 0);
    close(ends[1]);
    CHECK_EQ(cvy_os_die_with_pipe(ends[0]), -EPIPE);
}

TEST(pipe_that_is_closed_already_is_an_error)
{
    in_child(use_closed_pipe);
}

static void use_no_pipe(void)
{
    int ends[2], fd = cvy_os_open_null();

    CHECK_EQ(cvy_os_die_with_pipe(fd), -EINVAL);
    CHECK_EQ(cvy_os_die_with_pipe(-1), -EBADF);
    CHECK_EQ(cvy_os_die_with_pipe(999), -EBADF);
    CHECK_EQ(cvy_os_pipe(ends), 0);
    deny(SYS_openat, ENOENT);
    CHECK_EQ(cvy_os_die_with_pipe(ends[0]), -ENOENT);
}

TEST(line_that_cannot_be_is_an_error)
{
    in_child(use_no_pipe);
}

/* The program closed what it did not open, and uses the number for a pipe of its own. */
static void lose_the_line(void)
{
    int first[2], second[2], alien;

    CHECK_EQ(cvy_os_pipe(first), 0);
    CHECK_EQ(cvy_os_pipe(second), 0);
    CHECK_EQ(cvy_os_die_with_pipe(first[0]), 0);
    alien = second[1] + 1;
    CHECK_GE(fcntl(alien, F_GETFD), 0);
    CHECK_EQ(dup2(first[1], alien), alien);
    CHECK_EQ(cvy_os_die_with_pipe(second[0]), 0);
    CHECK_GE(fcntl(alien, F_GETFD), 0);
}

TEST(line_that_was_closed_is_not_closed_again)
{
    in_child(lose_the_line);
}

TEST(line_needs_one_descriptor_and_is_close_on_exec)
{
    struct shared *shared = share();
    int ends[2];
    pid_t pid;

    CHECK_EQ(cvy_os_pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        int lowest = dup(0);

        close(lowest);
        for (int i = 0; i < 10; i++)
            CHECK_EQ(cvy_os_die_with_pipe(ends[0]), 0);
        CHECK_LE(dup(0), lowest + 1); /* replaced, not collected */
        for (int fd = lowest; fd <= lowest + 1; fd++)
            CHECK(fcntl(fd, F_GETSIG) != SIGKILL || fcntl(fd, F_GETFD) == FD_CLOEXEC);
        raise_word(&shared->ready);
        _exit(0);
    }
    CHECK_EQ(reap(pid), 0);
    close(ends[0]);
    close(ends[1]);
}

/* ---- by thread ---------------------------------------------------------------- */

static void *start_child_of_thread(void *argument)
{
    struct shared *shared = argument;
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        CHECK_EQ(cvy_os_die_with_thread(parent), 0);
        be_ready_and_pause(shared);
    }
    await_word(&shared->ready, 1);
    atomic_store(&shared->result, (uint32_t)pid);
    cvy_os_futex_wake(&shared->result, 1);
    await_word(&shared->object, 1);
    return NULL;
}

TEST(end_of_the_starting_thread_kills_if_asked)
{
    struct shared *shared = share();
    pthread_t thread;
    pid_t pid;

    CHECK_EQ(pthread_create(&thread, NULL, start_child_of_thread, shared), 0);
    await_word(&shared->result, 1);
    pid = (pid_t)atomic_load(&shared->result);
    check_alive(pid);
    raise_word(&shared->object);
    CHECK_EQ(reap(pid), SIGKILL);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void ask_for_another_parent(void)
{
    CHECK_EQ(cvy_os_die_with_thread(1000000000), -ESRCH);
    CHECK_EQ(cvy_os_die_with_thread(getppid()), 0);
}

TEST(parent_that_is_gone_is_an_error)
{
    in_child(ask_for_another_parent);
}

CHECK_MAIN()
