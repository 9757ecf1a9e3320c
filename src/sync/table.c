/* SPDX-License-Identifier: MIT */
/* table.c: who uses an object; the layout is drawn in sync.h.
 *
 * An entry is taken by the compare-and-swap that writes its owner, from nobody, or from a
 * dead owner when by the object's own rules it is settled what that had. A chunk is made
 * when all entries that an owner may use are taken: under the region lock, and entered by
 * a compare-and-swap; the one that loses is given back. Who dies between leaves a run that
 * the object owns, so it goes when the object goes. */
#include <errno.h>

#include "base/error.h"
#include "sync/sync.h"

#define FIRST_CHUNK 512u /* entries: one page */
#define PROBES      16u

bool cvy_entry_member_is_dead(void *object, uint64_t entry)
{
    (void)object;
    return cvy_member_is_dead(cvy_entry_owner(entry), false);
}

static uint32_t chunk_entries(uint32_t chunk)
{
    return FIRST_CHUNK << chunk;
}

/* Take `entry` for `owner`. Returns: whether it is the owner's now, or was. */
static bool take(cvy_entry *entry, uint32_t owner, cvy_entry_is_free_fn *is_free,
                 void *object)
{
    uint64_t seen = atomic_load(entry);
    if (cvy_entry_owner(seen) == owner)
        return true;
    if (seen && !is_free(object, seen))
        return false;
    return atomic_compare_exchange_strong(entry, &seen, cvy_entry_of(owner, 0)) ||
           cvy_entry_owner(seen) == owner;
}

/* Look among `count` entries, `distance` bytes apart, from where the owner's index points
 * to. */
static cvy_entry *probe(void *entries, uint32_t count, size_t distance, uint32_t owner,
                        cvy_entry_is_free_fn *is_free, void *object)
{
    uint32_t at = CVY_INDEX_OF(owner), n = count < PROBES ? count : PROBES;
    for (uint32_t i = 0; i < n; i++) {
        cvy_entry *entry = (void *)((char *)entries + (at + i) % count * distance);
        if (is_free ? take(entry, owner, is_free, object)
                    : cvy_entry_owner(atomic_load(entry)) == owner)
            return entry;
    }
    return NULL;
}

/* As cvy_table_search; with `is_free` the first place that is the owner's or free. */
static cvy_entry *search(struct cvy_table *table, uint32_t owner,
                         cvy_entry_is_free_fn *is_free, void *object)
{
    cvy_entry *found = probe(table->first, CVY_TABLE_INLINE, sizeof table->first[0],
                             owner, is_free, object);
    for (uint32_t i = 0; i < CVY_TABLE_CHUNKS && !found; i++) {
        cvy_ref chunk = atomic_load(&table->chunks[i]);
        if (!chunk)
            break;
        found = probe(cvy_at(chunk), chunk_entries(i), sizeof(cvy_entry), owner,
                      is_free, object);
    }
    return found;
}

/* A place before the owner's may have become free since: its own goes first, or it would
 * have two. */
cvy_entry *cvy_table_search(struct cvy_table *table, uint32_t owner,
                            cvy_entry_is_free_fn *is_free, void *object)
{
    cvy_entry *found = search(table, owner, NULL, NULL);
    return found || !is_free ? found : search(table, owner, is_free, object);
}

int cvy_table_grow(struct cvy_table *table, void *object)
{
    for (uint32_t i = 0; i < CVY_TABLE_CHUNKS; i++) {
        cvy_ref none = 0, ref = 0;
        if (atomic_load(&table->chunks[i]))
            continue;
        uint64_t bytes = chunk_entries(i) * sizeof(cvy_entry);
        int r = cvy_object_add_run(object, bytes, &ref);
        if (r < 0)
            return r;
        cvy_entry *entries = cvy_at(ref);
        for (uint32_t k = 0; k < chunk_entries(i); k++)
            atomic_store_explicit(&entries[k], 0, memory_order_relaxed);
        if (!atomic_compare_exchange_strong(&table->chunks[i], &none, ref))
            cvy_object_give_run(ref);
        return 0;
    }
    return cvy_fail(-EAGAIN, "more users of one object than it has room for");
}

cvy_entry *cvy_table_next(struct cvy_table *table, uint32_t *at)
{
    uint32_t base = CVY_TABLE_INLINE;
    for (; *at < CVY_TABLE_INLINE; ++*at)
        if (atomic_load(&table->first[*at].entry))
            return &table->first[(*at)++].entry;
    for (uint32_t i = 0; i < CVY_TABLE_CHUNKS; i++) {
        cvy_ref chunk = atomic_load(&table->chunks[i]);
        if (!chunk)
            break;
        cvy_entry *entries = cvy_at(chunk);
        for (; *at < base + chunk_entries(i); ++*at)
            if (atomic_load(&entries[*at - base]))
                return &entries[(*at)++ - base];
        base += chunk_entries(i);
    }
    return NULL;
}
