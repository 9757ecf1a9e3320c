/* SPDX-License-Identifier: MIT */
/* Every call says what is wrong with its handle; objects that are freed while used. */
#include "sync_help.h"

static int always(void *ctx)
{
    (void)ctx;
    return 1;
}

/* The calls of a kind, one after another, each by its number; 0 ends the list. */
static struct covey_bytes text;
static unsigned value;

static int call_lock(void *object, int number)
{
    covey_lock *x = object;
    switch (number) {
    case 0:
        return covey_lock_acquire(x, COVEY_FOREVER);
    case 1:
        return covey_lock_release(x);
    case 2:
        return covey_lock_locked(x);
    case 3:
        return covey_lock_abandoned(x);
    case 4:
        return covey_lock_repr(x, &text);
    default:
        return 0;
    }
}

static int call_rlock(void *object, int number)
{
    covey_rlock *x = object;
    switch (number) {
    case 0:
        return covey_rlock_acquire(x, COVEY_FOREVER);
    case 1:
        return covey_rlock_release(x);
    case 2:
        return covey_rlock_locked(x);
    case 3:
        return covey_rlock_abandoned(x);
    case 4:
        return covey_rlock_repr(x, &text);
    default:
        return 0;
    }
}

static int call_semaphore(void *object, int number)
{
    covey_semaphore *x = object;
    switch (number) {
    case 0:
        return covey_semaphore_acquire(x, COVEY_FOREVER);
    case 1:
        return covey_semaphore_release(x, 1);
    case 2:
        return covey_semaphore_get_value(x, &value);
    case 3:
        return covey_semaphore_locked(x);
    case 4:
        return covey_semaphore_repr(x, &text);
    default:
        return 0;
    }
}

static int call_bounded(void *object, int number)
{
    covey_bounded_semaphore *x = object;
    switch (number) {
    case 0:
        return covey_bounded_semaphore_acquire(x, COVEY_FOREVER);
    case 1:
        return covey_bounded_semaphore_release(x, 1);
    case 2:
        return covey_bounded_semaphore_get_value(x, &value);
    case 3:
        return covey_bounded_semaphore_locked(x);
    case 4:
        return covey_bounded_semaphore_repr(x, &text);
    default:
        return 0;
    }
}

static int call_condition(void *object, int number)
{
    covey_condition *x = object;
    switch (number) {
    case 0:
        return covey_condition_acquire(x, COVEY_FOREVER);
    case 1:
        return covey_condition_release(x);
    case 2:
        return covey_condition_wait(x, COVEY_FOREVER);
    case 3:
        return covey_condition_wait_for(x, always, NULL, COVEY_FOREVER);
    case 4:
        return covey_condition_notify(x, 1);
    case 5:
        return covey_condition_notify_all(x);
    case 6:
        return covey_condition_repr(x, &text);
    default:
        return 0;
    }
}

static int call_event(void *object, int number)
{
    covey_event *x = object;
    switch (number) {
    case 0:
        return covey_event_set(x);
    case 1:
        return covey_event_is_set(x);
    case 2:
        return covey_event_wait(x, COVEY_FOREVER);
    case 3:
        return covey_event_clear(x);
    case 4:
        return covey_event_repr(x, &text);
    default:
        return 0;
    }
}

static int call_barrier(void *object, int number)
{
    covey_barrier *x = object;
    switch (number) {
    case 0:
        return covey_barrier_wait(x, COVEY_FOREVER, NULL);
    case 1:
        return covey_barrier_reset(x);
    case 2:
        return covey_barrier_abort(x);
    case 3:
        return covey_barrier_broken(x);
    case 4:
        return covey_barrier_parties(x, &value);
    case 5:
        return covey_barrier_n_waiting(x, &value);
    case 6:
        return covey_barrier_repr(x, &text);
    default:
        return 0;
    }
}

/* ---- making and freeing them all ------------------------------------------------ */

enum { LOCK, RLOCK, SEMAPHORE, BOUNDED, CONDITION, EVENT, BARRIER, KINDS };

static const struct {
    const char *name;
    int (*call)(void *object, int number);
} kinds[KINDS] = {
    {"lock", call_lock},           {"rlock", call_rlock},
    {"semaphore", call_semaphore}, {"bounded semaphore", call_bounded},
    {"condition", call_condition}, {"event", call_event},
    {"barrier", call_barrier},
};

struct objects {
    covey_lock *lock;
    covey_rlock *rlock;
    covey_semaphore *semaphore;
    covey_bounded_semaphore *bounded;
    covey_condition *condition;
    covey_event *event;
    covey_barrier *barrier;
};

static struct objects make_all(void)
{
    struct objects o;
    CHECK_OK(covey_lock_create(&o.lock, NULL));
    CHECK_OK(covey_rlock_create(&o.rlock, NULL));
    CHECK_OK(covey_semaphore_create(&o.semaphore, 1, NULL));
    CHECK_OK(covey_bounded_semaphore_create(&o.bounded, 1, NULL));
    CHECK_OK(covey_condition_create(&o.condition, NULL));
    CHECK_OK(covey_event_create(&o.event, NULL));
    CHECK_OK(covey_barrier_create(&o.barrier, 1, NULL));
    return o;
}

static void *object_of(const struct objects *o, int kind)
{
    void *const all[KINDS] = {o->lock,      o->rlock, o->semaphore, o->bounded,
                              o->condition, o->event, o->barrier};
    return all[kind];
}

static void free_all(struct objects *o)
{
    covey_lock_free(o->lock);
    covey_rlock_free(o->rlock);
    covey_semaphore_free(o->semaphore);
    covey_bounded_semaphore_free(o->bounded);
    covey_condition_free(o->condition);
    covey_event_free(o->event);
    covey_barrier_free(o->barrier);
}

static void check_refused(void *object, int kind, int code, const char *words)
{
    for (int i = 0, r; (r = kinds[kind].call(object, i)) != 0; i++) {
        CHECK_ERR(r, code);
        CHECK_STR_HAS(covey_error_detail(), words);
        CHECK_STR_HAS(covey_error_detail(), kinds[kind].name);
    }
}

TEST(null_is_refused)
{
    for (int kind = 0; kind < KINDS; kind++)
        check_refused(NULL, kind, -EINVAL, " is NULL");
}

TEST(what_is_no_object_is_refused)
{
    static _Alignas(64) char elsewhere[512];
    struct objects o = make_all();
    for (int kind = 0; kind < KINDS; kind++) {
        check_refused(elsewhere, kind, -EINVAL, " of this family");
        check_refused((char *)object_of(&o, kind) + 8, kind, -EINVAL,
                      " of this family");
    }
    free_all(&o);
}

TEST(object_of_another_kind_is_refused)
{
    struct objects o = make_all();
    for (int kind = 0; kind < KINDS; kind++)
        for (int other = 0; other < KINDS; other++)
            if (other != kind)
                check_refused(object_of(&o, other), kind, -EINVAL, ", not a ");
    free_all(&o);
    covey_bytes_free(&text);
}

TEST(freed_object_is_refused)
{
    struct objects o = make_all();
    free_all(&o);
    for (int kind = 0; kind < KINDS; kind++)
        check_refused(object_of(&o, kind), kind, COVEY_EFREED, " was freed");
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    free_all(&o); /* said in the log, harmless */
}

TEST(free_says_in_the_log_what_is_wrong)
{
    struct objects o = make_all();
    struct catcher c = catch_output(2);
    CHECK_OK(covey_log_to_stderr(COVEY_LOG_WARNING));
    covey_lock_free(o.lock);
    covey_lock_free(o.lock);
    covey_lock_free((covey_lock *)o.rlock);
    const char *said = caught(&c);
    CHECK_STR_HAS(said, "covey_lock_free: the lock at ");
    CHECK_STR_HAS(said, " was freed");
    CHECK_STR_HAS(said, " is a rlock, not a lock");
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    free_all(&o);
}

/* ---- freed while used ----------------------------------------------------------- */

static int use_what_the_parent_freed(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    family_tell(&s->begun);
    family_await(&s->go, 1);
    struct objects *o = (struct objects *)(void *)s->text;
    for (int round = 0; round < 3; round++)
        for (int kind = 0; kind < KINDS; kind++)
            for (int i = 0; i < 8; i++) {
                int r = kinds[kind].call(object_of(o, kind), i);
                CHECK(r >= 0 || r == COVEY_ERELEASED || r == COVEY_ENOTOWNER ||
                      (kind == BARRIER && r == COVEY_EBROKEN));
                CHECK_OK(covey_barrier_reset(o->barrier));
            }
    covey_bytes_free(&text);
    free_all(o);
    CHECK_ERR(covey_event_set(o->event), COVEY_EFREED);
    return 0;
}

/* A child holds by itself what its starter held. */
TEST_EACH_METHOD(objects_live_while_anybody_holds_them)
{
    struct stage *s = stage_made();
    struct objects o = make_all();
    memcpy(s->text, &o, sizeof o);
    covey_process *p = acting(use_what_the_parent_freed, s);
    family_await(&s->begun, 1);
    uint64_t objects = family_usage().objects;
    free_all(&o);
    CHECK_EQ(family_usage().objects, objects);
    family_tell(&s->go);
    CHECK_EQ(end_of(p), 0);
    CHECK_EQ(family_usage().objects, objects - KINDS - 1);
}

static int sleep_on_the_event(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(covey_event_wait(s->object, COVEY_FOREVER), 0);
    return 0;
}

/* Who sleeps goes on sleeping: it holds the object, and others may still wake it. */
TEST_EACH_METHOD(freeing_does_not_disturb_who_sleeps)
{
    struct stage *s = stage_made();
    covey_event *event;
    CHECK_OK(covey_event_create(&event, NULL));
    s->object = event;
    covey_process *p = acting(sleep_on_the_event, s);
    await_sleepers(event, 1);
    CHECK_OK(covey_hold(event));
    covey_event_free(event);
    CHECK_OK(covey_event_set(event));
    covey_event_free(event);
    CHECK_EQ(end_of(p), 0);
    CHECK_ERR(covey_event_set(event), COVEY_EFREED);
}

/* A process that the program forked itself holds nothing, but may use what others hold,
 * and hold it too. */
TEST(own_fork_may_use_what_others_hold)
{
    struct stage *s = stage_made();
    struct objects o = make_all();
    int pid = family_fork();
    if (pid == 0) {
        CHECK_EQ(covey_lock_acquire(o.lock, COVEY_FOREVER), 0);
        CHECK_REPR(lock, o.lock, "<Lock(owner=MainProcess)>");
        CHECK_OK(covey_event_set(o.event));
        CHECK_OK(covey_hold(o.event));
        family_tell(&s->begun);
        family_await(&s->go, 1);
        CHECK_EQ(covey_event_is_set(o.event), 1);
        CHECK_ERR(covey_event_is_set((covey_event *)o.barrier), COVEY_EFREED);
        covey_event_free(o.event);
        exit(0);
    }
    CHECK_EQ(covey_event_wait(o.event, COVEY_FOREVER), 0);
    family_await(&s->begun, 1);
    CHECK_REPR(lock, o.lock, "<Lock(owner=SomeOtherProcess)>");
    covey_event_free(o.event);
    covey_barrier_free(o.barrier);
    family_tell(&s->go);
    family_join(pid);
    CHECK_EQ(covey_lock_acquire(o.lock, COVEY_FOREVER), COVEY_ABANDONED);
    CHECK_OK(covey_set_log_level(COVEY_LOG_OFF));
    free_all(&o);
}

/* ---- the family's budget --------------------------------------------------------- */

/* Use it up but for what `left` runs of a page take. */
static int use_up(void **objects, int most)
{
    int n = 0;
    for (uint64_t size = 1 << 16; size >= 64; size /= 4)
        while (n < most) {
            cvy_ref body;
            if (cvy_object_create(CVY_KIND_TEST, 64, CVY_OBJECT_PRIVATE, size,
                                  &objects[n], &body) < 0)
                break;
            n++;
        }
    CHECK_LT(n, most);
    return n;
}

static void give_back(void **objects, int n)
{
    while (n-- > 0)
        CHECK_OK(cvy_object_release(objects[n]));
}

enum { MOST = 4000, BUDGET = 4 << 20 };

TEST(no_budget_makes_no_object)
{
    static void *objects[MOST];
    static void *locks[MOST];
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = BUDGET)));
    CHECK(cvy_self() != NULL);
    int n = use_up(objects, MOST), made = 0, r;
    do {
        covey_lock *lock = NULL;
        r = covey_lock_create(&lock, NULL);
        if (r >= 0)
            locks[made++] = lock;
        CHECK_LT(made, MOST);
    } while (r >= 0);
    CHECK_ERR(r, -ENOMEM);
    CHECK_STR_HAS(covey_error_detail(), "of its budget");
    struct objects o;
    CHECK_ERR(covey_rlock_create(&o.rlock, NULL), -ENOMEM);
    CHECK_ERR(covey_semaphore_create(&o.semaphore, 1, NULL), -ENOMEM);
    CHECK_ERR(covey_bounded_semaphore_create(&o.bounded, 1, NULL), -ENOMEM);
    CHECK_ERR(covey_condition_create(&o.condition, NULL), -ENOMEM);
    CHECK_ERR(covey_event_create(&o.event, NULL), -ENOMEM);
    CHECK_ERR(covey_barrier_create(&o.barrier, 1, NULL), -ENOMEM);
    give_back(locks, made);
    give_back(objects, n);
    o = make_all();
    free_all(&o);
}

enum { USERS = 20 };

static int acquire_until_there_is_memory(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    family_tell(&s->begun);
    family_await(&s->go, 1);
    CHECK_OK(covey_semaphore_release(s->other, 1)); /* needs no memory, ever */
    int r = covey_semaphore_acquire(s->object, COVEY_FOREVER);
    if (r < 0) {
        CHECK_ERR(r, -ENOMEM);
        CHECK_STR_HAS(covey_error_detail(), "of its budget");
        atomic_fetch_add(&s->counter, 1);
    }
    family_tell(&s->told);
    family_await(&s->go, 2);
    if (r < 0)
        CHECK_EQ(covey_semaphore_acquire(s->object, COVEY_FOREVER), 0);
    CHECK_EQ(covey_semaphore_release(s->object, 1), 0);
    return 0;
}

TEST_EACH_METHOD(no_budget_for_another_user_is_an_error_of_that_call)
{
    static void *objects[MOST];
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = BUDGET)));
    struct stage *s = stage_made();
    covey_process *processes[USERS];
    covey_semaphore *semaphore, *other;
    unsigned permits = 0;
    CHECK_OK(covey_semaphore_create(&semaphore, USERS, NULL));
    CHECK_OK(covey_semaphore_create(&other, USERS, NULL));
    s->object = semaphore;
    s->other = other;
    for (int i = 0; i < USERS; i++)
        processes[i] = acting(acquire_until_there_is_memory, s);
    family_await(&s->begun, USERS);
    int n = use_up(objects, MOST);
    family_tell(&s->go);
    family_await(&s->told, USERS);
    CHECK_GE(s->counter, USERS - 8);
    CHECK_OK(covey_semaphore_get_value(semaphore, &permits));
    CHECK_EQ(permits, s->counter);
    give_back(objects, n);
    family_tell(&s->go);
    for (int i = 0; i < USERS; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    CHECK_OK(covey_semaphore_get_value(semaphore, &permits));
    CHECK_EQ(permits, USERS);
    CHECK_OK(covey_semaphore_get_value(other, &permits));
    CHECK_EQ(permits, 2 * USERS);
    covey_semaphore_free(semaphore);
    covey_semaphore_free(other);
}

/* The same for waiting threads: the lock is still had, and the barrier counts nobody. */
struct crowd {
    covey_condition *condition;
    covey_barrier *barrier;
    cvy_word attached, go, failed, waiting;
};

static void *wait_if_there_is_memory(void *arg)
{
    struct crowd *crowd = arg;
    CHECK_OK(cvy_enter());
    family_tell(&crowd->attached);
    family_await(&crowd->go, 1);
    CHECK_OK(covey_condition_acquire(crowd->condition, COVEY_FOREVER));
    atomic_fetch_add(&crowd->waiting, 1);
    int r = covey_condition_wait(crowd->condition, COVEY_FOREVER);
    if (r == -ENOMEM) {
        CHECK_STR_HAS(covey_error_detail(), "of its budget");
        CHECK_ERR(covey_barrier_wait(crowd->barrier, COVEY_FOREVER, NULL), -ENOMEM);
        atomic_fetch_sub(&crowd->waiting, 1);
        family_tell(&crowd->failed);
    } else {
        CHECK_EQ(r, 0);
    }
    CHECK_OK(covey_condition_release(crowd->condition));
    return NULL;
}

static void *stand_at_the_barrier(void *barrier)
{
    CHECK_ERR(covey_barrier_wait(barrier, COVEY_FOREVER, NULL), COVEY_EBROKEN);
    return NULL;
}

TEST(no_budget_for_another_waiter_is_an_error_of_that_call)
{
    static void *objects[MOST];
    struct crowd crowd = {0};
    pthread_t threads[USERS], standing[8];
    unsigned waiting = 4711;
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = BUDGET)));
    CHECK_OK(covey_condition_create(&crowd.condition, NULL));
    CHECK_OK(covey_barrier_create(&crowd.barrier, 100, NULL));
    for (unsigned i = 0; i < 8; i++) {
        standing[i] = thread_of(stand_at_the_barrier, crowd.barrier);
        await_sleepers(crowd.barrier, i + 1);
    }
    for (int i = 0; i < USERS; i++)
        threads[i] = thread_of(wait_if_there_is_memory, &crowd);
    family_await(&crowd.attached, USERS);
    int n = use_up(objects, MOST);
    family_tell(&crowd.go);
    family_await(&crowd.failed, USERS - 8);
    CHECK_OK(covey_barrier_n_waiting(crowd.barrier, &waiting));
    CHECK_EQ(waiting, 8);
    while (atomic_load(&crowd.failed) + atomic_load(&crowd.waiting) < USERS)
        cvy_os_yield();
    give_back(objects, n);
    CHECK_OK(covey_barrier_abort(crowd.barrier));
    CHECK_OK(covey_condition_acquire(crowd.condition, COVEY_FOREVER));
    CHECK_OK(covey_condition_notify_all(crowd.condition));
    CHECK_OK(covey_condition_release(crowd.condition));
    for (int i = 0; i < USERS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(pthread_join(standing[i], NULL), 0);
    covey_condition_free(crowd.condition);
    covey_barrier_free(crowd.barrier);
}

CHECK_MAIN()
