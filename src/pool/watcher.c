/* SPDX-License-Identifier: MIT */
/* watcher.c: who sees to submitted tasks while the program does something else: a thread of
 * the pool's own, from the first submission on. It collects results, replaces workers that
 * die while nobody waits, ends tasks over their limits, and calls callbacks.
 *
 * Callbacks run one after the other, without any lock, so they may use the pool; one that
 * lasts delays other callbacks, but no result: who waits for one collects for himself. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "os/fork.h"
#include "pool/result.h"
#include "region/member.h"
#include "region/wait.h"

#define CALLBACK_PATIENCE COVEY_SEC(5) /* of the end of the process */

/*
 *   BEGINS --> LOOKS <--> CALLS      by the thread
 *      \         |          \------> LEFT   by who ends it; the thread stays where it is then
 *       \        v
 *        \---> OVER
 */
enum watcher_state {
    WATCHER_BEGINS = 0, /* it attaches */
    WATCHER_LOOKS,
    WATCHER_CALLS, /* it is in a callback, and so in the hands of the program */
    WATCHER_LEFT,  /* nobody waits for the callback any more: the process ends */
    WATCHER_OVER   /* it touches nothing any more */
};

struct cvy_watcher {
    struct cvy_pool *pool;
    struct cvy_watcher *next;
    uint32_t owner; /* of the process whose thread it is */
    /* The list's, and of those who wait for its begin; under the mutex. */
    uint32_t refs;
    cvy_word stops; /* 1: the thread is to end */
    cvy_word state;
    int code; /* why it is OVER before it has looked; set before that */
};

/* All of a process, to be ended when it leaves the family. A fork child finds its parent's,
 * by another owner, and leaves them alone. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct cvy_watcher *watchers;
static _Thread_local const struct cvy_pool *calls_for
    __attribute__((tls_model("initial-exec")));
static _Thread_local struct cvy_watcher *mine
    __attribute__((tls_model("initial-exec")));

bool cvy_watcher_is_me(const struct cvy_pool *pool)
{
    return calls_for == pool;
}

/* ---- callbacks ---- */

void cvy_watcher_queue(struct cvy_pool *pool, struct covey_result *result)
{
    result->next_callback = NULL;
    if (!pool->callbacks)
        pool->callbacks_end = &pool->callbacks;
    *pool->callbacks_end = result;
    pool->callbacks_end = &result->next_callback;
}

static struct covey_result *take_callback(struct cvy_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    struct covey_result *result = pool->calls_back ? NULL : pool->callbacks;
    if (result) {
        pool->callbacks = result->next_callback;
        pool->calls_back = true;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return result;
}

/* Where the process ends without waiting for a callback its thread gets no further. */
static void stay(struct cvy_watcher *watcher)
{
    struct cvy_os_wait wait = {&watcher->state, WATCHER_LEFT};
    while (atomic_load(&watcher->state) == WATCHER_LEFT)
        (void)cvy_os_futex_waitv(&wait, 1, INT64_MAX);
}

static void call(covey_done_fn *fn, struct covey_result *result)
{
    uint32_t looks = WATCHER_LOOKS, calls = WATCHER_CALLS;
    /* A callback may end another pool, and so run that one's. */
    bool is_outer = mine && atomic_compare_exchange_strong(&mine->state, &looks, calls);
    fn(result->callback_ctx, result);
    if (is_outer && atomic_compare_exchange_strong(&mine->state, &calls, looks))
        (void)cvy_os_futex_wake(&mine->state, 1);
    if (mine)
        stay(mine);
}

bool cvy_watcher_call_back(struct cvy_pool *pool)
{
    struct covey_result *result = take_callback(pool);
    if (!result)
        return false;
    covey_done_fn *fn = result->code < 0 ? result->error_callback : result->callback;
    const struct cvy_pool *before = calls_for; /* its callback works for this pool */
    calls_for = pool;
    call(fn, result);
    calls_for = before;
    (void)pthread_mutex_lock(&pool->lock);
    pool->calls_back = false;
    atomic_store(&result->state, CVY_RESULT_READY);
    (void)pthread_mutex_unlock(&pool->lock);
    cvy_tasks_tell(pool);
    cvy_result_unref(result);
    return true;
}

bool cvy_watcher_call_queued(struct cvy_pool *pool, const cvy_word *stops)
{
    size_t queued = 0;
    bool any = false;
    (void)pthread_mutex_lock(&pool->lock);
    for (const struct covey_result *r = pool->callbacks; r; r = r->next_callback)
        queued++;
    (void)pthread_mutex_unlock(&pool->lock);
    while (queued-- && !(stops && atomic_load(stops)) && cvy_watcher_call_back(pool))
        any = true;
    return any;
}

/* ---- the thread ---- */

static void look(struct cvy_watcher *watcher)
{
    struct cvy_pool *pool = watcher->pool;
    struct cvy_map *map = cvy_tasks_map(pool);
    bool slice = false;
    while (!atomic_load(&watcher->stops)) {
        uint32_t gong = cvy_gong(), seen = atomic_load(cvy_map_ring(map));
        bool any = cvy_tasks_step(pool, slice);
        slice = false;
        any = cvy_watcher_call_queued(pool, &watcher->stops) || any;
        if (!any && !atomic_load(&watcher->stops))
            slice = cvy_map_sleep(map, seen, gong, cvy_loop_next_look(pool));
    }
}

static void turn_to(struct cvy_watcher *watcher, enum watcher_state state)
{
    atomic_store(&watcher->state, state);
    /* A mere number if it was freed meanwhile. */
    (void)cvy_os_futex_wake(&watcher->state, INT_MAX);
}

static void *watch(void *arg)
{
    struct cvy_watcher *watcher = arg;
    mine = watcher;
    cvy_os_set_comm("covey-pool");
    int r = cvy_enter();
    if (r >= 0) {
        cvy_thread_set_aside();
        turn_to(watcher, WATCHER_LOOKS);
        look(watcher);
        cvy_thread_detach();
    }
    mine = NULL;
    watcher->code = r;
    turn_to(watcher, WATCHER_OVER);
    return NULL;
}

/* ---- the list ---- */

/* Whether the thread has ended; if not, it is in a callback, and stays there when it ends
 * after `patience`. */
static bool await_end(struct cvy_watcher *watcher, int64_t patience)
{
    for (;;) {
        uint32_t state = atomic_load(&watcher->state);
        struct cvy_os_wait wait = {&watcher->state, state};
        bool calls = state == WATCHER_CALLS;
        if (state == WATCHER_OVER)
            return true;
        if (!calls || cvy_os_now() < patience)
            (void)cvy_os_futex_waitv(&wait, 1, calls ? patience : INT64_MAX);
        else if (atomic_compare_exchange_strong(&watcher->state, &state, WATCHER_LEFT))
            return false;
    }
}

static void unref(struct cvy_watcher *watcher)
{
    (void)pthread_mutex_lock(&mutex);
    bool is_last = !--watcher->refs;
    (void)pthread_mutex_unlock(&mutex);
    if (is_last)
        cvy_free(watcher);
}

static void end_watcher(struct cvy_watcher *watcher, int64_t patience)
{
    atomic_store(&watcher->stops, 1);
    cvy_tasks_tell(watcher->pool);
    if (await_end(watcher, patience))
        unref(watcher);
}

static bool take_out(struct cvy_watcher *watcher)
{
    struct cvy_watcher **at = &watchers;
    while (*at && *at != watcher)
        at = &(*at)->next;
    bool found = *at != NULL;
    if (found)
        *at = watcher->next;
    return found;
}

/* One of this process that is not the caller's own. */
static struct cvy_watcher *take_another(void)
{
    (void)pthread_mutex_lock(&mutex);
    struct cvy_watcher *watcher = watchers;
    while (watcher && (watcher->owner != cvy_member_owner() || watcher == mine))
        watcher = watcher->next;
    if (watcher) {
        (void)take_out(watcher);
        watcher->pool->watcher = NULL;
    }
    (void)pthread_mutex_unlock(&mutex);
    return watcher;
}

/* The process gives up its holds: no thread may look at a pool any more. Who ends it from a
 * callback does not look again; callbacks of other threads may be as long as they like, or
 * wait for this one. */
static void end_all(void)
{
    int64_t patience = cvy_os_deadline(CALLBACK_PATIENCE);
    struct cvy_watcher *watcher;
    while ((watcher = take_another()))
        end_watcher(watcher, patience);
}

__attribute__((constructor)) static void guard_forks(void)
{
    static struct cvy_os_fork_guard guard = {.mutex = &mutex};
    cvy_os_guard_forks(&guard);
}

/* One that is OVER while it is listed has not. */
static bool has_begun(const struct cvy_watcher *watcher)
{
    uint32_t state = atomic_load(&watcher->state);
    return state != WATCHER_BEGINS && state != WATCHER_OVER;
}

/* Under the mutex. */
static int start_thread(struct cvy_pool *pool)
{
    struct cvy_watcher *watcher = cvy_calloc(1, sizeof *watcher);
    if (!watcher)
        return -ENOMEM;
    cvy_leave_add(end_all);
    watcher->pool = pool;
    watcher->owner = cvy_member_owner();
    watcher->refs = 1;
    int r = cvy_os_run_aside(watch, watcher);
    if (r < 0) {
        cvy_free(watcher);
        return r;
    }
    watcher->next = watchers;
    watchers = watcher;
    pool->watcher = watcher;
    return 0;
}

/* Has a reference, which goes. Not under the mutex, which a fork waits for that may keep
 * the thread from attaching. */
static int await_begin(struct cvy_watcher *watcher)
{
    struct cvy_os_wait wait = {&watcher->state, WATCHER_BEGINS};
    while (atomic_load(&watcher->state) == WATCHER_BEGINS)
        (void)cvy_os_futex_waitv(&wait, 1, INT64_MAX);
    (void)pthread_mutex_lock(&mutex);
    int r = atomic_load(&watcher->state) == WATCHER_OVER ? watcher->code : 0;
    if (r < 0 && take_out(watcher)) {
        watcher->pool->watcher = NULL;
        watcher->refs--;
    }
    (void)pthread_mutex_unlock(&mutex);
    unref(watcher);
    return r;
}

int cvy_watcher_start(struct cvy_pool *pool)
{
    struct cvy_watcher *begins = NULL;
    int r = 0;
    if (pool->loop || cvy_watcher_is_me(pool))
        return 0;
    (void)pthread_mutex_lock(&mutex);
    /* Who ends the pool sets this first, and then looks for a watcher. */
    if (atomic_load(&pool->state) == CVY_POOL_ENDED) {
        (void)pthread_mutex_unlock(&mutex);
        return cvy_fail(COVEY_ECLOSED, "%s has ended", pool->name);
    }
    if (!pool->watcher)
        r = start_thread(pool);
    if (r >= 0 && !has_begun(pool->watcher)) {
        begins = pool->watcher;
        begins->refs++;
    }
    (void)pthread_mutex_unlock(&mutex);
    if (begins)
        r = await_begin(begins);
    return r < 0 ? cvy_fail_os(r, "a thread that sees to the tasks of %s", pool->name)
                 : 0;
}

void cvy_watcher_stop(struct cvy_pool *pool)
{
    (void)pthread_mutex_lock(&mutex);
    struct cvy_watcher *watcher = pool->watcher;
    if (watcher && !take_out(watcher))
        watcher = NULL;
    pool->watcher = NULL;
    (void)pthread_mutex_unlock(&mutex);
    if (watcher)
        end_watcher(watcher, INT64_MAX);
}
