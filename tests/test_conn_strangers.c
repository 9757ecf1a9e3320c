/* SPDX-License-Identifier: MIT */
/* Strangers at the name where a descriptor was to be fetched: anybody can have it as soon as
 * the process that offered the descriptor is gone. */
#include <pthread.h>
#include <sys/un.h>

#include "channel/offer.h"
#include "conn_help.h"
#include "os/socket.h"
#include "thread_state.h"

#define END_OF(conn) ((struct cvy_end *)(void *)(conn))

/* What lies in the pipe when a descriptor was sent over it; it is left there. */
static struct cvy_ticket ticket_in(const struct pair *p)
{
    int64_t deadline = cvy_os_deadline(COVEY_SEC(20));
    struct cvy_ticket ticket;
    CHECK_OK(cvy_pipe_recv_ticket(END_OF(p->b), &ticket, deadline, "a test"));
    CHECK_OK(cvy_pipe_send_ticket(END_OF(p->a), &ticket, deadline, "a test"));
    return ticket;
}

static int send_and_stay(struct covey_view arg)
{
    const struct pair *p = arg.data;
    CHECK_OK(covey_conn_send_fd(p->a, 0, COVEY_SEC(20)));
    while (pause())
        continue;
    return 0;
}

/* Listen at a name that is free, or is going to be. */
static int take_name(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    int r, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path + 1, name, strlen(name));
    do
        r = bind(fd, (const struct sockaddr *)&address, size);
    while (r < 0 && errno == EADDRINUSE);
    CHECK_EQ(r, 0);
    CHECK_EQ(listen(fd, 8), 0);
    return fd;
}

/* How one passes itself off as who offered it. */
enum manner { GIVES_AT_ONCE, GUESSES, ECHOES, GUESSES_A_PART, SAYS_NOTHING, MANNERS };

struct stranger {
    int fd;
    enum manner manner;
};

static void *be_strange(void *arg)
{
    const struct stranger *s = arg;
    char heard[64] = "";
    int peer = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
    CHECK_GE(read(peer, heard, sizeof heard), 8);
    /* It may have been given up by then. */
    if (s->manner == GUESSES)
        (void)!send(peer, "12345678", 8, MSG_NOSIGNAL);
    else if (s->manner == ECHOES)
        (void)!send(peer, heard, 8, MSG_NOSIGNAL);
    else if (s->manner == GUESSES_A_PART)
        (void)!send(peer, "1234567", 7, MSG_NOSIGNAL);
    if (s->manner <= ECHOES)
        (void)cvy_os_stream_send_fd(peer, 1, 0);
    while (read(peer, heard, sizeof heard) > 0) /* until it is given up */
        continue;
    close(peer);
    return NULL;
}

/* Nobody gets a descriptor of it, and nobody waits for it for ever. */
static void is_noticed(struct pair *p, struct stranger *s, covey_nsec timeout)
{
    pthread_t thread;
    int fd = -1;
    CHECK_EQ(pthread_create(&thread, NULL, be_strange, s), 0);
    CHECK_ERR(covey_conn_recv_fd(p->b, &fd, timeout), COVEY_EPEERDIED);
    CHECK_EQ(fd, -1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    close(s->fd);
}

TEST_EACH_METHOD(who_takes_the_name_of_a_dead_sender_is_noticed)
{
    for (int manner = 0; manner < MANNERS; manner++) {
        struct pair p = pair_new(NULL);
        covey_process *child = started(send_and_stay, COVEY_VIEW_OF(p), OPTS());
        struct cvy_ticket ticket = ticket_in(&p);
        CHECK_OK(covey_process_kill(child));
        CHECK_EQ(end_of(child), -SIGKILL);
        struct stranger s = {take_name(ticket.name), (enum manner)manner};
        is_noticed(&p, &s, COVEY_FOREVER);
        pair_free(&p);
    }
}

TEST(who_takes_the_name_of_a_sender_that_has_closed_is_noticed)
{
    for (int manner = 0; manner < MANNERS; manner++) {
        struct pair p = pair_new(NULL);
        CHECK_OK(covey_conn_send_fd(p.a, 0, COVEY_SEC(20)));
        struct cvy_ticket ticket = ticket_in(&p);
        covey_conn_free(p.a);
        struct stranger s = {take_name(ticket.name), (enum manner)manner};
        is_noticed(&p, &s, COVEY_FOREVER);
        covey_conn_free(p.b);
    }
}

TEST(message_behind_what_a_stranger_is_to_give_comes)
{
    struct pair p = pair_new(NULL);
    struct covey_bytes bytes = {0};
    pthread_t thread;
    CHECK_OK(covey_conn_send_fd(p.a, 0, COVEY_SEC(20)));
    struct cvy_ticket ticket = ticket_in(&p);
    send_text(p.a, "behind");
    cvy_offer_take_back(&ticket);
    struct stranger s = {take_name(ticket.name), SAYS_NOTHING};
    CHECK_EQ(pthread_create(&thread, NULL, be_strange, &s), 0);
    CHECK_ERR(covey_conn_recv(p.b, &bytes, COVEY_SEC(20)), COVEY_EPROTOCOL);
    recv_text(p.b, "behind");
    CHECK_EQ(pthread_join(thread, NULL), 0);
    close(s.fd);
    covey_bytes_free(&bytes);
    pair_free(&p);
}

/* One that is stopped is no stranger, and is waited for. */
static void *wake_later(void *arg)
{
    const int *pid = arg;
    int64_t begun = cvy_os_now();
    while (cvy_os_now() - begun < COVEY_MSEC(300)) /* some looks at it */
        cvy_os_yield();
    CHECK_EQ(kill(*pid, SIGCONT), 0);
    return NULL;
}

TEST_EACH_METHOD(sender_that_is_stopped_is_waited_for)
{
    struct pair p = pair_new(NULL);
    pthread_t thread;
    int fd = -1;
    covey_process *child = started(send_and_stay, COVEY_VIEW_OF(p), OPTS());
    int pid = pid_of(child);
    (void)ticket_in(&p);
    CHECK_EQ(kill(pid, SIGSTOP), 0);
    while (state_of_thread(pid) != 'T')
        cvy_os_yield();
    CHECK_EQ(pthread_create(&thread, NULL, wake_later, &pid), 0);
    CHECK_OK(covey_conn_recv_fd(p.b, &fd, COVEY_FOREVER));
    close(fd);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_OK(covey_process_kill(child));
    CHECK_EQ(end_of(child), -SIGKILL);
    pair_free(&p);
}

CHECK_MAIN()
