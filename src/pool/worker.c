/* SPDX-License-Identifier: MIT */
/* worker.c: the loop of a worker.
 *
 *   idle --(doorbell)--> looks at each active batch --> in a batch --> looks again
 *     \-- one worker spins a while before it sleeps, all others sleep at once
 *
 * It guarantees: an item's function runs only while the item is in the worker's line; its
 * result is in place before its outcome is set, which is the one store that finishes it.
 * The worker takes no lock and counts nothing, so it may be killed at any instruction.
 *
 * While `line->batch` names a slot, the batch in it stays where it is (a hazard pointer:
 * Michael, "Hazard Pointers", 2004). The last worker that leaves a batch rings its map,
 * and each that has finished items which are taken one by one.
 */
#include "pool/worker.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "os/context.h"
#include "os/socket.h"
#include "region/member.h"
#include "region/object.h"
#include "region/wait.h"

#define TURN          COVEY_MSEC(10) /* in one batch while others are active */
#define TEXT_PATIENCE COVEY_SEC(1)
#define CLOSE_LOOKS   128u /* 3 us: for the next call of who calls at once */

/* ---- items ---- */

/* Become the writer of the batch's text. One at a time writes, which takes no time, and
 * who died here is put right soon; one that is stopped is awaited only once, and its text
 * with those of the items before it are lost. Returns: whether this item's is wanted. */
static bool own_text(struct cvy_worker *w, uint64_t i)
{
    cvy_word *owner = &w->batch->text_owner;
    int64_t end = 0;
    for (;;) {
        uint32_t writer = 0;
        uint64_t kept = atomic_load(&w->batch->text_item);
        if (kept && kept <= i + 1)
            return false;
        if (atomic_compare_exchange_strong(owner, &writer, w->index + 1))
            break;
        if (writer == w->stuck_writer || (end && cvy_os_now() > end)) {
            w->stuck_writer = writer;
            return false;
        }
        if (end)
            (void)cvy_os_futex_wait_for(owner, writer, COVEY_USEC(50));
        else
            end = cvy_os_deadline(TEXT_PATIENCE);
    }
    w->stuck_writer = 0;
    return true;
}

/* Keep the text of the failed item that comes first in the batch. */
static void keep_text(struct cvy_worker *w, uint64_t i, int code)
{
    struct cvy_batch *batch = w->batch;
    if (!own_text(w, i))
        return;
    uint64_t kept = atomic_load(&batch->text_item);
    if (!kept || i + 1 < kept) {
        atomic_store(&batch->text_item, 0);
        batch->text_code = code;
        memcpy(batch->text, w->text, sizeof batch->text);
        atomic_store(&batch->text_item, i + 1);
    }
    atomic_store(&batch->text_owner, 0);
}

static __attribute__((noinline)) void commit_failure(struct cvy_worker *w, uint64_t i,
                                                     int result)
{
    uint8_t outcome = COVEY_OUTCOME_ERROR;
    if (result >= 0 || (result == -EMSGSIZE && w->call.result_size != SIZE_MAX &&
                        w->call.result_size != w->call.result_capacity)) {
        outcome |= CVY_OUTCOME_SIZE;
        if (w->call.result_size == SIZE_MAX)
            (void)covey_call_fail(&w->call, "the task returned no result");
        else
            (void)covey_call_fail(&w->call,
                                  "the result has %zu bytes where %zu are wanted",
                                  w->call.result_size, w->call.result_capacity);
        result = -EMSGSIZE;
    }
    keep_text(w, i, result);
    w->text[0] = 0;
    atomic_store_explicit(&w->batch->outcomes[i], outcome, memory_order_release);
}

static void run_equal(struct cvy_worker *w, uint64_t range)
{
    struct covey_call *call = &w->call;
    _Atomic uint64_t *begun = &w->line->begun;
    _Atomic uint8_t *outcomes = w->batch->outcomes;
    uint64_t i = cvy_range_start(range), end = cvy_range_end(range);
    const size_t in_size = call->arg_size, out_size = call->result_capacity;
    const size_t unset = out_size ? SIZE_MAX : 0;
    const char *in = w->in ? w->in + i * in_size : NULL;
    char *out = w->out + i * out_size;

    for (; i < end; i++) {
        call->arg_data = in;
        call->result_data = out;
        call->result_size = unset;
        atomic_store_explicit(begun, i + 1, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst); /* and only then is it called */
        int result = w->fn(call);
        if (cvy_likely(result >= 0 && call->result_size == out_size))
            atomic_store_explicit(&outcomes[i], COVEY_OUTCOME_OK, memory_order_release);
        else
            commit_failure(w, i, result);
        in += in_size;
        out += out_size;
    }
}

/* A successor may be started while the last task runs. */
static void tell_last(struct cvy_worker *w)
{
    atomic_store(&w->line->is_last, 1);
    cvy_worker_ring(w, w->batch->map);
}

static void run_items(struct cvy_worker *w, uint64_t range)
{
    if (cvy_unlikely(w->tasks_left <= cvy_range_count(range)))
        tell_last(w);
    if (w->entries)
        cvy_task_run(w, range);
    else
        run_equal(w, range);
    if (w->tasks_left != UINT64_MAX)
        w->tasks_left -= cvy_min_u64(cvy_range_count(range), w->tasks_left);
}

/* ---- a batch ---- */

static int find_function(struct cvy_worker *w)
{
    const struct cvy_batch *batch = w->batch;
    uint32_t at = batch->code_id % CVY_WORKER_FUNCTIONS;
    if (w->functions[at].code_id != batch->code_id) {
        cvy_code_fn *fn = NULL;
        int r = cvy_code_decode(&batch->code, &fn);
        if (r < 0)
            return r;
        w->functions[at].code_id = batch->code_id;
        w->functions[at].fn = (covey_task_fn *)fn;
    }
    w->fn = w->functions[at].fn;
    return 0;
}

/* Stands in for a function that is not to be found here: its items fail. */
static int no_function(struct covey_call *call)
{
    return covey_call_fail(call, "the task's function: %s", covey_error_detail());
}

__attribute__((no_sanitize("thread"))) static bool /* also called by looks_open */
is_for(const struct cvy_worker *w, const struct cvy_batch *batch)
{
    uint32_t prefers = atomic_load_explicit(&batch->prefers, memory_order_relaxed);
    return !prefers || prefers == w->index + 1;
}

/* Does something seem to be left in it? A hint, read without holding the batch, whose memory
 * may be a large result or argument by now. */
__attribute__((no_sanitize("thread"))) static bool
looks_open(struct cvy_worker *w, const struct cvy_batch *batch, uint32_t slot)
{
    if (!is_for(w, batch))
        return false;
    if (atomic_load_explicit(&batch->cursor, memory_order_acquire) <
        atomic_load_explicit(&batch->n, memory_order_relaxed))
        return true;
    uint64_t set = atomic_load_explicit(&batch->orphan_set, memory_order_acquire);
    for (; set; set &= set - 1)
        if (atomic_load_explicit(&batch->orphans[__builtin_ctzll(set)],
                                 memory_order_relaxed))
            return true;
    uint32_t workers = atomic_load_explicit(&w->shared->workers, memory_order_relaxed);
    for (uint32_t i = 0; i < workers; i++)
        if (i != w->index &&
            cvy_range_is_of(
                atomic_load_explicit(&w->shared->lines[i].claim, memory_order_relaxed),
                slot))
            return true;
    return false;
}

/* Whether the pages of this memory are here, as far as known. From now on they are. */
static bool is_known(struct cvy_worker *w, cvy_ref run)
{
    for (uint32_t i = 0; i < CVY_WORKER_RUNS; i++)
        if (w->runs[i] == run)
            return true;
    w->runs[w->next_run++ % CVY_WORKER_RUNS] = run;
    return false;
}

/* Results are first written here, so it is here that their pages are made: all at once,
 * and while the pool's process does so for arguments. Other pages come one by one. */
static void make_pages(struct cvy_worker *w, cvy_ref run)
{
    const struct cvy_batch *batch = w->batch;
    uint64_t start = batch->out & ~(uint64_t)(CVY_PAGE - 1);
    uint64_t end = cvy_round_up(batch->out + batch->n * batch->out_size, CVY_PAGE);
    if (batch->flags & CVY_BATCH_COPIES && end - start >= CVY_POOL_LARGE &&
        !is_known(w, run))
        (void)cvy_os_populate(cvy_pool_address(start), end - start);
}

/* It looks at this batch no more, unless it is to be ended there: pairs with
 * cvy_pool_kill_in. */
static void let_go(struct cvy_worker *w, uint32_t slot)
{
    uint32_t there = slot + 1;
    if (!atomic_compare_exchange_strong(&w->line->batch, &there, 0))
        cvy_task_await_end(w);
}

/* Pairs with cvy_pool_retire: either we see the slot inactive or it sees us in it. */
static bool enter(struct cvy_worker *w, uint32_t slot)
{
    atomic_store_explicit(&w->line->begun, 0, memory_order_relaxed);
    atomic_store(&w->line->batch, slot + 1);
    if (!(atomic_load(&w->shared->active) >> slot & 1)) {
        let_go(w, slot);
        return false;
    }
    cvy_ref run = atomic_load(&w->shared->batches[slot]);
    struct cvy_batch *batch = cvy_at(run);
    w->batch = batch;
    w->slot = slot;
    w->n = batch->n;
    w->chunk = batch->chunk;
    uint32_t measured = atomic_load_explicit(&batch->measured, memory_order_relaxed);
    w->cost = measured ? measured : batch->cost;
    w->in = batch->in_size ? cvy_pool_address(batch->in) : NULL;
    w->out = cvy_pool_address(batch->out);
    w->call.arg_size = batch->in_size;
    w->call.result_capacity = batch->out_size;
    w->flags = batch->flags;
    w->entries =
        w->flags & CVY_BATCH_TASKS ? cvy_batch_entries(batch, batch->room) : NULL;
    w->deadlines =
        w->flags & CVY_BATCH_DATED ? cvy_batch_deadlines(batch, batch->room) : NULL;
    if (w->flags & CVY_BATCH_BOUND)
        atomic_store_explicit(&w->deadline, batch->bounds.deadline,
                              memory_order_relaxed);
    if (find_function(w) < 0)
        w->fn = no_function;
    make_pages(w, run);
    return true;
}

/* Who waits there is told of each death besides, so it does not matter that one can be
 * killed between the two stores for an event loop. */
void cvy_worker_ring(struct cvy_worker *w, uint32_t map)
{
    cvy_word *word = &w->shared->rings[map].word;
    struct cvy_pool_hooks *hooks = &w->shared->hooks;
    w->has_news = false;
    if (cvy_ring_step(word))
        (void)cvy_os_futex_wake(word, INT_MAX);
    if (hooks->fd >= 0 && atomic_load(&hooks->fd_armed) &&
        atomic_exchange(&hooks->fd_armed, 0))
        cvy_os_flag_raise(hooks->fd);
}

/* Out of the batch; who has news rings, and whoever finds itself the last one in it. Of two
 * that leave at the same time at least one sees the other gone. */
static void leave(struct cvy_worker *w)
{
    uint32_t map = w->batch->map;
    bool has_news = w->has_news;
    if (w->flags & CVY_BATCH_BOUND)
        atomic_store_explicit(&w->deadline, INT64_MAX, memory_order_relaxed);
    w->flags = 0;
    w->entries = NULL;
    let_go(w, w->slot);
    uint32_t workers = atomic_load(&w->shared->workers);
    for (uint32_t i = 0; i < workers && !has_news; i++)
        if (cvy_line_batch(&w->shared->lines[i]) == w->slot + 1)
            return;
    cvy_worker_ring(w, map);
}

static void count_claim(struct cvy_worker *w)
{
    uint32_t finished = atomic_load_explicit(&w->line->finished, memory_order_relaxed);
    atomic_store_explicit(&w->line->finished, finished + 1, memory_order_relaxed);
}

static bool others_wait(const struct cvy_worker *w)
{
    uint64_t active = atomic_load_explicit(&w->shared->active, memory_order_relaxed);
    return active & ~(UINT64_C(1) << w->slot);
}

/* An item of its own is not measured: it would wait for the clock. */
static void work_alone(struct cvy_worker *w)
{
    w->rung = INT64_MAX; /* leaving the batch rings */
    while (cvy_claim_take(w)) {
        run_items(w, atomic_load_explicit(&w->line->running, memory_order_relaxed));
        count_claim(w);
    }
}

void cvy_worker_tell(struct cvy_worker *w, int64_t now)
{
    if (w->entries && now - w->rung > CVY_RING_EVERY) {
        w->rung = now;
        cvy_worker_ring(w, w->batch->map);
    }
}

static void work_in_batch(struct cvy_worker *w)
{
    int64_t start = cvy_os_now(), turn_ends = start + TURN;
    w->rung = start;
    while (cvy_claim_take(w)) {
        uint64_t range = atomic_load_explicit(&w->line->running, memory_order_relaxed);
        uint64_t count = 0;
        int64_t now = start;
        for (; range; range = cvy_claim_next(w)) {
            run_items(w, range);
            count += cvy_range_count(range);
            if (w->chunk)
                continue;
            now = cvy_os_now();
            cvy_claim_measure(w, cvy_range_count(range), now - start);
            start = now;
            cvy_worker_tell(w, now);
        }
        if (w->chunk) {
            now = cvy_os_now();
            cvy_claim_measure(w, count, now - start);
            start = now;
            cvy_worker_tell(w, now);
        }
        count_claim(w);
        if (now > turn_ends && others_wait(w))
            return;
    }
}

/* ---- the loop ---- */

static bool anything_open(struct cvy_worker *w)
{
    uint64_t active = atomic_load(&w->shared->active);
    for (; active; active &= active - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(active);
        if (looks_open(w, cvy_at(atomic_load(&w->shared->batches[slot])), slot))
            return true;
    }
    return false;
}

/* Round from where it was, or, if it was idle, from the oldest batch on, which is read after
 * those that there are. Returns: whether there was anything to do. */
static bool look_around(struct cvy_worker *w, bool was_idle)
{
    uint64_t active = atomic_load(&w->shared->active);
    if (was_idle)
        w->slot = atomic_load_explicit(&w->shared->oldest, memory_order_acquire);
    const uint64_t from_here_on = ~UINT64_C(0) << w->slot;
    while (active) {
        uint64_t first = active & from_here_on ? active & from_here_on : active;
        uint32_t slot = (uint32_t)__builtin_ctzll(first);
        active &= ~(UINT64_C(1) << slot);
        cvy_ref ref = atomic_load(&w->shared->batches[slot]);
        if (!looks_open(w, cvy_at(ref), slot) || !enter(w, slot))
            continue;
        if (!is_for(w, w->batch)) { /* it was another one when it looked open */
            leave(w);
            continue;
        }
        cvy_task_limit_memory(w, w->batch->memory);
        cvy_worker_say_where(w);
        if (cvy_unlikely(w->has_slept))
            cvy_worker_spread(w);
        w->has_slept = false;
        if (w->n == 1)
            work_alone(w);
        else
            work_in_batch(w);
        leave(w);
        w->slot = slot + 1;
        return true;
    }
    return false;
}

static bool rung(const struct cvy_worker *w, uint32_t bell)
{
    uint32_t now = atomic_load_explicit(&w->shared->doorbell, memory_order_acquire);
    return (now | CVY_RING_SLEEPS) != (bell | CVY_RING_SLEEPS);
}

/* One worker at a time waits awake, so that a call that comes soon costs no wake-up. Its
 * mark goes when it is called, or before it sleeps; then it looks at the bell again
 * (cvy_pool_ring takes the mark after it has rung the bell). */
static bool spin_for_work(struct cvy_worker *w, uint32_t bell)
{
    struct cvy_spin spin = {.close_looks = CLOSE_LOOKS, .yields_often = true};
    uint32_t nobody = 0, me = w->index + 1;
    if (atomic_load_explicit(&w->shared->spinner, memory_order_relaxed) ||
        !atomic_compare_exchange_strong(&w->shared->spinner, &nobody, me))
        return false;
    while (!rung(w, bell) && cvy_spin(&spin))
        ;
    (void)atomic_compare_exchange_strong(&w->shared->spinner, &me, 0);
    /* Somebody may have offered items in the meantime, which rings nothing. */
    return rung(w, bell) || anything_open(w);
}

static void wait_for_work(struct cvy_worker *w, uint32_t bell)
{
    cvy_word *word = &w->shared->doorbell;
    uint32_t gong = cvy_gong();
    if (spin_for_work(w, bell) || rung(w, bell))
        return;
    uint32_t seen = atomic_load(word);
    if ((seen | CVY_RING_SLEEPS) != (bell | CVY_RING_SLEEPS))
        return;
    if (!(seen & CVY_RING_SLEEPS) &&
        !atomic_compare_exchange_strong(word, &seen, seen | CVY_RING_SLEEPS))
        return;
    (void)cvy_sleep(word, seen | CVY_RING_SLEEPS, gong, COVEY_FOREVER,
                    cvy_ref_of(w->shared));
    w->has_slept = true;
}

/* Whether it ends now. That it is to retire can be taken back until here. It may have been
 * called for what another one has to do then. */
static bool ends(struct cvy_worker *w)
{
    uint32_t told = CVY_IS_TO_RETIRE;
    if (atomic_load(&w->shared->stop))
        return true;
    if (!cvy_worker_is_leaving(w))
        return false;
    if (!w->tasks_left)
        atomic_store(&w->line->retire, CVY_RETIRES);
    else if (!atomic_compare_exchange_strong(&w->line->retire, &told, CVY_RETIRES))
        return false;
    if (anything_open(w)) {
        atomic_fetch_add(&w->shared->doorbell, CVY_RING_STEP);
        (void)cvy_os_futex_wake(&w->shared->doorbell, 1);
    }
    return true;
}

static void serve(struct cvy_worker *w)
{
    for (bool any = false;;) {
        uint32_t bell = atomic_load(&w->shared->doorbell);
        if (ends(w))
            return;
        any = look_around(w, !any);
        if (!any)
            wait_for_work(w, bell);
    }
}

/* ---- pools in tasks ---- */

static struct cvy_pool_shared *process_works_for;

int cvy_pool_share_of_cores(size_t *ret_cores)
{
    const struct cvy_worker *here = cvy_worker_here();
    const struct cvy_pool_shared *outer = here ? here->shared : process_works_for;
    *ret_cores = 0;
    if (!outer)
        return 0;
    size_t cores = outer->hooks.cores;
    int r = cores ? 0 : covey_cpu_count(&cores);
    if (r >= 0)
        *ret_cores =
            cvy_max_size(cores / cvy_max_u64(atomic_load(&outer->counts.target), 1), 1);
    return r;
}

/* ---- begin and end ---- */

/* Its end is at hand, which is told now: an end in order wakes nobody. */
static void leave_pool(struct cvy_worker *w, uint32_t how)
{
    atomic_store(&w->line->left, how);
    if (!atomic_load(&w->shared->stop))
        cvy_gong_strike();
}

/* The worker holds the pool: its memory stays until no worker can write to it any more,
 * also when the pool's process was killed. A thread is covered by its process's hold. */
int cvy_pool_work(struct covey_view view)
{
    const struct cvy_worker_arg *arg = view.data;
    struct covey_pool *pool = cvy_at(arg->pool);
    if (cvy_enter() < 0)
        return 1;
    if (!arg->is_thread) {
        cvy_os_ignore_interrupt();
        if (cvy_object_hold(pool, cvy_member_owner(), "a pool's worker") < 0)
            return 1;
    }
    struct cvy_pool_shared *shared = cvy_at(pool->shared);
    if (!arg->is_thread)
        process_works_for = shared;
    /* Who started it may be the pool's own thread, which blocks all. */
    if (!arg->is_thread)
        cvy_os_set_blocked_signals(shared->hooks.signals);
    struct cvy_worker w = {.shared = shared,
                           .pool = pool,
                           .index = arg->line,
                           .line = &shared->lines[arg->line],
                           .steal_from = arg->line + 1,
                           .tasks_left = shared->hooks.max_tasks,
                           .is_thread = arg->is_thread,
                           .deadline = INT64_MAX,
                           .pid = cvy_os_pid()};
    cvy_worker_is_here(&w);
    covey_worker_set_state(NULL); /* a fork of a worker has that one's */
    if (!w.tasks_left)
        w.tasks_left = UINT64_MAX;
    int r = cvy_task_init(&w);
    if (r == 0) {
        atomic_store(&w.line->thread, cvy_thread_owner());
        serve(&w);
        r = cvy_task_exit(&w);
    } else {
        atomic_store(&w.line->init_code, r);
    }
    cvy_worker_is_here(NULL);
    leave_pool(&w, atomic_load(&w.line->init_code) ? 2 : 1);
    return r ? 1 : 0;
}
