/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Walks what lies below a directory and, side by side, its source, each by open directories and sorted names. So memory is
 * what the names of the directories on one way down take, and the order is the same each time.
 *
 * An entry is looked at, told and changed before the next one, by the descriptor of its directory and its name: nobody can
 * lead a change to another directory. What replaces an entry in between lies in the same directory: its kind is asked for
 * again by the change itself, or does not matter to it.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tree.h"

/* ---- What is told ---------------------------------------------------------------------------------------------- */

int tree_fail_words(TreeWalk *w, const char *what, const char *why) {
        agentd_failed(w->c, w->i, "Failed to %s '%s': %s", what, walk_path_shown(&w->path), why);
        w->failed = true;
        return -1;
}

int tree_fail(TreeWalk *w, const char *what, int error) {
        return tree_fail_words(w, what, explain(error));
}

static bool is_quiet(const TreeWalk *w) {
        return w->pass == PASS_COUNT || w->pass == PASS_CONTENT;
}

/* "WHAT PATH" of a difference; NULL if there were too many already. */
static const char *difference(TreeWalk *w, const char *what, char *buffer, size_t size) {
        int n;

        w->differs = true;
        if (w->n_listed >= LISTED_MAX || w->listed_bytes >= LISTED_BYTES_MAX) {
                w->n_more++;
                return NULL;
        }
        n = snprintf(buffer, size, "%s %s", what, walk_path_shown_below(&w->path));
        w->n_listed++;
        w->listed_bytes += n > 0 ? (size_t) n + 64 : 0;
        return buffer;
}

#define NAME_SIZE (PATH_MAX + 64)

static void differs(TreeWalk *w, const char *what, const char *is, const char *should) {
        char name[NAME_SIZE];

        if (difference(w, what, name, sizeof(name)))
                agentd_differs_string(w->c, w->i, name, is, should);
}

static void differs_content(TreeWalk *w, int fd, int source) {
        char name[NAME_SIZE], a[64], b[64], *is = NULL, *should;
        size_t is_size = 0, should_size = 0;
        struct stat st = {};

        if (!difference(w, "content of", name, sizeof(name)) || w->pass == PASS_APPLY)
                return;
        if (fd >= 0)
                is = read_shown(fd, &is_size);
        should = read_shown(source, &should_size);
        if ((fd < 0 || is) && should)
                agentd_differs_file(
                        w->c, w->i, name, walk_path_shown(&w->path), is, is_size, should, should_size);
        else {
                (void) snprintf(a, sizeof(a), "%lld bytes",
                        (long long) (fd >= 0 && fstat(fd, &st) == 0 ? st.st_size : 0));
                (void) snprintf(
                        b, sizeof(b), "%lld bytes", (long long) (fstat(source, &st) == 0 ? st.st_size : 0));
                agentd_differs_string(w->c, w->i, name, fd >= 0 ? a : NULL, b);
        }
        free(is);
        free(should);
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

/* Return: a descriptor; -errno, -EBUSY if it is no regular file by now. */
static int open_entry(int dir_fd, const char *name) {
        int fd = open_regular(dir_fd, name);
        struct stat st;

        if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
                (void) close(fd);
                return -EBUSY;
        }
        return fd;
}

static int open_in_source(TreeWalk *w, const TreeEntry *entry) {
        int fd = open_entry(entry->source_fd, entry->name);
        char shown[PATH_MAX];

        if (fd < 0) {
                agentd_failed(w->c, w->i, "Failed to open '%s' in source '%s': %s",
                        walk_show(walk_path_below(&w->path), shown, sizeof(shown)), w->tree->source,
                        fd == -EBUSY || fd == -ELOOP ? "it was replaced in the meantime" : explain(fd));
                w->failed = true;
        }
        return fd;
}

/* The files as they are now that they were read. */
static void note_pair(TreeWalk *w, int fd, int source) {
        struct statx st;

        if (w->pass != PASS_ALL && w->pass != PASS_CONTENT)
                return;
        for (int i = 0; i < 2; i++) {
                int of = i == 0 ? fd : source;

                /* What cannot be asked is not remembered: this is no file that can be. */
                if (statx(of, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) < 0)
                        st = (struct statx){};
                agentd_note(w->c, w->i, of, &st);
        }
}

static int visit_file(TreeWalk *w, const TreeEntry *entry) {
        int fd CLOSED = -1, source CLOSED = -1, r;
        struct stat is, should;

        if (w->pass == PASS_STRUCTURE && entry->is == KIND_FILE) {
                agentd_note(w->c, w->i, entry->dir_fd, &entry->st);
                agentd_note(w->c, w->i, entry->source_fd, &entry->source_st);
                return 0;
        }
        if (entry->is != KIND_FILE) {
                if (w->pass != PASS_APPLY)
                        return 0; /* that it is missing was told */
                source = open_in_source(w, entry);
                return source < 0 ? -1 : tree_make_file(w, entry, source);
        }

        source = open_in_source(w, entry);
        if (source < 0)
                return -1;
        fd = open_entry(entry->dir_fd, entry->name);
        if (fd == -ENOENT)
                return 0; /* it has just gone; the next check sees that */
        if (fd < 0)
                return tree_fail_words(w, "open",
                        fd == -EBUSY || fd == -ELOOP ? "it was replaced in the meantime" : explain(fd));
        if (fstat(fd, &is) < 0 || fstat(source, &should) < 0)
                return tree_fail(w, "look at", -errno);
        r = is.st_size == should.st_size ? compare_with_file(fd, is.st_size, source) : 0;
        if (r < 0)
                return tree_fail(w, "read", r);
        if (r > 0) {
                note_pair(w, fd, source);
                return 0;
        }
        differs_content(w, fd, source);
        return w->pass == PASS_APPLY ? tree_make_file(w, entry, source) : 0;
}

static int visit_symlink(TreeWalk *w, const TreeEntry *entry) {
        char is[PATH_MAX], should[PATH_MAX], shown_is[PATH_MAX], shown_should[PATH_MAX];
        ssize_t n;

        n = readlinkat(entry->source_fd, entry->name, should, sizeof(should) - 1);
        if (n < 0)
                return tree_fail(w, "read in the source the link", -errno);
        should[n] = 0;
        if (entry->is == KIND_SYMLINK) {
                n = readlinkat(entry->dir_fd, entry->name, is, sizeof(is) - 1);
                if (n < 0)
                        return tree_fail(w, "read link", -errno);
                is[n] = 0;
                if (strcmp(is, should) == 0)
                        return 0;
        }
        differs(w, "target of", entry->is == KIND_SYMLINK ? walk_show(is, shown_is, sizeof(shown_is)) : NULL,
                walk_show(should, shown_should, sizeof(shown_should)));
        return w->pass == PASS_APPLY ? tree_make_symlink(w, entry, should) : 0;
}

static int visit_attributes(TreeWalk *w, const TreeEntry *entry) {
        int64_t mode = tree_mode(w->tree, entry->is, entry->st.stx_mode);
        const Look *look = w->look;
        char name[NAME_SIZE];
        bool found = false;

        if (entry->is == KIND_OTHER)
                return 0;
        if (mode != KEEP && (entry->st.stx_mode & 07777) != (mode_t) mode) {
                found = true;
                if (difference(w, "mode of", name, sizeof(name)))
                        agentd_differs_mode(w->c, w->i, name, entry->st.stx_mode, (mode_t) mode);
        }
        if (look->owner_to_come || (look->uid != (uid_t) KEEP && entry->st.stx_uid != look->uid)) {
                found = true;
                differs(w, "owner of", agentd_user_name(w->c, entry->st.stx_uid), w->file->owner);
        }
        if (look->group_to_come || (look->gid != (gid_t) KEEP && entry->st.stx_gid != look->gid)) {
                found = true;
                differs(w, "group of", agentd_group_name(w->c, entry->st.stx_gid), w->file->group);
        }
        return found && w->pass == PASS_APPLY ? tree_set_attributes(w, entry) : 0;
}

/* ---- Walking --------------------------------------------------------------------------------------------------- */

/* How a directory is walked. */
typedef struct Below {
        unsigned depth; /* of its entries: 1 below the top */
        bool purge;     /* what the source does not have is removed */
        bool recurse;   /* it has the attributes */
} Below;

static int walk_directory(TreeWalk *w, int fd, int source_fd, Below below, bool *ret_kept);

static int count(TreeWalk *w, size_t n, size_t *sum, const char *where) {
        *sum += n;
        if (*sum <= w->tree->max_files)
                return 0;
        agentd_failed(w->c, w->i,
                "there are more than %u files and directories %s; nothing was changed; 'max_files' is their "
                "limit",
                w->tree->max_files, where);
        w->failed = true;
        return -1;
}

/* Reads the names of a directory, if there is one. */
static int read_names(TreeWalk *w, int fd, size_t *sum, const char *where, Entries *ret) {
        int r;

        if (fd < 0)
                return 0;
        r = entries_read(fd, w->tree->max_files - *sum, ret);
        if (r == -E2BIG)
                return count(w, w->tree->max_files, sum, where) < 0 ? -1 : count(w, 1, sum, where);
        if (r < 0)
                return tree_fail(w, "read directory", r);
        return count(w, ret->n, sum, where);
}

static int enter(TreeWalk *w, int dir_fd, const char *name) {
        int fd = walk_enter(dir_fd, name);

        /* It was another directory, or none, a moment ago, or is a mount by now. */
        if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP || fd == -EXDEV)
                return -ESTALE;
        if (fd < 0)
                (void) tree_fail(w, "open directory", fd);
        return fd;
}

/* Whether a directory that is not walked into has anything in it: what cannot be looked at has. */
static bool has_entries(int fd) {
        ENTRIES entries = {};

        return entries_read(fd, 0, &entries) < 0;
}

/* Goes down into a directory of the tree, or, without one, into that of the source. */
static int descend(TreeWalk *w, const TreeEntry *entry, Below below, bool *ret_kept) {
        int fd CLOSED = -1, source_fd CLOSED = -1;
        bool is_there =
                entry->is == KIND_DIRECTORY || (w->pass == PASS_APPLY && entry->should == KIND_DIRECTORY);

        *ret_kept = false;
        if (is_there) {
                fd = enter(w, entry->dir_fd, entry->name);
                if (fd == -ESTALE) {
                        *ret_kept = true;
                        return 0;
                }
                if (fd < 0)
                        return -1;
        }
        if (below.depth > w->tree->depth || below.depth > WALK_DEPTH_MAX) {
                if (w->tree->depth >= WALK_DEPTH_MAX && (entry->should == KIND_DIRECTORY || has_entries(fd)))
                        return tree_fail_words(w, "look into",
                                "it is too many levels below the top; 'max_depth' limits how deep agentd "
                                "looks");
                *ret_kept = fd >= 0 && has_entries(fd);
                return 0;
        }
        if (entry->should == KIND_DIRECTORY) {
                source_fd = walk_enter(entry->source_fd, entry->name);
                if (source_fd == -EXDEV)
                        return tree_fail_words(w, "open in the source", "something is mounted there");
                if (source_fd < 0)
                        return tree_fail(w, "open in the source directory", source_fd);
        }
        return walk_directory(w, fd, source_fd, below, ret_kept);
}

/* What the source does not have goes, with all that is below. */
static int purge_entry(TreeWalk *w, const TreeEntry *entry, Below below, bool *ret_kept) {
        if (entry->is == KIND_DIRECTORY) {
                below.depth++;
                below.recurse = false;
                if (descend(w, entry, below, ret_kept) < 0)
                        return -1;
                if (*ret_kept)
                        return 0;
        }
        *ret_kept = false;
        if (is_quiet(w))
                return 0;
        differs(w, "purge", kind_names[entry->is], NULL);
        return w->pass == PASS_APPLY ? tree_remove(w, entry) : 0;
}

/* Something of another kind is where an entry of the source should be. */
static int replace_kind(TreeWalk *w, TreeEntry *entry, Below below, bool *ret_kept) {
        char words[256];
        bool kept = false;

        if (!w->tree->force && !below.purge) {
                (void) snprintf(words, sizeof(words),
                        "it is a %s and should be a %s; it is not replaced; force = true or purge = true "
                        "does that",
                        kind_names[entry->is], kind_names[entry->should]);
                return tree_fail_words(w, "make", words);
        }
        if (w->pass != PASS_CONTENT && entry->is == KIND_DIRECTORY) {
                const TreeEntry old = { .name = entry->name,
                        .dir_fd = entry->dir_fd,
                        .source_fd = -1,
                        .is = entry->is,
                        .should = KIND_ABSENT,
                        .st = entry->st };

                below.purge = true;
                if (purge_entry(w, &old, below, &kept) < 0)
                        return -1;
                if (kept)
                        return tree_fail_words(
                                w, "replace directory", "it has something in it that has to stay");
        } else if (w->pass == PASS_APPLY && entry->should == KIND_DIRECTORY && tree_remove(w, entry) < 0)
                return -1;
        if (!is_quiet(w))
                differs(w, "ensure of", kind_names[entry->is], kind_names[entry->should]);
        /* A file or symlink takes the place of a file or symlink in one step. */
        if (entry->is == KIND_DIRECTORY || entry->should == KIND_DIRECTORY)
                entry->is = KIND_ABSENT;
        *ret_kept = true;
        return 0;
}

static int visit_from_source(TreeWalk *w, TreeEntry *entry, Below below) {
        bool kept;

        if (entry->is == KIND_ABSENT) {
                if (!is_quiet(w))
                        differs(w, "ensure of", kind_names[KIND_ABSENT], kind_names[entry->should]);
        } else if (entry->is != entry->should && replace_kind(w, entry, below, &kept) < 0)
                return -1;
        else if (entry->is == entry->should && !is_quiet(w) && visit_attributes(w, entry) < 0)
                return -1;

        if (entry->should == KIND_SYMLINK)
                return is_quiet(w) ? 0 : visit_symlink(w, entry);
        if (entry->should == KIND_FILE)
                return w->pass == PASS_COUNT ? 0 : visit_file(w, entry);
        if (w->pass == PASS_APPLY && entry->is != KIND_DIRECTORY && tree_make_directory(w, entry) < 0)
                return -1;
        below.depth++;
        return descend(w, entry, below, &kept);
}

/* kept: it will still be there, so that its directory cannot go. */
static int visit(TreeWalk *w, TreeEntry *entry, Below below, bool *ret_kept) {
        bool is_directory = entry->is == KIND_DIRECTORY || entry->should == KIND_DIRECTORY;
        const Tree *tree = w->tree;
        AgentdOwned owned;

        *ret_kept = true;
        if (patterns_match(tree->exclude, walk_path_below(&w->path), is_directory) ||
                (tree->include && !is_directory &&
                        !patterns_match(tree->include, walk_path_below(&w->path), false)))
                return 0;
        if (entry->is != KIND_ABSENT &&
                (walk_is_mount(&entry->st) || is_young_temporary(entry->name, &entry->st, w->now_sec)))
                return 0;
        owned = w->asks_owner ? agentd_owned(w->c, w->i, w->path.text) : AGENTD_OWNED_NOT;
        if (owned >= AGENTD_OWNED_PATH)
                return 0;

        if (entry->should != KIND_ABSENT)
                return visit_from_source(w, entry, below);
        if (below.purge && owned == AGENTD_OWNED_NOT)
                return purge_entry(w, entry, below, ret_kept);
        if (below.recurse && !is_quiet(w) && visit_attributes(w, entry) < 0)
                return -1;
        if (entry->is != KIND_DIRECTORY || (!below.recurse && !below.purge))
                return 0;
        below.depth++;
        if (descend(w, entry, below, ret_kept) < 0)
                return -1;
        *ret_kept = true;
        return 0;
}

/* The kinds of an entry, by as little as it takes. Return: 1; 0 if it has gone; -1. */
static int look_at(TreeWalk *w, TreeEntry *entry, bool is_there, bool is_in_source) {
        int r;

        entry->is = entry->should = KIND_ABSENT;
        if (is_in_source) {
                r = walk_look(entry->source_fd, entry->name, &entry->source_st);
                if (r < 0 && r != -ENOENT)
                        return tree_fail(w, "look in the source at", r);
                if (r == 0 && kind_of(entry->source_st.stx_mode) != KIND_OTHER)
                        entry->should = kind_of(entry->source_st.stx_mode);
        }
        if (is_there) {
                r = walk_look(entry->dir_fd, entry->name, &entry->st);
                if (r < 0 && r != -ENOENT)
                        return tree_fail(w, "look at", r);
                if (r == 0)
                        entry->is = kind_of(entry->st.stx_mode);
        }
        return entry->is != KIND_ABSENT || entry->should != KIND_ABSENT;
}

static int walk_directory(TreeWalk *w, int fd, int source_fd, Below below, bool *ret_kept) {
        ENTRIES ours = {};
        ENTRIES theirs = {};

        *ret_kept = false;
        if (read_names(w, fd, &w->n_seen, "below", &ours) < 0 ||
                read_names(w, source_fd, &w->n_source, "in 'source'", &theirs) < 0)
                return -1;

        for (size_t i = 0, k = 0; i < ours.n || k < theirs.n;) {
                int order = i == ours.n     ? 1
                            : k == theirs.n ? -1
                                            : strcmp(entry_name(&ours, i), entry_name(&theirs, k));
                TreeEntry entry = {
                        .name = order <= 0 ? entry_name(&ours, i) : entry_name(&theirs, k),
                        .dir_fd = fd,
                        .source_fd = source_fd,
                };
                size_t before = walk_path_enter(&w->path, entry.name);
                bool kept = true;
                int r;

                r = look_at(w, &entry, order <= 0, order >= 0);
                if (r > 0)
                        r = visit(w, &entry, below, &kept);
                else
                        kept = false;
                walk_path_leave(&w->path, before);
                if (r < 0)
                        return -1;
                *ret_kept |= kept;
                i += order <= 0;
                k += order >= 0;
        }
        return 0;
}

/* ---- From the top ---------------------------------------------------------------------------------------------- */

/* Return: 0; -1 if the state is finished. */
static int open_tops(TreeWalk *w, int dir_fd, int *ret_fd, int *ret_source_fd) {
        int r;

        *ret_fd = *ret_source_fd = -1;
        if (w->tree->source) {
                r = agentd_open_source_directory(w->c, w->tree->source, ret_source_fd);
                if (r < 0) {
                        agentd_failed(w->c, w->i, "Failed to open source '%s': %s", w->tree->source,
                                r == -ENOTDIR ? "it is not a directory" : explain(r));
                        return -1;
                }
        }
        if (dir_fd >= 0) {
                *ret_fd = openat(dir_fd, w->look->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (*ret_fd < 0)
                        return tree_fail(w, "open directory", -errno);
        }
        return 0;
}

static int pass(TreeWalk *w, Pass pass, int fd, int source_fd) {
        const Below below = { .depth = 1, .purge = w->tree->purge, .recurse = w->tree->recurse };
        bool kept;

        w->pass = pass;
        w->n_seen = w->n_source = 0;
        walk_path_init(&w->path, w->state->name);
        return walk_directory(w, fd, source_fd, below, &kept);
}

static TreeWalk *tree_walk_new(AgentdContext *c, size_t i, const AgentdState *state, const Look *look) {
        const File *file = state->data;
        TreeWalk *w = calloc(1, sizeof(TreeWalk));

        if (!w) {
                agentd_failed(c, i, "out of memory");
                return NULL;
        }
        w->c = c;
        w->i = i;
        w->state = state;
        w->file = file;
        w->tree = extras_of(file)->tree;
        w->look = look;
        w->now_sec = time(NULL);
        w->asks_owner = agentd_owned(c, i, state->name) != AGENTD_OWNED_NOT;
        if (look->kind == KIND_DIRECTORY && w->tree->purge && !w->tree->force && walk_is_mount(&look->st)) {
                agentd_failed(c, i,
                        "'%s' is where something is mounted; what is on it is purged with force = true only",
                        state->name);
                free(w);
                return NULL;
        }
        return w;
}

static void tree_walk_free(TreeWalk **w) {
        if (*w)
                free((*w)->undone);
        free(*w);
}

#define WALK __attribute__((cleanup(tree_walk_free))) TreeWalk

/* What is beyond the list of differences. */
static void tell_more(TreeWalk *w) {
        if (w->n_more > 0)
                agentd_differs_integer(w->c, w->i, "further differences", (int64_t) w->n_more, 0);
}

void tree_check(AgentdContext *c, size_t i, const AgentdState *state, Look *look) {
        WALK *w = tree_walk_new(c, i, state, look);
        int fd CLOSED = -1, source_fd CLOSED = -1;
        bool remembered, known = false;

        if (!w || open_tops(w, look->kind == KIND_DIRECTORY ? look->dir_fd : -1, &fd, &source_fd) < 0)
                return;
        remembered = agentd_note_begin(c, i);
        if (pass(w, remembered ? PASS_STRUCTURE : PASS_ALL, fd, source_fd) < 0)
                return;
        if (remembered) {
                known = agentd_note_unchanged(c, i);
                if (!known) {
                        (void) agentd_note_begin(c, i);
                        if (pass(w, PASS_CONTENT, fd, source_fd) < 0)
                                return;
                }
        }
        tell_more(w);
        if (!w->differs)
                agentd_note_remember(c, i);
        agentd_done(c, i);
}

static bool differs_at_top(const Look *look) {
        return look->kind != KIND_DIRECTORY || look->has_remains || look->mode_differs ||
               look->owner_differs || look->group_differs || look->acl_differs ||
               look->default_acl_differs || look->xattrs_differ || look->selinux_differs ||
               look->capabilities_differ || look->immutable_differs || look->append_only_differs;
}

/* Makes the top as declared. Return: 0; -1 if the state is finished. */
static int apply_top(TreeWalk *w, Look *look) {
        const char *error = NULL;
        int r;

        if (!differs_at_top(look))
                return 0;
        record_undo(w->c, w->i, w->file, look);
        r = file_make(w->c, w->i, w->state, look, &error);
        if (r < 0) {
                agentd_failed(w->c, w->i, "Failed to make directory '%s': %s", w->state->name,
                        error ? error : explain(r));
                return -1;
        }
        if (r == FINISHED)
                return -1;
        /* It may be another one by now, and so may the directories above. */
        r = agentd_open_parent(w->c, w->state->name, &look->dir_fd, &look->name);
        return r < 0 ? tree_fail(w, "open the directory of", r) : 0;
}

void tree_apply(AgentdContext *c, size_t i, const AgentdState *state, Look *look) {
        WALK *w = tree_walk_new(c, i, state, look);
        int fd CLOSED = -1, source_fd CLOSED = -1;
        const char *part = NULL;
        int r, finished;

        if (!w)
                return;
        /* First whether it can be done, before anything is touched. */
        if (open_tops(w, look->kind == KIND_DIRECTORY ? look->dir_fd : -1, &fd, &source_fd) < 0 ||
                pass(w, PASS_COUNT, fd, source_fd) < 0)
                return;
        close_fd(&fd);
        close_fd(&source_fd);
        fd = source_fd = -1;
        walk_path_init(&w->path, state->name);
        if (apply_top(w, look) < 0 || open_tops(w, look->dir_fd, &fd, &source_fd) < 0)
                return;

        r = pass(w, PASS_APPLY, fd, source_fd);
        if (w->undone_size > 0)
                agentd_keep(c, i, "what else was there", w->undone, w->undone_size);
        if (!w->changed) {
                if (r == 0)
                        agentd_done(c, i);
                return;
        }
        finished = agentd_finish_parts(c, i, fd, &part);
        if (r < 0)
                return; /* why was said */
        if (finished < 0) {
                if (part) {
                        char shown[PATH_MAX];

                        agentd_failed(c, i, "Failed to make file '%s' somewhere below '%s': %s",
                                walk_show(part, shown, sizeof(shown)), state->name, explain(finished));
                } else
                        agentd_failed(c, i, "Failed to sync '%s': %s", state->name, strerror(-finished));
                return;
        }
        agentd_done(c, i);
}
