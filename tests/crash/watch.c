/* SPDX-License-Identifier: MIT */
/* watch.c: what the victim changes in shared memory. A copy of all that it may write is
 * compared after each step. */
#include <string.h>

#include "crash.h"
#include "region/alloc.h"

#define PIECES     32
#define HEAP_PAGES 16u

static struct {
    const char *at;
    size_t size;
    char copy[CVY_PAGE];
} pieces[PIECES + HEAP_PAGES];
static unsigned piece_count;

static void add(const void *at, size_t size)
{
    if (piece_count < CVY_ARRAY_SIZE(pieces) && size <= CVY_PAGE) {
        pieces[piece_count].at = at;
        pieces[piece_count].size = size;
        memcpy(pieces[piece_count].copy, at, size);
        piece_count++;
    }
}

void crash_watch_add(const void *at, size_t size)
{
    const char *from = at;
    for (size_t done = 0; done < size; done += CVY_PAGE)
        add(from + done, size - done < CVY_PAGE ? size - done : CVY_PAGE);
}

void crash_watch_begin(void)
{
    struct cvy_head *h = cvy_head;
    piece_count = 0;
    add(&h->gong, sizeof h->gong);
    add(&h->lock, 64);
    add(&h->slot_cursor, offsetof(struct cvy_head, undo) -
                             offsetof(struct cvy_head, slot_cursor) +
                             16 * sizeof h->undo[0]);
    if (stage->object)
        add(stage->object, ((struct cvy_object *)stage->object)->size);
    if (stage->other)
        add(stage->other, ((struct cvy_object *)stage->other)->size);
    if (stage->slot)
        add(cvy_slot_at(CVY_INDEX_OF(stage->slot)), sizeof(struct cvy_slot));
    if (stage->member)
        add(cvy_member_at(CVY_INDEX_OF(stage->member)), sizeof(struct cvy_member));
    if (h->object_next % CVY_PAGE)
        add(cvy_at(h->object_next), 512); /* where a new object will be */
    for (uint32_t page = 0; page < HEAP_PAGES; page++)
        add((char *)cvy_at(h->heap) + (size_t)page * CVY_PAGE, CVY_PAGE);
}

bool crash_watch_changed(void)
{
    bool any = false;
    for (unsigned i = 0; i < piece_count; i++)
        if (memcmp(pieces[i].copy, pieces[i].at, pieces[i].size) != 0) {
            memcpy(pieces[i].copy, pieces[i].at, pieces[i].size);
            any = true;
        }
    return any;
}

/* ---- the books ------------------------------------------------------------------ */

static struct covey_family_usage noted;

static struct covey_family_usage usage(void)
{
    struct covey_family_usage now = {0};
    cvy_members_sweep_asking();
    (void)covey_family_usage(&now);
    return now;
}

void crash_books_note(void)
{
    noted = usage();
}

const char *crash_books_check(void)
{
    struct covey_family_usage now = usage();
    cvy_region_lock();
    const char *is = cvy_alloc_check();
    if (!is && cvy_head->undo_count)
        is = "the undo log is not empty";
    if (!is && (cvy_head->graves || cvy_head->limbo))
        is = "something that was freed is left";
    cvy_region_unlock();
    if (is)
        return is;
    if (now.objects != noted.objects)
        return wrong("%d objects are left", (int)(now.objects - noted.objects));
    if (now.members != noted.members || now.threads != noted.threads)
        return wrong("%d members and %d threads are left",
                     (int)(now.members - noted.members),
                     (int)(now.threads - noted.threads));
    if (now.used != noted.used)
        return wrong("%lld bytes are left", (long long)(now.used - noted.used));
    return NULL;
}
