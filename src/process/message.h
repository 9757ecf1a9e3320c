/* SPDX-License-Identifier: MIT */
/**
 * message.h: what travels over the socket between a starter and a program image it ran,
 * and between a starter and its fork server.
 *
 *   starter                       new image, in covey_init
 *      | -- cvy_start_message ------> |   with the descriptors, in this order: region,
 *      |                              |   [life-line] [stderr pipe, both ends] [.fds ...]
 *      | <------- cvy_start_reply --- |   set up, or what failed
 *
 *   starter                       fork server
 *      | -- cvy_server_request -----> |   with [stderr pipe, both ends] [.fds ...]
 *      | <------ cvy_server_answer -- |   the child's pid (not for CVY_SERVER_REFILL)
 */
#ifndef CVY_PROCESS_MESSAGE_H
#define CVY_PROCESS_MESSAGE_H

#include "base/log.h"
#include "os/context.h"
#include "process/process.h"
#include "region/region.h"

#define CVY_CHILD_ARGUMENT "--covey-child"
#define CVY_START_MAGIC    UINT32_C(0x53594643)
#define CVY_MOST_FDS       60u /* of the program; with ours as many as a message takes */

enum cvy_start_role { CVY_ROLE_CHILD = 1, CVY_ROLE_SERVER };

struct cvy_start_message {
    uint32_t magic, role;
    uint32_t member; /* of a child */
    cvy_ref object;  /* its process or server object */
    struct cvy_region_ticket ticket;
    struct cvy_settings settings;
    uint32_t has_lifeline, has_tail;
    uint32_t fd_count;
    int32_t fd_numbers[CVY_MOST_FDS];
    uint32_t build_size;
    unsigned char build[CVY_CODE_ID_SIZE];
};

struct cvy_start_reply {
    int32_t code;
    char text[252];
};

enum cvy_server_op { CVY_SERVER_FORK = 1, CVY_SERVER_REFILL };

struct cvy_server_request {
    uint32_t op, has_tail;
    cvy_ref process;
    uint32_t fd_count;
    int32_t fd_numbers[CVY_MOST_FDS];
};

struct cvy_server_answer {
    int32_t pid; /* or -errno */
};

#define CVY_MOST_SPARES 64u
enum cvy_spare_state {
    CVY_SPARE_NONE = 0,
    CVY_SPARE_BORN,
    CVY_SPARE_IDLE,
    CVY_SPARE_CLAIMED,
    CVY_SPARE_GO
};

/* A child that waits to be told who it is. `state`: NONE -> BORN by the server, BORN ->
 * IDLE by the spare, BORN or IDLE -> CLAIMED -> GO by the starter, GO -> NONE by the spare
 * once it has read; BORN or IDLE -> NONE by a starter that ends it. */
struct cvy_spare {
    _Alignas(64) cvy_word state;
    int32_t pid;     /* by the kernel when it is cloned; 0 in state NONE */
    cvy_ref process; /* by the starter */
};

/* Shared by a starter and its server: an object whose run is a cvy_server_room. */
struct cvy_server_room {
    struct cvy_os_context context; /* the starter's when the server started */
    uint32_t spares_wanted;
    uint32_t preload_count;
    int32_t owner_pid;
    uint32_t by_main_thread; /* the children's parent is the owner's first thread */
    int32_t cloned; /* by the kernel: a child that the starter was not told of yet */
    struct cvy_code init; /* kind NONE: none */
    cvy_ref preload;      /* paths, each with its NUL */
    cvy_ref init_arg;
    uint64_t init_arg_size;
    struct cvy_spare spares[CVY_MOST_SPARES];
};

/** Start a program image with `message` and `fds`, and wait for its reply.
 * `ret_socket`: NULL to close it, else stays open on success.
 * Returns: its pid; COVEY_ESTART and others with the detail set, no process left. */
int cvy_exec_image(struct cvy_start_message *message, const int *fds, size_t fd_count,
                   const char *title, covey_nsec timeout, int *ret_socket,
                   void (*on_pid)(void *ctx, int pid), void *ctx);
/** Receive a message from image `pid`, a child. Its end is known by itself: a child that the
 * program forked beside its start may have its end of the socket, too.
 * Returns: its size; 0 if the image has ended without one; -ETIMEDOUT. */
ssize_t cvy_image_recv(int pid, int socket, void *data, size_t size, int64_t deadline);
/** The life of a program image that covey started; returns only if it is none. */
int cvy_image_live(int argc, char **argv);
/** The server's life. */
void cvy_server_live(cvy_ref room, int socket, int lifeline) __attribute__((noreturn));
/** In a child: make the received descriptors the numbers they have in the starter.
 * Moves `sockets` out of their way. */
int cvy_place_fds(const int *received, const int32_t *numbers, size_t count, int **keep,
                  size_t keep_count);
/** What a child inherits of the starter's settings. */
void cvy_settings_take(const struct cvy_settings *settings);
/** Fill them in, in the starter. */
void cvy_settings_fill(struct cvy_settings *settings);

#endif
