/* SPDX-License-Identifier: MIT */
/* Shareable lists among C programs; test_memory_python.c has those of Python. */
#include <math.h>

#include "memory_help.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static covey_shareable_list *list_of(const struct covey_shareable_item *items,
                                     size_t count)
{
    covey_shareable_list *list = NULL;

    CHECK_OK(covey_shareable_list_create(&list, "list", items, count, NULL));
    return list;
}

static covey_shareable_list *opened_list(void)
{
    covey_shareable_list *list = NULL;

    CHECK_OK(covey_shareable_list_open(&list, "list", NULL));
    return list;
}

static struct covey_shareable_item sized_str(const char *text, size_t size)
{
    struct covey_shareable_item item = covey_item_str("");

    item.text = COVEY_VIEW(text, size);
    return item;
}

static void check_item(const covey_shareable_list *list, ptrdiff_t index,
                       struct covey_shareable_item wanted)
{
    struct covey_bytes buffer = {0};
    struct covey_shareable_item item;

    CHECK_OK(covey_shareable_list_get(list, index, &buffer, &item));
    CHECK_EQ(item.kind, wanted.kind);
    CHECK_EQ(item.integer, wanted.integer);
    CHECK(same_float(item.real, wanted.real));
    CHECK_EQ(item.text.size, wanted.text.size);
    if (item.text.size) {
        CHECK_MEM_EQ(item.text.data, wanted.text.data, item.text.size);
        CHECK_EQ(((const char *)item.text.data)[item.text.size], 0);
    }
    covey_bytes_free(&buffer);
}

static void check_format(const covey_shareable_list *list, const char *wanted)
{
    struct covey_bytes text = {0};

    CHECK_OK(covey_shareable_list_format(list, &text));
    CHECK_STR_EQ(text.data, wanted);
    CHECK_EQ(text.size, strlen(wanted));
    covey_bytes_free(&text);
}

/* ---- layout ----------------------------------------------------------------------- */

TEST(layout_is_that_of_python)
{
    static const unsigned char wanted[116] = {
        4,   0,   0,   0, 0,  0, 0, 0, /* count */
        0,   0,   0,   0, 0,  0, 0, 0,    8,   0,   0,   0,   0,   0,
        0,   0,   16,  0, 0,  0, 0, 0,    0,   0,   24,  0,   0,   0,
        0,   0,   0,   0, 32, 0, 0, 0,    0,   0,   0,   0, /* offsets */
        1,   0,   0,   0, 0,  0, 0, 0,                      /* 1 */
        'a', 'b', 0,   0, 0,  0, 0, 0,                      /* 'ab' */
        0,   0,   0,   0, 0,  0, 0, 0,                      /* None */
        0,   0,   0,   0, 0,  0, 4, 0x40,                   /* 2.5 */
        'q', 0,   0,   0, 0,  0, 0, 0,                      /* formats */
        '8', 's', 0,   0, 0,  0, 0, 0,    'x', 'x', 'x', 'x', 'x', 'x',
        '?', 'x', 'd', 0, 0,  0, 0, 0,    0,   0,   0,   1,   3,   0}; /* codes */
    const struct covey_shareable_item items[] = {
        covey_item_int(1), covey_item_str("ab"), covey_item_none(),
        covey_item_float(2.5)};
    covey_shareable_list *list = list_of(items, COUNT(items));
    size_t size = 0;

    const void *bytes = covey_memory_data(covey_shareable_list_memory(list), &size);
    CHECK_EQ(size, sizeof wanted);
    CHECK_MEM_EQ(bytes, wanted, sizeof wanted);
    check_format(list, "q8sxxxxxx?xd");
    covey_shareable_list_free(list);
}

TEST(slots_have_the_size_of_their_text_rounded_up)
{
    struct covey_shareable_item items[4];
    char text[] = "0123456789abcdef";

    items[0] = sized_str(text, 0);
    items[1] = sized_str(text, 7);
    items[2] = sized_str(text, 8);
    items[3] = covey_item_bytes(text, 16);
    covey_shareable_list *list = list_of(items, 4);
    check_format(list, "8s8s16s24s");
    for (ptrdiff_t i = 0; i < 4; i++)
        check_item(list, i, items[i]);
    covey_shareable_list_free(list);
}

TEST(empty_list_works)
{
    covey_shareable_list *list = list_of(NULL, 0), *other = opened_list();
    size_t count = 7;

    CHECK_OK(covey_shareable_list_len(other, &count));
    CHECK_EQ(count, 0);
    check_format(other, "");
    CHECK_ERR(covey_shareable_list_set(list, 0, covey_item_int(1)), -ERANGE);
    CHECK_ERR(covey_shareable_list_set(list, -1, covey_item_int(1)), -ERANGE);
    covey_shareable_list_free(list);
    covey_shareable_list_free(other);
}

/* ---- values ----------------------------------------------------------------------- */

TEST(every_kind_comes_back)
{
    const struct covey_shareable_item items[] = {
        covey_item_none(),
        covey_item_bool(0),
        covey_item_bool(5),
        covey_item_int(0),
        covey_item_int(INT64_MAX),
        covey_item_int(INT64_MIN),
        covey_item_float(0.1),
        covey_item_float(-0.0),
        covey_item_float(INFINITY),
        covey_item_float(NAN),
        covey_item_str(""),
        covey_item_str("text"),
        covey_item_str("äöü€\xf0\x9f\x90\xa6"),
        covey_item_bytes("", 0),
        covey_item_bytes("\xff\0\x80", 3),
        covey_item_bytes("\0\0", 2),
        covey_item_bytes("01234567\0", 9),
        sized_str("a\0b\0", 4),
    };
    covey_shareable_list *list = list_of(items, COUNT(items)), *other = opened_list();

    CHECK_EQ(items[2].integer, 1);
    for (size_t i = 0; i < COUNT(items); i++) {
        check_item(other, (ptrdiff_t)i, items[i]);
        check_item(other, (ptrdiff_t)i - (ptrdiff_t)COUNT(items), items[i]);
    }
    covey_shareable_list_free(list);
    covey_shareable_list_free(other);
}

TEST(set_changes_value_and_kind)
{
    const struct covey_shareable_item items[] = {covey_item_int(1),
                                                 covey_item_str("0123456789")};
    const struct covey_shareable_item values[] = {
        covey_item_none(),          covey_item_bool(1),
        covey_item_int(-5),         covey_item_float(1e300),
        covey_item_str("12345678"), covey_item_bytes("ab\0", 3),
        covey_item_str("é"),
    };
    covey_shareable_list *list = list_of(items, COUNT(items)), *other = opened_list();

    for (size_t i = 0; i < COUNT(values) * COUNT(values); i++) {
        CHECK_OK(covey_shareable_list_set(list, 0, values[i % COUNT(values)]));
        CHECK_OK(covey_shareable_list_set(list, -1, values[i / COUNT(values)]));
        check_item(other, 0, values[i % COUNT(values)]);
        check_item(other, 1, values[i / COUNT(values)]);
    }
    CHECK_OK(covey_shareable_list_set(list, 1, covey_item_str("0123456789abcdef")));
    check_item(other, 1, covey_item_str("0123456789abcdef"));
    check_format(other, "8s16s");
    CHECK_OK(covey_shareable_list_set(list, 1, covey_item_bytes("x\0\0", 3)));
    check_format(other, "8s3s ");
    covey_shareable_list_free(list);
    covey_shareable_list_free(other);
}

TEST(text_that_is_too_long_leaves_the_old_one)
{
    const struct covey_shareable_item items[] = {covey_item_int(1),
                                                 covey_item_str("0123456789")};
    covey_shareable_list *list = list_of(items, COUNT(items));

    CHECK_ERR(covey_shareable_list_set(list, 0, covey_item_str("012345678")),
              -EMSGSIZE);
    CHECK_ERR(
        covey_shareable_list_set(list, 1, covey_item_bytes("0123456789abcdefg", 17)),
        -EMSGSIZE);
    check_item(list, 0, items[0]);
    check_item(list, 1, items[1]);
    covey_shareable_list_free(list);
}

TEST(long_text_has_a_limit)
{
    const size_t most = 9999991, most_zeros = 999999;
    char *text = calloc(1, most + 1);
    struct covey_shareable_item item;
    covey_shareable_list *list = NULL;

    CHECK(text != NULL);
    memset(text, 'x', most + 1);
    item = covey_item_bytes(text, most);
    list = list_of(&item, 1);
    check_item(list, 0, item);
    check_format(list, "9999992s");
    text[most_zeros] = text[most_zeros - 1] = 0;
    item = covey_item_bytes(text, most_zeros);
    CHECK_OK(covey_shareable_list_set(list, 0, item));
    check_item(list, 0, item);
    item = covey_item_bytes(text, most_zeros + 1);
    CHECK_ERR(covey_shareable_list_set(list, 0, item), -EMSGSIZE);
    covey_shareable_list_free(list);
    item = covey_item_bytes(text, most + 1);
    CHECK_ERR(covey_shareable_list_create(&list, "x", &item, 1, NULL), -EMSGSIZE);
    item = covey_item_bytes(text, most_zeros + 1);
    CHECK_ERR(covey_shareable_list_create(&list, "x", &item, 1, NULL), -EMSGSIZE);
    free(text);
}

TEST(str_must_be_utf8)
{
    static const char *const bad[] = {"\x80",
                                      "\xc3",
                                      "\xc3x",
                                      "\xc0\x80",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xe2\x82",
                                      "x\xf0\x9f\x90"};
    static const char *const good[] = {
        "\x7f",         "\xc2\x80",         "\xe0\xa0\x80",    "\xed\x9f\xbf",
        "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    const struct covey_shareable_item item = covey_item_int(1);
    covey_shareable_list *list = list_of(&item, 1), *none = NULL;

    for (size_t i = 0; i < COUNT(bad); i++) {
        const struct covey_shareable_item str = covey_item_str(bad[i]);

        CHECK_ERR(covey_shareable_list_set(list, 0, str), -EILSEQ);
        CHECK_ERR(covey_shareable_list_create(&none, "x", &str, 1, NULL), -EILSEQ);
        check_item(list, 0, item);
    }
    for (size_t i = 0; i < COUNT(good); i++) {
        CHECK_OK(covey_shareable_list_set(list, 0, covey_item_str(good[i])));
        check_item(list, 0, covey_item_str(good[i]));
    }
    CHECK(none == NULL);
    covey_shareable_list_free(list);
}

/* ---- typed getters ---------------------------------------------------------------- */

/* A text that another program has cut within a character is no str, and changes nothing. */
TEST(text_that_is_refused_leaves_the_buffer)
{
    const struct covey_shareable_item items[] = {covey_item_str("abc"),
                                                 covey_item_str("\xc3\xbc")};
    covey_shareable_list *list = list_of(items, 2);
    struct covey_shareable_item item;
    struct covey_bytes text = {0};
    char *data = covey_memory_data(covey_shareable_list_memory(list), NULL);
    const size_t second = 8 + 3 * 8 + 8; /* behind count, offsets and the first slot */

    CHECK_MEM_EQ(data + second, "\xc3\xbc", 2);
    data[second + 1] = 'z';
    CHECK_OK(covey_shareable_list_get(list, 0, &text, &item));
    const struct covey_bytes before = text;
    CHECK_ERR(covey_shareable_list_get_str(list, 1, &text), -EILSEQ);
    CHECK_ERR(covey_shareable_list_get(list, 1, &text, &item), -EILSEQ);
    CHECK_MEM_EQ(&text, &before, sizeof text);
    CHECK_STR_EQ(text.data, "abc");
    CHECK(item.text.data == text.data);
    CHECK_OK(covey_shareable_list_get_bytes(list, 1, &text));
    CHECK_STR_EQ(text.data, "\xc3z");
    covey_bytes_free(&text);
    covey_shareable_list_free(list);
}

TEST(typed_getters_give_their_kind_only)
{
    const struct covey_shareable_item items[] = {
        covey_item_int(7),        covey_item_float(1.5),       covey_item_bool(1),
        covey_item_str("string"), covey_item_bytes("by\0", 3), covey_item_none()};
    covey_shareable_list *list = list_of(items, COUNT(items));
    struct covey_bytes text = {0};
    int64_t integer = 0;
    double real = 0;
    int truth = 0;

    CHECK_OK(covey_shareable_list_get_int(list, 0, &integer));
    CHECK_OK(covey_shareable_list_get_float(list, 1, &real));
    CHECK_OK(covey_shareable_list_get_bool(list, 2, &truth));
    CHECK(integer == 7 && real == 1.5 && truth == 1);
    CHECK_OK(covey_shareable_list_get_str(list, 3, &text));
    CHECK_STR_EQ(text.data, "string");
    CHECK_OK(covey_shareable_list_get_bytes(list, -2, &text));
    CHECK_EQ(text.size, 3);
    CHECK_MEM_EQ(text.data, "by\0", 4);
    CHECK_OK(covey_shareable_list_get_bytes(list, 3, &text));
    CHECK_STR_EQ(text.data, "string");
    for (ptrdiff_t i = 0; i < (ptrdiff_t)COUNT(items); i++) {
        CHECK(i == 0 || covey_shareable_list_get_int(list, i, &integer) == -EINVAL);
        CHECK(i == 1 || covey_shareable_list_get_float(list, i, &real) == -EINVAL);
        CHECK(i == 2 || covey_shareable_list_get_bool(list, i, &truth) == -EINVAL);
        CHECK(i == 3 || covey_shareable_list_get_str(list, i, &text) == -EINVAL);
        CHECK(i == 3 || i == 4 ||
              covey_shareable_list_get_bytes(list, i, &text) == -EINVAL);
    }
    CHECK_ERR(covey_shareable_list_get_int(list, 6, &integer), -ERANGE);
    CHECK_ERR(covey_shareable_list_get_str(list, -7, &text), -ERANGE);
    CHECK_ERR(covey_shareable_list_get_int(list, PTRDIFF_MIN, &integer), -ERANGE);
    CHECK(integer == 7 && real == 1.5 && truth == 1);
    covey_bytes_free(&text);
    covey_shareable_list_free(list);
}

/* ---- searching -------------------------------------------------------------------- */

static void check_search(const covey_shareable_list *list,
                         struct covey_shareable_item item, size_t count, int first)
{
    size_t found = 99, index = 99;

    CHECK_OK(covey_shareable_list_count(list, item, &found));
    CHECK_EQ(found, count);
    int r = covey_shareable_list_index(list, item, &index);
    CHECK_EQ(r, first < 0 ? -ENOENT : 0);
    CHECK_EQ(index, first < 0 ? 99 : first);
}

TEST(count_and_index_compare_as_python_does)
{
    const struct covey_shareable_item items[] = {
        covey_item_none(),         covey_item_int(1),
        covey_item_float(1.0),     covey_item_bool(1),
        covey_item_str("a"),       covey_item_bytes("a", 1),
        covey_item_float(NAN),     covey_item_int((INT64_C(1) << 53) + 1),
        covey_item_float(0x1p53),  covey_item_bytes("a\0", 2),
        covey_item_int(INT64_MAX), covey_item_float(-0.0),
    };
    covey_shareable_list *list = list_of(items, COUNT(items));

    check_search(list, covey_item_int(1), 3, 1);
    check_search(list, covey_item_float(1), 3, 1);
    check_search(list, covey_item_bool(1), 3, 1);
    check_search(list, covey_item_none(), 1, 0);
    check_search(list, covey_item_str("a"), 1, 4);
    check_search(list, covey_item_bytes("a", 1), 1, 5);
    check_search(list, covey_item_bytes("a\0", 2), 1, 9);
    check_search(list, covey_item_float(NAN), 0, -1);
    check_search(list, covey_item_float(0x1p53), 1, 8);
    check_search(list, covey_item_int((INT64_C(1) << 53) + 1), 1, 7);
    check_search(list, covey_item_int(INT64_C(1) << 53), 1, 8);
    check_search(list, covey_item_float(0x1p63), 0, -1);
    check_search(list, covey_item_int(0), 1, 11);
    check_search(list, covey_item_str("missing"), 0, -1);
    covey_shareable_list_free(list);
}

/* ---- handles ---------------------------------------------------------------------- */

TEST(copy_is_a_list_of_its_own_with_the_same_slots)
{
    const struct covey_shareable_item items[] = {covey_item_int(1),
                                                 covey_item_str("0123456789")};
    covey_shareable_list *list = list_of(items, 2), *copy = NULL;

    CHECK_OK(covey_shareable_list_set(list, 1, covey_item_str("short")));
    CHECK_OK(covey_shareable_list_copy(&copy, list, NULL, NULL));
    CHECK_OK(covey_shareable_list_set(list, 0, covey_item_int(2)));
    check_item(copy, 0, covey_item_int(1));
    check_item(copy, 1, covey_item_str("short"));
    CHECK_OK(covey_shareable_list_set(copy, 1, covey_item_str("0123456789abcdef")));
    check_item(list, 1, covey_item_str("short"));
    CHECK_ERR(covey_shareable_list_copy(&copy, list, "list", NULL), -EEXIST);
    covey_shareable_list_free(list);
    covey_shareable_list_free(copy);
}

TEST(readonly_list_cannot_be_set)
{
    const struct covey_shareable_item item = covey_item_int(1);
    covey_shareable_list *list = list_of(&item, 1), *reader = NULL;

    CHECK_OK(covey_shareable_list_open(&reader, "list",
                                       COVEY_MEMORY_OPTS(.readonly = COVEY_ON)));
    check_item(reader, 0, item);
    CHECK_ERR(covey_shareable_list_set(reader, 0, item), -EACCES);
    covey_shareable_list_free(list);
    covey_shareable_list_free(reader);
}

TEST(closed_list_is_closed)
{
    const struct covey_shareable_item item = covey_item_int(1);
    covey_shareable_list *list = list_of(&item, 1), *copy = NULL;
    struct covey_shareable_item got;
    struct covey_bytes text = {0};
    size_t number = 7;

    CHECK_OK(covey_shareable_list_close(list));
    CHECK_OK(covey_shareable_list_close(list));
    CHECK(!exists("list"));
    CHECK_ERR(covey_shareable_list_len(list, &number), COVEY_ECLOSED);
    CHECK_ERR(covey_shareable_list_get(list, 0, NULL, &got), COVEY_ECLOSED);
    CHECK_ERR(covey_shareable_list_set(list, 0, item), COVEY_ECLOSED);
    CHECK_ERR(covey_shareable_list_format(list, &text), COVEY_ECLOSED);
    CHECK_ERR(covey_shareable_list_count(list, item, &number), COVEY_ECLOSED);
    CHECK_ERR(covey_shareable_list_index(list, item, &number), COVEY_ECLOSED);
    CHECK_ERR(covey_shareable_list_copy(&copy, list, NULL, NULL), COVEY_ECLOSED);
    CHECK_STR_EQ(covey_memory_name(covey_shareable_list_memory(list)), "list");
    CHECK_EQ(number, 7);
    covey_shareable_list_free(list);
}

TEST(bad_arguments_are_refused)
{
    struct covey_shareable_item item = covey_item_int(1), got;
    covey_shareable_list *list = list_of(&item, 1), *none = NULL;
    size_t number;

    CHECK_ERR(covey_shareable_list_create(NULL, "x", &item, 1, NULL), -EINVAL);
    CHECK_ERR(covey_shareable_list_create(&none, "x", NULL, 1, NULL), -EINVAL);
    CHECK_ERR(covey_shareable_list_create(&none, "list", &item, 1, NULL), -EEXIST);
    CHECK_ERR(covey_shareable_list_open(NULL, "list", NULL), -EINVAL);
    CHECK_ERR(covey_shareable_list_open(&none, "missing", NULL), -ENOENT);
    CHECK_ERR(covey_shareable_list_copy(NULL, list, NULL, NULL), -EINVAL);
    CHECK_ERR(covey_shareable_list_copy(&none, NULL, NULL, NULL), -EINVAL);
    CHECK_ERR(covey_shareable_list_get(list, 0, NULL, NULL), -EINVAL);
    CHECK_ERR(covey_shareable_list_get(NULL, 0, NULL, &got), -EINVAL);
    CHECK_ERR(covey_shareable_list_get_int(list, 0, NULL), -EINVAL);
    CHECK_ERR(covey_shareable_list_len(list, NULL), -EINVAL);
    CHECK_ERR(covey_shareable_list_format(list, NULL), -EINVAL);
    CHECK_ERR(covey_shareable_list_set(NULL, 0, item), -EINVAL);
    CHECK_ERR(covey_shareable_list_close(NULL), -EINVAL);
    CHECK_ERR(covey_shareable_list_count(list, item, NULL), -EINVAL);
    item.kind = (enum covey_item_kind)9;
    CHECK_ERR(covey_shareable_list_create(&none, "x", &item, 1, NULL), -EINVAL);
    CHECK_ERR(covey_shareable_list_set(list, 0, item), -EINVAL);
    CHECK_ERR(covey_shareable_list_index(list, item, &number), -EINVAL);
    item = covey_item_bytes(NULL, 3);
    CHECK_ERR(covey_shareable_list_set(list, 0, item), -EINVAL);
    CHECK_OK(covey_shareable_list_set(list, 0, covey_item_bytes(NULL, 0)));
    CHECK_ERR(covey_shareable_list_get(list, 0, NULL, &got), -EINVAL);
    CHECK(covey_shareable_list_memory(NULL) == NULL && none == NULL);
    covey_shareable_list_free(NULL);
    covey_shareable_list_free(list);
}

/* ---- what others wrote ------------------------------------------------------------ */

/* Whatever the bytes are, opening and reading them gives an error or a value, and reads
 * nothing beyond them. */
static void read_all(void)
{
    covey_shareable_list *list = NULL;
    struct covey_bytes buffer = {0};
    struct covey_shareable_item item;
    size_t count = 0;

    int r = covey_shareable_list_open(&list, "list", NULL);
    CHECK(r == 0 || r == COVEY_EPROTOCOL);
    if (r < 0)
        return;
    CHECK_OK(covey_shareable_list_len(list, &count));
    for (size_t i = 0; i < count; i++) {
        r = covey_shareable_list_get(list, (ptrdiff_t)i, &buffer, &item);
        CHECK(r == 0 || r == COVEY_EPROTOCOL || r == -EILSEQ);
        r = covey_shareable_list_set(list, (ptrdiff_t)i, covey_item_int(5));
        CHECK(r == 0 || r == COVEY_EPROTOCOL);
        r = covey_shareable_list_set(list, (ptrdiff_t)i, covey_item_str("longer text"));
        CHECK(r == 0 || r == COVEY_EPROTOCOL || r == -EMSGSIZE);
    }
    CHECK_OK(covey_shareable_list_format(list, &buffer));
    covey_bytes_free(&buffer);
    covey_shareable_list_free(list);
}

TEST(any_bytes_are_read_safely)
{
    const struct covey_shareable_item items[] = {
        covey_item_int(1), covey_item_str("ab"), covey_item_none(),
        covey_item_bytes("0123456789", 10)};
    covey_shareable_list *list = list_of(items, COUNT(items));
    size_t size = 0;
    unsigned char *bytes = covey_memory_data(covey_shareable_list_memory(list), &size),
                  saved[256];

    CHECK_LE(size, sizeof saved);
    memcpy(saved, bytes, size);
    for (size_t at = 0; at < size; at++) {
        static const unsigned char values[] = {0, 1, 8, 9, ' ', '9', 's', 0x7f, 0xff};

        for (size_t i = 0; i < COUNT(values); i++) {
            bytes[at] = values[i];
            read_all();
            memcpy(bytes, saved, size);
        }
    }
    covey_shareable_list_free(list);
}

TEST(random_bytes_are_read_safely)
{
    covey_memory *memory = made("list", 200);
    unsigned char *bytes = covey_memory_data(memory, NULL);
    unsigned seed = 1;

    for (int round = 0; round < 20000; round++) {
        for (int i = 0; i < 200; i++)
            bytes[i] = (unsigned char)(i % 8 == 0 ? rand_r(&seed) % 80 : 0);
        bytes[0] = (unsigned char)(rand_r(&seed) % 12);
        bytes[8] = 0;
        for (int i = 0; i < round % 8; i++)
            bytes[rand_r(&seed) % 200] = (unsigned char)rand_r(&seed);
        read_all();
    }
    covey_memory_free(memory);
}

TEST(memory_too_small_for_a_list_is_none)
{
    covey_memory *memory = made("list", 15);
    covey_shareable_list *list = NULL;

    CHECK_ERR(covey_shareable_list_open(&list, "list", NULL), COVEY_EPROTOCOL);
    CHECK(exists("list"));
    covey_memory_free(memory);
}

/* ---- at the same time ------------------------------------------------------------- */

static int count_up(void *list)
{
    for (int64_t i = 0;; i++)
        CHECK_OK(covey_shareable_list_set(list, 0, covey_item_int(i | i << 32)));
    return 0;
}

TEST(ints_never_tear)
{
    const struct covey_shareable_item item = covey_item_int(0);
    covey_shareable_list *list = list_of(&item, 1);
    pid_t pid = forked(count_up, list);

    for (int64_t last = 0, changes = 0; changes < 1000;) {
        int64_t value;

        CHECK_OK(covey_shareable_list_get_int(list, 0, &value));
        CHECK_EQ(value >> 32, value & 0xffffffff);
        changes += value != last;
        last = value;
    }
    kill_and_reap(pid);
    covey_shareable_list_free(list);
}

static int change_kind(void *list)
{
    for (int64_t i = 0;; i++) {
        CHECK_OK(covey_shareable_list_set(list, 0, covey_item_int(i)));
        CHECK_OK(covey_shareable_list_set(list, 0, covey_item_str("text")));
    }
    return 0;
}

TEST(text_that_becomes_another_kind_is_text_or_refused)
{
    const struct covey_shareable_item item = covey_item_str("text");
    covey_shareable_list *list = list_of(&item, 1);
    pid_t pid = forked(change_kind, list);

    for (int texts = 0, refusals = 0; texts < 100000 || refusals < 100000;) {
        struct covey_bytes text = {0};
        int r = covey_shareable_list_get_str(list, 0, &text);

        CHECK_EQ(r == 0, text.data != NULL);
        texts += r == 0;
        refusals += r == -EINVAL;
        CHECK(r == 0 || r == -EINVAL || r == -EILSEQ || r == COVEY_EPROTOCOL);
        covey_bytes_free(&text);
    }
    kill_and_reap(pid);
    covey_shareable_list_free(list);
}

CHECK_MAIN()
