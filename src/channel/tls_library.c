/* SPDX-License-Identifier: MIT */
/* tls_library.c: libssl, as a static program has it, or else loaded at its first use and
 * never unloaded, as libcrypto is: see mac.h. */
#include "channel/tls_library.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/memory.h"
#include "channel/mac.h"
#include "os/modules.h"

#pragma weak cvy_tls_linked

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define PLACE(name) {#name, offsetof(struct cvy_tls_functions, name)},
    CVY_TLS_FUNCTIONS(PLACE)};

static int load(struct cvy_tls_functions *f)
{
    static const char *const names[] = {"libssl.so.3", "libssl.so.1.1"};
    char why[256] = "";
    void *handle = NULL;
    uintptr_t base;
    int r = -ELIBACC;
    for (size_t i = 0; i < CVY_ARRAY_SIZE(names) && r < 0; i++)
        r = cvy_os_module_load(names[i], &handle, &base, why, sizeof why);
    if (r < 0)
        return cvy_fail(-ELIBACC, "TLS needs libssl: %s",
                        r == -ENOSYS ? "this program cannot load it, nor has it any"
                                     : why);
    for (size_t i = 0; i < CVY_ARRAY_SIZE(functions); i++) {
        void *symbol = cvy_os_module_symbol(handle, functions[i].name);
        if (!symbol)
            return cvy_fail(-ELIBACC, "libssl has no %s", functions[i].name);
        memcpy((char *)f + functions[i].offset, &symbol, sizeof symbol);
    }
    return 0;
}

static const struct cvy_tls_functions *_Atomic found;

const struct cvy_tls_functions *cvy_tls_library(void)
{
    return atomic_load_explicit(&found, memory_order_acquire);
}

int cvy_tls_library_load(void)
{
    struct cvy_crypto crypto;
    const struct cvy_tls_functions *nothing = NULL;
    if (cvy_tls_library())
        return 0;
    int r = cvy_crypto_get(&crypto); /* first, so that it stays at the process's end */
    if (r < 0)
        return r;
    if (&cvy_tls_linked) {
        atomic_store(&found, &cvy_tls_linked);
        return 0;
    }
    struct cvy_tls_functions *fresh = cvy_calloc(1, sizeof *fresh);
    if (!fresh)
        return cvy_fail(-ENOMEM, "no memory for libssl");
    r = load(fresh);
    if (r < 0 || !atomic_compare_exchange_strong(&found, &nothing, fresh))
        cvy_free(fresh); /* or another thread was first */
    return r;
}
