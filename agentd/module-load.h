/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Opens modules. Runs module code (their constructors), so: in the loader and in workers only.
 */

#include "image.h"
#include "module.h"

typedef struct Module {
        char *path;
        void *handle;
        AgentdModule info;      /* in our layout: what the module did not know of is 0 */
        AgentdStateType *types; /* likewise; n_types of them */
        uint32_t n_types;
        uint8_t build_id[IMAGE_BUILD_ID_SIZE];
        uint32_t build_id_size;
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

/* Unloads it. */
Module *module_close(Module *module);
DEFINE_CLEANUP(Module *, module_close)

/* The declared state type of that name, or NULL. */
const AgentdStateType *module_find_type(const Module *module, const char *name);

/* How many parameters a list has, its end not counted. */
uint32_t parameters_count(const AgentdParameter *parameters);
