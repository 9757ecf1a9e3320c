/* SPDX-License-Identifier: MIT */
/* semaphore.pml: who waits for a semaphore's permits (src/sync/semaphore.c), for spin.
 *
 * What is done under the guard is one step here: that it happens whole or not at all,
 * whoever dies in it, is what `./run crash` proves. The model is about the steps between:
 * value, WAITERS, sleeping, waking. Deaths, slices and checks are as in lock.pml. */

#ifndef PROCESSES
#define PROCESSES 4
#endif
#ifndef PERMITS
#define PERMITS 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif

/* The lower half of the word. Both change in one atomic step. */
byte value = PERMITS;
bool waiters = false;

byte has[PROCESSES + 1]; /* the entries of the table */
bool queued[PROCESSES + 1];
bool dead[PROCESSES + 1];
byte doomed = 0;

byte deaths = 0;
byte idle_slices = 0;

#define is_doomed(p) ((doomed >> p) & 1)

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

/* After one permit more, when somebody may sleep. */
inline wake()
{
    wake_one(woken);
    if
    :: woken
    :: else ->
        waiters = false; /* forget_waiters */
#ifndef MUTANT_WAKE_NONE
        wake_all()
#else
        skip
#endif
    fi
}

/* What dead `p` holds comes back, by whoever finds no permit. */
inline settle(p)
{
    if
    :: atomic { dead[p] && has[p] > 0 ->
            has[p] = 0; value++; saw_waiters = waiters; idle_slices = 0;
            assert(value <= PERMITS)
        };
        if
        :: saw_waiters -> wake()
        :: else
        fi;
        goto again
    :: else
    fi
}

proctype user()
{
    bool woken, saw_waiters;
    {
        skip;
again:
        if
        :: atomic { value > 0 -> value--; has[_pid]++; idle_slices = 0; goto got }
        :: else
        fi;
        settle(1);
        settle(2);
        /* announce_waiter */
        if
        :: atomic { value == 0 -> waiters = true }
        :: else -> goto again
        fi;
        if
        :: atomic { value == 0 && waiters -> queued[_pid] = true }
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
        fi;
        goto again;
got:
        atomic {
            value++; has[_pid]--; idle_slices = 0;
            assert(value <= PERMITS);
            saw_waiters = waiters;
#ifdef MUTANT_NOT_STICKY
            waiters = false
#endif
        };
        if
        :: saw_waiters -> wake()
        :: else
        fi
    } unless {
        atomic { is_doomed(_pid) -> queued[_pid] = false };
        dead[_pid] = true
    }
over:
    skip
}

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
        od
    }
}
