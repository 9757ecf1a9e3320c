/* SPDX-License-Identifier: MIT */
/* Who has something of a manager's and who waits for it, when clients or objects go. */
#include <sys/prctl.h>

#include "server_help.h"

static covey_manager *client_of(const struct server *server)
{
    covey_manager *manager = NULL;
    CHECK_OK(covey_manager_connect(&manager, server->address,
                                   COVEY_CONNECT_OPTS(.authkey = SERVER_KEY),
                                   COVEY_SEC(20)));
    return manager;
}

/* A Condition and its Lock, which are the test's. */
struct pair {
    covey_manager *manager;
    covey_proxy *lock, *condition;
};

static struct pair pair_make(const struct server *server, const char *lock_type)
{
    struct pair pair = {.manager = client_of(server)};
    covey_value *lock, *args;
    CHECK_OK(covey_proxy_create(&pair.lock, pair.manager, lock_type, NULL, NULL));
    CHECK_OK(covey_proxy_to_value(pair.lock, &lock));
    CHECK_OK(covey_value_pack(&args, "(N)", lock));
    CHECK_OK(
        covey_proxy_create(&pair.condition, pair.manager, "Condition", args, NULL));
    return pair;
}

static void pair_free(struct pair *pair)
{
    covey_proxy_free(pair->lock);
    covey_proxy_free(pair->condition);
    covey_manager_free(pair->manager);
}

static void session_acquires(covey_conn *conn, covey_proxy *lock)
{
    REQUEST(conn, covey_proxy_ident(lock), "acquire", "()");
    REPLIES(conn, "#RETURN", "True");
}

/* Whoever acquired it by the one has it, whether the other still is there or not. */
TEST(a_lock_is_given_back_after_the_object_by_which_it_was_acquired_went)
{
    static const char *const types[] = {"Lock", "RLock"};
    struct server server = server_start((struct covey_manager_opts){0});
    for (int i = 0; i < 4; i++) {
        struct pair pair = pair_make(&server, types[i % 2]);
        covey_proxy **by = i < 2 ? &pair.lock : &pair.condition;
        covey_proxy *other = i < 2 ? pair.condition : pair.lock;
        covey_conn *holder = server_session(&server, "holder");
        session_acquires(holder, *by);
        covey_proxy_free(*by);
        *by = NULL;
        CHECK_EQ(server_count(&server), 1);
        CHECK_ERR(covey_proxy_lock_acquire(other, COVEY_NOWAIT), -ETIMEDOUT);
        covey_conn_free(holder);
        CHECK_OK(covey_proxy_lock_acquire(other, COVEY_SEC(20)));
        CHECK_OK(covey_proxy_lock_release(other));
        pair_free(&pair);
    }
    server_stop(&server);
}

/* ---- who is woken and gone ---- */

/* A client that has a lock in one session and waits for it in another. A child of its own
 * keeps the sockets open, so that its end is seen by the process, of both at once. */
static int die_with_a_lock(const struct server *server, const char *lock, int ready)
{
    covey_conn *waiter = server_session(server, "waiter");
    covey_conn *owner = server_session(server, "owner");
    REQUEST(owner, lock, "acquire", "()");
    REPLIES(owner, "#RETURN", "True");
    REQUEST(waiter, lock, "acquire", "()");
    server_count(server); /* it has come by then */
    int keeper = fork();
    if (!keeper)
        pause();
    CHECK_EQ(write(ready, &keeper, sizeof keeper), sizeof keeper);
    pause();
    return 0;
}

TEST(a_lock_goes_to_the_next_if_its_owner_and_heir_are_gone_at_once)
{
    struct server server = server_start((struct covey_manager_opts){0});
    char ident[64];
    int ends[2], keeper = 0;
    server_create(&server, "Lock", ident);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    CHECK_EQ(pipe(ends), 0);
    fflush(NULL);
    int pid = fork();
    CHECK_GE(pid, 0);
    if (!pid)
        exit(die_with_a_lock(&server, ident, ends[1]));
    CHECK_EQ(read(ends[0], &keeper, sizeof keeper), sizeof keeper);
    covey_conn *next = server_session(&server, "next");
    REQUEST(next, ident, "acquire", "()");
    server_count(&server);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    REPLIES(next, "#RETURN", "True");
    CHECK_EQ(kill(keeper, SIGKILL), 0);
    CHECK_EQ(waitpid(keeper, NULL, 0), keeper);
    covey_conn_free(next);
    control_ok(&server, "decref", ident);
    close(ends[0]);
    close(ends[1]);
    server_stop(&server);
}

/* All that the owner sends ahead waits behind a call that waits, and comes at once then. */
TEST(who_is_woken_is_not_overtaken_by_what_was_sent_ahead)
{
    struct server server = server_start((struct covey_manager_opts){0});
    char gate[64], lock[64];
    server_create(&server, "Lock", gate);
    server_create(&server, "Lock", lock);
    covey_conn *keeper = server_session(&server, "keeper");
    covey_conn *owner = server_session(&server, "owner");
    covey_conn *next = server_session(&server, "next");
    REQUEST(keeper, gate, "acquire", "()");
    REPLIES(keeper, "#RETURN", "True");
    REQUEST(owner, lock, "acquire", "()");
    REPLIES(owner, "#RETURN", "True");
    REQUEST(next, lock, "acquire", "()");
    server_count(&server); /* it has come by then */
    REQUEST(owner, gate, "acquire", "()");
    REQUEST(owner, lock, "release", "()");
    REQUEST(owner, lock, "acquire", "(N)", covey_value_bool(0));
    REQUEST(keeper, gate, "release", "()");
    REPLIES(keeper, "#RETURN", "None");
    REPLIES(owner, "#RETURN", "True");
    REPLIES(owner, "#RETURN", "None");
    REPLIES(owner, "#RETURN", "False");
    REPLIES(next, "#RETURN", "True");
    covey_conn_free(keeper);
    covey_conn_free(owner);
    covey_conn_free(next);
    server_stop(&server);
}

/* ---- a family whose first process is gone ---- */

struct survivor {
    const char *address;
    int say, hear;
};

static int make_and_use(struct covey_view arg)
{
    const struct survivor *s = arg.data;
    covey_manager *manager = NULL;
    covey_proxy *list = NULL;
    covey_value *value = NULL;
    char byte;
    CHECK_EQ(write(s->say, "1", 1), 1);
    CHECK_EQ(read(s->hear, &byte, 1), 1);
    CHECK_OK(covey_manager_connect(&manager, s->address,
                                   COVEY_CONNECT_OPTS(.authkey = SERVER_KEY),
                                   COVEY_SEC(20)));
    CHECK_OK(covey_proxy_create(&list, manager, "list", NULL, NULL));
    CHECK_OK(covey_proxy_call(list, NULL, "append", "(i)", 7));
    CHECK_OK(covey_proxy_call(list, &value, "pop", "()"));
    covey_value_free(value);
    covey_proxy_free(list);
    covey_manager_free(manager);
    CHECK_EQ(write(s->say, "2", 1), 1);
    return 0;
}

static void begin_family(struct survivor s)
{
    covey_process *child;
    CHECK_OK(covey_process_create(
        &child, make_and_use, COVEY_VIEW_OF(s),
        COVEY_PROCESS_OPTS(.method = COVEY_FORK, .die_with_parent = COVEY_OFF)));
    CHECK_OK(covey_process_start(child));
    for (;;)
        pause();
}

TEST(a_family_makes_objects_after_its_first_process_has_ended)
{
    struct server server = server_start((struct covey_manager_opts){0});
    int from[2], to[2];
    char byte;
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    CHECK_EQ(pipe(from), 0);
    CHECK_EQ(pipe(to), 0);
    fflush(NULL);
    int pid = fork();
    CHECK_GE(pid, 0);
    if (!pid)
        begin_family((struct survivor){server.address, from[1], to[0]});
    CHECK_EQ(read(from[0], &byte, 1), 1);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    close(from[1]);
    CHECK_EQ(write(to[1], "", 1), 1);
    CHECK_EQ(read(from[0], &byte, 1), 1);
    CHECK_GT(waitpid(-1, NULL, 0), 0);
    CHECK_EQ(server_count(&server), 0);
    for (int i = 0; i < 2; i++)
        close(to[i]);
    close(from[0]);
    server_stop(&server);
}

CHECK_MAIN()
