/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * service: a unit of systemd is running or not, enabled or not, masked or not. Any unit: the name without a suffix is that of a
 * service.
 *
 *      [service.nginx]
 *      running = true
 *      enabled = true
 *      reload_on = ["file:/etc/nginx/nginx.conf"]
 *
 *      [service."backup.timer"]
 *      running = true
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "render.h"
#include "service.h"
#include "unit-name.h"

/* Starting takes as long as the unit likes, 90 s if it does not say. */
#define TIMEOUT_USEC (120 * UINT64_C(1000000))

enum {
        P_ENSURE,
        P_RUNNING,
        P_ENABLED,
        P_PRESET,
        P_MASKED,
        P_HEALTHY_AFTER,
        P_WAIT,
        P_UNIT,
        P_TEMPLATE,
        P_SOURCE,
        P_DROPIN,
        P_DROPIN_NAME,
        P_ON_CHANGE,
        P_USER,
        P_LINGER,
};

const char *const service_on_change_words[] = { "restart", "reload", "nothing", NULL };
const char *const service_ensure_words[] = { "present", "absent", NULL };

static const AgentdParameter parameters[] = {
        [P_ENSURE] = { .name = "ensure",
                .type = AGENTD_STRING,
                .default_value = "present",
                .documentation = "absent: it does not run, is not enabled, and its files in `/etc` are gone",
                .choices = service_ensure_words },
        [P_RUNNING] = { .name = "running",
                .type = AGENTD_BOOLEAN,
                .documentation = "whether it is active; without it, that is left alone" },
        [P_ENABLED] = { .name = "enabled",
                .type = AGENTD_BOOLEAN,
                .documentation = "whether it is started at boot, as its `[Install]` says; without it, that "
                                 "is left alone",
                .exclusive = "enablement" },
        [P_PRESET] = { .name = "preset",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "true: enabled or not as the presets of the host say",
                .exclusive = "enablement" },
        [P_MASKED] = { .name = "masked",
                .type = AGENTD_BOOLEAN,
                .documentation = "whether nothing can start it; without it, that is left alone" },
        [P_HEALTHY_AFTER] = { .name = "healthy_after",
                .type = AGENTD_TIMESPAN,
                .documentation = "it has to stay active for so long after it was started; without it, being "
                                 "active once is enough" },
        [P_WAIT] = { .name = "wait",
                .type = AGENTD_BOOLEAN,
                .default_value = "true",
                .documentation = "false: do not wait until it is started or stopped; it is enough that "
                                 "systemd will do so" },
        [P_UNIT] = { .name = "unit",
                .type = AGENTD_TABLE,
                .documentation = "its unit file: a table of sections, `{ Service = { ExecStart = \"…\" } "
                                 "}`; an array makes a "
                                 "line for each of its values",
                .exclusive = "the unit file" },
        [P_TEMPLATE] = { .name = "template",
                .type = AGENTD_STRING,
                .flags = AGENTD_TEMPLATE,
                .documentation = "a template beside the role, for its unit file",
                .exclusive = "the unit file" },
        [P_SOURCE] = { .name = "source",
                .type = AGENTD_STRING,
                .flags = AGENTD_SOURCE,
                .documentation = "a file beside the role that is its unit file",
                .exclusive = "the unit file" },
        [P_DROPIN] = { .name = "dropin",
                .type = AGENTD_TABLE,
                .documentation =
                        "a drop-in, which changes settings of a unit file of others: likewise a table" },
        [P_DROPIN_NAME] = { .name = "dropin_name",
                .type = AGENTD_STRING,
                .flags = AGENTD_IDENTIFIES,
                .default_value = "agentd.conf",
                .documentation = "the name of that file" },
        [P_ON_CHANGE] = { .name = "on_change",
                .type = AGENTD_STRING,
                .documentation =
                        "what becomes of it, if it runs, when these files have changed; without it, "
                        "restart, but nothing of a slice, scope, target or device",
                .choices = service_on_change_words },
        [P_USER] = { .name = "user",
                .type = AGENTD_STRING,
                .flags = AGENTD_USER,
                .documentation = "it is a unit of the systemd of this user; without it, of the host's" },
        [P_LINGER] = { .name = "linger",
                .type = AGENTD_BOOLEAN,
                .documentation = "whether the systemd of that user runs while the user is not logged in; "
                                 "without it, that is left alone" },
        {},
};

static int8_t wish_of(const AgentdValue *value) {
        return value->type == AGENTD_NONE ? OPEN : value->boolean ? YES : NO;
}

static void come_after(AgentdPrepare *prepare, const char *unit) {
        static const char *const directories[] = { "/etc/systemd/system", "/run/systemd/system",
                "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system" };
        char prefix[UNIT_NAME_SIZE], template[UNIT_NAME_SIZE];
        bool has_template = unit_name_template(unit, template) >= 0 && strcmp(template, unit) != 0;
        char state[UNIT_NAME_SIZE + sizeof("service:")];

        /* That which makes the file that an instance is made of; a service may be named without its suffix. */
        if (has_template) {
                (void) snprintf(state, sizeof(state), "service:%s", template);
                agentd_prepare_after(prepare, state);
                if (strcmp(strrchr(template, '.'), ".service") == 0) {
                        *strrchr(state, '.') = '\0';
                        agentd_prepare_after(prepare, state);
                }
        }

        if (unit_name_prefix(unit, prefix) >= 0) {
                char id[UNIT_NAME_SIZE + sizeof("package:")];

                (void) snprintf(id, sizeof(id), "package:%s", prefix);
                agentd_prepare_after(prepare, id);
        }
        for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
                char path[UNIT_NAME_SIZE + 64];

                (void) snprintf(path, sizeof(path), "file:%s/%s", directories[i], unit);
                agentd_prepare_after(prepare, path);
                (void) snprintf(path, sizeof(path), "%s/%s.d", directories[i], unit);
                agentd_prepare_after_below(prepare, path);
                if (!has_template)
                        continue;
                (void) snprintf(path, sizeof(path), "file:%s/%s", directories[i], template);
                agentd_prepare_after(prepare, path);
                (void) snprintf(path, sizeof(path), "%s/%s.d", directories[i], template);
                agentd_prepare_after_below(prepare, path);
        }
}

static void claim_unit(AgentdPrepare *prepare, const char *unit) {
        char claim[2 * UNIT_NAME_SIZE + sizeof("unit:")];

        (void) snprintf(claim, sizeof(claim), "unit:%s", unit);
        agentd_prepare_claim(prepare, claim);
}

int service_init(
        AgentdPrepare *prepare, Service *service, const char *name, const char *suffix, const char *user) {
        char full[2 * UNIT_NAME_SIZE], unit[UNIT_NAME_SIZE];

        (void) snprintf(full, sizeof(full), "%.*s%s", UNIT_NAME_SIZE, name, suffix);
        if (unit_name_complete(full, unit) < 0) {
                agentd_prepare_error(prepare, -1, "'%.*s' is no name of a unit", UNIT_NAME_SIZE, full);
                return -EINVAL;
        }
        *service = (Service){
                .unit = agentd_strdup(prepare, unit),
                .is_template = unit_name_kind(unit) == UNIT_NAME_TEMPLATE,
                .running = OPEN,
                .enabled = OPEN,
                .masked = OPEN,
                .preset = OPEN,
                .linger = OPEN,
                .wait = true,
        };
        if (user) {
                service->user = agentd_strdup(prepare, user);
                (void) snprintf(full, sizeof(full), "%.*s of %.200s", UNIT_NAME_SIZE, unit, user);
                claim_unit(prepare, full);
                (void) snprintf(full, sizeof(full), "file:/etc/systemd/user/%s", unit);
                agentd_prepare_after(prepare, full);
                agentd_prepare_check_as_root(prepare);
                return 0;
        }
        claim_unit(prepare, unit);
        come_after(prepare, unit);
        return 0;
}

void service_own(AgentdPrepare *prepare, Service *service, const ServiceFile *file) {
        service->files[service->n_files++] = (ServiceFile){
                .path = agentd_strdup(prepare, file->path),
                .text = file->text ? agentd_strdup(prepare, file->text) : NULL,
                .source = file->source ? agentd_strdup(prepare, file->source) : NULL,
                .what = agentd_strdup(prepare, file->what),
        };
        agentd_prepare_claim(prepare, file->path);
}

/* What others run in, or hang on, would take them down. */
static bool is_shared(const char *unit) {
        static const char *const suffixes[] = { ".slice", ".scope", ".target", ".device" };
        const char *suffix = strrchr(unit, '.');

        for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
                if (strcmp(suffix, suffixes[i]) == 0)
                        return true;
        return false;
}

OnChange service_on_change(const Service *service, const AgentdValue *value) {
        if (value->type == AGENTD_NONE)
                return is_shared(service->unit) ? ON_CHANGE_NOTHING : ON_CHANGE_RESTART;
        for (OnChange i = 0; service_on_change_words[i]; i++)
                if (strcmp(service_on_change_words[i], value->string) == 0)
                        return i;
        return ON_CHANGE_NOTHING;
}

int service_check_wishes(
        AgentdPrepare *prepare, const Service *service, int p_running, int p_healthy_after, int p_wait) {
        if (service->is_template && service->running == YES) {
                agentd_prepare_error(prepare, p_running,
                        "'%s' is a template, which cannot run; name an instance like '%.*sNAME%s'",
                        service->unit, (int) (strchr(service->unit, '@') - service->unit + 1), service->unit,
                        strrchr(service->unit, '.'));
                return -EINVAL;
        }
        if (service->healthy_usec > 0 && service->running != YES) {
                agentd_prepare_error(
                        prepare, p_healthy_after, "'healthy_after' is for what is to be running");
                return -EINVAL;
        }
        if (service->healthy_usec > 0 && !service->wait) {
                agentd_prepare_error(prepare, p_wait, "'healthy_after' has to wait");
                return -EINVAL;
        }
        return 0;
}

/* Whether a value was given at all is for the loader to say; tables are NONE without. */
static bool is_given(const AgentdValue *value) {
        return value->type != AGENTD_NONE;
}

static int own_files(AgentdPrepare *prepare, Service *service, const char *id, const AgentdValue *values) {
        char path[2 * UNIT_NAME_SIZE + 64];
        const char *name = values[P_DROPIN_NAME].string, *text;
        size_t length = strlen(name);

        if (is_given(&values[P_UNIT]) || is_given(&values[P_TEMPLATE]) || is_given(&values[P_SOURCE]) ||
                service->absent) {
                ServiceFile file = { .path = path, .what = "unit" };

                (void) snprintf(path, sizeof(path), "/etc/systemd/system/%s", service->unit);
                if (is_given(&values[P_UNIT])) {
                        file.text = render_unit(prepare, P_UNIT, id, &values[P_UNIT]);
                        if (!file.text)
                                return -EINVAL;
                } else if (is_given(&values[P_TEMPLATE]))
                        file.text = values[P_TEMPLATE].string;
                else if (is_given(&values[P_SOURCE]))
                        file.source = values[P_SOURCE].string;
                service_own(prepare, service, &file);
        }
        if (strchr(name, '/') || length < sizeof(".conf") ||
                strcmp(name + length - strlen(".conf"), ".conf") != 0 || *name == '.') {
                agentd_prepare_error(prepare, P_DROPIN_NAME,
                        "'%s' is no name of a drop-in, which is one like \"limits.conf\"", name);
                return -EINVAL;
        }
        if (is_given(&values[P_DROPIN]) || service->absent) {
                text = is_given(&values[P_DROPIN]) ? render_unit(prepare, P_DROPIN, id, &values[P_DROPIN])
                                                   : NULL;
                if (!text && !service->absent)
                        return -EINVAL;
                (void) snprintf(path, sizeof(path), "/etc/systemd/system/%s.d/%.*s", service->unit,
                        UNIT_NAME_SIZE, name);
                service_own(
                        prepare, service, &(ServiceFile){ .path = path, .what = "dropin", .text = text });
        }
        return 0;
}

static int service_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *values,
        const void **ret_data, unsigned flags) {
        Service *service = agentd_alloc(prepare, sizeof(*service));
        char id[UNIT_NAME_SIZE + sizeof("service:")];
        int r;

        r = service_init(
                prepare, service, name, "", is_given(&values[P_USER]) ? values[P_USER].string : NULL);
        if (r < 0)
                return r;
        service->absent = strcmp(values[P_ENSURE].string, "absent") == 0;
        service->running = wish_of(&values[P_RUNNING]);
        service->enabled = wish_of(&values[P_ENABLED]);
        service->masked = wish_of(&values[P_MASKED]);
        service->preset = values[P_PRESET].boolean ? YES : OPEN;
        service->wait = values[P_WAIT].boolean;
        service->healthy_usec =
                is_given(&values[P_HEALTHY_AFTER]) ? (uint64_t) values[P_HEALTHY_AFTER].integer : 0;
        service->on_change = service_on_change(service, &values[P_ON_CHANGE]);
        service->verify = true;
        service->linger = wish_of(&values[P_LINGER]);
        if (service->linger != OPEN && !service->user) {
                agentd_prepare_error(prepare, P_LINGER, "'linger' is for units of a user");
                return -EINVAL;
        }
        if (service->user) {
                static const int files[] = { P_UNIT, P_TEMPLATE, P_SOURCE, P_DROPIN, P_PRESET };

                for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
                        if (is_given(&values[files[i]]) &&
                                !(files[i] == P_PRESET && !values[P_PRESET].boolean)) {
                                agentd_prepare_error(prepare, files[i],
                                        "'%s' is for units of the host; those of a user are files of theirs",
                                        parameters[files[i]].name);
                                return -EINVAL;
                        }
                if (service->absent) {
                        agentd_prepare_error(prepare, P_ENSURE, "'ensure' is for units of the host");
                        return -EINVAL;
                }
        }
        if (service->absent) {
                static const int others[] = { P_RUNNING, P_ENABLED, P_MASKED, P_UNIT, P_TEMPLATE, P_SOURCE,
                        P_DROPIN };

                for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
                        if (is_given(&values[others[i]]) &&
                                !(values[others[i]].type == AGENTD_BOOLEAN && !values[others[i]].boolean)) {
                                agentd_prepare_error(prepare, others[i],
                                        "'%s' makes no sense for what is to be absent",
                                        parameters[others[i]].name);
                                return -EINVAL;
                        }
                service->running = service->enabled = NO;
        }
        if (service->masked == YES &&
                (service->running == YES || service->enabled == YES || service->preset == YES)) {
                agentd_prepare_error(prepare, P_MASKED, "what is masked cannot be %s",
                        service->running == YES ? "running" : "enabled");
                return -EINVAL;
        }
        r = service_check_wishes(prepare, service, P_RUNNING, P_HEALTHY_AFTER, P_WAIT);
        if (r < 0)
                return r;
        if ((flags & AGENTD_ON_REMOVAL) && !is_given(&values[P_UNIT]) && !is_given(&values[P_TEMPLATE]) &&
                !is_given(&values[P_SOURCE])) {
                /* Of the user, or the package, whose it is; and a unit file that nobody said is not removed. */
                agentd_prepare_error(prepare, -1,
                        "on_removal = \"absent\" is for a unit whose file is part of the state: give "
                        "'unit', "
                        "'template' or 'source'");
                return -EINVAL;
        }
        (void) snprintf(id, sizeof(id), "service:%s", name);
        r = own_files(prepare, service, id, values);
        if (r < 0)
                return r;
        if (service->masked == YES && service->n_files > 0 && strcmp(service->files[0].what, "unit") == 0) {
                agentd_prepare_error(
                        prepare, P_MASKED, "a mask lies where its unit file would be; say one of them");
                return -EINVAL;
        }
        agentd_prepare_timeout(prepare, TIMEOUT_USEC + service->healthy_usec);
        *ret_data = service;
        return 0;
}

int service_watch(AgentdWatch *watch, const AgentdState *state, unsigned flags) {
        const Service *service = service_of(state);

        (void) flags;
        /* Nobody tells the host of what a user's units do. */
        if (service->user)
                return 0;
        for (unsigned k = 0; k < service->n_files; k++)
                agentd_watch_path(watch, service->files[k].path);
        /* What is enabled comes by the same way as what is active. */
        if (!service->is_template)
                agentd_watch_unit(watch, service->unit);
        return 0;
}

static const AgentdStateType service_type = {
        .name = "service",
        .documentation =
                "Keeps a unit of systemd running, stopped, enabled, disabled, or masked; and its files",
        .parameters = parameters,
        .flags = AGENTD_RELOADS | AGENTD_RESTARTS | AGENTD_COPIES_VALUES,
        .timeout_usec = TIMEOUT_USEC,
        .prepare = service_prepare,
        .watch = service_watch,
        .check = service_check,
        .apply = service_apply,
};

AGENTD_MODULE("service", "1", &service_type, &timer_type, &quadlet_type);
