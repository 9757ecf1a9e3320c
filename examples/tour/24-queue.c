/* SPDX-License-Identifier: MIT */
/* A queue with one producer and one consumer. */
#include "tour.h"

static int produce(struct covey_view arg)
{
    covey_queue *queue = *(covey_queue *const *)arg.data;
    for (int i = 1; i <= 5; i++)
        must(covey_queue_put(queue, COVEY_VIEW_OF(i), COVEY_FOREVER));
    must(covey_queue_close(queue)); /* who gets sees the end, after the last message */
    return 0;
}

static int consume(struct covey_view arg)
{
    covey_queue *queue = *(covey_queue *const *)arg.data;
    int number, r;
    size_t size;
    while ((r = covey_queue_get_into(queue, &number, sizeof number, &size,
                                     COVEY_FOREVER)) >= 0)
        printf("got %d\n", number);
    printf("then: %s\n", covey_error_name(r));
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_queue *queue;
    covey_process *producer, *consumer;
    must(covey_queue_create(&queue, 2, NULL)); /* at most 2 messages lie in it */
    must(covey_process_create(&producer, produce, COVEY_VIEW_OF(queue), NULL));
    must(covey_process_create(&consumer, consume, COVEY_VIEW_OF(queue), NULL));
    must(covey_process_start(producer));
    must(covey_process_start(consumer));
    must(covey_process_join(producer, COVEY_FOREVER));
    must(covey_process_join(consumer, COVEY_FOREVER));
    covey_process_free(producer);
    covey_process_free(consumer);
    covey_queue_free(queue);
}
