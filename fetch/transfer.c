/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "transfer.h"

#define CONNECT_MSEC    20000
#define BACKOFF_MAX     (30 * USEC_PER_SEC)
#define RETRY_AFTER_MAX USEC_PER_MINUTE

/* Slower than this, in bytes a second, for the time of a stall, is stalled. */
#define STALLED_SPEED 16

/* Of the body that comes with a redirect, and that nobody reads. */
#define REDIRECT_BODY_MAX KIB(64)

/* Of one header that is remembered; nobody's validators are longer. */
#define VALIDATOR_MAX 1024

const char *const fetch_error_names[_FETCH_ERROR_MAX] = {
        [FETCH_E_LOCAL] = "local",
        [FETCH_E_REQUEST] = "request",
        [FETCH_E_TOO_LARGE] = "too-large",
        [FETCH_E_DENIED] = "denied",
        [FETCH_E_PROTOCOL] = "protocol",
        [FETCH_E_TIMEOUT] = "timeout",
        [FETCH_E_NOT_FOUND] = "not-found",
        [FETCH_E_UNREACHABLE] = "unreachable",
        [FETCH_OK] = "none",
};

/* What the present answer says of itself. */
typedef struct Answer {
        char *etag, *last_modified;
        int64_t range_start, range_end, range_total; /* -1: unknown */
        bool begun;                                  /* the body is coming, and is wanted */
        uint64_t skipped;                            /* bytes of a body that is not */
        bool excess;                                 /* more came than it had promised */
} Answer;

typedef struct Fetch {
        const FetchRequest *request;
        FetchResult *result;
        CURL *curl;
        int fd;
        uint64_t offset;    /* the file is good up to here */
        bool blind;         /* … and nobody knows of which version it is a part */
        const char *first;  /* the URL of this attempt … */
        bool part_fits;     /* … and what is there may be a part of what it has */
        bool asked_range;   /* the request that is under way is for the rest */
        bool again;         /* the server does not know such a rest: ask for all of it */
        FetchScheme scheme; /* of the request that is under way */
        Answer answer;
        FetchError error; /* of this attempt */
        char *text;
        bool retry;              /* it may go better next time … */
        usec_t retry_after_usec; /* … and not before */
        usec_t deadline_usec;    /* on CLOCK_MONOTONIC */
} Fetch;

static void curl_slist_freep(struct curl_slist **list) {
        curl_slist_free_all(*list);
}

static void answer_clear(Answer *answer) {
        free(answer->etag);
        free(answer->last_modified);
        *answer = (Answer){ .range_start = -1, .range_end = -1, .range_total = -1 };
}

/* The first thing that goes wrong is the one to tell. */
static void _printf_(4, 5) fail(Fetch *f, FetchError error, bool retry, const char *format, ...) {
        va_list args;

        if (f->error != FETCH_OK)
                return;
        f->error = error;
        f->retry = retry;
        va_start(args, format);
        if (vasprintf(&f->text, format, args) < 0)
                f->text = NULL;
        va_end(args);
}

static void fail_local(Fetch *f, int error) {
        if (error == EFBIG) {
                /* The limit of this process; see main(). */
                fail(f, FETCH_E_TOO_LARGE, false, "it is larger than %" PRIu64 " bytes",
                        f->request->max_bytes);
                return;
        }
        f->result->local_errno = error;
        fail(f, FETCH_E_LOCAL, false, "cannot be stored: %s", strerror(error));
}

/* ---- Headers --------------------------------------------------------------------------------------------------------- */

/* The value of a header, malloc'ed, if it has this name. */
static char *header_value(const char *line, size_t size, const char *name) {
        size_t n = strlen(name);

        if (size <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
                return NULL;
        line += n + 1;
        size -= n + 1;
        while (size > 0 && (*line == ' ' || *line == '\t')) {
                line++;
                size--;
        }
        while (size > 0 && isspace((unsigned char) line[size - 1]))
                size--;
        for (size_t i = 0; i < size; i++)
                if ((unsigned char) line[i] < 0x20 || line[i] == 0x7f)
                        return NULL;
        return size > 0 && size <= VALIDATOR_MAX ? strndup(line, size) : NULL;
}

/* "bytes 100-199/200", with "*" for an unknown total. */
static void read_content_range(Answer *answer, const char *text) {
        int64_t start, end, total = -1;
        int n = 0;

        if (sscanf(text, "bytes %" SCNd64 "-%" SCNd64 "/%n", &start, &end, &n) != 2 || n == 0 || start < 0 ||
                end < start || end == INT64_MAX)
                return;
        if (!streq(text + n, "*") && (sscanf(text + n, "%" SCNd64, &total) != 1 || total <= end))
                return;
        answer->range_start = start;
        answer->range_end = end;
        answer->range_total = total;
}

static size_t on_header(char *line, size_t one, size_t size, void *userdata) {
        Fetch *f = userdata;
        char *value;

        if (f->scheme != FETCH_HTTP && f->scheme != FETCH_HTTPS)
                return size;
        if (size >= 5 && memcmp(line, "HTTP/", 5) == 0) {
                answer_clear(&f->answer);
                return size;
        }
        if ((value = header_value(line, size, "ETag"))) {
                free(f->answer.etag);
                f->answer.etag = value;
        } else if ((value = header_value(line, size, "Last-Modified"))) {
                free(f->answer.last_modified);
                f->answer.last_modified = value;
        } else if ((value = header_value(line, size, "Content-Range"))) {
                read_content_range(&f->answer, value);
                free(value);
        }
        return size;
}

/* libcurl hands on what was promised, and tells of more here only. */
static int on_debug(_unused_ CURL *curl, curl_infotype type, char *text, size_t size, void *userdata) {
        static const char words[] = "Excess found";
        Fetch *f = userdata;

        if (type == CURLINFO_TEXT && size >= sizeof(words) - 1 &&
                memcmp(text, words, sizeof(words) - 1) == 0)
                f->answer.excess = true;
        return 0;
}

/* ---- The body -------------------------------------------------------------------------------------------------------- */

/* An ETag that says "byte for byte", as only such a one may be used to go on. */
static bool is_strong(const char *etag) {
        return etag && strncmp(etag, "W/", 2) != 0;
}

/* The file begins anew, as what this answer is. */
static void begin_file(Fetch *f) {
        if (ftruncate(f->fd, 0) < 0) {
                fail_local(f, errno);
                return;
        }
        f->offset = 0;
        f->blind = false;
        f->result->url = f->first;
        f->result->resumed = false;
        free(f->result->etag);
        free(f->result->last_modified);
        f->result->etag = TAKE_PTR(f->answer.etag);
        f->result->last_modified = TAKE_PTR(f->answer.last_modified);
        f->answer.begun = true;
}

static void go_on_with_file(Fetch *f) {
        if (!f->asked_range || f->answer.range_start < 0 || (uint64_t) f->answer.range_start != f->offset) {
                fail(f, FETCH_E_PROTOCOL, true, "the server sends another part than it was asked for");
                return;
        }
        if (!f->blind && is_strong(f->answer.etag) && is_strong(f->result->etag) &&
                !streq(f->answer.etag, f->result->etag)) {
                fail(f, FETCH_E_PROTOCOL, true, "the server sends a part of another version");
                return;
        }
        if (f->answer.range_total > 0 && (uint64_t) f->answer.range_total > f->request->max_bytes) {
                fail(f, FETCH_E_TOO_LARGE, false, "it is larger than %" PRIu64 " bytes",
                        f->request->max_bytes);
                return;
        }
        f->result->resumed = true;
        f->answer.begun = true;
}

/* The headers are there. */
static void begin_body(Fetch *f) {
        long status = 0;

        if (f->scheme != FETCH_HTTP && f->scheme != FETCH_HTTPS) {
                begin_file(f);
                return;
        }
        (void) curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
        if (status == 200)
                begin_file(f);
        else if (status == 206)
                go_on_with_file(f);
}

static size_t on_body(char *data, size_t one, size_t size, void *userdata) {
        Fetch *f = userdata;
        long status = 0;

        if (!f->answer.begun && f->error == FETCH_OK)
                begin_body(f);
        if (f->error != FETCH_OK)
                return CURL_WRITEFUNC_ERROR;
        if (!f->answer.begun) {
                /* A redirect is followed when its body is over; errors need not be heard out. */
                (void) curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
                f->answer.skipped += size;
                return status >= 300 && status < 400 && f->answer.skipped <= REDIRECT_BODY_MAX
                               ? size
                               : CURL_WRITEFUNC_ERROR;
        }

        if (size > f->request->max_bytes - f->offset) {
                fail(f, FETCH_E_TOO_LARGE, false, "it is larger than %" PRIu64 " bytes",
                        f->request->max_bytes);
                return CURL_WRITEFUNC_ERROR;
        }
        for (size_t done = 0; done < size;) {
                ssize_t n = pwrite(f->fd, data + done, size - done, (off_t) f->offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) {
                        fail_local(f, n < 0 ? errno : EIO);
                        return CURL_WRITEFUNC_ERROR;
                }
                done += (size_t) n;
                f->offset += (uint64_t) n;
        }
        return size;
}

/* ---- One request ----------------------------------------------------------------------------------------------------- */

static usec_t time_left(const Fetch *f) {
        usec_t now = now_usec(CLOCK_MONOTONIC);

        return now < f->deadline_usec ? f->deadline_usec - now : 0;
}

static void add(struct curl_slist **list, const char *line, bool *failed) {
        struct curl_slist *longer = curl_slist_append(*list, line);

        if (longer)
                *list = longer;
        else
                *failed = true;
}

/* Those of the role, and what makes the server check that the rest is a rest of the same. */
static struct curl_slist *make_headers(const Fetch *f, bool trusted, bool *failed) {
        const char *validator = is_strong(f->result->etag) ? f->result->etag : f->result->last_modified;
        struct curl_slist *list = NULL;
        char line[VALIDATOR_MAX + 32];

        if (trusted)
                for (size_t i = 0; i < json_array_size(f->request->headers); i++) {
                        const char *header = json_string_value(json_array_get(f->request->headers, i));
                        const char *value = strchr(header, ':') + 1;
                        _cleanup_free_ char *empty = NULL;

                        /* What libcurl takes for an empty header ends with a semicolon. */
                        if (value[strspn(value, " \t")] == 0 &&
                                asprintf(&empty, "%.*s;", (int) (value - 1 - header), header) < 0)
                                empty = NULL;
                        add(&list, empty ?: header, failed);
                }
        if (f->asked_range && !f->blind && validator) {
                (void) snprintf(line, sizeof(line), "If-Range: %s", validator);
                add(&list, line, failed);
        }
        return list;
}

static void set_credentials(Fetch *f, const FetchUrl *url) {
        _cleanup_(fetch_login_done) FetchLogin login = {};
        int r;

        if (!f->request->credentials)
                return;
        r = netrc_find(f->request->credentials, url->host, &login);
        if (r < 0) {
                fail(f, FETCH_E_REQUEST, false, "the file of credentials is not in the format of netrc(5)");
                return;
        }
        if (r == 0)
                return;
        curl_easy_setopt(f->curl, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
        curl_easy_setopt(f->curl, CURLOPT_USERNAME, login.user ?: "");
        curl_easy_setopt(f->curl, CURLOPT_PASSWORD, login.password ?: "");
}

static void set_options(Fetch *f, const char *text, const FetchUrl *url, struct curl_slist *headers,
        usec_t timeout_usec, char *error) {
        const FetchRequest *request = f->request;
        char range[32];

        curl_easy_reset(f->curl);
        curl_easy_setopt(f->curl, CURLOPT_URL, text);
        curl_easy_setopt(f->curl, CURLOPT_PROTOCOLS_STR, "https,http,ftp,file");
        curl_easy_setopt(f->curl, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(f->curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(f->curl, CURLOPT_ERRORBUFFER, error);
        curl_easy_setopt(f->curl, CURLOPT_USERAGENT, "agentd/" AGENTD_VERSION);
        curl_easy_setopt(f->curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(f->curl, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(f->curl, CURLOPT_HEADERDATA, f);
        curl_easy_setopt(f->curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        curl_easy_setopt(f->curl, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(f->curl, CURLOPT_WRITEDATA, f);
        curl_easy_setopt(f->curl, CURLOPT_VERBOSE, 1L);
        curl_easy_setopt(f->curl, CURLOPT_DEBUGFUNCTION, on_debug);
        curl_easy_setopt(f->curl, CURLOPT_DEBUGDATA, f);

        curl_easy_setopt(f->curl, CURLOPT_SSL_VERIFYPEER, 1L);
        curl_easy_setopt(f->curl, CURLOPT_SSL_VERIFYHOST, 2L);
        curl_easy_setopt(f->curl, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
        if (request->ca_file) {
                curl_easy_setopt(f->curl, CURLOPT_CAINFO, request->ca_file);
                curl_easy_setopt(f->curl, CURLOPT_CAPATH, NULL);
        }
        if (request->proxy)
                curl_easy_setopt(f->curl, CURLOPT_PROXY, request->proxy);

        curl_easy_setopt(f->curl, CURLOPT_TIMEOUT_MS, (long) (timeout_usec / USEC_PER_MSEC) + 1);
        curl_easy_setopt(f->curl, CURLOPT_CONNECTTIMEOUT_MS,
                MIN((long) CONNECT_MSEC, (long) (timeout_usec / USEC_PER_MSEC) + 1));
        curl_easy_setopt(f->curl, CURLOPT_LOW_SPEED_LIMIT, (long) STALLED_SPEED);
        curl_easy_setopt(f->curl, CURLOPT_LOW_SPEED_TIME, (long) (request->stall_usec / USEC_PER_SEC));
        curl_easy_setopt(f->curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t) request->max_bytes);
        if (f->asked_range) {
                (void) snprintf(range, sizeof(range), "%" PRIu64 "-", f->offset);
                curl_easy_setopt(f->curl, CURLOPT_RANGE, range);
        }
}

/* A proxy that libcurl cannot read it quotes as it is, with its password. */
static bool quotes_proxy(const FetchRequest *request, const char *text) {
        const char *key, *proxy;
        json_t *value;

        if (request->proxy && *request->proxy && strstr(text, request->proxy))
                return true;
        json_object_foreach((json_t *) request->environment, key, value) {
                proxy = json_string_value(value);
                if (*proxy && strcasecmp(key, "no_proxy") != 0 && strstr(text, proxy))
                        return true;
        }
        return false;
}

/* What a failure of libcurl means. */
static void fail_transfer(Fetch *f, CURLcode code, const char *detail) {
        const char *text = *detail && !quotes_proxy(f->request, detail) ? detail : curl_easy_strerror(code);
        curl_off_t connected = 0;

        switch (code) {
        case CURLE_OPERATION_TIMEDOUT:
                (void) curl_easy_getinfo(f->curl, CURLINFO_CONNECT_TIME_T, &connected);
                fail(f, connected > 0 ? FETCH_E_TIMEOUT : FETCH_E_UNREACHABLE, true, "%s", text);
                break;
        case CURLE_COULDNT_RESOLVE_PROXY:
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_CONNECT:
        case CURLE_PROXY: fail(f, FETCH_E_UNREACHABLE, true, "%s", text); break;
        case CURLE_FILESIZE_EXCEEDED:
                fail(f, FETCH_E_TOO_LARGE, false, "it is larger than %" PRIu64 " bytes",
                        f->request->max_bytes);
                break;
        case CURLE_FILE_COULDNT_READ_FILE:
        case CURLE_REMOTE_FILE_NOT_FOUND:
        case CURLE_FTP_COULDNT_RETR_FILE: fail(f, FETCH_E_NOT_FOUND, false, "%s", text); break;
        case CURLE_REMOTE_ACCESS_DENIED:
        case CURLE_LOGIN_DENIED: fail(f, FETCH_E_DENIED, false, "%s", text); break;
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CIPHER:
        case CURLE_SSL_ISSUER_ERROR: fail(f, FETCH_E_PROTOCOL, false, "%s", text); break;
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_URL_MALFORMAT: fail(f, FETCH_E_REQUEST, false, "%s", text); break;
        case CURLE_OUT_OF_MEMORY: fail_local(f, ENOMEM); break;
        default: fail(f, FETCH_E_PROTOCOL, true, "%s", text); break;
        }
}

static void judge_status(Fetch *f, long status) {
        curl_off_t after = 0;

        switch (status) {
        case 401:
        case 403:
        case 407: fail(f, FETCH_E_DENIED, false, "the server refuses it with status %ld", status); break;
        case 404:
        case 410:
                fail(f, FETCH_E_NOT_FOUND, false, "the server does not have it (status %ld)", status);
                break;
        case 416:
                if (f->asked_range) {
                        f->again = true;
                        break;
                }
                fail(f, FETCH_E_PROTOCOL, false, "the server answers with status %ld", status);
                break;
        case 408:
        case 429:
        case 500 ... 599:
                (void) curl_easy_getinfo(f->curl, CURLINFO_RETRY_AFTER, &after);
                if (after > 0)
                        f->retry_after_usec =
                                MIN((usec_t) after, RETRY_AFTER_MAX / USEC_PER_SEC) * USEC_PER_SEC;
                fail(f, FETCH_E_PROTOCOL, true, "the server answers with status %ld", status);
                break;
        default: fail(f, FETCH_E_PROTOCOL, false, "the server answers with status %ld", status);
        }
}

/* The body has come to its end: is it all of it? */
static void judge_body(Fetch *f) {
        if (!f->answer.begun)
                begin_body(f); /* it was empty */
        if (f->error != FETCH_OK)
                return;
        if (f->answer.excess)
                fail(f, FETCH_E_PROTOCOL, true, "the server sends more than it has announced");
        else if (f->result->resumed && f->asked_range && f->answer.range_end >= 0 &&
                 (f->offset != (uint64_t) f->answer.range_end + 1 ||
                         (f->answer.range_total >= 0 && f->offset != (uint64_t) f->answer.range_total)))
                fail(f, FETCH_E_PROTOCOL, true, "the server sends less than it has announced");
}

/* One request. *ret_location: where it sends us to, malloc'ed; NULL: nowhere. */
static void hop(Fetch *f, const char *text, const FetchUrl *url, bool trusted, usec_t timeout_usec,
        char **ret_location) {
        _cleanup_(curl_slist_freep) struct curl_slist *headers = NULL;
        char error[CURL_ERROR_SIZE] = "";
        const char *location = NULL;
        bool failed = false;
        long status = 0;
        CURLcode code;

        f->scheme = url->scheme;
        f->asked_range = f->part_fits && (url->scheme == FETCH_HTTP || url->scheme == FETCH_HTTPS);
        answer_clear(&f->answer);
        headers = make_headers(f, trusted, &failed);
        if (failed) {
                fail_local(f, ENOMEM);
                return;
        }
        set_options(f, text, url, headers, timeout_usec, error);
        if (trusted)
                set_credentials(f, url);
        if (f->error != FETCH_OK)
                return;

        code = curl_easy_perform(f->curl);
        (void) curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
        free(f->result->shown);
        f->result->shown = strdup(url->shown);
        f->result->status = status;
        if (f->error != FETCH_OK)
                return;

        if ((url->scheme == FETCH_HTTP || url->scheme == FETCH_HTTPS) && status != 0 && status != 200 &&
                status != 206) {
                (void) curl_easy_getinfo(f->curl, CURLINFO_REDIRECT_URL, &location);
                if (code == CURLE_OK && location && status >= 300 && status < 400)
                        *ret_location = strdup(location);
                else
                        judge_status(f, status);
                return;
        }
        if (code != CURLE_OK)
                fail_transfer(f, code, error);
        else
                judge_body(f);
}

/* ---- One attempt ----------------------------------------------------------------------------------------------------- */

static int parse_url(Fetch *f, const char *text, const char *what, FetchUrl *ret) {
        int r = fetch_url_parse(text, ret);

        if (r == -ENOMEM)
                fail_local(f, ENOMEM);
        else if (r < 0)
                fail(f, streq(what, "URL") ? FETCH_E_REQUEST : FETCH_E_PROTOCOL, false, "the %s %s", what,
                        r == -EPROTONOSUPPORT ? "is none of https, http, ftp and file"
                        : r == -EACCES        ? "has a user or password in it"
                                              : "is not well-formed");
        return r;
}

/* One URL, and where it leads to. */
static void attempt(Fetch *f, const char *first) {
        usec_t until = f->request->attempt_usec
                               ? MIN(f->deadline_usec, now_usec(CLOCK_MONOTONIC) + f->request->attempt_usec)
                               : f->deadline_usec;
        _cleanup_(fetch_url_done) FetchUrl origin = {}, url = {};
        _cleanup_free_ char *text = strdup(first);
        unsigned redirects = 0;

        f->result->attempts++;
        f->error = FETCH_OK;
        free(TAKE_PTR(f->text));
        f->retry = false;
        f->retry_after_usec = 0;
        if (!text) {
                fail_local(f, ENOMEM);
                return;
        }
        if (parse_url(f, text, "URL", &origin) < 0 || parse_url(f, text, "URL", &url) < 0)
                return;

        /* A part of what another URL has is of no use, unless all of it is verified anyway. It stays until something better
         * comes. */
        f->part_fits = f->offset > 0 &&
                       (f->blind || (f->result->url && streq(f->result->url, first) &&
                                            (is_strong(f->result->etag) || f->result->last_modified)));
        f->first = first;

        for (;;) {
                usec_t now = now_usec(CLOCK_MONOTONIC);
                _cleanup_free_ char *location = NULL;
                _cleanup_(fetch_url_done) FetchUrl next = {};

                if (now >= until) {
                        fail(f, FETCH_E_TIMEOUT, true, "there is no time left");
                        return;
                }
                f->again = false;
                hop(f, text, &url, fetch_url_same_origin(&origin, &url), until - now, &location);
                if (f->again) {
                        f->part_fits = false;
                        continue;
                }
                if (f->error != FETCH_OK || !location)
                        return;

                if (++redirects > FETCH_REDIRECTS_MAX) {
                        fail(f, FETCH_E_PROTOCOL, false, "the server redirects more than %d times",
                                FETCH_REDIRECTS_MAX);
                        return;
                }
                if (parse_url(f, location, "redirect", &next) < 0)
                        return;
                if (!fetch_redirect_allowed(&url, &next)) {
                        fail(f, FETCH_E_PROTOCOL, false, "it is redirected to %s, which is not allowed",
                                next.shown);
                        return;
                }
                free(text);
                text = TAKE_PTR(location);
                fetch_url_done(&url);
                url = next;
                next = (FetchUrl){};
        }
}

/* ---- All attempts ---------------------------------------------------------------------------------------------------- */

/* What each URL's last attempt has come to. */
typedef struct Outcome {
        FetchError error;
        char *text;
        bool retry;
} Outcome;

static void pause_for(const Fetch *f, usec_t span) {
        uint16_t random = 0;
        struct timespec ts;

        /* Hosts that have failed together shall not come back together. */
        (void) getrandom(&random, sizeof(random), GRND_NONBLOCK);
        span = span * 3 / 4 + span / 2 * random / UINT16_MAX;
        span = MIN(span, time_left(f));
        ts = (struct timespec){
                .tv_sec = (time_t) (span / USEC_PER_SEC),
                .tv_nsec = (long) (span % USEC_PER_SEC) * 1000,
        };
        while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
                ;
}

static void try_url(Fetch *f, size_t i, Outcome *outcomes) {
        attempt(f, f->request->urls[i]);
        free(outcomes[i].text);
        outcomes[i] = (Outcome){ .error = f->error, .text = TAKE_PTR(f->text), .retry = f->retry };
}

/* Does trying another server make sense after this? */
static bool is_final(FetchError error) {
        return error == FETCH_OK || error == FETCH_E_LOCAL;
}

static void try_all(Fetch *f, Outcome *outcomes) {
        const FetchRequest *request = f->request;
        usec_t backoff = request->backoff_usec;
        size_t i = 0;

        for (i = 0; i < request->n_urls; i++) {
                try_url(f, i, outcomes);
                if (is_final(f->error) || time_left(f) == 0)
                        return;
        }
        i = request->n_urls - 1;
        for (uint32_t n = 0; n < request->retries; n++) {
                size_t tried = 0;

                do
                        i = (i + 1) % request->n_urls;
                while (!outcomes[i].retry && ++tried < request->n_urls);
                if (!outcomes[i].retry)
                        return;
                pause_for(f, MAX(backoff, f->retry_after_usec));
                backoff = MIN(2 * backoff, BACKOFF_MAX);
                if (time_left(f) == 0)
                        return;
                try_url(f, i, outcomes);
                if (is_final(f->error))
                        return;
        }
}

/* "https://a/x: …; https://b/x: …" */
static void tell(Fetch *f, const Outcome *outcomes) {
        FetchResult *result = f->result;
        size_t size = 0;
        FILE *stream;

        result->error = FETCH_E_UNREACHABLE;
        stream = open_memstream(&result->text, &size);
        for (size_t i = 0; i < f->request->n_urls; i++) {
                _cleanup_(fetch_url_done) FetchUrl url = {};

                if (outcomes[i].error == FETCH_OK)
                        continue; /* not tried */
                result->error = MIN(result->error, outcomes[i].error);
                if (!stream)
                        continue;
                (void) fetch_url_parse(f->request->urls[i], &url);
                (void) fprintf(stream, "%s%s: %s", ftell(stream) > 0 ? "; " : "", url.shown ?: "URL",
                        outcomes[i].text ?: "out of memory");
        }
        if (stream)
                (void) fclose(stream);
        if (time_left(f) == 0 && result->error > FETCH_E_TIMEOUT)
                result->error = FETCH_E_TIMEOUT;
}

static int begin(Fetch *f) {
        const FetchRequest *request = f->request;
        const char *key;
        struct stat st;
        json_t *value;

        if (fstat(f->fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        f->curl = curl_easy_init();
        if (!f->curl)
                return -ENOMEM;

        /* Not from outside: what is in there may be a secret, and /proc shows how a process was started. */
        json_object_foreach((json_t *) request->environment, key,
                value) if (setenv(key, json_string_value(value), 1) < 0) return -errno;

        if (!request->resume || (uint64_t) st.st_size > request->max_bytes)
                return ftruncate(f->fd, 0) < 0 ? -errno : 0;
        f->offset = (uint64_t) st.st_size;
        f->result->url = request->resume_url;
        if (request->resume_etag)
                f->result->etag = strdup(request->resume_etag);
        if (request->resume_last_modified)
                f->result->last_modified = strdup(request->resume_last_modified);
        if (!request->resume_etag && !request->resume_last_modified)
                f->blind = true;
        return 0;
}

void fetch_run(const FetchRequest *request, int fd, FetchResult *ret) {
        Outcome outcomes[FETCH_URLS_MAX] = {};
        Fetch f = {
                .request = request,
                .result = ret,
                .fd = fd,
                .deadline_usec = now_usec(CLOCK_MONOTONIC) + request->deadline_usec,
        };
        struct stat st = {};
        int r;

        *ret = (FetchResult){ .error = FETCH_OK };
        FOREACH_ELEMENT(outcome, outcomes)
                outcome->error = FETCH_OK;

        r = begin(&f);
        if (r < 0) {
                f.error = FETCH_OK;
                fail_local(&f, -r);
                ret->error = f.error;
                ret->text = TAKE_PTR(f.text);
        } else {
                try_all(&f, outcomes);
                if (f.error != FETCH_OK)
                        tell(&f, outcomes);
        }

        /* What lies behind the good part is of an older version. */
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t) st.st_size > f.offset)
                (void) ftruncate(fd, (off_t) f.offset);
        ret->bytes = f.offset;
        FOREACH_ELEMENT(outcome, outcomes)
                free(outcome->text);
        free(f.text);
        answer_clear(&f.answer);
        curl_easy_cleanup(f.curl);
}

void fetch_result_done(FetchResult *result) {
        free(result->text);
        free(result->shown);
        free(result->etag);
        free(result->last_modified);
        *result = (FetchResult){};
}
