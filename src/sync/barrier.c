/* SPDX-License-Identifier: MIT */
/* barrier.c: a place where threads wait for each other.
 *
 *   state:  63 ... 48   34       33       32       31        30 ........ 0
 *           arrived     (none)   ACTION   BROKEN   WAITERS   generation
 *
 * Who arrives first writes the generation into its entry of the table, then counts itself
 * by a compare-and-swap; the last one sets the count to 0 and the generation to the next
 * by one, which releases all. So as long as everybody lives there are at least as many
 * announcements of a generation as are counted, and if there are fewer living ones, one
 * that was counted is dead: whoever sees that breaks the barrier. Deaths between
 * announcement and count, or after the release, change nothing.
 *
 * With an action the last one first sets ACTION and counts itself; its death breaks the
 * barrier like any other. A reset breaks the barrier, marks the entries of those who wait
 * (they return when the generation changes, and the mark tells them why), and then begins
 * the next generation; its death in between leaves the barrier broken.
 *
 *   entry:  63 ......... 33   32         31   30        29 ....... 0
 *           generation        arrived         WAS_RESET owner word of the slot */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/error.h"
#include "base/mutant.h"
#include "base/opts.h"
#include "region/look.h"
#include "region/undo.h"
#include "region/wait.h"
#include "sync/sync.h"

#define BROKEN      (UINT64_C(1) << 32)
#define ACTION      (UINT64_C(1) << 33)
#define ONE         (UINT64_C(1) << 48)
#define GENERATIONS 0x7fffffffu
#define WAS_RESET   0x40000000u
#define MOST        65535u

enum why { WHY_ABORTED = 1, WHY_RESET, WHY_TIMED_OUT, WHY_DIED, WHY_ACTION };

struct barrier_with_action {
    struct covey_barrier barrier;
    struct cvy_code action;
};

static uint32_t generation_of(uint64_t state)
{
    return (uint32_t)state & GENERATIONS;
}
static uint32_t arrived_in(uint64_t state)
{
    return (uint32_t)(state >> 48);
}
static uint32_t mark_of(uint32_t generation)
{
    return generation << 1 | 1;
}

/* ---- changes of the state ---- */

static void wake_all(covey_barrier *b, uint64_t seen)
{
    if (seen & CVY_WAITERS)
        (void)cvy_os_futex_wake(cvy_low_half(&b->state), INT_MAX);
}

/* The state of the next generation, in which nobody has arrived. */
static uint64_t next_generation(uint64_t seen)
{
    return (generation_of(seen) + 1) & GENERATIONS;
}

static bool change(covey_barrier *b, uint64_t *seen, uint64_t to)
{
    if (!CVY_MUTANT(barrier_wake_unarmed))
        cvy_bell_arm(); /* who dies before the wake is to be heard */
    if (!atomic_compare_exchange_strong(&b->state, seen, to))
        return false;
    wake_all(b, *seen);
    return true;
}

/* Break it, if it is in the generation and state of `seen`, or in any if `seen` is NULL.
 * That WAITERS goes makes sure that nobody goes to sleep who has not seen BROKEN. */
static bool break_it(covey_barrier *b, const uint64_t *expected, enum why why,
                     uint32_t who)
{
    uint64_t seen = expected ? *expected : atomic_load(&b->state);
    while (!(seen & BROKEN)) {
        atomic_store(&b->why, why);
        atomic_store(&b->who, who);
        if (change(b, &seen, (seen | BROKEN) & ~(uint64_t)CVY_WAITERS))
            return true;
        if (expected)
            return false;
    }
    return false;
}

static int fail_broken(covey_barrier *b, const char *call)
{
    static const char *const whys[] = {"",
                                       "aborted by ",
                                       "reset by ",
                                       "broken by a time-out in ",
                                       "broken by the death of ",
                                       "broken by the action failing in "};
    char who[96] = "a process";
    uint32_t why = atomic_load(&b->why), member = atomic_load(&b->who);
    if (member)
        cvy_sync_member_text(member, who, sizeof who);
    return cvy_fail(COVEY_EBROKEN, "%s: barrier %s was %s%s", call, b->name,
                    why < CVY_ARRAY_SIZE(whys) ? whys[why] : "", who);
}

/* ---- arriving ---- */

static bool entry_is_free(void *object, uint64_t entry)
{
    const covey_barrier *b = object;
    return cvy_entry_has(entry) != mark_of(generation_of(atomic_load(&b->state))) &&
           cvy_slot_is_dead(cvy_entry_owner(entry), false);
}

static int find_entry(covey_barrier *b, cvy_entry **ret)
{
    uint32_t me = cvy_thread_owner();
    while (!(*ret = cvy_table_search(&b->arrivals, me, entry_is_free, b))) {
        int r = cvy_table_grow(&b->arrivals, b);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Whether one that was counted in `seen` is dead. */
static bool lost_one(covey_barrier *b, uint64_t seen, bool ask_kernel,
                     uint32_t *ret_who)
{
    uint32_t at = 0, alive = 0, asked = 0, mark = mark_of(generation_of(seen));
    cvy_entry *entry;
    while ((entry = cvy_table_next(&b->arrivals, &at))) {
        uint64_t is = atomic_load(entry);
        uint32_t owner = cvy_entry_owner(is);
        if (cvy_entry_has(is) != mark)
            continue;
        uint32_t member = cvy_load32(&cvy_slot_at(CVY_INDEX_OF(owner))->member);
        /* Of its process' other threads the kernel would say the same. */
        if (cvy_slot_is_dead(owner, ask_kernel && (!member || member != asked)))
            *ret_who = member;
        else
            alive++;
        asked = member;
    }
    return alive < arrived_in(seen) && !CVY_MUTANT(barrier_lost_one);
}

/* A wait of one thread. */
struct waiting {
    covey_barrier *barrier;
    cvy_entry *mine;
    const char *call;
    int64_t deadline;
    uint32_t generation;
    bool has_come; /* it belongs to that generation; else it waits for the end of it */
};

/* Give up: nobody can be released any more in this generation. */
static int give_up(struct waiting *w, uint64_t seen, int r)
{
    if (!break_it(w->barrier, &seen, WHY_TIMED_OUT, cvy_member_owner()))
        return 0;
    return cvy_fail(r, r == -EINTR ? "%s: a signal came" : "%s: not all have come",
                    w->call);
}

/* How it is with this generation. Returns: 1: to be waited for; 0: released; an error. */
static int look(struct waiting *w, uint64_t seen)
{
    if (generation_of(seen) == w->generation)
        return seen & BROKEN ? fail_broken(w->barrier, w->call) : 1;
    return atomic_load(w->mine) & WAS_RESET ? fail_broken(w->barrier, w->call) : 0;
}

/* Sleep until the state is not `seen`. Returns: as cvy_sleep, or 0 to look again. */
static int sleep_on(struct waiting *w, uint64_t seen, uint32_t gong)
{
    covey_barrier *b = w->barrier;
    if (!(seen & CVY_WAITERS) &&
        !atomic_compare_exchange_strong(&b->state, &seen, seen | CVY_WAITERS))
        return 0;
    return cvy_sleep(cvy_low_half(&b->state), (uint32_t)seen | CVY_WAITERS, gong,
                     w->deadline, cvy_ref_of(b));
}

/* Wait until this generation is over. Who does not belong to it leaves it alone when its
 * own time is over. */
static int wait_for_others(struct waiting *w)
{
    struct cvy_spin spin = {.is_handover = true};
    bool ask_kernel = false;
    uint32_t who = 0;
    for (;;) {
        uint32_t gong = cvy_gong();
        uint64_t seen = atomic_load(&w->barrier->state);
        int r = look(w, seen);
        if (r <= 0)
            return r;
        if (w->deadline > 0 && cvy_spin(&spin))
            continue;
        if (lost_one(w->barrier, seen, ask_kernel, &who)) {
            (void)break_it(w->barrier, &seen, WHY_DIED, who);
            continue;
        }
        r = w->deadline > 0 ? sleep_on(w, seen, gong) : -ETIMEDOUT;
        ask_kernel = r == CVY_SLICE && cvy_may_ask(&w->barrier->asked);
        seen = atomic_load(&w->barrier->state);
        if (r >= 0 || generation_of(seen) != w->generation || seen & BROKEN)
            continue;
        if (!w->has_come)
            return cvy_fail(
                r, r == -EINTR ? "%s: a signal came" : "%s: the action still runs",
                w->call);
        if (seen & ACTION) /* all have come: that is no time-out */
            w->deadline = INT64_MAX;
        else if ((r = give_up(w, seen, r)) < 0)
            return r;
    }
}

/* All have come, and this thread is to run the action. */
static int act(struct waiting *w)
{
    covey_barrier *b = w->barrier;
    cvy_code_fn *fn;
    int r = cvy_code_decode(&((struct barrier_with_action *)b)->action, &fn);
    if (r >= 0)
        r = ((covey_action_fn *)fn)();
    uint64_t seen = atomic_load(&b->state);
    while (generation_of(seen) == w->generation && !(seen & BROKEN)) {
        if (r < 0)
            (void)break_it(b, &seen, WHY_ACTION, cvy_member_owner());
        else if (change(b, &seen, next_generation(seen)))
            return 0;
        seen = atomic_load(&b->state);
    }
    return r < 0 ? r : fail_broken(b, w->call);
}

/* Count this thread. Returns: its index + 1; 0: to be tried again; an error. */
static int arrive(struct waiting *w, bool *ret_acts)
{
    covey_barrier *b = w->barrier;
    uint64_t seen = atomic_load(&b->state), to = seen + ONE;
    w->generation = generation_of(seen);
    *ret_acts = false;
    if (seen & BROKEN)
        return fail_broken(b, w->call);
    if (seen & ACTION) { /* of those before us; the next generation begins after it */
        int r = wait_for_others(w);
        return r == COVEY_EBROKEN ? 0 : r;
    }
    uint64_t note = cvy_entry_of(cvy_thread_owner(), mark_of(w->generation));
    if (!CVY_MUTANT(barrier_late_note))
        atomic_store(w->mine, note);
    bool is_last = arrived_in(to) == b->parties;
    if (is_last && b->has_action)
        to |= ACTION;
    else if (is_last)
        to = next_generation(seen);
    if (is_last && !b->has_action
            ? !change(b, &seen, to)
            : !atomic_compare_exchange_strong(&b->state, &seen, to))
        return 0;
    if (CVY_MUTANT(barrier_late_note))
        atomic_store(w->mine, note);
    *ret_acts = is_last && b->has_action;
    w->has_come = true;
    return (int)arrived_in(seen) + 1;
}

int covey_barrier_wait(covey_barrier *barrier, covey_nsec timeout, unsigned *ret_index)
{
    struct waiting w = {.barrier = barrier, .call = "covey_barrier_wait"};
    bool acts = false;
    int r = cvy_sync_enter(barrier, CVY_KIND_BARRIER, w.call);
    if (r >= 0)
        r = find_entry(barrier, &w.mine);
    if (r < 0)
        return r;
    if (timeout == COVEY_FOREVER && barrier->timeout)
        timeout = barrier->timeout;
    w.deadline = cvy_os_deadline(timeout);
    cvy_process_owns();
    int index;
    do
        index = arrive(&w, &acts);
    while (!index);
    if (index > 0)
        r = acts ? act(&w) : wait_for_others(&w);
    else
        r = index;
    atomic_store(w.mine, cvy_entry_of(cvy_thread_owner(), 0));
    if (r >= 0 && ret_index)
        *ret_index = (unsigned)index - 1;
    return r;
}

/* ---- the other calls ---- */

int covey_barrier_create(covey_barrier **out, unsigned parties,
                         const struct covey_barrier_opts *opts)
{
    static const char call[] = "covey_barrier_create";
    struct covey_barrier_opts o;
    struct cvy_code code;
    void *made;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = cvy_sync_begin(out, call);
    if (r >= 0 && (!parties || parties > MOST))
        r = cvy_fail(-EINVAL, "%s: %u parties; there must be 1 to %u", call, parties,
                     MOST);
    if (r >= 0 && o.timeout < 0)
        r = cvy_fail(-EINVAL, "%s: .timeout is negative", call);
    if (r >= 0 && o.action)
        r = cvy_code_encode((cvy_code_fn *)o.action, &code);
    if (r >= 0)
        r = cvy_sync_create(CVY_KIND_BARRIER,
                            o.action ? sizeof(struct barrier_with_action)
                                     : sizeof(struct covey_barrier),
                            o.name, offsetof(struct covey_barrier, name), &made);
    if (r < 0)
        return r;
    covey_barrier *b = made;
    b->parties = (uint16_t)parties;
    b->timeout = o.timeout;
    b->has_action = o.action != NULL;
    if (o.action)
        ((struct barrier_with_action *)b)->action = code;
    *out = b;
    return 0;
}

int covey_barrier_reset(covey_barrier *barrier)
{
    int r = cvy_sync_enter(barrier, CVY_KIND_BARRIER, "covey_barrier_reset");
    if (r < 0)
        return r;
    uint64_t seen = atomic_load(&barrier->state);
    if (!(seen & BROKEN) && !arrived_in(seen))
        return 0;
    (void)break_it(barrier, NULL, WHY_RESET, cvy_member_owner());
    seen = atomic_load(&barrier->state);
    while (seen & BROKEN) {
        uint32_t at = 0;
        cvy_entry *entry;
        while ((entry = cvy_table_next(&barrier->arrivals, &at))) {
            uint64_t is = atomic_load(entry);
            if (cvy_entry_has(is) == mark_of(generation_of(seen)) &&
                !CVY_MUTANT(barrier_reset_unmarked))
                (void)atomic_compare_exchange_strong(entry, &is, is | WAS_RESET);
        }
        if (change(barrier, &seen, next_generation(seen)))
            break;
    }
    return 0;
}

int covey_barrier_abort(covey_barrier *barrier)
{
    int r = cvy_sync_enter(barrier, CVY_KIND_BARRIER, "covey_barrier_abort");
    if (r >= 0)
        (void)break_it(barrier, NULL, WHY_ABORTED, cvy_member_owner());
    return r;
}

int covey_barrier_broken(covey_barrier *barrier)
{
    int r = cvy_sync_enter(barrier, CVY_KIND_BARRIER, "covey_barrier_broken");
    return r < 0 ? r : (atomic_load(&barrier->state) & BROKEN) != 0;
}

int covey_barrier_parties(covey_barrier *barrier, unsigned *ret_parties)
{
    static const char call[] = "covey_barrier_parties";
    int r = cvy_sync_enter(barrier, CVY_KIND_BARRIER, call);
    if (r < 0)
        return r;
    if (!ret_parties)
        return cvy_fail(-EINVAL, "%s: ret_parties is NULL", call);
    *ret_parties = barrier->parties;
    return 0;
}

int covey_barrier_n_waiting(covey_barrier *barrier, unsigned *ret_waiting)
{
    static const char call[] = "covey_barrier_n_waiting";
    int r = cvy_sync_enter(barrier, CVY_KIND_BARRIER, call);
    if (r < 0)
        return r;
    if (!ret_waiting)
        return cvy_fail(-EINVAL, "%s: ret_waiting is NULL", call);
    uint64_t seen = atomic_load(&barrier->state);
    *ret_waiting = seen & BROKEN ? 0 : arrived_in(seen);
    return 0;
}

int covey_barrier_repr(covey_barrier *barrier, struct covey_bytes *ret_text)
{
    static const char call[] = "covey_barrier_repr";
    int r = cvy_sync_enter(barrier, CVY_KIND_BARRIER, call);
    if (r < 0)
        return r;
    uint64_t seen = atomic_load(&barrier->state);
    if (seen & BROKEN)
        return cvy_sync_text(ret_text, call, "<Barrier at %p: broken>",
                             (void *)barrier);
    return cvy_sync_text(ret_text, call, "<Barrier at %p: waiters=%u/%u>",
                         (void *)barrier, arrived_in(seen), barrier->parties);
}

void covey_barrier_free(covey_barrier *barrier)
{
    cvy_sync_free(barrier, CVY_KIND_BARRIER, "covey_barrier_free");
}

static void look_at(const struct cvy_head *head, const struct cvy_object *object,
                    char *text, size_t size)
{
    (void)head;
    const struct covey_barrier *b = (const void *)object;
    uint64_t seen = atomic_load(&b->state);
    if (seen & BROKEN)
        (void)snprintf(text, size, "broken");
    else
        (void)snprintf(text, size, "%u of %u have come", arrived_in(seen), b->parties);
}

__attribute__((constructor)) static void show_barriers(void)
{
    cvy_look_register(CVY_KIND_BARRIER, offsetof(struct covey_barrier, name),
                      CVY_NAME_BYTES, look_at);
}
