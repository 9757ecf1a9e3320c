/* SPDX-License-Identifier: MIT */
/* Sleeping and being woken: by deaths through the bell, by slices without it, and never
 * by one another for nothing. */
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

#include "family.h"
#include "region/wait.h"

#define LONG_SLICE COVEY_SEC(60)

/* A family whose slices are too long to help. */
static void found_with_bell_only(void)
{
    family_found(COVEY_FAMILY_OPTS(.slice = LONG_SLICE));
    if (cvy_head->flags & CVY_HEAD_NO_WAITV)
        SKIP("no futex_waitv, deaths are found by slices only");
}

/* Wait until that thread has gone to sleep on something of the family's. */
static void await_sleeper(uint32_t owner, int tid)
{
    struct cvy_slot *slot = cvy_slot_at(CVY_INDEX_OF(owner));
    while (!atomic_load(&slot->waits_for) || state_of_thread(tid) != 'S')
        cvy_os_yield();
}

/* ---- one sleep ---- */

TEST(sleep_ends_at_its_deadline)
{
    family_found(NULL);
    cvy_word word = 0;
    int64_t start = cvy_os_now();
    int r;
    while ((r = cvy_sleep(&word, 0, cvy_gong(), start + COVEY_MSEC(30), 64)) >= 0)
        CHECK_EQ(r, CVY_SLICE); /* where there is no waitv */
    CHECK_ERR(r, -ETIMEDOUT);
    CHECK_GE(cvy_os_now() - start, COVEY_MSEC(30));
    CHECK_ERR(cvy_sleep(&word, 0, cvy_gong(), start, 64), -ETIMEDOUT);
}

TEST(sleep_ends_with_the_slice)
{
    family_found(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(20)));
    cvy_word word = 0;
    CHECK_EQ(cvy_sleep(&word, 0, cvy_gong(), INT64_MAX, 64), CVY_SLICE);
    CHECK_EQ(cvy_sleep(&word, 0, cvy_gong(), INT64_MAX, 64), CVY_SLICE);
}

TEST(endless_slice_is_no_overflow)
{
    family_found(COVEY_FAMILY_OPTS(.slice = COVEY_FOREVER));
    cvy_word word = 0;
    int64_t end = cvy_os_now() + COVEY_MSEC(50);
    int r;
    while ((r = cvy_sleep(&word, 0, cvy_gong(), end, 64)) >= 0)
        CHECK_EQ(r, CVY_SLICE); /* where there is no waitv */
    CHECK_ERR(r, -ETIMEDOUT);
    CHECK_GE(cvy_os_now(), end);
}

TEST(nobody_sleeps_when_word_or_gong_has_changed)
{
    family_found(COVEY_FAMILY_OPTS(.slice = LONG_SLICE));
    cvy_word word = 1;
    CHECK_EQ(cvy_sleep(&word, 0, cvy_gong(), INT64_MAX, 64), CVY_WOKEN);
    if (cvy_head->flags & CVY_HEAD_NO_WAITV)
        return; /* the gong does not matter then */
    CHECK_EQ(cvy_sleep(&word, 1, cvy_gong() - 1, INT64_MAX, 64), CVY_WOKEN);
}

static void do_nothing(int signal)
{
    (void)signal;
}

static void *interrupt(void *arg)
{
    pthread_t sleeper = *(pthread_t *)arg;
    cvy_word *done = &((cvy_word *)arg)[sizeof sleeper / sizeof *done];
    while (!atomic_load(done)) {
        pthread_kill(sleeper, SIGUSR1);
        cvy_os_yield();
    }
    return NULL;
}

TEST(handler_without_restart_interrupts)
{
    struct {
        pthread_t sleeper;
        cvy_word done;
    } arg = {pthread_self(), 0};
    struct sigaction action = {.sa_handler = do_nothing};
    pthread_t thread;
    cvy_word word = 0;
    int r;
    family_found(COVEY_FAMILY_OPTS(.slice = LONG_SLICE));
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(pthread_create(&thread, NULL, interrupt, &arg), 0);
    while ((r = cvy_sleep(&word, 0, cvy_gong(), INT64_MAX, 64)) == CVY_SLICE)
        ;
    CHECK_ERR(r, -EINTR);
    atomic_store(&arg.done, 1);
    pthread_join(thread, NULL);
}

struct sleeper {
    cvy_word word, slept;
    uint32_t owner;
    int tid;
};

static void *sleep_on_word(void *arg)
{
    struct sleeper *s = arg;
    CHECK_OK(cvy_enter());
    s->owner = cvy_thread_owner();
    s->tid = cvy_os_tid();
    family_tell(&s->slept);
    while (!atomic_load(&s->word))
        (void)cvy_sleep(&s->word, 0, cvy_gong(), INT64_MAX, 4711);
    return NULL;
}

TEST(what_a_thread_sleeps_on_can_be_seen)
{
    static struct sleeper s;
    pthread_t thread;
    family_found(NULL);
    int64_t start = cvy_os_now();
    CHECK_EQ(pthread_create(&thread, NULL, sleep_on_word, &s), 0);
    family_await(&s.slept, 1);
    await_sleeper(s.owner, s.tid);
    const struct cvy_slot *slot = cvy_slot_at(CVY_INDEX_OF(s.owner));
    CHECK_EQ(slot->waits_for, 4711);
    CHECK_GE(slot->waits_since, start);
    family_tell(&s.word);
    pthread_join(thread, NULL);
    CHECK_EQ(slot->waits_for, 0);
}

/* ---- deaths ---- */

/* A child that has the lock and waits to be killed. */
static int start_owner(cvy_word *lock, cvy_word *ready)
{
    atomic_store(ready, 0);
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(cvy_enter());
        CHECK_EQ(cvy_lock_acquire(lock, INT64_MAX), 0);
        family_tell(ready);
        family_pause();
    }
    family_await(ready, 1);
    return pid;
}

struct waiter {
    cvy_word *lock, ready;
    uint32_t owner;
    int tid, result;
    int64_t limit, end;
    pthread_t thread;
};

static void *wait_for_lock(void *arg)
{
    struct waiter *w = arg;
    CHECK_OK(cvy_enter());
    w->owner = cvy_thread_owner();
    w->tid = cvy_os_tid();
    family_tell(&w->ready);
    w->result = cvy_lock_acquire(w->lock, cvy_os_deadline(w->limit));
    w->end = cvy_os_now();
    if (w->result >= 0)
        cvy_lock_release(w->lock);
    return NULL;
}

static void start_waiter(struct waiter *w, cvy_word *lock, int64_t limit)
{
    *w = (struct waiter){.lock = lock, .limit = limit};
    CHECK_EQ(pthread_create(&w->thread, NULL, wait_for_lock, w), 0);
    family_await(&w->ready, 1);
    await_sleeper(w->owner, w->tid);
}

static cvy_word *make_lock(void)
{
    return (cvy_word *)((char *)family_object(128, 0) + 64);
}

TEST(killed_owner_wakes_sleepers_long_before_the_slice)
{
    found_with_bell_only();
    cvy_word *lock = make_lock(), *ready = family_shared(sizeof *ready);
    int64_t slowest = 0;
    for (int i = 0; i < 50; i++) {
        struct waiter w;
        int pid = start_owner(lock, ready);
        start_waiter(&w, lock, COVEY_SEC(10));
        int64_t start = cvy_os_now();
        family_kill(pid);
        pthread_join(w.thread, NULL);
        CHECK_EQ(w.result, CVY_OWNER_DIED);
        if (w.end - start > slowest)
            slowest = w.end - start;
    }
    fprintf(stderr, "slowest: %lld us\n", (long long)slowest / 1000);
}

TEST(exec_of_the_owner_wakes_sleepers)
{
    found_with_bell_only();
    cvy_word *lock = make_lock(), *shared = family_shared(2 * sizeof *shared);
    struct waiter w;
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(cvy_enter());
        CHECK_EQ(cvy_lock_acquire(lock, INT64_MAX), 0);
        family_tell(&shared[0]);
        family_await(&shared[1], 1);
        execlp("true", "true", (char *)NULL);
        _exit(127);
    }
    family_await(&shared[0], 1);
    start_waiter(&w, lock, COVEY_SEC(10));
    family_tell(&shared[1]);
    pthread_join(w.thread, NULL);
    CHECK_EQ(w.result, CVY_OWNER_DIED);
    family_join(pid);
}

TEST(without_bell_the_slice_finds_the_dead)
{
    family_found(COVEY_FAMILY_OPTS(.bell = COVEY_OFF, .slice = LONG_SLICE));
    cvy_word *lock = make_lock(), *ready = family_shared(sizeof *ready);
    for (int i = 0; i < 10; i++) {
        struct waiter w;
        int pid = start_owner(lock, ready);
        start_waiter(&w, lock, COVEY_SEC(20));
        family_kill(pid);
        pthread_join(w.thread, NULL);
        CHECK_EQ(w.result, CVY_OWNER_DIED);
    }
}

static void *strike_again_and_again(void *stop)
{
    while (!atomic_load((cvy_word *)stop)) {
        struct cvy_os_wait wait = {stop, 0};
        (void)cvy_os_futex_waitv(&wait, 1, cvy_os_now() + COVEY_MSEC(20));
        atomic_fetch_add(&cvy_head->gong, 1);
        (void)cvy_os_futex_wake(&cvy_head->gong, 1 << 20);
    }
    return NULL;
}

/* As a crash that overwrote it does: the kernel marks nothing and rings no bell. */
static void smash_robust_list(void)
{
    static struct {
        void *list;
        long offset;
        void *pending;
    } smashed;
    smashed.list = &smashed;
    CHECK_EQ(syscall(SYS_set_robust_list, &smashed, sizeof smashed), 0);
}

/* Its life word says for ever that it lives: only the kernel knows better. That others die
 * all the time does not keep the sleepers from asking. */
TEST(owner_that_smashed_its_robust_list_is_found_among_many_deaths)
{
    family_found(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(200)));
    cvy_word *lock = make_lock(), *ready = family_shared(sizeof *ready);
    pthread_t striker;
    cvy_word stop = 0;
    struct waiter w;
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(cvy_enter());
        CHECK_EQ(cvy_lock_acquire(lock, INT64_MAX), 0);
        smash_robust_list();
        family_tell(ready);
        family_pause();
    }
    family_await(ready, 1);
    start_waiter(&w, lock, COVEY_SEC(10));
    CHECK_EQ(pthread_create(&striker, NULL, strike_again_and_again, &stop), 0);
    int64_t start = cvy_os_now();
    family_kill(pid);
    pthread_join(w.thread, NULL);
    family_tell(&stop);
    pthread_join(striker, NULL);
    CHECK_EQ(w.result, CVY_OWNER_DIED);
    CHECK_LE(w.end - start, COVEY_SEC(2));
}

enum { TURNS = 3 };

/* Locks that a process had which died with its robust list smashed. */
static void locks_of_a_lost_owner(cvy_word *locks[TURNS])
{
    cvy_word *ready = family_shared(sizeof *ready);
    for (int i = 0; i < TURNS; i++)
        locks[i] = make_lock();
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(cvy_enter());
        for (int i = 0; i < TURNS; i++)
            CHECK_EQ(cvy_lock_acquire(locks[i], INT64_MAX), 0);
        smash_robust_list();
        family_tell(ready);
        family_pause();
    }
    family_await(ready, 1);
    family_kill(pid);
}

/* Try for the locks in turn, `wait` for each, until all are taken over. */
static void take_in_turn(cvy_word *locks[TURNS], covey_nsec wait)
{
    uint32_t dead;
    for (int taken = 0, i = 0; taken < (1 << TURNS) - 1; i = (i + 1) % TURNS) {
        if (taken & 1 << i)
            continue;
        int r = cvy_lock_wait(locks[i], cvy_os_deadline(wait), &dead);
        CHECK(r == -ETIMEDOUT || r == CVY_OWNER_DIED);
        taken |= (r == CVY_OWNER_DIED) << i;
    }
}

TEST(short_waits_for_several_locks_in_turn_find_the_dead)
{
    family_found(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(50)));
    cvy_word *locks[TURNS];
    locks_of_a_lost_owner(locks);
    take_in_turn(locks, COVEY_MSEC(5));
}

TEST(looks_without_sleeping_find_the_dead)
{
    family_found(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(50)));
    cvy_word *locks[TURNS];
    locks_of_a_lost_owner(locks);
    take_in_turn(locks, COVEY_NOWAIT);
}

/* Who has only slices asks all the time, and sleeps and gives up nevertheless. */
TEST(slice_of_no_length_does_not_keep_from_the_deadline)
{
    family_found(COVEY_FAMILY_OPTS(.slice = 1));
    cvy_word word = 0;
    int64_t end = cvy_os_now() + COVEY_MSEC(5);
    int r;
    while ((r = cvy_sleep(&word, 0, cvy_gong(), end, 64)) >= 0)
        CHECK_EQ(r, CVY_SLICE);
    CHECK_ERR(r, -ETIMEDOUT);
    CHECK_GE(cvy_os_now(), end);
}

/* ---- many ---- */

enum { MOST = 200 };

struct crowd {
    cvy_word ready, word, woken;
    int pids[MOST], tids[MOST];
    uint32_t owners[MOST];
};

static _Noreturn void sleep_in_crowd(struct crowd *c, int i)
{
    CHECK_OK(cvy_enter());
    c->owners[i] = cvy_thread_owner();
    c->tids[i] = cvy_os_tid();
    family_tell(&c->ready);
    while (!atomic_load(&c->word)) {
        (void)cvy_sleep(&c->word, 0, cvy_gong(), INT64_MAX, 64);
        atomic_fetch_add(&c->woken, 1);
    }
    _exit(0);
}

static struct crowd *gather(int count)
{
    struct crowd *c = family_shared(sizeof *c);
    for (int i = 0; i < count; i++) {
        int pid = family_fork();
        if (pid == 0)
            sleep_in_crowd(c, i);
        c->pids[i] = pid; /* by the parent only: it is shared */
    }
    family_await(&c->ready, (uint32_t)count);
    for (int i = 0; i < count; i++)
        await_sleeper(c->owners[i], c->tids[i]);
    return c;
}

static void dismiss(struct crowd *c, int first, int end)
{
    atomic_store(&c->word, 1);
    (void)cvy_os_futex_wake(&c->word, 1 << 20);
    for (int i = first; i < end; i++)
        family_join(c->pids[i]);
}

TEST(gong_is_not_passed_on)
{
    enum { COUNT = 50 };
    found_with_bell_only();
    struct crowd *c = gather(COUNT);
    uint32_t gong = cvy_gong();
    atomic_fetch_add(&cvy_head->gong, 1);
    CHECK_EQ(cvy_os_futex_wake(&cvy_head->gong, 1 << 20), COUNT);
    while (atomic_load(&c->woken) < COUNT)
        cvy_os_yield();
    for (int i = 0; i < COUNT; i++)
        await_sleeper(c->owners[i], c->tids[i]);
    CHECK_EQ(cvy_gong(), gong + 1);
    CHECK_EQ(c->woken, COUNT);
    dismiss(c, 0, COUNT);
}

/* Nanoseconds that these processes have run. */
static uint64_t time_used(const struct crowd *c, int first, int end)
{
    uint64_t sum = 0;
    for (int i = first; i < end; i++) {
        char path[64];
        unsigned long long used = 0;
        snprintf(path, sizeof path, "/proc/%d/schedstat", c->pids[i]);
        FILE *file = fopen(path, "re");
        CHECK(file && fscanf(file, "%llu", &used) == 1);
        fclose(file);
        sum += used;
    }
    return sum;
}

TEST_TIMEOUT(deaths_among_two_hundred_sleepers_make_no_storm, 60)
{
    enum { KILLED = 10 };
    found_with_bell_only();
    struct crowd *c = gather(MOST);
    uint32_t gong = cvy_gong();
    for (int i = 0; i < KILLED; i++) {
        int64_t next = cvy_os_now() + COVEY_USEC(200);
        CHECK_EQ(kill(c->pids[i], SIGKILL), 0);
        while (cvy_os_now() < next)
            ;
    }
    for (int i = 0; i < KILLED; i++)
        CHECK_EQ(waitpid(c->pids[i], NULL, 0), c->pids[i]);
    /* Those who were woken once have gone back to sleep; a storm would not end. */
    int64_t limit = cvy_os_now() + COVEY_SEC(10);
    uint64_t before = time_used(c, KILLED, MOST), now;
    while ((now = time_used(c, KILLED, MOST)) != before && cvy_os_now() < limit)
        before = now;
    CHECK_GT(cvy_gong(), gong);
    /* The one sleep of these tests: what is measured is what happens in a second. */
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    uint64_t most = family_is_sanitized() ? 50000000 : 10000000;
    CHECK_LT(time_used(c, KILLED, MOST) - before, most);
    CHECK_LE(cvy_gong() - gong, 3 * KILLED);
    dismiss(c, KILLED, MOST);
    CHECK_EQ(family_usage().members, 1);
}

/* ---- the lock ---- */

struct counted_lock {
    cvy_word *lock;
    cvy_word stop;
    volatile long count;
};

static _Noreturn void count_under_lock(struct counted_lock *c, int rounds)
{
    CHECK_OK(cvy_enter());
    for (int i = 0; i < rounds; i++) {
        CHECK_EQ(cvy_lock_acquire(c->lock, INT64_MAX), 0);
        c->count = c->count + 1;
        cvy_lock_release(c->lock);
    }
    _exit(0);
}

TEST(one_at_a_time_holds_the_lock)
{
    enum { CHILDREN = 4, ROUNDS = 20000 };
    family_found(NULL);
    struct counted_lock *c = family_shared(sizeof *c);
    c->lock = make_lock();
    int pids[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        pids[i] = family_fork();
        if (pids[i] == 0)
            count_under_lock(c, ROUNDS);
    }
    for (int i = 0; i < CHILDREN; i++)
        family_join(pids[i]);
    CHECK_EQ(c->count, CHILDREN * ROUNDS);
    CHECK_EQ(*c->lock & CVY_OWNER_MASK, 0);
}

static int start_contender(struct counted_lock *c)
{
    int pid = family_fork();
    if (pid != 0)
        return pid;
    CHECK_OK(cvy_enter());
    while (!atomic_load(&c->stop)) {
        CHECK_GE(cvy_lock_acquire(c->lock, INT64_MAX), 0);
        cvy_lock_release(c->lock);
    }
    _exit(0);
}

static void spend(int64_t time)
{
    int64_t until = cvy_os_now() + time;
    while (cvy_os_now() < until)
        cvy_os_yield();
}

/* A sleeper who is woken and killed before it acts strands nobody, with slices too long to
 * help: the bell wakes the next one. */
TEST(killed_waiters_strand_nobody)
{
    enum { CHILDREN = 6 };
    found_with_bell_only();
    struct counted_lock *c = family_shared(sizeof *c);
    c->lock = make_lock();
    int pids[CHILDREN];
    unsigned seed = 1;
    for (int i = 0; i < CHILDREN; i++)
        pids[i] = start_contender(c);
    for (long round = 0; round < family_long(100, 20000); round++) {
        int *pid = &pids[round % CHILDREN];
        seed = seed * 1103515245 + 12345;
        spend(seed % 2000000);
        family_kill(*pid);
        CHECK_GE(cvy_lock_acquire(c->lock, cvy_os_deadline(COVEY_SEC(10))), 0);
        cvy_lock_release(c->lock);
        *pid = start_contender(c);
    }
    family_tell(&c->stop);
    for (int i = 0; i < CHILDREN; i++)
        family_join(pids[i]);
}

TEST(bell_is_found_to_work_where_waitv_does)
{
    family_found(NULL);
    CHECK_EQ(cvy_bell_works(), cvy_os_has_waitv());
}

CHECK_MAIN()
