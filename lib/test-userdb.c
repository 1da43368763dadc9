/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "paths.h"
#include "userdb.h"

static char top[64];
static int root = -EBADF;

static int setup(_unused_ void **state) {
        (void) snprintf(top, sizeof(top), "/tmp/test-userdb-XXXXXX");
        if (!mkdtemp(top) || path_open_root(top, &root) < 0 || mkdirat(root, "etc", 0755) < 0)
                return -1;
        return 0;
}

static int teardown(_unused_ void **state) {
        char command[128];

        root = safe_close(root);
        (void) snprintf(command, sizeof(command), "rm -rf '%s'", top);
        return system(command) == 0 ? 0 : -1;
}

/* In place, keeping the inode. */
static void write_file(const char *path, const char *content, size_t size) {
        _cleanup_close_ int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(write_full(fd, content, size));
}

#define WRITE(path, content) write_file(path, content, sizeof(content) - 1)

TEST(reads_what_libc_reads) {
        static const struct {
                const char *name;
                int r;
                uid_t id;
        } users[] = {
                { "root", 0, 0 },
                { "ada", 0, 1000 },
                { "short", 0, 7 },
                { "zeros", 0, 8 },
                { "blank", 0, 9 },
                { "extra", 0, 10 },
                { "last", 0, 12 },
                { "twice", 0, 20 }, /* the first line counts */
                { "biggest", 0, 4294967294 },
                { "0", 0, 0 },
                { "1000", 0, 1000 },
                { "4294967294", 0, 4294967294 },
                { "4294967295", -ERANGE, 42 },
                { "99999999999999999999999", -ERANGE, 42 },
                { "", -ESRCH, 42 },
                { "nobody-here", -ESRCH, 42 },
                { "-1", -ESRCH, 42 },
                { "+1", -ESRCH, 42 },
                { "0x10", -ESRCH, 42 },
                { "007", -ESRCH, 42 },
                { "1000 ", -ESRCH, 42 },
                { "ad", -ESRCH, 42 },
                { "ada:x", -ESRCH, 42 },
                { "#comment", -ESRCH, 42 },
                { "+", -ESRCH, 42 },
                { "+nis", -ESRCH, 42 },
                { "nis", -ESRCH, 42 },
                { "-nis", -ESRCH, 42 },
                { "few", -ESRCH, 42 },
                { "noid", -ESRCH, 42 },
                { "hex", -ESRCH, 42 },
                { "negative", -ESRCH, 42 },
                { "none", -ESRCH, 42 },
                { "huge", -ESRCH, 42 },
                { "nul", -ESRCH, 42 },
        };
        static const struct {
                const char *name;
                int r;
                gid_t id;
        } groups[] = {
                { "wheel", 0, 10 },
                { "members", 0, 11 },
                { "short", 0, 12 },
                { "ada", -ESRCH, 42 },
                { "few", -ESRCH, 42 },
                { "77", 0, 77 },
        };
        _cleanup_(userdb_freep) UserDb *db = NULL;

        WRITE("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
                            "#comment:x:50:50::/:/bin/sh\n"
                            "\n"
                            "+\n"
                            "+nis::51::::\n"
                            "-nis:x:52:52:::\n"
                            "short:x:7:7\n"
                            "zeros:x:0008:8:::\n"
                            "  blank:x:9:9:::\n"
                            "extra:x:10:10:::/bin/sh:more:and more\n"
                            "few:x:53\n"
                            "noid:x::54:::\n"
                            "hex:x:0x37:55:::\n"
                            "negative:x:-5:56:::\n"
                            "none:x:4294967295:57:::\n"
                            "huge:x:4294967296:58:::\n"
                            ":x:59:59:::\n"
                            ":::::::::\n"
                            "nul\0:x:60:60:::\n"
                            "biggest:x:4294967294:1:::\n"
                            "ada:x:1000:1000:Ada:/home/ada:/bin/sh\n"
                            "twice:x:20:20:::\n"
                            "twice:x:21:21:::\n"
                            "other:x:1000:1000:::\n"
                            "last:x:12:12:::/bin/sh");
        WRITE("etc/group", "wheel:x:10:ada\nmembers:x:11:ada,root\nshort:x:12\nfew:x\nnone:x:y:\n");

        ASSERT_OK(userdb_new(root, 0, &db));
        for (int round = 0; round < 2; round++) {
                FOREACH_ELEMENT(c, users) {
                        uid_t id = 42;

                        ASSERT_EQ(userdb_user_id(db, c->name, &id), c->r);
                        ASSERT_EQ(id, c->id);
                }
                FOREACH_ELEMENT(c, groups) {
                        gid_t id = 42;

                        ASSERT_EQ(userdb_group_id(db, c->name, &id), c->r);
                        ASSERT_EQ(id, c->id);
                }
        }

        ASSERT_STREQ(userdb_user_name(db, 0), "root");
        ASSERT_STREQ(userdb_user_name(db, 1000), "ada");
        ASSERT_STREQ(userdb_user_name(db, 21), "twice");
        ASSERT_STREQ(userdb_group_name(db, 11), "members");
        ASSERT_NULL(userdb_user_name(db, 51));
        ASSERT_NULL(userdb_user_name(db, 60));
        ASSERT_NULL(userdb_user_name(db, (uid_t) -1));
        ASSERT_NULL(userdb_group_name(db, 1000));
}

TEST(missing_files_are_empty) {
        _cleanup_(userdb_freep) UserDb *db = NULL;
        uid_t id = 42;

        ASSERT_OK(userdb_new(root, 0, &db));
        ASSERT_EQ(userdb_user_id(db, "root", &id), -ESRCH); /* the host has one, this root does not */
        ASSERT_NULL(userdb_user_name(db, 0));
        ASSERT_EQ(userdb_refresh(db), 0);

        WRITE("etc/passwd", "root:x:0:0:::\n");
        ASSERT_EQ(userdb_user_id(db, "root", &id), -ESRCH);
        ASSERT_EQ(userdb_refresh(db), 1);
        ASSERT_OK(userdb_user_id(db, "root", &id));

        ASSERT_OK(unlinkat(root, "etc/passwd", 0));
        ASSERT_OK(unlinkat(root, "etc", AT_REMOVEDIR));
        ASSERT_EQ(userdb_refresh(db), 1);
        ASSERT_EQ(userdb_user_id(db, "root", &id), -ESRCH);
        ASSERT_EQ(userdb_refresh(db), 0);

        userdb_free(NULL);
}

TEST(what_is_not_a_file_is_an_error) {
        _cleanup_(userdb_freep) UserDb *db = NULL;
        uid_t id = 42;

        ASSERT_OK(mkdirat(root, "etc/passwd", 0755));
        ASSERT_OK(userdb_new(root, 0, &db));
        ASSERT_EQ(userdb_user_id(db, "root", &id), -EISDIR);
        ASSERT_OK(userdb_user_id(db, "5", &id)); /* needs no file */
        ASSERT_NULL(userdb_user_name(db, 0));
        ASSERT_EQ(userdb_new(-EBADF, 0, &db), -EBADF);
}

/* As if it had been like that for an hour, so that only its identity tells a change. */
static void age(const char *path) {
        const struct timespec times[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };

        ASSERT_OK(utimensat(root, path, times, 0));
}

TEST(refresh_sees_every_change) {
        _cleanup_(userdb_freep) UserDb *db = NULL;
        const struct timespec tick = { .tv_nsec = 150 * 1000 * 1000 };
        uid_t id = 42;
        gid_t gid = 42;
        struct stat st;
        bool young;
        int r;

        WRITE("etc/passwd", "ada:x:1:1:::\n");
        WRITE("etc/group", "wheel:x:1:\n");
        ASSERT_OK(userdb_new(root, 0, &db));
        ASSERT_EQ(userdb_refresh(db), 0); /* nothing read yet */
        ASSERT_OK(userdb_user_id(db, "ada", &id));
        ASSERT_OK(userdb_group_id(db, "wheel", &gid));

        /* Same size and inode, and perhaps the same times: too young to be believed. */
        WRITE("etc/passwd", "ada:x:2:2:::\n");
        ASSERT_OK(userdb_user_id(db, "ada", &id));
        ASSERT_EQ(id, 1);
        ASSERT_EQ(userdb_refresh(db), 1);
        ASSERT_OK(userdb_user_id(db, "ada", &id));
        ASSERT_EQ(id, 2);

        /* Old enough, unchanged: kept, and so are the names. If what was read was old enough already, since this process was held
         * up, it is kept just now. */
        ASSERT_OK(fstatat(root, "etc/passwd", &st, 0));
        young = now_usec(CLOCK_REALTIME) < (usec_t) st.st_ctim.tv_sec * USEC_PER_SEC +
                                                   (usec_t) st.st_ctim.tv_nsec / NSEC_PER_USEC +
                                                   100 * USEC_PER_MSEC;
        (void) nanosleep(&tick, NULL);
        r = userdb_refresh(db);
        ASSERT_TRUE(r == 1 || (r == 0 && !young));
        ASSERT_OK(userdb_user_id(db, "ada", &id));
        ASSERT_OK(userdb_group_id(db, "wheel", &gid));
        ASSERT_EQ(userdb_refresh(db), 0);
        {
                const char *name = userdb_user_name(db, 2);

                ASSERT_EQ(userdb_refresh(db), 0);
                ASSERT_STREQ(name, "ada");
        }

        /* Only the ctime tells. */
        age("etc/passwd");
        ASSERT_EQ(userdb_refresh(db), 1);
        (void) nanosleep(&tick, NULL);
        ASSERT_OK(userdb_user_id(db, "ada", &id));
        ASSERT_EQ(userdb_refresh(db), 0);
        WRITE("etc/passwd", "ada:x:3:3:::\n");
        age("etc/passwd");
        ASSERT_EQ(userdb_refresh(db), 1);
        ASSERT_OK(userdb_user_id(db, "ada", &id));
        ASSERT_EQ(id, 3);

        /* Replaced, as useradd does; the group file is kept. */
        WRITE("etc/passwd+", "ada:x:4:4:::\n");
        ASSERT_OK(renameat(root, "etc/passwd+", root, "etc/passwd"));
        ASSERT_EQ(userdb_refresh(db), 1);
        ASSERT_OK(userdb_user_id(db, "ada", &id));
        ASSERT_EQ(id, 4);
        ASSERT_OK(userdb_group_id(db, "wheel", &gid));
        ASSERT_EQ(gid, 1);
}

TEST(ten_thousand_users_are_quick) {
        _cleanup_(userdb_freep) UserDb *db = NULL;
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        FILE *file;
        usec_t begin, loaded, done;

        file = open_memstream(&text, &size);
        ASSERT_NOT_NULL(file);
        for (unsigned i = 0; i < 10000; i++)
                fprintf(file, "user%u:x:%u:%u:Number %u:/home/user%u:/bin/sh\n", i, 1000 + i, 1000 + i, i,
                        i);
        ASSERT_OK(fclose(file));
        write_file("etc/passwd", text, size);

        begin = now_usec(CLOCK_PROCESS_CPUTIME_ID);
        ASSERT_OK(userdb_new(root, 0, &db));
        ASSERT_STREQ(userdb_user_name(db, 1000), "user0");
        loaded = now_usec(CLOCK_PROCESS_CPUTIME_ID);
        for (unsigned i = 0; i < 10000; i++) {
                char name[32];
                uid_t id;

                (void) snprintf(name, sizeof(name), "user%u", i);
                ASSERT_OK(userdb_user_id(db, name, &id));
                ASSERT_EQ(id, 1000 + i);
                ASSERT_STREQ(userdb_user_name(db, id), name);
        }
        done = now_usec(CLOCK_PROCESS_CPUTIME_ID);
        print_message("# loaded in %s, 20000 lookups in %s\n", FORMAT_TIMESPAN(loaded - begin),
                FORMAT_TIMESPAN(done - loaded));

        /* Some hundred times what it takes, and a hundredth of what a linear search would. */
        ASSERT_TRUE(done - begin < 2 * USEC_PER_SEC);
}

TEST(the_host_has_root) {
        _cleanup_(userdb_freep) UserDb *db = NULL, *files = NULL;
        _cleanup_close_ int host = -EBADF;
        uid_t id = 42;

        ASSERT_OK(path_open_root("/", &host));
        ASSERT_OK(userdb_new(host, 0, &db));
        ASSERT_OK(userdb_user_id(db, "root", &id));
        ASSERT_EQ(id, 0);
        ASSERT_STREQ(userdb_user_name(db, 0), "root");

        /* Twice: the second answer is what NSS said the first time. */
        for (int i = 0; i < 2; i++) {
                id = 42;
                ASSERT_EQ(userdb_user_id(db, "no-such-user-here", &id), -ESRCH);
                ASSERT_EQ(userdb_group_id(db, "no-such-group-here", &id), -ESRCH);
                ASSERT_EQ(id, 42);
                ASSERT_NULL(userdb_user_name(db, 3999999999));
                ASSERT_NULL(userdb_group_name(db, 3999999999));
        }
        ASSERT_TRUE(userdb_refresh(db) >= 0);

        ASSERT_OK(userdb_new(host, USERDB_NO_NSS, &files));
        ASSERT_EQ(userdb_user_id(files, "no-such-user-here", &id), -ESRCH);
}

/* NSS is made to know more than the files by changing /etc/passwd, for us alone, after it has been read. */
TEST(the_host_asks_nss) {
        _cleanup_(userdb_freep) UserDb *db = NULL, *files = NULL;
        _cleanup_close_ int host = -EBADF;
        char path[96];
        uid_t id = 42;

        if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
                mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                print_message("# needs root and a mount namespace\n");
                skip();
        }

        ASSERT_OK(path_open_root("/", &host));
        ASSERT_OK(userdb_new(host, 0, &db));
        ASSERT_OK(userdb_new(host, USERDB_NO_NSS, &files));
        ASSERT_OK(userdb_user_id(db, "root", &id));
        ASSERT_OK(userdb_user_id(files, "root", &id));

        WRITE("etc/passwd", "root:x:0:0:::\nlater:x:3999999998:1:::\n");
        (void) snprintf(path, sizeof(path), "%s/etc/passwd", top);
        ASSERT_OK(mount(path, "/etc/passwd", NULL, MS_BIND, NULL));
        ASSERT_STREQ(userdb_user_name(db, 3999999998), "later");
        ASSERT_OK(userdb_user_id(db, "later", &id));
        ASSERT_EQ(id, 3999999998);
        ASSERT_NULL(userdb_user_name(files, 3999999998));
        ASSERT_EQ(userdb_user_id(files, "later", &id), -ESRCH);

        /* Kept until the next refresh. */
        ASSERT_OK(umount2("/etc/passwd", MNT_DETACH));
        ASSERT_STREQ(userdb_user_name(db, 3999999998), "later");
        ASSERT_OK(userdb_user_id(db, "later", &id));
        ASSERT_TRUE(userdb_refresh(db) >= 0);
        ASSERT_NULL(userdb_user_name(db, 3999999998));
        ASSERT_EQ(userdb_user_id(db, "later", &id), -ESRCH);
}

#define RUN_IN_TREE(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

RUN_TESTS(RUN_IN_TREE(reads_what_libc_reads), RUN_IN_TREE(missing_files_are_empty),
        RUN_IN_TREE(what_is_not_a_file_is_an_error), RUN_IN_TREE(refresh_sees_every_change),
        RUN_IN_TREE(ten_thousand_users_are_quick), RUN(the_host_has_root), RUN_IN_TREE(the_host_asks_nss))
