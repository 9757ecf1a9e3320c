/* SPDX-License-Identifier: MIT */
/**
 * storm.h: processes killed at random moments while all of them use one object.
 *
 * Workers do one operation after the other, each at a place of its own; the judge kills
 * one of them at a time and puts another in its place. From time to time it lets them
 * park, and audits: whoever does not come to park hangs, and the object must be what the
 * operations have made of it, but for what the dead were doing.
 *
 * From one audit to the next is a round. In every other round a victim is stopped before
 * it is killed, so that the judge sees what it had: then accounts are exact.
 */
#ifndef TESTS_CRASH_STORM_H
#define TESTS_CRASH_STORM_H

#include "program.h"

#define STORM_PLACES 6u
#define STORM_IDS    (1u << 18)

/* What a worker is at; what a death there may have cost. */
enum storm_phase { STORM_AWAY, STORM_TAKING, STORM_HAS, STORM_GIVING, STORM_PHASES };

struct storm_place {
    _Alignas(64) int pid;
    uint32_t id;           /* of the worker that is there, never used again */
    uint32_t member, slot; /* its owner words */
    cvy_word parked;       /* the value of `parking` that it has seen */
    _Atomic uint32_t phase;
    _Atomic uint64_t operations, count; /* count: what the noun counts */
};

struct storm {
    struct storm_place places[STORM_PLACES];
    void *object, *other;
    void *data;       /* the noun's, shared */
    cvy_word parking; /* odd: park */

    /* Of this round: */
    long deaths[STORM_PHASES];
    bool stops;               /* victims are stopped first */
    long owned, owned_taking; /* then: deaths of owners, and in STORM_TAKING of those */
    _Atomic uint64_t told;    /* remarks that an owner has died */
    long all_told;            /* of all rounds */
    cvy_word is_wrong;        /* 1: `wrong` is being written, 2: it is */
    char wrong[400];
    _Atomic uint8_t doomed[STORM_IDS]; /* by id: has been, or is about to be killed */
};
extern struct storm *storm;

struct storm_noun {
    const char *name;
    int variant;
    unsigned places;
    void (*set_up)(void);
    void (*work)(unsigned place); /* one operation; it ends if others park */
    /* The judge, again and again while workers are to park; may be NULL. */
    void (*calm)(void);
    /* The judge, when all have parked. Returns: NULL, or what is wrong. */
    const char *(*audit)(void);
    /* Whether the stopped worker at this place owns what is to be told of; may be NULL. */
    bool (*owns)(unsigned place);
};

extern const struct storm_noun storm_locks[], storm_waits[], storm_queues[];

/* Of the noun that is run. */
extern int storm_variant;

uint64_t storm_random(uint64_t below);
/* Mostly for ever, sometimes short, sometimes none at all. */
covey_nsec storm_timeout(void);
static inline void storm_phase(unsigned place, enum storm_phase phase)
{
    atomic_store_explicit(&storm->places[place].phase, phase, memory_order_release);
}
static inline bool storm_is_parking(void)
{
    return atomic_load(&storm->parking) & 1;
}
static inline bool storm_has_parked(unsigned place)
{
    return atomic_load(&storm->places[place].parked) == atomic_load(&storm->parking);
}
/* Deaths of this round at which somebody may have had something. */
static inline long storm_deaths_inside(void)
{
    return storm->deaths[STORM_TAKING] + storm->deaths[STORM_HAS] +
           storm->deaths[STORM_GIVING];
}
uint64_t storm_counts(void);
/* In a worker: this is wrong; it ends. */
_Noreturn void storm_wrong(const char *format, ...) COVEY_PRINTF(1, 2);
/* Make the shared data. */
void *storm_data(size_t size);

/* Returns: whether all went well. */
bool run_storms(struct program *p);

#endif
