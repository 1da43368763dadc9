/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Prints the state types of modules as tables of their parameters, in Markdown: what test-docs.py compares pages with.
 *
 * usage: print-types MODULE...
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "foreign.h"
#include "util.h"

static const char *type_word(const AgentdParameter *parameter) {
        if (parameter->flags & (AGENTD_TEMPLATE | AGENTD_SOURCE))
                return "file name";
        if (parameter->flags & AGENTD_PATH)
                return "path";
        if (parameter->flags & AGENTD_USER)
                return "user";
        if (parameter->flags & AGENTD_GROUP)
                return "group";
        switch ((uint32_t) parameter->type) {
        case AGENTD_BOOLEAN: return "boolean";
        case AGENTD_INTEGER: return "integer";
        case AGENTD_FLOAT: return "number";
        case AGENTD_STRING: return "string";
        case AGENTD_LIST: return "array of strings";
        case AGENTD_TABLE:
        case AGENTD_RECORD: return "table";
        case AGENTD_MODE: return "string of octal digits";
        case AGENTD_TIMESPAN: return "time span";
        case AGENTD_BYTES: return "size";
        default: return "any";
        }
}

static void print_parameters(const char *prefix, const AgentdParameter *parameters) {
        for (const AgentdParameter *p = parameters; p && p->name; p++) {
                bool first = true;

                printf("| `%s%s` | ", prefix, p->name);
                if (p->choices)
                        for (const char *const *word = p->choices; *word; word++)
                                printf("%s`%s`", word == p->choices ? "" : ", ", *word);
                else
                        printf("%s", type_word(p));
                printf(" | ");
                if (p->flags & AGENTD_REQUIRED)
                        printf("required");
                else if (p->default_value)
                        printf("`%s`", p->default_value);
                printf(" | %s", p->documentation ?: "");
                for (const AgentdParameter *other = parameters; p->exclusive && other->name; other++)
                        if (other != p && streq_ptr(other->exclusive, p->exclusive)) {
                                printf("%s`%s`", first ? " (not with " : ", ", other->name);
                                first = false;
                        }
                printf("%s |\n", first ? "" : ")");
                if (p->type == AGENTD_RECORD) {
                        char inner[256];

                        (void) snprintf(inner, sizeof(inner), "%s%s.", prefix, p->name);
                        print_parameters(inner, p->fields);
                }
        }
}

int main(int argc, char **argv) {
        const ForeignHost host = { .root = "/" };

        (void) signal(SIGPIPE, SIG_IGN);
        for (int i = 1; i < argc; i++) {
                _cleanup_(module_closep) Module *module = NULL;
                _cleanup_free_ char *error = NULL;
                int r;

                r = module_open_any(argv[i], &host, &module, &error);
                if (r < 0) {
                        (void) fprintf(stderr, "%s: %s\n", argv[i], error ?: strerror(-r));
                        return EXIT_FAILURE;
                }
                for (uint32_t k = 0; k < module->n_types; k++) {
                        printf("# %s: %s\n", module->types[k].name, module->types[k].documentation ?: "");
                        print_parameters("", module->types[k].parameters);
                }
        }
        return EXIT_SUCCESS;
}
