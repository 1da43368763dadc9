/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the local interface reads out of requests by itself: cursors, numbers, lists of words. */

#include "../../agentd/api-internal.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size), *again = NULL;
        const char *id, *bad;
        size_t bad_size;
        uint32_t index, kinds;
        int64_t number;
        usec_t usec;

        if (!text)
                return 0;
        if (api_parse_id(text, &number) == 0) {
                fuzz_check(number > 0);
                fuzz_check(asprintf(&again, "%lld", (long long) number) > 0 && streq(again, text));
                free(TAKE_PTR(again));
        }
        if (api_parse_state_cursor(text, &index, &id) == 0) {
                fuzz_check(index < UINT32_MAX && *id && id[-1] == ':');
                fuzz_check(asprintf(&again, "%u:%s", (unsigned) index, id) > 0 && streq(again, text));
                free(TAKE_PTR(again));
        }
        if (api_parse_kinds(text, &kinds, &bad, &bad_size) == 0)
                fuzz_check(kinds != 0 && kinds < 1u << _EVENT_KIND_MAX);
        else
                fuzz_check(bad >= text && bad + bad_size <= text + strlen(text));
        usec = api_time_parse(text);
        fuzz_check(usec == 0 || usec < USEC_INFINITY / 2);
        return 0;
}
