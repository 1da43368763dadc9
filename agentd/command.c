/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "command-internal.h"
#include "log.h"

#define BUS_SOCKET "/run/dbus/system_bus_socket"

/* Arguments and environment, all together. */
#define SPEC_BYTES_MAX KIB(96)

/* ---- What is asked for ------------------------------------------------------------------------------------------ */

static bool is_assignment(const char *text) {
        const char *equals = strchr(text, '=');

        if (!equals || equals == text || (*text >= '0' && *text <= '9'))
                return false;
        for (const char *p = text; p < equals; p++)
                if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                            *p == '_'))
                        return false;
        return true;
}

/* Of a user or group, or its number; what systemd takes as well. */
static bool is_name(const char *text) {
        size_t n = strlen(text);

        if (n == 0 || n > 255 || *text == '-')
                return false;
        for (const char *p = text; *p; p++)
                if ((unsigned char) *p <= ' ' || *p == ':' || *p == '/' || *p == 0x7f)
                        return false;
        return true;
}

int command_spec_check(const CommandSpec *spec) {
        size_t size = 0, n = 0;

        assert(spec);

        if (!spec->argv || !spec->argv[0] || spec->argv[0][0] != '/' || endswith(spec->argv[0], "/"))
                return -EINVAL;
        for (; spec->argv[n]; n++) {
                if (n >= COMMAND_ARGUMENTS_MAX)
                        return -E2BIG;
                size += strlen(spec->argv[n]) + 1;
                /* D-Bus carries nothing else. */
                if (!utf8_is_valid(spec->argv[n], strlen(spec->argv[n])))
                        return -EINVAL;
        }
        for (n = 0; spec->environment && spec->environment[n]; n++) {
                if (n >= COMMAND_ARGUMENTS_MAX)
                        return -E2BIG;
                size += strlen(spec->environment[n]) + 1;
                if (!is_assignment(spec->environment[n]) ||
                        !utf8_is_valid(spec->environment[n], strlen(spec->environment[n])))
                        return -EINVAL;
        }
        if (size > SPEC_BYTES_MAX)
                return -E2BIG;
        if ((spec->user && !is_name(spec->user)) || (spec->group && !is_name(spec->group)))
                return -EINVAL;
        if (spec->directory && (spec->directory[0] != '/' || strlen(spec->directory) >= 4096 ||
                                       !utf8_is_valid(spec->directory, strlen(spec->directory))))
                return -EINVAL;
        if (spec->flags & ~(unsigned) _COMMAND_FLAGS_ALL || spec->umask & ~(mode_t) 0777 ||
                spec->output_max > COMMAND_OUTPUT_MAX || spec->timeout_usec == 0)
                return -EINVAL;
        if (spec->unit && !json_is_object(spec->unit))
                return -EINVAL;
        return 0;
}

static const char *base_name(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static int copy_string(const char *text, char **ret) {
        *ret = text ? strdup(text) : NULL;
        return text && !*ret ? -ENOMEM : 0;
}

static void strv_free(char **list) {
        for (char **p = list; p && *p; p++)
                free(*p);
        free(list);
}

static int strv_copy(const char *const *list, char ***ret) {
        size_t n = 0;
        char **copy;

        while (list && list[n])
                n++;
        copy = calloc(n + 1, sizeof(char *));
        if (!copy)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                copy[i] = strdup(list[i]);
                if (!copy[i]) {
                        strv_free(copy);
                        return -ENOMEM;
                }
        }
        *ret = copy;
        return 0;
}

static int copy_fd(int fd, int *ret) {
        if (fd < 0)
                return 0;
        *ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return *ret < 0 ? -errno : 0;
}

static int copy_spec(Command *command, const CommandSpec *spec) {
        const char *program = base_name(spec->argv[0]);
        int r;

        command->run = spec->run;
        command->flags = spec->flags;
        command->umask = spec->flags & COMMAND_UMASK ? spec->umask : 0022;
        command->output_max = spec->output_max ?: COMMAND_OUTPUT_DEFAULT;
        command->timeout_usec = spec->timeout_usec;
        command->properties = spec->unit ? json_deep_copy(spec->unit) : NULL;
        r = strv_copy(spec->argv, &command->argv);
        if (r >= 0)
                r = strv_copy(spec->environment, &command->environment);
        if (r >= 0)
                r = copy_string(spec->state, &command->state);
        if (r >= 0)
                r = copy_string(spec->role, &command->role);
        if (r >= 0)
                r = copy_string(program, &command->program);
        if (r >= 0)
                r = copy_string(spec->user, &command->user);
        if (r >= 0)
                r = copy_string(spec->group, &command->group);
        if (r >= 0)
                r = copy_string(spec->directory, &command->directory);
        if (r >= 0)
                r = copy_fd(spec->input_fd, &command->input_fd);
        if (r >= 0)
                r = copy_fd(spec->output_fd, &command->output_fd);
        if (r < 0)
                return r;
        if (spec->description)
                return copy_string(spec->description, &command->description);
        if (asprintf(&command->description, spec->state ? "%s for %s" : "%s", program, spec->state) < 0) {
                command->description = NULL;
                return -ENOMEM;
        }
        /* systemd writes it to a file as it is, where what follows a line break would be a setting. */
        for (char *p = command->description; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = ' ';
        return 0;
}

/* ---- The object ------------------------------------------------------------------------------------------------- */

int command_new(Commands *commands, const char *id, Command **ret) {
        _cleanup_(command_freep) Command *command = NULL;

        command = malloc(sizeof(*command));
        if (!command)
                return -ENOMEM;
        *command = (Command){
                .input_fd = -EBADF,
                .output_fd = -EBADF,
                .error_fd = -EBADF,
                .write_ends = { -EBADF, -EBADF },
                .log_left = COMMAND_LOG_BURST,
                .asked_usec = now_usec(CLOCK_MONOTONIC),
                .output_max = COMMAND_OUTPUT_DEFAULT,
                .timeout_usec = USEC_INFINITY,
                .result = { .cpu_usec = UINT64_MAX, .memory_max_bytes = UINT64_MAX },
                .unit.memory_peak = UINT64_MAX,
        };
        command->log_usec = command->asked_usec;
        (void) snprintf(command->id, sizeof(command->id), "%s", id);
        (void) command_stream_open(&command->output, command, -EBADF, false);
        (void) command_stream_open(&command->errors, command, -EBADF, true);

        command->commands = commands;
        command->next = commands->commands;
        commands->commands = command;
        commands->n++;
        *ret = TAKE_PTR(command);
        return 0;
}

Command *command_free(Command *command) {
        if (!command)
                return NULL;

        if (command->commands) {
                for (Command **c = &command->commands->commands; *c; c = &(*c)->next)
                        if (*c == command) {
                                *c = command->next;
                                command->commands->n--;
                                break;
                        }
        }
        sd_bus_slot_unref(command->match);
        sd_bus_slot_unref(command->call);
        sd_bus_slot_unref(command->call_unit);
        sd_bus_slot_unref(command->call_cpu);
        sd_bus_slot_unref(command->call_memory);
        sd_event_source_disable_unref(command->child);
        sd_event_source_disable_unref(command->timer);
        command_stream_done(&command->output);
        command_stream_done(&command->errors);
        safe_close(command->input_fd);
        safe_close(command->output_fd);
        safe_close(command->error_fd);
        for (size_t i = 0; i < ELEMENTSOF(command->write_ends); i++)
                safe_close(command->write_ends[i]);
        strv_free(command->argv);
        strv_free(command->environment);
        free(command->unit_name);
        free(command->path);
        free(command->slice);
        free(command->state);
        free(command->role);
        free(command->description);
        free(command->program);
        free(command->user);
        free(command->group);
        free(command->directory);
        free(command->explanation);
        json_decref(command->properties);
        free(command);
        return NULL;
}

static int make_pipe(CommandStream *stream, Command *command, bool errors, int *ret_write) {
        int ends[2], r;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        *ret_write = ends[1];
        if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
                r = -errno;
                safe_close(ends[0]);
                return r;
        }
        return command_stream_open(stream, command, ends[0], errors);
}

static int make_id(char *buffer) {
        uint64_t id;

        if (getrandom(&id, sizeof(id), GRND_NONBLOCK) != (ssize_t) sizeof(id))
                id = (uint64_t) getpid() << 40 ^ now_usec(CLOCK_REALTIME);
        return snprintf(buffer, COMMAND_ID_SIZE, "%016" PRIx64, id);
}

int command_start(Commands *commands, const CommandSpec *spec, const CommandHandlers *handlers,
        void *userdata, Command **ret) {
        _cleanup_(command_freep) Command *command = NULL;
        char id[COMMAND_ID_SIZE];
        int r;

        assert(commands);

        r = command_spec_check(spec);
        if (r < 0)
                return r;
        if (commands->stopping && !(spec->flags & COMMAND_LATE))
                return -ECANCELED;
        if (!commands->units && json_object_size(spec->unit) > 0)
                return -EOPNOTSUPP;
        if (commands->n >= COMMANDS_MAX)
                return -EBUSY;
        (void) make_id(id);
        r = command_new(commands, id, &command);
        if (r < 0)
                return r;
        r = copy_spec(command, spec);
        if (r >= 0 && command->output_fd < 0)
                r = make_pipe(&command->output, command, false, &command->write_ends[0]);
        if (r >= 0)
                r = make_pipe(&command->errors, command, true, &command->write_ends[1]);
        if (r >= 0)
                r = commands->units ? unit_start(command) : child_start(command);
        if (r < 0)
                return r;
        command->handlers = handlers;
        command->userdata = userdata;
        if (ret)
                *ret = command;
        command = NULL;
        return 0;
}

void command_cancel(Command *command) {
        if (command->cancelled || command->over)
                return;
        command->cancelled = true;
        if (command->commands->units)
                unit_cancel(command);
        else
                child_cancel(command);
}

void command_forget(Command *command) {
        command->handlers = NULL;
}

const char *command_id(const Command *command) {
        return command->id;
}

int64_t command_run(const Command *command) {
        return command->run;
}

const char *command_state(const Command *command) {
        return command->state;
}

const char *command_role(const Command *command) {
        return command->role;
}

const char *command_program(const Command *command) {
        return command->program ?: "a program";
}

/* ---- The end ---------------------------------------------------------------------------------------------------- */

static char *explain(const Command *command, const CommandResult *result) {
        return command_explain(&(CommandEnding){
                .end = result->end,
                .code = result->code,
                .cancelled = command->cancelled,
                .timeout_usec = command->timeout_usec,
                .program = command->argv && command->argv[0] ? command->argv[0] : command_program(command),
                .detail = command->detail[0] ? command->detail : NULL,
                .last = command->flags & COMMAND_SECRET ? NULL : command->errors.last,
        });
}

void command_finish(Command *command, AgentdCommandEnd end, int code) {
        Commands *commands = command->commands;
        CommandResult *result = &command->result;

        if (command->over)
                return;
        command->over = true;
        command_stream_finish(&command->output);
        command_stream_finish(&command->errors);
        command_log_unlogged(command);

        result->end = end;
        result->code = code;
        result->output = command->output.data ?: "";
        result->output_size = command->output.used;
        result->errors = command->errors.data ?: "";
        result->errors_size = command->errors.used;
        result->truncated = command->output.truncated || command->errors.truncated;
        command->explanation = explain(command, result);
        result->explanation = command->explanation ?: "out of memory";

        if (command->handlers)
                command->handlers->on_finished(command->userdata, command, result);
        else if (command->found && command->known && commands->options.on_found)
                commands->options.on_found(commands->options.userdata, command, result);
        if (commands->units)
                unit_release(command);
        if (command->found) {
                command_free(command);
                if (commands->options.on_released)
                        commands->options.on_released(commands->options.userdata);
        } else
                command_free(command);
}

void command_finish_later(Command *command, int error, const char *format, ...) {
        va_list args;

        if (command->detail[0] == 0) {
                va_start(args, format);
                (void) vsnprintf(command->detail, sizeof(command->detail), format, args);
                va_end(args);
        }
        command->result.code = error < 0 ? -error : error;
        (void) sd_event_source_set_enabled(command->commands->finish_event, SD_EVENT_ONESHOT);
}

static int on_finish_event(_unused_ sd_event_source *source, void *userdata) {
        Commands *commands = userdata;

        for (Command *command = commands->commands, *next; command; command = next) {
                next = command->next;
                if (command->result.code != 0 && !command->over) {
                        command_finish(command, AGENTD_COMMAND_NOT_RUN, command->result.code);
                        next = commands->commands; /* whoever was told may have started or forgotten others */
                }
        }
        return 0;
}

/* ---- The manager ------------------------------------------------------------------------------------------------ */

void commands_stop(Commands *commands) {
        commands->stopping = true;
}

bool commands_is_letting_go(const Commands *commands) {
        return commands->n_releasing > 0 && system_bus_get(commands->system);
}

bool commands_are_units(const Commands *commands) {
        return commands->units;
}

unsigned commands_n_found(const Commands *commands) {
        unsigned n = 0;

        for (const Command *command = commands->commands; command; command = command->next)
                n += command->found;
        return n;
}

bool commands_holds(const Commands *commands, const char *state) {
        usec_t now = commands->commands ? now_usec(CLOCK_MONOTONIC) : 0;

        for (const Command *command = commands->commands; command; command = command->next)
                if (unit_holds(command, state, now))
                        return true;
        return false;
}

void command_descriptors_free(CommandDescriptor *descriptors, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free(descriptors[i].name);
                safe_close(descriptors[i].fd);
        }
        free(descriptors);
}

static int take_stream(CommandStream *stream, const char *suffix, CommandDescriptor *ret) {
        if (asprintf(&ret->name, "command-%s-%s", stream->command->id, suffix) < 0)
                return -ENOMEM;
        stream->io = sd_event_source_disable_unref(stream->io);
        ret->fd = TAKE_FD(stream->fd);
        return 0;
}

int commands_take_descriptors(Commands *commands, CommandDescriptor **ret, size_t *ret_n) {
        CommandDescriptor *descriptors = calloc(2 * (size_t) commands->n + 1, sizeof(*descriptors));
        size_t n = 0;

        if (!descriptors)
                return -ENOMEM;
        for (Command *command = commands->commands; commands->units && command; command = command->next) {
                if (command->output.fd >= 0 && take_stream(&command->output, "out", &descriptors[n]) >= 0)
                        n++;
                if (command->errors.fd >= 0 && take_stream(&command->errors, "err", &descriptors[n]) >= 0)
                        n++;
        }
        *ret = descriptors;
        *ret_n = n;
        return 0;
}

static bool use_units(const CommandsOptions *options) {
        if (options->backend != COMMAND_BACKEND_AUTO)
                return options->backend == COMMAND_BACKEND_UNIT;
        return streq(options->root, "/") && sd_booted() > 0 && access(BUS_SOCKET, W_OK) >= 0;
}

int commands_new(sd_event *event, const CommandsOptions *options, Commands **ret) {
        _cleanup_(commands_freep) Commands *commands = NULL;
        int r;

        commands = malloc(sizeof(*commands));
        if (!commands) {
                command_descriptors_free(options->descriptors, options->n_descriptors);
                return -ENOMEM;
        }
        *commands = (Commands){
                .event = sd_event_ref(event),
                .options = *options,
                .units = use_units(options),
        };
        r = sd_event_add_defer(event, &commands->finish_event, on_finish_event, commands);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(commands->finish_event, SD_EVENT_OFF);
        if (commands->units) {
                r = units_init(commands);
                if (r < 0)
                        return r;
        }
        command_descriptors_free(TAKE_PTR(commands->options.descriptors), commands->options.n_descriptors);
        commands->options.n_descriptors = 0;
        *ret = TAKE_PTR(commands);
        return 0;
}

Commands *commands_free(Commands *commands) {
        if (!commands)
                return NULL;

        while (commands->commands) {
                if (!commands->units)
                        child_kill(commands->commands);
                command_free(commands->commands);
        }
        if (commands->units)
                units_done(commands);
        command_descriptors_free(commands->options.descriptors, commands->options.n_descriptors);
        sd_event_source_disable_unref(commands->finish_event);
        sd_event_unref(commands->event);
        free(commands);
        return NULL;
}
