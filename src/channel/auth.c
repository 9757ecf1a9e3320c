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
#define TLS_HELLO     0x1603u /* its first bytes, read as the size of a message */

/* Python's names of the digests that it allows, and libcrypto's. */
static const struct digest {
    const char *name, *crypto_name;
} digests[] = {
    {"md5", "MD5"},           {"sha256", "SHA256"},     {"sha384", "SHA384"},
    {"sha3_256", "SHA3-256"}, {"sha3_384", "SHA3-384"},
};

bool cvy_auth_same(const void *a, const void *b, size_t size)
{
    const unsigned char *x = a, *y = b;
    volatile unsigned char differs = 0;
    for (size_t i = 0; i < size; i++)
        differs |= (unsigned char)(x[i] ^ y[i]);
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
    if (r >= 0 &&
        (size - prefix != mac_size || !cvy_auth_same(reply + prefix, mac, mac_size)))
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

/* Each half has three messages, which the two sides send in turns. */
enum { STEPS = 3 };

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

enum cvy_auth_turn cvy_auth_turn(const struct cvy_auth *a)
{
    enum cvy_auth_half half =
        a->half < CVY_ARRAY_SIZE(a->halves) ? a->halves[a->half] : CVY_AUTH_NOTHING;
    if (half == CVY_AUTH_NOTHING)
        return CVY_AUTH_IS_DONE;
    return (half == CVY_AUTH_DELIVER) == (a->step != 1) ? CVY_AUTH_SPEAKS
                                                        : CVY_AUTH_HEARS;
}

static void move_on(struct cvy_auth *a)
{
    if (++a->step < STEPS)
        return;
    a->step = 0;
    a->half++;
}

int cvy_auth_speak(struct cvy_auth *a, struct cvy_auth_message *ret)
{
    struct covey_view text;
    ret->size = 0;
    if (a->halves[a->half] == CVY_AUTH_ANSWER) {
        text = COVEY_VIEW(a->reply, a->reply_size);
    } else if (a->step == 0) {
        int r = a->own_size ? 0 : make_challenge(a);
        if (r < 0)
            return r;
        memcpy(ret->data, CHALLENGE, TEXT_SIZE(CHALLENGE));
        ret->size = TEXT_SIZE(CHALLENGE);
        text = COVEY_VIEW(a->own, a->own_size);
    } else {
        text = COVEY_VIEW(WELCOME, TEXT_SIZE(WELCOME));
    }
    memcpy(ret->data + ret->size, text.data, text.size);
    ret->size += text.size;
    return 0;
}

void cvy_auth_said(struct cvy_auth *a)
{
    move_on(a);
}

static int hear_verdict(const struct cvy_auth *a, const struct cvy_auth_message *m)
{
    if (m->size == TEXT_SIZE(WELCOME) && begins_with(m->data, m->size, WELCOME))
        return 0;
    return cvy_fail(COVEY_EAUTH, "the other side refuses the proof: another key%s",
                    a->allow_md5 ? "" : ", or it wants MD5, see .allow_md5");
}

int cvy_auth_hear(struct cvy_auth *a, const struct cvy_auth_message *m)
{
    int r;
    if (a->halves[a->half] == CVY_AUTH_DELIVER)
        r = verify(a, m->data, m->size);
    else if (a->step == 0)
        r = make_reply(a, m->data, m->size);
    else
        r = hear_verdict(a, m);
    a->refuses = r == COVEY_EAUTH && a->halves[a->half] == CVY_AUTH_DELIVER;
    if (r >= 0)
        move_on(a);
    return r;
}

bool cvy_auth_refusal(const struct cvy_auth *a, struct cvy_auth_message *ret)
{
    if (!a->refuses)
        return false;
    memcpy(ret->data, FAILURE, TEXT_SIZE(FAILURE));
    ret->size = TEXT_SIZE(FAILURE);
    return true;
}

/* ---- over a connection ---- */

static int speak_to(struct cvy_auth *a, covey_conn *conn, int64_t deadline)
{
    struct cvy_auth_message m;
    int r = cvy_auth_speak(a, &m);
    if (r < 0)
        return r;
    r = covey_conn_send(conn, COVEY_VIEW(m.data, m.size), cvy_os_time_left(deadline));
    a->flushing = r == COVEY_PENDING;
    if (r == -EPIPE)
        return cvy_fail(COVEY_EEOF, "the other side has closed the connection");
    if (r >= 0)
        cvy_auth_said(a);
    return r < 0 ? r : 0;
}

/* Tell it without waiting for it. */
static int tell_failure(const struct cvy_auth_message *refusal, covey_conn *conn)
{
    char why[CVY_DETAIL_SIZE];
    memcpy(why, covey_error_detail(),
           strnlen(covey_error_detail(), sizeof why - 1) + 1);
    (void)covey_conn_send(conn, COVEY_VIEW(refusal->data, refusal->size), COVEY_NOWAIT);
    return cvy_fail(COVEY_EAUTH, "%s", why);
}

static int hear_from(struct cvy_auth *a, covey_conn *conn, int64_t deadline)
{
    struct cvy_auth_message m;
    int r = covey_conn_recv_into(conn, m.data, sizeof m.data, &m.size,
                                 cvy_os_time_left(deadline));
    if (r == -EMSGSIZE && m.size >> 16 == TLS_HELLO)
        return cvy_fail(COVEY_EPROTOCOL, "the other side speaks TLS, and this one does "
                                         "not: see .tls");
    if (r == -EMSGSIZE)
        return cvy_fail(COVEY_EPROTOCOL,
                        "a message of %zu bytes before the other side has proved "
                        "that it knows the key",
                        m.size);
    if (r >= 0)
        r = cvy_auth_hear(a, &m);
    return r < 0 && cvy_auth_refusal(a, &m) ? tell_failure(&m, conn) : r;
}

int cvy_auth_go_on(struct cvy_auth *a, covey_conn *conn, int64_t deadline)
{
    for (;;) {
        int r = a->flushing ? covey_conn_flush(conn, cvy_os_time_left(deadline)) : 0;
        enum cvy_auth_turn turn = cvy_auth_turn(a);
        if (r < 0 || turn == CVY_AUTH_IS_DONE)
            return r;
        a->flushing = false;
        r = turn == CVY_AUTH_SPEAKS ? speak_to(a, conn, deadline)
                                    : hear_from(a, conn, deadline);
        if (r < 0)
            return r;
    }
}

/* ---- by themselves ---- */

static int do_half(covey_conn *conn, struct covey_view key,
                   const struct covey_auth_opts *opts, covey_nsec timeout,
                   enum cvy_auth_half half, const char *call)
{
    struct covey_auth_opts o;
    struct cvy_auth auth;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".allow_md5", o.allow_md5});
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
