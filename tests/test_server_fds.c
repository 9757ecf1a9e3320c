/* SPDX-License-Identifier: MIT */
/* A manager that has run out of descriptors: who comes waits, and is not lost. */
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "server_help.h"

/* What is left of descriptors. */
enum { FEW = 100 };
struct few {
    int count, fds[FEW];
};

static int few_make(covey_request *request, void **ret_self)
{
    (void)request;
    *ret_self = calloc(1, sizeof(struct few));
    return *ret_self ? 0 : -ENOMEM;
}

static void few_free(void *self)
{
    struct few *few = self;
    while (few->count)
        close(few->fds[--few->count]);
    free(few);
}

/* Leave so many of the first hundred. */
static int few_leave(covey_request *request, void *self)
{
    struct few *few = self;
    struct rlimit limit;
    int64_t left = 0;
    int r = covey_value_get_int(covey_value_at(covey_request_args(request), 0), &left);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = FEW;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int fd; (fd = dup(0)) >= 0;)
        few->fds[few->count++] = fd;
    while (left-- > 0 && few->count)
        close(few->fds[--few->count]);
    return r < 0 ? r : covey_request_return(request, covey_value_none());
}

static const struct covey_method few_methods[] = {{.name = "leave", .fn = few_leave}};
static const struct covey_class few_class = {.size = sizeof(struct covey_class),
                                             .methods = few_methods,
                                             .method_count = 1,
                                             .create = few_make,
                                             .destroy = few_free};

/* From now on the manager has n descriptors for what comes. */
static void leave(covey_conn *me, const char *ident, int n)
{
    REQUEST(me, ident, "leave", "(i)", n);
    REPLIES(me, "#RETURN", "None");
}

static void count_waiting(void *count, int level, const char *line)
{
    (void)level;
    if (strstr(line, "newcomers wait"))
        atomic_fetch_add((atomic_int *)count, 1);
}

TEST(newcomers_wait_for_the_last_descriptor_and_that_is_told_once)
{
    char ident[64];
    covey_conn *newcomer = NULL;
    atomic_int *told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(told != MAP_FAILED);
    CHECK_OK(covey_set_log_hook(count_waiting, told));
    CHECK_OK(covey_manager_register("Few", &few_class, NULL));
    struct server server = server_start((struct covey_manager_opts){0});
    server_create(&server, "Few", ident);
    covey_conn *me = server_session(&server, "me");
    leave(me, ident, 1);
    covey_conn *last = server_session(&server, "last");
    CHECK_EQ(*told, 0);
    CHECK_ERR(covey_client_connect(&newcomer, server.address,
                                   COVEY_CLIENT_OPTS(.authkey = SERVER_KEY),
                                   COVEY_MSEC(500)),
              -ETIMEDOUT);
    CHECK_EQ(*told, 1);
    leave(me, ident, 20);
    covey_conn *next = server_session(&server, "next");
    leave(me, ident, 0);
    CHECK_ERR(covey_client_connect(&newcomer, server.address,
                                   COVEY_CLIENT_OPTS(.authkey = SERVER_KEY),
                                   COVEY_MSEC(300)),
              -ETIMEDOUT);
    CHECK_EQ(*told, 2);
    leave(me, ident, 20);
    covey_conn_free(last);
    covey_conn_free(next);
    covey_conn_free(me);
    server_stop(&server);
    munmap(told, sizeof *told);
}

static void stop_at_once(void *context, const char *address)
{
    (void)context, (void)address;
    covey_manager_stop();
}

/* Wherever it fails for want of a descriptor. */
TEST(a_socket_is_the_managers_only_if_that_has_served)
{
    const struct sockaddr_un nowhere = {.sun_family = AF_UNIX};
    struct rlimit usual, few;
    int fills[FEW] = {0}, count = 0, failures = 0, r,
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_EQ(bind(fd, (const struct sockaddr *)(const void *)&nowhere,
                  sizeof nowhere.sun_family),
             0);
    CHECK_EQ(listen(fd, 10), 0);
    CHECK_OK(covey_init(0, NULL));
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
    few = (struct rlimit){FEW, usual.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    while ((fills[count] = dup(0)) >= 0)
        count++;
    while ((r = covey_manager_serve_forever(
                COVEY_MANAGER_OPTS(.listen_fd = fd, .authkey = SERVER_KEY,
                                   .ready = stop_at_once))) < 0) {
        CHECK_EQ(r, -EMFILE);
        CHECK_GE(fcntl(fd, F_GETFD), 0);
        failures++;
        CHECK_GT(count, 0);
        close(fills[--count]);
    }
    CHECK_GE(failures, 3);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    while (count)
        close(fills[--count]);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
}

CHECK_MAIN()
