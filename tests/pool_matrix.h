/* SPDX-License-Identifier: MIT */
/* The workers' part of test_pool_matrix: one of them, the victim, meets its end at a
 * certain point, and says so. What it is about lies in memory of the family, because under
 * spawn and forkserver a worker knows nothing else of the test. */
#ifndef TESTS_POOL_MATRIX_H
#define TESTS_POOL_MATRIX_H

#include "pool/pool.h"
#include "pool_help.h"
#include "step_self.h"

enum { ITEMS = 6, VICTIM = 2, EVERY_ITEM = 1000 };

/* What happens to a worker; NOTHING: no more. */
enum fate {
    NOTHING,
    DIES_ON_ENTRY,     /* it is in a batch and has announced nothing */
    DIES_BEFORE_CLAIM, /* it has announced what it is about to claim */
    DIES_AFTER_CLAIM,  /* it has claimed and begun nothing */
    DIES_RUNNING,
    COUNTS_TO_COMMIT,  /* how far it is from the return of the function to the commit */
    DIES_COMMITTING,   /* half of that way, at most a few instructions */
    DIES_AFTER_COMMIT, /* and has not begun anything else */
    DIES_IN_INITIALIZER,
    DIES_IN_EXIT_HOOK,
    IS_STOPPED,
    TAKES_MEMORY,
    BLOCKS
};

struct stage {
    cvy_word fate;         /* enum fate */
    cvy_word victim;       /* number of the item, or EVERY_ITEM */
    cvy_word times;        /* how often it is to happen at most */
    cvy_word stepped;      /* process id of the worker that traps itself */
    cvy_word happened;     /* how often it did */
    cvy_word pid;          /* to whom it happened last */
    cvy_word others;       /* other items that came to their end */
    cvy_word cell;         /* counts the times it was set */
    cvy_word steps;        /* from the return of a function to its commit */
    cvy_word runs[ITEMS];  /* how often each item was begun */
    _Atomic uint64_t pool; /* its address, once it is there */
};

struct item {
    struct stage *stage;
    uint64_t number;
};

static inline struct stage *new_stage(void)
{
    void *object = NULL;
    cvy_ref body = 0;
    CHECK(cvy_self() != NULL);
    CHECK_OK(cvy_object_create(CVY_KIND_TEST, sizeof(struct cvy_object), 0,
                               sizeof(struct stage), &object, &body));
    struct stage *stage = cvy_at(body);
    memset(stage, 0, sizeof *stage);
    return stage;
}

static inline void set_stage(struct stage *stage, enum fate fate, uint32_t victim,
                             uint32_t times)
{
    atomic_store(&stage->fate, NOTHING);
    atomic_store(&stage->victim, victim);
    atomic_store(&stage->times, times);
    atomic_store(&stage->stepped, 0);
    atomic_store(&stage->happened, 0);
    atomic_store(&stage->pid, 0);
    atomic_store(&stage->others, 0);
    for (size_t i = 0; i < ITEMS; i++)
        atomic_store(&stage->runs[i], 0);
    atomic_store(&stage->fate, fate);
    atomic_fetch_add(&stage->cell, 1);
    (void)cvy_os_futex_wake(&stage->happened, 100); /* who came too late for the last */
}

/* One that is dead before it could meet its fate lets another one do it. */
static inline void forget_stepped(struct stage *stage, int pid)
{
    uint32_t stepped = (uint32_t)pid;
    if (atomic_compare_exchange_strong(&stage->stepped, &stepped, 0))
        (void)cvy_os_futex_wake(&stage->happened, 100);
}

static inline enum fate fate_of(struct stage *stage)
{
    return (enum fate)atomic_load(&stage->fate);
}

static inline bool is_to_happen(struct stage *stage)
{
    return atomic_load(&stage->happened) < atomic_load(&stage->times);
}

static inline bool is_victim(const struct item *item)
{
    uint32_t victim = atomic_load(&item->stage->victim);
    return victim == EVERY_ITEM || item->number == victim;
}

static inline void it_happens(struct stage *stage)
{
    atomic_store(&stage->pid, (uint32_t)getpid());
    family_tell(&stage->happened);
}

static inline void die(struct stage *stage)
{
    it_happens(stage);
    raise(SIGKILL);
}

/* ---- where a worker is, as its own line has it --------------------------------- */

/* Of a worker that traps itself. */
static struct {
    struct stage *stage;
    uint32_t owner;   /* its life word */
    uintptr_t caller; /* the stack of who called the task begins here */
    uint32_t steps;   /* since the task returned */
} self;

struct place {
    struct cvy_batch *batch; /* NULL: in none */
    bool announced, claimed;
    uint64_t begun; /* + 1 */
    bool is_final;  /* that one */
};

static struct place find_place(void)
{
    struct place place = {NULL, false, false, 0, false};
    const covey_pool *pool =
        (const covey_pool *)(uintptr_t)atomic_load(&self.stage->pool);
    if (!pool)
        return place;
    struct cvy_pool_shared *shared = cvy_at(pool->shared);
    struct cvy_pool_line *line = shared->lines;
    while (atomic_load(&line->thread) != self.owner)
        if (++line == shared->lines + atomic_load(&shared->workers))
            return place;
    uint32_t slot = cvy_line_batch(line);
    if (!slot)
        return place;
    place.batch = cvy_at(atomic_load(&shared->batches[slot - 1]));
    place.announced = cvy_range_is_of(atomic_load(&line->running), slot - 1);
    place.claimed = atomic_load(&place.batch->cursor) > 0;
    place.begun = atomic_load(&line->begun);
    if (place.begun)
        place.is_final =
            cvy_outcome_is_final(atomic_load(&place.batch->outcomes[place.begun - 1]));
    return place;
}

/* ---- until it claims ------------------------------------------------------------ */

static enum step_self_verdict look_until_claimed(uintptr_t stack)
{
    struct place place = find_place();
    enum fate fate = fate_of(self.stage);
    (void)stack;
    if (!place.batch || place.begun)
        return STEP_SELF_ON;
    bool is_there = fate == DIES_ON_ENTRY       ? !place.announced
                    : fate == DIES_BEFORE_CLAIM ? place.announced && !place.claimed
                                                : place.announced && place.claimed;
    if (!is_there)
        return STEP_SELF_ON;
    it_happens(self.stage);
    return STEP_SELF_DIE;
}

/* The first worker that comes up. Others wait until it is dead: it is the one to claim. */
static void step_until_claimed(struct stage *stage, uint32_t cell)
{
    uint32_t nobody = 0;
    while (
        !atomic_compare_exchange_strong(&stage->stepped, &nobody, (uint32_t)getpid())) {
        if (atomic_load(&stage->happened) || atomic_load(&stage->cell) != cell)
            return;
        (void)cvy_os_futex_wait_for(&stage->happened, 0, COVEY_MSEC(100));
        nobody = 0;
    }
    self.stage = stage;
    self.owner = cvy_thread_owner();
    step_self(look_until_claimed);
}

/* ---- from the return of a function to the commit --------------------------------- */

/* Once it has returned, functions that its caller calls are on the way, too. */
static bool has_returned(uintptr_t stack)
{
    if (!self.steps && stack < self.caller)
        return false;
    self.steps++;
    return true;
}

static enum step_self_verdict count_to_commit(uintptr_t stack)
{
    if (!has_returned(stack) || !find_place().is_final)
        return STEP_SELF_ON;
    atomic_store(&self.stage->steps, self.steps);
    it_happens(self.stage);
    return STEP_SELF_OFF;
}

/* Where symbols are bound at their first use what was counted can be far too much. */
enum { SHORTEST_WAY = 16 };

static enum step_self_verdict look_before_commit(uintptr_t stack)
{
    if (!has_returned(stack))
        return STEP_SELF_ON;
    if (find_place().is_final)
        return STEP_SELF_OFF; /* missed, which fails the test */
    if (self.steps < cvy_min_u64(atomic_load(&self.stage->steps) / 2, SHORTEST_WAY))
        return STEP_SELF_ON;
    it_happens(self.stage);
    return STEP_SELF_DIE;
}

static enum step_self_verdict look_after_commit(uintptr_t stack)
{
    if (!has_returned(stack) || !find_place().is_final)
        return STEP_SELF_ON;
    it_happens(self.stage);
    return STEP_SELF_DIE;
}

/* ---- what workers do -------------------------------------------------------------- */

static struct item item_of(const struct covey_call *call)
{
    struct item item;
    size_t size = 0;
    const void *part = covey_call_arg_at(call, 0, &size);
    if (size == sizeof item) {
        memcpy(&item, part, sizeof item);
        return item;
    }
    CHECK_EQ(size, sizeof item.stage);
    memcpy(&item.stage, part, sizeof item.stage);
    part = covey_call_arg_at(call, 1, &size);
    CHECK_EQ(size, sizeof item.number);
    memcpy(&item.number, part, sizeof item.number);
    return item;
}

/* Until it is stopped from outside, or gets no more. */
static int take_memory(void)
{
    const size_t step = 1 << 20;
    for (;;) {
        void *memory = mmap(NULL, step, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return -ENOMEM;
        memset(memory, 1, step);
    }
}

/* In the function of the victim. */
static int meet_fate(struct stage *stage)
{
    switch (fate_of(stage)) {
    case DIES_RUNNING:
        die(stage);
        break;
    case IS_STOPPED:
        it_happens(stage);
        raise(SIGSTOP);
        break;
    case TAKES_MEMORY:
        it_happens(stage);
        return take_memory();
    case BLOCKS:
        it_happens(stage);
        family_pause();
    default:
        break;
    }
    return 0;
}

/* As the function of the victim ends, whose caller's stack begins at `caller`. */
static void step_from_return(struct stage *stage, uintptr_t caller)
{
    enum fate fate = fate_of(stage);
    step_self_fn *look = fate == COUNTS_TO_COMMIT    ? count_to_commit
                         : fate == DIES_COMMITTING   ? look_before_commit
                         : fate == DIES_AFTER_COMMIT ? look_after_commit
                                                     : NULL;
    if (!look)
        return;
    self.stage = stage;
    self.owner = cvy_thread_owner();
    self.caller = caller;
    self.steps = 0;
    step_self(look);
}

/* The task of all cells: a square. Above its frame there are the frame's pointer and where
 * it returns to. */
static int act(struct covey_call *call)
{
    struct item item = item_of(call);
    struct stage *stage = item.stage;
    uint64_t square = item.number * item.number;
    atomic_fetch_add(&stage->runs[item.number], 1);
    bool happens = is_victim(&item) && is_to_happen(stage);
    int r = happens ? meet_fate(stage) : 0;
    if (!happens)
        family_tell(&stage->others);
    if (r >= 0)
        r = covey_call_return(call, &square, sizeof square);
    if (happens)
        step_from_return(stage,
                         (uintptr_t)__builtin_frame_address(0) + 2 * sizeof(void *));
    return r;
}

static int begin_worker(struct covey_view arg)
{
    struct stage *stage = *(struct stage *const *)arg.data;
    uint32_t cell = atomic_load(&stage->cell);
    enum fate fate = fate_of(stage);
    if (fate == DIES_IN_INITIALIZER && is_to_happen(stage))
        die(stage);
    if (fate >= DIES_ON_ENTRY && fate <= DIES_AFTER_CLAIM)
        step_until_claimed(stage, cell);
    return 0;
}

static int end_worker(struct covey_view arg)
{
    struct stage *stage = *(struct stage *const *)arg.data;
    if (fate_of(stage) == DIES_IN_EXIT_HOOK && is_to_happen(stage))
        die(stage);
    return 0;
}

#endif
