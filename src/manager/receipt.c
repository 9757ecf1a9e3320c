/* SPDX-License-Identifier: MIT */
/* receipt.c: references that are given back once, however often that is tried.
 *
 * A client gives the reference that it asks for a number, drawn at random, before it asks.
 * So if it is killed others can give it back who do not know whether there is one: the
 * number of a reference that was given back already, or that was never made, is nobody's.
 * And what was asked for by a request that is read only after that is not made any more. */
#include "base/base.h"
#include "base/memory.h"
#include "manager/server.h"

bool cvy_receipt_add(struct cvy_server *server, struct cvy_hosted *hosted,
                     struct cvy_client *client, uint64_t number)
{
    if (!number || server->receipts.count / 2 >= server->limits.max_objects)
        return false;
    struct cvy_receipt *receipt = cvy_calloc(1, sizeof *receipt);
    if (!receipt)
        return false;
    *receipt = (struct cvy_receipt){hosted->receipts, number, client};
    hosted->receipts = receipt;
    server->receipts.count++;
    return true;
}

/* Take one away. Returns: whose reference it is for. */
static struct cvy_client *take(struct cvy_server *server, struct cvy_receipt **link)
{
    struct cvy_receipt *receipt = *link;
    struct cvy_client *client = receipt->client;
    *link = receipt->next;
    cvy_free(receipt);
    server->receipts.count--;
    return client;
}

static bool redeem_of(struct cvy_server *server, struct cvy_hosted *hosted,
                      uint64_t number)
{
    struct cvy_receipt **link = &hosted->receipts;
    while (*link && (*link)->number != number)
        link = &(*link)->next;
    if (!*link)
        return false;
    struct cvy_client *client = take(server, link);
    (void)cvy_client_give_back(server, client, hosted);
    return true;
}

/* Of one that may be any object's. */
static bool redeem_of_any(struct cvy_server *server, uint64_t number)
{
    size_t place = 0;
    for (struct cvy_hosted *h = NULL; (h = cvy_hosted_next(server, &place, h));)
        if (redeem_of(server, h, number))
            return true;
    return false;
}

void cvy_receipt_redeem(struct cvy_server *server, const char *ident, uint64_t number)
{
    struct cvy_receipts *receipts = &server->receipts;
    struct cvy_hosted *hosted = cvy_hosted_find(server, ident);
    if (hosted ? redeem_of(server, hosted, number)
               : !*ident && redeem_of_any(server, number))
        return;
    receipts->early[receipts->next_early++ % CVY_EARLY_RECEIPTS] = number;
}

bool cvy_receipt_is_early(const struct cvy_server *server, uint64_t number)
{
    const struct cvy_receipts *receipts = &server->receipts;
    size_t count = cvy_min_size(receipts->next_early, CVY_EARLY_RECEIPTS);
    for (size_t i = 0; number && i < count; i++)
        if (receipts->early[i] == number)
            return true;
    return false;
}

size_t cvy_receipts_move(struct cvy_server *server, struct cvy_hosted *hosted,
                         const struct cvy_client *from, struct cvy_client *to)
{
    size_t count = 0;
    for (struct cvy_receipt **link = &hosted->receipts; *link;) {
        if ((*link)->client != from) {
            link = &(*link)->next;
            continue;
        }
        count++;
        if (!to) {
            (void)take(server, link);
            continue;
        }
        (*link)->client = to;
        link = &(*link)->next;
    }
    return count;
}

void cvy_receipts_drop(struct cvy_server *server, struct cvy_hosted *hosted)
{
    while (hosted->receipts)
        (void)take(server, &hosted->receipts);
}
