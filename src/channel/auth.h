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

enum cvy_auth_half { CVY_AUTH_NOTHING = 0, CVY_AUTH_DELIVER, CVY_AUTH_ANSWER };

struct cvy_auth {
    struct covey_view key; /* must outlive it */
    bool allow_md5;
    enum cvy_auth_half halves[2];
    uint8_t half, step;
    bool flushing;
    unsigned char own[64];    /* the challenge that was sent */
    unsigned char reply[128]; /* the answer to send */
    size_t own_size, reply_size;
};

/** Begin one. A listener delivers first, a client answers first. */
void cvy_auth_begin(struct cvy_auth *auth, struct covey_view key, bool allow_md5,
                    enum cvy_auth_half first, enum cvy_auth_half second);
/** Go on. Returns: 0: done; -ETIMEDOUT: not yet; COVEY_EAUTH; as covey_conn_recv. */
int cvy_auth_go_on(struct cvy_auth *auth, covey_conn *conn, int64_t deadline);
/** Forget what it knows. */
void cvy_auth_end(struct cvy_auth *auth);

#endif
