/* SPDX-License-Identifier: MIT */
/* Whoever is woken for a message, or for room, and runs out of time at the lock, wakes
 * another one in its place. The family's slices are too long to help. */
#include "channel/conn.h"
#include "sync_help.h"

#define IN_TIME COVEY_SEC(15)

static int get_one(struct covey_view arg)
{
    struct covey_bytes got = {0};
    CHECK_OK(covey_queue_get(stage_of(arg)->object, &got, IN_TIME));
    covey_bytes_free(&got);
    return 0;
}

static int put_one(struct covey_view arg)
{
    CHECK_OK(covey_queue_put(stage_of(arg)->object, COVEY_VIEW("y", 1), IN_TIME));
    return 0;
}

static int receive_one(struct covey_view arg)
{
    struct covey_bytes got = {0};
    CHECK_OK(covey_conn_recv(stage_of(arg)->other, &got, IN_TIME));
    covey_bytes_free(&got);
    return 0;
}

static int send_one(struct covey_view arg)
{
    CHECK_OK(covey_conn_send(stage_of(arg)->object, COVEY_VIEW("y", 1), IN_TIME));
    return 0;
}

/* Put, or take, something, and wake nobody: as who dies before that. */
static void put_silently(struct cvy_ring *ring)
{
    struct covey_view message = COVEY_VIEW("x", 1);
    CHECK_OK(cvy_ring_lock_put(ring, INT64_MAX));
    CHECK_OK(cvy_ring_put(ring, &message, 1));
    cvy_ring_unlock_put(ring);
}

static void take_silently(struct cvy_ring *ring)
{
    struct cvy_item item;
    CHECK_OK(cvy_ring_lock_get(ring, INT64_MAX));
    CHECK_OK(cvy_ring_look(ring, 0, &item));
    cvy_ring_take(ring, &item, 1);
    cvy_ring_arrived();
    cvy_ring_unlock_get(ring);
}

TEST_EACH_METHOD(getter_that_runs_out_of_time_at_the_lock_wakes_another)
{
    struct stage *s = stage_with_bell_only();
    struct covey_bytes got = {0};
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    s->object = q;
    covey_process *p = acting(get_one, s);
    await_sleepers(q, 1);
    put_silently(&q->ring);
    CHECK_OK(cvy_ring_lock_get(&q->ring, INT64_MAX));
    CHECK_ERR(covey_queue_get(q, &got, COVEY_NOWAIT), -ETIMEDOUT);
    cvy_ring_unlock_get(&q->ring);
    CHECK_EQ(end_of(p), 0);
    covey_queue_free(q);
}

TEST_EACH_METHOD(putter_that_runs_out_of_time_at_the_lock_wakes_another)
{
    struct stage *s = stage_with_bell_only();
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 1, NULL));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_NOWAIT));
    s->object = q;
    covey_process *p = acting(put_one, s);
    await_sleepers(q, 1);
    take_silently(&q->ring);
    CHECK_OK(cvy_ring_lock_put(&q->ring, INT64_MAX));
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW("z", 1), COVEY_NOWAIT), -ETIMEDOUT);
    cvy_ring_unlock_put(&q->ring);
    CHECK_EQ(end_of(p), 0);
    covey_queue_free(q);
}

static void use_up_memory(covey_queue *q)
{
    struct covey_loan loan;
    for (size_t size = MIB; size >= 1024; size /= 4)
        while (covey_queue_reserve(q, size, &loan) >= 0)
            continue;
}

TEST_EACH_METHOD(putter_for_which_there_is_no_memory_wakes_another)
{
    static char large[CVY_LARGEST_RECORD / 2];
    covey_queue *q;
    CHECK_OK(covey_family_configure(
        COVEY_FAMILY_OPTS(.slice = COVEY_SEC(100), .budget = 8 * MIB)));
    struct stage *s = stage_made();
    CHECK_OK(covey_queue_create(&q, 1, NULL));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_NOWAIT));
    s->object = q;
    covey_process *p = acting(put_one, s);
    await_sleepers(q, 1);
    use_up_memory(q);
    take_silently(&q->ring);
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW_OF(large), COVEY_NOWAIT), -ENOMEM);
    CHECK_EQ(end_of(p), 0);
    covey_queue_free(q);
}

static struct cvy_way *pipe_made(struct stage *s, struct cvy_pipe **ret_pipe)
{
    covey_conn *from, *to;
    CHECK_OK(covey_pipe_create(&from, &to, COVEY_PIPE_OPTS(.capacity = 1)));
    s->object = from;
    s->other = to;
    struct cvy_end *end = (struct cvy_end *)(void *)from;
    *ret_pipe = cvy_pipe_of(end);
    return &(*ret_pipe)->ways[end->index];
}

static void pipe_free(struct stage *s)
{
    covey_conn_free(s->object);
    covey_conn_free(s->other);
}

TEST_EACH_METHOD(receiver_that_runs_out_of_time_at_the_lock_wakes_another)
{
    struct stage *s = stage_with_bell_only();
    struct covey_bytes got = {0};
    struct cvy_pipe *pipe;
    struct cvy_way *way = pipe_made(s, &pipe);
    covey_process *p = acting(receive_one, s);
    await_sleepers(pipe, 1);
    put_silently(&way->ring);
    CHECK_OK(cvy_ring_lock_get(&way->ring, INT64_MAX));
    CHECK_ERR(covey_conn_recv(s->other, &got, COVEY_NOWAIT), -ETIMEDOUT);
    cvy_ring_unlock_get(&way->ring);
    CHECK_EQ(end_of(p), 0);
    pipe_free(s);
}

TEST_EACH_METHOD(sender_that_runs_out_of_time_at_the_lock_wakes_another)
{
    struct stage *s = stage_with_bell_only();
    struct cvy_pipe *pipe;
    struct cvy_way *way = pipe_made(s, &pipe);
    CHECK_OK(covey_conn_send(s->object, COVEY_VIEW("x", 1), COVEY_NOWAIT));
    covey_process *p = acting(send_one, s);
    await_sleepers(pipe, 1);
    take_silently(&way->ring);
    CHECK_OK(cvy_ring_lock_put(&way->ring, INT64_MAX));
    CHECK_ERR(covey_conn_send(s->object, COVEY_VIEW("z", 1), COVEY_NOWAIT), -ETIMEDOUT);
    cvy_ring_unlock_put(&way->ring);
    CHECK_EQ(end_of(p), 0);
    pipe_free(s);
}

CHECK_MAIN()
