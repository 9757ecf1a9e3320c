/* SPDX-License-Identifier: MIT */
/* One who was notified dies while somebody notifies and its heir takes what it leaves, at
 * points all along either. As many wake as were notified: one too many, but never one too
 * few. Slices are too long to help. */
#include "sync/sync.h"
#include "sync_step.h"

struct scene {
    covey_condition *c;
    cvy_word told, noted;
    struct stepper_progress progress;
};
static struct scene *scene;

/* How many instructions lie between two points; a race is open for some dozens. */
#define STRIDE family_long(13, 1)

/* ---- those who wait, and what stands for them ---------------------------------- */

static void acquire(void *unused)
{
    (void)unused;
    CHECK_OK(covey_condition_acquire(scene->c, COVEY_FOREVER));
}

static void wait_and_release(void *unused)
{
    (void)unused;
    CHECK_OK(covey_condition_wait(scene->c, COVEY_FOREVER));
    CHECK_OK(covey_condition_release(scene->c));
}

static int waiter(void)
{
    unsigned before = sleepers(scene->c);
    int pid = family_fork();
    if (pid == 0) {
        acquire(NULL);
        wait_and_release(NULL);
        family_tell(&scene->told);
        family_pause();
    }
    await_sleepers(scene->c, before + 1);
    return pid;
}

static bool is_free(void *object, uint64_t entry)
{
    (void)object, (void)entry;
    return false;
}

/* As if this thread waited: it has an entry, and never looks. */
static void note_waiting(void)
{
    uint32_t me = cvy_thread_owner(), ticket = atomic_fetch_add(&scene->c->tickets, 1);
    cvy_entry *mine = cvy_table_search(&scene->c->waiters, me, is_free, NULL);
    CHECK(mine != NULL);
    atomic_store(mine, cvy_entry_of(me, ticket + 1));
}

static int noted_waiter(void)
{
    uint32_t before = atomic_load(&scene->noted);
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(cvy_enter());
        note_waiting();
        family_tell(&scene->noted);
        family_pause();
    }
    family_await(&scene->noted, before + 1);
    return pid;
}

/* The mark that stands for a notification; see the head of condition.c. */
#define NOTIFIED 0x40000000u

static unsigned count_notified(void)
{
    unsigned count = 0;
    uint32_t at = 0;
    for (cvy_entry *e; (e = cvy_table_next(&scene->c->waiters, &at));)
        count += (atomic_load(e) & NOTIFIED) != 0;
    return count;
}

static cvy_entry *entry_of_ticket(uint32_t ticket)
{
    uint32_t at = 0;
    for (cvy_entry *e; (e = cvy_table_next(&scene->c->waiters, &at));)
        if (cvy_entry_has(atomic_load(e)) == ticket)
            return e;
    check_failed(__FILE__, __LINE__, "no entry has ticket %u", ticket);
}

/* ---- the stage ------------------------------------------------------------------ */

static void begin(void)
{
    begin_to_step();
    scene = family_shared(sizeof *scene);
}

static void new_condition(void)
{
    CHECK_OK(covey_condition_create(&scene->c, NULL));
    atomic_store(&scene->told, 0);
    atomic_store(&scene->noted, 0);
}

static void let_go(struct stepper *s)
{
    while (!stepper_is_done(s))
        CHECK_EQ(stepper_step(s, INT64_MAX), STEPPER_STEPPED);
}

/* ---- who notifies is interrupted -------------------------------------------------- */

static void acquire_and_notify(void *unused)
{
    acquire(unused);
    CHECK_OK(covey_condition_notify(scene->c, 1));
}

static void notify(void *n)
{
    CHECK_OK(covey_condition_notify(scene->c, *(unsigned *)n));
}

/* One dies that was notified, when the notify of `n` has run `steps` instructions; its heir
 * sleeps, and hears of it. `n` more wait. Returns: whether the notify ended before. */
static bool try_notify(unsigned n, long steps)
{
    int others[2] = {0};
    struct stepper notifier = {.name = "the notifier",
                               .prepare = acquire_and_notify,
                               .operate = notify,
                               .context = &n,
                               .progress = &scene->progress};
    new_condition();
    int dead = waiter(), heir = waiter();
    cvy_entry *of_heir = entry_of_ticket(2);
    for (unsigned i = 0; i < n; i++)
        others[i] = noted_waiter();
    CHECK_EQ(stepper_start(&notifier), 0);
    for (long i = 0; i < steps && !stepper_is_done(&notifier); i++)
        CHECK_EQ(stepper_step(&notifier, INT64_MAX), STEPPER_STEPPED);
    bool is_over = stepper_is_done(&notifier);
    family_kill(dead);
    while (!(atomic_load(of_heir) & NOTIFIED))
        cvy_os_yield();
    let_go(&notifier);
    CHECK_EQ(stepper_kill(&notifier), 0); /* it has the lock */
    family_await(&scene->told, 1);
    CHECK_GE(count_notified(), n);
    family_kill(heir);
    for (unsigned i = 0; i < n; i++)
        family_kill(others[i]);
    covey_condition_free(scene->c);
    return is_over;
}

TEST_TIMEOUT(heir_that_is_just_to_be_notified_leaves_that_to_another, 120)
{
    begin();
    for (long steps = 0; !try_notify(1, steps); steps += STRIDE)
        continue;
}

TEST_TIMEOUT(notify_of_some_does_not_count_an_heir, 120)
{
    begin();
    for (long steps = 0; !try_notify(2, steps); steps += STRIDE)
        continue;
}

/* ---- the heir is interrupted ------------------------------------------------------ */

static int stopped_waiter(void)
{
    int pid = waiter(), status = 0;
    CHECK_EQ(kill(pid, SIGSTOP), 0);
    CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
    CHECK(WIFSTOPPED(status));
    return pid;
}

/* Let the heir come to where it waits, and at least so many instructions far. Returns: how
 * many; with the lock acquired, unless it sleeps. */
static long step_to_its_wait(struct stepper *heir, long steps, bool *ret_asleep)
{
    long done = 0;
    *ret_asleep = false;
    while (done < steps || covey_condition_acquire(scene->c, COVEY_NOWAIT) < 0) {
        enum stepper_event event = stepper_step(heir, 0);
        *ret_asleep = event == STEPPER_ASLEEP;
        if (*ret_asleep)
            break;
        CHECK_EQ(event, STEPPER_STEPPED);
        done++;
    }
    return done;
}

/* One was notified and has not run since; when its heir has gone `steps` instructions of
 * its wait, that is notified too, and the other dies. Returns: how many it has gone, 0 if
 * it slept before. */
static long try_wait(long steps)
{
    struct stepper heir = {.name = "the heir",
                           .prepare = acquire,
                           .operate = wait_and_release,
                           .progress = &scene->progress};
    bool asleep;
    new_condition();
    int dead = stopped_waiter();
    acquire_and_notify(NULL);
    CHECK_OK(covey_condition_release(scene->c));
    CHECK_EQ(stepper_start(&heir), 0);
    long done = step_to_its_wait(&heir, steps, &asleep);
    if (asleep) {
        family_kill(dead);
    } else {
        note_waiting();
        CHECK_OK(covey_condition_notify(scene->c, 1));
        CHECK_OK(covey_condition_release(scene->c));
        family_kill(dead);
        let_go(&heir);
        CHECK_EQ(count_notified(), 1); /* of the dead one, or inherited */
    }
    CHECK_EQ(stepper_kill(&heir), 0);
    covey_condition_free(scene->c);
    return asleep ? 0 : done;
}

TEST_TIMEOUT(heir_that_is_notified_meanwhile_leaves_what_it_inherits, 120)
{
    begin();
    for (long steps = 0; (steps = try_wait(steps)); steps += STRIDE)
        continue;
}

CHECK_MAIN()
