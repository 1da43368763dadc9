/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What modules that look through whole trees have in common. It is compiled into each of them.
 *
 * A tree is walked by descriptor, a directory at a time: no symlink is followed, no other file system is entered, and a
 * directory that is moved away meanwhile stays the one that was opened. Nothing here changes anything.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <agentd/module.h>

/* Each level costs descriptors, of which a worker has 1024. */
#define WALK_DEPTH_MAX 128

static inline void walk_close(int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
}

/* Of an int that is initialised: closed at the end of its block, unless it is negative. */
#define WALK_CLOSED __attribute__((cleanup(walk_close)))

/* ---- Directories ----------------------------------------------------------------------------------------------- */

typedef struct Entry {
        uint32_t name;      /* offset in text */
        unsigned char type; /* DT_REG, …, DT_UNKNOWN */
} Entry;

typedef struct Entries {
        char *text;
        size_t size, allocated;
        Entry *list;
        size_t n, n_allocated;
} Entries;

/*
 * entries_read() - all names of an open directory but "." and "..", sorted by their bytes
 * @max: -E2BIG if there are more
 *
 * Return: 0; -errno. Whatever it returns, entries_done() frees.
 */
int entries_read(int fd, size_t max, Entries *ret);
void entries_done(Entries *entries);

#define ENTRIES __attribute__((cleanup(entries_done))) Entries

static inline const char *entry_name(const Entries *entries, size_t i) {
        return entries->text + entries->list[i].name;
}

/*
 * walk_enter() - opens a directory below another for reading
 *
 * Return: a descriptor; -EXDEV: something is mounted there; -ELOOP, -ENOTDIR: it is none; other -errno.
 */
int walk_enter(int dir_fd, const char *name);

/* statx(2) of a name, not followed. Return: 0; -errno. */
int walk_look(int dir_fd, const char *name, struct statx *ret);

/* Whether something is mounted there. */
bool walk_is_mount(const struct statx *file);

/* ---- Paths ----------------------------------------------------------------------------------------------------- */

/* Where the walk is: the top as the state names it, and what came since. */
typedef struct WalkPath {
        size_t top;    /* where the part below the top begins */
        size_t length; /* of all of it */
        char text[PATH_MAX + WALK_DEPTH_MAX * (NAME_MAX + 1) + 1];
        char shown[PATH_MAX];
} WalkPath;

void walk_path_init(WalkPath *path, const char *top);

/* Return: what walk_path_leave() wants. */
size_t walk_path_enter(WalkPath *path, const char *name);
void walk_path_leave(WalkPath *path, size_t length);

static inline const char *walk_path_below(const WalkPath *path) {
        return path->text + path->top;
}

/*
 * For people: control characters and what is no UTF-8 as \n, \xNN, and so on; cut off with "…" if it is very long. Valid until
 * the next call with this path.
 */
const char *walk_path_shown(WalkPath *path);       /* all of it */
const char *walk_path_shown_below(WalkPath *path); /* what is below the top */

/* The same for any text. */
const char *walk_show(const char *text, char *buffer, size_t size);

/* ---- Patterns -------------------------------------------------------------------------------------------------- */

/*
 * pattern_matches() - does a pattern of a role mean this file?
 * @path: relative to the top
 *
 * Patterns are those of fnmatch(3), where a leading dot is like any character. One with a slash (but at its end) is compared
 * with the path, where * and ? do not match a slash; any other with the name. A slash at the end: directories only.
 */
bool pattern_matches(const char *pattern, const char *path, bool is_directory);

/* A list that is ended by NULL, or NULL: no pattern. */
bool patterns_match(const char *const *patterns, const char *path, bool is_directory);

/* From a parameter of type AGENTD_LIST, or AGENTD_NONE. Return: 0; -EINVAL, which was said. */
int patterns_prepare(AgentdPrepare *prepare, int parameter, const char *parameter_name,
        const AgentdValue *value, const char *const **ret);

/* Depth of a parameter of type AGENTD_ANY: a boolean, or how many levels. Return: 0; -EINVAL, which was said. *ret: 0 is false. */
int depth_prepare(AgentdPrepare *prepare, int parameter, const char *parameter_name,
        const AgentdValue *value, uint32_t *ret);

/* A whole number within limits. */
int number_prepare(AgentdPrepare *prepare, int parameter, const char *parameter_name,
        const AgentdValue *value, int64_t min, int64_t max, uint32_t *ret);

/* Whether agentd itself writes a file under this name, and began not long ago. */
bool is_young_temporary(const char *name, const struct statx *file, int64_t now_sec);

/* Directories of the system, which nobody means to clear out. */
bool is_system_directory(const char *path);
