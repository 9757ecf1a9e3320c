/* SPDX-License-Identifier: MIT */
/* Connections over descriptors in the middle of a message: what is kept of it, whose that
 * is, and that a message which never ends takes nobody's time or memory. */
#include <endian.h>

#include "conn_help.h"
#include "fds.h"

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

/* ---- what a fork child shares ---- */

TEST(child_of_an_own_fork_keeps_a_message_that_its_parent_leaves)
{
    struct bare b = bare_new();
    struct gate has_begun = gate_new(), is_alone = gate_new();
    struct covey_bytes got = {0};
    int pid = family_fork();
    if (!pid) {
        write_hex(b.fd, "0000");
        CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_NOWAIT), -ETIMEDOUT);
        gate_open(&has_begun);
        gate_wait(&is_alone);
        write_hex(b.fd, "0001 61");
        recv_text(b.conn, "a");
        bare_free(&b);
        exit(0);
    }
    gate_wait(&has_begun);
    bare_free(&b);
    gate_open(&is_alone);
    family_join(pid);
}

/* Each receives a half of one header. */
TEST(children_of_one_fork_share_what_their_parent_has_freed)
{
    struct shared *s = share();
    uint64_t before = family_usage().objects;
    struct bare b = bare_new();
    struct covey_bytes got = {0};
    int first = family_fork();
    if (!first) {
        family_await(&s->begun, 1);
        write_hex(b.fd, "0000");
        CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_NOWAIT), -ETIMEDOUT);
        family_tell(&s->go);
        family_await(&s->ended, 1);
        bare_free(&b);
        exit(0);
    }
    int second = family_fork();
    if (!second) {
        family_await(&s->go, 1);
        write_hex(b.fd, "0001 61");
        recv_text(b.conn, "a");
        CHECK_EQ(family_usage().objects, before + 1);
        family_tell(&s->ended);
        bare_free(&b);
        exit(0);
    }
    bare_free(&b);
    family_tell(&s->begun);
    family_join(first);
    family_join(second);
}

enum { RACERS = 4 };

struct race {
    covey_conn *conn;
    pthread_barrier_t start;
};

static void *use_it_first(void *arg)
{
    struct race *race = arg;
    CHECK(cvy_enter() == 0); /* what takes long */
    (void)pthread_barrier_wait(&race->start);
    int r = covey_conn_poll(race->conn, COVEY_NOWAIT);
    CHECK(r == 0 || r == -ETIMEDOUT); /* another one looks */
    return NULL;
}

TEST(threads_of_an_own_fork_agree_on_what_they_share)
{
    for (int round = 0; round < 30; round++) {
        struct bare b = bare_new();
        struct gate is_alone = gate_new();
        int pid = family_fork();
        if (!pid) {
            struct race race = {.conn = b.conn};
            pthread_t threads[RACERS];
            gate_wait(&is_alone);
            CHECK_EQ(pthread_barrier_init(&race.start, NULL, RACERS), 0);
            uint64_t before = family_usage().objects;
            for (int i = 0; i < RACERS; i++)
                CHECK_EQ(pthread_create(&threads[i], NULL, use_it_first, &race), 0);
            for (int i = 0; i < RACERS; i++)
                CHECK_EQ(pthread_join(threads[i], NULL), 0);
            CHECK_EQ(family_usage().objects, before + 1);
            covey_conn_free(b.conn);
            CHECK_EQ(family_usage().objects, before);
            close(b.fd);
            exit(0);
        }
        bare_free(&b);
        gate_open(&is_alone);
        family_join(pid);
    }
}

/* A process that has left its family, or for which there is no room in it. */
TEST(who_cannot_join_the_family_closes_and_frees_what_it_has)
{
    struct shared *s = share();
    struct bare b = bare_new(), c = bare_new();
    struct covey_bytes got = {0};
    int fds[2];
    CHECK_OK(covey_conn_fd(b.conn, &fds[0]));
    CHECK_OK(covey_conn_fd(c.conn, &fds[1]));
    for (int has_used_it = 0; has_used_it < 2; has_used_it++) {
        int pid = family_fork();
        if (!pid) {
            if (has_used_it) {
                write_hex(b.fd, "00000003 61");
                CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_NOWAIT), -ETIMEDOUT);
            }
            cvy_attach_no_more();
            covey_conn_free(b.conn);
            CHECK(!is_open(fds[0]));
            CHECK_OK(covey_conn_close(c.conn));
            CHECK(!is_open(fds[1]));
            covey_conn_free(c.conn);
            covey_bytes_free(&got);
            family_tell(&s->told);
            family_pause();
        }
        family_await(&s->told, (uint32_t)has_used_it + 1);
        if (has_used_it) /* in the middle of a message that nobody else has */
            CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_SEC(20)), COVEY_EBROKEN);
        family_kill(pid);
    }
    bare_free(&b);
    bare_free(&c);
}

/* ---- the other side goes ---- */

static void *send_large(void *arg)
{
    static char data[3000000];
    CHECK_ERR(covey_conn_send(arg, COVEY_VIEW_OF(data), COVEY_FOREVER), -EPIPE);
    return NULL;
}

/* Leaves in the middle of a message, and lives on until it is told to end. */
static int recv_half_and_close(struct covey_view arg)
{
    covey_conn *const *conns = arg.data;
    struct covey_bytes got = {0};
    CHECK_ERR(covey_conn_recv(conns[0], &got, COVEY_MSEC(20)), -ETIMEDOUT);
    CHECK_OK(covey_conn_close(conns[0]));
    CHECK_OK(covey_conn_send(conns[1], COVEY_VIEW("x", 1), COVEY_FOREVER));
    CHECK_ERR(covey_conn_recv(conns[1], &got, COVEY_FOREVER), COVEY_EEOF);
    return 0;
}

TEST(close_in_the_middle_of_a_message_breaks_that_direction)
{
    struct bare b = bare_new();
    struct covey_bytes got = {0};
    covey_conn *ends[2], *args[2] = {b.conn, NULL};
    CHECK_OK(covey_pipe_create(&ends[0], &ends[1], NULL));
    args[1] = ends[1];
    write_hex(b.fd, "00000002 61");
    covey_process *child = started(recv_half_and_close, COVEY_VIEW_OF(args),
                                   COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    CHECK_OK(covey_conn_close(ends[1]));
    recv_text(ends[0], "x");
    write_hex(b.fd, "62");
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_SEC(20)), COVEY_EBROKEN);
    covey_conn_free(ends[0]);
    covey_conn_free(ends[1]);
    CHECK_EQ(end_of(child), 0);
    covey_bytes_free(&got);
    bare_free(&b);
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

/* ---- time ---- */

enum { LARGE = 64 << 20 };

/* A file that a message fills: there is always more to read, and room to write. */
static covey_conn *endless(int *ret_fd)
{
    uint32_t size = htobe32(LARGE);
    covey_conn *conn;
    *ret_fd = memfd_create("message", MFD_CLOEXEC);
    CHECK_EQ(write(*ret_fd, &size, 4), 4);
    CHECK_EQ(ftruncate(*ret_fd, LARGE + 4), 0);
    CHECK_EQ(lseek(*ret_fd, 0, SEEK_SET), 0);
    CHECK_OK(covey_conn_open_fd(&conn, *ret_fd, NULL));
    return conn;
}

TEST(message_that_keeps_coming_takes_no_more_than_its_time)
{
    int fd, r, calls = 0;
    covey_conn *conn = endless(&fd);
    struct covey_bytes got = {0};
    while ((r = covey_conn_recv(conn, &got, COVEY_USEC(1))) == -ETIMEDOUT)
        calls++;
    CHECK_OK(r);
    CHECK_GT(calls, 1);
    CHECK_EQ(got.size, LARGE);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), LARGE + 4);
    covey_bytes_free(&got);
    covey_conn_free(conn);
}

TEST(message_that_keeps_going_takes_no_more_than_its_time)
{
    int fd, r, calls = 0;
    covey_conn *conn = endless(&fd);
    char *data = calloc(1, LARGE);
    CHECK(data != NULL);
    data[0] = data[LARGE - 1] = 'x';
    CHECK_EQ(covey_conn_send(conn, COVEY_VIEW(data, LARGE), COVEY_USEC(1)),
             COVEY_PENDING);
    CHECK_ERR(covey_conn_flush(conn, COVEY_NOWAIT), -ETIMEDOUT);
    while ((r = covey_conn_flush(conn, COVEY_MSEC(1))) == -ETIMEDOUT)
        calls++;
    CHECK_OK(r);
    CHECK_GT(calls, 1);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), LARGE + 4);
    CHECK_EQ(pread(fd, data, 1, 4), 1);
    CHECK_EQ(pread(fd, data + 1, 1, LARGE + 3), 1);
    CHECK_MEM_EQ(data, "xx", 2);
    free(data);
    covey_conn_free(conn);
}

TEST(who_does_not_wait_is_given_and_takes_only_some)
{
    int fd;
    size_t size;
    covey_conn *conn = endless(&fd);
    char *data = calloc(1, LARGE);
    CHECK(data != NULL);
    CHECK_ERR(covey_conn_recv_into(conn, data, LARGE, &size, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_LT(lseek(fd, 0, SEEK_CUR), LARGE / 2);
    covey_conn_free(conn);
    conn = endless(&fd);
    CHECK_EQ(covey_conn_send(conn, COVEY_VIEW(data, LARGE), COVEY_NOWAIT),
             COVEY_PENDING);
    CHECK_LT(lseek(fd, 0, SEEK_CUR), LARGE / 2);
    covey_conn_free(conn);
    free(data);
}

/* ---- memory ---- */

static atomic_size_t allocated;

static void *counting_malloc(size_t size)
{
    atomic_fetch_add(&allocated, size);
    return malloc(size);
}

static void *counting_realloc(void *memory, size_t size)
{
    atomic_fetch_add(&allocated, size);
    return realloc(memory, size);
}

/* Send a large message in small pieces, with a vain receive after each. */
static int receive_piece_by_piece(int (*receive)(covey_conn *conn, char *to))
{
    enum { PIECES = 1000, PIECE = 4096 };
    struct bare b = bare_new();
    static char piece[PIECE], to[PIECES * PIECE];
    uint32_t size = htobe32(sizeof to);
    int r = 0;
    CHECK_EQ(send(b.fd, &size, 4, 0), 4);
    for (int i = 0; i < PIECES; i++) {
        memset(piece, i, sizeof piece);
        CHECK_ERR(receive(b.conn, to), -ETIMEDOUT);
        CHECK_EQ(send(b.fd, piece, sizeof piece, 0), (ssize_t)sizeof piece);
    }
    r = receive(b.conn, to);
    for (int i = 0; i < PIECES; i++) {
        memset(piece, i, sizeof piece);
        CHECK_MEM_EQ(to + (size_t)i * PIECE, piece, PIECE);
    }
    bare_free(&b);
    return r;
}

static int receive_bytes(covey_conn *conn, char *to)
{
    struct covey_bytes got = {0};
    int r = covey_conn_recv(conn, &got, COVEY_NOWAIT);
    if (r >= 0)
        memcpy(to, got.data, got.size);
    covey_bytes_free(&got);
    return r;
}

static int receive_into(covey_conn *conn, char *to)
{
    size_t size;
    return covey_conn_recv_into(conn, to, 1000 * 4096, &size, COVEY_NOWAIT);
}

static int receive_by_turns(covey_conn *conn, char *to)
{
    static unsigned turn;
    return (turn++ % 2 ? receive_bytes : receive_into)(conn, to);
}

TEST(what_is_kept_of_a_message_is_not_copied_for_each_piece)
{
    CHECK_OK(covey_set_allocator(counting_malloc, counting_realloc, free));
    CHECK_OK(receive_piece_by_piece(receive_bytes));
    CHECK_OK(receive_piece_by_piece(receive_into));
    CHECK_OK(receive_piece_by_piece(receive_by_turns));
    CHECK_LT(atomic_load(&allocated), (size_t)100 << 20); /* 3 of 4 MiB */
}

TEST(buffer_stays_good_when_its_memory_was_kept)
{
    struct bare b = bare_new();
    struct covey_bytes got = {0};
    CHECK_OK(covey_bytes_resize(&got, 100));
    write_hex(b.fd, "00000003 61");
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_LE(got.size, got.capacity);
    CHECK_OK(covey_bytes_resize(&got, 1000));
    memset(got.data, 'x', 1000);
    write_hex(b.fd, "6263");
    CHECK_OK(covey_conn_recv(b.conn, &got, COVEY_NOWAIT));
    CHECK_EQ(got.size, 3);
    CHECK_MEM_EQ(got.data, "abc", 3);
    covey_bytes_free(&got);
    bare_free(&b);
}

/* ---- polling ---- */

TEST(header_alone_is_told_once)
{
    struct bare b = bare_new();
    struct covey_bytes got = {0};
    write_hex(b.fd, "00000003");
    struct covey_wait_item item = covey_wait_conn(b.conn);
    CHECK_OK(covey_conn_poll(b.conn, COVEY_NOWAIT));
    CHECK_OK(covey_wait(&item, 1, COVEY_NOWAIT, NULL));
    CHECK_ERR(covey_conn_recv(b.conn, &got, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_conn_poll(b.conn, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_wait(&item, 1, COVEY_NOWAIT, NULL), -ETIMEDOUT);
    write_hex(b.fd, "616263");
    CHECK_OK(covey_conn_poll(b.conn, COVEY_NOWAIT));
    CHECK_OK(covey_wait(&item, 1, COVEY_NOWAIT, NULL));
    CHECK_OK(covey_conn_recv(b.conn, &got, COVEY_NOWAIT));
    covey_bytes_free(&got);
    bare_free(&b);
}

CHECK_MAIN()
