/* SPDX-License-Identifier: MIT */
/* Clients of one manager that are killed at random moments and replaced, over its family's
 * memory and over a socket: no lock stays acquired, no object is left, and the
 * manager is as large as it was. CHECK_LONG=1: for a minute each. */
#include "object_help.h"
#include "server_help.h"

#define CLIENTS 4
#define PATIENT COVEY_SEC(20)

/* What all clients use. */
struct shop {
    covey_manager *manager;
    covey_proxy *lock, *rlock, *dict, *queue;
};

/* Each process has moments of its own. */
static unsigned any(unsigned below)
{
    static int pid;
    if (pid != getpid()) {
        pid = getpid();
        random_state = (uint32_t)pid * 2654435761u | 1;
    }
    return (unsigned)random_below(below);
}

static void shop_open(struct shop *shop)
{
    shop->lock = new_object(shop->manager, "Lock");
    shop->rlock = new_object(shop->manager, "RLock");
    shop->dict = new_object(shop->manager, "dict");
    shop->queue = new_object(shop->manager, "Queue");
}

static void shop_close(struct shop *shop)
{
    covey_proxy_free(shop->lock);
    covey_proxy_free(shop->rlock);
    covey_proxy_free(shop->dict);
    covey_proxy_free(shop->queue);
}

/* ---- a client ---- */

static void count_up(const struct shop *shop)
{
    covey_value *value = NULL;
    int64_t n = 0;
    CHECK_OK(covey_proxy_lock_acquire(shop->lock, PATIENT));
    CHECK_OK(covey_dict_get_or(shop->dict, covey_value_str("n"), covey_value_int(0),
                               &value));
    CHECK_OK(covey_value_get_int(value, &n));
    covey_value_free(value);
    CHECK_OK(covey_dict_set(shop->dict, covey_value_str("n"), covey_value_int(n + 1)));
    CHECK_OK(covey_proxy_lock_release(shop->lock));
}

static void lock_twice(const struct shop *shop)
{
    CHECK_OK(covey_proxy_lock_acquire(shop->rlock, PATIENT));
    CHECK_OK(covey_proxy_lock_acquire(shop->rlock, PATIENT));
    CHECK_OK(covey_proxy_lock_release(shop->rlock));
    CHECK_OK(covey_proxy_lock_release(shop->rlock));
}

static void use_own(const struct shop *shop)
{
    covey_proxy *list = new_object(shop->manager, "list");
    covey_value *all = NULL, *in = NULL;
    for (int i = 0; i < 3; i++)
        CHECK_OK(covey_list_append(list, covey_value_int(i)));
    CHECK_OK(covey_proxy_to_value(list, &in)); /* the dict holds it for a while */
    CHECK_OK(covey_dict_set(shop->dict, covey_value_int((int)any(8)), in));
    CHECK_OK(covey_proxy_copy(list, &all));
    covey_value_free(all);
    covey_proxy_free(list);
}

static void use_queue(const struct shop *shop)
{
    char data[3000] = "";
    CHECK_OK(covey_proxy_call(shop->queue, NULL, "put", "(N)",
                              covey_value_bytes(data, any(sizeof data))));
    CHECK_OK(covey_proxy_call(shop->queue, NULL, "get", NULL));
}

/* Proxies that a method returns, and that are made of what a value holds. */
static void use_others(const struct shop *shop)
{
    covey_proxy *iterator, *list;
    covey_value *in = NULL;
    CHECK_OK(
        covey_proxy_call_proxy(shop->dict, &iterator, "__iter__", NULL, NULL, PATIENT));
    CHECK_OK(covey_proxy_to_value(shop->queue, &in));
    CHECK_OK(covey_proxy_from_value(&list, shop->manager, in));
    covey_value_free(in);
    covey_proxy_free(list);
    covey_proxy_free(iterator);
}

/* Until it is killed. */
static void work(const struct shop *shop)
{
    for (;;) {
        count_up(shop);
        lock_twice(shop);
        use_queue(shop);
        use_own(shop);
        use_others(shop);
    }
}

/* What a client does; `context` is the test's. */
typedef void client_fn(void *context);

static int client_start(client_fn *fn, void *context)
{
    fflush(NULL);
    int pid = fork();
    CHECK_GE(pid, 0);
    if (!pid)
        fn(context);
    return pid;
}

static void client_kill(int pid)
{
    int status;
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, SIGKILL); /* it had not failed before */
}

/* ---- the manager ---- */

static long resident_kib_of(int pid)
{
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *status = fopen(path, "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status) && kib < 0)
        if (sscanf(line, "RssAnon: %ld", &kib) != 1)
            kib = -1;
    fclose(status);
    CHECK_GE(kib, 0);
    return kib;
}

/* Clients come, work, and are killed. Returns: how many were. */
static long soak(client_fn *fn, void *context, covey_nsec time)
{
    int pids[CLIENTS];
    long kills = 0;
    int64_t until = cvy_os_now() + time;
    for (int i = 0; i < CLIENTS; i++)
        pids[i] = client_start(fn, context);
    for (; cvy_os_now() < until; kills++) {
        unsigned victim = any(CLIENTS);
        usleep(any(10000));
        client_kill(pids[victim]);
        pids[victim] = client_start(fn, context);
    }
    for (int i = 0; i < CLIENTS; i++)
        client_kill(pids[i]);
    return kills;
}

/* All that was acquired has come back. */
static void all_is_back(const struct shop *shop)
{
    CHECK_OK(covey_proxy_lock_acquire(shop->lock, PATIENT));
    CHECK_OK(covey_proxy_lock_release(shop->lock));
    CHECK_OK(covey_proxy_lock_acquire(shop->rlock, PATIENT));
    CHECK_OK(covey_proxy_lock_release(shop->rlock));
    CHECK_OK(covey_proxy_call(shop->dict, NULL, "clear", NULL));
}

/* The manager hears of the last deaths a little later. */
static void await_count(covey_manager *m, size_t wanted)
{
    size_t count;
    do
        CHECK_OK(covey_manager_count(m, &count));
    while (count != wanted);
}

/* What grows with use has had its use after the first part. */
static void stays_as_it_is(int pid, void (*part)(void *context, covey_nsec time),
                           void *context)
{
    covey_nsec time = COVEY_SEC(family_long(3, 60));
    part(context, time / 4);
    long fds = descriptors_of(pid), kib = resident_kib_of(pid);
    part(context, time);
    while (descriptors_of(pid) > fds) /* it is closing those of the last ones */
        usleep(1000);
    if (!family_is_sanitized()) /* freed memory is kept there */
        CHECK_LT(resident_kib_of(pid), kib + 4096);
}

/* ---- over a socket: clients that have nothing else in common ---- */

static const char *const shared[] = {"Lock", "RLock", "dict", "Queue"};

static void open_the_same(struct shop *shop, const char *address)
{
    covey_proxy **to[] = {&shop->lock, &shop->rlock, &shop->dict, &shop->queue};
    char name[32];
    CHECK_OK(covey_manager_connect(&shop->manager, address,
                                   COVEY_CONNECT_OPTS(.authkey = SERVER_KEY), PATIENT));
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "the %s", shared[i]);
        *to[i] = new_object(shop->manager, name);
    }
}

static void connect_and_work(void *context)
{
    const struct server *server = context;
    struct shop shop = {0};
    open_the_same(&shop, server->address);
    work(&shop);
}

/* This process has no family, so each client founds its own. */
static void soak_over_socket(void *context, covey_nsec time)
{
    CHECK_GT(soak(connect_and_work, context, time), 10);
    fflush(NULL);
    int status, pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        const struct server *server = context;
        struct shop shop = {0};
        open_the_same(&shop, server->address);
        all_is_back(&shop);
        await_count(shop.manager, 4);
        shop_close(&shop);
        covey_manager_free(shop.manager);
        exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

TEST_TIMEOUT(clients_over_a_socket_are_killed_and_replaced, 240)
{
    char address[64], name[32];
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "the %s", shared[i]);
        CHECK_OK(covey_manager_share(name, shared[i], NULL));
    }
    snprintf(address, sizeof address, "@covey-soak-%d", (int)getpid());
    struct server server =
        server_start((struct covey_manager_opts){.address = address});
    stays_as_it_is(server.pid, soak_over_socket, &server);
    control_ok(&server, "shutdown", NULL);
    server_ends(&server);
}

/* ---- in the family ---- */

static void work_in_family(void *context)
{
    work(context);
}

static void soak_in_family(void *context, covey_nsec time)
{
    struct shop *shop = context;
    shop_open(shop);
    CHECK_GT(soak(work_in_family, shop, time), 10);
    all_is_back(shop);
    shop_close(shop);
    await_count(shop->manager, 0);
}

TEST_TIMEOUT(clients_in_the_family_are_killed_and_replaced, 240)
{
    struct shop shop = {0};
    CHECK_OK(covey_manager_start(&shop.manager, NULL));
    stays_as_it_is(manager_pid(), soak_in_family, &shop);
    CHECK_OK(covey_manager_shutdown(shop.manager, PATIENT));
    covey_manager_free(shop.manager);
}

CHECK_MAIN()
