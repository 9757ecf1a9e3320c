/* SPDX-License-Identifier: MIT */
/* TLS of connections: who is let in and who is not, and what it says; messages of all
 * sizes, waiting, and what cannot be done with such a connection. */
#include <sys/stat.h>

#include "tls_help.h"

#define MANY ((size_t)5 << 20)

/* A listener, and a client that has connected, each with its options. */
struct ends {
    covey_listener *listener;
    covey_conn *client, *server;
};

static covey_listener *listening(const struct covey_tls *tls, struct covey_view key)
{
    covey_listener *l = NULL;
    CHECK_OK(covey_listener_create(
        &l, ANY_PORT,
        COVEY_LISTENER_OPTS(.authkey = key, .tls = tls, .report_refused = COVEY_ON)));
    return l;
}

static struct ends connected_at(const char *through, covey_listener *l,
                                const struct covey_tls *tls, struct covey_view key)
{
    struct ends e = {.listener = l};
    struct client c;
    client_start(&c, through ? through : covey_listener_address(l),
                 COVEY_CLIENT_OPTS(.authkey = key, .tls = tls));
    CHECK_OK(covey_listener_accept(l, &e.server, LONG));
    CHECK_OK(client_result(&c));
    e.client = c.conn;
    return e;
}

static struct ends connected(const struct covey_tls *server,
                             const struct covey_tls *client)
{
    return connected_at(NULL, listening(server, SECRET), client, SECRET);
}

static void ends_free(struct ends *e)
{
    covey_conn_free(e->client);
    covey_conn_free(e->server);
    covey_listener_free(e->listener);
}

static void talk(const struct ends *e)
{
    send_text(e->client, "from the client");
    recv_text(e->server, "from the client");
    send_text(e->server, "from the server");
    recv_text(e->client, "from the server");
}

/* ---- who is let in ---- */

TEST(the_key_lets_in)
{
    struct ends e = connected(BY_KEY, BY_KEY);
    talk(&e);
    ends_free(&e);
}

TEST(certificates_let_in_with_and_without_a_key)
{
    struct papers p;
    papers_make(&p, "client");
    struct ends e = connected(&p.server, &p.client);
    talk(&e);
    ends_free(&e);
    e = connected_at(NULL, listening(&p.server, COVEY_NO_VIEW), &p.client,
                     COVEY_NO_VIEW);
    talk(&e);
    ends_free(&e);
    papers_free(&p);
}

/* What both sides say when the handshake fails. */
static void refused_both(const struct covey_tls *server, struct covey_view server_key,
                         const struct covey_tls *client, struct covey_view client_key,
                         const char *server_says, const char *client_says)
{
    covey_listener *l = listening(server, server_key);
    covey_conn *conn;
    struct client c;
    client_start(&c, covey_listener_address(l),
                 COVEY_CLIENT_OPTS(.authkey = client_key, .tls = client));
    CHECK_LT(covey_listener_accept(l, &conn, LONG), 0);
    CHECK_STR_HAS(covey_error_detail(), server_says);
    CHECK_STR_HAS(covey_error_detail(), "127.0.0.1:");
    CHECK_LT(client_result(&c), 0);
    CHECK_STR_HAS(c.detail, client_says);
    CHECK_STR_HAS(c.detail, covey_listener_address(l));
    covey_listener_free(l);
}

TEST(another_key_is_refused)
{
    refused_both(BY_KEY, SECRET, BY_KEY, COVEY_VIEW("another", 7), "has another key",
                 "TLS: the other side refuses");
}

TEST(certificates_of_strangers_are_refused)
{
    struct papers p;
    papers_make(&p, "stranger");
    refused_both(&p.server, SECRET, &p.client, SECRET, "unable to get local issuer",
                 "unknown ca");
    refused_both(&p.client, SECRET, &p.server, SECRET, "unknown ca",
                 "unable to get local issuer");
    papers_free(&p);
}

TEST(expired_certificates_are_refused)
{
    struct papers p;
    papers_make(&p, "old");
    refused_both(&p.server, SECRET, &p.client, SECRET, "certificate has expired",
                 "certificate expired");
    refused_both(&p.client, SECRET, &p.server, SECRET, "certificate expired",
                 "certificate has expired");
    papers_free(&p);
}

TEST(the_name_of_the_server_is_checked_if_it_is_given)
{
    static const char *const names[] = {"server.test", "127.0.0.1"};
    struct papers p;
    papers_make(&p, "client");
    for (int i = 0; i < 2; i++) {
        p.client.server_name = names[i];
        struct ends e = connected(&p.server, &p.client);
        talk(&e);
        ends_free(&e);
    }
    p.client.server_name = "other.test";
    refused_both(&p.server, SECRET, &p.client, SECRET, "TLS: the other side refuses",
                 "hostname mismatch");
    p.client.server_name = "127.0.0.2";
    refused_both(&p.server, SECRET, &p.client, SECRET, "TLS: the other side refuses",
                 "IP address mismatch");
    papers_free(&p);
}

TEST(the_key_inside_is_still_asked_for)
{
    struct papers p;
    papers_make(&p, "client");
    refused_both(&p.server, SECRET, &p.client, COVEY_VIEW("another", 7),
                 "the other side has another key", "another key");
    papers_free(&p);
}

TEST(certificates_and_the_key_do_not_go_together)
{
    struct certificates c;
    certificates_make(&c);
    struct covey_tls files = shows(&c, "server", "ca");
    refused_both(&files, SECRET, BY_KEY, SECRET, "TLS: ", "TLS: ");
    refused_both(BY_KEY, SECRET, &files, SECRET, "TLS: ", "TLS: ");
    certificates_free(&c);
}

/* ---- peers without TLS ---- */

TEST(a_client_with_tls_is_told_that_the_listener_has_none)
{
    refused_both(NULL, SECRET, BY_KEY, SECRET, "speaks TLS", "speaks none");
}

TEST(a_client_without_tls_is_told_that_the_listener_may_have_it)
{
    covey_listener *l = NULL;
    covey_conn *conn;
    struct client c;
    CHECK_OK(
        covey_listener_create(&l, ANY_PORT,
                              COVEY_LISTENER_OPTS(.authkey = SECRET, .tls = BY_KEY,
                                                  .handshake_timeout = COVEY_MSEC(300),
                                                  .report_refused = COVEY_ON)));
    client_start(&c, covey_listener_address(l), COVEY_CLIENT_OPTS(.authkey = SECRET));
    CHECK_ERR(covey_listener_accept(l, &conn, LONG), COVEY_EAUTH);
    CHECK_STR_HAS(covey_error_detail(), "in time");
    CHECK_EQ(client_result(&c), COVEY_EEOF);
    CHECK_STR_HAS(c.detail, "may want TLS");
    covey_listener_free(l);
}

TEST(a_client_that_says_something_else_is_refused)
{
    covey_listener *l = listening(BY_KEY, SECRET);
    covey_conn *conn;
    int fd = bare_connect(covey_listener_address(l));
    CHECK_EQ(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, 0), 18);
    CHECK_ERR(covey_listener_accept(l, &conn, LONG), COVEY_EPROTOCOL);
    CHECK_STR_HAS(covey_error_detail(), "speaks none");
    close(fd);
    fd = bare_connect(covey_listener_address(l));
    close(fd);
    CHECK_ERR(covey_listener_accept(l, &conn, LONG), COVEY_EEOF);
    CHECK_STR_HAS(covey_error_detail(), "before it said anything");
    covey_listener_free(l);
}

TEST(a_silent_peer_holds_up_nobody)
{
    covey_listener *l = listening(BY_KEY, SECRET);
    int silent = bare_connect(covey_listener_address(l));
    int slow = bare_connect(covey_listener_address(l));
    CHECK_EQ(send(slow, "\x16\x03\x01\x01", 4, 0), 4); /* a part of a record */
    struct ends e = connected_at(NULL, l, BY_KEY, SECRET);
    talk(&e);
    close(silent);
    close(slow);
    ends_free(&e);
}

/* ---- what is on the wire ---- */

TEST(an_eavesdropper_hears_nothing)
{
    static const char words[] = "nobody else is to know of this";
    for (int with = 0; with < 2; with++) {
        const struct covey_tls *tls = with ? BY_KEY : NULL;
        covey_listener *l = listening(tls, SECRET);
        struct tap tap;
        tap_start(&tap, covey_listener_address(l));
        struct ends e = connected_at(tap.address, l, tls, SECRET);
        send_text(e.client, words);
        recv_text(e.server, words);
        send_text(e.server, words);
        recv_text(e.client, words);
        ends_free(&e);
        CHECK_EQ(tap_has_heard(&tap, words), !with);
    }
}

/* ---- messages ---- */

struct receiver {
    pthread_t thread;
    covey_conn *conn;
    int count;
};

static void *receive_many(void *arg)
{
    struct receiver *r = arg;
    unsigned char *wanted = malloc(MANY);
    struct covey_bytes got = {0};
    for (int i = 0; i < r->count; i++) {
        size_t size = MANY - (size_t)i * 12345;
        fill(wanted, size, (unsigned)i);
        CHECK_OK(covey_conn_recv(r->conn, &got, LONG));
        CHECK_EQ(got.size, size);
        CHECK_MEM_EQ(got.data, wanted, size);
    }
    covey_bytes_free(&got);
    free(wanted);
    return NULL;
}

static void send_many(covey_conn *conn, int count)
{
    unsigned char *data = malloc(MANY);
    for (int i = 0; i < count; i++) {
        size_t size = MANY - (size_t)i * 12345;
        fill(data, size, (unsigned)i);
        CHECK_OK(covey_conn_send(conn, COVEY_VIEW(data, size), LONG));
    }
    free(data);
}

TEST(large_messages_go_both_ways_at_the_same_time)
{
    struct ends e = connected(BY_KEY, BY_KEY);
    struct receiver a = {.conn = e.server, .count = 3},
                    b = {.conn = e.client, .count = 3};
    CHECK_EQ(pthread_create(&a.thread, NULL, receive_many, &a), 0);
    CHECK_EQ(pthread_create(&b.thread, NULL, receive_many, &b), 0);
    send_many(e.client, 3);
    send_many(e.server, 3);
    CHECK_EQ(pthread_join(a.thread, NULL), 0);
    CHECK_EQ(pthread_join(b.thread, NULL), 0);
    ends_free(&e);
}

TEST(messages_of_every_size_around_a_record_come_whole)
{
    static const size_t sizes[] = {0,     1,     2,     255,   16379, 16380,
                                   16381, 16384, 16385, 32768, 65535, 65537};
    struct ends e = connected(BY_KEY, BY_KEY);
    static unsigned char data[65537];
    struct covey_bytes got = {0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        fill(data, sizeof data, (unsigned)i);
        CHECK_OK(covey_conn_send(e.client, COVEY_VIEW(data, sizes[i]), LONG));
        CHECK_OK(covey_conn_recv(e.server, &got, LONG));
        CHECK_EQ(got.size, sizes[i]);
        if (sizes[i])
            CHECK_MEM_EQ(got.data, data, sizes[i]);
    }
    covey_bytes_free(&got);
    ends_free(&e);
}

/* The receiver reads nothing until the sender has no room left. */
TEST(a_send_that_runs_out_of_time_goes_on)
{
    struct ends e = connected(BY_KEY, BY_KEY);
    unsigned char *data = malloc(MANY);
    fill(data, MANY, 0);
    CHECK_EQ(covey_conn_send(e.client, COVEY_VIEW(data, MANY), COVEY_NOWAIT),
             COVEY_PENDING);
    CHECK_ERR(covey_conn_flush(e.client, COVEY_MSEC(10)), -ETIMEDOUT);
    struct receiver r = {.conn = e.server, .count = 1};
    CHECK_EQ(pthread_create(&r.thread, NULL, receive_many, &r), 0);
    CHECK_OK(covey_conn_flush(e.client, LONG));
    CHECK_EQ(pthread_join(r.thread, NULL), 0);
    talk(&e);
    free(data);
    ends_free(&e);
}

TEST(small_messages_that_find_no_room_are_sent_once)
{
    struct ends e = connected(BY_KEY, BY_KEY);
    unsigned char data[1000], got[1000];
    size_t size;
    int sent = 0, r;
    for (;; sent++) {
        fill(data, sizeof data, (unsigned)sent);
        r = covey_conn_send(e.client, COVEY_VIEW(data, sizeof data), COVEY_NOWAIT);
        if (r)
            break;
    }
    CHECK_GT(sent, 100);
    CHECK(r == COVEY_PENDING || r == -ETIMEDOUT);
    int due = sent + (r == COVEY_PENDING);
    for (int i = 0; i < due; i++) {
        (void)covey_conn_flush(e.client, COVEY_NOWAIT);
        CHECK_OK(covey_conn_recv_into(e.server, got, sizeof got, &size, LONG));
        fill(data, sizeof data, (unsigned)i);
        CHECK_MEM_EQ(got, data, sizeof data);
    }
    CHECK_OK(covey_conn_flush(e.client, LONG));
    talk(&e);
    ends_free(&e);
}

TEST(a_message_in_pieces_is_received_piece_by_piece)
{
    struct ends e = connected(BY_KEY, BY_KEY);
    struct covey_bytes got = {0};
    unsigned char *data = malloc(MANY);
    fill(data, MANY, 7);
    int sent = covey_conn_send(e.client, COVEY_VIEW(data, MANY), COVEY_NOWAIT), r;
    CHECK_EQ(sent, COVEY_PENDING);
    while ((r = covey_conn_recv(e.server, &got, COVEY_NOWAIT)) == -ETIMEDOUT) {
        int flushed = covey_conn_flush(e.client, COVEY_NOWAIT);
        CHECK(flushed == 0 || flushed == -ETIMEDOUT);
    }
    CHECK_OK(r);
    CHECK_EQ(got.size, MANY);
    CHECK_MEM_EQ(got.data, data, MANY);
    free(data);
    covey_bytes_free(&got);
    ends_free(&e);
}

/* More than one call may decrypt lies in the socket. */
TEST(a_receive_looks_at_the_clock_before_it_has_all_that_is_there)
{
    enum { SIZE = 160000 };
    struct ends e = connected(BY_KEY, BY_KEY);
    unsigned char *data = malloc(SIZE), *got = malloc(SIZE);
    size_t size;
    fill(data, SIZE, 3);
    CHECK_OK(covey_conn_send(e.client, COVEY_VIEW(data, SIZE), COVEY_NOWAIT));
    CHECK_ERR(covey_conn_recv_into(e.server, got, SIZE, &size, 1), -ETIMEDOUT);
    CHECK_OK(covey_conn_recv_into(e.server, got, SIZE, &size, LONG));
    CHECK_EQ(size, SIZE);
    CHECK_MEM_EQ(got, data, SIZE);
    free(data);
    free(got);
    ends_free(&e);
}

/* ---- waiting ---- */

TEST(what_was_read_ahead_counts_for_who_waits)
{
    struct ends e = connected(BY_KEY, BY_KEY);
    char small[1];
    size_t size;
    CHECK_ERR(covey_conn_poll(e.server, COVEY_NOWAIT), -ETIMEDOUT);
    send_text(e.client, "longer than there is room for");
    CHECK_OK(covey_conn_poll(e.server, LONG));
    /* Its header is read, and so is the record that it came in. */
    CHECK_ERR(covey_conn_recv_into(e.server, small, 1, &size, LONG), -EMSGSIZE);
    CHECK_OK(covey_conn_poll(e.server, COVEY_NOWAIT));
    struct covey_wait_item item = {.kind = COVEY_WAIT_CONN, .object = e.server};
    CHECK_OK(covey_wait(&item, 1, COVEY_NOWAIT, &size));
    CHECK_EQ(size, 1);
    CHECK_EQ(item.ready, 1);
    recv_text(e.server, "longer than there is room for");
    CHECK_ERR(covey_conn_poll(e.server, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_wait(&item, 1, COVEY_MSEC(1), &size), -ETIMEDOUT);
    covey_conn_close(e.client);
    CHECK_OK(covey_wait(&item, 1, LONG, &size));
    CHECK_OK(covey_conn_poll(e.server, LONG));
    CHECK_ERR(covey_conn_recv_into(e.server, small, 1, &size, LONG), COVEY_EEOF);
    ends_free(&e);
}

TEST(waiting_is_ended_by_a_message_beside_a_pipe)
{
    struct ends e = connected(BY_KEY, BY_KEY);
    struct pair p = pair_new(NULL);
    size_t ready;
    struct covey_wait_item items[] = {{.kind = COVEY_WAIT_CONN, .object = p.a},
                                      {.kind = COVEY_WAIT_CONN, .object = e.server}};
    CHECK_ERR(covey_wait(items, 2, COVEY_MSEC(1), &ready), -ETIMEDOUT);
    send_text(e.client, "come");
    CHECK_OK(covey_wait(items, 2, LONG, &ready));
    CHECK_EQ(items[1].ready, 1);
    recv_text(e.server, "come");
    pair_free(&p);
    ends_free(&e);
}

/* ---- what cannot be done ---- */

TEST(such_a_connection_goes_into_no_value_and_carries_no_descriptor)
{
    covey_listener *l = NULL;
    covey_value *value;
    int fd = -1;
    CHECK_OK(covey_listener_create(
        &l, NULL, COVEY_LISTENER_OPTS(.authkey = SECRET, .tls = BY_KEY)));
    struct ends e = connected_at(NULL, l, BY_KEY, SECRET);
    CHECK_ERR(covey_conn_to_value(e.client, LONG, &value), -ENOTSUP);
    CHECK_ERR(covey_conn_send_fd(e.client, 0, LONG), -ENOTSUP);
    CHECK_ERR(covey_conn_recv_fd(e.client, &fd, LONG), -ENOTSUP);
    CHECK_ERR(covey_conn_set_fd_answers(e.client, 1), -ENOTSUP);
    CHECK_ERR(covey_conn_fd(e.client, &fd), -ENOTSUP);
    CHECK_STR_HAS(covey_error_detail(), "TLS");
    talk(&e);
    ends_free(&e);
}

TEST(a_fork_child_cannot_use_it_and_does_no_harm)
{
    struct ends e = connected(BY_KEY, BY_KEY);
    char byte;
    size_t size;
    int status;
    send_text(e.server, "for the parent");
    fflush(NULL);
    pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        CHECK_ERR(covey_conn_send(e.client, COVEY_VIEW("x", 1), LONG), COVEY_EFORKED);
        CHECK_ERR(covey_conn_recv_into(e.client, &byte, 1, &size, LONG), COVEY_EFORKED);
        CHECK_ERR(covey_conn_poll(e.client, LONG), COVEY_EFORKED);
        CHECK_STR_HAS(covey_error_detail(), "TLS");
        struct covey_wait_item item = {.kind = COVEY_WAIT_CONN, .object = e.client};
        CHECK_ERR(covey_wait(&item, 1, LONG, &size), COVEY_EFORKED);
        covey_conn_free(e.client);
        covey_conn_close(e.server);
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    recv_text(e.client, "for the parent");
    talk(&e);
    ends_free(&e);
}

TEST(a_killed_peer_is_the_end)
{
    covey_listener *l = listening(BY_KEY, SECRET);
    covey_conn *conn;
    char byte;
    size_t size;
    int status;
    fflush(NULL);
    pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        CHECK_OK(covey_client_connect(
            &conn, covey_listener_address(l),
            COVEY_CLIENT_OPTS(.authkey = SECRET, .tls = BY_KEY), LONG));
        send_text(conn, "last words");
        raise(SIGKILL);
    }
    CHECK_OK(covey_listener_accept(l, &conn, LONG));
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    recv_text(conn, "last words");
    CHECK_ERR(covey_conn_recv_into(conn, &byte, 1, &size, LONG), COVEY_EEOF);
    covey_conn_free(conn);
    covey_listener_free(l);
}

/* What is no record of the session's, in the middle of it. */
TEST(a_wire_that_was_tampered_with_is_noticed)
{
    struct ends e = connected(BY_KEY, BY_KEY);
    int raw = -1;
    char byte;
    size_t size;
    struct sockaddr_in peer = {0};
    socklen_t length = sizeof peer;
    for (int fd = 3; fd < 64 && raw < 0; fd++)
        if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 &&
            peer.sin_port ==
                htons((uint16_t)port_of(covey_listener_address(e.listener))))
            raw = fd;
    CHECK_GE(raw, 0); /* the client's socket */
    CHECK_EQ(send(raw,
                  "\x17\x03\x03\x00\x14"
                  "not encrypted by us.",
                  25, 0),
             25);
    CHECK_ERR(covey_conn_recv_into(e.server, &byte, 1, &size, LONG), COVEY_EPROTOCOL);
    CHECK_STR_HAS(covey_error_detail(), "TLS");
    ends_free(&e);
}

/* ---- another implementation ---- */

/* A command of openssl's, in a folder, with what it prints. */
struct beside {
    int pid, in, out;
    char got[4096];
    size_t size;
};

static void beside_start(struct beside *b, const char *folder, const char *script)
{
    int in[2], out[2];
    *b = (struct beside){.pid = -1};
    CHECK_EQ(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
    fflush(NULL);
    b->pid = fork();
    CHECK_GE(b->pid, 0);
    if (!b->pid) {
        unsetenv("LD_PRELOAD");
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(open("/dev/null", O_WRONLY), 2);
        if (chdir(folder) == 0)
            execlp("sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    b->in = in[1];
    b->out = out[0];
}

/* Wait until it has printed this. Returns: where. */
static const char *beside_prints(struct beside *b, const char *text)
{
    const char *at;
    while (!(at = memmem(b->got, b->size, text, strlen(text)))) {
        ssize_t n = read(b->out, b->got + b->size, sizeof b->got - 1 - b->size);
        CHECK_GT(n, 0);
        b->size += (size_t)n;
        b->got[b->size] = 0;
    }
    return at;
}

static void beside_end(struct beside *b)
{
    int status;
    CHECK_EQ(kill(b->pid, SIGKILL), 0);
    CHECK_EQ(waitpid(b->pid, &status, 0), b->pid);
    close(b->in);
    close(b->out);
}

static void *accept_in_thread(void *listener)
{
    covey_conn *conn;
    return covey_listener_accept(listener, &conn, LONG) == COVEY_EEOF ? listener : NULL;
}

/* Its idea of HKDF, and of the handshake. */
TEST(openssl_derives_the_same_and_is_let_into_tls)
{
    static const char command[] =
        "psk=$(openssl kdf -keylen 32 -kdfopt digest:SHA256 "
        "-kdfopt key:'a secret of the tests' -kdfopt salt:'covey TLS 1.3' "
        "-kdfopt info:'external PSK' HKDF | tr -d :) && "
        "exec openssl s_client -connect %s -tls1_3 -psk_identity covey -psk $psk "
        "-quiet";
    covey_listener *l = listening(BY_KEY, SECRET);
    char script[512];
    struct beside client;
    void *ended;
    pthread_t thread;
    snprintf(script, sizeof script, command, covey_listener_address(l));
    beside_start(&client, "/", script);
    CHECK_EQ(pthread_create(&thread, NULL, accept_in_thread, l), 0);
    (void)beside_prints(&client, "#CHALLENGE#{sha256}");
    beside_end(&client);
    CHECK_EQ(pthread_join(thread, &ended), 0);
    CHECK(ended == l);
    covey_listener_free(l);
}

TEST(older_tls_is_refused)
{
    covey_listener *l = listening(BY_KEY, SECRET);
    covey_conn *conn;
    char script[128];
    struct beside client;
    snprintf(script, sizeof script, "exec openssl s_client -connect %s -tls1_2",
             covey_listener_address(l));
    beside_start(&client, "/", script);
    CHECK_ERR(covey_listener_accept(l, &conn, LONG), COVEY_EPROTOCOL);
    CHECK_STR_HAS(covey_error_detail(), "has no TLS 1.3");
    beside_end(&client);
    covey_listener_free(l);
}

/* Who stands in the way has a certificate, even a good one, but not the key. */
TEST(a_server_with_a_certificate_in_place_of_the_key_is_refused)
{
    struct certificates c;
    certificates_make(&c);
    struct beside server;
    covey_conn *conn;
    char address[64];
    beside_start(&server, c.folder,
                 "exec openssl s_server -accept 127.0.0.1:0 -tls1_3 -cert server.pem "
                 "-key server.key");
    (void)beside_prints(&server, "ACCEPT 127.0.0.1:");
    CHECK_EQ(sscanf(beside_prints(&server, "127.0.0.1:"), "%63s", address), 1);
    CHECK_ERR(covey_client_connect(&conn, address,
                                   COVEY_CLIENT_OPTS(.authkey = SECRET, .tls = BY_KEY),
                                   LONG),
              COVEY_EAUTH);
    CHECK_STR_HAS(covey_error_detail(), "another key, or certificates");
    beside_end(&server);
    certificates_free(&c);
}

CHECK_MAIN()
