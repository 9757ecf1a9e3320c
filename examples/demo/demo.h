/* SPDX-License-Identifier: MIT */
/* demo.h: the parts of the demo, each in the file of its name. */
#ifndef DEMO_H
#define DEMO_H

#include <stddef.h>
#include <stdint.h>

/** What the user asked for. */
struct demo_opts {
    size_t workers;
    uint64_t step;      /**< between the ends of the prime sums */
    const char *folder; /**< whose words are counted */
};

/** The parts; each prints what it does and answers with an exit status. */
int demo_primes(const struct demo_opts *opts);
int demo_words(const struct demo_opts *opts);
int demo_crash(const struct demo_opts *opts);

/** Seconds on the monotonic clock. */
double demo_clock(void);

/** Say which covey call failed, with its detail; answers with an exit status. */
int demo_failed(const char *call, int result);

/* ---- primes.c ------------------------------------------------------------------ */

/** The sum of the primes below `end`, by trial division. */
uint64_t demo_prime_sum(uint64_t end);

/** The numbers 0, step, ... below 100000 and how many; free them. NULL: no memory. */
uint64_t *demo_prime_ends(uint64_t step, size_t *ret_count);

/* ---- progress.c ---------------------------------------------------------------- */

/** A bar on one line of a terminal; elsewhere nothing. */
struct demo_progress {
    const char *label;
    int last_percent;
};

/** Start a bar. */
struct demo_progress demo_progress_start(const char *label);

/** Show how far it is; a covey_progress_fn, `ctx` is the bar. */
void demo_progress_show(void *ctx, size_t done, size_t total);

/** Take the bar off the terminal. */
void demo_progress_end(struct demo_progress *bar);

#endif
