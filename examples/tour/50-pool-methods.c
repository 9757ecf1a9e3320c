/* SPDX-License-Identifier: MIT */
/* All ways of giving work to a pool, with timeouts, and a closed pool that refuses. */
#include <errno.h>
#include <time.h>

#include "tour.h"

enum { COUNT = 10 };

static int square(struct covey_call *call)
{
    const int *x = covey_call_arg(call, NULL);
    int y = *x * *x;
    return covey_call_return(call, &y, sizeof y);
}

static int add(struct covey_call *call)
{
    const int *a = covey_call_arg_at(call, 0, NULL),
              *b = covey_call_arg_at(call, 1, NULL);
    int sum = *a + *b;
    return covey_call_return(call, &sum, sizeof sum);
}

static int sleep_long(struct covey_call *call)
{
    nanosleep(&(struct timespec){60, 0}, NULL);
    return covey_call_return(call, "at last", 7);
}

struct count {
    int next, number;
};

static int next_number(void *ctx, struct covey_view *ret_item)
{
    struct count *count = ctx;
    if (count->next == COUNT)
        return 0;
    count->number = count->next++;
    *ret_item = COVEY_VIEW_OF(count->number);
    return 1;
}

static void print_all(covey_iterator *it)
{
    struct covey_bytes got = {0};
    int r, sum = 0;
    while ((r = covey_iterator_next(it, &got, COVEY_SEC(20))) >= 0)
        sum += *(int *)got.data;
    printf("the squares add up to %d; then comes %s\n", sum, covey_error_name(r));
    covey_bytes_free(&got);
    covey_iterator_free(it);
}

static void wait_for_results(covey_pool *pool)
{
    covey_result *results[COUNT], *late;
    struct covey_bytes got = {0};
    for (int i = 0; i < COUNT; i++)
        must(covey_pool_apply_async(&results[i], pool, square, COVEY_VIEW_OF(i), NULL));
    for (int i = 0; i < COUNT; i++) {
        must(covey_result_get(results[i], &got, COVEY_SEC(20)));
        printf("%d ", *(int *)got.data);
        covey_result_free(results[i]);
    }
    must(covey_pool_apply_async(&late, pool, sleep_long, COVEY_NO_VIEW, NULL));
    int r = covey_result_get(late, &got, COVEY_MSEC(50));
    printf("\na get that does not wait long: %s\n", r == -ETIMEDOUT ? "timeout" : "?");
    must(covey_result_cancel(late, 1));
    covey_result_free(late);
    covey_bytes_free(&got);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    int in[COUNT], out[COUNT];
    struct covey_view pairs[COUNT][2];
    struct covey_bytes sums[COUNT] = {{0}}, one = {0};
    struct count first = {0}, second = {0};
    covey_iterator *it;
    covey_pool *pool;
    for (int i = 0; i < COUNT; i++) {
        in[i] = i;
        pairs[i][0] = COVEY_VIEW_OF(in[i]);
        pairs[i][1] = COVEY_VIEW_OF(in[i]);
    }
    must(covey_pool_create(&pool, 4, NULL));

    must(covey_pool_apply(pool, square, COVEY_VIEW_OF(in[7]), &one, NULL));
    printf("apply: %d\nmap:", *(int *)one.data);
    must(covey_pool_map(pool, square, in, sizeof *in, out, sizeof *out, COUNT, NULL));
    for (int i = 0; i < COUNT; i++)
        printf(" %d", out[i]);
    must(covey_pool_starmap(pool, add, pairs[0], 2, sums, COUNT, NULL));
    printf("\nstarmap:");
    for (int i = 0; i < COUNT; i++) {
        printf(" %d", *(int *)sums[i].data);
        covey_bytes_free(&sums[i]);
    }
    printf("\nimap: ");
    must(covey_pool_imap(&it, pool, square, next_number, &first, NULL));
    print_all(it);
    printf("imap_unordered: ");
    must(covey_pool_imap_unordered(&it, pool, square, next_number, &second, NULL));
    print_all(it);
    printf("apply_async: ");
    wait_for_results(pool);

    must(covey_pool_close(pool));
    int r = covey_pool_apply(pool, square, COVEY_VIEW_OF(in[7]), &one, NULL);
    printf("a closed pool says %s\n", covey_error_name(r));
    must(covey_pool_join(pool, COVEY_SEC(20)));
    covey_pool_free(pool);
    covey_bytes_free(&one);
}
