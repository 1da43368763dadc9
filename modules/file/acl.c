/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Access control lists, as setfacl(1) writes them, in the form in which the kernel has them as extended attributes (source:
 * linux/posix_acl_xattr.h). By descriptor, and with the names of the managed root: libacl has neither for all of it.
 *
 * The entries of the owner, the group and the others are the mode's. With a list the group's bits of the mode that stat(2)
 * shows are its mask: what `mode` says of the group is then the entry of the group.
 */

#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "file.h"

#define ACL_ACCESS  "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

#define NO_ID ((uint32_t) -1)

static const char *const acl_attributes[] = { ACL_ACCESS, ACL_DEFAULT };

#define XATTR_BYTES(n) (sizeof(struct posix_acl_xattr_header) + (n) * sizeof(struct posix_acl_xattr_entry))

/* ---- From text ------------------------------------------------------------------------------------------------- */

static int parse_permissions(const char *text, uint16_t *ret) {
        uint16_t bits = 0;

        if (!*text)
                return -EINVAL;
        for (; *text; text++)
                switch (*text) {
                case 'r': bits |= 4; break;
                case 'w': bits |= 2; break;
                case 'x': bits |= 1; break;
                case '-': break;
                default: return -EINVAL;
                }
        *ret = bits;
        return 0;
}

/* Takes a word up to the colon. Return: what follows; NULL. */
static const char *take_word(const char *text, const char *const words[2]) {
        for (int k = 0; k < 2; k++) {
                size_t n = strlen(words[k]);

                if (strncmp(text, words[k], n) == 0 && text[n] == ':')
                        return text + n + 1;
        }
        return NULL;
}

const char *acl_parse(AgentdPrepare *prepare, const char *text, AclWish *ret) {
        static const char *const defaults[] = { "default", "d" }, *const users[] = { "user", "u" },
                                 *const groups[] = { "group", "g" }, *const masks[] = { "mask", "m" },
                                 *const others[] = { "other", "o" };
        const char *rest = take_word(text, defaults), *p, *colon;
        AclWish wish = { .is_default = rest };
        char *name;

        if (!rest)
                rest = text;
        if ((p = take_word(rest, users)))
                wish.tag = ACL_USER;
        else if ((p = take_word(rest, groups)))
                wish.tag = ACL_GROUP;
        else if ((p = take_word(rest, masks)))
                wish.tag = ACL_MASK;
        else if ((p = take_word(rest, others)))
                wish.tag = ACL_OTHER;
        else
                return "it must begin with user:, group: or mask:, after default: perhaps";

        colon = strchr(p, ':');
        if (!colon || parse_permissions(colon + 1, &wish.permissions) < 0)
                return "it must be like user:NAME:rwx, with - for what is not allowed";
        if (colon == p) {
                if (!wish.is_default && wish.tag != ACL_MASK)
                        return "what the owner, the group and others may is said by 'mode'";
                wish.tag = wish.tag == ACL_USER    ? ACL_USER_OBJ
                           : wish.tag == ACL_GROUP ? ACL_GROUP_OBJ
                                                   : wish.tag;
        } else {
                if (wish.tag != ACL_USER && wish.tag != ACL_GROUP)
                        return "a mask, and what others may, have no name";
                name = agentd_alloc(prepare, (size_t) (colon - p) + 1);
                memcpy(name, p, (size_t) (colon - p));
                wish.name = name;
        }
        *ret = wish;
        return NULL;
}

bool acl_is_same_entry(const AclWish *a, const AclWish *b) {
        return a->is_default == b->is_default && a->tag == b->tag &&
               (a->name == b->name || (a->name && b->name && strcmp(a->name, b->name) == 0));
}

/* ---- Lists ----------------------------------------------------------------------------------------------------- */

static int compare_entries(const void *a, const void *b) {
        const AclEntry *x = a, *y = b;

        if (x->tag != y->tag)
                return x->tag < y->tag ? -1 : 1;
        return x->id < y->id ? -1 : x->id > y->id;
}

static bool is_base(const AclEntry *entry) {
        return entry->tag == ACL_USER_OBJ || entry->tag == ACL_GROUP_OBJ || entry->tag == ACL_OTHER;
}

static AclEntry *find_entry(Acl *acl, uint16_t tag) {
        for (size_t k = 0; k < acl->n; k++)
                if (acl->entries[k].tag == tag)
                        return &acl->entries[k];
        return NULL;
}

static void add_entry(Acl *acl, uint16_t tag, unsigned permissions, uint32_t id) {
        acl->entries[acl->n++] =
                (AclEntry){ .tag = tag, .permissions = (uint16_t) (permissions & 7), .id = id };
}

int acl_read(int fd, bool of_default, Acl *ret) {
        char bytes[XATTR_BYTES(ACL_ENTRIES_MAX)];
        const struct posix_acl_xattr_header *header = (const void *) bytes;
        const struct posix_acl_xattr_entry *entries = (const void *) (header + 1);
        ssize_t size;

        ret->n = 0;
        size = fgetxattr(fd, acl_attributes[of_default], bytes, sizeof(bytes));
        if (size < 0)
                return errno == ENODATA ? 0 : -errno;
        if ((size_t) size < sizeof(*header) || le32toh(header->a_version) != POSIX_ACL_XATTR_VERSION)
                return -EBADMSG;
        for (size_t k = 0; XATTR_BYTES(k + 1) <= (size_t) size; k++)
                ret->entries[ret->n++] = (AclEntry){
                        .tag = le16toh(entries[k].e_tag),
                        .permissions = le16toh(entries[k].e_perm),
                        .id = le32toh(entries[k].e_id),
                };
        qsort(ret->entries, ret->n, sizeof(AclEntry), compare_entries);
        return 0;
}

mode_t acl_mode(const Acl *access, mode_t mode) {
        for (size_t k = 0; k < access->n; k++)
                if (access->entries[k].tag == ACL_GROUP_OBJ)
                        return (mode & ~070u) | (mode_t) (access->entries[k].permissions & 7) << 3;
        return mode;
}

mode_t acl_shown_mode(const Acl *access, mode_t mode) {
        for (size_t k = 0; k < access->n; k++)
                if (access->entries[k].tag == ACL_MASK)
                        return (mode & ~070u) | (mode_t) (access->entries[k].permissions & 7) << 3;
        return mode;
}

int acl_wanted(AgentdContext *c, const File *file, bool of_default, mode_t mode, Acl *ret,
        const char **reterr_name) {
        const unsigned base[3] = { mode >> 6, mode >> 3, mode };
        static const uint16_t base_tags[3] = { ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_OTHER };
        unsigned mask = 0;
        bool any = false;
        int r = 0;

        ret->n = 0;
        for (size_t k = 0; k < extras_of(file)->n_acl; k++) {
                const AclWish *wish = &extras_of(file)->acl[k];
                uint32_t id = NO_ID;

                if (wish->is_default != of_default)
                        continue;
                any = true;
                if (wish->name) {
                        int s = wish->tag == ACL_USER ? agentd_user_id(c, wish->name, &id)
                                                      : agentd_group_id(c, wish->name, &id);

                        if (s < 0) {
                                *reterr_name = wish->name;
                                r = s;
                                continue;
                        }
                }
                add_entry(ret, wish->tag, wish->permissions, id);
        }
        if (r < 0 || !any)
                return r;

        for (int k = 0; k < 3; k++)
                if (!find_entry(ret, base_tags[k]))
                        add_entry(ret, base_tags[k], base[k], NO_ID);
        if (!find_entry(ret, ACL_MASK)) {
                bool named = false;

                for (size_t k = 0; k < ret->n; k++) {
                        const AclEntry *entry = &ret->entries[k];

                        named = named || entry->tag == ACL_USER || entry->tag == ACL_GROUP;
                        if (entry->tag == ACL_USER || entry->tag == ACL_GROUP || entry->tag == ACL_GROUP_OBJ)
                                mask |= entry->permissions;
                }
                if (named)
                        add_entry(ret, ACL_MASK, mask, NO_ID);
        }
        qsort(ret->entries, ret->n, sizeof(AclEntry), compare_entries);
        return 0;
}

bool acl_equal(const Acl *a, const Acl *b, bool of_default) {
        size_t j = 0, k = 0;

        for (;;) {
                while (!of_default && j < a->n && is_base(&a->entries[j]))
                        j++;
                while (!of_default && k < b->n && is_base(&b->entries[k]))
                        k++;
                if (j == a->n || k == b->n)
                        return j == a->n && k == b->n;
                if (a->entries[j].tag != b->entries[k].tag || a->entries[j].id != b->entries[k].id ||
                        a->entries[j].permissions != b->entries[k].permissions)
                        return false;
                j++;
                k++;
        }
}

void acl_print(AgentdContext *c, const Acl *acl, bool of_default, char *text, size_t size) {
        size_t n = 0;

        text[0] = 0;
        for (size_t k = 0; k < acl->n && n < size; k++) {
                const AclEntry *entry = &acl->entries[k];
                bool user = entry->tag == ACL_USER || entry->tag == ACL_USER_OBJ,
                     group = entry->tag == ACL_GROUP || entry->tag == ACL_GROUP_OBJ;
                int written;

                if (is_base(entry) && !of_default)
                        continue;
                written = snprintf(text + n, size - n, "%s%s%s:%s:%c%c%c", n > 0 ? "," : "",
                        of_default ? "default:" : "",
                        user                     ? "user"
                        : group                  ? "group"
                        : entry->tag == ACL_MASK ? "mask"
                                                 : "other",
                        entry->tag == ACL_USER    ? agentd_user_name(c, entry->id)
                        : entry->tag == ACL_GROUP ? agentd_group_name(c, entry->id)
                                                  : "",
                        entry->permissions & 4 ? 'r' : '-', entry->permissions & 2 ? 'w' : '-',
                        entry->permissions & 1 ? 'x' : '-');
                n += written > 0 ? (size_t) written : 0;
        }
}

int acl_write(int fd, bool of_default, const Acl *acl) {
        char bytes[XATTR_BYTES(ACL_ENTRIES_MAX)];
        struct posix_acl_xattr_header *header = (void *) bytes;
        struct posix_acl_xattr_entry *entries = (void *) (header + 1);

        if (acl->n == 0) {
                if (fremovexattr(fd, acl_attributes[of_default]) == 0 || errno == ENODATA ||
                        errno == EOPNOTSUPP)
                        return 0;
                return -errno;
        }
        header->a_version = htole32(POSIX_ACL_XATTR_VERSION);
        for (size_t k = 0; k < acl->n; k++)
                entries[k] = (struct posix_acl_xattr_entry){
                        .e_tag = htole16(acl->entries[k].tag),
                        .e_perm = htole16(acl->entries[k].permissions),
                        .e_id = htole32(acl->entries[k].id),
                };
        return fsetxattr(fd, acl_attributes[of_default], bytes, XATTR_BYTES(acl->n), 0) < 0 ? -errno : 0;
}
