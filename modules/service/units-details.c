/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What systemd knows of one unit. */

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "units-internal.h"

static int get_all(Units *units, const char *path, const char *interface, sd_bus_message **ret) {
        sd_bus_message *message = NULL;
        int r;

        r = units_connect(units);
        if (r < 0)
                return r;
        r = sd_bus_message_new_method_call(
                units->bus, &message, SYSTEMD, path, "org.freedesktop.DBus.Properties", "GetAll");
        if (r < 0)
                return r;
        r = sd_bus_message_append_basic(message, 's', interface);
        if (r < 0) {
                sd_bus_message_unref(message);
                return r;
        }
        return units_call(units, message, CALL_USEC, ret);
}

/* Where a property goes; the type of the member follows from the signature. */
typedef struct Property {
        const char *name, *signature;
        size_t offset, size;
} Property;

#define PROPERTY(name_, signature_, member)                                                          \
        {                                                                                            \
                .name = (name_), .signature = (signature_), .offset = offsetof(UnitDetails, member), \
                .size = sizeof((UnitDetails){}.member)                                               \
        }

static const Property properties[] = {
        PROPERTY("Result", "s", result),
        PROPERTY("FragmentPath", "s", fragment),
        PROPERTY("LoadError", "(ss)", load_error),
        PROPERTY("InvocationID", "ay", invocation),
        PROPERTY("ExecMainCode", "i", exit_code),
        PROPERTY("ExecMainStatus", "i", exit_status),
        PROPERTY("NRestarts", "u", restarts),
        PROPERTY("Type", "s", type),
        PROPERTY("StateChangeTimestamp", "t", state_usec),
        PROPERTY("ConditionResult", "b", conditions_hold),
        PROPERTY("ConditionTimestamp", "t", condition_usec),
        PROPERTY("InactiveExitTimestamp", "t", started_usec),
        PROPERTY("NeedDaemonReload", "b", needs_reload),
};

static int read_value(sd_bus_message *message, const Property *property, void *to) {
        const char *name, *text;
        const void *bytes;
        size_t size;
        int value, r;

        switch (*property->signature) {
        case 's':
        case '(':
                /* Of an error the text, not the name. */
                r = *property->signature == 's' ? sd_bus_message_read_basic(message, 's', &text)
                                                : sd_bus_message_read(message, "(ss)", &name, &text);
                if (r >= 0)
                        copy_text(to, property->size, text);
                return r;
        case 'a':
                r = sd_bus_message_read_array(message, 'y', &bytes, &size);
                for (size_t i = 0; r >= 0 && 2 * size < property->size && i < size; i++)
                        (void) snprintf((char *) to + 2 * i, 3, "%02x", ((const uint8_t *) bytes)[i]);
                return r;
        case 'b':
                r = sd_bus_message_read_basic(message, 'b', &value);
                if (r >= 0)
                        *(bool *) to = value;
                return r;
        default: return sd_bus_message_read_basic(message, *property->signature, to);
        }
}

static bool is_command(const char *name) {
        static const char *const names[] = { "ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost",
                "ExecReload", "ExecStop", "ExecStopPre", "ExecStopPost", "ExecMount", "ExecUnmount",
                "ExecRemount", "ExecActivate", "ExecDeactivate" };

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                if (strcmp(name, names[i]) == 0)
                        return true;
        return false;
}

/* The command lines of one setting, each with how it has ended. */
static int read_commands(sd_bus_message *reply, const char *name, UnitDetails *details) {
        int r;

        r = sd_bus_message_enter_container(reply, 'v', "a(sasbttttuii)");
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(sasbttttuii)");
        while (r >= 0) {
                uint64_t ended_usec;
                int ignore;
                int32_t code, status;

                r = sd_bus_message_enter_container(reply, 'r', "sasbttttuii");
                if (r <= 0)
                        break;
                r = sd_bus_message_skip(reply, "sas");
                if (r >= 0)
                        r = sd_bus_message_read(reply, "b", &ignore);
                if (r >= 0)
                        r = sd_bus_message_skip(reply, "tt");
                if (r >= 0)
                        r = sd_bus_message_read(reply, "t", &ended_usec);
                if (r >= 0)
                        r = sd_bus_message_skip(reply, "tu");
                if (r >= 0)
                        r = sd_bus_message_read(reply, "ii", &code, &status);
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
                if (r < 0 || ended_usec == 0 || ignore || (code == CLD_EXITED && status == 0))
                        continue;
                /* What failed first is the reason for the others. */
                if (details->failed_usec != 0 && details->failed_usec <= ended_usec)
                        continue;
                copy_text(details->failed, sizeof(details->failed), name);
                details->failed_code = code;
                details->failed_status = status;
                details->failed_usec = ended_usec;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(reply);
        return r < 0 ? r : sd_bus_message_exit_container(reply);
}

static int read_property(sd_bus_message *reply, const char *name, UnitDetails *details) {
        for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
                const Property *property = &properties[i];
                int r;

                if (strcmp(property->name, name) != 0)
                        continue;
                r = sd_bus_message_enter_container(reply, 'v', property->signature);
                if (r > 0)
                        r = read_value(reply, property, (char *) details + property->offset);
                return r < 0 ? r : sd_bus_message_exit_container(reply);
        }
        if (is_command(name))
                return read_commands(reply, name, details);
        return sd_bus_message_skip(reply, "v");
}

int units_get_details(Units *units, const char *name, UnitDetails *ret) {
        sd_bus_message *reply = NULL;
        const char *path;
        char *copied;
        int r;

        *ret = (UnitDetails){};
        r = units_call_by_name(units, "GetUnit", name, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_read_basic(reply, 'o', &path);
        copied = r < 0 ? NULL : strdup(path);
        sd_bus_message_unref(reply);
        if (!copied)
                return r < 0 ? r : -ENOMEM;
        /* "": those of all interfaces in one. */
        r = get_all(units, copied, "", &reply);
        free(copied);
        if (r < 0)
                return r;

        r = sd_bus_message_enter_container(reply, 'a', "{sv}");
        while (r >= 0) {
                const char *property;

                r = sd_bus_message_enter_container(reply, 'e', "sv");
                if (r <= 0)
                        break;
                r = sd_bus_message_read_basic(reply, 's', &property);
                if (r >= 0)
                        r = read_property(reply, property, ret);
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        sd_bus_message_unref(reply);
        /* Of a unit that was never to be started it says the same. */
        ret->conditions_fail = !ret->conditions_hold && ret->condition_usec > 0;
        return r < 0 ? r : 0;
}

void units_names_free(char **list) {
        for (char **p = list; p && *p; p++)
                free(*p);
        free(list);
}

/* Return: as units_find_culprit(). */
static int find_culprit_among(Units *units, char **names, UnitStatus *ret) {
        UnitStatus *status;
        size_t n = 0, found;
        int r;

        while (names && names[n])
                n++;
        if (n == 0)
                return 0;
        status = calloc(n, sizeof(*status));
        if (!status)
                return -ENOMEM;
        r = units_list(units, (const char *const *) names, n, status);
        found = n;
        for (size_t i = n; r >= 0 && i > 0; i--)
                if (status[i - 1].active == UNIT_FAILED ||
                        (status[i - 1].active == UNIT_INACTIVE &&
                                (found == n || status[found].active != UNIT_FAILED)))
                        found = i - 1;
        if (r >= 0 && found < n)
                *ret = status[found];
        free(status);
        return r < 0 ? r : found < n;
}

/* The units that one names, or paths. Return: 0, and a list to be freed by units_names_free(); -errno. */
static int get_names(Units *units, const char *name, const char *property, char ***ret) {
        char *path;
        int r;

        r = sd_bus_path_encode(MANAGER "/unit", name, &path);
        if (r < 0)
                return r;
        r = units_connect(units);
        if (r >= 0)
                r = sd_bus_get_property_strv(
                        units->bus, SYSTEMD, path, "org.freedesktop.systemd1.Unit", property, NULL, ret);
        free(path);
        return r < 0 ? r : 0;
}

int units_get_dropins(Units *units, const char *name, char ***ret) {
        int r;

        *ret = NULL;
        r = get_names(units, name, "DropInPaths", ret);
        if (r >= 0 && !*ret)
                *ret = calloc(1, sizeof(**ret));
        return r < 0 ? r : *ret ? 0 : -ENOMEM;
}

int units_find_culprit(Units *units, const char *name, UnitStatus *ret) {
        static const char *const names_of[] = { "Requires", "Requisite", "BindsTo" };
        int found = 0, r = 0;

        for (size_t i = 0; r >= 0 && i < sizeof(names_of) / sizeof(names_of[0]) &&
                           !(found > 0 && ret->active == UNIT_FAILED);
                i++) {
                char **names = NULL;
                UnitStatus status;

                r = get_names(units, name, names_of[i], &names);
                if (r >= 0)
                        r = find_culprit_among(units, names, &status);
                if (r > 0 && (found == 0 || status.active == UNIT_FAILED)) {
                        *ret = status;
                        found = 1;
                }
                units_names_free(names);
        }
        return r < 0 ? r : found;
}

/* Whether a socket has Accept=yes. Return: 1; 0; -errno. */
static int accepts(Units *units, const char *socket) {
        int r, value;
        char *path;

        r = sd_bus_path_encode(MANAGER "/unit", socket, &path);
        if (r < 0)
                return r;
        r = units_connect(units);
        if (r >= 0)
                r = sd_bus_get_property_trivial(units->bus, SYSTEMD, path, "org.freedesktop.systemd1.Socket",
                        "Accept", NULL, 'b', &value);
        free(path);
        return r < 0 ? r : value;
}

int units_find_socket_user(Units *units, const char *socket, UnitStatus *ret) {
        static const char *const names_of[] = { "RequiredBy", "BoundBy", "ConsistsOf" };
        char **names = NULL;
        int r;

        /* With Accept= there is one for each connection, and they are in nobody's way. */
        r = accepts(units, socket);
        if (r != 0)
                return r < 0 ? r : 0;
        r = get_names(units, socket, "Triggers", &names);
        /* There is at most one. */
        if (r >= 0 && names && names[0])
                r = units_list(units, (const char *const *) names, 1, ret);
        if (r < 0 || !names || !names[0]) {
                units_names_free(names);
                return r;
        }
        units_names_free(names);
        if (ret->active == UNIT_INACTIVE || ret->active == UNIT_FAILED ||
                strcmp(ret->sub, "auto-restart") == 0)
                return 0;
        for (size_t i = 0; i < sizeof(names_of) / sizeof(names_of[0]); i++) {
                bool along = false;

                r = get_names(units, socket, names_of[i], &names);
                if (r < 0)
                        return r;
                for (char **p = names; p && *p; p++)
                        along = along || strcmp(*p, ret->id) == 0;
                units_names_free(names);
                if (along)
                        return 0;
        }
        return 1;
}
