/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Hooks that the engine runs, and the way from the end of an attempt to the result:
 *
 *      to apply ─▶ before_change ─▶ apply ─▶ check again ─▶ after_change ─┬▶ again (run-attempt.c)
 *                                                                        └▶ on_success, on_failure ─▶ after_check ─▶ result
 *
 * A state is at most at one of them. Those that depend on it wait, since it has no result before that; its batch does
 * not wait for it.
 */

#include <assert.h>
#include <inttypes.h>
#include <time.h>

#include "command.h"
#include "log.h"
#include "run-internal.h"

/* Of a run, that go on at a time. Others wait, so that a thousand states are not a thousand processes. */
#define HOOKS_AT_ONCE 16

/* All programs together are too many (-EBUSY): asked again after this. */
#define BUSY_USEC (200 * USEC_PER_MSEC)

struct RunHook {
        RunHook *next;
        Run *run;
        uint32_t state;
        Hook hook;
        Result result;    /* that the state will have */
        Command *command; /* NULL: it waits; or is over */
        bool over;        /* a before_change that went well: its state is to be applied */
};

static void after_attempt(Run *run, uint32_t state, Result result);
static void after_all(Run *run, uint32_t state, Result result);

/* ---- What follows ------------------------------------------------------------------------------------------------- */

/* The state waits for this hook from now on. */
static void push(Run *run, uint32_t state, Hook hook, Result result) {
        RunHook *h = malloc(sizeof(*h));

        if (!h) {
                log_oom();
                run_finish_state(run, state, RESULT_FAILED);
                return;
        }
        *h = (RunHook){ .run = run, .state = state, .hook = hook, .result = result };
        *run->last_hook = h;
        run->last_hook = &h->next;
        run->nodes[state].step = STEP_HOOK;
        run->nodes[state].batch = 0;
        /* It is begun at the next turn: whoever found the result is in the middle of something. */
        run_schedule(run);
}

static void remove_hook(Run *run, RunHook *hook) {
        for (RunHook **h = &run->hooks; *h; h = &(*h)->next)
                if (*h == hook) {
                        *h = hook->next;
                        if (run->last_hook == &hook->next)
                                run->last_hook = h;
                        break;
                }
        free(hook);
}

static void warn(Run *run, uint32_t state, Hook hook, const char *explanation) {
        if (run->handlers->on_hook_failed)
                run->handlers->on_hook_failed(run->userdata, run, state, hook, explanation);
        else
                log_warning("%s of %s: %s", hook_to_string(hook), image_state_id(run->image, state),
                        explanation);
}

/* Also of one that went well. */
static void after_hook(Run *run, uint32_t state, Hook hook, Result result, const char *wrong) {
        switch (hook) {
        case HOOK_BEFORE_CHANGE:
                run_set_error(run, state, "its before_change: %s", wrong);
                after_attempt(run, state, RESULT_FAILED);
                break;
        case HOOK_AFTER_CHANGE:
                if (wrong && result == RESULT_FAILED)
                        warn(run, state, hook, wrong); /* what went wrong first counts */
                else if (wrong) {
                        run_set_error(run, state, "its after_change: %s", wrong);
                        result = RESULT_FAILED;
                }
                after_attempt(run, state, result);
                break;
        case HOOK_AFTER_CHECK:
                if (wrong)
                        warn(run, state, hook, wrong);
                run_finish_state(run, state, result);
                break;
        default:
                if (wrong)
                        warn(run, state, hook, wrong);
                after_all(run, state, result);
                break;
        }
}

static void after_all(Run *run, uint32_t state, Result result) {
        bool looked = result == RESULT_OK || result == RESULT_CHANGED || result == RESULT_DRIFTED ||
                      result == RESULT_FAILED;

        if (looked && image_hook(run->image, state, HOOK_AFTER_CHECK))
                push(run, state, HOOK_AFTER_CHECK, result);
        else
                run_finish_state(run, state, result);
}

static void after_attempt(Run *run, uint32_t state, Result result) {
        if (result == RESULT_FAILED && run_try_later(run, state))
                return;
        run_end_attempts(run, state, result);
}

void run_end_attempts(Run *run, uint32_t state, Result result) {
        const RunDetail *detail = run->nodes[state].detail;
        unsigned n = run->nodes[state].attempts;

        run_join_detail(&run->nodes[state]);
        if (result == RESULT_FAILED && n > 1)
                run_set_error(run, state, "%s (%u attempts)",
                        detail && detail->error ? detail->error : "no reason was given", n);
        if (result == RESULT_CHANGED && image_hook(run->image, state, HOOK_ON_SUCCESS))
                push(run, state, HOOK_ON_SUCCESS, result);
        else if (result == RESULT_FAILED && image_hook(run->image, state, HOOK_ON_FAILURE))
                push(run, state, HOOK_ON_FAILURE, result);
        else
                after_all(run, state, result);
}

void run_settle(Run *run, uint32_t state, Result result) {
        Node *node = &run->nodes[state];

        if (run_plans(run) || image_state(run->image, state)->extra == 0) {
                run_finish_state(run, state, result);
                return;
        }
        /* It is right by now, since an attempt before this one has changed it; what belongs to a change was not done
         * then, or went wrong. A condition may be false for that very reason. */
        if ((result == RESULT_OK && node->touched) || (result == RESULT_SKIPPED && node->made)) {
                result = RESULT_CHANGED;
                node->applied = true;
                node->made = true;
        }
        if (node->applied && image_hook(run->image, state, HOOK_AFTER_CHANGE))
                push(run, state, HOOK_AFTER_CHANGE, result);
        else
                after_attempt(run, state, result);
}

bool run_before_change(Run *run, uint32_t state) {
        if (run->nodes[state].applied || !image_hook(run->image, state, HOOK_BEFORE_CHANGE))
                return false;
        push(run, state, HOOK_BEFORE_CHANGE, RESULT_NONE);
        return true;
}

/* ---- One hook ----------------------------------------------------------------------------------------------------- */

static void hook_over(RunHook *hook, const char *wrong) {
        Run *run = hook->run;
        uint32_t state = hook->state;
        Hook which = hook->hook;
        Result result = hook->result;

        hook->command = NULL;
        if (which == HOOK_BEFORE_CHANGE && !wrong) {
                run->nodes[state].applied = true;
                hook->over = true;
        } else {
                remove_hook(run, hook);
                after_hook(run, state, which, result, wrong);
        }
        run_schedule(run);
}

static void on_finished(void *userdata, _unused_ Command *command, const CommandResult *result) {
        RunHook *hook = userdata;
        Node *node = &hook->run->nodes[hook->state];
        bool good = result->end == AGENTD_COMMAND_EXITED && result->code == 0;

        assert(hook->run->n_hooks_begun > 0);
        hook->run->n_hooks_begun--;
        node->duration_usec =
                (uint32_t) MIN(node->duration_usec + result->duration_usec, (usec_t) UINT32_MAX);
        hook_over(hook, good ? NULL : result->explanation);
}

static const CommandHandlers command_handlers = { .on_finished = on_finished };

static char *make_description(const RunHook *hook) {
        char *text;

        if (asprintf(&text, "%s of %s", hook_to_string(hook->hook),
                    image_state_id(hook->run->image, hook->state)) < 0)
                return NULL;
        /* systemd writes it to a file as it is, where what follows a line break would be a setting. */
        for (char *p = text; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = ' ';
        return text;
}

/* Return: 0; -errno as of command_start(), and -ENOMEM. */
static int start(RunHook *hook) {
        Run *run = hook->run;
        const Image *image = run->image;
        const ImageState *state = image_state(image, hook->state);
        const ImageArray *arguments = image_hook(image, hook->state, hook->hook);
        Commands *commands = worker_pool_options(run->pool)->commands;
        _cleanup_free_ const char **argv = calloc((size_t) arguments->n + 1, sizeof(char *));
        _cleanup_free_ char *description = make_description(hook), *of_state = NULL;
        char of_hook[64], of_run[64], of_result[64];
        const char *environment[] = { NULL, of_hook, of_run, of_result, NULL };
        int64_t id = run->handlers->number ? run->handlers->number(run->userdata, run) : run->options.id;
        CommandSpec spec;

        if (!commands)
                return -EOPNOTSUPP;
        if (asprintf(&of_state, "AGENTD_STATE=%s", image_state_id(image, hook->state)) < 0)
                of_state = NULL;
        if (!argv || !of_state || !description)
                return -ENOMEM;
        for (uint32_t k = 0; k < arguments->n; k++)
                argv[k] = image_list_text(image, *arguments, k);
        environment[0] = of_state;
        (void) snprintf(of_hook, sizeof(of_hook), "AGENTD_HOOK=%s", hook_to_string(hook->hook));
        (void) snprintf(of_run, sizeof(of_run), "AGENTD_RUN=%" PRId64, id);
        if (hook->result == RESULT_NONE)
                environment[3] = NULL;
        else
                (void) snprintf(
                        of_result, sizeof(of_result), "AGENTD_RESULT=%s", result_to_string(hook->result));

        spec = (CommandSpec){
                .run = id,
                .state = image_state_id(image, hook->state),
                .role = image_state_role(image, hook->state),
                .description = description,
                .argv = argv,
                .environment = environment,
                .input_fd = -EBADF,
                .output_fd = -EBADF,
                .output_max =
                        KIB(4), /* the journal has it, and the last line of its errors is known anyway */
                .timeout_usec = state->timeout_usec,
                .flags = (state->flags & IMAGE_STATE_SENSITIVE ? COMMAND_SECRET : 0) |
                         (hook->hook == HOOK_BEFORE_CHANGE ? 0 : COMMAND_LATE),
        };
        return command_start(commands, &spec, &command_handlers, hook, &hook->command);
}

/* ---- All of them -------------------------------------------------------------------------------------------------- */

/* Those of one batch beside each other. */
static int compare(const void *a, const void *b, void *userdata) {
        const Run *run = userdata;
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;
        const ImageState *i = image_state(run->image, x), *k = image_state(run->image, y);
        uint32_t root_i = i->flags & IMAGE_STATE_CHECK_AS_ROOT,
                 root_k = k->flags & IMAGE_STATE_CHECK_AS_ROOT;

        if (i->type != k->type)
                return i->type < k->type ? -1 : 1;
        if (root_i != root_k)
                return root_i < root_k ? -1 : 1;
        if (i->timeout_usec != k->timeout_usec)
                return i->timeout_usec < k->timeout_usec ? -1 : 1;
        return x < y ? -1 : x > y;
}

static bool fits(const Run *run, uint32_t a, uint32_t b) {
        const ImageState *i = image_state(run->image, a), *k = image_state(run->image, b);

        return i->type == k->type && i->timeout_usec == k->timeout_usec &&
               !((i->flags ^ k->flags) & IMAGE_STATE_CHECK_AS_ROOT);
}

/* What had its before_change by now is applied, as many together as have come together. */
static void apply_those_over(Run *run) {
        _cleanup_free_ uint32_t *states = NULL;
        uint32_t n = 0, end;

        for (const RunHook *hook = run->hooks; hook; hook = hook->next)
                n += hook->over;
        if (n == 0)
                return;
        states = malloc(n * sizeof(uint32_t));
        if (!states) {
                log_oom();
                run_stop(run);
                return;
        }
        n = 0;
        for (RunHook *hook = run->hooks, *next; hook; hook = next) {
                next = hook->next;
                if (!hook->over)
                        continue;
                states[n++] = hook->state;
                remove_hook(run, hook);
        }
        qsort_r(states, n, sizeof(uint32_t), compare, run);
        for (uint32_t i = 0; i < n; i = end) {
                uint32_t max =
                        image_type(run->image, image_state(run->image, states[i])->type)->batch_max ?: n;

                for (end = i + 1; end < n && end - i < max && fits(run, states[i], states[end]);)
                        end++;
                run_push_begun(run, states + i, end - i);
        }
}

static void start_hooks(Run *run) {
        for (RunHook *hook = run->hooks; hook && run->n_hooks_begun < HOOKS_AT_ONCE;) {
                RunHook *next = hook->next;
                int r;

                if (hook->command || hook->over) {
                        hook = next;
                        continue;
                }
                if (hook->hook == HOOK_BEFORE_CHANGE && run->stopped) {
                        /* Nothing was done to it, and nothing is begun any more: it has no result, unless an attempt before
                         * this one has failed. */
                        run->nodes[hook->state].step = STEP_READY;
                        remove_hook(run, hook);
                        hook = next;
                        continue;
                }
                r = start(hook);
                if (r >= 0)
                        run->n_hooks_begun++;
                else if (r == -EBUSY) {
                        run_wake_in(run, BUSY_USEC);
                        return;
                } else {
                        char wrong[128];

                        (void) snprintf(wrong, sizeof(wrong), "it could not be run: %s", strerror(-r));
                        hook_over(hook, wrong);
                        /* Another one may follow at once, at the end of the list. */
                        next = run->hooks;
                }
                hook = next;
        }
}

void run_dispatch_hooks(Run *run) {
        apply_those_over(run);
        start_hooks(run);
}

uint32_t run_hooks_under_way(const Run *run, uint32_t *ret, uint32_t max) {
        uint32_t n = 0;

        for (const RunHook *hook = run->hooks; hook && n < max; hook = hook->next)
                if (hook->command)
                        ret[n++] = hook->state;
        return n;
}

/* What goes on, goes on: with systemd the next run finds it and waits for its end, without it is a child of the manager,
 * which ends it. */
void run_free_hooks(Run *run) {
        for (RunHook *hook = run->hooks, *next; hook; hook = next) {
                next = hook->next;
                if (hook->command)
                        command_forget(hook->command);
                free(hook);
        }
        run->hooks = NULL;
}
