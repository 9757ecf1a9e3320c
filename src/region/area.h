/* SPDX-License-Identifier: MIT */
/**
 * area.h: where objects' headers lie. Places are taken one behind the other, page by page,
 * and pages on which nothing lives only after all of the area was used once: so a handle to
 * a freed object is recognized for long.
 *
 * Everything here needs the region lock.
 */
#ifndef CVY_REGION_AREA_H
#define CVY_REGION_AREA_H

#include "region/layout.h"

#define CVY_OBJECT_LARGEST 2048u

/** An object's place: on the current page, or at the start of the next empty one. Then
 * `*ret_left` is the page that was left if nothing lives on it. -ENOSPC: none is empty. */
int cvy_place_take(uint32_t size, cvy_ref *ret_ref, cvy_ref *ret_left);
/** Give it back, committed, and its page's memory if nothing lives there any more. */
void cvy_place_give(struct cvy_object *object);
void cvy_object_set_kind(struct cvy_object *object, uint32_t kind);

/** How far one has come. Most of the area was never used, and is not touched. */
struct cvy_place_walk {
    cvy_ref at;
    uint64_t left; /* living objects */
};
struct cvy_place_walk cvy_place_begin(void);
/** The next living object; NULL: none. */
struct cvy_object *cvy_place_next(struct cvy_place_walk *walk);

#endif
