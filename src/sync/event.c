/* SPDX-License-Identifier: MIT */
/* event.c: a flag that one can wait for.
 *
 *   word:  31        30 ............ 1   0
 *          WAITERS   times set           is set
 *
 * A set adds 2 and sets bit 0 in one compare-and-swap, so that a waiter sees that it was
 * set though it was cleared since. WAITERS says that somebody may sleep; a set takes it
 * away and wakes all. Who dies between those two is heard by the bell, and the sleepers
 * look for themselves. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/error.h"
#include "base/mutant.h"
#include "base/opts.h"
#include "region/look.h"
#include "region/wait.h"
#include "sync/sync.h"

#define IS_SET 1u

int covey_event_create(covey_event **out, const struct covey_event_opts *opts)
{
    static const char call[] = "covey_event_create";
    struct covey_event_opts o;
    void *made;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = cvy_sync_begin(out, call);
    if (r >= 0)
        r = cvy_sync_create(CVY_KIND_EVENT, sizeof(struct covey_event), o.name,
                            offsetof(struct covey_event, name), &made);
    if (r >= 0)
        *out = made;
    return r;
}

int covey_event_set(covey_event *event)
{
    int r = cvy_sync_enter(event, CVY_KIND_EVENT, "covey_event_set");
    if (r < 0)
        return r;
    uint32_t seen = atomic_load(&event->word), set;
    do {
        if (seen & IS_SET)
            return 0;
        set = ((seen & ~CVY_WAITERS) + (CVY_MUTANT(event_generation) ? 0 : 2)) &
              ~CVY_WAITERS;
        if (seen & CVY_WAITERS && !CVY_MUTANT(event_wake_unarmed))
            cvy_bell_arm(); /* who dies before the wake is to be heard */
    } while (!atomic_compare_exchange_weak(&event->word, &seen, set | IS_SET));
    if (seen & CVY_WAITERS)
        (void)cvy_os_futex_wake(&event->word, INT_MAX);
    return 0;
}

int covey_event_clear(covey_event *event)
{
    int r = cvy_sync_enter(event, CVY_KIND_EVENT, "covey_event_clear");
    if (r >= 0)
        (void)atomic_fetch_and(&event->word, ~IS_SET);
    return r;
}

int covey_event_is_set(covey_event *event)
{
    int r = cvy_sync_enter(event, CVY_KIND_EVENT, "covey_event_is_set");
    return r < 0 ? r : (atomic_load(&event->word) & IS_SET) != 0;
}

/* Whether it is set, or was since its word was `first`. */
static bool was_set(uint32_t seen, uint32_t first)
{
    return seen & IS_SET || (seen & ~CVY_WAITERS) != (first & ~CVY_WAITERS);
}

static int wait_slowly(covey_event *event, uint32_t first, int64_t deadline)
{
    struct cvy_spin spin = {.is_handover = true};
    for (;;) {
        uint32_t gong = cvy_gong(), seen = atomic_load(&event->word);
        if (was_set(seen, first))
            return 0;
        if (deadline <= 0)
            return -ETIMEDOUT;
        if (cvy_spin(&spin))
            continue;
        if (!(seen & CVY_WAITERS) &&
            !atomic_compare_exchange_strong(&event->word, &seen, seen | CVY_WAITERS))
            continue;
        int r = cvy_sleep(&event->word, seen | CVY_WAITERS, gong, deadline,
                          cvy_ref_of(event));
        if (r < 0 && !was_set(atomic_load(&event->word), first))
            return r;
    }
}

int covey_event_wait(covey_event *event, covey_nsec timeout)
{
    static const char call[] = "covey_event_wait";
    int r = cvy_sync_enter(event, CVY_KIND_EVENT, call);
    if (r < 0)
        return r;
    uint32_t seen = atomic_load(&event->word);
    if (seen & IS_SET)
        return 0;
    r = wait_slowly(event, seen, cvy_os_deadline(timeout));
    if (r == -ETIMEDOUT)
        return cvy_fail(r, "%s: event %s is not set", call, event->name);
    return r < 0 ? cvy_fail(r, "%s: a signal came", call) : 0;
}

int covey_event_repr(covey_event *event, struct covey_bytes *ret_text)
{
    static const char call[] = "covey_event_repr";
    int r = cvy_sync_enter(event, CVY_KIND_EVENT, call);
    return r < 0 ? r
                 : cvy_sync_text(ret_text, call, "<Event at %p %s>", (void *)event,
                                 atomic_load(&event->word) & IS_SET ? "set" : "unset");
}

void covey_event_free(covey_event *event)
{
    cvy_sync_free(event, CVY_KIND_EVENT, "covey_event_free");
}

static void look(const struct cvy_head *head, const struct cvy_object *object,
                 char *text, size_t size)
{
    (void)head;
    const struct covey_event *event = (const void *)object;
    (void)snprintf(text, size, "%s",
                   atomic_load(&event->word) & IS_SET ? "set" : "unset");
}

__attribute__((constructor)) static void show_events(void)
{
    cvy_look_register(CVY_KIND_EVENT, offsetof(struct covey_event, name),
                      CVY_NAME_BYTES, look);
}
