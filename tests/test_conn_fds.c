/* SPDX-License-Identifier: MIT */
/* Descriptors that are sent over connections. */
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "channel/offer.h"
#include "conn_help.h"
#include "fds.h"
#include "os/socket.h"
#include "python_help.h"

static struct pair sockets_new(void)
{
    struct pair p;
    int ends[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_OK(covey_conn_open_fd(&p.a, ends[0], NULL));
    CHECK_OK(covey_conn_open_fd(&p.b, ends[1], NULL));
    return p;
}

/* A descriptor goes over, and works there; what is around it, too. */
static void passes(struct pair p)
{
    int ends[2], got = -1;
    char text[4] = "";
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    send_text(p.a, "before");
    CHECK_OK(covey_conn_send_fd(p.a, ends[1], COVEY_SEC(20)));
    send_text(p.a, "after");
    close(ends[1]);
    recv_text(p.b, "before");
    CHECK_OK(covey_conn_recv_fd(p.b, &got, COVEY_SEC(20)));
    recv_text(p.b, "after");
    CHECK_EQ(fcntl(got, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(write(got, "abc", 3), 3);
    CHECK_EQ(read(ends[0], text, 3), 3);
    CHECK_STR_EQ(text, "abc");
    close(got);
    close(ends[0]);
}

/* The thread that passes descriptors on has its own open until it ends. */
static void free_and_await_end(struct pair *p)
{
    int64_t limit = cvy_os_deadline(COVEY_SEC(1)); /* a sanitizer has a thread, too */
    pair_free(p);
    while (cvy_os_thread_count() > 1 && cvy_os_now() < limit)
        cvy_os_yield();
}

TEST(descriptor_goes_over_a_socket)
{
    struct pair p = sockets_new();
    passes(p);
    passes((struct pair){p.b, p.a});
    pair_free(&p);
}

TEST(descriptor_goes_over_a_pipe)
{
    struct pair p = pair_new(NULL);
    passes(p);
    passes((struct pair){p.b, p.a});
    free_and_await_end(&p);
}

TEST(several_are_under_way_at_the_same_time)
{
    struct pair p = pair_new(NULL);
    int ends[2], got[20];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    for (int i = 0; i < 20; i++)
        CHECK_OK(covey_conn_send_fd(p.a, ends[i % 2], COVEY_NOWAIT));
    for (int i = 0; i < 20; i++) {
        struct stat x, y;
        CHECK_OK(covey_conn_recv_fd(p.b, &got[i], COVEY_NOWAIT));
        CHECK_EQ(fstat(ends[i % 2], &x), 0);
        CHECK_EQ(fstat(got[i], &y), 0);
        CHECK_EQ(x.st_ino, y.st_ino);
        close(got[i]);
    }
    close(ends[0]);
    close(ends[1]);
    free_and_await_end(&p);
}

static int connect_to(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path + 1, name, strlen(name));
    CHECK_GE(fd, 0);
    CHECK_EQ(connect(fd, (const struct sockaddr *)&address, size), 0);
    return fd;
}

/* What goes over a pipe when a descriptor does. */
static struct cvy_ticket offered(struct pair p, int fd)
{
    struct cvy_ticket ticket;
    CHECK_OK(covey_conn_send_fd(p.a, fd, COVEY_NOWAIT));
    CHECK_OK(cvy_pipe_recv_ticket((struct cvy_end *)(void *)p.b, &ticket,
                                  cvy_os_deadline(COVEY_SEC(20)), "a test"));
    return ticket;
}

TEST(those_who_come_and_say_nothing_hold_up_nobody)
{
    struct pair p = pair_new(NULL);
    struct cvy_ticket ticket = offered(p, 0);
    int silent[100];
    for (int i = 0; i < 100; i++)
        silent[i] = connect_to(ticket.name);
    int64_t begun = cvy_os_now();
    for (int i = 0; i < 3; i++)
        passes(p);
    CHECK_LT(cvy_os_now() - begun, COVEY_SEC(5)); /* 10 s are given to each */
    for (int i = 0; i < 100; i++)
        close(silent[i]);
    free_and_await_end(&p);
}

static void await_something(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    CHECK_EQ(poll(&item, 1, 20000), 1);
}

static void ask(int fd, const struct cvy_ticket *ticket)
{
    CHECK_EQ(write(fd, ticket->key, 8), 8);
    await_something(fd);
}

/* It comes with the byte 1, behind the other half of the key. Returns: it, -1: the end came
 * instead. */
static int taken(int fd, const struct cvy_ticket *ticket)
{
    uint64_t shown = 0;
    unsigned char byte = 0;
    ssize_t n = cvy_os_stream_read(fd, CVY_OS_STREAM_UNIX, &shown, sizeof shown);
    CHECK(n == 0 || shown == ticket->key[1]);
    await_something(fd);
    int got = -1, r = cvy_os_stream_recv_fd(fd, &byte, &got);
    CHECK_EQ(r, got >= 0);
    CHECK_EQ(byte, got >= 0);
    return got;
}

TEST(what_its_fetcher_did_not_read_is_there_again)
{
    struct pair p = pair_new(NULL);
    struct cvy_ticket ticket = offered(p, 0);
    int fd = connect_to(ticket.name);
    ask(fd, &ticket); /* it has come */
    close(fd);        /* and was not read */
    fd = connect_to(ticket.name);
    ask(fd, &ticket);
    int got = taken(fd, &ticket);
    CHECK_GE(got, 0);
    close(got);
    int other = connect_to(ticket.name);
    CHECK_EQ(write(other, ticket.key, 8), 8);
    close(fd); /* it was read, and is used up */
    await_something(other);
    CHECK_EQ(taken(other, &ticket), -1);
    close(other);
    free_and_await_end(&p);
}

TEST(without_a_place_for_a_descriptor_it_stays)
{
    struct pair p = pair_new(NULL);
    struct rlimit limit, few;
    int got = -1, places[3];
    CHECK_OK(covey_conn_send_fd(p.a, 0, COVEY_NOWAIT));
    for (int i = 0; i < 3; i++)
        places[i] = dup(0);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = (rlim_t)places[2] + 1;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (int i = 2; i >= 1; i--) { /* one place is not enough */
        CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_SEC(20)), -EMFILE);
        close(places[i]);
    }
    close(places[0]); /* for the way at the sender's side, which is this process, too */
    CHECK_OK(covey_conn_recv_fd(p.b, &got, COVEY_SEC(20)));
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    close(got);
    free_and_await_end(&p);
}

/* Over a socket one place is enough, and a message that comes changes nothing. */
TEST(without_a_place_for_a_descriptor_it_stays_in_a_socket)
{
    struct pair p = sockets_new();
    struct rlimit limit, few;
    int got = -1, place = dup(0);
    CHECK_OK(covey_conn_send_fd(p.a, 0, COVEY_NOWAIT));
    send_text(p.a, "behind");
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = (rlim_t)place + 1;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (int i = 0; i < 2; i++)
        CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_SEC(20)), -EMFILE);
    close(place);
    CHECK_OK(covey_conn_recv_fd(p.b, &got, COVEY_SEC(20)));
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_EQ(got, place);
    close(got);
    recv_text(p.b, "behind");
    pair_free(&p);
}

/* Over a socket it is closed, and what follows it is received. */
TEST(descriptor_in_place_of_a_message_is_told_and_begins_no_message)
{
    const int on = 1;
    for (int mode = 0; mode < 4; mode++) {
        struct pair p = sockets_new();
        struct covey_bytes bytes = {0};
        bool answers = mode & 1;
        int fd = -1;
        CHECK_OK(covey_conn_set_fd_answers(p.a, answers));
        CHECK_OK(covey_conn_set_fd_answers(p.b, answers));
        CHECK_OK(covey_conn_fd(p.b, &fd));
        if (mode & 2) /* comes with each message, as a descriptor would */
            CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
        for (int i = 0; i < 2; i++)
            CHECK_OK(covey_conn_send_fd(p.a, 0, COVEY_NOWAIT));
        send_text(p.a, "behind");
        for (int i = 0; i < 2; i++) {
            CHECK_ERR(covey_conn_recv(p.b, &bytes, COVEY_SEC(20)), COVEY_EPROTOCOL);
            CHECK_STR_HAS(covey_error_detail(), "descriptor");
        }
        recv_text(p.b, "behind");
        send_text(p.b, "back"); /* behind two answers */
        recv_text(p.a, "back");
        CHECK_OK(covey_conn_send_fd(p.a, 0, COVEY_NOWAIT));
        CHECK_OK(covey_conn_recv_fd(p.b, &fd, COVEY_SEC(20)));
        close(fd);
        covey_bytes_free(&bytes);
        pair_free(&p);
    }
}

/* Over a pipe the sender's copy goes, too. */
TEST(descriptor_in_place_of_a_message_is_dropped_at_its_sender)
{
    struct pair p = pair_new(NULL);
    struct covey_bytes bytes = {0};
    covey_value *value = NULL;
    char to[100];
    size_t size;
    for (int i = 0; i < 5; i++) {
        int ends[2], r = 0;
        CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
        CHECK_OK(covey_conn_send_fd(p.a, ends[1], COVEY_NOWAIT));
        close(ends[1]);
        send_text(p.a, "behind");
        if (i < 2) /* the second time there is memory for it */
            r = covey_conn_recv(p.b, &bytes, COVEY_SEC(20));
        else if (i == 2)
            r = covey_conn_recv_into(p.b, to, sizeof to, &size, COVEY_SEC(20));
        else if (i == 3)
            r = covey_conn_recv_max(p.b, &bytes, 3, COVEY_SEC(20));
        else
            r = covey_conn_recv_value(p.b, &value, NULL, COVEY_SEC(20));
        CHECK_ERR(r, COVEY_EPROTOCOL);
        CHECK_STR_HAS(covey_error_detail(), "a descriptor came in place of a message");
        CHECK_EQ(read(ends[0], to, 1), 0); /* nobody has it any more */
        recv_text(p.b, "behind");
        close(ends[0]);
    }
    covey_bytes_free(&bytes);
    free_and_await_end(&p);
}

/* What a descriptor is sent as is no message that a program could send. */
TEST(message_that_looks_like_a_descriptor_is_a_message)
{
    struct pair p = pair_new(NULL);
    struct covey_bytes bytes = {0};
    char looks[72] = "covey fd";
    int got = -1;
    for (size_t size = 40; size <= sizeof looks; size += 8) {
        CHECK_OK(covey_conn_send(p.a, COVEY_VIEW(looks, size), COVEY_NOWAIT));
        CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_NOWAIT), COVEY_EPROTOCOL);
        CHECK_OK(covey_conn_recv(p.b, &bytes, COVEY_NOWAIT));
        CHECK_EQ(bytes.size, size);
        CHECK_MEM_EQ(bytes.data, looks, size);
    }
    covey_bytes_free(&bytes);
    pair_free(&p);
}

TEST(message_in_place_of_a_descriptor_stays)
{
    struct pair p = sockets_new();
    struct covey_bytes bytes = {0};
    int got = -1;
    static char large[300000];
    for (int pipes = 0; pipes < 2; pipes++) {
        send_text(p.a, "hello");
        for (int i = 0; i < 2; i++)
            CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_SEC(20)), COVEY_EPROTOCOL);
        recv_text(p.b, "hello");
        int sent = covey_conn_send(p.a, COVEY_VIEW_OF(large), COVEY_NOWAIT);
        CHECK_EQ(sent, pipes ? 0 : COVEY_PENDING);
        CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_SEC(20)), COVEY_EPROTOCOL);
        int came = covey_conn_recv(p.b, &bytes, COVEY_NOWAIT);
        CHECK_EQ(came, pipes ? 0 : -ETIMEDOUT);
        pair_free(&p);
        p = pair_new(NULL);
    }
    CHECK_EQ(got, -1);
    covey_bytes_free(&bytes);
    pair_free(&p);
}

TEST(message_before_a_descriptor_comes_first)
{
    struct pair p = sockets_new();
    int got = -1;
    send_text(p.a, "hello");
    CHECK_OK(covey_conn_send_fd(p.a, 0, COVEY_NOWAIT));
    CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_SEC(20)), COVEY_EPROTOCOL);
    recv_text(p.b, "hello");
    CHECK_OK(covey_conn_recv_fd(p.b, &got, COVEY_SEC(20)));
    CHECK_OK(close(got));
    pair_free(&p);
}

static void offer_and_go(void)
{
    struct pair p = pair_new(NULL);
    int ends[2], got = -1;
    char byte;
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_OK(covey_conn_send_fd(p.a, ends[1], COVEY_NOWAIT));
    close(ends[1]);
    covey_conn_free(p.a);
    CHECK_EQ(read(ends[0], &byte, 1), 0);
    CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_SEC(5)), COVEY_EPEERDIED);
    CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_SEC(5)), COVEY_EEOF);
    close(ends[0]);
    covey_conn_free(p.b);
}

/* Many times: who comes to fetch may find the sender's thread at any step of its end. */
TEST(what_nobody_fetched_goes_with_the_pipe)
{
    for (int i = 0; i < 500; i++)
        offer_and_go();
}

/* Whoever has another hold goes on with all of it. */
TEST(what_is_offered_stays_until_the_last_hold_is_dropped)
{
    struct pair p = pair_new(NULL);
    int got = -1;
    CHECK_OK(covey_hold(p.a));
    CHECK_OK(covey_conn_send_fd(p.a, 0, COVEY_NOWAIT));
    covey_conn_free(p.a);
    CHECK_OK(covey_conn_recv_fd(p.b, &got, COVEY_SEC(20)));
    close(got);
    free_and_await_end(&p);
}

#define AT_ONCE 60 /* are let in */

/* As many as are let in have asked for half, when the next one comes. */
TEST(one_more_than_are_let_in_sends_nobody_away)
{
    struct pair p = pair_new(NULL);
    struct cvy_ticket tickets[AT_ONCE + 1];
    int fds[AT_ONCE + 1];
    for (int i = 0; i <= AT_ONCE; i++)
        tickets[i] = offered(p, 0);
    int before = count_fds();
    for (int i = 0; i < AT_ONCE; i++) {
        fds[i] = connect_to(tickets[i].name);
        CHECK_EQ(write(fds[i], tickets[i].key, 4), 4);
    }
    while (count_fds() <
           before + 2 * AT_ONCE) /* the thread, which is of this process */
        cvy_os_yield();
    fds[AT_ONCE] = connect_to(tickets[AT_ONCE].name);
    CHECK_EQ(write(fds[AT_ONCE], tickets[AT_ONCE].key, 4), 4);
    for (int i = 0; i <= AT_ONCE; i++) {
        CHECK_EQ(write(fds[i], (const char *)tickets[i].key + 4, 4), 4);
        await_something(fds[i]);
        int got = taken(fds[i], &tickets[i]);
        CHECK_GE(got, 0);
        close(got);
        close(fds[i]);
    }
    free_and_await_end(&p);
}

static void errors_of(struct pair p)
{
    int got = -1;
    CHECK_ERR(covey_conn_send_fd(p.a, -1, COVEY_NOWAIT), -EBADF);
    CHECK_ERR(covey_conn_send_fd(NULL, 0, COVEY_NOWAIT), -EINVAL);
    CHECK_ERR(covey_conn_recv_fd(p.b, NULL, COVEY_NOWAIT), -EINVAL);
    CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_MSEC(2)), -ETIMEDOUT);
    send_text(p.a, "");
    CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_NOWAIT), COVEY_EPROTOCOL);
    covey_conn_free(p.a);
    CHECK_EQ(got, -1);
}

TEST(errors_are_told_apart)
{
    struct pair p = pair_new(NULL);
    int got = -1, ends[2];
    errors_of(p);
    recv_text(p.b, "");
    CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_NOWAIT), COVEY_EEOF);
    CHECK_ERR(covey_conn_send_fd(p.b, 0, COVEY_NOWAIT), -EPIPE);
    covey_conn_free(p.b);
    p = sockets_new();
    errors_of(p);
    recv_text(p.b, "");
    CHECK_ERR(covey_conn_recv_fd(p.b, &got, COVEY_NOWAIT), COVEY_EEOF);
    covey_conn_free(p.b);
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_OK(covey_conn_open_fd(&p.a, ends[0], NULL));
    CHECK_OK(covey_conn_open_fd(&p.b, ends[1], NULL));
    CHECK_ERR(covey_conn_recv_fd(p.a, &got, COVEY_NOWAIT), -ENOTSUP);
    CHECK_ERR(covey_conn_send_fd(p.b, 0, COVEY_NOWAIT), -ENOTSUP);
    CHECK_ERR(covey_conn_send_fd(p.a, 0, COVEY_NOWAIT), -EBADF);
    free_and_await_end(&p);
}

TEST(descriptor_does_not_come_in_the_middle_of_a_message)
{
    struct bare b = bare_new();
    struct covey_bytes bytes = {0};
    int got = -1;
    write_hex(b.fd, "0000");
    CHECK_ERR(covey_conn_recv(b.conn, &bytes, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_conn_recv_fd(b.conn, &got, COVEY_NOWAIT), COVEY_ESTATE);
    bare_free(&b);
}

/* ---- between processes ---- */

static int write_to_what_comes(struct covey_view arg)
{
    const struct pair *p = arg.data;
    int fd = -1;
    CHECK_OK(covey_conn_recv_fd(p->b, &fd, COVEY_SEC(20)));
    CHECK_EQ(write(fd, "child", 5), 5);
    close(fd);
    return 0;
}

TEST_EACH_METHOD(child_gets_a_descriptor)
{
    struct pair p = pair_new(NULL);
    char text[8] = "";
    int ends[2];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    covey_process *child = started(write_to_what_comes, COVEY_VIEW_OF(p), OPTS());
    CHECK_OK(covey_conn_send_fd(p.a, ends[1], COVEY_SEC(20)));
    close(ends[1]);
    CHECK_EQ(read(ends[0], text, sizeof text), 5);
    CHECK_STR_EQ(text, "child");
    CHECK_EQ(end_of(child), 0);
    close(ends[0]);
    free_and_await_end(&p);
}

static int send_one_back(struct covey_view arg)
{
    const struct pair *p = arg.data;
    int ends[2];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_EQ(write(ends[1], "from the child", 14), 14);
    CHECK_OK(covey_conn_send_fd(p->b, ends[0], COVEY_SEC(20)));
    recv_text(p->b, "got it");
    close(ends[0]);
    close(ends[1]);
    return 0;
}

TEST_EACH_METHOD(parent_gets_a_descriptor)
{
    struct pair p = pair_new(NULL);
    char text[16] = "";
    int fd = -1;
    covey_process *child = started(send_one_back, COVEY_VIEW_OF(p), OPTS());
    CHECK_OK(covey_conn_recv_fd(p.a, &fd, COVEY_SEC(20)));
    CHECK_EQ(read(fd, text, sizeof text), 14);
    CHECK_STR_EQ(text, "from the child");
    send_text(p.a, "got it");
    close(fd);
    CHECK_EQ(end_of(child), 0);
    free_and_await_end(&p);
}

TEST(fork_child_forgets_what_its_parent_offered)
{
    struct pair p = pair_new(NULL);
    int ends[2], got = -1;
    char byte;
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    forks_beside_threads();
    CHECK_OK(covey_conn_send_fd(p.a, ends[1], COVEY_NOWAIT));
    close(ends[1]);
    int pid = family_fork();
    if (!pid) {
        for (;;)
            pause();
    }
    CHECK_OK(covey_conn_recv_fd(p.b, &got, COVEY_SEC(20)));
    close(got);
    /* The child has no copy of it that would keep the pipe open. */
    CHECK_EQ(read(ends[0], &byte, 1), 0);
    family_kill(pid);
    close(ends[0]);
    free_and_await_end(&p);
}

/* ---- CPython's own ---- */

static const char handles[] =
    "import os, sys\n"
    "from multiprocessing.connection import Connection\n"
    "from multiprocessing import reduction\n"
    "from multiprocessing.reduction import recv_handle, send_handle\n"
    "reduction.ACKNOWLEDGE = sys.argv[2] == 'answers'\n"
    "c = Connection(int(sys.argv[1]))\n"
    "h = recv_handle(c)\n"
    "os.write(h, b'written by python')\n"
    "r, w = os.pipe()\n"
    "os.write(w, b'made by python')\n"
    "c.send_bytes(b'between')\n"
    "send_handle(c, r, None)\n"
    "c.send_bytes(b'behind')\n"
    "assert c.recv_bytes() == b'done'\n";

/* One way and back. `answers`: as from 3.14 on; older ones can be made to do so. */
static void exchange_with(const struct python *python, bool answers)
{
    int ends[2], ours[2], out, got = -1;
    char number[16], text[32] = "";
    covey_conn *conn;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    CHECK_EQ(fcntl(ends[0], F_SETFD, FD_CLOEXEC), 0);
    CHECK_OK(covey_conn_open_fd(&conn, ends[0], NULL));
    CHECK_OK(covey_conn_set_fd_answers(conn, answers));
    snprintf(number, sizeof number, "%d", ends[1]);
    CHECK_EQ(pipe2(ours, O_CLOEXEC), 0);
    int pid = fork();
    if (!pid) {
        execl(python->path, python->path, "-c", handles, number,
              answers ? "answers" : "", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    CHECK_OK(covey_conn_send_fd(conn, ours[1], COVEY_SEC(20)));
    CHECK_EQ(read(ours[0], text, sizeof text), 17);
    CHECK_STR_EQ(text, "written by python");
    recv_text(conn, "between");
    CHECK_OK(covey_conn_recv_fd(conn, &got, COVEY_SEC(20)));
    memset(text, 0, sizeof text);
    CHECK_EQ(read(got, text, sizeof text), 14);
    CHECK_STR_EQ(text, "made by python");
    recv_text(conn, "behind");
    send_text(conn, "done");
    CHECK_EQ(waitpid(pid, &out, 0), pid);
    CHECK_EQ(out, 0);
    close(got);
    close(ours[0]);
    close(ours[1]);
    covey_conn_free(conn);
}

TEST_TIMEOUT(cpython_sends_and_receives_descriptors, 120)
{
    struct python pythons[16];
    size_t count = pythons_find(6, pythons, 16);
    for (size_t i = 0; i < count; i++) {
        if (pythons[i].minor < 14)
            exchange_with(&pythons[i], false);
        exchange_with(&pythons[i], true);
    }
}

TEST(answers_are_told_from_messages)
{
    struct bare b = bare_new();
    struct covey_bytes bytes = {0};
    unsigned char byte;
    int got = -1;
    CHECK_OK(covey_conn_set_fd_answers(b.conn, true));
    for (int i = 0; i < 4; i++) {
        CHECK_OK(covey_conn_send_fd(b.conn, 0, COVEY_NOWAIT));
        CHECK_EQ(cvy_os_stream_recv_fd(b.fd, &byte, &got), 1);
        close(got);
    }
    write_hex(b.fd, "41 41"); /* two answers, and nothing behind them */
    CHECK_ERR(covey_conn_recv(b.conn, &bytes, COVEY_NOWAIT), -ETIMEDOUT);
    write_hex(b.fd, "00000001 41 41 41 00000002 6869"); /* a message between two more */
    recv_text(b.conn, "A");
    recv_text(b.conn, "hi");
    write_hex(b.fd, "41"); /* one too many: a message of 1 GiB and more begins */
    CHECK_ERR(covey_conn_recv(b.conn, &bytes, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_conn_recv_fd(b.conn, &got, COVEY_NOWAIT), COVEY_ESTATE);
    bare_free(&b);
}

/* Send as long as there is room for anything. Returns: how many bytes went out. */
static size_t fill_way(covey_conn *conn)
{
    size_t size = 0;
    int r;
    while ((r = covey_conn_send(conn, COVEY_VIEW("x", 1), COVEY_NOWAIT)) == 0)
        size += 5;
    CHECK_ERR(r, -ETIMEDOUT);
    return size;
}

static void drop_bytes(int fd, size_t size)
{
    static char bytes[4096];
    while (size) {
        ssize_t n = read(fd, bytes, size < sizeof bytes ? size : sizeof bytes);
        CHECK_GT(n, 0);
        size -= (size_t)n;
    }
}

TEST(answer_for_which_there_was_no_room_goes_out_with_what_is_next)
{
    struct bare b = bare_new();
    int got = -1;
    CHECK_OK(covey_conn_set_fd_answers(b.conn, true));
    for (int flushes = 0; flushes < 2; flushes++) {
        size_t size = fill_way(b.conn);
        for (int i = 0; i < 2; i++) {
            CHECK_EQ(cvy_os_stream_send_fd(b.fd, 1, 0), 0);
            CHECK_OK(covey_conn_recv_fd(b.conn, &got, COVEY_NOWAIT));
            close(got);
        }
        CHECK_ERR(covey_conn_flush(b.conn, COVEY_NOWAIT), -ETIMEDOUT);
        CHECK_ERR(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_NOWAIT),
                  -ETIMEDOUT);
        drop_bytes(b.fd, size);
        if (flushes)
            CHECK_OK(covey_conn_flush(b.conn, COVEY_NOWAIT));
        else
            send_text(b.conn, "hi");
        reads_hex(b.fd, flushes ? "41 41" : "41 41 00000002 6869");
    }
    bare_free(&b);
}

TEST(two_that_answer_pass_descriptors_both_ways)
{
    struct pair p = sockets_new();
    CHECK_OK(covey_conn_set_fd_answers(p.a, true));
    CHECK_OK(covey_conn_set_fd_answers(p.b, true));
    for (int i = 0; i < 3; i++) {
        passes(p);
        passes((struct pair){p.b, p.a});
    }
    pair_free(&p);
    p = pair_new(NULL);
    CHECK_ERR(covey_conn_set_fd_answers(p.a, true), -ENOTSUP);
    pair_free(&p);
}

CHECK_MAIN()
