/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * exec: runs a command where a guard says that there is something to do, or when something else has changed.
 *
 *      [exec."make keys"]
 *      command = ["/usr/bin/app", "keygen", "--out", "/etc/app/key"]
 *      creates = "/etc/app/key"
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <agentd/module.h>

#define SHELL "/bin/sh"

#define TIMEOUT_USEC (5 * 60 * UINT64_C(1000000))

/* Of a failed command: lines of its errors that are told, and how many bytes of them; lines that are logged. */
#define TOLD_LINES   3
#define TOLD_BYTES   400
#define LOGGED_LINES 50

/* By index in the list of parameters. */
enum {
        P_COMMAND,
        P_SHELL,
        P_CREATES,
        P_REMOVES,
        P_UNLESS,
        P_ONLY_IF,
        P_DIRECTORY,
        P_USER,
        P_GROUP,
        P_ENVIRONMENT,
        P_UMASK,
        P_INPUT,
        P_RETURNS,
        P_UNIT,
        P_LOG_OUTPUT,
        P_SECRET,
};

static const AgentdParameter parameters[] = {
        [P_COMMAND] = { .name = "command",
                .type = AGENTD_LIST,
                .documentation = "the program, by its absolute path, and its arguments",
                .exclusive = "what is run" },
        [P_SHELL] = { .name = "shell",
                .type = AGENTD_STRING,
                .documentation = "what `/bin/sh` is to run, of any number of lines",
                .exclusive = "what is run" },
        [P_CREATES] = { .name = "creates",
                .type = AGENTD_STRING,
                .flags = AGENTD_PATH,
                .documentation = "run only if this path does not exist" },
        [P_REMOVES] = { .name = "removes",
                .type = AGENTD_STRING,
                .flags = AGENTD_PATH,
                .documentation = "run only if this path exists" },
        [P_UNLESS] = { .name = "unless",
                .type = AGENTD_ANY,
                .documentation =
                        "run only if this fails: a program and its arguments, or a string for the shell" },
        [P_ONLY_IF] = { .name = "only_if",
                .type = AGENTD_ANY,
                .documentation = "run only if this succeeds: likewise" },
        [P_DIRECTORY] = { .name = "directory",
                .type = AGENTD_STRING,
                .flags = AGENTD_PATH,
                .documentation = "that the commands run in; without it, `/`" },
        [P_USER] = { .name = "user",
                .type = AGENTD_STRING,
                .flags = AGENTD_USER,
                .documentation = "that the command runs as; without it, root" },
        [P_GROUP] = { .name = "group",
                .type = AGENTD_STRING,
                .flags = AGENTD_GROUP,
                .documentation = "likewise; without it, that of the user" },
        [P_ENVIRONMENT] = { .name = "environment",
                .type = AGENTD_TABLE,
                .documentation = "variables of the commands, besides `PATH` and `LANG`" },
        [P_UMASK] = { .name = "umask",
                .type = AGENTD_MODE,
                .default_value = "0022",
                .documentation = "mode bits that new files of the command do not get" },
        [P_INPUT] = { .name = "input",
                .type = AGENTD_STRING,
                .documentation = "standard input of the command; without it, nothing" },
        [P_RETURNS] = { .name = "returns",
                .type = AGENTD_ANY,
                .documentation = "exit status of success, or a list of them; without it, 0" },
        [P_UNIT] = { .name = "unit",
                .type = AGENTD_TABLE,
                .flags = AGENTD_UNIT,
                .documentation = "properties of the command's unit, as `systemd-run -p` takes them" },
        [P_LOG_OUTPUT] = { .name = "log_output",
                .type = AGENTD_ANY,
                .documentation = "whether output goes to the journal: true, false, or \"on_failure\"; "
                                 "without it, true" },
        [P_SECRET] = { .name = "secret",
                .type = AGENTD_BOOLEAN,
                .default_value = "false",
                .documentation = "show neither what is run nor what it says" },
        {},
};

typedef enum LogOutput { LOG_NEVER, LOG_ALWAYS, LOG_ON_FAILURE } LogOutput;

/* What prepare gives: all of it in the image. */
typedef struct Exec {
        const char *const *argv, *const *unless, *const *only_if; /* the guards may be NULL */
        const char *const *environment;
        const char *creates, *removes, *directory, *user, *group, *input;
        const char *shown; /* the command line, for people */
        const AgentdValue *unit;
        size_t input_size;
        uint32_t umask, log_output;
        bool secret;
        bool listens;       /* it runs only when something that it listens to has changed */
        bool succeeds[256]; /* by exit status */
} Exec;

/* ---- In the loader --------------------------------------------------------------------------------------------- */

static const char *string_of(const AgentdValue *value) {
        return value->type == AGENTD_STRING ? value->string : NULL;
}

/* A word that an argument or a variable can be. */
static bool is_word(const AgentdValue *value) {
        return value->type == AGENTD_STRING && strlen(value->string) == value->size;
}

static bool check_program(AgentdPrepare *p, int parameter, const AgentdValue *list) {
        const char *name = parameters[parameter].name;

        if (list->n == 0) {
                agentd_prepare_error(p, parameter, "'%s' is empty; it must begin with a program", name);
                return false;
        }
        for (uint32_t i = 0; i < list->n; i++)
                if (!is_word(&list->items[i])) {
                        agentd_prepare_error(p, parameter,
                                "item %u of '%s' is no string, or has a NUL in it", i + 1, name);
                        return false;
                }
        if (list->items[0].string[0] != '/') {
                agentd_prepare_error(p, parameter,
                        "'%s' begins with '%.100s'; a program is given by its absolute path, like "
                        "\"/usr/bin/%.100s\"",
                        name, list->items[0].string,
                        list->items[0].string[0] ? list->items[0].string : "true");
                return false;
        }
        return true;
}

/* An array is a program, a string is for the shell. NULL: it is neither, which was said. */
static const char *const *arguments(AgentdPrepare *p, int parameter, const AgentdValue *value) {
        const char **argv;

        if (value->type == AGENTD_STRING) {
                if (!is_word(value) || value->string[strspn(value->string, " \t\r\n")] == '\0') {
                        agentd_prepare_error(p, parameter, "'%s' is empty, or has a NUL in it",
                                parameters[parameter].name);
                        return NULL;
                }
                argv = agentd_alloc(p, 4 * sizeof(char *));
                argv[0] = agentd_strdup(p, SHELL);
                argv[1] = agentd_strdup(p, "-c");
                argv[2] = value->string;
                return argv;
        }
        if (value->type != AGENTD_LIST) {
                agentd_prepare_error(p, parameter,
                        "'%s' must be an array of a program and its arguments, or a string for the shell",
                        parameters[parameter].name);
                return NULL;
        }
        if (!check_program(p, parameter, value))
                return NULL;
        argv = agentd_alloc(p, (value->n + 1) * sizeof(char *));
        for (uint32_t i = 0; i < value->n; i++)
                argv[i] = value->items[i].string;
        return argv;
}

/* What is run, and has to be there first. */
static void come_after(AgentdPrepare *p, const char *path) {
        char id[4096 + 8];

        if (path && snprintf(id, sizeof(id), "file:%s", path) < (int) sizeof(id))
                agentd_prepare_after(p, id);
}

static bool is_variable(const char *name) {
        if (*name >= '0' && *name <= '9')
                return false;
        return *name && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
                                strlen(name);
}

static const char *const *variables(AgentdPrepare *p, const AgentdValue *table) {
        const char **environment = agentd_alloc(p, (table->n + 1) * sizeof(char *));

        for (uint32_t i = 0; i < table->n; i++) {
                const char *name = table->members[i].key;
                const AgentdValue *value = &table->members[i].value;
                char number[32];
                const char *text = number;
                char *variable;
                size_t size;

                if (!is_variable(name)) {
                        agentd_prepare_error(p, P_ENVIRONMENT,
                                "'%.100s' in 'environment' is no name of a variable, which has letters, "
                                "digits and '_'",
                                name);
                        return NULL;
                }
                if (value->type == AGENTD_INTEGER)
                        (void) snprintf(number, sizeof(number), "%lld", (long long) value->integer);
                else if (value->type == AGENTD_BOOLEAN)
                        text = value->boolean ? "true" : "false";
                else if (is_word(value))
                        text = value->string;
                else {
                        agentd_prepare_error(p, P_ENVIRONMENT,
                                "'%s' in 'environment' must be a string, an integer, true or false", name);
                        return NULL;
                }
                size = strlen(name) + strlen(text) + 2;
                variable = agentd_alloc(p, size);
                (void) snprintf(variable, size, "%s=%s", name, text);
                environment[i] = variable;
        }
        return environment;
}

static bool add_status(AgentdPrepare *p, const AgentdValue *value, Exec *exec) {
        if (value->type != AGENTD_INTEGER || value->integer < 0 || value->integer > 255) {
                agentd_prepare_error(p, P_RETURNS,
                        "'returns' must be an exit status from 0 to 255, or an array of those that mean "
                        "success");
                return false;
        }
        exec->succeeds[value->integer] = true;
        return true;
}

static bool read_statuses(AgentdPrepare *p, const AgentdValue *value, Exec *exec) {
        if (value->type == AGENTD_NONE) {
                exec->succeeds[0] = true;
                return true;
        }
        if (value->type != AGENTD_LIST)
                return add_status(p, value, exec);
        if (value->n == 0) {
                agentd_prepare_error(p, P_RETURNS, "'returns' is empty, so the command could never succeed");
                return false;
        }
        for (uint32_t i = 0; i < value->n; i++)
                if (!add_status(p, &value->items[i], exec))
                        return false;
        return true;
}

static bool read_log_output(AgentdPrepare *p, const AgentdValue *value, Exec *exec) {
        if (value->type == AGENTD_NONE)
                exec->log_output = LOG_ALWAYS;
        else if (value->type == AGENTD_BOOLEAN)
                exec->log_output = value->boolean ? LOG_ALWAYS : LOG_NEVER;
        else if (value->type == AGENTD_STRING && strcmp(value->string, "on_failure") == 0)
                exec->log_output = LOG_ON_FAILURE;
        else {
                agentd_prepare_error(p, P_LOG_OUTPUT, "'log_output' must be true, false or \"on_failure\"");
                return false;
        }
        return true;
}

/* As one would type it. */
static void write_word(FILE *f, const char *word) {
        static const char plain[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=/.,:@%^";

        if (*word && strspn(word, plain) == strlen(word)) {
                (void) fputs(word, f);
                return;
        }
        (void) fputc('\'', f);
        for (; *word; word++)
                if (*word == '\'')
                        (void) fputs("'\\''", f);
                else
                        (void) fputc(*word, f);
        (void) fputc('\'', f);
}

static const char *command_line(AgentdPrepare *p, const char *const *argv) {
        char *text = NULL, *copy;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return argv[0];
        for (size_t i = 0; argv[i]; i++) {
                if (i > 0)
                        (void) fputc(' ', f);
                write_word(f, argv[i]);
        }
        if (fclose(f) != 0) {
                free(text);
                return argv[0];
        }
        copy = agentd_strdup(p, text);
        free(text);
        return copy;
}

/* All that is wrong is said at once. */
static int prepare(AgentdPrepare *p, const char *name, const AgentdValue *values, const void **ret_data,
        unsigned flags) {
        Exec *exec = agentd_alloc(p, sizeof(Exec));
        const AgentdValue *what =
                values[P_COMMAND].type != AGENTD_NONE ? &values[P_COMMAND] : &values[P_SHELL];
        bool ok = true;

        *exec = (Exec){
                .creates = string_of(&values[P_CREATES]),
                .removes = string_of(&values[P_REMOVES]),
                .directory = string_of(&values[P_DIRECTORY]),
                .user = string_of(&values[P_USER]),
                .group = string_of(&values[P_GROUP]),
                .input = string_of(&values[P_INPUT]),
                .input_size = string_of(&values[P_INPUT]) ? values[P_INPUT].size : 0,
                .unit = values[P_UNIT].type == AGENTD_TABLE ? &values[P_UNIT] : NULL,
                .umask = (uint32_t) values[P_UMASK].integer,
                .secret = values[P_SECRET].boolean,
        };

        if (what->type == AGENTD_NONE) {
                agentd_prepare_error(
                        p, -1, "an exec needs 'command' or 'shell', which says what is to be run");
                ok = false;
        } else {
                exec->argv = arguments(p, what == &values[P_SHELL] ? P_SHELL : P_COMMAND, what);
                ok = exec->argv != NULL;
        }
        if (values[P_UNLESS].type != AGENTD_NONE) {
                exec->unless = arguments(p, P_UNLESS, &values[P_UNLESS]);
                ok = exec->unless && ok;
        }
        if (values[P_ONLY_IF].type != AGENTD_NONE) {
                exec->only_if = arguments(p, P_ONLY_IF, &values[P_ONLY_IF]);
                ok = exec->only_if && ok;
        }
        for (int i = P_CREATES; i <= P_REMOVES; i++)
                if (string_of(&values[i]) && strcmp(values[i].string, "/") == 0) {
                        agentd_prepare_error(p, i, "'%s' is '/', which always exists", parameters[i].name);
                        ok = false;
                }
        if (exec->creates && exec->removes && strcmp(exec->creates, exec->removes) == 0) {
                agentd_prepare_error(
                        p, P_REMOVES, "'creates' and 'removes' are the same path, so it would never run");
                ok = false;
        }
        exec->listens = agentd_prepare_listens(p);
        if (!exec->listens && !exec->creates && !exec->removes && values[P_UNLESS].type == AGENTD_NONE &&
                values[P_ONLY_IF].type == AGENTD_NONE) {
                agentd_prepare_error(p, -1,
                        "an exec needs 'creates', 'removes', 'unless' or 'only_if', by which one can tell "
                        "whether there is something to do, or 'check_on', if it is to run when something "
                        "else has changed: without, it would run in each run");
                ok = false;
        }
        if (values[P_UMASK].integer > 0777) {
                agentd_prepare_error(p, P_UMASK, "'umask' has bits that no umask has; 0777 is all of them");
                ok = false;
        }
        if (values[P_ENVIRONMENT].type == AGENTD_TABLE) {
                exec->environment = variables(p, &values[P_ENVIRONMENT]);
                ok = exec->environment && ok;
        }
        ok = read_statuses(p, &values[P_RETURNS], exec) && ok;
        ok = read_log_output(p, &values[P_LOG_OUTPUT], exec) && ok;
        if (!ok)
                return -EINVAL;

        exec->shown = what == &values[P_SHELL] ? what->string : command_line(p, exec->argv);
        come_after(p, exec->argv[0]);
        come_after(p, exec->unless ? exec->unless[0] : NULL);
        come_after(p, exec->only_if ? exec->only_if[0] : NULL);
        come_after(p, exec->directory);
        *ret_data = exec;
        return 0;
}

static int watch(AgentdWatch *w, const AgentdState *state, unsigned flags) {
        const Exec *exec = state->data;

        if (exec->creates)
                agentd_watch_path(w, exec->creates);
        if (exec->removes)
                agentd_watch_path(w, exec->removes);
        return 0;
}

/* ---- Guards ---------------------------------------------------------------------------------------------------- */

/* Return: 1 it exists, be it a link that leads nowhere; 0; -errno. */
static int exists(AgentdContext *c, const char *path) {
        const char *name;
        struct stat st;
        int dir_fd, r;

        r = agentd_open_parent(c, path, &dir_fd, &name);
        if (r == 0 && fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                r = -errno;
        if (r == -ENOENT || r == -ENOTDIR)
                return 0;
        return r < 0 ? r : 1;
}

/* What a guard says: there is something to do, or not; or the state has been dealt with. */
typedef enum Verdict { IDLE, RUN, FAILED } Verdict;

static Verdict look_at_path(AgentdContext *c, size_t i, const char *guard, const char *path, int wanted) {
        int r = exists(c, path);

        if (r < 0) {
                agentd_failed(c, i, "Failed to look at '%s' ('%s'): %s", path, guard, strerror(-r));
                return FAILED;
        }
        return r == wanted ? RUN : IDLE;
}

static Verdict look_at_paths(AgentdContext *c, size_t i, const Exec *exec) {
        Verdict verdict = RUN;

        if (exec->creates)
                verdict = look_at_path(c, i, "creates", exec->creates, 0);
        if (exec->removes && verdict == RUN)
                verdict = look_at_path(c, i, "removes", exec->removes, 1);
        return verdict;
}

/*
 * Runs a guard, in the sandbox. That it does not succeed says something; that it could not be run, was killed or took
 * too long says nothing.
 */
static Verdict decide(AgentdContext *c, size_t i, const Exec *exec, const char *guard,
        const char *const *argv, bool runs_if_success, char *explanation, size_t explanation_size) {
        AgentdCommandResult result = { .size = sizeof(result) };
        const AgentdCommand command = {
                .size = sizeof(command),
                .argv = argv,
                .environment = exec->environment,
                .directory = exec->directory,
                .flags = AGENTD_COMMAND_QUIET | (exec->secret ? AGENTD_COMMAND_SECRET : 0),
        };
        int r;

        r = agentd_run_command(c, i, &command, &result);
        if (r < 0) {
                agentd_failed(c, i, "Failed to run '%s': %s", guard, strerror(-r));
                return FAILED;
        }
        if (result.end != AGENTD_COMMAND_EXITED) {
                agentd_failed(c, i, "'%s' did not tell whether there is something to do: %s", guard,
                        result.explanation);
                return FAILED;
        }
        (void) snprintf(explanation, explanation_size, "%s", result.explanation);
        return (result.code == 0) == runs_if_success ? RUN : IDLE;
}

/* ---- Check ----------------------------------------------------------------------------------------------------- */

static void check_one(AgentdContext *c, const AgentdState *state, size_t i) {
        const Exec *exec = state->data;
        char unless[512] = "", only_if[512] = "";
        Verdict verdict;

        /* Nothing that it listens to has changed, or it has run since. */
        if (exec->listens && !(state->flags & AGENTD_STATE_NOTICED)) {
                agentd_done(c, i);
                return;
        }
        verdict = look_at_paths(c, i, exec);
        if (verdict == RUN && exec->unless)
                verdict = decide(c, i, exec, "unless", exec->unless, false, unless, sizeof(unless));
        if (verdict == RUN && exec->only_if)
                verdict = decide(c, i, exec, "only_if", exec->only_if, true, only_if, sizeof(only_if));
        if (verdict == FAILED)
                return;
        if (verdict == RUN) {
                /* By which guard it is so is told as well: if it still is afterwards, that is what one has to know. */
                if (exec->creates)
                        agentd_differs_string(c, i, "creates", NULL, exec->creates);
                if (exec->removes)
                        agentd_differs_string(c, i, "removes", exec->removes, NULL);
                if (exec->unless)
                        agentd_differs_string(c, i, "unless", unless, "it succeeded");
                if (exec->only_if)
                        agentd_differs_string(c, i, "only_if", only_if, "it fails");
                agentd_differs_string(c, i, "run", NULL, exec->secret ? "<sensitive>" : exec->shown);
        }
        agentd_done(c, i);
}

static int check(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++)
                check_one(c, &states[i], i);
        return 0;
}

/* ---- Apply ----------------------------------------------------------------------------------------------------- */

/* Where the last lines of a text begin. */
static const char *last_lines(const char *text, size_t *size, unsigned n) {
        const char *p;

        while (*size > 0 && strchr(" \t\r\n", text[*size - 1]))
                --*size;
        for (p = text + *size; p > text; p--)
                if (p[-1] == '\n' && --n == 0)
                        break;
        *size -= (size_t) (p - text);
        return p;
}

/* The last lines in one, "first; second", to be freed. NULL: there is nothing to be said. */
static char *in_one_line(const char *text, size_t size) {
        const char *p = last_lines(text, &size, TOLD_LINES);
        char *line, *q;

        if (size == 0)
                return NULL;
        if (size > TOLD_BYTES) {
                p += size - TOLD_BYTES;
                size = TOLD_BYTES;
                /* Not in the middle of a letter. */
                while (size > 0 && (*p & 0xc0) == 0x80)
                        p++, size--;
        }
        q = line = malloc(2 * size + 1);
        if (!line)
                return NULL;
        for (; size > 0; p++, size--)
                if (*p == '\n') {
                        *q++ = ';';
                        *q++ = ' ';
                } else
                        *q++ = (unsigned char) *p < ' ' || *p == 127 ? ' ' : *p;
        *q = '\0';
        return line;
}

static void log_lines(AgentdContext *c, const AgentdState *state, const char *text, size_t size) {
        const char *p = last_lines(text, &size, LOGGED_LINES);

        while (size > 0) {
                const char *end = memchr(p, '\n', size);
                size_t n = end ? (size_t) (end - p) : size;

                agentd_log(c, LOG_WARNING, "%s: %.*s", state->id, (int) n, p);
                n += end != NULL;
                p += n;
                size -= n;
        }
}

static void tell_failure(
        AgentdContext *c, const AgentdState *state, size_t i, const AgentdCommandResult *result) {
        const Exec *exec = state->data;
        char *lines = NULL;

        if (exec->log_output == LOG_ON_FAILURE && !exec->secret &&
                !(state->flags & AGENTD_STATE_SENSITIVE)) {
                log_lines(c, state, result->output, result->output_size);
                log_lines(c, state, result->errors, result->errors_size);
        }
        if (result->end == AGENTD_COMMAND_EXITED && !exec->secret) {
                lines = in_one_line(result->errors, result->errors_size);
                if (!lines)
                        lines = in_one_line(result->output, result->output_size);
                agentd_failed(c, i, "the command failed: it exited with status %d%s%s", (int) result->code,
                        lines ? ": " : "", lines ? lines : "");
        } else
                agentd_failed(c, i, "the command failed: %s", result->explanation);
        free(lines);
}

/* What can be told here and now; commands that guard are asked by agentd, in a check. */
static void verify(AgentdContext *c, const Exec *exec, size_t i) {
        if (exec->creates && exists(c, exec->creates) == 0)
                agentd_failed(c, i, "the command succeeded, but '%s' ('creates') still does not exist",
                        exec->creates);
        else if (exec->removes && exists(c, exec->removes) > 0)
                agentd_failed(
                        c, i, "the command succeeded, but '%s' ('removes') still exists", exec->removes);
        else
                agentd_done(c, i);
}

static void apply_one(AgentdContext *c, const AgentdState *state, size_t i) {
        const Exec *exec = state->data;
        AgentdCommandResult result = { .size = sizeof(result) };
        const AgentdCommand command = {
                .size = sizeof(command),
                .argv = exec->argv,
                .environment = exec->environment,
                .input = exec->input,
                .input_size = exec->input_size,
                .flags = AGENTD_COMMAND_UMASK | (exec->secret ? AGENTD_COMMAND_SECRET : 0) |
                         (exec->log_output == LOG_ALWAYS ? 0 : AGENTD_COMMAND_QUIET),
                .umask = exec->umask,
                .directory = exec->directory,
                .user = exec->user,
                .group = exec->group,
                .unit = exec->unit,
        };
        int r;

        /* Something else may have done it since. */
        switch (look_at_paths(c, i, exec)) {
        case FAILED: return;
        case IDLE: agentd_done(c, i); return;
        case RUN: break;
        }

        r = agentd_run_command(c, i, &command, &result);
        if (r == -ECANCELED)
                agentd_failed(c, i, "the command was not begun, as agentd is stopping");
        else if (r < 0)
                agentd_failed(c, i, "Failed to run the command: %s", strerror(-r));
        else if (result.end != AGENTD_COMMAND_EXITED || !exec->succeeds[result.code & 0xff])
                tell_failure(c, state, i, &result);
        else
                verify(c, exec, i);
}

static int apply(AgentdContext *c, const AgentdState *states, size_t n, unsigned flags) {
        for (size_t i = 0; i < n; i++)
                apply_one(c, &states[i], i);
        return 0;
}

static const AgentdStateType exec_type = {
        .name = "exec",
        .documentation =
                "Runs a command where a guard says that there is something to do, or when something else "
                "has changed",
        .parameters = parameters,
        .flags = AGENTD_CHECK_RUNS,
        .timeout_usec = TIMEOUT_USEC,
        .prepare = prepare,
        .watch = watch,
        .check = check,
        .apply = apply,
};

AGENTD_MODULE("exec", "1", &exec_type);
