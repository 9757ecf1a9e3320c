/* SPDX-License-Identifier: MIT */
/* Five workers, and two of what they need: at most two work at the same time. */
#include "tour.h"

enum { WORKERS = 5, DESKS = 2 };

struct office {
    covey_semaphore *desks;
    covey_shared_value *at_work; /* how many are, for all to see */
};

/* Add to the number of those at work. Returns what it is then. */
static int change(covey_shared_value *at_work, int by)
{
    must(covey_shared_value_acquire(at_work, COVEY_FOREVER));
    int now = *(int *)covey_shared_value_data(at_work) += by;
    must(covey_shared_value_release(at_work));
    return now;
}

static int work(struct covey_view arg)
{
    const struct office *office = arg.data;
    must(covey_semaphore_acquire(office->desks, COVEY_FOREVER));
    int now = change(office->at_work, 1);
    printf("at a desk%s\n", now > DESKS ? ", one too many" : "");
    change(office->at_work, -1);
    must(covey_semaphore_release(office->desks, 1));
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    struct office office;
    covey_process *processes[WORKERS];
    must(covey_semaphore_create(&office.desks, DESKS, NULL));
    must(covey_shared_value_create(&office.at_work, 'i', NULL, NULL));
    for (int i = 0; i < WORKERS; i++) {
        must(covey_process_create(&processes[i], work, COVEY_VIEW_OF(office), NULL));
        must(covey_process_start(processes[i]));
    }
    for (int i = 0; i < WORKERS; i++) {
        must(covey_process_join(processes[i], COVEY_FOREVER));
        covey_process_free(processes[i]);
    }
    unsigned desks;
    must(covey_semaphore_get_value(office.desks, &desks));
    printf("free desks: %u\n", desks);
    covey_semaphore_free(office.desks);
    covey_shared_value_free(office.at_work);
}
