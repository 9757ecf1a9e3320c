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

struct traffic {
    _Atomic uint32_t sources;
    _Atomic uint32_t put[SOURCES]; /* messages whose put has returned */
    _Atomic uint8_t seen[SOURCES][MOST_NUMBERS / 8];
};

struct message {
    uint32_t source, number;
    unsigned char bytes[LARGEST];
};

#define HEAD offsetof(struct message, bytes)

static struct traffic *traffic(void)
{
    return storm->data;
}

static void set_up_queue(void)
{
    storm->data = storm_data(sizeof(struct traffic));
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
    if (size < HEAD || m->source >= SOURCES || m->number >= MOST_NUMBERS)
        return "there is a message that nobody sent";
    for (size_t i = 0; i < size - HEAD; i++)
        if (m->bytes[i] != byte_of(m))
            return wrong("message %u of %u is torn", m->number, m->source);
    uint8_t bit = (uint8_t)(1u << m->number % 8);
    if (atomic_fetch_or(&traffic()->seen[m->source][m->number / 8], bit) & bit)
        return wrong("message %u of %u came twice", m->number, m->source);
    if (parking == atomic_load(&storm->parking) && source == m->source &&
        number > m->number)
        return wrong("message %u of %u came after %u", m->number, m->source, number);
    source = m->source;
    number = m->number;
    parking = atomic_load(&storm->parking);
    return NULL;
}

/* Returns: whether there was one. */
static bool get_one(unsigned i, covey_nsec timeout)
{
    static struct message m;
    size_t size = 0;
    storm_phase(i, STORM_TAKING);
    int r = covey_queue_get_into(storm->object, &m, sizeof m, &size, timeout);
    storm_phase(i, r >= 0 ? STORM_HAS : STORM_AWAY);
    const char *is = r >= 0 ? check_message(&m, size) : NULL;
    storm_phase(i, STORM_AWAY);
    if (r < 0 && r != -ETIMEDOUT)
        storm_wrong("place %u: %s", i, covey_error_detail());
    if (is)
        storm_wrong("place %u: %s", i, is);
    return r >= 0;
}

static void work_queue(unsigned i)
{
    if (i < PRODUCERS)
        put_one(i);
    else
        (void)get_one(i, COVEY_MSEC(1));
}

/* ---- afterwards ---- */

/* What is left; the judge has the place after the last. */
static const char *drain(void)
{
    static struct message m;
    size_t size = 0;
    const char *is = NULL;
    int r;
    while ((r = covey_queue_get_into(storm->object, &m, sizeof m, &size,
                                     COVEY_NOWAIT)) >= 0 &&
           !is)
        is = check_message(&m, size);
    return is || r == -ETIMEDOUT ? is : covey_error_detail();
}

/* Messages that were put for certain and that nobody saw. */
static uint64_t missing(void)
{
    uint64_t n = 0;
    uint32_t sources = atomic_load(&traffic()->sources);
    for (uint32_t s = 0; s < sources && s < SOURCES; s++)
        for (uint32_t i = 0; i < atomic_load(&traffic()->put[s]); i++)
            n += !(atomic_load(&traffic()->seen[s][i / 8]) >> i % 8 & 1);
    return n;
}

static const char *audit_queue(void)
{
    static uint64_t lost_before;
    uint64_t lost = 0;
    const char *is = drain();
    if (!is && covey_queue_lost(storm->object, &lost) < 0)
        is = covey_error_detail();
    uint64_t gone = missing();
    lost -= lost_before;
    lost_before += lost;
    /* Who dies in a get may have begun to have the message, or have it whole. */
    if (!is && lost > (uint64_t)storm->deaths[STORM_TAKING])
        is = wrong("%lld messages are said to be lost, and %ld died in a get",
                   (long long)lost, storm->deaths[STORM_TAKING]);
    uint64_t had = lost + (uint64_t)storm->deaths[STORM_HAS];
    /* Few instructions lie between the end of a get and the note of it. */
    if (!is && gone > had + (uint64_t)storm->deaths[STORM_TAKING] / 50 + 1)
        is = wrong(
            "%lld messages are missing, and %lld were lost or in the hands of the "
            "dead",
            (long long)gone, (long long)had);
    memset(storm->data, 0, sizeof(struct traffic));
    return is;
}

const struct storm_noun storm_queues[] = {
    {"queue", UNBOUNDED, PLACES, set_up_queue, work_queue, NULL, audit_queue, NULL},
    {"bounded queue", BOUNDED, PLACES, set_up_queue, work_queue, NULL, audit_queue,
     NULL},
    {0}};
