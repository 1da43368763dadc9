/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

/*
 * What agentd-fetch is asked for, as one object of JSON:
 *
 *      urls             strings, tried in this order; 1 … FETCH_URLS_MAX
 *      max_bytes        of the whole file; > 0
 *      deadline_msec    for everything; > 0
 *      attempt_msec     for one attempt; 0 or absent: no limit of its own
 *      stall_msec       an attempt that gets (nearly) nothing for so long is over; default 30 s
 *      backoff_msec     pause before the first repetition, then twice as long each time; default 1 s
 *      retries          attempts after each URL has been tried once; default 0
 *      headers          strings "Name: value", for the hosts of the URLs themselves
 *      credentials      text in the format of netrc(5), likewise
 *      proxy            URL; "": none
 *      environment      object: variables of curl for proxies (http_proxy, no_proxy …), for when proxy is not given
 *      ca_file          absolute path
 *      resume           object, if standard output holds a part already: url, etag and last_modified of what it is a part of, as
 *                       the last result had them. Without these it is gone on with blindly: only for what is verified afterwards
 *
 * A key that is not known is an error.
 */

#define FETCH_REQUEST_MAX KIB(512)
#define FETCH_URLS_MAX    32
#define FETCH_RETRIES_MAX 100

typedef struct FetchRequest {
        json_t *json; /* owns all text */
        const char *urls[FETCH_URLS_MAX];
        size_t n_urls;
        uint64_t max_bytes;
        usec_t deadline_usec, attempt_usec, stall_usec, backoff_usec; /* spans */
        uint32_t retries;
        const json_t *headers;                     /* array of strings; may be NULL */
        const json_t *environment;                 /* object of strings; may be NULL */
        const char *credentials, *proxy, *ca_file; /* may be NULL */
        bool resume;
        const char *resume_url, *resume_etag, *resume_last_modified; /* may be NULL */
} FetchRequest;

/* Return: 0; -EINVAL, and *reterr says what is wrong, malloc'ed. */
int fetch_request_parse(const char *text, size_t size, FetchRequest *ret, char **reterr);
void fetch_request_done(FetchRequest *request);

/* ---- Credentials ----------------------------------------------------------------------------------------------------- */

typedef struct FetchLogin {
        char *user, *password; /* NULL: none */
} FetchLogin;

/**
 * netrc_find() - finds who we are for a host
 * @text: machine NAME login NAME password WORD …, or default …; words are separated by white space, and may be quoted with "…";
 *        a macdef, and what follows it up to an empty line, is skipped
 *
 * The first machine of that name counts, or else a default.
 * Return: 1; 0: there is none; -EINVAL: the text is not well-formed; -ENOMEM.
 */
int netrc_find(const char *text, const char *host, FetchLogin *ret);
void fetch_login_done(FetchLogin *login);

/* ---- URLs ------------------------------------------------------------------------------------------------------------ */

typedef enum FetchScheme {
        FETCH_HTTPS,
        FETCH_HTTP,
        FETCH_FTP,
        FETCH_FILE,
        _FETCH_SCHEME_MAX,
} FetchScheme;

typedef struct FetchUrl {
        FetchScheme scheme;
        char *host; /* "" of a file */
        char *port;
        char *shown; /* for people: without user, password, query and fragment */
} FetchUrl;

/* Return: 0; -EINVAL: not a URL; -EPROTONOSUPPORT: of another scheme; -EACCES: it has a user or password in it; -ENOMEM. */
int fetch_url_parse(const char *text, FetchUrl *ret);
void fetch_url_done(FetchUrl *url);

/* Scheme, host and port are the same: what is meant for the one may be told to the other. */
bool fetch_url_same_origin(const FetchUrl *a, const FetchUrl *b);

/* May a server send us from one to the other? */
bool fetch_redirect_allowed(const FetchUrl *from, const FetchUrl *to);
