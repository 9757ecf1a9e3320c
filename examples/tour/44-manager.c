/* SPDX-License-Identifier: MIT */
/* A dict and a list in a manager, edited by a child process. */
#include "tour.h"

struct things {
    covey_proxy *dict, *list;
};

static int edit(struct covey_view arg)
{
    const struct things *things = arg.data;
    must(covey_dict_set(things->dict, covey_value_int(1), covey_value_str("1")));
    must(covey_dict_set(things->dict, covey_value_str("2"), covey_value_int(2)));
    must(covey_dict_set(things->dict, covey_value_float(0.25), covey_value_none()));
    must(covey_list_reverse(things->list));
    return 0;
}

static void print(covey_proxy *proxy)
{
    struct covey_bytes text = {0};
    must(covey_proxy_str(proxy, &text));
    printf("%s\n", (const char *)text.data);
    covey_bytes_free(&text);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_manager *manager;
    covey_process *process;
    struct things things;
    covey_value *args;
    must(covey_manager_start(&manager, NULL));
    must(covey_proxy_create(&things.dict, manager, "dict", NULL, NULL));
    must(covey_value_pack(&args, "([i, i, i, i, i, i, i, i, i, i])", 0, 1, 2, 3, 4, 5,
                          6, 7, 8, 9));
    must(covey_proxy_create(&things.list, manager, "list", args, NULL));

    must(covey_process_create(&process, edit, COVEY_VIEW_OF(things), NULL));
    must(covey_process_start(process));
    must(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);
    print(things.dict);
    print(things.list);

    covey_proxy_free(things.dict);
    covey_proxy_free(things.list);
    must(covey_manager_shutdown(manager, COVEY_SEC(10)));
    covey_manager_free(manager);
}
