/* SPDX-License-Identifier: MIT */
/* Processes and threads of a family: attaching, leaving, dying, and being told apart. */
#include <pthread.h>

#include "family.h"
#include "region/slot.h"
#include "region/undo.h"

#define SMALL COVEY_FAMILY_OPTS(.reservation = 16 * MIB)

static pthread_t start_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    pthread_attr_t attr;
    CHECK_EQ(pthread_attr_init(&attr), 0);
    CHECK_EQ(pthread_attr_setstacksize(&attr, 256 * 1024), 0);
    CHECK_EQ(pthread_create(&thread, &attr, body, arg), 0);
    pthread_attr_destroy(&attr);
    return thread;
}

/* A thread that attaches, says who it is, and stays until it is told to go. */
struct attached {
    pthread_t thread;
    int result;
    uint32_t owner;
    cvy_word *ready, *go;
};

static void *attach_and_wait(void *arg)
{
    struct attached *me = arg;
    me->result = cvy_enter();
    me->owner = me->result < 0 ? 0 : cvy_thread_owner();
    family_tell(me->ready);
    family_await(me->go, 1);
    return NULL;
}

static void start_attached(struct attached *threads, int count, cvy_word *ready,
                           cvy_word *go)
{
    for (int i = 0; i < count; i++) {
        threads[i].ready = ready;
        threads[i].go = go;
        threads[i].thread = start_thread(attach_and_wait, &threads[i]);
    }
    family_await(ready, (uint32_t)count);
}

static void end_attached(struct attached *threads, int count, cvy_word *go)
{
    family_tell(go);
    for (int i = 0; i < count; i++)
        CHECK_EQ(pthread_join(threads[i].thread, NULL), 0);
}

/* A child that attached and waits to be killed. */
static int start_member(uint32_t *ret_member)
{
    uint32_t *member = family_shared(sizeof *member);
    cvy_word *ready = family_shared(sizeof *ready);
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(cvy_enter());
        *member = cvy_member_owner();
        family_tell(ready);
        family_pause();
    }
    family_await(ready, 1);
    *ret_member = *member;
    return pid;
}

/* ---- threads ---- */

TEST(two_thousand_threads_attach_and_leave_nothing)
{
    enum { COUNT = 2000 };
    static struct attached threads[COUNT];
    static cvy_word ready, go;
    family_found(NULL);
    start_attached(threads, COUNT, &ready, &go);
    CHECK_EQ(family_usage().threads, COUNT + 1);
    CHECK_EQ(family_usage().members, 1);
    for (int i = 0; i < COUNT; i++) {
        CHECK_OK(threads[i].result);
        CHECK(!cvy_slot_is_dead(threads[i].owner, true));
    }
    end_attached(threads, COUNT, &go);
    CHECK_EQ(family_usage().threads, 1);
    CHECK_EQ(family_usage().deaths, 0);
    for (int i = 0; i < COUNT; i++)
        CHECK(cvy_slot_is_dead(threads[i].owner, false));
    family_check();
}

static void *attach_once(void *ret_owner)
{
    CHECK_OK(cvy_enter());
    *(uint32_t *)ret_owner = cvy_thread_owner();
    return NULL;
}

TEST(slots_are_reused_the_longest_unused_first)
{
    enum { COUNT = 3000, SLOTS = 1024 };
    static int last_use[SLOTS];
    family_found(SMALL);
    CHECK_EQ(cvy_head->slot_limit, SLOTS);
    for (int i = 1; i <= COUNT; i++) {
        uint32_t owner;
        pthread_join(start_thread(attach_once, &owner), NULL);
        int *last = &last_use[CVY_INDEX_OF(owner)];
        CHECK(!*last || i - *last >= SLOTS - 2);
        *last = i;
    }
    CHECK_EQ(family_usage().threads, 1);
}

TEST(generation_of_a_slot_wraps_without_mistaking)
{
    family_found(NULL);
    uint32_t owner = 0, after = 0;
    uint32_t index = atomic_load(&cvy_head->slot_cursor) % 8192;
    atomic_store(&cvy_slot_at(index)->word, (uint64_t)(CVY_GENERATIONS - 1) << 32);
    pthread_join(start_thread(attach_once, &owner), NULL);
    CHECK_EQ(owner, CVY_OWNER(index, CVY_GENERATIONS - 1));
    atomic_store(&cvy_head->slot_cursor, index);
    pthread_join(start_thread(attach_once, &after), NULL);
    CHECK_EQ(after, CVY_OWNER(index, 0));
    CHECK(cvy_slot_is_dead(owner, false));
    CHECK(cvy_slot_is_dead(after, false));
}

TEST(too_many_threads_are_a_clear_error_and_no_more)
{
    enum { COUNT = 1100 };
    static struct attached threads[COUNT];
    static cvy_word ready, go;
    int refused = 0;
    family_found(SMALL);
    start_attached(threads, COUNT, &ready, &go);
    for (int i = 0; i < COUNT; i++) {
        CHECK(threads[i].result == 0 || threads[i].result == -EAGAIN);
        refused += threads[i].result != 0;
    }
    CHECK_GE(refused, COUNT - (int)cvy_head->slot_limit);
    CHECK_LE(refused, COUNT - (int)cvy_head->slot_limit + 2);
    end_attached(threads, COUNT, &go);
    CHECK_EQ(family_usage().threads, 1);
    uint32_t owner = 0;
    pthread_join(start_thread(attach_once, &owner), NULL);
}

/* The dead of whom nobody took notice make room when it is needed. */
TEST(slots_and_records_of_the_unmourned_are_found)
{
    family_found(SMALL);
    for (uint32_t i = 0; i < cvy_head->slot_limit + 50; i++) {
        int pid = family_fork();
        if (pid == 0) {
            CHECK_OK(cvy_enter());
            raise(SIGKILL);
        }
        int status;
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(WTERMSIG(status), SIGKILL);
    }
    CHECK_EQ(family_usage().members, 1);
    CHECK_EQ(family_usage().threads, 1);
    family_check();
}

TEST(too_many_members_are_a_clear_error_and_no_more)
{
    enum { MOST = 2000 };
    static uint32_t members[MOST];
    int count = 0, r = 0;
    family_found(SMALL);
    while (count < MOST && (r = cvy_member_new("x", &members[count])) == 0)
        count++;
    CHECK_ERR(r, -EAGAIN);
    CHECK_STR_HAS(covey_error_detail(), "1024 processes");
    CHECK_EQ(count, 1023);
    while (count)
        cvy_member_release(members[--count], NULL, NULL);
    CHECK_EQ(family_usage().members, 1);
    CHECK_OK(cvy_member_new("x", &members[0]));
    cvy_member_release(members[0], NULL, NULL);
    family_check();
}

TEST(generation_of_a_member_wraps_without_mistaking)
{
    family_found(NULL);
    uint32_t member = 0, next = cvy_head->member_high;
    atomic_store(&cvy_member_at(next)->word, (uint64_t)(CVY_GENERATIONS - 1) << 32);
    CHECK_OK(cvy_member_new("x", &member));
    CHECK_EQ(member, CVY_OWNER(next, CVY_GENERATIONS - 1));
    CHECK_EQ(cvy_member_state(member, NULL), CVY_MEMBER_STARTING);
    cvy_member_release(member, NULL, NULL);
    CHECK_EQ(cvy_member_state(member, NULL), CVY_MEMBER_FREE);
    CHECK_EQ(cvy_member_state(CVY_OWNER(next, 0), NULL), CVY_MEMBER_FREE);
    CHECK(cvy_member_is_dead(member, false));
}

/* ---- who stands for a process ---- */

static void *attach_again_and_again(void *stop)
{
    while (!atomic_load((cvy_word *)stop)) {
        uint32_t owner;
        pthread_join(start_thread(attach_once, &owner), NULL);
    }
    return NULL;
}

static void *keep_attaching(void *stop)
{
    return attach_again_and_again(stop);
}

/* The witness goes from thread to thread; whoever looks meanwhile sees a living process. */
TEST(process_lives_whichever_of_its_threads_end)
{
    enum { THREADS = 4 };
    family_found(NULL);
    cvy_word *shared = family_shared(3 * sizeof *shared), *stop = shared,
             *ready = shared + 1;
    cvy_word *member = shared + 2;
    int pid = family_fork();
    if (pid == 0) {
        pthread_t threads[THREADS];
        CHECK_OK(cvy_enter());
        *member = cvy_member_owner();
        cvy_slot_detach(
            cvy_thread_owner()); /* so that only those that come and go stand */
        cvy_thread.epoch = 0;
        for (int i = 0; i < THREADS; i++)
            threads[i] = start_thread(keep_attaching, stop);
        family_tell(ready);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        _exit(0);
    }
    family_await(ready, 1);
    int64_t end = cvy_os_now() + COVEY_MSEC(family_long(500, 20000));
    while (cvy_os_now() < end)
        for (int i = 0; i < 1000; i++)
            CHECK(!cvy_member_is_dead(*member, false));
    family_tell(stop);
    family_join(pid);
    CHECK(cvy_member_is_dead(*member, false));
}

static void *outlive_main(void *go)
{
    CHECK_OK(cvy_enter());
    family_tell((cvy_word *)go + 1);
    family_await(go, 1);
    CHECK_OK(cvy_object_release(family_object(64, 0)));
    _exit(0);
}

TEST(process_lives_on_after_mains_pthread_exit)
{
    family_found(NULL);
    cvy_word *go = family_shared(3 * sizeof *go), *member = go + 2;
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(cvy_enter());
        *member = cvy_member_owner();
        start_thread(outlive_main, go);
        family_await(go + 1, 1);
        pthread_exit(NULL);
    }
    family_await(go + 1, 1);
    while (family_usage().threads > 2) /* until main has ended */
        cvy_os_yield();
    CHECK(!cvy_member_is_dead(*member, false));
    CHECK(!cvy_member_is_dead(*member, true));
    family_tell(go);
    family_join(pid);
    CHECK(cvy_member_is_dead(*member, false));
    CHECK_EQ(family_usage().members, 1);
    family_check();
}

TEST(thread_without_witness_is_asked_of_the_kernel)
{
    family_found(NULL);
    cvy_word *shared = family_shared(2 * sizeof *shared), *ready = shared;
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(cvy_enter());
        shared[1] = cvy_member_owner();
        cvy_slot_detach(cvy_thread_owner());
        cvy_thread.epoch = 0;
        family_tell(ready);
        family_pause();
    }
    family_await(ready, 1);
    CHECK(!cvy_member_is_dead(shared[1], false));
    family_kill(pid);
    CHECK(cvy_member_is_dead(shared[1], false));
}

TEST(exec_leaves_the_family)
{
    family_found(NULL);
    int gate[2];
    cvy_word *member = family_shared(2 * sizeof *member);
    void *object = family_object(64, 0);
    CHECK_OK(cvy_os_pipe(gate));
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(covey_hold(object));
        *member = cvy_member_owner();
        dup2(gate[0], 0);
        execlp("cat", "cat", (char *)NULL);
        _exit(127);
    }
    cvy_os_close(gate[0]);
    family_await(member, 1);
    while (!cvy_member_is_dead(*member, false))
        cvy_os_yield();
    CHECK_EQ(kill(pid, 0), 0); /* cat runs */
    CHECK_OK(cvy_object_release(object));
    CHECK_EQ(family_usage().objects, 0);
    CHECK_EQ(family_usage().members, 1);
    cvy_os_close(gate[1]);
    family_join(pid);
    family_check();
}

/* ---- threads that end inside of calls ---- */

struct cancelled {
    cvy_word ready, go;
    bool came_back;
};

static void *ask_while_cancelled(void *arg)
{
    struct cancelled *c = arg;
    CHECK_OK(cvy_enter());
    family_tell(&c->ready);
    family_await(&c->go, 1);
    for (int i = 0; i < 10; i++)
        (void)family_usage();
    c->came_back = true;
    pthread_testcancel();
    return NULL;
}

/* Asking the kernel reads files, at which a thread may be cancelled, under the lock. */
TEST(thread_is_not_cancelled_inside_of_a_call)
{
    family_found(NULL);
    uint32_t member = 0;
    CHECK_OK(cvy_member_new("asked", &member));
    cvy_member_set_pid(member,
                       getpid()); /* it has no witness, so the kernel is asked */
    static struct cancelled c;
    void *result = NULL;
    pthread_t thread = start_thread(ask_while_cancelled, &c);
    family_await(&c.ready, 1);
    CHECK_EQ(pthread_cancel(thread), 0);
    family_tell(&c.go);
    CHECK_EQ(pthread_join(thread, &result), 0);
    CHECK(result == PTHREAD_CANCELED);
    CHECK(c.came_back);
    cvy_member_release(member, NULL, NULL);
    CHECK_EQ(family_usage().threads, 1);
    family_check();
}

static void *end_in_the_middle(void *unused)
{
    cvy_ref ref = 0;
    (void)unused;
    CHECK_OK(cvy_enter());
    cvy_region_lock();
    CHECK_OK(cvy_run_take(MIB, CVY_RUN_MEMBER, cvy_member_owner(), &ref));
    pthread_exit(NULL);
}

TEST(thread_that_ends_inside_of_a_call_is_repaired)
{
    family_found(NULL);
    for (int i = 0; i < 3; i++) {
        pthread_join(start_thread(end_in_the_middle, NULL), NULL);
        CHECK_OK(cvy_lock_acquire(&cvy_head->lock, cvy_os_deadline(COVEY_SEC(5))));
        CHECK_EQ(cvy_head->undo_count, 0);
        cvy_lock_release(&cvy_head->lock);
    }
    CHECK_EQ(family_usage().threads, 1);
    CHECK_EQ(family_usage().used, 0);
    family_check();
}

/* ---- leaving ---- */

TEST(leaving_keeps_the_status_and_gives_up_the_rest)
{
    family_found(NULL);
    uint32_t member = 0;
    bool left = false;
    int status = 0;
    uint64_t used = family_usage().used;
    CHECK_OK(cvy_member_new("child", &member));
    int pid = family_fork();
    if (pid == 0) {
        cvy_ref ref = 0;
        CHECK_OK(cvy_attach_as(member));
        family_object(64, CVY_PAGE);
        cvy_region_lock();
        CHECK_OK(cvy_run_take(MIB, CVY_RUN_MEMBER, cvy_member_owner(), &ref));
        cvy_region_unlock();
        cvy_member_leave(42);
        CHECK_ERR(cvy_enter(), COVEY_ESTATE);
        _exit(0);
    }
    cvy_member_set_pid(member, pid);
    family_join(pid);
    CHECK_LE(cvy_head->used_pages * CVY_PAGE, used + CVY_SPAN_PAGES * CVY_PAGE);
    CHECK_EQ(cvy_head->object_count, 0);
    CHECK_EQ(cvy_member_state(member, NULL), CVY_MEMBER_ENDED);
    cvy_members_sweep(); /* the starter has still to see how it ended */
    CHECK_EQ(cvy_member_state(member, NULL), CVY_MEMBER_ENDED);
    cvy_member_release(member, &left, &status);
    CHECK(left);
    CHECK_EQ(status, 42);
    CHECK_EQ(cvy_member_state(member, NULL), CVY_MEMBER_FREE);
    CHECK_EQ(family_usage().deaths, 0);
    family_check();
}

struct leaver {
    cvy_word ready, go, tried, owner, done;
};

static void *work_after_main_left(void *arg)
{
    struct leaver *l = arg;
    CHECK_OK(cvy_enter());
    family_object(64, MIB);
    l->owner = cvy_thread_owner();
    family_tell(&l->ready);
    family_await(&l->go, 1);
    cvy_region_lock(); /* as a call that was under way would */
    family_tell(&l->tried);
    family_await(&l->done, 1);
    CHECK_EQ(cvy_head->lock & CVY_OWNER_MASK, l->owner);
    cvy_region_unlock();
    _exit(0);
}

/* A process that ends while others of its threads are in a call: they are alive, and so is
 * what they work on, until the kernel says otherwise. */
TEST(threads_of_a_process_that_left_are_alive)
{
    family_found(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(10)));
    struct leaver *l = family_shared(sizeof *l);
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(cvy_enter());
        start_thread(work_after_main_left, l);
        family_await(&l->ready, 1);
        cvy_member_leave(0);
        family_tell(&l->ready);
        family_pause();
    }
    family_await(&l->ready, 2);
    cvy_members_sweep();
    CHECK(!cvy_slot_is_dead(l->owner, true));
    CHECK_EQ(family_usage().objects, 1);
    family_tell(&l->go);
    family_await(&l->tried, 1);
    CHECK(!cvy_slot_is_dead(l->owner, false));
    CHECK(!cvy_slot_is_dead(l->owner, true));
    CHECK_ERR(cvy_lock_acquire(&cvy_head->lock, cvy_os_deadline(COVEY_MSEC(100))),
              -ETIMEDOUT);
    family_tell(&l->done);
    family_join(pid);
    CHECK_EQ(family_usage().objects, 0);
    CHECK_EQ(family_usage().members, 1);
    family_check();
}

static void *attach_beside_leaving(void *go)
{
    family_await(go, 1);
    int r = cvy_enter();
    CHECK(r == 0 || r == COVEY_ESTATE);
    return NULL;
}

TEST(threads_that_attach_while_their_process_leaves_found_no_other)
{
    enum { THREADS = 4 };
    family_found(NULL);
    for (long i = 0; i < family_long(100, 3000); i++) {
        int pid = family_fork();
        if (pid == 0) {
            pthread_t threads[THREADS];
            cvy_word go = 0;
            CHECK_OK(cvy_enter());
            uint32_t member = cvy_member_owner();
            for (int t = 0; t < THREADS; t++)
                threads[t] = start_thread(attach_beside_leaving, &go);
            family_tell(&go);
            cvy_member_leave(0);
            for (int t = 0; t < THREADS; t++)
                pthread_join(threads[t], NULL);
            CHECK_EQ(cvy_member_owner(), member);
            _exit(0);
        }
        family_join(pid);
    }
    CHECK_EQ(family_usage().members, 1);
    CHECK_EQ(family_usage().threads, 1);
    family_check();
}

/* ---- dying ---- */

/* A slot is free for others only once nothing can take that back. */
TEST(slot_is_not_claimed_before_its_freeing_is_committed)
{
    family_found(NULL);
    cvy_word *ready = family_shared(sizeof *ready);
    uint32_t member = 0;
    int victim = start_member(&member);
    uint32_t index = cvy_member_at(CVY_INDEX_OF(member))->slots - 1;
    family_kill(victim);
    int sweeper = family_fork();
    if (sweeper == 0) {
        CHECK_OK(cvy_enter());
        cvy_region_lock();
        cvy_slot_unlink(index);
        family_tell(ready);
        family_pause();
    }
    family_await(ready, 1);
    atomic_store(&cvy_head->slot_cursor, index);
    static struct attached thread;
    static cvy_word attached, go;
    thread.ready = &attached, thread.go = &go;
    thread.thread = start_thread(attach_and_wait, &thread);
    while (!(atomic_load(&cvy_head->lock) & CVY_WAITERS)) /* it waits to be linked */
        cvy_os_yield();
    family_kill(sweeper);
    family_await(&attached, 1);
    CHECK(!cvy_slot_is_dead(thread.owner, true));
    cvy_members_sweep();
    CHECK(!cvy_slot_is_dead(thread.owner, true));
    CHECK_EQ(cvy_slot_at(CVY_INDEX_OF(thread.owner))->member, cvy_member_owner());
    end_attached(&thread, 1, &go);
    CHECK_EQ(family_usage().threads, 1);
    CHECK_EQ(family_usage().members, 1);
    family_check();
}

TEST(child_that_comes_up_after_its_starter_died_is_turned_away)
{
    family_found(NULL);
    cvy_word *shared = family_shared(4 * sizeof *shared), *member = shared + 1;
    int starter = family_fork();
    if (starter == 0) {
        uint32_t made = 0;
        CHECK_OK(cvy_enter());
        CHECK_OK(cvy_member_new("late", &made));
        *member = made;
        family_tell(shared);
        family_pause();
    }
    family_await(shared, 1);
    CHECK_EQ(family_usage().members, 3);
    family_kill(starter);
    CHECK_EQ(family_usage().members, 1);
    int child = family_fork();
    if (child == 0) {
        CHECK_ERR(cvy_attach_as(*member), -ECANCELED);
        _exit(0);
    }
    family_join(child);
    CHECK_EQ(family_usage().threads, 1);
    family_check();
}

TEST(child_killed_before_it_came_up_is_found)
{
    family_found(NULL);
    uint32_t member = 0;
    CHECK_OK(cvy_member_new("early", &member));
    int pid = family_fork();
    if (pid == 0)
        family_pause();
    cvy_member_set_pid(member, pid);
    CHECK(!cvy_member_is_dead(member, false));
    family_kill(pid);
    CHECK(cvy_member_is_dead(member, false));
    cvy_members_sweep();
    CHECK_EQ(cvy_member_state(member, NULL), CVY_MEMBER_DEAD);
    bool left = true;
    cvy_member_release(member, &left, NULL);
    CHECK(!left);
    CHECK_EQ(family_usage().members, 1);
    family_check();
}

static uint32_t kind_at_death;

static void look_at_what_it_worked_on(struct cvy_slot *slot)
{
    if (slot->journal[0])
        kind_at_death = ((struct cvy_object *)cvy_at(slot->journal[0]))->kind;
    slot->journal[0] = 0;
}

TEST(what_the_dead_worked_on_is_there_until_it_is_put_right)
{
    family_found(NULL);
    cvy_word *ready = family_shared(sizeof *ready);
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(cvy_enter());
        void *mine = family_object(sizeof(struct cvy_object), 0);
        cvy_slot_at(CVY_INDEX_OF(cvy_thread_owner()))->journal[0] = cvy_ref_of(mine);
        family_tell(ready);
        family_pause();
    }
    family_await(ready, 1);
    cvy_on_slot_death = look_at_what_it_worked_on;
    family_kill(pid);
    cvy_members_sweep();
    CHECK_EQ(kind_at_death, CVY_KIND_TEST);
    family_check();
}

TEST(stopped_owner_is_not_taken_for_dead)
{
    family_found(COVEY_FAMILY_OPTS(.slice = COVEY_MSEC(10)));
    cvy_word *ready = family_shared(sizeof *ready);
    int pid = family_fork();
    if (pid == 0) {
        CHECK_OK(cvy_enter());
        cvy_region_lock();
        family_tell(ready);
        raise(SIGSTOP);
        cvy_region_unlock();
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, NULL, WUNTRACED), pid);
    CHECK_ERR(cvy_lock_acquire(&cvy_head->lock, cvy_os_deadline(COVEY_MSEC(100))),
              -ETIMEDOUT);
    CHECK_EQ(kill(pid, SIGCONT), 0);
    cvy_region_lock();
    cvy_region_unlock();
    family_join(pid);
}

/* ---- forks of the program itself ---- */

TEST(forked_child_is_a_member_of_its_own)
{
    family_found(NULL);
    uint32_t mine = cvy_member_owner(), my_slot = cvy_thread_owner();
    void *object = family_object(64, 0);
    int pid = family_fork();
    if (pid == 0) {
        CHECK_ERR(cvy_object_check(object, CVY_KIND_TEST, "f"), 0);
        CHECK_OK(cvy_enter());
        CHECK_NE(cvy_member_owner(), mine);
        CHECK_NE(cvy_thread_owner(), my_slot);
        CHECK_ERR(cvy_object_release(object), -EINVAL); /* the hold is the parent's */
        _exit(0);
    }
    family_join(pid);
    CHECK_OK(cvy_object_release(object));
    family_check();
}

CHECK_MAIN()
