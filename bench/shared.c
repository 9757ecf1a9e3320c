/* SPDX-License-Identifier: MIT */
/*
 * shm_value: two processes add 1 to one shared value under its lock for some time; the sum
 * is checked.                                                              ops/s
 */
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

#include "bench.h"

#include <covey.h>

enum { PROCESSES = 2, AT_A_TIME = 64 };

struct adding {
    pthread_barrier_t barrier;
    covey_shared_value *value;
    double seconds, begin[PROCESSES], end[PROCESSES];
    uint64_t count[PROCESSES];
};

struct part {
    struct adding *adding;
    int index;
};

static int add(struct covey_view arg)
{
    const struct part *part = arg.data;
    struct adding *adding = part->adding;
    volatile int64_t *number = covey_shared_value_data(adding->value);
    uint64_t n = 0;
    pthread_barrier_wait(&adding->barrier);
    double begin = bench_clock(), end = begin + adding->seconds;
    for (; n % AT_A_TIME || bench_clock() < end; n++) {
        BENCH_MUST(covey_shared_value_acquire(adding->value, COVEY_FOREVER));
        *number = *number + 1;
        BENCH_MUST(covey_shared_value_release(adding->value));
    }
    adding->begin[part->index] = begin;
    adding->end[part->index] = bench_clock();
    adding->count[part->index] = n;
    return 0;
}

static void run_value(void)
{
    struct adding *adding = mmap(NULL, sizeof *adding, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    covey_process *processes[PROCESSES];
    pthread_barrierattr_t shared;
    int64_t sum = 0;
    if (adding == MAP_FAILED)
        bench_fail("no memory to share");
    adding->seconds = bench_number("seconds", 0.5);
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&adding->barrier, &shared, PROCESSES);
    BENCH_MUST(covey_shared_value_create(&adding->value, 'q', NULL, NULL));
    for (int i = 0; i < PROCESSES; i++) {
        struct part part = {adding, i};
        processes[i] = bench_start(add, COVEY_VIEW_OF(part));
    }
    for (int i = 0; i < PROCESSES; i++)
        bench_join(processes[i]);
    BENCH_MUST(covey_shared_value_get(adding->value, &sum, sizeof sum));
    if ((uint64_t)sum != adding->count[0] + adding->count[1])
        bench_fail("the sum is %jd", (intmax_t)sum);
    double begin =
        adding->begin[0] < adding->begin[1] ? adding->begin[0] : adding->begin[1];
    double end = adding->end[0] > adding->end[1] ? adding->end[0] : adding->end[1];
    bench_emit("ops/s", (double)sum / (end - begin));
    covey_shared_value_free(adding->value);
    munmap(adding, sizeof *adding);
}

const struct bench_case bench_shared_cases[] = {
    {"shm_value", "covey:value", run_value},
};
const size_t bench_shared_count =
    sizeof bench_shared_cases / sizeof bench_shared_cases[0];
