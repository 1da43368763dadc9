/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * timer: something is run at certain times: a timer and the service that it starts, as a pair of units.
 *
 *      [timer.backup]
 *      calendar = "*-*-* 03:00"
 *      exec = ["/usr/local/bin/backup", "--all"]
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "render.h"
#include "service.h"
#include "unit-name.h"

enum {
        P_ENSURE,
        P_DESCRIPTION,
        P_CALENDAR,
        P_EVERY,
        P_ON_BOOT,
        P_RANDOMIZED_DELAY,
        P_ACCURACY,
        P_PERSISTENT,
        P_WAKE_SYSTEM,
        P_EXEC,
        P_SHELL,
        P_USER,
        P_GROUP,
        P_DIRECTORY,
        P_ENVIRONMENT,
        P_SERVICE,
        P_ENABLED,
        P_RUNNING,
};

static const AgentdParameter parameters[] = {
        [P_ENSURE] = { .name = "ensure",
                .type = AGENTD_STRING,
                .default_value = "present",
                .documentation = "absent: both units are gone",
                .choices = service_ensure_words },
        [P_DESCRIPTION] = { .name = "description",
                .type = AGENTD_STRING,
                .documentation = "what it is for, in `systemctl list-timers`; without it, the name" },
        [P_CALENDAR] = { .name = "calendar",
                .type = AGENTD_ANY,
                .documentation = "when, as systemd.time(7) has it: `\"Mon..Fri 08:00\"`, `\"daily\"`; or an "
                                 "array of these" },
        [P_EVERY] = { .name = "every",
                .type = AGENTD_TIMESPAN,
                .documentation =
                        "again so long after it was last started, and first so long after the timer was" },
        [P_ON_BOOT] = { .name = "on_boot",
                .type = AGENTD_TIMESPAN,
                .documentation = "so long after the boot" },
        [P_RANDOMIZED_DELAY] = { .name = "randomized_delay",
                .type = AGENTD_TIMESPAN,
                .documentation = "later by a random time up to this" },
        [P_ACCURACY] = { .name = "accuracy",
                .type = AGENTD_TIMESPAN,
                .documentation =
                        "how late it may be, so that several can be done together; without it, a minute" },
        [P_PERSISTENT] = { .name = "persistent",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation =
                        "true: what was missed of `calendar` while the host was off is made up for" },
        [P_WAKE_SYSTEM] = { .name = "wake_system",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "true: a host that sleeps is woken for it" },
        [P_EXEC] = { .name = "exec",
                .type = AGENTD_LIST,
                .documentation = "the program, by its absolute path, and its arguments",
                .exclusive = "what is run" },
        [P_SHELL] = { .name = "shell",
                .type = AGENTD_STRING,
                .documentation = "what `/bin/sh` is to run, of any number of lines",
                .exclusive = "what is run" },
        [P_USER] = { .name = "user",
                .type = AGENTD_STRING,
                .flags = AGENTD_USER,
                .documentation = "that it runs as; without it, root" },
        [P_GROUP] = { .name = "group",
                .type = AGENTD_STRING,
                .flags = AGENTD_GROUP,
                .documentation = "likewise; without it, that of the user" },
        [P_DIRECTORY] = { .name = "directory",
                .type = AGENTD_STRING,
                .flags = AGENTD_PATH,
                .documentation = "that it runs in; without it, `/`" },
        [P_ENVIRONMENT] = { .name = "environment",
                .type = AGENTD_TABLE,
                .documentation = "its environment variables" },
        [P_SERVICE] = { .name = "service",
                .type = AGENTD_TABLE,
                .documentation =
                        "further settings of its `[Service]`: `{ MemoryMax = \"1G\", Nice = 10 }`" },
        [P_ENABLED] = { .name = "enabled",
                .type = AGENTD_BOOLEAN,
                .default_value = "true",
                .documentation = "whether the timer is started at boot" },
        [P_RUNNING] = { .name = "running",
                .type = AGENTD_BOOLEAN,
                .default_value = "true",
                .documentation = "whether the timer is active" },
        {},
};

static bool is_given(const AgentdValue *value) {
        return value->type != AGENTD_NONE;
}

/* ---- Text ------------------------------------------------------------------------------------------------------ */

/* As systemd reads it: systemd.service(5), "Command lines", and systemd.syntax(7). */
static void add_quoted(Rendering *r, const char *text, bool command) {
        rendering_add(r, "\"");
        for (const char *p = text; *p; p++)
                if (*p == '"' || *p == '\\')
                        rendering_add(r, "\\%c", *p);
                else if (*p == '\n')
                        rendering_add(r, "\\n");
                else if (*p == '%' || (command && *p == '$'))
                        rendering_add(r, "%c%c", *p, *p);
                else if ((unsigned char) *p < ' ' || *p == 127)
                        rendering_add(r, "\\x%02x", (unsigned) (unsigned char) *p);
                else
                        rendering_add(r, "%c", *p);
        rendering_add(r, "\"");
}

/* In one line, in which specifiers are not wanted. Return: 0; -EINVAL after agentd_prepare_error(). */
static int add_plain(Rendering *r, int parameter, const char *key, const char *text) {
        if (strpbrk(text, "\n\r")) {
                agentd_prepare_error(
                        r->prepare, parameter, "'%s' has a line end in it", parameters[parameter].name);
                return -EINVAL;
        }
        if (render_continues(text)) {
                agentd_prepare_error(r->prepare, parameter,
                        "'%s' ends in a backslash, which would swallow the next line",
                        parameters[parameter].name);
                return -EINVAL;
        }
        rendering_add(r, "%s=", key);
        for (const char *p = text; *p; p++)
                rendering_add(r, *p == '%' ? "%%%%" : "%c", *p);
        rendering_add(r, "\n");
        return 0;
}

static void add_span(Rendering *r, const char *key, const AgentdValue *value) {
        if (is_given(value))
                rendering_add(r, "%s=%lldus\n", key, (long long) value->integer);
}

static int add_calendar(Rendering *r, const AgentdValue *value) {
        const AgentdValue *items = value->type == AGENTD_LIST ? value->items : value;
        uint32_t n = value->type == AGENTD_LIST ? value->n : 1;

        for (uint32_t i = 0; i < n; i++) {
                if (items[i].type != AGENTD_STRING || items[i].size == 0) {
                        agentd_prepare_error(r->prepare, P_CALENDAR,
                                "'calendar' must be a string like \"Mon..Fri 08:00\", or an array of these");
                        return -EINVAL;
                }
                if (add_plain(r, P_CALENDAR, "OnCalendar", items[i].string) < 0)
                        return -EINVAL;
        }
        return 0;
}

static const char *timer_text(
        AgentdPrepare *prepare, const char *name, const char *service, const AgentdValue *values) {
        Rendering r = { .prepare = prepare };

        rendering_add(&r, "# Made by agentd for timer:%s; changes are undone.\n\n[Unit]\n", name);
        if (add_plain(&r, P_DESCRIPTION, "Description",
                    is_given(&values[P_DESCRIPTION]) ? values[P_DESCRIPTION].string : name) < 0)
                return NULL;
        rendering_add(&r, "\n[Timer]\nUnit=%s\n", service);
        if (is_given(&values[P_CALENDAR]) && add_calendar(&r, &values[P_CALENDAR]) < 0)
                return NULL;
        add_span(&r, "OnActiveSec", &values[P_EVERY]);
        add_span(&r, "OnUnitActiveSec", &values[P_EVERY]);
        add_span(&r, "OnBootSec", &values[P_ON_BOOT]);
        add_span(&r, "RandomizedDelaySec", &values[P_RANDOMIZED_DELAY]);
        add_span(&r, "AccuracySec", &values[P_ACCURACY]);
        if (values[P_PERSISTENT].boolean)
                rendering_add(&r, "Persistent=yes\n");
        if (values[P_WAKE_SYSTEM].boolean)
                rendering_add(&r, "WakeSystem=yes\n");
        rendering_add(&r, "\n[Install]\nWantedBy=timers.target\n");
        return rendering_end(&r);
}

static int add_command(Rendering *r, const AgentdValue *values) {
        const AgentdValue *exec = &values[P_EXEC];

        rendering_add(r, "ExecStart=");
        if (is_given(&values[P_SHELL])) {
                rendering_add(r, "/bin/sh -c ");
                add_quoted(r, values[P_SHELL].string, true);
                rendering_add(r, "\n");
                return 0;
        }
        if (exec->n == 0 || exec->items[0].string[0] != '/') {
                agentd_prepare_error(r->prepare, P_EXEC,
                        exec->n == 0
                                ? "'exec' names no program"
                                : "the program of 'exec' must be an absolute path; 'shell' looks for it");
                return -EINVAL;
        }
        for (uint32_t i = 0; i < exec->n; i++) {
                if (i > 0)
                        rendering_add(r, " ");
                add_quoted(r, exec->items[i].string, true);
        }
        rendering_add(r, "\n");
        return 0;
}

static int add_environment(Rendering *r, const AgentdValue *table) {
        for (uint32_t i = 0; i < table->n; i++) {
                const AgentdMember *member = &table->members[i];
                char name[256];

                if (member->value.type != AGENTD_STRING || strlen(member->key) >= sizeof(name) - 1 ||
                        strpbrk(member->key, "=\n\" %")) {
                        agentd_prepare_error(r->prepare, P_ENVIRONMENT, "the variable '%s' must be a string",
                                member->key);
                        return -EINVAL;
                }
                if (strlen(member->value.string) != member->value.size) {
                        agentd_prepare_error(
                                r->prepare, P_ENVIRONMENT, "the variable '%s' has a NUL in it", member->key);
                        return -EINVAL;
                }
                /* The name is part of what is quoted. */
                rendering_add(r, "Environment=");
                {
                        Rendering one = { .prepare = r->prepare };

                        rendering_add(&one, "%s=%s", member->key, member->value.string);
                        add_quoted(r, rendering_end(&one), false);
                }
                rendering_add(r, "\n");
        }
        return 0;
}

static const char *service_text(AgentdPrepare *prepare, const char *name, const AgentdValue *values) {
        Rendering r = { .prepare = prepare };

        rendering_add(&r, "# Made by agentd for timer:%s; changes are undone.\n\n[Unit]\n", name);
        if (add_plain(&r, P_DESCRIPTION, "Description",
                    is_given(&values[P_DESCRIPTION]) ? values[P_DESCRIPTION].string : name) < 0)
                return NULL;
        rendering_add(&r, "\n[Service]\nType=oneshot\n");
        if (add_command(&r, values) < 0)
                return NULL;
        if (is_given(&values[P_USER]) && add_plain(&r, P_USER, "User", values[P_USER].string) < 0)
                return NULL;
        if (is_given(&values[P_GROUP]) && add_plain(&r, P_GROUP, "Group", values[P_GROUP].string) < 0)
                return NULL;
        if (is_given(&values[P_DIRECTORY]) &&
                add_plain(&r, P_DIRECTORY, "WorkingDirectory", values[P_DIRECTORY].string) < 0)
                return NULL;
        if (is_given(&values[P_ENVIRONMENT]) && add_environment(&r, &values[P_ENVIRONMENT]) < 0)
                return NULL;
        if (is_given(&values[P_SERVICE]) && render_section(&r, P_SERVICE, "Service", &values[P_SERVICE]) < 0)
                return NULL;
        return rendering_end(&r);
}

/* Nothing in a unit file can say NUL. Return: 0; -EINVAL after agentd_prepare_error(). */
static int refuse_nul(AgentdPrepare *prepare, const AgentdValue *values) {
        for (int i = 0; parameters[i].name; i++) {
                const AgentdValue *value = &values[i];

                if (value->type == AGENTD_TABLE)
                        continue; /* each of its members is looked at where it is used */
                for (uint32_t k = 0; k < (value->type == AGENTD_LIST ? value->n : 1); k++) {
                        const AgentdValue *item = value->type == AGENTD_LIST ? &value->items[k] : value;

                        if (item->type != AGENTD_STRING || strlen(item->string) == item->size)
                                continue;
                        agentd_prepare_error(prepare, i, "'%s' has a NUL in it", parameters[i].name);
                        return -EINVAL;
                }
        }
        return 0;
}

/* ---- The type -------------------------------------------------------------------------------------------------- */

/* A list of strings, of which each is text that was looked at. Strings stay where they are, and the values that hold them do not. */
static const char *const *list_calendars(AgentdPrepare *prepare, const AgentdValue *value) {
        const AgentdValue *items = value->type == AGENTD_LIST ? value->items : value;
        uint32_t n = value->type == AGENTD_LIST ? value->n : is_given(value) ? 1 : 0;
        const char **list;

        if (n == 0)
                return NULL;
        list = agentd_alloc(prepare, (n + 1) * sizeof(*list));
        for (uint32_t i = 0; i < n; i++)
                list[i] = items[i].string;
        return list;
}

static int timer_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *values,
        const void **ret_data, unsigned flags) {
        Service *timer = agentd_alloc(prepare, sizeof(*timer));
        char service[2 * UNIT_NAME_SIZE], path[2 * UNIT_NAME_SIZE + 64], claim[2 * UNIT_NAME_SIZE + 8];
        ServiceFile file = { .path = path };
        int r;

        (void) flags;
        if (refuse_nul(prepare, values) < 0)
                return -EINVAL;
        if (strlen(name) > UNIT_NAME_SIZE - sizeof(".service") || strchr(name, '@')) {
                agentd_prepare_error(
                        prepare, -1, "'%.*s' cannot be the name of a timer", UNIT_NAME_SIZE, name);
                return -EINVAL;
        }
        r = service_init(prepare, timer, name, ".timer", NULL);
        if (r < 0)
                return r;
        (void) snprintf(service, sizeof(service), "%s.service", name);
        (void) snprintf(claim, sizeof(claim), "unit:%s", service);
        agentd_prepare_claim(prepare, claim);
        timer->absent = strcmp(values[P_ENSURE].string, "absent") == 0;
        timer->running = !timer->absent && values[P_RUNNING].boolean ? YES : NO;
        timer->enabled = !timer->absent && values[P_ENABLED].boolean ? YES : NO;
        timer->verify = true;
        timer->on_change = ON_CHANGE_RESTART;

        if (!timer->absent) {
                if ((!is_given(&values[P_CALENDAR]) ||
                            (values[P_CALENDAR].type == AGENTD_LIST && values[P_CALENDAR].n == 0)) &&
                        !is_given(&values[P_EVERY]) && !is_given(&values[P_ON_BOOT])) {
                        agentd_prepare_error(
                                prepare, -1, "timer:%s needs 'calendar', 'every' or 'on_boot'", name);
                        return -EINVAL;
                }
                if (is_given(&values[P_EVERY]) && values[P_EVERY].integer <= 0) {
                        agentd_prepare_error(prepare, P_EVERY, "'every' must be more than 0");
                        return -EINVAL;
                }
                if (!is_given(&values[P_EXEC]) && !is_given(&values[P_SHELL])) {
                        agentd_prepare_error(prepare, -1, "timer:%s needs 'exec' or 'shell'", name);
                        return -EINVAL;
                }
        }
        (void) snprintf(path, sizeof(path), "/etc/systemd/system/%s", timer->unit);
        file.what = "timer";
        file.text = timer->absent ? NULL : timer_text(prepare, name, service, values);
        if (!file.text && !timer->absent)
                return -EINVAL;
        service_own(prepare, timer, &file);
        (void) snprintf(path, sizeof(path), "/etc/systemd/system/%s", service);
        file.what = "service";
        file.text = timer->absent ? NULL : service_text(prepare, name, values);
        if (!file.text && !timer->absent)
                return -EINVAL;
        service_own(prepare, timer, &file);
        if (!timer->absent)
                timer->calendars = list_calendars(prepare, &values[P_CALENDAR]);
        *ret_data = timer;
        return 0;
}

const AgentdStateType timer_type = {
        .name = "timer",
        .documentation =
                "Runs something at certain times: a timer of systemd, and the service that it starts",
        .parameters = parameters,
        .flags = AGENTD_COPIES_VALUES,
        .prepare = timer_prepare,
        .watch = service_watch,
        .check = service_check,
        .apply = service_apply,
};
