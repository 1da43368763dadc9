/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "install-section.h"

/* os-release is some hundred bytes long. */
#define HOST_FILE_MAX 16384

static const struct {
        const char *machine, *name;
} architectures[] = {
        /* Source: systemd.unit(5), ConditionArchitecture=, and uname(2) of the kernels. */
        { "x86_64", "x86-64" },
        { "i686", "x86" },
        { "i586", "x86" },
        { "i486", "x86" },
        { "i386", "x86" },
        { "aarch64", "arm64" },
        { "aarch64_be", "arm64-be" },
        { "armv8l", "arm" },
        { "armv7l", "arm" },
        { "armv6l", "arm" },
        { "armv5tel", "arm" },
        { "ppc64le", "ppc64-le" },
        { "ppcle", "ppc-le" },
        { "loongarch64", "loongarch64" },
};

/* Of what is read into it there is a NUL after the last byte. Return: bytes; -errno. */
static ssize_t read_host_file(int root_fd, const char *path, char buffer[static HOST_FILE_MAX]) {
        int fd CLOSED =
                root_fd < 0 ? -EBADF : unit_root_open(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        size_t n = 0;

        if (fd < 0)
                return root_fd < 0 ? -EUNATCH : fd;
        while (n < HOST_FILE_MAX - 1) {
                ssize_t k = read(fd, buffer + n, HOST_FILE_MAX - 1 - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t) k;
        }
        buffer[n] = '\0';
        return (ssize_t) n;
}

static int copy(const char *text, size_t size, char ret[static UNIT_NAME_SIZE]) {
        if (size >= UNIT_NAME_SIZE)
                return -ENAMETOOLONG;
        memcpy(ret, text, size);
        ret[size] = '\0';
        return 0;
}

/* A variable of a file in shell's syntax, without what nobody has there: escapes other than of quotes. */
static int get_assignment(const char *text, const char *key, char ret[static UNIT_NAME_SIZE]) {
        size_t n = strlen(key);

        for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
                const char *value;
                size_t size;

                line += strspn(line, " \t");
                if (strncmp(line, key, n) != 0 || line[n] != '=')
                        continue;
                value = line + n + 1;
                size = strcspn(value, "\n");
                while (size > 0 && strchr(" \t\r", value[size - 1]))
                        size--;
                if (size >= 2 && (*value == '"' || *value == '\'') && value[size - 1] == *value) {
                        value++;
                        size -= 2;
                }
                return copy(value, size, ret);
        }
        *ret = '\0';
        return 0;
}

static int os_release(const InstallUnit *unit, const char *key, char ret[static UNIT_NAME_SIZE]) {
        char text[HOST_FILE_MAX];
        ssize_t n = read_host_file(unit->root_fd, "/etc/os-release", text);

        if (n == -ENOENT)
                n = read_host_file(unit->root_fd, "/usr/lib/os-release", text);
        if (n < 0)
                return -EUNATCH;
        return get_assignment(text, key, ret);
}

/* Ids are 32 digits; the kernel writes hyphens between them. */
static int read_id(const InstallUnit *unit, bool boot, char ret[static UNIT_NAME_SIZE]) {
        char text[HOST_FILE_MAX];
        size_t n = 0;

        if (boot) {
                int proc CLOSED = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

                if (proc < 0 || read_host_file(proc, "/sys/kernel/random/boot_id", text) < 0)
                        return -EUNATCH;
        } else if (read_host_file(unit->root_fd, "/etc/machine-id", text) < 0)
                return -EUNATCH;
        for (const char *p = text; *p && *p != '\n'; p++) {
                if (boot && *p == '-')
                        continue;
                if (n == 32 || !strchr("0123456789abcdef", *p))
                        return -EUNATCH;
                ret[n++] = *p;
        }
        ret[n] = '\0';
        return n == 32 ? 0 : -EUNATCH;
}

static int from_kernel(char specifier, char ret[static UNIT_NAME_SIZE]) {
        struct utsname u;

        if (uname(&u) < 0)
                return -errno;
        if (specifier == 'v')
                return copy(u.release, strlen(u.release), ret);
        if (specifier == 'H')
                return copy(u.nodename, strlen(u.nodename), ret);
        if (specifier == 'l')
                return copy(u.nodename, strcspn(u.nodename, "."), ret);
        for (size_t i = 0; i < sizeof(architectures) / sizeof(architectures[0]); i++)
                if (strcmp(u.machine, architectures[i].machine) == 0)
                        return copy(architectures[i].name, strlen(architectures[i].name), ret);
        return copy(u.machine, strlen(u.machine), ret);
}

static int pretty_name(const InstallUnit *unit, char ret[static UNIT_NAME_SIZE]) {
        char text[HOST_FILE_MAX];

        if (read_host_file(unit->root_fd, "/etc/machine-info", text) >= 0 &&
                get_assignment(text, "PRETTY_HOSTNAME", ret) == 0 && *ret)
                return 0;
        return from_kernel('l', ret);
}

static int credential(const InstallUnit *unit, char specifier, char ret[static UNIT_NAME_SIZE]) {
        const UnitOwner *o = unit->owner;
        const char *name;

        if (specifier == 'U' || specifier == 'G') {
                (void) snprintf(ret, UNIT_NAME_SIZE, "%u",
                        !o                 ? 0
                        : specifier == 'U' ? (unsigned) o->uid
                                           : (unsigned) o->gid);
                return 0;
        }
        name = !o ? NULL : specifier == 'u' ? o->user : o->group;
        if (!name)
                name = "root";
        return copy(name, strlen(name), ret);
}

/* What is after the last hyphen. */
static int last_component(const char *name, char ret[static UNIT_NAME_SIZE]) {
        char prefix[UNIT_NAME_SIZE];
        const char *dash;
        int r = unit_name_prefix(name, prefix);

        if (r < 0)
                return r;
        dash = strrchr(prefix, '-');
        dash = dash ? dash + 1 : prefix;
        return copy(dash, strlen(dash), ret);
}

/* A template is taken for its default instance, where it has one. */
static int own_name(const InstallUnit *unit, const char *default_instance, char ret[static UNIT_NAME_SIZE]) {
        if (default_instance && unit_name_kind(unit->name) == UNIT_NAME_TEMPLATE)
                return unit_name_with_instance(unit->name, default_instance, ret);
        return copy(unit->name, strlen(unit->name), ret);
}

/* Letters and digits are kept for specifiers that may come. */
static int unknown(char specifier) {
        return (specifier >= 'a' && specifier <= 'z') || (specifier >= 'A' && specifier <= 'Z') ||
                               (specifier >= '0' && specifier <= '9')
                       ? -EBADSLT
                       : 1;
}

/* Return: 0; 1: it is none; -errno. */
static int resolve(const InstallUnit *unit, const char *default_instance, char specifier,
        char ret[static UNIT_NAME_SIZE]) {
        int r;

        switch (specifier) {
        case 'i':
                r = unit_name_instance(unit->name, ret);
                if (r == 0 && !*ret && default_instance)
                        return copy(default_instance, strlen(default_instance), ret);
                return r;
        case 'j': return last_component(unit->name, ret);
        case 'n': return own_name(unit, default_instance, ret);
        case 'N':
                r = own_name(unit, default_instance, ret);
                if (r == 0)
                        *strrchr(ret, '.') = '\0';
                return r;
        case 'p': return unit_name_prefix(unit->name, ret);
        case 'a':
        case 'H':
        case 'l':
        case 'v': return from_kernel(specifier, ret);
        case 'b': return read_id(unit, true, ret);
        case 'm': return read_id(unit, false, ret);
        case 'g':
        case 'G':
        case 'u':
        case 'U': return credential(unit, specifier, ret);
        case 'q': return pretty_name(unit, ret);
        case 'o': return os_release(unit, "ID", ret);
        case 'w': return os_release(unit, "VERSION_ID", ret);
        case 'W': return os_release(unit, "VARIANT_ID", ret);
        case 'B': return os_release(unit, "BUILD_ID", ret);
        case 'M': return os_release(unit, "IMAGE_ID", ret);
        case 'A': return os_release(unit, "IMAGE_VERSION", ret);
        default: return unknown(specifier);
        }
}

int install_specifiers(const InstallUnit *unit, const char *default_instance, const char *word,
        char ret[static UNIT_NAME_SIZE]) {
        char text[UNIT_NAME_SIZE], value[UNIT_NAME_SIZE];
        size_t n = 0;

        for (const char *p = word; *p; p++) {
                size_t size = 1;

                value[0] = *p;
                if (*p == '%' && p[1] == '%')
                        p++;
                else if (*p == '%' && p[1]) {
                        int r = resolve(unit, default_instance, p[1], value);

                        if (r < 0)
                                return r;
                        if (r == 0) {
                                size = strlen(value);
                                p++;
                        }
                }
                if (n + size >= UNIT_NAME_SIZE)
                        return -ENAMETOOLONG;
                memcpy(text + n, value, size);
                n += size;
        }
        text[n] = '\0';
        memcpy(ret, text, n + 1);
        return 0;
}
