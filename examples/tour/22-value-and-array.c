/* SPDX-License-Identifier: MIT */
/* A number and an array that a child changes and its parent sees. */
#include "tour.h"

enum { COUNT = 10 };

struct shared {
    covey_shared_value *number;
    covey_array *integers;
};

static int change(struct covey_view arg)
{
    const struct shared *shared = arg.data;
    must(covey_shared_value_set(shared->number, &(double){3.1415927}, sizeof(double)));
    int *integers = covey_array_data(shared->integers);
    must(covey_array_acquire(shared->integers, COVEY_FOREVER));
    for (int i = 0; i < COUNT; i++)
        integers[i] = -integers[i];
    must(covey_array_release(shared->integers));
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    struct shared shared;
    covey_process *process;
    int integers[COUNT];
    for (int i = 0; i < COUNT; i++)
        integers[i] = i;
    must(covey_shared_value_create(&shared.number, 'd', NULL, NULL));
    must(covey_array_create(&shared.integers, 'i', COUNT, integers, NULL));

    /* The two pointers mean the same in the child. */
    must(covey_process_create(&process, change, COVEY_VIEW_OF(shared), NULL));
    must(covey_process_start(process));
    must(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);

    double number;
    must(covey_shared_value_get(shared.number, &number, sizeof number));
    printf("%.7f\n", number);
    const int *now = covey_array_data(shared.integers);
    for (int i = 0; i < COUNT; i++)
        printf("%d ", now[i]);
    printf("\n");
    covey_shared_value_free(shared.number);
    covey_array_free(shared.integers);
}
