/* SPDX-License-Identifier: MIT */
/* wait.c: sleeping, the death bell and its gong, and the spin before a sleep. The only
 * file that knows of the bell; with the bell off everything works by slices. */
#include "region/wait.h"

#include <errno.h>
#include <limits.h>

#include "base/mutant.h"
#include "region/member.h"

#define SLICE_WITHOUT_BELL COVEY_MSEC(20)
#define SPIN_TIME          COVEY_USEC(50)
#define SPIN_PAUSES        64u
#define CLOSE_LOOKS        64u
#define LONG_EVERY         16 /* waits, when that was in vain */

static bool bell_is_used(void)
{
    return !(cvy_head->flags & (CVY_HEAD_BELL_OFF | CVY_HEAD_NO_WAITV));
}

void cvy_bell_arm(void)
{
    if (bell_is_used())
        (void)cvy_os_arm_bell(&cvy_head->bell);
}

void cvy_bell_disarm(void)
{
    (void)cvy_os_arm_bell(NULL);
}

void cvy_gong_strike(void)
{
    atomic_fetch_add_explicit(&cvy_head->gong, 1, memory_order_acq_rel);
    (void)cvy_os_futex_wake(&cvy_head->gong, INT_MAX);
}

/* The slice this thread is in. It does not begin anew when a sleeper is woken for nothing
 * and sleeps on, or other deaths would keep it from ever asking about the one that counts. */
static _Thread_local struct {
    const cvy_word *word;
    int64_t end;
} slice;

static int64_t slice_end(const cvy_word *word, int64_t now, bool bell)
{
    int64_t length = (int64_t)cvy_head->slice;
    if (!bell && length > SLICE_WITHOUT_BELL)
        length = SLICE_WITHOUT_BELL;
    if (slice.word != word || slice.end <= now) {
        slice.word = word;
        slice.end = length > INT64_MAX - now ? INT64_MAX : now + length;
    }
    return slice.end;
}

int cvy_sleep(cvy_word *word, uint32_t expected, uint32_t gong, int64_t deadline,
              cvy_ref what)
{
    bool bell = bell_is_used() && cvy_os_has_waitv();
    int64_t now = cvy_os_now();
    if (deadline <= now)
        return -ETIMEDOUT;
    int64_t end = slice_end(word, now, bell), until = end < deadline ? end : deadline;
    struct cvy_os_wait waits[3] = {
        {word, expected}, {&cvy_head->gong, gong}, {&cvy_head->bell, 0}};
    if (CVY_MUTANT(sleep_deaf))
        bell = false;
    if (bell)
        cvy_bell_arm();
    cvy_thread_waits(what, now);
    int r = cvy_os_futex_waitv(waits, bell ? 3 : 1, until);
    cvy_thread_waits(0, 0);
    if (r == 2 && !CVY_MUTANT(sleep_no_gong))
        cvy_gong_strike();
    if (r == -EINTR)
        return r;
    if (r == -ETIMEDOUT)
        return until == deadline ? -ETIMEDOUT : CVY_SLICE;
    return cvy_os_now() >= end ? CVY_SLICE : CVY_WOKEN;
}

void cvy_sleep_aside(cvy_word *word, uint32_t expected, cvy_word *other,
                     uint32_t other_expected, uint32_t gong)
{
    bool two = cvy_os_has_waitv() && !(cvy_head->flags & CVY_HEAD_NO_WAITV);
    bool bell = two && bell_is_used();
    int64_t length = (int64_t)cvy_head->slice, now = cvy_os_now();
    struct cvy_os_wait waits[4] = {{word, expected},
                                   {other, other_expected},
                                   {&cvy_head->gong, gong},
                                   {&cvy_head->bell, 0}};
    if (!bell && length > SLICE_WITHOUT_BELL)
        length = SLICE_WITHOUT_BELL;
    if (cvy_os_futex_waitv(waits, bell ? 4 : two ? 2 : 1, now + length) == 3)
        cvy_gong_strike();
}

bool cvy_may_ask(_Atomic uint32_t *asked)
{
    uint32_t now = (uint32_t)(cvy_os_now() / COVEY_MSEC(1)), seen = atomic_load(asked);
    uint64_t slice_ms = cvy_head->slice / (uint64_t)COVEY_MSEC(1);
    return (!seen || now - seen >= slice_ms / 2) &&
           atomic_compare_exchange_strong(asked, &seen, now);
}

bool cvy_bell_works(void)
{
    if (!cvy_os_has_waitv())
        return false;
    for (int attempt = 0; attempt < 3; attempt++) {
        int r = cvy_os_bell_rings(&cvy_head->bell, cvy_os_now() + COVEY_MSEC(50));
        if (r != 0)
            return r > 0;
    }
    return false;
}

/* How it went with this thread's last spin for a handover. */
static _Thread_local struct {
    bool is_vain; /* a long one found nothing, and none has found anything since */
    bool is_over; /* the last one found nothing */
    unsigned char waits;
} luck;

static bool give_up_spin(bool was_long)
{
    luck.is_over = true;
    luck.is_vain |= was_long;
    return false;
}

static bool spin_closely(struct cvy_spin *spin)
{
    if (!spin->rounds) {
        luck.is_vain = luck.is_vain && luck.is_over;
        luck.is_over = false;
    }
    cvy_os_pause();
    if (spin->rounds++ < CLOSE_LOOKS)
        return true;
    if (!spin->until && luck.is_vain && ++luck.waits % LONG_EVERY)
        return give_up_spin(false);
    int64_t now = cvy_os_now();
    if (!spin->until)
        spin->until = now + SPIN_TIME;
    return now < spin->until ? true : give_up_spin(true);
}

bool cvy_spin(struct cvy_spin *spin)
{
    if (!cvy_os_is_multicore())
        return false;
    if (spin->is_handover)
        return spin_closely(spin);
    uint32_t pauses = spin->rounds < 6 ? 1u << spin->rounds : SPIN_PAUSES;
    if (spin->rounds++ < 6) {
        for (uint32_t i = 0; i < pauses; i++)
            cvy_os_pause();
        return true;
    }
    int64_t now = cvy_os_now();
    if (!spin->until)
        spin->until = now + SPIN_TIME;
    if (now >= spin->until)
        return false;
    for (uint32_t i = 0; i < pauses; i++)
        cvy_os_pause();
    cvy_os_yield();
    return true;
}
