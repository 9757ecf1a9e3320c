/* SPDX-License-Identifier: MIT */
/* Queues: messages of all sizes between processes, limits, closing, and who is gone. */
#include "process_help.h"

static covey_queue *queue_new(size_t maxsize)
{
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, maxsize, NULL));
    return q;
}

static size_t count_of(covey_queue *q)
{
    size_t count;
    CHECK_OK(covey_queue_count(q, &count));
    return count;
}

/* Bytes that tell where they belong. */
static void fill(unsigned char *to, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (unsigned char)(seed * 31 + i * 7 + (i >> 8));
}

static void check_filled(const void *data, size_t size, unsigned seed)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)(seed * 31 + i * 7 + (i >> 8)))
            check_failed(__FILE__, __LINE__, "message %u is damaged at %zu of %zu",
                         seed, i, size);
}

/* ---- between processes ---- */

#define SIZES 12
static const size_t sizes[SIZES] = {0,    1,     15,    16,     17,     64,
                                    1000, 16384, 65536, 262144, 262145, 3000000};

static int put_all_sizes(struct covey_view arg)
{
    covey_queue *q = *(covey_queue *const *)arg.data;
    unsigned char *message = malloc(sizes[SIZES - 1]);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < SIZES; i++) {
            fill(message, sizes[i], round * SIZES + i);
            CHECK_OK(covey_queue_put(q, COVEY_VIEW(message, sizes[i]), COVEY_FOREVER));
        }
    free(message);
    return 0;
}

TEST_EACH_METHOD_AND_THREAD(messages_of_all_sizes_arrive_whole_and_in_order)
{
    covey_queue *q = queue_new(0);
    struct covey_bytes got = {0};
    covey_process *p = started(put_all_sizes, COVEY_VIEW_OF(q), OPTS());
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < SIZES; i++) {
            CHECK_OK(covey_queue_get(q, &got, COVEY_FOREVER));
            CHECK_EQ(got.size, sizes[i]);
            check_filled(got.data, got.size, round * SIZES + i);
        }
    CHECK_EQ(end_of(p), 0);
    CHECK_EQ(covey_queue_empty(q), 1);
    covey_bytes_free(&got);
    covey_queue_free(q);
}

struct traffic {
    covey_queue *to, *back;
    int id, count;
};

static int produce(struct covey_view arg)
{
    const struct traffic *t = arg.data;
    for (int i = 0; i < t->count; i++) {
        int message[2] = {t->id, i};
        CHECK_OK(covey_queue_put(t->to, COVEY_VIEW_OF(message), COVEY_FOREVER));
    }
    return 0;
}

static int pass_on(struct covey_view arg)
{
    const struct traffic *t = arg.data;
    struct covey_bytes got = {0};
    int r;
    while ((r = covey_queue_get(t->to, &got, COVEY_FOREVER)) >= 0)
        CHECK_OK(
            covey_queue_put(t->back, COVEY_VIEW(got.data, got.size), COVEY_FOREVER));
    CHECK_EQ(r, COVEY_ECLOSED);
    covey_bytes_free(&got);
    return 0;
}

#define SIDES 3
TEST_EACH_METHOD(many_producers_and_consumers_lose_and_double_nothing)
{
    enum { COUNT = 2000 };
    static unsigned char seen[SIDES][COUNT];
    struct traffic t = {queue_new(16), queue_new(0), 0, COUNT};
    covey_process *producers[SIDES], *consumers[SIDES];
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < SIDES; i++) {
        t.id = i;
        producers[i] = started(produce, COVEY_VIEW_OF(t), OPTS());
        consumers[i] = started(pass_on, COVEY_VIEW_OF(t), OPTS());
    }
    struct covey_bytes got = {0};
    for (int i = 0; i < SIDES * COUNT; i++) {
        CHECK_OK(covey_queue_get(t.back, &got, COVEY_FOREVER));
        const int *message = got.data;
        CHECK_EQ(seen[message[0]][message[1]]++, 0);
    }
    for (int i = 0; i < SIDES; i++)
        CHECK_EQ(end_of(producers[i]), 0);
    CHECK_OK(covey_queue_close(t.to));
    for (int i = 0; i < SIDES; i++)
        CHECK_EQ(end_of(consumers[i]), 0);
    CHECK_EQ(covey_queue_empty(t.back), 1);
    covey_bytes_free(&got);
    covey_queue_free(t.to);
    covey_queue_free(t.back);
}

TEST_EACH_METHOD(order_is_kept_for_each_producer)
{
    enum { COUNT = 3000 };
    struct traffic t = {queue_new(0), NULL, 0, COUNT};
    covey_process *producers[SIDES];
    int next[SIDES] = {0};
    for (int i = 0; i < SIDES; i++) {
        t.id = i;
        producers[i] = started(produce, COVEY_VIEW_OF(t), OPTS());
    }
    for (int i = 0; i < SIDES * COUNT; i++) {
        int message[2];
        size_t size;
        CHECK_OK(
            covey_queue_get_into(t.to, message, sizeof message, &size, COVEY_FOREVER));
        CHECK_EQ(message[1], next[message[0]]++);
    }
    for (int i = 0; i < SIDES; i++)
        CHECK_EQ(end_of(producers[i]), 0);
    covey_queue_free(t.to);
}

/* What is in the queue stays there when who put it is gone. */
TEST_EACH_METHOD(data_outlives_its_producer)
{
    struct traffic t = {queue_new(0), NULL, 7, 5000};
    CHECK_EQ(run(produce, COVEY_VIEW_OF(t), OPTS()), 0);
    CHECK_EQ(count_of(t.to), 5000);
    for (int i = 0; i < 5000; i++) {
        int message[2];
        size_t size;
        CHECK_OK(
            covey_queue_get_into(t.to, message, sizeof message, &size, COVEY_NOWAIT));
        CHECK_EQ(message[1], i);
    }
    covey_queue_free(t.to);
}

/* ---- limits ---- */

TEST(full_and_empty_are_told)
{
    covey_queue *q = queue_new(2);
    struct covey_bytes got = {0};
    CHECK_EQ(covey_queue_empty(q), 1);
    CHECK_ERR(covey_queue_get(q, &got, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "empty");
    CHECK_ERR(covey_queue_get(q, &got, COVEY_MSEC(10)), -ETIMEDOUT);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("a", 1), COVEY_NOWAIT));
    CHECK_EQ(covey_queue_full(q), 0);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("b", 1), COVEY_NOWAIT));
    CHECK_EQ(covey_queue_full(q), 1);
    CHECK_EQ(covey_queue_empty(q), 0);
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW("c", 1), COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "full");
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW("c", 1), COVEY_MSEC(10)), -ETIMEDOUT);
    CHECK_EQ(count_of(q), 2);
    CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
    CHECK_MEM_EQ(got.data, "a", 1);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("c", 1), COVEY_NOWAIT));
    covey_bytes_free(&got);
    covey_queue_free(q);
}

TEST(bytes_are_limited)
{
    covey_queue *q;
    char message[100] = {0};
    uint64_t bytes;
    struct covey_bytes got = {0};
    CHECK_OK(covey_queue_create(&q, 0, COVEY_QUEUE_OPTS(.max_bytes = 250)));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW(message, 100), COVEY_NOWAIT));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW(message, 100), COVEY_NOWAIT));
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW(message, 100), COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW(message, 50), COVEY_NOWAIT));
    CHECK_OK(covey_queue_bytes(q, &bytes));
    CHECK_EQ(bytes, 250);
    CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW(message, 100), COVEY_NOWAIT));
    static char large[251];
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW_OF(large), COVEY_FOREVER), -EMSGSIZE);
    covey_bytes_free(&got);
    covey_queue_free(q);
}

static int get_when_told(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    struct covey_bytes got = {0};
    covey_queue *q = *(covey_queue **)s->text;
    family_tell(&s->begun);
    family_await(&s->go, 1);
    CHECK_OK(covey_queue_get(q, &got, COVEY_FOREVER));
    covey_bytes_free(&got);
    return 0;
}

TEST_EACH_METHOD(put_waits_until_there_is_room)
{
    struct shared *s = share();
    covey_queue *q = queue_new(1);
    memcpy(s->text, &q, sizeof q);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("a", 1), COVEY_FOREVER));
    covey_process *p = started(get_when_told, COVEY_VIEW_OF(s), OPTS());
    family_await(&s->begun, 1);
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW("b", 1), COVEY_MSEC(20)), -ETIMEDOUT);
    family_tell(&s->go);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("b", 1), COVEY_FOREVER));
    CHECK_EQ(end_of(p), 0);
    CHECK_EQ(count_of(q), 1);
    covey_queue_free(q);
}

/* ---- memory ---- */

TEST(queue_grows_and_gives_memory_back)
{
    long count = family_long(100000, 1000000);
    covey_queue *q = queue_new(0);
    unsigned char message[1024];
    struct covey_bytes got = {0};
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_NOWAIT));
    CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
    uint64_t before = family_usage().used;
    for (int round = 0; round < 2; round++) {
        for (long i = 0; i < count; i++) {
            fill(message, sizeof message, (unsigned)i);
            CHECK_OK(covey_queue_put(q, COVEY_VIEW_OF(message), COVEY_NOWAIT));
        }
        CHECK_GE(family_usage().used, (uint64_t)count * sizeof message);
        for (long i = 0; i < count; i++) {
            CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
            check_filled(got.data, got.size, (unsigned)i);
        }
        /* A moment later, or it would be given back and taken again all the time. */
        CHECK_ERR(covey_queue_get(q, &got, COVEY_NOWAIT), -ETIMEDOUT);
        CHECK_GT(family_usage().used, before);
        CHECK_ERR(covey_queue_get(q, &got, COVEY_MSEC(120)), -ETIMEDOUT);
        CHECK_EQ(family_usage().used, before);
    }
    covey_bytes_free(&got);
    covey_queue_free(q);
}

/* At length more than a size that has 31 bits. */
TEST_TIMEOUT(message_of_2_gib, 120)
{
    const size_t size = family_long(1, 0) ? 64 * MIB + 1 : ((size_t)2 << 30) + 1;
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = size + 16 * MIB)));
    covey_queue *q = queue_new(0);
    struct covey_bytes got = {0};
    unsigned char *message = malloc(size);
    CHECK(message != NULL);
    memset(message, 7, size);
    message[size - 1] = 8;
    CHECK_OK(covey_queue_put(q, COVEY_VIEW(message, size), COVEY_NOWAIT));
    CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
    CHECK_EQ(got.size, size);
    CHECK(memcmp(got.data, message, size) == 0);
    free(message);
    covey_bytes_free(&got);
    covey_queue_free(q);
}

TEST(what_the_budget_cannot_hold_is_told)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 4 * MIB));
    covey_queue *q = queue_new(0);
    static char large[5 << 20], message[1 << 16];
    struct covey_bytes got = {0};
    size_t put = 0;
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW_OF(large), COVEY_FOREVER), -ENOMEM);
    while (covey_queue_put(q, COVEY_VIEW_OF(message), COVEY_NOWAIT) >= 0)
        put++;
    CHECK_GT(put, 8);
    /* Nobody else could take one out. */
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW_OF(message), COVEY_FOREVER), -ENOMEM);
    CHECK_STR_HAS(covey_error_detail(), "of its budget; the biggest: queue");
    CHECK_EQ(count_of(q), put);
    for (size_t i = 0; i < put; i++)
        CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW_OF(message), COVEY_NOWAIT));
    covey_bytes_free(&got);
    covey_queue_free(q);
}

static char three_mib[3 << 20];

static int view_until_told(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    covey_queue *q = *(covey_queue **)s->text;
    struct covey_loan loan;
    CHECK_OK(covey_queue_view(q, &loan, COVEY_FOREVER));
    family_tell(&s->begun);
    family_await(&s->go, 1);
    covey_queue_done(q, &loan);
    return 0;
}

TEST_EACH_METHOD(put_waits_for_memory_that_others_have)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = 5 * MIB)));
    struct shared *s = share();
    covey_queue *q = queue_new(0);
    memcpy(s->text, &q, sizeof q);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW_OF(three_mib), COVEY_NOWAIT));
    covey_process *p = started(view_until_told, COVEY_VIEW_OF(s), OPTS());
    family_await(&s->begun, 1);
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW_OF(three_mib), COVEY_MSEC(20)), -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "has no memory for 3145728 bytes");
    family_tell(&s->go);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW_OF(three_mib), COVEY_FOREVER));
    CHECK_EQ(end_of(p), 0);
    /* Nobody else is left who could take that one. */
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW_OF(three_mib), COVEY_FOREVER),
              COVEY_EPEERDIED);
    covey_queue_free(q);
}

TEST_EACH_METHOD(put_waits_for_memory_that_a_killed_process_had)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = 5 * MIB)));
    struct shared *s = share();
    covey_queue *q = queue_new(0);
    memcpy(s->text, &q, sizeof q);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW_OF(three_mib), COVEY_NOWAIT));
    covey_process *p = started(view_until_told, COVEY_VIEW_OF(s), OPTS());
    family_await(&s->begun, 1);
    CHECK_OK(covey_process_kill(p));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW_OF(three_mib), COVEY_FOREVER));
    CHECK_EQ(end_of(p), -SIGKILL);
    covey_queue_free(q);
}

/* ---- many, and without copies ---- */

TEST(several_at_once)
{
    covey_queue *q = queue_new(5);
    struct covey_view messages[7];
    struct covey_bytes got[7] = {{0}};
    size_t count;
    for (int i = 0; i < 7; i++)
        messages[i] = COVEY_VIEW(&"abcdefg"[i], (size_t)(7 - i));
    CHECK_ERR(covey_queue_put_many(q, messages, 7, COVEY_NOWAIT, &count), -ETIMEDOUT);
    CHECK_EQ(count, 5);
    CHECK_OK(covey_queue_get_many(q, got, 3, COVEY_NOWAIT, &count));
    CHECK_EQ(count, 3);
    CHECK_MEM_EQ(got[2].data, "cdefg", 5);
    CHECK_EQ(got[2].size, 5);
    CHECK_OK(covey_queue_get_many(q, got, 7, COVEY_FOREVER, &count));
    CHECK_EQ(count, 2);
    CHECK_ERR(covey_queue_get_many(q, got, 7, COVEY_NOWAIT, &count), -ETIMEDOUT);
    CHECK_EQ(count, 0);
    CHECK_OK(covey_queue_put_many(q, NULL, 0, COVEY_NOWAIT, &count));
    CHECK_ERR(covey_queue_get_many(q, got, 0, COVEY_NOWAIT, &count), -EINVAL);
    for (int i = 0; i < 7; i++)
        covey_bytes_free(&got[i]);
    covey_queue_free(q);
}

TEST(many_of_all_sizes_come_in_order)
{
    covey_queue *q = queue_new(0);
    struct covey_view messages[SIZES];
    unsigned char *memory[SIZES];
    struct covey_bytes got[SIZES] = {{0}};
    size_t count, next = 0;
    for (unsigned i = 0; i < SIZES; i++) {
        memory[i] = malloc(sizes[i] + 1);
        fill(memory[i], sizes[i], i);
        messages[i] = COVEY_VIEW(memory[i], sizes[i]);
    }
    CHECK_OK(covey_queue_put_many(q, messages, SIZES, COVEY_NOWAIT, NULL));
    while (next < SIZES) {
        CHECK_OK(covey_queue_get_many(q, got, SIZES, COVEY_NOWAIT, &count));
        for (size_t i = 0; i < count; i++, next++) {
            CHECK_EQ(got[i].size, sizes[next]);
            check_filled(got[i].data, got[i].size, (unsigned)next);
        }
    }
    for (unsigned i = 0; i < SIZES; i++) {
        free(memory[i]);
        covey_bytes_free(&got[i]);
    }
    covey_queue_free(q);
}

TEST(loans_are_filled_and_read_in_place)
{
    covey_queue *q = queue_new(0);
    struct covey_loan loan, view;
    uint64_t before = family_usage().used;
    CHECK_OK(covey_queue_reserve(q, 1000000, &loan));
    CHECK_EQ((uintptr_t)loan.data % 16, 0);
    fill(loan.data, 900000, 3);
    loan.size = 900000;
    void *data = loan.data;
    CHECK_OK(covey_queue_commit(q, &loan, COVEY_NOWAIT));
    CHECK(loan.data == NULL);
    CHECK_ERR(covey_queue_commit(q, &loan, COVEY_NOWAIT), -EINVAL);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("small", 5), COVEY_NOWAIT));
    CHECK_OK(covey_queue_view(q, &view, COVEY_NOWAIT));
    CHECK(view.data == data);
    CHECK_EQ(view.size, 900000);
    check_filled(view.data, view.size, 3);
    covey_queue_done(q, &view);
    covey_queue_done(q, &view);
    CHECK_OK(covey_queue_view(q, &view, COVEY_NOWAIT));
    CHECK_MEM_EQ(view.data, "small", 5);
    covey_queue_done(q, &view);
    CHECK_OK(covey_queue_reserve(q, 5000, &loan));
    loan.size = 5001;
    CHECK_ERR(covey_queue_commit(q, &loan, COVEY_NOWAIT), -EINVAL);
    covey_queue_done(q, &loan);
    CHECK_ERR(covey_queue_view(q, &view, COVEY_NOWAIT), -ETIMEDOUT);
    covey_queue_free(q);
    CHECK_LE(family_usage().used, before);
}

TEST(too_small_a_place_leaves_the_message)
{
    covey_queue *q = queue_new(0);
    char to[8];
    size_t size = 0;
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("0123456789", 10), COVEY_NOWAIT));
    CHECK_ERR(covey_queue_get_into(q, to, sizeof to, &size, COVEY_NOWAIT), -EMSGSIZE);
    CHECK_EQ(size, 10);
    CHECK_EQ(count_of(q), 1);
    char large[10];
    CHECK_OK(covey_queue_get_into(q, large, sizeof large, &size, COVEY_NOWAIT));
    CHECK_MEM_EQ(large, "0123456789", 10);
    covey_queue_free(q);
}

/* ---- the end ---- */

TEST(closed_queue_is_drained_first)
{
    covey_queue *q = queue_new(0);
    struct covey_bytes got = {0};
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("a", 1), COVEY_NOWAIT));
    CHECK_EQ(covey_queue_closed(q), 0);
    CHECK_OK(covey_queue_close(q));
    CHECK_OK(covey_queue_close(q));
    CHECK_EQ(covey_queue_closed(q), 1);
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW("b", 1), COVEY_FOREVER), COVEY_ECLOSED);
    CHECK_OK(covey_queue_get(q, &got, COVEY_FOREVER));
    CHECK_ERR(covey_queue_get(q, &got, COVEY_FOREVER), COVEY_ECLOSED);
    CHECK_ERR(covey_queue_get(q, &got, COVEY_NOWAIT), COVEY_ECLOSED);
    covey_bytes_free(&got);
    covey_queue_free(q);
}

static int get_until_closed(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    struct covey_bytes got = {0};
    family_tell(&s->begun);
    int r = covey_queue_get(*(covey_queue **)s->text, &got, COVEY_FOREVER);
    return r == COVEY_ECLOSED ? 0 : 1;
}

static int put_until_closed(struct covey_view arg)
{
    struct shared *s = shared_of(arg);
    family_tell(&s->begun);
    int r = covey_queue_put(*(covey_queue **)s->other_text, COVEY_VIEW("x", 1),
                            COVEY_FOREVER);
    return r == COVEY_ECLOSED ? 0 : 1;
}

TEST_EACH_METHOD(closing_ends_all_waits)
{
    struct shared *s = share();
    covey_queue *empty = queue_new(0), *full = queue_new(1);
    covey_process *p[4];
    memcpy(s->text, &empty, sizeof empty);
    memcpy(s->other_text, &full, sizeof full);
    CHECK_OK(covey_queue_put(full, COVEY_VIEW("x", 1), COVEY_NOWAIT));
    for (int i = 0; i < 4; i++)
        p[i] = started(i % 2 ? put_until_closed : get_until_closed, COVEY_VIEW_OF(s),
                       OPTS());
    family_await(&s->begun, 4);
    CHECK_OK(covey_queue_close(empty));
    CHECK_OK(covey_queue_close(full));
    for (int i = 0; i < 4; i++)
        CHECK_EQ(end_of(p[i]), 0);
    covey_queue_free(empty);
    covey_queue_free(full);
}

TEST_EACH_METHOD(waiting_for_nobody_ends)
{
    struct shared *s = share();
    covey_queue *q = queue_new(1);
    struct covey_bytes got = {0};
    covey_process *p = started(run_until_told, COVEY_VIEW_OF(s), OPTS());
    family_await(&s->begun, 1);
    CHECK_ERR(covey_queue_get(q, &got, COVEY_MSEC(20)), -ETIMEDOUT);
    CHECK_OK(covey_process_kill(p));
    CHECK_ERR(covey_queue_get(q, &got, COVEY_FOREVER), COVEY_EPEERDIED);
    CHECK_STR_HAS(covey_error_detail(), "no other process holds it");
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_FOREVER));
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_FOREVER), COVEY_EPEERDIED);
    CHECK_EQ(end_of(p), -SIGKILL);
    covey_bytes_free(&got);
    covey_queue_free(q);
}

TEST_EACH_METHOD(waiting_for_one_that_ends_in_order_ends)
{
    struct shared *s = share();
    covey_queue *q = queue_new(0);
    struct covey_bytes got = {0};
    covey_process *p = started(run_until_told, COVEY_VIEW_OF(s), OPTS());
    family_await(&s->begun, 1);
    family_tell(&s->go);
    CHECK_ERR(covey_queue_get(q, &got, COVEY_FOREVER), COVEY_EPEERDIED);
    CHECK_EQ(end_of(p), 0);
    covey_queue_free(q);
}

TEST(bad_arguments_are_told)
{
    covey_queue *q;
    covey_lock *lock;
    struct covey_bytes got = {0};
    size_t count;
    CHECK_ERR(covey_queue_create(NULL, 0, NULL), -EINVAL);
    CHECK_ERR(covey_queue_create(&q, SIZE_MAX, NULL), -EINVAL);
    CHECK_ERR(covey_queue_put(NULL, COVEY_NO_VIEW, COVEY_NOWAIT), -EINVAL);
    q = queue_new(0);
    CHECK_ERR(covey_queue_put(q, COVEY_VIEW(NULL, 3), COVEY_NOWAIT), -EINVAL);
    CHECK_ERR(covey_queue_get(q, NULL, COVEY_NOWAIT), -EINVAL);
    CHECK_ERR(covey_queue_get_into(q, NULL, 4, &count, COVEY_NOWAIT), -EINVAL);
    CHECK_ERR(covey_queue_count(q, NULL), -EINVAL);
    CHECK_ERR(covey_queue_lost(q, NULL), -EINVAL);
    CHECK_OK(covey_lock_create(&lock, NULL));
    CHECK_ERR(covey_queue_get((covey_queue *)lock, &got, COVEY_NOWAIT), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "is a lock, not a queue");
    covey_lock_free(lock);
    covey_queue_free(q);
    CHECK_ERR(covey_queue_put(q, COVEY_NO_VIEW, COVEY_NOWAIT), COVEY_EFREED);
    covey_queue_free(NULL);
}

/* ---- joinable and simple queues ---- */

static int work_off(struct covey_view arg)
{
    covey_joinable_queue *q = *(covey_joinable_queue *const *)arg.data;
    struct covey_bytes got = {0};
    while (covey_joinable_queue_get(q, &got, COVEY_FOREVER) >= 0)
        CHECK_OK(covey_joinable_queue_task_done(q));
    covey_bytes_free(&got);
    return 0;
}

TEST_EACH_METHOD(join_waits_until_all_is_worked_off)
{
    covey_joinable_queue *q;
    covey_process *p[2];
    CHECK_OK(covey_joinable_queue_create(&q, 0, NULL));
    CHECK_OK(covey_joinable_queue_join(q, COVEY_FOREVER));
    for (int i = 0; i < 2; i++)
        p[i] = started(work_off, COVEY_VIEW_OF(q), OPTS());
    for (int i = 0; i < 1000; i++)
        CHECK_OK(covey_joinable_queue_put(q, COVEY_VIEW_OF(i), COVEY_FOREVER));
    CHECK_OK(covey_joinable_queue_join(q, COVEY_FOREVER));
    CHECK_EQ(count_of(covey_joinable_queue_queue(q)), 0);
    CHECK_ERR(covey_joinable_queue_task_done(q), COVEY_ERELEASED);
    CHECK_OK(covey_queue_close(covey_joinable_queue_queue(q)));
    for (int i = 0; i < 2; i++)
        CHECK_EQ(end_of(p[i]), 0);
    covey_joinable_queue_free(q);
}

static int take_three_and_die(struct covey_view arg)
{
    covey_joinable_queue *q = *(covey_joinable_queue *const *)arg.data;
    struct covey_bytes got = {0};
    for (int i = 0; i < 4; i++)
        CHECK_OK(covey_joinable_queue_get(q, &got, COVEY_FOREVER));
    CHECK_OK(covey_joinable_queue_task_done(q));
    raise(SIGKILL);
    return 0;
}

TEST_EACH_METHOD(join_returns_though_a_consumer_died)
{
    covey_joinable_queue *q;
    uint64_t abandoned;
    struct covey_bytes got = {0};
    CHECK_OK(covey_joinable_queue_create(&q, 0, NULL));
    for (int i = 0; i < 5; i++)
        CHECK_OK(covey_joinable_queue_put(q, COVEY_VIEW_OF(i), COVEY_FOREVER));
    CHECK_ERR(covey_joinable_queue_join(q, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_EQ(run(take_three_and_die, COVEY_VIEW_OF(q), OPTS()), -SIGKILL);
    CHECK_ERR(covey_joinable_queue_join(q, COVEY_MSEC(10)), -ETIMEDOUT);
    CHECK_OK(covey_joinable_queue_get(q, &got, COVEY_NOWAIT));
    CHECK_OK(covey_joinable_queue_task_done(q));
    CHECK_OK(covey_joinable_queue_join(q, COVEY_FOREVER));
    CHECK_OK(covey_joinable_queue_abandoned(q, &abandoned));
    CHECK_EQ(abandoned, 3);
    covey_bytes_free(&got);
    covey_joinable_queue_free(q);
}

static int echo(struct covey_view arg)
{
    covey_simple_queue *const *q = arg.data;
    struct covey_bytes got = {0};
    while (covey_simple_queue_get(q[0], &got) >= 0)
        CHECK_OK(covey_simple_queue_put(q[1], COVEY_VIEW(got.data, got.size)));
    covey_bytes_free(&got);
    return 0;
}

TEST_EACH_METHOD(simple_queue_echoes)
{
    covey_simple_queue *q[2];
    struct covey_bytes got = {0};
    CHECK_OK(covey_simple_queue_create(&q[0]));
    CHECK_OK(covey_simple_queue_create(&q[1]));
    covey_process *p = started(echo, COVEY_VIEW_OF(q), OPTS());
    for (int i = 0; i < 100; i++) {
        CHECK_OK(covey_simple_queue_put(q[0], COVEY_VIEW_OF(i)));
        CHECK_OK(covey_simple_queue_get(q[1], &got));
        CHECK_MEM_EQ(got.data, &i, sizeof i);
    }
    CHECK_EQ(covey_simple_queue_empty(q[1]), 1);
    CHECK_OK(covey_simple_queue_close(q[0]));
    CHECK_ERR(covey_simple_queue_put(q[0], COVEY_NO_VIEW), COVEY_ECLOSED);
    CHECK_EQ(end_of(p), 0);
    covey_bytes_free(&got);
    covey_simple_queue_free(q[0]);
    covey_simple_queue_free(q[1]);
}

CHECK_MAIN()
