/* SPDX-License-Identifier: MIT */
/* What a process leaves that ends while it has or waits for something: in order, killed,
 * by _exit or by exec, and that who sleeps hears of it, not only at the end of a slice. */
#include <sys/syscall.h>

#include "sync_help.h"

/* ---- ways to end --------------------------------------------------------------- */

enum way { RETURN, EXIT, UNDERSCORE_EXIT, CRASH, EXEC, WAYS };

static int end_by(enum way way)
{
    switch (way) {
    case EXIT:
        covey_exit(0);
    case UNDERSCORE_EXIT:
        _exit(0);
    case CRASH:
        raise(SIGKILL);
        break;
    case EXEC:
        execl("/bin/true", "true", (char *)NULL);
        _exit(127);
    default:
        break;
    }
    return 0;
}

/* Take the lock and end in the way of numbers[0] when told, or when somebody sleeps. */
struct noun {
    void *(*make)(void);
    void (*free)(void *object);
    int (*acquire)(void *object, covey_nsec timeout);
    int (*release)(void *object);
    int (*abandoned)(void *object);
    void (*check_shown_free)(void *object);
};

static void *make_lock(void)
{
    covey_lock *lock = NULL;
    CHECK_OK(covey_lock_create(&lock, NULL));
    return lock;
}

static void *make_rlock(void)
{
    covey_rlock *lock = NULL;
    CHECK_OK(covey_rlock_create(&lock, NULL));
    return lock;
}

static void free_lock(void *lock)
{
    covey_lock_free(lock);
}
static void free_rlock(void *lock)
{
    covey_rlock_free(lock);
}
static int acquire_lock(void *lock, covey_nsec timeout)
{
    return covey_lock_acquire(lock, timeout);
}
static int acquire_rlock(void *lock, covey_nsec timeout)
{
    return covey_rlock_acquire(lock, timeout);
}
static int release_lock(void *lock)
{
    return covey_lock_release(lock);
}
static int release_rlock(void *lock)
{
    return covey_rlock_release(lock);
}
static int lock_abandoned(void *lock)
{
    return covey_lock_abandoned(lock);
}
static int rlock_abandoned(void *lock)
{
    return covey_rlock_abandoned(lock);
}
static void check_lock_shown_free(void *lock)
{
    CHECK_EQ(covey_lock_locked(lock), 0);
    CHECK_REPR(lock, lock, "<Lock(owner=None)>");
}
static void check_rlock_shown_free(void *lock)
{
    CHECK_EQ(covey_rlock_locked(lock), 0);
    CHECK_REPR(rlock, lock, "<RLock(None, 0)>");
}

static const struct noun nouns[] = {
    {make_lock, free_lock, acquire_lock, release_lock, lock_abandoned,
     check_lock_shown_free},
    {make_rlock, free_rlock, acquire_rlock, release_rlock, rlock_abandoned,
     check_rlock_shown_free},
};
enum { NOUNS = sizeof nouns / sizeof *nouns };

/* ---- locks --------------------------------------------------------------------- */

static int have_and_end(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    const struct noun *noun = &nouns[s->numbers[1]];
    CHECK_EQ(noun->acquire(s->object, COVEY_FOREVER), 0);
    if (noun->acquire == acquire_rlock)
        CHECK_EQ(noun->acquire(s->object, COVEY_FOREVER), 0);
    family_tell(&s->begun);
    if (s->numbers[2])
        await_sleepers(s->object, (unsigned)s->numbers[2]);
    return end_by((enum way)s->numbers[0]);
}

static void check_abandoned_once(const struct noun *noun, void *lock)
{
    CHECK_EQ(noun->acquire(lock, COVEY_FOREVER), COVEY_ABANDONED);
    CHECK_EQ(noun->abandoned(lock), 1);
    CHECK_EQ(noun->release(lock), 0);
    CHECK_EQ(noun->abandoned(lock), 0);
    CHECK_EQ(noun->acquire(lock, COVEY_NOWAIT), 0);
    CHECK_EQ(noun->abandoned(lock), 0);
    CHECK_EQ(noun->release(lock), 0);
}

/* In whatever way it ends: before anybody comes, and while somebody sleeps. */
TEST_EACH_METHOD_TIMEOUT(lock_of_a_process_that_ends_is_abandoned_once, 60)
{
    struct stage *s = stage_with_bell_only();
    for (int n = 0; n < NOUNS; n++)
        for (enum way way = RETURN; way < WAYS; way++)
            for (int sleeping = 0; sleeping < 2; sleeping++) {
                s->object = nouns[n].make();
                s->numbers[0] = (int)way;
                s->numbers[1] = n;
                s->numbers[2] = sleeping;
                atomic_store(&s->begun, 0);
                covey_process *p = acting(have_and_end, s);
                family_await(&s->begun, 1);
                if (!sleeping) {
                    CHECK_OK(covey_process_join(p, COVEY_FOREVER));
                    nouns[n].check_shown_free(s->object);
                }
                check_abandoned_once(&nouns[n], s->object);
                CHECK_EQ(end_of(p), way == CRASH ? -SIGKILL : 0);
                nouns[n].free(s->object);
            }
}

static int acquire_abandoned_and_end(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(nouns[s->numbers[1]].acquire(s->object, COVEY_FOREVER), COVEY_ABANDONED);
    return end_by(CRASH);
}

/* The one that recovers dies too: the next is told again. */
TEST_EACH_METHOD(lock_is_abandoned_until_somebody_releases_it)
{
    struct stage *s = stage_with_bell_only();
    for (int n = 0; n < NOUNS; n++) {
        s->object = nouns[n].make();
        s->numbers[0] = CRASH;
        s->numbers[1] = n;
        CHECK_EQ(act_alone(have_and_end, s), -SIGKILL);
        CHECK_EQ(act_alone(acquire_abandoned_and_end, s), -SIGKILL);
        check_abandoned_once(&nouns[n], s->object);
        nouns[n].free(s->object);
    }
}

static int sleep_for_the_lock(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    const struct noun *noun = &nouns[s->numbers[1]];
    CHECK_OK(noun->acquire(s->object, COVEY_FOREVER));
    family_tell(&s->told);
    CHECK_OK(noun->release(s->object));
    return 0;
}

/* Of the sleepers the one whose turn it would be is killed; the others go on. */
TEST_EACH_METHOD(death_of_who_waits_strands_nobody)
{
    struct stage *s = stage_with_bell_only();
    for (int n = 0; n < NOUNS; n++) {
        covey_process *processes[4];
        s->object = nouns[n].make();
        s->numbers[1] = n;
        atomic_store(&s->told, 0);
        CHECK_EQ(nouns[n].acquire(s->object, COVEY_FOREVER), 0);
        for (unsigned i = 0; i < 4; i++) {
            processes[i] = acting(sleep_for_the_lock, s);
            await_sleepers(s->object, i + 1);
        }
        kill_and_free(processes[0]);
        CHECK_OK(nouns[n].release(s->object));
        for (int i = 1; i < 4; i++)
            CHECK_EQ(end_of(processes[i]), 0);
        CHECK_EQ(s->told, 3);
        nouns[n].free(s->object);
    }
}

static int acquire_in_scope(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    covey_lock *lock = s->object;
    COVEY_WITH_LOCK(lock)
    {
        CHECK_EQ(covey_lock_abandoned(lock), 1);
        s->numbers[3]++;
    }
    return 0;
}

TEST_EACH_METHOD(scoped_acquire_can_ask_whether_it_was_abandoned)
{
    struct stage *s = stage_with_bell_only();
    s->object = make_lock();
    s->numbers[0] = CRASH;
    CHECK_EQ(act_alone(have_and_end, s), -SIGKILL);
    CHECK_EQ(act_alone(acquire_in_scope, s), 0);
    CHECK_EQ(s->numbers[3], 1);
    CHECK_EQ(covey_lock_acquire(s->object, COVEY_NOWAIT), 0);
    free_lock(s->object);
}

/* A stopped process is not dead. */
TEST_EACH_METHOD(lock_of_a_stopped_process_is_not_abandoned)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(5))));
    struct stage *s = stage_made();
    s->object = make_lock();
    s->numbers[0] = RETURN;
    s->numbers[2] = 1;
    covey_process *p = acting(have_and_end, s);
    family_await(&s->begun, 1);
    int status;
    CHECK_EQ(kill(pid_of(p), SIGSTOP), 0);
    if (check_method() != COVEY_FORKSERVER) /* its parent sees it, we need not */
        CHECK_EQ(waitpid(pid_of(p), &status, WUNTRACED), pid_of(p));
    CHECK_ERR(covey_lock_acquire(s->object, COVEY_MSEC(50)), -ETIMEDOUT);
    CHECK_EQ(kill(pid_of(p), SIGCONT), 0);
    CHECK_EQ(covey_lock_acquire(s->object, COVEY_FOREVER), COVEY_ABANDONED);
    CHECK_EQ(end_of(p), 0);
    free_lock(s->object);
}

/* ---- semaphores ---------------------------------------------------------------- */

static int have_permits_and_end(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    for (int i = 0; i < s->numbers[1]; i++)
        CHECK_EQ(covey_bounded_semaphore_acquire(s->object, COVEY_FOREVER), 0);
    family_tell(&s->begun);
    if (s->numbers[2])
        await_sleepers(s->object, (unsigned)s->numbers[2]);
    return end_by((enum way)s->numbers[0]);
}

TEST_EACH_METHOD_TIMEOUT(permits_of_a_process_that_ends_come_back, 60)
{
    struct stage *s = stage_with_bell_only();
    covey_bounded_semaphore *semaphore;
    CHECK_OK(covey_bounded_semaphore_create(&semaphore, 3, NULL));
    s->object = semaphore;
    s->numbers[1] = 3;
    for (enum way way = RETURN; way < WAYS; way++)
        for (int sleeping = 0; sleeping < 2; sleeping++) {
            s->numbers[0] = (int)way;
            s->numbers[2] = sleeping;
            atomic_store(&s->begun, 0);
            covey_process *p = acting(have_permits_and_end, s);
            family_await(&s->begun, 1);
            if (!sleeping)
                CHECK_OK(covey_process_join(p, COVEY_FOREVER));
            CHECK_EQ(covey_bounded_semaphore_acquire(semaphore, COVEY_FOREVER), 0);
            CHECK_REPR(bounded_semaphore, semaphore,
                       "<BoundedSemaphore(value=2, maxvalue=3)>");
            CHECK_OK(covey_bounded_semaphore_release(semaphore, 1));
            CHECK_ERR(covey_bounded_semaphore_release(semaphore, 1), COVEY_ERELEASED);
            CHECK_EQ(end_of(p), way == CRASH ? -SIGKILL : 0);
        }
    covey_bounded_semaphore_free(semaphore);
}

/* The robust list is overwritten, as in a crash: only asking the kernel finds it dead. */
static void smash_robust_list(void)
{
    static void *smashed[3] = {smashed};
    CHECK_EQ(syscall(SYS_set_robust_list, smashed, sizeof smashed), 0);
}

static int have_permits_and_vanish(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_OK(covey_semaphore_acquire(s->object, COVEY_FOREVER));
    CHECK_OK(covey_semaphore_acquire(s->other, COVEY_FOREVER));
    smash_robust_list();
    family_tell(&s->begun);
    return end_by(CRASH);
}

TEST_EACH_METHOD(permits_of_a_lost_process_are_found_by_looking_often)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(50))));
    struct stage *s = stage_made();
    covey_semaphore *one, *other;
    CHECK_OK(covey_semaphore_create(&one, 1, NULL));
    CHECK_OK(covey_semaphore_create(&other, 1, NULL));
    s->object = one;
    s->other = other;
    covey_process *p = acting(have_permits_and_vanish, s);
    family_await(&s->begun, 1);
    int r;
    while ((r = covey_semaphore_acquire(one, COVEY_NOWAIT)) == -ETIMEDOUT)
        cvy_os_yield();
    CHECK_OK(r);
    while ((r = covey_semaphore_acquire(other, COVEY_MSEC(5))) == -ETIMEDOUT)
        CHECK_ERR(covey_semaphore_acquire(one, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_OK(r);
    CHECK_EQ(end_of(p), -SIGKILL);
    covey_semaphore_free(one);
    covey_semaphore_free(other);
}

static int wait_and_vanish(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_OK(covey_condition_acquire(s->object, COVEY_FOREVER));
    smash_robust_list();
    return covey_condition_wait(s->object, COVEY_FOREVER);
}

/* What a waiter was told that is dead, and is not known to be, was for those who waited
 * then. The slice is over at each look. */
TEST_EACH_METHOD(who_comes_later_does_not_inherit_from_a_lost_waiter)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = 1)));
    struct stage *s = stage_made();
    covey_condition *c;
    siginfo_t info;
    CHECK_OK(covey_condition_create(&c, NULL));
    s->object = c;
    covey_process *p = acting(wait_and_vanish, s);
    await_sleepers(c, 1);
    CHECK_OK(covey_process_kill(p));
    CHECK_EQ(waitid(P_PID, (id_t)pid_of(p), &info, WEXITED | WNOWAIT), 0);
    CHECK_OK(covey_condition_acquire(c, COVEY_FOREVER));
    CHECK_ERR(covey_condition_wait(c, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_OK(covey_condition_notify(c, 1));
    for (int i = 0; i < 3; i++)
        CHECK_ERR(covey_condition_wait(c, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_OK(covey_condition_release(c));
    CHECK_EQ(end_of(p), -SIGKILL);
    covey_condition_free(c);
}

static int sleep_for_a_permit(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(covey_bounded_semaphore_acquire(s->object, COVEY_FOREVER), 0);
    family_tell(&s->told);
    family_await(&s->go, 1);
    return 0;
}

/* All who sleep get one of the dead one's three. */
TEST_EACH_METHOD(permits_of_a_killed_process_wake_as_many)
{
    struct stage *s = stage_with_bell_only();
    covey_bounded_semaphore *semaphore;
    covey_process *processes[4];
    CHECK_OK(covey_bounded_semaphore_create(&semaphore, 3, NULL));
    s->object = semaphore;
    s->numbers[1] = 3;
    s->numbers[2] = 4;
    s->numbers[0] = CRASH;
    covey_process *p = acting(have_permits_and_end, s);
    family_await(&s->begun, 1);
    for (unsigned i = 0; i < 4; i++)
        processes[i] = acting(sleep_for_a_permit, s);
    CHECK_EQ(end_of(p), -SIGKILL);
    family_await(&s->told, 3);
    await_sleepers(semaphore, 1);
    CHECK_EQ(s->told, 3);
    family_tell(&s->go); /* they end having theirs */
    for (int i = 0; i < 4; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(covey_bounded_semaphore_acquire(semaphore, COVEY_NOWAIT), 0);
    covey_bounded_semaphore_free(semaphore);
}

/* ---- events -------------------------------------------------------------------- */

static int sleep_for_the_event(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_EQ(covey_event_wait(s->object, COVEY_FOREVER), 0);
    return 0;
}

static int set_and_end(struct covey_view arg)
{
    struct stage *s = stage_of(arg);
    CHECK_OK(covey_event_set(s->object));
    return end_by(CRASH);
}

TEST_EACH_METHOD(event_does_not_depend_on_who_waits_or_set_it)
{
    struct stage *s = stage_with_bell_only();
    covey_event *event;
    covey_process *processes[4];
    CHECK_OK(covey_event_create(&event, NULL));
    s->object = event;
    for (unsigned i = 0; i < 4; i++)
        processes[i] = acting(sleep_for_the_event, s);
    await_sleepers(event, 4);
    kill_and_free(processes[1]);
    kill_and_free(processes[3]);
    CHECK_EQ(act_alone(set_and_end, s), -SIGKILL);
    CHECK_EQ(end_of(processes[0]), 0);
    CHECK_EQ(end_of(processes[2]), 0);
    CHECK_EQ(covey_event_is_set(event), 1);
    covey_event_free(event);
}

CHECK_MAIN()
