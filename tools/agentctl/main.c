/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <time.h>

#include "agentctl.h"
#include "diagnostic.h"
#include "log.h"
#include "terminal.h"

/* ---- The verbs ------------------------------------------------------------------------------------------------- */

#define RESULTS "none ok changed drifted unknown failed skipped blocked"
#define LEVELS  "error warning notice info debug"

#define OPTION_DIFF \
        { .name = "diff", .help = "Show differences of text" }
#define OPTION_VERBOSE \
        { .name = "verbose", .letter = 'v', .help = "Show states that are fine as well" }
#define OPTION_VAR                                                                  \
        {                                                                           \
                .name = "var", .argument = "NAME=VALUE", .many = true,              \
                .help = "Set a variable for this run alone, whatever the roles say" \
        }

#define OPTION_TAG                                                                         \
        {                                                                                  \
                .name = "tag", .argument = "TAG", .many = true, .complete = COMPLETE_TAGS, \
                .help = "Only states with this tag, or another one that is named"          \
        }

const Option global_options[] = {
        { .name = "json", .help = "Print one JSON object a line" },
        { .name = "quiet", .letter = 'q', .help = "Say less: no headings, hints and progress" },
        { .name = "socket",
                .argument = "PATH",
                .complete = COMPLETE_FILES,
                .help = "Where agentd listens, instead of " CLIENT_SOCKET },
        { .name = "no-pager", .help = "Do not page long texts" },
        { .name = "help", .letter = 'h', .help = "Show help, also of a verb" },
        { .name = "version", .help = "Show the version" },
        {},
};

static const Option states_options[] = {
        { .name = "failed", .help = "Only those that failed, or are blocked" },
        { .name = "result",
                .argument = "RESULT",
                .complete = COMPLETE_WORDS,
                .words = RESULTS,
                .help = "Only those that were last found to be so" },
        { .name = "type", .argument = "TYPE", .complete = COMPLETE_TYPES, .help = "Only those of a type" },
        { .name = "role", .argument = "ROLE", .complete = COMPLETE_ROLES, .help = "Only those of a role" },
        { .name = "tag", .argument = "TAG", .complete = COMPLETE_TAGS, .help = "Only those with a tag" },
        {},
};

static const Option plan_options[] = {
        OPTION_DIFF,
        OPTION_VERBOSE,
        { .name = "check", .help = "Exit with 4 if anything would change" },
        OPTION_TAG,
        OPTION_VAR,
        {},
};

static const Option apply_options[] = {
        OPTION_DIFF,
        OPTION_VERBOSE,
        { .name = "only-failed", .help = "Only states that failed or are blocked, and what they require" },
        OPTION_TAG,
        OPTION_VAR,
        {},
};

static const Option run_options[] = {
        OPTION_DIFF,
        { .name = "stop", .help = "Stop it: what is under way is let finish" },
        {},
};

static const Option watch_options[] = {
        { .name = "failed", .help = "Only what went wrong" },
        { .name = "changed", .help = "Only changes of states" },
        { .name = "after", .argument = "ID", .help = "Begin with what came after this event" },
        {},
};

static const Option content_options[] = {
        { .name = "force", .help = "Write to a terminal even if it is no text" },
        {},
};

static const Option eval_options[] = {
        { .name = "check", .help = "Print nothing; exit with 1 if it is false" },
        { .name = "role",
                .argument = "ROLE",
                .complete = COMPLETE_ROLES,
                .help = "'vars' are those of that role, else of the host" },
        { .name = "item", .argument = "VALUE", .help = "'item' is that, in TOML or JSON" },
        { .name = "var",
                .argument = "NAME=VALUE",
                .many = true,
                .help = "Set a variable, whatever the roles say" },
        { .name = "conf-dir",
                .argument = "DIR",
                .complete = COMPLETE_FILES,
                .help = "Roles and variables are those in DIR" },
        {},
};

static const Option disable_options[] = {
        { .name = "for", .argument = "TIME", .help = "Enable again by itself after that, as in 2h" },
        {},
};

/* In the order of agentctl --help. */
const Verb verbs[] = {
        { .name = "status",
                .arguments = "",
                .handle = verb_status,
                .help = "What agentd is doing, and how this host is" },
        { .name = "states",
                .arguments = "[PATTERN…]",
                .max = SIZE_MAX,
                .complete = COMPLETE_STATES,
                .options = states_options,
                .handle = verb_states,
                .help = "List states",
                .more = "A pattern is an id, or a glob such as 'file:/etc/*'." },
        { .name = "show",
                .arguments = "STATE",
                .min = 1,
                .max = 1,
                .complete = COMPLETE_STATES,
                .handle = verb_show,
                .help = "All that is known about one state" },
        { .name = "explain",
                .arguments = "STATE…",
                .min = 1,
                .max = SIZE_MAX,
                .complete = COMPLETE_STATES,
                .handle = verb_explain,
                .help = "Why a state is as it is, and who says what it should be",
                .more = "States are ids or globs. Of each: where its settings and the variables in them\n"
                        "are written, what it waits for, why it is skipped, blocked or not there at all." },
        { .name = "plan",
                .arguments = "[STATE…]",
                .max = SIZE_MAX,
                .complete = COMPLETE_STATES,
                .options = plan_options,
                .handle = verb_plan,
                .help = "Say what an apply would change",
                .more = "States are ids or globs; what they require is looked at as well. All, if none is "
                        "named.\nWith --tag only those of them that have a tag." },
        { .name = "apply",
                .arguments = "[STATE…]",
                .max = SIZE_MAX,
                .complete = COMPLETE_STATES,
                .options = apply_options,
                .handle = verb_apply,
                .help = "Make this host as the roles declare",
                .more = "States are ids or globs; what they require is done as well. All, if none is "
                        "named.\nWith --tag only those of them that have a tag.\n"
                        "Ctrl-C stops the run, which lets finish what is under way; once more leaves it to "
                        "itself." },
        { .name = "runs", .arguments = "", .handle = verb_runs, .help = "List runs, newest first" },
        { .name = "run",
                .arguments = "ID",
                .min = 1,
                .max = 1,
                .complete = COMPLETE_RUNS,
                .options = run_options,
                .handle = verb_run,
                .help = "Show a run and what it found, or stop it" },
        { .name = "watch",
                .arguments = "",
                .options = watch_options,
                .handle = verb_watch,
                .help = "Follow what happens" },
        { .name = "triggers",
                .arguments = "",
                .handle = verb_triggers,
                .help = "List triggers, and when they fired" },
        { .name = "trigger",
                .arguments = "fire NAME",
                .min = 2,
                .max = 2,
                .complete = COMPLETE_TRIGGERS,
                .handle = verb_trigger,
                .help = "Fire one: its states are looked at" },
        { .name = "validate",
                .arguments = "[FILE…]",
                .max = SIZE_MAX,
                .complete = COMPLETE_FILES,
                .handle = verb_validate,
                .help = "Look for errors in the roles, or in files",
                .more = "Needs no agentd that runs." },
        { .name = "content",
                .arguments = "HASH",
                .min = 1,
                .max = 1,
                .options = content_options,
                .handle = verb_content,
                .help = "Write out old content that a change has replaced",
                .more = "HASH is what 'stored' says in the 'undo' of a result: run ID --json.\n"
                        "Needs root, and no agentd that runs." },
        { .name = "eval",
                .arguments = "EXPRESSION",
                .min = 1,
                .max = 1,
                .options = eval_options,
                .handle = verb_eval,
                .help = "Try an expression, as of a state's 'when'",
                .more = "It reads facts and variables, and may look at the host: \"exists('/etc/motd')\".\n"
                        "Needs no agentd that runs." },
        { .name = "facts",
                .arguments = "[NAME]",
                .max = 1,
                .complete = COMPLETE_FACTS,
                .handle = verb_facts,
                .help = "What is known about this host",
                .more = "NAME is a fact or a part of one, as in os.id." },
        { .name = "reload",
                .arguments = "",
                .handle = verb_reload,
                .help = "Load the roles, and wait until they are in force" },
        { .name = "disable",
                .arguments = "REASON",
                .min = 1,
                .max = SIZE_MAX,
                .options = disable_options,
                .handle = verb_disable,
                .help = "Change nothing on this host until it is enabled" },
        { .name = "enable", .arguments = "", .handle = verb_enable, .help = "End that" },
        { .name = "doc",
                .arguments = "[NAME]",
                .max = 1,
                .complete = COMPLETE_DOCS,
                .handle = verb_doc,
                .help = "The manual of a state type, of a setting, or of a helper",
                .more = "Needs no agentd that runs." },
        { .name = "schema",
                .arguments = "[agentd.toml]",
                .max = 1,
                .complete = COMPLETE_WORDS,
                .words = "agentd.toml",
                .handle = verb_schema,
                .help = "The JSON Schema of roles, for editors",
                .more = "Editors complete and check roles by it: docs/roles.md says how.\n"
                        "Needs no agentd that runs, and no root." },
        { .name = "log-level",
                .arguments = "[LEVEL]",
                .max = 1,
                .complete = COMPLETE_WORDS,
                .words = LEVELS,
                .handle = verb_log_level,
                .help = "Say, or set, how much agentd logs until it ends" },
        { .name = "help",
                .arguments = "[VERB]",
                .max = 1,
                .complete = COMPLETE_WORDS,
                .handle = verb_help,
                .help = "Show help, also of a verb" },
        { .name = "completion",
                .arguments = "SHELL",
                .min = 1,
                .max = 1,
                .complete = COMPLETE_WORDS,
                .words = "bash zsh fish",
                .handle = verb_completion,
                .hidden = true,
                .help = "Print what a shell reads to complete commands" },
        { .name = "__complete",
                .arguments = "KIND [PREFIX]",
                .min = 1,
                .max = 2,
                .handle = verb_complete,
                .hidden = true,
                .help = "What a word may become" },
};
const size_t n_verbs = ELEMENTSOF(verbs);

const Verb *verb_find(const char *name) {
        for (size_t i = 0; i < n_verbs; i++)
                if (streq(verbs[i].name, name))
                        return &verbs[i];
        return NULL;
}

int verb_help(Invocation *invocation) {
        const Verb *verb;

        if (invocation->n_words == 0) {
                help_print();
                return EXIT_FINE;
        }
        verb = verb_find(invocation->words[0]);
        if (!verb)
                return usage(NULL, "There is no verb '%s'", invocation->words[0]);
        help_print_verb(verb);
        return EXIT_FINE;
}

/* ---- The command line ------------------------------------------------------------------------------------------ */

int usage(const Verb *verb, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;

        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        if (text && endswith(text, "?")) /* a suggestion says enough */
                log_error("%s", text);
        else
                log_error("%s; see agentctl%s%s --help", text ?: "Out of memory", verb ? " " : "",
                        verb ? verb->name : "");
        return EXIT_INVALID;
}

const char *option_value(const Invocation *invocation, const char *name) {
        const Option *options = invocation->verb->options;

        for (size_t i = 0; options && options[i].name; i++)
                if (streq(options[i].name, name))
                        return invocation->values[i];
        return NULL;
}

const char *option_next(const Invocation *invocation, const char *name, size_t *position) {
        while (*position < invocation->n_many) {
                const char *const *pair = &invocation->many[2 * (*position)++];

                if (streq(pair[0], name))
                        return pair[1];
        }
        return NULL;
}

typedef struct Globals {
        bool json, quiet, no_pager, help, version;
        const char *socket;
} Globals;

typedef struct Parser {
        Globals globals;
        Invocation *invocation;
        char **argv;
        int argc, at;
} Parser;

static int unknown_verb(const char *name) {
        const char *names[ELEMENTSOF(verbs)] = {}, *meant;

        for (size_t i = 0; i < n_verbs; i++)
                if (!verbs[i].hidden)
                        names[i] = verbs[i].name;
        meant = suggest(name, names, n_verbs);
        if (meant)
                return usage(NULL, "There is no verb '%s'; did you mean '%s'?", name, meant);
        return usage(NULL, "There is no verb '%s'", name);
}

static int unknown_option(const Parser *p, const char *name) {
        const char *names[OPTIONS_MAX + ELEMENTSOF(global_options)], *meant;
        const Verb *verb = p->invocation->verb;
        size_t n = 0;

        for (const Option *o = global_options; o->name; o++)
                names[n++] = o->name;
        for (const Option *o = verb ? verb->options : NULL; o && o->name; o++)
                names[n++] = o->name;
        meant = suggest(name, names, n);
        if (meant)
                return usage(verb, "There is no option '--%s'; did you mean '--%s'?", name, meant);
        /* Where an option of a verb stands before it. */
        return usage(verb, "There is no option '--%s'%s", name, verb ? "" : " before the verb");
}

static void set_global(Globals *globals, const Option *option, const char *value) {
        if (streq(option->name, "socket"))
                globals->socket = value;
        else
                *(streq(option->name, "json")             ? &globals->json
                        : streq(option->name, "quiet")    ? &globals->quiet
                        : streq(option->name, "no-pager") ? &globals->no_pager
                        : streq(option->name, "help")     ? &globals->help
                                                          : &globals->version) = true;
}

/* name is of n bytes; or n is 0, and the letter counts. */
static const Option *find_option(
        const Parser *p, const char *name, size_t n, char letter, size_t *ret_index) {
        const Verb *verb = p->invocation->verb;
        const Option *lists[] = { verb ? verb->options : NULL, global_options };

        FOREACH_ELEMENT(list, lists)
                for (const Option *o = *list; o && o->name; o++)
                        if (n > 0 ? strlen(o->name) == n && strncmp(o->name, name, n) == 0
                                  : o->letter == letter) {
                                *ret_index = *list == global_options ? SIZE_MAX : (size_t) (o - *list);
                                return o;
                        }
        return NULL;
}

static int take_option(Parser *p, const Option *option, size_t index, const char *value) {
        const Verb *verb = p->invocation->verb;

        if (option->argument && !value) {
                if (p->at >= p->argc)
                        return usage(verb, "--%s needs a %s", option->name, option->argument);
                value = p->argv[p->at++];
        } else if (!option->argument && value)
                return usage(verb, "--%s takes no value", option->name);
        if (index == SIZE_MAX)
                set_global(&p->globals, option, value);
        else
                p->invocation->values[index] = value ?: "";
        if (option->many) {
                const char **pair = &p->invocation->many[2 * p->invocation->n_many++];

                pair[0] = option->name;
                pair[1] = value;
        }
        return 0;
}

static int parse_option(Parser *p, const char *word) {
        const char *name = startswith(word, "--");
        const Option *option;
        size_t index;
        int r;

        if (name) {
                size_t n = strcspn(name, "=");

                option = n > 0 ? find_option(p, name, n, 0, &index) : NULL;
                if (!option) {
                        _cleanup_free_ char *copy = strndup(name, n);

                        return unknown_option(p, copy ?: "");
                }
                return take_option(p, option, index, name[n] ? name + n + 1 : NULL);
        }

        for (word++; *word; word++) {
                option = find_option(p, NULL, 0, *word, &index);
                if (!option)
                        return usage(p->invocation->verb, "There is no option '-%c'", *word);
                r = take_option(p, option, index, NULL);
                if (r != 0)
                        return r;
        }
        return 0;
}

/* Options may stand anywhere, those of a verb after it. */
static int parse_argv(Parser *p) {
        Invocation *invocation = p->invocation;
        bool only_words = false;
        int r;

        while (p->at < p->argc) {
                const char *word = p->argv[p->at++];

                if (!only_words && streq(word, "--"))
                        only_words = true;
                else if (!only_words && word[0] == '-' && word[1]) {
                        r = parse_option(p, word);
                        if (r != 0)
                                return r;
                } else if (!invocation->verb) {
                        invocation->verb = verb_find(word);
                        if (!invocation->verb)
                                return unknown_verb(word);
                } else
                        invocation->words[invocation->n_words++] = word;
                /* Whatever a prefix begins with, it is no option. */
                if (invocation->verb && invocation->verb->handle == verb_complete)
                        only_words = true;
        }
        return 0;
}

static int check_words(const Invocation *invocation) {
        const Verb *verb = invocation->verb;

        if (invocation->n_words < verb->min)
                return usage(verb, "'%s' needs a %s", verb->name, verb->arguments);
        if (invocation->n_words > verb->max)
                return usage(verb, "'%s' is one word too many", invocation->words[verb->max]);
        return 0;
}

/* ---- Around ---------------------------------------------------------------------------------------------------- */

/* A descriptor that the caller has closed would be given to the next file that we open. */
static void open_standard_descriptors(void) {
        static const int flags[] = { O_WRONLY, O_RDONLY, O_WRONLY };

        for (int fd = 0; fd < (int) ELEMENTSOF(flags); fd++)
                if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", flags[fd]) < 0)
                        (void) open("/", O_RDONLY | O_DIRECTORY);
}

/* A reader that has gone has seen enough. */
static int finish_output(int status) {
        if (fflush(stdout) == 0 && !ferror(stdout))
                return status;
        if (errno != EPIPE)
                (void) log_error_errno(errno, "Failed to write the output: %m");
        return MAX(status, EXIT_STATE_FAILED);
}

static int invoke(Invocation *invocation, const Globals *globals) {
        const char *socket = getenv("AGENTD_SOCKET"), *timeout = getenv("AGENTD_TIMEOUT");
        usec_t timeout_usec = CLIENT_TIMEOUT_USEC;
        int status;

        if (timeout && (parse_timespan(timeout, &timeout_usec) < 0 || timeout_usec == 0))
                return usage(NULL, "AGENTD_TIMEOUT '%s' is no time span such as 30s", timeout);
        invocation->json = globals->json;
        invocation->quiet = globals->quiet;
        invocation->pager = !globals->no_pager;
        invocation->style.colour = output_wants_colour(stdout);
        invocation->progress.wanted = !globals->json && !globals->quiet && isatty(STDERR_FILENO);
        invocation->client = (Client){
                .socket = globals->socket
                                  ?: socket && *socket ? socket
                                                       : CLIENT_SOCKET,
                .timeout_usec = timeout_usec,
                .progress = &invocation->progress,
        };
        progress_begin(&invocation->progress, "Waiting for agentd");

        status = invocation->verb->handle(invocation);

        progress_done(&invocation->progress);
        client_done(&invocation->client);
        return status;
}

int main(int argc, char **argv) {
        _cleanup_free_ const char **words = calloc((size_t) argc + 1, sizeof(char *));
        _cleanup_free_ const char **many = calloc(2 * (size_t) argc + 1, sizeof(char *));
        Invocation invocation = { .words = words, .many = many };
        Parser parser = { .invocation = &invocation, .argc = argc, .argv = argv, .at = 1 };
        int r;

        open_standard_descriptors();
        log_set_identifier("agentctl");
        if (!words || !many) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        (void) setvbuf(stdout, NULL, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF, KIB(64));

        r = parse_argv(&parser);
        if (r != 0)
                return r;
        if (parser.globals.version) {
                (void) printf("agentctl %s\n", AGENTD_VERSION);
                return finish_output(EXIT_FINE);
        }
        if (parser.globals.help) {
                if (invocation.verb)
                        help_print_verb(invocation.verb);
                else
                        help_print();
                return finish_output(EXIT_FINE);
        }
        if (!invocation.verb)
                return usage(NULL, "Say what to do, for instance 'agentctl status'");
        r = check_words(&invocation);
        if (r != 0)
                return r;
        return finish_output(invoke(&invocation, &parser.globals));
}
