/* SPDX-License-Identifier: MIT */
/* Connections inside of values when the other side is strange, silent, stopped or killed,
 * or there is no place for a descriptor. */
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "carry_help.h"
#include "channel/mac.h"

/* ---- sharers that are none ---- */

static int listening_at(struct own_name own)
{
    const char *name = own.text + 1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path + 1, name, strlen(name));
    CHECK_EQ(bind(fd, (const struct sockaddr *)&address, size), 0);
    CHECK_EQ(listen(fd, 8), 0);
    return fd;
}

static int listening(void)
{
    return listening_at(own_name());
}

TEST(sharer_that_says_nothing_is_waited_for_no_longer_than_allowed)
{
    int fd = listening();
    CHECK_ERR(fetched_from(python_of(own_name()), COVEY_MSEC(20)), -ETIMEDOUT);
    CHECK_ERR(fetched_from(python_of(own_name()), COVEY_NOWAIT), -ETIMEDOUT);
    close(fd);
}

/* Whoever comes is told this, until it closes. */
struct stranger {
    int fd;
    const char *says;
};

static void *be_strange(void *arg)
{
    const struct stranger *s = arg;
    char byte;
    int peer = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
    write_hex(peer, s->says);
    shutdown(peer, SHUT_WR);
    while (read(peer, &byte, 1) == 1)
        continue;
    close(peer);
    return NULL;
}

TEST(sharer_that_is_none_is_refused)
{
    static const struct {
        const char *says;
        int result;
    } cases[] = {
        {"", COVEY_EEOF},
        {"0000", COVEY_EEOF},
        {"00000003 616263", COVEY_EAUTH},
        {"ffffffff 0000000000000003 616263", COVEY_EPROTOCOL},
        {"7fffffff 616263", COVEY_EPROTOCOL},
        {"00000101 61", COVEY_EPROTOCOL},
        {"fffffffe 61", COVEY_EPROTOCOL},
    };
    struct stranger s = {.fd = listening()};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pthread_t thread;
        s.says = cases[i].says;
        CHECK_EQ(pthread_create(&thread, NULL, be_strange, &s), 0);
        CHECK_ERR(fetched_from(python_of(own_name()), COVEY_SEC(20)), cases[i].result);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    close(s.fd);
}

/* A sharer that proves itself, and then sends a message instead of a descriptor. */
static void *send_no_descriptor(void *arg)
{
    covey_listener *l = arg;
    covey_conn *conn;
    covey_value *request;
    CHECK_OK(covey_listener_accept(l, &conn, COVEY_SEC(20)));
    CHECK_OK(covey_conn_recv_value(conn, &request, NULL, COVEY_SEC(20)));
    CHECK_EQ(covey_value_count(request), 2);
    covey_value_free(request);
    send_text(conn, "x");
    covey_conn_free(conn);
    return NULL;
}

TEST(message_without_a_descriptor_is_told)
{
    covey_listener *l;
    pthread_t thread;
    struct covey_view key = COVEY_VIEW("secret", 6);
    CHECK_OK(covey_set_authkey(key));
    CHECK_OK(covey_listener_create(&l, own_name().text,
                                   COVEY_LISTENER_OPTS(.authkey = key)));
    CHECK_EQ(pthread_create(&thread, NULL, send_no_descriptor, l), 0);
    CHECK_ERR(fetched_from(python_of(own_name()), COVEY_SEC(20)), COVEY_EPROTOCOL);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    covey_listener_free(l);
}

/* A sharer that proves itself, and then reads nothing until it is told to go. */
static void *read_nothing(void *arg)
{
    covey_listener *l = arg;
    covey_conn *conn, *waker;
    CHECK_OK(covey_listener_accept(l, &conn, COVEY_SEC(20)));
    CHECK_OK(covey_listener_accept(l, &waker, COVEY_SEC(20)));
    covey_conn_free(waker);
    covey_conn_free(conn);
    return NULL;
}

TEST(key_of_any_size_costs_no_more_than_the_time_allowed)
{
    static char much[1 << 20];
    covey_listener *l;
    covey_conn *conn = NULL;
    pthread_t thread;
    struct covey_view key = COVEY_VIEW("secret", 6);
    CHECK_OK(covey_set_authkey(key));
    CHECK_OK(covey_listener_create(&l, own_name().text,
                                   COVEY_LISTENER_OPTS(.authkey = key)));
    CHECK_EQ(pthread_create(&thread, NULL, read_nothing, l), 0);
    covey_value *value =
        conn_by(python_of(own_name()), covey_value_bytes(much, sizeof much));
    CHECK_ERR(covey_conn_from_value(&conn, value, COVEY_SEC(20)), COVEY_EPROTOCOL);
    CHECK_STR_HAS(covey_error_detail(), "a key of");
    covey_value_free(value);
    CHECK_OK(covey_client_connect(&conn, own_name().text,
                                  COVEY_CLIENT_OPTS(.authkey = key), COVEY_SEC(20)));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    covey_conn_free(conn);
    covey_listener_free(l);
}

/* ---- sharers that are stopped or killed ---- */

/* Offers a connection, and stays. */
static int offer_and_stay(struct covey_view arg)
{
    const struct pair *p = arg.data;
    struct bare b;
    covey_value *value = value_new(&b, COVEY_FOREVER);
    CHECK_OK(covey_conn_send_value(p->b, value, COVEY_SEC(20)));
    while (pause())
        continue;
    return 0;
}

TEST_EACH_METHOD(what_a_killed_process_offered_is_gone)
{
    struct pair p = pair_new(NULL);
    covey_process *child = started(offer_and_stay, COVEY_VIEW_OF(p), OPTS());
    covey_value *value = value_from(p.a);
    CHECK_OK(covey_process_kill(child));
    CHECK_EQ(end_of(child), -SIGKILL);
    is_used_up(value);
    covey_value_free(value);
    pair_free(&p);
}

/* Stop all threads of a process. */
static void stop(int pid)
{
    char folder[64];
    bool all = false;
    CHECK_EQ(kill(pid, SIGSTOP), 0);
    snprintf(folder, sizeof folder, "/proc/%d/task", pid);
    while (!all) {
        DIR *tasks = opendir(folder);
        all = true;
        CHECK(tasks != NULL);
        for (struct dirent *d = readdir(tasks); d; d = readdir(tasks))
            all =
                all && (d->d_name[0] == '.' || state_of_thread(atoi(d->d_name)) == 'T');
        closedir(tasks);
    }
}

TEST_EACH_METHOD(stopped_sharer_is_waited_for_no_longer_than_allowed)
{
    struct pair p = pair_new(NULL);
    covey_process *child = started(offer_and_stay, COVEY_VIEW_OF(p), OPTS());
    covey_value *value = value_from(p.a);
    covey_conn *conn = NULL;
    stop(pid_of(child));
    CHECK_ERR(covey_conn_from_value(&conn, value, COVEY_MSEC(20)), -ETIMEDOUT);
    CHECK_EQ(kill(pid_of(child), SIGCONT), 0);
    CHECK_OK(covey_conn_from_value(&conn, value, COVEY_SEC(20))); /* still there */
    covey_conn_free(conn);
    CHECK_OK(covey_process_kill(child));
    CHECK_EQ(end_of(child), -SIGKILL);
    covey_value_free(value);
    pair_free(&p);
}

/* ---- others who come ---- */

static int come_to(const covey_value *value)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t size;
    int64_t key;
    const char *address = ticket_of(value, &size, &key);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(un.sun_path, address, size);
    CHECK_EQ(connect(fd, (struct sockaddr *)&un,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)),
             0);
    return fd;
}

TEST(those_who_prove_nothing_hold_up_nobody)
{
    struct bare b;
    covey_value *value = value_new(&b, COVEY_FOREVER);
    int fds[100];
    for (int i = 0; i < 100; i++) {
        fds[i] = come_to(value);
        if (i % 3)
            write_hex(fds[i], i % 3 == 1 ? "0000" : "00000003 616263");
    }
    int64_t begun = cvy_os_now();
    works(value, b.fd);
    CHECK_LT(cvy_os_now() - begun, COVEY_SEC(5)); /* 10 s are given to each */
    for (int i = 0; i < 100; i++)
        close(fds[i]);
    covey_value_free(value);
    bare_free(&b);
    await_end_of_thread();
}

/* The challenge has come when the process gets another key. */
TEST(who_is_in_the_middle_of_a_proof_proves_the_key_it_came_for)
{
    struct bare b, other;
    covey_conn *conn;
    struct covey_view key = COVEY_VIEW("secret", 6);
    CHECK_OK(covey_set_authkey(key));
    covey_value *value = value_new(&b, COVEY_FOREVER);
    CHECK_OK(covey_conn_open_fd(&conn, come_to(value), NULL));
    CHECK_OK(covey_conn_poll(conn, COVEY_SEC(20)));
    CHECK_OK(covey_set_authkey(COVEY_VIEW("another", 7)));
    covey_value *later = value_new(&other, COVEY_FOREVER);
    CHECK_OK(covey_answer_challenge(conn, key, NULL, COVEY_SEC(20)));
    CHECK_OK(covey_deliver_challenge(conn, key, NULL, COVEY_SEC(20)));
    works(later, other.fd);
    covey_conn_free(conn);
    CHECK_OK(covey_set_authkey(key));
    covey_value_free(later);
    bare_free(&other);
    later = value_new(&other, COVEY_FOREVER); /* so it counts again */
    works(value, b.fd);
    works(later, other.fd);
    covey_value_free(later);
    covey_value_free(value);
    bare_free(&b);
    bare_free(&other);
    await_end_of_thread();
}

/* ---- other users ---- */

/* Another user cannot have what comes, and is told why. */
struct refusal {
    struct pair p;
    char why[40];
};

static int fetch_as_another_user(struct covey_view arg)
{
    const struct refusal *refusal = arg.data;
    covey_value *value = value_from(refusal->p.b);
    covey_conn *conn = NULL;
    CHECK_EQ(setresuid(65534, 65534, 65534), 0);
    CHECK_ERR(covey_conn_from_value(&conn, value, COVEY_SEC(20)), -EACCES);
    CHECK_STR_HAS(covey_error_detail(), refusal->why);
    _exit(0); /* a sanitizer cannot look into a process with two users */
}

static void is_refused(struct pair *p, const covey_value *value, const char *why)
{
    struct refusal refusal = {.p = *p};
    snprintf(refusal.why, sizeof refusal.why, "%s", why);
    CHECK_OK(covey_conn_send_value(p->a, value, COVEY_SEC(20)));
    CHECK_EQ(run(fetch_as_another_user, COVEY_VIEW_OF(refusal), OPTS()), 0);
}

TEST_EACH_METHOD(receiver_of_another_user_is_told_so)
{
    if (geteuid() != 0)
        SKIP("needs root to become another user");
    struct pair p = pair_new(NULL);
    struct bare b;
    covey_value *value = value_new(&b, COVEY_FOREVER);
    is_refused(&p, value, "user 0 offers it");
    works(value, b.fd);
    covey_value_free(value);
    bare_free(&b);
    pair_free(&p);
    await_end_of_thread();
}

/* Another user's, which has whoever comes answer its challenge. Its exit code is how many
 * bytes it was told. */
static int challenge_as_another_user(struct own_name own, int ready)
{
    char answer[100];
    CHECK_EQ(setresuid(65533, 65533, 65533), 0);
    int fd = listening_at(own);
    close(ready);
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    static const char challenge[] = "\0\0\0\47#CHALLENGE#{sha256}01234567890123456789";
    (void)!send(peer, challenge, sizeof challenge - 1,
                MSG_NOSIGNAL); /* it may be gone */
    ssize_t n = read(peer, answer, sizeof answer);
    _exit(n < 0 ? 0 : (int)n);
}

TEST_EACH_METHOD(receiver_of_another_user_proves_nothing_to_it)
{
    struct own_name own = own_name();
    int ready[2], status;
    char byte;
    if (geteuid() != 0)
        SKIP("needs root to become another user");
    CHECK_EQ(pipe2(ready, O_CLOEXEC), 0);
    int pid = fork();
    if (!pid) {
        close(ready[0]);
        challenge_as_another_user(own, ready[1]);
    }
    close(ready[1]);
    CHECK_EQ(read(ready[0], &byte, 1), 0);
    struct pair p = pair_new(NULL);
    covey_value *value = conn_at(python_of(own), 1);
    is_refused(&p, value, "user 65533 offers it");
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(ready[0]);
    covey_value_free(value);
    pair_free(&p);
}

/* ---- no descriptor free ---- */

#define MOST_PLACES 64

/* Take all places for descriptors but some. */
struct full {
    struct rlimit limit;
    int places[MOST_PLACES], count;
};

static struct full fill_table(int but)
{
    struct full full = {.count = 0};
    unsigned char mac[CVY_MAC_MOST];
    size_t size;
    /* libcrypto, which needs a place while it is loaded */
    CHECK_OK(cvy_mac("SHA256", COVEY_NO_VIEW, COVEY_VIEW("", 0), mac, &size));
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &full.limit), 0);
    struct rlimit few = {.rlim_max = full.limit.rlim_max};
    int highest = 0;
    for (int i = 0; i < MOST_PLACES / 2; i++) {
        full.places[full.count++] = dup(0);
        highest = full.places[full.count - 1];
    }
    few.rlim_cur = (rlim_t)highest + 1;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (int fd = dup(0); fd >= 0; fd = dup(0)) {
        CHECK_LT(full.count, MOST_PLACES);
        full.places[full.count++] = fd;
    }
    for (int i = 0; i < but; i++)
        close(full.places[--full.count]);
    return full;
}

static void empty_table(struct full *full)
{
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &full->limit), 0);
    while (full->count)
        close(full->places[--full->count]);
}

/* A process that this one forked by itself, so that nothing of its start is opened or
 * closed in the middle of a test, and a connection to it. */
struct forked {
    covey_conn *conn;
    int pid;
};

static struct forked forked(void (*fn)(covey_conn *conn))
{
    struct forked f;
    int ends[2];
    CHECK_OK(covey_set_authkey(COVEY_VIEW("secret", 6)));
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    f.pid = family_fork();
    if (!f.pid) {
        close(ends[0]);
        CHECK_OK(covey_conn_open_fd(&f.conn, ends[1], NULL));
        fn(f.conn);
        covey_conn_free(f.conn);
        _exit(0);
    }
    close(ends[1]);
    CHECK_OK(covey_conn_open_fd(&f.conn, ends[0], NULL));
    return f;
}

static void forked_ends(struct forked *f)
{
    covey_conn_free(f->conn);
    family_join(f->pid);
}

static void offer_one(covey_conn *conn)
{
    struct bare b;
    covey_value *value = value_new(&b, COVEY_FOREVER), *got;
    CHECK_OK(covey_conn_send_value(conn, value, COVEY_SEC(20)));
    CHECK_ERR(covey_conn_recv_value(conn, &got, NULL, COVEY_SEC(20)), COVEY_EEOF);
    covey_value_free(value);
    bare_free(&b);
}

TEST(receiver_without_a_place_for_a_descriptor_loses_nothing)
{
    struct forked sharer = forked(offer_one);
    covey_value *value = value_from(sharer.conn);
    covey_conn *conn = NULL;
    for (int but = 0; but < 2; but++) { /* it needs one for the way there, too */
        struct full full = fill_table(but);
        CHECK_ERR(covey_conn_from_value(&conn, value, COVEY_SEC(20)), -EMFILE);
        empty_table(&full);
    }
    struct full full = fill_table(2);
    CHECK_OK(covey_conn_from_value(&conn, value, COVEY_SEC(20)));
    empty_table(&full);
    covey_conn_free(conn);
    forked_ends(&sharer);
    covey_value_free(value);
}

/* Fetches in vain, says so, and fetches again. */
static void fetch_twice(covey_conn *conn)
{
    covey_value *value = value_from(conn);
    covey_conn *got = NULL;
    CHECK_ERR(covey_conn_from_value(&got, value, COVEY_MSEC(100)), -ETIMEDOUT);
    send_text(conn, "in vain");
    CHECK_OK(covey_conn_from_value(&got, value, COVEY_SEC(20)));
    covey_conn_free(got);
    covey_value_free(value);
}

TEST(sharer_without_a_place_for_a_descriptor_goes_on_when_there_is_one)
{
    struct forked receiver = forked(fetch_twice);
    struct bare b = bare_new();
    covey_value *value = NULL;
    struct full full = fill_table(0);
    CHECK_ERR(covey_conn_to_value(b.conn, COVEY_FOREVER, &value), -EMFILE);
    empty_table(&full);
    CHECK_OK(covey_conn_to_value(b.conn, COVEY_FOREVER, &value));
    full = fill_table(0);
    CHECK_OK(covey_conn_send_value(receiver.conn, value, COVEY_SEC(20)));
    recv_text(receiver.conn, "in vain");
    empty_table(&full);
    forked_ends(&receiver);
    covey_value_free(value);
    bare_free(&b);
    await_end_of_thread();
}

/* poll takes no more entries than descriptors are allowed. */
TEST(thread_that_cannot_sleep_does_not_spin)
{
    struct bare b;
    struct rlimit limit, few;
    struct timespec used;
    char byte;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    covey_value *value = value_new(&b, COVEY_MSEC(500));
    few = limit;
    few.rlim_cur = 1;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    covey_value *other = NULL;
    CHECK_LT(covey_fd_to_value(0, COVEY_SEC(1), &other), 0); /* it wakes up */
    CHECK_EQ(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    int64_t before = used.tv_sec * COVEY_SEC(1) + used.tv_nsec;
    CHECK_EQ(read(b.fd, &byte, 1), 0); /* its time is up */
    CHECK_EQ(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    CHECK_LT(used.tv_sec * COVEY_SEC(1) + used.tv_nsec - before, COVEY_MSEC(50));
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    covey_value_free(value);
    bare_free(&b);
    await_end_of_thread();
}

/* ---- programs that close what is not theirs ---- */

static int listening_fd(void)
{
    for (int fd = 3; fd < 1000; fd++) {
        int listens = 0;
        socklen_t size = sizeof listens;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens)
            return fd;
    }
    return -1;
}

TEST(program_that_closes_one_descriptor_has_nothing_left_open)
{
    struct bare before, after;
    char byte;
    covey_value *value = value_new(&before, COVEY_FOREVER);
    CHECK_EQ(close(listening_fd()), 0); /* nobody can come for it any more */
    covey_value_free(value);
    value = value_new(&after, COVEY_FOREVER);
    CHECK_EQ(read(before.fd, &byte, 1), 0);
    works(value, after.fd);
    covey_value_free(value);
    bare_free(&before);
    bare_free(&after);
    await_end_of_thread();
}

static void close_all_and_offer(covey_conn *conn)
{
    struct bare before, after;
    struct stat info;
    int files[32];
    covey_value *value = value_new(&before, COVEY_FOREVER);
    (void)conn;
    CHECK_EQ(cvy_os_close_from(3), 0);
    for (int i = 0; i < 32; i++) /* other things have the numbers now */
        files[i] = memfd_create("covey-test", MFD_CLOEXEC);
    covey_value_free(value);
    value = value_new(&after, COVEY_FOREVER);
    works(value, after.fd);
    for (int i = 0; i < 32; i++) {
        CHECK_EQ(fstat(files[i], &info), 0);
        CHECK_EQ(info.st_size, 0);
    }
    _exit(0);
}

TEST(program_that_closes_all_descriptors_can_offer_again)
{
    struct forked f = forked(close_all_and_offer);
    forked_ends(&f);
}

/* What the program has by the numbers that were covey's. */
#define MOST_OWN 40
#define FAR      200 /* above the numbers of everything else */
enum own_kind { EMPTY_SOCKETS, FULL_SOCKETS, FLAGS };
struct own {
    enum own_kind kind;
    int fds[MOST_OWN];
    struct stat infos[MOST_OWN];
};

static void own_open(struct own *own, enum own_kind kind)
{
    own->kind = kind;
    for (int i = 0; i < MOST_OWN; i += 2) {
        int *ends = &own->fds[i];
        if (kind == FLAGS)
            for (int j = 0; j < 2; j++)
                CHECK_GE(ends[j] = eventfd(7, EFD_CLOEXEC), 0);
        else
            CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        for (int j = 0; j < 2 && kind == FULL_SOCKETS; j++)
            CHECK_EQ(write(ends[j], "ABCDEFGHIJKL", 12), 12);
    }
    for (int i = 0; i < MOST_OWN; i++)
        CHECK_EQ(fstat(own->fds[i], &own->infos[i]), 0);
}

static void own_is_whole(const struct own *own)
{
    for (int i = 0; i < MOST_OWN; i++) {
        struct stat info;
        struct pollfd item = {.fd = own->fds[i], .events = POLLIN};
        int size = 0;
        CHECK_EQ(fstat(own->fds[i], &info), 0);
        CHECK_EQ(info.st_ino, own->infos[i].st_ino);
        if (own->kind == FLAGS) {
            CHECK_EQ(poll(&item, 1, 0), 1);
        } else {
            CHECK_EQ(ioctl(own->fds[i], FIONREAD, &size), 0);
            CHECK_EQ(size, own->kind == FULL_SOCKETS ? 12 : 0);
        }
    }
}

/* No other thread is between looking at a descriptor and using it. */
static void await_others_asleep(void)
{
    bool sleep = false;
    while (!sleep) {
        DIR *tasks = opendir("/proc/self/task");
        sleep = true;
        CHECK(tasks != NULL);
        for (struct dirent *d = readdir(tasks); d; d = readdir(tasks)) {
            int thread = atoi(d->d_name);
            sleep = sleep &&
                    (!thread || thread == gettid() || state_of_thread(thread) == 'S');
        }
        closedir(tasks);
    }
}

/* A descriptor whose inode others have, too, is among what is offered. */
static int close_all_and_go_on(struct covey_view arg)
{
    enum own_kind kind = *(const enum own_kind *)arg.data;
    struct own own;
    struct bare b;
    int any = eventfd(0, EFD_CLOEXEC);
    covey_value *flag, *value = value_new(&b, COVEY_MSEC(100));
    CHECK_OK(covey_fd_to_value(any, COVEY_MSEC(100), &flag));
    int come = dup2(come_to(value), FAR);   /* stays open, not to wake the thread */
    CHECK_EQ(read(come, &(char){0}, 1), 1); /* which has a descriptor for it */
    await_others_asleep();
    for (int fd = 3; fd < FAR; fd++)
        close(fd);
    own_open(&own, kind);
    int pid = family_fork();
    if (!pid) {
        own_is_whole(&own);
        _exit(0);
    }
    family_join(pid);
    await_end_of_thread(); /* when the time is up, or before */
    own_is_whole(&own);
    pid = family_fork();
    if (!pid)
        _exit(0);
    family_join(pid);
    _exit(0); /* nothing else is to be expected to work */
}

static void descriptors_are_kept_when(enum own_kind kind)
{
    CHECK_EQ(run(close_all_and_go_on, COVEY_VIEW_OF(kind), OPTS()), 0);
}

TEST_EACH_METHOD(program_that_closes_all_descriptors_can_fork)
{
    descriptors_are_kept_when(EMPTY_SOCKETS);
}

TEST_EACH_METHOD(program_that_closes_all_descriptors_keeps_its_new_ones)
{
    descriptors_are_kept_when(FULL_SOCKETS);
}

TEST_EACH_METHOD(program_that_closes_all_descriptors_keeps_its_new_flags)
{
    descriptors_are_kept_when(FLAGS);
}

CHECK_MAIN()
