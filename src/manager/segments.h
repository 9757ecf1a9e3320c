/* SPDX-License-Identifier: MIT */
/** manager/segments.h: named memory that a manager looks after for its clients. */
#ifndef CVY_MANAGER_SEGMENTS_H
#define CVY_MANAGER_SEGMENTS_H

#include <covey/value.h>

struct cvy_server;

/** Be a manager of segments, with a process that removes them if this one is killed. */
int cvy_segments_open(struct cvy_server *server) COVEY_MUST_CHECK;
/** The loop runs: let it be told of that process's end, by cvy_segments_reaper_ended. */
int cvy_segments_listen(struct cvy_server *server) COVEY_MUST_CHECK;
void cvy_segments_reaper_ended(struct cvy_server *server);
/** Remove all segments. */
void cvy_segments_clear(struct cvy_server *server);
/** The same, and look after none any more. */
void cvy_segments_close(struct cvy_server *server);

/** Look after memory of this name. Returns: 0, also if it is known; as covey_memory_open;
 * -ENOMEM: there are too many; why that process cannot be started. */
int cvy_segments_track(struct cvy_server *server, const char *name) COVEY_MUST_CHECK;
/** Remove the name. Returns: 0; -EINVAL: it is none of them. */
int cvy_segments_release(struct cvy_server *server, const char *name) COVEY_MUST_CHECK;
/** A list of str, in the order in which they came. */
covey_value *cvy_segments_names(const struct cvy_server *server);

#endif
