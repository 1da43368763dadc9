/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which names a template or expression reads, what they are, and who says so. */

#include "role-explain.h"
#include "template.h"
#include "value-json.h"

/* ---- Listening -------------------------------------------------------------------------------------------------- */

static void on_noted(void *userdata, const char *name, size_t size) {
        Names *names = userdata;
        Tracer *tracer = userdata;

        for (uint32_t i = 0; i < tracer->n; i++)
                if (strlen(tracer->list[i]) == size && memcmp(tracer->list[i], name, size) == 0)
                        return;
        if (tracer->n < ELEMENTSOF(tracer->list))
                tracer->list[tracer->n++] = arena_strndup(&names->loader->scratch, name, size);
}

void tracer_init(Tracer *tracer, Explain *explain, const Role *role, const Value *item) {
        *tracer = (Tracer){};
        names_init(&tracer->names, explain->loader, role, item);
        tracer->names.scope.noted = on_noted;
}

/* *ret: the value with its templates filled in, as far as they can be. */
static void read_strings(Tracer *tracer, const Value *value, bool is_template, Value *ret) {
        Arena *arena = &tracer->names.loader->scratch;
        Value rendered;

        *ret = *value;
        if (value->type == VALUE_STRING) {
                if (names_render(&tracer->names, value, ret) >= 0 && is_template)
                        (void) names_render_file(&tracer->names, ret, &rendered);
        } else if (value->type == VALUE_ARRAY) {
                *ret = value_array();
                VALUE_FOREACH_ITEM(item, value) {
                        read_strings(tracer, item, is_template, &rendered);
                        (void) value_append(arena, ret, &rendered);
                }
        } else if (value->type == VALUE_TABLE) {
                *ret = value_table();
                VALUE_FOREACH_MEMBER(member, value) {
                        read_strings(tracer, &member->value, false, &rendered);
                        (void) value_add(arena, ret, member->key, member->key_size, &rendered);
                }
        }
}

Value tracer_read(Tracer *tracer, const Value *value, bool is_template) {
        Loader *loader = tracer->names.loader;
        uint32_t n = loader->diagnostics.n;
        Value rendered;

        read_strings(tracer, value, is_template, &rendered);
        /* Switches, numbers and times go as they are. */
        if (value->type == VALUE_STRING && rendered.type == VALUE_STRING && !is_template) {
                Value whole;

                if (names_evaluate(&tracer->names, value, &whole) >= 0 && whole.type != VALUE_ARRAY &&
                        whole.type != VALUE_TABLE)
                        rendered = whole;
        }
        loader->diagnostics.n = n;
        return rendered;
}

/* ---- Telling ---------------------------------------------------------------------------------------------------- */

/* What a dotted name leads to, from a table on; NULL: nothing. */
static const Value *walk(const Value *value, const char *parts) {
        while (value && parts) {
                const char *next = strchr(parts, '.');
                const Member *member =
                        value_find(value, parts, next ? (size_t) (next - parts) : strlen(parts));

                value = member ? &member->value : NULL;
                parts = next ? next + 1 : NULL;
        }
        return value;
}

static bool same_place(const Place *a, const Place *b) {
        return a->line == b->line && a->column == b->column && streq_ptr(a->file, b->file);
}

static bool is_from(const Value *table, const char *parts, const Value *value) {
        const Value *found = walk(table, parts);

        return found && same_place(&found->place, &value->place);
}

/* Whether the file lies in a directory of that name. */
static bool lies_in(const char *file, const char *directory) {
        const char *end = strrchr(file, '/');
        size_t n = strlen(directory);

        return end && (size_t) (end - file) > n && end[-(ssize_t) n - 1] == '/' &&
               memcmp(end - n, directory, n) == 0;
}

/* Which of the steps of role-vars.c a variable comes from; *ret_role: whose, or NULL. */
static const char *variable_by(const Loader *loader, const Role *role, const char *parts, const Value *value,
        const char **ret_role) {
        const char *file = value->place.file;

        *ret_role = NULL;
        if (!file)
                return "role";
        if (startswith(file, "--var "))
                return "--var";
        if (parts && is_from(&loader->host_vars, parts, value))
                return lies_in(file, "hosts") ? "vars.d/hosts" : "vars.d";
        for (uint32_t i = 0; parts && i < role->n_importers; i++) {
                const Import *import = role->importers[i];

                if (import->importer->off || !is_from(&import->vars, parts, value))
                        continue;
                *ret_role = import->importer->name;
                return "import";
        }
        *ret_role = role->name;
        if (streq(file, role->path))
                return "role";
        for (uint32_t i = 0; i < loader->n_roles; i++)
                if (streq(file, loader->list[i]->path))
                        *ret_role = loader->list[i]->name;
        return "importer";
}

/* A variable as it is written, before its templates were filled in; *ret_role: whose names are meant. NULL: that is not known any
 * more, as of files in vars.d. */
static const Value *find_written(const Loader *loader, const Role *role, const char *parts,
        const Value *value, const Role **ret_role) {
        for (uint32_t i = 0; i < role->n_importers; i++) {
                const Import *import = role->importers[i];

                if (import->importer->off || !import->given || !is_from(&import->vars, parts, value))
                        continue;
                *ret_role = import->importer;
                return walk(import->given, parts);
        }
        for (uint32_t i = 0; i < loader->n_roles; i++) {
                const Value *own = value_get(&loader->list[i]->table, "vars");

                if (!own || !is_from(own, parts, value))
                        continue;
                *ret_role = loader->list[i];
                return walk(own, parts);
        }
        return NULL;
}

/* What a variable is made of. */
static json_t *made_of(Explain *explain, const Role *role, const char *parts, const Value *value) {
        const Role *whose = NULL;
        const Value *written = parts ? find_written(explain->loader, role, parts, value, &whose) : NULL;
        Tracer tracer;
        json_t *list;

        if (!written || written->type != VALUE_STRING || explain->depth == EXPLAIN_DEPTH_MAX)
                return json_array();
        tracer_init(&tracer, explain, whose, NULL);
        (void) tracer_read(&tracer, written, false);
        tracer.n = MIN(tracer.n, explain->made_left);
        explain->made_left -= tracer.n;
        explain->depth++;
        list = tracer_names(explain, &tracer);
        explain->depth--;
        return list;
}

static json_t *name_to_json(Explain *explain, const Tracer *tracer, const char *name) {
        const Names *names = &tracer->names;
        const Loader *loader = explain->loader;
        const char *dot = strchr(name, '.'), *parts = dot ? dot + 1 : NULL, *by = "item", *role = NULL;
        size_t size = dot ? (size_t) (dot - name) : strlen(name);
        const Value *first = names->scope.lookup((void *) names, name, size), *value = walk(first, parts);
        bool is_list;

        if (!value)
                by = "nothing";
        else if (size == 5 && memcmp(name, "facts", 5) == 0)
                by = "fact";
        else if (size == 4 && memcmp(name, "vars", 4) == 0)
                by = variable_by(loader, names->role, parts, value, &role);
        /* Of tables and arrays others may read what is nobody's business. */
        is_list = value && (value->type == VALUE_ARRAY || value->type == VALUE_TABLE);
        return json_pack("{s:o, s:o, s:o, s:s, s:s?, s:o, s:o}", "name", json_from_text(name, strlen(name)),
                "value", !value || is_list ? json_null() : explain_written(explain, value), "kind",
                !value    ? json_null()
                : is_list ? json_sprintf("%s of %u", value_kind(value),
                                    value->type == VALUE_ARRAY ? value->n_items : value->n_members)
                          : json_string(value_kind(value)),
                "by", by, "role", role, "place",
                !value || streq(by, "--var") ? json_null() : explain_place(&value->place), "names",
                value && !is_list && size == 4 && memcmp(name, "vars", 4) == 0
                        ? made_of(explain, names->role, parts, value)
                        : json_array());
}

json_t *tracer_names(Explain *explain, const Tracer *tracer) {
        json_t *list = json_array();

        for (uint32_t i = 0; list && i < tracer->n; i++)
                if (json_array_append_new(list, name_to_json(explain, tracer, tracer->list[i])) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}
