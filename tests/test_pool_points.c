/* SPDX-License-Identifier: MIT */
/* Workers killed at any instruction between the function of one item and that of the
 * next: the commit, the next bite, a claim, orphans, a theft, another batch, the way to
 * sleep. And programs killed at any instruction of a map. All others finish.
 *
 * A map runs in a thread. The first worker that has nothing else to do in the plan is the
 * victim: it stops in its first item and is stepped from there. */
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include "kill_points.h"
#include "pool/pool.h"
#include "process_help.h"

enum { ITEMS_MOST = 12, LARGE_ITEM = 400000 };

/* What becomes of a worker that is not the victim, in its first item. */
enum other { GOES_ON, IS_HELD, DIES };

struct plan {
    const char *name;
    size_t n, size, chunk;
    enum other other;
    bool odd_fail;   /* items with odd numbers */
    bool to_the_end; /* step on until the victim sleeps, not only to its next item */
};

/* What all processes of this test see. */
static struct stage {
    cvy_word other, victim; /* their process ids */
    cvy_word stopped;       /* the victim is about to stop */
    cvy_word released;      /* the victim is dead */
} * stage;

/* Workers inherit these. */
static const struct plan *plan;
static bool late; /* born during the map: waits until the victim is dead */

static covey_pool *pool;
static pthread_t mapper;
static unsigned char *in, *out, outcomes[ITEMS_MOST];
static struct covey_map_summary sum;
static int result;

/* ---- in the workers ------------------------------------------------------------ */

static bool is_me(const cvy_word *id)
{
    return atomic_load(id) == (uint32_t)getpid();
}

static bool become(cvy_word *id)
{
    uint32_t nobody = 0;
    return atomic_compare_exchange_strong(id, &nobody, (uint32_t)getpid());
}

static void play_other(void)
{
    family_await(&stage->stopped, 1);
    if (plan->other == DIES)
        raise(SIGKILL);
    if (plan->other == IS_HELD)
        family_await(&stage->released, 1);
}

static void play_victim(void)
{
    family_tell(&stage->stopped);
    kill_points_begin();
}

static int act(struct covey_call *call)
{
    if (is_me(&stage->victim) && !plan->to_the_end)
        kill_points_end();
    if (become(&stage->other))
        play_other();
    else if (!is_me(&stage->other) && become(&stage->victim))
        play_victim();
    if (plan->odd_fail && covey_call_index(call) % 2)
        return covey_call_fail(call, "item %zu is odd", covey_call_index(call));
    if (plan->size < LARGE_ITEM)
        return covey_call_return(call, covey_call_arg(call, NULL), plan->size);
    const unsigned char *from = call->arg_data;
    unsigned char *to = call->result_data; /* copying is stepped byte by byte */
    to[0] = from[0];
    to[plan->size - 1] = from[0];
    call->result_size = plan->size;
    return 0;
}

static void wait_at_birth(void)
{
    if (late)
        family_await(&stage->released, 1);
}

/* ---- the map and what came of it ----------------------------------------------- */

static void do_map(void)
{
    result = covey_pool_map(pool, act, in, plan->size, out, plan->size, plan->n,
                            COVEY_MAP_OPTS(.chunksize = plan->chunk, .summary = &sum,
                                           .outcomes = outcomes));
}

/* Signals are for the thread that steps the victim. */
static void *map_aside(void *unused)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    do_map();
    return unused;
}

/* Once without roles, so that the cost of an item is known and claims are larger. */
static void warm_up(void)
{
    atomic_store(&stage->other, 1);
    atomic_store(&stage->victim, 1);
    do_map();
    CHECK_EQ(result, plan->odd_fail ? COVEY_EREMOTE : 0);
}

static void begin_map(void *unused)
{
    (void)unused;
    late = false;
    CHECK_OK(covey_pool_create(&pool, 2,
                               COVEY_POOL_OPTS(.method = COVEY_FORK, .retries = 3)));
    warm_up();
    *stage = (struct stage){.other = 0};
    late = true;
    memset(out, 0xee, plan->n * plan->size);
    CHECK_EQ(pthread_create(&mapper, NULL, map_aside, NULL), 0);
}

static uint64_t orphans(void)
{
    struct cvy_pool *inner = cvy_pool_of(pool);
    uint64_t set = 0;
    (void)pthread_mutex_lock(&inner->lock);
    for (size_t i = 0; i < CVY_POOL_BATCHES; i++)
        if (inner->slots[i].use == CVY_SLOT_ACTIVE)
            set |= atomic_load(&inner->slots[i].batch->orphan_set);
    (void)pthread_mutex_unlock(&inner->lock);
    return set;
}

static int find_victim(void *unused)
{
    (void)unused;
    family_await(&stage->stopped, 1);
    while (plan->other == DIES && !orphans())
        sched_yield();
    return (int)atomic_load(&stage->victim);
}

static const char *wrong_item(size_t i)
{
    static char text[100];
    bool fails = plan->odd_fail && i % 2;
    int wanted = fails ? COVEY_OUTCOME_ERROR : COVEY_OUTCOME_OK;
    const unsigned char *is = out + i * plan->size;
    if (outcomes[i] != wanted)
        snprintf(text, sizeof text, "item %zu has outcome %d, not %d", i, outcomes[i],
                 wanted);
    else if (is[0] != (fails ? 0 : i + 1) || is[plan->size - 1] != is[0])
        snprintf(text, sizeof text, "item %zu has result %d", i, is[0]);
    else
        return NULL;
    return text;
}

static const char *end_map(void *unused)
{
    (void)unused;
    const char *wrong = NULL;
    family_tell(&stage->released);
    CHECK_EQ(pthread_join(mapper, NULL), 0);
    if (result != (plan->odd_fail ? COVEY_EREMOTE : 0))
        wrong = covey_error_name(result);
    for (size_t i = 0; i < plan->n && !wrong; i++)
        wrong = wrong_item(i);
    if (sum.crashes > 1 + (plan->other == DIES) || sum.retried > sum.crashes)
        wrong = "too many crashes are counted";
    covey_pool_free(pool);
    return wrong;
}

static void *memory(size_t size)
{
    void *bytes = calloc(1, size);
    CHECK(bytes != NULL);
    return bytes;
}

static void kill_at_each(const struct plan *planned)
{
    kill_points_need();
    struct kill_points points = {.name = planned->name,
                                 .before = begin_map,
                                 .after = end_map,
                                 .find = find_victim};
    forks_beside_threads();
    plan = planned;
    stage = family_shared(sizeof *stage);
    in = memory(plan->n * plan->size);
    out = memory(plan->n * plan->size);
    for (size_t i = 0; i < plan->n; i++)
        memset(in + i * plan->size, (int)i + 1, plan->size);
    (void)cvy_os_is_multicore(); /* before all share one processor */
    CHECK_EQ(pthread_atfork(NULL, NULL, wait_at_birth), 0);
    kill_points_run(&points, family_long(30, 0));
    free(in);
    free(out);
}

/* ---- a worker is killed -------------------------------------------------------- */

TEST_TIMEOUT(killed_between_two_items, 300)
{
    kill_at_each(&(struct plan){"next item", 8, 8, 1, IS_HELD, false, false});
}

TEST_TIMEOUT(killed_while_it_measures, 300)
{
    kill_at_each(&(struct plan){"measured", 8, 8, 0, IS_HELD, false, true});
}

TEST_TIMEOUT(killed_anywhere_until_it_sleeps, 300)
{
    kill_at_each(&(struct plan){"until it sleeps", 12, 8, 1, IS_HELD, false, true});
}

TEST_TIMEOUT(killed_beside_one_that_works, 300)
{
    kill_at_each(&(struct plan){"side by side", 12, 8, 1, GOES_ON, false, true});
}

TEST_TIMEOUT(killed_while_items_fail, 300)
{
    kill_at_each(&(struct plan){"failures", 4, 8, 1, IS_HELD, true, true});
}

TEST_TIMEOUT(killed_while_it_takes_what_a_dead_one_left, 300)
{
    kill_at_each(&(struct plan){"orphans", 8, 8, 1, DIES, false, true});
}

TEST_TIMEOUT(killed_on_the_way_to_another_batch, 300)
{
    kill_at_each(&(struct plan){"batches", 4, LARGE_ITEM, 0, IS_HELD, false, false});
}

TEST_TIMEOUT(killed_on_the_way_through_all_batches, 300)
{
    kill_at_each(&(struct plan){"all batches", 3, LARGE_ITEM, 0, DIES, false, true});
}

/* ---- the program with the pool is killed ---------------------------------------- */

static struct covey_family_usage start;

static int next(struct covey_call *call)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    uint64_t y = *x + 1;
    return covey_call_return(call, &y, sizeof y);
}

static void map_once(void *unused)
{
    (void)unused;
    uint64_t x[4] = {1, 2, 3, 4};
    CHECK_OK(covey_pool_map(pool, next, x, 8, x, 8, 4, NULL));
    CHECK_EQ(x[3], 5);
}

static void make_pool(void *unused)
{
    CHECK_OK(covey_pool_create(&pool, 2, COVEY_POOL_OPTS(.method = COVEY_FORK)));
    map_once(unused);
}

/* Its workers end with it; this process inherits and reaps them. */
static const char *check_that_all_is_over(void *unused)
{
    (void)unused;
    static char text[60];
    text[0] = 0;
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        continue;
    cvy_members_sweep();
    struct covey_family_usage now = family_usage();
    cvy_region_lock();
    const char *wrong = cvy_alloc_check();
    cvy_region_unlock();
    if (!wrong && now.members != start.members)
        wrong = "a member is left";
    if (!wrong && now.objects != start.objects)
        wrong = "an object is left";
    if (!wrong && now.used != start.used)
        snprintf(text, sizeof text, "%ld bytes more are in use",
                 (long)(now.used - start.used));
    return wrong ? wrong : text[0] ? text : NULL;
}

TEST_TIMEOUT(a_program_killed_in_a_map_leaves_nothing, 300)
{
    kill_points_need();
    struct kill_points points = {.name = "a map",
                                 .prepare = make_pool,
                                 .operate = map_once,
                                 .after = check_that_all_is_over};
    (void)cvy_os_is_multicore();
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    CHECK_OK(cvy_enter());
    int pid = family_fork();
    if (pid == 0) {
        make_pool(NULL); /* so that there is room for blocks of each size */
        _exit(0);
    }
    (void)check_that_all_is_over(NULL);
    start = family_usage();
    kill_points_run(&points, family_long(30, 0));
}

CHECK_MAIN()
