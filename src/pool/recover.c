/* SPDX-License-Identifier: MIT */
/* recover.c: workers that died, what they had, and their successors.
 *
 * A worker counts as dead when its thread's life word says so (then it runs no code of a
 * task any more) or when its process was reaped. What it had in its hands is computed
 * from what is there, not from a log: an item below the cursor that is neither finished,
 * nor an orphan, nor in a line of a living worker, was in the hands of the dead.
 *
 * The item it had begun is the one the death is blamed on: it is CRASHED, or goes back
 * among the missing while it may be retried. All others are just missing, and become
 * orphans, which workers take first. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "pool/flow.h"
#include "pool/worker.h"
#include "region/member.h"
#include "region/wait.h"

#define REAP_TIME      COVEY_SEC(1)  /* from the death of its thread to that of all */
#define SOON           COVEY_MSEC(1) /* the same as a rule */
#define KILL_TIME      COVEY_SEC(30) /* until one that is killed has ended */
#define STOP_TIME      COVEY_SEC(1)
#define TERMINATE_TIME COVEY_MSEC(100)
#define HURRY_TIME     COVEY_MSEC(50) /* between looks at `hurries` */
#define SNAPSHOT_TRIES 64

/* ---- items that are in nobody's hands ---- */

struct snapshot {
    uint64_t cursor;
    uint32_t count; /* of pool->ranges */
};

static bool line_is_quiet(const struct cvy_pool *pool, uint32_t i)
{
    const struct cvy_pool_line *line = &pool->shared->lines[i];
    uint32_t thread = atomic_load(&line->thread);
    return !(atomic_load_explicit(&line->taking, memory_order_acquire) & 1) ||
           !thread || cvy_slot_is_dead(thread, false);
}

static void add_range(struct cvy_pool *pool, struct snapshot *shot, uint64_t range,
                      uint32_t slot)
{
    if (cvy_range_is_of(range, slot))
        pool->ranges[shot->count++] = range;
}

/* All words that say who has what, in the direction in which items move, so that one
 * that moves meanwhile is seen at least once. Fails if a worker took something in the
 * meantime (pairs with taking_begins, taking_ends). */
static bool try_snapshot(struct cvy_pool *pool, uint32_t slot, struct snapshot *shot)
{
    struct cvy_batch *batch = pool->slots[slot].batch;
    uint32_t taken = 0, taken_after = 0;
    shot->count = 0;
    for (uint32_t i = 0; i < pool->workers; i++) {
        taken +=
            atomic_load_explicit(&pool->shared->lines[i].taking, memory_order_acquire);
        if (!line_is_quiet(pool, i))
            return false;
    }
    shot->cursor = atomic_load(&batch->cursor);
    for (uint32_t x = 0; x < CVY_POOL_ORPHANS; x++)
        add_range(pool, shot, atomic_load(&batch->orphans[x]), slot);
    for (uint32_t i = 0; i < pool->workers; i++) {
        struct cvy_pool_line *line = &pool->shared->lines[i];
        add_range(pool, shot, atomic_load(&line->claim), slot);
        add_range(pool, shot, atomic_load(&line->running), slot);
    }
    atomic_thread_fence(memory_order_acquire);
    for (uint32_t i = 0; i < pool->workers; i++)
        taken_after += atomic_load(&pool->shared->lines[i].taking);
    return taken == taken_after;
}

/* Where the part from `item` on that is covered (or not) by the snapshot ends. */
static uint64_t covered_until(const struct cvy_pool *pool, const struct snapshot *shot,
                              uint64_t item, bool *ret_covered)
{
    uint64_t next = shot->cursor;
    for (uint32_t i = 0; i < shot->count; i++) {
        uint64_t start = cvy_range_start(pool->ranges[i]);
        if (item >= start && item < cvy_range_end(pool->ranges[i])) {
            *ret_covered = true;
            return cvy_range_end(pool->ranges[i]);
        }
        if (start > item)
            next = cvy_min_u64(next, start);
    }
    *ret_covered = false;
    return next;
}

static uint64_t end_of_zeros(const struct cvy_batch *batch, uint64_t item, uint64_t end)
{
    while (item < end && !cvy_outcome_is_final(atomic_load_explicit(
                             &batch->outcomes[item], memory_order_acquire)))
        item++;
    return item;
}

/* Returns: false if the table is full. */
static bool add_orphans(struct cvy_batch *batch, uint32_t slot, uint64_t start,
                        uint64_t end)
{
    uint64_t set = atomic_load(&batch->orphan_set);
    for (uint32_t x = 0; x < CVY_POOL_ORPHANS && start < end; x++) {
        if (atomic_load(&batch->orphans[x]))
            continue;
        uint64_t count = cvy_min_u64(end - start, CVY_RANGE_COUNT);
        atomic_store(&batch->orphans[x], cvy_range(slot, start, count));
        set |= UINT64_C(1) << x;
        start += count;
    }
    atomic_store(&batch->orphan_set, set);
    return start == end;
}

static void forget_empty_orphans(struct cvy_batch *batch)
{
    uint64_t set = 0;
    for (uint32_t x = 0; x < CVY_POOL_ORPHANS; x++)
        if (atomic_load(&batch->orphans[x]))
            set |= UINT64_C(1) << x;
    atomic_store(&batch->orphan_set, set);
}

void cvy_pool_find_missing(struct cvy_pool *pool, uint32_t slot)
{
    struct cvy_pool_slot *s = &pool->slots[slot];
    struct cvy_batch *batch = s->batch;
    struct snapshot shot;
    uint64_t found = 0;
    bool room = true;
    if (atomic_load(&batch->canceled) || CVY_MUTANT(pool_missing))
        return;
    s->deaths = true;
    int tries = 0;
    while (!try_snapshot(pool, slot, &shot)) {
        if (++tries == SNAPSHOT_TRIES)
            return; /* it is tried again with each ring and slice */
        cvy_os_yield();
    }
    forget_empty_orphans(batch);
    for (uint64_t i = 0; i < shot.cursor && room;) {
        uint64_t zeros_end = end_of_zeros(batch, i, shot.cursor);
        while (i < zeros_end && room) {
            bool covered = false;
            uint64_t until = covered_until(pool, &shot, i, &covered);
            until = cvy_min_u64(until, zeros_end);
            if (!covered) {
                room = add_orphans(batch, slot, i, until);
                found += until - i;
            }
            i = until;
        }
        while (i < shot.cursor &&
               cvy_outcome_is_final(atomic_load(&batch->outcomes[i])))
            i++;
    }
    if (found)
        cvy_pool_ring(pool, found, 0);
}

/* ---- a death ---- */

struct cvy_pool_attempts cvy_pool_take_attempt(struct cvy_map *map, uint64_t item)
{
    struct cvy_pool_attempts none = {.item = item};
    for (size_t i = 0; i < map->attempt_count; i++)
        if (map->attempts[i].item == item) {
            struct cvy_pool_attempts found = map->attempts[i];
            map->attempts[i] = map->attempts[--map->attempt_count];
            return found;
        }
    return none;
}

void cvy_pool_free_attempt(struct cvy_pool_attempts *attempt)
{
    cvy_free(attempt->text);
    cvy_free(attempt->backtrace);
    attempt->text = attempt->backtrace = NULL;
}

void cvy_pool_forget_attempts(struct cvy_map *map)
{
    for (size_t i = 0; i < map->attempt_count; i++)
        cvy_pool_free_attempt(&map->attempts[i]);
    cvy_free(map->attempts);
    map->attempts = NULL;
    map->attempt_count = map->attempt_room = 0;
}

/* Returns: NULL if there is no memory: then it is not remembered, so not retried. */
static struct cvy_pool_attempts *count_attempt(struct cvy_map *map, uint64_t item)
{
    for (size_t i = 0; i < map->attempt_count; i++)
        if (map->attempts[i].item == item) {
            map->attempts[i].deaths++;
            return &map->attempts[i];
        }
    if (map->attempt_count == map->attempt_room) {
        size_t room = map->attempt_room ? 2 * map->attempt_room : 16;
        void *more = cvy_realloc(map->attempts, room * sizeof *map->attempts);
        if (!more)
            return NULL;
        map->attempts = more;
        map->attempt_room = room;
    }
    map->attempts[map->attempt_count] =
        (struct cvy_pool_attempts){.item = item, .deaths = 1};
    return &map->attempts[map->attempt_count++];
}

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = cvy_malloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

/* How a worker ended. */
struct death {
    int exitcode;
    uint64_t peak; /* of the item it was at, if that has a limit of memory */
    char how[CVY_POOL_TEXT];
    char *backtrace; /* NULL: none */
};

/* Flows tell about each item. */
static void keep_death(struct cvy_pool_attempts *attempt, struct death *death)
{
    cvy_pool_free_attempt(attempt);
    attempt->exitcode = death->exitcode;
    attempt->text = copy_text(death->how);
    attempt->backtrace = death->backtrace;
    death->backtrace = NULL;
}

static void note_death(struct cvy_map *map, uint64_t item, bool blamed, bool is_last,
                       const char *how)
{
    char text[CVY_POOL_TEXT];
    if (blamed)
        (void)snprintf(text, sizeof text, "item %llu: %.220s", (unsigned long long)item,
                       how);
    else
        (void)snprintf(text, sizeof text, "%.220s, before it began an item", how);
    map->sum.crashes++;
    cvy_count(&map->pool->shared->counts.crashes, 1);
    if (!map->crash_text[0])
        memcpy(map->crash_text, text, sizeof text);
    if (blamed && is_last && item < map->lost_item) {
        map->lost_item = item;
        memcpy(map->lost_text, text, sizeof text);
    }
}

/* What the item gets that killed its worker for the last time: where memory is limited, a
 * crash with much of it taken is put down to that. */
static uint8_t last_outcome(const struct cvy_batch *batch, const struct death *death)
{
    uint64_t limit = batch->memory; /* 0 in maps without limits */
    if (limit && death->exitcode < 0 && death->peak >= limit / 2)
        return COVEY_OUTCOME_MEMORY;
    return COVEY_OUTCOME_CRASHED;
}

/* Whether this item is the dead worker's: of a map not finished, of a flow running. */
static bool is_blamed(const struct cvy_map *map, const struct cvy_pool_slot *s,
                      uint64_t begun)
{
    uint8_t running = map->flow ? CVY_OUTCOME_RUNNING : COVEY_OUTCOME_NONE;
    return begun && begun <= s->n &&
           atomic_load(&s->batch->outcomes[begun - 1]) == running;
}

/* The worker died at this item. */
static void blame(struct cvy_map *map, const struct cvy_pool_slot *s, uint64_t at,
                  struct death *death)
{
    struct cvy_batch *batch = s->batch;
    uint64_t item = batch->base + at;
    struct cvy_pool_attempts *attempt = count_attempt(map, item);
    bool is_last = !attempt || attempt->deaths > map->pool->retries ||
                   (map->flow && atomic_load(&batch->canceled));
    note_death(map, item, true, is_last, death->how);
    if (attempt && map->flow)
        keep_death(attempt, death);
    if (is_last) {
        atomic_store(&batch->outcomes[at], last_outcome(batch, death));
        return;
    }
    if (map->flow)
        cvy_pool_drop_result(s, at); /* the next run has a result of its own */
    atomic_store(&batch->outcomes[at], COVEY_OUTCOME_NONE);
    map->sum.retried++;
    cvy_count(&map->pool->shared->counts.retried, 1);
}

/* What was in the dead worker's hands. Returns: whether it had begun an item. */
static bool settle_batch(struct cvy_pool *pool, struct cvy_pool_line *line,
                         uint32_t slot, uint32_t index, struct death *death)
{
    struct cvy_pool_slot *s = &pool->slots[slot];
    struct cvy_batch *batch = s->batch;
    struct cvy_map *map = s->map;
    uint64_t begun = atomic_load(&line->begun), running = atomic_load(&line->running);
    bool had = cvy_range_is_of(running, slot);
    bool blamed = is_blamed(map, s, begun);
    uint32_t writer = index + 1;
    (void)atomic_compare_exchange_strong(&batch->text_owner, &writer, 0);
    s->deaths = true;
    if (map->timed_out) {
        if (blamed)
            atomic_store(&batch->outcomes[begun - 1], COVEY_OUTCOME_TIMEOUT);
    } else if (blamed) {
        blame(map, s, begun - 1, death);
    } else if (had && !pool->worker[index].ended && !atomic_load(&line->left)) {
        note_death(map, 0, false, false, death->how);
    }
    return blamed;
}

static void clear_line(struct cvy_pool_line *line)
{
    atomic_store(&line->started, 0);
    atomic_store(&line->resident, 0);
    atomic_store(&line->warned, 0);
    atomic_store(&line->retire, 0);
    atomic_store(&line->left, 0);
    atomic_store(&line->is_last, 0);
    atomic_store(&line->init_code, 0);
    atomic_store(&line->where, 0);
}

/* The worker had left its batch, perhaps with a claim that it had not worked off. */
static void find_all_missing(struct cvy_pool *pool)
{
    for (uint32_t slot = 0; slot < CVY_POOL_BATCHES; slot++)
        if (pool->slots[slot].use == CVY_SLOT_ACTIVE)
            cvy_pool_find_missing(pool, slot);
}

/* The worker in line `index` has ended and was reaped. */
static void bury(struct cvy_pool *pool, uint32_t index, struct death *death)
{
    struct cvy_pool_line *line = &pool->shared->lines[index];
    uint32_t looked_at = cvy_line_batch(line), spinner = index + 1;
    bool blamed = false, is_active = false;
    atomic_store(&line->claim, 0);
    (void)atomic_compare_exchange_strong(&pool->shared->spinner, &spinner, 0);
    if (looked_at) {
        is_active = pool->slots[looked_at - 1].use == CVY_SLOT_ACTIVE;
        if (is_active)
            blamed = settle_batch(pool, line, looked_at - 1, index, death);
    }
    uint32_t left = atomic_load(&line->left);
    atomic_store(&line->running, 0);
    atomic_store(&line->begun, 0);
    atomic_store(&line->batch, 0);
    atomic_store(&line->thread, 0);
    if (atomic_load(&line->taking) & 1)
        atomic_fetch_add(&line->taking, 1);
    clear_line(line);
    if (blamed)
        pool->barren = 0;
    else if (left != 1 && !pool->worker[index].ended)
        cvy_staff_count_barren(pool, death->how, death->exitcode == -SIGKILL);
    cvy_staff_put_off(pool, index);
    if (!is_active)
        find_all_missing(pool);
    else
        cvy_pool_find_missing(pool, looked_at - 1);
    if (is_active)
        cvy_pool_ring_map(pool, pool->slots[looked_at - 1].map->index);
}

static void tell_death(struct cvy_pool *pool, uint32_t index, struct death *death)
{
    const struct cvy_pool_line *line = &pool->shared->lines[index];
    struct cvy_pool_worker *worker = &pool->worker[index];
    struct covey_process_report report;
    if (worker->sampled == atomic_load(&line->serial))
        death->peak = worker->peak;
    if (covey_process_report(worker->process, &report) < 0) {
        (void)snprintf(death->how, sizeof death->how, "a worker died");
    } else {
        (void)snprintf(death->how, sizeof death->how, "%.240s", report.text);
        death->exitcode = report.exitcode;
        if (report.backtrace[0])
            death->backtrace = copy_text(report.backtrace);
    }
    if (atomic_load(&line->left) == 2)
        (void)snprintf(death->how, sizeof death->how,
                       "the initializer returned %d in a worker",
                       atomic_load(&line->init_code));
    cvy_flatten(death->how);
}

void cvy_pool_reap_worker(struct cvy_pool *pool, uint32_t index)
{
    struct cvy_pool_worker *worker = &pool->worker[index];
    struct death death = {0};
    if (covey_process_join(worker->process, KILL_TIME) < 0)
        return;
    tell_death(pool, index, &death);
    cvy_loop_unwatch(pool, index);
    covey_process_free(worker->process);
    worker->process = NULL;
    bury(pool, index, &death);
    cvy_free(death.backtrace);
}

/* Its thread is gone, or about to. Where its process is not, since it exec'd or is in an exit
 * handler, it is looked at from time to time, and killed after a while: nobody waits for it
 * with the lock. Threads cannot be killed. */
static bool has_ended(struct cvy_pool *pool, uint32_t index)
{
    struct cvy_pool_worker *worker = &pool->worker[index];
    int64_t now = cvy_os_now();
    bool is_new = !worker->ends_by;
    if (is_new)
        worker->ends_by = now + REAP_TIME;
    if (covey_process_join(worker->process, is_new ? SOON : COVEY_NOWAIT) == 0)
        return true;
    if (now >= worker->ends_by && pool->method != COVEY_THREAD &&
        covey_process_kill(worker->process) >= 0)
        return true;
    if (is_new)
        find_all_missing(pool); /* what it had claimed and not begun */
    cvy_staff_looked(pool, index);
    return false;
}

/* A worker that dies before it is up rings no bell: it is looked at from time to time. */
static bool is_dead(struct cvy_pool *pool, uint32_t index, bool ask_kernel)
{
    struct cvy_pool_worker *worker = &pool->worker[index];
    uint32_t thread = atomic_load(&pool->shared->lines[index].thread);
    if (atomic_load(&pool->shared->lines[index].left) ||
        (thread && cvy_slot_is_dead(thread, false)))
        return has_ended(pool, index);
    if (thread && !ask_kernel)
        return false;
    cvy_staff_looked(pool, index);
    return covey_process_join(worker->process, COVEY_NOWAIT) == 0;
}

/* Somebody died or leaves, or is to be relieved by a successor that is up, or soon. */
static bool wants_a_look(const struct cvy_pool *pool, uint32_t index, bool may_relieve)
{
    const struct cvy_pool_line *line = &pool->shared->lines[index];
    const struct cvy_pool_worker *worker = &pool->worker[index];
    uint32_t thread = atomic_load(&line->thread);
    if (!worker->process || worker->ends_by)
        return false;
    return atomic_load(&line->left) || (thread && cvy_slot_is_dead(thread, false)) ||
           (thread && worker->relieves && !pool->closing) ||
           (may_relieve && worker->is_wanted && atomic_load(&line->is_last));
}

bool cvy_pool_wants_reaping(const struct cvy_pool *pool)
{
    int64_t due = cvy_pool_due(pool);
    if (due != INT64_MAX && due <= cvy_os_now())
        return true;
    bool may_relieve = cvy_staff_may_relieve(pool);
    for (uint32_t i = 0; i < pool->workers; i++)
        if (wants_a_look(pool, i, may_relieve))
            return true;
    return false;
}

/* Nothing is finished any more, and nobody is at it: the maps are told. */
static void give_up_if_broken(struct cvy_pool *pool)
{
    if (!cvy_staff_is_hopeless(pool))
        return;
    for (uint32_t i = 0; i < pool->workers; i++)
        if (pool->worker[i].process && atomic_load(&pool->shared->lines[i].running))
            return;
    for (uint32_t m = 0; m < CVY_POOL_BATCHES; m++)
        if (pool->maps[m]) {
            pool->maps[m]->give_up = true;
            cvy_pool_ring_map(pool, m);
        }
}

void cvy_pool_reap_workers(struct cvy_pool *pool, bool ask_kernel)
{
    for (uint32_t i = 0; i < pool->workers; i++)
        if (pool->worker[i].process && is_dead(pool, i, ask_kernel))
            cvy_pool_reap_worker(pool, i);
}

void cvy_pool_reap(struct cvy_pool *pool, bool ask_kernel)
{
    cvy_pool_reap_workers(pool, ask_kernel);
    cvy_staff_look(pool);
    (void)cvy_pool_start_workers(pool);
    give_up_if_broken(pool);
}

/* ---- ending ---- */

void cvy_pool_cancel(struct cvy_pool *pool, uint32_t slot)
{
    struct cvy_batch *batch = pool->slots[slot].batch;
    atomic_store(&batch->canceled, 1);
    atomic_store(&batch->cursor, batch->n);
    for (uint32_t x = 0; x < CVY_POOL_ORPHANS; x++)
        atomic_store(&batch->orphans[x], 0);
    atomic_store(&batch->orphan_set, 0);
}

bool cvy_pool_kill_in(struct cvy_pool *pool, uint32_t slot)
{
    if (pool->method == COVEY_THREAD)
        return !cvy_pool_slot_is_visited(pool, slot);
    for (uint32_t i = 0; i < pool->workers; i++) {
        struct cvy_pool_line *line = &pool->shared->lines[i];
        uint32_t there = slot + 1;
        if (!pool->worker[i].process ||
            !atomic_compare_exchange_strong(&line->batch, &there,
                                            there | CVY_LINE_DOOMED))
            continue;
        (void)covey_process_kill(pool->worker[i].process);
        cvy_pool_reap_worker(pool, i);
    }
    return true;
}

static bool join_worker(struct cvy_pool *pool, uint32_t index, int64_t deadline)
{
    struct cvy_pool_worker *worker = &pool->worker[index];
    if (worker->process &&
        covey_process_join(worker->process, cvy_os_time_left(deadline)) == 0) {
        cvy_loop_unwatch(pool, index);
        covey_process_free(worker->process);
        worker->process = NULL;
        atomic_store(&pool->shared->lines[index].batch, 0); /* it looks at none */
    }
    return !worker->process;
}

static bool join_workers(struct cvy_pool *pool, int64_t deadline)
{
    bool all = true;
    for (uint32_t i = 0; i < pool->workers; i++)
        all = join_worker(pool, i, deadline) && all;
    return all;
}

/* Until the time is over, or somebody does not want to wait for exit hooks. */
static bool join_in_order(struct cvy_pool *pool, int64_t deadline)
{
    bool all = false;
    while (!all && !atomic_load(&pool->hurries) && cvy_os_now() < deadline)
        all = join_workers(pool, cvy_min_i64(deadline, cvy_os_deadline(HURRY_TIME)));
    return all;
}

static void stop_workers(struct cvy_pool *pool, int64_t patience)
{
    bool busy = false;
    atomic_store(&pool->shared->stop, 1);
    atomic_fetch_add(&pool->shared->doorbell, CVY_RING_STEP);
    (void)cvy_os_futex_wake(&pool->shared->doorbell, INT32_MAX);
    if (patience && join_in_order(pool, patience))
        return;
    for (uint32_t i = 0; i < pool->workers; i++)
        if (pool->worker[i].process &&
            (patience || atomic_load(&pool->shared->lines[i].batch))) {
            busy = true;
            (void)covey_process_terminate(pool->worker[i].process);
        }
    if (join_workers(pool, cvy_os_deadline(busy ? TERMINATE_TIME : STOP_TIME)))
        return;
    for (uint32_t i = 0; i < pool->workers; i++)
        if (pool->worker[i].process)
            (void)covey_process_kill(pool->worker[i].process);
    bool is_thread = pool->method == COVEY_THREAD;
    (void)join_workers(pool,
                       cvy_os_deadline(is_thread ? COVEY_FOREVER : COVEY_SEC(30)));
}

void cvy_pool_stop_workers(struct cvy_pool *pool, int64_t patience)
{
    (void)pthread_mutex_lock(&pool->stopping);
    stop_workers(pool, patience);
    (void)pthread_mutex_unlock(&pool->stopping);
}

void cvy_pool_close_maps(struct cvy_pool *pool)
{
    pool->closing = true;
    for (uint32_t m = 0; m < CVY_POOL_BATCHES; m++)
        if (pool->maps[m]) {
            pool->maps[m]->give_up = true;
            cvy_pool_ring_map(pool, m);
        }
    (void)pthread_cond_broadcast(&pool->changed);
}

/* Who waits for what is pending finds out that nobody is left to do it; it can still be
 * terminated and freed, by hooks that run later. */
void cvy_pool_stop_at_exit(struct cvy_pool *pool)
{
    uint32_t open = CVY_POOL_OPEN;
    (void)pthread_mutex_lock(&pool->lock);
    (void)atomic_compare_exchange_strong(&pool->state, &open, CVY_POOL_CLOSED);
    pool->closing = true;
    if (pool->shared && pthread_mutex_trylock(&pool->stopping) == 0) {
        stop_workers(pool, 0);
        (void)pthread_mutex_unlock(&pool->stopping);
    }
    if (pool->shared)
        cvy_pool_close_maps(pool);
    (void)pthread_mutex_unlock(&pool->lock);
}
