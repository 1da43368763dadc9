/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The keys of agentd.toml: what they are called, may be, are by default, and mean. */

#include <assert.h>
#include <inttypes.h>
#include <syslog.h>

#include "settings.h"

#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY  (24 * USEC_PER_HOUR)

const Settings settings_default = {
        .interval_usec = 30 * USEC_PER_MINUTE,
        .jitter_usec = 5 * USEC_PER_MINUTE,
        .audit = 0,
        .max_changes = UINT64_MAX,
        .workers = 0,
        .log_level = LOG_INFO,
        .store_size_bytes = MIB(64),
        .store_age_usec = 90 * USEC_PER_DAY,
        .store_content_bytes = MIB(256),
        .store_content_file_bytes = MIB(64),
        .facts_deadline_usec = 5 * USEC_PER_SEC,
        .watches_max = 65536,
};

static const char *const modes[] = { "apply", "audit" };
static const char *const log_levels[] = { "error", "warning", "notice", "info", "debug" };

/* Keys of a table come last: in a file, what follows its header belongs to it. */
const Setting settings_table[] = {
        {
                .name = "interval",
                .kind = SETTING_SPAN,
                .infinity = true,
                .offset = offsetof(Settings, interval_usec),
                .min = USEC_PER_SEC,
                .max = 365 * USEC_PER_DAY,
                .summary = "how long after a run the next one begins by itself",
                .text = "Such a run looks at everything, and repairs what has become different. With "
                        "\"infinity\" there is none: then runs begin at boot, when roles change, and when "
                        "somebody asks for one.",
                .since = "1",
        },
        {
                .name = "jitter",
                .kind = SETTING_SPAN,
                .offset = offsetof(Settings, jitter_usec),
                .max = 365 * USEC_PER_DAY,
                .summary = "by how much at most an interval is longer than that",
                .text = "It is chosen anew for each interval, so that many hosts which were started "
                        "together do "
                        "not ask their servers for things in step.",
                .since = "1",
        },
        {
                .name = "mode",
                .kind = SETTING_WORD,
                .offset = offsetof(Settings, audit),
                .max = 1,
                .words = modes,
                .summary = "\"audit\": check only, and change nothing on this host",
                .text = "In audit mode each difference is reported as \"drifted\" and left as it is, as if "
                        "every "
                        "state had \"audit = true\". A single role can be audited by the same key in the "
                        "role. "
                        "What is audited by one of the three is audited, whatever the others say.",
                .since = "1",
        },
        {
                .name = "max_changes",
                .kind = SETTING_NUMBER,
                .infinity = true,
                .offset = offsetof(Settings, max_changes),
                .max = 1000000,
                .summary =
                        "a run that would change more states than this is stopped before the first change",
                .text = "It guards against a role that does far more than was meant. To know beforehand, "
                        "all states "
                        "are checked once more in each run. Those that are audited do not count.",
                .since = "1",
        },
        {
                .name = "workers",
                .kind = SETTING_NUMBER,
                .offset = offsetof(Settings, workers),
                .max = 64,
                .summary = "processes that check, and as many that apply, at the same time at most",
                .text = "0 means as many as agentd has processors, and two at least. They are started when "
                        "there "
                        "is work, and end when there is none.",
                .since = "1",
        },
        {
                .name = "log_level",
                .kind = SETTING_WORD,
                .offset = offsetof(Settings, log_level),
                .min = LOG_ERR,
                .max = LOG_DEBUG,
                .words = log_levels,
                .summary = "messages that are less important than this are not logged",
                .text = "What happens to states is recorded in the journal whatever the level is. The "
                        "option "
                        "--log-level takes precedence.",
                .since = "1",
        },
        {
                .name = "facts_deadline",
                .kind = SETTING_SPAN,
                .offset = offsetof(Settings, facts_deadline_usec),
                .min = 100 * USEC_PER_MSEC,
                .max = 30 * USEC_PER_SEC,
                .summary = "how long each program in facts.d may take",
                .text = "A program that has not finished by then is killed with what it started, and its "
                        "fact is "
                        "absent. Loading the roles as a whole may take a minute.",
                .since = "1",
        },
        {
                .name = "watches_max",
                .kind = SETTING_NUMBER,
                .offset = offsetof(Settings, watches_max),
                .min = 16,
                .max = 10000000,
                .summary = "inotify watches that agentd takes at most",
                .text = "Each directory on the way to a file that the roles are made from takes one, and "
                        "for the paths that states are about there may be as many again. Directories "
                        "below trees get three quarters of them at most. The kernel has a "
                        "limit of its own for each user, "
                        "the "
                        "sysctl fs.inotify.max_user_watches. What got none is seen by the next run only.",
                .since = "1",
        },
        {
                .name = "store.size",
                .kind = SETTING_BYTES,
                .offset = offsetof(Settings, store_size_bytes),
                .min = MIB(1),
                .max = GIB(1024),
                .summary = "how large the record of runs, results and events may become",
                .text = "When it is full, the oldest are given up. The last result of each state is always "
                        "kept.",
                .since = "1",
        },
        {
                .name = "store.age",
                .kind = SETTING_SPAN,
                .infinity = true,
                .offset = offsetof(Settings, store_age_usec),
                .min = USEC_PER_HOUR,
                .max = 100 * 365 * USEC_PER_DAY,
                .summary = "how long runs, results and events are kept at most",
                .text = "With \"infinity\" the size alone decides.",
                .since = "1",
        },
        {
                .name = "store.content",
                .kind = SETTING_BYTES,
                .offset = offsetof(Settings, store_content_bytes),
                .max = GIB(1024),
                .summary = "how much of old content is kept, as of files that were replaced or removed",
                .text = "It lies compressed in /var/lib/agentd/content, for as long as the run that has "
                        "replaced it is on record. If it becomes too much the oldest goes. With \"0\" none "
                        "is "
                        "kept.",
                .since = "1",
        },
        {
                .name = "store.content_file",
                .kind = SETTING_BYTES,
                .offset = offsetof(Settings, store_content_file_bytes),
                .max = GIB(1024),
                .summary = "what is larger than that is not kept when it is replaced or removed",
                .text = "That it was there, and how large it was, is recorded all the same.",
                .since = "1",
        },
};

const size_t settings_table_n = ELEMENTSOF(settings_table);

const char *settings_validate(const Settings *settings) {
        assert(settings);

        FOREACH_ELEMENT(setting, settings_table) {
                uint64_t value = *(const uint64_t *) ((const char *) settings + setting->offset);

                if (setting->infinity && value == UINT64_MAX)
                        continue;
                if (value < setting->min || value > setting->max)
                        return setting->name;
        }
        return NULL;
}

/* ---- Values as text -------------------------------------------------------------------------------------------- */

typedef struct Unit {
        const char *name;
        uint64_t size;
} Unit;

static const char *format_in_units(uint64_t value, const Unit *units, char buffer[static 32]) {
        while (units->size > 1 && (value == 0 || value % units->size != 0))
                units++;
        (void) snprintf(buffer, 32, "%" PRIu64 "%s", value / units->size, units->name);
        return buffer;
}

const char *setting_format(const Setting *setting, uint64_t value, char buffer[static 32]) {
        static const Unit spans[] = { { "d", USEC_PER_DAY }, { "h", USEC_PER_HOUR },
                { "min", USEC_PER_MINUTE }, { "s", USEC_PER_SEC }, { "ms", USEC_PER_MSEC }, { "us", 1 } };
        static const Unit sizes[] = { { "T", GIB(1024) }, { "G", GIB(1) }, { "M", MIB(1) }, { "K", KIB(1) },
                { "", 1 } };

        if (setting->infinity && value == UINT64_MAX)
                return "infinity";
        switch (setting->kind) {
        case SETTING_SPAN: return value == 0 ? "0s" : format_in_units(value, spans, buffer);
        case SETTING_BYTES: return format_in_units(value, sizes, buffer);
        case SETTING_WORD: return setting->words[value - setting->min];
        case SETTING_NUMBER: break;
        }
        (void) snprintf(buffer, 32, "%" PRIu64, value);
        return buffer;
}

char *setting_wants(const Setting *setting, char *buffer, size_t size) {
        static const char *const kinds[] = {
                [SETTING_SPAN] = "a time span",
                [SETTING_NUMBER] = "an integer",
                [SETTING_BYTES] = "a size",
        };
        char min[32], max[32];
        size_t n = 0;

        if (setting->kind != SETTING_WORD) {
                (void) snprintf(buffer, size, "%s from %s to %s%s", kinds[setting->kind],
                        setting_format(setting, setting->min, min),
                        setting_format(setting, setting->max, max),
                        setting->infinity ? ", or \"infinity\"" : "");
                return buffer;
        }
        for (uint64_t i = 0; i <= setting->max - setting->min && n < size; i++)
                n += (size_t) snprintf(
                        buffer + n, size - n, "%s%s", i == 0 ? "one of " : ", ", setting->words[i]);
        return buffer;
}
