/* SPDX-License-Identifier: MIT */
/*
 * tasks.h: the work of the pool workloads, as plain functions that this process can call
 * to know the right answer, and as tasks for the workers.
 */
#ifndef TASKS_H
#define TASKS_H

#include <covey.h>

enum { CHUNK_BYTES = 1 << 20, PRIMES_END = 100000 };

/** A number in, a number out. */
typedef uint64_t task_number_fn(uint64_t x);

task_number_fn task_next;   /**< x + 1 */
task_number_fn task_square; /**< x * x */
task_number_fn task_primes; /**< sum of the primes below x */
task_number_fn task_skew;   /**< 1 to 1000 units of work, log-uniform over x */

/** The same as tasks, for arguments and results of 8 bytes. */
covey_task_fn task_call_next, task_call_square, task_call_primes, task_call_skew;

/** CHUNK_BYTES from `in` to `out`, the second half first. */
void task_swap(const unsigned char *in, unsigned char *out);
covey_task_fn task_call_swap;

#endif
