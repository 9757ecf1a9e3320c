/* SPDX-License-Identifier: MIT */
/*
 * A program for values: each byte is a step that makes, changes, shares or looks at one of
 * a few values, and memory may run out once. Whatever it does, what comes out can be
 * pickled and read again, equal, and no memory is lost.
 */
#include <errno.h>

#include "fuzz.h"

enum { SLOTS = 8 };

struct machine {
    const uint8_t *at, *end;
    covey_value *slots[SLOTS];
};

static unsigned next(struct machine *m, unsigned limit)
{
    return m->at < m->end ? *m->at++ % limit : 0;
}

static const void *next_bytes(struct machine *m, size_t *size)
{
    const uint8_t *bytes;

    *size = next(m, 24);
    bytes = m->at;
    if (*size > (size_t)(m->end - m->at))
        *size = (size_t)(m->end - m->at);
    m->at += *size;
    return bytes;
}

static covey_value *make_text(struct machine *m, unsigned kind)
{
    char text[32] = "";
    size_t size;
    const void *bytes = next_bytes(m, &size);

    memcpy(text, bytes, size);
    switch (kind) {
    case 0:
        return covey_value_str_size(text, size);
    case 1:
        return covey_value_bytes(bytes, size);
    case 2:
        return covey_value_bytearray(bytes, size);
    case 3:
        return covey_value_int_bytes(bytes, size);
    case 4:
        return covey_value_int_text(text);
    case 5:
        return covey_value_global(text, "name");
    default: {
        double number;

        memcpy(&number, text, sizeof(number));
        return covey_value_float(number);
    }
    }
}

static covey_value *copy_of(struct machine *m)
{
    return covey_value_ref(m->slots[next(m, SLOTS)]);
}

static covey_value *make(struct machine *m)
{
    unsigned kind = next(m, 20);
    covey_value *value = NULL;
    covey_value *parts[2];

    switch (kind) {
    case 0:
        return covey_value_list();
    case 1:
        return covey_value_tuple();
    case 2:
        return covey_value_dict();
    case 3:
        return covey_value_set();
    case 4:
        return covey_value_frozenset();
    case 5:
        parts[0] = copy_of(m);
        return covey_value_slice(parts[0], covey_value_none(), covey_value_int(1));
    case 6:
        return covey_value_range((int)next(m, 9) - 4, next(m, 9), (int)next(m, 5) - 2);
    case 7:
        parts[0] = covey_value_global("m", "f");
        return covey_value_call(parts[0], copy_of(m));
    case 8:
        parts[0] = copy_of(m);
        return covey_value_instance(parts[0], covey_value_tuple());
    case 9:
        parts[0] = copy_of(m);
        parts[1] = copy_of(m);
        return covey_value_pack(&value, "(N, {s: N, i: d})", parts[0], "key", parts[1],
                                5, 0.5) < 0
                   ? NULL
                   : value;
    case 10:
        return copy_of(m);
    case 11:
        return covey_value_copy(m->slots[next(m, SLOTS)]);
    case 12:
        return covey_value_complex(next(m, 3), next(m, 3));
    default:
        return make_text(m, kind - 13);
    }
}

static void change(struct machine *m, covey_value *value)
{
    covey_value *part, *out = NULL;

    switch (next(m, 13)) {
    case 0:
        covey_value_append(value, copy_of(m));
        break;
    case 1:
        covey_value_extend(value, m->slots[next(m, SLOTS)]);
        break;
    case 2:
        covey_value_insert(value, next(m, 9), copy_of(m));
        break;
    case 3:
        covey_value_put_at(value, next(m, 9), copy_of(m));
        break;
    case 4:
        (void)covey_value_take_at(value, next(m, 9), &out);
        break;
    case 5:
        (void)covey_value_sort(value, (int)next(m, 2));
        break;
    case 6:
        part = copy_of(m);
        covey_value_put(value, part, copy_of(m));
        break;
    case 7:
        covey_value_put_str(value, "key", copy_of(m));
        break;
    case 8:
        covey_value_add(value, copy_of(m));
        break;
    case 9:
        (void)covey_value_take(value, m->slots[next(m, SLOTS)], &out);
        break;
    case 10:
        covey_value_put_state(value, copy_of(m));
        break;
    case 11:
        covey_value_put_kwargs(value, copy_of(m));
        break;
    default:
        covey_value_clear(value);
    }
    covey_value_free(out);
}

static void look(struct machine *m, const covey_value *value)
{
    const covey_value *other = m->slots[next(m, SLOTS)], *key;
    enum covey_order order, back;
    uint64_t hash, other_hash;
    size_t position = 0, count = 0;
    int equal = covey_value_equal(value, other);

    MUST(equal == covey_value_equal(other, value));
    if (covey_value_compare(value, other, &order) == 0) {
        MUST(covey_value_compare(other, value, &back) == 0);
        MUST(back ==
             (order == COVEY_ORDER_NONE ? order : (enum covey_order) - (int)order));
        MUST(equal == (order == COVEY_ORDER_EQUAL));
    }
    if (equal && covey_value_hash(value, &hash) == 0 &&
        covey_value_hash(other, &other_hash) == 0)
        MUST(hash == other_hash);
    while (covey_value_next(value, &position, &key, NULL)) {
        MUST(covey_value_has(value, key));
        count++;
    }
    MUST(!position || count == covey_value_count(value));
}

/* Drop a value that unfolds to much: walking it would take the fuzzer's time. */
static void keep_small(covey_value **slot)
{
    struct covey_unpickle_opts opts = {.size = sizeof(opts), .max_count = 500};
    struct covey_bytes pickle = {0};
    covey_value *again = NULL;
    size_t saved = until_failure;

    until_failure = SIZE_MAX;
    if (*slot &&
        (covey_value_pickle(*slot, &pickle) < 0 ||
         covey_value_unpickle(&again, pickle.data, pickle.size, &opts) == -EMSGSIZE)) {
        covey_value_free(*slot);
        *slot = NULL;
    }
    covey_value_free(again);
    covey_bytes_free(&pickle);
    until_failure = saved;
}

/* A whole value survives being pickled. */
static void check(const covey_value *value)
{
    struct covey_bytes pickle = {0}, second = {0};
    covey_value *again = NULL;

    if (value && covey_value_check(value) == 0) {
        MUST(covey_value_pickle(value, &pickle) == 0);
        int r = covey_value_unpickle(&again, pickle.data, pickle.size, NULL);

        /* Kept apart by nothing but identity, or too much when unfolded. */
        MUST(r == 0 || r == -ENOTSUP || r == -EMSGSIZE || r == COVEY_EPICKLE);
        if (r == 0) {
            MUST(covey_value_pickle(again, &second) == 0);
            MUST(second.size == pickle.size &&
                 !memcmp(second.data, pickle.data, pickle.size));
        }
    }
    covey_value_free(again);
    covey_bytes_free(&pickle);
    covey_bytes_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine m = {.at = data, .end = data + size};

    use_allocator();
    if (size > 2000)
        return 0;
    until_failure = next(&m, 256);
    until_failure = until_failure == 0 ? SIZE_MAX : until_failure;
    while (m.at < m.end) {
        unsigned slot = next(&m, SLOTS);

        switch (next(&m, 4)) {
        case 0: {
            covey_value *made = make(&m);

            covey_value_free(m.slots[slot]);
            m.slots[slot] = made;
            break;
        }
        case 1:
        case 2:
            change(&m, m.slots[slot]);
            break;
        default:
            look(&m, m.slots[slot]);
        }
        keep_small(&m.slots[slot]);
    }
    until_failure = SIZE_MAX;
    for (unsigned i = 0; i < SLOTS; i++)
        check(m.slots[i]);
    for (unsigned i = 0; i < SLOTS; i++)
        covey_value_free(m.slots[i]);
    MUST(live_bytes == 0);
    return 0;
}
