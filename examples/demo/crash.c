/* SPDX-License-Identifier: MIT */
/*
 * A worker dies by SIGKILL in the middle of a task, and the job still ends right: the
 * pool runs that task again in the worker that takes its place.
 *
 * The task that is to die takes a token off the disk first, so that its second run,
 * which finds none, goes through.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"

#include <covey.h>

struct risky_task {
    uint64_t end;
    char token[256]; /* path of the token; "": nothing happens */
};

static int risky_prime_sum(struct covey_call *call)
{
    const struct risky_task *task = covey_call_arg(call, NULL);
    uint64_t sum = demo_prime_sum(task->end);
    if (task->token[0] && unlink(task->token) == 0)
        kill(getpid(), SIGKILL);
    return covey_call_return(call, &sum, sizeof sum);
}

static int make_token(char *path, size_t size)
{
    const char *folder = getenv("TMPDIR");
    int length = snprintf(path, size, "%s/covey-demo-XXXXXX", folder ? folder : "/tmp");
    int fd = length < (int)size ? mkstemp(path) : -1;
    if (fd >= 0)
        close(fd);
    else
        printf("  no temporary file can be made\n");
    return fd < 0 ? -1 : 0;
}

static size_t wrong_sums(const struct risky_task *tasks, const uint64_t *sums,
                         size_t count)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++)
        wrong += sums[i] != demo_prime_sum(tasks[i].end);
    return wrong;
}

static int map_with_crash(const struct demo_opts *opts, const struct risky_task *tasks,
                          uint64_t *sums, size_t count)
{
    covey_pool *pool;
    struct covey_map_summary summary;
    struct demo_progress bar = demo_progress_start("one worker dies");
    int r = covey_pool_create(&pool, opts->workers, COVEY_POOL_OPTS(.retries = 1));
    if (r < 0)
        return demo_failed("covey_pool_create", r);
    r = covey_pool_map(
        pool, risky_prime_sum, tasks, sizeof *tasks, sums, sizeof *sums, count,
        COVEY_MAP_OPTS(.summary = &summary, .progress = demo_progress_show,
                       .progress_ctx = &bar));
    covey_pool_free(pool);
    demo_progress_end(&bar);
    if (r < 0)
        return demo_failed("covey_pool_map", r);
    size_t wrong = wrong_sums(tasks, sums, count);
    printf("  %s\n", summary.text);
    printf("  workers that died: %zu, tasks run again: %zu, tasks done: %zu of %zu, "
           "wrong results: %zu\n",
           summary.crashes, summary.retried, summary.ok, count, wrong);
    return summary.crashes == 1 && summary.retried == 1 && wrong == 0 ? EXIT_SUCCESS
                                                                      : EXIT_FAILURE;
}

int demo_crash(const struct demo_opts *opts)
{
    size_t count;
    uint64_t *ends = demo_prime_ends(opts->step, &count);
    struct risky_task *tasks = calloc(count, sizeof *tasks);
    uint64_t *sums = calloc(count, sizeof *sums);
    char token[sizeof tasks->token];
    int status = EXIT_FAILURE;
    if (ends && tasks && sums && make_token(token, sizeof token) == 0) {
        for (size_t i = 0; i < count; i++)
            tasks[i].end = ends[i];
        memcpy(tasks[count / 2].token, token, sizeof token);
        printf("The same sums, but a worker is killed with SIGKILL in task %zu\n",
               count / 2);
        status = map_with_crash(opts, tasks, sums, count);
        unlink(token);
    }
    free(sums);
    free(tasks);
    free(ends);
    return status;
}
