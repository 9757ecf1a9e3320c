/* SPDX-License-Identifier: MIT */
/* Three runners wait for the start; the fourth has no patience. */
#include <errno.h>

#include "tour.h"

enum { RUNNERS = 3 };

struct race {
    covey_event *start;
    covey_semaphore *ready; /* a signal: each runner gives one */
};

static int run(struct covey_view arg)
{
    const struct race *race = arg.data;
    must(covey_semaphore_release(race->ready, 1));
    must(covey_event_wait(race->start, COVEY_FOREVER));
    printf("off!\n");
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    struct race race;
    covey_process *processes[RUNNERS];
    must(covey_event_create(&race.start, NULL));
    must(covey_semaphore_create(&race.ready, 0, NULL));
    for (int i = 0; i < RUNNERS; i++) {
        must(covey_process_create(&processes[i], run, COVEY_VIEW_OF(race), NULL));
        must(covey_process_start(processes[i]));
    }
    for (int i = 0; i < RUNNERS; i++)
        must(covey_semaphore_acquire(race.ready, COVEY_FOREVER));

    int r = covey_event_wait(race.start, COVEY_MSEC(20));
    printf("impatient: %s\n", covey_error_name(r));
    printf("%s, set\n", covey_event_is_set(race.start) ? "set" : "not set");
    fflush(stdout);
    must(covey_event_set(race.start));

    for (int i = 0; i < RUNNERS; i++) {
        must(covey_process_join(processes[i], COVEY_FOREVER));
        covey_process_free(processes[i]);
    }
    must(covey_event_clear(race.start));
    printf("%s\n", covey_event_is_set(race.start) ? "set" : "cleared");
    covey_event_free(race.start);
    covey_semaphore_free(race.ready);
}
