/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What undoes a change: attributes beside the result, old content in the content store, of sensitive states all of it there,
 * sealed. And checksums.
 */

#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <syslog.h>

#include "checksum.h"
#include "content.h"
#include "context.h"
#include "value-json.h"

/* Longer text is not part of the result. */
#define INLINE_MAX KIB(1)

/* What is to be kept. */
typedef struct Old {
        const void *data;
        size_t size;
        int fd;    /* -EBADF: in memory */
        bool json; /* it is JSON, of a value that is no text */
} Old;

/* False: agentd keeps nothing here, as in a single run, or since it is told so. */
static bool keeps(const AgentdContext *context) {
        return context->content_directory && context->image->header->settings.store_content_bytes > 0;
}

static uint64_t size_max(const AgentdContext *context) {
        const Settings *settings = &context->image->header->settings;

        return MIN(settings->store_content_bytes, settings->store_content_file_bytes);
}

static int try_put(AgentdContext *context, const Old *old, bool sealed, ContentKept *ret) {
        int r;

        if (!context->content) {
                r = content_store_open(context->content_directory, true, &context->content);
                if (r < 0)
                        return r;
        }
        if (old->fd >= 0)
                return content_put_file(context->content, old->fd, sealed, size_max(context), ret);
        if (old->size > size_max(context))
                return -EFBIG;
        return content_put(context->content, old->data, old->size, sealed, ret);
}

static int put(AgentdContext *context, const Old *old, bool sealed, ContentKept *ret) {
        bool opened = context->content;
        int r;

        r = try_put(context, old, sealed, ret);
        /* Somebody has removed the directory that we had open. */
        if (r == -ENOENT && opened) {
                context->content = content_store_free(context->content);
                r = try_put(context, old, sealed, ret);
        }
        return r;
}

static void say_why(AgentdContext *context, size_t i, const char *what, int error) {
        const char *id = image_state_id(context->image, context->states[i]);

        if (context_is_sensitive(context, i) && (error == -EPERM || error == -EBADMSG)) {
                context_log(context, LOG_WARNING, "The old %s of %s is not kept: '%s/" CONTENT_KEY "' %s",
                        what, id, context->content_directory,
                        error == -EPERM ? "must be root's, and readable by nobody else" : "is damaged");
                return;
        }
        if (error == -EFBIG)
                context_log(context, LOG_WARNING,
                        "The old %s of %s is not kept: it is larger than %llu bytes, see "
                        "store.content_file in agentd.toml(5)",
                        what, id, (unsigned long long) size_max(context));
        else
                context_log(context, LOG_WARNING, "The old %s of %s is not kept: %s", what, id,
                        strerror(-error));
}

static uint64_t size_of(const Old *old) {
        struct stat st;

        if (old->fd < 0)
                return old->size;
        return fstat(old->fd, &st) == 0 ? (uint64_t) st.st_size : 0;
}

/* Keeps it, and makes the record that says where. */
static void keep(AgentdContext *context, size_t i, const char *what, const Old *old) {
        AgentdMember members[4];
        ContentKept kept = {};
        uint32_t n = 0;
        bool sealed;
        int r;

        if (!context_may_undo(context, i))
                return;
        sealed = context_is_sensitive(context, i);
        r = keeps(context) ? put(context, old, sealed, &kept) : -EOPNOTSUPP;
        if (r < 0 && r != -EOPNOTSUPP)
                say_why(context, i, what, r);

        if (r < 0) {
                kept.size = size_of(old);
                members[n++] = (AgentdMember){ "kept", { .type = AGENTD_BOOLEAN, .boolean = false } };
        } else
                members[n++] = (AgentdMember){ "stored",
                        { .type = AGENTD_STRING, .string = kept.name, .size = strlen(kept.name) } };
        members[n++] = (AgentdMember){ "size",
                { .type = AGENTD_INTEGER, .integer = (int64_t) MIN(kept.size, (uint64_t) INT64_MAX) } };
        if (r == 0 && sealed)
                members[n++] = (AgentdMember){ "sealed", { .type = AGENTD_BOOLEAN, .boolean = true } };
        if (old->json)
                members[n++] = (AgentdMember){ "json", { .type = AGENTD_BOOLEAN, .boolean = true } };
        context_put_undo(
                context, i, what, &(AgentdValue){ .type = AGENTD_TABLE, .n = n, .members = members });
}

/* A value as JSON, a new reference; NULL if memory is short. */
static json_t *old_to_json(const AgentdValue *value, unsigned depth) {
        json_t *json;

        if (depth > MESSAGE_VALUE_DEPTH_MAX)
                return json_null();
        switch (value->type) {
        case AGENTD_BOOLEAN: return json_boolean(value->boolean);
        case AGENTD_INTEGER: return json_integer(value->integer);
        case AGENTD_FLOAT: return isfinite(value->real) ? json_real(value->real) : json_null();
        case AGENTD_STRING: return json_from_text(value->string, value->size);
        case AGENTD_LIST:
        case AGENTD_RECORD:
                json = json_array();
                for (uint32_t i = 0; json && i < value->n; i++)
                        (void) json_array_append_new(json, old_to_json(&value->items[i], depth + 1));
                return json;
        case AGENTD_TABLE:
                json = json_object();
                for (uint32_t i = 0; json && i < value->n; i++)
                        (void) json_object_set_new(json, value->members[i].key,
                                old_to_json(&value->members[i].value, depth + 1));
                return json;
        default: return json_null();
        }
}

void agentd_undo(AgentdContext *context, size_t i, const char *what, const AgentdValue *old) {
        _cleanup_free_ char *text = NULL;
        json_t *json;

        if (!context_may_undo(context, i))
                return;
        if (old && old->type == AGENTD_STRING &&
                (context_is_sensitive(context, i) || old->size > INLINE_MAX)) {
                keep(context, i, what, &(Old){ .data = old->string, .size = old->size, .fd = -EBADF });
                return;
        }
        if (!old || old->type == AGENTD_NONE || !context_is_sensitive(context, i)) {
                context_put_undo(context, i, what, old);
                return;
        }

        json = old_to_json(old, 0);
        text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        json_decref(json);
        keep(context, i, what,
                &(Old){ .data = text ?: "null",
                        .size = strlen(text ?: "null"),
                        .fd = -EBADF,
                        .json = true });
}

void agentd_keep(AgentdContext *context, size_t i, const char *what, const void *content, size_t size) {
        keep(context, i, what, &(Old){ .data = content, .size = content ? size : 0, .fd = -EBADF });
}

void agentd_keep_file(AgentdContext *context, size_t i, const char *what, int fd) {
        if (fd < 0)
                return;
        keep(context, i, what, &(Old){ .fd = fd });
}

int agentd_has_checksum(AgentdContext *context, int fd, const char *checksum) {
        Checksum sum;
        int r;

        if (!checksum)
                return -EINVAL;
        if (fd < 0)
                return -EBADF;
        r = checksum_parse(checksum, &sum);
        if (r < 0)
                return r;
        return checksum_matches(&sum, fd);
}
