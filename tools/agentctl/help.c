/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What --help says, from the table of verbs. */

#include "agentctl.h"
#include "table.h"

/* The column in which explanations begin. */
#define HELP_COLUMN 22

static void print_line(const char *left, const char *help) {
        size_t width = text_width(left) + 2;

        (void) printf("  %s", left);
        if (width + 1 > HELP_COLUMN)
                (void) printf("\n%*s", HELP_COLUMN, "");
        else
                (void) printf("%*s", (int) (HELP_COLUMN - width), "");
        (void) printf("%s\n", help);
}

static void print_options(const Option *options) {
        for (const Option *o = options; o->name; o++) {
                char text[64];

                (void) snprintf(text, sizeof(text), "%s%c%s--%s%s%s", o->letter ? "-" : "",
                        o->letter ? o->letter : ' ', o->letter ? " " : "  ", o->name, o->argument ? " " : "",
                        o->argument ?: "");
                print_line(text, o->help);
        }
}

void help_print(void) {
        (void) printf("agentctl [OPTION…] VERB [ARGUMENT…]\n"
                      "\n"
                      "Looks at agentd on this host, and steers it.\n"
                      "\n"
                      "Verbs:\n");
        for (size_t i = 0; i < n_verbs; i++) {
                const Verb *verb = &verbs[i];
                char text[64];

                if (verb->hidden)
                        continue;
                (void) snprintf(text, sizeof(text), "%s%s%s", verb->name, *verb->arguments ? " " : "",
                        verb->arguments);
                print_line(text, verb->help);
        }
        (void) printf("\nOptions:\n");
        print_options(global_options);
        (void) printf("\n"
                      "agentctl VERB --help shows the options of a verb.\n"
                      "\n"
                      "Exit status: 0 fine, 1 a state failed or a run did not go through,\n"
                      "2 usage or invalid role, 3 agentd cannot be reached, 4 changes are\n"
                      "pending (plan --check).\n");
}

void help_print_verb(const Verb *verb) {
        (void) printf("agentctl %s%s%s%s\n\n%s.\n", verb->name, verb->options ? " [OPTION…]" : "",
                *verb->arguments ? " " : "", verb->arguments, verb->help);
        if (verb->more)
                (void) printf("%s\n", verb->more);
        if (verb->options) {
                (void) printf("\nOptions:\n");
                print_options(verb->options);
        }
        (void) printf("\nagentctl --help shows the options that all verbs have.\n");
}
