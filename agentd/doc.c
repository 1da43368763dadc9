/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "builtin.h"
#include "doc.h"
#include "log.h"
#include "once.h"
#include "output.h"
#include "page.h"
#include "role.h"

#define SETTINGS_NAME "agentd.toml"
#define SCRATCH_BYTES GIB(1)
#define NAMES_MAX     512

/* ---- Parameters ------------------------------------------------------------------------------------------------ */

static const char *type_word(const AgentdParameter *parameter) {
        if (parameter->flags & (AGENTD_TEMPLATE | AGENTD_SOURCE))
                return "file name";
        if (parameter->flags & AGENTD_PATH)
                return "path";
        if (parameter->flags & AGENTD_USER)
                return "user";
        if (parameter->flags & AGENTD_GROUP)
                return "group";
        if (parameter->flags & AGENTD_CHECKSUM)
                return "checksum";
        switch ((uint32_t) parameter->type) {
        case AGENTD_BOOLEAN: return "boolean";
        case AGENTD_INTEGER: return "integer";
        case AGENTD_FLOAT: return "number";
        case AGENTD_STRING: return "string";
        case AGENTD_LIST: return "array of strings";
        case AGENTD_TABLE:
        case AGENTD_RECORD: return "table";
        case AGENTD_MODE:
                return parameter->flags & AGENTD_SYMBOLIC ? "mode, octal or symbolic"
                                                          : "string of octal digits";
        case AGENTD_TIMESPAN: return "time span";
        case AGENTD_BYTES: return "size";
        default: return "any";
        }
}

/* "`file`, `directory`", or the type. */
static void print_words(FILE *f, const AgentdParameter *parameter) {
        if (!parameter->choices) {
                (void) fputs(type_word(parameter), f);
                return;
        }
        for (const char *const *word = parameter->choices; *word; word++)
                (void) fprintf(f, "%s`%s`", word == parameter->choices ? "" : ", ", *word);
}

/* "`content`, `source`": what cannot be given together with it. Return: whether there is anything. */
static bool print_exclusive(
        FILE *f, const char *before, const AgentdParameter *all, const AgentdParameter *parameter) {
        bool first = true;

        for (const AgentdParameter *other = all; parameter->exclusive && other->name; other++)
                if (other != parameter && streq_ptr(other->exclusive, parameter->exclusive)) {
                        (void) fprintf(f, "%s`%s`", first ? before : ", ", other->name);
                        first = false;
                }
        return !first;
}

void doc_print_parameters(FILE *f, const char *prefix, const AgentdParameter *parameters) {
        for (const AgentdParameter *p = parameters; p && p->name; p++) {
                (void) fprintf(f, "| `%s%s` | ", prefix, p->name);
                print_words(f, p);
                (void) fputs(" | ", f);
                if (p->flags & AGENTD_REQUIRED)
                        (void) fputs("required", f);
                else if (p->default_value)
                        (void) fprintf(f, "`%s`", p->default_value);
                (void) fprintf(f, " | %s", p->documentation ?: "");
                (void) fprintf(f, "%s |\n", print_exclusive(f, " (not with ", parameters, p) ? ")" : "");
                if (p->type == AGENTD_RECORD) {
                        char inner[256];

                        (void) snprintf(inner, sizeof(inner), "%s%s.", prefix, p->name);
                        doc_print_parameters(f, inner, p->fields);
                }
        }
}

static void print_items(Page *page, const char *prefix, const AgentdParameter *parameters) {
        for (const AgentdParameter *p = parameters; p && p->name; p++) {
                _cleanup_free_ char *value = NULL;
                char name[256];
                size_t size;
                FILE *f = open_memstream(&value, &size);

                if (!f)
                        return;
                print_words(f, p);
                if (p->flags & AGENTD_REQUIRED)
                        (void) fputs("; required", f);
                else if (p->default_value)
                        (void) fprintf(f, "; default %s", *p->default_value ? p->default_value : "\"\"");
                (void) print_exclusive(f, "; not with ", parameters, p);
                (void) fclose(f);

                (void) snprintf(name, sizeof(name), "%s%s", prefix, p->name);
                page_item(page, name, value, p->documentation ?: "", NULL);
                if (p->type == AGENTD_RECORD) {
                        (void) snprintf(name, sizeof(name), "%s%s.", prefix, p->name);
                        print_items(page, name, p->fields);
                }
        }
}

/* The default as it is written in a role. */
static void print_default(FILE *f, const AgentdParameter *p) {
        const char *text = p->default_value;

        if (text && (p->type == AGENTD_BOOLEAN || p->type == AGENTD_INTEGER || p->type == AGENTD_FLOAT))
                (void) fputs(text, f);
        else if (p->type == AGENTD_LIST)
                (void) fputs("[]", f);
        else if (p->type == AGENTD_TABLE)
                (void) fputs("{}", f);
        else if (p->type == AGENTD_BOOLEAN)
                (void) fputs("false", f);
        else if (p->type == AGENTD_INTEGER || p->type == AGENTD_FLOAT)
                (void) fputs("0", f);
        else
                (void) fprintf(f, "\"%s\"", text ?: "");
}

static void print_toml(Page *page, const char *prefix, const AgentdParameter *parameters) {
        for (const AgentdParameter *p = parameters; p && p->name; p++) {
                _cleanup_free_ char *line = NULL;
                size_t size;
                FILE *f;

                if (p->type == AGENTD_RECORD) {
                        char inner[256];

                        (void) snprintf(inner, sizeof(inner), "%s%s.", prefix, p->name);
                        print_toml(page, inner, p->fields);
                        continue;
                }
                f = open_memstream(&line, &size);
                if (!f)
                        return;
                (void) fprintf(f, "%s%s: %s (", prefix, p->name, p->documentation ?: "");
                print_words(f, p);
                (void) fputs(p->flags & AGENTD_REQUIRED ? "; required)." : ").", f);
                (void) fclose(f);
                (void) fputc('\n', page->f);
                page_paragraph(page, line);
                (void) fprintf(page->f, "#%s%s = ", prefix, p->name);
                print_default(page->f, p);
                (void) fputc('\n', page->f);
        }
}

/* ---- Types ----------------------------------------------------------------------------------------------------- */

static int compare_types(const void *a, const void *b) {
        const TypeEntry *const *x = a, *const *y = b;

        return strcmp((*x)->name, (*y)->name);
}

static void print_notes(Page *page, const AgentdStateType *type) {
        char text[1024];

        if (page->style == REFERENCE_TEXT) {
                (void) snprintf(text, sizeof(text),
                        "In a role: [%s.\"%s\"]. One to fill in is printed by `agentd --doc %s "
                        "--style=toml`.",
                        type->name, type->flags & AGENTD_NAME_IS_PATH ? "/path" : "name", type->name);
                page_paragraph(page, text);
        }
        if (type->flags & AGENTD_NAME_IS_PATH)
                page_paragraph(
                        page, "The name of a state is an absolute path, which no other state may have.");
        if (type->flags & AGENTD_NO_PLAN)
                page_paragraph(page,
                        "Without changing anything it cannot be told what differs: in a plan the "
                        "result is `unknown`.");
        if (type->timeout_usec > 0) {
                (void) snprintf(text, sizeof(text), "Timeout: %s, unless the state has its own.",
                        FORMAT_TIMESPAN(type->timeout_usec));
                page_paragraph(page, text);
        }
}

static void print_state_settings(Page *page) {
        const char *name, *value, *documentation;

        page_heading(page, "Settings of every state");
        if (page->style == REFERENCE_MARKDOWN)
                (void) fputs("\n| setting | value | meaning |\n|---|---|---|\n", page->f);
        for (size_t i = 0; (name = state_setting(i, &value, &documentation)); i++)
                if (page->style == REFERENCE_MARKDOWN)
                        (void) fprintf(page->f, "| `%s` | %s | %s |\n", name, value, documentation);
                else
                        page_item(page, name, value, documentation, NULL);
}

/* The names of the types that have a setting, or NULL: all have it. */
static const char *types_with(Loader *loader, const char *setting) {
        const char *text = "";
        uint32_t n = 0;

        modules_open_all(loader);
        if (loader->n_types > 0)
                qsort(loader->types, loader->n_types, sizeof(TypeEntry *), compare_types);
        for (uint32_t i = 0; i < loader->n_types; i++)
                if (state_setting_is_for(setting, loader->types[i]->type))
                        text = arena_printf(&loader->scratch, "%s%s`%s`", text, n++ > 0 ? ", " : "",
                                loader->types[i]->name);
        return n < loader->n_types ? text : NULL;
}

/* Return: false: it is no setting that states have. */
static bool print_setting(Page *page, Loader *loader, const char *wanted) {
        const char *name, *value, *documentation, *types;
        size_t i = 0;

        while ((name = state_setting(i, &value, &documentation)) && !streq(name, wanted))
                i++;
        if (!name)
                return false;
        types = types_with(loader, name);
        page_title(page, name, documentation);
        page_paragraph(page, arena_printf(&loader->scratch, "Value: %s.", value));
        page_paragraph(page, !types        ? "A setting of every state."
                             : *types == 0 ? "A setting of states whose type knows how; no type here does."
                                           : arena_printf(&loader->scratch,
                                                     "A setting of states of these types: %s.", types));
        return true;
}

static void print_type(Page *page, const TypeEntry *entry) {
        const AgentdStateType *type = entry->type;

        page_title(page, type->name, type->documentation ?: "");
        if (page->style == REFERENCE_TOML) {
                (void) fprintf(page->f, "[%s.\"%s\"]\n", type->name,
                        type->flags & AGENTD_NAME_IS_PATH ? "/path" : "name");
                print_toml(page, "", type->parameters);
                return;
        }
        print_notes(page, type);
        if (entry->n_parameters > 0) {
                page_heading(page, "Parameters");
                if (page->style == REFERENCE_MARKDOWN) {
                        (void) fputs("\n| parameter | value | default | |\n|---|---|---|---|\n", page->f);
                        doc_print_parameters(page->f, "", type->parameters);
                } else
                        print_items(page, "", type->parameters);
        }
        print_state_settings(page);
}

/* ---- The list -------------------------------------------------------------------------------------------------- */

static int compare_helpers(const void *a, const void *b) {
        const Helper *const *x = a, *const *y = b;

        return strcmp((*x)->name, (*y)->name);
}

static void print_entry(Page *page, int width, const char *name, const char *text) {
        switch (page->style) {
        case REFERENCE_MARKDOWN: (void) fprintf(page->f, "| `%s` | %s |\n", name, text); break;
        case REFERENCE_ROFF: page_item(page, name, "state type", text, NULL); break;
        default:
                (void) fprintf(page->f, "%s%-*s%s  ", page->bold ? "\033[1m" : "", width, name,
                        page->bold ? "\033[0m" : "");
                for (const char *p = text; *p; p++)
                        if (*p != '`')
                                (void) fputc(*p, page->f);
                (void) fputc('\n', page->f);
        }
}

/* ---- Helpers ---------------------------------------------------------------------------------------------------- */

/* Those of the language and those of modules, by name; *ret_n of them, in the arena. */
static const Helper **list_helpers(Loader *loader, size_t *ret_n) {
        const HelperSet own = helper_set(-1);
        const Helper **list;
        size_t n = own.n;

        while (loader_nth_helper(loader, n - own.n))
                n++;
        list = arena_new_array(&loader->scratch, const Helper *, n);
        for (size_t i = 0; i < n; i++)
                list[i] = i < own.n ? &own.helpers[i] : loader_nth_helper(loader, i - own.n);
        qsort(list, n, sizeof(*list), compare_helpers);
        *ret_n = n;
        return list;
}

/* "has(table, key)"; "max(array)`, `max(a, b, …)". */
static const char *signature(Loader *loader, const Helper *helper, const char *between) {
        const char *text = "", *arguments = helper->arguments;

        for (const char *end; arguments; arguments = end ? end + 3 : NULL) {
                end = strstr(arguments, " | ");
                text = arena_printf(&loader->scratch, "%s%s%s(%.*s)", text, *text ? between : "",
                        helper->name, end ? (int) (end - arguments) : (int) strlen(arguments), arguments);
        }
        return text;
}

static const char *when_called(const Helper *helper) {
        return helper->flags & HELPER_HOST
                       ? "It looks at the host, so it is asked at each check, and not at load."
                       : "It is asked at load.";
}

static void print_helper(Page *page, Loader *loader, const Helper *helper) {
        const HelperSet own = helper_set(-1);

        page_title(page, helper->name, helper->documentation);
        page_paragraph(page, arena_printf(&loader->scratch, "`%s`", signature(loader, helper, "`, `")));
        page_paragraph(page, when_called(helper));
        if (!helper_set_find(&own, helper->name))
                page_paragraph(page, arena_printf(&loader->scratch, "It is a helper of module `%s`.",
                                             ((const ModuleHelper *) helper)->module->path));
}

static void print_helpers(Page *page, Loader *loader) {
        size_t n;
        const Helper **list = list_helpers(loader, &n);
        int width = 0;

        for (size_t i = 0; i < n; i++)
                width = MAX(width, (int) strlen(list[i]->name));
        for (size_t i = 0; i < n; i++)
                print_entry(page, width, list[i]->name, list[i]->documentation);
}

static void print_settings(Page *page) {
        const char *name, *value, *documentation;
        int width = 0;

        for (size_t i = 0; (name = state_setting(i, &value, &documentation)); i++)
                width = MAX(width, (int) strlen(name));
        for (size_t i = 0; (name = state_setting(i, &value, &documentation)); i++)
                print_entry(page, width, name, documentation);
}

static void print_list(Page *page, Loader *loader) {
        int width = (int) strlen(SETTINGS_NAME);

        for (uint32_t i = 0; i < loader->n_types; i++)
                width = MAX(width, (int) strlen(loader->types[i]->name));
        if (page->style == REFERENCE_MARKDOWN)
                (void) fputs("| | |\n|---|---|\n", page->f);
        for (uint32_t i = 0; i < loader->n_types; i++)
                print_entry(
                        page, width, loader->types[i]->name, loader->types[i]->type->documentation ?: "");
        if (page->style == REFERENCE_ROFF)
                return;
        if (page->style == REFERENCE_TEXT)
                (void) fputc('\n', page->f);
        print_entry(page, width, SETTINGS_NAME, "settings of agentd itself");
        if (page->style == REFERENCE_TEXT)
                (void) fputs("\nSettings of every state:\n\n", page->f);
        print_settings(page);
        if (page->style == REFERENCE_TEXT)
                (void) fputs("\nHelpers of expressions:\n\n", page->f);
        print_helpers(page, loader);
        if (page->style == REFERENCE_TEXT)
                (void) fputs("\n'agentd --doc NAME' shows what one of them takes.\n", page->f);
}

/* ---- Around ---------------------------------------------------------------------------------------------------- */

static int unknown(Loader *loader, const char *name) {
        const char *names[NAMES_MAX] = { SETTINGS_NAME }, *meant, *setting, *value, *documentation;
        size_t n = 1, n_helpers;
        const Helper **helpers = list_helpers(loader, &n_helpers);

        for (size_t i = 0; n < NAMES_MAX && (setting = state_setting(i, &value, &documentation)); i++)
                names[n++] = setting;
        for (uint32_t i = 0; i < loader->n_types && n < NAMES_MAX; i++)
                names[n++] = loader->types[i]->name;
        for (size_t i = 0; i < n_helpers && n < NAMES_MAX; i++)
                names[n++] = helpers[i]->name;
        meant = suggest(name, names, n);
        if (meant)
                log_error("There is no state type, setting or helper '%s'; did you mean '%s'?", name, meant);
        else
                log_error("There is no state type, setting or helper '%s'; 'agentd --doc' lists those there "
                          "are",
                        name);
        return EXIT_INVALID;
}

static void warn_of_modules(const Loader *loader) {
        for (uint32_t i = 0; i < loader->diagnostics.n; i++)
                log_warning("%s: %s", loader->diagnostics.list[i].place.file,
                        loader->diagnostics.list[i].message);
}

int doc_run(const DocOptions *options) {
        const LoadOptions load = { .root = "/", .module_dir = options->module_dir };
        Loader loader = { .options = &load, .root_fd = -EBADF };
        const TypeEntry *type;
        Page page;

        page_init(&page, stdout, options->style);
        if (options->name && streq(options->name, SETTINGS_NAME)) {
                settings_print_reference(stdout, options->style);
                return output_flush(stdout) < 0 ? EXIT_STATE_FAILED : EXIT_FINE;
        }
        if (arena_map(&loader.scratch, SCRATCH_BYTES, NULL) < 0) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        loader.diagnostics.arena = &loader.scratch;

        if (options->name) {
                const HelperSet helpers = loader_helpers(&loader);
                const Helper *helper = helper_set_find(&helpers, options->name);

                if (helper) {
                        print_helper(&page, &loader, helper);
                        return output_flush(stdout) < 0 ? EXIT_STATE_FAILED : EXIT_FINE;
                }
                type = type_find(&loader, options->name);
                if (!type && print_setting(&page, &loader, options->name))
                        return output_flush(stdout) < 0 ? EXIT_STATE_FAILED : EXIT_FINE;
                if (!type) {
                        warn_of_modules(&loader);
                        return unknown(&loader, options->name);
                }
                print_type(&page, type);
        } else {
                modules_open_all(&loader);
                warn_of_modules(&loader);
                if (loader.n_types > 0)
                        qsort(loader.types, loader.n_types, sizeof(TypeEntry *), compare_types);
                print_list(&page, &loader);
        }
        return output_flush(stdout) < 0 ? EXIT_STATE_FAILED : EXIT_FINE;
}
