/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit-change-internal.h"

/* ---- The plan -------------------------------------------------------------------------------------------------- */

int plan_error(Planner *p, int error, const char *format, ...) {
        va_list args;

        va_start(args, format);
        (void) vsnprintf(p->error, UNIT_CHANGE_ERROR_MAX, format, args);
        va_end(args);
        return error;
}

int plan_read_link(Planner *p, const char *path, const char **ret) {
        int fd CLOSED = unit_root_open(unit_files_root(p->files), path, O_PATH | O_NOFOLLOW);
        char says[PATH_MAX];
        struct stat st;
        ssize_t n;

        if (fd < 0)
                return fd == -ENOTDIR ? -ENOENT : fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISLNK(st.st_mode))
                return -EINVAL;
        n = readlinkat(fd, "", says, sizeof(says) - 1);
        if (n < 0)
                return -errno;
        *ret = pool_copy(&p->changes->pool, says, (size_t) n);
        return *ret ? 0 : -ENOMEM;
}

static int add_change(Planner *p, UnitChange change) {
        UnitChanges *c = p->changes;

        if (c->n == c->allocated) {
                size_t n = c->allocated > 0 ? 2 * c->allocated : 16;
                UnitChange *list = pool_alloc(&c->pool, n * sizeof(UnitChange));

                if (!list)
                        return -ENOMEM;
                if (c->n > 0)
                        memcpy(list, c->list, c->n * sizeof(UnitChange));
                c->list = list;
                c->allocated = n;
        }
        c->list[c->n++] = change;
        return 0;
}

static UnitChange *find_change(Planner *p, const char *path) {
        for (size_t i = 0; i < p->changes->n; i++)
                if (strcmp(p->changes->list[i].path, path) == 0)
                        return &p->changes->list[i];
        return NULL;
}

/* As absolute text; what is relative is so to the directory of the link. Links on the way are followed, not the last. */
static int target_path(Planner *p, const char *path, const char *says, char ret[static PATH_MAX]) {
        char full[PATH_MAX];
        int n = says[0] == '/' ? snprintf(full, sizeof(full), "%s", says)
                               : snprintf(full, sizeof(full), "%.*s/%s", (int) (strrchr(path, '/') - path),
                                         path, says);

        if (n < 0 || (size_t) n >= sizeof(full))
                return -ENAMETOOLONG;
        return unit_root_resolve(unit_files_root(p->files), full, false, NULL, NULL, ret);
}

static bool is_same_file(Planner *p, const char *a, const char *b) {
        int a_fd CLOSED = unit_root_open(unit_files_root(p->files), a, O_PATH);
        int b_fd CLOSED = unit_root_open(unit_files_root(p->files), b, O_PATH);
        struct stat a_st, b_st;

        return a_fd >= 0 && b_fd >= 0 && fstat(a_fd, &a_st) == 0 && fstat(b_fd, &b_st) == 0 &&
               a_st.st_dev == b_st.st_dev && a_st.st_ino == b_st.st_ino;
}

/* Inside the search path only names count; elsewhere it has to be the same file. */
static bool is_equivalent(Planner *p, const char *path, const char *says, const char *wanted) {
        char a[PATH_MAX], b[PATH_MAX];

        if (strcmp(says, wanted) == 0)
                return true;
        if (target_path(p, path, says, a) < 0 || target_path(p, path, wanted, b) < 0)
                return false;
        if (strcmp(a, b) == 0 || is_same_file(p, a, b))
                return true;
        return strcmp(strrchr(a, '/'), strrchr(b, '/')) == 0 && unit_paths_contain(p->paths, a) &&
               unit_paths_contain(p->paths, b);
}

int plan_link(Planner *p, const char *path, const char *target, bool force) {
        UnitChange *planned = find_change(p, path);
        const char *was = NULL;
        bool done = false;
        int r;

        if (planned && planned->kind == UNIT_CHANGE_LINK) {
                if (is_equivalent(p, path, planned->target, target))
                        return 0;
                if (!force)
                        return plan_error(p, -EEXIST, "Both '%s' and '%s' want the link '%s'",
                                planned->target, target, path);
                planned->target = target;
                planned->done = false;
                return 0;
        }
        /* Taken away and put back is as it was. */
        if (planned) {
                *planned = (UnitChange){
                        .kind = UNIT_CHANGE_LINK,
                        .path = path,
                        .target = target,
                        .was = planned->was,
                        .done = planned->was && strcmp(planned->was, target) == 0,
                };
                return 0;
        }

        r = plan_read_link(p, path, &was);
        if (r == -EINVAL)
                return plan_error(p, -EEXIST, "'%s' is there already, and not a link", path);
        if (r < 0 && r != -ENOENT)
                return plan_error(p, r, "Failed to read link '%s': %s", path, strerror(-r));
        if (was) {
                done = is_equivalent(p, path, was, target);
                if (!done && !force)
                        return plan_error(p, -EEXIST, "'%s' is there already, and leads to '%s'", path, was);
        }
        return add_change(p, (UnitChange){
                                     .kind = UNIT_CHANGE_LINK,
                                     .done = done,
                                     .path = path,
                                     .target = target,
                                     .was = was,
                             });
}

int plan_unlink(Planner *p, const char *path, const char *was) {
        int r = names_add(&p->changes->pool, &p->gone, path);

        if (r < 0 || find_change(p, path))
                return r;
        return add_change(p, (UnitChange){
                                     .kind = UNIT_CHANGE_UNLINK,
                                     .path = path,
                                     .was = was,
                             });
}

/* ---- Verbs ----------------------------------------------------------------------------------------------------- */

static int bad_name(Planner *p, const char *name) {
        return plan_error(p, -EINVAL, "'%s' is not the name of a unit", name);
}

static const char *own_path(Planner *p, const char *name) {
        return pool_format(&p->changes->pool, "%s/%s", p->changes->directory, name);
}

static int add_once(Planner *p, Names *names, const char *name) {
        for (size_t i = 0; i < names->n; i++)
                if (strcmp(names->list[i], name) == 0)
                        return 0;
        return names_add(&p->changes->pool, names, name);
}

/* Marks names, what they lead to, and if with_also what Also= says of them. */
static int mark(Planner *p, Names *queue, Names *marks, bool with_also) {
        for (size_t i = 0; i < queue->n; i++) {
                const UnitFile *unit;
                int r = unit_files_find(p->files, queue->list[i], &unit);

                if (r < 0)
                        return r == -EINVAL ? bad_name(p, queue->list[i]) : r;
                /* A mask is not what has enabled it. */
                if (unit->mode == UNIT_FILE_MODE_MASKED)
                        continue;
                /* Links to the unit itself are looked for, which an alias is one of. */
                if (unit->mode != UNIT_FILE_MODE_ALIAS) {
                        r = names_add(&p->changes->pool, marks, unit->name);
                        if (r < 0)
                                return r;
                }
                for (size_t j = 0; r == 0 && with_also && j < unit->install.also.n; j++)
                        r = add_once(p, queue, unit->install.also.list[j]);
                if (r == 0 && unit->leads_to)
                        r = add_once(p, queue, unit->leads_to->name);
                if (r < 0)
                        return r;
                if (queue->n > INSTALL_NAMES_MAX)
                        return plan_error(p, -E2BIG, "Too many units are to be disabled");
        }
        return 0;
}

static int plan_disable(Planner *p, const char *const *names, size_t n, bool with_also) {
        Names queue = {}, marks = {};
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                r = names_add(&p->changes->pool, &queue, names[i]);
        if (r == 0)
                r = mark(p, &queue, &marks, with_also);
        return r < 0 ? r : plan_remove_marked(p, &marks);
}

static int plan_mask(Planner *p, const char *const *names, size_t n) {
        for (size_t i = 0; i < n; i++) {
                const char *path;
                int r;

                if (unit_name_kind(names[i]) == UNIT_NAME_INVALID)
                        return bad_name(p, names[i]);
                path = own_path(p, names[i]);
                r = path ? plan_link(p, path, "/dev/null", p->flags & UNIT_CHANGE_FORCE) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Return: 1: what is at the path masks, ret_was is what it says if it is a link; 0; -errno. */
static int is_mask(Planner *p, const char *path, const char **ret_was) {
        char target[PATH_MAX];
        struct stat st;
        int r;

        *ret_was = NULL;
        r = plan_read_link(p, path, ret_was);
        if (r == -ENOENT)
                return 0;
        if (r < 0 && r != -EINVAL)
                return r;
        r = unit_root_resolve(unit_files_root(p->files), path, true, NULL, NULL, target);
        if (r < 0)
                return r;
        if (strcmp(target, "/dev/null") == 0)
                return 1;
        {
                int fd CLOSED = unit_root_open(unit_files_root(p->files), target, O_PATH);

                if (fd < 0)
                        return fd == -ENOENT ? 0 : fd;
                if (fstat(fd, &st) < 0)
                        return -errno;
        }
        return (S_ISREG(st.st_mode) && st.st_size == 0) || S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode);
}

static int plan_unmask(Planner *p, const char *const *names, size_t n) {
        Names marks = {};

        for (size_t i = 0; i < n; i++) {
                const char *path, *was;
                int r;

                if (unit_name_kind(names[i]) == UNIT_NAME_INVALID)
                        return bad_name(p, names[i]);
                path = own_path(p, names[i]);
                if (!path)
                        return -ENOMEM;
                r = is_mask(p, path, &was);
                if (r < 0)
                        return plan_error(p, r, "Failed to look at '%s': %s", path, strerror(-r));
                if (r == 0 || find_change(p, path))
                        continue;
                r = plan_unlink(p, path, was);
                if (r == 0)
                        r = names_add(&p->changes->pool, &marks, path);
                if (r < 0)
                        return r;
        }
        return plan_remove_marked(p, &marks);
}

static int plan_links(Planner *p, const char *const *paths, size_t n) {
        for (size_t i = 0; i < n; i++) {
                const char *slash = strrchr(paths[i], '/'), *path;
                int r, fd CLOSED = -EBADF;
                struct stat st;

                if (paths[i][0] != '/' || unit_name_kind(slash + 1) == UNIT_NAME_INVALID)
                        return plan_error(p, -EINVAL, "'%s' is not the absolute path of a unit", paths[i]);
                fd = unit_root_open(unit_files_root(p->files), paths[i], O_PATH | O_NOFOLLOW);
                if (fd < 0)
                        return plan_error(p, fd, "Failed to open '%s': %s", paths[i], strerror(-fd));
                if (fstat(fd, &st) < 0)
                        return -errno;
                if (!S_ISREG(st.st_mode))
                        return plan_error(p, -EBADFD, "'%s' is not a regular file", paths[i]);
                if (unit_paths_find_parent(p->paths, paths[i]) >= 0)
                        continue;
                path = own_path(p, slash + 1);
                r = path ? plan_link(p, path, paths[i], p->flags & UNIT_CHANGE_FORCE) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return 0;
}

/* First what is to be disabled, then what is to be enabled, so that names which pass from one to another are free. */
static int plan_preset(Planner *p, const Presets *presets, const char *const *names, size_t n) {
        Names plus = {}, minus = {};
        int r;

        for (size_t i = 0; i < n; i++) {
                const UnitFile *unit;
                Names instances = {};
                PresetAction action;

                r = unit_files_find(p->files, names[i], &unit);
                if (r == -EINVAL)
                        return bad_name(p, names[i]);
                if (r == 0 && unit->error == -ENOENT)
                        return plan_error(p, -ENOENT, "There is no unit '%s'", names[i]);
                if (r == 0)
                        r = unit->error;
                if (r < 0)
                        return plan_error(p, r, "Failed to read unit '%s': %s", names[i], strerror(-r));
                /* The policy is about the name that it has of itself. */
                if (unit->mode == UNIT_FILE_MODE_ALIAS)
                        continue;
                r = presets_query(presets, names[i], &p->changes->pool, &instances, &action);
                if (r < 0)
                        return plan_error(p, r, "A preset names an impossible instance of '%s'", names[i]);
                if (action == PRESET_IGNORE)
                        continue;
                if (instances.n == 0)
                        r = names_add(&p->changes->pool, action == PRESET_ENABLE ? &plus : &minus, names[i]);
                for (size_t j = 0; r == 0 && j < instances.n; j++)
                        r = names_add(&p->changes->pool, &plus, instances.list[j]);
                if (r < 0)
                        return r;
        }
        r = plan_disable(p, minus.list, minus.n, false);
        return r < 0 ? r : plan_enable(p, plus.list, plus.n);
}

static int plan(Planner *p, const Presets *presets, UnitVerb verb, const char *const *names, size_t n) {
        switch (verb) {
        case UNIT_VERB_ENABLE: return plan_enable(p, names, n);
        case UNIT_VERB_DISABLE: return plan_disable(p, names, n, true);
        case UNIT_VERB_MASK: return plan_mask(p, names, n);
        case UNIT_VERB_UNMASK: return plan_unmask(p, names, n);
        case UNIT_VERB_PRESET: return plan_preset(p, presets, names, n);
        case UNIT_VERB_LINK: return plan_links(p, names, n);
        }
        return -EINVAL;
}

UnitChanges *unit_changes_free(UnitChanges *changes) {
        if (!changes)
                return NULL;
        pool_done(&changes->pool);
        free(changes);
        return NULL;
}

int unit_changes_plan(UnitFiles *files, const Presets *presets, UnitVerb verb, const char *const *names,
        size_t n, unsigned flags, UnitChanges **ret, char reterr[static UNIT_CHANGE_ERROR_MAX]) {
        Planner p = {
                .files = files,
                .paths = unit_files_paths(files),
                .flags = flags,
                .is_preset = verb == UNIT_VERB_PRESET,
                .error = reterr,
        };
        const char *directory = flags & UNIT_CHANGE_RUNTIME ? p.paths->runtime : p.paths->persistent;
        int r;

        *reterr = '\0';
        if (!directory)
                return plan_error(&p, -ENXIO, "There is no directory for units until the next boot");
        p.changes = calloc(1, sizeof(UnitChanges));
        if (!p.changes)
                return plan_error(&p, -ENOMEM, "%s", strerror(ENOMEM));
        p.changes->directory = pool_dup(&p.changes->pool, directory);
        r = p.changes->directory ? plan(&p, presets, verb, names, n) : -ENOMEM;
        if (r < 0) {
                if (!*reterr)
                        (void) plan_error(&p, r, "%s", strerror(-r));
                (void) unit_changes_free(p.changes);
                return r;
        }
        for (size_t i = 0; i < p.changes->n; i++) {
                UnitChange *c = &p.changes->list[i];

                /* What is handed out outlives what was read. */
                if (c->target) {
                        c->target = pool_dup(&p.changes->pool, c->target);
                        if (!c->target) {
                                (void) unit_changes_free(p.changes);
                                return plan_error(&p, -ENOMEM, "%s", strerror(ENOMEM));
                        }
                }
                p.changes->n_open += !c->done;
        }
        *ret = p.changes;
        return 0;
}
