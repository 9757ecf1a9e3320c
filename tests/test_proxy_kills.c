/* SPDX-License-Identifier: MIT */
/* Processes killed at any instruction of making a proxy or letting one go: what they alone
 * referred to goes from the manager, and what others refer to stays. */
#include "kill_points.h"
#include "object_help.h"
#include "process_help.h"

#define LONG COVEY_SEC(60) /* whoever takes longer hangs; a step is slow */

/* Seen by all processes of a test. */
static struct scene {
    covey_manager *manager;
    covey_proxy *dict;
    covey_proxy *proxy; /* the victim's */
} scene;

static void make_scene(void)
{
    kill_points_need();
    CHECK_OK(covey_manager_start(&scene.manager, NULL));
    scene.dict = new_object(scene.manager, "dict");
}

static void end_scene(void)
{
    covey_proxy_free(scene.dict);
    manager_end(scene.manager);
}

static covey_proxy *iterator(void)
{
    covey_proxy *made = NULL;
    CHECK_OK(covey_proxy_call_proxy(scene.dict, &made, "__iter__", NULL, NULL, LONG));
    return made;
}

/* Only the dict is left, with one reference, and it works. */
static const char *is_as_before(void *unused)
{
    (void)unused;
    struct covey_bytes info = {0};
    bool is_one = false;
    size_t count = 0;
    int64_t until = cvy_os_deadline(LONG);
    do {
        if (cvy_os_now() > until)
            return count > 1 ? "objects stay in the manager" : "references stay there";
        CHECK_OK(covey_manager_count(scene.manager, &count));
        CHECK_OK(covey_manager_debug_info(scene.manager, &info));
        is_one = strstr(info.data, "refcount=1\n") != NULL;
    } while (count > 1 || (count && !is_one));
    covey_bytes_free(&info);
    if (count < 1)
        return "the dict has gone";
    holds(scene.dict, "{}");
    return NULL;
}

/* With a connection, and what only the first request needs. */
static void connect(void *unused)
{
    (void)unused;
    CHECK_OK(cvy_enter());
    CHECK_OK(covey_hold(scene.manager));
    CHECK_OK(covey_hold(scene.dict));
    covey_proxy_free(iterator());
}

static void connect_and_iterate(void *unused)
{
    connect(unused);
    scene.proxy = iterator();
}

static void iterate(void *unused)
{
    (void)unused;
    scene.proxy = iterator();
}

static void create(void *unused)
{
    (void)unused;
    scene.proxy = new_object(scene.manager, "list");
}

static void refer(void *unused)
{
    (void)unused;
    covey_value *value = NULL;
    CHECK_OK(covey_proxy_to_value(scene.dict, &value));
    CHECK_OK(covey_proxy_from_value(&scene.proxy, scene.manager, value));
    covey_value_free(value);
}

static void let_go(void *unused)
{
    (void)unused;
    covey_proxy_free(scene.proxy);
}

static void kill_points_of(const char *name, void (*prepare)(void *),
                           void (*operate)(void *), long most)
{
    make_scene();
    struct kill_points p = {
        .name = name, .prepare = prepare, .operate = operate, .after = is_as_before};
    kill_points_run(&p, most);
    end_scene();
}

TEST_TIMEOUT(killed_while_a_method_returns_an_object, 3600)
{
    kill_points_of("return", connect, iterate, family_long(30, 2000));
}

/* These make connections of their own, with all the cryptography of that. */
TEST_TIMEOUT(killed_while_creating, 3600)
{
    kill_points_of("create", connect, create, family_long(4, 300));
}

TEST_TIMEOUT(killed_while_making_a_proxy_of_a_value, 3600)
{
    kill_points_of("refer", connect, refer, family_long(4, 300));
}

TEST_TIMEOUT(killed_while_letting_go, 3600)
{
    kill_points_of("let go", connect_and_iterate, let_go, family_long(4, 300));
}

CHECK_MAIN()
