/* SPDX-License-Identifier: MIT */
/*
 * Writing pickles: protocol 4, byte for byte as CPython's C pickler does, frames and
 * batches included, as far as a value tells what it would do.
 *
 * CPython writes an object that it meets again as a reference to the first time, and so
 * do we with nodes. A node that has a single reference is not met again, so that only the
 * others are looked up. Globals count as the same if they are equal.
 *
 * An error stays in the writer, and ends all loops.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "value/compare.h"
#include "value/hash.h"
#include "value/inside.h"
#include "value/number.h"
#include "value/object.h"
#include "value/opcodes.h"
#include "value/text.h"

enum {
    BATCH = 1000,     /* items between MARK and APPENDS, SETITEMS, ADDITEMS */
    FRAME_HEADER = 9, /* FRAME and 8 bytes of size */
    FRAME_MIN = 4,    /* a smaller one has no header */
    FRAME_TARGET =
        64 * 1024 /* a larger one ends; as large a text is outside of frames */
};
#define NO_FRAME SIZE_MAX

struct place {
    const covey_value *value; /* NULL: free */
    uint64_t hash;
    uint32_t number;
    bool by_content;
};

enum known { KNOWN_COMPLEX, KNOWN_SLICE, KNOWN_RANGE, KNOWN_BYTEARRAY, KNOWN_COUNT };

struct writer {
    struct covey_bytes *out;
    size_t frame; /* where the open one begins */
    bool framing;
    int error;
    uint32_t memoized; /* numbers given */
    struct place *places;
    size_t count, capacity; /* of places, a power of two */
    bool has_known;         /* any of these */
    covey_value *known[KNOWN_COUNT];
};

/* ---- bytes and frames ---------------------------------------------------------- */

static void fail(struct writer *w, int code)
{
    if (!w->error)
        w->error = code;
}

static void append(struct writer *w, const void *data, size_t size)
{
    struct covey_bytes *out = w->out;

    if (w->error)
        return;
    if (cvy_likely(size <= out->capacity - out->size)) {
        memcpy((char *)out->data + out->size, data, size);
        out->size += size;
    } else {
        fail(w, cvy_bytes_append(out, data, size));
    }
}

static void put(struct writer *w, const void *data, size_t size)
{
    static const char header[FRAME_HEADER] = {(char)CVY_FRAME};

    if (w->framing && w->frame == NO_FRAME) {
        w->frame = w->out->size;
        append(w, header, sizeof(header));
    }
    append(w, data, size);
}

/* Write an opcode and a little-endian number of `size` bytes. */
static void put_op(struct writer *w, unsigned opcode, uint64_t number, size_t size)
{
    uint64_t little_endian = htole64(number);
    unsigned char bytes[1 + sizeof(little_endian)];

    bytes[0] = (unsigned char)opcode;
    memcpy(bytes + 1, &little_endian, sizeof(little_endian));
    put(w, bytes, size + 1);
}

static void end_frame(struct writer *w)
{
    char *frame;
    size_t size;

    if (w->error || w->frame == NO_FRAME)
        return;
    frame = (char *)w->out->data + w->frame;
    size = w->out->size - w->frame - FRAME_HEADER;
    if (size < FRAME_MIN) {
        memmove(frame, frame + FRAME_HEADER, size);
        w->out->size -= FRAME_HEADER;
    } else {
        uint64_t little_endian = htole64(size);

        memcpy(frame + 1, &little_endian, sizeof(little_endian));
    }
    w->frame = NO_FRAME;
}

/* Before each object: end a frame that has become large. */
static void begin(struct writer *w)
{
    if (w->frame != NO_FRAME && w->out->size - w->frame - FRAME_HEADER >= FRAME_TARGET)
        end_frame(w);
}

/* ---- what was written before --------------------------------------------------- */

static uint64_t hash_of(const covey_value *value, bool by_content)
{
    uint64_t hash;

    if (by_content)
        return cvy_hash(value);
    hash = (uint64_t)(uintptr_t)value * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

static struct place *find_place(const struct writer *w, const covey_value *value,
                                uint64_t hash, bool by_content)
{
    size_t at = hash & (w->capacity - 1);

    for (;; at = (at + 1) & (w->capacity - 1)) {
        struct place *place = &w->places[at];

        if (!place->value ||
            (place->hash == hash && place->by_content == by_content &&
             (place->value == value ||
              (by_content && cvy_same(place->value, value, NULL) > 0))))
            return place;
    }
}

static void grow_places(struct writer *w)
{
    struct writer old = *w;

    w->capacity = old.capacity ? 2 * old.capacity : 64;
    w->places = cvy_calloc(w->capacity, sizeof(*w->places));
    if (!w->places) {
        fail(w, cvy_fail(-ENOMEM, "pickle: no memory for %zu references", w->capacity));
        w->places = old.places;
        w->capacity = old.capacity;
        return;
    }
    for (size_t i = 0; i < old.capacity; i++) {
        const struct place *place = &old.places[i];

        if (place->value)
            *find_place(w, place->value, place->hash, place->by_content) = *place;
    }
    cvy_free(old.places);
}

/* Write a reference if the value was written before. */
static bool put_again(struct writer *w, const covey_value *value, bool by_content)
{
    const struct place *place;

    if (!w->count || w->error)
        return false;
    place = find_place(w, value, hash_of(value, by_content), by_content);
    if (!place->value)
        return false;
    if (place->number < 256)
        put_op(w, CVY_BINGET, place->number, 1);
    else
        put_op(w, CVY_LONG_BINGET, place->number, 4);
    return true;
}

static void remember(struct writer *w, const covey_value *value, bool by_content)
{
    uint64_t hash = hash_of(value, by_content);

    if (4 * w->count >= 3 * w->capacity)
        grow_places(w);
    if (w->error)
        return;
    *find_place(w, value, hash, by_content) =
        (struct place){value, hash, w->memoized, by_content};
    w->count++;
}

static bool is_shared(const covey_value *value)
{
    return atomic_load_explicit(&value->refs, memory_order_relaxed) > 1;
}

/* Give what was just written the next number. */
static void memoize(struct writer *w, const covey_value *value)
{
    if (w->memoized == UINT32_MAX)
        fail(w, cvy_fail(-EMSGSIZE, "pickle: more than 2^32 objects"));
    if (value->kind == COVEY_VALUE_GLOBAL || is_shared(value))
        remember(w, value, value->kind == COVEY_VALUE_GLOBAL);
    put_op(w, CVY_MEMOIZE, 0, 0);
    w->memoized++;
}

/* An int that is written by reference where it is there again. CPython writes each in full,
 * and few bytes of a pickle would become as many as memory can hold. */
static bool is_repeated_long(const covey_value *value)
{
    enum { MANY_LIMBS = 32 };

    return !cvy_is_small(value) && cvy_as_big(value)->size >= MANY_LIMBS &&
           is_shared(value);
}

/* ---- plain values -------------------------------------------------------------- */

static void save(struct writer *w, const covey_value *value);

static void put_long(struct writer *w, const covey_value *value)
{
    unsigned char stack[256];
    struct covey_bytes bytes = {0};
    struct cvy_int number;
    size_t size;
    int r;

    cvy_int_of(value, &number);
    size = cvy_int_bytes_size(&number);
    if (size > UINT32_MAX >> 1) {
        fail(w, cvy_fail(-EMSGSIZE, "pickle: int of %zu bytes", size));
        return;
    }
    put_op(w, size < 256 ? CVY_LONG1 : CVY_LONG4, size, size < 256 ? 1 : 4);
    if (size <= sizeof(stack)) {
        cvy_int_to_bytes(&number, stack, size);
        put(w, stack, size);
        return;
    }
    if (w->error)
        return;
    r = covey_value_get_int_bytes(value, &bytes);
    if (r < 0)
        fail(w, r);
    else
        put(w, bytes.data, bytes.size);
    covey_bytes_free(&bytes);
}

static void put_int(struct writer *w, const covey_value *value)
{
    int64_t number = cvy_is_small(value) ? cvy_small(value) : INT64_MAX;

    if (number >= 0 && number <= 0xff)
        put_op(w, CVY_BININT1, (uint64_t)number, 1);
    else if (number >= 0 && number <= 0xffff)
        put_op(w, CVY_BININT2, (uint64_t)number, 2);
    else if (number >= INT32_MIN && number <= INT32_MAX)
        put_op(w, CVY_BININT, (uint64_t)number, 4);
    else
        put_long(w, value);
}

static void put_float(struct writer *w, double number)
{
    unsigned char bytes[9] = {CVY_BINFLOAT};
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    for (int i = 0; i < 8; i++)
        bytes[8 - i] = (unsigned char)(bits >> 8 * i);
    put(w, bytes, sizeof(bytes));
}

static void put_text(struct writer *w, const struct cvy_text *text)
{
    static const unsigned char opcodes[2][3] = {
        {CVY_SHORT_BINBYTES, CVY_BINBYTES, CVY_BINBYTES8},
        {CVY_SHORT_BINUNICODE, CVY_BINUNICODE, CVY_BINUNICODE8}};
    const unsigned char *opcode = opcodes[text->head.kind == COVEY_VALUE_STR];
    bool outside = text->size >= FRAME_TARGET;

    if (outside) {
        end_frame(w);
        w->framing = false;
    }
    if (text->size <= 0xff)
        put_op(w, opcode[0], text->size, 1);
    else if (text->size <= UINT32_MAX)
        put_op(w, opcode[1], text->size, 4);
    else
        put_op(w, opcode[2], text->size, 8);
    put(w, text->data, text->size);
    w->framing = true;
}

/* ---- containers ---------------------------------------------------------------- */

static void save_items(struct writer *w, covey_value *const *items, size_t count)
{
    for (size_t i = 0; i < count && !w->error; i++)
        save(w, items[i]);
}

static void put_tuple(struct writer *w, covey_value *const *items, size_t count)
{
    static const unsigned char opcodes[] = {CVY_EMPTY_TUPLE, CVY_TUPLE1, CVY_TUPLE2,
                                            CVY_TUPLE3};

    if (count > 3)
        put_op(w, CVY_MARK, 0, 0);
    save_items(w, items, count);
    put_op(w, count > 3 ? CVY_TUPLE : opcodes[count], 0, 0);
}

/* A tuple that is no value of its own. */
static void put_args(struct writer *w, covey_value *const *items, size_t count)
{
    begin(w);
    put_tuple(w, items, count);
    if (count) {
        put_op(w, CVY_MEMOIZE, 0, 0);
        w->memoized++;
    }
}

static void save_entry(struct writer *w, const covey_value *key,
                       const covey_value *value)
{
    save(w, key);
    if (value)
        save(w, value);
}

/* The items of a container. CPython has two ways: for a plain one it ends with an empty
 * batch if the last was full (`plain`, but not lists), for items of an object it looks one
 * ahead, and writes a single one without MARK. */
static void put_batches(struct writer *w, const covey_value *container, unsigned one,
                        unsigned many, bool plain)
{
    size_t position = 0, left = covey_value_count(container);
    const covey_value *key, *value;
    size_t batch;

    while (left && !w->error) {
        bool single = one && left == 1 && (!plain || !position);

        if (!single)
            put_op(w, CVY_MARK, 0, 0);
        for (batch = 0; batch < BATCH && left && !w->error; batch++, left--) {
            covey_value_next(container, &position, &key, &value);
            save_entry(w, key, value);
        }
        put_op(w, single ? one : many, 0, 0);
        if (plain && batch == BATCH && !left && container->kind != COVEY_VALUE_LIST) {
            put_op(w, CVY_MARK, 0, 0);
            put_op(w, many, 0, 0);
        }
    }
}

static void save_container(struct writer *w, const covey_value *value)
{
    switch (value->kind) {
    case COVEY_VALUE_LIST:
        put_op(w, CVY_EMPTY_LIST, 0, 0);
        memoize(w, value);
        put_batches(w, value, CVY_APPEND, CVY_APPENDS, true);
        break;
    case COVEY_VALUE_DICT:
        put_op(w, CVY_EMPTY_DICT, 0, 0);
        memoize(w, value);
        put_batches(w, value, CVY_SETITEM, CVY_SETITEMS, true);
        break;
    case COVEY_VALUE_SET:
        put_op(w, CVY_EMPTY_SET, 0, 0);
        memoize(w, value);
        put_batches(w, value, 0, CVY_ADDITEMS, true);
        break;
    default: {
        const covey_value *item;
        size_t position = 0;

        put_op(w, CVY_MARK, 0, 0);
        while (!w->error && covey_value_next(value, &position, &item, NULL))
            save(w, item);
        put_op(w, CVY_FROZENSET, 0, 0);
        memoize(w, value);
    }
    }
}

/* ---- objects ----------------------------------------------------------------- */

/* In CPython the modules of two classes are one str, but those of functions often are not.
 * Where a pickle told which it was, we know it. */
static void save_module(struct writer *w, const covey_value *module)
{
    bool by_content = cvy_flags(module) & CVY_BY_CONTENT;

    begin(w);
    if ((is_shared(module) && put_again(w, module, false)) ||
        (by_content && put_again(w, module, true)))
        return;
    put_text(w, cvy_as_text(module));
    if (by_content)
        remember(w, module, true);
    memoize(w, module);
}

static void save_global(struct writer *w, const covey_value *value)
{
    begin(w);
    if (put_again(w, value, true))
        return;
    save_module(w, cvy_as_global(value)->module);
    save(w, cvy_as_global(value)->name);
    put_op(w, CVY_STACK_GLOBAL, 0, 0);
    memoize(w, value);
}

static void save_known(struct writer *w, enum known known)
{
    static const char *const names[] = {"complex", "slice", "range", "bytearray"};

    if (!w->known[known])
        w->known[known] = covey_value_global("builtins", names[known]);
    w->has_known = true;
    if (w->known[known])
        save_global(w, w->known[known]);
    else
        fail(w, cvy_last_code());
}

static void save_complex(struct writer *w, const struct cvy_complex *complex)
{
    save_known(w, KNOWN_COMPLEX);
    begin(w);
    begin(w);
    put_float(w, complex->real);
    begin(w);
    put_float(w, complex->imag);
    put_op(w, CVY_TUPLE2, 0, 0);
    put_op(w, CVY_MEMOIZE, 0, 0);
    w->memoized++;
    put_op(w, CVY_REDUCE, 0, 0);
}

static void save_range(struct writer *w, const struct cvy_range *range)
{
    covey_value *parts[3] = {covey_value_int(range->start),
                             covey_value_int(range->stop),
                             covey_value_int(range->step)};

    save_known(w, KNOWN_RANGE);
    if (parts[0] && parts[1] && parts[2])
        put_args(w, parts, 3);
    else
        fail(w, cvy_last_code());
    put_op(w, CVY_REDUCE, 0, 0);
    for (int i = 0; i < 3; i++)
        covey_value_free(parts[i]);
}

static void save_bytearray(struct writer *w, const struct cvy_text *text)
{
    save_known(w, KNOWN_BYTEARRAY);
    begin(w);
    if (text->size) {
        begin(w);
        put_text(w, text);
        put_op(w, CVY_MEMOIZE, 0, 0);
        put_op(w, CVY_TUPLE1, 0, 0);
        put_op(w, CVY_MEMOIZE, 0, 0);
        w->memoized += 2;
    } else {
        put_op(w, CVY_EMPTY_TUPLE, 0, 0);
    }
    put_op(w, CVY_REDUCE, 0, 0);
}

static void save_object(struct writer *w, const struct cvy_object *object)
{
    save(w, object->callable);
    save(w, object->args);
    if (object->kwargs)
        save(w, object->kwargs);
    put_op(w,
           object->kwargs  ? CVY_NEWOBJ_EX
           : object->calls ? CVY_REDUCE
                           : CVY_NEWOBJ,
           0, 0);
    memoize(w, &object->base.head);
    if (object->items)
        put_batches(w, object->items, CVY_APPEND, CVY_APPENDS, false);
    if (object->pairs)
        put_batches(w, object->pairs, CVY_SETITEM, CVY_SETITEMS, false);
    if (object->state) {
        save(w, object->state);
        put_op(w, CVY_BUILD, 0, 0);
    }
}

/* ---- all --------------------------------------------------------------------- */

/* What is written by way of a call or in its own bytes, and then memoized. */
static void save_whole(struct writer *w, const covey_value *value)
{
    const struct cvy_seq *seq = cvy_as_seq(value);

    switch (value->kind) {
    case COVEY_VALUE_INT:
        put_long(w, value);
        break;
    case COVEY_VALUE_STR:
    case COVEY_VALUE_BYTES:
        put_text(w, cvy_as_text(value));
        break;
    case COVEY_VALUE_TUPLE:
        put_tuple(w, seq->items, seq->count);
        break;
    case COVEY_VALUE_COMPLEX:
        save_complex(w, cvy_as_complex(value));
        break;
    case COVEY_VALUE_BYTEARRAY:
        save_bytearray(w, cvy_as_text(value));
        break;
    case COVEY_VALUE_SLICE:
        save_known(w, KNOWN_SLICE);
        put_args(w, seq->items, 3);
        put_op(w, CVY_REDUCE, 0, 0);
        break;
    default:
        save_range(w, cvy_as_range(value));
    }
    memoize(w, value);
}

static void save_node(struct writer *w, const covey_value *value)
{
    int r = covey_value_check(value);

    if (r < 0)
        fail(w, r);
    if (is_shared(value) && put_again(w, value, false))
        return;
    switch (value->kind) {
    case COVEY_VALUE_LIST:
    case COVEY_VALUE_DICT:
    case COVEY_VALUE_SET:
    case COVEY_VALUE_FROZENSET:
        save_container(w, value);
        break;
    case COVEY_VALUE_OBJECT:
        save_object(w, cvy_as_object(value));
        break;
    default:
        save_whole(w, value);
    }
}

static void save(struct writer *w, const covey_value *value)
{
    if (w->error)
        return;
    begin(w);
    switch (cvy_kind(value)) {
    case COVEY_VALUE_NONE:
        put_op(w, CVY_NONE, 0, 0);
        break;
    case COVEY_VALUE_BOOL:
        put_op(w, covey_value_truth(value) ? CVY_NEWTRUE : CVY_NEWFALSE, 0, 0);
        break;
    case COVEY_VALUE_INT:
        if (is_repeated_long(value))
            save_node(w, value);
        else
            put_int(w, value);
        break;
    case COVEY_VALUE_FLOAT:
        put_float(w, cvy_as_float(value)->number);
        break;
    case COVEY_VALUE_GLOBAL:
        save_global(w, value);
        break;
    default:
        if (cvy_is_kind(value, COVEY_VALUE_TUPLE) && !cvy_as_seq(value)->count &&
            covey_value_check(value) == 0)
            put_op(w, CVY_EMPTY_TUPLE, 0, 0);
        else
            save_node(w, value);
    }
}

static void begin_pickle(struct writer *w)
{
    w->out->size = 0;
    put_op(w, CVY_PROTO, 4, 1);
    w->framing = true;
}

static int end_pickle(struct writer *w)
{
    put_op(w, CVY_STOP, 0, 0);
    end_frame(w);
    cvy_free(w->places);
    for (int i = 0; w->has_known && i < KNOWN_COUNT; i++)
        covey_value_free(w->known[i]);
    if (w->error)
        w->out->size = 0;
    return w->error;
}

int covey_value_pickle(const covey_value *value, struct covey_bytes *pickle)
{
    struct writer w = {.out = pickle, .frame = NO_FRAME};

    if (!value)
        return cvy_wrong_type(value, "a value");
    if (!pickle)
        return cvy_fail(-EINVAL, "pickle: NULL for the result");
    begin_pickle(&w);
    save(&w, value);
    return end_pickle(&w);
}

int cvy_pickle_around(struct covey_bytes *pickle, const struct cvy_around *around,
                      const covey_value *const *values, size_t count)
{
    struct writer w = {.out = pickle, .frame = NO_FRAME, .memoized = around->memoized};

    begin_pickle(&w);
    put(&w, around->before.data, around->before.size);
    for (size_t i = 0; i < count; i++) {
        if (cvy_settle(values[i]) >= COVEY_VALUE_DEPTH_MAX)
            fail(&w, cvy_fail(-EMSGSIZE, "value: nested deeper than %u",
                              (unsigned)COVEY_VALUE_DEPTH_MAX));
        save(&w, values[i]);
    }
    put(&w, around->after.data, around->after.size);
    return end_pickle(&w);
}
