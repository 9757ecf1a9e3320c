/* SPDX-License-Identifier: MIT */
/* Connections whose system calls fail in the middle of a message. */
#include "conn_help.h"
#include "os/faults.h"

static char data[1000000];

/* The next call that can fail does, with an error that tells nothing of the other side. */
static int with_fault(int result)
{
    cvy_faults_arm(0, 0);
    return result;
}

TEST(failed_rest_of_a_message_leaves_no_place_for_another)
{
    struct bare b = bare_new();
    CHECK_EQ(covey_conn_send(b.conn, COVEY_VIEW_OF(data), COVEY_NOWAIT), COVEY_PENDING);
    cvy_faults_arm(1, ENOBUFS);
    CHECK_ERR(with_fault(covey_conn_flush(b.conn, COVEY_NOWAIT)), -ENOBUFS);
    CHECK_ERR(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_NOWAIT), COVEY_EBROKEN);
    bare_free(&b);
    b = bare_new();
    CHECK_EQ(covey_conn_send(b.conn, COVEY_VIEW_OF(data), COVEY_NOWAIT), COVEY_PENDING);
    cvy_faults_arm(1, ENOBUFS);
    CHECK_ERR(with_fault(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_NOWAIT)),
              -ENOBUFS);
    CHECK_ERR(covey_conn_send(b.conn, COVEY_VIEW("x", 1), COVEY_NOWAIT), COVEY_EBROKEN);
    bare_free(&b);
}

CHECK_MAIN()
