/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Looks at units: activity of all of them in one call, enablement in the file system. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#include "look.h"
#include "unit-name.h"

/* How far back is looked for what became of a unit that was just started. */
#define GONE_USEC (60 * UINT64_C(1000000))

static uint64_t clock_usec(clockid_t clock) {
        struct timespec t;

        (void) clock_gettime(clock, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static uint64_t mtime_usec(const struct stat *st) {
        return (uint64_t) st->st_mtim.tv_sec * 1000000 + (uint64_t) st->st_mtim.tv_nsec / 1000;
}

/* Of a file, or of a directory and what is in it. */
static uint64_t newest(int root_fd, const char *path, bool directory) {
        CLOSED int fd = unit_root_open(root_fd, path, directory ? O_RDONLY | O_DIRECTORY : O_PATH);
        uint64_t usec = 0;
        struct stat st;
        DIR *d;

        if (fd < 0)
                return 0;
        if (fstat(fd, &st) < 0)
                return UINT64_MAX;
        usec = mtime_usec(&st);
        if (!directory)
                return usec;
        d = fdopendir(fd);
        if (!d)
                return UINT64_MAX;
        fd = -1;
        for (struct dirent *entry; (entry = readdir(d));)
                if (*entry->d_name != '.' && fstatat(dirfd(d), entry->d_name, &st, 0) >= 0 &&
                        mtime_usec(&st) > usec)
                        usec = mtime_usec(&st);
        (void) closedir(d);
        return usec;
}

uint64_t look_at_age(UnitFiles *files, const char *name) {
        const UnitFile *unit;

        if (unit_files_find(files, name, &unit) < 0)
                return UINT64_MAX;
        return unit->path ? newest(unit_files_root(files), unit->path, false) : 0;
}

static bool is_among(int root_fd, char *const *paths, const struct stat *st) {
        for (; paths && *paths; paths++) {
                CLOSED int fd = unit_root_open(root_fd, *paths, O_PATH);
                struct stat other;

                if (fd >= 0 && fstat(fd, &other) >= 0 && other.st_dev == st->st_dev &&
                        other.st_ino == st->st_ino)
                        return true;
        }
        return false;
}

static uint64_t newest_dropin(int root_fd, const char *path, char *const *known) {
        CLOSED int fd = unit_root_open(root_fd, path, O_RDONLY | O_DIRECTORY);
        uint64_t usec = 0;
        DIR *d;

        if (fd < 0)
                return 0;
        d = fdopendir(fd);
        if (!d)
                return UINT64_MAX;
        fd = -1;
        for (const struct dirent *entry; (entry = readdir(d));) {
                const char *suffix = strrchr(entry->d_name, '.');
                struct stat st;

                if (*entry->d_name != '.' && suffix && strcmp(suffix, ".conf") == 0 &&
                        fstatat(dirfd(d), entry->d_name, &st, 0) >= 0 && mtime_usec(&st) > usec &&
                        !is_among(root_fd, known, &st))
                        usec = mtime_usec(&st);
        }
        (void) closedir(d);
        return usec;
}

static uint64_t age_of_dropins(UnitFiles *files, const char *name, char *const *known) {
        const UnitPaths *paths = unit_files_paths(files);
        char path[PATH_MAX];
        uint64_t usec = 0;

        for (size_t i = 0; i < paths->n; i++) {
                uint64_t other;

                (void) snprintf(path, sizeof(path), "%s/%s.d", paths->list[i].path, name);
                other = known ? newest_dropin(unit_files_root(files), path, known)
                              : newest(unit_files_root(files), path, true);
                usec = other > usec ? other : usec;
        }
        return usec;
}

uint64_t look_at_age_of_dropins(UnitFiles *files, const char *name, char *const *known) {
        const char *suffix = strrchr(name, '.');
        char other[UNIT_NAME_SIZE];
        uint64_t usec, age = age_of_dropins(files, name, known);

        /* Those of its template, of all of its kind, and of all whose names begin likewise: a-b-c, a-b-, a-. */
        if (unit_name_template(name, other) >= 0 && (usec = age_of_dropins(files, other, known)) > age)
                age = usec;
        if ((usec = age_of_dropins(files, suffix + 1, known)) > age)
                age = usec;
        for (const char *p = suffix; p > name && !strchr(name, '@'); p--)
                if (p[-1] == '-' && p < suffix) {
                        (void) snprintf(other, sizeof(other), "%.*s%s", (int) (p - name), name, suffix);
                        if ((usec = age_of_dropins(files, other, known)) > age)
                                age = usec;
                }
        return age;
}

bool look_is_to_be_made(UnitFiles *files, const char *name, uint64_t read_usec) {
        static const struct {
                const char *path;
                bool directory;
                const char *suffix;
        } sources[] = {
                { "/etc/fstab", false, ".mount" },
                { "/etc/fstab", false, ".automount" },
                { "/etc/fstab", false, ".swap" },
                { "/etc/crypttab", false, ".service" },
                { "/etc/containers/systemd", true, ".service" },
        };
        const UnitFile *unit;

        if (unit_files_find(files, name, &unit) < 0 || unit->path)
                return false;
        for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
                if (strcmp(strrchr(name, '.'), sources[i].suffix) == 0 &&
                        newest(unit_files_root(files), sources[i].path, sources[i].directory) > read_usec)
                        return true;
        return false;
}

bool is_masked(UnitFileState state) {
        return state == UNIT_FILE_MASKED || state == UNIT_FILE_MASKED_RUNTIME;
}

bool is_enabled(UnitFileState state) {
        return state == UNIT_FILE_ENABLED || state == UNIT_FILE_ENABLED_RUNTIME;
}

bool wants_files(const Service *service) {
        return service->enabled != OPEN || service->masked != OPEN || service->preset != OPEN;
}

/* That which is enabled by this name: itself, or what an alias leads to. */
static int state_of_real(UnitFiles *files, const char *name, UnitFileState *ret) {
        const UnitFile *unit;
        int r;

        r = unit_files_states(files, &name, 1, ret);
        if (r < 0 || *ret != UNIT_FILE_ALIAS)
                return r;
        r = unit_files_find(files, name, &unit);
        if (r < 0 || !unit->real || strcmp(unit->real->name, name) == 0)
                return r;
        return unit_files_states(files, &unit->real->name, 1, ret);
}

static bool has_rules(UnitFiles *files, const char *name) {
        const UnitFile *unit;

        return unit_files_find(files, name, &unit) >= 0 && unit_file_has_rules(unit);
}

/* Of a template for which a preset names instances it is about these. */
static int look_at_instances(UnitFiles *files, const Names *instances, UnitFileState *ret) {
        UnitFileState state, all = UNIT_FILE_ENABLED;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < instances->n; i++) {
                r = unit_files_states(files, &instances->list[i], 1, &state);
                if (r >= 0 && state != UNIT_FILE_ENABLED)
                        all = UNIT_FILE_DISABLED;
        }
        if (r >= 0 && instances->n > 0)
                *ret = all;
        return r;
}

static int ask_presets(UnitFiles *files, const char *unit, UnitFileState *state, Wish *ret) {
        Names instances = {};
        Pool pool = {};
        Presets *presets;
        PresetAction action;
        int r;

        r = presets_new(unit_files_root(files), UNIT_SCOPE_SYSTEM, &presets);
        if (r < 0)
                return r;
        r = presets_query(presets, unit, &pool, &instances, &action);
        presets_free(presets);
        if (r >= 0 && action == PRESET_ENABLE)
                r = look_at_instances(files, &instances, state);
        pool_done(&pool);
        if (r >= 0)
                *ret = action == PRESET_IGNORE ? OPEN : action == PRESET_ENABLE ? YES : NO;
        return r;
}

int look_at_enablement(UnitFiles *files, const Service *service, UnitFileState *ret, Wish *ret_wish) {
        Wish wish = (Wish) service->enabled;
        int r;

        r = state_of_real(files, service->unit, ret);
        if (r < 0)
                return r;
        if (service->preset == YES && *ret != UNIT_FILE_NOT_FOUND) {
                UnitFileState state = *ret;

                r = ask_presets(files, service->unit, &state, &wish);
                if (r < 0)
                        return r;
                /* What has no [Install] has nothing to be preset. */
                if (*ret != UNIT_FILE_ENABLED && *ret != UNIT_FILE_ENABLED_RUNTIME &&
                        *ret != UNIT_FILE_DISABLED && *ret != UNIT_FILE_LINKED &&
                        *ret != UNIT_FILE_LINKED_RUNTIME &&
                        !(*ret == UNIT_FILE_INDIRECT && has_rules(files, service->unit)))
                        wish = OPEN;
                else if (!is_masked(*ret))
                        *ret = state;
        }
        *ret_wish = wish;
        return 0;
}

/* Return: 1: go on; 0: the state is finished. */
static int compare_files(AgentdContext *context, size_t i, const AgentdState *state, UnitFiles *files) {
        const Service *service = service_of(state);
        const char *parameter = service->preset == YES ? "preset" : "enabled";
        UnitFileState is;
        Wish wish;
        int r;

        r = look_at_enablement(files, service, &is, &wish);
        if (r < 0) {
                agentd_failed(context, i, "Failed to see whether '%s' is enabled: %s", service->unit,
                        strerror(-r));
                return 0;
        }
        if (service->masked != OPEN && (service->masked == YES) != is_masked(is))
                agentd_differs_boolean(context, i, "masked", is_masked(is), service->masked == YES);
        else if (service->masked == YES && is == UNIT_FILE_MASKED_RUNTIME)
                agentd_differs_string(context, i, "masked", "until the next boot", "for good");
        if (wish == OPEN)
                return 1;

        switch (is) {
        case UNIT_FILE_NOT_FOUND:
                if (wish == NO)
                        return 1;
                if (state->flags & AGENTD_STATE_PENDING || service->n_files > 0) {
                        agentd_differs_boolean(context, i, parameter, false, true);
                        return 1;
                }
                agentd_failed(context, i, "there is no unit '%s'", service->unit);
                return 0;
        case UNIT_FILE_BAD:
                agentd_failed(context, i, "the unit file of '%s' cannot be read", service->unit);
                return 0;
        case UNIT_FILE_MASKED:
        case UNIT_FILE_MASKED_RUNTIME:
                if (wish == NO)
                        return 1;
                if (service->masked == NO) {
                        agentd_differs_boolean(context, i, parameter, false, true);
                        return 1;
                }
                agentd_failed(context, i,
                        "'%s' is masked, and so cannot be enabled; with masked = false it will be unmasked",
                        service->unit);
                return 0;
        case UNIT_FILE_STATIC:
                if (wish == NO)
                        return 1;
                if (service->n_files > 0 && files_differ(context, service)) {
                        /* Its files are about to be others. */
                        agentd_differs_boolean(context, i, parameter, false, true);
                        return 1;
                }
                agentd_failed(context, i, "'%s' cannot be enabled: it has no [Install], others start it",
                        service->unit);
                return 0;
        case UNIT_FILE_ENABLED_RUNTIME:
                if (wish == YES)
                        agentd_differs_string(context, i, parameter, "until the next boot", "for good");
                else
                        agentd_differs_boolean(context, i, parameter, true, false);
                return 1;
        case UNIT_FILE_ENABLED:
                if (wish == NO)
                        agentd_differs_boolean(context, i, parameter, true, false);
                return 1;
        case UNIT_FILE_DISABLED:
        case UNIT_FILE_LINKED:
        case UNIT_FILE_LINKED_RUNTIME:
                if (wish == YES)
                        agentd_differs_boolean(context, i, parameter, false, true);
                return 1;
        case UNIT_FILE_GENERATED:
        case UNIT_FILE_TRANSIENT:
                if (service->enabled != YES)
                        return 1;
                agentd_failed(context, i, "'%s' cannot be enabled: %s", service->unit,
                        is == UNIT_FILE_GENERATED ? "a generator of systemd has made it, which decides that"
                                                  : "it was made for now, and goes when it ends");
                return 0;
        case UNIT_FILE_INDIRECT:
                /* Of a template: another instance than that of its DefaultInstance=. */
                if (wish == YES && has_rules(files, service->unit)) {
                        agentd_differs_boolean(context, i, parameter, false, true);
                        return 1;
                }
                if (service->enabled != YES)
                        return 1;
                agentd_failed(context, i,
                        "'%s' cannot be enabled: its [Install] names only other units (Also=); say these",
                        service->unit);
                return 0;
        default: return 1;
        }
}

/* ---- Activity -------------------------------------------------------------------------------------------------- */

bool wants_activity(const Service *service) {
        return !service->is_template &&
               (service->running != OPEN || (service->n_files > 0 && !service->absent));
}

/* systemd is about to do it, and nobody is to wait for that. */
static bool is_under_way(const Service *service, const UnitStatus *status) {
        if (service->wait)
                return false;
        if (*status->job)
                return service->running == NO
                               ? strcmp(status->job, "stop") == 0
                               : strcmp(status->job, "start") == 0 || strcmp(status->job, "restart") == 0;
        return status->active == (service->running == NO ? UNIT_DEACTIVATING : UNIT_ACTIVATING);
}

/* Its file is no good. since_usec: when systemd was asked. */
static void fail_bad(AgentdContext *context, Manager *manager, size_t i, const UnitStatus *status,
        const char *unit, const char *load_error, uint64_t since_usec) {
        const uid_t *user = manager->user ? &manager->uid : NULL;
        char begin[700], *text;
        uint64_t read_usec;

        (void) snprintf(begin, sizeof(begin), "systemd cannot load '%s': %s", unit,
                *load_error ? load_error : status->load);
        service_explain_in_time(context, i);
        text = service_explain_refusal(status->id, user, begin, since_usec, false);
        /* It may have looked at it before, and say nothing now; or what it says is on its way. */
        if (text && strcmp(text, begin) == 0 && units_get_reload_time(&manager->units, &read_usec) >= 0) {
                free(text);
                text = service_explain_refusal(status->id, user, begin, read_usec, false);
        }
        if (text && strcmp(text, begin) == 0) {
                free(text);
                text = service_explain_refusal(status->id, user, begin, since_usec, true);
        }
        agentd_failed(context, i, "%s", text ? text : begin);
        free(text);
}

/* It was active when it was applied, a moment ago. */
static void fail_gone(AgentdContext *context, Manager *manager, size_t i, const UnitStatus *status) {
        const char *begin = "it started, but did not stay active";
        uint64_t since_usec = clock_usec(CLOCK_REALTIME) - GONE_USEC;
        UnitDetails details;
        char *text;

        if (units_get_details(&manager->units, status->id, &details) >= 0 &&
                details.started_usec > since_usec)
                since_usec = details.started_usec;
        service_explain_in_time(context, i);
        text = service_explain(
                &manager->units, status->id, manager->user ? &manager->uid : NULL, begin, since_usec, 0);
        agentd_failed(context, i, "%s", text ? text : begin);
        free(text);
}

static bool is_to_be_made(Manager *manager, const char *unit) {
        uint64_t read_usec;
        UnitFiles *files;

        return !manager->user && manager_files(manager, &files) >= 0 &&
               units_get_reload_time(&manager->units, &read_usec) >= 0 &&
               look_is_to_be_made(files, unit, read_usec);
}

/* since_usec: when systemd was asked. Return: 1: go on; 0: the state is finished. */
static int compare_activity(AgentdContext *context, Manager *manager, size_t i, const AgentdState *state,
        const UnitStatus *status, uint64_t since_usec, unsigned flags) {
        const Service *service = service_of(state);
        const char *is = unit_active_to_string(status->active);
        UnitDetails details;

        if (service->running == OPEN || is_under_way(service, status))
                return 1;
        if (service->running == NO) {
                if (status->active != UNIT_INACTIVE && status->active != UNIT_FAILED)
                        agentd_differs_string(context, i, "running", is, "inactive");
                return 1;
        }
        if (status->active == UNIT_ACTIVE || status->active == UNIT_RELOADING)
                return 1;

        if (strcmp(status->load, "not-found") == 0 &&
                (service->n_files > 0 || is_to_be_made(manager, service->unit))) {
                /* It is about to be made. */
                agentd_differs_string(context, i, "running", is, "active");
                return 1;
        }
        if (strcmp(status->load, "not-found") == 0 && !(state->flags & AGENTD_STATE_PENDING)) {
                agentd_failed(context, i, "there is no unit '%s'", service->unit);
                return 0;
        }
        if (strcmp(status->load, "masked") == 0 && service->masked != NO) {
                agentd_failed(context, i,
                        "'%s' is masked, and so cannot be started; with masked = false it will be unmasked",
                        service->unit);
                return 0;
        }
        if (strcmp(status->load, "bad-setting") == 0 || strcmp(status->load, "error") == 0) {
                /* Its file may be right by now, and only not read. */
                if (service->n_files == 0 && (units_get_details(&manager->units, status->id, &details) < 0 ||
                                                     !details.needs_reload)) {
                        fail_bad(context, manager, i, status, service->unit, details.load_error, since_usec);
                        return 0;
                }
        }
        if (flags & AGENTD_RECHECK) {
                fail_gone(context, manager, i, status);
                return 0;
        }
        agentd_differs_string(context, i, "running", is, "active");
        return 1;
}

bool service_is_outdated(AgentdContext *context, Units *units, const Service *service) {
        uint64_t changed = files_changed_usec(context, service), now = clock_usec(CLOCK_REALTIME);
        UnitDetails details;

        if (service->n_files == 0 || service->absent || service->on_change == ON_CHANGE_NOTHING)
                return false;
        /* It was started after the boot, and so after them. */
        if (changed <= now - clock_usec(CLOCK_BOOTTIME))
                return false;
        /* The clock has been set back since: no restart would make it later than that. */
        if (changed > now)
                return false;
        if (units_get_details(units, service->unit, &details) < 0)
                return false;
        return changed >
               (service->on_change == ON_CHANGE_RELOAD ? details.state_usec : details.started_usec);
}

/* Whether what it runs with are its files. Return: as above. */
static int compare_own_files(
        AgentdContext *context, Units *units, size_t i, const AgentdState *state, const UnitStatus *status) {
        const Service *service = service_of(state);
        bool up = status && (status->active == UNIT_ACTIVE || status->active == UNIT_RELOADING);

        if (service->n_files == 0)
                return 1;
        if (files_compare(context, i, service) < 0)
                return 0;
        if (up && service->running != NO && service->on_change != ON_CHANGE_NOTHING &&
                !(state->flags & (AGENTD_STATE_RESTART | AGENTD_STATE_RELOAD)) &&
                (files_differ(context, service) || service_is_outdated(context, units, service)))
                agentd_differs_string(context, i,
                        service->on_change == ON_CHANGE_RELOAD ? "reload" : "restart", NULL, "due");
        return 1;
}

/* A manager of units that is not there keeps what is to be running from it. Return: as above. */
static int compare_manager(AgentdContext *context, Manager *manager, size_t i, const AgentdState *state) {
        const Service *service = service_of(state);

        if (!service->user)
                return 1;
        if (service->linger != OPEN && manager_lingers(manager) != (service->linger == YES))
                agentd_differs_boolean(context, i, "linger", !service->linger, service->linger);
        if (manager_is_there(manager))
                return 1;
        if (service->running == YES && (service->linger == YES || state->flags & AGENTD_STATE_PENDING)) {
                agentd_differs_string(context, i, "running", "inactive", "active");
                return 1;
        }
        if (service->running == YES) {
                agentd_failed(context, i,
                        "'%s' is not logged in, and so nothing runs; with linger = true it does all the "
                        "same",
                        service->user);
                return 0;
        }
        return 1;
}

/* Those of one manager: every state is either of it, or passed over. */
static int check_some(
        AgentdContext *context, const AgentdState *states, size_t n, const char *user, unsigned flags) {
        const char **names = calloc(n, sizeof(*names));
        UnitStatus *status = calloc(n, sizeof(*status));
        size_t n_names = 0, next = 0;
        Manager *manager = NULL;
        UnitFiles *files = NULL;
        uint64_t since_usec = clock_usec(CLOCK_REALTIME);
        int r = 0, files_r = 0;
        sd_bus *bus;

        if (!names || !status) {
                free(names);
                free(status);
                return -ENOMEM;
        }
        for (size_t i = 0; i < n; i++)
                if (service_is_of(&states[i], user) && wants_activity(service_of(&states[i])))
                        names[n_names++] = service_of(&states[i])->unit;
        if (user && agentd_bus(context, &bus) == -EHOSTDOWN) {
                for (size_t i = 0; i < n; i++)
                        if (service_is_of(&states[i], user))
                                agentd_failed(context, i,
                                        "'user' is for the host itself: below --root nobody is logged in");
                free(names);
                free(status);
                return 0;
        }
        r = manager_get(context, user, &manager);
        if (r >= 0 && manager_is_there(manager))
                r = units_list(&manager->units, names, n_names, status);
        else
                n_names = 0;
        /* With --root there is no systemd that these units are of. */
        if (r == -EHOSTDOWN)
                n_names = 0;

        for (size_t i = 0; i < n; i++) {
                const Service *service = service_of(&states[i]);
                const UnitStatus *own;

                if (!service_is_of(&states[i], user))
                        continue;
                if (!manager) {
                        if (states[i].flags & AGENTD_STATE_PENDING)
                                agentd_unknown(context, i, "there is no user '%s' yet", user);
                        else
                                agentd_failed(context, i,
                                        r == -ESRCH ? "there is no user '%s'"
                                                    : "Failed to look up user '%s'",
                                        user);
                        continue;
                }
                if (wants_activity(service) && r < 0 && r != -EHOSTDOWN) {
                        agentd_failed(context, i, "systemd cannot be asked about '%s': %s", service->unit,
                                *manager->units.error ? manager->units.error : strerror(-r));
                        continue;
                }
                if (wants_files(service) && !files && files_r >= 0)
                        files_r = manager_files(manager, &files);
                if (wants_files(service) && files_r < 0) {
                        agentd_failed(context, i, "Failed to read the directories of units: %s",
                                strerror(-files_r));
                        continue;
                }
                own = wants_activity(service) && n_names > 0 ? &status[next++] : NULL;
                if (compare_manager(context, manager, i, &states[i]) == 0 ||
                        compare_own_files(context, &manager->units, i, &states[i], own) == 0 ||
                        (own && compare_activity(context, manager, i, &states[i], own, since_usec, flags) ==
                                        0) ||
                        (wants_files(service) && compare_files(context, i, &states[i], files) == 0))
                        continue;
                agentd_done(context, i);
        }
        if (manager)
                manager_let_go(manager);
        free(names);
        free(status);
        return 0;
}

bool service_is_of(const AgentdState *state, const char *user) {
        const char *is = service_of(state)->user;

        return is && user ? strcmp(is, user) == 0 : is == user;
}

int service_each_user(AgentdContext *context, const AgentdState *states, size_t n, unsigned flags,
        int (*function)(AgentdContext *context, const AgentdState *states, size_t n, const char *user,
                unsigned flags)) {
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i++) {
                const char *user = service_of(&states[i])->user;
                bool seen = false;

                for (size_t k = 0; k < i && !seen; k++)
                        seen = service_is_of(&states[k], user);
                if (!seen)
                        r = function(context, states, n, user, flags);
                /* Mostly all are the host's. */
                if (i == 0 && !user && r >= 0)
                        while (i + 1 < n && !service_of(&states[i + 1])->user)
                                i++;
        }
        return r;
}

int service_check(AgentdContext *context, const AgentdState *states, size_t n, unsigned flags) {
        /* In a run apply says so, and more. */
        if (flags & AGENTD_PLAN)
                calendars_verify(context, states, n);
        return service_each_user(context, states, n, flags, check_some);
}
