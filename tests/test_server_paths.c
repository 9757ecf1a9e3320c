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

CHECK_MAIN()
