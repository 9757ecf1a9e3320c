/* SPDX-License-Identifier: MIT */
/* storm_queue.c: queues while who puts and who gets is killed: no message is torn, doubled
 * or out of order, and what is missing the dead had in their hands. */
#include <string.h>

#include "storm.h"

#include <covey/queue.h>

#define PRODUCERS    3u /* of the places; the others get */
#define PLACES       6u
#define SOURCES      4096u /* in one round: producers, and each again after */
#define MOST_NUMBERS 4096u /* messages */
#define LARGEST      3000u

enum { UNBOUNDED, BOUNDED };

#define NOBODY UINT32_MAX

struct message {
    uint32_t source, number;
    unsigned char bytes[LARGEST];
};

#define HEAD offsetof(struct message, bytes)

/* A bit per message. */
typedef _Atomic uint8_t message_set[SOURCES][MOST_NUMBERS / 8];

struct traffic {
    _Atomic uint32_t sources;
    _Atomic uint32_t put[SOURCES]; /* messages whose put has returned */
    message_set seen, in_dead_hands;
    /* Where each place's messages arrive: what a dead worker had got stays here until its
     * successor, or the judge, notes it. */
    struct message landing[PLACES + 1];
};

static struct traffic *traffic(void)
{
    return storm->data;
}

/* Returns: whether it was there already. */
static bool put_in(message_set set, const struct message *m)
{
    uint8_t bit = (uint8_t)(1u << m->number % 8);
    return atomic_fetch_or(&set[m->source][m->number / 8], bit) & bit;
}

static bool is_in(message_set set, uint32_t source, uint32_t number)
{
    return atomic_load(&set[source][number / 8]) >> number % 8 & 1;
}

static bool can_be(const struct message *m)
{
    return m->source < SOURCES && m->number < MOST_NUMBERS;
}

/* Make room, noting what a dead one had. */
static struct message *clear_landing(unsigned i)
{
    struct message *landing = &traffic()->landing[i];
    if (can_be(landing))
        (void)put_in(traffic()->in_dead_hands, landing);
    landing->source = NOBODY;
    return landing;
}

static void begin_traffic(void)
{
    memset(storm->data, 0, sizeof(struct traffic));
    for (unsigned i = 0; i <= PLACES; i++)
        traffic()->landing[i].source = NOBODY;
}

static void set_up_queue(void)
{
    storm->data = storm_data(sizeof(struct traffic));
    begin_traffic();
    if (covey_queue_create((covey_queue **)&storm->object,
                           storm_variant == BOUNDED ? 8 : 0, NULL) < 0)
        abort();
}

static unsigned char byte_of(const struct message *m)
{
    return (unsigned char)(m->source * 31 + m->number * 7 + 1);
}

static size_t random_size(void)
{
    return storm_random(storm_random(50) ? 65 : LARGEST);
}

/* ---- put ---- */

/* The sources of a round are counted anew after each audit; `round` tells. */
static void put_one(unsigned i)
{
    static struct message m;
    static uint32_t round = 1;
    uint32_t now = atomic_load(&storm->parking);
    if (round != now || m.number == MOST_NUMBERS) {
        round = now;
        m.number = 0;
        m.source = atomic_fetch_add(&traffic()->sources, 1);
    }
    if (m.source >= SOURCES || storm_is_parking()) {
        m.number = MOST_NUMBERS;
        cvy_os_yield();
        return;
    }
    size_t size = random_size();
    memset(m.bytes, byte_of(&m), size);
    storm_phase(i, STORM_GIVING);
    int r = covey_queue_put(storm->object, COVEY_VIEW(&m, HEAD + size), COVEY_MSEC(1));
    if (r >= 0)
        atomic_store(&traffic()->put[m.source], ++m.number);
    storm_phase(i, STORM_AWAY);
    if (r < 0 && r != -ETIMEDOUT)
        storm_wrong("place %u: %s", i, covey_error_detail());
}

/* ---- get ---- */

/* Returns: NULL, or what is wrong. */
static const char *check_message(const struct message *m, size_t size)
{
    static uint32_t source, number, parking; /* of the last one */
    if (size < HEAD || !can_be(m))
        return "there is a message that nobody sent";
    for (size_t i = 0; i < size - HEAD; i++)
        if (m->bytes[i] != byte_of(m))
            return wrong("message %u of %u is torn", m->number, m->source);
    if (put_in(traffic()->seen, m))
        return wrong("message %u of %u came twice", m->number, m->source);
    if (parking == atomic_load(&storm->parking) && source == m->source &&
        number > m->number)
        return wrong("message %u of %u came after %u", m->number, m->source, number);
    source = m->source;
    number = m->number;
    parking = atomic_load(&storm->parking);
    return NULL;
}

/* Returns: NULL, or what is wrong. */
static const char *get_one(unsigned i, covey_nsec timeout, bool *got)
{
    struct message *m = clear_landing(i);
    size_t size = 0;
    int r = covey_queue_get_into(storm->object, m, sizeof *m, &size, timeout);
    const char *is = NULL;
    if (r >= 0)
        is = check_message(m, size);
    else if (r != -ETIMEDOUT)
        is = covey_error_detail();
    m->source = NOBODY;
    *got = r >= 0;
    return is;
}

static void work_queue(unsigned i)
{
    if (i < PRODUCERS) {
        put_one(i);
        return;
    }
    bool got;
    storm_phase(i, STORM_TAKING);
    const char *is = get_one(i, COVEY_MSEC(1), &got);
    storm_phase(i, STORM_AWAY);
    if (is)
        storm_wrong("place %u: %s", i, is);
}

/* ---- afterwards ---- */

/* Messages that were put for certain, but neither seen nor in a dead one's hands. */
static uint64_t missing(void)
{
    uint64_t n = 0;
    uint32_t sources = atomic_load(&traffic()->sources);
    for (uint32_t s = 0; s < sources && s < SOURCES; s++)
        for (uint32_t i = 0; i < atomic_load(&traffic()->put[s]); i++)
            n +=
                !is_in(traffic()->seen, s, i) && !is_in(traffic()->in_dead_hands, s, i);
    return n;
}

static const char *audit_queue(void)
{
    static uint64_t lost_before;
    uint64_t lost = 0;
    const char *is;
    bool got;
    do
        is = get_one(PLACES, COVEY_NOWAIT, &got); /* the place after the workers' */
    while (got && !is);
    if (is)
        return is;
    for (unsigned i = PRODUCERS; i < PLACES; i++)
        (void)clear_landing(i);
    if (covey_queue_lost(storm->object, &lost) < 0)
        return covey_error_detail();
    uint64_t gone = missing();
    lost -= lost_before;
    lost_before += lost;
    begin_traffic();
    /* A death in a get can lose the message that was being taken, and no other does. */
    if (lost > (uint64_t)storm->deaths[STORM_TAKING])
        return wrong("%lld messages are said to be lost, and %ld died in a get",
                     (long long)lost, storm->deaths[STORM_TAKING]);
    if (gone > lost)
        return wrong(
            "%lld messages are missing that no dead one had, and %lld are said "
            "to be lost",
            (long long)gone, (long long)lost);
    return NULL;
}

const struct storm_noun storm_queues[] = {
    {"queue", UNBOUNDED, PLACES, set_up_queue, work_queue, NULL, audit_queue, NULL},
    {"bounded queue", BOUNDED, PLACES, set_up_queue, work_queue, NULL, audit_queue,
     NULL},
    {0}};
