/* SPDX-License-Identifier: MIT */
/*
 * A list of fixed length that several programs see, Python's among them: there it is
 * ShareableList(name=...).
 */
#include <string.h>

#include "tour.h"

static void show(const char *who, const covey_shareable_list *list)
{
    struct covey_bytes text = {0};
    size_t count;
    must(covey_shareable_list_len(list, &count));
    printf("%s:", who);
    for (size_t i = 0; i < count; i++) {
        struct covey_shareable_item item;
        must(covey_shareable_list_get(list, (ptrdiff_t)i, &text, &item));
        switch (item.kind) {
        case COVEY_ITEM_NONE:
            printf(" None");
            break;
        case COVEY_ITEM_BOOL:
            printf(" %s", item.integer ? "True" : "False");
            break;
        case COVEY_ITEM_INT:
            printf(" %jd", (intmax_t)item.integer);
            break;
        case COVEY_ITEM_FLOAT:
            printf(" %g", item.real);
            break;
        case COVEY_ITEM_STR:
            printf(" '%s'", (const char *)item.text.data);
            break;
        case COVEY_ITEM_BYTES:
            printf(" %zu bytes", item.text.size);
            break;
        }
    }
    printf("\n");
    covey_bytes_free(&text);
}

static int change(struct covey_view arg)
{
    covey_shareable_list *list;
    must(covey_shareable_list_open(&list, arg.data, NULL));
    show("child", list);
    must(covey_shareable_list_set(list, 0, covey_item_int(43)));
    must(covey_shareable_list_set(list, -1, covey_item_bool(1)));
    int r = covey_shareable_list_set(list, 1, covey_item_str("more than 8 bytes"));
    printf("child: %s\n", covey_error_name(r));
    covey_shareable_list_free(list);
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    const struct covey_shareable_item items[] = {
        covey_item_int(42),          covey_item_str("größe"), covey_item_float(2.5),
        covey_item_bytes("\0\1", 2), covey_item_none(),
    };
    covey_shareable_list *list;
    must(covey_shareable_list_create(&list, NULL, items, 5, NULL));

    const char *name = covey_memory_name(covey_shareable_list_memory(list));
    covey_process *process;
    must(covey_process_create(&process, change, COVEY_VIEW(name, strlen(name) + 1),
                              NULL));
    must(covey_process_start(process));
    must(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);

    show("parent", list);
    int64_t value;
    must(covey_shareable_list_get_int(list, 0, &value));
    size_t count;
    must(covey_shareable_list_count(list, covey_item_float(2.5), &count));
    printf("item 0 is %jd, and 2.5 is there %zu time\n", (intmax_t)value, count);
    struct covey_bytes format = {0};
    must(covey_shareable_list_format(list, &format));
    printf("format: %s\n", (char *)format.data);
    covey_bytes_free(&format);
    covey_shareable_list_free(list);
}
