/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The editors: functions from a text and what is wanted of it to the text as it should be. They look at nothing else.
 *
 * What is edited need not be UTF-8. Lines that nothing is to be done about come out byte for byte as they went in, also the
 * last one without an end; a byte order mark stays; lines that are added end as those that are there.
 */

#define PCRE2_CODE_UNIT_WIDTH 8

#include <pcre2.h>

#include <agentd/module.h>

#include "util.h"

#define EDIT_SIZE_MAX MIB(16)

typedef enum Operation {
        EDIT_LINE,
        EDIT_BLOCK,
        EDIT_REPLACE,
        EDIT_KEYS,
        EDIT_INI,
        EDIT_TOML,
        EDIT_JSON,
        _OPERATION_MAX,
} Operation;

/* What one state wants. Strings may be NULL: not given. */
typedef struct Edit {
        Operation operation;
        const char *path;
        bool absent, every, exact, uncomment, ignore_case, create;
        mode_t mode;                               /* of a file that is made; … */
        const char *owner, *group;                 /* … NULL: root */
        const char *line, *match, *after, *before; /* EDIT_LINE; the last two also of what else adds lines */
        const char *block, *begin, *end;           /* EDIT_BLOCK, with the lines that mark it */
        const char *with, *from, *to;              /* EDIT_REPLACE, besides match */
        int64_t count;                             /* 0: all */
        const char *section, *separator, *comment; /* EDIT_KEYS */
        const AgentdValue *table;    /* EDIT_KEYS, EDIT_INI, EDIT_TOML, EDIT_JSON; NULL: none */
        const AgentdValue *unset;    /* likewise: names of keys; NULL: none */
        const char *const *validate; /* who has to agree, see ../common/validate.h; NULL: nobody */
} Edit;

/* ---- Texts ----------------------------------------------------------------------------------------------------- */

typedef struct Buffer {
        char *data;
        size_t size, allocated;
        bool failed; /* no memory, or too large */
} Buffer;

void buffer_add(Buffer *buffer, const char *data, size_t size);
void buffer_puts(Buffer *buffer, const char *text);
void buffer_printf(Buffer *buffer, const char *format, ...) _printf_(2, 3);
void buffer_done(Buffer *buffer);

typedef struct Line {
        const char *text;
        size_t size; /* without its end … */
        size_t full; /* … and with it */
        bool gone;   /* for editors: it is left out */
} Line;

typedef struct Lines {
        Line *lines;
        size_t n;
        const char *end; /* how lines end: "\n" or "\r\n" */
        bool utf;        /* all of it is valid UTF-8 */
} Lines;

int lines_split(const char *text, size_t size, Lines *ret);
void lines_done(Lines *lines);
/* Adds a line of the text as it is; and one that is new, after making sure that what is there ends. */
void buffer_line(Buffer *buffer, const Line *line);
void buffer_new_line(Buffer *buffer, const Lines *lines, const char *text, size_t size);
/* Text of several lines that end in "\n". */
void buffer_new_lines(Buffer *buffer, const Lines *lines, const char *text, size_t size);

bool line_is(const Line *line, const char *text);

/* Sets *reterr, an allocated line for people, and returns r. */
int edit_error(char **reterr, int r, const char *format, ...) _printf_(3, 4);

/* ---- Regular expressions --------------------------------------------------------------------------------------- */

#define REGEX_LINES (1u << 0) /* ^ and $ stand for the ends of lines */
#define REGEX_UTF   (1u << 1) /* the text is valid UTF-8 */

typedef struct Regex {
        pcre2_code *code;
        pcre2_match_data *data;
        pcre2_match_context *context;
        bool utf;
        uint32_t n_groups;
} Regex;

/* Return: 0; -EINVAL, and why; -ENOMEM. */
int regex_new(const char *pattern, unsigned flags, Regex *ret, char **reterr);
void regex_done(Regex *regex);

/* Return: 1, and regex_span() says what; 0; -E2BIG if it takes too much, and *reterr. */
int regex_match(Regex *regex, const char *text, size_t size, size_t offset, char **reterr);
void regex_span(const Regex *regex, uint32_t group, size_t *ret_start, size_t *ret_end);

/* Whether a replacement has references to groups. *ret_bad: the first one to a group that is not there, or NULL. */
bool regex_has_references(const Regex *regex, const char *with, const char **ret_bad);
/* Adds a replacement, with $1, ${1}, ${name} and $$ replaced by what was matched in the text. */
void regex_expand(const Regex *regex, const char *text, const char *with, Buffer *buffer);

/* ---- Editors --------------------------------------------------------------------------------------------------- */

/*
 * edit_text() - makes the text as one edit wants it
 *
 * Return: 0, and the new text, which may be the same; -EINVAL, -E2BIG, -ENOMEM and *reterr, one line for people.
 */
int edit_text(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr);

/* The parts of it, for texts without a byte order mark. */
int edit_line(const Edit *edit, const Lines *lines, Buffer *ret, char **reterr);
int edit_block(const Edit *edit, const Lines *lines, Buffer *ret, char **reterr);
int edit_replace(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr);
int edit_keys(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr);
int edit_ini(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr);
int edit_json(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr);
int edit_toml(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr);

/* Where lines are added: the index of the line before which, lines->n: at the end. Return: 0; as above. */
int edit_position(const Edit *edit, const Lines *lines, size_t *ret, char **reterr);

/* ---- Several edits of one file --------------------------------------------------------------------------------- */

typedef struct Part {
        const Edit *edit;
        const char *id;
        char *error; /* it failed: why */
        bool changes;
        const char
                *before; /* if it changes something: the text before and after it; NULL: that was not kept */
        char *after;     /* `before` is that of the part before, or the text that there was */
        size_t before_size, after_size;
} Part;

/*
 * edit_compose() - one after the other; those that fail, or contradict each other, are left out
 *
 * Return: 0, and the text after all of them; -ENOMEM.
 */
int edit_compose(Part *parts, size_t n, const char *text, size_t size, Buffer *ret);
void edit_parts_done(Part *parts, size_t n);
