/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* validate, content, eval, doc and schema: what agentd itself does, without a daemon. */

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "agentctl.h"
#include "json.h"
#include "log.h"

static const char *agentd_path(void) {
        const char *path = getenv("AGENTD_EXECUTABLE");

        return path && *path ? path : AGENTD_PATH;
}

/* Runs in the child. */
_noreturn_ static void exec_agentd(const char *const *arguments) {
        (void) execv(arguments[0], (char *const *) arguments);
        (void) log_error_errno(errno, "Failed to run '%s': %m", arguments[0]);
        _exit(EXIT_UNREACHABLE);
}

/* The exit status of a child, as a shell has it. */
static int wait_for(pid_t pid) {
        int status;

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return EXIT_STATE_FAILED;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Starts agentd with its output, and errors if asked for, in a pipe. Return: its pid; -errno. */
static pid_t start_agentd(const char *const *arguments, bool with_errors, FILE **ret) {
        int fds[2], null;
        pid_t pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        *ret = fdopen(fds[0], "re");
        pid = *ret ? fork() : -1;
        if (pid == 0) {
                null = with_errors ? fds[1] : open("/dev/null", O_WRONLY | O_CLOEXEC);
                if (dup2(fds[1], STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
                        _exit(EXIT_STATE_FAILED);
                exec_agentd(arguments);
        }
        if (pid < 0)
                pid = -errno;
        if (!*ret)
                safe_close(fds[0]);
        safe_close(fds[1]);
        return pid;
}

/* ---- validate -------------------------------------------------------------------------------------------------- */

/* "FILE:LINE:COLUMN: error: MESSAGE", whose parts may be missing from the left, into a diagnostic. NULL: it is none. */
static json_t *parse_diagnostic(char *line) {
        char *message = strstr(line, "error: "), *file = line;
        json_int_t numbers[2] = {};
        size_t n = 0;

        if (!message)
                return NULL;
        if (message > line) {
                char *end = message - 2;

                if (end < line || end[0] != ':')
                        return NULL;
                *end = 0;
                /* Numbers stand at the end; a file's name may hold anything. */
                for (char *colon; n < 2 && (colon = strrchr(file, ':')) && colon[1] &&
                                  colon[1 + strspn(colon + 1, "0123456789")] == 0;
                        *colon = 0)
                        numbers[n++] = strtoll(colon + 1, NULL, 10);
        } else
                file = NULL;
        message += strlen("error: ");
        return json_pack("{s:s?, s:o, s:o, s:s}", "file", file, "line",
                n == 0 ? json_null() : json_integer(numbers[n - 1]), "column",
                n < 2 ? json_null() : json_integer(numbers[0]), "message", message);
}

/* What agentd says, in the form of POST /v1/validate. */
static int validate_to_json(const char *const *arguments) {
        _cleanup_(fclosep) FILE *f = NULL;
        _cleanup_free_ char *line = NULL;
        unsigned n_states = 0, n_roles = 0;
        bool counted = false;
        json_t *diagnostics, *warnings, *answer;
        size_t allocated = 0;
        int status;
        ssize_t n;
        pid_t pid;

        pid = start_agentd(arguments, true, &f);
        if (pid < 0) {
                (void) log_error_errno(pid, "Failed to start '%s': %m", arguments[0]);
                return EXIT_STATE_FAILED;
        }
        diagnostics = json_array();
        warnings = json_array();
        while ((n = getline(&line, &allocated, f)) > 0) {
                json_t *diagnostic;

                if (line[n - 1] == '\n')
                        line[n - 1] = 0;
                if (sscanf(line, "%u state%*[s] in %u", &n_states, &n_roles) == 2 ||
                        sscanf(line, "%u state in %u", &n_states, &n_roles) == 2) {
                        counted = true;
                        continue;
                }
                if (startswith(line, "agentd: warning: ")) {
                        (void) json_array_append_new(
                                warnings, json_string(line + strlen("agentd: warning: ")));
                        continue;
                }
                /* agentd's own troubles are not of the roles. */
                diagnostic = startswith(line, "agentd: ") ? NULL : parse_diagnostic(line);
                if (diagnostic)
                        (void) json_array_append_new(diagnostics, diagnostic);
                else
                        (void) fprintf(stderr, "%s\n", line);
        }
        status = wait_for(pid);
        answer = json_pack("{s:b, s:o, s:o, s:o, s:o}", "valid", status == EXIT_FINE, "n_roles",
                counted ? json_integer(n_roles) : json_null(), "n_states",
                counted ? json_integer(n_states) : json_null(), "diagnostics", diagnostics, "warnings",
                warnings);
        if (status == EXIT_FINE || status == EXIT_INVALID)
                print_json(answer);
        json_decref(answer);
        return status;
}

int verb_validate(Invocation *invocation) {
        _cleanup_free_ const char **arguments = calloc(invocation->n_words + 4, sizeof(char *));
        size_t n = 0;

        if (!arguments) {
                (void) log_oom();
                return EXIT_STATE_FAILED;
        }
        arguments[n++] = agentd_path();
        arguments[n++] = "--validate";
        arguments[n++] = "--";
        for (size_t i = 0; i < invocation->n_words; i++)
                arguments[n++] = invocation->words[i];
        if (invocation->json)
                return validate_to_json(arguments);
        (void) execv(arguments[0], (char *const *) arguments);
        (void) log_error_errno(errno, "Failed to run '%s': %m", arguments[0]);
        return EXIT_UNREACHABLE;
}

/* ---- content --------------------------------------------------------------------------------------------------- */

int verb_content(Invocation *invocation) {
        char option[sizeof("--content=") + 256];
        const char *arguments[] = { agentd_path(), option,
                option_value(invocation, "force") ? "--force" : NULL, NULL };

        (void) snprintf(option, sizeof(option), "--content=%s", invocation->words[0]);
        (void) execv(arguments[0], (char *const *) arguments);
        (void) log_error_errno(errno, "Failed to run '%s': %m", arguments[0]);
        return EXIT_UNREACHABLE;
}

/* ---- eval ------------------------------------------------------------------------------------------------------ */

/* Adds "--NAME=VALUE" to a list with room: so a value may begin with a dash. Return: whether there was memory. */
static bool add_option(char **list, size_t *n, const char *name, const char *value) {
        if (asprintf(&list[*n], "--%s=%s", name, value) < 0) {
                list[*n] = NULL;
                return false;
        }
        ++*n;
        return true;
}

int verb_eval(Invocation *invocation) {
        static const char *const options[] = { "role", "item", "conf-dir" };
        size_t n = 0, n_made, position = 0, most = invocation->n_many + ELEMENTSOF(options) + 5;
        _cleanup_free_ char **made = calloc(most, sizeof(char *));
        _cleanup_free_ const char **arguments = calloc(most, sizeof(char *));
        bool complete = made && arguments && add_option(made, &n, "eval", invocation->words[0]);
        const char *value;

        FOREACH_ELEMENT(option, options) {
                value = option_value(invocation, *option);
                complete = complete && (!value || add_option(made, &n, *option, value));
        }
        while (complete && (value = option_next(invocation, "var", &position)))
                complete = add_option(made, &n, "var", value);

        n_made = n;
        if (complete) {
                arguments[0] = agentd_path();
                for (n = 0; n < n_made; n++)
                        arguments[n + 1] = made[n];
                if (option_value(invocation, "check"))
                        arguments[++n] = "--check";
                if (invocation->json)
                        arguments[++n] = "--json";
                (void) execv(arguments[0], (char *const *) arguments);
                (void) log_error_errno(errno, "Failed to run '%s': %m", arguments[0]);
        } else
                (void) log_oom();
        for (size_t i = 0; i < n_made; i++)
                free(made[i]);
        return complete ? EXIT_UNREACHABLE : EXIT_STATE_FAILED;
}

/* ---- What there are manuals of: lines of "NAME  what it is", up to an empty one ---------------------------------- */

int agentd_doc_names(void (*on_name)(void *userdata, const char *name, const char *what), void *userdata) {
        const char *arguments[] = { agentd_path(), "--doc", NULL };
        _cleanup_(fclosep) FILE *f = NULL;
        _cleanup_free_ char *line = NULL;
        size_t allocated = 0;
        bool any = false;
        pid_t pid;

        pid = start_agentd(arguments, false, &f);
        if (pid < 0)
                return EXIT_STATE_FAILED;
        while (getline(&line, &allocated, f) > 0) {
                char *gap;

                line[strcspn(line, "\n")] = 0;
                gap = strstr(line, "  ");
                if (*line == 0 && any)
                        break;
                if (!gap || gap == line)
                        continue;
                *gap = 0;
                any = true;
                on_name(userdata, line, gap + 1 + strspn(gap + 1, " "));
        }
        /* It may have more to say. */
        fclosep(&f);
        f = NULL;
        return wait_for(pid);
}

/* ---- doc ------------------------------------------------------------------------------------------------------- */

/* What pages texts, as systemd chooses it; NULL: nothing. */
static const char *find_pager(const Invocation *invocation) {
        const char *pager = getenv("SYSTEMD_PAGER") ?: getenv("PAGER"), *term = getenv("TERM");

        if (!invocation->pager || !isatty(STDOUT_FILENO) || (term && streq(term, "dumb")))
                return NULL;
        if (pager)
                return *pager && !streq(pager, "cat") ? pager : NULL;
        /* A small host may have none; that is no reason to show nothing. */
        return "command -v less >/dev/null && exec less; command -v more >/dev/null && exec more; exec cat";
}

/* Return: its pid, with standard output leading to it; -errno. */
static pid_t start_pager(const char *pager) {
        int fds[2];
        pid_t pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        (void) fflush(stdout);
        pid = fork();
        if (pid < 0) {
                int r = -errno;

                safe_close(fds[0]);
                safe_close(fds[1]);
                return r;
        }
        if (pid == 0) {
                if (dup2(fds[0], STDIN_FILENO) < 0)
                        _exit(EXIT_STATE_FAILED);
                /* Quit if it fits, raw colours, no beep, chop, keep the screen. Source: less(1); the same as systemd's. */
                (void) setenv("LESS", getenv("SYSTEMD_LESS") ?: "FRSXMK", 1);
                (void) setenv("LESSCHARSET", "utf-8", 1);
                (void) setenv("LESSSECURE", "1", 0);
                (void) execlp("sh", "sh", "-c", pager, NULL);
                _exit(127);
        }
        safe_close(fds[0]);
        if (dup2(fds[1], STDOUT_FILENO) < 0) {
                safe_close(fds[1]);
                return -errno;
        }
        safe_close(fds[1]);
        return pid;
}

int verb_doc(Invocation *invocation) {
        const char *arguments[] = { agentd_path(), "--doc",
                invocation->n_words > 0 ? invocation->words[0] : NULL, NULL };
        const char *pager = find_pager(invocation);
        pid_t pager_pid, pid;
        int status;

        if (!pager) {
                (void) execv(arguments[0], (char *const *) arguments);
                (void) log_error_errno(errno, "Failed to run '%s': %m", arguments[0]);
                return EXIT_UNREACHABLE;
        }

        /* Ctrl-C is the pager's, which ends nothing by it. */
        (void) signal(SIGINT, SIG_IGN);
        pager_pid = start_pager(pager);
        if (pager_pid < 0) {
                (void) log_error_errno(pager_pid, "Failed to start the pager '%s': %m", pager);
                return EXIT_STATE_FAILED;
        }
        pid = fork();
        if (pid == 0) {
                (void) signal(SIGINT, SIG_DFL);
                exec_agentd(arguments);
        }
        status = pid > 0 ? wait_for(pid) : EXIT_STATE_FAILED;
        /* Else the pager would wait for more, and we for the pager. */
        (void) close(STDOUT_FILENO);
        (void) open("/dev/null", O_WRONLY | O_CLOEXEC);
        (void) wait_for(pager_pid);
        /* The reader left before the end. */
        return status == 128 + SIGPIPE ? EXIT_FINE : status;
}

/* ---- schema ---------------------------------------------------------------------------------------------------- */

int verb_schema(Invocation *invocation) {
        const char *arguments[] = { agentd_path(), "--schema", "--",
                invocation->n_words > 0 ? invocation->words[0] : NULL, NULL };

        (void) execv(arguments[0], (char *const *) arguments);
        (void) log_error_errno(errno, "Failed to run '%s': %m", arguments[0]);
        return EXIT_UNREACHABLE;
}
