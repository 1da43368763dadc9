/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A directory against what came out of the archive. Directory by directory: what is in it is looked up in the manifest; what the
 * manifest has besides is missing.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "archive-internal.h"

#ifndef F2FS_SUPER_MAGIC
#define F2FS_SUPER_MAGIC 0xF2F52010
#endif
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

#define BLOCK_SIZE 65536

typedef struct Compare {
        AgentdContext *c;
        size_t i;
        const Archive *archive;
        Manifest *manifest;
        Owners *owners;
        CompareReport report;
        bool content;
        bool trusted; /* a file system on which a change of a file shows in its ctime */
        int64_t n_differences;
} Compare;

int open_strict(int fd, const char *path, uint64_t flags) {
        const struct open_how how = {
                .flags = flags | O_NOFOLLOW | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
        };

        /* EAGAIN: something was renamed meanwhile, anywhere. */
        for (unsigned i = 0;; i++) {
                int r = (int) syscall(SYS_openat2, fd, path, &how, sizeof(how));

                if (r >= 0)
                        return r;
                if ((errno != EAGAIN && errno != EINTR) || i >= 100)
                        return -errno;
        }
}

/* ---- What is wanted -------------------------------------------------------------------------------------------- */

mode_t entry_mode(const Archive *archive, const ManifestEntry *entry) {
        if (entry->kind == ENTRY_SYMLINK)
                return 0777;
        return entry->mode & (entry->kind == ENTRY_FILE ? archive->file_mode : archive->directory_mode);
}

/* Names that are not known here, and those that come after so many different ones, stand for the state's own. */
static uint32_t find_id(AgentdContext *c, Owners *owners, const char *name, bool group) {
        uint32_t id = group ? owners->gid : owners->uid;
        size_t n = owners->n_known;
        uid_t uid;
        gid_t gid;

        for (size_t i = 0; i < n; i++)
                if (owners->known[i].group == group && strcmp(owners->known[i].name, name) == 0)
                        return owners->known[i].id;
        if (n == sizeof(owners->known) / sizeof(owners->known[0]))
                return id;
        if (group && agentd_group_id(c, name, &gid) == 0)
                id = gid;
        if (!group && agentd_user_id(c, name, &uid) == 0)
                id = uid;
        owners->known[n].name = name;
        owners->known[n].id = id;
        owners->known[n].group = group;
        owners->n_known++;
        return id;
}

uid_t entry_uid(AgentdContext *c, const Archive *archive, Owners *owners, const ManifestEntry *entry) {
        return archive->names && entry->owner ? find_id(c, owners, entry->owner, false) : owners->uid;
}

gid_t entry_gid(AgentdContext *c, const Archive *archive, Owners *owners, const ManifestEntry *entry) {
        return archive->names && entry->group ? find_id(c, owners, entry->group, true) : owners->gid;
}

/* ---- What is there --------------------------------------------------------------------------------------------- */

static const char *kind_of(mode_t mode) {
        if (S_ISREG(mode))
                return "file";
        if (S_ISDIR(mode))
                return "directory";
        return S_ISLNK(mode) ? "symlink" : "special file";
}

static const char *const kind_names[] = { "file", "directory", "symlink" };

/* "PATH" or "PATH: WHAT", in which control characters are shown as "?". */
static void differs(
        Compare *compare, const char *path, const char *what, const char *is, const char *should) {
        char attribute[MANIFEST_PATH_MAX + 64];

        compare->n_differences++;
        if (!compare->report)
                return;
        (void) snprintf(attribute, sizeof(attribute), what ? "%s: %s" : "%s", path, what);
        for (char *p = attribute; *p; p++)
                if ((unsigned char) *p < 0x20 || *p == 0x7f)
                        *p = '?';
        compare->report(compare->c, compare->i, attribute, is, should);
}

/* Return: 1 it is; 0; -errno. */
static int has_hash(int dir_fd, const char *name, const ManifestEntry *entry) {
        static unsigned char block[BLOCK_SIZE];
        unsigned char hash[MANIFEST_HASH_SIZE];
        crypto_generichash_state state;
        _cleanup_close_ int fd = -1;

        fd = open_strict(dir_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return fd;
        crypto_generichash_init(&state, NULL, 0, sizeof(hash));
        for (;;) {
                ssize_t n = read(fd, block, sizeof(block));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                crypto_generichash_update(&state, block, (size_t) n);
        }
        crypto_generichash_final(&state, hash, sizeof(hash));
        return memcmp(hash, entry->hash, sizeof(hash)) == 0;
}

static void compare_content(
        Compare *compare, int dir_fd, const char *name, const struct statx *st, const ManifestEntry *entry) {
        char is[32], should[32];
        int r;

        (void) snprintf(is, sizeof(is), "%" PRIu64 " bytes", (uint64_t) st->stx_size);
        (void) snprintf(should, sizeof(should), "%" PRIu64 " bytes", entry->size);
        if (st->stx_size != entry->size) {
                differs(compare, entry->path, "content", is, should);
                return;
        }
        if (!compare->content || (compare->trusted && entry->inode != 0 && entry->inode == st->stx_ino &&
                                         entry->ctime_nsec == (int64_t) st->stx_ctime.tv_sec * 1000000000 +
                                                                      st->stx_ctime.tv_nsec))
                return;
        r = has_hash(dir_fd, name, entry);
        if (r == 0)
                differs(compare, entry->path, "content", "other bytes of the same size", should);
        else if (r < 0)
                differs(compare, entry->path, "content", strerror(-r), should);
}

static void compare_owner(Compare *compare, const struct statx *st, const ManifestEntry *entry) {
        uid_t uid = entry_uid(compare->c, compare->archive, compare->owners, entry);
        gid_t gid = entry_gid(compare->c, compare->archive, compare->owners, entry);
        char should[16];

        if (st->stx_uid != uid) {
                (void) snprintf(should, sizeof(should), "%u", uid);
                differs(compare, entry->path, "owner", agentd_user_name(compare->c, st->stx_uid), should);
        }
        if (st->stx_gid != gid) {
                (void) snprintf(should, sizeof(should), "%u", gid);
                differs(compare, entry->path, "group", agentd_group_name(compare->c, st->stx_gid), should);
        }
}

static void compare_entry(Compare *compare, int dir_fd, const char *name, ManifestEntry *entry) {
        mode_t mode = entry_mode(compare->archive, entry);
        struct statx st;

        if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) < 0)
                return; /* it goes at this moment: it is missing */
        entry->seen = true;
        if (strcmp(kind_of(st.stx_mode), kind_names[entry->kind]) != 0) {
                differs(compare, entry->path, NULL, kind_of(st.stx_mode), kind_names[entry->kind]);
                return;
        }
        if (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) {
                differs(compare, entry->path, NULL, "mount point", kind_names[entry->kind]);
                return;
        }
        /* A directory that others share has the mode that it has. */
        if (entry->kind == ENTRY_DIRECTORY && !compare->archive->purge)
                return;
        if (entry->kind != ENTRY_SYMLINK && (st.stx_mode & 07777) != mode) {
                char is[8], should[8];

                (void) snprintf(is, sizeof(is), "%04o", st.stx_mode & 07777);
                (void) snprintf(should, sizeof(should), "%04o", mode);
                differs(compare, entry->path, "mode", is, should);
        }
        compare_owner(compare, &st, entry);
        if (entry->kind == ENTRY_FILE)
                compare_content(compare, dir_fd, name, &st, entry);
        else if (entry->kind == ENTRY_SYMLINK) {
                char target[MANIFEST_PATH_MAX];
                ssize_t n = readlinkat(dir_fd, name, target, sizeof(target) - 1);

                target[n < 0 ? 0 : n] = 0;
                if (strcmp(target, entry->target) != 0)
                        differs(compare, entry->path, "target", target, entry->target);
        }
}

/* A directory of others' files is not read through: what is listed is looked at. */
static int compare_directory(Compare *compare, int fd, const char *path) {
        _cleanup_closedir_ DIR *dir = NULL;
        struct dirent *d;

        dir = fdopendir(fd);
        if (!dir) {
                (void) close(fd);
                return -errno;
        }
        while (errno = 0, (d = readdir(dir))) {
                char below[MANIFEST_PATH_MAX];
                ManifestEntry *entry = NULL;

                if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
                        continue;
                if ((size_t) snprintf(below, sizeof(below), "%s%s%s", path, *path ? "/" : "", d->d_name) <
                        sizeof(below))
                        entry = manifest_find(compare->manifest, below);
                if (entry)
                        compare_entry(compare, dirfd(dir), d->d_name, entry);
                else if (compare->archive->purge) {
                        struct stat st;

                        if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                                differs(compare, below, NULL, kind_of(st.st_mode), NULL);
                }
        }
        return -errno;
}

static bool is_trusted(int fd) {
        struct statfs fs;

        if (fstatfs(fd, &fs) < 0)
                return false;
        switch ((uint32_t) fs.f_type) {
        case EXT4_SUPER_MAGIC:
        case XFS_SUPER_MAGIC:
        case BTRFS_SUPER_MAGIC:
        case F2FS_SUPER_MAGIC:
        case OVERLAYFS_SUPER_MAGIC: return true;
        default: return false;
        }
}

int64_t tree_compare(AgentdContext *c, size_t i, const Archive *archive, Manifest *manifest, int fd,
        Owners *owners, CompareReport report, bool content) {
        Compare compare = {
                .c = c,
                .i = i,
                .archive = archive,
                .manifest = manifest,
                .owners = owners,
                .report = report,
                .content = content,
                .trusted = is_trusted(fd),
        };
        const char *missing = NULL;
        int r, top;

        top = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (top < 0)
                return -errno;
        for (size_t k = 0; k < manifest->n_entries; k++)
                manifest->entries[k].seen = false;
        r = compare_directory(&compare, top, "");
        if (r < 0)
                return r;

        /* Parents come first, so whatever is here was seen in its directory, or not. */
        for (size_t k = 0; k < manifest->n_entries; k++) {
                ManifestEntry *entry = &manifest->entries[k];

                if (!entry->seen) {
                        size_t n = missing ? strlen(missing) : 0;

                        /* What is below of what is missing need not be told. */
                        if (!missing || strncmp(missing, entry->path, n) != 0 || entry->path[n] != '/') {
                                differs(&compare, entry->path, NULL, NULL, kind_names[entry->kind]);
                                missing = entry->path;
                        }
                        continue;
                }
                if (entry->kind != ENTRY_DIRECTORY)
                        continue;
                r = open_strict(fd, entry->path, O_RDONLY | O_DIRECTORY);
                if (r >= 0)
                        r = compare_directory(&compare, r, entry->path);
                if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -EXDEV)
                        missing = entry->path; /* that it is something else was said */
                else if (r < 0)
                        return r;
        }
        return compare.n_differences;
}
