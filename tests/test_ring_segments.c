/* SPDX-License-Identifier: MIT */
/* When the rings of queues and pipes lead on to other segments: in streams to a wide one,
 * and in time before their positions come near to what 48 bits of offset hold. */
#include "channel/conn.h"
#include "channel/record.h"
#include "process_help.h"

#define IN_FLIGHT 50

/* As if `ring`, which is in one segment, had carried so many bytes more that its tail is a
 * little before `offset`. */
static void carry_up_to(struct cvy_ring *ring, uint64_t offset)
{
    const struct cvy_segment *s =
        cvy_ring_segment(ring, cvy_position_number_of(ring->tail));
    CHECK_EQ(cvy_position_number_of(ring->head), cvy_position_number_of(ring->tail));
    uint64_t more = offset - s->capacity - cvy_position_offset_of(ring->tail);
    more -= more % s->capacity;
    ring->tail += more;
    ring->head += more;
    ring->head_seen = ring->head;
}

/* As if it had led on often: its segment has the last number, or one a little before, that
 * has the same place among the segments. */
static void lead_up_to_the_last_number(struct cvy_ring *ring)
{
    uint16_t number = cvy_position_number_of(ring->tail);
    uint16_t more = (uint16_t)((UINT16_MAX - number) / CVY_SEGMENTS * CVY_SEGMENTS);
    CHECK_EQ(cvy_position_number_of(ring->head), number);
    ring->tail += cvy_position_start_of(more);
    ring->head += cvy_position_start_of(more);
    ring->head_seen = ring->head;
    ring->first_segment = cvy_position_number_of(ring->head);
}

static void check_head(void)
{
    CHECK_EQ(cvy_head->magic, CVY_MAGIC);
    CHECK_EQ(cvy_head->layout, CVY_LAYOUT);
    family_check();
}

/* Something that messages go through. */
struct channel {
    covey_queue *queue; /* or */
    covey_conn *from, *to;
    struct cvy_ring *ring;
    struct covey_bytes got;
    uint32_t next_put, next_got;
};

static struct channel of_queue(covey_queue *q)
{
    return (struct channel){.queue = q, .ring = &q->ring};
}

static struct channel of_pipe(void)
{
    struct channel c = {0};
    CHECK_OK(covey_pipe_create(&c.from, &c.to, NULL));
    c.ring = cvy_pipe_ring((struct cvy_end *)(void *)c.to);
    return c;
}
static void end_pipe(struct channel *c)
{
    covey_bytes_free(&c->got);
    covey_conn_free(c->from);
    covey_conn_free(c->to);
}

static void put(struct channel *c, size_t size)
{
    static uint32_t message[10000];
    message[0] = message[size / sizeof *message - 1] = c->next_put++;
    struct covey_view m = COVEY_VIEW(message, size);
    CHECK_OK(c->queue ? covey_queue_put(c->queue, m, COVEY_NOWAIT)
                      : covey_conn_send(c->from, m, COVEY_NOWAIT));
}

static void get(struct channel *c, size_t size)
{
    CHECK_OK(c->queue ? covey_queue_get(c->queue, &c->got, COVEY_NOWAIT)
                      : covey_conn_recv(c->to, &c->got, COVEY_NOWAIT));
    const uint32_t *number = c->got.data;
    CHECK_EQ(c->got.size, size);
    CHECK_EQ(number[0], c->next_got);
    CHECK_EQ(number[size / sizeof *number - 1], c->next_got);
    c->next_got++;
}

/* Twice round its ring, with some on their way. */
static void pass(struct channel *c, size_t size)
{
    const struct cvy_segment *s =
        cvy_ring_segment(c->ring, cvy_position_number_of(c->ring->tail));
    uint64_t rounds = 2 * s->capacity / size;
    for (uint64_t i = 0; i < rounds + IN_FLIGHT; i++) {
        if (i < rounds)
            put(c, size);
        if (i >= IN_FLIGHT)
            get(c, size);
        CHECK_LT(cvy_position_offset_of(c->ring->tail),
                 CVY_POSITION_FAR + CVY_FIRST_SEGMENT);
    }
}

/* With so little memory that no ring gets a wide segment. */
static void found_small(void)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 16 * MIB));
}

/* Several times past the bound: the memory that is used does not grow by that. */
static void pass_often(struct channel *c)
{
    uint64_t used = 0;
    put(c, 24);
    get(c, 24);
    for (uint32_t i = 0; i < 3 * CVY_SEGMENTS; i++) {
        uint16_t number = cvy_position_number_of(c->ring->tail);
        carry_up_to(c->ring, CVY_POSITION_FAR);
        pass(c, 24);
        CHECK_EQ(cvy_position_number_of(c->ring->tail), (uint16_t)(number + 1));
        CHECK_LT(cvy_position_offset_of(c->ring->tail), 3 * CVY_FIRST_SEGMENT);
        if (i == CVY_SEGMENTS)
            lead_up_to_the_last_number(c->ring);
        if (i == 0)
            used = family_usage().used;
        CHECK_EQ(family_usage().used, used);
    }
    CHECK_LT(cvy_position_number_of(c->ring->tail), 3 * CVY_SEGMENTS);
    check_head();
    covey_bytes_free(&c->got);
}

TEST(queue_leads_on_before_its_positions_overflow)
{
    found_small();
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    struct channel c = of_queue(q);
    pass_often(&c);
    covey_queue_free(q);
}

TEST(queue_with_limits_leads_on_before_its_positions_overflow)
{
    found_small();
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, IN_FLIGHT + 1,
                                COVEY_QUEUE_OPTS(.max_bytes = UINT64_C(24) * 60)));
    struct channel c = of_queue(q);
    pass_often(&c);
    covey_queue_free(q);
}

TEST(pipe_leads_on_before_its_positions_overflow)
{
    found_small();
    struct channel c = of_pipe();
    pass_often(&c);
    end_pipe(&c);
}

/* A large ring leads on to one as large, which grows, and goes back when it is empty. */
TEST(large_ring_leads_on_grows_and_goes_back)
{
    family_found(NULL);
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    struct channel c = of_queue(q);
    cvy_ring_keeps = 0;
    put(&c, 24);
    get(&c, 24);
    uint64_t used = family_usage().used;
    for (int round = 0; round < 2 * (int)CVY_SEGMENTS; round++) {
        int count = 1;
        put(&c, 40000);
        for (bool has_grown = false; !has_grown;
             count++) { /* and one behind the first */
            has_grown = cvy_position_number_of(q->ring.tail) !=
                        cvy_position_number_of(q->ring.head);
            put(&c, 40000);
        }
        for (; q->ring.first_segment != cvy_position_number_of(q->ring.tail); count--)
            get(&c, 40000);
        carry_up_to(&q->ring, CVY_POSITION_FAR);
        for (; count < 100; count++) /* in three segments at last */
            put(&c, 40000);
        CHECK_GT(cvy_position_number_of(q->ring.tail),
                 cvy_position_number_of(q->ring.head) + 1);
        for (; count > 0; count--)
            get(&c, 40000);
        CHECK_ERR(covey_queue_get(q, &c.got, COVEY_NOWAIT), -ETIMEDOUT);
        CHECK_ERR(covey_queue_get(q, &c.got, COVEY_NOWAIT), -ETIMEDOUT);
        CHECK_EQ(family_usage().used, used);
    }
    check_head();
    covey_bytes_free(&c.got);
    covey_queue_free(q);
}

/* Without memory it goes on where it is as long as it can. */
TEST(ring_stays_far_when_there_is_no_memory)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 4 * MIB));
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    struct channel c = of_queue(q);
    struct covey_loan loans[1024];
    size_t count = 0;
    put(&c, 24);
    get(&c, 24);
    while (count < 1024 && covey_queue_reserve(q, 4096, &loans[count]) >= 0)
        count++;
    CHECK_LT(count, 1024);
    carry_up_to(&q->ring, CVY_POSITION_FAR + 2 * CVY_FIRST_SEGMENT);
    for (int i = 0; i < 5000; i++) {
        put(&c, 24);
        get(&c, 24);
    }
    CHECK_EQ(cvy_position_number_of(q->ring.tail), 0);
    carry_up_to(&q->ring, CVY_POSITION_LAST + 2 * CVY_FIRST_SEGMENT);
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_NOWAIT), -ENOMEM);
    while (count)
        covey_queue_done(q, &loans[--count]);
    put(&c, 24);
    get(&c, 24);
    CHECK_EQ(cvy_position_number_of(q->ring.tail), 1);
    check_head();
    covey_bytes_free(&c.got);
    covey_queue_free(q);
}

static uint64_t capacity_at_the_tail(const struct channel *c)
{
    return cvy_ring_segment(c->ring, cvy_position_number_of(c->ring->tail))->capacity;
}

/* Twice what makes a stream, with `in_flight` messages on their way. */
static void stream(struct channel *c, uint64_t in_flight)
{
    uint64_t rounds = 2 * CVY_STREAM_BYTES / 1024;
    for (uint64_t i = 0; i < rounds + in_flight; i++) {
        if (i < rounds)
            put(c, 1024);
        if (i >= in_flight)
            get(c, 1024);
    }
}

TEST(stream_gets_a_wide_segment_until_it_rests)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 1024 * MIB));
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    struct channel c = of_queue(q);
    cvy_ring_keeps = 0;
    stream(&c, 0);
    uint64_t used = family_usage().used;
    CHECK_EQ(capacity_at_the_tail(&c), CVY_FIRST_SEGMENT);
    for (int round = 0; round < 3; round++) {
        stream(&c, IN_FLIGHT);
        CHECK_EQ(capacity_at_the_tail(&c), CVY_STREAM_SEGMENT);
        CHECK_EQ(family_usage().used, used + CVY_STREAM_SEGMENT);
        stream(&c, IN_FLIGHT);
        CHECK_EQ(family_usage().used, used + CVY_STREAM_SEGMENT);
        CHECK_ERR(covey_queue_get(q, &c.got, COVEY_NOWAIT), -ETIMEDOUT);
        CHECK_ERR(covey_queue_get(q, &c.got, COVEY_NOWAIT), -ETIMEDOUT);
        CHECK_EQ(family_usage().used, used);
    }
    check_head();
    covey_bytes_free(&c.got);
    covey_queue_free(q);
}

/* Who waits for several things gives memory back like who waits for one. */
TEST(stream_that_is_waited_for_gives_memory_back)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 1024 * MIB));
    struct channel c = of_pipe();
    cvy_ring_keeps = 0;
    put(&c, 24);
    get(&c, 24);
    uint64_t used = family_usage().used;
    stream(&c, IN_FLIGHT);
    CHECK_EQ(family_usage().used, used + CVY_STREAM_SEGMENT);
    struct covey_wait_item item = {.kind = COVEY_WAIT_CONN, .object = c.to};
    CHECK_ERR(covey_wait(&item, 1, COVEY_MSEC(1), NULL), -ETIMEDOUT);
    CHECK_EQ(family_usage().used, used);
    end_pipe(&c);
}

/* One that leads on, without a message: its producer died then. */
TEST(pipe_that_only_leads_on_is_empty)
{
    family_found(NULL);
    struct channel c = of_pipe();
    put(&c, 24);
    get(&c, 24);
    uint64_t tail = atomic_load(&c.ring->tail);
    atomic_store(&cvy_record_at(c.ring, tail + 64)->word, 0);
    atomic_store(&cvy_record_at(c.ring, tail)->word,
                 cvy_record_word(1, CVY_RECORD_PAD, 64 - CVY_RECORD_HEADER));
    atomic_store(&c.ring->tail, tail + 64);
    CHECK_ERR(covey_conn_poll(c.to, COVEY_NOWAIT), -ETIMEDOUT);
    put(&c, 24);
    CHECK_OK(covey_conn_poll(c.to, COVEY_NOWAIT));
    get(&c, 24);
    end_pipe(&c);
}

TEST(stream_of_a_pipe_gets_a_wide_segment)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 1024 * MIB));
    struct channel c = of_pipe();
    stream(&c, IN_FLIGHT);
    CHECK_EQ(capacity_at_the_tail(&c), CVY_STREAM_SEGMENT);
    check_head();
    end_pipe(&c);
}

TEST(stream_stays_narrow_where_memory_is_scarce)
{
    found_small();
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    struct channel c = of_queue(q);
    stream(&c, IN_FLIGHT);
    stream(&c, IN_FLIGHT);
    CHECK_EQ(capacity_at_the_tail(&c), CVY_FIRST_SEGMENT);
    CHECK_EQ(cvy_position_number_of(q->ring.tail), 0);
    check_head();
    covey_bytes_free(&c.got);
    covey_queue_free(q);
}

/* ---- how much goes into a pipe that nobody reads ---- */

static int count_sends(covey_conn *from, size_t size)
{
    static char data[100000];
    int r, count = 0;
    while ((r = covey_conn_send(from, COVEY_VIEW(data, size), COVEY_NOWAIT)) >= 0)
        count++;
    CHECK_EQ(r, -ETIMEDOUT);
    return count;
}

TEST(pipe_holds_a_mebibyte_by_default)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 1024 * MIB));
    struct channel c = of_pipe();
    CHECK_EQ(count_sends(c.from, 65536 - CVY_PIPE_MESSAGE_COST), 16);
    end_pipe(&c);
}

TEST(pipe_of_a_small_family_leaves_room_for_others)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 2 * MIB));
    struct channel c = of_pipe();
    covey_queue *q;
    CHECK_EQ(count_sends(c.from, 1024 - CVY_PIPE_MESSAGE_COST), 64);
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_NOWAIT));
    covey_queue_free(q);
    end_pipe(&c);
}

CHECK_MAIN()
