/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Content from a server: what is asked for, whether it is there already, and getting it. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "file.h"

/* Of a state with a download, unless the role says it. */
#define TIMEOUT_USEC (15 * 60 * 1000000ull)

#define KEY_SIZE 56 /* 42 bytes as base64: what it is for, the id, the key */
#define URLS_MAX 32 /* source: FETCH_URLS_MAX of agentd-fetch */

enum {
        D_HEADERS,
        D_CREDENTIALS,
        D_PROXY,
        D_CA_FILE,
        D_MAX_SIZE,
        D_RETRIES,
        D_TIMEOUT,
};

const AgentdParameter download_fields[] = {
        [D_HEADERS] = { .name = "headers",
                .type = AGENTD_LIST,
                .flags = AGENTD_SECRET,
                .documentation = "headers \"Name: value\" for the hosts of the URLs" },
        [D_CREDENTIALS] = { .name = "credentials",
                .type = AGENTD_STRING,
                .flags = AGENTD_PATH,
                .documentation = "a file that only root can read, with lines as in netrc(5)" },
        [D_PROXY] = { .name = "proxy",
                .type = AGENTD_STRING,
                .documentation =
                        "URL of a proxy, \"\" for none; without it, as the environment of agentd says" },
        [D_CA_FILE] = { .name = "ca_file",
                .type = AGENTD_STRING,
                .flags = AGENTD_PATH,
                .documentation =
                        "certificates to trust instead of the system's; everybody must be able to read it" },
        [D_MAX_SIZE] = { .name = "max_size",
                .type = AGENTD_BYTES,
                .default_value = "1G",
                .documentation = "what is larger is refused" },
        [D_RETRIES] = { .name = "retries",
                .type = AGENTD_INTEGER,
                .default_value = "3",
                .documentation = "further attempts, after each URL was tried once" },
        [D_TIMEOUT] = { .name = "timeout",
                .type = AGENTD_TIMESPAN,
                .documentation = "of one attempt; without it, what is left of the state's" },
        {},
};

static bool is_given(const AgentdValue *value) {
        return value->type != AGENTD_NONE;
}

/* What agentd-fetch would refuse anyway, told while there is somebody to read it. */
static const char *find_fault(const AgentdValue *url) {
        static const char *const schemes[] = { "https://", "http://", "ftp://", "file:///" };
        const char *host = NULL;

        if (url->type != AGENTD_STRING || strlen(url->string) != url->size)
                return "must be a string, or a list of strings";
        for (size_t i = 0; i < url->size; i++)
                if ((unsigned char) url->string[i] <= ' ' || url->string[i] == 0x7f)
                        return "must not have spaces or control characters in it; write %20 for a space";
        for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
                if (strncmp(url->string, schemes[i], strlen(schemes[i])) == 0)
                        host = url->string + strlen(schemes[i]);
        if (!host)
                return "must begin with https://, http://, ftp:// or file:///";
        if (memchr(host, '@', strcspn(host, "/?#")))
                return "must not have a user or password in it; download = { credentials = "
                       "\"/etc/agentd/netrc\" } "
                       "is for that";
        return NULL;
}

static int add_url(AgentdPrepare *prepare, int parameter, const char *name, const AgentdValue *url) {
        const char *fault = find_fault(url);

        if (!fault)
                return 0;
        agentd_prepare_error(prepare, parameter, "'%s' %s", name, fault);
        return -EINVAL;
}

/* The texts of a list, ended by NULL; they stay where they are. Of one text as of a list. */
static const char **copy_texts(AgentdPrepare *prepare, const AgentdValue *value) {
        size_t n = value->type == AGENTD_LIST ? value->n : 1;
        const char **texts = agentd_alloc(prepare, (n + 1) * sizeof(char *));

        for (size_t k = 0; k < n; k++)
                texts[k] = value->type == AGENTD_LIST ? value->items[k].string : value->string;
        return texts;
}

static int take_urls(AgentdPrepare *prepare, const DownloadValues *v, AgentdDownload *download) {
        int r = 0;

        if (v->url->type == AGENTD_LIST) {
                if (v->url->n == 0 || v->url->n > URLS_MAX) {
                        agentd_prepare_error(prepare, v->url_index, "'url' must be 1 to %d URLs", URLS_MAX);
                        return -EINVAL;
                }
                for (size_t k = 0; k < v->url->n && r == 0; k++)
                        r = add_url(prepare, v->url_index, "url", &v->url->items[k]);
        } else
                r = add_url(prepare, v->url_index, "url", v->url);
        if (r == 0 && is_given(v->signature))
                r = add_url(prepare, v->signature_index, "signature", v->signature);
        if (r < 0)
                return r;
        download->urls = copy_texts(prepare, v->url);
        download->signature = is_given(v->signature) ? v->signature->string : NULL;
        return 0;
}

/* Of minisign: the line alone, or a file of two. Whether it is a key is told when it is used. */
static bool is_key(const AgentdValue *value) {
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
        size_t n = value->size;
        const char *line;

        while (n > 0 && (value->string[n - 1] == '\n' || value->string[n - 1] == '\r'))
                n--;
        line = memrchr(value->string, '\n', n);
        line = line ? line + 1 : value->string;
        n -= (size_t) (line - value->string);
        return n == KEY_SIZE && memcmp(line, "RW", 2) == 0 && strspn(line, digits) >= n;
}

/* Without one or the other whoever has the server, or the way to it, writes the file. */
static int take_proof(AgentdPrepare *prepare, const DownloadValues *v, AgentdDownload *download) {
        const AgentdValue *checksum = is_given(v->sha256) ? v->sha256 : v->checksum;

        if (is_given(checksum))
                download->checksum = checksum->string;
        for (size_t k = 0; is_given(v->public_keys) && k < v->public_keys->n; k++)
                if (!is_key(&v->public_keys->items[k])) {
                        agentd_prepare_error(prepare, v->public_keys_index,
                                "'%s' in 'public_keys' is no key of minisign, which is a line of %d "
                                "characters and begins with RW",
                                v->public_keys->items[k].string, KEY_SIZE);
                        return -EINVAL;
                }
        if (is_given(v->public_keys) && v->public_keys->n > 0)
                download->keys = copy_texts(prepare, v->public_keys);
        if (download->keys || (download->checksum && !download->signature))
                return 0;
        if (download->signature)
                agentd_prepare_error(prepare, v->signature_index,
                        "'signature' needs 'public_keys', of which one must have made it");
        else
                agentd_prepare_error(prepare, v->url_index,
                        "'url' needs 'sha256', or 'public_keys' if it is signed with minisign, as nothing "
                        "else tells "
                        "that what comes is what was meant; sha256sum prints it for a file that you trust");
        return -EINVAL;
}

static int take_fields(AgentdPrepare *prepare, const DownloadValues *v, AgentdDownload *download) {
        const AgentdValue *fields = v->fields->items;

        if (!is_given(v->fields)) {
                download->retries = 3;
                return 0;
        }
        if (fields[D_RETRIES].integer < 0 || fields[D_RETRIES].integer > 100) {
                agentd_prepare_error(prepare, v->fields_index, "'download.retries' must be from 0 to 100");
                return -EINVAL;
        }
        if (fields[D_MAX_SIZE].integer <= 0) {
                agentd_prepare_error(prepare, v->fields_index, "'download.max_size' must be above 0");
                return -EINVAL;
        }
        download->retries = (uint32_t) fields[D_RETRIES].integer;
        download->max_bytes = (uint64_t) fields[D_MAX_SIZE].integer;
        if (is_given(&fields[D_HEADERS]))
                download->headers = copy_texts(prepare, &fields[D_HEADERS]);
        if (is_given(&fields[D_CREDENTIALS]))
                download->credentials = fields[D_CREDENTIALS].string;
        if (is_given(&fields[D_PROXY]))
                download->proxy = fields[D_PROXY].string;
        if (is_given(&fields[D_CA_FILE]))
                download->ca_file = fields[D_CA_FILE].string;
        if (is_given(&fields[D_TIMEOUT]))
                download->timeout_usec = (uint64_t) fields[D_TIMEOUT].integer;
        return 0;
}

int download_prepare(AgentdPrepare *prepare, const DownloadValues *v, const AgentdDownload **ret) {
        AgentdDownload *download;

        if (!is_given(v->url)) {
                if (!is_given(v->sha256) && !is_given(v->checksum) && !is_given(v->signature) &&
                        !is_given(v->public_keys) && !is_given(v->fields))
                        return 0;
                agentd_prepare_error(prepare, -1,
                        "'sha256', 'checksum', 'signature', 'public_keys' and 'download' make sense with "
                        "'url' only");
                return -EINVAL;
        }
        download = agentd_alloc(prepare, sizeof(*download));
        download->size = sizeof(*download);
        if (take_urls(prepare, v, download) < 0 || take_proof(prepare, v, download) < 0 ||
                take_fields(prepare, v, download) < 0)
                return -EINVAL;
        agentd_prepare_timeout(prepare, TIMEOUT_USEC);
        *ret = download;
        return 0;
}

/* ---- Checking -------------------------------------------------------------------------------------------------------- */

static void report(AgentdContext *c, size_t i, const AgentdDownload *download, const char *is) {
        char should[AGENTD_CHECKSUM_SIZE + 16];

        if (!download->checksum) {
                agentd_differs_string(c, i, "content", is, "what is signed");
                return;
        }
        (void) snprintf(should, sizeof(should), "%s%s",
                strchr(download->checksum, ':') ? "" : "sha256:", download->checksum);
        agentd_differs_string(c, i, "content", is, should);
}

int compare_download(AgentdContext *c, size_t i, const File *file, Look *look) {
        char is[AGENTD_CHECKSUM_SIZE] = "";
        int fd CLOSED = -1, r;

        if (look->kind == KIND_FILE) {
                struct statx files[1] = { look->st };

                if (agentd_unchanged(c, i, files, 1))
                        return 0;
                fd = open_regular(look->dir_fd, look->name);
                if (fd < 0) {
                        agentd_failed(c, i, "Failed to open '%s': %s", look->path, explain(fd));
                        return -1;
                }
                r = agentd_is_downloaded(c, i, fd, extras_of(file)->download, is);
                if (r == -EINVAL) {
                        agentd_failed(c, i, "its checksum, or one of its public keys, is not well-formed");
                        return -1;
                }
                if (r < 0) {
                        agentd_failed(c, i, "Failed to read '%s': %s", look->path, strerror(-r));
                        return -1;
                }
                if (r == 1) {
                        agentd_remember(c, i, &fd, 1);
                        return 0;
                }
        }
        look->content_differs = true;
        report(c, i, extras_of(file)->download, look->kind == KIND_FILE ? is : NULL);
        return 0;
}

/* ---- Applying -------------------------------------------------------------------------------------------------------- */

int fetch_download(AgentdContext *c, size_t i, const File *file, const char **ret_error) {
        int fd, r;

        r = agentd_download(c, i, extras_of(file)->download, &fd);
        if (r < 0) {
                *ret_error = agentd_download_error(c);
                return r;
        }
        return fd;
}
