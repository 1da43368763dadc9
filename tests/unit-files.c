/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <time.h>

#include "unit-change.h"
#include "util.h"

/*
 * What modules/service makes of unit files, for a test that compares it with systemctl and systemd-escape:
 *
 *   unit-files [--global] [--runtime] [--force] ROOT is-enabled|enable|disable|mask|unmask|preset|link NAME…
 *   unit-files escape|escape-path|unescape|unescape-path TEXT…
 *   unit-files ROOT bench N            how long N reads, and N refreshes, take for 200 units
 */

static const char *const verbs[] = {
        [UNIT_VERB_ENABLE] = "enable",
        [UNIT_VERB_DISABLE] = "disable",
        [UNIT_VERB_MASK] = "mask",
        [UNIT_VERB_UNMASK] = "unmask",
        [UNIT_VERB_PRESET] = "preset",
        [UNIT_VERB_LINK] = "link",
};

static int escape(const char *verb, char **text, int n) {
        bool path = endswith(verb, "-path");
        char result[4096];
        int status = 0;

        for (int i = 0; i < n; i++) {
                int r = startswith(verb, "un") ? unit_unescape(text[i], path, result, sizeof(result))
                                               : unit_escape(text[i], path, result, sizeof(result));

                if (r < 0)
                        status = 1;
                puts(r < 0 ? "-" : result);
        }
        return status;
}

static int is_enabled(UnitFiles *files, const char *const *names, size_t n) {
        for (size_t i = 0; i < n; i++) {
                UnitFileState state;
                int r = unit_files_states(files, &names[i], 1, &state);

                if (r < 0)
                        errx(1, "Failed to look up '%s': %s", names[i], strerror(-r));
                puts(unit_file_state_name(state));
        }
        return 0;
}

static int change(UnitFiles *files, int root_fd, UnitScope scope, UnitVerb verb, const char *const *names,
        size_t n, unsigned flags) {
        char error[UNIT_CHANGE_ERROR_MAX];
        Presets *presets = NULL;
        UnitChanges *changes;
        int r;

        if (verb == UNIT_VERB_PRESET) {
                r = presets_new(root_fd, scope, &presets);
                if (r < 0)
                        errx(1, "Failed to read presets: %s", strerror(-r));
        }
        r = unit_changes_plan(files, presets, verb, names, n, flags, &changes, error);
        (void) presets_free(presets);
        if (r < 0) {
                fprintf(stderr, "%s\n", error);
                return 1;
        }
        for (size_t i = 0; i < changes->n; i++)
                fprintf(stderr, "%s %s %s%s\n",
                        changes->list[i].kind == UNIT_CHANGE_LINK ? "link" : "unlink", changes->list[i].path,
                        changes->list[i].target ? changes->list[i].target : "",
                        changes->list[i].done ? " (done)" : "");
        r = unit_changes_apply(files, changes, error);
        (void) unit_changes_free(changes);
        if (r < 0)
                fprintf(stderr, "%s\n", error);
        return r < 0;
}

static usec_t ask(UnitFiles *files, const Names *names, bool refresh) {
        UnitFileState states[200];
        usec_t began = now_usec(CLOCK_MONOTONIC);

        if (refresh && unit_files_refresh(files) != 0)
                errx(1, "The root has changed");
        if (unit_files_states(files, names->list, MIN(names->n, ELEMENTSOF(states)), states) < 0)
                errx(1, "Failed to look up units");
        return now_usec(CLOCK_MONOTONIC) - began;
}

static int compare_times(const void *a, const void *b) {
        const usec_t *x = a, *y = b;

        return *x < *y ? -1 : *x > *y;
}

static int bench(int root_fd, const UnitOwner *owner, size_t n) {
        usec_t *cold = calloc(n, sizeof(usec_t)), *read = calloc(n, sizeof(usec_t)),
               *warm = calloc(n, sizeof(usec_t));
        UnitFiles *files = NULL;
        size_t n_names = 0;

        if (!cold || !read || !warm)
                err(1, "Failed to allocate memory");
        for (size_t i = 0; i < n; i++) {
                usec_t began = now_usec(CLOCK_MONOTONIC);
                Pool pool = {};
                Names names = {};

                if (unit_files_new(root_fd, owner, &files) < 0 || unit_files_list(files, &pool, &names) < 0)
                        errx(1, "Failed to read units");
                n_names = names.n;
                read[i] = now_usec(CLOCK_MONOTONIC) - began;
                cold[i] = read[i] + ask(files, &names, false);
                warm[i] = ask(files, &names, true);
                pool_done(&pool);
                files = unit_files_free(files);
        }
        qsort(cold, n, sizeof(usec_t), compare_times);
        qsort(read, n, sizeof(usec_t), compare_times);
        qsort(warm, n, sizeof(usec_t), compare_times);
        printf("%zu units there; medians: read %" PRIu64 " us, read and 200 states %" PRIu64
               " us, refreshed and 200 states %" PRIu64 " us\n",
                n_names, read[n / 2], cold[n / 2], warm[n / 2]);
        free(cold);
        free(read);
        free(warm);
        return 0;
}

int main(int argc, char **argv) {
        _cleanup_close_ int root_fd = -EBADF;
        UnitOwner owner = { .scope = UNIT_SCOPE_SYSTEM };
        UnitFiles *files = NULL;
        unsigned flags = 0;
        int r = -1;

        for (; argc > 1 && startswith(argv[1], "--"); argc--, argv++)
                if (streq(argv[1], "--global"))
                        owner.scope = UNIT_SCOPE_GLOBAL;
                else if (streq(argv[1], "--runtime"))
                        flags |= UNIT_CHANGE_RUNTIME;
                else if (streq(argv[1], "--force"))
                        flags |= UNIT_CHANGE_FORCE;
                else
                        errx(1, "Unknown option '%s'", argv[1]);
        if (argc < 3)
                errx(1, "usage: unit-files [--global] [--runtime] [--force] ROOT VERB NAME…");
        if (strstr(argv[1], "escape"))
                return escape(argv[1], argv + 2, argc - 2);

        root_fd = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root_fd < 0)
                err(1, "Failed to open '%s'", argv[1]);
        if (streq(argv[2], "bench"))
                return bench(root_fd, &owner, (size_t) atoi(argc > 3 ? argv[3] : "100"));
        r = unit_files_new(root_fd, &owner, &files);
        if (r < 0)
                errx(1, "Failed to read units: %s", strerror(-r));
        if (streq(argv[2], "is-enabled"))
                r = is_enabled(files, (const char *const *) argv + 3, (size_t) argc - 3);
        else {
                size_t verb = 0;

                while (verb < ELEMENTSOF(verbs) && !streq(verbs[verb], argv[2]))
                        verb++;
                if (verb == ELEMENTSOF(verbs))
                        errx(1, "Unknown verb '%s'", argv[2]);
                r = change(files, root_fd, owner.scope, (UnitVerb) verb, (const char *const *) argv + 3,
                        (size_t) argc - 3, flags);
        }
        (void) unit_files_free(files);
        return r;
}
