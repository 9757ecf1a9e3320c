/* SPDX-License-Identifier: MIT */
/* turn.c: who uses a direction of a stream.
 *
 * Two locks in shared memory keep the messages of several users apart. Waiting for the
 * first byte happens without a lock. In the middle of a message its user is noted in
 * `sender` or `receiver`; who finds the note of a dead one knows that the rest of that
 * message is nowhere, and the direction is of no more use (TORN). A user that runs out of
 * time in the middle of a body keeps the note, and the rest in private memory; then others
 * wait for it. */
#include "channel/turn.h"

#include <errno.h>

#include "base/error.h"
#include "base/memory.h"
#include "region/lock.h"
#include "region/slot.h"

#define TORN 1u /* no member */
#define NAP  COVEY_MSEC(2)

struct direction {
    cvy_word *lock;
    _Atomic uint32_t *user;
};

static struct direction to_send(struct cvy_stream *s)
{
    return (struct direction){&s->state->send_lock, &s->state->sender};
}

static struct direction to_receive(struct cvy_stream *s)
{
    return (struct direction){&s->state->recv_lock, &s->state->receiver};
}

/* Between messages it is held for a moment only. */
static int lock(cvy_word *word, int64_t deadline)
{
    uint32_t dead;
    int r = cvy_lock_at_once(word) ? 0 : cvy_lock_wait_briefly(word, deadline, &dead);
    return r < 0 ? r : 0;
}

/* Returns: 0; -ETIMEDOUT; COVEY_EBROKEN. */
static int begin(const struct direction *d, int64_t deadline)
{
    for (;;) {
        int r = lock(d->lock, deadline);
        if (r < 0)
            return r;
        uint32_t user = atomic_load(d->user), me = cvy_member_owner();
        if (cvy_likely(!user || user == me)) {
            atomic_store(d->user, me);
            return 0;
        }
        /* Its life word knows of ends that the kernel does not tell as such: by exec, or
         * where there is no /proc. */
        if (user != TORN &&
            (cvy_member_is_dead(user, false) || cvy_member_is_dead(user, true)))
            atomic_store(d->user, TORN);
        cvy_lock_release(d->lock);
        if (atomic_load(d->user) == TORN)
            return COVEY_EBROKEN;
        if (cvy_os_now() >= deadline)
            return -ETIMEDOUT;
        (void)cvy_os_futex_wait_for((cvy_word *)d->user, user, NAP);
    }
}

static void end(const struct direction *d, enum cvy_after after)
{
    if (after != CVY_IN_A_MESSAGE)
        atomic_store(d->user, after == CVY_IS_TORN ? TORN : 0);
    cvy_lock_release(d->lock);
}

/* What another process's thread may have been about to free at the fork is not touched; leak
 * checkers see that it is known. */
static void leave(void *memory)
{
    static struct left {
        struct left *next;
        void *memory;
    } * _Atomic all;
    struct left *left = memory ? cvy_malloc(sizeof *left) : NULL;
    if (!left)
        return;
    left->memory = memory;
    left->next = atomic_load(&all);
    while (!atomic_compare_exchange_weak(&all, &left->next, left))
        continue;
}

static void drop(struct covey_bytes *kept, uint32_t member)
{
    if (cvy_process_page && member == cvy_member_owner()) {
        covey_bytes_free(kept);
        return;
    }
    leave(kept->data);
    *kept = (struct covey_bytes){0};
}

void cvy_turns_drop_kept(struct cvy_stream *s)
{
    drop(&s->in, s->in_of);
    drop(&s->out, s->out_of);
    s->out_done = 0;
}

/* It is this process's turn: drop what is a copy of another process's. */
static void drop_copies(struct covey_bytes *kept, uint32_t *member)
{
    if (cvy_likely(*member == cvy_member_owner()))
        return;
    drop(kept, *member);
    *member = cvy_member_owner();
}

int cvy_turn_begin_to_send(struct cvy_stream *s, int64_t deadline)
{
    const struct direction d = to_send(s);
    int r = begin(&d, deadline);
    if (cvy_unlikely(r < 0))
        return r;
    if (s->out_of != cvy_member_owner())
        s->out_done = 0;
    drop_copies(&s->out, &s->out_of);
    return 0;
}

int cvy_turn_begin_to_receive(struct cvy_stream *s, int64_t deadline)
{
    const struct direction d = to_receive(s);
    int r = begin(&d, deadline);
    if (cvy_likely(r >= 0))
        drop_copies(&s->in, &s->in_of);
    return r;
}

void cvy_turn_end_sending(struct cvy_stream *s, enum cvy_after after)
{
    const struct direction d = to_send(s);
    end(&d, after);
}

void cvy_turn_end_receiving(struct cvy_stream *s, enum cvy_after after)
{
    const struct direction d = to_receive(s);
    end(&d, after);
}

/* Others leave the note of a process that lives alone: the lock is not needed. */
static void give_up(struct direction d)
{
    uint32_t me = cvy_member_owner();
    (void)atomic_compare_exchange_strong(d.user, &me, TORN);
}

void cvy_turns_give_up(struct cvy_stream *s)
{
    give_up(to_send(s));
    give_up(to_receive(s));
}

/* ---- what they say ---- */

int cvy_stream_fail(const struct cvy_stream *s, int r, const char *call)
{
    const char *peer = s->peer[0] ? s->peer : "the other side";
    bool is_end = r == COVEY_EEOF || r == -EPIPE || r == COVEY_ETRUNCATED;
    if (is_end && atomic_load(&s->state->is_given_up))
        return cvy_fail(COVEY_EBROKEN,
                        "%s: %s does not answer any more: the system has given the "
                        "connection up",
                        call, peer);
    switch (r) {
    case COVEY_EEOF:
        return cvy_fail(r, "%s: %s has closed the connection", call, peer);
    case -EPIPE:
        return cvy_fail(r, "%s: %s does not receive any more", call, peer);
    case COVEY_ETRUNCATED:
        return cvy_fail(r, "%s: %s ended in the middle of a message", call, peer);
    case COVEY_EBROKEN:
        return cvy_fail(
            r, "%s: a user of the connection died or failed in the middle of a message",
            call);
    case -ETIMEDOUT:
        return cvy_fail(r, "%s: %s is not ready", call, peer);
    case -ENOMEM:
    case COVEY_EPROTOCOL:
    case COVEY_EAUTH:
    case -EMSGSIZE:
        return r; /* they have set it */
    default:
        return cvy_fail_os(r, "%s", call);
    }
}
