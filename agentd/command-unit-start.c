/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The call that makes a unit of a command. */

#include <assert.h>
#include <inttypes.h>

#include "command-internal.h"
#include "unit-property.h"

/* Statuses that systemd itself gives a process which it could not make a program of. Source: systemd.exec(5), "Process exit
 * codes". */
static const struct {
        int status;
        const char *what;
} steps[] = {
        { 200, "change to its directory" },
        { 201, "set its nice level" },
        { 202, "arrange its descriptors" },
        { 203, "execute it" },
        { 204, "get memory" },
        { 205, "set its limits" },
        { 206, "set its OOM score" },
        { 207, "set its signal mask" },
        { 208, "open its standard input" },
        { 209, "open its standard output" },
        { 210, "change its root directory" },
        { 211, "set its I/O priority" },
        { 212, "set its timer slack" },
        { 213, "set its secure bits" },
        { 214, "set its scheduling" },
        { 215, "set its CPU affinity" },
        { 216, "find or change to its group" },
        { 217, "find or change to its user" },
        { 218, "set its capabilities" },
        { 219, "put it into its cgroup" },
        { 220, "make a session of its own" },
        { 221, "confirm it" },
        { 222, "open its standard error" },
        { 224, "set up PAM" },
        { 225, "set up its network" },
        { 226, "set up its mount namespace" },
        { 227, "forbid new privileges" },
        { 228, "set up its system call filter" },
        { 229, "set its SELinux context" },
        { 230, "set its personality" },
        { 231, "set its AppArmor profile" },
        { 232, "restrict its address families" },
        { 233, "make its runtime directory" },
        { 235, "make its owner" },
        { 236, "set up its user namespace" },
        { 237, "open its terminal" },
        { 238, "make its state directory" },
        { 239, "make its cache directory" },
        { 240, "make its logs directory" },
        { 241, "make its configuration directory" },
        { 242, "set up its NUMA policy" },
        { 243, "set up its credentials" },
};

const char *unit_step_failed(int status) {
        FOREACH_ELEMENT(step, steps)
                if (step->status == status)
                        return step->what;
        return NULL;
}

bool unit_step_is_taken(int status, bool has_properties, bool has_directory, bool has_user) {
        switch (status) {
        case 200: return has_properties || has_directory;
        case 202: /* descriptors */
        case 203:
        case 204: /* memory */
        case 208: /* standard input, output and errors */
        case 209:
        case 219: /* cgroup */
        case 220: /* session */
        case 222: return true;
        case 216:
        case 217: return has_properties || has_user;
        default: return has_properties;
        }
}

/* ---- Pieces ----------------------------------------------------------------------------------------------------- */

static int put_strings(sd_bus_message *m, const char *name, const char *const *fixed, char **list) {
        int r;

        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", name);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        for (; r >= 0 && fixed && *fixed; fixed++)
                r = sd_bus_message_append(m, "s", *fixed);
        for (; r >= 0 && list && *list; list++)
                r = sd_bus_message_append(m, "s", *list);
        for (unsigned i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

/* ---- The program ------------------------------------------------------------------------------------------------- */

/* What systemd 252 writes into the file of a unit and reads back as it was. */
static bool is_safe(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c && strchr("-./:=,@+ _!#&()*<>?[]^{|}~", c));
}

static bool is_text_safe(const char *text) {
        while (is_safe(*text))
                text++;
        return !*text;
}

static bool are_texts_safe(char *const *list) {
        for (; list && *list; list++)
                if (!is_text_safe(*list))
                        return false;
        return true;
}

/* As agentd-exec takes it. */
static int put_encoded(sd_bus_message *m, char kind, const char *text) {
        _cleanup_free_ char *encoded = malloc(3 * strlen(text) + 2);
        char *to = encoded;

        if (!encoded)
                return -ENOMEM;
        *to++ = kind;
        for (; *text; text++)
                if (is_safe(*text) && *text != '_')
                        *to++ = *text;
                else
                        to += sprintf(to, "_%02x", (unsigned) (unsigned char) *text);
        *to = 0;
        return sd_bus_message_append(m, "s", encoded);
}

/* Where the unit does not see the files of the host, agentd-exec may not be there. */
static bool sees_other_files(const Command *command) {
        static const char *const names[] = { "RootDirectory", "RootImage", "InaccessiblePaths",
                "NoExecPaths", "TemporaryFileSystem", "BindPaths", "BindReadOnlyPaths", "MountImages",
                "ExtensionImages", "SystemCallFilter", "SELinuxContext", "AppArmorProfile" };

        FOREACH_ELEMENT(name, names)
                if (json_object_get(command->properties, *name))
                        return true;
        return false;
}

/* A program of which no argument can become too long when it is encoded. Source: MAX_ARG_STRLEN of Linux, 128 KiB. */
static bool are_short(char *const *list) {
        for (; list && *list; list++)
                if (strlen(*list) > KIB(40))
                        return false;
        return true;
}

/*
 * systemd may read its units anew before the job of this one has begun, as a state of type service makes it do. Then what counts is what
 * it has written into the unit's file, which 252 does not read back as it was: '$' and ';' come back with a backslash, line ends
 * cut the line off. What has such characters is executed by agentd-exec, encoded. Where that cannot be, it is an ExecStartEx,
 * which 252 does not read back at all: then it is not run, rather than another program.
 */
typedef enum ProgramForm {
        PROGRAM_PLAIN,
        PROGRAM_ENCODED,
        PROGRAM_UNREADABLE,
} ProgramForm;

static ProgramForm form_of(const Command *command) {
        if (are_texts_safe(command->argv) && are_texts_safe(command->environment))
                return PROGRAM_PLAIN;
        if (sees_other_files(command) || !are_short(command->argv) || !are_short(command->environment) ||
                access(EXEC_PROGRAM, X_OK) < 0)
                return PROGRAM_UNREADABLE;
        return PROGRAM_ENCODED;
}

bool unit_exec_failed(const Command *command) {
        static const char words[] = "Failed to execute '";

        return !command->found && command->unit.status == 203 && command->errors.used > strlen(words) &&
               memcmp(command->errors.data, words, strlen(words)) == 0 &&
               form_of(command) == PROGRAM_ENCODED;
}

static int put_program(sd_bus_message *m, const Command *command, ProgramForm form) {
        bool unreadable = form == PROGRAM_UNREADABLE;
        int r;

        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", unreadable ? "ExecStartEx" : "ExecStart");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', unreadable ? "a(sasas)" : "a(sasb)");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', unreadable ? "(sasas)" : "(sasb)");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'r', unreadable ? "sasas" : "sasb");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", form == PROGRAM_ENCODED ? EXEC_PROGRAM : command->argv[0]);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        if (r >= 0 && form == PROGRAM_ENCODED)
                r = sd_bus_message_append(m, "s", EXEC_PROGRAM);
        for (char **variable = command->environment;
                r >= 0 && form == PROGRAM_ENCODED && variable && *variable; variable++)
                if (!is_text_safe(*variable))
                        r = put_encoded(m, 'e', *variable);
        for (char **argument = command->argv; r >= 0 && *argument; argument++)
                r = form == PROGRAM_ENCODED ? put_encoded(m, 'a', *argument)
                                            : sd_bus_message_append(m, "s", *argument);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = unreadable ? sd_bus_message_append(m, "as", 1, "no-env-expand")
                               : sd_bus_message_append(m, "b", false);
        for (unsigned i = 0; i < 4 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

/* Those that are not passed on by agentd-exec. */
static int put_environment(sd_bus_message *m, const Command *command, ProgramForm form) {
        static const char *const fixed[] = { COMMAND_PATH, COMMAND_LANG, NULL };
        _cleanup_free_ char **list = NULL;
        size_t n = 0;

        if (form != PROGRAM_ENCODED)
                return put_strings(m, "Environment", fixed, command->environment);
        for (char **variable = command->environment; variable && *variable; variable++)
                n++;
        list = calloc(n + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        n = 0;
        for (char **variable = command->environment; variable && *variable; variable++)
                if (is_text_safe(*variable))
                        list[n++] = *variable;
        return put_strings(m, "Environment", fixed, list);
}

/* ---- Other properties --------------------------------------------------------------------------------------------- */

/*
 * Whatever status the program has, the unit has not failed: it would be counted among the units that need somebody's attention,
 * and its cgroup, which knows how much memory was used, would be gone at once. Those statuses that systemd gives itself do
 * fail it.
 */
static int put_statuses(sd_bus_message *m) {
        int32_t numbers[256];
        size_t n = 0;
        int r;

        for (int32_t status = 1; status < 256; status++)
                if (!unit_step_failed(status))
                        numbers[n++] = status;
        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "SuccessExitStatus");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "(aiai)");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'r', "aiai");
        if (r >= 0)
                r = sd_bus_message_append_array(m, 'i', numbers, n * sizeof(int32_t));
        for (n = 0; n < 31; n++)
                numbers[n] = (int32_t) n + 1;
        if (r >= 0)
                r = sd_bus_message_append_array(m, 'i', numbers, n * sizeof(int32_t));
        for (unsigned i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

static int put_field(sd_bus_message *m, const char *name, const char *value) {
        _cleanup_free_ char *field = NULL;

        if (!value)
                return 0;
        if (asprintf(&field, "%s=%s", name, value) < 0)
                return -ENOMEM;
        return sd_bus_message_append_array(m, 'y', field, strlen(field));
}

/* They are in the journal's entries about the unit, and are what a later agentd reads back. */
static int put_fields(sd_bus_message *m, const Command *command) {
        char run[32];
        int r;

        (void) snprintf(run, sizeof(run), "%" PRId64, command->run);
        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "LogExtraFields");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "aay");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "ay");
        if (r >= 0)
                r = put_field(m, "AGENTD_COMMAND", command->id);
        if (r >= 0)
                r = put_field(m, "AGENTD_RUN", command->run > 0 ? run : NULL);
        if (r >= 0)
                r = put_field(m, "AGENTD_STATE", command->state);
        if (r >= 0)
                r = put_field(m, "AGENTD_ROLE", command->role);
        if (r >= 0 && command->flags & (COMMAND_QUIET | COMMAND_SECRET))
                r = put_field(m, "AGENTD_QUIET", "1");
        for (unsigned i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

static int put_fd(sd_bus_message *m, const char *name, int fd) {
        return fd < 0 ? 0 : sd_bus_message_append(m, "(sv)", name, "h", fd);
}

/* What an author may want otherwise, then what the author wants, then what makes it ours. */
static int put_properties(sd_bus_message *m, const Command *command, char *detail, size_t detail_size) {
        ProgramForm form = form_of(command);
        const char *name;
        json_t *value;
        int r;

        /* Otherwise it is that of what is executed first. */
        if (form == PROGRAM_ENCODED) {
                const char *slash = strrchr(command->argv[0], '/');

                r = sd_bus_message_append(
                        m, "(sv)", "SyslogIdentifier", "s", slash ? slash + 1 : command->argv[0]);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "Description", "s", command->description,
                "TimeoutStopUSec", "t", (uint64_t) COMMAND_STOP_USEC, "KillMode", "s", "control-group",
                "Slice", "s", COMMAND_SLICE);
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)", "IgnoreSIGPIPE", "b", false);
        /* A dump would hold what is secret, and be kept. */
        if (r >= 0 && command->flags & COMMAND_SECRET)
                r = sd_bus_message_append(m, "(sv)", "LimitCORE", "t", UINT64_C(0));
        if (r < 0)
                return r;
        json_object_foreach(command->properties, name, value) {
                r = unit_property_append(m, name, value);
                if (r < 0) {
                        (void) snprintf(
                                detail, detail_size, "unit property '%s' cannot be set to that", name);
                        return r;
                }
        }

        r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "Type", "s", "exec", "RemainAfterExit", "b", true,
                "CPUAccounting", "b", true, "MemoryAccounting", "b", true);
        /* PID 1 sees to the deadline, also while no agentd runs. */
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)", "RuntimeMaxUSec", "t",
                        (uint64_t) command->timeout_usec, "TimeoutStartUSec", "t",
                        (uint64_t) command->timeout_usec);
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)", "UMask", "u", (uint32_t) command->umask);
        if (r >= 0 && command->user)
                r = sd_bus_message_append(m, "(sv)", "User", "s", command->user);
        if (r >= 0 && command->group)
                r = sd_bus_message_append(m, "(sv)", "Group", "s", command->group);
        if (r >= 0 && command->directory)
                r = sd_bus_message_append(m, "(sv)", "WorkingDirectory", "s", command->directory);
        if (r >= 0)
                r = put_environment(m, command, form);
        if (r >= 0)
                r = put_statuses(m);
        if (r >= 0)
                r = put_fields(m, command);
        if (r >= 0)
                r = put_fd(m, "StandardInputFileDescriptor", command->input_fd);
        if (r >= 0)
                r = put_fd(m, "StandardOutputFileDescriptor",
                        command->output_fd >= 0 ? command->output_fd : command->write_ends[0]);
        if (r >= 0)
                r = put_fd(m, "StandardErrorFileDescriptor", command->write_ends[1]);
        return r < 0 ? r : put_program(m, command, form);
}

int unit_start_message(
        const Command *command, sd_bus *bus, sd_bus_message **ret, char *detail, size_t detail_size) {
        sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                "org.freedesktop.systemd1.Manager", "StartTransientUnit");
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", command->unit_name, "fail");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sv)");
        if (r >= 0)
                r = put_properties(m, command, detail, detail_size);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_append(m, "a(sa(sv))", 0);
        if (r < 0) {
                sd_bus_message_unref(m);
                return r;
        }
        *ret = m;
        return 0;
}
