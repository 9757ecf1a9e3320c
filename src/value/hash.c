/* SPDX-License-Identifier: MIT */
/*
 * Hashes: SipHash-1-3 with a key that the kernel gives each program start, so that keys
 * which come from outside cannot be made to collide. Fork children have the same key.
 *
 * What Python finds equal hashes alike: a number by its value whatever its type, bytes as
 * bytearray, sets without regard to order. The hash of what does not change is kept in
 * the node; hashing a value of shared parts thus looks at each part once.
 */
#include "value/hash.h"

#include <math.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/error.h"
#include "value/heap.h"
#include "value/keys.h"
#include "value/number.h"

/* ---- SipHash-1-3 --------------------------------------------------------------- */

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t word, unsigned by)
{
    return word << by | word >> (64 - by);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

/* 16 random bytes that glibc takes its own secrets from too; SipHash does not tell them.
 * They are copied, as programs that change their title may write over them. */
static const _Atomic uint64_t *get_secret(void)
{
    static _Atomic uint64_t secret[2];
    static atomic_bool known;

    if (!atomic_load_explicit(&known, memory_order_acquire)) {
        const void *random = (const void *)(uintptr_t)getauxval(AT_RANDOM);
        uint64_t words[2] = {0, 0};

        if (random)
            memcpy(words, random, sizeof(words));
        atomic_store_explicit(&secret[0], words[0], memory_order_relaxed);
        atomic_store_explicit(&secret[1], words[1], memory_order_relaxed);
        atomic_store_explicit(&known, true, memory_order_release);
    }
    return secret;
}

/* `what` keeps the kinds of things apart that are hashed. */
static struct sip sip_begin(uint64_t what)
{
    const _Atomic uint64_t *secret = get_secret();
    uint64_t key0 = atomic_load_explicit(&secret[0], memory_order_relaxed);
    uint64_t key1 = atomic_load_explicit(&secret[1], memory_order_relaxed);

    return (struct sip){
        key0 ^ UINT64_C(0x736f6d6570736575), key1 ^ UINT64_C(0x646f72616e646f6d) ^ what,
        key0 ^ UINT64_C(0x6c7967656e657261), key1 ^ UINT64_C(0x7465646279746573)};
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

static void sip_bytes(struct sip *s, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t word;

    for (; size >= 8; size -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        sip_word(s, word);
    }
    word = (uint64_t)size << 56;
    for (size_t i = 0; i < size; i++)
        word |= (uint64_t)bytes[i] << 8 * i;
    sip_word(s, word);
}

/* Never 0, which stands for a hash that is not known. */
static uint64_t sip_end(struct sip *s)
{
    uint64_t hash;

    s->v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(s);
    hash = s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
    return hash ? hash : 1;
}

/* ---- numbers ----------------------------------------------------------------- */

static uint64_t hash_words(uint64_t what, uint64_t a, uint64_t b)
{
    struct sip s = sip_begin(what);

    sip_word(&s, a);
    sip_word(&s, b);
    return sip_end(&s);
}

static uint64_t hash_int(const struct cvy_int *number)
{
    struct sip s = sip_begin(COVEY_VALUE_INT);

    sip_word(&s, number->negative);
    for (size_t i = 0; i < number->size; i++)
        sip_word(&s, number->limbs[i]);
    return sip_end(&s);
}

/* `node` is what tells one nan from another: each is a key of its own. */
static uint64_t hash_double(double number, const void *node)
{
    uint64_t limbs[CVY_DOUBLE_LIMBS], bits;
    struct cvy_int whole;
    double unused;

    if (isnan(number))
        return hash_words(COVEY_VALUE_FLOAT, (uintptr_t)node, 1);
    if (isfinite(number) && modf(number, &unused) == 0) {
        cvy_int_of_double(number, limbs, &whole);
        return hash_int(&whole);
    }
    memcpy(&bits, &number, sizeof(bits));
    return hash_words(COVEY_VALUE_FLOAT, bits, 0);
}

static uint64_t hash_number(const covey_value *value)
{
    const struct cvy_complex *complex = cvy_as_complex(value);
    struct cvy_int number;

    if (cvy_is_integer(value)) {
        cvy_int_of(value, &number);
        return hash_int(&number);
    }
    if (value->kind == COVEY_VALUE_FLOAT)
        return hash_double(cvy_as_float(value)->number, value);
    if (complex->imag == 0)
        return hash_double(complex->real, value);
    return hash_words(COVEY_VALUE_COMPLEX, hash_double(complex->real, value),
                      hash_double(complex->imag, value));
}

static uint64_t hash_range(const struct cvy_range *range)
{
    struct sip s = sip_begin(COVEY_VALUE_RANGE);
    size_t count = covey_value_count(&range->head);

    /* Equal as sequences: what does not matter for few items is left out. */
    sip_word(&s, count);
    sip_word(&s, count ? (uint64_t)range->start : 0);
    sip_word(&s, count > 1 ? (uint64_t)range->step : 0);
    return sip_end(&s);
}

/* ---- compounds ----------------------------------------------------------------- */

uint64_t cvy_hash_text(const void *text, size_t size)
{
    struct sip s = sip_begin(COVEY_VALUE_STR);

    sip_bytes(&s, text, size);
    return sip_end(&s);
}

static uint64_t hash_bytes(const struct cvy_text *text)
{
    struct sip s = sip_begin(COVEY_VALUE_BYTES);

    sip_bytes(&s, text->data, text->size);
    return sip_end(&s);
}

static uint64_t hash_seq(const struct cvy_seq *seq)
{
    struct sip s = sip_begin(seq->base.head.kind);

    for (size_t i = 0; i < seq->count; i++)
        sip_word(&s, cvy_hash(seq->items[i]));
    sip_word(&s, seq->count);
    return sip_end(&s);
}

/* The order of entries does not count, so their hashes are added up. */
static uint64_t hash_table(const struct cvy_keys *table)
{
    bool dict = table->base.head.kind == COVEY_VALUE_DICT;
    const struct cvy_entry *entry;
    size_t position = 0;
    uint64_t sum = 0;

    while ((entry = cvy_keys_next(table, &position)))
        sum +=
            hash_words(COVEY_VALUE_SET, entry->hash, dict ? cvy_hash(entry->value) : 0);
    return hash_words(dict ? COVEY_VALUE_DICT : COVEY_VALUE_SET, sum, table->count);
}

static uint64_t hash_object(const struct cvy_object *object)
{
    const covey_value *parts[] = {object->callable, object->args,  object->kwargs,
                                  object->state,    object->items, object->pairs};
    struct sip s = sip_begin(COVEY_VALUE_OBJECT);

    sip_word(&s, object->calls);
    for (size_t i = 0; i < CVY_ARRAY_SIZE(parts); i++)
        sip_word(&s, parts[i] ? cvy_hash(parts[i]) : 0);
    return sip_end(&s);
}

/* Of what is large enough to keep its hash. */
static uint64_t hash_large(const covey_value *value)
{
    switch (value->kind) {
    case COVEY_VALUE_INT:
        return hash_number(value);
    case COVEY_VALUE_STR:
        return cvy_hash_text(cvy_as_text(value)->data, cvy_as_text(value)->size);
    case COVEY_VALUE_BYTES:
    case COVEY_VALUE_BYTEARRAY:
        return hash_bytes(cvy_as_text(value));
    case COVEY_VALUE_GLOBAL:
        return hash_words(COVEY_VALUE_GLOBAL, cvy_hash(cvy_as_global(value)->module),
                          cvy_hash(cvy_as_global(value)->name));
    case COVEY_VALUE_OBJECT:
        return hash_object(cvy_as_object(value));
    default:
        return cvy_is_seq(value) ? hash_seq(cvy_as_seq(value))
                                 : hash_table(cvy_as_keys(value));
    }
}

/* Where a node keeps its hash. */
static _Atomic uint64_t *place_of_hash(const covey_value *value)
{
    switch (value->kind) {
    case COVEY_VALUE_INT:
        return &cvy_as_big(value)->hash;
    case COVEY_VALUE_STR:
    case COVEY_VALUE_BYTES:
    case COVEY_VALUE_BYTEARRAY:
        return &cvy_as_text(value)->hash;
    case COVEY_VALUE_GLOBAL:
        return &cvy_as_global(value)->hash;
    default:
        return &cvy_as_compound(value)->hash;
    }
}

uint64_t cvy_hash(const covey_value *value)
{
    _Atomic uint64_t *place;
    uint64_t hash;

    if (cvy_is_small(value) || (cvy_is_number(value) && value->kind != COVEY_VALUE_INT))
        return hash_number(value);
    if (value->kind == COVEY_VALUE_NONE)
        return hash_words(COVEY_VALUE_NONE, 0, 0);
    if (value->kind == COVEY_VALUE_RANGE)
        return hash_range(cvy_as_range(value));
    place = place_of_hash(value);
    hash = atomic_load_explicit(place, memory_order_relaxed);
    if (!hash) { /* who computes it at the same time stores the same */
        hash = hash_large(value);
        atomic_store_explicit(place, hash, memory_order_relaxed);
    }
    return hash;
}

const covey_value *cvy_unhashable(const covey_value *value)
{
    const covey_value *found = NULL;
    unsigned kind = cvy_kind(value);
    const struct cvy_seq *seq = cvy_as_seq(value);

    if (!(cvy_flags(value) & CVY_UNHASHABLE))
        return NULL;
    if (kind == COVEY_VALUE_TUPLE || kind == COVEY_VALUE_SLICE) {
        for (size_t i = 0; i < seq->count && !found; i++)
            found = cvy_unhashable(seq->items[i]);
    }
    return found ? found : value;
}

int covey_value_hash(const covey_value *value, uint64_t *ret_hash)
{
    if (!value)
        return cvy_wrong_type(value, "a value");
    if (!ret_hash)
        return cvy_no_place();
    if (cvy_flags(value) & CVY_UNHASHABLE)
        return cvy_fail(COVEY_ETYPE, "value: unhashable type: '%s'",
                        covey_value_type(cvy_unhashable(value)));
    *ret_hash = cvy_hash(value);
    return 0;
}
