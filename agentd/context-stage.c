/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Many files in one go, durably: each is written beside its place; then one sync for all of a file system, instead of one for
 * each file; then they take their places, and the directories are synced, each once.
 *
 * A rename that outlives a power cut comes after the content that it names, since that was synced before. The owner and mode
 * are set in between: a journal keeps the order of these with the rename.
 */

#include <fcntl.h>
#include <sys/stat.h>

#include "context.h"

/* Each takes two descriptors, of which a process has 1024. */
#define STAGED_MAX 200

/* From so many files of one file system on, syncing it as a whole is cheaper than each by itself. It also writes what others
 * have left dirty, and so is not worth it for a few. */
#define SYNC_WHOLE_MIN 8

typedef struct StagedFile {
        PathReplacement replacement;
        size_t state;     /* index in the batch */
        size_t n_states;  /* from that one on */
        const char *path; /* NULL: one of many of its state */
        bool rewrite;     /* it has the attributes of the one that is there, which is to be still … */
        struct stat old;  /* … this one */
        uid_t uid;
        gid_t gid;
        mode_t mode;
        dev_t device;
        size_t directory; /* index */
        int error;
} StagedFile;

typedef struct StagedDirectory {
        int fd;
        dev_t device;
        ino_t inode;
        bool sync; /* else its state syncs all of the file system in the end */
        int error;
} StagedDirectory;

struct Stage {
        StagedFile *files;
        size_t n_files;
        StagedDirectory directories[STAGED_MAX];
        size_t n_directories;

        /* The first part that failed, of that state. */
        struct {
                size_t state;
                int error; /* 0: none */
                char name[NAME_MAX + 1];
        } failed;
};

static Stage *stage_of(AgentdContext *context) {
        if (!context->stage) {
                context->stage = calloc(1, sizeof(Stage));
                if (context->stage)
                        context->stage->files = calloc(STAGED_MAX, sizeof(StagedFile));
                if (context->stage && !context->stage->files) {
                        free(context->stage);
                        context->stage = NULL;
                }
        }
        return context->stage;
}

static void stage_clear(Stage *stage) {
        for (size_t i = 0; i < stage->n_files; i++)
                path_replace_abort(&stage->files[i].replacement);
        for (size_t i = 0; i < stage->n_directories; i++)
                safe_close(stage->directories[i].fd);
        stage->n_files = stage->n_directories = 0;
}

void context_drop_stage(AgentdContext *context) {
        if (context->stage)
                stage_clear(context->stage);
}

void context_free_stage(AgentdContext *context) {
        if (!context->stage)
                return;
        stage_clear(context->stage);
        free(context->stage->files);
        free(context->stage);
        context->stage = NULL;
}

/* ---- Syncing --------------------------------------------------------------------------------------------------------- */

/* The content of all that lie on the device of the first one that has not been synced yet. */
static void sync_device(Stage *stage, bool *synced, size_t first) {
        dev_t device = stage->files[first].device;
        size_t n = 0;
        int r = 0;

        for (size_t i = first; i < stage->n_files; i++)
                n += stage->files[i].device == device;
        if (n >= SYNC_WHOLE_MIN && syncfs(stage->files[first].replacement.fd) < 0)
                r = -errno;
        for (size_t i = first; i < stage->n_files; i++) {
                StagedFile *file = &stage->files[i];

                if (file->device != device)
                        continue;
                synced[i] = true;
                if (n >= SYNC_WHOLE_MIN)
                        file->error = r;
                else if (fsync(file->replacement.fd) < 0)
                        file->error = -errno;
        }
}

static void sync_contents(Stage *stage) {
        bool synced[STAGED_MAX] = {};

        for (size_t i = 0; i < stage->n_files; i++)
                if (!synced[i])
                        sync_device(stage, synced, i);
}

static void note_part(Stage *stage, const StagedFile *file) {
        if (file->error == 0 || stage->failed.error < 0)
                return;
        stage->failed.state = file->state;
        stage->failed.error = file->error;
        (void) snprintf(stage->failed.name, sizeof(stage->failed.name), "%s", file->replacement.name);
}

static void finish_states(AgentdContext *context, const Stage *stage, const StagedFile *file) {
        int r = file->error < 0 ? file->error : stage->directories[file->directory].error;

        for (size_t i = file->state; i < file->state + file->n_states; i++)
                if (context->finished[i])
                        continue;
                else if (r < 0)
                        agentd_failed(context, i, "Failed to %s '%s': %s",
                                file->rewrite ? "write" : "make file", file->path,
                                r == -ESTALE && file->rewrite
                                        ? "it was changed by somebody else in the meantime"
                                        : strerror(-r));
                else
                        agentd_done(context, i);
}

void context_flush_stage(AgentdContext *context) {
        Stage *stage = context->stage;

        if (!stage || stage->n_files == 0)
                return;

        sync_contents(stage);
        context_will_change(context);
        for (size_t i = 0; i < stage->n_files; i++) {
                StagedFile *file = &stage->files[i];

                if (file->error == 0 && file->rewrite)
                        file->error = context_is_still(&file->replacement, &file->old);
                if (file->error == 0)
                        file->error = path_replace_commit(&file->replacement, file->uid, file->gid,
                                file->mode, PATH_NO_SYNC_FILE | PATH_NO_SYNC_DIRECTORY);
        }
        for (size_t i = 0; i < stage->n_directories; i++)
                if (stage->directories[i].sync)
                        stage->directories[i].error = path_sync(stage->directories[i].fd);
        for (size_t i = 0; i < stage->n_files; i++) {
                if (stage->files[i].path)
                        finish_states(context, stage, &stage->files[i]);
                else
                        note_part(stage, &stage->files[i]);
        }
        stage_clear(stage);
}

/* ---- Staging --------------------------------------------------------------------------------------------------------- */

/* Return: 0 and its index; -errno. */
static int stage_directory(Stage *stage, int dir_fd, size_t *ret, dev_t *ret_device) {
        StagedDirectory *directory = &stage->directories[stage->n_directories];
        struct stat st;

        if (fstat(dir_fd, &st) < 0)
                return -errno;
        *ret_device = st.st_dev;
        /* Files that follow each other mostly lie together. */
        for (size_t i = stage->n_directories; i > 0; i--)
                if (stage->directories[i - 1].device == st.st_dev &&
                        stage->directories[i - 1].inode == st.st_ino) {
                        *ret = i - 1;
                        return 0;
                }
        *directory = (StagedDirectory){
                .fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3),
                .device = st.st_dev,
                .inode = st.st_ino,
        };
        if (directory->fd < 0)
                return -errno;
        *ret = stage->n_directories++;
        return 0;
}

/* path: NULL for a part. */
static int stage_file(AgentdContext *context, size_t i, int dir_fd, const char *name, const char *path,
        const AgentdReplacement *wanted) {
        AgentdReplacement replacement = *wanted;
        Stage *stage = context->stage;
        StagedFile *file = &stage->files[stage->n_files];
        int r;

        *file = (StagedFile){
                .state = i,
                .n_states = MAX(replacement.n_states, 1u),
                .path = path,
                .rewrite = replacement.flags & AGENTD_REPLACE_REWRITE,
        };
        if (file->rewrite) {
                r = context_take_attributes(&replacement, &file->old);
                if (r < 0)
                        return r;
        }
        /* Owners that are set once more would take away file capabilities. */
        file->uid = file->rewrite ? (uid_t) -1 : replacement.attributes.uid;
        file->gid = file->rewrite ? (gid_t) -1 : replacement.attributes.gid;
        file->mode = replacement.attributes.mode;
        r = stage_directory(stage, dir_fd, &file->directory, &file->device);
        if (r < 0)
                return r;
        stage->directories[file->directory].sync |= path != NULL;
        r = context_fill_replacement(
                context, &file->replacement, dir_fd, path ? path : name, name, &replacement);
        if (r < 0)
                return r;
        stage->n_files++;
        return 0;
}

static int make_room(AgentdContext *context) {
        Stage *stage = stage_of(context);

        if (!stage)
                return -ENOMEM;
        if (stage->n_files == STAGED_MAX || stage->n_directories == STAGED_MAX)
                context_flush_stage(context);
        return 0;
}

static int stage(AgentdContext *context, size_t i, const char *path, const AgentdReplacement *replacement) {
        const char *name;
        int fd, r;

        if (i >= context->n || replacement->n_states > context->n - i)
                return -EINVAL;
        r = make_room(context);
        if (r < 0)
                return r;
        r = agentd_open_parent(context, path, &fd, &name);
        if (r < 0)
                return r;
        r = stage_file(context, i, fd, name, path, replacement);
        /* Whoever looks for the state that is to blame wants each result by itself. */
        if (r == 0 && context->careful)
                context_flush_stage(context);
        return r;
}

int agentd_stage_file(AgentdContext *context, size_t i, const char *path, const void *content, size_t size,
        const AgentdAttributes *attributes) {
        return stage(context, i, path,
                &(AgentdReplacement){
                        .content = content,
                        .content_size = size,
                        .fd = -1,
                        .attributes = *attributes,
                });
}

int agentd_stage_file_from(
        AgentdContext *context, size_t i, const char *path, int fd, const AgentdAttributes *attributes) {
        return stage(context, i, path, &(AgentdReplacement){ .fd = fd, .attributes = *attributes });
}

/* A module that was built with a later header has more to say, of which we know nothing. */
static AgentdReplacement known_part(const AgentdReplacement *replacement) {
        AgentdReplacement known = { .fd = -1 };

        memcpy(&known, replacement, MIN(replacement->size, sizeof(known)));
        return known;
}

int agentd_replace(
        AgentdContext *context, size_t i, const char *path, const AgentdReplacement *replacement) {
        const AgentdReplacement known = known_part(replacement);

        return known.flags & AGENTD_REPLACE_STAGED ? stage(context, i, path, &known)
                                                   : context_replace(context, path, &known);
}

void agentd_finish_staged(AgentdContext *context) {
        context_flush_stage(context);
}

/* ---- Parts ------------------------------------------------------------------------------------------------------------ */

int agentd_stage_part(AgentdContext *context, size_t i, int dir_fd, const char *name,
        const AgentdReplacement *replacement) {
        const AgentdReplacement known = known_part(replacement);
        int r;

        r = make_room(context);
        return r < 0 ? r : stage_file(context, i, dir_fd, name, NULL, &known);
}

int agentd_finish_parts(AgentdContext *context, size_t i, int fd, const char **ret_name) {
        Stage *stage = context->stage;
        int r = 0;

        context_flush_stage(context);
        if (stage && stage->failed.error < 0 && stage->failed.state == i) {
                r = stage->failed.error;
                *ret_name = stage->failed.name;
        }
        if (stage)
                stage->failed.error = 0;
        if (syncfs(fd) < 0 && r == 0)
                r = -errno;
        return r;
}
