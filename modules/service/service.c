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

#include "service.h"
#include "unit-name.h"

/* Starting takes as long as the unit likes, 90 s if it does not say. */
#define TIMEOUT_USEC (120 * UINT64_C(1000000))

enum {
        P_RUNNING,
        P_ENABLED,
        P_MASKED,
        P_PRESET,
        P_HEALTHY_AFTER,
        P_WAIT,
};

static const AgentdParameter parameters[] = {
        [P_RUNNING] = { .name = "running",
                .type = AGENTD_BOOLEAN,
                .documentation = "whether it is active; without it, that is left alone" },
        [P_ENABLED] = { .name = "enabled",
                .type = AGENTD_BOOLEAN,
                .documentation = "whether it is started at boot, as its `[Install]` says; without it, that is left alone",
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
                .documentation = "it has to stay active for so long after it was started; without it, being active once is enough" },
        [P_WAIT] = { .name = "wait",
                .type = AGENTD_BOOLEAN,
                .default_value = "true",
                .documentation = "false: do not wait until it is started or stopped; it is enough that systemd will do so" },
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

static int service_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *values, const void **ret_data,
        unsigned flags) {
        Service *service = agentd_alloc(prepare, sizeof(*service));
        char unit[UNIT_NAME_SIZE], claim[UNIT_NAME_SIZE + sizeof("unit:")];

        (void) flags;
        if (unit_name_complete(name, unit) < 0) {
                agentd_prepare_error(prepare, -1, "'%s' is no name of a unit", name);
                return -EINVAL;
        }
        *service = (Service){
                .unit = agentd_strdup(prepare, unit),
                .is_template = unit_name_kind(unit) == UNIT_NAME_TEMPLATE,
                .running = wish_of(&values[P_RUNNING]),
                .enabled = wish_of(&values[P_ENABLED]),
                .masked = wish_of(&values[P_MASKED]),
                .preset = values[P_PRESET].boolean ? YES : OPEN,
                .wait = values[P_WAIT].boolean,
                .healthy_usec = values[P_HEALTHY_AFTER].type == AGENTD_NONE ? 0
                                                                            : (uint64_t) values[P_HEALTHY_AFTER].integer,
        };
        if (service->is_template && service->running != OPEN) {
                agentd_prepare_error(prepare, P_RUNNING,
                        "'%s' is a template, which cannot run; name an instance like '%.*sNAME%s'", unit,
                        (int) (strchr(unit, '@') - unit + 1), unit, strrchr(unit, '.'));
                return -EINVAL;
        }
        if (service->masked == YES && service->running == YES) {
                agentd_prepare_error(prepare, P_MASKED, "what is masked cannot be running");
                return -EINVAL;
        }
        if (service->masked == YES && (service->enabled == YES || service->preset == YES)) {
                agentd_prepare_error(prepare, P_MASKED, "what is masked cannot be enabled");
                return -EINVAL;
        }
        if (service->healthy_usec > 0 && service->running != YES) {
                agentd_prepare_error(prepare, P_HEALTHY_AFTER, "'healthy_after' is for what is to be running");
                return -EINVAL;
        }
        if (service->healthy_usec > 0 && !service->wait) {
                agentd_prepare_error(prepare, P_WAIT, "'healthy_after' has to wait");
                return -EINVAL;
        }
        (void) snprintf(claim, sizeof(claim), "unit:%s", unit);
        agentd_prepare_claim(prepare, claim);
        come_after(prepare, unit);
        agentd_prepare_timeout(prepare, TIMEOUT_USEC + service->healthy_usec);
        *ret_data = service;
        return 0;
}

static int service_watch(AgentdWatch *watch, const AgentdState *state, unsigned flags) {
        const Service *service = service_of(state);

        (void) flags;
        /* A change of its files, and of what is enabled, comes by the same way. */
        if (!service->is_template)
                agentd_watch_unit(watch, service->unit);
        return 0;
}

static const AgentdStateType service_type = {
        .name = "service",
        .documentation = "Keeps a unit of systemd running, stopped, enabled, disabled, or masked",
        .parameters = parameters,
        .flags = AGENTD_RELOADS | AGENTD_RESTARTS | AGENTD_COPIES_VALUES,
        .timeout_usec = TIMEOUT_USEC,
        .prepare = service_prepare,
        .watch = service_watch,
        .check = service_check,
        .apply = service_apply,
};

AGENTD_MODULE("service", "1", &service_type);
