/* SPDX-License-Identifier: MIT */
/*
 * A producer and a consumer. What is said and whether it is said lie in a shared value;
 * the condition is for waiting until it is. Who waits looks again after each wake-up.
 */
#include "tour.h"

struct slate {
    int is_full;
    char text[32];
};

struct room {
    covey_condition *news;
    covey_shared_value *slate; /* without a lock: the condition's is for it too */
};

static int consume(struct covey_view arg)
{
    const struct room *room = arg.data;
    const struct slate *slate = covey_shared_value_data(room->slate);
    must(covey_condition_acquire(room->news, COVEY_FOREVER));
    while (!slate->is_full)
        must(covey_condition_wait(room->news, COVEY_FOREVER));
    printf("consumer: %s\n", slate->text);
    must(covey_condition_release(room->news));
    return 0;
}

static int produce(struct covey_view arg)
{
    const struct room *room = arg.data;
    struct slate *slate = covey_shared_value_data(room->slate);
    must(covey_condition_acquire(room->news, COVEY_FOREVER));
    *slate = (struct slate){1, "fresh from the producer"};
    must(covey_condition_notify(room->news, 1));
    must(covey_condition_release(room->news));
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    struct room room;
    covey_process *processes[2];
    must(covey_condition_create(&room.news, NULL));
    must(
        covey_shared_value_create_struct(&room.slate, sizeof(struct slate), NULL,
                                         COVEY_SHARED_OPTS(.synchronized = COVEY_OFF)));
    must(covey_process_create(&processes[0], consume, COVEY_VIEW_OF(room), NULL));
    must(covey_process_create(&processes[1], produce, COVEY_VIEW_OF(room), NULL));
    for (int i = 0; i < 2; i++)
        must(covey_process_start(processes[i]));
    for (int i = 0; i < 2; i++) {
        must(covey_process_join(processes[i], COVEY_FOREVER));
        covey_process_free(processes[i]);
    }
    covey_condition_free(room.news);
    covey_shared_value_free(room.slate);
}
