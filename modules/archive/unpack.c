/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Unpacking: a staging directory beside the destination, in it `work`, which belongs to who unpacks, in that `tree` and
 * `manifest`. Only root can get at the staging directory by its path; who has the same user could by /proc, and is nobody.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <syslog.h>

#include "archive-internal.h"

#define UNPACK_USER "agentd-extract" /* who unpacks, and nobody else */
#define UNUSED_UID  65520            /* not that which checks would take */

typedef struct Staging {
        int where_fd; /* the directory that it lies in; the look's */
        char prefix[64], name[128];
        int fd, work_fd;
} Staging;

static void staging_done(Staging *staging) {
        closep(&staging->work_fd);
        closep(&staging->fd);
}

static int fail(AgentdContext *c, size_t i, const char *what, const char *path, int r) {
        agentd_failed(c, i, "Failed to %s '%s': %s", what, path, explain(r));
        return -1;
}

/* ---- The archive ----------------------------------------------------------------------------------------------- */

/* A copy without a name, which nobody can change between being looked at and being unpacked. */
static int copy_source(int where_fd, int fd) {
        _cleanup_close_ int copy = -1;
        off_t offset = 0;
        char link[64];
        ssize_t n;
        int r;

        copy = openat(where_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (copy < 0)
                return -errno;
        while ((n = sendfile(copy, fd, &offset, 1 << 30)) > 0)
                ;
        if (n < 0)
                return -errno;
        /* Read-only, and at its start. */
        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", copy);
        r = open(link, O_RDONLY | O_CLOEXEC);
        return r < 0 ? -errno : r;
}

static int open_source(
        AgentdContext *c, size_t i, const Archive *archive, Look *look, int where_fd, int *ret) {
        struct stat st;
        int fd, r;

        r = agentd_open_source(c, archive->source, &fd);
        if (r < 0)
                return fail(c, i, "open source", archive->source, r);
        if (fstat(fd, &st) < 0) {
                closep(&fd);
                return fail(c, i, "open source", archive->source, -errno);
        }
        if (st.st_uid != 0 || (st.st_mode & 022)) {
                int copy = copy_source(where_fd, fd);

                closep(&fd);
                if (copy < 0)
                        return fail(c, i, "copy source", archive->source, copy);
                fd = copy;
        }

        if (archive->checksum) {
                r = agentd_has_checksum(c, fd, archive->checksum);
                if (r <= 0) {
                        closep(&fd);
                        if (r < 0)
                                return fail(c, i, "verify source", archive->source, r);
                        agentd_failed(c, i, "'%s' does not have the checksum '%s'", archive->source,
                                archive->checksum);
                        return -1;
                }
        } else {
                /* What is noted is what is unpacked. */
                free(look->archive);
                look->archive = NULL;
                r = hash_archive(fd, &look->archive);
                if (r < 0) {
                        closep(&fd);
                        return fail(c, i, "read source", archive->source, r);
                }
        }
        *ret = fd;
        return 0;
}

static int open_archive(
        AgentdContext *c, size_t i, const Archive *archive, Look *look, int where_fd, int *ret) {
        AgentdDownload download = {
                .size = sizeof(download),
                .urls = (const char *[]){ archive->url, NULL },
                .checksum = archive->checksum,
                /* A packed archive is no larger than what it may become. */
                .max_bytes = (uint64_t) archive->max_size,
                .retries = 2,
        };
        int r;

        if (archive->source)
                return open_source(c, i, archive, look, where_fd, ret);
        r = agentd_download(c, i, &download, ret);
        if (r < 0) {
                const char *why = agentd_download_error(c);

                agentd_failed(
                        c, i, "Failed to fetch '%s': %s", archive->url, why && *why ? why : strerror(-r));
                return -1;
        }
        return 0;
}

/* ---- The program ----------------------------------------------------------------------------------------------- */

#define YES \
        { .type = AGENTD_BOOLEAN, .boolean = true }
#define TEXT(text) \
        { .type = AGENTD_STRING, .string = (text), .size = sizeof(text) - 1 }
#define NUMBER(n) \
        { .type = AGENTD_INTEGER, .integer = (n) }

/* It gets a file and a directory as descriptors, and needs nothing else of the host. */
static const AgentdMember unit_members[] = {
        { "NoNewPrivileges", YES },
        { "PrivateDevices", YES },
        { "PrivateNetwork", YES },
        { "PrivateTmp", YES },
        { "ProtectHome", TEXT("yes") },
        { "ProtectSystem", TEXT("strict") },
        { "MemoryMax", NUMBER(INT64_C(2) << 30) },
        { "TasksMax", NUMBER(4) },
};
static const AgentdValue unit = {
        .type = AGENTD_TABLE,
        .n = sizeof(unit_members) / sizeof(unit_members[0]),
        .members = unit_members,
};

static int make_arguments(const Archive *archive, char ***ret) {
        size_t n_include = archive->include ? archive->include->n : 0,
               n_exclude = archive->exclude ? archive->exclude->n : 0, n = 0;
        char **argv = calloc(4 + n_include + n_exclude + 1, sizeof(char *));
        bool good = argv;

        if (!argv)
                return -ENOMEM;
        good = (argv[n] = strdup(EXTRACT_PROGRAM)) && good;
        good = asprintf(&argv[++n], "--strip=%" PRIi64, archive->strip) > 0 && good;
        good = good && asprintf(&argv[++n], "--max-bytes=%" PRIi64, archive->max_size) > 0;
        good = good && asprintf(&argv[++n], "--max-files=%" PRIi64, archive->max_files) > 0;
        for (size_t k = 0; k < n_include && good; k++)
                good = asprintf(&argv[++n], "--include=%s", archive->include->items[k].string) > 0;
        for (size_t k = 0; k < n_exclude && good; k++)
                good = asprintf(&argv[++n], "--exclude=%s", archive->exclude->items[k].string) > 0;
        if (!good) {
                free(argv);
                return -ENOMEM;
        }
        *ret = argv;
        return 0;
}

static void free_arguments(char **argv) {
        for (size_t n = 0; argv && argv[n]; n++)
                free(argv[n]);
        free(argv);
}

/* The one place that starts it. Return: 0 it has unpacked all; -1. */
static int run_extract(
        AgentdContext *c, size_t i, const Archive *archive, const char *user, int archive_fd, int work_fd) {
        AgentdCommandResult result = { .size = sizeof(result) };
        AgentdCommand command = {
                .size = sizeof(command),
                .flags = AGENTD_COMMAND_INPUT_FD | AGENTD_COMMAND_OUTPUT_FD | AGENTD_COMMAND_QUIET,
                .user = user,
                .unit = &unit,
                .input_fd = archive_fd,
                .output_fd = work_fd,
        };
        char **argv;
        int r;

        r = make_arguments(archive, &argv);
        if (r < 0)
                return fail(c, i, "start", EXTRACT_PROGRAM, r);
        command.argv = (const char *const *) argv;
        r = agentd_run_command(c, i, &command, &result);
        free_arguments(argv);
        if (r < 0)
                return fail(c, i, "start", EXTRACT_PROGRAM, r);
        if (result.end == AGENTD_COMMAND_EXITED && result.code == 0)
                return 0;
        if (result.end == AGENTD_COMMAND_EXITED && result.code == 1 && result.errors_size > 0)
                agentd_failed(c, i, "Failed to unpack '%s': %.*s",
                        archive->source ? archive->source : archive->url, (int) strcspn(result.errors, "\n"),
                        result.errors);
        else
                agentd_failed(c, i, "Failed to unpack '%s': %s",
                        archive->source ? archive->source : archive->url, result.explanation);
        return -1;
}

/* ---- Staging --------------------------------------------------------------------------------------------------- */

static int staging_make(AgentdContext *c, size_t i, Staging *staging, const Look *look, uid_t user) {
        unsigned char hash[16];
        char hex[2 * sizeof(hash) + 1], random[2 * sizeof(hash) + 1];
        int r;

        crypto_generichash(
                hash, sizeof(hash), (const unsigned char *) look->path, strlen(look->path), NULL, 0);
        (void) sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
        randombytes_buf(hash, sizeof(hash));
        (void) sodium_bin2hex(random, sizeof(random), hash, sizeof(hash));
        (void) snprintf(staging->prefix, sizeof(staging->prefix), ".agentd-archive-%.16s-", hex);
        (void) snprintf(staging->name, sizeof(staging->name), "%s%s", staging->prefix, random);

        r = remove_left_over(staging->where_fd, staging->prefix);
        if (r < 0)
                agentd_log(c, LOG_WARNING,
                        "Failed to remove what a crash has left beside '%s', ignoring: %s", look->path,
                        strerror(-r));
        if (mkdirat(staging->where_fd, staging->name, 0700) < 0)
                return fail(c, i, "make a directory beside", look->path, -errno);
        staging->fd = open_strict(staging->where_fd, staging->name, O_RDONLY | O_DIRECTORY);
        if (staging->fd < 0)
                return fail(c, i, "make a directory beside", look->path, staging->fd);
        if (mkdirat(staging->fd, "work", 0700) < 0)
                return fail(c, i, "make a directory beside", look->path, -errno);
        staging->work_fd = open_strict(staging->fd, "work", O_RDONLY | O_DIRECTORY);
        if (staging->work_fd < 0)
                return fail(c, i, "make a directory beside", look->path, staging->work_fd);
        if (fchown(staging->work_fd, user, (gid_t) -1) < 0)
                return fail(c, i, "make a directory beside", look->path, -errno);
        return 0;
}

static int read_manifest(AgentdContext *c, size_t i, const Archive *archive, int work_fd, Manifest *ret) {
        const char *why = NULL;
        _cleanup_close_ int fd = -1;
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        struct stat st;
        int r;

        fd = open_strict(work_fd, "manifest", O_RDONLY | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > MANIFEST_SIZE_MAX ||
                !(text = malloc((size_t) st.st_size + 1)))
                return fail(c, i, "read", "manifest", fd < 0 ? fd : -EBADMSG);
        while (size < (size_t) st.st_size) {
                ssize_t n = read(fd, text + size, (size_t) st.st_size - size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                size += (size_t) n;
        }
        r = manifest_parse(text, size, (size_t) archive->max_files, ret, &why);
        if (r < 0) {
                agentd_failed(
                        c, i, "the list of what was unpacked cannot be used: %s", why ? why : strerror(-r));
                return -1;
        }
        text = NULL;
        return 0;
}

/* What checks compare with. */
static int keep_manifest(
        AgentdContext *c, size_t i, const Archive *archive, const Look *look, const Manifest *manifest) {
        const AgentdAttributes parents = { .mode = 0755 }, directory = { .mode = 0700 },
                               attributes = { .mode = 0600 };
        _cleanup_free_ char *text = NULL;
        char path[PATH_MAX];
        size_t size;
        FILE *file;
        int r;

        file = open_memstream(&text, &size);
        if (!file)
                return fail(c, i, "write", ARCHIVES_DIR, -errno);
        manifest_write_head(file, look->path, look->archive, archive->parameters);
        for (size_t k = 0; k < manifest->n_entries; k++)
                manifest_write_entry(file, &manifest->entries[k]);
        manifest_write_end(file, manifest->n_entries);
        r = ferror(file) ? -ENOMEM : 0;
        if (fclose(file) != 0 || r < 0)
                return fail(c, i, "write", ARCHIVES_DIR, -ENOMEM);
        kept_path(look->path, path);
        r = agentd_make_parents(c, ARCHIVES_DIR, &parents);
        if (r == 0)
                r = agentd_make_directory(c, ARCHIVES_DIR, &directory);
        if (r == 0 || r == -EEXIST)
                r = agentd_replace_file(c, path, text, size, &attributes);
        return r < 0 ? fail(c, i, "write", path, r) : 0;
}

/* ---- All of it ------------------------------------------------------------------------------------------------- */

static void record_undo(AgentdContext *c, size_t i, const Look *look) {
        const char *was = look->fd < 0 ? "absent" : look->manifest.archive;
        AgentdValue value = { .type = AGENTD_NONE };

        if (was)
                value = (AgentdValue){ .type = AGENTD_STRING, .string = was, .size = strlen(was) };
        agentd_undo(c, i, "archive", &value);
}

static int unpack(AgentdContext *c, size_t i, const Archive *archive, Look *look, Staging *staging,
        uid_t user, const char *user_text) {
        _cleanup_close_ int archive_fd = -1, tree_fd = -1;
        bool shared = staging->where_fd == look->fd;
        Manifest manifest = {};
        int r;

        if (open_archive(c, i, archive, look, staging->fd, &archive_fd) < 0)
                return -1;
        if (run_extract(c, i, archive, user_text, archive_fd, staging->work_fd) < 0)
                return -1;
        if (fchown(staging->work_fd, 0, 0) < 0)
                return fail(c, i, "set the owner of", "work", -errno);
        tree_fd = open_strict(staging->work_fd, "tree", O_RDONLY | O_DIRECTORY);
        if (tree_fd < 0)
                return fail(c, i, "open", "tree", tree_fd);
        if (read_manifest(c, i, archive, staging->work_fd, &manifest) < 0)
                return -1;

        r = place_own(c, i, archive, look, &manifest, tree_fd, user);
        if (r == 0) {
                record_undo(c, i, look);
                r = shared ? place_merge(c, i, archive, look, &manifest, tree_fd)
                           : place_swap(c, i, archive, look, staging->work_fd);
        }
        /* What is left of a crash between these is removed by the next apply, and that there is one is seen by this: the old
         * tree goes first. */
        if (r == 0) {
                r = remove_tree(staging->where_fd, staging->name);
                if (r < 0)
                        agentd_log(c, LOG_WARNING, "Failed to remove what was at '%s' before, ignoring: %s",
                                look->path, strerror(-r));
                r = keep_manifest(c, i, archive, look, &manifest);
        }
        manifest_done(&manifest);
        return r;
}

/* Where there is no such user, as in an image that is being built, an id that nobody has. */
static int find_user(AgentdContext *c, uid_t *ret) {
        int r = agentd_user_id(c, UNPACK_USER, ret);

        if (r == 0)
                return *ret == 0 ? -EPERM : 0;
        if (r != -ESRCH)
                return r;
        for (uid_t uid = UNUSED_UID; uid > UNUSED_UID - 100; uid--) {
                const char *name = agentd_user_name(c, uid);

                if (*name >= '0' && *name <= '9') {
                        agentd_log(c, LOG_NOTICE,
                                "User '" UNPACK_USER "' does not exist; unpacking as the unused uid %u",
                                uid);
                        *ret = uid;
                        return 0;
                }
        }
        return -ESRCH;
}

int archive_unpack(AgentdContext *c, size_t i, const AgentdState *state, Look *look) {
        const Archive *archive = state->data;
        Staging staging = { .fd = -1, .work_fd = -1 };
        char user_text[16];
        uid_t user;
        int r;

        if (sodium_init() < 0)
                return fail(c, i, "start", "libsodium", -EIO);
        r = find_user(c, &user);
        if (r < 0)
                return fail(c, i, "look up user", UNPACK_USER, r);
        (void) snprintf(user_text, sizeof(user_text), "%u", user);

        staging.where_fd = archive->purge || look->fd < 0 ? look->dir_fd : look->fd;
        r = staging_make(c, i, &staging, look, user);
        if (r == 0)
                r = unpack(c, i, archive, look, &staging, user, user_text);
        if (r < 0)
                (void) remove_tree(staging.where_fd, staging.name);
        staging_done(&staging);
        return r;
}
