/* SPDX-License-Identifier: MIT */
/* slots.c: see slots.h. */
#include "memory/slots.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

#define WORD ((size_t)8)
/* What fits the 8 bytes of a format, with the s, and with the blank. */
#define MOST_ROOM  9999992u
#define MOST_EXACT 999999u

#define FORMAT_BOOL "xxxxxxx?"
#define FORMAT_NONE "xxxxxx?x"

enum code { CODE_PLAIN = 0, CODE_STR = 1, CODE_BYTES = 2, CODE_NONE = 3 };

/* ---- items ----------------------------------------------------------------------- */

static bool is_text(enum covey_item_kind kind)
{
    return kind == COVEY_ITEM_STR || kind == COVEY_ITEM_BYTES;
}

/* How many bytes follow the first one of a character, and the range of the next one; -1
 * for what is no first byte. Shorter forms exist for what is out of range, or it is half
 * of a pair of UTF-16, or beyond Unicode. */
static int follow(unsigned char first, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (first < 0x80)
        return 0;
    if (first < 0xc2 || first > 0xf4)
        return -1;
    if (first < 0xe0)
        return 1;
    if (first == 0xe0)
        *low = 0xa0;
    if (first == 0xed)
        *high = 0x9f;
    if (first < 0xf0)
        return 2;
    if (first == 0xf0)
        *low = 0x90;
    if (first == 0xf4)
        *high = 0x8f;
    return 3;
}

bool cvy_is_utf8(const void *text, size_t size)
{
    const unsigned char *at = text, *end = at + size;

    while (at < end) {
        unsigned char low, high;
        int more = follow(*at++, &low, &high);

        if (more < 0 || more > end - at)
            return false;
        for (; more > 0; more--, at++) {
            if (*at < low || *at > high)
                return false;
            low = 0x80;
            high = 0xbf;
        }
    }
    return true;
}

static bool ends_in_zero(struct covey_view text)
{
    return text.size && !((const char *)text.data)[text.size - 1];
}

int cvy_item_check(const struct covey_shareable_item *item)
{
    if (item->kind < COVEY_ITEM_NONE || item->kind > COVEY_ITEM_BYTES)
        return -EINVAL;
    if (!is_text(item->kind))
        return 0;
    if (item->text.size && !item->text.data)
        return -EINVAL;
    if (item->text.size >= MOST_ROOM ||
        (item->text.size > MOST_EXACT && ends_in_zero(item->text)))
        return -EMSGSIZE;
    return item->kind == COVEY_ITEM_BYTES ||
                   cvy_is_utf8(item->text.data, item->text.size)
               ? 0
               : -EILSEQ;
}

static bool is_number(enum covey_item_kind kind)
{
    return kind == COVEY_ITEM_BOOL || kind == COVEY_ITEM_INT ||
           kind == COVEY_ITEM_FLOAT;
}

/* Exactly: an int beyond 2^53 equals only the float that is it. */
static bool int_equals_float(int64_t integer, double real)
{
    return real >= -0x1p63 && real < 0x1p63 && (int64_t)real == integer &&
           (double)(int64_t)real == real;
}

bool cvy_item_equals(const struct covey_shareable_item *a,
                     const struct covey_shareable_item *b)
{
    if (is_number(a->kind) && is_number(b->kind)) {
        if (a->kind == COVEY_ITEM_FLOAT && b->kind == COVEY_ITEM_FLOAT)
            return a->real == b->real;
        if (a->kind == COVEY_ITEM_FLOAT)
            return int_equals_float(b->integer, a->real);
        if (b->kind == COVEY_ITEM_FLOAT)
            return int_equals_float(a->integer, b->real);
        return a->integer == b->integer;
    }
    if (a->kind != b->kind)
        return false;
    return !is_text(a->kind) ||
           (a->text.size == b->text.size &&
            (!a->text.size || !memcmp(a->text.data, b->text.data, a->text.size)));
}

/* ---- words ----------------------------------------------------------------------- */

/* One load or store where the word is aligned, as it is in lists of Python's and ours. */
static int64_t load(const unsigned char *at)
{
    int64_t value;

    if ((uintptr_t)at % WORD == 0)
        return __atomic_load_n((const int64_t *)(const void *)at, __ATOMIC_RELAXED);
    memcpy(&value, at, WORD);
    return value;
}

static void store(unsigned char *at, int64_t value)
{
    if ((uintptr_t)at % WORD == 0)
        __atomic_store_n((int64_t *)(void *)at, value, __ATOMIC_RELAXED);
    else
        memcpy(at, &value, WORD);
}

static unsigned char *format_of(const struct cvy_slots *slots, size_t index)
{
    return slots->base + slots->data_at + slots->data_size + index * WORD;
}

static unsigned char *code_of(const struct cvy_slots *slots, size_t index)
{
    return slots->base + slots->data_at + slots->data_size + slots->count * WORD +
           index;
}

static unsigned char *offset_of(const struct cvy_slots *slots, size_t index)
{
    return slots->base + (index + 1) * WORD;
}

/* ---- laying out ------------------------------------------------------------------ */

static size_t room_for(const struct covey_shareable_item *item)
{
    return is_text(item->kind) ? WORD * (item->text.size / WORD + 1) : WORD;
}

size_t cvy_slots_need(const struct covey_shareable_item *items, size_t count)
{
    size_t need = 2 * WORD;

    for (size_t i = 0; i < count; i++) {
        need += 2 * WORD + 1 + room_for(&items[i]);
        if (need > SIZE_MAX / 4)
            return 0;
    }
    return need;
}

void cvy_slots_write(struct cvy_slots *slots, void *base, size_t size,
                     const struct covey_shareable_item *items, size_t count)
{
    size_t offset = 0;

    *slots = (struct cvy_slots){
        .base = base,
        .size = size,
        .count = count,
        .data_at = (count + 2) * WORD,
        .data_size = size - (count + 2) * WORD - count * (WORD + 1),
    };
    store(base, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        offset += room_for(&items[i]);
        store(offset_of(slots, i + 1), (int64_t)offset);
    }
    for (size_t i = 0; i < count; i++)
        (void)cvy_slot_set(slots, i, &items[i]);
}

int cvy_slots_read(struct cvy_slots *slots, void *base, size_t size)
{
    uint64_t count, data_size;

    if (size < 2 * WORD)
        return COVEY_EPROTOCOL;
    count = (uint64_t)load(base);
    if (count > size / (2 * WORD + 1) || (count + 2) * WORD > size)
        return COVEY_EPROTOCOL;
    *slots = (struct cvy_slots){
        .base = base, .size = size, .count = count, .data_at = (count + 2) * WORD};
    data_size = (uint64_t)load(offset_of(slots, count));
    /* The lists of Python 3.8 have sizes here, which are never 0. */
    if (load(offset_of(slots, 0)) != 0 || data_size > size ||
        slots->data_at + data_size + count * (WORD + 1) > size)
        return COVEY_EPROTOCOL;
    slots->data_size = data_size;
    return 0;
}

/* ---- a slot ---------------------------------------------------------------------- */

/* "12s", "12s " and so on. Returns: whether it is such a format. */
static bool parse_text(const char *format, struct cvy_slot *slot)
{
    const char *at = format;
    size_t size = 0;

    while (*at >= '0' && *at <= '9')
        size = size * 10 + (size_t)(*at++ - '0');
    if (at == format || *at++ != 's' || size > slot->room)
        return false;
    slot->text_size = size;
    slot->is_exact = *at == ' ';
    while (*at == ' ')
        at++;
    return !*at;
}

static bool parse(const char *format, unsigned char code, struct cvy_slot *slot)
{
    static const struct {
        const char *format;
        enum covey_item_kind kind;
    } plain[] = {
        {"q", COVEY_ITEM_INT}, {"d", COVEY_ITEM_FLOAT}, {FORMAT_BOOL, COVEY_ITEM_BOOL}};

    slot->kind = COVEY_ITEM_NONE;
    if (code == CODE_NONE)
        return true;
    for (size_t i = 0; code == CODE_PLAIN && i < CVY_ARRAY_SIZE(plain); i++) {
        slot->kind = plain[i].kind;
        if (!strcmp(format, plain[i].format))
            return slot->room >= WORD;
    }
    slot->kind = code == CODE_STR ? COVEY_ITEM_STR : COVEY_ITEM_BYTES;
    return (code == CODE_STR || code == CODE_BYTES) && parse_text(format, slot);
}

void cvy_slot_format(const struct cvy_slots *slots, size_t index, char ret_format[9])
{
    int64_t word = load(format_of(slots, index));

    memcpy(ret_format, &word, WORD);
    ret_format[WORD] = 0;
}

/* Only where it is. */
static int locate(const struct cvy_slots *slots, size_t index, struct cvy_slot *slot)
{
    uint64_t from = (uint64_t)load(offset_of(slots, index));
    uint64_t to = (uint64_t)load(offset_of(slots, index + 1));

    if (from > to || to > slots->data_size)
        return COVEY_EPROTOCOL;
    *slot =
        (struct cvy_slot){.at = slots->base + slots->data_at + from, .room = to - from};
    return 0;
}

int cvy_slot_find(const struct cvy_slots *slots, size_t index,
                  struct cvy_slot *ret_slot)
{
    char format[WORD + 1];
    unsigned char code = __atomic_load_n(code_of(slots, index), __ATOMIC_RELAXED);
    int r = locate(slots, index, ret_slot);

    cvy_slot_format(slots, index, format);
    return r == 0 && !parse(format, code, ret_slot) ? COVEY_EPROTOCOL : r;
}

struct covey_shareable_item cvy_slot_get(const struct cvy_slot *slot)
{
    struct covey_shareable_item item = {.kind = slot->kind};
    int64_t word;

    switch (slot->kind) {
    case COVEY_ITEM_BOOL:
        item.integer = slot->at[WORD - 1] != 0;
        break;
    case COVEY_ITEM_INT:
        item.integer = load(slot->at);
        break;
    case COVEY_ITEM_FLOAT:
        word = load(slot->at);
        memcpy(&item.real, &word, WORD);
        break;
    case COVEY_ITEM_STR:
    case COVEY_ITEM_BYTES:
        item.text = COVEY_VIEW(slot->at, slot->text_size);
        break;
    case COVEY_ITEM_NONE:
        break;
    }
    return item;
}

/* The word that a plain item has in its slot. */
static int64_t plain_word(const struct covey_shareable_item *item)
{
    unsigned char bytes[WORD] = {0};
    int64_t word = item->integer;

    if (item->kind == COVEY_ITEM_FLOAT)
        memcpy(&word, &item->real, WORD);
    if (item->kind == COVEY_ITEM_BOOL || item->kind == COVEY_ITEM_NONE) {
        bytes[WORD - 1] = item->kind == COVEY_ITEM_BOOL && item->integer;
        memcpy(&word, bytes, WORD);
    }
    return word;
}

static void set_format(const struct cvy_slots *slots, size_t index, const char *format,
                       enum code code)
{
    char bytes[WORD] = {0};
    int64_t word;

    memcpy(bytes, format, strnlen(format, WORD));
    memcpy(&word, bytes, WORD);
    store(format_of(slots, index), word);
    __atomic_store_n(code_of(slots, index), (unsigned char)code, __ATOMIC_RELAXED);
}

static void set_plain(const struct cvy_slots *slots, size_t index,
                      const struct cvy_slot *slot,
                      const struct covey_shareable_item *item)
{
    static const char *const formats[] = {
        [COVEY_ITEM_NONE] = FORMAT_NONE,
        [COVEY_ITEM_BOOL] = FORMAT_BOOL,
        [COVEY_ITEM_INT] = "q",
        [COVEY_ITEM_FLOAT] = "d",
    };

    store(slot->at, plain_word(item));
    set_format(slots, index, formats[item->kind],
               item->kind == COVEY_ITEM_NONE ? CODE_NONE : CODE_PLAIN);
}

int cvy_slot_set(const struct cvy_slots *slots, size_t index,
                 const struct covey_shareable_item *item)
{
    struct cvy_slot slot;
    char format[32];
    int r = locate(slots, index, &slot);

    if (r < 0)
        return r;
    if (!is_text(item->kind)) {
        if (slot.room < WORD)
            return COVEY_EPROTOCOL;
        set_plain(slots, index, &slot, item);
        return 0;
    }
    if (item->text.size > slot.room)
        return -EMSGSIZE;
    slot.room = cvy_min_size(slot.room, MOST_ROOM);
    if (item->text.size)
        memmove(slot.at, item->text.data, item->text.size);
    memset(slot.at + item->text.size, 0, slot.room - item->text.size);
    if (ends_in_zero(item->text))
        snprintf(format, sizeof(format), "%zus ", item->text.size);
    else
        snprintf(format, sizeof(format), "%zus", slot.room);
    set_format(slots, index, format,
               item->kind == COVEY_ITEM_STR ? CODE_STR : CODE_BYTES);
    return 0;
}
