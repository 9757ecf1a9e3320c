/* SPDX-License-Identifier: MIT */
/* attach.c: how a process and its threads become part of the family.
 *
 * Founding and attaching happen at the first call of a thread. What a process knows of
 * itself lies in a page that the kernel zeroes in a fork child, so that a child never
 * takes its parent's attachment for its own, however it was forked. Threads that attach
 * at the same time take turns by a flag in that page, which a fork cannot freeze. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/error.h"
#include "region/lock.h"
#include "region/member.h"
#include "region/region.h"
#include "region/slot.h"
#include "region/wait.h"

static struct cvy_process_page page_without_wiping;
struct cvy_process_page *cvy_process_page;
void *cvy_process_room = page_without_wiping.room;
_Thread_local struct cvy_thread cvy_thread __attribute__((tls_model("initial-exec")));
void (*cvy_on_attach)(void);

static pthread_key_t thread_key;
static uint32_t epochs; /* process images so far, fork children counting on */

static void reset_after_fork(void)
{
    page_without_wiping = (struct cvy_process_page){0};
}

/* The thread ends in order. Not for the thread that left with its whole process. */
static void thread_ends(void *unused)
{
    (void)unused;
    if (!cvy_process_page || !cvy_thread.epoch ||
        cvy_thread.epoch != atomic_load(&cvy_process_page->epoch))
        return;
    cvy_region_end();
    cvy_slot_detach(cvy_thread.owner);
    cvy_bell_disarm();
    cvy_thread.epoch = 0;
    if (atomic_load(&cvy_process_page->owns))
        cvy_gong_strike();
}

void cvy_thread_detach(void)
{
    thread_ends(NULL);
}

__attribute__((constructor)) static void prepare_process(void)
{
    void *page = NULL;
    if (cvy_os_wipe_page(&page) < 0) {
        page = &page_without_wiping;
        (void)pthread_atfork(NULL, NULL, reset_after_fork);
    }
    cvy_process_room = ((struct cvy_process_page *)page)->room;
    if (cvy_slot_prepare() < 0 || pthread_key_create(&thread_key, thread_ends))
        return; /* every attach says so */
    cvy_process_page = page;
}

static void (*_Atomic on_leave[8])(void);

void cvy_leave_add(void (*fn)(void))
{
    for (size_t i = 0; i < CVY_ARRAY_SIZE(on_leave); i++) {
        void (*seen)(void) = NULL;
        if (atomic_compare_exchange_strong(&on_leave[i], &seen, fn) || seen == fn)
            return;
    }
    __builtin_trap(); /* there are fewer layers than that */
}

void cvy_leave_call(void)
{
    for (size_t i = 0; i < CVY_ARRAY_SIZE(on_leave); i++) {
        void (*fn)(void) = atomic_load(&on_leave[i]);
        if (fn)
            fn();
    }
}

static void take_turn(struct cvy_process_page *page)
{
    uint32_t idle = 0;
    while (!atomic_compare_exchange_weak(&page->busy, &idle, 1)) {
        idle = 0;
        cvy_os_yield();
    }
}

static int attach_thread(struct cvy_process_page *page, uint32_t epoch)
{
    uint32_t owner = 0;
    int r = cvy_slot_claim(&owner);
    if (r < 0)
        return r;
    cvy_thread = (struct cvy_thread){.epoch = epoch, .owner = owner};
    cvy_bell_arm();
    if (pthread_setspecific(thread_key, page)) {
        cvy_slot_let_go(owner);
        cvy_thread.epoch = 0;
        return cvy_fail(-ENOMEM, "attach: no memory for thread-specific data");
    }
    return 0;
}

/* Become a member that the starter has made. */
static int attach_as(struct cvy_process_page *page, uint32_t member)
{
    int r = attach_thread(page, ++epochs);
    if (r < 0)
        return r;
    r = cvy_member_become(member);
    if (r < 0) {
        cvy_slot_let_go(cvy_thread.owner);
        cvy_thread.epoch = 0;
        return r;
    }
    cvy_slot_link(cvy_thread.owner, member);
    atomic_store(&page->epoch, cvy_thread.epoch);
    return 0;
}

/* The process is no member yet: a root, or a child that the program forked itself. */
static int attach_process(struct cvy_process_page *page)
{
    uint32_t member = 0;
    int r = 0;
    if (!cvy_head)
        r = cvy_region_found();
    if (r >= 0)
        r = attach_thread(page, ++epochs);
    if (r < 0)
        return r;
    r = cvy_member_new("MainProcess", &member);
    if (r >= 0)
        r = cvy_member_become(member);
    if (r < 0) {
        cvy_slot_let_go(cvy_thread.owner);
        cvy_thread.epoch = 0;
        return r;
    }
    cvy_slot_link(cvy_thread.owner, member);
    return 0;
}

int cvy_attach_slowly(void)
{
    struct cvy_process_page *page = cvy_process_page;
    if (!page)
        return cvy_fail(-ENOMEM,
                        "attach: no thread-specific data key or memory is left");
    int r = 0, cancel = cvy_os_disable_cancel(); /* a turn must end */
    take_turn(page);
    uint32_t epoch = atomic_load(&page->epoch);
    if (page->left) {
        r = cvy_fail(COVEY_ESTATE, "this process has left its family: it is ending");
    } else if (!epoch && page->pending) {
        r = attach_as(page, page->pending);
    } else if (!epoch) {
        r = attach_process(page);
        if (r >= 0) {
            if (cvy_on_attach)
                cvy_on_attach();
            atomic_store(&page->epoch, cvy_thread.epoch);
        }
    } else {
        r = attach_thread(page, epoch);
        if (r >= 0)
            cvy_slot_link(cvy_thread.owner, page->member);
    }
    atomic_store(&page->busy, 0);
    cvy_os_restore_cancel(cancel);
    return r;
}

void cvy_attach_no_more(void)
{
    struct cvy_process_page *page = cvy_process_page;
    take_turn(page);
    page->left = 1;
    atomic_store(&page->epoch, 0);
    atomic_store(&page->busy, 0);
}

int cvy_attach_as(uint32_t member)
{
    struct cvy_process_page *page = cvy_process_page;
    if (!page)
        return cvy_fail(-ENOMEM,
                        "attach: no thread-specific data key or memory is left");
    take_turn(page);
    int r = attach_as(page, member);
    atomic_store(&page->busy, 0);
    return r;
}

CVY_CHILD_CODE void cvy_attach_later(uint32_t member)
{
    if (cvy_process_page)
        cvy_process_page->pending = member;
}
