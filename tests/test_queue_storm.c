/* SPDX-License-Identifier: MIT */
/* Producers and consumers killed at random moments while all of them are busy with one
 * queue: nothing is torn, doubled or out of order, and what is missing was counted. */
#include "family.h"

enum { PRODUCERS = 3, CONSUMERS = 3, WORKERS = PRODUCERS + CONSUMERS };
enum { MOST_PRODUCERS = 40000, MOST_MESSAGES = 2000, LARGEST = 300000 };

/* Of a consumer: what it gets may be on the way, or is in its hands and not marked yet. */
enum phase { AWAY, GETTING, CHECKING };

/* Consumers that were killed in a phase. */
struct deaths {
    uint64_t all, in[CHECKING + 1];
};

struct storm {
    covey_queue *queue;
    cvy_word stop;
    _Atomic uint64_t got;
    _Atomic uint32_t phase[WORKERS];
    _Atomic uint32_t put[MOST_PRODUCERS]; /* messages whose put has returned */
    _Atomic uint8_t seen[MOST_PRODUCERS][MOST_MESSAGES];
};

struct message {
    uint32_t producer, number;
    unsigned char bytes[LARGEST];
};
enum { HEAD = offsetof(struct message, bytes) };

/* Mostly small ones; some make the ring grow, a few lie outside of it. */
static size_t random_size(void)
{
    uint64_t kind = random_below(200);
    return random_below(kind == 0   ? LARGEST
                        : kind < 10 ? 30000
                        : kind < 60 ? 1000
                                    : 65);
}

static unsigned char byte_of(const struct message *m)
{
    return (unsigned char)(m->producer * 31 + m->number * 7 + 1);
}

static _Noreturn void produce(struct storm *storm, uint32_t id)
{
    static struct message m;
    random_state = id * 2654435761u + 1;
    m.producer = id;
    while (m.number < MOST_MESSAGES && !atomic_load(&storm->stop)) {
        size_t size = random_size();
        memset(m.bytes, byte_of(&m), size);
        int r =
            covey_queue_put(storm->queue, COVEY_VIEW(&m, HEAD + size), COVEY_MSEC(100));
        if (r == -ETIMEDOUT)
            continue;
        CHECK_OK(r);
        atomic_store(&storm->put[id], ++m.number);
    }
    family_pause();
}

static void check_message(struct storm *storm, const struct covey_bytes *got,
                          uint32_t *next)
{
    const struct message *m = got->data;
    CHECK_GE(got->size, HEAD);
    CHECK_LT(m->producer, MOST_PRODUCERS);
    CHECK_LT(m->number, MOST_MESSAGES);
    for (size_t i = 0; i < got->size - HEAD; i++)
        if (m->bytes[i] != byte_of(m))
            check_failed(__FILE__, __LINE__, "message %u of %u is torn", m->number,
                         m->producer);
    CHECK_GE(m->number, next[m->producer]);
    next[m->producer] = m->number + 1;
    CHECK_EQ(atomic_fetch_add(&storm->seen[m->producer][m->number], 1), 0);
    atomic_fetch_add(&storm->got, 1);
}

static void consume_one(struct storm *storm, int place, struct covey_bytes *got,
                        uint32_t *next, bool *ret_empty)
{
    atomic_store(&storm->phase[place], GETTING);
    int r = covey_queue_get(storm->queue, got, COVEY_MSEC(100));
    atomic_store(&storm->phase[place], CHECKING);
    *ret_empty = r == -ETIMEDOUT;
    if (!*ret_empty) {
        CHECK_OK(r);
        check_message(storm, got, next);
    }
    atomic_store(&storm->phase[place], AWAY);
}

static _Noreturn void consume(struct storm *storm, int place)
{
    struct covey_bytes got = {0};
    static uint32_t next[MOST_PRODUCERS];
    bool empty;
    for (;;)
        consume_one(storm, place, &got, next, &empty);
}

static int start_worker(struct storm *storm, int place, uint32_t *producers)
{
    uint32_t id = place < PRODUCERS ? (*producers)++ : 0;
    atomic_store(&storm->phase[place], AWAY);
    int pid = family_fork();
    if (pid == 0) {
        if (place < PRODUCERS)
            produce(storm, id);
        consume(storm, place);
    }
    return pid;
}

static void kill_worker(struct storm *storm, int pid, int place, struct deaths *deaths)
{
    family_kill(pid);
    deaths->all++;
    deaths->in[atomic_load(&storm->phase[place])]++;
}

static struct deaths kill_at_random(struct storm *storm, int64_t length,
                                    uint32_t *producers)
{
    int pids[WORKERS];
    struct deaths deaths = {0};
    int64_t end = cvy_os_now() + length;
    for (int i = 0; i < WORKERS; i++)
        pids[i] = start_worker(storm, i, producers);
    while (cvy_os_now() < end && *producers < MOST_PRODUCERS) {
        int i = (int)random_below(WORKERS);
        int64_t moment = cvy_os_now() + (int64_t)random_below(4000000);
        while (cvy_os_now() < moment)
            cvy_os_yield();
        kill_worker(storm, pids[i], i, &deaths);
        pids[i] = start_worker(storm, i, producers);
    }
    for (int i = 0; i < WORKERS; i++)
        kill_worker(storm, pids[i], i, &deaths);
    return deaths;
}

/* Messages that were put for certain and that nobody saw. */
static uint64_t missing(struct storm *storm, uint32_t producers)
{
    uint64_t n = 0;
    for (uint32_t id = 0; id < producers; id++)
        for (uint32_t i = 0; i < atomic_load(&storm->put[id]); i++)
            n += !atomic_load(&storm->seen[id][i]);
    return n;
}

static void storm_over(size_t maxsize, const struct covey_family_opts *opts,
                       int64_t length)
{
    static uint32_t next[MOST_PRODUCERS];
    uint32_t producers = 0;
    bool empty = false;
    uint64_t lost;
    struct covey_bytes got = {0};
    family_found(opts);
    struct storm *storm = family_shared(sizeof *storm);
    random_state = 4711;
    CHECK_OK(covey_queue_create(&storm->queue, maxsize, NULL));
    struct deaths deaths = kill_at_random(storm, length, &producers);
    while (!empty)
        consume_one(storm, 0, &got, next, &empty);
    CHECK_OK(covey_queue_lost(storm->queue, &lost));
    uint64_t gone = missing(storm, producers);
    fprintf(stderr, "%llu kills, %llu messages, %llu missing, %llu of them lost\n",
            (unsigned long long)deaths.all, (unsigned long long)storm->got,
            (unsigned long long)gone, (unsigned long long)lost);
    /* A few instructions lie between the end of a get and the note that it has ended. */
    CHECK_LE(lost, deaths.in[GETTING]);
    CHECK_LE(gone, lost + deaths.in[CHECKING] + deaths.all / 200 + 1);
    CHECK_GT(atomic_load(&storm->got), 0);
    covey_bytes_free(&got);
    covey_queue_free(storm->queue);
    CHECK_EQ(family_usage().objects, 0);
    CHECK_EQ(family_usage().members, 1);
    family_check();
    munmap(storm, sizeof *storm);
}

/* ---- first messages -------------------------------------------------------------- */

/* The queue of the moment. */
struct fresh {
    _Atomic(covey_queue *) queue;
    _Atomic uint64_t got;
};

static void get_of_fresh_queues(struct fresh *fresh, uint64_t queues)
{
    for (uint64_t i = 1; i <= queues; i++) {
        covey_queue *queue;
        uint64_t message = 0;
        size_t size = 0;
        while (!(queue = atomic_load(&fresh->queue)))
            cvy_os_yield();
        while (covey_queue_get_into(queue, &message, sizeof message, &size,
                                    COVEY_NOWAIT) < 0)
            ;
        CHECK_EQ(message, i);
        atomic_store(&fresh->queue, NULL);
        atomic_store(&fresh->got, i);
    }
}

/* It can be waited for afterwards. */
static bool has_ended(int pid)
{
    siginfo_t info = {0};
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    return info.si_pid == pid;
}

/* Its memory is that of the one before, with messages in it still. */
TEST_TIMEOUT(first_message_of_a_queue_is_not_one_of_another, 120)
{
    const uint64_t queues = (uint64_t)family_long(3000, 200000);
    family_found(NULL);
    struct fresh *fresh = family_shared(sizeof *fresh);
    int pid = family_fork();
    if (!pid) {
        CHECK_OK(cvy_enter());
        get_of_fresh_queues(fresh, queues);
        exit(0);
    }
    for (uint64_t i = 1; i <= queues; i++) {
        covey_queue *queue;
        CHECK_OK(covey_queue_create(&queue, 0, NULL));
        atomic_store(&fresh->queue, queue);
        CHECK_OK(covey_queue_put(queue, COVEY_VIEW_OF(i), COVEY_NOWAIT));
        while (atomic_load(&fresh->got) < i)
            if (has_ended(pid) && atomic_load(&fresh->got) < i)
                check_failed(__FILE__, __LINE__, "the getter has ended at queue %ju",
                             (uintmax_t)i);
        covey_queue_free(queue);
    }
    family_join(pid);
}

/* ---- storms ---------------------------------------------------------------------- */

/* Slices are too long to help, so what hangs is a wake-up that nobody sent. */
TEST_TIMEOUT(kill_storm_over_a_queue, 150)
{
    storm_over(0, COVEY_FAMILY_OPTS(.slice = COVEY_SEC(2)),
               COVEY_SEC(family_long(2, 60)));
}

TEST_TIMEOUT(kill_storm_over_a_queue_that_is_often_full, 150)
{
    storm_over(8, COVEY_FAMILY_OPTS(.slice = COVEY_SEC(2)),
               COVEY_SEC(family_long(2, 60)));
}

TEST_TIMEOUT(kill_storm_over_a_queue_without_bell, 150)
{
    storm_over(8, COVEY_FAMILY_OPTS(.bell = COVEY_OFF), COVEY_SEC(family_long(1, 30)));
}

CHECK_MAIN()
