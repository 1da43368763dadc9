/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The tree that is written. Each path is walked anew, from the tree's own descriptor, by openat2(2): it cannot leave, and no
 * symlink is followed, whatever the archive has put there before.
 */

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <search.h>
#include <sodium.h>
#include <sys/syscall.h>

#include "extract.h"

#define RESOLVE_STRICT (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)
#define BLOCK_SIZE     KIB(64)

typedef struct TreeEntry {
        ManifestEntry entry; /* strings are owned */
} TreeEntry;

static TreeEntry *tree_entry_free(TreeEntry *e) {
        if (!e)
                return NULL;
        free((void *) e->entry.path);
        free((void *) e->entry.target);
        free((void *) e->entry.owner);
        free((void *) e->entry.group);
        free(e);
        return NULL;
}
DEFINE_CLEANUP(TreeEntry *, tree_entry_free)

static void free_node(void *e) {
        (void) tree_entry_free(e);
}

static int compare_entries(const void *a, const void *b) {
        return manifest_compare(((const TreeEntry *) a)->entry.path, ((const TreeEntry *) b)->entry.path);
}

static int open_beneath(int fd, const char *path, uint64_t flags, uint64_t resolve) {
        const struct open_how how = {
                .flags = flags | O_CLOEXEC,
                .mode = flags & O_CREAT ? 0600 : 0,
                .resolve = resolve,
        };
        int r;

        /* EAGAIN: something was renamed on the way, which may well be elsewhere. */
        for (unsigned i = 0; i < 100; i++) {
                r = (int) syscall(SYS_openat2, fd, path, &how, sizeof(how));
                if (r >= 0 || (errno != EAGAIN && errno != EINTR))
                        break;
        }
        return r < 0 ? -errno : r;
}

static int say_path(int r, const char *path) {
        return say(r == -ELOOP || r == -ENOTDIR
                           ? "'%s' would be written through something that is no directory"
                           : "Failed to write '%s': %s",
                SHOW(path), strerror(-r));
}

static TreeEntry *find(const Tree *tree, const char *path) {
        const TreeEntry key = { .entry.path = path };
        void *node = tfind(&key, (void *const *) &tree->entries, compare_entries);

        return node ? *(TreeEntry **) node : NULL;
}

static int copy_string(const char *text, const char **ret) {
        *ret = text ? strdup(text) : NULL;
        return text && !*ret ? -ENOMEM : 0;
}

/* Notes it, in place of what was noted of the path. */
static int put(Tree *tree, const ManifestEntry *entry, TreeEntry **ret) {
        _cleanup_(tree_entry_freep) TreeEntry *e = NULL;
        TreeEntry *old = find(tree, entry->path);

        if (!old && tree->n_entries >= tree->entries_max)
                return say("it has more than %zu entries; max_files allows more", tree->entries_max);
        e = malloc(sizeof(*e));
        if (!e)
                return say("%s", strerror(ENOMEM));
        e->entry = *entry;
        e->entry.path = e->entry.target = e->entry.owner = e->entry.group = NULL;
        if (copy_string(entry->path, &e->entry.path) < 0 ||
                copy_string(entry->target, &e->entry.target) < 0 ||
                copy_string(entry->owner, &e->entry.owner) < 0 ||
                copy_string(entry->group, &e->entry.group) < 0)
                return say("%s", strerror(ENOMEM));

        if (old) {
                TreeEntry swapped = *old;

                *old = *e;
                *e = swapped;
                *ret = old;
                return 0;
        }
        if (!tsearch(e, &tree->entries, compare_entries))
                return say("%s", strerror(ENOMEM));
        tree->n_entries++;
        *ret = TAKE_PTR(e);
        return 0;
}

/* ---- Directories ----------------------------------------------------------------------------------------------- */

static int make_directory(Tree *tree, const char *path);

/* Opens the directory that a path lies in, made if need be. The descriptor is the tree's. */
static int open_parent(Tree *tree, const char *path, int *ret_fd, const char **ret_name) {
        const char *slash = strrchr(path, '/');
        char parent[MANIFEST_PATH_MAX];
        int fd, r;

        *ret_name = slash ? slash + 1 : path;
        if (!slash) {
                *ret_fd = tree->fd;
                return 0;
        }
        memcpy(parent, path, (size_t) (slash - path));
        parent[slash - path] = 0;

        if (tree->parent_fd < 0 || !streq(parent, tree->parent)) {
                TreeEntry *e = find(tree, parent);

                if (!e) {
                        r = make_directory(tree, parent);
                        if (r < 0)
                                return r;
                } else if (e->entry.kind != ENTRY_DIRECTORY)
                        return say_path(-ENOTDIR, path);
                fd = open_beneath(tree->fd, parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, RESOLVE_STRICT);
                if (fd < 0)
                        return say_path(fd, path);
                safe_close(tree->parent_fd);
                tree->parent_fd = fd;
                strcpy(tree->parent, parent);
        }
        *ret_fd = tree->parent_fd;
        return 0;
}

/* One that the archive does not mention, with those above it that are missing as well. */
static int make_directory(Tree *tree, const char *path) {
        _cleanup_close_ int at = -EBADF;
        char part[MANIFEST_PATH_MAX];

        strcpy(part, path);
        for (char *name = part, *end;; name = end + 1) {
                TreeEntry *e;
                bool last;
                int r, fd;

                end = name + strcspn(name, "/");
                last = !*end;
                *end = 0;
                e = find(tree, part);
                if (e && e->entry.kind != ENTRY_DIRECTORY)
                        return say_path(-ENOTDIR, path);
                if (!e) {
                        if (mkdirat(at >= 0 ? at : tree->fd, name, 0700) < 0)
                                return say_path(-errno, part);
                        r = put(tree,
                                &(ManifestEntry){ .path = part, .kind = ENTRY_DIRECTORY, .mode = 0755 }, &e);
                        if (r < 0)
                                return r;
                }
                if (last)
                        return 0;
                fd = open_beneath(
                        at >= 0 ? at : tree->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, RESOLVE_STRICT);
                if (fd < 0)
                        return say_path(fd, part);
                safe_close(at);
                at = fd;
                *end = '/';
        }
}

int tree_add_directory(Tree *tree, const ManifestEntry *entry) {
        TreeEntry *e = find(tree, entry->path);
        const char *name;
        int r, fd;

        if (e && e->entry.kind != ENTRY_DIRECTORY)
                return say("'%s' comes twice, as a directory and as something else", SHOW(entry->path));
        r = open_parent(tree, entry->path, &fd, &name);
        if (r < 0)
                return r;
        if (!e && mkdirat(fd, name, 0700) < 0)
                return say_path(-errno, entry->path);
        return put(tree, entry, &e);
}

/* ---- Files and links ------------------------------------------------------------------------------------------- */

/* Makes room for a name: what is there goes, if it is of the same kind. */
static int make_room(Tree *tree, const ManifestEntry *entry, int fd, const char *name) {
        TreeEntry *e = find(tree, entry->path);

        if (!e)
                return 0;
        if (e->entry.kind != entry->kind)
                return say("'%s' comes twice, as different things", SHOW(entry->path));
        if (unlinkat(fd, name, 0) < 0)
                return say_path(-errno, entry->path);
        return 0;
}

int tree_add_symlink(Tree *tree, const ManifestEntry *entry) {
        const char *name;
        TreeEntry *e;
        int r, fd;

        r = open_parent(tree, entry->path, &fd, &name);
        if (r < 0)
                return r;
        r = make_room(tree, entry, fd, name);
        if (r < 0)
                return r;
        if (symlinkat(entry->target, fd, name) < 0)
                return say_path(-errno, entry->path);
        return put(tree, entry, &e);
}

int tree_add_file(Tree *tree, const ManifestEntry *entry, int *ret_fd) {
        _cleanup_close_ int file = -EBADF;
        const char *name;
        TreeEntry *e;
        int r, fd;

        r = open_parent(tree, entry->path, &fd, &name);
        if (r < 0)
                return r;
        r = make_room(tree, entry, fd, name);
        if (r < 0)
                return r;
        file = open_beneath(fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, RESOLVE_STRICT);
        if (file < 0)
                return say_path(file, entry->path);
        r = put(tree, entry, &e);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(file);
        return 0;
}

int tree_charge(Tree *tree, const char *path, uint64_t size) {
        if (size > tree->bytes_max - tree->n_bytes)
                return say("it is larger than %" PRIu64
                           " bytes when unpacked, at '%s'; max_size allows more",
                        tree->bytes_max, SHOW(path));
        tree->n_bytes += size;
        return 0;
}

int tree_finish_file(
        Tree *tree, const char *path, uint64_t size, const uint8_t hash[static MANIFEST_HASH_SIZE]) {
        TreeEntry *e = find(tree, path);

        e->entry.size = size;
        memcpy(e->entry.hash, hash, MANIFEST_HASH_SIZE);
        return 0;
}

static int copy_content(Tree *tree, int from, int to, const char *path) {
        for (;;) {
                char block[BLOCK_SIZE];
                ssize_t n = read_full(from, block, sizeof(block));
                int r;

                if (n <= 0)
                        return n < 0 ? say_path((int) n, path) : 0;
                r = tree_charge(tree, path, (uint64_t) n);
                if (r < 0)
                        return r;
                r = write_full(to, block, (size_t) n);
                if (r < 0)
                        return say_path(r, path);
        }
}

int tree_add_copy(Tree *tree, const char *path, const char *original) {
        _cleanup_close_ int from = -EBADF, to = -EBADF;
        TreeEntry *e = find(tree, original);
        ManifestEntry entry;
        int r;

        if (!e || e->entry.kind != ENTRY_FILE)
                return say("'%s' is a hard link to '%s', which is no file that was unpacked before",
                        SHOW(path), SHOW(original));
        if (streq(path, original))
                return 0;
        from = open_beneath(tree->fd, original, O_RDONLY | O_NOFOLLOW, RESOLVE_STRICT);
        if (from < 0)
                return say_path(from, original);
        entry = e->entry;
        entry.path = path;
        r = tree_add_file(tree, &entry, &to);
        if (r < 0)
                return r;
        return copy_content(tree, from, to, path);
}

/* ---- At the end ------------------------------------------------------------------------------------------------ */

typedef struct LinkCheck {
        const Tree *tree;
        int r;
} LinkCheck;

/*
 * Names have said that it stays; but a link on its way may lead up again, so that its ".." are too many. The kernel knows: it
 * refuses with EXDEV what leaves at any point.
 */
static void check_link(const void *node, VISIT visit, void *userdata) {
        const ManifestEntry *entry = &(*(TreeEntry *const *) node)->entry;
        LinkCheck *check = userdata;
        int fd;

        if ((visit != postorder && visit != leaf) || check->r < 0 || entry->kind != ENTRY_SYMLINK)
                return;
        fd = open_beneath(check->tree->fd, entry->path, O_PATH, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
        if (fd >= 0)
                safe_close(fd);
        /* One that leads nowhere, or in a circle, is no danger. */
        else if (!(fd == -ENOENT || fd == -ELOOP || fd == -ENOTDIR || fd == -ENAMETOOLONG))
                check->r = say(fd == -EXDEV ? "'%s' is a symlink that leads out of the archive, to '%s'"
                                            : "Failed to follow '%s' to '%s': %s",
                        SHOW(entry->path), SHOW(entry->target), strerror(-fd));
}

int tree_check_links(Tree *tree) {
        LinkCheck check = { .tree = tree };

        twalk_r(tree->entries, check_link, &check);
        return check.r;
}

static void write_entry(const void *node, VISIT visit, void *userdata) {
        if (visit == postorder || visit == leaf)
                manifest_write_entry(userdata, &(*(TreeEntry *const *) node)->entry);
}

int tree_write_manifest(Tree *tree, int directory_fd, const char *name) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_fclose_ FILE *file = NULL;

        fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return say("Failed to write '%s': %s", name, strerror(errno));
        file = fdopen(fd, "w");
        if (!file)
                return say("%s", strerror(errno));
        (void) TAKE_FD(fd);
        manifest_write_head(file, NULL, NULL, NULL);
        twalk_r(tree->entries, write_entry, file);
        manifest_write_end(file, tree->n_entries);
        if (fflush(file) != 0 || ferror(file))
                return say("Failed to write '%s': %s", name, strerror(errno));
        return 0;
}

int tree_init(Tree *tree, int directory_fd, size_t entries_max, uint64_t bytes_max) {
        *tree = (Tree){
                .entries_max = entries_max, .bytes_max = bytes_max, .fd = -EBADF, .parent_fd = -EBADF
        };
        if (mkdirat(directory_fd, "tree", 0700) < 0)
                return say("Failed to make 'tree' in standard output: %s", strerror(errno));
        tree->fd = openat(directory_fd, "tree", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (tree->fd < 0)
                return say("Failed to open 'tree': %s", strerror(errno));
        return 0;
}

void tree_done(Tree *tree) {
        safe_close(tree->parent_fd);
        safe_close(tree->fd);
        tdestroy(tree->entries, free_node);
}
