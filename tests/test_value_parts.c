/* SPDX-License-Identifier: MIT */
/* What the value layer does on behalf of others: slices of lists, lists repeated and
 * sorted, iterables walked, and an end to all of it when the budget is used up. */
#include <errno.h>
#include <math.h>

#include "value/compare.h"
#include "value/hash.h"
#include "value/keys.h"
#include "value/list.h"
#include "value/repr.h"
#include "value/slice.h"
#include "value/sort.h"
#include "value/walk.h"
#include "value_help.h"

static struct cvy_heap budget(size_t bytes, uint64_t steps)
{
    return (struct cvy_heap){.limit = bytes,
                             .steps = steps,
                             .max_weight = UINT64_MAX,
                             .max_depth = COVEY_VALUE_DEPTH_MAX};
}

static struct cvy_seq *seq_of(covey_value *list)
{
    CHECK_EQ(covey_value_kind(list), COVEY_VALUE_LIST);
    return cvy_as_seq(list);
}

/* The slice of three numbers, where -100 is None. */
static struct cvy_slice apply(int start, int stop, int step, size_t length)
{
    int parts[3] = {start, stop, step};
    covey_value *values[3], *slice;
    struct cvy_slice ret;

    for (int i = 0; i < 3; i++)
        values[i] = parts[i] == -100 ? covey_value_none() : covey_value_int(parts[i]);
    slice = covey_value_slice(values[0], values[1], values[2]);
    CHECK_OK(cvy_slice_apply(slice, length, &ret));
    covey_value_free(slice);
    return ret;
}

/* An end of a slice by Python's rules. */
static int end_of(int given, int missing, int length, int least, int most)
{
    if (given == -100)
        return missing;
    if (given < 0)
        given += length;
    return given < least ? least : given > most ? most : given;
}

/* Is this index in [start:stop:step]? */
static bool in_slice(int index, int start, int stop, int step, int length)
{
    int least = step < 0 ? -1 : 0, most = step < 0 ? length - 1 : length;
    int at = end_of(start, step < 0 ? most : least, length, least, most);
    int end = end_of(stop, step < 0 ? least : most, length, least, most);

    while (step < 0 ? at > end : at < end) {
        if (at == index)
            return true;
        at += step;
    }
    return false;
}

TEST(slices_name_the_items_that_python_means)
{
    for (int length = 0; length < 6; length++) {
        for (int i = 0; i < 16 * 16 * 8; i++) {
            int start = i % 16 - 8, stop = i / 16 % 16 - 8, step = i / 256 - 4;
            bool member[6] = {false};
            struct cvy_slice slice;

            if (start == -8)
                start = -100;
            if (stop == -8)
                stop = -100;
            if (step == 0)
                step = 4;
            slice = apply(start, stop, step, (size_t)length);
            CHECK_LE(slice.count, (size_t)length);
            for (size_t k = 0; k < slice.count; k++)
                member[cvy_slice_at(&slice, k)] = true;
            for (int k = 0; k < length; k++)
                CHECK_EQ(member[k], in_slice(k, start, stop, step, length));
        }
    }
}

TEST(slices_clip_what_is_too_large_and_refuse_what_is_no_number)
{
    covey_value *big = covey_value_int_text("-0x10000000000000000");
    covey_value *slice = covey_value_slice(covey_value_none(), covey_value_none(), big);
    struct cvy_slice ret;

    CHECK_OK(cvy_slice_apply(slice, 5, &ret));
    CHECK_EQ(ret.count, 1);
    CHECK_EQ(ret.start, 4);
    covey_value_free(slice);
    slice =
        covey_value_slice(covey_value_float(1), covey_value_none(), covey_value_none());
    CHECK_EQ(cvy_slice_apply(slice, 5, &ret), COVEY_ETYPE);
    covey_value_free(slice);
    slice =
        covey_value_slice(covey_value_none(), covey_value_none(), covey_value_int(0));
    CHECK_EQ(cvy_slice_apply(slice, 5, &ret), -EINVAL);
    covey_value_free(slice);
}

TEST(parts_of_lists_are_picked_replaced_and_dropped)
{
    covey_value *list = numbers(8), *three = numbers(3);
    struct cvy_slice odd = apply(1, -100, 2, 8), back = apply(-100, -100, -3, 8);

    is(cvy_seq_pick(NULL, seq_of(list), &odd), "[1, 3, 5, 7]");
    is(cvy_seq_pick(NULL, seq_of(list), &back), "[7, 4, 1]");
    CHECK_OK(cvy_seq_replace(NULL, seq_of(list), &back, seq_of(three)->items));
    is(covey_value_copy(list), "[0, 2, 2, 3, 1, 5, 6, 0]");
    cvy_seq_drop(seq_of(list), &back);
    is(covey_value_copy(list), "[0, 2, 3, 5, 6]");
    CHECK_OK(cvy_seq_splice(NULL, seq_of(list), 1, 3, seq_of(three)->items, 3));
    CHECK_OK(cvy_seq_splice(NULL, seq_of(list), 5, 0, seq_of(three)->items, 2));
    CHECK_OK(cvy_seq_splice(NULL, seq_of(list), 0, 3, NULL, 0));
    cvy_seq_reverse(seq_of(list));
    covey_value_free(three);
    is(list, "[1, 0, 6, 2]");
}

TEST(lists_are_repeated_as_far_as_the_budget_goes)
{
    struct cvy_heap heap = budget(1 << 20, 1000);
    covey_value *list = numbers(3);

    CHECK_OK(cvy_seq_repeat(&heap, seq_of(list), 2));
    is(covey_value_copy(list), "[0, 1, 2, 0, 1, 2]");
    CHECK_EQ(cvy_seq_repeat(&heap, seq_of(list), 1000), -EMSGSIZE); /* steps */
    heap = budget(10000, UINT64_MAX);
    CHECK_EQ(cvy_seq_repeat(&heap, seq_of(list), 1000), -EMSGSIZE); /* bytes */
    CHECK_EQ(cvy_seq_repeat(NULL, seq_of(list), SIZE_MAX / 2), -ENOMEM);
    CHECK_EQ(covey_value_count(list), 6);
    CHECK_OK(covey_value_check(list));
    CHECK_OK(covey_value_append(list, nested(COVEY_VALUE_DEPTH_MAX - 1)));
    CHECK_OK(cvy_seq_repeat(NULL, seq_of(list), 0));
    CHECK_OK(covey_value_pack(&list, "(N)", list));
    is(list, "([],)");
}

TEST(sorting_is_stable_for_all_lengths_and_names_what_has_no_order)
{
    struct cvy_heap heap = budget(1 << 20, 5);
    struct cvy_pair pair = {0};
    uint32_t random = 1;

    for (int count = 0; count < 300; count += 1 + count / 8) {
        covey_value *list = covey_value_list(), *item;
        int reverse = count & 1;

        for (int i = 0; i < count; i++) {
            random = random * 1664525 + 1013904223;
            /* equal numbers of two types, told apart by it */
            item = random >> 16 & 1 ? covey_value_int(random >> 20 & 15)
                                    : covey_value_float(random >> 20 & 15);
            CHECK_OK(covey_value_pack(&item, "(N)", item));
            covey_value_append(list, item);
        }
        covey_value *sorted = covey_value_copy(list), *twice;
        CHECK_OK(covey_value_sort(sorted, reverse));
        twice = covey_value_copy(sorted);
        CHECK_OK(covey_value_sort(twice, reverse));
        for (int i = 0; i < count; i++) /* a second time nothing moves */
            CHECK(covey_value_at(twice, (size_t)i) ==
                  covey_value_at(sorted, (size_t)i));
        covey_value_free(twice);
        covey_value_free(sorted);
        covey_value_free(list);
    }
    covey_value *mixed = numbers(5);
    CHECK_OK(covey_value_insert(mixed, 2, covey_value_str("x")));
    CHECK_EQ(cvy_seq_sort(NULL, seq_of(mixed), false, &pair), COVEY_ETYPE);
    CHECK_STR_EQ(covey_value_type(pair.a), "str");
    CHECK_STR_EQ(covey_value_type(pair.b), "int");
    CHECK_EQ(cvy_seq_sort(&heap, seq_of(mixed), false, NULL), -EMSGSIZE);
    is(mixed, "[0, 1, 'x', 2, 3, 4]");
}

/* All that a walk gives, as list. */
static covey_value *walked(covey_value *value)
{
    covey_value *list = covey_value_list(), *item;
    struct cvy_walk walk;
    int r;

    CHECK_OK(cvy_walk_begin(&walk, value));
    while ((r = cvy_walk_next(&walk, NULL, &item)) > 0)
        CHECK_OK(covey_value_append(list, item));
    CHECK_EQ(r, 0);
    covey_value_free(value);
    return list;
}

TEST(whatever_python_iterates_over_is_walked)
{
    struct cvy_heap heap = budget(100, 2);
    covey_value *dict = covey_value_dict(), *item, *three = numbers(3);
    struct cvy_walk walk;

    covey_value_put_str(dict, "a", covey_value_int(1));
    covey_value_put_str(dict, "b", covey_value_int(2));
    is(walked(dict), "['a', 'b']");
    is(walked(covey_value_str("aé😀")), "['a', 'é', '😀']");
    is(walked(covey_value_bytes("a\xff", 2)), "[97, 255]");
    is(walked(covey_value_range(INT64_MAX - 3, INT64_MAX, 2)),
       "[9223372036854775804, 9223372036854775806]");
    is(walked(covey_value_range(3, 0, -1)), "[3, 2, 1]");
    CHECK_EQ(cvy_walk_begin(&walk, covey_value_none()), COVEY_ETYPE);
    CHECK_OK(cvy_walk_begin(&walk, three));
    CHECK_EQ(cvy_walk_next(&walk, &heap, &item), 1);
    CHECK_EQ(cvy_walk_next(&walk, &heap, &item), 1);
    CHECK_EQ(cvy_walk_next(&walk, &heap, &item), -EMSGSIZE);
    covey_value_free(three);
}

/* [[[...]*2]*2]*2: a value of 2^depth items in `depth` lists. */
static covey_value *bomb(int depth)
{
    covey_value *value = covey_value_list(), *pair;

    for (int i = 0; i < depth; i++) {
        CHECK_OK(covey_value_pack(&pair, "[O, N]", value, value));
        value = pair;
    }
    return value;
}

TEST(what_a_few_bytes_stand_for_is_not_gone_through)
{
    struct cvy_heap heap = budget(1 << 20, 1 << 20);
    covey_value *a = bomb(60), *b = bomb(60);
    struct covey_bytes text = {0};
    enum covey_order order;

    CHECK_EQ(cvy_repr(&heap, a, NULL, &text), -EMSGSIZE);
    CHECK_LE(text.size, (size_t)1 << 20);
    CHECK_EQ(cvy_same(a, b, &heap.steps), -EMSGSIZE);
    heap = budget(1 << 20, 1 << 20);
    CHECK_EQ(cvy_compare(a, b, &heap.steps, NULL, &order), -EMSGSIZE);
    covey_bytes_free(&text);
    covey_value_free(a);
    covey_value_free(b);
}

TEST(long_numbers_cost_what_they_take)
{
    unsigned char bytes[8000];
    struct covey_bytes text = {0};
    struct cvy_heap heap = budget(1 << 20, 100);
    covey_value *set = covey_value_set(), *a, *b;
    const struct cvy_entry *entry;

    memset(bytes, 0x55, sizeof(bytes));
    a = covey_value_int_bytes(bytes, sizeof(bytes));
    b = covey_value_int_bytes(bytes, sizeof(bytes));
    CHECK_EQ(cvy_same(a, b, &heap.steps), -EMSGSIZE);
    CHECK_EQ(cvy_repr(&heap, a, NULL, &text), -EMSGSIZE);
    CHECK_OK(covey_value_add(set, covey_value_int(1)));
    CHECK_EQ(cvy_keys_get(&heap, cvy_as_keys(set), a, &entry), -EMSGSIZE);
    CHECK_EQ(cvy_keys_put(&heap, cvy_as_keys(set), a, NULL), -EMSGSIZE);
    covey_bytes_free(&text);
    covey_value_free(b);
    covey_value_free(set);
}

TEST(what_cannot_be_hashed_is_found_inside)
{
    covey_value *tuple;

    CHECK_OK(covey_value_pack(&tuple, "(i, (i, [i]), {})", 1, 2, 3));
    CHECK_STR_EQ(covey_value_type(cvy_unhashable(tuple)), "list");
    covey_value_free(tuple);
    CHECK_OK(covey_value_pack(&tuple, "(i, (i, i))", 1, 2, 3));
    CHECK(!cvy_unhashable(tuple));
    covey_value_free(tuple);
}

CHECK_MAIN()
