/* SPDX-License-Identifier: MIT */
/* Parts of lists, and lists repeated. */
#include "value/slice.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "value/list.h"
#include "value/number.h"

/* ---- slices ------------------------------------------------------------------ */

/* One of the three of a slice; what is too large for any sequence is clipped. */
static int part_of(const covey_value *part, int64_t missing, int64_t *ret)
{
    if (covey_value_is_none(part))
        *ret = missing;
    else if (cvy_is_integer(part))
        *ret = cvy_int_clip(part);
    else
        return cvy_wrong_type(part, "index in a slice");
    return 0;
}

/* An end of a slice, counted from the end if negative, brought within [low, high]. */
static int64_t bring_within(int64_t at, int64_t length, int64_t low, int64_t high)
{
    if (at < 0)
        at += length;
    return at < low ? low : at > high ? high : at;
}

int cvy_slice_apply(const covey_value *slice, size_t length, struct cvy_slice *ret)
{
    covey_value *const *parts = cvy_as_seq(slice)->items;
    int64_t size = (int64_t)length, start = 0, stop = 0, step = 0;
    int r;

    if ((r = part_of(parts[2], 1, &step)) < 0)
        return r;
    if (!step)
        return cvy_fail(-EINVAL, "value: slice with a step of 0");
    if (step == INT64_MIN)
        step = -INT64_MAX;
    if ((r = part_of(parts[0], step < 0 ? INT64_MAX : 0, &start)) < 0 ||
        (r = part_of(parts[1], step < 0 ? INT64_MIN : INT64_MAX, &stop)) < 0)
        return r;
    if (step < 0) {
        start = bring_within(start, size, -1, size - 1);
        stop = stop == INT64_MIN ? -1 : bring_within(stop, size, -1, size - 1);
        ret->count = stop < start ? (size_t)((start - stop - 1) / -step + 1) : 0;
    } else {
        start = bring_within(start, size, 0, size);
        stop = bring_within(stop, size, 0, size);
        ret->count = start < stop ? (size_t)((stop - start - 1) / step + 1) : 0;
    }
    ret->start = start;
    ret->step = step;
    return 0;
}

struct cvy_slice cvy_slice_ascending(struct cvy_slice slice)
{
    if (slice.step < 0 && slice.count) {
        slice.start += slice.step * (int64_t)(slice.count - 1);
        slice.step = -slice.step;
    }
    return slice;
}

/* ---- taking parts ------------------------------------------------------------ */

covey_value *cvy_seq_pick(struct cvy_heap *heap, const struct cvy_seq *seq,
                          const struct cvy_slice *slice)
{
    struct cvy_seq *part = cvy_seq_new(heap, COVEY_VALUE_LIST);

    if (!part)
        return NULL;
    if (cvy_seq_reserve(heap, part, slice->count) < 0)
        goto fail;
    for (size_t i = 0; i < slice->count; i++) {
        covey_value *item = seq->items[cvy_slice_at(slice, i)];

        if (cvy_seq_append(heap, part, covey_value_ref(item)) < 0)
            goto fail;
    }
    return &part->base.head;
fail:
    covey_value_free(&part->base.head);
    return NULL;
}

/* ---- changing ---------------------------------------------------------------- */

static void drop(covey_value *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        covey_value_free(items[i]);
}

/* Account for items that come in: all of them or, on failure, none; then they are
 * dropped. */
static int adopt_all(struct cvy_heap *heap, struct cvy_seq *seq,
                     covey_value *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int r = cvy_adopt(heap, &seq->base, items[i]);

        if (r == 0)
            continue;
        while (i-- > 0)
            cvy_disown(&seq->base, items[i]);
        drop(items, count);
        return r;
    }
    return 0;
}

int cvy_seq_splice(struct cvy_heap *heap, struct cvy_seq *seq, size_t at,
                   size_t removed, covey_value *const *items, size_t count)
{
    size_t rest = seq->count - at - removed;
    int r = count > removed ? cvy_seq_reserve(heap, seq, count - removed) : 0;

    if (r < 0) {
        drop(items, count);
        return r;
    }
    if ((r = adopt_all(heap, seq, items, count)) < 0)
        return r;
    for (size_t i = at; i < at + removed; i++) {
        cvy_disown(&seq->base, seq->items[i]);
        covey_value_free(seq->items[i]);
    }
    if (rest && count != removed)
        memmove(seq->items + at + count, seq->items + at + removed,
                rest * sizeof(seq->items[0]));
    if (count)
        memcpy(seq->items + at, items, count * sizeof(seq->items[0]));
    seq->count += count - removed;
    return 0;
}

int cvy_seq_replace(struct cvy_heap *heap, struct cvy_seq *seq,
                    const struct cvy_slice *slice, covey_value *const *items)
{
    int r = adopt_all(heap, seq, items, slice->count);

    if (r < 0)
        return r;
    for (size_t i = 0; i < slice->count; i++) {
        covey_value **place = &seq->items[cvy_slice_at(slice, i)];

        cvy_disown(&seq->base, *place);
        covey_value_free(*place);
        *place = items[i];
    }
    return 0;
}

void cvy_seq_drop(struct cvy_seq *seq, const struct cvy_slice *slice)
{
    struct cvy_slice up = cvy_slice_ascending(*slice);
    size_t to, next = 0;

    if (!up.count)
        return;
    to = (size_t)up.start;
    for (size_t i = to; i < seq->count; i++) {
        if (next < up.count && i == cvy_slice_at(&up, next)) {
            cvy_disown(&seq->base, seq->items[i]);
            covey_value_free(seq->items[i]);
            next++;
        } else {
            seq->items[to++] = seq->items[i];
        }
    }
    seq->count = to;
}

int cvy_seq_repeat(struct cvy_heap *heap, struct cvy_seq *seq, size_t times)
{
    size_t once = seq->count, more;
    int r;

    if (!times) {
        cvy_seq_drop(seq, &(struct cvy_slice){.step = 1, .count = once});
        return 0;
    }
    if (__builtin_mul_overflow(once, times - 1, &more))
        return cvy_fail(-ENOMEM, "value: a list of more items than memory can have");
    if ((r = cvy_heap_spend(heap, more)) < 0 ||
        (r = cvy_seq_reserve(heap, seq, more)) < 0)
        return r;
    for (size_t i = 0; i < more && r == 0; i++)
        r = cvy_seq_append(heap, seq, covey_value_ref(seq->items[i]));
    while (r < 0 && seq->count > once)
        covey_value_free(cvy_seq_take(seq, seq->count - 1));
    return r;
}

void cvy_seq_reverse(struct cvy_seq *seq)
{
    for (size_t i = 0; i < seq->count / 2; i++) {
        covey_value **other = &seq->items[seq->count - 1 - i], *item = *other;

        *other = seq->items[i];
        seq->items[i] = item;
    }
    atomic_store_explicit(&seq->base.hash, 0, memory_order_relaxed);
}
