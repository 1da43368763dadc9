/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fnmatch.h>

#include "expression-internal.h"

#define HELPER(helper) static int helper_##helper(HelperCall *call, const Value *args, size_t n, Value *ret)

/* Strings that lie in others. They are copied when the result of the whole expression is. */
static Value slice(const char *text, size_t size) {
        return (Value){ .type = VALUE_STRING, .text = text, .size = size };
}

static bool is_space(char c) {
        return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/*
 * Strings
 */

static int map_case(HelperCall *call, const Value *text, char from, Value *ret) {
        char *copy;
        int r;

        r = helper_charge(call, text->size);
        if (r < 0)
                return r;
        copy = arena_strndup(call->arena, text->text, text->size);
        for (size_t i = 0; i < text->size; i++)
                if (copy[i] >= from && copy[i] <= from + 25)
                        copy[i] ^= 0x20;
        *ret = slice(copy, text->size);
        return 0;
}

HELPER(lower) {
        return map_case(call, &args[0], 'A', ret);
}

HELPER(upper) {
        return map_case(call, &args[0], 'a', ret);
}

HELPER(trim) {
        const char *text = args[0].text;
        size_t size = args[0].size;
        int r;

        r = helper_charge(call, size);
        if (r < 0)
                return r;
        for (; size > 0 && is_space(*text); size--)
                text++;
        while (size > 0 && is_space(text[size - 1]))
                size--;
        *ret = value_string(call->arena, text, size);
        return 0;
}

HELPER(startswith) {
        int r;

        r = helper_charge(call, args[1].size);
        if (r < 0)
                return r;
        *ret = value_boolean(
                args[0].size >= args[1].size && memcmp(args[0].text, args[1].text, args[1].size) == 0);
        return 0;
}

HELPER(endswith) {
        int r;

        r = helper_charge(call, args[1].size);
        if (r < 0)
                return r;
        *ret = value_boolean(
                args[0].size >= args[1].size &&
                memcmp(args[0].text + args[0].size - args[1].size, args[1].text, args[1].size) == 0);
        return 0;
}

HELPER(contains) {
        bool found;
        int r;

        r = evaluation_contains(call->evaluation, &args[0], &args[1], &found);
        if (r < 0)
                return r;
        if (r == 1)
                return helper_error(call, SIZE_MAX, "cannot look for %s in %s", value_kind(&args[1]),
                        value_kind(&args[0]));
        *ret = value_boolean(found);
        return 0;
}

HELPER(matches) {
        int r;

        for (size_t i = 0; i < 2; i++)
                if (memchr(args[i].text, 0, args[i].size))
                        return helper_error(call, i, "the string holds a NUL");

        /* glibc goes back to the last star only, so this is the worst case. */
        r = helper_charge(call, (args[0].size + 1) * (args[1].size + 1));
        if (r < 0)
                return r;
        *ret = value_boolean(fnmatch(args[1].text, args[0].text, 0) == 0);
        return 0;
}

HELPER(split) {
        const char *text = args[0].text, *end = text + args[0].size, *found;
        int r;

        if (args[1].size == 0)
                return helper_error(call, 1, "the separator is empty");
        r = helper_charge(call, args[0].size);
        if (r < 0)
                return r;

        *ret = value_array();
        for (;; text = found + args[1].size) {
                Value item;

                r = helper_charge(call, UNITS_PER_STEP);
                if (r < 0)
                        return r;
                found = memmem(text, (size_t) (end - text), args[1].text, args[1].size);
                item = value_string(call->arena, text, (size_t) ((found ?: end) - text));
                (void) value_append(call->arena, ret, &item);
                if (!found)
                        return 0;
        }
}

HELPER(join) {
        size_t size = 0;
        char *text, *p;
        int r;

        VALUE_FOREACH_ITEM(item, &args[0]) {
                size_t more;

                if (item->type != VALUE_STRING)
                        return helper_error(
                                call, 0, "wants an array of strings; there is %s in it", value_kind(item));
                more = item->size + (item > args[0].items ? args[1].size : 0);
                r = helper_charge(call, 1 + more);
                if (r < 0)
                        return r;
                size += more;
        }

        p = text = arena_alloc_text(call->arena, size + 1);
        VALUE_FOREACH_ITEM(item, &args[0]) {
                if (item > args[0].items)
                        p = mempcpy(p, args[1].text, args[1].size);
                p = mempcpy(p, item->text, item->size);
        }
        *p = 0;
        *ret = slice(text, size);
        return 0;
}

HELPER(replace) {
        const char *text = args[0].text, *end = text + args[0].size, *found;
        size_t size = args[0].size, count = 0;
        char *copy, *p;
        int r;

        if (args[1].size == 0)
                return helper_error(call, 1, "what is to be replaced is empty");
        r = helper_charge(call, size);
        if (r < 0)
                return r;
        for (const char *q = text; (q = memmem(q, (size_t) (end - q), args[1].text, args[1].size));
                q += args[1].size)
                count++;
        /* Paid for before there is memory for it. */
        size = size - count * args[1].size + count * args[2].size;
        r = helper_charge(call, count + size);
        if (r < 0)
                return r;

        p = copy = arena_alloc_text(call->arena, size + 1);
        for (; (found = memmem(text, (size_t) (end - text), args[1].text, args[1].size));
                text = found + args[1].size) {
                p = mempcpy(p, text, (size_t) (found - text));
                p = mempcpy(p, args[2].text, args[2].size);
        }
        p = mempcpy(p, text, (size_t) (end - text));
        *p = 0;
        *ret = slice(copy, size);
        return 0;
}

HELPER(basename) {
        const char *text = args[0].text;
        size_t end = args[0].size, start;
        int r;

        r = helper_charge(call, end);
        if (r < 0)
                return r;
        while (end > 1 && text[end - 1] == '/')
                end--;
        for (start = end; start > 0 && text[start - 1] != '/';)
                start--;
        *ret = value_string(call->arena, text + start, end - start);
        if (end == 1 && text[0] == '/')
                *ret = value_string(call->arena, "/", 1);
        return 0;
}

HELPER(dirname) {
        const char *text = args[0].text;
        size_t end = args[0].size;
        int r;

        r = helper_charge(call, end);
        if (r < 0)
                return r;
        while (end > 1 && text[end - 1] == '/')
                end--;
        while (end > 0 && text[end - 1] != '/')
                end--;
        while (end > 1 && text[end - 1] == '/')
                end--;
        *ret = end > 0 ? value_string(call->arena, text, end) : value_string(call->arena, ".", 1);
        return 0;
}

/*
 * Conversions
 */

HELPER(int) {
        const Value *v = &args[0];
        long long integer;
        char *end;

        switch (v->type) {
        case VALUE_INTEGER: *ret = *v; return 0;
        case VALUE_FLOAT:
                if (!(v->real >= -0x1p63 && v->real < 0x1p63))
                        return helper_error(call, 0, "the float does not fit into 64 bits");
                *ret = value_integer((int64_t) v->real);
                return 0;
        case VALUE_STRING:
                if (v->size == 0 || !is_digit(v->text[v->size - 1]) ||
                        !(is_digit(*v->text) || *v->text == '-'))
                        return helper_error(call, 0, "the string is not a decimal integer");
                errno = 0;
                integer = strtoll(v->text, &end, 10);
                if (end != v->text + v->size)
                        return helper_error(call, 0, "the string is not a decimal integer");
                if (errno != 0)
                        return helper_error(call, 0, "the integer does not fit into 64 bits");
                *ret = value_integer(integer);
                return 0;
        default:
                return helper_error(call, 0, "wants an integer, a float or a string, not %s", value_kind(v));
        }
}

HELPER(string) {
        const Value *v = &args[0];
        char buffer[40];
        int size = 0, r;

        switch (v->type) {
        case VALUE_BOOLEAN:
                size = snprintf(buffer, sizeof(buffer), "%s", v->boolean ? "true" : "false");
                break;
        case VALUE_INTEGER: size = snprintf(buffer, sizeof(buffer), "%lld", (long long) v->integer); break;
        case VALUE_FLOAT:
                /* The shortest that reads back as the same. */
                for (int digits = 15; digits <= 17; digits++) {
                        size = snprintf(buffer, sizeof(buffer), "%.*g", digits, v->real);
                        if (strtod(buffer, NULL) == v->real)
                                break;
                }
                if (!strpbrk(buffer, ".en"))
                        size += snprintf(buffer + size, sizeof(buffer) - (size_t) size, ".0");
                break;
        case VALUE_STRING:
        case VALUE_OFFSET_DATETIME:
        case VALUE_LOCAL_DATETIME:
        case VALUE_LOCAL_DATE:
        case VALUE_LOCAL_TIME:
                r = helper_charge(call, v->size);
                if (r < 0)
                        return r;
                *ret = value_string(call->arena, v->text, v->size);
                return 0;
        default: return helper_error(call, 0, "there is no text for %s", value_kind(v));
        }
        *ret = value_string(call->arena, buffer, (size_t) size);
        return 0;
}

HELPER(bool) {
        static const struct {
                const char *text;
                bool boolean;
        } words[] = {
                { "true", true },
                { "yes", true },
                { "on", true },
                { "1", true },
                { "false", false },
                { "no", false },
                { "off", false },
                { "0", false },
        };
        const Value *v = &args[0];

        if (v->type == VALUE_BOOLEAN)
                *ret = *v;
        else if (v->type == VALUE_INTEGER && (v->integer == 0 || v->integer == 1))
                *ret = value_boolean(v->integer);
        else if (v->type == VALUE_INTEGER)
                return helper_error(call, 0, "of the integers it takes 0 and 1 only");
        else if (v->type == VALUE_STRING) {
                FOREACH_ELEMENT(w, words)
                        if (strlen(w->text) == v->size && memcmp(w->text, v->text, v->size) == 0) {
                                *ret = value_boolean(w->boolean);
                                return 0;
                        }
                return helper_error(call, 0, "the string is none of true, yes, on, 1, false, no, off, 0");
        } else
                return helper_error(
                        call, 0, "wants a boolean, an integer or a string, not %s", value_kind(v));
        return 0;
}

/*
 * Versions: epoch, upstream version and revision as in deb-version(7)
 */

typedef struct Span {
        const char *text;
        size_t size;
} Span;

static size_t digits_of(Span s) {
        size_t n = 0;

        while (n < s.size && is_digit(s.text[n]))
                n++;
        return n;
}

/* Rank of a character that is no digit: '~' before the end, the end before letters, letters before all else. */
static int rank(Span s) {
        if (s.size == 0 || is_digit(*s.text))
                return 0;
        if (*s.text == '~')
                return -1;
        return is_letter(*s.text) ? *s.text : (unsigned char) *s.text + 256;
}

static void skip(Span *s, size_t n) {
        s->text += n;
        s->size -= n;
}

static int compare_digits(Span *a, Span *b) {
        size_t n, m;
        int r;

        while (a->size > 0 && *a->text == '0')
                skip(a, 1);
        while (b->size > 0 && *b->text == '0')
                skip(b, 1);
        n = digits_of(*a);
        m = digits_of(*b);
        r = n != m ? (n < m ? -1 : 1) : memcmp(a->text, b->text, n);
        skip(a, n);
        skip(b, m);
        return r;
}

static int compare_part(Span a, Span b) {
        while (a.size > 0 || b.size > 0) {
                int r;

                while ((a.size > 0 && !is_digit(*a.text)) || (b.size > 0 && !is_digit(*b.text))) {
                        r = rank(a) - rank(b);
                        if (r != 0)
                                return r;
                        skip(&a, 1);
                        skip(&b, 1);
                }
                r = compare_digits(&a, &b);
                if (r != 0)
                        return r;
        }
        return 0;
}

static void split_version(const Value *v, Span *epoch, Span *upstream, Span *revision) {
        Span all = { v->text, v->size };
        size_t n = digits_of(all);
        const char *dash;

        *epoch = *revision = (Span){ v->text, 0 };
        if (n < all.size && all.text[n] == ':') {
                *epoch = (Span){ all.text, n };
                skip(&all, n + 1);
        }
        dash = memrchr(all.text, '-', all.size);
        if (dash) {
                *revision = (Span){ dash + 1, (size_t) (all.text + all.size - dash - 1) };
                all.size = (size_t) (dash - all.text);
        }
        *upstream = all;
}

/* Whether an order, negative, zero or positive, is what the operator asks for. Return: 1; 0; -EINVAL. */
static int order_matches(const Value *operator, int order) {
        static const struct {
                const char *text;
                bool less, equal, greater;
        } operators[] = {
                { "==", false, true, false },
                { "!=", true, false, true },
                { "<", true, false, false },
                { "<=", true, true, false },
                { ">", false, false, true },
                { ">=", false, true, true },
        };

        FOREACH_ELEMENT(o, operators)
                if (strlen(o->text) == operator->size && memcmp(o->text, operator->text, operator->size) ==
                        0)
                        return order < 0 ? o->less : order > 0 ? o->greater : o->equal;
        return -EINVAL;
}

HELPER(version_compare) {
        Span a[3], b[3];
        int order = 0, r;

        r = helper_charge(call, args[0].size + args[n - 1].size);
        if (r < 0)
                return r;
        split_version(&args[0], &a[0], &a[1], &a[2]);
        split_version(&args[n - 1], &b[0], &b[1], &b[2]);
        for (size_t i = 0; order == 0 && i < 3; i++)
                order = compare_part(a[i], b[i]);
        if (n == 2) {
                *ret = value_integer(order < 0 ? -1 : order > 0);
                return 0;
        }

        r = order_matches(&args[1], order);
        if (r < 0)
                return helper_error(call, 1, "the operator is none of ==, !=, <, <=, >, >=");
        *ret = value_boolean(r);
        return 0;
}

/* clang-format off */
static const Helper helpers[] = { /* sorted */
        { "all", 1, 1, 0, "a", NULL, helper_all, "array",
          "whether all of its booleans are true; also if there are none" },
        { "any", 1, 1, 0, "a", NULL, helper_any, "array",
          "whether one of its booleans is true" },
        { "basename", 1, 1, 0, "s", NULL, helper_basename, "path",
          "what follows the last `/`; slashes at the end do not count" },
        { "bool", 1, 1, 0, NULL, NULL, helper_bool, "value",
          "a boolean from a boolean, 0 or 1, or one of the strings true, yes, on, 1, false, no, off, 0" },
        { "concat", 1, HELPER_ANY_NUMBER, 0, NULL, NULL, helper_concat, "array, …",
          "the items of all the arrays as one array" },
        { "contains", 2, 2, 0, NULL, NULL, helper_contains, "where, what",
          "`what in where`" },
        { "default", 2, 2, HELPER_SPECIAL, NULL, NULL, NULL, "name, otherwise",
          "the value of the name, or `otherwise` if a part of it is missing or null; its first part must exist" },
        { "defined", 1, 1, HELPER_SPECIAL, NULL, NULL, NULL, "name",
          "whether no part of the name is missing or null; its first part must exist" },
        { "dirname", 1, 1, 0, "s", NULL, helper_dirname, "path",
          "what precedes the last `/`; `.` if there is none" },
        { "endswith", 2, 2, 0, "ss", NULL, helper_endswith, "text, suffix",
          "whether the text ends so" },
        { "env", 1, 1, HELPER_HOST, "s", helper_check_variable, helper_env, "name",
          "a variable of agentd's own environment; null if it is not set" },
        { "exists", 1, 1, HELPER_HOST, "s", helper_check_path, helper_exists, "path",
          "whether there is such a file of any kind; symlinks are followed" },
        { "first", 1, 1, 0, "a", NULL, helper_first, "array",
          "the first item; null if there is none" },
        { "has", 2, 2, 0, "ts", NULL, helper_has, "table, key",
          "whether the table has the key" },
        { "has_command", 1, 1, HELPER_HOST, "s", helper_check_command, helper_has_command, "name",
          "whether there is such a program in `/usr/local/sbin`, `/usr/local/bin`, `/usr/sbin`, `/usr/bin`, `/sbin` or "
          "`/bin`" },
        { "has_unit", 1, 1, HELPER_HOST, "s", helper_check_unit, helper_has_unit, "name",
          "whether systemd finds a unit file of that name, or for `a@b.service` of its template, that is not masked" },
        { "int", 1, 1, 0, NULL, NULL, helper_int, "value",
          "an integer from an integer, a float (cut towards zero) or a string of decimal digits" },
        { "is_dir", 1, 1, HELPER_HOST, "s", helper_check_path, helper_is_dir, "path",
          "whether it is a directory; symlinks are followed" },
        { "is_file", 1, 1, HELPER_HOST, "s", helper_check_path, helper_is_file, "path",
          "whether it is a regular file; symlinks are followed" },
        { "is_symlink", 1, 1, HELPER_HOST, "s", helper_check_path, helper_is_symlink, "path",
          "whether it is a symlink" },
        { "join", 2, 2, 0, "as", NULL, helper_join, "array, separator",
          "the strings of the array as one" },
        { "keys", 1, 1, 0, "t", NULL, helper_keys, "table",
          "its keys, in the order in which they were written" },
        { "last", 1, 1, 0, "a", NULL, helper_last, "array",
          "the last item; null if there is none" },
        { "len", 1, 1, 0, NULL, NULL, helper_len, "value",
          "code points of a string, items of an array, members of a table" },
        { "lower", 1, 1, 0, "s", NULL, helper_lower, "text",
          "the text with the letters A to Z made small" },
        { "matches", 2, 2, 0, "ss", NULL, helper_matches, "text, pattern",
          "whether all of the text matches the shell pattern: `*` `?` `[a-z]` `[!a-z]` `\\`" },
        { "max", 1, HELPER_ANY_NUMBER, 0, NULL, NULL, helper_max, "array | a, b, …",
          "the greatest of numbers or of strings; null if there is none" },
        { "min", 1, HELPER_ANY_NUMBER, 0, NULL, NULL, helper_min, "array | a, b, …",
          "the smallest of numbers or of strings; null if there is none" },
        { "nested", 2, 2, 0, ".s", NULL, helper_nested, "where, key",
          "a loop in a loop: of each item of an array or table, each in its array or table of that key" },
        { "pluck", 2, 2, 0, "as", NULL, helper_pluck, "array, key",
          "of an array of tables, the value that each has for the key" },
        { "replace", 3, 3, 0, "sss", NULL, helper_replace, "text, what, by",
          "the text with each `what` replaced, from left to right" },
        { "sorted", 1, 1, 0, "a", NULL, helper_sorted, "array",
          "numbers or strings in ascending order" },
        { "split", 2, 2, 0, "ss", NULL, helper_split, "text, separator",
          "the parts of the text; at least one" },
        { "startswith", 2, 2, 0, "ss", NULL, helper_startswith, "text, prefix",
          "whether the text begins so" },
        { "string", 1, 1, 0, NULL, NULL, helper_string, "value",
          "the text of a string, boolean, number or date-time" },
        { "trim", 1, 1, 0, "s", NULL, helper_trim, "text",
          "the text without white space (of ASCII) at both ends" },
        { "unique", 1, 1, 0, "a", NULL, helper_unique, "array",
          "the items without those that equal an earlier one" },
        { "upper", 1, 1, 0, "s", NULL, helper_upper, "text",
          "the text with the letters a to z made great" },
        { "values", 1, 1, 0, "t", NULL, helper_values, "table",
          "its values, in the order in which they were written" },
        { "version_compare", 2, 3, 0, "sss", NULL, helper_version_compare, "a, b | a, operator, b",
          "-1, 0 or 1 as version a is older, the same or newer, by the rules of Debian (epoch, `~`, revision); with one of "
          "the operators `==` `!=` `<` `<=` `>` `>=`, whether that holds" },
        { "where", 3, 3, 0, "as", NULL, helper_where, "array, key, value",
          "of an array of tables, those that have this value for the key" },
};
/* clang-format on */

HelperSet helper_set(int root_fd) {
        return (HelperSet){ .helpers = helpers, .n = ELEMENTSOF(helpers), .root_fd = root_fd };
}

static int compare_name(const void *name, const void *helper) {
        return strcmp(name, ((const Helper *) helper)->name);
}

const Helper *helper_set_find(const HelperSet *set, const char *name) {
        const Helper *helper = bsearch(name, set->helpers, set->n, sizeof(Helper), compare_name);

        return helper || !set->find ? helper : set->find(set->userdata, name);
}
