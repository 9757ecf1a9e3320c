/* SPDX-License-Identifier: MIT */
/**
 * layout.h: everything that lies in the family's shared memory.
 *
 *   offset 0                                                              reservation
 *   | head | slots | members | object pages | objects | run table | heap ............ |
 *     |      |       |         |              |         |           |
 *     |      |       |         |              |         |           runs of 4 KiB pages
 *     |      |       |         |              |         one cvy_run per heap page
 *     |      |       |         |              what handles point to; addresses are not
 *     |      |       |         |              reused before the whole area was used once
 *     |      |       |         live objects per page of `objects`
 *     |      |       one record per process, its identity and what it holds
 *     |      one record per attached thread, its life word and journals
 *     locks, bell, gong, undo log, allocator's and tables' heads
 *
 * The file is sparse: a page that nobody touched has no memory. Structs use offsets from
 * the region's start ("ref", 0 = none) and fixed-width types, so that an outside tool can
 * map it anywhere.
 *
 * Who may write: what is marked [R] only under the region lock (head.lock) and through
 * the undo log (undo.h), so that a writer's death at any instruction changes nothing;
 * [own] only the thread or process it belongs to; [cas] anyone, by compare-and-swap.
 */
#ifndef CVY_REGION_LAYOUT_H
#define CVY_REGION_LAYOUT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "os/os.h"

#define CVY_MAGIC  UINT64_C(0x59455641434f4331)
#define CVY_LAYOUT 4u
#define CVY_PAGE   4096u

/** An offset from the region's start; 0 is none. */
typedef uint64_t cvy_ref;

/*
 * Owner words: who holds a lock, in 32 bits.
 *
 *   31        30           29  28........16  15..........0
 *   WAITERS   (kernel's)   1   generation    slot or member
 *
 * Bit 29 is set in every owner, so that none equals a thread id (at most 2^22) and the
 * kernel, which compares the low 30 bits with one, never mistakes it for a robust futex.
 * The generation tells apart those who use one record after each other.
 */
#define CVY_WAITERS              0x80000000u
#define CVY_OWNER_BIT            0x20000000u
#define CVY_OWNER_MASK           0x3fffffffu
#define CVY_GENERATIONS          0x2000u
#define CVY_INDEX_OF(owner)      ((owner)&0xffffu)
#define CVY_GENERATION_OF(owner) (((owner) >> 16) & (CVY_GENERATIONS - 1))
#define CVY_OWNER(index, generation)                                                   \
    (CVY_OWNER_BIT | ((uint32_t)(generation) << 16) | (uint32_t)(index))

/*
 * The word of a slot or member, who uses it: state << 48 | generation << 32 | thread or
 * process id.
 */
static inline uint64_t cvy_user_word(uint32_t state, uint32_t generation, int id)
{
    return (uint64_t)state << 48 | (uint64_t)generation << 32 | (uint32_t)id;
}
static inline uint32_t cvy_user_state(uint64_t word)
{
    return (uint32_t)(word >> 48);
}
static inline uint32_t cvy_user_generation(uint64_t word)
{
    return (uint32_t)(word >> 32) & (CVY_GENERATIONS - 1);
}
static inline int cvy_user_id(uint64_t word)
{
    return (int)(uint32_t)word;
}

/* The word once nobody uses it any more: free (0), and of the next generation. */
static inline uint64_t cvy_user_left(uint64_t word)
{
    return cvy_user_word(0, (cvy_user_generation(word) + 1) & (CVY_GENERATIONS - 1), 0);
}

enum cvy_slot_state { CVY_SLOT_FREE = 0, CVY_SLOT_CLAIMED, CVY_SLOT_ATTACHED };

/*
 * A thread. The claim is one compare-and-swap of `word` that says who claims.
 * `life` is a robust mutex, locked at attach and unlocked at an orderly end only: the
 * kernel sets FUTEX_OWNER_DIED in its first word when the thread ends in any other way.
 */
struct cvy_slot {
    union {
        pthread_mutex_t life; /* [own] */
        unsigned char life_room[48];
    };
    _Atomic uint64_t word; /* [cas] from FREE; [own] after; [R] back to FREE if dead */
    uint32_t member;       /* [R] owner word of its process, 0 before it is linked */
    uint32_t next, previous; /* [R] + 1, in the member's list of slots */
    uint32_t aside;          /* [R] 1: a thread of covey's own, which does not count */
    _Atomic uint64_t waits_for;   /* [own] ref of what it sleeps on, 0 = awake */
    _Atomic uint64_t waits_since; /* [own] monotonic ns */
    uint64_t journal[5];          /* [own] of operations outside the region lock */
};
_Static_assert(sizeof(struct cvy_slot) == 128, "two cache lines");

enum cvy_member_state {
    CVY_MEMBER_FREE = 0,
    CVY_MEMBER_STARTING, /* made by its starter; the process does not run covey yet */
    CVY_MEMBER_RUNNING,  /* attached */
    CVY_MEMBER_ENDED,    /* left in order; exit_status is valid */
    CVY_MEMBER_DEAD      /* found dead and swept */
};

/*
 * A process. In `word`, STARTING -> RUNNING is a compare-and-swap of the child, STARTING ->
 * DEAD one of who finds the starter dead: one of them wins, and a child that loses ends at
 * once.
 */
struct cvy_member {
    _Atomic uint64_t word;
    uint32_t starter;   /* [R] owner word of the member that started it, 0 none */
    uint32_t next_free; /* [R] + 1, in the list of free members */
    uint32_t slots;     /* [R] + 1, first of its slots */
    uint32_t witness; /* [R] owner word of the slot whose life stands for it, 0 none */
    /* [own], and its starter's: a time after its start, in ticks since boot */
    _Atomic uint64_t known_ticks;
    cvy_ref process;       /* [R] its process object, 0 none */
    cvy_ref holds;         /* [R] first of its hold nodes */
    cvy_ref extents;       /* [R] first of the runs it has in its hands */
    int32_t exit_status;   /* [own] before ENDED */
    uint32_t thread_count; /* [R] of the program's threads */
    uint32_t shared_holds; /* [R] hold nodes of objects that are not private */
    char name[60];         /* [own], and [R] while STARTING */
};
_Static_assert(sizeof(struct cvy_member) == 128, "members share no cache line");

/*
 * What every object starts with; the rest of it is its kind's, 64 * n bytes in all. In it
 * there may be an inner object, such as a value's own lock, which is handed out too: its
 * size is 0, and all who hold it hold what it lies in.
 */
struct cvy_object {
    _Atomic uint32_t kind; /* [R] enum cvy_kind; anything else: freed */
    uint32_t size;         /* [R] bytes, a multiple of 64, header included; 0: inner */
    uint32_t holds;        /* [R] holds of all members */
    uint32_t flags;        /* [R] enum cvy_object_flag */
    cvy_ref holders;       /* [R] first of its hold nodes */
    cvy_ref runs;          /* [R] first of the runs it owns; inner: what it lies in */
    uint64_t run_pages;    /* [R] pages of those */
    cvy_ref grave; /* [R] next in head.graves or head.owed, once nobody holds it */
};
_Static_assert(sizeof(struct cvy_object) == 48, "leaves 16 bytes of the first line");

enum cvy_kind {
    CVY_KIND_PROCESS = 0x50524f43,
    CVY_KIND_POOL = 0x504f4f4c,
    CVY_KIND_SERVER = 0x53525652,
    CVY_KIND_LOCK = 0x4c4f434b,
    CVY_KIND_RLOCK = 0x524c434b,
    CVY_KIND_SEMAPHORE = 0x53454d41,
    CVY_KIND_BOUNDED_SEMAPHORE = 0x42534d41,
    CVY_KIND_CONDITION = 0x434f4e44,
    CVY_KIND_EVENT = 0x45564e54,
    CVY_KIND_BARRIER = 0x42415252,
    CVY_KIND_SHARED_VALUE = 0x56414c55,
    CVY_KIND_ARRAY = 0x41525241,
    CVY_KIND_QUEUE = 0x51554555,
    CVY_KIND_JOINABLE_QUEUE = 0x4a515545,
    CVY_KIND_SIMPLE_QUEUE = 0x53515545,
    CVY_KIND_PIPE = 0x50495045,
    CVY_KIND_CONN = 0x434f4e4e,
    CVY_KIND_STREAM = 0x5354524d,
    CVY_KIND_MANAGER = 0x4d414e41,
    CVY_KIND_PROXY = 0x50524f58,
    CVY_KIND_LANE = 0x4c414e45,
    CVY_KIND_TEST = 0x54455354,
    CVY_KIND_GRAVE = 0x47524156, /* unheld, being taken apart */
    /* added to its kind: in head.owed, or held by who tells of its end */
    CVY_KIND_OWED = 0x20000000
};
static inline bool cvy_kind_is_living(uint32_t kind)
{
    return kind && kind != CVY_KIND_GRAVE && !(kind & CVY_KIND_OWED);
}
enum cvy_object_flag {
    CVY_OBJECT_PRIVATE = 1, /* children are not born holding it */
    CVY_OBJECT_KEEPS = 2,   /* it holds another one, whose ref follows the header [R] */
    CVY_OBJECT_SHARED = 4,  /* more than one member has held it */
    CVY_OBJECT_OWES = 8,    /* somebody has to be told of its last hold's end */
    CVY_OBJECT_INNER = 256  /* times n: its inner object begins at its line n > 0 */
};

/* One member's hold of one object, in both their lists, for one of its handles. */
struct cvy_hold {
    cvy_ref object;
    cvy_ref handle;  /* the object, or its inner one */
    uint32_t member; /* index */
    uint32_t count;
    cvy_ref member_next, member_previous;
    cvy_ref object_next, object_previous;
    uint64_t reserved;
};
_Static_assert(sizeof(struct cvy_hold) == 64, "the smallest block");

enum cvy_run_state {
    CVY_RUN_NONE = 0, /* not the first page of a run */
    CVY_RUN_FREE,
    CVY_RUN_TAIL,   /* last page of a free run of `pages` > 1 */
    CVY_RUN_OBJECT, /* owned by an object */
    CVY_RUN_MEMBER, /* in the hands of a member */
    CVY_RUN_SPAN,   /* divided into blocks of one size */
    CVY_RUN_LIMBO   /* free, its memory is being given back by `owner` */
};

/* Heap pages that belong together; the entry of a run's first page describes it. */
struct cvy_run {
    uint32_t pages;
    uint16_t state;
    uint16_t dirty;          /* it may have memory though it is free */
    uint32_t next, previous; /* page + 1, in a bin, an owner's list or limbo */
    cvy_ref owner;           /* object's ref, member's owner word, slot's owner word */
    uint64_t size;           /* bytes asked for */
};
_Static_assert(sizeof(struct cvy_run) == 32, "half a cache line");

/* A run of CVY_SPAN_PAGES cut into blocks of one size; this is at its start. */
#define CVY_SPAN_PAGES 4u
#define CVY_CLASSES    6u /* 64, 128 ... 2048 bytes */
struct cvy_span {
    uint32_t size_class;
    uint32_t free_blocks;
    cvy_ref next, previous; /* spans of this class with free blocks */
    uint64_t used[4];       /* a bit per block */
    uint64_t reserved;
};
_Static_assert(sizeof(struct cvy_span) == 64, "one block of the smallest class");

#define CVY_BINS     32u
#define CVY_UNDO_MAX 1000u

/* What a word was before a transaction changed it; `where` = ref | log2(bytes) & 3 */
struct cvy_undo {
    uint64_t where, old;
};

struct cvy_head {
    uint64_t magic;
    uint32_t layout;
    uint32_t flags; /* enum cvy_head_flag */
    uint64_t base, reservation;
    uint64_t device, inode;
    uint64_t slice; /* ns */
    uint64_t budget;
    uint32_t slot_limit, member_limit;
    cvy_ref slots, members, object_pages, objects, runs, heap;
    uint64_t object_bytes, heap_pages;
    unsigned char build_id[32]; /* of the program that founded it, zero-padded */
    unsigned char fixed_room[512 - 200];

    /* Waiting (wait.h). Lines of their own: every sleeper's kernel reads them. */
    _Alignas(
        64) cvy_word bell; /* only the kernel wakes here; never changes, low bits 0 */
    _Alignas(64) cvy_word gong; /* + 1 for each ring that was heard */

    _Alignas(64) cvy_word lock; /* the region lock, owner word of a slot */
    _Atomic uint32_t undo_count;

    /* [cas] */
    _Alignas(64) _Atomic uint32_t slot_cursor;
    _Atomic uint32_t slot_high; /* slots at or above it were never used */
    _Atomic uint64_t deaths;

    /* [R] */
    _Alignas(64) uint32_t member_free, member_free_last; /* + 1, first in first out */
    uint32_t member_high;
    uint32_t member_count, thread_count;
    uint32_t reserved;
    cvy_ref object_next; /* where the next object goes */
    cvy_ref object_high; /* pages at or above it never had one */
    uint64_t object_count;
    cvy_ref graves; /* objects nobody holds, being taken apart */
    cvy_ref owed;   /* those whose end somebody has to tell of before */

    uint64_t heap_top; /* pages at or above it belong to no run */
    uint64_t used_pages;
    uint64_t dirty_pages; /* of free runs */
    uint32_t limbo;       /* page + 1 */
    uint32_t bins[CVY_BINS];
    cvy_ref spans[CVY_CLASSES];

    _Alignas(64) struct cvy_undo undo[CVY_UNDO_MAX];
};
enum cvy_head_flag {
    CVY_HEAD_CORE_DUMP = 1,
    CVY_HEAD_BELL_OFF = 2,
    CVY_HEAD_NO_WAITV = 4,
    CVY_HEAD_PROXIES = 8 /* [R] some member has made a proxy of a manager's object */
};

/** The family's memory in this process; NULL while there is none. */
extern struct cvy_head *cvy_head;

/** Whether any of these is set: a mask of enum cvy_head_flag. */
static inline bool cvy_head_has(uint32_t flags)
{
    return __atomic_load_n(&cvy_head->flags, __ATOMIC_ACQUIRE) & flags;
}

/** Where `ref` is in this process; it must not be 0. */
static inline void *cvy_at(cvy_ref ref)
{
    return (char *)cvy_head + ref;
}
static inline cvy_ref cvy_ref_of(const void *p)
{
    return p ? (cvy_ref)((const char *)p - (const char *)cvy_head) : 0;
}
static inline struct cvy_slot *cvy_slot_at(uint32_t index)
{
    return (struct cvy_slot *)cvy_at(cvy_head->slots) + index;
}
static inline struct cvy_member *cvy_member_at(uint32_t index)
{
    return (struct cvy_member *)cvy_at(cvy_head->members) + index;
}

#endif
