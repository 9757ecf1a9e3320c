/* SPDX-License-Identifier: MIT */
/* A pipe: the child sends a value, and the parent learns when it is gone. */
#include "tour.h"

static int child(struct covey_view arg)
{
    covey_conn *conn = *(covey_conn *const *)arg.data;
    covey_value *value;
    must(covey_value_pack(&value, "[i, z, s]", 42, NULL, "hello"));
    must(covey_conn_send_value(conn, value, COVEY_FOREVER));
    covey_value_free(value);
    covey_conn_free(conn);
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_conn *ours, *theirs;
    covey_process *process;
    covey_value *value;
    struct covey_bytes text = {0};
    must(covey_pipe_create(&ours, &theirs, NULL));
    must(covey_process_create(&process, child, COVEY_VIEW_OF(theirs), NULL));
    must(covey_process_start(process));
    covey_conn_free(theirs);

    must(covey_conn_recv_value(ours, &value, NULL, COVEY_FOREVER));
    must(covey_value_repr(value, &text));
    printf("%s\n", (const char *)text.data);
    covey_value_free(value);
    covey_bytes_free(&text);

    struct covey_bytes rest = {0};
    int r = covey_conn_recv(ours, &rest, COVEY_FOREVER);
    printf("then %s\n", covey_error_python(r));
    must(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);
    covey_conn_free(ours);
}
