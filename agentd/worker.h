/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The engine's side of workers: forks them when there is work, hands each one batch at a time, watches over deadlines,
 * and sends idle ones home. What a batch's results mean is the business of whoever dispatched it (run.c).
 */

#include <systemd/sd-event.h>

#include "image.h"
#include "message.h"
#include "sandbox.h"

typedef enum WorkerKind {
        WORKER_CHECK, /* sandboxed: cannot change the host */
        WORKER_APPLY, /* root */
        _WORKER_KIND_MAX,
} WorkerKind;

typedef enum Phase {
        PHASE_CHECK = 1, /* `when`, then before_check, then check */
        PHASE_APPLY,
        PHASE_RECHECK, /* check after apply */
        _PHASE_MAX,
} Phase;

typedef struct WorkerHandlers WorkerHandlers;

/* States of one type that a worker is asked about together. Owned by who dispatches it, whose handlers it brings. */
typedef struct Batch {
        const WorkerHandlers *handlers;
        void *userdata;
        uint32_t id;
        Phase phase;
        WorkerKind kind;
        uint32_t type;       /* index of the ImageType */
        uint32_t call_flags; /* AGENTD_PLAN, AGENTD_DIFF, AGENTD_RECHECK */
        usec_t timeout_usec; /* without a word from the worker, it is killed */
        struct Batch *next;  /* for the owner's queues */
        bool retry;   /* for the owner: an apply of these was lost; what still differs is applied again */
        size_t bytes; /* for the owner: of records about its states */
        unsigned recalls; /* how often it was called back since it last got further */
        bool careful;     /* each result is sent at once, so that a loss shows how far the worker came */
        bool begun; /* for the owner: what goes before the change was run, so that it is not left at that */
        uint32_t n;
        uint32_t states[]; /* indices of states */
} Batch;

/* Limits. A worker that is slow does not count any more, so that others get on with their work. */
#define WORKERS_MAX_SLOW 8

/* An idle check worker keeps file systems busy that somebody may want to unmount. */
#define WORKER_IDLE_USEC (2 * USEC_PER_SEC)

/* Where file systems come and go all the time, a batch that takes long would never be finished: after so many recalls
 * without a result it is let be, and a file system may stay busy for as long. */
#define WORKER_RECALLS_MAX 10

/* How long a worker that was told to go may take. */
#define WORKER_LEAVE_USEC USEC_PER_SEC

/* What a worker may allocate beyond what it shares with the engine. */
#define WORKER_MEMORY_BYTES MIB(512)

/* What a worker has left, at least, once a command that it has waited for is over; and how much later than that should be it is
 * killed while it waits. */
#define WORKER_AFTER_COMMAND_USEC (10 * USEC_PER_SEC)

/* How long a worker may take to die of SIGKILL before it is given up: then it hangs in the kernel. */
#define WORKER_KILL_USEC (5 * USEC_PER_SEC)

typedef struct WorkerPool WorkerPool;

/* Why a batch came back unfinished. */
typedef enum WorkerLoss {
        WORKER_LOSS_DIED,        /* crashed, exited, or sent nonsense */
        WORKER_LOSS_HUNG,        /* said nothing for the batch's timeout and was killed */
        WORKER_LOSS_STUCK,       /* likewise, but not even SIGKILL ends it */
        WORKER_LOSS_RECALLED,    /* killed for a reason that lies outside the batch: ask again */
        WORKER_LOSS_NOT_STARTED, /* could not be started or set up */
} WorkerLoss;

/* Of a batch; called with its userdata. */
struct WorkerHandlers {
        /* The number of the run, for what is started on its behalf. NULL: none. */
        int64_t (*run_id)(void *userdata);

        /* MESSAGE_STATE_…: what is to be said of the state beside its index. */
        uint32_t (*flags_of)(void *userdata, const Batch *batch, uint32_t state);

        /* A record about a state of the batch (PROGRESS, RESULT, DIFFERENCE, UNDO). A negative return means that it is
         * nonsense: the worker is killed. */
        int (*on_record)(void *userdata, Batch *batch, MessageKind kind, MessageReader *reader);

        /* The worker has finished the batch, which is the owner's again. */
        void (*on_end)(void *userdata, Batch *batch);

        /* The worker is gone; the batch is the owner's again. detail: one line for people. stuck_pid: with
         * WORKER_LOSS_STUCK, the process. */
        void (*on_lost)(void *userdata, Batch *batch, WorkerLoss loss, const char *detail, pid_t stuck_pid);

        /* The worker has been silent for a third of the timeout. The batch is still with it. */
        void (*on_slow)(void *userdata, Batch *batch);
};

/* Who waits for room in the pool. */
typedef struct WorkerListener {
        /* A worker became free. Called from the event loop, once for any number of them. */
        void (*on_free)(void *userdata);
        void *userdata;
        struct WorkerListener *next;
} WorkerListener;

typedef struct WorkerPoolOptions {
        unsigned
                n_workers; /* of each kind at most, slow ones not counted; 0: as many as there are processors, 2 at
                             * least */
        const char *root; /* directory that paths are resolved in; "/" */
        SandboxOptions sandbox;
        const char *content_directory; /* below which old content is kept; NULL: none is */
        bool unsandboxed; /* checks run as root, in the open: for containers that allow nothing else */
        struct Commands *commands; /* that modules run; outlive the pool. NULL: they cannot */
} WorkerPoolOptions;

/* Return: 0; -errno. The options' strings must outlive the pool. */
int worker_pool_new(sd_event *event, const WorkerPoolOptions *options, WorkerPool **ret);

/* How many workers of each kind there may be from now on; 0 as above. */
void worker_pool_set_limit(WorkerPool *pool, unsigned n_workers);

const WorkerPoolOptions *worker_pool_options(const WorkerPool *pool);

/* The listener stays the caller's. Those that came first are told last, so that a run that has just begun gets its turn
 * beside one that has many batches waiting. */
void worker_pool_listen(WorkerPool *pool, WorkerListener *listener);
void worker_pool_unlisten(WorkerPool *pool, WorkerListener *listener);

/* Kills the workers that have batches with this userdata, whose handlers are not called any more. The batches are their
 * owner's again. */
void worker_pool_abandon(WorkerPool *pool, void *userdata);

/* A mount on which a worker hangs so that it cannot be killed. Forgotten when its process ends. */
typedef struct HungMount {
        struct HungMount *next;
        pid_t pid;
        char *path;
} HungMount;

/* Takes the path. */
void worker_pool_add_hung(WorkerPool *pool, pid_t pid, char *path);
/* The mount that hangs and has the path, or NULL. */
const HungMount *worker_pool_find_hung(const WorkerPool *pool, const char *path);
bool worker_pool_has_hung(const WorkerPool *pool);

/* Ends all workers, killing those that have work, without calling any handler. Batches stay with their owner. */
WorkerPool *worker_pool_free(WorkerPool *pool);
DEFINE_CLEANUP(WorkerPool *, worker_pool_free)

/* True if a batch of that kind, of states in the image, would find a worker now. */
bool worker_pool_has_room(const WorkerPool *pool, const Image *image, WorkerKind kind);

/* True if so many workers of that kind hang in the kernel that no other is started. */
bool worker_pool_is_exhausted(const WorkerPool *pool, WorkerKind kind);

/*
 * worker_pool_dispatch() - gives a batch to an idle worker, or a new one
 *
 * The batch belongs to the pool until on_end or on_lost. Never calls a handler from within.
 * Return: 0; -EBUSY: no room, see worker_pool_has_room(); other -errno: a worker could not be started.
 */
int worker_pool_dispatch(WorkerPool *pool, Image *image, Batch *batch);

/*
 * worker_pool_warm() - starts a worker that will be wanted soon, unless there is one of that kind
 *
 * It opens the module of the type already, and goes when idle like any other. What goes wrong shows when it is wanted.
 */
void worker_pool_warm(WorkerPool *pool, Image *image, WorkerKind kind, uint32_t type);

/* ---- The other side: worker-main.c ----------------------------------------------------------------------------- */

typedef struct WorkerSetup {
        WorkerKind kind;
        int fd; /* of the socket pair */
        Image *image;
        const WorkerPoolOptions *options;
        pid_t engine;
        uint32_t type; /* that it will be asked about first; WORKER_NO_TYPE: it is asked at once */
} WorkerSetup;

#define WORKER_NO_TYPE UINT32_MAX

/* The life of a worker, from the fork to its end. */
_noreturn_ void worker_main(const WorkerSetup *setup);

/* A worker's exit status if it could not set itself up; the reason is in a LOG record that begins with these words,
 * since modules exit with any status. */
#define WORKER_EXIT_SETUP   3
#define WORKER_SETUP_FAILED "Failed to set up a"

/* … and if the program of a foreign module has ended in the middle of a batch, which is then tried in parts; how it
 * ended is in the last LOG record, which begins with these words. */
#define WORKER_EXIT_PROGRAM  4
#define WORKER_PROGRAM_ENDED "program '"

/* How long the end of a pool waits for workers that were killed. */
#define WORKER_END_USEC USEC_PER_SEC
