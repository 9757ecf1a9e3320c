/* SPDX-License-Identifier: MIT */
/*
 * Stream sockets, and other descriptors that bytes go through.
 */
#include "os/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/base.h"
#include "os/faults.h"
#include "os/linux/calls.h"
#include "os/linux/linux.h"
#include "os/os.h"

#define PATH_AT         offsetof(struct sockaddr_un, sun_path)
#define FOLDER_PATIENCE COVEY_MSEC(200)

static sa_family_t family_of(const struct cvy_os_address *address)
{
    struct sockaddr any;

    memcpy(&any, address->raw, sizeof(any));
    return any.sa_family;
}

static const struct sockaddr *sockaddr_of(const struct cvy_os_address *address)
{
    return (const struct sockaddr *)(const void *)address->raw;
}

static int new_socket(const struct cvy_os_address *address)
{
    int fd;

    CVY_FAULT_POINT("socket", EMFILE);
    fd = cvy_fd_above_std(socket(family_of(address), SOCK_STREAM | SOCK_CLOEXEC, 0));
    return fd < 0 ? -errno : fd;
}

/* Messages go out at once. It changes nothing of what is sent. */
static void send_at_once(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* A machine that vanishes says no good-bye: who is silent is asked whether he is there. */
static void ask_when_silent(int fd)
{
    static const int on = 1, idle = 60, between = 15, tries = 4; /* s */

    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof(between));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof(tries));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

static void prepare_connected(int fd, const struct cvy_os_address *address)
{
    if (family_of(address) == AF_UNIX)
        return;
    send_at_once(fd);
    ask_when_silent(fd);
}

static int bind_to(int fd, const struct cvy_os_address *address)
{
    const int on = 1, off = 0;

    if (family_of(address) != AF_UNIX)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (family_of(address) == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    CVY_FAULT_POINT("bind", EADDRINUSE);
    return bind(fd, sockaddr_of(address), address->size) < 0 ? -errno : 0;
}

/* A peer may be gone again between the look and the accept, which must not wait. */
static int accept_at_once(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static int listen_at_once(int fd, int backlog)
{
    CVY_FAULT_POINT("listen", EADDRINUSE);
    return listen(fd, backlog) < 0 ? -errno : accept_at_once(fd);
}

int cvy_os_adopt_listening(int fd)
{
    int listens = 0;
    socklen_t size = sizeof(listens);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0)
        return -errno;
    if (!listens)
        return -EINVAL;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    return accept_at_once(fd);
}

int cvy_os_listen(const struct cvy_os_address *address, int backlog)
{
    int r, fd = new_socket(address);

    if (fd < 0)
        return fd;
    r = bind_to(fd, address);
    if (r >= 0) {
        r = listen_at_once(fd, backlog);
        if (r >= 0)
            return fd;
        if (cvy_os_address_is_path(address))
            (void)cvy_os_unlink((const char *)address->raw + PATH_AT);
    }
    cvy_os_close(fd);
    return r;
}

static int accept_next(int fd, struct cvy_os_address *ret_peer)
{
    socklen_t size;
    int peer;

    CVY_FAULT_POINT("accept4", EMFILE);
    do {
        size = sizeof(ret_peer->raw);
        peer = (int)syscall(SYS_accept4, fd, ret_peer->raw, &size, SOCK_CLOEXEC);
    } while (peer < 0 && errno == EINTR);
    ret_peer->size = size;
    return peer < 0 ? -errno : peer;
}

/* Whether it is about the connection that was next and is lost, which Linux tells here,
 * not about the listener. EOPNOTSUPP is left out: a listener may be none any more. */
static bool is_of_the_peer(int error)
{
    static const int lost[] = {ECONNABORTED, ENETDOWN,    EPROTO,
                               ENOPROTOOPT,  EHOSTDOWN,   ENONET,
                               EHOSTUNREACH, ENETUNREACH, ETIMEDOUT};

    for (size_t i = 0; i < CVY_ARRAY_SIZE(lost); i++)
        if (error == -lost[i])
            return true;
    return false;
}

int cvy_os_accept(int fd, struct cvy_os_address *ret_peer)
{
    int peer = accept_next(fd, ret_peer);

    if (peer < 0)
        return is_of_the_peer(peer) ? -EAGAIN : peer;
    peer = cvy_fd_above_std(peer);
    if (peer < 0)
        return -errno;
    prepare_connected(peer, ret_peer);
    return peer;
}

void cvy_os_acknowledge(int fd)
{
    const int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

bool cvy_os_peer_is_own(int fd)
{
    struct cvy_os_peer peer;

    return cvy_os_peer(fd, &peer) == 0 && (peer.uid == geteuid() || peer.uid == 0);
}

bool cvy_os_is_peers_own(int fd, uint32_t *ret_peers_user)
{
    struct cvy_os_peer peer = {.uid = UINT32_MAX};
    int r = cvy_os_peer(fd, &peer);

    *ret_peers_user = peer.uid;
    return r < 0 || geteuid() == peer.uid || geteuid() == 0;
}

static void set_send_timeout(int fd, int64_t left)
{
    struct timeval time = {0};

    if (left != INT64_MAX) {
        left = cvy_max_i64(left, 1000);
        time.tv_sec = (time_t)(left / COVEY_SEC(1));
        time.tv_usec = (suseconds_t)(left % COVEY_SEC(1) / 1000);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
}

/* What a peer's silence is when the system has waited long enough; -ETIMEDOUT is that the
 * deadline has passed. */
static int unlike_deadline(int error)
{
    return error == ETIMEDOUT ? -EHOSTUNREACH : -error;
}

/* How a connection attempt ended that goes on by itself. */
static int await_connected(int fd, int64_t deadline)
{
    int error = 0, r = cvy_os_poll_out(fd, deadline);
    socklen_t size = sizeof(error);

    if (r <= 0)
        return r < 0 ? r : -ETIMEDOUT;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return -errno;
    return unlike_deadline(error);
}

static int connect_once(int fd, const struct cvy_os_address *address)
{
    CVY_FAULT_POINT("connect", ENOBUFS);
    return syscall(SYS_connect, fd, address->raw, address->size) < 0 ? -errno : 0;
}

/* The kernel's own time limit for connect is that for sending. */
static int connect_by(int fd, const struct cvy_os_address *address, int64_t deadline)
{
    for (;;) {
        int r;

        set_send_timeout(fd,
                         deadline == INT64_MAX ? deadline : deadline - cvy_os_now());
        r = connect_once(fd, address);
        if (r == 0)
            return 0;
        if (family_of(address) == AF_UNIX) { /* EAGAIN: no room in its backlog */
            if (r != -EINTR)
                return r == -EAGAIN ? -ETIMEDOUT : r;
        } else if (r == -EINTR || r == -EALREADY) {
            return await_connected(fd, deadline);
        } else {
            return r == -EINPROGRESS ? -ETIMEDOUT : unlike_deadline(-r);
        }
        if (deadline != INT64_MAX && cvy_os_now() >= deadline)
            return -ETIMEDOUT;
    }
}

/* Where nobody listens, the port that is drawn for this end can be the very one that is
 * wanted, and the socket is connected to itself. */
static bool is_own_peer(int fd)
{
    struct cvy_os_address own = {0}, peer = {0};
    socklen_t size = sizeof(peer.raw);

    if (cvy_os_local_address(fd, &own) < 0 ||
        getpeername(fd, (struct sockaddr *)(void *)peer.raw, &size) < 0)
        return false;
    return own.size == size && memcmp(own.raw, peer.raw, size) == 0;
}

int cvy_os_connect(const struct cvy_os_address *address, int64_t deadline)
{
    int r, fd = new_socket(address);

    if (fd < 0)
        return fd;
    r = connect_by(fd, address, deadline);
    if (r == 0 && family_of(address) != AF_UNIX && is_own_peer(fd))
        r = -ECONNREFUSED;
    if (r < 0) {
        cvy_os_close(fd);
        return r;
    }
    set_send_timeout(fd, INT64_MAX);
    prepare_connected(fd, address);
    return fd;
}

int cvy_os_stream_pair(int ret_ends[2])
{
    int ends[2];

    CVY_FAULT_POINT("socketpair", EMFILE);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    ret_ends[0] = cvy_fd_above_std(ends[0]);
    ret_ends[1] = cvy_fd_above_std(ends[1]);
    return 0;
}

int cvy_os_local_address(int fd, struct cvy_os_address *ret_address)
{
    socklen_t size = sizeof(ret_address->raw);

    if (getsockname(fd, (struct sockaddr *)(void *)ret_address->raw, &size) < 0)
        return -errno;
    ret_address->size = size;
    return 0;
}

int cvy_os_path_id(const char *path, uint64_t *ret_device, uint64_t *ret_inode)
{
    struct stat info;

    if (lstat(path, &info) < 0)
        return -errno;
    *ret_device = info.st_dev;
    *ret_inode = info.st_ino;
    return 0;
}

bool cvy_os_path_is_socket(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0 && S_ISSOCK(info.st_mode);
}

/* Flocked by its own descriptor, so that the lock goes with its holder. */
static int open_folder(const char *path)
{
    char folder[CVY_OS_ADDRESS_TEXT];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    int fd;

    if (length >= sizeof(folder))
        return -ENAMETOOLONG;
    memcpy(folder, path, length);
    memcpy(folder + length, length ? "" : slash ? "/" : ".", length ? 1 : 2);
    fd = cvy_fd_above_std(cvy_call_open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return fd < 0 ? -errno : fd;
}

int cvy_os_lock_folder(const char *path)
{
    int64_t until = cvy_os_deadline(FOLDER_PATIENCE);
    int fd = open_folder(path), error = 0;
    cvy_word never = 0;

    if (fd < 0)
        return fd;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        error = errno;
        if (error != EINTR && (error != EWOULDBLOCK || cvy_os_now() >= until)) {
            cvy_os_close(fd);
            return -error;
        }
        (void)cvy_os_futex_wait_for(&never, 0, COVEY_MSEC(1));
    }
    return fd;
}

void cvy_os_unlock_folder(int lock)
{
    if (lock < 0)
        return;
    (void)flock(lock, LOCK_UN); /* a fork child may have the descriptor, too */
    cvy_os_close(lock);
}

int cvy_os_unlink(const char *path)
{
    return unlink(path) < 0 ? -errno : 0;
}

void cvy_os_path_whole(const char *path, char whole[CVY_OS_WHOLE_PATH])
{
    size_t length = 0;

    if (path[0] != '/' && getcwd(whole, CVY_OS_WHOLE_PATH - CVY_OS_ADDRESS_TEXT) &&
        whole[0] == '/') {
        length = strlen(whole);
        whole[length++] = '/';
    }
    memcpy(whole + length, path, strnlen(path, CVY_OS_ADDRESS_TEXT - 2) + 1);
}

int cvy_os_stream_kind(int fd, enum cvy_os_stream_kind *ret_kind, bool *ret_readable,
                       bool *ret_writable)
{
    int domain = 0, mode = fcntl(fd, F_GETFL);
    socklen_t size = sizeof(domain);

    if (mode < 0)
        return -errno;
    *ret_readable = (mode & O_ACCMODE) != O_WRONLY;
    *ret_writable = (mode & O_ACCMODE) != O_RDONLY;
    *ret_kind = CVY_OS_STREAM_OTHER;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0)
        *ret_kind = domain == AF_UNIX ? CVY_OS_STREAM_UNIX : CVY_OS_STREAM_SOCKET;
    return 0;
}

int cvy_os_socket_type(int fd, struct cvy_os_socket_type *ret_type)
{
    static const int options[] = {SO_DOMAIN, SO_TYPE, SO_PROTOCOL};
    int values[CVY_ARRAY_SIZE(options)] = {0};

    for (size_t i = 0; i < CVY_ARRAY_SIZE(options); i++) {
        socklen_t size = sizeof(values[i]);

        if (getsockopt(fd, SOL_SOCKET, options[i], &values[i], &size) < 0)
            return -errno;
    }
    *ret_type = (struct cvy_os_socket_type){values[0], values[1], values[2]};
    return 0;
}

/* ---- bytes ---- */

/* What the system says of a peer that has not answered for long, or to which no way leads. */
static bool is_unanswered(ssize_t r)
{
    return r == -ETIMEDOUT || r == -EHOSTUNREACH || r == -ENETUNREACH ||
           r == -EHOSTDOWN || r == -ENETDOWN;
}

static ssize_t read_socket(int fd, void *data, size_t size)
{
    ssize_t r;

    CVY_FAULT_POINT("recv", ENOMEM);
    /* ECONNRESET: the peer went without reading all of ours; it is told only once. */
    do {
        r = syscall(SYS_recvfrom, fd, data, size, MSG_DONTWAIT, NULL, NULL);
    } while (r < 0 && (errno == EINTR || errno == ECONNRESET));
    return r < 0 ? -errno : r;
}

ssize_t cvy_os_stream_read(int fd, enum cvy_os_stream_kind kind, void *data,
                           size_t size)
{
    ssize_t r;

    if (kind == CVY_OS_STREAM_OTHER)
        return cvy_os_read_now(fd, data, cvy_min_size(size, SSIZE_MAX));
    r = read_socket(fd, data, size);
    return is_unanswered(r) ? -ECONNABORTED : r;
}

static void set_parts(struct iovec vector[2], const struct covey_view parts[2])
{
    for (int i = 0; i < 2; i++) {
        memcpy(&vector[i].iov_base, &parts[i].data, sizeof(void *));
        vector[i].iov_len = parts[i].size;
    }
}

static ssize_t send_parts(int fd, const struct covey_view parts[2])
{
    struct iovec vector[2];
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = parts[1].size ? 2 : 1};

    set_parts(vector, parts);
    return cvy_call_sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Bytes that poll promises room for in a pipe. */
enum { SURE = PIPE_BUF };

static ssize_t write_parts(int fd, const struct covey_view parts[2], bool may_wait)
{
    struct iovec vector[2];

    set_parts(vector, parts);
    if (!may_wait) {
        int r = cvy_os_poll_out(fd, 0);

        if (r <= 0) {
            errno = r < 0 ? -r : EAGAIN;
            return -1;
        }
        vector[0].iov_len = cvy_min_size(vector[0].iov_len, SURE);
        vector[1].iov_len = cvy_min_size(vector[1].iov_len, SURE - vector[0].iov_len);
    }
    return syscall(SYS_writev, fd, vector, vector[1].iov_len ? 2 : 1);
}

static ssize_t write_without_signal(int fd, const struct covey_view parts[2],
                                    bool may_wait)
{
    struct cvy_pipe_signal held;
    ssize_t r;

    cvy_pipe_signal_hold(&held);
    r = write_parts(fd, parts, may_wait);
    cvy_pipe_signal_release(&held, r < 0 && errno == EPIPE);
    return r;
}

static ssize_t write_stream(int fd, enum cvy_os_stream_kind kind,
                            const struct covey_view parts[2], bool may_wait)
{
    ssize_t r;

    CVY_FAULT_POINT("send", ENOBUFS);
    do {
        r = kind == CVY_OS_STREAM_OTHER ? write_without_signal(fd, parts, may_wait)
                                        : send_parts(fd, parts);
    } while (r < 0 && errno == EINTR);
    if (r >= 0)
        return r;
    return errno == ECONNRESET ? -EPIPE : -errno;
}

ssize_t cvy_os_stream_write(int fd, enum cvy_os_stream_kind kind,
                            const struct covey_view parts[2], bool may_wait)
{
    ssize_t r = write_stream(fd, kind, parts, may_wait);

    return is_unanswered(r) ? -ECONNABORTED : r;
}

/* ---- descriptors ---- */

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(16 * sizeof(int))];
};

int cvy_os_stream_send_fd(int fd, unsigned char byte, int sent)
{
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    union control control;
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = CMSG_SPACE(sizeof(int)),
    };

    CVY_FAULT_POINT("sendmsg", ENOBUFS);
    memset(&control, 0, sizeof(control));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &sent, sizeof(int));
    while (cvy_call_sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno != EINTR)
            return errno == ECONNRESET ? -EPIPE : -errno;
    }
    return 0;
}

/* Keep the first descriptor that came, close the others. Returns: it, -1 for none. */
static int first_fd(struct msghdr *message)
{
    struct cmsghdr *header;
    int first = -1;

    for (header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            if (first < 0)
                first = fd;
            else
                cvy_os_close(fd);
        }
    }
    return first;
}

/* `*ret_first`: the first descriptor that came with the bytes, -1 if none has. `*ret_had_fd`:
 * whether any came, also one for which there was no number. */
static ssize_t receive(int fd, void *data, size_t size, int flags, int *ret_first,
                       bool *ret_had_fd)
{
    struct iovec part = {.iov_base = data, .iov_len = size};
    union control control;
    struct msghdr message;
    ssize_t r;

    do {
        message = (struct msghdr){
            .msg_iov = &part,
            .msg_iovlen = 1,
            .msg_control = &control,
            .msg_controllen = sizeof(control),
        };
        r = cvy_call_recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (r < 0 && (errno == EINTR || errno == ECONNRESET));
    *ret_first = -1;
    *ret_had_fd = false;
    if (r < 0)
        return -errno;
    *ret_first = first_fd(&message);
    *ret_had_fd = *ret_first >= 0 || message.msg_flags & MSG_CTRUNC;
    return r;
}

static ssize_t read_noting(int fd, void *data, size_t size, bool *ret_had_fd)
{
    ssize_t r;
    int first;

    CVY_FAULT_POINT("recv", ENOMEM);
    r = receive(fd, data, size, 0, &first, ret_had_fd);
    cvy_os_close(first);
    return r;
}

ssize_t cvy_os_stream_read_noting(int fd, void *data, size_t size, bool *ret_had_fd)
{
    ssize_t r = read_noting(fd, data, size, ret_had_fd);

    return is_unanswered(r) ? -ECONNABORTED : r;
}

/* Looking does not take the descriptors of who sends, but makes new ones here: so without a
 * free number nothing is lost. Linux also shows those that come with what is right behind
 * the bytes that were asked for, but no byte behind those. So of two bytes one is given if
 * there is nothing else, or if the descriptor is its own. */
static int peek_fd(int fd, unsigned char *ret_byte, int *ret_fd)
{
    unsigned char bytes[2];
    bool had_fd;
    ssize_t r;
    int first;

    CVY_FAULT_POINT("recvmsg", ENOMEM);
    r = receive(fd, bytes, sizeof(bytes), MSG_PEEK, &first, &had_fd);
    *ret_fd = -1;
    if (r < 0)
        return (int)r;
    if (r > 0)
        *ret_byte = bytes[0];
    if (r > 1) {
        cvy_os_close(first);
        return 1;
    }
    *ret_fd = cvy_fd_above_std(first);
    if (*ret_fd < 0 && had_fd)
        return -EMFILE;
    return (int)r;
}

int cvy_os_stream_peek_fd(int fd, unsigned char *ret_byte, int *ret_fd)
{
    int r = peek_fd(fd, ret_byte, ret_fd);

    return is_unanswered(r) ? -ECONNABORTED : r;
}

int cvy_os_stream_recv_fd(int fd, unsigned char *ret_byte, int *ret_fd)
{
    int r = cvy_os_stream_peek_fd(fd, ret_byte, ret_fd);

    if (r > 0)
        r = (int)cvy_os_stream_read(fd, CVY_OS_STREAM_UNIX, ret_byte, 1);
    if (r <= 0)
        *ret_fd = cvy_os_close(*ret_fd);
    return r;
}
