/* SPDX-License-Identifier: MIT */
/* cases_pool.c: workers of a pool, at items of any size. What the dead one's line and the
 * outcomes say at its death tells exactly what has to come of each item.
 *
 * The judge is the program with the pool, which is driven by its own loop: so nothing
 * happens on the pool's side while the victim is stepped. A worker becomes the victim, and
 * is stepped from the end of one item's function to the beginning of another's. */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crash.h"
#include "pool/flow.h"
#include "pool/limits.h"

enum { ITEMS = 8, BIRTH = -1, NEVER = -2, NONE = -3 };
enum { LITTLE = 8, MUCH = 80, LATER = ITEMS };

/* What an item's function does. */
enum what { GIVES_LITTLE, GIVES_MUCH, GIVES_NOTHING, FAILS, SAYS };

/* The worker that is not the victim: holds its first item, or dies at it, or comes when
 * the victim is stopped, and takes all it can get. */
enum other { NOBODY, HOLDS, DIES, TAKES };

struct plan {
    int n;         /* items */
    int from, to;  /* stepped is what lies between the functions of these items */
    unsigned cost; /* ns that an item seems to take: 500, so four at once; 10000, one */
    enum what what;
    enum other other;
    unsigned retries;
    unsigned max_tasks;
    bool limited; /* in time */
};

enum {
    FIRST,
    END,
    END_MUCH,
    END_NOTHING,
    END_RETRIED,
    END_ALONE,
    FAILURE,
    BITE,
    CLAIM,
    THEFT,
    ROBBED,
    ORPHANS,
    LIMITED,
    LAST,
    PROGRESS
};

static const struct plan plans[] = {
    [FIRST] = {4, BIRTH, 0, .cost = 500},
    [END] = {4, 0, 1, .cost = 500},
    [END_MUCH] = {4, 0, 1, .cost = 500, .what = GIVES_MUCH},
    [END_NOTHING] = {4, 0, 1, .cost = 500, .what = GIVES_NOTHING},
    [END_RETRIED] = {4, 0, 1, .cost = 500, .retries = 1},
    [END_ALONE] = {1, 0, NEVER, .cost = 500},
    [FAILURE] = {4, 0, 1, .cost = 500, .what = FAILS},
    [BITE] = {8, 0, 1, .cost = 10000},
    [CLAIM] = {8, 3, 4, .cost = 10000},
    [THEFT] = {8, 7, 2, .cost = 10000, .other = HOLDS},
    [ROBBED] = {8, 0, 1, .cost = 10000, .other = TAKES},
    [ORPHANS] = {8, BIRTH, 1, .cost = 10000, .other = DIES},
    [LIMITED] = {4, 0, 1, .cost = 500, .limited = true},
    [LAST] = {2, 0, NEVER, .cost = 500, .max_tasks = 1},
    [PROGRESS] = {1, 0, 0, .cost = 500, .what = SAYS},
};

/* What the judge and the workers share. */
static struct shop {
    cvy_word victim, other; /* their process ids */
    cvy_word held;          /* the other one has its item */
    cvy_word go;            /* and may go on */
    _Atomic uint32_t calls[ITEMS + 1];
} * shop;

/* The judge's. */
static const struct plan *plan;
static covey_pool *pool;
static covey_result *result;
static uint64_t args[ITEMS + 1];
static struct covey_bytes given[ITEMS];
static unsigned char outcomes[ITEMS];
static struct covey_map_summary sum;
static struct {
    uint8_t outcome;
    uint32_t calls;
} then[ITEMS];                  /* when the victim was killed */
static uint8_t promised[ITEMS]; /* final outcomes that the pool has told of */
static uint64_t said[2];

/* ---- in the workers --------------------------------------------------------------- */

static bool is_me(const cvy_word *id)
{
    return atomic_load(id) == (uint32_t)getpid();
}

static bool become(cvy_word *id)
{
    uint32_t nobody = 0;
    return atomic_compare_exchange_strong(id, &nobody, (uint32_t)getpid());
}

static void await(cvy_word *word)
{
    while (!atomic_load(word))
        (void)cvy_os_futex_wait_for(word, 0, COVEY_MSEC(5));
}

/* The initializer: who comes first plays the first role. */
static int be_born(struct covey_view unused)
{
    bool other_first = plan->other == HOLDS || plan->other == DIES;
    (void)unused;
    if (!(plan->other && other_first && become(&shop->other)) &&
        !become(&shop->victim) && plan->other == TAKES)
        (void)become(&shop->other);
    if (is_me(&shop->other) && plan->other == TAKES)
        await(&shop->go);
    if (is_me(&shop->victim) && plan->from == BIRTH)
        stepper_begin(&stage->progress);
    return 0;
}

static void play_other(void)
{
    if (plan->other == DIES)
        raise(SIGKILL);
    if (plan->other == HOLDS && !atomic_exchange(&shop->held, 1))
        await(&shop->go);
}

/* As long as it seems to take, so that estimates stay. */
static void take_time(void)
{
    int64_t until = cvy_os_now() + plan->cost;
    while (plan->cost > 1000 && cvy_os_now() < until)
        ;
}

static uint64_t value_of(uint64_t item)
{
    return item * item + 7;
}

static int give(struct covey_call *call, uint64_t item)
{
    uint64_t values[MUCH / sizeof(uint64_t)];
    if (item == LATER || plan->what == GIVES_LITTLE || plan->what == SAYS) {
        values[0] = value_of(item);
        return covey_call_return(call, values, LITTLE);
    }
    if (plan->what == FAILS)
        return COVEY_EREMOTE;
    if (plan->what == GIVES_NOTHING)
        return 0;
    for (size_t i = 0; i < CVY_ARRAY_SIZE(values); i++)
        values[i] = value_of(item + i);
    if (is_me(&shop->victim) && item == (uint64_t)plan->from)
        stepper_begin(&stage->progress);
    return covey_call_return(call, values, sizeof values);
}

/* Its text is made at full speed. */
static int act(struct covey_call *call)
{
    uint64_t item;
    memcpy(&item, covey_call_arg(call, NULL), sizeof item);
    atomic_fetch_add(&shop->calls[item], 1);
    bool am_victim = is_me(&shop->victim);
    if (is_me(&shop->other))
        play_other();
    take_time();
    if (plan->what == SAYS)
        (void)covey_call_progress(call, 1, 30);
    if (plan->what == FAILS)
        (void)covey_call_fail(call, "no %u today", (unsigned)item);
    if (am_victim && item == (uint64_t)plan->to && plan->what != SAYS)
        atomic_store(&stage->progress.done, 1);
    if (am_victim && item == (uint64_t)plan->from && plan->what != GIVES_MUCH)
        stepper_begin(&stage->progress);
    if (plan->what == SAYS)
        (void)covey_call_progress(call, 2, 40);
    if (am_victim && plan->what == SAYS)
        atomic_store(&stage->progress.done, 1);
    return give(call, item);
}

/* ---- the pool ----------------------------------------------------------------------- */

/* Batches and claims follow from what items of a function are known to cost. */
static void know_cost(void)
{
    (void)pthread_mutex_lock(&cvy_pool_of(pool)->lock);
    cvy_pool_cost(cvy_pool_of(pool), act)->cost = 16 * plan->cost;
    (void)pthread_mutex_unlock(&cvy_pool_of(pool)->lock);
}

static void submit_all(void)
{
    struct covey_view views[ITEMS];
    for (int i = 0; i <= ITEMS; i++)
        args[i] = (uint64_t)i;
    for (int i = 0; i < plan->n; i++)
        views[i] = COVEY_VIEW_OF(args[i]);
    if (covey_pool_starmap_async(
            &result, pool, act, views, 1, given, (size_t)plan->n,
            COVEY_MAP_OPTS(.outcomes = outcomes, .summary = &sum,
                           .time_limit = plan->limited ? COVEY_SEC(1000) : 0)) < 0)
        abort();
    (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
}

static void open_pool(void)
{
    *shop = (struct shop){.victim = 0};
    memset(outcomes, 0, sizeof outcomes);
    memset(promised, 0, sizeof promised);
    memset(said, 0, sizeof said);
    atomic_store(&stage->progress.begun, 0);
    atomic_store(&stage->progress.done, 0);
    if (covey_pool_create(&pool, plan->other == TAKES ? 2 : 1,
                          COVEY_POOL_OPTS(.method = COVEY_FORK, .own_loop = COVEY_ON,
                                          .retries = plan->retries,
                                          .max_tasks = plan->max_tasks,
                                          .initializer = be_born)) < 0)
        abort();
    know_cost();
    submit_all();
}

static void close_pool(void)
{
    covey_result_free(result);
    covey_pool_free(pool);
    for (int i = 0; i < ITEMS; i++)
        covey_bytes_free(&given[i]);
}

/* What the first pool of a process makes for all that come. */
static void warm_up(void)
{
    shop = mmap(NULL, sizeof *shop, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
    *shop = (struct shop){.victim = 1, .other = 1};
    args[LATER] = LATER;
    plan = &plans[END];
    if (covey_pool_create(&pool, 1, COVEY_POOL_OPTS(.method = COVEY_FORK)) < 0 ||
        covey_pool_apply(pool, act, COVEY_VIEW_OF(args[LATER]), NULL, NULL) < 0)
        abort();
    covey_pool_free(pool);
    crash_books_note();
}

/* All items in one batch, which on a busy machine takes a second attempt. */
static void set_up(void)
{
    if (!shop)
        warm_up();
    plan = &plans[stage->variant];
    open_pool();
    while (cvy_pool_of(pool)->slots[0].n != (uint64_t)plan->n) {
        close_pool();
        open_pool();
    }
    stage->object = NULL;
    if (plan->other != HOLDS)
        return;
    await(&shop->held);
    if (covey_pool_resize(pool, 2) < 0)
        abort();
}

static int find_victim(void *unused)
{
    (void)unused;
    while (!atomic_load(&shop->victim))
        if (plan->other == DIES)
            (void)covey_pool_dispatch(pool, COVEY_MSEC(1));
        else
            usleep(20);
    return (int)atomic_load(&shop->victim);
}

static void watch(void)
{
    struct cvy_pool_shared *shared = cvy_pool_of(pool)->shared;
    crash_watch_add(shared, offsetof(struct cvy_pool_shared, counts));
    crash_watch_add(shared->lines, 3 * sizeof shared->lines[0]);
    for (uint32_t slot = 0; slot < CVY_POOL_BATCHES; slot++)
        if (cvy_pool_of(pool)->slots[slot].use == CVY_SLOT_ACTIVE)
            crash_watch_add(cvy_pool_of(pool)->slots[slot].batch,
                            cvy_pool_of(pool)->slots[slot].run.bytes);
}

/* ---- against the stopped victim ------------------------------------------------------ */

static uint8_t outcome_of(uint64_t item)
{
    for (uint32_t slot = 0; slot < CVY_POOL_BATCHES && !outcomes[item]; slot++) {
        const struct cvy_pool_slot *s = &cvy_pool_of(pool)->slots[slot];
        if (s->use == CVY_SLOT_ACTIVE && item >= s->batch->base &&
            item < s->batch->base + s->n)
            return atomic_load(&s->batch->outcomes[item - s->batch->base]);
    }
    return outcomes[item];
}

static void note_promises(void)
{
    for (int i = 0; i < plan->n; i++)
        if (cvy_outcome_is_final(outcome_of((uint64_t)i)))
            promised[i] = outcome_of((uint64_t)i) & CVY_OUTCOME_MASK;
}

/* The pool may have ended the victim itself. */
static void see_whether_ended(void)
{
    bool lives = false;
    for (uint32_t i = 0; i < cvy_pool_of(pool)->workers; i++)
        lives = lives ||
                (cvy_pool_of(pool)->worker[i].process &&
                 cvy_pool_of(pool)->worker[i].pid == (int)atomic_load(&shop->victim));
    stage->is_gone = !lives;
}

static void cancel(void)
{
    (void)covey_result_cancel(result, 0);
    note_promises();
}
static void cancel_running(void)
{
    (void)covey_result_cancel(result, 1);
    note_promises();
    see_whether_ended();
}
static void cancel_and_go_on(void)
{
    cancel();
    crash_victim_goes_on();
}

static void set_limit(covey_nsec limit)
{
    cvy_tasks_map(cvy_pool_of(pool))->flow->limits.time = limit;
}
static void be_over_time(void)
{
    set_limit(1);
    (void)covey_pool_dispatch(pool, COVEY_NOWAIT);
    note_promises();
    set_limit(COVEY_SEC(1000));
    see_whether_ended();
}

/* The pool is slow: between the outcome and the kill the victim goes on. */
static void be_over_time_slowly(void)
{
    uint8_t running = CVY_OUTCOME_RUNNING;
    bool mine =
        atomic_compare_exchange_strong(&cvy_pool_of(pool)->slots[0].batch->outcomes[0],
                                       &running, COVEY_OUTCOME_TIMEOUT);
    note_promises();
    crash_victim_goes_on();
    if (!mine)
        return;
    (void)pthread_mutex_lock(&cvy_pool_of(pool)->lock);
    cvy_limits_end(cvy_pool_of(pool), 0, 0);
    (void)pthread_mutex_unlock(&cvy_pool_of(pool)->lock);
    see_whether_ended();
}

/* The other one takes what it can get, until it finds nothing. */
static void rob(void)
{
    int64_t until = cvy_os_now() + helpers_limit;
    bool is_done = false;
    atomic_store(&shop->go, 1);
    (void)cvy_os_futex_wake(&shop->go, 1);
    while (!is_done && cvy_os_now() < until) {
        usleep(100);
        is_done = true;
        for (int i = 4; i < plan->n; i++)
            is_done = is_done && cvy_outcome_is_final(outcome_of((uint64_t)i));
        for (uint32_t i = 0; i < 2; i++)
            is_done =
                is_done && (!cvy_pool_of(pool)->shared->lines[i].batch ||
                            cvy_pool_of(pool)->worker[i].pid == (int)shop->victim);
    }
}
static void rob_and_let_go_on(void)
{
    rob();
    crash_victim_goes_on();
}

/* The successor of one at its last task comes up beside it. */
static void relieve(void)
{
    for (int i = 0; i < 4 && !cvy_pool_of(pool)->shared->lines[0].left; i++)
        (void)covey_pool_dispatch(pool, COVEY_MSEC(1));
}

static void ask_progress(void)
{
    if (covey_result_progress(result, &said[0], &said[1]) < 0)
        abort();
}

/* ---- what came of it ------------------------------------------------------------------- */

static void look(void)
{
    for (int i = 0; i < plan->n; i++) {
        then[i].outcome = outcome_of((uint64_t)i);
        then[i].calls = atomic_load(&shop->calls[i]);
    }
    atomic_store(&shop->go, 1);
    (void)cvy_os_futex_wake(&shop->go, 1);
}

/* It is the victim's: the other one holds the first item, and lives. */
static bool was_running(int i)
{
    return then[i].outcome == CVY_OUTCOME_RUNNING && !(plan->other == HOLDS && i == 0);
}

static uint8_t wanted_of(int i)
{
    if (promised[i])
        return promised[i];
    if (cvy_outcome_is_final(then[i].outcome))
        return then[i].outcome & CVY_OUTCOME_MASK;
    if (was_running(i) && !plan->retries)
        return COVEY_OUTCOME_CRASHED;
    return plan->what == FAILS ? COVEY_OUTCOME_ERROR : COVEY_OUTCOME_OK;
}

static const char *check_result(int i)
{
    static const size_t sizes[] = {
        [GIVES_LITTLE] = LITTLE, [GIVES_MUCH] = MUCH, [SAYS] = LITTLE, [FAILS] = 0};
    const uint64_t *values = given[i].data;
    if (given[i].size != sizes[plan->what])
        return wrong("item %d has a result of %zu bytes", i, given[i].size);
    for (size_t at = 0; at < given[i].size / sizeof *values; at++)
        if (values[at] != value_of((uint64_t)i + at))
            return wrong("item %d has a wrong result", i);
    return NULL;
}

static const char *check_item(int i)
{
    uint8_t wanted = wanted_of(i);
    bool again = was_running(i) && plan->retries;
    bool is_new = then[i].outcome == COVEY_OUTCOME_NONE;
    uint32_t calls = atomic_load(&shop->calls[i]);
    if (outcomes[i] != wanted)
        return wrong("item %d has outcome %u, not %u (at the kill it was %#x)", i,
                     outcomes[i], wanted, then[i].outcome);
    if (calls != then[i].calls + again + is_new)
        return wrong("item %d was called %u times, %u before the kill", i, calls,
                     then[i].calls);
    if (wanted == COVEY_OUTCOME_CANCELLED && promised[i] && then[i].calls &&
        !stage->is_gone)
        return wrong("item %d was cancelled, and called", i);
    if (i == 0 && wanted == COVEY_OUTCOME_ERROR && !strstr(sum.text, "no 0 today"))
        return wrong("the text of its failure is \"%s\"", sum.text);
    return wanted == COVEY_OUTCOME_OK ? check_result(i) : NULL;
}

static const char *check_progress(void)
{
    if (plan->what == SAYS && said[1] && !(said[0] == 1 && said[1] == 30) &&
        !(said[0] == 2 && said[1] == 40) && !(said[0] == 0 && said[1] == 1))
        return wrong("it is %d of %d", (int)said[0], (int)said[1]);
    return NULL;
}

static const char *check_counts(void)
{
    struct covey_pool_stats stats;
    if (covey_pool_stats(pool, &stats) < 0)
        return "the pool has no numbers";
    if (stats.done != (uint64_t)plan->n + 1 || stats.running || stats.queued)
        return wrong("%d tasks are done, %d run, %d wait", (int)stats.done,
                     (int)stats.running, (int)stats.queued);
    if (stats.crashes > 1u + (plan->other == DIES) || stats.retried > plan->retries)
        return wrong("%d crashes and %d retries are counted", (int)stats.crashes,
                     (int)stats.retried);
    return NULL;
}

/* The pool goes on, and ends in order. */
static const char *use_and_close(void)
{
    covey_result *later = NULL;
    struct covey_bytes bytes = {0};
    if (covey_pool_apply_async(&later, pool, act, COVEY_VIEW_OF(args[LATER]), NULL) < 0)
        return "a later task cannot be submitted";
    int r = covey_result_get(later, &bytes, helpers_limit);
    bool right =
        bytes.size == LITTLE && *(const uint64_t *)bytes.data == value_of(LATER);
    covey_bytes_free(&bytes);
    covey_result_free(later);
    if (r < 0 || !right)
        return wrong("a later task: %s", covey_error_name(r));
    const char *is = check_counts();
    if (is)
        return is;
    if (covey_pool_close(pool) < 0 || covey_pool_join(pool, helpers_limit) < 0)
        return "the pool cannot be closed";
    close_pool();
    return NULL;
}

static const char *after(void)
{
    const char *is = NULL;
    if (covey_result_wait(result, helpers_limit) < 0)
        return "the items are not finished";
    helpers_slowest = cvy_os_now() - helpers_killed_at;
    for (int i = 0; i < plan->n && !is; i++)
        is = check_item(i);
    if (!is)
        is = check_progress();
    return is ? is : use_and_close();
}

#define POINTS(operation, path, plan, while_stopped)                                   \
    {                                                                                  \
        operation, path, .variant = plan, .set_up = set_up, .find = find_victim,       \
                         .watch = watch, .against = while_stopped, .look = look,       \
                         .after = after, .flags = CRASH_NOT_STOPPED | CRASH_THIN       \
    }

const struct crash_case crash_pools[] = {
    POINTS("item begin", "first of a worker", FIRST, NULL),
    POINTS("item begin", "cancelled", FIRST, cancel),
    POINTS("item begin", "cancelled, goes on", FIRST, cancel_and_go_on),
    POINTS("item end", "small result", END, NULL),
    POINTS("item end", "large result", END_MUCH, NULL),
    POINTS("item end", "no result", END_NOTHING, NULL),
    POINTS("item end", "retried", END_RETRIED, NULL),
    POINTS("item end", "alone, until it sleeps", END_ALONE, NULL),
    POINTS("item end", "failed, with text", FAILURE, NULL),
    POINTS("item end", "cancelled", END, cancel),
    POINTS("item end", "cancelled and ended", END, cancel_running),
    POINTS("item end", "cancelled, goes on", END, cancel_and_go_on),
    POINTS("item end", "over its time", LIMITED, be_over_time),
    POINTS("item end", "over its time, goes on", LIMITED, be_over_time_slowly),
    POINTS("item claim", "next bite", BITE, NULL),
    POINTS("item claim", "from the cursor", CLAIM, NULL),
    POINTS("item claim", "stolen", THEFT, NULL),
    POINTS("item claim", "orphans", ORPHANS, NULL),
    POINTS("item claim", "robbed", ROBBED, rob),
    POINTS("item claim", "robbed, goes on", ROBBED, rob_and_let_go_on),
    POINTS("worker leave", "last task", LAST, NULL),
    POINTS("worker leave", "relieved", LAST, relieve),
    POINTS("task progress", "asked", PROGRESS, ask_progress),
    {0}};
