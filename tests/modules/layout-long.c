/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Built with a header to come, in which every struct has grown at its end, and there are flags that nobody knows. */

#include "bad.h"

typedef struct LongParameter {
        AgentdParameter now;
        const char *later[3];
} LongParameter;

typedef struct LongType {
        AgentdStateType now;
        int (*later[2])(void);
} LongType;

typedef struct LongModule {
        AgentdModule now;
        const void *later[2];
} LongModule;

static int later(void) {
        return 0;
}

static const LongParameter fields[] = {
        { { .name = "x", .type = AGENTD_INTEGER, .default_value = "7" }, { "a", "b", "c" } },
        { { .name = "y", .type = AGENTD_STRING }, { "a", "b", "c" } },
        {},
};
static const LongParameter parameters[] = {
        { { .name = "one", .type = AGENTD_STRING, .default_value = "1" }, { "a", "b", "c" } },
        { { .name = "two", .type = AGENTD_RECORD, .fields = (const AgentdParameter *) fields },
                { "a", "b", "c" } },
        { { .name = "three", .type = AGENTD_MODE, .flags = 1u << 31 | AGENTD_REQUIRED }, { "a", "b", "c" } },
        {},
};
static const LongType first = {
        { .name = "layout-long",
                .parameters = (const AgentdParameter *) parameters,
                .flags = 1u << 31 | AGENTD_NO_PLAN,
                .batch_max = 3,
                .check = check,
                .apply = check },
        { later, later },
};
static const LongType second = { GOOD_TYPE("layout-long-second"), { later, later } };
static const AgentdStateType *const types[] = { &first.now, &second.now, NULL };

AGENTD_EXPORT const LongModule long_module __asm__("agentd_module");
AGENTD_EXPORT const LongModule long_module = {
        .now = {
                .abi = AGENTD_ABI,
                .size = sizeof(LongModule),
                .state_type_size = sizeof(LongType),
                .parameter_size = sizeof(LongParameter),
                .name = "layout-long",
                .version = "1",
                .state_types = types,
        },
        .later = { types, types },
};
