/* SPDX-License-Identifier: MIT */
/* listener.c: listeners. A listener is private memory of its process. A fork child that
 * accepts has the same socket, but a set of its own and peers of its own; the path is
 * removed by its creator. */
#include "channel/listener.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "channel/mac.h"

#define MAGIC             0x4c53544eu
#define DEFAULT_BACKLOG   128
#define DEFAULT_PENDING   64
#define DEFAULT_HANDSHAKE COVEY_SEC(10)
#define MOST_AT_ONCE      COVEY_MSEC(1) /* for who does not want to wait */

/* ---- paths, which are also removed at the end of the process ---- */

/* A path that its creator has to remove. Notes are never freed, but used again, so the
 * list needs no lock, which a fork could freeze. */
struct cvy_path_note {
    struct cvy_path_note *next;
    _Atomic uint32_t creator; /* member; 0: free */
    uint64_t device, inode;
    char path[CVY_OS_WHOLE_PATH];
};
static struct cvy_path_note *_Atomic notes;

static void remove_path(const struct cvy_path_note *note)
{
    uint64_t device, inode;
    if (cvy_os_path_id(note->path, &device, &inode) == 0 && device == note->device &&
        inode == note->inode)
        (void)cvy_os_unlink(note->path);
}

static void remove_paths(void)
{
    uint32_t me = cvy_process_page ? cvy_process_page->member : 0;
    for (struct cvy_path_note *n = atomic_load(&notes); n && me; n = n->next) {
        uint32_t creator = me;
        if (atomic_compare_exchange_strong(&n->creator, &creator, 0))
            remove_path(n);
    }
}

__attribute__((destructor)) static void at_exit(void)
{
    remove_paths();
}

static struct cvy_path_note *new_note(void)
{
    struct cvy_path_note *n;
    for (n = atomic_load(&notes); n; n = n->next) {
        uint32_t nobody = 0;
        if (atomic_compare_exchange_strong(&n->creator, &nobody, UINT32_MAX))
            return n;
    }
    n = cvy_calloc(1, sizeof *n);
    if (!n)
        return NULL;
    atomic_store(&n->creator, UINT32_MAX);
    n->next = atomic_load(&notes);
    while (!atomic_compare_exchange_weak(&notes, &n->next, n))
        continue;
    return n;
}

static int note_path(struct covey_listener *l)
{
    l->note = new_note();
    if (!l->note)
        return -ENOMEM;
    cvy_os_path_whole(l->address, l->note->path);
    int r = cvy_os_path_id(l->address, &l->note->device, &l->note->inode);
    cvy_leave_add(remove_paths);
    atomic_store(&l->note->creator, r < 0 ? 0 : cvy_member_owner());
    if (r < 0)
        l->note = NULL;
    return r;
}

static void forget_path(struct covey_listener *l)
{
    uint32_t me = cvy_member_owner();
    if (l->note && atomic_compare_exchange_strong(&l->note->creator, &me, UINT32_MAX)) {
        remove_path(l->note);
        atomic_store(&l->note->creator, 0);
    }
    l->note = NULL;
}

/* ---- entering ---- */

static int open_set(struct covey_listener *l)
{
    int set = cvy_os_set_create();
    l->set = set < 0 ? -1 : set;
    return set < 0 ? set : 0;
}

/* Have a set with the socket in it. */
static int make_set(struct covey_listener *l)
{
    int r = l->set < 0 ? open_set(l) : 0;
    if (r >= 0)
        r = cvy_os_set_add(l->set, l->fd, 0);
    if (r < 0) {
        l->set = cvy_os_close(l->set);
        return r;
    }
    atomic_store(&l->member, cvy_member_owner());
    return 0;
}

/* In a fork child: the parent's peers are the parent's, and its mutex may be taken by a
 * thread that is not here. */
static void drop_copies(struct covey_listener *l)
{
    (void)pthread_mutex_init(&l->mutex, NULL);
    /* First: what is taken out of it is the parent's, too. */
    l->set = cvy_os_close(l->set);
    l->timer = cvy_os_close(l->timer);
    cvy_pending_drop_all(l);
    l->is_shut = false;
}

static bool is_own(const struct covey_listener *l)
{
    return cvy_process_page && atomic_load(&l->member) == cvy_member_owner();
}

/* One thread does it, others that are here at the same time wait. */
static int make_own(struct covey_listener *l, const char *call)
{
    int r = 0, cancel = cvy_os_disable_cancel(); /* who has begun must end */
    uint32_t me = cvy_member_owner();
    while (r >= 0 && !is_own(l)) {
        uint32_t maker = atomic_load(&l->maker);
        if (maker == me || !atomic_compare_exchange_strong(&l->maker, &maker, me)) {
            cvy_os_yield();
            continue;
        }
        drop_copies(l);
        r = make_set(l);
        if (r < 0)
            atomic_store(&l->maker, 0);
    }
    cvy_os_restore_cancel(cancel);
    return r < 0 ? cvy_fail_os(r, "%s", call) : 0;
}

static int check(const covey_listener *l, const char *call)
{
    if (!l || l->magic != MAGIC)
        return cvy_fail(-EINVAL, "%s: %p is no listener", call, (const void *)l);
    return 0;
}

static int enter(covey_listener *l, const char *call)
{
    int r = cvy_enter();
    if (r >= 0)
        r = check(l, call);
    if (r < 0)
        return r;
    if (l->fd < 0)
        return cvy_fail(COVEY_ECLOSED, "%s: the listener is closed", call);
    return is_own(l) ? 0 : make_own(l, call);
}

static void lock(covey_listener *l)
{
    (void)pthread_mutex_lock(&l->mutex);
}
static void unlock(covey_listener *l)
{
    (void)pthread_mutex_unlock(&l->mutex);
}

/* ---- making ---- */

static int check_opts(struct covey_listener_opts *o,
                      const struct covey_listener_opts *opts, const char *call)
{
    int r = CVY_TAKE_OPTS(o, opts, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".allow_md5", o->allow_md5},
                               {".report_refused", o->report_refused});
    if (r < 0)
        return r;
    if (!o->authkey.data && o->authkey.size)
        return cvy_fail(-EINVAL, "%s: a key of %zu bytes at NULL", call,
                        o->authkey.size);
    if (o->backlog > INT32_MAX || o->handshake_timeout < 0)
        return cvy_fail(-EINVAL, "%s: a bad backlog or handshake_timeout", call);
    return 0;
}

static int fresh_address(struct cvy_os_address *ret)
{
    uint64_t random[2];
    char name[48];
    int r = cvy_os_random(random, sizeof random);
    if (r < 0)
        return cvy_fail_os(r, "a fresh address");
    (void)snprintf(name, sizeof name, "covey-%016llx%016llx",
                   (unsigned long long)random[0], (unsigned long long)random[1]);
    cvy_os_address_abstract(name, ret);
    return 0;
}

/* It listens. An abstract name is told as it was given, whatever bytes it has. */
static int begin_at(struct covey_listener *l, const struct cvy_os_address *asked,
                    const char *text)
{
    struct cvy_os_address address = *asked;
    int r = cvy_os_local_address(l->fd, &address);
    if (r >= 0)
        r = make_set(l);
    if (r < 0)
        return r;
    if (text && *text == '@')
        memcpy(l->address, text, strnlen(text, sizeof l->address - 1));
    else
        cvy_os_address_write(&address, l->address);
    return cvy_os_address_is_path(&address) ? note_path(l) : 0;
}

/* Where a listener is to be. */
struct place {
    const char *address; /* NULL: a fresh one */
    int fd;              /* not -1: it listens already */
    bool is_replaced;    /* a path is taken over if nobody listens there */
};

/* Whether nobody listens at the socket of a path. One whose queue is full has somebody.
 * Connecting to a file of another kind is refused, too. */
static bool is_left_over(const struct cvy_os_address *address, const char *path)
{
    if (!cvy_os_path_is_socket(path))
        return false;
    int fd = cvy_os_connect(address, 0);
    cvy_os_close(fd);
    return fd == -ECONNREFUSED;
}

/* A socket that does not listen yet looks like one that is left over; and of two who find
 * one the slower would remove what the faster has just put there. So whoever makes one locks
 * the folder meanwhile. If another keeps it locked, nothing is replaced. */
static int listen_at_path(const struct cvy_os_address *address,
                          const struct place *place, int backlog)
{
    const char *path = place->address;
    int lock = cvy_os_lock_folder(path);
    int fd = cvy_os_listen(address, backlog);
    if (fd == -EADDRINUSE && place->is_replaced && lock != -EAGAIN &&
        is_left_over(address, path)) {
        (void)covey_log(COVEY_LOG_INFO,
                        "%s: nobody listens at this socket; it is replaced", path);
        if (cvy_os_unlink(path) == 0)
            fd = cvy_os_listen(address, backlog);
    }
    cvy_os_unlock_folder(lock);
    return fd;
}

static int listen_at(struct covey_listener *l, const struct place *place,
                     size_t backlog_wanted, const char *call)
{
    int backlog = (int)(backlog_wanted ? backlog_wanted : DEFAULT_BACKLOG);
    const char *text = place->address;
    struct cvy_os_address address = {.is_listening = 1};
    const char *why = "";
    int r = text ? cvy_os_address_read(text, true, &address, &why)
                 : fresh_address(&address);
    if (r < 0)
        return text ? cvy_fail(r, "%s: address %s: %s", call, text, why) : r;
    r = open_set(l); /* first: a path that there is no number left for would stay */
    if (r >= 0) {
        l->fd = text && cvy_os_address_is_path(&address)
                    ? listen_at_path(&address, place, backlog)
                    : cvy_os_listen(&address, backlog);
        r = l->fd < 0 ? l->fd : begin_at(l, &address, text);
    }
    if (r >= 0)
        return 0;
    if (l->fd >= 0 && cvy_os_address_is_path(&address))
        (void)cvy_os_unlink(text);
    l->set = cvy_os_close(l->set);
    return cvy_fail_os(r, "%s: address %s", call, text ? text : "of its own");
}

static int make_context(struct covey_listener *l, const struct covey_listener_opts *o,
                        const char *call)
{
    struct cvy_tls_settings settings;
    int r = cvy_tls_take(&settings, o->tls, o->authkey, call);
    if (r < 0)
        return r;
    r = cvy_tls_context_create(&l->tls, &settings, o->authkey, true);
    if (r < 0)
        cvy_detail_prefix("%s", call);
    return r;
}

static int listen_by(struct covey_listener *l, int fd, const char *call)
{
    struct cvy_os_address address = {0};
    int r = cvy_os_adopt_listening(fd);
    if (r >= 0)
        r = cvy_os_local_address(fd, &address);
    if (r >= 0) {
        l->fd = fd;
        cvy_os_address_write(&address, l->address);
        r = make_set(l);
        if (r < 0)
            l->fd = -1; /* still the caller's */
    }
    return r < 0 ? cvy_fail_os(r, "%s: descriptor %d", call, fd) : 0;
}

static int create(covey_listener **out, const struct place *place,
                  const struct covey_listener_opts *opts, const char *call)
{
    struct covey_listener_opts o;
    struct cvy_crypto crypto;
    int r = check_opts(&o, opts, call);
    if (r >= 0)
        r = cvy_sync_begin(out, call);
    if (r < 0)
        return r;
    struct covey_listener *l = cvy_calloc(1, sizeof *l);
    if (!l)
        return cvy_fail(-ENOMEM, "%s: no memory", call);
    l->magic = MAGIC;
    l->fd = l->set = l->timer = -1;
    l->has_key = o.authkey.data != NULL;
    l->allow_md5 = o.allow_md5 == COVEY_ON;
    l->report_refused = o.report_refused == COVEY_ON;
    l->same_user = !place->address && place->fd < 0;
    l->max_pending = o.max_pending ? o.max_pending : DEFAULT_PENDING;
    l->handshake_timeout =
        o.handshake_timeout ? o.handshake_timeout : DEFAULT_HANDSHAKE;
    (void)pthread_mutex_init(&l->mutex, NULL);
    r = covey_bytes_resize(&l->key, o.authkey.size);
    if (r >= 0 && o.authkey.size)
        memcpy(l->key.data, o.authkey.data, o.authkey.size);
    if (r >= 0 &&
        l->has_key) /* now: peers come when there may be no descriptor for it */
        r = cvy_crypto_get(&crypto);
    if (r >= 0)
        r = make_context(l, &o, call);
    if (r >= 0)
        r = place->fd < 0 ? listen_at(l, place, o.backlog, call)
                          : listen_by(l, place->fd, call);
    if (r < 0) {
        covey_listener_free(l);
        return r;
    }
    *out = l;
    return 0;
}

int covey_listener_create(covey_listener **out, const char *address,
                          const struct covey_listener_opts *opts)
{
    const struct place place = {.address = address, .fd = -1};
    return create(out, &place, opts, "covey_listener_create");
}

int cvy_listener_replace(covey_listener **out, const char *address,
                         const struct covey_listener_opts *opts)
{
    const struct place place = {.address = address, .fd = -1, .is_replaced = true};
    return create(out, &place, opts, "covey_listener_create");
}

int cvy_listener_adopt(covey_listener **out, int fd,
                       const struct covey_listener_opts *opts)
{
    const struct place place = {.fd = fd};
    return create(out, &place, opts, "a listener that was handed on");
}

/* ---- accepting ---- */

/* Until when an accept goes on to look although somebody keeps coming. */
static int64_t enough_at(int64_t deadline)
{
    return deadline > 0 ? deadline : cvy_os_now() + MOST_AT_ONCE;
}

static int fail_late(const covey_listener *l, const char *call)
{
    return cvy_fail(-ETIMEDOUT, "%s: nobody has connected to %s", call, l->address);
}

int covey_listener_accept(covey_listener *listener, covey_conn **out,
                          covey_nsec timeout)
{
    static const char call[] = "covey_listener_accept";
    int64_t deadline = cvy_os_deadline(timeout), enough = enough_at(deadline);
    covey_conn *conn = NULL;
    int r = out ? enter(listener, call) : cvy_fail(-EINVAL, "%s: out is NULL", call);
    while (r >= 0) {
        lock(listener);
        r = cvy_pending_go_on(listener, &conn, call);
        cvy_pending_set_timer(listener);
        int64_t next = cvy_pending_deadline(listener);
        if (conn) {
            const char *peer = covey_conn_peer(conn);
            memcpy(listener->accepted, peer, strlen(peer) + 1);
            listener->has_accepted = true;
        }
        unlock(listener);
        if (conn || r < 0)
            break;
        if (enough < INT64_MAX && cvy_os_now() >= enough)
            return fail_late(listener, call);
        r = cvy_os_poll_in(listener->set, cvy_min_i64(deadline, next));
        if (r < 0)
            return cvy_fail_os(r, "%s: %s", call, listener->address);
        if (!r && (deadline <= 0 || cvy_os_now() >= deadline))
            return fail_late(listener, call);
    }
    if (!conn)
        return r;
    *out = conn;
    return 0;
}

const char *covey_listener_address(covey_listener *listener)
{
    return listener && listener->magic == MAGIC ? listener->address : NULL;
}

const char *covey_listener_last_accepted(covey_listener *listener)
{
    return listener && listener->magic == MAGIC && listener->has_accepted
               ? listener->accepted
               : NULL;
}

int covey_listener_refused(covey_listener *listener, uint64_t *ret_count)
{
    static const char call[] = "covey_listener_refused";
    int r = enter(listener, call);
    if (r == COVEY_ECLOSED)
        r = 0;
    if (r >= 0 && !ret_count)
        r = cvy_fail(-EINVAL, "%s: ret_count is NULL", call);
    if (r < 0)
        return r;
    lock(listener);
    *ret_count = listener->refused;
    unlock(listener);
    return 0;
}

int covey_listener_fd(covey_listener *listener, int *ret_fd)
{
    static const char call[] = "covey_listener_fd";
    int r = enter(listener, call);
    if (r >= 0 && !ret_fd)
        r = cvy_fail(-EINVAL, "%s: ret_fd is NULL", call);
    if (r < 0)
        return r;
    lock(listener);
    r = cvy_pending_add_timer(listener);
    unlock(listener);
    if (r < 0)
        return cvy_fail_os(r, "%s: %s", call, listener->address);
    *ret_fd = listener->set;
    return 0;
}

/* ---- the end ---- */

int covey_listener_close(covey_listener *listener)
{
    int r = check(listener, "covey_listener_close");
    if (r < 0 || listener->fd < 0)
        return r;
    if (is_own(listener)) { /* also of who has no place in the family any more */
        forget_path(listener);
        cvy_pending_drop_all(listener);
    } else {
        drop_copies(listener);
    }
    listener->fd = listener->keeps_fd ? -1 : cvy_os_close(listener->fd);
    listener->set = cvy_os_close(listener->set);
    listener->timer = cvy_os_close(listener->timer);
    return 0;
}

void covey_listener_free(covey_listener *listener)
{
    if (!listener)
        return;
    if (listener->magic != MAGIC) {
        (void)covey_log(COVEY_LOG_WARNING, "covey_listener_free: %p is no listener",
                        (void *)listener);
        return;
    }
    if (listener->fd >= 0) /* else it would only change the detail */
        (void)covey_listener_close(listener);
    if (listener->key.data)
        explicit_bzero(listener->key.data, listener->key.capacity);
    covey_bytes_free(&listener->key);
    cvy_tls_context_free(listener->tls);
    (void)pthread_mutex_destroy(&listener->mutex);
    listener->magic = 0;
    cvy_free(listener);
}

void cvy_listener_give_back(covey_listener *listener)
{
    if (listener)
        listener->keeps_fd = true;
    covey_listener_free(listener);
}
