/* SPDX-License-Identifier: MIT */
/* What can be asked of any value. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "value/keys.h"
#include "value/list.h"
#include "value/number.h"
#include "value/object.h"
#include "value/text.h"

/* ---- None, True, False --------------------------------------------------------- */

static struct covey_value none = {.refs = CVY_FOR_EVER, .kind = COVEY_VALUE_NONE};
static struct covey_value truths[2] = {
    {.refs = CVY_FOR_EVER, .kind = COVEY_VALUE_BOOL},
    {.refs = CVY_FOR_EVER, .kind = COVEY_VALUE_BOOL}};

covey_value *covey_value_none(void)
{
    return &none;
}

covey_value *covey_value_bool(int truth)
{
    return &truths[truth != 0];
}

/* ---- questions --------------------------------------------------------------- */

enum covey_kind covey_value_kind(const covey_value *value)
{
    return value ? (enum covey_kind)cvy_kind(value) : COVEY_VALUE_NULL;
}

const char *covey_value_type(const covey_value *value)
{
    static const char *const names[] = {
        [COVEY_VALUE_NULL] = "NULL",
        [COVEY_VALUE_NONE] = "NoneType",
        [COVEY_VALUE_BOOL] = "bool",
        [COVEY_VALUE_INT] = "int",
        [COVEY_VALUE_FLOAT] = "float",
        [COVEY_VALUE_COMPLEX] = "complex",
        [COVEY_VALUE_STR] = "str",
        [COVEY_VALUE_BYTES] = "bytes",
        [COVEY_VALUE_BYTEARRAY] = "bytearray",
        [COVEY_VALUE_LIST] = "list",
        [COVEY_VALUE_TUPLE] = "tuple",
        [COVEY_VALUE_DICT] = "dict",
        [COVEY_VALUE_SET] = "set",
        [COVEY_VALUE_FROZENSET] = "frozenset",
        [COVEY_VALUE_SLICE] = "slice",
        [COVEY_VALUE_RANGE] = "range",
        [COVEY_VALUE_GLOBAL] = "type",
        [COVEY_VALUE_OBJECT] = "object",
    };
    const covey_value *class = covey_value_class(value);

    return class ? cvy_as_text(cvy_as_global(class)->name)->data
                 : names[covey_value_kind(value)];
}

int covey_value_is_none(const covey_value *value)
{
    return value == &none;
}

int covey_value_truth(const covey_value *value)
{
    switch (covey_value_kind(value)) {
    case COVEY_VALUE_NULL:
    case COVEY_VALUE_NONE:
        return 0;
    case COVEY_VALUE_BOOL:
        return value == &truths[1];
    case COVEY_VALUE_INT:
        return !cvy_is_small(value) || cvy_small(value);
    case COVEY_VALUE_FLOAT:
        return cvy_as_float(value)->number != 0;
    case COVEY_VALUE_COMPLEX:
        return cvy_as_complex(value)->real != 0 || cvy_as_complex(value)->imag != 0;
    case COVEY_VALUE_SLICE:
    case COVEY_VALUE_GLOBAL:
    case COVEY_VALUE_OBJECT:
        return 1;
    case COVEY_VALUE_STR:
        return cvy_as_text(value)->size != 0;
    default:
        return covey_value_count(value) != 0;
    }
}

static size_t count_points(const struct cvy_text *text)
{
    size_t count = 0;

    for (size_t i = 0; i < text->size; i++)
        count += (text->data[i] & 0xc0) != 0x80;
    return count;
}

static size_t count_range(const struct cvy_range *range)
{
    uint64_t start = (uint64_t)range->start, stop = (uint64_t)range->stop;

    if (range->step > 0)
        return range->start < range->stop
                   ? (stop - start - 1) / (uint64_t)range->step + 1
                   : 0;
    return range->start > range->stop ? (start - stop - 1) / -(uint64_t)range->step + 1
                                      : 0;
}

size_t covey_value_count(const covey_value *value)
{
    switch (covey_value_kind(value)) {
    case COVEY_VALUE_STR:
        return count_points(cvy_as_text(value));
    case COVEY_VALUE_BYTES:
    case COVEY_VALUE_BYTEARRAY:
        return cvy_as_text(value)->size;
    case COVEY_VALUE_LIST:
    case COVEY_VALUE_TUPLE:
        return cvy_as_seq(value)->count;
    case COVEY_VALUE_DICT:
    case COVEY_VALUE_SET:
    case COVEY_VALUE_FROZENSET:
        return cvy_as_keys(value)->count;
    case COVEY_VALUE_RANGE:
        return count_range(cvy_as_range(value));
    default:
        return 0;
    }
}

int covey_value_next(const covey_value *container, size_t *position,
                     const covey_value **ret_key, const covey_value **ret_value)
{
    const covey_value *value = NULL;

    if (container && cvy_is_keys(container)) {
        const struct cvy_entry *entry = cvy_keys_next(cvy_as_keys(container), position);

        if (!entry)
            return 0;
        *ret_key = entry->key;
        value = entry->value;
    } else {
        const covey_value *item = covey_value_at(container, *position);

        if (!item)
            return 0;
        *ret_key = item;
        ++*position;
    }
    if (ret_value)
        *ret_value = value;
    return 1;
}

/* ---- copies ------------------------------------------------------------------ */

covey_value *covey_value_copy(const covey_value *value)
{
    if (!value || covey_value_check(value) < 0)
        return NULL;
    switch (cvy_kind(value)) {
    case COVEY_VALUE_LIST:
    case COVEY_VALUE_TUPLE:
        return cvy_seq_copy(NULL, cvy_as_seq(value));
    case COVEY_VALUE_DICT:
    case COVEY_VALUE_SET:
    case COVEY_VALUE_FROZENSET:
        return cvy_keys_copy(NULL, cvy_as_keys(value));
    case COVEY_VALUE_OBJECT:
        return cvy_object_copy(cvy_as_object(value));
    default:
        return covey_value_ref(value);
    }
}

/* Back to what an empty one of this kind is. */
static void reset(struct cvy_compound *compound)
{
    cvy_set_flags(&compound->head, cvy_own_flags(compound->head.kind));
    cvy_set_depth(&compound->head, 1);
    compound->error = 0;
    compound->weight = 0;
    atomic_store_explicit(&compound->hash, 0, memory_order_relaxed);
}

void cvy_clear(covey_value *container)
{
    if (cvy_is_seq(container)) {
        struct cvy_seq *seq = cvy_as_seq(container);

        cvy_seq_destroy(seq);
        seq->items = NULL;
        seq->count = seq->capacity = 0;
    } else {
        struct cvy_keys *table = cvy_as_keys(container);

        cvy_keys_destroy(table);
        table->entries = NULL;
        table->index = NULL;
        table->count = table->used = table->capacity = 0;
    }
    reset(cvy_as_compound(container));
}

int covey_value_clear(covey_value *container)
{
    int r;

    if (!container || cvy_is_kind(container, COVEY_VALUE_SLICE) ||
        (!cvy_is_seq(container) && !cvy_is_keys(container)))
        return cvy_wrong_type(container, "container");
    if ((r = cvy_changeable(container)) < 0)
        return r;
    cvy_clear(container);
    return 0;
}
