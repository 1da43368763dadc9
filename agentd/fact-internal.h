/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the fact-*.c files share, and what test-fact.c looks at. Nobody else includes this. */

#include <sys/types.h>

#include "fact.h"

/* fact-file.c: reading files of a root. Paths are looked up inside root_fd, also those in symbolic links. */

/* Opens. Return: a descriptor; -errno; -ENOSYS if root_fd is not "/" and the kernel is older than 5.6. */
int root_open(int root_fd, const char *path, int flags);

/*
 * Reads at most size - 1 bytes and terminates them. Only regular files are read; none can make us wait. A longer file
 * is cut. Return: the bytes read; -errno; -EINVAL if it is no regular file.
 */
ssize_t root_read(int root_fd, const char *path, char *buffer, size_t size);

/* The same for an open file. */
ssize_t file_read(int fd, char *buffer, size_t size);

bool root_exists(int root_fd, const char *path);

/* True if the directory is the "/" of this process. */
bool root_is_host(int root_fd);

/* fact-parse.c: text in, values out. */

/* KEY=VALUE lines as in os-release(5): shell quoting, '#' comments; a later line wins, lines that are neither are
 * passed over. A table of strings. */
Value env_file_parse(Arena *arena, const char *text, size_t size);

/* Source: os-release(5). The table of `facts.os`. */
Value os_facts(Arena *arena, const char *text, size_t size);

/* The full name that hosts(5) gives to a host name without dots, or NULL. */
const char *hosts_find_fqdn(Arena *arena, const char *text, size_t size, const char *hostname);

/* The version in "libsystemd-shared-NNN….so"; 0 for other names. */
int systemd_version_from_name(const char *name);

/* Bytes in the MemTotal line of /proc/meminfo; 0 if there is none. */
int64_t meminfo_total(const char *text);

/* The first line, without white space around it and comment lines before it; "" if there is none. Cuts in place. */
char *first_line(char *text);

/* A string value with what is not UTF-8 replaced by '?'. */
Value text_value(Arena *arena, const char *text, size_t size);

/* fact-virt.c */

/* The signature that the processor gives for its hypervisor, "" if it has none to give; NULL without hypervisor. */
const char *hypervisor_signature(char buffer[static 13]);

/* As systemd-detect-virt(1) prints it. host_fd: "/"; signature: of hypervisor_signature(). */
const char *virt_detect(int host_fd, const char *signature);

/* fact-net.c */

/* Sets `addresses` and `interfaces`. */
void net_facts(Arena *arena, Value *facts);

/* True if /proc/net/if_inet6 marks the address as one that will not stay or cannot be used. */
struct in6_addr;
bool inet6_is_passing(const char *table, const struct in6_addr *address);

/* fact-local.c: the table of `facts.local`. */
Value local_facts(Arena *arena, int root_fd, const FactsOptions *options, Diagnostics *diagnostics);

/* fact-program.c: runs local programs. */
typedef struct FactProgram {
        const char *path; /* absolute */
        /* Set when it has run. */
        char *output; /* malloc()ed, NUL-terminated; only if problem is NULL */
        size_t output_size;
        const char *problem; /* one line, in the arena */
} FactProgram;

/* Runs one list of programs, and calls done for each as it ends; done may take the output. */
void fact_programs_run(Arena *arena, FactProgram *programs, size_t n, usec_t deadline_usec,
        void (*done)(FactProgram *program, void *userdata), void *userdata);

/* Kills what runs, with what it has started: for a handler of SIGTERM, which then ends the process. */
void fact_programs_kill(void);

/* fact-toml.c. Return: 0; -EINVAL with reterr set. */
int fact_parse_toml(
        Arena *arena, const char *file, const char *text, size_t size, Value *ret, Diagnostic *reterr);
