/* SPDX-License-Identifier: MIT */
/* Signals while waiting: a handler without SA_RESTART ends the wait, one with it does not.
 * Each call that waits is one row of a table. */
#include "sync_help.h"

static void note_signal(int signal);
static cvy_word signals;

static void note_signal(int signal)
{
    (void)signal;
    atomic_fetch_add(&signals, 1);
}

/* Something that makes this thread wait, and what lets it go on from another. */
struct wait {
    const char *name;
    void *(*make)(void);
    int (*wait)(void *object);
    void (*let_go)(void *object);
    void (*after)(void *object); /* once more it waits for nothing; then it is freed */
};

static void *make_lock(void)
{
    covey_lock *lock = NULL;
    CHECK_OK(covey_lock_create(&lock, NULL));
    CHECK_OK(covey_lock_acquire(lock, COVEY_FOREVER));
    return lock;
}
static int wait_for_lock(void *lock)
{
    return covey_lock_acquire(lock, COVEY_FOREVER);
}
static void let_lock_go(void *lock)
{
    CHECK_OK(covey_lock_release(lock));
}
static void after_lock(void *lock)
{
    CHECK_OK(covey_lock_release(lock));
    covey_lock_free(lock);
}

/* An rlock is had by a thread of its own, until told. */
struct rlock_owner {
    covey_rlock *lock;
    pthread_t thread;
    cvy_word has, go;
};
static struct rlock_owner rlock_owner;
static void *own_rlock(void *unused)
{
    (void)unused;
    CHECK_OK(covey_rlock_acquire(rlock_owner.lock, COVEY_FOREVER));
    family_tell(&rlock_owner.has);
    family_await(&rlock_owner.go, 1);
    CHECK_OK(covey_rlock_release(rlock_owner.lock));
    return NULL;
}
static void *make_rlock(void)
{
    atomic_store(&rlock_owner.has, 0);
    atomic_store(&rlock_owner.go, 0);
    CHECK_OK(covey_rlock_create(&rlock_owner.lock, NULL));
    rlock_owner.thread = thread_of(own_rlock, NULL);
    family_await(&rlock_owner.has, 1);
    return rlock_owner.lock;
}
static int wait_for_rlock(void *lock)
{
    return covey_rlock_acquire(lock, COVEY_FOREVER);
}
static void let_rlock_go(void *lock)
{
    (void)lock;
    family_tell(&rlock_owner.go);
}
static void after_rlock(void *lock)
{
    CHECK_EQ(pthread_join(rlock_owner.thread, NULL), 0);
    CHECK_OK(covey_rlock_release(lock));
    covey_rlock_free(lock);
}

static void *make_semaphore(void)
{
    covey_semaphore *semaphore = NULL;
    CHECK_OK(covey_semaphore_create(&semaphore, 0, NULL));
    return semaphore;
}
static int wait_for_semaphore(void *semaphore)
{
    return covey_semaphore_acquire(semaphore, COVEY_FOREVER);
}
static void let_semaphore_go(void *semaphore)
{
    CHECK_OK(covey_semaphore_release(semaphore, 1));
}
static void after_semaphore(void *semaphore)
{
    unsigned value = 4711;
    CHECK_OK(covey_semaphore_get_value(semaphore, &value));
    CHECK_EQ(value, 0);
    covey_semaphore_free(semaphore);
}

static void *make_bounded(void)
{
    covey_bounded_semaphore *semaphore = NULL;
    CHECK_OK(covey_bounded_semaphore_create(&semaphore, 1, NULL));
    CHECK_OK(covey_bounded_semaphore_acquire(semaphore, COVEY_FOREVER));
    return semaphore;
}
static int wait_for_bounded(void *semaphore)
{
    return covey_bounded_semaphore_acquire(semaphore, COVEY_FOREVER);
}
static void let_bounded_go(void *semaphore)
{
    CHECK_OK(covey_bounded_semaphore_release(semaphore, 1));
}
static void after_bounded(void *semaphore)
{
    CHECK_EQ(covey_bounded_semaphore_locked(semaphore), 1);
    covey_bounded_semaphore_free(semaphore);
}

static void *make_event(void)
{
    covey_event *event = NULL;
    CHECK_OK(covey_event_create(&event, NULL));
    return event;
}
static int wait_for_event(void *event)
{
    return covey_event_wait(event, COVEY_FOREVER);
}
static void let_event_go(void *event)
{
    CHECK_OK(covey_event_set(event));
}
static void after_event(void *event)
{
    covey_event_free(event);
}

static void *make_condition(void)
{
    covey_condition *condition = NULL;
    CHECK_OK(covey_condition_create(&condition, NULL));
    CHECK_OK(covey_condition_acquire(condition, COVEY_FOREVER));
    return condition;
}
static int wait_at_condition(void *condition)
{
    return covey_condition_wait(condition, COVEY_FOREVER);
}
static int is_notified;
static int was_notified(void *ctx)
{
    (void)ctx;
    return is_notified;
}
static int wait_for_predicate(void *condition)
{
    is_notified = 0;
    return covey_condition_wait_for(condition, was_notified, NULL, COVEY_FOREVER);
}
static void let_condition_go(void *condition)
{
    CHECK_OK(covey_condition_acquire(condition, COVEY_FOREVER));
    is_notified = 1;
    CHECK_OK(covey_condition_notify(condition, 1));
    CHECK_OK(covey_condition_release(condition));
}
static void after_condition(void *condition)
{
    CHECK_REPR(condition, condition, "<Condition(<RLock(MainProcess, 1)>, 0)>");
    CHECK_OK(covey_condition_release(condition));
    covey_condition_free(condition);
}

static void *make_barrier(void)
{
    covey_barrier *barrier = NULL;
    CHECK_OK(covey_barrier_create(&barrier, 2, NULL));
    return barrier;
}
static int wait_at_barrier(void *barrier)
{
    return covey_barrier_wait(barrier, COVEY_FOREVER, NULL);
}
static void let_barrier_go(void *barrier)
{
    CHECK_OK(covey_barrier_wait(barrier, COVEY_FOREVER, NULL));
}
static void after_barrier(void *barrier)
{
    covey_barrier_free(barrier);
}

static const struct wait waits[] = {
    {"covey_lock_acquire", make_lock, wait_for_lock, let_lock_go, after_lock},
    {"covey_rlock_acquire", make_rlock, wait_for_rlock, let_rlock_go, after_rlock},
    {"covey_semaphore_acquire", make_semaphore, wait_for_semaphore, let_semaphore_go,
     after_semaphore},
    {"covey_bounded_semaphore_acquire", make_bounded, wait_for_bounded, let_bounded_go,
     after_bounded},
    {"covey_event_wait", make_event, wait_for_event, let_event_go, after_event},
    {"covey_condition_wait", make_condition, wait_at_condition, let_condition_go,
     after_condition},
    {"covey_condition_wait_for", make_condition, wait_for_predicate, let_condition_go,
     after_condition},
    {"covey_barrier_wait", make_barrier, wait_at_barrier, let_barrier_go,
     after_barrier},
};
enum { WAITS = sizeof waits / sizeof *waits };

static void on_signal(int flags)
{
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = flags};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    atomic_store(&signals, 0);
}

/* Another thread, which sends signals to the sleeper, and lets it go at the end. */
struct pester {
    const struct wait *wait;
    void *object;
    pthread_t sleeper;
    unsigned times; /* 0: until done */
    cvy_word done;
};

static void *send_signals(void *arg)
{
    struct pester *p = arg;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &mask, NULL);
    CHECK_OK(cvy_enter());
    if (!p->times)
        while (!atomic_load(&p->done)) {
            pthread_kill(p->sleeper, SIGUSR1);
            cvy_os_yield();
        }
    for (uint32_t i = 1; i <= p->times; i++) {
        await_sleepers(p->object, 1);
        pthread_kill(p->sleeper, SIGUSR1);
        while (atomic_load(&signals) < i)
            cvy_os_yield();
    }
    if (p->times) {
        await_sleepers(p->object, 1);
        p->wait->let_go(p->object);
    }
    return NULL;
}

TEST_TIMEOUT(handler_without_restart_ends_the_wait, 60)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = COVEY_SEC(100))));
    on_signal(0);
    for (int i = 0; i < WAITS; i++) {
        struct pester p = {&waits[i], waits[i].make(), pthread_self(), 0, 0};
        pthread_t thread = thread_of(send_signals, &p);
        int r = waits[i].wait(p.object);
        atomic_store(&p.done, 1);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_ERR(r, -EINTR);
        CHECK_STR_HAS(covey_error_detail(), waits[i].name);
        CHECK_STR_HAS(covey_error_detail(), ": a signal came");
        if (waits[i].wait == wait_at_barrier) {
            CHECK_EQ(covey_barrier_broken(p.object), 1);
        } else {
            if (waits[i].make == make_condition)
                CHECK_OK(covey_condition_notify(p.object, 1)); /* it has the lock */
            else
                waits[i].let_go(p.object);
            if (waits[i].make != make_condition)
                CHECK_EQ(waits[i].wait(p.object), 0); /* nothing is spoilt */
        }
        waits[i].after(p.object);
    }
}

TEST_TIMEOUT(handler_with_restart_does_not, 60)
{
#ifdef __SANITIZE_THREAD__
    SKIP("ThreadSanitizer runs a handler when the system call is over");
#endif
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = COVEY_SEC(100))));
    for (int i = 0; i < WAITS; i++) {
        on_signal(SA_RESTART);
        struct pester p = {&waits[i], waits[i].make(), pthread_self(), 3, 0};
        pthread_t thread = thread_of(send_signals, &p);
        CHECK_EQ(waits[i].wait(p.object), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(signals, 3);
        waits[i].after(p.object);
    }
}

CHECK_MAIN()
