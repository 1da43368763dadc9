/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "log.h"
#include "mount-table.h"
#include "worker-command.h"

/* Datagrams read of one worker before others get their turn. */
#define READ_BURST 16

typedef struct Worker Worker;

struct Worker {
        WorkerPool *pool; /* not a reference */
        Worker *next;
        WorkerKind kind;
        pid_t pid;
        int fd;
        Image *image;
        Batch *batch; /* not owned; NULL: idle */
        sd_event_source *io;
        sd_event_source *child;
        sd_event_source *timer; /* of the batch's deadline, of idleness, of dying */
        usec_t heard_usec;      /* when it last got on: began, or gave a result; CLOCK_MONOTONIC */
        bool slow;              /* past the warning: does not count */
        bool ready;             /* it has set itself up: from now on modules speak through it */
        bool leaving;           /* idle for too long: its socket is closed, which is its sign to go */
        bool killed;            /* SIGKILL was sent; its batch is gone already, or goes when it is reaped */
        bool stuck;             /* … and did not help */
        bool reaped;            /* it has ended, and its command has not */
        Command *command;       /* that it waits for, of the manager's */
        usec_t command_usec;    /* when that should be over at last; CLOCK_MONOTONIC */
        WorkerLoss loss;        /* what to report of the batch once it is reaped */
        char last_words[256];   /* of its log, for the report */
        char detail[320];       /* how it ended */
};

struct WorkerPool {
        sd_event *event;
        WorkerPoolOptions options;
        WorkerListener *listeners;
        HungMount *hung;
        Worker *workers;
        sd_event_source *mounts;
        int mounts_fd;
        sd_event_source *free_event; /* a deferred one: tells the owner that there is room */
};

/* There may be room now, or none for ever: who waits looks again. */
static void tell_room(const WorkerPool *pool) {
        (void) sd_event_source_set_enabled(pool->free_event, SD_EVENT_ONESHOT);
}

static Worker *worker_free(Worker *worker) {
        if (!worker)
                return NULL;

        sd_event_source_disable_unref(worker->io);
        sd_event_source_disable_unref(worker->child);
        sd_event_source_disable_unref(worker->timer);
        safe_close(worker->fd);
        image_unref(worker->image);
        if (worker->command)
                command_forget(worker->command);
        if (worker->pool) {
                for (Worker **w = &worker->pool->workers; *w; w = &(*w)->next)
                        if (*w == worker) {
                                *w = worker->next;
                                break;
                        }
                tell_room(worker->pool);
        }
        free(worker);
        return NULL;
}
DEFINE_CLEANUP(Worker *, worker_free)

static void arm_timer(Worker *worker, usec_t usec) {
        if (usec == USEC_INFINITY) {
                (void) sd_event_source_set_enabled(worker->timer, SD_EVENT_OFF);
                return;
        }
        (void) sd_event_source_set_time(worker->timer, usec);
        (void) sd_event_source_set_enabled(worker->timer, SD_EVENT_ONESHOT);
}

/* A check worker with all that it has started. What an apply worker has started may be half of some change: a package
 * manager is not shot. */
static void kill_worker(const Worker *worker) {
        if (worker->reaped)
                return;
        (void) kill(worker->pid, SIGKILL);
        if (worker->kind == WORKER_CHECK)
                (void) kill(-worker->pid, SIGKILL);
}

/* Kills it; its batch is reported as lost once it is reaped, or given up. */
static void worker_kill(Worker *worker, WorkerLoss loss) {
        if (worker->killed)
                return;

        worker->killed = true;
        worker->loss = loss;
        kill_worker(worker);
        if (worker->io)
                (void) sd_event_source_set_enabled(worker->io, SD_EVENT_OFF);
        arm_timer(worker, now_usec(CLOCK_MONOTONIC) + WORKER_KILL_USEC);
}

static void report_lost(Worker *worker, WorkerLoss loss, const char *detail) {
        Batch *batch = TAKE_PTR(worker->batch);

        if (batch)
                batch->handlers->on_lost(batch->userdata, batch, loss, detail, worker->pid);
}

/* ---- Mounts that hang ------------------------------------------------------------------------------------------ */

void worker_pool_add_hung(WorkerPool *pool, pid_t pid, char *path) {
        HungMount *hung = malloc(sizeof(*hung));

        log_error("File system '%s' hangs: process %d can neither finish nor be killed. States on it fail "
                  "until it ends",
                path, (int) pid);
        if (!hung) {
                free(path);
                return;
        }
        *hung = (HungMount){ .next = pool->hung, .pid = pid, .path = path };
        pool->hung = hung;
}

const HungMount *worker_pool_find_hung(const WorkerPool *pool, const char *path) {
        for (const HungMount *hung = pool->hung; hung; hung = hung->next)
                if (path_is_below(path, hung->path))
                        return hung;
        return NULL;
}

bool worker_pool_has_hung(const WorkerPool *pool) {
        return pool->hung;
}

/* The process has ended after all; or the pool does. */
static void forget_hung(WorkerPool *pool, pid_t pid) {
        for (HungMount **h = &pool->hung; *h;) {
                HungMount *hung = *h;

                if (pid != 0 && hung->pid != pid) {
                        h = &hung->next;
                        continue;
                }
                if (pid != 0)
                        log_notice("File system '%s' works again", hung->path);
                *h = hung->next;
                free(hung->path);
                free(hung);
        }
}

/* ---- What it says ---------------------------------------------------------------------------------------------- */

static int worker_handle_log(Worker *worker, MessageReader *reader) {
        uint32_t level = message_get_u32(reader);
        _cleanup_free_ char *text = message_get_string(reader);

        if (!text || level > 7)
                return -EBADMSG;

        (void) snprintf(worker->last_words, sizeof(worker->last_words), "%s", text);
        log_full((int) level, "%s", text);
        return 0;
}

static void worker_kill_unreachable(Worker *worker) {
        (void) snprintf(worker->last_words, sizeof(worker->last_words), "could not be reached");
        worker_kill(worker, WORKER_LOSS_DIED);
}

/* The time that it took is not the worker's, but what is left of that of the state is all that it has. */
static void go_on_after_command(Worker *worker) {
        usec_t now = now_usec(CLOCK_MONOTONIC), timeout = worker->batch->timeout_usec;

        if (usec_add(worker->heard_usec, timeout) < now + WORKER_AFTER_COMMAND_USEC)
                worker->heard_usec = now + WORKER_AFTER_COMMAND_USEC - MIN(timeout, now);
        arm_timer(worker, usec_add(worker->heard_usec, timeout));
}

static void on_command_finished(void *userdata, _unused_ Command *command, const CommandResult *result) {
        Worker *worker = userdata;

        worker->command = NULL;
        if (worker->reaped) {
                report_lost(worker, worker->loss, worker->detail);
                worker_free(worker);
                return;
        }
        if (worker->killed || !worker->batch)
                return;
        if (worker_command_answer(worker->fd, 0, result) < 0)
                worker_kill_unreachable(worker);
        else
                go_on_after_command(worker);
}

static const CommandHandlers command_handlers = { .on_finished = on_command_finished };

static int worker_handle_command(Worker *worker, MessageReader *reader, const int *fds, size_t n_fds) {
        usec_t now = now_usec(CLOCK_MONOTONIC), deadline, timeout = 0;
        int r;

        if (!worker->batch || worker->command)
                return -EBADMSG;
        deadline = usec_add(worker->heard_usec, worker->batch->timeout_usec);
        r = worker_command_start(worker->pool->options.commands, worker->image, worker->batch, reader, fds,
                n_fds, deadline == USEC_INFINITY ? deadline : MAX(deadline, now) - now, &command_handlers,
                worker, &worker->command, &timeout);
        if (r == -EBADMSG)
                return r;
        if (r < 0) {
                if (worker_command_answer(worker->fd, r, NULL) < 0)
                        worker_kill_unreachable(worker);
                return 0;
        }
        worker->command_usec =
                usec_add(now, usec_add(timeout, COMMAND_STOP_USEC + WORKER_AFTER_COMMAND_USEC));
        return 0;
}

static int worker_handle_datagram(
        Worker *worker, const uint8_t *data, size_t size, const int *fds, size_t n_fds) {
        MessageReader reader = { .data = data, .size = size };
        bool got_on = false;
        MessageKind kind;
        int r;

        while ((r = message_next(&reader, &kind)) > 0) {
                /* Only one of them brings descriptors. */
                if (n_fds > 0 && kind != MESSAGE_COMMAND)
                        return -EBADMSG;
                switch (kind) {
                case MESSAGE_COMMAND:
                        r = worker_handle_command(worker, &reader, fds, n_fds);
                        n_fds = 0;
                        break;
                case MESSAGE_READY:
                        worker->ready = true;
                        r = 0;
                        break;
                case MESSAGE_LOG: r = worker_handle_log(worker, &reader); break;
                case MESSAGE_PROGRESS:
                case MESSAGE_RESULT:
                case MESSAGE_DIFFERENCE:
                case MESSAGE_UNDO:
                        if (!worker->batch)
                                return -EBADMSG;
                        r = worker->batch->handlers->on_record(
                                worker->batch->userdata, worker->batch, kind, &reader);
                        /* Nothing else is progress: a module may talk for ever. The first comes once a state. */
                        got_on = got_on || kind == MESSAGE_RESULT || kind == MESSAGE_PROGRESS;
                        break;
                case MESSAGE_END: {
                        uint32_t id = message_get_u32(&reader);
                        Batch *batch;

                        if (reader.bad || !worker->batch || worker->batch->id != id || worker->command)
                                return -EBADMSG;
                        batch = TAKE_PTR(worker->batch);
                        worker->heard_usec = now_usec(CLOCK_MONOTONIC);
                        worker->slow = false;
                        arm_timer(worker, worker->heard_usec + WORKER_IDLE_USEC);
                        batch->handlers->on_end(batch->userdata, batch);
                        tell_room(worker->pool);
                        r = 0;
                        break;
                }
                default: return -EBADMSG;
                }
                if (r < 0)
                        return r;
        }

        if (got_on)
                worker->heard_usec = now_usec(CLOCK_MONOTONIC);
        return r;
}

/* Return: 1 something was read; 0 nothing more for now, or the end; -EBADMSG. */
static int worker_read(Worker *worker) {
        static uint8_t buffer[MESSAGE_MAX] __attribute__((aligned(8)));
        int fds[MESSAGE_FDS_MAX];
        size_t n_fds;
        ssize_t n;

        n = message_receive(worker->fd, buffer, sizeof(buffer), fds, &n_fds);
        if (n < 0)
                return n == -EAGAIN || n == -EINTR || n == -ECONNRESET ? 0 : (int) n;
        if (n == 0)
                return 0;
        if ((size_t) n <= sizeof(buffer))
                n = worker_handle_datagram(worker, buffer, (size_t) n, fds, n_fds);
        else
                n = -EBADMSG;
        while (n_fds > 0)
                safe_close(fds[--n_fds]);
        return n < 0 ? (int) n : 1;
}

static void worker_kill_garbled(Worker *worker) {
        log_error("A worker sent a message that is not well-formed; it is killed");
        (void) snprintf(
                worker->last_words, sizeof(worker->last_words), "sent a message that is not well-formed");
        worker_kill(worker, WORKER_LOSS_DIED);
}

static int on_worker_io(
        _unused_ sd_event_source *source, _unused_ int fd, uint32_t revents, void *userdata) {
        Worker *worker = userdata;
        int r = 1;

        for (unsigned i = 0; i < READ_BURST && r > 0; i++)
                r = worker_read(worker);
        if (r < 0) {
                worker_kill_garbled(worker);
                return 0;
        }

        /* It has closed its end: what is left to learn is its exit status. */
        if (r == 0 && (revents & (EPOLLHUP | EPOLLERR)))
                (void) sd_event_source_set_enabled(worker->io, SD_EVENT_OFF);
        return 0;
}

/* ---- Its end --------------------------------------------------------------------------------------------------- */

static bool setup_failed(const Worker *worker, const siginfo_t *si) {
        return !worker->ready && si->si_code == CLD_EXITED && si->si_status == WORKER_EXIT_SETUP &&
               startswith(worker->last_words, WORKER_SETUP_FAILED);
}

static void describe_end(const Worker *worker, const siginfo_t *si, char *buffer, size_t size) {
        if (worker->killed && worker->loss == WORKER_LOSS_HUNG)
                (void) snprintf(buffer, size, "no answer within the timeout; the worker was killed");
        else if (worker->killed && worker->last_words[0])
                (void) snprintf(buffer, size, "the worker %s", worker->last_words);
        else if (setup_failed(worker, si) ||
                 (si->si_code == CLD_EXITED && si->si_status == WORKER_EXIT_PROGRAM &&
                         startswith(worker->last_words, WORKER_PROGRAM_ENDED)))
                (void) snprintf(buffer, size, "%s", worker->last_words);
        else if (si->si_code == CLD_EXITED)
                (void) snprintf(buffer, size, "the worker exited with status %d", si->si_status);
        else
                (void) snprintf(buffer, size, "the worker died of signal %d (%s)", si->si_status,
                        strsignal(si->si_status));
}

static int on_worker_exit(_unused_ sd_event_source *source, const siginfo_t *si, void *userdata) {
        _cleanup_(worker_freep) Worker *worker = userdata;
        WorkerLoss loss = worker->killed ? worker->loss : WORKER_LOSS_DIED;
        int r = 1;

        /* It is not reaped yet, so that nobody else can have its number. */
        kill_worker(worker);

        /* What it said before its end counts. */
        if (!worker->killed && !worker->leaving)
                while (r > 0)
                        r = worker_read(worker);

        if (worker->stuck)
                forget_hung(worker->pool, worker->pid);

        describe_end(worker, si, worker->detail, sizeof(worker->detail));
        if (setup_failed(worker, si))
                loss = WORKER_LOSS_NOT_STARTED;
        /* What it was at is not tried again before that has ended. */
        if (worker->command && worker->batch) {
                worker->reaped = true;
                worker->loss = loss;
                sd_event_source_disable_unref(TAKE_PTR(worker->io));
                (void) sd_event_source_set_enabled(worker->timer, SD_EVENT_OFF);
                command_cancel(worker->command);
                worker = NULL;
                return 0;
        }
        report_lost(worker, loss, worker->detail);
        return 0;
}

static int on_worker_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Worker *worker = userdata;
        usec_t now = now_usec(CLOCK_MONOTONIC), deadline, warning;
        int r;

        if (worker->stuck || worker->reaped)
                return 0;

        if (worker->killed) {
                worker->stuck = true;
                worker->slow = true;
                tell_room(worker->pool);
                report_lost(
                        worker, WORKER_LOSS_STUCK, "the worker hangs in the kernel and cannot be killed");
                return 0;
        }

        if (!worker->batch) {
                if (worker->leaving) {
                        worker_kill(worker, WORKER_LOSS_DIED);
                        return 0;
                }
                worker->leaving = true;
                sd_event_source_disable_unref(TAKE_PTR(worker->io));
                worker->fd = safe_close(worker->fd);
                arm_timer(worker, now + WORKER_LEAVE_USEC);
                return 0;
        }

        /* If we are late ourselves, e.g. since nobody read what we print, its answer may have been there for long. */
        while ((r = worker_read(worker)) > 0)
                ;
        if (r < 0)
                worker_kill_garbled(worker);
        if (worker->killed || !worker->batch)
                return 0;

        now = now_usec(CLOCK_MONOTONIC);
        deadline = usec_add(worker->heard_usec, worker->batch->timeout_usec);
        if (worker->command)
                deadline = MAX(deadline, worker->command_usec);
        warning = usec_add(worker->heard_usec, worker->batch->timeout_usec / 3);
        if (now >= deadline) {
                worker_kill(worker, WORKER_LOSS_HUNG);
                return 0;
        }
        if (now >= warning) {
                if (!worker->slow) {
                        worker->slow = true;
                        worker->batch->handlers->on_slow(worker->batch->userdata, worker->batch);
                        tell_room(worker->pool);
                }
                arm_timer(worker, deadline);
                return 0;
        }
        worker->slow = false;
        arm_timer(worker, warning);
        return 0;
}

/* ---- Its start ------------------------------------------------------------------------------------------------- */

static int worker_new(WorkerPool *pool, WorkerKind kind, Image *image, uint32_t type, Worker **ret) {
        _cleanup_(worker_freep) Worker *worker = NULL;
        pid_t engine = getpid(), pid;
        int pair[2], r;

        worker = malloc(sizeof(*worker));
        if (!worker)
                return -ENOMEM;
        *worker = (Worker){ .kind = kind, .fd = -EBADF, .image = image_ref(image) };

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        worker->fd = pair[0];
        /* So that a datagram of the largest size fits, whatever the host's default is. */
        for (int i = 0; i < 2; i++)
                (void) setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &(int){ 2 * MESSAGE_MAX }, sizeof(int));

        pid = fork();
        if (pid < 0) {
                r = -errno;
                safe_close(pair[1]);
                return r;
        }
        if (pid == 0) {
                const WorkerSetup setup = {
                        .kind = kind,
                        .fd = pair[1],
                        .image = image,
                        .options = &pool->options,
                        .engine = engine,
                        .type = type,
                };

                worker_main(&setup);
        }

        safe_close(pair[1]);
        worker->pid = pid;
        if (fcntl(worker->fd, F_SETFL, O_NONBLOCK) < 0)
                r = -errno;
        else
                r = sd_event_add_io(pool->event, &worker->io, worker->fd, EPOLLIN, on_worker_io, worker);
        if (r >= 0)
                r = sd_event_add_child(pool->event, &worker->child, pid, WEXITED, on_worker_exit, worker);
        if (r >= 0)
                r = sd_event_add_time(pool->event, &worker->timer, CLOCK_MONOTONIC, USEC_INFINITY, 0,
                        on_worker_timer, worker);
        if (r < 0) {
                (void) kill(pid, SIGKILL);
                (void) waitpid(pid, NULL, 0);
                return r;
        }
        /* Its last words before its end, so that nothing is lost. */
        (void) sd_event_source_set_priority(worker->child, SD_EVENT_PRIORITY_NORMAL + 1);

        worker->pool = pool;
        worker->next = pool->workers;
        pool->workers = worker;
        *ret = TAKE_PTR(worker);
        return 0;
}

static bool worker_is_idle(const Worker *worker) {
        return !worker->batch && !worker->reaped && !worker->killed && !worker->leaving;
}

bool worker_pool_has_room(const WorkerPool *pool, const Image *image, WorkerKind kind) {
        unsigned n = 0, n_slow = 0;

        for (const Worker *worker = pool->workers; worker; worker = worker->next) {
                if (worker->kind != kind)
                        continue;
                if (worker_is_idle(worker) && worker->image == image)
                        return true;
                if (worker->slow)
                        n_slow++;
                else if (worker->batch)
                        n++;
        }

        return n < pool->options.n_workers && n_slow < WORKERS_MAX_SLOW;
}

bool worker_pool_is_exhausted(const WorkerPool *pool, WorkerKind kind) {
        unsigned n_stuck = 0;

        for (const Worker *worker = pool->workers; worker; worker = worker->next)
                if (worker->kind == kind && worker->stuck)
                        n_stuck++;

        return n_stuck >= WORKERS_MAX_SLOW;
}

/* The number of the run, if a hook of these states is to be told it. A run that only looks may not have had one so far. */
static uint64_t run_id_for(const Image *image, const Batch *batch) {
        if (batch->phase != PHASE_CHECK || !batch->handlers->run_id)
                return 0;
        for (uint32_t i = 0; i < batch->n; i++)
                if (image_hook(image, batch->states[i], HOOK_BEFORE_CHECK))
                        return (uint64_t) batch->handlers->run_id(batch->userdata);
        return 0;
}

int worker_pool_dispatch(WorkerPool *pool, Image *image, Batch *batch) {
        Worker *worker;
        uint32_t head[] = { batch->id, batch->phase,
                batch->call_flags | (batch->careful ? MESSAGE_BATCH_CAREFUL : 0), batch->n };
        static uint8_t buffer[MESSAGE_MAX];
        MessageWriter writer = { .buffer = buffer };
        int r;

        if (!worker_pool_has_room(pool, image, batch->kind))
                return -EBUSY;

        for (worker = pool->workers; worker; worker = worker->next)
                if (worker->kind == batch->kind && worker_is_idle(worker) && worker->image == image)
                        break;
        if (!worker) {
                r = worker_new(pool, batch->kind, image, WORKER_NO_TYPE, &worker);
                if (r < 0)
                        return r;
        }

        writer.fd = worker->fd;
        message_begin(&writer, MESSAGE_BATCH);
        for (size_t i = 0; i < ELEMENTSOF(head); i++)
                message_put_u32(&writer, head[i]);
        message_put_u64(&writer, run_id_for(image, batch));
        for (uint32_t i = 0; i < batch->n; i++)
                message_put_u32(&writer, batch->states[i] | batch->handlers->flags_of(batch->userdata, batch,
                                                                    batch->states[i]));
        r = message_end(&writer);
        if (r == 0)
                r = message_flush(&writer);
        if (r == -EMSGSIZE)
                return r;

        /* If it could not be sent, the worker is dying or of no use; its end gives the batch back. */
        worker->batch = batch;
        if (r < 0) {
                worker_kill_unreachable(worker);
                return 0;
        }
        worker->slow = false;
        worker->heard_usec = now_usec(CLOCK_MONOTONIC);
        arm_timer(worker, usec_add(worker->heard_usec, batch->timeout_usec / 3));
        return 0;
}

void worker_pool_warm(WorkerPool *pool, Image *image, WorkerKind kind, uint32_t type) {
        Worker *worker;

        for (worker = pool->workers; worker; worker = worker->next)
                if (worker->kind == kind)
                        return;
        if (worker_new(pool, kind, image, type, &worker) >= 0)
                arm_timer(worker, now_usec(CLOCK_MONOTONIC) + WORKER_IDLE_USEC);
}

/* ---- The pool -------------------------------------------------------------------------------------------------- */

/*
 * A check worker's mount namespace holds on to every file system that was mounted when it began, so that umount in
 * the host succeeds but the device stays busy. When the mount table changes, all of them go, and their states are
 * asked about again.
 */
static int on_mounts_changed(
        _unused_ sd_event_source *source, _unused_ int fd, _unused_ uint32_t revents, void *userdata) {
        WorkerPool *pool = userdata;

        for (Worker *worker = pool->workers; worker; worker = worker->next)
                if (worker->kind == WORKER_CHECK &&
                        !(worker->batch && worker->batch->recalls >= WORKER_RECALLS_MAX))
                        worker_kill(worker, WORKER_LOSS_RECALLED);
        return 0;
}

static int on_room(_unused_ sd_event_source *source, void *userdata) {
        WorkerPool *pool = userdata;

        for (WorkerListener *listener = pool->listeners; listener; listener = listener->next)
                listener->on_free(listener->userdata);
        return 0;
}

void worker_pool_listen(WorkerPool *pool, WorkerListener *listener) {
        listener->next = pool->listeners;
        pool->listeners = listener;
}

void worker_pool_unlisten(WorkerPool *pool, WorkerListener *listener) {
        for (WorkerListener **l = &pool->listeners; *l; l = &(*l)->next)
                if (*l == listener) {
                        *l = listener->next;
                        break;
                }
}

void worker_pool_abandon(WorkerPool *pool, void *userdata) {
        for (Worker *worker = pool->workers, *next; worker; worker = next) {
                next = worker->next;
                if (!worker->batch || worker->batch->userdata != userdata)
                        continue;
                worker->batch = NULL;
                /* What it has started goes on, and the next agentd finds it. */
                if (worker->command)
                        command_forget(TAKE_PTR(worker->command));
                if (worker->reaped)
                        worker_free(worker);
                else
                        worker_kill(worker, WORKER_LOSS_DIED);
                tell_room(pool);
        }
}

void worker_pool_set_limit(WorkerPool *pool, unsigned n_workers) {
        cpu_set_t set;

        if (n_workers == 0)
                n_workers = sched_getaffinity(0, sizeof(set), &set) < 0
                                    ? 2
                                    : MAX((unsigned) CPU_COUNT(&set), 2U);
        pool->options.n_workers = n_workers;
        if (pool->free_event)
                tell_room(pool);
}

const WorkerPoolOptions *worker_pool_options(const WorkerPool *pool) {
        return &pool->options;
}

int worker_pool_new(sd_event *event, const WorkerPoolOptions *options, WorkerPool **ret) {
        _cleanup_(worker_pool_freep) WorkerPool *pool = NULL;
        int r;

        pool = malloc(sizeof(*pool));
        if (!pool)
                return -ENOMEM;
        *pool = (WorkerPool){
                .event = sd_event_ref(event),
                .options = *options,
                .mounts_fd = -EBADF,
        };
        worker_pool_set_limit(pool, options->n_workers);

        pool->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
        /* Without /proc, as in the chroot of an image build, nobody mounts anything meanwhile either. */
        if (pool->mounts_fd < 0 && errno != ENOENT)
                return -errno;
        if (pool->mounts_fd >= 0) {
                r = sd_event_add_io(
                        event, &pool->mounts, pool->mounts_fd, EPOLLPRI, on_mounts_changed, pool);
                if (r < 0)
                        return r;
                /* Before anything else: the longer a mount is held, the more likely somebody trips over it. */
                (void) sd_event_source_set_priority(pool->mounts, SD_EVENT_PRIORITY_IMPORTANT);
        }

        r = sd_event_add_defer(event, &pool->free_event, on_room, pool);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(pool->free_event, SD_EVENT_OFF);

        *ret = TAKE_PTR(pool);
        return 0;
}

/* Reaps a worker that was killed, unless it hangs in the kernel. */
static void wait_until(pid_t pid, usec_t deadline) {
        while (waitpid(pid, NULL, WNOHANG) == 0 && now_usec(CLOCK_MONOTONIC) < deadline)
                (void) usleep(100);
}

WorkerPool *worker_pool_free(WorkerPool *pool) {
        Worker *next;
        usec_t deadline;

        if (!pool)
                return NULL;

        deadline = now_usec(CLOCK_MONOTONIC) + WORKER_END_USEC;
        for (Worker *worker = pool->workers; worker; worker = worker->next)
                kill_worker(worker);
        for (Worker *worker = pool->workers; worker; worker = next) {
                pid_t pid = worker->pid;
                bool stuck = worker->stuck, reaped = worker->reaped;

                next = worker->next;
                worker->pool = NULL;
                worker_free(worker);
                if (!reaped)
                        wait_until(pid, stuck ? 0 : deadline);
        }
        assert(!pool->listeners);
        forget_hung(pool, 0);
        sd_event_source_disable_unref(pool->mounts);
        sd_event_source_disable_unref(pool->free_event);
        safe_close(pool->mounts_fd);
        sd_event_unref(pool->event);
        free(pool);
        return NULL;
}
