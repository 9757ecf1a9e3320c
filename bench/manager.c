/* SPDX-License-Identifier: MIT */
/*
 * The rows of managers: a server in a process of its own, clients in others, one shared
 * thing, as many operations as go into some time. covey:manager goes through the family's
 * memory, covey:manager-unix and covey:manager-tcp over sockets, as between strangers.
 *   manager_dict    set then get of the client's own key, each an operation
 *   manager_list    append; length and sum are checked at the end
 *   manager_value   set then get, each an operation
 *   manager_lock    acquire and release, the pair an operation
 *   manager_queue   put then get, the pair an operation
 * Every answer is checked. From the first client's begin to the last one's end.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#include <covey.h>

enum { MOST_CLIENTS = 16 };
#define KEY COVEY_VIEW("key of these rows", 17)

/* In what is measured: a call that went well costs no other one. */
#define MUST(call)                                                                     \
    do {                                                                               \
        int result_ = (call);                                                          \
        if (result_ < 0)                                                               \
            bench_must(result_, #call);                                                \
    } while (0)

struct bench {
    const struct job *job;
    covey_barrier *start;
    covey_manager *manager;
    covey_proxy *proxy;
    double seconds;
    int ready;      /* to write the address to */
    pid_t stranger; /* the manager, if it is no member of the family */
    struct client {
        _Alignas(64) double begin, end;
        uint64_t operations, sum;
    } clients[MOST_CLIENTS];
};

/* One round with number `i`. Returns: how many operations it was. */
struct job {
    const char *workload, *type_id;
    int (*round)(covey_proxy *proxy, int64_t client, int64_t i);
    int one_client; /* with more, clients would get each other's */
};

/* ---- what clients do ---- */

static void want(covey_value *value, int64_t wanted)
{
    int64_t number = -1;
    if (covey_value_get_int(value, &number) < 0 || number != wanted)
        bench_fail("an answer of %jd instead of %jd", (intmax_t)number,
                   (intmax_t)wanted);
    covey_value_free(value);
}

static int use_dict(covey_proxy *dict, int64_t client, int64_t i)
{
    covey_value *value;
    MUST(covey_dict_set(dict, covey_value_int(client), covey_value_int(i)));
    MUST(covey_dict_get(dict, covey_value_int(client), &value));
    want(value, i);
    return 2;
}

static int use_list(covey_proxy *list, int64_t client, int64_t i)
{
    (void)client;
    MUST(covey_list_append(list, covey_value_int(i)));
    return 1;
}

static int use_value(covey_proxy *proxy, int64_t client, int64_t i)
{
    covey_value *value;
    (void)client;
    MUST(covey_proxy_value_set(proxy, covey_value_int(i)));
    MUST(covey_proxy_value_get(proxy, &value));
    want(value, i);
    return 2;
}

static int use_lock(covey_proxy *lock, int64_t client, int64_t i)
{
    (void)client;
    (void)i;
    MUST(covey_proxy_lock_acquire(lock, COVEY_FOREVER));
    MUST(covey_proxy_lock_release(lock));
    return 1;
}

static int use_queue(covey_proxy *queue, int64_t client, int64_t i)
{
    covey_value *value;
    (void)client;
    MUST(covey_proxy_queue_put(queue, covey_value_int(i), COVEY_FOREVER));
    MUST(covey_proxy_queue_get(queue, &value, COVEY_FOREVER));
    want(value, i);
    return 1;
}

static const struct job jobs[] = {
    {"manager_dict", "dict", use_dict, 0},    {"manager_list", "list", use_list, 0},
    {"manager_value", "Value", use_value, 1}, {"manager_lock", "Lock", use_lock, 0},
    {"manager_queue", "Queue", use_queue, 1},
};

struct seat {
    struct bench *bench;
    int index;
};

static int be_client(struct covey_view arg)
{
    const struct seat *seat = arg.data;
    struct bench *b = seat->bench;
    struct client *me = &b->clients[seat->index];
    (void)b->job->round(b->proxy, seat->index, 0); /* makes the connection */
    me->operations = b->job == &jobs[1];           /* the item is in the list */
    BENCH_MUST(covey_barrier_wait(b->start, COVEY_FOREVER, NULL));
    me->begin = bench_clock();
    double end = me->begin + b->seconds;
    for (uint64_t i = 0; i % 16 || bench_clock() < end; i++) {
        me->operations += (uint64_t)b->job->round(b->proxy, seat->index, (int64_t)i);
        me->sum += i;
    }
    me->end = bench_clock();
    return 0;
}

/* ---- the manager ---- */

static void tell_address(void *context, const char *address)
{
    int fd = *(int *)context;
    if (write(fd, address, strlen(address) + 1) < 0)
        bench_fail("no way to tell the address");
    close(fd);
}

static int be_manager(struct covey_view arg)
{
    struct bench *b = *(struct bench *const *)arg.data;
    bool tcp = strcmp(bench_running()->impl, "covey:manager-tcp") == 0;
    BENCH_MUST(covey_manager_serve_forever(
        COVEY_MANAGER_OPTS(.address = tcp ? "127.0.0.1:0" : NULL, .authkey = KEY,
                           .ready = tell_address, .context = &b->ready)));
    return 0;
}

/* A stranger is forked before this process has used covey, so that each begins a family of
 * its own. */
static covey_process *start_manager(struct bench *b)
{
    char address[256] = "";
    int ends[2];
    covey_process *member = NULL;
    pid_t stranger = 0;
    if (pipe(ends) < 0)
        bench_fail("no pipe");
    b->ready = ends[1];
    if (strcmp(bench_running()->impl, "covey:manager") == 0)
        member = bench_start(be_manager, COVEY_VIEW_OF(b));
    else if ((stranger = fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        exit(be_manager(COVEY_VIEW_OF(b)));
    }
    b->stranger = stranger;
    close(ends[1]);
    for (size_t i = 0; read(ends[0], address + i, 1) == 1 && address[i]; i++)
        continue;
    close(ends[0]);
    BENCH_MUST(covey_manager_connect(
        &b->manager, address, COVEY_CONNECT_OPTS(.authkey = KEY), COVEY_SEC(10)));
    return member;
}

static covey_value *arguments(const struct job *job)
{
    covey_value *args = NULL;
    if (strcmp(job->type_id, "Value") == 0)
        BENCH_MUST(covey_value_pack(&args, "(s, i)", "i", 0));
    return args;
}

/* ---- the rows ---- */

static void check_list(struct bench *b, uint64_t operations, uint64_t sum)
{
    covey_value *all;
    BENCH_MUST(covey_proxy_copy(b->proxy, &all));
    if (covey_value_count(all) != operations)
        bench_fail("%zu items instead of %ju", covey_value_count(all),
                   (uintmax_t)operations);
    for (size_t i = 0; i < covey_value_count(all); i++) {
        int64_t number = 0;
        BENCH_MUST(covey_value_get_int(covey_value_at(all, i), &number));
        sum -= (uint64_t)number;
    }
    if (sum)
        bench_fail("the sum is wrong");
    covey_value_free(all);
}

static double finish(struct bench *b, int clients)
{
    double begin = b->clients[0].begin, end = 0;
    uint64_t operations = 0, sum = 0;
    for (int i = 0; i < clients; i++) {
        const struct client *c = &b->clients[i];
        begin = c->begin < begin ? c->begin : begin;
        end = c->end > end ? c->end : end;
        operations += c->operations;
        sum += c->sum;
    }
    if (b->job == &jobs[1]) {
        check_list(b, operations, sum);
        operations -= (uint64_t)clients;
    }
    return (double)operations / (end - begin);
}

static const struct job *running_job(void)
{
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        if (strcmp(jobs[i].workload, bench_running()->workload) == 0)
            return &jobs[i];
    bench_fail("no such workload");
}

static void run(void)
{
    struct bench *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    covey_process *clients[MOST_CLIENTS];
    int status, count = (int)bench_number("clients", 1);
    if (b == MAP_FAILED || count < 1 || count > MOST_CLIENTS)
        bench_fail("no memory, or clients=%d", count);
    b->job = running_job();
    b->seconds = bench_number("seconds", 0.5);
    if (b->job->one_client && count > 1)
        bench_must(-ENOTSUP, "more than one client");
    covey_process *manager = start_manager(b);
    BENCH_MUST(covey_barrier_create(&b->start, (unsigned)count, NULL));
    BENCH_MUST(covey_proxy_create(&b->proxy, b->manager, b->job->type_id,
                                  arguments(b->job), NULL));
    for (int i = 0; i < count; i++) {
        struct seat seat = {b, i};
        clients[i] = bench_start(be_client, COVEY_VIEW_OF(seat));
    }
    for (int i = 0; i < count; i++)
        bench_join(clients[i]);
    bench_emit("ops/s", finish(b, count));
    covey_proxy_free(b->proxy);
    BENCH_MUST(covey_manager_shutdown(b->manager, COVEY_SEC(10)));
    covey_manager_free(b->manager);
    if (manager)
        bench_join(manager);
    else if (waitpid(b->stranger, &status, 0) != b->stranger || status)
        bench_fail("the manager ended with %#x", (unsigned)status);
    covey_barrier_free(b->start);
}

#define ROWS(workload)                                                                 \
    {workload, "covey:manager", run}, {workload, "covey:manager-unix", run},           \
    {                                                                                  \
        workload, "covey:manager-tcp", run                                             \
    }

const struct bench_case bench_manager_cases[] = {
    ROWS("manager_dict"), ROWS("manager_list"),  ROWS("manager_value"),
    ROWS("manager_lock"), ROWS("manager_queue"),
};
const size_t bench_manager_count =
    sizeof bench_manager_cases / sizeof *bench_manager_cases;
