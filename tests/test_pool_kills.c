/* SPDX-License-Identifier: MIT */
/* The pool while its workers die: only the item that a dead worker ran is affected, all
 * others finish, and nothing hangs. */
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#include "process_help.h"

static void *room(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    CHECK(memory != NULL);
    return memory;
}

/* ---- tasks ------------------------------------------------------------------- */

/* What the tasks of one map see: words in the family's memory, and one number. */
struct item {
    struct shared *words;
    uint64_t number;
};

static struct item item_of(const struct covey_call *call)
{
    struct item item;
    memcpy(&item, covey_call_arg(call, NULL), sizeof item);
    return item;
}

static int give_square(struct covey_call *call, uint64_t x)
{
    uint64_t y = x * x;
    return covey_call_return(call, &y, sizeof y);
}

static void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static int square(struct covey_call *call)
{
    return give_square(call, item_of(call).number);
}

static int slow_square(struct covey_call *call)
{
    sleep_ms(2);
    return give_square(call, item_of(call).number);
}

/* Number 40 ends its worker by SIGKILL, each time. */
static int dies_at_forty(struct covey_call *call)
{
    struct item item = item_of(call);
    if (item.number == 40)
        raise(SIGKILL);
    return give_square(call, item.number);
}

/* The same, but its result is in place already. */
static int dies_after_return(struct covey_call *call)
{
    struct item item = item_of(call);
    int r = give_square(call, item.number);
    if (item.number == 40)
        raise(SIGKILL);
    return r;
}

/* Number 40 ends the first `numbers[0]` workers that run it. */
static int dies_a_few_times(struct covey_call *call)
{
    struct item item = item_of(call);
    if (item.number == 40 &&
        (int)atomic_fetch_add(&item.words->told, 1) < item.words->numbers[0])
        raise(SIGSEGV);
    return give_square(call, item.number);
}

static int always_dies(struct covey_call *call)
{
    (void)call;
    raise(SIGKILL);
    return 0;
}

static int exits_at_forty(struct covey_call *call)
{
    struct item item = item_of(call);
    if (item.number == 40)
        exit(3);
    return give_square(call, item.number);
}

static int leaves_at_forty(struct covey_call *call)
{
    struct item item = item_of(call);
    if (item.number == 40)
        covey_exit(4);
    return give_square(call, item.number);
}

static int becomes_another_program(struct covey_call *call)
{
    struct item item = item_of(call);
    if (item.number == 40)
        execl("/bin/true", "true", (char *)NULL);
    return give_square(call, item.number);
}

/* The first task tells its process and waits to be killed by another. */
static int kills_a_sibling(struct covey_call *call)
{
    struct item item = item_of(call);
    uint32_t nobody = 0;
    if (atomic_compare_exchange_strong(&item.words->begun, &nobody,
                                       (uint32_t)getpid())) {
        for (;;)
            pause();
    }
    uint32_t victim =
        atomic_exchange(&item.words->go, 1) ? 0 : atomic_load(&item.words->begun);
    if (victim && (int)victim != getpid())
        kill((int)victim, SIGKILL);
    return give_square(call, item.number);
}

/* ---- help -------------------------------------------------------------------- */

static covey_pool *new_pool(size_t workers, unsigned retries)
{
    covey_pool *pool = NULL;
    CHECK_OK(covey_pool_create(
        &pool, workers, COVEY_POOL_OPTS(.method = check_method(), .retries = retries)));
    return pool;
}

struct job {
    size_t n;
    struct item *in;
    uint64_t *out;
    unsigned char *outcomes;
    struct covey_map_summary sum;
    int result;
};

static struct job new_job(size_t n, struct shared *words)
{
    struct job job = {.n = n};
    job.in = room(n * sizeof *job.in);
    job.out = room(n * sizeof *job.out);
    job.outcomes = room(n);
    memset(job.out, 0xee, n * sizeof *job.out);
    for (size_t i = 0; i < n; i++)
        job.in[i] = (struct item){words, i};
    return job;
}

static void do_job(struct job *job, covey_pool *pool, covey_task_fn *fn)
{
    job->result = covey_pool_map(
        pool, fn, job->in, sizeof *job->in, job->out, sizeof *job->out, job->n,
        COVEY_MAP_OPTS(.outcomes = job->outcomes, .summary = &job->sum));
}

static void end_job(struct job *job)
{
    free(job->in);
    free(job->out);
    free(job->outcomes);
}

/* All items are right but for `bad` (SIZE_MAX: none), which is CRASHED. */
static void check_job(const struct job *job, size_t bad)
{
    for (size_t i = 0; i < job->n; i++) {
        CHECK_EQ(job->outcomes[i], i == bad ? COVEY_OUTCOME_CRASHED : COVEY_OUTCOME_OK);
        CHECK_EQ(job->out[i], i == bad ? 0 : i * i);
    }
    CHECK_EQ(job->sum.failed, bad == SIZE_MAX ? 0 : 1);
    CHECK_EQ(job->sum.ok, job->n - job->sum.failed);
}

static void check_usable(covey_pool *pool)
{
    struct job job = new_job(1000, NULL);
    do_job(&job, pool, square);
    CHECK_OK(job.result);
    check_job(&job, SIZE_MAX);
    end_job(&job);
}

/* One item ends its worker: it alone is lost. */
static void lose_forty(covey_task_fn *fn, size_t n, const char *how)
{
    covey_pool *pool = new_pool(2, 0);
    struct job job = new_job(n, NULL);
    do_job(&job, pool, fn);
    CHECK_EQ(job.result, COVEY_ECRASHED);
    CHECK_STR_HAS(covey_error_detail(), "item 40");
    CHECK_STR_HAS(covey_error_detail(), how);
    CHECK_STR_HAS(job.sum.text, how);
    CHECK_STR_HAS(job.sum.text, "PoolWorker-");
    check_job(&job, 40);
    CHECK_EQ(job.sum.crashes, 1);
    CHECK_EQ(job.sum.retried, 0);
    CHECK_EQ(job.sum.first_failed, 40);
    end_job(&job);
    check_usable(pool);
    covey_pool_free(pool);
}

/* ---- killed while it runs ---------------------------------------------------- */

TEST_EACH_METHOD(an_item_that_kills_its_worker_is_lost_alone)
{
    lose_forty(dies_at_forty, 100, "SIGKILL");
}

TEST_EACH_METHOD(of_many_items_too)
{
    lose_forty(dies_at_forty, 300000, "SIGKILL");
}

TEST_EACH_METHOD(killed_before_the_result_is_committed)
{
    lose_forty(dies_after_return, 5000, "SIGKILL");
}

TEST_EACH_METHOD(a_task_that_exits)
{
    lose_forty(exits_at_forty, 100, "exit code 3");
}

TEST_EACH_METHOD(a_task_that_ends_its_process)
{
    lose_forty(leaves_at_forty, 100, "exit code 4");
}

TEST_EACH_METHOD(a_task_that_becomes_another_program)
{
    lose_forty(becomes_another_program, 100, "exit code 0");
}

TEST_EACH_METHOD(a_single_worker_that_dies_is_replaced)
{
    covey_pool *pool = new_pool(1, 0);
    struct job job = new_job(100, NULL);
    do_job(&job, pool, dies_at_forty);
    CHECK_EQ(job.result, COVEY_ECRASHED);
    check_job(&job, 40);
    end_job(&job);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(an_item_is_run_again_as_often_as_retries_allow)
{
    covey_pool *pool = new_pool(2, 2);
    struct shared *words = share();
    struct job job = new_job(200, words);
    words->numbers[0] = 2;
    do_job(&job, pool, dies_a_few_times);
    CHECK_OK(job.result);
    check_job(&job, SIZE_MAX);
    CHECK_EQ(job.sum.crashes, 2);
    CHECK_EQ(job.sum.retried, 2);
    CHECK_STR_HAS(job.sum.text, "SIGSEGV");
    atomic_store(&words->told, 0);
    words->numbers[0] = 3;
    do_job(&job, pool, dies_a_few_times);
    CHECK_EQ(job.result, COVEY_ECRASHED);
    check_job(&job, 40);
    CHECK_EQ(job.sum.crashes, 3);
    end_job(&job);
    covey_pool_free(pool);
}

TEST_EACH_METHOD(killed_by_another_worker)
{
    covey_pool *pool = new_pool(3, 1);
    struct job job = new_job(50, share());
    do_job(&job, pool, kills_a_sibling);
    CHECK_OK(job.result);
    check_job(&job, SIZE_MAX);
    CHECK_EQ(job.sum.retried, 1);
    end_job(&job);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_TIMEOUT(every_item_kills_its_worker, 60)
{
    covey_pool *pool = new_pool(2, 0);
    struct job job = new_job(40, NULL);
    do_job(&job, pool, always_dies);
    CHECK_EQ(job.result, COVEY_ECRASHED);
    for (size_t i = 0; i < job.n; i++)
        CHECK_EQ(job.outcomes[i], COVEY_OUTCOME_CRASHED);
    CHECK_EQ(job.sum.failed, 40);
    CHECK_EQ(job.sum.crashes, 40);
    end_job(&job);
    check_usable(pool);
    covey_pool_free(pool);
}

/* ---- killed from outside ----------------------------------------------------- */

static size_t worker_pids(int pids[64])
{
    covey_process *children[64];
    size_t count = 0, known = 0;
    CHECK_OK(covey_active_children(children, 64, &count));
    for (size_t i = 0; i < count && i < 64; i++)
        if (covey_process_pid(children[i], &pids[known]) == 0)
            known++;
    return known;
}

static void kill_all_workers(void)
{
    int pids[64];
    size_t count = worker_pids(pids);
    for (size_t i = 0; i < count; i++)
        kill(pids[i], SIGKILL);
}

TEST_EACH_METHOD(workers_killed_idle_are_replaced)
{
    covey_pool *pool = new_pool(3, 0);
    for (int i = 0; i < 10; i++) {
        int pids[64];
        size_t count;
        while ((count = worker_pids(pids)) <
               2) /* maps may end before deaths are heard */
            check_usable(pool);
        kill(pids[(size_t)i % count], SIGKILL);
        if (i % 2)
            sleep_ms(5);
        check_usable(pool);
    }
    covey_pool_free(pool);
}

TEST_EACH_METHOD(all_workers_killed_idle_at_once)
{
    covey_pool *pool = new_pool(3, 0);
    for (int i = 0; i < 5; i++) {
        kill_all_workers();
        if (i % 2)
            sleep_ms(5);
        check_usable(pool);
    }
    covey_pool_free(pool);
}

TEST_EACH_METHOD(all_workers_killed_idle_without_the_bell)
{
    CHECK_OK(covey_family_configure(
        COVEY_FAMILY_OPTS(.bell = COVEY_OFF, .slice = COVEY_MSEC(100))));
    covey_pool *pool = new_pool(3, 0);
    kill_all_workers();
    check_usable(pool);
    covey_pool_free(pool);
}

struct killer {
    pthread_t thread;
    cvy_word stop;
    long pause_us;
    bool all;
    unsigned kills;
};

static void *kill_at_random(void *context)
{
    struct killer *k = context;
    unsigned seed = 1;
    while (!atomic_load(&k->stop)) {
        int pids[64];
        size_t count = worker_pids(pids);
        struct timespec time = {0, k->pause_us * 1000};
        if (k->all)
            kill_all_workers();
        else if (count)
            kill(pids[(size_t)rand_r(&seed) % count], SIGKILL);
        k->kills++;
        nanosleep(&time, NULL);
    }
    return NULL;
}

static void start_killer(struct killer *k)
{
    CHECK_EQ(pthread_create(&k->thread, NULL, kill_at_random, k), 0);
}

static void stop_killer(struct killer *k)
{
    atomic_store(&k->stop, 1);
    CHECK_EQ(pthread_join(k->thread, NULL), 0);
}

TEST_EACH_METHOD_TIMEOUT(all_workers_killed_at_once_while_they_run, 60)
{
    covey_pool *pool = new_pool(3, 1000);
    struct job job = new_job(300, NULL);
    struct killer killer = {.pause_us = 50000, .all = true};
    start_killer(&killer);
    do_job(&job, pool, slow_square);
    stop_killer(&killer);
    CHECK_OK(job.result);
    check_job(&job, SIZE_MAX);
    CHECK_GE(job.sum.crashes, 1);
    end_job(&job);
    check_usable(pool);
    covey_pool_free(pool);
}

/* The map is repeated until the time is over; every result is right, each time. */
static void storm(covey_task_fn *fn, size_t workers, size_t n, long pause_us)
{
    int64_t until = cvy_os_deadline(COVEY_SEC(family_long(2, 60)));
    covey_pool *pool = new_pool(workers, 1000);
    struct job job = new_job(n, NULL);
    struct killer killer = {.pause_us = pause_us};
    unsigned maps = 0;
    size_t crashes = 0;
    start_killer(&killer);
    while (cvy_os_now() < until) {
        memset(job.out, 0xee, n * sizeof *job.out);
        do_job(&job, pool, fn);
        CHECK_OK(job.result);
        check_job(&job, SIZE_MAX);
        crashes += job.sum.crashes;
        maps++;
    }
    stop_killer(&killer);
    fprintf(stderr, "storm: %u maps of %zu items, %u kills, %zu crashes of items\n",
            maps, n, killer.kills, crashes);
    end_job(&job);
    check_usable(pool);
    covey_pool_free(pool);
}

TEST_EACH_METHOD_TIMEOUT(storm_of_kills_over_small_items, 100)
{
    storm(square, 2, 100000, 1000);
}

TEST_EACH_METHOD_TIMEOUT(storm_of_kills_over_slow_items, 100)
{
    storm(slow_square, 4, 200, 3000);
}

/* ---- pools that can hardly go on --------------------------------------------- */

/* More often than starts may fail for a reason of their own. */
static int die_at_first(struct covey_view arg)
{
    if (atomic_fetch_add(&shared_of(arg)->begun, 1) < 20)
        raise(SIGKILL);
    return 0;
}

/* Somebody kills whatever comes up, and stops that after a while. */
TEST_EACH_METHOD_TIMEOUT(workers_killed_at_birth_are_replaced_until_one_lives, 60)
{
    struct shared *s = share();
    covey_pool *pool = NULL;
    CHECK_OK(covey_pool_create(&pool, 2,
                               COVEY_POOL_OPTS(.method = check_method(),
                                               .initializer = die_at_first,
                                               .initarg = COVEY_VIEW_OF(s))));
    check_usable(pool);
    CHECK_GT(atomic_load(&s->begun), 20);
    covey_pool_free(pool);
}

/* ---- pools that cannot go on ------------------------------------------------- */

/* One worker after the other dies in its first item, and none can follow. */
static void break_pool(covey_pool *pool, const char *why)
{
    struct job job = new_job(100, NULL);
    do_job(&job, pool, always_dies);
    CHECK_EQ(job.result, COVEY_EBROKEN);
    CHECK_STR_HAS(covey_error_detail(), "workers keep dying");
    CHECK_STR_HAS(covey_error_detail(), why);
    size_t crashed = 0;
    for (size_t i = 0; i < job.n; i++) {
        crashed += job.outcomes[i] == COVEY_OUTCOME_CRASHED;
        if (job.outcomes[i] != COVEY_OUTCOME_CRASHED)
            CHECK_EQ(job.outcomes[i], COVEY_OUTCOME_LOST);
        CHECK_EQ(job.out[i], 0);
    }
    CHECK_EQ(crashed, 2);
    CHECK_EQ(job.sum.ok, 0);
    CHECK_EQ(job.sum.failed, job.n);
    end_job(&job);
}

static bool stillborn;

static void die_if_stillborn(void)
{
    if (stillborn)
        raise(SIGKILL);
}

TEST_TIMEOUT(a_pool_whose_workers_die_at_birth_is_broken, 60)
{
    covey_pool *pool = NULL;
    CHECK_OK(covey_pool_create(&pool, 2, COVEY_POOL_OPTS(.method = COVEY_FORK)));
    check_usable(pool);
    CHECK_EQ(pthread_atfork(NULL, NULL, die_if_stillborn), 0);
    stillborn = true;
    break_pool(pool, "SIGKILL");
    struct job job = new_job(10, NULL); /* nobody is there at all any more */
    do_job(&job, pool, square);
    CHECK_EQ(job.result, COVEY_EBROKEN);
    CHECK_EQ(job.outcomes[0], COVEY_OUTCOME_LOST);
    end_job(&job);
    stillborn = false;
    check_usable(pool);
    covey_pool_free(pool);
}

/* A start by spawn needs descriptors. */
TEST_TIMEOUT(a_pool_whose_workers_cannot_be_started_is_broken, 60)
{
    struct rlimit before, none;
    covey_pool *pool = NULL;
    CHECK_OK(covey_pool_create(&pool, 2, COVEY_POOL_OPTS(.method = COVEY_SPAWN)));
    check_usable(pool);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    break_pool(pool, "Too many open files");
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    check_usable(pool);
    covey_pool_free(pool);
}

/* ---- pools that are freed while they work --------------------------------------- */

static int wait_for_ever(struct covey_call *call)
{
    struct shared *words = *(struct shared *const *)covey_call_arg(call, NULL);
    family_tell(&words->begun);
    family_pause();
}

struct freed {
    covey_pool *pool;
    struct shared *words;
};

static void *map_until_freed(void *context)
{
    struct freed *freed = context;
    CHECK_ERR(covey_pool_map(freed->pool, wait_for_ever, &freed->words,
                             sizeof freed->words, NULL, 0, 1, NULL),
              COVEY_EFREED);
    return NULL;
}

TEST_EACH_METHOD(free_ends_maps_of_other_threads)
{
    struct freed freed = {new_pool(2, 0), share()};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, map_until_freed, &freed), 0);
    family_await(&freed.words->begun, 1);
    covey_pool_free(freed.pool);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

static int write_when_told(struct covey_call *call)
{
    struct shared *words = *(struct shared *const *)covey_call_arg(call, NULL);
    uint64_t y = 1;
    family_tell(&words->begun);
    family_await(&words->go, 1);
    return covey_call_return(call, &y, sizeof y);
}

static void *map_in_place(void *context)
{
    struct freed *freed = context;
    uint64_t y = 0;
    CHECK_ERR(covey_pool_map(freed->pool, write_when_told, &freed->words,
                             sizeof freed->words, &y, sizeof y, 1, NULL),
              COVEY_EFREED);
    return NULL;
}

static void *free_pool(void *context)
{
    covey_pool_free(context);
    return NULL;
}

/* Threads write into the caller's arrays, and cannot be killed. */
TEST(a_map_of_a_freed_pool_of_threads_lasts_until_its_tasks_end)
{
    struct freed freed = {NULL, share()};
    pthread_t thread, freeing;
    struct timespec soon;
    CHECK_OK(
        covey_pool_create(&freed.pool, 2, COVEY_POOL_OPTS(.method = COVEY_THREAD)));
    CHECK_EQ(pthread_create(&thread, NULL, map_in_place, &freed), 0);
    family_await(&freed.words->begun, 1);
    CHECK_EQ(pthread_create(&freeing, NULL, free_pool, freed.pool), 0);
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec++;
    CHECK_EQ(pthread_timedjoin_np(thread, NULL, &soon), ETIMEDOUT);
    family_tell(&freed.words->go);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(pthread_join(freeing, NULL), 0);
}

/* ---- two threads --------------------------------------------------------------- */

static int die_if_third(struct covey_call *call)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    if (*x % 3 == 0)
        raise(SIGKILL);
    return covey_call_return(call, x, sizeof *x);
}

struct mapper {
    covey_pool *pool;
    cvy_word stop;
};

static void *map_until_told(void *arg)
{
    struct mapper *mapper = arg;
    uint64_t in[50], out[50];
    for (uint64_t i = 0; i < 50; i++)
        in[i] = 3 * i + 1;
    while (!atomic_load(&mapper->stop))
        CHECK_OK(covey_pool_map(mapper->pool, die_if_third, in, 8, out, 8, 50, NULL));
    return NULL;
}

/* Who waits for the one finds the deaths of the other. */
TEST_EACH_METHOD(deaths_are_found_by_a_thread_that_maps)
{
    enum { COUNT = 12 };
    struct mapper mapper = {.stop = 0};
    pthread_t thread;
    uint64_t in[COUNT], out[COUNT];
    threads_fork();
    CHECK_OK(covey_pool_create(
        &mapper.pool, 3, COVEY_POOL_OPTS(.method = check_method(), .retries = 1)));
    for (uint64_t i = 0; i < COUNT; i++)
        in[i] = i;
    CHECK_EQ(pthread_create(&thread, NULL, map_until_told, &mapper), 0);
    for (int round = 0; round < 6; round++) {
        covey_result *result = NULL;
        CHECK_OK(covey_pool_map_async(&result, mapper.pool, die_if_third, in, 8, out, 8,
                                      COUNT, NULL));
        CHECK_ERR(covey_result_get(result, NULL, COVEY_FOREVER), COVEY_ECRASHED);
        CHECK_EQ(out[1], 1);
        CHECK_EQ(out[11], 11);
        covey_result_free(result);
    }
    atomic_store(&mapper.stop, 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    covey_pool_free(mapper.pool);
}

CHECK_MAIN()
