/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* PCRE2, with limits: no expression takes longer than its writer would wait. */

#include <ctype.h>

#include "edit.h"

#define MATCH_LIMIT 100000
#define HEAP_LIMIT  (16 * 1024) /* KiB */

int regex_new(const char *pattern, unsigned flags, Regex *ret, char **reterr) {
        pcre2_compile_context *compile = pcre2_compile_context_create(NULL);
        bool utf = flags & REGEX_UTF && utf8_is_valid(pattern, strlen(pattern));
        uint32_t options = PCRE2_NEVER_BACKSLASH_C | (utf ? PCRE2_UTF | PCRE2_UCP : 0) |
                           (flags & REGEX_LINES ? PCRE2_MULTILINE : 0);
        _cleanup_(regex_done) Regex regex = { .utf = utf };
        size_t offset = 0;
        int code = 0;

        if (!compile)
                return -ENOMEM;
        (void) pcre2_set_newline(compile, PCRE2_NEWLINE_ANYCRLF);
        regex.code = pcre2_compile((PCRE2_SPTR) pattern, strlen(pattern), options, &code, &offset, compile);
        pcre2_compile_context_free(compile);
        if (!regex.code) {
                char message[128] = "";

                (void) pcre2_get_error_message(code, (PCRE2_UCHAR *) message, sizeof(message));
                return edit_error(reterr, -EINVAL,
                        "the regular expression '%s' is wrong at character %zu: %s", pattern, offset + 1,
                        message);
        }
        (void) pcre2_pattern_info(regex.code, PCRE2_INFO_CAPTURECOUNT, &regex.n_groups);
        regex.data = pcre2_match_data_create_from_pattern(regex.code, NULL);
        regex.context = pcre2_match_context_create(NULL);
        if (!regex.data || !regex.context)
                return -ENOMEM;
        (void) pcre2_set_match_limit(regex.context, MATCH_LIMIT);
        (void) pcre2_set_depth_limit(regex.context, MATCH_LIMIT);
        (void) pcre2_set_heap_limit(regex.context, HEAP_LIMIT);
        /* Without it, it is only slower. */
        (void) pcre2_jit_compile(regex.code, PCRE2_JIT_COMPLETE);
        *ret = regex;
        regex = (Regex){};
        return 0;
}

void regex_done(Regex *regex) {
        pcre2_match_data_free(regex->data);
        pcre2_match_context_free(regex->context);
        pcre2_code_free(regex->code);
        *regex = (Regex){};
}

int regex_match(Regex *regex, const char *text, size_t size, size_t offset, char **reterr) {
        uint32_t options = regex->utf ? PCRE2_NO_UTF_CHECK : 0;
        int r;

        r = pcre2_match(regex->code, (PCRE2_SPTR) text, size, offset, options, regex->data, regex->context);
        if (r == PCRE2_ERROR_JIT_STACKLIMIT)
                r = pcre2_match(regex->code, (PCRE2_SPTR) text, size, offset, options | PCRE2_NO_JIT,
                        regex->data, regex->context);
        if (r >= 0)
                return 1;
        switch (r) {
        case PCRE2_ERROR_NOMATCH: return 0;
        case PCRE2_ERROR_MATCHLIMIT:
        case PCRE2_ERROR_DEPTHLIMIT:
        case PCRE2_ERROR_HEAPLIMIT:
                return edit_error(reterr, -E2BIG,
                        "a regular expression tries too much on this text (more than %d steps); write it so "
                        "that there are fewer ways to match, e.g. without nested repetitions",
                        MATCH_LIMIT);
        default: {
                char message[128] = "";

                (void) pcre2_get_error_message(r, (PCRE2_UCHAR *) message, sizeof(message));
                return edit_error(reterr, -E2BIG, "a regular expression could not be matched: %s", message);
        }
        }
}

void regex_span(const Regex *regex, uint32_t group, size_t *ret_start, size_t *ret_end) {
        const size_t *spans = pcre2_get_ovector_pointer(regex->data);

        *ret_start = spans[2 * group];
        *ret_end = spans[2 * group + 1];
        /* \K can end before it starts. */
        if (*ret_start != PCRE2_UNSET && *ret_end < *ret_start)
                *ret_end = *ret_start;
}

#define NO_GROUP  UINT32_MAX
#define BAD_GROUP (UINT32_MAX - 1)

/* What stands at a '$'. Return: the group, NO_GROUP (it is a plain character), BAD_GROUP; and how long it is. */
static uint32_t reference(const Regex *regex, const char *p, size_t *ret_length) {
        bool braces = p[1] == '{';
        const char *name = p + 1 + (braces ? 1 : 0);
        size_t n = 0;
        int number;

        *ret_length = 1;
        if (isdigit((unsigned char) name[0])) {
                while (n < 2 && isdigit((unsigned char) name[n]))
                        n++;
                if (braces && name[n] != '}')
                        return NO_GROUP;
                *ret_length = (size_t) (name - p) + n + (braces ? 1 : 0);
                number = n == 1 ? name[0] - '0' : (name[0] - '0') * 10 + name[1] - '0';
                return (uint32_t) number <= regex->n_groups ? (uint32_t) number : BAD_GROUP;
        }
        if (!braces)
                return NO_GROUP;
        while (isalnum((unsigned char) name[n]) || name[n] == '_')
                n++;
        if (n == 0 || n > 32 || name[n] != '}')
                return NO_GROUP;
        *ret_length = n + 3;
        {
                char key[33] = {};

                memcpy(key, name, n);
                number = pcre2_substring_number_from_name(regex->code, (PCRE2_SPTR) key);
        }
        return number > 0 ? (uint32_t) number : BAD_GROUP;
}

bool regex_has_references(const Regex *regex, const char *with, const char **ret_bad) {
        bool has = false;
        size_t n;

        *ret_bad = NULL;
        for (const char *p = with; *p; p += n) {
                uint32_t group;

                n = 1;
                if (*p != '$')
                        continue;
                if (p[1] == '$') {
                        n = 2;
                        continue;
                }
                group = reference(regex, p, &n);
                if (group == BAD_GROUP && !*ret_bad)
                        *ret_bad = p;
                has = has || (group != NO_GROUP && group != BAD_GROUP);
        }
        return has;
}

void regex_expand(const Regex *regex, const char *text, const char *with, Buffer *buffer) {
        size_t n, start, end;

        for (const char *p = with; *p; p += n) {
                uint32_t group = NO_GROUP;

                n = 1;
                if (*p == '$' && p[1] == '$')
                        n = 2;
                else if (*p == '$')
                        group = reference(regex, p, &n);
                if (group == NO_GROUP || group == BAD_GROUP) {
                        buffer_add(buffer, p, n == 2 ? 1 : n);
                        continue;
                }
                regex_span(regex, group, &start, &end);
                if (start != PCRE2_UNSET)
                        buffer_add(buffer, text + start, end - start);
        }
}
