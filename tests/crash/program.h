/* SPDX-License-Identifier: MIT */
/* program.h: what the parts of the program share that no case needs. */
#ifndef TESTS_CRASH_PROGRAM_H
#define TESTS_CRASH_PROGRAM_H

#include "crash.h"

struct program {
    const char *only, *mutant;
    const char *scenario;         /* command of a stranger's program */
    long most;                    /* of its points; 0: the usual number */
    struct crash_options options; /* 0: the usual */
    covey_nsec storm;             /* 0: no storm, but the points */
    bool at_length, tap, brief;
    bool quiet; /* stop at the first failure, and say nothing */
    char folder[400];
    struct crash_verdict *verdicts; /* of the cases of one way */
    long cases, points, failed;
    int64_t slowest;
    char caught[800]; /* the first failure */
};

/* Returns: whether all went well; only `quiet` stops before the end. */
bool run_cases(const struct crash_options *o, struct program *p);
void run_all_ways(struct program *p);
/* The tests that do their own killing; `quiet` stops before the next one. */
void run_programs(struct program *p);
/* Exit status: 1 at the first failure, 0 if there is none. */
int run_to_first(struct program *p);

/* Exit status: 0 if it survives all; 2 if it does not play the game. */
int run_scenario(struct program *p);

/* Exit status: 0 if each mutant that was asked for is caught. */
int run_mutants(struct program *p);

#endif
