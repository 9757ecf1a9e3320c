/* SPDX-License-Identifier: MIT */
/* Clients of a manager that send their side of the handshake in pieces of their choice. */
#ifndef TESTS_RAW_CLIENT_H
#define TESTS_RAW_CLIENT_H

#include <sys/resource.h>
#include <sys/socket.h>

#include "channel/auth.h"
#include "channel/frame.h"
#include "os/socket.h"
#include "server_help.h"

/* Be allowed to have so many, as the manager that is started then. */
static inline void descriptors_allow(size_t count)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur >= count)
        return;
    limit.rlim_cur = count;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

struct raw {
    int fd;
    struct cvy_auth auth;
    unsigned char out[4 + CVY_AUTH_MESSAGE]; /* a message that is begun */
    size_t out_size, out_done;
    size_t sent; /* bytes of the handshake in all */
};

static inline int raw_socket(const char *address)
{
    struct cvy_os_address to;
    const char *why = "";
    CHECK_OK(cvy_os_address_read(address, false, &to, &why));
    int fd = cvy_os_connect(&to, cvy_os_deadline(COVEY_SEC(20)));
    CHECK_GE(fd, 0);
    return fd;
}

static inline struct raw raw_connect(const struct server *server)
{
    struct raw raw = {.fd = raw_socket(server->address)};
    cvy_auth_begin(&raw.auth, SERVER_KEY, false, CVY_AUTH_ANSWER, CVY_AUTH_DELIVER);
    return raw;
}

static inline void raw_read(const struct raw *raw, void *to, size_t size)
{
    CHECK_EQ(recv(raw->fd, to, size, MSG_WAITALL), (ssize_t)size);
}

static inline void raw_hear(struct raw *raw)
{
    unsigned char header[CVY_FRAME_HEADER];
    struct cvy_auth_message m;
    raw_read(raw, header, 4); /* of a short message's */
    CHECK_EQ(cvy_frame_length(header, 4), 4);
    m.size = (size_t)cvy_frame_size(header);
    CHECK_LE(m.size, sizeof m.data);
    raw_read(raw, m.data, m.size);
    CHECK_OK(cvy_auth_hear(&raw->auth, &m));
}

/* The server may have closed the connection. */
static inline bool raw_send(const struct raw *raw, const void *data, size_t size)
{
    return send(raw->fd, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* Send at most `most` bytes of the message whose turn it is. */
static inline void raw_speak(struct raw *raw, size_t most)
{
    struct cvy_auth_message m;
    if (!raw->out_size) {
        CHECK_OK(cvy_auth_speak(&raw->auth, &m));
        size_t header = cvy_frame_put(raw->out, m.size);
        memcpy(raw->out + header, m.data, m.size);
        raw->out_size = header + m.size;
        raw->out_done = 0;
    }
    size_t left = raw->out_size - raw->out_done, size = most < left ? most : left;
    CHECK(raw_send(raw, raw->out + raw->out_done, size));
    raw->out_done += size;
    raw->sent += size;
    if (raw->out_done < raw->out_size)
        return;
    raw->out_size = 0;
    cvy_auth_said(&raw->auth);
}

static inline bool raw_is_in(const struct raw *raw)
{
    return cvy_auth_turn(&raw->auth) == CVY_AUTH_IS_DONE;
}

/* Go on with the handshake until so many bytes of it are sent, or it is over; what the server
 * says last stays unread. */
static inline void raw_prove(struct raw *raw, size_t until)
{
    while (raw->sent < until && !raw_is_in(raw))
        if (cvy_auth_turn(&raw->auth) == CVY_AUTH_HEARS)
            raw_hear(raw);
        else
            raw_speak(raw, until - raw->sent);
}

/* The server closes it, whatever it has said before. */
static inline void raw_is_dropped(const struct raw *raw)
{
    char bytes[256];
    ssize_t n;
    CHECK_EQ(cvy_os_poll_in(raw->fd, cvy_os_deadline(COVEY_SEC(20))), 1);
    while ((n = recv(raw->fd, bytes, sizeof bytes, 0)) > 0)
        CHECK_EQ(cvy_os_poll_in(raw->fd, cvy_os_deadline(COVEY_SEC(20))), 1);
    CHECK(n == 0 || errno == ECONNRESET);
}

static inline void raw_close(struct raw *raw)
{
    close(raw->fd);
    cvy_auth_end(&raw->auth);
    raw->fd = -1;
}

/* Who is through with it goes on as any other client. */
static inline covey_conn *raw_to_conn(struct raw *raw)
{
    covey_conn *conn = NULL;
    CHECK(raw_is_in(raw));
    CHECK_OK(covey_conn_open_fd(&conn, raw->fd, NULL));
    cvy_auth_end(&raw->auth);
    raw->fd = -1;
    return conn;
}

#endif
