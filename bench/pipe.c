/* SPDX-License-Identifier: MIT */
/*
 * The rows of pipes, between two processes that are started by fork:
 *   pipe_pingpong  a message of `size` bytes there and back              us/roundtrip
 *   pipe_stream    one sends, the other receives                         msgs/s, MB/s
 * covey:pipe lies in shared memory, with room for `depth` messages if that is given;
 * covey:socket is a connection over a pair of sockets, as to another program.
 * Every byte and the order are checked.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "messages.h"

#include <covey.h>

/* What the processes of a run see. */
struct run {
    void (*open)(struct run *run);
    covey_conn *a, *b;
    covey_barrier *start;
    size_t size;
    uint64_t n;
    double begin, end;
    _Atomic int done;
};

static void open_pipe(struct run *run)
{
    double depth = bench_number("depth", 0);
    BENCH_MUST(covey_pipe_create(
        &run->a, &run->b,
        COVEY_PIPE_OPTS(.capacity = (uint64_t)(depth * (double)run->size))));
}

static void open_socket(struct run *run)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        bench_fail("no sockets");
    BENCH_MUST(covey_conn_open_fd(&run->a, ends[0], NULL));
    BENCH_MUST(covey_conn_open_fd(&run->b, ends[1], NULL));
}

/* In what is measured: a call that went well costs no other one. */
static void send_message(covey_conn *conn, const void *message, size_t size)
{
    int r = covey_conn_send(conn, COVEY_VIEW(message, size), COVEY_FOREVER);
    if (r < 0)
        bench_must(r, "covey_conn_send");
}

static void receive_message(covey_conn *conn, struct covey_bytes *got)
{
    int r = covey_conn_recv(conn, got, COVEY_FOREVER);
    if (r < 0)
        bench_must(r, "covey_conn_recv");
}

static struct run *run_of(struct covey_view arg)
{
    return *(struct run *const *)arg.data;
}

static _Noreturn void end(struct run *run)
{
    run->end = bench_clock();
    atomic_store(&run->done, 1);
    for (;;)
        pause(); /* the parent ends us, and the other one */
}

static _Noreturn int produce(struct covey_view arg)
{
    struct run *run = run_of(arg);
    unsigned char *messages[MOST_MESSAGES];
    unsigned count = messages_count(run->size);
    messages_make(messages, run->size, 0);
    BENCH_MUST(covey_barrier_wait(run->start, COVEY_FOREVER, NULL));
    run->begin = bench_clock();
    for (uint64_t i = 0; i < run->n; i++)
        send_message(run->a, messages[i % count], run->size);
    for (;;)
        pause();
}

static _Noreturn int consume(struct covey_view arg)
{
    struct run *run = run_of(arg);
    unsigned char *messages[MOST_MESSAGES];
    unsigned count = messages_count(run->size);
    struct covey_bytes got = {0};
    messages_make(messages, run->size, 0);
    BENCH_MUST(covey_barrier_wait(run->start, COVEY_FOREVER, NULL));
    for (uint64_t i = 0; i < run->n; i++) {
        receive_message(run->b, &got);
        messages_check(got.data, got.size, messages, run->size, (unsigned)(i % count));
    }
    end(run);
}

static _Noreturn int play(struct covey_view arg)
{
    struct run *run = run_of(arg);
    unsigned char *messages[MOST_MESSAGES];
    unsigned count = messages_count(run->size);
    struct covey_bytes got = {0};
    const uint64_t warm = 64;
    messages_make(messages, run->size, 0);
    BENCH_MUST(covey_barrier_wait(run->start, COVEY_FOREVER, NULL));
    for (uint64_t i = 0; i < warm + run->n; i++) {
        if (i == warm)
            run->begin = bench_clock();
        send_message(run->a, messages[i % count], run->size);
        receive_message(run->a, &got);
        messages_check(got.data, got.size, messages, run->size, (unsigned)(i % count));
    }
    end(run);
}

static _Noreturn int echo(struct covey_view arg)
{
    struct run *run = run_of(arg);
    struct covey_bytes got = {0};
    BENCH_MUST(covey_barrier_wait(run->start, COVEY_FOREVER, NULL));
    for (;;) {
        receive_message(run->b, &got);
        send_message(run->b, got.data, got.size);
    }
}

static double run_once(struct run *run, uint64_t n, covey_target_fn *one,
                       covey_target_fn *other)
{
    covey_process *processes[2];
    run->n = n;
    atomic_store(&run->done, 0);
    run->open(run);
    BENCH_MUST(covey_barrier_create(&run->start, 2, NULL));
    processes[0] = bench_start(one, COVEY_VIEW_OF(run));
    processes[1] = bench_start(other, COVEY_VIEW_OF(run));
    while (!atomic_load(&run->done)) {
        for (int i = 0; i < 2; i++)
            if (covey_process_is_alive(processes[i]) != 1)
                bench_fail("a process ended early");
        usleep(1000);
    }
    for (int i = 0; i < 2; i++)
        bench_kill(processes[i]);
    covey_conn_free(run->a);
    covey_conn_free(run->b);
    covey_barrier_free(run->start);
    return run->end - run->begin;
}

static double stream_once(void *ctx, uint64_t n)
{
    return run_once(ctx, n, consume, produce);
}

static double pingpong_once(void *ctx, uint64_t n)
{
    return run_once(ctx, n, echo, play);
}

static struct run *run_new(void (*open)(struct run *))
{
    struct run *run = mmap(NULL, sizeof *run, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (run == MAP_FAILED)
        bench_fail("no memory to share");
    run->open = open;
    run->size = (size_t)bench_number("size", 64);
    if (run->size < LEAST_MESSAGE)
        bench_fail("a message has at least %d bytes", LEAST_MESSAGE);
    return run;
}

static void measure_stream(void (*open)(struct run *))
{
    struct run *run = run_new(open);
    uint64_t first = run->size <= 4096 ? 4096 : run->size <= 65536 ? 256 : 16;
    double rate =
        bench_rate(stream_once, run, first, UINT64_MAX, bench_number("seconds", 0.5));
    bench_emit("msgs/s", rate);
    bench_emit("MB/s", rate * (double)run->size / 1e6);
}

static void measure_pingpong(void (*open)(struct run *))
{
    double rate = bench_rate(pingpong_once, run_new(open), 256, UINT64_MAX,
                             bench_number("seconds", 0.5));
    bench_emit("us/roundtrip", 1e6 / rate);
}

static void stream_pipe(void)
{
    measure_stream(open_pipe);
}
static void stream_socket(void)
{
    measure_stream(open_socket);
}
static void pingpong_pipe(void)
{
    measure_pingpong(open_pipe);
}
static void pingpong_socket(void)
{
    measure_pingpong(open_socket);
}

const struct bench_case bench_pipe_cases[] = {
    {"pipe_pingpong", "covey:pipe", pingpong_pipe},
    {"pipe_pingpong", "covey:socket", pingpong_socket},
    {"pipe_stream", "covey:pipe", stream_pipe},
    {"pipe_stream", "covey:socket", stream_socket},
};
const size_t bench_pipe_count = sizeof bench_pipe_cases / sizeof bench_pipe_cases[0];
