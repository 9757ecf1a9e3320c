/* SPDX-License-Identifier: MIT */
/* Whoever asks a manager for much, the others have their turns, too. */
#include <pthread.h>

#include "object_help.h"
#include "server_help.h"

/* ---- a class whose calls are long ---- */

#define LONG_CALL 5000 /* us */
#define MANY      16

static int64_t done; /* long calls, in the manager */

static int toil_make(covey_request *request, void **ret_self)
{
    (void)request;
    *ret_self = &done;
    return 0;
}

static int toil_toil(covey_request *request, void *self)
{
    (void)self;
    usleep(LONG_CALL);
    return covey_request_return(request, covey_value_int(++done));
}

static int toil_done(covey_request *request, void *self)
{
    (void)self;
    return covey_request_return(request, covey_value_int(done));
}

static const struct covey_method methods[] = {{"toil", toil_toil, 0},
                                              {"done", toil_done, 0}};
static const struct covey_class toil_class = {.size = sizeof(struct covey_class),
                                              .methods = methods,
                                              .method_count = 2,
                                              .create = toil_make};

/* ---- who asks ---- */

static covey_manager *start_toiling(struct server *ret)
{
    covey_manager *m = NULL;
    CHECK_OK(covey_manager_register("Toil", &toil_class, NULL));
    CHECK_OK(covey_manager_start(&m, COVEY_MANAGER_OPTS(.authkey = SERVER_KEY)));
    snprintf(ret->address, sizeof ret->address, "%s", covey_manager_address(m));
    return m;
}

static covey_conn *session_of(const struct server *server, char ident[64])
{
    server_create(server, "Toil", ident);
    return server_session(server, "a stranger");
}

/* How many long calls have been done, asked over a socket. */
static int64_t ask(covey_conn *conn, const char *ident)
{
    int64_t count;
    REQUEST(conn, ident, "done", "()");
    struct reply reply = reply_get(conn);
    CHECK_OK(covey_value_get_int(reply.value, &count));
    covey_value_free(reply.message);
    return count;
}

static _Atomic int enough;

static void *toil_on(void *toil)
{
    while (!enough)
        CHECK_OK(covey_proxy_call(toil, NULL, "toil", NULL));
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* While one is served the others ask, so there is mostly something in some lane. Most times
 * few of their calls are done between two answers. */
TEST(who_calls_over_a_lane_lets_others_have_turns)
{
    enum { THREADS = 8, TIMES = 7 };
    struct server server = {0};
    char ident[64];
    pthread_t threads[THREADS];
    int64_t between[TIMES];
    covey_manager *m = start_toiling(&server);
    covey_conn *conn = session_of(&server, ident);
    covey_proxy *toil = new_object(m, "Toil");
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, toil_on, toil), 0);
    int64_t before;
    while ((before = ask(conn, ident)) < MANY)
        continue;
    for (int i = 0; i < TIMES; i++) {
        between[i] = -before;
        before = ask(conn, ident);
        between[i] += before;
    }
    enough = 1;
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    qsort(between, TIMES, sizeof *between, by_size);
    CHECK_LT(between[TIMES / 2], 2 * THREADS + MANY);
    covey_conn_free(conn);
    covey_proxy_free(toil);
    manager_end(m);
}

/* Of what is done between two answers the least is taken: this process may have to wait for
 * a processor. */
TEST(who_sends_ahead_lets_others_have_turns)
{
    struct server server = {0};
    char idents[2][64];
    covey_manager *m = start_toiling(&server);
    covey_conn *ahead = session_of(&server, idents[0]);
    covey_conn *conn = session_of(&server, idents[1]);
    int64_t least = INT64_MAX;
    for (int i = 0; i < 5; i++) {
        int64_t before = ask(conn, idents[1]);
        for (int k = 0; k < MANY; k++)
            REQUEST(ahead, idents[0], "toil", "()");
        for (int64_t now = 0, was = before; was < before + MANY - 1; was = now) {
            now = ask(conn, idents[1]);
            if (now > was && now - was < least)
                least = now - was;
        }
        for (int k = 0; k < MANY; k++)
            REPLIES(ahead, "#RETURN", NULL);
    }
    CHECK_LT(least, MANY / 2);
    covey_conn_free(ahead);
    covey_conn_free(conn);
    manager_end(m);
}

CHECK_MAIN()
