/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What tests of the loader share: a directory with roles and modules, loads of it, and their errors as text. */

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "loader.h"
#include "log.h"
#include "module.h"
#include "test-image.h"
#include "test.h"

static char directory[64];
static Image *image;      /* of the last load; NULL if there were errors */
static char *errors;      /* its diagnostics, one a line */
static char *logged;      /* what it logged */
static json_t *forgotten; /* of what was to be removed */
static char *explained;   /* what was said of the state that the options ask about */

/* ---- Files ----------------------------------------------------------------------------------------------------- */

static inline int on_remove(
        const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *ftw) {
        return remove(path);
}

/* The path below the directory, with the directories above it made. Valid until the next but seven. */
static inline const char *in(const char *path) {
        static char buffers[8][PATH_MAX];
        static unsigned next;
        char *full = buffers[next++ % ELEMENTSOF(buffers)];

        assert_true(snprintf(full, PATH_MAX, "%s/%s", directory, path) < PATH_MAX);
        for (char *p = full + strlen(directory) + 1; (p = strchr(p, '/')); p++) {
                *p = 0;
                (void) mkdir(full, 0755);
                *p = '/';
        }
        return full;
}

static inline void put_sized(const char *path, const char *text, size_t size) {
        _cleanup_close_ int fd = open(in(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        assert_true(fd >= 0);
        ASSERT_OK(write_full(fd, text, size));
}

static inline void put(const char *path, const char *text) {
        put_sized(path, text, strlen(text));
}

static inline void clear(const char *path) {
        (void) nftw(in(path), on_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void link_module(const char *variable, const char *name) {
        char target[PATH_MAX], link[PATH_MAX];
        const char *base = strrchr(name, '/');

        (void) snprintf(target, sizeof(target), "%s/%s.so", getenv(variable), name);
        (void) snprintf(link, sizeof(link), "modules/%s.so", base ? base + 1 : name);
        ASSERT_OK(symlink(target, in(link)));
}

/* ---- Loading --------------------------------------------------------------------------------------------------- */

/* The text with the test's directories taken out; what it was is freed. */
static inline char *shorten(char *text) {
        const struct {
                const char *long_, *short_;
        } words[] = { { in("conf/"), "" }, { getenv("TEST_MODULE_DIR"), "MODULES" }, { directory, "DIR" } };
        char *short_ = NULL;
        size_t size;
        FILE *f = open_memstream(&short_, &size);

        for (const char *p = text; *p;) {
                bool found = false;

                FOREACH_ELEMENT(word, words)
                        if (strncmp(p, word->long_, strlen(word->long_)) == 0) {
                                (void) fputs(word->short_, f);
                                p += strlen(word->long_);
                                found = true;
                                break;
                        }
                if (!found)
                        (void) fputc(*p++, f);
        }
        (void) fclose(f);
        free(text);
        return short_;
}

static inline void forget(void) {
        image = image_unref(image);
        json_decref(forgotten);
        forgotten = NULL;
        free(TAKE_PTR(errors));
        free(TAKE_PTR(explained));
        free(TAKE_PTR(logged));
}

static inline void on_loaded(void *userdata, Image *loaded, json_t *diagnostics) {
        size_t i, size;
        json_t *item;
        FILE *f = open_memstream(&errors, &size);

        image = loaded ? image_ref(loaded) : NULL;
        json_array_foreach(diagnostics, i, item) {
                _cleanup_free_ char *line = load_diagnostic_to_string(item);

                (void) fprintf(f, "%s%s", i > 0 ? "\n" : "", line);
        }
        (void) fclose(f);
        ASSERT_OK(sd_event_exit(userdata, 0));
}

static inline void load_with(const LoadOptions *options) {
        static const LoadHandlers handlers = { .on_loaded = on_loaded };
        sd_event *event = NULL;
        Load *load;
        int err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), fd;
        ssize_t n;

        forget();
        ASSERT_OK(sd_event_new(&event) < 0);
        fd = open(in("log"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(err >= 0 && fd >= 0);
        assert_true(dup2(fd, STDERR_FILENO) >= 0);
        ASSERT_OK(load_start(event, options, &handlers, event, &load));
        ASSERT_OK(sd_event_loop(event));
        json_decref(forgotten);
        forgotten = json_incref((json_t *) load_forgotten(load));
        if (options->explain && image) {
                bool found;
                size_t size;
                const char *text = load_explanation(load, &size, &found);

                explained = strndup(text ?: "", text ? size : 0);
        }
        load_free(load);
        sd_event_unref(event);
        assert_true(dup2(err, STDERR_FILENO) >= 0);
        (void) close(err);

        assert_true(lseek(fd, 0, SEEK_SET) == 0);
        logged = calloc(1, KIB(64));
        n = read_full(fd, logged, KIB(64) - 1);
        assert_true(n >= 0);
        (void) close(fd);
        logged = shorten(logged);
        errors = shorten(errors);
        if (image)
                ASSERT_TRUE(test_image_walk(image));
}

static inline LoadOptions usual(void) {
        static char conf[PATH_MAX], modules[PATH_MAX];

        (void) snprintf(conf, sizeof(conf), "%s", in("conf"));
        (void) snprintf(modules, sizeof(modules), "%s", in("modules"));
        (void) mkdir(conf, 0755);
        return (LoadOptions){ .root = "/", .conf_dir = conf, .module_dir = modules };
}

static inline void load(void) {
        const LoadOptions options = usual();

        load_with(&options);
}

static inline void loads(void) {
        load();
        if (*errors || !image)
                fail_msg("not loaded:\n%s\n%s", errors, logged);
}

static inline void fails(const char *expected) {
        load();
        if (!streq(errors, expected))
                fail_msg("expected:\n%s\n  but got:\n%s", expected, errors);
        ASSERT_NULL(image);
        ASSERT_NULL(strstr(logged, "error: ")); /* of the host's facts there may be warnings */
}

/* Of one role, conf/a.toml. */
static inline void role_fails(const char *text, size_t size, const char *expected) {
        clear("conf");
        put_sized("conf/a.toml", text, size);
        fails(expected);
}

static inline void role_loads(const char *text) {
        clear("conf");
        put("conf/a.toml", text);
        loads();
}

static inline int setup(_unused_ void **state) {
        sigset_t child;

        /* sd-event wants to wait for children itself. */
        (void) sigemptyset(&child);
        (void) sigaddset(&child, SIGCHLD);
        ASSERT_OK(sigprocmask(SIG_BLOCK, &child, NULL));

        (void) snprintf(directory, sizeof(directory), "/tmp/test-role-load-XXXXXX");
        assert_non_null(mkdtemp(directory));
        (void) mkdir(in("conf"), 0755);
        link_module("MODULE_DIR", "file");
        link_module("MODULE_DIR", "hosts-entry");
        link_module("TEST_MODULE_DIR", "kinds");
        link_module("TEST_MODULE_DIR", "odd");
        return 0;
}

static inline int teardown(_unused_ void **state) {
        forget();
        (void) nftw(directory, on_remove, 16, FTW_DEPTH | FTW_PHYS);
        return 0;
}

typedef struct Case {
        const char *text, *errors;
} Case;

static inline void all_fail(const Case *cases, size_t n) {
        for (size_t i = 0; i < n; i++)
                role_fails(cases[i].text, strlen(cases[i].text), cases[i].errors);
}

#define ALL_FAIL(cases) all_fail((cases), ELEMENTSOF(cases))

/* ---- What is loaded ------------------------------------------------------------------------------------------ */

static inline uint32_t index_of(const char *id) {
        for (uint32_t i = 0; i < image_n_states(image); i++)
                if (streq(image_state_id(image, i), id))
                        return i;
        fail_msg("there is no state %s", id);
        return 0;
}

static inline const ImageState *state_of(const char *id) {
        return image_state(image, index_of(id));
}

static inline bool has_state(const char *id) {
        for (uint32_t i = 0; i < image_n_states(image); i++)
                if (streq(image_state_id(image, i), id))
                        return true;
        return false;
}

#define RUN_FRESH(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
