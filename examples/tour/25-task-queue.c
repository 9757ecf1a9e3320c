/* SPDX-License-Identifier: MIT */
/* Four workers take tasks from one queue and put the results into another. */
#include "tour.h"

enum { WORKERS = 4, TASKS = 20 };

struct queues {
    covey_queue *tasks, *done;
};
struct task {
    int a, b, product;
};

static int work(struct covey_view arg)
{
    const struct queues *queues = arg.data;
    struct task task;
    size_t size;
    while (covey_queue_get_into(queues->tasks, &task, sizeof task, &size,
                                COVEY_FOREVER) >= 0) {
        task.product = task.a * task.b;
        must(covey_queue_put(queues->done, COVEY_VIEW_OF(task), COVEY_FOREVER));
    }
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    struct queues queues;
    covey_process *workers[WORKERS];
    must(covey_queue_create(&queues.tasks, 0, NULL));
    must(covey_queue_create(&queues.done, 0, NULL));
    for (int i = 0; i < WORKERS; i++) {
        must(covey_process_create(&workers[i], work, COVEY_VIEW_OF(queues), NULL));
        must(covey_process_start(workers[i]));
    }
    for (int i = 0; i < TASKS; i++) {
        struct task task = {i, 7, 0};
        must(covey_queue_put(queues.tasks, COVEY_VIEW_OF(task), COVEY_FOREVER));
    }
    must(covey_queue_close(queues.tasks)); /* workers end when it is empty */

    int products[TASKS]; /* results come in any order */
    for (int i = 0; i < TASKS; i++) {
        struct task task;
        size_t size;
        must(covey_queue_get_into(queues.done, &task, sizeof task, &size,
                                  COVEY_FOREVER));
        products[task.a] = task.product;
    }
    for (int i = 0; i < TASKS; i++)
        printf("%d * 7 = %d\n", i, products[i]);
    for (int i = 0; i < WORKERS; i++) {
        must(covey_process_join(workers[i], COVEY_FOREVER));
        covey_process_free(workers[i]);
    }
    covey_queue_free(queues.tasks);
    covey_queue_free(queues.done);
}
