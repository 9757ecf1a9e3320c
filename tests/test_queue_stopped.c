/* SPDX-License-Identifier: MIT */
/* Queues whose producer has stopped, or died, between the store that commits and those that
 * note it, while consumers go on; and consumers that die one after the other. */
#include "channel/queue.h"
#include "channel/record.h"
#include "process_help.h"

struct stopped {
    uint32_t ordinal;
    uint64_t bytes, tail;
};

static struct stopped note_of(const covey_queue *q)
{
    return (struct stopped){q->ring.put_ordinal, q->ring.put_bytes, q->ring.tail};
}

static void note(covey_queue *q, struct stopped s)
{
    q->ring.put_ordinal = s.ordinal;
    q->ring.put_bytes = s.bytes;
    q->ring.tail = s.tail;
}

static void check_load(covey_queue *q, size_t items, uint64_t bytes)
{
    size_t count = 99;
    uint64_t size = 99;
    CHECK_OK(covey_queue_count(q, &count));
    CHECK_OK(covey_queue_bytes(q, &size));
    CHECK_EQ(count, items);
    CHECK_EQ(size, bytes);
    CHECK_EQ(covey_queue_empty(q), items == 0);
    CHECK_EQ(covey_queue_full(q), 0);
}

TEST(queue_is_empty_behind_a_producer_that_has_stopped)
{
    covey_queue *q;
    struct covey_bytes got = {0};
    struct covey_view messages[] = {COVEY_VIEW("ab", 2), COVEY_VIEW("abc", 3)};
    CHECK_OK(covey_queue_create(&q, 4, NULL));
    for (int i = 0; i < 5; i++) {
        CHECK_OK(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_NOWAIT));
        CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
    }
    struct stopped before = note_of(q);
    CHECK_OK(covey_queue_put_many(q, messages, 2, COVEY_NOWAIT, NULL));
    struct stopped after = note_of(q);
    note(q, before);
    CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
    check_load(q, 1, 3);
    CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
    check_load(q, 0, 0);
    note(q, after);
    check_load(q, 0, 0);
    covey_bytes_free(&got);
    covey_queue_free(q);
}

static void kill_one_doing(covey_queue *q, void (*what)(covey_queue *q))
{
    int pid = family_fork(), status;
    if (!pid) {
        CHECK_OK(cvy_enter());
        what(q);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, SIGKILL);
}

/* The next one who puts finds that its predecessor is dead. */
static void die_having_the_lock(covey_queue *q)
{
    CHECK_OK(cvy_ring_lock_put(&q->ring, INT64_MAX));
    raise(SIGKILL);
}

static void grow_and_die(bool consumers_are_faster)
{
    covey_queue *q;
    struct covey_bytes got = {0};
    static char data[25000];
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW_OF(data), COVEY_NOWAIT));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW_OF(data), COVEY_NOWAIT));
    struct stopped before = note_of(q);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW_OF(data), COVEY_NOWAIT));
    CHECK_EQ(cvy_position_number_of(q->ring.tail), 1);
    /* As if it had ended behind the store of the JUMP into the new segment. */
    cvy_record_at(&q->ring, cvy_position_start_of(1))->word = 0;
    note(q, before);
    kill_one_doing(q, die_having_the_lock);
    if (!consumers_are_faster)
        CHECK_OK(covey_queue_put(q, COVEY_VIEW("y", 1), COVEY_NOWAIT));
    for (int i = 0; i < 2; i++)
        CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
    if (consumers_are_faster) {
        CHECK_ERR(covey_queue_get(q, &got, COVEY_NOWAIT), -ETIMEDOUT);
        CHECK_EQ(cvy_position_number_of(q->ring.head), 1);
        CHECK_OK(covey_queue_put(q, COVEY_VIEW("y", 1), COVEY_NOWAIT));
    }
    CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
    CHECK_EQ(got.size, 1);
    covey_bytes_free(&got);
    covey_queue_free(q);
}

TEST(messages_go_on_behind_a_producer_that_died_leading_on)
{
    grow_and_die(false);
    grow_and_die(true);
}

TEST(jump_of_a_producer_that_died_is_no_message)
{
    covey_queue *q;
    struct covey_bytes got = {0};
    CHECK_OK(covey_queue_create(&q, 4, NULL));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_NOWAIT));
    CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
    q->ring.tail += CVY_POSITION_FAR; /* where the next one who puts leads on */
    q->ring.head += CVY_POSITION_FAR;
    struct stopped before = note_of(q);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("lost", 4), COVEY_NOWAIT));
    CHECK_EQ(cvy_position_number_of(q->ring.tail), 1);
    cvy_record_at(&q->ring, cvy_position_start_of(1))->word = 0;
    note(q, before);
    kill_one_doing(q, die_having_the_lock);
    check_load(q, 0, 0);
    CHECK_ERR(covey_queue_get(q, &got, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("y", 1), COVEY_NOWAIT));
    check_load(q, 1, 1);
    covey_bytes_free(&got);
    covey_queue_free(q);
}

/* ---- consumers ---- */

/* Who is about to take a message, and is killed before it has. */
static void die_taking(covey_queue *q)
{
    CHECK_OK(cvy_ring_lock_get(&q->ring, INT64_MAX));
    cvy_record_note_taking(&q->ring, 1);
    raise(SIGKILL);
}

/* Who takes the lock over, and is killed before it has put anything right. */
static void die_before_repair(covey_queue *q)
{
    uint32_t dead = 0;
    CHECK_EQ(cvy_lock_wait(&q->ring.get_lock, INT64_MAX, &dead), CVY_OWNER_DIED);
    CHECK_NE(dead, 0);
    raise(SIGKILL);
}

/* There is a message of one byte still, and so many were lost. */
static void check_rest(covey_queue *q, uint64_t lost)
{
    struct covey_bytes got = {0};
    uint64_t n = 99;
    CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
    CHECK_EQ(got.size, 1);
    CHECK_OK(covey_queue_lost(q, &n)); /* sweeps the dead */
    CHECK_EQ(n, lost);
    covey_bytes_free(&got);
    covey_queue_free(q);
}

TEST(message_that_comes_after_several_deaths_is_not_lost)
{
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_NOWAIT));
    kill_one_doing(q, die_taking);
    for (int i = 0; i < 3; i++)
        kill_one_doing(q, die_before_repair);
    check_rest(q, 0);
}

/* Who has taken it and is killed before it returns loses it, whoever dies then. */
static void die_having_taken(covey_queue *q)
{
    struct cvy_item item;
    CHECK_OK(cvy_ring_lock_get(&q->ring, INT64_MAX));
    CHECK_OK(cvy_ring_look(&q->ring, 0, &item));
    cvy_ring_take(&q->ring, &item, 1);
    raise(SIGKILL);
}

TEST(message_that_was_taken_is_lost_once_after_several_deaths)
{
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    for (int i = 0; i < 3; i++)
        CHECK_OK(covey_queue_put(q, COVEY_VIEW("xyz", (size_t)i), COVEY_NOWAIT));
    kill_one_doing(q, die_having_taken);
    kill_one_doing(q, die_before_repair);
    check_rest(q, 1);
}

CHECK_MAIN()
