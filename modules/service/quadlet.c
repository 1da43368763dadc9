/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * quadlet: a container, volume, network, … of podman, as a file from which podman's generator makes a unit.
 *
 *      [quadlet."web.container"]
 *      unit = { Container = { Image = "docker.io/library/nginx", PublishPort = "80:80" }, Install = { WantedBy = "default.target" } }
 *      running = true
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "render.h"
#include "service.h"
#include "unit-name.h"

enum {
        P_ENSURE,
        P_UNIT,
        P_TEMPLATE,
        P_SOURCE,
        P_RUNNING,
        P_HEALTHY_AFTER,
        P_WAIT,
        P_ON_CHANGE,
};

static const AgentdParameter parameters[] = {
        [P_ENSURE] = { .name = "ensure",
                .type = AGENTD_STRING,
                .default_value = "present",
                .documentation = "absent: its unit does not run, and the file is gone",
                .choices = service_ensure_words },
        [P_UNIT] = { .name = "unit",
                .type = AGENTD_TABLE,
                .documentation = "the file: a table of sections, as podman-systemd.unit(5) has them; an "
                                 "array makes a line for each "
                                 "of its values",
                .exclusive = "the file" },
        [P_TEMPLATE] = { .name = "template",
                .type = AGENTD_STRING,
                .flags = AGENTD_TEMPLATE,
                .documentation = "a template beside the role, for the file",
                .exclusive = "the file" },
        [P_SOURCE] = { .name = "source",
                .type = AGENTD_STRING,
                .flags = AGENTD_SOURCE,
                .documentation = "a file beside the role that is this file",
                .exclusive = "the file" },
        [P_RUNNING] = { .name = "running",
                .type = AGENTD_BOOLEAN,
                .documentation =
                        "whether the unit that is made of it is active; without it, that is left alone" },
        [P_HEALTHY_AFTER] = { .name = "healthy_after",
                .type = AGENTD_TIMESPAN,
                .documentation = "it has to stay active for so long after it was started" },
        [P_WAIT] = { .name = "wait",
                .type = AGENTD_BOOLEAN,
                .default_value = "true",
                .documentation = "false: do not wait until it is started or stopped" },
        [P_ON_CHANGE] = { .name = "on_change",
                .type = AGENTD_STRING,
                .default_value = "restart",
                .documentation = "what becomes of it, if it runs, when the file has changed: restart, "
                                 "reload, or nothing",
                .choices = service_on_change_words },
        {},
};

/* podman-systemd.unit(5): the unit that is made of web.volume is web-volume.service. */
static const struct {
        const char *suffix, *added;
} kinds[] = {
        { ".container", "" },
        { ".kube", "" },
        { ".volume", "-volume" },
        { ".network", "-network" },
        { ".pod", "-pod" },
        { ".image", "-image" },
        { ".build", "-build" },
};

/* "web.volume" → "web-volume", "web@.container" → "web@". Return: 0; -EINVAL. */
static int unit_of(const char *name, char *ret, size_t size) {
        const char *dot = strrchr(name, '.');

        for (size_t i = 0; dot && dot > name && i < sizeof(kinds) / sizeof(kinds[0]); i++)
                if (strcmp(dot, kinds[i].suffix) == 0) {
                        const char *at = memchr(name, '@', (size_t) (dot - name));
                        size_t prefix = (size_t) ((at ? at : dot) - name);

                        (void) snprintf(ret, size, "%.*s%s%.*s", (int) prefix, name, kinds[i].added,
                                (int) ((size_t) (dot - name) - prefix), name + prefix);
                        return 0;
                }
        return -EINVAL;
}

static bool is_given(const AgentdValue *value) {
        return value->type != AGENTD_NONE;
}

static int quadlet_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *values,
        const void **ret_data, unsigned flags) {
        Service *quadlet = agentd_alloc(prepare, sizeof(*quadlet));
        char unit[2 * UNIT_NAME_SIZE], path[UNIT_NAME_SIZE + 64], id[UNIT_NAME_SIZE + 16];
        ServiceFile file = { .path = path, .what = "quadlet" };
        int r;

        (void) flags;
        if (strlen(name) >= UNIT_NAME_SIZE || strchr(name, '/') || unit_of(name, unit, sizeof(unit)) < 0) {
                agentd_prepare_error(prepare, -1,
                        "'%.200s' is no name of a quadlet, which ends in .container, .volume, .network, "
                        ".pod, .kube, .image or "
                        ".build",
                        name);
                return -EINVAL;
        }
        r = service_init(prepare, quadlet, unit, ".service", NULL);
        if (r < 0)
                return r;
        quadlet->absent = strcmp(values[P_ENSURE].string, "absent") == 0;
        if (quadlet->absent && values[P_RUNNING].type == AGENTD_BOOLEAN && values[P_RUNNING].boolean) {
                agentd_prepare_error(
                        prepare, P_RUNNING, "'running' makes no sense for what is to be absent");
                return -EINVAL;
        }
        quadlet->running = quadlet->absent                 ? NO
                           : !is_given(&values[P_RUNNING]) ? OPEN
                           : values[P_RUNNING].boolean     ? YES
                                                           : NO;
        quadlet->healthy_usec =
                is_given(&values[P_HEALTHY_AFTER]) ? (uint64_t) values[P_HEALTHY_AFTER].integer : 0;
        quadlet->wait = values[P_WAIT].boolean;
        quadlet->on_change = service_on_change(quadlet, &values[P_ON_CHANGE]);
        r = service_check_wishes(prepare, quadlet, P_RUNNING, P_HEALTHY_AFTER, P_WAIT);
        if (r < 0)
                return r;

        (void) snprintf(path, sizeof(path), "/etc/containers/systemd/%s", name);
        (void) snprintf(id, sizeof(id), "quadlet:%s", name);
        if (is_given(&values[P_UNIT])) {
                file.text = render_unit(prepare, P_UNIT, id, &values[P_UNIT]);
                if (!file.text)
                        return -EINVAL;
        } else if (is_given(&values[P_TEMPLATE]))
                file.text = values[P_TEMPLATE].string;
        else if (is_given(&values[P_SOURCE]))
                file.source = values[P_SOURCE].string;
        else if (!quadlet->absent) {
                agentd_prepare_error(prepare, -1, "%s needs 'unit', 'template' or 'source'", id);
                return -EINVAL;
        }
        service_own(prepare, quadlet, &file);
        /* Images are pulled when it is started. */
        agentd_prepare_timeout(prepare, 600 * UINT64_C(1000000) + quadlet->healthy_usec);
        *ret_data = quadlet;
        return 0;
}

const AgentdStateType quadlet_type = {
        .name = "quadlet",
        .documentation = "Keeps a container, volume, network, pod or image of podman as a unit of systemd",
        .parameters = parameters,
        .flags = AGENTD_RELOADS | AGENTD_RESTARTS | AGENTD_COPIES_VALUES,
        .prepare = quadlet_prepare,
        .watch = service_watch,
        .check = service_check,
        .apply = service_apply,
};
