/* SPDX-License-Identifier: MIT */
/* Hosts that close or replace descriptors which are not theirs, or lack the first three. */
#include <sys/stat.h>

#include "host.h"

/* In a process of its own, which ends by exit(): the test's descriptors stay. */
static void in_host(void (*body)(void))
{
    int pid = family_fork();
    if (pid == 0) {
        body();
        exit(0);
    }
    CHECK_EQ(host_wait(pid), 0);
}

static void run_by(enum covey_start_method method, int code)
{
    covey_process *p = started(host_return_arg, COVEY_VIEW_OF(code),
                               COVEY_PROCESS_OPTS(.method = method));
    host_ends(p, code);
}

/* Spawn and forkserver say what is missing, fork goes on. */
static void check_after_closing(void)
{
    covey_process *p = made(host_return_arg, COVEY_NO_VIEW, OPTS(.name = "late"));
    if (check_method() == COVEY_FORK) {
        covey_process_free(p);
        run_by(COVEY_FORK, 3);
        return;
    }
    CHECK_ERR(covey_process_start(p), COVEY_ESTATE);
    CHECK_STR_HAS(covey_error_detail(), "late");
    CHECK_STR_HAS(covey_error_detail(), "descriptor");
    CHECK_STR_HAS(covey_error_detail(), "closed");
    covey_process_free(p);
    run_by(COVEY_FORK, 4);
}

/* ---- closed ---- */

static void close_before_the_first_start(void)
{
    CHECK(covey_current_process() != NULL);
    closefrom(3);
    check_after_closing();
}

TEST_EACH_METHOD(all_descriptors_are_closed_before_the_first_start)
{
    in_host(close_before_the_first_start);
}

static void close_after_a_start(void)
{
    host_run(1);
    closefrom(3);
    check_after_closing();
    check_after_closing();
}

TEST_EACH_METHOD(all_descriptors_are_closed_after_a_start)
{
    in_host(close_after_a_start);
}

static void *run_in_thread(void *arg)
{
    (void)arg;
    check_after_closing();
    return NULL;
}

static void start_by_threads(void)
{
    pthread_t thread;
    host_run(1);
    for (int i = 0; i < 3; i++) {
        closefrom(3);
        CHECK_EQ(pthread_create(&thread, NULL, run_in_thread, NULL), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
}

/* Such starts rest on the life-line, which is made anew. */
TEST_EACH_METHOD(threads_start_processes_after_all_was_closed)
{
    in_host(start_by_threads);
}

static void close_while_one_runs(void)
{
    int code = 0;
    covey_process *p = host_start(host_sleep, COVEY_NO_VIEW);
    closefrom(3);
    (void)covey_process_terminate(p);
    CHECK_OK(covey_process_join(p, COVEY_SEC(20)));
    CHECK_OK(covey_process_exitcode(p, &code));
    CHECK(code == -SIGTERM || code == -SIGKILL);
    covey_process_free(p);
}

/* A process that runs can still be signalled and joined. */
TEST_EACH_METHOD(all_descriptors_are_closed_while_a_process_runs)
{
    in_host(close_while_one_runs);
}

/* ---- replaced ---- */

#define REPLACED 60

/* Files of the host under all the numbers that covey had. */
static void replace_all(void)
{
    closefrom(3);
    int null = open("/dev/zero", O_RDONLY);
    CHECK_EQ(null, 3);
    for (int fd = 4; fd < REPLACED; fd++)
        CHECK_EQ(dup(null), fd);
}

static void check_files_of_host(void)
{
    for (int fd = 3; fd < REPLACED; fd++) {
        char byte = 1;
        CHECK_EQ(read(fd, &byte, 1), 1);
        CHECK_EQ(byte, 0);
    }
}

static int target_that_checks_files(struct covey_view arg)
{
    (void)arg;
    check_files_of_host();
    return 0;
}

static void *host_run_in_thread(void *arg)
{
    (void)arg;
    host_run(2);
    return NULL;
}

static void use_after_replacing(void)
{
    pthread_t thread;
    host_run(1);
    CHECK_EQ(pthread_create(&thread, NULL, host_run_in_thread, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0); /* makes the life-line */
    replace_all();
    check_after_closing();
    check_files_of_host();
    covey_process *p = started(target_that_checks_files, COVEY_NO_VIEW,
                               COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    host_ends(p, 0);
    int pid = family_fork(); /* attaches anew, and forgets the parent's descriptors */
    if (pid == 0) {
        run_by(COVEY_FORK, 5);
        check_files_of_host();
        exit(0);
    }
    CHECK_EQ(host_wait(pid), 0);
    check_files_of_host();
}

TEST_EACH_METHOD(files_of_the_host_under_coveys_numbers_are_left_alone)
{
    in_host(use_after_replacing);
}

static void end_after_replacing(void)
{
    struct shared *s = share();
    struct stat info;
    int sentinel = -1;
    covey_process *p = started(run_until_told, COVEY_VIEW_OF(s),
                               OPTS(.capture_stderr = COVEY_ON)),
                  *thread = started(run_until_told, COVEY_VIEW_OF(s),
                                    COVEY_PROCESS_OPTS(.method = COVEY_THREAD));
    CHECK_OK(covey_process_sentinel(thread, &sentinel));
    family_await(&s->begun, 2);
    closefrom(3);
    CHECK_EQ(memfd_create("a file of the host's", MFD_CLOEXEC), 3);
    for (int fd = 4; fd < REPLACED; fd++)
        CHECK_EQ(dup(3), fd);
    family_tell(&s->go);
    CHECK_OK(covey_process_join(p, COVEY_FOREVER));
    CHECK_EQ(exitcode_of(thread), 0);
    for (int fd = 3; fd < REPLACED; fd++)
        CHECK_EQ(fstat(fd, &info), 0);
    CHECK_EQ(info.st_size, 0);
}

/* Neither written to when a thread's end is told, nor closed when a child is reaped. */
TEST_EACH_METHOD(files_of_the_host_are_left_alone_when_processes_end)
{
    in_host(end_after_replacing);
}

static void close_a_sentinel(void)
{
    struct shared *s = share();
    int fd = -1;
    covey_process *p = started(run_until_told, COVEY_VIEW_OF(s),
                               COVEY_PROCESS_OPTS(.method = COVEY_THREAD));
    CHECK_OK(covey_process_sentinel(p, &fd));
    close(fd);
    family_tell(&s->go);
    CHECK_EQ(exitcode_of(p), 0);
}

TEST(closed_sentinel_of_a_thread_is_no_signal)
{
    in_host(close_a_sentinel);
}

static void replace_while_one_is_watched(void)
{
    int fd = -1;
    covey_process *p = host_start(host_sleep, COVEY_NO_VIEW);
    CHECK_OK(covey_process_sentinel(p, &fd));
    replace_all();
    (void)covey_process_kill(p);
    CHECK_OK(covey_process_join(p, COVEY_SEC(20)));
    covey_process_free(p);
}

/* The sentinel is covey's own, so its number is closed with the object; but waiting and
 * signals do not go by what lies there. */
TEST_EACH_METHOD(a_replaced_sentinel_does_not_mislead)
{
    in_host(replace_while_one_is_watched);
}

/* A process of the host's own, with its pidfd under that number. */
static int start_under(int fd)
{
    int own = family_fork();
    if (own == 0)
        for (;;)
            pause();
    int pidfd = cvy_os_pidfd_open(own);
    if (pidfd >= 0)
        CHECK_EQ(dup2(pidfd, fd), fd);
    return own;
}

static void replace_by_a_pidfd(void)
{
    int fd = -1, code = 0;
    covey_process *p = host_start(host_sleep, COVEY_NO_VIEW);
    CHECK_OK(covey_process_sentinel(p, &fd));
    closefrom(3);
    int own = start_under(fd);
    CHECK_OK(covey_process_kill(p));
    CHECK_OK(covey_process_join(p, COVEY_SEC(20)));
    CHECK_OK(covey_process_exitcode(p, &code));
    CHECK_EQ(code, -SIGKILL);
    family_kill(own); /* which ran until now */
    covey_process_free(p);
}

/* A process of the host's under a sentinel's number is not taken for covey's. */
TEST_EACH_METHOD(a_sentinel_replaced_by_a_pidfd_does_not_mislead)
{
    in_host(replace_by_a_pidfd);
}

static void replace_a_daemons_by_a_pidfd(void)
{
    int fd = -1;
    covey_process *p = started(host_sleep, COVEY_NO_VIEW, OPTS(.daemon = COVEY_ON));
    int daemon = pid_of(p);
    CHECK_OK(covey_process_sentinel(p, &fd));
    closefrom(3);
    int own = start_under(fd);
    cvy_process_end(0); /* ends the daemon, and waits for it */
    CHECK_EQ(waitpid(daemon, NULL, WNOHANG), -1);
    family_kill(own);
    cvy_os_exit(0);
}

TEST_EACH_METHOD(daemon_ends_though_its_sentinel_was_replaced_by_a_pidfd)
{
    in_host(replace_a_daemons_by_a_pidfd);
}

/* ---- the first three ---- */

static int lacking; /* bits of descriptors that the host has not */

static void check_lacking(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (lacking & 1 << fd)
            CHECK_EQ(fcntl(fd, F_GETFD), -1);
        else
            CHECK_NE(fcntl(fd, F_GETFD), -1);
}

static int needs_stdin(struct covey_view arg)
{
    char byte;
    (void)arg;
    return (int)read(0, &byte, 1); /* the null device: 0 */
}

static void use_all(void)
{
    covey_pool *pool = NULL;
    int in[] = {1, 2, 3}, out[3] = {0};
    for (int fd = 0; fd < 3; fd++)
        if (lacking & 1 << fd)
            close(fd);
    host_run(6);
    check_lacking();
    host_ends(host_start(needs_stdin, COVEY_NO_VIEW), 0);
    host_ends(started(host_return_arg, COVEY_VIEW_OF(in[2]),
                      OPTS(.capture_stderr = COVEY_ON)),
              3);
    check_lacking();
    CHECK_OK(covey_pool_create(&pool, 2, COVEY_POOL_OPTS(.method = check_method())));
    CHECK_OK(
        covey_pool_map(pool, host_double, in, sizeof *in, out, sizeof *out, 3, NULL));
    CHECK_EQ(out[0] + out[1] + out[2], 12);
    covey_pool_free(pool);
    check_lacking();
}

TEST_EACH_METHOD(host_lacks_the_first_descriptors)
{
    for (lacking = 1; lacking < 8; lacking++)
        in_host(use_all);
}

CHECK_MAIN()
