/* SPDX-License-Identifier: MIT */
/*
 * The classic table: for n = 0, 500, ... 99500 the sum of the primes below n, worked out
 * by this process alone, by threads, and by processes under each start method. All must
 * agree. The times include starting and ending the workers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"

#include <covey.h>

enum { LAST_END = 100000 };

struct table {
    const uint64_t *ends;
    size_t count;
    size_t workers;
    uint64_t *right;      /* what this process worked out alone */
    double alone_seconds; /* and in what time */
};

static int is_prime(uint64_t number)
{
    for (uint64_t divisor = 2; divisor * divisor <= number; divisor++)
        if (number % divisor == 0)
            return 0;
    return 1;
}

uint64_t demo_prime_sum(uint64_t end)
{
    uint64_t sum = 0;
    for (uint64_t number = 2; number < end; number++)
        if (is_prime(number))
            sum += number;
    return sum;
}

uint64_t *demo_prime_ends(uint64_t step, size_t *ret_count)
{
    size_t count = (size_t)((LAST_END + step - 1) / step);
    uint64_t *ends = calloc(count, sizeof *ends);
    if (!ends)
        return NULL;
    for (size_t i = 0; i < count; i++)
        ends[i] = i * step;
    *ret_count = count;
    return ends;
}

static int prime_sum_task(struct covey_call *call)
{
    const uint64_t *end = covey_call_arg(call, NULL);
    uint64_t sum = demo_prime_sum(*end);
    return covey_call_return(call, &sum, sizeof sum);
}

static uint64_t total(const uint64_t *sums, size_t count)
{
    uint64_t result = 0;
    for (size_t i = 0; i < count; i++)
        result += sums[i];
    return result;
}

static void print_row(const struct table *table, const char *label, double seconds,
                      const uint64_t *sums)
{
    printf("  %-24s checksum %" PRIu64 " %9.3f s %6.2fx\n", label,
           total(sums, table->count), seconds, table->alone_seconds / seconds);
}

static void run_alone(struct table *table)
{
    static const char label[] = "single process";
    struct demo_progress bar = demo_progress_start(label);
    double begin = demo_clock();
    for (size_t i = 0; i < table->count; i++) {
        table->right[i] = demo_prime_sum(table->ends[i]);
        demo_progress_show(&bar, i + 1, table->count);
    }
    table->alone_seconds = demo_clock() - begin;
    demo_progress_end(&bar);
    print_row(table, label, table->alone_seconds, table->right);
}

static int map_sums(const struct table *table, enum covey_start_method method,
                    uint64_t *sums, struct demo_progress *bar)
{
    covey_pool *pool;
    int r = covey_pool_create(&pool, table->workers, COVEY_POOL_OPTS(.method = method));
    if (r < 0)
        return demo_failed("covey_pool_create", r);
    r = covey_pool_map(
        pool, prime_sum_task, table->ends, sizeof *table->ends, sums, sizeof *sums,
        table->count,
        COVEY_MAP_OPTS(.progress = demo_progress_show, .progress_ctx = bar));
    if (r < 0)
        demo_failed("covey_pool_map", r);
    covey_pool_free(pool);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run_pool(const struct table *table, const char *label,
                    enum covey_start_method method)
{
    uint64_t *sums = calloc(table->count, sizeof *sums);
    if (!sums)
        return EXIT_FAILURE;
    struct demo_progress bar = demo_progress_start(label);
    double begin = demo_clock();
    int status = map_sums(table, method, sums, &bar);
    double seconds = demo_clock() - begin;
    demo_progress_end(&bar);
    if (status == EXIT_SUCCESS) {
        print_row(table, label, seconds, sums);
        if (memcmp(sums, table->right, table->count * sizeof *sums) != 0) {
            printf("  %s: the sums differ from those of the single process\n", label);
            status = EXIT_FAILURE;
        }
    }
    free(sums);
    return status;
}

int demo_primes(const struct demo_opts *opts)
{
    struct table table = {.workers = opts->workers};
    uint64_t *ends = demo_prime_ends(opts->step, &table.count);
    if (!ends || !table.count) {
        free(ends);
        return EXIT_FAILURE;
    }
    table.right = calloc(table.count, sizeof *table.right);
    if (!table.right) {
        free(ends);
        free(table.right);
        return EXIT_FAILURE;
    }
    table.ends = ends;
    printf("Sums of the primes below 0, %" PRIu64 ", ... %" PRIu64
           ": %zu tasks, %zu workers\n",
           opts->step, ends[table.count - 1], table.count, opts->workers);
    run_alone(&table);
    int status = run_pool(&table, "threads", COVEY_THREAD) |
                 run_pool(&table, "processes (fork)", COVEY_FORK) |
                 run_pool(&table, "processes (forkserver)", COVEY_FORKSERVER) |
                 run_pool(&table, "processes (spawn)", COVEY_SPAWN);
    free(table.right);
    free(ends);
    return status;
}
