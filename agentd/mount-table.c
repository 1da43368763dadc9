/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>

#include "mount-table.h"
#include "util.h"

#define MOUNTINFO_MAX MIB(4)

bool path_is_below(const char *path, const char *directory) {
        const char *rest = startswith(path, directory);

        return rest && (*rest == 0 || *rest == '/' || streq(directory, "/"));
}

/* Undoes \040 and the like in place. */
static void unescape(char *text) {
        char *out = text;

        for (const char *p = text; *p; p++)
                if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
                        p[3] >= '0' && p[3] <= '7') {
                        *out++ = (char) ((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
                        p += 3;
                } else
                        *out++ = *p;
        *out = 0;
}

int mount_point_of(const char *table, const char *path, char **ret) {
        _cleanup_free_ char *text = NULL, *best = NULL;

        if (table)
                text = strdup(table);
        else {
                _cleanup_close_ int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
                ssize_t n;

                if (fd < 0)
                        return -errno;
                text = malloc(MOUNTINFO_MAX + 1);
                if (!text)
                        return -ENOMEM;
                n = read_full(fd, text, MOUNTINFO_MAX);
                if (n < 0)
                        return (int) n;
                text[n] = 0;
        }
        if (!text)
                return -ENOMEM;

        /* The fifth field is the mount point. Later lines lie on top of earlier ones. */
        for (char *line = text, *next; line && *line; line = next) {
                char *field = line, *end;

                next = strchr(line, '\n');
                if (next)
                        *next++ = 0;
                for (int i = 0; i < 4 && field; i++) {
                        field = strchr(field, ' ');
                        field = field ? field + 1 : NULL;
                }
                if (!field)
                        continue;
                end = strchr(field, ' ');
                if (end)
                        *end = 0;
                unescape(field);
                if (!path_is_below(path, field) || (best && strlen(field) < strlen(best)))
                        continue;
                free(best);
                best = strdup(field);
                if (!best)
                        return -ENOMEM;
        }

        if (!best)
                return -ENOENT;
        *ret = TAKE_PTR(best);
        return 0;
}
