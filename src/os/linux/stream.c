/* SPDX-License-Identifier: MIT */
/* stream.c: copying past the caches. An ordinary store reads its line first, only to
 * overwrite it, and drives out what is used again; a streaming store does neither. */
#include <stdint.h>
#include <string.h>

#include "os/os.h"

#ifdef __SSE2__
#include <emmintrin.h>

#define LINE 64u

/* `lines` cache lines to an address that is a multiple of LINE. */
static void stream(char *to, const char *from, size_t lines)
{
    for (; lines; lines--, to += LINE, from += LINE) {
        const __m128i *source = (const void *)from;
        __m128i *target = (void *)to;
        __m128i a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1);
        __m128i c = _mm_loadu_si128(source + 2), d = _mm_loadu_si128(source + 3);

        _mm_stream_si128(target, a);
        _mm_stream_si128(target + 1, b);
        _mm_stream_si128(target + 2, c);
        _mm_stream_si128(target + 3, d);
    }
    _mm_sfence(); /* streaming stores are not ordered among others */
}

void cvy_os_copy_past_caches(void *to, const void *from, size_t size)
{
    size_t head = (size_t)(-(uintptr_t)to % LINE), lines;

    head = head < size ? head : size;
    memcpy(to, from, head);
    lines = (size - head) / LINE;
    stream((char *)to + head, (const char *)from + head, lines);
    head += lines * LINE;
    memcpy((char *)to + head, (const char *)from + head, size - head);
}

#else

void cvy_os_copy_past_caches(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
}

#endif
