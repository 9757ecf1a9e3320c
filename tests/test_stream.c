/* SPDX-License-Identifier: MIT */
/* Connections over descriptors: CPython's framing byte for byte, messages that come in
 * pieces or not at all, and several users of one descriptor. */
#include <endian.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <termios.h>

#include "conn_help.h"

/* ---- what is on the wire ---- */

TEST(frames_are_those_of_cpython)
{
    struct bare b = bare_new();
    covey_value *hi = covey_value_str("hi");
    send_text(b.conn, "hello");
    reads_hex(b.fd, "00000005 68656c6c6f");
    send_text(b.conn, "");
    reads_hex(b.fd, "00000000");
    CHECK_OK(covey_conn_send_value(b.conn, hi, COVEY_NOWAIT));
    reads_hex(b.fd, "00000011 80 04 95 0600000000000000 8c 02 6869 94 2e");
    covey_value_free(hi);
    bare_free(&b);
}

/* A socket that keeps writes apart shows them. */
static ssize_t next_write(struct bare *b)
{
    static char buffer[70000];
    return recv(b->fd, buffer, sizeof buffer, 0);
}

TEST(header_and_body_are_one_write_up_to_16_kib)
{
    struct bare b = bare_of(SOCK_SEQPACKET);
    static char data[16385];
    CHECK_OK(covey_conn_send(b.conn, COVEY_VIEW(data, 16384), COVEY_NOWAIT));
    CHECK_EQ(next_write(&b), 16388);
    CHECK_OK(covey_conn_send(b.conn, COVEY_VIEW(data, 16385), COVEY_NOWAIT));
    CHECK_EQ(next_write(&b), 4);
    CHECK_EQ(next_write(&b), 16385);
    bare_free(&b);
}

TEST(recorded_frames_are_read)
{
    struct bare b = bare_new();
    covey_value *got = NULL;
    struct covey_bytes text = {0};
    write_hex(b.fd, "00000005 68656c6c6f 00000000");
    recv_text(b.conn, "hello");
    recv_text(b.conn, "");
    write_hex(b.fd,
              "ffffffff 0000000000000003 616263"); /* long, though it need not be */
    recv_text(b.conn, "abc");
    write_hex(b.fd,
              "0000001c 8004951000000000000000 284e8c0564756d6d7994297d9474942e 00");
    /* One byte too many: what follows the pickle is ignored, as by CPython. */
    CHECK_OK(covey_conn_recv_value(b.conn, &got, NULL, COVEY_NOWAIT));
    bare_free(&b);
    CHECK_OK(covey_value_repr(got, &text));
    CHECK_STR_EQ(text.data, "(None, 'dummy', (), {})");
    covey_value_free(got);
    covey_bytes_free(&text);
}

TEST(values_and_bad_pickles)
{
    struct bare b = bare_new();
    covey_value *got = NULL;
    write_hex(b.fd, "00000003 616263"); /* no pickle: the frame is consumed */
    CHECK_ERR(covey_conn_recv_value(b.conn, &got, NULL, COVEY_NOWAIT), COVEY_EPICKLE);
    write_hex(b.fd, "00000000");
    CHECK_ERR(covey_conn_recv_value(b.conn, &got, NULL, COVEY_NOWAIT), COVEY_EPICKLE);
    CHECK_STR_HAS(covey_error_detail(),
                  "pickle of 0 bytes, at byte 0: it ends too early");
    write_hex(b.fd, "00000005 80044b002e");
    CHECK_OK(covey_conn_recv_value(b.conn, &got, NULL, COVEY_NOWAIT));
    CHECK_EQ(covey_value_kind(got), COVEY_VALUE_INT);
    covey_value_free(got);
    write_hex(b.fd, "00000005 80044b002e");
    CHECK_ERR(covey_conn_recv_value(b.conn, &got, COVEY_UNPICKLE_OPTS(.max_memory = 4),
                                    COVEY_NOWAIT),
              -EMSGSIZE);
    CHECK_ERR(covey_conn_recv_value(b.conn, &got,
                                    COVEY_UNPICKLE_OPTS(.max_depth = SIZE_MAX),
                                    COVEY_NOWAIT),
              -EINVAL);
    CHECK_OK(covey_conn_recv_value(b.conn, &got, NULL, COVEY_NOWAIT)); /* still there */
    covey_value_free(got);
    bare_free(&b);
}

/* ---- ends, and what is no message ---- */

TEST(end_between_messages_is_eof)
{
    struct bare b = bare_new();
    struct covey_bytes got = {0};
    write_hex(b.fd, "00000001 61");
    close(b.fd);
    recv_text(b.conn, "a");
    CHECK_OK(covey_conn_poll(b.conn, COVEY_NOWAIT));
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_FOREVER), COVEY_EEOF);
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_FOREVER), COVEY_EEOF);
    CHECK_STR_EQ(covey_error_python(COVEY_EEOF), "EOFError");
    b.fd = -1;
    bare_free(&b);
}

static void is_truncated(const char *hex)
{
    struct bare b = bare_new();
    struct covey_bytes got = {0};
    write_hex(b.fd, hex);
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_MSEC(1)), -ETIMEDOUT);
    close(b.fd);
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_FOREVER), COVEY_ETRUNCATED);
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_FOREVER), COVEY_ETRUNCATED);
    covey_bytes_free(&got);
    b.fd = -1;
    bare_free(&b);
}

TEST(end_in_a_message_is_told_from_eof)
{
    is_truncated("00");
    is_truncated("000000");
    is_truncated("00000005");
    is_truncated("00000005 6868");
    is_truncated("ffffffff 00000000");
    is_truncated("ffffffff 0000000000000002 61");
}

static void is_no_message(const char *hex)
{
    struct bare b = bare_new();
    struct covey_bytes got = {0};
    write_hex(b.fd, hex);
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_NOWAIT), COVEY_EPROTOCOL);
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_NOWAIT), COVEY_EPROTOCOL);
    bare_free(&b);
}

TEST(impossible_lengths_are_refused)
{
    is_no_message("fffffffe 00");
    is_no_message("80000000 00");
    is_no_message("ffffffff 8000000000000000");
    is_no_message("ffffffff ffffffffffffffff");
}

TEST(announced_length_alone_costs_no_memory)
{
    struct bare b = bare_new();
    struct covey_bytes got = {0};
    struct rlimit limit = {1 << 30, 1 << 30};
    write_hex(b.fd, "ffffffff 0000007000000000 61");
    if (!SANITIZED)
        CHECK_EQ(setrlimit(RLIMIT_DATA, &limit), 0);
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_LE(got.capacity, 1 << 20);
    covey_bytes_free(&got);
    bare_free(&b);
}

TEST(sending_to_nobody_is_an_error_and_no_signal)
{
    struct bare b = bare_new();
    int ends[2];
    covey_conn *conn;
    CHECK_EQ(signal(SIGPIPE, SIG_DFL), SIG_DFL);
    close(b.fd);
    b.fd = -1;
    CHECK_ERR(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_FOREVER), -EPIPE);
    bare_free(&b);

    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_OK(covey_conn_open_fd(&conn, ends[1], NULL));
    close(ends[0]);
    CHECK_ERR(covey_conn_send(conn, COVEY_VIEW("x", 1), COVEY_FOREVER), -EPIPE);
    CHECK_ERR(covey_conn_send(conn, COVEY_VIEW("x", 1), COVEY_NOWAIT), -EPIPE);
    covey_conn_free(conn);
}

/* ---- in pieces ---- */

TEST(message_that_comes_byte_by_byte_is_put_together)
{
    static const char frame[] = "\xff\xff\xff\xff\0\0\0\0\0\0\0\6abcdef";
    struct bare b = bare_new();
    struct covey_bytes got = {0};
    for (size_t i = 0; i + 1 < sizeof frame - 1; i++) {
        CHECK_EQ(write(b.fd, frame + i, 1), 1);
        CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_NOWAIT), -ETIMEDOUT);
    }
    CHECK_EQ(write(b.fd, "f", 1), 1);
    CHECK_OK(covey_conn_recv(b.conn, &got, COVEY_NOWAIT));
    CHECK_EQ(got.size, 6);
    CHECK_MEM_EQ(got.data, "abcdef", 6);
    covey_bytes_free(&got);
    bare_free(&b);
}

TEST(half_a_message_may_be_finished_by_another_kind_of_call)
{
    struct bare b = bare_new();
    struct covey_bytes got = {0};
    char small[3], large[8];
    size_t size = 0;
    write_hex(b.fd, "00000006 616263");
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_conn_recv_into(b.conn, small, sizeof small, &size, COVEY_NOWAIT),
              -EMSGSIZE);
    CHECK_ERR(covey_conn_recv_max(b.conn, &got, 5, COVEY_NOWAIT), -EMSGSIZE);
    write_hex(b.fd, "646566 00000000");
    CHECK_OK(covey_conn_recv_into(b.conn, large, sizeof large, &size, COVEY_NOWAIT));
    CHECK_EQ(size, 6);
    CHECK_MEM_EQ(large, "abcdef", 6);
    recv_text(b.conn, "");
    covey_bytes_free(&got);
    bare_free(&b);
}

TEST(message_over_a_limit_stays_unread)
{
    struct bare b = bare_new();
    struct covey_bytes got = {0};
    char small[2], rest[4];
    size_t size = 0;
    write_hex(b.fd, "00000003 616263");
    CHECK_ERR(covey_conn_recv_max(b.conn, &got, 2, COVEY_NOWAIT), -EMSGSIZE);
    CHECK_STR_HAS(covey_error_detail(), "3 bytes");
    CHECK(got.data == NULL);
    CHECK_ERR(covey_conn_recv_into(b.conn, small, 2, &size, COVEY_NOWAIT), -EMSGSIZE);
    CHECK_EQ(size, 3);
    CHECK_OK(covey_conn_poll(b.conn, COVEY_NOWAIT));
    CHECK_OK(covey_conn_recv_max(b.conn, &got, 3, COVEY_NOWAIT));
    CHECK_MEM_EQ(got.data, "abc", 3);
    CHECK_ERR(covey_conn_recv_into(b.conn, rest, 4, &size, COVEY_NOWAIT), -ETIMEDOUT);
    covey_bytes_free(&got);
    bare_free(&b);
}

/* Read `size` bytes from the bare side, and look that they are those of `fill`. */
static void drain_message(int fd, size_t size, unsigned seed)
{
    unsigned char *wanted = malloc(size + 4), *got = malloc(size + 4);
    uint32_t be = htobe32((uint32_t)size);
    CHECK(wanted && got);
    memcpy(wanted, &be, 4);
    fill(wanted + 4, size, seed);
    for (size_t have = 0; have < size + 4;) {
        ssize_t n = read(fd, got + have, size + 4 - have);
        CHECK_GT(n, 0);
        have += (size_t)n;
    }
    CHECK_MEM_EQ(got, wanted, size + 4);
    free(wanted);
    free(got);
}

struct drain {
    int fd;
    size_t size;
    unsigned seed;
};

static void *drain_in_thread(void *arg)
{
    const struct drain *d = arg;
    drain_message(d->fd, d->size, d->seed);
    return NULL;
}

TEST(rest_of_a_message_that_took_too_long_goes_out_later)
{
    enum { SIZE = 3000000 };
    struct bare b = bare_new();
    unsigned char *data = malloc(SIZE);
    struct drain d = {b.fd, SIZE, 5};
    pthread_t thread;
    fill(data, SIZE, 5);
    CHECK_EQ(covey_conn_send(b.conn, COVEY_VIEW(data, SIZE), COVEY_NOWAIT),
             COVEY_PENDING);
    CHECK_ERR(covey_conn_flush(b.conn, COVEY_MSEC(1)), -ETIMEDOUT);
    CHECK_ERR(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_MSEC(1)), -ETIMEDOUT);
    CHECK_EQ(pthread_create(&thread, NULL, drain_in_thread, &d), 0);
    CHECK_OK(covey_conn_flush(b.conn, COVEY_FOREVER));
    CHECK_OK(covey_conn_flush(b.conn, COVEY_NOWAIT));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    send_text(b.conn, "next");
    reads_hex(b.fd, "00000004 6e657874");
    free(data);
    bare_free(&b);
}

TEST(next_send_finishes_what_was_left)
{
    enum { SIZE = 1000000 };
    struct bare b = bare_new();
    unsigned char *data = malloc(SIZE);
    struct drain d = {b.fd, SIZE, 9};
    pthread_t thread;
    fill(data, SIZE, 9);
    CHECK_EQ(covey_conn_send(b.conn, COVEY_VIEW(data, SIZE), COVEY_MSEC(1)),
             COVEY_PENDING);
    memset(data, 0, SIZE); /* it was copied */
    CHECK_EQ(pthread_create(&thread, NULL, drain_in_thread, &d), 0);
    send_text(b.conn, "next");
    CHECK_EQ(pthread_join(thread, NULL), 0);
    reads_hex(b.fd, "00000004 6e657874");
    free(data);
    bare_free(&b);
}

TEST(full_socket_times_out_between_messages)
{
    struct bare b = bare_new();
    static char data[16384];
    int r;
    while ((r = covey_conn_send(b.conn, COVEY_VIEW_OF(data), COVEY_NOWAIT)) == 0)
        continue;
    if (r == COVEY_PENDING)
        r = covey_conn_send(b.conn, COVEY_VIEW_OF(data), COVEY_NOWAIT);
    CHECK_EQ(r, -ETIMEDOUT);
    CHECK_ERR(covey_conn_send(b.conn, COVEY_VIEW_OF(data), COVEY_MSEC(2)), -ETIMEDOUT);
    bare_free(&b);
}

/* ---- 2 GiB: addresses whose pages are one MiB again and again ---- */

enum { PIECE = 1 << 20 };

static unsigned char *many_faced(uint64_t size)
{
    int fd = memfd_create("piece", MFD_CLOEXEC);
    CHECK_EQ(ftruncate(fd, PIECE), 0);
    unsigned char *at = mmap(NULL, size + PIECE, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(at != MAP_FAILED);
    for (uint64_t i = 0; i <= size; i += PIECE)
        CHECK(mmap(at + i, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                   0) != MAP_FAILED);
    close(fd);
    return at;
}

struct huge {
    covey_conn *conn;
    unsigned char *data;
    uint64_t size;
};

static void *send_huge(void *arg)
{
    const struct huge *h = arg;
    CHECK_OK(covey_conn_send(h->conn, COVEY_VIEW(h->data, h->size), COVEY_FOREVER));
    CHECK_OK(covey_conn_send(h->conn, COVEY_VIEW("end", 3), COVEY_FOREVER));
    return NULL;
}

TEST_TIMEOUT(message_of_2_gib_has_the_long_form, 120)
{
    const uint64_t size = UINT64_C(1) << 31;
    int ends[2];
    struct huge h = {.size = size};
    covey_conn *other;
    unsigned char *to = many_faced(size);
    pthread_t thread;
    size_t got = 0;
    h.data = many_faced(size);
    fill(h.data, PIECE, 3);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_OK(covey_conn_open_fd(&h.conn, ends[0], NULL));
    CHECK_EQ(pthread_create(&thread, NULL, send_huge, &h), 0);
    reads_hex(ends[1], "ffffffff 0000000080000000");
    CHECK_OK(covey_conn_open_fd(&other, ends[1], NULL));
    for (uint64_t left = size; left;) {
        ssize_t n = read(ends[1], to, left < PIECE ? left : PIECE);
        CHECK_GT(n, 0);
        left -= (uint64_t)n;
    }
    recv_text(other, "end");
    CHECK_EQ(pthread_join(thread, NULL), 0);

    CHECK_EQ(pthread_create(&thread, NULL, send_huge, &h), 0);
    CHECK_OK(covey_conn_recv_into(other, to, size, &got, COVEY_FOREVER));
    CHECK_EQ(got, size);
    CHECK_MEM_EQ(to, h.data, PIECE);
    recv_text(other, "end");
    CHECK_EQ(pthread_join(thread, NULL), 0);
    covey_conn_free(h.conn);
    covey_conn_free(other);
    munmap(h.data, size + PIECE);
    munmap(to, size + PIECE);
}

/* ---- the handle ---- */

TEST(descriptor_belongs_to_the_connection)
{
    struct bare b = bare_new();
    char byte;
    CHECK_OK(covey_conn_close(b.conn));
    CHECK_EQ(read(b.fd, &byte, 1), 0);
    CHECK_OK(covey_conn_close(b.conn));
    CHECK_EQ(covey_conn_closed(b.conn), 1);
    CHECK_EQ(covey_conn_readable(b.conn), 1);
    CHECK_EQ(covey_conn_writable(b.conn), 1);
    CHECK_STR_EQ(covey_conn_peer(b.conn), "");
    CHECK_ERR(covey_conn_send(b.conn, COVEY_NO_VIEW, 0), COVEY_ECLOSED);
    CHECK_ERR(covey_conn_poll(b.conn, 0), COVEY_ECLOSED);
    CHECK_ERR(covey_conn_flush(b.conn, 0), COVEY_ECLOSED);
    bare_free(&b);
}

TEST(descriptors_that_will_not_do_are_refused)
{
    covey_conn *conn = NULL;
    int ends[2];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_ERR(covey_conn_open_fd(&conn, -1, NULL), -EBADF);
    CHECK_ERR(covey_conn_open_fd(&conn, 999, NULL), -EBADF);
    CHECK_ERR(covey_conn_open_fd(NULL, ends[0], NULL), -EINVAL);
    CHECK_ERR(covey_conn_open_fd(&conn, ends[0], COVEY_CONN_OPTS(.writable = COVEY_ON)),
              -EBADF);
    CHECK_ERR(
        covey_conn_open_fd(&conn, ends[0], COVEY_CONN_OPTS(.readable = COVEY_OFF)),
        -EINVAL);
    CHECK(conn == NULL);
    close(ends[0]);
    close(ends[1]);
}

TEST(pipe_descriptors_go_one_way)
{
    covey_conn *in, *out;
    int ends[2];
    struct covey_bytes got = {0};
    static unsigned char data[20000];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_OK(covey_conn_open_fd(&in, ends[0], NULL));
    CHECK_OK(covey_conn_open_fd(&out, ends[1], NULL));
    CHECK_EQ(covey_conn_writable(in), 0);
    CHECK_EQ(covey_conn_readable(out), 0);
    CHECK_ERR(covey_conn_send(in, COVEY_NO_VIEW, 0), -EBADF);
    CHECK_ERR(covey_conn_recv(out, &got, 0), -EBADF);
    CHECK_ERR(covey_conn_recv(in, &got, COVEY_MSEC(1)), -ETIMEDOUT);
    fill(data, sizeof data, 1);
    CHECK_OK(covey_conn_send(out, COVEY_VIEW_OF(data), COVEY_NOWAIT));
    CHECK_OK(covey_conn_send(out, COVEY_VIEW_OF(data), COVEY_FOREVER));
    for (int i = 0; i < 2; i++) {
        CHECK_OK(covey_conn_recv(in, &got, COVEY_NOWAIT));
        CHECK_EQ(got.size, sizeof data);
        CHECK_MEM_EQ(got.data, data, sizeof data);
    }
    covey_conn_free(out);
    CHECK_ERR(covey_conn_recv(in, &got, COVEY_FOREVER), COVEY_EEOF);
    covey_conn_free(in);
    covey_bytes_free(&got);
}

TEST(option_takes_a_direction_away)
{
    int ends[2];
    covey_conn *conn;
    struct covey_bytes got = {0};
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_OK(
        covey_conn_open_fd(&conn, ends[0], COVEY_CONN_OPTS(.readable = COVEY_OFF)));
    CHECK_ERR(covey_conn_recv(conn, &got, 0), -EBADF);
    send_text(conn, "x");
    covey_conn_free(conn);
    close(ends[1]);
}

/* ---- several users ---- */

enum { COUNT = 500, SIDES = 3 };

static void send_some(covey_conn *conn, int id)
{
    static _Thread_local unsigned char message[40000];
    for (int i = 0; i < COUNT; i++) {
        size_t size = 1 + (size_t)(i * 997 + id * 101) % sizeof message;
        memset(message, 'a' + id, size);
        CHECK_OK(covey_conn_send(conn, COVEY_VIEW(message, size), COVEY_FOREVER));
    }
}

static void messages_are_whole(covey_conn *conn)
{
    struct covey_bytes got = {0};
    int count[SIDES] = {0};
    for (int i = 0; i < SIDES * COUNT; i++) {
        CHECK_OK(covey_conn_recv(conn, &got, COVEY_FOREVER));
        const unsigned char *data = got.data;
        int id = data[0] - 'a';
        CHECK_EQ(got.size, 1 + (size_t)(count[id]++ * 997 + id * 101) % 40000);
        for (size_t k = 0; k < got.size; k++)
            if (data[k] != data[0])
                CHECK_EQ(data[k], data[0]);
    }
    covey_bytes_free(&got);
}

struct sender {
    covey_conn *conn;
    int id;
};

static void *send_in_thread(void *arg)
{
    const struct sender *s = arg;
    send_some(s->conn, s->id);
    return NULL;
}

static int send_in_child(struct covey_view arg)
{
    const struct sender *s = arg.data;
    send_some(s->conn, s->id);
    return 0;
}

struct conn_pair {
    covey_conn *a, *b;
};

static struct conn_pair connected(void)
{
    int ends[2];
    struct conn_pair p;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_OK(covey_conn_open_fd(&p.a, ends[0], NULL));
    CHECK_OK(covey_conn_open_fd(&p.b, ends[1], NULL));
    return p;
}

TEST(threads_on_one_end_tear_no_message)
{
    struct conn_pair p = connected();
    pthread_t threads[SIDES];
    struct sender s[SIDES];
    for (int i = 0; i < SIDES; i++) {
        s[i] = (struct sender){p.a, i};
        CHECK_EQ(pthread_create(&threads[i], NULL, send_in_thread, &s[i]), 0);
    }
    messages_are_whole(p.b);
    for (int i = 0; i < SIDES; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    covey_conn_free(p.a);
    covey_conn_free(p.b);
}

TEST(processes_on_one_end_tear_no_message)
{
    struct conn_pair p = connected();
    covey_process *children[SIDES];
    for (int i = 0; i < SIDES; i++) {
        struct sender s = {p.a, i};
        children[i] = started(send_in_child, COVEY_VIEW_OF(s),
                              COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    }
    messages_are_whole(p.b);
    for (int i = 0; i < SIDES; i++)
        CHECK_EQ(end_of(children[i]), 0);
    covey_conn_free(p.a);
    covey_conn_free(p.b);
}

static int recv_until_eof(struct covey_view arg)
{
    const struct conn_pair *p = arg.data;
    struct covey_bytes got = {0};
    int r, count = 0;
    covey_conn_free(p->a);
    while ((r = covey_conn_recv(p->b, &got, COVEY_FOREVER)) >= 0) {
        CHECK_EQ(got.size, 30000);
        count++;
    }
    CHECK_EQ(r, COVEY_EEOF);
    covey_bytes_free(&got);
    return count;
}

TEST(processes_share_what_comes)
{
    struct conn_pair p = connected();
    covey_process *children[SIDES];
    static char data[30000];
    int sum = 0;
    for (int i = 0; i < SIDES; i++)
        children[i] = started(recv_until_eof, COVEY_VIEW_OF(p),
                              COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    covey_conn_free(p.b);
    for (int i = 0; i < 200; i++)
        CHECK_OK(covey_conn_send(p.a, COVEY_VIEW_OF(data), COVEY_FOREVER));
    covey_conn_free(p.a);
    for (int i = 0; i < SIDES; i++)
        sum += end_of(children[i]);
    CHECK_EQ(sum, 200);
}

static int send_too_much(struct covey_view arg)
{
    covey_conn *conn = *(covey_conn *const *)arg.data;
    static char data[5000000];
    (void)covey_conn_send(conn, COVEY_VIEW_OF(data), COVEY_FOREVER);
    return 1;
}

TEST(death_in_the_middle_of_a_message_breaks_that_direction)
{
    struct bare b = bare_new();
    covey_process *child = started(send_too_much, COVEY_VIEW_OF(b.conn),
                                   COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    reads_hex(b.fd, "004c4b40");
    CHECK_OK(covey_process_kill(child));
    CHECK_EQ(end_of(child), -SIGKILL);
    CHECK_ERR(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_FOREVER),
              COVEY_EBROKEN);
    CHECK_ERR(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_FOREVER),
              COVEY_EBROKEN);
    covey_value *value = NULL; /* it would be a connection in the middle of a message */
    CHECK_ERR(covey_conn_to_value(b.conn, COVEY_SEC(1), &value), COVEY_ESTATE);
    write_hex(b.fd, "00000001 61");
    recv_text(b.conn, "a"); /* the other one goes on */
    bare_free(&b);
}

static int recv_one(struct covey_view arg)
{
    struct covey_bytes got = {0};
    (void)covey_conn_recv(*(covey_conn *const *)arg.data, &got, COVEY_FOREVER);
    return 1;
}

TEST(death_of_a_receiver_in_a_message_breaks_that_direction)
{
    struct bare b = bare_new();
    struct covey_bytes got = {0};
    covey_process *child = started(recv_one, COVEY_VIEW_OF(b.conn),
                                   COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    write_hex(b.fd, "00000002 61");
    /* It has the first byte when nothing is left for others. */
    for (int left = 1; left;) {
        CHECK_EQ(ioctl(b.fd, FIONREAD, &left), 0);
        CHECK_EQ(ioctl(b.fd, TIOCOUTQ, &left), 0);
    }
    CHECK_OK(covey_process_kill(child));
    CHECK_EQ(end_of(child), -SIGKILL);
    write_hex(b.fd, "62");
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_FOREVER), COVEY_EBROKEN);
    send_text(b.conn, "x");
    reads_hex(b.fd, "00000001 78");
    bare_free(&b);
}

TEST(death_of_an_idle_receiver_breaks_nothing)
{
    struct bare b = bare_new();
    covey_process *child = started(recv_one, COVEY_VIEW_OF(b.conn),
                                   COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    CHECK_OK(covey_process_kill(child));
    CHECK_EQ(end_of(child), -SIGKILL);
    write_hex(b.fd, "00000001 61");
    recv_text(b.conn, "a");
    bare_free(&b);
}

TEST(child_of_the_programs_own_fork_goes_on)
{
    struct bare b = bare_new();
    int pid = family_fork();
    if (!pid) {
        recv_text(b.conn, "to the child");
        send_text(b.conn, "from the child");
        covey_conn_free(b.conn);
        close(b.fd);
        exit(0);
    }
    covey_conn_free(b.conn);
    CHECK_EQ(write(b.fd, "\0\0\0\14to the child", 16), 16);
    family_join(pid);
    reads_hex(b.fd, "0000000e 66726f6d20746865206368696c64");
    close(b.fd);
}

CHECK_MAIN()
