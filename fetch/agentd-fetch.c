/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * agentd-fetch: fetches one file. agentd starts it as a user without rights, for downloads:
 *
 *      standard input    one request, see request.h
 *      standard output   the file: a regular one, which may hold a part already
 *      standard error    the result, one line of JSON
 *
 * Nothing secret is in its arguments or environment. What it fetches it does not look at: that is verified by who has started
 * it, when it has ended.
 */

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "transfer.h"

/* What it can give up by itself; its unit takes away the rest. */
static void lock_in(const FetchRequest *request) {
        const struct rlimit size = { .rlim_cur = request->max_bytes, .rlim_max = request->max_bytes };

        (void) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        /* Another process of this user shall not read our memory. */
        (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        (void) setrlimit(RLIMIT_CORE, &(struct rlimit){});
        (void) setrlimit(RLIMIT_FSIZE, &size);
        (void) signal(SIGXFSZ, SIG_IGN);
        (void) signal(SIGPIPE, SIG_IGN);
        (void) umask(077);
}

static json_t *text_or_null(const char *text) {
        return text ? json_string_nocheck(text) : json_null();
}

/* A URL or header need not be UTF-8, and a validator that is not is as good as none. */
static json_t *clean_or_null(const char *text) {
        return text && utf8_is_valid(text, strlen(text)) ? json_string(text) : json_null();
}

static void print_result(const FetchResult *result) {
        _cleanup_free_ char *text = NULL;
        json_t *json;
        size_t size;

        if (result->text)
                text = utf8_make_valid(result->text, strlen(result->text), &size);
        json = json_pack("{s:s, s:o, s:i, s:I, s:o, s:o, s:o, s:o, s:I, s:i, s:b}", "error",
                fetch_error_names[result->error], "text", text_or_null(text), "errno", result->local_errno,
                "status", (json_int_t) result->status, "shown", clean_or_null(result->shown), "url",
                clean_or_null(result->url), "etag", clean_or_null(result->etag), "last_modified",
                clean_or_null(result->last_modified), "bytes", (json_int_t) result->bytes, "attempts",
                (int) result->attempts, "resumed", result->resumed);
        if (!json)
                return;
        (void) json_dumpf(json, stderr, JSON_COMPACT);
        (void) fputc('\n', stderr);
        json_decref(json);
}

static int read_request(FetchRequest *ret, char **reterr) {
        _cleanup_free_ char *text = malloc(FETCH_REQUEST_MAX + 1);
        ssize_t n;
        int r;

        if (!text)
                return -ENOMEM;
        n = read_full(STDIN_FILENO, text, FETCH_REQUEST_MAX + 1);
        if (n < 0)
                return (int) n;
        if (n > (ssize_t) FETCH_REQUEST_MAX)
                return -EFBIG;
        r = fetch_request_parse(text, (size_t) n, ret, reterr);
        explicit_bzero(text, (size_t) n);
        return r;
}

int main(int argc, char **argv) {
        _cleanup_(fetch_request_done) FetchRequest request = {};
        _cleanup_(fetch_result_done) FetchResult result = {};
        _cleanup_free_ char *error = NULL;
        int r;

        if (argc > 1) {
                (void) fprintf(stderr, "%s: takes no arguments; agentd starts it for downloads\n", argv[0]);
                return 2;
        }
        r = read_request(&request, &error);
        if (r < 0) {
                result.error = FETCH_E_REQUEST;
                if (asprintf(&result.text, "the request is wrong: %s", error ?: strerror(-r)) < 0)
                        result.text = NULL;
                print_result(&result);
                return 2;
        }
        lock_in(&request);
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
                return 1;
        fetch_run(&request, STDOUT_FILENO, &result);
        print_result(&result);
        curl_global_cleanup();
        return result.error == FETCH_OK ? 0 : 1;
}
