/* SPDX-License-Identifier: MIT */
/* scenario.c: a stranger's program under the proof; scenario.h is its side of it.
 *
 *   tracer                            program
 *     listens at a name of its own,     a process of it, the victim, connects and sends the
 *     starts the program  ----------->  id of its thread, and waits
 *     seizes that thread, lets it go  ->  runs n instructions, one by one
 *     kills the victim                  the others go on, and the program's status tells
 *
 * The first run goes to the end of the operation and counts its instructions. */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

#define MOST_POINTS 1000 /* unless they are all wanted */

struct run {
    const struct program *program;
    /* of the program, but for the victim, which is at the tracer's */
    cpu_set_t processors;
    int listener, output; /* what the program says goes there */
    char name[64];
    int pid;    /* the program's */
    int victim; /* its process */
    struct stepper stepper;
    long steps;   /* that the victim has made */
    bool is_over; /* it came to crash_end */
    int status;   /* of the program */
    int64_t killed, ended;
    char what[512]; /* is wrong */
    char place[256];
};

static void fault(struct run *run, const char *what)
{
    if (!run->what[0])
        snprintf(run->what, sizeof run->what, "%s", what);
}

/* ---- the program ---------------------------------------------------------------- */

static int listen_at(struct run *run)
{
    static unsigned number;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(run->name, sizeof run->name, "covey-crash-%d-%u", (int)getpid(), ++number);
    size_t size = strlen(run->name);
    memcpy(address.sun_path + 1, run->name, size);
    run->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size);
    return run->listener < 0 ||
                   bind(run->listener, (struct sockaddr *)&address, length) < 0
               ? -1
               : listen(run->listener, 1);
}

_Noreturn static void be_program(const struct run *run)
{
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "exec %s", run->program->scenario);
    (void)sched_setaffinity(0, sizeof run->processors, &run->processors);
    setenv("COVEY_CRASH", run->name, 1);
    dup2(run->output, STDOUT_FILENO);
    dup2(run->output, STDERR_FILENO);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* The last thing that it said. */
static void last_words(const struct run *run, char *text, size_t size)
{
    off_t end = lseek(run->output, 0, SEEK_END);
    off_t from = end > (off_t)size - 1 ? end - (off_t)size + 1 : 0;
    ssize_t n = pread(run->output, text, size - 1, from);
    text[n > 0 ? n : 0] = '\0';
    while (n > 0 && text[n - 1] == '\n')
        text[--n] = '\0';
    const char *line = strrchr(text, '\n');
    if (line)
        memmove(text, line + 1, strlen(line));
}

/* Whether it has ended; whatever else ended is reaped, too. */
static bool has_ended(struct run *run)
{
    int status, pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == run->pid && (WIFEXITED(status) || WIFSIGNALED(status))) {
            run->status = status;
            run->ended = cvy_os_now();
            run->pid = 0;
        }
    return !run->pid;
}

/* ---- the victim ------------------------------------------------------------------ */

/* Where its next instruction is: file+offset, as addr2line wants it. */
static void note_place(struct run *run)
{
    char path[64], line[PATH_MAX + 128];
    unsigned long at = stepper_place(&run->stepper), from, to, offset;
    snprintf(run->place, sizeof run->place, "%#lx", at);
    snprintf(path, sizeof path, "/proc/%d/maps", run->victim);
    FILE *maps = fopen(path, "re");
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %*s %lx", &from, &to, &offset) == 3 && at >= from &&
            at < to && strchr(line, '/')) {
            char *file = strchr(line, '/');
            file[strcspn(file, "\n")] = '\0';
            snprintf(run->place, sizeof run->place, "%.200s+%#lx", file,
                     at - from + offset);
        }
    if (maps)
        fclose(maps);
}

/* Returns: a connection that lets it go, -1 if there is no victim. */
static int await_victim(struct run *run)
{
    struct pollfd entry = {.fd = run->listener, .events = POLLIN};
    int64_t end = cvy_os_deadline(run->program->options.limit);
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    while (poll(&entry, 1, 1) == 0)
        if (has_ended(run) || cvy_os_now() > end) {
            fault(run, run->pid ? "nobody has called crash_begin in time"
                                : "it has ended, and nobody had called crash_begin");
            return -1;
        }
    int fd = accept4(run->listener, NULL, NULL, SOCK_CLOEXEC);
    close(run->listener); /* one is enough */
    run->listener = -1;
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
        read(fd, &run->stepper.pid, sizeof(int)) != (ssize_t)sizeof(int)) {
        fault(run, "the victim has not said who it is");
        close(fd);
        return -1;
    }
    run->victim = peer.pid;
    return fd;
}

static bool seize(struct run *run)
{
    cpu_set_t here;
    int thread = run->stepper.pid, status = 0;
    if (ptrace(PTRACE_SEIZE, thread, NULL, PTRACE_O_EXITKILL) < 0 ||
        ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) < 0 ||
        waitpid(thread, &status, 0) != thread || !WIFSTOPPED(status)) {
        fault(run, "the victim may not be traced");
        return false;
    }
    if (sched_getaffinity(0, sizeof here, &here) == 0)
        (void)sched_setaffinity(thread, sizeof here, &here);
    return true;
}

/* One step more. Returns: false when it is over, asleep for good, or gone. */
static bool step(struct run *run, int64_t deadline)
{
    struct stepper *s = &run->stepper;
    enum stepper_event event = stepper_step(s, deadline);
    while (event == STEPPER_LOST && WIFSTOPPED(s->status)) {
        if (WSTOPSIG(s->status) == SIGSTOP && s->status >> 16 == 0) {
            run->is_over = true;
            return false;
        }
        s->signal = s->status >> 16 ? 0 : WSTOPSIG(s->status);
        event = stepper_step(s, deadline);
    }
    if (event == STEPPER_LOST)
        return false;
    run->steps += event == STEPPER_STEPPED;
    return event == STEPPER_STEPPED || cvy_os_now() < deadline;
}

/* Up to `most` instructions, less if it ends, or sleeps for as long as nobody may. */
static void step_through(struct run *run, int fd, long most)
{
    if (write(fd, "", 1) != 1)
        fault(run, "the victim has gone");
    close(fd);
    int64_t deadline = cvy_os_deadline(run->program->options.limit);
    while (run->steps < most && step(run, deadline))
        if (!run->stepper.asleep)
            deadline = cvy_os_deadline(run->program->options.limit);
    note_place(run);
}

/* ---- what is left ----------------------------------------------------------------- */

static void end_all(void)
{
    char path[64], pids[4096];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (int i = 0; i < 1000; i++) {
        FILE *file = fopen(path, "re");
        size_t n = file ? fread(pids, 1, sizeof pids - 1, file) : 0;
        if (file)
            fclose(file);
        pids[n] = '\0';
        char *rest = NULL;
        for (char *at = strtok_r(pids, " ", &rest); at; at = strtok_r(NULL, " ", &rest))
            kill(atoi(at), SIGKILL);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (!n)
            return;
        usleep(1000);
    }
}

static bool is_alone(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return waitpid(-1, NULL, WNOHANG) < 0;
}

/* The judge is the program itself, if it is not the victim. */
static void judge(struct run *run)
{
    char words[200];
    bool killed = run->killed && run->victim == run->pid;
    int64_t end = cvy_os_deadline(run->program->options.limit);
    while (!has_ended(run) && cvy_os_now() < end)
        usleep(100);
    last_words(run, words, sizeof words);
    if (run->pid)
        fault(run, "the program hangs");
    else if (WIFSIGNALED(run->status) && !killed)
        snprintf(run->what, sizeof run->what, "the program died of signal %d: %s",
                 WTERMSIG(run->status), words);
    else if (WIFEXITED(run->status) && WEXITSTATUS(run->status))
        snprintf(run->what, sizeof run->what, "status %d: %s", WEXITSTATUS(run->status),
                 words);
    while (!run->what[0] && !is_alone())
        if (cvy_os_now() > end)
            fault(run, "it left processes behind");
        else
            usleep(100);
    end_all();
}

/* ---- runs ------------------------------------------------------------------------- */

/* Kill after `point` instructions; LONG_MAX: let it come to the end. */
static void try_point(struct run *run, const struct program *p, long point)
{
    cpu_set_t processors = run->processors;
    memset(run, 0, sizeof *run);
    run->processors = processors;
    run->program = p;
    run->listener = -1;
    run->stepper.any_call = true;
    run->output = memfd_create("output", MFD_CLOEXEC);
    if (run->output < 0 || listen_at(run) < 0) {
        fault(run, "no descriptors for a run");
    } else {
        fflush(NULL);
        run->pid = fork();
        if (run->pid == 0)
            be_program(run);
        int fd = await_victim(run);
        if (fd >= 0 && seize(run)) {
            step_through(run, fd, point);
            run->killed = run->is_over ? 0 : cvy_os_now();
            if (run->is_over)
                ptrace(PTRACE_DETACH, run->stepper.pid, NULL, NULL);
            else
                kill(run->victim, SIGKILL);
        } else if (fd >= 0) {
            close(fd);
        }
        judge(run);
    }
    if (run->listener >= 0)
        close(run->listener);
    if (run->output >= 0)
        close(run->output);
}

static void say_failure(struct program *p, const struct run *run, long point)
{
    if (!p->failed++)
        printf("    FAILED after instruction %ld (%s): %s\n", point, run->place,
               run->what);
    fflush(stdout);
}

int run_scenario(struct program *p)
{
    static struct run run;
    if (!p->options.limit)
        p->options.limit = COVEY_SEC(5);
    prctl(PR_SET_CHILD_SUBREAPER, 1L);
    (void)stepper_pin(&run.processors, sizeof run.processors);
    try_point(&run, p, LONG_MAX);
    if (run.what[0] || !run.is_over) {
        printf("%s: unhurt, %s\n", p->scenario,
               run.what[0] ? run.what : "the victim does not come to crash_end");
        return 2;
    }
    long all = run.steps, most = p->most ? p->most : MOST_POINTS;
    most = p->at_length || all < most ? all : most;
    printf("%s: %ld points of %ld\n", p->scenario, most, all);
    for (long i = 0; i < most; i++) {
        long point = i * all / most;
        try_point(&run, p, point);
        p->points += run.killed != 0; /* else the operation was shorter this time */
        if (run.what[0])
            say_failure(p, &run, point);
        else if (run.killed)
            p->slowest = cvy_max_i64(p->slowest, run.ended - run.killed);
    }
    printf("%ld kill points, %ld failed; slowest end %.1f ms\n", p->points, p->failed,
           (double)p->slowest / 1e6);
    return p->failed > 0;
}
