/* SPDX-License-Identifier: MIT */
/*
 * A process is killed while it has a lock, in the middle of a change. Whoever acquires the
 * lock next is told, and puts right what the lock protects.
 */
#include <signal.h>

#include "tour.h"

struct account {
    int left, right; /* their sum is always 100 */
};

struct bank {
    covey_lock *lock;
    covey_shared_value *account;
};

static int move_money(struct covey_view arg)
{
    const struct bank *bank = arg.data;
    struct account *account = covey_shared_value_data(bank->account);
    must(covey_lock_acquire(bank->lock, COVEY_FOREVER));
    account->left -= 30;
    raise(SIGKILL); /* before the other side has got it */
    account->right += 30;
    must(covey_lock_release(bank->lock));
    return 0;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    struct bank bank;
    struct account start = {100, 0};
    covey_process *process;
    must(covey_lock_create(&bank.lock, NULL));
    must(
        covey_shared_value_create_struct(&bank.account, sizeof start, &start,
                                         COVEY_SHARED_OPTS(.synchronized = COVEY_OFF)));
    must(covey_process_create(&process, move_money, COVEY_VIEW_OF(bank), NULL));
    must(covey_process_start(process));
    must(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);

    struct account *account = covey_shared_value_data(bank.account);
    for (int i = 0; i < 2; i++) {
        int r = covey_lock_acquire(bank.lock, COVEY_FOREVER);
        must(r);
        printf("%s, sum %d\n", covey_error_name(r), account->left + account->right);
        if (r == COVEY_ABANDONED)
            account->right = 100 - account->left; /* finish what it began */
        must(covey_lock_release(bank.lock));
    }
    covey_lock_free(bank.lock);
    covey_shared_value_free(bank.account);
}
