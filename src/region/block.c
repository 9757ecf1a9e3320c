/* SPDX-License-Identifier: MIT */
/* block.c: blocks of 64 to 2048 bytes out of spans, see alloc.h.
 *
 *   span: | cvy_span | block 0 | block 1 | ... |   CVY_SPAN_PAGES pages
 *
 * Spans with a free block are in their class's list; one that becomes empty goes back
 * to the heap, except the last of its class. */
#include <errno.h>
#include <string.h>

#include "region/alloc.h"
#include "region/undo.h"

#define SPAN_BYTES ((uint64_t)CVY_PAGE * CVY_SPAN_PAGES)

static uint32_t class_bytes(uint32_t size_class)
{
    return 64u << size_class;
}
static uint32_t class_of(uint32_t bytes)
{
    uint32_t c = 0;
    while (class_bytes(c) < bytes)
        c++;
    return c;
}
static uint32_t blocks_of(uint32_t size_class)
{
    return (uint32_t)(SPAN_BYTES - sizeof(struct cvy_span)) / class_bytes(size_class);
}

static void span_push(struct cvy_span *span)
{
    cvy_ref *head = &cvy_head->spans[span->size_class];
    cvy_set64(&span->previous, 0);
    cvy_set64(&span->next, *head);
    if (*head)
        cvy_set64(&((struct cvy_span *)cvy_at(*head))->previous, cvy_ref_of(span));
    cvy_set64(head, cvy_ref_of(span));
}

static void span_remove(struct cvy_span *span)
{
    if (span->next)
        cvy_set64(&((struct cvy_span *)cvy_at(span->next))->previous, span->previous);
    if (span->previous)
        cvy_set64(&((struct cvy_span *)cvy_at(span->previous))->next, span->next);
    else
        cvy_set64(&cvy_head->spans[span->size_class], span->next);
}

static int span_new(uint32_t size_class)
{
    cvy_ref ref = 0;
    int r = cvy_run_take(SPAN_BYTES, CVY_RUN_SPAN, 0, &ref);
    if (r < 0)
        return r;
    struct cvy_span *span = cvy_at(ref);
    memset(span, 0, sizeof *span); /* in no list yet */
    span->size_class = size_class;
    span->free_blocks = blocks_of(size_class);
    span_push(span);
    return 0;
}

static uint32_t first_unused(const struct cvy_span *span)
{
    uint32_t i = 0;
    while (span->used[i] == UINT64_MAX)
        i++;
    return i * 64 + (uint32_t)__builtin_ctzll(~span->used[i]);
}

int cvy_block_take(uint32_t bytes, cvy_ref *ret_ref)
{
    uint32_t c = class_of(bytes);
    if (!cvy_head->spans[c]) {
        int r = span_new(c);
        if (r < 0)
            return r;
    }
    struct cvy_span *span = cvy_at(cvy_head->spans[c]);
    uint32_t block = first_unused(span);
    cvy_set64(&span->used[block / 64], span->used[block / 64] | UINT64_C(1)
                                                                    << block % 64);
    cvy_set32(&span->free_blocks, span->free_blocks - 1);
    if (!span->free_blocks)
        span_remove(span);
    char *memory = (char *)span + sizeof *span + (size_t)block * class_bytes(c);
    memset(memory, 0, class_bytes(c)); /* nobody's before the commit */
    *ret_ref = cvy_ref_of(memory);
    return 0;
}

/* Spans are runs, and a run starts at a page of which it is the first entry. */
static struct cvy_span *span_of(cvy_ref ref)
{
    cvy_ref page = ref - (ref - cvy_head->heap) % CVY_PAGE;
    while (cvy_run_of(page)->state != CVY_RUN_SPAN)
        page -= CVY_PAGE;
    return cvy_at(page);
}

void cvy_block_give(cvy_ref ref)
{
    struct cvy_span *span = span_of(ref);
    uint32_t c = span->size_class;
    uint32_t block = (uint32_t)(ref - cvy_ref_of(span) - sizeof *span) / class_bytes(c);
    if (!span->free_blocks)
        span_push(span);
    cvy_set64(&span->used[block / 64],
              span->used[block / 64] & ~(UINT64_C(1) << block % 64));
    cvy_set32(&span->free_blocks, span->free_blocks + 1);
    bool only = cvy_head->spans[c] == cvy_ref_of(span) && !span->next;
    if (span->free_blocks == blocks_of(c) && !only) {
        span_remove(span);
        cvy_run_give(cvy_ref_of(span));
    }
}
