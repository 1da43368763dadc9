/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* JSON, changed in place: what is not named keeps its order, numbers their digits, lines their indentation. */

#include <ctype.h>
#include <jansson.h>

#include "edit.h"

typedef struct Document {
        const char *text;
        size_t size;
        const char *end; /* how lines end */
        char unit[17];   /* one level of indentation; empty: all is on one line */
        const char *colon;
} Document;

/* A piece of the text that is replaced. */
typedef struct Splice {
        size_t start, end;
        Buffer text;
} Splice;

typedef struct Splices {
        Splice *list;
        size_t n;
} Splices;

static Buffer *splice(Splices *splices, size_t start, size_t end) {
        Splice *list = reallocarray(splices->list, splices->n + 1, sizeof(Splice));

        if (!list)
                return NULL;
        splices->list = list;
        list[splices->n] = (Splice){ .start = start, .end = end };
        return &list[splices->n++].text;
}

/* ---- Values ---------------------------------------------------------------------------------------------------- */

static json_t *to_json(const AgentdValue *value) {
        json_t *json;

        switch (value->type) {
        case AGENTD_BOOLEAN: return json_boolean(value->boolean);
        case AGENTD_INTEGER: return json_integer(value->integer);
        case AGENTD_FLOAT: return json_real(value->real);
        case AGENTD_STRING: return json_stringn(value->string, value->size);
        case AGENTD_LIST:
                json = json_array();
                for (uint32_t i = 0; json && i < value->n; i++)
                        if (json_array_append_new(json, to_json(&value->items[i])) < 0) {
                                json_decref(json);
                                return NULL;
                        }
                return json;
        case AGENTD_TABLE:
                json = json_object();
                for (uint32_t i = 0; json && i < value->n; i++)
                        if (json_object_set_new(
                                    json, value->members[i].key, to_json(&value->members[i].value)) < 0) {
                                json_decref(json);
                                return NULL;
                        }
                return json;
        default: return json_null();
        }
}

static void new_line(const Document *document, size_t depth, const char *base, Buffer *ret) {
        buffer_puts(ret, document->end);
        buffer_puts(ret, base);
        for (size_t i = 0; i < depth; i++)
                buffer_puts(ret, document->unit);
}

/* base: the indentation of the line that it begins in. */
static void dump(const Document *document, const json_t *json, size_t depth, const char *base, Buffer *ret) {
        bool object = json_is_object(json), lines = document->unit[0];
        const char *key;
        json_t *item;
        size_t i = 0;

        if ((!object && !json_is_array(json)) ||
                (object ? json_object_size(json) : json_array_size(json)) == 0) {
                char *text = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);

                if (text)
                        buffer_puts(ret, text);
                else
                        ret->failed = true;
                free(text);
                return;
        }
        buffer_puts(ret, object ? "{" : "[");
        if (object)
                json_object_foreach((json_t *) json, key, item) {
                        json_t *name = json_string(key);

                        if (i++ > 0)
                                buffer_puts(ret, lines ? "," : document->colon[1] ? ", " : ",");
                        if (lines)
                                new_line(document, depth + 1, base, ret);
                        dump(document, name, 0, base, ret);
                        buffer_puts(ret, document->colon);
                        dump(document, item, depth + 1, base, ret);
                        json_decref(name);
                }
        else
                json_array_foreach(json, i, item) {
                        if (i > 0)
                                buffer_puts(ret, lines ? "," : document->colon[1] ? ", " : ",");
                        if (lines)
                                new_line(document, depth + 1, base, ret);
                        dump(document, item, depth + 1, base, ret);
                }
        if (lines)
                new_line(document, depth, base, ret);
        buffer_puts(ret, object ? "}" : "]");
}

/* ---- Scanning, of what is known to be JSON --------------------------------------------------------------------- */

static size_t skip_space(const Document *d, size_t i) {
        while (i < d->size && strchr(" \t\r\n", d->text[i]) && d->text[i])
                i++;
        return i;
}

static size_t skip_string(const Document *d, size_t i) {
        for (i++; i < d->size && d->text[i] != '"'; i++)
                if (d->text[i] == '\\')
                        i++;
        return MIN(i + 1, d->size);
}

static size_t skip_value(const Document *d, size_t i) {
        size_t depth = 0;

        do {
                char c = i < d->size ? d->text[i] : '}';

                if (c == '"')
                        i = skip_string(d, i);
                else if (c == '{' || c == '[') {
                        depth++;
                        i++;
                } else if (c == '}' || c == ']') {
                        if (depth > 0)
                                depth--;
                        i++;
                } else if (depth > 0)
                        i++;
                else
                        while (i < d->size && !strchr(",]} \t\r\n", d->text[i]))
                                i++;
        } while (depth > 0 && i < d->size);
        return MIN(i, d->size);
}

typedef struct Member {
        size_t key, value, end; /* offsets */
} Member;

/* The next member of an object; *position is behind its brace, or behind the last member. */
static bool next_member(const Document *d, size_t *position, Member *ret) {
        size_t i = skip_space(d, *position);

        if (i < d->size && d->text[i] == ',')
                i = skip_space(d, i + 1);
        if (i >= d->size || d->text[i] != '"')
                return false;
        ret->key = i;
        i = skip_space(d, skip_string(d, i));
        ret->value = skip_space(d, i + 1);
        ret->end = *position = skip_value(d, ret->value);
        return true;
}

static bool is_key(const Document *d, const Member *member, const char *key) {
        size_t end = skip_string(d, member->key);
        json_t *json = json_loadb(d->text + member->key, end - member->key, JSON_DECODE_ANY, NULL);
        bool is = json && streq(json_string_value(json), key);

        json_decref(json);
        return is;
}

/* Indentation of the line that a place is in. */
static char *indentation(const Document *d, size_t at) {
        size_t start = at, end;

        while (start > 0 && d->text[start - 1] != '\n')
                start--;
        end = start;
        while (end < at && (d->text[end] == ' ' || d->text[end] == '\t'))
                end++;
        return strndup(d->text + start, end - start);
}

static void look_at(const char *text, size_t size, Document *ret) {
        const char *newline = memchr(text, '\n', size), *colon;
        size_t i;

        *ret = (Document){ .text = text, .size = size, .end = "\n", .colon = ": " };
        if (newline && newline > text && newline[-1] == '\r')
                ret->end = "\r\n";
        i = skip_space(ret, 0);
        if (i == size || skip_space(ret, i + 1) >= size || text[skip_space(ret, i + 1)] == '}') {
                (void) strcpy(ret->unit, "  "); /* {} */
                return;
        }
        newline = memchr(text + i, '\n', skip_space(ret, i + 1) - i);
        if (newline) {
                size_t n = skip_space(ret, i + 1) - (size_t) (newline + 1 - text);

                /* Several empty lines do not count. */
                while (n > 0 && memchr(newline + 1, '\n', n)) {
                        newline = memchr(newline + 1, '\n', n);
                        n = skip_space(ret, i + 1) - (size_t) (newline + 1 - text);
                }
                if (n == 0 || n >= sizeof(ret->unit))
                        (void) strcpy(ret->unit, "  ");
                else
                        memcpy(ret->unit, newline + 1, n);
        } else {
                colon = memchr(text, ':', size);
                if (colon && colon + 1 < text + size && colon[1] != ' ')
                        ret->colon = ":";
        }
}

/* ---- Merging --------------------------------------------------------------------------------------------------- */

static int add_member(const Document *d, size_t object, const Member *last, const char *key,
        const json_t *value, bool first_new, Splices *splices) {
        json_t *name = json_string(key);
        _cleanup_free_ char *base = indentation(d, last ? last->key : object);
        bool lines = d->unit[0];
        Buffer *out;
        size_t at;

        /* Of an object in one line, all of it stays there. */
        if (lines && last) {
                size_t i = last->key;

                while (i > object && d->text[i - 1] != '\n')
                        i--;
                lines = i > object;
        }
        at = last ? last->end : object + 1;
        out = splice(splices, at, last || !first_new ? at : skip_space(d, at));
        if (!out || !name || !base) {
                json_decref(name);
                return -ENOMEM;
        }
        if (last || !first_new)
                buffer_puts(out, ",");
        if (lines)
                new_line(d, last ? 0 : 1, base, out);
        else if (last || !first_new)
                buffer_puts(out, d->colon[1] ? " " : "");
        {
                Document line = *d;

                if (!lines)
                        line.unit[0] = 0;
                dump(&line, name, 0, base, out);
                buffer_puts(out, d->colon);
                dump(&line, value, last ? 0 : 1, base, out);
        }
        json_decref(name);
        return 0;
}

static int merge(const Document *d, size_t object, const json_t *should, Splices *splices) {
        const char *key;
        json_t *value;
        bool first_new = true;

        json_object_foreach((json_t *) should, key, value) {
                size_t position = object + 1;
                Member member, last = {}, found = {};
                bool any = false, is = false;
                int r = 0;

                while (next_member(d, &position, &member)) {
                        any = true;
                        last = member;
                        if (!is && is_key(d, &member, key)) {
                                found = member;
                                is = true;
                        }
                }
                if (!is) {
                        r = add_member(d, object, any ? &last : NULL, key, value, first_new, splices);
                        first_new = false;
                } else if (json_is_object(value) && d->text[found.value] == '{')
                        r = merge(d, found.value, value, splices);
                else {
                        json_t *now = json_loadb(
                                d->text + found.value, found.end - found.value, JSON_DECODE_ANY, NULL);
                        bool equal = json_equal(now, value);

                        json_decref(now);
                        if (!equal) {
                                _cleanup_free_ char *base = indentation(d, found.key);
                                Buffer *out = splice(splices, found.value, found.end);

                                if (!out || !base)
                                        r = -ENOMEM;
                                else
                                        dump(d, value, 0, base, out);
                        }
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

static int compare_splices(const void *a, const void *b) {
        const Splice *x = a, *y = b;

        return x->start < y->start ? -1 : x->start > y->start;
}

static void put_spliced(const Document *d, Splices *splices, Buffer *ret) {
        size_t position = 0;

        /* glibc's sort of so few keeps the order of equal ones; it is by hand all the same. */
        for (size_t i = 1; i < splices->n; i++)
                for (size_t k = i; k > 0 && compare_splices(&splices->list[k - 1], &splices->list[k]) > 0;
                        k--) {
                        Splice swap = splices->list[k];

                        splices->list[k] = splices->list[k - 1];
                        splices->list[k - 1] = swap;
                }
        for (size_t i = 0; i < splices->n; i++) {
                Splice *s = &splices->list[i];

                if (s->start > position)
                        buffer_add(ret, d->text + position, s->start - position);
                buffer_add(ret, s->text.data ?: "", s->text.size);
                ret->failed = ret->failed || s->text.failed;
                position = MAX(position, s->end);
        }
        buffer_add(ret, d->text + position, d->size - position);
}

static void splices_done(Splices *splices) {
        for (size_t i = 0; i < splices->n; i++)
                buffer_done(&splices->list[i].text);
        free(splices->list);
}

/* An empty object gets its members and the brace in one go. */
static bool has_empty_object(const Document *d, size_t object) {
        size_t i = skip_space(d, object + 1);

        return i < d->size && d->text[i] == '}';
}

/* Makes empty objects that get members not empty: by writing those anew. Return as merge(). */
static int fill_empty(
        const Document *d, size_t object, const json_t *should, Splices *splices, bool *ret_filled) {
        *ret_filled = false;
        if (has_empty_object(d, object)) {
                _cleanup_free_ char *base = indentation(d, object);
                Buffer *out;

                if (json_object_size(should) == 0)
                        return 0;
                out = splice(splices, object, skip_space(d, object + 1) + 1);
                if (!out || !base)
                        return -ENOMEM;
                dump(d, should, 0, base, out);
                *ret_filled = true;
                return 0;
        }
        {
                const char *key;
                json_t *value;

                json_object_foreach((json_t *) should, key, value) {
                        size_t position = object + 1;
                        Member member;

                        while (next_member(d, &position, &member))
                                if (json_is_object(value) && d->text[member.value] == '{' &&
                                        is_key(d, &member, key)) {
                                        int r = fill_empty(d, member.value, value, splices, ret_filled);

                                        if (r < 0 || *ret_filled)
                                                return r;
                                }
                }
        }
        return 0;
}

/* ---- Removing -------------------------------------------------------------------------------------------------- */

/* Takes the next part off "a.b" or "/a/b"; to be freed. */
static char *next_part(const char **path) {
        char sign = '.';
        const char *start = *path, *end;
        char *part;

        if (*start == '/') {
                sign = '/';
                start++;
        }
        end = strchr(start, sign);
        part = end ? strndup(start, (size_t) (end - start)) : strdup(start);
        *path = !end ? NULL : sign == '/' ? end : end + 1;
        return part;
}

static int remove_path(const Document *d, size_t object, const char *path, Splices *splices) {
        _cleanup_free_ char *part = next_part(&path);
        size_t position = object + 1, before = object + 1;
        Member member, next;

        if (!part)
                return -ENOMEM;
        while (next_member(d, &position, &member)) {
                if (!is_key(d, &member, part)) {
                        before = member.end;
                        continue;
                }
                if (path)
                        return d->text[member.value] == '{' ? remove_path(d, member.value, path, splices)
                                                            : 0;
                if (next_member(d, &position, &next))
                        return splice(splices, member.key, next.key) ? 0 : -ENOMEM;
                /* The last, or the only one. */
                return splice(splices, before, before == object + 1 ? skip_space(d, member.end) : member.end)
                               ? 0
                               : -ENOMEM;
        }
        return 0;
}

/* ---- The whole ------------------------------------------------------------------------------------------------- */

static json_t *parse(const char *text, size_t size, int *ret, char **reterr) {
        json_error_t error;
        json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);

        *ret = 0;
        if (!json)
                *ret = edit_error(reterr, -EINVAL,
                        "it is no JSON that can be edited: line %d, column %d: %s", error.line, error.column,
                        error.text);
        else if (!json_is_object(json)) {
                *ret = edit_error(reterr, -EINVAL, "it is JSON, but no object");
                json_decref(json);
                json = NULL;
        }
        return json;
}

/* One pass of `change` over the text in the buffer. */
static int pass(Buffer *text, int (*change)(const Document *, size_t, const void *, Splices *),
        const void *userdata) {
        Document d;
        Splices splices = {};
        Buffer new = {};
        int r;

        look_at(text->data, text->size, &d);
        r = change(&d, skip_space(&d, 0), userdata, &splices);
        if (r == 0)
                put_spliced(&d, &splices, &new);
        splices_done(&splices);
        if (r < 0 || new.failed) {
                buffer_done(&new);
                return r < 0 ? r : -ENOMEM;
        }
        buffer_done(text);
        *text = new;
        return 0;
}

static int change_fill(const Document *d, size_t object, const void *userdata, Splices *splices) {
        bool filled;

        return fill_empty(d, object, userdata, splices, &filled);
}

static int change_merge(const Document *d, size_t object, const void *userdata, Splices *splices) {
        return merge(d, object, userdata, splices);
}

static int change_remove(const Document *d, size_t object, const void *userdata, Splices *splices) {
        return remove_path(d, object, userdata, splices);
}

int edit_json(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr) {
        json_t *is = NULL, *should = edit->table ? to_json(edit->table) : json_object();
        bool empty = true;
        int r = should ? 0 : -ENOMEM;

        for (size_t i = 0; i < size && empty; i++)
                empty = strchr(" \t\r\n", text[i]) && text[i];
        if (empty) {
                text = "{}\n";
                size = 3;
        }
        if (r == 0)
                is = parse(text, size, &r, reterr);
        if (r == 0 && edit->exact) {
                Document d;

                look_at(text, size, &d);
                if (json_equal(is, should))
                        buffer_add(ret, text, size);
                else {
                        dump(&d, should, 0, "", ret);
                        buffer_puts(ret, d.end);
                }
        } else if (r == 0) {
                size_t before;

                buffer_add(ret, text, size);
                /* One empty object at a time, until there is none to be filled. */
                do {
                        before = ret->size;
                        r = pass(ret, change_fill, should);
                } while (r == 0 && ret->size != before);
                if (r == 0)
                        r = pass(ret, change_merge, should);
                for (uint32_t i = 0; edit->unset && i < edit->unset->n && r == 0; i++)
                        r = pass(ret, change_remove, edit->unset->items[i].string);
                if (r == 0) {
                        json_t *now = parse(ret->data, ret->size, &r, reterr);

                        json_decref(now);
                }
        }
        json_decref(is);
        json_decref(should);
        return r;
}
