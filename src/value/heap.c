/* SPDX-License-Identifier: MIT */
/* Life and death of values; see heap.h and node.h. */
#include "value/heap.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "value/keys.h"
#include "value/list.h"
#include "value/object.h"

/* ---- memory ------------------------------------------------------------------ */

int cvy_heap_charge(struct cvy_heap *heap, size_t size)
{
    if (!heap)
        return 0;
    if (size > heap->limit - heap->used)
        return cvy_fail(-EMSGSIZE, "it needs more memory than the limit of %zu bytes",
                        heap->limit);
    heap->used += size;
    return 0;
}

int cvy_heap_spend(struct cvy_heap *heap, uint64_t steps)
{
    if (!heap)
        return 0;
    if (steps > heap->steps)
        return cvy_fail(-EMSGSIZE, "it takes too many steps");
    heap->steps -= steps;
    return 0;
}

static int no_memory(size_t size)
{
    return cvy_fail(-ENOMEM, "value: no memory for %zu bytes", size);
}

void *cvy_heap_alloc(struct cvy_heap *heap, size_t size)
{
    void *memory;

    if (cvy_heap_charge(heap, size) < 0)
        return NULL;
    memory = size <= PTRDIFF_MAX ? cvy_malloc(size) : NULL;
    if (!memory)
        no_memory(size);
    return memory;
}

int cvy_heap_grow(struct cvy_heap *heap, void *array, size_t old_capacity,
                  size_t capacity, size_t size)
{
    void *old, *grown;
    size_t bytes;
    int r;

    if (__builtin_mul_overflow(capacity, size, &bytes) || bytes > PTRDIFF_MAX)
        return no_memory(SIZE_MAX);
    if ((r = cvy_heap_charge(heap, bytes)) < 0)
        return r;
    memcpy(&old, array, sizeof(old));
    grown = cvy_realloc(old, bytes);
    if (!grown)
        return no_memory(bytes);
    memcpy(array, &grown, sizeof(grown));
    if (heap)
        heap->used -= old_capacity * size; /* both were there for a moment */
    return 0;
}

void *cvy_node(struct cvy_heap *heap, unsigned kind, size_t size)
{
    struct covey_value *node = cvy_heap_alloc(heap, size);

    if (!node)
        return NULL;
    memset(node, 0, size);
    atomic_init(&node->refs, 1);
    node->kind = (uint8_t)kind;
    return node;
}

unsigned cvy_own_flags(unsigned kind)
{
    if (kind == COVEY_VALUE_LIST || kind == COVEY_VALUE_DICT || kind == COVEY_VALUE_SET)
        return CVY_UNHASHABLE;
    return kind == COVEY_VALUE_OBJECT ? CVY_HAS_OBJECT : 0;
}

void *cvy_compound_node(struct cvy_heap *heap, unsigned kind, size_t size)
{
    struct cvy_compound *node = cvy_node(heap, kind, size);

    if (!node)
        return NULL;
    cvy_set_flags(&node->head, cvy_own_flags(kind));
    cvy_set_depth(&node->head, 1);
    return node;
}

/* ---- children ---------------------------------------------------------------- */

enum { INHERITED = CVY_UNHASHABLE | CVY_HAS_OBJECT };

/* A child's depth and weight fit into a parent of this heap. */
static int fits(const struct cvy_heap *heap, unsigned depth, uint64_t weight)
{
    unsigned max_depth = heap ? heap->max_depth : COVEY_VALUE_DEPTH_MAX;

    if (depth > max_depth)
        return cvy_fail(-EMSGSIZE, "value: nested deeper than %u", max_depth);
    if (heap && weight > heap->max_weight)
        return cvy_fail(-EMSGSIZE, "it has more values than the limit of %llu",
                        (unsigned long long)heap->max_weight);
    return 0;
}

int cvy_adopt(struct cvy_heap *heap, struct cvy_compound *parent, covey_value *child)
{
    unsigned depth, flags;
    uint64_t weight;
    int r;

    if (!child)
        return cvy_last_code();
    if (child == &parent->head)
        return cvy_fail(-ENOTSUP, "value: a %s in itself: a cycle",
                        covey_value_type(child));
    if ((r = covey_value_check(child)) < 0)
        return r;
    depth = cvy_settle(child) + 1;
    if (__builtin_add_overflow(parent->weight, cvy_weight(child), &weight) ||
        __builtin_add_overflow(weight, 1, &weight))
        weight = UINT64_MAX;
    if ((r = fits(heap, depth, weight)) < 0)
        return r;
    if (depth > cvy_depth(&parent->head))
        cvy_set_depth(&parent->head, depth);
    parent->weight = weight;
    flags = cvy_flags(child);
    if (cvy_is_compound(child) && !(flags & CVY_CONTAINED))
        cvy_set_flags(child, flags | CVY_CONTAINED);
    /* What an object has is no part of what Python hashes or compares it by. */
    if (parent->head.kind != COVEY_VALUE_OBJECT)
        cvy_set_flags(&parent->head, cvy_flags(&parent->head) | (flags & INHERITED));
    atomic_store_explicit(&parent->hash, 0, memory_order_relaxed);
    return 0;
}

void cvy_disown(struct cvy_compound *parent, covey_value *child)
{
    if (parent->weight != UINT64_MAX)
        parent->weight -= cvy_weight(child) + 1;
    atomic_store_explicit(&parent->hash, 0, memory_order_relaxed);
    if (!cvy_is_compound(child))
        return;
    cvy_set_flags(&parent->head, cvy_flags(&parent->head) | CVY_LOOSE);
    if (atomic_load_explicit(&child->refs, memory_order_acquire) == 1)
        cvy_set_flags(child, cvy_flags(child) & ~(unsigned)CVY_CONTAINED);
}

/* What a parent has, one child more. */
struct sum {
    unsigned depth, flags;
};

static void sum_up(struct sum *sum, const covey_value *child)
{
    unsigned depth = child ? cvy_settle(child) + 1 : 0;

    if (depth > sum->depth)
        sum->depth = depth;
    if (child)
        sum->flags |= cvy_flags(child);
}

static struct sum sum_of(const covey_value *value)
{
    struct sum sum = {.depth = 1, .flags = 0};

    if (cvy_is_seq(value)) {
        for (size_t i = 0; i < cvy_as_seq(value)->count; i++)
            sum_up(&sum, cvy_as_seq(value)->items[i]);
    } else if (cvy_is_keys(value)) {
        const struct cvy_entry *entry;
        size_t position = 0;

        while ((entry = cvy_keys_next(cvy_as_keys(value), &position))) {
            sum_up(&sum, entry->key);
            sum_up(&sum, entry->value);
        }
    } else {
        const struct cvy_object *object = cvy_as_object(value);
        const covey_value *parts[] = {object->callable, object->args,  object->kwargs,
                                      object->state,    object->items, object->pairs};

        for (size_t i = 0; i < CVY_ARRAY_SIZE(parts); i++)
            sum_up(&sum, parts[i]);
        sum.flags = 0;
    }
    sum.flags |= cvy_own_flags(cvy_kind(value));
    return sum;
}

unsigned cvy_settle(const covey_value *value)
{
    covey_value *mine = (covey_value *)(uintptr_t)value;
    struct sum sum;
    unsigned gone;

    /* Several who hold it may do this at once: they find the same. */
    if (cvy_is_small(mine) ||
        !(atomic_load_explicit(&mine->flags, memory_order_acquire) & CVY_LOOSE))
        return cvy_depth(mine);
    sum = sum_of(mine);
    cvy_set_depth(mine, sum.depth);
    gone = CVY_LOOSE | (INHERITED & ~sum.flags);
    atomic_fetch_and_explicit(&mine->flags, (uint8_t)~gone, memory_order_acq_rel);
    return sum.depth;
}

int cvy_changeable(const covey_value *value)
{
    if (atomic_load_explicit(&value->refs, memory_order_acquire) != 1)
        return cvy_fail(COVEY_ESTATE, "value: others hold this %s too, change a copy",
                        covey_value_type(value));
    if (cvy_flags(value) & CVY_CONTAINED)
        return cvy_fail(COVEY_ESTATE, "value: this %s is in another, change a copy",
                        covey_value_type(value));
    return 0;
}

int cvy_takes(covey_value *value, const covey_value *item)
{
    int r = cvy_changeable(value);

    if (r == 0 && item == value)
        r = cvy_stick(value, cvy_fail(COVEY_ESTATE, "value: a %s in itself",
                                      covey_value_type(value)));
    return r;
}

void cvy_refuse(const covey_value *value, covey_value *item)
{
    if (item == value && item && !cvy_is_small(item) &&
        atomic_load_explicit(&item->refs, memory_order_acquire) == 1)
        return;
    covey_value_free(item);
}

int cvy_stick(covey_value *value, int code)
{
    if (!cvy_as_compound(value)->error)
        cvy_as_compound(value)->error = code;
    return code;
}

int cvy_no_place(void)
{
    return cvy_fail(-EINVAL, "value: NULL for the result");
}

int cvy_wrong_type(const covey_value *value, const char *wanted)
{
    if (!value)
        return cvy_fail(-EINVAL, "value: NULL instead of %s", wanted);
    return cvy_fail(COVEY_ETYPE, "value: %s instead of %s", covey_value_type(value),
                    wanted);
}

/* ---- references -------------------------------------------------------------- */

covey_value *covey_value_ref(const covey_value *value)
{
    covey_value *mine = (covey_value *)(uintptr_t)value;

    if (!mine || cvy_is_small(mine) ||
        atomic_load_explicit(&mine->refs, memory_order_relaxed) >= CVY_FOR_EVER)
        return mine;
    atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
    return mine;
}

/* Free a node and what it holds. Recursion ends since depth is bounded. */
static void destroy(covey_value *value)
{
    if (cvy_is_seq(value)) {
        cvy_seq_destroy(cvy_as_seq(value));
    } else if (cvy_is_keys(value)) {
        cvy_keys_destroy(cvy_as_keys(value));
    } else if (value->kind == COVEY_VALUE_OBJECT) {
        cvy_object_destroy(cvy_as_object(value));
    } else if (value->kind == COVEY_VALUE_GLOBAL) {
        covey_value_free(cvy_as_global(value)->module);
        covey_value_free(cvy_as_global(value)->name);
    }
    cvy_free(value);
}

void covey_value_free(covey_value *value)
{
    uint32_t refs;

    if (!value || cvy_is_small(value))
        return;
    refs = atomic_load_explicit(&value->refs, memory_order_acquire);
    if (refs >= CVY_FOR_EVER)
        return;
    /* The only holder needs no atomic subtraction: nobody else can take a reference. */
    if (refs == 1 ||
        atomic_fetch_sub_explicit(&value->refs, 1, memory_order_acq_rel) == 1)
        destroy(value);
}

int covey_value_check(const covey_value *value)
{
    if (!value)
        return cvy_last_code();
    if (!cvy_is_compound(value) || !cvy_as_compound(value)->error)
        return 0;
    if (cvy_as_compound(value)->error == cvy_last_code())
        return cvy_last_code(); /* its detail says more */
    return cvy_fail(cvy_as_compound(value)->error,
                    "value: something could not be added to this %s: %s",
                    covey_value_type(value),
                    covey_strerror(cvy_as_compound(value)->error));
}
