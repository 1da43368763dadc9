/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>

#include "unit-change-internal.h"

/* As many names on the way to a unit as are followed. */
#define FOLLOW_MAX 64

/* Units to enable, none twice. */
typedef struct Queue {
        const UnitFile **list;
        size_t n, allocated;
} Queue;

static int enqueue(Planner *p, Queue *queue, const UnitFile *unit) {
        for (size_t i = 0; i < queue->n; i++)
                if (strcmp(queue->list[i]->name, unit->name) == 0)
                        return 0;
        if (queue->n == queue->allocated) {
                size_t n = queue->allocated > 0 ? 2 * queue->allocated : 16;
                const UnitFile **list = pool_alloc(&p->changes->pool, n * sizeof(*list));

                if (!list)
                        return -ENOMEM;
                if (queue->n > 0)
                        memcpy(list, queue->list, queue->n * sizeof(*list));
                queue->list = list;
                queue->allocated = n;
        }
        queue->list[queue->n++] = unit;
        return 0;
}

/* ---- Links ----------------------------------------------------------------------------------------------------- */

static int expand(Planner *p, const UnitFile *unit, const char *word, char ret[static UNIT_NAME_SIZE]) {
        const InstallUnit subject = {
                .name = unit->name,
                .root_fd = unit_files_root(p->files),
                .owner = unit_files_owner(p->files),
        };
        int r = install_specifiers(&subject, unit->install.default_instance, word, ret);

        return r < 0 ? plan_error(p, r, "Cannot resolve the specifiers of '%s' in '%s'", word, unit->path)
                     : 0;
}

static int link_to(Planner *p, const UnitFile *unit, bool force, const char *below, const char *name) {
        const char *path = pool_format(&p->changes->pool, "%s/%s%s", p->changes->directory, below, name);

        return path ? plan_link(p, path, unit->path, force) : -ENOMEM;
}

/* Alias=b.target.wants/a.service, as it was written before there was WantedBy=. */
static bool is_wants_link(const UnitFile *unit, const char *alias) {
        const char *slash = strrchr(alias, '/'), *dot;
        char of[UNIT_NAME_SIZE], template[UNIT_NAME_SIZE];
        UnitNameKind kind, name_kind = unit_name_kind(slash + 1);

        memcpy(of, alias, (size_t) (slash - alias));
        of[slash - alias] = '\0';
        dot = strrchr(of, '.');
        if (!dot || (strcmp(dot, ".wants") != 0 && strcmp(dot, ".requires") != 0))
                return false;
        of[dot - of] = '\0';
        kind = unit_name_kind(of);
        if (kind == UNIT_NAME_INVALID)
                return false;
        if (strcmp(slash + 1, unit->name) == 0 && (name_kind & (UNIT_NAME_PLAIN | UNIT_NAME_INSTANCE)))
                return true;
        /* An instance of the template; or for each instance of a template, one of this template. */
        return unit_name_template(slash + 1, template) == 0 && strcmp(template, unit->name) == 0 &&
               (name_kind == UNIT_NAME_INSTANCE || kind == UNIT_NAME_TEMPLATE);
}

static int plan_alias(Planner *p, const UnitFile *unit, const char *word) {
        char alias[UNIT_NAME_SIZE], instance[UNIT_NAME_SIZE];
        int r;

        r = expand(p, unit, word, alias);
        if (r < 0)
                return r;
        if (strchr(alias, '/')) {
                if (!is_wants_link(unit, alias))
                        return plan_error(p, -EXDEV, "'%s' cannot have the alias '%s'", unit->path, alias);
                return link_to(p, unit, p->flags & UNIT_CHANGE_FORCE, "", alias);
        }
        /* The alias of an instance is one itself. */
        if (unit_name_kind(alias) == UNIT_NAME_TEMPLATE &&
                unit_name_kind(unit->name) == UNIT_NAME_INSTANCE) {
                (void) unit_name_instance(unit->name, instance);
                r = unit_name_with_instance(alias, instance, alias);
                if (r < 0)
                        return plan_error(p, -EXDEV, "'%s' cannot have the alias '%s'", unit->path, alias);
        }
        /* Its own name is one that it has. */
        if (strcmp(alias, unit->name) == 0)
                return 0;
        r = unit_name_alias_check(alias, unit->name);
        if (r < 0)
                return plan_error(p, -EXDEV, "'%s' cannot have the alias '%s'", unit->path, alias);
        return link_to(p, unit, p->flags & UNIT_CHANGE_FORCE, "", alias);
}

static int plan_wants(Planner *p, const UnitFile *unit, const Names *list, const char *suffix) {
        UnitNameKind allowed = UNIT_NAME_ANY;
        const UnitFile *instance;
        char name[UNIT_NAME_SIZE];
        int r;

        if (list->n == 0)
                return 0;
        memcpy(name, unit->name, strlen(unit->name) + 1);
        if (unit_name_kind(unit->name) == UNIT_NAME_TEMPLATE) {
                if (unit->install.default_instance) {
                        r = unit_name_with_instance(unit->name, unit->install.default_instance, name);
                        if (r == 0)
                                r = unit_files_find(p->files, name, &instance);
                        if (r == 0)
                                r = instance->error;
                        if (r < 0)
                                return plan_error(p, r, "Cannot enable the default instance '%s' of '%s'",
                                        unit->install.default_instance, unit->name);
                        if (instance->mode == UNIT_FILE_MODE_MASKED)
                                return plan_error(p, -ERFKILL, "Unit '%s' is masked", name);
                } else
                        /* Whoever wants it says which instance. */
                        allowed = UNIT_NAME_INSTANCE | UNIT_NAME_TEMPLATE;
        }

        for (size_t i = 0; i < list->n; i++) {
                char by[UNIT_NAME_SIZE], directory[UNIT_NAME_SIZE + 16];
                UnitNameKind kind;

                r = expand(p, unit, list->list[i], by);
                if (r < 0)
                        return r;
                kind = unit_name_kind(by);
                if (!(kind & allowed)) {
                        /* A policy is about all that there is. */
                        if (p->is_preset)
                                continue;
                        if (kind == UNIT_NAME_INVALID)
                                return plan_error(p, -EUCLEAN,
                                        "'%s' wants to be enabled for '%s', which is no unit", unit->path,
                                        by);
                        return plan_error(p, -EIDRM,
                                "'%s' is a template, and '%s' is none: an instance has to be named, as "
                                "%.*s@NAME%s",
                                unit->name, by, (int) strcspn(unit->name, "@"), unit->name,
                                strrchr(unit->name, '.'));
                }
                memcpy(directory, by, strlen(by) + 1);
                strcat(directory, suffix);
                r = link_to(p, unit, true, directory, name);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int plan_unit(Planner *p, const UnitFile *unit) {
        int r = 0;

        if (unit_file_has_rules(unit))
                p->changes->has_rules = true;
        if (unit_paths_find_parent(p->paths, unit->path) < 0) {
                r = link_to(p, unit, p->flags & UNIT_CHANGE_FORCE, "", unit->name);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < unit->install.aliases.n; i++) {
                r = plan_alias(p, unit, unit->install.aliases.list[i]);
                if (r < 0)
                        return r;
        }
        r = plan_wants(p, unit, &unit->install.wanted_by, ".wants/");
        return r < 0 ? r : plan_wants(p, unit, &unit->install.required_by, ".requires/");
}

/* ---- Units ----------------------------------------------------------------------------------------------------- */

static int find(Planner *p, const char *name, const UnitFile **ret) {
        int r = *name == '/' ? unit_files_find_at(p->files, name, ret)
                             : unit_files_find(p->files, name, ret);

        if (r == -EINVAL)
                return plan_error(p, r, "'%s' is not the name of a unit", name);
        if (r < 0)
                return plan_error(p, r, "Failed to look up unit '%s': %s", name, strerror(-r));
        return 0;
}

static int check_may_enable(Planner *p, const UnitFile *unit) {
        int parent;

        if (unit->mode == UNIT_FILE_MODE_MASKED)
                return plan_error(p, -ERFKILL, "Unit '%s' is masked by '%s'", unit->name, unit->path);
        parent = unit_paths_find_parent(p->paths, unit->path);
        if (parent >= 0 && (p->paths->list[parent].flags & (UNIT_PATH_GENERATOR | UNIT_PATH_TRANSIENT)))
                return plan_error(p, -EADDRNOTAVAIL, "Unit '%s' is transient or generated", unit->name);
        return 0;
}

/* What a unit says in Also=, and each name on the way to it; units that nobody has asked for. */
static int add_also(Planner *p, Queue *queue, Names *also, const UnitFile *unit) {
        for (unsigned depth = 0; unit && depth < FOLLOW_MAX; unit = unit->leads_to, depth++)
                for (size_t i = 0; i < unit->install.also.n; i++) {
                        bool known = false;
                        int r;

                        p->changes->has_rules = true;
                        for (size_t k = 0; !known && k < also->n; k++)
                                known = strcmp(also->list[k], unit->install.also.list[i]) == 0;
                        for (size_t k = 0; !known && k < queue->n; k++)
                                known = strcmp(queue->list[k]->name, unit->install.also.list[i]) == 0;
                        r = known ? 0 : names_add(&p->changes->pool, also, unit->install.also.list[i]);
                        if (r < 0)
                                return r;
                        if (also->n > INSTALL_NAMES_MAX)
                                return plan_error(p, -E2BIG, "Too many units are to be enabled");
                }
        return 0;
}

/* Whether one of the names on the way is a link that enabling or a person has made. */
static bool leads_over_config(const UnitFile *unit) {
        for (unsigned depth = 0; unit && depth < FOLLOW_MAX; unit = unit->leads_to, depth++)
                if (unit->in_config)
                        return true;
        return false;
}

static int add_asked(Planner *p, Queue *queue, Names *also, const char *name) {
        const UnitFile *asked;
        int r;

        r = find(p, name, &asked);
        if (r < 0)
                return r;
        if (asked->error == -ENOENT)
                return plan_error(p, -ENOENT, "There is no unit '%s'", name);
        if (asked->error == -ENOLINK)
                return plan_error(p, -ENOLINK, "Unit '%s' is an alias of one that does not exist", name);
        if (asked->error < 0)
                return plan_error(
                        p, asked->error, "Failed to read unit '%s': %s", name, strerror(-asked->error));
        r = check_may_enable(p, asked->real);
        if (r < 0)
                return r;
        for (const UnitFile *u = asked; u->mode == UNIT_FILE_MODE_ALIAS; u = u->leads_to)
                if (u->in_config)
                        return plan_error(p, -ELOOP, "'%s' is an alias of '%s': enable that", u->name,
                                asked->real->name);
        r = enqueue(p, queue, asked->real);
        return r < 0 ? r : add_also(p, queue, also, asked);
}

int plan_enable(Planner *p, const char *const *names, size_t n) {
        Queue queue = {};
        Names also = {};
        int r;

        for (size_t i = 0; i < n; i++) {
                r = add_asked(p, &queue, &also, names[i]);
                if (r < 0)
                        return r;
        }
        /* They may be missing, masked, or links that something else has made: then they are left alone. */
        for (size_t i = 0; i < also.n; i++) {
                const UnitFile *unit;

                r = find(p, also.list[i], &unit);
                if (r == 0 && unit->real && unit->real->mode == UNIT_FILE_MODE_REGULAR &&
                        !leads_over_config(unit))
                        r = enqueue(p, &queue, unit->real);
                if (r == 0)
                        r = add_also(p, &queue, &also, unit);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < queue.n; i++) {
                r = plan_unit(p, queue.list[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}
