/* SPDX-License-Identifier: MIT */
/* Connections and descriptors inside of values, between programs of covey's. */

#include "carry_help.h"
#include "os/socket.h"

/* As it comes out of a message. */
static covey_value *copy_of(const covey_value *value)
{
    struct covey_bytes pickle = {0};
    covey_value *copy = NULL;
    CHECK_OK(covey_value_pickle(value, &pickle));
    CHECK_OK(covey_value_unpickle(&copy, pickle.data, pickle.size, NULL));
    covey_bytes_free(&pickle);
    return copy;
}

TEST(connection_comes_out_of_a_value_once)
{
    struct bare b;
    covey_value *value = value_new(&b, COVEY_FOREVER), *copy = copy_of(value);
    CHECK_EQ(covey_value_equal(value, copy), 1);
    works(copy, b.fd);
    is_used_up(value);
    is_used_up(copy);
    covey_value_free(copy);
    covey_value_free(value);
    bare_free(&b);
    await_end_of_thread();
}

TEST(directions_are_kept)
{
    for (int i = 0; i < 2; i++) {
        int ends[2];
        covey_conn *conn, *got;
        covey_value *value;
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        CHECK_OK(
            covey_conn_open_fd(&conn, ends[0],
                               COVEY_CONN_OPTS(.readable = i ? COVEY_ON : COVEY_OFF,
                                               .writable = i ? COVEY_OFF : COVEY_ON)));
        CHECK_OK(covey_conn_to_value(conn, COVEY_FOREVER, &value));
        CHECK_OK(covey_conn_from_value(&got, value, COVEY_SEC(20)));
        CHECK_EQ(covey_conn_readable(got), i);
        CHECK_EQ(covey_conn_writable(got), !i);
        covey_conn_free(got);
        covey_conn_free(conn);
        covey_value_free(value);
        close(ends[1]);
    }
    await_end_of_thread();
}

TEST(any_descriptor_comes_out_of_a_value)
{
    int ends[2], got = -1;
    char text[4] = "";
    covey_value *value;
    covey_conn *conn;
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_OK(covey_fd_to_value(ends[1], COVEY_FOREVER, &value));
    CHECK_STR_EQ(covey_value_type(value), "DupFd");
    CHECK_ERR(covey_conn_from_value(&conn, value, COVEY_SEC(20)), COVEY_ETYPE);
    CHECK_OK(covey_fd_from_value(&got, value, COVEY_SEC(20)));
    CHECK_EQ(fcntl(got, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(write(got, "abc", 3), 3);
    CHECK_EQ(read(ends[0], text, 3), 3);
    CHECK_STR_EQ(text, "abc");
    close(got);
    covey_value_free(value);
    close(ends[0]);
    close(ends[1]);

    struct bare b;
    value = value_new(&b, COVEY_FOREVER); /* that of a connection, too */
    CHECK_OK(covey_fd_from_value(&got, value, COVEY_SEC(20)));
    close(got);
    covey_value_free(value);
    CHECK_OK(covey_fd_to_value(b.fd, COVEY_FOREVER, &value));
    CHECK_STR_EQ(covey_value_type(value), "_rebuild_socket");
    CHECK_OK(covey_fd_from_value(&got, value, COVEY_SEC(20)));
    close(got);
    covey_value_free(value);
    bare_free(&b);
    await_end_of_thread();
}

/* ---- what cannot be ---- */

TEST(what_cannot_go_into_a_value_is_told)
{
    struct pair p = pair_new(NULL);
    struct bare b = bare_new();
    struct covey_bytes bytes = {0};
    covey_value *value = NULL;
    CHECK_ERR(covey_conn_to_value(p.a, COVEY_FOREVER, &value), -ENOTSUP);
    CHECK_ERR(covey_conn_to_value(NULL, COVEY_FOREVER, &value), -EINVAL);
    CHECK_ERR(covey_conn_to_value(b.conn, COVEY_FOREVER, NULL), -EINVAL);
    CHECK_ERR(covey_conn_to_value(b.conn, 0, &value), -EINVAL);
    CHECK_ERR(covey_fd_to_value(-1, COVEY_FOREVER, &value), -EBADF);
    write_hex(b.fd, "000000");
    CHECK_ERR(covey_conn_recv(b.conn, &bytes, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_conn_to_value(b.conn, COVEY_FOREVER, &value), COVEY_ESTATE);
    covey_conn_close(b.conn);
    CHECK_ERR(covey_conn_to_value(b.conn, COVEY_FOREVER, &value), COVEY_ECLOSED);
    CHECK(value == NULL);
    covey_bytes_free(&bytes);
    bare_free(&b);
    pair_free(&p);
    await_end_of_thread();
}

TEST(message_that_is_sent_in_part_keeps_a_connection_here)
{
    static char much[1000000];
    struct bare b = bare_new();
    covey_value *value = NULL;
    CHECK_EQ(covey_conn_send(b.conn, COVEY_VIEW_OF(much), COVEY_NOWAIT), COVEY_PENDING);
    CHECK_ERR(covey_conn_to_value(b.conn, COVEY_FOREVER, &value), COVEY_ESTATE);
    bare_free(&b);
}

static size_t until_failure = SIZE_MAX;
static bool has_failed;

static bool fails_now(void)
{
    bool fails = !until_failure--;
    has_failed = has_failed || fails;
    return fails;
}

static void *failing_malloc(size_t size)
{
    return fails_now() ? NULL : malloc(size);
}

static void *failing_realloc(void *old, size_t size)
{
    return fails_now() ? NULL : realloc(old, size);
}

TEST(value_that_there_is_no_memory_for_leaves_out_untouched)
{
    CHECK_OK(covey_set_allocator(failing_malloc, failing_realloc, free));
    struct bare b = bare_new();
    covey_value *const untouched = covey_value_str("untouched");
    covey_value *value = untouched;
    size_t failures = 0, n = 0;
    do {
        has_failed = false;
        until_failure = n++;
        int r = covey_conn_to_value(b.conn, COVEY_MSEC(20), &value);
        until_failure = SIZE_MAX;
        if (r >= 0) {
            covey_value_free(value);
            value = untouched;
            continue;
        }
        CHECK_ERR(r, -ENOMEM);
        CHECK(value == untouched);
        failures++;
    } while (has_failed);
    CHECK_GT(failures, 5);
    covey_value_free(untouched);
    bare_free(&b);
    await_end_of_thread();
}

TEST(answer_that_has_still_to_come_keeps_a_connection_here)
{
    struct bare b = bare_new();
    covey_value *value = NULL;
    unsigned char byte;
    int fd = -1;
    CHECK_OK(covey_conn_set_fd_answers(b.conn, true));
    CHECK_OK(covey_conn_send_fd(b.conn, 0, COVEY_SEC(20)));
    CHECK_ERR(covey_conn_to_value(b.conn, COVEY_FOREVER, &value), COVEY_ESTATE);
    CHECK_EQ(cvy_os_stream_recv_fd(b.fd, &byte, &fd), 1);
    close(fd);
    write_hex(b.fd, "41 00000002 6869");
    recv_text(b.conn, "hi");
    CHECK_OK(covey_conn_to_value(b.conn, COVEY_FOREVER, &value));
    covey_conn_close(b.conn);
    works(value, b.fd);
    covey_value_free(value);
    bare_free(&b);
    await_end_of_thread();
}

TEST(what_stands_for_no_connection_is_told)
{
    char long_name[200];
    covey_conn *conn = NULL;
    covey_value *value = NULL;
    CHECK_ERR(covey_conn_from_value(&conn, NULL, COVEY_NOWAIT), -EINVAL);
    CHECK_ERR(covey_conn_from_value(NULL, covey_value_none(), COVEY_NOWAIT), -EINVAL);
    CHECK_ERR(covey_conn_from_value(&conn, covey_value_none(), COVEY_NOWAIT),
              COVEY_ETYPE);
    value = covey_value_global("multiprocessing.connection", "rebuild_connection");
    CHECK_ERR(covey_conn_from_value(&conn, value, COVEY_NOWAIT), COVEY_ETYPE);
    value = covey_value_call(value, covey_value_tuple());
    CHECK_ERR(covey_conn_from_value(&conn, value, COVEY_NOWAIT), COVEY_ETYPE);
    covey_value_free(value);
    value = covey_value_instance(
        covey_value_global("multiprocessing.resource_sharer", "DupFd"),
        covey_value_tuple());
    int fd = -1;
    CHECK_ERR(covey_fd_from_value(&fd, value, COVEY_NOWAIT), COVEY_ETYPE);
    CHECK_OK(covey_value_put_state(value, covey_value_dict()));
    CHECK_ERR(covey_fd_from_value(&fd, value, COVEY_NOWAIT), COVEY_EPROTOCOL);
    covey_value_free(value);
    CHECK_OK(covey_value_pack(&value, "(s, i)", "127.0.0.1", 1));
    CHECK_ERR(fetched_from(value, COVEY_NOWAIT), -ENOTSUP);
    CHECK_ERR(fetched_from(covey_value_str(""), COVEY_NOWAIT), COVEY_EPROTOCOL);
    CHECK_ERR(fetched_from(covey_value_bytes("\0", 1), COVEY_NOWAIT), COVEY_EPROTOCOL);
    CHECK_ERR(fetched_from(covey_value_bytes("a\0b", 3), COVEY_NOWAIT),
              COVEY_EPROTOCOL);
    memset(long_name, 'x', sizeof long_name);
    CHECK_ERR(
        fetched_from(covey_value_bytes(long_name, sizeof long_name), COVEY_NOWAIT),
        COVEY_EPROTOCOL);
    CHECK_ERR(fetched_from(covey_value_str("/nonexistent/x"), COVEY_SEC(20)),
              COVEY_EEOF);
    CHECK_ERR(fetched_from(python_of(own_name()), COVEY_SEC(20)), COVEY_EEOF);
}

/* ---- keys ---- */

TEST(another_key_of_the_process_gets_nothing)
{
    struct bare b;
    covey_conn *conn = NULL;
    CHECK_OK(covey_set_authkey(COVEY_VIEW("secret", 6)));
    covey_value *value = value_new(&b, COVEY_FOREVER);
    CHECK_OK(covey_set_authkey(COVEY_VIEW("other", 5)));
    CHECK_ERR(covey_conn_from_value(&conn, value, COVEY_SEC(20)), COVEY_EAUTH);
    CHECK_OK(covey_set_authkey(COVEY_VIEW("secret", 6)));
    works(value, b.fd); /* it was not used up by that */
    covey_value_free(value);
    bare_free(&b);
    await_end_of_thread();
}

TEST(another_number_gets_nothing)
{
    struct bare b;
    size_t size;
    int64_t key;
    covey_value *value = value_new(&b, COVEY_FOREVER);
    const char *address = ticket_of(value, &size, &key);
    CHECK_GE(key, 0);
    covey_value *guess = conn_at(covey_value_str_size(address, size), key ^ 1);
    is_used_up(guess);
    works(value, b.fd);
    covey_value_free(guess);
    covey_value_free(value);
    bare_free(&b);
    await_end_of_thread();
}

/* ---- how long it is kept ---- */

TEST(what_nobody_fetches_goes_when_its_time_is_up)
{
    struct bare b;
    char byte;
    covey_value *value = value_new(&b, COVEY_MSEC(20));
    CHECK_EQ(read(b.fd, &byte, 1), 0); /* when the last copy of the other side goes */
    is_used_up(value);
    covey_value_free(value);
    bare_free(&b);
    await_end_of_thread();
}

TEST(each_has_a_time_of_its_own)
{
    struct bare early, late;
    char byte;
    covey_value *kept = value_new(&late, COVEY_SEC(60));
    covey_value *value = value_new(&early, COVEY_MSEC(20));
    CHECK_EQ(read(early.fd, &byte, 1), 0);
    is_used_up(value);
    works(kept, late.fd);
    covey_value_free(value);
    covey_value_free(kept);
    bare_free(&early);
    bare_free(&late);
    await_end_of_thread();
}

/* ---- processes ---- */

static int answer_over_what_comes(struct covey_view arg)
{
    const struct pair *p = arg.data;
    covey_value *value = value_from(p->b);
    covey_conn *conn = NULL;
    CHECK_OK(covey_conn_from_value(&conn, value, COVEY_SEC(20)));
    send_text(conn, "from the child");
    covey_conn_free(conn);
    is_used_up(value);
    covey_value_free(value);
    return 0;
}

TEST_EACH_METHOD(child_gets_a_connection)
{
    struct pair p = pair_new(NULL);
    struct bare b;
    covey_process *child = started(answer_over_what_comes, COVEY_VIEW_OF(p), OPTS());
    covey_value *value = value_new(&b, COVEY_FOREVER);
    CHECK_OK(covey_conn_send_value(p.a, value, COVEY_SEC(20)));
    reads_hex(b.fd, "0000000e 66726f6d20746865206368696c64");
    CHECK_EQ(end_of(child), 0);
    covey_value_free(value);
    bare_free(&b);
    pair_free(&p);
    await_end_of_thread();
}

TEST(fork_child_keeps_no_copies_and_offers_on_its_own)
{
    struct bare b;
    char byte;
    covey_value *value = value_new(&b, COVEY_FOREVER);
    forks_beside_threads();
    int pid = family_fork();
    if (!pid) {
        struct bare own;
        covey_value *other = value_new(&own, COVEY_FOREVER);
        works(other, own.fd);
        works(value, b.fd); /* from its parent, which still has it */
        CHECK_EQ(read(b.fd, &byte, 1), 0);
        _exit(0);
    }
    family_join(pid);
    is_used_up(value);
    CHECK_EQ(read(b.fd, &byte, 1), 0);
    covey_value_free(value);
    bare_free(&b);
    await_end_of_thread();
}

CHECK_MAIN()
