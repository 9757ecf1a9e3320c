/* SPDX-License-Identifier: MIT */
/* The remote queue: a manager that gives everybody the same queue, under a name. Here a
 * child asks for it by address, as a program on another machine would; a partner in Python
 * is in 41-remote-queue.py. */
#include <string.h>

#include "tour.h"

#define KEY COVEY_VIEW("abracadabra", 11)

/* "queue.put('hello')" of another program. */
static int partner(struct covey_view arg)
{
    const char *address = arg.data;
    covey_manager *manager;
    covey_proxy *queue;
    must(covey_manager_connect(&manager, address, COVEY_CONNECT_OPTS(.authkey = KEY),
                               COVEY_SEC(10)));
    must(covey_proxy_create(&queue, manager, "get_queue", NULL, NULL));
    must(covey_proxy_call(queue, NULL, "put", "(s)", "hello"));
    must(covey_proxy_call(queue, NULL, "put", "([i, d, {s: i}])", 1, 2.5, "three", 3));
    covey_proxy_free(queue);
    covey_manager_free(manager);
    return 0;
}

static void print_next(covey_proxy *queue)
{
    covey_value *item;
    struct covey_bytes text = {0};
    must(covey_proxy_call(queue, &item, "get", "()"));
    must(covey_value_repr(item, &text));
    printf("%s\n", (const char *)text.data);
    covey_bytes_free(&text);
    covey_value_free(item);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);
    must(covey_manager_share("get_queue", "Queue", NULL));

    covey_manager *manager;
    covey_process *process;
    covey_proxy *queue;
    must(covey_manager_start(
        &manager,
        COVEY_MANAGER_OPTS(.address = "127.0.0.1:0", .authkey = KEY,
                           .allow_md5 = COVEY_ON /* for Python before 3.12 */)));
    const char *address = covey_manager_address(manager);
    fprintf(stderr, "a queue is at %s\n", address);
    must(covey_proxy_create(&queue, manager, "get_queue", NULL, NULL));

    must(covey_process_create(&process, partner,
                              COVEY_VIEW(address, strlen(address) + 1), NULL));
    must(covey_process_start(process));
    print_next(queue);
    print_next(queue);
    must(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);
    covey_proxy_free(queue);
    must(covey_manager_shutdown(manager, COVEY_SEC(10)));
    covey_manager_free(manager);
}
