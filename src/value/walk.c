/* SPDX-License-Identifier: MIT */
/* Walking through values. */
#include "value/walk.h"

#include "base/error.h"
#include "value/number.h"
#include "value/text.h"

int cvy_walk_begin(struct cvy_walk *walk, const covey_value *value)
{
    switch (covey_value_kind(value)) {
    case COVEY_VALUE_STR:
    case COVEY_VALUE_BYTES:
    case COVEY_VALUE_BYTEARRAY:
    case COVEY_VALUE_LIST:
    case COVEY_VALUE_TUPLE:
    case COVEY_VALUE_DICT:
    case COVEY_VALUE_SET:
    case COVEY_VALUE_FROZENSET:
    case COVEY_VALUE_RANGE:
        *walk = (struct cvy_walk){.value = value, .count = covey_value_count(value)};
        return 0;
    default:
        return cvy_wrong_type(value, "what can be walked");
    }
}

/* The code point at `*position` as a str. */
static covey_value *next_point(struct cvy_heap *heap, const struct cvy_text *text,
                               size_t *position)
{
    size_t begin = *position;

    cvy_utf8_next(text->data, position);
    return cvy_bytes(heap, COVEY_VALUE_STR, text->data + begin, *position - begin);
}

static covey_value *next_item(struct cvy_heap *heap, const covey_value *value,
                              size_t *position)
{
    const struct cvy_text *text = cvy_as_text(value);
    const struct cvy_range *range = cvy_as_range(value);
    const covey_value *item = NULL;

    switch (value->kind) {
    case COVEY_VALUE_STR:
        return next_point(heap, text, position);
    case COVEY_VALUE_BYTES:
    case COVEY_VALUE_BYTEARRAY:
        return cvy_make_small((unsigned char)text->data[(*position)++]);
    case COVEY_VALUE_RANGE:
        return cvy_int(heap, (int64_t)((uint64_t)range->start +
                                       (uint64_t)range->step * (*position)++));
    default:
        covey_value_next(value, position, &item, NULL);
        return covey_value_ref(item);
    }
}

int cvy_walk_next(struct cvy_walk *walk, struct cvy_heap *heap, covey_value **ret)
{
    covey_value *item;
    int r;

    if (!walk->count)
        return 0;
    if ((r = cvy_heap_spend(heap, 1)) < 0)
        return r;
    item = next_item(heap, walk->value, &walk->position);
    if (!item)
        return cvy_last_code();
    walk->count--;
    *ret = item;
    return 1;
}
