/* SPDX-License-Identifier: MIT */
/* Values without memory: each allocation fails once, nothing is lost; and the limits of
 * reading pickles, with what they allow. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "value_help.h"

/* ---- an allocator that counts and fails ------------------------------------------ */

static size_t live, live_bytes, most_bytes;
static size_t until_failure = SIZE_MAX;

/* Each piece of memory begins with its size. */
enum { HEAD = 16 };

static void count(size_t size)
{
    live_bytes += size;
    if (live_bytes > most_bytes)
        most_bytes = live_bytes;
}

static void *failing_malloc(size_t size)
{
    char *memory = until_failure-- ? malloc(size + HEAD) : NULL;

    if (!memory)
        return NULL;
    memcpy(memory, &size, sizeof(size));
    live++;
    count(size);
    return memory + HEAD;
}

static void counting_free(void *memory)
{
    size_t size;

    memcpy(&size, (char *)memory - HEAD, sizeof(size));
    live--;
    live_bytes -= size;
    free((char *)memory - HEAD);
}

/* Always moves, so that what is kept of the old place shows. */
static void *failing_realloc(void *old, size_t size)
{
    void *memory = failing_malloc(size);
    size_t old_size;

    if (!memory || !old)
        return memory;
    memcpy(&old_size, (char *)old - HEAD, sizeof(old_size));
    memcpy(memory, old, size < old_size ? size : old_size);
    counting_free(old);
    return memory;
}

static void use_allocator(void)
{
    CHECK_OK(covey_set_allocator(failing_malloc, failing_realloc, counting_free));
}

/* Run `use` with the n-th allocation failing, for every n until it needs no more. */
static void fail_each(int (*use)(void))
{
    size_t n = 0;
    int r;

    use_allocator();
    do {
        until_failure = n++;
        r = use();
        CHECK_EQ(live, 0);
        if (r != 0)
            CHECK_ERR(r, -ENOMEM);
        CHECK_LT(n, 10000);
    } while (until_failure > SIZE_MAX / 2); /* it has failed, and counts on */
    CHECK_EQ(r, 0);
    CHECK_GT(n, 1);
}

/* ---- what fails ---------------------------------------------------------------- */

static int use_makers(void)
{
    covey_value *list = covey_value_list(), *set = covey_value_set();
    covey_value *object, *dict = covey_value_dict();
    int r;

    covey_value_append(list, covey_value_int(INT64_MAX));
    covey_value_append(list, covey_value_int_text("-0x123456789abcdef0123"));
    covey_value_append(list, covey_value_int_text("1234567890123456789012345"));
    covey_value_append(list, covey_value_float(1.5));
    covey_value_append(list, covey_value_complex(1, 2));
    covey_value_append(list, covey_value_str("text"));
    covey_value_append(list, covey_value_str_format("%d", 5));
    covey_value_append(list, covey_value_bytearray("x", 1));
    covey_value_append(list, covey_value_range(0, 1, 1));
    covey_value_append(list, covey_value_slice(covey_value_int(1), covey_value_float(2),
                                               covey_value_none()));
    covey_value_insert(list, 0, covey_value_float(2));
    for (int i = 0; i < 20; i++) {
        covey_value_put(dict, covey_value_int(i), covey_value_float(i));
        covey_value_add(set, covey_value_int(i));
    }
    covey_value_put_str(dict, "set", set);
    object = covey_value_call(covey_value_global("m", "f"), covey_value_tuple());
    covey_value_append(object, dict);
    covey_value_put_str(object, "key", covey_value_float(1));
    covey_value_put_state(object, covey_value_tuple());
    r = covey_value_append(list, object);
    if (r == 0)
        r = covey_value_check(list);
    covey_value_free(list);
    return r;
}

TEST(makers_without_memory_lose_nothing)
{
    fail_each(use_makers);
}

static int use_copies(void)
{
    covey_value *value = NULL, *copy = NULL, *dict = NULL, *object = NULL;
    int r = covey_value_pack(&value, "[i, s, (d, {s: i}), y#, O]", 1, "text", 1.5,
                             "key", 2, "\0", (size_t)1, covey_value_none());

    if (r == 0)
        r = covey_value_unpack(value, "[* ]");
    if (r == 0 && !(copy = covey_value_copy(value)))
        r = covey_value_check(NULL);
    if (r == 0 &&
        !(dict = covey_value_copy(covey_value_at(covey_value_at(value, 2), 1))))
        r = covey_value_check(NULL);
    if (r == 0)
        r = covey_value_extend(copy, dict);
    if (r == 0)
        r = covey_value_append(copy, copy ? covey_value_ref(dict) : NULL);
    covey_value_free(value);
    covey_value_free(copy);
    covey_value_free(dict);
    if (r == 0)
        r = covey_value_pack(&value, "(N, N)", covey_value_global("m", "C"),
                             covey_value_tuple());
    if (r == 0) {
        object = covey_value_instance(covey_value_ref(covey_value_at(value, 0)),
                                      covey_value_ref(covey_value_at(value, 1)));
        copy = object ? covey_value_copy(object) : NULL;
        r = covey_value_append(copy, covey_value_float(1));
        covey_value_free(value);
        covey_value_free(copy);
        covey_value_free(object);
    }
    return r;
}

TEST(copies_without_memory_lose_nothing)
{
    fail_each(use_copies);
}

static int use_sort(void)
{
    covey_value *list = NULL;
    int r = covey_value_pack(&list, "[d, d, d]", 3.0, 2.0, 1.0);

    if (r == 0)
        r = covey_value_sort(list, 0);
    covey_value_free(list);
    return r;
}

TEST(sorting_without_memory_loses_nothing)
{
    fail_each(use_sort);
}

static int use_pickles(void)
{
    covey_value *value = NULL, *again = NULL, *shared = covey_value_list();
    struct covey_bytes bytes = {0};
    int r = covey_value_pack(
        &value, "[O, O, N, N, N, N, N, {s: i, i: s}]", shared, shared,
        covey_value_complex(1, 2), covey_value_range(1, 2, 3),
        covey_value_slice(covey_value_none(), covey_value_none(), covey_value_none()),
        covey_value_bytearray("x", 1), shared, "a", 1, 2, "b");

    if (r == 0)
        r = covey_value_append(
            value, covey_value_call(covey_value_global("m", "f"), covey_value_tuple()));
    for (int i = 0; i < 100 && r == 0; i++) { /* more references than fit at first */
        covey_value *part = covey_value_tuple();

        covey_value_append(part, covey_value_none());
        covey_value_append(value, covey_value_ref(part));
        r = covey_value_append(value, part);
    }
    if (r == 0)
        r = covey_value_pickle(value, &bytes);
    if (r == 0)
        r = covey_value_unpickle(&again, bytes.data, bytes.size, NULL);
    CHECK(r < 0 || covey_value_equal(value, again));
    if (r == 0)
        r = covey_value_repr(again, &bytes);
    covey_value_free(value);
    covey_value_free(again);
    covey_bytes_free(&bytes);
    return r;
}

TEST_TIMEOUT(pickles_without_memory_lose_nothing, 120)
{
    fail_each(use_pickles);
}

static int use_old_pickle(void)
{
    static const char old[] =
        "((lp0\nI1\naL99999999999999999999999L\naF1.5\naS'x'\naV\\u00e9\n"
        "ac__builtin__\nset\n((lI7\natRac_codecs\nencode\n(Vx\nVlatin1\ntRa"
        "c__builtin__\nbytearray\n(Vx\nVlatin-1\ntRa(im\nC\n(dVa\nI1\nsba("
        "cm\nC\nI1\noat.";
    covey_value *value = NULL;
    int r = covey_value_unpickle(&value, old, sizeof(old) - 1, NULL);

    covey_value_free(value);
    return r;
}

TEST(old_pickles_without_memory_lose_nothing)
{
    fail_each(use_old_pickle);
}

/* ---- limits ------------------------------------------------------------------ */

/* Read with a limit: the result, and never more memory than that. */
static int read_within(const void *data, size_t size, size_t limit)
{
    covey_value *value = NULL;
    size_t before = live_bytes;
    int r;

    most_bytes = live_bytes;
    r = covey_value_unpickle(&value, data, size,
                             COVEY_UNPICKLE_OPTS(.max_memory = limit));
    CHECK_LE(most_bytes - before, limit);
    covey_value_free(value);
    CHECK_EQ(live_bytes, before);
    return r;
}

TEST(reading_keeps_within_every_memory_limit)
{
    struct covey_bytes bytes = {0};
    covey_value *list, *value;
    size_t limit = 1;
    int r;

    use_allocator();
    list = numbers(50);
    for (int i = 0; i < 30; i++) {
        CHECK_OK(covey_value_pack(&value, "[i, {s: d, i: z}, (N), s, N]", i, "key", 1.5,
                                  1, NULL,
                                  covey_value_int_text("0x123456789abcdef0123456"),
                                  "text of some length", covey_value_set()));
        CHECK_OK(covey_value_append(list, value));
    }
    CHECK_OK(covey_value_pickle(list, &bytes));
    for (r = -EMSGSIZE; r == -EMSGSIZE; limit += 97) {
        r = read_within(bytes.data, bytes.size, limit);
        if (r == -EMSGSIZE)
            CHECK_STR_HAS(covey_error_detail(), "more memory than the limit");
    }
    CHECK_OK(r);
    CHECK_GT(limit, 5000);
    CHECK_LT(limit, 100000);
    covey_value_free(list);
    covey_bytes_free(&bytes);
}

TEST(sizes_that_are_only_claimed_cost_nothing)
{
    static const char *const claims[] = {"X\xff\xff\xff\x7f",
                                         "B\xff\xff\xff\xff",
                                         "\x8b\xff\xff\xff\x7f",
                                         "Nr\xff\xff\xff\x7f",
                                         "\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
                                         "\x96\xff\xff\xff\xff\xff\xff\xff\x7f"};

    use_allocator();
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++)
        CHECK_EQ(read_within(claims[i], strlen(claims[i]), 1000), COVEY_EPICKLE);
}

TEST(depth_is_limited)
{
    covey_value *value = nested(20), *again = NULL;
    struct covey_bytes bytes = {0};
    static char deep[3000];

    CHECK_OK(covey_value_pickle(value, &bytes));
    CHECK_ERR(covey_value_unpickle(&again, bytes.data, bytes.size,
                                   COVEY_UNPICKLE_OPTS(.max_depth = 19)),
              -EMSGSIZE);
    CHECK_STR_HAS(covey_error_detail(), "deeper than 19");
    CHECK_OK(covey_value_unpickle(&again, bytes.data, bytes.size,
                                  COVEY_UNPICKLE_OPTS(.max_depth = 20)));
    covey_value_free(value);
    covey_value_free(again);
    covey_bytes_free(&bytes);
    again = NULL;
    memset(deep, ')', 1);
    memset(deep + 1, '\x85', sizeof(deep) - 2);
    deep[sizeof(deep) - 1] = '.';
    CHECK_ERR(covey_value_unpickle(&again, deep, sizeof(deep), NULL), -EMSGSIZE);
    CHECK_STR_HAS(covey_error_detail(), "deeper than 1000");
    CHECK(!again);
}

/* A pickle of a tuple of twice the one before, `levels` times, each memoized. */
static size_t make_bomb(char *data, int levels)
{
    size_t size = 0;

    data[size++] = 'N';
    for (int i = 0; i < levels; i++) {
        data[size++] = '2';
        data[size++] = '\x86';
    }
    data[size++] = '.';
    return size;
}

TEST(what_unfolds_to_too_much_is_refused)
{
    covey_value *value = NULL;
    char bomb[300];

    CHECK_ERR(covey_value_unpickle(&value, bomb, make_bomb(bomb, 100), NULL),
              -EMSGSIZE);
    CHECK_STR_HAS(covey_error_detail(), "more values than the limit of 67108864");
    CHECK_ERR(covey_value_unpickle(&value, bomb, make_bomb(bomb, 10),
                                   COVEY_UNPICKLE_OPTS(.max_count = 2045)),
              -EMSGSIZE);
    CHECK_OK(covey_value_unpickle(&value, bomb, make_bomb(bomb, 10),
                                  COVEY_UNPICKLE_OPTS(.max_count = 2046)));
    covey_value_free(value);
}

static size_t put_ops(char *to, const char *ops, size_t size)
{
    memcpy(to, ops, size);
    return size;
}

/* Two tuples of 2^20 parts that are equal but not the same, as keys by turns. */
TEST(comparing_keys_does_not_take_forever)
{
    static char data[100000];
    size_t size = put_ops(data, "}", 1);
    covey_value *value = NULL;

    for (int key = 0; key < 2; key++) {
        size += make_bomb(data + size, 20) - 1;
        size += put_ops(data + size, key ? "q\1\60" : "q\0\60", 3);
    }
    while (size < sizeof(data) - 10)
        size += put_ops(data + size, "h\0Nsh\1Ns", 8);
    data[size++] = '.';
    CHECK_ERR(covey_value_unpickle(&value, data, size, NULL), -EMSGSIZE);
    CHECK_STR_HAS(covey_error_detail(), "comparing its keys takes too long");
    CHECK(!value);
}

enum { LONG = 100000, BUSY = 2 * LONG + 50 };

/* Read 200 KB, of which what follows the first `size` bytes repeats `ops`. */
static int read_repeated(char *data, size_t size, const char *ops, size_t ops_size)
{
    covey_value *value = NULL;
    int r;

    while (size < BUSY - ops_size - 1)
        size += put_ops(data + size, ops, ops_size);
    data[size++] = '.';
    r = covey_value_unpickle(&value, data, size, NULL);
    covey_value_free(value);
    return r;
}

/* A sequence of 100000 times None, made by `end` and noted under a number. */
static size_t put_long(char *to, const char *begin, const char *end, char number)
{
    size_t size = put_ops(to, begin, strlen(begin));

    memset(to + size, 'N', LONG);
    size += LONG;
    size += put_ops(to + size, end, strlen(end));
    size += put_ops(to + size, "q", 1);
    to[size++] = number;
    return size;
}

/* A few bytes each that have all of a long value gone through: they make and drop what
 * takes next to no memory. */
TEST(going_through_long_values_again_and_again_is_refused)
{
    static const char *const calls[] = {"set", "frozenset", "list"};
    static char data[BUSY];

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        size_t size = (size_t)sprintf(data,
                                      "\x80\x02"
                                      "c__builtin__\n%s\nq",
                                      calls[i]);

        data[size++] = 0;
        size += put_long(data + size, "](", "e\x85", 1);
        CHECK_ERR(read_repeated(data, size, "h\0h\1R0", 6), -EMSGSIZE);
        CHECK_STR_HAS(covey_error_detail(), "it takes too many steps");
    }
}

TEST(encoding_a_long_text_again_and_again_is_refused)
{
    static const char begin[] = "\x80\x02"
                                "c_codecs\nencode\nq\0X\xa0\x86\1\0";
    static char data[BUSY];
    size_t size = put_ops(data, begin, sizeof(begin) - 1);

    memset(data + size, 'x', LONG);
    size += LONG;
    size += put_ops(data + size, "X\6\0\0\0latin1\x86q\1", 14);
    CHECK_ERR(read_repeated(data, size, "h\0h\1R0", 6), -EMSGSIZE);
    CHECK_STR_HAS(covey_error_detail(), "it takes too many steps");
}

/* The items of equal keys may be the same: it is their number that takes time. */
TEST(comparing_long_keys_of_the_same_items_is_refused)
{
    static char data[2 * BUSY];
    size_t size = put_long(data, "(", "t", 0);

    size += put_long(data + size, "(", "t", 1);
    size += put_ops(data + size, "}h\0Ns", 5);
    covey_value *value = NULL;

    while (size < sizeof(data) - 10)
        size += put_ops(data + size, "h\1Ns", 4);
    data[size++] = '.';
    CHECK_ERR(covey_value_unpickle(&value, data, size, NULL), -EMSGSIZE);
    CHECK_STR_HAS(covey_error_detail(), "comparing its keys takes too long");
    CHECK(!value);
}

TEST(many_keys_that_collide_in_python_are_read_at_once)
{
    covey_value *dict = covey_value_dict();
    struct covey_bytes bytes = {0};

    for (int i = 1; i <= 20000; i++) { /* multiples of 2^61 - 1 hash to 0 there */
        unsigned char number[12] = {0};
        __extension__ unsigned __int128 product =
            (__extension__(unsigned __int128) i) * ((UINT64_C(1) << 61) - 1);

        memcpy(number, &product, sizeof(number));
        CHECK_OK(covey_value_put(dict, covey_value_int_bytes(number, sizeof(number)),
                                 covey_value_none()));
    }
    CHECK_OK(covey_value_pickle(dict, &bytes));
    covey_value_free(dict);
    CHECK_OK(covey_value_unpickle(&dict, bytes.data, bytes.size, NULL));
    CHECK_EQ(covey_value_count(dict), 20000);
    covey_value_free(dict);
    covey_bytes_free(&bytes);
}

CHECK_MAIN()
