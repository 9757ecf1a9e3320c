/* SPDX-License-Identifier: MIT */
/* Many clients who connect to a manager at the same moment: all are served, up to the number
 * that there may be. */
#include <pthread.h>

#include "raw_client.h"
#include "server_heard.h"

enum { CROWD = 1000 };

static const char *const places[] = {NULL, "127.0.0.1:0"};

#define EACH_PLACE(at)                                                                 \
    for (const char *const *at = places; at < places + sizeof places / sizeof *places; \
         at++)

static struct server start(const char *address, size_t max_sessions)
{
    descriptors_allow(2 * CROWD);
    return server_start_heard(
        (struct covey_manager_opts){.address = address,
                                    .handshake_timeout = COVEY_SEC(1000),
                                    .max_sessions = max_sessions});
}

/* ---- all before it looks ---- */

/* How many find room in the queue of a socket that nobody looks at. */
static size_t crowd_size(void)
{
    size_t most = backlog_most();
    return most < CROWD ? most : CROWD;
}

/* They have connected before the manager sees the first of them. */
static void crowd_connects(const struct server *server, struct raw *raws, size_t count)
{
    server_pause(server);
    for (size_t i = 0; i < count; i++)
        raws[i] = raw_connect(server);
    server_goes_on(server);
}

/* And all of them are in each step before one is in the next. */
static void crowd_proves(struct raw *raws, size_t count)
{
    bool goes_on = true;
    while (goes_on) {
        goes_on = false;
        for (size_t i = 0; i < count; i++) {
            enum cvy_auth_turn turn = cvy_auth_turn(&raws[i].auth);
            if (turn == CVY_AUTH_HEARS)
                raw_hear(&raws[i]);
            else if (turn == CVY_AUTH_SPEAKS)
                raw_speak(&raws[i], SIZE_MAX);
            goes_on = goes_on || turn != CVY_AUTH_IS_DONE;
        }
    }
}

TEST_TIMEOUT(a_crowd_that_connects_at_once_is_served, 60)
{
    static struct raw raws[CROWD];
    static covey_conn *conns[CROWD];
    size_t count = crowd_size();
    char dict[64];
    EACH_PLACE(at)
    {
        struct server server = start(*at, 0);
        server_create(&server, "dict", dict);
        crowd_connects(&server, raws, count);
        crowd_proves(raws, count);
        for (size_t i = 0; i < count; i++) {
            conns[i] = raw_to_conn(&raws[i]);
            REQUEST(conns[i], NULL, "accept_connection", "(s)", "one of many");
        }
        for (size_t i = 0; i < count; i++) {
            REPLIES(conns[i], "#RETURN", "None");
            REQUEST(conns[i], dict, "__setitem__", "(i, i)", (int)i, (int)i * 3);
        }
        for (size_t i = 0; i < count; i++)
            REPLIES(conns[i], "#RETURN", "None");
        for (size_t i = 0; i < count; i++) {
            char number[24];
            snprintf(number, sizeof number, "%zu", 3 * i);
            REQUEST(conns[i], dict, "pop", "(i)", (int)i);
            REPLIES(conns[i], "#RETURN", number);
        }
        for (size_t i = 0; i < count; i++)
            covey_conn_free(conns[i]);
        CHECK_EQ(heard_lines("was refused", ""), 0);
        control_ok(&server, "decref", dict);
        server_stop(&server);
    }
}

/* ---- from many processes and threads ---- */

enum { PROCESSES = 4, THREADS = 400 };

struct party {
    const struct server *server;
    const char *list;
    pthread_barrier_t *begins;
};

static void *come_and_call(void *arg)
{
    const struct party *party = arg;
    (void)pthread_barrier_wait(party->begins);
    covey_conn *conn = server_session(party->server, "one of many");
    REQUEST(conn, party->list, "append", "(i)", (int)getpid());
    REPLIES(conn, "#RETURN", "None");
    covey_conn_free(conn);
    return NULL;
}

static void bring_threads(struct party *party)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, come_and_call, party), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

static pthread_barrier_t *barrier_for(unsigned count)
{
    pthread_barrierattr_t attr;
    pthread_barrier_t *barrier = family_shared(sizeof *barrier);
    CHECK_EQ(pthread_barrierattr_init(&attr), 0);
    CHECK_EQ(pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
    CHECK_EQ(pthread_barrier_init(barrier, &attr, count), 0);
    CHECK_EQ(pthread_barrierattr_destroy(&attr), 0);
    return barrier;
}

TEST_TIMEOUT(threads_of_some_processes_that_connect_at_once_are_served, 60)
{
    char list[64];
    int pids[PROCESSES];
    EACH_PLACE(at)
    {
        struct server server = start(*at, 0);
        struct party party = {&server, list, barrier_for(PROCESSES * THREADS)};
        server_create(&server, "list", list);
        for (int i = 0; i < PROCESSES; i++) {
            pids[i] = family_fork();
            if (pids[i])
                continue;
            bring_threads(&party);
            exit(0);
        }
        for (int i = 0; i < PROCESSES; i++)
            family_join(pids[i]);
        covey_conn *conn = server_session(&server, "last");
        for (int i = 0; i < PROCESSES; i++) {
            char count[24];
            snprintf(count, sizeof count, "%d", THREADS);
            REQUEST(conn, list, "count", "(i)", pids[i]);
            REPLIES(conn, "#RETURN", count);
        }
        covey_conn_free(conn);
        CHECK_EQ(heard_lines("was refused", ""), 0);
        control_ok(&server, "decref", list);
        server_stop(&server);
    }
}

/* ---- more than there may be ---- */

enum { LIMIT = 50, COME = 200 };

/* Whether the manager takes calls from it, or has closed the connection. */
static bool is_taken(covey_conn *conn)
{
    covey_value *request, *reply = NULL;
    CHECK_OK(covey_value_pack(&request, "(z, s, (s), {})", NULL, "accept_connection",
                              "one of many"));
    int r = covey_conn_send_value(conn, request, COVEY_SEC(20));
    covey_value_free(request);
    if (r >= 0)
        r = covey_conn_recv_value(conn, &reply, NULL, COVEY_SEC(20));
    covey_value_free(reply);
    if (r < 0)
        CHECK(r == COVEY_EEOF || r == -EPIPE || r == -ECONNRESET);
    return r >= 0;
}

/* Of those who come at once, the taken are put into `conns`. */
static int take_crowd(const struct server *server, covey_conn *conns[LIMIT])
{
    struct raw raws[COME];
    int taken = 0;
    crowd_connects(server, raws, COME);
    crowd_proves(raws, COME);
    for (int i = 0; i < COME; i++) {
        covey_conn *conn = raw_to_conn(&raws[i]);
        if (!is_taken(conn)) {
            covey_conn_free(conn);
            continue;
        }
        CHECK_LT(taken, LIMIT);
        conns[taken++] = conn;
    }
    return taken;
}

static void all_call(covey_conn *conns[], int count, const char *list)
{
    for (int i = 0; i < count; i++)
        REQUEST(conns[i], list, "append", "(i)", i);
    for (int i = 0; i < count; i++)
        REPLIES(conns[i], "#RETURN", "None");
}

TEST(of_a_crowd_as_many_as_there_may_be_are_served)
{
    covey_conn *conns[LIMIT];
    char list[64];
    EACH_PLACE(at)
    {
        struct server server = start(*at, LIMIT);
        server_create(&server, "list", list);
        CHECK_EQ(take_crowd(&server, conns), LIMIT);
        CHECK_EQ(heard_lines("is refused", "as many connections as it may have"),
                 COME - LIMIT);
        all_call(conns, LIMIT, list);
        covey_manager *m = NULL; /* proxies are told, too */
        CHECK_ERR(covey_manager_connect(&m, server.address,
                                        COVEY_CONNECT_OPTS(.authkey = SERVER_KEY),
                                        COVEY_SEC(20)),
                  COVEY_EEOF);
        covey_conn_free(
            conns[LIMIT - 1]); /* there is room for one when it has seen that */
        for (bool is_in = false; !is_in;) {
            conns[LIMIT - 1] = server_connect(&server);
            is_in = is_taken(conns[LIMIT - 1]);
            if (!is_in)
                covey_conn_free(conns[LIMIT - 1]);
        }
        all_call(conns, LIMIT, list);
        for (int i = 0; i < LIMIT; i++)
            covey_conn_free(conns[i]);
        server_stop(&server);
    }
}

CHECK_MAIN()
