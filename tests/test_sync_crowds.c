/* SPDX-License-Identifier: MIT */
/* Many who wait: they all meet, and cost next to nothing while they sleep. */
#include <sys/resource.h>

#include "sync_help.h"

enum { CROWD = 300, HOLDERS = 20 };

static int64_t processor_time(void)
{
    struct rusage usage;
    CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
    return COVEY_SEC(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           COVEY_USEC(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Let half a second go by, ten slices, and see what the sleepers use of it. */
static void check_they_sleep(void)
{
    covey_event *never;
    CHECK_OK(covey_event_create(&never, NULL));
    int64_t before = processor_time();
    CHECK_ERR(covey_event_wait(never, COVEY_MSEC(500)), -ETIMEDOUT);
    if (!SANITIZED)
        CHECK_LT(processor_time() - before, COVEY_MSEC(250));
    covey_event_free(never);
}

static void start_threads(pthread_t *threads, int count, void *(*fn)(void *), void *arg)
{
    pthread_attr_t attr;
    CHECK_EQ(pthread_attr_init(&attr), 0);
    CHECK_EQ(pthread_attr_setstacksize(&attr, 256 * 1024), 0);
    for (int i = 0; i < count; i++)
        CHECK_EQ(pthread_create(&threads[i], &attr, fn, arg), 0);
    CHECK_EQ(pthread_attr_destroy(&attr), 0);
}

static void join_threads(const pthread_t *threads, int count)
{
    for (int i = 0; i < count; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

static void *wait_at_barrier(void *barrier)
{
    CHECK_EQ(covey_barrier_wait(barrier, COVEY_FOREVER, NULL), 0);
    return NULL;
}

TEST_TIMEOUT(crowd_at_a_barrier_sleeps, 120)
{
    static pthread_t threads[CROWD];
    covey_barrier *barrier;
    unsigned waiting = 0;
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(50))));
    CHECK_OK(covey_barrier_create(&barrier, CROWD + 1, NULL));
    start_threads(threads, CROWD, wait_at_barrier, barrier);
    while (waiting < CROWD) {
        CHECK_OK(covey_barrier_n_waiting(barrier, &waiting));
        cvy_os_yield();
    }
    check_they_sleep();
    CHECK_EQ(covey_barrier_wait(barrier, COVEY_FOREVER, NULL), 0);
    join_threads(threads, CROWD);
    covey_barrier_free(barrier);
}

static int hold_a_permit(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(covey_bounded_semaphore_acquire(s->object, COVEY_FOREVER), 0);
    family_tell(&s->begun);
    family_await(&s->go, 1);
    return 0;
}

static void *wait_for_permit(void *stage)
{
    struct stage *s = stage;
    family_tell(&s->told);
    CHECK_EQ(covey_bounded_semaphore_acquire(s->object, COVEY_FOREVER), 0);
    CHECK_EQ(covey_bounded_semaphore_release(s->object, 1), 0);
    return NULL;
}

TEST_TIMEOUT(crowd_at_a_semaphore_sleeps, 120)
{
    static pthread_t threads[CROWD];
    covey_bounded_semaphore *semaphore;
    covey_process *holders[HOLDERS];
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(50))));
    struct stage *s = stage_made();
    CHECK_OK(covey_bounded_semaphore_create(&semaphore, HOLDERS, NULL));
    s->object = semaphore;
    for (int i = 0; i < HOLDERS; i++)
        holders[i] = started(hold_a_permit, COVEY_VIEW_OF(s), NULL);
    family_await(&s->begun, HOLDERS);
    start_threads(threads, CROWD, wait_for_permit, s);
    family_await(&s->told, CROWD);
    check_they_sleep();
    family_tell(&s->go);
    for (int i = 0; i < HOLDERS; i++)
        CHECK_EQ(end_of(holders[i]), 0);
    join_threads(threads, CROWD);
    covey_bounded_semaphore_free(semaphore);
}

static void *wait_at_condition(void *condition)
{
    CHECK_OK(covey_condition_acquire(condition, COVEY_FOREVER));
    CHECK_EQ(covey_condition_wait(condition, COVEY_FOREVER), 0);
    CHECK_OK(covey_condition_release(condition));
    return NULL;
}

TEST_TIMEOUT(crowd_at_a_condition_sleeps, 120)
{
    static pthread_t threads[CROWD];
    covey_condition *condition;
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(50))));
    CHECK_OK(covey_condition_create(&condition, NULL));
    start_threads(threads, CROWD, wait_at_condition, condition);
    for (const char *all = ", 300)>", *found = NULL; !found; cvy_os_yield()) {
        struct covey_bytes text = {0};
        CHECK_OK(covey_condition_repr(condition, &text));
        found = strstr(text.data, all) ? all : NULL;
        covey_bytes_free(&text);
    }
    check_they_sleep();
    CHECK_OK(covey_condition_acquire(condition, COVEY_FOREVER));
    CHECK_OK(covey_condition_notify_all(condition));
    CHECK_OK(covey_condition_release(condition));
    join_threads(threads, CROWD);
    covey_condition_free(condition);
}

/* ---- many meet ------------------------------------------------------------------ */

struct crowd {
    covey_barrier *barrier;
    _Atomic int indices;
};

static void *join_in(void *arg)
{
    struct crowd *crowd = arg;
    unsigned index = 0;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(covey_barrier_wait(crowd->barrier, COVEY_FOREVER, &index), 0);
        atomic_fetch_add(&crowd->indices, (int)index);
    }
    return NULL;
}

TEST_TIMEOUT(two_thousand_threads_meet, 120)
{
    int count = SANITIZED ? 400 : 2000; /* shadow memory costs too much */
    static pthread_t threads[2000];
    struct crowd crowd = {0};
    CHECK_OK(covey_barrier_create(&crowd.barrier, (unsigned)count, NULL));
    start_threads(threads, count, join_in, &crowd);
    join_threads(threads, count);
    CHECK_EQ(crowd.indices, 3 * (count * (count - 1) / 2));
    CHECK_EQ(covey_barrier_broken(crowd.barrier), 0);
    covey_barrier_free(crowd.barrier);
}

CHECK_MAIN()
