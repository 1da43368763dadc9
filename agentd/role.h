/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Inside the loader: from role files to the image. The steps, each a file of its own:
 *
 *      settings-read.c   agentd.toml
 *      role-find.c       which files are roles
 *      role-import.c     what they import, and in which order they are evaluated
 *      role-read.c       a file's text, safely; facts and names for templates and expressions
 *      role-vars.c       what `vars` are for each role: those of hosts, of importers, its own
 *      role-switch.c     whether a role is on: hosts, when; its mode
 *      role-override.c   what roles say of the states of others
 *      role-state.c      tables → states: parameters, loops, templates
 *      role-setting.c    the settings that every state has
 *      role-removal.c    states that are declared no more; what is written down for that; former ids
 *      role-trigger.c    triggers, and the states that they are for
 *      parameter.c       a setting → the value that a module sees
 *      role-graph.c      who comes after whom; cycles
 *      role-compile.c    all of it → the image
 *      role-explain.c    where all that is said of a state comes from, if somebody asks
 *      role-load.c       the order of these, and what is said to the engine
 *
 * All of it runs in a child with a deadline, so nothing here is freed.
 */

#include <sodium.h>

#include "diagnostic.h"
#include "expression.h"
#include "image.h"
#include "loader.h"
#include "module-load.h"
#include "sandbox.h"
#include "scope.h"

#define ROLE_SIZE_MAX     MIB(8) /* that of toml.h */
#define TEMPLATE_FILE_MAX MIB(8)
#define STATES_MAX        1000000

/* How long check, and then apply, may be silent, unless the type or the state says otherwise. */
#define STATE_TIMEOUT_USEC USEC_PER_MINUTE

typedef struct Loader Loader;

/* Strings to numbers. */
typedef struct Map {
        struct {
                const char *key; /* not owned */
                uint32_t value;
                uint32_t hash; /* of the key */
        } * slots;
        uint32_t n, n_slots; /* a power of two, or 0 */
} Map;

#define MAP_NOT_FOUND UINT32_MAX

uint32_t map_get(const Map *map, const char *key);
/* Adds, or replaces. */
void map_put(Map *map, Arena *arena, const char *key, uint32_t value);

typedef struct Role Role;

/* That a role imports another. */
typedef struct Import {
        Role *importer, *role;
        Place place;
        const Value *given; /* its `vars` as they are written; NULL: none */
        Value vars;         /* the same, evaluated */
} Import;

/* A variable of which importers say different things: an error where it is read. */
typedef struct Conflict {
        const char *name; /* "vars.a.b" */
        Place first, second;
} Conflict;

typedef struct TextList {
        const char **texts;
        uint32_t n;
} TextList;

struct Role {
        const char *name;
        const char *path;
        const char *real;      /* the file itself, links resolved */
        const char *directory; /* that of it: what relative paths start from */
        bool in_root;          /* the path is below --root */
        bool applied;          /* it lies in conf.d, or was named */
        bool is_incomplete;    /* it, or something that it imports, is not there */
        Value table;
        Value vars;
        bool off;            /* its `hosts` or `when` says so, or all that import it are */
        const Value *off_by; /* that `hosts` or `when`; NULL: it is for others to say */
        bool audit;          /* mode = "audit": its states are only checked */
        TextList tags;
        uint32_t index;
        Import **imports, **importers;
        uint32_t n_imports, n_imports_allocated, n_importers, n_importers_allocated;
        Conflict *conflicts;
        uint32_t n_conflicts, n_conflicts_allocated;
        Map conflict_map;    /* their names */
        Map conflict_tables; /* those of the tables that they are in */
        uint32_t *distances; /* to each role, by index: how many imports away; NULL: nobody has asked */
};

/* What a role says of a state that an import brings. */
typedef struct Override {
        const Role *role;
        const Member *member;
        const char *id;
        uint32_t next; /* of the same state; UINT32_MAX: none */
        bool used;
} Override;

/* A directory that imports are looked for in. */
typedef struct RoleDirectory {
        const char *path;
        bool in_root;
        int fd; /* negative: it is not there */
} RoleDirectory;

/* A state type that a module declares. */
typedef struct TypeEntry {
        const char *name;
        const Module *module;
        const AgentdStateType *type;
        uint32_t n_parameters;
        const AgentdValue *defaults; /* by index, in the image; NULL: nobody has asked yet */
        bool bad_default;            /* one of them makes no sense, which was told */
        uint32_t image_index;        /* UINT32_MAX: no state is of it */
} TypeEntry;

/* A word about another state: this one comes after it, or before. */
typedef struct Reference {
        const char *pattern; /* an id, or a glob over ids */
        const Member *
                loop; /* a declaration with for_each, all states of which are meant; NULL: the pattern says it */
        const Role *role; /* that says so; NULL: the module does */
        Place place;
        uint32_t listens; /* IMAGE_LISTEN_…: it also listens to that */
        bool before;
        bool weak; /* implied: nothing is wrong if there is no such state */
} Reference;

/* Where a role gives a parameter. */
typedef struct Given {
        uint32_t parameter; /* index of the declaration */
        Place place;
} Given;

/* A trigger: what makes states be looked at. Of path and every_usec one is given. */
typedef struct Trigger {
        const char *name;
        const Role *role;
        Place place, exclude_place;
        const char *path, *exclude; /* NULL: not given */
        bool recursive, broken;
        usec_t every_usec;
        uint32_t *states;
        uint32_t n_states, n_states_allocated;
} Trigger;

/* That a state has one. */
typedef struct TriggerReference {
        const char *name;
        Place place;
} TriggerReference;

/* Settings that few states have: see ImageExtra. */
typedef struct StateExtra {
        TriggerReference *triggers;
        uint32_t n_triggers;
        uint32_t retries;
        usec_t retry_delay_usec, interval_usec;
        TextList tags, was, hooks[_HOOK_MAX];
        Place was_place;
        Place removal_place; /* on_removal = "absent"; no file: "keep" */
        const char *removal; /* the recipe, as JSON; NULL: none */
        const char *name;    /* what modules know it as; NULL: its name is that of the id */
} StateExtra;

typedef struct State {
        const Role *role;
        TypeEntry *type;
        const char *id, *name;
        Place place;
        uint32_t index;
        const Member *declaration; /* in the role: what states of one loop have in common */
        const Value *item;         /* of for_each */
        uint32_t item_number;      /* of an array: which of its items that is, from 0 */
        bool item_keyed;           /* it is the entry of a table */
        bool made_twice;           /* by another item, which was told */
        AgentdValue *parameters; /* by index of the declaration; in the image, unless AGENTD_COPIES_VALUES */
        Given *given;            /* the parameters that are, in the order of the role */
        uint32_t n_given;
        Reference *references;
        uint32_t n_references, n_references_allocated;
        const char **sources; /* files that it watches besides what the module says */
        uint32_t n_sources, n_sources_allocated;
        ImageWatch *watches;
        uint32_t n_watches, n_watches_allocated;
        Expression *when;
        StateExtra *extra; /* NULL: nothing of that was said */
        const AgentdValue *
                *removal; /* by parameter: what the module says it is then; NULL: nothing was said */
        const void *data;
        uint32_t flags;
        uint32_t listens; /* IMAGE_LISTEN_…: for what it listens to others */
        usec_t timeout_usec;
        bool timeout_given; /* by the role */
        uint8_t hash[IMAGE_HASH_SIZE];
        AgentdPathKind path_kind;
        const char *edits;   /* the file that it is about a part of; or NULL */
        const char **claims; /* paths that it owns besides that of its name */
        uint32_t n_claims, n_claims_allocated;
        const struct State *taken_by; /* of what is to be removed: who claims it now; NULL: nobody */
        const char *of;               /* likewise: the id that it was declared under */
        const struct State
                *instead; /* … and the state that is declared under it now, about something else; NULL */
        bool broken;      /* has an error: it is not prepared */
        bool nested;      /* its name had dots without quotes: what it seems to lack is no news */
} State;

/* Where the parameter is given; NULL: nowhere. */
const Place *state_given(const State *state, uint32_t parameter);

typedef struct Edge {
        uint32_t from, to; /* nodes: `to` waits for `from` */
} Edge;

/* A state comes after all that own paths below this one. */
typedef struct Below {
        const char *path;
        uint32_t state;
} Below;

struct Loader {
        const LoadOptions *options;
        int root_fd;
        Settings settings;
        Arena scratch; /* everything here */
        Arena image;   /* what stays */
        Diagnostics diagnostics;
        HelperSet helpers;

        Role **list; /* the roles, by name once all are known */
        uint32_t n_roles, n_roles_allocated;
        Role **order; /* the same, importers first */
        Map real_map; /* a role's file → index in the list while it grows */
        Map named;    /* names of files that were named → the same */
        RoleDirectory *directories;
        uint32_t n_directories, n_directories_allocated;
        Value host_vars;      /* of vars.d and --var */
        bool *read_arguments; /* by index of options->vars: whether a role has read it */
        Override **overrides;
        uint32_t n_overrides, n_overrides_allocated;
        Map override_map; /* id → the first in the list */

        TypeEntry **types;
        uint32_t n_types, n_types_allocated;
        Map type_map;
        bool sandbox_sought; /* whether `sandbox` says how programs are run */
        bool has_sandbox;
        SandboxOptions sandbox;
        bool all_modules; /* every module there is was opened */
        const Module **modules;
        uint32_t n_modules, n_modules_allocated;
        const Module **helper_modules; /* whose helpers were asked for: workers need them */
        uint32_t n_helper_modules, n_helper_modules_allocated;
        Map tried; /* paths of modules that were opened or refused */

        State **states;
        uint32_t n_states, n_states_allocated;
        uint32_t n_declared;    /* behind them are those that are to be removed */
        Map ids;                /* id → state */
        Map former;             /* ids of `was` → state */
        Map paths;              /* path that a state owns → state */
        Map claims;             /* other things that only one state can be about → state */
        Map off_ids;            /* ids in roles that are off, and of states that were taken out */
        const char **off_globs; /* ids in roles that are off whose names have templates */
        uint32_t n_off_globs, n_off_globs_allocated;

        Edge *edges;
        uint32_t n_edges, n_edges_allocated;
        Below *belows;
        uint32_t n_belows, n_belows_allocated;
        ImageListener *listeners;
        uint32_t n_listeners, n_listeners_allocated;
        bool too_many_listen; /* which was told */
        Trigger **triggers;
        uint32_t n_triggers, n_triggers_allocated;
        Map trigger_map;     /* name → trigger */
        Map off_triggers;    /* names in roles that are off */
        const char **groups; /* patterns, by node - n_states */
        uint32_t n_groups, n_groups_allocated;
        Map group_map;
        bool wants_paths; /* a state will ask what others own */

        LoadFile *files;
        uint32_t n_files, n_files_allocated;
        uint32_t n_files_told; /* to the engine */
        size_t told_bytes;
        Map file_map;
        Map templates; /* path → index in texts */
        struct Text *texts;
        uint32_t n_texts, n_texts_allocated;

        /* Names. */
        bool facts_gathered;
        Value facts;
        Map noted; /* facts that were read */
        const char **noted_list;
        uint32_t n_noted, n_noted_allocated;
        const char *volatile_name; /* a fact that may not be read, and was */
        const Conflict *conflict;  /* a variable, likewise */
};

/* What names mean at a place: those of a role, and an item of a loop. */
typedef struct Names {
        Loader *loader;
        const Role *role;
        const Value *item; /* NULL outside of a loop */
        bool in_vars;      /* what is evaluated is in [vars] */
        bool literal;      /* {{…}} is text */
        Scope scope;
} Names;

/* settings-read.c: fills loader->settings. */
void settings_read(Loader *loader);
void settings_read_file(Loader *loader, bool in_root, const char *path);
/* Whether a file that was named holds settings rather than a role: by its name, or that of its directory. */
bool settings_is_file(const char *path);

/* role-find.c: fills loader->list with what is applied, sorted by name. */
void roles_find(Loader *loader);
Role *loader_add_role(Loader *loader, const char *name, const char *path, bool in_root);

/* Opens a directory that is looked through, and remembers it. NULL: it is not there; or, an error, it cannot be
 * read, or everybody can write it. what: "roles". */
struct __dirstream *loader_open_directory(
        Loader *loader, const char *directory, bool in_root, bool required, const char *what);
/* True for a link to /dev/null. */
bool loader_is_masked(int dir_fd, const char *name);

/* role-import.c: reads all roles, and those that they import; puts them in order. */
void roles_read(Loader *loader);
/* How many imports lead from one to the other; UINT32_MAX: none do. */
uint32_t role_distance(Loader *loader, const Role *from, const Role *to);

/* role-vars.c: the variables of the host; of a role; what it gives to those that it imports. */
void vars_read(Loader *loader);
/* Told each name of a variable that was read, "vars.a.b"; and in the end, warns of --var that no role knows. */
void vars_note(Loader *loader, const char *name, size_t size);
void vars_check(Loader *loader);
/* Whether a file that was named holds variables: by its directory. */
bool vars_is_file(const char *path);
void role_set_vars(Loader *loader, Role *role);
void role_give_vars(Loader *loader, Role *role);

/* role-switch.c: vars, mode, and whether the role is on. Those that import it come first. */
void role_evaluate(Loader *loader, Role *role);

/* role-override.c */
void overrides_collect(Loader *loader);
/* About those that are about nothing. */
void overrides_check(Loader *loader);
/*
 * The settings of a state after what is overridden. *ret_roles: by setting, the role that says it, NULL for the state's
 * own; or NULL if nothing is overridden, and *ret is *settings. Return: 0; 1: the state is taken out; -EINVAL.
 */
int override_settings(Loader *loader, const Role *role, const TypeEntry *type, const char *id,
        const Value *settings, const Value **ret, const Role *const **ret_roles);

/* role-read.c */

/* Opens a file, below --root if in_root says so; nothing that blocks, no terminal. Return: a descriptor; -errno. */
int loader_open(Loader *loader, bool in_root, const char *path, int flags);

/* Notes that the load depends on a file or directory, which was like this, or (NULL) was not there. */
struct stat;
void loader_remember_file(Loader *loader, const char *path, const struct stat *st);

/*
 * Reads a file. The text is NUL-terminated and belongs to the loader.
 * Return: 0; -errno, and *reterr says what is wrong in a few words.
 */
int read_text(Loader *loader, bool in_root, const char *path, size_t limit, const char **ret,
        size_t *ret_size, const char **reterr);

/* Tells the engine which files were remembered since it was last told: before what may bring the loader to an end, so that
 * it knows what to watch even then. */
void loader_tell_files(Loader *loader);

/* What was written down of a state is to be forgotten. */
void loader_tell_forget(Loader *loader, const char *id);

/* A line for the engine's log; level: LOG_ERR … LOG_DEBUG. Whoever asked for the load is told of warnings as well. */
void loader_log(Loader *loader, int level, const char *text);

/* Reads and parses a file. what: "role", for messages. Errors become diagnostics. Return: 0; -errno. */
int loader_read_toml(Loader *loader, bool in_root, const char *path, const char *what, Value *ret);

/* Finds out which file it is, without links. */
void role_locate(Loader *loader, Role *role);

/* Reads and parses a role's file. Errors become diagnostics. Return: 0; -errno. */
int role_read(Loader *loader, Role *role);

/* A fact that is a string, e.g. "hostname". */
const char *loader_fact(Loader *loader, const char *name);

void names_init(Names *names, Loader *loader, const Role *role, const Value *item);

/* Replaces {{…}} in a string. Errors become diagnostics. Return: 0; -EINVAL. */
int names_render(Names *names, const Value *string, Value *ret);

/* Likewise; but where the whole of the string is one {{name}}, *ret is the value of that name, of whatever type. */
int names_evaluate(Names *names, const Value *string, Value *ret);

/* Likewise, in all strings of a value. Keys of tables stay as they are. */
int names_evaluate_deep(Names *names, const Value *value, Value *ret);

/* Reads and renders a template file beside the role. */
int names_render_file(Names *names, const Value *file, Value *ret);

/* Evaluates an expression as far as it can be at load; flags of expression_fold(). */
int names_fold(Names *names, const Value *text, unsigned flags, Arena *target, Expression **ret);

/* role-state.c: makes the states of a role. */
void role_make_states(Loader *loader, Role *role);
void state_refer(Loader *loader, State *state, Reference reference);
State *loader_state(const Loader *loader, const char *id);
/* Whether a state that is not there may be one of a role that is off, or was taken out: nobody waits for it. */
bool loader_is_off(const Loader *loader, const char *id);
/* "file:{{x}}/a" as a glob: "file:*\/a". What means something in a glob is itself here. */
const char *loader_name_glob(Loader *loader, const char *name);
/* For --schema: the i-th key that roles have besides state types; NULL if there is none any more. *ret_schema is NULL for one that
 * is made of others. */
const char *role_key(size_t i, const char **ret_schema, const char **ret_documentation);
/*
 * The state of a role, or of one that is gone, by settings that are taken as they are. It comes behind the others, and is not in
 * loader->ids. NULL: it cannot be, which the diagnostics say.
 */
State *state_make_again(
        Loader *loader, const Role *role, TypeEntry *type, const char *name, const Value *settings);
/* Whether a value is of that type; if not, an error that says what it must be. */
bool loader_wants(Loader *loader, const Value *value, ValueType type, const char *name, const char *what);

/* role-removal.c */

/* Whether the type has `ensure`, and that can be "absent". */
bool type_can_be_absent(const AgentdStateType *type);
/* Whether something is to be removed when it is declared no more: a state that is absent has nothing. */
bool state_leaves(const State *state);
/* What is written down of it; errors become diagnostics. */
void removals_write(Loader *loader);
/* `was`: nobody has those ids now. */
void former_check(Loader *loader);
/* States of which it was written down, and which are declared no more. Whatever is wrong with one is no error of the roles. */
void removals_make(Loader *loader);
/* Their place in the graph: before directories and files that they lie in, and before those that listen to them. */
void removals_connect(Loader *loader);
/* Whether a reference by which a state listens also means what is to be removed. */
bool removal_is_meant(Loader *loader, const Reference *reference, const State *removal);
/*
 * Takes them out of an order that cannot be, which is better than roles that do not load. waiting: by node, 0 for those that have
 * their place. Return: whether there were any.
 */
bool removals_disconnect(Loader *loader, const uint32_t *waiting);

/* role-setting.c */

/* What few states have; made if there is none yet. */
StateExtra *state_extra(Loader *loader, State *state);
/* Sets what every state has; false: it is no such setting. Errors become diagnostics. */
bool state_set_common(Names *names, State *state, const Member *member);
/* For the reference: the i-th setting that every state has; NULL if there is none any more. */
const char *state_setting(size_t i, const char **ret_value, const char **ret_documentation);
/* Of the same one, what it takes, for schema_parse(). */
const char *state_setting_schema(size_t i);
/* Whether states of a type take it at all. */
bool state_setting_is_for(const char *name, const AgentdStateType *type);
/* Brings "file:/etc//motd/" into the form that ids have. Globs stay as they are. */
const char *normalise_reference(Loader *loader, const char *text);
/* `tags`, of a state or a role. Return: 0; -EINVAL. */
int tags_read(Names *names, const Value *value, TextList *ret);

/* role-trigger.c: those of a role, table `trigger` of it; then which states have which. */
void role_read_triggers(Loader *loader, const Role *role, const Member *table);
void triggers_connect(Loader *loader);
/* For --schema: the i-th key of triggers; NULL if there is none any more. *ret_says_when: exactly one of these is given;
 * *ret_needs: another that goes with it, or NULL. */
const char *trigger_key(size_t i, const char **ret_schema, const char **ret_documentation,
        bool *ret_says_when, const char **ret_needs);

/* parameter.c */

/* Converts a setting. Errors become diagnostics. *ret_tainted is set if a secret went in, and left alone if not.
 * Return: 0; -EINVAL. */
int parameter_convert(Names *names, State *state, const AgentdParameter *parameter, const Value *value,
        AgentdValue *ret, bool *ret_tainted);

/* The default of a parameter. */
int parameter_default(Loader *loader, const AgentdParameter *parameter, AgentdValue *ret);

/* "64M" to bytes. Return: 0; -EINVAL; -ERANGE. */
int parse_bytes(const char *text, int64_t *ret);

/* "a string of octal digits": what a parameter wants, for messages. */
const char *parameter_wants(AgentdType type);

void hash_value(crypto_generichash_state *hash, const AgentdValue *value);

/* module-find.c: the type of that name, opening modules as needed; NULL if there is none. */
TypeEntry *type_find(Loader *loader, const char *name);
/* Makes the types of a module known. */
void loader_add_module(Loader *loader, const Module *module);
/* The helpers of the language, and those of modules, which are opened as needed. */
HelperSet loader_helpers(Loader *loader);
/* Of those that modules provide which were opened; NULL after the last. */
const Helper *loader_nth_helper(const Loader *loader, size_t n);
/* Opens every module there is: for suggestions. */
void modules_open_all(Loader *loader);

/* role-words.c: as suggest(), but knows also what other tools call it. */
/* A word by which another tool says, in the state that changes, who is told of it. */
bool word_is_for_listener(const char *word);
const char *suggest_word(const char *word, const char *const *candidates, size_t n);

/* prepare.c: calls prepare and watch. */
void state_prepare(Loader *loader, State *state);

struct AgentdPrepare {
        Loader *loader;
        State *state;
        bool failed; /* the module said why */
};

struct AgentdWatch {
        Loader *loader;
        State *state;
};

/* foreign-prepare.c: the same for types of programs; first each state, then all together. */
void foreign_state_prepare(Loader *loader, State *state);
void foreign_prepare_all(Loader *loader);
/* The latter for what is to be removed. refusals: by state, from n_declared on, set to what is wrong with it. */
void foreign_prepare_removals(Loader *loader, const char **refusals);

/* role-graph.c */
void graph_build(Loader *loader);
/* `to` comes after `from`. */
void graph_add_edge(Loader *loader, uint32_t from, uint32_t to);
/* The state that owns the nearest directory above a path; NULL: none does. */
const State *graph_owner(const Loader *loader, const char *path);
/* Whether a state is one of the loop, or matches the glob, that a reference says. */
bool graph_is_meant(const Reference *reference, const State *state);
/* The state listens to another. Return: false if there is no room for more of these. */
bool graph_add_listener(Loader *loader, uint32_t to, uint32_t state, uint32_t what);

/* role-explain.c: what there is to be said of the state that the options name, or of all that match it, in the form of
 * docs/api.md, one a line; *ret_found is false if there is none, and then the text says why. Return: 0; -ENOMEM. */
int explain_run(Loader *loader, const char **ret, size_t *ret_size, bool *ret_found);

/* role-explain-missing.c: why there is no such state, in a few words. */
const char *explain_missing(Loader *loader, const char *id);

/* role-load.c: all steps, with arenas that are there. If no diagnostics are there afterwards, the image is whole. */
void loader_run(Loader *loader);

/* role-compile.c: writes the image. */
void image_compile(Loader *loader);
