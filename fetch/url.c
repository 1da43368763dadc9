/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <curl/curl.h>
#include <strings.h>

#include "request.h"

static const char *const scheme_names[_FETCH_SCHEME_MAX] = {
        [FETCH_HTTPS] = "https",
        [FETCH_HTTP] = "http",
        [FETCH_FTP] = "ftp",
        [FETCH_FILE] = "file",
};

static void curl_url_cleanupp(CURLU **url) {
        curl_url_cleanup(*url);
}

static void curl_freep(char **text) {
        curl_free(*text);
}

void fetch_url_done(FetchUrl *url) {
        free(url->host);
        free(url->port);
        free(url->shown);
        *url = (FetchUrl){};
}

static bool has_part(CURLU *url, CURLUPart part) {
        _cleanup_(curl_freep) char *text = NULL;

        return curl_url_get(url, part, &text, 0) == CURLUE_OK;
}

/* A copy of our own; "" if there is no such part. */
static char *copy_part(CURLU *url, CURLUPart part, unsigned flags) {
        _cleanup_(curl_freep) char *text = NULL;

        (void) curl_url_get(url, part, &text, flags);
        return strdup(text ?: "");
}

static int find_scheme(CURLU *url, FetchScheme *ret) {
        _cleanup_(curl_freep) char *name = NULL;

        if (curl_url_get(url, CURLUPART_SCHEME, &name, 0) != CURLUE_OK)
                return -EINVAL;
        for (int i = 0; i < _FETCH_SCHEME_MAX; i++)
                if (strcasecmp(name, scheme_names[i]) == 0) {
                        *ret = (FetchScheme) i;
                        return 0;
                }
        return -EPROTONOSUPPORT;
}

int fetch_url_parse(const char *text, FetchUrl *ret) {
        _cleanup_(curl_url_cleanupp) CURLU *url = curl_url();
        _cleanup_(fetch_url_done) FetchUrl parsed = {};
        int r;

        if (!url)
                return -ENOMEM;
        if (curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
                return -EINVAL;
        r = find_scheme(url, &parsed.scheme);
        if (r < 0)
                return r;
        if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD))
                return -EACCES;

        parsed.host = copy_part(url, CURLUPART_HOST, 0);
        parsed.port = copy_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
        (void) curl_url_set(url, CURLUPART_QUERY, NULL, 0);
        (void) curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
        parsed.shown = copy_part(url, CURLUPART_URL, 0);
        if (!parsed.host || !parsed.port || !parsed.shown)
                return -ENOMEM;
        *ret = parsed;
        parsed = (FetchUrl){};
        return 0;
}

bool fetch_url_same_origin(const FetchUrl *a, const FetchUrl *b) {
        return a->scheme == b->scheme && strcasecmp(a->host, b->host) == 0 && streq(a->port, b->port);
}

bool fetch_redirect_allowed(const FetchUrl *from, const FetchUrl *to) {
        switch (from->scheme) {
        case FETCH_HTTPS: return to->scheme == FETCH_HTTPS;
        case FETCH_HTTP: return to->scheme == FETCH_HTTPS || to->scheme == FETCH_HTTP;
        default: return false;
        }
}
