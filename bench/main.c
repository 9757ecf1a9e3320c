/* SPDX-License-Identifier: MIT */
/*
 * covey-bench: covey's speed, row by row. `covey-bench list` and `covey-bench WORKLOAD
 * impl=IMPL key=value...` keep to the contract in bench.h; without a workload it runs
 * all rows and prints a table (table.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#include <covey.h>

static const struct {
    const struct bench_case *cases;
    const size_t *count;
} groups[] = {
    {bench_process_cases, &bench_process_count},
    {bench_pool_cases, &bench_pool_count},
    {bench_memory_cases, &bench_memory_count},
    {bench_sync_cases, &bench_sync_count},
    {bench_queue_cases, &bench_queue_count},
    {bench_shared_cases, &bench_shared_count},
    {bench_pipe_cases, &bench_pipe_count},
    {bench_connection_cases, &bench_connection_count},
    {bench_manager_cases, &bench_manager_count},
    {bench_limit_cases, &bench_limit_count},
};

/* The case number `index` of all groups together; NULL behind the last. */
static const struct bench_case *nth_case(size_t index)
{
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (index < *groups[i].count)
            return &groups[i].cases[index];
        index -= *groups[i].count;
    }
    return NULL;
}

static void list(void)
{
    const struct bench_case *row;
    for (size_t i = 0; (row = nth_case(i)); i++)
        printf("%s\t%s\n", row->workload, row->impl);
}

static const struct bench_case *find(const char *workload, const char *impl)
{
    const struct bench_case *row;
    for (size_t i = 0; (row = nth_case(i)); i++)
        if (!strcmp(row->workload, workload) && (!impl || !strcmp(row->impl, impl)))
            return row;
    return NULL;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);
    if (argc < 2 || argv[1][0] == '-')
        return bench_table(argc, argv);
    if (!strcmp(argv[1], BENCH_NOTHING))
        return EXIT_SUCCESS;
    if (!strcmp(argv[1], "list")) {
        list();
        return EXIT_SUCCESS;
    }
    bench_begin(NULL, argc - 2, argv + 2);
    const char *impl = bench_text("impl", NULL);
    const struct bench_case *row = find(argv[1], impl);
    if (!row) {
        fprintf(stderr, "covey-bench: no %s of %s\n", argv[1],
                impl ? impl : "any kind");
        return 77;
    }
    bench_begin(row, argc - 2, argv + 2);
    row->run();
    return EXIT_SUCCESS;
}
