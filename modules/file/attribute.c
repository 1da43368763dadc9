/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Attributes that not every file system has: access control lists, extended attributes, labels, capabilities, and the flags
 * of chattr(1). Nothing is read of them unless a state declares some.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/posix_acl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <syslog.h>

#include "file.h"

#define ACL_ACCESS   "system.posix_acl_access"
#define ACL_DEFAULT  "system.posix_acl_default"
#define CAPABILITY   "security.capability"
#define SELINUX      "security.selinux"
#define SELINUX_TYPE 0xf97cff8c /* source: linux/magic.h */

#define TEXT_SIZE 4096

/* ---- SELinux --------------------------------------------------------------------------------------------------- */

static bool selinux_is_enabled(AgentdContext *c) {
        static int enabled = -1;
        struct statfs fs;

        if (enabled < 0) {
                enabled = statfs("/sys/fs/selinux", &fs) == 0 && (uint32_t) fs.f_type == SELINUX_TYPE;
                if (!enabled)
                        agentd_log(c, LOG_NOTICE,
                                "SELinux is not enabled on this host, ignoring the labels that are "
                                "declared");
        }
        return enabled;
}

/* A label, without the NUL at its end that some write and some do not. Return: its length; 0 if there is none; -errno. */
static ssize_t read_label(int fd, char *text, size_t size) {
        ssize_t n = fgetxattr(fd, SELINUX, text, size - 1);

        if (n < 0)
                return errno == ENODATA || errno == EOPNOTSUPP ? 0 : -errno;
        while (n > 0 && text[n - 1] == 0)
                n--;
        text[n] = 0;
        return n;
}

/* ---- Comparing ------------------------------------------------------------------------------------------------- */

static int fail_reading(AgentdContext *c, size_t i, const Look *look, const char *what, int r) {
        agentd_failed(c, i,
                r == -EOPNOTSUPP ? "the file system of '%s' has no %s" : "Failed to read of '%s' the %s: %s",
                look->path, what, strerror(-r));
        return -1;
}

/* A file whose mode is not declared keeps it. */
static mode_t mode_to_be(const Look *look) {
        return look->mode != KEEP ? (mode_t) look->mode : look->seen_mode;
}

static int compare_acl(
        AgentdContext *c, size_t i, const File *file, bool of_default, int fd, const Look *look, bool *ret) {
        char before[TEXT_SIZE], after[TEXT_SIZE];
        const char *nobody = NULL;
        Acl is, should;
        int r, s;

        s = acl_wanted(c, file, of_default, mode_to_be(look), &should, &nobody);
        if (s < 0 && !(s == -ESRCH && look->pending)) {
                agentd_failed(c, i,
                        s == -ESRCH ? "there is no user or group '%s', of whom 'acl' speaks"
                                    : "Failed to look up '%s': %s",
                        nobody, strerror(-s));
                return -1;
        }
        r = acl_read(fd, of_default, &is);
        if (r == -EOPNOTSUPP && s == 0 && should.n == 0)
                return 0;
        if (r < 0 && r != -ERANGE)
                return fail_reading(c, i, look, "access control list", r);
        if (s == 0 && r == 0 && acl_equal(&is, &should, of_default))
                return 0;
        *ret = true;
        if (r == -ERANGE)
                (void) snprintf(before, sizeof(before), "more than %d entries", ACL_ENTRIES_MAX);
        else
                acl_print(c, &is, of_default, before, sizeof(before));
        if (s < 0)
                (void) snprintf(after, sizeof(after), "entries for '%s', to come", nobody);
        else
                acl_print(c, &should, of_default, after, sizeof(after));
        agentd_differs_string(c, i, of_default ? "default_acl" : "acl", before, after);
        return 0;
}

static int compare_capabilities(AgentdContext *c, size_t i, const File *file, int fd, Look *look) {
        char before[CAPABILITIES_TEXT_SIZE], after[CAPABILITIES_TEXT_SIZE];
        Capabilities is = {};
        int r;

        r = capabilities_read(fd, &is);
        if (r < 0 && !(r == -EOPNOTSUPP && !extras_of(file)->capabilities.permitted &&
                             !extras_of(file)->capabilities.inheritable))
                return fail_reading(c, i, look, "capabilities", r);
        if (capabilities_equal(&is, &extras_of(file)->capabilities))
                return 0;
        look->capabilities_differ = true;
        capabilities_print(&is, before, sizeof(before));
        capabilities_print(&extras_of(file)->capabilities, after, sizeof(after));
        agentd_differs_string(c, i, "capabilities", before, after);
        return 0;
}

/* The value of an attribute, malloc'ed. Return: 0; -ENODATA; -errno. */
static int read_xattr(int fd, const char *name, char **ret, size_t *ret_size) {
        for (;;) {
                ssize_t n = fgetxattr(fd, name, NULL, 0), m;
                char *value;

                if (n < 0)
                        return -errno;
                value = malloc((size_t) n + 1);
                if (!value)
                        return -ENOMEM;
                m = n == 0 ? 0 : fgetxattr(fd, name, value, (size_t) n);
                if (m >= 0) {
                        value[m] = 0;
                        *ret = value;
                        *ret_size = (size_t) m;
                        return 0;
                }
                free(value);
                if (errno != ERANGE) /* it has grown in between */
                        return -errno;
        }
}

static int compare_xattrs(AgentdContext *c, size_t i, const File *file, int fd, Look *look) {
        for (size_t k = 0; k < extras_of(file)->n_xattrs; k++) {
                const AgentdMember *member = &extras_of(file)->xattrs[k];
                const char *name = member->key;
                AgentdValue is = { .type = AGENTD_STRING };
                char attribute[300], *value = NULL;
                int r;

                r = read_xattr(fd, name, &value, &is.size);
                if (r < 0 && r != -ENODATA)
                        return fail_reading(c, i, look, "extended attributes", r);
                is.string = value;
                if (r < 0 || is.size != member->value.size ||
                        memcmp(value, member->value.string, is.size) != 0) {
                        look->xattrs_differ = true;
                        (void) snprintf(attribute, sizeof(attribute), "xattrs.%s", name);
                        agentd_differs(c, i, attribute, value ? &is : NULL, &member->value);
                }
                free(value);
        }
        return 0;
}

static int compare_label(AgentdContext *c, size_t i, const File *file, int fd, Look *look) {
        char label[TEXT_SIZE] = "";
        ssize_t n;

        if (!selinux_is_enabled(c))
                return 0;
        n = read_label(fd, label, sizeof(label));
        if (n < 0)
                return fail_reading(c, i, look, "label", (int) n);
        if (strcmp(label, extras_of(file)->selinux) != 0) {
                look->selinux_differs = true;
                agentd_differs_string(c, i, "selinux", n > 0 ? label : NULL, extras_of(file)->selinux);
        }
        return 0;
}

/* One that the file system does not have cannot be set. */
static int compare_flag(AgentdContext *c, size_t i, const char *name, uint64_t bit, int should,
        const Look *look, bool *ret_differs) {
        bool is = look->st.stx_attributes & bit;

        if (should == KEEP || is == (bool) should)
                return 0;
        if (!(look->st.stx_attributes_mask & bit)) {
                agentd_failed(c, i, "the file system of '%s' has no flag '%s'", look->path, name);
                return -1;
        }
        *ret_differs = true;
        agentd_differs_boolean(c, i, name, is, should);
        return 0;
}

int compare_extended(AgentdContext *c, size_t i, const File *file, Look *look) {
        int fd CLOSED = -1;

        if (compare_flag(c, i, "immutable", STATX_ATTR_IMMUTABLE, extras_of(file)->immutable, look,
                    &look->immutable_differs) < 0 ||
                compare_flag(c, i, "append_only", STATX_ATTR_APPEND, extras_of(file)->append_only, look,
                        &look->append_only_differs) < 0)
                return -1;
        if (!extras_of(file)->has_extended)
                return 0;

        fd = open_for_attributes(look->dir_fd, look->name, look->kind);
        if (fd < 0) {
                agentd_failed(c, i, "Failed to open '%s': %s", look->path, explain(fd));
                return -1;
        }
        if (extras_of(file)->has_acl && compare_acl(c, i, file, false, fd, look, &look->acl_differs) < 0)
                return -1;
        if (extras_of(file)->has_acl && look->kind == KIND_DIRECTORY &&
                compare_acl(c, i, file, true, fd, look, &look->default_acl_differs) < 0)
                return -1;
        if (extras_of(file)->has_capabilities && compare_capabilities(c, i, file, fd, look) < 0)
                return -1;
        if (compare_xattrs(c, i, file, fd, look) < 0)
                return -1;
        return extras_of(file)->selinux ? compare_label(c, i, file, fd, look) : 0;
}

/* ---- Undo ------------------------------------------------------------------------------------------------------ */

/* "WHAT", or "WHAT of PATH" of what lies below. */
static void undo(AgentdContext *c, size_t i, const char *what, const char *of, const AgentdValue *value) {
        char name[PATH_MAX + 320];

        (void) snprintf(name, sizeof(name), of ? "%s of %s" : "%s", what, of);
        agentd_undo(c, i, name, value);
}

static void undo_text(AgentdContext *c, size_t i, const char *what, const char *of, const char *text) {
        undo(c, i, what, of, &(AgentdValue){ .type = AGENTD_STRING, .string = text, .size = strlen(text) });
}

static void undo_xattr(AgentdContext *c, size_t i, int fd, const char *name, const char *of) {
        AgentdValue value = { .type = AGENTD_STRING };
        char what[300], *text = NULL;

        if (read_xattr(fd, name, &text, &value.size) == 0)
                value.string = text;
        (void) snprintf(what, sizeof(what), "xattrs.%s", name);
        undo(c, i, what, of, text ? &value : NULL);
        free(text);
}

/* All names of an open file, each ended by a NUL; malloc'ed. Return: their size; -errno. */
static ssize_t list_xattrs(int fd, char **ret) {
        char *names = malloc(XATTR_NAMES_SIZE);
        ssize_t n;

        if (!names)
                return -ENOMEM;
        n = flistxattr(fd, names, XATTR_NAMES_SIZE);
        if (n < 0) {
                n = errno == EOPNOTSUPP ? 0 : -errno;
                free(names);
                names = NULL;
        }
        *ret = names;
        return n;
}

/* With what the owning group may, which the mode does not say of a file that has a list. */
static void undo_acl(AgentdContext *c, size_t i, bool of_default, const char *of, const Acl *acl) {
        char text[TEXT_SIZE];
        size_t n = 0;

        for (size_t k = 0; k < acl->n && !of_default; k++) {
                unsigned bits = acl->entries[k].permissions;

                if (acl->entries[k].tag == ACL_GROUP_OBJ)
                        n = (size_t) snprintf(text, sizeof(text), "group::%c%c%c,", bits & 4 ? 'r' : '-',
                                bits & 2 ? 'w' : '-', bits & 1 ? 'x' : '-');
        }
        acl_print(c, acl, of_default, text + n, sizeof(text) - n);
        undo_text(c, i, of_default ? "default_acl" : "acl", of, text);
}

static bool is_acl(const char *name) {
        return strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0;
}

size_t record_lost(AgentdContext *c, size_t i, int fd, const char *of) {
        char text[TEXT_SIZE], *names = NULL;
        Capabilities capabilities;
        size_t n_records = 0;
        ssize_t n;
        Acl acl;

        /* Mostly there are none, and that is one call. */
        n = list_xattrs(fd, &names);
        for (ssize_t k = 0; k < n; k += (ssize_t) strlen(names + k) + 1) {
                const char *name = names + k;

                n_records++;
                if (is_acl(name)) {
                        bool of_default = strcmp(name, ACL_DEFAULT) == 0;

                        if (acl_read(fd, of_default, &acl) >= 0)
                                undo_acl(c, i, of_default, of, &acl);
                } else if (strcmp(name, CAPABILITY) == 0) {
                        if (capabilities_read(fd, &capabilities) < 0)
                                continue;
                        capabilities_print(&capabilities, text, sizeof(text));
                        undo_text(c, i, "capabilities", of, text);
                } else if (strcmp(name, SELINUX) == 0) {
                        if (read_label(fd, text, sizeof(text)) > 0)
                                undo_text(c, i, "selinux", of, text);
                } else
                        undo_xattr(c, i, fd, name, of);
        }
        free(names);
        return n_records;
}

void record_extended_undo(AgentdContext *c, size_t i, const File *file, const Look *look, bool lost) {
        AgentdValue flag = { .type = AGENTD_BOOLEAN };
        char text[TEXT_SIZE];
        int fd CLOSED = -1;
        Capabilities capabilities;
        Acl acl;

        flag.boolean = look->st.stx_attributes & STATX_ATTR_IMMUTABLE;
        if (look->immutable_differs || (lost && flag.boolean))
                agentd_undo(c, i, "immutable", &flag);
        flag.boolean = look->st.stx_attributes & STATX_ATTR_APPEND;
        if (look->append_only_differs || (lost && flag.boolean))
                agentd_undo(c, i, "append_only", &flag);

        if ((!extras_of(file)->has_extended && !lost) ||
                (look->kind != KIND_FILE && look->kind != KIND_DIRECTORY))
                return;
        fd = open_for_attributes(look->dir_fd, look->name, look->kind);
        if (fd < 0)
                return;
        if (lost)
                (void) record_lost(c, i, fd, NULL);
        /* What there was none of, and will be. A new mode takes its list along. */
        for (int k = 0; k < 2; k++) {
                bool differs = k ? look->default_acl_differs : look->acl_differs;

                if ((differs || (k == 0 && look->mode_differs)) && acl_read(fd, k, &acl) == 0 &&
                        (acl.n == 0 ? differs : !lost))
                        undo_acl(c, i, k, NULL, &acl);
        }
        if (look->capabilities_differ && capabilities_read(fd, &capabilities) == 0 &&
                (!lost || !(capabilities.permitted || capabilities.inheritable))) {
                capabilities_print(&capabilities, text, sizeof(text));
                undo_text(c, i, "capabilities", NULL, text);
        }
        if (!lost && look->selinux_differs && read_label(fd, text, sizeof(text)) > 0)
                undo_text(c, i, "selinux", NULL, text);
        for (size_t k = 0; look->xattrs_differ && k < extras_of(file)->n_xattrs; k++) {
                const char *name = extras_of(file)->xattrs[k].key;

                if (!lost || fgetxattr(fd, name, NULL, 0) < 0)
                        undo_xattr(c, i, fd, name, NULL);
        }
}

/* ---- Setting --------------------------------------------------------------------------------------------------- */

/* What was tried, and what the kernel said; valid until the next call. */
static const char *because(const char *what, int r) {
        static char text[400];

        (void) snprintf(text, sizeof(text), r == -EOPNOTSUPP ? "the file system has no %s" : "the %s: %s",
                what, strerror(-r));
        return text;
}

int mode_with_acl(AgentdContext *c, const File *file, mode_t mode, mode_t *ret, const char **ret_error) {
        static char text[400];
        const char *nobody = NULL;
        Acl acl;
        int r;

        *ret = mode;
        if (!extras_of(file)->has_acl)
                return 0;
        r = acl_wanted(c, file, false, mode, &acl, &nobody);
        if (r < 0) {
                (void) snprintf(text, sizeof(text), "there is no user or group '%s', of whom 'acl' speaks",
                        nobody ?: "");
                *ret_error = r == -ESRCH ? text : NULL;
                return r;
        }
        *ret = acl_shown_mode(&acl, mode);
        return 0;
}

int set_extended(AgentdContext *c, const File *file, const Look *look, int fd, const char **ret_error) {
        int r;

        if (extras_of(file)->has_acl)
                for (int k = 0; k < (file->kind == KIND_DIRECTORY ? 2 : 1); k++) {
                        mode_t mode = look->kind == kind_on_disk(file->kind) ? mode_to_be(look)
                                      : look->mode != KEEP                   ? (mode_t) look->mode
                                      : file->kind == KIND_DIRECTORY         ? 0755
                                                                             : 0644;
                        const char *nobody;
                        Acl acl;

                        r = acl_wanted(c, file, k, mode, &acl, &nobody);
                        if (r >= 0)
                                r = acl_write(fd, k, &acl);
                        if (r < 0) {
                                *ret_error = because("access control list", r);
                                return r;
                        }
                }
        for (size_t k = 0; k < extras_of(file)->n_xattrs; k++)
                if (fsetxattr(fd, extras_of(file)->xattrs[k].key, extras_of(file)->xattrs[k].value.string,
                            extras_of(file)->xattrs[k].value.size, 0) < 0) {
                        r = -errno;
                        *ret_error = because("extended attributes", r);
                        return r;
                }
        if (extras_of(file)->selinux && selinux_is_enabled(c) &&
                fsetxattr(fd, SELINUX, extras_of(file)->selinux, strlen(extras_of(file)->selinux) + 1, 0) <
                        0) {
                r = -errno;
                *ret_error = r == -EINVAL ? "the policy of SELinux does not know this label"
                                          : because("label", r);
                return r;
        }
        if (extras_of(file)->has_capabilities) {
                r = capabilities_write(fd, &extras_of(file)->capabilities);
                if (r < 0) {
                        *ret_error = because("capabilities", r);
                        return r;
                }
        }
        return 0;
}

/* An attribute that says what the content was when it was made, or that the state gives. */
static bool is_not_kept(const File *file, const Look *look, const char *name) {
        if (strcmp(name, "security.ima") == 0 || strcmp(name, "security.evm") == 0)
                return true;
        if (is_acl(name))
                return true; /* these by themselves */
        if (strcmp(name, CAPABILITY) == 0)
                /* A new owner has not agreed to them, as with set-id bits. */
                return extras_of(file)->has_capabilities || look->owner_differs || look->group_differs;
        if (strcmp(name, SELINUX) == 0)
                return extras_of(file)->selinux;
        for (size_t k = 0; k < extras_of(file)->n_xattrs; k++)
                if (strcmp(name, extras_of(file)->xattrs[k].key) == 0)
                        return true;
        return false;
}

static int keep_xattr(int old_fd, int fd, const char *name, const char **ret_error) {
        char *value = NULL, *present = NULL;
        size_t size, present_size = 0;
        bool same;
        int r;

        r = read_xattr(old_fd, name, &value, &size);
        if (r < 0)
                return r == -ENODATA ? 0 : r;
        same = read_xattr(fd, name, &present, &present_size) == 0 && present_size == size &&
               memcmp(present, value, size) == 0;
        if (!same && fsetxattr(fd, name, value, size, 0) < 0) {
                static char text[400];

                r = -errno;
                (void) snprintf(
                        text, sizeof(text), "its attribute '%s' cannot be kept: %s", name, strerror(-r));
                *ret_error = text;
        }
        free(value);
        free(present);
        return r;
}

int keep_extended(const File *file, const Look *look, int old_fd, int fd, const char **ret_error) {
        char *names = NULL;
        bool has_list = false;
        ssize_t n;
        int r = 0;

        n = list_xattrs(old_fd, &names);
        if (n < 0)
                return (int) n;
        for (ssize_t k = 0; k < n && r >= 0; k += (ssize_t) strlen(names + k) + 1) {
                has_list = has_list || strcmp(names + k, ACL_ACCESS) == 0;
                if (!is_not_kept(file, look, names + k))
                        r = keep_xattr(old_fd, fd, names + k, ret_error);
        }
        free(names);
        if (r < 0 || extras_of(file)->has_acl)
                return r;
        /* Whoever had the file before may have let himself in: a list goes with him. */
        if (has_list && !look->owner_differs && !look->group_differs)
                return keep_xattr(old_fd, fd, ACL_ACCESS, ret_error);
        /* The directory's default list came with the new file. */
        return fgetxattr(fd, ACL_ACCESS, NULL, 0) > 0 ? acl_write(fd, false, &(Acl){ .n = 0 }) : 0;
}

/* ---- Flags ----------------------------------------------------------------------------------------------------- */

bool has_flags(const Look *look) {
        return look->kind != KIND_ABSENT &&
               look->st.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND);
}

const char *is_protected(const File *file, const Look *look) {
        if (look->kind == KIND_ABSENT)
                return NULL;
        if ((look->st.stx_attributes & STATX_ATTR_IMMUTABLE) && extras_of(file)->immutable == KEEP)
                return "it is immutable; 'immutable' says that it may be changed all the same, and whether "
                       "it "
                       "is immutable after";
        if ((look->st.stx_attributes & STATX_ATTR_APPEND) && extras_of(file)->append_only == KEEP)
                return "it can only be appended to; 'append_only' says that it may be changed all the same";
        return NULL;
}

static int change_flags(int fd, unsigned clear, unsigned set) {
        unsigned flags, wanted; /* an int, whatever the name of the call says */

        if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
                return errno == ENOTTY ? -EOPNOTSUPP : -errno;
        wanted = (flags & ~clear) | set;
        if (wanted == flags)
                return 0;
        if (ioctl(fd, FS_IOC_SETFLAGS, &wanted) < 0)
                return errno == ENOTTY ? -EOPNOTSUPP : -errno;
        return 0;
}

int clear_flags(int fd) {
        return change_flags(fd, FS_IMMUTABLE_FL | FS_APPEND_FL, 0);
}

int set_flags(const File *file, const Look *look, int fd) {
        bool was_immutable = look->kind != KIND_ABSENT && look->st.stx_attributes & STATX_ATTR_IMMUTABLE,
             was_append_only = look->kind != KIND_ABSENT && look->st.stx_attributes & STATX_ATTR_APPEND;
        unsigned set = 0;

        if (extras_of(file)->immutable == KEEP ? was_immutable : extras_of(file)->immutable)
                set |= FS_IMMUTABLE_FL;
        if (extras_of(file)->append_only == KEEP ? was_append_only : extras_of(file)->append_only)
                set |= FS_APPEND_FL;
        return change_flags(fd, (FS_IMMUTABLE_FL | FS_APPEND_FL) & ~set, set);
}
