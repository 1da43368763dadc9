/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Programs that the engine runs for others, and those that a former agentd has begun. */

#include <inttypes.h>

#include "engine-internal.h"
#include "log.h"

static const char *const ends[] = {
        [AGENTD_COMMAND_EXITED] = "exited",
        [AGENTD_COMMAND_KILLED] = "killed",
        [AGENTD_COMMAND_TIMED_OUT] = "timed-out",
        [AGENTD_COMMAND_NOT_RUN] = "not-run",
};

static json_t *number_or_null(uint64_t value) {
        return value > INT64_MAX ? json_null() : json_integer((json_int_t) value);
}

/* Nobody waits for it any more, so that this is how its end is known. */
static void on_found(void *userdata, Command *command, const CommandResult *result) {
        Engine *engine = userdata;
        const char *state = command_state(command);
        json_t *data = json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:s}", "command", command_id(command),
                "program", command_program(command), "end", ends[result->end], "code", result->code,
                "duration_usec", number_or_null(result->duration_usec), "cpu_usec",
                number_or_null(result->cpu_usec), "memory_max_bytes",
                number_or_null(result->memory_max_bytes), "explanation", result->explanation);

        event_emit(engine->events, EVENT_COMMAND_FINISHED,
                &(EventDetails){
                        .run = command_run(command),
                        .state = state,
                        .role = command_role(command),
                        .data = data,
                },
                "'%s'%s%s, begun before agentd was started, is over: %s", command_program(command),
                state ? " for " : "", state ?: "", result->explanation);
        json_decref(data);
}

static void on_released(void *userdata) {
        Engine *engine = userdata;

        for (EngineRun *run = engine->runs; run; run = engine_run_next(run))
                engine_run_retry(run);
        engine_touch(engine);
}

int engine_command_init(Engine *engine) {
        const EngineOptions *options = engine->options;

        return commands_new(engine->event,
                &(CommandsOptions){
                        .backend = options->units ? COMMAND_BACKEND_UNIT : COMMAND_BACKEND_SPAWN,
                        .root = "/",
                        .keep_descriptors = options->units,
                        .on_found = on_found,
                        .on_released = on_released,
                        .userdata = engine,
                        .descriptors = options->descriptors,
                        .n_descriptors = options->n_descriptors,
                },
                &engine->commands);
}

int engine_take_descriptors(Engine *engine, CommandDescriptor **ret, size_t *ret_n) {
        return commands_take_descriptors(engine->commands, ret, ret_n);
}
