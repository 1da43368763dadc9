/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What of the path differs from what the state declares. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"

/* A text difference is worth showing up to this size; of larger content only the size is told. */
#define SHOWN_MAX (1024 * 1024)

#define BLOCK_SIZE 65536

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

int compare_with_file(int fd, off_t size, int source) {
        static char ours[BLOCK_SIZE], theirs[BLOCK_SIZE];
        struct stat st;

        if (fstat(source, &st) < 0)
                return -errno;
        /* What is in /proc says that it is empty. */
        if (st.st_size > 0 && size > 0 && st.st_size != size)
                return 0;

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

char *read_shown(int fd, size_t *ret_size) {
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
        int fd CLOSED = -1, source CLOSED = -1, r = 0;

        if (file->only_if_missing && look->kind == KIND_FILE)
                return 0;
        if (extras_of(file)->download)
                return compare_download(c, i, file, look);
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
                        agentd_failed(c, i, "Failed to open '%s': %s", look->path,
                                fd == -ENOENT || fd == -ELOOP ? "it was replaced in the meantime"
                                                              : explain(fd));
                        return -1;
                }
                if (source >= 0)
                        r = compare_with_file(fd, look->st.stx_size, source);
                else if ((size_t) look->st.stx_size == file->content_size) /* else it need not be read */
                        r = compare_with_content(fd, file->content, file->content_size);
                if (r < 0) {
                        agentd_failed(c, i, "Failed to read '%s': %s", look->path,
                                r == -EISDIR ? "it was replaced in the meantime" : strerror(-r));
                        return -1;
                }
                if (r == 1) {
                        if (source >= 0)
                                agentd_remember(c, i, (const int[]){ fd, source }, 2);
                        else
                                agentd_remember_seen(c, i, &fd, &look->st, 1);
                        return 0;
                }
        }
        look->content_differs = true;
        report_content(c, i, file, fd, source);
        return 0;
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

static int compare_hardlink(AgentdContext *c, size_t i, const File *file, Look *look) {
        struct statx st;
        const char *name;
        int fd, r;

        r = agentd_open_parent(c, file->target, &fd, &name);
        if (r >= 0 && statx(fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) < 0)
                r = -errno;
        if (r < 0 && !((r == -ENOENT || r == -ENOTDIR) && look->pending)) {
                agentd_failed(c, i, "Failed to look at target '%s': %s", file->target, explain(r));
                return -1;
        }
        if (r >= 0 && !S_ISREG(st.stx_mode)) {
                agentd_failed(c, i, "target '%s' is a %s; a hard link is to a file", file->target,
                        kind_names[kind_of(st.stx_mode)]);
                return -1;
        }
        if (r >= 0 && look->kind == KIND_FILE && look->st.stx_ino == st.stx_ino &&
                look->st.stx_dev_major == st.stx_dev_major && look->st.stx_dev_minor == st.stx_dev_minor)
                return 0;
        look->target_differs = true;
        agentd_differs_string(c, i, "target", look->kind == KIND_FILE ? "another file" : NULL, file->target);
        return 0;
}

static int compare_attributes(AgentdContext *c, size_t i, const File *file, Look *look) {
        if (look->mode != KEEP && look->seen_mode != (mode_t) look->mode) {
                look->mode_differs = true;
                agentd_differs_mode(c, i, "mode", look->seen_mode, (mode_t) look->mode);
        }
        if (look->owner_to_come || (look->uid != (uid_t) KEEP && look->st.stx_uid != look->uid)) {
                look->owner_differs = true;
                agentd_differs_string(c, i, "owner", agentd_user_name(c, look->st.stx_uid), file->owner);
        }
        if (look->group_to_come || (look->gid != (gid_t) KEEP && look->st.stx_gid != look->gid)) {
                look->group_differs = true;
                agentd_differs_string(c, i, "group", agentd_group_name(c, look->st.stx_gid), file->group);
        }
        return compare_extended(c, i, file, look);
}

int file_compare(AgentdContext *c, size_t i, const File *file, Look *look) {
        Kind kind = kind_on_disk(file->kind);
        char aside[32];

        if (look->has_remains) {
                aside_name(look->name, aside);
                agentd_differs_string(c, i, "remains", aside, NULL);
        }
        if (look->kind != kind)
                agentd_differs_string(c, i, "ensure", kind_names[look->kind], kind_names[file->kind]);
        switch (file->kind) {
        case KIND_ABSENT: return 0;
        case KIND_FILE:
                if (compare_content(c, i, file, look) < 0)
                        return -1;
                break;
        case KIND_SYMLINK:
                if (compare_target(c, i, file, look) < 0)
                        return -1;
                break;
        case KIND_HARDLINK: return compare_hardlink(c, i, file, look);
        default: break;
        }
        return look->kind == kind ? compare_attributes(c, i, file, look) : 0;
}
