/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fnmatch.h>
#include <limits.h>

#include "extract.h"

int policy_clean(const char *name, unsigned strip, char *ret, const char **reterr_why) {
        size_t size = 0, depth = 0;

        if (name[0] == '/') {
                *reterr_why = "its name is absolute";
                return -EINVAL;
        }
        ret[0] = 0;
        for (const char *p = name; *p;) {
                size_t n = strcspn(p, "/");

                for (size_t i = 0; i < n; i++)
                        if ((unsigned char) p[i] < 0x20 || p[i] == 0x7f) {
                                *reterr_why = "its name has a control character";
                                return -EINVAL;
                        }
                if (n == 2 && p[0] == '.' && p[1] == '.') {
                        *reterr_why = "its name has '..'";
                        return -EINVAL;
                }
                if (n > NAME_MAX) {
                        *reterr_why = "its name is too long";
                        return -EINVAL;
                }
                if (n > 0 && !(n == 1 && p[0] == '.')) {
                        if (strip > 0)
                                strip--;
                        else {
                                if (size + 1 + n >= MANIFEST_PATH_MAX || ++depth > MANIFEST_DEPTH_MAX) {
                                        ret[0] = 0;
                                        *reterr_why = depth > MANIFEST_DEPTH_MAX ? "it lies too deep"
                                                                                 : "its path is too long";
                                        return -EINVAL;
                                }
                                if (size > 0)
                                        ret[size++] = '/';
                                memcpy(ret + size, p, n);
                                size += n;
                                ret[size] = 0;
                        }
                }
                p += n;
                p += strspn(p, "/");
        }
        return 0;
}

bool policy_matches(char *const *patterns, size_t n, const char *path) {
        char part[MANIFEST_PATH_MAX];
        size_t length = strlen(path);

        if (n == 0 || length >= sizeof(part))
                return false;
        memcpy(part, path, length + 1);
        for (size_t end = strcspn(path, "/");; end += 1 + strcspn(path + end + 1, "/")) {
                const char *name;

                part[end] = 0;
                name = strrchr(part, '/');
                name = name ? name + 1 : part;
                for (size_t i = 0; i < n; i++) {
                        const char *pattern = patterns[i];
                        bool whole = strchr(pattern, '/');

                        if (fnmatch(pattern + (*pattern == '/'), whole ? part : name, FNM_PATHNAME) == 0)
                                return true;
                }
                part[end] = path[end];
                if (!path[end])
                        return false;
        }
}

bool policy_target_stays(const char *path, const char *target) {
        size_t depth = 0;

        if (target[0] == '/' || !target[0])
                return false;
        for (const char *p = path; (p = strchr(p, '/')); p++)
                depth++;
        for (const char *p = target; *p; p += strspn(p, "/")) {
                size_t n = strcspn(p, "/");

                if (n == 2 && p[0] == '.' && p[1] == '.') {
                        if (depth == 0)
                                return false;
                        depth--;
                } else if (!(n == 1 && p[0] == '.'))
                        depth++;
                p += n;
        }
        return true;
}

char *policy_show(const char *text, char *buffer, size_t size) {
        size_t n = 0;

        for (; *text; text++) {
                unsigned char c = (unsigned char) *text;
                bool plain = c >= 0x20 && c < 0x7f && c != '\\';

                /* Room for what is longest, and for the dots. */
                if (n + 4 + 4 > size) {
                        n += (size_t) snprintf(buffer + n, size - n, "...");
                        break;
                }
                n += (size_t) snprintf(buffer + n, size - n, plain ? "%c" : "\\x%02x", c);
        }
        buffer[n] = 0;
        return buffer;
}
