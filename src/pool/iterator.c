/* SPDX-License-Identifier: MIT */
/* iterator.c: flows that are read one by one. Who reads drives: the input is asked for
 * more, and what is finished collected, in covey_iterator_next alone, so that there is no
 * thread between input and reader, and nothing is read ahead further than the window. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "pool/flow.h"
#include "pool/limits.h"
#include "region/member.h"
#include "region/wait.h"

#define MAGIC     0x69746572u
#define STOP_TIME COVEY_MSEC(1) /* between looks whether readers have stopped */
#define BATCHES   8u

#define NO_MEMORY_SIZE 32

/* A result that was taken out of its batch before anybody read it. */
struct aside {
    struct aside *next;
    uint64_t item;
    int code;
    size_t size; /* of the result, or the text */
    char data[];
};

struct covey_iterator {
    struct cvy_flow flow;
    uint32_t magic;
    uint32_t owner;
    struct cvy_pool *pool;
    pthread_mutex_t mutex; /* of who begins, reads, relieves or ends it */
    struct covey_iterator *next, *previous;
    covey_next_fn *input;
    void *input_ctx;
    struct covey_view item;
    const char *call;
    struct aside *aside, **aside_end; /* to be read first; under the mutex */
    bool is_open;                     /* has a ring */
    bool is_broken;                   /* its pool went before it was done */
    bool is_late;                     /* the time of the task that reads is over */
    bool has_index;
    uint64_t index; /* of the last one that was read */
    uint32_t given; /* results, by which it looks after the pool */
};

/* ---- the input ---- */

static int pull(void *ctx, struct cvy_item *ret_item)
{
    struct covey_iterator *it = ctx;
    it->item = COVEY_NO_VIEW;
    int r = it->input(it->input_ctx, &it->item);
    if (r <= 0)
        return r == 0 ? COVEY_EEND : r;
    ret_item->parts = &it->item;
    ret_item->cookie =
        (struct cvy_cookie){it, 0, it->pool->measures ? cvy_os_now() : 0};
    return 1;
}

/* ---- making ---- */

static void list(struct covey_iterator *it)
{
    struct cvy_pool *pool = it->pool;
    (void)pthread_mutex_lock(&pool->lock);
    pool->refs++;
    it->next = pool->iterators;
    if (it->next)
        it->next->previous = it;
    pool->iterators = it;
    (void)pthread_mutex_unlock(&pool->lock);
}

static void unlist(struct covey_iterator *it)
{
    struct cvy_pool *pool = it->pool;
    (void)pthread_mutex_lock(&pool->lock);
    if (it->previous)
        it->previous->next = it->next;
    else
        pool->iterators = it->next;
    if (it->next)
        it->next->previous = it->previous;
    (void)pthread_mutex_unlock(&pool->lock);
}

/* With the mutex when this returns. */
static struct covey_iterator *new_iterator(struct cvy_pool *pool, covey_task_fn *fn,
                                           const struct covey_imap_opts *opts)
{
    struct covey_iterator *it = cvy_calloc(1, sizeof *it);
    if (!it)
        return NULL;
    it->magic = MAGIC;
    it->owner = cvy_member_owner();
    it->pool = pool;
    (void)pthread_mutex_init(&it->mutex, NULL);
    (void)pthread_mutex_lock(&it->mutex); /* others can see it, but not touch it yet */
    cvy_flow_init(&it->flow, pool, fn, pull, it);
    it->flow.map.chunk = (uint32_t)cvy_min_u64(opts->chunksize, CVY_RANGE_COUNT);
    it->aside_end = &it->aside;
    it->flow.is_read = true;
    it->flow.batches = BATCHES;
    cvy_bounds_take(&it->flow.map.bounds, 0, opts->detached == COVEY_ON);
    it->flow.window = opts->window;
    it->flow.window_bytes = opts->window_bytes;
    cvy_flow_limit(&it->flow, opts->time_limit, opts->soft_limit, opts->memory_limit);
    list(it);
    return it;
}

/* Its ring goes; with the mutex. */
static void shut(struct covey_iterator *it)
{
    if (!it->is_open)
        return;
    it->is_open = false;
    cvy_flow_free(&it->flow);
    cvy_map_end(&it->flow.map);
}

/* With the mutex, which goes, too. */
static void drop(struct covey_iterator *it)
{
    struct cvy_pool *pool = it->pool;
    unlist(it);
    (void)pthread_mutex_unlock(&it->mutex); /* nobody finds it any more */
    it->magic = 0;
    while (it->aside) {
        struct aside *aside = it->aside;
        it->aside = aside->next;
        cvy_free(aside);
    }
    (void)pthread_mutex_destroy(&it->mutex);
    cvy_free(it);
    cvy_pool_unref(pool);
}

static int start(covey_iterator **out, covey_pool *object, covey_task_fn *fn,
                 covey_next_fn *next, void *ctx, const struct covey_imap_opts *options,
                 bool ordered)
{
    const char *call = ordered ? "covey_pool_imap" : "covey_pool_imap_unordered";
    struct covey_imap_opts opts;
    struct cvy_pool *pool = NULL;
    struct cvy_code code;
    int r = CVY_TAKE_OPTS(&opts, options, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".detached", opts.detached});
    if (r >= 0)
        r = cvy_pool_enter(object, call, true, &pool);
    if (r >= 0 && (!out || !fn || !next))
        r = cvy_fail(-EINVAL, "%s: `out`, the function or the input is NULL", call);
    if (r < 0)
        return r;
    struct cvy_limits limits = {
        .time = opts.time_limit, .soft = opts.soft_limit, .memory = opts.memory_limit};
    r = cvy_limits_refuse(call, &limits);
    if (r < 0)
        return r;
    r = cvy_code_encode((cvy_code_fn *)fn, &code);
    if (r < 0)
        return cvy_fail_os(r, "%s: the function", call);
    if (cvy_limits_any(&limits)) {
        r = cvy_tasks_begin(pool); /* somebody has to look while nobody reads */
        if (r >= 0)
            r = cvy_watcher_start(pool);
        if (r < 0)
            return r;
    }
    struct covey_iterator *it = new_iterator(pool, fn, &opts);
    if (!it)
        return cvy_fail(-ENOMEM, "%s: no memory for an iterator", call);
    it->input = next;
    it->input_ctx = ctx;
    it->call = call;
    it->flow.ordered = ordered;
    it->flow.map.call = call;
    it->flow.map.code = code;
    r = cvy_map_begin(&it->flow.map);
    if (r < 0) {
        drop(it);
        return r;
    }
    it->is_open = true;
    r = cvy_flow_feed(&it->flow);
    if (r < 0) {
        shut(it);
        drop(it);
        return r;
    }
    (void)pthread_mutex_unlock(&it->mutex);
    *out = it;
    return 0;
}

int covey_pool_imap(covey_iterator **out, covey_pool *pool, covey_task_fn *fn,
                    covey_next_fn *next, void *ctx, const struct covey_imap_opts *opts)
{
    return start(out, pool, fn, next, ctx, opts, true);
}

int covey_pool_imap_unordered(covey_iterator **out, covey_pool *pool, covey_task_fn *fn,
                              covey_next_fn *next, void *ctx,
                              const struct covey_imap_opts *opts)
{
    return start(out, pool, fn, next, ctx, opts, false);
}

/* ---- reading; with the mutex ---- */

/* Returns: 0 or the item's error. */
static int give(struct covey_iterator *it, struct cvy_done *done,
                struct covey_bytes *ret_bytes)
{
    int r = 0;
    it->index = done->item;
    it->has_index = true;
    if (done->code < 0) {
        r = cvy_fail(done->code, "%s: item %llu: %s", it->call,
                     (unsigned long long)done->item, done->text);
    } else if (ret_bytes) {
        r = covey_bytes_resize(ret_bytes, done->result.size);
        if (r < 0)
            r = cvy_fail(r, "covey_iterator_next: no memory for %zu bytes",
                         done->result.size);
        else if (done->result.size)
            memcpy(ret_bytes->data, done->result.data, done->result.size);
    }
    cvy_flow_release(&it->flow, done);
    return r;
}

/* There is no memory for the item that is held, and no other is out. Others may need less. */
static int refuse_held(struct covey_iterator *it, int code)
{
    struct cvy_done done;
    cvy_flow_refuse(&it->flow, code, &done);
    it->index = done.item;
    it->has_index = true;
    return cvy_fail(done.code, "%s: item %llu: %s", it->call,
                    (unsigned long long)done.item, done.text);
}

static int give_aside(struct covey_iterator *it, struct covey_bytes *ret_bytes)
{
    struct aside *aside = it->aside;
    int r = 0;
    it->aside = aside->next;
    if (!it->aside)
        it->aside_end = &it->aside;
    it->index = aside->item;
    it->has_index = true;
    if (aside->code < 0)
        r = cvy_fail(aside->code, "%s: item %llu: %s", it->call,
                     (unsigned long long)aside->item, aside->data);
    else if (ret_bytes && (r = covey_bytes_resize(ret_bytes, aside->size)) >= 0 &&
             aside->size)
        memcpy(ret_bytes->data, aside->data, aside->size);
    cvy_free(aside);
    return r;
}

static void put_aside(struct covey_iterator *it, const struct cvy_done *done,
                      struct aside **spare)
{
    static const char no_memory[NO_MEMORY_SIZE] = "no memory to keep the result";
    const void *data = done->code < 0 ? done->text : done->result.data;
    size_t size = done->code < 0 ? strlen(done->text) + 1 : done->result.size;
    struct aside *aside = cvy_malloc(sizeof *aside + size);
    int code = done->code;
    if (!aside) {
        aside = *spare;
        *spare = NULL;
        code = -ENOMEM;
        data = no_memory;
        size = sizeof no_memory;
    }
    aside->next = NULL;
    aside->item = done->item;
    aside->code = code;
    aside->size = size;
    if (size)
        memcpy(aside->data, data, size);
    *it->aside_end = aside;
    it->aside_end = &aside->next;
}

/* With the mutex. A result that cannot be kept for lack of memory is told as such; where
 * there is none for that either it stays in its batch. */
static void empty_batches(struct covey_iterator *it)
{
    struct aside *spare = NULL;
    struct cvy_done done;
    while (it->is_open) {
        if (!spare)
            spare = cvy_malloc(sizeof *spare + NO_MEMORY_SIZE);
        if (!spare || !cvy_flow_take(&it->flow, &done))
            break;
        put_aside(it, &done, &spare);
        cvy_flow_release(&it->flow, &done);
    }
    cvy_free(spare);
}

void cvy_iterators_relieve(struct cvy_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    for (struct covey_iterator *it = pool->iterators; it; it = it->next) {
        if (pthread_mutex_trylock(&it->mutex) != 0)
            continue; /* somebody reads it */
        (void)pthread_mutex_unlock(&pool->lock);
        empty_batches(it);
        (void)pthread_mutex_lock(&pool->lock);
        (void)pthread_mutex_unlock(&it->mutex);
    }
    (void)pthread_mutex_unlock(&pool->lock);
}

int64_t cvy_iterators_make_room(struct cvy_pool *pool, int64_t until)
{
    cvy_iterators_relieve(pool);
    return cvy_min_i64(until, cvy_os_now() + CVY_STARVED_TIME);
}

/* What there is when nothing is out any more. */
static int finish(struct covey_iterator *it)
{
    int r = it->flow.ended;
    if (it->is_broken)
        return cvy_fail(COVEY_EFREED, "%s: the pool was ended meanwhile", it->call);
    if (it->is_late)
        return cvy_fail(-ETIMEDOUT, "%s: the time of the task that reads is over",
                        it->call);
    if (r == COVEY_EEND)
        return cvy_fail(r, "%s: all results were read", it->call);
    it->flow.ended = COVEY_EEND; /* the error comes once */
    return cvy_fail_os(r, "%s: the input", it->call);
}

/* Workers cannot be started: what is out is LOST; what comes later tries anew.
 * Returns: whether that is so. */
static bool give_up(struct covey_iterator *it)
{
    struct cvy_pool *pool = it->pool;
    if (!it->flow.map.give_up || pool->closing)
        return false;
    cvy_flow_finish_out(&it->flow, COVEY_OUTCOME_LOST, COVEY_OUTCOME_LOST);
    (void)pthread_mutex_lock(&pool->lock);
    it->flow.map.give_up = false;
    pool->barren = 0;
    (void)pthread_mutex_unlock(&pool->lock);
    return true;
}

/* In a task, what is out ends by that one's deadline. Returns: when to look again. */
static int64_t end_in_time(struct covey_iterator *it)
{
    int64_t deadline = it->flow.map.bounds.deadline;
    if (deadline == INT64_MAX || it->is_late || cvy_os_now() < deadline)
        return it->is_late ? INT64_MAX : deadline;
    it->is_late = true;
    cvy_flow_stop(&it->flow, COVEY_OUTCOME_CANCELLED, COVEY_OUTCOME_TIMEOUT);
    return 0;
}

static int feed(struct covey_iterator *it)
{
    int fed = cvy_flow_feed(&it->flow);
    if (fed > 0)
        cvy_map_look_meanwhile(&it->flow.map);
    return fed;
}

static int give_next(struct covey_iterator *it, struct cvy_done *done,
                     struct covey_bytes *ret_bytes)
{
    int r = give(it, done, ret_bytes);
    if (++it->given % CVY_LOOK_EVERY == 0)
        cvy_map_look_meanwhile(&it->flow.map);
    return r;
}

static int next(struct covey_iterator *it, struct covey_bytes *ret_bytes,
                int64_t deadline)
{
    struct cvy_map *map = &it->flow.map;
    struct cvy_done done;
    bool slice = false;
    if (it->aside)
        return give_aside(it, ret_bytes);
    it->flow.quiet_since = 0;
    for (;;) {
        if (!it->is_open)
            return finish(it);
        uint32_t gong = cvy_gong(), seen = atomic_load(cvy_map_ring(map));
        if (cvy_flow_take(&it->flow, &done))
            return give_next(it, &done, ret_bytes);
        if (map->give_up && it->pool->closing)
            return cvy_fail(COVEY_EFREED, "%s: the pool was ended meanwhile", it->call);
        int fed = feed(it);
        if (fed < 0)
            return refuse_held(it, fed);
        if (cvy_flow_is_over(&it->flow))
            return finish(it);
        if (fed > 0)
            continue;
        cvy_map_look_after(map, slice);
        if (give_up(it))
            continue;
        if (deadline != INT64_MAX && cvy_os_now() >= deadline)
            return cvy_fail(-ETIMEDOUT, "%s: no result is ready", it->call);
        int64_t until = cvy_min_i64(deadline, end_in_time(it));
        until = cvy_min_i64(until, cvy_flow_plan_look(&it->flow));
        if (it->flow.is_starved)
            until = cvy_iterators_make_room(it->pool, until);
        slice = cvy_map_wait(map, seen, gong, until);
    }
}

static int enter(struct covey_iterator *it, const char *call)
{
    int r = cvy_enter();
    if (r < 0)
        return r;
    if (!it || it->magic != MAGIC)
        return cvy_fail(-EINVAL, "%s: %p is no iterator", call, (void *)it);
    if (it->owner != cvy_member_owner())
        return cvy_fail(COVEY_ENOTOWNER, "%s: another process made the iterator", call);
    return 0;
}

/* More is read before results are taken, or workers would wait for the reader: but only
 * when a good part of the window is free, so that batches are not made of single items. */
static void refill(struct covey_iterator *it)
{
    if (it->is_open && !it->aside && it->flow.ended == 1 &&
        it->flow.order_count < 2 * it->pool->target + 2)
        (void)feed(it);
}

int covey_iterator_next(covey_iterator *it, struct covey_bytes *ret_bytes,
                        covey_nsec timeout)
{
    int r = enter(it, "covey_iterator_next");
    if (r < 0)
        return r;
    int64_t deadline = cvy_os_deadline(timeout);
    (void)pthread_mutex_lock(&it->mutex);
    refill(it);
    r = next(it, ret_bytes, deadline);
    (void)pthread_mutex_unlock(&it->mutex);
    return r;
}

int covey_iterator_index(covey_iterator *it, uint64_t *ret_index)
{
    static const char call[] = "covey_iterator_index";
    int r = enter(it, call);
    if (r < 0)
        return r;
    if (!ret_index)
        return cvy_fail(-EINVAL, "%s: ret_index is NULL", call);
    (void)pthread_mutex_lock(&it->mutex);
    if (it->has_index)
        *ret_index = it->index;
    else
        r = cvy_fail(COVEY_ESTATE, "%s: no result was read yet", call);
    (void)pthread_mutex_unlock(&it->mutex);
    return r;
}

/* ---- ending ---- */

/* With the mutex. */
static void end(struct covey_iterator *it)
{
    struct cvy_map *map = &it->flow.map;
    struct cvy_done done;
    if (!it->is_open)
        return;
    cvy_flow_stop(&it->flow, COVEY_OUTCOME_CANCELLED, COVEY_OUTCOME_CANCELLED);
    while (it->flow.out) { /* threads, which cannot be ended */
        uint32_t gong = cvy_gong(), seen = atomic_load(cvy_map_ring(map));
        if (cvy_flow_take(&it->flow, &done)) {
            cvy_flow_release(&it->flow, &done);
            continue;
        }
        cvy_map_look_after(map, false);
        (void)cvy_map_wait(map, seen, gong, INT64_MAX);
    }
    shut(it);
}

/* One that has a ring, with its mutex; pool->lock is held. `*ret_busy`: another thread has
 * the mutex of some. */
static struct covey_iterator *take_open(struct cvy_pool *pool, bool *ret_busy)
{
    *ret_busy = false;
    for (struct covey_iterator *it = pool->iterators; it; it = it->next) {
        if (pthread_mutex_trylock(&it->mutex) != 0) {
            *ret_busy = true;
            continue;
        }
        if (it->is_open)
            return it;
        (void)pthread_mutex_unlock(&it->mutex);
    }
    return NULL;
}

void cvy_iterators_end(struct cvy_pool *pool)
{
    for (;;) {
        bool busy;
        (void)pthread_mutex_lock(&pool->lock);
        struct covey_iterator *it = take_open(pool, &busy);
        if (!it && busy) /* who has it was told to stop */
            cvy_pool_await_change_until(pool, cvy_os_now() + STOP_TIME);
        (void)pthread_mutex_unlock(&pool->lock);
        if (it) {
            it->is_broken = !cvy_flow_is_over(&it->flow);
            end(it);
            (void)pthread_mutex_unlock(&it->mutex);
        } else if (!busy) {
            return;
        }
    }
}

void covey_iterator_free(covey_iterator *it)
{
    if (!it || enter(it, "covey_iterator_free") < 0)
        return;
    (void)pthread_mutex_lock(&it->mutex);
    end(it);
    drop(it);
}
