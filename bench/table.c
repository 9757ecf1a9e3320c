/* SPDX-License-Identifier: MIT */
/*
 * The table of all rows: each runs in a process of its own, a few times; the median
 * counts. When BENCH_PEERS names a folder with a suite of peers, its `run` is called
 * instead, with this program as one more peer.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { MOST_RUNS = 99, EXIT_IMPOSSIBLE = 77 };

struct row {
    const char *name;
    const char *workload;
    const char *impl;
    const char *keys;
};

static const struct row rows[] = {
    {"process_start", "process_start", "covey:fork", ""},
    {"process_start", "process_start", "covey:forkserver", ""},
    {"process_start", "process_start", "covey:forkserver+spares", ""},
    {"process_start", "process_start", "covey:spawn", ""},
    {"process_start.rss1GiB", "process_start", "covey:fork", "rss_mib=1024"},
    {"process_start.rss1GiB", "process_start", "covey:forkserver", "rss_mib=1024"},
    {"process_start.rss1GiB", "process_start", "covey:forkserver+spares",
     "rss_mib=1024"},
    {"process_start.rss1GiB", "process_start", "covey:spawn", "rss_mib=1024"},
    {"pool_apply", "pool_apply", "covey:pool", ""},
    {"pool_map.chunk1", "pool_map", "covey:pool", "chunksize=1"},
    {"pool_map.default", "pool_map", "covey:pool", "chunksize=0"},
    {"pool_primes", "pool_primes", "covey:pool", "step=4000"},
    {"pool_skew", "pool_skew", "covey:pool", "n=400"},
    {"pool_array", "pool_array", "covey:pool", "mib=256"},
    {"lock_uncontended", "lock_uncontended", "covey:lock", ""},
    {"lock_uncontended", "lock_uncontended", "covey:rlock", ""},
    {"lock_uncontended", "lock_uncontended", "covey:semaphore", ""},
    {"lock_contended", "lock_contended", "covey:lock", ""},
    {"lock_contended", "lock_contended", "covey:rlock", ""},
    {"lock_contended", "lock_contended", "covey:semaphore", ""},
    {"semaphore_pingpong", "semaphore_pingpong", "covey:semaphore", ""},
    {"event_pingpong", "event_pingpong", "covey:event", ""},
    {"condition_pingpong", "condition_pingpong", "covey:condition", ""},
    {"condition_pingpong", "condition_pingpong", "covey:condition+lock", ""},
    {"queue_1p1c.64B", "queue_1p1c", "covey:queue", "size=64"},
    {"queue_1p1c.1KiB", "queue_1p1c", "covey:queue", "size=1024"},
    {"queue_1p1c.64KiB", "queue_1p1c", "covey:queue", "size=65536"},
    {"queue_1p1c.64KiB", "queue_1p1c", "covey:queue-loan", "size=65536"},
    {"queue_2p2c.64B", "queue_2p2c", "covey:queue", "size=64"},
    {"queue_2p2c.1KiB", "queue_2p2c", "covey:queue", "size=1024"},
    {"queue_2p2c.64KiB", "queue_2p2c", "covey:queue", "size=65536"},
    {"queue_2p2c.64KiB", "queue_2p2c", "covey:queue-loan", "size=65536"},
    {"queue_4p1c.64B", "queue_4p1c", "covey:queue", "size=64"},
    {"queue_4p1c.1KiB", "queue_4p1c", "covey:queue", "size=1024"},
    {"queue_4p1c.64KiB", "queue_4p1c", "covey:queue", "size=65536"},
    {"queue_4p1c.64KiB", "queue_4p1c", "covey:queue-loan", "size=65536"},
    {"shm_value", "shm_value", "covey:value", ""},
    {"pipe_pingpong.64B", "pipe_pingpong", "covey:pipe", "size=64"},
    {"pipe_pingpong.64B", "pipe_pingpong", "covey:socket", "size=64"},
    {"pipe_stream.64B", "pipe_stream", "covey:pipe", "size=64"},
    {"pipe_stream.64B", "pipe_stream", "covey:socket", "size=64"},
    {"pipe_stream.1KiB", "pipe_stream", "covey:pipe", "size=1024"},
    {"pipe_stream.1KiB", "pipe_stream", "covey:socket", "size=1024"},
    {"pipe_stream.64KiB", "pipe_stream", "covey:pipe", "size=65536"},
    {"pipe_stream.64KiB", "pipe_stream", "covey:socket", "size=65536"},
    {"pipe_stream.1MiB", "pipe_stream", "covey:pipe", "size=1048576"},
    {"pipe_stream.1MiB", "pipe_stream", "covey:socket", "size=1048576"},
    {"conn_connect", "conn_connect", "covey:tcp", ""},
    {"conn_connect", "conn_connect", "covey:tls-key", ""},
    {"conn_connect", "conn_connect", "covey:tls-files", ""},
    {"conn_stream.64B", "conn_stream", "covey:tcp", "size=64"},
    {"conn_stream.64B", "conn_stream", "covey:tls-key", "size=64"},
    {"conn_stream.64KiB", "conn_stream", "covey:tcp", "size=65536"},
    {"conn_stream.64KiB", "conn_stream", "covey:tls-key", "size=65536"},
    {"manager_dict.1client", "manager_dict", "covey:manager", "clients=1"},
    {"manager_dict.4client", "manager_dict", "covey:manager", "clients=4"},
    {"manager_list", "manager_list", "covey:manager", "clients=1"},
    {"manager_value", "manager_value", "covey:manager", "clients=1"},
    {"manager_lock", "manager_lock", "covey:manager", "clients=1"},
    {"manager_queue", "manager_queue", "covey:manager", "clients=1"},
    {"shm_create.4KiB", "shm_create", "covey:memory", "size=4096"},
    {"shm_create.4KiB", "shm_create", "covey:memory+sparse", "size=4096"},
    {"shm_create.1MiB", "shm_create", "covey:memory", "size=1048576"},
    {"shm_create.1MiB", "shm_create", "covey:memory+sparse", "size=1048576"},
    {"shm_open.4KiB", "shm_open", "covey:memory", "size=4096"},
    {"shm_list", "shm_list", "covey:list", ""},
};

struct table_opts {
    regex_t only;
    int has_only;
    int runs;
    char seconds[32]; /* as the key=value that a row is given */
};

struct outcome {
    int status; /* the row's exit status */
    double value;
    char unit[16];
};

/* ---- one run ------------------------------------------------------------------- */

static void read_result(FILE *lines, struct outcome *ret_outcome)
{
    char line[256];
    while (fgets(line, sizeof line, lines)) {
        char *rest = line;
        strsep(&rest, "\t"); /* workload */
        strsep(&rest, "\t"); /* impl */
        const char *unit = strsep(&rest, "\t");
        if (!rest)
            continue;
        snprintf(ret_outcome->unit, sizeof ret_outcome->unit, "%s", unit);
        ret_outcome->value = strtod(rest, NULL);
    }
}

/* The paths and rows are this program's own, so that nothing here needs quoting. */
static struct outcome run_row(const struct row *row, const char *seconds)
{
    struct outcome outcome = {.status = EXIT_FAILURE};
    int pipe_fds[2];
    if (pipe(pipe_fds) < 0)
        return outcome;
    char impl[64];
    snprintf(impl, sizeof impl, "impl=%s", row->impl);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipe_fds[1], STDOUT_FILENO);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        execl("/proc/self/exe", "covey-bench", row->workload, impl, seconds, row->keys,
              (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    close(pipe_fds[1]);
    FILE *lines = fdopen(pipe_fds[0], "r");
    if (lines) {
        read_result(lines, &outcome);
        fclose(lines);
    }
    int status;
    if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status))
        outcome.status = WEXITSTATUS(status);
    if (outcome.status == EXIT_SUCCESS && !outcome.unit[0])
        outcome.status = EXIT_FAILURE;
    return outcome;
}

/* ---- all of them --------------------------------------------------------------- */

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Print the median, least and greatest of some runs; the answer is the exit status. */
static int print_row(const struct row *row, const struct table_opts *opts)
{
    double values[MOST_RUNS];
    struct outcome outcome = {0};
    for (int i = 0; i < opts->runs; i++) {
        outcome = run_row(row, opts->seconds);
        values[i] = outcome.value;
        if (outcome.status != EXIT_SUCCESS)
            break;
    }
    if (outcome.status != EXIT_SUCCESS) {
        int impossible = outcome.status == EXIT_IMPOSSIBLE;
        printf("%-22s %-24s %s\n", row->name, row->impl, impossible ? "NA" : "FAIL");
        return impossible ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    qsort(values, (size_t)opts->runs, sizeof *values, by_value);
    printf("%-22s %-24s %-8s %12.5g %12.5g %12.5g\n", row->name, row->impl,
           outcome.unit, values[opts->runs / 2], values[0], values[opts->runs - 1]);
    fflush(stdout);
    return EXIT_SUCCESS;
}

static int print_table(const struct table_opts *opts)
{
    int status = EXIT_SUCCESS;
    printf("%-22s %-24s %-8s %12s %12s %12s\n", "name", "impl", "unit", "median", "min",
           "max");
    fflush(stdout);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (opts->has_only && regexec(&opts->only, rows[i].name, 0, NULL, 0) != 0)
            continue;
        if (print_row(&rows[i], opts) != EXIT_SUCCESS)
            status = EXIT_FAILURE;
    }
    return status;
}

/* ---- beside others ------------------------------------------------------------- */

static int run_peers(const char *folder, int argc, char **argv)
{
    char self[PATH_MAX], program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    size_t count = 0;
    char **args = bench_memory((size_t)argc + 3, sizeof *args);
    if (length < 0)
        bench_fail("/proc is not there");
    self[length] = '\0';
    if (snprintf(program, sizeof program, "%s/run", folder) >= (int)sizeof program)
        bench_fail("BENCH_PEERS is too long");
    char peer[] = "--peer";
    args[count++] = program;
    args[count++] = peer;
    args[count++] = self;
    for (int i = 1; i < argc; i++)
        args[count++] = argv[i];
    execv(program, args);
    fprintf(stderr, "covey-bench: cannot run %s: %s\n", program, strerror(errno));
    free(args);
    return EXIT_FAILURE;
}

static int usage(FILE *out)
{
    fputs(
        "usage: covey-bench [--only REGEX] [--runs N] [--seconds S]\n"
        "       covey-bench list\n"
        "       covey-bench WORKLOAD impl=IMPL key=value...\n"
        "With BENCH_PEERS=FOLDER the first form calls FOLDER/run with this program as\n"
        "a peer and hands on the arguments.\n",
        out);
    return out == stdout ? EXIT_SUCCESS : 2;
}

int bench_table(int argc, char **argv)
{
    static const struct option known[] = {{"only", required_argument, NULL, 'o'},
                                          {"runs", required_argument, NULL, 'r'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    const char *peers = getenv("BENCH_PEERS");
    if (peers && *peers)
        return run_peers(peers, argc, argv);
    struct table_opts opts = {.runs = 3, .seconds = "seconds=0.3"};
    int letter;
    while ((letter = getopt_long(argc, argv, "o:r:s:h", known, NULL)) != -1) {
        if (letter == 'o' && !opts.has_only)
            opts.has_only = regcomp(&opts.only, optarg, REG_EXTENDED | REG_NOSUB) == 0;
        else if (letter == 'r')
            opts.runs = (int)strtol(optarg, NULL, 10);
        else if (letter == 's')
            snprintf(opts.seconds, sizeof opts.seconds, "seconds=%s", optarg);
        else
            return usage(letter == 'h' ? stdout : stderr);
        if ((letter == 'o' && !opts.has_only) || opts.runs < 1 || opts.runs > MOST_RUNS)
            return usage(stderr);
    }
    if (optind < argc)
        return usage(stderr);
    int status = print_table(&opts);
    if (opts.has_only)
        regfree(&opts.only);
    return status;
}
