/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "diagnostic.h"
#include "util.h"
#include "value.h"

/*
 * What is known about a host: one table, the `facts` of roles. The reference is docs/facts.md. Each name that it lists
 * is always there, with "", 0 or an empty list for what cannot be told, so that a role may read it anywhere. Facts that
 * change by themselves all the time are left out on purpose: see fact_is_volatile().
 */

#define FACTS_DEADLINE_USEC    (5 * USEC_PER_SEC)
#define FACTS_OUTPUT_MAX       MIB(1) /* of a local program or file */
#define FACTS_LOCAL_MAX        256    /* local facts on one host */
#define FACTS_PROGRAMS_RUNNING 8      /* at a time */

typedef struct FactsOptions {
        /* Where local facts lie, NULL-terminated; of facts of one name the one in the earlier directory wins. Absolute
         * paths, looked up below the root. NULL: /etc/agentd/facts.d, /run/agentd/facts.d, /usr/lib/agentd/facts.d. */
        const char *const *directories;
        /* What each local program may take, from its start. 0: FACTS_DEADLINE_USEC. */
        usec_t deadline_usec;
        /* Leave local programs out, as if the files were not there. They are also left out if the root is not "/". */
        bool no_programs;
} FactsOptions;

/**
 * facts_gather() - finds out the facts of a host
 * @arena:       holds the result, messages and what is read on the way
 * @root_fd:     directory that the files of the host are looked up in: "/", or the tree of --root; not closed
 * @options:     NULL for the defaults
 * @ret_facts:   a table
 * @diagnostics: local facts that are broken, one each, naming the file and what would be right; such a fact is absent.
 *               These are warnings: the other facts are good.
 *
 * In a tree of --root, kernel, arch, cpus, memory_bytes, virt, addresses and interfaces are those of the running host.
 *
 * Blocks while local programs run, at most the deadline for each eight of them: for the loader, never for the engine.
 * The process must not have SIGCHLD ignored, nor wait for children that it does not know.
 *
 * Return: 0; -EBADF or -ENOTDIR if root_fd is no directory.
 */
int facts_gather(
        Arena *arena, int root_fd, const FactsOptions *options, Value *ret_facts, Diagnostics *diagnostics);

/*
 * A hash of the value that a dotted name ("facts.os.id", or "facts" for all) has, so that a change can be told. What
 * is not there has one too. Of what lies within an array, it is that of the array.
 */
#define FACT_HASH_SIZE 16 /* of BLAKE2b */
void fact_hash(const Value *facts, const char *dotted, uint8_t ret[static FACT_HASH_SIZE]);

/* True for names that people may try although no such fact is offered to roles, because its value is another each time:
 * "uptime", "load.1min", "memory_free_bytes". With or without "facts." before. Never true for a name in the table. */
bool fact_is_volatile(const char *dotted);

/* Why a role may not read it and what to do instead, for an error at the place of the reference; NULL if the fact is
 * not volatile. One line, no full stop. */
const char *fact_volatile_message(Arena *arena, const char *dotted);
