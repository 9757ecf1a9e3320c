/* SPDX-License-Identifier: MIT */
/* Clients over TLS that stop or go in the middle of the handshake with a manager. Between each
 * and the manager is a straw, which passes a part of the client's bytes. */
#include "server_known.h"
#include "tls_help.h"

static const struct covey_tls by_key = {.size = sizeof(struct covey_tls),
                                        .from_key = COVEY_ON};

struct straw {
    pthread_t client;
    char address[256];
    _Atomic int is_over; /* the client has been let in, or has failed */
    int result;
    covey_conn *conn;
    int in, out; /* the client's side and the manager's */
    size_t passed;
};

static void *be_client(void *arg)
{
    struct straw *s = arg;
    s->result = covey_client_connect(
        &s->conn, s->address, COVEY_CLIENT_OPTS(.authkey = SERVER_KEY, .tls = &by_key),
        COVEY_SEC(1000));
    atomic_store(&s->is_over, 1);
    return NULL;
}

static void straw_begin(struct straw *s, const struct server *server)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *s = (struct straw){0};
    CHECK_EQ(bind(listening, (struct sockaddr *)&at, sizeof at), 0);
    CHECK_EQ(listen(listening, 1), 0);
    CHECK_EQ(getsockname(listening, (struct sockaddr *)&at, &size), 0);
    snprintf(s->address, sizeof s->address, "127.0.0.1:%d", ntohs(at.sin_port));
    CHECK_EQ(pthread_create(&s->client, NULL, be_client, s), 0);
    s->in = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    CHECK_GE(s->in, 0);
    s->out = bare_connect(server->address);
    close(listening);
}

static size_t pass_some(int from, int to, size_t most)
{
    char bytes[4096];
    ssize_t n = recv(from, bytes, most < sizeof bytes ? most : sizeof bytes, 0);
    CHECK_GT(n, 0);
    CHECK_EQ(send(to, bytes, (size_t)n, MSG_NOSIGNAL), n);
    return (size_t)n;
}

/* Pass so many of the client's bytes, or all until it is in, and what the manager says. */
static void straw_pass(struct straw *s, size_t until)
{
    while (s->passed < until) {
        struct pollfd p[2] = {{.fd = s->in, .events = POLLIN},
                              {.fd = s->out, .events = POLLIN}};
        bool is_over = atomic_load(&s->is_over);
        if (!poll(p, 2, 1) && is_over)
            return;
        if (p[1].revents)
            (void)pass_some(s->out, s->in, SIZE_MAX);
        if (p[0].revents)
            s->passed += pass_some(s->in, s->out, until - s->passed);
    }
}

/* The manager closes it, whatever it has said before. */
static void straw_is_dropped(const struct straw *s)
{
    char bytes[4096];
    ssize_t n;
    do
        CHECK_EQ(cvy_os_poll_in(s->out, cvy_os_deadline(COVEY_SEC(20))), 1);
    while ((n = recv(s->out, bytes, sizeof bytes, 0)) > 0);
    CHECK(n == 0 || errno == ECONNRESET);
}

static void straw_end(struct straw *s)
{
    close(s->out);
    close(s->in);
    CHECK_EQ(pthread_join(s->client, NULL), 0);
    covey_conn_free(s->conn);
}

/* ---- where it is cut ---- */

/* The last message of the client, after which it takes itself for let in, is left out. */
enum { CUTS = 24, LAST = 48 };

static struct server start(covey_nsec handshake_timeout)
{
    forks_beside_threads();
    return server_start_heard((struct covey_manager_opts){
        .address = ANY_PORT, .tls = &by_key, .handshake_timeout = handshake_timeout});
}

/* Bytes of a whole handshake, of TLS and then of the key. */
static size_t whole_of(const struct server *server)
{
    struct straw s;
    straw_begin(&s, server);
    straw_pass(&s, SIZE_MAX);
    straw_end(&s);
    CHECK_OK(s.result);
    CHECK_GT(s.passed, 400);
    return s.passed - LAST;
}

static void begin_all(const struct server *server, struct straw straws[CUTS])
{
    size_t whole = whole_of(server);
    for (size_t i = 0; i < CUTS; i++) {
        straw_begin(&straws[i], server);
        straw_pass(&straws[i], i < 6 ? i : i * whole / CUTS);
        CHECK_EQ(straws[i].is_over, 0);
    }
}

TEST(who_stops_in_the_middle_holds_up_nobody_and_may_go_on)
{
    struct straw straws[CUTS];
    struct server server = start(COVEY_SEC(1000));
    struct known k = known_to(&server);
    begin_all(&server, straws);
    is_served(&k);
    newcomer_is_served(&server, &k);
    for (int i = 0; i < CUTS; i++) {
        straw_pass(&straws[i], SIZE_MAX);
        straw_end(&straws[i]);
        CHECK_OK(straws[i].result);
    }
    CHECK_EQ(heard_lines("was refused", ""), 0);
    ends_as_it_began(&server, &k);
}

TEST(who_stops_in_the_middle_is_dropped_at_the_deadline)
{
    struct straw straws[CUTS];
    struct server server = start(COVEY_SEC(3));
    struct known k = known_to(&server);
    begin_all(&server, straws);
    for (int i = 0; i < CUTS; i++) {
        straw_is_dropped(&straws[i]);
        straw_end(&straws[i]);
        CHECK_LT(straws[i].result, 0);
    }
    await_lines(CUTS, "was refused", "in time");
    CHECK_GT(heard_lines("did not come to an agreement in time", ""), 0);
    CHECK_GT(heard_lines("did not prove in time", ""), 0);
    ends_as_it_began(&server, &k);
}

static void all_go(bool by_reset)
{
    struct straw straws[CUTS];
    const struct linger none = {.l_onoff = by_reset};
    struct server server = start(COVEY_SEC(1000));
    struct known k = known_to(&server);
    begin_all(&server, straws);
    for (int i = 0; i < CUTS; i++) {
        CHECK_EQ(setsockopt(straws[i].out, SOL_SOCKET, SO_LINGER, &none, sizeof none),
                 0);
        straw_end(&straws[i]);
        CHECK_LT(straws[i].result, 0);
    }
    await_lines(CUTS, "was refused", "");
    CHECK_EQ(heard_lines("was refused", "in time"), 0);
    ends_as_it_began(&server, &k);
}

TEST(who_closes_in_the_middle_is_let_go_at_once)
{
    all_go(false);
}

TEST(who_resets_in_the_middle_is_let_go_at_once)
{
    all_go(true);
}

CHECK_MAIN()
