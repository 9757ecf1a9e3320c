/* SPDX-License-Identifier: MIT */
/*
 * Messages with descriptors over AF_UNIX sockets.
 *
 * A message arrives whole or not at all: when it, or its descriptors, do not fit, the
 * descriptors that came are closed again. Received ones are close-on-exec.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "os/faults.h"
#include "os/linux/calls.h"
#include "os/linux/linux.h"
#include "os/os.h"

enum { MOST_FDS = 64 };

/* Aligned room for one control message with the most descriptors. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
};

/* Descriptors that came with a message. */
struct received {
    int fds[MOST_FDS];
    size_t count;
};

static void put_fds(struct msghdr *message, union control *control, const int *fds,
                    size_t fd_count)
{
    struct cmsghdr *header = &control->header;

    memset(control, 0, sizeof(*control));
    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
}

int cvy_os_send(int fd, const void *data, size_t size, const int *fds, size_t fd_count)
{
    struct iovec part = {.iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union control control;

    CVY_FAULT_POINT("sendmsg", ENOBUFS);
    if (!size || fd_count > MOST_FDS) /* an empty message would look like the end */
        return -EINVAL;
    memcpy(&part.iov_base, &data, sizeof(data)); /* sendmsg does not write there */
    if (fd_count)
        put_fds(&message, &control, fds, fd_count);
    while (cvy_call_sendmsg(fd, &message, MSG_NOSIGNAL) < 0) {
        if (errno == EAGAIN) {
            struct pollfd room = {.fd = fd, .events = POLLOUT};

            (void)cvy_call_poll(&room, 1, NULL);
        } else if (errno != EINTR) {
            return errno == ECONNRESET ? -EPIPE : -errno;
        }
    }
    return 0;
}

void cvy_os_hang_up(int fd)
{
    (void)shutdown(fd, SHUT_RDWR);
}

static void take_fds(struct msghdr *message, struct received *received)
{
    struct cmsghdr *header;

    received->count = 0;
    for (header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        size_t size = header->cmsg_len - CMSG_LEN(0);

        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        memcpy(received->fds + received->count, CMSG_DATA(header), size);
        received->count += size / sizeof(int);
    }
}

/* Receive what is there. Returns: its size, -EAGAIN ... */
static ssize_t receive(int fd, void *data, size_t size, struct msghdr *message,
                       union control *control, struct received *received)
{
    struct iovec part = {.iov_base = data, .iov_len = size};
    ssize_t r;

    *message = (struct msghdr){
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof(*control),
    };
    do {
        r = cvy_call_recvmsg(fd, message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        /* ECONNRESET: the peer went without reading all of ours; what it sent is there. */
    } while (r < 0 && (errno == EINTR || errno == ECONNRESET));
    received->count = 0;
    if (r < 0)
        return -errno;
    take_fds(message, received);
    message->msg_iov = NULL;
    return r;
}

/* Why the message cannot be handed on; 0 if it can. */
static int find_flaw(const struct msghdr *message, size_t fd_count, size_t fd_capacity)
{
    if (message->msg_flags & MSG_TRUNC || fd_count > fd_capacity)
        return -EMSGSIZE;
    if (message->msg_flags & MSG_CTRUNC) /* too many, or no room in our own table */
        return fd_count < MOST_FDS ? -EMFILE : -EMSGSIZE;
    return 0;
}

/* When a last message and the end come between the kernel's look for the one and for the
 * other, it tells the end first (Linux's unix_dgram_recvmsg, asked not to wait). Asked again,
 * it has the message; if there is none, the end was the end. */
static ssize_t receive_before_end(int fd, void *data, size_t size,
                                  struct msghdr *message, union control *control,
                                  struct received *received)
{
    ssize_t r = receive(fd, data, size, message, control, received);

    if (r == 0)
        r = receive(fd, data, size, message, control, received);
    return r;
}

ssize_t cvy_os_recv(int fd, void *data, size_t size, int *ret_fds, size_t fd_capacity,
                    size_t *ret_fd_count, int64_t deadline)
{
    union control control;
    struct received received;
    struct msghdr message;
    ssize_t r;
    int flaw;

    CVY_FAULT_POINT("recvmsg", ENOMEM);
    while ((r = receive_before_end(fd, data, size, &message, &control, &received)) ==
           -EAGAIN) {
        int ready = cvy_os_poll_in(fd, deadline);

        if (ready <= 0)
            return ready < 0 ? ready : -ETIMEDOUT;
    }
    if (r < 0)
        return r;
    flaw = find_flaw(&message, received.count, fd_capacity);
    for (size_t i = 0; i < received.count; i++) {
        received.fds[i] = cvy_fd_above_std(received.fds[i]);
        if (received.fds[i] < 0)
            flaw = -EMFILE;
    }
    if (flaw < 0) {
        for (size_t i = 0; i < received.count; i++)
            cvy_os_close(received.fds[i]);
        return flaw;
    }
    if (received.count)
        memcpy(ret_fds, received.fds, received.count * sizeof(int));
    if (ret_fd_count)
        *ret_fd_count = received.count;
    return r;
}

int cvy_os_peer(int fd, struct cvy_os_peer *ret_peer)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return -errno;
    *ret_peer = (struct cvy_os_peer){peer.pid, peer.uid, peer.gid};
    return 0;
}
