/* SPDX-License-Identifier: MIT */
/* A listener and a client, which prove to each other that they know the key. Either could
 * as well be a stock Python's multiprocessing.connection. */
#include <string.h>

#include "tour.h"

#define KEY COVEY_VIEW("secret password", 15)

static int client(struct covey_view arg)
{
    const char *address = arg.data;
    covey_conn *conn;
    struct covey_bytes got = {0};
    int numbers[5];
    size_t size;
    must(covey_client_connect(&conn, address, COVEY_CLIENT_OPTS(.authkey = KEY),
                              COVEY_SEC(10)));
    must(covey_conn_recv(conn, &got, COVEY_SEC(10)));
    printf("%.*s\n", (int)got.size, (const char *)got.data);
    must(covey_conn_recv_into(conn, numbers, sizeof numbers, &size, COVEY_SEC(10)));
    printf("%zu bytes:", size);
    for (size_t i = 0; i < size / sizeof *numbers; i++)
        printf(" %d", numbers[i]);
    printf("\n");
    covey_bytes_free(&got);
    covey_conn_free(conn);

    int r = covey_client_connect(&conn, address,
                                 COVEY_CLIENT_OPTS(.authkey = COVEY_VIEW("guess", 5)),
                                 COVEY_SEC(10));
    printf("with another key: %s\n", covey_error_python(r));
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_listener *listener;
    covey_process *process;
    covey_conn *conn;
    static const int numbers[] = {42, 1729, 0, 0, 0};
    must(covey_listener_create(&listener, "localhost:0",
                               COVEY_LISTENER_OPTS(.authkey = KEY)));
    const char *address = covey_listener_address(listener);
    must(covey_process_create(&process, client,
                              COVEY_VIEW(address, strlen(address) + 1), NULL));
    must(covey_process_start(process));

    must(covey_listener_accept(listener, &conn, COVEY_SEC(10)));
    must(covey_conn_send(conn, COVEY_VIEW("hello", 5), COVEY_SEC(10)));
    must(covey_conn_send(conn, COVEY_VIEW_OF(numbers), COVEY_SEC(10)));
    covey_conn_free(conn);

    /* The second one fails, so nobody is accepted while the client lives. */
    while (covey_process_is_alive(process) == 1)
        if (covey_listener_accept(listener, &conn, COVEY_MSEC(50)) >= 0)
            covey_conn_free(conn);
    must(covey_process_join(process, COVEY_FOREVER));
    uint64_t refused;
    must(covey_listener_refused(listener, &refused));
    printf("%d refused\n", (int)refused);
    covey_process_free(process);
    covey_listener_free(listener);
}
