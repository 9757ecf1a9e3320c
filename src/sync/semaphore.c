/* SPDX-License-Identifier: MIT */
/* semaphore.c: semaphores that know who holds their permits.
 *
 *   word:   63 62     61 ....... 32   31        30 ......... 0
 *           ticket    guard           WAITERS   value
 *
 * The table says how many permits each process holds. To change value and table together,
 * a thread takes the guard (its slot's owner word) by compare-and-swap, notes in `undo_*`
 * what the table's entry was, changes the entry, and stores the new value, the next
 * ticket and no guard at once: that store is the commit. Who finds the guard's owner dead
 * takes the guard over and puts the entry back, if the note is of this ticket. So at any
 * moment  first value = value + what the entries say, and a dead process's permits are
 * given back exactly: its entry becomes 0 and the value grows by it, in such a change.
 *
 * That holds where who acquires also releases. A process that releases more than it has
 * shows that the semaphore is a signal; from then on permits are nobody's.
 *
 * Waiters sleep on the lower half, after setting WAITERS; a release leaves it set, for a
 * woken sleeper who dies strands nobody then, until a wake finds nobody asleep. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/error.h"
#include "base/mutant.h"
#include "base/opts.h"
#include "region/look.h"
#include "region/wait.h"
#include "sync/sync.h"

#define VALUE_MAX    0x7fffffffu
#define TICKET_SHIFT 62
#define GUARD_NAP    COVEY_MSEC(1)

#define SIGNAL 0x80000000u /* of `first` */

static uint32_t value_of(uint64_t word)
{
    return (uint32_t)word & VALUE_MAX;
}
static uint32_t guard_of(uint64_t word)
{
    return (uint32_t)(word >> 32) & CVY_OWNER_MASK;
}
static uint64_t ticket_of(uint64_t word)
{
    return word >> TICKET_SHIFT;
}
static uint64_t guarded(uint64_t word, uint32_t owner)
{
    return (word & ~((uint64_t)CVY_OWNER_MASK << 32)) | (uint64_t)owner << 32;
}
static bool is_signal(const covey_semaphore *s)
{
    return atomic_load_explicit(&s->first, memory_order_relaxed) & SIGNAL;
}

static uint32_t first_value(covey_semaphore *s)
{
    return atomic_load_explicit(&s->first, memory_order_relaxed) & ~SIGNAL;
}

/* ---- the guard ---- */

static void undo(covey_semaphore *s, uint64_t word)
{
    cvy_ref at = atomic_load(&s->undo_at);
    if (at && (at & 3) == ticket_of(word) && !CVY_MUTANT(semaphore_no_undo))
        atomic_store((cvy_entry *)cvy_at(at & ~UINT64_C(3)), atomic_load(&s->undo_to));
}

/* Commit: a new value, no guard; and the next ticket if an entry was changed, so that the
 * note of what it was is none any more. */
static void publish(covey_semaphore *s, uint64_t word, uint32_t low)
{
    uint64_t ticket = ticket_of(word);
    cvy_ref at = atomic_load_explicit(&s->undo_at, memory_order_relaxed);
    if (at && (at & 3) == ticket && !CVY_MUTANT(semaphore_ticket))
        ticket++;
    atomic_store_explicit(&s->word, ticket << TICKET_SHIFT | low, memory_order_release);
}

static bool repair(covey_semaphore *s, bool ask_kernel);

static uint64_t take_guard_slowly(covey_semaphore *s)
{
    struct cvy_spin spin = {0};
    bool ask_kernel = false;
    uint32_t me = cvy_thread_owner();
    for (;;) {
        uint32_t gong = cvy_gong();
        uint64_t seen = atomic_load_explicit(&s->word, memory_order_relaxed);
        uint32_t owner = guard_of(seen);
        if (!owner) {
            if (atomic_compare_exchange_weak_explicit(
                    &s->word, &seen, guarded(seen, me), memory_order_acquire,
                    memory_order_relaxed))
                return seen;
            continue;
        }
        if (cvy_spin(&spin))
            continue;
        if (!CVY_MUTANT(semaphore_guard) && cvy_slot_is_dead(owner, ask_kernel)) {
            if (!atomic_compare_exchange_strong(&s->word, &seen, guarded(seen, me)))
                continue;
            undo(s, seen);
            publish(s, seen, (uint32_t)seen);
            /* What the dead one has again may be what others sleep for: they looked while
             * it was not there. */
            if (!CVY_MUTANT(semaphore_undo_only))
                (void)repair(s, ask_kernel);
            continue;
        }
        /* It works on a few words: it runs soon, or it is stopped. */
        cvy_word *upper = cvy_low_half(&s->word) + 1;
        ask_kernel = cvy_sleep(upper, (uint32_t)(seen >> 32), gong,
                               cvy_os_now() + GUARD_NAP, cvy_ref_of(s)) == CVY_SLICE;
    }
}

/* Take the guard. Returns: the word without it, as it was when it was taken. */
static inline uint64_t take_guard(covey_semaphore *s)
{
    uint64_t seen = atomic_load_explicit(&s->word, memory_order_relaxed);
    if (cvy_likely(!guard_of(seen) &&
                   atomic_compare_exchange_strong_explicit(
                       &s->word, &seen, guarded(seen, cvy_thread_owner()),
                       memory_order_acquire, memory_order_relaxed)))
        return seen;
    return take_guard_slowly(s);
}

/* Change an entry so that it is undone unless the guard's owner publishes. */
static void set_entry(covey_semaphore *s, uint64_t word, cvy_entry *entry, uint64_t to)
{
    uint64_t had = atomic_load(entry);
    if (CVY_MUTANT(semaphore_late_note))
        atomic_store_explicit(entry, to, memory_order_release);
    atomic_store_explicit(&s->undo_to, had, memory_order_relaxed);
    atomic_store_explicit(&s->undo_at,
                          cvy_ref_of((const void *)(uintptr_t)entry) | ticket_of(word),
                          memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(entry, to, memory_order_release);
}

/* ---- the dead ---- */

static bool entry_is_free(void *object, uint64_t entry)
{
    (void)object;
    return !cvy_entry_has(entry) && cvy_member_is_dead(cvy_entry_owner(entry), false);
}

/* This process's entry. A new one is taken under the guard, since what a dead owner of
 * the guard had changed may have to be put back, and since the process's other threads may
 * be about to take one. */
static int find_entry_slowly(covey_semaphore *s, cvy_entry **ret)
{
    uint32_t me = cvy_member_owner();
    *ret = cvy_table_search(&s->holders, me, NULL, NULL);
    for (int r = 0; !*ret; r = cvy_table_grow(&s->holders, s)) {
        if (r < 0)
            return r;
        uint64_t word = take_guard(s);
        *ret = cvy_table_search(&s->holders, me, entry_is_free, s);
        publish(s, word, (uint32_t)word);
        if (*ret)
            break;
    }
    return 0;
}

/* WAITERS, where a wake found nobody asleep. Who has gone to sleep since is woken: without
 * the bit nobody else will. */
static void forget_waiters(covey_semaphore *s)
{
    uint64_t word = take_guard(s);
    publish(s, word, value_of(word));
    (void)cvy_os_futex_wake(cvy_low_half(&s->word), INT_MAX);
}

static void wake(covey_semaphore *s, uint32_t n)
{
    int most = n > INT_MAX ? INT_MAX : (int)n;
    if (cvy_os_futex_wake(cvy_low_half(&s->word), most) == 0)
        forget_waiters(s);
}

static inline bool is_mine(const cvy_entry *entry)
{
    return cvy_entry_owner(atomic_load_explicit(entry, memory_order_relaxed)) ==
           cvy_member_owner();
}

static inline int find_entry(covey_semaphore *s, cvy_entry **ret)
{
    *ret = cvy_table_first(&s->holders, cvy_member_owner());
    return cvy_likely(is_mine(*ret)) ? 0 : find_entry_slowly(s, ret);
}

/* The same, NULL if it has none. */
static inline cvy_entry *find_old_entry(covey_semaphore *s)
{
    cvy_entry *entry = cvy_table_first(&s->holders, cvy_member_owner());
    return cvy_likely(is_mine(entry))
               ? entry
               : cvy_table_search(&s->holders, cvy_member_owner(), NULL, NULL);
}

static bool settle(covey_semaphore *s, cvy_entry *entry, uint64_t seen)
{
    uint64_t word = take_guard(s);
    bool is_same = atomic_load(entry) == seen && !is_signal(s);
    if (!is_same) {
        publish(s, word, (uint32_t)word);
        return false;
    }
    set_entry(s, word, entry, 0);
    cvy_bell_arm();
    publish(s, word, (uint32_t)word + cvy_entry_has(seen));
    if (word & CVY_WAITERS)
        wake(s, cvy_entry_has(seen));
    return true;
}

/* Give back what the dead hold. Returns: whether there was anything. */
static bool repair(covey_semaphore *s, bool ask_kernel)
{
    bool any = false;
    uint32_t at = 0;
    cvy_entry *entry;
    while (!is_signal(s) && !CVY_MUTANT(semaphore_repair) &&
           (entry = cvy_table_next(&s->holders, &at))) {
        uint64_t seen = atomic_load(entry);
        if (cvy_entry_has(seen) &&
            cvy_member_is_dead(cvy_entry_owner(seen), ask_kernel))
            any |= settle(s, entry, seen);
    }
    return any;
}

/* How many permits there are, also those of processes that have died meanwhile. */
static uint32_t value_now(covey_semaphore *s)
{
    (void)repair(s, false);
    return value_of(atomic_load(&s->word));
}

/* ---- acquire and release ---- */

/* Of a signal no entry changes, so that one compare-and-swap does it all: from `seen`,
 * where nobody has the guard, to another value. */
static inline bool change_signal(covey_semaphore *s, uint64_t seen, uint64_t to)
{
    return !guard_of(seen) &&
           atomic_compare_exchange_strong_explicit(
               &s->word, &seen, to, memory_order_acq_rel, memory_order_relaxed);
}

/* Take a permit if there is one. Returns: 0; -EAGAIN; -ENOMEM. */
static int try_acquire(covey_semaphore *s)
{
    cvy_entry *entry = NULL;
    uint64_t seen = atomic_load_explicit(&s->word, memory_order_relaxed);
    if (!value_of(seen))
        return -EAGAIN;
    if (is_signal(s)) {
        if (cvy_likely(change_signal(s, seen, seen - 1)))
            return 0;
    } else {
        int r = find_entry(s, &entry);
        if (r < 0)
            return r;
        cvy_process_owns();
    }
    uint64_t word = take_guard(s);
    if (!value_of(word)) {
        publish(s, word, (uint32_t)word);
        return -EAGAIN;
    }
    if (entry && !CVY_MUTANT(semaphore_unnoted))
        set_entry(s, word, entry, atomic_load(entry) + cvy_entry_of(0, 1));
    publish(s, word, (uint32_t)word - 1);
    return 0;
}

/* Returns: false if there is a permit now. */
static bool announce_waiter(covey_semaphore *s)
{
    uint64_t word = take_guard(s);
    bool is_empty = !value_of(word);
    publish(s, word, (uint32_t)word | (is_empty ? CVY_WAITERS : 0));
    return is_empty;
}

static int acquire_slowly(covey_semaphore *s, int64_t deadline)
{
    struct cvy_spin spin = {.is_handover = is_signal(s)};
    bool ask_kernel = deadline <= 0 && cvy_slice_is_over(cvy_low_half(&s->word)) &&
                      cvy_may_ask(&s->asked);
    for (;;) {
        uint32_t gong = cvy_gong();
        int r = try_acquire(s);
        if (r != -EAGAIN)
            return r;
        if (deadline > 0 && cvy_spin(&spin))
            continue;
        if (repair(s, ask_kernel))
            continue;
        if (deadline <= 0)
            return -ETIMEDOUT;
        if (!announce_waiter(s))
            continue;
        r = cvy_sleep(cvy_low_half(&s->word), CVY_WAITERS, gong, deadline,
                      cvy_ref_of(s));
        if (r < 0)
            return r;
        ask_kernel = r == CVY_SLICE && cvy_may_ask(&s->asked);
        spin = (struct cvy_spin){0};
    }
}

static int acquire(covey_semaphore *s, covey_nsec timeout, const char *call)
{
    int r = try_acquire(s);
    if (cvy_likely(r == 0))
        return 0;
    if (r == -EAGAIN)
        r = acquire_slowly(s, cvy_os_deadline(timeout));
    if (r == -ETIMEDOUT)
        return cvy_fail(r, "%s: semaphore %s has no permit", call, s->name);
    return r == -EINTR ? cvy_fail(r, "%s: a signal came", call) : r;
}

/* What the caller's entry is to be after it releases `n`; the semaphore is a signal from
 * now on if it does not have so many. Who has no entry has none, and needs none for that:
 * a release asks for no memory. */
static void give_from_entry(covey_semaphore *s, uint64_t word, cvy_entry *entry,
                            uint32_t n)
{
    uint64_t had = entry ? atomic_load(entry) : 0;
    if (is_signal(s))
        return;
    if (cvy_entry_has(had) >= n)
        set_entry(s, word, entry, had - cvy_entry_of(0, n));
    else
        atomic_fetch_or(&s->first, SIGNAL);
}

static int release(covey_semaphore *s, uint32_t n, uint32_t most, const char *call)
{
    cvy_entry *entry = NULL;
    if (!n)
        return cvy_fail(-EINVAL, "%s: n is 0", call);
    uint64_t word = atomic_load_explicit(&s->word, memory_order_relaxed);
    if (!is_signal(s))
        entry = find_old_entry(s);
    else if (!(word & CVY_WAITERS) && value_of(word) <= most &&
             n <= most - value_of(word) && change_signal(s, word, word + n))
        return 0;
    word = take_guard(s);
    if (cvy_unlikely(n > most - value_of(word) || value_of(word) > most)) {
        publish(s, word, (uint32_t)word);
        return -EOVERFLOW;
    }
    give_from_entry(s, word, entry, n);
    if (word & CVY_WAITERS && !CVY_MUTANT(semaphore_wake_unarmed))
        cvy_bell_arm(); /* who dies before the wake is to be heard */
    if (CVY_MUTANT(semaphore_waiters))
        publish(s, word, value_of(word) + n);
    else
        publish(s, word, (uint32_t)word + n);
    if (word & CVY_WAITERS)
        wake(s, n);
    return 0;
}

/* ---- the public calls ---- */

static int create(enum cvy_kind kind, void **out, unsigned value,
                  const struct covey_semaphore_opts *opts, const char *call)
{
    struct covey_semaphore_opts o;
    int r = CVY_TAKE_OPTS(&o, opts, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".signal", o.signal});
    if (r >= 0)
        r = cvy_sync_begin(out, call);
    if (r >= 0 && value > VALUE_MAX)
        r = cvy_fail(-EOVERFLOW, "%s: %u permits, most are 2^31 - 1", call, value);
    if (r >= 0)
        r = cvy_sync_create(kind, sizeof(struct covey_semaphore), o.name,
                            offsetof(struct covey_semaphore, name), out);
    if (r < 0 || !out) /* which is an error above */
        return r;
    covey_semaphore *s = *out;
    atomic_store(&s->word, value);
    atomic_store(&s->first, value | (!value || o.signal == COVEY_ON ? SIGNAL : 0));
    return 0;
}

int covey_semaphore_create(covey_semaphore **out, unsigned value,
                           const struct covey_semaphore_opts *opts)
{
    void *made = NULL;
    int r = create(CVY_KIND_SEMAPHORE, out ? &made : NULL, value, opts,
                   "covey_semaphore_create");
    if (r >= 0 && out)
        *out = made;
    return r;
}

int covey_semaphore_acquire(covey_semaphore *semaphore, covey_nsec timeout)
{
    static const char call[] = "covey_semaphore_acquire";
    int r = cvy_sync_enter(semaphore, CVY_KIND_SEMAPHORE, call);
    return cvy_unlikely(r < 0) ? r : acquire(semaphore, timeout, call);
}

int covey_semaphore_release(covey_semaphore *semaphore, unsigned n)
{
    static const char call[] = "covey_semaphore_release";
    int r = cvy_sync_enter(semaphore, CVY_KIND_SEMAPHORE, call);
    if (cvy_likely(r >= 0))
        r = release(semaphore, n, VALUE_MAX, call);
    if (r == -EOVERFLOW)
        return cvy_fail(r, "%s: more than 2^31 - 1 permits", call);
    return r;
}

static int get_value(covey_semaphore *s, unsigned *ret_value, const char *call)
{
    if (!ret_value)
        return cvy_fail(-EINVAL, "%s: ret_value is NULL", call);
    *ret_value = value_now(s);
    return 0;
}

int covey_semaphore_get_value(covey_semaphore *semaphore, unsigned *ret_value)
{
    static const char call[] = "covey_semaphore_get_value";
    int r = cvy_sync_enter(semaphore, CVY_KIND_SEMAPHORE, call);
    return r < 0 ? r : get_value(semaphore, ret_value, call);
}

int covey_semaphore_locked(covey_semaphore *semaphore)
{
    int r = cvy_sync_enter(semaphore, CVY_KIND_SEMAPHORE, "covey_semaphore_locked");
    return r < 0 ? r : !value_now(semaphore);
}

int covey_semaphore_repr(covey_semaphore *semaphore, struct covey_bytes *ret_text)
{
    static const char call[] = "covey_semaphore_repr";
    int r = cvy_sync_enter(semaphore, CVY_KIND_SEMAPHORE, call);
    return r < 0 ? r
                 : cvy_sync_text(ret_text, call, "<Semaphore(value=%u)>",
                                 value_now(semaphore));
}

void covey_semaphore_free(covey_semaphore *semaphore)
{
    cvy_sync_free(semaphore, CVY_KIND_SEMAPHORE, "covey_semaphore_free");
}

int covey_bounded_semaphore_create(covey_bounded_semaphore **out, unsigned value,
                                   const struct covey_semaphore_opts *opts)
{
    void *made = NULL;
    int r = create(CVY_KIND_BOUNDED_SEMAPHORE, out ? &made : NULL, value, opts,
                   "covey_bounded_semaphore_create");
    if (r >= 0 && out)
        *out = made;
    return r;
}

int covey_bounded_semaphore_acquire(covey_bounded_semaphore *semaphore,
                                    covey_nsec timeout)
{
    static const char call[] = "covey_bounded_semaphore_acquire";
    int r = cvy_sync_enter(semaphore, CVY_KIND_BOUNDED_SEMAPHORE, call);
    return cvy_unlikely(r < 0) ? r : acquire(&semaphore->semaphore, timeout, call);
}

int covey_bounded_semaphore_release(covey_bounded_semaphore *semaphore, unsigned n)
{
    static const char call[] = "covey_bounded_semaphore_release";
    int r = cvy_sync_enter(semaphore, CVY_KIND_BOUNDED_SEMAPHORE, call);
    if (cvy_unlikely(r < 0))
        return r;
    uint32_t most = first_value(&semaphore->semaphore);
    r = release(&semaphore->semaphore, n, most, call);
    if (r == -EOVERFLOW)
        return cvy_fail(COVEY_ERELEASED,
                        "%s: semaphore %s would have more than %u permits", call,
                        semaphore->semaphore.name, most);
    return r;
}

int covey_bounded_semaphore_get_value(covey_bounded_semaphore *semaphore,
                                      unsigned *ret_value)
{
    static const char call[] = "covey_bounded_semaphore_get_value";
    int r = cvy_sync_enter(semaphore, CVY_KIND_BOUNDED_SEMAPHORE, call);
    return r < 0 ? r : get_value(&semaphore->semaphore, ret_value, call);
}

int covey_bounded_semaphore_locked(covey_bounded_semaphore *semaphore)
{
    int r = cvy_sync_enter(semaphore, CVY_KIND_BOUNDED_SEMAPHORE,
                           "covey_bounded_semaphore_locked");
    return r < 0 ? r : !value_now(&semaphore->semaphore);
}

int covey_bounded_semaphore_repr(covey_bounded_semaphore *semaphore,
                                 struct covey_bytes *ret_text)
{
    static const char call[] = "covey_bounded_semaphore_repr";
    int r = cvy_sync_enter(semaphore, CVY_KIND_BOUNDED_SEMAPHORE, call);
    return r < 0 ? r
                 : cvy_sync_text(ret_text, call,
                                 "<BoundedSemaphore(value=%u, maxvalue=%u)>",
                                 value_now(&semaphore->semaphore),
                                 first_value(&semaphore->semaphore));
}

void covey_bounded_semaphore_free(covey_bounded_semaphore *semaphore)
{
    cvy_sync_free(semaphore, CVY_KIND_BOUNDED_SEMAPHORE,
                  "covey_bounded_semaphore_free");
}

/* Permits, and who holds how many: as far as there is room. */
static void look(const struct cvy_head *head, const struct cvy_object *object,
                 char *text, size_t size)
{
    const struct covey_semaphore *s = (const void *)object;
    size_t n =
        (size_t)snprintf(text, size, "value %u%s", value_of(atomic_load(&s->word)),
                         is_signal(s) ? ", a signal" : "");
    for (size_t i = 0; i < CVY_TABLE_INLINE && n < size; i++) {
        char owner[96];
        uint64_t entry = atomic_load(&s->holders.first[i].entry);
        if (!cvy_entry_has(entry) || is_signal(s))
            continue;
        cvy_look_member(head, cvy_entry_owner(entry), owner, sizeof owner);
        n += (size_t)snprintf(text + n, size - n, ", %u had by %s",
                              cvy_entry_has(entry), owner);
    }
}

__attribute__((constructor)) static void show_semaphores(void)
{
    cvy_look_register(CVY_KIND_SEMAPHORE, offsetof(struct covey_semaphore, name),
                      CVY_NAME_BYTES, look);
    cvy_look_register(CVY_KIND_BOUNDED_SEMAPHORE,
                      offsetof(struct covey_semaphore, name), CVY_NAME_BYTES, look);
}
