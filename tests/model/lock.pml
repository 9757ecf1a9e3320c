/* SPDX-License-Identifier: MIT */
/* lock.pml: the lock word of src/region/lock.[ch] and src/sync/lock.c as a model for spin.
 *
 * PROCESSES processes acquire and release once each, in every order of their atomic steps.
 * DEATHS of them are killed, between any two steps or asleep. The bell is off: who sleeps
 * learns of a death at its slice's end only. Slices end when nothing else can happen
 * (`timeout`), so a wake-up that is lost is seen as a slice that had to help.
 *
 * Checked: one has the lock at a time; who takes it from a dead owner, and nobody else, is
 * told so, once; everybody who lives gets it; without deaths no slice has to help; and
 * when slices help, each brings somebody on.
 *
 * -DPATIENCE: sleepers may give up, as after a time-out.
 * -DANOTHER:  others than the owner release it, too; then only sleeping is checked.
 * -DMUTANT_x: a step is left out, and one of the checks must fail. */

#ifndef PROCESSES
#define PROCESSES 4
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#define NOBODY 0

/* The word. Both change in one atomic step. */
byte owner = NOBODY;
bool waiters = false;

/* The kernel: who is queued on the word; whose life word says that it is dead. */
bool queued[PROCESSES + 1];
bool dead[PROCESSES + 1];
byte doomed = 0; /* bit p: p is killed; it does nothing any more */

/* For the checks only. */
byte inside = 0;    /* how many of the living have the lock */
bool left = false;  /* its owner died, and nobody has been told */
byte deaths = 0;
byte idle_slices = 0; /* slices since somebody got on */

#define is_doomed(p) ((doomed >> p) & 1)

/* Wake one of those who are queued; `n` says whether there was one. */
inline wake_one(n)
{
    atomic {
        n = 0;
        if
        :: queued[1] -> queued[1] = false; n = 1
        :: queued[2] -> queued[2] = false; n = 1
#if PROCESSES > 2
        :: queued[3] -> queued[3] = false; n = 1
#endif
#if PROCESSES > 3
        :: queued[4] -> queued[4] = false; n = 1
#endif
#if PROCESSES > 4
        :: queued[5] -> queued[5] = false; n = 1
#endif
        :: else
        fi
    }
}

inline wake_all()
{
    d_step {
        queued[1] = false;
        queued[2] = false;
#if PROCESSES > 2
        queued[3] = false;
#endif
#if PROCESSES > 3
        queued[4] = false;
#endif
#if PROCESSES > 4
        queued[5] = false;
#endif
    }
}

/* What follows a change of the word to WAITERS without an owner: cvy_lock_wake. */
inline lock_wake()
{
    wake_one(woken);
    if
    :: woken
    :: else ->
#ifndef MUTANT_NEVER_FORGET
        if
        :: d_step { owner == NOBODY && waiters -> waiters = false };
#if defined(MUTANT_WAKE_ONE)
            wake_one(woken)
#elif !defined(MUTANT_WAKE_NONE)
            wake_all()
#endif
        :: else
        fi
#else
        skip
#endif
    fi
}

/* cvy_lock_wake_next: to WAITERS, whoever has it, unless it is free already. */
inline release_slowly()
{
    if
    :: atomic { owner != NOBODY ->
            owner = NOBODY;
#ifdef MUTANT_NOT_STICKY
            waiters = false;
#else
            waiters = true;
#endif
            left = false; inside = 0; idle_slices = 0
        };
        lock_wake()
    :: else /* released by two at once */
    fi
}

/* The owner that was seen is dead: take the lock over. */
inline take_over()
{
    atomic {
        if
        :: owner == seen_owner && waiters == seen_waiters ->
            owner = _pid;
#ifndef MUTANT_TAKE_OVER_ALONE
            waiters = true;
#endif
            idle_slices = 0;
            assert(left && inside == 0); /* told: what it finds may be half-done */
            left = false; inside++;
            goto got
        :: else
        fi
    }
}

inline sleep()
{
    /* The kernel looks at the word and queues in one step. */
    if
    :: atomic { owner == seen_owner && waiters == seen_waiters -> queued[_pid] = true }
    :: else -> goto again
    fi;
    if
    :: !queued[_pid]
    :: atomic { timeout && queued[_pid] -> /* the slice ends */
            queued[_pid] = false;
            assert(deaths > 0);
            idle_slices++;
            assert(idle_slices <= PROCESSES)
        }
#ifdef PATIENCE
    :: atomic { queued[_pid] -> queued[_pid] = false; goto over }
#endif
    fi
}

proctype user()
{
    byte seen_owner;
    bool seen_waiters, woken;
    {
        skip;
again:
        atomic { seen_owner = owner; seen_waiters = waiters };
        if
        :: seen_owner == NOBODY ->
            atomic {
                if
                :: owner == NOBODY && waiters == seen_waiters ->
                    assert(!left && inside == 0);
                    owner = _pid; inside++; idle_slices = 0;
#ifdef MUTANT_TAKE_ALONE
                    waiters = false;
#endif
                    goto got
                :: else -> goto again
                fi
            }
        :: else
        fi;
#ifndef MUTANT_DEAD_UNSEEN
        if
        :: dead[seen_owner] -> take_over()
        :: else
        fi;
#endif
        /* announce_waiter */
        d_step { seen_owner = owner; seen_waiters = waiters };
        if
        :: seen_owner == NOBODY -> goto again
        :: else
        fi;
        if
        :: seen_waiters
        :: else ->
            atomic {
                if
                :: owner == seen_owner && waiters == seen_waiters ->
                    waiters = true; seen_waiters = true
                :: else -> goto again
                fi
            }
        fi;
        sleep();
        goto again;
got:
        skip; /* what the lock protects */
        if
#ifdef ANOTHER
        :: atomic { owner != NOBODY && !waiters ->
#else
        :: atomic { owner == _pid && !waiters ->
#endif
                owner = NOBODY; left = false; inside = 0; idle_slices = 0;
                goto over
            }
        :: else
        fi;
        release_slowly()
    } unless {
        atomic { is_doomed(_pid) ->
            /* The kernel: out of its queue; the word is as it was left. */
            queued[_pid] = false;
            if
            :: owner == _pid -> left = true; inside = 0
            :: else
            fi
        };
        dead[_pid] = true
    }
over:
    skip
}

#ifdef ANOTHER
/* Whoever releases a lock that somebody has. */
proctype another()
{
    bool woken;
    release_slowly()
}
#endif

proctype killer(byte victim)
{
    if
    :: atomic { true -> doomed = doomed | (1 << victim); deaths++ }
    :: true
    fi
}

init {
    atomic {
        byte p = 1;
        do
        :: p <= PROCESSES -> run user(); p++
        :: else -> break
        od;
        p = 1;
        do
        :: p <= DEATHS -> run killer(p); p++
        :: else -> break
        od;
#ifdef ANOTHER
        run another()
#endif
    }
}
