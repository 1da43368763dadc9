/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The inside of the loader: the steps from files to image, and what the engine is told. */

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <syslog.h>

#include "child.h"
#include "log.h"
#include "message.h"
#include "paths.h"
#include "role.h"
#include "sandbox.h"

#define SOCKET_FD 3

/* Scratch memory: a role of the largest size takes some hundred bytes for each of its own. */
#define SCRATCH_BYTES     GIB(3)
#define SCRATCH_BYTES_MIN MIB(64)

/* The one loader of this process: who runs out of memory has to tell the engine. */
static MessageWriter writer;

void loader_log(_unused_ Loader *loader, int level, const char *text) {
        if (!writer.buffer)
                return; /* there is no engine: a fuzzer, or the reference is printed */
        message_begin(&writer, MESSAGE_LOG);
        message_put_u32(&writer, (uint32_t) (level & LOG_PRIMASK));
        message_put_string(&writer, text);
        (void) message_end(&writer);
}

void loader_tell_files(Loader *loader) {
        if (!writer.buffer)
                return;
        for (; loader->n_files_told < loader->n_files; loader->n_files_told++) {
                const LoadFile *file = &loader->files[loader->n_files_told];

                loader->told_bytes += strlen(file->path) + 1;
                if (loader->n_files_told >= LOAD_FILES_MAX || loader->told_bytes > LOAD_FILES_BYTES_MAX)
                        break;
                message_begin(&writer, MESSAGE_FILE);
                message_put_string(&writer, file->path);
                message_put_u32(&writer, file->is_directory);
                message_put_u64(&writer, file->identity.device);
                message_put_u64(&writer, file->identity.inode);
                message_put_u64(&writer, file->identity.size);
                message_put_u64(&writer, (uint64_t) file->identity.mtime_nsec);
                message_put_u64(&writer, (uint64_t) file->identity.ctime_nsec);
                (void) message_end(&writer);
        }
        (void) message_flush(&writer);
}

void loader_tell_forget(_unused_ Loader *loader, const char *id) {
        if (!writer.buffer)
                return;
        message_begin(&writer, MESSAGE_FORGET);
        message_put_string(&writer, id);
        (void) message_end(&writer);
}

static void say_diagnostic(const Diagnostic *diagnostic) {
        message_begin(&writer, MESSAGE_DIAGNOSTIC);
        message_put_string(&writer, diagnostic->place.file);
        message_put_u32(&writer, diagnostic->place.line);
        message_put_u32(&writer, diagnostic->place.column);
        message_put_string(&writer, diagnostic->message);
        (void) message_end(&writer);
}

/* In pieces; what cannot be told is no reason to fail. */
static void say_explanation(Loader *loader) {
        const char *text;
        size_t size;
        bool found;

        if (explain_run(loader, &text, &size, &found) < 0) {
                loader_log(loader, LOG_ERR, "The state cannot be explained: out of memory");
                return;
        }
        for (size_t n = 0, at = 0; at < size; at += n) {
                n = MIN(size - at, MESSAGE_TEXT_MAX);
                message_begin(&writer, MESSAGE_EXPLANATION);
                message_put_u32(&writer, found);
                message_put_text(&writer, text + at, n, MESSAGE_TEXT_MAX);
                (void) message_end(&writer);
        }
}

static void arena_is_full(_unused_ Arena *arena, _unused_ size_t wanted) {
        say_diagnostic(&(Diagnostic){ .message = "the roles need more memory than a load may take" });
        (void) message_flush(&writer);
        _exit(EXIT_FAILURE);
}

static int setup(Loader *loader, Image *image, int fd, pid_t engine) {
        const int keep[] = { STDERR_FILENO, SOCKET_FD };
        int r;

        log_open_journal(false);
        child_reset_signals();
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != engine)
                return -ESRCH;
        /* A process group of its own, so that what modules start can be ended with it. */
        if (setsid() < 0)
                return -errno;
        (void) prctl(PR_SET_NAME, "agentd-load");
        (void) setrlimit(RLIMIT_CORE, &(struct rlimit){});

        r = image_open_arena(image, &loader->image);
        if (r < 0)
                return r;
        loader->image.full = arena_is_full;

        if (fd != SOCKET_FD && dup3(fd, SOCKET_FD, O_CLOEXEC) < 0)
                return -errno;
        close_descriptors(0, keep, ELEMENTSOF(keep));
        r = message_writer_init(&writer, SOCKET_FD);
        if (r < 0)
                return r;
        r = child_open_null(STDERR_FILENO);
        if (r < 0)
                return r;
        r = limit_memory(LOAD_MEMORY_BYTES);
        if (r < 0)
                return r;
        /* Where memory must not be promised beyond what there is, less has to do. */
        for (size_t size = SCRATCH_BYTES; (r = arena_map(&loader->scratch, size, arena_is_full)) < 0;
                size /= 2)
                if (size < SCRATCH_BYTES_MIN)
                        return r;
        if (sodium_init() < 0)
                return -EIO;
        return 0;
}

void loader_run(Loader *loader) {
        int r;

        loader->diagnostics.arena = &loader->scratch;
        r = path_open_root(loader->options->root, &loader->root_fd);
        if (r < 0) {
                diagnostics_add(&loader->diagnostics, (Place){ .file = loader->options->root },
                        "the root directory cannot be opened: %s", strerror(-r));
                return;
        }
        loader->helpers = loader_helpers(loader);

        settings_read(loader);
        roles_find(loader);
        roles_read(loader);
        vars_read(loader);
        for (uint32_t i = 0; i < loader->n_roles; i++)
                role_evaluate(loader, loader->order[i]);
        overrides_collect(loader);
        for (uint32_t i = 0; i < loader->n_roles; i++)
                role_make_states(loader, loader->list[i]);
        overrides_check(loader);
        loader_tell_files(loader);
        for (uint32_t i = 0; i < loader->n_states; i++)
                if (!loader->states[i]->broken)
                        state_prepare(loader, loader->states[i]);
        foreign_prepare_all(loader);
        triggers_connect(loader);
        former_check(loader);
        removals_write(loader);
        removals_make(loader);
        graph_build(loader);
        if (loader->diagnostics.n > 0)
                return;
        vars_check(loader);
        image_compile(loader);
}

void loader_main(const LoadOptions *options, Image *image, int fd, pid_t engine) {
        Loader loader = { .options = options, .root_fd = -EBADF };
        int r;

        r = setup(&loader, image, fd, engine);
        if (r < 0) {
                if (writer.buffer) {
                        loader_log(&loader, LOG_WARNING, strerror(-r));
                        (void) message_flush(&writer);
                }
                _exit(EXIT_FAILURE);
        }

        loader_run(&loader);
        if (loader.diagnostics.n > 0) {
                loader_tell_files(&loader);
                diagnostics_sort(&loader.diagnostics);
                for (uint32_t i = 0; i < loader.diagnostics.n; i++)
                        say_diagnostic(&loader.diagnostics.list[i]);
        } else {
                if (options->explain)
                        say_explanation(&loader);
                message_begin(&writer, MESSAGE_LOADED);
                message_put_u64(&writer, loader.image.used);
                (void) message_end(&writer);
        }
        (void) message_flush(&writer);
        _exit(loader.diagnostics.n > 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
