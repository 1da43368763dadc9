/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Roles, by the whole loader in this process: up to three texts, with a line "%%" between them, which can import each
 * other by the names "100", "101" and "102". Of what has no errors the image must be valid, and nobody in it may wait for
 * himself. A text that begins with "# agentd.toml" is read as settings instead. One that begins with "# gone" is what was
 * written down of states that are to be removed, a line with the id and one with the recipe for each: whatever it is, the roles load
 * as without.
 */

#include <fcntl.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../agentd/test-image.h"
#include "fuzz.h"
#include "log.h"
#include "role.h"
#include "value-json.h"

#define ROLES_MAX     3
#define FIRST_FD      100
#define SETTINGS_MARK "# agentd.toml\n"
#define GONE_MARK     "# gone\n"

static Module *modules[4];
static jmp_buf out_of_memory;
static int root_fd;

static void full(_unused_ Arena *arena, _unused_ size_t wanted) {
        longjmp(out_of_memory, 1);
}

static void open_modules(void) {
        static const char *const paths[] = { FILE_MODULE, KINDS_MODULE, EDIT_MODULE, SERVICE_MODULE };

        log_set_max_level(LOG_EMERG);
        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                char *error = NULL;

                if (module_open(paths[i], &modules[i], &error) < 0)
                        fprintf(stderr, "%s: %s\n", paths[i], error ?: "?");
                fuzz_check(modules[i]);
        }
}

/* True if all nodes come to their turn. */
static bool all_done(const Image *image) {
        uint32_t n = image->header->nodes.n, top = 0, n_done = 0;
        _cleanup_free_ uint32_t *waiting = malloc((n + 1) * sizeof(uint32_t));
        _cleanup_free_ uint32_t *stack = malloc((n + 1) * sizeof(uint32_t));

        fuzz_check(waiting && stack);
        for (uint32_t i = 0; i < n; i++) {
                waiting[i] = image_node(image, i)->n_dependencies;
                if (waiting[i] == 0)
                        stack[top++] = i;
        }
        while (top > 0) {
                const ImageNode *node = image_node(image, stack[--top]);

                n_done++;
                for (uint32_t k = 0; k < node->dependents.n; k++)
                        if (--waiting[image_dependents(image, node)[k]] == 0)
                                stack[top++] = image_dependents(image, node)[k];
        }
        return n_done == n;
}

/* Returns how many errors there were. */
static uint32_t load(const char *const *paths, const json_t *removals, Arena *scratch, Arena *image_arena) {
        static const char facts[] =
                "{\"os\": {\"id\": \"debian\", \"version_id\": \"12\", \"id_like\": []}, \"hostname\": "
                "\"fuzz\", "
                "\"cpus\": 2, \"addresses\": [\"192.0.2.1\", \"2001:db8::1\"], \"systemd\": 252}";
        const LoadOptions options = { .root = "/", .role_files = paths, .removals = removals };
        Loader loader = {
                .options = &options, .root_fd = -EBADF, .scratch = *scratch, .image = *image_arena
        };
        json_t *json = json_loads(facts, 0, NULL);
        Image image = { .n_ref = 1 };

        fuzz_check(json);
        loader.facts = value_from_json(&loader.scratch, json);
        loader.facts_gathered = true;
        json_decref(json);
        for (size_t i = 0; i < ELEMENTSOF(modules); i++)
                loader_add_module(&loader, modules[i]);
        loader.all_modules = true;

        (void) arena_new(&loader.image, ImageHeader);
        loader_run(&loader);
        root_fd = loader.root_fd;

        if (loader.diagnostics.n > 0) {
                diagnostics_sort(&loader.diagnostics);
                for (uint32_t i = 0; i < loader.diagnostics.n; i++) {
                        _cleanup_free_ char *text = diagnostic_format(&loader.diagnostics.list[i]);

                        fuzz_check(text && loader.diagnostics.list[i].message);
                        /* Or nothing would be tried at all. */
                        fuzz_check(
                                !startswith(loader.diagnostics.list[i].message, "the role cannot be used"));
                }
                return loader.diagnostics.n;
        }

        fuzz_check(!image_validate(loader.image.base, loader.image.used));
        image.base = loader.image.base;
        image.header = (const ImageHeader *) image.base;
        fuzz_check(test_image_walk(&image));
        fuzz_check(all_done(&image));
        return 0;
}

/* Whatever is written there, what comes of it is in range. */
static void read_settings(const char *path, Arena *scratch) {
        Loader loader = { .root_fd = -EBADF, .scratch = *scratch, .settings = settings_default };

        loader.diagnostics.arena = &loader.scratch;
        settings_read_file(&loader, false, path);
        fuzz_check(!settings_validate(&loader.settings));
}

static json_t *read_gone(const char *text, size_t length) {
        const char *end = text + length;
        json_t *removals = json_object();

        text += strlen(GONE_MARK);
        while (text < end) {
                const char *recipe = memchr(text, '\n', (size_t) (end - text)),
                           *next = recipe ? memchr(recipe + 1, '\n', (size_t) (end - recipe - 1)) : NULL;
                _cleanup_free_ char *id = NULL;

                if (!next)
                        break;
                id = strndup(text, (size_t) (recipe - text));
                fuzz_check(id);
                (void) json_object_set_new(
                        removals, id, json_stringn(recipe + 1, (size_t) (next - recipe - 1)));
                text = next + 1;
        }
        return removals;
}

static void map_arenas(Arena *scratch, Arena *image) {
        fuzz_check(arena_map(scratch, GIB(1), full) == 0);
        fuzz_check(arena_map(image, MIB(256), full) == 0);
}

static void unmap_arenas(Arena *scratch, Arena *image) {
        root_fd = safe_close(root_fd);
        arena_unmap(scratch);
        arena_unmap(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *paths[ROLES_MAX + 1] = {}, *text = (const char *) data, *end = text + size;
        char names[ROLES_MAX][64];
        int fds[ROLES_MAX], fd;
        volatile size_t n = 0;
        volatile uint32_t n_errors = UINT32_MAX;
        json_t *volatile removals = NULL;
        Arena scratch, image;

        root_fd = -EBADF;
        if (!modules[0])
                open_modules();

        while (n < ROLES_MAX && text) {
                const char *mark = memmem(text, (size_t) (end - text), "\n%%\n", 4);
                size_t length = (size_t) ((mark ? mark + 1 : end) - text);

                if (n > 0 && !removals && length >= strlen(GONE_MARK) &&
                        memcmp(text, GONE_MARK, strlen(GONE_MARK)) == 0) {
                        removals = read_gone(text, length);
                        text = mark ? mark + 4 : NULL;
                        continue;
                }
                fd = memfd_create("role", MFD_CLOEXEC);
                fuzz_check(fd >= 0);
                fds[n] = dup3(fd, FIRST_FD + (int) n, O_CLOEXEC);
                fuzz_check(fds[n] >= 0);
                safe_close(fd);
                /* What everybody can write is refused. */
                fuzz_check(fchmod(fds[n], 0600) == 0);
                fuzz_check(write_full(fds[n], text, length) == 0);
                (void) snprintf(names[n], sizeof(names[n]), "/proc/self/fd/%d", fds[n]);
                paths[n] = names[n];
                n++;
                text = mark ? mark + 4 : NULL;
        }

        map_arenas(&scratch, &image);
        if (setjmp(out_of_memory) == 0) {
                if (size >= strlen(SETTINGS_MARK) && memcmp(data, SETTINGS_MARK, strlen(SETTINGS_MARK)) == 0)
                        read_settings(paths[0], &scratch);
                else
                        n_errors = load(paths, NULL, &scratch, &image);
        }
        unmap_arenas(&scratch, &image);
        if (removals && n_errors != UINT32_MAX) {
                map_arenas(&scratch, &image);
                if (setjmp(out_of_memory) == 0)
                        fuzz_check(load(paths, removals, &scratch, &image) == n_errors);
                unmap_arenas(&scratch, &image);
        }

        json_decref(removals);
        for (size_t i = 0; i < n; i++)
                safe_close(fds[i]);
        return 0;
}
