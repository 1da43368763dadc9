/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <time.h>

#include "hash.h"
#include "paths.h"
#include "userdb.h"

#define FILE_SIZE_MAX MIB(64) /* far beyond any passwd; a bound on what we allocate */

/* Within this time before it was read, a file may have been changed again without getting another ctime. */
#define TICK_USEC (100 * USEC_PER_MSEC)

typedef struct Entry {
        const char *name; /* NULL if the id has none */
        uint32_t id;
        bool has_id; /* false if the name has none */
} Entry;

/* Entries with two indices into them: open addressing, 0 is a free place, otherwise the index of an entry plus one. */
typedef struct Table {
        Entry *entries;
        size_t n_entries, n_allocated;
        uint32_t *by_name, *by_id;
        size_t n_places; /* a power of two, at least twice n_entries */
} Table;

typedef struct Database {
        const char *file; /* in /etc */
        size_t id_field;  /* counted from 0 */
        size_t n_fields;  /* at least */
        bool read;
        bool young;           /* changed so shortly before it was read that its identity does not tell */
        struct stat identity; /* zeroed if there was no file */
        char *text;           /* names in the table point into it */
        Table table;
        Table nss_names, nss_ids; /* their names are strdup'ed */
} Database;

struct UserDb {
        int root_fd;
        bool nss;
        Database users, groups;
};

static size_t hash_id(uint32_t id) {
        return (size_t) (id * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

static const Entry *table_find_name(const Table *t, const char *name, size_t length) {
        if (t->n_places == 0)
                return NULL;
        for (size_t i = hash_fnv1a(name, length);; i++) {
                uint32_t place = t->by_name[i & (t->n_places - 1)];
                const Entry *e = t->entries + place - 1;

                if (place == 0)
                        return NULL;
                if (strncmp(e->name, name, length) == 0 && e->name[length] == '\0')
                        return e;
        }
}

static const Entry *table_find_id(const Table *t, uint32_t id) {
        if (t->n_places == 0)
                return NULL;
        for (size_t i = hash_id(id);; i++) {
                uint32_t place = t->by_id[i & (t->n_places - 1)];
                const Entry *e = t->entries + place - 1;

                if (place == 0)
                        return NULL;
                if (e->id == id)
                        return e;
        }
}

/* The first of a name or id would be found first anyway; leaving the others out keeps the searches short. */
static void table_index(Table *t, size_t n) {
        const Entry *e = t->entries + n;
        size_t i;

        if (e->name && !table_find_name(t, e->name, strlen(e->name))) {
                for (i = hash_fnv1a(e->name, strlen(e->name)); t->by_name[i & (t->n_places - 1)];)
                        i++;
                t->by_name[i & (t->n_places - 1)] = (uint32_t) n + 1;
        }
        if (e->has_id && !table_find_id(t, e->id)) {
                for (i = hash_id(e->id); t->by_id[i & (t->n_places - 1)];)
                        i++;
                t->by_id[i & (t->n_places - 1)] = (uint32_t) n + 1;
        }
}

static int table_add(Table *t, const Entry *entry) {
        if (t->n_entries == t->n_allocated) {
                size_t n = MAX(t->n_allocated * 2, (size_t) 64);
                uint32_t *by_name, *by_id;
                Entry *entries;

                entries = reallocarray(t->entries, n, sizeof(Entry));
                if (!entries)
                        return -ENOMEM;
                t->entries = entries;

                by_name = calloc(n * 2, sizeof(uint32_t));
                by_id = calloc(n * 2, sizeof(uint32_t));
                if (!by_name || !by_id) {
                        free(by_name);
                        free(by_id);
                        return -ENOMEM;
                }
                free(t->by_name);
                free(t->by_id);
                t->by_name = by_name;
                t->by_id = by_id;
                t->n_allocated = n;
                t->n_places = n * 2;
                for (size_t i = 0; i < t->n_entries; i++)
                        table_index(t, i);
        }

        t->entries[t->n_entries] = *entry;
        table_index(t, t->n_entries++);
        return 0;
}

static void table_clear(Table *t, bool names_too) {
        if (names_too)
                for (size_t i = 0; i < t->n_entries; i++)
                        free((char *) t->entries[i].name);
        free(t->entries);
        free(t->by_name);
        free(t->by_id);
        *t = (Table){};
}

static void database_clear_nss(Database *d) {
        table_clear(&d->nss_names, true);
        table_clear(&d->nss_ids, true);
}

static void database_clear(Database *d) {
        table_clear(&d->table, false);
        free(TAKE_PTR(d->text));
        d->read = false;
        d->identity = (struct stat){};
}

/*
 * A decimal id without sign or spaces. Return: 0; -EINVAL if it does not look like a number; -ERANGE if it is one, but
 * (uid_t) -1 or more, which the kernel takes for "none".
 */
static int parse_id(const char *text, uint32_t *ret) {
        uint64_t id = 0;

        if (!*text)
                return -EINVAL;
        for (const char *p = text; *p; p++) {
                if (*p < '0' || *p > '9')
                        return -EINVAL;
                if (id < UINT32_MAX)
                        id = id * 10 + (uint64_t) (*p - '0');
        }
        if (id >= UINT32_MAX)
                return -ERANGE;

        *ret = (uint32_t) id;
        return 0;
}

/* Takes one line apart in place. Lines that are comments, for NIS, or malformed are skipped, as libc does. */
static int database_add_line(Database *d, char *line, size_t size) {
        Entry entry = { .has_id = true };
        const char *id = NULL;
        size_t n_fields = 0;

        if (strlen(line) != size)
                return 0;
        line += strspn(line, " \t");
        if (!*line || line[0] == '#' || line[0] == '+' || line[0] == '-')
                return 0;

        entry.name = line;
        for (char *field = line; field; n_fields++) {
                char *colon = strchr(field, ':');

                if (colon)
                        *colon++ = '\0';
                if (n_fields == d->id_field)
                        id = field;
                field = colon;
        }
        if (n_fields < d->n_fields || !entry.name[0] || parse_id(id, &entry.id) < 0)
                return 0;

        return table_add(&d->table, &entry);
}

static int database_read(const UserDb *db, Database *d) {
        _cleanup_close_ int etc = -EBADF;
        struct timespec now;
        char *line;
        size_t size = 0;
        int r;

        if (d->read)
                return 0;

        (void) clock_gettime(CLOCK_REALTIME, &now);
        r = path_open_directory(db->root_fd, "/etc", 0, NULL, &etc);
        if (r == 0)
                r = path_read_file(etc, d->file, FILE_SIZE_MAX, &d->text, &size, &d->identity);
        if (r == -ENOENT) {
                d->read = true;
                d->young = false;
                return 0;
        }
        if (r < 0)
                return r;

        d->young = (int64_t) (now.tv_sec - d->identity.st_ctim.tv_sec) * (int64_t) USEC_PER_SEC +
                           (now.tv_nsec - d->identity.st_ctim.tv_nsec) / (int64_t) NSEC_PER_USEC <
                   (int64_t) TICK_USEC;

        line = d->text;
        while (line < d->text + size) {
                char *end = memchr(line, '\n', (size_t) (d->text + size - line));

                if (!end)
                        end = d->text + size;
                *end = '\0';
                r = database_add_line(d, line, (size_t) (end - line));
                if (r < 0) {
                        database_clear(d);
                        return r;
                }
                line = end + 1;
        }

        d->read = true;
        return 0;
}

static bool same_file(const struct stat *a, const struct stat *b) {
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
               a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
               a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Return: 1 if it was forgotten, 0 if it still holds, -errno. */
static int database_refresh(Database *d, int etc_fd) {
        struct stat st = {};

        if (!d->read)
                return 0;
        if (etc_fd >= 0 && fstatat(etc_fd, d->file, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                if (errno != ENOENT)
                        return -errno;
                st = (struct stat){};
        }
        if (!d->young && same_file(&st, &d->identity))
                return 0;

        database_clear(d);
        return 1;
}

int userdb_refresh(UserDb *db) {
        _cleanup_close_ int etc = -EBADF;
        int r, users = 0, groups = 0;

        assert(db);

        database_clear_nss(&db->users);
        database_clear_nss(&db->groups);

        r = path_open_directory(db->root_fd, "/etc", 0, NULL, &etc);
        if (r == 0 || r == -ENOENT) {
                r = users = database_refresh(&db->users, etc);
                if (users >= 0)
                        r = groups = database_refresh(&db->groups, etc);
        }
        if (r < 0) {
                database_clear(&db->users);
                database_clear(&db->groups);
                return r;
        }
        return users > 0 || groups > 0;
}

int userdb_new(int root_fd, unsigned flags, UserDb **ret) {
        _cleanup_(userdb_freep) UserDb *db = NULL;
        struct stat ours, hosts;

        assert(ret);

        db = malloc(sizeof(*db));
        if (!db)
                return -ENOMEM;
        *db = (UserDb){
                .root_fd = -EBADF,
                /* Source: passwd(5) and group(5); libc does not insist on the fields that follow. */
                .users = { .file = "passwd", .id_field = 2, .n_fields = 4 },
                .groups = { .file = "group", .id_field = 2, .n_fields = 3 },
        };

        db->root_fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
        if (db->root_fd < 0 || fstat(root_fd, &ours) < 0 || stat("/", &hosts) < 0)
                return -errno;
        db->nss = !(flags & USERDB_NO_NSS) && ours.st_dev == hosts.st_dev && ours.st_ino == hosts.st_ino;

        *ret = TAKE_PTR(db);
        return 0;
}

UserDb *userdb_free(UserDb *db) {
        if (!db)
                return NULL;

        database_clear(&db->users);
        database_clear(&db->groups);
        database_clear_nss(&db->users);
        database_clear_nss(&db->groups);
        safe_close(db->root_fd);
        free(db);
        return NULL;
}

/*
 * Asks NSS for a name (by_name, entry->name is it) or for an id. What it finds goes into the entry, the name
 * allocated. Return: 1 if found, 0 if not, -errno.
 */
static int nss_ask(const UserDb *db, const Database *d, bool by_name, Entry *entry) {
        size_t size = KIB(4);

        for (;;) {
                _cleanup_free_ char *buffer = malloc(size);
                struct passwd user, *found_user = NULL;
                struct group group, *found_group = NULL;
                int error;

                if (!buffer)
                        return -ENOMEM;
                if (d == &db->users)
                        error = by_name ? getpwnam_r(entry->name, &user, buffer, size, &found_user)
                                        : getpwuid_r(entry->id, &user, buffer, size, &found_user);
                else
                        error = by_name ? getgrnam_r(entry->name, &group, buffer, size, &found_group)
                                        : getgrgid_r(entry->id, &group, buffer, size, &found_group);

                if (found_user || found_group) {
                        char *name = strdup(found_user ? found_user->pw_name : found_group->gr_name);

                        if (!name)
                                return -ENOMEM;
                        *entry = (Entry){
                                .name = name,
                                .id = found_user ? found_user->pw_uid : found_group->gr_gid,
                                .has_id = true,
                        };
                        return 1;
                }

                switch (error) {
                case 0:
                case ENOENT: /* the rest: getpwnam(3) lists them as "not found" too */
                case ESRCH:
                case EBADF:
                case EPERM: return 0;
                case EINTR: break;
                case ERANGE:
                        if (size >= MIB(16)) /* a group of a million members */
                                return -ERANGE;
                        size *= 4;
                        break;
                default: return -error;
                }
        }
}

static int nss_id(UserDb *db, Database *d, const char *name, uint32_t *ret) {
        const Entry *known = table_find_name(&d->nss_names, name, strlen(name));
        Entry entry = { .name = name };
        char *copy;
        int r;

        if (!known) {
                r = nss_ask(db, d, true, &entry);
                if (r < 0)
                        return r;
                if (r > 0)
                        free((char *) entry.name);

                /* Under the name that was asked for: NSS may find names in other spellings. */
                copy = strdup(name);
                if (!copy)
                        return -ENOMEM;
                entry.name = copy;
                r = table_add(&d->nss_names, &entry);
                if (r < 0) {
                        free(copy);
                        return r;
                }
                known = &entry;
        }
        if (!known->has_id)
                return -ESRCH;

        *ret = known->id;
        return 0;
}

static const char *nss_name(UserDb *db, Database *d, uint32_t id) {
        const Entry *known = table_find_id(&d->nss_ids, id);
        Entry entry = { .id = id };
        int r;

        if (known)
                return known->name;

        r = nss_ask(db, d, false, &entry);
        if (r < 0)
                return NULL;
        entry.id = id;
        entry.has_id = true;
        r = table_add(&d->nss_ids, &entry);
        if (r < 0) {
                free((char *) entry.name);
                return NULL;
        }
        return entry.name;
}

static int find_id(UserDb *db, Database *d, const char *name, uint32_t *ret) {
        const Entry *e;
        int r;

        /* "007" may be somebody's name, but who means the id does not write it so. */
        if (name[0] != '0' || !name[1]) {
                r = parse_id(name, ret);
                if (r != -EINVAL)
                        return r;
        }
        if (!*name)
                return -ESRCH;

        r = database_read(db, d);
        if (r < 0)
                return r;
        e = table_find_name(&d->table, name, strlen(name));
        if (e) {
                *ret = e->id;
                return 0;
        }
        return db->nss ? nss_id(db, d, name, ret) : -ESRCH;
}

static const char *find_name(UserDb *db, Database *d, uint32_t id) {
        const Entry *e;

        if (database_read(db, d) < 0)
                return NULL;
        e = table_find_id(&d->table, id);
        if (e)
                return e->name;
        return db->nss && id != UINT32_MAX ? nss_name(db, d, id) : NULL;
}

int userdb_user_id(UserDb *db, const char *name, uid_t *ret) {
        assert(db);
        assert(name);
        assert(ret);

        return find_id(db, &db->users, name, ret);
}

int userdb_group_id(UserDb *db, const char *name, gid_t *ret) {
        assert(db);
        assert(name);
        assert(ret);

        return find_id(db, &db->groups, name, ret);
}

const char *userdb_user_name(UserDb *db, uid_t uid) {
        assert(db);

        return find_name(db, &db->users, uid);
}

const char *userdb_group_name(UserDb *db, gid_t gid) {
        assert(db);

        return find_name(db, &db->groups, gid);
}
