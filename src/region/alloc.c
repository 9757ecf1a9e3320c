/* SPDX-License-Identifier: MIT */
/* alloc.c: runs of heap pages; see alloc.h. */
#include "region/alloc.h"

#include <errno.h>

#include "region/lock.h"
#include "region/member.h"
#include "region/region.h"
#include "region/undo.h"

#define BIN_TRIES 32 /* entries of a bin looked at before a larger bin is taken */

static struct cvy_run *run_at(uint64_t page)
{
    return (struct cvy_run *)cvy_at(cvy_head->runs) + page;
}
static uint64_t page_of(cvy_ref ref)
{
    return (ref - cvy_head->heap) / CVY_PAGE;
}
static cvy_ref ref_of(uint64_t page)
{
    return cvy_head->heap + page * CVY_PAGE;
}
struct cvy_run *cvy_run_of(cvy_ref ref)
{
    return run_at(page_of(ref));
}

/* How many free pages keep their memory: with a small budget they are not to exceed it by
 * much, since it is there to keep the kernel from killing. */
static uint64_t keep_pages(void)
{
    uint64_t part = cvy_head->budget / CVY_PAGE / 4;
    return part < CVY_KEEP_PAGES ? part : CVY_KEEP_PAGES;
}

static uint32_t bin_of(uint32_t pages)
{
    return 31u - (uint32_t)__builtin_clz(pages);
}

/* ---- lists: of a bin, of limbo, of an owner ---- */

static void list_push(uint32_t *head, uint64_t page)
{
    struct cvy_run *run = run_at(page);
    cvy_set32(&run->previous, 0);
    cvy_set32(&run->next, *head);
    if (*head)
        cvy_set32(&run_at(*head - 1)->previous, (uint32_t)page + 1);
    cvy_set32(head, (uint32_t)page + 1);
}

static void list_remove(uint32_t *head, uint64_t page)
{
    struct cvy_run *run = run_at(page);
    if (run->next)
        cvy_set32(&run_at(run->next - 1)->previous, run->previous);
    if (run->previous)
        cvy_set32(&run_at(run->previous - 1)->next, run->next);
    else
        cvy_set32(head, run->next);
}

/* An owner's list starts in a cvy_ref; its low half is page + 1, its high half unused. */
static uint32_t *owner_list(const struct cvy_run *run)
{
    if (run->state == CVY_RUN_OBJECT)
        return (uint32_t *)(void *)&((struct cvy_object *)cvy_at(run->owner))->runs;
    if (run->state == CVY_RUN_MEMBER)
        return (uint32_t *)(void *)&cvy_member_at(CVY_INDEX_OF(run->owner))->extents;
    return NULL;
}

/* ---- free runs ---- */

/* Enter `pages` pages from `page` as a free run; it must be in no list. */
static void make_free(uint64_t page, uint32_t pages, bool dirty)
{
    struct cvy_run *run = run_at(page);
    cvy_set16(&run->state, CVY_RUN_FREE);
    cvy_set32(&run->pages, pages);
    cvy_set16(&run->dirty, dirty);
    cvy_set64(&run->owner, 0);
    if (pages > 1) {
        struct cvy_run *tail = run_at(page + pages - 1);
        cvy_set16(&tail->state, CVY_RUN_TAIL);
        cvy_set32(&tail->pages, pages);
    }
    list_push(&cvy_head->bins[bin_of(pages)], page);
    if (dirty)
        cvy_set64(&cvy_head->dirty_pages, cvy_head->dirty_pages + pages);
}

static void unmake_free(uint64_t page)
{
    struct cvy_run *run = run_at(page);
    list_remove(&cvy_head->bins[bin_of(run->pages)], page);
    if (run->dirty)
        cvy_set64(&cvy_head->dirty_pages, cvy_head->dirty_pages - run->pages);
    if (run->pages > 1)
        cvy_set16(&run_at(page + run->pages - 1)->state, CVY_RUN_NONE);
    cvy_set16(&run->state, CVY_RUN_NONE);
}

/* Make a run free, joined with its free neighbours; a clean one at the top of the heap
 * goes back to where nothing was ever allocated. Its entry may end up inside of a run, and
 * there it must not say that one starts (see span_of in block.c). */
static void free_and_join(uint64_t page, uint32_t pages, bool dirty)
{
    struct cvy_head *h = cvy_head;
    uint64_t next = page + pages;
    cvy_set16(&run_at(page)->state, CVY_RUN_NONE);
    if (page > 0) {
        struct cvy_run *left = run_at(page - 1);
        uint64_t start = left->state == CVY_RUN_TAIL ? page - left->pages : page - 1;
        if ((left->state == CVY_RUN_TAIL || left->state == CVY_RUN_FREE) &&
            run_at(start)->dirty == dirty) {
            unmake_free(start);
            pages += (uint32_t)(page - start);
            page = start;
        }
    }
    if (next < h->heap_top && run_at(next)->state == CVY_RUN_FREE &&
        run_at(next)->dirty == dirty) {
        uint32_t more = run_at(next)->pages;
        unmake_free(next);
        pages += more;
        next += more;
    }
    if (next == h->heap_top && !dirty)
        cvy_set64(&h->heap_top, page);
    else
        make_free(page, pages, dirty);
}

/* A free run of at least `pages`, page + 1; 0 if only the top of the heap is left. */
static uint32_t find_free(uint32_t pages)
{
    uint32_t bin = bin_of(pages), tries = 0;
    for (uint32_t p = cvy_head->bins[bin]; p && tries < BIN_TRIES; tries++) {
        if (run_at(p - 1)->pages >= pages)
            return p;
        p = run_at(p - 1)->next;
    }
    for (bin++; bin < CVY_BINS; bin++)
        if (cvy_head->bins[bin])
            return cvy_head->bins[bin];
    return 0;
}

/* ---- taking and giving ---- */

static int take_pages(uint32_t pages, uint64_t *ret_page, bool *ret_dirty)
{
    struct cvy_head *h = cvy_head;
    uint32_t found = find_free(pages);
    if (found) {
        uint64_t page = found - 1;
        uint32_t rest = run_at(page)->pages - pages;
        *ret_dirty = run_at(page)->dirty;
        unmake_free(page);
        if (rest)
            make_free(page + pages, rest, *ret_dirty);
        *ret_page = page;
        return 0;
    }
    if (h->heap_top + pages > h->heap_pages)
        return -ENOMEM;
    *ret_page = h->heap_top;
    *ret_dirty = false;
    cvy_set64(&h->heap_top, h->heap_top + pages);
    return 0;
}

/* Into, and out of, the list of the run's owner. */
static void enter_owner(uint64_t page)
{
    struct cvy_run *run = run_at(page);
    uint32_t *list = owner_list(run);
    if (list)
        list_push(list, page);
    if (run->state == CVY_RUN_OBJECT) {
        struct cvy_object *object = cvy_at(run->owner);
        cvy_set64(&object->run_pages, object->run_pages + run->pages);
    }
}

static void leave_owner(uint64_t page)
{
    struct cvy_run *run = run_at(page);
    uint32_t *list = owner_list(run);
    if (list)
        list_remove(list, page);
    if (run->state == CVY_RUN_OBJECT) {
        struct cvy_object *object = cvy_at(run->owner);
        cvy_set64(&object->run_pages, object->run_pages - run->pages);
    }
}

void cvy_run_pass(cvy_ref ref, enum cvy_run_state state, cvy_ref owner)
{
    struct cvy_run *run = cvy_run_of(ref);
    leave_owner(page_of(ref));
    cvy_set16(&run->state, (uint16_t)state);
    cvy_set64(&run->owner, owner);
    enter_owner(page_of(ref));
}

bool cvy_alloc_is_little(uint64_t bytes, uint64_t part)
{
    uint64_t most = cvy_min_u64(cvy_head->heap_pages, cvy_head->budget / CVY_PAGE);
    uint64_t used = cvy_head->used_pages;
    return used < most && bytes / CVY_PAGE <= (most - used) / part;
}

int cvy_run_take(uint64_t bytes, enum cvy_run_state state, cvy_ref owner,
                 cvy_ref *ret_ref)
{
    struct cvy_head *h = cvy_head;
    uint64_t page = 0, pages = (bytes + CVY_PAGE - 1) / CVY_PAGE;
    bool dirty = false;
    if (!pages)
        pages = 1;
    if (pages > h->heap_pages || h->used_pages + pages > h->budget / CVY_PAGE)
        return -ENOMEM;
    int r = take_pages((uint32_t)pages, &page, &dirty);
    if (r < 0)
        return r;
    struct cvy_run *run = run_at(page);
    cvy_set32(&run->pages, (uint32_t)pages);
    cvy_set16(&run->state, (uint16_t)state);
    cvy_set16(&run->dirty, dirty);
    cvy_set64(&run->owner, owner);
    cvy_set64(&run->size, bytes);
    enter_owner(page);
    cvy_set64(&h->used_pages, h->used_pages + pages);
    *ret_ref = ref_of(page);
    return 0;
}

void cvy_run_give(cvy_ref ref)
{
    struct cvy_head *h = cvy_head;
    uint64_t page = page_of(ref);
    struct cvy_run *run = run_at(page);
    uint32_t pages = run->pages;
    leave_owner(page);
    cvy_set64(&h->used_pages, h->used_pages - pages);
    if (h->dirty_pages + pages <= keep_pages()) {
        free_and_join(page, pages, true);
        return;
    }
    cvy_set16(&run->state, CVY_RUN_LIMBO);
    cvy_set64(&run->owner, cvy_thread_owner());
    list_push(&h->limbo, page);
}

void cvy_extent_drop_first(uint32_t member_index)
{
    cvy_run_give(ref_of((uint32_t)cvy_member_at(member_index)->extents - 1));
}

void cvy_object_drop_first_run(struct cvy_object *object)
{
    cvy_run_give(ref_of((uint32_t)object->runs - 1));
}

/* ---- limbo ---- */

cvy_ref cvy_alloc_limbo_mine(void)
{
    uint32_t me = cvy_thread_owner();
    for (uint32_t p = cvy_head->limbo; p; p = run_at(p - 1)->next) {
        uint32_t owner = (uint32_t)run_at(p - 1)->owner;
        if (owner == me || cvy_slot_is_dead(owner, false))
            return ref_of(p - 1);
    }
    return 0;
}

/* The lock is free while the system works: others only see a run that is not theirs. */
void cvy_alloc_settle(void)
{
    for (;;) {
        cvy_region_lock();
        cvy_ref ref = cvy_alloc_limbo_mine();
        if (!ref) {
            cvy_lock_release(&cvy_head->lock);
            return;
        }
        struct cvy_run *run = cvy_run_of(ref);
        uint32_t pages = run->pages;
        cvy_set64(&run->owner, cvy_thread_owner());
        cvy_commit();
        cvy_lock_release(&cvy_head->lock);

        bool clean = cvy_os_punch(cvy_at(ref), (uint64_t)pages * CVY_PAGE) >= 0;

        cvy_region_lock();
        list_remove(&cvy_head->limbo, page_of(ref));
        free_and_join(page_of(ref), pages, !clean);
        cvy_commit();
        cvy_lock_release(&cvy_head->lock);
    }
}

static uint32_t first_dirty(void)
{
    for (uint32_t bin = 0; bin < CVY_BINS; bin++)
        for (uint32_t p = cvy_head->bins[bin]; p; p = run_at(p - 1)->next)
            if (run_at(p - 1)->dirty)
                return p;
    return 0;
}

void cvy_region_trim(void)
{
    cvy_region_lock();
    for (uint32_t p = first_dirty(); p; p = first_dirty()) {
        struct cvy_run *run = run_at(p - 1);
        unmake_free(p - 1);
        cvy_set16(&run->state, CVY_RUN_LIMBO);
        cvy_set64(&run->owner, cvy_thread_owner());
        list_push(&cvy_head->limbo, p - 1);
        cvy_commit();
    }
    cvy_region_unlock();
}

/* ---- checking ---- */

static const char *check_owned(void)
{
    for (uint32_t p = cvy_head->limbo; p; p = run_at(p - 1)->next)
        if (run_at(p - 1)->state != CVY_RUN_LIMBO)
            return "a run in the limbo list is not in limbo";
    return NULL;
}

static const char *check_bins(uint64_t *ret_free)
{
    for (uint32_t bin = 0; bin < CVY_BINS; bin++) {
        uint32_t before = 0;
        for (uint32_t p = cvy_head->bins[bin]; p; p = run_at(p - 1)->next) {
            const struct cvy_run *run = run_at(p - 1);
            if (run->state != CVY_RUN_FREE || bin_of(run->pages) != bin)
                return "a run in a bin is not free or in the wrong bin";
            if (run->previous != before)
                return "a bin's list is torn";
            before = p;
            *ret_free += run->pages;
        }
    }
    return NULL;
}

/* Entries inside of a run do not look like the start of one. */
static bool is_plain_inside(uint64_t page, const struct cvy_run *run)
{
    uint64_t last = page + run->pages - 1;
    for (uint64_t p = page + 1; p <= last; p++)
        if (run_at(p)->state !=
            (p == last && run->state == CVY_RUN_FREE ? CVY_RUN_TAIL : CVY_RUN_NONE))
            return false;
    return true;
}

const char *cvy_alloc_check(void)
{
    uint64_t free_pages = 0, used = 0, dirty = 0, binned = 0;
    for (uint64_t page = 0; page < cvy_head->heap_top;) {
        const struct cvy_run *run = run_at(page);
        if (run->state == CVY_RUN_NONE || run->state == CVY_RUN_TAIL || !run->pages)
            return "a run does not start where the one before ends";
        if (run->state == CVY_RUN_FREE) {
            free_pages += run->pages;
            dirty += run->dirty ? run->pages : 0;
            if (run->pages > 1 && run_at(page + run->pages - 1)->pages != run->pages)
                return "a free run's last page does not say how long it is";
        } else if (run->state != CVY_RUN_LIMBO) {
            used += run->pages;
        }
        if (page + run->pages > cvy_head->heap_top)
            return "the last run ends behind the top of the heap";
        if (!is_plain_inside(page, run))
            return "a page inside of a run says that one starts or ends there";
        page += run->pages;
    }
    const char *wrong = check_bins(&binned);
    if (wrong)
        return wrong;
    if (binned != free_pages)
        return "free runs that are in no bin";
    if (used != cvy_head->used_pages)
        return "the count of used pages is wrong";
    if (dirty != cvy_head->dirty_pages)
        return "the count of dirty pages is wrong";
    return check_owned();
}
