/* SPDX-License-Identifier: MIT */
/* Each kind of submission against each end of a worker, by each start method: the caller
 * gets just what is documented, every other item is done once, nobody hangs, the same pool
 * goes on, closes, and leaves nothing. */
#include <pthread.h>
#include <sched.h>

#include "pool_kinds.h"

/* What happens in a call, and what is to come of it. */
struct ending {
    enum fate fate;
    bool is_fresh;     /* workers are killed before, so that it happens to new ones */
    bool is_continued; /* who is stopped goes on when it may hold up nobody else */
    unsigned retries;  /* of the pool, */
    size_t max_tasks;  /* too */
    struct limits limits;       /* of the call */
    enum covey_outcome outcome; /* of the victim; 0: OK */
    const char *why;            /* in the text of its error */
    uint32_t tries;             /* how often the victim is begun; 0: once */
};

/* ---- one call ---------------------------------------------------------------------- */

static void expect(const struct call *call, const char *what, size_t i, intmax_t is,
                   intmax_t wanted)
{
    if (is != wanted)
        check_failed(__FILE__, __LINE__,
                     "%s, fate %d: %s of item %zu is %jd, not %jd: %s",
                     call->kind->name, (int)fate_of(call->stage), what, i, is, wanted,
                     call->text);
}

static void expect_text(const struct call *call, const char *part)
{
    if (!strstr(call->text, part))
        check_failed(__FILE__, __LINE__, "%s, fate %d: no \"%s\" in \"%s\"",
                     call->kind->name, (int)fate_of(call->stage), part, call->text);
}

static void expect_others_done(const struct call *call, enum covey_outcome victim,
                               uint32_t tries)
{
    for (size_t i = 0; i < ITEMS; i++) {
        enum covey_outcome wanted = i == VICTIM ? victim : COVEY_OUTCOME_OK;
        expect(call, "outcome", i, call->outcomes[i], wanted);
        expect(call, "result", i, (intmax_t)call->values[i],
               wanted == COVEY_OUTCOME_OK ? (intmax_t)(i * i) : 0);
        expect(call, "runs", i, atomic_load(&call->stage->runs[i]),
               i == VICTIM ? tries : 1);
    }
}

/* Its pid and, of a map of several, its index stand there, too. */
static void expect_reason(const struct call *call, const struct ending *ending)
{
    char part[64];
    int pid = (int)atomic_load(&call->stage->pid);
    expect(call, "outcome by code", VICTIM, outcome_of(call->code), ending->outcome);
    expect_text(call, ending->why);
    snprintf(part, sizeof part, "item %d", VICTIM);
    if (call->kind->is_chunked)
        expect_text(call, part);
    snprintf(part, sizeof part, "pid %d", pid);
    if (ending->outcome == COVEY_OUTCOME_CRASHED) {
        expect_text(call, "PoolWorker-");
        expect_text(call, part);
    }
    if (call->kind->has_report) {
        expect(call, "pid", VICTIM, call->report.pid, pid);
        expect(call, "outcome in the report", VICTIM, call->report.outcome,
               ending->outcome);
        expect(call, "code in the report", VICTIM, call->report.code, call->code);
        expect(call, "tries", VICTIM, call->report.tries, 1);
        if (ending->outcome == COVEY_OUTCOME_CRASHED)
            expect(call, "exit code", VICTIM, call->report.exitcode, -SIGKILL);
    }
    if (call->kind->has_summary) {
        expect(call, "first failure", VICTIM, (intmax_t)call->sum.first_failed, VICTIM);
        expect(call, "crashes", VICTIM, (intmax_t)call->sum.crashes,
               ending->outcome == COVEY_OUTCOME_CRASHED);
    }
}

/* With nothing in its way. */
static void check_usable(covey_pool *pool, struct stage *stage, const struct kind *kind)
{
    struct call call = new_call(pool, stage, kind);
    set_stage(stage, NOTHING, VICTIM, 0);
    kind->submit(&call);
    expect(&call, "code", 0, call.code, 0);
    expect_others_done(&call, COVEY_OUTCOME_OK, 1);
}

/* ---- workers ------------------------------------------------------------------------ */

/* Signals all of them, at most `most`. Returns: to how many. */
static size_t signal_workers(int pids[64], size_t most, int number)
{
    covey_process *children[64];
    size_t count = 0, known = 0;
    CHECK_OK(covey_active_children(children, 64, &count));
    for (size_t i = 0; i < count && known < most; i++)
        if (covey_process_pid(children[i], &pids[known]) == 0 &&
            kill(pids[known], number) == 0)
            known++;
    return known;
}

static bool are_idle(const covey_pool *pool)
{
    struct cvy_pool_shared *shared = cvy_at(pool->shared);
    uint32_t workers = atomic_load(&shared->workers);
    for (uint32_t i = 0; i < workers; i++)
        if (!atomic_load(&shared->lines[i].thread) ||
            atomic_load(&shared->lines[i].batch))
            return false;
    return true;
}

/* All are up and in no batch. Only calls start new ones. */
static void await_idle(covey_pool *pool, struct stage *stage, const struct kind *kind)
{
    do
        check_usable(pool, stage, kind);
    while (!are_idle(pool));
}

/* And waits until they are gone. */
static void kill_workers(struct stage *stage)
{
    int pids[64];
    size_t count = signal_workers(pids, 64, SIGKILL);
    for (size_t i = 0; i < count; i++) {
        await_gone(pids[i]);
        forget_stepped(stage, pids[i]);
    }
}

static void await_stop(int pid)
{
    while (state_of_thread(pid) != 'T')
        sched_yield();
}

/* While one worker is stopped, others see to all other items that nobody who waits is in
 * front of. */
static void *continue_victim(void *context)
{
    struct call *call = context;
    family_await(&call->stage->happened, 1);
    await_stop((int)atomic_load(&call->stage->pid));
    if (call->kind->is_chunked)
        family_await(&call->stage->others, ITEMS - 1);
    kill((int)atomic_load(&call->stage->pid), SIGCONT);
    return NULL;
}

/* ---- cells --------------------------------------------------------------------------- */

static covey_pool *new_pool(struct stage *stage, const struct ending *ending)
{
    covey_pool *pool = pool_with(
        2, POOL_OPTS(.retries = ending->retries, .max_tasks = ending->max_tasks,
                     .initializer = begin_worker, .initarg = COVEY_VIEW_OF(stage),
                     .exit_hook = end_worker, .exitarg = COVEY_VIEW_OF(stage)));
    atomic_store(&stage->pool, (uint64_t)(uintptr_t)pool);
    return pool;
}

static void end_pool(covey_pool *pool)
{
    CHECK_OK(covey_pool_close(pool));
    CHECK_OK(covey_pool_join(pool, COVEY_FOREVER));
    covey_pool_free(pool);
}

static void submit(struct call *call, const struct ending *ending)
{
    pthread_t thread;
    if (ending->is_continued)
        CHECK_EQ(pthread_create(&thread, NULL, continue_victim, call), 0);
    call->kind->submit(call);
    if (ending->is_continued)
        CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void count_to_the_commit(covey_pool *pool, struct stage *stage,
                                const struct kind *kind)
{
    struct call call = new_call(pool, stage, kind);
    set_stage(stage, COUNTS_TO_COMMIT, VICTIM, 1);
    kind->submit(&call);
    expect_others_done(&call, COVEY_OUTCOME_OK, 1);
    family_await(&stage->happened, 1);
}

static void do_cell(covey_pool *pool, struct stage *stage, const struct kind *kind,
                    const struct ending *ending)
{
    struct call call = new_call(pool, stage, kind);
    enum covey_outcome outcome = ending->outcome ? ending->outcome : COVEY_OUTCOME_OK;
    call.limits = ending->limits;
    if (ending->fate == DIES_COMMITTING)
        count_to_the_commit(pool, stage, kind);
    if (ending->is_fresh)
        await_idle(pool, stage, kind);
    set_stage(stage, ending->fate, VICTIM, 1);
    if (ending->is_fresh)
        kill_workers(stage);
    submit(&call, ending);
    if (ending->fate != NOTHING)
        family_await(&stage->happened, 1);
    expect_others_done(&call, outcome, ending->tries ? ending->tries : 1);
    if (outcome != COVEY_OUTCOME_OK)
        expect_reason(&call, ending);
    else
        expect(&call, "code", 0, call.code, 0);
}

/* One pool meets it in each kind of submission, and nothing is left of it. */
static void meet_in_each_kind(const struct ending *ending)
{
    struct stage *stage = new_stage();
    CHECK_EQ(run(do_nothing, COVEY_NO_VIEW, OPTS()), 0); /* a server stays */
    uint64_t objects = family_usage().objects;
    covey_pool *pool = new_pool(stage, ending);
    for (size_t k = 0; k < KINDS; k++) {
        check_usable(pool, stage, &kinds[k]);
        do_cell(pool, stage, &kinds[k], ending);
        check_usable(pool, stage, &kinds[k]);
    }
    end_pool(pool);
    CHECK_EQ(family_usage().objects, objects);
}

static void need_steps(void)
{
    if (!STEP_SELF_WORKS)
        SKIP("a process cannot trap itself here");
}

/* ---- a worker is killed --------------------------------------------------------------- */

TEST_EACH_METHOD(killed_while_idle)
{
    meet_in_each_kind(&(struct ending){.fate = NOTHING, .is_fresh = true});
}

TEST_EACH_METHOD(killed_at_a_step_as_it_enters_a_batch)
{
    need_steps();
    meet_in_each_kind(&(struct ending){.fate = DIES_ON_ENTRY, .is_fresh = true});
}

TEST_EACH_METHOD(killed_at_a_step_before_it_claims)
{
    need_steps();
    meet_in_each_kind(&(struct ending){.fate = DIES_BEFORE_CLAIM, .is_fresh = true});
}

TEST_EACH_METHOD(killed_at_a_step_after_it_claimed)
{
    need_steps();
    meet_in_each_kind(&(struct ending){.fate = DIES_AFTER_CLAIM, .is_fresh = true});
}

TEST_EACH_METHOD(killed_while_running)
{
    meet_in_each_kind(&(struct ending){
        .fate = DIES_RUNNING, .outcome = COVEY_OUTCOME_CRASHED, .why = "SIGKILL"});
}

TEST_EACH_METHOD(killed_while_running_and_run_again)
{
    meet_in_each_kind(&(struct ending){.fate = DIES_RUNNING, .retries = 1, .tries = 2});
}

TEST_EACH_METHOD(killed_at_a_step_of_the_commit)
{
    need_steps();
    meet_in_each_kind(&(struct ending){
        .fate = DIES_COMMITTING, .outcome = COVEY_OUTCOME_CRASHED, .why = "SIGKILL"});
}

TEST_EACH_METHOD(killed_at_a_step_of_the_commit_and_run_again)
{
    need_steps();
    meet_in_each_kind(
        &(struct ending){.fate = DIES_COMMITTING, .retries = 1, .tries = 2});
}

TEST_EACH_METHOD(killed_at_the_step_after_the_commit)
{
    need_steps();
    meet_in_each_kind(&(struct ending){.fate = DIES_AFTER_COMMIT});
}

/* ---- it dies before and after its tasks ------------------------------------------------ */

TEST_EACH_METHOD(killed_in_the_initializer)
{
    meet_in_each_kind(&(struct ending){.fate = DIES_IN_INITIALIZER, .is_fresh = true});
}

TEST_EACH_METHOD(killed_in_the_exit_hook)
{
    meet_in_each_kind(&(struct ending){.fate = DIES_IN_EXIT_HOOK, .max_tasks = 2});
}

/* ---- it does not go on, or too far ------------------------------------------------------ */

TEST_EACH_METHOD(stopped_for_a_while)
{
    meet_in_each_kind(&(struct ending){.fate = IS_STOPPED, .is_continued = true});
}

/* Each item alike: one that was to end well could be held up for so long by others. One
 * that is held up before its function begins is not done at all. */
static void run_out_of_time(enum fate fate)
{
    struct stage *stage = new_stage();
    covey_pool *pool = new_pool(stage, &(struct ending){.fate = fate});
    for (size_t k = 0; k < KINDS; k++) {
        struct call call = new_call(pool, stage, &kinds[k]);
        call.limits.time = COVEY_MSEC(10);
        check_usable(pool, stage, &kinds[k]);
        set_stage(stage, fate, EVERY_ITEM, UINT32_MAX);
        call.kind->submit(&call);
        expect(&call, "code", 0, call.code, -ETIMEDOUT);
        expect_text(&call, "longer than it may");
        for (size_t i = 0; i < ITEMS; i++) {
            expect(&call, "outcome", i, call.outcomes[i], COVEY_OUTCOME_TIMEOUT);
            expect(&call, "result", i, (intmax_t)call.values[i], 0);
            expect(&call, "further runs", i, atomic_load(&stage->runs[i]) > 1, 0);
        }
        check_usable(pool, stage, &kinds[k]);
    }
    end_pool(pool);
}

TEST_EACH_METHOD(stopped_until_its_time_is_over)
{
    run_out_of_time(IS_STOPPED);
}

TEST_EACH_METHOD(running_until_its_time_is_over)
{
    run_out_of_time(BLOCKS);
}

TEST_EACH_METHOD(out_of_memory)
{
    meet_in_each_kind(&(struct ending){.fate = TAKES_MEMORY,
                                       .limits = {.memory = 16 << 20},
                                       .outcome = COVEY_OUTCOME_MEMORY,
                                       .why = "memory"});
}

/* The other one does all, without waiting for it. */
TEST_EACH_METHOD(stopped_while_idle)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(50))));
    struct stage *stage = new_stage();
    covey_pool *pool = new_pool(stage, &(struct ending){.fate = NOTHING});
    for (size_t k = 0; k < KINDS; k++) {
        int pids[64];
        await_idle(pool, stage, &kinds[k]); /* who comes up may hold what all need */
        CHECK_EQ(signal_workers(pids, 1, SIGSTOP), 1);
        await_stop(pids[0]);
        check_usable(pool, stage, &kinds[k]);
        kill(pids[0], SIGCONT);
    }
    end_pool(pool);
}

/* ---- cancelled --------------------------------------------------------------------------- */

/* Nothing ends well; what was begun is ended once, all else is not begun. */
TEST_EACH_METHOD(cancelled_while_running)
{
    struct stage *stage = new_stage();
    covey_pool *pool = new_pool(stage, &(struct ending){.fate = BLOCKS});
    for (size_t k = 0; k < KINDS; k++) {
        struct call call = new_call(pool, stage, &kinds[k]);
        call.limits.is_cancelled = true;
        check_usable(pool, stage, &kinds[k]);
        set_stage(stage, BLOCKS, EVERY_ITEM, UINT32_MAX);
        call.kind->submit(&call);
        for (size_t i = 0; i < ITEMS; i++) {
            uint32_t runs = atomic_load(&stage->runs[i]);
            if (runs && call.outcomes[i] != COVEY_OUTCOME_TIMEOUT)
                expect(&call, "outcome", i, call.outcomes[i], COVEY_OUTCOME_CANCELLED);
            expect(&call, "runs", i, runs > 1, 0);
        }
        check_usable(pool, stage, &kinds[k]);
    }
    end_pool(pool);
}

/* ---- all kinds at once --------------------------------------------------------------------- */

struct crowd {
    struct call calls[KINDS];
    pthread_t threads[KINDS];
};

static void *submit_aside(void *context)
{
    struct call *call = context;
    call->kind->submit(call);
    return NULL;
}

static void start_crowd(struct crowd *crowd, covey_pool *pool, struct stage *stage)
{
    for (size_t k = 0; k < KINDS; k++) {
        crowd->calls[k] = new_call(pool, stage, &kinds[k]);
        CHECK_EQ(
            pthread_create(&crowd->threads[k], NULL, submit_aside, &crowd->calls[k]),
            0);
    }
}

static void join_crowd(struct crowd *crowd)
{
    for (size_t k = 0; k < KINDS; k++)
        CHECK_EQ(pthread_join(crowd->threads[k], NULL), 0);
}

/* It takes a while until it is given up, so once for all. */
TEST_EACH_METHOD(killed_in_each_initializer)
{
    static struct crowd crowd;
    struct stage *stage = new_stage();
    covey_pool *pool = new_pool(stage, &(struct ending){.fate = NOTHING});
    check_usable(pool, stage, &kinds[0]);
    set_stage(stage, DIES_IN_INITIALIZER, VICTIM, UINT32_MAX);
    kill_workers(stage);
    start_crowd(&crowd, pool, stage);
    join_crowd(&crowd);
    for (size_t k = 0; k < KINDS; k++) {
        const struct call *call = &crowd.calls[k];
        expect(call, "code", 0, call->code, COVEY_EBROKEN);
        expect_text(call, "SIGKILL");
        expect_text(call, "PoolWorker-");
        for (size_t i = 0; i < ITEMS; i++) {
            expect(call, "outcome", i, call->outcomes[i], COVEY_OUTCOME_LOST);
            expect(call, "runs", i, atomic_load(&stage->runs[i]), 0);
        }
    }
    for (size_t k = 0; k < KINDS; k++)
        check_usable(pool, stage, &kinds[k]);
    end_pool(pool);
}

static uint64_t submitted(covey_pool *pool)
{
    struct covey_pool_stats stats;
    CHECK_OK(covey_pool_stats(pool, &stats));
    return stats.submitted;
}

/* All kinds have rings of their own, and all tasks are there. */
static void await_submissions(covey_pool *pool, uint64_t before)
{
    struct cvy_pool *inner = cvy_pool_of(pool);
    for (size_t under_way = 0; under_way < KINDS;) {
        sched_yield();
        (void)pthread_mutex_lock(&inner->lock);
        under_way = inner->map_count;
        (void)pthread_mutex_unlock(&inner->lock);
    }
    while (submitted(pool) < before + ITEMS)
        sched_yield();
}

/* Their workers are stopped, so that they can only be killed; no item is done after that.
 * What is submitted too late is refused. */
TEST_EACH_METHOD(stopped_when_the_pool_is_terminated)
{
    static struct crowd crowd;
    struct stage *stage = new_stage();
    covey_pool *pool = new_pool(stage, &(struct ending){.fate = NOTHING});
    check_usable(pool, stage, &kinds[0]);
    set_stage(stage, IS_STOPPED, EVERY_ITEM, UINT32_MAX);
    uint64_t before = submitted(pool);
    start_crowd(&crowd, pool, stage);
    family_await(&stage->happened, 2);
    await_submissions(pool, before);
    CHECK_OK(covey_pool_terminate(pool));
    join_crowd(&crowd);
    CHECK_EQ(atomic_load(&stage->happened), 2);
    for (size_t k = 0; k < KINDS; k++) {
        const struct call *call = &crowd.calls[k];
        expect(call, "code", 0, call->code,
               call->kind->has_report ? -ECANCELED : COVEY_EFREED);
        for (size_t i = 0; i < ITEMS; i++)
            if (call->outcomes[i] != COVEY_OUTCOME_TIMEOUT)
                expect(call, "outcome", i, call->outcomes[i], COVEY_OUTCOME_CANCELLED);
    }
    struct call late = new_call(pool, stage, &kinds[0]);
    late.kind->submit(&late);
    expect(&late, "code", 0, late.code, COVEY_ECLOSED);
    CHECK_OK(covey_pool_join(pool, COVEY_NOWAIT));
    covey_pool_free(pool);
}

CHECK_MAIN()
