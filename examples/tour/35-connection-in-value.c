/* SPDX-License-Identifier: MIT */
/* A receptionist: the program accepts whoever connects, and hands the connection on inside
 * of a task to a worker, which answers. A stock Python could be the client, and the worker
 * as well: its Connection.recv() makes a Connection of what is in the value. */
#include <string.h>

#include "tour.h"

static int client(struct covey_view arg)
{
    covey_conn *conn;
    covey_value *question = covey_value_int(12), *answer;
    int64_t number;
    must(covey_client_connect(&conn, arg.data, NULL, COVEY_SEC(10)));
    must(covey_conn_send_value(conn, question, COVEY_SEC(10)));
    must(covey_conn_recv_value(conn, &answer, NULL, COVEY_SEC(10)));
    must(covey_value_get_int(answer, &number));
    printf("12 squared is %d\n", (int)number);
    covey_value_free(answer);
    covey_value_free(question);
    covey_conn_free(conn);
    return 0;
}

static int worker(struct covey_view arg)
{
    covey_queue *tasks = *(covey_queue *const *)arg.data;
    covey_conn *conn, *again;
    covey_value *task, *question;
    const covey_value *whom;
    const char *what;
    int64_t number;
    must(covey_queue_get_value(tasks, &task, COVEY_SEC(10), NULL));
    must(covey_value_unpack(task, "(s, O)", &what, &whom));
    must(covey_conn_from_value(&conn, whom, COVEY_SEC(10)));
    must(covey_conn_recv_value(conn, &question, NULL, COVEY_SEC(10)));
    must(covey_value_get_int(question, &number));

    int r = covey_conn_from_value(&again, whom, COVEY_SEC(10));
    printf("%s: a second time it is %s\n", what, covey_error_python(r));
    fflush(stdout);

    covey_value *answer = covey_value_int(number * number);
    must(covey_conn_send_value(conn, answer, COVEY_SEC(10)));
    covey_value_free(answer);
    covey_value_free(question);
    covey_value_free(task);
    covey_conn_free(conn);
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_listener *listener;
    covey_queue *tasks;
    covey_process *processes[2];
    covey_conn *conn;
    covey_value *value, *task;
    must(covey_listener_create(&listener, NULL, NULL));
    must(covey_queue_create(&tasks, 0, NULL));
    const char *address = covey_listener_address(listener);
    must(covey_process_create(&processes[0], worker, COVEY_VIEW_OF(tasks), NULL));
    must(covey_process_create(&processes[1], client,
                              COVEY_VIEW(address, strlen(address) + 1), NULL));
    for (int i = 0; i < 2; i++)
        must(covey_process_start(processes[i]));

    must(covey_listener_accept(listener, &conn, COVEY_SEC(10)));
    must(covey_conn_to_value(conn, COVEY_SEC(10), &value)); /* kept for so long */
    covey_conn_free(conn);
    must(covey_value_pack(&task, "(s, N)", "square", value));
    must(covey_queue_put_value(tasks, task, COVEY_SEC(10)));
    covey_value_free(task);

    for (int i = 0; i < 2; i++) {
        must(covey_process_join(processes[i], COVEY_FOREVER));
        covey_process_free(processes[i]);
    }
    covey_queue_free(tasks);
    covey_listener_free(listener);
}
