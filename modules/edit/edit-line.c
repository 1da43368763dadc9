/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A line, a block between markers, and replacing what matches. */

#include "edit.h"

/* Return: 1, 0; negative and *reterr. */
static int line_matches(Regex *regex, const Line *line, char **reterr) {
        return regex_match(regex, line->text, line->size, 0, reterr);
}

int edit_position(const Edit *edit, const Lines *lines, size_t *ret, char **reterr) {
        const char *pattern = edit->after ?: edit->before;
        _cleanup_(regex_done) Regex regex = {};
        size_t position = lines->n;
        int r;

        *ret = lines->n;
        if (!pattern || streq(pattern, "EOF"))
                return 0;
        if (streq(pattern, "BOF")) {
                *ret = 0;
                return 0;
        }
        r = regex_new(pattern, lines->utf ? REGEX_UTF : 0, &regex, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < lines->n; i++) {
                r = line_matches(&regex, &lines->lines[i], reterr);
                if (r < 0)
                        return r;
                if (r == 0)
                        continue;
                /* After the last that matches, before the first. */
                position = edit->after ? i + 1 : i;
                if (!edit->after)
                        break;
        }
        *ret = position;
        return 0;
}

/* ---- Line ------------------------------------------------------------------------------------------------------ */

static int remove_lines(const Edit *edit, const Lines *lines, Regex *regex, Buffer *ret, char **reterr) {
        for (size_t i = 0; i < lines->n; i++) {
                int r = edit->match ? line_matches(regex, &lines->lines[i], reterr)
                                    : line_is(&lines->lines[i], edit->line);

                if (r < 0)
                        return r;
                if (r == 0)
                        buffer_line(ret, &lines->lines[i]);
        }
        return 0;
}

/* The line, as it takes the place of one that has just matched; its end stays. */
static void put_line(const Edit *edit, const Line *line, const Regex *regex, bool references, Buffer *ret) {
        if (references)
                regex_expand(regex, line->text, edit->line, ret);
        else
                buffer_puts(ret, edit->line);
        buffer_add(ret, line->text + line->size, line->full - line->size);
}

static int add_line(const Edit *edit, const Lines *lines, Buffer *ret, char **reterr) {
        size_t position;
        int r = edit_position(edit, lines, &position, reterr);

        if (r < 0)
                return r;
        for (size_t i = 0; i <= lines->n; i++) {
                if (i == position)
                        buffer_new_line(ret, lines, edit->line, strlen(edit->line));
                if (i < lines->n)
                        buffer_line(ret, &lines->lines[i]);
        }
        return 0;
}

/* Puts the line in place of those that match: all of them, or the first. Return: how many did. */
static int replace_lines(
        const Edit *edit, const Lines *lines, Regex *regex, bool references, Buffer *ret, char **reterr) {
        int n = 0;

        for (size_t i = 0; i < lines->n; i++) {
                const Line *line = &lines->lines[i];
                int r = n == 0 || edit->every ? line_matches(regex, line, reterr) : 0;

                if (r < 0)
                        return r;
                if (r > 0) {
                        put_line(edit, line, regex, references, ret);
                        n = 1;
                } else
                        buffer_line(ret, line);
        }
        return n;
}

int edit_line(const Edit *edit, const Lines *lines, Buffer *ret, char **reterr) {
        _cleanup_(regex_done) Regex regex = {};
        bool references = false, there = false;
        const char *bad;
        int r;

        if (edit->match) {
                r = regex_new(edit->match, lines->utf ? REGEX_UTF : 0, &regex, reterr);
                if (r < 0)
                        return r;
        }
        if (edit->absent)
                return remove_lines(edit, lines, &regex, ret, reterr);

        references = edit->match && regex.n_groups > 0 && regex_has_references(&regex, edit->line, &bad);
        for (size_t i = 0; !references && i < lines->n && !there; i++)
                there = line_is(&lines->lines[i], edit->line);
        if (edit->match) {
                const Line line = { .text = edit->line, .size = strlen(edit->line) };
                int itself = references ? 0 : line_matches(&regex, &line, reterr);

                if (itself < 0)
                        return itself;
                /* What is wanted does not look like what it replaces: then it has done so already. */
                if (there && itself == 0 && !edit->every) {
                        for (size_t i = 0; i < lines->n; i++)
                                buffer_line(ret, &lines->lines[i]);
                        return 0;
                }
                r = replace_lines(edit, lines, &regex, references, ret, reterr);
                if (r < 0)
                        return r;
                /* With references there is nothing to add: it is made from what matches. */
                if (r > 0 || references || there)
                        return 0;
                ret->size = 0;
        } else if (there) {
                for (size_t i = 0; i < lines->n; i++)
                        buffer_line(ret, &lines->lines[i]);
                return 0;
        }
        return add_line(edit, lines, ret, reterr);
}

/* ---- Block ----------------------------------------------------------------------------------------------------- */

/* Finds the lines of the markers. Return: 1; 0: there is none; negative: they are not as they should be. */
static int find_block(
        const Edit *edit, const Lines *lines, size_t *ret_begin, size_t *ret_end, char **reterr) {
        size_t begin = SIZE_MAX, end = SIZE_MAX;

        for (size_t i = 0; i < lines->n; i++) {
                const Line *line = &lines->lines[i];

                if (line_is(line, edit->begin)) {
                        if (begin != SIZE_MAX)
                                return edit_error(reterr, -EINVAL,
                                        "the block '%s' begins in line %zu and again in line %zu; remove "
                                        "one",
                                        edit->begin, begin + 1, i + 1);
                        begin = i;
                } else if (line_is(line, edit->end)) {
                        if (begin == SIZE_MAX || end != SIZE_MAX)
                                return edit_error(reterr, -EINVAL,
                                        "the block ends with '%s' in line %zu without having begun",
                                        edit->end, i + 1);
                        end = i;
                }
        }
        if (begin == SIZE_MAX)
                return 0;
        if (end == SIZE_MAX)
                return edit_error(reterr, -EINVAL,
                        "the block begins in line %zu and has no end: '%s' is missing", begin + 1,
                        edit->end);
        *ret_begin = begin;
        *ret_end = end;
        return 1;
}

int edit_block(const Edit *edit, const Lines *lines, Buffer *ret, char **reterr) {
        size_t begin = 0, end = 0;
        int found, r;

        found = find_block(edit, lines, &begin, &end, reterr);
        if (found < 0)
                return found;
        if (!found) {
                r = edit_position(edit, lines, &begin, reterr);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i <= lines->n; i++) {
                if (i == begin && !edit->absent) {
                        if (found)
                                buffer_line(ret, &lines->lines[begin]);
                        else
                                buffer_new_line(ret, lines, edit->begin, strlen(edit->begin));
                        buffer_new_lines(ret, lines, edit->block, strlen(edit->block));
                        if (found)
                                buffer_line(ret, &lines->lines[end]);
                        else
                                buffer_new_line(ret, lines, edit->end, strlen(edit->end));
                }
                if (i < lines->n && !(found && i >= begin && i <= end))
                        buffer_line(ret, &lines->lines[i]);
        }
        return 0;
}

/* ---- Replace --------------------------------------------------------------------------------------------------- */

/* The part of the text that is replaced in. Return: 1; 0: there is none; negative and *reterr. */
static int find_region(const Edit *edit, const char *text, size_t size, unsigned flags, size_t *ret_start,
        size_t *ret_end, char **reterr) {
        size_t start = 0, end = size, a, b;
        int r;

        if (edit->from) {
                _cleanup_(regex_done) Regex regex = {};

                r = regex_new(edit->from, flags, &regex, reterr);
                if (r == 0)
                        r = regex_match(&regex, text, size, 0, reterr);
                if (r <= 0)
                        return r;
                regex_span(&regex, 0, &a, &start);
        }
        if (edit->to) {
                _cleanup_(regex_done) Regex regex = {};

                r = regex_new(edit->to, flags, &regex, reterr);
                if (r == 0)
                        r = regex_match(&regex, text, size, start, reterr);
                if (r < 0)
                        return r;
                if (r == 0 && !edit->from)
                        return 0;
                if (r > 0) {
                        regex_span(&regex, 0, &a, &b);
                        end = MAX(a, start);
                }
        }
        *ret_start = start;
        *ret_end = end;
        return 1;
}

/* As regex_expand(), with lines that end as those of the text. */
static void put_replacement(
        const Regex *regex, const char *text, const char *with, const char *end, Buffer *ret) {
        Buffer expanded = {};

        if (streq(end, "\n")) {
                regex_expand(regex, text, with, ret);
                return;
        }
        regex_expand(regex, text, with, &expanded);
        for (size_t i = 0; i < expanded.size; i++) {
                if (expanded.data[i] == '\n' && (i == 0 || expanded.data[i - 1] != '\r'))
                        buffer_puts(ret, "\r");
                buffer_add(ret, expanded.data + i, 1);
        }
        ret->failed = ret->failed || expanded.failed;
        buffer_done(&expanded);
}

int edit_replace(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr) {
        _cleanup_(regex_done) Regex regex = {};
        _cleanup_(lines_done) Lines lines = {};
        size_t from, to, position, offset, start, end;
        unsigned flags;
        int64_t n = 0;
        int r;

        r = lines_split(text, size, &lines);
        if (r < 0)
                return r;
        flags = REGEX_LINES | (lines.utf ? REGEX_UTF : 0);
        r = find_region(edit, text, size, flags, &from, &to, reterr);
        if (r <= 0) {
                buffer_add(ret, text, size);
                return r;
        }
        r = regex_new(edit->match, flags, &regex, reterr);
        if (r < 0)
                return r;

        position = offset = from;
        buffer_add(ret, text, from);
        while (offset <= to && (edit->count == 0 || n < edit->count)) {
                r = regex_match(&regex, text, to, offset, reterr);
                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                regex_span(&regex, 0, &start, &end);
                if (start < position) /* \K within a lookbehind */
                        return edit_error(reterr, -EINVAL, "'match' matches backwards");
                buffer_add(ret, text + position, start - position);
                put_replacement(&regex, text, edit->with, lines.end, ret);
                position = end;
                n++;
                /* Of nothing: go on behind the next character. */
                offset = end;
                if (end == start) {
                        offset++;
                        while (regex.utf && offset < to && ((unsigned char) text[offset] & 0xc0) == 0x80)
                                offset++;
                }
        }
        buffer_add(ret, text + position, size - position);
        return 0;
}
