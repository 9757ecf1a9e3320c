/* SPDX-License-Identifier: MIT */
/*
 * Memory that a manager looks after: it stays when the process that made it has ended, and
 * goes with the manager.
 */
#include <string.h>

#include "tour.h"

#define COUNT 1000

/* One step of the program leaves its result to the next. */
static int compute(struct covey_view arg)
{
    covey_manager *manager = *(covey_manager *const *)arg.data;
    covey_memory *memory;
    must(covey_segment_create(&memory, manager, NULL, COUNT * sizeof(long), NULL));
    long *squares = covey_memory_data(memory, NULL);
    for (long i = 0; i < COUNT; i++)
        squares[i] = i * i;
    covey_memory_free(memory);
    return 0;
}

static long sum_of(const char *name)
{
    covey_memory *memory;
    size_t size;
    long sum = 0;
    must(covey_memory_open(&memory, name, COVEY_MEMORY_OPTS(.readonly = COVEY_ON)));
    const long *numbers = covey_memory_data(memory, &size);
    for (size_t i = 0; i < size / sizeof *numbers; i++)
        sum += numbers[i];
    covey_memory_free(memory);
    return sum;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_manager *manager;
    covey_process *process;
    covey_value *names;
    covey_memory *memory;
    const char *first;
    char name[64];
    must(covey_manager_start(&manager, COVEY_MANAGER_OPTS(.segments = COVEY_ON)));
    must(covey_process_create(&process, compute, COVEY_VIEW_OF(manager), NULL));
    must(covey_process_start(process));
    must(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);

    must(covey_segment_names(manager, &names));
    must(covey_value_get_str(covey_value_at(names, 0), &first, NULL));
    snprintf(name, sizeof name, "%s", first);
    printf("segments: %zu, sum %ld\n", covey_value_count(names), sum_of(name));
    covey_value_free(names);

    must(covey_manager_shutdown(manager, COVEY_SEC(10)));
    covey_manager_free(manager);
    printf("then: %s\n", covey_error_name(covey_memory_open(&memory, name, NULL)));
}
