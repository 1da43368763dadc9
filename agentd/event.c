/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <syslog.h>

#include "event.h"
#include "log.h"

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
        case RESULT_CHANGED: message_id = EVENT_STATE_CHANGED_ID; break;
        case RESULT_FAILED:
        case RESULT_BLOCKED: message_id = EVENT_STATE_FAILED_ID; break;
        case RESULT_DRIFTED: message_id = EVENT_STATE_DRIFTED_ID; break;
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
                { "MESSAGE_ID", EVENT_RUN_FINISHED_ID },
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
