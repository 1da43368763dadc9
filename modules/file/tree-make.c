/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Changes an entry of a tree, after recording what undoes it. Nothing is synced here: tree_apply() does that in the end. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

/* ---- What undoes it -------------------------------------------------------------------------------------------- */

/* "WHAT of PATH", for an undo record. */
static const char *undo_name(TreeWalk *w, const char *what, char *buffer, size_t size) {
        (void) snprintf(buffer, size, "%s of %s", what, walk_path_shown_below(&w->path));
        return buffer;
}

static void undo_text(TreeWalk *w, const char *what, const char *text) {
        const AgentdValue value = { .type = AGENTD_STRING, .string = text, .size = strlen(text) };
        char name[PATH_MAX + 64];

        agentd_undo(w->c, w->i, undo_name(w, what, name, sizeof(name)), &value);
}

/* "file 0644 0 0": kind, mode, owner and group of what was there. */
static void describe(const TreeEntry *entry, char *buffer, size_t size) {
        (void) snprintf(buffer, size, "%s %04o %u %u", kind_names[entry->is], entry->st.stx_mode & 07777,
                entry->st.stx_uid, entry->st.stx_gid);
}

/* A line of the list of those of which there is no record. A path is written as it is shown, so that lines are lines. */
static void add_line(TreeWalk *w, const char *description) {
        const char *path = walk_path_shown_below(&w->path);
        size_t n = strlen(description) + strlen(path) + 3;

        if (w->undone_allocated - w->undone_size < n) {
                size_t allocated = 2 * w->undone_allocated + n + 4096;
                char *undone = realloc(w->undone, allocated);

                if (!undone)
                        return;
                w->undone = undone;
                w->undone_allocated = allocated;
        }
        w->undone_size += (size_t) snprintf(w->undone + w->undone_size, n, "%s %s\n", description, path);
}

/* Of an entry, what a change of it takes away. */
typedef enum Loss {
        LOSES_NOTHING, /* but mode, owner and group */
        LOSES_RIGHTS,  /* … with the owner: capabilities, for one */
        LOSES_ALL,     /* content too, or where a link leads */
        LOSES_CONTENT,
} Loss;

static bool has_new_owner(const TreeWalk *w, const TreeEntry *entry) {
        return (w->look->uid != (uid_t) KEEP && w->look->uid != entry->st.stx_uid) ||
               (w->look->gid != (gid_t) KEEP && w->look->gid != entry->st.stx_gid);
}

static void record(TreeWalk *w, const TreeEntry *entry, Loss loss) {
        bool with_content = loss == LOSES_ALL || loss == LOSES_CONTENT;
        char description[64], name[PATH_MAX + 64];
        int fd CLOSED = -1;

        if (w->n_undone >= LISTED_MAX / 2) {
                describe(entry, description, sizeof(description));
                add_line(w, entry->is == KIND_ABSENT ? "absent" : description);
                return;
        }
        w->n_undone++;
        if (entry->is == KIND_ABSENT) {
                undo_text(w, "ensure", "absent");
                return;
        }
        describe(entry, description, sizeof(description));
        undo_text(w, "attributes", description);
        if (with_content && entry->is == KIND_SYMLINK) {
                char target[PATH_MAX];
                ssize_t n = readlinkat(entry->dir_fd, entry->name, target, sizeof(target) - 1);

                if (n >= 0) {
                        target[n] = 0;
                        undo_text(w, "target", target);
                }
        }
        if (loss == LOSES_NOTHING || (entry->is != KIND_FILE && entry->is != KIND_DIRECTORY))
                return;
        fd = open_for_attributes(entry->dir_fd, entry->name, entry->is);
        if (fd < 0)
                return;
        if (with_content && entry->is == KIND_FILE) {
                struct stat st;

                if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
                        agentd_keep_file(w->c, w->i, undo_name(w, "content", name, sizeof(name)), fd);
        }
        if (loss != LOSES_CONTENT)
                w->n_undone += record_lost(w->c, w->i, fd, walk_path_shown_below(&w->path));
}

/* ---- The change ------------------------------------------------------------------------------------------------ */

/* Of what is made, new or in place of a file. */
static AgentdAttributes attributes_of(const TreeWalk *w, const TreeEntry *entry) {
        bool new = entry->is != entry->should;
        Look was = {
                .st = entry->st,
                .owner_differs = w->look->uid != (uid_t) KEEP && w->look->uid != entry->st.stx_uid,
                .group_differs = w->look->gid != (gid_t) KEEP && w->look->gid != entry->st.stx_gid,
        };
        mode_t present = !new ? kept_mode(&was, entry->st.stx_mode)
                         : entry->should == KIND_DIRECTORY || (entry->source_st.stx_mode & S_IXUSR) ? 0755
                                                                                                    : 0644;
        int64_t mode = tree_mode(w->tree, entry->should, present);

        return (AgentdAttributes){
                .mode = mode != KEEP ? (mode_t) mode : present,
                .uid = w->look->uid != (uid_t) KEEP ? w->look->uid
                       : new                        ? 0
                                                    : entry->st.stx_uid,
                .gid = w->look->gid != (gid_t) KEEP ? w->look->gid
                       : new                        ? 0
                                                    : entry->st.stx_gid,
        };
}

int tree_make_directory(TreeWalk *w, const TreeEntry *entry) {
        const AgentdAttributes attributes = attributes_of(w, entry);
        int r;

        record(w, entry, LOSES_NOTHING);
        w->changed = true;
        r = agentd_make_directory_at(w->c, entry->dir_fd, entry->name, &attributes);
        return r < 0 ? tree_fail(w, "make directory", r) : 0;
}

int tree_make_symlink(TreeWalk *w, const TreeEntry *entry, const char *target) {
        const AgentdAttributes attributes = attributes_of(w, entry);
        int r;

        record(w, entry, LOSES_ALL);
        w->changed = true;
        r = agentd_replace_symlink_at(
                w->c, entry->dir_fd, entry->name, target, attributes.uid, attributes.gid);
        return r < 0 ? tree_fail(w, "make symlink", r) : 0;
}

/* The file that is replaced, for what the new one keeps of it. */
typedef struct Old {
        const Look *look;
        int fd;
        mode_t mode;
        const char *error;
} Old;

/* As far as the state says anything of it: of what is below, nothing. */
static const File plain_file = { .kind = KIND_FILE, .mode = KEEP };

static int finish_file(AgentdContext *c, int fd, const char *path, void *userdata) {
        Old *old = userdata;
        int r;

        r = keep_extended(&plain_file, old->look, old->fd, fd, &old->error);
        if (r < 0)
                return r;
        /* A list brings the mode along. */
        return fchmod(fd, old->mode) < 0 ? -errno : 0;
}

int tree_make_file(TreeWalk *w, const TreeEntry *entry, int source_fd) {
        const Look was = {
                .kind = entry->is,
                .st = entry->st,
                .owner_differs = w->look->uid != (uid_t) KEEP && w->look->uid != entry->st.stx_uid,
                .group_differs = w->look->gid != (gid_t) KEEP && w->look->gid != entry->st.stx_gid,
        };
        int old_fd CLOSED = -1;
        Old old = { .look = &was, .mode = attributes_of(w, entry).mode };
        const AgentdReplacement replacement = {
                .size = sizeof(replacement),
                .fd = source_fd,
                .attributes = attributes_of(w, entry),
                .finish = entry->is == KIND_FILE ? finish_file : NULL,
                .userdata = &old,
        };
        const char *why = is_protected(&plain_file, &was);
        int r;

        if (why)
                return tree_fail_words(w, "make file", why);
        if (entry->is == KIND_FILE) {
                old.fd = old_fd = open_regular(entry->dir_fd, entry->name);
                if (old_fd < 0)
                        return tree_fail(w, "open", old_fd);
        }
        record(w, entry, has_new_owner(w, entry) ? LOSES_ALL : LOSES_CONTENT);
        w->changed = true;
        r = agentd_stage_part(w->c, w->i, entry->dir_fd, entry->name, &replacement);
        if (r < 0 && old.error)
                return tree_fail_words(w, "make file", old.error);
        return r < 0 ? tree_fail(w, "make file", r) : 0;
}

int tree_set_attributes(TreeWalk *w, const TreeEntry *entry) {
        File file = { .kind = entry->is };
        Look was = {
                .kind = entry->is,
                .st = entry->st,
                .dir_fd = entry->dir_fd,
                .name = entry->name,
                .uid = w->look->uid,
                .gid = w->look->gid,
                .owner_differs = w->look->uid != (uid_t) KEEP && w->look->uid != entry->st.stx_uid,
                .group_differs = w->look->gid != (gid_t) KEEP && w->look->gid != entry->st.stx_gid,
                .sync_later = true,
        };
        const char *error = is_protected(&file, &was);
        int r;

        if (error)
                return tree_fail_words(w, "change", error);
        /* A symbolic mode, too, is about what the new owner gets. */
        was.mode = tree_mode(w->tree, entry->is, kept_mode(&was, entry->st.stx_mode));
        file.mode = (int32_t) was.mode;
        record(w, entry, has_new_owner(w, entry) ? LOSES_RIGHTS : LOSES_NOTHING);
        w->changed = true;
        r = set_attributes(w->c, &file, &was, &error);
        if (r < 0 && error)
                return tree_fail_words(w, "change", error);
        return r < 0 ? tree_fail(w, "change", r) : 0;
}

int tree_remove(TreeWalk *w, const TreeEntry *entry) {
        int r;

        record(w, entry, LOSES_ALL);
        w->changed = true;
        r = agentd_remove_at(w->c, entry->dir_fd, entry->name, entry->is == KIND_DIRECTORY);
        return r < 0 ? tree_fail(w, "remove", r) : 0;
}
