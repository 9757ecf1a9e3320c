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

static void list(const struct bench_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        printf("%s\t%s\n", cases[i].workload, cases[i].impl);
}

static const struct bench_case *find(const struct bench_case *cases, size_t count,
                                     const char *workload, const char *impl)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(cases[i].workload, workload) &&
            (!impl || !strcmp(cases[i].impl, impl)))
            return &cases[i];
    return NULL;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);
    if (argc < 2 || argv[1][0] == '-')
        return bench_table(argc, argv);
    if (!strcmp(argv[1], "list")) {
        list(bench_process_cases, bench_process_count);
        list(bench_pool_cases, bench_pool_count);
        return EXIT_SUCCESS;
    }
    bench_begin(NULL, argc - 2, argv + 2);
    const char *impl = bench_text("impl", NULL);
    const struct bench_case *row =
        find(bench_process_cases, bench_process_count, argv[1], impl);
    if (!row)
        row = find(bench_pool_cases, bench_pool_count, argv[1], impl);
    if (!row) {
        fprintf(stderr, "covey-bench: no %s of %s\n", argv[1],
                impl ? impl : "any kind");
        return 77;
    }
    bench_begin(row, argc - 2, argv + 2);
    row->run();
    return EXIT_SUCCESS;
}
