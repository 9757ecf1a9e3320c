/* SPDX-License-Identifier: MIT */
/* kill_points.c: see kill_points.h. */
#include "kill_points.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>

#include "check.h"
#include "stepper.h"

static struct stepper_progress *progress;

void kill_points_begin(void)
{
    stepper_begin(progress);
}

void kill_points_end(void)
{
    atomic_store(&progress->done, 1);
}

static void start_victim(const struct kill_points *points, struct stepper *victim)
{
    *victim = (struct stepper){.name = points->name,
                               .prepare = points->prepare,
                               .operate = points->operate,
                               .context = points->context,
                               .find = points->find,
                               .progress = progress};
    if (stepper_start(victim) < 0)
        check_failed(__FILE__, __LINE__, "%s: the victim did not come up: status %#x",
                     points->name, (unsigned)victim->status);
}

/* One instruction further; the victim must stop again. Returns: false when one that was
 * found sleeps: nobody will wake it. */
static bool step(struct stepper *victim)
{
    enum stepper_event event = stepper_step(victim, INT64_MAX);
    while (event == STEPPER_ASLEEP && !victim->find)
        event = stepper_step(victim, INT64_MAX);
    if (event == STEPPER_LOST)
        check_failed(__FILE__, __LINE__, "%s: a step ended with status %#x",
                     victim->name, (unsigned)victim->status);
    return event == STEPPER_STEPPED;
}

/* Kill after `limit` instructions or at the end. Returns: how many were run. */
static long run_one(const struct kill_points *points, long limit)
{
    struct stepper victim;
    char place[256] = "";
    *progress = (struct stepper_progress){.begun = 0};
    if (points->before)
        points->before(points->context);
    start_victim(points, &victim);
    long n = 0;
    while (n < limit && !stepper_is_done(&victim) && step(&victim))
        n++;
    stepper_describe(&victim, place, sizeof place);
    CHECK_EQ(stepper_kill(&victim), 0);
    const char *wrong = points->after(points->context);
    if (wrong)
        check_failed(__FILE__, __LINE__,
                     "%s: killed after instruction %ld, before %s: %s", points->name, n,
                     place, wrong);
    return n;
}

void kill_points_need(void)
{
#ifdef __SANITIZE_THREAD__ /* which makes ten steps of each */
    SKIP("stepping through ThreadSanitizer takes an hour");
#endif
    if (!stepper_works())
        SKIP("processes may not be traced here");
}

long kill_points_run(const struct kill_points *points, long most)
{
    cpu_set_t before;
#ifdef __SANITIZE_ADDRESS__ /* four steps of each */
    most = (most + 3) / 4;
#endif
    CHECK_EQ(stepper_pin(&before, sizeof before), 0);
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(progress != MAP_FAILED);
    long count = run_one(points, 100000000), tried = 1;
    long stride = most > 0 && count > most ? count / most : 1;
    for (long n = 0; n < count; n += stride, tried++)
        run_one(points, n);
    fprintf(stderr, "%s: %ld of %ld points\n", points->name, tried, count + 1);
    munmap(progress, sizeof *progress);
    CHECK_EQ(sched_setaffinity(0, sizeof before, &before), 0);
    return count;
}
