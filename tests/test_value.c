/* SPDX-License-Identifier: MIT */
/* Values: making, reading, looking into, and changing them. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "value_help.h"

/* ---- plain values -------------------------------------------------------------- */

TEST(plain_values_have_kind_type_and_truth)
{
    const struct {
        covey_value *value;
        const char *type;
        enum covey_kind kind;
        int truth;
    } rows[] = {
        {covey_value_none(), "NoneType", COVEY_VALUE_NONE, 0},
        {covey_value_bool(7), "bool", COVEY_VALUE_BOOL, 1},
        {covey_value_bool(0), "bool", COVEY_VALUE_BOOL, 0},
        {covey_value_int(0), "int", COVEY_VALUE_INT, 0},
        {covey_value_uint(UINT64_MAX), "int", COVEY_VALUE_INT, 1},
        {covey_value_float(-0.0), "float", COVEY_VALUE_FLOAT, 0},
        {covey_value_float(NAN), "float", COVEY_VALUE_FLOAT, 1},
        {covey_value_complex(0, 0), "complex", COVEY_VALUE_COMPLEX, 0},
        {covey_value_complex(0, 2), "complex", COVEY_VALUE_COMPLEX, 1},
        {covey_value_str(""), "str", COVEY_VALUE_STR, 0},
        {covey_value_str("x"), "str", COVEY_VALUE_STR, 1},
        {covey_value_bytes(NULL, 0), "bytes", COVEY_VALUE_BYTES, 0},
        {covey_value_bytearray("ab", 2), "bytearray", COVEY_VALUE_BYTEARRAY, 1},
        {covey_value_list(), "list", COVEY_VALUE_LIST, 0},
        {covey_value_tuple(), "tuple", COVEY_VALUE_TUPLE, 0},
        {covey_value_dict(), "dict", COVEY_VALUE_DICT, 0},
        {covey_value_set(), "set", COVEY_VALUE_SET, 0},
        {covey_value_frozenset(), "frozenset", COVEY_VALUE_FROZENSET, 0},
        {covey_value_slice(covey_value_none(), covey_value_none(), covey_value_none()),
         "slice", COVEY_VALUE_SLICE, 1},
        {covey_value_range(3, 3, 1), "range", COVEY_VALUE_RANGE, 0},
        {covey_value_range(3, 0, -1), "range", COVEY_VALUE_RANGE, 1},
        {covey_value_global("a.b", "C.d"), "type", COVEY_VALUE_GLOBAL, 1},
        {covey_value_call(covey_value_global("builtins", "KeyError"),
                          covey_value_tuple()),
         "KeyError", COVEY_VALUE_OBJECT, 1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK_EQ(covey_value_kind(rows[i].value), rows[i].kind);
        CHECK_STR_EQ(covey_value_type(rows[i].value), rows[i].type);
        CHECK_EQ(covey_value_truth(rows[i].value), rows[i].truth);
        CHECK_EQ(covey_value_is_none(rows[i].value), i == 0);
        CHECK_OK(covey_value_check(rows[i].value));
        covey_value_free(rows[i].value);
    }
    CHECK_EQ(covey_value_kind(NULL), COVEY_VALUE_NULL);
    CHECK_STR_EQ(covey_value_type(NULL), "NULL");
    CHECK_EQ(covey_value_truth(NULL), 0);
    CHECK_EQ(covey_value_is_none(NULL), 0);
    covey_value_free(NULL);
    CHECK(!covey_value_ref(NULL));
}

static void keeps(int64_t number)
{
    covey_value *value = covey_value_int(number);
    int64_t kept = 0;

    CHECK_OK(covey_value_get_int(value, &kept));
    CHECK_EQ(kept, number);
    covey_value_free(value);
}

TEST(ints_keep_their_value_around_every_limit)
{
    const int64_t edges[] = {0, 1, 255, INT32_MAX, INT64_MAX / 2, INT64_MAX - 3};

    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        for (int64_t near = edges[i] - 2; near <= edges[i] + 2; near++) {
            keeps(near);
            keeps(-near);
        }
    }
    is(covey_value_int(INT64_MIN), "-9223372036854775808");
    is(covey_value_uint(UINT64_MAX), "18446744073709551615");
}

TEST(ints_out_of_range_are_overflow)
{
    covey_value *large = covey_value_uint((uint64_t)INT64_MAX + 1);
    covey_value *low = covey_value_int_text("-9223372036854775808");
    covey_value *lower = covey_value_int_text("-9223372036854775809");
    covey_value *huge = covey_value_int_text("0x10000000000000000");
    int64_t number = 5;
    uint64_t natural = 5;

    CHECK_ERR(covey_value_get_int(large, &number), -EOVERFLOW);
    CHECK_ERR(covey_value_get_int(lower, &number), -EOVERFLOW);
    CHECK_ERR(covey_value_get_int(huge, &number), -EOVERFLOW);
    CHECK_ERR(covey_value_get_uint(huge, &natural), -EOVERFLOW);
    CHECK_ERR(covey_value_get_uint(low, &natural), -EOVERFLOW);
    CHECK_ERR(covey_value_get_int_in(low, -128, 127, &number), -EOVERFLOW);
    CHECK_STR_HAS(covey_error_detail(), "-9223372036854775808");
    CHECK_EQ(number, 5);
    CHECK_EQ(natural, 5);
    CHECK_OK(covey_value_get_uint(large, &natural));
    CHECK(natural == (uint64_t)INT64_MAX + 1);
    CHECK_OK(covey_value_get_int(low, &number));
    CHECK_EQ(number, INT64_MIN);
    CHECK_OK(covey_value_get_int_in(covey_value_bool(1), 0, 1, &number));
    CHECK_EQ(number, 1);
    covey_value_free(large);
    covey_value_free(low);
    covey_value_free(lower);
    covey_value_free(huge);
}

TEST(ints_are_twos_complement_of_any_size)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *text;
        size_t shortest;
    } rows[] = {
        {"", 0, "0", 1},
        {"\x7f", 1, "127", 1},
        {"\x80", 1, "-128", 1},
        {"\x80\xff\xff", 3, "-128", 1},
        {"\x80\0", 2, "128", 2},
        {"\xff\xff\xff\xff\xff\xff\xff\x7f", 8, "9223372036854775807", 8},
        {"\0\0\0\0\0\0\0\x80", 8, "-9223372036854775808", 8},
        {"\0\0\0\0\0\0\0\x80\0", 9, "9223372036854775808", 9},
        {"\xff\xff\xff\xff\xff\xff\xff\x7f\xff", 9, "-9223372036854775809", 9},
        {"\0\0\0\0\0\0\0\0\x80", 9, "-2361183241434822606848", 9},
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff", 17,
         "-340282366920938463463374607431768211456", 17},
    };
    struct covey_bytes bytes = {0};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        covey_value *value = covey_value_int_bytes(rows[i].bytes, rows[i].size);

        CHECK_OK(covey_value_get_int_bytes(value, &bytes));
        CHECK_EQ(bytes.size, rows[i].shortest);
        if (rows[i].size)
            CHECK_MEM_EQ(bytes.data, rows[i].bytes, bytes.size);
        is(value, rows[i].text);
    }
    covey_bytes_free(&bytes);
    failed(covey_value_int_bytes(NULL, 1), -EINVAL);
}

TEST(ints_are_read_from_text)
{
    static char digits[4302];

    is(covey_value_int_text("-0"), "0");
    is(covey_value_int_text("+12"), "12");
    is(covey_value_int_text("-123456789012345678901234567890"),
       "-123456789012345678901234567890");
    is(covey_value_int_text("0xfF"), "255");
    is(covey_value_int_text("-0x80"), "-128");
    is(covey_value_int_text("-0x123456789abcdef0123"), "-5373003642731685151011");
    memset(digits, '9', 4300);
    is(covey_value_int_text(digits), digits);
    digits[4300] = '9';
    failed(covey_value_int_text(digits), -EINVAL);
    failed(covey_value_int_text(""), -EINVAL);
    failed(covey_value_int_text("-"), -EINVAL);
    failed(covey_value_int_text("0x"), -EINVAL);
    failed(covey_value_int_text("0xg"), -EINVAL);
    failed(covey_value_int_text("1 "), -EINVAL);
    failed(covey_value_int_text("1_0"), -EINVAL);
    failed(covey_value_int_text(NULL), -EINVAL);
}

TEST(an_int_of_too_many_digits_prints_as_hexadecimal)
{
    static char text[5000] = "-0x1";

    for (size_t i = 4; i < sizeof(text) - 1; i++)
        text[i] = "0123456789abcdef"[i * i % 16];
    is(covey_value_int_text(text), text);
}

TEST(partsbecome_floats)
{
    /* 2^1024 - 2^970 is as far from the largest double as from 2^1024 */
    char digits[2 + 256 + 1] = "0xfffffffffffffc";
    covey_value *most = covey_value_int_text((memset(digits + 16, '0', 242), digits));
    covey_value *half =
        covey_value_int_text("9007199254740993"); /* 2^53 + 1: to even */
    covey_value *text = covey_value_str("1");
    covey_value *complex = covey_value_complex(1, -2), *number = covey_value_float(0.5);
    double real = 9, imag = 9;

    CHECK_ERR(covey_value_get_float(most, &real), -EOVERFLOW);
    CHECK_ERR(covey_value_get_float(text, &real), COVEY_ETYPE);
    CHECK_ERR(covey_value_get_float(complex, &real), COVEY_ETYPE);
    CHECK_ERR(covey_value_get_float(NULL, &real), -EINVAL);
    CHECK(real == 9);
    CHECK_OK(covey_value_get_float(half, &real));
    CHECK(real == 9007199254740992.0);
    CHECK_OK(covey_value_get_complex(complex, &real, &imag));
    CHECK(real == 1 && imag == -2);
    CHECK_OK(covey_value_get_complex(number, &real, &imag));
    CHECK(real == 0.5 && imag == 0);
    CHECK_ERR(covey_value_get_complex(text, &real, &imag), COVEY_ETYPE);
    CHECK_STR_HAS(covey_error_detail(), "str instead of complex");
    CHECK_ERR(covey_value_get_complex(most, &real, &imag), -EOVERFLOW);
    CHECK_OK(covey_value_get_float(covey_value_bool(1), &real));
    CHECK(real == 1);
    covey_value_free(most);
    covey_value_free(half);
    covey_value_free(text);
    covey_value_free(complex);
    covey_value_free(number);
}

TEST(getters_refuse_other_types)
{
    covey_value *list = covey_value_list(), *text = covey_value_str("x");
    const covey_value *part;
    struct covey_object object;
    struct covey_view view;
    struct covey_bytes bytes = {0};
    const char *a, *b;
    int64_t parts[3];
    uint64_t natural;
    int truth;

    CHECK_ERR(covey_value_get_bool(list, &truth), COVEY_ETYPE);
    CHECK_ERR(covey_value_get_bool(NULL, &truth), -EINVAL);
    CHECK_ERR(covey_value_get_int(list, &parts[0]), COVEY_ETYPE);
    CHECK_ERR(covey_value_get_uint(list, &natural), COVEY_ETYPE);
    CHECK_ERR(covey_value_get_int_bytes(list, &bytes), COVEY_ETYPE);
    CHECK_ERR(covey_value_get_str(list, &a, NULL), COVEY_ETYPE);
    CHECK_ERR(covey_value_get_bytes(text, &view), COVEY_ETYPE);
    CHECK_ERR(covey_value_get_slice(list, &part, &part, &part), COVEY_ETYPE);
    CHECK_ERR(covey_value_get_range(list, &parts[0], &parts[1], &parts[2]),
              COVEY_ETYPE);
    CHECK_ERR(covey_value_get_global(list, &a, &b), COVEY_ETYPE);
    CHECK_ERR(covey_value_get_object(list, &object), COVEY_ETYPE);
    CHECK_STR_HAS(covey_error_detail(), "list instead of object");
    CHECK_OK(covey_value_get_bool(covey_value_bool(1), &truth));
    CHECK_EQ(truth, 1);
    covey_value_free(list);
    covey_value_free(text);
}

TEST(text_is_utf8_with_surrogates)
{
    static const char *const bad[] = {"\x80",         "\xc3",
                                      "\xc0\x80",     "\xe0\x80\x80",
                                      "\xf0\x80\x80", "\xf4\x90\x80\x80",
                                      "\xff",         "12345678\xe2\x82"};
    covey_value *value = covey_value_str("h\xc3\xa9\xed\xa0\x80\xf0\x9f\x98\x80");
    const char *text;
    size_t size;

    CHECK_EQ(covey_value_count(value), 4);
    CHECK_OK(covey_value_get_str(value, &text, &size));
    CHECK_EQ(size, 10);
    CHECK_EQ(text[10], 0);
    is(value, "'h\xc3\xa9\\ud800\xf0\x9f\x98\x80'");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        failed(covey_value_str(bad[i]), -EILSEQ);
    CHECK_STR_HAS(covey_error_detail(), "byte 8");
    failed(covey_value_str(NULL), -EINVAL);
    failed(covey_value_bytes(NULL, 1), -EINVAL);
}

TEST(text_may_contain_nuls)
{
    covey_value *value = covey_value_str_size("a\0b", 3),
                *plain = covey_value_str("ab");
    const char *text = NULL;
    size_t size;

    CHECK_ERR(covey_value_get_str(value, &text, NULL), -EINVAL);
    CHECK(!text);
    CHECK_OK(covey_value_get_str(value, &text, &size));
    CHECK_MEM_EQ(text, "a\0b", 4);
    CHECK_EQ(size, 3);
    CHECK_OK(covey_value_get_str(plain, &text, NULL));
    CHECK_STR_EQ(text, "ab");
    covey_value_free(value);
    is(plain, "'ab'");
    is(covey_value_str_format("%s-%03d", "x", 7), "'x-007'");
    failed(covey_value_str_format("%s", "\xff"), -EILSEQ);
}

TEST(ranges_and_slices_have_parts)
{
    covey_value *range = covey_value_range(INT64_MIN, INT64_MAX, 1);
    covey_value *slice =
        covey_value_slice(covey_value_str("a"), covey_value_none(), covey_value_int(2));
    const covey_value *start, *stop, *step;
    int64_t a, b, c;

    CHECK(covey_value_count(range) == SIZE_MAX);
    CHECK_OK(covey_value_get_range(range, &a, &b, &c));
    CHECK(a == INT64_MIN && b == INT64_MAX && c == 1);
    covey_value_free(range);
    CHECK_OK(covey_value_get_slice(slice, &start, &stop, &step));
    CHECK(covey_value_is_none(stop));
    is(slice, "slice('a', None, 2)");
    is(covey_value_range(1, 2, 1), "range(1, 2)");
    is(covey_value_range(5, 0, -2), "range(5, 0, -2)");
    failed(covey_value_range(0, 1, 0), -EINVAL);
    failed(covey_value_slice(covey_value_int(1), NULL, covey_value_int(1)), -EINVAL);
}

/* ---- lists and tuples ---------------------------------------------------------- */

TEST(lists_change_as_in_python)
{
    covey_value *list = numbers(5), *item = NULL;

    CHECK_OK(covey_value_insert(list, 1, covey_value_str("b")));
    CHECK_OK(covey_value_insert(list, 99, covey_value_str("end")));
    CHECK_OK(covey_value_put_at(list, 0, covey_value_none()));
    CHECK_OK(covey_value_take_at(list, 2, &item));
    is(item, "1");
    CHECK_OK(covey_value_take_at(list, 3, NULL));
    CHECK_ERR(covey_value_take_at(list, 5, &item), -ENOENT);
    CHECK_EQ(covey_value_count(list), 5);
    CHECK(!covey_value_at(list, 5));
    CHECK(covey_value_at(list, 0) == covey_value_none());
    CHECK_OK(covey_value_extend(list, list));
    CHECK_OK(covey_value_check(list));
    is(list, "[None, 'b', 2, 4, 'end', None, 'b', 2, 4, 'end']");
}

TEST(all_that_has_items_extends_a_list)
{
    covey_value *list = covey_value_list(), *other;

    CHECK_OK(covey_value_pack(&other, "{s:i,s:i}", "a", 1, "b", 2));
    CHECK_OK(covey_value_extend(list, other));
    covey_value_free(other);
    other = covey_value_frozenset();
    CHECK_OK(covey_value_add(other, covey_value_int(9)));
    CHECK_OK(covey_value_extend(list, other));
    covey_value_free(other);
    CHECK_ERR(covey_value_extend(list, covey_value_none()), COVEY_ETYPE);
    is(list, "['a', 'b', 9]");
}

TEST(what_is_not_whole_extends_nothing)
{
    covey_value *lacking = numbers(1), *list = covey_value_list();
    covey_value *object =
        covey_value_call(covey_value_global("m", "f"), covey_value_tuple());

    CHECK_ERR(covey_value_append(lacking, covey_value_str("\xff")), -EILSEQ);
    CHECK_OK(covey_value_put_str(object, "x", covey_value_none()));
    CHECK_ERR(covey_value_extend(list, lacking), -EILSEQ);
    CHECK_ERR(covey_value_check(list), -EILSEQ);
    CHECK_EQ(covey_value_count(list), 0);
    CHECK_ERR(covey_value_extend(object, lacking), -EILSEQ);
    CHECK_ERR(covey_value_check(object), -EILSEQ);
    CHECK_ERR(covey_value_extend(lacking, lacking), -EILSEQ);
    CHECK_EQ(covey_value_count(lacking), 1);
    covey_value_free(object);
    covey_value_free(lacking);
    covey_value_free(list);
}

TEST(tuples_are_built_like_lists)
{
    covey_value *tuple = covey_value_tuple();

    CHECK_OK(covey_value_append(tuple, covey_value_int(1)));
    CHECK_ERR(covey_value_insert(tuple, 0, covey_value_int(1)), COVEY_ETYPE);
    CHECK_ERR(covey_value_put_at(tuple, 0, covey_value_int(1)), COVEY_ETYPE);
    CHECK_ERR(covey_value_take_at(tuple, 0, NULL), COVEY_ETYPE);
    is(tuple, "(1,)");
    is(covey_value_tuple(), "()");
}

TEST(walks_go_through_everything_in_order)
{
    const covey_value *key, *item;
    covey_value *dict = covey_value_dict();
    size_t position = 0;
    int64_t number;

    for (int i = 0; i < 100; i++)
        CHECK_OK(covey_value_put(dict, covey_value_int(i * 7), covey_value_int(i)));
    for (int i = 0; i < 100; i += 3) {
        covey_value *old = covey_value_int(i * 7);

        CHECK_OK(covey_value_take(dict, old, NULL));
        covey_value_free(old);
    }
    for (int i = 0; i < 100; i++) {
        if (i % 3 == 0)
            continue;
        CHECK_EQ(covey_value_next(dict, &position, &key, &item), 1);
        CHECK_OK(covey_value_get_int(key, &number));
        CHECK_EQ(number, i * 7);
        CHECK_OK(covey_value_get_int(item, &number));
        CHECK_EQ(number, i);
    }
    CHECK_EQ(covey_value_next(dict, &position, &key, &item), 0);
    covey_value_free(dict);
    CHECK_EQ(covey_value_next(covey_value_none(), &position, &key, &item), 0);
    CHECK_EQ(covey_value_next(NULL, &position, &key, &item), 0);
}

/* ---- dicts and sets ------------------------------------------------------------ */

TEST(dict_keys_are_equal_as_in_python)
{
    covey_value *dict = covey_value_dict(), *key = covey_value_float(1);

    CHECK_OK(covey_value_put(dict, covey_value_int(1), covey_value_str("a")));
    CHECK_OK(covey_value_put(dict, covey_value_bool(1), covey_value_str("b")));
    CHECK_OK(covey_value_put(dict, covey_value_complex(1, 0), covey_value_str("c")));
    CHECK_OK(covey_value_put(dict, covey_value_str("1"), covey_value_str("d")));
    CHECK_OK(covey_value_put_str(dict, "1", covey_value_str("e")));
    CHECK_OK(covey_value_put(dict, covey_value_bytes("1", 1), covey_value_str("f")));
    CHECK_OK(covey_value_put(dict, covey_value_float(NAN), covey_value_none()));
    CHECK_OK(covey_value_put(dict, covey_value_float(NAN), covey_value_none()));
    CHECK_EQ(covey_value_has(dict, key), 1);
    CHECK(covey_value_find(dict, key) == covey_value_at(dict, 0) ||
          covey_value_find(dict, key) != NULL);
    covey_value_free(key);
    is(dict, "{1: 'c', '1': 'e', b'1': 'f', nan: None, nan: None}");
}

TEST(large_dicts_find_everything_and_nothing_else)
{
    covey_value *dict = covey_value_dict();
    char name[16];
    int64_t number;

    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "key%d", i);
        CHECK_OK(covey_value_put_str(dict, name, covey_value_int(i)));
    }
    for (int i = 0; i < 5000; i += 2) {
        covey_value *key = covey_value_str_format("key%d", i), *item;

        CHECK_OK(covey_value_take(dict, key, &item));
        CHECK_ERR(covey_value_take(dict, key, &item), -ENOENT);
        covey_value_free(key);
        covey_value_free(item);
    }
    CHECK_EQ(covey_value_count(dict), 2500);
    for (int i = 0; i < 5000; i++) {
        const covey_value *found;

        snprintf(name, sizeof(name), "key%d", i);
        found = covey_value_find_str(dict, name);
        CHECK_EQ(found != NULL, i % 2);
        if (found)
            CHECK_OK(covey_value_get_int(found, &number));
        CHECK(!found || number == i);
    }
    covey_value_free(dict);
}

TEST(a_dict_used_as_stack_or_queue_does_not_grow)
{
    covey_value *dict = covey_value_dict();

    for (int i = 0; i < 100000; i++) {
        covey_value *old =
            covey_value_int(i % 2 ? i : i - 20); /* the newest, or an old one */

        CHECK_OK(covey_value_put(dict, covey_value_int(i), covey_value_none()));
        if (i >= 20)
            covey_value_take(dict, old, NULL);
        covey_value_free(old);
        CHECK_LE(covey_value_count(dict), 21);
    }
    covey_value_free(dict);
}

TEST(what_python_cannot_hash_is_no_key)
{
    covey_value *dict = covey_value_dict(), *set = covey_value_set(), *tuple;
    covey_value *list = covey_value_list();

    CHECK_ERR(covey_value_put(dict, covey_value_list(), covey_value_none()),
              COVEY_ETYPE);
    CHECK_STR_HAS(covey_error_detail(), "unhashable type: 'list'");
    CHECK_ERR(covey_value_add(set, covey_value_bytearray("x", 1)), COVEY_ETYPE);
    CHECK_OK(covey_value_clear(set));
    CHECK_OK(covey_value_pack(&tuple, "(i, (i, {}))", 1, 2));
    CHECK_ERR(covey_value_add(set, tuple), COVEY_ETYPE);
    CHECK(!covey_value_find(dict, list));
    CHECK_EQ(covey_value_has(set, list), 0);
    CHECK(!covey_value_find(set, covey_value_none()));
    CHECK(!covey_value_find_str(set, "x"));
    covey_value_free(list);
    covey_value_free(dict);
    covey_value_free(set);
}

TEST(sets_hold_each_item_once)
{
    covey_value *set = covey_value_set(), *item;

    for (int i = 0; i < 30; i++)
        CHECK_OK(covey_value_add(set, covey_value_int(i % 10)));
    CHECK_EQ(covey_value_count(set), 10);
    CHECK_OK(covey_value_take(set, covey_value_bool(1), &item));
    is(item, "1");
    is(set, "{0, 2, 3, 4, 5, 6, 7, 8, 9}");
    is(covey_value_set(), "set()");
    is(covey_value_frozenset(), "frozenset()");
}

TEST(containers_refuse_what_is_of_another_kind)
{
    covey_value *list = covey_value_list(), *set = covey_value_set();
    covey_value *dict = covey_value_dict(), *out;

    CHECK_ERR(covey_value_append(dict, covey_value_none()), COVEY_ETYPE);
    CHECK_ERR(covey_value_append(NULL, covey_value_float(1)), COVEY_ETYPE);
    CHECK_ERR(covey_value_put(set, covey_value_none(), covey_value_none()),
              COVEY_ETYPE);
    CHECK_ERR(covey_value_put(list, covey_value_none(), covey_value_none()),
              COVEY_ETYPE);
    CHECK_ERR(covey_value_add(dict, covey_value_none()), COVEY_ETYPE);
    CHECK_ERR(covey_value_take(list, covey_value_none(), &out), COVEY_ETYPE);
    CHECK_ERR(covey_value_take(NULL, covey_value_none(), &out), -EINVAL);
    CHECK_ERR(covey_value_clear(covey_value_none()), COVEY_ETYPE);
    CHECK_ERR(covey_value_sort(dict, 0), COVEY_ETYPE);
    CHECK_ERR(covey_value_put_state(list, covey_value_none()), COVEY_ETYPE);
    CHECK_EQ(covey_value_has(list, NULL), 0);
    CHECK_EQ(covey_value_has(covey_value_none(), list), 0);
    CHECK(!covey_value_at(dict, 0));
    CHECK_EQ(covey_value_count(covey_value_none()), 0);
    covey_value_free(list);
    covey_value_free(set);
    covey_value_free(dict);
}

CHECK_MAIN()
