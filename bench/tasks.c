/* SPDX-License-Identifier: MIT */
/* The work of the pool workloads; tasks.h names each. */
#include "tasks.h"

#include <stdint.h>
#include <string.h>

/* A task of this cost unit takes about a microsecond or two. */
enum { UNIT_STEPS = 2000 };

/* Knuth's generator; its upper bits are the random ones. */
static uint64_t step(uint64_t x)
{
    return x * 6364136223846793005U + 1442695040888963407U;
}

uint64_t task_next(uint64_t x)
{
    return x + 1;
}

uint64_t task_square(uint64_t x)
{
    return x * x;
}

static int is_prime(uint64_t odd)
{
    uint64_t divisor = 3;
    while (divisor * divisor <= odd && odd % divisor != 0)
        divisor += 2;
    return divisor * divisor > odd;
}

uint64_t task_primes(uint64_t x)
{
    uint64_t sum = x > 2 ? 2 : 0;
    for (uint64_t odd = 3; odd < x; odd += 2)
        if (is_prime(odd))
            sum += odd;
    return sum;
}

static double square_root(double x)
{
    double root = x, better = (x + 1) / 2;
    while (better < root) {
        root = better;
        better = (root + x / root) / 2;
    }
    return root;
}

/* 1000 to the power of bits / 2^31, without libm: the mappings of one more library would
 * be copied by each fork that is measured. */
static double thousand_to(uint64_t bits)
{
    static double roots[31]; /* of 1000: the second, the fourth ... */
    double power = 1.0;
    for (int i = 0; roots[30] == 0 && i < 31; i++)
        roots[i] = square_root(i ? roots[i - 1] : 1000.0);
    for (int i = 0; i < 31; i++)
        if (bits >> (30 - i) & 1)
            power *= roots[i];
    return power;
}

uint64_t task_skew(uint64_t x)
{
    uint64_t units = (uint64_t)thousand_to(step(x + 1) >> 33), state = x + 1;
    for (uint64_t left = units * UNIT_STEPS; left; left--)
        state = step(state);
    return state;
}

void task_swap(const unsigned char *in, unsigned char *out)
{
    size_t half = CHUNK_BYTES / 2;
    memcpy(out, in + half, half);
    memcpy(out + half, in, half);
}

static int number_call(struct covey_call *call, task_number_fn *fn)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    uint64_t y = fn(*x);
    return covey_call_return(call, &y, sizeof y);
}

int task_call_next(struct covey_call *call)
{
    return number_call(call, task_next);
}

int task_call_square(struct covey_call *call)
{
    return number_call(call, task_square);
}

int task_call_primes(struct covey_call *call)
{
    return number_call(call, task_primes);
}

int task_call_skew(struct covey_call *call)
{
    return number_call(call, task_skew);
}

int task_call_swap(struct covey_call *call)
{
    static unsigned char swapped[CHUNK_BYTES];
    task_swap(covey_call_arg(call, NULL), swapped);
    return covey_call_return(call, swapped, sizeof swapped);
}
