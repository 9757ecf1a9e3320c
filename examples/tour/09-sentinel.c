/* SPDX-License-Identifier: MIT */
/*
 * Waiting for several processes at once, or for processes and sockets: the sentinel is
 * a descriptor for poll(2), select or an event loop. Readable means ended.
 */
#include <poll.h>
#include <unistd.h>

#include "tour.h"

enum { COUNT = 3 };

struct work {
    int number;
    int turn; /* the descriptor it reads from until its turn has come */
};

static int wait_for_turn(struct covey_view arg)
{
    const struct work *work = arg.data;
    char byte;
    return read(work->turn, &byte, 1) == 1 ? work->number : 99;
}

static void report(covey_process *process)
{
    int exitcode;
    must(covey_process_exitcode(process, &exitcode));
    printf("%s has ended with %d\n", covey_process_name(process), exitcode);
    covey_process_free(process);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_process *processes[COUNT];
    struct pollfd sentinels[COUNT];
    int turns[COUNT][2];
    for (int i = 0; i < COUNT; i++) {
        if (pipe(turns[i]) < 0)
            return 1;
        struct work work = {i + 1, turns[i][0]};
        must(covey_process_create(
            &processes[i], wait_for_turn, COVEY_VIEW_OF(work),
            COVEY_PROCESS_OPTS(.fds = &turns[i][0], .fd_count = 1)));
        must(covey_process_start(processes[i]));
        must(covey_process_sentinel(processes[i], &sentinels[i].fd));
        sentinels[i].events = POLLIN;
    }
    printf("ended so far: %d\n", poll(sentinels, COUNT, 0));

    static const int order[COUNT] = {1, 2, 0};
    for (int k = 0; k < COUNT; k++) {
        if (write(turns[order[k]][1], "!", 1) != 1 || poll(sentinels, COUNT, -1) < 1)
            return 1;
        for (int i = 0; i < COUNT; i++)
            if (sentinels[i].revents & POLLIN) {
                report(processes[i]);
                sentinels[i].fd = -1; /* poll overlooks it from now on */
            }
    }
}
