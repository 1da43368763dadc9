/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One edit, checked; and several of one file. */

#include "edit.h"

/* Texts between the edits that are kept to be shown. What a thousand edits make of a large file is too much of it. */
#define PARTS_SIZE_MAX (4 * EDIT_SIZE_MAX)

static bool same(const Buffer *a, const char *text, size_t size) {
        return a->size == size && (size == 0 || memcmp(a->data, text, size) == 0);
}

static int run_editor(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr) {
        _cleanup_(lines_done) Lines lines = {};
        int r;

        switch (edit->operation) {
        case EDIT_LINE:
        case EDIT_BLOCK:
                r = lines_split(text, size, &lines);
                if (r < 0)
                        return r;
                return edit->operation == EDIT_LINE ? edit_line(edit, &lines, ret, reterr)
                                                    : edit_block(edit, &lines, ret, reterr);
        case EDIT_REPLACE: return edit_replace(edit, text, size, ret, reterr);
        case EDIT_KEYS: return edit_keys(edit, text, size, ret, reterr);
        case EDIT_INI: return edit_ini(edit, text, size, ret, reterr);
        case EDIT_JSON: return edit_json(edit, text, size, ret, reterr);
        default: return edit_toml(edit, text, size, ret, reterr);
        }
}

int edit_text(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr) {
        static const char mark[] = "\xef\xbb\xbf";
        size_t n_mark = size >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0;
        Buffer body = {};
        int r;

        if (size >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
                return edit_error(reterr, -EINVAL, "it is UTF-16, which cannot be edited");
        r = run_editor(edit, text + n_mark, size - n_mark, &body, reterr);
        if (r == 0) {
                buffer_add(ret, text, n_mark);
                buffer_add(ret, body.data ?: "", body.size);
                if (body.failed || ret->failed || ret->size > EDIT_SIZE_MAX)
                        r = edit_error(reterr, -E2BIG, "the text would be too large, or memory is short");
        }
        buffer_done(&body);
        return r;
}

/* The same, and twice must be as good as once. */
static int edit_stable(const Edit *edit, const char *text, size_t size, Buffer *ret, char **reterr) {
        Buffer twice = {};
        int r;

        r = edit_text(edit, text, size, ret, reterr);
        if (r < 0 || same(ret, text, size))
                return r;
        r = edit_text(edit, ret->data ?: "", ret->size, &twice, reterr);
        if (r == 0 && !same(&twice, ret->data, ret->size))
                r = edit_error(reterr, -EINVAL,
                        "applied to its own result it would change that once more, and so with each run; %s",
                        edit->operation == EDIT_REPLACE ? "'match' must not match what 'with' has made"
                        : edit->operation == EDIT_LINE  ? "'match' must not match the line that it has made"
                                                        : "it contradicts itself");
        buffer_done(&twice);
        return r;
}

void edit_parts_done(Part *parts, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free(parts[i].error);
                free(parts[i].after);
        }
}

static char *copy(const char *text, size_t size) {
        char *copied = malloc(size + 1);

        if (copied) {
                if (size > 0)
                        memcpy(copied, text, size);
                copied[size] = 0;
        }
        return copied;
}

/* All that have not failed, one after the other. */
static int compose_once(Part *parts, size_t n, const char *text, size_t size, Buffer *ret) {
        const char *before = text;
        Buffer current = {};
        size_t kept = 0;

        buffer_add(&current, text, size);
        for (size_t i = 0; i < n; i++) {
                Part *part = &parts[i];
                Buffer next = {};
                int r;

                free(part->after);
                part->before = part->after = NULL;
                part->changes = false;
                if (part->error)
                        continue;
                r = edit_stable(part->edit, current.data ?: "", current.size, &next, &part->error);
                if (r < 0 && !part->error)
                        (void) edit_error(&part->error, r, "%s", strerror(-r));
                if (r == 0 && !same(&next, current.data, current.size)) {
                        part->changes = true;
                        part->before = before;
                        part->before_size = current.size;
                        part->after_size = next.size;
                        kept += next.size;
                        if (kept <= PARTS_SIZE_MAX)
                                part->after = copy(next.data, next.size);
                        before = part->after;
                        buffer_done(&current);
                        current = next;
                } else
                        buffer_done(&next);
        }
        if (current.failed) {
                buffer_done(&current);
                return -ENOMEM;
        }
        *ret = current;
        return 0;
}

static bool changes(const Edit *edit, const char *text, size_t size) {
        _cleanup_free_ char *error = NULL;
        Buffer next = {};
        bool does = edit_text(edit, text, size, &next, &error) < 0 || !same(&next, text, size);

        buffer_done(&next);
        return does;
}

static void fail_both(Part *a, Part *b) {
        static const char message[] =
                "it contradicts %s: what the one makes the other undoes, so that neither is done";

        (void) edit_error(&a->error, -EINVAL, message, b->id);
        (void) edit_error(&b->error, -EINVAL, message, a->id);
}

/* Finds two that undo what the other does: after all of them, an earlier one would change something again. */
static bool find_fight(Part *parts, size_t n, const Buffer *result) {
        for (size_t i = 0; i < n; i++) {
                if (parts[i].error || !changes(parts[i].edit, result->data ?: "", result->size))
                        continue;
                for (size_t k = i + 1; k < n; k++)
                        /* Of very large texts those in between were not kept. */
                        if (parts[k].changes && parts[k].after &&
                                changes(parts[i].edit, parts[k].after, parts[k].after_size)) {
                                fail_both(&parts[i], &parts[k]);
                                return true;
                        }
                (void) edit_error(&parts[i].error, -EINVAL, "together with others it is never done");
                return true;
        }
        return false;
}

int edit_compose(Part *parts, size_t n, const char *text, size_t size, Buffer *ret) {
        for (;;) {
                int r = compose_once(parts, n, text, size, ret);
                bool any = false;

                if (r < 0)
                        return r;
                for (size_t i = 0; i < n; i++)
                        any = any || parts[i].changes;
                if (!any || !find_fight(parts, n, ret))
                        return 0;
                buffer_done(ret);
        }
}
