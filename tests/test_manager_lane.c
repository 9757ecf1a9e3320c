/* SPDX-License-Identifier: MIT */
/* Managers and clients of one family: calls go through its memory, with the same results,
 * whoever is killed, and nothing of it is left. */
#include <pthread.h>
#include <sys/time.h>

#include "manager/lane.h"
#include "object_help.h"
#include "server_box.h"
#include "server_help.h"

#include <covey/family.h>

#define PATIENT COVEY_SEC(20)

/* ---- what is left ---- */

struct left {
    size_t lanes;
    uint64_t used;
};

static struct left what_is_there(void)
{
    struct covey_family_snapshot *s = NULL;
    struct left left = {0};
    CHECK_OK(covey_family_snapshot(0, &s));
    for (size_t i = 0; i < s->object_count; i++)
        left.lanes += strcmp(s->objects[i].kind, "manager's lane") == 0;
    left.used = s->used;
    covey_family_snapshot_free(s);
    return left;
}

/* The manager sees the end of sessions a little later. */
static void await_lanes(size_t wanted)
{
    while (what_is_there().lanes != wanted)
        usleep(1000);
}

static void await_objects(covey_manager *m, size_t wanted)
{
    size_t count;
    do
        CHECK_OK(covey_manager_count(m, &count));
    while (count != wanted);
}

/* ---- short ways ---- */

static covey_manager *start_as(enum covey_start_method method)
{
    covey_manager *m = NULL;
    box_register();
    CHECK_OK(covey_manager_start(&m, COVEY_MANAGER_OPTS(.method = method)));
    return m;
}

static covey_value *bytes_of(size_t size, unsigned seed)
{
    unsigned char *data = malloc(size + 1);
    CHECK(data != NULL);
    for (size_t i = 0; i < size; i++)
        data[i] = (unsigned char)((i * 2654435761u + seed) >> 13);
    covey_value *value = covey_value_bytes(data, size);
    free(data);
    return value;
}

/* What was put in comes back. */
static void passes(covey_proxy *dict, size_t size)
{
    covey_value *sent = bytes_of(size, (unsigned)size), *got = NULL;
    CHECK_OK(covey_dict_set(dict, covey_value_str("k"), covey_value_ref(sent)));
    CHECK_OK(covey_dict_get(dict, covey_value_str("k"), &got));
    CHECK(covey_value_equal(sent, got));
    covey_value_free(sent);
    covey_value_free(got);
}

static size_t count_in(covey_proxy *list)
{
    size_t count = 0;
    CHECK_OK(covey_list_count(list, &count));
    return count;
}

/* ---- the lane alone ---- */

static struct cvy_lane_end ends[2]; /* client, server */

static void open_lane(void)
{
    CHECK_OK(covey_set_log_level(COVEY_LOG_ERROR));
    covey_lock *founds = NULL;
    CHECK_OK(covey_lock_create(&founds, NULL));
    covey_lock_free(founds);
    CHECK_OK(cvy_lane_create(&ends[0]));
    CHECK_OK(cvy_lane_take(cvy_lane_ticket(&ends[0]), &ends[1]));
}

static void close_lane(void)
{
    cvy_lane_release(&ends[0]);
    cvy_lane_release(&ends[1]);
    CHECK_EQ(what_is_there().lanes, 0);
}

static size_t put(struct cvy_lane_end *end, size_t from, size_t size)
{
    unsigned char data[70000];
    for (size_t i = 0; i < size; i++)
        data[i] = (unsigned char)((from + i) % 251);
    const struct covey_view parts[2] = {COVEY_VIEW(data, size / 3),
                                        COVEY_VIEW(data + size / 3, size - size / 3)};
    return cvy_lane_write(end, parts);
}

static size_t take(struct cvy_lane_end *end, size_t from, size_t most)
{
    size_t size = 0;
    const char *data = cvy_lane_peek(end, &size);
    if (!data)
        return 0;
    size = size < most ? size : most;
    for (size_t i = 0; i < size; i++)
        CHECK_EQ((unsigned char)data[i], (from + i) % 251);
    cvy_lane_taken(end, size);
    return size;
}

/* The same numbers in each run. */
static unsigned any(unsigned below)
{
    static uint32_t state = 7;
    state = state * 1664525 + 1013904223;
    return (unsigned)((uint64_t)state * below >> 32);
}

TEST(a_lane_carries_bytes_in_order_whatever_their_portions)
{
    open_lane();
    for (int way = 0; way < 2; way++) {
        size_t sent = 0, got = 0;
        while (got < 3000000) {
            sent += put(&ends[way], sent, any(70000));
            CHECK(!cvy_lane_has_room(&ends[way]) || sent > got);
            for (unsigned i = any(9) + 1; i > 0; i--)
                got += take(&ends[!way], got, any(9000) + 1);
        }
        while (got < sent)
            got += take(&ends[!way], got, SIZE_MAX);
        CHECK_EQ(got, sent);
        CHECK_EQ(take(&ends[!way], got, 1), 0);
        CHECK(!ends[0].is_broken && !ends[1].is_broken);
    }
    close_lane();
}

TEST(nothing_is_seen_behind_a_message_of_any_length)
{
    open_lane();
    size_t sent = 0, got = 0;
    for (size_t size = 1; size < 1200; size++) {
        CHECK_EQ(put(&ends[0], sent, size), size);
        sent += size;
        while (got < sent)
            got += take(&ends[1], got, SIZE_MAX);
        CHECK_EQ(take(&ends[1], got, 1), 0);
        CHECK(!ends[1].is_broken);
    }
    close_lane();
}

TEST(a_full_lane_takes_no_more_and_loses_nothing)
{
    open_lane();
    size_t sent = 0, got = 0, n;
    while ((n = put(&ends[0], sent, 100)) > 0)
        sent += n;
    CHECK(!cvy_lane_has_room(&ends[0]));
    CHECK_EQ(cvy_lane_await_room(&ends[0], -1, cvy_os_deadline(COVEY_MSEC(5))),
             -ETIMEDOUT);
    while ((n = take(&ends[1], got, SIZE_MAX)) > 0)
        got += n;
    CHECK_EQ(got, sent);
    CHECK_OK(cvy_lane_await_room(&ends[0], -1, cvy_os_deadline(PATIENT)));
    close_lane();
}

TEST(sizes_and_positions_that_cannot_be_are_noticed)
{
    static const uint64_t sizes[] = {UINT64_MAX, 1 << 14, (1 << 14) - 7};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size;
        open_lane();
        memcpy(ends[1].in, &sizes[i], sizeof sizes[i]);
        CHECK(!cvy_lane_peek(&ends[1], &size));
        CHECK(ends[1].is_broken);
        close_lane();
    }
    open_lane();
    while (put(&ends[0], 0, 1000) == 1000)
        continue;
    atomic_store(ends[0].out_taken, 1 << 20);
    CHECK_EQ(put(&ends[0], 0, 1000), 0);
    CHECK(ends[0].is_broken);
    close_lane();
}

TEST(lanes_of_other_families_and_what_is_none_are_refused)
{
    struct cvy_lane_end end;
    open_lane();
    struct cvy_lane_ticket real = cvy_lane_ticket(&ends[0]), wrong;
    wrong = real, wrong.inode++;
    CHECK_ERR(cvy_lane_take(wrong, &end), -EINVAL);
    wrong = real, wrong.ref += 64;
    CHECK_LT(cvy_lane_take(wrong, &end), 0);
    wrong = real, wrong.ref = 0;
    CHECK_LT(cvy_lane_take(wrong, &end), 0);
    wrong = real, wrong.ref = UINT64_MAX;
    CHECK_ERR(cvy_lane_take(wrong, &end), -EINVAL);
    close_lane();
    CHECK_LT(cvy_lane_take(real, &end), 0);
}

/* ---- calls ---- */

TEST_EACH_METHOD_AND_THREAD(sessions_of_a_family_have_lanes_and_leave_nothing)
{
    covey_manager *m = start_as(check_method());
    covey_proxy *dict = new_object(m, "dict");
    struct left before = what_is_there();
    CHECK_EQ(before.lanes, 0);
    passes(dict, 10);
    CHECK_EQ(what_is_there().lanes, 1);
    passes(dict, 100);
    CHECK_EQ(what_is_there().lanes, 1);
    CHECK_ERR(covey_dict_get(dict, covey_value_str("none"), NULL), -ENOENT);
    covey_proxy_free(dict);
    manager_end(m);
    await_lanes(0);
    CHECK_LE(what_is_there().used, before.used);
}

TEST_TIMEOUT(messages_of_all_sizes_pass, 120)
{
    covey_manager *m = start_as(COVEY_FORK);
    covey_proxy *dict = new_object(m, "dict");
    for (size_t size = 0; size < 300; size += 7)
        passes(dict, size);
    for (size_t size = 3900; size < 17000; size += 97)
        passes(dict, size);
    for (size_t size = 65000; size < 66000; size += 111)
        passes(dict, size);
    passes(dict, (size_t)1 << 20);
    passes(dict, (size_t)20 << 20);
    passes(dict, 5);
    covey_proxy_free(dict);
    manager_end(m);
}

TEST_TIMEOUT(calls_that_are_not_awaited_fill_both_ways, 120)
{
    enum { CALLS = 400 };
    covey_manager *m = start_as(COVEY_FORK);
    covey_proxy *box = new_object(m, "Box");
    static covey_reply *replies[CALLS];
    for (int i = 0; i < CALLS; i++) {
        covey_value *args = NULL, *pad = bytes_of(i % 5 ? 10 : 9000, 1);
        CHECK_OK(covey_value_pack(&args, "(i, N)", i % 7 ? 10 : 30000, pad));
        CHECK_OK(covey_proxy_send(&replies[i], box, "big", args, NULL, PATIENT));
    }
    for (int i = 0; i < CALLS; i++) {
        covey_value *value = NULL;
        CHECK_OK(covey_reply_get(replies[i], &value, PATIENT));
        CHECK_EQ(covey_value_count(value), i % 7 ? 10 : 30000);
        covey_value_free(value);
        covey_reply_free(replies[i]);
    }
    covey_proxy_free(box);
    manager_end(m);
}

static void *append_some(void *list)
{
    for (int i = 0; i < 3000; i++)
        CHECK_OK(covey_list_append(list, covey_value_int(i)));
    return NULL;
}

TEST_TIMEOUT(threads_have_lanes_of_their_own, 120)
{
    pthread_t threads[4];
    covey_manager *m = start_as(COVEY_FORK);
    covey_proxy *list = new_object(m, "list");
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, append_some, list), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(count_in(list), 12000);
    await_lanes(1);
    covey_proxy_free(list);
    manager_end(m);
}

/* A call that waits goes on when another's ends its waiting; the loop sleeps meanwhile. */
static void *wait_at_gate(void *box)
{
    covey_value *value = NULL;
    CHECK_OK(covey_proxy_call(box, &value, "wait", NULL));
    covey_value_free(value);
    return NULL;
}

TEST(waiting_calls_go_on_after_the_loop_has_slept)
{
    pthread_t thread;
    covey_manager *m = start_as(COVEY_FORK);
    covey_proxy *box = new_object(m, "Box");
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(pthread_create(&thread, NULL, wait_at_gate, box), 0);
        usleep((unsigned)i % 4 * 300);
        CHECK_OK(covey_proxy_call(box, NULL, "open", NULL));
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    covey_proxy_free(box);
    manager_end(m);
}

TEST(a_call_that_runs_out_of_time_ends_the_lane_with_its_session)
{
    covey_manager *m = start_as(COVEY_FORK);
    covey_proxy *box = new_object(m, "Box");
    CHECK_ERR(covey_proxy_call_values(box, NULL, "wait", NULL, NULL, COVEY_MSEC(30)),
              -ETIMEDOUT);
    await_lanes(0);
    CHECK_OK(covey_proxy_call(box, NULL, "open", NULL));
    CHECK_EQ(what_is_there().lanes, 1);
    covey_proxy_free(box);
    manager_end(m);
}

/* ---- who has no lane ---- */

TEST(without_memory_for_a_lane_calls_go_over_the_socket)
{
    CHECK_OK(covey_family_configure(COVEY_FAMILY_OPTS(.budget = (uint64_t)4 << 20)));
    covey_manager *m = start_as(COVEY_FORK);
    covey_proxy *dict = new_object(m, "dict");
    covey_array *arrays[2048];
    size_t count = 0;
    while (count < 2048 &&
           covey_array_create(&arrays[count], 'B', 8192, NULL, NULL) == 0)
        count++;
    passes(dict, 10);
    passes(dict, 100000);
    CHECK_EQ(what_is_there().lanes, 0);
    while (count > 0)
        covey_array_free(arrays[--count]);
    covey_proxy_free(dict);
    manager_end(m);
}

TEST(a_manager_of_another_family_is_reached_by_its_socket)
{
    box_register();
    struct server server = server_start((struct covey_manager_opts){0});
    covey_manager *m = NULL;
    CHECK_OK(covey_manager_connect(&m, server.address,
                                   COVEY_CONNECT_OPTS(.authkey = SERVER_KEY), PATIENT));
    covey_proxy *dict = new_object(m, "dict");
    passes(dict, 100);
    CHECK_EQ(what_is_there().lanes, 0);
    covey_proxy_free(dict);
    covey_manager_free(m);
    server_stop(&server);
}

/* ---- processes ---- */

static int use_list(struct covey_view arg)
{
    covey_proxy *list = *(covey_proxy *const *)arg.data;
    for (int i = 0; i < 500; i++)
        CHECK_OK(covey_list_append(list, covey_value_int(i)));
    return 0;
}

TEST_EACH_METHOD(children_have_lanes_of_their_own)
{
    covey_process *children[3];
    int code;
    covey_manager *m = start_as(check_method());
    covey_proxy *list = new_object(m, "list");
    CHECK_OK(covey_list_append(list, covey_value_int(0)));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(covey_process_create(&children[i], use_list, COVEY_VIEW_OF(list),
                                      COVEY_PROCESS_OPTS(.method = check_method())));
        CHECK_OK(covey_process_start(children[i]));
    }
    CHECK_OK(covey_list_append(list, covey_value_int(0)));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(covey_process_join(children[i], COVEY_FOREVER));
        CHECK_OK(covey_process_exitcode(children[i], &code));
        CHECK_EQ(code, 0);
        covey_process_free(children[i]);
    }
    CHECK_EQ(count_in(list), 1502);
    await_lanes(1);
    covey_proxy_free(list);
    manager_end(m);
}

/* The child of a thread that has calls on their way does not take their answers. */
TEST(a_fork_child_leaves_its_parents_lane_alone)
{
    covey_reply *reply = NULL;
    covey_value *value = NULL;
    int status;
    covey_manager *m = start_as(COVEY_FORK);
    covey_proxy *box = new_object(m, "Box");
    CHECK_OK(covey_proxy_send(&reply, box, "wait", NULL, NULL, PATIENT));
    fflush(NULL);
    int pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        for (int i = 0; i < 100; i++)
            CHECK_OK(covey_proxy_call(box, NULL, "set", "(i)", i));
        CHECK_OK(covey_proxy_call(box, NULL, "open", NULL));
        _exit(0);
    }
    CHECK_OK(covey_reply_get(reply, &value, PATIENT));
    CHECK_EQ(covey_value_kind(value), COVEY_VALUE_STR);
    covey_value_free(value);
    covey_reply_free(reply);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_OK(covey_proxy_call(box, &value, "get", NULL));
    covey_value_free(value);
    await_lanes(1);
    covey_proxy_free(box);
    manager_end(m);
}

/* ---- waiting in other ways ---- */

/* The answer needs the room that only who reads it makes. */
TEST(a_large_answer_comes_to_who_only_polls)
{
    covey_manager *m = start_as(COVEY_FORK);
    covey_proxy *dict = new_object(m, "dict");
    covey_value *args = NULL, *value = NULL, *sent = bytes_of(300000, 1);
    covey_reply *reply = NULL;
    int64_t until = cvy_os_now() + PATIENT;
    int r;
    CHECK_OK(covey_dict_set(dict, covey_value_int(1), covey_value_ref(sent)));
    CHECK_OK(covey_value_pack(&args, "(i)", 1));
    CHECK_OK(covey_proxy_send(&reply, dict, "__getitem__", args, NULL, PATIENT));
    while ((r = covey_reply_get(reply, &value, COVEY_NOWAIT)) == -ETIMEDOUT &&
           cvy_os_now() < until)
        usleep(1000); /* so that the server rests */
    CHECK_OK(r);
    CHECK(covey_value_equal(sent, value));
    covey_reply_free(reply);
    covey_value_free(value);
    covey_value_free(sent);
    covey_proxy_free(dict);
    manager_end(m);
}

static _Atomic int signals;

static void count_signal(int signo)
{
    (void)signo;
    atomic_fetch_add(&signals, 1);
}

static void *put_after_signals(void *arg)
{
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &alarm, NULL), 0);
    for (int seen = atomic_load(&signals); atomic_load(&signals) < seen + 5;)
        cvy_os_yield();
    CHECK_OK(covey_proxy_call(arg, NULL, "put", "(i)", 7));
    return NULL;
}

TEST(signals_do_not_end_a_session_whose_call_waits)
{
    covey_manager *m = start_as(COVEY_FORK);
    covey_proxy *queue = new_object(m, "Queue"), *lock = new_object(m, "Lock");
    covey_value *value = NULL;
    pthread_t thread;
    struct sigaction action = {.sa_handler = count_signal}, old;
    const struct itimerval often = {{0, 2000}, {0, 2000}}, never = {0};
    CHECK_OK(covey_proxy_lock_acquire(lock, PATIENT));
    CHECK_EQ(sigaction(SIGALRM, &action, &old), 0);
    CHECK_EQ(pthread_create(&thread, NULL, put_after_signals, queue), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
    CHECK_OK(covey_proxy_call(queue, &value, "get", NULL));
    CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK_EQ(sigaction(SIGALRM, &old, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_OK(covey_proxy_lock_release(lock)); /* it is still this session's */
    covey_value_free(value);
    covey_proxy_free(queue);
    covey_proxy_free(lock);
    manager_end(m);
}

/* ---- ends by SIGKILL ---- */

/* Calls of all kinds until the end. */
static void call_without_end(covey_proxy *dict, covey_proxy *lock)
{
    for (unsigned i = 0;; i++) {
        covey_reply *reply = NULL;
        covey_value *args = NULL, *value = NULL;
        CHECK_OK(covey_value_pack(&args, "(i, N)", 1, bytes_of(i % 8 ? 9 : 40000, i)));
        CHECK_OK(
            covey_proxy_send(&reply, dict, "__setitem__", args, NULL, COVEY_FOREVER));
        CHECK_OK(covey_proxy_lock_acquire(lock, COVEY_FOREVER));
        CHECK_OK(covey_dict_get(dict, covey_value_int(1), &value));
        CHECK_OK(covey_proxy_lock_release(lock));
        CHECK_OK(covey_reply_get(reply, NULL, COVEY_FOREVER));
        covey_reply_free(reply);
        covey_value_free(value);
    }
}

TEST_TIMEOUT(killed_clients_leave_nothing_and_stop_nobody, 240)
{
    int status, rounds = getenv("CHECK_LONG") ? 2000 : 150;
    covey_manager *m = start_as(COVEY_FORK);
    covey_proxy *dict = new_object(m, "dict"), *lock = new_object(m, "Lock");
    passes(dict, 10);
    for (int i = 0; i < rounds; i++) {
        int pids[2];
        fflush(NULL);
        for (int k = 0; k < 2; k++) {
            pids[k] = fork();
            CHECK_GE(pids[k], 0);
            if (!pids[k])
                call_without_end(dict, lock);
        }
        for (int k = 0; k < 2; k++) {
            usleep(any(4000));
            CHECK_EQ(kill(pids[k], SIGKILL), 0);
            CHECK_EQ(waitpid(pids[k], &status, 0), pids[k]);
            CHECK_EQ(status, SIGKILL);
        }
        CHECK_OK(covey_proxy_lock_acquire(lock, PATIENT)); /* given back */
        CHECK_OK(covey_proxy_lock_release(lock));
    }
    passes(dict, 100000);
    await_lanes(1);
    covey_proxy_free(dict);
    covey_proxy_free(lock);
    await_objects(m, 0);
    manager_end(m);
    await_lanes(0);
}

struct victim {
    int pid;
    unsigned delay;
};

static void *kill_soon(void *arg)
{
    const struct victim *v = arg;
    usleep(v->delay);
    CHECK_EQ(kill(v->pid, SIGKILL), 0);
    return NULL;
}

/* How calls end that wait for the answer of a manager that is killed, or come later. */
static void ends_for_good(covey_proxy *proxy, const char *method, unsigned delay)
{
    struct victim victim = {.pid = manager_pid(), .delay = delay};
    pthread_t thread;
    int r = 0;
    CHECK_EQ(pthread_create(&thread, NULL, kill_soon, &victim), 0);
    int64_t begin = cvy_os_now();
    while (r >= 0)
        r = covey_proxy_call_values(proxy, NULL, method, NULL, NULL, COVEY_FOREVER);
    CHECK_EQ(r, COVEY_EEOF);
    CHECK_STR_HAS(covey_error_detail(), "the manager closed the connection, or died");
    CHECK_LT(cvy_os_now() - begin, COVEY_SEC(5));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_LT(covey_proxy_call(proxy, NULL, method, NULL), 0);
}

static void kill_manager(enum covey_start_method method, const char *called,
                         unsigned delay)
{
    covey_manager *m = start_as(method);
    covey_proxy *box = new_object(m, "Box");
    CHECK_OK(covey_proxy_call(box, NULL, "get", NULL));
    CHECK_EQ(what_is_there().lanes, 1);
    ends_for_good(box, called, delay);
    CHECK_OK(covey_manager_shutdown(m, PATIENT));
    covey_proxy_free(box);
    covey_manager_free(m);
    await_lanes(0);
}

TEST_EACH_METHOD_TIMEOUT(who_waits_for_a_killed_manager_hears_of_it, 120)
{
    for (int i = 0; i < 5; i++)
        kill_manager(check_method(), "wait", 20000);
}

TEST_TIMEOUT(a_manager_killed_at_work_ends_the_calls, 120)
{
    for (unsigned i = 0; i < 30; i++)
        kill_manager(COVEY_FORK, "get", 1000 + 97 * i);
}

TEST(a_manager_that_shuts_down_ends_the_calls)
{
    pthread_t thread;
    covey_manager *m = start_as(COVEY_FORK);
    covey_proxy *dict = new_object(m, "dict"), *event = new_object(m, "Event");
    covey_reply *reply = NULL;
    passes(dict, 10);
    CHECK_OK(covey_proxy_send(&reply, event, "wait", NULL, NULL, PATIENT));
    CHECK_EQ(pthread_create(&thread, NULL, append_some, new_object(m, "list")), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_OK(covey_manager_shutdown(m, PATIENT));
    CHECK_ERR(covey_reply_get(reply, NULL, PATIENT), COVEY_EEOF);
    covey_reply_free(reply);
    CHECK_LT(covey_dict_clear(dict), 0);
    covey_manager_free(m);
}

CHECK_MAIN()
