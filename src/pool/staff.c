/* SPDX-License-Identifier: MIT */
/* staff.c: how many workers there are, and which.
 *
 * A worker has a line of shared memory; a line is "wanted" while somebody is to work there.
 * As many lines are wanted as the pool is to have workers:
 *
 *   unwanted, free --(more are wanted)--> wanted --(process ends)--> started again
 *        ^                                   |  ^ more are wanted before it has begun to end
 *        |                                   |  fewer are wanted, or it is relieved
 *        \------(its process has ended)------/  `retire`: it ends after its item
 *
 * Relief: a worker that is too old, has grown too large, or begins its last task, passes
 * being wanted on to a free line, where its successor starts. Only when that one is up the
 * old one is told to retire. There are never more old ones than wanted: successors at their
 * own last tasks wait, or each would start the next, without end. So a pool of n runs at most
 * 2 n tasks at once. Who has said that he retires, and runs an exit hook, is not taken back:
 * another line is wanted instead of his, while there are not too many like him. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "pool/pool.h"
#include "pool/worker.h"
#include "region/wait.h"

#define LOOK_TIME     COVEY_MSEC(2)
#define MEMORY_TIME   COVEY_MSEC(100) /* between looks at what workers take */
#define PATIENCE      3u              /* barren deaths before starts are put off */
#define LONGEST_PAUSE COVEY_MSEC(200)
#define KILLS_TIME    COVEY_SEC(3) /* a storm of kills may last so long */

/* ---- starting ---- */

static int start_worker(struct cvy_pool *pool, uint32_t index)
{
    struct cvy_pool_worker *worker = &pool->worker[index];
    char name[32];
    struct cvy_worker_arg arg = {.pool = cvy_ref_of(pool->object),
                                 .line = index,
                                 .is_thread = pool->method == COVEY_THREAD};
    struct covey_process_opts opts = {.size = sizeof opts,
                                      .name = name,
                                      .method = pool->method,
                                      .daemon = COVEY_ON,
                                      .children = COVEY_ON,
                                      .holds = {COVEY_NO_HOLDS},
                                      .cpus = pool->cpus[0] ? pool->cpus : NULL};
    int fd = pool->shared->hooks.fd;
    if (fd >= 0 && (pool->method == COVEY_SPAWN || pool->method == COVEY_FORKSERVER)) {
        opts.fds = &fd;
        opts.fd_count = 1;
    }
    (void)snprintf(name, sizeof name, "PoolWorker-%u", ++pool->started);
    if (pool->holds[0])
        memcpy(opts.holds, pool->holds, sizeof opts.holds);
    int r = covey_process_create(&worker->process, cvy_pool_work, COVEY_VIEW_OF(arg),
                                 &opts);
    if (r < 0)
        return r;
    r = covey_process_start(worker->process);
    if (r < 0) {
        covey_process_free(worker->process);
        worker->process = NULL;
        return r;
    }
    (void)covey_process_pid(worker->process, &worker->pid);
    worker->ended = false;
    worker->ends_by = 0;
    worker->born = cvy_os_now();
    if (pool->staff.max_age)
        pool->staff.due =
            cvy_min_i64(pool->staff.due, cvy_later(worker->born, pool->staff.max_age));
    if (pool->started > pool->target)
        cvy_count(&pool->shared->counts.restarts, 1);
    cvy_loop_watch(pool, index);
    return 0;
}

static uint64_t finished_claims(const struct cvy_pool *pool)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < pool->workers; i++)
        sum += atomic_load_explicit(&pool->shared->lines[i].finished,
                                    memory_order_relaxed);
    return sum;
}

/* One more death or failed start; anything finished in between forgives all before. */
void cvy_staff_count_barren(struct cvy_pool *pool, const char *cause, bool killed)
{
    uint64_t finished = finished_claims(pool);
    if (finished != pool->finished)
        pool->barren = 0;
    if (!pool->barren) {
        pool->barren_since = cvy_os_now();
        pool->barren_by_kill = false;
    }
    pool->finished = finished;
    pool->barren++;
    pool->barren_by_kill = pool->barren_by_kill || killed;
    (void)snprintf(pool->cause, sizeof pool->cause, "%s", cause);
}

/* Who kills from outside may stop doing so, unlike what fails by itself. */
bool cvy_staff_is_hopeless(const struct cvy_pool *pool)
{
    return pool->barren >= 3 * pool->target + 8 &&
           (!pool->barren_by_kill || cvy_os_now() - pool->barren_since >= KILLS_TIME);
}

static int64_t pause_before_start(const struct cvy_pool *pool)
{
    if (pool->barren <= PATIENCE)
        return 0;
    uint64_t doublings = cvy_min_u64(pool->barren - PATIENCE, 8);
    return cvy_min_i64(COVEY_MSEC(1) << doublings, LONGEST_PAUSE);
}

int cvy_pool_start_workers(struct cvy_pool *pool)
{
    int first = 0;
    for (uint32_t i = 0; i < pool->workers; i++) {
        struct cvy_pool_worker *worker = &pool->worker[i];
        if (worker->process || !worker->is_wanted || pool->closing ||
            (worker->due && worker->due > cvy_os_now()))
            continue;
        int r = start_worker(pool, i);
        worker->due = cvy_os_now() + LOOK_TIME;
        if (r >= 0)
            continue;
        first = first ? first : r;
        cvy_staff_count_barren(pool, covey_error_detail(), false);
        worker->due += pause_before_start(pool);
    }
    cvy_loop_look_by(pool, cvy_pool_due(pool)); /* who calls may leave the pool now */
    return first;
}

int64_t cvy_pool_due(const struct cvy_pool *pool)
{
    bool may_start = !pool->closing;
    int64_t due = may_start ? pool->staff.due : INT64_MAX;
    for (uint32_t i = 0; i < pool->workers; i++) {
        const struct cvy_pool_worker *worker = &pool->worker[i];
        bool is_pending = !atomic_load(&pool->shared->lines[i].thread) ||
                          worker->ends_by || (may_start && worker->relieves);
        if (worker->process ? is_pending : may_start && worker->is_wanted)
            due = cvy_min_i64(due, worker->due);
    }
    return due;
}

void cvy_staff_put_off(struct cvy_pool *pool, uint32_t index)
{
    pool->worker[index].due = cvy_os_now() + pause_before_start(pool);
}

void cvy_staff_looked(struct cvy_pool *pool, uint32_t index)
{
    pool->worker[index].due = cvy_os_now() + LOOK_TIME;
}

/* ---- how many ---- */

static void want(struct cvy_pool *pool, uint32_t index)
{
    pool->worker[index].is_wanted = true;
    pool->workers = (uint32_t)cvy_max_u64(pool->workers, index + 1);
    atomic_store(&pool->shared->workers, pool->workers);
}

/* Who retires drops what it has claimed and not begun, in any batch. */
static void expect_drops(struct cvy_pool *pool)
{
    for (uint32_t slot = 0; slot < CVY_POOL_BATCHES; slot++)
        if (pool->slots[slot].use == CVY_SLOT_ACTIVE)
            pool->slots[slot].deaths = true;
}

/* Who sleeps looks up. */
static void unwant(struct cvy_pool *pool, uint32_t index)
{
    struct cvy_pool_worker *worker = &pool->worker[index];
    uint32_t stays = CVY_STAYS;
    worker->is_wanted = false;
    worker->relieves = 0;
    if (worker->process) {
        expect_drops(pool);
        (void)atomic_compare_exchange_strong(&pool->shared->lines[index].retire, &stays,
                                             CVY_IS_TO_RETIRE);
    }
    atomic_fetch_add(&pool->shared->doorbell, CVY_RING_STEP);
    (void)cvy_os_futex_wake(&pool->shared->doorbell, INT32_MAX);
}

static uint32_t count_wanted(const struct cvy_pool *pool)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < pool->lines; i++)
        count += pool->worker[i].is_wanted;
    return count;
}

/* Who is to be relieved retires without waiting for his successor. */
static void end_reliefs(struct cvy_pool *pool)
{
    for (uint32_t i = 0; i < pool->lines; i++)
        if (pool->worker[i].relieves) {
            unwant(pool, pool->worker[i].relieves - 1);
            pool->worker[i].relieves = 0;
        }
}

/* Lines that are not wanted. */
enum use { CAN_STAY, IS_FREE, IS_LEAVING };

/* Who is to retire can stay until he has begun to. */
static enum use use_of(struct cvy_pool *pool, uint32_t index)
{
    struct cvy_pool_line *line = &pool->shared->lines[index];
    if (!pool->worker[index].process)
        return IS_FREE;
    return atomic_load(&line->retire) == CVY_IS_TO_RETIRE && !atomic_load(&line->left)
               ? CAN_STAY
               : IS_LEAVING;
}

static bool stays(struct cvy_pool *pool, uint32_t index)
{
    uint32_t told = CVY_IS_TO_RETIRE;
    return atomic_compare_exchange_strong(&pool->shared->lines[index].retire, &told,
                                          CVY_STAYS);
}

/* Want lines of that kind. Returns: how many are missing then. */
static uint32_t want_some(struct cvy_pool *pool, enum use use, uint32_t missing)
{
    for (uint32_t i = 0; i < pool->lines && missing; i++)
        if (!pool->worker[i].is_wanted && use_of(pool, i) == use &&
            (use != CAN_STAY || stays(pool, i))) {
            want(pool, i);
            missing--;
        }
    return missing;
}

static uint32_t count_leaving(struct cvy_pool *pool)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < pool->lines; i++)
        count += !pool->worker[i].is_wanted && use_of(pool, i) == IS_LEAVING;
    return count;
}

/* Where somebody is on his way out, another one starts when he has ended; if there are not
 * too many of those, better in a free line, and now. */
static void grow(struct cvy_pool *pool, uint32_t missing, uint32_t workers)
{
    missing = want_some(pool, CAN_STAY, missing);
    bool many = count_leaving(pool) >= 2 * workers;
    missing = want_some(pool, many ? IS_LEAVING : IS_FREE, missing);
    (void)want_some(pool, many ? IS_FREE : IS_LEAVING, missing);
}

/* Those first where nobody works yet. */
static void shrink(struct cvy_pool *pool, uint32_t surplus)
{
    for (int also_who_works = 0; also_who_works < 2; also_who_works++)
        for (uint32_t i = pool->lines; i > 0 && surplus; i--) {
            const struct cvy_pool_worker *worker = &pool->worker[i - 1];
            bool works = worker->process &&
                         atomic_load(&pool->shared->lines[i - 1].retire) == CVY_STAYS;
            if (!worker->is_wanted || (works && !also_who_works))
                continue;
            unwant(pool, i - 1);
            surplus--;
        }
}

/* Lines behind the last one in use are not looked at. */
static void forget_last_lines(struct cvy_pool *pool)
{
    uint32_t used = pool->lines;
    while (used && !pool->worker[used - 1].is_wanted && !pool->worker[used - 1].process)
        used--;
    pool->workers = used;
    atomic_store(&pool->shared->workers, used);
}

static void set_target(struct cvy_pool *pool, uint32_t workers)
{
    end_reliefs(pool);
    uint32_t wanted = count_wanted(pool);
    if (wanted < workers)
        grow(pool, workers - wanted, workers);
    else
        shrink(pool, wanted - workers);
    forget_last_lines(pool);
    pool->target = workers;
    atomic_store(&pool->shared->counts.target, workers);
}

/* A small pool looks for nothing by itself; this one has to, and is not idle yet. */
int cvy_staff_resize(struct cvy_pool *pool, uint32_t workers)
{
    struct cvy_staff *staff = &pool->staff;
    staff->is_small = false;
    staff->idle_since = 0;
    if (cvy_staff_is_watched(staff))
        staff->due = cvy_os_now();
    cvy_pool_reap_workers(pool, false);
    set_target(pool, workers);
    return cvy_pool_start_workers(pool);
}

/* ---- relief ---- */

static bool is_too_old(const struct cvy_pool *pool, uint32_t index, int64_t now)
{
    return pool->staff.max_age && now - pool->worker[index].born >= pool->staff.max_age;
}

static bool is_too_large(const struct cvy_pool *pool, uint32_t index)
{
    uint64_t own = 0;
    return pool->staff.max_memory && pool->method != COVEY_THREAD &&
           cvy_os_own_memory(pool->worker[index].pid, &own) >= 0 &&
           own > pool->staff.max_memory;
}

static int find_free(const struct cvy_pool *pool)
{
    for (uint32_t i = 0; i < pool->lines; i++)
        if (!pool->worker[i].is_wanted && !pool->worker[i].process)
            return (int)i;
    return -1;
}

/* Who was there has died: nobody has to retire when the one who succeeds him is up. */
static void forget_relief_of(struct cvy_pool *pool, uint32_t index)
{
    for (uint32_t i = 0; i < pool->lines; i++)
        if (pool->worker[i].relieves == index + 1)
            pool->worker[i].relieves = 0;
}

/* Whether a line is free for a successor, and few enough of the old ones are left. */
bool cvy_staff_may_relieve(const struct cvy_pool *pool)
{
    uint32_t old = 0;
    if (!pool->staff.relieves || pool->closing)
        return false;
    for (uint32_t i = 0; i < pool->workers; i++)
        old += pool->worker[i].process && !pool->worker[i].is_wanted;
    return old < pool->target && find_free(pool) >= 0;
}

static void relieve(struct cvy_pool *pool, uint32_t index)
{
    int line = find_free(pool);
    forget_relief_of(pool, (uint32_t)line);
    want(pool, (uint32_t)line);
    pool->worker[line].relieves = index + 1;
    pool->worker[line].due = 0;
    pool->worker[index].is_wanted = false; /* it works on until the other one is up, */
    expect_drops(pool);                    /* or its last task has ended */
}

static bool is_up(const struct cvy_pool *pool, uint32_t index)
{
    return pool->worker[index].process &&
           atomic_load(&pool->shared->lines[index].thread);
}

static void finish_reliefs(struct cvy_pool *pool)
{
    for (uint32_t i = 0; i < pool->lines; i++) {
        uint32_t old = pool->worker[i].relieves;
        if (!old || !is_up(pool, i))
            continue;
        pool->worker[i].relieves = 0;
        unwant(pool, old - 1);
    }
}

static void begin_reliefs(struct cvy_pool *pool, int64_t now)
{
    struct cvy_staff *staff = &pool->staff;
    bool weigh = staff->max_memory && now >= staff->weighed + MEMORY_TIME;
    if (weigh)
        staff->weighed = now;
    for (uint32_t i = 0; i < pool->workers && cvy_staff_may_relieve(pool); i++) {
        const struct cvy_pool_worker *worker = &pool->worker[i];
        if (!worker->is_wanted || worker->relieves || !is_up(pool, i))
            continue;
        if (atomic_load(&pool->shared->lines[i].is_last) || is_too_old(pool, i, now) ||
            (weigh && is_too_large(pool, i)))
            relieve(pool, i);
    }
}

/* ---- idle ---- */

/* Whether items of the batch in this slot wait for a worker. */
static bool has_waiting(const struct cvy_pool_slot *s)
{
    if (s->use != CVY_SLOT_ACTIVE)
        return false;
    uint64_t set = atomic_load(&s->batch->orphan_set);
    while (set && !atomic_load(&s->batch->orphans[__builtin_ctzll(set)]))
        set &= set - 1;
    return set || atomic_load(&s->batch->cursor) < s->n;
}

/* Not while there is something to do that nobody has begun: workers may be on their way. */
static bool is_idle(const struct cvy_pool *pool)
{
    for (uint32_t i = 0; i < pool->workers; i++)
        if (atomic_load(&pool->shared->lines[i].batch))
            return false;
    for (uint32_t slot = 0; slot < CVY_POOL_BATCHES; slot++)
        if (has_waiting(&pool->slots[slot]))
            return false;
    return true;
}

static void look_for_idleness(struct cvy_pool *pool, int64_t now)
{
    struct cvy_staff *staff = &pool->staff;
    uint64_t finished = finished_claims(pool);
    if (!staff->idle_timeout || staff->is_small)
        return;
    if (!staff->idle_since || finished != staff->finished || !is_idle(pool))
        staff->idle_since = now;
    staff->finished = finished;
    if (now - staff->idle_since < staff->idle_timeout || pool->target <= staff->least)
        return;
    staff->full = pool->target;
    staff->is_small = true;
    set_target(pool, staff->least);
}

void cvy_staff_wake(struct cvy_pool *pool)
{
    struct cvy_staff *staff = &pool->staff;
    staff->idle_since = 0;
    if (!staff->is_small)
        return;
    staff->is_small = false;
    set_target(pool, staff->full);
    staff->due = cvy_min_i64(staff->due, cvy_os_deadline(staff->idle_timeout));
    (void)cvy_pool_start_workers(pool);
}

/* ---- looking ---- */

static int64_t next_look(const struct cvy_pool *pool, int64_t now)
{
    const struct cvy_staff *staff = &pool->staff;
    int64_t due = INT64_MAX;
    if (staff->idle_timeout && !staff->is_small && pool->target > staff->least)
        due = cvy_later(staff->idle_since, staff->idle_timeout);
    if (staff->max_memory)
        due = cvy_min_i64(due, staff->weighed + MEMORY_TIME);
    bool may_relieve = cvy_staff_may_relieve(pool);
    for (uint32_t i = 0; staff->max_age && i < pool->workers; i++) {
        const struct cvy_pool_worker *worker = &pool->worker[i];
        /* Who is too old and has to wait is looked at when one of the old ones ends. */
        if (worker->is_wanted && worker->process &&
            (may_relieve || !is_too_old(pool, i, now)))
            due = cvy_min_i64(due, cvy_later(worker->born, staff->max_age));
    }
    /* What is over already waits for a successor to come up. */
    return cvy_max_i64(due, now + LOOK_TIME);
}

void cvy_staff_look(struct cvy_pool *pool)
{
    if (!cvy_staff_is_watched(&pool->staff) || pool->closing)
        return;
    int64_t now = cvy_os_now();
    finish_reliefs(pool);
    begin_reliefs(pool, now);
    look_for_idleness(pool, now);
    pool->staff.due = next_look(pool, now);
}
