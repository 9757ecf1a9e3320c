/* SPDX-License-Identifier: MIT */
/*
 * The queue rows: queue_1p1c, queue_2p2c and queue_4p1c, so many producers and consumers
 * of one queue of at most `depth` messages of `size` bytes each. covey:queue copies in and
 * out, covey:queue-loan fills and reads in place.                     msgs/s, MB/s
 *
 * Producers send some templates in turn, more than a core's own cache holds where they are
 * large. Consumers compare every byte, count by producer and template, and check the order
 * where there is one of them. From the first producer's begin to the last message checked.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#include <covey.h>

enum { MOST_PRODUCERS = 4, MOST_CONSUMERS = 2, MOST_TEMPLATES = 32, LEAST_SIZE = 8 };

/* One way to send and receive. */
struct way {
    void (*send)(covey_queue *queue, const void *message, size_t size);
    /* Valid until the next one. */
    const unsigned char *(*receive)(covey_queue *queue, size_t *ret_size);
};

/* What all processes of a run see. */
struct run {
    const struct way *way;
    covey_queue *queue;
    size_t size, depth;
    int producers, consumers;
    uint64_t each; /* messages of a producer */
    pthread_barrier_t barrier;
    double begin[MOST_PRODUCERS], end;
    _Atomic int done;
    struct tally {
        _Alignas(64) _Atomic uint64_t count;
        uint64_t by[MOST_PRODUCERS][MOST_TEMPLATES];
    } tally[MOST_CONSUMERS];
};

struct part {
    struct run *run;
    int index;
};

/* ---- messages ------------------------------------------------------------------ */

static int template_count(size_t size)
{
    return size <= 4096 ? 16 : size <= 65536 ? MOST_TEMPLATES : 4;
}

/* Byte 0 tells which one, byte 1 the producer, the rest is random. */
static unsigned char *template_new(size_t size, int producer, int which)
{
    unsigned char *bytes = bench_memory(1, size);
    uint64_t x = 0x9E3779B97F4A7C15u * (uint64_t)(which + 1) + size;
    for (size_t i = 0; i < size; i += sizeof x) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(bytes + i, &x, size - i < sizeof x ? size - i : sizeof x);
    }
    bytes[0] = (unsigned char)which;
    bytes[1] = (unsigned char)producer;
    return bytes;
}

static int templates_new(unsigned char **templates, size_t size, int producer)
{
    int count = template_count(size);
    for (int i = 0; i < count; i++)
        templates[i] = template_new(size, producer, i);
    return count;
}

/* ---- the two ways -------------------------------------------------------------- */

static void send_copy(covey_queue *queue, const void *message, size_t size)
{
    BENCH_MUST(covey_queue_put(queue, COVEY_VIEW(message, size), COVEY_FOREVER));
}

static const unsigned char *receive_copy(covey_queue *queue, size_t *ret_size)
{
    static struct covey_bytes got;
    BENCH_MUST(covey_queue_get(queue, &got, COVEY_FOREVER));
    *ret_size = got.size;
    return got.data;
}

static void send_loan(covey_queue *queue, const void *message, size_t size)
{
    struct covey_loan loan;
    BENCH_MUST(covey_queue_reserve(queue, size, &loan));
    memcpy(loan.data, message, size);
    BENCH_MUST(covey_queue_commit(queue, &loan, COVEY_FOREVER));
}

static const unsigned char *receive_loan(covey_queue *queue, size_t *ret_size)
{
    static struct covey_loan loan;
    covey_queue_done(queue, &loan);
    BENCH_MUST(covey_queue_view(queue, &loan, COVEY_FOREVER));
    *ret_size = loan.size;
    return loan.data;
}

static const struct way by_copy = {send_copy, receive_copy};
static const struct way by_loan = {send_loan, receive_loan};

/* ---- the processes ------------------------------------------------------------- */

static _Noreturn int produce(struct covey_view arg)
{
    const struct part *part = arg.data;
    struct run *run = part->run;
    unsigned char *templates[MOST_TEMPLATES];
    unsigned count = (unsigned)templates_new(templates, run->size, part->index);
    pthread_barrier_wait(&run->barrier);
    run->begin[part->index] = bench_clock();
    for (uint64_t i = 0; i < run->each; i++)
        run->way->send(run->queue, templates[i % count], run->size);
    for (;;)
        pause(); /* the parent ends us */
}

static void check_message(const struct run *run, const unsigned char *message,
                          size_t size, unsigned char *const *templates, int *next)
{
    if (size != run->size)
        bench_fail("a message of %zu bytes", size);
    int which = message[0], from = message[1], count = template_count(size);
    if (which >= count || from >= run->producers ||
        memcmp(message + 2, templates[which] + 2, size - 2) != 0)
        bench_fail("a message is damaged");
    if (run->consumers == 1 && which != next[from])
        bench_fail("a message of producer %d is out of order", from);
    next[from] = which + 1 == count ? 0 : which + 1;
}

static _Noreturn int consume(struct covey_view arg)
{
    const struct part *part = arg.data;
    struct run *run = part->run;
    struct tally *tally = &run->tally[part->index];
    unsigned char *templates[MOST_TEMPLATES];
    int next[MOST_PRODUCERS] = {0};
    templates_new(templates, run->size, 0);
    pthread_barrier_wait(&run->barrier);
    uint64_t all =
        run->consumers == 1 ? run->each * (uint64_t)run->producers : UINT64_MAX;
    for (uint64_t i = 0; i < all; i++) {
        size_t size = 0;
        const unsigned char *message = run->way->receive(run->queue, &size);
        check_message(run, message, size, templates, next);
        tally->by[message[1]][message[0]]++;
        atomic_store_explicit(&tally->count, i + 1, memory_order_release);
    }
    run->end = bench_clock();
    atomic_store(&run->done, 1);
    for (;;)
        pause();
}

/* ---- a run --------------------------------------------------------------------- */

/* Wait until all is received, and note when, if no consumer does. */
static void await_all(struct run *run, covey_process **processes, int count)
{
    uint64_t all = run->each * (uint64_t)run->producers, seen = 0;
    while (!atomic_load(&run->done)) {
        seen = 0;
        for (int i = 0; i < run->consumers; i++)
            seen += atomic_load_explicit(&run->tally[i].count, memory_order_acquire);
        if (run->consumers > 1 && seen >= all) {
            run->end = bench_clock();
            usleep(2000); /* what is there twice would still come */
            return;
        }
        for (int i = 0; i < count; i++)
            if (covey_process_is_alive(processes[i]) != 1)
                bench_fail("a process ended early");
        usleep(1000);
    }
}

static void check_tallies(const struct run *run)
{
    unsigned count = (unsigned)template_count(run->size);
    for (int p = 0; p < run->producers; p++)
        for (unsigned i = 0; i < count; i++) {
            uint64_t got = 0, wanted = run->each / count + (i < run->each % count);
            for (int c = 0; c < run->consumers; c++)
                got += run->tally[c].by[p][i];
            if (got != wanted)
                bench_fail("%ju messages instead of %ju", (uintmax_t)got,
                           (uintmax_t)wanted);
        }
}

static double run_once(void *ctx, uint64_t n)
{
    struct run *run = ctx;
    int count = run->producers + run->consumers;
    covey_process *processes[MOST_PRODUCERS + MOST_CONSUMERS];
    pthread_barrierattr_t shared;
    memset(run->tally, 0, sizeof run->tally);
    atomic_store(&run->done, 0);
    run->each = n / (uint64_t)run->producers;
    BENCH_MUST(covey_queue_create(&run->queue, run->depth, NULL));
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&run->barrier, &shared, (unsigned)count);
    for (int i = 0; i < count; i++) {
        bool consumes = i < run->consumers;
        struct part part = {run, consumes ? i : i - run->consumers};
        processes[i] = bench_start(consumes ? consume : produce, COVEY_VIEW_OF(part));
    }
    await_all(run, processes, count);
    for (int i = 0; i < count; i++)
        bench_kill(processes[i]);
    covey_queue_free(run->queue);
    check_tallies(run);
    double begin = run->begin[0];
    for (int i = 1; i < run->producers; i++)
        begin = run->begin[i] < begin ? run->begin[i] : begin;
    return run->end - begin;
}

static void measure(const struct way *way)
{
    struct run *run = mmap(NULL, sizeof *run, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (run == MAP_FAILED)
        bench_fail("no memory to share");
    run->way = way;
    run->size = (size_t)bench_number("size", 64);
    run->depth = (size_t)bench_number("depth", run->size <= 1024 ? 1024 : 64);
    if (run->size < LEAST_SIZE)
        bench_fail("a message has at least %d bytes", LEAST_SIZE);
    const char *workload = bench_running()->workload; /* queue_NpMc, digits */
    if (strlen(workload) != 10)
        bench_fail("no such workload");
    run->producers = workload[6] - '0';
    run->consumers = workload[8] - '0';
    uint64_t first = run->size <= 4096 ? 4096 : 512;
    double rate =
        bench_rate(run_once, run, first, UINT64_MAX, bench_number("seconds", 0.5));
    bench_emit("msgs/s", rate);
    bench_emit("MB/s", rate * (double)run->size / 1e6);
    munmap(run, sizeof *run);
}

static void run_copy(void)
{
    measure(&by_copy);
}

static void run_loan(void)
{
    measure(&by_loan);
}

const struct bench_case bench_queue_cases[] = {
    {"queue_1p1c", "covey:queue", run_copy},
    {"queue_1p1c", "covey:queue-loan", run_loan},
    {"queue_2p2c", "covey:queue", run_copy},
    {"queue_2p2c", "covey:queue-loan", run_loan},
    {"queue_4p1c", "covey:queue", run_copy},
    {"queue_4p1c", "covey:queue-loan", run_loan},
};
const size_t bench_queue_count = sizeof bench_queue_cases / sizeof bench_queue_cases[0];
