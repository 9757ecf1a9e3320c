/* SPDX-License-Identifier: MIT */
/* crypto_loaded.c: libcrypto for the shared library, loaded at its first use, and never
 * unloaded: a program may use it, too, with handlers for the end of the process. */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "channel/mac.h"
#include "os/modules.h"

static int load(struct cvy_crypto *ret_crypto)
{
    static const char *const names[] = {"libcrypto.so.3", "libcrypto.so.1.1"};
    char why[256] = "";
    void *handle = NULL;
    uintptr_t base;
    int r = -ELIBACC;
    for (size_t i = 0; i < sizeof names / sizeof *names && r < 0; i++)
        r = cvy_os_module_load(names[i], &handle, &base, why, sizeof why);
    if (r < 0)
        return cvy_fail(-ELIBACC, "authentication needs libcrypto: %s", why);
    void *find = cvy_os_module_symbol(handle, "EVP_get_digestbyname"),
         *hmac = cvy_os_module_symbol(handle, "HMAC"),
         *init = cvy_os_module_symbol(handle, "OPENSSL_init_crypto");
    int (*init_fn)(uint64_t, const void *) = NULL;
    if (!find || !hmac)
        return cvy_fail(-ELIBACC, "libcrypto has no HMAC");
    memcpy(&init_fn, &init, sizeof init);
    if (init_fn)
        (void)init_fn(CVY_CRYPTO_STAYS, NULL);
    memcpy(&ret_crypto->find_digest, &find, sizeof find);
    memcpy(&ret_crypto->hmac, &hmac, sizeof hmac);
    return 0;
}

int cvy_crypto_get(struct cvy_crypto *ret_crypto)
{
    static struct cvy_crypto loaded;
    static _Atomic int
        state; /* 0 not yet, 1 one thread is filling it in, 2 it is there */
    int idle = 0;
    if (atomic_load_explicit(&state, memory_order_acquire) == 2) {
        *ret_crypto = loaded;
        return 0;
    }
    /* Loading twice does no harm; it counts. */
    int r = load(ret_crypto);
    if (r >= 0 && atomic_compare_exchange_strong(&state, &idle, 1)) {
        loaded = *ret_crypto;
        atomic_store_explicit(&state, 2, memory_order_release);
    }
    return r;
}
