/* SPDX-License-Identifier: MIT */
/*
 * The demo of covey: primes, words of a folder, and a worker that is killed. What the
 * processes find is compared with what one process finds; exit status 1: it differs.
 */
#include "demo.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <covey.h>

double demo_clock(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int demo_failed(const char *call, int result)
{
    printf("  %s: %s: %s\n", call, covey_strerror(result), covey_error_detail());
    return EXIT_FAILURE;
}

static int usage(FILE *out)
{
    fputs("usage: demo [OPTION...] [FOLDER]\n"
          "Sums of primes and words of the files below FOLDER (default /usr/include), "
          "by\n"
          "one process and by several, and what happens when one of them is killed.\n"
          "  -w, --workers=N  so many at a time (default: one per processor)\n"
          "  -s, --step=N     prime sums below 0, N, 2 N, ... (default 500)\n"
          "  -o, --only=PART  primes, words or crash\n",
          out);
    return out == stdout ? EXIT_SUCCESS : 2;
}

/* A whole number from 1 to `most`, or 0. */
static size_t number(const char *text, size_t most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    return *text == '-' || *end || value > most ? 0 : value;
}

static int run(const struct demo_opts *opts, const char *only)
{
    static const struct {
        const char *name;
        int (*run)(const struct demo_opts *opts);
    } parts[] = {{"primes", demo_primes}, {"words", demo_words}, {"crash", demo_crash}};
    int status = EXIT_SUCCESS, found = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (only && strcmp(only, parts[i].name) != 0)
            continue;
        if (found++)
            putchar('\n');
        status |= parts[i].run(opts);
    }
    return found ? status : usage(stderr);
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"workers", required_argument, NULL, 'w'},
                                          {"step", required_argument, NULL, 's'},
                                          {"only", required_argument, NULL, 'o'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    covey_init(argc, argv);
    struct demo_opts opts = {.step = 500, .folder = "/usr/include"};
    const char *only = NULL;
    int letter, r = covey_cpu_count(&opts.workers);
    if (r < 0)
        return demo_failed("covey_cpu_count", r);
    while ((letter = getopt_long(argc, argv, "w:s:o:h", known, NULL)) != -1) {
        if (letter == 'w')
            opts.workers = number(optarg, 1024);
        else if (letter == 's')
            opts.step = number(optarg, 100000);
        else if (letter == 'o')
            only = optarg;
        else
            return usage(letter == 'h' ? stdout : stderr);
    }
    if (optind < argc)
        opts.folder = argv[optind++];
    if (optind < argc || !opts.workers || !opts.step)
        return usage(stderr);
    return run(&opts, only);
}
