/* SPDX-License-Identifier: MIT */
/*
 * The rows of named memory, in one process:
 *   shm_create  create memory of `size` bytes under a name, write and read it, and free
 *               it, which removes the name; covey:array: memory of the family, which has
 *               no name                                                     ops/s
 *   shm_open    open memory that is there, read what its maker wrote, and free it ops/s
 *   shm_list    set an int of a shareable list and get it                   ops/s
 */
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "bench.h"

#include <covey.h>

static void make_name(char name[64], uint64_t number)
{
    snprintf(name, 64, "bench-%d-%ju", (int)getpid(), (uintmax_t)number);
}

static volatile char *bytes_of(covey_memory *memory)
{
    char *bytes = covey_memory_data(memory, NULL);
    if (!bytes)
        bench_fail("%s", covey_error_detail());
    return bytes;
}

static void use_new(volatile char *bytes)
{
    if (bytes[0] != 0)
        bench_fail("new memory is not zero");
    bytes[0] = 1;
    if (bytes[0] != 1)
        bench_fail("the memory does not keep what is written");
}

struct creation {
    size_t size;
    enum covey_switch sparse;
};

static double create_many(void *ctx, uint64_t n)
{
    const struct creation *creation = ctx;
    const struct covey_memory_opts *opts =
        creation->sparse == COVEY_ON ? COVEY_MEMORY_OPTS(.sparse = COVEY_ON) : NULL;
    size_t size = creation->size;
    double begin = bench_clock();
    for (uint64_t i = 0; i < n; i++) {
        char name[64];
        covey_memory *memory;
        make_name(name, i);
        BENCH_MUST(covey_memory_create(&memory, name, size, opts));
        use_new(bytes_of(memory));
        BENCH_MUST(covey_memory_close(memory));
        covey_memory_free(memory);
    }
    return bench_clock() - begin;
}

static void measure_create(enum covey_switch sparse)
{
    struct creation creation = {(size_t)bench_number("size", 4096), sparse};
    bench_emit("ops/s", bench_rate(create_many, &creation, 64, UINT64_MAX,
                                   bench_number("seconds", 0.5)));
}

static void run_create(void)
{
    measure_create(COVEY_UNSET);
}

static void run_create_sparse(void)
{
    measure_create(COVEY_ON);
}

static double create_arrays(void *ctx, uint64_t n)
{
    const size_t *size = ctx;
    double begin = bench_clock();
    for (uint64_t i = 0; i < n; i++) {
        covey_array *array;
        BENCH_MUST(covey_array_create(&array, 'b', *size, NULL, NULL));
        use_new(covey_array_data(array));
        covey_array_free(array);
    }
    return bench_clock() - begin;
}

static void run_create_array(void)
{
    size_t size = (size_t)bench_number("size", 4096);
    bench_emit("ops/s", bench_rate(create_arrays, &size, 64, UINT64_MAX,
                                   bench_number("seconds", 0.5)));
}

static double open_many(void *ctx, uint64_t n)
{
    const char *name = ctx;
    double begin = bench_clock();
    for (uint64_t i = 0; i < n; i++) {
        covey_memory *memory;
        BENCH_MUST(covey_memory_open(&memory, name, NULL));
        if (bytes_of(memory)[0] != 7)
            bench_fail("it is not the memory that was made");
        BENCH_MUST(covey_memory_close(memory));
        covey_memory_free(memory);
    }
    return bench_clock() - begin;
}

static void run_open(void)
{
    char name[64];
    covey_memory *memory;
    make_name(name, 0);
    BENCH_MUST(
        covey_memory_create(&memory, name, (size_t)bench_number("size", 4096), NULL));
    bytes_of(memory)[0] = 7;
    bench_emit("ops/s", bench_rate(open_many, name, 64, UINT64_MAX,
                                   bench_number("seconds", 0.5)));
    covey_memory_free(memory);
}

static double set_and_get(void *ctx, uint64_t n)
{
    covey_shareable_list *list = ctx;
    double begin = bench_clock();
    for (uint64_t i = 0; i < n; i++) {
        int64_t value = 0;
        BENCH_MUST(covey_shareable_list_set(list, 1, covey_item_int((int64_t)i)));
        BENCH_MUST(covey_shareable_list_get_int(list, 1, &value));
        if (value != (int64_t)i)
            bench_fail("%jd came back, not %ju", (intmax_t)value, (uintmax_t)i);
    }
    return bench_clock() - begin;
}

static void run_list(void)
{
    const struct covey_shareable_item items[] = {covey_item_str("text"),
                                                 covey_item_int(0)};
    covey_shareable_list *list;
    BENCH_MUST(covey_shareable_list_create(&list, NULL, items, 2, NULL));
    bench_emit("ops/s", bench_rate(set_and_get, list, 1024, UINT64_MAX,
                                   bench_number("seconds", 0.5)));
    covey_shareable_list_free(list);
}

const struct bench_case bench_memory_cases[] = {
    {"shm_create", "covey:memory", run_create},
    {"shm_create", "covey:memory+sparse", run_create_sparse},
    {"shm_create", "covey:array", run_create_array},
    {"shm_open", "covey:memory", run_open},
    {"shm_list", "covey:list", run_list},
};
const size_t bench_memory_count =
    sizeof bench_memory_cases / sizeof bench_memory_cases[0];
