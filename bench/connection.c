/* SPDX-License-Identifier: MIT */
/*
 * The rows of connections over TCP, from this process to a listener in a child, with a key
 * that both have to prove:
 *   conn_connect  connect and close, one after another                us/connect
 *   conn_stream   the child sends messages of `size` bytes            msgs/s, MB/s
 * covey:tcp goes without TLS, covey:tls-key takes its secret from the key, and
 * covey:tls-files has certificates on both sides (ECDSA on P-256, as the command `openssl`
 * makes them), whose files each connect reads. Every byte and the order are checked.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "messages.h"

#include <covey.h>

#define KEY COVEY_VIEW("a key that is proved by both", 28)

enum { EXIT_IMPOSSIBLE = 77 };

struct run {
    const struct covey_tls *tls;
    covey_listener *listener;
    size_t size;
};

/* ---- certificates ---- */

struct files {
    char folder[64], certificate[96], key[96];
    struct covey_tls tls;
};

static int in_folder(const struct files *files, const char *script)
{
    char command[512];
    snprintf(command, sizeof command, "cd %s && { %s; } >/dev/null 2>&1", files->folder,
             script);
    return system(command); /* NOLINT(cert-env33-c) */
}

/* One that has signed itself will do for both sides. */
static void files_make(struct files *files)
{
    *files = (struct files){.folder = "/tmp/covey-bench-XXXXXX"};
    if (!mkdtemp(files->folder))
        bench_fail("no folder for certificates");
    if (in_folder(files, "openssl req -x509 -newkey ec -pkeyopt "
                         "ec_paramgen_curve:prime256v1 -nodes -keyout key "
                         "-out certificate -subj /CN=bench -days 2")) {
        fprintf(stderr, "covey-bench: openssl makes no certificates\n");
        _Exit(EXIT_IMPOSSIBLE);
    }
    snprintf(files->certificate, sizeof files->certificate, "%.60s/certificate",
             files->folder);
    snprintf(files->key, sizeof files->key, "%.60s/key", files->folder);
    files->tls = *COVEY_TLS(.certificate = files->certificate, .key = files->key,
                            .authorities = files->certificate);
}

static void files_free(const struct files *files)
{
    if (in_folder(files, "rm certificate key") || remove(files->folder))
        bench_fail("%s cannot be removed", files->folder);
}

/* ---- both sides ---- */

static const struct run *run_of(struct covey_view arg)
{
    return *(const struct run *const *)arg.data;
}

static covey_conn *accept_next(const struct run *run)
{
    covey_conn *conn;
    BENCH_MUST(covey_listener_accept(run->listener, &conn, COVEY_FOREVER));
    return conn;
}

static _Noreturn int accept_all(struct covey_view arg)
{
    for (;;)
        covey_conn_free(accept_next(run_of(arg)));
}

static _Noreturn int produce(struct covey_view arg)
{
    const struct run *run = run_of(arg);
    unsigned char *messages[MOST_MESSAGES];
    unsigned count = messages_count(run->size);
    messages_make(messages, run->size, 0);
    covey_conn *conn = accept_next(run);
    for (uint64_t i = 0;; i++) {
        int r = covey_conn_send(conn, COVEY_VIEW(messages[i % count], run->size),
                                COVEY_FOREVER);
        if (r < 0)
            bench_must(r, "covey_conn_send");
    }
}

static covey_process *start(struct run *run, covey_target_fn *server)
{
    BENCH_MUST(
        covey_listener_create(&run->listener, "127.0.0.1:0",
                              COVEY_LISTENER_OPTS(.authkey = KEY, .tls = run->tls)));
    return bench_start(server, COVEY_VIEW_OF(run));
}

static void end(struct run *run, covey_process *server)
{
    bench_kill(server);
    covey_listener_free(run->listener);
}

static covey_conn *connect_to(const struct run *run)
{
    covey_conn *conn;
    BENCH_MUST(covey_client_connect(&conn, covey_listener_address(run->listener),
                                    COVEY_CLIENT_OPTS(.authkey = KEY, .tls = run->tls),
                                    COVEY_FOREVER));
    return conn;
}

/* ---- rows ---- */

static double connect_many(void *ctx, uint64_t n)
{
    struct run *run = ctx;
    covey_process *server = start(run, accept_all);
    covey_conn_free(connect_to(run)); /* libssl is loaded */
    double begin = bench_clock();
    for (uint64_t i = 0; i < n; i++)
        covey_conn_free(connect_to(run));
    double time = bench_clock() - begin;
    end(run, server);
    return time;
}

static double receive_many(void *ctx, uint64_t n)
{
    struct run *run = ctx;
    unsigned char *messages[MOST_MESSAGES];
    unsigned count = messages_count(run->size);
    struct covey_bytes got = {0};
    messages_make(messages, run->size, 0);
    covey_process *server = start(run, produce);
    covey_conn *conn = connect_to(run);
    double begin = 0;
    const uint64_t warm = 16;
    for (uint64_t i = 0; i < warm + n; i++) {
        if (i == warm)
            begin = bench_clock();
        int r = covey_conn_recv(conn, &got, COVEY_FOREVER);
        if (r < 0)
            bench_must(r, "covey_conn_recv");
        messages_check(got.data, got.size, messages, run->size, (unsigned)(i % count));
    }
    double time = bench_clock() - begin;
    end(run, server);
    covey_conn_free(conn);
    covey_bytes_free(&got);
    for (unsigned i = 0; i < count; i++)
        free(messages[i]);
    return time;
}

static void measure_connect(const struct covey_tls *tls)
{
    struct run run = {.tls = tls};
    double rate =
        bench_rate(connect_many, &run, 32, UINT64_MAX, bench_number("seconds", 0.5));
    bench_emit("us/connect", 1e6 / rate);
}

static void measure_stream(const struct covey_tls *tls)
{
    struct run run = {.tls = tls, .size = (size_t)bench_number("size", 65536)};
    if (run.size < LEAST_MESSAGE)
        bench_fail("a message has at least %d bytes", LEAST_MESSAGE);
    double rate = bench_rate(receive_many, &run, run.size <= 4096 ? 4096 : 256,
                             UINT64_MAX, bench_number("seconds", 0.5));
    bench_emit("msgs/s", rate);
    bench_emit("MB/s", rate * (double)run.size / 1e6);
}

static void with_files(void (*measure)(const struct covey_tls *))
{
    struct files files;
    files_make(&files);
    measure(&files.tls);
    files_free(&files);
}

static void connect_plain(void)
{
    measure_connect(NULL);
}
static void connect_key(void)
{
    measure_connect(COVEY_TLS(.from_key = COVEY_ON));
}
static void connect_files(void)
{
    with_files(measure_connect);
}
static void stream_plain(void)
{
    measure_stream(NULL);
}
static void stream_key(void)
{
    measure_stream(COVEY_TLS(.from_key = COVEY_ON));
}
static void stream_files(void)
{
    with_files(measure_stream);
}

const struct bench_case bench_connection_cases[] = {
    {"conn_connect", "covey:tcp", connect_plain},
    {"conn_connect", "covey:tls-key", connect_key},
    {"conn_connect", "covey:tls-files", connect_files},
    {"conn_stream", "covey:tcp", stream_plain},
    {"conn_stream", "covey:tls-key", stream_key},
    {"conn_stream", "covey:tls-files", stream_files},
};
const size_t bench_connection_count =
    sizeof bench_connection_cases / sizeof bench_connection_cases[0];
