/* SPDX-License-Identifier: MIT */
/* Barriers: meeting, actions, and all that breaks them. */
#include "sync_help.h"

static covey_barrier *barrier_made(unsigned parties)
{
    covey_barrier *barrier = NULL;
    CHECK_OK(
        covey_barrier_create(&barrier, parties, COVEY_BARRIER_OPTS(.name = "gate")));
    return barrier;
}

static unsigned waiting_at(covey_barrier *barrier)
{
    unsigned waiting = 4711;
    CHECK_EQ(covey_barrier_n_waiting(barrier, &waiting), 0);
    return waiting;
}

static void check_as_new(covey_barrier *barrier)
{
    CHECK_EQ(waiting_at(barrier), 0);
    CHECK_EQ(covey_barrier_broken(barrier), 0);
}

/* ---- making ------------------------------------------------------------------- */

TEST(new_barrier_is_whole_and_empty)
{
    covey_barrier *b = barrier_made(3);
    unsigned parties = 0;
    CHECK_EQ(covey_barrier_parties(b, &parties), 0);
    CHECK_EQ(parties, 3);
    check_as_new(b);
    CHECK_REPR(barrier, b, "<Barrier at %p: waiters=0/3>", (void *)b);
    CHECK_ERR(covey_barrier_parties(b, NULL), -EINVAL);
    CHECK_ERR(covey_barrier_n_waiting(b, NULL), -EINVAL);
    CHECK_ERR(covey_barrier_repr(b, NULL), -EINVAL);
    CHECK_EQ(covey_barrier_reset(b), 0);
    check_as_new(b);
    covey_barrier_free(b);
    covey_barrier_free(NULL);
}

TEST(bad_options_make_no_barrier)
{
    covey_barrier *b = NULL;
    covey_action_fn *wild;
    void *heap = malloc(16);
    CHECK(heap != NULL);
    memcpy(&wild, &heap, sizeof wild);
    CHECK_ERR(covey_barrier_create(NULL, 1, NULL), -EINVAL);
    CHECK_ERR(covey_barrier_create(&b, 0, NULL), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "covey_barrier_create: 0 parties");
    CHECK_ERR(covey_barrier_create(&b, 65536, NULL), -EINVAL);
    CHECK_ERR(covey_barrier_create(&b, 1, &(struct covey_barrier_opts){.timeout = 1}),
              -EINVAL);
    CHECK_ERR(covey_barrier_create(&b, 1, COVEY_BARRIER_OPTS(.timeout = -1)), -EINVAL);
    CHECK_ERR(covey_barrier_create(&b, 1, COVEY_BARRIER_OPTS(.action = wild)), -EINVAL);
    CHECK(b == NULL);
    CHECK_OK(covey_barrier_create(&b, 65535, NULL));
    covey_barrier_free(b);
    free(heap);
}

TEST(barriers_cost_what_the_header_says)
{
    covey_barrier *a = barrier_made(2), *b = barrier_made(2);
    CHECK_EQ((char *)b - (char *)a, 704);
    covey_barrier_free(a);
    covey_barrier_free(b);
}

/* ---- meeting ------------------------------------------------------------------- */

TEST(barrier_of_one_never_waits)
{
    covey_barrier *b = barrier_made(1);
    for (int i = 0; i < 10; i++) {
        unsigned index = 4711;
        CHECK_EQ(covey_barrier_wait(b, i % 2 ? COVEY_NOWAIT : COVEY_FOREVER, &index),
                 0);
        CHECK_EQ(index, 0);
        CHECK_EQ(covey_barrier_wait(b, COVEY_FOREVER, NULL), 0);
        check_as_new(b);
    }
    covey_barrier_free(b);
}

static int meet(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    unsigned index = 4711;
    for (int i = 0; i < s->numbers[30]; i++) {
        atomic_fetch_add(&s->counter, 1);
        CHECK_EQ(covey_barrier_wait(s->object, COVEY_FOREVER, &index), 0);
        CHECK_EQ(s->counter % s->numbers[31], 0); /* all have come, none has gone on */
        CHECK_LT(index, s->numbers[31]);
        __atomic_fetch_add(&s->numbers[index], 1, __ATOMIC_RELAXED);
        CHECK_EQ(covey_barrier_wait(s->object, COVEY_FOREVER, NULL), 0);
    }
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(all_wait_for_all_again_and_again)
{
    enum { PARTIES = 5, ROUNDS = 300 };
    struct stage *s = stage_made();
    covey_process *processes[PARTIES];
    s->object = barrier_made(PARTIES);
    s->numbers[30] = ROUNDS;
    s->numbers[31] = PARTIES;
    for (int i = 0; i < PARTIES; i++)
        processes[i] = acting(meet, s);
    for (int i = 0; i < PARTIES; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    for (int i = 0; i < PARTIES; i++)
        CHECK_EQ(s->numbers[i], ROUNDS); /* each index once each time */
    check_as_new(s->object);
    covey_barrier_free(s->object);
}

static int wait_and_note(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    int r = covey_barrier_wait(s->object, COVEY_FOREVER, NULL);
    int64_t mine = atomic_fetch_add(&s->counter, 1);
    s->numbers[mine] = r;
    if (!mine)
        snprintf(s->text, sizeof s->text, "%s", covey_error_detail());
    family_tell(&s->told);
    family_await(&s->go, 1);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(waiters_are_counted)
{
    struct stage *s = stage_made();
    covey_barrier *b = s->object = barrier_made(3);
    covey_process *processes[2];
    for (unsigned i = 0; i < 2; i++) {
        processes[i] = acting(wait_and_note, s);
        await_sleepers(b, i + 1);
        CHECK_EQ(waiting_at(b), i + 1);
        CHECK_REPR(barrier, b, "<Barrier at %p: waiters=%u/3>", (void *)b, i + 1);
    }
    CHECK_EQ(covey_barrier_wait(b, COVEY_NOWAIT, NULL), 0);
    CHECK_EQ(waiting_at(b), 0);
    family_tell(&s->go);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    covey_barrier_free(b);
}

/* ---- breaking ------------------------------------------------------------------ */

/* Two processes wait at a barrier of three, which `act` breaks or resets. */
static void check_broken_by(int (*act)(covey_barrier *), const char *why, bool broken)
{
    struct stage *s = stage_made();
    covey_barrier *b = s->object = barrier_made(3);
    covey_process *processes[2];
    for (int i = 0; i < 2; i++)
        processes[i] = acting(wait_and_note, s);
    await_sleepers(b, 2);
    CHECK_EQ(act(b), 0);
    family_await(&s->told, 2);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(s->numbers[i], COVEY_EBROKEN);
    check_text(s->text, "covey_barrier_wait: barrier gate was %s (pid %d)", why,
               (int)getpid());
    CHECK_EQ(covey_barrier_broken(b), broken);
    CHECK_EQ(waiting_at(b), 0);
    family_tell(&s->go);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    if (broken) {
        CHECK_REPR(barrier, b, "<Barrier at %p: broken>", (void *)b);
        CHECK_ERR(covey_barrier_wait(b, COVEY_FOREVER, NULL), COVEY_EBROKEN);
        CHECK_ERR(covey_barrier_wait(b, COVEY_NOWAIT, NULL), COVEY_EBROKEN);
        CHECK_EQ(covey_barrier_abort(b), 0);
        CHECK_EQ(covey_barrier_reset(b), 0);
    }
    check_as_new(b);
    for (int i = 0; i < 2; i++)
        processes[i] = acting(wait_and_note, s);
    CHECK_EQ(covey_barrier_wait(b, COVEY_FOREVER, NULL), 0); /* as new */
    for (int i = 0; i < 2; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    CHECK_EQ(s->numbers[2], 0);
    CHECK_EQ(s->numbers[3], 0);
    covey_barrier_free(b);
}

TEST_EACH_METHOD_AND_THREAD(abort_breaks_the_barrier)
{
    check_broken_by(covey_barrier_abort, "aborted by MainProcess", true);
}

TEST_EACH_METHOD_AND_THREAD(reset_sends_who_waits_away)
{
    check_broken_by(covey_barrier_reset, "reset by MainProcess", false);
}

TEST_EACH_METHOD_AND_THREAD(timeout_breaks_the_barrier)
{
    struct stage *s = stage_made();
    covey_barrier *b = s->object = barrier_made(4);
    covey_process *processes[2];
    for (int i = 0; i < 2; i++)
        processes[i] = acting(wait_and_note, s);
    await_sleepers(b, 2);
    int64_t start = cvy_os_now();
    CHECK_ERR(covey_barrier_wait(b, COVEY_MSEC(20), NULL), -ETIMEDOUT);
    CHECK_GE(cvy_os_now() - start, COVEY_MSEC(20));
    family_tell(&s->go);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    CHECK_EQ(s->numbers[0], COVEY_EBROKEN);
    CHECK_EQ(s->numbers[1], COVEY_EBROKEN);
    CHECK_STR_HAS(s->text, "barrier gate was broken by a time-out in MainProcess");
    CHECK_EQ(covey_barrier_broken(b), 1);
    covey_barrier_free(b);
}

TEST(looking_at_a_barrier_breaks_it_too)
{
    covey_barrier *b = barrier_made(2);
    CHECK_ERR(covey_barrier_wait(b, COVEY_NOWAIT, NULL), -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "covey_barrier_wait: not all have come");
    CHECK_EQ(covey_barrier_broken(b), 1);
    CHECK_OK(covey_barrier_reset(b));
    check_as_new(b);
    covey_barrier_free(b);
}

TEST(barriers_own_timeout_is_for_waits_without_one)
{
    covey_barrier *b = NULL;
    CHECK_OK(
        covey_barrier_create(&b, 2, COVEY_BARRIER_OPTS(.timeout = COVEY_MSEC(20))));
    int64_t start = cvy_os_now();
    CHECK_ERR(covey_barrier_wait(b, COVEY_FOREVER, NULL), -ETIMEDOUT);
    CHECK_GE(cvy_os_now() - start, COVEY_MSEC(20));
    CHECK_OK(covey_barrier_reset(b));
    start = cvy_os_now();
    CHECK_ERR(covey_barrier_wait(b, COVEY_MSEC(50), NULL), -ETIMEDOUT);
    CHECK_GE(cvy_os_now() - start, COVEY_MSEC(50));
    covey_barrier_free(b);
}

TEST(reset_of_a_broken_barrier_mends_it)
{
    covey_barrier *b = barrier_made(1);
    CHECK_OK(covey_barrier_abort(b));
    CHECK_EQ(covey_barrier_broken(b), 1);
    CHECK_ERR(covey_barrier_wait(b, COVEY_FOREVER, NULL), COVEY_EBROKEN);
    CHECK_OK(covey_barrier_reset(b));
    CHECK_EQ(covey_barrier_wait(b, COVEY_FOREVER, NULL), 0);
    covey_barrier_free(b);
}

/* ---- actions ------------------------------------------------------------------- */

/* Where the action of this process finds its stage; it gets no argument. */
static struct stage *scene;

static int act_once(void)
{
    scene->numbers[0]++;
    scene->numbers[2] = getpid();
    return 1; /* any number that is not negative */
}

static int wait_with_action(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    unsigned index;
    if (!is_thread_run())
        scene = s;
    for (int i = 1; i <= 50; i++) {
        CHECK_EQ(covey_barrier_wait(s->object, COVEY_FOREVER, &index), 0);
        CHECK_EQ(s->numbers[0], 2 * i - 1);
        if (index == 2) /* the last to come is the one that acts */
            CHECK_EQ(s->numbers[2], getpid());
        CHECK_EQ(covey_barrier_wait(s->object, COVEY_FOREVER, NULL), 0);
        CHECK_EQ(s->numbers[0], 2 * i);
        CHECK_EQ(covey_barrier_wait(s->other, COVEY_FOREVER, NULL), 0);
    }
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(action_runs_once_before_anybody_goes_on)
{
    struct stage *s = scene = stage_made();
    covey_barrier *b = NULL;
    covey_process *processes[3];
    CHECK_OK(covey_barrier_create(&b, 3, COVEY_BARRIER_OPTS(.action = act_once)));
    s->object = b;
    s->other = barrier_made(3);
    for (int i = 0; i < 3; i++)
        processes[i] = acting(wait_with_action, s);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    CHECK_EQ(s->numbers[0], 100);
    covey_barrier_free(b);
    covey_barrier_free(s->other);
}

static int fail_to_act(void)
{
    return -EPROTO;
}

TEST_EACH_METHOD_AND_THREAD(failing_action_breaks_the_barrier)
{
    struct stage *s = stage_made();
    covey_barrier *b = NULL;
    CHECK_OK(covey_barrier_create(
        &b, 2, COVEY_BARRIER_OPTS(.action = fail_to_act, .name = "gate")));
    s->object = b;
    covey_process *p = acting(wait_and_note, s);
    await_sleepers(b, 1);
    CHECK_ERR(covey_barrier_wait(b, COVEY_FOREVER, NULL), -EPROTO);
    family_tell(&s->go);
    CHECK_EQ(end_of(p), 0);
    CHECK_EQ(s->numbers[0], COVEY_EBROKEN);
    CHECK_STR_HAS(s->text, "broken by the action failing in MainProcess");
    CHECK_EQ(covey_barrier_broken(b), 1);
    CHECK_OK(covey_barrier_reset(b));
    check_as_new(b);
    covey_barrier_free(b);
}

static int act_until_told(void)
{
    family_tell(&scene->begun);
    family_await(&scene->go, 1);
    return 0;
}

static int wait_during_the_action(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    if (!is_thread_run())
        scene = s;
    int r = covey_barrier_wait(s->object, COVEY_FOREVER, NULL);
    s->numbers[atomic_fetch_add(&s->counter, 1)] = r;
    return 0;
}

static void *come_early(void *stage)
{
    struct stage *s = stage;
    int r = covey_barrier_wait(s->object, COVEY_FOREVER, NULL);
    s->numbers[5] = r;
    family_tell(&s->told);
    return NULL;
}

static struct stage *stage_with_slow_action(covey_process **ret_waiter,
                                            covey_process **ret_actor)
{
    struct stage *s = scene = stage_made();
    covey_barrier *b = NULL;
    CHECK_OK(covey_barrier_create(&b, 2, COVEY_BARRIER_OPTS(.action = act_until_told)));
    s->object = b;
    *ret_waiter = acting(wait_during_the_action, s);
    await_sleepers(b, 1);
    *ret_actor = acting(wait_during_the_action, s);
    family_await(&s->begun, 1);
    return s;
}

static void let_act(struct stage *s, covey_process *waiter, covey_process *actor)
{
    family_tell(&s->go);
    CHECK_EQ(end_of(waiter), 0);
    CHECK_EQ(end_of(actor), 0);
    CHECK_EQ(s->numbers[0], 0);
    CHECK_EQ(s->numbers[1], 0);
}

TEST_EACH_METHOD_AND_THREAD(who_comes_during_the_action_is_of_the_next_time)
{
    covey_process *waiter, *actor;
    unsigned waiting = 4711;
    struct stage *s = stage_with_slow_action(&waiter, &actor);
    pthread_t thread = thread_of(come_early, s);
    await_sleepers(s->object, 2);
    let_act(s, waiter, actor);
    do
        CHECK_OK(covey_barrier_n_waiting(s->object, &waiting));
    while (!waiting);
    CHECK_EQ(waiting, 1);
    CHECK_EQ(covey_barrier_wait(s->object, COVEY_FOREVER, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(s->numbers[5], 0);
    covey_barrier_free(s->object);
}

/* As if they had not come. */
TEST_EACH_METHOD_AND_THREAD(who_comes_during_the_action_waits_no_longer_than_told)
{
    covey_process *waiter, *actor;
    struct stage *s = stage_with_slow_action(&waiter, &actor);
    CHECK_ERR(covey_barrier_wait(s->object, COVEY_NOWAIT, NULL), -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "covey_barrier_wait: the action still runs");
    CHECK_ERR(covey_barrier_wait(s->object, COVEY_MSEC(20), NULL), -ETIMEDOUT);
    CHECK_EQ(covey_barrier_broken(s->object), 0);
    let_act(s, waiter, actor);
    check_as_new(s->object);
    covey_barrier_free(s->object);
}

static void ignore(int signal)
{
    (void)signal;
}

TEST_EACH_METHOD_AND_THREAD(signal_ends_the_wait_of_who_comes_during_the_action)
{
    covey_process *waiter, *actor;
    struct stage *s = stage_with_slow_action(&waiter, &actor);
    struct sigaction action = {.sa_handler = ignore}; /* without SA_RESTART */
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    pthread_t thread = thread_of(come_early, s);
    await_sleepers(s->object, 2);
    while (!atomic_load(&s->told)) { /* it may just have been awake */
        CHECK_EQ(pthread_kill(thread, SIGUSR1), 0);
        cvy_os_yield();
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(s->numbers[5], -EINTR);
    CHECK_EQ(covey_barrier_broken(s->object), 0);
    let_act(s, waiter, actor);
    check_as_new(s->object);
    covey_barrier_free(s->object);
}

TEST_EACH_METHOD_AND_THREAD(abort_during_the_action_breaks_the_barrier)
{
    covey_process *waiter, *actor;
    struct stage *s = stage_with_slow_action(&waiter, &actor);
    CHECK_OK(covey_barrier_abort(s->object));
    CHECK_EQ(end_of(waiter), 0);
    CHECK_EQ(s->numbers[0], COVEY_EBROKEN);
    family_tell(&s->go);
    CHECK_EQ(end_of(actor), 0);
    CHECK_EQ(s->numbers[1], COVEY_EBROKEN);
    covey_barrier_free(s->object);
}

CHECK_MAIN()
