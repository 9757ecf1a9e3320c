/* SPDX-License-Identifier: MIT */
/* messages.c: see messages.h. */
#include "messages.h"

#include <stdint.h>
#include <string.h>

#include "bench.h"

unsigned messages_count(size_t size)
{
    return size <= 4096 ? 16 : size <= 65536 ? MOST_MESSAGES : 4;
}

static unsigned char *make(size_t size, int sender, unsigned which)
{
    unsigned char *bytes = bench_memory(1, size);
    uint64_t x = 0x9E3779B97F4A7C15u * (which + 1) + size;
    for (size_t i = 0; i < size; i += sizeof x) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(bytes + i, &x, size - i < sizeof x ? size - i : sizeof x);
    }
    bytes[0] = (unsigned char)which;
    bytes[1] = (unsigned char)sender;
    return bytes;
}

void messages_make(unsigned char *messages[MOST_MESSAGES], size_t size, int sender)
{
    for (unsigned i = 0; i < messages_count(size); i++)
        messages[i] = make(size, sender, i);
}

void messages_check(const unsigned char *got, size_t size,
                    unsigned char *const *messages, size_t wanted_size, unsigned which)
{
    if (size != wanted_size)
        bench_fail("a message of %zu bytes instead of %zu", size, wanted_size);
    if (got[0] != which)
        bench_fail("message %u came instead of %u", got[0], which);
    if (memcmp(got, messages[which], size) != 0)
        bench_fail("a message is damaged");
}
