/* SPDX-License-Identifier: MIT */
/* Memory for messages of queues: the family's, that the dead still have in their hands. */
#include "channel/queue.h"
#include "process_help.h"

static covey_queue *queue_new(void)
{
    covey_queue *q;
    CHECK_OK(covey_queue_create(&q, 0, NULL));
    return q;
}

/* Nobody has taken notice of the death when the memory is asked for. */
TEST(reserve_takes_what_the_dead_had)
{
    family_found(COVEY_FAMILY_OPTS(.budget = 8 * MIB));
    covey_queue *q = queue_new();
    struct covey_loan loan;
    cvy_word *full = family_shared(sizeof *full);
    int pid = family_fork();
    if (!pid) {
        while (covey_queue_reserve(q, MIB, &loan) >= 0)
            continue;
        family_tell(full);
        family_pause();
    }
    family_await(full, 1);
    CHECK_ERR(covey_queue_reserve(q, MIB, &loan), -ENOMEM);
    family_kill(pid);
    CHECK_OK(covey_queue_reserve(q, MIB, &loan));
    covey_queue_done(q, &loan);
    covey_queue_free(q);
}

CHECK_MAIN()
