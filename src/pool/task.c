/* SPDX-License-Identifier: MIT */
/* task.c: how a worker runs an item of a batch with entries, its initializer, and its exit
 * hook.
 *
 *   outcome:  NONE --(worker)--> RUNNING --(worker)--> OK, ERROR
 *                \                   \------(pool)---> TIMEOUT, MEMORY, CANCELLED, CRASHED
 *                 \--(pool)--> CANCELLED
 *
 * Each arrow is one compare-and-swap, so that an item is begun or taken back, and finished
 * or ended, never both. Who is RUNNING it says so in its line (`begun`) beforehand. A worker
 * whose item was ended under its hands waits for its own end, which is on the way: so it is
 * never killed for an item that it is not at any more. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mutant.h"
#include "pool/worker.h"
#include "region/object.h"

#define NET_FACTOR  2 /* times the limit of memory that is looked at from outside */
#define FAULT_STEP  (UINT64_C(1) << 20)
#define FAULT_STEPS 65536 /* 64 GiB: more than any limit that a test uses */

/* ---- results ---- */

static void drop_extra(struct cvy_worker *w)
{
    if (w->extra)
        cvy_object_give_run(w->extra);
    w->extra = 0;
    w->extra_bytes = 0;
}

/* Room for a result: in the batch, or, if it is larger, in a run of its own. A worker that
 * dies having such a run leaves it to the pool object, with which it is freed. */
static int make_room(struct cvy_worker *w, uint64_t size)
{
    if (size <= w->batch->reserve) {
        w->result = w->out + w->item * w->batch->reserve;
        return 0;
    }
    if (size > w->extra_bytes) {
        drop_extra(w);
        uint64_t bytes = cvy_round_up(size, CVY_PAGE);
        int r = cvy_object_add_run(w->pool, bytes, &w->extra);
        if (r < 0)
            return r;
        w->extra_bytes = bytes;
    }
    w->result = cvy_at(w->extra);
    return 0;
}

int cvy_task_return(struct cvy_worker *w, const void *data, size_t size)
{
    int r = make_room(w, size);
    if (r < 0)
        return covey_call_fail(&w->call, "no shared memory for a result of %zu bytes",
                               size);
    if (size)
        memcpy(w->result, data, size);
    w->call.result_size = size;
    return 0;
}

static void keep_result(struct cvy_worker *w, struct cvy_entry *entry, int code)
{
    size_t size = w->call.result_size;
    entry->code = code;
    if (code < 0) {
        size = strlen(w->text);
        if (cvy_task_return(w, w->text, size) < 0)
            size = 0;
        w->text[0] = 0;
    } else if (size == SIZE_MAX) {
        size = 0;
    }
    entry->result_size = size;
    entry->result = size ? cvy_distance(w->result) : 0;
    if (size && w->extra && w->result == (char *)cvy_at(w->extra)) {
        w->extra = 0; /* the reader's from now on */
        w->extra_bytes = 0;
    }
}

/* ---- limits ---- */

/* What a task takes is measured from what the worker had before its first limited one. The
 * net under it catches a task that takes more than can be seen coming. */
void cvy_task_limit_memory(struct cvy_worker *w, uint64_t limit)
{
    uint64_t own = 0;
    if (w->is_thread || limit == w->net)
        return;
    if (!atomic_load_explicit(&w->line->resident, memory_order_relaxed) && limit &&
        cvy_os_own_memory(0, &own) >= 0)
        atomic_store_explicit(&w->line->resident, own, memory_order_release);
    cvy_os_limit_growth(limit ? NET_FACTOR * limit : UINT64_MAX);
    w->net = limit;
}

/* ---- faults on purpose ---- */

/* Until somebody ends it, or for so long. */
static void hang(struct cvy_worker *w, covey_nsec time)
{
    int64_t until = cvy_os_deadline(time);
    while (!covey_call_cancelled(&w->call) && cvy_os_now() < until)
        (void)cvy_os_futex_wait_for(&w->line->retire, 0, COVEY_MSEC(10));
}

/* Until there is no more: then it waits for who looks at it from outside, and who may be
 * late; for a second at most, since it may be another limit than the pool's. */
static void take_memory(struct cvy_worker *w)
{
    static void *volatile taken; /* each piece points to the one before */
    for (int i = 0; i < FAULT_STEPS; i++) {
        void *memory = malloc(FAULT_STEP);
        if (!memory) {
            hang(w, COVEY_SEC(1));
            return;
        }
        memset(memory, 1, FAULT_STEP);
        *(void **)memory = taken;
        taken = memory;
    }
}

static void act_fault(struct cvy_worker *w, uint32_t fault)
{
    if (fault == CVY_FAULT_DIE)
        (void)cvy_os_kill(cvy_os_pid(), -1, SIGKILL);
    else if (fault == CVY_FAULT_HANG)
        hang(w, COVEY_FOREVER);
    else if (fault == CVY_FAULT_MEMORY)
        take_memory(w);
}

/* ---- items ---- */

void cvy_task_await_end(struct cvy_worker *w)
{
    drop_extra(w);
    cvy_word *word = &w->line->retire;
    while (!w->is_thread)
        (void)cvy_os_futex_wait_for(word, atomic_load(word), COVEY_SEC(1));
}

/* What has bounds that are over is taken back here, if nobody did so before. */
static bool is_too_late(struct cvy_worker *w, uint64_t i)
{
    uint8_t none = COVEY_OUTCOME_NONE;
    int64_t now = cvy_os_now();
    if (now < cvy_worker_set_deadline(w, i, now) &&
        !cvy_bounds_canceled(&w->batch->bounds))
        return false;
    (void)atomic_compare_exchange_strong(&w->batch->outcomes[i], &none,
                                         COVEY_OUTCOME_CANCELLED);
    w->has_news = true;
    return true;
}

/* Pairs with cvy_limits_check, which wants `serial` unchanged around the others. */
static bool begin(struct cvy_worker *w, uint64_t i)
{
    uint8_t none = COVEY_OUTCOME_NONE;
    _Atomic uint8_t *outcome = &w->batch->outcomes[i];
    if (cvy_unlikely(w->flags & CVY_BATCH_BOUND) && is_too_late(w, i))
        return false;
    atomic_fetch_add_explicit(&w->line->serial, 1, memory_order_release);
    if (!CVY_MUTANT(pool_begin_unsaid))
        atomic_store_explicit(&w->line->begun, i + 1, memory_order_release);
    if (CVY_MUTANT(pool_begin_unasked) && atomic_load(outcome) == none)
        atomic_store(outcome, CVY_OUTCOME_RUNNING);
    else if (!atomic_compare_exchange_strong(outcome, &none, CVY_OUTCOME_RUNNING))
        return false;
    if (CVY_MUTANT(pool_begin_unsaid))
        atomic_store_explicit(&w->line->begun, i + 1, memory_order_release);
    if (w->flags & CVY_BATCH_TIMED) {
        w->entries[i].started = cvy_os_now();
        atomic_store_explicit(&w->line->started, w->entries[i].started,
                              memory_order_release);
    }
    return true;
}

static void end(struct cvy_worker *w, uint64_t i, int code)
{
    struct cvy_entry *entry = &w->entries[i];
    uint8_t running = CVY_OUTCOME_RUNNING;
    uint8_t outcome = code < 0 ? COVEY_OUTCOME_ERROR : COVEY_OUTCOME_OK;
    if (code == -ENOMEM && w->batch->memory)
        outcome = COVEY_OUTCOME_MEMORY;
    atomic_store_explicit(&w->line->started, 0, memory_order_release);
    w->has_news = true;
    if (w->flags & CVY_BATCH_TIMED)
        entry->ended = cvy_os_now();
    if (CVY_MUTANT(pool_commit_unasked))
        atomic_store(&w->batch->outcomes[i], outcome);
    else if (!atomic_compare_exchange_strong(&w->batch->outcomes[i], &running, outcome))
        cvy_task_await_end(w);
    else if (w->flags & CVY_BATCH_TIMED)
        cvy_worker_tell(w, entry->ended);
}

void cvy_task_run(struct cvy_worker *w, uint64_t range)
{
    struct covey_call *call = &w->call;
    uint64_t last = cvy_range_end(range);
    for (uint64_t i = cvy_range_start(range); i < last; i++) {
        struct cvy_entry *entry = &w->entries[i];
        if (!begin(w, i))
            continue;
        w->item = i;
        entry->line = w->index + 1;
        entry->pid = w->pid;
        call->arg_size = entry->arg_size;
        call->arg_data = entry->arg_size ? cvy_pool_address(entry->arg) : NULL;
        call->result_data = NULL;
        call->result_capacity = SIZE_MAX;
        call->result_size = SIZE_MAX;
        if (cvy_unlikely(entry->fault))
            act_fault(w, entry->fault);
        int code = w->fn(call);
        if (CVY_MUTANT(pool_commit_early))
            end(w, i, code);
        keep_result(w, entry, code);
        if (!CVY_MUTANT(pool_commit_early))
            end(w, i, code);
    }
}

/* ---- hooks ---- */

static int run_hook(const struct cvy_code *code, uint64_t arg, uint64_t size)
{
    cvy_code_fn *fn = NULL;
    int r = cvy_code_decode(code, &fn);
    if (r < 0)
        return r;
    return ((covey_target_fn *)fn)(
        COVEY_VIEW(size ? cvy_pool_address(arg) : NULL, size));
}

int cvy_task_init(struct cvy_worker *w)
{
    const struct cvy_pool_hooks *hooks = &w->shared->hooks;
    return hooks->has_init ? run_hook(&hooks->init, hooks->init_arg, hooks->init_size)
                           : 0;
}

int cvy_task_exit(struct cvy_worker *w)
{
    const struct cvy_pool_hooks *hooks = &w->shared->hooks;
    drop_extra(w); /* of a result that was not wanted in the end */
    cvy_task_limit_memory(w, 0);
    return hooks->has_exit ? run_hook(&hooks->exit, hooks->exit_arg, hooks->exit_size)
                           : 0;
}
