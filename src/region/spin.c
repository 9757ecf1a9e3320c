/* SPDX-License-Identifier: MIT */
/* spin.c: see spin.h. */
#include "region/spin.h"

#include "os/os.h"

#define SPIN_TIME    COVEY_USEC(50)
#define SPIN_PAUSES  64u
#define FEW_PAUSES   8u
#define EARLY_ROUNDS 6u
#define CLOSE_LOOKS  64u
#define COSTLY_LOOKS 4u
#define BEHIND       64u
#define LONG_EVERY   16 /* waits, when that was in vain */

/* How it went with this thread's last spin for a handover; of costly looks, and others. */
static _Thread_local struct luck {
    bool is_vain; /* a long one found nothing, and none has found anything since */
    bool is_over; /* the last one found nothing */
    unsigned char waits;
} lucks[2];

static void pause_for(uint32_t pauses)
{
    for (uint32_t i = 0; i < pauses; i++)
        cvy_os_pause();
}

static bool give_up_spin(struct luck *luck, bool was_long)
{
    luck->is_over = true;
    luck->is_vain |= was_long;
    return false;
}

/* Out of line, since sanitizers make much of each call of a function that reads the time. */
static __attribute__((noinline)) bool has_time(struct cvy_spin *spin)
{
    int64_t now = cvy_os_now();
    if (!spin->until)
        spin->until = now + SPIN_TIME;
    return now < spin->until;
}

static bool spin_closely(struct cvy_spin *spin)
{
    struct luck *luck = &lucks[spin->is_costly];
    if (!spin->rounds) {
        luck->is_vain = luck->is_vain && luck->is_over;
        luck->is_over = false;
    }
    if (spin->is_costly)
        cvy_os_yield();
    else
        cvy_os_pause();
    if (spin->rounds++ < (spin->is_costly ? COSTLY_LOOKS : CLOSE_LOOKS))
        return true;
    if (!spin->until && luck->is_vain && ++luck->waits % LONG_EVERY)
        return give_up_spin(luck, false);
    return has_time(spin) ? true : give_up_spin(luck, true);
}

bool cvy_spin(struct cvy_spin *spin)
{
    if (!cvy_os_is_multicore())
        return false;
    if (spin->is_handover)
        return spin_closely(spin);
    if (spin->close_looks) {
        spin->close_looks--;
        cvy_os_pause();
        return true;
    }
    if (spin->rounds < EARLY_ROUNDS && !spin->yields_often) {
        pause_for(1u << spin->rounds++);
        return true;
    }
    if (!has_time(spin))
        return false;
    pause_for(spin->yields_often ? FEW_PAUSES : SPIN_PAUSES);
    cvy_os_yield();
    return true;
}

void cvy_spin_behind(void)
{
    if (cvy_os_is_multicore())
        pause_for(BEHIND);
}
