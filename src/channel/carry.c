/* SPDX-License-Identifier: MIT */
/* carry.c: connections and descriptors inside of values, as CPython pickles them.
 *
 *   Connection    multiprocessing.connection.rebuild_connection(DupFd, readable, writable)
 *   socket        multiprocessing.reduction._rebuild_socket(DupFd, family, type, protocol)
 *   DupFd         an object of multiprocessing.resource_sharer whose attribute `_id` is
 *                 (address, key)
 *
 * At the address the process that made it gives the descriptor to the first who knows the
 * key of the process and asks for `key`: CPython's resource sharer, or offer.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "channel/conn.h"
#include "channel/mac.h"
#include "channel/offer.h"
#include "channel/talk.h"

#define PICKLED_CONN "multiprocessing.connection", "rebuild_connection"
#define PICKLED_SOCK "multiprocessing.reduction", "_rebuild_socket"
#define PICKLED_FD   "multiprocessing.resource_sharer", "DupFd"

/* ---- into values ---- */

/* The key of this process, if what proves that one knows it is there. */
static int get_key(struct covey_bytes *ret_key)
{
    unsigned char mac[CVY_MAC_MOST];
    size_t size = 0;
    int r = covey_authkey(ret_key);
    return r < 0 ? r
                 : cvy_mac("SHA256", COVEY_VIEW(ret_key->data, ret_key->size),
                           COVEY_VIEW("", 0), mac, &size);
}

/* The DupFd of an offer. */
static int value_of(const struct cvy_ticket *ticket, covey_value **out)
{
    char address[1 + sizeof ticket->name]; /* abstract: it begins with a NUL */
    covey_value *id = NULL, *state = covey_value_dict();
    int n = snprintf(address, sizeof address, "%c%s", 0, ticket->name);
    int r = covey_value_pack(&id, "(s#, K)", address, (size_t)n,
                             (unsigned long long)ticket->key[0]);
    if (r >= 0)
        r = covey_value_put_str(state, "_id", id);
    if (r < 0) {
        covey_value_free(state);
        return r;
    }
    covey_value *object =
        covey_value_instance(covey_value_global(PICKLED_FD), covey_value_tuple());
    r = covey_value_put_state(object, state);
    if (r < 0)
        covey_value_free(object);
    else
        *out = object;
    return r;
}

/* What is called to make it, with the DupFd of `fd` and what else there is. */
struct recipe {
    const char *module, *name; /* NULL: the DupFd itself is wanted */
    covey_value *(*args)(covey_value *dup_fd, const void *about);
    const void *about;
};

static int apply(const struct recipe *recipe, covey_value *dup_fd, covey_value **out)
{
    if (!recipe->module) {
        *out = dup_fd;
        return 0;
    }
    covey_value *made =
        covey_value_call(covey_value_global(recipe->module, recipe->name),
                         recipe->args(dup_fd, recipe->about));
    int r = covey_value_check(made);
    if (r < 0)
        covey_value_free(made);
    else
        *out = made;
    return r;
}

static int offer(int fd, covey_nsec keep, const struct recipe *recipe,
                 covey_value **out, const char *call)
{
    struct covey_bytes key = {0};
    struct cvy_ticket ticket;
    covey_value *dup_fd = NULL;
    if (keep <= 0 || !out)
        return cvy_fail(-EINVAL, "%s: out is NULL, or it is not to be kept", call);
    int r = get_key(&key);
    if (r >= 0) {
        r = cvy_offer_make(CVY_COUNTER_PICKLES, NULL, fd, cvy_os_deadline(keep),
                           COVEY_VIEW(key.data, key.size), &ticket);
        if (r < 0)
            r = cvy_fail_os(r, "%s: descriptor %d", call, fd);
    }
    if (key.data)
        explicit_bzero(key.data, key.capacity);
    covey_bytes_free(&key);
    if (r < 0)
        return r;
    r = value_of(&ticket, &dup_fd);
    if (r >= 0)
        r = apply(recipe, dup_fd, out);
    if (r < 0)
        cvy_offer_take_back(&ticket);
    return r;
}

static covey_value *args_of_conn(covey_value *dup_fd, const void *about)
{
    const struct cvy_stream *s = about;
    covey_value *args = NULL;
    (void)!covey_value_pack(&args, "(N, p, p)", dup_fd, s->readable, s->writable);
    return args;
}

int covey_conn_to_value(covey_conn *conn, covey_nsec keep, covey_value **out)
{
    static const char call[] = "covey_conn_to_value";
    int r = cvy_conn_enter(conn, CVY_ANY_WAY, call);
    struct cvy_stream *s = r < 0 ? NULL : cvy_conn_stream(conn);
    if (r < 0)
        return r;
    if (!s)
        return cvy_fail(-ENOTSUP,
                        "%s: an end of a pipe is the family's; send its pointer", call);
    r = cvy_stream_check_plain(s, call);
    if (r < 0)
        return r;
    if (!cvy_stream_is_between(s))
        return cvy_fail(COVEY_ESTATE, "%s: a message has been begun", call);
    if (cvy_stream_awaits_answers(s))
        return cvy_fail(COVEY_ESTATE, "%s: an answer to a descriptor has still to come",
                        call);
    const struct recipe recipe = {PICKLED_CONN, args_of_conn, s};
    return offer(s->fd, keep, &recipe, out, call);
}

static covey_value *args_of_socket(covey_value *dup_fd, const void *about)
{
    const struct cvy_os_socket_type *type = about;
    covey_value *args = NULL;
    (void)!covey_value_pack(&args, "(N, i, i, i)", dup_fd, type->family, type->type,
                            type->protocol);
    return args;
}

int covey_fd_to_value(int fd, covey_nsec keep, covey_value **out)
{
    static const char call[] = "covey_fd_to_value";
    const struct recipe plain = {.module = NULL};
    struct cvy_os_socket_type type;
    const struct recipe of_socket = {PICKLED_SOCK, args_of_socket, &type};
    int r = cvy_enter();
    return r < 0 ? r
                 : offer(fd, keep,
                         cvy_os_socket_type(fd, &type) < 0 ? &plain : &of_socket, out,
                         call);
}

/* ---- out of values ---- */

/* What a value says of a descriptor and where it is; borrowed. */
struct parcel {
    const covey_value *key;
    char address[CVY_OS_ADDRESS_TEXT];
};

/* As covey_client_connect has it. */
static int read_address(const covey_value *value, char text[CVY_OS_ADDRESS_TEXT])
{
    struct covey_view raw = COVEY_NO_VIEW;
    const char *name = NULL;
    if (covey_value_get_str(value, &name, &raw.size) >= 0)
        raw.data = name;
    else if (covey_value_get_bytes(value, &raw) < 0)
        return cvy_fail(-ENOTSUP,
                        "it is to be fetched from where no descriptor can come");
    name = raw.data;
    bool is_abstract = raw.size && !name[0];
    const char *prefix = is_abstract ? "@" : raw.size && name[0] == '/' ? "" : "./";
    if (raw.size <= is_abstract || raw.size > CVY_OS_ADDRESS_TEXT - 3 ||
        memchr(name + is_abstract, 0, raw.size - is_abstract))
        return cvy_fail(COVEY_EPROTOCOL, "it is to be fetched from no address");
    (void)snprintf(text, CVY_OS_ADDRESS_TEXT, "%s%.*s", prefix,
                   (int)(raw.size - is_abstract), name + is_abstract);
    return 0;
}

static int read_dup_fd(const covey_value *value, struct parcel *ret)
{
    struct covey_object object;
    const covey_value *address;
    if (!covey_value_is(value, PICKLED_FD) ||
        covey_value_get_object(value, &object) < 0 || !object.state)
        return cvy_fail(COVEY_ETYPE, "the value stands for no descriptor");
    if (covey_value_unpack(object.state, "{s: (O, O)}", "_id", &address, &ret->key) < 0)
        return cvy_fail(COVEY_EPROTOCOL,
                        "it is not said where the descriptor is to be fetched");
    return read_address(address, ret->address);
}

/* The arguments of a call of this function. NULL: it is none. */
static const covey_value *args_of(const covey_value *value, const char *module,
                                  const char *name)
{
    struct covey_object object;
    return covey_value_is(value, module, name) &&
                   covey_value_get_object(value, &object) >= 0 && object.calls
               ? object.args
               : NULL;
}

/* The pickle of `key` and this process's number, as a message. */
static int make_request(const covey_value *key, struct covey_bytes *ret)
{
    struct covey_bytes pickle = {0};
    unsigned char header[CVY_FRAME_HEADER];
    covey_value *pair = NULL;
    int r = covey_value_pack(&pair, "(O, i)", key, cvy_os_pid());
    if (r >= 0)
        r = covey_value_pickle(pair, &pickle);
    size_t size = cvy_frame_put(header, pickle.size);
    if (r >= 0 && pickle.size > CVY_TALK_REQUEST - size)
        r = cvy_fail(COVEY_EPROTOCOL, "a key of %zu bytes", pickle.size);
    if (r >= 0)
        r = covey_bytes_resize(ret, size + pickle.size);
    if (r >= 0) {
        memcpy(ret->data, header, size);
        memcpy((char *)ret->data + size, pickle.data, pickle.size);
    }
    covey_bytes_free(&pickle);
    covey_value_free(pair);
    return r;
}

static int ask(int fd, const covey_value *key, int64_t deadline, int *ret_fd)
{
    struct covey_bytes request = {0};
    int r = make_request(key, &request);
    if (r >= 0) {
        r = cvy_talk_fetch(fd, COVEY_VIEW(request.data, request.size), deadline,
                           ret_fd);
        if (r == COVEY_EPROTOCOL)
            r = cvy_fail(r, "what came has no descriptor with it");
        else if (r < 0)
            r = cvy_fail_os(r, "fetching the descriptor");
    }
    covey_bytes_free(&request);
    return r;
}

/* Whether it is worth asking there. The proof is an HMAC of what the other side has drawn,
 * which is for no other user to get, but for root, who could read the key. */
static int check_user(int fd, bool trusts_root)
{
    uint32_t user;
    if ((trusts_root && cvy_os_peer_is_own(fd)) || cvy_os_is_peers_own(fd, &user))
        return 0;
    return cvy_fail(-EACCES,
                    "user %u offers it, to processes of the same user and of root only",
                    (unsigned)user);
}

/* The other side has ended in the middle of the proof, maybe because it lets in no other
 * users: then it does so before it says anything. */
static int fail_proof(const struct cvy_talk *talk)
{
    bool is_at_the_begin = !talk->got && !talk->auth.half && !talk->auth.step;
    int r = is_at_the_begin ? check_user(talk->fd, false) : 0;
    return r < 0 ? r : COVEY_EEOF;
}

/* Prove to each other that both know the key, and ask for it. */
static int prove_and_ask(int fd, const struct parcel *parcel,
                         const struct covey_bytes *key, int64_t deadline, int *ret_fd)
{
    struct cvy_talk talk = {.fd = fd};
    int r = check_user(fd, true);
    if (r < 0)
        return r;
    /* MD5, which CPython before 3.12 wants, will do if the system says that it is the
     * same user. */
    cvy_auth_begin(&talk.auth, COVEY_VIEW(key->data, key->size), cvy_os_peer_is_own(fd),
                   CVY_AUTH_ANSWER, CVY_AUTH_DELIVER);
    r = -EAGAIN;
    while (r == -EAGAIN) {
        r = cvy_talk_prove(&talk);
        if (r != -EAGAIN)
            break;
        r = cvy_os_poll_in(fd, deadline);
        r = r > 0 ? -EAGAIN : cvy_fail_os(r < 0 ? r : -ETIMEDOUT, "the proof");
    }
    if (r == COVEY_EEOF)
        r = fail_proof(&talk);
    cvy_auth_end(&talk.auth);
    return r < 0 ? r : ask(fd, parcel->key, deadline, ret_fd);
}

static int connect_and_fetch(const struct parcel *parcel, int64_t deadline, int *ret_fd)
{
    struct cvy_os_address address;
    struct covey_bytes key = {0};
    const char *why = "";
    int r = cvy_os_address_read(parcel->address, false, &address, &why);
    if (r < 0)
        return cvy_fail(COVEY_EPROTOCOL, "address %s: %s", parcel->address, why);
    int fd = cvy_os_connect(&address, cvy_max_i64(deadline, 1));
    if (fd < 0)
        return cvy_fail_os(fd, "connecting");
    r = covey_authkey(&key);
    if (r >= 0)
        r = prove_and_ask(fd, parcel, &key, deadline, ret_fd);
    if (key.data)
        explicit_bzero(key.data, key.capacity);
    covey_bytes_free(&key);
    cvy_os_close(fd);
    return r;
}

static int fetch(const struct parcel *parcel, int64_t deadline, int *ret_fd,
                 const char *call)
{
    int r = connect_and_fetch(parcel, deadline, ret_fd);
    switch (r) {
    case -ECONNREFUSED:
    case -ECONNRESET:
    case -ENOENT:
    case COVEY_EEOF:
        return cvy_fail(COVEY_EEOF,
                        "%s: the descriptor is not there: it was fetched before, its "
                        "time is up, or who offered it has ended",
                        call);
    case -ETIMEDOUT:
        return cvy_fail(r, "%s: %s does not answer", call, parcel->address);
    default:
        if (r < 0)
            cvy_detail_prefix("%s: at %s", call, parcel->address);
        return r;
    }
}

int covey_fd_from_value(int *ret_fd, const covey_value *value, covey_nsec timeout)
{
    static const char call[] = "covey_fd_from_value";
    int64_t deadline = cvy_os_deadline(timeout);
    const covey_value *args, *dup_fd = value;
    struct parcel parcel;
    int fd = -1;
    if (!ret_fd || !value)
        return cvy_fail(-EINVAL, "%s: ret_fd or value is NULL", call);
    args = args_of(value, PICKLED_CONN);
    if (!args)
        args = args_of(value, PICKLED_SOCK);
    if (args)
        dup_fd = covey_value_at(args, 0);
    int r = read_dup_fd(dup_fd, &parcel);
    if (r < 0) {
        cvy_detail_prefix("%s", call);
        return r;
    }
    r = fetch(&parcel, deadline, &fd, call);
    if (r >= 0)
        *ret_fd = fd;
    return r;
}

static int read_conn(const covey_value *value, struct parcel *ret_parcel,
                     struct covey_conn_opts *ret_opts)
{
    const covey_value *dup_fd, *args = args_of(value, PICKLED_CONN);
    int readable = 0, writable = 0;
    if (!args ||
        covey_value_unpack(args, "(O, p, p)", &dup_fd, &readable, &writable) < 0)
        return cvy_fail(COVEY_ETYPE, "the value stands for no connection");
    if (!readable && !writable)
        return cvy_fail(COVEY_EPROTOCOL, "a connection that goes in neither direction");
    *ret_opts = *COVEY_CONN_OPTS(.readable = readable ? COVEY_UNSET : COVEY_OFF,
                                 .writable = writable ? COVEY_UNSET : COVEY_OFF);
    return read_dup_fd(dup_fd, ret_parcel);
}

int covey_conn_from_value(covey_conn **out, const covey_value *value,
                          covey_nsec timeout)
{
    static const char call[] = "covey_conn_from_value";
    int64_t deadline = cvy_os_deadline(timeout);
    struct covey_conn_opts opts;
    struct parcel parcel;
    int fd = -1, r = cvy_sync_begin(value ? out : NULL, call);
    if (r < 0)
        return r;
    r = read_conn(value, &parcel, &opts);
    if (r < 0) {
        cvy_detail_prefix("%s", call);
        return r;
    }
    r = fetch(&parcel, deadline, &fd, call);
    if (r < 0)
        return r;
    r = covey_conn_open_fd(out, fd, &opts);
    if (r < 0)
        cvy_os_close(fd);
    return r;
}
