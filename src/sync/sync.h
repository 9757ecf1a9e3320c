/* SPDX-License-Identifier: MIT */
/**
 * sync/sync.h: how locks, semaphores, conditions, events and barriers lie in shared
 * memory, and what their files share. Every state changes by one atomic store or
 * compare-and-swap under an owner who can be identified; what that leaves half-done when
 * its owner dies is said in the .c file of each.
 */
#ifndef CVY_SYNC_SYNC_H
#define CVY_SYNC_SYNC_H

#include "base/base.h"
#include "os/code.h"
#include "region/layout.h"
#include "region/member.h"
#include "region/object.h"

#include <covey/sync.h>

#define CVY_NAME_BYTES 48

/*
 * A lock or rlock.
 *
 *   |  48: object header  | word | flags | thread | count |   64: line 2   name ...
 *
 * The first cache line has all that an acquire and a release touch.
 */
struct covey_lock {
    struct cvy_object object;
    cvy_word word;  /* owner word: of the member (lock), of the slot (rlock); WAITERS */
    uint32_t flags; /* enum cvy_lock_flag, set at creation */
    _Atomic uint32_t abandoned_to; /* who took it from the dead: owner of `word` then */
    _Atomic uint32_t depth;        /* rlock: [own] times acquired, 1 while it is free.
                                      lock: [own] slot of the thread that acquired it */
    char name[CVY_NAME_BYTES];
    uint64_t reserved[2];
};
_Static_assert(sizeof(struct covey_lock) == 128, "as covey/sync.h says");
struct covey_rlock {
    struct covey_lock lock;
};
enum cvy_lock_flag { CVY_LOCK_HANDOFF = 1 };

/** What a lock that is handed on has for an owner: nobody who can die. */
#define CVY_OWNER_NOBODY CVY_OWNER(0xffffu, CVY_GENERATIONS - 1)

/*
 * Who uses an object, and what it has of it: a table of 64-bit entries. The first few lie
 * in the object, each in a cache line of its own, since its owner may spin on it; the
 * others in chunks, each twice as long as the one before, which are runs of the object. An
 * entry is found by its owner's index, so looking is O(1).
 *
 *   entry:  63 ....... 32   31 30   29 ........ 0
 *           what it has     marks   owner word        0 = free
 */
#define CVY_TABLE_INLINE 8u
#define CVY_TABLE_CHUNKS 8u
typedef _Atomic uint64_t cvy_entry;
struct cvy_table {
    _Atomic cvy_ref chunks[CVY_TABLE_CHUNKS]; /* [cas] from 0; stays */
    struct {
        cvy_entry entry;
        uint64_t line_end[7];
    } first[CVY_TABLE_INLINE];
};

/** Whether nobody needs `entry`, which has an owner, any more. */
typedef bool cvy_entry_is_free_fn(void *object, uint64_t entry);
/** Of members: nobody needs what a dead one had. */
cvy_entry_is_free_fn cvy_entry_member_is_dead;

/** Where an owner's entry is looked for first. */
static inline cvy_entry *cvy_table_first(struct cvy_table *table, uint32_t owner)
{
    return &table->first[CVY_INDEX_OF(owner) % CVY_TABLE_INLINE].entry;
}
/** The owner's entry. With `is_free`: or if it has none one taken for it, with nothing; two
 * threads that do so for one owner at once may take two. NULL: none. */
cvy_entry *cvy_table_search(struct cvy_table *table, uint32_t owner,
                            cvy_entry_is_free_fn *is_free, void *object);
/** Make room for more owners. Returns: 0; -ENOMEM, -EAGAIN, with the detail set. */
int cvy_table_grow(struct cvy_table *table, void *object);
/** The next entry with an owner after `*at` (0 to begin), NULL at the end. */
cvy_entry *cvy_table_next(struct cvy_table *table, uint32_t *at);

static inline uint32_t cvy_entry_owner(uint64_t entry)
{
    return (uint32_t)entry & CVY_OWNER_MASK;
}
static inline uint32_t cvy_entry_has(uint64_t entry)
{
    return (uint32_t)(entry >> 32);
}
static inline uint64_t cvy_entry_of(uint32_t owner, uint32_t has)
{
    return (uint64_t)has << 32 | owner;
}

/* The others. What the bits of their words mean is said in the .c file of each. */
struct covey_event {
    struct cvy_object object;
    cvy_word word; /* [cas] */
    uint32_t reserved[3];
    char name[CVY_NAME_BYTES];
    uint64_t reserved_too[2];
};
_Static_assert(sizeof(struct covey_event) == 128, "as covey/sync.h says");

struct covey_semaphore {
    struct cvy_object object;
    _Atomic uint64_t word;  /* [cas]; [guard] while the guard is taken */
    _Atomic uint32_t asked; /* [cas] see cvy_may_ask */
    _Atomic uint32_t first; /* first value; bit 31, [guard]: it is a signal, for ever */
    _Atomic cvy_ref undo_at;  /* [guard] the entry's ref | ticket, 0 none */
    _Atomic uint64_t undo_to; /* [guard] what the entry was; written before undo_at */
    char name[CVY_NAME_BYTES];
    struct cvy_table holders; /* members; has: permits */
};
_Static_assert(sizeof(struct covey_semaphore) == 704, "as covey/sync.h says");
struct covey_bounded_semaphore {
    struct covey_semaphore semaphore;
};

struct covey_condition {
    struct cvy_object object;
    cvy_ref lock; /* set at creation: its own, or one of the user's, which it keeps */
    _Atomic uint64_t notify;  /* [lock], and [cas] by waiters if the owner is dead:
                                 how many are left << 32 | owner word of the notifier */
    _Atomic uint32_t tickets; /* [lock] the last ticket, never 0 */
    uint32_t reserved[3];
    char name[CVY_NAME_BYTES];
    struct cvy_table waiters; /* slots; has: tickets */
    struct covey_lock own;    /* an rlock, if the user gave no lock */
};
_Static_assert(sizeof(struct covey_condition) == 832, "as covey/sync.h says");

struct covey_barrier {
    struct cvy_object object;
    _Atomic uint64_t state; /* [cas] */
    uint16_t parties;
    uint16_t has_action;    /* 1: `action` follows */
    _Atomic uint32_t asked; /* [cas] see cvy_may_ask */
    int64_t timeout;
    /* it was broken last, for details; written before the state */
    _Atomic uint32_t why;
    _Atomic uint32_t who; /* the member that broke it, if known */
    char name[CVY_NAME_BYTES];
    struct cvy_table arrivals; /* slots */
};
_Static_assert(sizeof(struct covey_barrier) == 704, "as covey/sync.h says");

/* ---- what every call does first ---- */

/** Whether there is nothing to do first: the thread is attached, the object of that kind.
 * Fast paths ask this and leave the rest to a function that calls cvy_sync_enter. */
static inline bool cvy_sync_is_entered(const void *object, enum cvy_kind kind)
{
    const struct cvy_process_page *page = cvy_process_page;
    return page && cvy_thread.epoch &&
           cvy_thread.epoch ==
               atomic_load_explicit(&page->epoch, memory_order_relaxed) &&
           object &&
           atomic_load_explicit(&((const struct cvy_object *)object)->kind,
                                memory_order_relaxed) == (uint32_t)kind;
}

/** Attach, and check that `object` is of that kind. Detail "`call`: ..." on failure. */
static inline int cvy_sync_enter(const void *object, enum cvy_kind kind,
                                 const char *call)
{
    int r = cvy_enter();
    if (cvy_unlikely(r < 0))
        return r;
    if (cvy_likely(object &&
                   atomic_load_explicit(&((const struct cvy_object *)object)->kind,
                                        memory_order_relaxed) == (uint32_t)kind))
        return 0;
    return cvy_object_check(object, kind, call);
}

/** Attach, for a call that makes an object. -EINVAL if `out` is NULL. */
int cvy_sync_begin(const void *out, const char *call);
/** Make an object; its name lies at `name_at`. */
int cvy_sync_create(enum cvy_kind kind, size_t size, const char *name, size_t name_at,
                    void **out);
/** What every free does: release the hold, log what is wrong with the pointer. */
void cvy_sync_free(void *object, enum cvy_kind kind, const char *call);
/** Set `ret_text` to a text, with a NUL behind. */
int cvy_sync_text(struct covey_bytes *ret_text, const char *call, const char *format,
                  ...) COVEY_PRINTF(3, 4);
/** "Process-1 (pid 12)", for details. */
void cvy_sync_member_text(uint32_t member, char *text, size_t size);
/** The member that a slot's thread belongs to, 0 if it has ended. */
uint32_t cvy_sync_member_of(uint32_t slot_owner);

/** The half of a 64-bit word that is slept on: its lower 32 bits. */
static inline cvy_word *cvy_low_half(_Atomic uint64_t *word)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the half comes first");
    return (cvy_word *)(uintptr_t)word;
}

/* ---- locks, for what is built with them ---- */

/** The rest of an acquire whose first attempt failed. Returns: 0, COVEY_ABANDONED,
 * -ETIMEDOUT, -EINTR, without a detail. */
int cvy_lock_take_slowly(struct covey_lock *lock, int64_t deadline);
/** The rest of a release of a word `seen` that somebody may sleep on. */
void cvy_lock_wake_next(struct covey_lock *lock, uint32_t seen);
/** Set the detail: who has the lock, or that a signal came. Returns: `r`. */
int cvy_lock_fail(const struct covey_lock *lock, int r, const char *call);
/** The owner word of who has it; 0: nobody, or one who is dead, so that it is free. */
uint32_t cvy_lock_owner(const struct covey_lock *lock);
/** Whether the caller has it: this process a lock, this thread an rlock. */
bool cvy_lock_is_mine(const struct covey_lock *lock);
bool cvy_lock_is_abandoned(const struct covey_lock *lock);
/** Release it wholly. Returns: what cvy_lock_reacquire needs, which waits for ever and
 * returns 0 or COVEY_ABANDONED. */
uint32_t cvy_lock_release_all(struct covey_lock *lock);
int cvy_lock_reacquire(struct covey_lock *lock, uint32_t depth);
/** What state it is in, for those who look from outside. */
void cvy_lock_look(const struct cvy_head *head, const struct cvy_object *object,
                   char *text, size_t size);
/** Its repr. */
void cvy_lock_text(const struct covey_lock *lock, char *text, size_t size);
int cvy_rlock_acquire(struct covey_lock *lock, covey_nsec timeout, const char *call);
int cvy_rlock_release(struct covey_lock *lock, const char *call);

#endif
