/* SPDX-License-Identifier: MIT */
/* flow.c: items of any size on their way through the pool.
 *
 *     source -> held -> filled into a batch -> (workers) -> taken -> released
 *                       `out` counts these ----------------'
 *
 * Batches have entries here (see batch.h). How many items go into one follows from what
 * they cost: about 100 us of work, one each while that is unknown. So a slow item never has
 * many others behind it, and tiny ones do not cost a slot each. There are no more items out
 * than what keeps the workers busy for a while: a source of any length is read only as fast
 * as its results are taken, and needs a bounded amount of memory.
 *
 * A batch is over when each of its items was taken. */
#include "pool/flow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "pool/limits.h"

#define BATCH_TIME   (UINT64_C(100000) * 16)   /* 1/16 ns of work */
#define WINDOW_TIME  (UINT64_C(10000000) * 16) /* per worker */
#define FILL_TIME    COVEY_USEC(200)
#define ITEMS_MOST   2048u
#define WINDOW_MOST  UINT64_C(65536)
#define WINDOW_PARTS 4u
#define BATCHES_MOST 24u
#define ARGS_BYTES   (UINT64_C(128) << 10)
#define ARGS_ALIGN   UINT64_C(64)
#define RESULT_BYTES (UINT64_C(1) << 20)
#define RESERVE      UINT64_C(64)
#define RESERVE_MOST (UINT64_C(4) << 20)
#define IN_PLACE     UINT64_C(1024) /* what is smaller is copied all the same */
#define WINDOW_BYTES (UINT64_C(64) << 20)

void cvy_flow_init(struct cvy_flow *flow, struct cvy_pool *pool, covey_task_fn *fn,
                   cvy_pull_fn *pull, void *ctx)
{
    flow->map.pool = pool;
    flow->map.flow = flow;
    flow->map.fn = fn;
    flow->map.lost_item = UINT64_MAX;
    flow->map.sum.first_failed = SIZE_MAX;
    flow->map.bounds.deadline = INT64_MAX;
    flow->pull = pull;
    flow->ctx = ctx;
    flow->ended = 1;
    flow->next_look = INT64_MAX;
    (void)pthread_mutex_lock(&pool->lock);
    cvy_flow_set_fn(flow, fn);
    (void)pthread_mutex_unlock(&pool->lock);
}

void cvy_flow_set_fn(struct cvy_flow *flow, covey_task_fn *fn)
{
    const struct cvy_cost *cost = cvy_pool_cost(flow->map.pool, fn);
    flow->map.fn = fn;
    flow->cost = cost->cost;
    flow->reserve = cvy_max_u64(cost->reserve, RESERVE);
}

/* ---- sizes ---- */

static uint64_t window_items(const struct cvy_flow *flow)
{
    uint64_t workers = flow->map.pool->target, items = 0;
    if (flow->window)
        return flow->window;
    if (flow->cost)
        items = cvy_min_u64(workers * WINDOW_TIME / flow->cost, WINDOW_MOST);
    return cvy_max_u64(items, 2 * workers + 2);
}

static uint64_t batch_items(const struct cvy_flow *flow)
{
    uint64_t items = flow->cost ? BATCH_TIME / flow->cost : 1;
    items = cvy_max_u64(items, cvy_max_u64(flow->map.chunk, 1));
    if (flow->batches && flow->cost)
        items = cvy_max_u64(items, window_items(flow) / flow->batches);
    items = cvy_min_u64(items, cvy_max_u64(RESULT_BYTES / flow->reserve, 1));
    if (flow->window) { /* parts of it, so that not all is fetched before there is more */
        uint64_t part = cvy_max_u64(flow->window / WINDOW_PARTS, flow->map.chunk);
        items = cvy_min_u64(items, cvy_min_u64(cvy_max_u64(part, 1), flow->window));
    }
    return cvy_min_u64(items, ITEMS_MOST);
}

/* A window that was wished for is kept; it has room when that is worth a batch. */
static bool has_window(const struct cvy_flow *flow)
{
    return flow->window ? flow->out + batch_items(flow) <= flow->window
                        : flow->out < window_items(flow);
}

static bool has_bytes(const struct cvy_flow *flow)
{
    uint64_t wished = flow->window_bytes;
    return wished ? flow->bytes + wished / WINDOW_PARTS <= wished
                  : flow->bytes < WINDOW_BYTES;
}

static bool has_room(const struct cvy_flow *flow)
{
    return !flow->order_count ||
           (flow->order_count < (flow->batches ? flow->batches : BATCHES_MOST) &&
            has_window(flow) && has_bytes(flow));
}

/* How much memory a batch may take. A single item that is large may have what is left of the
 * window, and if it is alone, any amount. */
static uint64_t most_bytes(const struct cvy_flow *flow, uint64_t items)
{
    if (!flow->window_bytes || (items == 1 && !flow->order_count))
        return UINT64_MAX;
    return items == 1 ? flow->window_bytes - flow->bytes
                      : flow->window_bytes / WINDOW_PARTS;
}

static bool is_in_place(const struct covey_view *part)
{
    return part->size >= IN_PLACE && cvy_is_in_region(part->data, part->size);
}

static uint64_t tuple_head(uint32_t width)
{
    return cvy_round_up((1 + 2 * (uint64_t)width) * sizeof(uint64_t), 16);
}

static uint64_t item_bytes(const struct cvy_flow *flow)
{
    const struct covey_view *parts = flow->held.parts;
    if (!flow->width)
        return is_in_place(parts) ? 0 : cvy_round_up(parts->size, 16);
    uint64_t bytes = tuple_head(flow->width);
    for (uint32_t i = 0; i < flow->width; i++)
        bytes += cvy_round_up(parts[i].size, 16);
    return bytes;
}

/* As an element of an array is: see covey_call_arg. What is in place is as it is. */
static uint64_t item_alignment(const struct cvy_flow *flow)
{
    uint64_t size = flow->width ? 0 : flow->held.parts->size;
    return cvy_min_u64(cvy_max_u64(size & -size, 16), ARGS_ALIGN);
}

/* ---- filling ---- */

/* Whether there is an item to be filled in. */
static bool hold_item(struct cvy_flow *flow)
{
    if (flow->has_held || flow->ended != 1)
        return flow->has_held;
    flow->held.deadline = INT64_MAX;
    int r = flow->pull(flow->ctx, &flow->held);
    if (r < 0)
        flow->ended = r;
    flow->has_held = r > 0;
    return flow->has_held;
}

static void put_tuple(const struct cvy_flow *flow, char *to)
{
    uint64_t *head = (uint64_t *)(void *)to;
    uint64_t at = tuple_head(flow->width);
    head[0] = flow->width;
    for (uint32_t i = 0; i < flow->width; i++) {
        const struct covey_view *part = &flow->held.parts[i];
        head[1 + 2 * i] = at;
        head[2 + 2 * i] = part->size;
        if (part->size)
            memcpy(to + at, part->data, part->size);
        at += cvy_round_up(part->size, 16);
    }
}

static void put_item(struct cvy_flow *flow, struct cvy_entry *entry, char *to,
                     uint64_t bytes)
{
    const struct covey_view *part = flow->held.parts;
    *entry = (struct cvy_entry){.arg = cvy_distance(to), .arg_size = bytes};
    if (flow->width) {
        put_tuple(flow, to);
    } else {
        entry->arg_size = part->size;
        if (is_in_place(part))
            entry->arg = cvy_distance(part->data);
        else if (part->size)
            memcpy(to, part->data, part->size);
    }
    flow->tally.in += entry->arg_size;
}

static uint32_t next_fault(struct cvy_pool *pool)
{
    const struct covey_pool_faults *faults = &pool->faults;
    if (!(faults->die_at | faults->hang_at | faults->memory_at))
        return CVY_FAULT_NONE;
    uint64_t number = atomic_fetch_add(&pool->begun_items, 1) + 1;
    if (number == faults->die_at)
        return CVY_FAULT_DIE;
    if (number == faults->hang_at)
        return CVY_FAULT_HANG;
    return number == faults->memory_at ? CVY_FAULT_MEMORY : CVY_FAULT_NONE;
}

static void set_head(const struct cvy_flow *flow, struct cvy_pool_slot *s,
                     uint32_t room, bool dated, uint64_t results)
{
    struct cvy_batch *batch = s->batch;
    cvy_batch_reset(&flow->map, s, flow->map.next);
    batch->flags |= CVY_BATCH_TASKS | (flow->width ? CVY_BATCH_TUPLES : 0);
    s->limits = flow->limits;
    if (dated || flow->limits.time) {
        batch->flags |= CVY_BATCH_BOUND | (dated ? CVY_BATCH_DATED : 0);
        batch->bounds = flow->map.bounds;
        batch->bounds.time = flow->limits.time;
    }
    if (s->n == 1 || cvy_limits_any(&flow->limits) || flow->map.pool->trace ||
        flow->map.pool->measures)
        batch->flags |= CVY_BATCH_TIMED;
    batch->room = room;
    batch->reserve = (uint32_t)flow->reserve;
    batch->memory = flow->limits.memory;
    batch->in = batch->in_size = 0;
    batch->out = s->run.ref + results;
    batch->out_size = 0;
    atomic_store(&batch->cursor, 0);
}

/* As many items as there are, and as fit; fewer if the source takes its time. */
static void fill(struct cvy_flow *flow, uint32_t slot, bool dated, uint64_t args,
                 uint64_t results)
{
    struct cvy_pool *pool = flow->map.pool;
    struct cvy_pool_slot *s = &pool->slots[slot];
    struct cvy_entry *entries = cvy_batch_entries(s->batch, (uint32_t)s->n);
    char *base = (char *)s->batch;
    int64_t *deadlines = dated ? cvy_batch_deadlines(s->batch, (uint32_t)s->n) : NULL;
    uint64_t at = args, n = 0, room = s->n;
    flow->is_filling = true;
    int64_t until = room > 1 ? cvy_os_now() + FILL_TIME : 0;
    while (n < room && hold_item(flow)) {
        uint64_t bytes = item_bytes(flow);
        at = cvy_round_up(at, item_alignment(flow));
        if (bytes > results - at || (flow->held.deadline != INT64_MAX && !dated))
            break;
        put_item(flow, &entries[n], base + at, bytes);
        if (dated)
            deadlines[n] = flow->held.deadline;
        entries[n].fault = next_fault(pool);
        pool->rooms[slot].cookies[n] = flow->held.cookie;
        flow->has_held = false;
        at += bytes;
        n++;
        if (n < room && cvy_os_now() > until)
            break;
    }
    flow->is_filling = false;
    s->n = n;
    set_head(flow, s, (uint32_t)room, dated, results);
}

/* Where the parts of a batch begin, from its start. */
struct parts {
    uint64_t args, results;
};

/* A slot for so many items, the first of which is held; locked. */
static int take_slot(struct cvy_flow *flow, uint64_t items, bool dated,
                     struct parts *ret_parts, uint32_t *ret_slot)
{
    uint64_t first = item_bytes(flow), most = cvy_max_u64(ARGS_BYTES, first);
    uint64_t args = cvy_round_up(sizeof(struct cvy_batch) + items, 64) +
                    items * (sizeof(struct cvy_entry) + (dated ? sizeof(int64_t) : 0));
    args = cvy_round_up(args, ARGS_ALIGN);
    uint64_t results = cvy_round_up(
        args + cvy_min_u64(cvy_max_u64(first, 16) * items, most), ARGS_ALIGN);
    *ret_parts = (struct parts){args, results};
    return cvy_pool_slot_take_bytes(flow->map.pool, &flow->map, items,
                                    results + items * flow->reserve,
                                    most_bytes(flow, items), ret_slot);
}

/* Returns: 1; 0 when it has to wait; -ENOMEM, with the detail: there is no memory for the
 * item that is held, alone in the pool. */
static int add_batch(struct cvy_flow *flow)
{
    struct cvy_map *map = &flow->map;
    struct cvy_pool *pool = map->pool;
    struct parts parts;
    uint32_t slot = 0;
    flow->is_starved = false;
    if (!hold_item(flow))
        return 0;
    bool dated = flow->held.deadline != INT64_MAX;
    uint64_t items = batch_items(flow);
    (void)pthread_mutex_lock(&pool->lock);
    int r = take_slot(flow, items, dated, &parts, &slot);
    while (items > 1 && (r == -E2BIG || (r == -ENOMEM && !map->mine))) {
        items = (items + 1) / 2;
        r = take_slot(flow, items, dated, &parts, &slot);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    if (r < 0) {
        flow->is_starved = r == -EAGAIN;
        return map->mine || r == -EAGAIN ? 0 : r;
    }
    fill(flow, slot, dated, parts.args, parts.results);
    flow->order[flow->order_count++] = (uint8_t)slot;
    flow->quiet_since = 0;
    flow->out += pool->slots[slot].n;
    flow->bytes += pool->slots[slot].run.bytes;
    map->next += pool->slots[slot].n;
    map->mine |= UINT64_C(1) << slot;
    (void)pthread_mutex_lock(&pool->lock);
    int64_t due = cvy_affinity_mark(flow, slot);
    cvy_pool_slot_publish(pool, slot);
    (void)pthread_mutex_unlock(&pool->lock);
    if (cvy_unlikely(cvy_limits_any(&flow->limits)))
        due = cvy_min_i64(due, cvy_limits_due(&flow->limits, cvy_os_now()));
    if (cvy_unlikely(due != INT64_MAX) && flow->is_read)
        cvy_loop_look_by(pool, due); /* else who drives it looks by itself */
    return 1;
}

static void count_tally(struct cvy_flow *flow)
{
    struct cvy_pool_counts *counts = &flow->map.pool->shared->counts;
    if (flow->tally.done | flow->tally.in) {
        cvy_count(&counts->done, flow->tally.done);
        cvy_count(&counts->failed, flow->tally.failed);
        cvy_count(&counts->bytes_in, flow->tally.in);
        cvy_count(&counts->bytes_out, flow->tally.out);
    }
    memset(&flow->tally, 0, sizeof flow->tally);
}

int cvy_flow_feed(struct cvy_flow *flow)
{
    int added = 0, r = 0;
    while (!flow->map.give_up && has_room(flow)) {
        r = add_batch(flow);
        if (r <= 0)
            break;
        added++;
    }
    count_tally(flow);
    return r < 0 ? r : added;
}

void cvy_flow_refuse(struct cvy_flow *flow, int code, struct cvy_done *ret_done)
{
    *ret_done = (struct cvy_done){.item = flow->map.next++,
                                  .cookie = flow->held.cookie,
                                  .outcome = COVEY_OUTCOME_CANCELLED,
                                  .code = code,
                                  .text = ret_done->buffer};
    (void)snprintf(ret_done->buffer, sizeof ret_done->buffer, "%.250s",
                   covey_error_detail());
    flow->has_held = false;
}

/* ---- taking ---- */

const char *cvy_outcome_text(uint8_t outcome)
{
    switch (outcome) {
    case COVEY_OUTCOME_TIMEOUT:
        return "it ran longer than it may";
    case COVEY_OUTCOME_CANCELLED:
        return "it was cancelled before it was done";
    case COVEY_OUTCOME_CRASHED:
        return "its worker died";
    case COVEY_OUTCOME_MEMORY:
        return "it took more memory than it may";
    case COVEY_OUTCOME_LOST:
        return "nobody is left to run it";
    default:
        return "";
    }
}

int cvy_outcome_code(uint8_t outcome)
{
    static const int codes[] = {
        [COVEY_OUTCOME_OK] = 0,
        [COVEY_OUTCOME_ERROR] = COVEY_EREMOTE,
        [COVEY_OUTCOME_TIMEOUT] = -ETIMEDOUT,
        [COVEY_OUTCOME_CANCELLED] = -ECANCELED,
        [COVEY_OUTCOME_CRASHED] = COVEY_ECRASHED,
        [COVEY_OUTCOME_MEMORY] = -ENOMEM,
        [COVEY_OUTCOME_LOST] = COVEY_EBROKEN,
    };
    return outcome < CVY_ARRAY_SIZE(codes) ? codes[outcome] : COVEY_EREMOTE;
}

static void tell_cause(struct cvy_pool *pool, struct cvy_done *done)
{
    (void)pthread_mutex_lock(&pool->lock);
    (void)snprintf(done->buffer, sizeof done->buffer, "workers keep dying: %.230s",
                   pool->cause);
    (void)pthread_mutex_unlock(&pool->lock);
    done->text = done->buffer;
}

static void tell_text(struct cvy_pool *pool, const struct cvy_entry *entry,
                      struct cvy_done *done)
{
    done->text = cvy_outcome_text(done->outcome);
    if (done->outcome == COVEY_OUTCOME_LOST)
        tell_cause(pool, done);
    if (done->attempt.text && done->outcome == COVEY_OUTCOME_CRASHED)
        done->text = done->attempt.text;
    if (done->outcome != COVEY_OUTCOME_ERROR)
        return;
    size_t size = cvy_min_size((size_t)entry->result_size, sizeof done->buffer - 1);
    if (size) {
        memcpy(done->buffer, cvy_pool_address(entry->result), size);
        done->buffer[size] = 0;
    } else {
        (void)snprintf(done->buffer, sizeof done->buffer, "the task returned %s (%s)",
                       covey_error_name(entry->code), covey_strerror(entry->code));
    }
    done->text = done->buffer;
}

/* Where functions change from batch to batch the pool's notes are kept by each. */
static void learn(struct cvy_flow *flow, covey_task_fn *fn, const struct cvy_done *done)
{
    struct cvy_cost *known = cvy_pool_cost(flow->map.pool, fn);
    if (done->result.size > cvy_max_u64(known->reserve, RESERVE) &&
        done->result.size <= RESERVE_MOST)
        known->reserve = (uint32_t)cvy_min_u64(
            cvy_round_up(done->result.size + done->result.size / 4, 64), RESERVE_MOST);
    if (done->ended > done->started && done->started) {
        uint64_t time = (uint64_t)(done->ended - done->started);
        uint64_t cost = cvy_min_u64(cvy_max_u64(time, 1) * 16, UINT32_MAX);
        known->cost =
            (uint32_t)(known->cost ? (3 * (uint64_t)known->cost + cost) / 4 : cost);
    }
    if (fn == flow->map.fn) {
        flow->cost = known->cost;
        flow->reserve = cvy_max_u64(known->reserve, RESERVE);
    }
}

static uint64_t peak_of(struct cvy_pool *pool, uint32_t line)
{
    (void)pthread_mutex_lock(&pool->lock);
    uint64_t peak = line && line <= pool->workers ? pool->worker[line - 1].peak : 0;
    (void)pthread_mutex_unlock(&pool->lock);
    return peak;
}

static uint32_t bucket_of(int64_t time)
{
    uint64_t usec = time > 0 ? (uint64_t)time / 1000 : 0;
    uint32_t bits = usec ? 64 - (uint32_t)__builtin_clzll(usec) : 0;
    return bits < COVEY_HISTOGRAM_SIZE ? bits : COVEY_HISTOGRAM_SIZE - 1;
}

static void count_time(struct cvy_flow *flow, enum covey_pool_time which, int64_t time)
{
    cvy_count(&flow->map.pool->shared->times.counts[which][bucket_of(time)], 1);
}

static void count_times(struct cvy_flow *flow, const struct cvy_done *done)
{
    int64_t now = cvy_os_now();
    if (done->cookie.given)
        count_time(flow, COVEY_TIME_WAIT, done->started - done->cookie.given);
    count_time(flow, COVEY_TIME_RUN, (done->ended ? done->ended : now) - done->started);
    if (done->ended)
        count_time(flow, COVEY_TIME_FETCH, now - done->ended);
}

static void describe(struct cvy_flow *flow, uint32_t slot, uint64_t at,
                     struct cvy_done *done)
{
    struct cvy_pool *pool = flow->map.pool;
    struct cvy_batch *batch = pool->slots[slot].batch;
    uint8_t outcome = atomic_load_explicit(&batch->outcomes[at], memory_order_relaxed);
    const struct cvy_entry *entry = &cvy_batch_entries(batch, batch->room)[at];
    bool timed = batch->flags & CVY_BATCH_TIMED;
    done->slot = slot;
    done->at = at;
    done->item = batch->base + at;
    done->cookie = pool->rooms[slot].cookies[at];
    done->outcome = outcome & CVY_OUTCOME_MASK;
    done->code = cvy_outcome_code(done->outcome);
    done->result = COVEY_NO_VIEW;
    done->attempt = (struct cvy_pool_attempts){0};
    done->text = "";
    done->line = entry->line;
    done->pid = entry->pid;
    done->more_runs = 0;
    done->peak = batch->memory ? peak_of(pool, entry->line) : 0;
    done->started = timed ? entry->started : 0;
    done->ended = timed ? entry->ended : 0;
    if (cvy_unlikely(flow->map.attempt_count)) {
        (void)pthread_mutex_lock(&pool->lock);
        done->attempt = cvy_pool_take_attempt(&flow->map, done->item);
        (void)pthread_mutex_unlock(&pool->lock);
    }
    if (cvy_likely(outcome == COVEY_OUTCOME_OK)) {
        if (entry->result_size)
            done->result =
                COVEY_VIEW(cvy_pool_address(entry->result), entry->result_size);
    } else {
        tell_text(pool, entry, done);
        flow->tally.failed++;
    }
    flow->tally.done++;
    flow->tally.out += done->result.size;
    if (done->started)
        count_times(flow, done);
    if (cvy_unlikely(done->result.size > flow->reserve || done->started)) {
        (void)pthread_mutex_lock(&pool->lock);
        learn(flow, pool->slots[slot].fn, done);
        (void)pthread_mutex_unlock(&pool->lock);
    }
}

/* The first item in `begin`..`end` that is finished and not taken, or `end`. */
static uint64_t find_between(const struct cvy_flow *flow, uint32_t slot, uint64_t begin,
                             uint64_t end)
{
    const struct cvy_batch *batch = flow->map.pool->slots[slot].batch;
    const uint8_t *marks = flow->map.pool->rooms[slot].marks;
    while (begin < end &&
           (marks[begin] || !cvy_outcome_is_final(atomic_load_explicit(
                                &batch->outcomes[begin], memory_order_acquire))))
        begin++;
    return begin;
}

/* A finished item of the batch that was not taken; of an ordered flow the next one. Who hears
 * that there is none sleeps, so the items that the last search has passed are looked at, too. */
static bool find_done(struct cvy_flow *flow, uint32_t slot, uint64_t *ret_at)
{
    struct cvy_pool_slot *s = &flow->map.pool->slots[slot];
    const uint8_t *marks = flow->map.pool->rooms[slot].marks;
    uint64_t end = s->n;
    if (flow->ordered) {
        s->scan = s->prefix = s->taken;
        end = cvy_min_u64(s->taken + 1, s->n);
    }
    uint64_t at = find_between(flow, slot, s->scan, end);
    if (at == end) {
        while (s->prefix < end && marks[s->prefix])
            s->prefix++;
        end = cvy_max_u64(s->scan, s->prefix);
        at = find_between(flow, slot, s->prefix, end);
    }
    s->scan = at < end ? at + 1 : s->prefix;
    *ret_at = at;
    return at < end;
}

bool cvy_flow_take(struct cvy_flow *flow, struct cvy_done *ret_done)
{
    struct cvy_pool *pool = flow->map.pool;
    uint32_t batches = flow->ordered ? flow->order_count > 0 : flow->order_count;
    for (uint32_t b = 0; b < batches; b++) {
        uint64_t at = 0;
        uint32_t slot = flow->order[b];
        if (!find_done(flow, slot, &at))
            continue;
        describe(flow, slot, at, ret_done);
        flow->quiet_since = 0;
        pool->rooms[slot].marks[at] = 1;
        pool->slots[slot].taken++;
        if (pool->trace) {
            (void)pthread_mutex_lock(&pool->lock);
            cvy_trace_add(pool, ret_done);
            (void)pthread_mutex_unlock(&pool->lock);
        }
        return true;
    }
    return false;
}

/* A worker tells of what it has finished when it leaves a batch, and between items if it has
 * not done so lately, but not while one of them takes long. So who waits for the others looks
 * by himself, and waits each time as long as he has waited already. */
int64_t cvy_flow_plan_look(struct cvy_flow *flow)
{
    int64_t now = cvy_os_now(), next = INT64_MAX;
    if (!flow->quiet_since)
        flow->quiet_since = now;
    uint32_t batches = flow->ordered ? flow->order_count > 0 : flow->order_count;
    for (uint32_t b = 0; b < batches; b++) {
        const struct cvy_pool_slot *s = &flow->map.pool->slots[flow->order[b]];
        if (s->n - s->taken > 1)
            next = now + cvy_max_i64(now - flow->quiet_since, CVY_RING_EVERY);
    }
    atomic_store(&flow->next_look, next);
    return next;
}

static void retire(struct cvy_flow *flow, uint32_t slot)
{
    struct cvy_pool *pool = flow->map.pool;
    struct cvy_pool_slot *s = &pool->slots[slot];
    uint32_t b = 0;
    uint64_t cost = atomic_load_explicit(&s->batch->measured, memory_order_relaxed);
    if (cost && s->fn == flow->map.fn)
        flow->cost = cost;
    while (flow->order[b] != slot)
        b++;
    flow->order_count--;
    memmove(&flow->order[b], &flow->order[b + 1], flow->order_count - b);
    flow->bytes -= s->run.bytes;
    flow->map.mine &= ~(UINT64_C(1) << slot);
    (void)pthread_mutex_lock(&pool->lock);
    cvy_pool_slot_retire(pool, slot);
    (void)pthread_mutex_unlock(&pool->lock);
}

void cvy_flow_uncount(struct cvy_flow *flow, const struct cvy_done *done)
{
    flow->tally.done--;
    flow->tally.failed -= done->outcome != COVEY_OUTCOME_OK;
}

void cvy_flow_release(struct cvy_flow *flow, struct cvy_done *done)
{
    const struct cvy_pool_slot *s = &flow->map.pool->slots[done->slot];
    cvy_pool_drop_result(s, done->at);
    cvy_pool_free_attempt(&done->attempt);
    flow->out--;
    if (s->taken == s->n)
        retire(flow, done->slot);
}

bool cvy_flow_is_over(const struct cvy_flow *flow)
{
    return flow->ended != 1 && !flow->has_held && !flow->out;
}

/* ---- ending ---- */

bool cvy_flow_cancel(struct cvy_pool *pool, uint32_t slot, uint64_t at,
                     enum covey_outcome outcome, enum covey_outcome running)
{
    _Atomic uint8_t *word = &pool->slots[slot].batch->outcomes[at];
    uint8_t none = COVEY_OUTCOME_NONE, runs = CVY_OUTCOME_RUNNING;
    if (atomic_compare_exchange_strong(word, &none, (uint8_t)outcome))
        return true;
    if (none != CVY_OUTCOME_RUNNING)
        return false;
    cvy_limits_warn(pool, slot, at);
    if (running && pool->method != COVEY_THREAD &&
        atomic_compare_exchange_strong(word, &runs, (uint8_t)running))
        cvy_limits_end(pool, slot, at);
    return true;
}

void cvy_flow_finish_out(struct cvy_flow *flow, enum covey_outcome outcome,
                         enum covey_outcome running)
{
    struct cvy_pool *pool = flow->map.pool;
    (void)pthread_mutex_lock(&pool->lock);
    for (uint32_t b = 0; b < flow->order_count; b++) {
        struct cvy_pool_slot *s = &pool->slots[flow->order[b]];
        cvy_pool_cancel(pool, flow->order[b]);
        for (uint64_t i = 0; i < s->n; i++)
            (void)cvy_flow_cancel(pool, flow->order[b], i, outcome, running);
    }
    (void)cvy_pool_start_workers(pool);
    (void)pthread_mutex_unlock(&pool->lock);
}

void cvy_flow_stop(struct cvy_flow *flow, enum covey_outcome outcome,
                   enum covey_outcome running)
{
    flow->has_held = false;
    if (flow->ended == 1)
        flow->ended = COVEY_EEND;
    cvy_flow_finish_out(flow, outcome, running);
}

void cvy_flow_free(struct cvy_flow *flow)
{
    count_tally(flow);
}
