/* SPDX-License-Identifier: MIT */
/*
 * Calls in pickles whose result is a value of a kind that covey has. Arguments that do
 * not fit leave the call as it is: an object.
 */
#include <string.h>

#include "base/error.h"
#include "value/keys.h"
#include "value/list.h"
#include "value/number.h"
#include "value/object.h"
#include "value/text.h"
#include "value/unpickle.h"

typedef covey_value *known_fn(struct cvy_unpickler *u, const struct cvy_seq *args,
                              bool *fits);

static bool is_kind(const struct cvy_seq *args, size_t index, unsigned kind)
{
    return index < args->count && cvy_is_kind(args->items[index], kind);
}

/* The arguments say that a str is to be encoded in Latin 1. */
static bool is_latin1(const struct cvy_seq *args)
{
    return args->count == 2 && is_kind(args, 0, COVEY_VALUE_STR) &&
           (cvy_text_is(args->items[1], "latin1") ||
            cvy_text_is(args->items[1], "latin-1"));
}

/* Pay for going through `text`: the few bytes of a call may name it again and again. */
static int pay_for_text(struct cvy_unpickler *u, const struct cvy_text *text)
{
    return cvy_heap_spend(&u->heap, text->size / 8);
}

/* The same for the items of a sequence. */
static int pay_for_items(struct cvy_unpickler *u, const struct cvy_seq *seq)
{
    return cvy_heap_spend(&u->heap, seq->count);
}

/* Bytes of which a str tells each as a code point. */
static covey_value *encode(struct cvy_unpickler *u, unsigned kind,
                           const covey_value *value)
{
    const struct cvy_text *str = cvy_as_text(value);
    struct cvy_text *bytes;
    size_t at = 0;

    if (pay_for_text(u, str) < 0)
        return NULL;
    bytes = cvy_text_new(&u->heap, kind, covey_value_count(value));
    for (size_t i = 0; bytes && i < bytes->size; i++) {
        uint32_t point = cvy_utf8_next(str->data, &at);

        if (point > 0xff) {
            covey_value_free(&bytes->head);
            cvy_unpickle_bad("bytes of a str that is not Latin 1");
            return NULL;
        }
        bytes->data[i] = (char)point;
    }
    return bytes ? &bytes->head : NULL;
}

static covey_value *known_encode(struct cvy_unpickler *u, const struct cvy_seq *args,
                                 bool *fits)
{
    *fits = is_latin1(args);
    return *fits ? encode(u, COVEY_VALUE_BYTES, args->items[0]) : NULL;
}

static covey_value *known_bytes(struct cvy_unpickler *u, const struct cvy_seq *args,
                                bool *fits)
{
    *fits = args->count == 0;
    return *fits ? cvy_bytes(&u->heap, COVEY_VALUE_BYTES, NULL, 0) : NULL;
}

static covey_value *known_bytearray(struct cvy_unpickler *u, const struct cvy_seq *args,
                                    bool *fits)
{
    const struct cvy_text *text;

    if (is_latin1(args))
        return encode(u, COVEY_VALUE_BYTEARRAY, args->items[0]);
    if (args->count == 0)
        return cvy_bytes(&u->heap, COVEY_VALUE_BYTEARRAY, NULL, 0);
    *fits = args->count == 1 && is_kind(args, 0, COVEY_VALUE_BYTES);
    if (!*fits)
        return NULL;
    text = cvy_as_text(args->items[0]);
    if (pay_for_text(u, text) < 0)
        return NULL;
    return cvy_bytes(&u->heap, COVEY_VALUE_BYTEARRAY, text->data, text->size);
}

static covey_value *known_complex(struct cvy_unpickler *u, const struct cvy_seq *args,
                                  bool *fits)
{
    *fits = args->count == 2 && is_kind(args, 0, COVEY_VALUE_FLOAT) &&
            is_kind(args, 1, COVEY_VALUE_FLOAT);
    return *fits ? cvy_complex(&u->heap, cvy_as_float(args->items[0])->number,
                               cvy_as_float(args->items[1])->number)
                 : NULL;
}

/* The items of a list or tuple, as set. */
static covey_value *make_set(struct cvy_unpickler *u, const struct cvy_seq *args,
                             unsigned kind, bool *fits)
{
    const struct cvy_seq *items;
    struct cvy_keys *table;

    *fits =
        args->count == 0 || (args->count == 1 && (is_kind(args, 0, COVEY_VALUE_LIST) ||
                                                  is_kind(args, 0, COVEY_VALUE_TUPLE)));
    items = *fits && args->count ? cvy_as_seq(args->items[0]) : NULL;
    if (items && pay_for_items(u, items) < 0)
        return NULL;
    table = *fits ? cvy_keys_new(&u->heap, kind) : NULL;
    for (size_t i = 0; table && items && i < items->count; i++) {
        if (cvy_keys_put(&u->heap, table, cvy_ref_private(items->items[i]), NULL) < 0) {
            covey_value_free(&table->base.head);
            table = NULL;
        }
    }
    return table ? &table->base.head : NULL;
}

static covey_value *known_set(struct cvy_unpickler *u, const struct cvy_seq *args,
                              bool *fits)
{
    return make_set(u, args, COVEY_VALUE_SET, fits);
}

static covey_value *known_frozenset(struct cvy_unpickler *u, const struct cvy_seq *args,
                                    bool *fits)
{
    return make_set(u, args, COVEY_VALUE_FROZENSET, fits);
}

/* What CPython's managers send of a dict's keys, values and items. */
static covey_value *known_list(struct cvy_unpickler *u, const struct cvy_seq *args,
                               bool *fits)
{
    *fits = args->count == 1 && is_kind(args, 0, COVEY_VALUE_LIST);
    if (*fits && pay_for_items(u, cvy_as_seq(args->items[0])) < 0)
        return NULL;
    return *fits ? cvy_seq_copy(&u->heap, cvy_as_seq(args->items[0])) : NULL;
}

static covey_value *known_slice(struct cvy_unpickler *u, const struct cvy_seq *args,
                                bool *fits)
{
    covey_value *parts[3];

    *fits = args->count == 3;
    for (size_t i = 0; *fits && i < 3; i++)
        parts[i] = cvy_ref_private(args->items[i]);
    return *fits ? cvy_seq_of(&u->heap, COVEY_VALUE_SLICE, parts, 3) : NULL;
}

static covey_value *known_range(struct cvy_unpickler *u, const struct cvy_seq *args,
                                bool *fits)
{
    int64_t parts[3];

    *fits = args->count == 3;
    for (size_t i = 0; *fits && i < 3; i++)
        *fits = is_kind(args, i, COVEY_VALUE_INT) &&
                covey_value_get_int(args->items[i], &parts[i]) == 0;
    return *fits ? cvy_range(&u->heap, parts[0], parts[1], parts[2]) : NULL;
}

int cvy_unpickle_known(struct cvy_unpickler *u, const covey_value *callable,
                       const covey_value *args, covey_value **ret)
{
    static const struct {
        const char *module, *name;
        known_fn *fn;
    } known[] = {
        {"builtins", "bytearray", known_bytearray},
        {"builtins", "bytes", known_bytes},
        {"builtins", "complex", known_complex},
        {"builtins", "frozenset", known_frozenset},
        {"builtins", "list", known_list},
        {"builtins", "range", known_range},
        {"builtins", "set", known_set},
        {"builtins", "slice", known_slice},
        {"_codecs", "encode", known_encode},
    };

    for (size_t i = 0; i < CVY_ARRAY_SIZE(known); i++) {
        bool fits = true;

        if (!cvy_is_global(callable, known[i].module, known[i].name))
            continue;
        /* The global goes, but what shares the name of its module is to share it again. */
        cvy_set_flags(cvy_as_global(callable)->module, CVY_BY_CONTENT);
        *ret = known[i].fn(u, cvy_as_seq(args), &fits);
        if (!fits)
            return 0;
        return *ret ? 1 : cvy_last_code();
    }
    return 0;
}
