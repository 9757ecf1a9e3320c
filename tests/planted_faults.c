/* SPDX-License-Identifier: MIT */
/* Tests that are at fault, each in the way its name says; test_check runs them and wants
 * every one reported. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static pid_t fork_or_fail(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    return pid;
}

_Noreturn static void sleep_for_ever(void)
{
    for (;;)
        pause();
}

TEST(nothing_wrong)
{
    CHECK(1);
}

TEST_EACH_METHOD(right_method)
{
    CHECK_STR_EQ(getenv("CHECK_METHOD"), check_method() == COVEY_FORK ? "fork"
                                         : check_method() == COVEY_SPAWN
                                             ? "spawn"
                                             : "forkserver");
}

TEST(skipped)
{
    SKIP("because of %d", 42);
}

TEST(failed_check)
{
    CHECK_EQ(40 + 1, 42);
}

TEST(failed_string)
{
    CHECK_STR_EQ("left", "right");
}

TEST(failed_result)
{
    CHECK_OK(COVEY_ECLOSED);
}

TEST(crash)
{
    raise(SIGSEGV);
}

TEST(bad_exit)
{
    _exit(3);
}

TEST(leaked_descriptor)
{
    CHECK(open("/dev/null", O_RDONLY) >= 0);
}

TEST(closed_descriptor)
{
    close(STDIN_FILENO);
}

TEST(zombie)
{
    pid_t pid = fork_or_fail();
    if (pid == 0)
        _exit(0);
    CHECK_EQ(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
}

TEST(living_child)
{
    if (fork_or_fail() == 0)
        sleep_for_ever();
}

TEST(orphan_in_a_new_session)
{
    pid_t pid = fork_or_fail();
    if (pid == 0) {
        setsid();
        if (fork_or_fail() == 0)
            sleep_for_ever();
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

TEST_TIMEOUT(hang_with_grandchild, 1)
{
    if (fork_or_fail() == 0) {
        setsid();
        fork_or_fail();
        sleep_for_ever();
    }
    sleep_for_ever();
}

TEST(failed_check_in_watched_child)
{
    pid_t pid = fork_or_fail();
    if (pid == 0)
        CHECK_STR_EQ("in the watched child", "");
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

TEST(failed_check_in_unwatched_child)
{
    int pipe_fds[2];
    char byte;
    CHECK_EQ(pipe(pipe_fds), 0);
    if (fork_or_fail() == 0) {
        if (fork_or_fail() == 0)
            CHECK_STR_EQ("in the unwatched child", "");
        _exit(0);
    }
    close(pipe_fds[1]);
    CHECK_EQ(read(pipe_fds[0], &byte, 1), 0); /* both have ended */
    close(pipe_fds[0]);
    wait(NULL);
}

TEST(failed_check_in_executed_child)
{
    /* By its path: valgrind 3.19 would execute itself at /proc/self/exe. */
    char path[PATH_MAX] = "";
    CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    pid_t pid = fork_or_fail();
    if (pid == 0) {
        execl(path, "planted_faults", "--executed", (char *)NULL);
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

TEST(child_returns_from_body)
{
    pid_t pid = fork_or_fail();
    if (pid > 0)
        CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

TEST(name_left_in_dev_shm)
{
    int fd = shm_open("/covey-planted", O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0);
    close(fd);
}

static int refuse(char *why, size_t size)
{
    strncpy(why, "the hook says no", size);
    return -1;
}

TEST(hook_refuses)
{
    check_at_end = refuse;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--executed") == 0) {
        check_attach();
        CHECK_STR_EQ("in the executed child", "");
    }
    return check_main(argc, argv);
}
