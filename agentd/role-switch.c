/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whether a role is on for this host, and whether its states are only audited. */

#include <fnmatch.h>

#include "role.h"

static const Value *role_value(const Role *role, const char *name) {
        return value_get(&role->table, name);
}

static void set_when(Loader *loader, Role *role, const Value *value) {
        Expression *expression;
        const Value *truth;
        Names names;

        names_init(&names, loader, role, NULL);
        if (names_fold(&names, value, EXPRESSION_NO_HOST | EXPRESSION_CONDITION, &loader->scratch,
                    &expression) < 0)
                return;
        if (expression_is_constant(expression, &truth) && !truth->boolean) {
                role->off = true;
                role->off_by = value;
        }
}

static bool matches_host(Loader *loader, const char *pattern) {
        static const char *const facts[] = { "hostname", "fqdn", "machine_id" };

        FOREACH_ELEMENT(fact, facts) {
                const char *name = loader_fact(loader, *fact);

                /* What cannot be told is matched by nothing. */
                if (*name && fnmatch(pattern, name, FNM_CASEFOLD) == 0)
                        return true;
        }
        return false;
}

/* At least one pattern must match, if there is one without '!'; none of those with it may. */
static void set_hosts(Loader *loader, Role *role, const Value *value) {
        bool wanted = false, matched = false, excluded = false;
        Names names;

        names_init(&names, loader, role, NULL);
        if (!loader_wants(loader, value, VALUE_ARRAY, "hosts",
                    "an array of patterns like [\"web-*.example.org\", \"!web-9.example.org\"]"))
                return;
        if (value->n_items == 0) {
                diagnostics_add(&loader->diagnostics, value->place,
                        "'hosts' is empty, so that the role would be for no host; write when = \"false\" if "
                        "that is meant");
                return;
        }
        VALUE_FOREACH_ITEM(item, value) {
                Value text;
                bool excludes;

                if (!loader_wants(loader, item, VALUE_STRING, "hosts", "an array of strings") ||
                        names_render(&names, item, &text) < 0)
                        continue;
                excludes = text.size > 0 && *text.text == '!';
                if (text.size == excludes || memchr(text.text, 0, text.size)) {
                        diagnostics_add(&loader->diagnostics, item->place,
                                "'%s' is no pattern for the name of a host", text.text);
                        continue;
                }
                if (excludes)
                        excluded = matches_host(loader, text.text + 1) || excluded;
                else {
                        wanted = true;
                        matched = matches_host(loader, text.text) || matched;
                }
        }
        if (excluded || (wanted && !matched)) {
                role->off = true;
                role->off_by = value;
        }
}

static void set_mode(Loader *loader, Role *role, const Value *value) {
        static const char *const words[] = { "apply", "audit" };
        const char *meant;

        if (!loader_wants(loader, value, VALUE_STRING, "mode", "one of apply, audit"))
                return;
        if (strlen(value->text) != value->size) {
                diagnostics_add(&loader->diagnostics, value->place,
                        "'mode' has a NUL in it; it must be one of apply, audit");
                return;
        }
        FOREACH_ELEMENT(word, words)
                if (streq(*word, value->text)) {
                        role->audit = role->audit || streq(*word, "audit");
                        return;
                }
        meant = suggest(value->text, words, ELEMENTSOF(words));
        if (meant)
                diagnostics_add(&loader->diagnostics, value->place,
                        "'mode' is '%.200s'; did you mean '%s'? (one of apply, audit)", value->text, meant);
        else
                diagnostics_add(&loader->diagnostics, value->place,
                        "'mode' is '%.200s'; it must be one of apply, audit", value->text);
}

void role_evaluate(Loader *loader, Role *role) {
        bool on = role->applied, audit = !role->applied;
        const Value *value;

        for (uint32_t i = 0; i < role->n_importers; i++)
                if (!role->importers[i]->importer->off) {
                        on = true;
                        audit = audit && role->importers[i]->importer->audit;
                }
        if (!on) {
                role->off = true;
                return;
        }
        /* Who has a role audited has what it imports audited, unless somebody else wants that applied. */
        role->audit = audit;

        value = role_value(role, "description");
        if (value)
                (void) loader_wants(loader, value, VALUE_STRING, "description", "a string");
        value = role_value(role, "mode");
        if (value)
                set_mode(loader, role, value);
        role_set_vars(loader, role);
        value = role_value(role, "hosts");
        if (value)
                set_hosts(loader, role, value);
        /* It may well read what only those hosts have. */
        value = role->off ? NULL : role_value(role, "when");
        if (value)
                set_when(loader, role, value);
        if (role->off)
                return;
        value = role_value(role, "tags");
        if (value) {
                Names names;

                names_init(&names, loader, role, NULL);
                (void) tags_read(&names, value, &role->tags);
        }
        role_give_vars(loader, role);
}
