/* SPDX-License-Identifier: MIT */
/* map.c: one map.
 *
 *     fill -> publish -> (workers) -> collect -> fill ...
 *
 * The items travel in batches of about half a MiB, several at a time: large arrays pass
 * through memory that stays in the caches, and a map needs no more of the region than
 * that. A batch is finished when all its outcomes are set; nothing else says so.
 * Arrays that lie in the region, or in a pool of threads, are not copied, but for arguments
 * that are overwritten by results and may be wanted again.
 *
 * Maps with limits per item, and all maps of a pool with a trace, are flows instead. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "pool/flow.h"
#include "region/member.h"
#include "region/object.h"
#include "region/wait.h"

#define BATCH_BYTES   (UINT64_C(512) << 10)
#define FIRST_BYTES   (UINT64_C(128) << 10)
#define BATCHES_MOST  24u
#define PROGRESS_STEP COVEY_MSEC(50)
#define LEAVE_TIME    COVEY_MSEC(2)
#define PAST_CACHES   (UINT64_C(4) << 20)

static const char call[] = "covey_pool_map";

/* ---- filling ---- */

static void fill(const struct cvy_map *map, struct cvy_pool_slot *s, uint64_t base)
{
    struct cvy_batch *batch = s->batch;
    struct cvy_batch_parts parts = cvy_pool_parts(map, s->n);
    const char *in = map->in ? map->in + base * map->in_size : NULL;
    cvy_batch_reset(map, s, base);
    batch->in_size = map->in_size;
    batch->out_size = map->out_size;
    batch->in = map->copy_in ? s->run.ref + parts.in : cvy_distance(in);
    batch->out = map->copy_out
                     ? s->run.ref + parts.out
                     : cvy_distance(map->out ? map->out + base * map->out_size : NULL);
    batch->flags |= map->copy_out ? CVY_BATCH_COPIES : 0;
    if (map->copy_in && in)
        memcpy((char *)batch + parts.in, in, s->n * map->in_size);
    atomic_store(&batch->cursor, 0);
}

/* Copied items come in small batches at first, so that workers begin soon, and in the end, so
 * that little is left to be copied when the last one is finished. */
static uint64_t next_batch_items(const struct cvy_map *map)
{
    uint64_t left = map->n - map->next, items = map->batch_items;
    if (map->copy_in || map->copy_out) {
        uint64_t fair = cvy_min_u64(map->next, left / 2) + map->first_items;
        items = cvy_min_u64(items, cvy_max_u64(fair, map->chunk));
    }
    return cvy_min_u64(items, left);
}

/* One batch more. Returns: 1; 0 when it must wait for others; -ENOMEM. */
static int add_batch(struct cvy_map *map)
{
    struct cvy_pool *pool = map->pool;
    uint32_t slot = 0;
    uint64_t items = next_batch_items(map);
    (void)pthread_mutex_lock(&pool->lock);
    int r = cvy_pool_slot_take(pool, map, items, &slot);
    while (r == -ENOMEM && !map->mine && items > 1) {
        items = map->batch_items = (items + 1) / 2;
        r = cvy_pool_slot_take(pool, map, items, &slot);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    map->is_starved = r == -EAGAIN && !map->mine;
    if (r < 0)
        return map->mine || r == -EAGAIN ? 0 : r;
    fill(map, &pool->slots[slot], map->next);
    (void)pthread_mutex_lock(&pool->lock);
    cvy_pool_slot_publish(pool, slot);
    (void)pthread_mutex_unlock(&pool->lock);
    map->mine |= UINT64_C(1) << slot;
    map->next += items;
    return 1;
}

/* ---- collecting ---- */

/* Move on over items that are finished. */
static bool is_finished(struct cvy_pool_slot *s)
{
    _Atomic uint8_t *outcomes = s->batch->outcomes;
    const _Atomic uint64_t *eights =
        (const void *)((const char *)s->batch + sizeof *s->batch);
    uint64_t i = s->prefix;
    for (;;) {
        while (CVY_WORDS_SHOW_BYTES && i % 8 == 0 && s->n - i >= 8) {
            uint64_t eight = atomic_load_explicit(&eights[i / 8], memory_order_acquire);
            if (eight != UINT64_C(0x0101010101010101) * COVEY_OUTCOME_OK)
                break;
            i += 8;
        }
        uint8_t one =
            i < s->n ? atomic_load_explicit(&outcomes[i], memory_order_acquire) : 0;
        if (!one)
            break;
        s->all_ok = s->all_ok && one == COVEY_OUTCOME_OK;
        i++;
    }
    s->prefix = i;
    return i == s->n;
}

static void note_first_failure(struct cvy_map *map, const struct cvy_batch *batch,
                               uint64_t i, uint8_t outcome)
{
    if (batch->base + i >= map->sum.first_failed)
        return;
    map->sum.first_failed = batch->base + i;
    map->first_outcome = outcome;
    map->first_text[0] = 0;
    if (atomic_load(&batch->text_item) != i + 1)
        return;
    if (batch->text[0])
        memcpy(map->first_text, batch->text, sizeof map->first_text);
    else
        (void)snprintf(map->first_text, sizeof map->first_text,
                       "the task returned %s (%s)", covey_error_name(batch->text_code),
                       covey_strerror(batch->text_code));
}

static void collect_failures(struct cvy_map *map, const struct cvy_pool_slot *s)
{
    const struct cvy_batch *batch = s->batch;
    for (uint64_t i = 0; i < s->n; i++) {
        uint8_t outcome =
            atomic_load_explicit(&batch->outcomes[i], memory_order_relaxed);
        if (map->outcomes)
            map->outcomes[batch->base + i] = outcome & CVY_OUTCOME_MASK;
        if (outcome == COVEY_OUTCOME_OK)
            continue;
        map->sum.failed++;
        note_first_failure(map, batch, i, outcome);
        if (map->out_size)
            memset(map->out + (batch->base + i) * map->out_size, 0, map->out_size);
    }
}

/* What a map gives in all decides: results that fit into the caches are soon read there. */
static void copy_out(const struct cvy_map *map, const struct cvy_pool_slot *s)
{
    char *to = map->out + s->batch->base * map->out_size;
    const char *from = (const char *)s->batch + cvy_pool_parts(map, s->n).out;
    if (map->n * map->out_size < PAST_CACHES)
        memcpy(to, from, s->n * map->out_size);
    else
        cvy_os_copy_past_caches(to, from, s->n * map->out_size);
}

static void collect(struct cvy_map *map, uint32_t slot)
{
    struct cvy_pool *pool = map->pool;
    struct cvy_pool_slot *s = &pool->slots[slot];
    const struct cvy_batch *batch = s->batch;
    if (map->copy_out)
        copy_out(map, s);
    if (!s->all_ok)
        collect_failures(map, s);
    else if (map->outcomes)
        memset(map->outcomes + batch->base, COVEY_OUTCOME_OK, s->n);
    map->done += s->n;
    map->mine &= ~(UINT64_C(1) << slot);
    (void)pthread_mutex_lock(&pool->lock);
    cvy_pool_slot_retire(pool, slot);
    (void)pthread_mutex_unlock(&pool->lock);
}

/* Returns: whether a batch was finished. */
static bool collect_finished(struct cvy_map *map)
{
    bool any = false;
    for (uint64_t mine = map->mine; mine; mine &= mine - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(mine);
        if (!is_finished(&map->pool->slots[slot]))
            continue;
        collect(map, slot);
        any = true;
    }
    return any;
}

/* Batches as many as may be. When one was finished meanwhile it is collected first, so
 * that memory that was just used is used again, and that is all until the next call: there
 * are other things to look at. Returns: 1 if a batch was collected; 0; -ENOMEM. */
static int feed(struct cvy_map *map)
{
    bool collected = collect_finished(map), enough = false;
    while (!enough && map->next < map->n &&
           (uint32_t)__builtin_popcountll(map->mine) < map->batch_limit) {
        int r = add_batch(map);
        if (r <= 0)
            return r < 0 ? r : collected;
        enough = collect_finished(map);
        collected = collected || enough;
    }
    return collected;
}

/* ---- ending early ---- */

/* Whether tasks use the caller's arrays, which are his again when the map ends. */
static bool is_in_place(const struct cvy_map *map)
{
    return (map->in_size && !map->copy_in) || (map->out_size && !map->copy_out);
}

/* What runs may end by itself so long; if it was only asked to end, as long as it may run. */
static int64_t patience(const struct cvy_map *map)
{
    int64_t until = cvy_os_deadline(LEAVE_TIME);
    bool asked = cvy_bounds_canceled(&map->bounds);
    return asked ? cvy_max_i64(until, map->bounds.deadline) : until;
}

/* Collect all as it is; what is not finished gets `outcome`. */
static void stop(struct cvy_map *map, enum covey_outcome outcome)
{
    struct cvy_pool *pool = map->pool;
    (void)pthread_mutex_lock(&pool->lock);
    for (uint64_t mine = map->mine; mine; mine &= mine - 1)
        cvy_pool_cancel(pool, (uint32_t)__builtin_ctzll(mine));
    (void)pthread_mutex_unlock(&pool->lock);
    if (map->mine && (!map->give_up || is_in_place(map)))
        cvy_map_end_running(map, patience(map));
    for (uint64_t mine = map->mine; mine; mine &= mine - 1) {
        struct cvy_pool_slot *s = &pool->slots[__builtin_ctzll(mine)];
        for (uint64_t i = s->prefix; i < s->n; i++) {
            uint8_t none = COVEY_OUTCOME_NONE;
            (void)atomic_compare_exchange_strong(&s->batch->outcomes[i], &none,
                                                 (uint8_t)outcome);
        }
    }
    (void)collect_finished(map);
    if (map->next < map->n) {
        map->sum.failed += map->n - map->next;
        if (map->outcomes)
            memset(map->outcomes + map->next, (int)outcome, map->n - map->next);
        if (map->out_size)
            memset(map->out + map->next * map->out_size, 0,
                   (map->n - map->next) * map->out_size);
        if (map->next < map->sum.first_failed) {
            map->sum.first_failed = map->next;
            map->first_outcome = (uint8_t)outcome;
            map->first_text[0] = 0;
        }
    }
}

/* ---- a map as a whole ---- */

struct progress {
    covey_progress_fn *fn;
    void *ctx;
    int64_t next;
};

static uint64_t count_done(const struct cvy_map *map)
{
    uint64_t done = map->done;
    for (uint64_t mine = map->mine; mine; mine &= mine - 1) {
        const struct cvy_pool_slot *s = &map->pool->slots[__builtin_ctzll(mine)];
        uint64_t claimed = cvy_min_u64(atomic_load(&s->batch->cursor), s->n);
        done += s->prefix;
        for (uint64_t i = s->prefix; i < claimed; i++)
            done +=
                atomic_load_explicit(&s->batch->outcomes[i], memory_order_relaxed) != 0;
    }
    return done;
}

/* Returns: when it has to be called again. */
static int64_t show_progress(const struct cvy_map *map, struct progress *progress)
{
    if (!progress->fn)
        return INT64_MAX;
    int64_t now = cvy_os_now();
    if (now >= progress->next) {
        progress->next = now + PROGRESS_STEP;
        progress->fn(progress->ctx, count_done(map), map->n);
    }
    return progress->next;
}

static int run(struct cvy_map *map, struct progress *progress)
{
    struct cvy_pool *pool = map->pool;
    const int64_t deadline = map->bounds.deadline;
    cvy_word *word = &pool->shared->rings[map->index].word;
    bool slice = false;
    for (;;) {
        uint32_t gong = cvy_gong(), seen = atomic_load(word);
        if (cvy_bounds_canceled(&map->bounds)) {
            stop(map, COVEY_OUTCOME_CANCELLED);
            return 0;
        }
        int r = feed(map);
        if (r < 0) {
            stop(map, COVEY_OUTCOME_CANCELLED); /* what there was no memory for */
            return r;
        }
        if (!map->mine && map->next == map->n)
            return 0;
        if (r == 0)
            cvy_map_look_after(map, slice);
        else
            cvy_map_look_meanwhile(map);
        if (map->give_up) {
            stop(map, pool->closing ? COVEY_OUTCOME_CANCELLED : COVEY_OUTCOME_LOST);
            return 0;
        }
        int64_t until = cvy_min_i64(deadline, show_progress(map, progress));
        if (deadline != INT64_MAX && cvy_os_now() >= deadline) {
            stop(map, COVEY_OUTCOME_CANCELLED);
            return 0;
        }
        if (map->is_starved)
            until = cvy_iterators_make_room(pool, until);
        slice = r == 0 && cvy_map_wait(map, seen, gong, until);
    }
}

/* What the first failure comes to, in words and as a result. */
static int judge(struct cvy_map *map)
{
    const char *text = map->first_text;
    size_t item = map->sum.first_failed, n = (size_t)map->n;
    memcpy(map->sum.text, map->crash_text, sizeof map->sum.text);
    if (map->sum.failed == 0)
        return 0;
    if (map->first_outcome == COVEY_OUTCOME_CRASHED) {
        memcpy(map->sum.text, map->lost_text, sizeof map->sum.text);
        return cvy_fail(COVEY_ECRASHED, "%s: of %zu items, %s", call, n,
                        map->lost_text);
    }
    if (map->first_outcome == COVEY_OUTCOME_TIMEOUT)
        text = "it was still running when the time was over";
    else if (map->first_outcome == COVEY_OUTCOME_CANCELLED)
        text = map->give_up ? "the pool was freed"
               : cvy_bounds_canceled(&map->bounds)
                   ? "its caller was asked to end"
                   : "it had not begun when the time was over";
    else if (map->first_outcome == COVEY_OUTCOME_LOST)
        text = map->pool->cause;
    else if (!text[0])
        text = "it failed";
    (void)snprintf(map->sum.text, sizeof map->sum.text, "item %zu: %.220s", item, text);
    switch (map->first_outcome) {
    case COVEY_OUTCOME_ERROR:
        return cvy_fail(COVEY_EREMOTE, "%s: item %zu of %zu: %s", call, item, n, text);
    case COVEY_OUTCOME_ERROR | CVY_OUTCOME_SIZE:
        return cvy_fail(-EMSGSIZE, "%s: item %zu of %zu: %s", call, item, n, text);
    case COVEY_OUTCOME_CANCELLED:
        if (cvy_bounds_canceled(&map->bounds))
            return cvy_fail(-ECANCELED, "%s: item %zu of %zu: %s", call, item, n, text);
        /* fall through */
    default:
        return cvy_fail(-ETIMEDOUT, "%s: item %zu of %zu: %s", call, item, n, text);
    }
}

static int finish(struct cvy_map *map, int r, const struct covey_map_opts *opts)
{
    struct cvy_pool *pool = map->pool;
    map->sum.ok = (size_t)(map->n - map->sum.failed);
    if (r < 0)
        (void)snprintf(map->sum.text, sizeof map->sum.text, "%s", covey_error_detail());
    else
        r = judge(map);
    if (map->give_up && pool->closing)
        r = cvy_fail(COVEY_EFREED, "%s: the pool was freed meanwhile", call);
    else if (map->give_up && map->sum.failed)
        r = cvy_fail(COVEY_EBROKEN, "%s: workers keep dying: %s", call, pool->cause);
    if (opts->summary)
        *opts->summary = map->sum;
    if (opts->progress)
        opts->progress(opts->progress_ctx, (size_t)map->n, (size_t)map->n);
    return r;
}

/* ---- arguments ---- */

static int check_arguments(const struct cvy_map *map, size_t n)
{
    if (!map->fn)
        return cvy_fail(-EINVAL, "%s: the function is NULL", call);
    if (n && map->in_size && !map->in)
        return cvy_fail(-EINVAL, "%s: `in` is NULL and `in_size` is %zu", call,
                        map->in_size);
    if (n && map->out_size && !map->out)
        return cvy_fail(-EINVAL, "%s: `out` is NULL and `out_size` is %zu", call,
                        map->out_size);
    size_t bytes = 0;
    if (__builtin_mul_overflow(n, map->in_size, &bytes) ||
        __builtin_mul_overflow(n, map->out_size, &bytes))
        return cvy_fail(-EINVAL, "%s: %zu items do not fit into memory", call, n);
    return 0;
}

/* Into how many batches, of how many items. */
static void plan(struct cvy_map *map)
{
    uint32_t workers = map->pool->workers;
    bool threads = map->pool->method == COVEY_THREAD;
    /* What runs again wants its argument, where it may have left its result before. */
    bool keep_in = map->in == map->out && map->pool->retries;
    map->copy_in = map->in_size && !threads &&
                   (keep_in || !cvy_is_in_region(map->in, map->n * map->in_size));
    map->copy_out = map->out_size && !threads &&
                    !cvy_is_in_region(map->out, map->n * map->out_size);
    uint64_t each =
        1 + (map->copy_in ? map->in_size : 0) + (map->copy_out ? map->out_size : 0);
    map->batch_limit = (uint32_t)cvy_min_u64(2 * (uint64_t)workers + 2, BATCHES_MOST);
    /* Large items, many workers: still some for everybody. */
    uint64_t least = (3 * (uint64_t)workers + map->batch_limit - 1) / map->batch_limit;
    map->batch_items = cvy_max_u64(BATCH_BYTES / each, least);
    map->batch_items = cvy_min_u64(map->batch_items, CVY_RANGE_ITEMS);
    map->first_items = cvy_max_u64(FIRST_BYTES / each, least);
}

int covey_pool_map(covey_pool *object, covey_task_fn *fn, const void *in,
                   size_t in_size, void *out, size_t out_size, size_t n,
                   const struct covey_map_opts *options)
{
    struct covey_map_opts opts;
    struct cvy_map map = {.call = call,
                          .fn = fn,
                          .in = in,
                          .out = out,
                          .in_size = in_size,
                          .out_size = out_size,
                          .n = n,
                          .lost_item = UINT64_MAX,
                          .sum = {.first_failed = SIZE_MAX}};
    int r = CVY_TAKE_OPTS(&opts, options, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".detached", opts.detached});
    if (r >= 0)
        r = cvy_pool_enter(object, call, true, &map.pool);
    if (r >= 0)
        r = check_arguments(&map, n);
    if (r >= 0)
        r = cvy_code_encode((cvy_code_fn *)fn, &map.code);
    if (r < 0)
        return r;
    if (cvy_map_needs_flow(map.pool, &opts)) {
        struct cvy_work work = {.call = call,
                                .n = n,
                                .in = in,
                                .in_size = in_size,
                                .out = out,
                                .out_size = out_size};
        return cvy_gather(map.pool, fn, &work, &opts);
    }
    cvy_bounds_take(&map.bounds, opts.timeout, opts.detached == COVEY_ON);
    struct progress progress = {opts.progress, opts.progress_ctx, 0};
    map.chunk = (uint32_t)cvy_min_u64(opts.chunksize, CVY_RANGE_COUNT);
    map.outcomes = opts.outcomes;
    plan(&map);
    if (n == 0)
        return finish(&map, 0, &opts);
    r = cvy_map_begin(&map);
    if (r == -ETIMEDOUT) {
        stop(&map, COVEY_OUTCOME_CANCELLED);
        return finish(&map, 0, &opts);
    }
    if (r < 0)
        return r;
    r = run(&map, &progress);
    r = finish(&map, r, &opts);
    cvy_map_end(&map);
    return r;
}
