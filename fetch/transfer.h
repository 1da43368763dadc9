/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <curl/curl.h>

#include "request.h"

/*
 * From a request to a file: attempts at each URL, redirects, resumption. Nothing of what a server says is believed but the bytes
 * of the body, and these the caller verifies.
 */

/* The kinds of errors, the most telling first: that is the one which is told where servers have failed in several ways. */
typedef enum FetchError {
        FETCH_E_LOCAL, /* errno: writing, memory */
        FETCH_E_REQUEST,
        FETCH_E_TOO_LARGE,
        FETCH_E_DENIED,
        FETCH_E_PROTOCOL,
        FETCH_E_TIMEOUT,
        FETCH_E_NOT_FOUND,
        FETCH_E_UNREACHABLE,
        FETCH_OK,
        _FETCH_ERROR_MAX,
} FetchError;

/* As they are called in a result: "timeout"; "none" for FETCH_OK. */
extern const char *const fetch_error_names[_FETCH_ERROR_MAX];

#define FETCH_REDIRECTS_MAX 10

typedef struct FetchResult {
        FetchError error;
        char *text;      /* why, one line; NULL: no error */
        int local_errno; /* of FETCH_E_LOCAL */
        long status;     /* of HTTP, of the last answer */
        char *shown;     /* where it came from in the end, without query */
        unsigned attempts;
        bool resumed; /* a part from before is in it */

        /* What the file is, or is a part of. */
        uint64_t bytes;
        const char *url; /* that it was begun with */
        char *etag, *last_modified;
} FetchResult;

/**
 * fetch_run() - fetches into a file
 * @fd: can be written and truncated; the offset is not used
 *
 * Fills *ret in any case.
 */
void fetch_run(const FetchRequest *request, int fd, FetchResult *ret);
void fetch_result_done(FetchResult *result);
