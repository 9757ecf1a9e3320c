/* SPDX-License-Identifier: MIT */
/* Connections whose system calls fail in the middle of a message. */
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "conn_help.h"
#include "os/faults.h"

static char data[1000000];

/* The next call that can fail does, with an error that tells nothing of the other side. */
static int with_fault(int result)
{
    cvy_faults_arm(0, 0);
    return result;
}

TEST(failed_rest_of_a_message_leaves_no_place_for_another)
{
    struct bare b = bare_new();
    CHECK_EQ(covey_conn_send(b.conn, COVEY_VIEW_OF(data), COVEY_NOWAIT), COVEY_PENDING);
    cvy_faults_arm(1, ENOBUFS);
    CHECK_ERR(with_fault(covey_conn_flush(b.conn, COVEY_NOWAIT)), -ENOBUFS);
    CHECK_ERR(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_NOWAIT), COVEY_EBROKEN);
    bare_free(&b);
    b = bare_new();
    CHECK_EQ(covey_conn_send(b.conn, COVEY_VIEW_OF(data), COVEY_NOWAIT), COVEY_PENDING);
    cvy_faults_arm(1, ENOBUFS);
    CHECK_ERR(with_fault(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_NOWAIT)),
              -ENOBUFS);
    CHECK_ERR(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_NOWAIT), COVEY_EBROKEN);
    bare_free(&b);
}

/* What the kernel tells, once, of a peer that does not answer any more. */
static const int unanswered[] = {ETIMEDOUT, EHOSTUNREACH, ENETUNREACH};

static int recv_when_lost(struct bare *b, long nth, int error, covey_nsec timeout)
{
    struct covey_bytes got = {0};
    cvy_faults_arm(nth, error);
    int r = with_fault(covey_conn_recv(b->conn, &got, timeout));
    covey_bytes_free(&got);
    return r;
}

TEST(a_peer_that_does_not_answer_any_more_is_told_from_the_callers_time)
{
    static const covey_nsec times[] = {COVEY_FOREVER, COVEY_NOWAIT};
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 2; j++) {
            struct bare b = bare_new();
            CHECK_ERR(recv_when_lost(&b, 1, unanswered[i], times[j]), COVEY_EBROKEN);
            CHECK_STR_HAS(covey_error_detail(), "does not answer");
            close(b.fd); /* as the kernel has done then */
            b.fd = -1;
            CHECK_ERR(recv_when_lost(&b, 0, 0, times[j]), COVEY_EBROKEN);
            CHECK_ERR(covey_conn_send(b.conn, COVEY_VIEW("x", 1), times[j]),
                      COVEY_EBROKEN);
            bare_free(&b);
        }
}

TEST(a_peer_that_is_lost_in_a_message_breaks_the_connection)
{
    struct bare b = bare_new();
    write_hex(b.fd, "00000003 6162");
    CHECK_ERR(recv_when_lost(&b, 2, ETIMEDOUT, COVEY_FOREVER), COVEY_EBROKEN);
    CHECK_STR_HAS(covey_error_detail(), "does not answer");
    bare_free(&b);
    b = bare_new();
    cvy_faults_arm(1, ETIMEDOUT);
    CHECK_ERR(with_fault(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_FOREVER)),
              COVEY_EBROKEN);
    bare_free(&b);
    b = bare_new(); /* what had come before is there */
    write_hex(b.fd, "00000001 61");
    cvy_faults_arm(1, ETIMEDOUT);
    CHECK_ERR(with_fault(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_NOWAIT)),
              COVEY_EBROKEN);
    recv_text(b.conn, "a");
    bare_free(&b);
    b = bare_new();
    CHECK_EQ(covey_conn_send(b.conn, COVEY_VIEW_OF(data), COVEY_NOWAIT), COVEY_PENDING);
    cvy_faults_arm(1, ETIMEDOUT);
    CHECK_ERR(with_fault(covey_conn_flush(b.conn, COVEY_FOREVER)), COVEY_EBROKEN);
    bare_free(&b);
}

/* The loopback of a network namespace. Returns: whether it could be switched. */
static bool switch_network(bool on)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0;
    request.ifr_flags = on ? IFF_UP : 0;
    done = done && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    close(fd);
    return done;
}

TEST(a_network_that_is_cut_breaks_a_connection)
{
    covey_listener *l;
    covey_conn *client, *server;
    struct covey_bytes got = {0};
    int fd = -1, patience = 100; /* ms; else it takes a quarter of an hour */
    if ((unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) ||
        !switch_network(true))
        SKIP("no privilege to make network namespaces");
    CHECK_OK(covey_listener_create(&l, "127.0.0.1:0", NULL));
    CHECK_OK(
        covey_client_connect(&client, covey_listener_address(l), NULL, COVEY_SEC(20)));
    CHECK_OK(covey_listener_accept(l, &server, COVEY_SEC(20)));
    CHECK_OK(covey_conn_fd(client, &fd));
    CHECK_EQ(setsockopt(fd, SOL_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience), 0);
    CHECK(switch_network(false));
    CHECK_OK(covey_conn_send(client, COVEY_VIEW("x", 1), COVEY_FOREVER));
    for (int i = 0; i < 2; i++)
        CHECK_ERR(covey_conn_recv(client, &got, COVEY_FOREVER), COVEY_EBROKEN);
    CHECK_ERR(covey_conn_send(client, COVEY_VIEW("x", 1), COVEY_FOREVER),
              COVEY_EBROKEN);
    covey_conn_free(client);
    covey_conn_free(server);
    covey_listener_free(l);
}

/* connect(2) to an address fails by this. Returns: what covey_client_connect does. */
static int connect_with(const char *address, int error, covey_nsec timeout)
{
    covey_conn *conn = NULL;
    for (long nth = 1;; nth++) {
        cvy_faults_arm(nth, error);
        int r = covey_client_connect(&conn, address, NULL, timeout);
        const char *failed = cvy_faults_last();
        cvy_faults_arm(0, 0);
        CHECK_LT(r, 0);
        CHECK(failed != NULL);
        if (strcmp(failed, "connect") == 0)
            return r;
    }
}

/* The system's patience may be the shorter one. An AF_UNIX listener whose backlog is full
 * ends the caller's. */
TEST(who_does_not_answer_a_connect_is_told_from_the_callers_time)
{
    static const covey_nsec times[] = {COVEY_FOREVER, COVEY_SEC(20)};
    struct bare founder = bare_new(); /* of the family, by calls that are not counted */
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        CHECK_ERR(connect_with("127.0.0.1:1", ETIMEDOUT, times[i]), -EHOSTUNREACH);
        CHECK_ERR(connect_with("127.0.0.1:1", EINPROGRESS, times[i]), -ETIMEDOUT);
        CHECK_ERR(connect_with("/tmp/none", EAGAIN, times[i]), -ETIMEDOUT);
    }
    bare_free(&founder);
}

/* accept(2) of a listener at 127.0.0.1 that somebody has connected to fails by this.
 * Returns: what covey_listener_accept does. */
static int accept_with(int error)
{
    covey_listener *l;
    covey_conn *client, *conn = NULL;
    int r;
    CHECK_OK(covey_listener_create(&l, "127.0.0.1:0", NULL));
    CHECK_OK(
        covey_client_connect(&client, covey_listener_address(l), NULL, COVEY_SEC(20)));
    for (long nth = 1;; nth++) {
        cvy_faults_arm(nth, error);
        r = covey_listener_accept(l, &conn, COVEY_SEC(20));
        const char *failed = cvy_faults_last();
        cvy_faults_arm(0, 0);
        if (!failed || strcmp(failed, "accept4") == 0)
            break;
        CHECK_LT(r, 0);
    }
    covey_conn_free(conn);
    covey_conn_free(client);
    covey_listener_free(l);
    return r;
}

/* Linux tells of errors of the network to the new connection by accept. */
TEST(a_connection_that_is_lost_before_it_is_accepted_ends_nothing)
{
    static const int lost[] = {ECONNABORTED, ENETDOWN,    EPROTO,
                               ENOPROTOOPT,  EHOSTDOWN,   ENONET,
                               EHOSTUNREACH, ENETUNREACH, ETIMEDOUT};
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++)
        CHECK_OK(accept_with(lost[i]));
    CHECK_ERR(accept_with(EMFILE), -EMFILE);
    CHECK_ERR(accept_with(ENOBUFS), -ENOBUFS);
}

/* A connection goes into a value and out of it while a call fails, here or in the thread
 * that gives it. Returns: whether one did. */
static bool carry_with(long nth, int error)
{
    struct bare b = bare_new();
    covey_value *value = NULL;
    covey_conn *conn = NULL;
    cvy_faults_arm(nth, error);
    int r = covey_conn_to_value(b.conn, COVEY_FOREVER, &value);
    CHECK_EQ(r < 0, !value);
    if (r >= 0)
        r = covey_conn_from_value(&conn, value, COVEY_SEC(5));
    CHECK_EQ(r < 0, !conn);
    const char *failed = cvy_faults_last();
    cvy_faults_arm(0, 0);
    if (r < 0) {
        CHECK_NE(r, -ETIMEDOUT);
        if (value) /* it may still be there */
            (void)!covey_conn_from_value(&conn, value, COVEY_SEC(5));
    }
    CHECK(failed || r >= 0);
    covey_conn_free(conn);
    covey_value_free(value);
    bare_free(&b);
    return failed != NULL;
}

TEST(a_call_that_fails_while_a_connection_is_carried_leaves_nothing)
{
    static const int errors[] = {EMFILE, ENOMEM};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        for (long nth = 1; carry_with(nth, errors[i]); nth++)
            CHECK_LT(nth, 200);
    int64_t limit = cvy_os_deadline(COVEY_SEC(1));
    while (cvy_os_thread_count() > 1 && cvy_os_now() < limit)
        cvy_os_yield();
}

/* Returns: whether a call failed. */
static bool listen_with(long nth, const char *path)
{
    covey_listener *l = NULL;
    cvy_faults_arm(nth, 0);
    int r = covey_listener_create(&l, path, NULL);
    const char *failed = cvy_faults_last();
    cvy_faults_arm(0, 0);
    CHECK_EQ(r < 0, access(path, F_OK) < 0);
    covey_listener_free(l);
    CHECK_EQ(access(path, F_OK), -1);
    return failed != NULL;
}

TEST(a_listener_that_cannot_be_made_leaves_no_path)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/covey-test-no-path-%d", (int)getpid());
    for (long nth = 1; listen_with(nth, path); nth++)
        CHECK_LT(nth, 200);
}

CHECK_MAIN()
