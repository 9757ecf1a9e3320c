/* SPDX-License-Identifier: MIT */
/* The system contract: descriptors, messages between processes, random bytes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fds.h"
#include "os_help.h"

/* ---- helpers ------------------------------------------------------------------ */

static void close_both(const int ends[2])
{
    cvy_os_close(ends[0]);
    cvy_os_close(ends[1]);
}

static bool is_same_file(int a, int b)
{
    struct cvy_os_file_id one, other;

    CHECK_EQ(cvy_os_file_id(a, &one), 0);
    CHECK_EQ(cvy_os_file_id(b, &other), 0);
    return one.device == other.device && one.inode == other.inode;
}

/* At most `count` more descriptors can be opened from now on. */
static void allow_descriptors(int count)
{
    struct rlimit limit = {0, 0};
    int lowest = dup(0);

    close(lowest);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)lowest + (rlim_t)count;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void in_child(void (*body)(void))
{
    pid_t pid = fork();

    if (pid == 0) {
        body();
        _exit(0);
    }
    CHECK_EQ(reap(pid), 0);
}

/* ---- making and closing ------------------------------------------------------- */

TEST(descriptors_are_close_on_exec)
{
    int pipe_ends[2], socket_ends[2];
    int null = cvy_os_open_null(), ready = cvy_os_ready_fd(), copy;

    CHECK_EQ(cvy_os_pipe(pipe_ends), 0);
    CHECK_EQ(cvy_os_socketpair(socket_ends), 0);
    copy = cvy_os_dup(null, 50);
    CHECK_GE(copy, 50);
    CHECK_EQ(fcntl(null, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(ready, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(copy, F_GETFD), FD_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(fcntl(pipe_ends[i], F_GETFD), FD_CLOEXEC);
        CHECK_EQ(fcntl(socket_ends[i], F_GETFD), FD_CLOEXEC);
    }
    close_both(pipe_ends);
    close_both(socket_ends);
    cvy_os_close(null);
    cvy_os_close(ready);
    cvy_os_close(copy);
}

TEST(close_gives_the_closed_value)
{
    int fd = cvy_os_open_null();

    errno = EDOM;
    fd = cvy_os_close(fd);
    CHECK_EQ(fd, -1);
    CHECK_EQ(cvy_os_close(fd), -1);
    CHECK_EQ(cvy_os_close(1000000), -1);
    CHECK_EQ(errno, EDOM);
}

static void want_more_descriptors(void)
{
    int ends[2] = {-7, -7};

    allow_descriptors(0);
    CHECK_EQ(cvy_os_pipe(ends), -EMFILE);
    CHECK_EQ(cvy_os_socketpair(ends), -EMFILE);
    CHECK_EQ(ends[0], -7);
    CHECK_EQ(ends[1], -7);
    CHECK_EQ(cvy_os_open_null(), -EMFILE);
    CHECK_EQ(cvy_os_ready_fd(), -EMFILE);
    CHECK_EQ(cvy_os_dup(0, 0), -EMFILE);
    CHECK_EQ(cvy_os_memfd_create("test", 1), -EMFILE);
    CHECK_EQ(cvy_os_pidfd_open(cvy_os_pid()), -EMFILE);
}

TEST(no_descriptors_left_is_an_error)
{
    in_child(want_more_descriptors);
}

TEST(ready_descriptor_polls_readable)
{
    int fd = cvy_os_ready_fd();

    CHECK_EQ(cvy_os_poll_in(fd, 0), 1);
    CHECK_EQ(cvy_os_poll_in(fd, INT64_MAX), 1);
    cvy_os_close(fd);
}

TEST(null_device_takes_and_gives_nothing)
{
    int fd = cvy_os_open_null();
    char byte;

    CHECK_EQ(cvy_os_write_all(fd, "abc", 3), 0);
    CHECK_EQ(cvy_os_read(fd, &byte, 1), 0);
    cvy_os_close(fd);
}

static void copy_onto_numbers(void)
{
    int fd = cvy_os_open_null();

    CHECK_EQ(cvy_os_dup_to(fd, 60), 0);
    CHECK(is_same_file(fd, 60));
    CHECK_EQ(fcntl(60, F_GETFD), 0); /* stays open over exec */
    CHECK_EQ(cvy_os_dup_to(fd, fd), 0);
    CHECK_EQ(fcntl(fd, F_GETFD), 0);
    CHECK_EQ(cvy_os_dup_to(999, 60), -EBADF);
    CHECK_EQ(cvy_os_dup_to(999, 999), -EBADF);
    CHECK(is_same_file(fd, 60));
    CHECK_EQ(cvy_os_dup(999, 0), -EBADF);
}

TEST(dup_to_makes_an_inheritable_copy)
{
    in_child(copy_onto_numbers);
}

static void open_some(void)
{
    for (int fd = 20; fd < 120; fd += 7)
        CHECK_EQ(cvy_os_dup_to(0, fd), 0);
    CHECK_EQ(cvy_os_dup_to(0, 1000), 0);
}

static void check_closed_from_20(void)
{
    CHECK_EQ(cvy_os_close_from(20), 0);
    for (int fd = 20; fd <= 1000; fd++)
        CHECK(!is_open(fd));
    CHECK(is_open(0) && is_open(2));
}

static void close_open_descriptors(void)
{
    open_some();
    check_closed_from_20();
}

static void close_without_close_range(void)
{
    open_some();
    deny(SYS_close_range, EPERM);
    check_closed_from_20();
}

/* With a soft limit below the descriptors that are open, and without /proc. */
static void close_without_proc(void)
{
    struct rlimit limit = {0, 0};

    open_some();
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 30;
    setrlimit(RLIMIT_NOFILE, &limit);
    deny(SYS_close_range, ENOSYS);
    deny(SYS_openat, ENOENT);
    check_closed_from_20();
}

TEST(close_from_closes_all_above)
{
    in_child(close_open_descriptors);
}

TEST(close_from_needs_no_close_range)
{
    in_child(close_without_close_range);
}

TEST(close_from_needs_no_proc)
{
    in_child(close_without_proc);
}

/* ---- polling, reading, writing ------------------------------------------------ */

TEST(poll_ends_at_the_deadline)
{
    int64_t deadline;
    int ends[2];

    CHECK_EQ(cvy_os_pipe(ends), 0);
    CHECK_EQ(cvy_os_poll_in(ends[0], 0), 0);
    deadline = cvy_os_deadline(COVEY_MSEC(20));
    CHECK_EQ(cvy_os_poll_in(ends[0], deadline), 0);
    CHECK_GE(cvy_os_now(), deadline);
    close_both(ends);
}

TEST(poll_sees_data_and_hangup)
{
    int ends[2];

    CHECK_EQ(cvy_os_pipe(ends), 0);
    CHECK_EQ(cvy_os_write_all(ends[1], "x", 1), 0);
    CHECK_EQ(cvy_os_poll_in(ends[0], 0), 1);
    CHECK_EQ(cvy_os_read(ends[0], &(char){0}, 1), 1);
    CHECK_EQ(cvy_os_poll_in(ends[0], 0), 0);
    cvy_os_close(ends[1]);
    CHECK_EQ(cvy_os_poll_in(ends[0], INT64_MAX), 1);
    cvy_os_close(ends[0]);
    CHECK_EQ(cvy_os_poll_in(ends[0], 0), -EBADF);
    CHECK_EQ(cvy_os_poll_in(-1, 0), -EBADF);
}

TEST(read_now_does_not_wait)
{
    char bytes[4] = "";
    int ends[2];

    CHECK_EQ(cvy_os_pipe(ends), 0);
    CHECK_EQ(cvy_os_read_now(ends[0], bytes, 3), -EAGAIN);
    CHECK_EQ(cvy_os_write_all(ends[1], "abcde", 5), 0);
    CHECK_EQ(cvy_os_read_now(ends[0], bytes, 3), 3);
    CHECK_STR_EQ(bytes, "abc");
    CHECK_EQ(cvy_os_read_now(ends[0], bytes, 3), 2);
    cvy_os_close(ends[1]);
    CHECK_EQ(cvy_os_read_now(ends[0], bytes, 3), 0);
    cvy_os_close(ends[0]);
    CHECK_EQ(cvy_os_read_now(ends[0], bytes, 3), -EBADF);
    CHECK_EQ(cvy_os_read(ends[0], bytes, 3), -EBADF);
}

enum { MUCH = 1 << 20 };

static void check_write_all(int reader, int writer)
{
    static char out[MUCH], in[MUCH];
    size_t done = 0;
    pid_t pid;

    for (size_t i = 0; i < MUCH; i++)
        out[i] = (char)(i * 7 + i / 256);
    pid = fork();
    if (pid == 0)
        _exit(cvy_os_write_all(writer, out, MUCH) != 0);
    await_sleep(pid); /* it does not fit */
    while (done < MUCH) {
        ssize_t r = cvy_os_read(reader, in + done, MUCH - done);

        CHECK_GT(r, 0);
        done += (size_t)r;
    }
    CHECK_EQ(reap(pid), 0);
    CHECK_MEM_EQ(in, out, MUCH);
}

TEST(write_all_writes_all)
{
    int ends[2];

    CHECK_EQ(cvy_os_pipe(ends), 0);
    check_write_all(ends[0], ends[1]);
    CHECK_EQ(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    check_write_all(ends[0], ends[1]);
    close_both(ends);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    check_write_all(ends[0], ends[1]);
    close_both(ends);
}

TEST(write_to_what_nobody_reads_is_no_signal)
{
    int ends[2];

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    cvy_os_close(ends[0]);
    CHECK_EQ(cvy_os_write_all(ends[1], "x", 1), -EPIPE);
    CHECK_EQ(cvy_os_send(ends[1], "x", 1, NULL, 0), -EPIPE);
    cvy_os_close(ends[1]);
    CHECK_EQ(cvy_os_write_all(ends[1], "x", 1), -EBADF);
    CHECK_EQ(cvy_os_pipe(ends), 0);
    cvy_os_close(ends[0]);
    CHECK_EQ(cvy_os_write_all(ends[1], "x", 1), -EPIPE);
    cvy_os_close(ends[1]);
}

TEST(write_gives_up_where_nothing_is_read)
{
    static const char many[65537];
    int ends[2];

    CHECK_EQ(cvy_os_pipe(ends), 0);
    CHECK_EQ(cvy_os_write_patiently(ends[1], many, 65536, 0), 0);
    CHECK_EQ(cvy_os_write_patiently(ends[1], many, 1, 0), -ETIMEDOUT);
    close_both(ends);
}

/* ---- messages ----------------------------------------------------------------- */

TEST(message_arrives_whole)
{
    char bytes[16] = "";
    int ends[2];

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    CHECK_EQ(cvy_os_send(ends[0], "first", 5, NULL, 0), 0);
    CHECK_EQ(cvy_os_send(ends[0], "second", 6, NULL, 0), 0);
    CHECK_EQ(cvy_os_recv(ends[1], bytes, 16, NULL, 0, NULL, 0), 5);
    CHECK_STR_EQ(bytes, "first");
    CHECK_EQ(cvy_os_recv(ends[1], bytes, 6, NULL, 0, NULL, INT64_MAX), 6);
    CHECK_STR_EQ(bytes, "second");
    CHECK_EQ(cvy_os_recv(ends[1], bytes, 16, NULL, 0, NULL, 0), -ETIMEDOUT);
    cvy_os_close(ends[0]);
    CHECK_EQ(cvy_os_recv(ends[1], bytes, 16, NULL, 0, NULL, INT64_MAX), 0);
    cvy_os_close(ends[1]);
    CHECK_EQ(cvy_os_recv(ends[1], bytes, 16, NULL, 0, NULL, 0), -EBADF);
}

TEST(message_that_is_empty_is_refused)
{
    int ends[2], fds[65] = {0};

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    CHECK_EQ(cvy_os_send(ends[0], "", 0, NULL, 0), -EINVAL);
    CHECK_EQ(cvy_os_send(ends[0], "x", 1, fds, 65), -EINVAL);
    fds[0] = 999;
    CHECK_EQ(cvy_os_send(ends[0], "x", 1, fds, 1), -EBADF);
    close_both(ends);
}

TEST(receive_ends_at_the_deadline)
{
    int64_t deadline;
    int ends[2];

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    deadline = cvy_os_deadline(COVEY_MSEC(20));
    CHECK_EQ(cvy_os_recv(ends[0], &(char){0}, 1, NULL, 0, NULL, deadline), -ETIMEDOUT);
    CHECK_GE(cvy_os_now(), deadline);
    close_both(ends);
}

TEST(message_too_long_is_an_error_and_gone)
{
    char bytes[4];
    int ends[2];

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    CHECK_EQ(cvy_os_send(ends[0], "12345", 5, NULL, 0), 0);
    CHECK_EQ(cvy_os_send(ends[0], "12", 2, NULL, 0), 0);
    CHECK_EQ(cvy_os_recv(ends[1], bytes, 4, NULL, 0, NULL, 0), -EMSGSIZE);
    CHECK_EQ(cvy_os_recv(ends[1], bytes, 4, NULL, 0, NULL, 0), 2);
    close_both(ends);
}

TEST(peer_that_left_without_reading_is_no_reset)
{
    char bytes[4];
    int ends[2];

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    CHECK_EQ(cvy_os_send(ends[1], "unread", 6, NULL, 0), 0);
    CHECK_EQ(cvy_os_send(ends[0], "last", 4, NULL, 0), 0);
    cvy_os_close(ends[0]);
    CHECK_EQ(cvy_os_recv(ends[1], bytes, 4, NULL, 0, NULL, INT64_MAX), 4);
    CHECK_EQ(cvy_os_recv(ends[1], bytes, 4, NULL, 0, NULL, INT64_MAX), 0);
    cvy_os_close(ends[1]);
}

static void *send_and_close(void *argument)
{
    int *end = argument;

    CHECK_EQ(cvy_os_send(*end, "last", 4, NULL, 0), 0);
    cvy_os_close(*end);
    return NULL;
}

/* Between the kernel's look for a message and its look for the end, both may come. */
TEST(message_before_the_end_is_not_lost)
{
    for (int i = 0; i < 10000; i++) {
        char bytes[8];
        pthread_t thread;
        int ends[2];

        CHECK_EQ(cvy_os_socketpair(ends), 0);
        CHECK_EQ(pthread_create(&thread, NULL, send_and_close, &ends[1]), 0);
        for (int spin = 0; spin < i % 200 * 20; spin++)
            cvy_os_pause();
        CHECK_EQ(cvy_os_recv(ends[0], bytes, 8, NULL, 0, NULL, INT64_MAX), 4);
        CHECK_EQ(cvy_os_recv(ends[0], bytes, 8, NULL, 0, NULL, INT64_MAX), 0);
        pthread_join(thread, NULL);
        cvy_os_close(ends[0]);
    }
}

TEST(send_waits_for_room)
{
    static char big[60000];
    int ends[2];
    pid_t pid;

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    CHECK_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 30; i++)
            CHECK_EQ(cvy_os_send(ends[0], big, sizeof(big), NULL, 0), 0);
        _exit(0);
    }
    await_sleep(pid);
    for (int i = 0; i < 30; i++)
        CHECK_EQ(cvy_os_recv(ends[1], big, sizeof(big), NULL, 0, NULL, INT64_MAX),
                 sizeof(big));
    CHECK_EQ(reap(pid), 0);
    close_both(ends);
}

static void ignore_signal(int signal)
{
    (void)signal;
}

TEST(receive_and_read_restart_after_signals)
{
    struct sigaction action = {.sa_handler = ignore_signal};
    int ends[2], pipe_ends[2];
    pid_t pid;

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    CHECK_EQ(cvy_os_pipe(pipe_ends), 0);
    pid = fork();
    if (pid == 0) {
        char bytes[4];

        sigaction(SIGUSR1, &action, NULL);
        CHECK_EQ(cvy_os_recv(ends[1], bytes, 4, NULL, 0, NULL, INT64_MAX), 1);
        CHECK_EQ(cvy_os_read(pipe_ends[0], bytes, 4), 2);
        _exit(0);
    }
    await_sleep(pid);
    kill(pid, SIGUSR1);
    await_sleep(pid);
    CHECK_EQ(cvy_os_send(ends[0], "x", 1, NULL, 0), 0);
    await_sleep(pid);
    kill(pid, SIGUSR1);
    await_sleep(pid);
    CHECK_EQ(cvy_os_write_all(pipe_ends[1], "xy", 2), 0);
    CHECK_EQ(reap(pid), 0);
    close_both(ends);
    close_both(pipe_ends);
}

/* ---- descriptors in messages -------------------------------------------------- */

TEST(message_carries_descriptors)
{
    int ends[2], pipe_ends[2], fds[2] = {-1, -1};
    size_t count = 9;
    char bytes[4];

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    CHECK_EQ(cvy_os_pipe(pipe_ends), 0);
    CHECK_EQ(cvy_os_send(ends[0], "x", 1, pipe_ends, 2), 0);
    CHECK_EQ(cvy_os_send(ends[0], "y", 1, NULL, 0), 0);
    CHECK_EQ(cvy_os_recv(ends[1], bytes, 4, fds, 2, &count, 0), 1);
    CHECK_EQ(count, 2);
    CHECK(is_same_file(fds[0], pipe_ends[0]) && is_same_file(fds[1], pipe_ends[1]));
    CHECK_EQ(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(cvy_os_recv(ends[1], bytes, 4, NULL, 0, &count, 0), 1);
    CHECK_EQ(count, 0);
    close_both(fds);
    close_both(ends);
    close_both(pipe_ends);
}

TEST(message_carries_64_descriptors)
{
    int ends[2], out[64], in[64];
    size_t count = 0;
    char byte;

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    for (int i = 0; i < 64; i++)
        out[i] = ends[0];
    CHECK_EQ(cvy_os_send(ends[0], "x", 1, out, 64), 0);
    CHECK_EQ(cvy_os_recv(ends[1], &byte, 1, in, 64, &count, 0), 1);
    CHECK_EQ(count, 64);
    for (int i = 0; i < 64; i++)
        cvy_os_close(in[i]);
    close_both(ends);
}

/* The harness sees descriptors that are left behind. */
TEST(descriptors_that_do_not_fit_are_closed)
{
    int ends[2], out[3], in[2] = {-7, -7};
    size_t count = 99;
    char byte;

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    out[0] = out[1] = out[2] = ends[0];
    CHECK_EQ(cvy_os_send(ends[0], "x", 1, out, 3), 0);
    CHECK_EQ(cvy_os_recv(ends[1], &byte, 1, in, 2, &count, 0), -EMSGSIZE);
    CHECK_EQ(cvy_os_send(ends[0], "x", 1, out, 1), 0);
    CHECK_EQ(cvy_os_recv(ends[1], &byte, 1, NULL, 0, NULL, 0), -EMSGSIZE);
    CHECK_EQ(cvy_os_send(ends[0], "xy", 2, out, 2), 0);
    CHECK_EQ(cvy_os_recv(ends[1], &byte, 1, in, 2, &count, 0), -EMSGSIZE);
    CHECK_EQ(in[0], -7);
    CHECK_EQ(count, 99);
    close_both(ends);
}

/* As many as only another implementation would send. */
TEST(more_than_64_descriptors_are_closed)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(100 * sizeof(int))];
    } control = {.bytes = ""};
    char byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    int ends[2], in[64];

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    message.msg_control = &control;
    message.msg_controllen = sizeof(control);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(100 * sizeof(int));
    for (int i = 0; i < 100; i++)
        memcpy(CMSG_DATA(&control.header) + sizeof(int) * (size_t)i, &ends[0],
               sizeof(int));
    CHECK_EQ(sendmsg(ends[0], &message, 0), 1);
    CHECK_EQ(cvy_os_recv(ends[1], &byte, 1, in, 64, NULL, 0), -EMSGSIZE);
    close_both(ends);
}

static void receive_over_the_limit(void)
{
    int ends[2], out[5] = {0, 0, 0, 0, 0}, in[5];
    size_t count = 0;
    char byte;
    int next;

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    CHECK_EQ(cvy_os_send(ends[0], "x", 1, out, 5), 0);
    allow_descriptors(3);
    CHECK_EQ(cvy_os_recv(ends[1], &byte, 1, in, 5, &count, 0), -EMFILE);
    CHECK_EQ(cvy_os_send(ends[0], "x", 1, out, 3), 0); /* three are free again */
    CHECK_EQ(cvy_os_recv(ends[1], &byte, 1, in, 5, &count, 0), 1);
    CHECK_EQ(count, 3);
    next = dup(0);
    CHECK_EQ(next, -1);
}

TEST(received_descriptors_over_the_limit_are_closed)
{
    in_child(receive_over_the_limit);
}

TEST(peer_is_known)
{
    struct cvy_os_peer peer;
    int ends[2], pipe_ends[2];

    CHECK_EQ(cvy_os_socketpair(ends), 0);
    CHECK_EQ(cvy_os_peer(ends[0], &peer), 0);
    CHECK_EQ(peer.pid, getpid());
    CHECK_EQ(peer.uid, geteuid());
    CHECK_EQ(peer.gid, getegid());
    CHECK_EQ(cvy_os_pipe(pipe_ends), 0);
    CHECK_EQ(cvy_os_peer(pipe_ends[0], &peer), -ENOTSOCK);
    close_both(pipe_ends);
    close_both(ends);
}

TEST(random_bytes_differ)
{
    char one[64] = "", other[64] = "";
    static char much[1 << 20];

    CHECK_EQ(cvy_os_random(one, 64), 0);
    CHECK_EQ(cvy_os_random(other, 64), 0);
    CHECK_NE(memcmp(one, other, 64), 0);
    CHECK_EQ(cvy_os_random(much, sizeof(much)), 0);
    CHECK_NE(memcmp(much + sizeof(much) - 64, other, 64), 0);
    CHECK_EQ(cvy_os_random(NULL, 0), 0);
}

CHECK_MAIN()
