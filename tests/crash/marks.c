/* SPDX-License-Identifier: MIT */
/* marks.c: places on the victim's way, to which it can run at full speed.
 *
 * A case that is tried after each of its n instructions takes n * n / 2 steps, if each
 * victim is stepped from the beginning. But where an instruction is reached for the first
 * time, a breakpoint stops the victim just there; so the first run, which is stepped to the
 * end, notes such places, and from then on only what lies behind the last one before the
 * point is stepped.
 *
 *   steps   0 ........ 100 ........... 240 .. 251 ............. 900
 *   marks              A (first time)  B      point             C
 *                      |<-- at full speed --> |<-- stepped
 *
 * A mark is as many naps from the beginning as the victim had slept until then: it does
 * not run through a sleep, in which somebody is to do something. */
#include <limits.h>
#include <string.h>

#include "crash.h"

#define MOST     16384u /* marks */
#define DISTANCE 16     /* steps, at least, between two */
#define SEEN     (1u << 16)
#define NEVER    UINT_MAX

static struct crash_mark marks[MOST];
static size_t mark_count;
static unsigned long seen[SEEN]; /* places that were passed; 0: free */
static size_t seen_count;

void crash_marks_forget(void)
{
    mark_count = seen_count = 0;
    memset(seen, 0, sizeof seen);
}

/* Whether it is seen for the first time. */
static bool is_new(unsigned long place)
{
    size_t at = (size_t)((place * UINT64_C(0x9E3779B97F4A7C15)) >> 48) % SEEN;
    while (seen[at] && seen[at] != place)
        at = (at + 1) % SEEN;
    if (seen[at] || seen_count > SEEN / 2)
        return false;
    seen[at] = place;
    seen_count++;
    return true;
}

void crash_marks_note(long steps, unsigned naps, unsigned long place)
{
    const struct crash_mark *last = mark_count ? &marks[mark_count - 1] : NULL;
    if (!place || !is_new(place) || mark_count == MOST)
        return;
    if (steps < (last ? last->steps : 0) + DISTANCE)
        return;
    marks[mark_count++] = (struct crash_mark){steps, place, naps};
}

const struct crash_mark *crash_marks_find(long from, long to, unsigned naps)
{
    for (size_t i = mark_count; i-- && marks[i].steps > from;)
        if (marks[i].steps <= to && marks[i].naps == naps)
            return &marks[i];
    return NULL;
}

void crash_marks_drop(const struct crash_mark *missed)
{
    unsigned naps = missed->naps;
    for (size_t i = (size_t)(missed - marks); i < mark_count; i++)
        if (marks[i].naps == naps)
            marks[i].naps = NEVER;
}
