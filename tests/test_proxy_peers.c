/* SPDX-License-Identifier: MIT */
/* Proxies against managers that do not keep to the protocol: every answer is looked at,
 * nothing hangs, and the next call works again. */
#include "manager/message.h"
#include "proxy_help.h"

/* A manager of one object, whose method "bad" is answered by `bad`. */
struct liar {
    covey_listener *listener;
    pthread_t thread;
    const void *bad;
    size_t bad_size;
    bool closes; /* instead of an answer */
    _Atomic int stops;
};

static void send_value(covey_conn *conn, covey_value *value)
{
    CHECK_OK(covey_value_check(value));
    (void)covey_conn_send_value(conn, value, PATIENT); /* it may be gone */
    covey_value_free(value);
}

static covey_value *usual(const struct cvy_request *request)
{
    covey_value *reply = NULL;
    if (strcmp(request->method, "create") == 0)
        CHECK_OK(covey_value_pack(&reply, "(s, (s, (s)))", "#RETURN", "7f00", "good"));
    else
        CHECK_OK(covey_value_pack(&reply, "(s, i)", "#RETURN", 42));
    return reply;
}

static bool answer(struct liar *l, covey_conn *conn)
{
    struct cvy_request request;
    covey_value *message = NULL;
    bool goes_on = true;
    if (covey_conn_recv_value(conn, &message, NULL, COVEY_FOREVER) < 0)
        return false;
    CHECK_OK(cvy_request_read(message, &request));
    if (strcmp(request.method, "bad") != 0) {
        send_value(conn, usual(&request));
        goes_on = request.ident || strcmp(request.method, "accept_connection") == 0;
    } else if (l->closes) {
        goes_on = false;
    } else {
        (void)covey_conn_send(conn, COVEY_VIEW(l->bad, l->bad_size), PATIENT);
    }
    covey_value_free(message);
    return goes_on;
}

struct session {
    struct liar *liar;
    covey_conn *conn;
};

static void *serve_session(void *arg)
{
    struct session *s = arg;
    while (answer(s->liar, s->conn))
        continue;
    covey_conn_free(s->conn);
    free(s);
    return NULL;
}

static void *lie(void *arg)
{
    struct liar *l = arg;
    pthread_t sessions[32];
    size_t count = 0;
    covey_conn *conn = NULL;
    while (covey_listener_accept(l->listener, &conn, PATIENT) >= 0 && !l->stops) {
        struct session *s = malloc(sizeof *s);
        CHECK(s != NULL && count < 32);
        *s = (struct session){l, conn};
        CHECK_EQ(pthread_create(&sessions[count++], NULL, serve_session, s), 0);
    }
    covey_conn_free(conn);
    while (count)
        CHECK_EQ(pthread_join(sessions[--count], NULL), 0);
    return NULL;
}

static covey_manager *begin(struct liar *l, size_t max_reply)
{
    covey_manager *m = NULL;
    CHECK_OK(covey_listener_create(&l->listener, NULL,
                                   COVEY_LISTENER_OPTS(.authkey = SECRET)));
    CHECK_EQ(pthread_create(&l->thread, NULL, lie, l), 0);
    CHECK_OK(
        covey_manager_connect(&m, covey_listener_address(l->listener),
                              COVEY_CONNECT_OPTS(.authkey = SECRET, .timeout = PATIENT,
                                                 .max_reply = max_reply),
                              PATIENT));
    return m;
}

static void end(struct liar *l, covey_manager *m)
{
    covey_conn *conn = NULL;
    covey_manager_free(m);
    l->stops = 1;
    CHECK_OK(covey_client_connect(&conn, covey_listener_address(l->listener),
                                  COVEY_CLIENT_OPTS(.authkey = SECRET), PATIENT));
    CHECK_EQ(pthread_join(l->thread, NULL), 0);
    covey_conn_free(conn);
    covey_listener_free(l->listener);
}

static void refused(covey_value *reply, const void *data, size_t size, int code)
{
    struct liar l = {.bad = data, .bad_size = size};
    struct covey_bytes pickle = {0};
    covey_value *v = NULL;
    if (reply) {
        CHECK_OK(covey_value_pickle(reply, &pickle));
        l.bad = pickle.data;
        l.bad_size = pickle.size;
    }
    covey_manager *m = begin(&l, 65536);
    covey_proxy *proxy = created(m, "thing", NULL);
    CHECK_ERR(covey_proxy_call(proxy, &v, "bad", NULL), code);
    CHECK(!v);
    CHECK_STR_HAS(covey_error_detail(), "thing.bad at ");
    CHECK_OK(covey_proxy_call(proxy, &v, "good", NULL));
    is(v, "42");
    covey_proxy_free(proxy);
    end(&l, m);
    covey_bytes_free(&pickle);
    covey_value_free(reply);
}

#define REPLY_REFUSED(code, ...)                                                       \
    do {                                                                               \
        covey_value *reply_ = NULL;                                                    \
        CHECK_OK(covey_value_pack(&reply_, __VA_ARGS__));                              \
        refused(reply_, NULL, 0, (code));                                              \
    } while (0)

TEST(answers_that_are_none_are_refused)
{
    REPLY_REFUSED(COVEY_EPROTOCOL, "i", 1);
    REPLY_REFUSED(COVEY_EPROTOCOL, "(s)", "#RETURN");
    REPLY_REFUSED(COVEY_EPROTOCOL, "(s, i)", "#WHAT", 1);
    REPLY_REFUSED(COVEY_EPROTOCOL, "(s, i)", "#ERROR", 1);
    REPLY_REFUSED(COVEY_EPROTOCOL, "(s, i)", "#TRACEBACK", 1);
    REPLY_REFUSED(COVEY_EPROTOCOL, "(s, i)", "#PROXY", 1);
    REPLY_REFUSED(COVEY_EPROTOCOL, "(s, ((), i))", "#PROXY", 1);
    refused(NULL, "garbage", 7, COVEY_EPICKLE);
    refused(NULL, "", 0, COVEY_EPICKLE);
}

TEST(answers_that_are_too_large_are_refused)
{
    char *data = calloc(1, 100000);
    CHECK(data != NULL);
    refused(NULL, data, 100000, -EMSGSIZE);
    free(data);
    /* A small pickle of a large value: a list in a list, twice each, and so on. */
    covey_value *value = covey_value_list();
    for (int i = 0; i < 40; i++) {
        covey_value *outer = covey_value_list();
        CHECK_OK(covey_value_append(outer, covey_value_ref(value)));
        CHECK_OK(covey_value_append(outer, value));
        value = outer;
    }
    REPLY_REFUSED(-EMSGSIZE, "(s, N)", "#RETURN", value);
}

TEST(a_manager_that_hangs_up_is_told_of)
{
    struct liar l = {.closes = true};
    covey_value *v = NULL;
    covey_reply *first = NULL, *second = NULL;
    covey_manager *m = begin(&l, 0);
    covey_proxy *proxy = created(m, "thing", NULL);
    CHECK_ERR(covey_proxy_call(proxy, &v, "bad", NULL), COVEY_EEOF);
    CHECK_OK(covey_proxy_call(proxy, &v, "good", NULL));
    is(v, "42");
    CHECK_OK(covey_proxy_send(&first, proxy, "good", NULL, NULL, PATIENT));
    CHECK_OK(covey_proxy_send(&second, proxy, "bad", NULL, NULL, PATIENT));
    CHECK_ERR(covey_reply_get(second, &v, PATIENT), COVEY_EEOF);
    CHECK_OK(covey_reply_get(first, &v, PATIENT));
    is(v, "42");
    CHECK_ERR(covey_reply_get(second, &v, PATIENT), COVEY_EEOF);
    covey_reply_free(first);
    covey_reply_free(second);
    covey_proxy_free(proxy);
    end(&l, m);
}

/* A proxy that somebody else's manager is said to hold. */
TEST(proxies_of_other_managers_are_reached_there)
{
    struct liar l = {0}, other = {0};
    char path[CVY_OS_ADDRESS_TEXT];
    covey_proxy *proxy = NULL;
    covey_value *v = NULL, *address = NULL;
    covey_manager *m = begin(&l, 0), *n = begin(&other, 0);
    CHECK_OK(cvy_address_to_value(&address, covey_manager_address(n)));
    struct cvy_pickled_proxy pickled = {.token = {"thing", address, "7f00"},
                                        .class_name = "ThingProxy",
                                        .class_module = "some.module"};
    v = cvy_pickled_proxy_make(&pickled);
    CHECK_OK(covey_proxy_from_value(&proxy, m, v));
    covey_value_free(v);
    covey_value_free(address);
    CHECK_OK(covey_proxy_call(proxy, &v, "good", NULL));
    is(v, "42");
    CHECK_OK(covey_proxy_to_value(proxy, &v));
    struct cvy_pickled_proxy got;
    CHECK_OK(cvy_pickled_proxy_read(v, &got));
    CHECK_STR_EQ(got.class_module, "some.module");
    CHECK_OK(cvy_address_from_value(got.token.address, path));
    CHECK_STR_EQ(path, covey_manager_address(n));
    covey_value_free(v);
    covey_manager_free(n);
    CHECK_OK(covey_proxy_call(proxy, NULL, "good", NULL));
    covey_proxy_free(proxy);
    end(&l, m);
    end(&other, NULL);
}

/* In a child by fork, whoever made it, nothing of the parent's connection is used. */
TEST(a_fork_child_has_its_own_connection)
{
    struct liar l = {0};
    int status;
    covey_value *v = NULL;
    covey_reply *reply = NULL;
    covey_manager *m = begin(&l, 0);
    forks_beside_threads();
    covey_proxy *proxy = created(m, "thing", NULL);
    CHECK_OK(covey_proxy_send(&reply, proxy, "good", NULL, NULL, PATIENT));
    CHECK_OK(covey_hold(proxy));
    covey_process *child = covey_current_process();
    CHECK(child != NULL);
    pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        CHECK_OK(covey_hold(proxy));
        CHECK_ERR(covey_reply_get(reply, &v, COVEY_NOWAIT), COVEY_ENOTOWNER);
        CHECK_OK(covey_proxy_call(proxy, &v, "good", NULL));
        is(v, "42");
        covey_proxy_free(proxy);
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_OK(covey_reply_get(reply, &v, PATIENT));
    is(v, "42");
    covey_reply_free(reply);
    covey_proxy_free(proxy);
    covey_proxy_free(proxy);
    end(&l, m);
}

CHECK_MAIN()
