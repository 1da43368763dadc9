/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <strings.h>

#include "download.h"

#define MAX_BYTES GIB(1)

/* ---- Names ----------------------------------------------------------------------------------------------------------- */

static const char *const file_suffixes[_DOWNLOAD_FILE_MAX] = {
        [DOWNLOAD_PART] = ".part",
        [DOWNLOAD_VALIDATOR] = ".json",
        [DOWNLOAD_SIGNATURE] = ".minisig",
};

#define NAME_BYTES 16

/* Each text with its NUL, so that no two requests are the same bytes. */
static void hash_text(crypto_generichash_state *hash, const char *text) {
        (void) crypto_generichash_update(hash, (const uint8_t *) (text ?: ""), strlen(text ?: "") + 1);
}

static void hash_texts(crypto_generichash_state *hash, const char *const *texts) {
        for (; texts && *texts; texts++)
                hash_text(hash, *texts);
        hash_text(hash, "");
}

char *download_name(char buffer[static DOWNLOAD_NAME_MAX], const char *state, const AgentdDownload *download,
        DownloadFile file) {
        crypto_generichash_state hash;
        uint8_t bytes[NAME_BYTES];

        (void) crypto_generichash_init(&hash, NULL, 0, sizeof(bytes));
        hash_text(&hash, state);
        hash_texts(&hash, download->urls);
        hash_text(&hash, download->checksum);
        hash_text(&hash, download->signature);
        hash_texts(&hash, download->keys);
        (void) crypto_generichash_final(&hash, bytes, sizeof(bytes));
        (void) sodium_bin2hex(buffer, DOWNLOAD_NAME_MAX, bytes, sizeof(bytes));
        (void) strcpy(buffer + 2 * NAME_BYTES, file_suffixes[file]);
        return buffer;
}

bool download_name_is(const char *name, DownloadFile file) {
        return strspn(name, "0123456789abcdef") == 2 * NAME_BYTES &&
               streq(name + 2 * NAME_BYTES, file_suffixes[file]);
}

/* ---- The request ----------------------------------------------------------------------------------------------------- */

static json_t *texts_to_json(const char *const *texts) {
        json_t *list = json_array();

        for (; list && texts && *texts; texts++)
                if (json_array_append_new(list, json_string(*texts)) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

/* What agentd was told of proxies. HTTP_PROXY in capitals is not among them, as curl has it: a CGI gets it from anybody. */
static json_t *proxies_to_json(void) {
        static const char *const names[] = { "http_proxy", "https_proxy", "ftp_proxy", "all_proxy",
                "no_proxy", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY" };
        json_t *object = json_object();

        FOREACH_ELEMENT(name, names) {
                const char *value = getenv(*name);

                if (object && value)
                        (void) json_object_set_new(object, *name, json_string(value));
        }
        return object;
}

char *download_request(const AgentdDownload *download, const DownloadRequest *request) {
        json_t *json, *resume = NULL;
        char *text;

        if (request->resume)
                resume = request->validator ? json_deep_copy(request->validator) : json_object();
        json = json_pack("{s:o, s:I, s:I, s:I, s:i, s:o, s:o*, s:s*, s:s*, s:s*, s:o*}", "urls",
                texts_to_json(request->urls), "max_bytes",
                (json_int_t) (request->max_bytes ?: download->max_bytes ?: MAX_BYTES), "deadline_msec",
                (json_int_t) MAX(request->deadline_usec / USEC_PER_MSEC, (usec_t) 1), "attempt_msec",
                (json_int_t) (download->timeout_usec / USEC_PER_MSEC), "retries", (int) download->retries, "headers",
                texts_to_json(request->with_headers ? download->headers : NULL), "environment",
                download->proxy ? NULL : proxies_to_json(), "credentials", request->credentials, "proxy",
                download->proxy, "ca_file", download->ca_file, "resume", resume);
        if (!json)
                return NULL;
        text = json_dumps(json, JSON_COMPACT);
        json_decref(json);
        return text;
}

/* ---- The answer ------------------------------------------------------------------------------------------------------ */

static const struct {
        const char *name;
        int error;
} errors[] = {
        { "none", 0 },
        { "request", -EINVAL },
        { "too-large", -EFBIG },
        { "denied", -EACCES },
        { "protocol", -EPROTO },
        { "timeout", -ETIMEDOUT },
        { "not-found", -ENOENT },
        { "unreachable", -EHOSTUNREACH },
};

static int answer_error(const char *name, json_int_t local, int *ret) {
        if (streq(name, "local")) {
                *ret = local > 0 && local < 4096 ? -(int) local : -EIO;
                return 0;
        }
        FOREACH_ELEMENT(e, errors)
                if (streq(e->name, name)) {
                        *ret = e->error;
                        return 0;
                }
        return -EBADMSG;
}

static char *copy_text(const json_t *json) {
        return json_is_string(json) ? strdup(json_string_value(json)) : NULL;
}

/* Only what was asked for: the process talks to strangers. */
static json_t *copy_validator(const json_t *json) {
        const json_t *etag = json_object_get(json, "etag"),
                     *modified = json_object_get(json, "last_modified"), *url = json_object_get(json, "url");

        if (!json_is_string(url) || (!json_is_string(etag) && !json_is_string(modified)))
                return NULL;
        return json_pack("{s:s, s:s*, s:s*}", "url", json_string_value(url), "etag", json_string_value(etag),
                "last_modified", json_string_value(modified));
}

int download_answer_parse(const char *text, size_t size, DownloadAnswer *ret) {
        DownloadAnswer answer = {};
        json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        const char *error = json_string_value(json_object_get(json, "error"));
        json_int_t bytes = json_integer_value(json_object_get(json, "bytes"));

        if (!error || bytes < 0 ||
                answer_error(error, json_integer_value(json_object_get(json, "errno")), &answer.error) < 0) {
                json_decref(json);
                return -EBADMSG;
        }
        answer.bytes = (uint64_t) bytes;
        answer.resumed = json_is_true(json_object_get(json, "resumed"));
        answer.url = copy_text(json_object_get(json, "url"));
        answer.shown = copy_text(json_object_get(json, "shown"));
        answer.validator = copy_validator(json);
        if (answer.error < 0)
                answer.text = copy_text(json_object_get(json, "text")) ?: strdup(error);
        json_decref(json);
        *ret = answer;
        return 0;
}

void download_answer_done(DownloadAnswer *answer) {
        free(answer->text);
        free(answer->url);
        free(answer->shown);
        json_decref(answer->validator);
        *answer = (DownloadAnswer){};
}

/* ---- URLs ------------------------------------------------------------------------------------------------------------ */

char *download_shown(const char *url) {
        return strndup(url, strcspn(url, "?#"));
}

static size_t origin_length(const char *url) {
        const char *host = strstr(url, "://");

        return host ? (size_t) (host - url) + 3 + strcspn(host + 3, "/?#") : 0;
}

bool download_same_origin(const char *a, const char *b) {
        size_t n = origin_length(a);

        return n > 0 && n == origin_length(b) && strncasecmp(a, b, n) == 0;
}
