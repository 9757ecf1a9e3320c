/* SPDX-License-Identifier: MIT */
/* Arguments, clock, calibration and output; bench.h describes each. */
#include "bench.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EXIT_IMPOSSIBLE = 77 };

static const struct bench_case *running;
static int key_count;
static char **keys;

void bench_begin(const struct bench_case *now, int argc, char **argv)
{
    running = now;
    key_count = argc;
    keys = argv;
}

const struct bench_case *bench_running(void)
{
    return running;
}

const char *bench_text(const char *key, const char *fallback)
{
    size_t length = strlen(key);
    for (int i = 0; i < key_count; i++)
        if (strncmp(keys[i], key, length) == 0 && keys[i][length] == '=')
            return keys[i] + length + 1;
    return fallback;
}

double bench_number(const char *key, double fallback)
{
    const char *text = bench_text(key, NULL);
    if (!text)
        return fallback;
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || value < 0)
        bench_fail("%s=%s is no number", key, text);
    return value;
}

double bench_clock(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void bench_emit(const char *unit, double value)
{
    printf("%s\t%s\t%s\t%.6g\n", running->workload, running->impl, unit, value);
    fflush(stdout);
}

/* Exits without exit hooks: a pool may still be at work. */
void bench_fail(const char *format, ...)
{
    va_list rest;
    fprintf(stderr, "covey-bench: %s %s: ", running ? running->workload : "",
            running ? running->impl : "");
    va_start(rest, format);
    vfprintf(stderr, format, rest);
    va_end(rest);
    fputc('\n', stderr);
    _Exit(EXIT_FAILURE);
}

void bench_must(int result, const char *call)
{
    if (result == -ENOSYS || result == -ENOTSUP) {
        fprintf(stderr, "covey-bench: not possible here: %s\n", covey_error_detail());
        _Exit(EXIT_IMPOSSIBLE);
    }
    if (result < 0)
        bench_fail("%s: %s: %s", call, covey_error_name(result), covey_error_detail());
}

void *bench_memory(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        bench_fail("no memory for %zu times %zu bytes", count, size);
    return memory;
}

covey_process *bench_start(covey_target_fn *fn, struct covey_view arg)
{
    covey_process *process;
    BENCH_MUST(covey_process_create(&process, fn, arg,
                                    COVEY_PROCESS_OPTS(.method = COVEY_FORK)));
    BENCH_MUST(covey_process_start(process));
    return process;
}

void bench_join(covey_process *process)
{
    int exitcode;
    BENCH_MUST(covey_process_join(process, COVEY_FOREVER));
    BENCH_MUST(covey_process_exitcode(process, &exitcode));
    covey_process_free(process);
    if (exitcode)
        bench_fail("a process ended with %d", exitcode);
}

void bench_kill(covey_process *process)
{
    BENCH_MUST(covey_process_kill(process));
    BENCH_MUST(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);
}

/* A run counts when it is long enough or as long as it may be. */
double bench_rate(bench_body *body, void *ctx, uint64_t first, uint64_t most,
                  double seconds)
{
    double enough = 0.6 * seconds, spent = 0, done = 0;
    uint64_t n = first < most ? first : most;
    for (;;) {
        double time = body(ctx, n);
        if (n == most || time >= enough) {
            spent += time;
            done += (double)n;
            if (spent >= enough && spent > 0)
                return done / spent;
        }
        if (n == most)
            continue;
        double growth = time > 0 ? seconds / time : 16;
        growth = growth > 16 ? 16 : growth < 2 ? 2 : growth;
        n = (double)n * growth < (double)most ? (uint64_t)((double)n * growth) : most;
    }
}
