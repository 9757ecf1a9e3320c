/* SPDX-License-Identifier: MIT */
/* roster.c: see roster.h. Benches of seats, which are never freed; a seat is taken by one
 * compare-and-swap and left by another. */
#include "memory/roster.h"

#include <stddef.h>

#include "base/base.h"
#include "base/memory.h"

#define SEATS 62

struct bench {
    _Atomic(struct bench *) next;
    cvy_seat seats[SEATS];
};

static struct bench first;
_Atomic unsigned char cvy_roster_is_used;

static cvy_seat *sit_down(struct bench *bench, struct covey_memory *memory)
{
    for (size_t i = 0; i < SEATS; i++) {
        uintptr_t none = 0;

        if (!atomic_load_explicit(&bench->seats[i], memory_order_relaxed) &&
            atomic_compare_exchange_strong(&bench->seats[i], &none, (uintptr_t)memory))
            return &bench->seats[i];
    }
    return NULL;
}

/* The bench behind this one, which is made if there is none. */
static struct bench *next_of(struct bench *bench)
{
    struct bench *next = atomic_load(&bench->next), *made;

    if (next)
        return next;
    made = cvy_calloc(1, sizeof(*made));
    if (!made || atomic_compare_exchange_strong(&bench->next, &next, made))
        return made;
    cvy_free(made);
    return next;
}

cvy_seat *cvy_roster_add(struct covey_memory *memory)
{
    atomic_store_explicit(&cvy_roster_is_used, 1, memory_order_relaxed);
    for (struct bench *bench = &first; bench; bench = next_of(bench)) {
        cvy_seat *seat = sit_down(bench, memory);

        if (seat)
            return seat;
    }
    return NULL;
}

bool cvy_roster_remove(cvy_seat *seat, struct covey_memory *memory)
{
    uintptr_t expected = (uintptr_t)memory;

    return atomic_compare_exchange_strong(seat, &expected, 0);
}

void cvy_roster_end(void (*fn)(struct covey_memory *memory))
{
    for (struct bench *bench = &first; bench; bench = atomic_load(&bench->next)) {
        for (size_t i = 0; i < SEATS; i++) {
            uintptr_t memory = atomic_load(&bench->seats[i]);

            if (memory && !(memory & 1) &&
                atomic_compare_exchange_strong(&bench->seats[i], &memory, memory | 1))
                fn((struct covey_memory *)memory);
        }
    }
}
