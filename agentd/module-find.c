/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Finds the module that provides a state type. A module is opened only if a role needs it: first TYPE.so, or the
 * program TYPE, and if there is none that knows the type, all modules there are.
 */

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "builtin.h"
#include "foreign.h"
#include "role.h"

static const char *const module_directories[] = {
        "/etc/agentd/modules",
        "/usr/lib/agentd/modules",
};

/* Directories in the order of the search. They are those of the host, whatever --root says: modules run here. */
static const char *nth_directory(const Loader *loader, size_t n) {
        if (loader->options->module_dir) {
                if (n == 0)
                        return loader->options->module_dir;
                n--;
        }
        return n < ELEMENTSOF(module_directories) ? module_directories[n] : NULL;
}

static TypeEntry *find_known(Loader *loader, const char *name) {
        uint32_t i = map_get(&loader->type_map, name);

        return i == MAP_NOT_FOUND ? NULL : loader->types[i];
}

void loader_add_module(Loader *loader, const Module *module) {
        loader->modules = arena_grow(&loader->scratch, loader->modules, loader->n_modules,
                &loader->n_modules_allocated, sizeof(Module *));
        loader->modules[loader->n_modules++] = module;
        for (uint32_t i = 0; i < module->n_types; i++) {
                const AgentdStateType *type = &module->types[i];
                TypeEntry *entry = find_known(loader, type->name);

                if (entry) {
                        diagnostics_add(&loader->diagnostics, (Place){ .file = module->path },
                                "the module provides type '%s', as does '%s'; remove one of them",
                                type->name, entry->module->path);
                        continue;
                }
                entry = arena_new(&loader->scratch, TypeEntry);
                *entry = (TypeEntry){
                        .name = type->name,
                        .module = module,
                        .type = type,
                        .n_parameters = parameters_count(type->parameters),
                        .image_index = UINT32_MAX,
                };
                loader->types = arena_grow(&loader->scratch, loader->types, loader->n_types,
                        &loader->n_types_allocated, sizeof(TypeEntry *));
                loader->types[loader->n_types] = entry;
                map_put(&loader->type_map, &loader->scratch, entry->name, loader->n_types++);
        }
}

static void log_of_program(void *userdata, int level, const char *text) {
        loader_log(userdata, level, text);
}

/* Programs are shut in like checks, where that is possible: a load is not to change the host. */
static ForeignHost program_host(Loader *loader) {
        if (!loader->sandbox_sought) {
                loader->sandbox_sought = true;
                loader->has_sandbox = geteuid() == 0 && sandbox_is_possible() &&
                                      sandbox_find_user(&loader->sandbox.uid, &loader->sandbox.gid) >= 0;
        }
        return (ForeignHost){
                .root = loader->options->root,
                .sandbox = loader->has_sandbox ? &loader->sandbox : NULL,
                .log = log_of_program,
                .userdata = loader,
        };
}

static bool is_module(const char *file, const struct stat *st) {
        if (endswith(file, ".so"))
                return true;
        /* What else may lie there: directories, notes, what package managers and editors leave behind. */
        return foreign_name_is_good(file) && S_ISREG(st->st_mode);
}

/* Opens a module unless one of the same name was opened already. Return: 1 opened; 0 not there; -errno refused. */
static int try_module(Loader *loader, const char *directory, const char *file) {
        const char *path = arena_printf(&loader->scratch, "%s/%s", directory, file), *name;
        ForeignHost host;
        struct stat st;
        Module *module;
        char *error = NULL;
        int r;

        name = endswith(file, ".so") ? arena_strndup(&loader->scratch, file, strlen(file) - 3)
                                     : arena_strdup(&loader->scratch, file);
        if (map_get(&loader->tried, name) != MAP_NOT_FOUND)
                return 1;
        if (stat(path, &st) < 0) {
                /* One that appears here would be found first. */
                loader_remember_file(loader, path, NULL);
                return 0;
        }
        if (!is_module(file, &st))
                return 0;
        loader_remember_file(loader, path, &st);
        loader_tell_files(loader);
        map_put(&loader->tried, &loader->scratch, name, 0);

        host = program_host(loader);
        r = module_open_any(path, &host, &module, &error);
        if (r < 0) {
                diagnostics_add(&loader->diagnostics, (Place){ .file = path },
                        "the module cannot be used: %s", error ?: strerror(-r));
                return r;
        }
        loader_add_module(loader, module);
        return 1;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

void modules_open_all(Loader *loader) {
        const char *directory;

        if (loader->all_modules)
                return;
        loader->all_modules = true;

        for (size_t i = 0; (directory = nth_directory(loader, i)); i++) {
                const char **names = NULL;
                uint32_t n = 0, allocated = 0;
                struct dirent *entry;
                DIR *dir = opendir(directory);
                struct stat st;

                loader_remember_file(loader, directory, dir && fstat(dirfd(dir), &st) >= 0 ? &st : NULL);
                if (!dir)
                        continue;
                while ((entry = readdir(dir)))
                        if (*entry->d_name != '.' &&
                                (endswith(entry->d_name, ".so") || foreign_name_is_good(entry->d_name))) {
                                names = arena_grow(&loader->scratch, names, n, &allocated, sizeof(char *));
                                names[n++] = arena_strdup(&loader->scratch, entry->d_name);
                        }
                (void) closedir(dir);
                if (n > 0)
                        qsort(names, n, sizeof(char *), compare_names);
                for (uint32_t k = 0; k < n; k++)
                        (void) try_module(loader, directory, names[k]);
        }
}

TypeEntry *type_find(Loader *loader, const char *name) {
        const char *shared, *directory;
        TypeEntry *entry = find_known(loader, name);

        if (entry)
                return entry;
        if (strchr(name, '/') || strlen(name) > 64)
                return NULL;

        shared = arena_printf(&loader->scratch, "%s.so", name);
        for (size_t i = 0; (directory = nth_directory(loader, i)); i++)
                if (try_module(loader, directory, shared) != 0 || try_module(loader, directory, name) != 0)
                        break;
        entry = find_known(loader, name);
        if (entry)
                return entry;

        modules_open_all(loader);
        return find_known(loader, name);
}

/* ---- Helpers --------------------------------------------------------------------------------------------------- */

/* Names of helpers may have more words than that; modules not. */
#define HELPER_NAME_MAX 64

static const Helper *find_known_helper(Loader *loader, const char *name) {
        for (uint32_t i = 0; i < loader->n_modules; i++) {
                const Module *module = loader->modules[i];
                const Helper *helper = module_find_helper(module, name);
                bool noted = false;

                if (!helper)
                        continue;
                for (uint32_t k = 0; k < loader->n_helper_modules && !noted; k++)
                        noted = loader->helper_modules[k] == module;
                if (!noted) {
                        loader->helper_modules = arena_grow(&loader->scratch, loader->helper_modules,
                                loader->n_helper_modules, &loader->n_helper_modules_allocated,
                                sizeof(Module *));
                        loader->helper_modules[loader->n_helper_modules++] = module;
                }
                return helper;
        }
        return NULL;
}

static const Helper *find_helper(void *userdata, const char *name) {
        const Helper *helper = find_known_helper(userdata, name);
        Loader *loader = userdata;
        size_t size = strlen(name);

        if (helper || size > HELPER_NAME_MAX ||
                strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != size)
                return helper;

        /* my_thing_word(): of my.so, my-thing.so or my-thing-word.so. */
        for (size_t n = 1; n <= size && !helper; n++) {
                const char *directory;
                char *file;

                if (name[n] != '_' && name[n] != 0)
                        continue;
                file = arena_printf(&loader->scratch, "%.*s.so", (int) n, name);
                for (char *p = file; *p; p++)
                        if (*p == '_')
                                *p = '-';
                for (size_t i = 0; (directory = nth_directory(loader, i)); i++)
                        if (try_module(loader, directory, file) != 0)
                                break;
                helper = find_known_helper(loader, name);
        }
        return helper;
}

const Helper *loader_nth_helper(const Loader *loader, size_t n) {
        for (uint32_t i = 0; i < loader->n_modules; i++) {
                const Module *module = loader->modules[i];

                if (n < module->n_helpers)
                        return &module->helpers[n].helper;
                n -= module->n_helpers;
        }
        return NULL;
}

static const char *nth_name(void *userdata, size_t n) {
        Loader *loader = userdata;
        uint32_t n_diagnostics = loader->diagnostics.n;
        const Helper *helper;

        /* What is wrong with modules that nobody has asked for is not what is wrong here. */
        modules_open_all(loader);
        loader->diagnostics.n = n_diagnostics;
        helper = loader_nth_helper(loader, n);
        return helper ? helper->name : NULL;
}

HelperSet loader_helpers(Loader *loader) {
        HelperSet set = helper_set(loader->root_fd);

        set.find = find_helper;
        set.nth = nth_name;
        set.userdata = loader;
        return set;
}
