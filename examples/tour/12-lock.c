/* SPDX-License-Identifier: MIT */
/* Ten processes print under one lock, so that no line falls into another. */
#include "tour.h"

enum { COUNT = 10 };

struct printer {
    covey_lock *lock;
    int number;
};

static int print(struct covey_view arg)
{
    const struct printer *printer = arg.data;
    COVEY_WITH_LOCK(printer->lock)
    {
        printf("hello ");
        fflush(stdout); /* without the lock others would print here */
        printf("world %d\n", printer->number);
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_lock *lock;
    covey_process *processes[COUNT];
    must(covey_lock_create(&lock, NULL));
    for (int i = 0; i < COUNT; i++) {
        struct printer printer = {lock, i};
        must(covey_process_create(&processes[i], print, COVEY_VIEW_OF(printer), NULL));
        must(covey_process_start(processes[i]));
    }
    for (int i = 0; i < COUNT; i++) {
        must(covey_process_join(processes[i], COVEY_FOREVER));
        covey_process_free(processes[i]);
    }
    covey_lock_free(lock);
}
