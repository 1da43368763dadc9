/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Opens foreign modules; their check and apply. */

#include <assert.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <syslog.h>

#include "context.h"
#include "foreign.h"

/* The largest program: interpreters are not modules, but what a compiler makes may be. */
#define PROGRAM_SIZE_MAX MIB(256)

bool foreign_name_is_good(const char *file) {
        if (*file < 'a' || *file > 'z')
                return false;
        return file[strspn(file, "abcdefghijklmnopqrstuvwxyz0123456789-")] == 0;
}

const ForeignType *foreign_type(const Module *module, const AgentdStateType *type) {
        return &module->foreign->types[type - module->types];
}

/* ---- Asking ---------------------------------------------------------------------------------------------------- */

static int on_hello_line(void *userdata, const char *line, size_t size) {
        char **text = userdata;

        *text = strndup(line, size);
        return *text ? 1 : -ENOMEM;
}

/* Starts the program and shakes hands. *ret_line: what it said of itself. */
static int start(Foreign *foreign, const char *path, char **ret_line, char **reterr) {
        _cleanup_free_ char *request = NULL, *line = NULL;
        size_t size = 0;
        FILE *f;
        int r;

        r = foreign_process_start(path, &foreign->host, &foreign->process);
        if (r < 0) {
                if (asprintf(reterr, "did not run: %s", strerror(-r)) < 0)
                        *reterr = NULL;
                return r;
        }

        f = open_memstream(&request, &size);
        if (!f)
                return -ENOMEM;
        foreign_write_hello(f, foreign->host.root);
        if (fclose(f) != 0)
                return -ENOMEM;
        r = foreign_process_exchange(
                foreign->process, request, size, on_hello_line, &line, FOREIGN_HELLO_USEC, reterr);
        if (r < 0) {
                foreign->process = foreign_process_free(foreign->process);
                return r;
        }
        *ret_line = TAKE_PTR(line);
        return 0;
}

typedef struct Asking {
        ForeignAnswer *answer;
        char **reterr;
} Asking;

static int on_answer_line(void *userdata, const char *line, size_t size) {
        Asking *asking = userdata;

        return foreign_answer_line(asking->answer, line, size, asking->reterr);
}

int foreign_ask(const Module *module, const char *request, size_t size, ForeignAnswer *answer,
        usec_t deadline_usec, char **reterr) {
        Foreign *foreign = module->foreign;
        _cleanup_free_ char *why = NULL, *line = NULL, *begin = NULL, *whole = NULL;
        Asking asking = { .answer = answer, .reterr = &why };
        size_t begin_size = 0;
        int r;

        *reterr = NULL;
        if (!foreign->process) {
                r = start(foreign, module->path, &line, reterr);
                if (r < 0)
                        return r;
        }
        if (foreign->encoding == FOREIGN_SHELL) {
                /* Each time: it costs nothing, and a script may spoil its variables. */
                FILE *f = open_memstream(&begin, &begin_size);

                if (!f)
                        return -ENOMEM;
                foreign_write_begin(f);
                (void) fwrite(request, 1, size, f);
                if (fclose(f) != 0)
                        return -ENOMEM;
                request = begin;
                size = begin_size;
        }

        foreign_process_hide_errors(foreign->process, answer->quiet);
        r = foreign_process_exchange(
                foreign->process, request, size, on_answer_line, &asking, deadline_usec, reterr);
        if (r < 0) {
                if (!*reterr)
                        *reterr = TAKE_PTR(why);
                foreign->process = foreign_process_free(foreign->process);
        }
        return r;
}

/* ---- Check and apply ------------------------------------------------------------------------------------------- */

/* Where in the batch of the worker the states of one request are. */
typedef struct Call {
        AgentdContext *context;
        const size_t *indices;
        size_t *undo_bytes;
        const char *name; /* of the module */
        bool hide;        /* a state is sensitive: what the program logs is not shown */
        unsigned n_hidden;
} Call;

static void on_log(void *userdata, int level, const char *text) {
        Call *call = userdata;

        if (call->hide)
                call->n_hidden++;
        else
                context_log(call->context, level, "%s: %s", call->name, text);
}

static void on_finish(void *userdata, size_t i, ForeignVerdict verdict, const char *error) {
        Call *call = userdata;

        if (verdict == FOREIGN_DONE)
                agentd_done(call->context, call->indices[i]);
        else if (verdict == FOREIGN_FAILED)
                agentd_failed(call->context, call->indices[i], "%s", error);
        else
                agentd_unknown(call->context, call->indices[i], "%s", error);
}

static void on_difference(void *userdata, size_t i, const char *attribute, const AgentdValue *is,
        const AgentdValue *should, bool text) {
        Call *call = userdata;

        if (text)
                agentd_differs_text(call->context, call->indices[i], attribute,
                        is->type == AGENTD_STRING ? is->string : NULL, is->size,
                        should->type == AGENTD_STRING ? should->string : NULL, should->size);
        else
                agentd_differs(call->context, call->indices[i], attribute, is, should);
}

static void on_undo(void *userdata, size_t i, const char *what, const AgentdValue *old) {
        Call *call = userdata;

        /* What the engine bears of one state is limited, and nobody else counts these. Longer text is kept apart. */
        call->undo_bytes[i] += strlen(what) + (old->type == AGENTD_STRING ? MIN(old->size, KIB(1)) : 256);
        if (call->undo_bytes[i] <= MESSAGE_STATE_BYTES / 2)
                agentd_undo(call->context, call->indices[i], what, old);
}

static const ForeignSink call_sink = {
        .log = on_log,
        .finish = on_finish,
        .difference = on_difference,
        .undo = on_undo,
};

/* The program has ended, and which of several states it was for nobody knows: the engine finds out, as it does for all
 * modules, if this worker ends as well. */
_noreturn_ static void end_worker(AgentdContext *context, const char *path, const char *why) {
        context_log(context, LOG_DEBUG, WORKER_PROGRAM_ENDED "%s' %s", path, why);
        (void) message_flush(&context->writer);
        _exit(WORKER_EXIT_PROGRAM);
}

static int write_request(
        FILE *f, const ForeignCall *call, const AgentdState *states, const size_t *indices, size_t n) {
        foreign_write_head(f, call);
        for (size_t i = 0; i < n; i++) {
                const AgentdState *state = &states[indices[i]];
                const ForeignData *data = state->data;

                foreign_write_state(f, call, i, state, data->parameters, data->size);
        }
        foreign_write_tail(f, call);
        return fclose(f) == 0 ? 0 : -ENOMEM;
}

static int ask(AgentdContext *context, const AgentdState *states, const size_t *indices, size_t n,
        unsigned flags, bool hide) {
        const Module *module = context->module;
        const ForeignCall request = {
                .request = context->phase == PHASE_APPLY ? FOREIGN_APPLY : FOREIGN_CHECK,
                .encoding = module->foreign->encoding,
                .type = context->type->name,
                .root = module->foreign->host.root,
                .flags = flags,
        };
        _cleanup_free_ size_t *undo_bytes = calloc(n, sizeof(size_t));
        _cleanup_free_ char *text = NULL, *why = NULL;
        Call call = {
                .context = context,
                .indices = indices,
                .undo_bytes = undo_bytes,
                .name = module->info.name,
                .hide = hide,
        };
        ForeignAnswer answer;
        size_t size = 0;
        FILE *f;
        int r;

        f = open_memstream(&text, &size);
        if (!f || !undo_bytes)
                return -ENOMEM;
        r = write_request(f, &request, states, indices, n);
        if (r < 0)
                return r;
        r = foreign_answer_init(&answer, request.request, request.encoding, n, &call_sink, &call);
        if (r < 0)
                return r;
        answer.quiet = hide;

        if (context->phase == PHASE_APPLY)
                context_will_change(context);
        r = foreign_ask(module, text, size, &answer, USEC_INFINITY, &why);
        if (r == -EPIPE && n - answer.n_ended > 1)
                end_worker(context, module->path, why ?: "ended");
        for (size_t i = 0; i < n; i++) {
                if (answer.ended[i])
                        continue;
                if (r < 0)
                        agentd_failed(
                                context, indices[i], "program '%s' %s", module->path, why ?: strerror(-r));
                else
                        agentd_failed(context, indices[i],
                                "program '%s' said nothing about this state; each one that it is asked "
                                "about must "
                                "have a result",
                                module->path);
        }
        foreign_answer_done(&answer);
        if (call.n_hidden > 0)
                context_log(context, LOG_WARNING,
                        "%s: %u lines of its log are not shown, as a state is sensitive", call.name,
                        call.n_hidden);
        return 0;
}

static int call_program(AgentdContext *context, const AgentdState *states, size_t n, unsigned flags) {
        const Module *module = context->module;
        _cleanup_free_ size_t *indices = calloc(n, sizeof(size_t));
        bool hide = false;
        size_t m = 0;

        if (!indices)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                const ForeignData *data = states[i].data;

                if (!context->root_is_host && !foreign_type(module, context->type)->root) {
                        agentd_failed(context, i,
                                "type '%s' does not say \"root\": true, that it respects --root, so it is "
                                "not asked",
                                context->type->name);
                        continue;
                }
                if (!data || data->encoding != module->foreign->encoding) {
                        agentd_failed(context, i,
                                "program '%s' declares something else each time that it is started",
                                module->path);
                        continue;
                }
                hide = hide ||
                       image_state(context->image, context->states[i])->flags & IMAGE_STATE_SENSITIVE;
                indices[m++] = i;
        }
        return m > 0 ? ask(context, states, indices, m, flags, hide) : 0;
}

/* ---- Opening --------------------------------------------------------------------------------------------------- */

Foreign *foreign_free(Foreign *foreign) {
        if (!foreign)
                return NULL;
        foreign_process_free(foreign->process);
        arena_unmap(&foreign->arena);
        free(foreign);
        return NULL;
}

/* The hash of the file stands for the build id. What it imports may change without anybody knowing. */
static int hash_file(int fd, Module *module, char **reterr) {
        _cleanup_free_ uint8_t *buffer = malloc(KIB(64));
        crypto_generichash_state hash;
        size_t size = 0;
        ssize_t n;

        if (!buffer)
                return -ENOMEM;
        (void) crypto_generichash_init(&hash, NULL, 0, IMAGE_BUILD_ID_SIZE);
        while ((n = read_full(fd, buffer, KIB(64))) > 0) {
                (void) crypto_generichash_update(&hash, buffer, (size_t) n);
                size += (size_t) n;
                if (size > PROGRAM_SIZE_MAX) {
                        *reterr = strdup("it is larger than a program should be");
                        return -EFBIG;
                }
        }
        if (n < 0)
                return (int) n;
        (void) crypto_generichash_final(&hash, module->build_id, IMAGE_BUILD_ID_SIZE);
        module->build_id_size = IMAGE_BUILD_ID_SIZE;
        return 0;
}

static int open_program(Module *module, const ForeignHost *host, char **reterr) {
        _cleanup_free_ char *line = NULL, *why = NULL;
        ForeignHello hello;
        int r;

        module->foreign = calloc(1, sizeof(*module->foreign));
        if (!module->foreign)
                return -ENOMEM;
        module->foreign->host = *host;
        module->foreign->host.build_id = NULL;
        /* A member of the shortest declaration takes two bytes in the line. */
        r = arena_map(&module->foreign->arena, 64 * FOREIGN_HELLO_MAX, NULL);
        if (r < 0)
                return r;
        r = start(module->foreign, module->path, &line, &why);
        if (r >= 0)
                r = foreign_read_hello(&module->foreign->arena, line, strlen(line), &hello, &why);
        if (r < 0) {
                if (why && asprintf(reterr, "it %s", why) < 0)
                        *reterr = NULL;
                return r;
        }

        module->info = hello.info;
        module->foreign->types = hello.types;
        module->foreign->encoding = hello.encoding;
        for (uint32_t i = 0; hello.info.state_types[i]; i++) {
                AgentdStateType *type = (AgentdStateType *) hello.info.state_types[i];

                type->check = type->apply = call_program;
        }
        return module_take(module, "", reterr);
}

int foreign_open(const char *path, const ForeignHost *host, Module **ret, char **reterr) {
        _cleanup_(module_closep) Module *module = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int r;

        assert(path);
        assert(ret);
        assert(reterr);

        fd = module_open_file(path, reterr);
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        /* Checks run as a user of their own. */
        if ((st.st_mode & 0111) != 0111) {
                *reterr = strdup("it is not executable for everybody; chmod 0755 makes it so");
                return -EACCES;
        }
        module = calloc(1, sizeof(*module));
        if (!module)
                return -ENOMEM;
        module->path = strdup(path);
        if (!module->path)
                return -ENOMEM;
        r = hash_file(fd, module, reterr);
        if (r < 0)
                return r;
        if (host->build_id && memcmp(module->build_id, host->build_id, IMAGE_BUILD_ID_SIZE) != 0)
                return -ESTALE;
        r = open_program(module, host, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(module);
        return 0;
}

int module_open_any(const char *path, const ForeignHost *host, Module **ret, char **reterr) {
        const char *base = strrchr(path, '/');

        return foreign_name_is_good(base ? base + 1 : path) ? foreign_open(path, host, ret, reterr)
                                                            : module_open(path, ret, reterr);
}
