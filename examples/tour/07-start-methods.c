/* SPDX-License-Identifier: MIT */
/*
 * How a child comes to be: the methods listed, chosen by the user's COVEY_START_METHOD,
 * by the program, and per process.
 */
#include "tour.h"

/* What a child knows of its parent's memory: under fork all, else what main() sets. */
static int note = 1;

static int tell(struct covey_view arg)
{
    const char *method = arg.data;
    printf("by %s: the note says %d\n", method, note);
    return 0;
}

static void run(enum covey_start_method method)
{
    const char *name = covey_start_method_name(method);
    covey_process *process;
    must(covey_process_create(&process, tell, COVEY_VIEW(name, strlen(name) + 1),
                              COVEY_PROCESS_OPTS(.method = method)));
    must(covey_process_start(process));
    must(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);
}

static void show_default(const char *when, int allow_none)
{
    enum covey_start_method method;
    must(covey_get_start_method(allow_none, &method));
    const char *name = covey_start_method_name(method);
    printf("default %s: %s\n", when, name ? name : "none chosen");
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);
    note = 2; /* a change that only a copy of this process knows */

    const enum covey_start_method *methods;
    size_t count;
    must(covey_get_all_start_methods(&methods, &count));
    for (size_t i = 0; i < count; i++)
        run(methods[i]);

    show_default("at first", 1);
    show_default("now that it is needed", 0); /* this fixes it */
    int r = covey_set_start_method(COVEY_SPAWN, 0);
    printf("choosing after that: %s\n", covey_error_name(r));
    must(covey_set_start_method(COVEY_SPAWN, 1));
    show_default("when forced", 0);
}
