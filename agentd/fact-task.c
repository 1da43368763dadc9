/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "child.h"
#include "fact-internal.h"
#include "fact-task.h"
#include "fact.h"
#include "loader.h"
#include "log.h"
#include "paths.h"
#include "sandbox.h"
#include "value-json.h"

#define PIPE_FD 3

/* What the child writes: one of these, then JSON, or what went wrong. */
enum {
        SAY_SAME = 's',
        SAY_CHANGED = 'c',
        SAY_ERROR = 'e',
};

#define SCRATCH_BYTES GIB(1)
#define ERROR_MAX     512
#define READ_SIZE     KIB(64)

/* How long a child that was told to go may take, before it is killed and no longer waited for. */
#define LEAVE_USEC USEC_PER_SEC

struct FactTask {
        const FactTaskHandlers *handlers;
        void *userdata;
        pid_t pid;
        int fd;
        char *output;
        size_t size, allocated;
        unsigned n_timeouts;
        bool too_much, out_of_memory;
        bool told;
        sd_event_source *io, *child, *timer;
};

/* ---- The child ------------------------------------------------------------------------------------------------- */

static _noreturn_ void say(char what, const char *text, size_t size) {
        if (write_full(PIPE_FD, &what, 1) < 0 || write_full(PIPE_FD, text, size) < 0)
                _exit(EXIT_FAILURE);
        _exit(EXIT_SUCCESS);
}

static _noreturn_ void say_error(const char *text) {
        say(SAY_ERROR, text, strlen(text));
}

static void arena_is_full(_unused_ Arena *arena, _unused_ size_t wanted) {
        say_error("the facts need more memory than they may take");
}

static void on_term(_unused_ int signal) {
        fact_programs_kill();
        _exit(EXIT_FAILURE);
}

static int setup(int fd, pid_t engine, const FactTaskOptions *options, int *ret_root_fd) {
        const int keep[] = { STDERR_FILENO, PIPE_FD };
        struct sigaction term = { .sa_handler = on_term };
        int r;

        log_open_journal(false);
        child_reset_signals();
        if (fd != PIPE_FD && dup3(fd, PIPE_FD, O_CLOEXEC) < 0)
                return -errno;
        close_descriptors(0, keep, ELEMENTSOF(keep));
        /* Programs have sessions of their own: they go by what this does, also when the engine is killed. */
        if (sigaction(SIGTERM, &term, NULL) < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
                return -errno;
        if (getppid() != engine)
                return -ESRCH;
        if (setsid() < 0)
                return -errno;
        (void) prctl(PR_SET_NAME, "agentd-facts");
        (void) setrlimit(RLIMIT_CORE, &(struct rlimit){});
        r = child_open_null(STDERR_FILENO);
        if (r < 0)
                return r;
        r = path_open_root(options->root, ret_root_fd);
        if (r < 0)
                return r;
        /* That of the loader, since programs inherit it: facts have to be the same here and there. */
        return limit_memory(LOAD_MEMORY_BYTES);
}

static bool has_changed(const Image *image, const Value *facts) {
        const ImageFact *noted = image_array(image, facts, ImageFact);

        for (uint32_t i = 0; i < image->header->facts.n; i++) {
                uint8_t hash[FACT_HASH_SIZE];

                fact_hash(facts, image_text(image, noted[i].name), hash);
                if (memcmp(hash, noted[i].hash, sizeof(hash)) != 0)
                        return true;
        }
        return false;
}

static _noreturn_ void child_main(const FactTaskOptions *options, int fd, pid_t engine) {
        const FactsOptions gather = { .directories = options->directories,
                .deadline_usec = options->deadline_usec };
        Diagnostics warnings = {};
        Arena arena = {};
        json_t *json;
        char *dump;
        Value facts;
        int root_fd = -EBADF, r;
        char what;

        r = setup(fd, engine, options, &root_fd);
        if (r >= 0)
                r = arena_map(&arena, SCRATCH_BYTES, arena_is_full);
        if (r < 0)
                say_error(strerror(-r));

        /* Local facts that are broken are told when roles are loaded, not each time that somebody looks. */
        warnings.arena = &arena;
        r = facts_gather(&arena, root_fd, &gather, &facts, &warnings);
        if (r < 0)
                say_error(strerror(-r));
        what = options->image && has_changed(options->image, &facts) ? SAY_CHANGED : SAY_SAME;
        if (!options->want_json)
                say(what, "", 0);

        json = value_to_json(&facts);
        dump = json ? json_dumps(json, JSON_COMPACT) : NULL;
        if (!dump)
                arena_is_full(&arena, 0);
        if (strlen(dump) > FACT_TASK_OUTPUT_MAX)
                say_error("the facts are larger than 4 MiB; those in facts.d must be shorter");
        say(what, dump, strlen(dump));
}

/* ---- The engine ------------------------------------------------------------------------------------------------ */

/* What is left when nobody waits for it any more. */
static void let_go(FactTask *task) {
        if (task->pid <= 0)
                return;
        (void) kill(task->pid, SIGTERM);
        task->pid = 0;
        /* From here on it belongs to the event loop, which reaps it when it ends: also one that hangs in the kernel. */
        (void) sd_event_source_set_userdata(task->child, NULL);
        (void) sd_event_source_set_floating(task->child, true);
}

FactTask *fact_task_free(FactTask *task) {
        if (!task)
                return NULL;
        sd_event_source_disable_unref(task->io);
        sd_event_source_disable_unref(task->timer);
        if (task->child && task->pid > 0) {
                let_go(task);
                sd_event_source_unref(task->child);
        } else {
                sd_event_source_disable_unref(task->child);
                /* It was never given to the event loop. */
                if (task->pid > 0) {
                        (void) kill(task->pid, SIGKILL);
                        (void) waitpid(task->pid, NULL, 0);
                }
        }
        safe_close(task->fd);
        free(task->output);
        free(task);
        return NULL;
}

/* The handler may free the task: nothing of it may be used after this. */
static void tell(FactTask *task, const char *error) {
        bool changed = !error && *task->output == SAY_CHANGED;
        const char *json = !error && task->size > 1 ? task->output + 1 : NULL;

        if (task->told)
                return;
        task->told = true;
        (void) sd_event_source_set_enabled(task->io, SD_EVENT_OFF);
        (void) sd_event_source_set_enabled(task->timer, SD_EVENT_OFF);
        task->handlers->on_facts(task->userdata, json, json ? task->size - 1 : 0, changed, error);
}

/* Reads what there is, up to a piece. Return: 1 there may be more; 0 not now; -errno at the end. */
static int read_piece(FactTask *task) {
        ssize_t n;

        if (task->allocated - task->size < READ_SIZE + 1) {
                /* One byte for what it says, one that ends the text, and one more tells that it is too much. */
                size_t size = MIN(2 * task->allocated + READ_SIZE + 1, FACT_TASK_OUTPUT_MAX + READ_SIZE + 3);
                char *larger = realloc(task->output, size);

                if (!larger) {
                        task->out_of_memory = true;
                        return -ENOMEM;
                }
                task->output = larger;
                task->allocated = size;
        }
        n = read(task->fd, task->output + task->size,
                MIN((size_t) READ_SIZE, task->allocated - task->size - 1));
        if (n < 0)
                return errno == EINTR ? 1 : errno == EAGAIN ? 0 : -errno;
        if (n == 0)
                return -EPIPE;
        task->size += (size_t) n;
        task->output[task->size] = 0;
        if (task->size > FACT_TASK_OUTPUT_MAX + 1) {
                task->too_much = true;
                return -EFBIG;
        }
        return 1;
}

static int on_io(
        _unused_ sd_event_source *source, _unused_ int fd, _unused_ uint32_t revents, void *userdata) {
        FactTask *task = userdata;

        if (read_piece(task) < 0) {
                (void) sd_event_source_set_enabled(task->io, SD_EVENT_OFF);
                if ((task->too_much || task->out_of_memory) && task->pid > 0)
                        (void) kill(task->pid, SIGTERM);
        }
        return 0;
}

static void tell_outcome(FactTask *task, const siginfo_t *si) {
        char error[ERROR_MAX] = "";

        if (task->n_timeouts > 0)
                (void) snprintf(error, sizeof(error), "the facts were not gathered in time");
        else if (task->too_much)
                (void) snprintf(error, sizeof(error), "there is more of the facts than there may be");
        else if (task->out_of_memory)
                (void) snprintf(error, sizeof(error), "out of memory");
        else if (si->si_code != CLD_EXITED)
                (void) snprintf(error, sizeof(error),
                        "the process that gathers facts died of signal %d (%s)", si->si_status,
                        strsignal(si->si_status));
        else if (si->si_status != 0)
                (void) snprintf(error, sizeof(error), "the process that gathers facts exited with status %d",
                        si->si_status);
        else if (task->size > 0 && *task->output == SAY_ERROR) {
                size_t size;
                _cleanup_free_ char *text = utf8_make_valid(
                        task->output + 1, MIN(task->size - 1, (size_t) ERROR_MAX / 4), &size);

                for (char *p = text; p && *p; p++)
                        if ((unsigned char) *p < ' ' || *p == 0x7f)
                                *p = '?';
                (void) snprintf(error, sizeof(error), "%s", text ?: "out of memory");
        } else if (task->size == 0 || (*task->output != SAY_SAME && *task->output != SAY_CHANGED))
                (void) snprintf(error, sizeof(error), "the process that gathers facts said nothing");

        tell(task, *error ? error : NULL);
}

static int on_exit_of_child(sd_event_source *source, const siginfo_t *si, void *userdata) {
        FactTask *task = userdata;

        if (!task)
                /* Nobody waited for it; let go of the source with it. */
                return sd_event_source_set_floating(source, false);

        task->pid = 0;
        while (!task->told && sd_event_source_get_enabled(task->io, NULL) > 0 && read_piece(task) > 0)
                ;
        if (!task->told)
                tell_outcome(task, si);
        return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        FactTask *task = userdata;

        if (task->n_timeouts++ == 0) {
                (void) kill(task->pid, SIGTERM);
                (void) sd_event_source_set_time(source, usec + LEAVE_USEC);
                return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        }
        (void) kill(task->pid, SIGKILL);
        tell(task, "the facts were not gathered in time");
        return 0;
}

int fact_task_start(sd_event *event, const FactTaskOptions *options, const FactTaskHandlers *handlers,
        void *userdata, FactTask **ret) {
        _cleanup_(fact_task_freep) FactTask *task = NULL;
        _cleanup_close_ int child_fd = -EBADF;
        pid_t engine = getpid();
        int fds[2], r;

        assert(event);
        assert(options);
        assert(handlers);
        assert(ret);

        task = malloc(sizeof(*task));
        if (!task)
                return -ENOMEM;
        *task = (FactTask){ .handlers = handlers, .userdata = userdata, .fd = -EBADF };

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        task->fd = fds[0];
        child_fd = fds[1];
        if (fcntl(task->fd, F_SETFL, O_NONBLOCK) < 0)
                return -errno;

        task->pid = fork();
        if (task->pid < 0)
                return -errno;
        if (task->pid == 0)
                child_main(options, child_fd, engine);

        r = sd_event_add_io(event, &task->io, task->fd, EPOLLIN, on_io, task);
        if (r < 0)
                return r;
        r = sd_event_add_time(event, &task->timer, CLOCK_MONOTONIC,
                now_usec(CLOCK_MONOTONIC) + (options->timeout_usec ?: FACT_TASK_TIMEOUT_USEC), 0, on_timer,
                task);
        if (r < 0)
                return r;
        r = sd_event_add_child(event, &task->child, task->pid, WEXITED, on_exit_of_child, task);
        if (r < 0)
                return r;
        (void) sd_event_source_set_priority(task->child, SD_EVENT_PRIORITY_NORMAL + 1);

        *ret = TAKE_PTR(task);
        return 0;
}
