/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "unit-change-internal.h"

/* A symlink that has the name of a unit. */
typedef struct Link {
        const char *path, *name, *says;
        bool is_marked;
} Link;

typedef struct Links {
        Link *list;
        size_t n, allocated;
} Links;

static bool has(const Names *names, const char *name) {
        for (size_t i = 0; i < names->n; i++)
                if (strcmp(names->list[i], name) == 0)
                        return true;
        return false;
}

static int add_link(Planner *p, Links *links, const char *directory, int fd, const char *name) {
        Pool *pool = &p->changes->pool;
        char says[PATH_MAX];
        ssize_t n = readlinkat(fd, name, says, sizeof(says) - 1);
        Link *link;

        if (n < 0)
                return errno == ENOENT || errno == EINVAL ? 0 : -errno;
        if (links->n == UNIT_CHANGE_LINKS_MAX)
                return -E2BIG;
        if (links->n == links->allocated) {
                size_t allocated = links->allocated > 0 ? 2 * links->allocated : 64;
                Link *list = pool_alloc(pool, allocated * sizeof(Link));

                if (!list)
                        return -ENOMEM;
                if (links->n > 0)
                        memcpy(list, links->list, links->n * sizeof(Link));
                links->list = list;
                links->allocated = allocated;
        }
        link = &links->list[links->n];
        *link = (Link){
                .path = pool_format(pool, "%s/%s", directory, name),
                .says = pool_copy(pool, says, (size_t) n),
        };
        if (!link->path || !link->says)
                return -ENOMEM;
        link->name = strrchr(link->path, '/') + 1;
        links->n++;
        return 0;
}

/* All of a directory and those below it; no symlink is followed. Takes over fd. */
static int collect(Planner *p, Links *links, const char *directory, int fd, unsigned depth) {
        DIR *dir = fdopendir(fd);
        int r = 0;

        if (!dir) {
                r = -errno;
                (void) close(fd);
                return r;
        }
        while (r == 0) {
                const struct dirent *d;
                struct stat st;

                errno = 0;
                d = readdir(dir);
                if (!d) {
                        r = -errno;
                        break;
                }
                if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
                        continue;
                if (d->d_type == DT_REG)
                        continue;
                if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                if (S_ISLNK(st.st_mode) && unit_name_kind(d->d_name) != UNIT_NAME_INVALID)
                        r = add_link(p, links, directory, fd, d->d_name);
                else if (S_ISDIR(st.st_mode) && depth < UNIT_CHANGE_DEPTH_MAX) {
                        const char *below = pool_format(&p->changes->pool, "%s/%s", directory, d->d_name);
                        int below_fd = openat(
                                fd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

                        if (!below || below_fd < 0) {
                                r = !below ? -ENOMEM : errno == ENOENT ? 0 : -errno;
                                if (below_fd >= 0)
                                        (void) close(below_fd);
                        } else
                                r = collect(p, links, below, below_fd, depth + 1);
                }
        }
        (void) closedir(dir);
        return r;
}

static bool is_gone(const char *path, void *userdata) {
        const Planner *p = userdata;

        return has(&p->gone, path);
}

static bool is_marked(Planner *p, const Names *marks, const Link *link) {
        char template[UNIT_NAME_SIZE], target[PATH_MAX];

        if (has(marks, link->name))
                return true;
        if (unit_name_template(link->name, template) == 0 && has(marks, template))
                return true;
        if (unit_root_resolve(unit_files_root(p->files), link->path, true, is_gone, p, target) < 0)
                return false;
        /* That of a link which is gone is its own path. */
        return strcmp(target, link->path) != 0 &&
               (has(marks, target) || has(marks, strrchr(target, '/') + 1));
}

int plan_remove_marked(Planner *p, Names *marks) {
        const char *directory = p->changes->directory;
        Links links = {};
        bool again = true;
        int fd, r;

        if (marks->n == 0)
                return 0;
        fd = unit_root_open(unit_files_root(p->files), directory, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
        if (fd == -ENOENT)
                return 0;
        r = fd < 0 ? fd : collect(p, &links, directory, fd, 0);
        if (r < 0)
                return plan_error(p, r, "Failed to look for links in '%s': %s", directory, strerror(-r));

        /* What led to a link that goes leads nowhere, and goes as well. */
        while (again) {
                again = false;
                for (size_t i = 0; i < links.n; i++) {
                        Link *link = &links.list[i];

                        if (link->is_marked || !is_marked(p, marks, link))
                                continue;
                        link->is_marked = again = true;
                        r = plan_unlink(p, link->path, link->says);
                        if (r == 0)
                                r = names_add(&p->changes->pool, marks, link->path);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}
