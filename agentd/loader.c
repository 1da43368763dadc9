/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "diagnostic.h"
#include "hash.h"
#include "loader.h"
#include "log.h"
#include "message.h"

/* How long a loader may take to die of SIGKILL, and how many may hang in the kernel before no other is started. */
#define END_USEC  USEC_PER_SEC
#define STUCK_MAX 4

struct Load {
        const LoadHandlers *handlers;
        void *userdata;
        Image *image;
        json_t *diagnostics;
        json_t *warnings;
        json_t *forgotten;
        size_t n_forgotten_max;
        LoadFile *files;
        size_t n_files, n_files_allocated, files_bytes;
        char *explanation; /* NULL: none */
        size_t explanation_size;
        bool explained;
        uint64_t used; /* of the image, as the loader says; 0: it was not finished */
        int fd;
        pid_t pid;
        bool timed_out;
        bool told;
        bool bad; /* what the loader says is not well-formed */
        sd_event_source *io, *child, *timer;
};

/* With whatever modules have started in it. */
static void kill_loader(pid_t pid) {
        (void) kill(pid, SIGKILL);
        (void) kill(-pid, SIGKILL);
}

/* Loaders that nobody waits for any more, as they hang in the kernel: where one does, the next will. */
static unsigned n_stuck;

/* Ends the loader. If it hangs in the kernel, the event loop reaps it when it ends after all. */
static void let_go(Load *load) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + (load->timed_out ? 0 : END_USEC);
        pid_t pid;

        kill_loader(load->pid);
        while ((pid = waitpid(load->pid, NULL, WNOHANG)) == 0 && now_usec(CLOCK_MONOTONIC) < deadline)
                (void) usleep(100);
        if (pid != 0 || !load->child)
                return;
        log_warning("The loader (process %d) hangs in the kernel and cannot be killed; going on without it",
                (int) load->pid);
        n_stuck++;
        (void) sd_event_source_set_userdata(load->child, NULL);
        (void) sd_event_source_set_floating(load->child, true);
        load->child = sd_event_source_unref(load->child);
}

Load *load_free(Load *load) {
        if (!load)
                return NULL;
        sd_event_source_disable_unref(load->io);
        sd_event_source_disable_unref(load->timer);
        if (load->pid > 0)
                let_go(load);
        sd_event_source_disable_unref(load->child);
        safe_close(load->fd);
        image_unref(load->image);
        json_decref(load->diagnostics);
        json_decref(load->warnings);
        json_decref(load->forgotten);
        for (size_t i = 0; i < load->n_files; i++)
                free((char *) load->files[i].path);
        free(load->files);
        free(load->explanation);
        free(load);
        return NULL;
}

size_t load_files(const Load *load, const LoadFile **ret) {
        *ret = load->files;
        return load->n_files;
}

const json_t *load_warnings(const Load *load) {
        return load->warnings;
}

char *load_former_id(const char *id, const char *recipe) {
        char *former;

        /* One state is hardly ever about several others in turn before one of them is removed. */
        if (asprintf(&former, "%s (before %08" PRIx32 ")", id,
                    (uint32_t) hash_fnv1a(recipe, strlen(recipe))) < 0)
                return NULL;
        return former;
}

const json_t *load_forgotten(const Load *load) {
        return load->forgotten;
}

const char *load_explanation(const Load *load, size_t *ret_size, bool *ret_found) {
        *ret_size = load->explanation_size;
        *ret_found = load->explained;
        return load->explanation;
}

char *load_diagnostic_to_string(const json_t *diagnostic) {
        const Diagnostic d = {
                .place = {
                        .file = json_string_value(json_object_get(diagnostic, "file")),
                        .line = (uint32_t) json_integer_value(json_object_get(diagnostic, "line")),
                        .column = (uint32_t) json_integer_value(json_object_get(diagnostic, "column")),
                },
                .message = json_string_value(json_object_get(diagnostic, "message")),
        };

        return diagnostic_format(&d);
}

static json_t *integer_or_null(uint32_t value) {
        return value > 0 ? json_integer(value) : json_null();
}

static int handle_diagnostic(Load *load, MessageReader *reader) {
        _cleanup_free_ char *file = message_get_string(reader), *message = NULL;
        uint32_t line = message_get_u32(reader), column = message_get_u32(reader);
        json_t *item;

        message = message_get_string(reader);
        if (!file || !message || json_array_size(load->diagnostics) > DIAGNOSTICS_MAX)
                return -EBADMSG;

        item = json_pack("{s:o, s:o, s:o, s:s}", "file", *file ? json_string(file) : json_null(), "line",
                integer_or_null(line), "column", integer_or_null(column), "message", message);
        if (!item || json_array_append_new(load->diagnostics, item) < 0)
                return -ENOMEM;
        return 0;
}

static int handle_log(Load *load, MessageReader *reader) {
        uint32_t level = message_get_u32(reader);
        _cleanup_free_ char *text = message_get_string(reader);

        if (!text || level > LOG_DEBUG)
                return -EBADMSG;
        log_full((int) level, "%s", text);
        if (level <= LOG_WARNING && json_array_size(load->warnings) < DIAGNOSTICS_MAX)
                return json_array_append_new(load->warnings, json_string(text)) < 0 ? -ENOMEM : 0;
        return 0;
}

static int handle_forget(Load *load, MessageReader *reader) {
        _cleanup_free_ char *id = message_get_string(reader);

        if (!id || json_array_size(load->forgotten) >= load->n_forgotten_max)
                return -EBADMSG;
        return json_array_append_new(load->forgotten, json_string(id)) < 0 ? -ENOMEM : 0;
}

static int handle_file(Load *load, MessageReader *reader) {
        size_t size = 0;
        const char *path = message_get_text(reader, &size);
        LoadFile file = { .is_directory = message_get_u32(reader) == 1 };

        file.identity = (PathIdentity){
                .device = message_get_u64(reader),
                .inode = message_get_u64(reader),
                .size = message_get_u64(reader),
                .mtime_nsec = (int64_t) message_get_u64(reader),
                .ctime_nsec = (int64_t) message_get_u64(reader),
        };
        load->files_bytes += size + 1;
        if (reader->bad || size == 0 || memchr(path, 0, size) || load->n_files >= LOAD_FILES_MAX ||
                load->files_bytes > LOAD_FILES_BYTES_MAX)
                return -EBADMSG;

        if (load->n_files == load->n_files_allocated) {
                size_t n = MAX(2 * load->n_files_allocated, (size_t) 64);
                LoadFile *larger = reallocarray(load->files, n, sizeof(LoadFile));

                if (!larger)
                        return -ENOMEM;
                load->files = larger;
                load->n_files_allocated = n;
        }
        file.path = strndup(path, size);
        if (!file.path)
                return -ENOMEM;
        load->files[load->n_files++] = file;
        return 0;
}

static int handle_explanation(Load *load, MessageReader *reader) {
        uint32_t found = message_get_u32(reader);
        size_t size = 0;
        const char *piece = message_get_text(reader, &size);
        char *larger;

        if (reader->bad || found > 1 || size > LOAD_EXPLANATION_MAX - load->explanation_size)
                return -EBADMSG;
        larger = realloc(load->explanation, load->explanation_size + size + 1);
        if (!larger)
                return -ENOMEM;
        memcpy(larger + load->explanation_size, piece, size);
        load->explanation = larger;
        load->explanation_size += size;
        load->explained = found == 1;
        return 0;
}

static int handle_datagram(Load *load, const uint8_t *data, size_t size) {
        MessageReader reader = { .data = data, .size = size };
        MessageKind kind;
        int r;

        while ((r = message_next(&reader, &kind)) > 0) {
                switch (kind) {
                case MESSAGE_DIAGNOSTIC: r = handle_diagnostic(load, &reader); break;
                case MESSAGE_LOADED:
                        load->used = message_get_u64(&reader);
                        r = reader.bad ? -EBADMSG : 0;
                        break;
                case MESSAGE_LOG: r = handle_log(load, &reader); break;
                case MESSAGE_FILE: r = handle_file(load, &reader); break;
                case MESSAGE_FORGET: r = handle_forget(load, &reader); break;
                case MESSAGE_EXPLANATION: r = handle_explanation(load, &reader); break;
                default: return -EBADMSG;
                }
                if (r < 0)
                        return r;
        }

        return r;
}

/* Return: 1 something was read; 0 nothing more; -errno. */
static int load_read(Load *load) {
        static uint8_t buffer[MESSAGE_MAX] __attribute__((aligned(8)));
        ssize_t n;

        n = recv(load->fd, buffer, sizeof(buffer), 0);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR || errno == ECONNRESET ? 0 : -errno;
        if (n == 0)
                return 0;
        n = handle_datagram(load, buffer, (size_t) n);
        return n < 0 ? (int) n : 1;
}

static void fail_badly(Load *load, int r) {
        load->bad = true;
        log_error_errno(r, "Failed to understand the loader, killing it: %m");
        /* It may be gone already; and 0 would be our own process group. */
        if (load->pid > 0)
                kill_loader(load->pid);
        (void) sd_event_source_set_enabled(load->io, SD_EVENT_OFF);
}

static int on_load_io(_unused_ sd_event_source *source, _unused_ int fd, uint32_t revents, void *userdata) {
        Load *load = userdata;
        int r;

        r = load_read(load);
        if (r < 0)
                fail_badly(load, r);
        else if (r == 0 && (revents & (EPOLLHUP | EPOLLERR)))
                (void) sd_event_source_set_enabled(load->io, SD_EVENT_OFF);
        return 0;
}

/* The handler may free us. */
static void tell(Load *load, Image *image) {
        if (load->told)
                return;
        load->told = true;
        load->handlers->on_loaded(load->userdata, image, load->diagnostics);
}

static int on_load_timer(sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Load *load = userdata;

        if (!load->timed_out) {
                load->timed_out = true;
                kill_loader(load->pid);
                (void) sd_event_source_set_time_relative(source, END_USEC);
                return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        }
        /* Not even SIGKILL has ended it. */
        log_error("Failed to load the roles: not finished within the deadline");
        tell(load, NULL);
        return 0;
}

static int on_load_exit(sd_event_source *source, const siginfo_t *si, void *userdata) {
        Load *load = userdata;
        const char *error = NULL;
        Image *image = NULL;
        pid_t pid;
        int r = 1;

        if (!load) {
                /* Nobody waited for it; let go of the source with it. */
                n_stuck--;
                return sd_event_source_set_floating(source, false);
        }
        pid = load->pid;
        load->pid = 0;
        (void) sd_event_source_set_enabled(load->timer, SD_EVENT_OFF);
        if (load->told) {
                kill_loader(pid);
                return 0;
        }
        while (r > 0 && !load->bad)
                r = load_read(load);
        if (r < 0)
                fail_badly(load, r);

        if (load->timed_out)
                log_error("Failed to load the roles: not finished within the deadline");
        else if (load->bad)
                ;
        else if (si->si_code != CLD_EXITED)
                log_error("Failed to load the roles: the loader died of signal %d (%s)", si->si_status,
                        strsignal(si->si_status));
        else if (json_array_size(load->diagnostics) > 0)
                log_debug("The roles have errors");
        else if (si->si_status != 0 || load->used == 0)
                log_error("Failed to load the roles: the loader exited with status %d", si->si_status);
        else {
                r = image_adopt(load->image, load->used, &error);
                if (r < 0)
                        log_error_errno(r, "Failed to take over the image: %s: %m", error);
                else
                        image = load->image;
        }

        /* It is not reaped yet, so that nobody else can have its number. Only now, as what still holds the image is
         * to fail the load. */
        kill_loader(pid);

        tell(load, image);
        return 0;
}

int load_start(sd_event *event, const LoadOptions *options, const LoadHandlers *handlers, void *userdata,
        Load **ret) {
        _cleanup_(load_freep) Load *load = NULL;
        _cleanup_close_ int child_fd = -EBADF;
        pid_t engine = getpid();
        int pair[2], r;

        if (n_stuck >= STUCK_MAX)
                return -EBUSY;
        load = malloc(sizeof(*load));
        if (!load)
                return -ENOMEM;
        *load = (Load){
                .handlers = handlers,
                .userdata = userdata,
                .fd = -EBADF,
                .diagnostics = json_array(),
                .warnings = json_array(),
                .forgotten = json_array(),
                .n_forgotten_max = json_object_size(options->removals),
        };
        if (!load->diagnostics || !load->warnings || !load->forgotten)
                return -ENOMEM;
        r = image_new(&load->image);
        if (r < 0)
                return r;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        load->fd = pair[0];
        child_fd = pair[1];
        if (fcntl(load->fd, F_SETFL, O_NONBLOCK) < 0)
                return -errno;

        load->pid = fork();
        if (load->pid < 0)
                return -errno;
        if (load->pid == 0)
                loader_main(options, load->image, child_fd, engine);

        r = sd_event_add_io(event, &load->io, load->fd, EPOLLIN, on_load_io, load);
        if (r < 0)
                return r;
        r = sd_event_add_child(event, &load->child, load->pid, WEXITED, on_load_exit, load);
        if (r < 0)
                return r;
        (void) sd_event_source_set_priority(load->child, SD_EVENT_PRIORITY_NORMAL + 1);
        r = sd_event_add_time(event, &load->timer, CLOCK_MONOTONIC,
                now_usec(CLOCK_MONOTONIC) + (options->timeout_usec ?: LOAD_TIMEOUT_USEC), 0, on_load_timer,
                load);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(load);
        return 0;
}
