/* SPDX-License-Identifier: MIT */
/*
 * What the machine allows a pipe whose messages are copied in and out:
 *   pipe_stream  limit:copied-ring  msgs/s, MB/s
 * A ring of equal slots between one sender and one receiver, without locks, limits, deaths
 * or sleeps: both only look. It has `ring` KiB, by default more than a core's own cache. The
 * same messages, and the same checks, as in the rows of pipes.
 */
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "messages.h"

enum { LINE = 64 };

struct ring {
    _Alignas(LINE) _Atomic uint64_t put;
    _Alignas(LINE) _Atomic uint64_t taken;
    _Alignas(LINE) _Atomic int ready;
    double begin, end;
    size_t size, distance, slots;
    uint64_t n;
    _Alignas(LINE) unsigned char bytes[];
};

static struct ring *ring_of(struct covey_view arg)
{
    return *(struct ring *const *)arg.data;
}

static unsigned char *slot(struct ring *ring, uint64_t i)
{
    return ring->bytes + i % ring->slots * ring->distance;
}

static void start_together(struct ring *ring)
{
    atomic_fetch_add(&ring->ready, 1);
    while (atomic_load(&ring->ready) < 2)
        continue;
}

static int produce(struct covey_view arg)
{
    struct ring *ring = ring_of(arg);
    unsigned char *messages[MOST_MESSAGES];
    unsigned count = messages_count(ring->size);
    uint64_t taken = 0;
    messages_make(messages, ring->size, 0);
    start_together(ring);
    ring->begin = bench_clock();
    for (uint64_t i = 0; i < ring->n; i++) {
        while (i - taken >= ring->slots)
            taken = atomic_load_explicit(&ring->taken, memory_order_acquire);
        memcpy(slot(ring, i), messages[i % count], ring->size);
        atomic_store_explicit(&ring->put, i + 1, memory_order_release);
    }
    return 0;
}

static int consume(struct covey_view arg)
{
    struct ring *ring = ring_of(arg);
    unsigned char *messages[MOST_MESSAGES], *got = bench_memory(1, ring->size);
    unsigned count = messages_count(ring->size);
    uint64_t put = 0;
    messages_make(messages, ring->size, 0);
    start_together(ring);
    for (uint64_t i = 0; i < ring->n; i++) {
        while (put <= i)
            put = atomic_load_explicit(&ring->put, memory_order_acquire);
        memcpy(got, slot(ring, i), ring->size);
        atomic_store_explicit(&ring->taken, i + 1, memory_order_release);
        messages_check(got, ring->size, messages, ring->size, (unsigned)(i % count));
    }
    ring->end = bench_clock();
    return 0;
}

static double stream_once(void *ctx, uint64_t n)
{
    struct ring *ring = ctx;
    covey_process *processes[2];
    ring->n = n;
    atomic_store(&ring->put, 0);
    atomic_store(&ring->taken, 0);
    atomic_store(&ring->ready, 0);
    processes[0] = bench_start(produce, COVEY_VIEW_OF(ring));
    processes[1] = bench_start(consume, COVEY_VIEW_OF(ring));
    bench_join(processes[1]); /* who fails a check; the other one only looks on */
    bench_join(processes[0]);
    return ring->end - ring->begin;
}

static void stream(void)
{
    size_t size = (size_t)bench_number("size", 64);
    size_t distance = (size + LINE - 1) / LINE * LINE;
    size_t bytes = (size_t)bench_number("ring", 2048) * 1024;
    size_t slots = bytes / distance < 2 ? 2 : bytes / distance;
    if (size < LEAST_MESSAGE)
        bench_fail("a message has at least %d bytes", LEAST_MESSAGE);
    struct ring *ring = mmap(NULL, sizeof *ring + slots * distance,
                             PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED)
        bench_fail("no memory to share");
    ring->size = size;
    ring->distance = distance;
    ring->slots = slots;
    double rate = bench_rate(stream_once, ring, size <= 4096 ? 4096 : 64, UINT64_MAX,
                             bench_number("seconds", 0.5));
    bench_emit("msgs/s", rate);
    bench_emit("MB/s", rate * (double)size / 1e6);
}

const struct bench_case bench_limit_cases[] = {
    {"pipe_stream", "limit:copied-ring", stream},
};
const size_t bench_limit_count = sizeof bench_limit_cases / sizeof bench_limit_cases[0];
