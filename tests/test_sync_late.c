/* SPDX-License-Identifier: MIT */
/* Who releases is late: it has woken nobody, because nobody slept, and is interrupted
 * before it notes that nobody does. Meanwhile others come and sleep; all are woken. Slices
 * are too long to help, and nobody dies. */
#include "sync/sync.h"
#include "sync_step.h"

struct late {
    void *object;
    cvy_word passed; /* of those who wait */
    struct stepper_progress releaser, first;
};
static struct late *late;

static int take(covey_nsec timeout)
{
    struct cvy_object *object = late->object;
    return atomic_load(&object->kind) == CVY_KIND_LOCK
               ? covey_lock_acquire(late->object, timeout)
               : covey_semaphore_acquire(late->object, timeout);
}

static void give(void *unused)
{
    (void)unused;
    struct cvy_object *object = late->object;
    if (atomic_load(&object->kind) == CVY_KIND_LOCK)
        CHECK_OK(covey_lock_release(late->object));
    else
        CHECK_OK(covey_semaphore_release(late->object, 1));
}

static void take_it(void *unused)
{
    (void)unused;
    CHECK_OK(take(COVEY_FOREVER));
}

static void pass(void *unused)
{
    take_it(unused);
    give(unused);
}

static void enter(void *unused)
{
    (void)unused;
    CHECK_OK(cvy_enter());
}

/* Somebody has waited, and gave up: the word says that somebody may sleep. */
static void one_gives_up(void)
{
    int pid = family_fork();
    if (pid == 0) {
        CHECK_EQ(take(COVEY_MSEC(5)), -ETIMEDOUT);
        _exit(0);
    }
    family_join(pid);
}

/* Whether it can be taken. */
static bool is_free(void)
{
    const struct covey_lock *lock = late->object;
    const struct covey_semaphore *semaphore = late->object;
    return atomic_load(&lock->object.kind) == CVY_KIND_LOCK
               ? !(atomic_load(&lock->word) & CVY_OWNER_MASK)
               : ((uint32_t)atomic_load(&semaphore->word) & ~CVY_WAITERS) != 0;
}

static void let_go(struct stepper *s)
{
    while (!stepper_is_done(s))
        CHECK_EQ(stepper_step(s, INT64_MAX), STEPPER_STEPPED);
}

/* To where it has found nobody asleep. */
static void release_until_nobody_was_woken(struct stepper *releaser)
{
    *releaser = (struct stepper){.name = "the releaser",
                                 .prepare = take_it,
                                 .operate = give,
                                 .progress = &late->releaser};
    CHECK_EQ(stepper_start(releaser), 0);
    one_gives_up();
    do
        CHECK_EQ(stepper_step(releaser, INT64_MAX), STEPPER_STEPPED);
    while (!releaser->called || !is_free());
}

static int sleeper(void)
{
    unsigned before = sleepers(late->object);
    int pid = family_fork();
    if (pid == 0) {
        pass(NULL);
        family_tell(&late->passed);
        family_pause();
    }
    await_sleepers(late->object, before + 1);
    return pid;
}

static void begin(void)
{
    begin_to_step();
    late = family_shared(sizeof *late);
}

static void await_passed(uint32_t n)
{
    int64_t until = cvy_os_deadline(COVEY_SEC(10));
    for (uint32_t now; (now = atomic_load(&late->passed)) < n;) {
        struct cvy_os_wait wait = {&late->passed, now};
        CHECK_LT(cvy_os_now(), until);
        (void)cvy_os_futex_waitv(&wait, 1, until);
    }
}

/* Of three that sleep the first has been woken by the one who came between, and does not
 * run yet; the late one takes away the note that others sleep. */
TEST_TIMEOUT(a_late_releaser_of_a_lock_leaves_nobody_asleep, 60)
{
    struct stepper releaser,
        first = {.name = "the first", .prepare = enter, .operate = pass};
    begin();
    CHECK_OK(covey_lock_create((covey_lock **)&late->object, NULL));
    release_until_nobody_was_woken(&releaser);
    CHECK_EQ(take(COVEY_NOWAIT), 0);
    first.progress = &late->first;
    CHECK_EQ(stepper_start(&first), 0);
    enum stepper_event event;
    while ((event = stepper_step(&first, 0)) == STEPPER_STEPPED)
        continue;
    CHECK_EQ(event, STEPPER_ASLEEP);
    int others[2] = {sleeper(), sleeper()};
    give(NULL);
    CHECK_EQ(stepper_step(&first, cvy_os_deadline(COVEY_SEC(5))), STEPPER_STEPPED);
    let_go(&releaser);
    let_go(&first);
    await_passed(2);
    family_kill(others[0]);
    family_kill(others[1]);
    CHECK_EQ(stepper_kill(&first), 0);
    CHECK_EQ(stepper_kill(&releaser), 0);
    covey_lock_free(late->object);
    munmap(late, sizeof *late);
}

TEST_TIMEOUT(a_late_releaser_of_a_semaphore_leaves_nobody_asleep, 60)
{
    struct stepper releaser;
    begin();
    CHECK_OK(covey_semaphore_create((covey_semaphore **)&late->object, 1, NULL));
    release_until_nobody_was_woken(&releaser);
    CHECK_EQ(take(COVEY_NOWAIT), 0);
    int other = sleeper();
    let_go(&releaser);
    give(NULL);
    await_passed(1);
    family_kill(other);
    CHECK_EQ(stepper_kill(&releaser), 0);
    covey_semaphore_free(late->object);
    munmap(late, sizeof *late);
}

CHECK_MAIN()
