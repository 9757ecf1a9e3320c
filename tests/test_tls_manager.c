/* SPDX-License-Identifier: MIT */
/* TLS of managers: in a child, in a program, by the command; their clients in threads and
 * processes, large values, peers that are slow, silent, wrong or killed. */
#include "object_help.h"
#include "tls_help.h"
#include "tool_help.h"

#define LARGE ((size_t)8 << 20)

static covey_manager *start(const struct covey_tls *tls, const char *address)
{
    covey_manager *m = NULL;
    CHECK_OK(covey_manager_start(
        &m, COVEY_MANAGER_OPTS(.address = address, .authkey = SECRET,
                               .method = check_method(), .tls = tls)));
    return m;
}

static int connect_to(covey_manager **out, const char *address,
                      const struct covey_tls *tls)
{
    return covey_manager_connect(
        out, address,
        COVEY_CONNECT_OPTS(.authkey = SECRET, .tls = tls, .timeout = LONG), LONG);
}

static covey_value *args_of(int number)
{
    covey_value *args = NULL;
    CHECK_OK(covey_value_pack(&args, "(i)", number));
    return args;
}

static void appends(covey_manager *m)
{
    covey_proxy *list = new_object(m, "list");
    CHECK_OK(covey_proxy_call(list, NULL, "append", "(i)", 42));
    holds(list, "[42]");
    covey_proxy_free(list);
}

/* ---- forms ---- */

TEST_EACH_METHOD_AND_THREAD(a_manager_in_a_child_speaks_tls)
{
    static const char *const addresses[] = {ANY_PORT, NULL};
    for (int i = 0; i < 2; i++) {
        covey_manager *m = start(BY_KEY, addresses[i]), *other = NULL;
        appends(m);
        CHECK_OK(connect_to(&other, covey_manager_address(m), BY_KEY));
        appends(other);
        covey_manager_free(other);
        manager_end(m);
    }
}

TEST(a_manager_shows_a_certificate_and_wants_one)
{
    struct papers p;
    papers_make(&p, "client");
    p.server.server_name = "server.test"; /* for its starter */
    covey_manager *m = start(&p.server, ANY_PORT), *other = NULL;
    p.client.server_name = "127.0.0.1";
    CHECK_OK(connect_to(&other, covey_manager_address(m), &p.client));
    appends(other);
    covey_manager_free(other);
    p.client = shows(&p.c, "stranger", "ca");
    CHECK_ERR(connect_to(&other, covey_manager_address(m), &p.client), COVEY_EAUTH);
    CHECK_STR_HAS(covey_error_detail(), "unknown ca");
    CHECK_STR_HAS(covey_error_detail(), covey_manager_address(m));
    appends(m);
    manager_end(m);
    papers_free(&p);
}

static struct tool serve(const char *folder, const char *options)
{
    return tool_start("127.0.0.1:0", SECRET.data, folder, options);
}

TEST(the_command_speaks_tls)
{
    struct certificates c;
    covey_manager *m = NULL;
    certificates_make(&c);
    struct tool by_key = serve(c.folder, "--tls-from-key");
    CHECK_OK(connect_to(&m, by_key.address, BY_KEY));
    appends(m);
    covey_manager_free(m);
    tool_ends(&by_key, SIGTERM);
    struct tool by_file =
        serve(c.folder, "--tls-certificate server.pem --tls-key server.key "
                        "--tls-authorities ca.pem");
    struct covey_tls client = shows(&c, "client", "ca");
    CHECK_OK(connect_to(&m, by_file.address, &client));
    appends(m);
    covey_manager_free(m);
    tool_ends(&by_file, SIGTERM);
    certificates_free(&c);
}

/* ---- who is not let in ---- */

TEST(a_client_without_tls_and_one_with_another_key_are_refused)
{
    covey_manager *m = start(BY_KEY, ANY_PORT), *other = NULL;
    CHECK_ERR(covey_manager_connect(&other, covey_manager_address(m),
                                    COVEY_CONNECT_OPTS(.authkey = SECRET),
                                    COVEY_MSEC(300)),
              -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "may want TLS");
    CHECK_ERR(covey_manager_connect(
                  &other, covey_manager_address(m),
                  COVEY_CONNECT_OPTS(.authkey = COVEY_VIEW("x", 1), .tls = BY_KEY),
                  LONG),
              COVEY_EAUTH);
    CHECK_STR_HAS(covey_error_detail(), covey_manager_address(m));
    CHECK_STR_HAS(covey_error_detail(), "another key");
    appends(m);
    manager_end(m);
}

TEST(a_manager_without_tls_is_told_apart)
{
    covey_manager *m = start(NULL, ANY_PORT), *other = NULL;
    CHECK_ERR(connect_to(&other, covey_manager_address(m), BY_KEY), COVEY_EPROTOCOL);
    CHECK_STR_HAS(covey_error_detail(), "speaks none");
    appends(m);
    manager_end(m);
}

TEST(a_manager_that_cannot_read_its_files_says_so)
{
    covey_manager *m = NULL;
    struct covey_tls tls = {.size = sizeof tls,
                            .certificate = "/nonexistent/a",
                            .key = "/nonexistent/b",
                            .authorities = "/nonexistent/c"};
    CHECK_ERR(covey_manager_start(&m, COVEY_MANAGER_OPTS(.tls = &tls)), -ENOENT);
    CHECK_STR_HAS(covey_error_detail(), "/nonexistent/a");
    CHECK_ERR(covey_manager_serve_forever(COVEY_MANAGER_OPTS(.tls = &tls)), -ENOENT);
    CHECK_ERR(covey_manager_start(&m, COVEY_MANAGER_OPTS(.tls = COVEY_TLS(0))),
              -EINVAL);
}

static int create_and_die(struct covey_view arg)
{
    (void)new_object(*(covey_manager *const *)arg.data, "list");
    raise(SIGKILL);
    return 0;
}

/* While certificates are exchanged, say: nobody waits for a manager, and what a dead
 * process referred to is given back later. */
TEST(a_file_that_is_missing_is_no_manager_that_is_missing)
{
    struct certificates c;
    covey_manager *patient = NULL, *m = NULL;
    covey_proxy *list = NULL;
    size_t count;
    certificates_make(&c);
    struct tool command =
        serve(c.folder, "--tls-certificate server.pem --tls-key server.key "
                        "--tls-authorities ca.pem");
    struct covey_tls client = shows(&c, "client", "ca");
    CHECK_OK(covey_manager_connect(&patient, command.address,
                                   COVEY_CONNECT_OPTS(.authkey = SECRET, .tls = &client,
                                                      .reconnect = COVEY_FOREVER),
                                   LONG));
    CHECK_OK(connect_to(&m, command.address, &client));
    CHECK_EQ(run(create_and_die, COVEY_VIEW_OF(m),
                 COVEY_PROCESS_OPTS(.method = COVEY_FORK, .holds = {m})),
             -SIGKILL);
    in_folder(c.folder, "mv client.pem away");
    CHECK_ERR(covey_proxy_create(&list, patient, "list", NULL, NULL), -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), "client.pem: No such file");
    CHECK(!strstr(covey_error_detail(), "not reached within"));
    CHECK_ERR(covey_manager_count(m, &count), -EINVAL);
    in_folder(c.folder, "mv away client.pem");
    CHECK_OK(covey_manager_count(m, &count)); /* what is owed is told afterwards */
    CHECK_OK(covey_manager_count(m, &count));
    CHECK_EQ(count, 0);
    covey_manager_free(patient);
    covey_manager_free(m);
    tool_ends(&command, SIGTERM);
    certificates_free(&c);
}

/* ---- peers that take their time ---- */

TEST(silent_peers_hold_up_nobody)
{
    int silent[8];
    covey_manager *m = start(BY_KEY, ANY_PORT);
    for (int i = 0; i < 8; i++) {
        silent[i] = bare_connect(covey_manager_address(m));
        if (i % 2)
            CHECK_EQ(send(silent[i], "\x16\x03\x01\x02", 4, 0), 4);
    }
    appends(m);
    for (int i = 0; i < 8; i++)
        close(silent[i]);
    appends(m);
    manager_end(m);
}

static void fill_text(char *text, size_t size, unsigned seed)
{
    CHECK(text != NULL);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('a' + (seed + i + i / 251) % 26);
}

/* A reply for which there is no room, of a client that does not read. */
TEST(a_client_that_is_slow_to_read_gets_all_and_holds_up_nobody)
{
    covey_manager *m = start(BY_KEY, ANY_PORT);
    covey_proxy *list = new_object(m, "list");
    char *text = malloc(LARGE);
    covey_reply *reply[3];
    fill_text(text, LARGE, 1);
    CHECK_OK(covey_proxy_call(list, NULL, "append", "(y#)", text, LARGE));
    for (int i = 0; i < 3; i++)
        CHECK_OK(
            covey_proxy_send(&reply[i], list, "__getitem__", args_of(0), NULL, LONG));
    covey_manager *other = NULL;
    CHECK_OK(connect_to(&other, covey_manager_address(m), BY_KEY));
    appends(other);
    covey_manager_free(other);
    for (int i = 0; i < 3; i++) {
        covey_value *value = NULL;
        struct covey_view bytes;
        CHECK_OK(covey_reply_get(reply[i], &value, LONG));
        CHECK_OK(covey_value_get_bytes(value, &bytes));
        CHECK_EQ(bytes.size, LARGE);
        CHECK_MEM_EQ(bytes.data, text, LARGE);
        covey_value_free(value);
        covey_reply_free(reply[i]);
    }
    free(text);
    covey_proxy_free(list);
    manager_end(m);
}

TEST(requests_that_come_faster_than_they_are_answered_all_are)
{
    covey_manager *m = start(BY_KEY, ANY_PORT);
    covey_proxy *list = new_object(m, "list");
    covey_reply *replies[500];
    for (int i = 0; i < 500; i++)
        CHECK_OK(covey_proxy_send(&replies[i], list, "append", args_of(i), NULL, LONG));
    for (int i = 0; i < 500; i++) {
        covey_value *none = NULL;
        CHECK_OK(covey_reply_get(replies[i], &none, LONG));
        covey_value_free(none);
        covey_reply_free(replies[i]);
    }
    covey_proxy_free(list);
    manager_end(m);
}

/* ---- clients in threads and processes ---- */

struct worker {
    pthread_t thread;
    covey_proxy *list;
    int64_t number;
};

static void *append_many(void *arg)
{
    struct worker *w = arg;
    char *text = malloc(100000);
    fill_text(text, 100000, (unsigned)w->number);
    for (int i = 0; i < 20; i++) {
        covey_value *value = NULL;
        struct covey_view bytes;
        CHECK_OK(
            covey_proxy_call(w->list, NULL, "append", "(L)", (long long)w->number));
        CHECK_OK(
            covey_proxy_call(w->list, NULL, "append", "(y#)", text, (size_t)100000));
        CHECK_OK(covey_proxy_call(w->list, &value, "__getitem__", "(i)", 1));
        CHECK_OK(covey_value_get_bytes(value, &bytes));
        CHECK_EQ(bytes.size, 100000);
        covey_value_free(value);
    }
    free(text);
    return NULL;
}

TEST(each_thread_has_a_connection_of_its_own)
{
    covey_manager *m = start(BY_KEY, ANY_PORT);
    struct worker workers[6];
    for (int i = 0; i < 6; i++) {
        workers[i] = (struct worker){.list = new_object(m, "list"), .number = i};
        CHECK_EQ(pthread_create(&workers[i].thread, NULL, append_many, &workers[i]), 0);
    }
    for (int i = 0; i < 6; i++) {
        CHECK_EQ(pthread_join(workers[i].thread, NULL), 0);
        covey_proxy_free(workers[i].list);
    }
    manager_end(m);
}

static int append_in_child(struct covey_view arg)
{
    covey_proxy *list = *(covey_proxy *const *)arg.data;
    CHECK_EQ(chdir("/"), 0); /* the paths are not this folder's */
    CHECK_OK(covey_proxy_call(list, NULL, "append", "(i)", 7));
    return 0;
}

TEST_EACH_METHOD(a_child_uses_a_proxy_by_a_connection_of_its_own)
{
    struct certificates c;
    certificates_make(&c);
    CHECK_EQ(chdir(c.folder), 0);
    struct covey_tls files = {.size = sizeof files,
                              .certificate = "server.pem",
                              .key = "server.key",
                              .authorities = "ca.pem"};
    const struct covey_tls *const modes[] = {BY_KEY, &files};
    for (int i = 0; i < 2; i++) {
        covey_manager *m = start(modes[i], ANY_PORT);
        covey_proxy *list = new_object(m, "list");
        CHECK_OK(covey_proxy_call(list, NULL, "append", "(i)", 6));
        CHECK_EQ(run(append_in_child, COVEY_VIEW_OF(list), OPTS(.holds = {list})), 0);
        holds(list, "[6, 7]");
        covey_proxy_free(list);
        manager_end(m);
    }
    CHECK_EQ(chdir("/"), 0);
    certificates_free(&c);
}

TEST(proxies_from_values_and_of_other_managers_speak_it_too)
{
    covey_manager *m = start(BY_KEY, ANY_PORT), *other = start(BY_KEY, ANY_PORT);
    covey_proxy *list = new_object(m, "list"), *inner = new_object(other, "list"),
                *back = NULL;
    covey_value *value = NULL;
    CHECK_OK(covey_proxy_to_value(inner, &value));
    CHECK_OK(covey_proxy_call(list, NULL, "append", "(N)", value));
    CHECK_OK(covey_proxy_call(list, &value, "__getitem__", "(i)", 0));
    CHECK_OK(covey_proxy_from_value(&back, m, value));
    CHECK_OK(covey_proxy_call(back, NULL, "append", "(i)", 5));
    holds(inner, "[5]");
    covey_value_free(value);
    covey_proxy_free(back);
    covey_proxy_free(inner);
    covey_proxy_free(list);
    manager_end(other);
    manager_end(m);
}

static int die_with_lock(struct covey_view arg)
{
    covey_proxy *lock = *(covey_proxy *const *)arg.data;
    CHECK_OK(covey_proxy_lock_acquire(lock, LONG));
    raise(SIGKILL);
    return 0;
}

TEST(what_a_killed_client_holds_is_given_back)
{
    covey_manager *m = start(BY_KEY, ANY_PORT);
    covey_proxy *lock = new_object(m, "Lock");
    CHECK_EQ(run(die_with_lock, COVEY_VIEW_OF(lock), OPTS(.holds = {lock})), -SIGKILL);
    CHECK_OK(covey_proxy_lock_acquire(lock, LONG));
    covey_proxy_free(lock);
    manager_end(m);
}

TEST(a_killed_manager_ends_its_connections)
{
    covey_manager *m = start(BY_KEY, ANY_PORT);
    covey_proxy *list = new_object(m, "list");
    CHECK_OK(covey_proxy_call(list, NULL, "append", "(i)", 1));
    CHECK_EQ(kill(manager_pid(), SIGKILL), 0);
    CHECK_LT(covey_proxy_call(list, NULL, "append", "(i)", 2), 0);
    covey_proxy_free(list);
    manager_end(m);
}

/* ---- what is on the wire ---- */

TEST(an_eavesdropper_hears_neither_values_nor_names)
{
    for (int with = 0; with < 2; with++) {
        const struct covey_tls *tls = with ? BY_KEY : NULL;
        covey_manager *m = start(tls, ANY_PORT), *through = NULL;
        struct tap tap;
        tap_start(&tap, covey_manager_address(m));
        CHECK_OK(connect_to(&through, tap.address, tls));
        covey_manager_free(through);
        CHECK_EQ(tap_has_heard(&tap, "dummy"), !with);
        manager_end(m);
    }
}

CHECK_MAIN()
