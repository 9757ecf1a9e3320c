/* SPDX-License-Identifier: MIT */
/**
 * manager/wire.h: how a client's thread and its session in a manager exchange messages:
 * over a socket; or over a lane beside it, where both are of one family. One thread uses a
 * wire at a time.
 */
#ifndef CVY_MANAGER_WIRE_H
#define CVY_MANAGER_WIRE_H

#include "manager/lane.h"

#include <covey/connection.h>

struct cvy_wire {
    covey_conn *conn;         /* NULL: closed */
    int fd;                   /* of the socket, while there is a lane */
    struct cvy_lane_end lane; /* its `lane` NULL: over the socket */
    struct covey_bytes part; /* what has come over the lane and was not asked for yet */
};

/** Whether the server at the other end of a new connection may be of this family. */
bool cvy_wire_may_have_lane(const struct cvy_wire *wire);
/** Use the lane from now on; takes it. */
void cvy_wire_use_lane(struct cvy_wire *wire, struct cvy_lane_end *lane);
/** Forget the lane, and end the socket here: both are the parent's. */
void cvy_wire_disown(struct cvy_wire *wire);
void cvy_wire_close(struct cvy_wire *wire);

/** Send the rest of a message, from `*done` on. Returns: 0; -ETIMEDOUT: not all of it, as
 * `*done` tells; COVEY_EEOF; other codes of covey_conn_send. */
int cvy_wire_send(struct cvy_wire *wire, struct covey_view message, size_t *done,
                  int64_t deadline) COVEY_MUST_CHECK;
/** Receive a message of at most `most` bytes. Returns: as covey_conn_recv_max. */
int cvy_wire_recv(struct cvy_wire *wire, struct covey_bytes *message, size_t most,
                  int64_t deadline) COVEY_MUST_CHECK;
/** Whether something has come, or the end. */
bool cvy_wire_has_input(struct cvy_wire *wire);
/** The same without setting a detail, while nothing is awaited: if so, cvy_wire_recv will
 * find the end, or nothing that means anything. */
bool cvy_wire_may_have_ended(struct cvy_wire *wire);

#endif
