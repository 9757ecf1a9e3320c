/* SPDX-License-Identifier: MIT */
/* Each limit that can be given to `covey serve` is the one that holds. */
#include "server_help.h"
#include "tool_help.h"

static struct tool tool;

/* The command with these options, as a server to speak with. */
static struct server serve(const char *options)
{
    struct server server = {0};
    tool = tool_start("127.0.0.1:0", "secret", NULL, options);
    server.pid = tool.pid;
    memcpy(server.address, tool.address, sizeof server.address);
    return server;
}

/* A session with an object of that type, whose name is `ident`. */
static covey_conn *session_with(const struct server *server, const char *type,
                                char ident[64])
{
    server_create(server, type, ident);
    return server_session(server, "me");
}

static char *text_of(size_t size)
{
    static char text[3000];
    memset(text, 'x', size);
    text[size] = 0;
    return text;
}

TEST(max_message)
{
    char list[64];
    struct server server = serve("--max-message 1K");
    covey_conn *me = session_with(&server, "list", list);
    REQUEST(me, list, "append", "(s)", text_of(900));
    REPLIES(me, "#RETURN", "None");
    REQUEST(me, list, "append", "(s)", text_of(1100));
    REPLIES(me, "#TRACEBACK", "the manager takes at most 1024");
    covey_conn_free(me);
    tool_ends(&tool, SIGTERM);
}

TEST(max_reply)
{
    char list[64];
    struct server server = serve("--max-reply 1K");
    covey_conn *me = session_with(&server, "list", list);
    REQUEST(me, list, "append", "(s)", text_of(2000));
    REPLIES(me, "#RETURN", "None");
    REQUEST(me, list, "__len__", "()");
    REPLIES(me, "#RETURN", "1");
    REQUEST(me, list, "__getitem__", "(i)", 0);
    REPLIES(me, "#UNSERIALIZABLE", "the manager sends at most 1024");
    covey_conn_free(me);
    tool_ends(&tool, SIGTERM);
}

TEST(max_objects)
{
    char list[64];
    struct server server = serve("--max-objects 1");
    server_create(&server, "list", list);
    struct reply reply = control(&server, "create", args_of("list"));
    CHECK_STR_EQ(reply.kind, "#TRACEBACK");
    const char *text;
    CHECK_OK(covey_value_get_str(reply.value, &text, NULL));
    CHECK_STR_HAS(text, "has 1 objects, which is its limit");
    covey_value_free(reply.message);
    tool_ends(&tool, SIGTERM);
}

TEST(max_sessions)
{
    struct server server = serve("--max-sessions 1");
    struct covey_bytes got = {0};
    covey_conn *me = server_session(&server, "me"), *other = server_connect(&server);
    CHECK_ERR(covey_conn_recv(other, &got, COVEY_SEC(20)), COVEY_EEOF);
    covey_conn_free(other);
    covey_conn_free(me);
    tool_ends(&tool, SIGTERM);
}

/* A long list made of a short one. */
static void is_too_much(const char *option)
{
    char list[64];
    struct server server = serve(option);
    covey_conn *me = session_with(&server, "list", list);
    REQUEST(me, list, "append", "(i)", 1000000);
    REPLIES(me, "#RETURN", "None");
    REQUEST(me, list, "__mul__", "(i)", 5);
    REPLIES(me, "#RETURN", "1000000, 1000000");
    REQUEST(me, list, "__mul__", "(i)", 5000);
    REPLIES(me, "#ERROR", NULL);
    covey_conn_free(me);
    tool_ends(&tool, SIGTERM);
}

TEST(max_steps)
{
    is_too_much("--max-steps 1000");
}

/* Each request is small, and so is the list, but not what it has in it. */
TEST(max_steps_of_a_result)
{
    char list[64];
    struct server server = serve("--max-steps 100");
    covey_conn *me = session_with(&server, "list", list);
    for (int i = 0; i < 20; i++) {
        REQUEST(me, list, "append", "([iiiii])", 1, 2, 3, 4, 5);
        REPLIES(me, "#RETURN", "None");
    }
    REQUEST(me, list, "#GETVALUE", "()");
    REPLIES(me, "#ERROR", "the result has more values than the manager grants");
    REQUEST(me, list, "pop", "()");
    REPLIES(me, "#RETURN", "[1, 2, 3, 4, 5]");
    covey_conn_free(me);
    tool_ends(&tool, SIGTERM);
}

TEST(max_bytes)
{
    is_too_much("--max-bytes 10K");
}

TEST(handshake_timeout)
{
    struct server server = serve("--handshake-timeout 0.1");
    struct covey_bytes got = {0};
    covey_conn *silent = NULL;
    CHECK_OK(covey_client_connect(&silent, server.address, NULL, COVEY_SEC(20)));
    CHECK_OK(covey_conn_recv(silent, &got, COVEY_SEC(20))); /* the challenge */
    CHECK_ERR(covey_conn_recv(silent, &got, COVEY_SEC(5)), COVEY_EEOF);
    covey_bytes_free(&got);
    covey_conn_free(silent);
    tool_ends(&tool, SIGTERM);
}

TEST(segments)
{
    struct server server = serve("--segments");
    struct reply reply = control(&server, "list_segments", args_of(NULL));
    CHECK_STR_EQ(reply.kind, "#RETURN");
    covey_value_free(reply.message);
    tool_ends(&tool, SIGTERM);
    server = serve("");
    reply = control(&server, "list_segments", args_of(NULL));
    CHECK_STR_EQ(reply.kind, "#TRACEBACK");
    covey_value_free(reply.message);
    tool_ends(&tool, SIGTERM);
}

CHECK_MAIN()
