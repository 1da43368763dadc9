/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * <agentd/module.h>: how a module talks to agentd. This is the whole of the interface; nothing else of agentd can be
 * called. docs/modules.md draws the order of the calls and walks through an example.
 *
 * A module is a shared object NAME.so with one constant, made by AGENTD_MODULE() at the end of its source. It declares
 * state types: their parameters as data, and four callbacks.
 *
 *      prepare   loader         parameters → private data; pure: must not look at the host
 *      watch     loader         says which paths, units and bus signals mean "check me"
 *      check     check worker   reads the host, reports differences; cannot write, the kernel sees to that
 *      apply     apply worker   makes the host as declared, as root
 *
 * The loader, a check worker and an apply worker are different processes. What they share is the image: private data
 * that prepare allocates with agentd_alloc() lies in it and is found at the same address everywhere. So private data
 * may point into memory from agentd_alloc() and to parameter values, and never to code, constants of the module or
 * memory from malloc(): those addresses may differ in the next process.
 *
 * A callback may block: it runs in a process of its own, which is killed when no state has been finished
 * for the timeout of one.
 * Crashing, hanging or eating memory harms the states of the module alone.
 *
 * The promise: a module built against this header works with every later agentd of the same AGENTD_ABI. Members and
 * functions are only ever added at the end; agentd knows from the sizes that AGENTD_MODULE() records what the module
 * was built with.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AGENTD_ABI 1u

#define AGENTD_EXPORT       __attribute__((visibility("default")))
#define AGENTD_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* ---- Values ---------------------------------------------------------------------------------------------------- */

/* Of a string that is in a value "as written" (AGENTD_TABLE, AGENTD_ANY): it was a date, a time or both of TOML, in RFC 3339. */
#define AGENTD_DATE 1u

typedef enum AgentdType {
        AGENTD_NONE = 0, /* of a value: not given and without a default; JSON's null */
        AGENTD_BOOLEAN = 1,
        AGENTD_INTEGER = 2,
        AGENTD_FLOAT = 3,
        AGENTD_STRING = 4,
        AGENTD_LIST = 5,  /* a parameter: list of strings */
        AGENTD_TABLE = 6, /* a parameter: any table, given on as written */
        AGENTD_RECORD =
                7, /* a parameter: a table with declared fields; the value has one item for each field */

        /* Types of parameters only: written as strings, checked and converted by agentd, seen as AGENTD_INTEGER. */
        AGENTD_MODE = 16,     /* octal digits "0644" → mode bits */
        AGENTD_TIMESPAN = 17, /* "2min 30s", see systemd.time(7) → microseconds */
        AGENTD_BYTES = 18,    /* "64M", powers of 1024 → bytes */
        AGENTD_ANY = 19,      /* whatever is written, with the type it has */
} AgentdType;

typedef struct AgentdValue AgentdValue;
typedef struct AgentdMember AgentdMember;

struct AgentdValue {
        uint32_t type; /* AgentdType, below 16 */
        uint32_t n;    /* items of a list or record, members of a table; of a string: 0, or AGENTD_DATE */
        union {
                bool boolean;
                int64_t integer;
                double real;
                const char *string;          /* NUL-terminated */
                const AgentdValue *items;    /* of a list; of a record: by index of the declared field */
                const AgentdMember *members; /* of a table, in the order of the source */
        };
        size_t size; /* bytes of a string without the terminator; strings may hold NUL */
};                   /* the size of this struct never changes */

struct AgentdMember {
        const char *key;
        AgentdValue value;
};

/* ---- Declarations ---------------------------------------------------------------------------------------------- */

/* Flags of a parameter. */
#define AGENTD_REQUIRED (1u << 0)
#define AGENTD_SECRET   (1u << 1) /* never shown: not in diffs, logs, events or errors */
#define AGENTD_PATH     (1u << 2) /* an absolute path; agentd checks and normalises it */
#define AGENTD_TEMPLATE (1u << 3) /* names a template beside the role; the module sees the rendered text */
#define AGENTD_SOURCE \
        (1u << 4) /* names a file beside the role; the module sees its absolute path, and a change of
                                   * the file means "check me" */
#define AGENTD_USER    (1u << 5) /* a user's name: the state comes after user:NAME, if that is declared */
#define AGENTD_GROUP   (1u << 6) /* a group's name: likewise */
#define AGENTD_LITERAL (1u << 7) /* {{…}} in it is not replaced */
#define AGENTD_UNIT \
        (1u << 8) /* of a table: properties of a unit, as systemd-run -p takes them; agentd checks them */
#define AGENTD_CHECKSUM \
        (1u << 9) /* of a string: as agentd_has_checksum() wants it; agentd checks its form */
#define AGENTD_SYMBOLIC \
        (1u << 10) /* of a mode: what is not octal digits ("u=rwX,go-w") is given on as AGENTD_STRING */
#define AGENTD_IDENTIFIES \
        (1u << 11) /* says what the state is about: it goes with ensure = "absent" when the state itself is declared no
                    * more, and if it changes, what was there before is removed. What is AGENTD_REQUIRED goes with it as
                    * well. Of a type with `ensure`. Never a secret: it is written down in clear. Of AGENTD_NAME_IS_PATH
                    * it may also say how that is removed; see also agentd_prepare_removal() */

typedef struct AgentdParameter AgentdParameter;

struct AgentdParameter {
        const char *name;
        AgentdType type;
        uint32_t flags;
        const char *default_value;  /* as text, e.g. "true", "0644"; NULL: AGENTD_NONE */
        const char *documentation;  /* one line, for the reference page */
        const char *const *choices; /* of a string: the words allowed, ended by NULL; or NULL */
        const char *exclusive;      /* of the parameters with the same word here, at most one may be given */
        const AgentdParameter *fields; /* of a record: ended by one without name */
};

typedef struct AgentdPrepare AgentdPrepare;
typedef struct AgentdWatch AgentdWatch;
typedef struct AgentdContext AgentdContext;

/* One state of a batch. */
typedef struct AgentdState {
        const char *name;     /* "/etc/motd" of file:/etc/motd */
        const void *data;     /* what prepare returned; or, without prepare, the values of the parameters
                           * (const AgentdValue *, by index) */
        const char *id;       /* "file:/etc/motd" */
        uint32_t flags;       /* AGENTD_STATE_… */
        uint32_t reserved[9]; /* the size of this struct never changes */
} AgentdState;

/* In a plan: a state that this one requires would be changed first. So what is missing now (a directory, a user) may
 * well be there when it comes to applying: report it as a difference rather than fail. */
#define AGENTD_STATE_PENDING (1u << 0)

/* Nothing of it may be shown. agentd sees to results, differences and what commands say; what a module logs itself is its own
 * concern. */
#define AGENTD_STATE_SENSITIVE (1u << 1)

/*
 * A state that this one listens to (check_on, reload_on, restart_on of the role) has changed, and this one has not been brought in
 * order since; it is remembered until that has happened, also over a restart of agentd.
 *
 * RELOAD and RESTART come up only for types that say AGENTD_RELOADS, AGENTD_RESTARTS. agentd itself reports that as a difference
 * ("reload", "restart"), so that the state comes to apply, with the same flags, which has to do it; in the check that follows they are
 * gone. NOTICED is for check: a type that does things, rather than keeps them, may differ for that reason.
 */
#define AGENTD_STATE_NOTICED (1u << 2)
#define AGENTD_STATE_RELOAD  (1u << 3)
#define AGENTD_STATE_RESTART (1u << 4)

/* Flags of a state type. */
#define AGENTD_NAME_IS_PATH \
        (1u << 0)                /* the name is an absolute path, which the state owns: agentd normalises it,
                                       * refuses a second owner, and orders the state after those that own a parent
                                       * directory */
#define AGENTD_NO_PLAN (1u << 1) /* check cannot tell without changing: in a plan the result is `unknown` */
#define AGENTD_CHECK_RUNS \
        (1u << 2) /* check may call agentd_run_command(). Without it, it may as well, but what it runs has
                   * no /tmp of its own and can write nothing at all, and not with --root */
#define AGENTD_COPIES_VALUES \
        (1u << 3) /* prepare keeps no pointer to the values of parameters themselves, which go when it returns. What they
                   * point to stays: strings, items, members. For types of which there are many states */
#define AGENTD_RELOADS  (1u << 4) /* a state takes `reload_on` */
#define AGENTD_RESTARTS (1u << 5) /* … `restart_on` */

/* Flags of a call of prepare. */
#define AGENTD_ON_REMOVAL \
        (1u << 0) /* the role says on_removal = "absent": if nobody could tell then what is to be removed, say so with
                   * agentd_prepare_error() */

/* Flags of a call of check and apply. */
#define AGENTD_PLAN (1u << 0) /* this is a plan: nothing will be applied after */
#define AGENTD_DIFF \
        (1u << 1) /* somebody will look at text differences: report them with agentd_differs_text() */
#define AGENTD_RECHECK \
        (1u << 2) /* this is the check after apply: what differs has failed; agentd_failed() can say why */

typedef struct AgentdStateType {
        const char *name;                  /* lower case letters, digits, '-' */
        const char *documentation;         /* one line */
        const AgentdParameter *parameters; /* ended by one without name */
        uint32_t flags;
        uint32_t batch_max; /* states a batch has at most; 0: no limit */
        uint64_t
                timeout_usec; /* for check and for apply of one state, unless the role says otherwise; 0: 1 min */

        /*
         * prepare - optional; default: the values of the parameters are the private data
         * @parameters: one value for each declared parameter, by index; they stay where they are for as long as the
         *              image lives, so that private data may point to them
         *
         * Return: 0; any negative value if the state cannot be: say why with agentd_prepare_error() first, it is
         *         shown with the place in the role.
         */
        int (*prepare)(AgentdPrepare *prepare, const char *name, const AgentdValue *parameters,
                const void **ret_data, unsigned flags);

        /*
         * watch - optional; default: nothing is watched, the state is checked at the interval only
         *
         * Return: 0, or -errno, which makes the load fail.
         */
        int (*watch)(AgentdWatch *watch, const AgentdState *state, unsigned flags);

        /*
         * check - required; reads the host, and for each state reports the differences, then agentd_done()
         *
         * Return: 0; a negative errno fails those states for which nothing was said yet.
         */
        int (*check)(AgentdContext *context, const AgentdState *states, size_t n, unsigned flags);

        /*
         * apply - required; makes the differences go away within this call, then agentd_done() for each state
         *
         * Called only for states that check found to differ, though the host may have changed since. agentd checks
         * them again afterwards; a state that then still differs has failed.
         *
         * Return: as check.
         */
        int (*apply)(AgentdContext *context, const AgentdState *states, size_t n, unsigned flags);
} AgentdStateType;

/* Declared by a later header; AgentdBuiltin at the end of this one. */
typedef struct AgentdTriggerType AgentdTriggerType;
typedef struct AgentdSinkType AgentdSinkType;
typedef struct AgentdBuiltin AgentdBuiltin;
typedef struct AgentdFactSource AgentdFactSource;

typedef struct AgentdModule {
        uint32_t abi;  /* AGENTD_ABI */
        uint32_t size; /* of this struct … */
        uint32_t
                state_type_size; /* … and of those it leads to, in the header that the module was built with */
        uint32_t parameter_size;
        const char *name;
        const char *version;
        const AgentdStateType *const *state_types; /* ended by NULL; so are the others, or they are NULL */
        const AgentdTriggerType *const *trigger_types;
        const AgentdSinkType *const *sink_types;
        const AgentdBuiltin *const *builtins;
        const AgentdFactSource *const *fact_sources;
} AgentdModule;

/* Ends the source of a module: AGENTD_MODULE("hosts", "1", &hosts_entry, &other_type) */
#define AGENTD_MODULE(name_, version_, ...)                                                      \
        static const AgentdStateType *const agentd_module_state_types[] = { __VA_ARGS__, NULL }; \
        extern const AgentdModule agentd_module;                                                 \
        AGENTD_EXPORT const AgentdModule agentd_module = {                                       \
                .abi = AGENTD_ABI,                                                               \
                .size = sizeof(AgentdModule),                                                    \
                .state_type_size = sizeof(AgentdStateType),                                      \
                .parameter_size = sizeof(AgentdParameter),                                       \
                .name = (name_),                                                                 \
                .version = (version_),                                                           \
                .state_types = agentd_module_state_types,                                        \
        }

/* ---- In prepare and watch -------------------------------------------------------------------------------------- */

/* Zeroed memory in the image; never NULL. It can be written until prepare returns. */
AGENTD_EXPORT void *agentd_alloc(AgentdPrepare *prepare, size_t size);
AGENTD_EXPORT char *agentd_strdup(AgentdPrepare *prepare, const char *text);

/* Says what is wrong with a parameter (by index, or -1: with the state as such). One line, no full stop. */
AGENTD_EXPORT void agentd_prepare_error(AgentdPrepare *prepare, int parameter, const char *format, ...)
        AGENTD_PRINTF(3, 4);

/* The state comes after the state of this id ("package:nginx"), if such a one is declared, and is blocked if that one
 * fails. */
AGENTD_EXPORT void agentd_prepare_after(AgentdPrepare *prepare, const char *id);

/* What this state takes at most, if the role does not say it: it is one of those that take longer than others of its type. */
AGENTD_EXPORT void agentd_prepare_timeout(AgentdPrepare *prepare, uint64_t timeout_usec);

/*
 * agentd_prepare_removal() - what a parameter will be when the state is declared no more, and its role said
 * on_removal = "absent"
 * @parameter: by index
 * @value:     of the type that the parameter has when it is read; AGENTD_NONE: it is not given then. What it points to must
 *             stay until prepare returns and the loader has written it down: memory from agentd_alloc(), values of
 *             parameters, constants. No secret
 *
 * Then the state is made anew from those parameters alone that say what it is about (AGENTD_IDENTIFIES), with ensure =
 * "absent"; this adds another one, or says one otherwise.
 */
AGENTD_EXPORT void agentd_prepare_removal(
        AgentdPrepare *prepare, unsigned parameter, const AgentdValue *value);

/* What a state of a type with AGENTD_NAME_IS_PATH makes of its path. Without a word it is a directory. */
typedef enum AgentdPathKind {
        AGENTD_PATH_DIRECTORY = 0, /* others may lie below: they come after it */
        AGENTD_PATH_LEAF = 1,      /* nothing can lie below: a state that wants it is an error */
        AGENTD_PATH_ABSENT = 2,    /* likewise; what is to be absent below comes before it */
        AGENTD_PATH_EDITABLE =
                3, /* a leaf of which the state does not say what is in it: see agentd_prepare_edits() */
        AGENTD_PATH_TREE = 4, /* a directory with all that is below, but for what others own there */
} AgentdPathKind;

AGENTD_EXPORT void agentd_prepare_path_kind(AgentdPrepare *prepare, AgentdPathKind kind);

/*
 * agentd_prepare_edits() - the state is about a part of the file at this path, which others edit as well
 * @path: absolute and normalised; a parameter with AGENTD_PATH is
 *
 * It comes after the state that owns the path (which must be AGENTD_PATH_EDITABLE, or the load fails) and after those that
 * own the directories above. States of one type that edit the same file and are ready together come in one batch, in the order
 * in which they are declared, so that the file can be written once for all of them.
 */
AGENTD_EXPORT void agentd_prepare_edits(AgentdPrepare *prepare, const char *path);

/*
 * A change of this path, unit, or a bus signal that matches (a match rule of the D-Bus specification) means "check me".
 * Paths and units need not exist. A unit has its full name ("a.service"; "a@.service": all instances); it has changed when it has
 * come to rest, so not while it starts or stops. Likewise when unit files have changed, or a signal may have been lost.
 */
AGENTD_EXPORT void agentd_watch_path(AgentdWatch *watch, const char *path);
AGENTD_EXPORT void agentd_watch_unit(AgentdWatch *watch, const char *unit);
AGENTD_EXPORT void agentd_watch_bus(AgentdWatch *watch, const char *match);

/*
 * agentd_watch_tree() - like agentd_watch_path(), but also of whatever lies below, on the same file system
 * @depth:   levels below the path; 0: all
 * @exclude: names or paths relative to the tree, as fnmatch(3) takes them with FNM_PERIOD unset, which are not looked
 *           into; ended by NULL; or NULL
 *
 * Each directory costs a watch. Those beyond the host's budget are seen by the next full run only, which is said.
 */
AGENTD_EXPORT void agentd_watch_tree(
        AgentdWatch *watch, const char *path, unsigned depth, const char *const *exclude);

/* ---- In check and apply: reporting ----------------------------------------------------------------------------- */
/* `i` is the index of the state in the batch. A report for a state that is already finished is ignored. */

/* Of one state 1000 differences are told, and 256 KiB; beyond that only that there are more, or the attributes. */

/* One difference: an attribute, what it is, what it should be. NULL means "nothing there". */
AGENTD_EXPORT void agentd_differs(AgentdContext *context, size_t i, const char *attribute,
        const AgentdValue *is, const AgentdValue *should);
AGENTD_EXPORT void agentd_differs_string(
        AgentdContext *context, size_t i, const char *attribute, const char *is, const char *should);
AGENTD_EXPORT void agentd_differs_integer(
        AgentdContext *context, size_t i, const char *attribute, int64_t is, int64_t should);
AGENTD_EXPORT void agentd_differs_boolean(
        AgentdContext *context, size_t i, const char *attribute, bool is, bool should);

/* Mode bits, shown as octal strings: "0644". */
AGENTD_EXPORT void agentd_differs_mode(
        AgentdContext *context, size_t i, const char *attribute, mode_t is, mode_t should);

/*
 * agentd_differs_text() - a difference between two texts
 * @is: NULL if there is nothing; binary data is fine
 *
 * Shown as size and SHA-256 of each, with AGENTD_DIFF also as a unified diff, which agentd makes.
 */
AGENTD_EXPORT void agentd_differs_text(AgentdContext *context, size_t i, const char *attribute,
        const void *is, size_t is_size, const void *should, size_t should_size);

/* The state is finished. In check: it is as declared if no difference was reported. In apply: it was applied. */
AGENTD_EXPORT void agentd_done(AgentdContext *context, size_t i);

/* The state is finished: it could not be read or made so. One line, no full stop: "Failed to open '/x': …". */
AGENTD_EXPORT void agentd_failed(AgentdContext *context, size_t i, const char *format, ...)
        AGENTD_PRINTF(3, 4);

/* The state is finished: whether it differs cannot be told, e.g. in a plan since it depends on what another state
 * would do. */
AGENTD_EXPORT void agentd_unknown(AgentdContext *context, size_t i, const char *format, ...)
        AGENTD_PRINTF(3, 4);

/* In apply, before a change: what undoes it, e.g. ("mode", the old mode). Becomes part of the result. Text of more than
 * 1 KiB, and all values of a sensitive state, are kept as agentd_keep() does. */
AGENTD_EXPORT void agentd_undo(AgentdContext *context, size_t i, const char *what, const AgentdValue *old);

/*
 * agentd_keep(), agentd_keep_file() - In apply, before a change: likewise, with old content of any size, or that of an open
 * file, from its start to its end; its offset stays where it is
 *
 * It is kept beside the result, compressed, under its hash, once however often it comes up; of a sensitive state encrypted, and
 * under a keyed hash. What is larger than the host keeps, or cannot be kept, is noted with its size, and said in the log: a
 * change is not held up by that.
 */
AGENTD_EXPORT void agentd_keep(
        AgentdContext *context, size_t i, const char *what, const void *content, size_t size);
AGENTD_EXPORT void agentd_keep_file(AgentdContext *context, size_t i, const char *what, int fd);

/* A line in the log. level: LOG_ERR … LOG_DEBUG of syslog.h. */
AGENTD_EXPORT void agentd_log(AgentdContext *context, int level, const char *format, ...)
        AGENTD_PRINTF(3, 4);

/* ---- In check and apply: looking things up --------------------------------------------------------------------- */

/* The worker's connection to the system bus, opened at the first call, and opened anew if it broke; not owned. Return: 0; -errno
 * if there is no bus. */
struct sd_bus;
AGENTD_EXPORT int agentd_bus(AgentdContext *context, struct sd_bus **ret);

/*
 * The id of a user or group by name; a number ("1000") stands for itself. Looks into the files of the managed root
 * first, which is cheap, and asks NSS only if they do not have it.
 * Return: 0; -ESRCH if there is none of that name; other -errno.
 */
AGENTD_EXPORT int agentd_user_id(AgentdContext *context, const char *name, uid_t *ret);
AGENTD_EXPORT int agentd_group_id(AgentdContext *context, const char *name, gid_t *ret);

/* The name of a user or group, or the number as text if it has none. Valid until the next call. */
AGENTD_EXPORT const char *agentd_user_name(AgentdContext *context, uid_t uid);
AGENTD_EXPORT const char *agentd_group_name(AgentdContext *context, gid_t gid);

/* ---- In check and apply: paths --------------------------------------------------------------------------------- */
/*
 * Paths are absolute and below the managed root (/ or --root DIR). They are walked by directory descriptor: a symlink
 * on the way is followed only where nobody but root could have put it, otherwise the call fails with -ELOOP.
 */

/*
 * agentd_open_parent() - opens the directory that holds a path
 * @ret_fd:   an O_PATH descriptor that belongs to the context and stays open until 16 other directories were
 *            opened or agentd_remove() was called: use it at once, do not close it
 * @ret_name: the last part of the path, for use with *at() calls; points into path
 *
 * Return: 0; -ENOENT, -ENOTDIR, -ELOOP, -EACCES; other -errno.
 */
AGENTD_EXPORT int agentd_open_parent(
        AgentdContext *context, const char *path, int *ret_fd, const char **ret_name);

/*
 * Opens, for reading, the regular file that a parameter with AGENTD_SOURCE names. The caller closes it.
 * Return: 0; -ELOOP if a symlink was refused; -EISDIR, -ENXIO if it is something else; other -errno.
 */
AGENTD_EXPORT int agentd_open_source(AgentdContext *context, const char *path, int *ret_fd);

/* Attributes of what is made. */
typedef struct AgentdAttributes {
        mode_t mode;
        uid_t uid;
        gid_t gid;
        uint32_t reserved[5]; /* 0 */
} AgentdAttributes;

/* Makes the directories above a path that are missing, with these attributes. Return: 0; -errno. apply only. */
AGENTD_EXPORT int agentd_make_parents(
        AgentdContext *context, const char *path, const AgentdAttributes *attributes);

/*
 * Puts a file of this content in place of whatever file or symlink is there, in one step: a reader sees the old or
 * the new, whole; so does the next boot after a power cut. If it fails the old is untouched, but
 * for -EIO of the last step, which makes the change itself durable. apply only.
 * Return: 0; -EISDIR if a directory is in the way; -ENOSPC, -EROFS and other -errno.
 */
AGENTD_EXPORT int agentd_replace_file(AgentdContext *context, const char *path, const void *content,
        size_t size, const AgentdAttributes *attributes);

/* The same with the content of an open file, from its start. */
AGENTD_EXPORT int agentd_replace_file_from(
        AgentdContext *context, const char *path, int fd, const AgentdAttributes *attributes);

/*
 * The same for a state that is one of many: the file is written beside its place, and takes it when apply returns (or before,
 * if there are very many), together with the others, for which the file system is synced once and not once each. The state
 * of index i is then finished by agentd: call neither agentd_done() nor agentd_failed() for it if this returns 0. path must
 * stay until apply returns; until then the old file is what one sees. apply only.
 */
AGENTD_EXPORT int agentd_stage_file(AgentdContext *context, size_t i, const char *path, const void *content,
        size_t size, const AgentdAttributes *attributes);
AGENTD_EXPORT int agentd_stage_file_from(
        AgentdContext *context, size_t i, const char *path, int fd, const AgentdAttributes *attributes);

/* Likewise a symlink. */
AGENTD_EXPORT int agentd_replace_symlink(
        AgentdContext *context, const char *path, const char *target, uid_t uid, gid_t gid);

/* Makes one directory. Return: 0; -EEXIST; other -errno. apply only. */
AGENTD_EXPORT int agentd_make_directory(
        AgentdContext *context, const char *path, const AgentdAttributes *attributes);

/*
 * agentd_rewrite_file() - likewise puts a new content in place of a file that is there, and keeps all else
 * @fd: the file, open; its mode, owner, access control list and extended attributes are those of the new one
 *
 * apply only. Return: 0; -ESTALE if the path is not that file any more; as agentd_replace_file().
 */
AGENTD_EXPORT int agentd_rewrite_file(
        AgentdContext *context, const char *path, int fd, const void *content, size_t size);

/* Removes a file, symlink or empty directory. Return: 0, also if nothing is there; -ENOTEMPTY; other -errno. */
AGENTD_EXPORT int agentd_remove(AgentdContext *context, const char *path);

/* ---- In check and apply: running programs ---------------------------------------------------------------------- */

/* Flags of a command. */
#define AGENTD_COMMAND_SECRET   (1u << 0) /* its arguments are not shown, its output is not logged */
#define AGENTD_COMMAND_QUIET    (1u << 1) /* its output is not logged */
#define AGENTD_COMMAND_INPUT_FD (1u << 2) /* standard input is input_fd */
#define AGENTD_COMMAND_OUTPUT_FD \
        (1u << 3) /* standard output is output_fd, and not captured. Both may be a directory */
#define AGENTD_COMMAND_UMASK (1u << 4) /* umask is given */

typedef struct AgentdCommand {
        size_t size;             /* sizeof(AgentdCommand) */
        const char *const *argv; /* ended by NULL; argv[0] is an absolute path */
        const char *const *
                environment; /* "NAME=value", ended by NULL; or NULL. Besides, PATH and LANG are always set */
        const void *input;   /* for its standard input; NULL: empty */
        size_t input_size;
        uint64_t timeout_usec; /* 0: what is left of the state's */
        uint32_t flags;
        uint32_t umask;          /* 0022 unless given */
        const char *directory;   /* that it runs in; NULL: / */
        const char *user;        /* name or number; NULL: root, in check that of checks whatever is said */
        const char *group;       /* NULL: that of the user */
        const AgentdValue *unit; /* of a parameter with AGENTD_UNIT: properties of its unit; NULL: none */
        int input_fd;            /* see flags; stay the caller's */
        int output_fd;
        size_t output_max; /* bytes that are captured, of output and errors each; 0: 1 MiB */
} AgentdCommand;

/* How a command ended. */
typedef enum AgentdCommandEnd {
        AGENTD_COMMAND_EXITED = 0,    /* code is its exit status */
        AGENTD_COMMAND_KILLED = 1,    /* code is the signal */
        AGENTD_COMMAND_TIMED_OUT = 2, /* likewise */
        AGENTD_COMMAND_NOT_RUN = 3,   /* code is an errno, positive: no such program, no such user, … */
} AgentdCommandEnd;

typedef struct AgentdCommandResult {
        size_t size;        /* sizeof(AgentdCommandResult), set by the caller */
        int status;         /* as of waitpid(2); 0 if it did not run */
        const char *output; /* standard output, ended by a NUL that is not counted; never NULL */
        size_t output_size;
        const char *errors; /* standard error, likewise */
        size_t errors_size;
        uint32_t end;              /* AgentdCommandEnd */
        int32_t code;              /* see there */
        uint32_t truncated;        /* not 0: there was more output than is here */
        uint64_t duration_usec;    /* from its start to its end */
        uint64_t cpu_usec;         /* UINT64_MAX: not known */
        uint64_t memory_max_bytes; /* likewise */
        const char *explanation;   /* one line for people: "it exited with status 3: cannot open 'x'" */
} AgentdCommandResult;

/*
 * agentd_run_command() - runs a program, and waits for its end
 *
 * In apply it is a transient unit that agentd requests, in agentd.slice, with all output also in the journal under the run and
 * the state. In a single run on a host without systemd it is a child of agentd. In check it is a child of the worker, in
 * the worker's sandbox: it can read everything and write only to a /tmp of its own. Whatever it has started is killed with it.
 *
 * What ret points to belongs to the context and is valid until its next command.
 *
 * Return: 0 if *ret says how it ended, well or not; -EINVAL: the command is not well-formed; -EOPNOTSUPP: output_fd, user or
 * unit in a check; -ECANCELED: agentd is stopping; other -errno: it could not be tried at all.
 */
AGENTD_EXPORT int agentd_run_command(
        AgentdContext *context, size_t i, const AgentdCommand *command, AgentdCommandResult *ret);

/* ---- In check and apply: checksums and downloads ------------------------------------------------------------------ */

/*
 * agentd_has_checksum() - is this the checksum of an open file?
 * @checksum: "sha256:HEX", "sha512:HEX" or "blake2b:HEX" (256 or 512 bits); a plain HEX is SHA-256
 *
 * Return: 1; 0; -EINVAL: it is none; -errno of reading.
 */
AGENTD_EXPORT int agentd_has_checksum(AgentdContext *context, int fd, const char *checksum);

typedef struct AgentdDownload {
        size_t size;             /* sizeof(AgentdDownload) */
        const char *const *urls; /* https, http, ftp or file; tried in this order; ended by NULL */
        const char *checksum;    /* as above; NULL if it is signed */
        const char *
                signature; /* URL of a signature in minisign's format; NULL: that of the file + ".minisig" */
        const char *const *
                keys; /* public keys in minisign's format, one of which must have made it; ended by NULL; or NULL */
        const char *const *headers; /* "Name: value", ended by NULL; or NULL */
        const char *credentials;    /* path of a file that only root can read: lines of netrc(5); or NULL */
        const char *proxy;          /* URL; NULL: as agentd's environment says */
        const char *ca_file;        /* that certificates are verified with; NULL: the system's */
        uint64_t max_bytes;         /* 0: 1 GiB */
        uint64_t timeout_usec;      /* of one attempt; 0: what is left of the state's */
        uint32_t retries;           /* after each URL has been tried once */
        uint32_t flags;             /* 0 */
} AgentdDownload;

/*
 * agentd_download() - fetches a file, by a process of its own without rights, and verifies it
 * @ret_fd: a file without a name, read-only, at its start, whose content is what was promised; the caller closes it
 *
 * apply only. One that was interrupted is gone on with where it was, if the server can.
 *
 * Return: 0; -EBADMSG: what came is not what was promised; -ETIMEDOUT; -EFBIG: too large; -ENOENT: no server has it; -EACCES: one
 * wants other credentials; -EHOSTUNREACH: none can be reached; -EPROTO: other trouble; other -errno. For people, one line of why
 * is in agentd_download_error(), valid until the next download.
 */
AGENTD_EXPORT int agentd_download(
        AgentdContext *context, size_t i, const AgentdDownload *download, int *ret_fd);
AGENTD_EXPORT const char *agentd_download_error(AgentdContext *context);

/* For text like "sha512:HEX", with the NUL. */
#define AGENTD_CHECKSUM_SIZE 160

/*
 * agentd_is_downloaded() - is an open file what a download would bring?
 * @ret_is: its checksum, of the kind that is wanted; of what is signed, SHA-256, unless it is what it should be
 *
 * With a checksum it must be that of the file. What is only signed must fit the signature that came with the state's last
 * download, which agentd keeps. Nothing is fetched.
 *
 * Return: 1; 0; -EINVAL: checksum or keys are not well-formed; -errno of reading.
 */
AGENTD_EXPORT int agentd_is_downloaded(AgentdContext *context, size_t i, int fd,
        const AgentdDownload *download, char ret_is[AGENTD_CHECKSUM_SIZE]);

/* ---- In check: what need not be read again --------------------------------------------------------------------- */
/*
 * A check that reads whole files can remember that it has found them as declared, and what they were then: device, inode,
 * size, mtime, ctime. While they are still that, it need not read them again:
 *
 *      statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &file);
 *      if (!agentd_unchanged(context, i, &file, 1)) {
 *              fd = openat(dir_fd, name, …);
 *              … read and compare …
 *              if (all is as declared)
 *                      agentd_remember(context, i, &fd, 1);
 *      }
 *      … compare mode and owner, of which agentd_unchanged() says nothing …
 *      agentd_done(context, i);
 *
 * What is remembered is forgotten when the state turns out to differ, fails or is applied, and when its parameters or the
 * module have changed. In a single run nothing is.
 */

struct statx;

/*
 * agentd_unchanged() - are these the files that agentd_remember() was called for?
 * @files: what statx(2) with STATX_BASIC_STATS says of them now, in the same order; 8 at most
 *
 * If so, reading them would find what was found then. False is always a right answer.
 */
AGENTD_EXPORT bool agentd_unchanged(
        AgentdContext *context, size_t i, const struct statx *files, size_t n_files);

/*
 * agentd_remember() - these files are as the state declares, if agentd_done() follows and there is no difference
 * @fds: the open files whose content was read, in this call of check; whatever else their content was compared with must
 *       be parameters, or be among them
 *
 * agentd looks at them again and decides by itself whether a later change could be told: not if they were changed within
 * the last two seconds, nor on network file systems, FUSE, FAT, tmpfs, /proc and the like.
 */
AGENTD_EXPORT void agentd_remember(AgentdContext *context, size_t i, const int *fds, size_t n_fds);

/*
 * agentd_remember_seen() - likewise, with what statx(2) said of the files before they were opened, in this call of check, so that
 * they are not looked at once more
 *
 * It was said of the name in the directory's descriptor that the file was opened by: had another file been put there in between, the
 * time of change of the one would tell.
 */
AGENTD_EXPORT void agentd_remember_seen(
        AgentdContext *context, size_t i, const int *fds, const struct statx *files, size_t n_files);

/* Looks at what agentd_open_source() would open, without opening it. Return: 0; -ELOOP if it is a symlink: open it to
 * see where it leads; otherwise as that. */
AGENTD_EXPORT int agentd_stat_source(AgentdContext *context, const char *path, struct statx *ret);

/* ---- In apply: replacing a file, in detail --------------------------------------------------------------------- */

/* Flags of a replacement. */
#define AGENTD_REPLACE_STAGED \
        (1u << 0) /* as agentd_stage_file() has it: state i is finished by agentd, if the call returns 0 */
#define AGENTD_REPLACE_REWRITE \
        (1u << 1) /* as agentd_rewrite_file() has it: old_fd is the file that is there; attributes are its, \
                   * whatever is said here */

typedef struct AgentdReplacement {
        size_t size;         /* sizeof(AgentdReplacement) */
        const void *content; /* unless fd is one */
        size_t content_size;
        int fd; /* whose content is taken, from its start; -1: none */
        uint32_t flags;
        AgentdAttributes attributes;

        /*
         * finish - optional; called within the call, when the new file is complete but has not taken its place
         * @fd:   the new file, open for writing, with the owner and mode that it is to have
         * @path: where it lies, in the directory of the old one; only until this returns
         *
         * May set what else there is to set, and look whether the content is any good. A mode that it changes is set back.
         *
         * Return: 0; -errno: the old file stays as it is, and that is what the call returns.
         */
        int (*finish)(AgentdContext *context, int fd, const char *path, void *userdata);
        void *userdata;

        int old_fd; /* see flags; stays the caller's, and need not stay open */
        uint32_t
                n_states; /* if it is staged for several states, i and those behind it: how many. Those that are not
                            * finished are finished alike. 0: of i alone */
} AgentdReplacement;

/* Like agentd_replace_file() or, by its flags, agentd_stage_file() and agentd_rewrite_file(). Return: as they; what finish
 * returned. */
AGENTD_EXPORT int agentd_replace(
        AgentdContext *context, size_t i, const char *path, const AgentdReplacement *replacement);

/*
 * agentd_finish_staged() - what is staged takes its place now, and its states are finished
 *
 * For who holds a lock until then, and cannot wait until apply returns. apply only.
 */
AGENTD_EXPORT void agentd_finish_staged(AgentdContext *context);

/* Before a module changes something by itself: what agentd_undo() was told is sent off, so that it is known even if this
 * process dies in the middle. The functions here that change something do so themselves. */
AGENTD_EXPORT void agentd_will_change(AgentdContext *context);
/* ---- Trees ------------------------------------------------------------------------------------------------------- */
/*
 * A state that is about what lies below a directory opens it by agentd_open_parent(), walks down by itself, by descriptor
 * (openat2(2) with RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV), and changes what it finds through these, so that the name which it
 * has looked at is in the very directory that it has open.
 */

/* In prepare: the state will call agentd_owned(). */
AGENTD_EXPORT void agentd_prepare_owned(AgentdPrepare *prepare);

/* What other states own. */
typedef enum AgentdOwned {
        AGENTD_OWNED_NOT = 0,
        AGENTD_OWNED_BELOW = 1, /* not the path, but something below it */
        AGENTD_OWNED_PATH = 2,  /* the path, as a directory; and maybe something below it */
        AGENTD_OWNED_WHOLE = 3, /* the path, with all that is below it, if there can be anything */
} AgentdOwned;

/*
 * agentd_owned() - do other states own this path, or something below it?
 * @path: absolute and normalised
 *
 * Those that edit it are owners, too. What a state owns whole is not told again for each path below: do not go there.
 */
AGENTD_EXPORT AgentdOwned agentd_owned(AgentdContext *context, size_t i, const char *path);

/* Opens, for reading, the directory that a parameter with AGENTD_SOURCE names. The caller closes it. Return: 0; -ELOOP if a
 * symlink was refused; -ENOTDIR; other -errno. */
AGENTD_EXPORT int agentd_open_source_directory(AgentdContext *context, const char *path, int *ret_fd);

/*
 * In apply: as the functions of like names do, but in an open directory. None is durable before agentd_finish_parts(). name is
 * a single part.
 */
AGENTD_EXPORT int agentd_make_directory_at(
        AgentdContext *context, int dir_fd, const char *name, const AgentdAttributes *attributes);
AGENTD_EXPORT int agentd_replace_symlink_at(
        AgentdContext *context, int dir_fd, const char *name, const char *target, uid_t uid, gid_t gid);

/* Removes what is not a directory, or else (directory) an empty directory. Return: 0, also if nothing is there; -EISDIR;
 * -ENOTDIR; -ENOTEMPTY; -EBUSY for a mount point; other -errno. */
AGENTD_EXPORT int agentd_remove_at(AgentdContext *context, int dir_fd, const char *name, bool directory);

/*
 * Like agentd_replace() with AGENTD_REPLACE_STAGED, for one of many files of the same state, which is not finished by it. The
 * path that finish is told is that in the directory.
 */
AGENTD_EXPORT int agentd_stage_part(AgentdContext *context, size_t i, int dir_fd, const char *name,
        const AgentdReplacement *replacement);

/*
 * agentd_finish_parts() - what was staged for the state takes its place, and all that was changed is durable
 * @fd:       the directory at the top, open for reading
 * @ret_name: set on failure, if it was a part that failed: its name; belongs to the context
 *
 * The state is still to be finished, by agentd_done() or agentd_failed(). Return: 0; -errno of the first part that failed.
 */
AGENTD_EXPORT int agentd_finish_parts(AgentdContext *context, size_t i, int fd, const char **ret_name);

/*
 * agentd_unchanged() and agentd_remember() for any number of files, which are noted one by one, in an order that is the same
 * each time:
 *
 *      if (agentd_note_begin(context, i)) {
 *              for each file: statx(…, &st); agentd_note(context, i, fd, &st);
 *              known = agentd_note_unchanged(context, i);
 *      }
 *      if (!known) {
 *              (void) agentd_note_begin(context, i);
 *              for each file: … open, read, compare …; statx() the open file; agentd_note(context, i, fd, &st);
 *              if (all are as declared)
 *                      agentd_note_remember(context, i);
 *      }
 *
 * agentd_note_begin() returns whether anything is remembered of the state; one state at a time is noted. fd of agentd_note() is
 * of the file, or any on the same file system.
 */
AGENTD_EXPORT bool agentd_note_begin(AgentdContext *context, size_t i);
AGENTD_EXPORT void agentd_note(AgentdContext *context, size_t i, int fd, const struct statx *file);
AGENTD_EXPORT bool agentd_note_unchanged(AgentdContext *context, size_t i);
AGENTD_EXPORT void agentd_note_remember(AgentdContext *context, size_t i);

/* ---- Helpers of expressions --------------------------------------------------------------------------------------- */

/* One call of a helper. */
typedef struct AgentdCall AgentdCall;

/* Flags of a helper. */
#define AGENTD_BUILTIN_HOST \
        (1u << 0) /* looks at the host: it can be used in a state's `when` only, and is called before each check, in a
                   * check worker. Without it, it is pure: it is called by the loader, the result is what it is */

#define AGENTD_ANY_NUMBER UINT32_MAX

/*
 * A helper of expressions, that `when`, `for_each` and the like can call. It is named as its module, or that and a word:
 * my_thing() and my_thing_word() of my-thing.so. This is how it is found. It must end soon, whatever it is given.
 */
struct AgentdBuiltin {
        size_t size;               /* sizeof(AgentdBuiltin) */
        const char *name;          /* lower case letters, digits, '_' */
        const char *arguments;     /* their names, for messages: "name, version" */
        const char *documentation; /* one line */
        const AgentdType
                *types; /* that arguments must have: AGENTD_BOOLEAN … AGENTD_TABLE, AGENTD_ANY; ended by
                                    * AGENTD_NONE, those beyond may be anything; or NULL */
        uint32_t min_args, max_args; /* AGENTD_ANY_NUMBER: no upper bound */
        uint32_t flags;

        /*
         * call - required
         * @args: AGENTD_NONE is JSON's null; dates and times are strings
         * @ret:  comes as AGENTD_NONE. What it points to need only stay until the module is asked again; strings are UTF-8.
         *        Not AGENTD_RECORD
         *
         * Return: 0; any negative errno, best that of agentd_call_error(), which says why.
         */
        int (*call)(AgentdCall *call, const AgentdValue *args, size_t n, AgentdValue *ret);
};

/* Zeroed memory that goes when the expression was evaluated; never NULL. */
AGENTD_EXPORT void *agentd_call_alloc(AgentdCall *call, size_t size);

/* Says what is wrong with an argument (by index, or -1: with the call). One line, no full stop. Return: -EINVAL. */
AGENTD_EXPORT int agentd_call_error(AgentdCall *call, int argument, const char *format, ...)
        AGENTD_PRINTF(3, 4);

/*
 * Opens an absolute path below the managed root, for reading, with symlinks, none of which leads out of it. flags: of
 * O_PATH, O_NOFOLLOW and O_DIRECTORY. The caller closes it. Return: a descriptor; -EPERM: the helper is not one that looks
 * at the host; -errno.
 */
AGENTD_EXPORT int agentd_call_open(AgentdCall *call, const char *path, int flags);

/* Ends the source of a module with helpers: AGENTD_MODULE_BUILTINS("nft", "1", helpers, &type), where helpers is an array of
 * const AgentdBuiltin *, ended by NULL. There need not be a type. */
#define AGENTD_MODULE_BUILTINS(name_, version_, builtins_, ...)                                        \
        static const AgentdStateType *const agentd_module_state_types[] = { __VA_ARGS__ __VA_OPT__(, ) \
                        NULL };                                                                        \
        extern const AgentdModule agentd_module;                                                       \
        AGENTD_EXPORT const AgentdModule agentd_module = {                                             \
                .abi = AGENTD_ABI,                                                                     \
                .size = sizeof(AgentdModule),                                                          \
                .state_type_size = sizeof(AgentdStateType),                                            \
                .parameter_size = sizeof(AgentdParameter),                                             \
                .name = (name_),                                                                       \
                .version = (version_),                                                                 \
                .state_types = agentd_module_state_types,                                              \
                .builtins = (builtins_),                                                               \
        }

/* ---- More of prepare, check and apply ------------------------------------------------------------------------------ */

/*
 * agentd_prepare_claim() - the state is about this thing, and no other may be
 * @thing: an absolute, normalised path, which the state then owns like one whose name it is, as a leaf; or anything else that modules
 *         agree on, like "unit:backup.timer"
 *
 * A second state with the same claim is an error that names both. States of all types and modules are compared.
 */
AGENTD_EXPORT void agentd_prepare_claim(AgentdPrepare *prepare, const char *thing);

/* The state has to be checked as root, whatever the role says: what it is about refuses the user of checks. So a plan does not look at it. */
AGENTD_EXPORT void agentd_prepare_check_as_root(AgentdPrepare *prepare);

/* The state comes after all that own paths below this directory. path: absolute and normalised. */
AGENTD_EXPORT void agentd_prepare_after_below(AgentdPrepare *prepare, const char *path);

/* In check and apply: when the state must be finished, CLOCK_MONOTONIC in microseconds, or the worker is killed; UINT64_MAX: never.
 * Each state that is finished puts it off for those that are left. */
AGENTD_EXPORT uint64_t agentd_deadline(AgentdContext *context, size_t i);

/* For prepare: true if the state has check_on, reload_on or restart_on, so that it may be told AGENTD_STATE_NOTICED. */
AGENTD_EXPORT bool agentd_prepare_listens(AgentdPrepare *prepare);

/*
 * agentd_differs_file() - a difference between two texts of one of several files of a state
 * @path: heads the diff; NULL: what the state is about does, as of agentd_differs_text()
 *
 * All else is as of agentd_differs_text().
 */
AGENTD_EXPORT void agentd_differs_file(AgentdContext *context, size_t i, const char *attribute,
        const char *path, const void *is, size_t is_size, const void *should, size_t should_size);

#ifdef __cplusplus
}
#endif
