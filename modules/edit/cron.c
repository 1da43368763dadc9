/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * cron: a job in the crontab of a user, or in a file of /etc/cron.d: a block between two lines that name it. All else in the file is
 * left alone.
 *
 *      [cron.backup]
 *      user = "ada"
 *      minute = 30
 *      hour = 2
 *      command = "/home/ada/bin/backup"
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edit-file.h"

#define CRONTABS "/var/spool/cron/crontabs"
#define CRON_D   "/etc/cron.d"

enum {
        P_ENSURE,
        P_USER,
        P_FILE,
        P_COMMAND,
        P_MINUTE,
        P_HOUR,
        P_DAY,
        P_MONTH,
        P_WEEKDAY,
        P_SPECIAL,
        P_ENVIRONMENT,
        P_DISABLED,
};

static const char *const ensure_words[] = { "present", "absent", NULL };
static const char *const special_words[] = { "reboot", "yearly", "annually", "monthly", "weekly", "daily",
        "midnight", "hourly", NULL };

static const AgentdParameter parameters[] = {
        [P_ENSURE] = { .name = "ensure",
                .type = AGENTD_STRING,
                .default_value = "present",
                .documentation = "absent: the job is not there",
                .choices = ensure_words },
        [P_USER] = { .name = "user",
                .type = AGENTD_STRING,
                .flags = AGENTD_USER | AGENTD_IDENTIFIES,
                .default_value = "root",
                .documentation = "who it runs as" },
        [P_FILE] = { .name = "file",
                .type = AGENTD_STRING,
                .flags = AGENTD_PATH | AGENTD_IDENTIFIES,
                .documentation =
                        "the file in `/etc/cron.d` that it is in; without it, the crontab of the user" },
        [P_COMMAND] = { .name = "command",
                .type = AGENTD_STRING,
                .documentation = "what `/bin/sh` is to run, in one line" },
        [P_MINUTE] = { .name = "minute",
                .type = AGENTD_ANY,
                .documentation = "0 to 59, or as crontab(5) has it: `\"*/5\"`; without it, `*`" },
        [P_HOUR] = { .name = "hour", .type = AGENTD_ANY, .documentation = "0 to 23, likewise" },
        [P_DAY] = { .name = "day", .type = AGENTD_ANY, .documentation = "of the month: 1 to 31, likewise" },
        [P_MONTH] = { .name = "month",
                .type = AGENTD_ANY,
                .documentation = "1 to 12, or `\"jan\"`, likewise" },
        [P_WEEKDAY] = { .name = "weekday",
                .type = AGENTD_ANY,
                .documentation = "0 (Sunday) to 7, or `\"mon\"`, likewise" },
        [P_SPECIAL] = { .name = "special",
                .type = AGENTD_STRING,
                .documentation = "in place of these five: at each boot, once a day, …",
                .choices = special_words },
        [P_ENVIRONMENT] = { .name = "environment",
                .type = AGENTD_TABLE,
                .documentation = "variables that are set for it; in the file they hold for all that comes "
                                 "after it as well" },
        [P_DISABLED] = { .name = "disabled",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "true: it is there, but as a comment" },
        {},
};

/* ---- Times ----------------------------------------------------------------------------------------------------- */

static const struct {
        int parameter;
        int64_t min, max;
} times[] = {
        { P_MINUTE, 0, 59 },
        { P_HOUR, 0, 23 },
        { P_DAY, 1, 31 },
        { P_MONTH, 1, 12 },
        { P_WEEKDAY, 0, 7 },
};

static const char *const words[] = { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct",
        "nov", "dec", "sun", "mon", "tue", "wed", "thu", "fri", "sat" };

/* A number, or the three letters of a month or day. Return: where it ends; NULL: there is none, or it is out of range. */
static const char *skip_number(const char *p, size_t i) {
        int64_t number = 0;
        const char *start = p;

        if (times[i].parameter == P_MONTH || times[i].parameter == P_WEEKDAY)
                for (size_t k = times[i].parameter == P_MONTH ? 0 : 12;
                        k < (times[i].parameter == P_MONTH ? 12 : ELEMENTSOF(words)); k++)
                        if (strncasecmp(p, words[k], 3) == 0)
                                return p + 3;
        while (*p >= '0' && *p <= '9' && p - start < 3)
                number = 10 * number + (*p++ - '0');
        return p > start && number >= times[i].min && number <= times[i].max ? p : NULL;
}

static int64_t number_at(const char *p) {
        return *p >= '0' && *p <= '9' ? strtol(p, NULL, 10) : -1;
}

/* crontab(5): a list of "*", numbers and ranges, each with a step or without. */
static bool is_time(const char *text, size_t i) {
        const char *p = text;

        for (;;) {
                const char *start = p;
                bool many = *p == '*';

                p = many ? p + 1 : skip_number(p, i);
                if (p && !many && *p == '-') {
                        int64_t last = number_at(p + 1);

                        /* Cron would refuse the whole file. */
                        if (last >= 0 && last < number_at(start))
                                return false;
                        p = skip_number(p + 1, i);
                        many = true;
                }
                if (p && many && *p == '/') {
                        const char *step = ++p;

                        while (*p >= '0' && *p <= '9')
                                p++;
                        if (p == step || p - step > 2 || strspn(step, "0") == (size_t) (p - step))
                                return false;
                }
                if (!p || *p == '\0')
                        return p;
                if (*p++ != ',')
                        return false;
        }
}

/* Return: 0; -EINVAL after agentd_prepare_error(). */
static int add_time(AgentdPrepare *prepare, Buffer *line, const AgentdValue *value, size_t i) {
        const AgentdParameter *parameter = &parameters[times[i].parameter];
        char number[32];
        const char *text = "*";

        if (value->type == AGENTD_INTEGER) {
                (void) snprintf(number, sizeof(number), "%lld", (long long) value->integer);
                text = number;
        } else if (value->type == AGENTD_STRING)
                text = value->string;
        else if (value->type != AGENTD_NONE)
                text = "";
        if (!is_time(text, i)) {
                agentd_prepare_error(prepare, times[i].parameter,
                        "'%s' must be a number from %lld to %lld, or a string as crontab(5) has it, like "
                        "\"*/5\" or \"1-5\"",
                        parameter->name, (long long) times[i].min, (long long) times[i].max);
                return -EINVAL;
        }
        buffer_printf(line, "%s ", text);
        return 0;
}

/* ---- The block ------------------------------------------------------------------------------------------------- */

/* Or a NUL, which ends more than that. */
static bool has_line_end(const AgentdValue *text) {
        return strpbrk(text->string, "\r\n") || strlen(text->string) != text->size;
}

static int add_environment(
        AgentdPrepare *prepare, Buffer *block, const AgentdValue *table, const char *comment) {
        for (uint32_t i = 0; i < table->n; i++) {
                const AgentdMember *member = &table->members[i];
                char quote;

                if (member->value.type != AGENTD_STRING || has_line_end(&member->value) || !*member->key ||
                        strpbrk(member->key, "=\r\n \t\"'#")) {
                        agentd_prepare_error(prepare, P_ENVIRONMENT,
                                "the variable '%s' must be a string without line ends, and have a name "
                                "without blanks",
                                member->key);
                        return -EINVAL;
                }
                /* There is no way to write one kind of quotes within itself. */
                quote = strchr(member->value.string, '"') ? '\'' : '"';
                if (strchr(member->value.string, quote)) {
                        agentd_prepare_error(prepare, P_ENVIRONMENT,
                                "the variable '%s' has both kinds of quotes in it, which cron cannot read",
                                member->key);
                        return -EINVAL;
                }
                buffer_printf(
                        block, "%s%s=%c%s%c\n", comment, member->key, quote, member->value.string, quote);
        }
        return 0;
}

static int make_block(AgentdPrepare *prepare, const AgentdValue *p, Buffer *block) {
        const char *comment = p[P_DISABLED].boolean ? "# " : "";
        bool any = false;

        if (p[P_COMMAND].type == AGENTD_NONE) {
                agentd_prepare_error(prepare, -1, "it needs 'command'");
                return -EINVAL;
        }
        if (!*p[P_COMMAND].string || has_line_end(&p[P_COMMAND])) {
                agentd_prepare_error(prepare, P_COMMAND, "'command' must be one line, and not empty");
                return -EINVAL;
        }
        if (p[P_ENVIRONMENT].type != AGENTD_NONE &&
                add_environment(prepare, block, &p[P_ENVIRONMENT], comment) < 0)
                return -EINVAL;
        buffer_puts(block, comment);
        for (size_t i = 0; i < ELEMENTSOF(times); i++)
                any = any || p[times[i].parameter].type != AGENTD_NONE;
        if (p[P_SPECIAL].type != AGENTD_NONE) {
                if (any) {
                        agentd_prepare_error(prepare, P_SPECIAL,
                                "'special' takes the place of minute, hour, day, month and weekday");
                        return -EINVAL;
                }
                buffer_printf(block, "@%s ", p[P_SPECIAL].string);
        } else {
                if (!any) {
                        agentd_prepare_error(prepare, -1,
                                "it does not say when: give 'special', or some of minute, hour, day, month "
                                "and weekday");
                        return -EINVAL;
                }
                for (size_t i = 0; i < ELEMENTSOF(times); i++)
                        if (add_time(prepare, block, &p[times[i].parameter], i) < 0)
                                return -EINVAL;
        }
        if (p[P_FILE].type != AGENTD_NONE)
                buffer_printf(block, "%s ", p[P_USER].string);
        buffer_printf(block, "%s\n", p[P_COMMAND].string);
        return 0;
}

static const char *in_image(AgentdPrepare *prepare, const char *before, const char *text) {
        char *made = agentd_alloc(prepare, strlen(before) + strlen(text) + 1);

        (void) stpcpy(stpcpy(made, before), text);
        return made;
}

/* Cron reads /etc/crontab, and in its directory only names without dots and the like: no "app.dpkg-old". */
static bool is_crontab(const char *path) {
        size_t length = strlen(CRON_D "/");
        const char *name = path + length;

        if (streq(path, "/etc/crontab"))
                return true;
        return strncmp(path, CRON_D "/", length) == 0 && *name &&
               name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")] ==
                       '\0';
}

static int prepare_cron(AgentdPrepare *prepare, const char *name, const AgentdValue *p,
        const void **ret_data, _unused_ unsigned flags) {
        Edit *edit = agentd_alloc(prepare, sizeof(Edit));
        bool in_file = p[P_FILE].type != AGENTD_NONE;
        Buffer block = {};
        int r;

        if (strpbrk(name, "\r\n")) {
                agentd_prepare_error(prepare, -1, "the name has a line end in it");
                return -EINVAL;
        }
        if (!*p[P_USER].string || strpbrk(p[P_USER].string, "/ \t\r\n") || *p[P_USER].string == '.') {
                agentd_prepare_error(prepare, P_USER, "'%s' cannot be the name of a user", p[P_USER].string);
                return -EINVAL;
        }
        if (in_file && !is_crontab(p[P_FILE].string)) {
                agentd_prepare_error(prepare, P_FILE,
                        "cron does not read '%s'; it reads files of /etc/cron.d whose names are letters, "
                        "digits, '-' and '_', and /etc/crontab",
                        p[P_FILE].string);
                return -EINVAL;
        }
        *edit = (Edit){
                .operation = EDIT_BLOCK,
                .absent = streq(p[P_ENSURE].string, "absent"),
                .create = true,
                .mode = in_file ? 0644 : 0600,
        };
        if (in_file)
                edit->path = p[P_FILE].string;
        else {
                edit->path = in_image(prepare, CRONTABS "/", p[P_USER].string);
                edit->owner = p[P_USER].string;
                edit->group = agentd_strdup(prepare, "crontab");
        }
        edit->begin = in_image(prepare, "# agentd cron: ", name);
        edit->end = in_image(prepare, "# agentd end: ", name);
        if (!edit->absent) {
                r = make_block(prepare, p, &block);
                if (r >= 0) {
                        char *text = agentd_alloc(prepare, block.size + 1);

                        memcpy(text, block.data, block.size);
                        edit->block = text;
                }
                buffer_done(&block);
                if (r < 0)
                        return r;
        }
        agentd_prepare_edits(prepare, edit->path);
        *ret_data = edit;
        return 0;
}

static int watch_cron(AgentdWatch *w, const AgentdState *state, _unused_ unsigned flags) {
        agentd_watch_path(w, ((const Edit *) state->data)->path);
        return 0;
}

const AgentdStateType cron_type = {
        .name = "cron",
        .documentation = "Keeps a job in the crontab of a user, or in a file of /etc/cron.d",
        .parameters = parameters,
        .batch_max = 1024,
        .timeout_usec = 30 * 1000000ull,
        .prepare = prepare_cron,
        .watch = watch_cron,
        .check = edit_check,
        .apply = edit_apply,
};
