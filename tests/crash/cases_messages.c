/* SPDX-License-Identifier: MIT */
/* cases_messages.c: queues and pipes. Each message is there once, whole and in its order, or
 * was in the dead one's hands: queues count it as lost, unless its get was over. What is
 * there wakes those who wait for it, and so does room, though who was to wake them died. */
#include <string.h>

#include "channel/conn.h"
#include "channel/queue.h"
#include "channel/record.h"
#include "crash.h"

/* Numbers of messages, in the order in which they go in; those of helpers at any time. */
enum { FIRST = 80, WAKING = 90, VICTIM = 100, HELPERS = 200, LATER = 300 };

enum kind { QUEUE, JOINABLE, PIPE };

struct plan {
    enum kind kind;
    int preloaded;    /* messages 0, 1, ... */
    size_t size;      /* of each message */
    int taken;        /* of those, before anything else */
    unsigned limit;   /* messages in it, of a pipe 1; 0 none */
    int puts, gets;   /* the most that the victim does */
    uint64_t carried; /* as if so much had gone through the ring before */
    bool lies_apart;  /* each message is in an extent of its own, large or not */
};

enum {
    PUT,
    GET,
    FRESH,
    EMPTY,
    FULL,
    PUT_TWO,
    GET_TWO,
    GROWING,
    STREAM,
    FAR_ON,
    JUMP,
    SHRINKING,
    EXTENT,
    JOINED,
    ACKNOWLEDGED,
    SEND,
    RECV,
    PIPE_EMPTY,
    PIPE_FULL
};

static const struct plan plans[] = {
    [PUT] = {.size = 64, .preloaded = 3, .puts = 1},
    [GET] = {.size = 64, .preloaded = 3, .gets = 1},
    [FRESH] = {.size = 64, .puts = 1},
    [EMPTY] = {.size = 64, .preloaded = 1, .taken = 1, .puts = 1, .gets = 1},
    [FULL] = {.size = 64, .preloaded = 2, .limit = 2, .puts = 1, .gets = 1},
    [PUT_TWO] = {.size = 64, .preloaded = 1, .taken = 1, .puts = 2},
    [GET_TWO] = {.size = 64, .preloaded = 3, .limit = 3, .gets = 2},
    [GROWING] = {.size = 1000, .preloaded = 63, .puts = 1},
    [STREAM] = {.size = 64, .preloaded = 6, .puts = 1, .carried = CVY_STREAM_BYTES},
    [FAR_ON] = {.size = 64, .preloaded = 2, .puts = 1, .carried = CVY_POSITION_FAR},
    [JUMP] = {.size = 1000, .preloaded = 66, .taken = 63, .gets = 1},
    [SHRINKING] = {.size = 25000},
    [EXTENT] = {.size = 600, .preloaded = 2, .gets = 1, .lies_apart = true},
    [JOINED] = {JOINABLE, .size = 64, .preloaded = 2, .gets = 1},
    [ACKNOWLEDGED] = {JOINABLE, .size = 64, .preloaded = 2, .gets = 1},
    [SEND] = {PIPE, .size = 64, .preloaded = 3, .puts = 1},
    [RECV] = {PIPE, .size = 64, .preloaded = 3, .gets = 1},
    [PIPE_EMPTY] = {PIPE, .size = 64, .preloaded = 1, .taken = 1, .puts = 1, .gets = 1},
    [PIPE_FULL] = {PIPE, .size = 64, .preloaded = 1, .limit = 1, .puts = 1, .gets = 1},
};

static const struct plan *plan(void)
{
    return &plans[stage->variant];
}
static covey_queue *queue(void)
{
    return stage->object; /* a joinable one, too */
}
/* A pipe is stage->object, into which is sent, and stage->other. */
static struct cvy_ring *ring(void)
{
    const struct cvy_end *end = stage->object;
    return plan()->kind == PIPE ? &cvy_pipe_of(end)->ways[end->index].ring
                                : &queue()->ring;
}

/* ---- messages --------------------------------------------------------------------- */

static unsigned char room[2][60000];

static struct covey_view message(int number, unsigned char *bytes)
{
    memset(bytes, number, plan()->size);
    memcpy(bytes, &number, sizeof number);
    return COVEY_VIEW(bytes, plan()->size);
}

/* Returns: -EBADMSG if it is torn. */
static int number_in(const void *message, size_t size)
{
    const unsigned char *bytes = message;
    int number;
    if (size != plan()->size)
        return -EBADMSG;
    memcpy(&number, bytes, sizeof number);
    for (size_t i = sizeof number; i < size; i++)
        if (bytes[i] != (unsigned char)number)
            return -EBADMSG;
    return number;
}

static int put(int number, covey_nsec timeout)
{
    struct covey_loan loan;
    if (plan()->lies_apart) {
        int r = covey_queue_reserve(queue(), plan()->size, &loan);
        if (r < 0)
            return r;
        (void)message(number, loan.data);
        return covey_queue_commit(queue(), &loan, timeout);
    }
    return plan()->kind == PIPE
               ? covey_conn_send(stage->object, message(number, room[0]), timeout)
               : covey_queue_put(queue(), message(number, room[0]), timeout);
}

/* Returns: its number, or why there is none. */
static int get(covey_nsec timeout)
{
    size_t size = 0;
    int r = plan()->kind == PIPE ? covey_conn_recv_into(stage->other, room[0],
                                                        sizeof room[0], &size, timeout)
                                 : covey_queue_get_into(queue(), room[0],
                                                        sizeof room[0], &size, timeout);
    return r < 0 ? r : number_in(room[0], size);
}

/* ---- helpers ---------------------------------------------------------------------- */

static int my_number(void)
{
    int i = 0;
    while (stage->helpers[i].slot != cvy_thread_owner())
        i++;
    return HELPERS + i;
}
static int job_get(void)
{
    return get(COVEY_FOREVER);
}
static int job_put(void)
{
    return put(my_number(), COVEY_FOREVER);
}
static void let(unsigned i, crash_job *job, const char *name)
{
    if (!helper_is_started(i))
        helper_give(i, job, name);
    (void)helper_settle(i);
}
static void two_get(void)
{
    let(0, job_get, "a get");
    let(1, job_get, "a get");
}
static void one_gets(void)
{
    let(2, job_get, "a get");
}
static void two_put(void)
{
    let(0, job_put, "a put");
    let(1, job_put, "a put");
}
static void one_puts(void)
{
    let(2, job_put, "a put");
}
static bool is_at(unsigned i, crash_job *job)
{
    return helper_is_started(i) && stage->helpers[i].job == job;
}
static int at_work(crash_job *job)
{
    int count = 0;
    for (unsigned i = 0; i < 3; i++)
        count += is_at(i, job) && helper_is_busy(i);
    return count;
}

/* ---- what the victim does ----------------------------------------------------------- */

static int create(void)
{
    if (plan()->kind == PIPE)
        return covey_pipe_create((covey_conn **)&stage->object,
                                 (covey_conn **)&stage->other,
                                 COVEY_PIPE_OPTS(.capacity = plan()->limit));
    return plan()->kind == JOINABLE
               ? covey_joinable_queue_create((covey_joinable_queue **)&stage->object,
                                             plan()->limit, NULL)
               : covey_queue_create((covey_queue **)&stage->object, plan()->limit,
                                    NULL);
}
static void make(void)
{
    if (create() < 0)
        abort();
    for (int i = 0; i < plan()->preloaded; i++)
        if (put(i, COVEY_NOWAIT) < 0)
            abort();
    ring()->head += plan()->carried;
    ring()->tail += plan()->carried;
    ring()->head_seen += plan()->carried;
}

static void note(int number)
{
    if (number >= 0)
        stage->got[stage->got_count++] = number;
    else if (number != -ETIMEDOUT)
        abort();
}
static void puts_one(void)
{
    stage->result = put(VICTIM, COVEY_FOREVER);
}
static void puts_two(void)
{
    struct covey_view both[2] = {message(VICTIM, room[0]),
                                 message(VICTIM + 1, room[1])};
    stage->result = covey_queue_put_many(queue(), both, 2, COVEY_FOREVER, NULL);
}
static void first_puts(void)
{
    (void)put(FIRST, COVEY_FOREVER);
}
static void gets_one(void)
{
    note(get(COVEY_FOREVER));
}
static void gets_two(void)
{
    struct covey_bytes both[2] = {{room[0], 0, sizeof room[0]},
                                  {room[1], 0, sizeof room[1]}};
    size_t count = 0;
    (void)covey_queue_get_many(queue(), both, 2, COVEY_FOREVER, &count);
    for (size_t i = 0; i < count; i++)
        note(number_in(both[i].data, both[i].size));
}
static void first_gets(void)
{
    (void)get(COVEY_FOREVER);
}
static void views(void)
{
    struct covey_loan loan;
    if (covey_queue_view(queue(), &loan, COVEY_FOREVER) < 0)
        abort();
    note(number_in(loan.data, loan.size));
    covey_queue_done(queue(), &loan);
}

static struct covey_loan reserved;

static void reserves(void)
{
    if (covey_queue_reserve(queue(), plan()->size, &reserved) < 0)
        abort();
    (void)message(VICTIM, reserved.data);
}
static void commits(void)
{
    stage->result = covey_queue_commit(queue(), &reserved, COVEY_FOREVER);
}
static void gives_back(void)
{
    struct covey_loan other;
    if (covey_queue_reserve(queue(), 5000, &other) >= 0)
        covey_queue_done(queue(), &other);
}
static void closes(void)
{
    stage->result = covey_queue_close(queue());
}

/* A large ring, empty for as long as it takes. */
static void empties(void)
{
    cvy_ring_keeps = 0;
    for (int i = 0; i < 3; i++)
        if (put(LATER, COVEY_NOWAIT) < 0)
            abort();
    for (int i = 0; i < 3; i++)
        if (get(COVEY_NOWAIT) < 0)
            abort();
}
static void finds_nothing(void)
{
    note(get(COVEY_NOWAIT));
}

/* ---- while it sleeps ---------------------------------------------------------------- */

static bool was_seen[LATER + 100];
static int worked_off; /* messages, by the judge */
static const char *see(int number);
static const char *seen_amiss; /* by a hook */
static int woken;              /* messages, WAKING and those behind it */

/* The victim sleeps, and another one behind it, which shall not be faster: it is stopped
 * until the victim is. */
static bool is_frozen, was_frozen;

static void thaw(void)
{
    if (is_frozen)
        helper_thaw(2);
    is_frozen = false;
    was_frozen = true; /* nobody is any more */
}
static void let_behind(crash_job *job, const char *name)
{
    let(2, job, name);
    if (was_frozen || !helper_is_busy(2))
        return;
    helper_freeze(2);
    is_frozen = was_frozen = true;
}
static void message_comes(void)
{
    let_behind(job_get, "a get");
    woken += put(WAKING + woken, COVEY_SEC(1)) >= 0;
}
static void room_comes(void)
{
    if (plan()->kind != PIPE) /* whose senders are all woken */
        let_behind(job_put, "a put");
    seen_amiss = see(get(COVEY_SEC(1)));
}

/* ---- what must be right afterwards --------------------------------------------------- */

/* At the kill. */
static struct {
    bool closed, is_in_hands;
} then;

static void watch_ring(void)
{
    const struct cvy_segment *s =
        cvy_ring_segment(ring(), cvy_position_number_of(atomic_load(&ring()->tail)));
    if (s->at)
        crash_watch_add(cvy_at(s->at), CVY_PAGE);
    if (plan()->kind == PIPE)
        crash_watch_add(cvy_pipe_of(stage->object), sizeof(struct cvy_pipe));
}

static void begin(void)
{
    cvy_ring_part = 1;
    memset(was_seen, 0, sizeof was_seen);
    seen_amiss = NULL;
    woken = 0;
    is_frozen = was_frozen = false;
    worked_off = 0;
    make();
    for (int i = 0; i < plan()->taken; i++)
        if (!seen_amiss)
            seen_amiss = see(get(COVEY_NOWAIT));
}

static void look(void)
{
    const struct cvy_slot *slot = cvy_slot_at(CVY_INDEX_OF(stage->slot));
    thaw();
    then.closed = plan()->kind != PIPE && atomic_load(&queue()->closed);
    then.is_in_hands = slot->journal[CVY_J_RING] == cvy_ref_of(ring());
}

static const char *see(int number)
{
    if (number < 0)
        return number == -EBADMSG ? "a message is torn"
                                  : wrong("a get said %d", number);
    if (number >= (int)CVY_ARRAY_SIZE(was_seen))
        return wrong("a message has number %d", number);
    if (was_seen[number])
        return wrong("message %d came twice", number);
    was_seen[number] = true;
    return NULL;
}

/* Not what only leads to another segment. */
static bool has_messages(void)
{
    size_t count = 0;
    if (plan()->kind == PIPE)
        return !cvy_ring_is_empty(ring());
    return covey_queue_count(queue(), &count) < 0 || count;
}
static bool has_room(void)
{
    if (plan()->kind == PIPE)
        return !plan()->limit || cvy_ring_is_empty(ring());
    return !then.closed && covey_queue_full(queue()) == 0;
}

/* Nobody helps those who have something to go on with. */
static const char *come_alone(void)
{
    int64_t until = cvy_os_now() + helpers_limit;
    while ((at_work(job_get) && (then.closed || has_messages())) ||
           (at_work(job_put) && has_room()))
        if (cvy_os_now() > until)
            return wrong("%d wait for messages, %d for room, though there are some",
                         at_work(job_get), at_work(job_put));
    return NULL;
}

/* Messages and room for those who still wait. */
static const char *help(void)
{
    const char *is = NULL;
    for (int i = 0, n = at_work(job_get); i < n && !is; i++)
        if (!then.closed && put(LATER + i, COVEY_SEC(1)) < 0)
            is = "nothing can be put";
    for (int i = at_work(job_put); i > 0 && !is; i--)
        is = see(get(COVEY_SEC(1)));
    for (unsigned i = 0; i < 3 && !is; i++)
        if (helper_is_started(i))
            is = helper_await(i);
    for (unsigned i = 0; i < 3 && !is; i++) {
        int r = helper_is_started(i) ? helper_result(i) : 0;
        if (is_at(i, job_get) && !(then.closed && r == COVEY_ECLOSED))
            is = see(r);
        else if (is_at(i, job_put) && r < 0)
            is = wrong("a put said %d", r);
    }
    return is;
}

static const char *drain(void)
{
    int last = -1;
    while (has_messages()) {
        int number = get(COVEY_SEC(1));
        const char *is = see(number);
        bool any_time = number >= HELPERS && number < LATER;
        if (!is && !any_time && number < last)
            is = wrong("message %d came behind %d", number, last);
        if (is)
            return is;
        last = any_time ? last : number;
    }
    return NULL;
}

/* Those that the victim took, at most, and the one before it. */
static const char *check_missing(int taken_before)
{
    uint64_t lost = 0;
    int missing = 0;
    for (unsigned i = 0; i < stage->got_count; i++) {
        const char *is = see(stage->got[i]);
        if (is)
            return is;
    }
    for (int i = 0; i < plan()->preloaded; i++)
        missing += !was_seen[i];
    for (int i = 0; i < woken; i++)
        missing += !was_seen[WAKING + i];
    if (missing > plan()->gets + taken_before)
        return wrong("%d messages are missing", missing);
    if (plan()->kind == PIPE)
        return NULL;
    if (covey_queue_lost(queue(), &lost) < 0)
        return "the lost cannot be counted";
    /* What has arrived is not lost, though its getter could not say so any more. */
    bool must_be_told = then.is_in_hands && !taken_before;
    if ((int)lost > missing || ((int)lost < missing && must_be_told))
        return wrong("%d messages are missing, %d are said to be lost", missing,
                     (int)lost);
    return NULL;
}

static const char *check_puts(void)
{
    int there = was_seen[VICTIM] + was_seen[VICTIM + 1];
    if (there != 0 && there != plan()->puts)
        return wrong("%d of %d messages that were put at once are there", there,
                     plan()->puts);
    uint16_t number = cvy_position_number_of(ring()->tail);
    if (plan()->carried == CVY_STREAM_BYTES && there &&
        cvy_ring_segment(ring(), number)->capacity != CVY_STREAM_SEGMENT)
        return "a stream has got no wide segment";
    if (there == 0 && stage->result == 0 && plan()->puts && !then.closed)
        return "a message that was put is not there";
    return NULL;
}

/* Of an empty queue, only segments: no extent may stay for as long as the queue is there. */
static const char *check_memory(void)
{
    const struct cvy_ring *r = ring();
    uint64_t pages = r->first_run ? CVY_FIRST_SEGMENT / CVY_PAGE : 0;
    if (plan()->kind == PIPE)
        return NULL;
    uint16_t last = cvy_position_number_of(r->tail);
    for (uint16_t n = (uint16_t)r->first_segment; n != (uint16_t)(last + 1); n++) {
        const struct cvy_segment *s = &r->segments[n % CVY_SEGMENTS];
        if (s->at && s->at != r->first_run)
            pages += s->capacity / CVY_PAGE;
    }
    return queue()->object.run_pages == pages
               ? NULL
               : wrong("an empty queue has %d pages besides its ring",
                       (int)(queue()->object.run_pages - pages));
}

static const char *works(void)
{
    int wanted = then.closed ? COVEY_ECLOSED : LATER + 50;
    int r = put(LATER + 50, COVEY_SEC(1));
    if (r >= 0)
        r = get(COVEY_SEC(1));
    return r == wanted ? check_memory() : wrong("afterwards it does not work: %d", r);
}

static const char *check_all(int taken_before)
{
    const char *is = seen_amiss;
    if (!is)
        is = come_alone();
    if (!is)
        is = help();
    if (!is)
        is = drain();
    if (!is)
        is = check_missing(taken_before);
    if (!is)
        is = check_puts();
    return is ? is : works();
}
static const char *all_is_right(void)
{
    return check_all(0);
}
static const char *all_is_right_but_one(void)
{
    return check_all(1);
}

/* ---- joinable queues ---------------------------------------------------------------- */

static covey_joinable_queue *joinable(void)
{
    return stage->object;
}
static int job_join(void)
{
    return covey_joinable_queue_join(joinable(), COVEY_FOREVER);
}
static void one_joins(void)
{
    let(0, job_join, "a join");
}
static void joins(void)
{
    stage->result = job_join();
}
static void acknowledges(void)
{
    stage->result = covey_joinable_queue_task_done(joinable());
}

static const char *work_off(void)
{
    const char *is = NULL;
    for (worked_off = 0; has_messages() && !is; worked_off++) {
        is = see(get(COVEY_SEC(1)));
        if (!is && covey_joinable_queue_task_done(joinable()) < 0)
            is = "what was got cannot be worked off";
    }
    return is;
}
static void all_is_worked_off(void)
{
    one_joins();
    seen_amiss = work_off();
}

/* A join comes to its end by itself once the living have worked off what they got. */
static const char *join_ends(void)
{
    uint64_t abandoned = 0;
    const char *is = seen_amiss;
    if (!is && !worked_off)
        is = work_off();
    if (!is && helper_is_started(0))
        is = helper_await(0);
    if (!is && helper_is_started(0) && helper_result(0) != 0)
        is = wrong("a join said %d", helper_result(0));
    if (!is && covey_joinable_queue_join(joinable(), COVEY_SEC(1)) < 0)
        is = "a join does not end";
    if (is)
        return is;
    if (covey_joinable_queue_abandoned(joinable(), &abandoned) < 0)
        return "the abandoned cannot be counted";
    int taken = plan()->preloaded - worked_off;
    bool is_known = stage->variant != ACKNOWLEDGED || stage->result == 0;
    if (stage->result == 0)
        taken = 0;
    if ((int)abandoned > taken || (is_known && (int)abandoned < taken))
        return wrong("%d were in the victim's hands, %d are said to be abandoned",
                     taken, (int)abandoned);
    return NULL;
}

#define MESSAGES                                                                       \
    .set_up = begin, .look = look, .watch = watch_ring, .after = all_is_right
#define JOIN .set_up = begin, .look = look, .watch = watch_ring, .after = join_ends

const struct crash_case crash_messages[] = {
    {"queue put", "uncontended", MESSAGES, .operate = puts_one, .variant = PUT},
    {"queue put", "the first", MESSAGES, .operate = puts_one, .variant = FRESH},
    {"queue put", "two asleep", MESSAGES, .ready = two_get, .operate = puts_one,
     .variant = EMPTY},
    {"queue put", "another comes", MESSAGES, .operate = puts_one, .against = one_puts,
     .variant = PUT, .flags = CRASH_LIVES},
    {"queue put", "one gets", MESSAGES, .operate = puts_one, .against = one_gets,
     .variant = EMPTY},
    {"queue put", "full, asleep, woken", MESSAGES, .operate = puts_one,
     .asleep = room_comes, .against = thaw, .variant = FULL},
    {"queue put", "grows", MESSAGES, .operate = puts_one, .variant = GROWING},
    {"queue put", "in a stream", MESSAGES, .operate = puts_one, .against = one_gets,
     .variant = STREAM, .flags = CRASH_LIVES},
    {"queue put", "far on", MESSAGES, .operate = puts_one, .against = one_gets,
     .variant = FAR_ON, .flags = CRASH_LIVES},
    {"queue put", "recovery", MESSAGES, .first_operate = first_puts,
     .operate = puts_one, .against = one_puts, .variant = PUT, .flags = CRASH_BRIEF},
    {"queue put_many", "two asleep", MESSAGES, .ready = two_get, .operate = puts_two,
     .variant = PUT_TWO, .flags = CRASH_LIVES},
    {"queue get", "uncontended", MESSAGES, .operate = gets_one, .variant = GET},
    {"queue get", "two asleep", MESSAGES, .ready = two_put, .operate = gets_one,
     .variant = FULL},
    {"queue get", "another comes", MESSAGES, .operate = gets_one, .against = one_gets,
     .variant = GET, .flags = CRASH_LIVES},
    {"queue get", "asleep, woken", MESSAGES, .operate = gets_one,
     .asleep = message_comes, .against = thaw, .variant = EMPTY},
    {"queue get", "behind a jump", MESSAGES, .operate = gets_one, .against = one_gets,
     .variant = JUMP, .flags = CRASH_LIVES},
    {"queue get", "extent", MESSAGES, .operate = gets_one, .against = one_gets,
     .variant = EXTENT, .flags = CRASH_LIVES},
    {"queue get", "gives memory back", MESSAGES, .prepare = empties,
     .operate = finds_nothing, .against = one_puts, .variant = SHRINKING,
     .flags = CRASH_THIN | CRASH_LIVES},
    {"queue get", "recovery", .set_up = begin, .look = look, .watch = watch_ring,
     .first_operate = first_gets, .operate = gets_one, .against = one_gets,
     .after = all_is_right_but_one, .variant = GET, .flags = CRASH_BRIEF},
    {"queue get_many", "two asleep", MESSAGES, .ready = two_put, .operate = gets_two,
     .variant = GET_TWO, .flags = CRASH_LIVES},
    {"queue view", "extent", MESSAGES, .operate = views, .against = one_gets,
     .variant = EXTENT, .flags = CRASH_LIVES},
    {"queue commit", "two asleep", MESSAGES, .ready = two_get, .prepare = reserves,
     .operate = commits, .variant = EMPTY},
    {"queue reserve, done", "another comes", MESSAGES, .operate = gives_back,
     .against = one_puts, .variant = PUT, .flags = CRASH_LIVES},
    {"queue close", "two asleep", MESSAGES, .ready = two_get, .operate = closes,
     .variant = EMPTY, .flags = CRASH_LIVES},
    {"joinable get", "one asleep", JOIN, .ready = one_joins, .operate = gets_one,
     .variant = JOINED},
    {"joinable task_done", "one asleep", JOIN, .ready = one_joins, .prepare = gets_one,
     .operate = acknowledges, .variant = ACKNOWLEDGED},
    {"joinable join", "asleep, woken", JOIN, .operate = joins,
     .asleep = all_is_worked_off, .variant = JOINED},
    {"pipe send", "uncontended", MESSAGES, .operate = puts_one, .variant = SEND},
    {"pipe send", "two asleep", MESSAGES, .ready = two_get, .operate = puts_one,
     .variant = PIPE_EMPTY},
    {"pipe send", "another comes", MESSAGES, .operate = puts_one, .against = one_puts,
     .variant = SEND, .flags = CRASH_LIVES},
    {"pipe send", "full, asleep, woken", MESSAGES, .operate = puts_one,
     .asleep = room_comes, .variant = PIPE_FULL},
    {"pipe send", "recovery", MESSAGES, .first_operate = first_puts,
     .operate = puts_one, .against = one_puts, .variant = SEND, .flags = CRASH_BRIEF},
    {"pipe recv", "uncontended", MESSAGES, .operate = gets_one, .variant = RECV},
    {"pipe recv", "two asleep", MESSAGES, .ready = two_put, .operate = gets_one,
     .variant = PIPE_FULL},
    {"pipe recv", "another comes", MESSAGES, .operate = gets_one, .against = one_gets,
     .variant = RECV, .flags = CRASH_LIVES},
    {"pipe recv", "asleep, woken", MESSAGES, .operate = gets_one,
     .asleep = message_comes, .against = thaw, .variant = PIPE_EMPTY},
    {"pipe recv", "recovery", .set_up = begin, .look = look, .watch = watch_ring,
     .first_operate = first_gets, .operate = gets_one, .against = one_gets,
     .after = all_is_right_but_one, .variant = RECV, .flags = CRASH_BRIEF},
    {0}};
