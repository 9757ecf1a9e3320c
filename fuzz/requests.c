/* SPDX-License-Identifier: MIT */
/* Any bytes as what a client says to a manager after the handshake: requests for the
 * manager and for objects of all standard types. Every one that is whole gets a reply or
 * waits; in the end nothing is left of what it made. */
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "manager/server.h"
#include "os/os.h"

enum { STEPS = 100000, BYTES = 1 << 20 };

static struct cvy_registry registry;

static void open_server(struct cvy_server *server)
{
    if (!registry.first)
        MUST(cvy_registry_add_standard(&registry) == 0);
    *server = (struct cvy_server){
        .address = "/fuzz",
        .registry = &registry,
        .parent = -1,
        .flag = -1,
        .unknown.pidfd = -1,
        .parking.done = cvy_request_done,
        .limits = {.max_message = BYTES,
                   .max_reply = BYTES,
                   .max_objects = 100,
                   .max_sessions = 10,
                   .max_steps = STEPS,
                   .max_bytes = BYTES,
                   .send_timeout = COVEY_SEC(60)},
    };
    /* So the corpus can name objects: 101, 102, ... */
    server->hosts.last_number = 0x100;
    server->events = cvy_os_events_create();
    server->scratch = malloc(CVY_SCRATCH_SIZE);
    MUST(server->events >= 0 && server->scratch);
    MUST(cvy_address_to_value(&server->address_value, server->address) == 0);
}

static void close_server(struct cvy_server *server)
{
    while (server->connections)
        cvy_connection_end(server->connections, NULL);
    cvy_connection_sweep(server);
    cvy_client_free_all(server);
    cvy_hosted_free_all(server);
    cvy_parking_free(&server->parking);
    covey_value_free(server->address_value);
    covey_bytes_free(&server->reply);
    free(server->scratch);
    close(server->events);
}

static void drain(int fd)
{
    char bytes[4096];
    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        continue;
}

/* What follows is in the buffer of the socket, at most; then the client ends. */
static void talk(struct cvy_server *server, int fd, const uint8_t *data, size_t size)
{
    for (int i = 0; i < 1000 && server->connections; i++) {
        size_t piece = size < 4096 ? size : 4096;
        ssize_t sent = piece ? send(fd, data, piece, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        } else if (!server->run_first) {
            return;
        }
        cvy_connection_ready(server->connections, CVY_OS_CAN_READ | CVY_OS_CAN_WRITE);
        drain(fd);
        while (server->run_first) {
            cvy_connection_run(server->run_first);
            drain(fd);
        }
        cvy_parking_run(&server->parking, i % 8 ? 0 : INT64_MAX - 1);
        cvy_nested_look(server, cvy_os_now() + COVEY_SEC(10));
        drain(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cvy_server server;
    int ends[2];

    use_allocator();
    if (!registry.first) { /* what stays for all runs */
        open_server(&server);
        close_server(&server);
    }
    size_t before = live_bytes;
    open_server(&server);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    MUST(cvy_connection_add(&server, &(struct cvy_newcomer){.fd = ends[0]}) == 0);
    if (size > 0 && data[0] & 1)
        server.connections->state = CVY_SERVING;
    talk(&server, ends[1], size ? data + 1 : data, size ? size - 1 : 0);
    close_server(&server);
    close(ends[1]);
    MUST(live_bytes == before);
    return 0;
}
