/* SPDX-License-Identifier: MIT */
/* Pickles byte for byte: what CPython writes, what is old, what is wrong. Many more come
 * from Python, see value/differential. */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>

#include "value_help.h"

/* A literal that may contain NULs, and its size. */
#define BYTES(literal) (literal), sizeof(literal) - 1

static covey_value *load(const char *data, size_t size)
{
    covey_value *value = NULL;

    CHECK_OK(covey_value_unpickle(&value, data, size, NULL));
    return value;
}

/* Use up a value: as pickle it is just these bytes. */
static void pickles(covey_value *value, const char *data, size_t size)
{
    struct covey_bytes pickle = {0};

    CHECK_OK(covey_value_pickle(value, &pickle));
    CHECK_EQ(pickle.size, size);
    CHECK_MEM_EQ(pickle.data, data, size);
    covey_value_free(value);
    covey_bytes_free(&pickle);
}

/* ---- as CPython writes --------------------------------------------------------- */

TEST(small_pickles_have_no_frame)
{
    pickles(covey_value_int(0), BYTES("\x80\x04K\0."));
    pickles(covey_value_none(), BYTES("\x80\x04N."));
    pickles(covey_value_tuple(), BYTES("\x80\x04)."));
    pickles(covey_value_list(), BYTES("\x80\x04]\x94."));
    pickles(covey_value_int(65535), BYTES("\x80\x04\x95\4\0\0\0\0\0\0\0M\xff\xff."));
}

TEST(manager_messages_are_as_stock_ones)
{
    covey_value *value, *args;

    CHECK_OK(covey_value_pack(&value, "(z, s, (), {})", NULL, "dummy"));
    pickles(value,
            BYTES("\x80\x04\x95\x10\0\0\0\0\0\0\0(N\x8c\5dummy\x94)}\x94t\x94."));
    CHECK_OK(covey_value_pack(&value, "(s, z)", "#RETURN", NULL));
    pickles(value, BYTES("\x80\x04\x95\x0e\0\0\0\0\0\0\0\x8c\7#RETURN\x94N\x86\x94."));
    CHECK_OK(covey_value_pack(&value, "(z, s, (s, [i, i, i]), {})", NULL, "create",
                              "list", 1, 2, 3));
    pickles(value,
            BYTES("\x80\x04\x95\x23\0\0\0\0\0\0\0(N\x8c\6create\x94\x8c\4list\x94]\x94("
                  "K\1K\2K\3e\x86\x94}\x94t\x94."));
    CHECK_OK(covey_value_pack(&args, "(s)", "pop from empty list"));
    CHECK_OK(covey_value_pack(
        &value, "(s, N)", "#ERROR",
        covey_value_call(covey_value_global("builtins", "IndexError"), args)));
    pickles(value,
            BYTES("\x80\x04\x95\x40\0\0\0\0\0\0\0\x8c\6#ERROR\x94\x8c\x08"
                  "builtins\x94\x8c\nIndexError\x94\x93\x94\x8c\x13pop from empty "
                  "list\x94\x85\x94R\x94\x86\x94."));
}

/* What a proxy travels as: a call with a function, an object with a state, a dict. */
static covey_value *make_proxy(void)
{
    static const char managers[] = "multiprocessing.managers";
    covey_value *token, *state, *args;

    token = covey_value_instance(covey_value_global(managers, "Token"),
                                 covey_value_tuple());
    CHECK_OK(covey_value_pack(&state, "(s, (s, i), s)", "dict", "127.0.0.1", 0xaaf3,
                              "7f0000000000"));
    CHECK_OK(covey_value_put_state(token, state));
    CHECK_OK(covey_value_pack(&args, "(N, N, s, {})",
                              covey_value_global(managers, "DictProxy"), token,
                              "pickle"));
    return covey_value_call(covey_value_global(managers, "RebuildProxy"), args);
}

TEST(proxies_are_as_stock_ones)
{
    static const char stock[] =
        "\x80\x04\x95\x86\0\0\0\0\0\0\0\x8c\x18multiprocessing.managers\x94\x8c\x0c"
        "RebuildProxy\x94\x93\x94("
        "h\0\x8c\tDictProxy\x94\x93\x94h\0\x8c\5Token\x94\x93\x94)"
        "\x81\x94\x8c\4dict\x94\x8c\t127.0.0.1\x94M\xf3\xaa\x86\x94\x8c\x0c"
        "7f0000000000\x94\x87\x94"
        "b\x8c\6pickle\x94}\x94t\x94R\x94.";
    struct covey_object parts;
    const covey_value *token;
    covey_value *value;
    const char *text;
    int port;

    pickles(make_proxy(), BYTES(stock));
    value = load(BYTES(stock));
    CHECK_EQ(covey_value_is(value, "multiprocessing.managers", "RebuildProxy"), 1);
    CHECK_OK(covey_value_get_object(value, &parts));
    CHECK_OK(
        covey_value_unpack(parts.args, "(O O s O)", &token, &token, &text, &token));
    CHECK_OK(covey_value_get_object(covey_value_at(parts.args, 1), &parts));
    CHECK_OK(covey_value_unpack(parts.state, "(*)"));
    CHECK_OK(covey_value_unpack(parts.state, "(s (s i) *)", &text, &text, &port));
    CHECK_EQ(port, 0xaaf3);
    pickles(value, BYTES(stock));
}

TEST(shared_values_are_shared_again)
{
    covey_value *list = numbers(1), *value, *again;

    CHECK_OK(covey_value_pack(&value, "[O, N]", list, list));
    pickles(covey_value_ref(value),
            BYTES("\x80\x04\x95\x0c\0\0\0\0\0\0\0]\x94(]\x94K\0ah\1e."));
    again = load(BYTES("\x80\x04]\x94(]\x94K\0ah\1e."));
    CHECK(covey_value_at(again, 0) == covey_value_at(again, 1));
    CHECK(covey_value_equal(value, again));
    covey_value_free(value);
    covey_value_free(again);
}

TEST(a_long_int_is_written_once_however_often_it_is_there)
{
    enum { SIZE = 100000, TIMES = 1000 };
    unsigned char *digits = calloc(1, SIZE);
    covey_value *list = covey_value_list(), *number, *again = NULL;
    struct covey_bytes pickle = {0};

    CHECK(digits);
    digits[SIZE - 1] = 1;
    number = covey_value_int_bytes(digits, SIZE);
    for (int i = 0; i < TIMES; i++)
        CHECK_OK(covey_value_append(list, covey_value_ref(number)));
    CHECK_OK(covey_value_pickle(list, &pickle));
    CHECK_LT(pickle.size, SIZE + 10 * TIMES);
    CHECK_OK(covey_value_unpickle(&again, pickle.data, pickle.size, NULL));
    CHECK_EQ(covey_value_equal(list, again), 1);
    CHECK(covey_value_at(again, 0) == covey_value_at(again, TIMES - 1));
    covey_value_free(again);
    covey_value_free(list);
    covey_value_free(number);
    covey_bytes_free(&pickle);
    free(digits);
}

TEST(batches_and_frames_are_as_stock_ones)
{
    /* 1000 entries are followed by an empty batch in dicts and sets, but not in lists. */
    covey_value *dict = covey_value_dict(), *list = numbers(1000), *text;
    struct covey_bytes pickle = {0};
    static char large[70000];
    const char *end;

    for (int i = 0; i < 1000; i++)
        CHECK_OK(covey_value_put(dict, covey_value_int(i), covey_value_none()));
    CHECK_OK(covey_value_pickle(dict, &pickle));
    end = (const char *)pickle.data + pickle.size;
    CHECK_MEM_EQ(end - 4, "u(u.", 4);
    CHECK_OK(covey_value_pickle(list, &pickle));
    end = (const char *)pickle.data + pickle.size;
    CHECK_MEM_EQ(end - 5,
                 "M\xe7\x03"
                 "e.",
                 5);
    /* A large text stands outside of frames. */
    CHECK_OK(covey_value_pack(&text, "(y#, i)", large, sizeof(large), 1));
    CHECK_OK(covey_value_pickle(text, &pickle));
    CHECK_EQ(pickle.size, 2 + 5 + sizeof(large) + 9 + 6);
    CHECK_MEM_EQ(pickle.data,
                 "\x80\x04"
                 "B\x70\x11\1\0",
                 7);
    end = (const char *)pickle.data + 7 + sizeof(large);
    CHECK_MEM_EQ(end, "\x95\6\0\0\0\0\0\0\0\x94K\1\x86\x94.", 15);
    covey_value_free(dict);
    covey_value_free(list);
    covey_value_free(text);
    covey_bytes_free(&pickle);
}

/* ---- what others write --------------------------------------------------------- */

TEST(old_protocols_are_read)
{
    is(load(BYTES(
           "(lp0\nI1\naI01\naI00\naL123456789012345678901L\naL-5\naF-1.5e3\naNa.")),
       "[1, True, False, 123456789012345678901, -5, -1500.0, None]");
    is(load(BYTES("(S'a\\x41\\n\\'\\101\\q'\nS\"q\"\nT\2\0\0\0okU\1!t.")),
       "(\"aA\\n'A\\\\q\", 'q', 'ok', '!')");
}

TEST(raw_unicode_escapes_are_read)
{
    is(load(BYTES("V\\u0041\\\\u0041\\U0001f600\xe9\\ud800\\\n.")),
       "'A\\\\\\\\u0041\xf0\x9f\x98\x80\xc3\xa9\\ud800\\\\'");
    is(load(BYTES("V\n.")), "''");
}

TEST(floats_are_read_in_any_locale)
{
    setlocale(LC_NUMERIC, "de_DE.UTF-8"); /* where there is one */
    is(load(BYTES("(F1.5\nFinf\nF-Infinity\nFnan\nF.5\nF5.\nF1e400\nF-0.0\nF1E-3\nt.")),
       "(1.5, inf, -inf, nan, 0.5, 5.0, inf, -0.0, 0.001)");
}

TEST(calls_that_stand_for_values_become_values)
{
    is(load(BYTES("c__builtin__\nset\n((lI1\naI1\natR.")), "{1}");
    is(load(BYTES("cbuiltins\nfrozenset\n((I1\nttR.")), "frozenset({1})");
    is(load(BYTES("cbuiltins\nlist\n((I1\nI2\nltR.")), "[1, 2]");
    is(load(BYTES("cbuiltins\nlist\n((I1\nttR.")), "list((1,))");
    is(load(BYTES("\x80\3cbuiltins\nset\n)R.")), "set()");
    is(load(BYTES("c_codecs\nencode\n(V\xe9\\u0000\nVlatin1\ntR.")), "b'\\xe9\\x00'");
    is(load(BYTES("c__builtin__\nbytes\n(tR.")), "b''");
    is(load(BYTES("c__builtin__\nbytearray\n(V\xe9\nVlatin-1\ntR.")),
       "bytearray(b'\\xe9')");
    is(load(BYTES("\x80\4cbuiltins\nbytearray\nC\1x\x85R.")), "bytearray(b'x')");
    is(load(BYTES("\x80\4cbuiltins\nbytearray\n)R.")), "bytearray(b'')");
    is(load(BYTES("\x80\5\x96\2\0\0\0\0\0\0\0ab.")), "bytearray(b'ab')");
    is(load(BYTES("c__builtin__\ncomplex\n(F1\nF-2\ntR.")), "(1-2j)");
    is(load(BYTES("c__builtin__\nxrange\n(I1\nI5\nI2\ntR.")), "range(1, 5, 2)");
    is(load(BYTES("c__builtin__\nslice\n(NI5\nNtR.")), "slice(None, 5, None)");
}

TEST(calls_that_do_not_fit_stay_objects)
{
    is(load(BYTES("cbuiltins\nset\n(I1\ntR.")), "set(1)");
    is(load(BYTES("cbuiltins\nbytearray\n(I5\ntR.")), "bytearray(5)");
    is(load(BYTES("cbuiltins\nbytes\n(I5\ntR.")), "bytes(5)");
    is(load(BYTES("cbuiltins\ncomplex\n(I1\nI2\ntR.")), "complex(1, 2)");
    is(load(BYTES("cbuiltins\nslice\n(I1\ntR.")), "slice(1)");
    is(load(BYTES("cbuiltins\nrange\n(I0\nL9223372036854775808L\nI1\ntR.")),
       "range(0, 9223372036854775808)");
    is(load(BYTES("c_codecs\nencode\n(Vx\nVutf-8\ntR.")),
       "_codecs.encode('x', 'utf-8')");
    is(load(BYTES("cm\nf\n)R)R.")), "m.f()()");
}

TEST(names_of_python_2_are_translated)
{
    is(load(BYTES("cexceptions\nValueError\n(tR.")), "ValueError()");
    is(load(BYTES("cexceptions\nStandardError\n.")), "Exception");
    is(load(BYTES("c__builtin__\nunicode\n.")), "str");
    is(load(BYTES("cQueue\nEmpty\n.")), "queue.Empty");
    is(load(BYTES("\x80\2cmultiprocessing\nTimeoutError\n.")),
       "multiprocessing.context.TimeoutError");
    is(load(BYTES("\x80\3cQueue\nEmpty\n.")), "Queue.Empty");
}

TEST(objects_of_old_protocols_have_their_class)
{
    covey_value *old = load(BYTES("(im\nC\n(dVa\nI1\nsb."));
    covey_value *called = load(BYTES("(cm\nC\nI1\noI2\na."));
    covey_value *plain = load(BYTES("ccopy_reg\n_reconstructor\n(cm\nC\nc__builtin__\n"
                                    "object\nNtR(dVa\nI1\nsb."));

    CHECK_EQ(covey_value_is(old, "m", "C"), 1);
    CHECK_EQ(covey_value_is(called, "m", "C"), 1);
    CHECK_EQ(covey_value_is(plain, "m", "C"), 1);
    CHECK_STR_EQ(covey_value_type(plain), "C");
    is(old, "<m.C() state={'a': 1}>");
    is(called, "<m.C(1) items=[2]>");
    is(plain, "<copyreg._reconstructor(m.C, object, None) state={'a': 1}>");
    is(load(BYTES("cm\nC\n(I1\nI2\nt\x81.")), "m.C(1, 2)");
    is(load(BYTES("cm\nC\n(I1\nt(Vk\nI2\nd\x92.")), "<m.C(1) kwargs={'k': 2}>");
}

TEST(the_stack_works_as_in_python)
{
    is(load(BYTES("I1\nI2\n0.")), "1");
    is(load(BYTES("I1\n(0.")), "1");
    is(load(BYTES("I1\n(I2\nI3\n1.")), "1");
    is(load(BYTES("]I7\n2\x86.")), "(7, 7)");
    is(load(BYTES("(I1\nI2\nl.")), "[1, 2]");
    is(load(BYTES("(I1\nI2\nd.")), "{1: 2}");
    is(load(BYTES("(I1\nI2\n\x91.")), "frozenset({1, 2})");
    is(load(BYTES("\x8f(I1\nI1\n\x90.")), "{1}");
    is(load(BYTES("I5\np3\n0g3\nq\1h\1r\2\0\0\0j\2\0\0\0\x87.")), "(5, 5, 5)");
    is(load(BYTES("I1\n.I2\n.")), "1");
}

TEST(what_follows_the_pickle_is_left_alone)
{
    covey_value *value = NULL;
    size_t size = 0;

    CHECK_OK(covey_value_unpickle(&value, BYTES("\x80\4N.rest"),
                                  COVEY_UNPICKLE_OPTS(.ret_size = &size)));
    CHECK_EQ(size, 4);
    covey_value_free(value);
}

/* ---- what is wrong ------------------------------------------------------------- */

static const struct {
    const char *data;
    size_t size;
    int code;
    const char *detail;
} malformed[] = {
    {BYTES(""), COVEY_EPICKLE, "of 0 bytes, at byte 0: it ends too early"},
    {BYTES("\x80"), COVEY_EPICKLE, "ends too early"},
    {BYTES("\x80\6N."), COVEY_EPICKLE, "protocol 6"},
    {BYTES("N"), COVEY_EPICKLE, "at byte 1: it ends too early"},
    {BYTES("."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("(."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("N\xff."), COVEY_EPICKLE, "at byte 1: 0xff is no opcode"},
    {BYTES("J\1\2\3"), COVEY_EPICKLE, "ends too early"},
    {BYTES("I1"), COVEY_EPICKLE, "ends too early"},
    {BYTES("Ix\n."), COVEY_EPICKLE, "not the text of an int"},
    {BYTES("I010\n."), COVEY_EPICKLE, "begins with 0"},
    {BYTES("L\n."), COVEY_EPICKLE, "not the text of an int"},
    {BYTES("F1,5\n."), COVEY_EPICKLE, "a float that is none"},
    {BYTES("F\n."), COVEY_EPICKLE, "a float that is none"},
    {BYTES("F1e\n."), COVEY_EPICKLE, "a float that is none"},
    {BYTES("Sx\n."), COVEY_EPICKLE, "without quotes"},
    {BYTES("S'\n."), COVEY_EPICKLE, "without quotes"},
    {BYTES("S'\\'\n."), COVEY_EPICKLE, "escape"},
    {BYTES("S'\\xg0'\n."), COVEY_EPICKLE, "escape"},
    {BYTES("S'\xe9'\n."), -ENOTSUP, "Python 2"},
    {BYTES("U\1\xe9."), -ENOTSUP, "Python 2"},
    {BYTES("T\xff\xff\xff\xff."), COVEY_EPICKLE, "negative size"},
    {BYTES("V\\u12\n."), COVEY_EPICKLE, "escape"},
    {BYTES("V\\U00110000\n."), COVEY_EPICKLE, "escape"},
    {BYTES("\x8c\1\xff."), COVEY_EPICKLE, "not UTF-8 at byte 0"},
    {BYTES("X\xff\xff\xff\xff."), COVEY_EPICKLE, "ends too early"},
    {BYTES("\x8d\xff\xff\xff\xff\xff\xff\xff\xff."), COVEY_EPICKLE, "ends too early"},
    {BYTES("\x8b\xff\xff\xff\xff."), COVEY_EPICKLE, "negative size"},
    {BYTES("h\0."), COVEY_EPICKLE, "number 0 is not in the memo"},
    {BYTES("g0\n."), COVEY_EPICKLE, "not in the memo"},
    {BYTES("gx\n."), COVEY_EPICKLE, "number for the memo"},
    {BYTES("p\n."), COVEY_EPICKLE, "number for the memo"},
    {BYTES("Np99999999999999999999\n."), COVEY_EPICKLE, "number for the memo"},
    {BYTES("Nr\xff\xff\xff\xff."), COVEY_EPICKLE, "larger than the pickle"},
    {BYTES("q\0."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("\x94."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("0."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("2."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("1."), COVEY_EPICKLE, "no mark"},
    {BYTES("t."), COVEY_EPICKLE, "no mark"},
    {BYTES("l."), COVEY_EPICKLE, "no mark"},
    {BYTES("N\x86."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("N(\x85."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("(I1\nd."), COVEY_EPICKLE, "key without a value"},
    {BYTES("}(I1\nu."), COVEY_EPICKLE, "key without a value"},
    {BYTES("(Ne."), COVEY_EPICKLE, "below the mark"},
    {BYTES("a."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("Na."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("NNa."), COVEY_EPICKLE, "list items for a value of type NoneType"},
    {BYTES("I5\n(Ne."), COVEY_EPICKLE, "list items for a value of type int"},
    {BYTES("]NNs."), COVEY_EPICKLE, "dict items for a value of type list"},
    {BYTES("NNs."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("Ns."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("](NNu."), COVEY_EPICKLE, "dict items"},
    {BYTES("](N\x90."), COVEY_EPICKLE, "set items"},
    {BYTES("(N\x91(N\x90."), COVEY_EPICKLE, "set items"},
    {BYTES("}]Ns."), COVEY_EPICKLE, "unhashable type: 'list'"},
    {BYTES("(]\x91."), COVEY_EPICKLE, "unhashable"},
    {BYTES("cm\n"), COVEY_EPICKLE, "ends too early"},
    {BYTES("c\xff\nf\n."), COVEY_EPICKLE, "not UTF-8"},
    {BYTES("cm\n\xff\n."), COVEY_EPICKLE, "not UTF-8"},
    {BYTES("NN\x93."), COVEY_EPICKLE, "name is no str"},
    {BYTES("N\x93."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("N)R."), COVEY_EPICKLE, "a call for a value of type NoneType"},
    {BYTES("cm\nf\nNR."), COVEY_EPICKLE, "arguments"},
    {BYTES("cm\nf\n)N\x92."), COVEY_EPICKLE, "arguments"},
    {BYTES("cm\nf\nR."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("(o."), COVEY_EPICKLE, "without a class"},
    {BYTES("(No."), COVEY_EPICKLE, "a call for a value of type NoneType"},
    {BYTES("im\nC\n."), COVEY_EPICKLE, "no mark"},
    {BYTES("NNb."), COVEY_EPICKLE, "a state for a value of type NoneType"},
    {BYTES("Nb."), COVEY_EPICKLE, "stack is empty"},
    {BYTES("cbuiltins\nset\n((lI1\na]atR."), COVEY_EPICKLE, "unhashable"},
    {BYTES("cbuiltins\nrange\n(I0\nI0\nI0\ntR."), COVEY_EPICKLE, "step 0"},
    {BYTES("c_codecs\nencode\n(V\\u0100\nVlatin1\ntR."), COVEY_EPICKLE, "not Latin 1"},
    {BYTES("\x95\5\0\0\0\0\0\0\0N."), COVEY_EPICKLE, "frame is longer"},
    {BYTES("]q\0h\0a."), -ENOTSUP, "a cycle"},
    {BYTES("]q\0(h\0e."), -ENOTSUP, "a cycle"},
    {BYTES("}q\0Nh\0s."), -ENOTSUP, "a cycle"},
    {BYTES("](h\0."), COVEY_EPICKLE, "memo"},
    {BYTES("]\x94]h\0aNa0h\0Na."), -ENOTSUP, "a list changes after"},
    {BYTES("cm\nC\n)\x81q\0h\0b."), -ENOTSUP, "a cycle"},
    {BYTES("cm\nC\n)\x81q\0h\0a."), -ENOTSUP, "a cycle"},
    {BYTES("cm\nC\n)\x81q\0Nh\0s."), -ENOTSUP, "a cycle"},
    {BYTES("cm\nC\n)\x81NbNb."), -ENOTSUP, "two states"},
    {BYTES("cm\nf\n)R0N."), -ENOTSUP, "result of a call is dropped"},
    {BYTES("}(cm\nC\n)\x81Ncm\nC\n)\x81Nu."), -ENOTSUP, "two keys"},
    {BYTES("P1\n."), -ENOTSUP, "persistent"},
    {BYTES("NQ."), -ENOTSUP, "persistent"},
    {BYTES("\x82\1."), -ENOTSUP, "extension"},
    {BYTES("\x83\1\0."), -ENOTSUP, "extension"},
    {BYTES("\x84\1\0\0\0."), -ENOTSUP, "extension"},
    {BYTES("\x97."), -ENOTSUP, "buffers"},
    {BYTES("\x98."), -ENOTSUP, "buffers"},
};

TEST(malformed_pickles_are_refused_with_position_and_reason)
{
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        covey_value *value = NULL;

        CHECK_ERR(
            covey_value_unpickle(&value, malformed[i].data, malformed[i].size, NULL),
            malformed[i].code);
        CHECK_STR_HAS(covey_error_detail(), "pickle of ");
        CHECK_STR_HAS(covey_error_detail(), malformed[i].detail);
        CHECK(!value);
    }
}

TEST(a_result_without_a_place_is_refused)
{
    covey_value *value = covey_value_int(5);

    CHECK_ERR(covey_value_pickle(value, NULL), -EINVAL);
    CHECK_ERR(covey_value_repr(value, NULL), -EINVAL);
    CHECK_ERR(covey_value_get_int_bytes(value, NULL), -EINVAL);
    CHECK_ERR(covey_value_unpickle(NULL, "K\5.", 3, NULL), -EINVAL);
    CHECK_ERR(covey_value_pack(NULL, "(i, N)", 1, value), -EINVAL); /* taken */
}

TEST(numbers_and_texts_without_a_place_are_refused)
{
    covey_value *five = covey_value_int(5), *text = covey_value_str("text");
    covey_value *bytes = covey_value_bytes("b", 1), *number = covey_value_float(0.5);

    CHECK_ERR(covey_value_get_bool(covey_value_bool(1), NULL), -EINVAL);
    CHECK_ERR(covey_value_get_int(five, NULL), -EINVAL);
    CHECK_ERR(covey_value_get_int_in(five, 0, 9, NULL), -EINVAL);
    CHECK_ERR(covey_value_get_uint(five, NULL), -EINVAL);
    CHECK_ERR(covey_value_get_float(number, NULL), -EINVAL);
    CHECK_ERR(covey_value_get_float(five, NULL), -EINVAL);
    CHECK_ERR(covey_value_get_str(text, NULL, NULL), -EINVAL);
    CHECK_ERR(covey_value_get_bytes(bytes, NULL), -EINVAL);
    CHECK_ERR(covey_value_hash(five, NULL), -EINVAL);
    CHECK_ERR(covey_value_compare(five, number, NULL), -EINVAL);
    covey_value_free(text);
    covey_value_free(bytes);
    covey_value_free(number);
}

TEST(parts_without_a_place_are_refused)
{
    double real;
    int64_t start, stop;
    const char *name;
    const covey_value *first, *last;
    covey_value *complex = covey_value_complex(1, 2), *five = covey_value_int(5);
    covey_value *range = covey_value_range(0, 2, 1), *object = NULL;
    covey_value *slice =
        covey_value_slice(covey_value_none(), covey_value_none(), covey_value_none());
    covey_value *global = covey_value_global("os", "getpid");

    CHECK_ERR(covey_value_get_complex(complex, &real, NULL), -EINVAL);
    CHECK_ERR(covey_value_get_complex(five, NULL, &real), -EINVAL);
    CHECK_ERR(covey_value_get_range(range, &start, &stop, NULL), -EINVAL);
    CHECK_ERR(covey_value_get_slice(slice, &first, NULL, &last), -EINVAL);
    CHECK_ERR(covey_value_get_global(global, NULL, &name), -EINVAL);
    object = covey_value_call(global, covey_value_tuple());
    CHECK_ERR(covey_value_get_object(object, NULL), -EINVAL);
    covey_value_free(complex);
    covey_value_free(range);
    covey_value_free(slice);
    covey_value_free(object);
}

TEST(a_format_without_a_place_writes_nothing)
{
    static const char *const formats[] = {"(i, i)", "(i, K)", "(i, d)",
                                          "(i, p)", "(i, O)", "(i, N)"};
    covey_value *pair = NULL, *texts = NULL;
    const char *text = NULL;
    int first = 0;

    CHECK_OK(covey_value_pack(&pair, "(i, i)", 1, 2));
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        CHECK_ERR(covey_value_unpack(pair, formats[i], &first, NULL), -EINVAL);
    CHECK_EQ(first, 0);
    CHECK_OK(covey_value_pack(&texts, "(s, y)", "a", "b"));
    CHECK_ERR(covey_value_unpack(texts, "(s, *)", NULL), -EINVAL);
    CHECK_ERR(covey_value_unpack(texts, "(s#, *)", &text, NULL), -EINVAL);
    CHECK(!text);
    covey_value_free(pair);
    covey_value_free(texts);
}

TEST(nothing_is_pickled_or_read_without_arguments)
{
    struct covey_unpickle_opts opts = {.max_depth = 5};
    struct covey_bytes pickle = {0};
    covey_value *value = NULL;

    CHECK_ERR(covey_value_pickle(NULL, &pickle), -EINVAL);
    CHECK_ERR(covey_value_repr(NULL, &pickle), -EINVAL);
    CHECK_ERR(covey_value_unpickle(&value, NULL, 1, NULL), -EINVAL);
    CHECK_ERR(covey_value_unpickle(&value, NULL, 0, NULL), COVEY_EPICKLE);
    CHECK_STR_HAS(covey_error_detail(),
                  "pickle of 0 bytes, at byte 0: it ends too early");
    CHECK_ERR(covey_value_unpickle(&value, "N.", 2, &opts), -EINVAL);
    CHECK_ERR(
        covey_value_unpickle(&value, "N.", 2, COVEY_UNPICKLE_OPTS(.max_depth = 1001)),
        -EINVAL);
    CHECK(!value);
}

CHECK_MAIN()
