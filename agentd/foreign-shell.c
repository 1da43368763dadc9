/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a foreign module says of states, in lines that a shell can print. */

#include "foreign-internal.h"
#include "log.h"

/* Another line of a text of several. */
static int append_line(char **text, size_t *size, const char *more, size_t more_size) {
        char *larger;

        larger = realloc(*text, *size + more_size + 2);
        if (!larger)
                return -ENOMEM;
        if (*text)
                larger[(*size)++] = '\n';
        memcpy(larger + *size, more, more_size + 1);
        *size += more_size;
        *text = larger;
        return 0;
}

void foreign_shell_clear(ForeignAnswer *answer) {
        free(answer->shell.name);
        free(answer->shell.is);
        free(answer->shell.should);
        answer->shell.name = answer->shell.is = answer->shell.should = NULL;
        answer->shell.is_size = answer->shell.should_size = 0;
        answer->shell.kind = 0;
}

/* Tells the difference that the lines so far have described. */
static void shell_flush(ForeignAnswer *answer) {
        const AgentdValue none = {};
        AgentdValue is = {
                .type = AGENTD_STRING, .string = answer->shell.is, .size = answer->shell.is_size
        };
        AgentdValue should = {
                .type = AGENTD_STRING, .string = answer->shell.should, .size = answer->shell.should_size
        };

        if (answer->shell.kind == 'u')
                answer->sink->undo(
                        answer->userdata, answer->n_ended, answer->shell.name, is.string ? &is : &none);
        else if (answer->shell.kind && answer->request == FOREIGN_CHECK)
                answer->sink->difference(answer->userdata, answer->n_ended, answer->shell.name,
                        is.string ? &is : &none, should.string ? &should : &none, answer->shell.kind == 't');
        foreign_shell_clear(answer);
}

static int shell_begin(ForeignAnswer *answer, char kind, const char *name) {
        shell_flush(answer);
        answer->shell.name = strdup(name);
        if (!answer->shell.name)
                return -ENOMEM;
        answer->shell.kind = kind;
        return 0;
}

typedef enum ShellWord {
        WORD_LOG,
        WORD_DIFFERS,
        WORD_DIFFERS_TEXT,
        WORD_UNDO,
        WORD_IS,
        WORD_SHOULD,
        WORD_DONE,
        WORD_FAILED,
        WORD_UNKNOWN,
        WORD_ERROR,
        WORD_WATCH,
        WORD_AFTER,
        WORD_PATH_KIND,
        WORD_END,
} ShellWord;

#define IN_PREPARE (1u << FOREIGN_PREPARE)
#define IN_CHECK   (1u << FOREIGN_CHECK)
#define IN_APPLY   (1u << FOREIGN_APPLY)
#define IN_ALL     (IN_PREPARE | IN_CHECK | IN_APPLY)

static const struct {
        const char *word;
        ShellWord number;
        unsigned in;   /* requests that it can be said in */
        bool of_state; /* it is said of a state, so there must be one left */
        bool rest;     /* something must follow it */
} shell_words[] = {
        { "log", WORD_LOG, IN_ALL, false, true },
        /* An apply looks again; what differs was told by the check. */
        { "differs", WORD_DIFFERS, IN_CHECK | IN_APPLY, true, true },
        { "differs-text", WORD_DIFFERS_TEXT, IN_CHECK | IN_APPLY, true, true },
        { "undo", WORD_UNDO, IN_APPLY, true, true },
        { "is", WORD_IS, IN_CHECK | IN_APPLY, true, false },
        { "should", WORD_SHOULD, IN_CHECK | IN_APPLY, true, false },
        { "done", WORD_DONE, IN_ALL, true, false },
        { "failed", WORD_FAILED, IN_ALL, true, true },
        { "unknown", WORD_UNKNOWN, IN_CHECK, true, true },
        { "error", WORD_ERROR, IN_PREPARE, true, true },
        { "watch", WORD_WATCH, IN_PREPARE, true, true },
        { "after", WORD_AFTER, IN_PREPARE, true, true },
        { "path-kind", WORD_PATH_KIND, IN_PREPARE, true, true },
        { "end", WORD_END, IN_ALL, false, false },
};

/* Cuts a word off: "path /etc/x" → "path" into the buffer, and "/etc/x". NULL if there is nothing behind it. */
static const char *cut_word(const char *text, char *word, size_t word_size) {
        size_t n = strcspn(text, " ");

        if (n == 0 || n >= word_size || !text[n] || !text[n + 1])
                return NULL;
        memcpy(word, text, n);
        word[n] = 0;
        return text + n + 1;
}

static int shell_say(ForeignAnswer *answer, ShellWord number, const char *rest, size_t size, char **reterr) {
        size_t i = answer->n_ended;
        const char *text;
        char word[80];
        int level, r;

        switch (number) {
        case WORD_LOG:
                text = cut_word(rest, word, sizeof(word));
                if (!text || log_level_from_string(word, &level) < 0)
                        return foreign_wrong(reterr,
                                "answered with a log line that is not 'log LEVEL TEXT', LEVEL being one "
                                "of error, warning, notice, info, debug");
                answer->sink->log(answer->userdata, level, text);
                return 0;
        case WORD_DIFFERS:
        case WORD_DIFFERS_TEXT:
                r = shell_begin(answer, number == WORD_DIFFERS ? 'd' : 't', rest);
                answer->shell.differs = true;
                return r;
        case WORD_UNDO: return shell_begin(answer, 'u', rest);
        case WORD_IS:
        case WORD_SHOULD:
                if (!answer->shell.kind)
                        return foreign_wrong(reterr,
                                "answered with '%s' before it said what, with 'differs' or 'undo'",
                                number == WORD_IS ? "is" : "should");
                return number == WORD_IS
                               ? append_line(&answer->shell.is, &answer->shell.is_size, rest, size)
                               : append_line(&answer->shell.should, &answer->shell.should_size, rest, size);
        case WORD_DONE:
        case WORD_FAILED:
        case WORD_UNKNOWN:
                shell_flush(answer);
                answer->shell.differs = false;
                foreign_end_state(answer, i,
                        number == WORD_DONE     ? FOREIGN_DONE
                        : number == WORD_FAILED ? FOREIGN_FAILED
                                                : FOREIGN_UNKNOWN,
                        number == WORD_DONE ? NULL : rest);
                return 0;
        case WORD_ERROR:
                text = cut_word(rest, word, sizeof(word));
                if (!text)
                        return foreign_wrong(reterr,
                                "answered with an error that is not 'error PARAMETER TEXT', or 'error - "
                                "TEXT' for the state as such");
                answer->sink->error(answer->userdata, i, streq(word, "-") ? NULL : word, text);
                return 0;
        case WORD_WATCH:
                text = cut_word(rest, word, sizeof(word));
                if (!text || (!streq(word, "path") && !streq(word, "unit") && !streq(word, "bus")))
                        return foreign_wrong(reterr,
                                "answered with a watch that is not 'watch path PATH', 'watch unit UNIT' "
                                "or 'watch bus MATCH'");
                answer->sink->watch(answer->userdata, i, word, text);
                return 0;
        case WORD_AFTER: answer->sink->after(answer->userdata, i, rest); return 0;
        case WORD_PATH_KIND: {
                _cleanup_free_ char *why = NULL;

                if (foreign_take_path_kind(answer, i, rest, &why) < 0)
                        return foreign_wrong(
                                reterr, "answered with a line that is wrong: %s", why ?: "out of memory");
                return 0;
        }
        case WORD_END: break;
        }
        if (answer->shell.kind || answer->shell.differs)
                return foreign_wrong(reterr, "answered 'end' in the middle of a state; 'done' ends that");
        answer->closed = true;
        return 1;
}

int foreign_take_shell_line(ForeignAnswer *answer, const char *line, size_t size, char **reterr) {
        size_t n = strcspn(line, " ");
        char buffer[FOREIGN_EXCERPT_MAX + 8];

        if (strlen(line) != size || !utf8_is_valid(line, size))
                return foreign_wrong(reterr, "answered with a line that is not UTF-8, or has a NUL in it");
        FOREACH_ELEMENT(word, shell_words) {
                const char *rest = line + n + (line[n] ? 1 : 0);

                if (strlen(word->word) != n || memcmp(word->word, line, n) != 0 ||
                        !(word->in & 1u << answer->request))
                        continue;
                if (word->rest && !*rest)
                        return foreign_wrong(reterr, "answered '%s' with nothing behind it", word->word);
                if (word->of_state && answer->n_ended == answer->n)
                        return foreign_wrong(reterr,
                                "answered '%s' for one state more than the %zu it was asked about",
                                word->word, answer->n);
                return shell_say(answer, word->number, rest, strlen(rest), reterr);
        }
        if (answer->quiet)
                return foreign_wrong(reterr,
                        "answered with a line that is none of the protocol; what it is is not shown, as a "
                        "state is sensitive");
        return foreign_wrong(reterr,
                "answered '%s', which is none of the protocol; what programs that it runs print must not "
                "go to its standard output",
                foreign_excerpt(buffer, line, size));
}
