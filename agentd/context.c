/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <sodium.h>
#include <syslog.h>
#include <time.h>

#include "context.h"
#include "diff.h"

/* Results are collected and sent together, but none is held back for longer than this while the module reports. */
#define FLUSH_USEC (20 * USEC_PER_MSEC)

/* What a diff of one attribute shows at most. */
#define DIFF_LIMIT (MESSAGE_DIFF_MAX - 256)

int context_init(AgentdContext *context, const WorkerSetup *setup, int root_fd) {
        int r;

        *context = (AgentdContext){
                .image = setup->image,
                .kind = setup->kind,
                .options = setup->options,
                .root_fd = root_fd,
                .root_is_host = streq(setup->options->root, "/"),
                .host_fd = -EBADF,
                .content_directory = setup->kind == WORKER_APPLY ? setup->options->content_directory : NULL,
        };
        r = message_writer_init(&context->writer, setup->fd);
        if (r < 0)
                return r;
        path_cache_init(&context->paths, root_fd, 0);
        path_cache_init(&context->sources, context->root_is_host ? root_fd : -EBADF, 0);
        return 0;
}

void context_done(AgentdContext *context) {
        path_cache_done(&context->paths);
        path_cache_done(&context->sources);
        safe_close(context->host_fd);
        free(context->identities);
        free(context->download_error);
        context_free_stage(context);
        context_stop_runner(context);
        context_free_command(context);
        content_store_free(context->content);
        userdb_free(context->userdb);
        sd_bus_flush_close_unref(context->bus);
        message_writer_done(&context->writer);
}

void context_begin(AgentdContext *context, Phase phase, unsigned flags, const uint32_t *states, size_t n,
        bool *finished, uint32_t *differences, size_t *bytes) {
        struct timespec now;

        context->phase = phase;
        context->flags = flags;
        context->states = states;
        context->n = n;
        context->finished = finished;
        context->differences = differences;
        context->bytes = bytes;
        context->since_usec = context->flushed_usec = now_usec(CLOCK_MONOTONIC);
        context->began_sec = (uint32_t) (now_usec(CLOCK_BOOTTIME) / USEC_PER_SEC);
        context->device_is_known = false; /* another file system may have its number now */
        (void) clock_gettime(CLOCK_REALTIME_COARSE, &now);
        context->began_nsec = (int64_t) now.tv_sec * 1000 * 1000 * 1000 + now.tv_nsec;
        if (context->userdb)
                (void) userdb_refresh(context->userdb);
}

static void put_result(AgentdContext *context, uint32_t state, Verdict verdict, const char *error,
        const FoundIdentity *found) {
        usec_t now = now_usec(CLOCK_MONOTONIC);

        message_begin(&context->writer, MESSAGE_RESULT);
        message_put_u32(&context->writer, state);
        message_put_u32(&context->writer, verdict);
        message_put_u64(&context->writer, now - context->since_usec);
        message_put_string(&context->writer, error);
        if (found) {
                message_put_bytes(&context->writer, &found->identity, sizeof(found->identity));
                message_put_u32(&context->writer, found->good_for_sec);
        }
        (void) message_end(&context->writer);
        context->since_usec = now;

        if (context->careful || now - context->flushed_usec >= FLUSH_USEC) {
                (void) message_flush(&context->writer);
                context->flushed_usec = now;
        }
}

void context_result(AgentdContext *context, uint32_t state, Verdict verdict, const char *error) {
        put_result(context, state, verdict, error, NULL);
}

static bool may_report(const AgentdContext *context, size_t i) {
        return i < context->n && !context->finished[i];
}

bool context_is_sensitive(const AgentdContext *context, size_t i) {
        return image_state(context->image, context->states[i])->flags & IMAGE_STATE_SENSITIVE;
}

static void finish(AgentdContext *context, size_t i, Verdict verdict, const char *error) {
        const FoundIdentity *found = NULL;

        if (!may_report(context, i))
                return;
        if (verdict == VERDICT_OK && context->identities && context->identities[i].good_for_sec > 0)
                found = &context->identities[i];
        context->finished[i] = true;
        put_result(context, context->states[i], verdict, error, found);
}

void context_end(AgentdContext *context, int r) {
        char text[160];

        if (r >= 0)
                context_flush_stage(context);
        else
                context_drop_stage(context);
        if (r < 0)
                (void) snprintf(text, sizeof(text), "the module failed: %s", strerror(-r));
        else
                (void) snprintf(text, sizeof(text), "the module said nothing about this state");
        for (size_t i = 0; i < context->n; i++)
                finish(context, i, VERDICT_FAILED, text);

        path_cache_clear(&context->paths);
        path_cache_clear(&context->sources);
        free(TAKE_PTR(context->identities));
        context->n = 0;
}

/* ---- Reporting ------------------------------------------------------------------------------------------------- */

/* A record of a difference or of undo data begins: counts it. False: it is not to be sent. */
static bool begin_record(AgentdContext *context, size_t i, MessageKind kind) {
        uint32_t *n = &context->differences[i];

        if (*n > MESSAGE_DIFFERENCES_MAX)
                return false;
        ++*n;
        message_begin(&context->writer, kind);
        message_put_u32(&context->writer, context->states[i]);
        return true;
}

static void put_difference(AgentdContext *context, size_t i, const char *attribute, const AgentdValue *is,
        const AgentdValue *should, const char *diff, size_t diff_size) {
        static const AgentdValue hidden = {
                .type = AGENTD_STRING,
                .string = "<sensitive>",
                .size = sizeof("<sensitive>") - 1,
        };
        size_t before = context->writer.position;

        /* While applying a module looks again, but what differs was told by the check. */
        if (!may_report(context, i) || context->phase == PHASE_APPLY)
                return;

        if (context_is_sensitive(context, i)) {
                is = is && is->type != AGENTD_NONE ? &hidden : NULL;
                should = should && should->type != AGENTD_NONE ? &hidden : NULL;
                diff = NULL;
                diff_size = 0;
        }
        if (context->differences[i] == MESSAGE_DIFFERENCES_MAX)
                attribute = "…";
        if (context->differences[i] >= MESSAGE_DIFFERENCES_MAX || context->bytes[i] > MESSAGE_STATE_BYTES) {
                is = should = NULL;
                diff_size = 0;
        }

        if (!begin_record(context, i, MESSAGE_DIFFERENCE))
                return;
        message_put_string(&context->writer, attribute);
        message_put_value(&context->writer, is);
        message_put_value(&context->writer, should);
        message_put_text(&context->writer, diff ?: "", diff_size, MESSAGE_DIFF_MAX);
        if (message_end(&context->writer) == -EMSGSIZE) {
                /* Too much to send: that it differs is what matters. */
                message_begin(&context->writer, MESSAGE_DIFFERENCE);
                message_put_u32(&context->writer, context->states[i]);
                message_put_string(&context->writer, attribute);
                message_put_value(&context->writer, NULL);
                message_put_value(&context->writer, NULL);
                message_put_string(&context->writer, NULL);
                (void) message_end(&context->writer);
        }
        context->bytes[i] += context->writer.position > before ? context->writer.position - before
                                                               : context->writer.position;
}

void agentd_differs(AgentdContext *context, size_t i, const char *attribute, const AgentdValue *is,
        const AgentdValue *should) {
        put_difference(context, i, attribute, is, should, NULL, 0);
}

static AgentdValue string_value(const char *text) {
        return text ? (AgentdValue){ .type = AGENTD_STRING, .string = text, .size = strlen(text) }
                    : (AgentdValue){};
}

void agentd_differs_string(
        AgentdContext *context, size_t i, const char *attribute, const char *is, const char *should) {
        AgentdValue a = string_value(is), b = string_value(should);

        agentd_differs(context, i, attribute, &a, &b);
}

void agentd_differs_integer(
        AgentdContext *context, size_t i, const char *attribute, int64_t is, int64_t should) {
        AgentdValue a = { .type = AGENTD_INTEGER, .integer = is },
                    b = { .type = AGENTD_INTEGER, .integer = should };

        agentd_differs(context, i, attribute, &a, &b);
}

void agentd_differs_boolean(AgentdContext *context, size_t i, const char *attribute, bool is, bool should) {
        AgentdValue a = { .type = AGENTD_BOOLEAN, .boolean = is },
                    b = { .type = AGENTD_BOOLEAN, .boolean = should };

        agentd_differs(context, i, attribute, &a, &b);
}

void agentd_differs_mode(AgentdContext *context, size_t i, const char *attribute, mode_t is, mode_t should) {
        char a[16], b[16];

        (void) snprintf(a, sizeof(a), "%04o", is & 07777);
        (void) snprintf(b, sizeof(b), "%04o", should & 07777);
        agentd_differs_string(context, i, attribute, a, b);
}

/* "12 bytes, sha256:…" */
static const char *describe_text(char *buffer, size_t buffer_size, const void *text, size_t size) {
        uint8_t hash[crypto_hash_sha256_BYTES];
        char hex[2 * sizeof(hash) + 1];

        if (!text)
                return NULL;
        (void) crypto_hash_sha256(hash, text, size);
        (void) sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
        (void) snprintf(buffer, buffer_size, "%zu bytes, sha256:%s", size, hex);
        return buffer;
}

/* What a diff is about: the path, where there is one and no other. */
static const char *diff_label(const Image *image, uint32_t i) {
        const ImageState *state = image_state(image, i);
        const ImageWatch *watch = image_array(image, watches, ImageWatch) + state->watches.offset;

        if (state->watches.n == 1 && watch->kind == IMAGE_WATCH_PATH)
                return image_text(image, watch->what);
        return image_state_name(image, i);
}

void agentd_differs_file(AgentdContext *context, size_t i, const char *attribute, const char *path,
        const void *is, size_t is_size, const void *should, size_t should_size) {
        _cleanup_free_ char *diff = NULL;
        char a[128], b[128];
        AgentdValue old, new;
        size_t diff_size = 0;

        if (!may_report(context, i) || context->phase == PHASE_APPLY)
                return;
        if (context_is_sensitive(context, i)) {
                agentd_differs_string(context, i, attribute, is ? "" : NULL, should ? "" : NULL);
                return;
        }

        old = string_value(describe_text(a, sizeof(a), is, is_size));
        new = string_value(describe_text(b, sizeof(b), should, should_size));
        if (context->flags & AGENTD_DIFF) {
                const char *name = path ?: diff_label(context->image, context->states[i]);

                (void) diff_unified(
                        name, name, is, is_size, should ?: "", should_size, DIFF_LIMIT, &diff, &diff_size);
        }
        put_difference(context, i, attribute, &old, &new, diff, diff_size);
}

void agentd_differs_text(AgentdContext *context, size_t i, const char *attribute, const void *is,
        size_t is_size, const void *should, size_t should_size) {
        agentd_differs_file(context, i, attribute, NULL, is, is_size, should, should_size);
}

void agentd_done(AgentdContext *context, size_t i) {
        if (!may_report(context, i))
                return;
        finish(context, i,
                context->phase != PHASE_APPLY && context->differences[i] > 0 ? VERDICT_DRIFTED : VERDICT_OK,
                NULL);
}

static void finish_with_text(
        AgentdContext *context, size_t i, Verdict verdict, const char *format, va_list args) {
        _cleanup_free_ char *text = NULL;

        if (!may_report(context, i))
                return;
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        finish(context, i, verdict,
                context_is_sensitive(context, i) ? "why is not shown, as the state is sensitive" : text ?: "out of memory");
}

void agentd_failed(AgentdContext *context, size_t i, const char *format, ...) {
        va_list args;

        va_start(args, format);
        finish_with_text(context, i, VERDICT_FAILED, format, args);
        va_end(args);
}

void agentd_unknown(AgentdContext *context, size_t i, const char *format, ...) {
        va_list args;

        va_start(args, format);
        finish_with_text(context, i, VERDICT_UNKNOWN, format, args);
        va_end(args);
}

bool context_may_undo(const AgentdContext *context, size_t i) {
        return may_report(context, i) && context->phase == PHASE_APPLY &&
               context->differences[i] < MESSAGE_DIFFERENCES_MAX;
}

void context_put_undo(AgentdContext *context, size_t i, const char *what, const AgentdValue *old) {
        if (!begin_record(context, i, MESSAGE_UNDO))
                return;
        message_put_string(&context->writer, what);
        message_put_value(&context->writer, old);
        (void) message_end(&context->writer);
        context->undo_waits = true;
}

void context_will_change(AgentdContext *context) {
        if (!context->undo_waits)
                return;
        context->undo_waits = false;
        (void) message_flush(&context->writer);
}

void agentd_will_change(AgentdContext *context) {
        context_will_change(context);
}

static void put_log(AgentdContext *context, int level, const char *text) {
        message_begin(&context->writer, MESSAGE_LOG);
        message_put_u32(&context->writer, (uint32_t) (level & LOG_PRIMASK));
        message_put_string(&context->writer, text);
        (void) message_end(&context->writer);
}

void context_log(AgentdContext *context, int level, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;

        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        put_log(context, level, text ?: "out of memory");
}

void agentd_log(AgentdContext *context, int level, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;

        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        put_log(context, level, text ?: "out of memory");
}

/* ---- Looking things up ----------------------------------------------------------------------------------------- */

static bool is_connected(sd_bus *bus) {
        struct pollfd fd = { .fd = sd_bus_get_fd(bus), .events = POLLIN };

        return sd_bus_is_open(bus) > 0 && fd.fd >= 0 && poll(&fd, 1, 0) >= 0 &&
               (fd.revents & (POLLHUP | POLLERR)) == 0;
}

int agentd_bus(AgentdContext *context, struct sd_bus **ret) {
        int r;

        if (!context->root_is_host)
                return -EHOSTDOWN; /* whatever is on the bus, it is not the tree that we look at */
        /* A worker may be older than the bus is. */
        if (context->bus && !is_connected(context->bus))
                context->bus = sd_bus_close_unref(context->bus);
        if (!context->bus) {
                r = sd_bus_open_system(&context->bus);
                if (r < 0)
                        return r;
        }
        *ret = context->bus;
        return 0;
}

uint64_t agentd_deadline(AgentdContext *context, size_t i) {
        usec_t timeout = i < context->n ? image_state(context->image, context->states[i])->timeout_usec : 0;

        return usec_add(context->since_usec, timeout);
}

static int userdb(AgentdContext *context, UserDb **ret) {
        int r;

        if (!context->userdb) {
                r = userdb_new(
                        context->root_fd, context->root_is_host ? 0 : USERDB_NO_NSS, &context->userdb);
                if (r < 0)
                        return r;
        }
        *ret = context->userdb;
        return 0;
}

int agentd_user_id(AgentdContext *context, const char *name, uid_t *ret) {
        UserDb *db;
        int r;

        r = userdb(context, &db);
        return r < 0 ? r : userdb_user_id(db, name, ret);
}

int agentd_group_id(AgentdContext *context, const char *name, gid_t *ret) {
        UserDb *db;
        int r;

        r = userdb(context, &db);
        return r < 0 ? r : userdb_group_id(db, name, ret);
}

const char *agentd_user_name(AgentdContext *context, uid_t uid) {
        UserDb *db;
        const char *name = NULL;

        if (userdb(context, &db) >= 0)
                name = userdb_user_name(db, uid);
        if (name)
                return name;
        (void) snprintf(context->name, sizeof(context->name), "%" PRIu32, (uint32_t) uid);
        return context->name;
}

const char *agentd_group_name(AgentdContext *context, gid_t gid) {
        UserDb *db;
        const char *name = NULL;

        if (userdb(context, &db) >= 0)
                name = userdb_group_name(db, gid);
        if (name)
                return name;
        (void) snprintf(context->name, sizeof(context->name), "%" PRIu32, (uint32_t) gid);
        return context->name;
}
