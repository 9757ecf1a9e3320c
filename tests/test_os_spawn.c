/* SPDX-License-Identifier: MIT */
/* The system contract: running a program, this one again or another. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fds.h"
#include "os_help.h"

/* ---- this program, run again ------------------------------------------------ */

/* Open are those of 0, 1, 2 that `standard` names, 3, and no other. */
static int answer_descriptors(const char *standard)
{
    for (int fd = 0; fd < 3; fd++) {
        bool expected = strchr(standard, '0' + fd) != NULL;

        if (is_open(fd) != expected)
            return 10 + fd;
    }
    if (fcntl(3, F_GETFD) != 0)
        return 13;
    for (int fd = 4; fd < 2000; fd++)
        if (is_open(fd))
            return 14;
    return write(3, "hello", 5) == 5 ? 0 : 15;
}

static int answer_signals(void)
{
    struct sigaction action;
    sigset_t mask;

    sigprocmask(SIG_BLOCK, NULL, &mask);
    if (!sigismember(&mask, SIGUSR1) || sigismember(&mask, SIGUSR2))
        return 1;
    sigaction(SIGHUP, NULL, &action);
    if (action.sa_handler != SIG_IGN)
        return 2;
    sigaction(SIGTERM, NULL, &action);
    return action.sa_handler == SIG_DFL ? 0 : 3;
}

static int answer_environment(const char *expected)
{
    const char *found = getenv("OS_TEST");

    return !found || strcmp(found, expected) != 0;
}

/* The question is argv[2], what is expected argv[3]; the answer is the exit status. */
static int answer(char **argv)
{
    if (!strcmp(argv[2], "exit"))
        return atoi(argv[3]);
    if (!strcmp(argv[2], "descriptors"))
        return answer_descriptors(argv[3]);
    if (!strcmp(argv[2], "signals"))
        return answer_signals();
    if (!strcmp(argv[2], "environment"))
        return answer_environment(argv[3]);
    return 99;
}

static char *const *make_argv(const char *what, const char *more)
{
    static char words[4][32] = {"test", "--child"};
    static char *argv[5];

    snprintf(words[2], sizeof(words[2]), "%s", what);
    snprintf(words[3], sizeof(words[3]), "%s", more);
    for (int i = 0; i < 4; i++)
        argv[i] = words[i];
    return argv;
}

static int check_spawned(int pid)
{
    CHECK_GT(pid, 0);
    return reap(pid);
}

/* ---- the tests ---------------------------------------------------------------- */

TEST(spawn_runs_this_program)
{
    CHECK_EQ(check_spawned(cvy_os_spawn(NULL, make_argv("exit", "3"), 0)), 3 << 8);
}

TEST(spawn_runs_another_program)
{
    char words[3][8] = {"sh", "-c", "exit 5"};
    char *const argv[] = {words[0], words[1], words[2], NULL};

    CHECK_EQ(check_spawned(cvy_os_spawn("/bin/sh", argv, 0)), 5 << 8);
}

TEST(spawn_that_cannot_execute_is_an_error)
{
    CHECK_EQ(cvy_os_spawn("/nonexistent", make_argv("exit", "3"), 0), -ENOENT);
    CHECK_EQ(cvy_os_spawn("/etc/passwd", make_argv("exit", "3"), 0), -EACCES);
    CHECK_EQ(cvy_os_spawn(NULL, make_argv("exit", "3"), 999), -EBADF);
    CHECK_EQ(waitpid(-1, NULL, 0), -1);
    CHECK_EQ(errno, ECHILD);
}

/* In a child: spawn with the descriptor at `number` and those in `standard` open. */
static void check_descriptors_of_spawned(int number, const char *standard)
{
    pid_t pid = fork();

    if (pid == 0) {
        int ends[2], reader, status;
        char bytes[8] = "";

        CHECK_EQ(cvy_os_socketpair(ends), 0);
        reader = cvy_os_dup(ends[0], 100);
        cvy_os_close(ends[0]);
        CHECK_EQ(cvy_os_dup_to(0, 80), 0); /* must not get through */
        for (int fd = 0; fd < 3; fd++) {
            if (!strchr(standard, '0' + fd))
                close(fd);
        }
        if (number != ends[1]) {
            CHECK_EQ(dup3(ends[1], number, O_CLOEXEC), number);
            close(ends[1]);
        }
        pid = cvy_os_spawn(NULL, make_argv("descriptors", standard), number);
        close(number);
        status = check_spawned(pid);
        CHECK_EQ(status, 0);
        CHECK_EQ(cvy_os_read(reader, bytes, 8), 5);
        CHECK_STR_EQ(bytes, "hello");
        CHECK_EQ(cvy_os_read(reader, bytes, 8), 0); /* nobody else has it */
        _exit(0);
    }
    CHECK_EQ(reap(pid), 0);
}

TEST(spawn_gives_the_descriptor_as_3_and_no_other)
{
    check_descriptors_of_spawned(3, "012");
    check_descriptors_of_spawned(4, "012");
    check_descriptors_of_spawned(57, "012");
}

TEST(spawn_works_without_standard_descriptors)
{
    check_descriptors_of_spawned(0, "");
    check_descriptors_of_spawned(1, "0");
    check_descriptors_of_spawned(2, "01");
    check_descriptors_of_spawned(3, "");
    check_descriptors_of_spawned(9, "2");
}

static pid_t handlers_home;
static atomic_int handled, handled_elsewhere;
static atomic_bool signalling;

static void note_where(int signal)
{
    (void)signal;
    atomic_fetch_add(
        syscall(SYS_getpid) == handlers_home ? &handled : &handled_elsewhere, 1);
}

TEST(spawn_passes_signals_as_exec_does)
{
    struct sigaction action = {.sa_handler = SIG_IGN};
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = note_where;
    sigaction(SIGTERM, &action, NULL);
    CHECK_EQ(check_spawned(cvy_os_spawn(NULL, make_argv("signals", ""), 0)), 0);
}

static void *signal_the_group(void *unused)
{
    while (atomic_load(&signalling)) {
        kill(0, SIGUSR1);
        sched_yield();
    }
    return unused;
}

/* A child that is not yet another program has this one's memory, and its handlers' too. */
TEST(spawn_runs_no_handlers_in_the_child)
{
    struct sigaction action = {.sa_handler = note_where, .sa_flags = SA_RESTART};
    pid_t host = fork();
    pthread_t thread;

    if (host != 0) {
        CHECK_EQ(reap(host), 0);
        return;
    }
    CHECK_GT(setsid(), 0);
    handlers_home = getpid();
    sigaction(SIGUSR1, &action, NULL);
    atomic_store(&signalling, true);
    CHECK_EQ(pthread_create(&thread, NULL, signal_the_group, NULL), 0);
    for (int i = 0; i < 100 || !atomic_load(&handled); i++) {
        int status = check_spawned(cvy_os_spawn(NULL, make_argv("exit", "3"), 0));

        CHECK(status == 3 << 8 || status == SIGUSR1);
    }
    atomic_store(&signalling, false);
    pthread_join(thread, NULL);
    CHECK_EQ(atomic_load(&handled_elsewhere), 0);
    _exit(0);
}

TEST(spawn_passes_the_environment)
{
    setenv("OS_TEST", "as it is now", 1);
    CHECK_EQ(
        check_spawned(cvy_os_spawn(NULL, make_argv("environment", "as it is now"), 0)),
        0);
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "--child"))
        return answer(argv);
    return check_main(argc, argv);
}
