/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <time.h>

#include "util.h"

usec_t now_usec(int clock) {
        struct timespec ts;

        (void) clock_gettime(clock, &ts);
        return (usec_t) ts.tv_sec * USEC_PER_SEC + (usec_t) ts.tv_nsec / NSEC_PER_USEC;
}

int parse_timespan(const char *text, usec_t *ret) {
        /* Source: systemd.time(7), "Parsing Time Spans". Longer names before their prefixes do not matter: the
         * whole word is compared. */
        static const struct {
                const char *name;
                usec_t usec;
        } units[] = {
                { "us", 1 },
                { "usec", 1 },
                { "µs", 1 },
                { "ms", USEC_PER_MSEC },
                { "msec", USEC_PER_MSEC },
                { "", USEC_PER_SEC },
                { "s", USEC_PER_SEC },
                { "sec", USEC_PER_SEC },
                { "second", USEC_PER_SEC },
                { "seconds", USEC_PER_SEC },
                { "m", USEC_PER_MINUTE },
                { "min", USEC_PER_MINUTE },
                { "minute", USEC_PER_MINUTE },
                { "minutes", USEC_PER_MINUTE },
                { "h", 60 * USEC_PER_MINUTE },
                { "hr", 60 * USEC_PER_MINUTE },
                { "hour", 60 * USEC_PER_MINUTE },
                { "hours", 60 * USEC_PER_MINUTE },
                { "d", 24 * 60 * USEC_PER_MINUTE },
                { "day", 24 * 60 * USEC_PER_MINUTE },
                { "days", 24 * 60 * USEC_PER_MINUTE },
                { "w", 7 * 24 * 60 * USEC_PER_MINUTE },
                { "week", 7 * 24 * 60 * USEC_PER_MINUTE },
                { "weeks", 7 * 24 * 60 * USEC_PER_MINUTE },
                { "M", 2629800 * USEC_PER_SEC },
                { "month", 2629800 * USEC_PER_SEC },
                { "months", 2629800 * USEC_PER_SEC },
                { "y", 31557600 * USEC_PER_SEC },
                { "year", 31557600 * USEC_PER_SEC },
                { "years", 31557600 * USEC_PER_SEC },
        };
        usec_t total = 0;
        bool any = false;

        assert(text);
        assert(ret);

        text += strspn(text, " \t");
        if (streq(text, "infinity")) {
                *ret = USEC_INFINITY;
                return 0;
        }

        while (*text) {
                double number;
                size_t length;
                char *end;
                bool found = false;

                if (*text == '-')
                        return isdigit((unsigned char) text[1]) ? -ERANGE : -EINVAL;
                if (!isdigit((unsigned char) *text) && *text != '.')
                        return -EINVAL;
                if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
                        return -EINVAL;

                errno = 0;
                number = strtod(text, &end);
                if (end == text || errno != 0)
                        return -EINVAL;
                /* strtod also takes exponents, systemd does not: "1e3" is no time span. */
                for (const char *p = text; p < end; p++)
                        if (!isdigit((unsigned char) *p) && *p != '.')
                                return -EINVAL;

                text = end + strspn(end, " \t");
                length = strcspn(text, "0123456789. \t-");
                FOREACH_ELEMENT(unit, units) {
                        double usec;

                        if (strlen(unit->name) != length || strncmp(unit->name, text, length) != 0)
                                continue;
                        usec = number * (double) unit->usec;
                        if (usec >= (double) (INT64_MAX / 2) ||
                                (double) total + usec >= (double) (INT64_MAX / 2))
                                return -ERANGE;
                        total += (usec_t) (usec + 0.5);
                        found = true;
                        break;
                }
                if (!found)
                        return -EINVAL;

                any = true;
                text += length;
                text += strspn(text, " \t");
        }

        if (!any)
                return -EINVAL;

        *ret = total;
        return 0;
}

char *format_timespan(char *buffer, size_t size, usec_t span) {
        if (span == USEC_INFINITY)
                (void) snprintf(buffer, size, "infinity");
        else if (span < USEC_PER_MSEC)
                (void) snprintf(buffer, size, "%" PRIu64 "us", span);
        else if (span < USEC_PER_SEC)
                (void) snprintf(buffer, size, "%.3gms", (double) span / 1e3);
        else if (span < USEC_PER_MINUTE)
                (void) snprintf(buffer, size, "%.3gs", (double) span / 1e6);
        else if (span % USEC_PER_MINUTE < USEC_PER_SEC)
                (void) snprintf(buffer, size, "%" PRIu64 "min", span / USEC_PER_MINUTE);
        else
                (void) snprintf(buffer, size, "%" PRIu64 "min %" PRIu64 "s", span / USEC_PER_MINUTE,
                        span % USEC_PER_MINUTE / USEC_PER_SEC);
        return buffer;
}

bool endswith(const char *string, const char *suffix) {
        size_t n = strlen(string), m = strlen(suffix);

        return n >= m && memcmp(string + n - m, suffix, m) == 0;
}

size_t utf8_valid_prefix(const char *text, size_t size) {
        const unsigned char *p = (const unsigned char *) text;
        size_t i = 0;

        while (i < size) {
                unsigned char c = p[i];
                size_t n;
                uint32_t code;

                if (c < 0x80) {
                        i++;
                        continue;
                }
                if (c >= 0xc2 && c <= 0xdf) {
                        n = 2;
                        code = c & 0x1f;
                } else if ((c & 0xf0) == 0xe0) {
                        n = 3;
                        code = c & 0x0f;
                } else if (c >= 0xf0 && c <= 0xf4) {
                        n = 4;
                        code = c & 0x07;
                } else
                        return i;

                if (size - i < n)
                        return i;
                for (size_t k = 1; k < n; k++) {
                        if ((p[i + k] & 0xc0) != 0x80)
                                return i;
                        code = code << 6 | (p[i + k] & 0x3f);
                }
                if ((n == 3 && code < 0x800) || (n == 4 && (code < 0x10000 || code > 0x10ffff)) ||
                        (code >= 0xd800 && code <= 0xdfff))
                        return i;
                i += n;
        }

        return size;
}

bool utf8_is_valid(const char *text, size_t size) {
        return utf8_valid_prefix(text, size) == size;
}

char *utf8_make_valid(const char *text, size_t size, size_t *ret_size) {
        static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
        char *copy = malloc(size * 3 + 1), *out = copy;

        if (!copy)
                return NULL;
        while (size > 0) {
                size_t good = utf8_valid_prefix(text, size);

                out = mempcpy(out, text, good);
                text += good;
                size -= good;
                if (size > 0) {
                        out = mempcpy(out, replacement, strlen(replacement));
                        text++;
                        size--;
                }
        }

        *out = 0;
        *ret_size = (size_t) (out - copy);
        return copy;
}

void *pages_new(size_t size) {
        void *pages = mmap(NULL, MAX(size, (size_t) 1), PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (pages == MAP_FAILED)
                return NULL;
        (void) madvise(pages, MAX(size, (size_t) 1), MADV_DONTFORK);
        return pages;
}

void pages_free(void *pages, size_t size) {
        if (pages)
                (void) munmap(pages, MAX(size, (size_t) 1));
}

int safe_close(int fd) {
        if (fd >= 0) {
                int saved = errno;

                (void) close(fd);
                errno = saved;
        }
        return -EBADF;
}

ssize_t read_full(int fd, void *buffer, size_t size) {
        size_t done = 0;

        while (done < size) {
                ssize_t n = read(fd, (char *) buffer + done, size - done);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                done += (size_t) n;
        }

        return (ssize_t) done;
}

int write_full(int fd, const void *buffer, size_t size) {
        size_t done = 0;

        while (done < size) {
                ssize_t n = write(fd, (const char *) buffer + done, size - done);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                done += (size_t) n;
        }

        return 0;
}
