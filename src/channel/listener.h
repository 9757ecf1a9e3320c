/* SPDX-License-Identifier: MIT */
/** channel/listener.h: what the files of listeners share. */
#ifndef CVY_CHANNEL_LISTENER_H
#define CVY_CHANNEL_LISTENER_H

#include <pthread.h>

#include "channel/auth.h"
#include "channel/conn.h"

/* A peer that is proving that it knows the key. */
struct cvy_pending {
    struct cvy_pending *next; /* in the order in which they came */
    covey_conn *conn;
    int fd;
    uint32_t tag; /* in the set */
    int64_t deadline;
    int64_t yields_at; /* it makes room for another one from then on */
    struct cvy_auth auth;
};

struct covey_listener {
    uint32_t magic;
    /* Whose `set` and `pending` these are; a fork child has copies, until one thread of it,
     * for the process that `maker` says, has made its own. */
    _Atomic uint32_t member, maker;
    int fd;                /* -1: closed */
    int set;               /* `fd`, by tag 0, those of the pending, and `timer` */
    pthread_mutex_t mutex; /* of all that follows */
    int timer;        /* makes the set readable for a peer whose time is up; -1: the
                              program does not poll it, or no peer is ever pending */
    int64_t rings_at; /* what it is set to */
    struct cvy_pending *pending;
    size_t pending_count, max_pending;
    uint32_t last_tag;
    covey_nsec handshake_timeout;
    bool has_key, allow_md5, report_refused, same_user;
    bool has_accepted, keeps_fd;
    bool
        is_shut; /* `fd` does not count in the set: there is no place for another peer */
    struct covey_bytes key;
    struct cvy_tls_context *tls; /* NULL: none */
    uint64_t refused;
    struct cvy_path_note *note; /* of its path, if it has one */
    char address[CVY_OS_ADDRESS_TEXT];
    char accepted[CVY_OS_ADDRESS_TEXT];
};

/** Listen by a socket that listens already, which is the listener's then, but for its path:
 * who has made that removes it. Returns: as covey_listener_create. */
int cvy_listener_adopt(covey_listener **out, int fd,
                       const struct covey_listener_opts *opts) COVEY_MUST_CHECK;

/** Free one of those, but for its socket, which is the caller's again. */
void cvy_listener_give_back(covey_listener *listener);

/** As covey_listener_create, but a path whose socket nobody listens at is taken over. */
int cvy_listener_replace(covey_listener **out, const char *address,
                         const struct covey_listener_opts *opts) COVEY_MUST_CHECK;

/** Take in who has come, and let those who are at it go on. Mutex held, but not while a
 * line is logged. `*out`: receives the next that is accepted, if any. Returns: 0; of the
 * system; of a peer that failed. */
int cvy_pending_go_on(struct covey_listener *l, covey_conn **out, const char *call);
/** When the first of them runs out of time, or makes room for another one; INT64_MAX: never.
 * Mutex held. */
int64_t cvy_pending_deadline(const struct covey_listener *l);
/** Have a timer in the set for that. Mutex held. Returns: 0; of the system. */
int cvy_pending_add_timer(struct covey_listener *l);
/** Set it anew where that is needed. Mutex held. */
void cvy_pending_set_timer(struct covey_listener *l);
/** Drop all of them. Mutex held. */
void cvy_pending_drop_all(struct covey_listener *l);

#endif
