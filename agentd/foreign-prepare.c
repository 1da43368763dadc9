/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* States of foreign modules in the loader: their parameters as the program will be told them, and its word on them. */

#include <syslog.h>

#include "foreign.h"
#include "role.h"

void foreign_state_prepare(Loader *loader, State *state) {
        const Foreign *foreign = state->type->module->foreign;
        AgentdPrepare prepare = { .loader = loader, .state = state };
        AgentdWatch watch = { .loader = loader, .state = state };
        _cleanup_free_ char *text = NULL;
        const char *why = NULL;
        uint32_t bad = 0;
        size_t size = 0;
        ForeignData *data;
        FILE *f;
        int r;

        for (uint32_t i = 0; i < state->n_sources; i++)
                agentd_watch_path(&watch, state->sources[i]);
        if (!utf8_is_valid(state->name, strlen(state->name))) {
                agentd_prepare_error(&prepare, -1, "the name is not UTF-8, which a program cannot be given");
                return;
        }

        f = open_memstream(&text, &size);
        if (!f) {
                agentd_prepare_error(&prepare, -1, "out of memory");
                return;
        }
        r = foreign_write_parameters(
                f, foreign->encoding, state->type->type->parameters, state->parameters, &bad, &why);
        if (fclose(f) != 0) {
                agentd_prepare_error(&prepare, -1, "out of memory");
                return;
        }
        if (r < 0) {
                agentd_prepare_error(
                        &prepare, (int) bad, "'%s' %s", state->type->type->parameters[bad].name, why);
                return;
        }

        data = arena_alloc(&loader->image, sizeof(*data) + size);
        data->encoding = foreign->encoding;
        data->size = (uint32_t) size;
        memcpy(data->parameters, text, size);
        state->data = data;
}

/* ---- What the program says ------------------------------------------------------------------------------------- */

/* The states of one request. */
typedef struct Question {
        Loader *loader;
        const TypeEntry *type;
        State **states;
        size_t n;
        bool hide; /* one of them is sensitive */
} Question;

static void on_log(void *userdata, int level, const char *text) {
        const Question *question = userdata;

        if (!question->hide)
                loader_log(question->loader, level,
                        arena_printf(&question->loader->scratch, "%s: %s", question->type->module->info.name,
                                text));
}

static void on_error(void *userdata, size_t i, const char *parameter, const char *text) {
        const Question *question = userdata;
        AgentdPrepare prepare = { .loader = question->loader, .state = question->states[i] };
        int index = -1;

        for (uint32_t k = 0; parameter && k < question->type->n_parameters; k++)
                if (streq(question->type->type->parameters[k].name, parameter))
                        index = (int) k;
        agentd_prepare_error(&prepare, index, "%s", text);
}

static void on_finish(void *userdata, size_t i, ForeignVerdict verdict, const char *error) {
        if (verdict != FOREIGN_DONE)
                on_error(userdata, i, NULL, error);
}

static void on_watch(void *userdata, size_t i, const char *kind, const char *what) {
        const Question *question = userdata;
        AgentdWatch watch = { .loader = question->loader, .state = question->states[i] };

        if (streq(kind, "path") && *what != '/')
                on_error(userdata, i, NULL,
                        arena_printf(&question->loader->scratch,
                                "its module wants the path '%.200s' watched, which is relative", what));
        else if (streq(kind, "path"))
                agentd_watch_path(&watch, what);
        else if (streq(kind, "unit"))
                agentd_watch_unit(&watch, what);
        else
                agentd_watch_bus(&watch, what);
}

static void on_after(void *userdata, size_t i, const char *id) {
        const Question *question = userdata;
        AgentdPrepare prepare = { .loader = question->loader, .state = question->states[i] };

        agentd_prepare_after(&prepare, id);
}

static void on_path_kind(void *userdata, size_t i, AgentdPathKind kind) {
        const Question *question = userdata;
        AgentdPrepare prepare = { .loader = question->loader, .state = question->states[i] };

        agentd_prepare_path_kind(&prepare, kind);
}

static const ForeignSink prepare_sink = {
        .log = on_log,
        .finish = on_finish,
        .error = on_error,
        .watch = on_watch,
        .after = on_after,
        .path_kind = on_path_kind,
};

static int ask(Question *question, char **reterr) {
        const Module *module = question->type->module;
        const ForeignCall call = {
                .request = FOREIGN_PREPARE,
                .encoding = module->foreign->encoding,
                .type = question->type->name,
                .root = question->loader->options->root,
        };
        _cleanup_free_ char *text = NULL;
        ForeignAnswer answer;
        size_t size = 0;
        FILE *f;
        int r;

        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        foreign_write_head(f, &call);
        for (size_t i = 0; i < question->n; i++) {
                const State *state = question->states[i];
                const AgentdState told = { .id = state->id, .name = state->name };
                const ForeignData *data = state->data;

                foreign_write_state(f, &call, i, &told, data->parameters, data->size);
        }
        foreign_write_tail(f, &call);
        if (fclose(f) != 0)
                return -ENOMEM;
        r = foreign_answer_init(&answer, call.request, call.encoding, question->n, &prepare_sink, question);
        if (r < 0)
                return r;
        answer.quiet = question->hide;

        r = foreign_ask(module, text, size, &answer, FOREIGN_PREPARE_USEC, reterr);
        for (size_t i = 0; r >= 0 && i < question->n; i++)
                if (!answer.ended[i])
                        on_error(question, i, NULL,
                                arena_printf(&question->loader->scratch,
                                        "program '%s' said nothing about this state; each one that it is "
                                        "asked about "
                                        "must have a result",
                                        module->path));
        foreign_answer_done(&answer);
        return r;
}

/* only: of this state; NULL: of all. */
static void prepare_type(Loader *loader, const TypeEntry *type, const State *only) {
        Question question = { .loader = loader, .type = type };
        _cleanup_free_ char *why = NULL;
        int r;

        question.states = arena_new_array(&loader->scratch, State *, only ? 1 : loader->n_states);
        for (uint32_t i = only ? only->index : 0; i < loader->n_states; i++) {
                State *state = loader->states[i];

                if ((only && state != only) || state->type != type || state->broken || !state->data)
                        continue;
                question.states[question.n++] = state;
                question.hide = question.hide || state->flags & IMAGE_STATE_SENSITIVE;
        }
        if (question.n == 0)
                return;
        r = ask(&question, &why);
        if (r < 0)
                diagnostics_add(&loader->diagnostics, (Place){ .file = type->module->path },
                        "the program was asked about the states of type '%s', and %s", type->name,
                        why ?: strerror(-r));
}

void foreign_prepare_one(Loader *loader, State *state) {
        const Module *module = state->type->module;

        if (module->foreign && foreign_type(module, state->type->type)->prepare)
                prepare_type(loader, state->type, state);
}

void foreign_prepare_all(Loader *loader) {
        for (uint32_t i = 0; i < loader->n_types; i++) {
                const TypeEntry *type = loader->types[i];

                if (type->module->foreign && foreign_type(type->module, type->type)->prepare)
                        prepare_type(loader, type, NULL);
        }
}
