/* SPDX-License-Identifier: MIT */
/* Help for tests of clients whose manager, or connection to it, goes and comes back. */
#ifndef TESTS_RECONNECT_HELP_H
#define TESTS_RECONNECT_HELP_H

#include <netinet/in.h>

#include "object_help.h"
#include "relay.h"
#include "server_help.h"

#define PATIENT COVEY_SEC(20)

/* ---- a manager with an object that counts what is done to it ---- */

static inline int counter_make(covey_request *request, void **ret_self)
{
    (void)request;
    *ret_self = calloc(1, sizeof(int64_t));
    return *ret_self ? 0 : -ENOMEM;
}

static inline int counter_add(covey_request *request, void *self)
{
    int64_t *count = self;
    return covey_request_return(request, covey_value_int(++*count));
}

static inline int counter_read(covey_request *request, void *self)
{
    return covey_request_return(request, covey_value_int(*(int64_t *)self));
}

static const struct covey_method counter_methods[] = {{"add", counter_add, 0},
                                                      {"read", counter_read, 0}};
static const struct covey_class counter_class = {
    .size = sizeof(struct covey_class),
    .methods = counter_methods,
    .method_count = 2,
    .create = counter_make,
    .destroy = free,
};

static inline struct server serve_at(const char *address)
{
    static bool registered;
    if (!registered)
        CHECK_OK(covey_manager_register("Counter", &counter_class, NULL));
    registered = true;
    return server_start((struct covey_manager_opts){.address = address});
}

static inline void server_dies(struct server *s)
{
    int status;
    CHECK_EQ(kill(s->pid, SIGKILL), 0);
    CHECK_EQ(waitpid(s->pid, &status, 0), s->pid);
}

/* A path, or a port that nobody else is given while `*ret_kept` is open. */
static inline void choose_address(bool is_path, char address[100], int *ret_kept)
{
    *ret_kept = -1;
    snprintf(address, 100, "/tmp/covey-reconnect-%d", (int)getpid());
    if (is_path)
        return;
    const int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof a;
    *ret_kept = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(setsockopt(*ret_kept, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    CHECK_EQ(bind(*ret_kept, (struct sockaddr *)(void *)&a, size), 0);
    CHECK_EQ(getsockname(*ret_kept, (struct sockaddr *)(void *)&a, &size), 0);
    snprintf(address, 100, "127.0.0.1:%d", ntohs(a.sin_port));
}

static inline void drop_address(const char *address, int kept)
{
    if (kept >= 0)
        close(kept);
    else
        unlink(address);
}

/* A manager, and where it can be made again. */
struct site {
    char address[100];
    int kept;
    struct server server;
};

static inline struct site site_open(bool is_path)
{
    struct site s;
    choose_address(is_path, s.address, &s.kept);
    s.server = serve_at(s.address);
    return s;
}

static inline void site_restart(struct site *s)
{
    server_dies(&s->server);
    s->server = serve_at(s->address);
}

static inline void site_close(struct site *s)
{
    server_dies(&s->server);
    drop_address(s->address, s->kept);
}

#define CONNECT(address, ...)                                                          \
    connect_with((address), COVEY_CONNECT_OPTS(.authkey = SERVER_KEY, __VA_ARGS__))

static inline covey_manager *connect_with(const char *address,
                                          const struct covey_connect_opts *opts)
{
    covey_manager *m = NULL;
    CHECK_OK(covey_manager_connect(&m, address, opts, PATIENT));
    return m;
}

static inline int64_t number(covey_proxy *proxy, const char *method)
{
    covey_value *value = NULL;
    int64_t n = -1;
    CHECK_OK(covey_proxy_call(proxy, &value, method, "()"));
    CHECK_OK(covey_value_get_int(value, &n));
    covey_value_free(value);
    return n;
}

/* ---- connections that end while the manager goes on ---- */

struct cut {
    struct site site;
    struct relay relay;
    covey_manager *m;
    covey_proxy *counter;
};

static inline struct cut cut_begin(const char *repeat)
{
    struct cut c = {.site = site_open(true)};
    c.relay = relay_start(c.site.address);
    c.m = CONNECT(c.relay.address, .reconnect = PATIENT, .repeat = repeat);
    c.counter = new_object(c.m, "Counter");
    CHECK_EQ(number(c.counter, "add"), 1);
    return c;
}

static inline void cut_end(struct cut *c)
{
    covey_proxy_free(c->counter);
    covey_manager_free(c->m);
    relay_end(&c->relay);
    site_close(&c->site);
}

#endif
