/* SPDX-License-Identifier: MIT */
/* What managers and their clients say to each other: byte for byte as CPython writes it,
 * and nothing malformed gets through. */
#include "channel/frame.h"
#include "conn_help.h"
#include "manager/message.h"
#include "value_help.h"

/* Its pickle is just this; uses it up. */
static void pickles_as(covey_value *value, const char *hex)
{
    unsigned char wanted[1024];
    struct covey_bytes pickle = {0};
    size_t size = unhex(hex, wanted);
    CHECK_OK(covey_value_pickle(value, &pickle));
    CHECK_EQ(pickle.size, size);
    CHECK_MEM_EQ(pickle.data, wanted, size);
    covey_bytes_free(&pickle);
    covey_value_free(value);
}

static covey_value *unpickled(const char *hex)
{
    unsigned char data[1024];
    covey_value *value = NULL;
    size_t size = unhex(hex, data);
    CHECK_OK(covey_value_unpickle(&value, data, size, NULL));
    return value;
}

#define PACK(value, ...) CHECK_OK(covey_value_pack(&(value), __VA_ARGS__))

/* ---- requests ---- */

#define DUMMY "80049510000000000000 00284e8c0564756d6d7994297d9474942e"

TEST(requests_are_written_as_cpython_does)
{
    covey_value *message = NULL, *args = NULL;
    CHECK_OK(cvy_request_make(&message, NULL, "dummy", NULL, NULL));
    pickles_as(message, DUMMY);
    CHECK_OK(covey_value_pack(&args, "(s, [i, i, i])", "list", 1, 2, 3));
    CHECK_OK(cvy_request_make(&message, NULL, "create", args, NULL));
    pickles_as(message, "8004952300000000000000284e8c06637265617465948c046c697374945d94"
                        "284b014b024b036586947d9474942e");
}

TEST(requests_are_read)
{
    struct cvy_request request;
    covey_value *message = unpickled(DUMMY);
    CHECK_OK(cvy_request_read(message, &request));
    CHECK(!request.ident);
    CHECK_STR_EQ(request.method, "dummy");
    CHECK_EQ(covey_value_count(request.args), 0);
    covey_value_free(message);
    PACK(message, "(s, s, (i), {s: i})", "7f00", "append", 1, "key", 2);
    CHECK_OK(cvy_request_read(message, &request));
    CHECK_STR_EQ(request.ident, "7f00");
    CHECK_EQ(covey_value_count(request.args), 1);
    CHECK(covey_value_find_str(request.kwargs, "key") != NULL);
    covey_value_free(message);
}

static void refused(covey_value *message, int r)
{
    struct cvy_request request;
    CHECK_OK(r);
    CHECK_ERR(cvy_request_read(message, &request), COVEY_EPROTOCOL);
    covey_value_free(message);
}

#define REFUSED(...)                                                                   \
    do {                                                                               \
        covey_value *message_ = NULL;                                                  \
        int r_ = covey_value_pack(&message_, __VA_ARGS__);                             \
        refused(message_, r_);                                                         \
    } while (0)

TEST(malformed_requests_are_refused)
{
    char name[300];
    REFUSED("i", 1);
    REFUSED("()");
    REFUSED("(z, s, ())", NULL, "m");
    REFUSED("[z, s, (), {}]", NULL, "m");
    REFUSED("(i, s, (), {})", 1, "m");
    REFUSED("(s, s, (), {})", "", "m");
    REFUSED("(z, i, (), {})", NULL, 1);
    REFUSED("(z, z, (), {})", NULL, NULL);
    REFUSED("(z, s, [], {})", NULL, "m");
    REFUSED("(z, s, (), ())", NULL, "m");
    REFUSED("(z, s, (), {i: i})", NULL, "m", 1, 2);
    REFUSED("(z, s#, (), {})", NULL, "a\0b", (size_t)3);
    memset(name, 'x', sizeof name);
    name[CVY_METHOD_MAX + 1] = 0;
    REFUSED("(z, s, (), {})", NULL, name);
    REFUSED("(s, s, (), {})", name, "m");
}

TEST(requests_with_wrong_arguments_are_not_made)
{
    covey_value *message = NULL;
    CHECK_ERR(cvy_request_make(&message, NULL, "m", covey_value_list(), NULL),
              COVEY_ETYPE);
    CHECK_ERR(cvy_request_make(&message, NULL, "m", NULL, covey_value_tuple()),
              COVEY_ETYPE);
    covey_value *broken = covey_value_tuple();
    CHECK_ERR(covey_value_append(broken, covey_value_str("\xff")), -EILSEQ);
    CHECK_ERR(cvy_request_make(&message, NULL, "m", broken, NULL), -EILSEQ);
    CHECK(!message);
}

/* ---- replies ---- */

TEST(replies_are_written_as_cpython_does)
{
    covey_value *message = NULL;
    CHECK_OK(cvy_reply_make(&message, CVY_REPLY_RETURN, covey_value_none()));
    pickles_as(message, "8004950e000000000000008c072352455455524e944e86942e");
    CHECK_OK(cvy_reply_make(
        &message, CVY_REPLY_ERROR,
        cvy_exception_text("builtins", "IndexError", "pop index out of range")));
    pickles_as(message,
               "8004954300000000000000 8c06234552524f5294 8c086275696c74696e7394 "
               "8c0a496e6465784572726f7294 9394 "
               "8c16706f7020696e646578206f7574206f662072616e676594 8594 5294 8694 2e");
}

TEST(replies_are_read)
{
    static const char *const names[] = {"#RETURN", "#ERROR", "#TRACEBACK",
                                        "#UNSERIALIZABLE"};
    enum cvy_reply_kind kind;
    const covey_value *value;
    covey_value *message = NULL;
    for (int i = 0; i < 4; i++) {
        CHECK_OK(covey_value_pack(&message, "(s, s)", names[i], "text"));
        CHECK_OK(cvy_reply_read(message, &kind, &value));
        CHECK_EQ(kind, i);
        CHECK_EQ(covey_value_kind(value), COVEY_VALUE_STR);
        covey_value_free(message);
    }
    CHECK_OK(covey_value_pack(&message, "(s, s)", "#OTHER", "text"));
    CHECK_ERR(cvy_reply_read(message, &kind, &value), COVEY_EPROTOCOL);
    CHECK_STR_HAS(covey_error_detail(), "#OTHER");
    covey_value_free(message);
    CHECK_OK(covey_value_pack(&message, "(s, i)", "#TRACEBACK", 1));
    CHECK_ERR(cvy_reply_read(message, &kind, &value), COVEY_EPROTOCOL);
    covey_value_free(message);
    CHECK_OK(covey_value_pack(&message, "[s, i]", "#RETURN", 1));
    CHECK_ERR(cvy_reply_read(message, &kind, &value), COVEY_EPROTOCOL);
    covey_value_free(message);
}

/* ---- tokens and proxies ---- */

#define TOKEN_HEX                                                                      \
    "8c186d756c746970726f63657373696e672e6d616e616765727394 8c05546f6b656e94 9394 "    \
    "298194 8c0464696374 94 8c093132372e302e302e31 94 4daaf3 8694 "                    \
    "8c04376636 3094 8794 62"

TEST(tokens_come_back)
{
    struct cvy_token token = {"dict", NULL, "7f60"}, got;
    covey_value *address = NULL;
    CHECK_OK(cvy_address_to_value(&address, "127.0.0.1:62378"));
    token.address = address;
    covey_value *made = cvy_token_make(&token);
    CHECK_OK(covey_value_check(made));
    CHECK_OK(cvy_token_read(made, &got));
    CHECK_STR_EQ(got.type_id, "dict");
    CHECK_STR_EQ(got.ident, "7f60");
    CHECK(covey_value_equal(got.address, address));
    pickles_as(made, "8004954b00000000000000" TOKEN_HEX "2e");
    covey_value_free(address);
}

TEST(what_is_no_token_is_refused)
{
    struct cvy_token token;
    covey_value *value = covey_value_int(1);
    CHECK_ERR(cvy_token_read(value, &token), COVEY_EPROTOCOL);
    covey_value_free(value);
    value = covey_value_instance(covey_value_global(CVY_MANAGERS, "Token"),
                                 covey_value_tuple());
    CHECK_ERR(cvy_token_read(value, &token), COVEY_EPROTOCOL);
    covey_value *state = NULL;
    CHECK_OK(covey_value_pack(&state, "(s, i, s)", "dict", 5, "7f"));
    CHECK_OK(covey_value_put_state(value, state));
    CHECK_ERR(cvy_token_read(value, &token), COVEY_EPROTOCOL);
    CHECK_STR_HAS(covey_error_detail(), "address");
    covey_value_free(value);
}

TEST(proxies_come_back)
{
    struct cvy_pickled_proxy proxy = {.class_name = "DictProxy"}, got;
    covey_value *address = covey_value_str("/tmp/x"), *exposed = NULL;
    proxy.token = (struct cvy_token){"dict", address, "7f60"};
    covey_value *made = cvy_pickled_proxy_make(&proxy);
    CHECK(cvy_pickled_proxy_is(made));
    CHECK_OK(cvy_pickled_proxy_read(made, &got));
    CHECK_STR_EQ(got.class_name, "DictProxy");
    CHECK_STR_EQ(got.class_module, CVY_MANAGERS);
    CHECK_STR_EQ(got.token.ident, "7f60");
    CHECK(!got.exposed);
    covey_value_free(made);
    PACK(exposed, "(s, s)", "get", "put");
    proxy.class_name = "AutoProxy";
    proxy.exposed = exposed;
    made = cvy_pickled_proxy_make(&proxy);
    CHECK_OK(cvy_pickled_proxy_read(made, &got));
    CHECK_EQ(covey_value_count(got.exposed), 2);
    covey_value_free(made);
    covey_value_free(exposed);
    covey_value_free(address);
    CHECK(!cvy_pickled_proxy_is(NULL));
    CHECK_STR_EQ(cvy_proxy_class_of("RLock"), "AcquirerProxy");
    CHECK(!cvy_proxy_class_of("Queue"));
}

TEST(malformed_proxies_are_refused)
{
    struct cvy_pickled_proxy got;
    covey_value *args = NULL;
    CHECK_OK(covey_value_pack(&args, "(i, i, s, {})", 1, 2, "pickle"));
    covey_value *made =
        covey_value_call(covey_value_global(CVY_MANAGERS, "RebuildProxy"), args);
    CHECK(cvy_pickled_proxy_is(made));
    CHECK_ERR(cvy_pickled_proxy_read(made, &got), COVEY_EPROTOCOL);
    covey_value_free(made);
    made = covey_value_global(CVY_MANAGERS, "RebuildProxy");
    CHECK(!cvy_pickled_proxy_is(made));
    covey_value_free(made);
}

TEST(proxy_replies_come_back)
{
    struct cvy_token token, sent = {"Iterator", NULL, "7f60"};
    enum cvy_reply_kind kind;
    const covey_value *value, *exposed;
    covey_value *message = NULL, *names = NULL, *address = covey_value_str("/tmp/x");
    sent.address = address;
    PACK(names, "(s, s)", "__next__", "send");
    CHECK_OK(cvy_reply_make_proxy(&message, names, &sent));
    CHECK_OK(cvy_reply_read(message, &kind, &value));
    CHECK_EQ(kind, CVY_REPLY_PROXY);
    CHECK_OK(cvy_reply_read_proxy(value, &exposed, &token));
    CHECK_EQ(covey_value_count(exposed), 2);
    CHECK_STR_EQ(token.type_id, "Iterator");
    covey_value_free(message);
    covey_value_free(address);
    value = covey_value_none();
    CHECK_ERR(cvy_reply_read_proxy(value, &exposed, &token), COVEY_EPROTOCOL);
}

/* ---- exceptions ---- */

static void says(covey_value *exception, const char *name, const char *text)
{
    struct cvy_exception e;
    struct covey_bytes got = {0};
    CHECK_OK(cvy_exception_read(exception, &e));
    CHECK_STR_EQ(e.name, name);
    CHECK_OK(cvy_exception_str(&e, &got));
    CHECK_STR_EQ((const char *)got.data, text);
    covey_bytes_free(&got);
    covey_value_free(exception);
}

static covey_value *exception(const char *name, covey_value *args)
{
    return cvy_exception_make("builtins", name, args);
}

TEST(exceptions_say_what_python_says)
{
    covey_value *args = NULL;
    says(exception("StopIteration", NULL), "StopIteration", "");
    says(cvy_exception_make("_queue", "Empty", NULL), "Empty", "");
    says(cvy_exception_text("builtins", "ValueError", "%d is bad", 7), "ValueError",
         "7 is bad");
    PACK(args, "(s)", "x");
    says(exception("KeyError", args), "KeyError", "'x'");
    PACK(args, "(i)", 5);
    says(exception("ValueError", args), "ValueError", "5");
    PACK(args, "(s, i)", "a", 5);
    says(exception("ValueError", args), "ValueError", "('a', 5)");
    PACK(args, "(i, s)", 2, "No such file or directory");
    says(exception("FileNotFoundError", args), "FileNotFoundError",
         "[Errno 2] No such file or directory");
    PACK(args, "(i, s, s)", 2, "No such file or directory", "x");
    says(exception("FileNotFoundError", args), "FileNotFoundError",
         "[Errno 2] No such file or directory: 'x'");
}

TEST(an_exception_of_endless_text_is_cut)
{
    covey_value *value = covey_value_str("0123456789"), *args = covey_value_tuple();
    for (int i = 0; i < 60; i++) {
        covey_value *pair = covey_value_tuple();
        CHECK_OK(covey_value_append(pair, covey_value_ref(value)));
        CHECK_OK(covey_value_append(pair, value));
        value = pair;
    }
    CHECK_OK(covey_value_append(args, value));
    says(exception("ValueError", args), "ValueError", "...");
}

TEST(what_is_no_exception_is_refused)
{
    struct cvy_exception e;
    covey_value *value = covey_value_str("oops");
    CHECK_ERR(cvy_exception_read(value, &e), COVEY_EPROTOCOL);
    covey_value_free(value);
}

/* ---- addresses ---- */

static void address_is(const char *text, const char *repr)
{
    char back[CVY_OS_ADDRESS_TEXT];
    covey_value *value = NULL;
    CHECK_OK(cvy_address_to_value(&value, text));
    CHECK_OK(cvy_address_from_value(value, back));
    CHECK_STR_EQ(back, text[0] == ':' ? "127.0.0.1:80" : text);
    is(value, repr);
}

TEST(addresses_are_pythons)
{
    char back[CVY_OS_ADDRESS_TEXT];
    address_is("127.0.0.1:5000", "('127.0.0.1', 5000)");
    address_is(":80", "('127.0.0.1', 80)");
    address_is("localhost:1", "('localhost', 1)");
    address_is("[::1]:5000", "('::1', 5000)");
    address_is("/tmp/socket", "'/tmp/socket'");
    address_is("./socket", "'./socket'");
    address_is("@name", "b'\\x00name'");
    covey_value *value = covey_value_str("socket");
    CHECK_OK(cvy_address_from_value(value, back));
    CHECK_STR_EQ(back, "./socket");
    covey_value_free(value);
    value = covey_value_bytes("/a", 2);
    CHECK_OK(cvy_address_from_value(value, back));
    CHECK_STR_EQ(back, "/a");
    covey_value_free(value);
}

TEST(what_is_no_address_is_refused)
{
    static const char *const texts[] = {"", "name", "host:", "host:x", "host:123456"};
    char back[CVY_OS_ADDRESS_TEXT];
    covey_value *value = NULL;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        CHECK_ERR(cvy_address_to_value(&value, texts[i]), -EINVAL);
    value = covey_value_int(5);
    CHECK_ERR(cvy_address_from_value(value, back), COVEY_EPROTOCOL);
    covey_value_free(value);
    PACK(value, "(s, i)", "host", 65536);
    CHECK_ERR(cvy_address_from_value(value, back), COVEY_EPROTOCOL);
    covey_value_free(value);
    value = covey_value_str_size("a\0b", 3);
    CHECK_ERR(cvy_address_from_value(value, back), COVEY_EPROTOCOL);
    covey_value_free(value);
}

/* ---- frames ---- */

static void header_is(uint64_t size, const char *hex)
{
    unsigned char header[CVY_FRAME_HEADER], wanted[12];
    size_t wanted_size = unhex(hex, wanted);
    CHECK_EQ(cvy_frame_put(header, size), wanted_size);
    CHECK_MEM_EQ(header, wanted, wanted_size);
    CHECK_EQ(cvy_frame_length(header, 3), 4);
    CHECK_EQ(cvy_frame_length(header, wanted_size), wanted_size);
    CHECK_EQ(cvy_frame_size(header), size);
}

/* As Connection._send_bytes writes them. */
TEST(messages_from_2_gib_on_have_the_long_header)
{
    header_is(0, "00000000");
    header_is(0x1020304, "01020304");
    header_is(INT32_MAX, "7fffffff");
    header_is((uint64_t)INT32_MAX + 1, "ffffffff 0000000080000000");
    header_is(0x102030405060708, "ffffffff 0102030405060708");
}

CHECK_MAIN()
