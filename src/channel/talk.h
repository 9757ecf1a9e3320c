/* SPDX-License-Identifier: MIT */
/**
 * channel/talk.h: small talk over a socket by threads that are not of the family, and so
 * have no connections: a handshake, a request of a few bytes, and a descriptor for it.
 * Sides that have proved nothing cost no more than what is drawn here.
 */
#ifndef CVY_CHANNEL_TALK_H
#define CVY_CHANNEL_TALK_H

#include "channel/auth.h"
#include "channel/frame.h"

/** Bytes of the header of a small message. */
#define CVY_TALK_HEADER 4u
/** Most bytes of a request for a descriptor: any number or name, but no mass of data. */
#define CVY_TALK_REQUEST 4096u
/** What one who was given a descriptor answers, as CPython from 3.14 on. */
#define CVY_TALK_THANKS 'A'

struct cvy_talk {
    int fd; /* the caller's */
    struct cvy_auth auth;
    size_t got; /* bytes of `in` that have come */
    unsigned char in[CVY_TALK_HEADER + CVY_AUTH_MESSAGE];
};

/** Send a message, which there has to be room for: the other side is to read what it was
 * sent before. Returns: 0; COVEY_EEOF; COVEY_EPROTOCOL; of the system. */
int cvy_talk_say(const struct cvy_talk *talk, struct covey_view message);
/** The next message, if it is there. Returns: 0; -EAGAIN: not wholly; COVEY_EEOF;
 * COVEY_EPROTOCOL: it is too long. */
int cvy_talk_hear(struct cvy_talk *talk, struct cvy_auth_message *ret);
/** Go on with the handshake in `auth`. Returns: 0: done; -EAGAIN: it is the other side's
 * turn; COVEY_EAUTH; as the two above. */
int cvy_talk_prove(struct cvy_talk *talk);

/**
 * Ask for a descriptor by some bytes; receive it, and answer that it has come. One that
 * could not be received, for want of a free place, is not asked for: asking returns a
 * descriptor that keeps the place, which receiving closes. Fetching is both.
 *
 * Returns: 0; -ETIMEDOUT; COVEY_EEOF: the other side has closed; COVEY_EPROTOCOL: what
 * came has no descriptor with it, or the request is too long; -EMFILE and others of the
 * system.
 */
int cvy_talk_ask(int fd, struct covey_view request, int64_t deadline);
int cvy_talk_take(int fd, int place, int64_t deadline, int *ret_fd);
int cvy_talk_fetch(int fd, struct covey_view request, int64_t deadline, int *ret_fd);

#endif
