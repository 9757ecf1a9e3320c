/* SPDX-License-Identifier: MIT */
/* Processes killed at any instruction of what they do to a pipe, or of the handshake of a
 * connection. Who sleeps at the other end goes on: with the next message, whole and in
 * order, or told that nobody is there. */
#include <sched.h>

#include "base/base.h"
#include "conn_help.h"
#include "kill_points.h"
#include "os/socket.h"
#include "stepper.h"

#define LONG COVEY_SEC(10) /* whoever takes longer hangs */
/* For a handshake that is stepped through; on a busy machine, sanitized, it takes minutes. */
#define STEPPED COVEY_SEC(3600)
#define LAST    100u

/* Seen by all processes of a test. */
static struct talk {
    covey_conn *a, *b;
    size_t size; /* of each message */
    _Atomic uint32_t slot;
    cvy_word over; /* the other one is through */
    int result;    /* of its last call */
    uint32_t count, numbers[4];
} * talk;

static int other; /* the pid of who survives */
static struct covey_family_usage start;
static unsigned char bytes[400000];

/* ---- messages ------------------------------------------------------------------- */

static struct covey_view message(uint32_t number)
{
    fill(bytes, talk->size, number);
    memcpy(bytes, &number, sizeof number);
    return COVEY_VIEW(bytes, talk->size);
}

static int send_one(uint32_t number, covey_nsec timeout)
{
    return covey_conn_send(talk->a, message(number), timeout);
}

/* Returns: its number, or a negative code; -EBADMSG if it is torn. */
static int recv_one(covey_nsec timeout)
{
    static unsigned char got[sizeof bytes];
    uint32_t number;
    size_t size = 0;
    int r = covey_conn_recv_into(talk->b, got, sizeof got, &size, timeout);
    if (r < 0)
        return r;
    memcpy(&number, got, sizeof number);
    struct covey_view whole = message(number);
    return size == talk->size && memcmp(got, whole.data, size) == 0 ? (int)number
                                                                    : -EBADMSG;
}

static void receive_all(covey_nsec timeout)
{
    int number;
    do {
        number = recv_one(timeout);
        if (number >= 0 && talk->count < CVY_ARRAY_SIZE(talk->numbers))
            talk->numbers[talk->count++] = (uint32_t)number;
    } while (number >= 0 && number != (int)LAST);
    talk->result = number;
}

static void receive_until_last(void)
{
    receive_all(COVEY_FOREVER);
}

/* ---- the one who survives, asleep -------------------------------------------------- */

static void let_other(void (*act)(void), void **held)
{
    other = family_fork();
    if (other == 0) {
        CHECK_OK(covey_hold(*held));
        atomic_store(&talk->slot, cvy_thread_owner());
        act();
        family_tell(&talk->over);
        family_pause();
    }
    for (bool sleeps = false; !sleeps; usleep(50)) {
        uint32_t slot = atomic_load(&talk->slot);
        sleeps = slot && atomic_load(&cvy_slot_at(CVY_INDEX_OF(slot))->waits_for) &&
                 stepper_state_of(other) == 'S';
    }
}

static const char *await_other(void)
{
    int64_t until = cvy_os_deadline(LONG);
    while (!atomic_load(&talk->over)) {
        struct cvy_os_wait wait = {&talk->over, 0};
        if (cvy_os_now() > until)
            return "who sleeps at the other end hangs";
        (void)cvy_os_futex_waitv(&wait, 1, until);
    }
    return NULL;
}

static void make_pipe(const struct covey_pipe_opts *opts)
{
    size_t size = talk->size;
    *talk = (struct talk){.size = size};
    CHECK_OK(covey_pipe_create(&talk->a, &talk->b, opts));
}

static const char *clean_up(const char *is)
{
    static char text[80];
    family_kill(other);
    covey_conn_free(talk->a);
    covey_conn_free(talk->b);
    cvy_members_sweep();
    struct covey_family_usage now = family_usage();
    snprintf(text, sizeof text, "%ld bytes in use, not %ld", (long)now.used,
             (long)start.used);
    return is || (now.used == start.used && now.objects == start.objects) ? is : text;
}

static void hold_a(void *unused)
{
    (void)unused;
    CHECK_OK(cvy_enter());
    CHECK_OK(covey_hold(talk->a));
    (void)message(1);
}

static void hold_b(void *unused)
{
    (void)unused;
    CHECK_OK(cvy_enter());
    CHECK_OK(covey_hold(talk->b));
}

static long points(void)
{
    return talk->size > 10000 ? family_long(2, 100) : family_long(30, 0);
}

static void begin(size_t size)
{
    kill_points_need();
    family_found(COVEY_FAMILY_OPTS(.slice = COVEY_SEC(60)));
    talk = family_shared(sizeof *talk);
    talk->size = size;
    (void)cvy_os_is_multicore();
    /* What only the first message needs. */
    make_pipe(NULL);
    CHECK_OK(send_one(1, COVEY_NOWAIT));
    CHECK_EQ(recv_one(COVEY_NOWAIT), 1);
    covey_conn_free(talk->a);
    covey_conn_free(talk->b);
    start = family_usage();
}

/* ---- a sender is killed -------------------------------------------------------------- */

static void begin_send(void *unused)
{
    (void)unused;
    make_pipe(NULL);
    let_other(receive_until_last, (void **)&talk->b);
}

static void send_it(void *unused)
{
    (void)unused;
    (void)covey_conn_send(talk->a, COVEY_VIEW(bytes, talk->size), LONG);
}

static const char *end_send(void *unused)
{
    (void)unused;
    CHECK_OK(send_one(LAST, LONG));
    const char *is = await_other();
    if (!is && talk->result != (int)LAST)
        is = covey_error_name(talk->result);
    if (!is && (talk->count > 2 || (talk->count == 2 && talk->numbers[0] != 1)))
        is = "other messages came than were sent";
    return clean_up(is);
}

static void kill_senders(const char *name, long size)
{
    begin((size_t)size);
    struct kill_points p = {.name = name,
                            .before = begin_send,
                            .prepare = hold_a,
                            .operate = send_it,
                            .after = end_send};
    kill_points_run(&p, points());
    munmap(talk, sizeof *talk);
}

TEST_TIMEOUT(killed_while_sending, 3600)
{
    kill_senders("send", 64);
}

TEST_TIMEOUT(killed_while_sending_a_large_message, 3600)
{
    kill_senders("send, large", family_long(25000, 300000));
}

/* ---- a receiver is killed ------------------------------------------------------------- */

static void send_two(void)
{
    talk->result = send_one(2, COVEY_FOREVER);
    if (talk->result >= 0)
        talk->result = send_one(LAST, COVEY_FOREVER);
}

/* The first message fills the pipe. */
static void begin_recv(void *unused)
{
    (void)unused;
    make_pipe(COVEY_PIPE_OPTS(.capacity = 1));
    CHECK_OK(send_one(1, COVEY_NOWAIT));
    let_other(send_two, (void **)&talk->a);
}

static void receive_it(void *unused)
{
    (void)unused;
    size_t size;
    (void)covey_conn_recv_into(talk->b, bytes, sizeof bytes, &size, LONG);
}

static const char *end_recv(void *unused)
{
    (void)unused;
    receive_all(LONG);
    const char *is = await_other();
    uint32_t n = talk->count, *numbers = talk->numbers;
    if (!is && talk->result < 0)
        is = covey_error_name(talk->result);
    if (!is && (n < 2 || n > 3 || numbers[n - 1] != LAST || numbers[n - 2] != 2 ||
                (n == 3 && numbers[0] != 1)))
        is = "other messages came than were sent";
    return clean_up(is);
}

static void kill_receivers(const char *name, long size)
{
    begin((size_t)size);
    struct kill_points p = {.name = name,
                            .before = begin_recv,
                            .prepare = hold_b,
                            .operate = receive_it,
                            .after = end_recv};
    kill_points_run(&p, points());
    munmap(talk, sizeof *talk);
}

TEST_TIMEOUT(killed_while_receiving, 3600)
{
    kill_receivers("recv", 64);
}

TEST_TIMEOUT(killed_while_receiving_a_large_message, 3600)
{
    kill_receivers("recv, large", family_long(25000, 300000));
}

/* ---- who closes the last end is killed -------------------------------------------------- */

static void close_it(void *unused)
{
    (void)unused;
    covey_conn_free(talk->a);
}

static const char *end_close(void *unused)
{
    (void)unused;
    covey_conn_free(talk->a);
    talk->a = NULL;
    const char *is = await_other();
    if (!is && talk->result != COVEY_EEOF)
        is = covey_error_name(talk->result);
    return clean_up(is);
}

TEST_TIMEOUT(killed_while_closing, 3600)
{
    begin(64);
    struct kill_points p = {.name = "close",
                            .before = begin_send,
                            .prepare = hold_a,
                            .operate = close_it,
                            .after = end_close};
    kill_points_run(&p, points());
    munmap(talk, sizeof *talk);
}

/* ---- handshakes --------------------------------------------------------------------------- */

#define KEY COVEY_VIEW("secret", 6)

static covey_listener *listener;

static int connect_to(covey_conn **conn, covey_nsec timeout)
{
    return covey_client_connect(conn, covey_listener_address(listener),
                                COVEY_CLIENT_OPTS(.authkey = KEY), timeout);
}

/* Accept all, one after the other, and answer each. */
static _Noreturn void serve(void)
{
    for (;;) {
        covey_conn *conn = NULL;
        CHECK_OK(covey_listener_accept(listener, &conn, COVEY_FOREVER));
        (void)covey_conn_send(conn, COVEY_VIEW("hello", 5), LONG);
        covey_conn_free(conn);
    }
}

static const char *greet(covey_nsec timeout)
{
    covey_conn *conn = NULL;
    char text[8];
    size_t size = 0;
    int r = connect_to(&conn, timeout);
    if (r >= 0)
        r = covey_conn_recv_into(conn, text, sizeof text, &size, timeout);
    covey_conn_free(conn);
    return r < 0 ? covey_error_name(r) : NULL;
}

static void connect_it(void *unused)
{
    (void)unused;
    covey_conn *conn = NULL;
    (void)connect_to(&conn, STEPPED);
}

static const char *greet_after(void *unused)
{
    (void)unused;
    return greet(LONG);
}

static void begin_handshakes(void)
{
    kill_points_need();
    family_found(NULL);
    CHECK_OK(covey_listener_create(
        &listener, NULL,
        COVEY_LISTENER_OPTS(.authkey = KEY, .handshake_timeout = STEPPED)));
}

/* Whoever else connects is served. The cryptography is as it is in libcrypto: of its many
 * instructions a sample. */
TEST_TIMEOUT(killed_while_connecting, 3600)
{
    begin_handshakes();
    int pid = family_fork();
    if (pid == 0)
        serve();
    CHECK(greet(LONG) == NULL); /* libcrypto prepares itself */
    struct kill_points p = {
        .name = "connect", .operate = connect_it, .after = greet_after};
    kill_points_run(&p, family_long(6, 300));
    family_kill(pid);
    covey_listener_free(listener);
}

static int greeter;

static void begin_accept(void *unused)
{
    (void)unused;
    talk->over = 0;
    greeter = family_fork();
    if (greeter == 0) {
        covey_conn *conn = NULL;
        (void)connect_to(&conn, STEPPED);
        family_tell(&talk->over);
        family_pause();
    }
}

static void accept_it(void *unused)
{
    (void)unused;
    covey_conn *conn = NULL;
    if (covey_listener_accept(listener, &conn, COVEY_FOREVER) < 0)
        abort();
}

/* Another process accepts who has not been; who was is told that nobody is there. */
static const char *end_accept(void *unused)
{
    (void)unused;
    covey_conn *conn = NULL;
    int r = -ETIMEDOUT;
    while (!atomic_load(&talk->over) && r == -ETIMEDOUT)
        r = covey_listener_accept(listener, &conn, COVEY_MSEC(20));
    const char *is = await_other();
    covey_conn_free(conn);
    family_kill(greeter);
    return is;
}

TEST_TIMEOUT(killed_while_accepting, 3600)
{
    begin_handshakes();
    talk = family_shared(sizeof *talk);
    int pid = family_fork();
    if (pid == 0)
        serve();
    CHECK(greet(LONG) == NULL);
    family_kill(pid);
    struct kill_points p = {.name = "accept",
                            .before = begin_accept,
                            .operate = accept_it,
                            .after = end_accept};
    kill_points_run(&p, family_long(6, 300));
    munmap(talk, sizeof *talk);
    covey_listener_free(listener);
}

/* ---- answers to descriptors --------------------------------------------------------------- */

static struct bare answered;

static void send_fd(void *unused)
{
    (void)unused;
    (void)covey_conn_send_fd(answered.conn, 0, LONG);
}

static bool fd_has_come(void)
{
    unsigned char byte;
    int fd = -1, r = cvy_os_stream_recv_fd(answered.fd, &byte, &fd);
    close(fd);
    return r == 1;
}

static void send_to_victim(void *unused)
{
    (void)unused;
    answered = bare_new();
    CHECK_OK(covey_conn_set_fd_answers(answered.conn, true));
    CHECK_EQ(cvy_os_stream_send_fd(answered.fd, 1, 0), 0);
}

static void enter_it(void *unused)
{
    (void)unused;
    CHECK_OK(covey_conn_closed(answered.conn));
}

static void recv_fd(void *unused)
{
    int fd = -1;
    (void)unused;
    (void)!covey_conn_recv_fd(answered.conn, &fd, LONG);
}

/* The descriptor is there, or was answered; or those who are left are told. */
static const char *end_recv_fd(void *unused)
{
    unsigned char answers[2];
    int fd = -1, r = covey_conn_recv_fd(answered.conn, &fd, COVEY_NOWAIT);
    (void)unused;
    close(fd);
    int sent = covey_conn_flush(answered.conn, COVEY_NOWAIT);
    ssize_t n = recv(answered.fd, answers, sizeof answers, MSG_DONTWAIT);
    bare_free(&answered);
    if (r == COVEY_EBROKEN || sent == COVEY_EBROKEN)
        return NULL;
    if (sent < 0 || (r != 0 && r != -ETIMEDOUT))
        return covey_error_name(sent < 0 ? sent : r);
    return n == 1 ? NULL : "a descriptor that came was not answered once";
}

TEST_TIMEOUT(descriptor_that_a_killed_one_received_is_answered, 3600)
{
    kill_points_need();
    family_found(NULL);
    struct kill_points p = {.name = "recv_fd",
                            .before = send_to_victim,
                            .prepare = enter_it,
                            .operate = recv_fd,
                            .after = end_recv_fd};
    kill_points_run(&p, family_long(300, 0));
}

/* The other side answers at once, and goes on, while the sender has not returned from its
 * system call. */
TEST_TIMEOUT(answer_that_comes_before_its_sender_goes_on_is_taken_out, 300)
{
    cpu_set_t processors;
    kill_points_need();
    family_found(NULL);
    struct stepper victim = {.name = "send_fd",
                             .operate = send_fd,
                             .progress = family_shared(sizeof *victim.progress)};
    answered = bare_new();
    CHECK_OK(covey_conn_set_fd_answers(answered.conn, true));
    send_fd(NULL); /* what only the first one needs */
    CHECK(fd_has_come());
    CHECK_EQ(stepper_pin(&processors, sizeof processors), 0);
    CHECK_EQ(stepper_start(&victim), 0);
    do {
        CHECK_EQ(stepper_step(&victim, INT64_MAX), STEPPER_STEPPED);
        CHECK(!stepper_is_done(&victim));
    } while (!victim.called || !fd_has_come());
    write_hex(answered.fd, "41 41 00000002 6869");
    recv_text(answered.conn, "hi");
    CHECK_EQ(stepper_kill(&victim), 0);
    write_hex(answered.fd, "00000002 686f");
    recv_text(answered.conn, "ho");
    bare_free(&answered);
    munmap(victim.progress, sizeof *victim.progress);
}

CHECK_MAIN()
