/* SPDX-License-Identifier: MIT */
/* wait.c: sleeping, the death bell and its gong. The only file that
 * knows of the bell; with the bell off everything works by slices. */
#include "region/wait.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/mutant.h"
#include "region/member.h"

#define SLICE_WITHOUT_BELL COVEY_MSEC(20)
#define MOST_WORDS         (CVY_OS_MOST_WAITS - 2) /* besides gong and bell */
#define SLICE_OF_MANY      COVEY_MSEC(5)

static bool bell_is_used(void)
{
    return !cvy_head_has(CVY_HEAD_BELL_OFF | CVY_HEAD_NO_WAITV);
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

/* When the slices of this thread are over, by what it waits for, where some words share
 * one; 0: none has begun. A slice does not begin anew when a sleeper is woken for
 * nothing and sleeps on, or other deaths would keep it from ever asking about the one that
 * counts, nor when it gives up and comes again, however long it stays away. */
#define SLICES_LOG2 4u
static _Thread_local int64_t slice_ends[1u << SLICES_LOG2]
    __attribute__((tls_model("initial-exec")));

static int64_t *slice_end(const cvy_word *word)
{
    uint64_t mixed = (uint64_t)(uintptr_t)word * UINT64_C(0x9e3779b97f4a7c15);
    return &slice_ends[mixed >> (64 - SLICES_LOG2)];
}

/* Whether it is over. The next one begins with the next wait: who asks comes to sleep, or to
 * its deadline, before it asks again. */
static bool slice_is_over(const cvy_word *word, int64_t now, bool bell)
{
    int64_t *end = slice_end(word), length = (int64_t)cvy_head->slice;
    if (*end && *end <= now) {
        *end = 0;
        return true;
    }
    if (!bell && length > SLICE_WITHOUT_BELL)
        length = SLICE_WITHOUT_BELL;
    if (!*end)
        *end = length > INT64_MAX - now ? INT64_MAX : now + length;
    return false;
}

bool cvy_slice_is_over(const cvy_word *word)
{
    return slice_is_over(word, cvy_os_now(), bell_is_used() && cvy_os_has_waitv());
}

/* Sleep on `waits`, which has room for two more; `count` 1 without waitv. */
static int sleep_on(struct cvy_os_wait *waits, unsigned count, uint32_t gong, bool bell,
                    int64_t end, int64_t now, int64_t deadline, cvy_ref what)
{
    int64_t until = end < deadline ? end : deadline;
    waits[count] = (struct cvy_os_wait){&cvy_head->gong, gong};
    waits[count + 1] = (struct cvy_os_wait){&cvy_head->bell, 0};
    if (CVY_MUTANT(sleep_deaf))
        bell = false;
    if (bell)
        cvy_bell_arm();
    cvy_thread_waits(what, now);
    int r = cvy_os_futex_waitv(waits, bell ? count + 2 : count, until);
    cvy_thread_waits(0, 0);
    if (bell && r == (int)count + 1 && !CVY_MUTANT(sleep_no_gong))
        cvy_gong_strike();
    if (r == -EINTR)
        return r;
    if (r == -ETIMEDOUT)
        return until == deadline ? -ETIMEDOUT : CVY_SLICE;
    return cvy_os_now() >= end ? CVY_SLICE : CVY_WOKEN;
}

int cvy_sleep(cvy_word *word, uint32_t expected, uint32_t gong, int64_t deadline,
              cvy_ref what)
{
    struct cvy_os_wait waits[3] = {{word, expected}};
    bool bell = bell_is_used() && cvy_os_has_waitv();
    int64_t now = cvy_os_now();
    if (slice_is_over(word, now, bell))
        return CVY_SLICE;
    if (deadline <= now)
        return -ETIMEDOUT;
    int r = sleep_on(waits, 1, gong, bell, *slice_end(word), now, deadline, what);
    if (r == CVY_SLICE)
        *slice_end(word) = 0;
    return r;
}

int cvy_sleep_many(const struct cvy_os_wait *words, unsigned count, uint32_t gong,
                   int64_t deadline, cvy_ref what)
{
    struct cvy_os_wait waits[MOST_WORDS + 2];
    bool several = cvy_os_has_waitv() && !cvy_head_has(CVY_HEAD_NO_WAITV);
    bool bell = several && bell_is_used();
    unsigned n = several ? count : 1;
    int64_t now = cvy_os_now(), end;
    if (n > MOST_WORDS)
        n = MOST_WORDS;
    if (slice_is_over(words->word, now, bell))
        return CVY_SLICE;
    if (deadline <= now)
        return -ETIMEDOUT;
    memcpy(waits, words, n * sizeof *words);
    end = n < count ? now + SLICE_OF_MANY : *slice_end(words->word);
    int r = sleep_on(waits, n, gong, bell, end, now, deadline, what);
    if (r == CVY_SLICE)
        *slice_end(words->word) = 0;
    return r;
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
