/* SPDX-License-Identifier: MIT */
/* Values compared: equality, order, hashes, sorting. More pairs come from Python, see
 * value/differential. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "value_help.h"

enum { LESS = -1, SAME = 0, GREATER = 1, NEITHER = 2, REFUSED = 9 };

/* Use up two values, which are equal or not, and in this order. */
static void compare(covey_value *a, covey_value *b, int equal, int expected)
{
    enum covey_order order = COVEY_ORDER_NONE;
    int back = expected == LESS || expected == GREATER ? -expected : expected;

    CHECK(a && b);
    CHECK_EQ(covey_value_equal(a, b), equal);
    CHECK_EQ(covey_value_equal(b, a), equal);
    CHECK_EQ(covey_value_compare(a, b, &order) < 0 ? REFUSED : (int)order, expected);
    CHECK_EQ(covey_value_compare(b, a, &order) < 0 ? REFUSED : (int)order, back);
    covey_value_free(a);
    covey_value_free(b);
}

static covey_value *of(const char *text)
{
    return covey_value_int_text(text);
}

static covey_value *set(int frozen, int first, int last)
{
    covey_value *value = frozen ? covey_value_frozenset() : covey_value_set();

    for (int i = first; i <= last; i++)
        CHECK_OK(covey_value_add(value, covey_value_int(i)));
    return value;
}

TEST(numbers_compare_by_value_whatever_their_type)
{
    compare(covey_value_int(1), covey_value_bool(1), 1, SAME);
    compare(covey_value_int(1), covey_value_float(1), 1, SAME);
    compare(covey_value_float(-0.0), covey_value_int(0), 1, SAME);
    compare(covey_value_int(-1), covey_value_float(-0.5), 0, LESS);
    compare(covey_value_int(0), covey_value_float(0.5), 0, LESS);
    compare(covey_value_int(0), covey_value_float(-0.5), 0, GREATER);
    compare(of("9007199254740993"), covey_value_float(9007199254740992.0), 0, GREATER);
    compare(of("100000000000000000000000"), covey_value_float(1e23), 0, GREATER);
    compare(of("99999999999999991611392"), covey_value_float(1e23), 1, SAME);
    compare(of("-0x10000000000000000"), covey_value_int(-1), 0, LESS);
    compare(of("0x10000000000000001"), of("0x10000000000000002"), 0, LESS);
    compare(covey_value_int(5), covey_value_float(HUGE_VAL), 0, LESS);
    compare(of("0x123456789012345678901234567890"), covey_value_float(-HUGE_VAL), 0,
            GREATER);
    compare(covey_value_float(NAN), covey_value_int(1), 0, NEITHER);
    compare(covey_value_float(1), covey_value_float(2), 0, LESS);
    compare(covey_value_complex(2, 0), covey_value_int(2), 1, REFUSED);
    compare(covey_value_complex(2, 1), covey_value_complex(2, 1), 1, REFUSED);
    compare(covey_value_complex(2, 1), covey_value_float(2), 0, REFUSED);
    compare(covey_value_int(1), covey_value_str("1"), 0, REFUSED);
}

TEST(nan_equals_itself_inside_containers_only)
{
    covey_value *nan_value = covey_value_float(NAN), *a, *b;

    CHECK_EQ(covey_value_equal(nan_value, nan_value), 0);
    CHECK_OK(covey_value_pack(&a, "[O]", nan_value));
    CHECK_OK(covey_value_pack(&b, "[O]", nan_value));
    CHECK_EQ(covey_value_has(a, nan_value), 1);
    compare(a, b, 1, SAME);
    CHECK_OK(covey_value_pack(&a, "[d]", NAN));
    CHECK_OK(covey_value_pack(&b, "[d]", NAN));
    CHECK_EQ(covey_value_has(a, nan_value), 0);
    compare(a, b, 0, NEITHER);
    covey_value_free(nan_value);
}

TEST(text_compares_by_code_points)
{
    compare(covey_value_str("abc"), covey_value_str("abc"), 1, SAME);
    compare(covey_value_str("ab"), covey_value_str("abc"), 0, LESS);
    compare(covey_value_str("\xef\xbf\xbd"), covey_value_str("\xf0\x90\x80\x80"), 0,
            LESS);
    compare(covey_value_str("\xed\xa0\x80"), covey_value_str("\xee\x80\x80"), 0, LESS);
    compare(covey_value_bytes("a\xff", 2), covey_value_bytearray("a\xff", 2), 1, SAME);
    compare(covey_value_bytes("a\0", 2), covey_value_bytes("a", 1), 0, GREATER);
    compare(covey_value_bytes("a", 1), covey_value_str("a"), 0, REFUSED);
}

TEST(sequences_compare_item_by_item)
{
    covey_value *a, *b;

    CHECK_OK(covey_value_pack(&a, "[i, (s)]", 1, "a"));
    CHECK_OK(covey_value_pack(&b, "[d, (s)]", 1.0, "b"));
    compare(a, b, 0, LESS);
    CHECK_OK(covey_value_pack(&a, "(i, i)", 1, 2));
    CHECK_OK(covey_value_pack(&b, "(i)", 1));
    compare(a, b, 0, GREATER);
    CHECK_OK(covey_value_pack(&a, "(i, z)", 1, NULL));
    CHECK_OK(covey_value_pack(&b, "(i, i)", 1, 1));
    compare(a, b, 0, REFUSED);
    CHECK_OK(covey_value_pack(&a, "(z, i)", NULL, 1));
    CHECK_OK(covey_value_pack(&b, "(z, i)", NULL, 2));
    compare(a, b, 0, LESS);
    compare(covey_value_list(), covey_value_tuple(), 0, REFUSED);
    compare(
        covey_value_slice(covey_value_int(1), covey_value_int(2), covey_value_int(3)),
        covey_value_slice(covey_value_int(1), covey_value_int(2), covey_value_int(4)),
        0, LESS);
}

TEST(sets_are_ordered_by_inclusion)
{
    compare(set(0, 1, 3), set(1, 1, 3), 1, SAME);
    compare(set(0, 1, 3), set(0, 1, 4), 0, LESS);
    compare(set(0, 1, 3), set(0, 2, 4), 0, NEITHER);
    compare(set(0, 1, 3), set(0, 5, 9), 0, NEITHER);
    compare(set(0, 1, 0), covey_value_dict(), 0, REFUSED);
}

TEST(dicts_are_equal_in_any_order_and_have_none)
{
    covey_value *a, *b;

    CHECK_OK(covey_value_pack(&a, "{s:i, s:i}", "x", 1, "y", 2));
    CHECK_OK(covey_value_pack(&b, "{s:i, s:d}", "y", 2, "x", 1.0));
    compare(a, b, 1, REFUSED);
    CHECK_OK(covey_value_pack(&a, "{s:i}", "x", 1));
    CHECK_OK(covey_value_pack(&b, "{s:i}", "x", 2));
    compare(a, b, 0, REFUSED);
    CHECK_OK(covey_value_pack(&a, "{s:i}", "x", 1));
    CHECK_OK(covey_value_pack(&b, "{s:i}", "y", 1));
    compare(a, b, 0, REFUSED);
}

TEST(ranges_are_equal_as_sequences)
{
    compare(covey_value_range(0, 3, 2), covey_value_range(0, 4, 2), 1, REFUSED);
    compare(covey_value_range(5, 1, 1), covey_value_range(0, 0, 9), 1, REFUSED);
    compare(covey_value_range(1, 2, 1), covey_value_range(1, 9, 50), 1, REFUSED);
    compare(covey_value_range(0, 3, 2), covey_value_range(0, 5, 2), 0, REFUSED);
    compare(covey_value_range(INT64_MIN, INT64_MAX, INT64_MAX),
            covey_value_range(INT64_MIN, INT64_MAX - 1, INT64_MAX), 0, REFUSED);
}

TEST(objects_are_equal_by_their_parts)
{
    covey_value *(*const make[])(covey_value *, covey_value *) = {covey_value_call,
                                                                  covey_value_instance};
    covey_value *a, *b;

    for (int i = 0; i < 4; i++) {
        a = make[i & 1](covey_value_global("m", "C"), covey_value_tuple());
        b = make[i >> 1](covey_value_global("m", "C"), covey_value_tuple());
        compare(a, b, (i & 1) == i >> 1, REFUSED);
    }
    a = covey_value_call(covey_value_global("m", "C"), covey_value_tuple());
    b = covey_value_call(covey_value_global("m", "D"), covey_value_tuple());
    compare(covey_value_ref(a), b, 0, REFUSED);
    b = covey_value_copy(a);
    CHECK_OK(covey_value_put_state(b, covey_value_none()));
    compare(a, b, 0, REFUSED);
    compare(covey_value_global("m", "C"), covey_value_global("m", "C"), 1, REFUSED);
    compare(covey_value_global("m", "C"), covey_value_global("n", "C"), 0, REFUSED);
}

TEST(nothing_compares_with_null)
{
    enum covey_order order;
    uint64_t hash;

    CHECK_EQ(covey_value_equal(NULL, NULL), 1);
    CHECK_EQ(covey_value_equal(covey_value_none(), NULL), 0);
    CHECK_ERR(covey_value_compare(covey_value_none(), NULL, &order), -EINVAL);
    CHECK_ERR(covey_value_compare(NULL, covey_value_none(), &order), -EINVAL);
    CHECK_ERR(covey_value_hash(NULL, &hash), -EINVAL);
}

/* ---- hashes ------------------------------------------------------------------ */

/* Use up two values; whether their hashes are the same. */
static int hash_alike(covey_value *a, covey_value *b)
{
    uint64_t x, y;

    CHECK_OK(covey_value_hash(a, &x));
    CHECK_OK(covey_value_hash(b, &y));
    covey_value_free(a);
    covey_value_free(b);
    return x == y;
}

TEST(equal_values_hash_alike)
{
    covey_value *a, *b;

    CHECK(hash_alike(covey_value_int(1), covey_value_float(1)));
    CHECK(hash_alike(covey_value_int(0), covey_value_float(-0.0)));
    CHECK(hash_alike(covey_value_bool(1), covey_value_complex(1, 0)));
    CHECK(hash_alike(covey_value_float(0.5), covey_value_complex(0.5, -0.0)));
    CHECK(hash_alike(of("99999999999999991611392"), covey_value_float(1e23)));
    CHECK(hash_alike(of("-0x10000000000000000"),
                     covey_value_float(-18446744073709551616.0)));
    CHECK(hash_alike(covey_value_range(0, 3, 2), covey_value_range(0, 4, 2)));
    CHECK(hash_alike(covey_value_range(3, 3, 2), covey_value_range(9, 3, 1)));
    CHECK(!hash_alike(covey_value_int(1), covey_value_int(2)));
    CHECK(!hash_alike(covey_value_str("1"), covey_value_bytes("1", 1)));
    CHECK(!hash_alike(covey_value_float(NAN), covey_value_float(NAN)));
    a = set(1, 1, 9);
    b = covey_value_frozenset();
    for (int i = 9; i > 0; i--)
        CHECK_OK(covey_value_add(b, covey_value_int(i)));
    CHECK(hash_alike(a, b));
}

TEST(hashes_follow_changes)
{
    covey_value *tuple = covey_value_tuple();
    uint64_t before, after;

    CHECK_OK(covey_value_hash(tuple, &before));
    CHECK_OK(covey_value_append(tuple, covey_value_int(1)));
    CHECK_OK(covey_value_hash(tuple, &after));
    CHECK(before != after);
    CHECK_OK(covey_value_clear(tuple));
    CHECK_OK(covey_value_hash(tuple, &after));
    CHECK(before == after);
    CHECK_OK(covey_value_append(tuple, covey_value_list()));
    CHECK_ERR(covey_value_hash(tuple, &after), COVEY_ETYPE);
    CHECK_OK(covey_value_clear(tuple));
    CHECK_OK(covey_value_hash(tuple, &after));
    covey_value_free(tuple);
}

TEST(shared_parts_are_hashed_once)
{
    covey_value *value = covey_value_tuple();
    uint64_t hash;

    for (int i = 0; i < 900; i++) /* 2^900 parts */
        CHECK_OK(covey_value_pack(&value, "(O, N)", value, value));
    CHECK_OK(covey_value_hash(value, &hash));
    covey_value_free(value);
}

TEST(a_long_int_is_hashed_once_wherever_it_is)
{
    enum { SIZE = 1 << 20, TIMES = 1 << 20 };
    covey_value *tuple = covey_value_tuple(), *number;
    unsigned char *bytes = calloc(1, SIZE);
    uint64_t hash;

    CHECK(bytes);
    bytes[SIZE - 1] = 1;
    number = covey_value_int_bytes(bytes, SIZE);
    for (int i = 0; i < TIMES; i++) /* 2^37 limbs */
        CHECK_OK(covey_value_append(tuple, covey_value_ref(number)));
    CHECK_OK(covey_value_hash(tuple, &hash));
    covey_value_free(number);
    covey_value_free(tuple);
    free(bytes);
}

/* ---- sorting ----------------------------------------------------------------- */

TEST(sorting_is_stable_both_ways)
{
    covey_value *list = covey_value_list(), *item;

    for (int i = 0; i < 10; i++) {
        CHECK_OK(covey_value_pack(&item, "(i)", i * 7 % 3));
        CHECK_OK(covey_value_append(item, covey_value_int(0)));
        CHECK_OK(covey_value_append(list, item));
    }
    CHECK_OK(covey_value_sort(list, 0));
    covey_value_free(list);
    CHECK_OK(covey_value_pack(&list, "[i, d, p, i, d, d]", 3, 1.0, 1, 1, -5.5, 3.0));
    CHECK_OK(covey_value_sort(list, 0));
    is(covey_value_copy(list), "[-5.5, 1.0, True, 1, 3, 3.0]");
    CHECK_OK(covey_value_sort(list, 1));
    is(list, "[3, 3.0, 1.0, True, 1, -5.5]");
}

TEST(sorting_what_has_no_order_changes_nothing)
{
    covey_value *list;

    CHECK_OK(covey_value_pack(&list, "[i, i, i, s]", 3, 2, 1, "x"));
    CHECK_ERR(covey_value_sort(list, 0), COVEY_ETYPE);
    is(list, "[3, 2, 1, 'x']");
    CHECK_OK(covey_value_pack(&list, "[z]", NULL));
    CHECK_OK(covey_value_sort(list, 0));
    covey_value_free(list);
}

TEST(many_are_sorted)
{
    covey_value *list = covey_value_list();
    int64_t number;

    for (int i = 0; i < 1000; i++)
        CHECK_OK(covey_value_append(list, covey_value_int(i * 379 % 1000)));
    CHECK_OK(covey_value_sort(list, 0));
    for (int i = 0; i < 1000; i++) {
        CHECK_OK(covey_value_get_int(covey_value_at(list, (size_t)i), &number));
        CHECK_EQ(number, i);
    }
    covey_value_free(list);
}

CHECK_MAIN()
