/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "agentctl.h"
#include "diagnostic.h"
#include "json.h"
#include "log.h"
#include "terminal.h"

/* The part of a fact that a dotted name leads to; NULL. Keys may have dots themselves, as in the name of a VLAN. */
static const json_t *find(const json_t *fact, const char *name) {
        for (size_t n = strcspn(name, ".");; n += 1 + strcspn(name + n + 1, ".")) {
                _cleanup_free_ char *key = strndup(name, n);
                const json_t *member = NULL, *found;

                if (!key)
                        return NULL;
                if (json_is_array(fact) && *key && key[strspn(key, "0123456789")] == 0)
                        member = json_array_get(fact, strtoul(key, NULL, 10));
                else
                        member = json_object_get(fact, key);
                if (member) {
                        found = name[n] ? find(member, name + n + 1) : member;
                        if (found)
                                return found;
                }
                if (!name[n])
                        return NULL;
        }
}

static bool is_tree(const json_t *fact) {
        json_t *item;
        size_t i;

        if (json_is_object(fact))
                return json_object_size(fact) > 0;
        json_array_foreach(fact, i, item) if (json_is_object(item) || json_is_array(item)) return true;
        return false;
}

static void print_value(const json_t *value) {
        _cleanup_free_ char *text = NULL;
        const char *shown = json_string_value(value);

        if (!shown)
                shown = text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        output_clean(stdout, shown ?: "?", strlen(shown ?: "?"));
        (void) fputc('\n', stdout);
}

/* "os.id = debian", a line for each. */
static void print_tree(const json_t *fact, const char *name, bool colour) {
        const char *key;
        json_t *member;
        size_t i;

        if (!is_tree(fact)) {
                if (*name) {
                        (void) fputs(colour ? COLOUR_BOLD : "", stdout);
                        output_clean(stdout, name, strlen(name));
                        (void) printf("%s = ", colour ? COLOUR_OFF : "");
                }
                print_value(fact);
                return;
        }
        json_object_foreach((json_t *) fact, key, member) {
                _cleanup_free_ char *longer = NULL;

                if (asprintf(&longer, "%s%s%s", name, *name ? "." : "", key) < 0)
                        return;
                print_tree(member, longer, colour);
        }
        json_array_foreach(fact, i, member) {
                _cleanup_free_ char *longer = NULL;

                if (asprintf(&longer, "%s%s%zu", name, *name ? "." : "", i) < 0)
                        return;
                print_tree(member, longer, colour);
        }
}

static int no_such_fact(const Invocation *invocation, const json_t *facts, const char *name) {
        _cleanup_free_ const char **names = calloc(json_object_size(facts) + 1, sizeof(char *));
        const char *meant, *key;
        json_t *member;
        size_t n = 0;

        if (names)
                json_object_foreach((json_t *) facts, key, member) names[n++] = key;
        meant = n > 0 ? suggest(name, names, n) : NULL;
        if (meant)
                return usage(invocation->verb, "There is no fact '%s'; did you mean '%s'?", name, meant);
        return usage(invocation->verb, "There is no fact '%s'", name);
}

int verb_facts(Invocation *invocation) {
        const char *name = invocation->n_words > 0 ? invocation->words[0] : "";
        const json_t *fact;
        json_t *facts = NULL;
        int r;

        r = client_get(&invocation->client, "/v1/facts", &facts);
        if (r != 0)
                return r;
        /* As roles have it. */
        name = startswith(name, "facts.") ?: name;
        fact = *name ? find(facts, name) : facts;
        if (!fact)
                r = no_such_fact(invocation, facts, name);
        else if (invocation->json)
                print_json(fact);
        else if (*name && !is_tree(fact))
                print_value(fact);
        else
                print_tree(fact, name, invocation->style.colour);
        json_decref(facts);
        return r;
}
