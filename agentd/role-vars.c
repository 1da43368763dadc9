/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What `vars` are. Each lies over those before it; tables are merged, all else is replaced:
 *
 *      1. [vars] of the role itself
 *      2. what its importers have as vars, by the same rules
 *      3. the `vars` of the import
 *      4. those of the host: vars.d/NAME.toml in the order of names, then vars.d/hosts/NAME.toml for its names
 *      5. --var
 *
 * docs/roles.md says the same.
 */

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <syslog.h>

#include "role.h"
#include "toml.h"

#define HOST_DIRECTORY "/etc/agentd/vars.d"
#define NAMES_MAX      512 /* variables that a suggestion is looked for among */

/* ---- Merging --------------------------------------------------------------------------------------------------- */

/* The table with a list of members of its own; they themselves are shared. */
static Value copy_table(Loader *loader, const Value *table) {
        Value copy = *table;

        if (table->n_members == 0)
                return value_table();
        copy.members = arena_memdup(&loader->scratch, table->members, table->n_members * sizeof(Member));
        copy.n_members_allocated = table->n_members;
        return copy;
}

static const char *place_text(Loader *loader, Place place) {
        return place.line > 0
                       ? arena_printf(&loader->scratch, "%s:%u:%u", place.file, place.line, place.column)
                       : place.file;
}

/* A table in which much is looked for: by a map, once it is large. Members are only ever added. */
typedef struct Table {
        Value *value;
        Map map;
        uint32_t n_mapped;
} Table;

static Member *table_find(Loader *loader, Table *table, const char *key) {
        Value *value = table->value;
        uint32_t i;

        if (value->n_members <= 16)
                return value_find(value, key, strlen(key));
        for (; table->n_mapped < value->n_members; table->n_mapped++)
                map_put(&table->map, &loader->scratch, value->members[table->n_mapped].key, table->n_mapped);
        i = map_get(&table->map, key);
        return i == MAP_NOT_FOUND ? NULL : &value->members[i];
}

static void table_add(Loader *loader, Table *table, const Member *member) {
        value_add(&loader->scratch, table->value, member->key, member->key_size, &member->value)->place =
                member->place;
}

/* Lays one member over a table. name: of the table, "vars". */
static void lay_member(Loader *loader, Table *table, const Member *over, const char *name) {
        Member *under = table_find(loader, table, over->key);

        if (!under)
                table_add(loader, table, over);
        else if (under->value.type == VALUE_TABLE && over->value.type == VALUE_TABLE) {
                Value merged = copy_table(loader, &under->value);
                Table inner = { .value = &merged };

                name = arena_printf(&loader->scratch, "%s.%s", name, over->key);
                VALUE_FOREACH_MEMBER(member, &over->value)
                        lay_member(loader, &inner, member, name);
                under->value = merged;
        } else if (under->value.type == VALUE_TABLE || over->value.type == VALUE_TABLE)
                diagnostics_add(&loader->diagnostics, over->place,
                        "'%s.%s' is %s here, and %s at %s; a table and another value cannot replace "
                        "each other",
                        name, over->key, value_kind(&over->value), value_kind(&under->value),
                        place_text(loader, under->place));
        else {
                under->value = over->value;
                under->place = over->place;
        }
}

static void lay_over(Loader *loader, Value *under, const Value *over) {
        Table table = { .value = under };

        VALUE_FOREACH_MEMBER(member, over)
                lay_member(loader, &table, member, "vars");
}

static void add_conflict(Loader *loader, Role *role, Conflict conflict) {
        if (map_get(&role->conflict_map, conflict.name) != MAP_NOT_FOUND)
                return;
        map_put(&role->conflict_map, &loader->scratch, conflict.name, role->n_conflicts);
        for (const char *dot = strchr(conflict.name, '.'); dot; dot = strchr(dot + 1, '.')) {
                const char *outer =
                        arena_strndup(&loader->scratch, conflict.name, (size_t) (dot - conflict.name));

                if (map_get(&role->conflict_tables, outer) == MAP_NOT_FOUND)
                        map_put(&role->conflict_tables, &loader->scratch, outer, role->n_conflicts);
        }
        role->conflicts = arena_grow(&loader->scratch, role->conflicts, role->n_conflicts,
                &role->n_conflicts_allocated, sizeof(Conflict));
        role->conflicts[role->n_conflicts++] = conflict;
}

/* Adds what a further importer has. Where it says other things than those before, that is noted, unless what lies over
 * it all (settled) decides. */
static void join(
        Loader *loader, Role *role, Value *into, const Value *further, Value *settled, const char *name) {
        Table table = { .value = into }, over = { .value = settled };

        VALUE_FOREACH_MEMBER(member, further) {
                Member *first = table_find(loader, &table, member->key);
                Member *decided = settled ? table_find(loader, &over, member->key) : NULL;
                const char *whole;

                if (decided && decided->value.type != VALUE_TABLE)
                        continue;
                if (!first) {
                        table_add(loader, &table, member);
                        continue;
                }
                if (memcmp(&first->value, &member->value, sizeof(Value)) == 0)
                        continue; /* from the same place */
                whole = arena_printf(&loader->scratch, "%s.%s", name, member->key);
                if (first->value.type == VALUE_TABLE && member->value.type == VALUE_TABLE) {
                        first->value = copy_table(loader, &first->value);
                        join(loader, role, &first->value, &member->value, decided ? &decided->value : NULL,
                                whole);
                } else if (!value_equal(&first->value, &member->value))
                        add_conflict(
                                loader, role, (Conflict){ whole, first->value.place, member->value.place });
        }
}

/* Whether a variable, by its whole name, is in a table. */
static bool has_name(const Value *table, const char *name) {
        const char *part = strchr(name, '.');

        while (part) {
                const char *next = strchr(++part, '.');
                const Member *member = value_find(table, part, next ? (size_t) (next - part) : strlen(part));

                if (!member)
                        return false;
                if (member->value.type != VALUE_TABLE)
                        return true;
                table = &member->value;
                part = next;
        }
        return true;
}

/* ---- Evaluating ------------------------------------------------------------------------------------------------ */

static int render_member(Loader *loader, const Role *role, const Member *member, Member *ret) {
        Names names;

        *ret = *member;
        names_init(&names, loader, role, NULL);
        names.in_vars = true;
        return names_evaluate_deep(&names, &member->value, &ret->value);
}

/* ---- Of a role ------------------------------------------------------------------------------------------------- */

static void imported_otherwise(Loader *loader, const Import *import, const Import *first) {
        diagnostics_add(&loader->diagnostics, import->place,
                "role '%s' is imported with other vars than at %s:%u:%u; a role is there once, with the "
                "same "
                "vars for all",
                import->role->name, first->place.file, first->place.line, first->place.column);
}

/* The only role that imports this one and is on; NULL: there are none, or several. */
static const Role *only_importer(const Role *role) {
        const Role *only = NULL;

        for (uint32_t i = 0; i < role->n_importers; i++) {
                const Role *importer = role->importers[i]->importer;

                if (importer->off || importer == only)
                        continue;
                if (only)
                        return NULL;
                only = importer;
        }
        return only;
}

/* What comes from outside of the role. Return: whether the list of members is the role's own, to which it can add. */
static bool inherit(Loader *loader, Role *role) {
        const Role *only = only_importer(role);
        Value settled = loader->host_vars;
        const Import *first = NULL;

        for (uint32_t i = 0; i < role->n_importers; i++) {
                const Import *import = role->importers[i];

                if (import->importer->off)
                        continue;
                if (!first)
                        first = import;
                else if (!value_equal(&import->vars, &first->vars))
                        imported_otherwise(loader, import, first);
        }
        if (first && first->vars.n_members > 0) {
                settled = copy_table(loader, &first->vars);
                lay_over(loader, &settled, &loader->host_vars);
        }
        /* Most roles are given nothing but what lies over all of that already: a thousand of them, and a host of a hundred
         * thousand variables, share one list. */
        if (first ? only && only->n_conflicts == 0 && first->vars.n_members == 0 : role->n_importers == 0) {
                role->vars = only ? only->vars : settled;
                return false;
        }
        for (uint32_t i = 0; i < role->n_importers; i++) {
                const Role *importer = role->importers[i]->importer;

                if (importer->off)
                        continue;
                if (role->vars.n_members == 0)
                        role->vars = copy_table(loader, &importer->vars);
                else
                        join(loader, role, &role->vars, &importer->vars, &settled, "vars");
                for (uint32_t k = 0; k < importer->n_conflicts; k++)
                        if (!has_name(&settled, importer->conflicts[k].name))
                                add_conflict(loader, role, importer->conflicts[k]);
        }
        if (role->vars.n_members == 0)
                role->vars = copy_table(loader, &settled);
        else
                lay_over(loader, &role->vars, &settled);
        return true;
}

/* A variable may use those above it, and all that come from outside. */
void role_set_vars(Loader *loader, Role *role) {
        const Value *own = value_get(&role->table, "vars");
        bool inherited, is_own;
        Table outer;

        is_own = inherit(loader, role);
        inherited = role->vars.n_members > 0;
        if (!own || !loader_wants(loader, own, VALUE_TABLE, "vars", "a table"))
                return;
        if (!is_own)
                role->vars = copy_table(loader, &role->vars);
        outer = (Table){ .value = &role->vars };
        VALUE_FOREACH_MEMBER(member, own) {
                /* Names are there once in a table: without any from outside nothing can be found. */
                Member rendered, *over = inherited ? table_find(loader, &outer, member->key) : NULL;

                if (render_member(loader, role, member, &rendered) < 0)
                        continue;
                if (!over)
                        table_add(loader, &outer, &rendered);
                else {
                        Value both = { .type = VALUE_TABLE, .members = &rendered, .n_members = 1 };
                        Table under = { .value = &both };

                        lay_member(loader, &under, over, "vars");
                        over->value = rendered.value;
                        over->place = rendered.place;
                }
        }
}

void role_give_vars(Loader *loader, Role *role) {
        for (uint32_t i = 0; i < role->n_imports; i++) {
                Import *import = role->imports[i];

                if (!import->given)
                        continue;
                VALUE_FOREACH_MEMBER(member, import->given) {
                        Member rendered;

                        if (render_member(loader, role, member, &rendered) >= 0)
                                value_add(&loader->scratch, &import->vars, member->key, member->key_size,
                                        &rendered.value)
                                        ->place = member->place;
                }
        }
}

/* ---- Of the host ----------------------------------------------------------------------------------------------- */

/* What is the host's is evaluated as if it were a role's. */
static void read_file(Loader *loader, Role *host, const char *path) {
        Table all = { .value = &host->vars };
        Value table;

        if (loader_read_toml(loader, host->in_root, path, "file of variables", &table) < 0)
                return;
        VALUE_FOREACH_MEMBER(member, &table) {
                Member rendered;

                if (streq(member->key, "vars") && member->value.type == VALUE_TABLE) {
                        diagnostics_add(&loader->diagnostics, member->place,
                                "a file in vars.d holds nothing but variables: leave [vars] out");
                        continue;
                }
                if (render_member(loader, host, member, &rendered) >= 0)
                        lay_member(loader, &all, &rendered, "vars");
        }
}

static int compare_names(const void *a, const void *b) {
        const char *const *x = a, *const *y = b;

        return strcmp(*x, *y);
}

/* Return: whether it is there. */
static bool read_directory(Loader *loader, Role *host) {
        const char **names = NULL;
        uint32_t n = 0, n_allocated = 0;
        struct dirent *entry;
        DIR *dir;

        dir = loader_open_directory(loader, host->directory, host->in_root, false, "variables");
        if (!dir)
                return false;
        while ((entry = readdir(dir))) {
                if (*entry->d_name == '.' || !endswith(entry->d_name, ".toml") ||
                        loader_is_masked(dirfd(dir), entry->d_name))
                        continue;
                names = arena_grow(&loader->scratch, names, n, &n_allocated, sizeof(char *));
                names[n++] = arena_printf(&loader->scratch, "%s/%s", host->directory, entry->d_name);
        }
        (void) closedir(dir);
        if (n > 0)
                qsort(names, n, sizeof(char *), compare_names);
        for (uint32_t i = 0; i < n; i++)
                read_file(loader, host, names[i]);
        return true;
}

/* The more a name tells, the later it comes. Facts are asked for only where there is such a directory. */
static void read_host_files(Loader *loader, Role *host) {
        static const char *const facts[] = { "hostname", "fqdn", "machine_id" };
        const char *directory = arena_printf(&loader->scratch, "%s/hosts", host->directory), *last = "";
        DIR *dir;

        dir = loader_open_directory(loader, directory, host->in_root, false, "variables");
        if (!dir)
                return;
        FOREACH_ELEMENT(fact, facts) {
                const char *name = loader_fact(loader, *fact), *file;
                struct stat st;

                if (!*name || *name == '.' || strchr(name, '/') || streq(name, last))
                        continue;
                last = name;
                file = arena_printf(&loader->scratch, "%s.toml", name);
                if (fstatat(dirfd(dir), file, &st, AT_SYMLINK_NOFOLLOW) >= 0 &&
                        !loader_is_masked(dirfd(dir), file))
                        read_file(loader, host, arena_printf(&loader->scratch, "%s/%s", directory, file));
        }
        (void) closedir(dir);
}

/* ---- Of the command line --------------------------------------------------------------------------------------- */

/* What looks like a value of TOML is one. Not floats: 1.10 is rather a version. */
static bool is_toml(const char *text) {
        const char *digits = *text == '-' ? text + 1 : text;

        return strchr("[{\"'", *text) ? *text != 0
                                      : streq(text, "true") || streq(text, "false") || streq(digits, "0") ||
                                                (*digits >= '1' && *digits <= '9' &&
                                                        digits[strspn(digits, "0123456789")] == 0);
}

static void set_argument(Loader *loader, const char *argument) {
        Table all = { .value = &loader->host_vars };
        const char *equal = strchr(argument, '='), *file, *end;
        Value value = value_string(&loader->scratch, equal + 1, strlen(equal + 1)), table;
        Member member;

        file = arena_printf(&loader->scratch, "--var %.*s", (int) (equal - argument), argument);
        if (is_toml(equal + 1)) {
                const char *text = arena_printf(&loader->scratch, "value = %s", equal + 1);
                Diagnostic diagnostic;

                if (toml_parse(&loader->scratch, file, text, strlen(text), &table, &diagnostic) < 0 ||
                        table.n_members != 1) {
                        diagnostics_add(&loader->diagnostics, (Place){ .file = file },
                                "'%s' is not a value of TOML; a string that begins like one wants quotes",
                                equal + 1);
                        return;
                }
                value = table.members[0].value;
        }
        value.place = (Place){ .file = file };

        /* a.b=1: from the last part to the first. */
        end = equal;
        for (;;) {
                const char *part = end;

                while (part > argument && part[-1] != '.')
                        part--;
                member = (Member){
                        .key = arena_strndup(&loader->scratch, part, (size_t) (end - part)),
                        .key_size = (size_t) (end - part),
                        .place.file = file,
                        .value = value,
                };
                if (part == end) {
                        diagnostics_add(&loader->diagnostics, (Place){ .file = file },
                                "a part of the variable's name is empty");
                        return;
                }
                if (part == argument)
                        break;
                value = value_table();
                value.place.file = file;
                value_add(&loader->scratch, &value, member.key, member.key_size, &member.value)->place =
                        member.place;
                end = part - 1;
        }
        lay_member(loader, &all, &member, "vars");
}

bool vars_is_file(const char *path) {
        const char *end = strrchr(path, '/'), *start;

        if (!end)
                return false;
        if (end - path >= 6 && memcmp(end - 6, "/hosts", 6) == 0)
                end -= 6;
        start = end;
        while (start > path && start[-1] != '/')
                start--;
        return end - start == 6 && memcmp(start, "vars.d", 6) == 0;
}

static bool is_directory(const char *path) {
        struct stat st;

        return stat(path, &st) >= 0 && S_ISDIR(st.st_mode);
}

void vars_read(Loader *loader) {
        const LoadOptions *options = loader->options;
        size_t n_arguments = 0;
        Role host = {
                .name = "vars.d",
                .directory = HOST_DIRECTORY,
                .in_root = !options->conf_dir,
                .vars = value_table(),
        };

        if (options->conf_dir)
                host.directory = arena_printf(&loader->scratch, "%s/vars.d", options->conf_dir);
        /* If there is no such directory that was told already. */
        if ((!options->conf_dir || is_directory(options->conf_dir)) && read_directory(loader, &host))
                read_host_files(loader, &host);
        for (const char *const *file = options->role_files; file && *file; file++)
                if (vars_is_file(*file)) {
                        host.in_root = false;
                        read_file(loader, &host, *file);
                }
        loader->host_vars = host.vars;
        for (const char *const *argument = options->vars; argument && *argument; argument++) {
                set_argument(loader, *argument);
                n_arguments++;
        }
        if (n_arguments > 0)
                loader->read_arguments = arena_new_array(&loader->scratch, bool, n_arguments);
}

/* Whether one of two dotted names is the other, or leads to it. */
static bool names_meet(const char *a, size_t n, const char *b, size_t m) {
        size_t shorter = MIN(n, m);

        return memcmp(a, b, shorter) == 0 && (n == m || (n > m ? a[m] : b[n]) == '.');
}

void vars_note(Loader *loader, const char *name, size_t size) {
        const char *const *arguments = loader->options->vars;

        for (size_t i = 0; arguments[i]; i++) {
                size_t n = (size_t) (strchr(arguments[i], '=') - arguments[i]);

                if (size == 4 || (name[4] == '.' && names_meet(name + 5, size - 5, arguments[i], n)))
                        loader->read_arguments[i] = true;
        }
}

/* One that nobody has read may be a mistake, unless a role declares it. */
static void check_argument(Loader *loader, const char *argument) {
        size_t n = strcspn(argument, ".=");
        const char *name = arena_strndup(&loader->scratch, argument, n), *names[NAMES_MAX], *meant;
        size_t n_names = 0;

        for (uint32_t i = 0; i < loader->n_roles; i++) {
                const Value *own = value_get(&loader->list[i]->table, "vars");

                if (!own || own->type != VALUE_TABLE)
                        continue;
                if (value_find(own, name, n))
                        return;
                VALUE_FOREACH_MEMBER(member, own)
                        if (n_names < NAMES_MAX)
                                names[n_names++] = member->key;
        }
        meant = suggest(name, names, n_names);
        if (streq(name, "vars") && argument[n] == '.')
                meant = arena_strndup(&loader->scratch, argument + n + 1, strcspn(argument + n + 1, "="));
        loader_log(loader, LOG_WARNING,
                arena_printf(&loader->scratch, "--var %.*s: no role reads it%s%s%s",
                        (int) strcspn(argument, "="), argument, meant ? "; did you mean '" : "", meant ?: "",
                        meant ? "'?" : ""));
}

void vars_check(Loader *loader) {
        for (size_t i = 0; loader->read_arguments && loader->options->vars[i]; i++)
                if (!loader->read_arguments[i])
                        check_argument(loader, loader->options->vars[i]);
}
