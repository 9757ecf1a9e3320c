/* SPDX-License-Identifier: MIT */
/* Pipes: messages of all sizes both ways between processes, several users of an end, and
 * how one learns that the other end is gone. */
#include "conn_help.h"

TEST(messages_go_both_ways_in_order)
{
    struct pair p = pair_new(NULL);
    send_text(p.a, "one");
    send_text(p.a, "");
    send_text(p.b, "other");
    send_text(p.a, "two");
    recv_text(p.b, "one");
    recv_text(p.b, "");
    recv_text(p.b, "two");
    recv_text(p.a, "other");
    pair_free(&p);
}

TEST(messages_of_every_size_arrive_whole)
{
    static const size_t sizes[] = {0,     1,     15,     16,     17,      4096,
                                   16384, 65535, 262144, 262145, 1 << 20, 5000001};
    struct pair p = pair_new(COVEY_PIPE_OPTS(.capacity = 16 << 20));
    struct covey_bytes got = {0};
    unsigned char *data = malloc(5000001);
    for (int round = 0; round < 3; round++)
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            fill(data, sizes[i], i);
            CHECK_OK(covey_conn_send(p.a, COVEY_VIEW(data, sizes[i]), COVEY_FOREVER));
            CHECK_OK(covey_conn_recv(p.b, &got, COVEY_FOREVER));
            CHECK_EQ(got.size, sizes[i]);
            if (sizes[i])
                CHECK_MEM_EQ(got.data, data, sizes[i]);
        }
    free(data);
    covey_bytes_free(&got);
    pair_free(&p);
}

TEST(oneway_pipe_goes_one_way)
{
    struct pair p = pair_new(COVEY_PIPE_OPTS(.oneway = COVEY_ON));
    char byte;
    size_t size;
    CHECK_EQ(covey_conn_readable(p.a), 1);
    CHECK_EQ(covey_conn_writable(p.a), 0);
    CHECK_EQ(covey_conn_readable(p.b), 0);
    CHECK_EQ(covey_conn_writable(p.b), 1);
    CHECK_ERR(covey_conn_send(p.a, COVEY_VIEW("x", 1), COVEY_NOWAIT), -EBADF);
    CHECK_ERR(covey_conn_recv_into(p.b, &byte, 1, &size, COVEY_NOWAIT), -EBADF);
    CHECK_ERR(covey_conn_poll(p.b, COVEY_NOWAIT), -EBADF);
    send_text(p.b, "x");
    recv_text(p.a, "x");
    pair_free(&p);
}

TEST(empty_pipe_times_out)
{
    struct pair p = pair_new(NULL);
    struct covey_bytes got = {0};
    CHECK_ERR(covey_conn_recv(p.b, &got, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_conn_recv(p.b, &got, COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_ERR(covey_conn_poll(p.b, COVEY_MSEC(5)), -ETIMEDOUT);
    send_text(p.a, "x");
    CHECK_OK(covey_conn_poll(p.b, COVEY_NOWAIT));
    CHECK_OK(covey_conn_poll(p.b, COVEY_FOREVER));
    recv_text(p.b, "x");
    CHECK_ERR(covey_conn_poll(p.b, COVEY_NOWAIT), -ETIMEDOUT);
    pair_free(&p);
}

TEST(full_pipe_times_out_and_takes_more_when_it_is_drained)
{
    struct pair p = pair_new(COVEY_PIPE_OPTS(.capacity = 10000));
    char message[1000] = {0};
    struct covey_bytes got = {0};
    int sent = 0, r;
    while ((r = covey_conn_send(p.a, COVEY_VIEW_OF(message), COVEY_NOWAIT)) >= 0)
        sent++;
    CHECK_EQ(r, -ETIMEDOUT);
    CHECK_EQ(sent, 10); /* each costs a little more than its bytes */
    CHECK_ERR(covey_conn_send(p.a, COVEY_VIEW_OF(message), COVEY_MSEC(5)), -ETIMEDOUT);
    CHECK_OK(covey_conn_recv(p.b, &got, COVEY_NOWAIT));
    CHECK_OK(covey_conn_send(p.a, COVEY_VIEW_OF(message), COVEY_NOWAIT));
    covey_bytes_free(&got);
    pair_free(&p);
}

TEST(message_larger_than_the_capacity_goes_through)
{
    struct pair p = pair_new(COVEY_PIPE_OPTS(.capacity = 1));
    char *data = calloc(1, 400000);
    struct covey_bytes got = {0};
    CHECK_OK(covey_conn_send(p.a, COVEY_VIEW(data, 400000), COVEY_NOWAIT));
    CHECK_ERR(covey_conn_send(p.a, COVEY_VIEW(data, 1), COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_OK(covey_conn_recv(p.b, &got, COVEY_NOWAIT));
    CHECK_EQ(got.size, 400000);
    free(data);
    covey_bytes_free(&got);
    pair_free(&p);
}

TEST(message_over_a_limit_stays)
{
    struct pair p = pair_new(NULL);
    struct covey_bytes got = {0};
    char small[4];
    size_t size = 0;
    send_text(p.a, "eleven char");
    CHECK_ERR(covey_conn_recv_max(p.b, &got, 10, COVEY_NOWAIT), -EMSGSIZE);
    CHECK_ERR(covey_conn_recv_into(p.b, small, sizeof small, &size, COVEY_NOWAIT),
              -EMSGSIZE);
    CHECK_EQ(size, 11);
    CHECK_OK(covey_conn_recv_max(p.b, &got, 11, COVEY_NOWAIT));
    CHECK_EQ(got.size, 11);
    covey_bytes_free(&got);
    pair_free(&p);
}

TEST(values_go_through)
{
    struct pair p = pair_new(NULL);
    covey_value *sent, *got = NULL;
    CHECK_OK(covey_value_pack(&sent, "[i, z, s]", 42, NULL, "hello"));
    CHECK_OK(covey_conn_send_value(p.a, sent, COVEY_NOWAIT));
    CHECK_OK(covey_conn_recv_value(p.b, &got, NULL, COVEY_NOWAIT));
    CHECK_EQ(covey_value_equal(sent, got), 1);
    covey_value_free(sent);
    covey_value_free(got);
    send_text(p.a, "no pickle");
    CHECK_ERR(covey_conn_recv_value(p.b, &got, NULL, COVEY_NOWAIT), COVEY_EPICKLE);
    send_text(p.a, "");
    CHECK_ERR(covey_conn_recv_value(p.b, &got, NULL, COVEY_NOWAIT), COVEY_EPICKLE);
    CHECK_STR_HAS(covey_error_detail(),
                  "pickle of 0 bytes, at byte 0: it ends too early");
    send_text(p.a, "too large");
    CHECK_ERR(covey_conn_recv_value(p.b, &got, COVEY_UNPICKLE_OPTS(.max_memory = 5),
                                    COVEY_NOWAIT),
              -EMSGSIZE);
    recv_text(p.b, "too large");
    pair_free(&p);
}

TEST(bad_arguments_are_refused)
{
    struct pair p = pair_new(NULL), other;
    struct covey_pipe_opts bad = {.capacity = 1};
    covey_event *event;
    size_t size;
    int fd;
    CHECK_OK(covey_event_create(&event, NULL));
    CHECK_ERR(covey_pipe_create(NULL, &other.b, NULL), -EINVAL);
    CHECK_ERR(covey_pipe_create(&other.a, NULL, NULL), -EINVAL);
    CHECK_ERR(covey_pipe_create(&other.a, &other.b, &bad), -EINVAL);
    CHECK_ERR(covey_conn_send(NULL, COVEY_NO_VIEW, 0), -EINVAL);
    CHECK_ERR(covey_conn_send(p.a, COVEY_VIEW(NULL, 1), 0), -EINVAL);
    CHECK_ERR(covey_conn_send((covey_conn *)(void *)event, COVEY_NO_VIEW, 0), -EINVAL);
    CHECK_ERR(covey_conn_recv(p.a, NULL, 0), -EINVAL);
    CHECK_ERR(covey_conn_recv_into(p.a, NULL, 1, &size, 0), -EINVAL);
    CHECK_ERR(covey_conn_recv_into(p.a, &fd, 1, NULL, 0), -EINVAL);
    CHECK_ERR(covey_conn_recv_value(p.a, NULL, NULL, 0), -EINVAL);
    CHECK_ERR(covey_conn_close(NULL), -EINVAL);
    CHECK(covey_conn_peer(NULL) == NULL);
    CHECK_STR_EQ(covey_conn_peer(p.a), "");
    covey_conn_free(NULL);
    covey_event_free(event);
    pair_free(&p);
}

/* ---- between processes ---- */

static int echo(struct covey_view arg)
{
    struct pair p = *(const struct pair *)arg.data;
    struct covey_bytes got = {0};
    int r;
    covey_conn_free(p.a);
    while ((r = covey_conn_recv(p.b, &got, COVEY_FOREVER)) >= 0)
        CHECK_OK(covey_conn_send(p.b, COVEY_VIEW(got.data, got.size), COVEY_FOREVER));
    CHECK_EQ(r, COVEY_EEOF);
    covey_bytes_free(&got);
    return 0;
}

TEST_EACH_METHOD(child_echoes_until_the_other_end_is_freed)
{
    struct pair p = pair_new(NULL);
    struct covey_bytes got = {0};
    covey_process *child = started(echo, COVEY_VIEW_OF(p), OPTS());
    covey_conn_free(p.b);
    for (int i = 0; i < 1000; i++) {
        CHECK_OK(covey_conn_send(p.a, COVEY_VIEW_OF(i), COVEY_FOREVER));
        CHECK_OK(covey_conn_recv(p.a, &got, COVEY_FOREVER));
        CHECK_EQ(got.size, sizeof i);
        CHECK_MEM_EQ(got.data, &i, sizeof i);
    }
    covey_conn_free(p.a);
    CHECK_EQ(end_of(child), 0);
    covey_bytes_free(&got);
}

/* A starter that keeps both ends is told all the same. */
static int say_and_end(struct covey_view arg)
{
    send_text(((const struct pair *)arg.data)->b, "last words");
    return 0;
}

TEST_EACH_METHOD(end_of_a_child_is_the_end_of_its_pipe)
{
    struct pair p = pair_new(NULL);
    struct covey_bytes got = {0};
    covey_process *child = started(say_and_end, COVEY_VIEW_OF(p), OPTS());
    recv_text(p.a, "last words");
    CHECK_ERR(covey_conn_recv(p.a, &got, COVEY_SEC(20)), COVEY_EEOF);
    CHECK_OK(covey_conn_poll(p.a, COVEY_NOWAIT));
    CHECK_EQ(end_of(child), 0);
    pair_free(&p);
}

static int wait_to_be_killed(struct covey_view arg)
{
    struct covey_bytes got = {0};
    send_text(((const struct pair *)arg.data)->b, "ready");
    (void)covey_conn_recv(((const struct pair *)arg.data)->b, &got, COVEY_FOREVER);
    return 1;
}

TEST_EACH_METHOD(killed_child_is_the_end_of_its_pipe)
{
    struct pair p = pair_new(COVEY_PIPE_OPTS(.capacity = 1000));
    struct covey_bytes got = {0};
    char message[400] = {0};
    int r;
    covey_process *child = started(wait_to_be_killed, COVEY_VIEW_OF(p), OPTS());
    recv_text(p.a, "ready");
    CHECK_OK(covey_process_kill(child));
    CHECK_ERR(covey_conn_recv(p.a, &got, COVEY_SEC(20)), COVEY_EEOF);
    do
        r = covey_conn_send(p.a, COVEY_VIEW_OF(message), COVEY_SEC(20));
    while (r >= 0);
    CHECK_EQ(r, -EPIPE);
    CHECK_EQ(end_of(child), -SIGKILL);
    pair_free(&p);
}

TEST_EACH_METHOD(close_is_for_one_process)
{
    struct pair p = pair_new(NULL);
    struct covey_bytes got = {0};
    covey_process *child = started(echo, COVEY_VIEW_OF(p), OPTS());
    CHECK_OK(covey_conn_close(p.b));
    CHECK_OK(covey_conn_close(p.b));
    CHECK_EQ(covey_conn_closed(p.b), 1);
    CHECK_EQ(covey_conn_closed(p.a), 0);
    CHECK_EQ(covey_conn_readable(p.b), 1);
    CHECK_ERR(covey_conn_send(p.b, COVEY_NO_VIEW, COVEY_NOWAIT), COVEY_ECLOSED);
    send_text(p.a, "still there");
    recv_text(p.a, "still there");
    CHECK_OK(covey_conn_close(p.a));
    CHECK_EQ(end_of(child), 0);
    CHECK_ERR(covey_conn_recv(p.a, &got, COVEY_NOWAIT), COVEY_EFREED);
    CHECK_EQ(covey_conn_closed(p.a), 1);
    pair_free(&p);
}

/* ---- several on one end ---- */

struct crowd {
    covey_conn *conn;
    int id, count;
};

static int send_many(struct covey_view arg)
{
    const struct crowd *c = arg.data;
    char message[3000];
    for (int i = 0; i < c->count; i++) {
        size_t size = sizeof(int[2]) + (unsigned)(i * 37 + c->id * 101) % 2000;
        memset(message, c->id, size);
        memcpy(message, (int[2]){c->id, i}, sizeof(int[2]));
        CHECK_OK(covey_conn_send(c->conn, COVEY_VIEW(message, size), COVEY_FOREVER));
    }
    return 0;
}

TEST_EACH_METHOD(several_processes_on_one_end_tear_no_message)
{
    enum { SIDES = 3, COUNT = 3000 };
    struct pair p = pair_new(NULL);
    covey_process *children[SIDES];
    struct covey_bytes got = {0};
    int next[SIDES] = {0};
    for (int i = 0; i < SIDES; i++) {
        struct crowd c = {p.b, i, COUNT};
        children[i] = started(send_many, COVEY_VIEW_OF(c), OPTS());
    }
    for (int i = 0; i < SIDES * COUNT; i++) {
        int head[2];
        CHECK_OK(covey_conn_recv(p.a, &got, COVEY_FOREVER));
        memcpy(head, got.data, sizeof head);
        CHECK_EQ(head[1], next[head[0]]++);
        CHECK_EQ(got.size,
                 sizeof head + (unsigned)(head[1] * 37 + head[0] * 101) % 2000);
        for (size_t k = sizeof head; k < got.size; k++)
            CHECK_EQ(((char *)got.data)[k], head[0]);
    }
    for (int i = 0; i < SIDES; i++)
        CHECK_EQ(end_of(children[i]), 0);
    covey_bytes_free(&got);
    pair_free(&p);
}

static int recv_until_eof(struct covey_view arg)
{
    const struct pair *p = arg.data;
    struct covey_bytes got = {0};
    int r, count = 0;
    covey_conn_free(p->a);
    while ((r = covey_conn_recv(p->b, &got, COVEY_FOREVER)) >= 0)
        count++;
    CHECK_EQ(r, COVEY_EEOF);
    covey_bytes_free(&got);
    return count;
}

TEST_EACH_METHOD(several_processes_share_what_comes)
{
    struct pair p = pair_new(NULL);
    covey_process *children[3];
    int sum = 0;
    for (int i = 0; i < 3; i++)
        children[i] = started(recv_until_eof, COVEY_VIEW_OF(p), OPTS());
    covey_conn_free(p.b);
    for (int i = 0; i < 200; i++)
        CHECK_OK(covey_conn_send(p.a, COVEY_VIEW_OF(i), COVEY_FOREVER));
    covey_conn_free(p.a);
    for (int i = 0; i < 3; i++)
        sum += end_of(children[i]);
    CHECK_EQ(sum, 200);
}

CHECK_MAIN()
