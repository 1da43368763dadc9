/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "expression-internal.h"

typedef struct Feed {
        void (*add)(void *userdata, const void *data, size_t size);
        void *userdata;
} Feed;

static void feed_number(const Feed *feed, uint64_t number) {
        feed->add(feed->userdata, &number, sizeof(number));
}

/* The length comes first: no two texts run into each other. */
static void feed_text(const Feed *feed, const char *text, size_t size) {
        feed_number(feed, size);
        if (size > 0)
                feed->add(feed->userdata, text, size);
}

static void feed_value(const Feed *feed, const Value *value) {
        feed_number(feed, value->type);
        switch (value->type) {
        case VALUE_BOOLEAN: feed_number(feed, value->boolean); break;
        case VALUE_INTEGER: feed_number(feed, (uint64_t) value->integer); break;
        case VALUE_FLOAT: feed->add(feed->userdata, &value->real, sizeof(value->real)); break;
        case VALUE_STRING:
        case VALUE_OFFSET_DATETIME:
        case VALUE_LOCAL_DATETIME:
        case VALUE_LOCAL_DATE:
        case VALUE_LOCAL_TIME: feed_text(feed, value->text, value->size); break;
        case VALUE_ARRAY:
                feed_number(feed, value->n_items);
                VALUE_FOREACH_ITEM(item, value) {
                        feed_value(feed, item);
                }
                break;
        case VALUE_TABLE:
                feed_number(feed, value->n_members);
                VALUE_FOREACH_MEMBER(member, value) {
                        feed_text(feed, member->key, member->key_size);
                        feed_value(feed, &member->value);
                }
                break;
        default: break;
        }
}

static void feed_expression(const Feed *feed, const Expression *e) {
        feed_number(feed, e->kind);
        switch (e->kind) {
        case EXPRESSION_CONSTANT: feed_value(feed, &e->value); break;
        case EXPRESSION_NAME:
        case EXPRESSION_MEMBER:
        case EXPRESSION_CALL: feed_text(feed, e->text, e->size); break;
        default: break;
        }
        feed_number(feed, e->n_children);
        for (uint32_t i = 0; i < e->n_children; i++)
                feed_expression(feed, e->children[i]);
}

void expression_feed(const Expression *expression,
        void (*add)(void *userdata, const void *data, size_t size), void *userdata) {
        feed_expression(&(const Feed){ .add = add, .userdata = userdata }, expression);
}
