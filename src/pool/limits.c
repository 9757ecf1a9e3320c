/* SPDX-License-Identifier: MIT */
/* limits.c: how long tasks run and how much memory they take, seen from outside.
 *
 * A worker notes in its line which item it began and when; who waits in the pool looks
 * there, and asks the system for the worker's own memory (RssAnon and VmSwap: what it
 * shares with others is not the task's). An item that is over its limit gets its outcome
 * by compare-and-swap first, so it can only be ended while it runs, and then the worker is
 * killed. */
#include "pool/limits.h"

#include <errno.h>

#include "base/error.h"
#include "pool/flow.h"
#include "pool/worker.h"

#define SAMPLE_TIME COVEY_MSEC(2)
#define SAID_TRIES  100 /* a task that was stopped while it tells is not awaited */

struct running {
    const struct cvy_limits *limits;
    uint32_t slot;
    uint64_t at;
    uint64_t serial;
    int64_t started;
};

/* Pairs with begin() and end() of task.c. */
static bool read_line(struct cvy_pool *pool, uint32_t index, struct running *ret)
{
    struct cvy_pool_line *line = &pool->shared->lines[index];
    uint32_t batch = cvy_line_batch(line);
    if (!pool->worker[index].process || !batch)
        return false;
    const struct cvy_pool_slot *s = &pool->slots[batch - 1];
    if (s->use != CVY_SLOT_ACTIVE || !s->map->flow || !cvy_limits_any(&s->limits))
        return false;
    ret->serial = atomic_load(&line->serial);
    ret->started = atomic_load(&line->started);
    uint64_t begun = atomic_load(&line->begun);
    if (!ret->started || !begun || begun > s->n || cvy_line_batch(line) != batch ||
        atomic_load(&line->serial) != ret->serial)
        return false;
    ret->limits = &s->limits;
    ret->slot = batch - 1;
    ret->at = begun - 1;
    return true;
}

static bool is_over_memory(struct cvy_pool *pool, uint32_t index,
                           const struct running *run, int64_t now)
{
    struct cvy_pool_worker *worker = &pool->worker[index];
    uint64_t own = 0, before = atomic_load(&pool->shared->lines[index].resident);
    if (worker->sampled != run->serial)
        worker->peak = 0;
    else if (now < worker->sample)
        return false;
    worker->sampled = run->serial;
    worker->sample = now + SAMPLE_TIME;
    if (!before || cvy_os_own_memory(worker->pid, &own) < 0)
        return false;
    own = own > before ? own - before : 0;
    worker->peak = cvy_max_u64(worker->peak, own);
    return own > run->limits->memory;
}

int cvy_limits_refuse(const char *call, const struct cvy_limits *limits)
{
    if (limits->time >= 0 && limits->soft >= 0 && limits->duplicate >= 0)
        return 0;
    return cvy_fail(
        -EINVAL, "%s: `.time_limit`, `.soft_limit` or `.duplicate_after` is negative",
        call);
}

/* Returns: when it is to be looked at again. */
static int64_t check_line(struct cvy_pool *pool, uint32_t index, int64_t now)
{
    struct running run;
    int64_t due = INT64_MAX;
    if (!read_line(pool, index, &run))
        return due;
    const struct cvy_limits *limits = run.limits;
    int64_t age = now - run.started;
    enum covey_outcome outcome = COVEY_OUTCOME_NONE;
    if (limits->time && age >= limits->time)
        outcome = COVEY_OUTCOME_TIMEOUT;
    else if (limits->memory && pool->method != COVEY_THREAD &&
             is_over_memory(pool, index, &run, now))
        outcome = COVEY_OUTCOME_MEMORY;
    if (outcome) {
        (void)cvy_flow_cancel(pool, run.slot, run.at, outcome, outcome);
        return due;
    }
    if (limits->soft && age >= limits->soft)
        atomic_store(&pool->shared->lines[index].warned, run.serial);
    else if (limits->soft)
        due = cvy_later(run.started, limits->soft);
    if (limits->time)
        due = cvy_min_i64(due, cvy_later(run.started, limits->time));
    if (limits->duplicate && age >= limits->duplicate)
        cvy_duplicate_make(pool, run.slot, run.at);
    else if (limits->duplicate)
        due = cvy_min_i64(due, cvy_later(run.started, limits->duplicate));
    if (limits->memory)
        due = cvy_min_i64(due, now + SAMPLE_TIME);
    return due;
}

int64_t cvy_limits_due(const struct cvy_limits *limits, int64_t now)
{
    int64_t due = INT64_MAX;
    if (limits->time)
        due = cvy_min_i64(due, cvy_later(now, limits->time));
    if (limits->soft)
        due = cvy_min_i64(due, cvy_later(now, limits->soft));
    if (limits->duplicate)
        due = cvy_min_i64(due, cvy_later(now, limits->duplicate));
    if (limits->memory)
        due = cvy_min_i64(due, now + SAMPLE_TIME);
    return due;
}

/* A task that begins meanwhile is looked at when the first of its limits can be over. */
static int64_t next_begin(const struct cvy_pool *pool, int64_t now)
{
    int64_t due = INT64_MAX;
    for (uint32_t slot = 0; slot < CVY_POOL_BATCHES; slot++) {
        const struct cvy_pool_slot *s = &pool->slots[slot];
        if (s->use != CVY_SLOT_ACTIVE || !s->map->flow)
            continue;
        due = cvy_min_i64(due, cvy_limits_due(&s->limits, now));
    }
    return due;
}

int64_t cvy_limits_check(struct cvy_pool *pool)
{
    if (!pool->limited)
        return INT64_MAX;
    int64_t now = cvy_os_now(), due = next_begin(pool, now);
    for (uint32_t i = 0; i < pool->workers; i++)
        due = cvy_min_i64(due, check_line(pool, i, now));
    return due;
}

static bool find_line(const struct cvy_pool *pool, uint32_t slot, uint64_t at,
                      uint32_t *ret_index)
{
    for (uint32_t i = 0; i < pool->workers; i++) {
        const struct cvy_pool_line *line = &pool->shared->lines[i];
        if (pool->worker[i].process && cvy_line_batch(line) == slot + 1 &&
            atomic_load(&line->begun) == at + 1) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

/* The serial is this item's if the item still runs afterwards: the next one has another
 * before it is `begun`. */
void cvy_limits_warn(struct cvy_pool *pool, uint32_t slot, uint64_t at)
{
    uint32_t index = 0;
    if (!find_line(pool, slot, at, &index))
        return;
    struct cvy_pool_line *line = &pool->shared->lines[index];
    uint64_t serial = atomic_load(&line->serial);
    if (atomic_load(&pool->slots[slot].batch->outcomes[at]) == CVY_OUTCOME_RUNNING)
        atomic_store(&line->warned, serial);
}

/* Pairs with covey_call_progress. The line may be another item's by the time it is read:
 * then `begun` says so. */
bool cvy_limits_said(struct cvy_pool *pool, uint32_t slot, uint64_t at,
                     uint64_t *ret_done, uint64_t *ret_total)
{
    uint32_t index = 0;
    if (!find_line(pool, slot, at, &index))
        return false;
    const struct cvy_pool_line *line = &pool->shared->lines[index];
    uint64_t serial = atomic_load(&line->serial);
    for (int tries = 0; tries < SAID_TRIES; tries++) {
        uint64_t by = atomic_load(&line->said_by);
        uint64_t done = atomic_load(&line->said_done);
        uint64_t total = atomic_load(&line->said_total);
        if (by == serial && atomic_load(&line->said_by) == by) {
            *ret_done = done;
            *ret_total = total;
            return atomic_load(&line->begun) == at + 1;
        }
        cvy_os_pause();
    }
    return false;
}

void cvy_limits_end(struct cvy_pool *pool, uint32_t slot, uint64_t at)
{
    uint32_t index = 0;
    if (!find_line(pool, slot, at, &index))
        return; /* it died by itself */
    pool->worker[index].ended = true;
    (void)covey_process_kill(pool->worker[index].process);
    cvy_pool_reap_worker(pool, index);
}
