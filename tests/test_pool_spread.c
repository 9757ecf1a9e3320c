/* SPDX-License-Identifier: MIT */
/* A worker that has slept and finds another one on its processor, or none. */
#include <stdlib.h>

#include "cpu_help.h"
#include "pool/worker.h"

/* A worker in line 0, and in line 1 what another one says of itself. */
struct desk {
    struct cvy_pool_shared *shared;
    struct cvy_worker w;
    cpu_set_t all;
    int cpu;
    pid_t busy; /* on that processor */
};

static struct desk desk_with(bool other_is_in_a_batch)
{
    struct desk d = {.all = own_cpus()};
    d.cpu = first_of(&d.all);
    d.shared = calloc(1, sizeof *d.shared + 2 * sizeof *d.shared->lines);
    CHECK(d.shared != NULL);
    d.busy = started(d.cpu, true);
    while (cvy_os_cpu_of(d.busy) != d.cpu)
        sched_yield();
    d.w = (struct cvy_worker){
        .shared = d.shared, .line = &d.shared->lines[0], .pid = getpid()};
    atomic_store(&d.shared->workers, 2);
    atomic_store(&d.shared->lines[1].where,
                 (uint64_t)d.busy << 32 | ((uint32_t)d.cpu + 1));
    atomic_store(&d.shared->lines[1].batch, other_is_in_a_batch);
    return d;
}

static void desk_free(struct desk *d)
{
    end(d->busy);
    free(d->shared);
}

/* It has slept, and wakes up on that processor. Returns: which one it says it is on then. */
static int woken(struct desk *d)
{
    bind_to(d->cpu);
    cvy_worker_say_where(&d->w);
    CHECK_EQ(sched_setaffinity(0, sizeof d->all, &d->all), 0);
    cvy_worker_spread(&d->w);
    uint64_t where = atomic_load(&d->w.line->where);
    CHECK_EQ(where >> 32, (uint64_t)getpid());
    return (int)(uint32_t)where - 1;
}

TEST(a_worker_leaves_the_processor_of_one_that_works)
{
    cpu_set_t all = own_cpus();
    bool parted = false;
    if (CPU_COUNT(&all) < 2)
        SKIP("one processor");
    struct desk d = desk_with(true);
    for (int i = 0; i < 1000 && !parted; i++) /* Linux may have moved it before */
        parted = woken(&d) != d.cpu;
    CHECK(parted);
    desk_free(&d);
}

/* It was called, too, and waits for the processor. */
TEST(a_worker_leaves_the_processor_to_one_that_is_behind_it)
{
    cpu_set_t all = own_cpus();
    bool parted = false;
    if (CPU_COUNT(&all) < 2)
        SKIP("one processor");
    struct desk d = desk_with(false);
    d.w.n = 2;
    atomic_store(&d.shared->lines[0].batch, 1);
    for (int i = 0; i < 1000 && !parted; i++)
        parted = woken(&d) != d.cpu;
    CHECK(parted);
    desk_free(&d);
}

TEST(a_worker_stays_where_it_is_for_a_single_item)
{
    struct desk d = desk_with(false);
    d.w.n = 1;
    for (int i = 0; i < 20; i++)
        CHECK_EQ(woken(&d), d.cpu);
    desk_free(&d);
}

TEST(a_worker_stays_where_all_processors_have_one)
{
    struct desk d = desk_with(true);
    CPU_ZERO(&d.all);
    CPU_SET((size_t)d.cpu, &d.all);
    CHECK_EQ(woken(&d), d.cpu);
    desk_free(&d);
}

TEST(a_thread_says_nothing_of_where_it_is)
{
    struct desk d = desk_with(true);
    d.w.is_thread = true;
    cvy_worker_say_where(&d.w);
    CHECK_EQ(atomic_load(&d.w.line->where), 0);
    cvy_worker_spread(&d.w);
    CHECK_EQ(atomic_load(&d.w.line->where), 0);
    desk_free(&d);
}

CHECK_MAIN()
