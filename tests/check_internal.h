/* SPDX-License-Identifier: MIT */
/* Shared by the harness's own files; tests include check.h only. */
#ifndef CHECK_INTERNAL_H
#define CHECK_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "check.h"

/* What processes of a test tell the runner. It lies in a memfd of the runner that forks
 * inherit as a mapping and re-executed children open through /proc, so that it works
 * without descriptors, after setuid in forks, and leaves no file behind. */
struct check_report {
    _Atomic unsigned used; /* bytes of text; text was added: the test has failed */
    char skip_reason[256]; /* written by the test process before it exits with 77 */
    char text[16384];
};
extern struct check_report *check_report;

void check_report_create(void);
/* Fails the test with one more line; async-signal-safe apart from its formatting. */
void check_note(const char *format, ...) COVEY_PRINTF(1, 2);

extern struct check_test *check_tests;
const char *check_method_name(enum covey_start_method method);
void check_set_method(enum covey_start_method method);

int check_run(int argc, char **argv);
void check_watch_sanitizers(void);

/* ---- what a test leaves behind (check_left.c) ------------------------------- */

struct check_names {
    char (*name)[128];
    size_t count;
};
struct check_names check_descriptors(void); /* of this process, as "5 -> socket:[7]" */
struct check_names check_shm_names(void);   /* in /dev/shm */
/* One note per name that is new, and if `both` one per name that is gone. Frees both. */
void check_compare_names(struct check_names *before, struct check_names *after,
                         const char *what, bool both);
/* Gives this runner a /dev/shm of its own where that is allowed. */
void check_private_shm(void);
/* Notes every descendant of this process, and says how many there are. */
size_t check_list_descendants(const char *what, bool backtraces);
size_t check_count_descendants(void);
void check_kill_descendants(void);

#define CHECK_SKIPPED 77

#endif
