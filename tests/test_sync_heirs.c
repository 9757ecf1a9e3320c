/* SPDX-License-Identifier: MIT */
/* Deaths at conditions and barriers: whose notification it is then, and who is told. */
#include "sync/sync.h"
#include "sync_help.h"

/* ---- conditions ---------------------------------------------------------------- */

static covey_condition *condition_made(struct stage *s)
{
    covey_condition *condition = NULL;
    covey_lock *lock = NULL;
    CHECK_OK(covey_lock_create(&lock, NULL));
    CHECK_OK(covey_condition_create(&condition, COVEY_CONDITION_OPTS(.lock = lock)));
    s->object = condition;
    s->other = lock;
    return condition;
}

static void condition_free(struct stage *s)
{
    covey_condition_free(s->object);
    covey_lock_free(s->other);
}

static int wait_once(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_OK(covey_condition_acquire(s->object, COVEY_FOREVER));
    int mine = s->numbers[0]++;
    s->numbers[10 + mine] = -1;
    int r = covey_condition_wait(s->object, COVEY_FOREVER);
    CHECK_OK(r);
    s->numbers[10 + mine] = r;
    CHECK_OK(covey_condition_release(s->object));
    family_tell(&s->told);
    return 0;
}

static void start_waiters(struct stage *s, covey_process **processes, unsigned n)
{
    memset(s->numbers, 0, sizeof s->numbers);
    atomic_store(&s->told, 0);
    for (unsigned i = 0; i < n; i++) {
        processes[i] = acting(wait_once, s);
        await_sleepers(s->object, i + 1);
    }
}

static void enter(const struct stage *s)
{
    CHECK_EQ(covey_condition_acquire(s->object, COVEY_FOREVER), 0);
}

static void leave(const struct stage *s)
{
    CHECK_EQ(covey_condition_release(s->object), 0);
}

/* As notify leaves it when it is killed before it has marked anybody. */
static void die_in_notify(struct covey_condition *c, uint32_t n)
{
    cvy_word *ready = family_shared(sizeof *ready);
    int pid = family_fork();
    if (!pid) {
        CHECK_OK(cvy_enter());
        atomic_store(&c->notify, cvy_entry_of(cvy_thread_owner(), n));
        family_tell(ready);
        family_pause();
    }
    family_await(ready, 1);
    family_kill(pid);
}

TEST(who_comes_after_an_unfinished_notify_was_not_meant)
{
    static const uint32_t counts[] = {1, 3, UINT32_MAX};
    covey_condition *condition;
    CHECK_OK(covey_condition_create(&condition, NULL));
    for (int i = 0; i < 3; i++) {
        die_in_notify(condition, counts[i]);
        CHECK_OK(covey_condition_acquire(condition, COVEY_FOREVER));
        CHECK_ERR(covey_condition_wait(condition, COVEY_MSEC(5)), -ETIMEDOUT);
        CHECK_ERR(covey_condition_wait(condition, COVEY_MSEC(5)), -ETIMEDOUT);
        CHECK_OK(covey_condition_release(condition));
    }
    covey_condition_free(condition);
}

static void notify_all_and_end(struct stage *s, covey_process **processes, int n)
{
    enter(s);
    CHECK_OK(covey_condition_notify_all(s->object));
    leave(s);
    for (int i = 0; i < n; i++)
        CHECK_EQ(end_of(processes[i]), 0);
}

TEST_EACH_METHOD(notify_passes_over_a_dead_waiter)
{
    struct stage *s = stage_with_bell_only();
    covey_condition *c = condition_made(s);
    covey_process *processes[4];
    start_waiters(s, processes, 4);
    kill_and_free(processes[0]);
    kill_and_free(processes[2]);
    CHECK_REPR(condition, c, "<Condition(<Lock(owner=None)>, 2)>");
    enter(s);
    CHECK_OK(covey_condition_notify(c, 1));
    leave(s);
    CHECK_EQ(end_of(processes[1]), 0);
    notify_all_and_end(s, processes + 3, 1);
    condition_free(s);
}

/* It was woken, and dies before it has the lock: the one that waits longest has it now. */
TEST_EACH_METHOD(notification_of_a_dead_waiter_is_inherited)
{
    struct stage *s = stage_with_bell_only();
    covey_condition *c = condition_made(s);
    covey_process *processes[4];
    start_waiters(s, processes, 4);
    enter(s);
    CHECK_OK(covey_condition_notify(c, 1));
    await_sleepers(s->other, 1); /* for the lock, which is ours */
    kill_and_free(processes[0]);
    await_sleepers(c, 2);
    leave(s);
    family_await(&s->told, 1);
    await_sleepers(c, 2);
    CHECK_EQ(s->told, 1);
    notify_all_and_end(s, processes + 1, 3);
    condition_free(s);
}

TEST_EACH_METHOD(all_notifications_of_the_dead_are_inherited)
{
    struct stage *s = stage_with_bell_only();
    covey_condition *c = condition_made(s);
    covey_process *processes[6];
    start_waiters(s, processes, 6);
    enter(s);
    CHECK_OK(covey_condition_notify(c, 3));
    await_sleepers(s->other, 3);
    kill_and_free(processes[0]);
    kill_and_free(processes[1]);
    kill_and_free(processes[2]);
    leave(s);
    for (int i = 3; i < 6; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    condition_free(s);
}

/* Nobody waits when it dies; who comes later was not meant, or is woken for nothing once. */
TEST_EACH_METHOD(waiting_goes_on_after_all_waiters_died)
{
    struct stage *s = stage_with_bell_only();
    covey_condition *c = condition_made(s);
    covey_process *processes[2];
    start_waiters(s, processes, 2);
    kill_and_free(processes[0]);
    kill_and_free(processes[1]);
    CHECK_REPR(condition, c, "<Condition(<Lock(owner=None)>, 0)>");
    enter(s);
    CHECK_OK(covey_condition_notify(c, 5));
    CHECK_ERR(covey_condition_wait(c, COVEY_MSEC(5)), -ETIMEDOUT);
    leave(s);
    start_waiters(s, processes, 2);
    notify_all_and_end(s, processes, 2);
    condition_free(s);
}

static int notify_and_die(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_OK(covey_condition_acquire(s->object, COVEY_FOREVER));
    CHECK_OK(covey_condition_notify(s->object, 1));
    raise(SIGKILL);
    return 0;
}

TEST_EACH_METHOD(waiter_is_told_that_the_lock_was_abandoned)
{
    struct stage *s = stage_with_bell_only();
    covey_process *processes[1];
    (void)condition_made(s);
    start_waiters(s, processes, 1);
    CHECK_EQ(act_alone(notify_and_die, s), -SIGKILL);
    CHECK_EQ(end_of(processes[0]), 0);
    CHECK_EQ(s->numbers[10], COVEY_ABANDONED);
    CHECK_EQ(covey_lock_acquire(s->other, COVEY_NOWAIT), 0);
    condition_free(s);
}

static int is_true_later(void *ctx)
{
    return ((struct stage *)ctx)->numbers[1];
}

static int wait_for_it(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_OK(covey_condition_acquire(s->object, COVEY_FOREVER));
    CHECK_EQ(covey_condition_wait_for(s->object, is_true_later, s, COVEY_FOREVER),
             COVEY_ABANDONED);
    CHECK_EQ(covey_lock_abandoned(s->other), 0); /* that was one wait before the last */
    CHECK_OK(covey_condition_release(s->object));
    return 0;
}

TEST_EACH_METHOD(wait_for_remembers_that_the_lock_was_abandoned)
{
    struct stage *s = stage_with_bell_only();
    covey_condition *c = condition_made(s);
    covey_process *p = acting(wait_for_it, s);
    await_sleepers(c, 1);
    CHECK_EQ(act_alone(notify_and_die, s), -SIGKILL);
    await_sleepers(c, 1);
    enter(s);
    s->numbers[1] = 1;
    CHECK_OK(covey_condition_notify(c, 1));
    leave(s);
    CHECK_EQ(end_of(p), 0);
    condition_free(s);
}

static int have_lock_until_killed(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_OK(covey_condition_acquire(s->object, COVEY_FOREVER));
    family_tell(&s->begun);
    family_pause();
}

static void *kill_who_has_it(void *arg)
{
    void **parts = arg;
    struct stage *s = parts[0];
    family_await(&s->begun, 2);
    await_sleepers(s->other, 1); /* the time of the wait is over, it wants the lock */
    CHECK_OK(covey_process_kill(parts[1]));
    return NULL;
}

TEST_EACH_METHOD(timed_out_wait_can_ask_whether_the_lock_was_abandoned)
{
    struct stage *s = stage_with_bell_only();
    covey_condition *c = condition_made(s);
    enter(s);
    covey_process *p = acting(have_lock_until_killed, s);
    void *parts[] = {s, p};
    await_sleepers(s->other, 1);
    leave(s);
    family_await(&s->begun, 1);
    CHECK_ERR(covey_condition_acquire(c, COVEY_NOWAIT), -ETIMEDOUT);
    kill_and_free(p);
    CHECK_EQ(covey_condition_acquire(c, COVEY_NOWAIT), COVEY_ABANDONED);
    CHECK_EQ(covey_lock_abandoned(s->other), 1);
    parts[1] = acting(have_lock_until_killed, s); /* gets it when we wait */
    await_sleepers(s->other, 1);
    pthread_t thread = thread_of(kill_who_has_it, parts);
    CHECK_ERR(covey_condition_wait(c, COVEY_MSEC(200)), -ETIMEDOUT);
    CHECK_EQ(covey_lock_abandoned(s->other), 1);
    leave(s);
    CHECK_EQ(covey_lock_abandoned(s->other), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(end_of(parts[1]), -SIGKILL);
    condition_free(s);
}

static void *wait_in_a_thread(void *stage)
{
    (void)wait_once(COVEY_VIEW_OF(stage));
    return NULL;
}

static int end_with_a_thread_waiting(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    (void)pthread_detach(thread_of(wait_in_a_thread, s));
    await_sleepers(s->object, 1);
    return 0;
}

TEST_EACH_METHOD(notify_passes_over_waiters_of_a_process_that_ended)
{
    struct stage *s = stage_with_bell_only();
    covey_condition *c = condition_made(s);
    CHECK_EQ(act_alone(end_with_a_thread_waiting, s), 0);
    covey_process *p = acting(wait_once, s);
    await_sleepers(c, 1);
    enter(s);
    CHECK_OK(covey_condition_notify(c, 1));
    leave(s);
    CHECK_EQ(end_of(p), 0);
    condition_free(s);
}

/* ---- barriers ------------------------------------------------------------------ */

static covey_barrier *barrier_made(struct stage *s, unsigned parties,
                                   covey_action_fn *action)
{
    covey_barrier *barrier = NULL;
    CHECK_OK(
        covey_barrier_create(&barrier, parties, COVEY_BARRIER_OPTS(.action = action)));
    s->object = barrier;
    return barrier;
}

static struct stage *scene;

static int meet(struct covey_view arg)
{
    struct stage *s = scene = stage_of(arg);
    int r = covey_barrier_wait(s->object, COVEY_FOREVER, NULL);
    if (r < 0)
        strcpy(s->text, covey_error_detail());
    s->numbers[atomic_fetch_add(&s->counter, 1)] = r;
    atomic_fetch_add(&s->told, 1);
    return 0;
}

static void check_broken(struct stage *s, unsigned told)
{
    unsigned waiting = 4711;
    while (atomic_load(&s->told) < told)
        cvy_os_yield();
    for (unsigned i = 0; i < told; i++)
        CHECK_EQ(s->numbers[i], COVEY_EBROKEN);
    CHECK_STR_HAS(s->text, "was broken by the death of ");
    CHECK_EQ(covey_barrier_broken(s->object), 1);
    CHECK_OK(covey_barrier_n_waiting(s->object, &waiting));
    CHECK_EQ(waiting, 0);
    CHECK_ERR(covey_barrier_wait(s->object, COVEY_FOREVER, NULL), COVEY_EBROKEN);
}

TEST_EACH_METHOD(death_of_one_who_waits_breaks_the_barrier_for_all)
{
    struct stage *s = stage_with_bell_only();
    covey_barrier *b = barrier_made(s, 5, NULL);
    covey_process *processes[4];
    for (unsigned i = 0; i < 4; i++) {
        processes[i] = acting(meet, s);
        await_sleepers(b, i + 1);
    }
    kill_and_free(processes[1]);
    check_broken(s, 3);
    CHECK_EQ(end_of(processes[0]), 0);
    CHECK_EQ(end_of(processes[2]), 0);
    CHECK_EQ(end_of(processes[3]), 0);
    CHECK_OK(covey_barrier_reset(b));
    CHECK_EQ(covey_barrier_broken(b), 0);
    for (unsigned i = 0; i < 4; i++)
        processes[i] = acting(meet, s);
    CHECK_EQ(covey_barrier_wait(b, COVEY_FOREVER, NULL), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    for (int i = 3; i < 7; i++)
        CHECK_EQ(s->numbers[i], 0);
    covey_barrier_free(b);
}

/* The dead one was alone; who comes next hears of it at once. */
TEST_EACH_METHOD(barrier_where_a_dead_one_waited_is_broken_for_newcomers)
{
    struct stage *s = stage_with_bell_only();
    covey_barrier *b = barrier_made(s, 3, NULL);
    covey_process *p = acting(meet, s);
    await_sleepers(b, 1);
    kill_and_free(p);
    CHECK_ERR(covey_barrier_wait(b, COVEY_FOREVER, NULL), COVEY_EBROKEN);
    CHECK_STR_HAS(covey_error_detail(), "was broken by the death of ");
    covey_barrier_free(b);
}

static void *meet_in_a_thread(void *stage)
{
    (void)meet(COVEY_VIEW_OF(stage));
    return NULL;
}

static int end_with_a_thread_at_the_barrier(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    (void)pthread_detach(thread_of(meet_in_a_thread, s));
    await_sleepers(s->object, 2);
    return 0;
}

/* Two threads end one after the other, and the bell rings for each: who looks after the
 * first ring may miss the second, since it looks and sleeps in two steps. Hence with the
 * slices that there are for that. */
TEST_EACH_METHOD(orderly_end_of_a_process_that_waits_breaks_the_barrier)
{
    struct stage *s = stage_made();
    covey_barrier *b = barrier_made(s, 3, NULL);
    covey_process *p = acting(meet, s);
    await_sleepers(b, 1);
    CHECK_EQ(act_alone(end_with_a_thread_at_the_barrier, s), 0);
    check_broken(s, 1);
    CHECK_EQ(end_of(p), 0);
    covey_barrier_free(b);
}

static int act_for_ever(void)
{
    family_tell(&scene->begun);
    family_pause();
}

TEST_EACH_METHOD(death_in_the_action_breaks_the_barrier)
{
    struct stage *s = stage_with_bell_only();
    covey_barrier *b = barrier_made(s, 3, act_for_ever);
    covey_process *processes[2];
    for (unsigned i = 0; i < 2; i++) {
        processes[i] = acting(meet, s);
        await_sleepers(b, i + 1);
    }
    covey_process *actor = acting(meet, s);
    family_await(&s->begun, 1);
    kill_and_free(actor);
    check_broken(s, 2);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    covey_barrier_free(b);
}

static int run_until_killed(struct covey_view arg)
{
    (void)arg;
    family_pause();
}

/* Who does not wait has no part in it. */
TEST_EACH_METHOD(other_deaths_break_no_barrier)
{
    struct stage *s = stage_with_bell_only();
    covey_barrier *b = barrier_made(s, 2, NULL);
    for (int i = 0; i < 3; i++) {
        kill_and_free(acting(run_until_killed, s));
        covey_process *p = acting(meet, s);
        CHECK_EQ(covey_barrier_wait(b, COVEY_FOREVER, NULL), 0);
        CHECK_EQ(end_of(p), 0); /* it took part before */
    }
    CHECK_EQ(covey_barrier_broken(b), 0);
    covey_barrier_free(b);
}

CHECK_MAIN()
