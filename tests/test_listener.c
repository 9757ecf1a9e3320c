/* SPDX-License-Identifier: MIT */
/* Listeners and clients: paths, deadlines, keys, and peers that misbehave. For addresses see
 * test_addresses.c. */
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "conn_help.h"
#include "fds.h"

#define KEY       .authkey = COVEY_VIEW("secret", 6)
#define WRONG_KEY .authkey = COVEY_VIEW("Secret", 6)

/* A bare socket that has connected. */
static int bare_client(covey_listener *l)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *name = covey_listener_address(l);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(name[0], '@');
    memcpy(un.sun_path + 1, name + 1, strlen(name + 1));
    CHECK_EQ(
        connect(fd, (struct sockaddr *)&un,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
        0);
    return fd;
}

static uint64_t refused(covey_listener *l)
{
    uint64_t count = 0;
    CHECK_OK(covey_listener_refused(l, &count));
    return count;
}

static void asks_when_silent(covey_conn *conn)
{
    static const struct {
        int level, name, wanted;
    } options[] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, 60},
                   {IPPROTO_TCP, TCP_KEEPINTVL, 15},
                   {IPPROTO_TCP, TCP_KEEPCNT, 4}};
    int fd, value = 0;
    CHECK_OK(covey_conn_fd(conn, &fd));
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        socklen_t size = sizeof value;
        CHECK_EQ(getsockopt(fd, options[i].level, options[i].name, &value, &size), 0);
        CHECK_EQ(value, options[i].wanted);
    }
}

TEST(both_ends_over_tcp_notice_that_the_other_machine_vanishes)
{
    covey_listener *l = listener_at("127.0.0.1:0", NULL);
    covey_conn *client, *server;
    CHECK_OK(
        covey_client_connect(&client, covey_listener_address(l), NULL, COVEY_SEC(20)));
    CHECK_OK(covey_listener_accept(l, &server, COVEY_SEC(20)));
    asks_when_silent(client);
    asks_when_silent(server);
    covey_conn_free(client);
    covey_conn_free(server);
    covey_listener_free(l);
}

TEST(address_in_use_is_an_error)
{
    covey_listener *l = listener_at("127.0.0.1:0", NULL), *other = NULL;
    CHECK_ERR(covey_listener_create(&other, covey_listener_address(l), NULL),
              -EADDRINUSE);
    covey_listener_free(l);
    l = listener_at("@covey-test-in-use", NULL);
    CHECK_ERR(covey_listener_create(&other, "@covey-test-in-use", NULL), -EADDRINUSE);
    CHECK_ERR(covey_listener_create(&other, "192.0.2.1:0", NULL), -EADDRNOTAVAIL);
    CHECK_STR_HAS(covey_error_detail(), "192.0.2.1:0");
    covey_listener_free(l);
}

/* ---- the path ---- */

static void path_of(char path[64])
{
    snprintf(path, 64, "/tmp/covey-test-path-%d", (int)getpid());
}

TEST(path_is_removed_by_close)
{
    char path[64];
    covey_conn *conn;
    path_of(path);
    covey_listener *l = listener_at(path, NULL), *other;
    CHECK_EQ(access(path, F_OK), 0);
    CHECK_ERR(covey_listener_create(&other, path, NULL), -EADDRINUSE);
    CHECK_OK(covey_listener_close(l));
    CHECK_OK(covey_listener_close(l));
    CHECK_EQ(access(path, F_OK), -1);
    CHECK_ERR(covey_listener_accept(l, &conn, COVEY_NOWAIT), COVEY_ECLOSED);
    CHECK_STR_EQ(covey_listener_address(l), path);
    covey_listener_free(l);
}

TEST(another_file_at_the_path_stays)
{
    char path[64];
    path_of(path);
    covey_listener *l = listener_at(path, NULL);
    CHECK_EQ(unlink(path), 0);
    int fd = open(path, O_CREAT | O_EXCL | O_CLOEXEC | O_WRONLY, 0600);
    CHECK_GE(fd, 0);
    close(fd);
    covey_listener_free(l);
    CHECK_EQ(unlink(path), 0);
}

static int listen_and_leave(struct covey_view arg)
{
    forks_beside_threads(); /* it leaves the listener to the end of the process */
    (void)listener_at(arg.data, NULL);
    return 0;
}

TEST_EACH_METHOD(path_is_removed_at_the_end_of_a_process)
{
    char path[64];
    path_of(path);
    CHECK_EQ(run(listen_and_leave, COVEY_VIEW(path, sizeof path), OPTS()), 0);
    CHECK_EQ(access(path, F_OK), -1);
}

TEST(path_is_removed_by_exit)
{
    char path[64];
    path_of(path);
    int pid = family_fork();
    if (!pid) {
        forks_beside_threads();
        (void)listener_at(path, NULL);
        exit(0);
    }
    family_join(pid);
    CHECK_EQ(access(path, F_OK), -1);
}

TEST(relative_path_is_removed_from_another_folder)
{
    char folder[] = "/tmp/covey-test-XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    CHECK_EQ(chdir(folder), 0);
    covey_listener *l = listener_at("./socket", NULL);
    CHECK_STR_EQ(covey_listener_address(l), "./socket");
    CHECK_EQ(chdir("/"), 0);
    covey_listener_free(l);
    CHECK_EQ(rmdir(folder), 0);
}

static int free_listener(struct covey_view arg)
{
    covey_listener_free(*(covey_listener *const *)arg.data);
    return 0;
}

TEST(fork_child_does_not_remove_the_path)
{
    char path[64];
    path_of(path);
    covey_listener *l = listener_at(path, NULL);
    CHECK_EQ(
        run(free_listener, COVEY_VIEW_OF(l), COVEY_PROCESS_OPTS(.method = COVEY_FORK)),
        0);
    CHECK_EQ(access(path, F_OK), 0);
    covey_listener_free(l);
}

/* ---- accepting ---- */

TEST(accept_times_out)
{
    covey_listener *l = listener_at(NULL, COVEY_LISTENER_OPTS(KEY));
    covey_conn *conn;
    CHECK_ERR(covey_listener_accept(l, &conn, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_listener_accept(l, &conn, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_ERR(covey_listener_accept(l, NULL, COVEY_MSEC(5)), -EINVAL);
    CHECK_ERR(covey_listener_accept(NULL, &conn, COVEY_MSEC(5)), -EINVAL);
    covey_listener_free(l);
    covey_listener_free(NULL);
}

static void accepts(covey_listener *l, struct client *c)
{
    covey_conn *conn;
    CHECK_OK(covey_listener_accept(l, &conn, COVEY_SEC(20)));
    CHECK_EQ(client_result(c), 0);
    send_text(conn, "hello");
    recv_text(c->conn, "hello");
    covey_conn_free(conn);
    covey_conn_free(c->conn);
}

TEST(both_know_the_key)
{
    covey_listener *l = listener_at("127.0.0.1:0", COVEY_LISTENER_OPTS(KEY));
    struct client c;
    client_start(&c, covey_listener_address(l), COVEY_CLIENT_OPTS(KEY));
    accepts(l, &c);
    covey_listener_free(l);
    l = listener_at(NULL, COVEY_LISTENER_OPTS(.authkey = COVEY_VIEW("", 0)));
    client_start(&c, covey_listener_address(l),
                 COVEY_CLIENT_OPTS(.authkey = COVEY_VIEW("", 0)));
    accepts(l, &c);
    covey_listener_free(l);
}

TEST(wrong_key_is_refused_and_the_next_is_accepted)
{
    covey_listener *l = listener_at(NULL, COVEY_LISTENER_OPTS(KEY));
    struct client wrong, right;
    covey_conn *conn;
    client_start(&wrong, covey_listener_address(l), COVEY_CLIENT_OPTS(WRONG_KEY));
    while (!refused(l))
        CHECK_ERR(covey_listener_accept(l, &conn, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_EQ(client_result(&wrong), COVEY_EAUTH);
    CHECK_EQ(refused(l), 1);
    client_start(&right, covey_listener_address(l), COVEY_CLIENT_OPTS(KEY));
    accepts(l, &right);
    covey_listener_free(l);
}

struct hook {
    covey_listener *listener;
    uint64_t lines, refused;
};

static void count_refused(void *ctx, int level, const char *line)
{
    struct hook *h = ctx;
    covey_conn *conn = NULL;
    CHECK_EQ(level, COVEY_LOG_INFO);
    CHECK_STR_HAS(line, "was refused");
    h->lines++;
    h->refused = refused(h->listener);
    CHECK_ERR(covey_listener_accept(h->listener, &conn, COVEY_NOWAIT), -ETIMEDOUT);
}

TEST(log_hook_may_use_the_listener_that_refuses)
{
    covey_listener *l =
        listener_at(NULL, COVEY_LISTENER_OPTS(KEY, .max_pending = 1,
                                              .handshake_timeout = COVEY_SEC(5)));
    struct hook h = {.listener = l};
    struct client wrong;
    covey_conn *conn;
    CHECK_OK(covey_set_log_level(COVEY_LOG_INFO));
    CHECK_OK(covey_set_log_hook(count_refused, &h));
    client_start(&wrong, covey_listener_address(l), COVEY_CLIENT_OPTS(WRONG_KEY));
    while (!h.lines)
        CHECK_ERR(covey_listener_accept(l, &conn, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_EQ(client_result(&wrong), COVEY_EAUTH);
    CHECK_EQ(h.refused, 1);
    int first = bare_client(l), second = bare_client(l); /* which is one too many */
    while (h.lines < 2)
        CHECK_ERR(covey_listener_accept(l, &conn, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_EQ(h.refused, 2);
    CHECK_OK(covey_set_log_hook(NULL, NULL));
    close(first);
    close(second);
    covey_listener_free(l);
}

TEST(refused_peers_are_reported_if_wanted)
{
    covey_listener *l = listener_at(
        "127.0.0.1:0", COVEY_LISTENER_OPTS(KEY, .report_refused = COVEY_ON));
    struct client wrong;
    covey_conn *conn;
    client_start(&wrong, covey_listener_address(l), COVEY_CLIENT_OPTS(WRONG_KEY));
    CHECK_ERR(covey_listener_accept(l, &conn, COVEY_SEC(20)), COVEY_EAUTH);
    CHECK_STR_HAS(covey_error_detail(), "127.0.0.1:");
    CHECK_EQ(client_result(&wrong), COVEY_EAUTH);
    covey_listener_free(l);
}

TEST(one_side_without_a_key)
{
    covey_listener *l =
        listener_at(NULL, COVEY_LISTENER_OPTS(KEY, .report_refused = COVEY_ON));
    covey_conn *conn, *client;
    CHECK_OK(
        covey_client_connect(&client, covey_listener_address(l), NULL, COVEY_SEC(20)));
    CHECK_ERR(covey_listener_accept(l, &conn, COVEY_MSEC(5)), -ETIMEDOUT);
    send_text(client, "no proof at all");
    CHECK_ERR(covey_listener_accept(l, &conn, COVEY_SEC(20)), COVEY_EAUTH);
    covey_conn_free(client);
    CHECK_OK(
        covey_client_connect(&client, covey_listener_address(l), NULL, COVEY_SEC(20)));
    covey_conn_free(client);
    CHECK_ERR(covey_listener_accept(l, &conn, COVEY_SEC(20)), COVEY_EEOF);
    covey_listener_free(l);
    /* The other way round: a client waits for a challenge that does not come. */
    l = listener_at(NULL, NULL);
    CHECK_ERR(covey_client_connect(&client, covey_listener_address(l),
                                   COVEY_CLIENT_OPTS(KEY), COVEY_MSEC(5)),
              -ETIMEDOUT);
    covey_listener_free(l);
}

/* ---- peers that misbehave hold up nobody ---- */

TEST(silent_peers_hold_up_nobody)
{
    covey_listener *l = listener_at(NULL, COVEY_LISTENER_OPTS(KEY));
    struct client c;
    int silent[10];
    for (int i = 0; i < 10; i++)
        silent[i] = bare_client(l);
    client_start(&c, covey_listener_address(l), COVEY_CLIENT_OPTS(KEY));
    accepts(l, &c);
    CHECK_EQ(refused(l), 0);
    for (int i = 0; i < 10; i++)
        close(silent[i]);
    covey_listener_free(l);
}

TEST(peer_that_takes_too_long_is_dropped)
{
    covey_listener *l =
        listener_at(NULL, COVEY_LISTENER_OPTS(KEY, .report_refused = COVEY_ON,
                                              .handshake_timeout = COVEY_MSEC(20)));
    covey_conn *conn;
    char byte;
    int fd = bare_client(l);
    CHECK_ERR(covey_listener_accept(l, &conn, COVEY_FOREVER), COVEY_EAUTH);
    CHECK_STR_HAS(covey_error_detail(), "in time");
    CHECK_EQ(refused(l), 1);
    for (int i = 0; i < 63; i++)
        CHECK_EQ(read(fd, &byte, 1), 1); /* the challenge */
    CHECK_EQ(read(fd, &byte, 1), 0);
    close(fd);
    covey_listener_free(l);
}

TEST(flooding_peer_is_dropped)
{
    covey_listener *l =
        listener_at(NULL, COVEY_LISTENER_OPTS(KEY, .report_refused = COVEY_ON));
    covey_conn *conn;
    static char flood[100000];
    int fd = bare_client(l);
    memset(flood, 0x11, sizeof flood);
    CHECK_EQ(send(fd, flood, sizeof flood, MSG_NOSIGNAL), (ssize_t)sizeof flood);
    CHECK_ERR(covey_listener_accept(l, &conn, COVEY_SEC(20)), COVEY_EPROTOCOL);
    close(fd);
    covey_listener_free(l);
}

TEST(crowd_drops_the_oldest_after_a_while)
{
    covey_listener *l =
        listener_at(NULL, COVEY_LISTENER_OPTS(KEY, .max_pending = 3,
                                              .handshake_timeout = COVEY_SEC(5)));
    struct client c;
    covey_conn *conn;
    int silent[5];
    int64_t began = cvy_os_now();
    for (int i = 0; i < 5; i++) {
        silent[i] = bare_client(l);
        CHECK_ERR(covey_listener_accept(l, &conn, COVEY_NOWAIT), -ETIMEDOUT);
    }
    client_start(&c, covey_listener_address(l), COVEY_CLIENT_OPTS(KEY));
    accepts(l, &c);
    CHECK_GE(cvy_os_now() - began, COVEY_MSEC(500));
    CHECK_EQ(refused(l), 3);
    for (int i = 0; i < 5; i++)
        close(silent[i]);
    covey_listener_free(l);
}

/* Who polls the listener is not kept awake meanwhile. */
TEST(crowd_waits_until_there_is_room)
{
    covey_listener *l =
        listener_at(NULL, COVEY_LISTENER_OPTS(KEY, .max_pending = 2,
                                              .handshake_timeout = COVEY_SEC(10000)));
    covey_conn *conn;
    int fd, peers[4];
    CHECK_OK(covey_listener_fd(l, &fd));
    for (int i = 0; i < 4; i++)
        peers[i] = bare_client(l);
    for (int gone = 0; gone < 2; gone++) {
        CHECK_ERR(covey_listener_accept(l, &conn, COVEY_MSEC(20)), -ETIMEDOUT);
        CHECK_EQ(refused(l), gone);
        CHECK_EQ(cvy_os_poll_in(fd, 0), 0);
        CHECK_EQ(cvy_os_poll_in(peers[1 + gone], 0), 1); /* its challenge */
        CHECK_EQ(cvy_os_poll_in(peers[2 + gone], 0), 0);
        close(peers[gone]);
        CHECK_EQ(cvy_os_poll_in(fd, 0), 1);
    }
    close(peers[2]);
    close(peers[3]);
    covey_listener_free(l);
}

/* Each is refused at once, which takes some µs; all together much longer than the caller
 * wants to wait. */
TEST(accept_returns_though_there_is_always_one_more)
{
    enum { CROWD = 1000 };
    covey_listener *l = listener_at(NULL, COVEY_LISTENER_OPTS(KEY, .backlog = CROWD));
    covey_conn *conn;
    for (int round = 0; round < 2 && backlog_most() >= CROWD; round++) {
        uint64_t before = refused(l);
        for (int i = 0; i < CROWD; i++)
            close(bare_client(l));
        CHECK_ERR(covey_listener_accept(l, &conn, round ? COVEY_MSEC(1) : COVEY_NOWAIT),
                  -ETIMEDOUT);
        CHECK_LT(refused(l), before + CROWD);
        while (refused(l) < before + CROWD)
            CHECK_ERR(covey_listener_accept(l, &conn, COVEY_NOWAIT), -ETIMEDOUT);
    }
    covey_listener_free(l);
}

TEST(listener_can_be_polled)
{
    covey_listener *l = listener_at(NULL, COVEY_LISTENER_OPTS(KEY));
    struct client c;
    covey_conn *conn = NULL;
    struct pollfd p = {.events = POLLIN};
    int r;
    CHECK_OK(covey_listener_fd(l, &p.fd));
    CHECK_EQ(poll(&p, 1, 0), 0);
    client_start(&c, covey_listener_address(l), COVEY_CLIENT_OPTS(KEY));
    while ((r = covey_listener_accept(l, &conn, COVEY_NOWAIT)) == -ETIMEDOUT)
        CHECK_EQ(poll(&p, 1, 20000), 1);
    CHECK_OK(r);
    CHECK_EQ(client_result(&c), 0);
    CHECK_EQ(poll(&p, 1, 0), 0);
    covey_conn_free(conn);
    covey_conn_free(c.conn);
    covey_listener_free(l);
}

/* Nobody else comes, so only the time can make it readable. */
TEST(who_polls_is_told_of_a_peer_that_takes_too_long)
{
    covey_listener *l =
        listener_at(NULL, COVEY_LISTENER_OPTS(KEY, .report_refused = COVEY_ON,
                                              .handshake_timeout = COVEY_MSEC(20)));
    struct covey_wait_item item = covey_wait_listener(l);
    struct pollfd p = {.events = POLLIN};
    covey_conn *conn;
    int r;
    for (int i = 0; i < 4; i++) {
        int fd = bare_client(l);
        CHECK_OK(i % 2 ? covey_listener_fd(l, &p.fd) : 0);
        do
            if (i % 2)
                CHECK_EQ(poll(&p, 1, 20000), 1);
            else
                CHECK_OK(covey_wait(&item, 1, COVEY_SEC(20), NULL));
        while ((r = covey_listener_accept(l, &conn, COVEY_NOWAIT)) == -ETIMEDOUT);
        CHECK_ERR(r, COVEY_EAUTH);
        CHECK_STR_HAS(covey_error_detail(), "in time");
        CHECK_EQ(refused(l), i + 1);
        CHECK_ERR(covey_wait(&item, 1, COVEY_NOWAIT, NULL), -ETIMEDOUT);
        close(fd);
    }
    covey_listener_free(l);
}

TEST(client_gives_up_at_its_deadline)
{
    covey_listener *l = listener_at(NULL, COVEY_LISTENER_OPTS(.backlog = 1));
    covey_conn *conns[8], *conn;
    int n = 0, r = 0;
    while (n < 8 && (r = covey_client_connect(&conns[n], covey_listener_address(l),
                                              NULL, COVEY_MSEC(20))) >= 0)
        n++;
    CHECK_EQ(r, -ETIMEDOUT);
    CHECK_ERR(
        covey_client_connect(&conn, covey_listener_address(l), NULL, COVEY_NOWAIT),
        -ETIMEDOUT);
    while (n)
        covey_conn_free(conns[--n]);
    covey_listener_free(l);
}

/* ---- several processes ---- */

static int accept_some(struct covey_view arg)
{
    covey_listener *l = *(covey_listener *const *)arg.data;
    covey_conn *conn;
    int r, count = 0;
    while ((r = covey_listener_accept(l, &conn, COVEY_SEC(20))) >= 0) {
        char text[8];
        size_t size;
        CHECK_OK(covey_conn_recv_into(conn, text, sizeof text, &size, COVEY_SEC(20)));
        covey_conn_free(conn);
        if (size == 3) /* "end" */
            break;
        count++;
    }
    CHECK_OK(r);
    covey_listener_free(l);
    return count;
}

TEST(fork_children_accept_too)
{
    covey_listener *l = listener_at(NULL, COVEY_LISTENER_OPTS(KEY));
    covey_process *children[2];
    int sum = 0;
    for (int i = 0; i < 2; i++)
        children[i] = started(accept_some, COVEY_VIEW_OF(l),
                              COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    for (int i = 0; i < 22; i++) {
        covey_conn *conn;
        CHECK_OK(covey_client_connect(&conn, covey_listener_address(l),
                                      COVEY_CLIENT_OPTS(KEY), COVEY_SEC(20)));
        send_text(conn, i < 20 ? "x" : "end");
        /* Whoever got it has done with it. */
        CHECK_OK(covey_conn_poll(conn, COVEY_SEC(20)));
        covey_conn_free(conn);
    }
    for (int i = 0; i < 2; i++)
        sum += end_of(children[i]);
    CHECK_EQ(sum, 20);
    covey_listener_free(l);
}

enum { RACERS = 4, PEERS = 3 };

struct race {
    covey_listener *listener;
    pthread_barrier_t start;
};

static void *use_it_first(void *arg)
{
    struct race *race = arg;
    covey_conn *conn;
    CHECK(cvy_enter() == 0); /* what takes long */
    (void)pthread_barrier_wait(&race->start);
    CHECK_ERR(covey_listener_accept(race->listener, &conn, COVEY_NOWAIT), -ETIMEDOUT);
    return NULL;
}

static void race_in_child(covey_listener *l)
{
    struct race race = {.listener = l};
    pthread_t threads[RACERS];
    int before = count_fds();
    CHECK_EQ(pthread_barrier_init(&race.start, NULL, RACERS), 0);
    for (int i = 0; i < RACERS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, use_it_first, &race), 0);
    for (int i = 0; i < RACERS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(count_fds(), before - PEERS); /* those are the parent's */
    exit(0);
}

TEST(threads_of_a_fork_child_may_be_the_first_at_the_same_time)
{
    covey_listener *l = listener_at(NULL, COVEY_LISTENER_OPTS(KEY));
    covey_conn *conn;
    int peers[PEERS];
    for (int i = 0; i < PEERS; i++)
        peers[i] = bare_client(l);
    CHECK_ERR(covey_listener_accept(l, &conn, COVEY_NOWAIT), -ETIMEDOUT);
    for (int round = 0; round < 50; round++) {
        forks_beside_threads(); /* they leave the listener to their end */
        int pid = family_fork();
        if (!pid)
            race_in_child(l);
        family_join(pid);
    }
    for (int i = 0; i < PEERS; i++)
        close(peers[i]);
    covey_listener_free(l);
}

/* A process that has left its family, or for which there is no room in it. */
TEST(who_cannot_join_the_family_closes_and_frees_a_listener)
{
    char path[64];
    path_of(path);
    covey_listener *l = listener_at(path, NULL), *m = listener_at(NULL, NULL);
    int before = count_fds(), pid = family_fork();
    if (!pid) {
        cvy_attach_no_more();
        covey_listener_free(l);
        CHECK_OK(covey_listener_close(m));
        CHECK_EQ(count_fds(), before - 4);
        covey_listener_free(m);
        _exit(0);
    }
    family_join(pid);
    CHECK_EQ(access(path, F_OK), 0);
    covey_listener_free(l);
    covey_listener_free(m);
}

TEST(connection_serves_a_fork_child)
{
    covey_listener *l = listener_at(NULL, NULL);
    covey_conn *client, *server;
    CHECK_OK(
        covey_client_connect(&client, covey_listener_address(l), NULL, COVEY_SEC(20)));
    CHECK_OK(covey_listener_accept(l, &server, COVEY_SEC(20)));
    int pid = family_fork();
    if (!pid) {
        forks_beside_threads(); /* it leaves both connections to its end */
        recv_text(server, "ping");
        send_text(server, "pong");
        exit(0);
    }
    covey_conn_free(server);
    send_text(client, "ping");
    recv_text(client, "pong");
    struct covey_bytes got = {0};
    CHECK_ERR(covey_conn_recv(client, &got, COVEY_SEC(20)), COVEY_EEOF);
    family_join(pid);
    covey_conn_free(client);
    covey_listener_free(l);
}

TEST(a_bad_address_is_named)
{
    covey_listener *l;
    CHECK_ERR(covey_listener_create(&l, "nowhere", NULL), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "address nowhere");
}

/* Where one port is all that there is for own ends. */
static void leave_one_port(void)
{
    struct ifreq interface = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (unshare(CLONE_NEWNET) < 0)
        SKIP("a network namespace: %s", strerror(errno));
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_GE(fd, 0);
    CHECK_EQ(ioctl(fd, SIOCSIFFLAGS, &interface), 0);
    close(fd);
    fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        SKIP("the range of ports: %s", strerror(errno));
    CHECK_EQ(write(fd, "40001 40001", 11), 11);
    close(fd);
}

TEST(a_port_where_nobody_listens_does_not_answer_for_itself)
{
    covey_conn *conn = NULL;
    leave_one_port();
    CHECK_ERR(covey_client_connect(&conn, "127.0.0.1:40001", NULL, COVEY_SEC(20)),
              -ECONNREFUSED);
    CHECK(!conn);
}

CHECK_MAIN()
