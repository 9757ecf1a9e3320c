/* SPDX-License-Identifier: MIT */
/**
 * object.h: what handles point to, and who holds it.
 *
 * An object is a header of 64 * n bytes (up to 2048) in the objects area, and the runs it
 * owns. Addresses in that area are not used again before all of it was used once, so a
 * handle to a freed object is recognized. An object lives while a member holds it; the
 * last hold's end puts it among the graves, where whoever has the region lock next takes
 * it apart in steps, each of them a transaction.
 *
 * A handle may also point to an inner object, which has no life of its own: it is held and
 * kept by holding and keeping what it lies in. A process has its holds by handle: those of
 * an inner object are not released with the other one, nor the other way round.
 *
 * Of the end of some objects somebody outside has to be told. Who releases the last hold
 * of one does that. If the last hold ends by a death instead, or who releases it leaves that
 * to others, the object is kept among the owed, invisible, until some process takes it, and
 * with it the duty; and again if that one dies.
 */
#ifndef CVY_REGION_OBJECT_H
#define CVY_REGION_OBJECT_H

#include "region/layout.h"

/** What people call an object of that kind. */
const char *cvy_kind_name(uint32_t kind);

/**
 * Make an object of `size` bytes, zeroed, that the calling process holds, and which owns a
 * run of `body` bytes unless that is 0. Takes the region lock.
 * Returns: 0; -ENOMEM with the detail set.
 */
int cvy_object_create(enum cvy_kind kind, uint32_t size, uint32_t flags, uint64_t body,
                      void **out, cvy_ref *ret_body);
/** Another run for an object the caller's process holds. Takes the region lock. */
int cvy_object_add_run(void *object, uint64_t bytes, cvy_ref *ret_ref);
/** Give a run of an object back. Takes the region lock. */
void cvy_object_give_run(cvy_ref ref);

/** Make `inner`, which lies in `object`, at one of its lines, and is zeroed or set by its
 * kind but for the header, an object too; once, before others know it. Takes the lock. */
void cvy_object_embed(void *object, void *inner, enum cvy_kind kind);
/** Let an object the caller's process holds hold another one, once, until its own end: its
 * first 8 bytes are that one's ref then. Takes the region lock. COVEY_EFREED. */
int cvy_object_keep(void *object, void *kept, const char *call);

/** Whether `object` is a living object of that kind. Returns: 0; COVEY_EFREED, -EINVAL
 * with the detail set: "`call`: ...". No lock. */
int cvy_object_check(const void *object, enum cvy_kind kind, const char *call);

/** One more hold for a member. Takes the region lock. COVEY_EFREED, -EINVAL, -ENOMEM. */
int cvy_object_hold(const void *object, uint32_t member, const char *call);
/** Let all who come with one id share an object: `*ret_object` receives the living one of
 * `mine`'s kind that has it, in the 8 bytes at offset `at`, and the calling process holds it
 * once more; or `mine`, which has the id then. Takes the lock, and looks at all objects.
 * -ENOMEM. */
int cvy_object_join(void *mine, size_t at, uint64_t id, void **ret_object);
/** One hold of the calling process less; -EINVAL if it has none. Takes the lock. */
int cvy_object_release(void *object);
/** The same, but not the last one of this process. Returns: 1; 0: it has only one, and
 * still has; -EINVAL. */
int cvy_object_release_spare(void *object);
/** The same; `*ret_last`: whether it was the last of all, so that the object is gone. */
int cvy_object_release_told(void *object, bool *ret_last);
/** The same, but the last one leaves it among the owed, if somebody is to be told. */
int cvy_object_release_owing(void *object, bool *ret_last);
/** From now on somebody has to be told of the end of its last hold. Takes the lock. */
void cvy_object_owe(void *object);
/** An object of that kind which nobody was told of, if `is_it` says yes: the calling
 * process holds it now, once, and releases it. `is_it` runs under the lock. NULL: there is
 * none, or no memory for the hold. Takes the lock. */
void *cvy_object_take_owed(enum cvy_kind kind,
                           bool (*is_it)(const void *object, const void *context),
                           const void *context);
/** Set a flag of the head, for ever. Takes the lock. */
void cvy_head_flag(enum cvy_head_flag flag);
/** Some object of that kind that the calling process holds; NULL: none. Takes the lock. */
void *cvy_object_held(enum cvy_kind kind);
/** Which living members hold the object, and whether others than the caller's process ever
 * did: flags. Takes the lock. */
enum cvy_held {
    CVY_HELD_BY_ME = 1,
    CVY_HELD_BY_OTHERS = 2,
    CVY_HELD_BY_OTHERS_ONCE = 4
};
unsigned cvy_object_who_holds(const void *object);
/** Whether the living member `owner` holds it. Takes the lock. */
bool cvy_object_is_held_by(const void *object, uint32_t owner);
/** Whether others have held the object, and none of them lives and holds it. Takes the
 * lock. */
bool cvy_object_is_lonely(const void *object);
/** Let `to` hold all that `from` holds, but for private objects. -ENOMEM. */
int cvy_holds_copy(uint32_t from, uint32_t to);

/* Region lock held: */
/** Drop the first of a member's holds, wholly. */
void cvy_hold_drop_first(uint32_t member_index);
/** One step of taking apart the first of the graves, committed. */
void cvy_graves_dig(void);

#endif
