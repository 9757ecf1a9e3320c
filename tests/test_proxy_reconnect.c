/* SPDX-License-Identifier: MIT */
/* Clients whose manager goes, comes back, or comes late. */
#include "reconnect_help.h"
#include "value_help.h"

/* ---- a manager that is restarted ---- */

static void restart(bool is_path, covey_nsec reconnect)
{
    struct site s = site_open(is_path);
    covey_manager *m = CONNECT(s.address, .reconnect = reconnect);
    covey_proxy *old = new_object(m, "Counter");
    CHECK_EQ(number(old, "add"), 1);
    site_restart(&s);
    if (!reconnect) /* as ever: the call that finds the end */
        CHECK_ERR(covey_proxy_call(old, NULL, "add", "()"), COVEY_EEOF);
    CHECK_ERR(covey_proxy_call(old, NULL, "add", "()"), -ESTALE);
    CHECK_STR_HAS(covey_error_detail(), "perhaps it was restarted");
    CHECK_STR_HAS(covey_error_detail(), "Counter.add at ");
    CHECK_STR_EQ(covey_proxy_error_type(), "RemoteError");
    covey_value *v = NULL;
    CHECK_ERR(covey_proxy_methods(old, &v), -ESTALE);
    covey_proxy *new = new_object(m, "Counter");
    CHECK_EQ(number(new, "add"), 1);
    covey_proxy_free(old);
    CHECK_EQ(number(new, "add"), 2);
    covey_proxy_free(new);
    covey_manager_free(m);
    site_close(&s);
}

TEST(without_the_option_the_call_that_finds_the_end_fails)
{
    restart(false, 0);
    restart(true, 0);
}

TEST(with_it_calls_go_on_after_a_restart)
{
    restart(false, PATIENT);
    restart(true, PATIENT);
}

TEST(a_manager_that_was_stopped_goes_on)
{
    int status;
    covey_reply *reply = NULL;
    covey_value *v = NULL;
    struct site s = site_open(false);
    covey_manager *m = CONNECT(s.address, .reconnect = COVEY_MSEC(1));
    covey_manager *hasty =
        CONNECT(s.address, .reconnect = COVEY_FOREVER, .timeout = COVEY_MSEC(20));
    covey_proxy *counter = new_object(m, "Counter");
    CHECK_EQ(number(counter, "add"), 1);
    CHECK_EQ(kill(s.server.pid, SIGSTOP), 0);
    CHECK_EQ(waitpid(s.server.pid, &status, WUNTRACED), s.server.pid);
    size_t count;
    CHECK_ERR(covey_manager_count(hasty, &count), -ETIMEDOUT);
    CHECK_OK(covey_proxy_send(&reply, counter, "add", NULL, NULL, PATIENT));
    CHECK_ERR(covey_reply_get(reply, &v, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_EQ(kill(s.server.pid, SIGCONT), 0);
    CHECK_OK(covey_reply_get(reply, &v, PATIENT));
    is(v, "2");
    covey_reply_free(reply);
    CHECK_OK(covey_manager_count(m, &count));
    covey_proxy_free(counter);
    covey_manager_free(hasty);
    covey_manager_free(m);
    site_close(&s);
}

/* ---- a manager that is not there ---- */

static void *connect_late(void *arg)
{
    return CONNECT(arg, .reconnect = COVEY_FOREVER);
}

TEST(a_manager_that_comes_late_is_waited_for)
{
    char target[100], byte;
    int kept;
    pthread_t thread;
    void *m = NULL;
    choose_address(true, target, &kept);
    struct relay relay = relay_start(target);
    forks_beside_threads();
    CHECK_EQ(pthread_create(&thread, NULL, connect_late, relay.address), 0);
    for (int i = 0; i < 3; i++) /* it has come in vain */
        CHECK_EQ(read(relay.missed, &byte, 1), 1);
    struct server s = serve_at(target);
    CHECK_EQ(pthread_join(thread, &m), 0);
    CHECK_GE(relay_tell(&relay, RELAY_COUNT), 4);
    covey_proxy *counter = new_object(m, "Counter");
    CHECK_EQ(number(counter, "add"), 1);
    covey_proxy_free(counter);
    covey_manager_free(m);
    server_dies(&s);
    relay_end(&relay);
    drop_address(target, kept);
}

TEST(trying_ends_with_its_time)
{
    char address[100];
    int kept;
    covey_manager *m = NULL;
    for (int is_path = 0; is_path < 2; is_path++) {
        choose_address(is_path, address, &kept);
        int64_t begin = cvy_os_now();
        CHECK_ERR(covey_manager_connect(&m, address,
                                        COVEY_CONNECT_OPTS(.authkey = SERVER_KEY,
                                                           .reconnect = COVEY_MSEC(50)),
                                        COVEY_FOREVER),
                  is_path ? -ENOENT : -ECONNREFUSED);
        CHECK_GE(cvy_os_now() - begin, COVEY_MSEC(50));
        CHECK_STR_HAS(covey_error_detail(), "not reached within 0.05 s");
        CHECK_STR_HAS(covey_error_detail(), address);
        begin = cvy_os_now();
        CHECK_ERR(covey_manager_connect(&m, address,
                                        COVEY_CONNECT_OPTS(.authkey = SERVER_KEY,
                                                           .reconnect = COVEY_FOREVER),
                                        COVEY_MSEC(50)),
                  -ETIMEDOUT);
        CHECK_GE(cvy_os_now() - begin, COVEY_MSEC(50));
        CHECK_STR_HAS(covey_error_detail(), "could not be reached in time");
        drop_address(address, kept);
    }
    CHECK(!m);
}

/* Hang up on the first who comes; those who come later are connected and hear nothing. */
static void *hang_up_once(void *listener)
{
    int peer = accept(*(int *)listener, NULL, NULL);
    CHECK_GE(peer, 0);
    close(peer);
    return NULL;
}

/* A first try fails, whatever follows it begins within `.reconnect` and lasts longer. */
TEST(a_manager_that_stays_silent_ends_with_the_calls_time)
{
    char address[100];
    int kept;
    pthread_t thread;
    covey_manager *m = NULL;
    choose_address(true, address, &kept);
    int listener = relay_socket(address, true);
    CHECK_EQ(pthread_create(&thread, NULL, hang_up_once, &listener), 0);
    CHECK_ERR(covey_manager_connect(&m, address,
                                    COVEY_CONNECT_OPTS(.authkey = SERVER_KEY,
                                                       .reconnect = COVEY_MSEC(50)),
                                    COVEY_MSEC(200)),
              -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "could not be reached in time");
    CHECK(!m);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    close(listener);
    drop_address(address, kept);
}

TEST(calls_of_a_manager_that_is_gone_end_with_their_time)
{
    covey_reply *reply = NULL;
    struct site s = site_open(true);
    covey_manager *short_one = CONNECT(s.address, .reconnect = COVEY_MSEC(20));
    covey_manager *long_one = CONNECT(s.address, .reconnect = COVEY_FOREVER);
    covey_proxy *first = new_object(short_one, "Counter");
    covey_proxy *second = new_object(long_one, "Counter");
    CHECK_EQ(number(first, "add"), 1);
    CHECK_EQ(number(second, "add"), 1);
    server_dies(&s.server);
    CHECK_ERR(covey_proxy_call(first, NULL, "add", "()"), -ECONNREFUSED);
    CHECK_STR_HAS(covey_error_detail(), "Counter.add at ");
    CHECK_ERR(covey_proxy_call_values(second, NULL, "add", NULL, NULL, COVEY_MSEC(20)),
              -ETIMEDOUT);
    CHECK_STR_HAS(covey_error_detail(), "could not be reached in time");
    CHECK_ERR(covey_proxy_send(&reply, second, "add", NULL, NULL, COVEY_MSEC(20)),
              -ETIMEDOUT);
    CHECK(!reply);
    CHECK_ERR(covey_manager_shutdown(long_one, COVEY_FOREVER), -ECONNREFUSED);
    covey_proxy_free(first);
    covey_proxy_free(second);
    covey_manager_free(short_one);
    covey_manager_free(long_one);
    drop_address(s.address, s.kept);
}

TEST(a_wrong_key_is_not_tried_again)
{
    covey_manager *m = NULL;
    struct site s = site_open(false);
    const struct covey_connect_opts *wrong =
        COVEY_CONNECT_OPTS(.authkey = COVEY_VIEW("other", 5),
                           .reconnect = COVEY_FOREVER);
    CHECK_ERR(covey_manager_connect(&m, s.address, wrong, COVEY_FOREVER), COVEY_EAUTH);
    m = CONNECT(s.address, .reconnect = COVEY_FOREVER);
    covey_proxy *counter = new_object(m, "Counter");
    CHECK_EQ(number(counter, "add"), 1);
    server_dies(&s.server);
    s.server = server_start((struct covey_manager_opts){
        .address = s.address, .authkey = COVEY_VIEW("other", 5)});
    CHECK_ERR(covey_proxy_call(counter, NULL, "add", "()"), COVEY_EAUTH);
    covey_proxy_free(counter);
    covey_manager_free(m);
    site_close(&s);
}

TEST(options_that_make_no_sense_are_refused)
{
    static const char *const wrong[] = {"add", "Counter.", ".add", "a.b c"};
    covey_manager *m = NULL;
    char text[600];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK_ERR(covey_manager_connect(&m, "/tmp/x",
                                        COVEY_CONNECT_OPTS(.authkey = SERVER_KEY,
                                                           .reconnect = 1,
                                                           .repeat = wrong[i]),
                                        COVEY_NOWAIT),
                  -EINVAL);
    memset(text, 'a', sizeof text);
    text[1] = '.';
    text[sizeof text - 1] = 0;
    CHECK_ERR(covey_manager_connect(&m, "/tmp/x",
                                    COVEY_CONNECT_OPTS(.authkey = SERVER_KEY,
                                                       .reconnect = 1, .repeat = text),
                                    COVEY_NOWAIT),
              -EINVAL);
    CHECK_ERR(covey_manager_connect(
                  &m, "/tmp/x",
                  COVEY_CONNECT_OPTS(.authkey = SERVER_KEY, .repeat = "*.*"),
                  COVEY_NOWAIT),
              -EINVAL);
    CHECK_STR_HAS(covey_error_detail(), ".reconnect");
    CHECK(!m);
}

/* ---- connections that end while the manager goes on ---- */

TEST(a_connection_that_ended_while_nobody_waited_is_replaced)
{
    struct cut c = cut_begin(NULL);
    relay_tell(&c.relay, RELAY_CUT);
    CHECK_EQ(number(c.counter, "add"), 2);
    cut_end(&c);
}

TEST(a_call_that_may_have_run_is_not_repeated)
{
    struct cut c = cut_begin("*.read list.add");
    relay_tell(&c.relay, RELAY_CUT_ANSWER);
    CHECK_ERR(covey_proxy_call(c.counter, NULL, "add", "()"), COVEY_EEOF);
    CHECK_STR_HAS(covey_error_detail(), "the method may have run");
    CHECK_EQ(number(c.counter, "read"), 2);
    cut_end(&c);
}

TEST(a_call_that_may_run_twice_is_repeated)
{
    struct cut c = cut_begin("list.pop, *.read Counter.*");
    relay_tell(&c.relay, RELAY_CUT_ANSWER);
    CHECK_EQ(number(c.counter, "add"), 3);
    relay_tell(&c.relay, RELAY_CUT_ANSWER);
    CHECK_EQ(number(c.counter, "read"), 3);
    cut_end(&c);
}

TEST(calls_that_were_sent_and_are_awaited_later_are_not_repeated)
{
    struct cut c = cut_begin("*.*");
    covey_reply *reply = NULL;
    relay_tell(&c.relay, RELAY_CUT_ANSWER);
    CHECK_OK(covey_proxy_send(&reply, c.counter, "add", NULL, NULL, PATIENT));
    CHECK_ERR(covey_reply_get(reply, NULL, PATIENT), COVEY_EEOF);
    covey_reply_free(reply);
    CHECK_EQ(number(c.counter, "read"), 2);
    cut_end(&c);
}

/* A request that is larger than what sockets take is cut in its middle. */
TEST(a_request_that_was_not_sent_as_a_whole_is_sent_again)
{
    struct cut c = cut_begin(NULL);
    covey_proxy *list = new_object(c.m, "list");
    size_t size = (size_t)16 << 20, count = 0;
    char *bytes = calloc(1, size);
    CHECK(bytes != NULL);
    CHECK_OK(covey_list_count(list, &count));
    relay_tell(&c.relay, RELAY_CUT_REQUEST);
    CHECK_OK(covey_list_append(list, covey_value_bytes(bytes, size)));
    CHECK_OK(covey_list_count(list, &count));
    CHECK_EQ(count, 1);
    free(bytes);
    covey_proxy_free(list);
    cut_end(&c);
}

/* What comes first from the manager is of the handshake. */
TEST(connections_that_end_in_the_handshake_are_made_again)
{
    struct cut c = cut_begin(NULL);
    covey_proxy *list = NULL;
    size_t count = 0;
    relay_tell(&c.relay, RELAY_CUT_ANSWER);
    CHECK_OK(covey_manager_count(c.m, &count));
    CHECK_EQ(count, 1);
    relay_tell(&c.relay, RELAY_CUT_ANSWER);
    CHECK_OK(covey_proxy_create(&list, c.m, "list", NULL, NULL));
    relay_tell(&c.relay, RELAY_CUT);
    relay_tell(&c.relay, RELAY_CUT_ANSWER);
    CHECK_OK(covey_list_append(list, covey_value_int(1)));
    covey_proxy_free(list);
    cut_end(&c);
}

/* A manager that hangs up where it should answer, each second time. */
static void *answer_each_second(void *arg)
{
    covey_conn *conn = NULL;
    for (int i = 0; covey_listener_accept(arg, &conn, COVEY_FOREVER) >= 0; i++) {
        covey_value *request = NULL, *reply = NULL;
        CHECK_OK(covey_conn_recv_value(conn, &request, NULL, PATIENT));
        CHECK_OK(covey_value_pack(&reply, "(s, i)", "#RETURN", 7));
        if (i % 2)
            CHECK_OK(covey_conn_send_value(conn, reply, PATIENT));
        covey_value_free(request);
        covey_value_free(reply);
        covey_conn_free(conn);
        if (i == 4)
            break;
    }
    return NULL;
}

TEST(requests_to_the_manager_are_repeated_if_they_only_look)
{
    covey_listener *listener = NULL;
    covey_proxy *list = NULL;
    pthread_t thread;
    size_t count = 0;
    CHECK_OK(covey_listener_create(&listener, NULL,
                                   COVEY_LISTENER_OPTS(.authkey = SERVER_KEY)));
    CHECK_EQ(pthread_create(&thread, NULL, answer_each_second, listener), 0);
    covey_manager *m = CONNECT(covey_listener_address(listener), .reconnect = PATIENT);
    CHECK_OK(covey_manager_count(m, &count));
    CHECK_EQ(count, 7);
    CHECK_ERR(covey_proxy_create(&list, m, "list", NULL, NULL), COVEY_EEOF);
    CHECK_STR_HAS(covey_error_detail(), "it may have been done");
    CHECK_EQ(pthread_join(thread, NULL), 0);
    covey_manager_free(m);
    covey_listener_free(listener);
}

/* ---- many at once ---- */

enum { CROWD = 6, RESTARTS = 3 };

struct crowd {
    covey_manager *m;
    cvy_word rounds;      /* how often the manager has been restarted */
    cvy_word done[CROWD]; /* in which round each has made a call */
};

/* Calls without a failure through all rounds. */
static int stay(struct crowd *crowd, int i)
{
    for (uint32_t round = 0; round <= RESTARTS;) {
        size_t count;
        uint32_t now = atomic_load(&crowd->rounds);
        CHECK_OK(covey_manager_count(crowd->m, &count));
        if (now < round)
            continue;
        covey_proxy *counter = NULL;
        int r = covey_proxy_create(&counter, crowd->m, "Counter", NULL, NULL);
        if (r == COVEY_EEOF) /* the manager was killed while it made the object */
            continue;
        CHECK_OK(r);
        r = covey_proxy_call(counter, NULL, "add", "()");
        CHECK(r == 0 || r == COVEY_EEOF || r == -ESTALE);
        covey_proxy_free(counter);
        atomic_store(&crowd->done[i], ++round);
    }
    return 0;
}

static void await_round(struct crowd *crowd, uint32_t round)
{
    for (int i = 0; i < CROWD; i++)
        while (atomic_load(&crowd->done[i]) <= round)
            usleep(1000);
}

/* Kill and restart the manager under them. */
static void restart_under(struct crowd *crowd, struct site *s)
{
    for (uint32_t round = 0; round <= RESTARTS; round++) {
        await_round(crowd, round);
        if (round == RESTARTS)
            break;
        site_restart(s);
        atomic_fetch_add(&crowd->rounds, 1);
    }
}

struct member {
    struct crowd *crowd;
    int i;
};

static void *thread_stays(void *arg)
{
    const struct member *member = arg;
    (void)stay(member->crowd, member->i);
    return NULL;
}

TEST_TIMEOUT(threads_reconnect_at_once, 60)
{
    struct crowd crowd = {0};
    struct member members[CROWD];
    pthread_t threads[CROWD];
    forks_beside_threads();
    for (int is_path = 0; is_path < 2; is_path++) {
        struct site s = site_open(is_path);
        crowd = (struct crowd){.m = CONNECT(s.address, .reconnect = PATIENT)};
        for (int i = 0; i < CROWD; i++) {
            members[i] = (struct member){&crowd, i};
            CHECK_EQ(pthread_create(&threads[i], NULL, thread_stays, &members[i]), 0);
        }
        restart_under(&crowd, &s);
        for (int i = 0; i < CROWD; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
        covey_manager_free(crowd.m);
        site_close(&s);
    }
}

static int process_stays(struct covey_view arg)
{
    const struct member *member = arg.data;
    return stay(member->crowd, member->i);
}

TEST_EACH_METHOD_TIMEOUT(processes_reconnect_at_once, 60)
{
    void *object = NULL;
    cvy_ref body = 0;
    covey_process *processes[CROWD];
    struct site s = site_open(true);
    CHECK(cvy_self() != NULL); /* founds the family */
    CHECK_OK(cvy_object_create(CVY_KIND_TEST, sizeof(struct cvy_object), 0,
                               sizeof(struct crowd), &object, &body));
    struct crowd *crowd = cvy_at(body);
    memset(crowd, 0, sizeof *crowd);
    crowd->m = CONNECT(s.address, .reconnect = PATIENT);
    for (int i = 0; i < CROWD; i++) {
        const struct member member = {crowd, i};
        processes[i] = started(process_stays, COVEY_VIEW_OF(member),
                               OPTS(.holds = {crowd->m, object}));
    }
    restart_under(crowd, &s);
    for (int i = 0; i < CROWD; i++)
        CHECK_EQ(end_of(processes[i]), 0);
    covey_manager_free(crowd->m);
    CHECK_OK(cvy_object_release(object));
    site_close(&s);
}

TEST(a_fork_child_reconnects_by_itself)
{
    int status, is_linked[2], go[2];
    char byte;
    struct site s = site_open(true);
    covey_manager *m = CONNECT(s.address, .reconnect = PATIENT);
    covey_proxy *old = new_object(m, "Counter");
    CHECK_EQ(number(old, "add"), 1);
    CHECK_EQ(pipe(is_linked), 0);
    CHECK_EQ(pipe(go), 0);
    pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        CHECK_OK(covey_hold(m));
        CHECK_OK(covey_hold(old));
        CHECK_EQ(number(old, "add"), 2);
        CHECK_EQ(write(is_linked[1], "", 1), 1);
        CHECK_EQ(read(go[0], &byte, 1), 1);
        CHECK_ERR(covey_proxy_call(old, NULL, "add", "()"), -ESTALE);
        covey_proxy *new = new_object(m, "Counter");
        CHECK_EQ(number(new, "add"), 1);
        covey_proxy_free(new);
        covey_proxy_free(old);
        covey_manager_free(m);
        _exit(0);
    }
    CHECK_EQ(read(is_linked[0], &byte, 1), 1);
    site_restart(&s);
    CHECK_EQ(write(go[1], "", 1), 1);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_ERR(covey_proxy_call(old, NULL, "add", "()"), -ESTALE);
    covey_proxy_free(old);
    covey_manager_free(m);
    for (int i = 0; i < 2; i++) {
        close(go[i]);
        close(is_linked[i]);
    }
    site_close(&s);
}

CHECK_MAIN()
