/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reads agentd.toml and its drop-ins. A wrong value refuses the load, as an error in a role does. A key that nobody knows
 * is only a warning, so that one file can serve hosts with different versions.
 */

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <syslog.h>

#include "role.h"

#define MAIN_FILE "agentd.toml"
#define DROP_INS  "agentd.toml.d"

/* Of files of one name the first counts. */
static const char *const directories[] = { "/etc/agentd", "/run/agentd", "/usr/lib/agentd" };

/* ---- Values ---------------------------------------------------------------------------------------------------- */

/* Return: 0; -EINVAL: not of that kind; -ERANGE. */
static int parse(const Setting *setting, const Value *value, uint64_t *ret) {
        const char *text =
                value->type == VALUE_STRING && strlen(value->text) == value->size ? value->text : NULL;
        int64_t bytes;
        int r;

        if (text && streq(text, "infinity")) {
                *ret = UINT64_MAX;
                return setting->infinity ? 0 : -ERANGE;
        }
        switch (setting->kind) {
        case SETTING_SPAN:
                if (value->type == VALUE_INTEGER && value->integer >= 0 && value->integer < INT32_MAX)
                        *ret = (uint64_t) value->integer * USEC_PER_SEC;
                else if (!text)
                        return -EINVAL;
                else if ((r = parse_timespan(text, ret)) < 0)
                        return r;
                break;
        case SETTING_NUMBER:
                if (value->type != VALUE_INTEGER || value->integer < 0)
                        return -EINVAL;
                *ret = (uint64_t) value->integer;
                break;
        case SETTING_BYTES:
                if (!text)
                        return -EINVAL;
                r = parse_bytes(text, &bytes);
                if (r < 0)
                        return r;
                *ret = (uint64_t) bytes;
                break;
        case SETTING_WORD:
                if (!text)
                        return -EINVAL;
                for (uint64_t i = 0; i <= setting->max - setting->min; i++)
                        if (streq(setting->words[i], text)) {
                                *ret = setting->min + i;
                                return 0;
                        }
                return -EINVAL;
        }
        return *ret >= setting->min && *ret <= setting->max ? 0 : -ERANGE;
}

static void refuse(Loader *loader, const Setting *setting, const Value *value) {
        char wants[256];
        const char *meant;

        (void) setting_wants(setting, wants, sizeof(wants));
        if (value->type == VALUE_INTEGER && setting->kind != SETTING_WORD &&
                setting->kind != SETTING_BYTES) {
                diagnostics_add(&loader->diagnostics, value->place, "'%s' is %lld; it must be %s",
                        setting->name, (long long) value->integer, wants);
                return;
        }
        if (value->type != VALUE_STRING || (setting->kind == SETTING_NUMBER && !setting->infinity)) {
                diagnostics_add(&loader->diagnostics, value->place, "'%s' is %s; it must be %s",
                        setting->name, value_kind(value), wants);
                return;
        }
        if (strlen(value->text) != value->size) {
                diagnostics_add(&loader->diagnostics, value->place, "'%s' has a NUL in it; it must be %s",
                        setting->name, wants);
                return;
        }
        meant = setting->kind == SETTING_WORD
                        ? suggest(value->text, setting->words, setting->max - setting->min + 1)
                        : NULL;
        if (meant)
                diagnostics_add(&loader->diagnostics, value->place,
                        "'%s' is '%.200s'; did you mean '%s'? (%s)", setting->name, value->text, meant,
                        wants);
        else
                diagnostics_add(&loader->diagnostics, value->place, "'%s' is '%.200s'; it must be %s",
                        setting->name, value->text, wants);
}

static void take(Loader *loader, const Setting *setting, const Value *value) {
        uint64_t number = 0;

        if (parse(setting, value, &number) < 0)
                refuse(loader, setting, value);
        else
                *setting_value(setting, &loader->settings) = number;
}

/* ---- Keys ------------------------------------------------------------------------------------------------------ */

/* What may have been meant: the same key in another table, else one that is spelled nearly so. */
static const char *find_meant(const char *name) {
        const char *names[32], *last = strrchr(name, '.');
        size_t n = 0;

        last = last ? last + 1 : name;
        for (size_t i = 0; i < settings_table_n; i++) {
                const char *known = settings_table[i].name, *dot = strrchr(known, '.');

                if (streq(dot ? dot + 1 : known, last))
                        return known;
                if (n < ELEMENTSOF(names))
                        names[n++] = known;
        }
        return suggest(name, names, n);
}

static void unknown_key(Loader *loader, const Member *member, const char *name) {
        const char *meant = find_meant(name);

        loader_log(loader, LOG_WARNING,
                arena_printf(&loader->scratch, "%s:%u:%u: unknown key '%s', which is ignored%s%s%s",
                        member->place.file, member->place.line, member->place.column, name,
                        meant ? "; did you mean '" : "", meant ?: "", meant ? "'?" : ""));
}

static bool is_table(const char *name) {
        size_t n = strlen(name);

        for (size_t i = 0; i < settings_table_n; i++)
                if (strncmp(settings_table[i].name, name, n) == 0 && settings_table[i].name[n] == '.')
                        return true;
        return false;
}

static const Setting *find_setting(const char *name) {
        for (size_t i = 0; i < settings_table_n; i++)
                if (streq(settings_table[i].name, name))
                        return &settings_table[i];
        return NULL;
}

static void take_members(Loader *loader, const char *prefix, const Value *table) {
        VALUE_FOREACH_MEMBER(member, table) {
                const char *name = arena_printf(&loader->scratch, "%s%s", prefix, member->key);
                /* A dot within a key is none between keys. */
                bool plain = !strchr(member->key, '.');
                const Setting *setting = plain ? find_setting(name) : NULL;

                if (setting)
                        take(loader, setting, &member->value);
                else if (plain && !*prefix && is_table(name)) {
                        if (member->value.type == VALUE_TABLE)
                                take_members(
                                        loader, arena_printf(&loader->scratch, "%s.", name), &member->value);
                        else
                                diagnostics_add(&loader->diagnostics, member->value.place,
                                        "'%s' is %s; it must be a table: [%s]", name,
                                        value_kind(&member->value), name);
                } else
                        unknown_key(loader, member, name);
        }
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

void settings_read_file(Loader *loader, bool in_root, const char *path) {
        Value table;

        if (loader_read_toml(loader, in_root, path, "settings", &table) >= 0)
                take_members(loader, "", &table);
}

static void read_main(Loader *loader) {
        FOREACH_ELEMENT(directory, directories) {
                const char *path = arena_printf(&loader->scratch, "%s/" MAIN_FILE, *directory);
                _cleanup_close_ int dir_fd = -EBADF;
                struct stat st;

                dir_fd = loader_open(loader, true, *directory, O_RDONLY | O_DIRECTORY);
                if (dir_fd < 0 || fstatat(dir_fd, MAIN_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                        loader_remember_file(loader, path, NULL);
                        continue;
                }
                if (loader_is_masked(dir_fd, MAIN_FILE)) {
                        _cleanup_close_ int fd = loader_open(loader, true, path, O_RDONLY);

                        loader_remember_file(loader, path, fd >= 0 && fstat(fd, &st) >= 0 ? &st : NULL);
                } else
                        settings_read_file(loader, true, path);
                return;
        }
}

typedef struct DropIns {
        struct DropIn {
                const char *name, *path;
        } * list;
        uint32_t n, n_allocated;
        Map seen;
} DropIns;

static void find_drop_ins(Loader *loader, const char *directory, DropIns *all) {
        struct dirent *entry;
        DIR *dir = loader_open_directory(loader, directory, true, false, "settings");

        if (!dir)
                return;
        while ((entry = readdir(dir))) {
                const char *name;

                if (*entry->d_name == '.' || !endswith(entry->d_name, ".toml"))
                        continue;
                name = arena_strdup(&loader->scratch, entry->d_name);
                if (map_get(&all->seen, name) != MAP_NOT_FOUND)
                        continue;
                map_put(&all->seen, &loader->scratch, name, 0);
                if (loader_is_masked(dirfd(dir), name))
                        continue;
                all->list = arena_grow(
                        &loader->scratch, all->list, all->n, &all->n_allocated, sizeof(struct DropIn));
                all->list[all->n++] = (struct DropIn){
                        .name = name,
                        .path = arena_printf(&loader->scratch, "%s/%s", directory, name),
                };
        }
        (void) closedir(dir);
}

static int compare_drop_ins(const void *a, const void *b) {
        const struct DropIn *x = a, *y = b;

        return strcmp(x->name, y->name);
}

bool settings_is_file(const char *path) {
        const char *base = strrchr(path, '/'), *start = base;
        size_t n = strlen(DROP_INS);

        if (streq(base ? base + 1 : path, MAIN_FILE))
                return true;
        while (start && start > path && start[-1] != '/')
                start--;
        return start && (size_t) (base - start) == n && memcmp(start, DROP_INS, n) == 0;
}

void settings_read(Loader *loader) {
        DropIns all = {};

        loader->settings = settings_default;
        if (loader->options->role_files) {
                for (const char *const *file = loader->options->role_files; *file; file++)
                        if (settings_is_file(*file))
                                settings_read_file(loader, false, *file);
                return;
        }

        read_main(loader);
        FOREACH_ELEMENT(directory, directories)
                find_drop_ins(loader, arena_printf(&loader->scratch, "%s/" DROP_INS, *directory), &all);
        if (all.n > 0)
                qsort(all.list, all.n, sizeof(struct DropIn), compare_drop_ins);
        for (uint32_t i = 0; i < all.n; i++)
                settings_read_file(loader, true, all.list[i].path);
}
