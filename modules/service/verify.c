/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Unit files are laid out in a directory of their own, by the names that they will have, and `systemd-analyze verify` looks at them
 * there. It knows the units of the host as well, since the directory only comes before the usual ones.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "pool.h"

#define ANALYZE "/usr/bin/systemd-analyze"
#define PLACE   "/run"
#define PREFIX  "agentd-verify-"

/* With the number of the process whose it is. */
#define DIRECTORY_SIZE (sizeof(PLACE "/" PREFIX "-XXXXXX") + 3 * sizeof(pid_t))

/* Of what it says. */
#define ERROR_MAX ((size_t) 600)

static int write_file(int dir_fd, const char *name, const char *text, size_t size) {
        CLOSED int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

        if (fd < 0)
                return -errno;
        while (size > 0) {
                ssize_t n = write(fd, text, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                text += n;
                size -= (size_t) n;
        }
        return 0;
}

/* The name by which systemd knows a file: the last part, with the directory if that is one of drop-ins. */
static const char *name_of(const char *path) {
        const char *slash = strrchr(path, '/'), *before = slash;

        while (before > path && before[-1] != '/')
                before--;
        return slash - before > 2 && slash[-1] == 'd' && slash[-2] == '.' ? before : slash + 1;
}

static int lay_out(AgentdContext *context, int dir_fd, const Service *service) {
        for (unsigned k = 0; k < service->n_files; k++) {
                const char *name = name_of(service->files[k].path), *slash = strchr(name, '/');
                char *text = NULL;
                size_t size;
                int r;

                if (slash) {
                        char directory[300];

                        (void) snprintf(directory, sizeof(directory), "%.*s", (int) (slash - name), name);
                        if (mkdirat(dir_fd, directory, 0755) < 0 && errno != EEXIST)
                                return -errno;
                }
                r = file_text(context, &service->files[k], &text, &size);
                if (r >= 0)
                        r = write_file(dir_fd, name, text, size);
                free(text);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void remove_tree(int dir_fd, const Service *const *services, size_t n, const char *path) {
        for (size_t i = 0; i < n; i++)
                for (unsigned k = 0; k < services[i]->n_files; k++) {
                        const char *name = name_of(services[i]->files[k].path), *slash = strchr(name, '/');
                        char directory[300];

                        (void) unlinkat(dir_fd, name, 0);
                        if (!slash)
                                continue;
                        (void) snprintf(directory, sizeof(directory), "%.*s", (int) (slash - name), name);
                        (void) unlinkat(dir_fd, directory, AT_REMOVEDIR);
                }
        (void) rmdir(path);
}

/* ---- What others have left ------------------------------------------------------------------------------------- */

/* What is in it, down to directories of drop-ins. Closes the descriptor. */
static void empty(int fd, bool deeper) {
        DIR *dir = fdopendir(fd);
        int below;

        if (!dir) {
                (void) close(fd);
                return;
        }
        for (const struct dirent *entry; (entry = readdir(dir));) {
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                        unlinkat(fd, entry->d_name, 0) == 0 || !deeper)
                        continue;
                below = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (below < 0)
                        continue;
                empty(below, false);
                (void) unlinkat(fd, entry->d_name, AT_REMOVEDIR);
        }
        (void) closedir(dir);
}

/* A worker that was killed leaves its directory behind, with all that the files say. */
static void remove_left(void) {
        DIR *dir = opendir(PLACE);

        if (!dir)
                return;
        for (const struct dirent *entry; (entry = readdir(dir));) {
                const char *digits = entry->d_name + strlen(PREFIX);
                long pid;
                char *end;
                int fd;

                if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0)
                        continue;
                pid = strtol(digits, &end, 10);
                if (end == digits || *end != '-' || pid <= 0 || pid > INT_MAX || kill((pid_t) pid, 0) == 0 ||
                        errno != ESRCH)
                        continue;
                fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0)
                        continue;
                empty(fd, true);
                (void) unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
        }
        (void) closedir(dir);
}

/* ---- Verifying ------------------------------------------------------------------------------------------------- */

/* Its lines as one, without the directory (NULL: none), which nobody knows. */
static char *tidy(const char *text, const char *directory) {
        size_t length = directory ? strlen(directory) : 0, size;
        char *result = NULL;
        FILE *f = open_memstream(&result, &size);
        bool gap = false;

        if (!f)
                return NULL;
        for (const char *p = text; *p && (size_t) ftell(f) < ERROR_MAX;) {
                if (directory && strncmp(p, directory, length) == 0 && p[length] == '/') {
                        p += length + 1;
                        continue;
                }
                if ((unsigned char) *p < ' ')
                        gap = true;
                else {
                        if (gap && ftell(f) > 0)
                                (void) fputs(" | ", f);
                        gap = false;
                        (void) fputc(*p, f);
                }
                p++;
        }
        if (fclose(f) != 0) {
                free(result);
                return NULL;
        }
        return result;
}

/* Unit files by their paths; of who has only drop-ins, the unit by its name. Returns how many. */
static size_t add_arguments(
        const char *directory, const Service *service, const char **argv, char **paths, size_t *n_paths) {
        size_t n = 0;

        for (unsigned k = 0; k < service->n_files; k++) {
                const char *name = name_of(service->files[k].path);
                char *path;

                if (strchr(name, '/') || asprintf(&path, "%s/%s", directory, name) < 0)
                        continue;
                argv[n++] = paths[(*n_paths)++] = path;
        }
        if (n == 0)
                argv[n++] = service->unit;
        return n;
}

/*
 * timeout_usec: 0: what the state has. directory: is left out of what it says; NULL: none.
 * Return: 1: all is fine; 0: it is not, *ret_error says why; -errno: nobody can tell.
 */
static int run_analyze(AgentdContext *context, size_t state, const char *const *argv,
        const char *const *environment, uint64_t timeout_usec, const char *directory, char **ret_error) {
        AgentdCommandResult result = { .size = sizeof(result) };
        int r;

        r = agentd_run_command(context, state,
                &(AgentdCommand){
                        .size = sizeof(AgentdCommand),
                        .argv = argv,
                        .environment = environment,
                        .timeout_usec = timeout_usec,
                        .flags = AGENTD_COMMAND_QUIET,
                        .input_fd = -1,
                        .output_fd = -1,
                },
                &result);
        if (r < 0)
                return r;
        if (result.end != AGENTD_COMMAND_EXITED)
                return -EIO;
        if (result.code == 0)
                return 1;
        *ret_error = tidy(result.errors, directory);
        return 0;
}

/* Return: as of run_analyze(). */
static int analyze(AgentdContext *context, size_t state, const char *directory,
        const Service *const *services, size_t n, char **ret_error) {
        const char **argv = calloc(n * SERVICE_FILES_MAX + 6, sizeof(*argv));
        char environment[sizeof("SYSTEMD_UNIT_PATH=") + DIRECTORY_SIZE + 1],
                **paths = calloc(n * SERVICE_FILES_MAX, sizeof(*paths));
        size_t m = 0, n_paths = 0;
        int r = -ENOMEM;

        (void) snprintf(environment, sizeof(environment), "SYSTEMD_UNIT_PATH=%s:", directory);
        if (argv && paths) {
                argv[m++] = ANALYZE;
                argv[m++] = "verify";
                argv[m++] = "--man=no";
                argv[m++] = "--recursive-errors=no";
                for (size_t i = 0; i < n; i++)
                        m += add_arguments(directory, services[i], argv + m, paths, &n_paths);
                r = run_analyze(context, state, argv,
                        (const char *const[]){ environment, "SYSTEMD_LOG_LEVEL=warning", NULL }, 0,
                        directory, ret_error);
        }
        for (size_t i = 0; i < n_paths; i++)
                free(paths[i]);
        free(paths);
        free(argv);
        return r;
}

/* Which of them are wrong: in halves, since the program takes a while, however few there are. Return: as above. */
static int find_errors(AgentdContext *context, const char *directory, const Service *const *services,
        const size_t *indices, size_t n, char **errors) {
        char *error = NULL;
        int r, q;

        r = analyze(context, indices[0], directory, services, n, &error);
        if (r == 0 && n == 1) {
                /* What is wrong is never nothing. */
                errors[0] = error ?: strdup("it does not say why");
                return 0;
        }
        free(error);
        if (r != 0)
                return r;
        r = find_errors(context, directory, services, indices, n / 2, errors);
        q = find_errors(context, directory, services + n / 2, indices + n / 2, n - n / 2, errors + n / 2);
        return r < 0 ? r : q < 0 ? q : 0;
}

void files_verify(AgentdContext *context, const Service *const *services, const size_t *indices, size_t n,
        char **errors) {
        char directory[DIRECTORY_SIZE];
        CLOSED int dir_fd = -1;
        int r = 0;

        if (n == 0 || access(ANALYZE, X_OK) < 0)
                return;
        remove_left();
        (void) snprintf(directory, sizeof(directory), PLACE "/" PREFIX "%d-XXXXXX", (int) getpid());
        if (!mkdtemp(directory))
                return;
        dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0)
                r = -errno;
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = lay_out(context, dir_fd, services[i]);
        if (r >= 0)
                r = find_errors(context, directory, services, indices, n, errors);
        if (r < 0)
                agentd_log(
                        context, 4, "Unit files are put in place without being verified: %s", strerror(-r));
        if (dir_fd >= 0)
                remove_tree(dir_fd, services, n, directory);
}

/* ---- Calendars ------------------------------------------------------------------------------------------------- */

/* States that are asked about at a time: what a command takes for arguments has an end. */
#define CALENDARS_AT_ONCE ((size_t) 64)

#define CALENDARS_TIMEOUT_USEC (UINT64_C(10) * 1000000)

/* Return: as of run_analyze(). */
static int analyze_calendars(AgentdContext *context, const AgentdState *states, const size_t *indices,
        size_t n, char **ret_error) {
        const char **argv;
        size_t m = 0;
        int r;

        for (size_t i = 0; i < n; i++)
                for (const char *const *c = service_of(&states[indices[i]])->calendars; *c; c++)
                        m++;
        argv = calloc(m + 4, sizeof(*argv));
        if (!argv)
                return -ENOMEM;
        m = 0;
        argv[m++] = ANALYZE;
        argv[m++] = "calendar";
        argv[m++] = "--";
        for (size_t i = 0; i < n; i++)
                for (const char *const *c = service_of(&states[indices[i]])->calendars; *c; c++)
                        argv[m++] = *c;
        r = run_analyze(context, indices[0], argv,
                (const char *const[]){ "SYSTEMD_LOG_LEVEL=warning", "SYSTEMD_LOG_TARGET=console", NULL },
                CALENDARS_TIMEOUT_USEC, NULL, ret_error);
        free(argv);
        return r;
}

/* In halves, as above. */
static void find_bad_calendars(
        AgentdContext *context, const AgentdState *states, const size_t *indices, size_t n) {
        char *error = NULL;
        int r;

        r = analyze_calendars(context, states, indices, n, &error);
        if (r == 0 && n == 1) {
                /* What would be written is worth seeing nevertheless. */
                if (files_compare(context, indices[0], service_of(&states[indices[0]])) >= 0)
                        agentd_failed(context, indices[0], "systemd does not accept 'calendar': %s",
                                error && *error ? error : "it does not say why");
        } else if (r == 0) {
                find_bad_calendars(context, states, indices, n / 2);
                find_bad_calendars(context, states, indices + n / 2, n - n / 2);
        }
        free(error);
}

void calendars_verify(AgentdContext *context, const AgentdState *states, size_t n) {
        size_t *indices = calloc(n, sizeof(*indices)), m = 0;
        sd_bus *bus;

        for (size_t i = 0; indices && i < n; i++) {
                const Service *service = service_of(&states[i]);

                if (service->calendars && files_differ(context, service))
                        indices[m++] = i;
        }
        /* A program of the host does not belong below --root, where there is no bus. */
        if (m > 0 && access(ANALYZE, X_OK) >= 0 && agentd_bus(context, &bus) != -EHOSTDOWN)
                for (size_t i = 0; i < m; i += CALENDARS_AT_ONCE)
                        find_bad_calendars(context, states, indices + i,
                                m - i < CALENDARS_AT_ONCE ? m - i : CALENDARS_AT_ONCE);
        free(indices);
}
