/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Files of units: what the state itself owns, and the links that enable and mask. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply.h"
#include "files.h"
#include "unit-change.h"

static void undo_boolean(Apply *a, const Item *item, const char *what, bool old) {
        agentd_undo(a->context, (size_t) (item - a->items), what,
                &(AgentdValue){ .type = AGENTD_BOOLEAN, .boolean = old });
}

/* Which instances of a template are meant is for the presets to say. */
static UnitFilesMethod enabling(const Service *service) {
        return service->is_template && service->preset == YES ? UNIT_FILES_PRESET : UNIT_FILES_ENABLE;
}

/* Masks first, as nobody can tell what is below one. */
static void decide_files(Apply *a, bool masks) {
        UnitFiles *files = NULL;
        int r = 0;

        for (Item *item = a->items; item < a->items + a->n; item++) {
                UnitFileState is;
                Wish wish;

                if (item->over || !wants_files(item->service) || (masks && item->service->masked != NO))
                        continue;
                if (!files)
                        r = manager_files(a->manager, &files);
                if (r >= 0)
                        r = look_at_enablement(files, item->service, &is, &wish);
                if (r < 0) {
                        apply_fail(a, item, "Failed to see whether '%s' is enabled: %s", item->service->unit,
                                strerror(-r));
                        continue;
                }
                if (masks) {
                        item->unmask = is_masked(is);
                        if (item->unmask)
                                undo_boolean(a, item, "masked", true);
                        continue;
                }
                if (item->service->masked == YES && is != UNIT_FILE_MASKED) {
                        item->has_change = true;
                        item->change = UNIT_FILES_MASK;
                        undo_boolean(a, item, "masked", false);
                        continue;
                }
                if (wish == YES && is != UNIT_FILE_ENABLED) {
                        item->has_change = true;
                        item->change = enabling(item->service);
                        undo_boolean(a, item, "enabled", false);
                } else if (wish == NO && is_enabled(is)) {
                        item->has_change = true;
                        item->change = UNIT_FILES_DISABLE;
                        undo_boolean(a, item, "enabled", true);
                }
        }
}

/* With a unit also what it names in Also= is disabled: not if that is to be enabled. */
static void decide_again(Apply *a) {
        UnitFiles *files = NULL;
        bool any = false;

        for (const Item *item = a->items; item < a->items + a->n && !any; item++)
                any = !item->over && item->has_change && item->change == UNIT_FILES_DISABLE;
        if (!any)
                return;
        for (Item *item = a->items; item < a->items + a->n; item++) {
                UnitFileState is;
                Wish wish;

                if (item->over || item->has_change || !wants_files(item->service) ||
                        (!files && manager_files(a->manager, &files) < 0) ||
                        look_at_enablement(files, item->service, &is, &wish) < 0)
                        continue;
                item->has_change = wish == YES && is != UNIT_FILE_ENABLED;
                item->change = enabling(item->service);
        }
}

/* Files that systemd would not take are not put in place. */
void apply_verify(Apply *a) {
        const Service **services = calloc(a->n, sizeof(*services));
        size_t *indices = calloc(a->n, sizeof(*indices)), n = 0;
        char **errors = calloc(a->n, sizeof(*errors));

        if (services && indices && errors) {
                for (size_t i = 0; i < a->n; i++)
                        if (a->items[i].service->verify && !a->items[i].service->absent &&
                                files_differ(a->context, a->items[i].service)) {
                                services[n] = a->items[i].service;
                                indices[n++] = i;
                        }
                files_verify(a->context, services, indices, n, errors);
                for (size_t i = 0; i < n; i++) {
                        if (errors[i])
                                apply_fail(a, &a->items[indices[i]], "systemd does not accept its files: %s",
                                        errors[i]);
                        free(errors[i]);
                }
        }
        free(services);
        free(indices);
        free(errors);
}

static void put_files(Apply *a) {
        for (Item *item = a->items; item < a->items + a->n; item++)
                if (!item->over && item->service->n_files > 0 && !item->service->absent &&
                        files_put(a->context, (size_t) (item - a->items), item->service, &a->reload) < 0)
                        item->over = true;
}

/* What is to be absent runs no more by now. */
void apply_remove_files(Apply *a) {
        a->reload = false;
        for (Item *item = a->items; item < a->items + a->n; item++) {
                bool stopped =
                        !item->job || item->job->result == JOB_DONE || item->job->result == JOB_SKIPPED;

                if (item->over || !item->service->absent || !stopped)
                        continue;
                if (files_remove(a->context, (size_t) (item - a->items), item->service, &a->reload) < 0)
                        item->over = true;
                /* Or systemd would keep it in mind, and in its list of what has failed. */
                else if (!a->offline)
                        (void) units_reset_failed(a->units, item->service->unit);
        }
        if (a->reload && !a->offline)
                (void) units_reload(a->units, a->deadline_usec);
}

static void note_change(void *userdata, const UnitLink *change) {
        Apply *a = userdata;

        agentd_log(a->context, 7, "%s %s %s", change->type, change->path, change->target);
}

/* Without systemd: as `systemctl --root` does. */
static int change_link(Apply *a, UnitVerb verb, unsigned flags, const char *name,
        char error[static UNIT_CHANGE_ERROR_MAX]) {
        Presets *presets = NULL;
        UnitChanges *changes;
        UnitFiles *files;
        int r;

        (void) snprintf(error, UNIT_CHANGE_ERROR_MAX, "the directories of units cannot be read");
        r = manager_files(a->manager, &files);
        if (r < 0)
                return r;
        if (verb == UNIT_VERB_PRESET)
                r = presets_new(unit_files_root(files), UNIT_SCOPE_SYSTEM, &presets);
        if (r >= 0)
                r = unit_changes_plan(files, presets, verb, &name, 1, flags, &changes, error);
        presets_free(presets);
        if (r < 0)
                return r;
        r = unit_changes_apply(files, changes, error);
        unit_changes_free(changes);
        return r;
}

static void change_links(Apply *a, UnitFilesMethod method, bool unmask) {
        static const UnitVerb verbs[] = {
                [UNIT_FILES_ENABLE] = UNIT_VERB_ENABLE,
                [UNIT_FILES_DISABLE] = UNIT_VERB_DISABLE,
                [UNIT_FILES_MASK] = UNIT_VERB_MASK,
                [UNIT_FILES_UNMASK] = UNIT_VERB_UNMASK,
                [UNIT_FILES_PRESET] = UNIT_VERB_PRESET,
        };

        agentd_will_change(a->context);
        for (Item *item = a->items; item < a->items + a->n; item++) {
                char error[UNIT_CHANGE_ERROR_MAX];

                if (item->over || !(unmask ? item->unmask : item->has_change && item->change == method))
                        continue;
                if (method == UNIT_FILES_DISABLE || method == UNIT_FILES_UNMASK)
                        (void) change_link(
                                a, verbs[method], UNIT_CHANGE_RUNTIME, item->service->unit, error);
                if (change_link(a, verbs[method], 0, item->service->unit, error) < 0)
                        apply_fail(a, item, "Failed to %s '%s': %s", units_files_method_to_string(method),
                                item->service->unit, error);
        }
}

/* One call for all; if that is refused, one each, so that only those fail that have to. */
static void change_files(Apply *a, UnitFilesMethod method, bool unmask) {
        const char **names = calloc(a->n, sizeof(*names));
        size_t n = 0;

        if (!names) {
                for (Item *item = a->items; item < a->items + a->n; item++)
                        apply_fail(a, item, "Failed to change unit files: %s", strerror(ENOMEM));
                return;
        }
        for (Item *item = a->items; item < a->items + a->n; item++)
                if (!item->over && (unmask ? item->unmask : item->has_change && item->change == method))
                        names[n++] = item->service->unit;
        if (n == 0) {
                free(names);
                return;
        }
        if (a->offline) {
                change_links(a, method, unmask);
                free(names);
                return;
        }
        if (!manager_is_there(a->manager)) {
                for (Item *item = a->items; item < a->items + a->n; item++)
                        if (unmask ? item->unmask : item->has_change && item->change == method)
                                apply_fail(a, item,
                                        "'%s' is not logged in, and so nothing can be enabled; with linger "
                                        "= true it can all the same",
                                        a->manager->user);
                free(names);
                return;
        }
        a->reload = true;
        agentd_will_change(a->context);
        /* Links until the next boot go as well. */
        if (method == UNIT_FILES_DISABLE || method == UNIT_FILES_UNMASK)
                (void) units_change_files(a->units, method, true, names, n, note_change, a);
        if (units_change_files(a->units, method, false, names, n, note_change, a) < 0)
                for (Item *item = a->items; item < a->items + a->n; item++) {
                        const char *name = item->service->unit;

                        if (item->over ||
                                !(unmask ? item->unmask : item->has_change && item->change == method))
                                continue;
                        if (units_change_files(a->units, method, false, &name, 1, note_change, a) < 0)
                                apply_fail(a, item, "Failed to %s '%s': %s",
                                        units_files_method_to_string(method), name, a->units->error);
                }
        free(names);
}

/* Whether somebody has changed the files of a unit since systemd has read all of them. */
static bool is_stale(Apply *a, UnitFiles *files, const char *unit, uint64_t read_usec) {
        UnitDetails details;

        /* systemd does not see a new directory of drop-ins, and says that there is no need to read anything. */
        if (look_at_age_of_dropins(files, unit) > read_usec)
                return true;
        /* What it had not loaded, it has read since. */
        return look_at_age(files, unit) > read_usec && units_get_details(a->units, unit, &details) >= 0 &&
               details.needs_reload;
}

/* Somebody has changed files of units that are about to be started or restarted, and told systemd nothing. */
bool apply_needs_reload(Apply *a) {
        uint64_t read_usec = 0;
        UnitFiles *files;

        if (manager_files(a->manager, &files) < 0)
                return false;
        (void) units_get_reload_time(a->units, &read_usec);
        for (Item *item = a->items; item < a->items + a->n; item++) {
                bool acts = wants_activity(item->service) ||
                            item->state->flags & (AGENTD_STATE_RESTART | AGENTD_STATE_RELOAD);

                if (!item->over && acts &&
                        (is_stale(a, files, item->service->unit, read_usec) ||
                                look_is_to_be_made(files, item->service->unit, read_usec)))
                        return true;
        }
        return false;
}

void apply_files(Apply *a) {
        put_files(a);
        decide_files(a, true);
        change_files(a, UNIT_FILES_UNMASK, true);
        decide_files(a, false);
        change_files(a, UNIT_FILES_DISABLE, false);
        decide_again(a);
        change_files(a, UNIT_FILES_ENABLE, false);
        change_files(a, UNIT_FILES_PRESET, false);
        change_files(a, UNIT_FILES_MASK, false);
}
