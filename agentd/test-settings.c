/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* agentd.toml by the whole loader, in a tree of --root; and what the engine is told of a load besides the image. */

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <syslog.h>

#include "loader.h"
#include "log.h"
#include "message.h"
#include "test.h"

#define MAIN    "etc/agentd/agentd.toml"
#define DROP_IN "etc/agentd/agentd.toml.d/"

static char root[64];
static Image *image; /* of the last load; NULL if it failed */
static char *errors, *warnings;
static char **files; /* of load_files(): "!" before those not there, "/" after directories */
static size_t n_files;

/* ---- Files ----------------------------------------------------------------------------------------------------- */

static int on_remove(
        const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *ftw) {
        return remove(path);
}

/* The path below the root, with the directories above it made. Valid until the next but fifteen. */
static const char *in(const char *path) {
        static char buffers[16][PATH_MAX];
        static unsigned next;
        char *full = buffers[next++ % ELEMENTSOF(buffers)];

        (void) snprintf(full, PATH_MAX, "%s/%s", root, path);
        for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
                *p = 0;
                (void) mkdir(full, 0755);
                *p = '/';
        }
        return full;
}

static void put_sized(const char *path, const char *text, size_t size) {
        _cleanup_close_ int fd = open(in(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        assert_true(fd >= 0);
        ASSERT_OK(write_full(fd, text, size));
}

static void put(const char *path, const char *text) {
        put_sized(path, text, strlen(text));
}

static void clear(const char *path) {
        (void) nftw(in(path), on_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- Loading --------------------------------------------------------------------------------------------------- */

static void forget(void) {
        image = image_unref(image);
        free(TAKE_PTR(errors));
        free(TAKE_PTR(warnings));
        for (size_t i = 0; i < n_files; i++)
                free(files[i]);
        free(TAKE_PTR(files));
        n_files = 0;
}

typedef struct Loading {
        sd_event *event;
        Load *load;
} Loading;

static void on_loaded(void *userdata, Image *loaded, json_t *diagnostics) {
        Loading *loading = userdata;
        const LoadFile *list;
        json_t *item;
        size_t i, size;
        FILE *f;

        image = loaded ? image_ref(loaded) : NULL;
        f = open_memstream(&errors, &size);
        json_array_foreach(diagnostics, i, item) {
                _cleanup_free_ char *line = load_diagnostic_to_string(item);

                (void) fprintf(f, "%s%s", i > 0 ? "\n" : "", line);
        }
        (void) fclose(f);

        f = open_memstream(&warnings, &size);
        json_array_foreach(load_warnings(loading->load), i, item)(void)
                fprintf(f, "%s%s", i > 0 ? "\n" : "", json_string_value(item));
        (void) fclose(f);

        n_files = load_files(loading->load, &list);
        files = calloc(n_files + 1, sizeof(char *));
        for (i = 0; i < n_files; i++)
                assert_true(asprintf(&files[i], "%s%s%s", list[i].identity.inode == 0 ? "!" : "",
                                    list[i].path, list[i].is_directory ? "/" : "") > 0);
        ASSERT_OK(sd_event_exit(loading->event, 0));
}

static LoadOptions usual(void) {
        static char modules[PATH_MAX];

        (void) snprintf(modules, sizeof(modules), "%s", in("modules"));
        return (LoadOptions){ .root = root, .module_dir = modules };
}

static void load_with(const LoadOptions *options) {
        static const LoadHandlers handlers = { .on_loaded = on_loaded };
        Loading loading = {};

        forget();
        ASSERT_OK(sd_event_new(&loading.event) < 0);
        ASSERT_OK(load_start(loading.event, options, &handlers, &loading, &loading.load));
        ASSERT_OK(sd_event_loop(loading.event));
        load_free(loading.load);
        sd_event_unref(loading.event);
}

static void load(void) {
        const LoadOptions options = usual();

        load_with(&options);
}

static const Settings *loads(void) {
        load();
        if (!image || *errors)
                fail_msg("not loaded:\n%s", errors);
        return &image->header->settings;
}

static bool was_told_of(const char *path) {
        for (size_t i = 0; i < n_files; i++)
                if (streq(files[i], path))
                        return true;
        return false;
}

static int setup(_unused_ void **state) {
        static const char *const modules[] = { "kinds.so", "odd.so" };
        sigset_t child;

        (void) sigemptyset(&child);
        (void) sigaddset(&child, SIGCHLD);
        ASSERT_OK(sigprocmask(SIG_BLOCK, &child, NULL));
        log_set_max_level(LOG_EMERG);
        (void) snprintf(root, sizeof(root), "/tmp/test-settings-XXXXXX");
        assert_non_null(mkdtemp(root));
        FOREACH_ELEMENT(name, modules) {
                char target[PATH_MAX], link[64];

                (void) snprintf(target, sizeof(target), "%s/%s", getenv("TEST_MODULE_DIR"), *name);
                (void) snprintf(link, sizeof(link), "modules/%s", *name);
                ASSERT_OK(symlink(target, in(link)));
        }
        return 0;
}

static int teardown(_unused_ void **state) {
        forget();
        (void) nftw(root, on_remove, 16, FTW_DEPTH | FTW_PHYS);
        return 0;
}

/* ---- The table ------------------------------------------------------------------------------------------------- */

TEST(defaults_are_valid_and_documented) {
        ASSERT_NULL(settings_validate(&settings_default));
        for (size_t i = 0; i < settings_table_n; i++) {
                const Setting *setting = &settings_table[i];

                ASSERT_TRUE(setting->summary && setting->text && setting->since);
                ASSERT_TRUE(endswith(setting->text, ".") && !endswith(setting->summary, "."));
                ASSERT_TRUE((setting->kind == SETTING_WORD) == (setting->words != NULL));
                ASSERT_TRUE(setting->min <= setting->max && setting->offset < sizeof(Settings));
                for (size_t k = 0; k < i; k++)
                        ASSERT_TRUE(setting->offset != settings_table[k].offset &&
                                    !streq(setting->name, settings_table[k].name));
        }
        ASSERT_EQ(settings_table_n, sizeof(Settings) / sizeof(uint64_t));
}

TEST(each_value_has_its_limits) {
        for (size_t i = 0; i < settings_table_n; i++) {
                const Setting *setting = &settings_table[i];
                Settings settings = settings_default;
                uint64_t *value = setting_value(setting, &settings);

                *value = setting->min;
                ASSERT_NULL(settings_validate(&settings));
                *value = setting->max;
                ASSERT_NULL(settings_validate(&settings));
                *value = setting->max + 1;
                ASSERT_STREQ(settings_validate(&settings), setting->name);
                if (setting->min > 0) {
                        *value = setting->min - 1;
                        ASSERT_STREQ(settings_validate(&settings), setting->name);
                }
                *value = UINT64_MAX;
                ASSERT_EQ(!settings_validate(&settings), setting->infinity);
        }
}

/* ---- Good input ------------------------------------------------------------------------------------------------ */

TEST(nothing_is_the_default) {
        assert_memory_equal(loads(), &settings_default, sizeof(Settings));
        put(MAIN, "# nothing\n[store]\n");
        assert_memory_equal(loads(), &settings_default, sizeof(Settings));
        ASSERT_STREQ(warnings, "");
}

TEST(values) {
        static const Settings expected = {
                .interval_usec = 90 * USEC_PER_MINUTE,
                .jitter_usec = 0,
                .audit = 1,
                .max_changes = 10,
                .workers = 64,
                .log_level = LOG_DEBUG,
                .store_size_bytes = GIB(1),
                .store_age_usec = 48 * 60 * USEC_PER_MINUTE,
                .store_content_bytes = 0,
                .store_content_file_bytes = MIB(1),
                .facts_deadline_usec = 1500 * USEC_PER_MSEC,
                .watches_max = 1000,
        };
        const Settings *settings;

        put(MAIN, "interval = \"1h 30min\"\njitter = 0\nmode = \"audit\"\nmax_changes = 10\nworkers = 64\n"
                  "log_level = \"debug\"\nfacts_deadline = \"1.5s\"\nwatches_max = 1_000\n"
                  "[store]\nsize = \"1G\"\nage = \"2d\"\ncontent = \"0\"\ncontent_file = \"1024K\"\n");
        assert_memory_equal(loads(), &expected, sizeof(Settings));

        put(MAIN, "interval = \"infinity\"\nmax_changes = \"infinity\"\nstore.age = \"infinity\"\n"
                  "store = { }\n");
        load();
        ASSERT_NULL(image); /* TOML: `store` is there already */
        put(MAIN, "interval = \"infinity\"\nmax_changes = \"infinity\"\nstore.age = \"infinity\"\n");
        settings = loads();
        ASSERT_TRUE(settings->interval_usec == USEC_INFINITY && settings->max_changes == UINT64_MAX &&
                    settings->store_age_usec == USEC_INFINITY);

        /* A number of seconds is a span, as it is in roles. */
        put(MAIN, "interval = 60\nmax_changes = 0\nstore = { size = \"2048KiB\" }\n");
        settings = loads();
        ASSERT_TRUE(settings->interval_usec == USEC_PER_MINUTE && settings->max_changes == 0 &&
                    settings->store_size_bytes == MIB(2));
        ASSERT_STREQ(warnings, "");
}

/* ---- Bad input ------------------------------------------------------------------------------------------------- */

#define PATH "/" MAIN

TEST(bad_values) {
        static const struct {
                const char *text, *errors;
        } cases[] = {
                { "interval = \"0s\"\n",
                        ":1:12: error: 'interval' is '0s'; it must be a time span from 1s to 365d, or "
                        "\"infinity\"" },
                { "interval = \"999ms\"\n",
                        ":1:12: error: 'interval' is '999ms'; it must be a time span from 1s to 365d, or "
                        "\"infinity\"" },
                { "interval = \"366d\"\n",
                        ":1:12: error: 'interval' is '366d'; it must be a time span from 1s to 365d, or "
                        "\"infinity\"" },
                { "interval = \"soon\"\n",
                        ":1:12: error: 'interval' is 'soon'; it must be a time span from 1s to 365d, or "
                        "\"infinity\"" },
                { "interval = \"\"\n", ":1:12: error: 'interval' is ''; it must be a time span from 1s to "
                                       "365d, or \"infinity\"" },
                { "interval = \"-5min\"\n",
                        ":1:12: error: 'interval' is '-5min'; it must be a time span from 1s to 365d, or "
                        "\"infinity\"" },
                { "interval = \"5min\\u0000\"\n",
                        ":1:12: error: 'interval' has a NUL in it; it must be a time span from 1s to 365d, "
                        "or \"infinity\"" },
                { "interval = \"infinity\\u0000\"\n",
                        ":1:12: error: 'interval' has a NUL in it; it must be a time span from 1s to 365d, "
                        "or \"infinity\"" },
                { "interval = 0\n", ":1:12: error: 'interval' is 0; it must be a time span from 1s to 365d, "
                                    "or \"infinity\"" },
                { "interval = -1\n", ":1:12: error: 'interval' is -1; it must be a time span from 1s to "
                                     "365d, or \"infinity\"" },
                { "interval = 9223372036854775807\n",
                        ":1:12: error: 'interval' is 9223372036854775807; it must be a time span from 1s to "
                        "365d, or \"infinity\"" },
                { "interval = 1.5\n", ":1:12: error: 'interval' is a float; it must be a time span from 1s "
                                      "to 365d, or \"infinity\"" },
                { "interval = inf\n", ":1:12: error: 'interval' is a float; it must be a time span from 1s "
                                      "to 365d, or \"infinity\"" },
                { "interval = true\n", ":1:12: error: 'interval' is a boolean; it must be a time span from "
                                       "1s to 365d, or \"infinity\"" },
                { "interval = [\"5min\"]\n",
                        ":1:12: error: 'interval' is an array; it must be a time span from 1s to 365d, or "
                        "\"infinity\"" },
                { "[interval]\n", ":1:1: error: 'interval' is a table; it must be a time span from 1s to "
                                  "365d, or \"infinity\"" },
                { "jitter = \"infinity\"\n", ":1:10: error: 'jitter' is 'infinity'; it must be a time span "
                                             "from 0s to 365d" },
                { "mode = \"adit\"\n",
                        ":1:8: error: 'mode' is 'adit'; did you mean 'audit'? (one of apply, audit)" },
                { "mode = \"off\"\n", ":1:8: error: 'mode' is 'off'; it must be one of apply, audit" },
                { "mode = \"Audit\"\n",
                        ":1:8: error: 'mode' is 'Audit'; did you mean 'audit'? (one of apply, audit)" },
                { "mode = \"audit\\u0000\"\n",
                        ":1:8: error: 'mode' has a NUL in it; it must be one of apply, audit" },
                { "mode = 1\n", ":1:8: error: 'mode' is an integer; it must be one of apply, audit" },
                { "max_changes = -1\n", ":1:15: error: 'max_changes' is -1; it must be an integer from 0 to "
                                        "1000000, or \"infinity\"" },
                { "max_changes = 1000001\n", ":1:15: error: 'max_changes' is 1000001; it must be an integer "
                                             "from 0 to 1000000, or "
                                             "\"infinity\"" },
                { "max_changes = \"10\"\n",
                        ":1:15: error: 'max_changes' is '10'; it must be an integer from 0 to 1000000, or "
                        "\"infinity\"" },
                { "max_changes = 1.0\n", ":1:15: error: 'max_changes' is a float; it must be an integer "
                                         "from 0 to 1000000, or \"infinity\"" },
                { "workers = 65\n", ":1:11: error: 'workers' is 65; it must be an integer from 0 to 64" },
                { "workers = \"infinity\"\n",
                        ":1:11: error: 'workers' is a string; it must be an integer from 0 to 64" },
                { "log_level = \"warn\"\n", ":1:13: error: 'log_level' is 'warn'; it must be one of error, "
                                            "warning, notice, info, debug" },
                { "log_level = \"noticed\"\n",
                        ":1:13: error: 'log_level' is 'noticed'; did you mean 'notice'? (one of error, "
                        "warning, notice, info, debug)" },
                { "log_level = 7\n", ":1:13: error: 'log_level' is an integer; it must be one of error, "
                                     "warning, notice, info, debug" },
                { "facts_deadline = \"31s\"\n", ":1:18: error: 'facts_deadline' is '31s'; it must be a time "
                                                "span from 100ms to 30s" },
                { "facts_deadline = \"99ms\"\n",
                        ":1:18: error: 'facts_deadline' is '99ms'; it must be a time span from 100ms to "
                        "30s" },
                { "watches_max = 15\n",
                        ":1:15: error: 'watches_max' is 15; it must be an integer from 16 to 10000000" },
                { "[store]\nsize = 64\n",
                        ":2:8: error: 'store.size' is an integer; it must be a size from 1M to 1T" },
                { "[store]\nsize = \"64\"\n",
                        ":2:8: error: 'store.size' is '64'; it must be a size from 1M to 1T" },
                { "[store]\nsize = \"2T\"\n",
                        ":2:8: error: 'store.size' is '2T'; it must be a size from 1M to 1T" },
                { "[store]\nsize = \"99999999999999999999\"\n",
                        ":2:8: error: 'store.size' is '99999999999999999999'; it must be a size from 1M to "
                        "1T" },
                { "[store]\nsize = \"infinity\"\n",
                        ":2:8: error: 'store.size' is 'infinity'; it must be a size from 1M to 1T" },
                { "[store]\nage = \"59min\"\n", ":2:7: error: 'store.age' is '59min'; it must be a time "
                                                "span from 1h to 36500d, or \"infinity\"" },
                { "store = 1\n", ":1:9: error: 'store' is an integer; it must be a table: [store]" },
                { "[[store]]\nsize = \"1G\"\n",
                        ":1:1: error: 'store' is an array; it must be a table: [store]" },
                { "\"mode\\u0000\" = 1\n", ":1:1: error: a key has a NUL in it, which no name can have" },
                { "interval = \n", ":1:12: error: expected value, saw '\\n'" },
                { "mode = \"audit\"\nmode = \"apply\"\n",
                        ":2:8: error: cannot redefine existing string 'mode'; it may be written only once" },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *expected = NULL;

                put(MAIN, c->text);
                load();
                assert_true(asprintf(&expected, "%s%s", PATH, c->errors) > 0);
                if (!streq(errors, expected))
                        fail_msg("%sexpected:\n%s\n  but got:\n%s", c->text, expected, errors);
                ASSERT_NULL(image);
                ASSERT_STREQ(warnings, "");
        }
}

TEST(all_errors_in_one_go_with_those_of_roles) {
        put(MAIN, "interval = 0\nworkers = 100\n");
        put(DROP_IN "a.toml", "mode = 1\n");
        put("etc/agentd/conf.d/a.toml", "zzz = 1\n");
        load();
        ASSERT_STREQ(errors,
                "/etc/agentd/agentd.toml:1:12: error: 'interval' is 0; it must be a time span from 1s to "
                "365d, or \"infinity\"\n"
                "/etc/agentd/agentd.toml:2:11: error: 'workers' is 100; it must be an integer from 0 to 64\n"
                "/etc/agentd/agentd.toml.d/a.toml:1:8: error: 'mode' is an integer; it must be one of "
                "apply, audit\n"
                "/etc/agentd/conf.d/a.toml:1:1: error: 'zzz' is neither a key of roles nor a state type (no "
                "module provides it)");
}

TEST(unknown_keys_are_warnings) {
        static const struct {
                const char *text, *warnings;
        } cases[] = {
                { "intervall = \"5min\"\n",
                        ":1:1: unknown key 'intervall', which is ignored; did you mean 'interval'?" },
                { "zzzzzzzz = 1\n", ":1:1: unknown key 'zzzzzzzz', which is ignored" },
                { "[store]\nsise = \"1G\"\n",
                        ":2:1: unknown key 'store.sise', which is ignored; did you mean 'store.size'?" },
                /* In the wrong table. */
                { "[store]\nsize = \"1G\"\ninterval = \"1h\"\n",
                        ":3:1: unknown key 'store.interval', which is ignored; did you mean 'interval'?" },
                { "size = \"1G\"\n",
                        ":1:1: unknown key 'size', which is ignored; did you mean 'store.size'?" },
                { "[other]\nsize = 1\n", ":1:2: unknown key 'other', which is ignored" },
                { "[store.size]\nx = 1\n", "" }, /* an error */
                { "\"store.size\" = \"1G\"\n",
                        ":1:1: unknown key 'store.size', which is ignored; did you mean 'store.size'?" },
                { "\"\" = 1\n", ":1:1: unknown key '', which is ignored" },
                { "\"a\\nb\" = 1\n", ":1:1: unknown key 'a?b', which is ignored" },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *expected = NULL;

                put(MAIN, c->text);
                load();
                assert_true(asprintf(&expected, "%s%s", *c->warnings ? PATH : "", c->warnings) >= 0);
                if (!streq(warnings, expected))
                        fail_msg("%sexpected:\n%s\n  but got:\n%s\n%s", c->text, expected, warnings, errors);
                ASSERT_EQ(image != NULL, *c->warnings != 0);
        }
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

TEST(of_files_of_one_name_the_first_counts) {
        put("usr/lib/agentd/agentd.toml", "workers = 1\njitter = 1\n");
        ASSERT_EQ(loads()->workers, 1);
        put("run/agentd/agentd.toml", "workers = 2\n");
        ASSERT_EQ(loads()->workers, 2);
        put(MAIN, "workers = 3\n");
        ASSERT_EQ(loads()->workers, 3);
        ASSERT_TRUE(loads()->jitter_usec == settings_default.jitter_usec);
        clear("etc/agentd/agentd.toml");
        ASSERT_OK(symlink("/dev/null", in(MAIN)));
        ASSERT_EQ(loads()->workers, 0);
}

TEST(drop_ins_come_in_order_of_their_names) {
        put(MAIN, "workers = 1\nwatches_max = 101\n");
        put("usr/lib/agentd/agentd.toml.d/20-vendor.toml", "workers = 20\nmode = \"audit\"\n");
        put(DROP_IN "10-mine.toml", "workers = 10\nmax_changes = 10\n");
        put("run/agentd/agentd.toml.d/30-now.toml", "workers = 30\n");
        put(DROP_IN ".hidden.toml", "nonsense\n");
        put(DROP_IN "40-backup.toml~", "nonsense\n");
        put(DROP_IN "README", "nonsense\n");
        ASSERT_EQ(loads()->workers, 30);
        ASSERT_EQ(image->header->settings.max_changes, 10);
        ASSERT_EQ(image->header->settings.watches_max, 101);
        ASSERT_EQ(image->header->settings.audit, 1);

        put(DROP_IN "30-now.toml", "workers = 31\n");
        ASSERT_EQ(loads()->workers, 31);
        clear(DROP_IN "30-now.toml");
        ASSERT_OK(symlink("/dev/null", in(DROP_IN "30-now.toml")));
        ASSERT_EQ(loads()->workers, 20);
        ASSERT_OK(symlink("/dev/null", in(DROP_IN "20-vendor.toml")));
        ASSERT_EQ(loads()->workers, 10);
        ASSERT_EQ(image->header->settings.audit, 0);
}

TEST(files_that_cannot_be_used) {
        ASSERT_OK(symlink("/nowhere", in(MAIN)));
        (void) mkdir(in(DROP_IN "directory.toml"), 0755);
        ASSERT_OK(mkfifo(in(DROP_IN "fifo.toml"), 0600));
        put(DROP_IN "open.toml", "");
        ASSERT_OK(chmod(in(DROP_IN "open.toml"), 0666));
        load();
        ASSERT_STREQ(errors,
                "/etc/agentd/agentd.toml: error: the settings cannot be used: it is a symlink to "
                "'/nowhere', "
                "which does not exist\n"
                "/etc/agentd/agentd.toml.d/directory.toml: error: the settings cannot be used: it is a "
                "directory; a regular file is wanted\n"
                "/etc/agentd/agentd.toml.d/fifo.toml: error: the settings cannot be used: it is a FIFO; a "
                "regular file is wanted\n"
                "/etc/agentd/agentd.toml.d/open.toml: error: the settings cannot be used: others than root "
                "can write it; it must belong to root and have a mode like 0644");
        clear("etc");
        (void) in(DROP_IN "x");
        ASSERT_OK(chmod(in("etc/agentd/agentd.toml.d"), 0777));
        load();
        ASSERT_STREQ(errors, "/etc/agentd/agentd.toml.d: error: anybody can put settings into it; its mode "
                             "must be like 0755");
}

TEST(given_files) {
        LoadOptions options = usual();
        const char *const list[] = { in("some/agentd.toml"), in("some/agentd.toml.d/x.toml"),
                in("some/role.toml"), NULL };

        put(MAIN, "nonsense\n");
        put("some/agentd.toml", "workers = 5\n");
        put("some/agentd.toml.d/x.toml", "max_changes = 7\n");
        put("some/role.toml", "[plain.a]\none = \"1\"\n");
        options.role_files = list;
        load_with(&options);
        ASSERT_STREQ(errors, "");
        ASSERT_NOT_NULL(image);
        ASSERT_EQ(image->header->settings.workers, 5);
        ASSERT_EQ(image->header->settings.max_changes, 7);
        ASSERT_EQ(image->header->roles.n, 1);
}

/* ---- Auditing -------------------------------------------------------------------------------------------------- */

static uint32_t audited(void) {
        uint32_t n = 0;

        for (uint32_t i = 0; i < image_n_states(image); i++)
                n += (image_state(image, i)->flags & IMAGE_STATE_AUDIT) != 0;
        return n;
}

TEST(audit_of_host_role_and_state) {
        uint8_t hash[IMAGE_HASH_SIZE];

        put("etc/agentd/conf.d/a.toml", "[plain.a]\none = \"1\"\n[plain.b]\none = \"1\"\naudit = true\n");
        put("etc/agentd/conf.d/b.toml", "[plain.c]\none = \"1\"\n[plain.d]\none = \"1\"\n");
        (void) loads();
        ASSERT_EQ(audited(), 1);
        memcpy(hash, image_state(image, 3)->hash, sizeof(hash));

        put("etc/agentd/conf.d/b.toml",
                "mode = \"audit\"\n[plain.c]\none = \"1\"\naudit = false\n[plain.d]\none = \"1\"\n");
        (void) loads();
        ASSERT_EQ(audited(), 3);
        /* It is the same state, of which the same is known. */
        assert_memory_equal(hash, image_state(image, 3)->hash, sizeof(hash));

        put("etc/agentd/conf.d/b.toml",
                "mode = \"apply\"\n[plain.c]\none = \"1\"\n[plain.d]\none = \"1\"\n");
        (void) loads();
        ASSERT_EQ(audited(), 1);
        put(MAIN, "mode = \"audit\"\n");
        (void) loads();
        ASSERT_EQ(audited(), 4);
}

TEST(modes_of_roles_that_cannot_be) {
        static const struct {
                const char *text, *errors;
        } cases[] = {
                { "mode = \"0644\"\n", ":1:8: error: 'mode' is '0644'; it must be one of apply, audit" },
                { "mode = \"aplly\"\n",
                        ":1:8: error: 'mode' is 'aplly'; did you mean 'apply'? (one of apply, audit)" },
                { "mode = \"audit\\u0000\"\n",
                        ":1:8: error: 'mode' has a NUL in it; it must be one of apply, audit" },
                { "mode = true\n", ":1:8: error: 'mode' is a boolean; it must be one of apply, audit" },
                { "[mode.\"/x\"]\n", ":1:1: error: 'mode' is a table; it must be one of apply, audit" },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *expected = NULL;

                put("etc/agentd/conf.d/a.toml", c->text);
                load();
                assert_true(asprintf(&expected, "/etc/agentd/conf.d/a.toml%s", c->errors) > 0);
                ASSERT_STREQ(errors, expected);
        }
}

/* ---- What the engine is told ----------------------------------------------------------------------------------- */

TEST(a_load_that_fails_tells_what_to_watch) {
        put("etc/agentd/conf.d/a.toml", "nonsense\n");
        put("etc/agentd/conf.d/b.toml", "[plain.x]\none = \"1\"\n");
        load();
        ASSERT_NULL(image);
        ASSERT_TRUE(was_told_of("!/etc/agentd/agentd.toml"));
        ASSERT_TRUE(was_told_of("!/run/agentd/agentd.toml"));
        ASSERT_TRUE(was_told_of("!/etc/agentd/agentd.toml.d"));
        ASSERT_TRUE(was_told_of("/etc/agentd/conf.d/"));
        ASSERT_TRUE(was_told_of("!/run/agentd/conf.d"));
        ASSERT_TRUE(was_told_of("/etc/agentd/conf.d/a.toml"));
        ASSERT_TRUE(was_told_of("/etc/agentd/conf.d/b.toml"));
        ASSERT_TRUE(was_told_of(
                "!/etc/agentd/modules/plain.so")); /* it would take precedence once it is there */
}

TEST(modules_that_were_used_or_looked_for_are_remembered) {
        const char *kinds = in("modules/kinds.so"), *directory = in("modules/");
        unsigned found = 0;

        put("etc/agentd/conf.d/a.toml", "[kinds.x]\n");
        (void) loads();
        for (uint32_t i = 0; i < image->header->files.n; i++) {
                const ImageFile *file = image_array(image, files, ImageFile) + i;
                struct stat st;

                if (streq(image_text(image, file->path), kinds)) {
                        ASSERT_OK(stat(kinds, &st));
                        ASSERT_EQ(file->inode, st.st_ino);
                        ASSERT_EQ(file->is_directory, 0);
                        found++;
                }
        }
        ASSERT_EQ(found, 1);

        put("etc/agentd/conf.d/b.toml", "[nosuch.x]\n");
        load();
        ASSERT_NULL(image);
        ASSERT_TRUE(was_told_of(kinds));
        ASSERT_TRUE(was_told_of(directory));
}

TEST(a_loader_that_dies_has_told_what_to_watch) {
        put("etc/agentd/conf.d/a.toml", "[odd-crash.x]\n");
        put("etc/agentd/conf.d/b.toml", ""); /* read when the module is open already */
        load();
        ASSERT_NULL(image);
        ASSERT_STREQ(errors, "");
        ASSERT_TRUE(was_told_of("/etc/agentd/conf.d/a.toml"));
        ASSERT_TRUE(was_told_of("/etc/agentd/conf.d/b.toml"));
        ASSERT_TRUE(was_told_of("/etc/agentd/conf.d/"));
}

TEST(warnings_are_told) {
        put(MAIN, "nope = 1\n");
        put("etc/agentd/facts.d/broken.json", "{");
        put("etc/agentd/conf.d/a.toml", "when = \"facts.os.id == ''\"\n");
        (void) loads();
        ASSERT_NOT_NULL(strstr(warnings, "/etc/agentd/agentd.toml:1:1: unknown key 'nope'"));
        ASSERT_NOT_NULL(strstr(warnings, "\n/etc/agentd/facts.d/broken.json: local fact 'broken': "));
}

#define RUN_FRESH(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

RUN_TESTS(RUN(defaults_are_valid_and_documented), RUN(each_value_has_its_limits),
        RUN_FRESH(nothing_is_the_default), RUN_FRESH(values), RUN_FRESH(bad_values),
        RUN_FRESH(all_errors_in_one_go_with_those_of_roles), RUN_FRESH(unknown_keys_are_warnings),
        RUN_FRESH(of_files_of_one_name_the_first_counts), RUN_FRESH(drop_ins_come_in_order_of_their_names),
        RUN_FRESH(files_that_cannot_be_used), RUN_FRESH(given_files),
        RUN_FRESH(audit_of_host_role_and_state), RUN_FRESH(modes_of_roles_that_cannot_be),
        RUN_FRESH(a_load_that_fails_tells_what_to_watch),
        RUN_FRESH(modules_that_were_used_or_looked_for_are_remembered),
        RUN_FRESH(a_loader_that_dies_has_told_what_to_watch), RUN_FRESH(warnings_are_told))
