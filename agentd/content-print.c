/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* agentd --content: what an old file was, on standard output. */

#include <assert.h>

#include "content.h"
#include "log.h"
#include "once.h"
#include "output.h"

/* Whether it would harm a terminal: what is no text, or moves the cursor. */
static int look_for_binary(void *userdata, const void *data, size_t size) {
        bool *binary = userdata;
        const uint8_t *p = data;

        /* A character may lie across the border of two pieces. */
        for (size_t i = 0; i < size && !*binary; i++)
                *binary = (p[i] < ' ' && p[i] != '\n' && p[i] != '\t' && p[i] != '\r') || p[i] == 0x7f;
        return 0;
}

static int write_out(void *userdata, const void *data, size_t size) {
        return write_full(STDOUT_FILENO, data, size);
}

int content_print(const char *directory, const char *name, bool force) {
        _cleanup_(content_store_freep) ContentStore *store = NULL;
        const char *why = NULL;
        bool binary = false;
        int r;

        assert(directory);
        assert(name);

        if (!content_name_is_valid(name)) {
                log_error("'%s' is no content: it is 64 digits, 0-9 and a-f, as `agentctl show STATE` "
                          "prints them for what was there before",
                        name);
                return EXIT_INVALID;
        }
        r = content_store_open(directory, false, &store);
        if (r == -ENOENT) {
                log_error("There is no content '%s': nothing was ever kept in '%s/" CONTENT_DIRECTORY "'",
                        name, directory);
                return EXIT_STATE_FAILED;
        }
        if (r < 0) {
                (void) log_error_errno(r, "Failed to open '%s/" CONTENT_DIRECTORY "': %m", directory);
                return EXIT_STATE_FAILED;
        }

        /* All of it once before any of it is shown: half of a file, or a wrong one, is not to be taken for the whole. */
        r = content_get(store, name, look_for_binary, &binary, NULL, &why);
        if (r == 0 && binary && !force && isatty(STDOUT_FILENO)) {
                log_error("Content '%s' is no text: write it to a file, or use --force", name);
                return EXIT_STATE_FAILED;
        }
        if (r == 0)
                r = content_get(store, name, write_out, NULL, NULL, &why);
        if (r == 0)
                return EXIT_FINE;
        if (r == -EBADMSG || r == -ENOENT || r == -EPROTONOSUPPORT || r == -ENOKEY || r == -EPERM)
                log_error("Failed to read content '%s': %s", name, why);
        else
                (void) log_error_errno(r, "Failed to read content '%s': %s: %m", name, why);
        return EXIT_STATE_FAILED;
}
