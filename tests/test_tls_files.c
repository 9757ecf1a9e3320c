/* SPDX-License-Identifier: MIT */
/* What TLS is told by options, and what it reads of files: own ones, and a peer's. What
 * fails inside of libssl, and what that leaves. */
#include <dlfcn.h>

#include "tls_help.h"

/* ---- options ---- */

static void bad(const struct covey_tls *tls, struct covey_view key, int code,
                const char *says)
{
    covey_listener *l = NULL;
    CHECK_EQ(covey_listener_create(&l, ANY_PORT,
                                   COVEY_LISTENER_OPTS(.authkey = key, .tls = tls)),
             code);
    CHECK_STR_HAS(covey_error_detail(), says);
}

TEST(bad_options_say_what_is_wrong)
{
    struct certificates c;
    certificates_make(&c);
    struct covey_tls tls = shows(&c, "server", "ca");
    char deep[400];
    bad(COVEY_TLS(0), SECRET, -EINVAL, "needs .certificate");
    bad(BY_KEY, COVEY_NO_VIEW, -EINVAL, "needs an authkey");
    bad(BY_KEY, COVEY_VIEW("", 0), -EINVAL, "needs an authkey");
    tls.from_key = COVEY_ON;
    bad(&tls, SECRET, -EINVAL, "exclude");
    tls.from_key = COVEY_UNSET;
    tls.key = file_of(&c, "client", "key");
    bad(&tls, SECRET, -EINVAL, "client.key: no private key");
    tls.key = "/nonexistent/key";
    bad(&tls, SECRET, -ENOENT, "/nonexistent/key");
    tls = shows(&c, "server", "ca");
    tls.certificate = tls.key;
    bad(&tls, SECRET, -EINVAL, "server.key: no certificate");
    memset(deep, 'x', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    tls.certificate = deep;
    bad(&tls, SECRET, -ENAMETOOLONG, "more than 255 bytes");
    certificates_free(&c);
}

/* ---- certificates of a peer ---- */

/* The client's, and then that of its authority until `kib` are full, each with 5 bytes of
 * TLS. */
static void make_chain(const char *folder, int kib)
{
    char script[256];
    snprintf(script, sizeof script,
             "set -e; once=$(openssl x509 -in ca.pem -outform DER | wc -c)\n"
             "{ cat client.pem; awk -v n=$((%d * 1024 / (once + 5))) '{ text = text $0 "
             "\"\\n\" }\n"
             "END { while (n--) printf \"%%s\", text }' ca.pem; } >long.pem",
             kib);
    in_folder(folder, script);
}

TEST(a_peer_with_more_than_100_kib_of_certificates_is_refused)
{
    struct certificates c;
    covey_listener *l = NULL;
    struct client client;
    covey_conn *conn = NULL;
    certificates_make(&c);
    struct covey_tls server = shows(&c, "server", "ca"),
                     long_one = shows(&c, "client", "ca");
    long_one.certificate = file_of(&c, "long", "pem");
    CHECK_OK(
        covey_listener_create(&l, ANY_PORT,
                              COVEY_LISTENER_OPTS(.authkey = SECRET, .tls = &server,
                                                  .report_refused = COVEY_ON)));
    const struct covey_client_opts *opts =
        COVEY_CLIENT_OPTS(.authkey = SECRET, .tls = &long_one);
    make_chain(c.folder, 99);
    client_start(&client, covey_listener_address(l), opts);
    CHECK_OK(covey_listener_accept(l, &conn, LONG));
    CHECK_OK(client_result(&client));
    covey_conn_free(client.conn);
    covey_conn_free(conn);
    make_chain(c.folder, 101);
    client_start(&client, covey_listener_address(l), opts);
    CHECK_ERR(covey_listener_accept(l, &conn, LONG), COVEY_EAUTH);
    CHECK_STR_HAS(covey_error_detail(), "excessive message size");
    CHECK_LT(client_result(&client), 0);
    covey_listener_free(l);
    certificates_free(&c);
}

/* ---- libssl ---- */

/* The queue of errors of this thread, which the program has in common with covey. */
struct queue {
    unsigned long (*first)(void), (*last)(void);
};

static struct queue queue_of_errors(void)
{
    static const char *const names[] = {"libcrypto.so.3", "libcrypto.so.1.1"};
    void *library = NULL, *(*open_file)(const char *path, const char *mode) = NULL;
    struct queue q;
    for (int i = 0; i < 2 && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_NOLOAD);
    CHECK(library != NULL);
    *(void **)&q.first = dlsym(library, "ERR_peek_error");
    *(void **)&q.last = dlsym(library, "ERR_peek_last_error");
    *(void **)&open_file = dlsym(library, "BIO_new_file");
    CHECK(q.first && q.last && open_file);
    CHECK_EQ(q.first(), 0);
    CHECK(open_file("/nonexistent/file", "r") == NULL); /* entries of the program's */
    return q;
}

TEST(what_fails_leaves_nothing_in_the_queue_of_errors)
{
    covey_listener *l = NULL;
    covey_conn *conn;
    struct client client;
    struct certificates c;
    CHECK_OK(covey_listener_create(&l, ANY_PORT,
                                   COVEY_LISTENER_OPTS(.authkey = SECRET, .tls = BY_KEY,
                                                       .report_refused = COVEY_ON)));
    client_start(&client, covey_listener_address(l),
                 COVEY_CLIENT_OPTS(.authkey = COVEY_VIEW("another", 7), .tls = BY_KEY));
    CHECK_ERR(covey_listener_accept(l, &conn, LONG), COVEY_EAUTH);
    CHECK_LT(client_result(&client), 0);
    covey_listener_free(l);
    certificates_make(&c);
    struct covey_tls tls = shows(&c, "server", "ca");
    tls.certificate = tls.key;
    bad(&tls, SECRET, -EINVAL, "server.key: no certificate");
    certificates_free(&c);
    (void)queue_of_errors(); /* which looks that it is empty */
}

/* Two ends of one connection by the key. */
static struct ends {
    covey_listener *l;
    covey_conn *here, *there;
} connected(void)
{
    struct ends e = {0};
    struct client client;
    CHECK_OK(covey_listener_create(
        &e.l, ANY_PORT, COVEY_LISTENER_OPTS(.authkey = SECRET, .tls = BY_KEY)));
    client_start(&client, covey_listener_address(e.l),
                 COVEY_CLIENT_OPTS(.authkey = SECRET, .tls = BY_KEY));
    CHECK_OK(covey_listener_accept(e.l, &e.here, LONG));
    CHECK_OK(client_result(&client));
    e.there = client.conn;
    return e;
}

TEST(what_the_program_has_in_the_queue_of_errors_stays)
{
    char byte;
    size_t size;
    struct ends e = connected();
    const struct queue q = queue_of_errors();
    unsigned long first = q.first(), last = q.last();
    CHECK(first != 0);
    CHECK_ERR(covey_conn_recv_into(e.here, &byte, 1, &size, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_conn_poll(e.here, COVEY_NOWAIT), -ETIMEDOUT);
    send_text(e.there, "there");
    recv_text(e.here, "there");
    send_text(e.here, "and back");
    covey_conn_free(e.here);
    recv_text(e.there, "and back");
    CHECK_ERR(covey_conn_recv_into(e.there, &byte, 1, &size, LONG), COVEY_EEOF);
    CHECK(q.first() == first && q.last() == last);
    covey_conn_free(e.there);
    covey_listener_free(e.l);
    CHECK(q.first() == first && q.last() == last);
}

/* What is asked for while there is none. */
static atomic_bool is_short;

static void *short_malloc(size_t size)
{
    return atomic_load(&is_short) ? NULL : malloc(size);
}

static void *short_realloc(void *memory, size_t size)
{
    return atomic_load(&is_short) ? NULL : realloc(memory, size);
}

TEST(a_send_without_memory_ends_the_direction)
{
    CHECK_OK(covey_set_allocator(short_malloc, short_realloc, free));
    struct ends e = connected();
    atomic_store(&is_short, true);
    int r = covey_conn_send(e.here, COVEY_VIEW("lost", 4), LONG);
    atomic_store(&is_short, false);
    CHECK_ERR(r, -ENOMEM);
    CHECK_ERR(covey_conn_send(e.here, COVEY_VIEW("none", 4), LONG), COVEY_EBROKEN);
    send_text(e.there, "the other way is whole");
    recv_text(e.here, "the other way is whole");
    covey_conn_free(e.here);
    covey_conn_free(e.there);
    covey_listener_free(e.l);
}

CHECK_MAIN()
