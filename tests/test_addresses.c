/* SPDX-License-Identifier: MIT */
/* Addresses of listeners: how they are written, and that clients come by what is told. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>

#include "conn_help.h"

static void talks_at(const char *address, const char *shown, const char *peer)
{
    covey_listener *l = listener_at(address, NULL);
    covey_conn *client, *server;
    CHECK_STR_HAS(covey_listener_address(l), shown);
    CHECK(covey_listener_last_accepted(l) == NULL);
    CHECK_OK(
        covey_client_connect(&client, covey_listener_address(l), NULL, COVEY_SEC(20)));
    CHECK_OK(covey_listener_accept(l, &server, COVEY_SEC(20)));
    CHECK_STR_HAS(covey_conn_peer(server), peer);
    CHECK_STR_EQ(covey_listener_last_accepted(l), covey_conn_peer(server));
    CHECK_STR_EQ(covey_conn_peer(client), covey_listener_address(l));
    send_text(client, "from client");
    recv_text(server, "from client");
    send_text(server, "from server");
    recv_text(client, "from server");
    covey_conn_free(client);
    covey_conn_free(server);
    covey_listener_free(l);
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 {
        sa_family_t family;
        uint16_t port;
        uint32_t flow;
        unsigned char address[16];
        uint32_t scope;
    } a = {.family = AF_INET6, .address = {[15] = 1}};
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)(void *)&a, sizeof a) == 0;
    close(fd);
    return ok;
}

TEST(listens_at_addresses_of_every_kind)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/covey-test-%d", (int)getpid());
    talks_at("127.0.0.1:0", "127.0.0.1:", "127.0.0.1:");
    talks_at("localhost:0", "127.0.0.1:", "127.0.0.1:");
    talks_at("@covey-test-listener", "@covey-test-listener", "");
    talks_at(path, path, "");
    talks_at(NULL, "@covey-", "");
    CHECK_EQ(access(path, F_OK), -1);
}

TEST(abstract_names_of_any_bytes_are_told_as_clients_need_them)
{
    char long_one[109];
    memset(long_one, '\xfe', sizeof long_one - 1);
    long_one[0] = '@';
    long_one[108] = 0;
    talks_at("@covey test listener", "@covey test listener", "");
    talks_at("@covey-t\xc3\xa4st", "@covey-t\xc3\xa4st", "");
    talks_at("@covey%20test", "@covey%20test", "");
    talks_at("@covey\ttest\n", "@covey\ttest\n", "");
    talks_at(long_one, long_one, "");
}

TEST(links_of_ipv6_addresses_are_told)
{
    struct ifaddrs *all, *i;
    char host[64], text[80], name[80];
    CHECK_EQ(getifaddrs(&all), 0);
    for (i = all; i; i = i->ifa_next)
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6 &&
            getnameinfo(i->ifa_addr, sizeof(struct sockaddr_in6), host, sizeof host,
                        NULL, 0, NI_NUMERICHOST) == 0 &&
            strchr(host, '%'))
            break;
    bool any = i != NULL;
    freeifaddrs(all);
    if (!any)
        SKIP("no link-local address");
    snprintf(text, sizeof text, "[%s]:0", host);
    snprintf(name, sizeof name, "[%s]:", host);
    talks_at(text, name, name);
}

TEST(listens_at_ipv6)
{
    if (!has_ipv6())
        SKIP("no IPv6");
    talks_at("[::1]:0", "[::1]:", "[::1]:");
}

TEST(host_may_be_missing)
{
    covey_listener *l = listener_at(":0", NULL);
    covey_conn *client, *server;
    char address[64];
    CHECK_STR_HAS(covey_listener_address(l), "0.0.0.0:");
    snprintf(address, sizeof address, "%s", covey_listener_address(l) + 7);
    CHECK_OK(covey_client_connect(&client, address, NULL, COVEY_SEC(20)));
    CHECK_OK(covey_listener_accept(l, &server, COVEY_SEC(20)));
    covey_conn_free(client);
    covey_conn_free(server);
    covey_listener_free(l);
}

TEST(all_of_ipv6_is_all_of_ipv4_too)
{
    static const char *const hosts[] = {"127.0.0.1", "[::1]", ""};
    if (!has_ipv6())
        SKIP("no IPv6");
    covey_listener *l = listener_at("[::]:0", NULL);
    talks_at("[::]:0", "[::]:", "[::1]:");
    for (size_t i = 0; i < 3; i++) {
        covey_conn *client, *server;
        char address[64];
        snprintf(address, sizeof address, "%s%s", hosts[i],
                 strrchr(covey_listener_address(l), ':'));
        CHECK_OK(covey_client_connect(&client, address, NULL, COVEY_SEC(20)));
        CHECK_OK(covey_listener_accept(l, &server, COVEY_SEC(20)));
        covey_conn_free(client);
        covey_conn_free(server);
    }
    covey_listener_free(l);
}

/* ---- names with several addresses ---- */

/* In a block of its own, as the one that frees it wants. */
static struct addrinfo *one_address(const char *host, const char *port,
                                    struct addrinfo *next)
{
    struct addrinfo *a = calloc(1, sizeof *a + sizeof(struct sockaddr_in));
    struct sockaddr_in *in = (void *)(a + 1);
    CHECK(a != NULL);
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)atoi(port));
    CHECK_EQ(inet_pton(AF_INET, host, &in->sin_addr), 1);
    a->ai_family = AF_INET;
    a->ai_socktype = SOCK_STREAM;
    a->ai_addr = (struct sockaddr *)in;
    a->ai_addrlen = sizeof *in;
    a->ai_next = next;
    return a;
}

/* In place of the system's: two.test is 127.0.0.2 and then 127.0.0.1. */
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    int (*usual)(const char *, const char *, const struct addrinfo *,
                 struct addrinfo **);
    *(void **)&usual = dlsym(RTLD_NEXT, "getaddrinfo");
    if (strcmp(host, "two.test") != 0)
        return usual(host, port, hints, ret);
    *ret = one_address("127.0.0.2", port, one_address("127.0.0.1", port, NULL));
    return 0;
}

static void comes_by_name(covey_listener *l, covey_nsec timeout)
{
    covey_conn *client, *server;
    char address[64];
    snprintf(address, sizeof address, "two.test%s",
             strrchr(covey_listener_address(l), ':'));
    CHECK_OK(covey_client_connect(&client, address, NULL, timeout));
    CHECK_OK(covey_listener_accept(l, &server, COVEY_SEC(20)));
    CHECK_STR_EQ(covey_conn_peer(client), address);
    covey_conn_free(client);
    covey_conn_free(server);
}

TEST(all_addresses_of_a_name_are_tried)
{
    covey_listener *l = listener_at("127.0.0.1:0", NULL);
    covey_conn *client = NULL;
    char address[64];
    comes_by_name(l, COVEY_SEC(20));
    comes_by_name(l, COVEY_FOREVER);
    snprintf(address, sizeof address, "two.test%s",
             strrchr(covey_listener_address(l), ':'));
    covey_listener_free(l);
    CHECK_ERR(covey_client_connect(&client, address, NULL, COVEY_SEC(20)),
              -ECONNREFUSED);
}

/* Its backlog is full, so that newcomers hear nothing. */
TEST(an_address_that_does_not_answer_leaves_time_for_the_next)
{
    covey_listener *l = listener_at("127.0.0.1:0", NULL), *silent;
    covey_conn *conns[8], *conn;
    char address[64];
    int n = 0, r = 0;
    snprintf(address, sizeof address, "127.0.0.2%s",
             strrchr(covey_listener_address(l), ':'));
    silent = listener_at(address, COVEY_LISTENER_OPTS(.backlog = 1));
    while (n < 8 &&
           (r = covey_client_connect(&conns[n], address, NULL, COVEY_MSEC(100))) >= 0)
        n++;
    CHECK_ERR(r, -ETIMEDOUT);
    comes_by_name(l, COVEY_SEC(2));
    while (n)
        covey_conn_free(conns[--n]);
    while (covey_listener_accept(silent, &conn, COVEY_NOWAIT) >= 0)
        covey_conn_free(conn);
    covey_listener_free(silent);
    covey_listener_free(l);
}

/* ---- what is none ---- */

TEST(bad_addresses_are_refused)
{
    static const char *const bad[] = {
        "",  "name",  "host:",   "1.2.3.4:x", ":65536",     "1.2.3.4:-1",
        "@", "[::1]", "[::1:80", "::1:80",    "[nothing]:1"};
    covey_listener *l = NULL;
    covey_conn *conn = NULL;
    char text[200];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_ERR(covey_listener_create(&l, bad[i], NULL), -EINVAL);
        CHECK_ERR(covey_client_connect(&conn, bad[i], NULL, COVEY_NOWAIT), -EINVAL);
    }
    memset(text, 'a', sizeof text);
    text[0] = '/';
    text[199] = 0;
    CHECK_ERR(covey_listener_create(&l, text, NULL), -ENAMETOOLONG);
    text[0] = '@';
    CHECK_ERR(covey_client_connect(&conn, text, NULL, 0), -ENAMETOOLONG);
    CHECK_ERR(covey_listener_create(&l, "/nowhere/at/all", NULL), -ENOENT);
    CHECK_ERR(covey_client_connect(&conn, "/nowhere/at/all", NULL, 0), -ENOENT);
    CHECK_ERR(covey_client_connect(&conn, "@nobody-listens", NULL, COVEY_SEC(1)),
              -ECONNREFUSED);
    CHECK_ERR(covey_client_connect(&conn, NULL, NULL, 0), -EINVAL);
    CHECK_ERR(covey_client_connect(NULL, "@x", NULL, 0), -EINVAL);
    CHECK_ERR(covey_listener_create(NULL, "@x", NULL), -EINVAL);
    CHECK_ERR(covey_listener_create(
                  &l, "@x", COVEY_LISTENER_OPTS(.authkey = COVEY_VIEW(NULL, 3))),
              -EINVAL);
    CHECK(l == NULL && conn == NULL);
}

CHECK_MAIN()
