/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "identity.h"
#include "status.h"
#include "test-image.h"
#include "test-store.h"

#define SEC INT64_C(1000000000)

static const struct statx plain_file = {
        .stx_mask = STATX_BASIC_STATS,
        .stx_mode = S_IFREG | 0644,
        .stx_ino = 12,
        .stx_size = 1024,
        .stx_dev_major = 8,
        .stx_dev_minor = 1,
        .stx_mtime = { .tv_sec = 1000, .tv_nsec = 5 },
        .stx_ctime = { .tv_sec = 1001, .tv_nsec = 6 },
};

static bool same(const Identity *a, const Identity *b) {
        return memcmp(a, b, sizeof(*a)) == 0;
}

/* ---- Identities ------------------------------------------------------------------------------------------------ */

TEST(whatever_changes_is_another_identity) {
        struct statx files[10];
        Identity seen[10], again;
        IdentityTable *table;

        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                files[i] = plain_file;
        files[1].stx_ino++;
        files[2].stx_size++;
        files[3].stx_dev_major++;
        files[4].stx_dev_minor++;
        files[5].stx_mtime.tv_nsec++;
        files[6].stx_mtime.tv_sec--;
        files[7].stx_ctime.tv_nsec++;
        files[8].stx_ctime.tv_sec++;
        files[9].stx_mode = S_IFLNK | 0644;

        ASSERT_OK(identity_table_new(1, NULL, &table));
        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                ASSERT_OK(identity_make(table, &files[i], 1, &seen[i]));
                for (size_t k = 0; k < i; k++)
                        ASSERT_FALSE(same(&seen[i], &seen[k]));
        }

        /* Mode, owner and links are compared each time; that they change the ctime is the file system's business. */
        files[1] = plain_file;
        files[1].stx_mode = S_IFREG | 0600;
        files[1].stx_uid = files[1].stx_gid = 7;
        files[1].stx_nlink = 3;
        files[1].stx_atime.tv_sec = 4711;
        ASSERT_OK(identity_make(table, &files[1], 1, &again));
        ASSERT_TRUE(same(&seen[0], &again));
        identity_table_free(table);
}

TEST(order_and_number_count) {
        struct statx files[IDENTITY_FILES_MAX + 1];
        Identity one, two, turned;
        IdentityTable *table;

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                files[i] = plain_file;
                files[i].stx_ino += i;
        }
        ASSERT_OK(identity_table_new(1, NULL, &table));
        ASSERT_OK(identity_make(table, files, 1, &one));
        ASSERT_OK(identity_make(table, files, 2, &two));
        ASSERT_FALSE(same(&one, &two));
        ASSERT_OK(identity_make(table, (struct statx[]){ files[1], files[0] }, 2, &turned));
        ASSERT_FALSE(same(&turned, &two));
        ASSERT_OK(identity_make(table, files, IDENTITY_FILES_MAX, &one));
        ASSERT_EQ(identity_make(table, files, IDENTITY_FILES_MAX + 1, &one), -EINVAL);
        ASSERT_EQ(identity_make(table, files, 0, &one), -EINVAL);
        identity_table_free(table);
}

TEST(any_number_of_files_are_added_one_by_one) {
        Identity identity = {}, other = {}, turned = {}, before;
        struct statx files[100];
        IdentityTable *table;

        ASSERT_OK(identity_table_new(2, NULL, &table));
        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                files[i] = plain_file;
                files[i].stx_ino += i;
                before = identity;
                ASSERT_OK(identity_add(table, &files[i], &identity));
                ASSERT_FALSE(same(&identity, &before));
        }
        for (size_t i = ELEMENTSOF(files); i > 0; i--)
                ASSERT_OK(identity_add(table, &files[i - 1], &turned));
        ASSERT_FALSE(same(&identity, &turned));
        files[50].stx_ctime.tv_nsec++;
        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                ASSERT_OK(identity_add(table, &files[i], &other));
        ASSERT_FALSE(same(&identity, &other));
        /* One that cannot be added leaves it as it was. */
        before = identity;
        files[0].stx_mask &= ~STATX_CTIME;
        ASSERT_EQ(identity_add(table, &files[0], &identity), -EINVAL);
        assert_true(same(&identity, &before));

        ASSERT_FALSE(identity_is_known(table, 0, 100));
        ASSERT_FALSE(identity_is_known(NULL, 0, 100));
        ASSERT_FALSE(identity_is_known(table, 2, 100));
        identity_remember(table, 0, &identity, 101);
        assert_true(identity_is_known(table, 0, 100));
        ASSERT_FALSE(identity_is_known(table, 0, 101));
        ASSERT_FALSE(identity_is_known(table, 1, 100));
        identity_table_free(table);
}

TEST(what_the_file_system_does_not_say_is_no_identity) {
        static const unsigned needed[] = { STATX_TYPE, STATX_INO, STATX_SIZE, STATX_MTIME, STATX_CTIME };
        IdentityTable *table;
        Identity identity;

        ASSERT_OK(identity_table_new(1, NULL, &table));
        FOREACH_ELEMENT(bit, needed) {
                struct statx files[] = { plain_file, plain_file };

                files[1].stx_mask &= ~*bit;
                ASSERT_EQ(identity_make(table, files, 2, &identity), -EINVAL);
                ASSERT_OK(identity_make(table, files, 1, &identity));
        }
        identity_table_free(table);
}

TEST(how_long_is_it_good) {
        enum { YOUNG = IDENTITY_YOUNG_SEC, OLD = IDENTITY_AGE_MAX_SEC };
        static const struct {
                int64_t ctime, began;
                uint32_t good_for_sec;
        } cases[] = {
                { 1000 * SEC, 1003 * SEC, YOUNG },
                { 1000 * SEC, 1002 * SEC + 1, YOUNG },
                { 1000 * SEC, 1002 * SEC, 0 }, /* FAT */
                { 1000 * SEC, 1001 * SEC, 0 }, /* whole seconds */
                { 1000 * SEC, 1000 * SEC + 4000000, 0 },
                { 1000 * SEC, 1000 * SEC, 0 },
                { 1000 * SEC, 999 * SEC, 0 }, /* in the future: a clock was set back */
                { 1000 * SEC, -5 * SEC, 0 },
                { 1000 * SEC, (1000 + YOUNG) * SEC, YOUNG },
                { 1000 * SEC, (1000 + YOUNG) * SEC + 1, OLD },
                { -5 * SEC, 1000 * SEC, OLD }, /* before 1970 */
                { -9 * SEC, -5 * SEC, YOUNG },
                { INT64_MAX, 1000 * SEC, 0 },
        };

        FOREACH_ELEMENT(c, cases) {
                struct statx file = plain_file;

                file.stx_ctime.tv_sec = c->ctime / SEC;
                file.stx_ctime.tv_nsec = (uint32_t) (c->ctime % SEC < 0 ? 0 : c->ctime % SEC);
                file.stx_mtime.tv_sec = 1 << 30; /* means nothing */
                if (identity_good_for(&file, c->began) != c->good_for_sec)
                        fail_msg("ctime %lld, began %lld", (long long) c->ctime, (long long) c->began);
        }
}

TEST(records_do_not_end_all_at_once) {
        static const uint32_t spans[] = { 1, 2, 3, 4, 5, IDENTITY_YOUNG_SEC, IDENTITY_AGE_MAX_SEC };

        FOREACH_ELEMENT(span, spans) {
                uint32_t least = UINT32_MAX, most = 0;

                for (uint64_t i = 0; i < 1000; i++) {
                        const Identity identity = { { i * 0x9e3779b97f4a7c15, i } };
                        uint32_t until = identity_until(&identity, 100, *span);

                        least = MIN(least, until);
                        most = MAX(most, until);
                }
                ASSERT_TRUE(least >= 100 + *span * 3 / 4 && least > 100);
                ASSERT_TRUE(most <= 100 + *span && most >= 100 + *span * 99 / 100);
                ASSERT_TRUE(*span < 60 || most - least > *span / 5);
        }
}

TEST(file_systems_that_keep_the_promise) {
        static const uint64_t good[] = { EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC,
                0x58465342, (uint64_t) (int32_t) BTRFS_SUPER_MAGIC };
        static const uint64_t bad[] = { 0, NFS_SUPER_MAGIC, MSDOS_SUPER_MAGIC, TMPFS_MAGIC, PROC_SUPER_MAGIC,
                SYSFS_MAGIC, FUSE_SUPER_MAGIC, V9FS_MAGIC, SMB2_SUPER_MAGIC, CGROUP2_SUPER_MAGIC };

        FOREACH_ELEMENT(type, good)
                ASSERT_TRUE(identity_file_system_is_good(*type));
        FOREACH_ELEMENT(type, bad)
                ASSERT_FALSE(identity_file_system_is_good(*type));
}

/* ---- The table ------------------------------------------------------------------------------------------------- */

TEST(a_record_holds_for_its_state_its_identity_and_its_time) {
        static const Identity a = { { 1, 2 } },
                              near[] = { { { 1, 3 } }, { { 3, 2 } }, { { 2, 1 } }, { { 0, 0 } } };
        enum { T = 5000, AGE = IDENTITY_AGE_MAX_SEC };
        IdentityTable *table;

        ASSERT_OK(identity_table_new(3, NULL, &table));
        for (uint32_t i = 0; i < 3; i++) {
                ASSERT_FALSE(identity_holds(table, i, &a, T));
                ASSERT_FALSE(identity_holds(table, i, &near[3], T));
        }

        identity_remember(table, 1, &a, T + AGE);
        ASSERT_TRUE(identity_holds(table, 1, &a, T));
        ASSERT_FALSE(identity_holds(table, 0, &a, T));
        ASSERT_FALSE(identity_holds(table, 2, &a, T));
        ASSERT_FALSE(identity_holds(table, 3, &a, T)); /* not a state at all */
        FOREACH_ELEMENT(n, near)
                ASSERT_FALSE(identity_holds(table, 1, n, T));

        ASSERT_TRUE(identity_holds(table, 1, &a, T + AGE - 1));
        ASSERT_FALSE(identity_holds(table, 1, &a, T + AGE));

        identity_remember(table, 1, &near[0], T + 2 * AGE);
        ASSERT_FALSE(identity_holds(table, 1, &a, T + AGE));
        ASSERT_TRUE(identity_holds(table, 1, &near[0], T + AGE));
        identity_forget(table, 1);
        identity_forget(table, 0);
        ASSERT_FALSE(identity_holds(table, 1, &near[0], T + AGE));
        identity_table_free(table);
}

TEST(without_a_table_nothing_is_known) {
        static const Identity a = { { 1, 2 } };

        identity_remember(NULL, 1, &a, 1);
        identity_forget(NULL, 1);
        ASSERT_FALSE(identity_holds(NULL, 1, &a, 1));
        ASSERT_NULL(identity_table_free(NULL));
}

/* Runs a function in a child; returns what waitpid() says of it. */
static int in_child(void (*run)(void *), void *userdata) {
        int status;
        pid_t pid = fork();

        ASSERT_TRUE(pid >= 0);
        if (pid == 0) {
                (void) signal(SIGSEGV, SIG_DFL);
                run(userdata);
                _exit(0);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        return status;
}

typedef struct Mapping {
        void *start;
        size_t size;
        char rights[5];
} Mapping;

/* The mappings of tables. */
static size_t find_mappings(Mapping *ret, size_t max) {
        _cleanup_fclose_ FILE *maps = fopen("/proc/self/maps", "re");
        char line[512];
        size_t n = 0;

        ASSERT_NOT_NULL(maps);
        while (fgets(line, sizeof(line), maps)) {
                unsigned long start, end;

                if (!strstr(line, "agentd-identity") || n == max)
                        continue;
                if (sscanf(line, "%lx-%lx %4s", &start, &end, ret[n].rights) != 3)
                        continue;
                ret[n].start = (void *) start; /* NOLINT */
                ret[n++].size = end - start;
        }
        return n;
}

static void try_to_write(_unused_ void *userdata) {
        _cleanup_close_ int fd = -EBADF;
        Mapping found[4];
        char path[64];

        /* The engine's own mapping is not here, and this one cannot become such a one. */
        if (find_mappings(found, 4) != 1 || strcmp(found[0].rights, "r--s") != 0)
                _exit(10);
        if (mprotect(found[0].start, found[0].size, PROT_READ | PROT_WRITE) == 0 || errno != EACCES)
                _exit(11);
        /* By way of /proc it can be opened for writing, which then is refused; or not even that. */
        (void) snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long) found[0].start,
                (unsigned long) found[0].start + found[0].size);
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd >= 0 && (pwrite(fd, "x", 1, 0) >= 0 || errno != EPERM))
                _exit(12);
        if (fd >= 0 && mmap(NULL, found[0].size, PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
                _exit(13);
        if (fd >= 0 && ftruncate(fd, 0) == 0)
                _exit(14);
}

static void write_through(void *userdata) {
        static const Identity a = { { 1, 2 } };

#ifdef __SANITIZE_ADDRESS__
        /* Which would report it and exit otherwise. */
        if (find_mappings((Mapping[4]){}, 4) == 1)
                (void) raise(SIGSEGV);
#endif
        identity_remember(userdata, 0, &a, 1);
}

TEST(a_child_cannot_write) {
        Mapping found[4];
        IdentityTable *table;
        unsigned n = 0;
        DIR *dir;
        int status;

        ASSERT_OK(identity_table_new(1000, NULL, &table));
        ASSERT_EQ(find_mappings(found, 4), 2);
        status = in_child(try_to_write, NULL);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                fail_msg("status %#x", (unsigned) status);
        status = in_child(write_through, table);
        ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);

        /* No descriptor is left to be inherited. */
        dir = opendir("/proc/self/fd");
        ASSERT_NOT_NULL(dir);
        for (struct dirent *e; (e = readdir(dir));) {
                char target[128] = "";

                (void) readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);
                n += strstr(target, "agentd-identity") != NULL;
        }
        (void) closedir(dir);
        ASSERT_EQ(n, 0);
        identity_table_free(table);
        ASSERT_EQ(find_mappings(found, 4), 0);
}

typedef struct Reader {
        IdentityTable *table;
        int ask, answer;
} Reader;

static void read_when_asked(void *userdata) {
        static const Identity a = { { 1, 2 } };
        const Reader *reader = userdata;
        char c;

        while (read(reader->ask, &c, 1) == 1) {
                c = identity_holds(reader->table, 999, &a, 5) ? 'y' : 'n';
                if (write(reader->answer, &c, 1) != 1)
                        break;
        }
}

TEST(a_child_sees_what_is_written_later) {
        static const Identity a = { { 1, 2 } };
        IdentityTable *table;
        int ask[2], answer[2];
        Reader reader;
        pid_t pid;
        char c;

        ASSERT_OK(identity_table_new(1000, NULL, &table));
        ASSERT_OK(pipe2(ask, O_CLOEXEC));
        ASSERT_OK(pipe2(answer, O_CLOEXEC));
        reader = (Reader){ .table = table, .ask = ask[0], .answer = answer[1] };
        pid = fork();
        if (pid == 0) {
                safe_close(ask[1]);
                read_when_asked(&reader);
                _exit(0);
        }
        for (unsigned step = 0; step < 3; step++) {
                if (step == 1)
                        identity_remember(table, 999, &a, 6);
                if (step == 2)
                        identity_forget(table, 999);
                ASSERT_EQ(write(ask[1], "?", 1), 1);
                ASSERT_EQ(read(answer[0], &c, 1), 1);
                ASSERT_EQ(c, step == 1 ? 'y' : 'n');
        }
        for (size_t i = 0; i < 2; i++) {
                safe_close(ask[i]);
                safe_close(answer[i]);
        }
        ASSERT_EQ(waitpid(pid, NULL, 0), pid);
        identity_table_free(table);
}

/* One identity in its first half and another in the second are neither. */
TEST(what_is_read_while_it_is_written_holds_for_nothing_else) {
        static const Identity a = { { 1, 2 } }, b = { { 3, 4 } }, ab = { { 1, 4 } }, ba = { { 3, 2 } };
        IdentityTable *table;
        int status;
        pid_t pid;

        ASSERT_OK(identity_table_new(1, NULL, &table));
        identity_remember(table, 0, &a, 2);
        pid = fork();
        if (pid == 0) {
                unsigned n_a = 0, n_b = 0;

                while (n_a < 1000 || n_b < 1000) {
                        n_a += identity_holds(table, 0, &a, 1);
                        n_b += identity_holds(table, 0, &b, 1);
                }
                _exit(0);
        }
        do {
                identity_remember(table, 0, &b, 2);
                identity_remember(table, 0, &a, 2);
                ASSERT_FALSE(identity_holds(table, 0, &ab, 1));
                ASSERT_FALSE(identity_holds(table, 0, &ba, 1));
        } while (waitpid(pid, &status, WNOHANG) == 0);
        ASSERT_EQ(status, 0);
        identity_table_free(table);
}

/* ---- From image to image ------------------------------------------------------------------------------------------ */

typedef struct Declared {
        const char *id;
        uint8_t hash;
} Declared;

static Image *make_image(const Declared *declared, size_t n, uint8_t build) {
        ImageModule *modules;
        ImageState *states;
        ImageType *types;
        ImageHeader *h;
        Image *image;
        Arena arena;

        ASSERT_OK(image_new(&image));
        ASSERT_OK(image_open_arena(image, &arena));
        h = (ImageHeader *) arena.base;
        modules = test_image_array(&arena, &h->modules, 1, sizeof(ImageModule));
        types = test_image_array(&arena, &h->types, 1, sizeof(ImageType));
        states = test_image_array(&arena, &h->states, (uint32_t) n, sizeof(ImageState));
        modules[0] = (ImageModule){ .path = test_image_text(&arena, "/m/file.so"), .build_id_size = 20 };
        memset(modules[0].build_id, build, 20);
        types[0] = (ImageType){ .name = test_image_text(&arena, "file") };
        for (size_t i = 0; i < n; i++) {
                states[i].id = test_image_text(&arena, declared[i].id);
                memset(states[i].hash, declared[i].hash, sizeof(states[i].hash));
        }
        image->header = h;
        return image;
}

TEST(records_go_over_to_states_that_are_still_the_same) {
        static const Declared before[] = { { "file:/a", 1 }, { "file:/b", 1 }, { "file:/c", 1 },
                { "file:/d", 1 } },
                              after[] = { { "file:/new", 1 }, { "file:/d", 1 }, { "file:/b", 2 },
                                      { "file:/a", 1 }, { "file:/c", 1 } };
        Image *old = make_image(before, 4, 1), *new = make_image(after, 5, 1),
              *other = make_image(after, 5, 2);
        StatusTable *status;
        Identity identity;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_OK(status_table_new(old, NULL, f.store, &status));
        identity_adopt(old, status, NULL);
        status_table_free(status);
        ASSERT_OK(identity_make(old->identities, &plain_file, 1, &identity));
        for (uint32_t i = 0; i < 4; i++)
                if (i != 2) /* c was never read */
                        identity_remember(old->identities, i, &identity, 200);

        ASSERT_OK(status_table_new(new, NULL, f.store, &status));
        identity_adopt(new, status, old);
        status_table_free(status);
        /* The same file has the same identity in both. */
        ASSERT_OK(identity_make(new->identities, &plain_file, 1, &identity));
        for (uint32_t i = 0; i < 5; i++)
                ASSERT_EQ(identity_holds(new->identities, i, &identity, 101), i == 1 || i == 3);
        ASSERT_FALSE(identity_holds(new->identities, 1, &identity, 200));

        /* Another module may compare otherwise. */
        ASSERT_OK(status_table_new(other, NULL, f.store, &status));
        identity_adopt(other, status, new);
        status_table_free(status);
        for (uint32_t i = 0; i < 5; i++)
                ASSERT_FALSE(identity_holds(other->identities, i, &identity, 101));

        image_unref(old);
        image_unref(new);
        image_unref(other);
        fixture_done(&f);
}

TEST(images_without_states_or_without_a_table) {
        static const Declared one[] = { { "file:/a", 1 } };
        Image *none = make_image(NULL, 0, 1), *bare = make_image(one, 1, 1), *image = make_image(one, 1, 1);
        StatusTable *status;
        Fixture f;

        fixture_init(&f);
        fixture_open(&f);
        ASSERT_OK(status_table_new(none, NULL, f.store, &status));
        identity_adopt(none, status, bare);
        status_table_free(status);
        ASSERT_NULL(none->identities);
        ASSERT_OK(status_table_new(image, NULL, f.store, &status));
        identity_adopt(image, status, none);
        status_table_free(status);
        ASSERT_NOT_NULL(image->identities);

        image_unref(none);
        image_unref(bare);
        image_unref(image);
        fixture_done(&f);
}

RUN_TESTS(RUN(whatever_changes_is_another_identity), RUN(order_and_number_count),
        RUN(any_number_of_files_are_added_one_by_one), RUN(what_the_file_system_does_not_say_is_no_identity),
        RUN(how_long_is_it_good), RUN(records_do_not_end_all_at_once),
        RUN(file_systems_that_keep_the_promise), RUN(a_record_holds_for_its_state_its_identity_and_its_time),
        RUN(without_a_table_nothing_is_known), RUN(a_child_cannot_write),
        RUN(a_child_sees_what_is_written_later),
        RUN(what_is_read_while_it_is_written_holds_for_nothing_else),
        RUN(records_go_over_to_states_that_are_still_the_same),
        RUN(images_without_states_or_without_a_table))
