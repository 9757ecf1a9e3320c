/* SPDX-License-Identifier: MIT */
/* tls_context.c: options of TLS, and what libssl is told of them.
 *
 * The secret that comes from a key is HKDF-SHA256 (RFC 5869) of it, so that nothing that
 * the challenges of the protocol make public, HMACs by the key itself, can be one of its
 * steps. It is an external PSK of TLS 1.3, in the mode with an exchange of fresh keys: who
 * learns the key later cannot read what was recorded before. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "channel/mac.h"
#include "channel/tls_session.h"

#define MOST_OF_CERTIFICATES (100 << 10) /* bytes, of a peer */

#define IDENTITY      "covey"
#define HKDF_SALT     "covey TLS 1.3"
#define HKDF_INFO     "external PSK\x01" /* the last byte counts the blocks */
#define SUITES_OF_PSK "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"

/* ---- options ---- */

static int take_path(char to[CVY_TLS_TEXT], const char *from, const char *what,
                     const char *call)
{
    char whole[CVY_OS_WHOLE_PATH] = "";
    if (!from || !*from)
        return cvy_fail(-EINVAL,
                        "%s: .tls needs .certificate, .key and .authorities, "
                        "or .from_key",
                        call);
    if (strlen(from) < CVY_TLS_TEXT - 1)
        cvy_os_path_whole(from, whole);
    if (!whole[0] || strlen(whole) >= CVY_TLS_TEXT)
        return cvy_fail(-ENAMETOOLONG,
                        "%s: %s of .tls has more than %d bytes from the "
                        "root: %.200s",
                        call, what, CVY_TLS_TEXT - 1, from);
    memcpy(to, whole, strlen(whole) + 1);
    return 0;
}

static int take_files(struct cvy_tls_settings *to, const struct covey_tls *o,
                      const char *call)
{
    int r = take_path(to->certificate, o->certificate, ".certificate", call);
    to->mode = CVY_TLS_CERTIFICATES;
    if (r >= 0)
        r = take_path(to->key, o->key, ".key", call);
    if (r >= 0)
        r = take_path(to->authorities, o->authorities, ".authorities", call);
    if (r < 0 || !o->server_name)
        return r;
    size_t size = strlen(o->server_name);
    if (!size || size >= CVY_TLS_TEXT)
        return cvy_fail(-EINVAL, "%s: .server_name of .tls has %zu bytes", call, size);
    memcpy(to->server_name, o->server_name, size + 1);
    return 0;
}

int cvy_tls_take(struct cvy_tls_settings *to, const struct covey_tls *from,
                 struct covey_view authkey, const char *call)
{
    struct covey_tls o;
    *to = (struct cvy_tls_settings){0};
    int r = CVY_TAKE_OPTS(&o, from, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".from_key of .tls", o.from_key});
    if (r < 0 || !from)
        return r;
    if (o.from_key != COVEY_ON)
        return take_files(to, &o, call);
    if (o.certificate || o.key || o.authorities || o.server_name)
        return cvy_fail(-EINVAL,
                        "%s: .from_key and the other options of .tls exclude "
                        "each other",
                        call);
    if (!authkey.data || !authkey.size)
        return cvy_fail(-EINVAL, "%s: .from_key of .tls needs an authkey", call);
    to->mode = CVY_TLS_FROM_KEY;
    return 0;
}

const struct covey_tls *cvy_tls_options(const struct cvy_tls_settings *s,
                                        struct covey_tls *ret_tls)
{
    *ret_tls = (struct covey_tls){.size = sizeof *ret_tls};
    if (s->mode == CVY_TLS_FROM_KEY)
        ret_tls->from_key = COVEY_ON;
    if (s->mode == CVY_TLS_CERTIFICATES) {
        ret_tls->certificate = s->certificate;
        ret_tls->key = s->key;
        ret_tls->authorities = s->authorities;
        ret_tls->server_name = s->server_name[0] ? s->server_name : NULL;
    }
    return s->mode == CVY_TLS_NONE ? NULL : ret_tls;
}

/* ---- certificates ---- */

/* It must not ask at a terminal. */
static int no_passphrase(char *to, int size, int writing, void *unused)
{
    (void)to, (void)size, (void)writing, (void)unused;
    return 0;
}

/* Returns: 0; why the file cannot be opened. */
static int look_at(const char *path)
{
    FILE *file = fopen(path, "rbe");
    int r = file ? 0 : -errno;
    if (file)
        (void)fclose(file);
    return r < 0 ? cvy_fail_os(r, "TLS: %s", path) : 0;
}

static int fail_file(const struct cvy_tls_functions *f, const char *path,
                     const char *what)
{
    const char *why = f->ERR_reason_error_string(f->ERR_peek_error());
    return cvy_fail(-EINVAL, "TLS: %s: %s: %s", path, what,
                    why ? why : "it cannot be read");
}

static int read_files(SSL_CTX *ctx, const struct cvy_tls_settings *s)
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    const char *const paths[] = {s->certificate, s->key, s->authorities};
    for (size_t i = 0; i < 3; i++) {
        int r = look_at(paths[i]);
        if (r < 0)
            return r;
    }
    f->SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (f->SSL_CTX_use_certificate_chain_file(ctx, s->certificate) != 1)
        return fail_file(f, s->certificate, "no certificate in PEM");
    if (f->SSL_CTX_use_PrivateKey_file(ctx, s->key, SSL_FILETYPE_PEM) != 1 ||
        f->SSL_CTX_check_private_key(ctx) != 1)
        return fail_file(f, s->key, "no private key in PEM for the certificate");
    if (f->SSL_CTX_load_verify_locations(ctx, s->authorities, NULL) != 1)
        return fail_file(f, s->authorities, "no certificates in PEM");
    return 0;
}

/* ---- the key ---- */

static int derive(struct covey_view authkey, unsigned char psk[CVY_TLS_PSK])
{
    unsigned char mac[CVY_MAC_MOST];
    size_t size = 0;
    int r = cvy_mac("SHA256", COVEY_VIEW(HKDF_SALT, sizeof HKDF_SALT - 1), authkey, mac,
                    &size);
    if (r >= 0)
        r = cvy_mac("SHA256", COVEY_VIEW(mac, size),
                    COVEY_VIEW(HKDF_INFO, sizeof HKDF_INFO - 1), mac, &size);
    if (r >= 0)
        memcpy(psk, mac, CVY_TLS_PSK);
    explicit_bzero(mac, sizeof mac);
    return r;
}

/* NULL: no memory. */
static SSL_SESSION *session_of(SSL *ssl)
{
    static const unsigned char suite[2] = {0x13, 0x01}; /* its hash is SHA-256 */
    const struct cvy_tls_functions *f = cvy_tls_library();
    const struct cvy_tls *tls = f->SSL_get_ex_data(ssl, 0);
    SSL_SESSION *session = f->SSL_SESSION_new();
    const SSL_CIPHER *cipher = f->SSL_CIPHER_find(ssl, suite);
    if (session && cipher &&
        f->SSL_SESSION_set1_master_key(session, tls->context->psk, CVY_TLS_PSK) == 1 &&
        f->SSL_SESSION_set_cipher(session, cipher) == 1 &&
        f->SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1)
        return session;
    f->SSL_SESSION_free(session);
    return NULL;
}

static int offer_key(SSL *ssl, const EVP_MD *digest, const unsigned char **ret_identity,
                     size_t *ret_size, SSL_SESSION **ret_session)
{
    (void)digest; /* all suites that are offered have the same */
    *ret_identity = (const unsigned char *)IDENTITY;
    *ret_size = sizeof IDENTITY - 1;
    *ret_session = session_of(ssl);
    return *ret_session != NULL;
}

static int find_key(SSL *ssl, const unsigned char *identity, size_t size,
                    SSL_SESSION **ret_session)
{
    bool known = size == sizeof IDENTITY - 1 && memcmp(identity, IDENTITY, size) == 0;
    *ret_session = known ? session_of(ssl) : NULL;
    return !known || *ret_session;
}

static int use_key(struct cvy_tls_context *c, struct covey_view authkey)
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    if (f->SSL_CTX_set_ciphersuites(c->ctx, SUITES_OF_PSK) != 1)
        return cvy_fail(-ENOTSUP, "TLS: libssl has none of %s", SUITES_OF_PSK);
    f->SSL_CTX_set_psk_use_session_callback(c->ctx, offer_key);
    f->SSL_CTX_set_psk_find_session_callback(c->ctx, find_key);
    return derive(authkey, c->psk);
}

/* ---- both ---- */

static int set_up(struct cvy_tls_context *c, const struct cvy_tls_settings *s,
                  struct covey_view authkey)
{
    const struct cvy_tls_functions *f = cvy_tls_library();
    c->ctx = f->SSL_CTX_new(f->TLS_method());
    if (!c->ctx)
        return cvy_fail(-ENOMEM, "TLS: no memory");
    if (f->SSL_CTX_ctrl(c->ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, NULL) !=
        1)
        return cvy_fail(-ENOTSUP, "TLS: libssl has no TLS 1.3");
    (void)f->SSL_CTX_ctrl(c->ctx, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS, NULL);
    (void)f->SSL_CTX_ctrl(c->ctx, SSL_CTRL_SET_MAX_CERT_LIST, MOST_OF_CERTIFICATES,
                          NULL);
    (void)f->SSL_CTX_ctrl(c->ctx, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF,
                          NULL);
    /* Tickets would be data that no message comes with; nobody resumes. */
    (void)f->SSL_CTX_set_num_tickets(c->ctx, 0);
    /* With the key no certificate proves anything: a client has no authority to take one
     * of a server by, and a server, which has none itself, asks for none. */
    if (!c->uses_key || !c->accepts)
        f->SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                              NULL);
    return s->mode == CVY_TLS_FROM_KEY ? use_key(c, authkey) : read_files(c->ctx, s);
}

int cvy_tls_context_create(struct cvy_tls_context **out,
                           const struct cvy_tls_settings *settings,
                           struct covey_view authkey, bool accepts)
{
    *out = NULL;
    if (settings->mode == CVY_TLS_NONE)
        return 0;
    int r = cvy_tls_library_load();
    if (r < 0)
        return r;
    struct cvy_tls_context *c = cvy_calloc(1, sizeof *c);
    if (!c)
        return cvy_fail(-ENOMEM, "TLS: no memory");
    c->accepts = accepts;
    c->uses_key = settings->mode == CVY_TLS_FROM_KEY;
    memcpy(c->server_name, settings->server_name, sizeof c->server_name);
    cvy_tls_begin_errors();
    r = set_up(c, settings, authkey);
    cvy_tls_end_errors();
    if (r < 0)
        cvy_tls_context_free(c);
    else
        *out = c;
    return r;
}

void cvy_tls_context_free(struct cvy_tls_context *c)
{
    if (!c)
        return;
    cvy_tls_begin_errors();
    cvy_tls_library()->SSL_CTX_free(c->ctx); /* sessions have holds of their own */
    cvy_tls_end_errors();
    explicit_bzero(c->psk, sizeof c->psk);
    cvy_free(c);
}
