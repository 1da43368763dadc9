/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

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
 * Arrays and tables
 */

HELPER(len) {
        const Value *v = &args[0];
        size_t length = 0;
        int r;

        switch (v->type) {
        case VALUE_STRING:
                r = helper_charge(call, v->size);
                if (r < 0)
                        return r;
                for (size_t i = 0; i < v->size; i++)
                        length += ((unsigned char) v->text[i] & 0xc0) != 0x80;
                break;
        case VALUE_ARRAY: length = v->n_items; break;
        case VALUE_TABLE: length = v->n_members; break;
        default: return helper_error(call, 0, "wants a string, an array or a table, not %s", value_kind(v));
        }
        *ret = value_integer((int64_t) length);
        return 0;
}

HELPER(keys) {
        int r;

        *ret = value_array();
        VALUE_FOREACH_MEMBER(member, &args[0]) {
                Value key = value_string(call->arena, member->key, member->key_size);

                r = helper_charge(call, 1 + member->key_size);
                if (r < 0)
                        return r;
                (void) value_append(call->arena, ret, &key);
        }
        return 0;
}

HELPER(values) {
        int r;

        r = helper_charge(call, args[0].n_members);
        if (r < 0)
                return r;
        *ret = value_array();
        VALUE_FOREACH_MEMBER(member, &args[0])
                (void) value_append(call->arena, ret, &member->value);
        return 0;
}

HELPER(has) {
        int r;

        r = helper_charge(call, args[0].n_members);
        if (r < 0)
                return r;
        *ret = value_boolean(value_find(&args[0], args[1].text, args[1].size));
        return 0;
}

HELPER(first) {
        if (args[0].n_items > 0)
                *ret = args[0].items[0];
        return 0;
}

HELPER(last) {
        if (args[0].n_items > 0)
                *ret = args[0].items[args[0].n_items - 1];
        return 0;
}

static int order_items(HelperCall *call, const Value *a, const Value *b, int *ret) {
        int r;

        r = evaluation_order(call->evaluation, a, b, ret);
        if (r == 1)
                return helper_error(call, SIZE_MAX,
                        "wants only numbers or only strings; there are %s and %s", value_kind(a),
                        value_kind(b));
        return r;
}

/* The smallest or greatest of the arguments, or of the items of the only one. */
static int extreme(HelperCall *call, const Value *args, size_t n, int sign, Value *ret) {
        const Value *best = NULL;
        int order, r;

        if (n == 1) {
                if (args[0].type != VALUE_ARRAY)
                        return helper_error(
                                call, 0, "a single argument must be an array, not %s", value_kind(&args[0]));
                n = args[0].n_items;
                args = args[0].items;
        }
        for (size_t i = 0; i < n; i++) {
                /* The first is compared with itself, for its type. */
                r = order_items(call, &args[i], best ?: &args[i], &order);
                if (r < 0)
                        return r;
                if (!best || (order != VALUES_UNORDERED && (sign < 0 ? order < 0 : order > 0)))
                        best = &args[i];
        }
        if (best)
                *ret = *best;
        return 0;
}

HELPER(min) {
        return extreme(call, args, n, -1, ret);
}

HELPER(max) {
        return extreme(call, args, n, 1, ret);
}

HELPER(unique) {
        int r;

        *ret = value_array();
        VALUE_FOREACH_ITEM(item, &args[0]) {
                bool known = false;

                VALUE_FOREACH_ITEM(other, ret) {
                        r = evaluation_equal(call->evaluation, item, other, 1, &known);
                        if (r < 0)
                                return r;
                        if (known)
                                break;
                }
                r = helper_charge(call, 1);
                if (r < 0)
                        return r;
                if (!known)
                        (void) value_append(call->arena, ret, item);
        }
        return 0;
}

static int merge_sort(HelperCall *call, Value *items, Value *scratch, size_t n) {
        size_t half = n / 2, i = 0, j = half, k = 0;
        int order, r;

        /* A single item is compared with itself, for its type. */
        if (n < 2)
                return n == 0 ? 0 : order_items(call, &items[0], &items[0], &order);
        r = merge_sort(call, items, scratch, half);
        if (r < 0)
                return r;
        r = merge_sort(call, items + half, scratch, n - half);
        if (r < 0)
                return r;

        while (i < half && j < n) {
                r = order_items(call, &items[i], &items[j], &order);
                if (r < 0)
                        return r;
                scratch[k++] = order <= 0 ? items[i++] : items[j++];
        }
        while (i < half)
                scratch[k++] = items[i++];
        while (j < n)
                scratch[k++] = items[j++];
        memcpy(items, scratch, n * sizeof(Value));
        return 0;
}

HELPER(sorted) {
        Value array = args[0];
        int r;

        r = helper_charge(call, array.n_items);
        if (r < 0)
                return r;
        array.items = arena_memdup(call->arena, args[0].items, args[0].n_items * sizeof(Value));
        array.n_items_allocated = array.n_items;
        r = merge_sort(call, array.items, arena_new_array(call->arena, Value, array.n_items), array.n_items);
        if (r < 0)
                return r;
        *ret = array;
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

HELPER(version_compare) {
        Span a[3], b[3];
        int order = 0, r;

        r = helper_charge(call, args[0].size + args[1].size);
        if (r < 0)
                return r;
        split_version(&args[0], &a[0], &a[1], &a[2]);
        split_version(&args[1], &b[0], &b[1], &b[2]);
        for (size_t i = 0; order == 0 && i < 3; i++)
                order = compare_part(a[i], b[i]);
        *ret = value_integer(order < 0 ? -1 : order > 0);
        return 0;
}

/*
 * The host
 */

/* No step below limits time: a file system may hang. Who evaluates these is a process that can be killed. */
static int check_path(HelperCall *call, const Value *args, size_t n) {
        if (args[0].size == 0 || args[0].text[0] != '/')
                return helper_error(call, 0, "wants an absolute path");
        if (memchr(args[0].text, 0, args[0].size))
                return helper_error(call, 0, "the path holds a NUL");
        return 0;
}

static int open_below(int root_fd, const char *path, uint64_t flags) {
        struct open_how how = {
                .flags = O_PATH | O_CLOEXEC | flags,
                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        };
        _cleanup_close_ int own_root_fd = -EBADF;
        int fd;

        if (root_fd < 0) {
                own_root_fd = open("/", O_PATH | O_CLOEXEC | O_DIRECTORY);
                if (own_root_fd < 0)
                        return -errno;
                root_fd = own_root_fd;
        }

        /* EAGAIN: something was renamed meanwhile and the kernel cannot tell whether we left the root. */
        for (unsigned i = 0; i < 16; i++) {
                fd = (int) syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
                if (fd >= 0)
                        return fd;
                if (errno != EAGAIN && errno != EINTR)
                        break;
        }
        return -errno;
}

/* The mode of a file; 0 if there is none. */
static int stat_below(HelperCall *call, const Value *path, uint64_t flags, mode_t *ret) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        fd = open_below(call->root_fd, path->text, flags);
        if (fd == -ENOENT || fd == -ENOTDIR) {
                *ret = 0;
                return 0;
        }
        if (fd < 0 || fstat(fd, &st) < 0) {
                int r = fd < 0 ? fd : -errno;

                (void) helper_error(call, 0, "Failed to look at '%s': %s",
                        call->tainted ? "(secret)" : path->text, strerror(-r));
                return r;
        }
        *ret = st.st_mode;
        return 0;
}

HELPER(exists) {
        mode_t mode;
        int r;

        r = stat_below(call, &args[0], 0, &mode);
        if (r < 0)
                return r;
        *ret = value_boolean(mode != 0);
        return 0;
}

HELPER(is_file) {
        mode_t mode;
        int r;

        r = stat_below(call, &args[0], 0, &mode);
        if (r < 0)
                return r;
        *ret = value_boolean(S_ISREG(mode));
        return 0;
}

HELPER(is_dir) {
        mode_t mode;
        int r;

        r = stat_below(call, &args[0], 0, &mode);
        if (r < 0)
                return r;
        *ret = value_boolean(S_ISDIR(mode));
        return 0;
}

HELPER(is_symlink) {
        mode_t mode;
        int r;

        r = stat_below(call, &args[0], O_NOFOLLOW, &mode);
        if (r < 0)
                return r;
        *ret = value_boolean(S_ISLNK(mode));
        return 0;
}

/* clang-format off */
static const Helper helpers[] = { /* sorted */
        { "basename", 1, 1, 0, "s", NULL, helper_basename, "path",
          "what follows the last `/`; slashes at the end do not count" },
        { "bool", 1, 1, 0, NULL, NULL, helper_bool, "value",
          "a boolean from a boolean, 0 or 1, or one of the strings true, yes, on, 1, false, no, off, 0" },
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
        { "exists", 1, 1, HELPER_HOST, "s", check_path, helper_exists, "path",
          "whether there is such a file of any kind; symlinks are followed" },
        { "first", 1, 1, 0, "a", NULL, helper_first, "array",
          "the first item; null if there is none" },
        { "has", 2, 2, 0, "ts", NULL, helper_has, "table, key",
          "whether the table has the key" },
        { "int", 1, 1, 0, NULL, NULL, helper_int, "value",
          "an integer from an integer, a float (cut towards zero) or a string of decimal digits" },
        { "is_dir", 1, 1, HELPER_HOST, "s", check_path, helper_is_dir, "path",
          "whether it is a directory; symlinks are followed" },
        { "is_file", 1, 1, HELPER_HOST, "s", check_path, helper_is_file, "path",
          "whether it is a regular file; symlinks are followed" },
        { "is_symlink", 1, 1, HELPER_HOST, "s", check_path, helper_is_symlink, "path",
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
        { "version_compare", 2, 2, 0, "ss", NULL, helper_version_compare, "a, b",
          "-1, 0 or 1 as version a is older, the same or newer, by the rules of Debian (epoch, `~`, revision)" },
};
/* clang-format on */

HelperSet helper_set(int root_fd) {
        return (HelperSet){ .helpers = helpers, .n = ELEMENTSOF(helpers), .root_fd = root_fd };
}

static int compare_name(const void *name, const void *helper) {
        return strcmp(name, ((const Helper *) helper)->name);
}

const Helper *helper_set_find(const HelperSet *set, const char *name) {
        return bsearch(name, set->helpers, set->n, sizeof(Helper), compare_name);
}
