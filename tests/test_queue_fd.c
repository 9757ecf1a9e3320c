/* SPDX-License-Identifier: MIT */
/* Queues in event loops: the descriptor is readable while there is something to get. */
#include <sys/epoll.h>

#include "sync_help.h"

static bool is_readable(int fd, int ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, ms) == 1;
}

static covey_queue *queue_and_fd(int *ret_fd)
{
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    CHECK_OK(covey_queue_fd(q, ret_fd));
    return q;
}

TEST(readable_while_there_is_something)
{
    int fd, again;
    char to;
    size_t size;
    covey_queue *q = queue_and_fd(&fd);
    CHECK_OK(covey_queue_fd(q, &again));
    CHECK_EQ(fd, again);
    CHECK(!is_readable(fd, 20));
    for (int round = 0; round < 200; round++) {
        CHECK_OK(covey_queue_put(q, COVEY_VIEW("a", 1), COVEY_NOWAIT));
        CHECK_OK(covey_queue_put(q, COVEY_VIEW("b", 1), COVEY_NOWAIT));
        CHECK(is_readable(fd, 10000));
        CHECK_OK(covey_queue_get_into(q, &to, 1, &size, COVEY_NOWAIT));
        CHECK(is_readable(fd, 0));
        CHECK_OK(covey_queue_get_into(q, &to, 1, &size, COVEY_NOWAIT));
        CHECK(!is_readable(fd, 0));
    }
    CHECK_OK(covey_queue_close(q));
    CHECK(is_readable(fd, 10000));
    CHECK_ERR(covey_queue_get_into(q, &to, 1, &size, COVEY_NOWAIT), COVEY_ECLOSED);
    CHECK(is_readable(fd, 0));
    covey_queue_free(q);
    CHECK_ERR(covey_queue_fd(NULL, &fd), -EINVAL);
}

static int put_many(struct covey_view arg)
{
    covey_queue *q = *(covey_queue *const *)arg.data;
    for (int i = 0; i < 2000; i++)
        CHECK_OK(covey_queue_put(q, COVEY_VIEW_OF(i), COVEY_FOREVER));
    return 0;
}

TEST_EACH_METHOD(an_event_loop_gets_all)
{
    int fd, next[2] = {0}, both = 0;
    forks_beside_threads();
    covey_queue *q[2] = {queue_and_fd(&fd), NULL};
    covey_process *p[2];
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 0};
    int loop = epoll_create1(EPOLL_CLOEXEC);
    CHECK_EQ(epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event), 0);
    q[1] = queue_and_fd(&fd);
    event.data.u32 = 1;
    CHECK_EQ(epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event), 0);
    for (int i = 0; i < 2; i++)
        p[i] = started(put_many, COVEY_VIEW_OF(q[i]), OPTS());
    while (both < 4000) {
        int number;
        size_t size;
        CHECK_EQ(epoll_wait(loop, &event, 1, 20000), 1);
        uint32_t i = event.data.u32;
        while (covey_queue_get_into(q[i], &number, sizeof number, &size,
                                    COVEY_NOWAIT) >= 0) {
            CHECK_EQ(number, next[i]++);
            both++;
        }
    }
    close(loop);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(end_of(p[i]), 0);
        covey_queue_free(q[i]);
    }
}

static int put_and_die(struct covey_view arg)
{
    covey_queue *q = *(covey_queue *const *)arg.data;
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_FOREVER));
    raise(SIGKILL);
    return 0;
}

TEST_EACH_METHOD(what_a_killed_producer_put_is_told)
{
    int fd;
    char to;
    size_t size;
    covey_queue *q = queue_and_fd(&fd);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(run(put_and_die, COVEY_VIEW_OF(q), OPTS()), -SIGKILL);
        CHECK(is_readable(fd, 10000));
        CHECK_OK(covey_queue_get_into(q, &to, 1, &size, COVEY_NOWAIT));
        CHECK(!is_readable(fd, 0));
    }
    covey_queue_free(q);
}

static int use_own(struct covey_view arg)
{
    int fd;
    char to;
    size_t size;
    covey_queue *q = *(covey_queue *const *)arg.data;
    CHECK_OK(covey_queue_fd(q, &fd));
    CHECK(is_readable(fd, 10000));
    CHECK_OK(covey_queue_get_into(q, &to, 1, &size, COVEY_NOWAIT));
    CHECK(!is_readable(fd, 0));
    return 0; /* its end stops the thread */
}

TEST_EACH_METHOD(a_child_has_its_own)
{
    int fd;
    covey_queue *q = queue_and_fd(&fd);
    forks_beside_threads();
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_NOWAIT));
    CHECK(is_readable(fd, 10000));
    CHECK_EQ(run(use_own, COVEY_VIEW_OF(q), OPTS()), 0);
    char to;
    size_t size;
    CHECK_ERR(covey_queue_get_into(q, &to, 1, &size, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK(!is_readable(fd, 0));
    covey_queue_free(q);
}

static void *get_one(void *arg)
{
    char to;
    size_t size;
    CHECK_OK(covey_queue_get_into(arg, &to, 1, &size, COVEY_SEC(20)));
    return NULL;
}

TEST(watching_takes_no_message_from_who_gets)
{
    int fd;
    pthread_t getter;
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.slice = COVEY_SEC(3600))));
    covey_queue *q = queue_and_fd(&fd);
    await_sleepers(q, 1); /* it will be woken first */
    CHECK_EQ(pthread_create(&getter, NULL, get_one, q), 0);
    await_sleepers(q, 2);
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("x", 1), COVEY_NOWAIT));
    CHECK_EQ(pthread_join(getter, NULL), 0);
    CHECK(!is_readable(fd, 0));
    covey_queue_free(q);
}

TEST_EACH_METHOD(watching_alone_keeps_nobody_waiting)
{
    int fd;
    struct shared *s = share();
    struct covey_bytes got = {0};
    covey_queue *q = queue_and_fd(&fd);
    covey_process *p = started(run_until_told, COVEY_VIEW_OF(s), OPTS());
    family_await(&s->begun, 1);
    CHECK_OK(covey_process_kill(p));
    CHECK_ERR(covey_queue_get(q, &got, COVEY_FOREVER), COVEY_EPEERDIED);
    CHECK_EQ(end_of(p), -SIGKILL);
    covey_queue_free(q);
}

enum { MOST_THREADS = 1100 };

static cvy_word crowd_is_there, crowd_may_go;

static void *stay(void *unused)
{
    int r = cvy_enter();
    CHECK(r == 0 || r == -EAGAIN);
    family_tell(&crowd_is_there);
    family_await(&crowd_may_go, 1);
    return unused;
}

/* The thread that would tell of it is one too many for the family. */
static void free_one_of_two(void (*drop)(covey_queue *queue), covey_queue *queue)
{
    int fd = -1;
    CHECK_OK(covey_hold(queue));
    CHECK_OK(covey_queue_fd(queue, &fd));
    drop(queue);
    CHECK_GE(fcntl(fd, F_GETFD), 0);
    drop(queue);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
}

static void free_joinable(covey_queue *queue)
{
    covey_joinable_queue_free((covey_joinable_queue *)(void *)queue);
}

TEST(it_stays_until_the_last_hold_is_dropped)
{
    covey_queue *queue = NULL;
    covey_joinable_queue *joinable = NULL;
    CHECK_OK(covey_queue_create(&queue, 0, NULL));
    free_one_of_two(covey_queue_free, queue);
    CHECK_OK(covey_joinable_queue_create(&joinable, 0, NULL));
    free_one_of_two(free_joinable, covey_joinable_queue_queue(joinable));
}

TEST(descriptor_that_nothing_could_raise_is_refused)
{
    static pthread_t crowd[MOST_THREADS];
    pthread_attr_t small;
    covey_queue *q;
    int fd = -1;
    CHECK_OK(
        covey_family_configure(COVEY_FAMILY_OPTS(.reservation = (uint64_t)16 << 20)));
    CHECK_OK(covey_queue_create(&q, 1, NULL));
    CHECK_EQ(pthread_attr_init(&small), 0);
    CHECK_EQ(pthread_attr_setstacksize(&small, 256 << 10), 0);
    for (int i = 0; i < MOST_THREADS; i++)
        CHECK_EQ(pthread_create(&crowd[i], &small, stay, NULL), 0);
    family_await(&crowd_is_there, MOST_THREADS);
    CHECK_ERR(covey_queue_fd(q, &fd), -EAGAIN);
    CHECK_EQ(fd, -1);
    family_tell(&crowd_may_go);
    for (int i = 0; i < MOST_THREADS; i++)
        CHECK_EQ(pthread_join(crowd[i], NULL), 0);
    pthread_attr_destroy(&small);
    CHECK_OK(covey_queue_fd(q, &fd));
    CHECK_OK(covey_queue_put(q, COVEY_VIEW("a", 1), COVEY_NOWAIT));
    CHECK(is_readable(fd, 10000));
    covey_queue_free(q);
}

CHECK_MAIN()
