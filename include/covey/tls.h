/* SPDX-License-Identifier: MIT */
/**
 * covey/tls.h: TLS for connections, between programs of covey.
 *
 * A listener, a client or a manager that is given `.tls` speaks TLS on all of its sockets,
 * and with nobody else. The handshake by the key goes on inside of it, if there is one.
 *
 *   - *Certificates*: `.certificate`, `.key` and `.authorities`. Each side shows its own,
 *     and takes nobody whose is not signed by one of the authorities, for its purpose and
 *     its time. The files are read when the listener is made, and by clients each time
 *     that they connect.
 *   - *The key*: `.from_key`. Both sides derive a secret of TLS from the authkey; who does
 *     not know that is refused. No files, but a key that can be guessed lets a listener
 *     who has recorded a handshake try guesses at home: take 16 random bytes or more.
 *
 * ```c
 * covey_manager *manager;
 * if (covey_manager_connect(&manager, "server.example:5000",
 *                           COVEY_CONNECT_OPTS(.authkey = COVEY_VIEW("secret", 6),
 *                                              .tls = COVEY_TLS(.certificate = "client.pem",
 *                                                               .key = "client.key",
 *                                                               .authorities = "ca.pem",
 *                                                               .server_name = "server.example")),
 *                           COVEY_SEC(5)) < 0)
 *     puts(covey_error_detail());
 * ```
 *
 * It is TLS 1.3, and no other: what both sides run is covey, so there is nobody old to talk
 * to. libssl is loaded at the first use; without it there is -ELIBACC. In the thread's queue
 * of errors (ERR_get_error) covey leaves nothing. What the program has in there stays, but for
 * handshakes and the reading of files, before which libssl itself empties it.
 *
 * A connection with TLS belongs to the process that made it, and one thread at a time
 * receives on it: COVEY_EFORKED in a fork child; -ENOTSUP where it would be put into a
 * value, or carry a descriptor, and for its descriptor (covey_conn_fd), which does not tell
 * what was read ahead. covey_conn_poll and covey_wait do.
 */
#ifndef COVEY_TLS_H
#define COVEY_TLS_H

#include <covey/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How to speak TLS; either the three files or `.from_key`. All is copied. Paths and names
 * have at most 255 bytes, paths counted from the root. */
struct covey_tls {
    size_t size;             /**< sizeof(struct covey_tls); COVEY_TLS fills it */
    const char *certificate; /**< file in PEM: the own one first, then its chain */
    const char *key;         /**< file in PEM: its private key, without a passphrase */
    const char *authorities; /**< file in PEM: one of them has signed the peer's */
    enum covey_switch from_key; /**< on: from the authkey, of at least 1 byte */
    const char *server_name;    /**< with certificates, of who connects: the host or IP
                                     address that the other side's has to be for; default:
                                     it may be anybody's that the authorities signed */
};
#define COVEY_TLS(...)                                                                 \
    (&(struct covey_tls){.size = sizeof(struct covey_tls), __VA_ARGS__})

#ifdef __cplusplus
}
#endif

#endif
