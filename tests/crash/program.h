/* SPDX-License-Identifier: MIT */
/* program.h: what the parts of the program share that no case needs. */
#ifndef TESTS_CRASH_PROGRAM_H
#define TESTS_CRASH_PROGRAM_H

#include "crash.h"

struct program {
    const char *only, *mutant;
    struct crash_options options; /* 0: the usual */
    covey_nsec storm;             /* 0: no storm, but the points */
    bool at_length, tap, brief;
    bool quiet; /* stop at the first failure, and say nothing */
    char folder[400];
    struct crash_verdict *verdict;
    long cases, points, failed;
    int64_t slowest;
    char caught[800]; /* the first failure */
};

/* Returns: whether all went well; only `quiet` stops before the end. */
bool run_cases(const struct crash_options *o, struct program *p);
void run_all_ways(struct program *p);

/* Exit status: 0 if each mutant that was asked for is caught. */
int run_mutants(struct program *p);

#endif
