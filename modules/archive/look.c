/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What there is: the directory, what is remembered of the last time, which archive it should be now.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <syslog.h>

#include "archive-internal.h"

#define BLOCK_SIZE 65536

void look_init(Look *look, const char *path) {
        *look = (Look){ .path = path, .dir_fd = -1, .fd = -1, .source_fd = -1, .manifest_fd = -1 };
}

void look_done(Look *look) {
        manifest_done(&look->manifest);
        free(look->archive);
        closep(&look->dir_fd);
        closep(&look->fd);
        closep(&look->source_fd);
        closep(&look->manifest_fd);
}

const char *explain(int r) {
        switch (r) {
        case -ELOOP: return "a symlink on the way could have been put there by somebody other than root";
        case -EXDEV: return "another file system is mounted there";
        case -EACCES:
                return "permission denied; if the file system refuses the user that checks run as, "
                       "check_as_root = true helps";
        default: return strerror(-r);
        }
}

/* ---- The archive ----------------------------------------------------------------------------------------------- */

int hash_archive(int fd, char **ret) {
        static const char prefix[] = "blake2b:";
        static unsigned char block[BLOCK_SIZE];
        unsigned char hash[32];
        crypto_generichash_state state;
        char *text;

        crypto_generichash_init(&state, NULL, 0, sizeof(hash));
        for (off_t offset = 0;;) {
                ssize_t n = pread(fd, block, sizeof(block), offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                crypto_generichash_update(&state, block, (size_t) n);
                offset += n;
        }
        crypto_generichash_final(&state, hash, sizeof(hash));
        text = malloc(sizeof(prefix) + 2 * sizeof(hash));
        if (!text)
                return -ENOMEM;
        memcpy(text, prefix, sizeof(prefix) - 1);
        (void) sodium_bin2hex(text + sizeof(prefix) - 1, 2 * sizeof(hash) + 1, hash, sizeof(hash));
        *ret = text;
        return 0;
}

/* Whether source and manifest are what they were when they were last found to belong together. */
static bool source_is_known(AgentdContext *c, size_t i, const Archive *archive, const Look *look) {
        struct statx files[2];

        return look->manifest.archive && agentd_stat_source(c, archive->source, &files[0]) == 0 &&
               statx(look->manifest_fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &files[1]) == 0 &&
               agentd_unchanged(c, i, files, 2);
}

/* Which archive it should be. Return: 0; -1. */
static int look_at_source(AgentdContext *c, size_t i, const Archive *archive, Look *look) {
        int r;

        if (archive->checksum || source_is_known(c, i, archive, look)) {
                look->archive = strdup(archive->checksum ? archive->checksum : look->manifest.archive);
                r = look->archive ? 0 : -ENOMEM;
        } else {
                r = agentd_open_source(c, archive->source, &look->source_fd);
                if (r < 0) {
                        look->source_fd = -1;
                        agentd_failed(c, i, "Failed to open source '%s': %s", archive->source,
                                r == -ENXIO || r == -EISDIR ? "it is not a regular file" : explain(r));
                        return -1;
                }
                r = hash_archive(look->source_fd, &look->archive);
        }
        if (r < 0) {
                agentd_failed(c, i, "Failed to read source '%s': %s", archive->source, strerror(-r));
                return -1;
        }
        return 0;
}

/* ---- What is remembered ---------------------------------------------------------------------------------------- */

void kept_path(const char *destination, char *ret) {
        unsigned char hash[16];
        char hex[2 * sizeof(hash) + 1];

        crypto_generichash(
                hash, sizeof(hash), (const unsigned char *) destination, strlen(destination), NULL, 0);
        (void) snprintf(
                ret, PATH_MAX, ARCHIVES_DIR "/%s", sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash)));
}

static int read_all(int fd, size_t size, char **ret) {
        char *text = malloc(size + 1);
        size_t done = 0;

        while (text && done < size) {
                ssize_t n = pread(fd, text + done, size - done, (off_t) done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) {
                        free(text);
                        return n < 0 ? -errno : -EBADMSG;
                }
                done += (size_t) n;
        }
        *ret = text;
        return text ? 0 : -ENOMEM;
}

/* One that cannot be read is as good as none: it is written anew. */
static void read_kept(AgentdContext *c, const Archive *archive, Look *look) {
        char path[PATH_MAX], *text = NULL;
        const char *name, *why = NULL;
        struct stat st;
        int dir_fd, r;

        kept_path(look->path, path);
        r = agentd_open_parent(c, path, &dir_fd, &name);
        if (r < 0)
                return;
        look->manifest_fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (look->manifest_fd < 0)
                return;
        if (fstat(look->manifest_fd, &st) < 0)
                r = -errno;
        else if (!S_ISREG(st.st_mode) || st.st_uid != 0 || st.st_size > MANIFEST_SIZE_MAX)
                r = -EBADMSG;
        else
                r = read_all(look->manifest_fd, (size_t) st.st_size, &text);
        if (r == 0)
                r = manifest_parse(text, (size_t) st.st_size, UINT32_MAX, &look->manifest, &why);
        if (r < 0) {
                free(text);
                agentd_log(
                        c, LOG_WARNING, "Failed to read '%s', ignoring: %s", path, why ? why : strerror(-r));
                return;
        }
        if (!look->manifest.destination || strcmp(look->manifest.destination, look->path) != 0 ||
                !look->manifest.archive || !look->manifest.parameters)
                manifest_done(&look->manifest);
}

/* ---- The directory --------------------------------------------------------------------------------------------- */

static int look_up_ids(AgentdContext *c, size_t i, const Archive *archive, bool pending, Look *look) {
        int r;

        r = archive->owner ? agentd_user_id(c, archive->owner, &look->owners.uid) : 0;
        if (r == -ESRCH && pending)
                look->owners.to_come = true;
        else if (r < 0) {
                agentd_failed(c, i,
                        r == -ESRCH ? "there is no user '%s'" : "Failed to look up user '%s': %s",
                        archive->owner, strerror(-r));
                return -1;
        }
        r = archive->group ? agentd_group_id(c, archive->group, &look->owners.gid) : 0;
        if (r == -ESRCH && pending)
                look->owners.to_come = true;
        else if (r < 0) {
                agentd_failed(c, i,
                        r == -ESRCH ? "there is no group '%s'" : "Failed to look up group '%s': %s",
                        archive->group, strerror(-r));
                return -1;
        }
        return 0;
}

static int open_destination(AgentdContext *c, size_t i, bool pending, Look *look) {
        int dir_fd, r;

        r = agentd_open_parent(c, look->path, &dir_fd, &look->name);
        if (r == -ENOENT && pending)
                return 0;
        if (r < 0) {
                agentd_failed(c, i,
                        r == -ENOENT ? "the directory of '%s' does not exist; declare it, or make it"
                                     : "Failed to open the directory of '%s': %s",
                        look->path, explain(r));
                return -1;
        }
        /* The context's own goes when others are opened. */
        look->dir_fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (look->dir_fd < 0) {
                agentd_failed(c, i, "Failed to open the directory of '%s': %s", look->path, explain(-errno));
                return -1;
        }
        look->fd = openat(look->dir_fd, look->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (look->fd < 0 && errno == ENOENT)
                return 0;
        if (look->fd < 0 || fstat(look->fd, &look->st) < 0) {
                if (errno == ENOTDIR || errno == ELOOP)
                        agentd_failed(c, i, "'%s' is no directory; it is not replaced, remove it first",
                                look->path);
                else
                        agentd_failed(c, i, "Failed to open '%s': %s", look->path, explain(-errno));
                return -1;
        }
        return 0;
}

static void report(AgentdContext *c, size_t i, const char *attribute, const char *is, const char *should) {
        agentd_differs_string(c, i, attribute, is, should);
}

static void say(
        AgentdContext *c, size_t i, Look *look, const char *attribute, const char *is, const char *should) {
        look->differs = true;
        agentd_differs_string(c, i, attribute, is, should);
}

/* What decides whether it is there is one path alone. Below the directory, whatever links there are on the way. */
static bool creates_is_there(const Archive *archive, const Look *look) {
        const struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
        int fd = -EBADF;

        /* EAGAIN: something was renamed meanwhile, anywhere, and there is a ".." on the way. */
        for (unsigned i = 0; i < 10000; i++) {
                fd = (int) syscall(SYS_openat2, look->fd, archive->creates, &how, sizeof(how));
                if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
                        break;
        }
        closep(&fd);
        return fd >= 0;
}

/* The attributes of the directory itself, unless it is shared. */
static void compare_top(AgentdContext *c, size_t i, const Archive *archive, Look *look) {
        const ManifestEntry top = { .kind = ENTRY_DIRECTORY, .mode = 0755 };
        mode_t mode = entry_mode(archive, &top);

        if (!archive->purge)
                return;
        if ((look->st.st_mode & 07777) != mode) {
                look->differs = true;
                agentd_differs_mode(c, i, "mode", look->st.st_mode & 07777, mode);
        }
        if (look->st.st_uid != look->owners.uid)
                say(c, i, look, "owner", agentd_user_name(c, look->st.st_uid),
                        archive->owner ? archive->owner : "root");
        if (look->st.st_gid != look->owners.gid)
                say(c, i, look, "group", agentd_group_name(c, look->st.st_gid),
                        archive->group ? archive->group : "root");
}

int archive_look(AgentdContext *c, size_t i, const AgentdState *state, Look *look) {
        const Archive *archive = state->data;
        bool pending = state->flags & AGENTD_STATE_PENDING;
        int64_t n;

        if (look_up_ids(c, i, archive, pending, look) < 0 || open_destination(c, i, pending, look) < 0)
                return -1;

        if (archive->creates) {
                if (look->fd >= 0 && creates_is_there(archive, look))
                        return 0;
                say(c, i, look, archive->creates, NULL, "unpacked");
        }
        read_kept(c, archive, look);
        /* What another state is to bring is not there yet. */
        if (!archive->checksum && pending &&
                agentd_stat_source(c, archive->source, &(struct statx){}) == -ENOENT) {
                say(c, i, look, "archive", look->manifest.archive, "not there yet");
                return 0;
        }
        if (look_at_source(c, i, archive, look) < 0)
                return -1;
        if (archive->creates)
                return 0;

        if (look->fd < 0) {
                say(c, i, look, "archive", NULL, look->archive);
                return 0;
        }
        if (!look->manifest.text || strcmp(look->manifest.archive, look->archive) != 0)
                say(c, i, look, "archive", look->manifest.archive, look->archive);
        else if (strcmp(look->manifest.parameters, archive->parameters) != 0)
                say(c, i, look, "parameters", look->manifest.parameters, archive->parameters);
        if (look->differs)
                return 0;

        compare_top(c, i, archive, look);
        n = tree_compare(c, i, archive, &look->manifest, look->fd, &look->owners, report, true);
        if (n < 0) {
                agentd_failed(c, i, "Failed to read '%s': %s", look->path, explain((int) n));
                return -1;
        }
        look->differs = look->differs || n > 0;
        /* Both were read, and found to belong together. */
        if (!look->differs && look->source_fd >= 0)
                agentd_remember(c, i, (const int[]){ look->source_fd, look->manifest_fd }, 2);
        return 0;
}
