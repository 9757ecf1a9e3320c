/* SPDX-License-Identifier: MIT */
/* Connections, sockets and descriptors in pickles to and from every CPython of this
 * machine; each as it is, and as 3.14 and later do it: who gets a descriptor answers by a
 * byte, which the other side waits for. */
#include "carry_help.h"
#include "python_help.h"

#define PRELUDE                                                                        \
    "import os, socket, sys, multiprocessing as mp\n"                                  \
    "from multiprocessing import reduction\n"                                          \
    "from multiprocessing.connection import Connection\n"                              \
    "mp.current_process().authkey = b'secret'\n"                                       \
    "reduction.ACKNOWLEDGE = sys.argv[2] == 'answers'\n"                               \
    "c = Connection(int(sys.argv[1]))\n"

static const char *const dialects[] = {"answers", "is silent"};

/* A Python that has the other side of a connection. */
struct partner {
    covey_conn *conn;
    struct beside process;
};

static struct partner partner_new(const struct python *python, const char *script,
                                  const char *dialect)
{
    struct partner p;
    int ends[2];
    char number[16];
    CHECK_OK(covey_set_authkey(COVEY_VIEW("secret", 6)));
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    CHECK_EQ(fcntl(ends[0], F_SETFD, FD_CLOEXEC), 0);
    snprintf(number, sizeof number, "%d", ends[1]);
    CHECK_OK(covey_conn_open_fd(&p.conn, ends[0], NULL));
    p.process = python_start(python, script, number, dialect);
    close(ends[1]);
    return p;
}

static void partner_ends(struct partner *p, const struct python *python,
                         const char *wanted)
{
    covey_conn_free(p->conn);
    python_ends(&p->process, python, wanted);
}

static void says(covey_conn *conn, const char *text)
{
    const char *got = NULL;
    covey_value *value = value_from(conn);
    CHECK_OK(covey_value_get_str(value, &got, NULL));
    CHECK_STR_EQ(got, text);
    covey_value_free(value);
}

/* ---- from here to Python ---- */

static const char receives[] =
    PRELUDE "for a, b, s, d in iter(c.recv, None):\n"
            "    assert type(a) is Connection and a.readable and a.writable\n"
            "    assert type(b) is Connection and b.writable and not b.readable\n"
            "    assert a.recv_bytes() == b'hi'\n"
            "    a.send('over a')\n"
            "    b.send('over b')\n"
            "    assert (s.family, s.type) == (socket.AF_UNIX, socket.SOCK_STREAM)\n"
            "    s.sendall(b'over s')\n"
            "    fd = d.detach()\n"
            "    os.write(fd, b'over d')\n"
            "    os.close(fd)\n"
            "    try: d.detach()\n"
            "    except (EOFError, OSError): pass\n"
            "    else: assert False\n"
            "    c.send('again')\n"
            "print('done')\n";

static void reads_text(int fd, const char *wanted)
{
    char text[32] = "";
    CHECK_EQ(read(fd, text, sizeof text - 1), (ssize_t)strlen(wanted));
    CHECK_STR_EQ(text, wanted);
}

/* Four in one message: both kinds of connections, a socket, and what is neither. */
static void send_four(struct partner *p)
{
    struct pair a;
    int ends[2], sockets[2], pipes[2], plain[2];
    covey_conn *one_way, *here;
    covey_value *values[4], *all;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(plain, O_CLOEXEC), 0);
    CHECK_OK(covey_conn_open_fd(&a.a, ends[0], NULL));
    CHECK_OK(covey_conn_open_fd(&a.b, ends[1], NULL));
    CHECK_OK(covey_conn_open_fd(&here, pipes[0], NULL));
    CHECK_OK(covey_conn_open_fd(&one_way, pipes[1], NULL));
    CHECK_OK(covey_conn_to_value(a.b, COVEY_SEC(60), &values[0]));
    CHECK_OK(covey_conn_to_value(one_way, COVEY_SEC(60), &values[1]));
    CHECK_OK(covey_fd_to_value(sockets[1], COVEY_SEC(60), &values[2]));
    CHECK_OK(covey_fd_to_value(plain[1], COVEY_SEC(60), &values[3]));
    covey_conn_free(a.b);
    covey_conn_free(one_way);
    CHECK_OK(covey_value_pack(&all, "(N, N, N, N)", values[0], values[1], values[2],
                              values[3]));
    send_text(a.a, "hi");
    CHECK_OK(covey_conn_send_value(p->conn, all, COVEY_SEC(20)));
    says(a.a, "over a");
    says(here, "over b");
    reads_text(sockets[0], "over s");
    reads_text(plain[0], "over d");
    says(p->conn, "again");
    covey_value_free(all);
    covey_conn_free(a.a);
    covey_conn_free(here);
    for (int i = 0; i < 2; i++) {
        close(sockets[i]);
        close(plain[i]);
    }
}

TEST_TIMEOUT(python_receives_connections_and_sockets, 240)
{
    EACH_PYTHON(python)
    for (int i = 0; i < 2; i++) {
        struct partner p = partner_new(python, receives, dialects[i]);
        for (int round = 0; round < 3; round++)
            send_four(&p);
        CHECK_OK(covey_conn_send_value(p.conn, covey_value_none(), COVEY_SEC(20)));
        partner_ends(&p, python, "done\n");
    }
}

/* ---- from Python to here ---- */

static const char sends[] = PRELUDE
    /* What the sharer says of those that are used up, and of anything else. */
    "wrong = []\n"
    "sys.excepthook = lambda t, v, b: t is KeyError or wrong.append(v)\n"
    "for i in range(3):\n"
    "    a, b = mp.Pipe()\n"
    "    r, w = mp.Pipe(duplex=False)\n"
    "    s, t = socket.socketpair()\n"
    "    c.send({'conn': b, 'list': [r, t]})\n"
    "    b.close(); r.close(); t.close()\n"
    "    a.send('over a')\n"
    "    assert a.recv() == 'back'\n"
    "    w.send('over w')\n"
    "    s.sendall(b'over s')\n"
    "    assert c.recv() == 'next'\n"
    "assert not wrong, wrong\n"
    "print('done')\n";

static void takes_one(covey_conn **out, const covey_value *value)
{
    covey_conn *again = NULL;
    CHECK_OK(covey_conn_from_value(out, value, COVEY_SEC(20)));
    CHECK_ERR(covey_conn_from_value(&again, value, COVEY_SEC(20)), COVEY_EEOF);
    CHECK_STR_HAS(covey_error_detail(), "fetched before");
}

static void receive_three(struct partner *p)
{
    covey_value *all = value_from(p->conn), *text;
    const covey_value *two_ways, *one_way, *of_socket;
    covey_conn *a, *r;
    int fd = -1;
    CHECK_OK(covey_value_unpack(all, "{s: O, s: [O, O]}", "conn", &two_ways, "list",
                                &one_way, &of_socket));
    takes_one(&a, two_ways);
    takes_one(&r, one_way);
    CHECK_ERR(covey_conn_from_value(&a, of_socket, COVEY_SEC(20)), COVEY_ETYPE);
    CHECK_OK(covey_fd_from_value(&fd, of_socket, COVEY_SEC(20)));
    covey_value_free(all);
    says(a, "over a");
    text = covey_value_str("back");
    CHECK_OK(covey_conn_send_value(a, text, COVEY_SEC(20)));
    covey_value_free(text);
    CHECK_EQ(covey_conn_writable(r), 0);
    says(r, "over w");
    reads_text(fd, "over s");
    covey_conn_free(a);
    covey_conn_free(r);
    close(fd);
    text = covey_value_str("next");
    CHECK_OK(covey_conn_send_value(p->conn, text, COVEY_SEC(20)));
    covey_value_free(text);
}

TEST_TIMEOUT(connections_and_sockets_come_from_python, 240)
{
    EACH_PYTHON(python)
    for (int i = 0; i < 2; i++) {
        struct partner p = partner_new(python, sends, dialects[i]);
        for (int round = 0; round < 3; round++)
            receive_three(&p);
        partner_ends(&p, python, "done\n");
    }
}

/* ---- keys, and an end ---- */

static const char other_key[] =
    PRELUDE "sys.stderr = open(os.devnull, 'w')\n"
            "mp.current_process().authkey = b'other'\n"
            "a, b = mp.Pipe()\n"
            "c.send(b)\n"
            "try: c.recv()\n"
            "except mp.AuthenticationError: print('refused')\n"
            "mp.current_process().authkey = b'secret'\n"
            "c.send('go on')\n"
            "assert c.recv().recv_bytes() == b'kept'\n"
            "print('done')\n";

TEST_TIMEOUT(python_with_another_key_neither_gets_nor_gives, 240)
{
    EACH_PYTHON(python)
    {
        struct partner p = partner_new(python, other_key, "answers");
        struct bare b = bare_new();
        covey_conn *conn = NULL;
        covey_value *value = value_from(p.conn);
        CHECK_ERR(covey_conn_from_value(&conn, value, COVEY_SEC(20)), COVEY_EAUTH);
        covey_value_free(value);
        CHECK_OK(covey_conn_to_value(b.conn, COVEY_SEC(60), &value));
        CHECK_OK(covey_conn_send_value(p.conn, value, COVEY_SEC(20)));
        says(p.conn, "go on");
        write_hex(b.fd, "00000004 6b657074");
        CHECK_OK(covey_conn_send_value(p.conn, value, COVEY_SEC(20)));
        partner_ends(&p, python, "refused\ndone\n");
        covey_value_free(value);
        bare_free(&b);
    }
}

static const char goes[] = PRELUDE "a, b = mp.Pipe()\n"
                                   "c.send(b)\n";

TEST_TIMEOUT(what_a_python_that_ended_had_sent_is_gone, 240)
{
    EACH_PYTHON(python)
    {
        struct partner p = partner_new(python, goes, "answers");
        covey_conn *conn = NULL;
        covey_value *value = value_from(p.conn);
        partner_ends(&p, python, "");
        CHECK_ERR(covey_conn_from_value(&conn, value, COVEY_SEC(20)), COVEY_EEOF);
        covey_value_free(value);
    }
}

CHECK_MAIN()
