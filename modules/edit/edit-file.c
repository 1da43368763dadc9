/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The file that states edit. Those of one file come in one batch, side by side, in the order of their declaration: they are
 * composed, and written once. Files of a batch are staged, so that all of them are made durable together.
 */

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <time.h>

#include "../common/validate.h"
#include "edit-file.h"
#include "paths.h"

/* How long somebody who has the file open for writing is waited for. */
#define WRITERS_USEC (5 * USEC_PER_SEC)

/* How long whoever holds locks is, in all of a batch. */
#define LOCKS_USEC (5 * USEC_PER_SEC)

/* What is at the path. */
typedef struct Look {
        const char *path;
        int dir_fd; /* the context's; -1: there is no directory */
        const char *name;
        int fd; /* -1: there is no file */
        char *text;
        size_t size;
        struct stat st;    /* of when it was read */
        char *leads;       /* of a symlink: what is said of it */
        const char *error; /* what is wrong */
} Look;

static const char *explain(int r) {
        switch (r) {
        case -ELOOP: return "a symlink on the way could have been put there by somebody other than root";
        case -EISDIR: return "it is a directory";
        case -ENXIO:
        case -EINVAL: return "it is not a regular file";
        case -EFBIG: return "it is larger than 16 MiB, which is too large to be edited";
        case -EAGAIN: return "it keeps changing while it is read";
        case -EACCES:
                return "permission denied; if the file system refuses the user that checks run as, "
                       "check_as_root = true helps";
        default: return strerror(-r);
        }
}

/* Return: 0; -errno; -EAGAIN: it was changed meanwhile. */
static int read_once(int fd, char **ret, size_t *ret_size, struct stat *ret_stat) {
        _cleanup_free_ char *text = NULL;
        struct stat before, after;
        size_t allocated, size = 0;

        if (fstat(fd, &before) < 0)
                return -errno;
        if (!S_ISREG(before.st_mode))
                return S_ISDIR(before.st_mode) ? -EISDIR : -ENXIO;
        if (before.st_size > (off_t) EDIT_SIZE_MAX)
                return -EFBIG;
        allocated = (size_t) before.st_size + 1;
        text = malloc(allocated + 1);
        if (!text)
                return -ENOMEM;
        while (size < allocated) {
                ssize_t n = pread(fd, text + size, allocated - size, (off_t) size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                size += (size_t) n;
        }
        if (fstat(fd, &after) < 0)
                return -errno;
        if (size != (size_t) before.st_size || after.st_size != before.st_size ||
                memcmp(&after.st_mtim, &before.st_mtim, sizeof(after.st_mtim)) != 0)
                return -EAGAIN;
        text[size] = 0;
        *ret = TAKE_PTR(text);
        *ret_size = size;
        *ret_stat = after;
        return 0;
}

static void look_done(Look *look) {
        safe_close(look->fd);
        free(look->text);
        free(look->leads);
}

/* Takes away "x/..", by text alone: for people. */
static void drop_parents(char *path) {
        char *to = path;

        for (const char *p = path; *p;) {
                size_t n = strcspn(p + 1, "/") + 1;

                if (n == 3 && startswith(p, "/.."))
                        while (to > path && *--to != '/')
                                ;
                else {
                        memmove(to, p, n);
                        to += n;
                }
                p += n;
        }
        *to = 0;
}

/* The path of the file is to be that which is edited, so that two states of one file are known to be that: say which it is. */
static const char *explain_symlink(Look *look) {
        static const char message[] = "it is a symlink; name the file that it leads to";
        _cleanup_free_ char *joined = NULL, *normal = NULL;
        char target[PATH_MAX];
        ssize_t n = readlinkat(look->dir_fd, look->name, target, sizeof(target));

        if (n <= 0 || (size_t) n == sizeof(target))
                return message;
        if (asprintf(&joined, "%.*s%.*s", target[0] == '/' ? 0 : (int) (look->name - look->path), look->path,
                    (int) n, target) < 0) {
                joined = NULL;
                return message;
        }
        drop_parents(joined);
        drop_parents(joined);
        if (path_normalise(joined, &normal) < 0 || asprintf(&look->leads, "%s: '%s'", message, normal) < 0) {
                look->leads = NULL;
                return message;
        }
        return look->leads;
}

/*
 * Many programs write a file in place: they truncate it, and write it anew. Who looks in between sees half of it; to make the
 * edits on that half would do away with the other. A lease is to be had only while nobody has the file open for writing.
 * Who keeps it open without end is not waited for any longer than this, and file systems without leases not at all.
 */
static void wait_for_writers(int fd) {
        usec_t end = now_usec(CLOCK_MONOTONIC) + WRITERS_USEC;

        /* If somebody opens it while we have the lease we are told, by a signal that means nothing. */
        if (fcntl(fd, F_SETSIG, SIGURG) < 0)
                return;
        while (fcntl(fd, F_SETLEASE, F_RDLCK) < 0) {
                const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };

                if ((errno != EAGAIN && errno != EINTR) || now_usec(CLOCK_MONOTONIC) >= end)
                        return;
                (void) nanosleep(&pause, NULL);
        }
        (void) fcntl(fd, F_SETLEASE, F_UNLCK);
}

/* settled: not while it is being written. Return: 0, also if there is no file; -errno, and look->error says what. */
static int look_at(AgentdContext *c, const char *path, bool settled, Look *ret) {
        int r;

        *ret = (Look){ .path = path, .dir_fd = -1, .fd = -1 };
        r = agentd_open_parent(c, path, &ret->dir_fd, &ret->name);
        if (r == -ENOENT) {
                ret->dir_fd = -1;
                return 0;
        }
        if (r < 0) {
                ret->error = explain(r);
                return r;
        }
        ret->fd = openat(ret->dir_fd, ret->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (ret->fd < 0) {
                if (errno == ENOENT)
                        return 0;
                r = -errno;
                ret->error = r == -ELOOP ? explain_symlink(ret) : explain(r);
                return r;
        }
        if (settled)
                wait_for_writers(ret->fd);
        for (int i = 0; i < 3; i++) {
                r = read_once(ret->fd, &ret->text, &ret->size, &ret->st);
                if (r != -EAGAIN)
                        break;
        }
        if (r < 0)
                ret->error = explain(r);
        return r;
}

/* How many states from the first on are about the same file. */
static size_t group_size(const AgentdState *states, size_t n) {
        size_t size = 1;

        while (size < n &&
                streq(((const Edit *) states[size].data)->path, ((const Edit *) states[0].data)->path))
                size++;
        return size;
}

/* What there is not need not be edited to be without something. Finishes the state, or not. */
static bool finish_missing(
        AgentdContext *c, size_t i, const AgentdState *state, const Look *look, bool create) {
        const Edit *edit = state->data;

        if (edit->absent || (edit->operation == EDIT_KEYS && !edit->table)) {
                agentd_done(c, i);
                return true;
        }
        if (create && (look->dir_fd >= 0 || state->flags & AGENTD_STATE_PENDING))
                return false;
        if (state->flags & AGENTD_STATE_PENDING)
                agentd_unknown(
                        c, i, "'%s' is not there yet: something before this would make it", edit->path);
        else if (create)
                agentd_failed(c, i, "the directory of '%s' does not exist", edit->path);
        else
                agentd_failed(c, i, "there is no file '%s'; create = true makes it", edit->path);
        return true;
}

/* Composes the edits of a file. Return: 0; -errno: all are finished. */
static int compose(AgentdContext *c, const AgentdState *states, size_t first, size_t n, const Look *look,
        Part *parts, Buffer *ret) {
        const AgentdState *group = states + first;
        bool create = false;
        size_t n_parts = 0;
        int r;

        for (size_t i = 0; i < n; i++)
                create = create || ((const Edit *) group[i].data)->create;
        for (size_t i = 0; i < n; i++) {
                parts[i] = (Part){ .edit = group[i].data, .id = group[i].id };
                if (look->fd < 0 && finish_missing(c, first + i, &group[i], look, create))
                        (void) edit_error(&parts[i].error, -ENOENT, "it is finished");
                else
                        n_parts++;
        }
        if (n_parts == 0)
                return -ENOENT;
        r = edit_compose(parts, n, look->text ?: "", look->size, ret);
        for (size_t i = 0; i < n && r < 0; i++)
                agentd_failed(c, first + i, "Failed to edit '%s': %s", look->path, strerror(-r));
        for (size_t i = 0; i < n; i++)
                if (r == 0 && parts[i].error)
                        agentd_failed(c, first + i, "Failed to edit '%s': %s", look->path, parts[i].error);
        return r;
}

/* ---- Check ----------------------------------------------------------------------------------------------------- */

/* True if nothing has changed since all of them were last found as declared. */
static bool all_unchanged(AgentdContext *c, const AgentdState *states, size_t first, size_t n) {
        struct statx file;
        const char *name;
        int dir_fd;

        if (agentd_open_parent(c, ((const Edit *) states[first].data)->path, &dir_fd, &name) < 0)
                return false;
        if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &file) < 0)
                return false;
        for (size_t i = first; i < first + n; i++)
                if (!agentd_unchanged(c, i, &file, 1))
                        return false;
        return true;
}

static void report(AgentdContext *c, size_t i, const Part *part) {
        char is[32], should[32];

        if (part->before && part->after) {
                agentd_differs_text(
                        c, i, "content", part->before, part->before_size, part->after, part->after_size);
                return;
        }
        (void) snprintf(is, sizeof(is), "%zu bytes", part->before_size);
        (void) snprintf(should, sizeof(should), "%zu bytes", part->after_size);
        agentd_differs_string(c, i, "content", is, should);
}

static void check_group(AgentdContext *c, const AgentdState *states, size_t first, size_t n, Part *parts) {
        const char *path = ((const Edit *) states[first].data)->path;
        _cleanup_(look_done) Look look = { .fd = -1 };
        Buffer result = {};
        bool first_change = true;

        if (all_unchanged(c, states, first, n)) {
                for (size_t i = first; i < first + n; i++)
                        agentd_done(c, i);
                return;
        }
        if (look_at(c, path, false, &look) < 0) {
                for (size_t i = first; i < first + n; i++)
                        agentd_failed(c, i, "Failed to read '%s': %s", path, look.error);
                return;
        }
        if (compose(c, states, first, n, &look, parts, &result) == 0)
                for (size_t i = 0; i < n; i++) {
                        if (parts[i].error)
                                continue;
                        if (look.fd < 0 && first_change)
                                agentd_differs_text(c, first + i, "content", NULL, 0, parts[i].after ?: "",
                                        parts[i].after_size);
                        else if (parts[i].changes)
                                report(c, first + i, &parts[i]);
                        else if (look.fd >= 0)
                                agentd_remember(c, first + i, &look.fd, 1);
                        first_change = false;
                        agentd_done(c, first + i);
                }
        edit_parts_done(parts, n);
        buffer_done(&result);
}

int edit_check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        _cleanup_free_ Part *parts = calloc(n, sizeof(Part));

        if (!parts)
                return -ENOMEM;
        for (size_t i = 0, size; i < n; i += size) {
                size = group_size(states + i, n - i);
                check_group(c, states, i, size, parts);
        }
        return 0;
}

/* ---- Locks ----------------------------------------------------------------------------------------------------- */

#define LOCKS_MAX 32

/* Of the directories of files that are staged: others that edit files may lock them as well. */
typedef struct Locks {
        struct {
                int fd;
                dev_t device;
                ino_t inode;
        } held[LOCKS_MAX];
        size_t n;
        usec_t waited_usec;
        bool warned;
} Locks;

static void locks_release(Locks *locks) {
        for (size_t i = 0; i < locks->n; i++)
                (void) close(locks->held[i].fd);
        locks->n = 0;
}

static bool is_locked(const Locks *locks, const struct stat *st) {
        for (size_t i = 0; i < locks->n; i++)
                if (locks->held[i].device == st->st_dev && locks->held[i].inode == st->st_ino)
                        return true;
        return false;
}

/* Everybody who may read a directory can lock it, and keep it so: then it is to be had without. Return: 1; 0: without; -errno. */
static int wait_for_lock(AgentdContext *c, Locks *locks, int fd, const char *path) {
        usec_t begin = now_usec(CLOCK_MONOTONIC), waited = locks->waited_usec;

        while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };

                if (errno == EINTR)
                        continue;
                if (errno != EWOULDBLOCK)
                        return -errno;
                if (locks->waited_usec >= LOCKS_USEC) {
                        if (!locks->warned)
                                agentd_log(c, 4,
                                        "The directory of '%s' is kept locked by somebody; what is to be "
                                        "edited there is edited all the same",
                                        path);
                        locks->warned = true;
                        return 0;
                }
                (void) nanosleep(&pause, NULL);
                locks->waited_usec = waited + (now_usec(CLOCK_MONOTONIC) - begin);
        }
        return 1;
}

/* Who holds one lock waits for no other: somebody may hold that and wait for ours. */
static int lock_directory(AgentdContext *c, Locks *locks, const char *path) {
        _cleanup_close_ int fd = -EBADF;
        const char *name;
        struct stat st;
        int dir_fd, r;

        r = agentd_open_parent(c, path, &dir_fd, &name);
        if (r < 0)
                return r;
        fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (is_locked(locks, &st))
                return 0;
        if (locks->n == LOCKS_MAX || (locks->n > 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)) {
                agentd_finish_staged(c);
                locks_release(locks);
        }
        if (locks->n == 0) {
                r = wait_for_lock(c, locks, fd, path);
                if (r <= 0)
                        return r;
        }
        locks->held[locks->n].device = st.st_dev;
        locks->held[locks->n].inode = st.st_ino;
        locks->held[locks->n++].fd = TAKE_FD(fd);
        return 0;
}

/* ---- Apply ----------------------------------------------------------------------------------------------------- */

/* A new text, on its way to the file. */
typedef struct Writing {
        size_t first; /* index in the batch, of the first part */
        const Part *parts;
        size_t n;
        const Look *look;
        char error[VALIDATE_ERROR_MAX + 256]; /* empty: what the call returns says it */
} Writing;

static bool same_command(const char *const *a, const char *const *b) {
        size_t i;

        for (i = 0; a[i] && b[i] && streq(a[i], b[i]); i++)
                ;
        return !a[i] && !b[i];
}

static bool is_asked_already(const Writing *writing, size_t part) {
        for (size_t i = 0; i < part; i++)
                if (!writing->parts[i].error && writing->parts[i].edit->validate &&
                        same_command(writing->parts[i].edit->validate, writing->parts[part].edit->validate))
                        return true;
        return false;
}

/* The new file has not taken its place: has nobody changed the old one since it was read, and do all agree? */
static int finish_file(AgentdContext *c, _unused_ int fd, const char *path, void *userdata) {
        char error[VALIDATE_ERROR_MAX];
        Writing *writing = userdata;
        const struct stat *st = &writing->look->st;
        struct stat now;

        if (writing->look->fd >= 0) {
                if (fstat(writing->look->fd, &now) < 0)
                        return -errno;
                if (now.st_size != st->st_size || now.st_mtim.tv_sec != st->st_mtim.tv_sec ||
                        now.st_mtim.tv_nsec != st->st_mtim.tv_nsec)
                        return -ESTALE;
        }
        for (size_t i = 0; i < writing->n; i++) {
                const Part *part = &writing->parts[i];
                int r;

                if (part->error || !part->edit->validate || is_asked_already(writing, i))
                        continue;
                r = validate_run(c, writing->first + i, part->edit->validate, path, error);
                if (r < 0) {
                        (void) snprintf(writing->error, sizeof(writing->error), "'validate' of %.200s: %s",
                                part->id, error);
                        return r;
                }
        }
        return 0;
}

/* Return: 0, and the states are finished when it is in its place; -errno. */
/* Of a file that is made. */
static int attributes_of(AgentdContext *c, const Edit *edit, Writing *writing, AgentdAttributes *ret) {
        int r;

        ret->mode = edit->mode;
        if (edit->owner) {
                r = agentd_user_id(c, edit->owner, &ret->uid);
                if (r < 0) {
                        (void) snprintf(writing->error, sizeof(writing->error), "there is no user '%s'",
                                edit->owner);
                        return r;
                }
        }
        /* Where there is no such group, nobody else needs to read it. */
        if (edit->group && agentd_group_id(c, edit->group, &ret->gid) < 0)
                ret->gid = 0;
        return 0;
}

static int write_file(AgentdContext *c, Writing *writing, const Buffer *text) {
        const AgentdValue absent = { .type = AGENTD_STRING, .string = "absent", .size = 6 };
        const Look *look = writing->look;
        AgentdReplacement replacement = {
                .size = sizeof(replacement),
                .content = text->data ?: "",
                .content_size = text->size,
                .fd = -1,
                .flags = AGENTD_REPLACE_STAGED | (look->fd >= 0 ? AGENTD_REPLACE_REWRITE : 0),
                .finish = finish_file,
                .userdata = writing,
                .old_fd = look->fd,
                .n_states = (uint32_t) writing->n,
        };
        size_t changed = 0, creator = 0;
        int r;

        while (changed < writing->n && !writing->parts[changed].changes)
                changed++;
        if (changed == writing->n)
                for (changed = 0; writing->parts[changed].error;)
                        changed++;
        if (look->fd >= 0)
                agentd_keep(c, writing->first + changed, "content", look->text, look->size);
        else {
                while (creator + 1 < writing->n &&
                        (writing->parts[creator].error || !writing->parts[creator].edit->create))
                        creator++;
                r = attributes_of(c, writing->parts[creator].edit, writing, &replacement.attributes);
                if (r < 0)
                        return r;
                agentd_undo(c, writing->first + changed, "ensure", &absent);
        }
        return agentd_replace(c, writing->first, look->path, &replacement);
}

static void apply_group(
        AgentdContext *c, const AgentdState *states, size_t first, size_t n, Part *parts, Locks *locks) {
        const char *path = ((const Edit *) states[first].data)->path;
        _cleanup_(look_done) Look look = { .fd = -1 };
        Writing writing = { .first = first, .parts = parts, .n = n, .look = &look };
        bool write = false;
        Buffer result = {};
        int r;

        r = lock_directory(c, locks, path);
        if (r < 0)
                look.error = explain(r);
        if (r < 0 || look_at(c, path, true, &look) < 0) {
                for (size_t i = first; i < first + n; i++)
                        agentd_failed(c, i, "Failed to read '%s': %s", path, look.error);
                return;
        }
        if (compose(c, states, first, n, &look, parts, &result) == 0) {
                for (size_t i = 0; i < n; i++)
                        write = write || (!parts[i].error && (parts[i].changes || look.fd < 0));
                r = write ? write_file(c, &writing, &result) : 0;
                for (size_t i = 0; i < n && (r < 0 || !write); i++)
                        if (parts[i].error)
                                continue;
                        else if (r < 0)
                                agentd_failed(c, first + i, "Failed to write '%s': %s", path,
                                        writing.error[0] ? writing.error
                                        : r == -ESTALE   ? "it was changed by somebody else in the meantime"
                                                         : explain(r));
                        else
                                agentd_done(c, first + i);
        }
        edit_parts_done(parts, n);
        buffer_done(&result);
}

int edit_apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        _cleanup_free_ Part *parts = calloc(n, sizeof(Part));
        Locks locks = {};

        if (!parts)
                return -ENOMEM;
        for (size_t i = 0, size; i < n; i += size) {
                size = group_size(states + i, n - i);
                apply_group(c, states, i, size, parts, &locks);
        }
        agentd_finish_staged(c);
        locks_release(&locks);
        return 0;
}
