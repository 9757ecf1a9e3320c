/* SPDX-License-Identifier: MIT */
/* Joinable queues: what was got and not worked off is counted right whatever producers and
 * consumers are in the middle of. */
#include "channel/queue.h"
#include "process_help.h"

static covey_joinable_queue *queue_new(void)
{
    covey_joinable_queue *q;
    CHECK_OK(covey_joinable_queue_create(&q, 0, NULL));
    return q;
}

static void put(covey_joinable_queue *q)
{
    CHECK_OK(covey_joinable_queue_put(q, COVEY_VIEW("x", 1), COVEY_NOWAIT));
}

static void get(covey_joinable_queue *q)
{
    struct covey_bytes got = {0};
    CHECK_OK(covey_joinable_queue_get(q, &got, COVEY_NOWAIT));
    covey_bytes_free(&got);
}

static void check_abandoned(covey_joinable_queue *q, uint64_t wanted)
{
    uint64_t abandoned = 99;
    CHECK_OK(covey_joinable_queue_abandoned(q, &abandoned));
    CHECK_EQ(abandoned, wanted);
}

/* A producer that has stopped behind the store that commits its message, which others can
 * get then, and before those that note it. */
struct stopped {
    uint32_t ordinal;
    uint64_t bytes, tail;
};

static struct stopped note_of(covey_joinable_queue *q)
{
    const struct cvy_ring *ring = &q->queue.ring;
    return (struct stopped){ring->put_ordinal, ring->put_bytes, ring->tail};
}

static void note(covey_joinable_queue *q, struct stopped s)
{
    struct cvy_ring *ring = &q->queue.ring;
    ring->put_ordinal = s.ordinal;
    ring->put_bytes = s.bytes;
    ring->tail = s.tail;
}

static void work_off_behind_a_stopped_producer(int puts_before)
{
    covey_joinable_queue *q = queue_new();
    for (int i = 0; i < puts_before; i++) {
        put(q);
        get(q);
        CHECK_OK(covey_joinable_queue_task_done(q));
    }
    CHECK_OK(covey_joinable_queue_join(q, COVEY_NOWAIT));
    struct stopped before = note_of(q);
    put(q);
    struct stopped after = note_of(q);
    note(q, before);
    CHECK_ERR(covey_joinable_queue_join(q, COVEY_NOWAIT), -ETIMEDOUT);
    get(q);
    CHECK_ERR(covey_joinable_queue_join(q, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_OK(covey_joinable_queue_task_done(q));
    CHECK_OK(covey_joinable_queue_join(q, COVEY_NOWAIT));
    CHECK_ERR(covey_joinable_queue_task_done(q), COVEY_ERELEASED);
    check_abandoned(q, 0);
    note(q, after);
    CHECK_OK(covey_joinable_queue_join(q, COVEY_NOWAIT));
    CHECK_ERR(covey_joinable_queue_task_done(q), COVEY_ERELEASED);
    check_abandoned(q, 0);
    covey_joinable_queue_free(q);
}

TEST(the_first_message_of_a_stopped_producer_is_worked_off)
{
    work_off_behind_a_stopped_producer(0);
}

TEST(a_message_of_a_stopped_producer_is_worked_off)
{
    work_off_behind_a_stopped_producer(5);
}

TEST(one_of_several_of_a_stopped_producer_is_not_all)
{
    covey_joinable_queue *q = queue_new();
    struct covey_view messages[] = {COVEY_VIEW("a", 1), COVEY_VIEW("b", 1)};
    put(q);
    get(q);
    CHECK_OK(covey_joinable_queue_task_done(q));
    struct stopped before = note_of(q);
    CHECK_OK(covey_queue_put_many(&q->queue, messages, 2, COVEY_NOWAIT, NULL));
    note(q, before);
    get(q);
    CHECK_OK(covey_joinable_queue_task_done(q));
    CHECK_ERR(covey_joinable_queue_join(q, COVEY_NOWAIT), -ETIMEDOUT);
    get(q);
    CHECK_ERR(covey_joinable_queue_join(q, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_OK(covey_joinable_queue_task_done(q));
    CHECK_OK(covey_joinable_queue_join(q, COVEY_NOWAIT));
    check_abandoned(q, 0);
    covey_joinable_queue_free(q);
}

/* ---- a consumer that is stopped in the middle of a get ---- */

static int take_lock_and_stop(struct covey_view arg)
{
    covey_joinable_queue *q = *(covey_joinable_queue *const *)arg.data;
    CHECK_OK(cvy_enter());
    CHECK_OK(cvy_ring_lock_get(&q->queue.ring, INT64_MAX));
    raise(SIGSTOP);
    cvy_ring_unlock_get(&q->queue.ring);
    return 0;
}

TEST_EACH_METHOD(join_keeps_its_time_beside_a_stopped_consumer)
{
    covey_joinable_queue *q = queue_new();
    int pid;
    put(q);
    covey_process *p = started(take_lock_and_stop, COVEY_VIEW_OF(q), OPTS());
    CHECK_OK(covey_process_pid(p, &pid));
    while (!(atomic_load(&q->queue.ring.get_lock) & CVY_OWNER_MASK))
        cvy_os_yield();
    CHECK_ERR(covey_joinable_queue_join(q, COVEY_MSEC(20)), -ETIMEDOUT);
    CHECK_ERR(covey_joinable_queue_join(q, COVEY_NOWAIT), -ETIMEDOUT);
    while (atomic_load(&q->queue.ring.get_lock) & CVY_OWNER_MASK)
        CHECK_EQ(kill(pid, SIGCONT), 0);
    CHECK_EQ(end_of(p), 0);
    covey_joinable_queue_free(q);
}

CHECK_MAIN()
