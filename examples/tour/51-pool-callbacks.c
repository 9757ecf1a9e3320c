/* SPDX-License-Identifier: MIT */
/* Callbacks and error callbacks, an initializer with an argument, an exit hook, a worker's
 * own state, and workers that are replaced after some tasks. */
#include <string.h>

#include "tour.h"

static int begin(struct covey_view arg)
{
    covey_worker_set_state((void *)(uintptr_t) * (const int *)arg.data);
    return 0;
}

static int end(struct covey_view arg)
{
    covey_event *ended = *(covey_event *const *)arg.data;
    return covey_event_set(ended) < 0;
}

static int multiply(struct covey_call *call)
{
    const int *x = covey_call_arg(call, NULL);
    int factor = (int)(uintptr_t)covey_worker_state();
    if (*x == 5)
        return covey_call_fail(call, "%d is not to my taste", *x);
    int y = *x * factor;
    return covey_call_return(call, &y, sizeof y);
}

struct sum {
    int ok, failed;
    char text[128];
};

/* Called one after the other, by one thread of the pool's. */
static void add(void *ctx, covey_result *result)
{
    struct sum *sum = ctx;
    struct covey_bytes got = {0};
    must(covey_result_get(result, &got, COVEY_NOWAIT));
    sum->ok += *(int *)got.data;
    covey_bytes_free(&got);
}

static void note(void *ctx, covey_result *result)
{
    struct sum *sum = ctx;
    struct covey_task_report report;
    must(covey_result_report(result, &report));
    sum->failed++;
    snprintf(sum->text, sizeof sum->text, "%s", report.text);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    int factor = 10;
    struct sum sum = {0};
    struct covey_pool_stats stats;
    covey_event *ended;
    covey_pool *pool;
    must(covey_event_create(&ended, NULL));
    must(covey_pool_create(
        &pool, 2,
        COVEY_POOL_OPTS(.initializer = begin, .initarg = COVEY_VIEW_OF(factor),
                        .exit_hook = end, .exitarg = COVEY_VIEW_OF(ended),
                        .max_tasks = 3, .holds = {ended})));
    for (int i = 0; i < 10; i++)
        must(covey_pool_apply_async(NULL, pool, multiply, COVEY_VIEW_OF(i),
                                    COVEY_TASK_OPTS(.callback = add,
                                                    .error_callback = note,
                                                    .callback_ctx = &sum)));
    must(covey_pool_close(pool));
    must(covey_pool_join(pool, COVEY_SEC(20)));
    must(covey_pool_stats(pool, &stats));
    covey_pool_free(pool);

    printf("the results add up to %d\n%d failed: %s\n", sum.ok, sum.failed, sum.text);
    printf("workers were replaced: %s\n", stats.restarts ? "yes" : "no");
    printf("an exit hook has run: %s\n", covey_event_is_set(ended) == 1 ? "yes" : "no");
    covey_event_free(ended);
}
