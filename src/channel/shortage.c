/* SPDX-License-Identifier: MIT */
/* shortage.c: waiting for memory of the family, for messages in queues and pipes. */
#include <errno.h>

#include "channel/queue.h"
#include "region/member.h"
#include "region/wait.h"

/* How long others may have the last messages in their hands, when none are left to take:
 * they may be short of memory themselves. */
#define LONGEST_COPY COVEY_SEC(2)

int cvy_shortage_wait(struct cvy_shortage *s, struct cvy_ring *ring, cvy_word *space,
                      bool others, int64_t deadline, cvy_ref what)
{
    uint32_t items;
    uint64_t bytes;
    if (!s->announced) {
        s->announced = true;
        s->gong = cvy_gong();
        s->word = cvy_waiters_announce(space);
        cvy_members_sweep(); /* what the dead had */
        return 0;
    }
    s->announced = false;
    cvy_ring_load(ring, &items, &bytes);
    if (!others || (!items && !cvy_extents_are_out()))
        return -ENOMEM;
    if (deadline <= 0)
        return -ETIMEDOUT;
    if (items)
        s->latest = 0;
    else if (!s->latest)
        s->latest = cvy_os_now() + LONGEST_COPY;
    if (!s->latest || deadline < s->latest)
        return cvy_sleep(space, s->word, s->gong, deadline, what);
    int r = cvy_sleep(space, s->word, s->gong, s->latest, what);
    return r == -ETIMEDOUT ? -ENOMEM : r;
}
