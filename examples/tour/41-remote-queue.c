/* SPDX-License-Identifier: MIT */
/* The remote queue: a manager that gives everybody the same queue, under a name. Here a
 * child asks for it by address, as a program on another machine does:
 *
 *   41-remote-queue serve 0.0.0.0:5000      on one machine
 *   41-remote-queue put one:5000 hello      on others
 *   41-remote-queue get one:5000
 *
 * The same in Python, for any of these parts, is 41-remote-queue.py. */
#include <string.h>

#include "tour.h"

#define KEY COVEY_VIEW("abracadabra", 11)

static covey_manager *manager;

static covey_proxy *find_queue(const char *address)
{
    covey_proxy *queue;
    must(covey_manager_connect(
        &manager, address,
        COVEY_CONNECT_OPTS(.authkey = KEY,
                           .allow_md5 = COVEY_ON /* for Python before 3.12 */),
        COVEY_SEC(10)));
    must(covey_proxy_create(&queue, manager, "get_queue", NULL, NULL));
    return queue;
}

static void leave(covey_proxy *queue)
{
    covey_proxy_free(queue);
    covey_manager_free(manager);
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

/* "queue.put('hello')" of another program. */
static int partner(struct covey_view arg)
{
    covey_proxy *queue = find_queue(arg.data);
    must(covey_proxy_call(queue, NULL, "put", "(s)", "hello"));
    must(covey_proxy_call(queue, NULL, "put", "([i, d, {s: i}])", 1, 2.5, "three", 3));
    leave(queue);
    return 0;
}

static void tell_address(void *ctx, const char *address)
{
    (void)ctx;
    fprintf(stderr, "a queue is at %s\n", address);
}

/* One part, on a machine of its own. */
static int act(const char *what, const char *address, const char *item)
{
    if (strcmp(what, "serve") == 0) {
        must(covey_manager_serve_forever(
            COVEY_MANAGER_OPTS(.address = address, .authkey = KEY,
                               .ready = tell_address, .allow_md5 = COVEY_ON)));
        return 0;
    }
    covey_proxy *queue = find_queue(address);
    if (strcmp(what, "put") == 0 && item)
        must(covey_proxy_call(queue, NULL, "put", "(s)", item));
    else
        print_next(queue);
    leave(queue);
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);
    must(covey_manager_share("get_queue", "Queue", NULL));
    if (argc > 2 && argv[1][0] != '-')
        return act(argv[1], argv[2], argv[3]);

    covey_process *process;
    covey_proxy *queue;
    must(covey_manager_start(&manager, COVEY_MANAGER_OPTS(.address = "127.0.0.1:0",
                                                          .authkey = KEY,
                                                          .allow_md5 = COVEY_ON)));
    const char *address = covey_manager_address(manager);
    tell_address(NULL, address);
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
