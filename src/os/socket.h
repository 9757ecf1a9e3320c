/* SPDX-License-Identifier: MIT */
/**
 * os/socket.h: stream sockets and their addresses: part of the contract with the system,
 * os.h has its rules.
 *
 * Sockets stay in blocking mode, as other programs that they are handed to expect; what
 * must not wait says so to the system call by call. For descriptors that are no sockets
 * that means to ask first, and to write no more at once than there surely is room for.
 */
#ifndef CVY_OS_SOCKET_H
#define CVY_OS_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <covey/base.h>

/* ---- addresses ---- */

/** An address in the system's own form. */
struct cvy_os_address {
    uint32_t size;
    uint32_t is_listening; /* it was made to listen at */
    _Alignas(8) unsigned char raw[128];
};

/** Bytes that the text of an address may need, its end included. */
#define CVY_OS_ADDRESS_TEXT 256

/**
 * Read "host:port", "[v6]:port", "/path", "./path", "@abstract". An empty host is any of
 * IPv4 (to listen), or this machine. Names are looked up, which may take long and is not
 * async-signal-safe; numbers and "localhost" are not. `why` receives what is wrong.
 * Returns: 0; -EINVAL; -ENAMETOOLONG; -EADDRNOTAVAIL: no such host.
 */
int cvy_os_address_read(const char *text, bool to_listen,
                        struct cvy_os_address *ret_address, const char **ret_why);
/** The same to connect to, with all that a name stands for, the best first. Returns: how
 * many, at least 1; as above. */
int cvy_os_address_read_all(const char *text, struct cvy_os_address *ret_addresses,
                            size_t capacity, const char **ret_why);
/** Write it in that form; "" for a socket without a name. Control characters of an abstract
 * name become %XX, which is not read as such. */
void cvy_os_address_write(const struct cvy_os_address *address,
                          char text[CVY_OS_ADDRESS_TEXT]);
/** Whether it is a name in the file system; and the address of an abstract name. */
bool cvy_os_address_is_path(const struct cvy_os_address *address);
void cvy_os_address_abstract(const char *name, struct cvy_os_address *ret_address);

/* ---- sockets ---- */

/** Listen at an address, at [::] for IPv4, too. A path that exists is -EADDRINUSE. */
int cvy_os_listen(const struct cvy_os_address *address, int backlog);
/** Have a socket that somebody else has opened as cvy_os_listen gives one. -EINVAL: it does
 * not listen; -ENOTSOCK; -EBADF. */
int cvy_os_adopt_listening(int fd);
/** The next connection. -EAGAIN: none, or that one is lost. */
int cvy_os_accept(int fd, struct cvy_os_address *ret_peer);
/** Acknowledge at once what has come over TCP. A peer that sends two small messages in a
 * row waits for that before it sends the second, and else it takes 40 ms. */
void cvy_os_acknowledge(int fd);
/** Whether the peer of an AF_UNIX socket runs as this user, or as root. */
bool cvy_os_peer_is_own(int fd);
/** The same the other way round: whether this process runs as the peer's user, or as root.
 * True also where that cannot be told. */
bool cvy_os_is_peers_own(int fd, uint32_t *ret_peers_user);
/** Connect. Blocks: until `deadline`; -ETIMEDOUT. -EHOSTUNREACH also if nobody has answered
 * when the system's own time for that is over. */
int cvy_os_connect(const struct cvy_os_address *address, int64_t deadline);
/** A connected pair of AF_UNIX stream sockets. */
int cvy_os_stream_pair(int ret_ends[2]);
int cvy_os_local_address(int fd, struct cvy_os_address *ret_address);
/** What the file system knows of a socket's name, to see whether it is still the same. */
int cvy_os_path_id(const char *path, uint64_t *ret_device, uint64_t *ret_inode);
/** Whether a socket is there, and no other kind of file, nor a link. */
bool cvy_os_path_is_socket(const char *path);
int cvy_os_unlink(const char *path);
/** Have the folder of a path for oneself among all who call this, for as little as it takes
 * to look at what is there and replace it. Leaves no file. Waits for a fraction of a second.
 * Returns: what cvy_os_unlock_folder takes; -EAGAIN: somebody keeps it; -errno: it cannot be
 * had, for want of rights or where there are no such locks. */
int cvy_os_lock_folder(const char *path);
void cvy_os_unlock_folder(int lock);
/** Where a path leads to after the working folder changes; as it is where that cannot be
 * told. */
#define CVY_OS_WHOLE_PATH (4096 + CVY_OS_ADDRESS_TEXT)
void cvy_os_path_whole(const char *path, char whole[CVY_OS_WHOLE_PATH]);

enum cvy_os_stream_kind {
    CVY_OS_STREAM_OTHER = 0, /* pipe, terminal, file */
    CVY_OS_STREAM_SOCKET,
    CVY_OS_STREAM_UNIX /* can carry descriptors */
};
/** What `fd` is, and in which directions it is open. -EBADF. */
int cvy_os_stream_kind(int fd, enum cvy_os_stream_kind *ret_kind, bool *ret_readable,
                       bool *ret_writable);

/** What a socket is, in the system's numbers. -ENOTSOCK. */
struct cvy_os_socket_type {
    int family, type, protocol;
};
int cvy_os_socket_type(int fd, struct cvy_os_socket_type *ret_type);

/** Read what is there. Returns: bytes, 0 at the end, -EAGAIN; -ECONNABORTED: the system has
 * given the connection up, since the peer does not answer any more. That is told once, by
 * whatever is called first, then the end. */
ssize_t cvy_os_stream_read(int fd, enum cvy_os_stream_kind kind, void *data,
                           size_t size);
/** Write what there is room for, of two parts. `may_wait`: the caller would wait for ever
 * anyway. Returns: bytes; -EAGAIN; -EPIPE, never a signal; -ECONNABORTED. */
ssize_t cvy_os_stream_write(int fd, enum cvy_os_stream_kind kind,
                            const struct covey_view parts[2], bool may_wait);
/** Wait until it can be written to, or is closed. Returns: 1, or 0 at the deadline. */
int cvy_os_poll_out(int fd, int64_t deadline);

/** Read what is there of an AF_UNIX socket. `*ret_had_fd`: whether descriptors came with the
 * last byte that was read; they are closed. Returns: as cvy_os_stream_read. */
ssize_t cvy_os_stream_read_noting(int fd, void *data, size_t size, bool *ret_had_fd);
/** Send one byte and a descriptor with it. -EAGAIN; -EPIPE. */
int cvy_os_stream_send_fd(int fd, unsigned char byte, int sent);
/** Look at the next byte, and have a copy of the first descriptor that comes with it, if it
 * came with one byte. Both stay until the byte is read. Returns: 1; 0 at the end; -EAGAIN;
 * -EMFILE: no number is free; -ECONNABORTED. `*ret_fd`: -1: none comes. */
int cvy_os_stream_peek_fd(int fd, unsigned char *ret_byte, int *ret_fd);
/** The same, and read the byte. */
int cvy_os_stream_recv_fd(int fd, unsigned char *ret_byte, int *ret_fd);

/* ---- several at once ---- */

struct cvy_os_poll {
    int fd;
    bool out;   /* wait for room instead of data */
    bool ready; /* has data (room), or is at its end, or is none */
};
/** Wait for one of them. Returns: how many are ready, 0 at the deadline. */
int cvy_os_poll_many(struct cvy_os_poll *items, size_t count, int64_t deadline);

/** A set of descriptors that is itself one: it polls readable while one of its is ready. */
int cvy_os_set_create(void);
int cvy_os_set_add(int set, int fd, uint32_t tag);
void cvy_os_set_remove(int set, int fd);
/** Whether one that is in there counts; so it does from the beginning. */
void cvy_os_set_heed(int set, int fd, uint32_t tag, bool heeds);
/** The tags of those that are ready. Returns: how many, at most `capacity`; 0 at the
 * deadline. */
int cvy_os_set_wait(int set, uint32_t *ret_tags, size_t capacity, int64_t deadline);

/** A descriptor that polls readable while it is raised. */
int cvy_os_flag_create(void);
void cvy_os_flag_raise(int fd);
void cvy_os_flag_lower(int fd);

/** A descriptor that polls readable from the time it is set to. */
int cvy_os_timer_create(void);
/** `deadline` in the past: at once; INT64_MAX: never. It is not readable before. */
void cvy_os_timer_set(int fd, int64_t deadline);

#endif
