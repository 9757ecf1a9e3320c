/* SPDX-License-Identifier: MIT */
/* Looking at a family, one's own and from outside, also when it is stuck. */
#include "process_help.h"

static const struct covey_family_object *
object_at(const struct covey_family_snapshot *s, const void *address)
{
    for (size_t i = 0; i < s->object_count; i++)
        if (s->objects[i].address == address)
            return &s->objects[i];
    check_failed(__FILE__, __LINE__, "no object at %p is shown", address);
}

struct things {
    covey_lock *lock;
    covey_rlock *rlock;
    covey_semaphore *semaphore;
    covey_event *event;
    covey_condition *condition;
    covey_barrier *barrier;
    covey_shared_value *value;
    covey_array *array;
    covey_queue *queue;
    struct shared *words;
};

static struct things things_new(void)
{
    struct things t;
    t.words = share();
    CHECK_OK(covey_lock_create(&t.lock, COVEY_LOCK_OPTS(.name = "door")));
    CHECK_OK(covey_rlock_create(&t.rlock, COVEY_RLOCK_OPTS(.name = "gate")));
    CHECK_OK(
        covey_semaphore_create(&t.semaphore, 3, COVEY_SEMAPHORE_OPTS(.name = "s")));
    CHECK_OK(covey_event_create(&t.event, COVEY_EVENT_OPTS(.name = "e")));
    CHECK_OK(covey_condition_create(&t.condition, COVEY_CONDITION_OPTS(.name = "c")));
    CHECK_OK(covey_barrier_create(&t.barrier, 3, COVEY_BARRIER_OPTS(.name = "b")));
    CHECK_OK(
        covey_shared_value_create(&t.value, 'd', NULL, COVEY_SHARED_OPTS(.name = "v")));
    CHECK_OK(covey_array_create(&t.array, 'i', 1000, NULL, NULL));
    CHECK_OK(covey_queue_create(&t.queue, 7, COVEY_QUEUE_OPTS(.name = "q")));
    CHECK_OK(covey_queue_put(t.queue, COVEY_VIEW("x", 1), COVEY_NOWAIT));
    return t;
}

static void things_free(struct things *t)
{
    covey_lock_free(t->lock);
    covey_rlock_free(t->rlock);
    covey_semaphore_free(t->semaphore);
    covey_event_free(t->event);
    covey_condition_free(t->condition);
    covey_barrier_free(t->barrier);
    covey_shared_value_free(t->value);
    covey_array_free(t->array);
    covey_queue_free(t->queue);
}

static int acquire_all(struct covey_view arg)
{
    const struct things *t = arg.data;
    CHECK_OK(covey_lock_acquire(t->lock, COVEY_FOREVER));
    CHECK_OK(covey_rlock_acquire(t->rlock, COVEY_FOREVER));
    CHECK_OK(covey_rlock_acquire(t->rlock, COVEY_FOREVER));
    CHECK_OK(covey_semaphore_acquire(t->semaphore, COVEY_FOREVER));
    CHECK_OK(covey_event_set(t->event));
    family_tell(&t->words->begun);
    family_pause();
}

static int wait_for_lock(struct covey_view arg)
{
    const struct things *t = arg.data;
    family_tell(&t->words->told);
    CHECK_OK(covey_lock_acquire(t->lock, COVEY_FOREVER));
    return 0;
}

/* What is seen of a child that has acquired everything, and of one that waits for it. */
static void check_seen(const struct things *t, int looked_at, int owner, int waiter)
{
    struct covey_family_snapshot *s = NULL;
    char had[64];
    do { /* until the waiter is asleep */
        covey_family_snapshot_free(s);
        CHECK_OK(covey_family_snapshot(looked_at, &s));
    } while (object_at(s, t->lock)->waiting == 0);
    snprintf(had, sizeof had, "had by Owner (pid %d)", owner);
    CHECK_STR_EQ(object_at(s, t->lock)->state, had);
    CHECK_STR_EQ(object_at(s, t->lock)->kind, "lock");
    CHECK_STR_EQ(object_at(s, t->lock)->name, "door");
    CHECK_EQ(object_at(s, t->lock)->waiting, 1);
    CHECK_EQ(object_at(s, t->lock)->holders, 3);
    snprintf(had, sizeof had, "had 2 times by Owner (pid %d)", owner);
    CHECK_STR_EQ(object_at(s, t->rlock)->state, had);
    snprintf(had, sizeof had, "value 2, 1 had by Owner (pid %d)", owner);
    CHECK_STR_EQ(object_at(s, t->semaphore)->state, had);
    CHECK_STR_EQ(object_at(s, t->event)->state, "set");
    CHECK_STR_EQ(object_at(s, t->condition)->state, "its lock is free");
    CHECK_STR_EQ(object_at(s, t->barrier)->state, "0 of 3 have come");
    CHECK_STR_EQ(object_at(s, t->value)->state, "1 x 'd', its lock is free");
    CHECK_STR_EQ(object_at(s, t->array)->state, "1000 x 'i', its lock is free");
    CHECK_GE(object_at(s, t->array)->bytes, 4000);
    CHECK_STR_EQ(object_at(s, t->queue)->state, "1 of 7 messages, 1 put in all");
    CHECK_EQ(s->member_count, 3);
    bool seen = false;
    for (size_t i = 0; i < s->thread_count; i++)
        if (s->threads[i].pid == waiter) {
            CHECK(s->threads[i].waits_for == t->lock);
            CHECK_GE(s->threads[i].waiting, 0);
            seen = true;
        }
    CHECK(seen);
    covey_family_snapshot_free(s);
}

TEST_EACH_METHOD(owners_and_waiters_are_seen)
{
    struct things t = things_new();
    covey_process *owner =
        started(acquire_all, COVEY_VIEW_OF(t), OPTS(.name = "Owner"));
    family_await(&t.words->begun, 1);
    covey_process *waiter =
        started(wait_for_lock, COVEY_VIEW_OF(t), OPTS(.name = "Waiter"));
    family_await(&t.words->told, 1);
    check_seen(&t, 0, pid_of(owner), pid_of(waiter));
    check_seen(&t, getpid(), pid_of(owner), pid_of(waiter));
    check_seen(&t, pid_of(waiter), pid_of(owner), pid_of(waiter));
    struct covey_bytes text = {0};
    CHECK_OK(covey_family_describe(0, &text));
    CHECK_STR_HAS(text.data, "lock door at 0x");
    CHECK_STR_HAS(text.data, "process Owner (pid ");
    CHECK_STR_HAS(text.data, " waits for 0.");
    covey_bytes_free(&text);
    CHECK_OK(covey_process_kill(waiter));
    CHECK_OK(covey_process_kill(owner));
    CHECK_EQ(end_of(waiter), -SIGKILL);
    CHECK_EQ(end_of(owner), -SIGKILL);
    things_free(&t);
}

/* By a process that is in no family. */
TEST(outsider_sees_a_family_that_is_stuck)
{
    struct things t = things_new();
    cvy_region_lock();
    int status, me = getpid(), pid = fork();
    CHECK_GE(pid, 0);
    if (pid == 0) {
        struct covey_bytes text = {0};
        cvy_region_abandon();
        int r = covey_family_describe(me, &text);
        _exit(r == 0 && strstr(text.data, "queue q at ") ? 0 : 1);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    cvy_region_unlock();
    things_free(&t);
}

static int close_all(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    CHECK_EQ(close_range(3, ~0u, 0), 0);
    family_tell(&s->begun);
    family_await(&s->go, 1);
    _exit(0);
}

TEST_EACH_METHOD(family_of_who_closed_its_descriptors_is_found)
{
    struct things t = things_new();
    struct covey_bytes text = {0};
    covey_process *child = started(close_all, COVEY_VIEW_OF(t.words), OPTS());
    family_await(&t.words->begun, 1);
    int pid;
    CHECK_OK(covey_process_pid(child, &pid));
    int r = covey_family_describe(pid, &text);
    if (r == -EPERM) {
        CHECK_STR_HAS(covey_error_detail(), "Operation not permitted");
    } else {
        CHECK_OK(r);
        CHECK_STR_HAS(text.data, "queue q at ");
    }
    family_tell(&t.words->go);
    CHECK_EQ(end_of(child), 0);
    covey_bytes_free(&text);
    things_free(&t);
}

static void *look_while_cancelled(void *ret_text)
{
    CHECK_EQ(pthread_cancel(pthread_self()), 0);
    CHECK_OK(covey_family_describe(getpid(), ret_text));
    pthread_testcancel();
    return NULL;
}

/* What is looked at is found in files, at which a thread may be cancelled. */
TEST(thread_is_not_cancelled_while_it_looks)
{
    struct things t = things_new();
    struct covey_bytes text = {0};
    void *result = NULL;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, look_while_cancelled, &text), 0);
    CHECK_EQ(pthread_join(thread, &result), 0);
    CHECK(result == PTHREAD_CANCELED);
    CHECK_STR_HAS(text.data, "queue q at ");
    covey_bytes_free(&text);
    things_free(&t);
}

/* The table of objects' pages is as large as the family may become, and mostly a hole. */
TEST(looking_costs_the_family_no_memory)
{
    struct things t = things_new();
    struct covey_family_snapshot *s;
    uint64_t resident = family_usage().resident;
    for (int i = 0; i < 2; i++) {
        CHECK_OK(covey_family_snapshot(i ? getpid() : 0, &s));
        CHECK_EQ(s->object_count, family_usage().objects);
        covey_family_snapshot_free(s);
        CHECK_LT(family_usage().resident, resident + 65536);
    }
    things_free(&t);
}

/* Places are used again, from the beginning, when all of them were used. */
TEST(objects_are_seen_wherever_they_lie)
{
    struct covey_family_snapshot *s;
    void *objects[3];
    family_found(COVEY_FAMILY_OPTS(.reservation = 16 * MIB));
    for (int i = 0; i < 3; i++) {
        objects[i] = family_object(64, 0);
        for (uint64_t used = 0; used < cvy_head->object_bytes * 2 / 3; used += CVY_PAGE)
            for (int half = 0; half < 2; half++)
                CHECK_OK(cvy_object_release(family_object(2048, 0)));
    }
    CHECK((char *)objects[1] > (char *)objects[0] && objects[2] < objects[1]);
    CHECK_OK(covey_family_snapshot(0, &s));
    CHECK_EQ(s->object_count, 3);
    for (int i = 0; i < 3; i++)
        CHECK_STR_EQ(object_at(s, objects[i])->kind, "object");
    covey_family_snapshot_free(s);
}

TEST(what_cannot_be_looked_at_is_told)
{
    struct covey_family_snapshot *s;
    struct covey_bytes text = {0};
    CHECK_ERR(covey_family_snapshot(0, &s), -ESRCH);
    CHECK_ERR(covey_family_snapshot(-1, &s), -EINVAL);
    CHECK_ERR(covey_family_snapshot(1 << 30, &s), -ESRCH);
    CHECK_ERR(covey_family_snapshot(getppid(), &s), -ESRCH);
    CHECK_ERR(covey_family_snapshot(0, NULL), -EINVAL);
    CHECK_ERR(covey_family_describe(0, NULL), -EINVAL);
    CHECK_ERR(covey_family_describe(0, &text), -ESRCH);
    covey_family_snapshot_free(NULL);
}

CHECK_MAIN()
