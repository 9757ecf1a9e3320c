/* SPDX-License-Identifier: MIT */
/* What a proxy is and what its object is, index and slice, what goes wrong there, and a
 * dict in a list. */
#include "tour.h"

static void print(covey_value *value)
{
    struct covey_bytes text = {0};
    must(covey_value_repr(value, &text));
    printf("%s\n", (const char *)text.data);
    covey_bytes_free(&text);
    covey_value_free(value);
}

static void nest(covey_manager *manager, covey_proxy *list)
{
    covey_proxy *dict, *again;
    covey_value *value;
    struct covey_bytes text = {0};
    must(covey_proxy_create(&dict, manager, "dict", NULL, NULL));
    must(covey_proxy_to_value(dict, &value));
    must(covey_list_set(list, 0, value));
    must(covey_list_get(list, 0, &value));
    must(covey_proxy_from_value(&again, manager, value));
    covey_value_free(value);
    must(covey_dict_set(again, covey_value_str("x"), covey_value_int(1)));
    must(covey_proxy_str(dict, &text));
    printf("the same dict: %s\n", (const char *)text.data);
    covey_bytes_free(&text);
    covey_proxy_free(again);
    covey_proxy_free(dict);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_manager *manager;
    covey_proxy *list;
    covey_value *value, *args;
    struct covey_bytes text = {0};
    must(covey_manager_start(&manager, NULL));
    must(covey_value_pack(&args, "([i, i, i, i, i])", 0, 1, 4, 9, 16));
    must(covey_proxy_create(&list, manager, "list", args, NULL));

    must(covey_proxy_str(list, &text));
    printf("str: %s\n", (const char *)text.data);
    must(covey_proxy_repr(list, &text));
    printf("repr: %.38s...\n", (const char *)text.data);
    covey_bytes_free(&text);

    must(covey_list_get(list, 4, &value));
    print(value);
    must(covey_list_slice(list, 2, 5, COVEY_OPEN, &value));
    print(value);
    must(covey_list_slice(list, COVEY_OPEN, COVEY_OPEN, -2, &value));
    print(value);

    int r = covey_list_get(list, 100, &value);
    printf("%s, in Python %s: %s\n", covey_error_name(r), covey_proxy_error_type(),
           covey_proxy_error_text());
    nest(manager, list);

    covey_proxy_free(list);
    must(covey_manager_shutdown(manager, COVEY_SEC(10)));
    covey_manager_free(manager);
}
