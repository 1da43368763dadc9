/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The inside of a worker: sets itself up, then answers batches until its socket is closed. */

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <syslog.h>

#include "builtin.h"
#include "child.h"
#include "context.h"
#include "expression.h"
#include "foreign.h"
#include "log.h"

#define SOCKET_FD 3

/* Scratch memory for evaluating one condition; given back after each. */
#define SCRATCH_BYTES MIB(16)

typedef struct WorkerState {
        AgentdContext context;
        Module **modules; /* by index in the image; NULL until first used */
        const AgentdStateType **types;
        Arena scratch;
        const char *root;
} WorkerState;

/* ---- Setting up ------------------------------------------------------------------------------------------------ */

/* Standard input, output and error lead nowhere, the last but in a build whose sanitizer complains there. */
static int open_null(void) {
#ifdef __SANITIZE_ADDRESS__
        return child_open_null(STDERR_FILENO);
#else
        return child_open_null(STDERR_FILENO + 1);
#endif
}

static int setup_descriptors(const WorkerSetup *setup) {
        const int keep = SOCKET_FD;
        int r;

        r = open_null();
        if (r < 0)
                return r;
        if (setup->fd != SOCKET_FD) {
                if (dup3(setup->fd, SOCKET_FD, O_CLOEXEC) < 0)
                        return -errno;
        }
        close_descriptors(3, &keep, 1);
        return 0;
}

static void setup_signals(void) {
        child_reset_signals();
        /* A terminal sends these to the whole group of processes, some service managers as well. It is the engine's
         * business what becomes of the batch that is under way. */
        (void) signal(SIGINT, SIG_IGN);
        (void) signal(SIGTERM, SIG_IGN);
        (void) signal(SIGHUP, SIG_IGN);
}

static int setup_worker(const WorkerSetup *setup, Runner **ret_runner, const char **ret_step) {
        int r;

        *ret_step = "end with the engine";
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                return -errno;
        if (getppid() != setup->engine)
                return -ESRCH;
        /* Its own process group, so that what a module leaves behind can be ended with it, and Ctrl-C lets the engine
         * decide; and no terminal, into which it could type what root then seems to have typed. */
        *ret_step = "leave the session";
        if (setsid() < 0)
                return -errno;
        *ret_step = "refuse core dumps";
        if (setrlimit(RLIMIT_CORE, &(struct rlimit){}) < 0)
                return -errno;
        (void) umask(022);
        *ret_step = "change to the root directory";
        if (chdir("/") < 0)
                return -errno;

        if (setup->kind == WORKER_CHECK && !setup->options->unsandboxed) {
                *ret_step = "start what runs commands";
                r = context_start_runner(setup, ret_runner);
                if (r < 0)
                        return r;
                r = sandbox_enter(&setup->options->sandbox, ret_step);
                if (r < 0)
                        return r;
                /* The change of user has cleared it. */
                *ret_step = "end with the engine";
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                        return -errno;
                if (getppid() != setup->engine)
                        return -ESRCH;
                /* Those from before lie on a mount that can be written. */
                *ret_step = "open /dev/null";
                r = open_null();
                if (r < 0)
                        return r;
        } else {
                *ret_step = "limit memory";
                r = limit_memory(setup->options->sandbox.memory_bytes);
                if (r < 0)
                        return r;
        }

        (void) prctl(PR_SET_NAME, setup->kind == WORKER_CHECK ? "agentd-check" : "agentd-apply");
        return 0;
}

/* ---- Modules --------------------------------------------------------------------------------------------------- */

static void log_of_program(void *userdata, int level, const char *text) {
        context_log(userdata, level, "%s", text);
}

/* Opens a module of the image, by its index there. */
static int open_module(WorkerState *worker, uint32_t index, Module **ret, char **reterr) {
        const Image *image = worker->context.image;
        const ImageModule *module = image_array(image, modules, ImageModule) + index;
        const ForeignHost host = {
                .root = worker->root,
                .log = log_of_program,
                .userdata = &worker->context,
                .build_id = module->build_id,
        };
        int r;

        if (!worker->modules[index]) {
                _cleanup_(module_closep) Module *opened = NULL;

                r = module_open_any(image_text(image, module->path), &host, &opened, reterr);
                if (r < 0 && r != -ESTALE)
                        return r;
                if (r == -ESTALE || opened->build_id_size != module->build_id_size ||
                        memcmp(opened->build_id, module->build_id, module->build_id_size) != 0) {
                        *reterr = strdup("the module was replaced since the roles were loaded; load "
                                         "them again");
                        return -ESTALE;
                }
                worker->modules[index] = TAKE_PTR(opened);
        }
        *ret = worker->modules[index];
        return 0;
}

static int open_type(WorkerState *worker, uint32_t index, const AgentdStateType **ret, char **reterr) {
        const Image *image = worker->context.image;
        const ImageType *type = image_type(image, index);
        Module *module;
        int r;

        if (!worker->types[index]) {
                r = open_module(worker, type->module, &module, reterr);
                if (r < 0)
                        return r;
                worker->types[index] = module_find_type(module, image_text(image, type->name));
                if (!worker->types[index]) {
                        *reterr = strdup("the module does not provide the type any more");
                        return -ESTALE;
                }
        }

        *ret = worker->types[index];
        return 0;
}

/* A helper that a module brings along: of those in the image by whose name it begins. */
static const Helper *find_helper(void *userdata, const char *name) {
        WorkerState *worker = userdata;
        const Image *image = worker->context.image;

        for (uint32_t i = 0; i < image->header->modules.n; i++) {
                const char *path = image_text(image, image_array(image, modules, ImageModule)[i].path);
                const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
                _cleanup_free_ char *error = NULL;
                const Helper *helper;
                Module *module;
                int r;

                if (!endswith(base, ".so") || !module_may_have_helper(base, strlen(base) - 3, name))
                        continue;
                r = open_module(worker, i, &module, &error);
                if (r < 0) {
                        context_log(&worker->context, LOG_ERR, "Module '%s' cannot be used: %s", path,
                                error ?: strerror(-r));
                        continue;
                }
                helper = module_find_helper(module, name);
                if (helper)
                        return helper;
        }
        return NULL;
}

/* ---- A batch --------------------------------------------------------------------------------------------------- */

/* Evaluates a state's `when`. Return: 1 it holds; 0 it does not, or went wrong: the state has its result. */
static int condition_holds(WorkerState *worker, uint32_t index) {
        AgentdContext *context = &worker->context;
        const ImageState *state = image_state(context->image, index);
        HelperSet helpers = helper_set(context->root_fd);
        const ExpressionContext evaluation = { .scratch = &worker->scratch, .helpers = &helpers };
        Diagnostic error = {};
        bool truth;
        int r;

        if (state->when == 0)
                return 1;

        helpers.find = find_helper;
        helpers.userdata = worker;
        worker->scratch.used = 0;
        r = expression_truth(&evaluation, image_at(context->image, state->when), &truth, &error);
        if (r < 0) {
                _cleanup_free_ char *text = NULL;

                if (asprintf(&text, "its 'when' cannot be told: %s", error.message ?: strerror(-r)) < 0)
                        text = NULL;
                context_result(context, index, VERDICT_FAILED, text);
                return 0;
        }
        if (!truth)
                context_result(context, index, VERDICT_SKIPPED, NULL);
        return truth;
}

static uint32_t flags_of(uint32_t sent) {
        static const struct {
                uint32_t sent, flag;
        } flags[] = {
                { MESSAGE_STATE_PENDING, AGENTD_STATE_PENDING },
                { MESSAGE_STATE_NOTICED, AGENTD_STATE_NOTICED },
                { MESSAGE_STATE_RELOAD, AGENTD_STATE_RELOAD },
                { MESSAGE_STATE_RESTART, AGENTD_STATE_RESTART },
        };
        uint32_t all = 0;

        FOREACH_ELEMENT(f, flags)
                if (sent & f->sent)
                        all |= f->flag;
        return all;
}

/* What modules need not know to tell: that it has to be restarted is a difference by itself. */
static void report_what_is_due(AgentdContext *context, const AgentdState *batch, uint32_t n) {
        for (uint32_t i = 0; i < n; i++)
                if (batch[i].flags & AGENTD_STATE_RESTART)
                        agentd_differs_string(context, i, "restart", NULL, "due");
                else if (batch[i].flags & AGENTD_STATE_RELOAD)
                        agentd_differs_string(context, i, "reload", NULL, "due");
}

static int answer_batch(
        WorkerState *worker, Phase phase, unsigned flags, uint64_t run, uint32_t *states, uint32_t n) {
        AgentdContext *context = &worker->context;
        _cleanup_free_ AgentdState *batch = calloc(MAX(n, 1U), sizeof(AgentdState));
        _cleanup_free_ bool *finished = calloc(MAX(n, 1U), sizeof(bool));
        _cleanup_free_ uint32_t *differences = calloc(MAX(n, 1U), sizeof(uint32_t));
        _cleanup_free_ size_t *bytes = calloc(MAX(n, 1U), sizeof(size_t));
        _cleanup_free_ char *error = NULL;
        const AgentdStateType *type = NULL;
        uint32_t type_index = image_state(context->image, states[0] & MESSAGE_STATE_INDEX)->type, m = 0;
        int r;

        if (!batch || !finished || !differences || !bytes)
                return -ENOMEM;

        context->since_usec = context->flushed_usec = now_usec(CLOCK_MONOTONIC);
        r = open_type(worker, type_index, &type, &error);
        if (r < 0) {
                _cleanup_free_ char *text = NULL;

                if (asprintf(&text, "module '%s' cannot be used: %s",
                            image_text(context->image,
                                    image_array(context->image, modules,
                                            ImageModule)[image_type(context->image, type_index)->module]
                                            .path),
                            error ?: strerror(-r)) < 0)
                        text = NULL;
                for (uint32_t i = 0; i < n; i++)
                        context_result(context, states[i] & MESSAGE_STATE_INDEX, VERDICT_FAILED, text);
                return 0;
        }

        context->type = type;
        for (uint32_t i = 0; i < n; i++) {
                uint32_t index = states[i] & MESSAGE_STATE_INDEX;
                const ImageState *state = image_state(context->image, index);
                uint32_t told = flags_of(states[i]);
                bool sensitive = state->flags & IMAGE_STATE_SENSITIVE;

                if (phase == PHASE_CHECK &&
                        (!condition_holds(worker, index) || !context_before_check(context, index, run)))
                        continue;
                states[m] = index;
                batch[m++] = (AgentdState){
                        .id = image_text(context->image, state->id),
                        .name = image_state_name(context->image, index),
                        .data = state->data ? image_at(context->image, state->data) : NULL,
                        .flags = told | (sensitive ? AGENTD_STATE_SENSITIVE : 0),
                };
        }
        if (m == 0)
                return 0;

        context->module = worker->modules[image_array(context->image, types, ImageType)[type_index].module];
        context_begin(context, phase, flags, states, m, finished, differences, bytes);
        if (phase != PHASE_APPLY)
                report_what_is_due(context, batch, m);
        r = (phase == PHASE_APPLY ? type->apply : type->check)(context, batch, m, flags);
        context_end(context, r);
        return 0;
}

static int answer(WorkerState *worker, const uint8_t *data, size_t size) {
        AgentdContext *context = &worker->context;
        MessageReader reader = { .data = data, .size = size };
        _cleanup_free_ uint32_t *states = NULL;
        uint32_t id, phase, flags, n;
        uint64_t run;
        MessageKind kind;
        int r;

        r = message_next(&reader, &kind);
        if (r <= 0 || kind != MESSAGE_BATCH)
                return -EBADMSG;

        id = message_get_u32(&reader);
        phase = message_get_u32(&reader);
        flags = message_get_u32(&reader);
        n = message_get_u32(&reader);
        run = message_get_u64(&reader);
        if (reader.bad || n == 0 || n > MESSAGE_MAX / sizeof(uint32_t) || phase < PHASE_CHECK ||
                phase >= _PHASE_MAX)
                return -EBADMSG;
        states = malloc(n * sizeof(uint32_t));
        if (!states)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
                states[i] = message_get_u32(&reader);
                if (reader.bad || (states[i] & MESSAGE_STATE_INDEX) >= image_n_states(context->image))
                        return -EBADMSG;
        }

        context->careful = flags & MESSAGE_BATCH_CAREFUL;
        flags &= ~MESSAGE_BATCH_CAREFUL;
        r = answer_batch(worker, (Phase) phase, flags, run, states, n);
        if (r < 0)
                return r;

        message_begin(&context->writer, MESSAGE_END);
        message_put_u32(&context->writer, id);
        (void) message_end(&context->writer);
        return message_flush(&context->writer);
}

/* ---- Its life -------------------------------------------------------------------------------------------------- */

static void scratch_full(_unused_ Arena *arena, _unused_ size_t wanted) {
        _exit(EXIT_FAILURE);
}

static int worker_loop(WorkerState *worker) {
        _cleanup_free_ uint8_t *buffer = malloc(MESSAGE_MAX);

        if (!buffer)
                return -ENOMEM;
        for (;;) {
                ssize_t n = recv(SOCKET_FD, buffer, MESSAGE_MAX, 0);
                int r;

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        return 0;
                r = answer(worker, buffer, (size_t) n);
                if (r < 0)
                        return r == -EPIPE ? 0 : r;
        }
}

void worker_main(const WorkerSetup *setup) {
        WorkerSetup mine = *setup;
        WorkerState worker = { .root = setup->options->root };
        const ImageHeader *header = setup->image->header;
        const char *step = "arrange descriptors";
        _cleanup_close_ int root_fd = -EBADF;
        Runner *runner = NULL;
        int r;

        log_open_journal(false);
        setup_signals();
        r = setup_descriptors(setup);
        if (r < 0)
                _exit(WORKER_EXIT_SETUP);
        mine.fd = SOCKET_FD;

        r = setup_worker(&mine, &runner, &step);
        if (r >= 0) {
                /* Opened only now: a descriptor from before would lead around the read-only mounts. */
                step = "open the root directory";
                r = path_open_root(setup->options->root, &root_fd);
        }
        if (r >= 0) {
                step = "get memory";
                r = arena_map(&worker.scratch, SCRATCH_BYTES, scratch_full);
        }
        if (r >= 0)
                r = context_init(&worker.context, &mine, root_fd);
        if (r >= 0) {
                worker.context.runner = runner;
                worker.modules = calloc(MAX(header->modules.n, 1U), sizeof(Module *));
                worker.types = calloc(MAX(header->types.n, 1U), sizeof(AgentdStateType *));
                if (!worker.modules || !worker.types)
                        r = -ENOMEM;
        }
        if (r < 0) {
                if (!worker.context.writer.buffer)
                        (void) message_writer_init(&worker.context.writer, SOCKET_FD);
                if (worker.context.writer.buffer) {
                        context_log(&worker.context, LOG_ERR,
                                WORKER_SETUP_FAILED " %s worker: could not %s: %s",
                                setup->kind == WORKER_CHECK ? "check" : "apply", step, strerror(-r));
                        (void) message_flush(&worker.context.writer);
                }
                _exit(WORKER_EXIT_SETUP);
        }

        message_begin(&worker.context.writer, MESSAGE_READY);
        (void) message_end(&worker.context.writer);
        (void) message_flush(&worker.context.writer);
        if (setup->type != WORKER_NO_TYPE) {
                _cleanup_free_ char *error = NULL;
                const AgentdStateType *type;

                /* What is wrong with it is told when it is asked for. */
                (void) open_type(&worker, setup->type, &type, &error);
        }
        r = worker_loop(&worker);
        for (uint32_t i = 0; i < header->modules.n; i++)
                module_close(worker.modules[i]);
        free(worker.modules);
        free(worker.types);
        context_done(&worker.context);
        arena_unmap(&worker.scratch);
        _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
