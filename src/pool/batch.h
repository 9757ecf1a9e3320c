/* SPDX-License-Identifier: MIT */
/**
 * pool/batch.h: what a pool and its workers share, all of it in the region.
 *
 *   pool object --> shared block:  | doorbell, active | refs of batches | rings | lines |
 *                                                           |
 *   batch (one run, reused):       | head | orphans | text | code | outcomes | in | out |
 *
 * A map is worked off in batches. An item of a batch is, at every instant, in exactly one
 * of these places, and only ever moves to the right:
 *
 *     not claimed  ->  worker's `claim`  ->  worker's `running`  ->  outcome set
 *     >= cursor        may be stolen         begun one by one        finished
 *         ^ \______________________________________/
 *         |                  its worker died
 *         orphans  <---------------/
 *
 * Who takes a range writes it into its own line first ("announces" it) and then takes it
 * by one compare-and-swap of the word it came from. So an item that is in none of these
 * places was in the hands of a worker that died, and nothing needs to be logged.
 *
 * Written by: [pool] the pool's process under its private lock; [own] the worker whose
 * line it is; [cas] anyone, by compare-and-swap.
 */
#ifndef CVY_POOL_BATCH_H
#define CVY_POOL_BATCH_H

#include "base/base.h"
#include "os/code.h"
#include "region/layout.h"

#include <covey/pool.h>

/** Batches that can be active at the same time, and maps too. */
#define CVY_POOL_BATCHES 63u
#define CVY_POOL_WORKERS 1024u
/** Memory that is worth making present at once, and is used for little else. */
#define CVY_POOL_LARGE 65536u

/*
 * Items of one batch, in one word, 0 = none.
 *
 *   63....58  57..............20  19........0
 *   slot + 1  first item          count
 */
#define CVY_RANGE_COUNT ((UINT64_C(1) << 20) - 1)
#define CVY_RANGE_ITEMS ((UINT64_C(1) << 38) - 1)

static inline uint64_t cvy_range(uint32_t slot, uint64_t start, uint64_t count)
{
    return count ? (uint64_t)(slot + 1) << 58 | start << 20 | count : 0;
}
static inline uint64_t cvy_range_start(uint64_t range)
{
    return range >> 20 & CVY_RANGE_ITEMS;
}
static inline uint64_t cvy_range_count(uint64_t range)
{
    return range & CVY_RANGE_COUNT;
}
static inline uint64_t cvy_range_end(uint64_t range)
{
    return cvy_range_start(range) + cvy_range_count(range);
}
/** Whether it is a range of the batch in `slot`; 0 is of none. */
static inline bool cvy_range_is_of(uint64_t range, uint32_t slot)
{
    return range >> 58 == slot + 1;
}

/** A result of the wrong size, which callers see as ERROR. */
#define CVY_OUTCOME_SIZE 0x40u
#define CVY_OUTCOME_MASK 0x3fu
#define CVY_POOL_ORPHANS 64u
#define CVY_POOL_TEXT    256u

/* flags of a batch */
#define CVY_BATCH_TASKS  1u  /* it has entries: see struct cvy_entry */
#define CVY_BATCH_TUPLES 2u  /* arguments are tuples */
#define CVY_BATCH_TIMED  4u  /* begin and end are noted in the entries */
#define CVY_BATCH_COPIES 8u  /* `out` is in this run */
#define CVY_BATCH_BOUND  16u /* its bounds say something */
#define CVY_BATCH_DATED  32u /* its items have deadlines of their own */

/* Of a batch with entries, an outcome while the item runs: taken by one compare-and-swap,
 * of which the worker in whose line the item is `begun` is the author. So the pool can
 * take back, by the same word, what has not begun, and end what has. */
#define CVY_OUTCOME_RUNNING 0x80u

/** The pool tells a worker to end, and may take that back until the worker does. */
enum cvy_retire { CVY_STAYS = 0, CVY_IS_TO_RETIRE, CVY_RETIRES };

/** 1/16 ns of work that pay a wake-up. */
#define CVY_WORTH_A_CALL (UINT64_C(20000) * 16)

/*
 * Futex words that are rung: 1 = somebody may sleep, the rest counts in steps of 2.
 * Who sleeps sets the bit by compare-and-swap with the value after which it looked.
 */
#define CVY_RING_SLEEPS 1u
#define CVY_RING_STEP   2u

/* In the `batch` of a line: the pool ends the worker, which is not to leave this batch any
 * more. Each takes the word from the other by compare-and-swap, so that nobody is ended for
 * an item that he is not at any more. */
#define CVY_LINE_DOOMED 0x80000000u

/* One worker. What it stores per item has cache lines of its own, two at a time because
 * processors fetch them in pairs. */
struct cvy_pool_line {
    _Atomic uint64_t begun;    /* [own] item + 1 whose function was called last */
    _Atomic uint64_t running;  /* [own] range it runs, or wants to take */
    _Atomic uint64_t serial;   /* [own] counts the tasks it began */
    _Atomic int64_t started;   /* [own] when the last of those began; 0: none runs */
    _Atomic uint64_t resident; /* [own] its own memory before its first limited task */
    /* [own] what the task `said_by` says of itself; that is 0 while it is written */
    _Atomic uint64_t said_by, said_done, said_total;
    /* [own] pid << 32 | processor + 1, 0 unknown: a hint */
    _Atomic uint64_t where;
    uint64_t reserved[7];
    _Atomic uint64_t claim;  /* [own] range to run afterwards; [cas] by thieves */
    cvy_word batch;          /* [own] slot + 1 of its batch, 0 none; [pool] DOOMED */
    cvy_word taking;         /* [own] odd while it moves a range into its words */
    cvy_word thread;         /* [own] owner word of its slot, 0 before it is up */
    cvy_word finished;       /* [own] counts claims; for "does anything ever finish" */
    _Atomic uint64_t warned; /* [pool] serial of the task that is asked to stop */
    cvy_word retire;         /* [pool, own] enum cvy_retire */
    cvy_word left;           /* [own] 1: it ends in order, 2: its initializer failed */
    _Atomic int32_t init_code; /* [own] what that returned */
    cvy_word is_last;          /* [own] 1: it ends after what it runs now */
    uint64_t reserved3[10];
};
_Static_assert(sizeof(struct cvy_pool_line) == 256, "two pairs of cache lines");

/** Slot + 1 of the batch that this worker looks at, 0 none. */
static inline uint32_t cvy_line_batch(const struct cvy_pool_line *line)
{
    return atomic_load(&line->batch) & ~CVY_LINE_DOOMED;
}

/* What the thread that waits in a map sleeps on. */
struct cvy_pool_ring {
    cvy_word word;
    uint32_t reserved[15];
};

/* What workers do besides tasks; constant. */
struct cvy_pool_hooks {
    uint64_t init_arg, init_size; /* distance and size of the initializer's argument */
    uint64_t exit_arg, exit_size;
    uint32_t max_tasks; /* a worker ends after so many items, 0 never */
    int32_t fd;         /* written to when `fd_armed`, -1 none */
    cvy_word fd_armed;  /* [pool] 1: an event loop waits; [own] 0: it was told */
    uint32_t has_init, has_exit;
    uint32_t cores;   /* that a pool in a worker of another may keep busy; 0 all */
    uint64_t signals; /* that worker processes block */
    struct cvy_code init, exit;
};
_Static_assert(sizeof(struct cvy_pool_hooks) % 64 == 0, "whole lines");

/* What covey_pool_stats tells; [pool] under its private lock, anyone reads. */
struct cvy_pool_counts {
    _Atomic uint64_t submitted, done, failed, crashes, retried, restarts;
    _Atomic uint64_t bytes_in, bytes_out;
    _Atomic uint64_t queued, running, target;
    uint64_t reserved[21];
};
_Static_assert(sizeof(struct cvy_pool_counts) == 256, "whole lines");

/* What covey_pool_histogram tells; the same. */
struct cvy_pool_times {
    _Atomic uint64_t counts[3][COVEY_HISTOGRAM_SIZE];
};

struct cvy_pool_shared {
    cvy_word doorbell; /* workers sleep here; rung by the pool when there is work */
    cvy_word stop;     /* [pool] 1: workers end */
    cvy_word workers;  /* [pool] lines in use; grows only */
    cvy_word oldest;   /* [pool] the oldest batch is the first from here on, round */
    _Atomic uint64_t active; /* [pool] a bit per slot whose batch may be worked on */
    uint64_t reserved2[5];
    _Atomic uint64_t batches[CVY_POOL_BATCHES]; /* [pool] refs */
    uint64_t reserved3;
    cvy_word spinner; /* [cas] line + 1 of the one worker that spins for work */
    uint32_t reserved4[31];
    struct cvy_pool_ring rings[CVY_POOL_BATCHES]; /* by map */
    uint64_t reserved5[8];
    struct cvy_pool_hooks hooks;
    struct cvy_pool_counts counts;
    struct cvy_pool_times times;
    struct cvy_pool_line lines[];
};
_Static_assert(sizeof(struct cvy_pool_shared) ==
                   64 + 512 + 128 + 64 * 64 + sizeof(struct cvy_pool_hooks) + 256 +
                       sizeof(struct cvy_pool_times),
               "as drawn");
_Static_assert(offsetof(struct cvy_pool_shared, batches) == 64, "with the doorbell");
_Static_assert(offsetof(struct cvy_pool_shared, lines) % 64 == 0, "line by line");

/* A task that gave others to a pool, and what those have from it and its like: see
 * bounds.c. */
struct cvy_outer {
    uint64_t line;   /* distance of its worker's; 0: there is none */
    uint64_t serial; /* of the task */
};
#define CVY_OUTERS 3u
struct cvy_bounds {
    int64_t deadline;                    /* INT64_MAX: none */
    int64_t time;                        /* limit of each run; 0 none */
    struct cvy_outer outers[CVY_OUTERS]; /* from the inside to the outside */
};

/*
 * A batch. Constant while its slot is active, but for what is marked. Addresses are
 * distances from the region's start, modulo 2^64: a pool of threads has its arrays
 * outside of it.
 */
struct cvy_batch {
    _Atomic uint64_t cursor; /* [cas] items below were claimed */
    _Atomic uint64_t n;
    uint64_t in, out;
    uint64_t in_size, out_size;
    uint32_t code_id; /* changes with `code` */
    uint32_t cost;    /* expected per item, 1/16 ns; 0 unknown */
    uint32_t chunk;   /* items that are taken together, 0 by measurement */
    uint32_t map;     /* index of its ring */

    uint64_t base;               /* the first item's index in the map */
    _Atomic uint64_t orphan_set; /* [pool] which orphans to look at; may be too many */
    _Atomic uint32_t canceled;   /* [pool] 1: begin nothing more */
    _Atomic uint32_t measured;   /* [own] last measured cost */
    cvy_word text_owner;         /* [cas] line + 1 of who writes the text */
    int32_t text_code;           /* what the task returned */
    _Atomic uint64_t text_item;  /* it is about this item + 1, 0 none */
    cvy_word prefers;            /* [pool] line + 1 of who is to take it; 0: anyone */
    uint32_t flags;              /* CVY_BATCH_... */
    uint32_t room;               /* entries, of which `n` are used */
    uint32_t reserve;            /* bytes for each result, at `out` */
    uint64_t memory;             /* limit of a task's own, in bytes, 0 none */

    struct cvy_bounds bounds; /* if CVY_BATCH_BOUND */

    _Atomic uint64_t orphans[CVY_POOL_ORPHANS]; /* [pool] in, [cas] out: ranges */
    char text[CVY_POOL_TEXT];                   /* text_owner's */
    struct cvy_code code;
    _Atomic uint8_t outcomes[]; /* set by who has the item; [pool] if he died */
};
_Static_assert(sizeof(struct cvy_batch) == 128 + 64 + 512 + 256 + 512, "as drawn");

/*
 * An item of a batch with entries: any size in, any size out.
 *
 *   batch: | head | outcomes[room] | entries[room] | deadlines[room], if DATED | arguments |
 *          | results[room] of `reserve` bytes each |
 *
 * A result that is larger has a run of its own. Tuples: a count, then offset and size of
 * each part, then the parts.
 */
struct cvy_entry {
    uint64_t arg, arg_size;       /* [pool] distance; in this run, or the caller's */
    uint64_t result, result_size; /* [own] distance; of a failed item: its text */
    int64_t started, ended;       /* [own] if TIMED */
    int32_t code;                 /* [own] what the function returned */
    uint32_t line;                /* [own] + 1 */
    uint32_t fault;               /* [pool] enum cvy_fault, on purpose */
    int32_t pid;                  /* [own] */
};
_Static_assert(sizeof(struct cvy_entry) == 64, "a line each");

enum cvy_fault { CVY_FAULT_NONE, CVY_FAULT_DIE, CVY_FAULT_HANG, CVY_FAULT_MEMORY };

/** How often a worker in a batch tells of finished items, at most. */
#define CVY_RING_EVERY COVEY_USEC(200)

static inline struct cvy_entry *cvy_batch_entries(struct cvy_batch *batch,
                                                  uint32_t room)
{
    return (struct cvy_entry *)(void *)((char *)batch +
                                        cvy_round_up(sizeof *batch + room, 64));
}

/** In a batch whose items have some. */
static inline int64_t *cvy_batch_deadlines(struct cvy_batch *batch, uint32_t room)
{
    return (int64_t *)(void *)(cvy_batch_entries(batch, room) + room);
}

/** Bounds of what the calling thread gives to a pool now, with a timeout of its own (0:
 * none), and those of its task unless it is `detached`. */
void cvy_bounds_take(struct cvy_bounds *ret, covey_nsec timeout, bool detached);
/** Whether the task that gave it, or one outside of that, was asked to end. */
bool cvy_bounds_canceled(const struct cvy_bounds *bounds);

/** Whether an outcome says that the item is finished. */
static inline bool cvy_outcome_is_final(uint8_t outcome)
{
    return outcome && outcome != CVY_OUTCOME_RUNNING;
}

/** Fields that workers and the pool both need of an object of kind CVY_KIND_POOL. */
struct covey_pool {
    struct cvy_object object;
    uint32_t owner; /* owner word of the member that created it */
    uint32_t reserved;
    uint64_t state; /* address of struct cvy_pool in that process */
    cvy_ref shared; /* struct cvy_pool_shared */
    uint64_t pad[7];
};
_Static_assert(sizeof(struct covey_pool) == 128, "an object's size");

/** What a worker is started with. */
struct cvy_worker_arg {
    uint64_t pool; /* ref */
    uint32_t line;
    uint32_t is_thread;
};

/** Where `address` lies, as batches have it; and back. */
static inline uint64_t cvy_distance(const void *address)
{
    return (uint64_t)((uintptr_t)address - (uintptr_t)cvy_head);
}
static inline char *cvy_pool_address(uint64_t distance)
{
    return (char *)((uintptr_t)cvy_head + (uintptr_t)distance);
}

/** Step the word on; tells whether somebody may sleep there. Pairs with the sleepers'
 * compare-and-swap of the same word. */
static inline bool cvy_ring_step(cvy_word *word)
{
    return atomic_fetch_add(word, CVY_RING_STEP) & CVY_RING_SLEEPS;
}

#endif
