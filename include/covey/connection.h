/* SPDX-License-Identifier: MIT */
/**
 * covey/connection.h: pipes, connections, listeners and clients, and waiting for several
 * things at once.
 *
 * A connection carries messages: bytes of any size, also none, that arrive whole, once,
 * and in order. There are two kinds behind the same calls:
 *
 *   - The ends of a pipe (covey_pipe_create) lie in the family's memory. A pointer to one
 *     is valid in every process of the family, and any number of threads and processes may
 *     use it at the same time. A message that is being sent by a process that dies is not
 *     there at all.
 *   - Connections to others come from a listener, a client, or covey_conn_open_fd. They
 *     speak the format of CPython's multiprocessing.connection, byte for byte. They are
 *     private memory of the process: valid in it and in its children by fork, nowhere
 *     else. Threads and fork children may use one at the same time; no message is torn by
 *     that. When a process dies in the middle of a message, that direction is
 *     COVEY_EBROKEN.
 *
 * The defaults of covey/base.h hold, and: any thread may call; freeing and closing need
 * that no other thread of the process is in a call with that handle. `timeout` counts on
 * the monotonic clock, see covey_nsec. Signals do not interrupt these calls, except those
 * on pipes, which return -EINTR after a handler that was installed without SA_RESTART.
 * Every call returns -EINVAL for what is no such handle (NULL among it), and the errors of
 * founding the family. These results mean the same everywhere:
 *
 *   COVEY_EEOF        nothing is left to receive, and nothing can come any more
 *   -EPIPE            nobody can receive any more
 *   COVEY_ETRUNCATED  the other side ended in the middle of a message
 *   COVEY_EPROTOCOL   what came is no message in this format
 *   COVEY_EBROKEN     a process of this side died in the middle of a message, or could
 *                     not go on with it, for want of memory for instance; or the system
 *                     has given a TCP connection up, whose other side does not answer any
 *                     more. -ETIMEDOUT is never more than the caller's own `timeout`
 *   COVEY_ECLOSED     this process has closed it
 *   COVEY_EFREED      nobody holds it any more (pipes)
 *   -EBADF            it does not go in this direction
 */
#ifndef COVEY_CONNECTION_H
#define COVEY_CONNECTION_H

#include <covey/base.h>
#include <covey/process.h>
#include <covey/queue.h>
#include <covey/tls.h>
#include <covey/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One end of a pipe, or a connection to another program. */
typedef struct covey_conn covey_conn;
/** Where clients connect to. */
typedef struct covey_listener covey_listener;

/* ---- pipes ------------------------------------------------------------------ */

/** Options of a pipe; zero means the default. */
struct covey_pipe_opts {
    size_t size;      /**< sizeof(struct covey_pipe_opts); COVEY_PIPE_OPTS fills it */
    const char *name; /**< shown by covey_family_describe; its first 47 bytes count */
    enum covey_switch oneway; /**< on: the first end only receives, the second only
                                   sends; default: both do both */
    uint64_t capacity; /**< a send waits while this many bytes or more are on their way
                            in that direction; default 1 MiB, or a 64th of
                            the family's budget if that is less, but at least 64 KiB */
};
#define COVEY_PIPE_OPTS(...)                                                           \
    (&(struct covey_pipe_opts){.size = sizeof(struct covey_pipe_opts), __VA_ARGS__})

/**
 * Make a pipe between processes of this family.
 *
 * Each end has holds of its own: a child is born with those of its starter. An end counts
 * as closed when every process that held it has closed or freed it, or died; or when only
 * the calling process is left of several that have held it, and this thread is the only
 * one of the process that uses covey. So a process that still has both ends, as starters
 * do, is told when the others are gone.
 *
 * Returns:  0; -EINVAL for bad options; -ENOMEM when the family's budget is used up.
 */
COVEY_API int covey_pipe_create(covey_conn **a, covey_conn **b,
                                const struct covey_pipe_opts *opts) COVEY_MUST_CHECK;

/* ---- sending and receiving -------------------------------------------------- */

/**
 * Send a message, which is copied.
 *
 * Returns:  0: it is on its way; -ETIMEDOUT: nothing of it was or will be sent; -EPIPE;
 *           -EBADF; COVEY_ECLOSED; COVEY_EBROKEN; -ENOMEM; -EINTR. COVEY_PENDING, a
 *           remark: the time was up in the middle of a message on a connection to another
 *           program; the rest is kept, and the next send, or covey_conn_flush, goes on.
 * Blocks:   while there is no room for it, at most `timeout`.
 */
COVEY_API int covey_conn_send(covey_conn *conn, struct covey_view message,
                              covey_nsec timeout);

/**
 * Send what COVEY_PENDING left over.
 *
 * Returns:  0: nothing is left; -ETIMEDOUT; -EPIPE; COVEY_ECLOSED; COVEY_EBROKEN.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_conn_flush(covey_conn *conn, covey_nsec timeout);

/**
 * Receive a message.
 *
 * `ret_message`: receives it; its memory is reused and grown as needed, no faster than the
 *           message comes. On failure its content is undefined.
 * Returns:  0; -ETIMEDOUT: it has not come wholly, and the next call goes on where this
 *           one stopped; COVEY_EEOF; COVEY_ETRUNCATED; COVEY_EPROTOCOL, also if a
 *           descriptor came in its place: that is closed, and the next call receives what
 *           follows; -EBADF; COVEY_ECLOSED; COVEY_EBROKEN; -ENOMEM, another
 *           call may receive it; -EINTR.
 * Blocks:   until it has come, at most `timeout`.
 */
COVEY_API int covey_conn_recv(covey_conn *conn, struct covey_bytes *ret_message,
                              covey_nsec timeout);

/**
 * Receive a message of at most `max_size` bytes.
 *
 * Returns:  as covey_conn_recv; -EMSGSIZE: it is larger. Nothing of it is read or
 *           allocated then, and another call may receive it.
 * Blocks:   until it has come, at most `timeout`.
 */
COVEY_API int covey_conn_recv_max(covey_conn *conn, struct covey_bytes *ret_message,
                                  size_t max_size, covey_nsec timeout);

/**
 * Receive a message into memory of the caller's.
 *
 * `ret_size`: receives its size, also with -EMSGSIZE.
 * Returns:  as covey_conn_recv; -EMSGSIZE: it is larger than `capacity`, and another call
 *           may receive it.
 * Blocks:   until it has come, at most `timeout`.
 */
COVEY_API int covey_conn_recv_into(covey_conn *conn, void *to, size_t capacity,
                                   size_t *ret_size, covey_nsec timeout);

/**
 * Send the pickle of a value, as CPython's Connection.send does.
 *
 * Returns:  as covey_conn_send and covey_value_pickle.
 * Blocks:   while there is no room for it, at most `timeout`.
 */
COVEY_API int covey_conn_send_value(covey_conn *conn, const covey_value *value,
                                    covey_nsec timeout);

/**
 * Receive a pickle and read it; nothing in it is executed.
 *
 * `limits`: of covey_value_unpickle; a message larger than `.max_memory` is refused.
 * Returns:  as covey_conn_recv_max; COVEY_EPICKLE, -ENOTSUP, -EMSGSIZE, -ENOMEM of reading
 *           it: the message is consumed, and the next one can be received.
 * Blocks:   until it has come, at most `timeout`.
 */
COVEY_API int covey_conn_recv_value(covey_conn *conn, covey_value **out,
                                    const struct covey_unpickle_opts *limits,
                                    covey_nsec timeout) COVEY_MUST_CHECK;

/**
 * Wait until there is something to receive: a message, a part of one, or the end. What a
 * receive that ran out of time has read already does not count again.
 *
 * Returns:  0; -ETIMEDOUT; -EBADF; COVEY_ECLOSED; -EINTR.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_conn_poll(covey_conn *conn, covey_nsec timeout);

/* ---- descriptors ------------------------------------------------------------ */

/**
 * Send a copy of a descriptor over a pipe, or a connection over an AF_UNIX socket; there
 * as CPython's send_handle does, see covey_conn_set_fd_answers. It is received by
 * covey_conn_recv_fd only, in its turn among the messages. Over a pipe this process has to
 * live, and to keep its end, until it is received; a thread of covey's own serves it until
 * then.
 *
 * Returns:  as covey_conn_send; -EBADF also if `fd` is not open; -ENOTSUP if it is no
 *           AF_UNIX socket; -EMFILE.
 * Blocks:   while there is no room for it, at most `timeout`.
 * Owner:    `fd` stays yours, and may be closed at once.
 */
COVEY_API int covey_conn_send_fd(covey_conn *conn, int fd, covey_nsec timeout);

/**
 * Whether both sides of a connection over an AF_UNIX socket answer a descriptor by a byte,
 * as CPython's send_handle and recv_handle do from 3.14 on and not before. Nothing on the
 * connection tells that, so the program has to know; it is off at first. When it is on,
 * covey_conn_recv_fd answers, and an answer to what covey_conn_send_fd has sent is taken out
 * of what is received: it may make covey_conn_poll say that there is something. A message
 * of 1040 to 1056 MiB must not come before the answer has, nor any more when a process was
 * killed while it sent a descriptor: its first byte would be taken for the answer. What
 * covey_conn_recv_fd cannot answer in time is answered before whatever is sent next, or by
 * covey_conn_flush.
 *
 * Returns:  0; -ENOTSUP if it is no AF_UNIX socket; COVEY_ECLOSED.
 * Threads:  before others use the connection.
 */
COVEY_API int covey_conn_set_fd_answers(covey_conn *conn, int answers);

/**
 * Receive a descriptor, which is close-on-exec.
 *
 * Returns:  as covey_conn_recv; COVEY_EPROTOCOL: a message comes, and no descriptor;
 *           -EMFILE: no number is free for it. Either stays, and another call may receive
 *           it. COVEY_EPEERDIED: who sent it over the pipe ended or closed before;
 *           COVEY_ESTATE if a message has been begun; -ENOTSUP.
 * Blocks:   until one comes, at most `timeout`.
 */
COVEY_API int covey_conn_recv_fd(covey_conn *conn, int *ret_fd,
                                 covey_nsec timeout) COVEY_MUST_CHECK;

/* ---- connections and descriptors inside of values ---------------------------- */

/**
 * A connection to another program as a value, which may be sent in any message, put into a
 * queue, or stand in a larger value: stock CPython's Connection.recv makes a
 * multiprocessing.connection.Connection of it, covey_conn_from_value a connection. Who
 * makes it fetches a copy of the descriptor from this process, where a thread of covey's
 * own gives it: to the first that comes, that runs as the same user or as root, and that
 * knows the covey_authkey that this process had when a value was last made. So the value
 * serves once, however often it is copied.
 *
 * `keep`:   how long the copy is kept, at most: until it has been fetched, this time is
 *           over, or this process ends. COVEY_FOREVER leaves the first and the last.
 * Returns:  0; -ENOTSUP: an end of a pipe, whose pointer can be sent instead; COVEY_ESTATE:
 *           a message has been begun in either direction, by any process, or an answer
 *           to a descriptor (covey_conn_set_fd_answers) has still to come, which the
 *           receiver would not know of; COVEY_ECLOSED; -EINVAL for a `keep` that is not more
 *           than 0; -EMFILE, -ENOMEM, -EAGAIN and others of the system; -ELIBACC without
 *           libcrypto.
 * Blocks:   never; `keep` is no time to wait.
 * Owner:    `conn` stays yours, and may be closed at once.
 * Fork:     what is kept is this process's, also for a value that a child got.
 */
COVEY_API int covey_conn_to_value(covey_conn *conn, covey_nsec keep,
                                  covey_value **out) COVEY_MUST_CHECK;

/**
 * Make a connection of a value that stands for one: one of covey_conn_to_value, or a
 * Connection that CPython has pickled. It is fetched from the process that made the value,
 * to which this one proves that it knows the key, its own covey_authkey; MD5 is allowed if
 * that process runs as the same user or as root. Nothing in the value is executed; but it
 * says which AF_UNIX socket is connected to.
 *
 * Returns:  0; COVEY_EEOF: it is not there: it was fetched before, its time is up, or the
 *           process that made the value has ended; COVEY_EAUTH: that process has another
 *           key; COVEY_ETYPE: the value stands for no connection; COVEY_EPROTOCOL;
 *           -ENOTSUP: it is not to be fetched from an AF_UNIX socket; -ETIMEDOUT; -EACCES:
 *           another user offers it, and this process is not root's; -EMFILE, -ENOMEM and
 *           others of the system. It is used up by success, and may be by -ETIMEDOUT.
 * Blocks:   until it has come, at most `timeout`.
 * Owner:    `value` stays yours.
 */
COVEY_API int covey_conn_from_value(covey_conn **out, const covey_value *value,
                                    covey_nsec timeout) COVEY_MUST_CHECK;

/**
 * The same for any descriptor: CPython makes a socket.socket of a socket; of another one
 * an object whose method detach() gives the descriptor, once.
 *
 * Returns:  as covey_conn_to_value; -EBADF if `fd` is not open.
 * Blocks:   never; `keep` is no time to wait.
 * Owner:    `fd` stays yours, and may be closed at once.
 */
COVEY_API int covey_fd_to_value(int fd, covey_nsec keep,
                                covey_value **out) COVEY_MUST_CHECK;

/**
 * Fetch the descriptor of a value of covey_fd_to_value or covey_conn_to_value, or of a
 * socket or Connection that CPython has pickled. It is close-on-exec.
 *
 * Returns:  as covey_conn_from_value; COVEY_ETYPE: the value stands for no descriptor.
 * Blocks:   until it has come, at most `timeout`.
 * Owner:    `value` stays yours, and the descriptor is.
 */
COVEY_API int covey_fd_from_value(int *ret_fd, const covey_value *value,
                                  covey_nsec timeout) COVEY_MUST_CHECK;

/* ---- the connection itself -------------------------------------------------- */

/** Options of a connection; zero means the default. */
struct covey_conn_opts {
    size_t size; /**< sizeof(struct covey_conn_opts); COVEY_CONN_OPTS fills it */
    enum covey_switch readable; /**< default: as the descriptor is open */
    enum covey_switch writable; /**< default: as the descriptor is open */
};
#define COVEY_CONN_OPTS(...)                                                           \
    (&(struct covey_conn_opts){.size = sizeof(struct covey_conn_opts), __VA_ARGS__})

/**
 * Make a connection of a descriptor: a stream socket, or an end of a pipe(2). Its mode,
 * blocking or not, stays as it is.
 *
 * Returns:  0; -EBADF; -EINVAL if it goes in neither direction; -ENOMEM.
 * Owner:    takes the descriptor on success, and closes it with the connection.
 */
COVEY_API int covey_conn_open_fd(covey_conn **out, int fd,
                                 const struct covey_conn_opts *opts) COVEY_MUST_CHECK;

/**
 * A descriptor that polls readable while there is something to receive: a message, a part
 * of one, or the end. It belongs to the connection, and may only be waited for.
 * That of a pipe is made at the first call, with a thread of covey's own that serves it;
 * where several processes receive from one end it may stay readable though another one
 * took the message, until a call on this connection, such as covey_conn_poll with
 * COVEY_NOWAIT, finds nothing there. When the program has closed it, the next call makes
 * another one.
 *
 * Returns:  0; COVEY_ECLOSED; -EBADF for an end of a pipe that only sends, or if the
 *           program has closed the descriptor of a connection to another one; -ENOTSUP with
 *           TLS; -EMFILE, -EAGAIN, -ENOMEM.
 */
COVEY_API int covey_conn_fd(covey_conn *conn, int *ret_fd);

/**
 * Close it for this process; other processes may go on using it. Twice is fine. What
 * COVEY_PENDING left over is sent as far as there is room for it; in the middle of a message
 * the others are told COVEY_EBROKEN then, in that direction.
 *
 * Returns:  0.
 */
COVEY_API int covey_conn_close(covey_conn *conn);

/** Returns:  1 if this process has closed it, or nobody holds it any more; else 0. */
COVEY_API int covey_conn_closed(covey_conn *conn);

/** Returns:  1 if one can receive from it, also after it was closed; else 0. */
COVEY_API int covey_conn_readable(covey_conn *conn);

/** Returns:  1 if one can send to it, also after it was closed; else 0. */
COVEY_API int covey_conn_writable(covey_conn *conn);

/**
 * Whom it leads to: an address as in covey_listener_create where that is known.
 *
 * Returns:  a string that lives as long as the handle; "" if it is not known; NULL if it
 *           is no connection.
 */
COVEY_API const char *covey_conn_peer(covey_conn *conn);

/** Close it and drop this process's handle; NULL is fine. */
COVEY_API void covey_conn_free(covey_conn *conn);

/* ---- listener and client ---------------------------------------------------- */

/** Options of a listener; zero means the default. The key is copied. */
struct covey_listener_opts {
    /** sizeof(struct covey_listener_opts); COVEY_LISTENER_OPTS fills it. */
    size_t size;
    /** What clients have to know; `.data` NULL: nothing. No bytes are a key, too. */
    struct covey_view authkey;
    /** On: accept proofs by MD5, which CPython before 3.12 needs; default off. */
    enum covey_switch allow_md5;
    /** How long a peer may take to prove that it knows the key; default 10 s. */
    covey_nsec handshake_timeout;
    /** Connections that the system keeps until they are accepted; default 128. */
    size_t backlog;
    /** Peers that may be at it at the same time; default 64. One more waits until there is
     * room, or the oldest has been at it for a tenth of its time, and is dropped. */
    size_t max_pending;
    /** On: accept returns the error of a peer that failed; default: it goes on to the
     * next. */
    enum covey_switch report_refused;
    /** Not NULL: all peers have to speak TLS, see covey/tls.h. */
    const struct covey_tls *tls;
};
#define COVEY_LISTENER_OPTS(...)                                                       \
    (&(struct covey_listener_opts){.size = sizeof(struct covey_listener_opts),         \
                                   __VA_ARGS__})

/**
 * Listen at an address: "host:port" or "[v6]:port" for TCP, where port 0 is any free one;
 * ":port" is 0.0.0.0, all of this machine's addresses of IPv4, and "[::]:port" all of
 * both, whatever the system's default; "/path" or "./path" for a socket in the file system,
 * which must not exist and is removed at the end; "@name" for an abstract name. NULL: a
 * fresh abstract name, to which only processes of the same user, and root, may connect. Of
 * a host's name the first address counts. A listener without a key takes everybody who
 * reaches it.
 *
 * Returns:  0; -EINVAL for a bad address or options; -EADDRINUSE, -EADDRNOTAVAIL, -EACCES,
 *           -ENOENT ... of the system; -ENAMETOOLONG; -ENOMEM; with a key: -ELIBACC
 *           without libcrypto. With `.tls`: the same without libssl; -ENOENT, -EACCES ...
 *           of a file, -EINVAL of what is in it.
 * Blocks:   at a path, while somebody has locked its folder by flock, at most 0.2 s.
 * Fork:     fork children may accept, too; the creator removes the path.
 */
COVEY_API int
covey_listener_create(covey_listener **out, const char *address,
                      const struct covey_listener_opts *opts) COVEY_MUST_CHECK;

/**
 * Accept the next connection whose peer has proved that it knows the key, and been shown
 * the same. Peers prove at the same time: a slow, silent or flooding one holds up nobody.
 * Until it has proved, no more than 256 bytes at a time are read of a peer; of TLS, a
 * record of 16 KiB, and 100 KiB of certificates in all. Those that fail are closed, logged
 * and counted.
 *
 * Returns:  0; -ETIMEDOUT; COVEY_ECLOSED; -EMFILE, -ENFILE, -ENOMEM; with
 *           `.report_refused`: COVEY_EAUTH, also of a peer that was too slow,
 *           COVEY_EPROTOCOL, COVEY_EEOF, COVEY_ETRUNCATED of a peer that failed; the
 *           detail names it.
 * Blocks:   at most `timeout`.
 * Threads:  several at the same time.
 */
COVEY_API int covey_listener_accept(covey_listener *listener, covey_conn **out,
                                    covey_nsec timeout) COVEY_MUST_CHECK;

/**
 * Where it listens, with the port that was free; as clients need it.
 *
 * Returns:  a string that lives as long as the listener; NULL for NULL.
 */
COVEY_API const char *covey_listener_address(covey_listener *listener);

/**
 * Whom the last accept accepted.
 *
 * Returns:  a string that is valid until the next accept: "127.0.0.1:40000", "" for peers
 *           without an address; NULL before the first.
 * Threads:  with several that accept, covey_conn_peer tells better.
 */
COVEY_API const char *covey_listener_last_accepted(covey_listener *listener);

/** Read how many peers failed or took too long. Returns:  0. */
COVEY_API int covey_listener_refused(covey_listener *listener, uint64_t *ret_count);

/**
 * A descriptor that polls readable when accept with COVEY_NOWAIT has something to do,
 * which need not end with a connection: a peer goes on proving itself, or its time is up.
 * It belongs to the listener.
 *
 * Returns:  0; COVEY_ECLOSED; -EMFILE.
 */
COVEY_API int covey_listener_fd(covey_listener *listener, int *ret_fd);

/** Stop listening, and remove the path; twice is fine. Returns:  0. */
COVEY_API int covey_listener_close(covey_listener *listener);

/** Close it and drop the handle; NULL is fine. */
COVEY_API void covey_listener_free(covey_listener *listener);

/** Options of a client; zero means the default. */
struct covey_client_opts {
    size_t size; /**< sizeof(struct covey_client_opts); COVEY_CLIENT_OPTS fills it */
    struct covey_view authkey;   /**< as in struct covey_listener_opts */
    enum covey_switch allow_md5; /**< on: prove by MD5 if the listener asks for it */
    const struct covey_tls *tls; /**< not NULL: speak TLS, see covey/tls.h */
};
#define COVEY_CLIENT_OPTS(...)                                                         \
    (&(struct covey_client_opts){.size = sizeof(struct covey_client_opts), __VA_ARGS__})

/**
 * Connect to a listener, and prove to each other that both know the key.
 *
 * `address`: as in covey_listener_create; no host is 127.0.0.1. Of a name up to eight
 * addresses are tried one after the other, each for its share of the time that is left.
 * Returns:  0; -ETIMEDOUT; COVEY_EAUTH; -ECONNREFUSED, -ENOENT, -EHOSTUNREACH, also if
 *           nobody answered until the system gave up ... of the system;
 *           -EINVAL for a bad address or options; COVEY_EEOF, COVEY_ETRUNCATED,
 *           COVEY_EPROTOCOL: the other side did not keep to the handshake, maybe because
 *           it has no key, or only one of the two has TLS. With `.tls`: as of the listener's.
 * Blocks:   at most `timeout`, all steps together; but looking up a host's name may take
 *           longer.
 */
COVEY_API int covey_client_connect(covey_conn **out, const char *address,
                                   const struct covey_client_opts *opts,
                                   covey_nsec timeout) COVEY_MUST_CHECK;

/** How the two halves of the proof go; zero means the default. */
struct covey_auth_opts {
    size_t size; /**< sizeof(struct covey_auth_opts); COVEY_AUTH_OPTS fills it */
    enum covey_switch allow_md5; /**< on: MD5 will do; default off */
};
#define COVEY_AUTH_OPTS(...)                                                           \
    (&(struct covey_auth_opts){.size = sizeof(struct covey_auth_opts), __VA_ARGS__})

/**
 * Let the other side of a connection prove that it knows the key. A listener does this
 * first and then answers, a client the other way round.
 *
 * Returns:  0; COVEY_EAUTH: it does not know it; -ETIMEDOUT; as covey_conn_recv. After a
 *           failure the connection is of no use.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_deliver_challenge(covey_conn *conn, struct covey_view key,
                                      const struct covey_auth_opts *opts,
                                      covey_nsec timeout) COVEY_MUST_CHECK;

/**
 * Prove to the other side of a connection that one knows the key.
 *
 * Returns:  as covey_deliver_challenge; COVEY_EAUTH: the proof was refused, or a digest
 *           was asked for that is not known or not allowed.
 * Blocks:   at most `timeout`.
 */
COVEY_API int covey_answer_challenge(covey_conn *conn, struct covey_view key,
                                     const struct covey_auth_opts *opts,
                                     covey_nsec timeout) COVEY_MUST_CHECK;

/* ---- waiting for several ---------------------------------------------------- */

/** What is waited for. */
enum covey_wait_kind {
    COVEY_WAIT_NOTHING = 0, /**< an item that is never ready */
    COVEY_WAIT_CONN,        /**< a message, a part of one, or the end */
    COVEY_WAIT_QUEUE,       /**< a get would not wait, also since it would fail */
    COVEY_WAIT_PROCESS,     /**< its end */
    COVEY_WAIT_LISTENER,    /**< as covey_listener_fd */
    COVEY_WAIT_FD           /**< it polls readable, or is at its end */
};

/** One thing that is waited for; made by covey_wait_conn and so on. */
struct covey_wait_item {
    enum covey_wait_kind kind;
    void *object; /**< the covey_conn, covey_queue, covey_process or covey_listener */
    int fd;       /**< for COVEY_WAIT_FD */
    int ready;    /**< set by covey_wait: 1 if it is */
};

/** Returns:  an item for a connection. */
static inline struct covey_wait_item covey_wait_conn(covey_conn *conn)
{
    struct covey_wait_item item;
    item.kind = COVEY_WAIT_CONN;
    item.object = conn;
    item.fd = -1;
    item.ready = 0;
    return item;
}

/** Returns:  an item for a queue; of a joinable one, its covey_joinable_queue_queue. */
static inline struct covey_wait_item covey_wait_queue(covey_queue *queue)
{
    struct covey_wait_item item;
    item.kind = COVEY_WAIT_QUEUE;
    item.object = queue;
    item.fd = -1;
    item.ready = 0;
    return item;
}

/** Returns:  an item for a process that was started. */
static inline struct covey_wait_item covey_wait_process(covey_process *process)
{
    struct covey_wait_item item;
    item.kind = COVEY_WAIT_PROCESS;
    item.object = process;
    item.fd = -1;
    item.ready = 0;
    return item;
}

/** Returns:  an item for a listener. */
static inline struct covey_wait_item covey_wait_listener(covey_listener *listener)
{
    struct covey_wait_item item;
    item.kind = COVEY_WAIT_LISTENER;
    item.object = listener;
    item.fd = -1;
    item.ready = 0;
    return item;
}

/** Returns:  an item for a descriptor. */
static inline struct covey_wait_item covey_wait_fd(int fd)
{
    struct covey_wait_item item;
    item.kind = COVEY_WAIT_FD;
    item.object = NULL;
    item.fd = fd;
    item.ready = 0;
    return item;
}

/**
 * Wait until at least one of several things is ready, and mark those that are.
 *
 * `ret_ready`: receives how many; may be NULL.
 * Returns:  0; -ETIMEDOUT: none; -EINVAL for an item that is no such thing; -EBADF for a
 *           descriptor that is not open, or an end of a pipe that only sends; the errors
 *           of covey_process_sentinel and covey_listener_fd; -ENOMEM, -EAGAIN; -EINTR.
 * Blocks:   at most `timeout`; without items for all of it.
 * Owner:    nothing is taken: what is ready may be another thread's or process's a moment
 *           later.
 */
COVEY_API int covey_wait(struct covey_wait_item *items, size_t count,
                         covey_nsec timeout, size_t *ret_ready);

#ifdef __cplusplus
}
#endif

#endif
