/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The units that are watched, and what is known of them. */

#include "hash.h"
#include "system-bus.h"
#include "unit-watch-internal.h"

/* Source: UNIT_NAME_MAX of systemd. */
#define NAME_MAX_BYTES 255

#define NONE UINT32_MAX

static const char *const suffixes[] = { ".service", ".socket", ".target", ".device", ".mount", ".automount",
        ".swap", ".timer", ".path", ".slice", ".scope" };

/* Source: systemd.unit(5). */
bool unit_name_is_valid(const char *name) {
        static const char letters[] =
                "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:-_.\\@";
        size_t n = strlen(name);
        bool good = false;

        FOREACH_ELEMENT(suffix, suffixes)
                good = good || (endswith(name, *suffix) && n > strlen(*suffix));
        return good && n <= NAME_MAX_BYTES && name[0] != '@' && strspn(name, letters) == n;
}

bool unit_name_is_template(const char *name) {
        const char *at = strchr(name, '@');

        return at && at[1] == '.' && at + 1 == strrchr(name, '.');
}

/* ---- The table ------------------------------------------------------------------------------------------------------ */

static uint32_t hash_label(const char *label) {
        uint64_t hash = hash_fnv1a(label, strlen(label));

        return (uint32_t) (hash ^ hash >> 32);
}

static int make_label(const char *name, char **ret) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = sd_bus_path_encode("/", name, &path);
        if (r < 0)
                return r;
        *ret = strdup(path + 1);
        return *ret ? 0 : -ENOMEM;
}

static void put(uint32_t *slots, uint32_t n_slots, const char *label, uint32_t index) {
        uint32_t i = hash_label(label) & (n_slots - 1);

        while (slots[i] != 0)
                i = (i + 1) & (n_slots - 1);
        slots[i] = index + 1;
}

int unit_table_rehash(UnitTable *table) {
        uint32_t n_slots = 16, *slots;

        while (n_slots < table->n * 4)
                n_slots *= 2;
        slots = calloc(n_slots, sizeof(*slots));
        if (!slots)
                return -ENOMEM;
        for (uint32_t i = 0; i < table->n; i++) {
                put(slots, n_slots, table->units[i].label, i);
                if (table->units[i].id_label)
                        put(slots, n_slots, table->units[i].id_label, i);
        }
        free(table->slots);
        table->slots = slots;
        table->n_slots = n_slots;
        return 0;
}

void unit_table_done(UnitTable *table) {
        for (uint32_t i = 0; i < table->n; i++) {
                free(table->units[i].name);
                free(table->units[i].label);
                free(table->units[i].id);
                free(table->units[i].id_label);
        }
        free(table->units);
        free(table->slots);
        *table = (UnitTable){};
}

int unit_table_init(UnitTable *table, const char *const *names, size_t n) {
        int r;

        *table = (UnitTable){ .units = calloc(MAX(n, (size_t) 1), sizeof(*table->units)) };
        if (!table->units)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                WatchedUnit *unit = &table->units[table->n++];

                unit->name = strdup(names[i]);
                unit->template = unit_name_is_template(names[i]);
                table->n_templates += unit->template;
                r = unit->name ? make_label(names[i], &unit->label) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return unit_table_rehash(table);
}

void unit_table_inherit(UnitTable *table, const UnitTable *old) {
        for (uint32_t i = 0; i < table->n; i++) {
                WatchedUnit *unit = &table->units[i];

                for (uint32_t cursor = NONE, k; (k = unit_table_find(old, unit->label, &cursor)) != NONE;) {
                        const WatchedUnit *was = &old->units[k];

                        if (!streq(was->name, unit->name))
                                continue;
                        if (was->id)
                                (void) unit_table_set_id(unit, was->id);
                        unit->under_way = was->under_way;
                        unit->frozen = was->frozen;
                        unit->rest = was->rest;
                        unit->ask = was->ask || was->asking;
                }
        }
        /* If there is no memory for it, the next list of PID 1 does it. */
        (void) unit_table_rehash(table);
}

bool unit_table_set_id(WatchedUnit *unit, const char *id) {
        _cleanup_free_ char *copy = NULL, *label = NULL;
        bool other = !streq(id, unit->name);

        if (other ? streq_ptr(id, unit->id) : !unit->id)
                return false;
        if (other) {
                copy = strdup(id);
                if (!copy || make_label(id, &label) < 0)
                        return false;
        }
        free(unit->id);
        free(unit->id_label);
        unit->id = TAKE_PTR(copy);
        unit->id_label = TAKE_PTR(label);
        return true;
}

uint32_t unit_table_find(const UnitTable *table, const char *label, uint32_t *cursor) {
        uint32_t i;

        if (table->n == 0)
                return NONE;
        i = *cursor == NONE ? hash_label(label) & (table->n_slots - 1)
                            : (*cursor + 1) & (table->n_slots - 1);
        for (; table->slots[i] != 0; i = (i + 1) & (table->n_slots - 1)) {
                const WatchedUnit *unit = &table->units[table->slots[i] - 1];

                if (streq(unit->label, label) || streq_ptr(unit->id_label, label)) {
                        *cursor = i;
                        return table->slots[i] - 1;
                }
        }
        return NONE;
}

/* "getty_40tty1_2eservice" is one of "getty_40_2eservice". */
bool unit_table_template(const UnitTable *table, const char *label, char *buffer, size_t size) {
        const char *at, *dot = NULL;

        if (table->n_templates == 0)
                return false;
        at = strstr(label, "_40");
        for (const char *p = at; p && (p = strstr(p, "_2e")); p++)
                dot = p;
        if (!dot || dot == at + 3)
                return false;
        return (size_t) snprintf(buffer, size, "%.*s%s", (int) (at + 3 - label), label, dot) < size;
}

/* ---- What is known of one ------------------------------------------------------------------------------------------- */

static bool is_one_of(const char *text, const char *const *words) {
        for (; *words; words++)
                if (streq(text, *words))
                        return true;
        return false;
}

/* What starts others goes to and fro when it does: that is its ordinary life. */
static bool is_at_work(const WatchedUnit *unit, const char *sub_state) {
        static const char *const types[] = { ".timer", ".path", ".socket", ".automount" };
        static const char *const states[] = { "waiting", "listening", "running", NULL };

        FOREACH_ELEMENT(type, types)
                if (endswith(unit->name, *type))
                        return is_one_of(sub_state, states);
        return false;
}

bool watched_unit_update(WatchedUnit *unit, const UnitNews *news) {
        static const char *const at_rest[] = { "active", "inactive", "failed", NULL };
        const char *sub_state = is_at_work(unit, news->sub_state) ? "at work" : news->sub_state;
        uint64_t rest;
        bool changed;

        if (news->freezer_state) {
                if (startswith(news->freezer_state, "freezing") ||
                        startswith(news->freezer_state, "thawing")) {
                        unit->under_way = !unit->template;
                        return false;
                }
                unit->frozen = startswith(news->freezer_state, "frozen");
        }
        if (news->job || !is_one_of(news->active_state, at_rest)) {
                unit->under_way = !unit->template;
                return false;
        }
        rest = hash_fnv1a(news->active_state, strlen(news->active_state)) * 31 +
               hash_fnv1a(sub_state, strlen(sub_state)) + unit->frozen;
        rest |= UINT64_C(1) << 63; /* never 0 */
        /* Of a template it is one of its instances. What is seen for the first time was looked at, or is about to be. */
        changed = unit->under_way || unit->template || (unit->rest != 0 && unit->rest != rest);
        unit->under_way = false;
        unit->rest = rest;
        return changed;
}

bool watched_unit_unload(WatchedUnit *unit) {
        static const UnitNews unloaded = { .active_state = "inactive", .sub_state = "dead" };

        unit->frozen = false;
        return watched_unit_update(unit, &unloaded);
}

/* ---- What a signal says --------------------------------------------------------------------------------------------- */

static int read_property(sd_bus_message *m, const char *name, UnitNews *news) {
        const char **text = streq(name, "ActiveState")    ? &news->active_state
                            : streq(name, "SubState")     ? &news->sub_state
                            : streq(name, "FreezerState") ? &news->freezer_state
                                                          : NULL;
        uint32_t job;
        int r;

        if (text)
                return sd_bus_message_read(m, "v", "s", text);
        if (!streq(name, "Job"))
                return sd_bus_message_skip(m, "v");
        r = sd_bus_message_read(m, "v", "(uo)", &job, NULL);
        if (r >= 0)
                news->job = job != 0;
        return r;
}

int unit_news_read(sd_bus_message *m, UnitNews *ret) {
        UnitNews news = {};
        const char *interface;
        int r;

        r = sd_bus_message_read(m, "s", &interface);
        if (r < 0)
                return r;
        if (!streq(interface, SYSTEMD_UNIT))
                return -ENOMSG;
        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                const char *name;

                r = sd_bus_message_read(m, "s", &name);
                if (r >= 0)
                        r = read_property(m, name, &news);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        /* One that says nothing of how it is. */
        if (!news.active_state || !news.sub_state)
                return -ENOMSG;
        *ret = news;
        return 0;
}
