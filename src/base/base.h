/* SPDX-License-Identifier: MIT */
/**
 * base/base.h: the few helpers every layer uses.
 */
#ifndef CVY_BASE_H
#define CVY_BASE_H

#include <stddef.h>
#include <stdint.h>

#include <covey/base.h>

/** Bytes that travel together between processor caches. */
#define CVY_CACHE_LINE 64

#define CVY_ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/** The struct whose `member` is at `pointer`. */
#define CVY_CONTAINER_OF(pointer, type, member)                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/** Runs in each fork child: the linker puts such functions side by side, since every part
 * of a library that a fresh child touches first costs it a page fault. */
#define CVY_CHILD_CODE __attribute__((hot))

/** Whether a load of a word counts as one of its bytes, which others store. It does, but
 * ThreadSanitizer does not see what it orders. */
#ifdef __SANITIZE_THREAD__
#define CVY_WORDS_SHOW_BYTES 0
#else
#define CVY_WORDS_SHOW_BYTES 1
#endif

#define cvy_likely(condition)   __builtin_expect(!!(condition), 1)
#define cvy_unlikely(condition) __builtin_expect(!!(condition), 0)

static inline size_t cvy_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t cvy_max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline uint64_t cvy_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t cvy_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline int64_t cvy_min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t cvy_max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/** The time so long `after` another one; INT64_MAX if that is never. */
static inline int64_t cvy_later(int64_t time, int64_t after)
{
    int64_t due;
    return __builtin_add_overflow(time, after, &due) ? INT64_MAX : due;
}

/** `value` rounded up to a multiple of `unit`, a power of two. */
static inline uint64_t cvy_round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) & ~(unit - 1);
}

/** Make `text` one line: line breaks and other control characters become blanks, those
 * at its end are cut off. */
static inline void cvy_flatten(char *text)
{
    size_t end = 0;

    for (size_t i = 0; text[i]; i++) {
        if ((unsigned char)text[i] < ' ')
            text[i] = ' ';
        if (text[i] != ' ')
            end = i + 1;
    }
    text[end] = 0;
}

#endif
