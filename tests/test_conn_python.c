/* SPDX-License-Identifier: MIT */
/* Connections to every CPython of this machine: stock multiprocessing.connection listens
 * and connects, with and without keys, in the dialect of its version. */
#include "conn_help.h"
#include "python_help.h"

#define SECRET    COVEY_VIEW("secret", 6)
#define FIRST_SHA 12 /* 3.12 and later do not say MD5 first */

/* What each script begins with: the address as Python writes it. */
#define PRELUDE                                                                        \
    "import sys\n"                                                                     \
    "from multiprocessing.connection import (Client, Connection, Listener,\n"          \
    "    answer_challenge, deliver_challenge)\n"                                       \
    "from multiprocessing import AuthenticationError, BufferTooShort\n" PYTHON_ADDRESS

static covey_listener *listener_with_key(const char *address, bool allow_md5)
{
    covey_listener *l;
    CHECK_OK(covey_listener_create(
        &l, address,
        COVEY_LISTENER_OPTS(.authkey = SECRET, .report_refused = COVEY_ON,
                            .allow_md5 = allow_md5 ? COVEY_ON : COVEY_OFF)));
    return l;
}

/* What the other side does: echoes until the end. */
static void echo(covey_conn *conn)
{
    struct covey_bytes got = {0};
    int r;
    while ((r = covey_conn_recv(conn, &got, COVEY_SEC(20))) >= 0)
        CHECK_OK(covey_conn_send(conn, COVEY_VIEW(got.data, got.size), COVEY_SEC(20)));
    CHECK_EQ(r, COVEY_EEOF);
    covey_bytes_free(&got);
}

static const char echo_client[] = PRELUDE
    "c = Client(address(sys.argv[1]), authkey=b'secret')\n"
    "things = [None, True, 12345678901234567890, -1, 2.5, 1j, 'h\\xe4', b'ab',\n"
    "    bytearray(b'xy'), [1, [2]], (1, (2,)), {'a': 1, 2: None}, {1}, "
    "frozenset([2]),\n"
    "    slice(1, None), range(3), list(range(5000)), 'x' * 100000]\n"
    "for t in things:\n"
    "    c.send(t)\n"
    "    got = c.recv()\n"
    "    assert got == t and type(got) is type(t), t\n"
    "for n in [0, 1, 16383, 16384, 16385, 65536, 3000000]:\n"
    "    data = bytes(bytearray(i % 251 for i in range(n)))\n"
    "    c.send_bytes(data)\n"
    "    assert c.recv_bytes() == data, n\n"
    "buffer = bytearray(10)\n"
    "c.send_bytes(b'0123456789', 2, 5)\n"
    "assert c.recv_bytes_into(buffer, 1) == 5 and buffer[1:6] == b'23456'\n"
    "c.send_bytes(b'12345678901')\n"
    "try: c.recv_bytes_into(buffer)\n"
    "except BufferTooShort as e: assert e.args[0] == b'12345678901'\n"
    "assert not c.poll()\n"
    "c.close()\n"
    "print('done')\n";

TEST_TIMEOUT(python_client_talks_to_our_listener, 120)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/covey-test-py-%d", (int)getpid());
    const char *const addresses[] = {"127.0.0.1:0", path, "@covey-test-py"};
    EACH_PYTHON(p)
    for (int i = 0; i < 3; i++) {
        covey_conn *conn;
        covey_listener *l = listener_with_key(addresses[i], p->minor < FIRST_SHA);
        struct beside b = python_start(p, echo_client, covey_listener_address(l), "");
        CHECK_OK(covey_listener_accept(l, &conn, COVEY_SEC(20)));
        echo(conn);
        covey_conn_free(conn);
        covey_listener_free(l);
        python_ends(&b, p, "done\n");
    }
}

/* Values by our own pickler and reader, not just as bytes. */
static void echo_values(covey_conn *conn)
{
    covey_value *got;
    int r;
    while ((r = covey_conn_recv_value(conn, &got, NULL, COVEY_SEC(20))) >= 0) {
        CHECK_OK(covey_conn_send_value(conn, got, COVEY_SEC(20)));
        covey_value_free(got);
    }
    CHECK_EQ(r, COVEY_EEOF);
}

static const char value_client[] = PRELUDE
    "c = Client(address(sys.argv[1]), authkey=b'secret')\n"
    "class E(Exception): pass\n"
    "things = [None, True, 12345678901234567890, -1, 2.5, 1j, 'h\\xe4', b'ab',\n"
    "    bytearray(b'xy'), [1, [2]], (1, (2,)), {'a': 1, 2: None}, {1}, "
    "frozenset([2]),\n"
    "    slice(1, None), range(3), list(range(5000)), 'x' * 100000]\n"
    "for t in things:\n"
    "    c.send(t)\n"
    "    got = c.recv()\n"
    "    assert got == t and type(got) is type(t), t\n"
    "c.send(ValueError('no'))\n"
    "got = c.recv()\n"
    "assert type(got) is ValueError and got.args == ('no',)\n"
    "c.close()\n"
    "print('done')\n";

TEST_TIMEOUT(values_survive_the_way_there_and_back, 120)
{
    EACH_PYTHON(p)
    {
        covey_conn *conn;
        covey_listener *l = listener_with_key(NULL, true);
        struct beside b = python_start(p, value_client, covey_listener_address(l), "");
        CHECK_OK(covey_listener_accept(l, &conn, COVEY_SEC(20)));
        echo_values(conn);
        covey_conn_free(conn);
        covey_listener_free(l);
        python_ends(&b, p, "done\n");
    }
}

static const char echo_server[] =
    PRELUDE "l = Listener(address(sys.argv[1]), authkey=b'secret')\n"
            "a = l.address\n"
            "print(a if isinstance(a, str) else '%s:%d' % a if isinstance(a, tuple)\n"
            "      else '@' + a[1:].decode())\n"
            "c = l.accept()\n"
            "try:\n"
            "    while True: c.send(c.recv())\n"
            "except EOFError: pass\n"
            "c = l.accept()\n"
            "try:\n"
            "    while True: c.send_bytes(c.recv_bytes())\n"
            "except EOFError: pass\n"
            "l.close()\n"
            "print('done')\n";

/* A client of ours for a listener that prints its address first. */
static covey_conn *client_of(const char *address, bool allow_md5)
{
    covey_conn *conn;
    CHECK_OK(covey_client_connect(
        &conn, address,
        COVEY_CLIENT_OPTS(.authkey = SECRET,
                          .allow_md5 = allow_md5 ? COVEY_ON : COVEY_OFF),
        COVEY_SEC(20)));
    return conn;
}

static void value_comes_back(covey_conn *conn, covey_value *value)
{
    covey_value *got = NULL;
    CHECK_OK(covey_conn_send_value(conn, value, COVEY_SEC(20)));
    CHECK_OK(covey_conn_recv_value(conn, &got, NULL, COVEY_SEC(20)));
    CHECK_EQ(covey_value_kind(got), covey_value_kind(value));
    CHECK_EQ(covey_value_equal(got, value), 1);
    covey_value_free(got);
    covey_value_free(value);
}

static void bytes_come_back(covey_conn *conn, size_t size)
{
    unsigned char *data = malloc(size + 1);
    struct covey_bytes got = {0};
    fill(data, size, (unsigned)size);
    CHECK_OK(covey_conn_send(conn, COVEY_VIEW(data, size), COVEY_SEC(20)));
    CHECK_OK(covey_conn_recv(conn, &got, COVEY_SEC(20)));
    CHECK_EQ(got.size, size);
    if (size)
        CHECK_MEM_EQ(got.data, data, size);
    covey_bytes_free(&got);
    free(data);
}

static void exercise_server(const struct python *p, const char *where)
{
    static const size_t sizes[] = {0, 1, 16384, 16385, 100000, 3000000};
    char address[256];
    struct beside b = python_start(p, echo_server, where, "");
    python_line(&b, address, sizeof address);
    covey_conn *conn = client_of(address, p->minor < FIRST_SHA);
    covey_value *list;
    CHECK_OK(covey_value_pack(&list, "[i, z, d, s, {s: (i, i)}]", 1, NULL, 2.5, "text",
                              "key", 3, 4));
    value_comes_back(conn, list);
    value_comes_back(conn, covey_value_int_text("123456789012345678901234567890"));
    value_comes_back(conn, covey_value_str("h\xc3\xa4"));
    value_comes_back(conn, covey_value_bytes("a\0b", 3));
    covey_conn_free(conn);
    conn = client_of(address, p->minor < FIRST_SHA);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        bytes_come_back(conn, sizes[i]);
    covey_conn_free(conn);
    python_ends(&b, p, "done\n");
}

TEST_TIMEOUT(our_client_talks_to_a_python_listener, 120)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/covey-test-py-%d", (int)getpid());
    EACH_PYTHON(p)
    {
        exercise_server(p, "127.0.0.1:0");
        exercise_server(p, path);
        if (p->minor >= 8) /* abstract names */
            exercise_server(p, "@covey-test-py-server");
    }
}

/* ---- keys and dialects ---- */

static const char wrong_key_client[] =
    PRELUDE "try: Client(address(sys.argv[1]), authkey=b'other')\n"
            "except AuthenticationError: print('refused')\n"
            "except EOFError: print('closed')\n";

TEST_TIMEOUT(python_client_with_another_key_is_refused, 120)
{
    EACH_PYTHON(p)
    {
        covey_conn *conn;
        covey_listener *l = listener_with_key("127.0.0.1:0", true);
        struct beside b =
            python_start(p, wrong_key_client, covey_listener_address(l), "");
        CHECK_ERR(covey_listener_accept(l, &conn, COVEY_SEC(20)), COVEY_EAUTH);
        python_ends(&b, p, "refused\n");
        covey_listener_free(l);
    }
}

static const char wrong_key_server[] =
    PRELUDE "l = Listener(('127.0.0.1', 0), authkey=b'other')\n"
            "print('%s:%d' % l.address)\n"
            "try: l.accept()\n"
            "except AuthenticationError: print('refused')\n"
            "except (EOFError, OSError): print('closed')\n";

TEST_TIMEOUT(our_client_with_another_key_is_refused, 120)
{
    EACH_PYTHON(p)
    {
        char address[256];
        covey_conn *conn;
        struct beside b = python_start(p, wrong_key_server, "", "");
        python_line(&b, address, sizeof address);
        CHECK_ERR(covey_client_connect(
                      &conn, address,
                      COVEY_CLIENT_OPTS(.authkey = SECRET, .allow_md5 = COVEY_ON),
                      COVEY_SEC(20)),
                  COVEY_EAUTH);
        python_ends(&b, p, "refused\n");
    }
}

TEST_TIMEOUT(old_pythons_are_refused_unless_md5_is_allowed, 120)
{
    EACH_PYTHON(p)
    {
        char address[256];
        covey_conn *conn = NULL;
        covey_listener *l = listener_with_key("127.0.0.1:0", false);
        struct beside b =
            python_start(p, wrong_key_client, covey_listener_address(l), "");
        CHECK_ERR(covey_listener_accept(l, &conn, COVEY_SEC(20)), COVEY_EAUTH);
        CHECK_EQ(strstr(covey_error_detail(), "allow_md5") != NULL,
                 p->minor < FIRST_SHA);
        python_ends(&b, p, "refused\n");
        covey_listener_free(l);
        if (p->minor >= FIRST_SHA)
            continue;
        b = python_start(p, wrong_key_server, "", "");
        python_line(&b, address, sizeof address);
        CHECK_ERR(covey_client_connect(&conn, address,
                                       COVEY_CLIENT_OPTS(.authkey = SECRET),
                                       COVEY_SEC(20)),
                  COVEY_EAUTH);
        python_ends(&b, p, "closed\n");
    }
}

static const char challenges[] =
    PRELUDE "import socket\n"
            "c = Connection(socket.socket(fileno=int(sys.argv[1])).detach())\n"
            "deliver_challenge(c, b'secret')\n"
            "answer_challenge(c, b'secret')\n"
            "deliver_challenge(c, b'secret')\n"
            "print('done')\n";

TEST_TIMEOUT(challenges_by_themselves, 120)
{
    EACH_PYTHON(p)
    {
        int ends[2];
        char number[16];
        covey_conn *conn;
        const struct covey_auth_opts *opts =
            COVEY_AUTH_OPTS(.allow_md5 = p->minor < FIRST_SHA ? COVEY_ON : COVEY_OFF);
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        CHECK_EQ(fcntl(ends[0], F_SETFD, FD_CLOEXEC), 0);
        snprintf(number, sizeof number, "%d", ends[1]);
        CHECK_OK(covey_conn_open_fd(&conn, ends[0], NULL));
        struct beside b = python_start(p, challenges, number, "");
        close(ends[1]);
        CHECK_OK(covey_answer_challenge(conn, SECRET, opts, COVEY_SEC(20)));
        CHECK_OK(covey_deliver_challenge(conn, SECRET, opts, COVEY_SEC(20)));
        CHECK_OK(covey_answer_challenge(conn, SECRET, opts, COVEY_SEC(20)));
        python_ends(&b, p, "done\n");
        covey_conn_free(conn);
    }
}

/* ---- a Connection over what covey_conn_open_fd adopts ---- */

static const char long_form[] =
    PRELUDE "import struct\n"
            "c = Connection(int(sys.argv[1]), readable=False)\n"
            "c._send(struct.pack('!i', -1) + struct.pack('!Q', 5) + b'hello')\n"
            "c.send_bytes(b'x' * 20000)\n"
            "c._send(struct.pack('!i', 100) + b'too little')\n";

TEST_TIMEOUT(python_writes_to_an_adopted_pipe, 120)
{
    EACH_PYTHON(p)
    {
        int ends[2];
        char number[16];
        covey_conn *conn;
        struct covey_bytes got = {0};
        CHECK_EQ(pipe(ends), 0);
        CHECK_EQ(fcntl(ends[0], F_SETFD, FD_CLOEXEC), 0);
        snprintf(number, sizeof number, "%d", ends[1]);
        CHECK_OK(covey_conn_open_fd(&conn, ends[0], NULL));
        struct beside b = python_start(p, long_form, number, "");
        close(ends[1]);
        recv_text(conn, "hello");
        CHECK_OK(covey_conn_recv(conn, &got, COVEY_SEC(20)));
        CHECK_EQ(got.size, 20000);
        CHECK_ERR(covey_conn_recv(conn, &got, COVEY_SEC(20)), COVEY_ETRUNCATED);
        python_ends(&b, p, "");
        covey_bytes_free(&got);
        covey_conn_free(conn);
    }
}

CHECK_MAIN()
