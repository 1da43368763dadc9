/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Capabilities of a program file, in the form that setcap(8) takes and getcap(8) prints: "cap_net_bind_service=ep". */

#include <endian.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/xattr.h>

#include "file.h"

#define ATTRIBUTE "security.capability"

/* By number. Source: linux/capability.h. */
static const char *const capability_names[] = { "chown", "dac_override", "dac_read_search", "fowner",
        "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable", "net_bind_service",
        "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio",
        "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource",
        "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
        "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
        "checkpoint_restore" };

#define N_CAPABILITIES (sizeof(capability_names) / sizeof(capability_names[0]))
#define ALL            ((UINT64_C(1) << N_CAPABILITIES) - 1)

static uint64_t find_capability(const char *name, size_t length) {
        if (length == 3 && strncasecmp(name, "all", 3) == 0)
                return ALL;
        if (length < 4 || strncasecmp(name, "cap_", 4) != 0)
                return 0;
        for (size_t k = 0; k < N_CAPABILITIES; k++)
                if (strlen(capability_names[k]) == length - 4 &&
                        strncasecmp(capability_names[k], name + 4, length - 4) == 0)
                        return UINT64_C(1) << k;
        return 0;
}

int capabilities_parse(const char *text, Capabilities *ret) {
        Capabilities result = {};
        uint64_t effective = 0;

        for (;;) {
                uint64_t which = 0;
                bool inheritable = false, permitted = false, is_effective = false;

                text += strspn(text, " \t");
                if (!*text)
                        break;
                for (;; text++) {
                        size_t n = strcspn(text, ",=+ \t");
                        uint64_t found = find_capability(text, n);

                        if (!found)
                                return -EINVAL;
                        which |= found;
                        text += n;
                        if (*text != ',')
                                break;
                }
                if (*text != '=' && *text != '+')
                        return -EINVAL;
                for (text++; *text && *text != ' ' && *text != '\t'; text++)
                        switch (*text) {
                        case 'e': is_effective = true; break;
                        case 'i': inheritable = true; break;
                        case 'p': permitted = true; break;
                        default: return -EINVAL;
                        }
                if (!inheritable && !permitted)
                        return -EINVAL;
                result.permitted |= permitted ? which : 0;
                result.inheritable |= inheritable ? which : 0;
                effective |= is_effective ? which : 0;
        }
        /* A file has one bit for all of them. */
        if (effective && effective != (result.permitted | result.inheritable))
                return -EINVAL;
        result.effective = effective;
        *ret = result;
        return 0;
}

int capabilities_read(int fd, Capabilities *ret) {
        struct vfs_ns_cap_data data = {};
        Capabilities result = {};
        ssize_t size;
        uint32_t version;

        size = fgetxattr(fd, ATTRIBUTE, &data, sizeof(data));
        if (size < 0) {
                if (errno != ENODATA)
                        return -errno;
                *ret = result;
                return 0;
        }
        version = le32toh(data.magic_etc) & VFS_CAP_REVISION_MASK;
        if (version != VFS_CAP_REVISION_1 && version != VFS_CAP_REVISION_2 && version != VFS_CAP_REVISION_3)
                return -EBADMSG;
        for (int k = 0; k < (version == VFS_CAP_REVISION_1 ? 1 : 2); k++) {
                result.permitted |= (uint64_t) le32toh(data.data[k].permitted) << 32 * k;
                result.inheritable |= (uint64_t) le32toh(data.data[k].inheritable) << 32 * k;
        }
        result.effective = le32toh(data.magic_etc) & VFS_CAP_FLAGS_EFFECTIVE;
        result.root_id = version == VFS_CAP_REVISION_3 ? le32toh(data.rootid) : 0;
        *ret = result;
        return 0;
}

int capabilities_write(int fd, const Capabilities *capabilities) {
        struct vfs_cap_data data = {
                .magic_etc = htole32(
                        VFS_CAP_REVISION_2 | (capabilities->effective ? VFS_CAP_FLAGS_EFFECTIVE : 0)),
        };

        if (!capabilities->permitted && !capabilities->inheritable)
                return fremovexattr(fd, ATTRIBUTE) < 0 && errno != ENODATA && errno != EOPNOTSUPP ? -errno
                                                                                                  : 0;
        for (int k = 0; k < 2; k++) {
                data.data[k].permitted = htole32((uint32_t) (capabilities->permitted >> 32 * k));
                data.data[k].inheritable = htole32((uint32_t) (capabilities->inheritable >> 32 * k));
        }
        return fsetxattr(fd, ATTRIBUTE, &data, sizeof(data), 0) < 0 ? -errno : 0;
}

bool capabilities_equal(const Capabilities *a, const Capabilities *b) {
        return a->permitted == b->permitted && a->inheritable == b->inheritable &&
               a->effective == b->effective && a->root_id == b->root_id;
}

/* One clause for those that are both permitted and inheritable or not. */
static size_t print_clause(
        const char *flags, uint64_t which, bool effective, char *text, size_t size, size_t n) {
        bool first = true;

        if (!which)
                return n;
        for (size_t k = 0; k < 64 && n < size; k++)
                if (which & UINT64_C(1) << k) {
                        const char *separator = !first ? "," : n > 0 ? " " : "";
                        int written = k < N_CAPABILITIES
                                              ? snprintf(text + n, size - n, "%scap_%s", separator,
                                                        capability_names[k])
                                              : snprintf(text + n, size - n, "%s%zu", separator, k);

                        n += written > 0 ? (size_t) written : 0;
                        first = false;
                }
        if (n < size)
                n += (size_t) snprintf(text + n, size - n, "=%s%s", effective ? "e" : "", flags);
        return n;
}

void capabilities_print(const Capabilities *capabilities, char *text, size_t size) {
        uint64_t p = capabilities->permitted, i = capabilities->inheritable;
        bool e = capabilities->effective;
        size_t n = 0;

        text[0] = 0;
        n = print_clause("ip", p & i, e, text, size, n);
        n = print_clause("p", p & ~i, e, text, size, n);
        n = print_clause("i", i & ~p, e, text, size, n);
        if (capabilities->root_id && n < size)
                (void) snprintf(text + n, size - n, " [rootid=%u]", capabilities->root_id);
}
