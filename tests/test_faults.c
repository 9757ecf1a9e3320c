/* SPDX-License-Identifier: MIT */
/* Fault points: each call that can fail does so when asked, and leaves nothing behind,
 * which the harness checks. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/faults.h"
#include "os_help.h"

/* ---- the calls ---------------------------------------------------------------- */

static int try_memfd(void)
{
    int fd = cvy_os_memfd_create("test", 4096);

    return fd < 0 ? fd : (cvy_os_close(fd), 0);
}

static int try_pipe(void)
{
    int ends[2] = {-7, -7};
    int r = cvy_os_pipe(ends);

    CHECK(r == 0 || (ends[0] == -7 && ends[1] == -7));
    if (r == 0)
        cvy_os_close(ends[0]), cvy_os_close(ends[1]);
    return r;
}

static int try_socketpair(void)
{
    int ends[2] = {-7, -7};
    int r = cvy_os_socketpair(ends);

    CHECK(r == 0 || (ends[0] == -7 && ends[1] == -7));
    if (r == 0)
        cvy_os_close(ends[0]), cvy_os_close(ends[1]);
    return r;
}

static int try_null(void)
{
    int fd = cvy_os_open_null();

    return fd < 0 ? fd : (cvy_os_close(fd), 0);
}

static int try_ready(void)
{
    int fd = cvy_os_ready_fd();

    return fd < 0 ? fd : (cvy_os_close(fd), 0);
}

static int try_dup(void)
{
    int fd = cvy_os_dup(0, 0);

    return fd < 0 ? fd : (cvy_os_close(fd), 0);
}

static int try_wipe_page(void)
{
    void *page = NULL;
    int r = cvy_os_wipe_page(&page);

    CHECK_EQ(r == 0, page != NULL);
    if (r == 0)
        cvy_os_unmap(page, cvy_os_page_size());
    return r;
}

static int try_random(void)
{
    char byte;

    return cvy_os_random(&byte, 1);
}

static int try_fork(void)
{
    int pid = cvy_os_fork();

    if (pid == 0)
        cvy_os_exit(0);
    return pid < 0 ? pid : reap(pid);
}

static int try_spawn(void)
{
    char words[3][8] = {"sh", "-c", "exit"};
    char *const argv[] = {words[0], words[1], words[2], NULL};
    int pid = cvy_os_spawn("/bin/sh", argv, 0);

    return pid < 0 ? pid : reap(pid);
}

static int try_pidfd(void)
{
    int fd = cvy_os_pidfd_open(cvy_os_pid());

    return fd < 0 ? fd : (cvy_os_close(fd), 0);
}

static int try_cpu_count(void)
{
    size_t count;

    return cvy_os_cpu_count(&count);
}

static const struct {
    int (*try)(void);
    const char *name;
    int typical_error;
} calls[] = {
    {try_memfd, "memfd_create", EMFILE},
    {try_pipe, "pipe2", EMFILE},
    {try_socketpair, "socketpair", EMFILE},
    {try_null, "open", EMFILE},
    {try_ready, "eventfd", EMFILE},
    {try_dup, "fcntl(F_DUPFD_CLOEXEC)", EMFILE},
    {try_wipe_page, "madvise(MADV_WIPEONFORK)", ENOMEM},
    {try_random, "getrandom", ENOSYS},
    {try_fork, "fork", EAGAIN},
    {try_spawn, "posix_spawn", EAGAIN},
    {try_pidfd, "pidfd_open", EMFILE},
    {try_cpu_count, "sched_getaffinity", EINVAL},
};

TEST(each_call_fails_once_when_asked)
{
    for (size_t i = 0; i < CVY_ARRAY_SIZE(calls); i++) {
        cvy_faults_arm(1, 0);
        CHECK_EQ(calls[i].try(), -calls[i].typical_error);
        CHECK_STR_EQ(cvy_faults_last(), calls[i].name);
        CHECK_EQ(calls[i].try(), 0);
        CHECK_EQ(cvy_faults_count(), 2);
        cvy_faults_arm(1, ENFILE);
        CHECK_EQ(calls[i].try(), -ENFILE);
    }
}

/* ---- which call --------------------------------------------------------------- */

TEST(the_nth_call_fails)
{
    for (size_t nth = 1; nth <= CVY_ARRAY_SIZE(calls); nth++) {
        cvy_faults_arm((long)nth, ENFILE);
        for (size_t i = 0; i < CVY_ARRAY_SIZE(calls); i++)
            CHECK_EQ(calls[i].try(), i + 1 == nth ? -ENFILE : 0);
        CHECK_STR_EQ(cvy_faults_last(), calls[nth - 1].name);
        CHECK_EQ(cvy_faults_count(), CVY_ARRAY_SIZE(calls));
    }
}

TEST(disarmed_calls_are_counted_only)
{
    cvy_faults_arm(2, 0);
    CHECK_EQ(cvy_faults_count(), 0);
    CHECK(cvy_faults_last() == NULL);
    CHECK_EQ(try_pipe(), 0);
    cvy_faults_arm(0, 0);
    CHECK_EQ(try_pipe(), 0);
    CHECK_EQ(try_pipe(), 0);
    CHECK_EQ(cvy_faults_count(), 2);
    CHECK(cvy_faults_last() == NULL);
}

TEST(fork_child_goes_on_counting)
{
    pid_t pid;

    cvy_faults_arm(2, 0);
    CHECK_EQ(try_pipe(), 0);
    pid = fork();
    if (pid == 0)
        _exit(try_pipe() != -EMFILE);
    CHECK_EQ(reap(pid), 0);
    CHECK_EQ(cvy_faults_count(), 1);
    CHECK_EQ(try_pipe(), -EMFILE);
}

static atomic_int failures;

static void *call_much(void *unused)
{
    (void)unused;
    for (int i = 0; i < 1000; i++) {
        if (try_random() < 0)
            atomic_fetch_add(&failures, 1);
    }
    return NULL;
}

TEST(of_several_threads_one_call_fails)
{
    pthread_t threads[4];

    cvy_faults_arm(1500, 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, call_much, NULL), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(atomic_load(&failures), 1);
    CHECK_EQ(cvy_faults_count(), 4000);
}

/* ---- in a child by exec ------------------------------------------------------- */

/* In a program started with COVEY_FAULT, where calls were made before main already: the
 * error of the one that fails of 20, 0 if none does, 99 if several do. */
static int call_20_times(void)
{
    int error = 0;

    for (int i = 0; i < 20; i++) {
        int r = try_pipe();

        if (r < 0)
            error = error ? 99 : -r;
    }
    return error;
}

/* What that gives. */
static int spawn_with(const char *fault)
{
    char words[2][16] = {"test", "--child"};
    char *const argv[] = {words[0], words[1], NULL};
    int pid;

    setenv("COVEY_FAULT", fault, 1);
    pid = cvy_os_spawn(NULL, argv, 0);
    unsetenv("COVEY_FAULT");
    CHECK_GT(pid, 0);
    return reap(pid) >> 8;
}

TEST(environment_arms_a_spawned_child)
{
    CHECK_EQ(spawn_with("15:12"), 12);
    CHECK_EQ(spawn_with("15:0"), EMFILE);
    CHECK_EQ(spawn_with("15"), EMFILE);
    CHECK_EQ(spawn_with("99:12"), 0);
    CHECK_EQ(spawn_with(""), 0);
    CHECK_EQ(spawn_with("junk"), 0);
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--child"))
        return call_20_times();
    return check_main(argc, argv);
}
