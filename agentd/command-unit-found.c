/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Units of a former agentd. PID 1 keeps a file for each transient unit, which tells without the bus that it is there, and what it
 * is for; and the file stays as it was when systemd reads its units anew, which cuts such fields at the first space.
 */

#include <dirent.h>
#include <fcntl.h>

#include "command-internal.h"
#include "log.h"

/* Units of systemd-run and its like, us among them. Source: systemd.unit(5). */
#define TRANSIENT_DIRECTORY "/run/systemd/transient"

/* ---- Its file ---------------------------------------------------------------------------------------------------- */

static unsigned octal(const char *text, size_t *ret_n) {
        unsigned value = 0;
        size_t n = 0;

        for (; n < 3 && text[n] >= '0' && text[n] <= '7'; n++)
                value = value * 8 + (unsigned) (text[n] - '0');
        *ret_n = n;
        return value;
}

static unsigned hexadecimal(const char *text, size_t *ret_n) {
        char digits[3] = "", *end;
        unsigned value;

        for (size_t i = 0; i < 2 && text[i]; i++)
                digits[i] = text[i];
        value = (unsigned) strtoul(digits, &end, 16);
        *ret_n = (size_t) (end - digits);
        return value;
}

/* As systemd writes it, in place: C escapes, and "%%". Source: unit_escape_setting() of systemd. */
void unit_unescape(char *text) {
        static const char letters[] = "abfnrtv", meant[] = "\a\b\f\n\r\t\v";
        char *to = text;

        for (const char *p = text; *p;) {
                const char *letter;
                size_t n = 0;

                if (p[0] == '%' && p[1] == '%') {
                        *to++ = '%';
                        p += 2;
                        continue;
                }
                if (p[0] != '\\' || p[1] == 0) {
                        *to++ = *p++;
                        continue;
                }
                p++;
                letter = strchr(letters, *p);
                if (*p == 'x') {
                        *to++ = (char) hexadecimal(p + 1, &n);
                        p += n + 1;
                } else if (*p >= '0' && *p <= '7') {
                        *to++ = (char) octal(p, &n);
                        p += n;
                } else if (letter) {
                        *to++ = meant[letter - letters];
                        p++;
                } else
                        *to++ = *p++;
        }
        *to = 0;
}

/* What it is for. Return: 0; -errno. */
static int read_file(Command *command) {
        _cleanup_fclose_ FILE *f = NULL;
        _cleanup_free_ char *line = NULL;
        char path[256];
        size_t size = 0;
        ssize_t n;
        int r = 0;

        (void) snprintf(path, sizeof(path), TRANSIENT_DIRECTORY "/%s", command->unit_name);
        f = fopen(path, "re");
        if (!f)
                return -errno;
        while (r >= 0 && (n = getline(&line, &size, f)) > 0) {
                char *value;

                if (line[n - 1] == '\n')
                        line[n - 1] = 0;
                value = (char *) startswith(line, "LogExtraFields=");
                if (value) {
                        unit_unescape(value);
                        unit_take_field(command, value, strlen(value));
                        command->told = true;
                }
                value = (char *) startswith(line, "Slice=");
                if (value)
                        r = unit_set_slice(command, value);
        }
        return r;
}

/* ---- Taking over ------------------------------------------------------------------------------------------------- */

static bool is_id(const char *text, size_t size) {
        return size == COMMAND_ID_SIZE - 1 && strspn(text, "0123456789abcdef") >= size;
}

static int take_descriptor(Command *command, CommandStream *stream, const char *suffix) {
        CommandsOptions *options = &command->commands->options;
        char name[64];

        (void) snprintf(name, sizeof(name), "command-%s-%s", command->id, suffix);
        for (size_t i = 0; i < options->n_descriptors; i++) {
                CommandDescriptor *descriptor = &options->descriptors[i];
                int fd;

                if (descriptor->fd < 0 || !streq(descriptor->name, name))
                        continue;
                fd = TAKE_FD(descriptor->fd);
                (void) fcntl(fd, F_SETFL, O_NONBLOCK);
                /* Nothing is read before it is known under what it is to be logged. */
                return command_stream_open_paused(stream, command, fd, stream->errors);
        }
        return 0;
}

static int adopt(Commands *commands, const char *id) {
        _cleanup_(command_freep) Command *command = NULL;
        int r;

        r = command_new(commands, id, &command);
        if (r >= 0)
                r = unit_name(command);
        if (r >= 0)
                r = take_descriptor(command, &command->output, "out");
        if (r >= 0)
                r = take_descriptor(command, &command->errors, "err");
        if (r < 0)
                return r;
        r = read_file(command);
        if (r < 0)
                log_warning_errno(r, "Failed to read what '%s' is for, asking systemd instead: %m",
                        command->unit_name);
        command->found = true;
        command->step = UNIT_RUNNING;
        unit_store_descriptors(command);
        commands->n_unread++;
        command = NULL;
        return 0;
}

/* That there is none is known at once: nothing has to wait on the many hosts and starts where that is so. */
int units_find(Commands *commands) {
        DIR *directory = opendir(TRANSIENT_DIRECTORY);
        int r = 0;

        if (!directory)
                return errno == ENOENT ? 0 : -errno;
        for (const struct dirent *entry; r >= 0 && (entry = readdir(directory));) {
                const char *id = startswith(entry->d_name, COMMAND_UNIT_PREFIX);
                char text[COMMAND_ID_SIZE];
                size_t size = id ? strlen(id) : 0;

                if (size != COMMAND_ID_SIZE - 1 + strlen(COMMAND_UNIT_SUFFIX) ||
                        !endswith(id, COMMAND_UNIT_SUFFIX))
                        continue;
                (void) snprintf(text, sizeof(text), "%.*s", COMMAND_ID_SIZE - 1, id);
                if (is_id(text, strlen(text)))
                        r = adopt(commands, text);
        }
        (void) closedir(directory);
        return r;
}

bool unit_holds(const Command *command, const char *state, usec_t now) {
        const Commands *commands = command->commands;

        if (!command->found)
                return false;
        if (command->known || command->told) {
                if (!command->state || !streq(command->state, state))
                        return false;
                /* Without the bus for so long: it holds as long as something of it runs. */
                return command->known || now < commands->hold_until_usec || unit_is_populated(command);
        }
        return now < commands->hold_until_usec;
}
