/* SPDX-License-Identifier: MIT */
/*
 * Dicts and sets: entries in order of insertion, and an index of them by hash, as
 * CPython's dicts are.
 *
 *     entries   0: a    1: -    2: b    3: c   |  free   |      used 4, count 3
 *     index     . 3 . . 1 . 4 .        places of 2 * capacity; the number of an entry + 1
 *
 * The place of an entry is the first free one from its hash on. Taking one out moves later
 * ones of the same run forward, so that a search ends at the first free place. The entry
 * itself stays as a hole, unless it is the last; holes go when the table is full. A table
 * of few entries has no index and is searched through.
 *
 * Hashes depend on a secret of the process (hash.c), so nobody outside can make keys
 * collide.
 */
#include "value/keys.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "value/compare.h"
#include "value/hash.h"
#include "value/object.h"
#include "value/text.h"

enum { FEW = 8 };
#define MOST ((size_t)1 << 30)

/* ---- the index --------------------------------------------------------------- */

static size_t mask_of(const struct cvy_keys *table)
{
    return 2 * table->capacity - 1;
}

/* The place that says `number`, or the first free one on the way. */
static size_t place_of(const struct cvy_keys *table, uint64_t hash, uint32_t number)
{
    size_t mask = mask_of(table), place = hash & mask;

    while (table->index[place] && table->index[place] != number)
        place = (place + 1) & mask;
    return place;
}

static void unindex(struct cvy_keys *table, size_t entry)
{
    size_t mask = mask_of(table);
    size_t hole = place_of(table, table->entries[entry].hash, (uint32_t)entry + 1);

    for (size_t place = (hole + 1) & mask; table->index[place];
         place = (place + 1) & mask) {
        size_t home = table->entries[table->index[place] - 1].hash & mask;

        /* It may move to the hole if that is not before its home. */
        if (((place - home) & mask) >= ((place - hole) & mask)) {
            table->index[hole] = table->index[place];
            hole = place;
        }
    }
    table->index[hole] = 0;
}

/* ---- searching --------------------------------------------------------------- */

/* Set `*ret` to the number of the entry with this key, or SIZE_MAX. */
static int search(const struct cvy_keys *table, const covey_value *key, uint64_t hash,
                  uint64_t *steps, size_t *ret)
{
    size_t mask = mask_of(table), place = hash & mask, entry = 0;
    int r;

    *ret = SIZE_MAX;
    for (;; entry++, place = (place + 1) & mask) {
        if (table->index) {
            if (!table->index[place])
                return 0;
            entry = table->index[place] - 1;
        } else if (entry == table->used) {
            return 0;
        }
        if (table->entries[entry].hash != hash || !table->entries[entry].key)
            continue;
        r = cvy_same(table->entries[entry].key, key, steps);
        if (r < 0)
            return r;
        if (r) {
            *ret = entry;
            return 0;
        }
    }
}

int cvy_keys_lookup(const struct cvy_keys *table, const covey_value *key, uint64_t hash,
                    uint64_t *steps, const struct cvy_entry **ret)
{
    size_t entry;
    int r = search(table, key, hash, steps, &entry);

    *ret = r < 0 || entry == SIZE_MAX ? NULL : &table->entries[entry];
    return r;
}

/* Pay for hashing a long int for the first time. */
static int spend_for_hash(struct cvy_heap *heap, const covey_value *key)
{
    if (cvy_is_small(key) || key->kind != COVEY_VALUE_INT ||
        atomic_load_explicit(&cvy_as_big(key)->hash, memory_order_relaxed))
        return 0;
    return cvy_heap_spend(heap, cvy_as_big(key)->size / 8);
}

int cvy_keys_get(struct cvy_heap *heap, const struct cvy_keys *table,
                 const covey_value *key, const struct cvy_entry **ret)
{
    int r;

    if (cvy_flags(key) & CVY_UNHASHABLE)
        return cvy_fail(COVEY_ETYPE, "value: unhashable type: '%s'",
                        covey_value_type(cvy_unhashable(key)));
    *ret = NULL;
    if (!table->count)
        return 0;
    if ((r = spend_for_hash(heap, key)) < 0)
        return r;
    return cvy_keys_lookup(table, key, cvy_hash(key), cvy_heap_steps(heap), ret);
}

const struct cvy_entry *cvy_keys_find(const struct cvy_keys *table,
                                      const covey_value *key)
{
    const struct cvy_entry *entry;

    if (!key || cvy_flags(key) & CVY_UNHASHABLE || !table->count)
        return NULL;
    cvy_keys_lookup(table, key, cvy_hash(key), NULL, &entry);
    return entry;
}

const struct cvy_entry *cvy_keys_next(const struct cvy_keys *table, size_t *position)
{
    while (*position < table->used) {
        const struct cvy_entry *entry = &table->entries[(*position)++];

        if (entry->key)
            return entry;
    }
    return NULL;
}

/* ---- growing ----------------------------------------------------------------- */

/* Move the entries together and index them anew. */
static void rebuild(struct cvy_keys *table)
{
    size_t used = 0;

    if (table->index)
        memset(table->index, 0, 2 * table->capacity * sizeof(table->index[0]));
    for (size_t i = 0; i < table->used; i++) {
        if (!table->entries[i].key)
            continue;
        table->entries[used++] = table->entries[i];
        if (table->index)
            table->index[place_of(table, table->entries[used - 1].hash, 0)] =
                (uint32_t)used;
    }
    table->used = used;
}

/* Make room for `capacity` entries, a power of two. */
static int resize(struct cvy_heap *heap, struct cvy_keys *table, size_t capacity)
{
    uint32_t *index = NULL;
    int r;

    if (capacity > MOST)
        return cvy_fail(-ENOMEM, "value: more than %zu keys", MOST);
    if (capacity > FEW &&
        (r = cvy_heap_grow(heap, &index, 0, 2 * capacity, sizeof(*index))) < 0)
        return r;
    r = cvy_heap_grow(heap, &table->entries, table->capacity, capacity,
                      sizeof(table->entries[0]));
    if (r < 0) {
        cvy_free(index);
        return r;
    }
    if (heap && table->index)
        heap->used -= 2 * table->capacity * sizeof(*index);
    cvy_free(table->index);
    table->index = index;
    table->capacity = capacity;
    rebuild(table);
    return 0;
}

/* Make room for one more. */
static int make_room(struct cvy_heap *heap, struct cvy_keys *table)
{
    if (table->used < table->capacity)
        return 0;
    if (table->count < table->capacity / 4 * 3) { /* a quarter at least are holes */
        rebuild(table);
        return 0;
    }
    return resize(heap, table, table->capacity ? table->capacity * 2 : 4);
}

/* ---- changing, inside -------------------------------------------------------- */

struct cvy_keys *cvy_keys_new(struct cvy_heap *heap, unsigned kind)
{
    return cvy_compound_node(heap, kind, sizeof(struct cvy_keys));
}

/* Add an entry that is not there. */
static int add(struct cvy_heap *heap, struct cvy_keys *table, uint64_t hash,
               covey_value *key, covey_value *value)
{
    int r;

    if ((r = make_room(heap && heap->strict ? heap : NULL, table)) < 0 ||
        (r = cvy_adopt(heap, &table->base, key)) < 0)
        return r;
    if (value && (r = cvy_adopt(heap, &table->base, value)) < 0) {
        cvy_disown(&table->base, key);
        return r;
    }
    table->entries[table->used++] = (struct cvy_entry){hash, key, value};
    table->count++;
    if (table->index)
        table->index[place_of(table, hash, 0)] = (uint32_t)table->used;
    return 0;
}

/* Give a key that is there another value. */
static int replace(struct cvy_heap *heap, struct cvy_keys *table,
                   struct cvy_entry *entry, covey_value *key, covey_value *value)
{
    covey_value *old = entry->value;
    int r;

    if (heap && heap->strict && key != entry->key && cvy_flags(key) & CVY_HAS_OBJECT)
        return cvy_fail(-ENOTSUP, "two keys that look the same to covey");
    if (value) {
        if ((r = cvy_adopt(heap, &table->base, value)) < 0)
            return r;
        entry->value = value;
        cvy_disown(&table->base, old);
        covey_value_free(old);
    }
    covey_value_free(key);
    return 0;
}

int cvy_keys_put(struct cvy_heap *heap, struct cvy_keys *table, covey_value *key,
                 covey_value *value)
{
    bool wants_value = table->base.head.kind == COVEY_VALUE_DICT;
    uint64_t hash;
    size_t entry;
    int r;

    if (!key || (!value && wants_value)) {
        r = cvy_last_code();
        goto fail;
    }
    if ((r = covey_value_check(key)) < 0)
        goto fail;
    if (cvy_flags(key) & CVY_UNHASHABLE) {
        r = cvy_fail(COVEY_ETYPE, "value: unhashable type: '%s'",
                     covey_value_type(cvy_unhashable(key)));
        goto fail;
    }
    if ((r = spend_for_hash(heap, key)) < 0)
        goto fail;
    hash = cvy_hash(key);
    r = search(table, key, hash, cvy_heap_steps(heap), &entry);
    if (r < 0)
        goto fail;
    r = entry == SIZE_MAX ? add(heap, table, hash, key, value)
                          : replace(heap, table, &table->entries[entry], key, value);
    if (r == 0)
        return 0;
fail:
    covey_value_free(key);
    covey_value_free(value);
    return r;
}

struct cvy_entry cvy_keys_take(struct cvy_keys *table, const struct cvy_entry *which)
{
    struct cvy_entry entry = *which;
    size_t number = (size_t)(which - table->entries);

    if (table->index)
        unindex(table, number);
    table->entries[number].key = NULL;
    table->entries[number].value = NULL;
    table->count--;
    while (table->used && !table->entries[table->used - 1].key)
        table->used--;
    cvy_disown(&table->base, entry.key);
    if (entry.value)
        cvy_disown(&table->base, entry.value);
    return entry;
}

void cvy_keys_destroy(struct cvy_keys *table)
{
    for (size_t i = 0; i < table->used; i++) {
        covey_value_free(table->entries[i].key);
        covey_value_free(table->entries[i].value);
    }
    cvy_free(table->entries);
    cvy_free(table->index);
}

covey_value *cvy_keys_copy(struct cvy_heap *heap, const struct cvy_keys *table)
{
    struct cvy_keys *copy = cvy_keys_new(heap, table->base.head.kind);
    const struct cvy_entry *entry;
    size_t position = 0;

    if (!copy || !table->count)
        return copy ? &copy->base.head : NULL;
    if (resize(heap, copy, table->capacity) < 0) {
        covey_value_free(&copy->base.head);
        return NULL;
    }
    while ((entry = cvy_keys_next(table, &position))) {
        copy->entries[copy->used] = (struct cvy_entry){
            entry->hash, covey_value_ref(entry->key), covey_value_ref(entry->value)};
        copy->used++;
    }
    copy->count = copy->used;
    rebuild(copy);
    cvy_set_depth(&copy->base.head, cvy_depth(&table->base.head));
    copy->base.weight = table->base.weight;
    cvy_set_flags(&copy->base.head,
                  cvy_flags(&table->base.head) & ~(unsigned)CVY_CONTAINED);
    return &copy->base.head;
}

/* ---- making and reading -------------------------------------------------------- */

static covey_value *new_table(unsigned kind)
{
    struct cvy_keys *table = cvy_keys_new(NULL, kind);

    return table ? &table->base.head : NULL;
}

covey_value *covey_value_dict(void)
{
    return new_table(COVEY_VALUE_DICT);
}

covey_value *covey_value_set(void)
{
    return new_table(COVEY_VALUE_SET);
}

covey_value *covey_value_frozenset(void)
{
    return new_table(COVEY_VALUE_FROZENSET);
}

const covey_value *covey_value_find(const covey_value *dict, const covey_value *key)
{
    const struct cvy_entry *entry;

    if (!cvy_is_kind(dict, COVEY_VALUE_DICT))
        return NULL;
    entry = cvy_keys_find(cvy_as_keys(dict), key);
    return entry ? entry->value : NULL;
}

const covey_value *covey_value_find_str(const covey_value *dict, const char *key)
{
    const struct cvy_keys *table = cvy_as_keys(dict);
    const struct cvy_entry *entry;
    uint64_t hash;

    if (!cvy_is_kind(dict, COVEY_VALUE_DICT) || !key)
        return NULL;
    if (!table->index) {
        for (size_t i = 0; i < table->used; i++) {
            if (cvy_text_is(table->entries[i].key, key))
                return table->entries[i].value;
        }
        return NULL;
    }
    hash = cvy_hash_text(key, strlen(key));
    for (size_t mask = mask_of(table), place = hash & mask; table->index[place];
         place = (place + 1) & mask) {
        entry = &table->entries[table->index[place] - 1];
        if (entry->hash == hash && cvy_text_is(entry->key, key))
            return entry->value;
    }
    return NULL;
}

/* ---- changing ---------------------------------------------------------------- */

/* Put into the table that `container` should be. */
static int put(covey_value *container, bool dict, covey_value *key, covey_value *value)
{
    int r = 0;

    if (!container)
        r = cvy_last_code();
    else if (!cvy_is_keys(container) || dict != (container->kind == COVEY_VALUE_DICT))
        r = cvy_wrong_type(container, dict ? "dict" : "set");
    else if ((r = cvy_takes(container, key)) == 0)
        r = cvy_takes(container, value);
    if (r < 0) {
        cvy_refuse(container, key);
        cvy_refuse(container, value);
        return r;
    }
    r = cvy_keys_put(NULL, cvy_as_keys(container), key, value);
    return r < 0 ? cvy_stick(container, r) : 0;
}

int covey_value_put(covey_value *dict, covey_value *key, covey_value *value)
{
    if (cvy_is_kind(dict, COVEY_VALUE_OBJECT))
        return cvy_object_put_checked(dict, key, value);
    return put(dict, true, key, value);
}

int covey_value_put_str(covey_value *dict, const char *key, covey_value *value)
{
    return covey_value_put(dict, value ? covey_value_str(key) : NULL, value);
}

int covey_value_add(covey_value *set, covey_value *item)
{
    return put(set, false, item, NULL);
}

int covey_value_take(covey_value *container, const covey_value *key, covey_value **out)
{
    const struct cvy_entry *found;
    struct cvy_keys *table;
    struct cvy_entry entry;
    int r;

    if (!container || !cvy_is_keys(container))
        return cvy_wrong_type(container, "dict or set");
    if ((r = cvy_changeable(container)) < 0)
        return r;
    table = cvy_as_keys(container);
    found = cvy_keys_find(table, key);
    if (!found)
        return cvy_fail(-ENOENT, "value: no such key in this %s",
                        covey_value_type(container));
    entry = cvy_keys_take(table, found);
    if (entry.value) { /* of a set the key is what it contains */
        covey_value_free(entry.key);
        entry.key = entry.value;
    }
    if (out)
        *out = entry.key;
    else
        covey_value_free(entry.key);
    return 0;
}
