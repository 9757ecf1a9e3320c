/* SPDX-License-Identifier: MIT */
/* Waiting for several things at once, and descriptors of pipes. */
#include "conn_help.h"
#include "fds.h"
#include "thread_state.h"

enum { MOST_AT_ONCE = CVY_OS_MOST_WAITS - 2, MANY_QUEUES = 150 };

/* Wait, and see which one is ready: a bit for each. */
static unsigned ready_of(struct covey_wait_item *items, size_t count,
                         covey_nsec timeout)
{
    unsigned bits = 0;
    size_t ready = 0, found = 0;
    CHECK_OK(covey_wait(items, count, timeout, &ready));
    for (size_t i = 0; i < count; i++)
        if (items[i].ready) {
            bits |= 1u << i;
            found++;
        }
    CHECK_EQ(found, ready);
    return bits;
}

TEST(nothing_to_wait_for_takes_its_time)
{
    size_t ready = 7;
    int64_t begin = cvy_os_now();
    CHECK_ERR(covey_wait(NULL, 0, COVEY_MSEC(20), &ready), -ETIMEDOUT);
    CHECK_GE(cvy_os_now() - begin, COVEY_MSEC(20));
    CHECK_EQ(ready, 7);
    struct covey_wait_item nothing[2] = {{0}, {0}};
    CHECK_ERR(covey_wait(nothing, 2, COVEY_MSEC(1), NULL), -ETIMEDOUT);
}

TEST(each_kind_is_seen_when_it_is_ready)
{
    struct pair p = pair_new(NULL);
    struct bare b = bare_new();
    covey_queue *q;
    covey_listener *l;
    covey_process *child = made(do_nothing, COVEY_NO_VIEW, NULL);
    covey_conn *client;
    int ends[2];
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    CHECK_OK(covey_listener_create(&l, NULL, NULL));
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    struct covey_wait_item items[5] = {covey_wait_conn(p.b), covey_wait_conn(b.conn),
                                       covey_wait_queue(q), covey_wait_listener(l),
                                       covey_wait_fd(ends[0])};
    CHECK_ERR(covey_wait(items, 5, COVEY_NOWAIT, NULL), -ETIMEDOUT);
    CHECK_ERR(covey_wait(items, 5, COVEY_MSEC(5), NULL), -ETIMEDOUT);
    send_text(p.a, "x");
    CHECK_EQ(ready_of(items, 5, COVEY_FOREVER), 1);
    write_hex(b.fd, "00000001 61");
    CHECK_EQ(ready_of(items, 5, COVEY_FOREVER), 3);
    recv_text(p.b, "x");
    CHECK_EQ(ready_of(items, 5, COVEY_FOREVER), 2);
    recv_text(b.conn, "a");
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("y", 1), COVEY_NOWAIT));
    CHECK_EQ(ready_of(items, 5, COVEY_NOWAIT), 4);
    CHECK_OK(
        covey_client_connect(&client, covey_listener_address(l), NULL, COVEY_SEC(20)));
    CHECK_EQ(write(ends[1], "z", 1), 1);
    CHECK_EQ(ready_of(items, 5, COVEY_FOREVER), 4 + 8 + 16);
    covey_conn_free(client);
    covey_listener_free(l);
    covey_queue_free(q);
    CHECK_OK(covey_process_start(child));
    struct covey_wait_item end = covey_wait_process(child);
    CHECK_EQ(ready_of(&end, 1, COVEY_SEC(20)), 1);
    CHECK_EQ(end_of(child), 0);
    close(ends[0]);
    close(ends[1]);
    bare_free(&b);
    pair_free(&p);
}

TEST(ends_count_as_ready)
{
    struct pair p = pair_new(NULL);
    struct bare b = bare_new();
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    struct covey_wait_item items[3] = {covey_wait_conn(p.b), covey_wait_conn(b.conn),
                                       covey_wait_queue(q)};
    covey_conn_free(p.a);
    CHECK_EQ(ready_of(items, 3, COVEY_FOREVER), 1);
    close(b.fd);
    CHECK_EQ(ready_of(items, 3, COVEY_FOREVER), 3);
    CHECK_OK(covey_queue_close(q));
    CHECK_EQ(ready_of(items, 3, COVEY_FOREVER), 7);
    covey_queue_free(q);
    covey_conn_free(p.b);
    covey_conn_free(b.conn);
}

TEST(bad_items_are_refused)
{
    struct pair p;
    int unused = dup(0);
    CHECK_OK(covey_pipe_create(&p.a, &p.b, COVEY_PIPE_OPTS(.oneway = COVEY_ON)));
    close(unused);
    struct covey_wait_item item = covey_wait_conn(p.b);
    CHECK_ERR(covey_wait(&item, 1, 0, NULL), -EBADF);
    item = covey_wait_fd(unused);
    CHECK_ERR(covey_wait(&item, 1, 0, NULL), -EBADF);
    item = covey_wait_fd(-1);
    CHECK_ERR(covey_wait(&item, 1, 0, NULL), -EBADF);
    item = covey_wait_conn(NULL);
    CHECK_ERR(covey_wait(&item, 1, 0, NULL), -EINVAL);
    item = covey_wait_queue((covey_queue *)(void *)p.a);
    CHECK_ERR(covey_wait(&item, 1, 0, NULL), -EINVAL);
    item = covey_wait_listener(NULL);
    CHECK_ERR(covey_wait(&item, 1, 0, NULL), -EINVAL);
    item.kind = (enum covey_wait_kind)99;
    CHECK_ERR(covey_wait(&item, 1, 0, NULL), -EINVAL);
    CHECK_ERR(covey_wait(NULL, 1, 0, NULL), -EINVAL);
    covey_process *child = made(do_nothing, COVEY_NO_VIEW, NULL);
    item = covey_wait_process(child);
    CHECK_ERR(covey_wait(&item, 1, 0, NULL), COVEY_ENOTSTARTED);
    covey_process_free(child);
    pair_free(&p);
}

/* A process that holds all there is, lest the end of another one is that of a pipe. */
static covey_process *holder_new(void)
{
    return started(run_for_ever, COVEY_NO_VIEW, OPTS());
}

static void holder_free(covey_process *holder)
{
    CHECK_OK(covey_process_kill(holder));
    CHECK_EQ(end_of(holder), -SIGKILL);
}

struct late {
    covey_conn *conn;
    covey_queue *queue;
};

static int send_late(struct covey_view arg)
{
    const struct late *l = arg.data;
    struct timespec moment = {.tv_nsec = 30000000};
    nanosleep(&moment, NULL); /* the other one most likely sleeps; it need not */
    if (l->conn)
        send_text(l->conn, "late");
    if (l->queue)
        CHECK_OK(covey_queue_put(l->queue, COVEY_VIEW("late", 4), COVEY_FOREVER));
    return 0;
}

TEST_EACH_METHOD(sleepers_are_woken_by_what_comes)
{
    struct pair p = pair_new(NULL);
    covey_queue *q;
    struct covey_bytes got = {0};
    int ends[2];
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    covey_process *holder = holder_new();
    for (int i = 0; i < 4; i++) {
        struct late l = {i % 2 ? p.a : NULL, i % 2 ? NULL : q};
        struct covey_wait_item items[3] = {covey_wait_conn(p.b), covey_wait_queue(q),
                                           covey_wait_fd(ends[0])};
        covey_process *child = started(send_late, COVEY_VIEW_OF(l), OPTS());
        CHECK_EQ(ready_of(items, i < 2 ? 2 : 3, COVEY_SEC(20)), i % 2 ? 1 : 2);
        if (i % 2)
            recv_text(p.b, "late");
        else
            CHECK_OK(covey_queue_get(q, &got, COVEY_NOWAIT));
        CHECK_EQ(end_of(child), 0);
    }
    covey_bytes_free(&got);
    holder_free(holder);
    covey_bytes_free(&got);
    close(ends[0]);
    close(ends[1]);
    covey_queue_free(q);
    pair_free(&p);
}

TEST_EACH_METHOD(sleeper_on_memory_hears_of_a_descriptor_and_of_a_process)
{
    struct pair p = pair_new(NULL);
    forks_beside_threads();
    covey_process *child = started(run_for_ever, COVEY_NO_VIEW, OPTS());
    struct covey_wait_item items[2] = {covey_wait_conn(p.b), covey_wait_process(child)};
    CHECK_ERR(covey_wait(items, 2, COVEY_MSEC(5), NULL), -ETIMEDOUT);
    CHECK_OK(covey_process_kill(child));
    /* The pipe is at its end as well, as soon as that death is heard of. */
    CHECK((ready_of(items, 2, COVEY_SEC(20)) & 3) != 0);
    CHECK_EQ(end_of(child), -SIGKILL);
    pair_free(&p);
}

TEST_EACH_METHOD(many_items_are_waited_for)
{
    enum { MANY = 150 };
    struct pair p[MANY];
    struct covey_wait_item items[MANY + 1];
    size_t ready = 0;
    for (int i = 0; i < MANY; i++) {
        p[i] = pair_new(NULL);
        items[i] = covey_wait_conn(p[i].b);
    }
    struct late l = {p[MANY - 1].a, NULL};
    covey_process *holder = holder_new();
    covey_process *child = started(send_late, COVEY_VIEW_OF(l), OPTS());
    CHECK_OK(covey_wait(items, MANY, COVEY_SEC(20), &ready));
    CHECK_EQ(ready, 1);
    CHECK_EQ(items[MANY - 1].ready, 1);
    CHECK_EQ(end_of(child), 0);
    holder_free(holder);
    for (int i = 0; i < MANY; i++)
        pair_free(&p[i]);
}

struct waiter_of_many {
    struct covey_wait_item items[MANY_QUEUES];
    size_t count, ready;
    int r;
    _Atomic int tid;
};

static void *wait_for_many(void *arg)
{
    struct waiter_of_many *w = arg;
    atomic_store(&w->tid, cvy_os_tid());
    w->r = covey_wait(w->items, w->count, COVEY_FOREVER, &w->ready);
    return NULL;
}

/* However many they are: it does not look at them again and again. */
TEST(who_waits_for_many_sleeps)
{
    static const size_t counts[] = {5, 6, 7, 8, 32, MOST_AT_ONCE, MANY_QUEUES};
    covey_queue *queues[MANY_QUEUES];
    struct covey_bytes got = {0};
    for (size_t i = 0; i < MANY_QUEUES; i++)
        CHECK_OK(covey_queue_create(&queues[i], 0, NULL));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct waiter_of_many w = {.count = counts[i]};
        pthread_t thread;
        for (size_t j = 0; j < w.count; j++)
            w.items[j] = covey_wait_queue(queues[j]);
        CHECK_EQ(pthread_create(&thread, NULL, wait_for_many, &w), 0);
        while (!atomic_load(&w.tid))
            cvy_os_yield();
        await_sleep(atomic_load(&w.tid));
        CHECK_OK(
            covey_queue_put(queues[w.count - 1], COVEY_VIEW("x", 1), COVEY_NOWAIT));
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_OK(w.r);
        CHECK_EQ(w.ready, 1);
        CHECK_EQ(w.items[w.count - 1].ready, 1);
        CHECK_OK(covey_queue_get(queues[w.count - 1], &got, COVEY_NOWAIT));
    }
    for (size_t i = 0; i < MANY_QUEUES; i++)
        covey_queue_free(queues[i]);
    covey_bytes_free(&got);
}

/* ---- descriptors of pipes ---- */

static int polls(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms);
}

TEST(descriptor_of_a_socket_is_its_own)
{
    struct bare b = bare_new();
    int fd = -1;
    CHECK_OK(covey_conn_fd(b.conn, &fd));
    CHECK_EQ(polls(fd, 0), 0);
    write_hex(b.fd, "00000001 61");
    CHECK_EQ(polls(fd, 0), 1);
    CHECK_ERR(covey_conn_fd(b.conn, NULL), -EINVAL);
    bare_free(&b);
}

TEST(descriptor_of_a_pipe_is_raised_and_lowered)
{
    struct pair p = pair_new(NULL);
    int fd = -1, again = -2;
    CHECK_OK(covey_conn_fd(p.b, &fd));
    CHECK_OK(covey_conn_fd(p.b, &again));
    CHECK_EQ(fd, again);
    for (int i = 0; i < 50; i++) {
        CHECK_EQ(polls(fd, 0), 0);
        send_text(p.a, "one");
        send_text(p.a, "two");
        CHECK_EQ(polls(fd, 20000), 1);
        recv_text(p.b, "one");
        CHECK_EQ(polls(fd, 20000), 1);
        recv_text(p.b, "two");
    }
    send_text(p.a, "before");
    CHECK_OK(covey_conn_fd(p.a, &again));
    CHECK_NE(fd, again);
    recv_text(p.b, "before");
    covey_conn_free(p.a);
    CHECK_EQ(polls(fd, 20000), 1);
    CHECK_ERR(covey_conn_recv(p.b, &(struct covey_bytes){0}, COVEY_NOWAIT), COVEY_EEOF);
    CHECK_EQ(polls(fd, 0), 1);
    covey_conn_free(p.b);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
}

TEST(descriptor_of_a_pipe_stays_until_the_last_hold_is_dropped)
{
    struct pair p = pair_new(NULL);
    int fd = -1;
    CHECK_OK(covey_hold(p.b));
    CHECK_OK(covey_hold(p.b));
    CHECK_OK(covey_conn_fd(p.b, &fd));
    covey_conn_free(p.b);
    covey_conn_free(p.b);
    CHECK(is_open(fd));
    covey_conn_free(p.b);
    CHECK(!is_open(fd));
    covey_conn_free(p.a);
    p = pair_new(NULL);
    CHECK_OK(covey_hold(p.b));
    CHECK_OK(covey_conn_fd(p.b, &fd));
    CHECK_OK(covey_conn_close(p.b)); /* all of this process's */
    CHECK(!is_open(fd));
    covey_conn_free(p.a);
}

/* As daemons do with all that they do not know. */
TEST(descriptor_that_the_program_closed_is_made_anew)
{
    struct pair p = pair_new(NULL);
    struct bare b = bare_new();
    covey_queue *queue;
    int fd = -1, other = -1;
    CHECK_OK(covey_queue_create(&queue, 0, NULL));
    CHECK_OK(covey_conn_fd(p.b, &fd));
    CHECK_OK(covey_queue_fd(queue, &other));
    send_text(p.a, "one");
    CHECK_OK(covey_queue_put(queue, COVEY_VIEW("x", 1), COVEY_NOWAIT));
    close(fd);
    close(other);
    CHECK_OK(covey_queue_fd(queue, &other));
    CHECK_EQ(polls(other, 20000), 1);
    CHECK_EQ(other, fd); /* which is the connection's no more */
    int mine = dup(0);
    CHECK_OK(covey_conn_fd(p.b, &fd));
    CHECK_NE(fd, mine);
    CHECK_NE(fd, other);
    close(fd);
    CHECK_OK(covey_conn_fd(p.b, &fd)); /* by the same number */
    CHECK(is_open(fd));
    CHECK_EQ(polls(fd, 20000), 1);
    recv_text(p.b, "one");
    CHECK_EQ(polls(fd, 0), 0);
    send_text(p.a, "two");
    CHECK_EQ(polls(fd, 20000), 1);
    close(mine);
    pair_free(&p);
    CHECK(!is_open(fd));
    covey_queue_free(queue);
    CHECK_OK(covey_conn_fd(b.conn, &fd));
    close(fd);
    CHECK_ERR(covey_conn_fd(b.conn, &fd), -EBADF);
    mine = dup(0); /* by its number */
    CHECK_ERR(covey_conn_fd(b.conn, &fd), -EBADF);
    bare_free(&b);
    CHECK(is_open(mine));
    close(mine);
}

TEST(descriptor_is_right_from_the_start)
{
    struct pair p = pair_new(NULL);
    int fd = -1;
    send_text(p.a, "there");
    CHECK_OK(covey_conn_fd(p.b, &fd));
    CHECK_EQ(polls(fd, 0), 1);
    recv_text(p.b, "there");
    CHECK_EQ(polls(fd, 0), 0);
    pair_free(&p);
}

TEST(end_that_only_sends_has_none)
{
    struct pair p;
    int fd = -1;
    CHECK_OK(covey_pipe_create(&p.a, &p.b, COVEY_PIPE_OPTS(.oneway = COVEY_ON)));
    CHECK_ERR(covey_conn_fd(p.b, &fd), -EBADF);
    CHECK_OK(covey_conn_close(p.b));
    CHECK_ERR(covey_conn_fd(p.b, &fd), COVEY_EFREED);
    pair_free(&p);
}

static int poll_in_child(struct covey_view arg)
{
    const struct pair *p = arg.data;
    int fd = -1;
    CHECK_OK(covey_conn_fd(p->b, &fd));
    CHECK_EQ(polls(fd, 20000), 1);
    recv_text(p->b, "for the child");
    CHECK_EQ(polls(fd, 0), 0);
    covey_conn_free(p->b);
    return 0;
}

TEST_EACH_METHOD(children_have_descriptors_of_their_own)
{
    struct pair p = pair_new(NULL);
    int fd = -1;
    forks_beside_threads();
    CHECK_OK(covey_conn_fd(p.b, &fd));
    CHECK_EQ(polls(fd, 0), 0);
    covey_process *child = started(poll_in_child, COVEY_VIEW_OF(p), OPTS());
    send_text(p.a, "for the child");
    CHECK_EQ(end_of(child), 0);
    /* Ours may have been raised by it; a look lowers it. */
    (void)covey_conn_poll(p.b, COVEY_NOWAIT);
    pair_free(&p);
}

TEST_EACH_METHOD(descriptor_is_raised_by_the_death_of_the_other_end)
{
    struct pair p = pair_new(NULL);
    struct shared *s = share();
    int fd = -1;
    covey_process *child = started(run_for_ever, COVEY_VIEW_OF(s), OPTS());
    family_await(&s->begun, 1);
    CHECK_OK(covey_conn_fd(p.a, &fd));
    covey_conn_free(p.b); /* the child still has it */
    CHECK_EQ(polls(fd, 0), 0);
    CHECK_OK(covey_process_kill(child));
    CHECK_EQ(polls(fd, 20000), 1);
    CHECK_ERR(covey_conn_recv(p.a, &(struct covey_bytes){0}, COVEY_FOREVER),
              COVEY_EEOF);
    CHECK_EQ(end_of(child), -SIGKILL);
    covey_conn_free(p.a);
}

CHECK_MAIN()
