/* SPDX-License-Identifier: MIT */
/* auth.c: the challenge of CPython's multiprocessing.connection, in both dialects.
 *
 *   deliver:  > #CHALLENGE# M              M = {sha256} and 40 random bytes
 *             < {digest} HMAC(key, M)      or, before Python 3.12, 16 bytes by MD5
 *             > #WELCOME#                  or #FAILURE#
 *   answer:   the same from the other side, where an M of just 20 bytes asks for MD5
 *
 * A listener delivers, then answers; a client the other way round. Each line is a message,
 * and none that is received may have more than 256 bytes. */
#include "channel/auth.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/opts.h"
#include "channel/mac.h"
#include "os/os.h"

#define CHALLENGE    "#CHALLENGE#"
#define WELCOME      "#WELCOME#"
#define FAILURE      "#FAILURE#"
#define TEXT_SIZE(s) (sizeof(s) - 1)

#define OWN_PREFIX    "{sha256}"
#define OWN_RANDOM    40
#define LEGACY_SIZE   20 /* of a challenge that is answered by MD5 */
#define MD5_SIZE      16
#define LONGEST_BRACE 10

/* Python's names of the digests that it allows, and libcrypto's. */
static const struct digest {
    const char *name, *crypto_name;
} digests[] = {
    {"md5", "MD5"},           {"sha256", "SHA256"},     {"sha384", "SHA384"},
    {"sha3_256", "SHA3-256"}, {"sha3_384", "SHA3-384"},
};

static bool same(const unsigned char *a, const unsigned char *b, size_t size)
{
    volatile unsigned char differs =
        0; /* in a time that does not depend on the bytes */
    for (size_t i = 0; i < size; i++)
        differs |= (unsigned char)(a[i] ^ b[i]);
    return !differs;
}

static bool begins_with(const unsigned char *data, size_t size, const char *text)
{
    return size >= strlen(text) && memcmp(data, text, strlen(text)) == 0;
}

/* The digest that "{name}..." names, and the length of that. NULL: none that is known. */
static const struct digest *digest_of(const unsigned char *data, size_t size,
                                      size_t *ret_prefix)
{
    const unsigned char *brace =
        size && *data == '{' ? memchr(data, '}', cvy_min_size(size, LONGEST_BRACE))
                             : NULL;
    if (!brace)
        return NULL;
    for (size_t i = 0; i < CVY_ARRAY_SIZE(digests); i++) {
        size_t length = strlen(digests[i].name);
        if ((size_t)(brace - data) == length + 1 &&
            memcmp(data + 1, digests[i].name, length) == 0) {
            *ret_prefix = length + 2;
            return &digests[i];
        }
    }
    return NULL;
}

static int fail_md5(const char *who)
{
    return cvy_fail(COVEY_EAUTH, "%s by MD5, as CPython before 3.12; see .allow_md5",
                    who);
}

/* ---- what is said ---- */

static int make_challenge(struct cvy_auth *a)
{
    memcpy(a->own, OWN_PREFIX, TEXT_SIZE(OWN_PREFIX));
    a->own_size = TEXT_SIZE(OWN_PREFIX) + OWN_RANDOM;
    int r = cvy_os_random(a->own + TEXT_SIZE(OWN_PREFIX), OWN_RANDOM);
    return r < 0 ? cvy_fail_os(r, "random bytes for a challenge") : 0;
}

/* Whether `reply` proves the key. Returns: 0; COVEY_EAUTH; of libcrypto. */
static int verify(struct cvy_auth *a, const unsigned char *reply, size_t size)
{
    unsigned char mac[CVY_MAC_MOST];
    size_t mac_size = 0, prefix = 0;
    const struct digest *digest = &digests[0];
    if (size != MD5_SIZE)
        digest = digest_of(reply, size, &prefix);
    if (!digest)
        return cvy_fail(COVEY_EAUTH, "what came is no answer to a challenge");
    if (digest == &digests[0] && !a->allow_md5)
        return fail_md5("the other side answers");
    int r = cvy_mac(digest->crypto_name, a->key, COVEY_VIEW(a->own, a->own_size), mac,
                    &mac_size);
    if (r >= 0 && (size - prefix != mac_size || !same(reply + prefix, mac, mac_size)))
        r = cvy_fail(COVEY_EAUTH, "the other side has another key");
    explicit_bzero(mac, sizeof mac);
    return r;
}

/* Make the answer to a challenge. */
static int make_reply(struct cvy_auth *a, const unsigned char *frame, size_t size)
{
    size_t prefix = 0, mac_size = 0;
    if (!begins_with(frame, size, CHALLENGE))
        return cvy_fail(COVEY_EAUTH, "the other side sends no challenge");
    const unsigned char *m = frame + TEXT_SIZE(CHALLENGE);
    size_t m_size = size - TEXT_SIZE(CHALLENGE);
    if (m_size < LEGACY_SIZE)
        return cvy_fail(COVEY_EAUTH, "a challenge of only %zu bytes", m_size);
    const struct digest *digest =
        m_size == LEGACY_SIZE ? &digests[0] : digest_of(m, m_size, &prefix);
    if (!digest)
        return cvy_fail(COVEY_EAUTH, "the other side asks for an unknown digest");
    if (digest == &digests[0] && !a->allow_md5)
        return fail_md5("the other side asks for a proof");
    if (prefix)
        memcpy(a->reply, m, prefix);
    int r = cvy_mac(digest->crypto_name, a->key, COVEY_VIEW(m, m_size),
                    a->reply + prefix, &mac_size);
    a->reply_size = prefix + mac_size;
    return r;
}

/* ---- the steps ---- */

static int say(struct cvy_auth *a, covey_conn *conn, const void *data, size_t size,
               int64_t deadline)
{
    int r = covey_conn_send(conn, COVEY_VIEW(data, size), cvy_os_time_left(deadline));
    a->flushing = r == COVEY_PENDING;
    if (r == -EPIPE)
        return cvy_fail(COVEY_EEOF, "the other side has closed the connection");
    return r < 0 ? r : 0;
}

static int hear(covey_conn *conn, unsigned char frame[CVY_AUTH_MESSAGE],
                size_t *ret_size, int64_t deadline)
{
    int r = covey_conn_recv_into(conn, frame, CVY_AUTH_MESSAGE, ret_size,
                                 cvy_os_time_left(deadline));
    return r == -EMSGSIZE
               ? cvy_fail(COVEY_EPROTOCOL,
                          "a message of %zu bytes before the other side has proved "
                          "that it knows the key",
                          *ret_size)
               : r;
}

/* Tell it without waiting for it. */
static int tell_failure(covey_conn *conn)
{
    char why[CVY_DETAIL_SIZE];
    memcpy(why, covey_error_detail(),
           strnlen(covey_error_detail(), sizeof why - 1) + 1);
    (void)covey_conn_send(conn, COVEY_VIEW(FAILURE, TEXT_SIZE(FAILURE)), COVEY_NOWAIT);
    return cvy_fail(COVEY_EAUTH, "%s", why);
}

static int deliver(struct cvy_auth *a, covey_conn *conn, int64_t deadline)
{
    unsigned char frame[CVY_AUTH_MESSAGE];
    size_t size = 0;
    int r = 0;
    switch (a->step) {
    case 0:
        if (!a->own_size)
            r = make_challenge(a);
        if (r < 0)
            return r;
        memcpy(frame, CHALLENGE, TEXT_SIZE(CHALLENGE));
        memcpy(frame + TEXT_SIZE(CHALLENGE), a->own, a->own_size);
        return say(a, conn, frame, TEXT_SIZE(CHALLENGE) + a->own_size, deadline);
    case 1:
        r = hear(conn, frame, &size, deadline);
        if (r >= 0)
            r = verify(a, frame, size);
        if (r != COVEY_EAUTH)
            return r;
        return tell_failure(conn);
    default:
        return say(a, conn, WELCOME, TEXT_SIZE(WELCOME), deadline);
    }
}

static int answer(struct cvy_auth *a, covey_conn *conn, int64_t deadline)
{
    unsigned char frame[CVY_AUTH_MESSAGE];
    size_t size = 0;
    int r = 0;
    switch (a->step) {
    case 0:
        r = hear(conn, frame, &size, deadline);
        return r < 0 ? r : make_reply(a, frame, size);
    case 1:
        return say(a, conn, a->reply, a->reply_size, deadline);
    default:
        r = hear(conn, frame, &size, deadline);
        if (r >= 0 &&
            (size != TEXT_SIZE(WELCOME) || !begins_with(frame, size, WELCOME)))
            return cvy_fail(COVEY_EAUTH,
                            "the other side refuses the proof: another key%s",
                            a->allow_md5 ? "" : ", or it wants MD5, see .allow_md5");
        return r;
    }
}

void cvy_auth_begin(struct cvy_auth *auth, struct covey_view key, bool allow_md5,
                    enum cvy_auth_half first, enum cvy_auth_half second)
{
    *auth = (struct cvy_auth){
        .key = key, .allow_md5 = allow_md5, .halves = {first, second}};
}

void cvy_auth_end(struct cvy_auth *auth)
{
    explicit_bzero(auth, sizeof *auth);
}

int cvy_auth_go_on(struct cvy_auth *a, covey_conn *conn, int64_t deadline)
{
    while (a->half < 2) {
        int r = a->flushing ? covey_conn_flush(conn, cvy_os_time_left(deadline)) : 0;
        if (r < 0)
            return r;
        a->flushing = false;
        enum cvy_auth_half half = a->halves[a->half];
        if (half != CVY_AUTH_NOTHING) {
            r = half == CVY_AUTH_DELIVER ? deliver(a, conn, deadline)
                                         : answer(a, conn, deadline);
            if (r < 0)
                return r;
        }
        if (half == CVY_AUTH_NOTHING || ++a->step == 3) {
            a->step = 0;
            a->half++;
        }
    }
    return a->flushing ? covey_conn_flush(conn, cvy_os_time_left(deadline)) : 0;
}

/* ---- by themselves ---- */

static int do_half(covey_conn *conn, struct covey_view key,
                   const struct covey_auth_opts *opts, covey_nsec timeout,
                   enum cvy_auth_half half, const char *call)
{
    struct covey_auth_opts o;
    struct cvy_auth auth;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0 && !key.data && key.size)
        r = cvy_fail(-EINVAL, "%s: a key of %zu bytes at NULL", call, key.size);
    if (r < 0)
        return r;
    cvy_auth_begin(&auth, key, o.allow_md5 == COVEY_ON, half, CVY_AUTH_NOTHING);
    r = cvy_auth_go_on(&auth, conn, cvy_os_deadline(timeout));
    cvy_auth_end(&auth);
    if (r < 0)
        cvy_detail_prefix("%s", call);
    return r;
}

int covey_deliver_challenge(covey_conn *conn, struct covey_view key,
                            const struct covey_auth_opts *opts, covey_nsec timeout)
{
    return do_half(conn, key, opts, timeout, CVY_AUTH_DELIVER,
                   "covey_deliver_challenge");
}

int covey_answer_challenge(covey_conn *conn, struct covey_view key,
                           const struct covey_auth_opts *opts, covey_nsec timeout)
{
    return do_half(conn, key, opts, timeout, CVY_AUTH_ANSWER, "covey_answer_challenge");
}
