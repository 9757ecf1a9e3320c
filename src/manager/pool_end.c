/* SPDX-License-Identifier: MIT */
/* pool_end.c: the end of a pool in a thread of its own. Who is told of it may take the
 * family down at once, so the thread leaves that before, and not by its end. */
#include "manager/pool_end.h"

#include "region/member.h"

void cvy_pool_end(covey_pool *pool, bool is_done)
{
    if (cvy_enter() >= 0)
        cvy_thread_set_aside();
    if (is_done && covey_pool_close(pool) >= 0)
        (void)covey_pool_join(pool, COVEY_FOREVER);
    covey_pool_free(pool);
    cvy_thread_detach();
}
