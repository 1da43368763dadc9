/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Forms of properties that are one value. */

#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>

#include "unit-property-internal.h"

/* A single word as text: what TOML knows as a number is one in a unit file as well. NULL: it is something else. */
static const char *word_of(const json_t *value, char buffer[static 32]) {
        if (json_is_string(value))
                return strlen(json_string_value(value)) == json_string_length(value)
                               ? json_string_value(value)
                               : NULL;
        if (!json_is_integer(value))
                return NULL;
        (void) snprintf(buffer, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return buffer;
}

const char *unit_bus_name(const UnitProperty *property) {
        return property->bus_name ?: property->name;
}

int unit_find_word(const UnitWord *words, const char *word, int64_t *ret) {
        for (; words && words->word; words++)
                if (streq(words->word, word)) {
                        *ret = words->value;
                        return 0;
                }
        return -EINVAL;
}

int unit_parse_count(const char *text, uint64_t *ret) {
        char *end;

        if (!isdigit((unsigned char) *text))
                return -EINVAL;
        errno = 0;
        *ret = strtoull(text, &end, 10);
        return *end || errno != 0 ? -EINVAL : 0;
}

int unit_parse_size(const char *text, uint64_t base, uint64_t *ret) {
        static const char suffixes[] = "KMGTPE";
        const char *suffix;
        uint64_t n, factor = 1;
        char *end;

        if (!isdigit((unsigned char) *text))
                return -EINVAL;
        errno = 0;
        n = strtoull(text, &end, 10);
        if (errno != 0)
                return -EINVAL;
        suffix = *end ? strchr(suffixes, *end) : NULL;
        if (suffix) {
                for (const char *s = suffixes; s <= suffix; s++)
                        factor *= base;
                end++;
        }
        if (*end == 'B' && !end[1])
                end++;
        /* UINT64_MAX has a meaning of its own. */
        if (*end || n > (UINT64_MAX - 1) / factor)
                return -EINVAL;
        *ret = n * factor;
        return 0;
}

bool unit_path_is_good(const char *path) {
        if (*path != '/' || strlen(path) >= PATH_MAX)
                return false;
        for (const char *p = path; (p = strstr(p, "/..")); p += 3)
                if (p[3] == '/' || p[3] == '\0')
                        return false;
        return true;
}

static int put_string(const UnitProperty *property, sd_bus_message *m, const char *text) {
        return m ? sd_bus_message_append(m, "(sv)", unit_bus_name(property), "s", text) : 0;
}

static int put_int32(const UnitProperty *property, sd_bus_message *m, int32_t n) {
        return m ? sd_bus_message_append(m, "(sv)", unit_bus_name(property), "i", n) : 0;
}

static int put_uint32(const UnitProperty *property, sd_bus_message *m, uint32_t n) {
        return m ? sd_bus_message_append(m, "(sv)", unit_bus_name(property), "u", n) : 0;
}

static int put_uint64(const UnitProperty *property, sd_bus_message *m, uint64_t n) {
        return m ? sd_bus_message_append(m, "(sv)", unit_bus_name(property), "t", n) : 0;
}

int unit_boolean(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        static const UnitWord words[] = { { "yes", 1 }, { "true", 1 }, { "on", 1 }, { "no", 0 },
                { "false", 0 }, { "off", 0 }, {} };
        int64_t truth;

        if (json_is_boolean(value))
                truth = json_is_true(value);
        else if (!json_is_string(value) || unit_find_word(words, json_string_value(value), &truth) < 0)
                return -EINVAL;
        return m ? sd_bus_message_append(m, "(sv)", unit_bus_name(property), "b", (int) truth) : 0;
}

int unit_string(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        const char *text = NULL;
        int64_t unused;
        char buffer[32];

        /* ProtectSystem and its like know truth values besides words. */
        if (json_is_boolean(value) && property->words)
                text = json_is_true(value) ? "yes" : "no";
        else
                text = word_of(value, buffer);
        if (!text || !*text || strchr(text, '\n'))
                return -EINVAL;
        if (property->words && unit_find_word(property->words, text, &unused) < 0)
                return -EINVAL;
        return put_string(property, m, text);
}

int unit_path(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        char buffer[32];
        const char *text = word_of(value, buffer);

        return text && unit_path_is_good(text) ? put_string(property, m, text) : -EINVAL;
}

int unit_optional_string(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        char buffer[32];
        const char *text = word_of(value, buffer);
        bool optional;

        if (!text)
                return -EINVAL;
        optional = *text == '-';
        text += optional;
        if (!*text)
                return -EINVAL;
        return m ? sd_bus_message_append(m, "(sv)", unit_bus_name(property), "(bs)", (int) optional, text)
                 : 0;
}

static int number_of(const UnitProperty *property, const json_t *value, int64_t *ret) {
        char buffer[32], *end;
        const char *text = word_of(value, buffer);

        if (!text || !*text || isspace((unsigned char) *text))
                return -EINVAL;
        if (unit_find_word(property->words, text, ret) >= 0)
                return 0;
        if (property->words && property->min == property->max)
                return -EINVAL;
        errno = 0;
        *ret = strtoll(text, &end, 10);
        return *end || errno != 0 || *ret < property->min || *ret > property->max ? -EINVAL : 0;
}

int unit_int32(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        int64_t n;
        int r = number_of(property, value, &n);

        return r < 0 ? r : put_int32(property, m, (int32_t) n);
}

int unit_uint32(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        int64_t n;
        int r = number_of(property, value, &n);

        return r < 0 ? r : put_uint32(property, m, (uint32_t) n);
}

int unit_mode(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        const char *text = json_string_value(value);
        uint32_t mode = 0;

        if (!text || strlen(text) < 3 || strlen(text) > 4 || strlen(text) != json_string_length(value))
                return -EINVAL;
        for (; *text; text++) {
                if (*text < '0' || *text > '7')
                        return -EINVAL;
                mode = mode * 8 + (uint32_t) (*text - '0');
        }
        return (int64_t) mode > property->max ? -EINVAL : put_uint32(property, m, mode);
}

/* "12.5%" in hundredths of a percent. */
static int parse_part(const char *text, uint64_t *ret) {
        uint64_t n, unit = 10;
        char *end;

        if (!isdigit((unsigned char) *text))
                return -EINVAL;
        errno = 0;
        n = strtoull(text, &end, 10);
        if (errno != 0 || n > UINT32_MAX)
                return -EINVAL;
        n *= 100;
        if (*end == '.') {
                if (!isdigit((unsigned char) end[1]))
                        return -EINVAL;
                for (end++; isdigit((unsigned char) *end); end++, unit /= 10) {
                        if (unit == 0)
                                return -EINVAL;
                        n += (uint64_t) (*end - '0') * unit;
                }
        }
        if (!streq(end, "%"))
                return -EINVAL;
        *ret = n;
        return 0;
}

/* What a part is on the bus: of 2^32 - 1. Source: UINT32_SCALE_FROM_PERMYRIAD of systemd's src/basic/percent-util.h. */
static uint32_t scale(uint64_t hundredths) {
        return (uint32_t) ((hundredths * UINT32_MAX + 5000) / 10000);
}

static int put_limit(const UnitProperty *property, const char *text, bool bytes, sd_bus_message *m) {
        char name[128];
        uint64_t n;

        if (streq(text, "infinity"))
                return put_uint64(property, m, UINT64_MAX);
        if (parse_part(text, &n) >= 0) {
                if (n > 10000)
                        return -EINVAL;
                (void) snprintf(name, sizeof(name), "%sScale", unit_bus_name(property));
                return m ? sd_bus_message_append(m, "(sv)", name, "u", scale(n)) : 0;
        }
        if ((bytes ? unit_parse_size(text, 1024, &n) : unit_parse_count(text, &n)) < 0 || n == UINT64_MAX ||
                n < (uint64_t) property->min)
                return -EINVAL;
        return put_uint64(property, m, n);
}

int unit_limit(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        char buffer[32];
        const char *text = word_of(value, buffer);

        return text ? put_limit(property, text, true, m) : -EINVAL;
}

int unit_number(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        char buffer[32];
        const char *text = word_of(value, buffer);

        return text ? put_limit(property, text, false, m) : -EINVAL;
}

int unit_weight(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        int64_t n;
        int r = number_of(property, value, &n);

        return r < 0 ? r : put_uint64(property, m, (uint64_t) n);
}

static int span_of(const json_t *value, usec_t *ret) {
        char buffer[32];
        const char *text = word_of(value, buffer);

        return text && *text != '-' ? parse_timespan(text, ret) : -EINVAL;
}

int unit_timespan(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        usec_t span;

        if (span_of(value, &span) < 0 || span < (usec_t) property->min)
                return -EINVAL;
        return put_uint64(property, m, span);
}

/* In nanoseconds; a bare number is one of them. */
int unit_slack(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        char buffer[32];
        const char *text = word_of(value, buffer);
        uint64_t n;
        usec_t span;

        if (!text)
                return -EINVAL;
        if (unit_parse_count(text, &n) >= 0)
                return put_uint64(property, m, n);
        if (endswith(text, "ns")) {
                char *end;

                if (!isdigit((unsigned char) *text))
                        return -EINVAL;
                n = strtoull(text, &end, 10);
                return streq(end, "ns") ? put_uint64(property, m, n) : -EINVAL;
        }
        if (parse_timespan(text, &span) < 0 || span > UINT64_MAX / NSEC_PER_USEC)
                return -EINVAL;
        return put_uint64(property, m, span * NSEC_PER_USEC);
}

/* A part of one processor's time, as microseconds a second. */
int unit_quota(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        char buffer[32];
        const char *text = word_of(value, buffer);
        uint64_t n;

        if (!text)
                return -EINVAL;
        if (streq(text, "infinity"))
                return put_uint64(property, m, UINT64_MAX);
        if (parse_part(text, &n) < 0 || n == 0)
                return -EINVAL;
        return put_uint64(property, m, n * USEC_PER_SEC / 10000);
}

int unit_part(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        char buffer[32];
        const char *text = word_of(value, buffer);
        uint64_t n;

        if (!text || parse_part(text, &n) < 0 || n > 10000)
                return -EINVAL;
        return put_uint32(property, m, scale(n));
}

/* ---- Resource limits ------------------------------------------------------------------------------------------- */

typedef int (*ParseLimit)(const char *text, uint64_t *ret);

static int parse_bytes_limit(const char *text, uint64_t *ret) {
        return unit_parse_size(text, 1024, ret);
}

static int parse_seconds_limit(const char *text, uint64_t *ret) {
        usec_t span;

        if (*text == '-' || parse_timespan(text, &span) < 0 || span == USEC_INFINITY)
                return -EINVAL;
        *ret = (span + USEC_PER_SEC - 1) / USEC_PER_SEC;
        return 0;
}

static int parse_usec_limit(const char *text, uint64_t *ret) {
        usec_t span;

        if (unit_parse_count(text, ret) >= 0)
                return 0;
        if (*text == '-' || parse_timespan(text, &span) < 0 || span == USEC_INFINITY)
                return -EINVAL;
        *ret = span;
        return 0;
}

/* "+5" and "-5" are nice levels, 1 to 40 what the kernel has for them. */
static int parse_nice_limit(const char *text, uint64_t *ret) {
        long nice;
        char *end;

        if (*text != '+' && *text != '-')
                return unit_parse_count(text, ret) < 0 || *ret > 40 ? -EINVAL : 0;
        if (!isdigit((unsigned char) text[1]))
                return -EINVAL;
        nice = strtol(text, &end, 10);
        if (*end || nice < -20 || nice > 19)
                return -EINVAL;
        *ret = (uint64_t) (20 - nice);
        return 0;
}

static int parse_one_limit(const char *text, ParseLimit parse, uint64_t *ret) {
        if (!streq(text, "infinity"))
                return parse(text, ret);
        *ret = UINT64_MAX;
        return 0;
}

/* "SOFT:HARD", or one for both. */
static int put_rlimit(
        const UnitProperty *property, const json_t *value, ParseLimit parse, sd_bus_message *m) {
        char buffer[32], first[64], name[64];
        const char *text = word_of(value, buffer), *colon;
        uint64_t soft, hard;
        int r;

        if (!text || strlen(text) >= sizeof(first))
                return -EINVAL;
        colon = strchr(text, ':');
        (void) snprintf(first, sizeof(first), "%.*s", (int) strcspn(text, ":"), text);
        r = parse_one_limit(first, parse, &soft);
        hard = soft;
        if (r >= 0 && colon)
                r = parse_one_limit(colon + 1, parse, &hard);
        if (r < 0 || soft > hard)
                return -EINVAL;
        if (!m)
                return 0;
        r = sd_bus_message_append(m, "(sv)", unit_bus_name(property), "t", hard);
        if (r < 0)
                return r;
        (void) snprintf(name, sizeof(name), "%sSoft", unit_bus_name(property));
        return sd_bus_message_append(m, "(sv)", name, "t", soft);
}

int unit_rlimit_bytes(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return put_rlimit(property, value, parse_bytes_limit, m);
}

int unit_rlimit_number(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return put_rlimit(property, value, unit_parse_count, m);
}

int unit_rlimit_seconds(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return put_rlimit(property, value, parse_seconds_limit, m);
}

int unit_rlimit_usec(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return put_rlimit(property, value, parse_usec_limit, m);
}

int unit_rlimit_nice(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return put_rlimit(property, value, parse_nice_limit, m);
}

/* ---- Signals and errors ---------------------------------------------------------------------------------------- */

int unit_parse_signal(const char *text, int *ret) {
        const char *name = startswith(text, "SIG") ?: text, *rest;
        uint64_t n;

        rest = startswith(name, "RTMIN");
        if (rest) {
                if (!*rest)
                        n = 0;
                else if (*rest != '+' || unit_parse_count(rest + 1, &n) < 0)
                        return -EINVAL;
                if (n > (uint64_t) (SIGRTMAX - SIGRTMIN))
                        return -EINVAL;
                *ret = SIGRTMIN + (int) n;
                return 0;
        }
        if (unit_parse_count(name, &n) >= 0) {
                if (n < 1 || n > (uint64_t) SIGRTMAX)
                        return -EINVAL;
                *ret = (int) n;
                return 0;
        }
        for (int i = 1; i < SIGRTMIN; i++)
                if (sigabbrev_np(i) && streq(sigabbrev_np(i), name)) {
                        *ret = i;
                        return 0;
                }
        return -EINVAL;
}

int unit_signal(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        char buffer[32];
        const char *text = word_of(value, buffer);
        int n;

        return text && unit_parse_signal(text, &n) >= 0 ? put_int32(property, m, n) : -EINVAL;
}

int unit_errno(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        char buffer[32];
        const char *text = word_of(value, buffer);
        uint64_t n;

        if (!text)
                return -EINVAL;
        /* Source: SECCOMP_ERROR_NUMBER_KILL of systemd's src/shared/seccomp-util.h */
        if (streq(text, "kill"))
                return put_int32(property, m, INT_MAX - 1);
        if (unit_parse_count(text, &n) >= 0)
                return n > 0 && n <= 4095 ? put_int32(property, m, (int32_t) n) : -EINVAL;
        for (int i = 1; i < 200; i++)
                if (strerrorname_np(i) && streq(strerrorname_np(i), text))
                        return put_int32(property, m, i);
        return -EINVAL;
}
