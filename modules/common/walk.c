/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "walk.h"

/* ---- Directories ----------------------------------------------------------------------------------------------- */

static int compare_entries(const void *a, const void *b, void *text) {
        return strcmp((const char *) text + ((const Entry *) a)->name,
                (const char *) text + ((const Entry *) b)->name);
}

static int entries_add(Entries *e, const char *name, unsigned char type) {
        size_t size = strlen(name) + 1;

        if (e->n == e->n_allocated) {
                size_t n = e->n_allocated ? 2 * e->n_allocated : 64;
                Entry *list = realloc(e->list, n * sizeof(Entry));

                if (!list)
                        return -ENOMEM;
                e->list = list;
                e->n_allocated = n;
        }
        if (e->allocated - e->size < size) {
                size_t allocated = 2 * e->allocated + size + 1024;
                char *text = allocated <= UINT32_MAX ? realloc(e->text, allocated) : NULL;

                if (!text)
                        return -ENOMEM;
                e->text = text;
                e->allocated = allocated;
        }
        memcpy(e->text + e->size, name, size);
        e->list[e->n++] = (Entry){ .name = (uint32_t) e->size, .type = type };
        e->size += size;
        return 0;
}

int entries_read(int fd, size_t max, Entries *ret) {
        int copy, r = 0;
        DIR *dir;

        *ret = (Entries){};
        /* Not a duplicate: that would share its position, and a directory is read more than once. */
        copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (copy < 0)
                return -errno;
        dir = fdopendir(copy);
        if (!dir) {
                r = -errno;
                (void) close(copy);
                return r;
        }
        while (r == 0) {
                const struct dirent *entry;

                errno = 0;
                entry = readdir(dir);
                if (!entry) {
                        r = -errno;
                        break;
                }
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                r = ret->n == max ? -E2BIG : entries_add(ret, entry->d_name, entry->d_type);
        }
        (void) closedir(dir);
        if (r == 0 && ret->n > 1)
                qsort_r(ret->list, ret->n, sizeof(Entry), compare_entries, ret->text);
        return r;
}

void entries_done(Entries *entries) {
        free(entries->text);
        free(entries->list);
        *entries = (Entries){};
}

int walk_enter(int dir_fd, const char *name) {
        static const struct open_how how = {
                .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
        };

        for (int i = 0; i < 16; i++) {
                long fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

                if (fd >= 0)
                        return (int) fd;
                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
        }
        return -EAGAIN;
}

int walk_look(int dir_fd, const char *name, struct statx *ret) {
        return statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, ret) < 0
                       ? -errno
                       : 0;
}

bool walk_is_mount(const struct statx *file) {
        return (file->stx_attributes_mask & file->stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

/* ---- Paths ----------------------------------------------------------------------------------------------------- */

void walk_path_init(WalkPath *path, const char *top) {
        size_t n = strnlen(top, PATH_MAX - 1);

        memcpy(path->text, top, n);
        path->text[n] = 0;
        path->length = n;
        /* Behind the slash that comes next; "/" has it already. */
        path->top = n == 1 ? 1 : n + 1;
}

size_t walk_path_enter(WalkPath *path, const char *name) {
        size_t before = path->length, n = strnlen(name, NAME_MAX);

        /* There is room, as nobody goes deeper than WALK_DEPTH_MAX. */
        if (before > 1)
                path->text[path->length++] = '/';
        memcpy(path->text + path->length, name, n);
        path->length += n;
        path->text[path->length] = 0;
        return before;
}

void walk_path_leave(WalkPath *path, size_t length) {
        path->length = length;
        path->text[length] = 0;
}

/* The length of a well-formed character of UTF-8 that starts here, 0 if there is none. */
static size_t character(const unsigned char *p) {
        uint32_t code;
        size_t n;

        if (*p < 0x80)
                return 1;
        n = *p >= 0xf0 && *p < 0xf5 ? 4 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xc2 && *p < 0xe0 ? 2 : 0;
        if (n == 0)
                return 0;
        code = *p & (0x7fu >> n);
        for (size_t i = 1; i < n; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                code = code << 6 | (p[i] & 0x3fu);
        }
        if ((n == 3 && code < 0x800) || (n == 4 && code < 0x10000) || code > 0x10ffff ||
                (code >= 0xd800 && code < 0xe000))
                return 0;
        /* Controls of C1, and what turns the direction of text round. */
        if (code < 0xa0 || (code >= 0x200e && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
                (code >= 0x2066 && code <= 0x2069))
                return 0;
        return n;
}

const char *walk_show(const char *text, char *buffer, size_t size) {
        static const char ellipsis[] = "…";
        size_t n = 0;

        for (const unsigned char *p = (const unsigned char *) text; *p;) {
                size_t length = character(p);

                if (n + 4 + sizeof(ellipsis) > size) {
                        memcpy(buffer + n, ellipsis, sizeof(ellipsis));
                        return buffer;
                }
                if (length > 1 || (length == 1 && *p >= 0x20 && *p != 0x7f && *p != '\\')) {
                        memcpy(buffer + n, p, length);
                        n += length;
                        p += length;
                        continue;
                }
                if (*p == '\n' || *p == '\t' || *p == '\\') {
                        buffer[n++] = '\\';
                        buffer[n++] = *p == '\n' ? 'n' : *p == '\t' ? 't' : '\\';
                } else
                        n += (size_t) snprintf(buffer + n, size - n, "\\x%02x", *p);
                p++;
        }
        buffer[n] = 0;
        return buffer;
}

const char *walk_path_shown(WalkPath *path) {
        return walk_show(path->text, path->shown, sizeof(path->shown));
}

const char *walk_path_shown_below(WalkPath *path) {
        return walk_show(walk_path_below(path), path->shown, sizeof(path->shown));
}

/* ---- Patterns -------------------------------------------------------------------------------------------------- */

bool pattern_matches(const char *pattern, const char *path, bool is_directory) {
        size_t n = strnlen(pattern, PATH_MAX - 1);
        char text[PATH_MAX];
        const char *slash;

        memcpy(text, pattern, n);
        if (n > 1 && text[n - 1] == '/') {
                if (!is_directory)
                        return false;
                n--;
        }
        text[n] = 0;
        if (strchr(text, '/'))
                return fnmatch(text + (*text == '/'), path, FNM_PATHNAME) == 0;
        slash = strrchr(path, '/');
        return fnmatch(text, slash ? slash + 1 : path, 0) == 0;
}

bool patterns_match(const char *const *patterns, const char *path, bool is_directory) {
        for (; patterns && *patterns; patterns++)
                if (pattern_matches(*patterns, path, is_directory))
                        return true;
        return false;
}

int patterns_prepare(AgentdPrepare *prepare, int parameter, const char *parameter_name,
        const AgentdValue *value, const char *const **ret) {
        const char **list;
        int r = 0;

        *ret = NULL;
        if (value->type == AGENTD_NONE)
                return 0;
        list = agentd_alloc(prepare, (value->n + 1) * sizeof(char *));
        for (uint32_t i = 0; i < value->n; i++) {
                const AgentdValue *item = &value->items[i];

                list[i] = item->string;
                if (item->size == 0 || strlen(item->string) != item->size || item->size >= PATH_MAX ||
                        strchr(item->string, '\n') || strcmp(item->string, "/") == 0) {
                        agentd_prepare_error(prepare, parameter,
                                "'%s' has a pattern that is empty, too long, or has a NUL or a newline in "
                                "it",
                                parameter_name);
                        r = -EINVAL;
                }
        }
        *ret = list;
        return r;
}

int depth_prepare(AgentdPrepare *prepare, int parameter, const char *parameter_name,
        const AgentdValue *value, uint32_t *ret) {
        if (value->type == AGENTD_BOOLEAN)
                *ret = value->boolean ? WALK_DEPTH_MAX : 0;
        else if (value->type == AGENTD_INTEGER && value->integer >= 1 && value->integer <= WALK_DEPTH_MAX)
                *ret = (uint32_t) value->integer;
        else {
                agentd_prepare_error(prepare, parameter,
                        "'%s' must be true, false, or a number of levels from 1 to %d", parameter_name,
                        WALK_DEPTH_MAX);
                return -EINVAL;
        }
        return 0;
}

int number_prepare(AgentdPrepare *prepare, int parameter, const char *parameter_name,
        const AgentdValue *value, int64_t min, int64_t max, uint32_t *ret) {
        if (value->type != AGENTD_INTEGER || value->integer < min || value->integer > max) {
                agentd_prepare_error(prepare, parameter, "'%s' must be a number from %lld to %lld",
                        parameter_name, (long long) min, (long long) max);
                return -EINVAL;
        }
        *ret = (uint32_t) value->integer;
        return 0;
}

/* ---- Names ----------------------------------------------------------------------------------------------------- */

bool is_young_temporary(const char *name, const struct statx *file, int64_t now_sec) {
        static const char prefix[] = ".agentd-";
        size_t n = sizeof(prefix) - 1;

        return strncmp(name, prefix, n) == 0 && strlen(name) == n + 16 &&
               strspn(name + n, "0123456789abcdef") == 16 && now_sec - file->stx_ctime.tv_sec < 3600;
}

bool is_system_directory(const char *path) {
        static const char *const list[] = {
                "/",
                "/bin",
                "/boot",
                "/boot/efi",
                "/dev",
                "/efi",
                "/etc",
                "/etc/agentd",
                "/etc/systemd",
                "/etc/systemd/system",
                "/home",
                "/lib",
                "/lib32",
                "/lib64",
                "/libx32",
                "/media",
                "/mnt",
                "/opt",
                "/proc",
                "/root",
                "/run",
                "/run/systemd",
                "/sbin",
                "/srv",
                "/sys",
                "/usr",
                "/usr/bin",
                "/usr/include",
                "/usr/lib",
                "/usr/lib/modules",
                "/usr/lib/systemd",
                "/usr/lib/systemd/system",
                "/usr/lib32",
                "/usr/lib64",
                "/usr/libexec",
                "/usr/local",
                "/usr/sbin",
                "/usr/share",
                "/usr/src",
                "/var",
                "/var/lib",
                "/var/lib/agentd",
                "/var/lib/dpkg",
                "/var/lib/rpm",
                "/var/lib/systemd",
        };

        for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
                if (strcmp(path, list[i]) == 0)
                        return true;
        return false;
}
