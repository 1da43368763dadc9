/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * file: files, directories and symlinks, with content, mode and owner.
 *
 * The callbacks are at the end. Above them: file_look() finds out what is there, file_compare() says what differs,
 * file_make() changes it. check and apply both begin with the first two, since the host may have changed in between.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* for statx() */
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <syslog.h>
#include <unistd.h>

#include <agentd/module.h>

/* A text difference is worth showing up to this size; of larger content only the size is told. */
#define SHOWN_MAX (1024 * 1024)

#define BLOCK_SIZE 65536

enum {
        P_ENSURE,
        P_CONTENT,
        P_SOURCE,
        P_TEMPLATE,
        P_TARGET,
        P_MODE,
        P_OWNER,
        P_GROUP,
        P_PARENTS,
};

enum {
        PARENTS_CREATE,
        PARENTS_MODE,
};

static const char *const ensure_words[] = { "file", "directory", "symlink", "absent", NULL };

static const AgentdParameter parents_fields[] = {
        [PARENTS_CREATE] = { "create", AGENTD_BOOLEAN, 0, "true",
                "make the directories above that are missing" },
        [PARENTS_MODE] = { "mode", AGENTD_MODE, 0, "0755", "their mode" },
        {},
};

static const AgentdParameter file_parameters[] = {
        [P_ENSURE] = { .name = "ensure",
                .type = AGENTD_STRING,
                .default_value = "file",
                .choices = ensure_words,
                .documentation = "what there is to be at the path" },
        [P_CONTENT] = { .name = "content",
                .type = AGENTD_STRING,
                .exclusive = "content",
                .documentation = "the content of the file, as text" },
        [P_SOURCE] = { .name = "source",
                .type = AGENTD_STRING,
                .flags = AGENTD_SOURCE,
                .exclusive = "content",
                .documentation = "a file beside the role, or an absolute path, that has the content" },
        [P_TEMPLATE] = { .name = "template",
                .type = AGENTD_STRING,
                .flags = AGENTD_TEMPLATE,
                .exclusive = "content",
                .documentation =
                        "a Mustache template beside the role, or an absolute path, that makes the content" },
        [P_TARGET] = { .name = "target",
                .type = AGENTD_STRING,
                .documentation = "what the symlink points to" },
        [P_MODE] = { .name = "mode",
                .type = AGENTD_MODE,
                .documentation = "permissions; without it, those of what is there are kept, and what is new "
                                 "has 0644, "
                                 "or 0755 as a directory" },
        [P_OWNER] = { .name = "owner",
                .type = AGENTD_STRING,
                .flags = AGENTD_USER,
                .documentation = "owning user, by name or number; without it, kept, or root" },
        [P_GROUP] = { .name = "group",
                .type = AGENTD_STRING,
                .flags = AGENTD_GROUP,
                .documentation = "owning group, by name or number; without it, kept, or root" },
        [P_PARENTS] = { .name = "parents",
                .type = AGENTD_RECORD,
                .fields = parents_fields,
                .documentation =
                        "what to do about missing directories above; without it, they are an error" },
        {},
};

typedef enum Kind {
        KIND_FILE,
        KIND_DIRECTORY,
        KIND_SYMLINK,
        KIND_ABSENT,
        KIND_OTHER, /* of what is there only */
} Kind;

static const char *const kind_names[] = { "file", "directory", "symlink", "absent", "special file" };

#define KEEP (-1)

typedef struct File {
        Kind kind;
        const char *content; /* NULL: not managed, or in source */
        size_t content_size;
        const char *source; /* absolute path, NULL: none */
        const char *target;
        int64_t mode; /* KEEP: not managed */
        const char *owner, *group;
        bool make_parents;
        mode_t parents_mode;
} File;

/* What is at the path, and what should be, once names are ids. */
typedef struct Look {
        const char *path;
        Kind kind;
        struct statx st; /* unless it is absent */
        int dir_fd;      /* -1: the directory is missing */
        const char *name;
        uid_t uid; /* KEEP: not managed */
        gid_t gid;
        bool owner_to_come, group_to_come; /* does not exist yet, a state before this one makes it */
        bool content_differs, mode_differs, owner_differs, group_differs, target_differs;
} Look;

/* ---- Looking --------------------------------------------------------------------------------------------------- */

static Kind kind_of(mode_t mode) {
        if (S_ISREG(mode))
                return KIND_FILE;
        if (S_ISDIR(mode))
                return KIND_DIRECTORY;
        return S_ISLNK(mode) ? KIND_SYMLINK : KIND_OTHER;
}

/* What is wrong with getting at a path, for people. */
static const char *explain(int r) {
        switch (r) {
        case -ELOOP: return "a symlink on the way could have been put there by somebody other than root";
        case -EACCES:
                return "permission denied; if the file system refuses the user that checks run as, "
                       "check_as_root = true helps";
        default: return strerror(-r);
        }
}

/* Finds the ids of owner and group. Return: 0; -1 if the state is finished. */
static int look_up_ids(AgentdContext *c, size_t i, const File *file, bool pending, Look *look) {
        int r;

        look->uid = (uid_t) KEEP;
        look->gid = (gid_t) KEEP;
        if (file->owner) {
                r = agentd_user_id(c, file->owner, &look->uid);
                if (r == -ESRCH && pending)
                        look->owner_to_come = true;
                else if (r < 0) {
                        agentd_failed(c, i,
                                r == -ESRCH ? "there is no user '%s'" : "Failed to look up user '%s': %s",
                                file->owner, strerror(-r));
                        return -1;
                }
        }
        if (file->group) {
                r = agentd_group_id(c, file->group, &look->gid);
                if (r == -ESRCH && pending)
                        look->group_to_come = true;
                else if (r < 0) {
                        agentd_failed(c, i,
                                r == -ESRCH ? "there is no group '%s'" : "Failed to look up group '%s': %s",
                                file->group, strerror(-r));
                        return -1;
                }
        }
        return 0;
}

/* Return: 0; -1 if the state is finished, as it cannot be. */
static int file_look(AgentdContext *c, size_t i, const AgentdState *state, Look *look) {
        const File *file = state->data;
        bool pending = state->flags & AGENTD_STATE_PENDING;
        int r;

        *look = (Look){ .path = state->name, .kind = KIND_ABSENT, .dir_fd = -1 };
        if (look_up_ids(c, i, file, pending, look) < 0)
                return -1;

        r = agentd_open_parent(c, state->name, &look->dir_fd, &look->name);
        if (r == -ENOENT || (r == -ENOTDIR && file->kind == KIND_ABSENT)) {
                look->dir_fd = -1;
                if (file->kind == KIND_ABSENT || file->make_parents || pending)
                        return 0;
                agentd_failed(c, i,
                        "the directory of '%s' does not exist; parents = { create = true } makes it",
                        state->name);
                return -1;
        }
        if (r < 0) {
                agentd_failed(c, i, "Failed to open the directory of '%s': %s", state->name, explain(r));
                return -1;
        }

        if (statx(look->dir_fd, look->name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS,
                    &look->st) < 0) {
                if (errno == ENOENT)
                        return 0;
                agentd_failed(c, i, "Failed to look at '%s': %s", state->name, explain(-errno));
                return -1;
        }
        look->kind = kind_of(look->st.stx_mode);

        if (look->kind != file->kind && file->kind != KIND_ABSENT) {
                agentd_failed(c, i, "'%s' is a %s and should be a %s; it is not replaced, remove it first",
                        state->name, kind_names[look->kind], kind_names[file->kind]);
                return -1;
        }
        return 0;
}

static int open_regular(int dir_fd, const char *name) {
        int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

        return fd < 0 ? -errno : fd;
}

static int open_source(AgentdContext *c, const File *file) {
        int fd, r = agentd_open_source(c, file->source, &fd);

        return r < 0 ? r : fd;
}

/* pread() until the block is full or the file at its end: a short count at the size it had is believed to be that, which
 * saves a call for each small file. */
static ssize_t read_block(int fd, char *block, off_t offset, off_t file_size) {
        size_t done = 0;

        while (done < BLOCK_SIZE) {
                ssize_t n = pread(fd, block + done, BLOCK_SIZE - done, offset + (off_t) done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                done += (size_t) n;
                if (n == 0 || (done < BLOCK_SIZE && file_size > 0 && offset + (off_t) done == file_size))
                        break;
        }
        return (ssize_t) done;
}

/* Return: 1 equal; 0 not; -errno of reading. */
static int compare_with_content(int fd, const char *content, size_t size) {
        static char block[BLOCK_SIZE];
        size_t offset = 0;

        for (;;) {
                ssize_t n = read_block(fd, block, (off_t) offset, (off_t) size);

                if (n < 0)
                        return (int) n;
                if ((size_t) n > size - offset || memcmp(block, content + offset, (size_t) n) != 0)
                        return 0;
                offset += (size_t) n;
                if (n < BLOCK_SIZE)
                        return offset == size;
        }
}

static int compare_with_file(int fd, off_t size, int source) {
        static char ours[BLOCK_SIZE], theirs[BLOCK_SIZE];
        struct stat st;

        if (fstat(source, &st) < 0)
                return -errno;

        for (off_t offset = 0;; offset += BLOCK_SIZE) {
                ssize_t n = read_block(fd, ours, offset, size),
                        m = read_block(source, theirs, offset, st.st_size);

                if (n < 0 || m < 0)
                        return (int) (n < 0 ? n : m);
                if (n != m || memcmp(ours, theirs, (size_t) n) != 0)
                        return 0;
                if (n < BLOCK_SIZE)
                        return 1;
        }
}

/* Reads what will be shown; NULL if it is too large. */
static char *read_shown(int fd, size_t *ret_size) {
        char *text = malloc(SHOWN_MAX + 1);
        size_t size = 0;

        while (text) {
                ssize_t n = pread(fd, text + size, SHOWN_MAX + 1 - size, (off_t) size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                size += (size_t) n;
                if (size > SHOWN_MAX)
                        break;
        }
        if (text && size > SHOWN_MAX) {
                free(text);
                return NULL;
        }
        *ret_size = size;
        return text;
}

static void report_content(AgentdContext *c, size_t i, const File *file, int fd, int source) {
        char *is = NULL, *from_source = NULL;
        const char *should = file->content;
        size_t is_size = 0, should_size = file->content_size;

        if (fd >= 0)
                is = read_shown(fd, &is_size);
        if (source >= 0)
                should = from_source = read_shown(source, &should_size);

        if (should && should_size <= SHOWN_MAX && (fd < 0 || is))
                agentd_differs_text(c, i, "content", is, is_size, should, should_size);
        else {
                struct stat st = {};
                char a[32] = "", b[32] = "";

                if (fd >= 0 && fstat(fd, &st) == 0)
                        (void) snprintf(a, sizeof(a), "%lld bytes", (long long) st.st_size);
                if (source >= 0 && fstat(source, &st) == 0)
                        should_size = (size_t) st.st_size;
                (void) snprintf(b, sizeof(b), "%zu bytes", should_size);
                agentd_differs_string(c, i, "content", fd >= 0 ? a : NULL, b);
        }
        free(is);
        free(from_source);
}

/* True if content and source are what they were when they were last read and found equal. */
static bool content_is_known(AgentdContext *c, size_t i, const File *file, const Look *look) {
        struct statx files[2] = { look->st };

        if (look->kind != KIND_FILE)
                return false;
        if (file->source && agentd_stat_source(c, file->source, &files[1]) < 0)
                return false;
        return agentd_unchanged(c, i, files, file->source ? 2 : 1);
}

/* Compares the content, and reports it if it differs. Return: 0; -1 if the state is finished. */
static int compare_content(AgentdContext *c, size_t i, const File *file, Look *look) {
        int fd = -1, source = -1, r = 0;

        if ((!file->content && !file->source) || content_is_known(c, i, file, look))
                return 0;
        if (file->source) {
                source = open_source(c, file);
                if (source < 0) {
                        agentd_failed(c, i, "Failed to open source '%s': %s", file->source,
                                source == -ENXIO || source == -EISDIR ? "it is not a regular file"
                                                                      : explain(source));
                        return -1;
                }
        }
        if (look->kind == KIND_FILE) {
                fd = open_regular(look->dir_fd, look->name);
                if (fd < 0) {
                        agentd_failed(c, i, "Failed to open '%s': %s", look->path, explain(fd));
                        r = -1;
                        goto finish;
                }
                if (source < 0 && (size_t) look->st.stx_size != file->content_size)
                        r = 0; /* need not be read */
                else
                        r = source >= 0 ? compare_with_file(fd, look->st.stx_size, source)
                                        : compare_with_content(fd, file->content, file->content_size);
                if (r < 0) {
                        agentd_failed(c, i, "Failed to read '%s': %s", look->path, strerror(-r));
                        r = -1;
                        goto finish;
                }
                look->content_differs = r == 0;
                if (!look->content_differs) {
                        if (source >= 0)
                                agentd_remember(c, i, (const int[]){ fd, source }, 2);
                        else
                                agentd_remember_seen(c, i, &fd, &look->st, 1);
                }
        } else
                look->content_differs = true;

        if (look->content_differs)
                report_content(c, i, file, fd, source);
        r = 0;

finish:
        if (fd >= 0)
                (void) close(fd);
        if (source >= 0)
                (void) close(source);
        return r;
}

static int compare_target(AgentdContext *c, size_t i, const File *file, Look *look) {
        char target[PATH_MAX];
        ssize_t n;

        if (look->kind != KIND_SYMLINK) {
                look->target_differs = true;
                agentd_differs_string(c, i, "target", NULL, file->target);
                return 0;
        }
        n = readlinkat(look->dir_fd, look->name, target, sizeof(target) - 1);
        if (n < 0) {
                agentd_failed(c, i, "Failed to read link '%s': %s", look->path, strerror(errno));
                return -1;
        }
        target[n] = 0;
        if (strcmp(target, file->target) != 0) {
                look->target_differs = true;
                agentd_differs_string(c, i, "target", target, file->target);
        }
        return 0;
}

static void compare_attributes(AgentdContext *c, size_t i, const File *file, Look *look) {
        if (file->mode != KEEP && (look->st.stx_mode & 07777) != (mode_t) file->mode) {
                look->mode_differs = true;
                agentd_differs_mode(c, i, "mode", look->st.stx_mode, (mode_t) file->mode);
        }
        if (look->owner_to_come || (look->uid != (uid_t) KEEP && look->st.stx_uid != look->uid)) {
                look->owner_differs = true;
                agentd_differs_string(c, i, "owner", agentd_user_name(c, look->st.stx_uid), file->owner);
        }
        if (look->group_to_come || (look->gid != (gid_t) KEEP && look->st.stx_gid != look->gid)) {
                look->group_differs = true;
                agentd_differs_string(c, i, "group", agentd_group_name(c, look->st.stx_gid), file->group);
        }
}

/* Reports what differs. Return: 0; -1 if the state is finished. */
static int file_compare(AgentdContext *c, size_t i, const File *file, Look *look) {
        if (look->kind != file->kind)
                agentd_differs_string(c, i, "ensure", kind_names[look->kind], kind_names[file->kind]);
        if (file->kind == KIND_ABSENT)
                return 0;
        if (file->kind == KIND_FILE && compare_content(c, i, file, look) < 0)
                return -1;
        if (file->kind == KIND_SYMLINK && compare_target(c, i, file, look) < 0)
                return -1;
        if (look->kind == file->kind)
                compare_attributes(c, i, file, look);
        return 0;
}

/* ---- Changing -------------------------------------------------------------------------------------------------- */

static void record_undo(AgentdContext *c, size_t i, const File *file, const Look *look) {
        const AgentdValue absent = { .type = AGENTD_STRING, .string = "absent", .size = 6 };
        AgentdValue value;

        if (look->kind == KIND_ABSENT) {
                agentd_undo(c, i, "ensure", &absent);
                return;
        }
        value = (AgentdValue){ .type = AGENTD_INTEGER, .integer = look->st.stx_mode & 07777 };
        agentd_undo(c, i, "mode", &value);
        value.integer = look->st.stx_uid;
        agentd_undo(c, i, "uid", &value);
        value.integer = look->st.stx_gid;
        agentd_undo(c, i, "gid", &value);

        if (look->kind == KIND_SYMLINK && (look->target_differs || file->kind == KIND_ABSENT)) {
                char target[PATH_MAX];
                ssize_t n = readlinkat(look->dir_fd, look->name, target, sizeof(target) - 1);

                if (n >= 0) {
                        target[n] = 0;
                        value = (AgentdValue){ .type = AGENTD_STRING, .string = target, .size = (size_t) n };
                        agentd_undo(c, i, "target", &value);
                }
        }
        if (look->kind == KIND_FILE && (look->content_differs || file->kind == KIND_ABSENT)) {
                int fd = open_regular(look->dir_fd, look->name);
                size_t size;
                char *text = fd >= 0 ? read_shown(fd, &size) : NULL;

                if (text) {
                        value = (AgentdValue){ .type = AGENTD_STRING, .string = text, .size = size };
                        agentd_undo(c, i, "content", &value);
                }
                free(text);
                if (fd >= 0)
                        (void) close(fd);
        }
}

/* The mode that what is there keeps. A new owner or group has not agreed to its set-id bits: they go, as the kernel has
 * it with chown(). */
static mode_t kept_mode(const Look *look, mode_t mode) {
        bool gone = (look->owner_differs || look->group_differs) && !S_ISDIR(look->st.stx_mode);

        return mode & (gone ? 01777 : 07777);
}

/* Whether what was opened has lost the name by which it was opened; also if that cannot be told. */
static bool has_lost_name(int fd) {
        static const char deleted[] = " (deleted)";
        char link[64], path[PATH_MAX];
        size_t length = sizeof(deleted) - 1;
        ssize_t n;

        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof(path));
        return n < 0 || (size_t) n == sizeof(path) ||
               ((size_t) n >= length && memcmp(path + n - length, deleted, length) == 0);
}

/*
 * Sets mode and owner of what is there, by descriptor, so that nothing can be put in its place meanwhile. In a
 * directory that others can write, a file with several names may be a hard link to somebody else's file: hands off.
 */
static int set_attributes(const File *file, const Look *look, const char **ret_error) {
        bool link = file->kind == KIND_SYMLINK;
        struct stat st, dir;
        int fd, r = 0;

        fd = openat(look->dir_fd, look->name,
                link ? O_PATH | O_NOFOLLOW | O_CLOEXEC
                     : O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY |
                                (file->kind == KIND_DIRECTORY ? O_DIRECTORY : 0));
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0 || fstat(look->dir_fd, &dir) < 0)
                r = -errno;
        else if (kind_of(st.st_mode) != file->kind) {
                *ret_error = "it was replaced in the meantime";
                r = -EBUSY;
        } else if (file->kind != KIND_DIRECTORY && ((dir.st_mode & 022) != 0 || dir.st_uid != 0)) {
                if (st.st_nlink > 1) {
                        *ret_error = "it has other hard links, in a directory that others can write";
                        r = -EPERM;
                } else if (has_lost_name(fd)) {
                        /* The one name that was counted is another one. In this order: a name that is still there now
                         * was among those that were counted. */
                        *ret_error = "it was replaced in the meantime";
                        r = -EBUSY;
                }
        }
        /* The owner first: changing it clears set-uid bits. */
        if (r == 0 && (look->owner_differs || look->group_differs) &&
                fchownat(fd, "", look->uid, look->gid, AT_EMPTY_PATH) < 0)
                r = -errno;
        /* A link has no mode, and nothing to sync by its descriptor. */
        if (r == 0 && !link && (file->mode != KEEP || look->owner_differs || look->group_differs) &&
                fchmod(fd, file->mode != KEEP ? (mode_t) file->mode : kept_mode(look, st.st_mode)) < 0)
                r = -errno;
        if (r == 0 && !link && fsync(fd) < 0)
                r = -errno;
        (void) close(fd);
        return r;
}

/* With an access control list the group's bits are its mask: kept as a mode they would let the group in. */
static bool has_acl(const Look *look) {
        int fd = open_regular(look->dir_fd, look->name);
        bool has = fd >= 0 && fgetxattr(fd, "system.posix_acl_access", NULL, 0) > 0;

        if (fd >= 0)
                (void) close(fd);
        return has;
}

#define STAGED 1

/* Return: 0; STAGED if agentd finishes the state; -errno. */
static int file_make(
        AgentdContext *c, size_t i, const AgentdState *state, Look *look, const char **ret_error) {
        const File *file = state->data;
        bool new = look->kind == KIND_ABSENT;
        const AgentdAttributes attributes = {
                .mode = file->mode != KEEP        ? (mode_t) file->mode
                        : !new                    ? kept_mode(look, look->st.stx_mode)
                        : file->kind == KIND_FILE ? 0644
                                                  : 0755,
                .uid = look->uid != (uid_t) KEEP ? look->uid
                       : new                     ? 0
                                                 : look->st.stx_uid,
                .gid = look->gid != (gid_t) KEEP ? look->gid
                       : new                     ? 0
                                                 : look->st.stx_gid,
        };
        int r;

        if (file->kind == KIND_ABSENT)
                return agentd_remove(c, state->name);

        if (look->dir_fd < 0) {
                const AgentdAttributes parents = { .mode = file->parents_mode };

                r = agentd_make_parents(c, state->name, &parents);
                if (r < 0)
                        return r;
        }

        if (file->kind == KIND_SYMLINK && look->target_differs)
                return agentd_replace_symlink(c, state->name, file->target, attributes.uid, attributes.gid);
        if (file->kind == KIND_DIRECTORY && new)
                return agentd_make_directory(c, state->name, &attributes);
        if (file->kind == KIND_FILE && (new || look->content_differs)) {
                if (!new && file->mode == KEEP && has_acl(look)) {
                        *ret_error = "it has an access control list, which would be lost; give 'mode' to go "
                                     "without";
                        return -EOPNOTSUPP;
                }
                if (file->source) {
                        int source = open_source(c, file);

                        if (source < 0)
                                return source;
                        r = agentd_stage_file_from(c, i, state->name, source, &attributes);
                        (void) close(source);
                } else
                        r = agentd_stage_file(c, i, state->name, file->content ? file->content : "",
                                file->content_size, &attributes);
                return r < 0 ? r : STAGED;
        }
        return set_attributes(file, look, ret_error);
}

/* ---- Callbacks ------------------------------------------------------------------------------------------------- */

/* Which parameters make sense for which kind: bits of the kinds. */
static const struct {
        int parameter;
        unsigned kinds;
} sense[] = {
        { P_CONTENT, 1u << KIND_FILE },
        { P_SOURCE, 1u << KIND_FILE },
        { P_TEMPLATE, 1u << KIND_FILE },
        { P_TARGET, 1u << KIND_SYMLINK },
        { P_MODE, 1u << KIND_FILE | 1u << KIND_DIRECTORY },
        { P_OWNER, 1u << KIND_FILE | 1u << KIND_DIRECTORY | 1u << KIND_SYMLINK },
        { P_GROUP, 1u << KIND_FILE | 1u << KIND_DIRECTORY | 1u << KIND_SYMLINK },
        { P_PARENTS, 1u << KIND_FILE | 1u << KIND_DIRECTORY | 1u << KIND_SYMLINK },
};

static int file_prepare(AgentdPrepare *prepare, const char *name, const AgentdValue *p,
        const void **ret_data, unsigned flags) {
        File *file = agentd_alloc(prepare, sizeof(File));
        int r = 0;

        while (strcmp(ensure_words[file->kind], p[P_ENSURE].string) != 0)
                file->kind++;

        for (size_t i = 0; i < sizeof(sense) / sizeof(sense[0]); i++)
                if (p[sense[i].parameter].type != AGENTD_NONE && !(sense[i].kinds & 1u << file->kind)) {
                        agentd_prepare_error(prepare, sense[i].parameter,
                                "'%s' makes no sense with ensure = \"%s\"%s",
                                file_parameters[sense[i].parameter].name, ensure_words[file->kind],
                                sense[i].parameter == P_TARGET ? "; did you mean ensure = \"symlink\"?"
                                                               : "");
                        r = -EINVAL;
                }
        if (file->kind == KIND_SYMLINK && p[P_TARGET].type == AGENTD_NONE) {
                agentd_prepare_error(prepare, -1, "a symlink needs 'target'");
                r = -EINVAL;
        }
        if (p[P_TARGET].type != AGENTD_NONE &&
                (p[P_TARGET].size == 0 || strlen(p[P_TARGET].string) != p[P_TARGET].size ||
                        p[P_TARGET].size >= PATH_MAX)) {
                agentd_prepare_error(prepare, P_TARGET,
                        "'target' must be a path: not empty, without NUL, not longer than %d bytes",
                        PATH_MAX - 1);
                r = -EINVAL;
        }
        if (name[1] == 0 && file->kind != KIND_DIRECTORY) {
                agentd_prepare_error(prepare, -1, "'/' is a directory, and cannot be anything else");
                r = -EINVAL;
        }
        if (r < 0)
                return r;

        for (int k = P_CONTENT; k <= P_TEMPLATE; k += P_TEMPLATE - P_CONTENT)
                if (p[k].type != AGENTD_NONE) {
                        file->content = p[k].string;
                        file->content_size = p[k].size;
                }
        file->source = p[P_SOURCE].type != AGENTD_NONE ? p[P_SOURCE].string : NULL;
        file->target = p[P_TARGET].type != AGENTD_NONE ? p[P_TARGET].string : NULL;
        file->mode = p[P_MODE].type != AGENTD_NONE ? p[P_MODE].integer : KEEP;
        file->owner = p[P_OWNER].type != AGENTD_NONE ? p[P_OWNER].string : NULL;
        file->group = p[P_GROUP].type != AGENTD_NONE ? p[P_GROUP].string : NULL;
        if (p[P_PARENTS].type != AGENTD_NONE) {
                file->make_parents = p[P_PARENTS].items[PARENTS_CREATE].boolean;
                file->parents_mode = (mode_t) p[P_PARENTS].items[PARENTS_MODE].integer;
        }
        if (file->kind == KIND_FILE)
                agentd_prepare_path_kind(prepare, AGENTD_PATH_LEAF);
        else if (file->kind == KIND_ABSENT)
                agentd_prepare_path_kind(prepare, AGENTD_PATH_ABSENT);
        *ret_data = file;
        return 0;
}

static int file_watch(AgentdWatch *watch, const AgentdState *state, unsigned flags) {
        agentd_watch_path(watch, state->name);
        return 0;
}

static int file_check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                Look look;

                if (file_look(c, i, &states[i], &look) < 0)
                        continue;
                if (file_compare(c, i, states[i].data, &look) < 0)
                        continue;
                agentd_done(c, i);
        }
        return 0;
}

static int file_apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++) {
                const File *file = states[i].data;
                const char *error = NULL;
                Look look;
                int r;

                if (file_look(c, i, &states[i], &look) < 0)
                        continue;
                if (file_compare(c, i, file, &look) < 0)
                        continue;
                record_undo(c, i, file, &look);
                r = file_make(c, i, &states[i], &look, &error);
                if (r < 0)
                        agentd_failed(c, i, "Failed to %s %s '%s': %s",
                                file->kind == KIND_ABSENT ? "remove" : "make",
                                kind_names[file->kind == KIND_ABSENT ? look.kind : file->kind],
                                states[i].name, error ? error : explain(r));
                else if (r != STAGED)
                        agentd_done(c, i);
        }
        return 0;
}

static const AgentdStateType file_type = {
        .name = "file",
        .documentation = "Keeps a file, directory or symlink as declared, or absent",
        .parameters = file_parameters,
        .flags = AGENTD_NAME_IS_PATH,
        .batch_max = 256,
        .timeout_usec = 30 * 1000000ull,
        .prepare = file_prepare,
        .watch = file_watch,
        .check = file_check,
        .apply = file_apply,
};

AGENTD_MODULE("file", "1", &file_type);
