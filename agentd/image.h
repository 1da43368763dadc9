/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The image: the whole compiled graph of states in one piece of shared memory. The loader writes it, everybody else
 * reads it; nobody can change it once it is adopted.
 *
 * What the engine reads is made of offsets and counts, and image_adopt() checks each of them, so that a loader gone
 * wrong cannot lead the engine astray. Two things in the image the engine never looks at: the modules' private data
 * and the conditions of states. They hold pointers, which are good in every process since the image lies at the same
 * address everywhere.
 */

#include <sys/types.h>

#include "arena.h"
#include "settings.h"
#include "util.h"

/* The version of the layout below. Loader and engine are one program, so a difference can only be a bug. */
#define IMAGE_VERSION 6
#define IMAGE_MAGIC   UINT64_C(0x31656761746e6761) /* "agntage1" */

/* Addresses reserved for an image, and the size of its file: pages cost nothing before they are touched. */
#define IMAGE_SIZE_MAX GIB(1)

#define IMAGE_HASH_SIZE     16 /* of BLAKE2b */
#define IMAGE_BUILD_ID_SIZE 32

/* n elements at an offset from the start of the image. */
typedef struct ImageArray {
        uint32_t offset;
        uint32_t n;
} ImageArray;

/* Text of n bytes, followed by a NUL. */
typedef ImageArray ImageText;

typedef struct ImageHeader {
        uint64_t magic;
        uint64_t version;
        uint64_t base;         /* the address it was built at */
        uint64_t used;         /* bytes */
        ImageArray modules;    /* ImageModule */
        ImageArray types;      /* ImageType */
        ImageArray roles;      /* ImageRole */
        ImageArray states;     /* ImageState, in the order of execution where nothing else orders them */
        ImageArray nodes;      /* ImageNode: one for each state, then the groups */
        ImageArray dependents; /* uint32_t: indices of nodes */
        ImageArray watches;    /* ImageWatch */
        ImageArray files;      /* ImageFile: what the load read */
        ImageArray facts;      /* ImageFact: what the load looked at */
        ImageArray paths;      /* ImagePath, sorted by path_compare(); none if no state wants to know */
        ImageArray extras;     /* ImageExtra */
        ImageArray listeners;  /* ImageListener, sorted by `to`, then `state` */
        ImageArray texts;      /* ImageText: what lists of texts are slices of */
        ImageArray triggers;   /* ImageTrigger */
        ImageArray triggered;  /* uint32_t: indices of states, which triggers have slices of */
        uint32_t n_batch_keys; /* they are 1 … so many */
        uint32_t padding;
        Settings settings; /* of agentd.toml */
} ImageHeader;

typedef struct ImageModule {
        ImageText path;
        uint32_t build_id_size;
        uint8_t build_id[IMAGE_BUILD_ID_SIZE];
} ImageModule;

typedef struct ImageType {
        ImageText name;
        uint32_t module;
        uint32_t flags;     /* AGENTD_NAME_IS_PATH, … */
        uint32_t batch_max; /* 0: no limit */
} ImageType;

typedef struct ImageRole {
        ImageText name;
        ImageText path;
        ImageArray tags; /* of all its states; offset is an index into texts */
} ImageRole;

/* Flags of a state. */
#define IMAGE_STATE_AUDIT         (1u << 0) /* check only */
#define IMAGE_STATE_SENSITIVE     (1u << 1) /* nothing of it is ever shown */
#define IMAGE_STATE_CHECK_AS_ROOT (1u << 2)
#define IMAGE_STATE_WHEN_LOOKS    (1u << 3) /* its `when` looks at the host */
#define IMAGE_STATE_UNWATCHED     (1u << 4) /* it is looked at by runs only */
#define IMAGE_STATE_LOOKS_AT_PATHS \
        (1u << 5) /* it asks what others own: another path in the roles may change what it finds */
#define IMAGE_STATE_REMOVAL (1u << 6) /* no role declares it any more: what it made is removed */

typedef struct ImageState {
        ImageText id; /* "TYPE:NAME" */
        uint32_t type;
        uint32_t role;
        uint32_t line, column; /* of the declaration in the role */
        uint32_t flags;
        uint32_t when;                 /* offset of an Expression, 0: none. Not for the engine */
        uint32_t data;                 /* offset of private data, 0: NULL. Not for the engine */
        ImageArray watches;            /* offset is an index into watches */
        uint32_t batch_key;            /* states of a type with the same one come in one batch; 0: none */
        uint64_t timeout_usec;         /* > 0 */
        uint8_t hash[IMAGE_HASH_SIZE]; /* of all that prepare was given, and of `when` */
        uint32_t extra;                /* index into extras, + 1; 0: it has none of that */
        uint32_t
                listens; /* IMAGE_LISTEN_…: what it listens for, also if there is nothing to listen to now */
} ImageState;

/* Commands of a role that go with a state. */
typedef enum Hook {
        HOOK_BEFORE_CHECK, /* in the check sandbox; the state is blocked if it fails */
        HOOK_AFTER_CHECK,
        HOOK_BEFORE_CHANGE, /* the state fails, untouched, if it does */
        HOOK_AFTER_CHANGE,
        HOOK_ON_SUCCESS,
        HOOK_ON_FAILURE,
        _HOOK_MAX,
} Hook;

/* What few states have. */
typedef struct ImageExtra {
        uint32_t state;            /* that it is of */
        uint32_t retries;          /* how often it is tried again when it has failed */
        uint64_t retry_delay_usec; /* > 0 */
        uint64_t interval_usec;    /* it is looked at so often, besides all runs; 0: it is not */
        ImageArray tags; /* besides those of its role; offset is an index into texts, as in what follows */
        ImageArray hooks
                [_HOOK_MAX]; /* arguments of a program, the first an absolute path; none: no such hook */
        ImageArray was;      /* ids that it had before */
        ImageText removal; /* what is to be made of it when it is declared no more, as JSON; n 0: nothing */
        ImageText name;    /* what modules know it as; n 0: the part of the id behind "TYPE:" */
} ImageExtra;

/* What a listener is to do if the other has changed. Several are possible. */
#define IMAGE_LISTEN_CHECK   (1u << 0) /* look again: check_on */
#define IMAGE_LISTEN_RELOAD  (1u << 1)
#define IMAGE_LISTEN_RESTART (1u << 2)
#define _IMAGE_LISTEN_ALL    (IMAGE_LISTEN_CHECK | IMAGE_LISTEN_RELOAD | IMAGE_LISTEN_RESTART)

/* A state listens to another, which it also requires. */
typedef struct ImageListener {
        uint32_t to, state;
        uint32_t what; /* IMAGE_LISTEN_… */
        uint32_t padding;
} ImageListener;

typedef enum ImageTriggerKind {
        IMAGE_TRIGGER_PATH,
        IMAGE_TRIGGER_EVERY,
        _IMAGE_TRIGGER_MAX,
} ImageTriggerKind;

/* Something by which states are looked at. */
typedef struct ImageTrigger {
        ImageText name;
        uint32_t kind;
        uint32_t role;
        uint32_t line, column;
        uint32_t recursive; /* of a path: 1: all that lies below it as well */
        ImageText path;     /* of a path */
        ImageText exclude;  /* of a path that is recursive: patterns, a line each */
        ImageArray states;  /* offset is an index into triggered */
        uint32_t padding;
        uint64_t every_usec; /* of every: > 0 */
} ImageTrigger;

/*
 * A node of the graph: a state, or a group, which stands for all states that a glob matches so that N states can
 * require M others with N + M edges. A group is done when all it waits for are.
 */
typedef struct ImageNode {
        ImageArray
                dependents; /* offset is an index into the array of dependents: the nodes that wait for this one */
        uint32_t n_dependencies; /* how many nodes this one waits for */
        uint32_t padding;
} ImageNode;

typedef enum ImageWatchKind {
        IMAGE_WATCH_PATH,
        IMAGE_WATCH_UNIT,
        IMAGE_WATCH_BUS,
        IMAGE_WATCH_TREE,
        _IMAGE_WATCH_MAX,
} ImageWatchKind;

typedef struct ImageWatch {
        uint32_t kind;
        uint32_t depth; /* of a tree: levels; 0: all */
        ImageText what;
        ImageText exclude; /* of a tree: patterns, a line each */
} ImageWatch;

/* A file or directory that the load read or looked for, and what it was then, so that a change can be told. */
typedef struct ImageFile {
        ImageText path;
        uint64_t is_directory;        /* 1: its entries were looked through */
        uint64_t device, inode, size; /* all 0 if it was not there */
        int64_t mtime_nsec, ctime_nsec;
} ImageFile;

/* A fact that the load read, and a hash of its value. */
typedef struct ImageFact {
        ImageText name;
        uint8_t hash[IMAGE_HASH_SIZE];
} ImageFact;

/* A path that a state owns, or edits. */
typedef struct ImagePath {
        ImageText path;
        uint32_t state;
        uint32_t kind; /* AgentdPathKind */
} ImagePath;

typedef struct IdentityTable IdentityTable;

/* The engine's handle of an image; reference-counted, since a run keeps the image it began with. */
typedef struct Image {
        unsigned n_ref;
        int memfd; /* until it is adopted */
        uint8_t *base;
        size_t mapped;             /* bytes from base on that belong to us */
        const ImageHeader *header; /* NULL until it is adopted */
        IdentityTable *identities; /* beside it; NULL: none, as for a single run */
} Image;

/*
 * image_new() - reserves addresses and makes the memory for one image
 *
 * Return: 0; -ENOMEM and other -errno of memfd_create(2), mmap(2).
 */
int image_new(Image **ret);
Image *image_ref(Image *image);
Image *image_unref(Image *image);
DEFINE_CLEANUP(Image *, image_unref)

/*
 * image_open_arena() - maps the memory for writing, in the loader
 *
 * The arena's first allocation is the header.
 */
int image_open_arena(Image *image, Arena *ret);

/*
 * image_adopt() - seals what the loader wrote, maps it read-only, and checks it
 * @used:     bytes, as the loader said
 * @ret_error: set on failure: what is wrong, in a few words; not to be freed
 *
 * Return: 0; -EBUSY if a process still has it mapped for writing; -EBADMSG if it is not well-formed; other -errno.
 */
int image_adopt(Image *image, uint64_t used, const char **ret_error);

/* True if two states are declared alike, and by the same module; their ids are not looked at. */
bool image_state_is_same(const Image *a, uint32_t i, const Image *b, uint32_t k);

/* True if two states have the same hooks; if all is the same that ImageExtra holds. */
bool image_hooks_are_same(const Image *a, uint32_t i, const Image *b, uint32_t k);
bool image_extra_is_same(const Image *a, uint32_t i, const Image *b, uint32_t k);

/* True if two lists of texts are the same. */
bool image_lists_are_same(const Image *a, ImageArray x, const Image *b, ImageArray y);

/* Checks an image that lies in memory: all that the engine follows stays inside. NULL, or what is wrong. */
const char *image_validate(const uint8_t *base, size_t size);

/* Whether a state, or its role, has the tag. */
bool image_state_has_tag(const Image *image, uint32_t state, const char *tag) _pure_;

/* Who listens to a state: *ret_n of them, in the order of their indices. */
const ImageListener *image_listeners(const Image *image, uint32_t state, uint32_t *ret_n);

const char *hook_to_string(Hook hook);
const char *image_trigger_kind_to_string(uint32_t kind); /* "path" */

/* Orders paths so that those below a directory come right after it. Return: less than, equal to or greater than 0. */
int path_compare(const char *a, const char *b) _pure_;

/* ---- Reading --------------------------------------------------------------------------------------------------- */

static inline const void *image_at(const Image *image, uint32_t offset) {
        return image->base + offset;
}

static inline const char *image_text(const Image *image, ImageText text) {
        return image_at(image, text.offset);
}

#define image_array(image, name, type) ((const type *) image_at((image), (image)->header->name.offset))

static inline uint32_t image_n_states(const Image *image) {
        return image->header->states.n;
}

/* Roles that are gone are in the image only for what is left of them. */
static inline uint32_t image_n_roles(const Image *image) {
        const ImageRole *roles = image_array(image, roles, ImageRole);
        uint32_t n = 0;

        for (uint32_t i = 0; i < image->header->roles.n; i++)
                n += roles[i].path.n > 0;
        return n;
}

static inline const ImageState *image_state(const Image *image, uint32_t i) {
        return image_array(image, states, ImageState) + i;
}

static inline const ImageType *image_type(const Image *image, uint32_t i) {
        return image_array(image, types, ImageType) + i;
}

static inline const ImageNode *image_node(const Image *image, uint32_t i) {
        return image_array(image, nodes, ImageNode) + i;
}

/* NULL: it has none of that. */
static inline const ImageExtra *image_extra(const Image *image, uint32_t i) {
        uint32_t extra = image_state(image, i)->extra;

        return extra > 0 ? image_array(image, extras, ImageExtra) + extra - 1 : NULL;
}

/* A command that goes with a state: its arguments are texts of a list. NULL: it has no such hook. */
static inline const ImageArray *image_hook(const Image *image, uint32_t i, Hook hook) {
        const ImageExtra *extra = image_extra(image, i);

        return extra && extra->hooks[hook].n > 0 ? &extra->hooks[hook] : NULL;
}

static inline uint32_t image_n_triggers(const Image *image) {
        return image->header->triggers.n;
}

static inline const ImageTrigger *image_trigger(const Image *image, uint32_t i) {
        return image_array(image, triggers, ImageTrigger) + i;
}

/* Text k of a list. */
static inline const char *image_list_text(const Image *image, ImageArray list, uint32_t k) {
        return image_text(image, image_array(image, texts, ImageText)[list.offset + k]);
}

static inline const uint32_t *image_dependents(const Image *image, const ImageNode *node) {
        return image_array(image, dependents, uint32_t) + node->dependents.offset;
}

static inline const char *image_state_id(const Image *image, uint32_t i) {
        return image_text(image, image_state(image, i)->id);
}

static inline const char *image_state_type(const Image *image, uint32_t i) {
        return image_text(image, image_type(image, image_state(image, i)->type)->name);
}

/* What modules know it as: the part of the id behind "TYPE:", mostly. */
static inline const char *image_state_name(const Image *image, uint32_t i) {
        const ImageState *state = image_state(image, i);
        const ImageExtra *extra = image_extra(image, i);

        if (extra && extra->name.n > 0)
                return image_text(image, extra->name);
        return image_text(image, state->id) + image_type(image, state->type)->name.n + 1;
}

static inline const char *image_state_role(const Image *image, uint32_t i) {
        return image_text(image, image_array(image, roles, ImageRole)[image_state(image, i)->role].name);
}
