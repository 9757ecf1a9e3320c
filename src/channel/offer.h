/* SPDX-License-Identifier: MIT */
/**
 * channel/offer.h: descriptors that this process offers to others, and a thread of its own
 * that gives them to those who come with their keys. The family's memory and pickles
 * cannot carry a descriptor, but both can carry what tells where to fetch it.
 *
 * An offer is for one: the first who says that the descriptor has come. It is kept until
 * then, until its time is up, its pipe's end is closed, or the process ends. A fork child
 * has no copy of it.
 */
#ifndef CVY_CHANNEL_OFFER_H
#define CVY_CHANNEL_OFFER_H

#include "channel/conn.h"
#include "channel/talk.h"

/** Where one comes to fetch, and how one asks there. */
enum cvy_counter {
    CVY_COUNTER_PIPES = 0, /* by half of the key, and is shown the other half first */
    CVY_COUNTER_PICKLES,   /* as CPython's resource sharer: a handshake with the key of
                              the process, and the pickle of (key, pid) */
    CVY_COUNTERS
};

/** Most bytes of the key of a process. */
#define CVY_OFFER_AUTHKEY 256

/** What to tell one that is to fetch it. */
struct cvy_ticket {
    /* What one asks by, for pickles less than 2^63; and what is shown then, over pipes.
     * Anybody can have the name as soon as its process is dead, but only who has the
     * family's memory knows the second. */
    uint64_t key[2];
    char name[40];      /* abstract */
    uint32_t member;    /* who offers it */
    uint32_t is_holder; /* of the end it is sent by, as who uses another's may not be */
};

/** Offer a copy of `fd` until a deadline; of `end`, if it is that of a pipe. `authkey`: for
 * pickles; the last one counts. Returns: 0; -EBADF, -EMFILE, ... of the system. */
int cvy_offer_make(enum cvy_counter counter, const struct cvy_end *end, int fd,
                   int64_t until, struct covey_view authkey,
                   struct cvy_ticket *ret_ticket);
/** Take back one that nobody has got. */
void cvy_offer_take_back(const struct cvy_ticket *ticket);
/** Take back those of `end`, NULL: all. */
void cvy_offer_forget(const struct cvy_end *end);

/* ---- those who come to fetch; in the thread, with its mutex held ---- */

/** One who has come. */
struct cvy_customer {
    struct cvy_customer *next;
    enum cvy_counter counter;
    enum {
        CVY_CUSTOMER_PROVES = 0,
        CVY_CUSTOMER_ASKS,
        CVY_CUSTOMER_WAITS,
        CVY_CUSTOMER_GETS
    } step;
    int64_t deadline;
    int64_t moved_at; /* when it last did anything */
    uint64_t key;     /* that it asks by */
    size_t key_got;   /* bytes of it that have come, at the counter of pipes */
    struct cvy_os_kept_fd fd;
    unsigned char authkey[CVY_OFFER_AUTHKEY]; /* that of when it came */
    struct cvy_talk talk;
};

/** Begin with one who has just come. `authkey` is copied. */
void cvy_customer_begin(struct cvy_customer *customer, enum cvy_counter counter, int fd,
                        struct covey_view authkey);
/** Go on, without waiting. Returns: whether there is more to do; else it is to leave. */
bool cvy_customer_go_on(struct cvy_customer *customer);
/** Send it away, whatever it was at, and close its descriptor. */
void cvy_customer_leave(struct cvy_customer *customer);

/** Take an offer in hand for somebody. `*ret_proof`: the other half of its key. Returns: its
 * descriptor; -ENOENT; -EAGAIN: somebody else has it in hand. */
int cvy_offer_begin(enum cvy_counter counter, uint64_t key, uint64_t *ret_proof);
/** It was given, or not after all: then it is there for others again. */
void cvy_offer_end(uint64_t key, bool was_given);

#endif
