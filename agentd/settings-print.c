/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The reference of agentd.toml, in each style. */

#include "page.h"

#define VALUE_MAX 256

static uint64_t default_of(const Setting *setting) {
        return *(const uint64_t *) ((const char *) &settings_default + setting->offset);
}

/* As it is written in a file. */
static void format_toml(const Setting *setting, uint64_t value, char *buffer, size_t size) {
        char text[32];
        const char *formatted = setting_format(setting, value, text);
        bool bare = setting->kind == SETTING_NUMBER && !streq(formatted, "infinity");

        (void) snprintf(buffer, size, bare ? "%s" : "\"%s\"", formatted);
}

static void print_table(FILE *f) {
        char wants[VALUE_MAX], value[VALUE_MAX];

        (void) fputs("| key | value | default | |\n|---|---|---|---|\n", f);
        for (size_t i = 0; i < settings_table_n; i++) {
                const Setting *setting = &settings_table[i];

                format_toml(setting, default_of(setting), value, sizeof(value));
                (void) fprintf(f, "| `%s` | %s | `%s` | %s |\n", setting->name,
                        setting_wants(setting, wants, sizeof(wants)), value, setting->summary);
        }
        (void) fputc('\n', f);
        for (size_t i = 0; i < settings_table_n; i++)
                (void) fprintf(f, "- `%s`: %s\n", settings_table[i].name, settings_table[i].text);
}

static void print_items(Page *page) {
        char wants[VALUE_MAX], value[VALUE_MAX], facts[3 * VALUE_MAX];

        page_heading(page, "Keys");
        for (size_t i = 0; i < settings_table_n; i++) {
                const Setting *setting = &settings_table[i];

                format_toml(setting, default_of(setting), value, sizeof(value));
                (void) snprintf(facts, sizeof(facts), "%s; default %s; since %s",
                        setting_wants(setting, wants, sizeof(wants)), value, setting->since);
                page_item(page, setting->name, facts, setting->summary, setting->text);
        }
}

static void print_toml(Page *page) {
        char wants[VALUE_MAX], value[VALUE_MAX], line[2 * VALUE_MAX], table[64] = "";

        for (size_t i = 0; i < settings_table_n; i++) {
                const Setting *setting = &settings_table[i];
                const char *dot = strchr(setting->name, '.'), *key = dot ? dot + 1 : setting->name;
                size_t n = dot ? (size_t) (dot - setting->name) : 0;

                if (strlen(table) != n || strncmp(table, setting->name, n) != 0) {
                        (void) snprintf(table, sizeof(table), "%.*s", (int) n, setting->name);
                        (void) fprintf(page->f, "\n[%s]\n", table);
                }
                (void) snprintf(line, sizeof(line), "%s: %s (%s).", key, setting->summary,
                        setting_wants(setting, wants, sizeof(wants)));
                (void) fputc('\n', page->f);
                page_paragraph(page, line);
                page_paragraph(page, setting->text);
                format_toml(setting, default_of(setting), value, sizeof(value));
                (void) fprintf(page->f, "#%s = %s\n", key, value);
        }
}

void settings_print_reference(FILE *f, ReferenceStyle style) {
        Page page;

        page_init(&page, f, style);
        if (style == REFERENCE_MARKDOWN) {
                print_table(f);
                return;
        }
        if (style == REFERENCE_TOML) {
                page_title(&page, "agentd.toml", "settings of agentd itself");
                page_paragraph(&page,
                        "Each key is shown with its default. All may be left out, and so may the file. "
                        "\'agentd --validate\' says whether all is well.");
                print_toml(&page);
                return;
        }
        if (style == REFERENCE_TEXT) {
                page_title(&page, "agentd.toml", "settings of agentd itself, not of the host");
                page_paragraph(&page, "agentd reads /etc/agentd/agentd.toml, then the files *.toml in "
                                      "/etc/agentd/agentd.toml.d, in the order of their names; of a key "
                                      "that is given more "
                                      "than once, the last value holds. All may be left out. A file in "
                                      "/etc/agentd takes the "
                                      "place of one of the same name in /run/agentd, and that of one in "
                                      "/usr/lib/agentd; a "
                                      "link to /dev/null masks it.");
        }
        print_items(&page);
}
