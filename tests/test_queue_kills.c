/* SPDX-License-Identifier: MIT */
/* Processes killed at any instruction of what they do to a queue: nothing is torn, doubled
 * or out of order, what is missing is what the dead one had taken, and that is counted. */
#include <stdarg.h>

#include "channel/queue.h"
#include "channel/record.h"
#include "family.h"
#include "kill_points.h"

/* What is about to happen, and what has; the last in memory shared with the victim. */
static struct operation {
    covey_queue *queue;
    size_t size;    /* of each message */
    int preloaded;  /* messages put before the operation, numbers 0 ... */
    int puts, gets; /* what the operation does at most */
    bool closes;    /* the queue is closed */
    /* So much has gone through the ring that it leads on, if it is not 0. */
    uint64_t carried;
    struct covey_loan loan;
    cvy_word *returned;
    long unclear; /* points at which it is not known whether a get has returned */
} operation;

static struct covey_family_usage start;
static unsigned char message[400000];
static char text[200];

static struct covey_view message_of(int number, size_t size)
{
    for (size_t i = 0; i < size; i++)
        message[i] = (unsigned char)(number * 37 + (int)(i % 251));
    return COVEY_VIEW(message, size);
}

static int number_in(const struct covey_bytes *got, size_t size, int next)
{
    if (!size && !got->size)
        return next; /* they are all alike */
    const unsigned char *bytes = got->data;
    for (int number = 0; number < 8 && got->size == size; number++) {
        size_t i = 0;
        while (i < size && bytes[i] == (unsigned char)(number * 37 + (int)(i % 251)))
            i++;
        if (i == size)
            return number;
    }
    return -1;
}

static const char *wrong(const char *format, ...) COVEY_PRINTF(1, 2);
static const char *wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return text;
}

/* ---- before and after ---- */

static void set_up(void *context)
{
    struct operation *o = context;
    start = family_usage();
    cvy_ring_part = 1;
    CHECK_OK(covey_queue_create(&o->queue, 0, NULL));
    for (int i = 0; i < o->preloaded; i++)
        CHECK_OK(covey_queue_put(o->queue, message_of(i, o->size), COVEY_NOWAIT));
    struct cvy_ring *ring = &o->queue->ring;
    ring->tail += o->carried;
    ring->head += o->carried;
    ring->head_seen += o->carried;
    atomic_store(o->returned, 0);
}

/* Take all there is. The numbers must rise by one each. */
static const char *drain(struct operation *o, int *ret_first, int *ret_count)
{
    struct covey_bytes got = {0};
    int r, next = -1;
    *ret_count = 0;
    *ret_first = -1;
    while ((r = covey_queue_get(o->queue, &got, COVEY_NOWAIT)) >= 0) {
        int number =
            number_in(&got, o->size, next < 0 ? o->preloaded - *ret_count : next);
        if (number < 0)
            return wrong("message %d of %zu bytes is torn", *ret_count, got.size);
        if (next >= 0 && number != next)
            return wrong("message %d came where %d was due", number, next);
        if (next < 0)
            *ret_first = number;
        next = number + 1;
        ++*ret_count;
    }
    covey_bytes_free(&got);
    return r == -ETIMEDOUT || r == COVEY_ECLOSED ? NULL : covey_error_detail();
}

static const char *check_counts(struct operation *o, int first, int count,
                                uint64_t lost)
{
    int taken = first < 0 ? o->preloaded : first, all = o->preloaded + o->puts;
    if (first < 0 && count == 0)
        taken = o->preloaded; /* all of them, or none was there */
    if (o->gets == 0 && count != 0 && first != 0)
        return wrong("%d messages are missing, though nothing was got", first);
    if (taken > o->gets)
        return wrong("%d messages are missing, %d were got", taken, o->gets);
    if (count + taken != o->preloaded && count + taken != all)
        return wrong("%d messages are there, %d were taken", count, taken);
    if (lost > (uint64_t)taken || (lost && lost < (uint64_t)taken))
        return wrong("%d were taken, %ld are said to be lost", taken, (long)lost);
    if (taken && !lost && !atomic_load(o->returned))
        o->unclear++;
    if (lost && atomic_load(o->returned))
        return wrong("%d were got and returned, but %ld lost", taken, (long)lost);
    return NULL;
}

static const char *check_queue(void *context)
{
    struct operation *o = context;
    int first, count;
    uint64_t lost;
    size_t said;
    CHECK_OK(covey_queue_lost(o->queue, &lost));
    CHECK_OK(covey_queue_count(o->queue, &said));
    const char *is_wrong = drain(o, &first, &count);
    if (!is_wrong && (int)said != count)
        is_wrong = wrong("%zu messages were said to be there, it were %d", said, count);
    if (!is_wrong)
        is_wrong = check_counts(o, first, count, lost);
    /* It works as before. */
    int r = covey_queue_put(o->queue, message_of(5, o->size), COVEY_SEC(2));
    if (!is_wrong && r < 0 && !(o->closes && r == COVEY_ECLOSED))
        is_wrong = covey_error_detail();
    if (!is_wrong && r >= 0 &&
        (drain(o, &first, &count) || count != 1 || (o->size && first != 5)))
        is_wrong = wrong("one put gave %d messages, the first is %d", count, first);
    if (r >= 0)
        (void)drain(o, &first, &count);
    covey_queue_free(o->queue);
    cvy_members_sweep();
    struct covey_family_usage now = family_usage();
    if (!is_wrong && (now.used != start.used || now.objects != start.objects))
        is_wrong = wrong("%ld bytes in use, not %ld", (long)now.used, (long)start.used);
    return is_wrong;
}

static void enter(void *unused)
{
    (void)unused;
    CHECK_OK(cvy_enter());
}

/* How many points: those of large messages have many instructions of copying. */
static long points_of(const struct operation *what)
{
    if (what->size > 200000)
        return family_long(2, 60);
    return what->size < 20000 ? family_long(25, 0) : family_long(5, 400);
}

static void kill_at_each(const char *name, struct operation what,
                         void (*prepare)(void *), void (*operate)(void *))
{
    operation = what;
    operation.returned = family_shared(sizeof *operation.returned);
    struct kill_points points = {.name = name,
                                 .before = set_up,
                                 .prepare = prepare,
                                 .operate = operate,
                                 .after = check_queue,
                                 .context = &operation};
    long count = kill_points_run(&points, points_of(&what));
    CHECK_LE(operation.unclear, count / 2);
    if (family_long(0, 1))
        CHECK_LE(operation.unclear, 60);
}

static void begin(void)
{
    kill_points_need();
    family_found(NULL);
    cvy_ring_keeps = 0; /* attempts that find nothing give memory back at once */
    covey_queue *warm;  /* what only the first queue needs */
    CHECK_OK(covey_queue_create(&warm, 0, NULL));
    CHECK_OK(covey_queue_put(warm, COVEY_NO_VIEW, COVEY_NOWAIT));
    covey_queue_free(warm);
}

/* ---- put ---- */

static void put(void *context)
{
    struct operation *o = context;
    (void)covey_queue_put(o->queue, COVEY_VIEW(message, o->size), COVEY_NOWAIT);
}

static void prepare_put(void *context)
{
    struct operation *o = context;
    enter(NULL);
    (void)message_of(o->preloaded, o->size);
}

static void put_two(void *context)
{
    struct operation *o = context;
    static unsigned char second[1000];
    struct covey_view messages[2] = {COVEY_VIEW(message, o->size),
                                     COVEY_VIEW(second, o->size)};
    for (size_t i = 0; i < o->size; i++)
        second[i] = (unsigned char)((o->preloaded + 1) * 37 + (int)(i % 251));
    (void)covey_queue_put_many(o->queue, messages, 2, COVEY_NOWAIT, NULL);
}

static void close_queue(void *context)
{
    (void)covey_queue_close(((struct operation *)context)->queue);
}

TEST_TIMEOUT(killed_while_putting, 600)
{
    begin();
    kill_at_each("put", (struct operation){.size = 64, .preloaded = 2, .puts = 1},
                 prepare_put, put);
    kill_at_each("put, the first", (struct operation){.size = 64, .puts = 1},
                 prepare_put, put);
    kill_at_each("put, nothing", (struct operation){.preloaded = 0, .puts = 1},
                 prepare_put, put);
    kill_at_each("put two", (struct operation){.size = 64, .preloaded = 2, .puts = 2},
                 prepare_put, put_two);
}

TEST_TIMEOUT(killed_while_growing, 600)
{
    begin();
    kill_at_each("put, grows",
                 (struct operation){.size = 25000, .preloaded = 2, .puts = 1},
                 prepare_put, put);
    kill_at_each("put, an extent",
                 (struct operation){.size = 300000, .preloaded = 2, .puts = 1},
                 prepare_put, put);
    kill_at_each(
        "put, far on",
        (struct operation){
            .size = 64, .preloaded = 2, .puts = 1, .carried = CVY_POSITION_FAR},
        prepare_put, put);
    kill_at_each(
        "put, in a stream",
        (struct operation){
            .size = 64, .preloaded = 6, .puts = 1, .carried = CVY_STREAM_BYTES},
        prepare_put, put);
}

TEST_TIMEOUT(killed_while_closing, 600)
{
    begin();
    kill_at_each("close",
                 (struct operation){.size = 64, .preloaded = 2, .closes = true}, enter,
                 close_queue);
}

/* ---- get ---- */

static void get(void *context)
{
    struct operation *o = context;
    static struct covey_bytes got;
    if (covey_queue_get(o->queue, &got, COVEY_NOWAIT) >= 0)
        atomic_store(o->returned, 1);
}

/* Room for the message first, so that no allocator is stepped through. */
static unsigned char room[400000];

static void get_into(void *context)
{
    struct operation *o = context;
    size_t size;
    if (covey_queue_get_into(o->queue, room, sizeof room, &size, COVEY_NOWAIT) >= 0)
        atomic_store(o->returned, 1);
}

static void get_two(void *context)
{
    struct operation *o = context;
    static struct covey_bytes got[2];
    size_t count;
    got[0] = (struct covey_bytes){room, 0, 1000};
    got[1] = (struct covey_bytes){room + 1000, 0, 1000};
    if (covey_queue_get_many(o->queue, got, 2, COVEY_NOWAIT, &count) >= 0)
        atomic_store(o->returned, 1);
}

static void view(void *context)
{
    struct operation *o = context;
    struct covey_loan loan;
    if (covey_queue_view(o->queue, &loan, COVEY_NOWAIT) >= 0)
        atomic_store(o->returned, 1);
}

TEST_TIMEOUT(killed_while_getting, 600)
{
    begin();
    kill_at_each("get", (struct operation){.size = 64, .preloaded = 3, .gets = 1},
                 enter, get_into);
    kill_at_each("get, allocating",
                 (struct operation){.size = 64, .preloaded = 3, .gets = 1}, enter, get);
    kill_at_each("get, the last",
                 (struct operation){.size = 64, .preloaded = 1, .gets = 1}, enter,
                 get_into);
    kill_at_each("get two", (struct operation){.size = 64, .preloaded = 4, .gets = 2},
                 enter, get_two);
}

TEST_TIMEOUT(killed_while_getting_large_ones, 600)
{
    begin();
    kill_at_each("get, behind a jump",
                 (struct operation){.size = 60000, .preloaded = 3, .gets = 1}, enter,
                 get_into);
    kill_at_each("get, an extent",
                 (struct operation){.size = 300000, .preloaded = 2, .gets = 1}, enter,
                 get_into);
    kill_at_each("view", (struct operation){.size = 300000, .preloaded = 2, .gets = 1},
                 enter, view);
}

/* An attempt that finds nothing gives memory back. */
static void empty_it(void *context)
{
    struct operation *o = context;
    size_t size;
    enter(NULL);
    while (covey_queue_get_into(o->queue, room, sizeof room, &size, COVEY_NOWAIT) >= 0)
        continue;
    for (int i = 0; i < 3; i++)
        CHECK_OK(covey_queue_put(o->queue, message_of(i, 60000), COVEY_NOWAIT));
    for (int i = 0; i < 3; i++)
        CHECK_OK(
            covey_queue_get_into(o->queue, room, sizeof room, &size, COVEY_NOWAIT));
}

static void get_nothing(void *context)
{
    struct operation *o = context;
    size_t size;
    (void)covey_queue_get_into(o->queue, room, sizeof room, &size, COVEY_NOWAIT);
}

TEST_TIMEOUT(killed_while_giving_memory_back, 600)
{
    begin();
    kill_at_each("get, nothing there", (struct operation){.size = 64}, empty_it,
                 get_nothing);
}

/* ---- loans ---- */

static void reserve(void *context)
{
    struct operation *o = context;
    enter(NULL);
    CHECK_OK(covey_queue_reserve(o->queue, o->size, &o->loan));
    struct covey_view m = message_of(o->preloaded, o->size);
    memcpy(o->loan.data, m.data, m.size);
}

static void commit(void *context)
{
    struct operation *o = context;
    (void)covey_queue_commit(o->queue, &o->loan, COVEY_NOWAIT);
}

static void reserve_and_done(void *context)
{
    struct operation *o = context;
    if (covey_queue_reserve(o->queue, 5000, &o->loan) >= 0)
        covey_queue_done(o->queue, &o->loan);
}

TEST_TIMEOUT(killed_having_a_loan, 600)
{
    begin();
    kill_at_each("commit", (struct operation){.size = 5000, .preloaded = 1, .puts = 1},
                 reserve, commit);
    kill_at_each("reserve and done", (struct operation){.size = 64, .preloaded = 1},
                 enter, reserve_and_done);
}

CHECK_MAIN()
