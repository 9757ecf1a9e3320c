/* SPDX-License-Identifier: MIT */
/* Waiting for several connections at once, until all of them are at their end. */
#include "tour.h"

struct job {
    covey_conn *conn;
    int number;
};

static int count(struct covey_view arg)
{
    const struct job *job = arg.data;
    for (int i = 0; i < 3; i++) {
        int pair[2] = {job->number, i};
        must(covey_conn_send(job->conn, COVEY_VIEW_OF(pair), COVEY_FOREVER));
    }
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    enum { MANY = 4 };
    covey_process *processes[MANY];
    struct covey_wait_item items[MANY];
    int sum = 0, left = MANY;
    for (int i = 0; i < MANY; i++) {
        covey_conn *ours, *theirs;
        must(covey_pipe_create(&ours, &theirs, COVEY_PIPE_OPTS(.oneway = COVEY_ON)));
        struct job job = {theirs, i};
        must(covey_process_create(&processes[i], count, COVEY_VIEW_OF(job),
                                  COVEY_PROCESS_OPTS(.holds = {theirs})));
        must(covey_process_start(processes[i]));
        covey_conn_free(theirs); /* the child has it */
        items[i] = covey_wait_conn(ours);
    }
    while (left) {
        must(covey_wait(items, MANY, COVEY_FOREVER, NULL));
        for (int i = 0; i < MANY; i++) {
            int pair[2];
            size_t size;
            if (!items[i].ready)
                continue;
            covey_conn *conn = items[i].object;
            int r = covey_conn_recv_into(conn, pair, sizeof pair, &size, COVEY_NOWAIT);
            if (r == COVEY_EEOF) {
                covey_conn_free(conn);
                items[i].kind = COVEY_WAIT_NOTHING;
                left--;
            } else if (r >= 0) {
                sum += 10 * pair[0] + pair[1];
            }
        }
    }
    printf("%d\n", sum);
    for (int i = 0; i < MANY; i++) {
        must(covey_process_join(processes[i], COVEY_FOREVER));
        covey_process_free(processes[i]);
    }
}
