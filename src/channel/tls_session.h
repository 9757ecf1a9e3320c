/* SPDX-License-Identifier: MIT */
/** channel/tls_session.h: what the files of TLS share. */
#ifndef CVY_CHANNEL_TLS_SESSION_H
#define CVY_CHANNEL_TLS_SESSION_H

#include <pthread.h>

#include "channel/tls.h"
#include "channel/tls_library.h"

#define CVY_TLS_PSK 32u

struct cvy_tls_context {
    SSL_CTX *ctx;
    bool accepts, uses_key;
    char server_name[CVY_TLS_TEXT];
    unsigned char psk[CVY_TLS_PSK];
};

struct cvy_tls {
    struct cvy_tls *next_left; /* in the list of those that a fork child has left */
    pthread_mutex_t mutex; /* of all that follows: libssl takes one call at a time */
    uint32_t member;       /* whose it is */
    int fd;                /* the caller's */
    enum cvy_os_stream_kind kind;
    SSL *ssl;
    BIO_METHOD *method;
    const struct cvy_tls_context *context; /* NULL: the handshake is done */
    struct covey_bytes out; /* records to be written, from `out_done` on */
    size_t out_done;
    bool owes;       /* the last byte of what was written is in `out` still */
    bool has_heard;  /* a byte has come */
    bool is_strange; /* the first of them begins no record of TLS */
    bool is_private; /* a byte inside of TLS has come */
    bool at_end;     /* nothing more comes */
    bool wants_more; /* the socket had nothing for the last call of libssl */
    bool has_older;  /* libssl's queue of errors has what is not of this call */
    bool is_torn;    /* records that are in no write's result were begun */
    int failure;     /* of the system, or of memory, in this call; 0: none */
};

/* libssl says what has failed in a queue of the thread, which is the program's, too: its
 * entries stay, as far as libssl lets them, and none are added. */
static inline void cvy_tls_begin_errors(void)
{
    (void)cvy_tls_library()->ERR_set_mark();
}
static inline void cvy_tls_end_errors(void)
{
    (void)cvy_tls_library()->ERR_pop_to_mark();
}

#endif
