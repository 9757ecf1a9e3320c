/* SPDX-License-Identifier: MIT */
/* Starters, children, spares and fork servers killed at any instruction of a start and of
 * an end. Nobody is left over, nobody hangs, what the dead held is free.
 *
 * Left out, as stepping through it takes hours: the loader and libc's beginning in an image
 * that was spawned. There the first point is a constructor of the program's. */
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

#include "process_help.h"
#include "stepper.h"

#define LONG COVEY_SEC(10) /* whoever takes longer hangs */

/* Who is killed while what happens. */
struct scene {
    const char *name;
    void (*open)(void); /* the victim is there, traced by this thread, and stopped */
    /* Whether what is looked at has come to its end, if not with the victim. */
    bool (*is_over)(void);
    const char *(*close)(
        void);   /* the victim is dead. Returns: NULL, or what is wrong */
    long points; /* as many are tried, 0: all */
};

/* A process that waits to be traced. */
struct found {
    cvy_word pid, go;
};

/* In memory that all processes have at one address. */
struct place {
    struct stepper_progress progress;
    struct found found;
};
static struct place *place;

static struct stepper victim;
static bool has_ended; /* the victim, by itself */
static struct covey_family_usage before;
static covey_process *process;

/* ---- points -------------------------------------------------------------------- */

/* One instruction further. Returns: whether it has not come to an end. */
static bool step(const struct scene *scene)
{
    int64_t until = cvy_os_deadline(LONG);
    enum stepper_event event;
    while ((event = stepper_step(&victim, cvy_os_now() + COVEY_MSEC(1))) ==
           STEPPER_ASLEEP) {
        if (scene->is_over && scene->is_over())
            return false;
        if (cvy_os_now() > until)
            check_failed(__FILE__, __LINE__, "%s: it sleeps for ever", scene->name);
    }
    has_ended = event == STEPPER_LOST && WIFEXITED(victim.status);
    if (event == STEPPER_LOST && !has_ended &&
        !(WIFSTOPPED(victim.status) && WSTOPSIG(victim.status) == SIGCHLD))
        check_failed(__FILE__, __LINE__, "%s: a step ended with status %#x",
                     scene->name, (unsigned)victim.status);
    return !has_ended;
}

/* Kill after `limit` instructions or at the end. Returns: how many were run. */
static long run_to(const struct scene *scene, long limit)
{
    char at[256] = "";
    long n = 0;
    has_ended = false;
    atomic_store(&place->progress.begun, 0);
    atomic_store(&place->progress.done, 0);
    place->found = (struct found){0};
    scene->open();
    while (n < limit && !(scene->is_over && scene->is_over()) && step(scene))
        n++;
    if (!has_ended) {
        stepper_describe(&victim, at, sizeof at);
        CHECK_EQ(kill(victim.pid, SIGKILL), 0);
    }
    const char *wrong = scene->close();
    if (wrong)
        check_failed(__FILE__, __LINE__,
                     "%s: killed after instruction %ld, before %s: %s", scene->name, n,
                     at, wrong);
    return n;
}

static void run_scene(const struct scene *scene)
{
    cpu_set_t all;
    CHECK_EQ(stepper_pin(&all, sizeof all), 0);
    (void)run_to(scene, 0); /* what is there only once */
    before = family_usage();
    long count = run_to(scene, 100000000), tried = 1;
    long stride = scene->points && count > scene->points ? count / scene->points : 1;
    for (long n = 0; n < count; n += stride, tried++)
        run_to(scene, n);
    fprintf(stderr, "%s: %ld of %ld points\n", scene->name, tried, count + 1);
    CHECK_EQ(sched_setaffinity(0, sizeof all, &all), 0);
}

static void begin(void)
{
    if (SANITIZED || !stepper_works())
        SKIP(
            "processes may not be traced here, or a sanitizer makes ten steps of each");
    void *object = NULL;
    cvy_ref body = 0;
    (void)cvy_os_is_multicore(); /* before all share one processor */
    CHECK(cvy_self() != NULL);
    CHECK_OK(cvy_object_create(CVY_KIND_TEST, sizeof(struct cvy_object), 0,
                               sizeof *place, &object, &body));
    place = cvy_at(body);
    memset(place, 0, sizeof *place);
}

static bool is_done(void)
{
    return stepper_is_done(&victim);
}

/* Be the tracer of a process that somebody else may have started. */
static void attach_to(int pid)
{
    int status = 0;
    victim = (struct stepper){
        .name = "the victim", .progress = &place->progress, .pid = pid};
    victim.any_call = true;
    CHECK_EQ(ptrace(PTRACE_ATTACH, pid, NULL, NULL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSTOPPED(status));
}

/* ---- what must be as before ------------------------------------------------------- */

static const char *check_usage(void)
{
    static char text[100];
    cvy_members_sweep_asking();
    struct covey_family_usage now = family_usage();
    cvy_region_lock();
    const char *wrong = cvy_alloc_check();
    cvy_region_unlock();
    if (wrong)
        return wrong;
    snprintf(text, sizeof text, "%d members, %d threads, %d objects, %ld bytes more",
             (int)(now.members - before.members), (int)(now.threads - before.threads),
             (int)(now.objects - before.objects), (long)(now.used - before.used));
    bool same = now.members == before.members && now.threads == before.threads &&
                now.objects == before.objects && now.used == before.used;
    return same || !before.members ? NULL : text;
}

/* All descendants end, and this process, which inherits them, reaps them. */
static const char *check_nobody_is_left(void)
{
    int64_t until = cvy_os_deadline(LONG);
    for (int pid; (pid = waitpid(-1, NULL, WNOHANG)) >= 0 || errno == EINTR;) {
        if (pid == 0 && cvy_os_now() > until)
            return "somebody lives on who should have ended";
        if (pid == 0)
            usleep(200);
    }
    return check_usage();
}

/* The process was killed, or came to its end by itself. */
static const char *check_end(int wanted)
{
    static char text[60];
    int code = 0;
    if (covey_process_join(process, LONG) < 0)
        return "it cannot be joined";
    CHECK_OK(covey_process_exitcode(process, &code));
    covey_process_free(process);
    snprintf(text, sizeof text, "its exit code is %d", code);
    if (code != wanted && (has_ended || code != -SIGKILL))
        return text;
    return check_usage();
}

/* ---- a starter is killed ------------------------------------------------------------ */

static enum covey_start_method method;

/* Its child inherits a hold of it, and waits for ever. */
static int wait_for(struct covey_view arg)
{
    covey_event *event = *(covey_event *const *)arg.data;
    return covey_event_wait(event, COVEY_FOREVER);
}

static void prepare_starter(void *unused)
{
    (void)unused;
    covey_event *event;
    CHECK_OK(covey_event_create(&event, NULL));
    process =
        made(wait_for, COVEY_VIEW_OF(event), COVEY_PROCESS_OPTS(.method = method));
}

static void start_it(void *unused)
{
    (void)unused;
    CHECK_OK(covey_process_start(process));
}

static void open_starter(void)
{
    victim = (struct stepper){.name = "the starter",
                              .prepare = prepare_starter,
                              .operate = start_it,
                              .any_call = true,
                              .progress = &place->progress};
    CHECK_EQ(stepper_start(&victim), 0);
}

/* A start by exec has tens of thousands of instructions. */
static long points_of_method(enum covey_start_method how)
{
    return how == COVEY_FORK ? family_long(10, 0) : family_long(3, 1000);
}

TEST_EACH_METHOD_TIMEOUT(starter_is_killed_in_start, 3600)
{
    static const char *const names[] = {[COVEY_FORK] = "starts by fork",
                                        [COVEY_SPAWN] = "starts by spawn",
                                        [COVEY_FORKSERVER] = "starts by forkserver"};
    method = check_method();
    begin();
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    run_scene(&(struct scene){.name = names[method],
                              .open = open_starter,
                              .is_over = is_done,
                              .close = check_nobody_is_left,
                              .points = points_of_method(method)});
}

static void prepare_joiner(void *unused)
{
    (void)unused;
    siginfo_t info;
    process = started(do_nothing, COVEY_NO_VIEW, COVEY_PROCESS_OPTS(.method = method));
    CHECK_EQ(waitid(P_PID, (id_t)pid_of(process), &info, WEXITED | WNOWAIT), 0);
}

static void join_it(void *unused)
{
    (void)unused;
    CHECK_OK(covey_process_join(process, COVEY_FOREVER));
    covey_process_free(process);
}

static void open_joiner(void)
{
    victim = (struct stepper){.name = "the starter",
                              .prepare = prepare_joiner,
                              .operate = join_it,
                              .any_call = true,
                              .progress = &place->progress};
    CHECK_EQ(stepper_start(&victim), 0);
}

TEST_TIMEOUT(starter_is_killed_in_join, 3600)
{
    method = COVEY_FORK;
    begin();
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    run_scene(&(struct scene){.name = "joins",
                              .open = open_joiner,
                              .is_over = is_done,
                              .close = check_nobody_is_left,
                              .points = family_long(8, 0)});
}

/* ---- a child is killed between its birth and its function ---------------------------- */

/* In the victim. Returns when it is traced, or if another one is the victim. */
static void be_found(struct found *f)
{
    uint32_t nobody = 0;
    if (atomic_compare_exchange_strong(&f->pid, &nobody, (uint32_t)getpid()))
        while (!atomic_load(&f->go))
            sched_yield();
}

static void find(struct found *f)
{
    uint32_t pid;
    while (!(pid = atomic_load(&f->pid)))
        sched_yield();
    attach_to((int)pid);
    atomic_store(&f->go, 1);
}

static bool stops_at_birth; /* in a parent */

/* Before all other handlers: the first thing that a child by fork does. */
static void be_born(void)
{
    if (stops_at_birth)
        be_found(&place->found);
}

__attribute__((constructor(101))) static void stop_children_at_birth(void)
{
    (void)pthread_atfork(NULL, NULL, be_born);
}

/* The function: that it is called ends the operation. */
static int reach_target(struct covey_view arg)
{
    struct place *at = *(struct place *const *)arg.data;
    atomic_store(&at->progress.done, 1);
    family_pause();
}

static covey_process *make_child(enum covey_start_method how, covey_target_fn *fn)
{
    return made(fn, COVEY_VIEW_OF(place), COVEY_PROCESS_OPTS(.method = how));
}

static void open_newborn(void)
{
    process = make_child(COVEY_FORK, reach_target);
    stops_at_birth = true;
    CHECK_OK(covey_process_start(process));
    stops_at_birth = false;
    find(&place->found);
}

static const char *close_child(void)
{
    return check_end(0);
}

TEST_TIMEOUT(child_by_fork_is_killed_before_its_function, 3600)
{
    begin();
    run_scene(&(struct scene){.name = "born by fork",
                              .open = open_newborn,
                              .is_over = is_done,
                              .close = close_child,
                              .points = family_long(20, 0)});
}

/* ---- in an image that was spawned ---- */

/* In a file: the region is not there yet. */
static struct found *found;
#define FOUND "COVEY_TEST_POINTS"

__attribute__((constructor(101))) static void let_find(void)
{
    const char *path = getenv(FOUND);
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    struct found *f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (f == MAP_FAILED)
        _exit(1);
    be_found(f);
    munmap(f, sizeof *f);
}

static int started_with;
static pthread_t starter;
static cvy_word start_has_returned;

static void *start_aside(void *unused)
{
    started_with = covey_process_start(process);
    atomic_store(&start_has_returned, 1);
    return unused;
}

/* Signals are for the thread that steps the victim. */
static void start_in_thread(void *(*act)(void *))
{
    sigset_t all, was;
    sigfillset(&all);
    atomic_store(&start_has_returned, 0);
    pthread_sigmask(SIG_BLOCK, &all, &was);
    CHECK_EQ(pthread_create(&starter, NULL, act, NULL), 0);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
}

static const char *await_start(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LONG / COVEY_SEC(1);
    return pthread_timedjoin_np(starter, NULL, &until) ? "start hangs" : NULL;
}

static void open_image(void)
{
    process = make_child(COVEY_SPAWN, reach_target);
    *found = (struct found){0};
    start_in_thread(start_aside);
    find(found);
}

/* Killed before it said that all is well, it makes start fail; after, it was started. */
static const char *close_image(void)
{
    const char *wrong = await_start();
    if (wrong || started_with >= 0)
        return wrong ? wrong : check_end(0);
    covey_process_free(process);
    return started_with == COVEY_ESTART ? check_usage()
                                        : covey_error_name(started_with);
}

TEST_TIMEOUT(child_by_spawn_is_killed_before_its_function, 3600)
{
    char path[] = "/tmp/covey-points-XXXXXX";
    begin();
    int fd = mkstemp(path);
    CHECK(fd >= 0 && ftruncate(fd, sizeof *found) == 0);
    found = mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(found != MAP_FAILED);
    close(fd);
    CHECK_EQ(setenv(FOUND, path, 1), 0);
    run_scene(&(struct scene){.name = "born by spawn",
                              .open = open_image,
                              .is_over = is_done,
                              .close = close_image,
                              .points = points_of_method(COVEY_SPAWN)});
    CHECK_EQ(unsetenv(FOUND), 0);
    CHECK_EQ(unlink(path), 0);
    munmap(found, sizeof *found);
}

/* ---- the fork server and its spares ---- */

/* This thread's children, the oldest first: its server and then the spares. */
static int child_at(int index)
{
    char path[64], pids[1024], *at = pids;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    pids[fread(pids, 1, sizeof pids - 1, file)] = '\0';
    fclose(file);
    while (index-- > 0 && at)
        at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL;
    return at ? atoi(at) : 0;
}

/* There is a server, and as many spares as are wanted, and all sleep. */
static void have_server(size_t spares)
{
    CHECK_OK(covey_set_forkserver_spares(spares));
    covey_process *p = make_child(COVEY_FORKSERVER, do_nothing);
    CHECK_OK(covey_process_start(p));
    CHECK_EQ(end_of(p), 0);
    for (int i = 0; i <= (int)spares; i++) {
        int pid;
        while (!(pid = child_at(i)))
            sched_yield();
        await_sleep(pid);
    }
}

static void open_spare(void)
{
    have_server(1);
    attach_to(child_at(1));
    process = make_child(COVEY_FORKSERVER, reach_target);
    CHECK_OK(covey_process_start(process));
}

TEST_TIMEOUT(spare_is_killed_before_its_function, 3600)
{
    begin();
    run_scene(&(struct scene){.name = "born a spare",
                              .open = open_spare,
                              .is_over = is_done,
                              .close = close_child,
                              .points = family_long(20, 0)});
    cvy_forkserver_stop();
}

static void open_server(void)
{
    have_server(0);
    attach_to(child_at(0));
    process = make_child(COVEY_FORKSERVER, do_nothing);
    start_in_thread(start_aside);
}

static bool server_rests(void)
{
    return atomic_load(&start_has_returned);
}

/* A start whose server is killed has another one. */
static const char *close_server(void)
{
    const char *wrong = await_start();
    if (!wrong && started_with < 0)
        wrong = covey_error_name(started_with);
    int code = 0;
    if (!wrong && covey_process_join(process, LONG) < 0)
        wrong = "it cannot be joined";
    if (!wrong)
        CHECK_OK(covey_process_exitcode(process, &code));
    covey_process_free(process);
    cvy_forkserver_stop();
    if (!wrong && code)
        wrong = "the child failed";
    if (!wrong && child_at(0))
        wrong = "a child is left";
    return wrong ? wrong : check_usage();
}

TEST_TIMEOUT(server_is_killed_while_it_clones, 3600)
{
    begin();
    run_scene(&(struct scene){.name = "clones",
                              .open = open_server,
                              .is_over = server_rests,
                              .close = close_server,
                              .points = family_long(20, 0)});
}

/* ---- a pool's worker is killed before its first item ---------------------------------- */

enum { ITEMS = 4 };

static int next(struct covey_call *call)
{
    uint64_t x = *(const uint64_t *)covey_call_arg(call, NULL) + 1;
    if (atomic_load(&place->found.pid) == (uint32_t)getpid())
        atomic_store(&place->progress.done, 1);
    return covey_call_return(call, &x, sizeof x);
}

static void *map_aside(void *unused)
{
    uint64_t x[ITEMS] = {1, 2, 3, 4};
    covey_pool *pool = NULL;
    started_with = covey_pool_create(
        &pool, 1, COVEY_POOL_OPTS(.method = COVEY_FORK, .retries = 2));
    if (started_with >= 0)
        started_with = covey_pool_map(pool, next, x, sizeof *x, x, sizeof *x, ITEMS,
                                      COVEY_MAP_OPTS(.chunksize = 1));
    for (uint64_t i = 0; i < ITEMS && started_with >= 0; i++)
        if (x[i] != i + 2)
            started_with = -EBADMSG;
    covey_pool_free(pool);
    return unused;
}

static void open_worker(void)
{
    stops_at_birth = true;
    start_in_thread(map_aside);
    find(&place->found);
    stops_at_birth = false;
}

static const char *close_worker(void)
{
    const char *wrong = await_start();
    if (!wrong && started_with < 0)
        wrong = covey_error_name(started_with);
    return wrong ? wrong : check_usage();
}

TEST_TIMEOUT(worker_is_killed_before_its_first_item, 3600)
{
    begin();
    run_scene(&(struct scene){.name = "born a worker",
                              .open = open_worker,
                              .is_over = is_done,
                              .close = close_worker,
                              .points = family_long(20, 0)});
}

/* ---- a child is killed on its way out ------------------------------------------------- */

static int leave(struct covey_view arg)
{
    struct place *at = *(struct place *const *)arg.data;
    be_found(&at->found);
    return 7;
}

static void open_leaver(void)
{
    process = make_child(method, leave);
    CHECK_OK(covey_process_start(process));
    find(&place->found);
}

static const char *close_leaver(void)
{
    return check_end(7);
}

TEST_EACH_METHOD_TIMEOUT(child_is_killed_on_its_way_out, 3600)
{
    static const char *const names[] = {[COVEY_FORK] = "ends, born by fork",
                                        [COVEY_SPAWN] = "ends, born by spawn",
                                        [COVEY_FORKSERVER] = "ends, born a clone"};
    method = check_method();
    begin();
    run_scene(&(struct scene){.name = names[method],
                              .open = open_leaver,
                              .close = close_leaver,
                              .points = family_long(10, 1000)});
    cvy_forkserver_stop();
}

CHECK_MAIN()
