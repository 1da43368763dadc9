/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a run knows of a state, until its result was told; of the attempts before this one as well. */

#include <stdarg.h>

#include "run-internal.h"

static RunDetail *detail_free(RunDetail *detail) {
        if (!detail)
                return NULL;
        json_decref(detail->differences);
        json_decref(detail->left);
        json_decref(detail->undo);
        json_decref(detail->differences_before);
        json_decref(detail->undo_before);
        free(detail->error);
        free(detail);
        return NULL;
}

void run_drop_detail(Node *node) {
        node->detail = detail_free(node->detail);
}

RunDetail *run_detail_of(Run *run, uint32_t state) {
        Node *node = &run->nodes[state];

        if (!node->detail)
                node->detail = calloc(1, sizeof(RunDetail));
        return node->detail;
}

void run_set_error(Run *run, uint32_t state, const char *format, ...) {
        RunDetail *detail = run_detail_of(run, state);
        _cleanup_free_ char *text = NULL;
        va_list args;
        size_t size;

        if (!detail)
                return;
        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        free(detail->error);
        /* Parts of it may come from anywhere, or be cut in the middle of a character. */
        detail->error = text ? utf8_make_valid(text, strlen(text), &size) : NULL;
}

void run_begin_detail(Node *node) {
        RunDetail *detail = node->detail;

        if (detail && node->touched) {
                json_decref(detail->differences);
                json_decref(detail->undo);
                free(detail->error);
                detail->differences = detail->undo = NULL;
                detail->error = NULL;
        } else
                node->detail = detail_free(detail);
}

/* ---- What earlier attempts have done -------------------------------------------------------------------------------- */

static void move(json_t **to, json_t **from) {
        if (*to && *from && json_array_size(*to) <= MESSAGE_DIFFERENCES_MAX)
                (void) json_array_extend(*to, *from);
        else if (!*to)
                *to = json_incref(*from);
        json_decref(*from);
        *from = NULL;
}

/* What it differed in before it was touched, and all that undoes what was done to it. */
void run_keep_detail(Node *node) {
        RunDetail *detail = node->detail;

        if (!detail)
                return;
        if (!detail->differences_before) {
                detail->differences_before = detail->differences;
                detail->differences = NULL;
        }
        move(&detail->undo_before, &detail->undo);
        detail->bytes = 0;
}

void run_join_detail(Node *node) {
        RunDetail *detail = node->detail;

        if (!detail)
                return;
        if (detail->differences_before) {
                json_decref(detail->differences);
                detail->differences = TAKE_PTR(detail->differences_before);
        }
        if (detail->undo_before) {
                move(&detail->undo_before, &detail->undo);
                detail->undo = TAKE_PTR(detail->undo_before);
        }
}
