/* SPDX-License-Identifier: MIT */
/**
 * channel/tls.h: TLS over a socket, by libssl.
 *
 *   tls_library.c  libssl, loaded at its first use
 *   tls_context.c  options; certificates, or the secret that comes from the key
 *   tls.c          a session: handshake, bytes in and out
 *
 * A session takes the place of cvy_os_stream_read and cvy_os_stream_write: bytes, and
 * -EAGAIN where they would wait. It is its process's: libssl keeps counters that a fork
 * child would use for the second time.
 */
#ifndef CVY_CHANNEL_TLS_H
#define CVY_CHANNEL_TLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "os/socket.h"

#include <covey/tls.h>

/* ---- options ---- */

#define CVY_TLS_TEXT 256

enum cvy_tls_mode { CVY_TLS_NONE = 0, CVY_TLS_CERTIFICATES, CVY_TLS_FROM_KEY };

/** The options as bytes without pointers, for managers in the family's memory and plans of
 * children. All zero: no TLS. */
struct cvy_tls_settings {
    uint32_t mode;
    char certificate[CVY_TLS_TEXT], key[CVY_TLS_TEXT];
    char authorities[CVY_TLS_TEXT], server_name[CVY_TLS_TEXT];
};

/** Check and copy options; NULL: none. Paths become absolute. `authkey` is that of the
 * connection. Returns: 0; -EINVAL; -ENAMETOOLONG. */
int cvy_tls_take(struct cvy_tls_settings *to, const struct covey_tls *from,
                 struct covey_view authkey, const char *call) COVEY_MUST_CHECK;
/** The other way round; what it points to is in `settings`. Returns: `ret_tls`, or NULL:
 * none. */
const struct covey_tls *cvy_tls_options(const struct cvy_tls_settings *settings,
                                        struct covey_tls *ret_tls);

/* ---- contexts ---- */

struct cvy_tls_context;

/** What sessions of one side have in common. `*out` NULL without TLS. Returns: 0; -ELIBACC:
 * there is no libssl; -ENOENT, -EACCES ... of a file; -EINVAL: of what is in one;
 * -ENOMEM. */
int cvy_tls_context_create(struct cvy_tls_context **out,
                           const struct cvy_tls_settings *settings,
                           struct covey_view authkey, bool accepts) COVEY_MUST_CHECK;
void cvy_tls_context_free(struct cvy_tls_context *context);

/* ---- sessions ---- */

struct cvy_tls;

/** Begin one over a descriptor, which stays the caller's. The context has to live until the
 * handshake is done. */
int cvy_tls_begin(struct cvy_tls **out, const struct cvy_tls_context *context, int fd,
                  enum cvy_os_stream_kind kind) COVEY_MUST_CHECK;
/** Whether this process began it. If not, nothing but cvy_tls_free may be done. */
bool cvy_tls_is_own(const struct cvy_tls *tls);

/** Go on with the handshake. Returns: 0: done, and both sides have proved themselves;
 * -EAGAIN: it is the other side's turn; COVEY_EAUTH; COVEY_EPROTOCOL: it speaks no TLS, or
 * an old one; COVEY_EEOF; of the system. */
int cvy_tls_shake(struct cvy_tls *tls);
bool cvy_tls_is_shaken(const struct cvy_tls *tls);
/** The handshake, with waiting. Returns: 0; -ETIMEDOUT; as above. */
int cvy_tls_shake_until(struct cvy_tls *tls, int64_t deadline);

/** Read what is there, until `size` bytes have come or nothing is left; but no more than
 * takes a moment, so that callers can look at the clock. Returns: bytes, 0 at the end, -EAGAIN; COVEY_EPROTOCOL, COVEY_EAUTH with the detail set; of the system. */
ssize_t cvy_tls_read(struct cvy_tls *tls, void *data, size_t size);
/** Write what there is room for. The last byte of a record counts when the record has gone
 * out wholly, so the rest that has to be offered again makes callers come back for it; who
 * has been told -EAGAIN in the middle of a message goes on with that message. Returns: bytes,
 * maybe 0; -EAGAIN; -EPIPE; COVEY_EBROKEN: it is torn; as cvy_tls_read. */
ssize_t cvy_tls_write(struct cvy_tls *tls, const struct covey_view parts[2]);
/** Whether a write has failed after a record was begun: part of what it was given may go
 * out still, so that nothing can follow. */
bool cvy_tls_is_torn(struct cvy_tls *tls);
/** The same with or without TLS (`tls` NULL): from and to a descriptor. */
static inline ssize_t cvy_socket_read(struct cvy_tls *tls, int fd,
                                      enum cvy_os_stream_kind kind, void *data,
                                      size_t size)
{
    return tls ? cvy_tls_read(tls, data, size)
               : cvy_os_stream_read(fd, kind, data, size);
}
static inline ssize_t cvy_socket_write(struct cvy_tls *tls, int fd,
                                       enum cvy_os_stream_kind kind,
                                       const struct covey_view parts[2], bool may_wait)
{
    return tls ? cvy_tls_write(tls, parts)
               : cvy_os_stream_write(fd, kind, parts, may_wait);
}
/** Whether bytes that were read from the socket wait to be read here, which polling the
 * socket does not tell. */
bool cvy_tls_is_ahead(struct cvy_tls *tls);
/** Whether a read would give something, or the end. Looks at the socket, too. */
bool cvy_tls_has_input(struct cvy_tls *tls);

/** Tell the other side that this is the end, as far as there is room for it. */
void cvy_tls_end(struct cvy_tls *tls);
/** Returns: NULL, for `tls = cvy_tls_free(tls)`. NULL is fine. That of another process is left
 * as it is. */
struct cvy_tls *cvy_tls_free(struct cvy_tls *tls);

#endif
