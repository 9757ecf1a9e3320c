/* SPDX-License-Identifier: MIT */
/**
 * memory/slots.h: the layout of CPython's ShareableList (3.9 and later), without calls of
 * the system.
 *
 *   at             what                                 who writes it
 *   0              count, 8 bytes                       its maker
 *   8              count + 1 offsets, 8 bytes each      its maker
 *   8 * count + 16 the slots; slot i begins at offset i and ends at offset i + 1
 *   + last offset  count formats, 8 bytes each          its maker, and who sets an item
 *   + 8 * count    count codes, a byte each             the same
 *
 *   item    format       code  slot
 *   int     q            0     8 bytes
 *   float   d            0     8
 *   bool    xxxxxxx?     0     seven zeros, 0 or 1
 *   None    xxxxxx?x     3     zeros
 *   str     <size>s      1     UTF-8, zeros up to the size, which is the slot's
 *   bytes   <size>s      2     the same
 *
 * Python takes all zeros off the end of text. Text that ends in zeros is written by the
 * format "<size>s ", where the size is its own: Python reads over the blank, and when it
 * sets the item it takes the slot's size again, since it does not find the s at the end.
 *
 * Everything is in the byte order of the machine, as Python has it. Other processes may
 * change anything at any time: what is read is checked, and each number is read once.
 */
#ifndef CVY_MEMORY_SLOTS_H
#define CVY_MEMORY_SLOTS_H

#include <stdbool.h>
#include <stddef.h>

#include <covey/memory.h>

struct cvy_slots {
    unsigned char *base;
    size_t size; /* of the memory */
    size_t count;
    size_t data_at, data_size;
};

/** A slot's place, and what its format and code say. */
struct cvy_slot {
    unsigned char *at;
    size_t room;
    enum covey_item_kind kind;
    size_t text_size; /* of text: at most so many bytes, zeros at the end included */
    bool is_exact;    /* of text: just so many */
};

/** Returns: 0; -EILSEQ; -EMSGSIZE; -EINVAL: what such an item cannot be. */
int cvy_item_check(const struct covey_shareable_item *item);
/** Whether Python's == says so. */
bool cvy_item_equals(const struct covey_shareable_item *a,
                     const struct covey_shareable_item *b);

/** The bytes that a list of these needs, 0 if that is too much. */
size_t cvy_slots_need(const struct covey_shareable_item *items, size_t count);
/** Lay out a list in zeroed memory of that size. */
void cvy_slots_write(struct cvy_slots *slots, void *base, size_t size,
                     const struct covey_shareable_item *items, size_t count);
/** Look at what is there. Returns: 0; COVEY_EPROTOCOL. */
int cvy_slots_read(struct cvy_slots *slots, void *base, size_t size);

/** The slot of an item; `index` is below the count. Returns: 0; COVEY_EPROTOCOL. */
int cvy_slot_find(const struct cvy_slots *slots, size_t index,
                  struct cvy_slot *ret_slot);
/** Read its value; for text only where it is and how long, the bytes still change. */
struct covey_shareable_item cvy_slot_get(const struct cvy_slot *slot);
/** Write an item that was checked. Returns: 0; -EMSGSIZE; COVEY_EPROTOCOL. */
int cvy_slot_set(const struct cvy_slots *slots, size_t index,
                 const struct covey_shareable_item *item);
/** Its format as a string. */
void cvy_slot_format(const struct cvy_slots *slots, size_t index, char ret_format[9]);

/** Whether these bytes are UTF-8 as Python reads it. */
bool cvy_is_utf8(const void *text, size_t size);

#endif
