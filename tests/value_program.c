/* SPDX-License-Identifier: MIT */
/*
 * Answers questions about values, so that CPython can check the answers: see
 * value/differential. Reads requests, a letter, a size and so many bytes, and writes for
 * each a code, a size and so many bytes. Numbers have 4 bytes, lowest first.
 *
 *   P pickle               the same value as pickle
 *   B pickle               the same, after being rebuilt piece by piece
 *   R pickle               its repr
 *   C tuple of two         whether they are equal, their order, and hashes
 *   G seed, 8 bytes        a value made at random: its pickle
 *   T seed, 8 bytes        the repr of the same
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <covey.h>

/* ---- random values ------------------------------------------------------------- */

static uint64_t seed;

static uint64_t next_random(void)
{
    seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = seed;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static unsigned below(unsigned limit)
{
    return (unsigned)(next_random() % limit);
}

static covey_value *random_int(void)
{
    unsigned char bytes[600];
    size_t size = below(8) ? below(12) : below(sizeof(bytes));

    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(below(6) ? next_random() : below(2) * 255);
    return covey_value_int_bytes(bytes, size);
}

static double random_double(void)
{
    static const double special[] = {0.0,   -0.0,   1.0,     0.1,    1e16,     1e-5,
                                     1e300, 5e-324, 1.0 / 3, 2.5e15, 123456.0, 1e22};
    union {
        uint64_t bits;
        double number;
    } any = {.bits = next_random()};

    if (below(3) == 0)
        return special[below(sizeof(special) / sizeof(special[0]))];
    if (below(2))
        return (double)(int)below(2000) / (double)(1 + below(100));
    return any.number - any.number == 0 ? any.number : 1.5;
}

static covey_value *random_text(unsigned kind)
{
    static const unsigned starts[] = {0x20,   0x41,   0xa0,    0x3b1,    0x2028,
                                      0xd800, 0xfff0, 0x1f600, 0x10fff0, 0};
    char text[400];
    size_t size = 0, length = below(10) ? below(12) : below(90);

    for (size_t i = 0; i < length; i++) {
        unsigned c = starts[below(10)] + below(15);

        if (kind != COVEY_VALUE_STR || c < 0x80) {
            text[size++] = (char)c;
        } else if (c < 0x800) {
            text[size++] = (char)(0xc0 | c >> 6);
            text[size++] = (char)(0x80 | (c & 0x3f));
        } else if (c < 0x10000) {
            text[size++] = (char)(0xe0 | c >> 12);
            text[size++] = (char)(0x80 | (c >> 6 & 0x3f));
            text[size++] = (char)(0x80 | (c & 0x3f));
        } else {
            text[size++] = (char)(0xf0 | c >> 18);
            text[size++] = (char)(0x80 | (c >> 12 & 0x3f));
            text[size++] = (char)(0x80 | (c >> 6 & 0x3f));
            text[size++] = (char)(0x80 | (c & 0x3f));
        }
    }
    return kind == COVEY_VALUE_STR     ? covey_value_str_size(text, size)
           : kind == COVEY_VALUE_BYTES ? covey_value_bytes(text, size)
                                       : covey_value_bytearray(text, size);
}

static covey_value *random_plain(void)
{
    switch (below(9)) {
    case 0:
        return covey_value_none();
    case 1:
        return covey_value_bool((int)below(2));
    case 2:
        return covey_value_int((int)below(600) - 300);
    case 3:
        return random_int();
    case 4:
        return covey_value_float(random_double());
    case 5:
        return covey_value_complex(random_double(), random_double());
    case 6:
        return covey_value_range((int)below(9), (int)below(99), (int)below(5) + 1);
    default:
        return random_text(COVEY_VALUE_STR + below(2));
    }
}

static covey_value *random_value(int depth, bool key);

static covey_value *random_seq(int depth, bool key)
{
    covey_value *seq = key || below(2) ? covey_value_tuple() : covey_value_list();

    for (unsigned n = below(6); n > 0; n--)
        covey_value_append(seq, random_value(depth - 1, key));
    return seq;
}

static covey_value *random_keys(int depth, bool frozen)
{
    covey_value *keys = frozen     ? covey_value_frozenset()
                        : below(3) ? covey_value_dict()
                                   : covey_value_set();
    bool dict = covey_value_kind(keys) == COVEY_VALUE_DICT;

    for (unsigned n = below(14); n > 0; n--) {
        covey_value *key = random_value(depth - 1, true);

        if (dict)
            covey_value_put(keys, key, random_value(depth - 1, false));
        else
            covey_value_add(keys, key);
    }
    return keys;
}

static covey_value *random_exception(int depth)
{
    static const char *const names[] = {"ValueError", "KeyError", "OSError"};
    covey_value *args = covey_value_tuple(), *error;

    covey_value_append(args, random_value(depth - 1, false));
    error = covey_value_call(covey_value_global("builtins", names[below(3)]), args);
    if (below(2)) {
        covey_value *state = covey_value_dict();

        covey_value_put_str(state, "note", random_value(depth - 1, false));
        covey_value_put_state(error, state);
    }
    return error;
}

static covey_value *random_value(int depth, bool key)
{
    covey_value *pair[2];

    if (depth <= 0 || below(3) == 0)
        return random_plain();
    switch (below(key ? 2 : 6)) {
    case 0:
        return random_seq(depth, key);
    case 1:
        return random_keys(depth, key);
    case 2:
        return covey_value_slice(random_plain(), covey_value_none(), random_plain());
    case 3:
        pair[0] = random_value(depth - 1, false); /* the same one twice */
        pair[1] = covey_value_ref(pair[0]);
        return covey_value_pack(&pair[0], "[N, N]", pair[0], pair[1]) < 0 ? NULL
                                                                          : pair[0];
    case 4:
        return below(3) ? random_text(COVEY_VALUE_BYTEARRAY) : random_exception(depth);
    default:
        return random_seq(depth, key);
    }
}

/* ---- rebuilding ---------------------------------------------------------------- */

static covey_value *rebuild(const covey_value *value);

static covey_value *rebuild_container(const covey_value *value)
{
    enum covey_kind kind = covey_value_kind(value);
    covey_value *copy = kind == COVEY_VALUE_LIST    ? covey_value_list()
                        : kind == COVEY_VALUE_TUPLE ? covey_value_tuple()
                        : kind == COVEY_VALUE_DICT  ? covey_value_dict()
                        : kind == COVEY_VALUE_SET   ? covey_value_set()
                                                    : covey_value_frozenset();
    const covey_value *key, *item;
    size_t position = 0;

    while (covey_value_next(value, &position, &key, &item)) {
        if (kind == COVEY_VALUE_LIST || kind == COVEY_VALUE_TUPLE)
            covey_value_append(copy, rebuild(key));
        else if (item)
            covey_value_put(copy, rebuild(key), rebuild(item));
        else
            covey_value_add(copy, rebuild(key));
    }
    return copy;
}

static covey_value *rebuild_object(const covey_value *value)
{
    struct covey_object parts;
    const covey_value *key, *item;
    covey_value *copy;
    size_t position = 0;

    if (covey_value_get_object(value, &parts) < 0)
        return NULL;
    copy = parts.calls
               ? covey_value_call(rebuild(parts.callable), rebuild(parts.args))
               : covey_value_instance(rebuild(parts.callable), rebuild(parts.args));
    if (parts.kwargs)
        covey_value_put_kwargs(copy, rebuild(parts.kwargs));
    if (parts.state)
        covey_value_put_state(copy, rebuild(parts.state));
    while (covey_value_next(parts.items, &position, &key, NULL))
        covey_value_append(copy, rebuild(key));
    for (position = 0; covey_value_next(parts.pairs, &position, &key, &item);)
        covey_value_put(copy, rebuild(key), rebuild(item));
    return copy;
}

static covey_value *rebuild_text(const covey_value *value)
{
    struct covey_view view;
    const char *text;

    if (covey_value_get_str(value, &text, &view.size) == 0)
        return covey_value_str_size(text, view.size);
    if (covey_value_get_bytes(value, &view) < 0)
        return NULL;
    return covey_value_kind(value) == COVEY_VALUE_BYTES
               ? covey_value_bytes(view.data, view.size)
               : covey_value_bytearray(view.data, view.size);
}

static covey_value *rebuild_number(const covey_value *value)
{
    struct covey_bytes bytes = {0};
    covey_value *copy = NULL;
    double real, imag;

    if (covey_value_kind(value) == COVEY_VALUE_INT) {
        if (covey_value_get_int_bytes(value, &bytes) == 0)
            copy = covey_value_int_bytes(bytes.data, bytes.size);
        covey_bytes_free(&bytes);
        return copy;
    }
    if (covey_value_get_complex(value, &real, &imag) < 0)
        return NULL;
    return covey_value_kind(value) == COVEY_VALUE_FLOAT
               ? covey_value_float(real)
               : covey_value_complex(real, imag);
}

static covey_value *rebuild(const covey_value *value)
{
    const covey_value *start, *stop, *step;
    const char *module, *name;
    int64_t numbers[3];

    switch (covey_value_kind(value)) {
    case COVEY_VALUE_NONE:
    case COVEY_VALUE_BOOL:
        return covey_value_ref(value);
    case COVEY_VALUE_INT:
    case COVEY_VALUE_FLOAT:
    case COVEY_VALUE_COMPLEX:
        return rebuild_number(value);
    case COVEY_VALUE_STR:
    case COVEY_VALUE_BYTES:
    case COVEY_VALUE_BYTEARRAY:
        return rebuild_text(value);
    case COVEY_VALUE_SLICE:
        if (covey_value_get_slice(value, &start, &stop, &step) < 0)
            return NULL;
        return covey_value_slice(rebuild(start), rebuild(stop), rebuild(step));
    case COVEY_VALUE_RANGE:
        if (covey_value_get_range(value, &numbers[0], &numbers[1], &numbers[2]) < 0)
            return NULL;
        return covey_value_range(numbers[0], numbers[1], numbers[2]);
    case COVEY_VALUE_GLOBAL:
        return covey_value_get_global(value, &module, &name) < 0
                   ? NULL
                   : covey_value_global(module, name);
    case COVEY_VALUE_OBJECT:
        return rebuild_object(value);
    default:
        return rebuild_container(value);
    }
}

/* ---- requests ------------------------------------------------------------------ */

static int compare(const covey_value *pair, struct covey_bytes *ret)
{
    const covey_value *a = covey_value_at(pair, 0), *b = covey_value_at(pair, 1);
    enum covey_order order = COVEY_ORDER_NONE;
    uint64_t hash_a = 0, hash_b = 0;
    int ordered = covey_value_compare(a, b, &order) == 0;
    int hashed_a = covey_value_hash(a, &hash_a) == 0;
    int hashed_b = covey_value_hash(b, &hash_b) == 0;
    int r = covey_bytes_resize(ret, 100);

    if (r < 0)
        return r;
    ret->size =
        (size_t)sprintf(ret->data, "%d %d %d %d %d", covey_value_equal(a, b),
                        ordered ? (int)order : 9, hashed_a, hashed_b, hash_a == hash_b);
    return 0;
}

static int answer(char letter, const void *data, size_t size, struct covey_bytes *ret)
{
    covey_value *value = NULL, *copy = NULL;
    int r = 0;

    if (letter == 'G' || letter == 'T') {
        memcpy(&seed, data, sizeof(seed));
        value = random_value(4, false);
        r = covey_value_check(value);
    } else {
        r = covey_value_unpickle(&value, data, size, NULL);
    }
    if (r == 0 && letter == 'B')
        copy = rebuild(value);
    if (r == 0 && (letter == 'R' || letter == 'T'))
        r = covey_value_repr(value, ret);
    else if (r == 0 && letter == 'C')
        r = compare(value, ret);
    else if (r == 0)
        r = covey_value_pickle(copy ? copy : value, ret);
    covey_value_free(value);
    covey_value_free(copy);
    return r;
}

int main(void)
{
    struct covey_bytes data = {0}, ret = {0};
    uint32_t head[2], size;
    int letter;

    while ((letter = getchar()) != EOF) {
        if (fread(&size, sizeof(size), 1, stdin) != 1 ||
            covey_bytes_resize(&data, (size_t)size + 8) < 0 ||
            fread(data.data, 1, size, stdin) != size)
            return EXIT_FAILURE;
        int r = answer((char)letter, data.data, size, &ret);
        const char *text = r < 0 ? covey_error_detail() : ret.data;

        head[0] = (uint32_t)r;
        head[1] = (uint32_t)(r < 0 ? strlen(text) : ret.size);
        fwrite(head, sizeof(head), 1, stdout);
        fwrite(text, 1, head[1], stdout);
    }
    covey_bytes_free(&data);
    covey_bytes_free(&ret);
    return ferror(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
