/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <jansson.h>
#include <sodium.h>

#include "checksum.h"
#include "module.h"
#include "util.h"

/*
 * What of downloads needs no context: names, what agentd-fetch is told and what it says. See context-download.c.
 */

/* ---- Names ----------------------------------------------------------------------------------------------------------- */

/* Below the managed root. */
#define DOWNLOAD_PARENT    "/var/lib/agentd"
#define DOWNLOAD_DIRECTORY DOWNLOAD_PARENT "/downloads"

#define DOWNLOAD_NAME_MAX 48

typedef enum DownloadFile {
        DOWNLOAD_PART,      /* what there is of it */
        DOWNLOAD_VALIDATOR, /* of which version that is a part */
        DOWNLOAD_SIGNATURE, /* of what was fetched last */
        _DOWNLOAD_FILE_MAX,
} DownloadFile;

/* The name of a file in the directory, for a state's download: another one if anything of what is asked for is. */
char *download_name(char buffer[static DOWNLOAD_NAME_MAX], const char *state, const AgentdDownload *download,
        DownloadFile file);

/* Is this the name of such a file? */
bool download_name_is(const char *name, DownloadFile file);

/* What it takes. Source: fetch/request.h. */
#define FETCH_URLS_MAX 32

/* ---- What agentd-fetch is told and says ------------------------------------------------------------------------------ */

typedef struct DownloadRequest {
        const char *const *urls; /* ended by NULL */
        bool with_headers;
        const char *credentials; /* text; may be NULL */
        uint64_t max_bytes;
        usec_t deadline_usec; /* span */
        bool resume;
        const json_t *validator; /* of what there is; NULL: not known */
} DownloadRequest;

/* malloc'ed text of JSON; NULL if out of memory or text is not UTF-8. */
char *download_request(const AgentdDownload *download, const DownloadRequest *request);

typedef struct DownloadAnswer {
        int error;   /* 0; -errno as agentd_download() returns it */
        char *text;  /* why, one line; never NULL if there is an error */
        char *url;   /* that the file is of; may be NULL */
        char *shown; /* where it came from, without query; may be NULL */
        uint64_t bytes;
        bool resumed;
        json_t *validator; /* may be NULL */
} DownloadAnswer;

/* Return: 0; -EBADMSG: it is not what agentd-fetch says. */
int download_answer_parse(const char *text, size_t size, DownloadAnswer *ret);
void download_answer_done(DownloadAnswer *answer);

/* The URL up to its query, for people; malloc'ed. */
char *download_shown(const char *url);

/* Scheme, host and port are spelled alike. */
bool download_same_origin(const char *a, const char *b);
