/* SPDX-License-Identifier: MIT */
/* A pool of five workers squares seven numbers; the results keep the order. */
#include "tour.h"

static int square(struct covey_call *call)
{
    const int *x = covey_call_arg(call, NULL);
    int y = *x * *x;
    return covey_call_return(call, &y, sizeof y);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    int in[] = {1, 2, 3, 4, 5, 6, 7}, out[7];
    covey_pool *pool;
    must(covey_pool_create(&pool, 5, NULL));
    must(covey_pool_map(pool, square, in, sizeof *in, out, sizeof *out, 7, NULL));
    covey_pool_free(pool);

    for (int i = 0; i < 7; i++)
        printf("%d squared is %d\n", in[i], out[i]);
}
