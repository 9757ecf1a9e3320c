/* SPDX-License-Identifier: MIT */
/* Descriptors to wait for, where no number is free for them: that fails, and does no harm. */
#include <sys/resource.h>
#include <sys/wait.h>

#include "conn_help.h"

static struct rlimit usual;

/* Those that there are can be used. What is closed leaves no place, but for 0 to 2. */
static void allow_no_more(void)
{
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
    struct rlimit few = {3, usual.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
}

static void allow_as_usual(void)
{
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
}

static void polls_readable(int fd)
{
    struct pollfd p = {fd, POLLIN, 0};
    CHECK_EQ(poll(&p, 1, 20000), 1);
}

TEST(a_pipe_has_none)
{
    struct pair p = pair_new(NULL);
    int fd = -1;
    allow_no_more();
    for (int i = 0; i < 2; i++)
        CHECK_ERR(covey_conn_fd(p.b, &fd), -EMFILE);
    CHECK_EQ(fd, -1);
    send_text(p.a, "meanwhile");
    allow_as_usual();
    CHECK_OK(covey_conn_fd(p.b, &fd));
    polls_readable(fd);
    recv_text(p.b, "meanwhile");
    pair_free(&p);
}

TEST(a_queue_has_none)
{
    covey_queue *q;
    int fd = -1;
    char byte;
    size_t size;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    allow_no_more();
    for (int i = 0; i < 2; i++)
        CHECK_ERR(covey_queue_fd(q, &fd), -EMFILE);
    CHECK_EQ(fd, -1);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("a", 1), COVEY_NOWAIT));
    allow_as_usual();
    CHECK_OK(covey_queue_fd(q, &fd));
    polls_readable(fd);
    CHECK_OK(covey_queue_get_into(q, &byte, 1, &size, COVEY_NOWAIT));
    covey_queue_free(q);
}

/* One who has connected proves that it knows the key when it is told to. */
struct prover {
    covey_conn *conn;
    int begin;
};

static void *prove(void *arg)
{
    const struct prover *p = arg;
    const struct covey_view key = COVEY_VIEW("secret", 6);
    char byte;
    CHECK_EQ(read(p->begin, &byte, 1), 1);
    CHECK_OK(covey_answer_challenge(p->conn, key, NULL, COVEY_SEC(20)));
    CHECK_OK(covey_deliver_challenge(p->conn, key, NULL, COVEY_SEC(20)));
    return NULL;
}

static struct prover prover_at(covey_listener *l, int begin)
{
    struct prover p = {.begin = begin};
    CHECK_OK(
        covey_client_connect(&p.conn, covey_listener_address(l), NULL, COVEY_SEC(20)));
    return p;
}

/* Another one has connected, and waits in vain for a descriptor here. */
TEST(a_listener_has_none_for_the_next_but_goes_on_with_those_who_are_in)
{
    covey_listener *l;
    covey_conn *conn = NULL, *next;
    int ends[2], r;
    pthread_t thread;
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_OK(covey_listener_create(
        &l, NULL, COVEY_LISTENER_OPTS(.authkey = COVEY_VIEW("secret", 6))));
    struct prover p = prover_at(l, ends[0]);
    CHECK_EQ(pthread_create(&thread, NULL, prove, &p), 0);
    CHECK_ERR(covey_listener_accept(l, &conn, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_OK(
        covey_client_connect(&next, covey_listener_address(l), NULL, COVEY_SEC(20)));
    allow_no_more();
    for (int i = 0; i < 3; i++)
        CHECK_ERR(covey_listener_accept(l, &conn, COVEY_NOWAIT), -EMFILE);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    int64_t limit = cvy_os_deadline(COVEY_SEC(5)); /* a handshake has 10 s */
    do
        r = covey_listener_accept(l, &conn, COVEY_MSEC(5));
    while (r == -EMFILE && cvy_os_now() < limit);
    CHECK_OK(r);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    allow_as_usual();
    covey_conn_free(conn);
    covey_conn_free(p.conn);
    covey_conn_free(next);
    close(ends[0]);
    close(ends[1]);
    covey_listener_free(l);
}

/* Its own one comes with the listener; that of a fork child is made when it asks. */
TEST(a_listener_has_none_in_a_fork_child)
{
    covey_listener *l;
    int status, fd = -1;
    CHECK_OK(covey_listener_create(&l, NULL, NULL));
    fflush(NULL);
    pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        covey_conn *client = NULL, *conn = NULL;
        allow_no_more();
        for (int i = 0; i < 2; i++)
            CHECK_ERR(covey_listener_fd(l, &fd), -EMFILE);
        CHECK_EQ(fd, -1);
        CHECK_ERR(covey_listener_accept(l, &conn, COVEY_NOWAIT), -EMFILE);
        allow_as_usual();
        CHECK_OK(covey_listener_fd(l, &fd));
        CHECK_OK(covey_client_connect(&client, covey_listener_address(l), NULL,
                                      COVEY_SEC(20)));
        polls_readable(fd);
        CHECK_OK(covey_listener_accept(l, &conn, COVEY_SEC(20)));
        covey_conn_free(client);
        covey_conn_free(conn);
        covey_listener_free(l);
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    covey_listener_free(l);
}

CHECK_MAIN()
