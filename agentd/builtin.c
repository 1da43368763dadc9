/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>

#include "builtin.h"
#include "paths.h"

#define BUILTINS_MAX     256
#define VALUE_DEPTH_MAX  64 /* of what a helper returns */
#define VALUE_CHARGE     1  /* units of work for each value that is handed over */
#define OPEN_FLAGS_TAKEN (O_PATH | O_NOFOLLOW | O_DIRECTORY)

struct AgentdCall {
        HelperCall *call;
        const ModuleHelper *helper;
        bool said; /* what is wrong */
};

/* ---- Values ---------------------------------------------------------------------------------------------------- */

/* As deep as values of roles go, which their parser has bounded. */
static int value_for_module(HelperCall *call, const Value *value, AgentdValue *ret) {
        AgentdMember *members;
        AgentdValue *items;
        uint32_t n = 0;
        int r;

        r = helper_charge(call, VALUE_CHARGE);
        if (r < 0)
                return r;

        switch (value->type) {
        case VALUE_BOOLEAN:
                *ret = (AgentdValue){ .type = AGENTD_BOOLEAN, .boolean = value->boolean };
                return 0;
        case VALUE_INTEGER:
                *ret = (AgentdValue){ .type = AGENTD_INTEGER, .integer = value->integer };
                return 0;
        case VALUE_FLOAT: *ret = (AgentdValue){ .type = AGENTD_FLOAT, .real = value->real }; return 0;
        case VALUE_STRING:
        case VALUE_OFFSET_DATETIME:
        case VALUE_LOCAL_DATETIME:
        case VALUE_LOCAL_DATE:
        case VALUE_LOCAL_TIME:
                *ret = (AgentdValue){ .type = AGENTD_STRING, .string = value->text, .size = value->size };
                return 0;
        case VALUE_ARRAY:
                items = arena_new_array(call->arena, AgentdValue, value->n_items);
                VALUE_FOREACH_ITEM(item, value) {
                        r = value_for_module(call, item, &items[n++]);
                        if (r < 0)
                                return r;
                }
                *ret = (AgentdValue){ .type = AGENTD_LIST, .n = n, .items = items };
                return 0;
        case VALUE_TABLE:
                members = arena_new_array(call->arena, AgentdMember, value->n_members);
                VALUE_FOREACH_MEMBER(member, value) {
                        members[n].key = member->key;
                        r = value_for_module(call, &member->value, &members[n++].value);
                        if (r < 0)
                                return r;
                }
                *ret = (AgentdValue){ .type = AGENTD_TABLE, .n = n, .members = members };
                return 0;
        default: *ret = (AgentdValue){}; return 0;
        }
}

/* Return: 0; -E2BIG, which was said; -EINVAL: it is no value, which was not. */
static int value_of_module(HelperCall *call, const AgentdValue *value, unsigned depth, Value *ret) {
        int r;

        if (depth > VALUE_DEPTH_MAX)
                return -EINVAL;
        r = helper_charge(call, VALUE_CHARGE + (value->type == AGENTD_STRING ? value->size : 0));
        if (r < 0)
                return r;

        switch (value->type) {
        case AGENTD_NONE: *ret = (Value){}; return 0;
        case AGENTD_BOOLEAN: *ret = value_boolean(value->boolean); return 0;
        case AGENTD_INTEGER: *ret = value_integer(value->integer); return 0;
        case AGENTD_FLOAT: *ret = value_float(value->real); return 0;
        case AGENTD_STRING:
                if (!value->string || !utf8_is_valid(value->string, value->size))
                        return -EINVAL;
                *ret = value_string(call->arena, value->string, value->size);
                return 0;
        case AGENTD_LIST:
                *ret = value_array();
                for (uint32_t i = 0; i < value->n; i++) {
                        Value item = {};

                        r = value_of_module(call, &value->items[i], depth + 1, &item);
                        if (r < 0)
                                return r;
                        (void) value_append(call->arena, ret, &item);
                }
                return 0;
        case AGENTD_TABLE:
                *ret = value_table();
                for (uint32_t i = 0; i < value->n; i++) {
                        const char *key = value->members[i].key;
                        Value member = {};

                        if (!key || !utf8_is_valid(key, strlen(key)) || value_find(ret, key, strlen(key)))
                                return -EINVAL;
                        /* Looking for it among those before it is work, too. */
                        r = helper_charge(call, i);
                        if (r < 0)
                                return r;
                        r = value_of_module(call, &value->members[i].value, depth + 1, &member);
                        if (r < 0)
                                return r;
                        (void) value_add(call->arena, ret, key, strlen(key), &member);
                }
                return 0;
        default: return -EINVAL;
        }
}

/* ---- Calls ----------------------------------------------------------------------------------------------------- */

static int call_builtin(HelperCall *call, const Value *args, size_t n, Value *ret) {
        const ModuleHelper *helper = (const ModuleHelper *) call->helper;
        const char *module = helper->module->info.name;
        AgentdValue *values = arena_new_array(call->arena, AgentdValue, n), result = {};
        AgentdCall context = { .call = call, .helper = helper };
        int r;

        for (size_t i = 0; i < n; i++) {
                r = value_for_module(call, &args[i], &values[i]);
                if (r < 0)
                        return r;
        }
        r = helper->builtin.call(&context, values, n, &result);
        if (context.said)
                return r < 0 ? r : -EINVAL;
        if (r < 0) {
                (void) helper_error(call, SIZE_MAX, "module '%s' says: %s", module, strerror(-r));
                return r;
        }
        r = value_of_module(call, &result, 0, ret);
        return r == -EINVAL ? helper_error(call, SIZE_MAX, "what module '%s' returns is no value", module)
                            : r;
}

void *agentd_call_alloc(AgentdCall *call, size_t size) {
        /* The arena of a worker is used again and again. */
        return memset(arena_alloc(call->call->arena, MAX(size, (size_t) 1)), 0, size);
}

int agentd_call_error(AgentdCall *call, int argument, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;

        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        if (call->said)
                return -EINVAL;
        call->said = true;
        if (call->call->tainted || !text || !utf8_is_valid(text, strlen(text)))
                return helper_error(call->call, argument < 0 ? SIZE_MAX : (size_t) argument,
                        "module '%s' refuses it; why cannot be shown", call->helper->module->info.name);
        return helper_error(call->call, argument < 0 ? SIZE_MAX : (size_t) argument, "%s", text);
}

int agentd_call_open(AgentdCall *call, const char *path, int flags) {
        struct open_how how = {
                .flags = (uint64_t) (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY |
                                     (flags & OPEN_FLAGS_TAKEN)),
                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        };
        _cleanup_close_ int own_root_fd = -EBADF;
        int root_fd = call->call->root_fd;

        if (!(call->helper->builtin.flags & AGENTD_BUILTIN_HOST))
                return -EPERM;
        if (*path != '/' || (flags & ~(OPEN_FLAGS_TAKEN | O_CLOEXEC)))
                return -EINVAL;
        if (root_fd < 0) {
                own_root_fd = open("/", O_PATH | O_CLOEXEC | O_DIRECTORY);
                if (own_root_fd < 0)
                        return -errno;
                root_fd = own_root_fd;
        }
        if (how.flags & O_PATH)
                how.flags &= (uint64_t) (OPEN_FLAGS_TAKEN | O_CLOEXEC);
        return path_openat2(root_fd, path, &how);
}

/* ---- Declarations ---------------------------------------------------------------------------------------------- */

static int refuse(char **reterr, const char *format, ...) _printf_(2, 3);

static int refuse(char **reterr, const char *format, ...) {
        va_list args;

        va_start(args, format);
        if (vasprintf(reterr, format, args) < 0)
                *reterr = NULL;
        va_end(args);
        return -EINVAL;
}

bool module_may_have_helper(const char *module, size_t size, const char *helper) {
        for (size_t i = 0; i < size; i++)
                if (helper[i] != (module[i] == '-' ? '_' : module[i]))
                        return false;
        return helper[size] == 0 || helper[size] == '_';
}

static bool name_is_good(const char *name) {
        for (const char *p = name; *p; p++)
                if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_'))
                        return false;
        return true;
}

/* The letters of Helper.types. Return: 0; -EINVAL. */
static int take_types(ModuleHelper *helper, char **reterr) {
        const AgentdType *types = helper->builtin.types;
        size_t n = 0;

        for (; types && types[n] != AGENTD_NONE; n++) {
                if (n == BUILTIN_ARGUMENTS_MAX)
                        return refuse(reterr, "helper '%s': the list of types has no end (AGENTD_NONE)",
                                helper->builtin.name);
                switch ((uint32_t) types[n]) {
                case AGENTD_BOOLEAN: helper->types[n] = 'b'; break;
                case AGENTD_INTEGER: helper->types[n] = 'i'; break;
                case AGENTD_FLOAT: helper->types[n] = 'f'; break;
                case AGENTD_STRING: helper->types[n] = 's'; break;
                case AGENTD_LIST: helper->types[n] = 'a'; break;
                case AGENTD_TABLE: helper->types[n] = 't'; break;
                case AGENTD_ANY: helper->types[n] = '*'; break;
                default:
                        return refuse(reterr, "helper '%s': argument %zu has a type that none can have",
                                helper->builtin.name, n + 1);
                }
        }
        helper->types[n] = 0;
        return 0;
}

static int take_builtin(Module *module, const AgentdBuiltin *theirs, ModuleHelper *ret, char **reterr) {
        const HelperSet own = helper_set(-1);
        AgentdBuiltin *builtin = &ret->builtin;
        const char *name;

        if (theirs->size < offsetof(AgentdBuiltin, call) + sizeof(void *) || theirs->size > KIB(4))
                return refuse(reterr, "a helper says a size (%zu bytes) that cannot be", theirs->size);
        memcpy(builtin, theirs, MIN(theirs->size, sizeof(*builtin)));
        name = builtin->name;
        if (!name || !name_is_good(name) ||
                !module_may_have_helper(module->info.name, strlen(module->info.name), name))
                return refuse(reterr,
                        "helper '%s' is not called as the module is, or that and _WORD, of a-z, 0-9, _",
                        name ?: "");
        if (helper_set_find(&own, name))
                return refuse(reterr, "helper '%s' is one of agentd's own", name);
        if (!builtin->call)
                return refuse(reterr, "helper '%s' has no callback", name);
        if (builtin->min_args > builtin->max_args)
                return refuse(reterr, "helper '%s' takes at least %u arguments, and at most %u", name,
                        builtin->min_args, builtin->max_args);
        if (module_find_helper(module, name))
                return refuse(reterr, "helper '%s' is declared twice", name);

        ret->module = module;
        ret->helper = (Helper){
                .name = name,
                .min_args = builtin->min_args,
                .max_args = builtin->max_args,
                .flags = builtin->flags & AGENTD_BUILTIN_HOST ? HELPER_HOST : 0,
                .types = ret->types,
                .call = call_builtin,
                .arguments = builtin->arguments ?: "…",
                .documentation = builtin->documentation ?: "",
        };
        return take_types(ret, reterr);
}

int builtins_take(Module *module, char **reterr) {
        const AgentdBuiltin *const *list = module->info.builtins;
        uint32_t n = 0;
        int r;

        while (list && list[n])
                if (++n > BUILTINS_MAX)
                        return refuse(reterr, "the list of helpers has no end (NULL)");
        if (n == 0)
                return 0;
        module->helpers = calloc(n, sizeof(ModuleHelper));
        if (!module->helpers)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
                r = take_builtin(module, list[i], &module->helpers[i], reterr);
                if (r < 0)
                        return r;
                module->n_helpers = i + 1;
        }
        return 0;
}

const Helper *module_find_helper(const Module *module, const char *name) {
        for (uint32_t i = 0; i < module->n_helpers; i++)
                if (streq(module->helpers[i].helper.name, name))
                        return &module->helpers[i].helper;
        return NULL;
}
