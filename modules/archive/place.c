/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * From a tree that was unpacked without rights to the state's own: owners and modes, by descriptor; then the one rename, or, into
 * a directory that is shared, many.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "archive-internal.h"

static int fail(AgentdContext *c, size_t i, const char *what, const char *path, int r) {
        agentd_failed(c, i, "Failed to %s '%s': %s", what, path, explain(r));
        return -1;
}

/* ---- Owners and modes ------------------------------------------------------------------------------------------ */

static int64_t ctime_of(const struct stat *st) {
        return (int64_t) st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

/* Believes nothing of what it finds: the program that wrote it has read what strangers wrote. Return: 0; -errno. */
static int own_entry(AgentdContext *c, const Archive *archive, Owners *owners, ManifestEntry *entry,
        int tree_fd, uid_t unpacked_by) {
        uid_t uid = entry_uid(c, archive, owners, entry);
        gid_t gid = entry_gid(c, archive, owners, entry);
        _cleanup_close_ int fd = -1;
        struct stat st;

        fd = open_strict(tree_fd, entry->path,
                entry->kind == ENTRY_SYMLINK ? O_PATH
                                             : O_RDONLY | O_NONBLOCK | O_NOCTTY |
                                                       (entry->kind == ENTRY_DIRECTORY ? O_DIRECTORY : 0));
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_uid != unpacked_by || (st.st_mode & 07000) ||
                (entry->kind == ENTRY_FILE && (!S_ISREG(st.st_mode) || st.st_nlink != 1 ||
                                                      (uint64_t) st.st_size != entry->size)) ||
                (entry->kind == ENTRY_SYMLINK && !S_ISLNK(st.st_mode)))
                return -EBADMSG;
        if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
                return -errno;
        if (entry->kind == ENTRY_SYMLINK)
                return 0;
        if (fchmod(fd, entry_mode(archive, entry)) < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (entry->kind == ENTRY_FILE) {
                entry->inode = st.st_ino;
                entry->ctime_nsec = ctime_of(&st);
        }
        return 0;
}

int place_own(AgentdContext *c, size_t i, const Archive *archive, Look *look, Manifest *manifest,
        int tree_fd, uid_t unpacked_by) {
        int64_t n;

        for (size_t k = 0; k < manifest->n_entries; k++) {
                ManifestEntry *entry = &manifest->entries[k];
                int r = own_entry(c, archive, &look->owners, entry, tree_fd, unpacked_by);

                if (r == -EBADMSG) {
                        agentd_failed(c, i, "'%s' was not unpacked as its manifest says", entry->path);
                        return -1;
                }
                if (r < 0)
                        return fail(c, i, "set the owner of", entry->path, r);
        }
        if (fchown(tree_fd, look->owners.uid, look->owners.gid) < 0 ||
                fchmod(tree_fd, 0755 & archive->directory_mode) < 0)
                return fail(c, i, "set the owner of", "tree", -errno);

        /* What is there and in no manifest was put there by somebody whom nobody has asked. */
        n = tree_compare(c, i,
                &(const Archive){
                        .owner = archive->owner,
                        .group = archive->group,
                        .names = archive->names,
                        .file_mode = archive->file_mode,
                        .directory_mode = archive->directory_mode,
                        .purge = true,
                },
                manifest, tree_fd, &look->owners, NULL, false);
        if (n < 0)
                return fail(c, i, "read", "tree", (int) n);
        if (n > 0) {
                agentd_failed(c, i, "it was not unpacked as its manifest says");
                return -1;
        }
        if (syncfs(tree_fd) < 0)
                return fail(c, i, "write", "tree", -errno);
        return 0;
}

/* ---- One rename ------------------------------------------------------------------------------------------------ */

/* Undoes the \ooo of mountinfo, in place. */
static void unescape(char *text) {
        char *to = text;

        for (const char *from = text; *from;) {
                unsigned code;

                if (from[0] == '\\' && sscanf(from + 1, "%3o", &code) == 1 && code < 256 &&
                        strlen(from) >= 4) {
                        *to++ = (char) code;
                        from += 4;
                } else
                        *to++ = *from++;
        }
        *to = 0;
}

/* Return: 1 something is mounted on the directory or below it; 0; -errno. */
static int has_mounts(int fd) {
        char link[64], path[PATH_MAX];
        _cleanup_free_ char *line = NULL;
        size_t allocated = 0, length;
        ssize_t n;
        FILE *file;
        int r = 0;

        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof(path) - 1);
        if (n < 0)
                return -errno;
        path[n] = 0;
        length = (size_t) n;
        file = fopen("/proc/self/mountinfo", "re");
        if (!file)
                return -errno;
        while (r == 0 && getline(&line, &allocated, file) > 0) {
                char *point = line;

                for (int field = 0; point && field < 4; field++) {
                        point = strchr(point, ' ');
                        point = point ? point + 1 : NULL;
                }
                if (!point)
                        continue;
                point[strcspn(point, " ")] = 0;
                unescape(point);
                if (strncmp(point, path, length) == 0 && (point[length] == 0 || point[length] == '/'))
                        r = 1;
        }
        (void) fclose(file);
        return r;
}

static bool is_empty(int fd) {
        _cleanup_closedir_ DIR *dir = NULL;
        int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct dirent *d;

        dir = copy >= 0 ? fdopendir(copy) : NULL;
        if (!dir) {
                closep(&copy);
                return false;
        }
        while ((d = readdir(dir)))
                if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
                        return false;
        return true;
}

/* What may be replaced as a whole: what an archive brought, or nothing at all. */
static int may_replace(AgentdContext *c, size_t i, const Look *look) {
        int r;

        if (!look->manifest.text && !is_empty(look->fd)) {
                agentd_failed(c, i,
                        "'%s' holds what did not come from an archive and would be lost; purge = false "
                        "unpacks beside "
                        "it, or remove it first",
                        look->path);
                return -1;
        }
        r = has_mounts(look->fd);
        if (r < 0)
                return fail(c, i, "find what is mounted on", look->path, r);
        if (r > 0) {
                agentd_failed(c, i,
                        "something is mounted on '%s' or below it, so it cannot be replaced; unmount it, or "
                        "use purge = "
                        "false",
                        look->path);
                return -1;
        }
        return 0;
}

int place_swap(AgentdContext *c, size_t i, const Archive *archive, Look *look, int work_fd) {
        unsigned how = look->fd >= 0 ? RENAME_EXCHANGE : RENAME_NOREPLACE;
        struct stat st;

        if (look->fd >= 0 && may_replace(c, i, look) < 0)
                return -1;
        if (renameat2(work_fd, "tree", look->dir_fd, look->name, how) < 0) {
                if (errno == EINVAL || errno == EXDEV) {
                        agentd_failed(c, i,
                                "the file system of '%s' cannot exchange directories in one step; purge = "
                                "false does "
                                "without",
                                look->path);
                        return -1;
                }
                return fail(c, i, "replace", look->path, -errno);
        }
        /* Somebody else's, that took the place since we looked: it goes back. */
        if (look->fd >= 0 && (fstatat(work_fd, "tree", &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                                     st.st_ino != look->st.st_ino || st.st_dev != look->st.st_dev)) {
                (void) renameat2(work_fd, "tree", look->dir_fd, look->name, RENAME_EXCHANGE);
                return fail(c, i, "replace", look->path, -EBUSY);
        }
        if (fsync(look->dir_fd) < 0)
                return fail(c, i, "write", look->path, -errno);
        return 0;
}

/* ---- Many renames ---------------------------------------------------------------------------------------------- */

/* Files of which there is an undo record, with their contents: a state has room for 1000. */
#define RECORDED_MAX 450

typedef struct Merge {
        AgentdContext *c;
        size_t i;
        size_t n_recorded;
        const Archive *archive;
        Look *look;
        int tree_fd;
        int parent_fd; /* in the destination */
        const char *parent;
        size_t parent_length;
} Merge;

/* Return: 0; -errno. */
static int merge_parent(Merge *merge, const char *path, const char **ret_name) {
        const char *slash = strrchr(path, '/');
        size_t length = slash ? (size_t) (slash - path) : 0;
        char parent[MANIFEST_PATH_MAX] = ".";

        *ret_name = slash ? slash + 1 : path;
        if (merge->parent_fd >= 0 && merge->parent_length == length &&
                strncmp(merge->parent, path, length) == 0)
                return 0;
        if (length > 0) {
                memcpy(parent, path, length);
                parent[length] = 0;
        }
        closep(&merge->parent_fd);
        merge->parent_fd = open_strict(merge->look->fd, parent, O_RDONLY | O_DIRECTORY);
        merge->parent = path;
        merge->parent_length = length;
        return merge->parent_fd < 0 ? merge->parent_fd : 0;
}

static int merge_directory(Merge *merge, const ManifestEntry *entry, const char *name) {
        _cleanup_close_ int fd = -1;
        struct stat st;

        if (mkdirat(merge->parent_fd, name, 0700) < 0) {
                if (errno != EEXIST)
                        return -errno;
                if (fstatat(merge->parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return -errno;
                return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
        }
        fd = open_strict(merge->parent_fd, name, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return fd;
        if (fchown(fd, entry_uid(merge->c, merge->archive, &merge->look->owners, entry),
                    entry_gid(merge->c, merge->archive, &merge->look->owners, entry)) < 0 ||
                fchmod(fd, entry_mode(merge->archive, entry)) < 0)
                return -errno;
        return 0;
}

/* What undoes it: of a file or link that was there before, or that there was none. */
static void record(Merge *merge, const ManifestEntry *entry, const char *name) {
        char what[MANIFEST_PATH_MAX + 32], text[MANIFEST_PATH_MAX];
        _cleanup_close_ int fd = -1;
        AgentdValue value = { .type = AGENTD_STRING, .string = text };
        struct stat st;
        ssize_t n;

        if (merge->n_recorded++ >= RECORDED_MAX)
                return;
        if (fstatat(merge->parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                (void) snprintf(text, sizeof(text), "absent");
        else
                (void) snprintf(text, sizeof(text), "%s %04o %u %u",
                        S_ISREG(st.st_mode)   ? "file"
                        : S_ISLNK(st.st_mode) ? "symlink"
                                              : "special file",
                        st.st_mode & 07777, st.st_uid, st.st_gid);
        value.size = strlen(text);
        (void) snprintf(
                what, sizeof(what), "%s of %s", text[0] == 'a' ? "ensure" : "attributes", entry->path);
        agentd_undo(merge->c, merge->i, what, &value);
        if (text[0] == 'f') {
                fd = open_strict(merge->parent_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
                (void) snprintf(what, sizeof(what), "content of %s", entry->path);
                if (fd >= 0)
                        agentd_keep_file(merge->c, merge->i, what, fd);
        } else if (text[0] == 's' && S_ISLNK(st.st_mode)) {
                n = readlinkat(merge->parent_fd, name, text, sizeof(text) - 1);
                if (n < 0)
                        return;
                text[n] = 0;
                value.size = (size_t) n;
                (void) snprintf(what, sizeof(what), "target of %s", entry->path);
                agentd_undo(merge->c, merge->i, what, &value);
        }
}

static int merge_entry(Merge *merge, ManifestEntry *entry) {
        const char *name;
        struct stat st;
        int r;

        r = merge_parent(merge, entry->path, &name);
        if (r < 0)
                return r;
        if (entry->kind == ENTRY_DIRECTORY) {
                if (fstatat(merge->parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        record(merge, entry, name);
                return merge_directory(merge, entry, name);
        }
        record(merge, entry, name);
        /* Only we can write the tree. */
        if (renameat(merge->tree_fd, entry->path, merge->parent_fd, name) < 0)
                return -errno;
        if (fstatat(merge->parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        /* It is not read again while it is this one; if somebody was faster, it is. */
        if (entry->kind != ENTRY_FILE || st.st_ino != entry->inode)
                entry->inode = 0;
        entry->ctime_nsec = entry->kind == ENTRY_FILE ? ctime_of(&st) : 0; /* a rename is a change */
        return 0;
}

int place_merge(
        AgentdContext *c, size_t i, const Archive *archive, Look *look, Manifest *manifest, int tree_fd) {
        Merge merge = {
                .c = c, .i = i, .archive = archive, .look = look, .tree_fd = tree_fd, .parent_fd = -1
        };
        int r = 0;

        for (size_t k = 0; k < manifest->n_entries && r == 0; k++) {
                r = merge_entry(&merge, &manifest->entries[k]);
                if (r == -ENOTDIR || r == -ELOOP || r == -EISDIR)
                        agentd_failed(c, i,
                                "'%s/%s' is of another kind than in the archive; remove it first",
                                look->path, manifest->entries[k].path);
                else if (r < 0)
                        agentd_failed(c, i, "Failed to put '%s' into '%s': %s", manifest->entries[k].path,
                                look->path, explain(r));
        }
        closep(&merge.parent_fd);
        if (r == 0 && syncfs(look->fd) < 0)
                return fail(c, i, "write", look->path, -errno);
        return r < 0 ? -1 : 0;
}
