/* SPDX-License-Identifier: MIT */
/**
 * member.h: who is in the family: its processes (members) and their threads (slots), and
 * how one knows that one of them is dead.
 *
 *   process:  FREE -> STARTING -> RUNNING -> ENDED -> FREE     in order
 *                         \----------\-----> DEAD  -> FREE     found dead, swept
 *   thread:   FREE -> CLAIMED -> ATTACHED -> FREE
 *
 * A thread attaches by itself at its first covey call. A process that the program forked
 * on its own attaches as a new member: nothing of its parent's attachment is its own.
 *
 * Lock order: the region lock is innermost; nothing here sleeps under it.
 */
#ifndef CVY_REGION_MEMBER_H
#define CVY_REGION_MEMBER_H

#include "region/layout.h"

/** What a process image knows of itself; zeroed by the kernel in a fork child. */
struct cvy_process_page {
    _Atomic uint32_t busy;  /* a thread is founding or attaching */
    _Atomic uint32_t epoch; /* of this process image, 0 = not attached */
    uint32_t member;        /* its owner word */
    uint32_t pending;       /* the member it is to become at its first covey call */
    uint32_t left;          /* it has left the family and is ending; while busy */
    _Atomic uint32_t owns;  /* it has acquired what others may wait for */
    _Alignas(64) unsigned char room[1024]; /* of the process layer */
};
extern struct cvy_process_page *cvy_process_page;
/** That room; never NULL. */
extern void *cvy_process_room;

/** What a thread knows of itself; worthless when `epoch` is not the process's. */
struct cvy_thread {
    uint32_t epoch;
    uint32_t owner; /* its slot's owner word */
    uint32_t puts;  /* what it has put into rings; for channel/ring.h */
};
extern _Thread_local struct cvy_thread cvy_thread
    __attribute__((tls_model("initial-exec")));

/** The owner words of the calling thread's slot and process; it must be attached. */
static inline uint32_t cvy_thread_owner(void)
{
    return cvy_thread.owner;
}
static inline uint32_t cvy_member_owner(void)
{
    return cvy_process_page->member;
}

/** Have `fn` called when the process ends in order, before it leaves. At most 8 of them;
 * the same one counts once. */
void cvy_leave_add(void (*fn)(void));
/** Call them. */
void cvy_leave_call(void);

/** Attach thread and process, founding the family if there is none. Returns: 0; -errno,
 * COVEY_ESTATE, with the detail set. Call it first in every public function. */
int cvy_attach_slowly(void);
static inline bool cvy_is_attached(void)
{
    const struct cvy_process_page *page = cvy_process_page;
    return __builtin_expect(
        page && cvy_thread.epoch &&
            cvy_thread.epoch ==
                atomic_load_explicit(&page->epoch, memory_order_relaxed),
        1);
}
static inline int cvy_enter(void)
{
    return cvy_is_attached() ? 0 : cvy_attach_slowly();
}

/** No thread of this process attaches or enters from now on: it leaves the family. */
void cvy_attach_no_more(void);

/** Attach the calling thread and process as `member`, which its starter has made. */
int cvy_attach_as(uint32_t member);
/** Do that at the first covey call: a child that makes none never pays for it, and is dead
 * when the kernel says so. Its starter must outlive it. */
void cvy_attach_later(uint32_t member);

/** This process has acquired something that only it can release: when it, or a thread of
 * it, ends in order, sleepers are to look whether they wait for that. */
static inline void cvy_process_owns(void)
{
    struct cvy_process_page *page = cvy_process_page;
    if (!atomic_load_explicit(&page->owns, memory_order_relaxed))
        atomic_store_explicit(&page->owns, 1, memory_order_relaxed);
}

/** The calling thread is one of covey's own: it does not count as a user of the family. */
void cvy_thread_set_aside(void);
/** The calling thread does not use the family any more; it ends soon. */
void cvy_thread_detach(void);

/** Note what this thread sleeps on, for those who look from outside; 0 = nothing. */
void cvy_thread_waits(cvy_ref what, int64_t since);

/* ---- making members; each takes the region lock ---- */

/** A new member in state STARTING, started by the calling process. -EAGAIN: too many. */
int cvy_member_new(const char *name, uint32_t *ret_member);
/** Another name for the calling process, for those who look at its record. */
void cvy_member_rename(const char *name);
/** The starter's note of the child's pid; the child may have been faster. */
void cvy_member_set_pid(uint32_t member, int pid);
/** Become `member`, in its process. -ECANCELED if it was found dead before. */
int cvy_member_become(uint32_t member);
/** The calling process ends in order: holds, extents and slots go, the status stays. If
 * other threads of it are attached, holds and extents go when those have ended. */
void cvy_member_leave(int status);
/** The process has ended (and was reaped) or never began: sweep it, free the record.
 * `ret_left`, `ret_status`: whether it left in order, and how; may be NULL. */
void cvy_member_release(uint32_t member, bool *ret_left, int *ret_status);
/** Find members that died unseen and sweep them. */
void cvy_members_sweep(void);
/** Also those whose life words a crash has overwritten: the kernel is asked about each,
 * which takes some us. For when something is short. */
void cvy_members_sweep_asking(void);

/* ---- asking; none takes a lock ---- */

/** Whether the thread (member) that `owner` names is no more. `ask_kernel`: do not trust
 * its life word, which a crash may have overwritten. */
typedef bool cvy_is_dead_fn(uint32_t owner, bool ask_kernel);
cvy_is_dead_fn cvy_slot_is_dead, cvy_member_is_dead;
/** The number of the family's first process. */
int cvy_member_first_pid(void);
/** Whether the member's process runs no more, as the kernel says, even if it left before. */
bool cvy_member_is_gone(uint32_t owner);
/** The owner word of who has the record now. */
uint32_t cvy_member_owner_at(uint32_t index);
/** State and pid of a member; FREE when `owner` names an earlier user of the record. */
enum cvy_member_state cvy_member_state(uint32_t owner, int *ret_pid);

#endif
