/* SPDX-License-Identifier: MIT */
/* Values made and taken apart by formats. */
#include <errno.h>
#include <limits.h>

#include "value_help.h"

/* ---- pack -------------------------------------------------------------------- */

TEST(pack_makes_every_kind)
{
    covey_value *value, *part = covey_value_str("part");

    CHECK_OK(covey_value_pack(&value, "(i I l k L K n d p p)", -1, UINT_MAX, LONG_MIN,
                              ULONG_MAX, LLONG_MAX, ULLONG_MAX, SIZE_MAX, 0.5, 7, 0));
    is(value,
       "(-1, 4294967295, -9223372036854775808, 18446744073709551615, "
       "9223372036854775807, 18446744073709551615, 18446744073709551615, 0.5, True, "
       "False)");
    CHECK_OK(covey_value_pack(&value, "[s, s#, z, z, z#, y, y#, y#]", "text", "a\0b",
                              (size_t)3, "z", NULL, NULL, (size_t)0, "bytes", "\xff\0",
                              (size_t)2, NULL, (size_t)0));
    is(value, "['text', 'a\\x00b', 'z', None, None, b'bytes', b'\\xff\\x00', b'']");
    CHECK_OK(covey_value_pack(&value, "{s: O, O: (N), i: {}}", "a", part, part,
                              covey_value_none(), 5));
    is(value, "{'a': 'part', 'part': (None,), 5: {}}");
    CHECK_OK(covey_value_pack(&value, "N", part));
    CHECK(value == part);
    covey_value_free(value);
    CHECK_OK(covey_value_pack(&value, " ( ) "));
    is(value, "()");
}

TEST(pack_refuses_bad_formats)
{
    static const char *const bad[] = {"",     "(",   ")",    "(]",  "[)",  "{",   "x",
                                      "()()", "(x)", "{()}", "{()", "{}}", "(()", "s)"};
    covey_value *value = NULL;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_ERR(covey_value_pack(&value, bad[i], "s"), -EINVAL);
        CHECK_STR_HAS(covey_error_detail(), "bad format");
        CHECK(!value);
    }
    CHECK_ERR(covey_value_pack(&value, NULL), -EINVAL);
}

TEST(pack_takes_what_it_is_given_also_on_failure)
{
    covey_value *value = NULL, *list = covey_value_list(), *other = numbers(1);

    CHECK_ERR(covey_value_pack(&value, "(s, N, [N, O])", "\xff", covey_value_float(1),
                               covey_value_float(2), list),
              -EILSEQ);
    CHECK_ERR(covey_value_pack(&value, "{s: s, N: N}", "a", NULL, covey_value_list(),
                               covey_value_float(2)),
              -EINVAL);
    CHECK_ERR(covey_value_pack(&value, "{N: i}", other, 1), COVEY_ETYPE);
    CHECK_ERR(
        covey_value_pack(&value, "(N, N)", covey_value_str(NULL), covey_value_float(1)),
        -EINVAL);
    CHECK_ERR(covey_value_pack(&value, "O", NULL), -EINVAL);
    CHECK(!value);
    covey_value_free(list);
}

/* ---- unpack ------------------------------------------------------------------ */

TEST(unpack_reads_every_kind)
{
    const char *text, *sized, *none, *some;
    size_t sized_size, data_size, size;
    unsigned short_natural;
    unsigned long natural;
    unsigned long long long_natural;
    long long long_number;
    const void *data;
    const covey_value *borrowed;
    covey_value *value, *mine;
    long number;
    int small, truth;
    double real;

    CHECK_OK(covey_value_pack(&value, "(s s# z s y#)", "text", "a\0b", (size_t)3, NULL,
                              "some", "\xff", (size_t)1));
    CHECK_OK(covey_value_unpack(value, "(s s# z z y#)", &text, &sized, &sized_size,
                                &none, &some, &data, &data_size));
    CHECK_STR_EQ(text, "text");
    CHECK_EQ(sized_size, 3);
    CHECK(!none);
    CHECK_STR_EQ(some, "some");
    CHECK_EQ(data_size, 1);
    CHECK_MEM_EQ(data, "\xff", 1);
    covey_value_free(value);

    CHECK_OK(covey_value_pack(&value, "[i I l k L K n d i s s]", INT_MIN, UINT_MAX,
                              LONG_MIN, ULONG_MAX, LLONG_MIN, ULLONG_MAX, (size_t)7,
                              0.5, 0, "o", "n"));
    CHECK_OK(covey_value_unpack(value, "[i I l k L K n d p O N]", &small,
                                &short_natural, &number, &natural, &long_number,
                                &long_natural, &size, &real, &truth, &borrowed, &mine));
    CHECK_EQ(small, INT_MIN);
    CHECK(short_natural == UINT_MAX && number == LONG_MIN && natural == ULONG_MAX);
    CHECK(long_number == LLONG_MIN && long_natural == ULLONG_MAX && size == 7);
    CHECK(real == 0.5 && truth == 0 && borrowed == covey_value_at(value, 9));
    covey_value_free(value);
    is(mine, "'n'");
}

TEST(unpack_reads_dicts_and_what_is_optional)
{
    int a = 1, b = 2, c = 3;
    const covey_value *rest = NULL;
    covey_value *value;

    CHECK_OK(
        covey_value_pack(&value, "{s:i, s:(i, i), s:i}", "a", 10, "t", 20, 30, "x", 9));
    CHECK_OK(covey_value_unpack(value, "{s:i, s:(i, i)}", "a", &a, "t", &b, &c));
    CHECK(a == 10 && b == 20 && c == 30);
    CHECK_OK(covey_value_unpack(value, "{s:i | s:[i, {s:O}], s:i}", "a", &a, "none", &b,
                                "k", &rest, "x", &c));
    CHECK(a == 10 && b == 20 && c == 9 && !rest);
    covey_value_free(value);
    CHECK_OK(covey_value_pack(&value, "(i, i)", 5, 6));
    CHECK_OK(covey_value_unpack(value, "(i | i, i)", &a, &b, &c));
    CHECK(a == 5 && b == 6 && c == 9);
    CHECK_OK(covey_value_unpack(value, "(i, *)", &a));
    CHECK_OK(covey_value_unpack(value, "(*)"));
    CHECK_OK(covey_value_unpack(value, "(i, i | *)", &a, &b));
    covey_value_free(value);
}

TEST(unpack_leaves_everything_untouched_on_failure)
{
    covey_value *value, *mine = NULL;
    int a = 1, b = 2;
    unsigned c = 3;
    const char *text = NULL;

    CHECK_OK(covey_value_pack(&value, "(i, s, L)", 5, "x", 1LL << 40));
    CHECK_ERR(covey_value_unpack(value, "(i, i, L)", &a, &b, &b), COVEY_ETYPE);
    CHECK_ERR(covey_value_unpack(value, "(i, s, i)", &a, &text, &b), -EOVERFLOW);
    CHECK_ERR(covey_value_unpack(value, "(i, s, I)", &a, &text, &c), -EOVERFLOW);
    CHECK_ERR(covey_value_unpack(value, "(N, s)", &mine, &text), COVEY_ETYPE);
    CHECK_STR_HAS(covey_error_detail(), "too long");
    CHECK_ERR(covey_value_unpack(value, "(N, s, i, i)", &mine, &text, &b, &b),
              -EOVERFLOW);
    CHECK_ERR(covey_value_unpack(value, "(N, s, O, i)", &mine, &text, &mine, &b),
              COVEY_ETYPE);
    CHECK_STR_HAS(covey_error_detail(), "too short");
    CHECK_ERR(covey_value_unpack(value, "[N, s, O]", &mine, &text, &mine), COVEY_ETYPE);
    CHECK_ERR(covey_value_unpack(value, "{s:i}", "x", &a), COVEY_ETYPE);
    CHECK_ERR(covey_value_unpack(value, "i", &a), COVEY_ETYPE);
    CHECK_ERR(covey_value_unpack(value, "s", &text), COVEY_ETYPE);
    CHECK_ERR(covey_value_unpack(NULL, "i", &a), -EINVAL);
    CHECK_ERR(covey_value_unpack(value, NULL), -EINVAL);
    covey_value_free(value);
    CHECK_OK(covey_value_pack(&value, "{s:i, s:s}", "a", -1, "b", "t"));
    CHECK_ERR(covey_value_unpack(value, "{s:i, s:i}", "a", &a, "zz", &b), -ENOENT);
    CHECK_STR_HAS(covey_error_detail(), "'zz'");
    CHECK_ERR(covey_value_unpack(value, "{s:s, s:i}", "b", &text, "b", &b),
              COVEY_ETYPE);
    CHECK_ERR(covey_value_unpack(value, "{s:k}", "a", &a), -EOVERFLOW);
    CHECK(a == 1 && b == 2 && c == 3 && !text && !mine);
    covey_value_free(value);
}

TEST(unpack_refuses_bad_formats)
{
    static const char *const bad[] = {"",     "(", "(O",    "x",   "O O",
                                      "(O))", "y", "(* O)", "(|x)"};
    covey_value *tuple, *dict;
    const covey_value *part = NULL;

    CHECK_OK(covey_value_pack(&tuple, "(i)", 1));
    CHECK_OK(covey_value_pack(&dict, "{s:i}", "a", 1));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_ERR(covey_value_unpack(tuple, bad[i], &part, &part), -EINVAL);
        CHECK_STR_HAS(covey_error_detail(), "bad format");
    }
    CHECK_ERR(covey_value_unpack(dict, "{", &part), -EINVAL);
    CHECK_ERR(covey_value_unpack(dict, "{i}", &part), -EINVAL);
    CHECK_ERR(covey_value_unpack(dict, "{s:}", "a", &part), -EINVAL);
    CHECK(!part);
    covey_value_free(tuple);
    covey_value_free(dict);
}

CHECK_MAIN()
