/* SPDX-License-Identifier: MIT */
/**
 * channel/auth.h: the handshake by which two sides prove to each other that they know a
 * key, as something that goes on whenever there is something to do.
 */
#ifndef CVY_CHANNEL_AUTH_H
#define CVY_CHANNEL_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include <covey/connection.h>

/** Most bytes of a message before the peer has proved anything. */
#define CVY_AUTH_MESSAGE 256

struct cvy_auth_message {
    size_t size;
    unsigned char data[CVY_AUTH_MESSAGE];
};

enum cvy_auth_half { CVY_AUTH_NOTHING = 0, CVY_AUTH_DELIVER, CVY_AUTH_ANSWER };

struct cvy_auth {
    struct covey_view key; /* must outlive it */
    bool allow_md5;
    enum cvy_auth_half halves[2];
    uint8_t half, step;
    bool refuses;  /* the other side has failed to prove */
    bool flushing; /* over a connection: what was said has not gone out wholly */
    unsigned char own[64];    /* the challenge that was sent */
    unsigned char reply[128]; /* the answer to send */
    size_t own_size, reply_size;
};

/** Begin one. A listener delivers first, a client answers first. */
void cvy_auth_begin(struct cvy_auth *auth, struct covey_view key, bool allow_md5,
                    enum cvy_auth_half first, enum cvy_auth_half second);

enum cvy_auth_turn { CVY_AUTH_IS_DONE = 0, CVY_AUTH_SPEAKS, CVY_AUTH_HEARS };
/** Whose message is next, for those who send and receive them by themselves. */
enum cvy_auth_turn cvy_auth_turn(const struct cvy_auth *auth);
/** What to say next, the same until cvy_auth_said. Returns: 0; of the system. */
int cvy_auth_speak(struct cvy_auth *auth, struct cvy_auth_message *ret);
void cvy_auth_said(struct cvy_auth *auth);
/** Take what the other side said. Returns: 0; COVEY_EAUTH; of libcrypto. */
int cvy_auth_hear(struct cvy_auth *auth, const struct cvy_auth_message *message);
/** What to tell it after that has failed. Returns: whether there is something. */
bool cvy_auth_refusal(const struct cvy_auth *auth, struct cvy_auth_message *ret);
/** Whether they are the same bytes, in a time that does not depend on them. */
bool cvy_auth_same(const void *a, const void *b, size_t size);

/** Go on over a connection. Returns: 0: done; -ETIMEDOUT: not yet; COVEY_EAUTH; as covey_conn_recv. */
int cvy_auth_go_on(struct cvy_auth *auth, covey_conn *conn, int64_t deadline);
/** Forget what it knows. */
void cvy_auth_end(struct cvy_auth *auth);

#endif
