/* SPDX-License-Identifier: MIT */
/*
 * Lists, tuples and slices. The items of what was made in one go lie in the node itself;
 * once it grows they move to an array of their own.
 */
#include "value/list.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "value/object.h"
#include "value/pack.h"

static struct cvy_seq empty_tuple = {.base = {.head = {.refs = CVY_FOR_EVER,
                                                       .kind = COVEY_VALUE_TUPLE,
                                                       .flags = CVY_CONTAINED,
                                                       .depth = 1}}};

/* ---- inside ------------------------------------------------------------------ */

struct cvy_seq *cvy_seq_new(struct cvy_heap *heap, unsigned kind)
{
    return cvy_compound_node(heap, kind, sizeof(struct cvy_seq));
}

static void drop(covey_value *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        covey_value_free(items[i]);
}

covey_value *cvy_seq_of(struct cvy_heap *heap, unsigned kind, covey_value *const *items,
                        size_t count)
{
    struct cvy_seq *seq;
    size_t size;

    if (!count)
        return &empty_tuple.base.head;
    seq = __builtin_mul_overflow(count, sizeof(items[0]), &size) ||
                  __builtin_add_overflow(size, sizeof(*seq), &size)
              ? NULL
              : cvy_compound_node(heap, kind, size);
    if (!seq) {
        drop(items, count);
        return NULL;
    }
    seq->items = seq->own;
    seq->capacity = count;
    while (seq->count < count) {
        if (cvy_adopt(heap, &seq->base, items[seq->count]) < 0) {
            drop(items + seq->count, count - seq->count);
            covey_value_free(&seq->base.head);
            return NULL;
        }
        seq->items[seq->count] = items[seq->count];
        seq->count++;
    }
    return &seq->base.head;
}

covey_value *cvy_value_tuple_of(covey_value *const *items, size_t count)
{
    return cvy_seq_of(NULL, COVEY_VALUE_TUPLE, items, count);
}

int cvy_seq_reserve(struct cvy_heap *heap, struct cvy_seq *seq, size_t more)
{
    size_t capacity = seq->capacity < 4 ? 4 : seq->capacity + seq->capacity / 2;
    covey_value **items = seq->items == seq->own ? NULL : seq->items;
    int r;

    if (more <= seq->capacity - seq->count)
        return 0;
    if (more > SIZE_MAX - seq->count)
        return cvy_fail(-ENOMEM, "value: a list of more items than memory can have");
    capacity = cvy_max_size(capacity, seq->count + more);
    if ((r = cvy_heap_grow(heap, &items, items ? seq->capacity : 0, capacity,
                           sizeof(covey_value *))) < 0)
        return r;
    if (seq->items == seq->own)
        memcpy(items, seq->own, seq->count * sizeof(covey_value *));
    seq->items = items;
    seq->capacity = capacity;
    return 0;
}

int cvy_seq_insert(struct cvy_heap *heap, struct cvy_seq *seq, size_t index,
                   covey_value *item)
{
    int r;

    if (!item)
        return cvy_last_code();
    if ((r = cvy_seq_reserve(heap, seq, 1)) < 0 ||
        (r = cvy_adopt(heap, &seq->base, item)) < 0) {
        covey_value_free(item);
        return r;
    }
    if (index < seq->count)
        memmove(seq->items + index + 1, seq->items + index,
                (seq->count - index) * sizeof(covey_value *));
    seq->items[index] = item;
    seq->count++;
    return 0;
}

int cvy_seq_append(struct cvy_heap *heap, struct cvy_seq *seq, covey_value *item)
{
    return cvy_seq_insert(heap, seq, seq->count, item);
}

void cvy_seq_destroy(struct cvy_seq *seq)
{
    drop(seq->items, seq->count);
    if (seq->items != seq->own)
        cvy_free(seq->items);
}

covey_value *cvy_seq_take(struct cvy_seq *seq, size_t index)
{
    covey_value *item = seq->items[index];

    seq->count--;
    memmove(seq->items + index, seq->items + index + 1,
            (seq->count - index) * sizeof(covey_value *));
    cvy_disown(&seq->base, item);
    return item;
}

int cvy_seq_put_at(struct cvy_heap *heap, struct cvy_seq *seq, size_t index,
                   covey_value *item)
{
    covey_value *old;
    int r = cvy_adopt(heap, &seq->base, item);

    if (r < 0) {
        covey_value_free(item);
        return r;
    }
    old = seq->items[index];
    seq->items[index] = item;
    cvy_disown(&seq->base, old);
    covey_value_free(old);
    return 0;
}

covey_value *cvy_seq_copy(struct cvy_heap *heap, const struct cvy_seq *seq)
{
    struct cvy_seq *copy = cvy_seq_new(heap, seq->base.head.kind);

    if (!copy || !seq->count)
        return copy ? &copy->base.head : NULL;
    if (cvy_heap_grow(heap, &copy->items, 0, seq->count, sizeof(covey_value *)) < 0) {
        covey_value_free(&copy->base.head);
        return NULL;
    }
    copy->capacity = seq->count;
    for (; copy->count < seq->count; copy->count++)
        copy->items[copy->count] = covey_value_ref(seq->items[copy->count]);
    cvy_set_depth(&copy->base.head, cvy_depth(&seq->base.head));
    copy->base.weight = seq->base.weight;
    cvy_set_flags(&copy->base.head,
                  cvy_flags(&seq->base.head) & ~(unsigned)CVY_CONTAINED);
    return &copy->base.head;
}

/* ---- making ------------------------------------------------------------------ */

covey_value *covey_value_list(void)
{
    struct cvy_seq *seq = cvy_seq_new(NULL, COVEY_VALUE_LIST);

    return seq ? &seq->base.head : NULL;
}

covey_value *covey_value_tuple(void)
{
    struct cvy_seq *seq = cvy_seq_new(NULL, COVEY_VALUE_TUPLE);

    return seq ? &seq->base.head : NULL;
}

covey_value *covey_value_slice(covey_value *start, covey_value *stop, covey_value *step)
{
    covey_value *parts[3] = {start, stop, step};

    return cvy_seq_of(NULL, COVEY_VALUE_SLICE, parts, 3);
}

/* ---- reading ----------------------------------------------------------------- */

const covey_value *covey_value_at(const covey_value *sequence, size_t index)
{
    const struct cvy_seq *seq = cvy_as_seq(sequence);

    if (!cvy_is_kind(sequence, COVEY_VALUE_LIST) &&
        !cvy_is_kind(sequence, COVEY_VALUE_TUPLE))
        return NULL;
    return index < seq->count ? seq->items[index] : NULL;
}

int covey_value_get_slice(const covey_value *value, const covey_value **ret_start,
                          const covey_value **ret_stop, const covey_value **ret_step)
{
    const struct cvy_seq *seq = cvy_as_seq(value);

    if (!cvy_is_kind(value, COVEY_VALUE_SLICE))
        return cvy_wrong_type(value, "slice");
    if (!ret_start || !ret_stop || !ret_step)
        return cvy_no_place();
    *ret_start = seq->items[0];
    *ret_stop = seq->items[1];
    *ret_step = seq->items[2];
    return 0;
}

/* ---- changing ---------------------------------------------------------------- */

/* The list, or tuple if `tuples`, that `value` is and that may be changed by putting `item`
 * into it; NULL with the code in `*ret_error` if it is none. */
static struct cvy_seq *get_list(covey_value *value, bool tuples,
                                const covey_value *item, int *ret_error)
{
    if (!cvy_is_kind(value, COVEY_VALUE_LIST) &&
        !(tuples && cvy_is_kind(value, COVEY_VALUE_TUPLE)))
        *ret_error = value ? cvy_wrong_type(value, "list") : cvy_last_code();
    else if ((*ret_error = cvy_takes(value, item)) == 0)
        return cvy_as_seq(value);
    return NULL;
}

int covey_value_append(covey_value *sequence, covey_value *item)
{
    struct cvy_seq *seq;
    int r;

    if (cvy_is_kind(sequence, COVEY_VALUE_OBJECT))
        return cvy_object_append_checked(sequence, item);
    if (!(seq = get_list(sequence, true, item, &r))) {
        cvy_refuse(sequence, item);
        return r;
    }
    r = cvy_seq_append(NULL, seq, item);
    return r < 0 ? cvy_stick(sequence, r) : 0;
}

int covey_value_extend(covey_value *sequence, const covey_value *other)
{
    const covey_value *item = NULL;
    size_t position = 0, count = covey_value_count(other);
    int r = 0;

    if (covey_value_check(other) < 0) /* or it lacks something */
        return covey_value_append(sequence, NULL);
    if (!cvy_is_seq(other) && !cvy_is_keys(other))
        return cvy_wrong_type(other, "what can be walked");
    /* Counted first: `other` may be the sequence itself. */
    for (size_t i = 0; i < count && r == 0; i++) {
        covey_value_next(other, &position, &item, NULL);
        r = covey_value_append(sequence, covey_value_ref(item));
    }
    return r;
}

int covey_value_insert(covey_value *list, size_t index, covey_value *item)
{
    struct cvy_seq *seq;
    int r;

    if (!(seq = get_list(list, false, item, &r))) {
        cvy_refuse(list, item);
        return r;
    }
    r = cvy_seq_insert(NULL, seq, index < seq->count ? index : seq->count, item);
    return r < 0 ? cvy_stick(list, r) : 0;
}

static int no_item(const struct cvy_seq *seq, size_t index)
{
    return cvy_fail(-ENOENT, "value: no item %zu in a list of %zu", index, seq->count);
}

int covey_value_put_at(covey_value *list, size_t index, covey_value *item)
{
    struct cvy_seq *seq;
    int r;

    if (!(seq = get_list(list, false, item, &r)) || index >= seq->count) {
        cvy_refuse(list, item);
        return seq ? cvy_stick(list, no_item(seq, index)) : r;
    }
    r = cvy_seq_put_at(NULL, seq, index, item);
    return r < 0 ? cvy_stick(list, r) : 0;
}

int covey_value_take_at(covey_value *list, size_t index, covey_value **out)
{
    struct cvy_seq *seq;
    covey_value *item;
    int r;

    if (!(seq = get_list(list, false, NULL, &r)))
        return r;
    if (index >= seq->count)
        return no_item(seq, index);
    item = cvy_seq_take(seq, index);
    if (out)
        *out = item;
    else
        covey_value_free(item);
    return 0;
}
