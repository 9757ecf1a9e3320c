/* SPDX-License-Identifier: MIT */
/**
 * channel/conn.h: what connections are, and what their files share.
 *
 *   conn.c      the calls: what a handle is, and to which of the two it goes
 *   pipe.c      ends of pipes, in the family's memory
 *   stream.c    connections to others: CPython's framing over a descriptor; turn.c,
 *               handle.c: see turn.h
 *   share.c     what processes share of one of those
 *   tls.c       encryption between them and the socket: see tls.h
 *   pass.c      descriptors that are sent over either
 *   carry.c     connections and descriptors inside of values
 *   offer.c     descriptors that are kept until somebody fetches them
 *   wait.c      waiting for several of them, and for other things
 */
#ifndef CVY_CHANNEL_CONN_H
#define CVY_CHANNEL_CONN_H

#include "channel/frame.h"
#include "channel/queue.h"
#include "channel/ring.h"
#include "channel/tls.h"
#include "os/socket.h"
#include "sync/sync.h"

#include <covey/connection.h>

/** The first word of both kinds; an end's is that of its object. */
struct covey_conn {
    _Atomic uint32_t kind;
};
#define CVY_CONN_IS_STREAM 0x73747231u /* no enum cvy_kind */

/** Where a message goes. */
struct cvy_landing {
    void *to;
    size_t capacity;
    struct covey_bytes *bytes; /* NULL: `to` does not grow */
    size_t most;               /* larger messages are refused */
    size_t *ret_size;
};

/* ---- pipes ---- */

struct cvy_ticket; /* offer.h */

/* What goes in one direction. */
struct cvy_way {
    struct cvy_ring ring;
    _Alignas(64) cvy_word space; /* slept on by who sends */
    _Alignas(64) cvy_word items; /* slept on by who receives; as in queue.h */
    /* under put_lock: bytes that may be sent before looking how many are on their way.
     * May be off by a message after a death. Here, since senders look at `items` each
     * time and receivers at `space`. */
    int64_t budget;
};

/*
 * The two ways of a pipe, kept alive by its ends; ways[i] is what end i sends.
 */
struct cvy_pipe {
    struct cvy_object object;
    uint64_t capacity;
    cvy_ref ends[2];
    char name[CVY_NAME_BYTES];
    struct cvy_way ways[2];
};
_Static_assert(sizeof(struct cvy_pipe) <= 2048, "an object's header");

struct cvy_end {
    struct cvy_object object;
    cvy_ref pipe; /* kept */
    uint16_t index;
    uint8_t readable, writable;
    _Atomic uint32_t closers; /* 1: some process has closed it */
    _Atomic uint32_t offers;  /* 1: a descriptor was sent over it */
    uint32_t reserved;
    struct cvy_table closed; /* members that have */
};

/** What a message costs of a pipe's capacity besides its bytes. */
#define CVY_PIPE_MESSAGE_COST 32

static inline struct cvy_pipe *cvy_pipe_of(const struct cvy_end *end)
{
    return cvy_at(end->pipe);
}
/** Whether `pipe` still has this end. Its place may be another object's by now. */
static inline bool cvy_pipe_has_end(const struct cvy_end *end, cvy_ref pipe)
{
    return atomic_load_explicit(&end->object.kind, memory_order_acquire) ==
               CVY_KIND_CONN &&
           end->pipe == pipe;
}
static inline struct cvy_end *cvy_pipe_peer_of(const struct cvy_end *end)
{
    struct cvy_end *peer = cvy_at(cvy_pipe_of(end)->ends[!end->index]);
    return cvy_pipe_has_end(peer, end->pipe) ? peer : NULL;
}

/** Send or receive a message if that needs no waiting, growing or repair, and there is
 * room for it. Returns: whether it was done; else nothing has changed. */
bool cvy_pipe_send_at_once(const struct cvy_end *end, const void *data, size_t size);
bool cvy_pipe_recv_at_once(const struct cvy_end *end, void *to, size_t capacity,
                           size_t *ret_size);
int cvy_pipe_send(struct cvy_end *end, struct covey_view message, int64_t deadline,
                  const char *call);
/** A descriptor that comes in place of a message is dropped: COVEY_EPROTOCOL. */
int cvy_pipe_recv(struct cvy_end *end, struct cvy_landing *target, int64_t deadline,
                  const char *call);
/** Send or receive what tells where a descriptor is to be fetched. A message that comes in
 * its place stays: COVEY_EPROTOCOL. */
int cvy_pipe_send_ticket(struct cvy_end *end, const struct cvy_ticket *ticket,
                         int64_t deadline, const char *call);
int cvy_pipe_recv_ticket(struct cvy_end *end, struct cvy_ticket *ret_ticket,
                         int64_t deadline, const char *call);
int cvy_pipe_poll(struct cvy_end *end, int64_t deadline, const char *call);
/** Nobody is going to have the descriptor: let the sender, if it is there, close its copy. */
void cvy_ticket_refuse(const struct cvy_end *end, const struct cvy_ticket *ticket);
/** Whether there is a message or the end; and what to sleep on until there may be. */
cvy_watch_look_fn cvy_pipe_is_ready;
cvy_word *cvy_pipe_word(struct cvy_end *end);
/** The ring out of which it receives. */
struct cvy_ring *cvy_pipe_ring(struct cvy_end *end);
/** Drop one hold; or `wholly` all of this process, which has closed it then. */
int cvy_pipe_drop(struct cvy_end *end, bool wholly);
/** Whether this process has closed it. */
bool cvy_pipe_is_closed(struct cvy_end *end);

/* ---- streams ---- */

/*
 * What processes that share a descriptor share of a connection. The states of a direction:
 *
 *   user 0        between messages; or, when receiving, a header has come and no more
 *   user X        process X is in the middle of a message, or was when it died
 *
 * `header` and what follows belong to who has recv_lock.
 */
struct cvy_stream_state {
    struct cvy_object object;
    cvy_word send_lock; /* owner word of a slot */
    cvy_word recv_lock;
    _Atomic uint32_t sender;   /* member */
    _Atomic uint32_t receiver; /* member */
    _Alignas(64) unsigned char header[CVY_FRAME_HEADER];
    uint32_t header_size; /* bytes of it that have come */
    uint64_t body_size;   /* valid if `has_header` */
    uint32_t has_header;
    /* bytes that the other side will send for descriptors; counted by who sends those,
     * taken by who receives */
    _Atomic uint32_t answers_due;
    /* bytes to send for descriptors that have come; counted by who receives those, sent
     * by whose turn to send it is */
    _Atomic uint32_t answers_owed;
    /* 1: the system has given the connection up, which it tells only once. */
    _Atomic uint32_t is_given_up;
    _Atomic uint64_t serial; /* that of the streams that it is the state of */
};

struct cvy_stream {
    _Atomic uint32_t kind;
    int fd;                     /* -1: closed */
    struct cvy_os_kept_fd kept; /* the same: the program may have closed it */
    enum cvy_os_stream_kind fd_kind;
    bool readable, writable;
    bool answers_fds;    /* both sides answer descriptors by a byte */
    struct cvy_tls *tls; /* NULL: bytes go as they are */
    /* Of the member `sharer`, which holds it; in a fork child maybe what was another's, and
     * is gone. */
    struct cvy_stream_state *state;
    uint64_t serial;
    _Atomic uint32_t sharer;
    /* Kept of messages in the middle, by the thread whose turn it is. In a fork child they
     * are copies of what another member has, as `in_of` and `out_of` say. */
    struct covey_bytes in;  /* of a body whose receiving was given up */
    struct covey_bytes out; /* the rest of a message, from `out_done` on */
    size_t out_done;
    uint32_t in_of, out_of;
    char peer[CVY_OS_ADDRESS_TEXT];
};

/** Make one of a descriptor, which it takes. */
int cvy_stream_open(struct cvy_stream **out, int fd, const char *peer,
                    const char *call);
int cvy_stream_send(struct cvy_stream *stream, struct covey_view message,
                    int64_t deadline, const char *call);
int cvy_stream_flush(struct cvy_stream *stream, int64_t deadline, const char *call);
int cvy_stream_recv(struct cvy_stream *stream, struct cvy_landing *target,
                    int64_t deadline, const char *call);
int cvy_stream_send_fd(struct cvy_stream *stream, int fd, int64_t deadline,
                       const char *call);
int cvy_stream_recv_fd(struct cvy_stream *stream, int *ret_fd, int64_t deadline,
                       const char *call);
/** Returns: 0; -ENOTSUP with TLS: only this process can go on with it. */
int cvy_stream_check_plain(const struct cvy_stream *stream, const char *call);
/** Whether no message has been begun in either direction, as far as this process knows. */
bool cvy_stream_is_between(const struct cvy_stream *stream);
/** Whether an answer to a descriptor has still to come. */
bool cvy_stream_awaits_answers(const struct cvy_stream *stream);
int cvy_stream_poll(struct cvy_stream *stream, int64_t deadline, const char *call);
/** Hold the shared state. A process that was forked without covey has no hold of its
 * parent's before; if that is gone it makes one for itself. */
int cvy_stream_share(struct cvy_stream *stream);
/** In a child at its fork: close the descriptor, and nothing else. */
void cvy_stream_disown(struct cvy_stream *stream);
/** Drop the hold of it, for good. */
void cvy_stream_leave(struct cvy_stream *stream);
/** Close it for this process. One that cannot attach closes it, too, and leaves its hold
 * of the shared state to its end. */
void cvy_stream_close(struct cvy_stream *stream);
void cvy_stream_free(struct cvy_stream *stream);
/** Free it, but for what it is made of, which is the caller's then. Returns: the descriptor. */
int cvy_stream_dissolve(struct cvy_stream *stream, struct cvy_tls **ret_tls);

/** covey_client_connect, with a context of the caller's in place of `opts->tls`; NULL:
 * without TLS. */
int cvy_client_connect(covey_conn **out, const char *address,
                       const struct covey_client_opts *opts,
                       const struct cvy_tls_context *tls,
                       int64_t deadline) COVEY_MUST_CHECK;

/* ---- any ---- */

/** Attach, and check that it is a connection that this process has not closed, and goes
 * in the direction. */
enum cvy_direction { CVY_ANY_WAY, CVY_TO_SEND, CVY_TO_RECEIVE };
int cvy_conn_enter(covey_conn *conn, enum cvy_direction direction, const char *call);
/** One that is known to be a stream, as that. */
static inline struct cvy_stream *cvy_stream_of(covey_conn *conn)
{
    return (struct cvy_stream *)(void *)conn;
}
/** The same, NULL if it is an end of a pipe. */
static inline struct cvy_stream *cvy_conn_stream(covey_conn *conn)
{
    return atomic_load_explicit(&conn->kind, memory_order_relaxed) == CVY_CONN_IS_STREAM
               ? cvy_stream_of(conn)
               : NULL;
}

#endif
