/* SPDX-License-Identifier: MIT */
/* A program that is not linked with covey: it loads the library, uses it, unloads it, and
 * does all that again. Usage: loader LIBRARY METHOD */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <covey.h>

static void *library;

static void *find(const char *name)
{
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return found;
}

/* CALL(covey_init)(argc, argv): by the library's address of it. */
#define CALL(name) ((__typeof__(&name))find(#name))

static int return_five(struct covey_view arg)
{
    (void)arg;
    return 5;
}

static void load(const char *path)
{
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
}

static int run(const char *method)
{
    struct covey_process_opts opts = {.size = sizeof opts};
    covey_process *p = NULL;
    int code = -1;
    if (CALL(covey_start_method_from_name)(method, &opts.method) < 0 ||
        CALL(covey_process_create)(&p, return_five, COVEY_NO_VIEW, &opts) < 0 ||
        CALL(covey_process_start)(p) < 0 ||
        CALL(covey_process_join)(p, COVEY_FOREVER) < 0 ||
        CALL(covey_process_exitcode)(p, &code) < 0)
        fprintf(stderr, "%s\n", CALL(covey_error_detail)());
    CALL(covey_process_free)(p);
    return code;
}

int main(int argc, char **argv)
{
    /* A child has other arguments: the library is named by the environment. */
    const char *path = getenv("LOADER_LIBRARY");
    for (int round = 0; round < 3; round++) {
        load(path);
        if (round == 0)
            CALL(covey_init)(argc, argv);
        printf("%d ", run(argv[1]));
        fflush(stdout);
        if (dlclose(library) != 0)
            return 1;
    }
    return 0;
}
