/* SPDX-License-Identifier: MIT */
/* scenario_mutex.c: what the proof is to notice: a plain mutex in shared memory, whose owner
 * is killed. Nobody has it again. */
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "scenario.h"

int main(void)
{
    struct timespec until;
    pthread_mutexattr_t attributes;
    pthread_mutex_t *mutex = mmap(NULL, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mutex == MAP_FAILED)
        return 1;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(mutex, &attributes);
    pid_t pid = fork();
    if (pid == 0) {
        crash_begin();
        pthread_mutex_lock(mutex);
        pthread_mutex_unlock(mutex);
        crash_end();
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 300 * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    if (pthread_mutex_timedlock(mutex, &until) != 0) {
        fprintf(stderr, "the mutex is lost\n");
        return 1;
    }
    return 0;
}
