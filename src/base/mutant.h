/* SPDX-License-Identifier: MIT */
/**
 * base/mutant.h: safety steps that can be left out, in builds with CVY_MUTANTS, to see
 * that the proof of tests/crash notices. Elsewhere CVY_MUTANT is 0 and costs nothing.
 *
 *     if (!CVY_MUTANT(lock_wake_unarmed))
 *         cvy_bell_arm();
 */
#ifndef CVY_BASE_MUTANT_H
#define CVY_BASE_MUTANT_H

/* X(name, what is left out) */
#define CVY_MUTANT_MAP(X)                                                              \
    X(lock_dead_owner, "lock: a dead owner is not taken for dead")                     \
    X(lock_kernel_unasked, "lock: at a slice's end the kernel is not asked")           \
    X(lock_not_sticky, "lock: a release does not leave WAITERS set")                   \
    X(lock_wake_unarmed, "lock: the bell is not armed before a wake")                  \
    X(lock_remark, "lock: who takes it from a dead owner is not told")                 \
    X(rlock_depth, "rlock: who takes it from a dead owner keeps its depth")            \
    X(sleep_deaf, "sleep: not on the bell")                                            \
    X(sleep_no_gong, "sleep: who hears the bell does not strike the gong")             \
    X(semaphore_unnoted, "semaphore: who acquires is not noted in the table")          \
    X(semaphore_no_undo, "semaphore: what a dead owner of the guard did stays")        \
    X(semaphore_late_note, "semaphore: the note for undo comes after the change")      \
    X(semaphore_ticket, "semaphore: a note stays valid after the commit")              \
    X(semaphore_guard, "semaphore: a dead owner of the guard is not noticed")          \
    X(semaphore_undo_only, "semaphore: what is undone is not given back at once")      \
    X(semaphore_repair, "semaphore: what the dead hold is not given back")             \
    X(semaphore_waiters, "semaphore: a release takes WAITERS away")                    \
    X(semaphore_wake_unarmed, "semaphore: the bell is not armed before a wake")        \
    X(condition_notify_note, "condition: a notify is not noted before it begins")      \
    X(condition_inherit_notify, "condition: nobody carries through a dead notify")     \
    X(condition_inherit_waiter, "condition: a dead waiter's notification is lost")     \
    X(condition_heir_late, "condition: the dead one is cleared before its heir marks") \
    X(condition_bury, "condition: a notify buries the notified with what they had")    \
    X(event_wake_unarmed, "event: the bell is not armed before the wake")              \
    X(event_generation, "event: a set that was cleared leaves no trace")               \
    X(barrier_lost_one, "barrier: the dead are not looked for")                        \
    X(barrier_late_note, "barrier: who comes is counted before it is noted")           \
    X(barrier_wake_unarmed, "barrier: the bell is not armed before the wake")          \
    X(barrier_reset_unmarked, "barrier: a reset does not mark those who wait")         \
    X(region_late_undo, "region: a word is changed before it is in the undo log")      \
    X(region_no_rollback, "region: what a dead owner of the lock did stays")           \
    X(region_holds, "region: the holds of the dead stay")                              \
    X(queue_early_note, "queue: the tail moves on before the message is committed")    \
    X(queue_put_repair, "queue: what a dead producer had committed is not noted")      \
    X(queue_lost, "queue: what a dead consumer had in its hands is not counted")       \
    X(queue_put_extent, "queue: an extent is not noted while it is put")               \
    X(queue_get_extent, "queue: an extent is not noted while it is taken")             \
    X(queue_joined, "queue: what the dead had got keeps a join waiting")               \
    X(pool_begin_unasked, "pool: an item is begun without a compare-and-swap")         \
    X(pool_begin_unsaid, "pool: an item is begun before the line says so")             \
    X(pool_commit_early, "pool: an outcome is set before the result is in place")      \
    X(pool_commit_unasked, "pool: an outcome is set by a plain store")                 \
    X(pool_missing, "pool: what the dead had claimed is not looked for")               \
    X(pool_progress, "pool: progress is told without taking back what was said")

#ifdef CVY_MUTANTS
#define CVY_MUTANT_ENUM_(name, text) CVY_MUTANT_##name,
enum cvy_mutant { CVY_MUTANT_NONE, CVY_MUTANT_MAP(CVY_MUTANT_ENUM_) CVY_MUTANT_COUNT };
#undef CVY_MUTANT_ENUM_
/** The one in force; inherited by fork. */
extern enum cvy_mutant cvy_mutant;
#define CVY_MUTANT(name) (cvy_mutant == CVY_MUTANT_##name)
#else
#define CVY_MUTANT(name) 0
#endif

#endif
