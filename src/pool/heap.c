/* SPDX-License-Identifier: MIT */
/* heap.c: submissions that wait, as a binary heap. */
#include <errno.h>

#include "base/error.h"
#include "base/memory.h"
#include "pool/submit.h"

static void place(struct cvy_submissions *tasks, size_t at, struct covey_result *result)
{
    tasks->heap[at] = result;
    result->place = at + 1;
}

static void sift_up(struct cvy_submissions *tasks, size_t at)
{
    struct covey_result *result = tasks->heap[at];
    for (; at && tasks->heap[(at - 1) / 2]->key > result->key; at = (at - 1) / 2)
        place(tasks, at, tasks->heap[(at - 1) / 2]);
    place(tasks, at, result);
}

static void sift_down(struct cvy_submissions *tasks, size_t at)
{
    struct covey_result *result = tasks->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < tasks->count &&
            tasks->heap[child + 1]->key < tasks->heap[child]->key)
            child++;
        if (child >= tasks->count || tasks->heap[child]->key >= result->key)
            break;
        place(tasks, at, tasks->heap[child]);
        at = child;
    }
    place(tasks, at, result);
}

int cvy_heap_add(struct cvy_submissions *tasks, struct covey_result *result)
{
    if (tasks->count == tasks->room) {
        size_t room = tasks->room ? 2 * tasks->room : 64;
        void *more = cvy_realloc(tasks->heap, room * sizeof(struct covey_result *));
        if (!more)
            return cvy_fail(-ENOMEM, "%s: no memory for %zu tasks", result->work.call,
                            room);
        tasks->heap = more;
        tasks->room = room;
    }
    tasks->heap[tasks->count] = result;
    sift_up(tasks, tasks->count++);
    tasks->waiting += result->work.n - result->work.next;
    tasks->bytes += result->arg.size;
    return 0;
}

void cvy_heap_remove(struct cvy_submissions *tasks, struct covey_result *result)
{
    size_t at = (size_t)result->place - 1;
    if (!result->place)
        return;
    result->place = 0;
    tasks->bytes -= result->arg.size;
    tasks->waiting -= result->work.n - result->work.next;
    if (at == --tasks->count)
        return;
    place(tasks, at, tasks->heap[tasks->count]);
    sift_down(tasks, at);
    sift_up(tasks, (size_t)tasks->heap[at]->place - 1);
}
