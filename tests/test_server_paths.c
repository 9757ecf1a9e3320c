/* SPDX-License-Identifier: MIT */
/* Managers at paths where something is already. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "server_help.h"

static char folder[64], path[80];

static void folder_make(void)
{
    snprintf(folder, sizeof folder, "/tmp/covey-paths-%d", getpid());
    snprintf(path, sizeof path, "%s/socket", folder);
    CHECK_EQ(mkdir(folder, 0700), 0);
}

static void folder_free(void)
{
    (void)unlink(path);
    CHECK_EQ(rmdir(folder), 0);
}

/* A socket at the path, which does not listen. */
static int bound(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, path, strlen(path));
    CHECK_EQ(bind(fd, (const struct sockaddr *)(const void *)&address, sizeof address),
             0);
    return fd;
}

static uint64_t inode(void)
{
    struct stat info;
    CHECK_EQ(lstat(path, &info), 0);
    return info.st_ino;
}

static int serve_at_path(void)
{
    return covey_manager_serve_forever(
        COVEY_MANAGER_OPTS(.address = path, .authkey = SERVER_KEY));
}

TEST(a_socket_that_nobody_listens_at_is_replaced)
{
    folder_make();
    close(bound());
    struct server server = server_start((struct covey_manager_opts){.address = path});
    CHECK_STR_EQ(server.address, path);
    CHECK_ERR(serve_at_path(), -EADDRINUSE);
    CHECK_EQ(server_count(&server), 0);
    server_stop(&server);
    folder_free();
}

TEST(a_file_and_a_link_at_the_path_stay)
{
    char target[96];
    folder_make();
    close(open(path, O_CREAT | O_WRONLY, 0600));
    uint64_t file = inode();
    CHECK_ERR(serve_at_path(), -EADDRINUSE);
    CHECK_EQ(inode(), file);
    CHECK_EQ(unlink(path), 0);
    close(bound());
    snprintf(target, sizeof target, "%s/target", folder);
    CHECK_EQ(rename(path, target), 0);
    CHECK_EQ(symlink(target, path), 0);
    uint64_t link = inode();
    CHECK_ERR(serve_at_path(), -EADDRINUSE);
    CHECK_EQ(inode(), link);
    CHECK_EQ(unlink(target), 0);
    folder_free();
}

/* Another one has the folder: it may be about to listen there. */
TEST(nothing_is_replaced_in_a_folder_that_another_has_locked)
{
    covey_listener *l;
    folder_make();
    int taker = open(folder, O_RDONLY | O_CLOEXEC), holder = bound();
    uint64_t old = inode();
    CHECK_EQ(flock(taker, LOCK_EX), 0);
    CHECK_ERR(serve_at_path(), -EADDRINUSE);
    CHECK_EQ(inode(), old);
    CHECK_EQ(unlink(path), 0);
    CHECK_OK(covey_listener_create(&l, path, NULL)); /* which replaces nothing */
    covey_listener_free(l);
    close(holder);
    close(taker);
    folder_free();
}

/* Where a manager was killed several want to be the next. */
enum { RIVALS = 4, ROUNDS = 40 };

static void say_served(void *context, const char *address)
{
    (void)address;
    CHECK_EQ(write(*(int *)context, "y", 1), 1);
}

static void rival(int gate, int results)
{
    char byte;
    CHECK_EQ(read(gate, &byte, 1), 0);
    CHECK_ERR(covey_manager_serve_forever(
                  COVEY_MANAGER_OPTS(.address = path, .authkey = SERVER_KEY,
                                     .ready = say_served, .context = &results)),
              -EADDRINUSE);
    CHECK_EQ(write(results, "n", 1), 1);
    _exit(0);
}

TEST(of_those_who_replace_a_socket_at_once_one_serves)
{
    folder_make();
    close(bound());
    for (int round = 0; round < ROUNDS; round++) {
        int gate[2], results[2], pids[RIVALS], served = 0;
        char byte = 0;
        CHECK_EQ(pipe(gate), 0);
        CHECK_EQ(pipe(results), 0);
        for (int i = 0; i < RIVALS; i++) {
            pids[i] = fork();
            CHECK_GE(pids[i], 0);
            if (!pids[i]) {
                close(gate[1]);
                rival(gate[0], results[1]);
            }
        }
        close(gate[0]);
        close(gate[1]);
        for (int i = 0; i < RIVALS; i++) {
            CHECK_EQ(read(results[0], &byte, 1), 1);
            served += byte == 'y';
        }
        CHECK_EQ(served, 1);
        for (int i = 0; i < RIVALS; i++) {
            (void)kill(pids[i], SIGKILL);
            CHECK_EQ(waitpid(pids[i], NULL, 0), pids[i]);
        }
        close(results[0]);
        close(results[1]);
    }
    folder_free();
}

CHECK_MAIN()
