/* SPDX-License-Identifier: MIT */
/*
 * A process with a state of its own, what a subclass of Process is in Python: the struct
 * is copied when the process is created, so each works on its copy.
 */
#include "tour.h"

struct counter {
    char label[16];
    int from, to, step;
};

static int count(struct covey_view arg)
{
    struct counter counter = *(const struct counter *)arg.data;
    int sum = 0;
    for (; counter.from <= counter.to; counter.from += counter.step)
        sum += counter.from;
    printf("%s: %d\n", counter.label, sum);
    return sum;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    struct counter counter = {"odd numbers", 1, 15, 2};
    covey_process *odd, *even;
    must(covey_process_create(&odd, count, COVEY_VIEW_OF(counter), NULL));

    counter = (struct counter){"even numbers", 2, 15, 2}; /* odd has its own copy */
    must(covey_process_create(&even, count, COVEY_VIEW_OF(counter), NULL));

    covey_process *both[] = {odd, even};
    for (int i = 0; i < 2; i++) {
        int exitcode;
        must(covey_process_start(both[i]));
        must(covey_process_join(both[i], COVEY_FOREVER));
        must(covey_process_exitcode(both[i], &exitcode));
        printf("%s ended with %d\n", covey_process_name(both[i]), exitcode);
        covey_process_free(both[i]);
    }
}
