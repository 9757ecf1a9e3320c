/* SPDX-License-Identifier: MIT */
/**
 * channel/turn.h: whose turn it is to use a direction of a stream, and what else its files
 * share:
 *
 *   turn.c      taking turns
 *   stream.c    messages
 *   handle.c    descriptors
 */
#ifndef CVY_CHANNEL_TURN_H
#define CVY_CHANNEL_TURN_H

#include "channel/conn.h"

/** Be the one who uses a direction; what is kept there as a copy of another process's is
 * dropped. Returns: 0; -ETIMEDOUT; COVEY_EBROKEN. */
int cvy_turn_begin_to_send(struct cvy_stream *stream, int64_t deadline);
int cvy_turn_begin_to_receive(struct cvy_stream *stream, int64_t deadline);

/** How a direction is left. */
enum cvy_after { CVY_BETWEEN_MESSAGES, CVY_IN_A_MESSAGE, CVY_IS_TORN };
void cvy_turn_end_sending(struct cvy_stream *stream, enum cvy_after after);
void cvy_turn_end_receiving(struct cvy_stream *stream, enum cvy_after after);
/** This process goes: nobody else can go on with a message it is in the middle of. The
 * thread need not be attached. */
void cvy_turns_give_up(struct cvy_stream *stream);

/** Drop what is kept of messages in the middle, for good. In a fork child that has not had
 * its turn it is as it was at a moment when a thread of the parent may have been changing
 * it; then its memory is left alone. */
void cvy_turns_drop_kept(struct cvy_stream *stream);

/** The detail for what a call on a stream returns. Returns: `result`; COVEY_EBROKEN for an
 * end that is none of the other side's. */
int cvy_stream_fail(const struct cvy_stream *stream, int result, const char *call);
/** In a turn to send: write what was kept of a message, and the answers that are owed.
 * Returns: 0; -ETIMEDOUT; -EAGAIN: what is owed cannot be written at once; -EPIPE; of the
 * system. */
int cvy_stream_write_rest(struct cvy_stream *stream, int64_t deadline,
                          enum cvy_after *ret_after);
/** In a turn to receive, between messages: whether a byte is an answer to a descriptor. */
bool cvy_stream_is_answer(const struct cvy_stream_state *state, unsigned char byte);
/** One less, if there is one. Returns: whether there was. */
bool cvy_stream_count_down(_Atomic uint32_t *count);

#endif
