/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Prints the state types of modules as tables of their parameters, in Markdown: what test-docs.py compares pages with.
 *
 * usage: print-types MODULE...
 */

#include <stdio.h>
#include <stdlib.h>

#include "doc.h"
#include "foreign.h"
#include "module-load.h"
#include "util.h"

int main(int argc, char **argv) {
        const ForeignHost host = { .root = "/" };
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
                        doc_print_parameters(stdout, "", module->types[k].parameters);
                }
        }
        return EXIT_SUCCESS;
}
