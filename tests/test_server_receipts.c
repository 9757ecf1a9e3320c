/* SPDX-License-Identifier: MIT */
/* References that have a receipt: they are given back once, whoever tries it, however often,
 * and in whatever order that comes with the request that asked for them. */
#include "manager/message.h"
#include "server_help.h"

/* A request for the manager itself, from a process of the family of `first`. */
static struct reply ask(const struct server *server, int first, unsigned receipt,
                        const char *method, const char *arg)
{
    char ident[64];
    covey_conn *conn = server_connect(server);
    snprintf(ident, sizeof ident, "covey-%d-%d-%x", first, (int)getpid(), receipt);
    REQUEST(conn, ident, method, "(s)", arg);
    struct reply reply = reply_get(conn);
    covey_conn_free(conn);
    return reply;
}

static void asked(const struct server *server, unsigned receipt, const char *method,
                  const char *arg, const char *repr)
{
    struct covey_bytes text = {0};
    struct reply reply = ask(server, getpid(), receipt, method, arg);
    CHECK_OK(covey_value_repr(reply.value, &text));
    CHECK_STR_HAS((const char *)text.data, repr);
    covey_bytes_free(&text);
    covey_value_free(reply.message);
}

static void make_list(const struct server *server, int first, unsigned receipt,
                      char ident[64])
{
    const char *name;
    const covey_value *exposed;
    int has_receipt = 0;
    struct reply reply = ask(server, first, receipt, "create", "list");
    CHECK_STR_EQ(reply.kind, "#RETURN");
    CHECK_OK(
        covey_value_unpack(reply.value, "(s, O, p)", &name, &exposed, &has_receipt));
    CHECK_EQ(has_receipt, 1);
    snprintf(ident, 64, "%s", name);
    covey_value_free(reply.message);
}

TEST(a_reference_with_a_receipt_is_given_back_once)
{
    struct server server = server_start((struct covey_manager_opts){0});
    char ident[64];
    make_list(&server, getpid(), 1, ident);
    asked(&server, 2, "incref", ident, "True");
    asked(&server, 1, "decref", ident, "None");
    asked(&server, 1, "decref", ident, "None");
    CHECK_EQ(server_count(&server), 1);
    asked(&server, 2, "decref", ident, "None");
    CHECK_EQ(server_count(&server), 0);
    asked(&server, 2, "decref", ident, "None");
    server_stop(&server);
}

TEST(who_does_not_know_what_was_made_gives_it_back)
{
    struct server server = server_start((struct covey_manager_opts){0});
    char ident[64], other[64];
    make_list(&server, getpid(), 1, ident);
    make_list(&server, getpid(), 2, other);
    asked(&server, 1, "decref", "", "None");
    CHECK_EQ(server_count(&server), 1);
    asked(&server, 2, "incref", other, "True");
    asked(&server, 2, "decref", other, "None");
    asked(&server, 2, "decref", other, "None");
    CHECK_EQ(server_count(&server), 0);
    server_stop(&server);
}

/* The request of who was killed is read after that of who found its proxy. */
TEST(what_was_given_back_before_is_not_made)
{
    struct server server = server_start((struct covey_manager_opts){0});
    char ident[64];
    server_create(&server, "dict", ident);
    asked(&server, 7, "decref", "", "None");
    asked(&server, 7, "create", "list", "ValueError");
    asked(&server, 7, "incref", ident, "ValueError");
    CHECK_EQ(server_count(&server), 1);
    control_ok(&server, "decref", ident);
    CHECK_EQ(server_count(&server), 0);
    server_stop(&server);
}

TEST(receipts_without_number_are_none)
{
    struct server server = server_start((struct covey_manager_opts){0});
    char ident[64];
    server_create(&server, "list", ident);
    asked(&server, 0, "incref", ident, "None");
    asked(&server, 0, "decref", ident, "None");
    asked(&server, 0, "decref", ident, "None");
    CHECK_EQ(server_count(&server), 0);
    server_stop(&server);
}

/* A reference without one goes as those of others. */
TEST(there_are_twice_as_many_receipts_as_objects)
{
    struct server server = server_start((struct covey_manager_opts){.max_objects = 1});
    char ident[64];
    make_list(&server, getpid(), 1, ident);
    asked(&server, 2, "incref", ident, "True");
    asked(&server, 3, "incref", ident, "None");
    asked(&server, 1, "decref", ident, "None");
    asked(&server, 4, "incref", ident, "True");
    asked(&server, 2, "decref", ident, "None");
    asked(&server, 4, "decref", ident, "None");
    CHECK_EQ(server_count(&server), 1);
    control_ok(&server, "decref", ident);
    CHECK_EQ(server_count(&server), 0);
    server_stop(&server);
}

/* ---- and references without ---- */

/* Who has one with a receipt gives it back without, and goes. */
static int child_without(const struct server *server, const char *ident, int go)
{
    char byte;
    CHECK_EQ(read(go, &byte, 1), 1);
    control_ok(server, "decref", ident);
    return 0;
}

TEST(a_receipt_goes_with_the_last_reference_of_its_client)
{
    struct server server = server_start((struct covey_manager_opts){0});
    char ident[64];
    int go[2], made[2];
    CHECK_EQ(pipe(go), 0);
    CHECK_EQ(pipe(made), 0);
    fflush(NULL);
    int pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        make_list(&server, getpid(), 1, ident);
        CHECK_EQ(write(made[1], ident, sizeof ident), sizeof ident);
        exit(child_without(&server, ident, go[0]));
    }
    CHECK_EQ(read(made[0], ident, sizeof ident), sizeof ident);
    control_ok(&server, "incref", ident);
    CHECK_EQ(write(go[1], "", 1), 1);
    int status = -1;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    asked(&server, 1, "decref", ident, "None");
    CHECK_EQ(server_count(&server), 1);
    control_ok(&server, "decref", ident);
    CHECK_EQ(server_count(&server), 0);
    for (int i = 0; i < 2; i++) {
        close(go[i]);
        close(made[i]);
    }
    server_stop(&server);
}

/* What somebody sent who is dead when it is read is for his own references, which are gone. */
TEST(what_the_dead_had_sent_takes_nothing_from_others)
{
    struct server server = server_start((struct covey_manager_opts){0});
    char ident[64], byte;
    int ends[2];
    server_create(&server, "list", ident);
    CHECK_EQ(pipe(ends), 0);
    fflush(NULL);
    int pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        control_ok(&server, "incref", ident);
        covey_conn *conn = server_connect(&server);
        CHECK_EQ(kill(server.pid, SIGSTOP), 0);
        REQUEST(conn, NULL, "decref", "(s)", ident);
        CHECK_EQ(write(ends[1], "", 1), 1);
        pause();
    }
    CHECK_EQ(read(ends[0], &byte, 1), 1);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    CHECK_EQ(kill(server.pid, SIGCONT), 0);
    CHECK_EQ(server_count(&server), 1);
    covey_conn *conn = server_session(&server, "who has one");
    REQUEST(conn, ident, "append", "(i)", 1);
    REPLIES(conn, "#RETURN", "None");
    covey_conn_free(conn);
    control_ok(&server, "decref", ident);
    CHECK_EQ(server_count(&server), 0);
    close(ends[0]);
    close(ends[1]);
    server_stop(&server);
}

/* ---- what methods return ---- */

static covey_conn *coveys_session(const struct server *server, int first)
{
    char ident[64];
    covey_conn *conn = server_connect(server);
    snprintf(ident, sizeof ident, "covey-%d-%d-0", first, (int)getpid());
    REQUEST(conn, ident, "accept_connection", "(s)", "one of covey's");
    REPLIES(conn, "#RETURN", "True");
    return conn;
}

/* An iterator over the object, made by its method. */
static void iterator_made(covey_conn *conn, const char *of, char ident[64])
{
    struct cvy_token token;
    const covey_value *exposed;
    REQUEST(conn, of, "__iter__", "()");
    struct reply reply = reply_get(conn);
    CHECK_STR_EQ(reply.kind, "#PROXY");
    CHECK_OK(cvy_reply_read_proxy(reply.value, &exposed, &token));
    snprintf(ident, 64, "%s", token.ident);
    covey_value_free(reply.message);
}

TEST(what_a_method_returned_gets_a_receipt_once)
{
    struct server server = server_start((struct covey_manager_opts){0});
    char dict[64], iterator[64];
    server_create(&server, "dict", dict);
    covey_conn *conn = coveys_session(&server, getpid());
    iterator_made(conn, dict, iterator);
    REQUEST(conn, CVY_RECEIPT_REQUEST, CVY_RECEIPT_REQUEST, "(s, i)", iterator, 5);
    REPLIES(conn, "#RETURN", "True");
    asked(&server, 5, "decref", iterator, "None");
    asked(&server, 5, "decref", iterator, "None");
    CHECK_EQ(server_count(&server), 1);
    iterator_made(conn, dict, iterator);
    asked(&server, 6, "decref", "", "None");
    CHECK_EQ(server_count(&server), 2);
    REQUEST(conn, CVY_RECEIPT_REQUEST, CVY_RECEIPT_REQUEST, "(s, i)", iterator, 6);
    REPLIES(conn, "#TRACEBACK", "ValueError");
    CHECK_EQ(server_count(&server), 1);
    iterator_made(conn, dict, iterator);
    REQUEST(conn, CVY_RECEIPT_REQUEST, CVY_RECEIPT_REQUEST, "(s, i)", iterator, 0);
    REPLIES(conn, "#RETURN", "False"); /* nobody wants it */
    CHECK_EQ(server_count(&server), 1);
    REQUEST(conn, CVY_RECEIPT_REQUEST, CVY_RECEIPT_REQUEST, "(s, i)", "1", 7);
    REPLIES(conn, "#TRACEBACK", "KeyError");
    REQUEST(conn, CVY_RECEIPT_REQUEST, CVY_RECEIPT_REQUEST, "()");
    REPLIES(conn, "#TRACEBACK", "TypeError");
    covey_conn_free(conn);
    control_ok(&server, "decref", dict);
    CHECK_EQ(server_count(&server), 0);
    server_stop(&server);
}

/* A client with what a method has returned is killed before it has told its family. */
static int child_with_an_iterator(const struct server *server, int first,
                                  const char *dict, bool tells)
{
    int ends[2], pid;
    char iterator[64], byte;
    CHECK_EQ(pipe(ends), 0);
    fflush(NULL);
    pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        covey_conn *conn = coveys_session(server, first);
        iterator_made(conn, dict, iterator);
        if (tells) {
            REQUEST(conn, CVY_RECEIPT_REQUEST, CVY_RECEIPT_REQUEST, "(s, i)", iterator,
                    9);
            REPLIES(conn, "#RETURN", "True");
        }
        CHECK_EQ(write(ends[1], "", 1), 1);
        pause();
    }
    CHECK_EQ(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    close(ends[1]);
    return pid;
}

TEST(what_a_killed_client_had_not_told_its_family_of_goes_with_it)
{
    struct server server = server_start((struct covey_manager_opts){0});
    char dict[64];
    server_create(&server, "dict", dict);
    int alone = child_with_an_iterator(&server, getpid(), dict, false);
    int telling = child_with_an_iterator(&server, getpid(), dict, true);
    CHECK_EQ(server_count(&server), 3);
    CHECK_EQ(kill(alone, SIGKILL), 0);
    CHECK_EQ(waitpid(alone, NULL, 0), alone);
    while (server_count(&server) != 2)
        continue;
    CHECK_EQ(kill(telling, SIGKILL), 0);
    CHECK_EQ(waitpid(telling, NULL, 0), telling);
    asked(&server, 9, "decref", "", "None"); /* its family's until now */
    CHECK_EQ(server_count(&server), 1);
    control_ok(&server, "decref", dict);
    server_stop(&server);
}

/* Of who comes over TCP only the end of the session is seen. */
TEST(what_nobody_signed_for_over_tcp_goes_with_the_session)
{
    struct server server =
        server_start((struct covey_manager_opts){.address = "127.0.0.1:0"});
    char dict[64], iterator[64];
    server_create(&server, "dict", dict);
    for (unsigned signs = 0; signs < 2; signs++) {
        covey_conn *conn = coveys_session(&server, getpid());
        iterator_made(conn, dict, iterator);
        if (signs) {
            REQUEST(conn, CVY_RECEIPT_REQUEST, CVY_RECEIPT_REQUEST, "(s, i)", iterator,
                    3);
            REPLIES(conn, "#RETURN", "True");
        }
        covey_conn *other = coveys_session(&server, getpid());
        covey_conn_free(conn);
        while (!signs && server_count(&server) != 1)
            continue;
        if (signs) {
            REQUEST(other, iterator, "__next__", "()");
            REPLIES(other, "#ERROR", "StopIteration");
        }
        covey_conn_free(other);
    }
    CHECK_EQ(server_count(&server), 2);
    asked(&server, 3, "decref", "", "None");
    CHECK_EQ(server_count(&server), 1);
    control_ok(&server, "decref", dict);
    server_stop(&server);
}

/* ---- the first process of a family ends ---- */

/* Who has called the object inherits all references, with their receipts. */
TEST(receipts_are_inherited)
{
    struct server server = server_start((struct covey_manager_opts){0});
    char ident[64];
    fflush(NULL);
    int first = fork();
    CHECK_GE(first, 0);
    if (!first) {
        pause();
        exit(0);
    }
    make_list(&server, first, 1, ident);
    struct reply reply = ask(&server, first, 2, "incref", ident);
    covey_value_free(reply.message);
    covey_conn *conn = coveys_session(&server, first);
    REQUEST(conn, ident, "append", "(i)", 1);
    REPLIES(conn, "#RETURN", "None");
    CHECK_EQ(kill(first, SIGKILL), 0);
    CHECK_EQ(waitpid(first, NULL, 0), first);
    asked(&server, 1, "decref", ident, "None");
    CHECK_EQ(server_count(&server), 1);
    REQUEST(conn, ident, "append", "(i)", 2);
    REPLIES(conn, "#RETURN", "None");
    asked(&server, 2, "decref", ident, "None");
    CHECK_EQ(server_count(&server), 0);
    covey_conn_free(conn);
    server_stop(&server);
}

CHECK_MAIN()
