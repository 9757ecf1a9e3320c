/* SPDX-License-Identifier: MIT */
/* An array that two children fill, each its half: nobody needs a lock. */
#include "tour.h"

enum { COUNT = 20, CHILDREN = 2 };

struct half {
    covey_array *squares;
    size_t from, to;
};

static int fill(struct covey_view arg)
{
    const struct half *half = arg.data;
    long *squares = covey_array_data(half->squares);
    for (size_t i = half->from; i < half->to; i++)
        squares[i] = (long)(i * i);
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_array *squares;
    covey_process *children[CHILDREN];
    must(covey_array_create(&squares, 'l', COUNT, NULL,
                            COVEY_SHARED_OPTS(.synchronized = COVEY_OFF)));
    for (size_t i = 0; i < CHILDREN; i++) {
        struct half half = {squares, i * COUNT / 2, (i + 1) * COUNT / 2};
        must(covey_process_create(&children[i], fill, COVEY_VIEW_OF(half), NULL));
        must(covey_process_start(children[i]));
    }
    for (int i = 0; i < CHILDREN; i++) {
        must(covey_process_join(children[i], COVEY_FOREVER));
        covey_process_free(children[i]);
    }
    const long *numbers = covey_array_data(squares);
    for (int i = 0; i < COUNT; i++)
        printf("%ld ", numbers[i]);
    printf("\n");
    covey_array_free(squares);
}
