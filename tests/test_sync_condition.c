/* SPDX-License-Identifier: MIT */
/* Conditions: waiting with each kind of lock, who is woken, and predicates. */
#include "sync_help.h"

/* With an rlock of its own, somebody's rlock, somebody's lock. */
enum kind { OWN, RLOCK, LOCK, KINDS };

static covey_condition *condition_of(enum kind kind, struct stage *s)
{
    covey_condition *condition = NULL;
    covey_lock *lock = NULL;
    covey_rlock *rlock = NULL;
    if (kind == LOCK)
        CHECK_OK(covey_lock_create(&lock, NULL));
    else if (kind == RLOCK)
        CHECK_OK(covey_rlock_create(&rlock, NULL));
    CHECK_OK(covey_condition_create(
        &condition,
        COVEY_CONDITION_OPTS(.lock = lock, .rlock = rlock, .name = "news")));
    if (s) {
        s->object = condition;
        s->other = lock ? (void *)lock : rlock;
    }
    return condition;
}

static void condition_free(enum kind kind, const struct stage *s)
{
    covey_condition_free(s->object);
    if (kind == LOCK)
        covey_lock_free(s->other);
    else if (kind == RLOCK)
        covey_rlock_free(s->other);
}

static void enter(covey_condition *condition)
{
    CHECK_EQ(covey_condition_acquire(condition, COVEY_FOREVER), 0);
}

static void leave(covey_condition *condition)
{
    CHECK_EQ(covey_condition_release(condition), 0);
}

static unsigned waiting_at(covey_condition *condition)
{
    struct covey_bytes text = {0};
    unsigned waiters = 0;
    CHECK_OK(covey_condition_repr(condition, &text));
    const char *comma = strrchr(text.data, ',');
    CHECK_EQ(sscanf(comma, ", %u)>", &waiters), 1);
    covey_bytes_free(&text);
    return waiters;
}

/* Until so many wait and have released the lock, which is the caller's then. */
static void enter_when_waiting(covey_condition *condition, unsigned n)
{
    for (;; leave(condition), cvy_os_yield()) {
        enter(condition);
        if (waiting_at(condition) == n)
            return;
    }
}

/* ---- making ------------------------------------------------------------------- */

TEST(new_condition_has_a_recursive_lock)
{
    covey_condition *c = condition_of(OWN, NULL);
    CHECK_REPR(condition, c, "<Condition(<RLock(None, 0)>, 0)>");
    enter(c);
    CHECK_EQ(covey_condition_acquire(c, COVEY_NOWAIT), 0);
    CHECK_REPR(condition, c, "<Condition(<RLock(MainProcess, 2)>, 0)>");
    leave(c);
    leave(c);
    CHECK_ERR(covey_condition_release(c), COVEY_ENOTOWNER);
    CHECK_ERR(covey_condition_repr(c, NULL), -EINVAL);
    covey_condition_free(c);
    covey_condition_free(NULL);
}

TEST(bad_options_make_no_condition)
{
    covey_condition *c = NULL;
    covey_lock *lock;
    covey_rlock *rlock;
    CHECK_OK(covey_lock_create(&lock, NULL));
    CHECK_OK(covey_rlock_create(&rlock, NULL));
    CHECK_ERR(covey_condition_create(NULL, NULL), -EINVAL);
    CHECK_ERR(covey_condition_create(&c, &(struct covey_condition_opts){.lock = lock}),
              -EINVAL);
    CHECK_ERR(
        covey_condition_create(&c, COVEY_CONDITION_OPTS(.lock = lock, .rlock = rlock)),
        -EINVAL);
    CHECK_STR_HAS(covey_error_detail(),
                  "covey_condition_create: both .lock and .rlock");
    CHECK_ERR(
        covey_condition_create(&c, COVEY_CONDITION_OPTS(.lock = (covey_lock *)rlock)),
        -EINVAL);
    CHECK_ERR(
        covey_condition_create(&c, COVEY_CONDITION_OPTS(.rlock = (covey_rlock *)lock)),
        -EINVAL);
    covey_lock_free(lock);
    CHECK_ERR(covey_condition_create(&c, COVEY_CONDITION_OPTS(.lock = lock)),
              COVEY_EFREED);
    covey_rlock_free(rlock);
    CHECK(c == NULL);
}

TEST(conditions_cost_what_the_header_says)
{
    covey_condition *a = condition_of(OWN, NULL), *b = condition_of(OWN, NULL);
    CHECK_EQ((char *)b - (char *)a, 832);
    covey_condition_free(a);
    covey_condition_free(b);
}

/* The pointer that was given to create may be freed: the condition keeps the lock. */
TEST(condition_holds_its_lock)
{
    struct stage *s = stage_made();
    for (enum kind kind = RLOCK; kind < KINDS; kind++) {
        uint64_t objects = family_usage().objects;
        covey_condition *c = condition_of(kind, s);
        CHECK_EQ(family_usage().objects, objects + 2);
        if (kind == LOCK)
            covey_lock_free(s->other);
        else
            covey_rlock_free(s->other);
        CHECK_EQ(family_usage().objects, objects + 2);
        enter(c);
        CHECK_ERR(covey_condition_wait(c, COVEY_NOWAIT), -ETIMEDOUT);
        CHECK_OK(covey_condition_notify(c, 1));
        leave(c);
        covey_condition_free(c);
        CHECK_EQ(family_usage().objects, objects);
    }
}

/* ---- the lock ------------------------------------------------------------------ */

static int try_without_the_lock(struct covey_view arg)
{
    covey_condition *c = stage_of(arg)->object;
    CHECK_ERR(covey_condition_acquire(c, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_condition_acquire(c, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_ERR(covey_condition_wait(c, COVEY_NOWAIT), COVEY_ENOTOWNER);
    CHECK_ERR(covey_condition_notify(c, 1), COVEY_ENOTOWNER);
    CHECK_ERR(covey_condition_notify_all(c), COVEY_ENOTOWNER);
    return 0;
}

static int never(void *ctx)
{
    if (ctx)
        ++*(int *)ctx;
    return 0;
}

TEST_EACH_METHOD(calls_need_the_lock)
{
    struct stage *s = stage_made();
    for (enum kind kind = OWN; kind < KINDS; kind++) {
        covey_condition *c = condition_of(kind, s);
        CHECK_ERR(covey_condition_wait(c, COVEY_FOREVER), COVEY_ENOTOWNER);
        CHECK_STR_HAS(covey_error_detail(),
                      "covey_condition_wait: the lock of condition "
                      "news is not acquired");
        CHECK_ERR(covey_condition_wait_for(c, never, NULL, COVEY_FOREVER),
                  COVEY_ENOTOWNER);
        CHECK_ERR(covey_condition_notify(c, 1), COVEY_ENOTOWNER);
        CHECK_ERR(covey_condition_notify_all(c), COVEY_ENOTOWNER);
        CHECK_ERR(covey_condition_release(c),
                  kind == LOCK ? COVEY_ERELEASED : COVEY_ENOTOWNER);
        enter(c);
        CHECK_ERR(covey_condition_notify(c, 0), -EINVAL);
        CHECK_EQ(covey_condition_notify(c, 1), 0); /* nobody waits: fine */
        CHECK_EQ(covey_condition_notify(c, UINT32_MAX), 0);
        CHECK_EQ(covey_condition_notify_all(c), 0);
        CHECK_ERR(covey_condition_wait_for(c, NULL, NULL, COVEY_NOWAIT), -EINVAL);
        CHECK_EQ(act_alone(try_without_the_lock, s), 0);
        leave(c);
        condition_free(kind, s);
    }
}

TEST(wait_times_out_with_the_lock_acquired)
{
    struct stage *s = stage_made();
    for (enum kind kind = OWN; kind < KINDS; kind++) {
        covey_condition *c = condition_of(kind, s);
        enter(c);
        CHECK_ERR(covey_condition_wait(c, COVEY_NOWAIT), -ETIMEDOUT);
        CHECK_ERR(covey_condition_wait(c, 0), -ETIMEDOUT);
        int64_t start = cvy_os_now();
        CHECK_ERR(covey_condition_wait(c, COVEY_MSEC(30)), -ETIMEDOUT);
        CHECK_GE(cvy_os_now() - start, COVEY_MSEC(30));
        CHECK_STR_HAS(covey_error_detail(),
                      "covey_condition_wait: condition news was not notified");
        CHECK_EQ(covey_condition_notify(c, 1),
                 0); /* a notify for nobody is for nobody */
        CHECK_ERR(covey_condition_wait(c, COVEY_NOWAIT), -ETIMEDOUT);
        leave(c);
        CHECK_EQ(waiting_at(c), 0);
        condition_free(kind, s);
    }
}

static int notify_once(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    enter_when_waiting(s->object, 1);
    CHECK_OK(covey_condition_notify(s->object, 1));
    s->numbers[1] = 1; /* the waiter goes on only when the lock is free */
    leave(s->object);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(wait_returns_when_notified)
{
    struct stage *s = stage_made();
    for (enum kind kind = OWN; kind < KINDS; kind++) {
        covey_condition *c = condition_of(kind, s);
        s->numbers[1] = 0;
        enter(c);
        covey_process *p = acting(notify_once, s);
        CHECK_EQ(covey_condition_wait(c, COVEY_FOREVER), 0);
        CHECK_EQ(s->numbers[1], 1);
        CHECK_EQ(covey_condition_notify(c, 1), 0);
        CHECK_EQ(waiting_at(c), 0);
        leave(c);
        CHECK_EQ(end_of(p), 0);
        condition_free(kind, s);
    }
}

TEST_EACH_METHOD_AND_THREAD(wait_restores_how_often_the_lock_was_acquired)
{
    struct stage *s = stage_made();
    for (enum kind kind = OWN; kind <= RLOCK; kind++) {
        covey_condition *c = condition_of(kind, s);
        for (int i = 0; i < 3; i++)
            enter(c);
        CHECK_ERR(covey_condition_wait(c, COVEY_MSEC(1)), -ETIMEDOUT);
        CHECK_REPR(condition, c, "<Condition(<RLock(MainProcess, 3)>, 0)>");
        covey_process *p = acting(notify_once, s);
        CHECK_EQ(covey_condition_wait(c, COVEY_FOREVER), 0);
        CHECK_REPR(condition, c, "<Condition(<RLock(MainProcess, 3)>, 0)>");
        for (int i = 0; i < 3; i++)
            leave(c);
        CHECK_ERR(covey_condition_release(c), COVEY_ENOTOWNER);
        CHECK_EQ(end_of(p), 0);
        condition_free(kind, s);
    }
}

/* ---- who is woken -------------------------------------------------------------- */

enum { WAITERS = 6 };

static int wait_in_order(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    enter(s->object);
    int mine = s->numbers[0]++;
    CHECK_EQ(covey_condition_wait(s->object, COVEY_FOREVER), 0);
    s->numbers[10 + mine] = 1;
    leave(s->object);
    family_tell(&s->told);
    return 0;
}

static void check_woken(const struct stage *s, int first, int end)
{
    for (int i = 0; i < WAITERS; i++)
        CHECK_EQ(s->numbers[10 + i], i >= first && i < end);
}

TEST_EACH_METHOD_AND_THREAD(notify_wakes_who_has_waited_longest)
{
    struct stage *s = stage_made();
    for (enum kind kind = OWN; kind < KINDS; kind++) {
        covey_condition *c = condition_of(kind, s);
        covey_process *processes[WAITERS];
        memset(s->numbers, 0, sizeof s->numbers);
        atomic_store(&s->told, 0);
        for (unsigned i = 0; i < WAITERS; i++) {
            processes[i] = acting(wait_in_order, s);
            enter_when_waiting(c, i + 1);
            leave(c);
        }
        enter(c);
        CHECK_OK(covey_condition_notify(c, 1));
        CHECK_EQ(waiting_at(c), WAITERS - 1);
        leave(c);
        family_await(&s->told, 1);
        enter(c);
        check_woken(s, 0, 1);
        CHECK_OK(covey_condition_notify(c, 2));
        leave(c);
        family_await(&s->told, 3);
        enter(c);
        check_woken(s, 0, 3);
        CHECK_EQ(waiting_at(c), WAITERS - 3);
        if (kind == OWN)
            CHECK_OK(covey_condition_notify_all(c));
        else
            CHECK_OK(covey_condition_notify(c, kind == RLOCK ? 1000 : UINT32_MAX));
        leave(c);
        for (int i = 0; i < WAITERS; i++)
            CHECK_EQ(end_of(processes[i]), 0);
        check_woken(s, 0, WAITERS);
        condition_free(kind, s);
    }
}

static int wait_briefly(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    enter(s->object);
    CHECK_ERR(covey_condition_wait(s->object, COVEY_MSEC(20)), -ETIMEDOUT);
    leave(s->object);
    return 0;
}

/* One whose time is over is passed over. */
TEST_EACH_METHOD_AND_THREAD(notification_is_not_spent_on_who_gave_up)
{
    struct stage *s = stage_made();
    covey_condition *c = condition_of(OWN, s);
    CHECK_EQ(act_alone(wait_briefly, s), 0);
    covey_process *p = acting(wait_in_order, s);
    enter_when_waiting(c, 1);
    CHECK_OK(covey_condition_notify(c, 1));
    leave(c);
    CHECK_EQ(end_of(p), 0);
    condition_free(OWN, s);
}

enum { ITEMS = 1500 };

static int consume(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    for (;;) {
        enter(s->object);
        while (!s->numbers[0] && !s->numbers[1])
            CHECK_EQ(covey_condition_wait(s->object, COVEY_FOREVER), 0);
        int had = s->numbers[0];
        s->numbers[0] -= had > 0;
        CHECK_OK(covey_condition_notify(s->object, 1));
        leave(s->object);
        if (!had)
            return 0;
        atomic_fetch_add(&s->counter, 1);
    }
}

/* A store of one item: each side often waits for the other. */
TEST_EACH_METHOD_AND_THREAD(nothing_is_lost_between_producer_and_consumers)
{
    struct stage *s = stage_made();
    covey_condition *c = condition_of(OWN, s);
    covey_process *processes[3];
    for (int i = 0; i < 3; i++)
        processes[i] = acting(consume, s);
    for (int i = 0; i < ITEMS; i++) {
        enter(c);
        while (s->numbers[0])
            CHECK_EQ(covey_condition_wait(c, COVEY_FOREVER), 0);
        s->numbers[0] = 1;
        CHECK_OK(covey_condition_notify_all(c));
        leave(c);
    }
    enter(c);
    s->numbers[1] = 1;
    CHECK_OK(covey_condition_notify_all(c));
    leave(c);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    CHECK_EQ(s->counter, ITEMS);
    condition_free(OWN, s);
}

/* ---- predicates ---------------------------------------------------------------- */

static int is_told(void *ctx)
{
    struct stage *s = ctx;
    s->numbers[2]++;
    return s->numbers[0] >= s->numbers[1];
}

static int tell_in_steps(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    for (int i = 0; i < 3; i++) {
        enter_when_waiting(s->object, 1);
        s->numbers[0]++;
        CHECK_OK(covey_condition_notify(s->object, 1));
        leave(s->object);
    }
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(wait_for_returns_when_the_predicate_holds)
{
    struct stage *s = stage_made();
    for (enum kind kind = OWN; kind < KINDS; kind++) {
        covey_condition *c = condition_of(kind, s);
        memset(s->numbers, 0, sizeof s->numbers);
        enter(c);
        CHECK_EQ(covey_condition_wait_for(c, is_told, s, COVEY_NOWAIT), 0);
        CHECK_EQ(s->numbers[2], 1); /* it holds already: no wait */
        s->numbers[1] = 3;
        covey_process *p = acting(tell_in_steps, s);
        CHECK_EQ(covey_condition_wait_for(c, is_told, s, COVEY_FOREVER), 0);
        CHECK_EQ(s->numbers[0], 3);
        CHECK_EQ(s->numbers[2], 5);
        leave(c);
        CHECK_EQ(end_of(p), 0);
        condition_free(kind, s);
    }
}

static int fail_later(void *ctx)
{
    int *calls = ctx;
    return ++*calls < 2 ? 0 : -EPROTO;
}

TEST(wait_for_times_out_or_fails_with_its_predicate)
{
    covey_condition *c = condition_of(OWN, NULL);
    int calls = 0;
    enter(c);
    CHECK_ERR(covey_condition_wait_for(c, never, &calls, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_GE(calls, 1);
    calls = 0;
    int64_t start = cvy_os_now();
    CHECK_ERR(covey_condition_wait_for(c, never, &calls, COVEY_MSEC(30)), -ETIMEDOUT);
    CHECK_GE(cvy_os_now() - start, COVEY_MSEC(30));
    CHECK_EQ(calls, 2); /* before, and once more at the end */
    CHECK_STR_HAS(covey_error_detail(), "covey_condition_wait_for: condition news");
    calls = 0;
    CHECK_ERR(covey_condition_wait_for(c, fail_later, &calls, COVEY_MSEC(5)), -EPROTO);
    CHECK_ERR(covey_condition_wait_for(c, fail_later, &calls, COVEY_FOREVER), -EPROTO);
    CHECK_REPR(condition, c, "<Condition(<RLock(MainProcess, 1)>, 0)>");
    leave(c);
    covey_condition_free(c);
}

CHECK_MAIN()
