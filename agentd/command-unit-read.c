/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What PID 1 says of the unit of a command, in its signals and when it is asked. */

#include <assert.h>
#include <inttypes.h>

#include "command-internal.h"

static int read_string(sd_bus_message *m, char *buffer, size_t size) {
        const char *text;
        int r;

        r = sd_bus_message_read(m, "v", "s", &text);
        if (r >= 0)
                (void) snprintf(buffer, size, "%s", text);
        return r;
}

void unit_take_field(Command *command, const char *field, size_t size) {
        char text[1024];
        const char *value;

        if (size >= sizeof(text))
                return;
        memcpy(text, field, size);
        text[size] = 0;
        value = startswith(text, "AGENTD_RUN=");
        if (value && command->run == 0) {
                command->run = strtoll(value, NULL, 10);
                return;
        }
        value = startswith(text, "AGENTD_STATE=");
        if (value && !command->state) {
                command->state = strdup(value);
                return;
        }
        value = startswith(text, "AGENTD_ROLE=");
        if (value && !command->role) {
                command->role = strdup(value);
                return;
        }
        if (streq(text, "AGENTD_QUIET=1"))
                command->flags |= COMMAND_QUIET;
}

static int read_fields(Command *command, sd_bus_message *m) {
        int r;

        r = sd_bus_message_enter_container(m, 'v', "aay");
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "ay");
        while (r >= 0) {
                const void *field;
                size_t size;

                r = sd_bus_message_at_end(m, false);
                if (r != 0)
                        break;
                r = sd_bus_message_read_array(m, 'y', &field, &size);
                if (r >= 0)
                        unit_take_field(command, field, size);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* Of ExecStart: the name of the program. */
static int read_program(Command *command, sd_bus_message *m) {
        const char *path, *slash;
        int r;

        r = sd_bus_message_enter_container(m, 'v', "a(sasbttttuii)");
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "(sasbttttuii)");
        if (r <= 0)
                return r < 0 ? r : -ENXIO;
        r = sd_bus_message_enter_container(m, 'r', "sasbttttuii");
        if (r > 0)
                r = sd_bus_message_read(m, "s", &path);
        if (r > 0 && !command->program) {
                slash = strrchr(path, '/');
                command->program = strdup(slash ? slash + 1 : path);
                command->argv = calloc(2, sizeof(char *));
                if (command->argv)
                        command->argv[0] = strdup(path);
        }
        while (r >= 0 && sd_bus_message_at_end(m, false) == 0)
                r = sd_bus_message_skip(m, NULL);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        while (r >= 0 && sd_bus_message_at_end(m, false) == 0)
                r = sd_bus_message_skip(m, NULL);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_property(Command *command, const char *name, sd_bus_message *m) {
        UnitProperties *unit = &command->unit;
        const struct {
                const char *name;
                char *text;
                size_t size;
        } texts[] = {
                { "ActiveState", unit->active_state, sizeof(unit->active_state) },
                { "SubState", unit->sub_state, sizeof(unit->sub_state) },
                { "LoadState", unit->load_state, sizeof(unit->load_state) },
                { "Result", unit->result, sizeof(unit->result) },
        };
        const struct {
                const char *name, *type;
                void *value;
        } numbers[] = {
                { "ExecMainCode", "i", &unit->code },
                { "ExecMainStatus", "i", &unit->status },
                { "ExecMainStartTimestampMonotonic", "t", &unit->start_usec },
                { "ExecMainExitTimestampMonotonic", "t", &unit->exit_usec },
                { "ActiveEnterTimestampMonotonic", "t", &unit->active_usec },
                { "MemoryPeak", "t", &unit->memory_peak },
        };

        FOREACH_ELEMENT(text, texts)
                if (streq(text->name, name))
                        return read_string(m, text->text, text->size);
        FOREACH_ELEMENT(number, numbers)
                if (streq(number->name, name))
                        return sd_bus_message_read(m, "v", number->type, number->value);
        if (command->found && !command->known) {
                if (streq(name, "LogExtraFields") && !command->told)
                        return read_fields(command, m);
                if (streq(name, "ExecStart"))
                        return read_program(command, m);
                if (streq(name, "RuntimeMaxUSec"))
                        return sd_bus_message_read(m, "v", "t", &command->timeout_usec);
        }
        return sd_bus_message_skip(m, "v");
}

int unit_read_properties(Command *command, sd_bus_message *m) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0) {
                const char *name;

                r = sd_bus_message_enter_container(m, 'e', "sv");
                if (r <= 0)
                        break;
                r = sd_bus_message_read(m, "s", &name);
                if (r >= 0)
                        r = read_property(command, name, m);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}
