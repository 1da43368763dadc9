/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * tidy: removes what is old, or large, or of certain names, from a directory.
 *
 * The callbacks are at the end. check and apply are the same walk: what may go is told, or removed at once, by the
 * descriptor of its directory and its name.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../common/walk.h"

/* Of so many removals paths are shown; a state is told 1000 differences by agentd. Undo records: two for each. */
#define LISTED_MAX       900
#define LISTED_BYTES_MAX (128 * 1024)

#define SLACK_MAX_USEC (60 * 1000000ll)

#define FILES_MAX_DEFAULT "100000"

enum {
        P_PATH,
        P_AGE,
        P_TIME,
        P_LARGER,
        P_PATTERNS,
        P_EXCLUDE,
        P_RECURSE,
        P_RMDIRS,
        P_MAX_FILES,
        P_FORCE,
};

static const AgentdParameter tidy_parameters[] = {
        [P_PATH] = { .name = "path",
                .type = AGENTD_STRING,
                .flags = AGENTD_PATH,
                .documentation = "the directory; without it, the name of the state" },
        [P_AGE] = { .name = "age",
                .type = AGENTD_TIMESPAN,
                .documentation = "what goes is older than that" },
        [P_TIME] = { .name = "time",
                .type = AGENTD_LIST,
                .documentation =
                        "by which of `mtime`, `atime`, `ctime` it is how old; of several by the newest; "
                        "without it, `mtime`" },
        [P_LARGER] = { .name = "larger",
                .type = AGENTD_BYTES,
                .documentation = "what goes is larger than that" },
        [P_PATTERNS] = { .name = "patterns",
                .type = AGENTD_LIST,
                .documentation = "what goes matches one of them" },
        [P_EXCLUDE] = { .name = "exclude",
                .type = AGENTD_LIST,
                .documentation = "patterns: what stays, directories with all that is below them" },
        [P_RECURSE] = { .name = "recurse",
                .type = AGENTD_ANY,
                .documentation = "how many levels are looked at; true, as without it: all; false: one" },
        [P_RMDIRS] = { .name = "rmdirs",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation =
                        "directories below that are empty, or become so, and old enough, go as well" },
        [P_MAX_FILES] = { .name = "max_files",
                .type = AGENTD_INTEGER,
                .default_value = FILES_MAX_DEFAULT,
                .documentation = "files and directories below, more of which are an error" },
        [P_FORCE] = { .name = "force",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "also in a directory of the system" },
        {},
};

enum {
        TIME_M = 1 << 0,
        TIME_A = 1 << 1,
        TIME_C = 1 << 2,
};

static const struct {
        const char *name;
        unsigned bit;
} times[] = {
        { "mtime", TIME_M },
        { "atime", TIME_A },
        { "ctime", TIME_C },
};

#define NONE (-1)

typedef struct Tidy {
        const char *path;
        int64_t age_usec; /* NONE: whatever its age */
        int64_t larger;   /* NONE: whatever its size */
        const char *const *patterns, *const *exclude;
        unsigned times;
        uint32_t depth;
        uint32_t max_files;
        bool rmdirs;
} Tidy;

typedef struct TidyWalk {
        AgentdContext *c;
        size_t i;
        const Tidy *tidy;
        enum { PASS_COUNT, PASS_CHECK, PASS_APPLY } pass;
        bool asks_owner;
        bool changed;
        struct timespec now;
        size_t n_seen;
        size_t n_listed, listed_bytes, n_more, n_undone;
        WalkPath path;
} TidyWalk;

/* ---- What may go ----------------------------------------------------------------------------------------------- */

static int64_t usec_of(int64_t sec, uint32_t nsec) {
        return sec * 1000000 + nsec / 1000;
}

/* The newest of the times that count. */
static struct statx_timestamp newest(const Tidy *tidy, const struct statx *st) {
        const struct statx_timestamp stamps[] = { st->stx_mtime, st->stx_atime, st->stx_ctime };
        struct statx_timestamp found = { .tv_sec = INT64_MIN };

        for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
                if ((tidy->times & times[i].bit) &&
                        (stamps[i].tv_sec > found.tv_sec ||
                                (stamps[i].tv_sec == found.tv_sec && stamps[i].tv_nsec > found.tv_nsec)))
                        found = stamps[i];
        return found;
}

/* A check is that much later to find a file old than an apply: what comes of age between an apply and the check after it is no
 * failure. */
static int64_t slack(const Tidy *tidy) {
        return tidy->age_usec / 100 < SLACK_MAX_USEC ? tidy->age_usec / 100 : SLACK_MAX_USEC;
}

static bool is_old(const TidyWalk *w, const struct statx *st) {
        struct statx_timestamp stamp = newest(w->tidy, st);
        int64_t now = usec_of(w->now.tv_sec, (uint32_t) w->now.tv_nsec);

        /* Years that no clock has are not old: they overflow. */
        if (stamp.tv_sec > INT64_MAX / 2000000 || stamp.tv_sec < -(INT64_MAX / 2000000))
                return false;
        now -= w->pass == PASS_CHECK ? slack(w->tidy) : 0;
        return now - usec_of(stamp.tv_sec, stamp.tv_nsec) > w->tidy->age_usec;
}

static bool may_go(const TidyWalk *w, const struct statx *st) {
        const Tidy *tidy = w->tidy;

        /* What is no file may be in use without ever being written, as a socket is. */
        if (!S_ISREG(st->stx_mode) && !S_ISLNK(st->stx_mode))
                return false;
        return (tidy->age_usec == NONE || is_old(w, st)) &&
               (tidy->larger == NONE || (S_ISREG(st->stx_mode) && st->stx_size > (uint64_t) tidy->larger)) &&
               (!tidy->patterns || patterns_match(tidy->patterns, walk_path_below(&w->path), false));
}

/* Without an age it may go as soon as it is empty. */
static bool directory_may_go(const TidyWalk *w, const struct statx *st) {
        return w->tidy->rmdirs && (w->tidy->age_usec == NONE || is_old(w, st));
}

/* ---- How it goes ----------------------------------------------------------------------------------------------- */

static int fail(TidyWalk *w, const char *what, int error) {
        agentd_failed(w->c, w->i, "Failed to %s '%s': %s", what, walk_path_shown(&w->path),
                error == -EACCES
                        ? "permission denied; if the file system refuses the user that checks run as, "
                          "check_as_root = true helps"
                        : strerror(-error));
        return -1;
}

/* "12 bytes, mtime 2026-01-31T12:00:00Z" */
static void describe(const TidyWalk *w, const struct statx *st, char *buffer, size_t size) {
        struct statx_timestamp stamp = newest(w->tidy, st);
        time_t sec = (time_t) stamp.tv_sec;
        char when[64] = "?";
        struct tm tm;

        if (gmtime_r(&sec, &tm))
                (void) strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
        if (S_ISDIR(st->stx_mode))
                (void) snprintf(buffer, size, "empty directory, %s", when);
        else
                (void) snprintf(buffer, size, "%s%llu bytes, %s", S_ISLNK(st->stx_mode) ? "symlink, " : "",
                        (unsigned long long) st->stx_size, when);
}

static void tell(TidyWalk *w, const struct statx *st) {
        const char *path;
        char is[128];

        if (w->n_listed >= LISTED_MAX || w->listed_bytes >= LISTED_BYTES_MAX) {
                w->n_more++;
                return;
        }
        describe(w, st, is, sizeof(is));
        path = walk_path_shown_below(&w->path);
        w->n_listed++;
        w->listed_bytes += strlen(path) + 64;
        agentd_differs_string(w->c, w->i, path, is, NULL);
}

/* The content of old files is what one wants to be rid of: it is not kept, only what there was. */
static void record(TidyWalk *w, const struct statx *st) {
        char name[PATH_MAX + 64], is[128];
        AgentdValue value = { .type = AGENTD_STRING, .string = is };

        if (w->n_undone++ >= LISTED_MAX)
                return;
        describe(w, st, is, sizeof(is));
        value.size = strlen(is);
        (void) snprintf(name, sizeof(name), "removed %s", walk_path_shown_below(&w->path));
        agentd_undo(w->c, w->i, name, &value);
}

static int go(TidyWalk *w, int dir_fd, const char *name, const struct statx *st, bool *ret_kept) {
        int r;

        *ret_kept = false;
        if (w->pass == PASS_CHECK)
                tell(w, st);
        if (w->pass != PASS_APPLY)
                return 0;
        record(w, st);
        w->changed = true;
        r = agentd_remove_at(w->c, dir_fd, name, S_ISDIR(st->stx_mode));
        /* Something came into the directory, or instead of the file, in the meantime: the next check looks at that. */
        if (r == -ENOTEMPTY || r == -EEXIST || r == -EISDIR || r == -ENOTDIR) {
                *ret_kept = true;
                return 0;
        }
        return r < 0 ? fail(w, "remove", r) : 0;
}

/* ---- Walking --------------------------------------------------------------------------------------------------- */

static int walk(TidyWalk *w, int fd, unsigned depth, bool *ret_kept);

static int visit_directory(TidyWalk *w, int dir_fd, const char *name, const struct statx *st, bool owned,
        unsigned depth, bool *ret_kept) {
        int fd WALK_CLOSED = -1, r;

        if (depth >= w->tidy->depth) {
                /* Below this nothing is looked at; but it can be empty. */
                ENTRIES entries = {};

                if (owned || !directory_may_go(w, st))
                        return 0;
                fd = walk_enter(dir_fd, name);
                if (fd < 0 || entries_read(fd, 0, &entries) < 0)
                        return 0;
                return go(w, dir_fd, name, st, ret_kept);
        }
        fd = walk_enter(dir_fd, name);
        /* Gone, replaced, or a mount by now. */
        if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP || fd == -EXDEV)
                return 0;
        if (fd < 0)
                return fail(w, "open directory", fd);
        r = walk(w, fd, depth + 1, ret_kept);
        if (r < 0)
                return r;
        if (*ret_kept || owned || !directory_may_go(w, st)) {
                *ret_kept = true;
                return 0;
        }
        return go(w, dir_fd, name, st, ret_kept);
}

/* kept: it will still be there. */
static int visit(TidyWalk *w, int dir_fd, const char *name, unsigned depth, bool *ret_kept) {
        AgentdOwned owned;
        struct statx st;
        int r;

        *ret_kept = true;
        r = walk_look(dir_fd, name, &st);
        if (r == -ENOENT) {
                *ret_kept = false;
                return 0;
        }
        if (r < 0)
                return fail(w, "look at", r);
        if (walk_is_mount(&st) || is_young_temporary(name, &st, w->now.tv_sec) ||
                patterns_match(w->tidy->exclude, walk_path_below(&w->path), S_ISDIR(st.stx_mode)))
                return 0;
        owned = w->asks_owner ? agentd_owned(w->c, w->i, w->path.text) : AGENTD_OWNED_NOT;
        if (owned == AGENTD_OWNED_WHOLE)
                return 0;
        if (S_ISDIR(st.stx_mode))
                return visit_directory(w, dir_fd, name, &st, owned != AGENTD_OWNED_NOT, depth, ret_kept);
        if (owned != AGENTD_OWNED_NOT || !may_go(w, &st))
                return 0;
        return go(w, dir_fd, name, &st, ret_kept);
}

/* depth: of what is in the directory, 1 below the top. */
static int walk(TidyWalk *w, int fd, unsigned depth, bool *ret_kept) {
        ENTRIES entries = {};
        int r;

        *ret_kept = false;
        r = entries_read(fd, w->tidy->max_files - w->n_seen, &entries);
        if (r == -E2BIG) {
                agentd_failed(w->c, w->i,
                        "there are more than %u files and directories below '%s'; nothing was removed; "
                        "'max_files' "
                        "is their limit",
                        w->tidy->max_files, w->tidy->path);
                return -1;
        }
        if (r < 0)
                return fail(w, "read directory", r);
        w->n_seen += entries.n;

        for (size_t k = 0; k < entries.n; k++) {
                size_t before = walk_path_enter(&w->path, entry_name(&entries, k));
                bool kept;

                r = visit(w, fd, entry_name(&entries, k), depth, &kept);
                walk_path_leave(&w->path, before);
                if (r < 0)
                        return -1;
                *ret_kept |= kept;
        }
        return 0;
}

/* Return: a descriptor; -1 if the state is finished. */
static int open_top(AgentdContext *c, size_t i, const Tidy *tidy) {
        const char *name;
        int dir_fd, fd, r;

        r = agentd_open_parent(c, tidy->path, &dir_fd, &name);
        if (r >= 0) {
                fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd >= 0)
                        return fd;
                r = -errno;
        }
        if (r == -ENOENT)
                agentd_done(c, i); /* nothing is there, nothing is old */
        else
                agentd_failed(c, i, "Failed to open directory '%s': %s", tidy->path,
                        r == -ELOOP ? "a symlink is not followed where somebody other than root could have "
                                      "put it, nor "
                                      "if it is the directory itself"
                                    : strerror(-r));
        return -1;
}

static TidyWalk *tidy_walk_new(AgentdContext *c, size_t i, const Tidy *tidy) {
        TidyWalk *w = calloc(1, sizeof(TidyWalk));

        if (!w) {
                agentd_failed(c, i, "out of memory");
                return NULL;
        }
        w->c = c;
        w->i = i;
        w->tidy = tidy;
        w->asks_owner = agentd_owned(c, i, tidy->path) != AGENTD_OWNED_NOT;
        (void) clock_gettime(CLOCK_REALTIME, &w->now);
        return w;
}

static int pass(TidyWalk *w, int which, int fd) {
        bool kept;

        w->pass = which;
        w->n_seen = 0;
        walk_path_init(&w->path, w->tidy->path);
        return walk(w, fd, 1, &kept);
}

static void check_one(AgentdContext *c, size_t i, const Tidy *tidy) {
        int fd WALK_CLOSED = open_top(c, i, tidy);
        TidyWalk *w = fd >= 0 ? tidy_walk_new(c, i, tidy) : NULL;

        if (w && pass(w, PASS_CHECK, fd) >= 0) {
                if (w->n_more > 0)
                        agentd_differs_integer(c, i, "further files", (int64_t) w->n_more, 0);
                agentd_done(c, i);
        }
        free(w);
}

static void apply_one(AgentdContext *c, size_t i, const Tidy *tidy) {
        int fd WALK_CLOSED = open_top(c, i, tidy);
        TidyWalk *w = fd >= 0 ? tidy_walk_new(c, i, tidy) : NULL;
        const char *part;
        int r, synced = 0;

        /* First whether there are too many, before anything is touched. */
        if (w && pass(w, PASS_COUNT, fd) >= 0) {
                r = pass(w, PASS_APPLY, fd);
                if (w->changed)
                        synced = agentd_finish_parts(c, i, fd, &part);
                if (r >= 0 && synced < 0)
                        agentd_failed(c, i, "Failed to sync '%s': %s", tidy->path, strerror(-synced));
                else if (r >= 0)
                        agentd_done(c, i);
        }
        free(w);
}

/* ---- Callbacks ------------------------------------------------------------------------------------------------- */

/* Whether a name is an absolute path in the one spelling of it. */
static bool is_normalised(const char *path) {
        if (path[0] != '/' || strlen(path) >= PATH_MAX)
                return false;
        if (path[1] == 0)
                return true;
        for (const char *part = path; *part;) {
                size_t n = strcspn(++part, "/");

                if (n == 0 || n > NAME_MAX || (n == 1 && part[0] == '.') ||
                        (n == 2 && part[0] == '.' && part[1] == '.'))
                        return false;
                part += n;
        }
        return true;
}

static int prepare_times(AgentdPrepare *prepare, const AgentdValue *p, unsigned *ret) {
        *ret = 0;
        for (uint32_t i = 0; p[P_TIME].type == AGENTD_LIST && i < p[P_TIME].n; i++) {
                unsigned bit = 0;

                for (size_t k = 0; k < sizeof(times) / sizeof(times[0]); k++)
                        if (strcmp(p[P_TIME].items[i].string, times[k].name) == 0)
                                bit = times[k].bit;
                if (bit == 0) {
                        agentd_prepare_error(prepare, P_TIME,
                                "'time' has '%s'; it can have \"mtime\", \"atime\" and \"ctime\"",
                                p[P_TIME].items[i].string);
                        return -EINVAL;
                }
                *ret |= bit;
        }
        if (*ret == 0)
                *ret = TIME_M;
        return 0;
}

/* It comes after those who make the directory. */
static void prepare_order(AgentdPrepare *prepare, const char *path) {
        char id[PATH_MAX + 8], *slash;

        (void) snprintf(id, sizeof(id), "file:%s", path);
        for (;;) {
                agentd_prepare_after(prepare, id);
                slash = strrchr(id, '/');
                if (!slash || slash == id + 5)
                        return;
                *slash = 0;
        }
}

static int tidy_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *p,
        const void **ret_data, unsigned flags) {
        Tidy *tidy = agentd_alloc(prepare, sizeof(Tidy));
        bool has_path = p[P_PATH].type != AGENTD_NONE;
        int r = 0;

        tidy->path = has_path ? p[P_PATH].string : name;
        tidy->age_usec = p[P_AGE].type != AGENTD_NONE ? p[P_AGE].integer : NONE;
        tidy->larger = p[P_LARGER].type != AGENTD_NONE ? p[P_LARGER].integer : NONE;
        tidy->rmdirs = p[P_RMDIRS].boolean;
        tidy->depth = WALK_DEPTH_MAX;

        if (!has_path && !is_normalised(name)) {
                agentd_prepare_error(prepare, -1,
                        "'%s' is no absolute path without '..', '.' and further slashes; with such a name, "
                        "give 'path'",
                        name);
                r = -EINVAL;
        }
        if (tidy->age_usec == NONE && tidy->larger == NONE &&
                (p[P_PATTERNS].type == AGENTD_NONE || p[P_PATTERNS].n == 0)) {
                agentd_prepare_error(
                        prepare, -1, "give at least one of 'age', 'larger' and 'patterns', or all would go");
                r = -EINVAL;
        }
        if (p[P_TIME].type != AGENTD_NONE && tidy->age_usec == NONE) {
                agentd_prepare_error(prepare, P_TIME, "'time' makes no sense without 'age'");
                r = -EINVAL;
        }
        if (prepare_times(prepare, p, &tidy->times) < 0)
                r = -EINVAL;
        if (patterns_prepare(prepare, P_PATTERNS, "patterns", &p[P_PATTERNS], &tidy->patterns) < 0 ||
                patterns_prepare(prepare, P_EXCLUDE, "exclude", &p[P_EXCLUDE], &tidy->exclude) < 0)
                r = -EINVAL;
        if (p[P_PATTERNS].type == AGENTD_LIST && p[P_PATTERNS].n == 0)
                tidy->patterns = NULL;
        if (p[P_RECURSE].type != AGENTD_NONE) {
                if (depth_prepare(prepare, P_RECURSE, "recurse", &p[P_RECURSE], &tidy->depth) < 0)
                        r = -EINVAL;
                if (tidy->depth == 0)
                        tidy->depth = 1;
        }
        if (number_prepare(
                    prepare, P_MAX_FILES, "max_files", &p[P_MAX_FILES], 1, 100000000, &tidy->max_files) < 0)
                r = -EINVAL;
        if (is_system_directory(tidy->path) && !p[P_FORCE].boolean) {
                agentd_prepare_error(prepare, has_path ? P_PATH : -1,
                        "'%s' is a directory of the system; if it is meant, force = true", tidy->path);
                r = -EINVAL;
        }
        if (r < 0)
                return r;
        prepare_order(prepare, tidy->path);
        agentd_prepare_owned(prepare);
        *ret_data = tidy;
        return 0;
}

static int tidy_check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++)
                check_one(c, i, states[i].data);
        return 0;
}

static int tidy_apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++)
                apply_one(c, i, states[i].data);
        return 0;
}

static const AgentdStateType tidy_type = {
        .name = "tidy",
        .documentation = "Removes from a directory what is old, large, or of certain names",
        .parameters = tidy_parameters,
        .batch_max = 8,
        .timeout_usec = 5 * 60 * 1000000ull,
        .prepare = tidy_prepare,
        .check = tidy_check,
        .apply = tidy_apply,
};

AGENTD_MODULE("tidy", "1", &tidy_type);
