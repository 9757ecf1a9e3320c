/* SPDX-License-Identifier: MIT */
/* Clients that stop, go or drip in the middle of the handshake with a manager: each is let go
 * at its deadline or its end, and holds up nobody. Each test is made at all bytes of a client's
 * side, over a local socket and TCP. */
#include <sys/time.h>

#include "raw_client.h"
#include "server_known.h"

/* A proof, a challenge and a welcome, each after 4 bytes of size. */
enum { PROOF = 44, CHALLENGE = PROOF + 63, ALL_BYTES = CHALLENGE + 13 };

static const char *const places[] = {NULL, "127.0.0.1:0"};

#define EACH_PLACE(at)                                                                 \
    for (const char *const *at = places; at < places + sizeof places / sizeof *places; \
         at++)

static struct server start(const char *address, covey_nsec handshake_timeout)
{
    return server_start_heard((struct covey_manager_opts){
        .address = address, .handshake_timeout = handshake_timeout});
}

/* ---- cut at each byte ---- */

static void begin_all(const struct server *server, struct raw raws[ALL_BYTES])
{
    for (size_t i = 0; i < ALL_BYTES; i++) {
        raws[i] = raw_connect(server);
        raw_prove(&raws[i], i);
        CHECK_EQ(raws[i].sent, i);
        CHECK(!raw_is_in(&raws[i]));
    }
}

TEST(who_stops_at_any_byte_holds_up_nobody_and_may_go_on)
{
    struct raw raws[ALL_BYTES];
    EACH_PLACE(at)
    {
        struct server server = start(*at, COVEY_SEC(1000));
        struct known k = known_to(&server);
        begin_all(&server, raws);
        is_served(&k);
        newcomer_is_served(&server, &k);
        for (size_t i = 0; i < ALL_BYTES; i++) {
            raw_prove(&raws[i], SIZE_MAX);
            CHECK_EQ(raws[i].sent, ALL_BYTES);
            covey_conn *conn = raw_to_conn(&raws[i]);
            REQUEST(conn, NULL, "dummy", "()");
            REPLIES(conn, "#RETURN", "None");
            covey_conn_free(conn);
        }
        CHECK_EQ(heard_lines("was refused", ""), 0);
        ends_as_it_began(&server, &k);
    }
}

TEST(who_stops_at_any_byte_is_dropped_at_the_deadline)
{
    struct raw raws[ALL_BYTES];
    EACH_PLACE(at)
    {
        struct server server = start(*at, COVEY_SEC(2));
        struct known k = known_to(&server);
        int64_t began = cvy_os_now();
        begin_all(&server, raws);
        for (size_t i = 0; i < ALL_BYTES; i++) {
            raw_is_dropped(&raws[i]);
            CHECK_GE(cvy_os_now() - began, COVEY_SEC(2));
            raw_close(&raws[i]);
        }
        await_lines(ALL_BYTES, "was refused", "did not prove in time");
        ends_as_it_began(&server, &k);
    }
}

static void by_close(struct raw *raw)
{
    raw_close(raw);
}

/* Its end comes in order, and it would still listen. */
static void by_shutdown(struct raw *raw)
{
    CHECK_EQ(shutdown(raw->fd, SHUT_WR), 0);
    raw_is_dropped(raw);
    raw_close(raw);
}

/* Over a local socket it is what has not been read that makes it one. */
static void by_reset(struct raw *raw)
{
    const struct linger none = {.l_onoff = 1};
    (void)cvy_os_poll_in(raw->fd, cvy_os_deadline(COVEY_MSEC(1)));
    CHECK_EQ(setsockopt(raw->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
    raw_close(raw);
}

static void all_go(void (*go)(struct raw *raw))
{
    struct raw raws[ALL_BYTES];
    EACH_PLACE(at)
    {
        struct server server = start(*at, COVEY_SEC(1000));
        struct known k = known_to(&server);
        begin_all(&server, raws);
        for (size_t i = 0; i < ALL_BYTES; i++)
            go(&raws[i]);
        await_lines(ALL_BYTES, "was refused", "");
        CHECK_EQ(heard_lines("was refused", "in time"), 0);
        CHECK_EQ(heard_lines("was refused", "another key"), 0);
        ends_as_it_began(&server, &k);
    }
}

TEST(who_closes_at_any_byte_is_let_go_at_once)
{
    all_go(by_close);
}

TEST(who_says_no_more_at_any_byte_is_let_go_at_once)
{
    all_go(by_shutdown);
}

TEST(who_resets_at_any_byte_is_let_go_at_once)
{
    all_go(by_reset);
}

TEST(an_end_is_told_with_what_was_missing)
{
    EACH_PLACE(at)
    {
        struct server server = start(*at, COVEY_SEC(1000));
        struct known k = known_to(&server);
        struct raw silent = raw_connect(&server), amid = raw_connect(&server);
        raw_prove(&amid, 30);
        by_shutdown(&silent);
        await_lines(1, "was refused", "has closed the connection");
        by_shutdown(&amid);
        await_lines(1, "was refused", "in the middle of a message");
        ends_as_it_began(&server, &k);
    }
}

/* ---- one byte at a time ---- */

/* After each byte the manager has seen it. */
TEST(a_handshake_may_come_byte_by_byte)
{
    EACH_PLACE(at)
    {
        struct server server = start(*at, COVEY_SEC(1000));
        struct known k = known_to(&server);
        struct raw raw = raw_connect(&server);
        for (size_t i = 1; i <= ALL_BYTES; i++) {
            raw_prove(&raw, i);
            is_served(&k);
        }
        covey_conn *conn = raw_to_conn(&raw);
        REQUEST(conn, NULL, "dummy", "()");
        REPLIES(conn, "#RETURN", "None");
        covey_conn_free(conn);
        ends_as_it_began(&server, &k);
    }
}

/* What comes does not put the deadline off. A message of the longest kind would take 20 times
 * as long as there is time. */
TEST(dripping_gains_no_time)
{
    enum { LONGEST = 4 + CVY_AUTH_MESSAGE };
    static const char message[LONGEST] = {0, 0, 1, 0, '{'};
    EACH_PLACE(at)
    {
        struct server server = start(*at, COVEY_MSEC(250));
        struct known k = known_to(&server);
        struct raw raw = raw_connect(&server);
        raw_hear(&raw);
        size_t i = 0;
        while (!cvy_os_poll_in(raw.fd, cvy_os_deadline(COVEY_MSEC(20))) && i < LONGEST)
            if (!raw_send(&raw, message + i++, 1))
                break;
        raw_is_dropped(&raw);
        raw_close(&raw);
        CHECK_LT(i, LONGEST);
        await_lines(1, "was refused", "did not prove in time");
        ends_as_it_began(&server, &k);
    }
}

/* ---- too late ---- */

/* The rest comes while the manager is stopped, which finds it when the deadline has passed. */
TEST(what_comes_after_the_deadline_does_not_count)
{
    enum { STOPS = 6 };
    static const size_t stops[STOPS] = {0,         3,         PROOF - 1,
                                        PROOF + 2, CHALLENGE, ALL_BYTES - 1};
    struct raw raws[STOPS];
    char byte;
    EACH_PLACE(at)
    {
        struct server server = start(*at, COVEY_SEC(2));
        struct known k = known_to(&server);
        for (int i = 0; i < STOPS; i++) {
            raws[i] = raw_connect(&server);
            raw_prove(&raws[i], stops[i]);
            if (cvy_auth_turn(&raws[i].auth) == CVY_AUTH_HEARS)
                raw_hear(&raws[i]);
        }
        is_served(&k);
        server_pause(&server);
        int64_t passed = cvy_os_deadline(COVEY_SEC(2));
        for (int i = 0; i < STOPS; i++)
            raw_speak(&raws[i], SIZE_MAX);
        while (cvy_os_now() <= passed)
            (void)poll(NULL, 0, 10);
        server_goes_on(&server);
        for (int i = 0; i < STOPS; i++) {
            ssize_t n = recv(raws[i].fd, &byte, 1, 0);
            CHECK(n == 0 || (n < 0 && errno == ECONNRESET));
            raw_close(&raws[i]);
        }
        await_lines(STOPS, "was refused", "did not prove in time");
        ends_as_it_began(&server, &k);
    }
}

TEST(who_goes_on_after_it_was_dropped_is_not_heard)
{
    EACH_PLACE(at)
    {
        struct server server = start(*at, COVEY_SEC(1));
        struct known k = known_to(&server);
        struct raw raw = raw_connect(&server);
        raw_prove(&raw, PROOF - 1);
        raw_is_dropped(&raw);
        unsigned char last = raw.out[raw.out_done];
        (void)raw_send(&raw, &last, 1); /* over TCP only the answer to this tells */
        (void)cvy_os_poll_in(raw.fd, cvy_os_deadline(COVEY_SEC(20)));
        raw_is_dropped(&raw);
        raw_close(&raw);
        await_lines(1, "was refused", "did not prove in time");
        ends_as_it_began(&server, &k);
    }
}

/* ---- many of them ---- */

/* More than the manager keeps at it at a time: after a second the oldest make room. */
TEST_TIMEOUT(more_who_stop_than_it_keeps_hold_up_nobody, 60)
{
    enum { KEPT = 1024, MANY = KEPT + 200 };
    static int fds[MANY];
    descriptors_allow(MANY + 100);
    EACH_PLACE(at)
    {
        struct server server = start(*at, COVEY_SEC(10));
        struct known k = known_to(&server);
        for (int i = 0; i < MANY; i++) {
            fds[i] = raw_socket(server.address);
            CHECK_EQ(send(fds[i], "\0\0\0", (size_t)i % 4, MSG_NOSIGNAL), i % 4);
        }
        newcomer_is_served(&server, &k);
        is_served(&k);
        CHECK_GT(heard_lines("was refused", "others came while it was slow"), 0);
        for (int i = 0; i < MANY; i++)
            close(fds[i]);
        ends_as_it_began(&server, &k);
    }
}

/* An object that tells how many newcomers the manager has refused so far. */
static int tell_refused(covey_request *request, void *self)
{
    (void)self;
    return covey_request_return(request,
                                covey_value_int(heard_lines("was refused", "")));
}

static int make_nothing(covey_request *request, void **ret_self)
{
    (void)request;
    *ret_self = &heard;
    return 0;
}

static const struct covey_method teller_methods[] = {
    {.name = "refused", .fn = tell_refused}};
static const struct covey_class teller = {.size = sizeof(struct covey_class),
                                          .methods = teller_methods,
                                          .method_count = 1,
                                          .create = make_nothing};

/* They have come before the request, and it has its turn before they all are dealt with. */
TEST(a_crowd_that_has_come_and_gone_holds_up_nobody)
{
    enum { CROWD = 1000 };
    char ident[64];
    int64_t refused;
    CHECK_OK(covey_manager_register("Teller", &teller, NULL));
    for (int i = 0; i < 2 && backlog_most() >= CROWD; i++) {
        struct server server = start(places[i], COVEY_SEC(1000));
        struct known k = known_to(&server);
        server_create(&server, "Teller", ident);
        server_pause(&server);
        for (int peers = 0; peers < CROWD; peers++)
            close(raw_socket(server.address));
        REQUEST(k.conn, ident, "refused", "()");
        server_goes_on(&server);
        struct reply reply = reply_get(k.conn);
        CHECK_OK(covey_value_get_int(reply.value, &refused));
        covey_value_free(reply.message);
        CHECK_LT(refused, CROWD);
        await_lines(CROWD, "was refused", "");
        control_ok(&server, "decref", ident);
        ends_as_it_began(&server, &k);
    }
}

static _Noreturn void come_and_go(const char *address)
{
    const struct linger none = {.l_onoff =
                                    1}; /* TCP would keep each port for a minute */
    for (;;) {
        int fd = raw_socket(address);
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
        close(fd);
    }
}

/* There is always one more who waits to be let in. */
TEST_TIMEOUT(those_who_come_and_go_for_ever_hold_up_nobody, 120)
{
    enum { PROCESSES = 4, CALLS = 20 };
    int pids[PROCESSES];
    EACH_PLACE(at)
    {
        struct server server = start(*at, COVEY_SEC(1000));
        struct known k = known_to(&server);
        for (int i = 0; i < PROCESSES; i++) {
            pids[i] = family_fork();
            if (!pids[i])
                come_and_go(server.address);
        }
        for (int i = 0; i < CALLS; i++)
            is_served(&k);
        newcomer_is_served(&server, &k);
        for (int i = 0; i < PROCESSES; i++)
            family_kill(pids[i]);
        ends_as_it_began(&server, &k);
    }
}

CHECK_MAIN()
