/* SPDX-License-Identifier: MIT */
/* client.c: connecting to a listener. One deadline for all steps. */
#include <errno.h>

#include "base/error.h"
#include "base/opts.h"
#include "channel/auth.h"
#include "channel/conn.h"

#define MOST_ADDRESSES 8 /* of a name */

static int prove(covey_conn *conn, const struct covey_client_opts *o, bool with_tls,
                 int64_t deadline)
{
    struct cvy_auth auth;
    if (!o->authkey.data)
        return 0;
    cvy_auth_begin(&auth, o->authkey, o->allow_md5 == COVEY_ON, CVY_AUTH_ANSWER,
                   CVY_AUTH_DELIVER);
    int r = cvy_auth_go_on(&auth, conn, deadline);
    bool is_silent = !auth.half && !auth.step && !with_tls;
    if (is_silent && (r == COVEY_EEOF || r == -ETIMEDOUT))
        r = cvy_fail(r, "%s before it sent a challenge; it may want TLS, see .tls",
                     r == COVEY_EEOF ? "it closed the connection" : "the time was up");
    cvy_auth_end(&auth);
    return r;
}

static int encrypt(struct cvy_stream *stream, const struct cvy_tls_context *context,
                   int64_t deadline)
{
    if (!context)
        return 0;
    int r = cvy_tls_begin(&stream->tls, context, stream->fd, stream->fd_kind);
    return r < 0 ? r : cvy_tls_shake_until(stream->tls, deadline);
}

/* Until when the first of `count` addresses is tried, so that one which does not answer
 * leaves time for the others. */
static int64_t share_of(int64_t deadline, int count)
{
    int64_t now = cvy_os_now();
    return deadline == INT64_MAX || deadline <= now ? deadline
                                                    : now + (deadline - now) / count;
}

/* One after the other. Returns: a descriptor; why the first did not take us; or, if it
 * just did not answer, the next. */
static int connect_to_one_of(const struct cvy_os_address *addresses, int count,
                             int64_t deadline)
{
    int result = -ETIMEDOUT;
    for (int i = 0; i < count; i++) {
        int r = cvy_os_connect(&addresses[i], share_of(deadline, count - i));
        if (r >= 0)
            return r;
        if (result == -ETIMEDOUT)
            result = r;
    }
    return result;
}

/* A name or path goes as it is given, except that no host is this machine. */
static int connect_to(int *ret_fd, const char *text, int64_t deadline, const char *call)
{
    struct cvy_os_address addresses[MOST_ADDRESSES];
    const char *why = "";
    int r = cvy_os_address_read_all(text, addresses, MOST_ADDRESSES, &why);
    if (r < 0)
        return cvy_fail(r, "%s: address %s: %s", call, text, why);
    r = connect_to_one_of(addresses, r, deadline);
    if (r < 0)
        return cvy_fail_os(r, "%s: %s", call, text);
    *ret_fd = r;
    return 0;
}

int cvy_client_connect(covey_conn **out, const char *address,
                       const struct covey_client_opts *opts,
                       const struct cvy_tls_context *tls, int64_t deadline)
{
    static const char call[] = "covey_client_connect";
    struct cvy_stream *stream = NULL;
    int fd = -1, r = connect_to(&fd, address, deadline, call);
    if (r < 0)
        return r;
    r = cvy_stream_open(&stream, fd, address, call);
    if (r < 0) {
        cvy_os_close(fd);
        return r;
    }
    covey_conn *conn = (covey_conn *)(void *)stream;
    r = encrypt(stream, tls, deadline);
    if (r >= 0)
        r = prove(conn, opts, tls != NULL, deadline);
    if (r < 0) {
        cvy_detail_prefix("%s: %s", call, address);
        covey_conn_free(conn);
        return r;
    }
    *out = conn;
    return 0;
}

int covey_client_connect(covey_conn **out, const char *address,
                         const struct covey_client_opts *opts, covey_nsec timeout)
{
    static const char call[] = "covey_client_connect";
    struct covey_client_opts o;
    struct cvy_tls_settings settings;
    struct cvy_tls_context *tls = NULL;
    int64_t deadline = cvy_os_deadline(timeout);
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".allow_md5", o.allow_md5});
    if (r >= 0)
        r = cvy_sync_begin(out, call);
    if (r >= 0 && (!address || (!o.authkey.data && o.authkey.size)))
        r = cvy_fail(-EINVAL, "%s: the address or the key is NULL", call);
    if (r >= 0)
        r = cvy_tls_take(&settings, o.tls, o.authkey, call);
    if (r < 0)
        return r;
    r = cvy_tls_context_create(&tls, &settings, o.authkey, false);
    if (r < 0)
        cvy_detail_prefix("%s: %s", call, address);
    else
        r = cvy_client_connect(out, address, &o, tls, deadline);
    cvy_tls_context_free(tls);
    return r;
}
