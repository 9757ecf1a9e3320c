/* SPDX-License-Identifier: MIT */
/*
 * Two processes start at the same time, again and again. Before each start one of them,
 * whichever comes last, runs the barrier's action.
 */
#include "tour.h"

enum { PARTIES = 2, ROUNDS = 3 };

static int announce(void)
{
    printf("all are here\n");
    fflush(stdout);
    return 0;
}

static int go_along(struct covey_view arg)
{
    covey_barrier *barrier = *(covey_barrier *const *)arg.data;
    for (int i = 0; i < ROUNDS; i++) {
        unsigned index;
        must(covey_barrier_wait(barrier, COVEY_FOREVER, &index));
        printf("go\n");
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_barrier *barrier;
    covey_process *processes[PARTIES];
    must(covey_barrier_create(&barrier, PARTIES,
                              COVEY_BARRIER_OPTS(.action = announce)));
    for (int i = 0; i < PARTIES; i++) {
        must(covey_process_create(&processes[i], go_along, COVEY_VIEW_OF(barrier),
                                  NULL));
        must(covey_process_start(processes[i]));
    }
    for (int i = 0; i < PARTIES; i++) {
        must(covey_process_join(processes[i], COVEY_FOREVER));
        covey_process_free(processes[i]);
    }

    int r = covey_barrier_wait(barrier, COVEY_MSEC(10), NULL);
    printf("alone: %s, ", covey_error_name(r));
    r = covey_barrier_wait(barrier, COVEY_FOREVER, NULL);
    printf("then: %s\n", covey_error_name(r));
    covey_barrier_free(barrier);
}
