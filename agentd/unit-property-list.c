/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Forms of properties that are several words: an array, or one string with white space between them. */

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>

#include "unit-property-internal.h"

#define WORDS_MAX 4096U
#define CPUS_MAX  8192U

typedef struct Words {
        char **words; /* ended by NULL */
        size_t n;
} Words;

static void words_done(Words *words) {
        for (size_t i = 0; i < words->n; i++)
                free(words->words[i]);
        free(words->words);
}

static int add_word(Words *words, const char *text, size_t size) {
        char *copy;

        if (words->n >= WORDS_MAX || memchr(text, '\0', size) || memchr(text, '\n', size))
                return -EINVAL;
        if ((words->n & (words->n + 1)) == 0) {
                char **grown = reallocarray(words->words, 2 * words->n + 2, sizeof(char *));

                if (!grown)
                        return -ENOMEM;
                words->words = grown;
        }
        copy = strndup(text, size);
        if (!copy)
                return -ENOMEM;
        words->words[words->n++] = copy;
        words->words[words->n] = NULL;
        return 0;
}

/* split: at the white space of a string that is no item of an array. An empty array is a list of nothing. */
static int words_of(const json_t *value, bool split, Words *words) {
        const json_t *item;
        char buffer[32];
        size_t i;
        int r;

        words->words = calloc(1, sizeof(char *));
        if (!words->words)
                return -ENOMEM;
        if (json_is_array(value)) {
                json_array_foreach(value, i, item) {
                        const char *text = buffer;
                        size_t size;

                        if (json_is_string(item)) {
                                text = json_string_value(item);
                                size = json_string_length(item);
                        } else if (json_is_integer(item))
                                size = (size_t) snprintf(buffer, sizeof(buffer), "%" JSON_INTEGER_FORMAT,
                                        json_integer_value(item));
                        else
                                return -EINVAL;
                        r = size == 0 ? -EINVAL : add_word(words, text, size);
                        if (r < 0)
                                return r;
                }
                return 0;
        }
        if (json_is_integer(value)) {
                (void) snprintf(buffer, sizeof(buffer), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
                return add_word(words, buffer, strlen(buffer));
        }
        if (!json_is_string(value) || json_string_length(value) == 0)
                return -EINVAL;
        if (!split)
                return add_word(words, json_string_value(value), json_string_length(value));
        if (strlen(json_string_value(value)) != json_string_length(value))
                return -EINVAL;
        for (const char *p = json_string_value(value); *p;) {
                size_t n;

                p += strspn(p, " \t\n");
                n = strcspn(p, " \t\n");
                if (n > 0) {
                        r = add_word(words, p, n);
                        if (r < 0)
                                return r;
                }
                p += n;
        }
        return words->n > 0 ? 0 : -EINVAL;
}

/* One entry of a list of structs. Return: 0; -EINVAL. m may be NULL. */
typedef int (*AppendOne)(const UnitProperty *property, const char *word, sd_bus_message *m);

static int append_each(const UnitProperty *property, const json_t *value, bool split, const char *type,
        AppendOne append, sd_bus_message *m) {
        _cleanup_(words_done) Words words = {};
        char array[32];
        int r;

        r = words_of(value, split, &words);
        for (size_t i = 0; i < words.n && r >= 0; i++)
                r = append(property, words.words[i], NULL);
        if (r < 0 || !m)
                return r;

        (void) snprintf(array, sizeof(array), "a%s", type);
        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", unit_bus_name(property));
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', array);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', type);
        for (size_t i = 0; i < words.n && r >= 0; i++)
                r = append(property, words.words[i], m);
        for (int i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

/* ---- Plain words ----------------------------------------------------------------------------------------------- */

static int append_word(const UnitProperty *property, const char *word, sd_bus_message *m) {
        int64_t unused;

        if (property->words && unit_find_word(property->words, word, &unused) < 0)
                return -EINVAL;
        return m ? sd_bus_message_append(m, "s", word) : 0;
}

int unit_words(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, true, "s", append_word, m);
}

static int append_path(const UnitProperty *property, const char *word, sd_bus_message *m) {
        const char *path = word;

        path += *path == '-';
        path += *path == '+';
        return unit_path_is_good(path) ? append_word(property, word, m) : -EINVAL;
}

int unit_paths(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, true, "s", append_path, m);
}

static int append_plain_path(const UnitProperty *property, const char *word, sd_bus_message *m) {
        return unit_path_is_good(word) ? append_word(property, word, m) : -EINVAL;
}

int unit_plain_paths(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, true, "s", append_plain_path, m);
}

static int append_directory(const UnitProperty *property, const char *word, sd_bus_message *m) {
        char absolute[4096];

        if (*word == '/' || strchr(word, ':') ||
                snprintf(absolute, sizeof(absolute), "/%s", word) >= (int) sizeof(absolute) ||
                !unit_path_is_good(absolute))
                return -EINVAL;
        return append_word(property, word, m);
}

int unit_directories(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, true, "s", append_directory, m);
}

static int append_unit(const UnitProperty *property, const char *word, sd_bus_message *m) {
        static const char *const suffixes[] = { ".service", ".socket", ".target", ".device", ".mount",
                ".automount", ".swap", ".timer", ".path", ".slice", ".scope" };

        if (strlen(word) > 255 ||
                strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@") !=
                        strlen(word))
                return -EINVAL;
        FOREACH_ELEMENT(suffix, suffixes)
                if (endswith(word, *suffix) && strlen(word) > strlen(*suffix))
                        return append_word(property, word, m);
        return -EINVAL;
}

int unit_units(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, true, "s", append_unit, m);
}

/* ---- Environment ----------------------------------------------------------------------------------------------- */

static size_t name_length(const char *word) {
        size_t n = 0;

        while (isalnum((unsigned char) word[n]) || word[n] == '_')
                n++;
        return isdigit((unsigned char) *word) ? 0 : n;
}

static int append_variable(const UnitProperty *property, const char *word, sd_bus_message *m) {
        size_t n = name_length(word);

        return n > 0 && word[n] == '=' ? append_word(property, word, m) : -EINVAL;
}

/* A value may have white space in it: a string is one of them. */
int unit_variables(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, false, "s", append_variable, m);
}

static int append_variable_name(const UnitProperty *property, const char *word, sd_bus_message *m) {
        size_t n = name_length(word);

        return n > 0 && word[n] == '\0' ? append_word(property, word, m) : -EINVAL;
}

int unit_variable_names(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, true, "s", append_variable_name, m);
}

static int append_file(_unused_ const UnitProperty *property, const char *word, sd_bus_message *m) {
        bool optional = *word == '-';

        word += optional;
        if (!unit_path_is_good(word))
                return -EINVAL;
        return m ? sd_bus_message_append(m, "(sb)", word, (int) optional) : 0;
}

int unit_files(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, true, "(sb)", append_file, m);
}

/* ---- Mounts and credentials ------------------------------------------------------------------------------------ */

/* SOURCE[:DESTINATION[:rbind|norbind]], with a "-" before what may be missing. */
static int append_bind(_unused_ const UnitProperty *property, const char *word, sd_bus_message *m) {
        _cleanup_free_ char *copy = strdup(word);
        char *source, *destination, *options;
        uint64_t flags = MS_REC;
        bool optional;

        if (!copy)
                return -ENOMEM;
        optional = *copy == '-';
        destination = copy + optional;
        source = strsep(&destination, ":");
        options = destination;
        if (options)
                destination = strsep(&options, ":");
        if (!destination || !*destination)
                destination = source;
        if (options && streq(options, "norbind"))
                flags = 0;
        else if (options && !streq(options, "rbind"))
                return -EINVAL;
        if (!unit_path_is_good(source) || !unit_path_is_good(destination))
                return -EINVAL;
        return m ? sd_bus_message_append(m, "(ssbt)", source, destination, (int) optional, flags) : 0;
}

int unit_binds(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, true, "(ssbt)", append_bind, m);
}

/* LEFT[:RIGHT]; to be freed. */
static int split_at_colon(const char *word, char **ret_left, const char **ret_right) {
        size_t n = strcspn(word, ":");

        *ret_left = strndup(word, n);
        *ret_right = word[n] ? word + n + 1 : "";
        return *ret_left ? 0 : -ENOMEM;
}

static int append_tmpfs(_unused_ const UnitProperty *property, const char *word, sd_bus_message *m) {
        _cleanup_free_ char *path = NULL;
        const char *options;
        int r;

        r = split_at_colon(word, &path, &options);
        if (r < 0)
                return r;
        if (!unit_path_is_good(path))
                return -EINVAL;
        return m ? sd_bus_message_append(m, "(ss)", path, options) : 0;
}

int unit_tmpfs(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, true, "(ss)", append_tmpfs, m);
}

/* A credential becomes a file of this name. */
static bool is_file_name(const char *name) {
        return *name && !strchr(name, '/') && !streq(name, ".") && !streq(name, "..") && strlen(name) < 256;
}

static int append_credential(_unused_ const UnitProperty *property, const char *word, sd_bus_message *m) {
        _cleanup_free_ char *id = NULL;
        const char *path;
        int r;

        r = split_at_colon(word, &id, &path);
        if (r < 0)
                return r;
        if (!is_file_name(id) || (*path == '/' ? !unit_path_is_good(path) : *path && !is_file_name(path)))
                return -EINVAL;
        return m ? sd_bus_message_append(m, "(ss)", id, *path ? path : id) : 0;
}

int unit_credentials(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, true, "(ss)", append_credential, m);
}

static int append_set_credential(
        _unused_ const UnitProperty *property, const char *word, sd_bus_message *m) {
        _cleanup_free_ char *id = NULL;
        const char *text;
        int r;

        r = split_at_colon(word, &id, &text);
        if (r < 0)
                return r;
        if (!is_file_name(id) || !strchr(word, ':'))
                return -EINVAL;
        if (!m)
                return 0;
        r = sd_bus_message_open_container(m, 'r', "say");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", id);
        if (r >= 0)
                r = sd_bus_message_append_array(m, 'y', text, strlen(text));
        return r < 0 ? r : sd_bus_message_close_container(m);
}

int unit_set_credentials(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, false, "(say)", append_set_credential, m);
}

/* ---- Restrictions and masks ------------------------------------------------------------------------------------ */

/* "~" before the first word means all but these. Return: 0; -errno. */
static int restriction_of(const json_t *value, Words *words, bool *ret_inverted) {
        int r = words_of(value, true, words);

        if (r < 0)
                return r;
        *ret_inverted = words->n > 0 && *words->words[0] == '~';
        if (!*ret_inverted)
                return 0;
        memmove(words->words[0], words->words[0] + 1, strlen(words->words[0]));
        if (*words->words[0])
                return 0;
        /* It stood by itself: "~ A B", or "~" for all. */
        free(words->words[0]);
        memmove(words->words, words->words + 1, words->n * sizeof(char *));
        words->n--;
        return 0;
}

/* What words look like is enough here; whether the kernel knows them is systemd's to say. property->words are whole words (0) and
 * beginnings of words (1), of which the first letter is a small one (2). */
static bool is_restricted_word(const UnitProperty *property, const char *word) {
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@-:.";
        size_t n = strlen(word);

        if (n == 0 || strspn(word, letters) != n || strchr("-:.", *word) || streq(word, "@"))
                return false;
        for (const UnitWord *w = property->words; w && w->word; w++)
                if (w->value == 0 ? streq(word, w->word)
                                  : startswith(word, w->word) && n > strlen(w->word) &&
                                            (w->value == 1 ||
                                                    !strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", *word)))
                        return true;
        return false;
}

int unit_restriction(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        _cleanup_(words_done) Words words = {};
        bool inverted;
        int r;

        r = restriction_of(value, &words, &inverted);
        for (size_t i = 0; i < words.n && r >= 0; i++)
                if (!is_restricted_word(property, words.words[i]))
                        r = -EINVAL;
        if (r < 0 || !m)
                return r;

        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", unit_bus_name(property));
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "(bas)");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'r', "bas");
        if (r >= 0)
                r = sd_bus_message_append(m, "b", (int) !inverted);
        if (r >= 0)
                r = sd_bus_message_append_strv(m, words.words);
        for (int i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

static int mask_of(const UnitProperty *property, const json_t *value, uint64_t all, uint64_t *ret) {
        _cleanup_(words_done) Words words = {};
        uint64_t mask = 0;
        bool inverted;
        int r;

        r = restriction_of(value, &words, &inverted);
        if (r < 0)
                return r;
        for (size_t i = 0; i < words.n; i++) {
                int64_t bits;

                if (unit_find_word(property->words, words.words[i], &bits) < 0)
                        return -EINVAL;
                mask |= (uint64_t) bits;
        }
        if (inverted && all == 0)
                return -EINVAL;
        *ret = inverted ? all & ~mask : mask;
        return 0;
}

static uint64_t all_bits(const UnitProperty *property) {
        uint64_t all = 0;

        for (const UnitWord *w = property->words; w->word; w++)
                all |= (uint64_t) w->value;
        return all;
}

int unit_mask(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        uint64_t mask;
        int r = mask_of(property, value, property->max ? all_bits(property) : 0, &mask);

        if (r < 0 || !m)
                return r;
        return sd_bus_message_append(m, "(sv)", unit_bus_name(property), "t", mask);
}

int unit_mask32(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        uint64_t mask;
        int r = mask_of(property, value, 0, &mask);

        if (r < 0 || !m)
                return r;
        return sd_bus_message_append(m, "(sv)", unit_bus_name(property), "i", (int32_t) mask);
}

/* True: none may be made; otherwise those that may. */
int unit_namespaces(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        uint64_t all = all_bits(property), mask;
        int r = 0;

        if (json_is_boolean(value))
                mask = json_is_true(value) ? 0 : all;
        else
                r = mask_of(property, value, all, &mask);
        if (r < 0 || !m)
                return r;
        return sd_bus_message_append(m, "(sv)", unit_bus_name(property), "t", mask);
}

/* ---- Processors ------------------------------------------------------------------------------------------------ */

/* "3" or "0-3", also with commas between. */
static int add_cpus(char *word, uint8_t *mask, size_t *max) {
        for (char *part; (part = strsep(&word, ","));) {
                char *last = strchr(part, '-');
                uint64_t a, b;

                if (last)
                        *last++ = '\0';
                if (unit_parse_count(part, &a) < 0 || unit_parse_count(last ?: part, &b) < 0 || a > b ||
                        b >= CPUS_MAX)
                        return -EINVAL;
                for (; a <= b; a++)
                        mask[a / 8] |= (uint8_t) (1U << a % 8);
                *max = MAX(*max, (size_t) b / 8 + 1);
        }
        return 0;
}

int unit_cpus(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        _cleanup_(words_done) Words words = {};
        uint8_t mask[CPUS_MAX / 8] = {};
        size_t max = 0;
        int r;

        r = words_of(value, true, &words);
        for (size_t i = 0; i < words.n && r >= 0; i++)
                r = add_cpus(words.words[i], mask, &max);
        if (r < 0 || !m)
                return r;
        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", unit_bus_name(property));
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "ay");
        if (r >= 0)
                r = sd_bus_message_append_array(m, 'y', mask, max);
        for (int i = 0; i < 2 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

int unit_delegate(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        static const char controllers[] = "DelegateControllers";
        UnitProperty list = *property;

        if (json_is_boolean(value))
                return m ? sd_bus_message_append(m, "(sv)", property->name, "b", (int) json_is_true(value))
                         : 0;
        list.bus_name = controllers;
        return unit_words(&list, value, m);
}

/* ---- Devices --------------------------------------------------------------------------------------------------- */

/* "DEVICE REST"; one that has no rest has an empty one. */
static int split_at_space(const char *word, char **ret_device, const char **ret_rest) {
        size_t n = strcspn(word, " \t");

        *ret_device = strndup(word, n);
        *ret_rest = word + n + strspn(word + n, " \t");
        return *ret_device ? 0 : -ENOMEM;
}

static int append_device(_unused_ const UnitProperty *property, const char *word, sd_bus_message *m) {
        _cleanup_free_ char *device = NULL;
        const char *rights;
        int r;

        r = split_at_space(word, &device, &rights);
        if (r < 0)
                return r;
        if (*device == '/' ? !unit_path_is_good(device)
                           : !startswith(device, "char-") && !startswith(device, "block-"))
                return -EINVAL;
        if (strlen(rights) > 3 || strspn(rights, "rwm") != strlen(rights))
                return -EINVAL;
        return m ? sd_bus_message_append(m, "(ss)", device, *rights ? rights : "rwm") : 0;
}

int unit_devices(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, false, "(ss)", append_device, m);
}

static int append_device_number(const char *word, uint64_t min, uint64_t max,
        int (*parse)(const char *, uint64_t *), sd_bus_message *m) {
        _cleanup_free_ char *device = NULL;
        const char *text;
        uint64_t n;
        int r;

        r = split_at_space(word, &device, &text);
        if (r < 0)
                return r;
        if (!unit_path_is_good(device) || parse(text, &n) < 0 || n < min || n > max)
                return -EINVAL;
        return m ? sd_bus_message_append(m, "(st)", device, n) : 0;
}

/* Bandwidth goes in powers of 1000. Source: systemd.resource-control(5), "IOReadBandwidthMax=". */
static int parse_bandwidth(const char *text, uint64_t *ret) {
        if (!streq(text, "infinity"))
                return unit_parse_size(text, 1000, ret);
        *ret = UINT64_MAX;
        return 0;
}

static int parse_span(const char *text, uint64_t *ret) {
        return *text == '-' ? -EINVAL : parse_timespan(text, ret);
}

static int append_device_bytes(_unused_ const UnitProperty *property, const char *word, sd_bus_message *m) {
        return append_device_number(word, 1, UINT64_MAX, parse_bandwidth, m);
}

int unit_device_bytes(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, false, "(st)", append_device_bytes, m);
}

static int append_device_weight(_unused_ const UnitProperty *property, const char *word, sd_bus_message *m) {
        return append_device_number(word, 1, 10000, unit_parse_count, m);
}

int unit_device_weight(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, false, "(st)", append_device_weight, m);
}

static int append_device_timespan(
        _unused_ const UnitProperty *property, const char *word, sd_bus_message *m) {
        return append_device_number(word, 1, UINT64_MAX, parse_span, m);
}

int unit_device_timespan(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, false, "(st)", append_device_timespan, m);
}

/* ---- Network --------------------------------------------------------------------------------------------------- */

static int append_prefix(int family, const char *address, unsigned bits, sd_bus_message *m) {
        uint8_t bytes[sizeof(struct in6_addr)];
        int r;

        if (inet_pton(family, address, bytes) != 1)
                return -EINVAL;
        if (!m)
                return 0;
        r = sd_bus_message_open_container(m, 'r', "iayu");
        if (r >= 0)
                r = sd_bus_message_append(m, "i", (int32_t) family);
        if (r >= 0)
                r = sd_bus_message_append_array(m, 'y', bytes, family == AF_INET ? 4 : 16);
        if (r >= 0)
                r = sd_bus_message_append(m, "u", (uint32_t) bits);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_address(_unused_ const UnitProperty *property, const char *word, sd_bus_message *m) {
        /* Source: systemd.resource-control(5), "Special address/network names". */
        static const struct {
                const char *word, *v4;
                unsigned v4_bits;
                const char *v6;
                unsigned v6_bits;
        } names[] = {
                { "any", "0.0.0.0", 0, "::", 0 },
                { "localhost", "127.0.0.0", 8, "::1", 128 },
                { "link-local", "169.254.0.0", 16, "fe80::", 64 },
                { "multicast", "224.0.0.0", 4, "ff00::", 8 },
        };
        _cleanup_free_ char *address = NULL;
        size_t n = strcspn(word, "/");
        uint64_t bits;
        int family, r;

        FOREACH_ELEMENT(name, names)
                if (streq(name->word, word)) {
                        r = append_prefix(AF_INET, name->v4, name->v4_bits, m);
                        return r < 0 ? r : append_prefix(AF_INET6, name->v6, name->v6_bits, m);
                }
        address = strndup(word, n);
        if (!address)
                return -ENOMEM;
        family = strchr(address, ':') ? AF_INET6 : AF_INET;
        bits = family == AF_INET ? 32 : 128;
        if (word[n]) {
                uint64_t wanted;

                if (unit_parse_count(word + n + 1, &wanted) < 0 || wanted > bits)
                        return -EINVAL;
                bits = wanted;
        }
        return append_prefix(family, address, (unsigned) bits, m);
}

int unit_addresses(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, true, "(iayu)", append_address, m);
}

/* [ipv4:|ipv6:][tcp:|udp:]PORT, A-B or any */
static int append_port(_unused_ const UnitProperty *property, const char *word, sd_bus_message *m) {
        int32_t family = AF_UNSPEC, protocol = 0;
        const char *rest = word, *p;
        uint64_t first, last;
        uint16_t n = 0, min = 0;

        if ((p = startswith(rest, "ipv4:")))
                family = AF_INET;
        else if ((p = startswith(rest, "ipv6:")))
                family = AF_INET6;
        rest = p ?: rest;
        if ((p = startswith(rest, "tcp:")))
                protocol = IPPROTO_TCP;
        else if ((p = startswith(rest, "udp:")))
                protocol = IPPROTO_UDP;
        rest = p ?: rest;
        if (!streq(rest, "any")) {
                char text[16];
                size_t k = strcspn(rest, "-");

                if (strlen(rest) >= sizeof(text))
                        return -EINVAL;
                (void) snprintf(text, sizeof(text), "%.*s", (int) k, rest);
                if (unit_parse_count(text, &first) < 0 || first < 1 || first > UINT16_MAX)
                        return -EINVAL;
                last = first;
                if (rest[k] &&
                        (unit_parse_count(rest + k + 1, &last) < 0 || last < first || last > UINT16_MAX))
                        return -EINVAL;
                n = (uint16_t) (last - first + 1);
                min = (uint16_t) first;
        }
        return m ? sd_bus_message_append(m, "(iiqq)", family, protocol, n, min) : 0;
}

int unit_ports(const UnitProperty *property, const json_t *value, sd_bus_message *m) {
        return append_each(property, value, true, "(iiqq)", append_port, m);
}
