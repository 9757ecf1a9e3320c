/* SPDX-License-Identifier: MIT */
/* scenario_lock.c: a process changes two numbers under a lock and is killed meanwhile. The
 * lock must be had again, and who finds the numbers unequal must have been told. */
#include <stdio.h>

#include "scenario.h"

#include <covey.h>

#define PATIENCE COVEY_SEC(3)

struct numbers {
    long a, b;
};

struct things {
    covey_lock *lock;
    struct numbers *numbers;
};

static int change(struct covey_view arg)
{
    const struct things *things = arg.data;
    crash_begin();
    int r = covey_lock_acquire(things->lock, PATIENCE);
    if (r < 0)
        return 1;
    things->numbers->a++;
    things->numbers->b++;
    r = covey_lock_release(things->lock);
    crash_end();
    return r < 0;
}

int main(int argc, char **argv)
{
    struct things things;
    covey_shared_value *value;
    covey_process *process;
    covey_init(argc, argv);
    if (covey_lock_create(&things.lock, NULL) < 0 ||
        covey_shared_value_create_struct(&value, sizeof *things.numbers, NULL,
                                         COVEY_SHARED_OPTS(.synchronized = COVEY_OFF)) <
            0)
        return 1;
    things.numbers = covey_shared_value_data(value);
    if (covey_process_create(&process, change, COVEY_VIEW_OF(things), NULL) < 0 ||
        covey_process_start(process) < 0 || covey_process_join(process, PATIENCE) < 0)
        return 1;
    int r = covey_lock_acquire(things.lock, PATIENCE);
    if (r < 0) {
        fprintf(stderr, "the lock is lost: %s\n", covey_error_detail());
        return 1;
    }
    if (r != COVEY_ABANDONED && things.numbers->a != things.numbers->b) {
        fprintf(stderr, "the numbers are %ld and %ld, and nobody said why\n",
                things.numbers->a, things.numbers->b);
        return 1;
    }
    return covey_lock_release(things.lock) < 0;
}
