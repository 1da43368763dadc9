/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <strings.h>

#include "request.h"

#define STALL_MSEC   30000
#define BACKOFF_MSEC 1000

/* An hour more than a week: sums of such spans never overflow. */
#define SPAN_MSEC_MAX (INT64_C(1000) * 3600 * 169)

static int _printf_(2, 3) refuse(char **reterr, const char *format, ...) {
        va_list args;

        va_start(args, format);
        if (vasprintf(reterr, format, args) < 0)
                *reterr = NULL;
        va_end(args);
        return -EINVAL;
}

/* Text that goes into a request or a file name: without bytes that would end a line or the text. */
static bool is_plain(const json_t *value) {
        const char *text = json_string_value(value);
        size_t n = json_string_length(value);

        if (!text)
                return false;
        for (size_t i = 0; i < n; i++)
                if ((unsigned char) text[i] < 0x20 || text[i] == 0x7f)
                        return false;
        return true;
}

/* NULL and null are the same: not given. */
static const json_t *given(const json_t *object, const char *key) {
        const json_t *value = json_object_get(object, key);

        return json_is_null(value) ? NULL : value;
}

static int take_text(const json_t *object, const char *key, const char **ret, char **reterr) {
        const json_t *value = given(object, key);

        if (!value)
                return 0;
        if (!is_plain(value))
                return refuse(reterr, "'%s' must be a string without control characters", key);
        *ret = json_string_value(value);
        return 0;
}

static int take_number(const json_t *object, const char *key, int64_t low, int64_t high, int64_t missing,
        int64_t *ret, char **reterr) {
        const json_t *value = given(object, key);
        int64_t number = value ? json_integer_value(value) : missing;

        if ((value && !json_is_integer(value)) || number < low || number > high)
                return refuse(reterr, "'%s' must be a number from %lld to %lld", key, (long long) low,
                        (long long) high);
        *ret = number;
        return 0;
}

static int take_urls(const json_t *object, FetchRequest *request, char **reterr) {
        const json_t *urls = given(object, "urls");

        if (json_array_size(urls) == 0 || json_array_size(urls) > FETCH_URLS_MAX)
                return refuse(reterr, "'urls' must be a list of 1 to %d strings", FETCH_URLS_MAX);
        for (size_t i = 0; i < json_array_size(urls); i++) {
                const json_t *url = json_array_get(urls, i);

                if (!is_plain(url) || json_string_length(url) == 0)
                        return refuse(reterr, "'urls' must be strings without control characters");
                request->urls[request->n_urls++] = json_string_value(url);
        }
        return 0;
}

static int take_headers(const json_t *object, FetchRequest *request, char **reterr) {
        const json_t *headers = given(object, "headers");

        if (headers && !json_is_array(headers))
                return refuse(reterr, "'headers' must be a list of strings");
        for (size_t i = 0; i < json_array_size(headers); i++) {
                const json_t *header = json_array_get(headers, i);
                const char *text = json_string_value(header), *colon = text ? strchr(text, ':') : NULL;

                if (!is_plain(header) || !colon || colon == text ||
                        strcspn(text, " \t") < (size_t) (colon - text))
                        return refuse(reterr, "'headers' must be strings like \"Name: value\"");
        }
        request->headers = headers;
        return 0;
}

static int take_environment(const json_t *object, FetchRequest *request, char **reterr) {
        static const char *const known[] = { "http_proxy", "https_proxy", "ftp_proxy", "all_proxy",
                "no_proxy", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY" };
        const json_t *environment = given(object, "environment");
        const char *key;
        json_t *value;

        if (environment && !json_is_object(environment))
                return refuse(reterr, "'environment' must be an object");
        json_object_foreach((json_t *) environment, key, value) {
                bool found = false;

                FOREACH_ELEMENT(k, known)
                        found = found || streq(*k, key);
                if (!found || !is_plain(value))
                        return refuse(reterr, "'environment' is for strings that say which proxy to use");
        }
        request->environment = environment;
        return 0;
}

static int take_resume(const json_t *object, FetchRequest *request, char **reterr) {
        const json_t *resume = given(object, "resume");
        int r;

        if (!resume)
                return 0;
        if (!json_is_object(resume))
                return refuse(reterr, "'resume' must be an object");
        r = take_text(resume, "url", &request->resume_url, reterr);
        if (r >= 0)
                r = take_text(resume, "etag", &request->resume_etag, reterr);
        if (r >= 0)
                r = take_text(resume, "last_modified", &request->resume_last_modified, reterr);
        request->resume = true;
        return r;
}

static int refuse_unknown(const json_t *object, char **reterr) {
        static const char *const known[] = { "urls", "max_bytes", "deadline_msec", "attempt_msec",
                "stall_msec", "backoff_msec", "retries", "headers", "credentials", "proxy", "environment",
                "ca_file", "resume" };
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) object, key, value) {
                bool found = false;

                FOREACH_ELEMENT(k, known)
                        found = found || streq(*k, key);
                if (!found)
                        return refuse(reterr, "'%s' is not known", key);
        }
        return 0;
}

static int take_all(const json_t *object, FetchRequest *request, char **reterr) {
        int64_t max = 0, deadline = 0, attempt = 0, stall = 0, backoff = 0, retries = 0;
        const json_t *credentials = given(object, "credentials");
        int r;

        if (!json_is_object(object))
                return refuse(reterr, "it must be an object");
        if ((r = refuse_unknown(object, reterr)) < 0 || (r = take_urls(object, request, reterr)) < 0 ||
                (r = take_number(object, "max_bytes", 1, INT64_MAX / 2, 0, &max, reterr)) < 0 ||
                (r = take_number(object, "deadline_msec", 1, SPAN_MSEC_MAX, 0, &deadline, reterr)) < 0 ||
                (r = take_number(object, "attempt_msec", 0, SPAN_MSEC_MAX, 0, &attempt, reterr)) < 0 ||
                (r = take_number(object, "stall_msec", 1000, SPAN_MSEC_MAX, STALL_MSEC, &stall, reterr)) <
                        0 ||
                (r = take_number(object, "backoff_msec", 0, 60000, BACKOFF_MSEC, &backoff, reterr)) < 0 ||
                (r = take_number(object, "retries", 0, FETCH_RETRIES_MAX, 0, &retries, reterr)) < 0 ||
                (r = take_headers(object, request, reterr)) < 0 ||
                (r = take_environment(object, request, reterr)) < 0 ||
                (r = take_text(object, "proxy", &request->proxy, reterr)) < 0 ||
                (r = take_text(object, "ca_file", &request->ca_file, reterr)) < 0 ||
                (r = take_resume(object, request, reterr)) < 0)
                return r;
        if (credentials && (!json_is_string(credentials) || strlen(json_string_value(credentials)) !=
                                                                    json_string_length(credentials)))
                return refuse(reterr, "'credentials' must be a string without NUL");
        if (request->ca_file && request->ca_file[0] != '/')
                return refuse(reterr, "'ca_file' must be an absolute path");

        request->credentials = json_string_value(credentials);
        request->max_bytes = (uint64_t) max;
        request->deadline_usec = (usec_t) deadline * USEC_PER_MSEC;
        request->attempt_usec = (usec_t) attempt * USEC_PER_MSEC;
        request->stall_usec = (usec_t) stall * USEC_PER_MSEC;
        request->backoff_usec = (usec_t) backoff * USEC_PER_MSEC;
        request->retries = (uint32_t) retries;
        return 0;
}

int fetch_request_parse(const char *text, size_t size, FetchRequest *ret, char **reterr) {
        FetchRequest request = {};
        json_error_t error;
        int r;

        /* Where it is wrong, and not what is there: it may be a secret. */
        request.json = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        if (!request.json)
                return refuse(reterr, "it is not JSON, at byte %d", error.position);
        r = take_all(request.json, &request, reterr);
        if (r < 0) {
                fetch_request_done(&request);
                return r;
        }
        *ret = request;
        return 0;
}

void fetch_request_done(FetchRequest *request) {
        json_decref(request->json);
        *request = (FetchRequest){};
}

/* ---- Credentials ----------------------------------------------------------------------------------------------------- */

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A password may well begin with "#": comments are where a keyword could be.
 * Return: 1 and the next word, malloc'ed; 0: there is none; -EINVAL; -ENOMEM. */
static int next_word(const char **text, bool comments, char **ret) {
        const char *p = *text;
        char *word, *to;

        for (;;) {
                while (is_space(*p))
                        p++;
                if (*p != '#' || !comments)
                        break;
                p += strcspn(p, "\n");
        }
        if (!*p)
                return 0;
        to = word = malloc(strlen(p) + 1);
        if (!word)
                return -ENOMEM;
        if (*p == '"') {
                for (p++; *p && *p != '"'; p++) {
                        if (*p == '\\' && p[1])
                                p++;
                        *to++ = *p;
                }
                if (*p != '"') {
                        free(word);
                        return -EINVAL;
                }
                p++;
        } else
                while (*p && !is_space(*p))
                        *to++ = *p++;
        *to = 0;
        *text = p;
        *ret = word;
        return 1;
}

static void wipe(char *text) {
        if (text)
                explicit_bzero(text, strlen(text));
        free(text);
}

void fetch_login_done(FetchLogin *login) {
        wipe(login->user);
        wipe(login->password);
        *login = (FetchLogin){};
}

static void wipep(char **text) {
        wipe(*text);
}

/* A macro, which goes on to an empty line. */
static const char *skip_macro(const char *p) {
        const char *end = strstr(p, "\n\n");

        return end ? end + 2 : p + strlen(p);
}

/* An IPv6 address is in brackets in a URL, and hardly anywhere else. */
static bool is_host(const char *name, const char *host) {
        size_t n = strlen(host);

        return strcasecmp(name, host) == 0 ||
               (n > 2 && host[0] == '[' && host[n - 1] == ']' && strlen(name) == n - 2 &&
                       strncasecmp(name, host + 1, n - 2) == 0);
}

int netrc_find(const char *text, const char *host, FetchLogin *ret) {
        _cleanup_(fetch_login_done) FetchLogin login = {};
        bool ours = false, inside = false, is_default = false;
        int r;

        for (;;) {
                _cleanup_(wipep) char *word = NULL, *value = NULL;
                char **target = NULL;

                r = next_word(&text, true, &word);
                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                if (streq(word, "macdef")) {
                        text = skip_macro(text);
                        continue;
                }
                if (streq(word, "default") || streq(word, "machine")) {
                        if (ours)
                                break; /* the one before was it */
                        inside = true;
                        if (*word == 'd') {
                                ours = is_default = true;
                                continue;
                        }
                        /* Who comes after a default is never looked at. */
                        if (is_default)
                                break;
                } else if (!inside)
                        return -EINVAL;

                r = next_word(&text, false, &value);
                if (r <= 0)
                        return r < 0 ? r : -EINVAL;
                if (streq(word, "machine")) {
                        ours = is_host(value, host);
                        continue;
                }
                if (streq(word, "login"))
                        target = &login.user;
                else if (streq(word, "password"))
                        target = &login.password;
                else if (!streq(word, "account"))
                        return -EINVAL;
                if (ours && target) {
                        wipe(*target);
                        *target = TAKE_PTR(value);
                }
        }
        if (!ours)
                return 0;
        *ret = login;
        login = (FetchLogin){};
        return 1;
}
