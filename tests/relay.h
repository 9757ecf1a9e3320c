/* SPDX-License-Identifier: MIT */
/* A process between clients and a server, which passes bytes on and cuts connections where
 * it is told to. It is no process of the family, so that no lane leads around it. */
#ifndef TESTS_RELAY_H
#define TESTS_RELAY_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum relay_order {
    RELAY_CUT = 'c',         /* all connections, now */
    RELAY_CUT_ANSWER = 'a',  /* the next connection that an answer comes for */
    RELAY_CUT_REQUEST = 'r', /* the next connection, in the middle of a request */
    RELAY_COUNT = 'n'        /* say how many connections there were */
};

struct relay {
    int pid, orders, answers;
    int missed; /* gets a byte for each client for whom there was no server */
    char address[100];
};

enum { RELAY_MOST = 32 };

struct relay_state {
    int listener, orders, answers, missed, count;
    const char *target;
    char armed;               /* an order that waits for its moment */
    int pairs[RELAY_MOST][2]; /* client, server; -1: free */
};

static inline int relay_socket(const char *path, bool listens)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_GE(fd, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    const struct sockaddr *a = (const struct sockaddr *)(const void *)&address;
    if (listens) {
        CHECK_EQ(bind(fd, a, sizeof address), 0);
        CHECK_EQ(listen(fd, 100), 0);
    } else if (connect(fd, a, sizeof address) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline void relay_cut(int pair[2])
{
    if (pair[0] < 0)
        return;
    close(pair[1]);
    close(pair[0]);
    pair[0] = pair[1] = -1;
}

static inline void relay_accept(struct relay_state *s)
{
    int i = 0, client = accept(s->listener, NULL, NULL);
    int server = relay_socket(s->target, false);
    CHECK_GE(client, 0);
    s->count++;
    if (server < 0) {
        close(client);
        CHECK_EQ(write(s->missed, "", 1), 1);
        return;
    }
    while (i < RELAY_MOST - 1 && s->pairs[i][0] >= 0)
        i++;
    CHECK_LT(s->pairs[i][0], 0);
    s->pairs[i][0] = client;
    s->pairs[i][1] = server;
}

/* Something has come from this side of a pair. */
static inline void relay_pass(struct relay_state *s, int pair[2], int from)
{
    char bytes[4096];
    ssize_t n = read(pair[from], bytes, sizeof bytes), done = 0;
    if (n > 0 && s->armed == (from ? RELAY_CUT_ANSWER : RELAY_CUT_REQUEST)) {
        s->armed = 0;
        n = 0;
    }
    while (done < n) {
        ssize_t some =
            send(pair[!from], bytes + done, (size_t)(n - done), MSG_NOSIGNAL);
        if (some < 0)
            n = 0;
        else
            done += some;
    }
    if (n <= 0)
        relay_cut(pair);
}

static inline bool relay_obey(struct relay_state *s)
{
    char order = 0;
    if (read(s->orders, &order, 1) != 1 || order == 'q')
        return false;
    if (order == RELAY_CUT)
        for (int i = 0; i < RELAY_MOST; i++)
            relay_cut(s->pairs[i]);
    else if (order != RELAY_COUNT)
        s->armed = order;
    const char count = (char)s->count;
    CHECK_EQ(write(s->answers, &count, 1), 1);
    return true;
}

static inline void relay_run(struct relay_state *s)
{
    struct pollfd fds[2 + 2 * RELAY_MOST];
    memset(s->pairs, -1, sizeof s->pairs);
    for (;;) {
        fds[0] = (struct pollfd){.fd = s->orders, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = s->listener, .events = POLLIN};
        for (int i = 0; i < 2 * RELAY_MOST; i++)
            fds[2 + i] =
                (struct pollfd){.fd = s->pairs[i / 2][i % 2], .events = POLLIN};
        if (poll(fds, 2 + 2 * RELAY_MOST, -1) < 0)
            continue;
        for (int i = 0; i < 2 * RELAY_MOST; i++)
            if (fds[2 + i].revents && s->pairs[i / 2][0] >= 0)
                relay_pass(s, s->pairs[i / 2], i % 2);
        if (fds[1].revents)
            relay_accept(s);
        if (fds[0].revents && !relay_obey(s))
            return;
    }
}

static inline struct relay relay_start(const char *target)
{
    struct relay r = {0};
    int orders[2], answers[2], missed[2];
    snprintf(r.address, sizeof r.address, "/tmp/covey-relay-%d", (int)getpid());
    unlink(r.address);
    CHECK_EQ(pipe2(orders, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(answers, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(missed, O_CLOEXEC), 0);
    int listener = relay_socket(r.address, true);
    fflush(NULL);
    r.pid = fork();
    CHECK_GE(r.pid, 0);
    if (!r.pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct relay_state s = {listener,  orders[0], answers[1],
                                missed[1], 0,         .target = target};
        relay_run(&s);
        _exit(0);
    }
    close(listener);
    close(orders[0]);
    close(answers[1]);
    close(missed[1]);
    r.orders = orders[1];
    r.answers = answers[0];
    r.missed = missed[0];
    return r;
}

/* Returns: how many connections there were. */
static inline int relay_tell(const struct relay *r, enum relay_order order)
{
    const char byte = (char)order;
    char count = 0;
    CHECK_EQ(write(r->orders, &byte, 1), 1);
    CHECK_EQ(read(r->answers, &count, 1), 1);
    return count;
}

static inline void relay_end(struct relay *r)
{
    int status = -1;
    CHECK_EQ(write(r->orders, "q", 1), 1);
    CHECK_EQ(waitpid(r->pid, &status, 0), r->pid);
    CHECK_EQ(status, 0);
    close(r->orders);
    close(r->answers);
    close(r->missed);
    unlink(r->address);
}

#endif
