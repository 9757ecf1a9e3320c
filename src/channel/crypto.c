/* SPDX-License-Identifier: MIT */
/* crypto.c: libcrypto, as the program has it, or else loaded at its first use and never
 * unloaded: the program may use it later, too, with handlers for the end of the process. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "channel/mac.h"
#include "os/modules.h"
#include "os/os.h"
#include "os/socket.h"

/* Weak: of a program that was linked with libcrypto, which a static one has to be. */
#pragma weak EVP_get_digestbyname
#pragma weak HMAC
#pragma weak OPENSSL_init_crypto

static const void *find_linked(const char *name)
{
    return EVP_get_digestbyname(name);
}

static unsigned char *hmac_linked(const void *digest, const void *key, int key_size,
                                  const unsigned char *data, size_t size,
                                  unsigned char *mac, unsigned *mac_size)
{
    return HMAC(digest, key, key_size, data, size, mac, mac_size);
}

static bool is_linked(void)
{
    return EVP_get_digestbyname && HMAC && OPENSSL_init_crypto;
}

/* The loader says what failed in words only. Returns: -EMFILE or -ENFILE: there was no
 * descriptor to open it with; -ELIBACC. */
static int fail_load(const char *why)
{
    int probe = cvy_os_flag_create();
    cvy_os_close(probe);
    return cvy_fail(probe == -EMFILE || probe == -ENFILE ? probe : -ELIBACC,
                    "authentication needs libcrypto: %s", why);
}

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
        return fail_load(why);
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
    if (is_linked()) {
        (void)OPENSSL_init_crypto(CVY_CRYPTO_STAYS, NULL);
        *ret_crypto = (struct cvy_crypto){find_linked, hmac_linked};
        return 0;
    }
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
