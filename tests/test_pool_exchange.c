/* SPDX-License-Identifier: MIT */
/* Pools that are fed by something else than arrays: the interface that other systems'
 * queues are to implement, implemented by a stranger behind a socket. */
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

#include "pool/flow.h"
#include "pool_help.h"

/* What goes over the socket: a number there, its square or an outcome back. */
struct packet {
    uint64_t id, number;
    int32_t outcome, code;
};

/* ---- the exchange ------------------------------------------------------------ */

struct remote {
    int fd;
    struct packet packet; /* pulled last */
    struct covey_view view;
    struct cvy_pool *pool;
    uint32_t map;
    pthread_t listener;
    atomic_bool over;
    uint64_t pulled, put, dropped;
    int told; /* what the run came to */
};

static int pull(void *ctx, struct cvy_item *ret_item)
{
    struct remote *r = ctx;
    ssize_t n = recv(r->fd, &r->packet, sizeof r->packet, MSG_DONTWAIT);
    if (n == 0)
        return COVEY_EEND;
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    r->pulled++;
    r->view = COVEY_VIEW(&r->packet.number, sizeof r->packet.number);
    ret_item->parts = &r->view;
    ret_item->cookie = (struct cvy_cookie){r, r->packet.id, 0};
    return 1;
}

static void answer(struct remote *r, struct packet packet)
{
    CHECK_EQ(send(r->fd, &packet, sizeof packet, MSG_NOSIGNAL), sizeof packet);
}

static void put(void *ctx, const struct cvy_done *done)
{
    struct packet packet = {
        .id = done->cookie.index, .outcome = done->outcome, .code = done->code};
    struct remote *r = ctx;
    if (done->outcome == COVEY_OUTCOME_OK)
        memcpy(&packet.number, done->result.data, sizeof packet.number);
    r->put++;
    answer(r, packet);
}

/* What was never pulled is its sender's still. */
static void drop(void *ctx, enum covey_outcome outcome, bool held)
{
    struct remote *r = ctx;
    r->dropped += held;
    if (held)
        answer(r, (struct packet){.id = r->packet.id, .outcome = (int32_t)outcome});
}

static void tell(void *ctx, uint64_t *ret_done, uint64_t *ret_total)
{
    const struct remote *r = ctx;
    *ret_done = r->put;
    *ret_total = r->pulled;
}

/* Rings when something has come. A look that finds nothing new does no harm. */
static void *listen_for_more(void *ctx)
{
    struct remote *r = ctx;
    CHECK(covey_current_process() != NULL);
    while (!atomic_load(&r->over)) {
        (void)cvy_os_poll_in(r->fd, cvy_os_deadline(COVEY_MSEC(5)));
        cvy_pool_ring_map(r->pool, r->map);
        cvy_os_yield();
    }
    return NULL;
}

static void open_remote(void *ctx, struct cvy_map *map)
{
    struct remote *r = ctx;
    r->pool = map->pool;
    r->map = map->index;
    CHECK_EQ(pthread_create(&r->listener, NULL, listen_for_more, r), 0);
}

static int close_remote(void *ctx, struct cvy_map *map, int result)
{
    struct remote *r = ctx;
    r->told = result;
    atomic_store(&r->over, true);
    CHECK_EQ(pthread_join(r->listener, NULL), 0);
    return map->give_up ? COVEY_EBROKEN : result;
}

static const struct cvy_exchange over_socket = {pull, put,         drop,
                                                tell, open_remote, close_remote};

static void make_ends(int ends[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
}

static int serve(covey_pool *object, covey_task_fn *fn, struct remote *remote,
                 const struct covey_map_opts *opts)
{
    struct cvy_pool *pool = NULL;
    CHECK_OK(cvy_pool_enter(object, "a test", true, &pool));
    return cvy_exchange_run(pool, "a test", fn, 0, &over_socket, remote, opts);
}

/* ---- the stranger ------------------------------------------------------------ */

enum { COUNT = 300, AT_ONCE = 20, POISON = 77 };

/* Sends numbers, some at a time, and checks what comes back; knows nothing of covey. */
static int be_stranger(int fd, int failing)
{
    static int seen[COUNT];
    struct packet packet;
    uint64_t sent = 0, got = 0;
    while (got < COUNT) {
        for (; sent < COUNT && sent - got < AT_ONCE; sent++) {
            packet = (struct packet){.id = sent, .number = sent};
            if (send(fd, &packet, sizeof packet, 0) != sizeof packet)
                return 1;
        }
        if (recv(fd, &packet, sizeof packet, 0) != sizeof packet)
            return 2;
        got++;
        bool bad = failing && packet.id == POISON;
        if (packet.id >= COUNT || seen[packet.id]++)
            return 3;
        if (packet.outcome != (bad ? failing : COVEY_OUTCOME_OK))
            return 4;
        if (!bad && packet.number != packet.id * packet.id)
            return 5;
    }
    return shutdown(fd, SHUT_WR) < 0 || recv(fd, &packet, sizeof packet, 0) != 0;
}

static int task_square_or_die(struct covey_call *call)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    return *x == POISON ? task_die(call) : task_square(call);
}

static void check_exchange(covey_task_fn *fn, int failing)
{
    int ends[2], status;
    make_ends(ends);
    pid_t stranger = fork();
    if (stranger == 0) {
        close(ends[0]);
        _exit(be_stranger(ends[1], failing));
    }
    close(ends[1]);
    covey_pool *pool = pool_with(2, POOL_OPTS());
    struct remote remote = {.fd = ends[0]};
    CHECK_OK(serve(pool, fn, &remote, COVEY_MAP_OPTS()));
    CHECK_EQ(remote.pulled, COUNT);
    CHECK_EQ(remote.put, COUNT);
    CHECK_EQ(remote.dropped, 0);
    CHECK_EQ(shutdown(ends[0], SHUT_RDWR), 0); /* workers may have copies */
    close(ends[0]);
    CHECK_EQ(waitpid(stranger, &status, 0), stranger);
    CHECK_EQ(status, 0);
    CHECK_OK(covey_pool_apply(pool, task_echo, text_view("on"), NULL, NULL));
    covey_pool_free(pool);
}

TEST_EACH_METHOD_AND_THREAD(items_come_from_a_stranger_and_go_back)
{
    check_exchange(task_square, 0);
}

TEST_EACH_METHOD(a_stranger_is_told_which_item_killed_its_worker)
{
    check_exchange(task_square_or_die, COVEY_OUTCOME_CRASHED);
}

TEST(what_was_sent_before_the_end_is_done)
{
    int ends[2];
    make_ends(ends);
    struct packet packet = {.id = 1, .number = 5};
    CHECK_EQ(send(ends[1], &packet, sizeof packet, 0), sizeof packet);
    CHECK_EQ(shutdown(ends[1], SHUT_WR), 0);
    covey_pool *pool = pool_with(1, NULL);
    struct remote remote = {.fd = ends[0]};
    CHECK_OK(serve(pool, task_square, &remote, COVEY_MAP_OPTS()));
    CHECK_EQ(remote.put, 1);
    CHECK_EQ(recv(ends[1], &packet, sizeof packet, 0), sizeof packet);
    CHECK_EQ(packet.number, 25);
    close(ends[0]);
    close(ends[1]);
    covey_pool_free(pool);
}

/* A source that fails: the run says so. */
TEST(an_error_of_the_source_is_what_the_run_returns)
{
    int ends[2];
    make_ends(ends);
    struct packet packet = {.id = 1, .number = 5};
    CHECK_EQ(send(ends[0], &packet, sizeof packet, 0), sizeof packet);
    close(ends[1]); /* with something unread: the other end is reset */
    covey_pool *pool = pool_with(1, NULL);
    struct remote remote = {.fd = ends[0]};
    CHECK_ERR(serve(pool, task_square, &remote, COVEY_MAP_OPTS()), -ECONNRESET);
    CHECK_EQ(remote.told, -ECONNRESET);
    CHECK_EQ(remote.pulled, 0);
    close(ends[0]);
    covey_pool_free(pool);
}

TEST(a_wrong_function_opens_nothing)
{
    covey_pool *pool = pool_with(1, NULL);
    struct remote remote = {.fd = -1};
    CHECK_ERR(serve(pool, NULL, &remote, COVEY_MAP_OPTS()), -EINVAL);
    CHECK(remote.pool == NULL);
    covey_pool_free(pool);
}

TEST(time_may_be_over_before_a_stranger_sends)
{
    int ends[2];
    make_ends(ends);
    covey_pool *pool = pool_with(1, NULL);
    struct remote remote = {.fd = ends[0]};
    CHECK_OK(
        serve(pool, task_square, &remote, COVEY_MAP_OPTS(.timeout = COVEY_MSEC(30))));
    CHECK_EQ(remote.pulled, 0);
    close(ends[0]);
    close(ends[1]);
    covey_pool_free(pool);
}

/* ---- without a pause ------------------------------------------------------------- */

/* The source goes on until its first item is over. */
struct stream {
    uint64_t next, first_put;
    uint8_t outcome; /* of the first one */
    uint64_t kind, arg;
    struct covey_view view;
};

enum { HANG, DIE, STREAM_MOST = 200000 };

static int pull_on(void *ctx, struct cvy_item *ret_item)
{
    struct stream *stream = ctx;
    if (stream->outcome || stream->next == STREAM_MOST)
        return COVEY_EEND;
    stream->arg = stream->next ? UINT64_MAX : stream->kind;
    stream->view = COVEY_VIEW_OF(stream->arg);
    ret_item->parts = &stream->view;
    ret_item->cookie = (struct cvy_cookie){stream, stream->next++, 0};
    return 1;
}

/* Takes longer than an item, so there is always another one. */
static void put_slowly(void *ctx, const struct cvy_done *done)
{
    struct stream *stream = ctx;
    int64_t end = cvy_os_now() + 20000;
    while (!stream->outcome && cvy_os_now() < end)
        cvy_os_pause();
    if (done->cookie.index == 0) {
        stream->outcome = done->outcome;
        stream->first_put = stream->next;
    }
}

static int hang_or_die(struct covey_call *call)
{
    uint64_t kind;
    memcpy(&kind, covey_call_arg(call, NULL), sizeof kind);
    return kind == HANG ? task_block(call) : kind == DIE ? task_die(call) : 0;
}

static void drop_none(void *ctx, enum covey_outcome outcome, bool held)
{
    (void)ctx;
    (void)held;
    check_failed(__FILE__, __LINE__, "dropped with %d", (int)outcome);
}

TEST_EACH_METHOD(who_never_waits_sees_to_limits_and_deaths)
{
    static const struct cvy_exchange exchange = {
        .pull = pull_on, .put = put_slowly, .drop = drop_none};
    for (uint64_t kind = HANG; kind <= DIE; kind++) {
        covey_pool *pool = pool_with(2, POOL_OPTS());
        struct stream stream = {.kind = kind};
        struct covey_map_opts opts = {.size = sizeof opts,
                                      .time_limit = kind == HANG ? COVEY_MSEC(50) : 0};
        CHECK_OK(cvy_exchange_run(cvy_pool_of(pool), "a test", hang_or_die, 0,
                                  &exchange, &stream, &opts));
        enum covey_outcome wanted =
            kind == HANG ? COVEY_OUTCOME_TIMEOUT : COVEY_OUTCOME_CRASHED;
        CHECK_EQ(stream.outcome, wanted);
        CHECK_LT(stream.first_put, STREAM_MOST);
        covey_pool_free(pool);
    }
}

static int next_of_stream(void *ctx, struct covey_view *ret_item)
{
    struct cvy_item item;
    int r = pull_on(ctx, &item);
    if (r == 1)
        *ret_item = *item.parts;
    return r == COVEY_EEND ? 0 : r;
}

/* Returns: the first item's code. */
static int read_slowly(covey_iterator *it, struct stream *stream)
{
    int r, code = 0;
    while ((r = covey_iterator_next(it, NULL, COVEY_FOREVER)) != COVEY_EEND) {
        struct cvy_done done = {.outcome = COVEY_OUTCOME_ERROR};
        CHECK_OK(covey_iterator_index(it, &done.cookie.index));
        if (done.cookie.index == 0)
            code = r;
        put_slowly(stream, &done);
    }
    return code;
}

TEST_EACH_METHOD(who_always_has_something_to_read_sees_to_them_too)
{
    for (uint64_t kind = HANG; kind <= DIE; kind++) {
        covey_pool *pool = pool_with(2, POOL_OPTS(.own_loop = COVEY_ON));
        struct stream stream = {.kind = kind};
        covey_iterator *it = NULL;
        CHECK_OK(covey_pool_imap_unordered(
            &it, pool, hang_or_die, next_of_stream, &stream,
            COVEY_IMAP_OPTS(.time_limit = kind == HANG ? COVEY_MSEC(50) : 0)));
        CHECK_ERR(read_slowly(it, &stream), kind == HANG ? -ETIMEDOUT : COVEY_ECRASHED);
        CHECK_LT(stream.first_put, STREAM_MOST);
        covey_iterator_free(it);
        covey_pool_free(pool);
    }
}

CHECK_MAIN()
