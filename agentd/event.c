/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <syslog.h>

#include "event.h"
#include "log.h"

const EventKindInfo event_kinds[_EVENT_KIND_MAX] = {
        [EVENT_STARTED] = { "started", "02bb906d5877422983a61a719da824ab", LOG_INFO },
        [EVENT_STOPPED] = { "stopped", "7963eaac46824884a6f988741567865f", LOG_INFO },
        [EVENT_ROLES_LOADED] = { "roles-loaded", "668084ac7c854ef19214239c61793f12", LOG_INFO },
        [EVENT_ROLES_REFUSED] = { "roles-refused", "6a34cb47b4fd4cfcaab46a2809cbe711", LOG_ERR },
        [EVENT_RUN_FINISHED] = { "run-finished", "1508fc91a8814ff8b706f0f0399d7a1f", LOG_INFO },
        [EVENT_RUN_INTERRUPTED] = { "run-interrupted", "66ba69f32dda42cb8d0b51861449293c", LOG_WARNING },
        [EVENT_RUN_REFUSED] = { "run-refused", "dffcd195abee42df995a3c3636a329d7", LOG_ERR },
        [EVENT_STATE_CHANGED] = { "state-changed", "5dfc11089b144f75addb3881028a0f47", LOG_INFO },
        [EVENT_STATE_DRIFTED] = { "state-drifted", "12f32ac22a6c4c318bb95a1894b8dc7c", LOG_NOTICE },
        [EVENT_STATE_FAILED] = { "state-failed", "0c5b54fa6a644b51851f09a15f570cd5", LOG_ERR },
        [EVENT_STATE_BLOCKED] = { "state-blocked", "0700d6e60a7a4c288f483b361114071e", LOG_WARNING },
        [EVENT_STATE_RECOVERED] = { "state-recovered", "ecce5ee58f0f436ca5cceddad9b7a227", LOG_INFO },
        [EVENT_DISABLED] = { "disabled", "ec08f2431b7a4d188e1f9cffe3ddc5f6", LOG_NOTICE },
        [EVENT_ENABLED] = { "enabled", "582f251374db4a828230aaee2bb04aa0", LOG_NOTICE },
        [EVENT_STORE_RESET] = { "store-reset", "46fd0905f70b467fabe61bcb549f9e9e", LOG_ERR },
        [EVENT_STORE_FAILED] = { "store-failed", "02458e00eb08468893ff6f60a04224ba", LOG_ERR },
        [EVENT_STORE_RECOVERED] = { "store-recovered", "401496981e124e5292e2a3a4ee8943bb", LOG_NOTICE },
};

static const char *attributes_of(const RunDetail *detail, char *buffer, size_t size) {
        size_t used = 0, i;
        json_t *difference;

        buffer[0] = 0;
        if (!detail || !detail->differences)
                return buffer;
        json_array_foreach(detail->differences, i, difference) {
                int n = snprintf(buffer + used, size - used, "%s%s", i > 0 ? ", " : "",
                        json_string_value(json_object_get(difference, "attribute")));

                if (n < 0 || (size_t) n >= size - used)
                        break;
                used += (size_t) n;
        }
        return buffer;
}

void event_state_result(const Run *run, uint32_t state) {
        const Image *image = run_image(run);
        const RunDetail *detail = run_detail(run, state);
        Result result = run_result(run, state);
        char run_id[32], attributes[256];
        const char *id, *message_id;
        LogField fields[5];
        size_t n = 0;

        if (run_options(run)->mode == RUN_PLAN)
                return;
        id = image_state_id(image, state);
        switch (result) {
        case RESULT_CHANGED: message_id = event_kinds[EVENT_STATE_CHANGED].message_id; break;
        case RESULT_FAILED:
        case RESULT_BLOCKED: message_id = event_kinds[EVENT_STATE_FAILED].message_id; break;
        case RESULT_DRIFTED: message_id = event_kinds[EVENT_STATE_DRIFTED].message_id; break;
        default: return;
        }

        (void) snprintf(run_id, sizeof(run_id), "%" PRId64, run_options(run)->id);
        fields[n++] = (LogField){ "MESSAGE_ID", message_id };
        fields[n++] = (LogField){ "AGENTD_RUN", run_id };
        fields[n++] = (LogField){ "AGENTD_STATE", id };
        fields[n++] = (LogField){ "AGENTD_ROLE", image_state_role(image, state) };
        fields[n++] = (LogField){ "AGENTD_RESULT", result_to_string(result) };

        if (result == RESULT_CHANGED)
                (void) log_event(LOG_INFO, fields, n, "Changed %s: %s", id,
                        attributes_of(detail, attributes, sizeof(attributes)));
        else if (result == RESULT_DRIFTED)
                (void) log_event(LOG_NOTICE, fields, n, "%s differs and is only audited: %s", id,
                        attributes_of(detail, attributes, sizeof(attributes)));
        else
                (void) log_event(result == RESULT_FAILED ? LOG_ERR : LOG_WARNING, fields, n, "%s %s: %s", id,
                        result_to_string(result),
                        detail && detail->error ? detail->error : "no reason was given");
}

void event_run_finished(const Run *run) {
        char run_id[32];
        const LogField fields[] = {
                { "MESSAGE_ID", event_kinds[EVENT_RUN_FINISHED].message_id },
                { "AGENTD_RUN", run_id },
        };
        uint32_t changed = run_count(run, RESULT_CHANGED), failed = run_count(run, RESULT_FAILED),
                 blocked = run_count(run, RESULT_BLOCKED);

        if (run_options(run)->mode == RUN_PLAN || changed + failed + blocked == 0)
                return;
        (void) snprintf(run_id, sizeof(run_id), "%" PRId64, run_options(run)->id);
        (void) log_event(failed > 0 ? LOG_WARNING : LOG_INFO, fields, ELEMENTSOF(fields),
                "Run %s (%s) finished: %u changed, %u failed, %u blocked", run_id, run_options(run)->cause,
                changed, failed, blocked);
}
