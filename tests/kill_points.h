/* SPDX-License-Identifier: MIT */
/* Killing a process after each of the instructions of an operation, to see that those who
 * survive find everything in order.
 *
 * For each point a new victim is forked, prepares itself, runs n instructions of the
 * operation one by one under ptrace, and gets SIGKILL. Tracer and victim share one
 * processor, which makes a step four times as fast. The operation ends when it blocks.
 */
#ifndef TESTS_KILL_POINTS_H
#define TESTS_KILL_POINTS_H

#include <stddef.h>

struct kill_points {
    const char *name;
    void (*before)(void *context);  /* in the test's process; may be NULL */
    void (*prepare)(void *context); /* in the victim, at full speed; may be NULL */
    void (*operate)(void *context); /* in the victim, step by step */
    /* In the test's process, when the victim is dead. Returns: NULL, or what is wrong. */
    const char *(*after)(void *context);
    void *context;
    /* Instead of forking a victim, prepare and operate: the id of a process forked by this
     * thread that calls kill_points_begin and kill_points_end; somebody else reaps it. */
    int (*find)(void *context);
};

/* In a victim that was not forked here: let yourself be traced, and be stepped through
 * what follows; it is over. */
void kill_points_begin(void);
void kill_points_end(void);

/* Ends the test where victims cannot be stepped. First of all: nothing is cleared up. */
void kill_points_need(void);

/* Try all points, or about `most` that are spread evenly if that is not 0. A point after
 * which something is wrong fails the test. Returns: how many instructions there are. */
long kill_points_run(const struct kill_points *points, long most);

#endif
