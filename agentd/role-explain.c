/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where all that is said of a state comes from: the answer of `agentctl explain`, but for what the engine knows. */

#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>
#include <syslog.h>

#include "expression.h"
#include "role-explain.h"
#include "value-json.h"

#define HIDDEN "<sensitive>"

void explain_settings_of(
        Loader *loader, const State *state, const Value **ret, const Role *const **ret_roles) {
        (void) override_settings(
                loader, state->role, state->type, state->id, &state->declaration->value, ret, ret_roles);
}

/* ---- Values ----------------------------------------------------------------------------------------------------- */

json_t *explain_place(const Place *place) {
        if (!place->file)
                return json_null();
        return json_pack("{s:o, s:o, s:o}", "file", json_from_text(place->file, strlen(place->file)), "line",
                place->line > 0 ? json_integer(place->line) : json_null(), "column",
                place->column > 0 ? json_integer(place->column) : json_null());
}

json_t *explain_text(Explain *explain, const char *text, size_t size) {
        size_t most = MIN(EXPLAIN_TEXT_MAX, explain->left), n = MIN(size, most);
        _cleanup_free_ char *cut = NULL;

        if (explain->hidden)
                return json_string(HIDDEN);
        while (n < size && n > 0 && ((unsigned char) text[n] & 0xc0) == 0x80)
                n--;
        explain->left -= n;
        if (n == size)
                return json_from_text(text, size);
        if (asprintf(&cut, "%.*s…", (int) n, text) < 0)
                return NULL;
        return json_from_text(cut, strlen(cut));
}

static json_t *number(double real) {
        return isfinite(real) ? json_real(real) : json_null();
}

/* A list that is filled one by one; a NULL among them spoils it. */
static json_t *append(json_t *list, json_t *item) {
        if (list && json_array_append_new(list, item) >= 0)
                return list;
        json_decref(list);
        return NULL;
}

static json_t *set(json_t *object, const char *key, size_t size, json_t *value) {
        _cleanup_free_ char *good = utf8_make_valid(key, size, &size);

        if (object && good && json_object_setn_new(object, good, size, value) >= 0)
                return object;
        json_decref(object);
        return NULL;
}

json_t *explain_written(Explain *explain, const Value *value) {
        json_t *json;

        if (explain->hidden || value->tainted)
                return json_string(HIDDEN);
        switch (value->type) {
        case VALUE_NULL: return json_null();
        case VALUE_BOOLEAN: return json_boolean(value->boolean);
        case VALUE_INTEGER: return json_integer(value->integer);
        case VALUE_FLOAT: return number(value->real);
        case VALUE_ARRAY:
                json = json_array();
                for (uint32_t i = 0; json && i < value->n_items && i < EXPLAIN_ITEMS_MAX; i++)
                        json = append(json, explain_written(explain, &value->items[i]));
                return json;
        case VALUE_TABLE:
                json = json_object();
                for (uint32_t i = 0; json && i < value->n_members && i < EXPLAIN_ITEMS_MAX; i++) {
                        const Member *member = &value->members[i];

                        json = set(json, member->key, member->key_size,
                                explain_written(explain, &member->value));
                }
                return json;
        default: return explain_text(explain, value->text, value->size);
        }
}

static json_t *integer_to_json(const AgentdParameter *parameter, int64_t integer) {
        switch (parameter ? (uint32_t) parameter->type : AGENTD_ANY) {
        case AGENTD_MODE: return json_sprintf("%04" PRIo64, (uint64_t) integer);
        case AGENTD_TIMESPAN:
                return json_string(integer == INT64_MAX ? "infinity" : FORMAT_TIMESPAN((usec_t) integer));
        default: return json_integer(integer);
        }
}

/* parameter: how it is declared; NULL: nothing is known of what it is in. */
static json_t *seen(Explain *explain, const AgentdParameter *parameter, const AgentdValue *value) {
        json_t *json;

        if (explain->hidden || (parameter && parameter->flags & AGENTD_SECRET))
                return json_string(HIDDEN);
        switch (value->type) {
        case AGENTD_BOOLEAN: return json_boolean(value->boolean);
        case AGENTD_INTEGER: return integer_to_json(parameter, value->integer);
        case AGENTD_FLOAT: return number(value->real);
        case AGENTD_STRING: return explain_text(explain, value->string, value->size);
        case AGENTD_LIST:
                json = json_array();
                for (uint32_t i = 0; json && i < value->n && i < EXPLAIN_ITEMS_MAX; i++)
                        json = append(json, seen(explain, NULL, &value->items[i]));
                return json;
        case AGENTD_TABLE:
                json = json_object();
                for (uint32_t i = 0; json && i < value->n && i < EXPLAIN_ITEMS_MAX; i++)
                        json = set(json, value->members[i].key, strlen(value->members[i].key),
                                seen(explain, NULL, &value->members[i].value));
                return json;
        case AGENTD_RECORD:
                json = json_object();
                for (uint32_t i = 0; json && parameter && i < value->n; i++)
                        if (value->items[i].type != AGENTD_NONE)
                                json = set(json, parameter->fields[i].name,
                                        strlen(parameter->fields[i].name),
                                        seen(explain, &parameter->fields[i], &value->items[i]));
                return json;
        default: return json_null();
        }
}

/* ---- Settings --------------------------------------------------------------------------------------------------- */

static const Role *role_of_setting(const Explain *explain, const Member *member) {
        return explain->roles ? explain->roles[member - explain->settings->members] : NULL;
}

static const Member *find_setting(const Explain *explain, const char *name) {
        return value_find(explain->settings, name, strlen(name));
}

static json_t *setting_to_json(Explain *explain, const Member *member) {
        const TypeEntry *type = explain->state->type;
        const Role *role = role_of_setting(explain, member);
        json_t *value = NULL;
        Tracer tracer;

        tracer_init(&tracer, explain, role ?: explain->state->role, explain->state->item);
        for (uint32_t i = 0; i < type->n_parameters && !value; i++) {
                const AgentdParameter *parameter = &type->type->parameters[i];

                if (!streq(parameter->name, member->key))
                        continue;
                if (!(parameter->flags & AGENTD_LITERAL))
                        (void) tracer_read(&tracer, &member->value, parameter->flags & AGENTD_TEMPLATE);
                value = seen(explain, parameter, &explain->state->parameters[i]);
        }
        if (!value) {
                /* One that every state has: whatever it means, this is what is said. */
                const Value rendered = tracer_read(&tracer, &member->value, false);

                value = explain_written(explain, &rendered);
        }
        return json_pack("{s:s, s:o, s:s, s:s?, s:o, s:o}", "name", member->key, "value", value, "by",
                role ? "override" : "state", "role", role ? role->name : NULL, "place",
                explain_place(&member->place), "names", tracer_names(explain, &tracer));
}

static json_t *default_to_json(const char *name, const char *by, json_t *value) {
        return json_pack("{s:s, s:o, s:s, s:n, s:n, s:[]}", "name", name, "value", value, "by", by, "role",
                "place", "names");
}

static json_t *settings_to_json(Explain *explain) {
        const State *state = explain->state;
        const AgentdStateType *type = state->type->type;
        usec_t usual = type->timeout_usec ?: STATE_TIMEOUT_USEC;
        json_t *list = json_array();

        VALUE_FOREACH_MEMBER(member, explain->settings)
                if (!streq(member->key, "when") && !streq(member->key, "for_each"))
                        list = append(list, setting_to_json(explain, member));
        for (uint32_t i = 0; i < state->type->n_parameters; i++) {
                const AgentdParameter *parameter = &type->parameters[i];

                if (state->parameters[i].type != AGENTD_NONE && !find_setting(explain, parameter->name))
                        list = append(list, default_to_json(parameter->name, "default",
                                                    seen(explain, parameter, &state->parameters[i])));
        }
        if (!find_setting(explain, "timeout"))
                list = append(
                        list, default_to_json("timeout", state->timeout_usec == usual ? "default" : "module",
                                      state->timeout_usec == USEC_INFINITY
                                              ? json_string("infinity")
                                              : json_string(FORMAT_TIMESPAN(state->timeout_usec))));
        return list;
}

/* ---- Conditions and loops --------------------------------------------------------------------------------------- */

static json_t *when_to_json(Explain *explain) {
        const Member *member = find_setting(explain, "when");
        Loader *loader = explain->loader;
        const Value *constant = NULL;
        const Role *role;
        Expression *expression;
        Tracer tracer;
        json_t *becomes;

        if (!member)
                return json_null();
        role = role_of_setting(explain, member);
        tracer_init(&tracer, explain, role ?: explain->state->role, explain->state->item);
        if (names_fold(&tracer.names, &member->value, EXPRESSION_CONDITION, &loader->scratch, &expression) <
                0)
                return NULL;
        if (expression_is_constant(expression, &constant))
                becomes = json_null();
        else {
                const char *text = expression_format(&loader->scratch, expression);

                becomes = explain_text(explain, text, strlen(text));
        }
        return json_pack("{s:o, s:o, s:s, s:s?, s:o, s:o, s:o}", "text",
                json_from_text(member->value.text, member->value.size), "becomes", becomes, "by",
                role ? "override" : "state", "role", role ? role->name : NULL, "value",
                constant ? json_boolean(constant->boolean) : json_null(), "place",
                explain_place(&member->value.place), "names", tracer_names(explain, &tracer));
}

static json_t *loop_to_json(Explain *explain) {
        const State *state = explain->state;
        const Value *loop = value_get(&state->declaration->value, "for_each"), *key, *item = state->item;
        Expression *expression;
        Tracer tracer;
        bool scalar;

        if (!loop || !item)
                return json_null();
        tracer_init(&tracer, explain, state->role, NULL);
        if (loop->type != VALUE_STRING)
                (void) tracer_read(&tracer, loop, false);
        else if (names_fold(&tracer.names, loop, EXPRESSION_NO_HOST, &explain->loader->scratch,
                         &expression) < 0)
                return NULL;
        key = state->item_keyed ? value_get(item, "key") : NULL;
        if (state->item_keyed)
                item = value_get(item, "value");
        /* Of more than that other states may read what is nobody's business. */
        scalar = item->type != VALUE_TABLE && item->type != VALUE_ARRAY;
        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "text",
                loop->type == VALUE_STRING ? json_from_text(loop->text, loop->size) : json_null(), "place",
                explain_place(&loop->place), "number", key ? json_null() : json_integer(state->item_number),
                "key", key ? explain_written(explain, key) : json_null(), "value",
                scalar ? explain_written(explain, item) : json_null(), "item_place",
                explain_place(&item->place), "names", tracer_names(explain, &tracer));
}

/* What the name of the state is made of. */
static json_t *id_names_to_json(Explain *explain) {
        const Member *declaration = explain->state->declaration;
        const Value key = {
                .type = VALUE_STRING,
                .place = declaration->place,
                .text = declaration->key,
                .size = declaration->key_size,
        };
        Tracer tracer;

        tracer_init(&tracer, explain, explain->state->role, explain->state->item);
        (void) tracer_read(&tracer, &key, false);
        return tracer_names(explain, &tracer);
}

/* ---- Roles ------------------------------------------------------------------------------------------------------ */

static json_t *step_to_json(const Import *import) {
        const char *name = import->importer->name, *path = import->importer->path;

        return json_pack("{s:o, s:o, s:b, s:o}", "role", json_from_text(name, strlen(name)), "path",
                json_from_text(path, strlen(path)), "applied", import->importer->applied, "place",
                explain_place(&import->place));
}

/* The shortest way from a role that is applied by itself: the imports, the first of them last. Roles that are on have one, since
 * nobody imports himself in the end. */
static json_t *chain_to_json(const Loader *loader, const Import *import) {
        json_t *list = json_array();

        for (uint32_t n = 0; list && import && n < loader->n_roles; n++) {
                const Role *role = import->importer;
                json_t *step = step_to_json(import);

                if (json_array_insert_new(list, 0, step) < 0) {
                        json_decref(list);
                        return NULL;
                }
                import = NULL;
                for (uint32_t i = 0; !role->applied && i < role->n_importers && !import; i++)
                        if (!role->importers[i]->importer->off)
                                import = role->importers[i];
        }
        return list;
}

static json_t *role_to_json(Explain *explain) {
        const Role *role = explain->state->role;
        json_t *chains = json_array();
        uint32_t n = 0;

        for (uint32_t i = 0; i < role->n_importers && n < EXPLAIN_CHAINS_MAX; i++)
                if (!role->importers[i]->importer->off) {
                        chains = append(chains, chain_to_json(explain->loader, role->importers[i]));
                        n++;
                }
        return json_pack("{s:o, s:o, s:b, s:o}", "name", json_from_text(role->name, strlen(role->name)),
                "path", json_from_text(role->path, strlen(role->path)), "applied", role->applied, "imported",
                chains);
}

/* The role that says mode = "audit", for itself or what it imports; NULL: none does. */
static const Role *find_auditor(const Role *role, const Value **ret) {
        while (role && role->audit) {
                const Value *mode = value_get(&role->table, "mode");
                const Role *importer = NULL;

                if (mode && mode->type == VALUE_STRING && streq(mode->text, "audit")) {
                        *ret = mode;
                        return role;
                }
                for (uint32_t i = 0; i < role->n_importers && !importer; i++)
                        if (!role->importers[i]->importer->off)
                                importer = role->importers[i]->importer;
                role = importer;
        }
        return NULL;
}

static json_t *audit_to_json(const Explain *explain) {
        const Member *member = find_setting(explain, "audit");
        const Value *mode = NULL;
        const Role *role;

        if (explain->loader->settings.audit)
                return json_pack("{s:s, s:n, s:n}", "by", "settings", "role", "place");
        role = find_auditor(explain->state->role, &mode);
        if (role)
                return json_pack("{s:s, s:s, s:o}", "by", "role", "role", role->name, "place",
                        explain_place(&mode->place));
        if (!member || member->value.type != VALUE_BOOLEAN || !member->value.boolean)
                return json_null();
        role = role_of_setting(explain, member);
        return json_pack("{s:s, s:s?, s:o}", "by", role ? "override" : "state", "role",
                role ? role->name : NULL, "place", explain_place(&member->place));
}

/* ---- The state -------------------------------------------------------------------------------------------------- */

static json_t *state_to_json(Loader *loader, const State *state) {
        const ImageHeader *header = (const ImageHeader *) loader->image.base;
        const ImageState *in_image =
                (const ImageState *) (loader->image.base + header->states.offset) + state->index;
        Explain explain = {
                .loader = loader,
                .state = state,
                .hidden = in_image->flags & IMAGE_STATE_SENSITIVE,
                .left = EXPLAIN_BYTES_MAX,
                .made_left = EXPLAIN_MADE_MAX,
        };
        json_t *json;

        explain_settings_of(loader, state, &explain.settings, &explain.roles);
        json = json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o}", "state",
                json_from_text(state->id, strlen(state->id)), "type", state->type->name, "name",
                json_from_text(state->name, strlen(state->name)), "role", role_to_json(&explain), "place",
                explain_place(&state->place), "names", id_names_to_json(&explain), "module",
                json_from_text(state->type->module->path, strlen(state->type->module->path)), "sensitive",
                explain.hidden, "audit", audit_to_json(&explain), "for_each", loop_to_json(&explain), "when",
                when_to_json(&explain), "settings", settings_to_json(&explain));
        if (json && explain_order(&explain, json) >= 0)
                return json;
        json_decref(json);
        return NULL;
}

static int print_state(Loader *loader, FILE *f, const State *state) {
        json_t *json = state_to_json(loader, state);
        int r;

        if (!json)
                return -ENOMEM;
        r = json_dumpf(json, f, JSON_COMPACT) < 0 || fputc('\n', f) < 0 ? -ENOMEM : 0;
        json_decref(json);
        return r;
}

static int print_matches(Loader *loader, FILE *f, const char *pattern, uint32_t *ret_n) {
        int r = 0;

        for (uint32_t i = 0; i < loader->n_declared && r >= 0; i++) {
                if (fnmatch(pattern, loader->states[i]->id, 0) != 0)
                        continue;
                if (ftell(f) > (long) (LOAD_EXPLANATION_MAX / 2)) {
                        loader_log(loader, LOG_WARNING,
                                arena_printf(&loader->scratch,
                                        "'%s' matches more states than can be explained at once", pattern));
                        break;
                }
                r = print_state(loader, f, loader->states[i]);
                ++*ret_n;
        }
        return r;
}

int explain_run(Loader *loader, const char **ret, size_t *ret_size, bool *ret_found) {
        /* People may write it as they like, programs have it from where it is listed. */
        const char *id = loader->options->explain_glob
                                 ? normalise_reference(loader, loader->options->explain)
                                 : loader->options->explain;
        const State *state = loader_state(loader, id);
        uint32_t n = state != NULL;
        char *text = NULL;
        size_t size = 0;
        FILE *f;
        int r = 0;

        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        if (state)
                r = print_state(loader, f, state);
        else if (loader->options->explain_glob && strpbrk(id, "*?["))
                r = print_matches(loader, f, id, &n);
        if (n == 0)
                (void) fputs(explain_missing(loader, id), f);
        if (fclose(f) != 0 || r < 0)
                return -ENOMEM;
        *ret = text;
        *ret_size = size;
        *ret_found = n > 0;
        return 0;
}
