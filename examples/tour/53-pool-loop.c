/* SPDX-License-Identifier: MIT */
/* A pool driven by the program's own epoll loop: no thread of covey's, no signal handler. */
#include <sys/epoll.h>
#include <unistd.h>

#include "tour.h"

enum { COUNT = 8 };

static int square(struct covey_call *call)
{
    const int *x = covey_call_arg(call, NULL);
    int y = *x * *x;
    return covey_call_return(call, &y, sizeof y);
}

struct state {
    int left, sum;
};

static void done(void *ctx, covey_result *result)
{
    struct state *state = ctx;
    struct covey_bytes got = {0};
    must(covey_result_get(result, &got, COVEY_NOWAIT));
    state->sum += *(int *)got.data;
    state->left--;
    covey_bytes_free(&got);
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    struct state state = {.left = COUNT};
    struct epoll_event event = {.events = EPOLLIN};
    int fd, loop = epoll_create1(EPOLL_CLOEXEC);
    covey_pool *pool;
    must(covey_pool_create(&pool, 2, COVEY_POOL_OPTS(.own_loop = COVEY_ON)));
    must(covey_pool_fd(pool, &fd));
    epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);

    for (int i = 0; i < COUNT; i++)
        must(covey_pool_apply_async(
            NULL, pool, square, COVEY_VIEW_OF(i),
            COVEY_TASK_OPTS(.callback = done, .callback_ctx = &state)));
    while (state.left) {
        epoll_wait(loop, &event, 1, -1);
        covey_pool_dispatch(pool, COVEY_NOWAIT);
    }
    printf("the squares add up to %d\n", state.sum);
    covey_pool_free(pool);
    close(loop);
}
