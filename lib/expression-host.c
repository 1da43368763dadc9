/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Helpers that look at the host. None of them limits time: a file system may hang. Who evaluates these is a process that
 * can be killed.
 */

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "expression-internal.h"
#include "paths.h"

#define HELPER(helper) HELPER_FUNCTION(helper)

int helper_check_path(HelperCall *call, const Value *args, size_t n) {
        if (args[0].size == 0 || args[0].text[0] != '/')
                return helper_error(call, 0, "wants an absolute path");
        if (memchr(args[0].text, 0, args[0].size))
                return helper_error(call, 0, "the path holds a NUL");
        return 0;
}

static int open_below(int root_fd, const char *path, uint64_t flags) {
        struct open_how how = {
                .flags = O_PATH | O_CLOEXEC | flags,
                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        };
        _cleanup_close_ int own_root_fd = -EBADF;

        if (root_fd < 0) {
                own_root_fd = open("/", O_PATH | O_CLOEXEC | O_DIRECTORY);
                if (own_root_fd < 0)
                        return -errno;
                root_fd = own_root_fd;
        }

        return path_openat2(root_fd, path, &how);
}

/* The mode of a file; 0 if there is none. */
static int stat_below(HelperCall *call, const Value *path, uint64_t flags, mode_t *ret) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        fd = open_below(call->root_fd, path->text, flags);
        if (fd == -ENOENT || fd == -ENOTDIR) {
                *ret = 0;
                return 0;
        }
        if (fd < 0 || fstat(fd, &st) < 0) {
                int r = fd < 0 ? fd : -errno;

                (void) helper_error(call, 0, "Failed to look at '%s': %s",
                        call->tainted ? "(secret)" : path->text, strerror(-r));
                return r;
        }
        *ret = st.st_mode;
        return 0;
}

HELPER(exists) {
        mode_t mode;
        int r;

        r = stat_below(call, &args[0], 0, &mode);
        if (r < 0)
                return r;
        *ret = value_boolean(mode != 0);
        return 0;
}

HELPER(is_file) {
        mode_t mode;
        int r;

        r = stat_below(call, &args[0], 0, &mode);
        if (r < 0)
                return r;
        *ret = value_boolean(S_ISREG(mode));
        return 0;
}

HELPER(is_dir) {
        mode_t mode;
        int r;

        r = stat_below(call, &args[0], 0, &mode);
        if (r < 0)
                return r;
        *ret = value_boolean(S_ISDIR(mode));
        return 0;
}

HELPER(is_symlink) {
        mode_t mode;
        int r;

        r = stat_below(call, &args[0], O_NOFOLLOW, &mode);
        if (r < 0)
                return r;
        *ret = value_boolean(S_ISLNK(mode));
        return 0;
}

/* ---- Units ----------------------------------------------------------------------------------------------------- */

/* Where systemd looks, in this order: systemd.unit(5). */
static const char *const unit_directories[] = {
        "/etc/systemd/system.control",
        "/run/systemd/system.control",
        "/run/systemd/transient",
        "/run/systemd/generator.early",
        "/etc/systemd/system",
        "/etc/systemd/system.attached",
        "/run/systemd/system",
        "/run/systemd/system.attached",
        "/run/systemd/generator",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
        "/run/systemd/generator.late",
};

#define UNIT_NAME_MAX ((size_t) 255)

int helper_check_unit(HelperCall *call, const Value *args, _unused_ size_t n) {
        static const char *const endings[] = { ".service", ".socket", ".target", ".device", ".mount",
                ".automount", ".swap", ".timer", ".path", ".slice", ".scope" };
        const Value *name = &args[0];
        const char *dot = name->size <= UNIT_NAME_MAX ? memrchr(name->text, '.', name->size) : NULL;
        bool known = false;

        FOREACH_ELEMENT(ending, endings)
                known |= dot && dot > name->text && streq(*ending, dot);
        if (!known || memchr(name->text, '/', name->size) || memchr(name->text, 0, name->size))
                return helper_error(call, 0, "wants the name of a unit with its ending, like 'ssh.service'");
        return 0;
}

/* Return: 1 there is a unit file; 0 there is none; -ENOLINK it is masked; other -errno. */
static int look_at_unit(int root_fd, const char *directory, const char *name) {
        char path[PATH_MAX], target[PATH_MAX];
        _cleanup_close_ int fd = -EBADF, link_fd = -EBADF;
        struct stat st;
        ssize_t n;

        (void) snprintf(path, sizeof(path), "%s/%s", directory, name);
        link_fd = open_below(root_fd, path, O_NOFOLLOW);
        if (link_fd == -ENOENT || link_fd == -ENOTDIR)
                return 0;
        if (link_fd < 0)
                return link_fd;
        /* A link to /dev/null masks, also below a root that has no devices. */
        n = readlinkat(link_fd, "", target, sizeof(target));
        if (n == (ssize_t) strlen("/dev/null") && memcmp(target, "/dev/null", (size_t) n) == 0)
                return -ENOLINK;

        fd = open_below(root_fd, path, 0);
        /* systemd passes over links that lead nowhere. */
        if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
                return 0;
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return 0;
        return st.st_size > 0 ? 1 : -ENOLINK;
}

static int find_unit(int root_fd, const char *name) {
        FOREACH_ELEMENT(directory, unit_directories) {
                int r = look_at_unit(root_fd, *directory, name);

                if (r != 0)
                        return r;
        }
        return 0;
}

HELPER(has_unit) {
        const char *name = args[0].text, *at = strchr(name, '@');
        char template[UNIT_NAME_MAX + 1];
        int r;

        r = find_unit(call->root_fd, name);
        if (r == 0 && at && at[1] != '.') {
                /* getty@tty1.service is an instance of getty@.service. */
                (void) snprintf(template, sizeof(template), "%.*s%s", (int) (at + 1 - name), name,
                        strrchr(name, '.'));
                r = find_unit(call->root_fd, template);
        }
        if (r < 0 && r != -ENOLINK) {
                (void) helper_error(call, 0, "Failed to look for '%s': %s",
                        call->tainted ? "(secret)" : name, strerror(-r));
                return r;
        }
        *ret = value_boolean(r == 1);
        return 0;
}

/* ---- Commands and the environment ------------------------------------------------------------------------------ */

static const char *const command_directories[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
        "/usr/bin", "/sbin", "/bin" };

int helper_check_command(HelperCall *call, const Value *args, _unused_ size_t n) {
        if (args[0].size == 0 || args[0].size > NAME_MAX || memchr(args[0].text, '/', args[0].size) ||
                memchr(args[0].text, 0, args[0].size))
                return helper_error(
                        call, 0, "wants the name of a program, without '/'; is_file() takes a path");
        return 0;
}

HELPER(has_command) {
        FOREACH_ELEMENT(directory, command_directories) {
                _cleanup_close_ int fd = -EBADF;
                char path[PATH_MAX];
                struct stat st;

                (void) snprintf(path, sizeof(path), "%s/%s", *directory, args[0].text);
                fd = open_below(call->root_fd, path, 0);
                if (fd >= 0 && fstat(fd, &st) >= 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111) != 0) {
                        *ret = value_boolean(true);
                        return 0;
                }
        }
        *ret = value_boolean(false);
        return 0;
}

int helper_check_variable(HelperCall *call, const Value *args, _unused_ size_t n) {
        if (args[0].size == 0 || memchr(args[0].text, '=', args[0].size) ||
                memchr(args[0].text, 0, args[0].size))
                return helper_error(call, 0, "wants the name of a variable");
        return 0;
}

HELPER(env) {
        const char *text = getenv(args[0].text);
        int r;

        if (!text)
                return 0;
        r = helper_charge(call, strlen(text));
        if (r < 0)
                return r;
        if (!utf8_is_valid(text, strlen(text)))
                return helper_error(call, 0, "the value is not UTF-8");
        *ret = value_string(call->arena, text, strlen(text));
        return 0;
}
