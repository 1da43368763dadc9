/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading the files of a role, and what names mean in them. */

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "fact.h"
#include "log.h"
#include "paths.h"
#include "role.h"
#include "template.h"
#include "toml.h"
#include "value-json.h"

typedef struct Text {
        const char *text;
        size_t size;
} Text;

/* ---- Files ----------------------------------------------------------------------------------------------------- */

int loader_open(Loader *loader, bool in_root, const char *path, int flags) {
        struct open_how how = { .flags = (uint64_t) (flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) };

        if (in_root && !streq(loader->options->root, "/"))
                how.resolve = RESOLVE_IN_ROOT;
        return path_openat2(in_root ? loader->root_fd : AT_FDCWD, path, &how);
}

void loader_remember_file(Loader *loader, const char *path, const struct stat *st) {
        LoadFile *file;

        if (map_get(&loader->file_map, path) != MAP_NOT_FOUND)
                return;
        loader->files = arena_grow(&loader->scratch, loader->files, loader->n_files,
                &loader->n_files_allocated, sizeof(LoadFile));
        file = &loader->files[loader->n_files];
        *file = (LoadFile){ .path = path };
        if (st) {
                file->is_directory = S_ISDIR(st->st_mode);
                file->identity = (PathIdentity){
                        .device = st->st_dev,
                        .inode = st->st_ino,
                        .size = (uint64_t) st->st_size,
                        .mtime_nsec = st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
                        .ctime_nsec = st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec,
                };
        }
        map_put(&loader->file_map, &loader->scratch, path, loader->n_files++);
}

/* Where a symlink leads; NULL: it is none. */
static const char *link_target(Loader *loader, bool in_root, const char *path) {
        const char *slash = strrchr(path, '/');
        _cleanup_close_ int fd = loader_open(loader, in_root,
                slash ? arena_strndup(&loader->scratch, path, (size_t) (slash - path) + 1) : ".",
                O_RDONLY | O_DIRECTORY);
        char target[PATH_MAX];
        ssize_t n = fd < 0 ? -1 : readlinkat(fd, slash ? slash + 1 : path, target, sizeof(target));

        return n > 0 ? arena_strndup(&loader->scratch, target, (size_t) n) : NULL;
}

int read_text(Loader *loader, bool in_root, const char *path, size_t limit, const char **ret,
        size_t *ret_size, const char **reterr) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        ssize_t n;
        char *text;

        /* O_NONBLOCK: a FIFO does not make us wait for a writer. */
        fd = loader_open(loader, in_root, path, O_RDONLY);
        if (fd < 0) {
                const char *target = fd == -ENOENT ? link_target(loader, in_root, path) : NULL;

                loader_remember_file(loader, path, NULL);
                *reterr = target ? arena_printf(&loader->scratch,
                                           "it is a symlink to '%s', which does not exist", target)
                                 : arena_printf(&loader->scratch, "it cannot be opened: %s", strerror(-fd));
                return fd;
        }
        if (fstat(fd, &st) < 0)
                return -errno;
        loader_remember_file(loader, path, &st);
        if (!S_ISREG(st.st_mode)) {
                *reterr = arena_printf(&loader->scratch, "it is %s; a regular file is wanted",
                        S_ISDIR(st.st_mode)    ? "a directory"
                        : S_ISFIFO(st.st_mode) ? "a FIFO"
                        : S_ISSOCK(st.st_mode) ? "a socket"
                                               : "a device");
                return -EINVAL;
        }
        /* Whoever writes a role is root on this host. */
        if ((st.st_mode & S_IWOTH) ||
                (in_root && streq(loader->options->root, "/") && st.st_uid != 0 && st.st_uid != geteuid())) {
                *reterr = "others than root can write it; it must belong to root and have a mode like 0644";
                return -EPERM;
        }
        if ((uint64_t) st.st_size > limit) {
                *reterr = arena_printf(&loader->scratch, "it has %.1f MiB; %zu MiB is the limit",
                        (double) st.st_size / (double) MIB(1), limit >> 20);
                return -EFBIG;
        }

        text = arena_alloc_text(&loader->scratch, (size_t) st.st_size + 1);
        n = read_full(fd, text, (size_t) st.st_size);
        if (n < 0) {
                *reterr = arena_printf(&loader->scratch, "it cannot be read: %s", strerror((int) -n));
                return (int) n;
        }
        text[n] = 0;
        *ret = text;
        *ret_size = (size_t) n;
        return 0;
}

/* The path of a role's file without links, below --root as role->path is; in buffer, or NULL. */
static const char *real_path(Loader *loader, const Role *role, char buffer[PATH_MAX]) {
        const char *root = loader->options->root;
        _cleanup_close_ int fd = -EBADF;
        char link[64];
        ssize_t n;

        if (!role->in_root || streq(root, "/"))
                return realpath(role->path, buffer);

        fd = loader_open(loader, true, role->path, O_RDONLY);
        if (fd < 0)
                return NULL;
        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, buffer, PATH_MAX - 1);
        if (n <= 0)
                return NULL;
        buffer[n] = 0;
        /* The root is a path without links itself. */
        return startswith(buffer, root) && buffer[strlen(root)] == '/' ? buffer + strlen(root) : NULL;
}

/* TOML allows it, and nothing of ours could be called so. Here once, so that keys are plain strings from here on. */
static bool has_key_with_nul(const Value *value, Place *ret) {
        if (value->type == VALUE_ARRAY) {
                VALUE_FOREACH_ITEM(item, value)
                        if (has_key_with_nul(item, ret))
                                return true;
        } else if (value->type == VALUE_TABLE)
                VALUE_FOREACH_MEMBER(member, value) {
                        if (strlen(member->key) != member->key_size) {
                                *ret = member->place;
                                return true;
                        }
                        if (has_key_with_nul(&member->value, ret))
                                return true;
                }
        return false;
}

int loader_read_toml(Loader *loader, bool in_root, const char *path, const char *what, Value *ret) {
        const char *text, *error = NULL;
        Diagnostic diagnostic;
        size_t size;
        Place place;
        int r;

        r = read_text(loader, in_root, path, ROLE_SIZE_MAX, &text, &size, &error);
        if (r < 0) {
                diagnostics_add(&loader->diagnostics, (Place){ .file = path }, "the %s cannot be used: %s",
                        what, error ?: strerror(-r));
                return r;
        }
        r = toml_parse(&loader->scratch, path, text, size, ret, &diagnostic);
        if (r < 0) {
                diagnostics_add(&loader->diagnostics, diagnostic.place, "%s", diagnostic.message);
                return r;
        }
        if (has_key_with_nul(ret, &place)) {
                diagnostics_add(
                        &loader->diagnostics, place, "a key has a NUL in it, which no name can have");
                return -EINVAL;
        }
        return 0;
}

void role_locate(Loader *loader, Role *role) {
        char real[PATH_MAX], *slash, *directory;

        /* A link in conf.d applies a role that lies elsewhere, together with the files beside it. */
        role->real = arena_strdup(&loader->scratch, real_path(loader, role, real) ?: role->path);
        directory = arena_strdup(&loader->scratch, role->real);
        slash = strrchr(directory, '/');
        if (slash)
                *slash = 0;
        role->directory = slash ? directory : ".";
}

int role_read(Loader *loader, Role *role) {
        int r;

        r = loader_read_toml(loader, role->in_root, role->path, "role", &role->table);
        if (r < 0) {
                role->table = value_table();
                role->is_incomplete = true;
        }
        return r;
}

/* ---- Facts and names ------------------------------------------------------------------------------------------- */

static const Value *loader_facts(Loader *loader) {
        const FactsOptions options = { .deadline_usec = loader->settings.facts_deadline_usec };
        Diagnostics warnings = { .arena = &loader->scratch };
        int r;

        if (loader->facts_gathered)
                return &loader->facts;

        loader->facts_gathered = true;
        loader->facts = value_table();
        loader_tell_files(loader);
        r = facts_gather(&loader->scratch, loader->root_fd, &options, &loader->facts, &warnings);
        if (r < 0)
                diagnostics_add(
                        &loader->diagnostics, (Place){}, "the facts cannot be gathered: %s", strerror(-r));
        /* The other facts are good, so these do not fail the load. */
        for (uint32_t i = 0; i < warnings.n; i++) {
                const Diagnostic *warning = &warnings.list[i];

                loader_log(loader, LOG_WARNING,
                        warning->place.file ? arena_printf(&loader->scratch, "%s: %s", warning->place.file,
                                                      warning->message)
                                            : warning->message);
        }
        return &loader->facts;
}

static const Value *names_lookup(void *userdata, const char *name, size_t size) {
        Names *names = userdata;

        if (size == 4 && memcmp(name, "vars", 4) == 0)
                return &names->role->vars;
        if (size == 5 && memcmp(name, "facts", 5) == 0)
                return loader_facts(names->loader);
        if (size == 4 && memcmp(name, "item", 4) == 0)
                return names->item;
        return NULL;
}

static const char *names_nth(void *userdata, size_t n) {
        static const char *const all[] = { "vars", "facts", "item" };
        Names *names = userdata;

        return n < (names->item ? 3 : 2) ? all[n] : NULL;
}

/* The variable of that name, or one within it, or around it. */
static const Conflict *find_conflict(Loader *loader, const Role *role, const char *name, size_t size) {
        char *copy = arena_strndup(&loader->scratch, name, size);
        uint32_t i = map_get(&role->conflict_tables, copy);

        while (i == MAP_NOT_FOUND && copy) {
                char *dot;

                i = map_get(&role->conflict_map, copy);
                dot = strrchr(copy, '.');
                if (dot)
                        *dot = 0;
                else
                        copy = NULL;
        }
        return i == MAP_NOT_FOUND ? NULL : &role->conflicts[i];
}

static void note_fact(Loader *loader, const char *name, size_t size) {
        const char *copy;

        copy = arena_strndup(&loader->scratch, name, size);
        if (fact_is_volatile(copy))
                loader->volatile_name = copy;
        if (map_get(&loader->noted, copy) != MAP_NOT_FOUND)
                return;
        loader->noted_list = arena_grow(&loader->scratch, loader->noted_list, loader->n_noted,
                &loader->n_noted_allocated, sizeof(char *));
        loader->noted_list[loader->n_noted] = copy;
        map_put(&loader->noted, &loader->scratch, copy, loader->n_noted++);
}

static void names_noted(void *userdata, const char *name, size_t size) {
        Names *names = userdata;
        Loader *loader = names->loader;

        if (names->role->n_conflicts > 0 && !loader->conflict)
                loader->conflict = find_conflict(loader, names->role, name, size);
        if (loader->read_arguments && size >= 4 && memcmp(name, "vars", 4) == 0)
                vars_note(loader, name, size);
        if (size < 5 || memcmp(name, "facts", 5) != 0 || (size > 5 && name[5] != '.'))
                return;
        note_fact(loader, name, size);
}

const char *loader_fact(Loader *loader, const char *name) {
        const char *dotted = arena_printf(&loader->scratch, "facts.%s", name);
        const Value *value = value_get(loader_facts(loader), name);

        note_fact(loader, dotted, strlen(dotted));
        return value && value->type == VALUE_STRING ? value->text : "";
}

void names_init(Names *names, Loader *loader, const Role *role, const Value *item) {
        *names = (Names){ .loader = loader, .role = role, .item = item };
        names->scope = (Scope){
                .lookup = names_lookup,
                .noted = names_noted,
                .nth = names_nth,
                .userdata = names,
        };
        loader->volatile_name = NULL;
        loader->conflict = NULL;
}

/* Whether something was read that may not be. */
static bool names_refused(const Names *names) {
        return names->loader->volatile_name || names->loader->conflict;
}

/* A variable of the role that is not there yet, as those above it are made; by a message that names it. NULL: it is something
 * else. */
static const Member *find_below(const Names *names, const char *message) {
        static const char begin[] = "undefined name 'vars.";
        const Value *own = value_get(&names->role->table, "vars");
        const char *name;

        if (!own || own->type != VALUE_TABLE || !message || strncmp(message, begin, strlen(begin)) != 0)
                return NULL;
        name = message + strlen(begin);
        return value_find(own, name, strcspn(name, ".'"));
}

/* Reports an error of a template or expression; if it read what no role may read, that. */
static int names_fail(Names *names, const Diagnostic *diagnostic) {
        const Member *below = find_below(names, diagnostic->message);
        Loader *loader = names->loader;

        if (loader->volatile_name)
                diagnostics_add(&loader->diagnostics, diagnostic->place, "%s",
                        fact_volatile_message(&loader->scratch, loader->volatile_name));
        else if (loader->conflict)
                diagnostics_add(&loader->diagnostics, diagnostic->place,
                        "the roles that import '%s' do not agree on '%s': %s:%u:%u, %s:%u:%u; give it with "
                        "the import",
                        names->role->name, loader->conflict->name, loader->conflict->first.file,
                        loader->conflict->first.line, loader->conflict->first.column,
                        loader->conflict->second.file, loader->conflict->second.line,
                        loader->conflict->second.column);
        else if (below && !value_find(&names->role->vars, below->key, below->key_size) && names->in_vars)
                diagnostics_add(&loader->diagnostics, diagnostic->place,
                        "'vars.%s' is not there yet: a variable can use those above it, and that is at "
                        "%s:%u:%u",
                        below->key, below->place.file, below->place.line, below->place.column);
        else
                diagnostics_add(&loader->diagnostics, diagnostic->place, "%s",
                        diagnostic->message ?: "it is not well-formed");
        loader->volatile_name = NULL;
        loader->conflict = NULL;
        return -EINVAL;
}

/* ---- Templates ------------------------------------------------------------------------------------------------- */

static int template_text(
        Loader *loader, bool in_root, const char *path, const Text **ret, const char **reterr) {
        uint32_t known = map_get(&loader->templates, path);
        Text text;
        int r;

        if (known == MAP_NOT_FOUND) {
                r = read_text(loader, in_root, path, TEMPLATE_FILE_MAX, &text.text, &text.size, reterr);
                if (r < 0)
                        return r;
                loader->texts = arena_grow(&loader->scratch, loader->texts, loader->n_texts,
                        &loader->n_texts_allocated, sizeof(Text));
                loader->texts[loader->n_texts] = text;
                known = loader->n_texts++;
                map_put(&loader->templates, &loader->scratch, path, known);
        }
        *ret = &loader->texts[known];
        return 0;
}

static const char *beside(Loader *loader, const char *directory, const char *name) {
        return *name == '/' ? name : arena_printf(&loader->scratch, "%s/%s", directory, name);
}

/* {{>name}}: name, or name.mustache, beside the role. */
static int names_partial(void *userdata, const char *name, TemplateSource *ret_source) {
        Names *names = userdata;
        Loader *loader = names->loader;
        const char *path = beside(loader, names->role->directory, name), *error = NULL;
        const Text *text;
        int r;

        r = template_text(loader, names->role->in_root, path, &text, &error);
        if (r == -ENOENT) {
                path = arena_printf(&loader->scratch, "%s.mustache", path);
                r = template_text(loader, names->role->in_root, path, &text, &error);
        }
        if (r < 0) {
                ret_source->text = error;
                return r;
        }
        *ret_source = template_source_file(path, text->text, text->size);
        return 0;
}

static int render(Names *names, const Value *string, bool as_text, Value *ret) {
        const TemplateOptions options = { .strict = true, .partial = names_partial, .userdata = names };
        Arena *arena = &names->loader->scratch;
        Diagnostic diagnostic;
        int r;

        if (names->literal || !template_has_tags(string->text, string->size)) {
                *ret = *string;
                return 0;
        }
        r = as_text ? template_render_value(arena, &options, string, &names->scope, ret, &diagnostic)
                    : template_evaluate_value(arena, &options, string, &names->scope, ret, &diagnostic);
        if (r < 0)
                return names_fail(names, &diagnostic);
        if (names_refused(names))
                return names_fail(names, &(Diagnostic){ .place = string->place });
        return 0;
}

int names_render(Names *names, const Value *string, Value *ret) {
        return render(names, string, true, ret);
}

int names_evaluate(Names *names, const Value *string, Value *ret) {
        return render(names, string, false, ret);
}

int names_evaluate_deep(Names *names, const Value *value, Value *ret) {
        Arena *arena = &names->loader->scratch;
        int r = 0;

        *ret = *value;
        switch (value->type) {
        case VALUE_STRING: return names_evaluate(names, value, ret);
        case VALUE_ARRAY:
                *ret = value_array();
                ret->place = value->place;
                VALUE_FOREACH_ITEM(item, value) {
                        Value rendered;

                        if (names_evaluate_deep(names, item, &rendered) < 0)
                                r = -EINVAL;
                        else
                                (void) value_append(arena, ret, &rendered);
                }
                return r;
        case VALUE_TABLE:
                *ret = value_table();
                ret->place = value->place;
                VALUE_FOREACH_MEMBER(member, value) {
                        Value rendered;

                        if (names_evaluate_deep(names, &member->value, &rendered) < 0)
                                r = -EINVAL;
                        else
                                value_add(arena, ret, member->key, member->key_size, &rendered)->place =
                                        member->place;
                }
                return r;
        default: return 0;
        }
}

int names_render_file(Names *names, const Value *file, Value *ret) {
        const TemplateOptions options = { .strict = true, .partial = names_partial, .userdata = names };
        Loader *loader = names->loader;
        const char *path = beside(loader, names->role->directory, file->text), *error = NULL;
        TemplateSource source;
        Diagnostic diagnostic;
        const Text *text;
        int r;

        r = template_text(loader, names->role->in_root, path, &text, &error);
        if (r < 0) {
                diagnostics_add(&loader->diagnostics, file->place, "template '%s' cannot be used: %s", path,
                        error ?: strerror(-r));
                return -EINVAL;
        }
        source = template_source_file(path, text->text, text->size);
        if (template_render(&loader->scratch, &options, &source, &names->scope, ret, &diagnostic) < 0)
                return names_fail(names, &diagnostic);
        if (names_refused(names))
                return names_fail(names, &(Diagnostic){ .place.file = path });
        ret->place = file->place;
        return 0;
}

/* ---- Expressions ----------------------------------------------------------------------------------------------- */

int names_fold(Names *names, const Value *text, unsigned flags, Arena *target, Expression **ret) {
        Loader *loader = names->loader;
        const ExpressionContext context = {
                .scratch = &loader->scratch,
                .scope = &names->scope,
                .helpers = &loader->helpers,
        };
        Expression *expression;
        Diagnostic diagnostic;

        if (expression_parse_value(&loader->scratch, text, &expression, &diagnostic) < 0)
                return names_fail(names, &diagnostic);
        if (expression_fold(&context, expression, flags, target, ret, &diagnostic) < 0)
                return names_fail(names, &diagnostic);
        if (names_refused(names))
                return names_fail(names, &(Diagnostic){ .place = expression_place(expression) });
        return 0;
}
