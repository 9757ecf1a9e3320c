/* SPDX-License-Identifier: MIT */
/* A joinable queue: the parent waits until every value it put has been worked off. What a
 * killed worker had in hand does not keep it waiting. */
#include <signal.h>
#include <string.h>

#include "tour.h"

static int work(struct covey_view arg)
{
    covey_joinable_queue *queue = *(covey_joinable_queue *const *)arg.data;
    covey_value *word;
    while (covey_joinable_queue_get_value(queue, &word, COVEY_FOREVER, NULL) >= 0) {
        const char *text = "";
        must(covey_value_get_str(word, &text, NULL));
        if (strcmp(text, "poison") == 0)
            return raise(SIGKILL);
        printf("%s\n", text);
        fflush(stdout);
        covey_value_free(word);
        must(covey_joinable_queue_task_done(queue));
    }
    return 0;
}

static void put(covey_joinable_queue *queue, const char *text)
{
    covey_value *word = covey_value_str(text);
    must(covey_joinable_queue_put_value(queue, word, COVEY_FOREVER));
    covey_value_free(word);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_joinable_queue *queue;
    covey_process *worker;
    uint64_t abandoned;
    must(covey_joinable_queue_create(&queue, 0, NULL));
    must(covey_process_create(&worker, work, COVEY_VIEW_OF(queue), NULL));
    must(covey_process_start(worker));
    put(queue, "one");
    put(queue, "two");
    must(covey_joinable_queue_join(queue, COVEY_FOREVER));
    printf("all done\n");

    put(queue, "poison");
    must(covey_joinable_queue_join(queue, COVEY_FOREVER));
    must(covey_joinable_queue_abandoned(queue, &abandoned));
    printf("abandoned: %d\n", (int)abandoned);
    must(covey_process_join(worker, COVEY_FOREVER));
    covey_process_free(worker);
    covey_joinable_queue_free(queue);
}
