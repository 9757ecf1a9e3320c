/* SPDX-License-Identifier: MIT */
/* mac.c: see mac.h. */
#include "channel/mac.h"

#include <errno.h>
#include <limits.h>

#include "base/error.h"

int cvy_mac(const char *digest, struct covey_view key, struct covey_view data,
            unsigned char ret_mac[CVY_MAC_MOST], size_t *ret_size)
{
    struct cvy_crypto crypto;
    unsigned size = 0;
    int r = cvy_crypto_get(&crypto);
    if (r < 0)
        return r;
    if (key.size > INT_MAX)
        return cvy_fail(-EINVAL, "a key of %zu bytes", key.size);
    const void *found = crypto.find_digest(digest);
    if (!found || !crypto.hmac(found, key.size ? key.data : "", (int)key.size,
                               data.data, data.size, ret_mac, &size))
        return cvy_fail(-ENOTSUP, "libcrypto does not do %s here", digest);
    *ret_size = size;
    return 0;
}
