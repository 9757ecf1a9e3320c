/* SPDX-License-Identifier: MIT */
/*
 * Memory that a program opens by its name, related or not. The name goes with its last
 * user; a user that is killed does not count.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tour.h"

/* The children are told a name, as any other program could be. */
static int answer(struct covey_view arg)
{
    covey_memory *memory;
    must(covey_memory_open(&memory, arg.data, NULL));
    size_t size;
    char *text = covey_memory_data(memory, &size);
    printf("child: %zu bytes that say '%s'\n", size, text);
    snprintf(text, size, "hello, parent");
    covey_memory_free(memory);
    return 0;
}

static int die(struct covey_view arg)
{
    covey_memory *memory;
    must(covey_memory_create(&memory, arg.data, 100, NULL));
    strcpy(covey_memory_data(memory, NULL), "my last words");
    return raise(SIGKILL);
}

static void run(covey_target_fn *fn, const char *name)
{
    covey_process *process;
    must(covey_process_create(&process, fn, COVEY_VIEW(name, strlen(name) + 1), NULL));
    must(covey_process_start(process));
    must(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_memory *memory;
    must(covey_memory_create(&memory, NULL, 1000, NULL)); /* NULL: a name of its own */
    strcpy(covey_memory_data(memory, NULL), "hello, child");
    run(answer, covey_memory_name(memory));
    printf("parent: '%s'\n", (char *)covey_memory_data(memory, NULL));
    covey_memory_free(memory); /* the last user: the name goes */

    char name[32];
    snprintf(name, sizeof name, "tour-20-%d", (int)getpid());
    run(die, name);
    must(covey_memory_open(&memory, name, NULL));
    printf("left behind: '%s'\n", (char *)covey_memory_data(memory, NULL));
    covey_memory_free(memory);
    int r = covey_memory_open(&memory, name, NULL);
    printf("then: %s\n", covey_error_name(r));

    run(die, name);
    size_t count;
    must(covey_memory_clean(name, &count));
    printf("cleaned: %zu\n", count);
}
