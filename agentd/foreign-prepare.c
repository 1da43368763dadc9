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
        const char **
                refusals; /* of what is to be removed: by state, from n_declared on, what is wrong; NULL: errors
                                * become diagnostics */
} Question;

static void refuse_removal(const Question *question, size_t i, const char *text) {
        const State *state = question->states[i];
        const char **why = &question->refusals[state->index - question->loader->n_declared];

        if (!*why)
                *why = state->flags & IMAGE_STATE_SENSITIVE
                               ? "its module refuses it; why is not shown, as the state is sensitive"
                               : arena_strdup(&question->loader->scratch, text);
}

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

        if (question->refusals) {
                refuse_removal(question, i, text);
                return;
        }
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

/* refusals: of what is to be removed; NULL: of what is declared. */
static void prepare_type(Loader *loader, const TypeEntry *type, const char **refusals) {
        Question question = { .loader = loader, .type = type, .refusals = refusals };
        uint32_t first = refusals ? loader->n_declared : 0;
        _cleanup_free_ char *why = NULL;
        int r;

        question.states = arena_new_array(&loader->scratch, State *, loader->n_states - first);
        for (uint32_t i = first; i < loader->n_states; i++) {
                State *state = loader->states[i];

                if (state->type != type || state->broken || !state->data)
                        continue;
                question.states[question.n++] = state;
                question.hide = question.hide || state->flags & IMAGE_STATE_SENSITIVE;
        }
        if (question.n == 0)
                return;
        r = ask(&question, &why);
        for (size_t i = 0; refusals && r < 0 && i < question.n; i++)
                refuse_removal(&question, i,
                        arena_printf(&loader->scratch, "the program was asked about it, and %s",
                                why ?: strerror(-r)));
        if (r < 0 && !refusals)
                diagnostics_add(&loader->diagnostics, (Place){ .file = type->module->path },
                        "the program was asked about the states of type '%s', and %s", type->name,
                        why ?: strerror(-r));
}

static void prepare_all(Loader *loader, const char **refusals) {
        for (uint32_t i = 0; i < loader->n_types; i++) {
                const TypeEntry *type = loader->types[i];

                if (type->module->foreign && foreign_type(type->module, type->type)->prepare)
                        prepare_type(loader, type, refusals);
        }
}

void foreign_prepare_all(Loader *loader) {
        prepare_all(loader, NULL);
}

void foreign_prepare_removals(Loader *loader, const char **refusals) {
        prepare_all(loader, refusals);
}
