/* SPDX-License-Identifier: MIT */
/* A class of the program's own in a manager: several processes share one account. */
#include <errno.h>

#include "tour.h"

struct account {
    int64_t balance;
};

static int open_account(covey_request *request, void **ret_self)
{
    struct account *account = calloc(1, sizeof *account);
    (void)request;
    *ret_self = account;
    return account ? 0 : -ENOMEM;
}

static int deposit(covey_request *request, void *self)
{
    struct account *account = self;
    int64_t amount;
    int r =
        covey_value_get_int(covey_value_at(covey_request_args(request), 0), &amount);
    if (r < 0)
        return r;
    account->balance += amount;
    return covey_request_return(request, covey_value_int(account->balance));
}

static int withdraw(covey_request *request, void *self)
{
    struct account *account = self;
    int64_t amount;
    int r =
        covey_value_get_int(covey_value_at(covey_request_args(request), 0), &amount);
    if (r < 0)
        return r;
    if (amount > account->balance)
        return covey_request_raise(request, "ValueError", "there are only %d",
                                   (int)account->balance);
    account->balance -= amount;
    return covey_request_return(request, covey_value_int(account->balance));
}

static const struct covey_method methods[] = {
    {"deposit", deposit, 0},
    {"withdraw", withdraw, 0},
};
static const struct covey_class account_class = {
    .size = sizeof(struct covey_class),
    .methods = methods,
    .method_count = sizeof methods / sizeof *methods,
    .create = open_account,
    .destroy = free,
};

static int saver(struct covey_view arg)
{
    covey_proxy *const *account = arg.data;
    for (int i = 0; i < 100; i++)
        must(covey_proxy_call(*account, NULL, "deposit", "(i)", 1));
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);
    must(covey_manager_register("Account", &account_class, NULL));

    enum { SAVERS = 4 };
    covey_manager *manager;
    covey_proxy *account;
    covey_process *savers[SAVERS];
    covey_value *balance;
    int64_t number;
    must(covey_manager_start(&manager, NULL));
    must(covey_proxy_create(&account, manager, "Account", NULL, NULL));
    for (int i = 0; i < SAVERS; i++) {
        must(covey_process_create(&savers[i], saver, COVEY_VIEW_OF(account), NULL));
        must(covey_process_start(savers[i]));
    }
    for (int i = 0; i < SAVERS; i++) {
        must(covey_process_join(savers[i], COVEY_FOREVER));
        covey_process_free(savers[i]);
    }
    must(covey_proxy_call(account, &balance, "withdraw", "(i)", 150));
    must(covey_value_get_int(balance, &number));
    printf("%d are left\n", (int)number);
    covey_value_free(balance);
    if (covey_proxy_call(account, NULL, "withdraw", "(i)", 1000) == COVEY_EREMOTE)
        printf("%s: %s\n", covey_proxy_error_type(), covey_proxy_error_text());
    covey_proxy_free(account);
    must(covey_manager_shutdown(manager, COVEY_SEC(10)));
    covey_manager_free(manager);
}
