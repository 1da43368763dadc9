/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "child.h"
#include "eval.h"
#include "log.h"
#include "once.h"
#include "output.h"
#include "paths.h"
#include "role.h"
#include "terminal.h"
#include "toml.h"
#include "value-json.h"
#include "worker.h"

#define SCRATCH_BYTES GIB(1)

/* ---- Errors ---------------------------------------------------------------------------------------------------- */

#define EXCERPT_BEFORE 60 /* characters before the one at fault that are shown; and */
#define EXCERPT_AFTER  40

static size_t character_size(const char *p) {
        size_t n = 1;

        while (((unsigned char) p[n] & 0xc0) == 0x80)
                n++;
        return n;
}

/* The line of the text, and a caret under the column. */
static void print_excerpt(const char *text, uint32_t line, uint32_t column) {
        const char *begin = text, *end, *shown;
        uint32_t first = column > EXCERPT_BEFORE ? column - EXCERPT_BEFORE : 1, n = 1;

        for (; line > 1; line--) {
                begin = strchr(begin, '\n');
                if (!begin)
                        return;
                begin++;
        }
        end = strchrnul(begin, '\n');
        for (; n < first && begin < end; n++)
                begin += character_size(begin);

        (void) fputs("  ", stderr);
        shown = begin;
        for (uint32_t i = 0; shown < end && i < EXCERPT_BEFORE + EXCERPT_AFTER; i++) {
                size_t size = character_size(shown);

                /* What a terminal would act on is no part of an excerpt. */
                if ((unsigned char) *shown < ' ' || *shown == 0x7f)
                        (void) fputc(' ', stderr);
                else
                        (void) fwrite(shown, 1, size, stderr);
                shown += size;
        }
        (void) fprintf(stderr, "\n  %*s^\n", (int) (column - first), "");
}

static int print_error(const EvalOptions *options, uint32_t line, uint32_t column, const char *message) {
        bool wants_role = !options->role && startswith(message, "undefined name 'vars.");

        (void) fflush(stdout);
        (void) fprintf(stderr, "error: %s%s\n", message,
                wants_role ? " (without --role NAME there are the variables of the host alone)" : "");
        if (line > 0 && column > 0 && utf8_is_valid(options->expression, strlen(options->expression)))
                print_excerpt(options->expression, line, column);
        return EXIT_INVALID;
}

/* ---- The value ------------------------------------------------------------------------------------------------- */

static int print_value(const EvalOptions *options, const json_t *json) {
        if (options->check)
                return json_is_true(json) ? EXIT_FINE : EXIT_STATE_FAILED;
        if (json_is_string(json) && !options->json)
                (void) fwrite(json_string_value(json), 1, json_string_length(json), stdout);
        else
                (void) json_dumpf(json, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
        (void) fputc('\n', stdout);
        return output_flush(stdout) < 0 ? EXIT_STATE_FAILED : EXIT_FINE;
}

static void memory_is_full(_unused_ Arena *arena, _unused_ size_t wanted) {
        log_error("The expression needs more memory than it may take");
        _exit(EXIT_INVALID);
}

/* ---- What looks at the host ------------------------------------------------------------------------------------ */

typedef struct Sandbox {
        bool wanted;
        SandboxOptions options;
} Sandbox;

static int find_sandbox(Sandbox *sandbox) {
        int r;

        *sandbox = (Sandbox){ .options.memory_bytes = WORKER_MEMORY_BYTES };
        /* Somebody else than root can do no harm that he could not do without us. */
        if (geteuid() != 0)
                return 0;
        if (!sandbox_is_possible()) {
                log_warning("This container lets root build no sandbox (CAP_SYS_ADMIN and "
                            "CAP_DAC_READ_SEARCH are missing); the host is looked at in the open");
                return 0;
        }
        r = sandbox_find_user(&sandbox->options.uid, &sandbox->options.gid);
        if (r < 0)
                return log_error_errno(r, "Failed to find a user for checks to run as: %m");
        sandbox->wanted = true;
        return 0;
}

static json_t *evaluate(Loader *loader, const Expression *expression, bool check) {
        const ExpressionContext context = { .scratch = &loader->scratch, .helpers = &loader->helpers };
        Diagnostic d = {};
        Value value = {};
        bool truth = false;
        int r;

        if (check) {
                r = expression_truth(&context, expression, &truth, &d);
                value = value_boolean(truth);
        } else
                r = expression_evaluate(&context, expression, &value, &d);
        if (r >= 0)
                return json_pack("{s:o}", "value", value_to_json(&value));
        return json_pack("{s:s, s:i, s:i}", "error", d.message ?: strerror(-r), "line", (int) d.place.line,
                "column", (int) d.place.column);
}

_noreturn_ static void child_main(
        Loader *loader, const Sandbox *sandbox, const Expression *expression, bool check, int fd) {
        const int keep[] = { STDERR_FILENO, fd };
        const char *step = "arrange descriptors";
        json_t *answer;
        FILE *f;
        int r = 0;

        child_reset_signals();
        close_descriptors(STDERR_FILENO, keep, ELEMENTSOF(keep));
        if (sandbox->wanted)
                r = sandbox_enter(&sandbox->options, &step);
        if (r >= 0) {
                /* Opened only now: a descriptor from before would lead around the read-only mounts. */
                step = "open the root directory";
                r = path_open_root(loader->options->root, &loader->root_fd);
        }
        if (r < 0) {
                log_error_errno(r, "Failed to look at the host: could not %s: %m", step);
                _exit(EXIT_FAILURE);
        }
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);

        loader->helpers.root_fd = loader->root_fd;
        answer = evaluate(loader, expression, check);
        f = fdopen(fd, "we");
        if (!answer || !f || json_dumpf(answer, f, JSON_COMPACT) < 0 || fclose(f) != 0)
                _exit(EXIT_FAILURE);
        _exit(EXIT_SUCCESS);
}

static int evaluate_in_child(Loader *loader, const EvalOptions *options, const Expression *expression) {
        json_t *answer, *value;
        Sandbox sandbox;
        int fds[2], status, r;
        FILE *f;
        pid_t pid;

        r = find_sandbox(&sandbox);
        if (r < 0)
                return EXIT_INVALID;
        (void) fflush(stdout);
        if (pipe2(fds, O_CLOEXEC) < 0) {
                (void) log_error_errno(errno, "Failed to make a pipe: %m");
                return EXIT_INVALID;
        }
        pid = fork();
        if (pid == 0)
                child_main(loader, &sandbox, expression, options->check, fds[1]);
        safe_close(fds[1]);
        f = fdopen(fds[0], "re");
        if (pid < 0 || !f) {
                (void) log_error_errno(errno, "Failed to start a process: %m");
                return EXIT_INVALID;
        }

        answer = json_loadf(f, JSON_ALLOW_NUL, NULL);
        (void) fclose(f);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (!answer) {
                if (WIFSIGNALED(status))
                        log_error("Failed to look at the host: the process died of signal %d (%s)",
                                WTERMSIG(status), strsignal(WTERMSIG(status)));
                return EXIT_INVALID;
        }

        value = json_object_get(answer, "value");
        r = value ? print_value(options, value)
                  : print_error(options, (uint32_t) json_integer_value(json_object_get(answer, "line")),
                            (uint32_t) json_integer_value(json_object_get(answer, "column")),
                            json_string_value(json_object_get(answer, "error")) ?: "there is no value");
        json_decref(answer);
        return r;
}

/* ---- Names ----------------------------------------------------------------------------------------------------- */

static int print_diagnostics(const EvalOptions *options, Diagnostics *diagnostics) {
        diagnostics_sort(diagnostics);
        for (uint32_t i = 0; i < diagnostics->n; i++) {
                const Diagnostic *d = &diagnostics->list[i];
                _cleanup_free_ char *text = NULL;

                if (!d->place.file) {
                        (void) print_error(options, d->place.line, d->place.column, d->message);
                        continue;
                }
                text = diagnostic_format(d);
                output_clean(stderr, text ?: "out of memory", strlen(text ?: "out of memory"));
                (void) fputc('\n', stderr);
        }
        return EXIT_INVALID;
}

static const Role *find_role(Loader *loader, const char *name) {
        const char **names, *meant;

        for (uint32_t i = 0; i < loader->n_roles; i++)
                if (streq(loader->list[i]->name, name))
                        return loader->list[i];
        names = arena_new_array(&loader->scratch, const char *, loader->n_roles);
        for (uint32_t i = 0; i < loader->n_roles; i++)
                names[i] = loader->list[i]->name;
        meant = suggest(name, names, loader->n_roles);
        log_error("There is no role '%s' that is applied or imported%s%s%s", name,
                meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
        return NULL;
}

/* Whose names there are: a role with its variables, or one that stands for the host. NULL: what is wrong was told. */
static const Role *find_names(Loader *loader, const EvalOptions *options) {
        const Role *role;
        Role *host;

        if (options->role) {
                roles_find(loader);
                roles_read(loader);
        }
        vars_read(loader);
        for (uint32_t i = 0; i < loader->n_roles; i++)
                role_evaluate(loader, loader->order[i]);
        if (loader->diagnostics.n > 0) {
                (void) print_diagnostics(options, &loader->diagnostics);
                return NULL;
        }
        if (!options->role) {
                host = arena_new(&loader->scratch, Role);
                *host = (Role){ .name = "", .directory = options->root, .vars = loader->host_vars };
                return host;
        }
        role = find_role(loader, options->role);
        if (role && role->off && !role->off_by)
                log_warning("Role '%s' is off, as are all that import it: it has no variables", role->name);
        return role;
}

/* Return: 0; -EINVAL, which was told. */
static int read_item(Loader *loader, const EvalOptions *options, const Value **ret) {
        const char *text = arena_printf(&loader->scratch, "item = %s\n", options->item);
        Value *item = arena_new(&loader->scratch, Value), table;
        Diagnostic diagnostic;
        json_t *json;

        if (toml_parse(&loader->scratch, "--item", text, strlen(text), &table, &diagnostic) >= 0 &&
                table.n_members == 1)
                *item = table.members[0].value;
        else {
                json = json_loads(options->item, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
                if (!json) {
                        log_error("--item '%s' is neither JSON nor a value of TOML; a string wants quotes",
                                options->item);
                        return -EINVAL;
                }
                *item = value_from_json(&loader->scratch, json);
                json_decref(json);
        }
        *ret = item;
        return 0;
}

/* ---- All of it ------------------------------------------------------------------------------------------------- */

static int eval(Loader *loader, const EvalOptions *options) {
        const Value *constant, *item = NULL;
        Expression *expression;
        const Role *role;
        json_t *json;
        Names names;
        Value text;
        int r;

        if (options->item && read_item(loader, options, &item) < 0)
                return EXIT_INVALID;
        role = find_names(loader, options);
        if (!role)
                return EXIT_INVALID;
        names_init(&names, loader, role, item);
        text = value_string(&loader->scratch, options->expression, strlen(options->expression));
        if (names_fold(&names, &text, options->check ? EXPRESSION_CONDITION : 0, &loader->scratch,
                    &expression) < 0)
                return print_diagnostics(options, &loader->diagnostics);
        if (!expression_is_constant(expression, &constant))
                return evaluate_in_child(loader, options, expression);

        json = value_to_json(constant);
        if (!json) {
                (void) log_oom();
                return EXIT_INVALID;
        }
        r = print_value(options, json);
        json_decref(json);
        return r;
}

int eval_run(const EvalOptions *options) {
        const LoadOptions load = {
                .root = options->root,
                .conf_dir = options->conf_dir,
                .module_dir = options->module_dir,
                .vars = options->vars,
        };
        Loader loader = { .options = &load, .root_fd = -EBADF, .settings = settings_default };
        int r;

        if (arena_map(&loader.scratch, SCRATCH_BYTES, memory_is_full) < 0) {
                (void) log_oom();
                return EXIT_INVALID;
        }
        loader.diagnostics.arena = &loader.scratch;
        r = path_open_root(options->root, &loader.root_fd);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to open the root directory '%s': %m", options->root);
                return EXIT_INVALID;
        }
        loader.helpers = loader_helpers(&loader);

        r = eval(&loader, options);
        for (uint32_t i = 0; i < loader.n_modules; i++)
                (void) module_close((Module *) loader.modules[i]);
        return r;
}
