/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Downloads, by a program of their own: agentd-fetch writes into a file of ours, as a user without rights. When it has ended
 * nobody can write that file any more; only then it is verified, and handed on.
 *
 * What has come so far lies under a name made of what is asked for, so that the next attempt, by whichever process, goes on
 * where this one was stopped. Of which version it is a part (its ETag) is written beside it when the program has ended; if it
 * could not be, it is gone on with blindly, and begun again if the whole then is not what it should be.
 */

#include <assert.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>

#include "download-directory.h"
#include "download-run.h"
#include "minisign.h"

#define CREDENTIALS_MAX KIB(64)
#define VALIDATOR_MAX   KIB(16)

/* Where a state has no limit of time. */
#define DEADLINE_MAX (24 * 60 * USEC_PER_MINUTE)

/* What is left for the rest, verifying above all: a fifth, this at most. */
#define RESERVE_MAX (30 * USEC_PER_SEC)

/* How much longer than its own deadline the program may take to say so. */
#define GRACE_USEC (2 * USEC_PER_SEC)

/* How long a part may be locked by one that is just ending. */
#define LOCK_USEC (2 * USEC_PER_SEC)

#define KEYS_MAX 64

typedef struct Download {
        AgentdContext *context;
        size_t i;
        const AgentdDownload *what;
        const char *state;
        int dir_fd;
        char *credentials;
        usec_t deadline_usec; /* on CLOCK_MONOTONIC */
        const char **urls;    /* those that are still worth trying; ended by NULL */
        size_t n_urls;
        bool fresh; /* what is there already is no good */

        bool pinned;
        Checksum checksum;
        MinisignKey *keys;
        size_t n_keys;
        char *signature_text;
        size_t signature_size;
        MinisignSignature signature;
} Download;

/* The file while it is written: its writing side, which is locked and handed to the program, and one for us. */
typedef struct Part {
        int writer, reader;
        bool resume;
        json_t *validator;
} Part;

static void download_done(Download *d) {
        safe_close(d->dir_fd);
        if (d->credentials)
                explicit_bzero(d->credentials, strlen(d->credentials));
        free(d->credentials);
        free(d->urls);
        free(d->keys);
        free(d->signature_text);
}

static void part_done(Part *part) {
        safe_close(part->writer);
        safe_close(part->reader);
        json_decref(part->validator);
}

static int _printf_(3, 4) refuse(AgentdContext *context, int r, const char *format, ...) {
        char *text = NULL;
        va_list args;

        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        free(context->download_error);
        context->download_error = text;
        return r;
}

const char *agentd_download_error(AgentdContext *context) {
        return context->download_error ?: "out of memory";
}

/* ---- The part -------------------------------------------------------------------------------------------------------- */

/* Held while names are given and taken: for moments. */
static int lock_directory(const Download *d) {
        while (flock(d->dir_fd, LOCK_EX) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

static void unlock_directory(const Download *d) {
        (void) flock(d->dir_fd, LOCK_UN);
}

/* Of which version the part is one. It is forgotten, until it is known again. */
static json_t *take_validator(const Download *d) {
        char name[DOWNLOAD_NAME_MAX];
        _cleanup_free_ char *text = NULL;
        json_t *json = NULL;
        size_t size;

        (void) download_name(name, d->state, d->what, DOWNLOAD_VALIDATOR);
        if (path_read_file(d->dir_fd, name, VALIDATOR_MAX, &text, &size, NULL) >= 0)
                json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        (void) unlinkat(d->dir_fd, name, 0);
        return json;
}

static int make_part(const Download *d, const char *name, Part *part) {
        part->writer = openat(d->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (part->writer < 0)
                return -errno;
        return flock(part->writer, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

/*
 * A program that was left behind holds the lock with its descriptor; the engine waits for its end before the state has its turn,
 * and PID 1 lets go soon after.
 */
static bool wait_for_lock(int fd) {
        usec_t end = now_usec(CLOCK_MONOTONIC) + LOCK_USEC;

        while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };

                if (errno != EWOULDBLOCK || now_usec(CLOCK_MONOTONIC) >= end)
                        return false;
                (void) nanosleep(&pause, NULL);
        }
        return true;
}

/* What there is, if nobody writes it any more. Return: 1; 0: there is nothing of use. */
static int take_part(const Download *d, const char *name, Part *part) {
        struct stat st;

        part->writer = openat(d->dir_fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (part->writer < 0 || fstat(part->writer, &st) < 0 || !S_ISREG(st.st_mode) ||
                st.st_uid != geteuid() || (st.st_mode & 0077) != 0 || st.st_size == 0)
                return 0;
        return wait_for_lock(part->writer);
}

/* Both descriptors are opened under the directory's lock, as nobody else's is then to come. */
static int open_part(Download *d, Part *part) {
        char name[DOWNLOAD_NAME_MAX];
        int r = 0;

        (void) download_name(name, d->state, d->what, DOWNLOAD_PART);
        r = lock_directory(d);
        if (r < 0)
                return r;
        part->validator = take_validator(d);
        if (!d->fresh && take_part(d, name, part))
                part->resume = true;
        else {
                part->writer = safe_close(part->writer);
                if (unlinkat(d->dir_fd, name, 0) < 0 && errno != ENOENT)
                        r = -errno;
                if (r == 0)
                        r = make_part(d, name, part);
        }
        if (r == 0) {
                part->reader = openat(d->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
                if (part->reader < 0)
                        r = -errno;
        }
        unlock_directory(d);
        return r;
}

/*
 * The program has ended. From here on the file has no name, and nobody writes it: systemd has seen the end of the unit, or else
 * the lock goes with the last descriptor that could write.
 */
static int seal_part(const Download *d, Part *part) {
        char name[DOWNLOAD_NAME_MAX];
        int r;

        r = lock_directory(d);
        if (r < 0)
                return r;
        (void) unlinkat(d->dir_fd, download_name(name, d->state, d->what, DOWNLOAD_PART), 0);
        part->writer = safe_close(part->writer);
        r = flock(part->reader, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
        unlock_directory(d);
        return r == -EWOULDBLOCK ? -ETXTBSY : r;
}

static void keep_part(const Download *d, const DownloadAnswer *answer) {
        char name[DOWNLOAD_NAME_MAX];
        _cleanup_(path_replace_abort) PathReplacement file = {};
        _cleanup_free_ char *text = NULL;

        if (!answer->validator)
                return;
        text = json_dumps(answer->validator, JSON_COMPACT);
        (void) download_name(name, d->state, d->what, DOWNLOAD_VALIDATOR);
        if (text && path_replace_begin(&file, d->dir_fd, name) >= 0 &&
                path_replace_write(&file, text, strlen(text)) >= 0)
                (void) path_replace_commit(&file, (uid_t) -1, (gid_t) -1, 0600, PATH_NO_SYNC);
}

/* What is worth to be gone on with stays; a full disk is better served without. */
static bool is_worth_keeping(const Part *part, int r) {
        struct stat st;

        if (r != -ETIMEDOUT && r != -EPROTO && r != -EHOSTUNREACH && r != -EACCES && r != -ENOENT)
                return false;
        return fstat(part->reader, &st) == 0 && st.st_size > 0;
}

static void drop_part(const Download *d) {
        char name[DOWNLOAD_NAME_MAX];

        (void) unlinkat(d->dir_fd, download_name(name, d->state, d->what, DOWNLOAD_PART), 0);
}

/* ---- Verifying ------------------------------------------------------------------------------------------------------- */

static int parse_keys(AgentdContext *context, const AgentdDownload *what, MinisignKey **ret, size_t *ret_n) {
        _cleanup_free_ MinisignKey *keys = NULL;
        size_t n = 0;

        while (what->keys && what->keys[n])
                n++;
        if (n == 0 || n > KEYS_MAX)
                return refuse(context, -EINVAL, "a signature needs a public key");
        keys = calloc(n, sizeof(MinisignKey));
        if (!keys)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (minisign_parse_key(what->keys[i], &keys[i]) < 0)
                        return refuse(
                                context, -EINVAL, "'%s' is not a public key of minisign", what->keys[i]);
        *ret = TAKE_PTR(keys);
        *ret_n = n;
        return 0;
}

/* Return: 0; -EBADMSG, with the reason in the context; -errno. */
static int verify(const Download *d, int fd, const char *from) {
        char is[CHECKSUM_TEXT_MAX], should[CHECKSUM_TEXT_MAX];
        Checksum checksum;
        int r;

        if (d->pinned) {
                r = checksum_of_file(fd, &d->checksum, &checksum);
                if (r < 0)
                        return r;
                if (!checksum_equal(&checksum, &d->checksum))
                        return refuse(d->context, -EBADMSG, "%s: its checksum is %s, and should be %s", from,
                                checksum_format(is, &checksum), checksum_format(should, &d->checksum));
        }
        if (d->n_keys > 0) {
                r = minisign_verify_fd(&d->signature, d->keys, d->n_keys, fd);
                if (r == -EBADMSG)
                        return refuse(d->context, r, "%s: its signature is not right", from);
                if (r < 0)
                        return refuse(d->context, r, "%s: its signature cannot be verified: %s", from,
                                r == -EFBIG ? "it is of the old kind, for which the file is too large"
                                            : strerror(-r));
        }
        return 0;
}

/* ---- Fetching -------------------------------------------------------------------------------------------------------- */

static usec_t time_left(const Download *d) {
        usec_t now = now_usec(CLOCK_MONOTONIC);

        return now < d->deadline_usec ? d->deadline_usec - now : 0;
}

/* One run of the program. */
static int run_program(
        Download *d, const DownloadRequest *request, int fd, DownloadAnswer *ret, bool *ret_gone) {
        _cleanup_free_ char *text = NULL, *error = NULL;
        usec_t left = time_left(d);
        int r;

        if (left == 0)
                return refuse(d->context, -ETIMEDOUT, "there is no time left");
        text = download_request(d->what, request);
        if (!text)
                return refuse(d->context, -EINVAL, "what is asked for cannot be told as JSON");
        r = fetch_run(d->context, d->i, text, fd, left + GRACE_USEC, ret, ret_gone, &error);
        explicit_bzero(text, strlen(text));
        if (r == -ETIMEDOUT)
                return refuse(d->context, r, "it did not end in time");
        if (r < 0)
                return refuse(d->context, r, "agentd-fetch: %s", error ?: strerror(-r));
        if (ret->error < 0)
                return refuse(d->context, ret->error, "%s", ret->text ?: "out of memory");
        return 0;
}

/* The signatures of all URLs that are left; that which is found is taken for all of them. */
static int fetch_signature(Download *d) {
        _cleanup_free_ const char **urls = calloc(d->n_urls + 1, sizeof(char *));
        _cleanup_(download_answer_done) DownloadAnswer answer = {};
        DownloadRequest request = {
                .credentials = d->credentials,
                .max_bytes = MINISIGN_TEXT_MAX,
                .deadline_usec = time_left(d),
                .with_headers = true,
        };
        _cleanup_close_ int fd = memfd_create("signature", MFD_CLOEXEC);
        bool gone;
        size_t n = 0;
        ssize_t size;
        int r = 0;

        if (!urls)
                return -ENOMEM;
        if (fd < 0)
                return -errno;
        request.urls = urls;
        if (d->what->signature) {
                urls[n++] = d->what->signature;
                /* Headers are meant for the hosts of the file. */
                request.with_headers = false;
                for (size_t i = 0; i < d->n_urls; i++)
                        if (download_same_origin(d->urls[i], d->what->signature))
                                request.with_headers = true;
                r = run_program(d, &request, fd, &answer, &gone);
        } else {
                char **made = calloc(d->n_urls + 1, sizeof(char *));

                for (size_t i = 0; made && i < d->n_urls; i++) {
                        /* Before a query, which stays what it is. */
                        size_t path = strcspn(d->urls[i], "?#");

                        if (asprintf(&made[i], "%.*s.minisig%s", (int) path, d->urls[i], d->urls[i] + path) <
                                0) {
                                made[i] = NULL;
                                break;
                        }
                        urls[n++] = made[i];
                }
                r = n < d->n_urls ? -ENOMEM : run_program(d, &request, fd, &answer, &gone);
                for (size_t i = 0; made && i < d->n_urls; i++)
                        free(made[i]);
                free(made);
        }
        if (r < 0)
                return r;

        d->signature_text = malloc(MINISIGN_TEXT_MAX + 1);
        if (!d->signature_text)
                return -ENOMEM;
        if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        size = read_full(fd, d->signature_text, MINISIGN_TEXT_MAX + 1);
        if (size < 0)
                return (int) size;
        d->signature_size = (size_t) size;
        if (minisign_parse_signature(d->signature_text, d->signature_size, &d->signature) < 0)
                return refuse(d->context, -EBADMSG, "%s: it is not a signature in minisign's format",
                        answer.shown ?: "signature");
        for (size_t k = 0; k < d->n_keys; k++)
                if (memcmp(d->keys[k].id, d->signature.id, MINISIGN_ID_SIZE) == 0)
                        return 0;
        return refuse(d->context, -EBADMSG, "%s: it is made with the key %s, which is not among those given",
                answer.shown ?: "signature",
                minisign_format_id((char[2 *MINISIGN_ID_SIZE + 1]){}, d->signature.id));
}

static void store_signature(const Download *d) {
        char name[DOWNLOAD_NAME_MAX];
        _cleanup_(path_replace_abort) PathReplacement file = {};
        int r;

        (void) download_name(name, d->state, d->what, DOWNLOAD_SIGNATURE);
        r = path_replace_begin(&file, d->dir_fd, name);
        if (r >= 0)
                r = path_replace_write(&file, d->signature_text, d->signature_size);
        if (r >= 0)
                r = path_replace_commit(&file, (uid_t) -1, (gid_t) -1, 0600, 0);
        if (r < 0)
                context_log(d->context, LOG_WARNING,
                        "Failed to keep the signature of what was fetched for '%s': %s; it will be fetched "
                        "again",
                        d->state, strerror(-r));
}

/* A server whose file is not what it should be is not asked again; those after it come first, then those before it. */
static void drop_url(Download *d, const char *url) {
        const char *before[FETCH_URLS_MAX];
        size_t k = 0, n = 0;

        while (k < d->n_urls && !(url && streq(d->urls[k], url)))
                k++;
        /* Whoever names one that we have not, we do not go on with for ever. */
        if (k == d->n_urls)
                k = 0;
        memcpy(before, d->urls, k * sizeof(char *));
        for (size_t i = k + 1; i < d->n_urls; i++)
                d->urls[n++] = d->urls[i];
        memcpy(d->urls + n, before, k * sizeof(char *));
        d->urls[--d->n_urls] = NULL;
}

/* Once, over what is left of the URLs. Return: 0; -EAGAIN: what came is no good, but there is more to try; -errno. */
static int fetch_once(Download *d, int *ret_fd) {
        _cleanup_(download_answer_done) DownloadAnswer answer = {};
        _cleanup_(part_done) Part part = { .writer = -EBADF, .reader = -EBADF };
        bool blind, gone = false;
        int r;

        r = open_part(d, &part);
        if (r < 0)
                return refuse(d->context, r, "'" DOWNLOAD_DIRECTORY "': %s", strerror(-r));

        /* Perhaps it has come to its end, and nobody was there to see. */
        blind = part.resume && !part.validator;
        if (!blind || verify(d, part.reader, "part") < 0) {
                const DownloadRequest request = {
                        .urls = d->urls,
                        .with_headers = true,
                        .credentials = d->credentials,
                        .deadline_usec = time_left(d),
                        .resume = part.resume,
                        .validator = part.validator,
                };

                r = run_program(d, &request, part.writer, &answer, &gone);
                /* Those who handed it on have it open for a moment, and shall not keep it locked. */
                if (gone)
                        (void) flock(part.writer, LOCK_UN);
                if (r < 0) {
                        if (is_worth_keeping(&part, r))
                                keep_part(d, &answer);
                        else
                                drop_part(d);
                        return r;
                }
        } else
                (void) refuse(d->context, 0, "%s", "");

        r = seal_part(d, &part);
        if (r < 0)
                return refuse(d->context, r, "the file is still written by somebody else");
        r = verify(d, part.reader, answer.shown ?: "what was fetched");
        if (r == -EBADMSG) {
                /* Parts of two versions, perhaps. */
                if (answer.resumed) {
                        d->fresh = true;
                        return -EAGAIN;
                }
                drop_url(d, answer.url);
                return d->n_urls > 0 ? -EAGAIN : r;
        }
        if (r < 0)
                return r;
        if (lseek(part.reader, 0, SEEK_SET) < 0)
                return -errno;
        (void) flock(part.reader, LOCK_UN);
        *ret_fd = TAKE_FD(part.reader);
        return 0;
}

/* ---- What is asked for ----------------------------------------------------------------------------------------------- */

/* Of root, and for root alone: who else can read it has the credentials, and who else can write it chooses where they go. */
static int read_credentials(Download *d, const char *path) {
        _cleanup_close_ int dir_fd = -EBADF;
        _cleanup_free_ char *text = NULL;
        const char *name;
        struct stat st;
        size_t size;
        int r;

        r = path_open_parent(d->context->root_fd, path, 0, NULL, &dir_fd, &name);
        if (r >= 0)
                r = path_read_file(dir_fd, name, CREDENTIALS_MAX, &text, &size, &st);
        if (r < 0)
                return refuse(d->context, r, "credentials '%s' cannot be read: %s", path, strerror(-r));
        if (st.st_uid != geteuid() || (st.st_mode & 0077) != 0)
                return refuse(d->context, -EPERM,
                        "credentials '%s' can be read by others than root; chown root and chmod 0600 make "
                        "it right",
                        path);
        if (strlen(text) != size || !utf8_is_valid(text, size))
                return refuse(d->context, -EINVAL, "credentials '%s' are not text", path);
        d->credentials = TAKE_PTR(text);
        return 0;
}

static usec_t find_deadline(const AgentdContext *context, size_t i) {
        usec_t now = now_usec(CLOCK_MONOTONIC),
               timeout = MIN(image_state(context->image, context->states[i])->timeout_usec, DEADLINE_MAX),
               end = context->since_usec + timeout, left = now < end ? end - now : 0;

        return now + left - MIN(left / 5, RESERVE_MAX);
}

static int prepare_download(Download *d) {
        const AgentdDownload *what = d->what;
        int r;

        while (what->urls && what->urls[d->n_urls])
                d->n_urls++;
        if (d->n_urls == 0)
                return refuse(d->context, -EINVAL, "there is no URL");
        if (d->n_urls > FETCH_URLS_MAX)
                return refuse(d->context, -EINVAL, "there are more than %d URLs", FETCH_URLS_MAX);
        d->urls = calloc(d->n_urls + 1, sizeof(char *));
        if (!d->urls)
                return -ENOMEM;
        memcpy(d->urls, what->urls, d->n_urls * sizeof(char *));

        if (what->checksum) {
                if (checksum_parse(what->checksum, &d->checksum) < 0)
                        return refuse(d->context, -EINVAL, "'%s' is not a checksum", what->checksum);
                d->pinned = true;
        }
        if (!what->checksum || what->signature || (what->keys && what->keys[0])) {
                r = parse_keys(d->context, what, &d->keys, &d->n_keys);
                if (r < 0)
                        return r;
        }
        if (what->credentials) {
                r = read_credentials(d, what->credentials);
                if (r < 0)
                        return r;
        }
        r = download_directory_open(d->context->root_fd, true, &d->dir_fd);
        if (r < 0)
                return refuse(d->context, r, "'" DOWNLOAD_DIRECTORY "': %s", strerror(-r));
        return 0;
}

static void clean_up(const Download *d) {
        char signature[DOWNLOAD_NAME_MAX], part[DOWNLOAD_NAME_MAX];

        download_directory_clean(d->dir_fd, DOWNLOAD_PARTS_MAX,
                download_name(signature, d->state, d->what, DOWNLOAD_SIGNATURE),
                download_name(part, d->state, d->what, DOWNLOAD_PART));
}

int agentd_download(AgentdContext *context, size_t i, const AgentdDownload *download, int *ret_fd) {
        _cleanup_(download_done) Download d = {
                .context = context,
                .i = i,
                .what = download,
                .dir_fd = -EBADF,
        };
        int r;

        free(TAKE_PTR(context->download_error));
        if (context->phase != PHASE_APPLY || i >= context->n || download->size < sizeof(AgentdDownload) ||
                download->flags != 0)
                return refuse(context, -EINVAL, "it is not well-formed");
        d.state = image_text(context->image, image_state(context->image, context->states[i])->id);
        d.deadline_usec = find_deadline(context, i);
        r = prepare_download(&d);
        if (r < 0)
                return r;
        clean_up(&d);
        if (d.n_keys > 0) {
                r = fetch_signature(&d);
                if (r < 0)
                        return r;
        }
        do
                r = fetch_once(&d, ret_fd);
        while (r == -EAGAIN);
        if (r == 0 && d.n_keys > 0)
                store_signature(&d);
        return r;
}

/* ---- Checking -------------------------------------------------------------------------------------------------------- */

static void describe(int fd, const Checksum *like, char ret_is[static AGENTD_CHECKSUM_SIZE]) {
        Checksum checksum;

        if (checksum_of_file(fd, like, &checksum) >= 0)
                (void) checksum_format(ret_is, &checksum);
        else
                *ret_is = 0;
}

/* Return: 1; 0; -errno. */
static int has_stored_signature(
        AgentdContext *context, const char *state, const AgentdDownload *download, int fd) {
        _cleanup_free_ MinisignKey *keys = NULL;
        _cleanup_close_ int dir_fd = -EBADF;
        _cleanup_free_ char *text = NULL;
        char name[DOWNLOAD_NAME_MAX];
        MinisignSignature signature;
        size_t n_keys, size;
        int r;

        r = parse_keys(context, download, &keys, &n_keys);
        if (r < 0)
                return r;
        r = download_directory_open(context->root_fd, false, &dir_fd);
        if (r >= 0)
                r = path_read_file(dir_fd, download_name(name, state, download, DOWNLOAD_SIGNATURE),
                        MINISIGN_TEXT_MAX, &text, &size, NULL);
        if (r == -ENOENT || r == -EFBIG)
                return 0;
        if (r < 0)
                return r;
        if (minisign_parse_signature(text, size, &signature) < 0)
                return 0;
        r = minisign_verify_fd(&signature, keys, n_keys, fd);
        return r == 0 ? 1 : r == -EBADMSG || r == -ENOKEY || r == -EFBIG ? 0 : r;
}

int agentd_is_downloaded(AgentdContext *context, size_t i, int fd, const AgentdDownload *download,
        char ret_is[static AGENTD_CHECKSUM_SIZE]) {
        const Checksum sha256 = { .kind = CHECKSUM_SHA256, .size = 32 };
        Checksum checksum, should;
        int r = 1;

        static_assert(AGENTD_CHECKSUM_SIZE >= CHECKSUM_TEXT_MAX, "what it is told in");
        if (i >= context->n || download->size < sizeof(AgentdDownload))
                return -EINVAL;
        if (download->checksum) {
                if (checksum_parse(download->checksum, &should) < 0)
                        return -EINVAL;
                r = checksum_of_file(fd, &should, &checksum);
                if (r < 0)
                        return r;
                (void) checksum_format(ret_is, &checksum);
                return checksum_equal(&checksum, &should);
        }
        r = has_stored_signature(context,
                image_text(context->image, image_state(context->image, context->states[i])->id), download,
                fd);
        if (r == 0)
                describe(fd, &sha256, ret_is);
        return r;
}
