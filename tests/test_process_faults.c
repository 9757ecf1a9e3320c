/* SPDX-License-Identifier: MIT */
/* Creating, starting and joining with the n-th system call failing, for every n. */
#include "fds.h"
#include "os/faults.h"
#include "process_help.h"

static int count_descriptors(void)
{
    close_kept_descriptors();
    return count_fds();
}

/* One life of a process, or a part of it. Returns the first error, or its exit code. */
static int live(const struct covey_process_opts *opts, size_t arg_size)
{
    static char bytes[4096];
    covey_process *p = NULL;
    int code = 0, fd;
    int r = covey_process_create(&p, do_nothing, COVEY_VIEW(bytes, arg_size), opts);
    if (r >= 0)
        r = covey_process_start(p);
    if (r >= 0) {
        (void)covey_process_sentinel(p, &fd);
        CHECK_OK(covey_process_join(p, COVEY_SEC(20)));
        CHECK_OK(covey_process_exitcode(p, &code));
    } else {
        CHECK_STR_HAS(covey_error_detail(), " ");
    }
    if (p)
        covey_process_free(p);
    return r < 0 ? r : code;
}

/* Calls fail in this process and, under fork, in the child that inherits the count. */
static void walk(const struct covey_process_opts *opts, size_t arg_size)
{
    int failures = 0;
    CHECK_EQ(live(opts, arg_size), 0);
    cvy_forkserver_stop();
    int descriptors = count_descriptors();
    uint64_t objects = family_usage().objects;
    for (long n = 1;; n++) {
        CHECK_LT(n, 1000);
        cvy_faults_arm(n, 0);
        int r = live(opts, arg_size);
        bool hit = cvy_faults_last() != NULL;
        if (r < 0)
            failures++;
        cvy_forkserver_stop();
        cvy_faults_arm(0, 0);
        CHECK_EQ(family_usage().members, 1);
        CHECK_EQ(family_usage().objects, objects);
        CHECK_EQ(count_descriptors(), descriptors);
        CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
        CHECK_EQ(live(opts, arg_size), 0); /* nothing is spoilt */
        cvy_forkserver_stop();
        if (!hit && r == 0)
            break;
    }
    CHECK_GT(failures, 1);
}

TEST_EACH_METHOD_TIMEOUT(any_failing_call_is_a_clean_error, 120)
{
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    (void)share();
    walk(OPTS(), 0);
    walk(OPTS(.capture_stderr = COVEY_ON, .new_group = COVEY_ON, .cpus = "0-1000"),
         4096);
}

/* Calls fail in the child or server, which comes by exec. */
CHECK_TEST_(any_call_failing_in_a_new_image_is_a_clean_error,
            1U << COVEY_SPAWN | 1U << COVEY_FORKSERVER, 120)
{
    const struct covey_process_opts *opts = OPTS(.capture_stderr = COVEY_ON);
    int failures = 0, in_a_row = 0;
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    CHECK_EQ(live(opts, 10), 0);
    cvy_forkserver_stop();
    int descriptors = count_descriptors();
    for (int n = 1; in_a_row < 10; n++) {
        char text[16];
        snprintf(text, sizeof text, "%d", n);
        setenv("COVEY_FAULT", text, 1);
        int r = live(opts, 10);
        unsetenv("COVEY_FAULT");
        failures += r < 0;
        in_a_row = r == 0 ? in_a_row + 1 : 0;
        cvy_forkserver_stop();
        CHECK_EQ(family_usage().members, 1);
        CHECK_EQ(count_descriptors(), descriptors);
        CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
    }
    CHECK_GT(failures, 1);
}

CHECK_MAIN()
