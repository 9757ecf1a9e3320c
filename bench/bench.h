/* SPDX-License-Identifier: MIT */
/*
 * bench.h: what all workloads share: the arguments, the clock, the number of operations
 * that lasts long enough, and the lines that come out.
 *
 * The contract of a benchmark program, which other suites can call:
 *   covey-bench list                        a line WORKLOAD<TAB>IMPL for each row
 *   covey-bench WORKLOAD impl=IMPL key=value...
 *                                           does it once and prints a line
 *                                           WORKLOAD<TAB>IMPL<TAB>UNIT<TAB>VALUE
 * Exit status 0: done, and all that came back was checked. 77: not possible here.
 * Anything else: it was wrong. Unknown keys are ignored.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

#include <covey.h>

/** A first argument: end at once. */
#define BENCH_NOTHING "nothing"

/** A row: one workload done in one way. */
struct bench_case {
    const char *workload;
    const char *impl;
    void (*run)(void);
};

/** The rows of process.c, pool.c, memory.c, sync.c, queue.c, shared.c, pipe.c,
 * connection.c, manager.c and limit.c. */
extern const struct bench_case bench_process_cases[];
extern const size_t bench_process_count;
extern const struct bench_case bench_pool_cases[];
extern const size_t bench_pool_count;
extern const struct bench_case bench_memory_cases[];
extern const size_t bench_memory_count;
extern const struct bench_case bench_sync_cases[];
extern const size_t bench_sync_count;
extern const struct bench_case bench_queue_cases[];
extern const size_t bench_queue_count;
extern const struct bench_case bench_shared_cases[];
extern const size_t bench_shared_count;
extern const struct bench_case bench_pipe_cases[];
extern const size_t bench_pipe_count;
extern const struct bench_case bench_connection_cases[];
extern const size_t bench_connection_count;
extern const struct bench_case bench_manager_cases[];
extern const size_t bench_manager_count;
extern const struct bench_case bench_limit_cases[];
extern const size_t bench_limit_count;

/** The row that runs, and the key=value arguments it was given. */
void bench_begin(const struct bench_case *now, int argc, char **argv);
const struct bench_case *bench_running(void);

/** The value of a key as a text or a number, or `fallback`. */
const char *bench_text(const char *key, const char *fallback);
double bench_number(const char *key, double fallback);

/** Seconds on the monotonic clock. */
double bench_clock(void);

/** Print one result line. */
void bench_emit(const char *unit, double value);

/** The result was wrong, or covey failed: say so and exit with 1. */
void bench_fail(const char *format, ...)
    __attribute__((noreturn, __format__(__printf__, 1, 2)));

/** `result` of a covey call: negative ends the program, -ENOSYS and -ENOTSUP with 77. */
void bench_must(int result, const char *call);
#define BENCH_MUST(call) bench_must((call), #call)

/** calloc that ends the program when there is no memory. */
void *bench_memory(size_t count, size_t size);

/** A child by fork that runs `fn`, and its end: with 0, or killed here. */
covey_process *bench_start(covey_target_fn *fn, struct covey_view arg);
void bench_join(covey_process *process);
void bench_kill(covey_process *process);

/** Do `n` operations; the answer is the seconds of the measured part. */
typedef double bench_body(void *ctx, uint64_t n);

/**
 * Operations per second of `body`, which is called with growing numbers of operations,
 * from `first` to `most`, until what was measured lasted for about `seconds`.
 */
double bench_rate(bench_body *body, void *ctx, uint64_t first, uint64_t most,
                  double seconds);

/** Run the default rows, each in a process of its own, and print a table. */
int bench_table(int argc, char **argv);

#endif
