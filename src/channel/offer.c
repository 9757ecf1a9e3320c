/* SPDX-License-Identifier: MIT */
/* offer.c: see offer.h.
 *
 * The thread listens at a counter from its first offer on, at an abstract name, to
 * processes of the same user, and ends with the last offer. What it does for its customers
 * it does under the mutex, without waiting; it sleeps without. So a fork finds all lists
 * whole, and the child can close its copies of everything.
 *
 * The program may close any descriptor, and have one of its own by that number then. So
 * each is looked at before it is used or closed. When it is the flag or a counter that is
 * gone, the rest is given up, and the next offer begins anew. */
#include "channel/offer.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "os/fork.h"
#include "region/lock.h"

#define MOST_CUSTOMERS 60u            /* others wait to be let in */
#define MOST_IDLE      COVEY_SEC(1)   /* for one that others wait for */
#define CROWDED        COVEY_MSEC(50) /* before trying again, without descriptors */

struct cvy_offer {
    struct cvy_offer *next;
    const struct cvy_end *end;
    enum cvy_counter counter;
    bool is_in_hand;          /* somebody gets it */
    struct cvy_os_kept_fd fd; /* the program may close what is not its own */
    int64_t until;
    uint64_t key[2];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct cvy_offer *offers;
static struct cvy_customer *customers; /* the newest first */
static unsigned customer_count;
static struct {
    struct cvy_os_kept_fd fd; /* listens; -1: closed */
    char name[sizeof((struct cvy_ticket *)0)->name];
} counters[CVY_COUNTERS] = {{{.fd = -1}, ""}, {{.fd = -1}, ""}};
/* The thread is to look; -1: no thread. */
static struct {
    struct cvy_os_kept_fd in, out; /* to lower and to raise */
} flag = {{.fd = -1}, {.fd = -1}};
static uintptr_t generation; /* of the thread; others are to end */
static int64_t open_from;
static unsigned char authkey[CVY_OFFER_AUTHKEY];
static size_t authkey_size;

/* ---- offers; mutex held ---- */

/* Whether the program has closed neither the flag nor a counter. */
static bool is_intact(void)
{
    bool is = cvy_os_is_kept(&flag.in) && cvy_os_is_kept(&flag.out);
    for (int i = 0; i < CVY_COUNTERS; i++)
        is = is && (counters[i].fd.fd < 0 || cvy_os_is_kept(&counters[i].fd));
    return is;
}

static void remove_offer(struct cvy_offer **place)
{
    struct cvy_offer *o = *place;
    *place = o->next;
    /* Who closes all has closed the flag, too: then this may be one of the program's. */
    if (!o->fd.is_alike || is_intact())
        cvy_os_close_kept(&o->fd);
    cvy_free(o);
}

static struct cvy_offer **find(uint64_t key)
{
    struct cvy_offer **place = &offers;
    while (*place && (*place)->key[0] != key)
        place = &(*place)->next;
    return place;
}

static void wake_thread(void)
{
    if (cvy_os_is_kept(&flag.out))
        cvy_os_flag_raise(flag.out.fd);
}

/* Of `end`, NULL: all. */
static void remove_offers(const struct cvy_end *end)
{
    for (struct cvy_offer **place = &offers; *place;)
        if (!end || (*place)->end == end)
            remove_offer(place);
        else
            place = &(*place)->next;
}

/* Those whose time is up go. Returns: when that of the next one is. */
static int64_t expire(void)
{
    int64_t now = cvy_os_now(), next = INT64_MAX;
    for (struct cvy_offer **place = &offers; *place;) {
        if (!(*place)->is_in_hand && (*place)->until <= now) {
            remove_offer(place);
            continue;
        }
        if (!(*place)->is_in_hand)
            next = cvy_min_i64(next, (*place)->until);
        place = &(*place)->next;
    }
    return next;
}

int cvy_offer_begin(enum cvy_counter counter, uint64_t key, uint64_t *ret_proof)
{
    struct cvy_offer *o = *find(key);
    if (!o || o->counter != counter || !cvy_os_is_kept(&o->fd))
        return -ENOENT;
    if (o->is_in_hand)
        return -EAGAIN;
    o->is_in_hand = true;
    *ret_proof = o->key[1];
    return o->fd.fd;
}

void cvy_offer_end(uint64_t key, bool was_given)
{
    struct cvy_offer **place = find(key);
    if (*place && was_given)
        remove_offer(place);
    else if (*place)
        (*place)->is_in_hand = false;
}

/* ---- the thread ---- */

static void send_away(struct cvy_customer **place)
{
    struct cvy_customer *c = *place;
    *place = c->next;
    customer_count--;
    cvy_customer_leave(c);
    cvy_free(c);
}

static void close_all(void)
{
    while (customers)
        send_away(&customers);
    for (int i = 0; i < CVY_COUNTERS; i++)
        cvy_os_close_kept(&counters[i].fd);
    cvy_os_close_kept(&flag.in);
    cvy_os_close_kept(&flag.out);
}

/* The program has closed what the thread cannot do without. */
static void abandon(void)
{
    remove_offers(NULL);
    close_all();
    generation++;
}

static void let_in(enum cvy_counter counter, int fd)
{
    struct cvy_customer *c = cvy_os_peer_is_own(fd) ? cvy_malloc(sizeof *c) : NULL;
    if (!c) {
        cvy_os_close(fd);
        return;
    }
    cvy_customer_begin(c, counter, fd, COVEY_VIEW(authkey, authkey_size));
    c->next = customers;
    customers = c;
    customer_count++;
}

/* Who has done nothing for the longest, of those who could. NULL: nobody could. */
static struct cvy_customer **find_idlest(void)
{
    struct cvy_customer **idlest = NULL;
    for (struct cvy_customer **place = &customers; *place; place = &(*place)->next)
        if ((*place)->step != CVY_CUSTOMER_WAITS &&
            (!idlest || (*place)->moved_at < (*idlest)->moved_at))
            idlest = place;
    return idlest;
}

/* When one more can be let in. */
static int64_t room_from(void)
{
    struct cvy_customer **idlest = find_idlest();
    if (customer_count < MOST_CUSTOMERS)
        return open_from;
    return idlest ? cvy_max_i64(open_from, (*idlest)->moved_at + MOST_IDLE) : INT64_MAX;
}

/* The next one who waits there. */
static void let_next_in(enum cvy_counter counter)
{
    struct cvy_os_address address;
    if (cvy_os_now() < room_from()) /* the last place is the other counter's */
        return;
    if (customer_count >= MOST_CUSTOMERS)
        send_away(find_idlest());
    int fd = cvy_os_accept(counters[counter].fd.fd, &address);
    if (fd >= 0)
        let_in(counter, fd);
    else if (fd != -EAGAIN)
        open_from = cvy_os_now() + CROWDED;
}

/* What to sleep on. */
struct round {
    struct cvy_os_poll polls[1 + CVY_COUNTERS + MOST_CUSTOMERS];
    size_t count;
    size_t counter_at[CVY_COUNTERS]; /* in `polls`; 0: it is not in there */
    int64_t deadline;
};

static void add_poll(struct round *round, int fd)
{
    if (fd >= 0)
        round->polls[round->count++] = (struct cvy_os_poll){.fd = fd};
}

/* Returns: whether there is anything left to do; then all is closed. */
static bool begin_round(struct round *round)
{
    int64_t next = expire();
    if (!offers) {
        close_all();
        return false;
    }
    *round = (struct round){.deadline = next};
    add_poll(round, flag.in.fd);
    int64_t opens = room_from();
    bool is_open = cvy_os_now() >= opens;
    for (int i = 0; i < CVY_COUNTERS && is_open; i++) {
        round->counter_at[i] = counters[i].fd.fd < 0 ? 0 : round->count;
        add_poll(round, counters[i].fd.fd);
    }
    if (!is_open)
        round->deadline = cvy_min_i64(round->deadline, opens);
    for (struct cvy_customer *c = customers; c; c = c->next) {
        if (c->step != CVY_CUSTOMER_WAITS) /* for another one, not for its own side */
            add_poll(round, c->talk.fd);
        round->deadline = cvy_min_i64(round->deadline, c->deadline);
    }
    return true;
}

/* Returns: whether some have left, for whom others may have waited. */
static bool attend_all(void)
{
    bool have_left = false;
    for (struct cvy_customer **place = &customers; *place;) {
        if (cvy_customer_go_on(*place)) {
            place = &(*place)->next;
            continue;
        }
        send_away(place);
        have_left = true;
    }
    return have_left;
}

static void end_round(const struct round *round)
{
    cvy_os_flag_lower(flag.in.fd);
    for (int i = 0; i < CVY_COUNTERS; i++)
        if (round->counter_at[i] && round->polls[round->counter_at[i]].ready)
            let_next_in((enum cvy_counter)i);
    while (attend_all())
        continue;
}

/* Whether it is this thread that serves, and can. */
static bool serves(uintptr_t thread)
{
    if (thread != generation)
        return false;
    if (is_intact())
        return true;
    abandon();
    return false;
}

/* Sleep until there is something to do. It may fail for want of memory, or under a limit on
 * descriptors that was lowered, and go on to fail: then it looks now and then. */
static void sleep_on(struct round *round)
{
    cvy_word never = 0;
    int r = cvy_os_poll_many(round->polls, round->count, round->deadline);
    if (r < 0 && r != -EBADF)
        (void)cvy_os_futex_wait_for(&never, 0, CROWDED);
}

static void *serve_all(void *arg)
{
    bool goes_on = true;
    cvy_os_set_comm("covey-fds");
    while (goes_on) {
        struct round round;
        (void)pthread_mutex_lock(&mutex);
        goes_on = serves((uintptr_t)arg) && begin_round(&round);
        (void)pthread_mutex_unlock(&mutex);
        if (!goes_on)
            break;
        sleep_on(&round);
        (void)pthread_mutex_lock(&mutex);
        goes_on = serves((uintptr_t)arg);
        if (goes_on)
            end_round(&round);
        (void)pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

/* ---- starting it; mutex held ---- */

static int open_counter(enum cvy_counter counter)
{
    struct cvy_os_address address;
    uint64_t random[2];
    int r = cvy_os_random(random, sizeof random);
    if (r < 0)
        return r;
    (void)snprintf(counters[counter].name, sizeof counters[counter].name,
                   "covey-%016llx%016llx", (unsigned long long)random[0],
                   (unsigned long long)random[1]);
    cvy_os_address_abstract(counters[counter].name, &address);
    r = cvy_os_listen(&address, 128);
    if (r >= 0)
        counters[counter].fd = cvy_os_keep(r);
    return r;
}

static int start_thread(void)
{
    int ends[2], r = cvy_os_flag_pipe(ends);
    if (r < 0)
        return r;
    flag.in = cvy_os_keep(ends[0]);
    flag.out = cvy_os_keep(ends[1]);
    return cvy_os_run_aside(serve_all,
                            (void *)generation); /* NOLINT(performance-no-int-to-ptr) */
}

static int start_serving(enum cvy_counter counter)
{
    if (flag.in.fd >= 0 && !is_intact())
        abandon();
    int r = counters[counter].fd.fd < 0 ? open_counter(counter) : 0;
    if (r < 0 || flag.in.fd >= 0)
        return r;
    r = start_thread();
    if (r < 0)
        close_all();
    return r;
}

static void in_fork_child(void)
{
    remove_offers(NULL);
    close_all();
}

__attribute__((constructor)) static void guard_forks(void)
{
    static struct cvy_os_fork_guard guard = {.mutex = &mutex,
                                             .in_child = in_fork_child};
    cvy_os_guard_forks(&guard);
}

static void end_all(void)
{
    cvy_offer_forget(NULL);
}

/* ---- the calls ---- */

static int add(struct cvy_offer *o, int fd, struct covey_view new_authkey,
               struct cvy_ticket *ret_ticket)
{
    cvy_leave_add(end_all);
    int r = start_serving(o->counter);
    if (r < 0)
        return r;
    int copy = cvy_os_dup(fd, 3);
    wake_thread(); /* there is a counter, or a time, that it does not know of */
    if (copy < 0)
        return copy;
    o->fd = cvy_os_keep(copy);
    o->next = offers;
    offers = o;
    if (new_authkey.data) {
        authkey_size = cvy_min_size(new_authkey.size, sizeof authkey);
        memcpy(authkey, new_authkey.data, authkey_size);
    }
    *ret_ticket = (struct cvy_ticket){.member = cvy_member_owner()};
    memcpy(ret_ticket->key, o->key, sizeof o->key);
    memcpy(ret_ticket->name, counters[o->counter].name, sizeof ret_ticket->name);
    return 0;
}

int cvy_offer_make(enum cvy_counter counter, const struct cvy_end *end, int fd,
                   int64_t until, struct covey_view new_authkey,
                   struct cvy_ticket *ret_ticket)
{
    struct cvy_offer *o = cvy_calloc(1, sizeof *o);
    if (!o)
        return -ENOMEM;
    o->counter = counter;
    o->end = end;
    o->until = until;
    int r = cvy_os_random(o->key, sizeof o->key);
    if (counter == CVY_COUNTER_PICKLES) {
        o->key[0] >>= 1; /* a C program may read it as int64_t */
        o->key[1] = 0;
    }
    if (r >= 0) {
        (void)pthread_mutex_lock(&mutex);
        r = add(o, fd, new_authkey, ret_ticket);
        (void)pthread_mutex_unlock(&mutex);
    }
    if (r < 0)
        cvy_free(o);
    return r;
}

void cvy_offer_take_back(const struct cvy_ticket *ticket)
{
    (void)pthread_mutex_lock(&mutex);
    struct cvy_offer **place = find(ticket->key[0]);
    if (*place)
        remove_offer(place);
    if (!offers)
        wake_thread();
    (void)pthread_mutex_unlock(&mutex);
}

void cvy_offer_forget(const struct cvy_end *end)
{
    (void)pthread_mutex_lock(&mutex);
    remove_offers(end);
    if (!offers)
        wake_thread();
    (void)pthread_mutex_unlock(&mutex);
}
