/* SPDX-License-Identifier: MIT */
/**
 * os/linux/modules.h: what modules.c and builds.c share.
 */
#ifndef CVY_OS_LINUX_MODULES_H
#define CVY_OS_LINUX_MODULES_H

#include <link.h>
#include <stddef.h>
#include <stdint.h>

#define CVY_OS_HASH_SEED 0x243f6a8885a308d3U

/** Quick, not cryptographic. Continue with what a call returned as the next `seed`. */
uint64_t cvy_os_hash(uint64_t seed, const void *data, size_t size);

#endif
