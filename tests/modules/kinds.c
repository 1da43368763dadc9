/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A state type with parameters of all kinds, and two plain ones. */

#include <string.h>

#include "bad.h"

static const char *const words[] = { "red", "green", "blue", NULL };

static const AgentdParameter point[] = {
        { .name = "x", .type = AGENTD_INTEGER, .flags = AGENTD_REQUIRED },
        { .name = "y", .type = AGENTD_INTEGER, .default_value = "-1" },
        {},
};

static const AgentdParameter kinds[] = {
        { .name = "boolean", .type = AGENTD_BOOLEAN, .default_value = "true" },
        { .name = "integer", .type = AGENTD_INTEGER },
        { .name = "real", .type = AGENTD_FLOAT },
        { .name = "string", .type = AGENTD_STRING },
        { .name = "list", .type = AGENTD_LIST },
        { .name = "table", .type = AGENTD_TABLE },
        { .name = "point", .type = AGENTD_RECORD, .fields = point },
        { .name = "mode", .type = AGENTD_MODE, .default_value = "0640" },
        { .name = "span", .type = AGENTD_TIMESPAN, .default_value = "1min" },
        { .name = "bytes", .type = AGENTD_BYTES },
        { .name = "any", .type = AGENTD_ANY },
        { .name = "colour", .type = AGENTD_STRING, .choices = words },
        { .name = "colours", .type = AGENTD_LIST, .choices = words },
        { .name = "path", .type = AGENTD_STRING, .flags = AGENTD_PATH },
        { .name = "paths", .type = AGENTD_LIST, .flags = AGENTD_PATH },
        { .name = "password", .type = AGENTD_STRING, .flags = AGENTD_SECRET },
        { .name = "pin", .type = AGENTD_INTEGER, .flags = AGENTD_SECRET },
        { .name = "literal", .type = AGENTD_STRING, .flags = AGENTD_LITERAL },
        { .name = "user", .type = AGENTD_STRING, .flags = AGENTD_USER },
        { .name = "after", .type = AGENTD_STRING },
        { .name = "checksum", .type = AGENTD_STRING, .flags = AGENTD_CHECKSUM },
        {},
};

/* Private data are the parameters; "after" is an id that it comes after. */
static int kinds_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *parameters,
        const void **ret_data, unsigned flags) {
        for (size_t i = 0; kinds[i].name; i++)
                if (strcmp(kinds[i].name, "after") == 0 && parameters[i].type != AGENTD_NONE)
                        agentd_prepare_after(prepare, parameters[i].string);
        *ret_data = parameters;
        return 0;
}

static const AgentdParameter one_required[] = {
        { .name = "one", .type = AGENTD_STRING, .flags = AGENTD_REQUIRED },
        { .name = "two", .type = AGENTD_STRING },
        {},
};

#define TYPE(identifier, name_, ...)                                         \
        static const AgentdStateType identifier = {                          \
                .name = (name_), .check = check, .apply = check, __VA_ARGS__ \
        }

TYPE(type_kinds, "kinds", .parameters = kinds, .prepare = kinds_prepare, .timeout_usec = 5000000);
TYPE(type_plain, "plain", .parameters = one_required, .flags = AGENTD_NO_PLAN, .batch_max = 7);
TYPE(type_user, "user");

AGENTD_MODULE("kinds", "1", &type_kinds, &type_plain, &type_user);
