/* SPDX-License-Identifier: MIT */
/* A program with covey that loads a plug-in with covey, and lets both start processes, also
 * in a child. Says whether they share a family. Usage: copies METHOD, PLUGIN=FILE */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <covey.h>

static int (*plugin_run)(int method, int code);
static uintptr_t (*plugin_family)(void);

static int return_arg(struct covey_view arg)
{
    return *(const int *)arg.data;
}

static int run(enum covey_start_method method, int code)
{
    covey_process *p = NULL;
    int got = -1;
    if (covey_process_create(&p, return_arg, COVEY_VIEW_OF(code),
                             COVEY_PROCESS_OPTS(.method = method)) < 0 ||
        covey_process_start(p) < 0 || covey_process_join(p, COVEY_FOREVER) < 0 ||
        covey_process_exitcode(p, &got) < 0)
        fprintf(stderr, "%s\n", covey_error_detail());
    covey_process_free(p);
    return got;
}

/* Child of the program's covey: there the plug-in's is as after a fork of the host's. */
static int run_both(struct covey_view arg)
{
    const enum covey_start_method method = *(const enum covey_start_method *)arg.data;
    return run(method, 3) + plugin_run(COVEY_FORK, 4);
}

static void load(void)
{
    void *plugin = dlopen(getenv("PLUGIN"), RTLD_NOW | RTLD_LOCAL);
    if (!plugin) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    plugin_run = (__typeof__(plugin_run))dlsym(plugin, "plugin_run");
    plugin_family = (__typeof__(plugin_family))dlsym(plugin, "plugin_family");
}

int main(int argc, char **argv)
{
    enum covey_start_method method;
    covey_process *p = NULL;
    int code = -1;
    load();
    covey_init(argc, argv);
    if (covey_start_method_from_name(argv[1], &method) < 0)
        return 1;
    printf("%d %d ", run(method, 1), plugin_run(COVEY_FORK, 2));
    fflush(stdout);
    if (covey_process_create(&p, run_both, COVEY_VIEW_OF(method),
                             COVEY_PROCESS_OPTS(.method = method)) < 0 ||
        covey_process_start(p) < 0 || covey_process_join(p, COVEY_FOREVER) < 0 ||
        covey_process_exitcode(p, &code) < 0)
        fprintf(stderr, "%s\n", covey_error_detail());
    uintptr_t mine = (uintptr_t)covey_current_process() >> 36;
    printf("%d %s\n", code, mine == plugin_family() ? "one family" : "two families");
    /* The plug-in's covey_init was not called, unless it is the program's. */
    printf("%s\n", plugin_run(COVEY_SPAWN, 6) == 6 ? "spawns" : "does not spawn");
    return 0;
}
