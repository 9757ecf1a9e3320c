/* SPDX-License-Identifier: MIT */
/* self.c: which process one is, which children it has, and its authentication key.
 *
 * Most of it lies where a fork child finds zeros (struct cvy_own). The rest is a copy of
 * its parent's there, and is forgotten. */
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/log.h"
#include "process/process.h"
#include "region/member.h"
#include "region/object.h"
#include "region/region.h"

static _Thread_local struct covey_process *self_thread
    __attribute__((tls_model("initial-exec")));

static unsigned char authkey[256];
static size_t authkey_size;

/* ---- children ---- */

void cvy_children_lock(void)
{
    (void)pthread_mutex_lock(&cvy_own()->children_mutex);
}
void cvy_children_unlock(void)
{
    (void)pthread_mutex_unlock(&cvy_own()->children_mutex);
}
struct cvy_child *cvy_children(void)
{
    return cvy_own()->children;
}

void cvy_children_add(struct cvy_child *child)
{
    struct cvy_own *own = cvy_own();
    child->next = own->children;
    child->previous = NULL;
    if (own->children)
        own->children->previous = child;
    own->children = child;
    child->listed = true;
}

void cvy_children_remove(struct cvy_child *child)
{
    if (!child->listed)
        return;
    if (child->next)
        child->next->previous = child->previous;
    if (child->previous)
        child->previous->next = child->next;
    else
        cvy_own()->children = child->next;
    child->listed = false;
}

int covey_active_children(covey_process **out, size_t capacity, size_t *ret_count)
{
    size_t count = 0;
    int r = cvy_enter();
    if (r < 0)
        return r;
    if (!ret_count || (capacity && !out))
        return cvy_fail(-EINVAL, "covey_active_children: no room for the answer");
    cvy_children_reap();
    cvy_children_lock();
    for (struct cvy_child *c = cvy_children(); c; c = c->next) {
        if (c->released)
            continue;
        if (count < capacity)
            out[count] = c->process;
        count++;
    }
    cvy_children_unlock();
    *ret_count = count;
    return 0;
}

/* ---- oneself ---- */

void cvy_self_set_thread(struct covey_process *process)
{
    self_thread = process;
    cvy_log_set_thread_name(process ? process->name : NULL);
}

CVY_CHILD_CODE void cvy_self_forget(void)
{
    if (self_thread) /* writing would copy a page */
        cvy_self_set_thread(NULL);
    cvy_exit_forget();
    cvy_forkserver_forget();
    cvy_capture_forget();
    cvy_lifeline_drop();
}

/* There is no memory of a family that was abandoned. */
static const char *own_name(void)
{
    const struct covey_process *self = cvy_own()->self;
    return cvy_head && self ? self->name : NULL;
}

__attribute__((constructor)) static void prepare(void)
{
    cvy_on_attach = cvy_self_forget;
    cvy_log_ask_process_name(own_name);
}

/* The object of a process that covey did not start. */
static int make_main_object(void)
{
    void *made = NULL;
    int r = cvy_object_create(CVY_KIND_PROCESS, sizeof(struct covey_process),
                              CVY_OBJECT_PRIVATE, 0, &made, NULL);
    if (r < 0)
        return r;
    struct covey_process *p = made;
    p->creator = 0;
    p->member = cvy_member_owner();
    p->pid = cvy_os_pid();
    p->parent_pid = cvy_os_ppid();
    strcpy(p->name, "MainProcess");
    atomic_store(&p->flags, CVY_PROCESS_MAIN);
    atomic_store(&p->state, CVY_PROCESS_STARTED);
    cvy_own()->self = p;
    return 0;
}

struct covey_process *cvy_self(void)
{
    if (cvy_enter() < 0)
        return NULL;
    if (self_thread)
        return self_thread;
    if (cvy_own()->self)
        return cvy_own()->self;
    cvy_children_lock();
    int r = cvy_own()->self ? 0 : make_main_object();
    cvy_children_unlock();
    return r < 0 ? NULL : cvy_own()->self;
}

CVY_CHILD_CODE struct covey_process *cvy_self_unattached(void)
{
    return cvy_process_page && cvy_process_page->pending ? cvy_own()->self : NULL;
}

CVY_CHILD_CODE void cvy_self_become(struct covey_process *process)
{
    cvy_own()->self = process;
}

struct covey_process *cvy_self_thread(void)
{
    bool attached = cvy_process_page && atomic_load(&cvy_process_page->epoch);
    return attached ? self_thread : NULL; /* which may be the parent's, before a fork */
}

void cvy_self_renamed(const struct covey_process *process)
{
    if (process == self_thread)
        cvy_log_set_thread_name(process->name);
    else if (process->member == cvy_member_owner() && process->method != COVEY_THREAD)
        cvy_member_rename(process->name);
}

covey_process *covey_current_process(void)
{
    return cvy_self();
}

covey_process *covey_parent_process(void)
{
    struct covey_process *p = cvy_self();
    return p && p->parent ? cvy_at(p->parent) : NULL;
}

/* ---- the key ---- */

static int make_authkey(void)
{
    unsigned char key[32];
    if (authkey_size)
        return 0;
    int r = cvy_os_random(key, sizeof key);
    if (r < 0)
        return cvy_fail_os(r, "covey_authkey: random bytes");
    memcpy(authkey, key, sizeof key);
    authkey_size = sizeof key;
    return 0;
}

CVY_CHILD_CODE int cvy_self_make_authkey(void)
{
    cvy_children_lock();
    int r = make_authkey();
    cvy_children_unlock();
    return r;
}

size_t cvy_self_authkey(unsigned char key[256])
{
    cvy_children_lock();
    size_t size = make_authkey() < 0 ? 0 : authkey_size;
    memcpy(key, authkey, size);
    cvy_children_unlock();
    return size;
}

CVY_CHILD_CODE void cvy_self_take_authkey(const unsigned char *key, size_t size)
{
    bool same = size == authkey_size;
    for (size_t i = 0; i < size && same; i++)
        same = key[i] == authkey[i];
    if (!same && size) /* writing would copy a page */
        (void)!covey_set_authkey(COVEY_VIEW(key, size));
}

int covey_authkey(struct covey_bytes *ret_key)
{
    if (!ret_key)
        return cvy_fail(-EINVAL, "covey_authkey: no room for the answer");
    cvy_children_lock();
    int r = make_authkey();
    if (r >= 0)
        r = covey_bytes_resize(ret_key, authkey_size);
    if (r >= 0)
        memcpy(ret_key->data, authkey, authkey_size);
    cvy_children_unlock();
    return r;
}

int covey_set_authkey(struct covey_view key)
{
    if (key.size > sizeof authkey || !key.size || !key.data)
        return cvy_fail(-EINVAL, "covey_set_authkey: a key has 1 to %zu bytes",
                        sizeof authkey);
    cvy_children_lock();
    memset(authkey, 0, sizeof authkey);
    memcpy(authkey, key.data, key.size);
    authkey_size = key.size;
    cvy_children_unlock();
    return 0;
}
