/* SPDX-License-Identifier: MIT */
/* lanes.c: sessions that go through the family's memory, as the loop sees them.
 *
 *   resting --(the socket: a byte of the client's; its call goes on)--> looked at
 *   looked at --(nothing came for long)--> resting
 *
 * Lanes are looked at in turns while something comes, and a while longer: who asks again
 * soon is served without a system call. Then the loop says in each lane that it rests, looks
 * once more and sleeps; a client that finds it said so writes a byte to its socket. Now and
 * then the loop goes to see what else there is. */
#include "base/base.h"
#include "manager/server.h"
#include "os/os.h"

/* How long the loop looks at lanes after the last request, and how long at a time before it
 * looks at sockets. A request later costs a wake-up, so longer waits pay, but each takes a
 * processor from somebody. */
#define LOOK_TIME  COVEY_USEC(50)
#define LOOK_SLICE COVEY_USEC(10)
/* Passes that find nothing before the loop lets others run. */
#define CLOSE_PASSES 100
/* Requests after which it looks at sockets; sooner if it is late, since requests may be long,
 * and parts of large ones keep it busy, too. */
#define BUSY_REQUESTS 64
/* A lane that had nothing in so many passes, while others had, rests by itself. */
#define QUIET_PASSES 4096

/* ---- which are looked at ---- */

void cvy_lanes_look_at(struct cvy_connection *c)
{
    struct cvy_lanes *lanes = &c->server->lanes;
    c->quiet_passes = 0;
    if (c->is_looked_at)
        return;
    cvy_lane_awake(&c->lane);
    c->is_looked_at = true;
    c->next_lane = lanes->first;
    c->prev_lane = NULL;
    if (lanes->first)
        lanes->first->prev_lane = c;
    lanes->first = c;
}

static void look_no_more(struct cvy_connection *c)
{
    struct cvy_lanes *lanes = &c->server->lanes;
    if (!c->is_looked_at)
        return;
    if (lanes->next == c)
        lanes->next = c->next_lane;
    if (c->prev_lane)
        c->prev_lane->next_lane = c->next_lane;
    else
        lanes->first = c->next_lane;
    if (c->next_lane)
        c->next_lane->prev_lane = c->prev_lane;
    c->next_lane = c->prev_lane = NULL;
    c->is_looked_at = false;
}

/* Let a lane rest, unless something has come meanwhile. */
static void rest(struct cvy_connection *c)
{
    cvy_lane_rest(&c->lane, cvy_connection_has_output(c));
    if (cvy_connection_can_go_on(c)) {
        cvy_lane_awake(&c->lane);
        c->quiet_passes = 0;
    } else {
        look_no_more(c);
    }
}

static bool rest_all(struct cvy_server *server)
{
    struct cvy_lanes *lanes = &server->lanes;
    for (struct cvy_connection *c = lanes->first; c; c = lanes->next) {
        lanes->next = c->next_lane;
        rest(c);
    }
    return lanes->first != NULL;
}

/* ---- taking and leaving ---- */

void cvy_lanes_use(struct cvy_connection *c, struct cvy_lane_end *lane)
{
    if (c->state == CVY_ENDED || cvy_connection_has_output(c)) {
        cvy_lane_release(lane);
        cvy_connection_end(c, "it does not read its replies");
        return;
    }
    c->lane = *lane;
    c->tls = cvy_tls_free(c->tls); /* the socket carries no messages any more */
    cvy_lanes_look_at(c);
}

void cvy_lanes_leave(struct cvy_connection *c)
{
    if (!c->lane.lane)
        return;
    look_no_more(c);
    cvy_lane_close(&c->lane);
}

/* ---- looking ---- */

/* Wake those that were served and sleep. One fence is for all, since it waits until what was
 * written before has left this processor. */
static void wake_served(struct cvy_lanes *lanes)
{
    cvy_lane_fence();
    for (struct cvy_connection *c = lanes->first; c; c = c->next_lane) {
        if (!c->is_served)
            continue;
        c->is_served = false;
        cvy_lane_wake_client(&c->lane);
    }
}

/* Returns: whether any of them had something. */
static bool look_once(struct cvy_server *server)
{
    struct cvy_lanes *lanes = &server->lanes;
    bool any = false;
    for (struct cvy_connection *c = lanes->first; c; c = lanes->next) {
        lanes->next = c->next_lane;
        if (cvy_connection_look(c)) {
            any = c->is_served = true;
            c->quiet_passes = 0;
            cvy_server_go_on(server);
        } else if (++c->quiet_passes >= QUIET_PASSES) {
            rest(c);
        }
        if (server->stop)
            break;
    }
    if (any)
        wake_served(lanes);
    return any;
}

/* Nothing has come for some passes. Returns: whether to look on. */
static bool is_worth_looking(struct cvy_lanes *lanes, int64_t *begin)
{
    cvy_os_yield(); /* a client may want this processor */
    int64_t now = cvy_os_now();
    if (!lanes->quiet_since)
        lanes->quiet_since = now;
    if (!*begin)
        *begin = now;
    return now - *begin < LOOK_SLICE && now - lanes->quiet_since < LOOK_TIME;
}

bool cvy_lanes_work(struct cvy_server *server)
{
    struct cvy_lanes *lanes = &server->lanes;
    bool is_multicore = cvy_os_is_multicore();
    uint64_t enough = server->requests + BUSY_REQUESTS;
    int64_t begin = 0;
    unsigned quiet = 0;
    cvy_server_turns(server);
    while (lanes->first && !server->stop && server->requests < enough) {
        if (look_once(server)) {
            lanes->quiet_since = 0;
            quiet = 0;
            if (cvy_server_is_late(server))
                break;
            continue;
        }
        if (!is_multicore)
            return rest_all(server);
        cvy_os_pause();
        if (++quiet % CLOSE_PASSES || is_worth_looking(lanes, &begin))
            continue;
        if (cvy_os_now() - lanes->quiet_since < LOOK_TIME)
            return true;
        lanes->quiet_since = 0;
        return rest_all(server);
    }
    return lanes->first != NULL;
}

void cvy_lanes_flush(struct cvy_server *server)
{
    struct cvy_lanes *lanes = &server->lanes;
    for (struct cvy_connection *c = lanes->first; c; c = lanes->next) {
        lanes->next = c->next_lane;
        c->is_served = cvy_connection_look(c);
    }
    wake_served(lanes);
}
