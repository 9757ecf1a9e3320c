/* SPDX-License-Identifier: MIT */
/**
 * channel/mac.h: keyed digests, from libcrypto.
 *
 * It is loaded when it is needed first: being linked with it would cost every program that
 * starts almost a millisecond, which is more than all the rest of a start by spawn. What
 * the program was linked with is taken instead; static ones have no other way.
 */
#ifndef CVY_CHANNEL_MAC_H
#define CVY_CHANNEL_MAC_H

#include <stddef.h>

#include <covey/base.h>

/** Most bytes of a digest. */
#define CVY_MAC_MOST 64

/** HMAC of `data` by the digest that libcrypto knows by this name.
 * Returns: 0; -ENOTSUP: it does not know or allow it; -ELIBACC: there is no libcrypto. */
int cvy_mac(const char *digest, struct covey_view key, struct covey_view data,
            unsigned char ret_mac[CVY_MAC_MOST], size_t *ret_size);

/** How libcrypto is initialized, unless the program was first: without a handler for the
 * end of the process (OPENSSL_INIT_NO_ATEXIT), which would come before covey's own, when
 * managers are still told that proxies go. */
#define CVY_CRYPTO_STAYS 0x00080000u

/** What is used of libcrypto. */
struct cvy_crypto {
    const void *(*find_digest)(const char *name);
    unsigned char *(*hmac)(const void *digest, const void *key, int key_size,
                           const unsigned char *data, size_t size, unsigned char *mac,
                           unsigned *mac_size);
};
/** Get it. -ELIBACC. */
int cvy_crypto_get(struct cvy_crypto *ret_crypto);

#endif
