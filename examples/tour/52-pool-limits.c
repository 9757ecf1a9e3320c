/* SPDX-License-Identifier: MIT */
/* Limits of time and memory per task: what is over is ended, all others finish. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tour.h"

enum { COUNT = 6, MIB = 1 << 20 };

/* Takes memory and never gives it back: each piece points to the one before. */
static void hoard(int pieces)
{
    static void *volatile last;
    for (int i = 0; i < pieces; i++) {
        void *memory = malloc(MIB);
        if (!memory)
            return;
        memset(memory, 1, MIB);
        *(void **)memory = last;
        last = memory;
    }
}

static int work(struct covey_call *call)
{
    const int *x = covey_call_arg(call, NULL);
    if (*x == 2)
        for (;;)
            pause();
    if (*x == 4)
        hoard(8192);
    return covey_call_return(call, x, sizeof *x);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"none",      "ok",      "error",  "timeout",
                                        "cancelled", "crashed", "memory", "lost"};
    covey_init(argc, argv);

    int in[COUNT] = {0, 1, 2, 3, 4, 5}, out[COUNT];
    unsigned char outcomes[COUNT];
    covey_pool *pool;
    must(covey_pool_create(&pool, 2, NULL));
    int r = covey_pool_map(pool, work, in, sizeof *in, out, sizeof *out, COUNT,
                           COVEY_MAP_OPTS(.time_limit = COVEY_SEC(3),
                                          .memory_limit = UINT64_C(64) * MIB,
                                          .outcomes = outcomes));
    printf("the map says %s: %s\n", covey_error_name(r), covey_error_detail());
    for (int i = 0; i < COUNT; i++)
        printf("task %d: %s\n", i, names[outcomes[i]]);
    covey_pool_free(pool);
}
