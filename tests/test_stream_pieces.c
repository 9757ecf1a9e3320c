/* SPDX-License-Identifier: MIT */
/* Connections over descriptors in the middle of a message: what is kept of it, whose that
 * is, and that a message which never ends takes nobody's time or memory. */
#include <sys/uio.h>

#include "conn_help.h"

/* ---- what a fork child has a copy of ---- */

/* A pipe whose read end blocks until the other process says so. */
struct gate {
    int ends[2];
};

static struct gate gate_new(void)
{
    struct gate g;
    CHECK_EQ(pipe2(g.ends, O_CLOEXEC), 0);
    return g;
}

static void gate_open(struct gate *g)
{
    close(g->ends[0]);
    close(g->ends[1]);
}

static void gate_wait(struct gate *g)
{
    char byte;
    close(g->ends[1]);
    CHECK_EQ(read(g->ends[0], &byte, 1), 0);
    close(g->ends[0]);
}

struct drain {
    int fd;
    size_t size;
};

static void *drain(void *arg)
{
    const struct drain *d = arg;
    static char data[65536];
    for (size_t left = d->size; left;) {
        ssize_t n = read(d->fd, data, left < sizeof data ? left : sizeof data);
        CHECK_GT(n, 0);
        left -= (size_t)n;
    }
    return NULL;
}

TEST(fork_child_does_not_send_what_its_parent_kept)
{
    enum { SIZE = 1000000 };
    struct bare b = bare_new();
    struct gate g = gate_new();
    struct drain d = {b.fd, SIZE + 4};
    static char data[SIZE];
    char byte;
    pthread_t thread;
    CHECK_EQ(covey_conn_send(b.conn, COVEY_VIEW_OF(data), COVEY_NOWAIT), COVEY_PENDING);
    int pid = family_fork();
    if (!pid) {
        gate_wait(&g);
        CHECK_OK(covey_conn_flush(b.conn, COVEY_NOWAIT));
        send_text(b.conn, "child");
        bare_free(&b);
        exit(0);
    }
    CHECK_EQ(pthread_create(&thread, NULL, drain, &d), 0);
    CHECK_OK(covey_conn_flush(b.conn, COVEY_FOREVER));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    gate_open(&g);
    reads_hex(b.fd, "00000005 6368696c64");
    family_join(pid);
    CHECK_EQ(recv(b.fd, &byte, 1, MSG_DONTWAIT), -1);
    bare_free(&b);
}

TEST(fork_child_does_not_receive_what_its_parent_kept)
{
    struct bare b = bare_new();
    struct gate g = gate_new();
    struct covey_bytes got = {0};
    write_hex(b.fd, "00000006 616263");
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_NOWAIT), -ETIMEDOUT);
    int pid = family_fork();
    if (!pid) {
        gate_wait(&g);
        recv_text(b.conn, "child");
        covey_bytes_free(&got);
        bare_free(&b);
        exit(0);
    }
    write_hex(b.fd, "646566");
    recv_text(b.conn, "abcdef");
    gate_open(&g);
    write_hex(b.fd, "00000005 6368696c64");
    family_join(pid);
    covey_bytes_free(&got);
    bare_free(&b);
}

/* ---- the other side goes ---- */

static void *send_large(void *arg)
{
    static char data[3000000];
    CHECK_ERR(covey_conn_send(arg, COVEY_VIEW_OF(data), COVEY_FOREVER), -EPIPE);
    return NULL;
}

TEST(receiver_that_goes_in_a_message_is_gone_for_the_next)
{
    struct bare b = bare_new();
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, send_large, b.conn), 0);
    reads_hex(b.fd, "002dc6c0");
    close(b.fd);
    b.fd = -1;
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_ERR(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_FOREVER), -EPIPE);
    bare_free(&b);
}

CHECK_MAIN()
