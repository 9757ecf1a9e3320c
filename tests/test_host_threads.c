/* SPDX-License-Identifier: MIT */
/* Hosts with threads: many, short-lived, cancelled, and a first one that ends early. */
#include <sys/resource.h>

#include "host.h"
#include "thread_state.h"

/* ---- many ---- */

struct crowd {
    pthread_barrier_t attached, leave;
};

static void *be_attached(void *arg)
{
    struct crowd *crowd = arg;
    CHECK(covey_current_process() != NULL);
    (void)pthread_barrier_wait(&crowd->attached);
    (void)pthread_barrier_wait(&crowd->leave);
    return NULL;
}

TEST_TIMEOUT(two_thousand_threads_are_attached, 60)
{
    enum { COUNT = 2000 };
    static pthread_t threads[COUNT];
    struct crowd crowd;
    pthread_attr_t attr;
    host_run(0);
    CHECK_EQ(pthread_barrier_init(&crowd.attached, NULL, COUNT + 1), 0);
    CHECK_EQ(pthread_barrier_init(&crowd.leave, NULL, COUNT + 1), 0);
    CHECK_EQ(pthread_attr_init(&attr), 0);
    CHECK_EQ(pthread_attr_setstacksize(&attr, 1 << 17), 0);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(pthread_create(&threads[i], &attr, be_attached, &crowd), 0);
    (void)pthread_barrier_wait(&crowd.attached);
    CHECK_EQ(family_usage().threads, COUNT + 1);
    host_run(1);
    (void)pthread_barrier_wait(&crowd.leave);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(family_usage().threads, 1);
    host_run(2);
}

static void *attach_and_end(void *arg)
{
    (void)arg;
    CHECK(covey_current_process() != NULL);
    return NULL;
}

TEST_TIMEOUT(threads_come_and_go, 60)
{
    CHECK(covey_current_process() != NULL);
    for (int i = 0; i < family_long(10000, 100000); i++) {
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, attach_and_end, NULL), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    CHECK_EQ(family_usage().threads, 1);
}

/* ---- starts from a thread that ends ---- */

static void *start_until_told(void *arg)
{
    struct shared **s = arg;
    covey_process *p = host_start(run_until_told, COVEY_VIEW_OF(*s));
    return p;
}

TEST_EACH_METHOD(process_outlives_the_thread_that_started_it)
{
    struct shared *s = share();
    for (int i = 1; i <= 3; i++) {
        pthread_t thread;
        void *result = NULL;
        atomic_store(&s->go, 0);
        s->numbers[0] = i;
        CHECK_EQ(pthread_create(&thread, NULL, start_until_told, &s), 0);
        CHECK_EQ(pthread_join(thread, &result), 0);
        covey_process *p = result;
        family_await(&s->begun, (uint32_t)i);
        CHECK_ERR(covey_process_join(p, COVEY_MSEC(30)), -ETIMEDOUT);
        family_tell(&s->go);
        host_ends(p, i);
    }
}

static void *start_it(void *p)
{
    CHECK_OK(covey_process_start(p));
    return NULL;
}

TEST_EACH_METHOD(process_outlives_the_thread_that_retried_its_start)
{
    struct shared *s = share();
    struct rlimit limit, few;
    pthread_t thread;
    covey_process *p =
        made(run_until_told, COVEY_VIEW_OF(s), OPTS(.capture_stderr = COVEY_ON));
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = 3;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    CHECK_ERR(covey_process_start(p), -EMFILE); /* by the first thread */
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_EQ(pthread_create(&thread, NULL, start_it, p), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    family_await(&s->begun, 1);
    CHECK_ERR(covey_process_join(p, COVEY_MSEC(30)), -ETIMEDOUT);
    family_tell(&s->go);
    host_ends(p, 0);
}

static void *run_one(void *arg)
{
    host_run(*(int *)arg);
    return NULL;
}

TEST_EACH_METHOD(threads_start_processes_at_the_same_time)
{
    pthread_t threads[8];
    int codes[8];
    if (SANITIZED && check_method() == COVEY_FORK)
        SKIP("the sanitizers' allocators do not survive such forks");
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++) {
            codes[i] = i;
            CHECK_EQ(pthread_create(&threads[i], NULL, run_one, &codes[i]), 0);
        }
        for (int i = 0; i < 8; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    CHECK_EQ(family_usage().threads, 1);
}

/* ---- a first thread that ends ---- */

static struct shared *scene;
static covey_process *running;

static void *outlive_first_thread(void *arg)
{
    const pthread_t first = *(pthread_t *)arg;
    CHECK_EQ(pthread_join(first, NULL), 0);
    host_run(1);
    CHECK_EQ(covey_process_is_alive(running), 1);
    CHECK_ERR(covey_process_join(running, COVEY_MSEC(30)), -ETIMEDOUT);
    host_run(2);
    host_kill(running);
    exit(22);
}

/* It may wait in pthread_exit for what it started, but others need not wait for that. */
static void *go_on_meanwhile(void *arg)
{
    (void)arg;
    family_await(&scene->begun, 1);
    for (int i = 0; i < 5; i++)
        host_run(i);
    CHECK_EQ(covey_process_is_alive(running), 1);
    host_kill(running);
    exit(23);
}

static void *start_other(void *arg)
{
    running = host_start(host_sleep, COVEY_NO_VIEW);
    return arg;
}

static void end_first_thread(bool started_by_first)
{
    static pthread_t first;
    pthread_t thread;
    int pid = family_fork();
    if (pid == 0) {
        first = pthread_self();
        if (started_by_first) {
            scene = share();
            running = host_start(run_for_ever, COVEY_VIEW_OF(scene));
        } else {
            CHECK_EQ(pthread_create(&thread, NULL, start_other, NULL), 0);
            CHECK_EQ(pthread_join(thread, NULL), 0);
        }
        CHECK_EQ(pthread_create(
                     &thread, NULL,
                     started_by_first ? go_on_meanwhile : outlive_first_thread, &first),
                 0);
        pthread_exit(NULL);
    }
    CHECK_EQ(host_wait(pid), started_by_first ? 23 : 22);
}

TEST_EACH_METHOD(first_thread_ends_while_others_go_on)
{
#ifdef __SANITIZE_THREAD__
    SKIP("ThreadSanitizer cannot join the first thread");
#endif
    end_first_thread(false);
}

TEST_EACH_METHOD(first_thread_ends_while_its_processes_run)
{
    end_first_thread(true);
}

/* ---- cancellation ---- */

static void *join_for_ever(void *arg)
{
    CHECK_OK(covey_process_join(arg, COVEY_FOREVER));
    pthread_testcancel();
    return NULL;
}

static void *join_in_time(void *arg)
{
    CHECK_OK(covey_process_join(arg, COVEY_SEC(1000)));
    pthread_testcancel();
    return NULL;
}

struct joiner {
    void *(*join)(void *);
    covey_process *process;
    cvy_word tid;
};

static void *begin_join(void *arg)
{
    struct joiner *joiner = arg;
    CHECK(covey_current_process() != NULL);
    atomic_store(&joiner->tid, (uint32_t)cvy_os_tid());
    (void)cvy_os_futex_wake(&joiner->tid, 1);
    return joiner->join(joiner->process);
}

/* A request to cancel waits until the call is over; no lock stays held. */
static void cancel_joiner(void *(*join)(void *))
{
    struct joiner joiner = {.join = join};
    pthread_t thread;
    void *result = NULL;
    joiner.process = host_start(host_sleep, COVEY_NO_VIEW);
    CHECK_EQ(pthread_create(&thread, NULL, begin_join, &joiner), 0);
    family_await(&joiner.tid, 1);
    await_sleep((int)joiner.tid);
    CHECK_EQ(pthread_cancel(thread), 0);
    host_run(3); /* starts, waits and reaps beside it */
    CHECK_OK(covey_process_kill(joiner.process));
    CHECK_EQ(pthread_join(thread, &result), 0);
    CHECK_EQ((intptr_t)result, (intptr_t)PTHREAD_CANCELED);
    host_ends(joiner.process, -SIGKILL);
    host_run(4);
    CHECK_EQ(family_usage().threads, 1);
}

TEST_EACH_METHOD(cancelled_thread_in_join_leaves_no_lock_held)
{
    cancel_joiner(join_for_ever);
    cancel_joiner(join_in_time);
}

/* Requests to cancel come at any point of anything. */
static void *start_and_join_for_ever(void *arg)
{
    cvy_word *rounds = arg;
    for (;;) {
        covey_process *p = NULL;
        int old, code = 5;
        pthread_testcancel();
        CHECK_OK(covey_process_create(&p, host_return_arg, COVEY_VIEW_OF(code),
                                      OPTS(.capture_stderr = COVEY_ON)));
        CHECK_OK(covey_process_start(p));
        CHECK_OK(covey_process_join(p, COVEY_FOREVER));
        struct covey_process_report report;
        CHECK_OK(covey_process_report(p, &report));
        covey_process_free(p);
        CHECK_EQ(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old), 0);
        CHECK_EQ(old, PTHREAD_CANCEL_ENABLE); /* as it was before the calls */
        family_tell(rounds);
    }
}

TEST_EACH_METHOD(cancelling_at_any_point_leaves_nothing)
{
    if (SANITIZED && check_method() == COVEY_FORK)
        SKIP("the sanitizers' allocators do not survive such forks");
    host_run(0);
    for (int i = 0; i < family_long(10, 300); i++) {
        cvy_word rounds = 0;
        pthread_t thread;
        void *result = NULL;
        CHECK_EQ(pthread_create(&thread, NULL, start_and_join_for_ever, &rounds), 0);
        family_await(&rounds, 1);
        for (int spin = 0; spin < i * 997 % 2000; spin++)
            sched_yield();
        CHECK_EQ(pthread_cancel(thread), 0);
        CHECK_EQ(pthread_join(thread, &result), 0);
        CHECK_EQ((intptr_t)result, (intptr_t)PTHREAD_CANCELED);
        host_run(1);
    }
    CHECK_EQ(family_usage().threads, 1);
    CHECK_LE(family_usage().members, 1);
}

static void *map_for_ever(void *arg)
{
    covey_pool *pool = *(covey_pool **)arg;
    int in[100] = {0}, out[100];
    for (;;) {
        pthread_testcancel();
        CHECK_OK(covey_pool_map(pool, host_double, in, sizeof *in, out, sizeof *out,
                                100, COVEY_MAP_OPTS(.chunksize = 7)));
    }
    return NULL;
}

TEST_EACH_METHOD(cancelled_threads_in_map_leave_the_pool_usable)
{
    covey_pool *pool = NULL;
    CHECK_OK(covey_pool_create(&pool, 2, COVEY_POOL_OPTS(.method = check_method())));
    for (int round = 0; round < 10; round++) {
        enum { COUNT = 24 }; /* more than maps that can go on at a time */
        pthread_t threads[COUNT];
        int in = 4, out = 0;
        for (int i = 0; i < COUNT; i++)
            CHECK_EQ(pthread_create(&threads[i], NULL, map_for_ever, &pool), 0);
        CHECK_OK(covey_pool_map(pool, host_double, &in, sizeof in, &out, sizeof out, 1,
                                NULL));
        CHECK_EQ(out, 8);
        for (int i = 0; i < COUNT; i++)
            CHECK_EQ(pthread_cancel(threads[i]), 0);
        for (int i = 0; i < COUNT; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    covey_pool_free(pool);
    CHECK_EQ(family_usage().threads, 1);
}

/* ---- many starts and ends ---- */

TEST_EACH_METHOD_TIMEOUT(starts_and_ends_leave_everything_as_it_was, 600)
{
    for (int i = 0; i < 20; i++)
        host_run(i);
    struct covey_family_usage before = family_usage();
    long pages[2]; /* of private memory */
    for (int pass = 0; pass < 2; pass++) {
        FILE *file = fopen("/proc/self/statm", "re");
        CHECK(file != NULL);
        CHECK_EQ(fscanf(file, "%*d %*d %*d %*d %*d %ld", &pages[pass]), 1);
        fclose(file);
        for (int i = 0; pass == 0 && i < family_long(300, 10000); i++)
            host_run(i % 256);
    }
    struct covey_family_usage after = family_usage();
    CHECK_EQ(after.members, before.members);
    CHECK_EQ(after.threads, before.threads);
    CHECK_EQ(after.objects, before.objects);
    CHECK_LE(after.used, before.used);
    CHECK_LE(pages[1], pages[0] + 64);
}

/* ---- what runs at the end of a thread ---- */

static pthread_key_t at_thread_end;
static struct shared *seen_at_thread_end;

/* Its function is over, so it counts as ended. */
static void use_covey_at_thread_end(void *p)
{
    size_t count = 0;
    family_tell(&seen_at_thread_end->ended);
    family_await(&seen_at_thread_end->go, 1);
    CHECK_OK(covey_active_children(NULL, 0, &count));
    CHECK_OK(covey_process_join(p, COVEY_FOREVER));
    CHECK_EQ(covey_process_is_alive(p), 0);
    family_tell(&seen_at_thread_end->told);
}

static int end_with_destructor(struct covey_view arg)
{
    (void)arg;
    CHECK_EQ(pthread_setspecific(at_thread_end, covey_current_process()), 0);
    return 4;
}

static covey_process *thread_about_to_end(struct shared *s)
{
    seen_at_thread_end = s;
    CHECK_EQ(pthread_key_create(&at_thread_end, use_covey_at_thread_end), 0);
    covey_process *p = started(end_with_destructor, COVEY_NO_VIEW,
                               COVEY_PROCESS_OPTS(.method = COVEY_THREAD));
    family_await(&s->ended, 1);
    return p;
}

static cvy_word joiner_tid;

static void *join_and_look(void *p)
{
    atomic_store(&joiner_tid, (uint32_t)cvy_os_tid());
    CHECK_OK(covey_process_join(p, COVEY_FOREVER));
    CHECK_EQ(atomic_load(&seen_at_thread_end->told), 1);
    return NULL;
}

/* Who joins the thread waits for its destructors, and holds nobody up. */
TEST(destructors_of_a_joined_thread_may_use_covey)
{
    struct shared *s = share();
    pthread_t joiner;
    covey_process *p = thread_about_to_end(s);
    CHECK_EQ(pthread_create(&joiner, NULL, join_and_look, p), 0);
    family_await(&joiner_tid, 1);
    await_sleep((int)atomic_load(&joiner_tid));
    family_tell(&s->go);
    CHECK_EQ(pthread_join(joiner, NULL), 0);
    host_ends(p, 4);
}

/* It reaps itself. */
TEST(destructors_of_a_thread_that_nobody_joins_may_use_covey)
{
    struct shared *s = share();
    covey_process *p = thread_about_to_end(s);
    family_tell(&s->go);
    family_await(&s->told, 1);
    host_ends(p, 4);
}

CHECK_MAIN()
