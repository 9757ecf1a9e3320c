/* SPDX-License-Identifier: MIT */
/*
 * The pool rows, over workers=2 that are up before the clock starts:
 *   pool_apply    a map of one empty task, awaited, one after another        us/call
 *   pool_map      x*x for n numbers; chunksize=0 leaves it to covey          tasks/s
 *   pool_imap_unordered  the same one by one, in any order; the sum          tasks/s
 *   pool_primes   for x = 0, step, ... below 100000 the sum of the primes below x:
 *                 time of this process alone over time of the pool           x
 *   pool_skew     n tasks of 1 to 1000 units: time over the ideal, which is a worker's
 *                 share of the time alone, or the largest task; 1 is best    x
 *   pool_array    mib chunks of 1 MiB, each back with its halves swapped     MB/s
 * Every result is compared with what this process works out itself.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "tasks.h"

#include <covey.h>

enum { WARM_UP_CALLS = 16 };

static unsigned workers(void)
{
    return (unsigned)bench_number("workers", 2);
}

struct map_run {
    covey_pool *pool;
    uint64_t *in, *out;
    size_t chunksize;
};

static void apply_once(covey_pool *pool, uint64_t x)
{
    uint64_t y = 0;
    BENCH_MUST(
        covey_pool_map(pool, task_call_next, &x, sizeof x, &y, sizeof y, 1, NULL));
    if (y != task_next(x))
        bench_fail("the task's result is wrong: %ju", (uintmax_t)y);
}

static covey_pool *warm_pool(void)
{
    covey_pool *pool;
    BENCH_MUST(covey_pool_create(&pool, workers(), NULL));
    for (uint64_t i = 0; i < WARM_UP_CALLS; i++)
        apply_once(pool, i);
    return pool;
}

static double apply_many(void *ctx, uint64_t n)
{
    covey_pool *pool = ctx;
    double begin = bench_clock();
    for (uint64_t i = 0; i < n; i++)
        apply_once(pool, i);
    return bench_clock() - begin;
}

static void run_apply(void)
{
    covey_pool *pool = warm_pool();
    double seconds = bench_number("seconds", 0.5);
    bench_emit("us/call", 1e6 / bench_rate(apply_many, pool, 64, UINT64_MAX, seconds));
    covey_pool_free(pool);
}

static double map_squares(void *ctx, uint64_t n)
{
    struct map_run *run = ctx;
    for (uint64_t i = 0; i < n; i++) {
        run->in[i] = i;
        run->out[i] = 0;
    }
    double begin = bench_clock();
    BENCH_MUST(covey_pool_map(run->pool, task_call_square, run->in, sizeof *run->in,
                              run->out, sizeof *run->out, n,
                              COVEY_MAP_OPTS(.chunksize = run->chunksize)));
    double time = bench_clock() - begin;
    for (uint64_t i = 0; i < n; i++)
        if (run->out[i] != task_square(i))
            bench_fail("the square of %ju is wrong", (uintmax_t)i);
    return time;
}

static void run_map(void)
{
    size_t n = (size_t)bench_number("n", 100000);
    struct map_run run = {
        .in = bench_memory(n, sizeof *run.in),
        .out = bench_memory(n, sizeof *run.out),
        .chunksize = (size_t)bench_number("chunksize", 0),
    };
    if (n == 0)
        bench_fail("n=0 is nothing to measure");
    run.pool = warm_pool();
    bench_emit("tasks/s",
               bench_rate(map_squares, &run, 1000, n, bench_number("seconds", 0.5)));
    covey_pool_free(run.pool);
    free(run.in);
    free(run.out);
}

struct numbers {
    uint64_t last, end;
};

/* 1 to `end`. */
static int next_number(void *ctx, struct covey_view *ret_item)
{
    struct numbers *numbers = ctx;
    if (numbers->last == numbers->end)
        return 0;
    numbers->last++;
    *ret_item = COVEY_VIEW_OF(numbers->last);
    return 1;
}

static double imap_squares(void *ctx, uint64_t n)
{
    covey_iterator *results;
    struct covey_bytes got = {0};
    struct numbers numbers = {0, n};
    uint64_t sum = 0, right = 0;
    double begin = bench_clock();
    BENCH_MUST(covey_pool_imap_unordered(&results, ctx, task_call_square, next_number,
                                         &numbers, NULL));
    for (uint64_t i = 0; i < n; i++) {
        BENCH_MUST(covey_iterator_next(results, &got, COVEY_FOREVER));
        sum += *(const uint64_t *)got.data;
    }
    double time = bench_clock() - begin;
    covey_iterator_free(results);
    covey_bytes_free(&got);
    for (uint64_t i = 1; i <= n; i++)
        right += task_square(i);
    if (sum != right)
        bench_fail("the sum of the squares is wrong");
    return time;
}

static void run_imap(void)
{
    covey_pool *pool = warm_pool();
    uint64_t n = (uint64_t)bench_number("n", 100000);
    bench_emit("tasks/s",
               bench_rate(imap_squares, pool, 1000, n, bench_number("seconds", 0.5)));
    covey_pool_free(pool);
}

/* What this process alone takes for all numbers and for the slowest one, in seconds. */
struct alone {
    double all, slowest;
};

static struct alone work_alone(task_number_fn *fn, const uint64_t *in, uint64_t *out,
                               size_t n)
{
    struct alone time = {0, 0};
    double begin = bench_clock(), last = begin;
    for (size_t i = 0; i < n; i++) {
        out[i] = fn(in[i]);
        double now = bench_clock();
        if (now - last > time.slowest)
            time.slowest = now - last;
        last = now;
    }
    time.all = last - begin;
    return time;
}

/* Seconds that the pool takes for what work_alone did; its results must be `right`. */
static double work_pooled(covey_pool *pool, covey_task_fn *fn, const uint64_t *in,
                          const uint64_t *right, size_t n)
{
    uint64_t *out = bench_memory(n, sizeof *out);
    double begin = bench_clock();
    BENCH_MUST(covey_pool_map(pool, fn, in, sizeof *in, out, sizeof *out, n, NULL));
    double time = bench_clock() - begin;
    for (size_t i = 0; i < n; i++)
        if (out[i] != right[i])
            bench_fail("the result of task %zu is wrong", i);
    free(out);
    return time;
}

static void run_primes(void)
{
    uint64_t step = (uint64_t)bench_number("step", 500);
    if (step == 0)
        bench_fail("step=0 never ends");
    size_t n = (size_t)((PRIMES_END + step - 1) / step);
    uint64_t *in = bench_memory(n, sizeof *in), *right = bench_memory(n, sizeof *right);
    for (size_t i = 0; i < n; i++)
        in[i] = i * step;
    covey_pool *pool = warm_pool();
    struct alone alone = work_alone(task_primes, in, right, n);
    bench_emit("x", alone.all / work_pooled(pool, task_call_primes, in, right, n));
    covey_pool_free(pool);
    free(in);
    free(right);
}

static void run_skew(void)
{
    size_t n = (size_t)bench_number("n", 400);
    uint64_t *in = bench_memory(n, sizeof *in), *right = bench_memory(n, sizeof *right);
    for (size_t i = 0; i < n; i++)
        in[i] = i;
    covey_pool *pool = warm_pool();
    struct alone alone = work_alone(task_skew, in, right, n);
    double ideal = alone.all / workers();
    if (ideal < alone.slowest)
        ideal = alone.slowest;
    bench_emit("x", work_pooled(pool, task_call_skew, in, right, n) / ideal);
    covey_pool_free(pool);
    free(in);
    free(right);
}

static void fill(unsigned char *bytes, size_t size)
{
    uint64_t x = 0x2545F4914F6CDD1D;
    for (size_t i = 0; i < size; i += sizeof x) {
        x ^= x << 7;
        x ^= x >> 9;
        memcpy(bytes + i, &x, sizeof x);
    }
}

static void run_array(void)
{
    size_t chunks = (size_t)bench_number("mib", 256), size = chunks * CHUNK_BYTES;
    covey_pool *pool =
        warm_pool(); /* before the arrays, or forks would share their pages */
    unsigned char *in = bench_memory(1, size), *out = bench_memory(1, size);
    unsigned char *right = bench_memory(1, CHUNK_BYTES);
    fill(in, size);
    memset(out, 1, size); /* so that its pages are there */
    double begin = bench_clock();
    BENCH_MUST(covey_pool_map(pool, task_call_swap, in, CHUNK_BYTES, out, CHUNK_BYTES,
                              chunks, NULL));
    double time = bench_clock() - begin;
    for (size_t i = 0; i < chunks; i++) {
        task_swap(in + i * CHUNK_BYTES, right);
        if (memcmp(out + i * CHUNK_BYTES, right, CHUNK_BYTES) != 0)
            bench_fail("chunk %zu is wrong", i);
    }
    bench_emit("MB/s", (double)size / time / 1e6);
    covey_pool_free(pool);
    free(in);
    free(out);
    free(right);
}

const struct bench_case bench_pool_cases[] = {
    {"pool_apply", "covey:pool", run_apply},
    {"pool_map", "covey:pool", run_map},
    {"pool_imap_unordered", "covey:pool", run_imap},
    {"pool_primes", "covey:pool", run_primes},
    {"pool_skew", "covey:pool", run_skew},
    {"pool_array", "covey:pool", run_array},
};
const size_t bench_pool_count = sizeof bench_pool_cases / sizeof bench_pool_cases[0];
