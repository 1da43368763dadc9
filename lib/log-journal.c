/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <endian.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "log-journal.h"
#include "util.h"

/* As much as libsystemd asks for: entries wait with us rather than being lost. */
#define SEND_BUFFER_BYTES (8 * 1024 * 1024)

static const char *socket_path = JOURNAL_SOCKET;
static int journal_fd = -EBADF;
static bool stuck;
static unsigned long n_lost;

void journal_set_socket(const char *path) {
        socket_path = path ?: JOURNAL_SOCKET;
        journal_fd = safe_close(journal_fd);
        stuck = false;
        n_lost = 0;
}

bool journal_is_stuck(void) {
        return stuck;
}

/* Connected, so that poll() tells whether the other end has room. */
static int journal_connect(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){ SEND_BUFFER_BYTES }, sizeof(int));
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
        if (connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        journal_fd = TAKE_FD(fd);
        return 0;
}

/* The descriptor may have been closed under us, as children do, or may be that of a journald that is gone. */
static bool is_lost_connection(int error) {
        return error == EBADF || error == ENOTCONN || error == ECONNREFUSED || error == ECONNRESET ||
               error == ENOTSOCK || error == EDESTADDRREQ || error == EPIPE;
}

static int send_bytes(const void *data, size_t size) {
        bool connected = false;
        int r;

        for (;;) {
                struct pollfd p;

                if (journal_fd < 0) {
                        r = journal_connect();
                        if (r < 0)
                                return r;
                        connected = true;
                }
                if (send(journal_fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
                        stuck = false;
                        return 0;
                }
                if (errno == EINTR)
                        continue;
                if (errno == EAGAIN && !stuck) {
                        p = (struct pollfd){ .fd = journal_fd, .events = POLLOUT };
                        if (poll(&p, 1, JOURNAL_WAIT_MSEC) > 0)
                                continue;
                        stuck = true;
                        errno = EAGAIN;
                }
                if (!is_lost_connection(errno) || connected)
                        return -errno;
                /* Not closed if it is not ours any more: somebody else may have the number by now. */
                journal_fd = errno == EBADF || errno == ENOTSOCK ? -EBADF : safe_close(journal_fd);
        }
}

/* "NAME=value\n"; a value with line ends as "NAME\n", its size (64 bits, little endian), the value, "\n". */
static size_t put_field(char *buffer, size_t used, const struct iovec *field) {
        const char *text = field->iov_base, *equals = memchr(text, '=', field->iov_len);
        size_t name = equals ? (size_t) (equals - text) : field->iov_len;
        size_t size = equals ? field->iov_len - name - 1 : 0;
        uint64_t length = htole64(size);

        if (!equals || field->iov_len + sizeof(length) + 2 > JOURNAL_ENTRY_MAX - used)
                return 0;
        if (!memchr(text, '\n', field->iov_len)) {
                memcpy(buffer + used, text, field->iov_len);
                buffer[used + field->iov_len] = '\n';
                return field->iov_len + 1;
        }
        memcpy(buffer + used, text, name);
        buffer[used + name] = '\n';
        memcpy(buffer + used + name + 1, &length, sizeof(length));
        memcpy(buffer + used + name + 1 + sizeof(length), equals + 1, size);
        buffer[used + name + 1 + sizeof(length) + size] = '\n';
        return name + sizeof(length) + size + 2;
}

static void tell_lost(void) {
        char text[160];
        int n = snprintf(text, sizeof(text),
                "MESSAGE=%lu entries were lost, since the journal did not take them\nPRIORITY=4\n"
                "SYSLOG_IDENTIFIER=%s\n",
                n_lost, program_invocation_short_name);

        if (n > 0 && (size_t) n < sizeof(text) && send_bytes(text, (size_t) n) >= 0)
                n_lost = 0;
}

int journal_send(const struct iovec *fields, size_t n) {
        _cleanup_free_ char *buffer = malloc(JOURNAL_ENTRY_MAX);
        size_t used = 0;
        int r;

        if (!buffer)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                size_t added = put_field(buffer, used, &fields[i]);

                if (added == 0)
                        return -EMSGSIZE;
                used += added;
        }
        r = send_bytes(buffer, used);
        if (r == -EAGAIN)
                n_lost++;
        else if (r >= 0 && n_lost > 0)
                tell_lost();
        return r;
}
