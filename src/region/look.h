/* SPDX-License-Identifier: MIT */
/**
 * look.h: reading a family's memory without being part of it, at whatever address it is
 * mapped. Each kind of object says how it looks; nothing here writes or locks, and what is
 * read may be half-changed, so no reference is followed outside of the map.
 */
#ifndef CVY_REGION_LOOK_H
#define CVY_REGION_LOOK_H

#include <stddef.h>

#include "region/layout.h"

/** Write what state an object is in; `text` holds at least 160 bytes. */
typedef void cvy_look_fn(const struct cvy_head *head, const struct cvy_object *object,
                         char *text, size_t size);

/** Objects of `kind` have their name at `name_at` (0: none), of at most `name_size`
 * bytes; `look` may be NULL. Called by constructors. */
void cvy_look_register(enum cvy_kind kind, size_t name_at, size_t name_size,
                       cvy_look_fn *look);

/** What `ref` names, NULL if that is outside of the map. */
const void *cvy_look_at(const struct cvy_head *head, cvy_ref ref);
/** "Process-1 (pid 12)". */
void cvy_look_member(const struct cvy_head *head, uint32_t owner, char *text,
                     size_t size);
/** The member of a slot's thread, 0 if that has ended. */
uint32_t cvy_look_member_of(const struct cvy_head *head, uint32_t slot_owner);

#endif
