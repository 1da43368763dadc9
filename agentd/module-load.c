/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <ctype.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdalign.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "builtin.h"
#include "foreign.h"
#include "module-load.h"

/* Enough for any type; a list without an end is found out before it reads far. */
#define PARAMETERS_MAX  256
#define TYPES_MAX       256
#define FIELD_DEPTH_MAX 4

static int refuse(char **reterr, int r, const char *format, ...) _printf_(3, 4);

static int refuse(char **reterr, int r, const char *format, ...) {
        va_list args;

        va_start(args, format);
        if (vasprintf(reterr, format, args) < 0)
                *reterr = NULL;
        va_end(args);
        return r;
}

uint32_t parameters_count(const AgentdParameter *parameters) {
        uint32_t n = 0;

        while (parameters && parameters[n].name)
                n++;
        return n;
}

const AgentdStateType *module_find_type(const Module *module, const char *name) {
        for (uint32_t i = 0; i < module->n_types; i++)
                if (streq(module->types[i].name, name))
                        return &module->types[i];
        return NULL;
}

/* ---- The build id ---------------------------------------------------------------------------------------------- */

typedef struct BuildIdSearch {
        const struct link_map *map;
        Module *module;
} BuildIdSearch;

static int find_build_id(struct dl_phdr_info *info, _unused_ size_t size, void *userdata) {
        BuildIdSearch *search = userdata;

        if (info->dlpi_addr != search->map->l_addr || !streq_ptr(info->dlpi_name, search->map->l_name))
                return 0;

        for (size_t i = 0; i < info->dlpi_phnum; i++) {
                const ElfW(Phdr) *header = &info->dlpi_phdr[i];
                const uint8_t *p, *end;

                if (header->p_type != PT_NOTE)
                        continue;
                p = (const uint8_t *) (info->dlpi_addr + header->p_vaddr);
                end = p + header->p_memsz;
                while ((size_t) (end - p) >= sizeof(ElfW(Nhdr))) {
                        const ElfW(Nhdr) *note = (const ElfW(Nhdr) *) p;
                        const uint8_t *name = p + sizeof(*note);
                        const uint8_t *data = name + ((note->n_namesz + 3) & ~3U);

                        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
                                memcmp(name, "GNU", 4) == 0 && note->n_descsz <= IMAGE_BUILD_ID_SIZE) {
                                search->module->build_id_size = note->n_descsz;
                                memcpy(search->module->build_id, data, note->n_descsz);
                                return 1;
                        }
                        p = data + ((note->n_descsz + 3) & ~3U);
                }
        }

        return 1;
}

/* ---- The declarations ------------------------------------------------------------------------------------------ */

static bool name_is_good(const char *name, bool underscores) {
        if (!islower((unsigned char) *name))
                return false;
        for (const char *p = name; *p; p++)
                if (!islower((unsigned char) *p) && !isdigit((unsigned char) *p) &&
                        *p != (underscores ? '_' : '-'))
                        return false;
        return true;
}

static void free_parameters(const AgentdParameter *parameters) {
        for (const AgentdParameter *p = parameters; p && p->name; p++)
                if (p->type == AGENTD_RECORD)
                        free_parameters(p->fields);
        free((void *) parameters);
}

/* Copies a list of parameters, whose elements have the size that the module was built with, into our layout. */
static int take_parameters(const AgentdParameter *theirs, size_t their_size, const char *owner,
        unsigned depth, AgentdParameter **ret, char **reterr) {
        static const AgentdParameter none;
        AgentdParameter *ours;
        uint32_t n = 0, n_taken = 0;
        int r;

        if (depth > FIELD_DEPTH_MAX)
                return refuse(reterr, -EINVAL, "%s: fields are nested too deeply", owner);

        for (const uint8_t *p = (const uint8_t *) theirs; theirs; p += their_size) {
                const char *name;

                memcpy(&name, p + offsetof(AgentdParameter, name), sizeof(name));
                if (!name)
                        break;
                if (++n > PARAMETERS_MAX)
                        return refuse(reterr, -EINVAL,
                                "%s: the list of parameters has no end (one without name)", owner);
        }

        ours = calloc(n + 1, sizeof(*ours));
        if (!ours)
                return -ENOMEM;
        ours[n] = none;

        for (; n_taken < n; n_taken++) {
                AgentdParameter *parameter = &ours[n_taken];

                memcpy(parameter, (const uint8_t *) theirs + n_taken * their_size,
                        MIN(their_size, sizeof(*parameter)));
                if (!name_is_good(parameter->name, true)) {
                        r = refuse(reterr, -EINVAL, "%s: '%s' is no name for a parameter (a-z, 0-9, _)",
                                owner, parameter->name);
                        goto fail;
                }
                for (uint32_t k = 0; k < n_taken; k++)
                        if (streq(ours[k].name, parameter->name)) {
                                r = refuse(reterr, -EINVAL, "%s: parameter '%s' is declared twice", owner,
                                        parameter->name);
                                goto fail;
                        }
                switch ((uint32_t) parameter->type) {
                case AGENTD_BOOLEAN:
                case AGENTD_INTEGER:
                case AGENTD_FLOAT:
                case AGENTD_STRING:
                case AGENTD_LIST:
                case AGENTD_TABLE:
                case AGENTD_MODE:
                case AGENTD_TIMESPAN:
                case AGENTD_BYTES:
                case AGENTD_ANY: break;
                case AGENTD_RECORD: {
                        AgentdParameter *fields = NULL;

                        r = take_parameters(
                                parameter->fields, their_size, parameter->name, depth + 1, &fields, reterr);
                        if (r < 0)
                                goto fail;
                        parameter->fields = fields;
                        break;
                }
                default:
                        r = refuse(reterr, -EINVAL,
                                "%s: parameter '%s' has a type that this agentd does not know", owner,
                                parameter->name);
                        goto fail;
                }
        }

        *ret = ours;
        return 0;

fail:
        /* From the one that failed on, fields are still the module's. */
        ours[n_taken] = none;
        free_parameters(ours);
        return r;
}

static int take_types(Module *module, char **reterr) {
        const AgentdStateType *const *list = module->info.state_types;
        uint32_t n = 0;
        int r;

        while (list && list[n])
                if (++n > TYPES_MAX)
                        return refuse(reterr, -EINVAL, "the list of state types has no end (NULL)");

        module->types = calloc(MAX(n, 1U), sizeof(AgentdStateType));
        if (!module->types)
                return -ENOMEM;

        for (uint32_t i = 0; i < n; i++) {
                AgentdStateType *type = &module->types[i];
                AgentdParameter *parameters;

                memcpy(type, list[i], MIN((size_t) module->info.state_type_size, sizeof(*type)));
                if (!type->name || !name_is_good(type->name, false))
                        return refuse(reterr, -EINVAL, "state type %u has no name of a-z, 0-9, -", i + 1);
                if (!type->check || !type->apply)
                        return refuse(reterr, -EINVAL, "state type '%s' has no %s callback", type->name,
                                type->check ? "apply" : "check");
                for (uint32_t k = 0; k < i; k++)
                        if (streq(module->types[k].name, type->name))
                                return refuse(
                                        reterr, -EINVAL, "state type '%s' is declared twice", type->name);

                r = take_parameters(
                        type->parameters, module->info.parameter_size, type->name, 0, &parameters, reterr);
                if (r < 0)
                        return r;
                type->parameters = parameters;
                module->n_types = i + 1;
        }

        return 0;
}

/* ---- Opening --------------------------------------------------------------------------------------------------- */

Module *module_close(Module *module) {
        if (!module)
                return NULL;
        for (uint32_t i = 0; i < module->n_types; i++)
                free_parameters(module->types[i].parameters);
        free(module->types);
        free(module->helpers);
        if (module->handle)
                (void) dlclose(module->handle);
        foreign_free(module->foreign);
        free(module->path);
        free(module);
        return NULL;
}

/* What dlopen() says begins with the path, which the caller prints anyway. */
static const char *loader_error(const char *path) {
        const char *error = dlerror(), *rest;

        if (!error)
                return "it cannot be loaded";
        rest = startswith(error, path);
        return rest && startswith(rest, ": ") ? rest + 2 : error;
}

int module_open_file(const char *path, char **reterr) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        /* Without O_NONBLOCK a FIFO would be waited for. */
        fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0 && errno == ENXIO)
                return refuse(reterr, -EINVAL, "it is not a regular file");
        if (fd < 0 || fstat(fd, &st) < 0)
                return refuse(reterr, -errno, "%s", strerror(errno));
        if (!S_ISREG(st.st_mode))
                return refuse(reterr, -EINVAL, "it is not a regular file");
        if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 022) != 0)
                return refuse(reterr, -EPERM,
                        "others than root can write it; it must belong to root, mode 0644 or 0755");
        return TAKE_FD(fd);
}

int module_take(Module *module, const char *ending, char **reterr) {
        const char *base = strrchr(module->path, '/'), *name = module->info.name;
        int r;

        base = base ? base + 1 : module->path;
        if (!name || !name_is_good(name, false))
                return refuse(reterr, -EINVAL, "it has no name of a-z, 0-9, -");
        if (!module->info.version || !*module->info.version)
                return refuse(reterr, -EINVAL, "it has no version");
        if (strncmp(base, name, strlen(name)) != 0 || !streq(base + strlen(name), ending))
                return refuse(reterr, -EINVAL, "it calls itself '%s', so its file must be '%s%s'", name,
                        name, ending);
        if ((module->info.trigger_types && module->info.trigger_types[0]) ||
                (module->info.sink_types && module->info.sink_types[0]) ||
                (module->info.fact_sources && module->info.fact_sources[0]))
                return refuse(reterr, -EINVAL,
                        "it provides something else than state types and helpers, which this agentd cannot "
                        "use");

        r = take_types(module, reterr);
        if (r < 0)
                return r;
        r = builtins_take(module, reterr);
        if (r < 0)
                return r;
        if (module->n_types == 0 && module->n_helpers == 0)
                return refuse(reterr, -EINVAL, "it provides nothing");
        return 0;
}

int module_open(const char *path, Module **ret, char **reterr) {
        _cleanup_(module_closep) Module *module = NULL;
        _cleanup_close_ int fd = -EBADF;
        const AgentdModule *theirs;
        BuildIdSearch search;
        int r;

        assert(path);
        assert(ret);
        assert(reterr);

        fd = module_open_file(path, reterr);
        if (fd < 0)
                return fd;

        module = calloc(1, sizeof(*module));
        if (!module)
                return -ENOMEM;
        module->path = strdup(path);
        if (!module->path)
                return -ENOMEM;

        module->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!module->handle)
                return refuse(reterr, -EINVAL, "%s", loader_error(path));

        theirs = dlsym(module->handle, "agentd_module");
        if (!theirs)
                return refuse(reterr, -EINVAL, "it has no 'agentd_module'; AGENTD_MODULE() makes one");

        /* These two are at the start in every version of the interface. */
        if (theirs->abi != AGENTD_ABI)
                return refuse(reterr, -EINVAL,
                        "it was built for module interface %u, this agentd has %u; rebuild it with this "
                        "agentd's "
                        "<agentd/module.h>",
                        theirs->abi, AGENTD_ABI);
        if (theirs->size < offsetof(AgentdModule, trigger_types) || theirs->size > KIB(4))
                return refuse(reterr, -EINVAL, "its description says a size (%u bytes) that cannot be",
                        theirs->size);

        memcpy(&module->info, theirs, MIN((size_t) theirs->size, sizeof(module->info)));
        if (module->info.state_type_size % alignof(AgentdStateType) != 0 ||
                module->info.parameter_size % alignof(AgentdParameter) != 0 ||
                module->info.state_type_size < offsetof(AgentdStateType, apply) + sizeof(void *) ||
                module->info.state_type_size > KIB(4) ||
                module->info.parameter_size < offsetof(AgentdParameter, fields) + sizeof(void *) ||
                module->info.parameter_size > KIB(4))
                return refuse(reterr, -EINVAL, "its description says sizes of declarations that cannot be");

        r = module_take(module, ".so", reterr);
        if (r < 0)
                return r;

        if (dlinfo(module->handle, RTLD_DI_LINKMAP, &search.map) < 0)
                return refuse(reterr, -EINVAL, "%s", loader_error(path));
        search.module = module;
        (void) dl_iterate_phdr(find_build_id, &search);
        if (module->build_id_size == 0)
                return refuse(reterr, -EINVAL, "it has no build id; link it with -Wl,--build-id");

        *ret = TAKE_PTR(module);
        return 0;
}
