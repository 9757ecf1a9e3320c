/* SPDX-License-Identifier: MIT */
/* shortage.c: waiting for memory of the family, for messages in queues and pipes. */
#include <errno.h>

#include "channel/queue.h"
#include "region/member.h"
#include "region/wait.h"

/* How long others may have the last messages in their hands, when none are left to take:
 * they may be short of memory themselves. */
#define LONGEST_COPY COVEY_SEC(2)

static int sleep_for_memory(struct cvy_shortage *s, struct cvy_ring *ring,
                            cvy_word *space, int64_t deadline, cvy_ref what)
{
    uint32_t items;
    uint64_t bytes;
    if (deadline <= 0)
        return -ETIMEDOUT;
    cvy_ring_load(ring, &items, &bytes);
    if (items)
        s->latest = 0;
    else if (!s->latest)
        s->latest = cvy_os_now() + LONGEST_COPY;
    if (!s->latest || deadline < s->latest)
        return cvy_sleep(space, s->word, s->gong, deadline, what);
    int r = cvy_sleep(space, s->word, s->gong, s->latest, what);
    return r == -ETIMEDOUT ? -ENOMEM : r;
}

/* Whether somebody has messages to take, to put or in its hands, and so memory to give back.
 * Looked at twice, since one may have gone from hand to hand behind the first look. */
static bool is_any_out(struct cvy_ring *ring)
{
    for (int looks = 0; looks < 2; looks++) {
        uint32_t items;
        uint64_t bytes;
        cvy_ring_load(ring, &items, &bytes);
        if (items || cvy_extents_are_out() ||
            __atomic_load_n(&ring->put_extent, __ATOMIC_ACQUIRE))
            return true;
    }
    return false;
}

/* What others gave back between a try that failed and this look is there for another try.
 * So there is no hope only if there was none before the try. */
int cvy_shortage_wait(struct cvy_shortage *s, struct cvy_ring *ring, cvy_word *space,
                      bool others, int64_t deadline, cvy_ref what)
{
    bool has_hope = others && is_any_out(ring);
    if (!s->announced) {
        s->announced = true;
        s->had_hope = has_hope;
        s->gong = cvy_gong();
        s->word = cvy_waiters_announce(space);
        cvy_members_sweep(); /* what the dead had */
        return 0;
    }
    s->announced = false;
    if (!has_hope)
        return s->had_hope ? 0 : -ENOMEM;
    return sleep_for_memory(s, ring, space, deadline, what);
}
