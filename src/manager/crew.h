/* SPDX-License-Identifier: MIT */
/**
 * manager/crew.h: the pools of a manager.
 *
 *   crew.c      a pool of covey's, driven by the server's loop
 *   errand.c    what one call asked of it
 *   pool_end.c  the end of covey's pool
 *
 * A crew is what is behind a Pool object. An errand is a call of map, apply or imap: its
 * items go to workers in parts, a part being one task of the pool, of which there are only
 * so many at a time.
 *
 *   crew:    RUNS --close--> CLOSED --(no errand is left)--\
 *              \---------------\--terminate---------------- ends --> ended
 *               \--(nobody refers to it, or to what is to come of it)--/
 *
 * A pool ends in a thread, since what runs may take its time to die. From then on the loop
 * does not touch it: all errands are finished, as raised, before that.
 *
 * The server's thread owns all but the list of those that have ended.
 */
#ifndef CVY_MANAGER_CREW_H
#define CVY_MANAGER_CREW_H

#include "manager/function.h"
#include "manager/server.h"

#include <covey/pool.h>

struct cvy_errand;

enum cvy_crew_state { CVY_CREW_RUNS, CVY_CREW_CLOSED, CVY_CREW_TERMINATED };

struct cvy_crew {
    struct cvy_source source;
    struct cvy_server *server;
    covey_pool *pool; /* its thread's, once it ends */
    struct cvy_crew *next_ended, *next_hungry;
    enum cvy_crew_state state;
    size_t workers;
    bool is_hosted;             /* a Pool object is it */
    bool is_hungry;             /* it is fed again in the next turn */
    bool ends, has_ended;       /* its thread runs, or has run */
    bool is_done;               /* it ends when all was done, so in order */
    struct cvy_errand *errands; /* not finished, the oldest first */
    struct cvy_errand *last_errand;
    size_t wanted;          /* those of them that an AsyncResult or Iterator awaits */
    struct cvy_task *tasks; /* parts that the pool has */
    size_t out, out_bytes;  /* how many, and their arguments */
    struct cvy_waiters ends_awaited; /* calls of join and terminate */
};

/** What a Pool is made of. */
struct cvy_crew_plan {
    size_t workers;   /* 0: the default */
    size_t max_tasks; /* 0: no limit */
    const struct cvy_function *initializer;
    const covey_value *initargs; /* a tuple */
};

/** Make one. Returns: 0; CVY_RAISED; a code. */
int cvy_crew_make(struct cvy_call *call, const struct cvy_crew_plan *plan,
                  struct cvy_crew **ret) COVEY_MUST_CHECK;
/** Its object goes. */
void cvy_crew_drop(struct cvy_crew *crew);
void cvy_crew_close(struct cvy_crew *crew);
void cvy_crew_terminate(struct cvy_crew *crew);
/** Something was submitted, finished, or is not wanted any more: submit what there is room
 * for, and end it if it is over. */
void cvy_crew_settle(struct cvy_crew *crew);

/* ---- for the server ---- */

/** The pool's descriptor has something. */
void cvy_crew_ready(struct cvy_crew *crew);
/** Feed those that have not had all in their turn, and let those go on who wait for ends;
 * called when the flag is raised. */
void cvy_crews_collect(struct cvy_server *server);
/** Free those that have gone: no event is about them any more. */
void cvy_crews_sweep(struct cvy_server *server);
/** Wait for all that end. No object is left. */
void cvy_crews_stop(struct cvy_server *server);

/* ---- errands ---- */

struct cvy_errand {
    unsigned refs;         /* the crew's, until it is finished; objects' and calls' */
    struct cvy_crew *crew; /* NULL: it is finished */
    struct cvy_errand *next, *previous;
    unsigned watchers; /* AsyncResults and Iterators */
    enum cvy_spread spread;
    bool is_whole;
    struct cvy_function function; /* a copy */
    covey_value *fault;           /* NULL, or what each part raises from now on */
    char *client;
    covey_value *items;            /* a list; NULL: it is finished */
    size_t count, chunk;           /* of them; of them in a part */
    size_t parts, next_part, done; /* all, first not submitted, finished */
    size_t grant;          /* bytes that its parts may still take: each has its own */
    covey_value **results; /* by part: a list of results, or an exception; NULL, as the
                                two that follow: all of that is in `whole` */
    unsigned char *outcomes; /* by part: of enum cvy_part_outcome */
    size_t *arrived;         /* finished parts in that order, `done` of them */
    size_t first_raised;     /* SIZE_MAX: none */
    covey_value *whole;      /* when it is finished: what get returns, or raises */
    struct cvy_waiters waiters;
};
enum cvy_part_outcome { CVY_PART_PENDING = 0, CVY_PART_OK, CVY_PART_RAISED };

/** What is asked for. */
struct cvy_order {
    enum cvy_spread spread;
    const struct cvy_function *function; /* NULL: `fault` */
    covey_value *fault;                  /* an exception; taken */
    covey_value *items;                  /* a list; taken */
    size_t chunk;                        /* 0: four parts for each worker */
    bool is_whole; /* its results are wanted all at once, as one value */
};

/** Begin one; the caller has a reference. Takes what the order says also on failure.
 * Returns: 0; CVY_RAISED; a code. */
int cvy_errand_begin(struct cvy_errand **out, struct cvy_call *call,
                     struct cvy_crew *crew,
                     const struct cvy_order *order) COVEY_MUST_CHECK;
void cvy_errand_ref(struct cvy_errand *errand);
void cvy_errand_drop(struct cvy_errand *errand);
/** An object is there for what comes of it, which keeps the crew alive; has gone. */
void cvy_errand_watch(struct cvy_errand *errand);
void cvy_errand_unwatch(struct cvy_errand *errand);
/** Tell the values that it keeps. */
void cvy_errand_visit(const struct cvy_errand *errand, cvy_visit_fn *fn, void *context);
static inline bool cvy_errand_is_finished(const struct cvy_errand *errand)
{
    return !errand->crew;
}
/** Finish what is left of it with an exception. */
void cvy_errand_cancel(struct cvy_errand *errand);

/* ---- parts, for crew.c ---- */

/** One of them, as a task of the pool. */
struct cvy_task {
    struct cvy_task *next, *previous;
    struct cvy_errand *errand; /* NULL: its crew ends */
    size_t part, bytes;
};
/** Submit the next part, or finish it with an exception, and then those after it will be
 * finished with the same. Returns: bytes that were pickled for it. */
size_t cvy_errand_submit(struct cvy_errand *errand);

#endif
