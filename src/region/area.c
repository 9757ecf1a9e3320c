/* SPDX-License-Identifier: MIT */
/* area.c: places for objects, and walking over them; see area.h. */
#include "region/area.h"

#include <errno.h>
#include <string.h>

#include "region/undo.h"

void cvy_object_set_kind(struct cvy_object *object, uint32_t kind)
{
    cvy_set32((uint32_t *)(uintptr_t)&object->kind, kind);
}

static uint32_t *live_on_page(cvy_ref ref)
{
    return (uint32_t *)cvy_at(cvy_head->object_pages) +
           (ref - cvy_head->objects) / CVY_PAGE;
}
static cvy_ref area_end(void)
{
    return cvy_head->objects + cvy_head->object_bytes;
}
static cvy_ref page_start(cvy_ref ref)
{
    return ref - ref % CVY_PAGE;
}

/* The next page without a living object, from `page` on, around the end once. */
static cvy_ref empty_page(cvy_ref page)
{
    for (uint64_t n = cvy_head->object_bytes / CVY_PAGE; n; n--, page += CVY_PAGE) {
        if (page >= area_end())
            page = cvy_head->objects;
        if (!*live_on_page(page))
            return page;
    }
    return 0;
}

int cvy_place_take(uint32_t size, cvy_ref *ret_ref, cvy_ref *ret_left)
{
    cvy_ref at = cvy_head->object_next;
    bool starts_page = at % CVY_PAGE == 0;
    if (starts_page || page_start(at) != page_start(at + size - 1)) {
        cvy_ref left = page_start(at);
        at = empty_page(starts_page ? at : left + CVY_PAGE);
        if (!at)
            return -ENOSPC;
        if (!starts_page && at != left && !*live_on_page(left))
            *ret_left = left;
    }
    if (at % CVY_PAGE == 0) {
        /* who emptied it may have died before it gave the page back */
        memset(cvy_at(at), 0, CVY_PAGE);
        if (at >= cvy_head->object_high)
            cvy_set64(&cvy_head->object_high, at + CVY_PAGE);
    }
    cvy_set64(&cvy_head->object_next, at + size);
    cvy_set32(live_on_page(at), *live_on_page(at) + 1);
    *ret_ref = at;
    return 0;
}

void cvy_place_give(struct cvy_object *object)
{
    cvy_ref ref = cvy_ref_of(object), page = page_start(ref);
    cvy_object_set_kind(object, 0);
    cvy_set32(live_on_page(ref), *live_on_page(ref) - 1);
    bool empty = !*live_on_page(ref) && page != page_start(cvy_head->object_next);
    cvy_commit();
    if (empty)
        (void)cvy_os_punch(cvy_at(page), CVY_PAGE);
}

/* ---- walking ---- */

struct cvy_place_walk cvy_place_begin(void)
{
    return (struct cvy_place_walk){cvy_head->objects, cvy_head->object_count};
}

struct cvy_object *cvy_place_next(struct cvy_place_walk *walk)
{
    while (walk->left && walk->at < area_end()) {
        struct cvy_object *o = cvy_at(walk->at);
        if (!*live_on_page(walk->at) || !o->size || o->size > CVY_OBJECT_LARGEST) {
            walk->at = page_start(walk->at) + CVY_PAGE;
            continue;
        }
        walk->at += o->size;
        uint32_t kind = atomic_load(&o->kind);
        if (!cvy_kind_is_living(kind))
            continue;
        walk->left--;
        return o;
    }
    return NULL;
}
