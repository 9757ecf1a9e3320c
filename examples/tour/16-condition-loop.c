/* SPDX-License-Identifier: MIT */
/*
 * The same in a loop, over a belt of three places: each side waits until the other has
 * made room or brought something, which is said by a predicate.
 */
#include "tour.h"

enum { PLACES = 3, ITEMS = 10 };

struct belt {
    int items[PLACES];
    int brought, taken; /* so many so far */
};

struct factory {
    covey_condition *change;
    covey_shared_value *belt;
};

static int has_room(void *ctx)
{
    const struct belt *belt = ctx;
    return belt->brought - belt->taken < PLACES;
}

static int has_items(void *ctx)
{
    const struct belt *belt = ctx;
    return belt->brought > belt->taken;
}

static int consume(struct covey_view arg)
{
    const struct factory *factory = arg.data;
    struct belt *belt = covey_shared_value_data(factory->belt);
    int sum = 0;
    must(covey_condition_acquire(factory->change, COVEY_FOREVER));
    while (belt->taken < ITEMS) {
        must(covey_condition_wait_for(factory->change, has_items, belt, COVEY_FOREVER));
        int item = belt->items[belt->taken++ % PLACES];
        printf("took %d\n", item);
        sum += item;
        must(covey_condition_notify(factory->change, 1));
    }
    must(covey_condition_release(factory->change));
    return sum;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    struct factory factory;
    covey_process *consumer;
    int sum;
    must(covey_condition_create(&factory.change, NULL));
    must(
        covey_shared_value_create_struct(&factory.belt, sizeof(struct belt), NULL,
                                         COVEY_SHARED_OPTS(.synchronized = COVEY_OFF)));
    must(covey_process_create(&consumer, consume, COVEY_VIEW_OF(factory), NULL));
    must(covey_process_start(consumer));

    struct belt *belt = covey_shared_value_data(factory.belt);
    for (int i = 1; i <= ITEMS; i++) {
        must(covey_condition_acquire(factory.change, COVEY_FOREVER));
        must(covey_condition_wait_for(factory.change, has_room, belt, COVEY_FOREVER));
        belt->items[belt->brought++ % PLACES] = i;
        must(covey_condition_notify(factory.change, 1));
        must(covey_condition_release(factory.change));
    }
    must(covey_process_join(consumer, COVEY_FOREVER));
    must(covey_process_exitcode(consumer, &sum));
    printf("sum %d\n", sum);
    covey_process_free(consumer);
    covey_condition_free(factory.change);
    covey_shared_value_free(factory.belt);
}
