/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <signal.h>
#include <syslog.h>
#include <time.h>

#include "command.h"
#include "disable.h"
#include "engine-select.h"
#include "explain-text.h"
#include "event.h"
#include "loader.h"
#include "lock.h"
#include "log.h"
#include "once.h"
#include "output.h"

/* Progress is shown for what takes longer, and brought up to date so often. */
#define PROGRESS_AFTER_USEC USEC_PER_SEC
#define PROGRESS_EVERY_USEC (100 * USEC_PER_MSEC)

/* How long a run that was told to stop waits for what is under way. */
#define STOP_USEC (20 * USEC_PER_SEC)

typedef struct Once {
        const OnceOptions *options;
        OutputStyle style;
        sd_event *event;
        Load *load;
        Image *image;
        Commands *commands;
        WorkerPool *pool;
        Run *run;
        sd_event_source *progress;
        bool progress_shown;
        bool journal; /* events go to the journal */
        uint32_t n_done, n_pending;
        int status;
} Once;

/* ---- Progress -------------------------------------------------------------------------------------------------- */

static void hide_progress(Once *once) {
        if (!once->progress_shown)
                return;
        (void) fputs("\r\033[K", stderr);
        once->progress_shown = false;
}

static int on_progress(sd_event_source *source, uint64_t usec, void *userdata) {
        Once *once = userdata;

        (void) fprintf(stderr, "\r\033[K%u of %u states", once->n_done, run_n_selected(once->run));
        once->progress_shown = true;
        (void) sd_event_source_set_time(source, usec + PROGRESS_EVERY_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* ---- The run --------------------------------------------------------------------------------------------------- */

static void on_result(void *userdata, Run *run, uint32_t state) {
        Once *once = userdata;

        once->n_done++;
        /* What is only audited is never changed, so nothing is pending. */
        if ((run_result(run, state) == RESULT_DRIFTED || run_result(run, state) == RESULT_UNKNOWN) &&
                !(image_state(run_image(run), state)->flags & IMAGE_STATE_AUDIT))
                once->n_pending++;
        if (once->journal)
                event_state_result(run, state);
        hide_progress(once);
        if (once->options->json) {
                json_t *json = output_result(run, state, once->options->diff);

                /* Nothing is kept that could be undone. */
                (void) json_object_del(json, "undo");
                output_json_line(stdout, json);
                json_decref(json);
        } else
                output_result_for_people(stdout, run, state, &once->style);
}

/* The last words: what became of the run, also if it is cut short. */
static void tell_end(Once *once, const Run *run) {
        if (once->journal)
                event_run_finished(run);
        hide_progress(once);
        if (once->options->json) {
                json_t *json = output_run(run);

                output_json_line(stdout, json);
                json_decref(json);
        } else
                output_summary_for_people(stdout, run, &once->style);
}

static void on_finished(void *userdata, Run *run) {
        Once *once = userdata;

        tell_end(once, run);
        if (run_count(run, RESULT_FAILED) + run_count(run, RESULT_BLOCKED) > 0 || run_is_interrupted(run) ||
                run_is_refused(run))
                once->status = EXIT_STATE_FAILED;
        else if (once->options->check && once->n_pending > 0)
                once->status = EXIT_PENDING;
        else
                once->status = EXIT_FINE;
        if (output_flush(stdout) < 0)
                once->status = EXIT_STATE_FAILED;
        (void) sd_event_exit(once->event, 0);
}

static bool may_begin(void *userdata, Run *run, uint32_t state) {
        const Once *once = userdata;

        return !commands_holds(once->commands, image_state_id(run_image(run), state));
}

static void on_attempt_failed(void *userdata, Run *run, uint32_t state, const RunAttempt *attempt) {
        Once *once = userdata;
        const RunDetail *detail = run_detail(run, state);

        if (once->journal)
                event_attempt_failed(NULL, run, run_options(run)->id, state, attempt);
        hide_progress(once);
        log_notice("%s failed (attempt %u of %u), again in %s: %s", image_state_id(run_image(run), state),
                attempt->n, attempt->max, FORMAT_TIMESPAN(attempt->delay_usec),
                detail && detail->error ? detail->error : "no reason was given");
}

static void on_hook_failed(void *userdata, Run *run, uint32_t state, Hook hook, const char *explanation) {
        Once *once = userdata;

        if (once->journal)
                event_hook_failed(NULL, run, run_options(run)->id, state, hook, explanation);
        hide_progress(once);
        log_warning("The hook %s of %s went wrong: %s", hook_to_string(hook),
                image_state_id(run_image(run), state), explanation);
}

static const RunHandlers run_handlers = {
        .on_result = on_result,
        .on_finished = on_finished,
        .may_begin = may_begin,
        .on_attempt_failed = on_attempt_failed,
        .on_hook_failed = on_hook_failed,
};

/* ---- Commands ------------------------------------------------------------------------------------------------------- */

/* Of a daemon, or another single run, that was killed. */
static void on_found(_unused_ void *userdata, Command *command, const CommandResult *result) {
        log_notice("'%s' of before is over: %s", command_program(command), result->explanation);
}

static void on_released(void *userdata) {
        const Once *once = userdata;

        if (once->run)
                run_retry(once->run);
}

static int make_commands(Once *once) {
        const CommandsOptions options = {
                .root = once->options->root,
                .on_found = once->options->plan ? NULL : on_found,
                .on_released = on_released,
                .userdata = once,
        };
        int r;

        r = commands_new(once->event, &options, &once->commands);
        return r < 0 ? log_error_errno(r, "Failed to set up what runs programs: %m") : 0;
}

/* How checks are kept from changing anything. */
static int find_sandbox(const OnceOptions *once, WorkerPoolOptions *options) {
        int r;

        if (!sandbox_is_possible()) {
                if (once->plan) {
                        log_error("A plan must not be able to change anything, and this container lets root "
                                  "build no "
                                  "sandbox for it (CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH are missing)");
                        return -EPERM;
                }
                log_warning("This container lets root build no sandbox (CAP_SYS_ADMIN and "
                            "CAP_DAC_READ_SEARCH are "
                            "missing); checks run as root, in the open");
                options->unsandboxed = true;
                return 0;
        }

        r = sandbox_find_user(&options->sandbox.uid, &options->sandbox.gid);
        if (r < 0)
                return log_error_errno(r, "Failed to find a user for checks to run as: %m");
        if (r == 0)
                log_notice("User 'agentd-check' does not exist; checks run as the unused uid %u",
                        (unsigned) options->sandbox.uid);
        return 0;
}

/* Return: 0, ret is NULL for all; -ENXIO, and it was told; -ENOMEM. */
static int select_some(const OnceOptions *once, const Image *image, uint8_t **ret) {
        _cleanup_free_ uint8_t *selected = NULL;
        uint32_t n = image_n_states(image);
        const char *meant;
        size_t bad = 0;
        int r;

        *ret = NULL;
        if (once->n_tags == 0)
                return 0;
        selected = malloc(MAX(n, 1U));
        if (!selected)
                return -ENOMEM;
        memset(selected, 1, n);
        r = select_tagged(image, once->tags, once->n_tags, selected, &bad);
        if (r == -ENXIO) {
                meant = select_suggest_tag(image, once->tags[bad]);
                log_error("No state has the tag '%s'%s%s%s", once->tags[bad],
                        meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : "");
        }
        if (r >= 0)
                r = select_required(image, selected);
        if (r >= 0)
                *ret = TAKE_PTR(selected);
        return r;
}

static int start_run(Once *once, Image *image) {
        const Settings *settings = &image->header->settings;
        _cleanup_free_ uint8_t *selected = NULL;
        RunOptions options = {
                .id = (int64_t) now_usec(CLOCK_REALTIME),
                .mode = once->options->plan ? RUN_PLAN : RUN_APPLY,
                .cause = "once",
                .diff = once->options->diff,
                .max_changes = settings->max_changes,
        };
        WorkerPoolOptions workers = {
                .n_workers = (unsigned) settings->workers,
                .root = once->options->root,
                .sandbox.memory_bytes = WORKER_MEMORY_BYTES,
        };
        int r;

        r = select_some(once->options, image, &selected);
        if (r < 0)
                return r;
        options.selected = selected;
        if (!once->options->keep_log_level)
                log_set_max_level((int) settings->log_level);
        if (settings->audit && !once->options->plan)
                log_notice(
                        "agentd.toml says mode = \"audit\": differences are shown, and nothing is changed");
        r = find_sandbox(once->options, &workers);
        if (r < 0)
                return r;
        r = make_commands(once);
        if (r < 0)
                return r;
        workers.commands = once->commands;
        r = worker_pool_new(once->event, &workers, &once->pool);
        if (r < 0)
                return log_error_errno(r, "Failed to set up workers: %m");

        r = run_new(once->event, image, once->pool, &options, &run_handlers, once, &once->run);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the run: %m");
        if (isatty(STDERR_FILENO) && !once->options->json) {
                r = sd_event_add_time(once->event, &once->progress, CLOCK_MONOTONIC,
                        now_usec(CLOCK_MONOTONIC) + PROGRESS_AFTER_USEC, 0, on_progress, once);
                if (r < 0)
                        return log_error_errno(r, "Failed to set up a timer: %m");
        }
        return run_start(once->run);
}

/* What was printed is seen at once, also by a program at the other end of a pipe; many results that come together are
 * written together. */
static int on_post(_unused_ sd_event_source *source, _unused_ void *userdata) {
        (void) fflush(stdout);
        return 0;
}

/* ---- The load -------------------------------------------------------------------------------------------------- */

static void print_diagnostics(const json_t *diagnostics) {
        json_t *diagnostic;
        size_t i;

        json_array_foreach(diagnostics, i, diagnostic) {
                _cleanup_free_ char *text = load_diagnostic_to_string(diagnostic);

                output_clean(stderr, text ?: "out of memory", strlen(text ?: "out of memory"));
                (void) fputc('\n', stderr);
        }
}

static void on_loaded(void *userdata, Image *image, json_t *diagnostics) {
        Once *once = userdata;
        int r;

        print_diagnostics(diagnostics);
        if (!image) {
                once->status = EXIT_INVALID;
                (void) sd_event_exit(once->event, 0);
                return;
        }
        r = start_run(once, image);
        if (r < 0) {
                once->status = r == -ENXIO ? EXIT_INVALID : EXIT_STATE_FAILED;
                (void) sd_event_exit(once->event, 0);
        }
}

static void on_validated(void *userdata, Image *image, json_t *diagnostics) {
        Once *once = userdata;

        print_diagnostics(diagnostics);
        once->status = image ? EXIT_FINE : EXIT_INVALID;
        if (image)
                (void) printf("%u state%s in %u role%s, no errors\n", image_n_states(image),
                        image_n_states(image) == 1 ? "" : "s", image_n_roles(image),
                        image_n_roles(image) == 1 ? "" : "s");
        if (output_flush(stdout) < 0)
                once->status = EXIT_STATE_FAILED;
        (void) sd_event_exit(once->event, 0);
}

/* What a line of the explanation says. */
static int print_explanation(const Once *once, const char *text, size_t size, bool first) {
        json_t *explanation = json_loadb(text, size, 0, NULL), *answer;

        if (!explanation) {
                log_error("Failed to understand the loader");
                return -EBADMSG;
        }
        if (once->options->json) {
                /* In the form of the local interface, which knows more. */
                answer = json_pack("{s:O, s:n, s:o}", "state", json_object_get(explanation, "state"),
                        "status", "explanation", explanation);
                (void) json_dumpf(answer, stdout, JSON_COMPACT);
                (void) fputc('\n', stdout);
                json_decref(answer);
                return 0;
        }
        (void) fputs(first ? "" : "\n", stdout);
        explain_text_print_head(stdout, explanation, NULL, &once->style);
        explain_text_print_settings(stdout, explanation, &once->style);
        json_decref(explanation);
        return 0;
}

static void on_explained(void *userdata, Image *image, json_t *diagnostics) {
        Once *once = userdata;
        const char *text, *line, *end;
        size_t size;
        bool found;

        print_diagnostics(diagnostics);
        text = load_explanation(once->load, &size, &found);
        once->status = EXIT_INVALID;
        if (image && text && !found)
                log_error("%.*s", (int) size, text);
        else if (image && text) {
                once->status = EXIT_FINE;
                for (line = text; line < text + size; line = end + 1) {
                        end = memchr(line, '\n', (size_t) (text + size - line)) ?: text + size;
                        if (print_explanation(once, line, (size_t) (end - line), line == text) < 0)
                                once->status = EXIT_STATE_FAILED;
                }
        }
        if (output_flush(stdout) < 0)
                once->status = EXIT_STATE_FAILED;
        (void) sd_event_exit(once->event, 0);
}

static const LoadHandlers load_handlers = { .on_loaded = on_loaded };
static const LoadHandlers validate_handlers = { .on_loaded = on_validated };
static const LoadHandlers explain_handlers = { .on_loaded = on_explained };

/* ---- Around ---------------------------------------------------------------------------------------------------- */

static int cut_short(Once *once) {
        if (once->run)
                tell_end(once, once->run);
        (void) output_flush(stdout);
        once->status = EXIT_STATE_FAILED;
        return sd_event_exit(once->event, 0);
}

static int on_stop_timeout(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Once *once = userdata;

        log_warning("What is under way has not finished within %s; stopping without it",
                FORMAT_TIMESPAN(STOP_USEC));
        return cut_short(once);
}

static int on_signal(_unused_ sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Once *once = userdata;
        static unsigned n;

        if (once->run && n++ == 0) {
                log_notice("Stopping after what is under way; once more to stop at once");
                run_stop(once->run);
                if (once->commands)
                        commands_stop(once->commands);
                return sd_event_add_time_relative(
                        once->event, NULL, CLOCK_MONOTONIC, STOP_USEC, 0, on_stop_timeout, once);
        }
        return cut_short(once);
}

static int once_loop(Once *once, const LoadHandlers *handlers) {
        const LoadOptions load = {
                .root = once->options->root,
                .conf_dir = once->options->conf_dir,
                .module_dir = once->options->module_dir,
                .role_files = once->options->role_files,
                .vars = once->options->vars,
                .explain = once->options->explain,
                .explain_glob = true,
        };
        sigset_t mask;
        int r;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        (void) sigaddset(&mask, SIGINT);
        (void) sigaddset(&mask, SIGHUP);
        (void) sigaddset(&mask, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return log_error_errno(errno, "Failed to block signals: %m");
        (void) signal(SIGPIPE, SIG_IGN);

        r = sd_event_new(&once->event);
        if (r < 0)
                return log_error_errno(r, "Failed to make an event loop: %m");
        r = sd_event_add_signal(once->event, NULL, SIGINT, on_signal, once);
        if (r >= 0)
                r = sd_event_add_signal(once->event, NULL, SIGTERM, on_signal, once);
        /* A terminal that goes away is no reason to break off in the middle of a change. */
        if (r >= 0)
                r = sd_event_add_signal(once->event, NULL, SIGHUP, on_signal, once);
        if (r < 0)
                return log_error_errno(r, "Failed to wait for signals: %m");
        r = sd_event_add_post(once->event, NULL, on_post, once);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the output: %m");
        r = load_start(once->event, &load, handlers, once, &once->load);
        if (r < 0)
                return log_error_errno(r, "Failed to start the loader: %m");
        r = sd_event_loop(once->event);
        if (r < 0)
                return log_error_errno(r, "Failed to run the event loop: %m");
        return 0;
}

static void once_done(Once *once) {
        run_free(once->run);
        worker_pool_free(once->pool);
        commands_free(once->commands);
        load_free(once->load);
        sd_event_source_disable_unref(once->progress);
        sd_event_unref(once->event);
}

/* True, and said, if somebody wants this host to be left alone. */
static bool is_disabled(void) {
        _cleanup_(disabled_freep) Disabled *disabled = NULL;

        if (disabled_read(STATE_DIRECTORY, &disabled) <= 0)
                return false;
        log_error("This host was disabled by %s: %s; 'agentctl enable' ends that", disabled->by,
                disabled->reason);
        return true;
}

int once_run(const OnceOptions *options) {
        _cleanup_close_ int lock = -EBADF;
        bool host = streq(options->root, "/");
        Once once = {
                .options = options,
                .status = EXIT_STATE_FAILED,
                .style = {
                        .colour = output_wants_colour(stdout),
                        .diff = options->diff,
                        .verbose = options->verbose,
                },
                .journal = host && !options->plan && access("/run/systemd/journal/socket", W_OK) >= 0,
        };

        if (geteuid() != 0) {
                log_error("A run needs root, a plan as well: it looks at files that only root can read");
                return EXIT_INVALID;
        }
        if (host && !options->plan) {
                lock = lock_take();
                if (lock == -EWOULDBLOCK) {
                        log_error("agentd is running already (it holds '" LOCK_FILE
                                  "'); wait until it has finished, or ask the daemon: agentctl apply");
                        return EXIT_STATE_FAILED;
                }
                if (lock < 0) {
                        (void) log_error_errno(lock, "Failed to take the lock '%s': %m", LOCK_FILE);
                        return EXIT_STATE_FAILED;
                }
                if (is_disabled())
                        return EXIT_STATE_FAILED;
        }

        if (once_loop(&once, &load_handlers) < 0)
                once.status = EXIT_STATE_FAILED;
        once_done(&once);
        return once.status;
}

int once_validate(const OnceOptions *options) {
        Once once = { .options = options, .status = EXIT_INVALID };

        if (once_loop(&once, &validate_handlers) < 0)
                once.status = EXIT_INVALID;
        once_done(&once);
        return once.status;
}

int once_explain(const OnceOptions *options) {
        Once once = {
                .options = options,
                .status = EXIT_INVALID,
                .style.colour = output_wants_colour(stdout),
        };

        if (once_loop(&once, &explain_handlers) < 0)
                once.status = EXIT_INVALID;
        once_done(&once);
        return once.status;
}
