/* SPDX-License-Identifier: MIT */
/* tls.c: sessions of TLS.
 *
 *   write --> libssl --> `out` --> the socket
 *   read  <-- libssl <------------ the socket, one record at a time
 *
 * libssl always has room for what it writes, so a record is never half written inside of
 * it; and it reads no more than the record that it needs, so what it is ahead of its reader
 * is the rest of one record. Nothing here waits, but for cvy_tls_shake_until. */
#include "channel/tls.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "channel/tls_session.h"
#include "os/os.h"
#include "region/member.h"

#define RECORD       ((size_t)16384)
#define MOST_AT_ONCE (4 * RECORD)
#define FIRST_RECORD 0x14 /* first bytes of records */
#define LAST_RECORD  0x17
#define FIRST_ALERT  1000 /* reasons of libssl from here on are what the peer said */

/* ---- the socket, for libssl ---- */

static int read_socket(BIO *bio, char *to, int size)
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    struct cvy_tls *t = f->BIO_get_data(bio);
    f->BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    ssize_t n = cvy_os_stream_read(t->fd, t->kind, to, (size_t)size);
    if (n > 0 && !t->has_heard) {
        t->has_heard = true;
        t->is_strange =
            (unsigned char)to[0] < FIRST_RECORD || (unsigned char)to[0] > LAST_RECORD;
    }
    t->wants_more = n == -EAGAIN;
    if (n == -EAGAIN)
        f->BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
    else if (n < 0)
        t->failure = (int)n;
    t->at_end |= n == 0;
    return n > 0 ? (int)n : n == 0 ? 0 : -1;
}

static int write_socket(BIO *bio, const char *data, int size)
{
    struct cvy_tls *t = cvy_tls_library()->BIO_get_data(bio);
    int r = cvy_bytes_append(&t->out, data, (size_t)size);
    if (r < 0)
        t->failure = r;
    return r < 0 ? -1 : size;
}

static long control_socket(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

/* Write what waits. Returns: 0: nothing does any more; -EAGAIN; -EPIPE; of the system. */
static int flush(struct cvy_tls *t)
{
    while (t->out_done < t->out.size) {
        const struct covey_view rest[2] = {
            COVEY_VIEW((const char *)t->out.data + t->out_done,
                       t->out.size - t->out_done),
            COVEY_NO_VIEW};
        ssize_t n = cvy_os_stream_write(t->fd, t->kind, rest, false);
        if (n < 0)
            return (int)n;
        t->out_done += (size_t)n;
    }
    covey_bytes_free(&t->out); /* an idle session has none */
    t->out_done = 0;
    return 0;
}

/* ---- beginning and end ---- */

/* The name that the server's certificate has to be for. */
static bool want_name(SSL *ssl, const char *name)
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    char sent[CVY_TLS_TEXT];
    if (f->X509_VERIFY_PARAM_set1_ip_asc(f->SSL_get0_param(ssl), name) == 1)
        return true;
    memcpy(sent, name, strlen(name) + 1);
    return f->SSL_set1_host(ssl, name) == 1 &&
           f->SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                       sent) == 1;
}

static int connect_bio(struct cvy_tls *t)
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    t->method = f->BIO_meth_new(BIO_TYPE_SOURCE_SINK, "covey");
    if (!t->method)
        return -ENOMEM;
    (void)f->BIO_meth_set_read(t->method, read_socket);
    (void)f->BIO_meth_set_write(t->method, write_socket);
    (void)f->BIO_meth_set_ctrl(t->method, control_socket);
    BIO *bio = f->BIO_new(t->method);
    if (!bio)
        return -ENOMEM;
    f->BIO_set_data(bio, t);
    f->BIO_set_init(bio, 1);
    f->SSL_set_bio(t->ssl, bio, bio); /* which takes it */
    return 0;
}

/* The other side has said that this is the end. */
static void hear(const SSL *ssl, int where, int alert)
{
    struct cvy_tls *t = cvy_tls_library()->SSL_get_ex_data(ssl, 0);
    t->at_end |= where == SSL_CB_READ_ALERT && (alert & 0xFF) == SSL_AD_CLOSE_NOTIFY;
}

static int open_session(struct cvy_tls *t)
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    const struct cvy_tls_context *c = t->context;
    t->ssl = f->SSL_new(c->ctx);
    if (!t->ssl || f->SSL_set_ex_data(t->ssl, 0, t) != 1 || connect_bio(t) < 0)
        return cvy_fail(-ENOMEM, "TLS: no memory for a connection");
    f->SSL_set_info_callback(t->ssl, hear);
    if (c->accepts) {
        f->SSL_set_accept_state(t->ssl);
        return 0;
    }
    f->SSL_set_connect_state(t->ssl);
    return !c->server_name[0] || want_name(t->ssl, c->server_name)
               ? 0
               : cvy_fail(-EINVAL, "TLS: %s is no name of a server", c->server_name);
}

int cvy_tls_begin(struct cvy_tls **out, const struct cvy_tls_context *context, int fd,
                  enum cvy_os_stream_kind kind)
{
    struct cvy_tls *t = cvy_calloc(1, sizeof *t);
    if (!t)
        return cvy_fail(-ENOMEM, "TLS: no memory for a connection");
    (void)pthread_mutex_init(&t->mutex, NULL);
    t->member = cvy_member_owner();
    t->fd = fd;
    t->kind = kind;
    t->context = context;
    cvy_tls_begin_errors();
    int r = open_session(t);
    cvy_tls_end_errors();
    if (r < 0)
        cvy_tls_free(t);
    else
        *out = t;
    return r;
}

bool cvy_tls_is_own(const struct cvy_tls *t)
{
    return cvy_process_page && t->member == cvy_member_owner();
}

/* Before libssl is called, and after it. */
static void lock(struct cvy_tls *t)
{
    (void)pthread_mutex_lock(&t->mutex);
    if (t->failure != -ECONNABORTED) /* which the system tells only once */
        t->failure = 0;
    cvy_tls_begin_errors();
    t->has_older = cvy_tls_library()->ERR_peek_error() != 0;
}
static void unlock(struct cvy_tls *t)
{
    cvy_tls_end_errors();
    (void)pthread_mutex_unlock(&t->mutex);
}

void cvy_tls_end(struct cvy_tls *t)
{
    if (!cvy_tls_is_own(t) || t->context)
        return;
    lock(t);
    (void)cvy_tls_library()->SSL_shutdown(t->ssl);
    (void)flush(t);
    unlock(t);
}

/* What another process's thread may have been in the middle of is not touched; leak
 * checkers see that it is known. */
static void leave(struct cvy_tls *t)
{
    static struct cvy_tls *_Atomic left;
    t->next_left = atomic_load(&left);
    while (!atomic_compare_exchange_weak(&left, &t->next_left, t))
        continue;
}

struct cvy_tls *cvy_tls_free(struct cvy_tls *t)
{
    if (!t)
        return NULL;
    if (!cvy_tls_is_own(t)) {
        leave(t);
        return NULL;
    }
    cvy_tls_begin_errors();
    cvy_tls_library()->SSL_free(t->ssl);
    if (t->method)
        cvy_tls_library()->BIO_meth_free(t->method);
    cvy_tls_end_errors();
    covey_bytes_free(&t->out);
    (void)pthread_mutex_destroy(&t->mutex);
    cvy_free(t);
    return NULL;
}

/* ---- what goes wrong ---- */

static const char *reason_text(unsigned long error)
{
    const char *text = cvy_tls_library()->ERR_reason_error_string(error);
    return text ? text : "it fails";
}

/* The first error is the one with the cause; the last is surely of this call. */
static unsigned long error_of(const struct cvy_tls *t)
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    return t->has_older ? f->ERR_peek_last_error() : f->ERR_peek_error();
}

/* The handshake has failed for a reason of TLS. */
static int fail_handshake(const struct cvy_tls *t)
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    unsigned long error = error_of(t);
    unsigned reason = error & 0xFFF; /* in libssl 1.1 as in 3 */
    long verdict = f->SSL_get_verify_result(t->ssl);
    bool uses_key = t->context && t->context->uses_key;
    if (t->is_strange)
        return cvy_fail(COVEY_EPROTOCOL, "TLS: the other side speaks none");
    if (reason == SSL_R_UNSUPPORTED_PROTOCOL ||
        reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION)
        return cvy_fail(COVEY_EPROTOCOL, "TLS: the other side has no TLS 1.3");
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verdict != X509_V_OK && !uses_key)
        return cvy_fail(COVEY_EAUTH, "TLS: the other side's certificate: %s",
                        f->X509_verify_cert_error_string(verdict));
    if (reason == SSL_R_BINDER_DOES_NOT_VERIFY)
        return cvy_fail(COVEY_EAUTH, "TLS: the other side has another key");
    if (reason >= FIRST_ALERT)
        return cvy_fail(COVEY_EAUTH, "TLS: the other side refuses: %s%s",
                        reason_text(error),
                        uses_key ? "; it has another key, or wants certificates" : "");
    return cvy_fail(COVEY_EAUTH, "TLS: the handshake: %s%s", reason_text(error),
                    uses_key ? "; the other side has another key, or certificates"
                             : "");
}

/* What a call of libssl that failed says. SSL_get_error would take an entry of the program's
 * in the queue of errors for one of this call. Returns: 0: the end; -EAGAIN; negative, with
 * a detail if it is a code of covey's. */
static int why(struct cvy_tls *t)
{
    if (t->wants_more)
        return -EAGAIN;
    if (t->failure)
        return t->failure;
    if (t->at_end)
        return 0;
    /* Who refuses the certificate of a client does it after that has done its part. */
    if (!t->is_private)
        return fail_handshake(t);
    return cvy_fail(COVEY_EPROTOCOL, "TLS: what came is broken: %s",
                    reason_text(error_of(t)));
}

/* ---- the handshake ---- */

bool cvy_tls_is_shaken(const struct cvy_tls *t)
{
    return !t->context;
}

static int fail_shake(struct cvy_tls *t)
{
    int r = why(t);
    if (r == 0)
        return cvy_fail(COVEY_EEOF,
                        "TLS: the other side has closed the connection in the "
                        "handshake%s",
                        t->has_heard ? "" : ", before it said anything");
    return r == -EAGAIN || r <= COVEY_ECLOSED ? r
                                              : cvy_fail_os(r, "TLS: the handshake");
}

static int shake(struct cvy_tls *t)
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    t->wants_more = false;
    int r = f->SSL_do_handshake(t->ssl) == 1 ? 0 : fail_shake(t);
    int flushed = r == 0 || r == -EAGAIN ? flush(t) : 0;
    if (flushed == -EAGAIN)
        return cvy_fail(COVEY_EPROTOCOL, "TLS: the other side does not read");
    if (flushed == -EPIPE)
        return cvy_fail(COVEY_EEOF, "TLS: the other side has closed the connection");
    if (flushed < 0)
        return cvy_fail_os(flushed, "TLS: the handshake");
    if (r < 0) {
        if (r != -EAGAIN)
            (void)flush(t); /* what it is told of that */
        return r;
    }
    if (t->context->uses_key && !f->SSL_session_reused(t->ssl))
        return cvy_fail(COVEY_EAUTH, "TLS: the other side did not prove the key");
    t->context = NULL;
    return 0;
}

int cvy_tls_shake(struct cvy_tls *t)
{
    lock(t);
    int r = t->context ? shake(t) : 0;
    unlock(t);
    return r;
}

int cvy_tls_shake_until(struct cvy_tls *t, int64_t deadline)
{
    int r;
    while ((r = cvy_tls_shake(t)) == -EAGAIN) {
        int ready = cvy_os_poll_in(t->fd, deadline);
        if (ready < 0)
            return cvy_fail_os(ready, "TLS: the handshake");
        if (!ready)
            return cvy_fail(-ETIMEDOUT, "TLS: the handshake is not done");
    }
    return r;
}

/* ---- bytes ---- */

ssize_t cvy_tls_read(struct cvy_tls *t, void *data, size_t size)
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    size_t got = 0, some;
    int result = 1, r = 0;
    size = cvy_min_size(size, MOST_AT_ONCE);
    lock(t);
    while (got < size && result == 1) {
        t->wants_more = false;
        result = f->SSL_read_ex(t->ssl, (char *)data + got, size - got, &some);
        if (result == 1)
            got += some;
        else
            r = why(t); /* told again by the next call, if something has come */
    }
    t->is_private |= got > 0;
    (void)flush(t); /* what TLS answers by itself */
    unlock(t);
    return got ? (ssize_t)got : r;
}

/* The next bytes for a record, from `at` on; `joint` is room where parts meet. */
static struct covey_view piece_at(const struct covey_view parts[2], size_t at,
                                  unsigned char joint[RECORD])
{
    size_t first = parts[0].size;
    if (at >= first) {
        at -= first;
        return COVEY_VIEW((const char *)parts[1].data + at,
                          cvy_min_size(RECORD, parts[1].size - at));
    }
    const char *begin = (const char *)parts[0].data + at;
    size_t here = cvy_min_size(RECORD, first - at);
    size_t there = cvy_min_size(RECORD - here, parts[1].size);
    if (!there)
        return COVEY_VIEW(begin, here);
    memcpy(joint, begin, here);
    memcpy(joint + here, parts[1].data, there);
    return COVEY_VIEW(joint, here + there);
}

/* Make records of some of it. Returns: bytes that are in them; negative. */
static ssize_t encrypt(struct cvy_tls *t, const struct covey_view parts[2])
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    unsigned char joint[RECORD];
    size_t done = 0, some = 0,
           total = cvy_min_size(parts[0].size + parts[1].size, MOST_AT_ONCE);
    while (done < total) {
        struct covey_view piece = piece_at(parts, done, joint);
        t->wants_more = false;
        if (f->SSL_write_ex(t->ssl, piece.data, piece.size, &some) != 1) {
            int r = why(t);
            return r ? r : -EPIPE;
        }
        done += some;
    }
    return (ssize_t)done;
}

ssize_t cvy_tls_write(struct cvy_tls *t, const struct covey_view parts[2])
{
    lock(t);
    ssize_t n = t->is_torn ? COVEY_EBROKEN : flush(t);
    if (n == 0 && t->owes) {
        t->owes = false;
        n = 1;
    } else if (n == 0) {
        ssize_t some = encrypt(t, parts);
        int r = some > 0 ? flush(t) : 0;
        t->owes = r == -EAGAIN;
        n = r < 0 && r != -EAGAIN ? r : t->owes ? some - 1 : some;
        t->is_torn = n < 0 && n != -EPIPE && n != -ECONNABORTED;
    }
    unlock(t);
    return n;
}

bool cvy_tls_is_torn(struct cvy_tls *t)
{
    lock(t);
    bool is_torn = t->is_torn;
    unlock(t);
    return is_torn;
}

bool cvy_tls_is_ahead(struct cvy_tls *t)
{
    lock(t);
    bool is_ahead = cvy_tls_library()->SSL_pending(t->ssl) > 0;
    unlock(t);
    return is_ahead;
}

bool cvy_tls_has_input(struct cvy_tls *t)
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    char byte;
    size_t size;
    lock(t);
    t->wants_more = false;
    bool has = f->SSL_peek_ex(t->ssl, &byte, 1, &size) == 1 || why(t) != -EAGAIN;
    unlock(t);
    return has;
}
