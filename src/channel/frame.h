/* SPDX-License-Identifier: MIT */
/* frame.h: what precedes a message in the connections of CPython.
 *
 *   size                          4 bytes, big endian, up to 2^31 - 1
 *   -1, size                      4 and 8 bytes, from there on
 */
#ifndef CVY_CHANNEL_FRAME_H
#define CVY_CHANNEL_FRAME_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CVY_FRAME_HEADER 12u /* the longer one */

/** Write what precedes a message of `size` bytes. Returns: how many bytes that is. */
static inline size_t cvy_frame_put(unsigned char header[CVY_FRAME_HEADER],
                                   uint64_t size)
{
    uint32_t first = htobe32(size > INT32_MAX ? UINT32_MAX : (uint32_t)size);
    uint64_t second = htobe64(size);
    memcpy(header, &first, 4);
    memcpy(header + 4, &second, 8);
    return size > INT32_MAX ? 12 : 4;
}

/** How long a header is, of which `size` bytes have come: at least 4. */
static inline uint32_t cvy_frame_length(const unsigned char *header, size_t size)
{
    return size >= 4 && !memcmp(header, "\xff\xff\xff\xff", 4) ? 12 : 4;
}

/** The size that a whole header tells; more than INT64_MAX: none that can be. */
static inline uint64_t cvy_frame_size(const unsigned char *header)
{
    uint32_t first;
    uint64_t second;
    memcpy(&first, header, 4);
    if (first != UINT32_MAX)
        return (uint64_t)(int32_t)be32toh(first);
    memcpy(&second, header + 4, 8);
    return be64toh(second);
}

#endif
