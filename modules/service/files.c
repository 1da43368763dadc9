/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "pool.h"

#define FILE_MODE 0644

/* Reads an open file whole, with a NUL at the end. */
static int read_all(int fd, char **ret, size_t *ret_size) {
        size_t size = 0, allocated = 4096;
        char *text = malloc(allocated + 1);

        while (text) {
                ssize_t n = pread(fd, text + size, allocated - size, (off_t) size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 || size > UNIT_FILE_MAX) {
                        int r = n < 0 ? -errno : -EFBIG;

                        free(text);
                        return r;
                }
                if (n == 0) {
                        text[size] = '\0';
                        *ret = text;
                        *ret_size = size;
                        return 0;
                }
                size += (size_t) n;
                if (size == allocated) {
                        char *more = realloc(text, 2 * allocated + 1);

                        if (!more)
                                break;
                        text = more;
                        allocated *= 2;
                }
        }
        free(text);
        return -ENOMEM;
}

int file_text(AgentdContext *context, const ServiceFile *file, char **ret, size_t *ret_size) {
        CLOSED int fd = -1;
        int r;

        if (file->text) {
                *ret = strdup(file->text);
                *ret_size = strlen(file->text);
                return *ret ? 0 : -ENOMEM;
        }
        r = agentd_open_source(context, file->source, &fd);
        return r < 0 ? r : read_all(fd, ret, ret_size);
}

/* Opens what is there. Return: a descriptor; -ENOENT; -ELOOP: it is a symlink; -errno. */
static int open_file(AgentdContext *context, const char *path, struct stat *ret) {
        const char *name;
        int dir_fd, fd, r;

        r = agentd_open_parent(context, path, &dir_fd, &name);
        if (r < 0)
                return r;
        fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fstat(fd, ret) < 0 || !S_ISREG(ret->st_mode)) {
                r = S_ISREG(ret->st_mode) ? -errno : -EISDIR;
                (void) close(fd);
                return r;
        }
        return fd;
}

typedef enum Finding { SAME, DIFFERENT, MISSING, NOT_A_FILE } Finding;

/* The texts are the caller's. */
static int look(AgentdContext *context, const ServiceFile *file, Finding *ret, char **ret_is,
        size_t *ret_is_size, char **ret_should, size_t *ret_should_size) {
        struct stat st = {};
        CLOSED int fd = -1;
        int r;

        r = file_text(context, file, ret_should, ret_should_size);
        if (r < 0)
                return r;
        fd = open_file(context, file->path, &st);
        if (fd < 0) {
                *ret = fd == -ENOENT || fd == -ENOTDIR ? MISSING : NOT_A_FILE;
                return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP || fd == -EISDIR ? 0 : fd;
        }
        r = read_all(fd, ret_is, ret_is_size);
        if (r < 0)
                return r;
        *ret = *ret_is_size == *ret_should_size && memcmp(*ret_is, *ret_should, *ret_is_size) == 0
                       ? SAME
                       : DIFFERENT;
        return 0;
}

/* But for a mask, which is no file of the state: it keeps what is absent from coming back. */
static bool exists(AgentdContext *context, const char *path) {
        char target[sizeof("/dev/null")];
        const char *name;
        struct stat st;
        int dir_fd;

        return agentd_open_parent(context, path, &dir_fd, &name) >= 0 &&
               fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) >= 0 &&
               !(S_ISLNK(st.st_mode) &&
                       readlinkat(dir_fd, name, target, sizeof(target)) == strlen("/dev/null") &&
                       memcmp(target, "/dev/null", strlen("/dev/null")) == 0);
}

int files_compare(AgentdContext *context, size_t i, const Service *service) {
        for (unsigned k = 0; k < service->n_files; k++) {
                const ServiceFile *file = &service->files[k];
                char *is = NULL, *should = NULL;
                size_t is_size = 0, should_size = 0;
                Finding finding;
                int r;

                if (service->absent) {
                        if (exists(context, file->path))
                                agentd_differs_string(context, i, file->what, file->path, NULL);
                        continue;
                }
                r = look(context, file, &finding, &is, &is_size, &should, &should_size);
                if (r < 0)
                        agentd_failed(context, i, "Failed to read '%s': %s",
                                file->text ? file->path : file->source, strerror(-r));
                else if (finding == MISSING || finding == DIFFERENT)
                        agentd_differs_file(
                                context, i, file->what, file->path, is, is_size, should, should_size);
                else if (finding == NOT_A_FILE)
                        agentd_differs_string(context, i, file->what, "no file", "file");
                free(is);
                free(should);
                if (r < 0)
                        return r;
        }
        return 0;
}

bool files_differ(AgentdContext *context, const Service *service) {
        for (unsigned k = 0; k < service->n_files && !service->absent; k++) {
                char *is = NULL, *should = NULL;
                size_t is_size, should_size;
                Finding finding = DIFFERENT;
                int r;

                r = look(context, &service->files[k], &finding, &is, &is_size, &should, &should_size);
                free(is);
                free(should);
                if (r < 0 || finding != SAME)
                        return true;
        }
        return false;
}

uint64_t files_changed_usec(AgentdContext *context, const Service *service) {
        uint64_t newest = 0;

        for (unsigned k = 0; k < service->n_files; k++) {
                const char *name;
                struct stat st;
                uint64_t usec;
                int dir_fd;

                if (agentd_open_parent(context, service->files[k].path, &dir_fd, &name) < 0 ||
                        fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                usec = (uint64_t) st.st_mtim.tv_sec * 1000000 + (uint64_t) st.st_mtim.tv_nsec / 1000;
                newest = usec > newest ? usec : newest;
        }
        return newest;
}

static void keep(AgentdContext *context, size_t i, const ServiceFile *file) {
        struct stat st;
        CLOSED int fd = open_file(context, file->path, &st);

        if (fd >= 0)
                agentd_keep_file(context, i, file->what, fd);
        else
                agentd_undo(context, i, file->what, &(AgentdValue){ .type = AGENTD_NONE });
}

int files_put(AgentdContext *context, size_t i, const Service *service, bool *ret_changed) {
        static const AgentdAttributes attributes = { .mode = FILE_MODE }, parents = { .mode = 0755 };

        for (unsigned k = 0; k < service->n_files; k++) {
                const ServiceFile *file = &service->files[k];
                char *is = NULL, *should = NULL;
                size_t is_size, should_size;
                Finding finding;
                int r;

                r = look(context, file, &finding, &is, &is_size, &should, &should_size);
                if (r >= 0 && finding != SAME) {
                        keep(context, i, file);
                        agentd_will_change(context);
                        r = agentd_make_parents(context, file->path, &parents);
                        if (r >= 0)
                                r = agentd_replace_file(
                                        context, file->path, should, should_size, &attributes);
                        *ret_changed = *ret_changed || r >= 0;
                }
                if (r < 0)
                        agentd_failed(context, i, "Failed to write '%s': %s", file->path, strerror(-r));
                free(is);
                free(should);
                if (r < 0)
                        return r;
        }
        return 0;
}

int files_remove(AgentdContext *context, size_t i, const Service *service, bool *ret_changed) {
        for (unsigned k = 0; k < service->n_files; k++) {
                const ServiceFile *file = &service->files[k];
                int r;

                if (!exists(context, file->path))
                        continue;
                keep(context, i, file);
                agentd_will_change(context);
                r = agentd_remove(context, file->path);
                if (r < 0) {
                        agentd_failed(context, i, "Failed to remove '%s': %s", file->path, strerror(-r));
                        return r;
                }
                *ret_changed = true;
        }
        return 0;
}
