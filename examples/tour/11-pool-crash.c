/* SPDX-License-Identifier: MIT */
/* A task takes its worker down; all others finish, and the outcomes say which one. */
#include <stdlib.h>

#include "tour.h"

enum { COUNT = 8 };

static int risky(struct covey_call *call)
{
    const int *x = covey_call_arg(call, NULL);
    if (*x == 3)
        abort();
    if (*x == 5)
        return covey_call_fail(call, "%d is not to my taste", *x);
    int y = *x * 10;
    return covey_call_return(call, &y, sizeof y);
}

static const char *outcome_name(unsigned char outcome)
{
    switch (outcome) {
    case COVEY_OUTCOME_OK:
        return "ok";
    case COVEY_OUTCOME_ERROR:
        return "failed";
    case COVEY_OUTCOME_CRASHED:
        return "crashed";
    default:
        return "other";
    }
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    int in[COUNT] = {0, 1, 2, 3, 4, 5, 6, 7}, out[COUNT];
    unsigned char outcomes[COUNT];
    struct covey_map_summary summary;
    covey_pool *pool;
    must(covey_pool_create(&pool, 2, NULL));
    int r = covey_pool_map(pool, risky, in, sizeof *in, out, sizeof *out, COUNT,
                           COVEY_MAP_OPTS(.outcomes = outcomes, .summary = &summary));
    covey_pool_free(pool);

    printf("the map returned %s\n", covey_error_name(r));
    for (int i = 0; i < COUNT; i++)
        printf("task %d: %s, result %d\n", i, outcome_name(outcomes[i]), out[i]);
    printf("%zu ok, %zu failed, the first of them %zu; workers that died: %zu\n",
           summary.ok, summary.failed, summary.first_failed, summary.crashes);
}
