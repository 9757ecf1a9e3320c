/* SPDX-License-Identifier: MIT */
/*
 * process_start: an empty child is created, started, joined and freed, one after another;
 * its exit code is checked. ops/s. rss_mib=N: this process holds N MiB it has touched.
 * limit:spawned-self: posix_spawn of this program, which ends at once.
 */
#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#include <covey.h>

enum { EMPTY_EXIT = 7, SPARES = 4, PAGE = 4096 };

static int empty(struct covey_view arg)
{
    (void)arg;
    return EMPTY_EXIT;
}

static void start_and_join(enum covey_start_method method)
{
    covey_process *process;
    int exitcode = -1;
    BENCH_MUST(covey_process_create(&process, empty, COVEY_NO_VIEW,
                                    COVEY_PROCESS_OPTS(.method = method)));
    BENCH_MUST(covey_process_start(process));
    BENCH_MUST(covey_process_join(process, COVEY_FOREVER));
    BENCH_MUST(covey_process_exitcode(process, &exitcode));
    if (exitcode != EMPTY_EXIT)
        bench_fail("exit code %d instead of %d", exitcode, EMPTY_EXIT);
    covey_process_free(process);
}

static double start_many(void *ctx, uint64_t n)
{
    enum covey_start_method method = *(enum covey_start_method *)ctx;
    double begin = bench_clock();
    for (uint64_t i = 0; i < n; i++)
        start_and_join(method);
    return bench_clock() - begin;
}

static void run_method(enum covey_start_method method)
{
    size_t size = (size_t)bench_number("rss_mib", 0) << 20;
    volatile char *ballast = size ? bench_memory(1, size) : NULL;
    for (size_t i = 0; i < size; i += PAGE)
        ballast[i] = 1;
    start_and_join(method); /* the fork server's own start is not measured */
    bench_emit("ops/s", bench_rate(start_many, &method, 4, UINT64_MAX,
                                   bench_number("seconds", 0.5)));
}

/* What a child by spawn cannot do without: this program is executed, and ends. */
static double run_nothing(void *ctx, uint64_t n)
{
    static char path[] = "/proc/self/exe", nothing[] = BENCH_NOTHING;
    static char *argv[] = {path, nothing, NULL};
    (void)ctx;
    double begin = bench_clock();
    for (uint64_t i = 0; i < n; i++) {
        pid_t pid;
        int status;
        if (posix_spawn(&pid, path, NULL, NULL, argv, environ) ||
            waitpid(pid, &status, 0) != pid || status)
            bench_fail("%s cannot be executed", path);
    }
    return bench_clock() - begin;
}

static void run_limit(void)
{
    bench_emit("ops/s", bench_rate(run_nothing, NULL, 4, UINT64_MAX,
                                   bench_number("seconds", 0.5)));
}

static void run_fork(void)
{
    run_method(COVEY_FORK);
}

static void run_forkserver(void)
{
    run_method(COVEY_FORKSERVER);
}

static void run_spares(void)
{
    BENCH_MUST(covey_set_forkserver_spares(SPARES));
    run_method(COVEY_FORKSERVER);
}

static void run_spawn(void)
{
    run_method(COVEY_SPAWN);
}

const struct bench_case bench_process_cases[] = {
    {"process_start", "covey:fork", run_fork},
    {"process_start", "covey:forkserver", run_forkserver},
    {"process_start", "covey:forkserver+spares", run_spares},
    {"process_start", "covey:spawn", run_spawn},
    {"process_start", "limit:spawned-self", run_limit},
};
const size_t bench_process_count =
    sizeof bench_process_cases / sizeof bench_process_cases[0];
