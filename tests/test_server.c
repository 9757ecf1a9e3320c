/* SPDX-License-Identifier: MIT */
/* What a manager does for its clients: CPython's protocol by hand, classes of the program,
 * references, and methods that block. */
#include <dirent.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "server_box.h"
#include "server_help.h"

static struct server start_with_box(void)
{
    box_register();
    return server_start((struct covey_manager_opts){0});
}

/* ---- the manager itself ---- */

TEST(a_reply_is_the_same_bytes_as_from_cpython)
{
    static const unsigned char request[] = {0x80, 0x04, 0x95, 0x10, 0,    0,    0,
                                            0,    0,    0,    0,    0x28, 0x4e, 0x8c,
                                            0x05, 'd',  'u',  'm',  'm',  'y',  0x94,
                                            0x29, 0x7d, 0x94, 0x74, 0x94, 0x2e};
    static const unsigned char wanted[] = {
        0x80, 0x04, 0x95, 0x0e, 0,   0,   0,   0,    0,    0,    0,    0x8c, 7,
        '#',  'R',  'E',  'T',  'U', 'R', 'N', 0x94, 0x4e, 0x86, 0x94, 0x2e};
    struct covey_bytes reply = {0};
    struct server server = start_with_box();
    covey_conn *conn = server_connect(&server);
    CHECK_OK(covey_conn_send(conn, COVEY_VIEW(request, sizeof request), COVEY_SEC(10)));
    CHECK_OK(covey_conn_recv(conn, &reply, COVEY_SEC(10)));
    CHECK_EQ(reply.size, sizeof wanted);
    CHECK_MEM_EQ(reply.data, wanted, sizeof wanted);
    CHECK_EQ(covey_conn_recv(conn, &reply, COVEY_SEC(10)), COVEY_EEOF);
    covey_bytes_free(&reply);
    covey_conn_free(conn);
    server_stop(&server);
}

TEST(objects_live_as_long_as_references)
{
    char ident[64];
    struct server server = start_with_box();
    server_create(&server, "Box", ident);
    CHECK_EQ(server_count(&server), 1);
    control_ok(&server, "incref", ident);
    control_ok(&server, "decref", ident);
    CHECK_EQ(server_count(&server), 1);
    control_ok(&server, "decref", ident);
    CHECK_EQ(server_count(&server), 0);
    struct reply reply = control(&server, "incref", args_of(ident));
    CHECK_STR_EQ(reply.kind, "#TRACEBACK");
    const char *text;
    CHECK_OK(covey_value_get_str(reply.value, &text, NULL));
    CHECK_STR_HAS(text, "KeyError: '");
    covey_value_free(reply.message);
    server_stop(&server);
}

TEST(questions_for_the_manager_are_answered)
{
    char ident[64], wanted[160];
    struct server server = start_with_box();
    server_create(&server, "Box", ident);
    struct reply reply = control(&server, "debug_info", args_of(NULL));
    const char *text;
    CHECK_OK(covey_value_get_str(reply.value, &text, NULL));
    snprintf(wanted, sizeof wanted, "  %s:       refcount=1\n    Box(None)", ident);
    CHECK_STR_EQ(text, wanted);
    covey_value_free(reply.message);
    reply = control(&server, "fly", args_of(NULL));
    CHECK_STR_EQ(reply.kind, "#TRACEBACK");
    CHECK_OK(covey_value_get_str(reply.value, &text, NULL));
    CHECK_STR_HAS(text, "AssertionError: 'fly' unrecognized");
    covey_value_free(reply.message);
    reply = control(&server, "create", args_of("Nothing"));
    CHECK_OK(covey_value_get_str(reply.value, &text, NULL));
    CHECK_STR_HAS(text, "KeyError: 'Nothing'");
    covey_value_free(reply.message);
    reply = control(&server, "dummy", args_of("too much"));
    CHECK_OK(covey_value_get_str(reply.value, &text, NULL));
    CHECK_STR_HAS(text, "TypeError: ");
    covey_value_free(reply.message);
    server_stop(&server);
}

/* ---- classes of the program ---- */

TEST(methods_return_raise_and_fail)
{
    char ident[64];
    struct server server = start_with_box();
    server_create(&server, "Box", ident);
    covey_conn *conn = server_session(&server, "me");
    REQUEST(conn, ident, "set", "([i, s])", 7, "x");
    REPLIES(conn, "#RETURN", "None");
    REQUEST(conn, ident, "get", "()");
    REPLIES(conn, "#RETURN", "[7, 'x']");
    REQUEST(conn, ident, "__str__", "()");
    REPLIES(conn, "#RETURN", "\"Box([7, 'x'])\"");
    REQUEST(conn, ident, "#GETVALUE", "()");
    REPLIES(conn, "#RETURN", "[7, 'x']");
    REQUEST(conn, ident, "set", "()");
    REPLIES(conn, "#ERROR", "TypeError('set() needs a value')");
    REQUEST(conn, ident, "empty", "()");
    REPLIES(conn, "#ERROR", "Empty()");
    REQUEST(conn, ident, "fail", "(s)", "no number");
    REPLIES(conn, "#ERROR", "TypeError(");
    REQUEST(conn, ident, "fly", "()");
    REPLIES(conn, "#TRACEBACK", "AttributeError: method 'fly' of 'Box' object");
    REQUEST(conn, "7f0000000000", "get", "()");
    REPLIES(conn, "#TRACEBACK", "KeyError: '7f0000000000'");
    covey_conn_free(conn);
    server_stop(&server);
}

/* Raises what it is given, which is bytes; a number: the first so many of them. */
static int raise_text(covey_request *request, void *self)
{
    struct covey_view text;
    const covey_value *args = covey_request_args(request);
    int64_t most;
    (void)self;
    int r = covey_value_get_bytes(covey_value_at(args, 0), &text);
    if (r >= 0)
        r = covey_value_get_int(covey_value_at(args, 1), &most);
    return r < 0 ? r
                 : covey_request_raise(request, "ValueError", "%.*s", (int)most,
                                       (const char *)text.data);
}

TEST(texts_of_exceptions_are_whole_and_of_characters)
{
    static const struct covey_method methods[] = {{"raise_text", raise_text, 0}};
    struct covey_class cls = box_class;
    char ident[64], text[3001] = {0}, wanted[3100];
    cls.methods = methods;
    cls.method_count = 1;
    CHECK_OK(covey_manager_register("Raiser", &cls, NULL));
    struct server server = server_start((struct covey_manager_opts){0});
    server_create(&server, "Raiser", ident);
    covey_conn *conn = server_session(&server, "me");
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = "\u00e9"[i % 2];
    REQUEST(conn, ident, "raise_text", "(y, i)", text, 3000);
    snprintf(wanted, sizeof wanted, "ValueError('%s')", text);
    REPLIES(conn, "#ERROR", wanted);
    REQUEST(conn, ident, "raise_text", "(y, i)", text, 5);
    REPLIES(conn, "#ERROR", "ValueError('\u00e9\u00e9?')");
    REQUEST(conn, ident, "raise_text", "(y, i)", "a\xf0\x9f\x98z", 5);
    REPLIES(conn, "#ERROR", "ValueError('a?z')");
    covey_conn_free(conn);
    server_stop(&server);
}

TEST(constructors_can_refuse)
{
    struct server server = start_with_box();
    covey_value *args;
    const char *text;
    CHECK_OK(covey_value_pack(&args, "(s, i, i)", "Box", 1, 2));
    struct reply reply = control(&server, "create", args);
    CHECK_STR_EQ(reply.kind, "#TRACEBACK");
    CHECK_OK(covey_value_get_str(reply.value, &text, NULL));
    CHECK_STR_HAS(text, "TypeError: a box is for one thing\n");
    covey_value_free(reply.message);
    CHECK_EQ(server_count(&server), 0);
    server_stop(&server);
}

TEST(a_method_can_return_a_proxy_of_a_new_object)
{
    char ident[64];
    const char *type, *made;
    const covey_value *exposed, *token, *address;
    struct covey_object parts;
    struct server server = start_with_box();
    server_create(&server, "Box", ident);
    covey_conn *conn = server_session(&server, "me");
    REQUEST(conn, ident, "split", "(i)", 5);
    struct reply reply = reply_get(conn);
    CHECK_STR_EQ(reply.kind, "#PROXY");
    CHECK_OK(covey_value_unpack(reply.value, "(O, O)", &exposed, &token));
    CHECK_EQ(covey_value_count(exposed), sizeof box_methods / sizeof *box_methods);
    CHECK(
        covey_value_is(covey_value_class(token), "multiprocessing.managers", "Token"));
    CHECK_OK(covey_value_get_object(token, &parts));
    CHECK_OK(covey_value_unpack(parts.state, "(s, O, s)", &type, &address, &made));
    CHECK_STR_EQ(type, "Box");
    CHECK_EQ(server_count(&server), 2);
    REQUEST(conn, made, "get", "()");
    REPLIES(conn, "#RETURN", "5");
    control_ok(&server, "decref", made);
    CHECK_EQ(server_count(&server), 1);
    covey_value_free(reply.message);
    covey_conn_free(conn);
    server_stop(&server);
}

TEST(a_socket_that_listens_already_is_served)
{
    covey_manager *manager = NULL;
    const struct sockaddr_un nowhere = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_GE(fd, 0);
    CHECK_ERR(covey_manager_start(&manager, COVEY_MANAGER_OPTS(.listen_fd = fd)),
              -EINVAL);
    const struct covey_manager_opts *both =
        COVEY_MANAGER_OPTS(.listen_fd = fd, .address = "127.0.0.1:0");
    CHECK_ERR(covey_manager_serve_forever(both), -EINVAL);
    CHECK_ERR(covey_manager_serve_forever(COVEY_MANAGER_OPTS(.listen_fd = -1)),
              -EINVAL);
    CHECK_ERR(covey_manager_serve_forever(COVEY_MANAGER_OPTS(.listen_fd = 1000)),
              -EBADF);
    CHECK_ERR(covey_manager_serve_forever(COVEY_MANAGER_OPTS(.listen_fd = fd)),
              -EINVAL); /* it does not listen */
    /* A name that the system chooses. */
    CHECK_EQ(bind(fd, (const struct sockaddr *)(const void *)&nowhere,
                  sizeof nowhere.sun_family),
             0);
    CHECK_EQ(listen(fd, 10), 0);
    for (int i = 0; i < 2; i++) {
        struct server server =
            server_start((struct covey_manager_opts){.listen_fd = fd});
        CHECK_EQ(server.address[0], '@');
        CHECK_EQ(server_count(&server), 0);
        server_stop(&server);
    }
    close(fd);
}

TEST(exposed_methods_are_all_that_can_be_called)
{
    static const char *const few[] = {"get"};
    static const char *const wrong[] = {"fly"};
    char ident[64];
    const char *made;
    const covey_value *exposed;
    CHECK_ERR(covey_manager_register(
                  "Shut", &box_class,
                  COVEY_REGISTER_OPTS(.exposed = wrong, .exposed_count = 1)),
              -EINVAL);
    CHECK_OK(covey_manager_register(
        "Shut", &box_class, COVEY_REGISTER_OPTS(.exposed = few, .exposed_count = 1)));
    struct server server = server_start((struct covey_manager_opts){0});
    struct reply reply = control(&server, "create", args_of("Shut"));
    CHECK_OK(covey_value_unpack(reply.value, "(s, O)", &made, &exposed));
    CHECK_EQ(covey_value_count(exposed), 1);
    snprintf(ident, sizeof ident, "%s", made);
    covey_value_free(reply.message);
    covey_conn *conn = server_session(&server, "me");
    REQUEST(conn, ident, "get", "()");
    REPLIES(conn, "#RETURN", "None");
    REQUEST(conn, ident, "set", "(i)", 1);
    REPLIES(conn, "#TRACEBACK", "AttributeError");
    REQUEST(conn, ident, "__repr__", "()");
    REPLIES(conn, "#RETURN", "Box(None)");
    covey_conn_free(conn);
    server_stop(&server);
}

/* What a proxy of it says it can do, and what it can. */
static void only_gets_and_splits(covey_conn *conn, const char *ident,
                                 const covey_value *exposed)
{
    CHECK_EQ(covey_value_count(exposed), 2);
    REQUEST(conn, ident, "set", "(i)", 1);
    REPLIES(conn, "#TRACEBACK", "AttributeError");
    REQUEST(conn, ident, "get", "()");
    REPLIES(conn, "#RETURN", "None");
}

TEST(exposed_methods_are_all_of_objects_that_methods_make_or_all_share)
{
    static const char *const few[] = {"get", "split"};
    const char *ident, *type;
    const covey_value *exposed, *token, *address;
    struct covey_object parts;
    CHECK_OK(covey_manager_register(
        "Box", &box_class, COVEY_REGISTER_OPTS(.exposed = few, .exposed_count = 2)));
    CHECK_OK(covey_manager_share("get_box", "Box", NULL));
    struct server server = server_start((struct covey_manager_opts){0});
    covey_conn *conn = server_session(&server, "me");
    struct reply shared = control(&server, "create", args_of("get_box"));
    CHECK_OK(covey_value_unpack(shared.value, "(s, O)", &ident, &exposed));
    only_gets_and_splits(conn, ident, exposed);
    REQUEST(conn, ident, "split", "()");
    struct reply made = reply_get(conn);
    CHECK_STR_EQ(made.kind, "#PROXY");
    CHECK_OK(covey_value_unpack(made.value, "(O, O)", &exposed, &token));
    CHECK_OK(covey_value_get_object(token, &parts));
    CHECK_OK(covey_value_unpack(parts.state, "(s, O, s)", &type, &address, &ident));
    CHECK_STR_EQ(type, "Box");
    only_gets_and_splits(conn, ident, exposed);
    covey_value_free(shared.message);
    covey_value_free(made.message);
    covey_conn_free(conn);
    server_stop(&server);
}

TEST(a_shared_object_is_the_same_for_all)
{
    char first[64], second[64];
    covey_value *args;
    CHECK_ERR(covey_manager_share("get_box", "Nothing", NULL), -EINVAL);
    box_register();
    CHECK_OK(covey_value_pack(&args, "(s)", "shared"));
    CHECK_OK(covey_manager_share("get_box", "Box", args));
    covey_value_free(args);
    struct server server = server_start((struct covey_manager_opts){0});
    server_create(&server, "get_box", first);
    server_create(&server, "get_box", second);
    CHECK_STR_EQ(first, second);
    control_ok(&server, "decref", first);
    control_ok(&server, "decref", first);
    CHECK_EQ(server_count(&server), 0);
    server_create(&server, "get_box", second);
    CHECK_STR_EQ(first, second);
    covey_conn *conn = server_session(&server, "me");
    REQUEST(conn, first, "get", "()");
    REPLIES(conn, "#RETURN", "'shared'");
    covey_conn_free(conn);
    server_stop(&server);
}

TEST(bad_classes_are_refused_with_a_reason)
{
    static const struct covey_method nameless[] = {{"", box_get, 0}};
    static const struct covey_method strange[] = {{"get", box_get, 64}};
    struct covey_class cls = box_class;
    CHECK_ERR(covey_manager_register("", &cls, NULL), -EINVAL);
    CHECK_ERR(covey_manager_register(NULL, &cls, NULL), -EINVAL);
    CHECK_ERR(covey_manager_register("X", NULL, NULL), -EINVAL);
    cls.methods = nameless;
    cls.method_count = 1;
    CHECK_ERR(covey_manager_register("X", &cls, NULL), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "method 0 has no name");
    cls.methods = strange;
    CHECK_ERR(covey_manager_register("X", &cls, NULL), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "unknown flags 0x40");
    cls.size = 0;
    CHECK_ERR(covey_manager_register("X", &cls, NULL), -EINVAL);
}

/* ---- methods that block ---- */

TEST(a_method_that_blocks_holds_up_only_its_session)
{
    char ident[64];
    struct server server = start_with_box();
    server_create(&server, "Box", ident);
    covey_conn *a = server_session(&server, "first|Thread-1");
    covey_conn *b = server_session(&server, "second");
    REQUEST(a, ident, "wait", "()");
    REQUEST(a, ident, "get", "()");
    REQUEST(b, ident, "set", "(i)", 3);
    REPLIES(b, "#RETURN", "None");
    CHECK_EQ(covey_conn_poll(a, COVEY_NOWAIT), -ETIMEDOUT);
    REQUEST(b, ident, "open", "()");
    REPLIES(b, "#RETURN", "0");
    REPLIES(a, "#RETURN", "'first|Thread-1'");
    REPLIES(a, "#RETURN", "3");
    covey_conn_free(a);
    covey_conn_free(b);
    server_stop(&server);
}

TEST(a_hundred_methods_may_block_at_the_same_time)
{
    enum { CALLERS = 100 };
    char ident[64];
    covey_conn *callers[CALLERS];
    struct server server = start_with_box();
    server_create(&server, "Box", ident);
    covey_conn *b = server_session(&server, "opener");
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = server_session(&server, "caller");
        REQUEST(callers[i], ident, "wait", "()");
    }
    for (int i = 0; i < CALLERS; i++) {
        REQUEST(b, ident, "open", "()");
        REPLIES(b, "#RETURN", "0");
    }
    for (int i = 0; i < CALLERS; i++) {
        REPLIES(callers[i], "#RETURN", "'caller'");
        covey_conn_free(callers[i]);
    }
    covey_conn_free(b);
    server_stop(&server);
}

static size_t threads_here(void)
{
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks);
    for (const struct dirent *d; (d = readdir(tasks));)
        count += d->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* Opens for as many as wanted, and ends when their threads have: they end together as far as
 * the manager's loop can see. */
static int open_for_all(covey_request *request, void *self)
{
    struct box *box = self;
    int64_t count = 0;
    size_t before = threads_here();
    int r = covey_value_get_int(covey_value_at(covey_request_args(request), 0), &count);
    for (int64_t i = 0; i < count && r >= 0; i++)
        r = write(box->gate[1], "", 1) == 1 ? 0 : -EIO;
    while (r >= 0 && threads_here() + (size_t)count > before)
        sched_yield();
    return r < 0 ? r : covey_request_return(request, covey_value_none());
}

/* As many block as may, as many wait for their places and are given up, and one waits. */
TEST(a_method_that_blocks_begins_though_those_before_it_were_given_up)
{
    enum { PLACES = 64 };
    static const struct covey_method methods[] = {
        {"get", box_get, 0},
        {"wait", box_wait, COVEY_METHOD_BLOCKS},
        {"open", box_open, 0},
        {"open_for_all", open_for_all, 0},
    };
    struct covey_class cls = box_class;
    covey_conn *inside[PLACES], *given_up[PLACES];
    char ident[64];
    cls.methods = methods;
    cls.method_count = sizeof methods / sizeof *methods;
    CHECK_OK(covey_manager_register("Hall", &cls, NULL));
    struct server server = server_start((struct covey_manager_opts){0});
    server_create(&server, "Hall", ident);
    for (int i = 0; i < PLACES; i++) {
        inside[i] = server_session(&server, "inside");
        REQUEST(inside[i], ident, "wait", "()");
    }
    server_count(&server); /* all have come by then */
    for (int i = 0; i < PLACES; i++) {
        given_up[i] = server_session(&server, "given up");
        REQUEST(given_up[i], ident, "wait", "()");
    }
    server_count(&server);
    covey_conn *last = server_session(&server, "last");
    covey_conn *opener = server_session(&server, "opener");
    REQUEST(last, ident, "wait", "()");
    for (int i = 0; i < PLACES; i++)
        covey_conn_free(given_up[i]);
    server_count(&server);
    REQUEST(opener, ident, "open_for_all", "(i)", PLACES);
    REPLIES(opener, "#RETURN", "None");
    for (int i = 0; i < PLACES; i++) {
        REPLIES(inside[i], "#RETURN", "'inside'");
        covey_conn_free(inside[i]);
    }
    REQUEST(opener, ident, "open", "()");
    REPLIES(opener, "#RETURN", "0");
    REPLIES(last, "#RETURN", "'last'");
    covey_conn_free(opener);
    covey_conn_free(last);
    server_stop(&server);
}

TEST(a_method_that_blocks_is_told_when_its_client_has_gone)
{
    char ident[64];
    struct server server = start_with_box();
    server_create(&server, "Box", ident);
    covey_conn *a = server_session(&server, "first");
    covey_conn *b = server_session(&server, "second");
    REQUEST(a, ident, "wait", "()");
    REQUEST(b, ident, "get", "()");
    REPLIES(b, "#RETURN", "None"); /* so the first request has begun */
    covey_conn_free(a);
    REQUEST(b, ident, "get", "()");
    REPLIES(b, "#RETURN", "None");
    REQUEST(b, ident, "open", "()");
    REPLIES(b, "#RETURN", "0");
    for (int sums = 0; sums != 1000;) { /* its thread goes on some time later */
        int64_t number;
        REQUEST(b, ident, "open", "()");
        struct reply reply = reply_get(b);
        CHECK_OK(covey_value_get_int(reply.value, &number));
        covey_value_free(reply.message);
        sums = (int)number;
    }
    covey_conn_free(b);
    server_stop(&server);
}

/* ---- many requests ---- */

TEST(requests_sent_ahead_are_answered_in_order)
{
    enum { MANY = 3000 };
    char ident[64], wanted[16];
    struct server server = start_with_box();
    server_create(&server, "Box", ident);
    covey_conn *conn = server_session(&server, "me");
    for (int sent = 0, got = 0; got < MANY;) {
        for (int i = 0; i < 100 && sent < MANY; i++, sent++) {
            REQUEST(conn, ident, "set", "(i)", sent);
            REQUEST(conn, ident, "get", "()");
        }
        for (; got < sent; got++) {
            REPLIES(conn, "#RETURN", "None");
            snprintf(wanted, sizeof wanted, "%d", got);
            REPLIES(conn, "#RETURN", wanted);
        }
    }
    covey_conn_free(conn);
    server_stop(&server);
}

TEST(requests_and_replies_of_many_megabytes_pass)
{
    enum { BIG = 20 << 20 };
    char ident[64];
    struct covey_view view;
    struct server server = start_with_box();
    server_create(&server, "Box", ident);
    covey_conn *conn = server_session(&server, "me");
    char *bytes = malloc(BIG);
    CHECK(bytes != NULL);
    memset(bytes, 'b', BIG);
    REQUEST(conn, ident, "set", "(y#)", bytes, (size_t)BIG);
    REPLIES(conn, "#RETURN", "None");
    REQUEST(conn, ident, "get", "()");
    struct reply reply = reply_get(conn);
    CHECK_OK(covey_value_get_bytes(reply.value, &view));
    CHECK_EQ(view.size, (size_t)BIG);
    CHECK_EQ(memcmp(view.data, bytes, BIG), 0);
    covey_value_free(reply.message);
    free(bytes);
    covey_conn_free(conn);
    server_stop(&server);
}

TEST(requests_for_the_manager_may_come_where_objects_are_called)
{
    char ident[64];
    const char *made;
    const covey_value *exposed;
    struct server server =
        (box_register(),
         server_start((struct covey_manager_opts){.address = "127.0.0.1:0"}));
    covey_conn *conn = server_session(&server, "me");
    REQUEST(conn, NULL, "create", "(s)", "Box");
    struct reply reply = reply_get(conn);
    CHECK_OK(covey_value_unpack(reply.value, "(s, O)", &made, &exposed));
    snprintf(ident, sizeof ident, "%s", made);
    covey_value_free(reply.message);
    REQUEST(conn, ident, "get", "()");
    REPLIES(conn, "#RETURN", "None");
    CHECK_EQ(server_count(&server), 1);
    covey_conn_free(conn); /* and then its references end with it */
    while (server_count(&server) > 0)
        continue;
    server_stop(&server);
}

CHECK_MAIN()
