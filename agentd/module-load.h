/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Opens modules. Runs module code (their constructors), so: in the loader and in workers only.
 */

#include "image.h"
#include "module.h"

typedef struct Foreign Foreign;
typedef struct ModuleHelper ModuleHelper;

typedef struct Module {
        char *path;
        void *handle;
        AgentdModule info;      /* in our layout: what the module did not know of is 0 */
        AgentdStateType *types; /* likewise; n_types of them */
        uint32_t n_types;
        ModuleHelper *helpers; /* builtin.h */
        uint32_t n_helpers;
        uint8_t build_id[IMAGE_BUILD_ID_SIZE];
        uint32_t build_id_size;
        Foreign *foreign; /* of a program: foreign.h; NULL: it is a shared object */
} Module;

/*
 * module_open() - loads one module and checks what it declares
 * @path:       the shared object
 * @reterr:     allocated: why it is refused, in one line without the path
 *
 * Return: 0; -EINVAL if it is not a module that this agentd can use; -EPERM if somebody other than root could have
 *         written it; -ENOENT; other -errno.
 */
int module_open(const char *path, Module **ret, char **reterr);

/* Opens the file of a module after looking at who could have written it. Return: a descriptor; errors as module_open(). */
int module_open_file(const char *path, char **reterr);

/* Checks module->info and takes over what it declares. file: the name that the file must have, by the module's name and
 * `ending`. Return: 0; -EINVAL. */
int module_take(Module *module, const char *ending, char **reterr);

/* Unloads it. */
Module *module_close(Module *module);
DEFINE_CLEANUP(Module *, module_close)

/* The declared state type of that name, or NULL. */
const AgentdStateType *module_find_type(const Module *module, const char *name);

/* How many parameters a list has, its end not counted. */
uint32_t parameters_count(const AgentdParameter *parameters);
