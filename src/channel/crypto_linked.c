/* SPDX-License-Identifier: MIT */
/* crypto_linked.c: libcrypto for the archive, whose users link it. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "channel/mac.h"

static const void *find_digest(const char *name)
{
    return EVP_get_digestbyname(name);
}

static unsigned char *hmac(const void *digest, const void *key, int key_size,
                           const unsigned char *data, size_t size, unsigned char *mac,
                           unsigned *mac_size)
{
    return HMAC(digest, key, key_size, data, size, mac, mac_size);
}

int cvy_crypto_get(struct cvy_crypto *ret_crypto)
{
    (void)OPENSSL_init_crypto(CVY_CRYPTO_STAYS, NULL);
    *ret_crypto = (struct cvy_crypto){find_digest, hmac};
    return 0;
}
