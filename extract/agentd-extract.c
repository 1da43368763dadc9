/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * agentd-extract: unpacks an archive, of which nobody knows where it comes from, into a directory. It is run without rights, by
 * the module `archive`.
 *
 *      standard input    the archive, a file
 *      standard output   a directory, opened for reading and empty, in which it makes `tree` and, when all is well, `manifest`
 *      standard error    one line about what is wrong
 *
 * Exit status: 0; 1: the archive is refused; 2: wrong usage. libarchive only reads here; what is written, and where, is decided
 * in extract-policy.c and extract-tree.c. Names, modes, owners and times are noted; files belong to who runs this and are 0600.
 */

#include <archive.h>
#include <archive_entry.h>
#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
#include <sodium.h>
#include <stdarg.h>

#include "extract.h"

#define READ_SIZE KIB(64)

typedef struct Extract {
        struct archive *archive;
        Tree tree;
        unsigned strip;
        char **include, **exclude;
        size_t n_include, n_exclude;
        uint64_t bytes_max, entries_max, n_headers;
} Extract;

int say(const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        (void) vfprintf(stderr, format, arguments);
        va_end(arguments);
        (void) fputc('\n', stderr);
        return -E_SAID;
}

/* ---- Options --------------------------------------------------------------------------------------------------- */

static int parse_number(const char *text, uint64_t max, uint64_t *ret) {
        uint64_t value;
        char *end;

        if (*text < '0' || *text > '9')
                return -EINVAL;
        errno = 0;
        value = strtoull(text, &end, 10);
        if (errno != 0 || *end || value > max)
                return -EINVAL;
        *ret = value;
        return 0;
}

static int parse_options(Extract *x, int argc, char **argv) {
        static const struct option options[] = {
                { "strip", required_argument, NULL, 's' },
                { "max-bytes", required_argument, NULL, 'b' },
                { "max-files", required_argument, NULL, 'f' },
                { "include", required_argument, NULL, 'i' },
                { "exclude", required_argument, NULL, 'e' },
                {},
        };
        uint64_t number;
        int option, r = 0;

        opterr = 0;
        while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0 && r == 0)
                switch (option) {
                case 's':
                        r = parse_number(optarg, 1000, &number);
                        if (r == 0)
                                x->strip = (unsigned) number;
                        break;
                case 'b': r = parse_number(optarg, INT64_MAX, &x->bytes_max); break;
                case 'f': r = parse_number(optarg, UINT32_MAX, &x->entries_max); break;
                case 'i': x->include[x->n_include++] = optarg; break;
                case 'e': x->exclude[x->n_exclude++] = optarg; break;
                default: return -EINVAL;
                }
        return r < 0 || optind < argc ? -EINVAL : 0;
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

static int say_archive(struct archive *a, const char *path) {
        const char *why = archive_error_string(a);

        if (!why)
                why = "the archive is damaged";
        return path ? say("Failed to read '%s': %s", SHOW(path), SHOW(why))
                    : say("Failed to read the archive: %s", SHOW(why));
}

/* What a file has without the archive saying so. */
static int add_zeros(Extract *x, crypto_generichash_state *hash, const char *path, uint64_t size) {
        static const uint8_t zeros[READ_SIZE];
        int r = tree_charge(&x->tree, path, size);

        for (; r == 0 && size > 0; size -= MIN(size, sizeof(zeros)))
                crypto_generichash_update(hash, zeros, MIN(size, sizeof(zeros)));
        return r;
}

static int write_data(Extract *x, int fd, const char *path, uint64_t declared, uint64_t *ret_size,
        uint8_t ret_hash[static MANIFEST_HASH_SIZE]) {
        crypto_generichash_state hash;
        uint64_t size = 0;
        int r;

        crypto_generichash_init(&hash, NULL, 0, MANIFEST_HASH_SIZE);
        for (;;) {
                const void *block;
                size_t n;
                la_int64_t offset;

                r = archive_read_data_block(x->archive, &block, &n, &offset);
                if (r == ARCHIVE_EOF)
                        break;
                if (r != ARCHIVE_OK)
                        return say_archive(x->archive, path);
                if (offset < 0 || (uint64_t) offset < size)
                        return say("Failed to read '%s': its parts overlap", SHOW(path));
                if ((uint64_t) offset > size) {
                        r = add_zeros(x, &hash, path, (uint64_t) offset - size);
                        if (r < 0)
                                return r;
                        size = (uint64_t) offset;
                }
                r = tree_charge(&x->tree, path, n);
                if (r < 0)
                        return r;
                for (size_t done = 0; done < n;) {
                        ssize_t w = pwrite(fd, (const char *) block + done, n - done, (off_t) (size + done));

                        if (w < 0 && errno == EINTR)
                                continue;
                        if (w < 0)
                                return say("Failed to write '%s': %s", SHOW(path), strerror(errno));
                        done += (size_t) w;
                }
                crypto_generichash_update(&hash, block, n);
                size += n;
        }
        if (declared > size) {
                r = add_zeros(x, &hash, path, declared - size);
                if (r < 0)
                        return r;
                size = declared;
        }
        if (ftruncate(fd, (off_t) size) < 0)
                return say("Failed to write '%s': %s", SHOW(path), strerror(errno));
        crypto_generichash_final(&hash, ret_hash, MANIFEST_HASH_SIZE);
        *ret_size = size;
        return 0;
}

static int add_file(Extract *x, struct archive_entry *e, const ManifestEntry *entry) {
        uint64_t declared = archive_entry_size_is_set(e) ? (uint64_t) MAX(archive_entry_size(e), 0) : 0,
                 size = 0;
        uint8_t hash[MANIFEST_HASH_SIZE];
        _cleanup_close_ int fd = -EBADF;
        int r;

        /* Before gigabytes of it are written. */
        if (declared > x->tree.bytes_max - x->tree.n_bytes)
                return tree_charge(&x->tree, entry->path, declared);
        r = tree_add_file(&x->tree, entry, &fd);
        if (r < 0)
                return r;
        r = write_data(x, fd, entry->path, declared, &size, hash);
        if (r < 0)
                return r;
        if (archive_entry_mtime_is_set(e)) {
                const struct timespec times[2] = {
                        { .tv_nsec = UTIME_OMIT },
                        { .tv_sec = archive_entry_mtime(e), .tv_nsec = archive_entry_mtime_nsec(e) },
                };

                /* A time that cannot be is no harm. */
                (void) futimens(fd, times);
        }
        return tree_finish_file(&x->tree, entry->path, size, hash);
}

static int add_hardlink(Extract *x, const char *path, const char *original) {
        char clean[MANIFEST_PATH_MAX];
        const char *why;

        if (policy_clean(original, x->strip, clean, &why) < 0)
                return say("'%s' is a hard link that leads out of the archive, to '%s'", SHOW(path),
                        SHOW(original));
        return tree_add_copy(&x->tree, path, clean);
}

/* ---- Entries --------------------------------------------------------------------------------------------------- */

static const char *kind_name(mode_t type) {
        switch (type) {
        case AE_IFCHR:
        case AE_IFBLK: return "a device";
        case AE_IFIFO: return "a fifo";
        case AE_IFSOCK: return "a socket";
        default: return "of no kind that is known";
        }
}

/* What there is in the locale's encoding, else as it was stored. */
static const char *text_of(const char *native, const char *utf8) {
        return native ? native : utf8;
}

static const char *name_or_none(const char *name) {
        return name && *name ? name : NULL;
}

static int add_entry(Extract *x, struct archive_entry *e, const char *path) {
        const char *hardlink = text_of(archive_entry_hardlink(e), archive_entry_hardlink_utf8(e));
        ManifestEntry entry = {
                .path = path,
                .mode = (uint16_t) (archive_entry_perm(e) & 0777),
                .owner = name_or_none(archive_entry_uname(e)),
                .group = name_or_none(archive_entry_gname(e)),
        };
        mode_t type = archive_entry_filetype(e);

        if (hardlink && !(archive_entry_size_is_set(e) && archive_entry_size(e) > 0))
                return add_hardlink(x, path, hardlink);
        if (archive_entry_is_encrypted(e))
                return say("'%s' is protected by a password", SHOW(path));

        switch (type) {
        case AE_IFREG: entry.kind = ENTRY_FILE; return add_file(x, e, &entry);
        case AE_IFDIR: entry.kind = ENTRY_DIRECTORY; return tree_add_directory(&x->tree, &entry);
        case AE_IFLNK:
                entry.kind = ENTRY_SYMLINK;
                entry.mode = 0777;
                entry.target = text_of(archive_entry_symlink(e), archive_entry_symlink_utf8(e));
                if (!entry.target || !*entry.target || strlen(entry.target) >= MANIFEST_PATH_MAX)
                        return say("'%s' is a symlink without a target that can be", SHOW(path));
                if (!policy_target_stays(path, entry.target))
                        return say("'%s' is a symlink that leads out of the archive, to '%s'", SHOW(path),
                                SHOW(entry.target));
                return tree_add_symlink(&x->tree, &entry);
        default:
                return say("'%s' is %s, which is not unpacked; exclude leaves it out", SHOW(path),
                        kind_name(type));
        }
}

static int handle_header(Extract *x, struct archive_entry *e) {
        const char *name = text_of(archive_entry_pathname(e), archive_entry_pathname_utf8(e)), *why;
        char path[MANIFEST_PATH_MAX];

        if (++x->n_headers > x->entries_max)
                return say("it has more than %" PRIu64 " entries; max_files allows more", x->entries_max);
        if (!name || !*name)
                return say("an entry has no name");
        if (archive_filter_count(x->archive) > 2)
                return say("it is compressed more than once");
        if (policy_clean(name, x->strip, path, &why) < 0) {
                /* What is left out need not be good. */
                if (policy_matches(x->exclude, x->n_exclude, name))
                        return 0;
                return say("'%s' is refused: %s", SHOW(name), why);
        }
        if (!*path || policy_matches(x->exclude, x->n_exclude, path) ||
                (x->n_include > 0 && !policy_matches(x->include, x->n_include, path)))
                return 0;
        return add_entry(x, e, path);
}

static int open_archive(Extract *x) {
        struct archive *a = x->archive = archive_read_new();

        if (!a)
                return say("%s", strerror(ENOMEM));
        /* Nothing that runs a program, and no format that is a text which somebody may have written by hand. */
        archive_read_support_filter_gzip(a);
        archive_read_support_filter_bzip2(a);
        archive_read_support_filter_compress(a);
        archive_read_support_filter_lzma(a);
        archive_read_support_filter_xz(a);
        archive_read_support_filter_lz4(a);
        archive_read_support_filter_zstd(a);
        archive_read_support_format_tar(a);
        archive_read_support_format_zip(a);
        archive_read_support_format_cpio(a);
        archive_read_support_format_7zip(a);
        if (archive_read_open_fd(a, STDIN_FILENO, READ_SIZE) != ARCHIVE_OK)
                return say_archive(a, NULL);
        return 0;
}

static int extract(Extract *x) {
        int r = open_archive(x);

        while (r == 0) {
                struct archive_entry *e;

                r = archive_read_next_header(x->archive, &e);
                if (r == ARCHIVE_EOF)
                        break;
                /* A warning is about a name that is not in the encoding that it should be in. */
                if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
                        return say_archive(x->archive, NULL);
                r = handle_header(x, e);
        }
        if (r < 0)
                return r;
        if (x->tree.n_entries == 0)
                return say("nothing of it is left to unpack%s", x->n_headers == 0 ? "; it is empty"
                                                                : x->strip || x->n_include || x->n_exclude
                                                                        ? "; see strip, include and exclude"
                                                                        : "");
        return 0;
}

int main(int argc, char **argv) {
        Extract x = { .bytes_max = GIB(1), .entries_max = 100000 };
        _cleanup_free_ char **include = NULL, **exclude = NULL;
        struct stat st;
        int r;

        x.include = include = calloc((size_t) argc, sizeof(char *));
        x.exclude = exclude = calloc((size_t) argc, sizeof(char *));
        if (!include || !exclude)
                return 1;
        if (parse_options(&x, argc, argv) < 0 || fstat(STDOUT_FILENO, &st) < 0 || !S_ISDIR(st.st_mode)) {
                (void) say("usage: agentd-extract [--strip=N] [--max-bytes=N] [--max-files=N] "
                           "[--include=PATTERN]... "
                           "[--exclude=PATTERN]... <ARCHIVE 1<DIRECTORY");
                return 2;
        }
        (void) umask(077);
        /* Names in UTF-8 are to come out as they are. */
        (void) setlocale(LC_ALL, "C.UTF-8");
        if (sodium_init() < 0)
                return 1;
        r = sandbox_enter_extract(STDOUT_FILENO, x.bytes_max);
        if (r < 0) {
                (void) say("Failed to give up rights: %s", strerror(-r));
                return 1;
        }

        r = tree_init(&x.tree, STDOUT_FILENO, x.entries_max, x.bytes_max);
        if (r == 0)
                r = extract(&x);
        if (r == 0)
                r = tree_check_links(&x.tree);
        if (r == 0)
                r = tree_write_manifest(&x.tree, STDOUT_FILENO, "manifest");
        tree_done(&x.tree);
        if (x.archive)
                archive_read_free(x.archive);
        return r < 0 ? 1 : 0;
}
