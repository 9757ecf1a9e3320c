/* SPDX-License-Identifier: MIT */
/*
 * The rows of locks, semaphores, events and conditions, between processes started by fork:
 *   lock_uncontended    one process: acquire, add 1, release
 *   lock_contended      two processes do the same to one counter; pairs of both together
 *   semaphore_pingpong  two processes, two semaphores, strict turns; round trips
 *   event_pingpong      two processes: set the other's event, wait for one's own, clear it
 *   condition_pingpong  two processes, one condition, a number that says whose turn it is
 * Each turn is checked, and the sum at the end.
 */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

#include <covey.h>

/* In what is measured: a call that went well costs no other one. */
#define MUST(call)                                                                     \
    do {                                                                               \
        int result_ = (call);                                                          \
        if (result_ < 0)                                                               \
            bench_must(result_, #call);                                                \
    } while (0)

/* What the processes share besides the objects. The number is on a line of its own. */
struct game {
    _Alignas(128) volatile uint64_t number;
    char line_end[120];
    void (*side)(struct game *game, int index);
    uint64_t n;
    covey_barrier *start;
    covey_lock *lock;
    covey_rlock *rlock;
    covey_semaphore *semaphores[2];
    covey_event *events[2];
    covey_condition *condition;
    double begin[2], end[2];
};

static void begin(struct game *game, int index)
{
    BENCH_MUST(covey_barrier_wait(game->start, COVEY_FOREVER, NULL));
    game->begin[index] = bench_clock();
}

static void end(struct game *game, int index)
{
    game->end[index] = bench_clock();
}

static void check_turn(struct game *game, uint64_t expected)
{
    if (game->number != expected)
        bench_fail("turn %ju instead of %ju", (uintmax_t)game->number,
                   (uintmax_t)expected);
    game->number = expected + 1;
}

static void count_by_lock(struct game *game, int index)
{
    begin(game, index);
    for (uint64_t i = 0; i < game->n; i++) {
        MUST(covey_lock_acquire(game->lock, COVEY_FOREVER));
        game->number = game->number + 1;
        MUST(covey_lock_release(game->lock));
    }
    end(game, index);
}

static void count_by_rlock(struct game *game, int index)
{
    begin(game, index);
    for (uint64_t i = 0; i < game->n; i++) {
        MUST(covey_rlock_acquire(game->rlock, COVEY_FOREVER));
        game->number = game->number + 1;
        MUST(covey_rlock_release(game->rlock));
    }
    end(game, index);
}

static void count_by_semaphore(struct game *game, int index)
{
    covey_semaphore *semaphore = game->semaphores[0];
    begin(game, index);
    for (uint64_t i = 0; i < game->n; i++) {
        MUST(covey_semaphore_acquire(semaphore, COVEY_FOREVER));
        game->number = game->number + 1;
        MUST(covey_semaphore_release(semaphore, 1));
    }
    end(game, index);
}

static void play_semaphores(struct game *game, int index)
{
    covey_semaphore *mine = game->semaphores[index], *other = game->semaphores[!index];
    MUST(covey_semaphore_acquire(mine, COVEY_FOREVER)); /* both start taken */
    begin(game, index);
    for (uint64_t i = 0; i < game->n; i++) {
        if (!index)
            MUST(covey_semaphore_release(other, 1));
        MUST(covey_semaphore_acquire(mine, COVEY_FOREVER));
        check_turn(game, 2 * i + !index);
        if (index)
            MUST(covey_semaphore_release(other, 1));
    }
    end(game, index);
}

static void play_events(struct game *game, int index)
{
    covey_event *mine = game->events[index], *other = game->events[!index];
    begin(game, index);
    for (uint64_t i = 0; i < game->n; i++) {
        if (!index)
            MUST(covey_event_set(other));
        MUST(covey_event_wait(mine, COVEY_FOREVER));
        MUST(covey_event_clear(mine));
        check_turn(game, 2 * i + !index);
        if (index)
            MUST(covey_event_set(other));
    }
    end(game, index);
}

static void play_condition(struct game *game, int index)
{
    covey_condition *condition = game->condition;
    begin(game, index);
    for (uint64_t i = 0; i < game->n; i++) {
        uint64_t turn = 2 * i + (unsigned)index;
        MUST(covey_condition_acquire(condition, COVEY_FOREVER));
        while (game->number != turn)
            MUST(covey_condition_wait(condition, COVEY_FOREVER));
        game->number = turn + 1;
        MUST(covey_condition_notify(condition, 1));
        MUST(covey_condition_release(condition));
    }
    end(game, index);
}

/* ---- a game -------------------------------------------------------------------- */

struct seat {
    struct game *game;
    int index;
};

static int take_part(struct covey_view arg)
{
    const struct seat *seat = arg.data;
    seat->game->side(seat->game, seat->index);
    return 0;
}

static void make_objects(struct game *game, unsigned players, int with_rlock)
{
    BENCH_MUST(covey_barrier_create(&game->start, players, NULL));
    BENCH_MUST(covey_lock_create(&game->lock, NULL));
    BENCH_MUST(covey_rlock_create(&game->rlock, NULL));
    for (int i = 0; i < 2; i++) {
        BENCH_MUST(covey_semaphore_create(&game->semaphores[i], 1, NULL));
        BENCH_MUST(covey_event_create(&game->events[i], NULL));
    }
    covey_lock *lock = with_rlock ? NULL : game->lock;
    BENCH_MUST(
        covey_condition_create(&game->condition, COVEY_CONDITION_OPTS(.lock = lock)));
}

static void free_objects(struct game *game)
{
    covey_barrier_free(game->start);
    covey_lock_free(game->lock);
    covey_rlock_free(game->rlock);
    for (int i = 0; i < 2; i++) {
        covey_semaphore_free(game->semaphores[i]);
        covey_event_free(game->events[i]);
    }
    covey_condition_free(game->condition);
}

/* What a row is about: how many play, what each does, and with which kind of lock. */
struct rules {
    void (*side)(struct game *game, int index);
    int players;
    int with_rlock;
};

static double play(void *ctx, uint64_t n)
{
    const struct rules *rules = ctx;
    struct game *game = mmap(NULL, sizeof *game, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    covey_process *processes[2];
    if (game == MAP_FAILED)
        bench_fail("no memory");
    game->side = rules->side;
    game->n = n;
    make_objects(game, (unsigned)rules->players, rules->with_rlock);
    for (int i = 0; i < rules->players; i++) {
        struct seat seat = {game, i};
        processes[i] = bench_start(take_part, COVEY_VIEW_OF(seat));
    }
    for (int i = 0; i < rules->players; i++)
        bench_join(processes[i]);
    if (game->number != n * (unsigned)rules->players)
        bench_fail("the counter is %ju", (uintmax_t)game->number);
    double first = game->begin[0], last = game->end[0];
    if (rules->players > 1) {
        first = game->begin[1] < first ? game->begin[1] : first;
        last = game->end[1] > last ? game->end[1] : last;
    }
    free_objects(game);
    munmap(game, sizeof *game);
    return last - first;
}

/* `operations`: how many one step of all players is. */
static void run(struct rules rules, double operations)
{
    double seconds = bench_number("seconds", 0.3);
    bench_emit("ops/s",
               operations * bench_rate(play, &rules, 512, UINT64_MAX, seconds));
}

static void run_lock_alone(void)
{
    run((struct rules){count_by_lock, 1, 0}, 1);
}
static void run_rlock_alone(void)
{
    run((struct rules){count_by_rlock, 1, 0}, 1);
}
static void run_semaphore_alone(void)
{
    run((struct rules){count_by_semaphore, 1, 0}, 1);
}
static void run_lock(void)
{
    run((struct rules){count_by_lock, 2, 0}, 2);
}
static void run_rlock(void)
{
    run((struct rules){count_by_rlock, 2, 0}, 2);
}
static void run_semaphore(void)
{
    run((struct rules){count_by_semaphore, 2, 0}, 2);
}
static void run_semaphores(void)
{
    run((struct rules){play_semaphores, 2, 0}, 1);
}
static void run_events(void)
{
    run((struct rules){play_events, 2, 0}, 1);
}
static void run_condition(void)
{
    run((struct rules){play_condition, 2, 1}, 1);
}
static void run_condition_with_lock(void)
{
    run((struct rules){play_condition, 2, 0}, 1);
}

const struct bench_case bench_sync_cases[] = {
    {"lock_uncontended", "covey:lock", run_lock_alone},
    {"lock_uncontended", "covey:rlock", run_rlock_alone},
    {"lock_uncontended", "covey:semaphore", run_semaphore_alone},
    {"lock_contended", "covey:lock", run_lock},
    {"lock_contended", "covey:rlock", run_rlock},
    {"lock_contended", "covey:semaphore", run_semaphore},
    {"semaphore_pingpong", "covey:semaphore", run_semaphores},
    {"event_pingpong", "covey:event", run_events},
    {"condition_pingpong", "covey:condition", run_condition},
    {"condition_pingpong", "covey:condition+lock", run_condition_with_lock},
};
const size_t bench_sync_count = sizeof bench_sync_cases / sizeof bench_sync_cases[0];
