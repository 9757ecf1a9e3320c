/* SPDX-License-Identifier: MIT */
/* A hundred processes square the items of a list in a manager, each the one at the index
 * that its name tells; several others fill a dict. */
#include <stdlib.h>
#include <string.h>

#include "tour.h"

enum { COUNT = 100, FILLERS = 4 };

static int square(struct covey_view arg)
{
    covey_proxy *list = *(covey_proxy *const *)arg.data;
    const char *name = covey_process_name(covey_current_process());
    int64_t index = strtol(strchr(name, '-') + 1, NULL, 10), number;
    covey_value *value;
    must(covey_list_get(list, index, &value));
    must(covey_value_get_int(value, &number));
    covey_value_free(value);
    must(covey_list_set(list, index, covey_value_int(number * number)));
    return 0;
}

static int fill(struct covey_view arg)
{
    covey_proxy *dict = *(covey_proxy *const *)arg.data;
    const char *name = covey_process_name(covey_current_process());
    must(covey_dict_set(dict, covey_value_str(name),
                        covey_value_int((int64_t)strlen(name))));
    return 0;
}

static void run(covey_target_fn *fn, const char *what, int count, covey_proxy *proxy)
{
    covey_process *processes[COUNT];
    char name[32];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s-%d", what, i);
        must(covey_process_create(&processes[i], fn, COVEY_VIEW_OF(proxy),
                                  COVEY_PROCESS_OPTS(.name = name)));
        must(covey_process_start(processes[i]));
    }
    for (int i = 0; i < count; i++) {
        must(covey_process_join(processes[i], COVEY_FOREVER));
        covey_process_free(processes[i]);
    }
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_manager *manager;
    covey_proxy *list, *dict;
    covey_value *items = covey_value_list(), *args, *value;
    size_t count;
    for (int i = 0; i < COUNT; i++)
        must(covey_value_append(items, covey_value_int(i)));
    must(covey_value_pack(&args, "(N)", items));
    must(covey_manager_start(&manager, NULL));
    must(covey_proxy_create(&list, manager, "list", args, NULL));
    must(covey_proxy_create(&dict, manager, "dict", NULL, NULL));

    run(square, "worker", COUNT, list);
    int64_t sum = 0, number;
    must(covey_proxy_copy(list, &value));
    for (size_t i = 0; i < covey_value_count(value); i++) {
        must(covey_value_get_int(covey_value_at(value, i), &number));
        sum += number;
    }
    covey_value_free(value);
    printf("the sum of %d squares: %d\n", COUNT, (int)sum);

    run(fill, "filler", FILLERS, dict);
    must(covey_dict_count(dict, &count));
    printf("keys: %d\n", (int)count);
    must(covey_dict_get(dict, covey_value_str("filler-3"), &value));
    must(covey_value_get_int(value, &number));
    covey_value_free(value);
    printf("of filler-3: %d\n", (int)number);

    covey_proxy_free(list);
    covey_proxy_free(dict);
    must(covey_manager_shutdown(manager, COVEY_SEC(10)));
    covey_manager_free(manager);
}
