/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Small roots for the tests here, written down as tables. */

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <time.h>

#include "test.h"

#define LIB     "/usr/lib/systemd/system/"
#define ETC     "/etc/systemd/system/"
#define RUNTIME "/run/systemd/system/"

/* A unit that says how it is enabled. */
#define WANTED "[Install]\nWantedBy=multi-user.target\n"

/* A file with this content, or, if that begins with "-> ", a link; "/": a directory. */
typedef struct TreeFile {
        const char *path, *content;
} TreeFile;

typedef struct Tree {
        char path[64];
        int fd;
} Tree;

static inline void tree_put(const Tree *tree, const char *path, const char *content) {
        const char *target = startswith(content, "-> ");
        char full[512];
        FILE *file;

        ASSERT_TRUE((size_t) snprintf(full, sizeof(full), "%s%s", tree->path, path) < sizeof(full));
        for (char *slash = full + strlen(tree->path) + 1; (slash = strchr(slash, '/')); slash++) {
                *slash = '\0';
                ASSERT_TRUE(mkdir(full, 0755) == 0 || errno == EEXIST);
                *slash = '/';
        }
        (void) unlink(full);
        if (streq(content, "/")) {
                ASSERT_OK(mkdir(full, 0755));
                return;
        }
        if (target) {
                ASSERT_OK(symlink(target, full));
                return;
        }
        file = fopen(full, "we");
        ASSERT_NOT_NULL(file);
        ASSERT_TRUE(fputs(content, file) >= 0);
        ASSERT_OK(fclose(file));
}

static inline Tree tree_make(const TreeFile *files) {
        Tree tree = { .path = "/tmp/test-service-XXXXXX", .fd = -EBADF };

        ASSERT_NOT_NULL(mkdtemp(tree.path));
        for (; files->path; files++)
                tree_put(&tree, files->path, files->content);
        tree.fd = open(tree.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        ASSERT_TRUE(tree.fd >= 0);
        return tree;
}

static inline int tree_remove_one(
        const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *ftw) {
        return remove(path);
}

static inline void tree_done(Tree *tree) {
        safe_close(tree->fd);
        ASSERT_OK(nftw(tree->path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS));
}

static inline const char *tree_link(const Tree *tree, const char *path, char buffer[static 512]) {
        char full[512];
        ssize_t n;

        ASSERT_TRUE((size_t) snprintf(full, sizeof(full), "%s%s", tree->path, path) < sizeof(full));
        n = readlink(full, buffer, 511);
        if (n < 0)
                return NULL;
        buffer[n] = '\0';
        return buffer;
}

static inline bool tree_has(const Tree *tree, const char *path) {
        char full[512];
        struct stat st;

        ASSERT_TRUE((size_t) snprintf(full, sizeof(full), "%s%s", tree->path, path) < sizeof(full));
        return lstat(full, &st) == 0;
}

/* What is young is always read again, and ctime cannot be set back: the clock has to go on. */
static inline void tree_wait_until_old(void) {
        struct timespec until, now;

        ASSERT_OK(clock_gettime(CLOCK_MONOTONIC, &until));
        until.tv_nsec += 40000000;
        if (until.tv_nsec >= 1000000000) {
                until.tv_nsec -= 1000000000;
                until.tv_sec++;
        }
        do
                ASSERT_OK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
        while (clock_gettime(CLOCK_MONOTONIC, &now) == 0 &&
                (now.tv_sec < until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec < until.tv_nsec)));
}
