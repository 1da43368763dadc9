/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <systemd/sd-id128.h>
#include <time.h>

#include "disable.h"
#include "value-json.h"

#define FILE_MAX KIB(4)

Disabled *disabled_free(Disabled *disabled) {
        if (!disabled)
                return NULL;
        free(disabled->reason);
        free(disabled->by);
        free(disabled);
        return NULL;
}

static void this_boot(char ret[33]) {
        sd_id128_t id;

        if (sd_id128_get_boot(&id) < 0)
                id = SD_ID128_NULL;
        (void) sd_id128_to_string(id, ret);
}

static usec_t add(usec_t a, usec_t b) {
        return a > USEC_INFINITY - b ? USEC_INFINITY : a + b;
}

int disabled_new(const char *reason, const char *by, usec_t for_usec, Disabled **ret) {
        _cleanup_(disabled_freep) Disabled *disabled = malloc(sizeof(*disabled));

        if (!disabled)
                return -ENOMEM;
        *disabled = (Disabled){
                .reason = strdup(reason),
                .by = strdup(by),
                .since_usec = now_usec(CLOCK_REALTIME),
        };
        if (!disabled->reason || !disabled->by)
                return -ENOMEM;
        disabled->until_usec = add(disabled->since_usec, for_usec);
        disabled->until_boottime_usec = add(now_usec(CLOCK_BOOTTIME), for_usec);
        this_boot(disabled->boot_id);
        *ret = TAKE_PTR(disabled);
        return 0;
}

usec_t disabled_left(const Disabled *disabled) {
        usec_t until = disabled->until_usec, now = now_usec(CLOCK_REALTIME);
        char boot[33];

        if (until == USEC_INFINITY)
                return USEC_INFINITY;
        this_boot(boot);
        if (streq(boot, disabled->boot_id)) {
                until = disabled->until_boottime_usec;
                now = now_usec(CLOCK_BOOTTIME);
        }
        return until > now ? until - now : 0;
}

/* ---- The file ------------------------------------------------------------------------------------------------------- */

/* One line "KEY VALUE"; moves on to the next. NULL if it is another one. */
static const char *take_line(char **text, const char *key) {
        char *line = *text, *end = strchr(line, '\n');
        size_t n = strlen(key);

        if (!end || strncmp(line, key, n) != 0 || line[n] != ' ')
                return NULL;
        *end = 0;
        *text = end + 1;
        return line + n + 1;
}

static int take_number(char **text, const char *key, usec_t *ret) {
        const char *value = take_line(text, key);
        char *end;

        if (!value || !isdigit((unsigned char) *value))
                return -EBADMSG;
        errno = 0;
        *ret = strtoull(value, &end, 10);
        return errno != 0 || *end ? -EBADMSG : 0;
}

static int parse(char *text, Disabled *disabled) {
        const char *reason, *by, *boot;
        int r;

        reason = take_line(&text, "reason");
        by = reason ? take_line(&text, "by") : NULL;
        if (!by || !utf8_is_valid(reason, strlen(reason)) || !utf8_is_valid(by, strlen(by)))
                return -EBADMSG;
        r = take_number(&text, "since", &disabled->since_usec);
        if (r >= 0)
                r = take_number(&text, "until", &disabled->until_usec);
        if (r < 0)
                return r;
        boot = take_line(&text, "boot");
        if (!boot || strlen(boot) != sizeof(disabled->boot_id) - 1)
                return -EBADMSG;
        memcpy(disabled->boot_id, boot, sizeof(disabled->boot_id));
        r = take_number(&text, "until-boottime", &disabled->until_boottime_usec);
        if (r < 0)
                return r;
        if (*text)
                return -EBADMSG;
        disabled->reason = strdup(reason);
        disabled->by = strdup(by);
        return disabled->reason && disabled->by ? 0 : -ENOMEM;
}

/* Return: bytes; -errno. The text is NUL-terminated. */
static ssize_t read_file(const char *directory, char text[FILE_MAX + 1]) {
        _cleanup_close_ int dir_fd = -EBADF, fd = -EBADF;
        struct stat st;
        ssize_t n;

        dir_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0)
                return -errno;
        fd = openat(dir_fd, DISABLE_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EBADMSG;
        n = read_full(fd, text, FILE_MAX + 1);
        if (n < 0)
                return n;
        if ((size_t) n > FILE_MAX || memchr(text, 0, (size_t) n))
                return -EBADMSG;
        text[n] = 0;
        return n;
}

int disabled_read(const char *directory, Disabled **ret) {
        _cleanup_(disabled_freep) Disabled *disabled = NULL;
        char text[FILE_MAX + 1];
        ssize_t n;
        int r;

        n = read_file(directory, text);
        if (n == -ENOENT)
                return 0;
        disabled = calloc(1, sizeof(*disabled));
        if (!disabled)
                return -ENOMEM;
        r = n < 0 ? (int) n : parse(text, disabled);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                disabled_freep(&disabled);
                disabled = NULL;
                (void) snprintf(text, sizeof(text), "'%s/%s' cannot be read (%s)", directory, DISABLE_FILE,
                        strerror(-r));
                r = disabled_new(text, "agentd", USEC_INFINITY, &disabled);
                if (r < 0)
                        return r;
        }
        if (disabled_left(disabled) == 0)
                return 0;
        *ret = TAKE_PTR(disabled);
        return 1;
}

/* The same text on one line, as the file has it. */
static void put_line(FILE *f, const char *key, const char *value) {
        (void) fprintf(f, "%s ", key);
        for (; *value; value++)
                (void) fputc((unsigned char) *value < ' ' ? ' ' : *value, f);
        (void) fputc('\n', f);
}

int disabled_write(const char *directory, const Disabled *disabled) {
        static const char temporary[] = "." DISABLE_FILE ".new";
        _cleanup_close_ int dir_fd = -EBADF, fd = -EBADF;
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *f;
        int r;

        dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0)
                return -errno;
        if (!disabled) {
                if (unlinkat(dir_fd, DISABLE_FILE, 0) < 0 && errno != ENOENT)
                        return -errno;
                return fsync(dir_fd) < 0 ? -errno : 0;
        }

        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        put_line(f, "reason", disabled->reason);
        put_line(f, "by", disabled->by);
        (void) fprintf(f, "since %" PRIu64 "\nuntil %" PRIu64 "\nboot %s\nuntil-boottime %" PRIu64 "\n",
                disabled->since_usec, disabled->until_usec, disabled->boot_id,
                disabled->until_boottime_usec);
        if (fclose(f) != 0)
                return -ENOMEM;

        (void) unlinkat(dir_fd, temporary, 0);
        fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
                return -errno;
        r = write_full(fd, text, size);
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        if (r >= 0 && renameat(dir_fd, temporary, dir_fd, DISABLE_FILE) < 0)
                r = -errno;
        if (r < 0) {
                (void) unlinkat(dir_fd, temporary, 0);
                return r;
        }
        return fsync(dir_fd) < 0 ? -errno : 0;
}

json_t *disabled_to_json(const Disabled *disabled) {
        usec_t left;

        if (!disabled)
                return json_null();
        left = disabled_left(disabled);
        return json_pack("{s:s, s:s, s:o, s:o}", "reason", disabled->reason, "by", disabled->by, "since",
                json_from_time(disabled->since_usec), "until",
                left == USEC_INFINITY ? json_null() : json_from_time(now_usec(CLOCK_REALTIME) + left));
}
