/* SPDX-License-Identifier: MIT */
/*
 * Sorting: runs that are there already, made longer by insertion where they are short, and
 * merged two by two. It asks for the same comparisons in the same order as CPython 3.13
 * while it looks for the first runs, so that of many items without order the same two are
 * named.
 */
#include "value/sort.h"

#include <string.h>

#include "base/memory.h"

enum { SHORT = 64 };

struct sorter {
    uint64_t *steps;
    struct cvy_pair *pair;
    size_t *ends; /* of the runs */
    size_t runs;
};

/* Whether `a` is before `b`. Returns: 1; 0; a negative code. */
static int less(const struct sorter *s, const covey_value *a, const covey_value *b)
{
    enum covey_order order;
    int r;

    if (cvy_is_small(a) && cvy_is_small(b) && !s->steps)
        return cvy_small(a) < cvy_small(b);
    r = cvy_compare(a, b, s->steps, s->pair, &order);
    return r < 0 ? r : order == COVEY_ORDER_LESS;
}

static void reverse_items(covey_value **items, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        covey_value *item = items[i];

        items[i] = items[count - 1 - i];
        items[count - 1 - i] = item;
    }
}

/* ---- runs -------------------------------------------------------------------- */

/* How many from the first on do not fall, `*n` of which are known. Returns: 0; 1: the next
 * one falls; a negative code. */
static int find_rise(const struct sorter *s, covey_value **items, size_t count,
                     size_t *n)
{
    int r = 0;

    while (*n < count && (r = less(s, items[*n], items[*n - 1])) == 0)
        ++*n;
    return r;
}

/* Turn the last of `n` items round that equal each other: `equal` and the one before. */
static void turn_equal(covey_value **items, size_t n, size_t equal)
{
    if (equal)
        reverse_items(items + n - equal - 1, equal + 1);
}

/* How many from the first on do not rise, `*n` of which are known and fall, and put them in
 * order. Equal ones are turned round before all are, and thus keep theirs. */
static int find_fall(const struct sorter *s, covey_value **items, size_t count,
                     size_t *n)
{
    size_t equal = 0;
    int r;

    for (; *n < count; ++*n) {
        if ((r = less(s, items[*n], items[*n - 1])) < 0)
            return r;
        if (r) {
            turn_equal(items, *n, equal);
            equal = 0;
            continue;
        }
        if ((r = less(s, items[*n - 1], items[*n])) < 0)
            return r;
        if (r)
            break;
        equal++;
    }
    turn_equal(items, *n, equal);
    reverse_items(items, *n);
    return 0;
}

/* How many from the first on are in order already, or are after being turned round. */
static int find_run(const struct sorter *s, covey_value **items, size_t count,
                    size_t *ret)
{
    int r;

    *ret = 1;
    if ((r = find_rise(s, items, count, ret)) <= 0)
        return r;
    if (*ret > 1) { /* a fall may begin with equal ones */
        if ((r = less(s, items[0], items[*ret - 1])) != 0)
            return r < 0 ? r : 0;
        reverse_items(items, *ret);
    }
    ++*ret;
    if ((r = find_fall(s, items, count, ret)) < 0)
        return r;
    r = find_rise(s, items, count, ret);
    return r < 0 ? r : 0;
}

/* Insert those from `sorted` on into those before. */
static int insert_items(const struct sorter *s, covey_value **items, size_t sorted,
                        size_t count)
{
    for (; sorted < count; sorted++) {
        covey_value *item = items[sorted];
        size_t left = 0, right = sorted;

        while (left < right) {
            size_t middle = left + (right - left) / 2;
            int r = less(s, item, items[middle]);

            if (r < 0)
                return r;
            if (r)
                right = middle;
            else
                left = middle + 1;
        }
        memmove(items + left + 1, items + left,
                (sorted - left) * sizeof(covey_value *));
        items[left] = item;
    }
    return 0;
}

/* The least length of a run: 32 to 64, so that it is `count` by nearly a power of two. */
static size_t shortest_run(size_t count)
{
    size_t odd = 0;

    while (count >= SHORT) {
        odd |= count & 1;
        count >>= 1;
    }
    return count + odd;
}

static int find_runs(struct sorter *s, covey_value **items, size_t count)
{
    size_t shortest = shortest_run(count), at = 0;

    while (at < count) {
        size_t length;
        int r = find_run(s, items + at, count - at, &length);

        if (r == 0 && length < shortest) {
            size_t longer = cvy_min_size(shortest, count - at);

            r = insert_items(s, items + at, length, longer);
            length = longer;
        }
        if (r < 0)
            return r;
        at += length;
        s->ends[s->runs++] = at;
    }
    return 0;
}

/* ---- merging ----------------------------------------------------------------- */

/* Merge two runs, of `left` and `right` items, into `to`. */
static int merge(const struct sorter *s, covey_value **to, covey_value *const *from,
                 size_t left, size_t right)
{
    covey_value *const *a = from, *const *b = from + left;
    covey_value *const *a_end = b, *const *b_end = b + right;

    while (a < a_end && b < b_end) {
        /* Take from the right only if it is strictly before, for stability. */
        int r = less(s, *b, *a);

        if (r < 0)
            return r;
        *to++ = r ? *b++ : *a++;
    }
    memcpy(to, a, (size_t)(a_end - a) * sizeof(covey_value *));
    to += a_end - a;
    memcpy(to, b, (size_t)(b_end - b) * sizeof(covey_value *));
    return 0;
}

/* Merge the runs of `*from` two by two until there is one; which is in `*from` then. */
static int merge_runs(struct sorter *s, covey_value ***from, covey_value **to)
{
    while (s->runs > 1) {
        covey_value **other = *from;
        size_t begin = 0, merged = 0;

        for (size_t i = 0; i < s->runs; i += 2) {
            size_t middle = s->ends[i];
            size_t end = i + 1 < s->runs ? s->ends[i + 1] : middle;
            int r = merge(s, to + begin, *from + begin, middle - begin, end - middle);

            if (r < 0)
                return r;
            s->ends[merged++] = begin = end;
        }
        s->runs = merged;
        *from = to;
        to = other;
    }
    return 0;
}

/* ---- all --------------------------------------------------------------------- */

int cvy_seq_sort(struct cvy_heap *heap, struct cvy_seq *seq, bool reverse,
                 struct cvy_pair *ret_pair)
{
    struct sorter s = {.steps = cvy_heap_steps(heap), .pair = ret_pair};
    covey_value **scratch = NULL, **sorted;
    size_t count = seq->count;
    int r;

    if (count < 2)
        return 0;
    if ((r = cvy_heap_spend(heap, count)) < 0 ||
        (r = cvy_heap_grow(heap, &scratch, 0, 2 * count, sizeof(*scratch))) < 0 ||
        (r = cvy_heap_grow(heap, &s.ends, 0, count / (SHORT / 2) + 2,
                           sizeof(*s.ends))) < 0)
        goto out;
    sorted = scratch;
    memcpy(sorted, seq->items, count * sizeof(*sorted));
    if (reverse) /* before and after, which keeps equal ones in order */
        reverse_items(sorted, count);
    if ((r = find_runs(&s, sorted, count)) < 0 ||
        (r = merge_runs(&s, &sorted, scratch + count)) < 0)
        goto out;
    if (reverse)
        reverse_items(sorted, count);
    memcpy(seq->items, sorted, count * sizeof(*sorted));
    atomic_store_explicit(&seq->base.hash, 0, memory_order_relaxed);
out:
    cvy_free(scratch);
    cvy_free(s.ends);
    return r;
}

int covey_value_sort(covey_value *list, int reverse)
{
    int r;

    if (!cvy_is_kind(list, COVEY_VALUE_LIST))
        return cvy_wrong_type(list, "list");
    if ((r = cvy_changeable(list)) < 0)
        return r;
    return cvy_seq_sort(NULL, cvy_as_seq(list), reverse, NULL);
}
