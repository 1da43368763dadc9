/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "path-watch-internal.h"
#include "test.h"

#define DEADLINE_USEC (30 * USEC_PER_SEC)

static sd_event *event;
static PathWatch *watch;
static char top[PATH_MAX];
static unsigned n_changed, n_overflows, n_armed;
static char *error;
static bool free_when_told;

/* ---- Helpers --------------------------------------------------------------------------------------------------- */

static uint32_t told; /* a bit for each index below 32 */

static void on_changed(_unused_ void *userdata, const uint32_t *indices, size_t n, bool overflow) {
        ASSERT_TRUE(n > 0 || overflow);
        for (size_t i = 0; i < n; i++)
                if (indices[i] < 32)
                        told |= UINT32_C(1) << indices[i];
        n_changed++;
        n_overflows += overflow;
        if (free_when_told)
                watch = path_watch_free(watch);
}

static void on_armed(_unused_ void *userdata, const char *e) {
        n_armed++;
        free(error);
        error = e ? strdup(e) : NULL;
        if (free_when_told)
                watch = path_watch_free(watch);
}

static const PathWatchHandlers handlers = { .on_changed = on_changed, .on_armed = on_armed };

static int setup(_unused_ void **state) {
        const char *base = getenv("TMPDIR");
        sigset_t mask;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        ASSERT_OK(sigprocmask(SIG_BLOCK, &mask, NULL));
        ASSERT_TRUE(snprintf(top, sizeof(top), "%s/test-path-watch-XXXXXX", base ?: "/tmp") > 0);
        ASSERT_NOT_NULL(mkdtemp(top));
        ASSERT_OK(sd_event_new(&event));
        n_changed = n_overflows = n_armed = told = 0;
        free_when_told = false;
        ASSERT_OK(path_watch_new(event, &handlers, NULL, &watch));
        return 0;
}

static int remove_one(
        const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *f) {
        return remove(path);
}

static int teardown(_unused_ void **state) {
        path_watch_arm_hook = NULL;
        path_watch_arm_usec = PATH_WATCH_ARM_USEC;
        watch = path_watch_free(watch);
        event = sd_event_unref(event);
        free(error);
        error = NULL;
        (void) nftw(top, remove_one, 64, FTW_DEPTH | FTW_PHYS);
        return 0;
}

/* A path below the temporary directory; good for the next 16 calls. */
static const char *at(const char *path) {
        static char ring[16][PATH_MAX];
        static unsigned next;
        char *p = ring[next++ % ELEMENTSOF(ring)];

        ASSERT_TRUE((size_t) snprintf(p, PATH_MAX, "%s/%s", top, path) < PATH_MAX);
        return p;
}

static void write_file(const char *path, const char *text) {
        _cleanup_close_ int fd = open(at(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(write_full(fd, text, strlen(text)));
}

static void make_directory(const char *path) {
        ASSERT_OK(mkdir(at(path), 0755));
}

static void move(const char *from, const char *to) {
        ASSERT_OK(rename(at(from), at(to)));
}

static void make_link(const char *target, const char *path) {
        ASSERT_OK(symlink(target, at(path)));
}

static void run_once(usec_t deadline) {
        usec_t now = now_usec(CLOCK_MONOTONIC);

        ASSERT_TRUE(now < deadline);
        ASSERT_TRUE(sd_event_run(event, deadline - now) >= 0);
}

static void run_until(const unsigned *counter, unsigned n) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;

        while (*counter < n)
                run_once(deadline);
}

/* Until nothing is under way any more, and no event unread. */
static void run_until_idle(void) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;

        for (;;) {
                int r = sd_event_run(event, 0);

                ASSERT_TRUE(r >= 0);
                if (r > 0)
                        continue;
                if (!watch || path_watch_is_idle(watch))
                        return;
                run_once(deadline);
        }
}

static void identify(const char *path, PathIdentity *ret) {
        struct stat st;

        *ret = (PathIdentity){};
        if (stat(at(path), &st) < 0)
                return;
        *ret = (PathIdentity){
                .device = st.st_dev,
                .inode = st.st_ino,
                .size = (uint64_t) st.st_size,
                .mtime_nsec = st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
                .ctime_nsec = st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec,
        };
}

/* Watches these, and waits until all is armed and quiet. A path with a slash at its end: with its entries. */
static void arm_max(size_t max, const char *path, ...) {
        PathToWatch list[16];
        size_t n = 0;
        va_list ap;

        va_start(ap, path);
        for (; path; path = va_arg(ap, const char *))
                list[n++] = (PathToWatch){
                        .path = path[0] == '/' ? path : at(path),
                        .entries = endswith(path, "/"),
                };
        va_end(ap);
        n_armed = 0;
        ASSERT_OK(path_watch_set(watch, list, n, max));
        ASSERT_EQ(n_armed, 0);
        run_until(&n_armed, 1);
        assert_false(path_watch_is_arming(watch));
        run_until_idle();
        n_changed = n_overflows = n_armed = told = 0;
}

#define arm(...) arm_max(SIZE_MAX, __VA_ARGS__, NULL)

static void expect_change(void) {
        run_until(&n_changed, 1);
        run_until_idle();
        n_changed = n_overflows = told = 0;
}

/* Just these of the list, a bit each. */
static void expect_told(uint32_t bits) {
        run_until(&n_changed, 1);
        run_until_idle();
        ASSERT_EQ(told, bits);
        ASSERT_EQ(n_overflows, 0);
        n_changed = told = 0;
}

static void expect_silence(void) {
        run_until_idle();
        ASSERT_EQ(n_changed, 0);
}

/* The kernel's watches are those that we count, whatever was killed on the way. */
static size_t kernel_count(void) {
        size_t n = 0;

        for (int fd = 3; fd < 64; fd++) {
                _cleanup_fclose_ FILE *file = NULL;
                char path[64], line[512];

                (void) snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
                file = fopen(path, "re");
                while (file && fgets(line, sizeof(line), file))
                        n += strncmp(line, "inotify wd:", 11) == 0;
        }
        return n;
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

static void do_write(void) {
        write_file("d/f", "other");
}
static void do_append(void) {
        _cleanup_close_ int fd = open(at("d/f"), O_WRONLY | O_APPEND | O_CLOEXEC);

        ASSERT_OK(write_full(fd, "x", 1));
        /* Also while it is still open. */
        expect_change();
        ASSERT_OK(write_full(fd, "x", 1));
}
static void do_replace(void) {
        write_file("d/.temporary", "other");
        expect_silence();
        move("d/.temporary", "d/f");
}
static void do_rename(void) {
        move("d/f", "d/g");
}
static void do_remove(void) {
        ASSERT_OK(unlink(at("d/f")));
}
static void do_chmod(void) {
        ASSERT_OK(chmod(at("d/f"), 0600));
}
static void do_touch(void) {
        ASSERT_OK(utimensat(AT_FDCWD, at("d/f"), NULL, 0));
}
static void do_link(void) {
        ASSERT_OK(unlink(at("d/f")));
        expect_change();
        make_link("g", "d/f");
        expect_change();
        write_file("d/g", "behind the link");
        expect_change();
        write_file("d/g", "and again");
}
static void do_directory(void) {
        ASSERT_OK(unlink(at("d/f")));
        make_directory("d/f");
}

TEST(file_changes) {
        static void (*const changes[])(void) = {
                do_write,
                do_append,
                do_replace,
                do_rename,
                do_remove,
                do_chmod,
                do_touch,
                do_link,
                do_directory,
        };

        make_directory("d");
        write_file("d/f", "content");
        FOREACH_ELEMENT(change, changes) {
                arm("d/f");
                ASSERT_NULL(error);
                (*change)();
                expect_change();

                /* It is still watched. */
                (void) remove(at("d/f"));
                (void) remove(at("d/g"));
                run_until_idle();
                n_changed = 0;
                write_file("d/f", "content");
                expect_change();
                expect_silence();
        }
}

TEST(others_do_not_count) {
        make_directory("d");
        write_file("d/f", "content");
        arm("d/f", "d/absent", "x/y/z");
        write_file("d/g", "content");
        write_file("d/f2", "content");
        make_directory("d/e");
        write_file("d/e/f", "content");
        write_file("g", "content");
        ASSERT_OK(chmod(top, 0700));
        ASSERT_OK(chmod(at("d"), 0700));
        expect_silence();
        write_file("d/f", "other");
        expect_change();
}

TEST(absent_file_appears) {
        make_directory("d");
        arm("d/f");
        expect_silence();
        write_file("d/f", "content");
        expect_change();
        write_file("d/f", "other");
        expect_change();
}

TEST(absent_directories_appear_step_by_step) {
        arm("a/b/c/f");
        make_directory("a");
        expect_change();
        make_directory("a/b");
        expect_change();
        make_directory("a/b/c");
        expect_change();
        write_file("a/b/c/g", "not this one");
        expect_silence();
        write_file("a/b/c/f", "content");
        expect_change();
        write_file("a/b/c/f", "other");
        expect_change();
        ASSERT_EQ(rename(at("a/b/c/f"), at("a/b/c/h")), 0);
        expect_change();
}

/* All at once: no event tells of what is made in a directory before it is watched. */
TEST(absent_directories_appear_at_once) {
        arm("a/b/c/f");
        make_directory("a");
        make_directory("a/b");
        make_directory("a/b/c");
        write_file("a/b/c/f", "content");
        expect_change();
        write_file("a/b/c/f", "other");
        expect_change();
}

/* Between the event and the new watch, things happen that only the second report tells. */
TEST(what_happens_before_the_watch_is_told_after_it) {
        arm("a/f");
        make_directory("a");
        run_until(&n_changed, 1);
        n_changed = 0;
        write_file("a/f", "nobody watches yet");
        expect_change();
}

TEST(directory_replaced) {
        make_directory("a");
        make_directory("a/b");
        make_directory("a/b/c");
        write_file("a/b/c/f", "content");
        arm("a/b/c/f");
        ASSERT_TRUE(path_watch_count(watch) >= 4);

        for (int i = 0; i < 3; i++) {
                size_t count = path_watch_count(watch);

                move("a/b", "a/old");
                expect_change();
                make_directory("a/b");
                make_directory("a/b/c");
                expect_change();
                /* In the new one, not in the old one. */
                write_file("a/old/c/f", "content");
                expect_silence();
                write_file("a/b/c/f", "content");
                expect_change();
                ASSERT_EQ(path_watch_count(watch), count);
                ASSERT_OK(nftw(at("a/old"), remove_one, 16, FTW_DEPTH | FTW_PHYS));
                expect_silence();
        }

        /* In one go. */
        make_directory("a/new");
        make_directory("a/new/c");
        write_file("a/new/c/f", "new");
        ASSERT_OK(renameat2(AT_FDCWD, at("a/new"), AT_FDCWD, at("a/b"), RENAME_EXCHANGE));
        expect_change();
        ASSERT_EQ(kernel_count(), path_watch_count(watch));
        write_file("a/new/c/f", "the old one");
        expect_silence();
        write_file("a/b/c/f", "newer");
        expect_change();

        ASSERT_OK(nftw(at("a"), remove_one, 16, FTW_DEPTH | FTW_PHYS));
        expect_change();
        ASSERT_TRUE(path_watch_count(watch) >= 1);
        expect_silence();
}

/* ---- Links ----------------------------------------------------------------------------------------------------- */

TEST(link_repointed) {
        make_directory("one");
        make_directory("two");
        make_directory("d");
        write_file("one/f", "1");
        write_file("two/f", "2");
        make_link("../one", "d/current");
        arm("d/current/f");
        write_file("two/f", "not yet");
        expect_silence();
        write_file("one/f", "1a");
        expect_change();

        for (int i = 0; i < 3; i++) {
                size_t count = path_watch_count(watch);

                make_link(i % 2 == 0 ? at("two") : "../one", "d/.temporary");
                move("d/.temporary", "d/current");
                expect_change();
                write_file(i % 2 == 0 ? "two/f" : "one/f", "new");
                expect_change();
                write_file(i % 2 == 0 ? "one/f" : "two/f", "old");
                expect_silence();
                ASSERT_EQ(path_watch_count(watch), count);
        }
}

TEST(links_of_all_kinds) {
        static const struct {
                const char *target; /* of d/l */
                const char *path, *leads_to;
        } cases[] = {
                { "f", "d/l", "d/f" },
                { "./f", "d/l", "d/f" },
                { "../e/f", "d/l", "e/f" },
                { "..", "d/l/e/f", "e/f" },
                { "../../d/../e/", "x/../d/l/f", NULL },
                { "../d/../e/", "d/l/f", "e/f" },
                { "../e/sub/../f", "d/l", "e/f" },
                { "../e/link/../f", "d/l", "e/f" }, /* e/link leads to sub/deep: its ".." is sub */
                { "../e/link/..", "d/l/g", "e/sub/g" },
                { "chain", "d/l", "e/f" },
                { "missing", "d/l", "d/missing" },
                { "missing/../f", "d/l", "d/missing" },
                { "../../../../../../../../../../../../../../../../", "d/l", NULL },
        };

        FOREACH_ELEMENT(c, cases) {
                make_directory("d");
                make_directory("e");
                make_directory("e/sub");
                make_directory("e/sub/deep");
                make_link("sub/deep", "e/link");
                make_link("../d/chain2", "d/chain");
                make_link("../e/f", "d/chain2");
                make_link(c->target, "d/l");
                if (streq(c->target, "../e/link/../f")) {
                        arm(c->path);
                        write_file("e/f", "it is sub that the link leads to");
                        expect_silence();
                        write_file("e/sub/f", "here");
                        expect_change();
                } else {
                        arm(c->path);
                        if (c->leads_to) {
                                write_file(c->leads_to, "content");
                                expect_change();
                                ASSERT_OK(chmod(at(c->leads_to), 0600));
                                expect_change();
                        }
                        expect_silence();
                }
                if (!strstr(c->path, "..")) {
                        ASSERT_OK(unlink(at("d/l")));
                        expect_change();
                }
                ASSERT_OK(nftw(at("d"), remove_one, 16, FTW_DEPTH | FTW_PHYS));
                ASSERT_OK(nftw(at("e"), remove_one, 16, FTW_DEPTH | FTW_PHYS));
                run_until_idle();
        }
}

TEST(the_middle_of_a_chain_changes) {
        make_directory("d");
        make_directory("e");
        make_link("../e/middle", "d/l");
        make_link("../d/a", "e/middle");
        write_file("d/a", "a");
        write_file("d/b", "b");
        arm("d/l");
        write_file("d/b", "b");
        expect_silence();
        make_link("../d/b", "e/new");
        move("e/new", "e/middle");
        expect_change();
        write_file("d/b", "b");
        expect_change();
        write_file("d/a", "a");
        expect_silence();
        ASSERT_OK(unlink(at("e/middle")));
        expect_change();
}

/* A directory that is on the way to one place holds another, which is only then found. */
TEST(link_into_a_directory_on_the_way) {
        make_directory("d");
        make_directory("d/sub");
        write_file("d/g", "content");
        make_link("d/sub/x", "l1");
        make_link("d/g", "l2");
        for (int i = 0; i < 2; i++) {
                arm(i == 0 ? "l1" : "l2", i == 0 ? "l2" : "l1");
                write_file("d/g", "other");
                expect_change();
                ASSERT_OK(path_watch_set(watch, NULL, 0, SIZE_MAX));
                run_until_idle();
        }
}

TEST(circle_of_links) {
        make_link("b", "a");
        make_link("a", "b");
        make_link("self", "self");
        make_link("down/x", "down");
        arm("a", "b/f", "self", "down");
        ASSERT_NULL(error);
        ASSERT_OK(unlink(at("b")));
        expect_change();
        write_file("b", "content");
        expect_change();
        write_file("b", "other");
        expect_change();
}

TEST(link_whose_target_s_directory_is_replaced) {
        make_directory("t");
        make_directory("t/u");
        write_file("t/u/f", "content");
        make_link(at("t/u/f"), "l");
        arm("l");
        move("t", "old");
        expect_change();
        make_directory("t");
        make_directory("t/u");
        expect_change();
        write_file("t/u/f", "content");
        expect_change();
        write_file("old/u/f", "content");
        expect_silence();
}

/* ---- Entries --------------------------------------------------------------------------------------------------- */

TEST(entries) {
        arm("d/", "e");
        make_directory("d");
        make_directory("e");
        expect_change();
        write_file("d/f", "content");
        expect_change();
        ASSERT_OK(chmod(at("d/f"), 0600));
        expect_change();
        move("d/f", "d/g");
        expect_change();
        move("d/g", "e/g"); /* out of it */
        expect_change();
        write_file("e/g", "not with its entries");
        expect_silence();
        make_directory("d/sub");
        expect_change();
        write_file("d/sub/f", "not an entry");
        expect_silence();

        ASSERT_OK(nftw(at("d"), remove_one, 16, FTW_DEPTH | FTW_PHYS));
        expect_change();
        make_link("e", "d");
        expect_change();
        write_file("e/g", "now it is");
        expect_change();
}

TEST(root_with_entries) {
        arm("/", at("f"));
        expect_silence();
        ASSERT_EQ(path_watch_count(watch) > 1, true);
}

/* ---- Identity -------------------------------------------------------------------------------------------------- */

static unsigned arm_with(const char *path, const PathIdentity *identity) {
        const PathToWatch list[] = { { .path = at(path), .identity = identity } };

        n_changed = n_armed = 0;
        ASSERT_OK(path_watch_set(watch, list, 1, SIZE_MAX));
        if (identity)
                assert_true(path_watch_is_arming(watch));
        run_until(&n_armed, 1);
        run_until_idle();
        return n_changed;
}

TEST(identity_at_arming) {
        PathIdentity file, link, nothing = {};

        make_directory("d");
        write_file("d/f", "content");
        make_link("f", "d/l");
        identify("d/f", &file);
        ASSERT_EQ(arm_with("d/f", &file), 0);
        ASSERT_EQ(arm_with("d/f", NULL), 0);
        ASSERT_TRUE(arm_with("d/f", &nothing) > 0);
        ASSERT_EQ(arm_with("d/absent", &nothing), 0);
        ASSERT_EQ(arm_with("no/absent", &nothing), 0);
        ASSERT_TRUE(arm_with("d/absent", &file) > 0);
        ASSERT_TRUE(arm_with("no/absent", &file) > 0);

        /* What is at the end of a link, or the link. */
        ASSERT_EQ(arm_with("d/l", &file), 0);
        {
                struct stat st;

                ASSERT_OK(lstat(at("d/l"), &st));
                link = (PathIdentity){
                        .device = st.st_dev,
                        .inode = st.st_ino,
                        .size = (uint64_t) st.st_size,
                        .mtime_nsec = st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
                        .ctime_nsec = st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec,
                };
        }
        ASSERT_EQ(arm_with("d/l", &link), 0);
        ASSERT_TRUE(arm_with("d/l", &nothing) > 0);

        for (size_t i = 0; i < 5; i++) {
                PathIdentity other = file;

                other.device += i == 0;
                other.inode += i == 1;
                other.size += i == 2;
                other.mtime_nsec += i == 3;
                other.ctime_nsec += i == 4;
                ASSERT_TRUE(arm_with("d/f", &other) > 0);
                ASSERT_TRUE(arm_with("d/l", &other) > 0);
        }

        /* A link on the way to nothing is no reason to find nothing the same. */
        make_link("../d", "d/self");
        ASSERT_TRUE(arm_with("d/self/f", &nothing) > 0);
        ASSERT_EQ(arm_with("d/self/f", &file), 0);
        ASSERT_EQ(arm_with("d/self/no", &nothing), 0);
}

/* ---- Many ------------------------------------------------------------------------------------------------------ */

static void arm_many(size_t n, size_t n_directories, size_t max) {
        PathToWatch *list = calloc(n, sizeof(*list));

        ASSERT_NOT_NULL(list);
        for (size_t i = 0; i < n; i++) {
                char *path;

                ASSERT_TRUE(asprintf(&path, "%s/d%05zu/file-%05zu", top, i % n_directories, i) > 0);
                list[i].path = path;
        }
        n_armed = 0;
        ASSERT_OK(path_watch_set(watch, list, n, max));
        for (size_t i = 0; i < n; i++)
                free((char *) list[i].path);
        free(list);
        run_until(&n_armed, 1);
        run_until_idle();
        n_changed = n_armed = 0;
}

static void make_directories(size_t n) {
        char name[32];

        for (size_t i = 0; i < n; i++) {
                (void) snprintf(name, sizeof(name), "d%05zu", i);
                make_directory(name);
        }
}

TEST(thousands_of_files_dropped) {
        char name[64];
        size_t ways;

        make_directories(10);
        arm("d00000/file-00000");
        ways = path_watch_count(watch) - 1;
        arm_many(5000, 10, SIZE_MAX);
        ASSERT_NULL(error);
        ASSERT_EQ(path_watch_count(watch), ways + 10);
        for (size_t i = 0; i < 5000; i++) {
                (void) snprintf(name, sizeof(name), "d%05zu/file-%05zu", i % 10, i);
                write_file(name, "content");
        }
        run_until(&n_changed, 1);
        run_until_idle();
        /* Not for each. */
        ASSERT_TRUE(n_changed < 100);
        n_changed = 0;
        write_file("d00003/file-04993", "other");
        expect_change();
        write_file("d00003/file-04994", "in another directory");
        expect_silence();

        arm("d00000/file-00000");
        ASSERT_EQ(path_watch_count(watch), ways + 1);
}

/* In a directory, and more than the kernel's queue takes. Links, since they are the cheapest for a disk. */
static void many_changes(const char *path) {
        write_file("one", "content");
        for (int i = 0; i < 20000; i++) {
                ASSERT_OK(link(at("one"), at(path)));
                ASSERT_OK(unlink(at(path)));
        }
}

/* Nobody reads meanwhile. */
TEST(queue_overflow) {
        make_directory("d");
        make_directory("e");
        arm("d/", "e/f");
        many_changes("d/x");
        run_until(&n_overflows, 1);
        run_until_idle();
        n_changed = n_overflows = 0;
        write_file("e/f", "content");
        expect_change();
}

/* What comes and goes while events are lost. */
TEST(directory_made_during_an_overflow) {
        make_directory("d");
        arm("d/", "e/f");
        many_changes("d/x");
        make_directory("e");
        run_until(&n_overflows, 1);
        run_until_idle();
        n_changed = n_overflows = 0;
        write_file("e/f", "content");
        expect_change();
}

TEST(limit) {
        size_t ways;

        make_directories(8);
        arm("f");
        ways = path_watch_count(watch);
        arm_max(ways + 3, "d00000/f", "d00001/f", "d00002/f", "d00003/f", "d00004/f", "f", NULL);
        ASSERT_EQ(path_watch_count(watch), ways + 3);
        ASSERT_NOT_NULL(error);
        ASSERT_NOT_NULL(strstr(error, "2 of 6 paths are not watched"));
        ASSERT_NOT_NULL(strstr(error, "the limit of"));
        write_file("f", "content");
        expect_change();

        /* More room, later. */
        arm_max(ways + 5, "d00000/f", "d00001/f", "d00002/f", "d00003/f", "d00004/f", "f", NULL);
        ASSERT_NULL(error);
        write_file("d00000/f", "content");
        expect_change();
        write_file("d00004/f", "content");
        expect_change();

        arm_max(0, "d00006/f", NULL);
        ASSERT_NOT_NULL(error);
        arm_max(1, "d00007/f", NULL);
        ASSERT_NOT_NULL(error);
}

/* A link that is repointed at the limit: the old watch goes, then there is room. */
TEST(room_at_the_limit) {
        size_t count;

        make_directories(2);
        make_link("d00000", "l");
        arm("l/f");
        count = path_watch_count(watch);
        arm_max(count, "l/f", NULL);
        ASSERT_NULL(error);
        make_link("d00001", "m");
        move("m", "l");
        expect_change();
        ASSERT_NULL(error);
        write_file("d00001/f", "content");
        expect_change();
        ASSERT_EQ(path_watch_count(watch), count);
}

TEST(bad_paths) {
        char *longest = malloc(PATH_MAX + 16);

        ASSERT_NOT_NULL(longest);
        memset(longest, 'x', PATH_MAX + 15);
        longest[0] = '/';
        longest[PATH_MAX + 15] = '\0';
        {
                const PathToWatch list[] = {
                        { .path = "" },
                        { .path = "relative" },
                        { .path = "/a/../b" },
                        { .path = longest },
                        { .path = at("f") },
                        { .path = at("./f//") },
                };

                ASSERT_OK(path_watch_set(watch, list, ELEMENTSOF(list), SIZE_MAX));
        }
        free(longest);
        run_until(&n_armed, 1);
        ASSERT_NOT_NULL(error);
        ASSERT_NOT_NULL(strstr(error, "4 of 5 paths are not watched"));
        write_file("f", "content");
        expect_change();
}

/* ---- The list changes ------------------------------------------------------------------------------------------ */

TEST(set_replaced) {
        make_directory("d");
        make_directory("e");
        arm("d/f", "e/f");
        arm("d/f", "d/g");
        write_file("e/f", "not any more");
        expect_silence();
        write_file("d/g", "new");
        expect_change();
        write_file("d/f", "kept");
        expect_change();

        ASSERT_OK(path_watch_set(watch, NULL, 0, SIZE_MAX));
        run_until(&n_armed, 1);
        run_until_idle();
        ASSERT_EQ(path_watch_count(watch), 0);
        n_changed = 0;
        write_file("d/f", "not any more");
        expect_silence();
        arm("d/f");
        write_file("d/f", "again");
        expect_change();
}

/* What stays is watched all the time: no event is lost however often the list is set. */
TEST(set_while_events_come) {
        make_directory("d");
        arm("d/f");
        for (unsigned i = 0; i < 50; i++) {
                const PathToWatch list[] = { { .path = at("d/f") },
                        { .path = at(i % 2 == 0 ? "d/a" : "d/b") } };

                n_changed = n_armed = 0;
                write_file("d/f", "before");
                ASSERT_OK(path_watch_set(watch, list, 2, SIZE_MAX));
                ASSERT_EQ(n_changed, 0);
                if (i % 3 == 0)
                        run_until(&n_changed, 1);
                write_file("d/f", "while it arms");
                if (i % 3 == 1)
                        run_until(&n_armed, 1);
                n_changed = 0;
                write_file("d/f", "after");
                expect_change();
        }
}

/* The child stops at a path until the test lets it go on. */
static void hook_stop_at_m(const char *path) {
        if (endswith(path, "/m"))
                (void) raise(SIGSTOP);
}

/* Return: the child that has stopped. */
static pid_t wait_for_stop(void) {
        pid_t pid = path_watch_child_pid(watch);
        siginfo_t si;

        ASSERT_TRUE(pid > 0);
        ASSERT_OK(waitid(P_PID, (id_t) pid, &si, WSTOPPED | WNOWAIT));
        return pid;
}

static void hook_hang_at_m(const char *path) {
        while (endswith(path, "/m"))
                (void) pause();
}

static void hook_die_at_m(const char *path) {
        if (endswith(path, "/m"))
                (void) raise(SIGKILL);
}

static void start(const char *path, ...) {
        PathToWatch list[16];
        size_t n = 0;
        va_list ap;

        va_start(ap, path);
        for (; path; path = va_arg(ap, const char *))
                list[n++] = (PathToWatch){ .path = at(path) };
        va_end(ap);
        n_armed = n_changed = n_overflows = 0;
        ASSERT_OK(path_watch_set(watch, list, n, SIZE_MAX));
}

TEST(set_replaced_while_the_child_runs) {
        pid_t first;

        make_directory("d");
        make_directory("e");
        write_file("d/f", "content");
        path_watch_arm_hook = hook_hang_at_m;
        start("d/f", "m", "e/f", NULL);
        first = path_watch_child_pid(watch);
        ASSERT_TRUE(first > 0);
        start("d/f", "e/g", NULL);
        ASSERT_TRUE(path_watch_child_pid(watch) != first);
        run_until(&n_armed, 1);
        run_until_idle();
        ASSERT_EQ(n_armed, 1);
        ASSERT_NULL(error);
        n_changed = 0;
        write_file("d/f", "content");
        expect_change();
        write_file("e/f", "not in the list");
        expect_silence();
        write_file("e/g", "content");
        expect_change();

        /* And by nothing. */
        start("d/f", "m", NULL);
        ASSERT_OK(path_watch_set(watch, NULL, 0, SIZE_MAX));
        ASSERT_EQ(path_watch_child_pid(watch), 0);
        run_until(&n_armed, 1);
        run_until_idle();
        ASSERT_EQ(path_watch_count(watch), 0);
}

TEST(nothing_is_left_in_the_kernel) {
        make_directories(300);
        for (int i = 0; i < 20; i++) {
                pid_t pid;

                start("d00000/f", "d00001/f", "d00002/f", NULL);
                arm_many(300, 300, SIZE_MAX);
                start("d00001/f", "d00007/f", NULL);
                pid = path_watch_child_pid(watch);
                if (i % 2 == 0)
                        ASSERT_OK(kill(pid, SIGKILL));
        }
        run_until_idle();
        ASSERT_EQ(kernel_count(), path_watch_count(watch));
        n_changed = 0;
        write_file("d00007/f", "content");
        expect_change();
        ASSERT_EQ(kernel_count(), path_watch_count(watch));
}

/* Of a child that is killed nobody knows what it has armed; the next one looks. */
TEST(nothing_is_left_of_a_killed_child) {
        make_directories(3);
        path_watch_arm_hook = hook_stop_at_m;
        start("m", "d00000/f", "d00001/f", NULL);
        (void) wait_for_stop();
        path_watch_arm_hook = NULL;
        arm("d00002/f");
        ASSERT_EQ(kernel_count(), path_watch_count(watch));
}

/* ---- The child does not do what it should ---------------------------------------------------------------------- */

TEST(child_killed_in_the_middle) {
        make_directories(3);
        path_watch_arm_hook = hook_stop_at_m;
        for (int i = 0; i < 3; i++) {
                start("d00000/f", "m", "d00001/f", "d00002/f", NULL);
                path_watch_arm_hook = NULL;
                ASSERT_OK(kill(wait_for_stop(), SIGKILL));
                run_until(&n_armed, 1);
                run_until_idle();
                ASSERT_NULL(error);
                n_changed = 0;
                write_file("d00000/f", "content");
                expect_change();
                write_file("m", "content");
                expect_change();
                write_file("d00002/f", "content");
                expect_change();
                ASSERT_EQ(kernel_count(), path_watch_count(watch));
                path_watch_arm_hook = hook_stop_at_m;
                ASSERT_OK(path_watch_set(watch, NULL, 0, SIZE_MAX));
        }
}

TEST(path_that_kills) {
        make_directories(2);
        path_watch_arm_hook = hook_die_at_m;
        start("d00000/f", "m", "d00001/f", NULL);
        run_until(&n_armed, 1);
        run_until_idle();
        ASSERT_NOT_NULL(error);
        ASSERT_NOT_NULL(strstr(error, "1 of 3 paths is not watched"));
        ASSERT_NOT_NULL(strstr(error, "/m'"));
        ASSERT_EQ(n_armed, 1);
        n_changed = 0;
        write_file("d00000/f", "content");
        expect_change();
        write_file("d00001/f", "content");
        expect_change();
        ASSERT_EQ(n_armed, 1);

        /* The next list tries it again. */
        path_watch_arm_hook = NULL;
        arm("m", "d00000/f");
        ASSERT_NULL(error);
        write_file("m", "content");
        expect_change();
}

TEST(path_that_hangs) {
        make_directories(2);
        path_watch_arm_hook = hook_hang_at_m;
        path_watch_arm_usec = USEC_PER_SEC;
        start("d00000/f", "m", "d00001/m", "d00001/f", NULL);
        run_until(&n_armed, 1);
        run_until_idle();
        ASSERT_NOT_NULL(error);
        ASSERT_NOT_NULL(strstr(error, "2 of 4 paths are not watched"));
        ASSERT_NOT_NULL(strstr(error, "did not answer"));
        ASSERT_EQ(n_armed, 1);
        n_changed = 0;
        write_file("d00000/f", "content");
        expect_change();
        write_file("d00001/f", "content");
        expect_change();

        path_watch_arm_hook = NULL;
        arm("m", "d00000/f");
        ASSERT_NULL(error);
        write_file("m", "content");
        expect_change();
}

static bool enter_mount_namespace(void) {
        if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
                mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                print_message("mounts need root\n");
                return false;
        }
        /* The watch is to see the table of the new namespace. */
        path_watch_free(watch);
        ASSERT_OK(path_watch_new(event, &handlers, NULL, &watch));
        return true;
}

static unsigned *n_hung; /* shared with children */

static void hook_hang_below_dead(const char *path) {
        if (strstr(path, "/dead/"))
                (*n_hung)++;
        while (strstr(path, "/dead/"))
                (void) pause();
}

/* Where one path of a mount has hung, nobody tries the others; until it is mounted no more. */
TEST(mount_that_hangs) {
        if (!enter_mount_namespace())
                return;
        make_directory("dead");
        make_directory("d");
        make_link("../dead/x", "d/l");
        ASSERT_OK(mount("tmpfs", at("dead"), "tmpfs", 0, NULL));
        make_directory("dead/x");
        path_watch_arm_hook = hook_hang_below_dead;
        path_watch_arm_usec = USEC_PER_SEC;
        n_hung = mmap(NULL, sizeof(*n_hung), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ASSERT_TRUE(n_hung != MAP_FAILED);
        for (int i = 0; i < 2; i++) {
                *n_hung = 0;
                start("d/f", "dead/f", "dead/g", "dead/x/y/f", "dead/x/f", "d/l/f", NULL);
                run_until(&n_armed, 1);
                run_until_idle();
                ASSERT_EQ(*n_hung, 1);
                ASSERT_EQ(n_armed, 1);
                ASSERT_NOT_NULL(error);
                ASSERT_NOT_NULL(strstr(error, "5 of 6 paths are not watched"));
        }
        ASSERT_OK(munmap(TAKE_PTR(n_hung), sizeof(*n_hung)));
        n_changed = 0;
        write_file("d/f", "content");
        expect_change();

        n_armed = 0;
        ASSERT_OK(umount2(at("dead"), MNT_DETACH));
        path_watch_arm_hook = NULL;
        run_until(&n_armed, 1);
        run_until_idle();
        ASSERT_NULL(error);
        n_changed = 0;
        write_file("dead/f", "content");
        expect_change();
        make_directory("dead/x");
        expect_change();
        write_file("dead/x/f", "content");
        expect_change();
}

/* Events of watches that the child has added but not told yet. */
TEST(events_before_the_child_tells) {
        static const char *const paths[] = { "d/f", "l/f", "l/x/y" };

        make_directory("d");
        make_directory("d/e");
        make_link("d", "l");
        FOREACH_ELEMENT(path, paths) {
                size_t count;
                pid_t pid;

                /* The later of two comes first. */
                arm("m", *path);
                count = path_watch_count(watch);
                ASSERT_OK(path_watch_set(watch, NULL, 0, SIZE_MAX));
                run_until_idle();

                path_watch_arm_hook = hook_stop_at_m;
                start("m", *path, NULL);
                pid = wait_for_stop();
                ASSERT_EQ(kernel_count(), count);
                ASSERT_EQ(path_watch_count(watch), 0);

                if (streq(*path, "l/x/y")) {
                        make_directory("d/x");
                        write_file("d/x/y", "content");
                } else
                        write_file("d/f", "content");
                for (int i = 0; i < 5; i++)
                        ASSERT_TRUE(sd_event_run(event, USEC_PER_MSEC) >= 0);
                ASSERT_EQ(n_changed, 0);

                path_watch_arm_hook = NULL; /* should it be walked again */
                ASSERT_OK(kill(pid, SIGCONT));
                run_until(&n_changed, 1);
                run_until_idle();
                ASSERT_NULL(error);
                ASSERT_EQ(kernel_count(), path_watch_count(watch));
                n_changed = 0;
                write_file(streq(*path, "l/x/y") ? "d/x/y" : "d/f", "other");
                expect_change();
                (void) nftw(at("d/x"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
                ASSERT_OK(unlink(at("d/f")) < 0 && errno != ENOENT ? -errno : 0);
        }
}

/* ---- Others ---------------------------------------------------------------------------------------------------- */

TEST(mounted_over) {
        if (!enter_mount_namespace())
                return;
        make_directory("a");
        make_directory("a/b");
        write_file("file", "content");
        write_file("other", "content");
        arm("a/b/f", "file");
        ASSERT_OK(mount("tmpfs", at("a"), "tmpfs", 0, NULL));
        expect_change();
        make_directory("a/b");
        expect_change();
        write_file("a/b/f", "content");
        expect_change();
        ASSERT_OK(umount(at("a")));
        expect_change();
        write_file("a/b/f", "content");
        expect_change();

        ASSERT_OK(mount(at("other"), at("file"), NULL, MS_BIND, NULL));
        expect_change();
        ASSERT_OK(umount(at("file")));
        expect_change();

        /* Others' mounts change nothing. */
        make_directory("m");
        ASSERT_OK(mount("tmpfs", at("m"), "tmpfs", 0, NULL));
        expect_silence();
        ASSERT_OK(umount(at("m")));
        expect_silence();
}

/* One directory by two names has one watch, and both names count. */
TEST(one_directory_at_two_places) {
        if (!enter_mount_namespace())
                return;
        make_directory("a");
        make_directory("b");
        ASSERT_OK(mount(at("a"), at("b"), NULL, MS_BIND, NULL));
        arm("a/f", "b/g");
        write_file("b/f", "content");
        expect_change();
        write_file("a/g", "content");
        expect_change();
        write_file("a/h", "content");
        expect_silence();
        arm("b/g");
        write_file("a/g", "content");
        expect_change();
        ASSERT_OK(umount(at("b")));
        run_until_idle();
}

/* The kernel's own limit: that of a user namespace, so that nobody else feels it. */
TEST(limit_of_the_kernel) {
        _cleanup_close_ int fd = -EBADF;
        char text[32];
        size_t ways;

        arm("f");
        ways = path_watch_count(watch);
        if (unshare(CLONE_NEWUSER) < 0 ||
                (fd = open("/proc/sys/user/max_inotify_watches", O_WRONLY | O_CLOEXEC)) < 0) {
                print_message("there is no user namespace to be had: %s\n", strerror(errno));
                return;
        }
        make_directories(5);
        path_watch_free(watch);
        ASSERT_OK(path_watch_new(event, &handlers, NULL, &watch));
        (void) snprintf(text, sizeof(text), "%zu\n", ways + 2);
        ASSERT_OK(write_full(fd, text, strlen(text)));
        arm("f", "d00000/f", "d00001/f", "d00002/f", "d00003/f");
        ASSERT_EQ(path_watch_count(watch), ways + 2);
        ASSERT_EQ(kernel_count(), ways + 2);
        ASSERT_NOT_NULL(error);
        ASSERT_NOT_NULL(strstr(error, "2 of 5 paths are not watched"));
        ASSERT_NOT_NULL(strstr(error, "raise fs.inotify.max_user_watches"));
        write_file("f", "content");
        expect_change();

        /* A list of others finds the room that the old one leaves. */
        arm("d00003/f", "d00004/f");
        ASSERT_NULL(error);
        write_file("d00004/f", "content");
        expect_change();

        /* What was watched and cannot be any more: nobody knows. */
        (void) snprintf(text, sizeof(text), "%zu\n", ways);
        ASSERT_EQ(lseek(fd, 0, SEEK_SET), 0);
        ASSERT_OK(write_full(fd, text, strlen(text)));
        move("d00003", "old");
        make_directory("d00003");
        run_until(&n_overflows, 1);
        run_until(&n_armed, 1);
        run_until_idle();
        ASSERT_NOT_NULL(error);
        ASSERT_EQ(n_overflows, 1);
}

TEST(freed_in_every_state) {
        make_directories(50);
        for (int i = 0; i < 40; i++) {
                if (!watch)
                        ASSERT_OK(path_watch_new(event, &handlers, NULL, &watch));
                if (i % 8 == 7)
                        path_watch_arm_hook = hook_hang_at_m;
                start("d00000/f", "m", "d00001/f", NULL);
                for (int j = 0; j < i / 2; j++)
                        (void) sd_event_run(event, USEC_PER_MSEC);
                if (i % 3 == 0)
                        write_file("d00000/f", "content");
                if (i % 5 == 0)
                        (void) sd_event_run(event, 0);
                watch = path_watch_free(watch);
                path_watch_arm_hook = NULL;
                ASSERT_EQ(sd_event_run(event, 0), 0);
        }
}

TEST(freed_by_its_handlers) {
        free_when_told = true;
        start("f", NULL);
        run_until(&n_armed, 1);
        ASSERT_NULL(watch);
        ASSERT_EQ(sd_event_run(event, 0), 0);

        free_when_told = false;
        ASSERT_OK(path_watch_new(event, &handlers, NULL, &watch));
        arm("f");
        free_when_told = true;
        write_file("f", "content");
        run_until(&n_changed, 1);
        ASSERT_NULL(watch);
        ASSERT_EQ(sd_event_run(event, 0), 0);
}

/*
 * Directories, links and files come, go and are moved while arming goes on; whatever is left in the end is watched.
 *
 * No link leads up: what is done through one must not leave the temporary directory. Absolute ones begin in it.
 */
TEST(whatever_happens) {
        static const char *const names[] = { "a", "b", "a/b", "b/a", "a/b/c", "b/a/c", "a/f", "b/f", "a/b/f",
                "b/a/f", "a/b/c/f", "l" };
        static const char *const targets[] = { "a", "b", "b/c", "f", "c", ".", "/a", "/b", "/a/b", "/b/a/c",
                "/a/b/f", "/l" };
        static const char *const watched[] = { "a/f", "a/b/f", "a/b/c/f", "b/a/f", "l/f", "l/b/f" };
        unsigned seed = 1, n_told = 0;

        FOREACH_ELEMENT(target, targets)
                ASSERT_NULL(strstr(*target, ".."));
        for (int round = 0; round < 60; round++) {
                arm("a/f", "a/b/f", "a/b/c/f", "b/a/f", "l/f", "l/b/f");
                for (int i = 0; i < 40; i++) {
                        const char *one = at(names[(unsigned) rand_r(&seed) % ELEMENTSOF(names)]);
                        const char *other = at(names[(unsigned) rand_r(&seed) % ELEMENTSOF(names)]);
                        const char *target = targets[(unsigned) rand_r(&seed) % ELEMENTSOF(targets)];

                        switch (rand_r(&seed) % 8) {
                        case 0:
                        case 1: (void) mkdir(one, 0755); break;
                        case 2: (void) rename(one, other); break;
                        case 3: (void) renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE); break;
                        case 4: (void) symlink(target[0] == '/' ? at(target + 1) : target, one); break;
                        case 5: (void) remove(one); break;
                        case 6: (void) safe_close(open(one, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)); break;
                        case 7:
                                ASSERT_TRUE(sd_event_run(event, (uint64_t) rand_r(&seed) % 30000) >= 0);
                                break;
                        }
                }
                run_until_idle();
                ASSERT_EQ(kernel_count(), path_watch_count(watch));
                FOREACH_ELEMENT(path, watched) {
                        struct stat st;

                        (void) safe_close(open(at(*path), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
                        run_until_idle();
                        n_changed = 0;
                        if (stat(at(*path), &st) < 0 || !S_ISREG(st.st_mode))
                                continue;
                        ASSERT_OK(chmod(at(*path), st.st_mode ^ 0100));
                        expect_change();
                        n_told++;
                }
                if (round % 5 == 4)
                        FOREACH_ELEMENT(name, names)
                                (void) nftw(at(*name), remove_one, 16, FTW_DEPTH | FTW_PHYS);
                run_until_idle();
        }
        ASSERT_TRUE(n_told > 60);
}

TEST(idle_means_no_timer) {
        make_directory("d");
        arm("d/f", "x/y");
        write_file("d/f", "content");
        expect_change();
        ASSERT_TRUE(path_watch_is_idle(watch));
        ASSERT_EQ(sd_event_run(event, 0), 0);
}

/* Memory does not grow with what happens. */
TEST(size) {
        size_t size;

        make_directories(2);
        arm_many(10000, 10000, SIZE_MAX);
        size = path_watch_size(watch);
        ASSERT_TRUE(size <= 10000 * (100 + strlen(top) + strlen("/d00000/file-00000")));
        arm_many(10000, 10000, SIZE_MAX);
        ASSERT_EQ(path_watch_size(watch), size);

        make_link("d00000", "l");
        arm("l/f");
        size = path_watch_size(watch);
        for (int i = 0; i < 10; i++) {
                char target[32];

                (void) snprintf(target, sizeof(target), "release-%d", i);
                make_link(target, "m");
                move("m", "l");
                expect_change();
        }
        ASSERT_TRUE(path_watch_size(watch) <= size + 64);
}

/* Who has thousands of states is told which. */
TEST(which_of_the_list_changed_is_told) {
        make_directory("a");
        make_directory("b");
        make_directory("b/c");
        write_file("a/x", "");
        write_file("a/y", "");
        write_file("b/z", "");
        write_file("b/c/z", "");
        make_link("b", "l");
        arm("a/x", "a/y", "b/z", "b/c/z", "l/z", "a");

        write_file("a/x", "1");
        expect_told(1u << 0);
        write_file("a/y", "1");
        expect_told(1u << 1);
        /* By two names. */
        write_file("b/z", "1");
        expect_told(1u << 2 | 1u << 4);
        write_file("b/c/z", "1");
        expect_told(1u << 3);
        ASSERT_OK(chmod(at("a"), 0700));
        expect_told(1u << 5);

        /* All that is below what moves. */
        move("b", "d");
        expect_told(1u << 2 | 1u << 3 | 1u << 4);
        move("d", "b");
        expect_told(1u << 2 | 1u << 3 | 1u << 4);
        ASSERT_OK(unlink(at("l")));
        expect_told(1u << 4);

        /* In another list they have other places. */
        arm("b/z", "a/y");
        write_file("a/y", "2");
        expect_told(1u << 1);
        write_file("b/z", "2");
        expect_told(1u << 0);
        write_file("a/x", "2");
        expect_silence();
}

/* Figures, with AGENTD_BENCH=1 in the environment. */
TEST(bench) {
        if (!getenv("AGENTD_BENCH"))
                return;
        make_directories(10000);
        FOREACH_ELEMENT(n, ((size_t[]){ 100, 10000 })) {
                for (int i = 0; i < 3; i++) {
                        usec_t begin;

                        ASSERT_OK(path_watch_set(watch, NULL, 0, SIZE_MAX));
                        run_until_idle();
                        begin = now_usec(CLOCK_MONOTONIC);
                        arm_many(10000, *n, SIZE_MAX);
                        print_message(
                                "10000 paths in %zu directories: armed in %.1f ms, %zu watches, %zu bytes\n",
                                *n, (double) (now_usec(CLOCK_MONOTONIC) - begin) / 1000,
                                path_watch_count(watch), path_watch_size(watch));
                }
        }
        for (int i = 0; i < 5; i++) {
                usec_t begin;

                n_changed = 0;
                begin = now_usec(CLOCK_MONOTONIC);
                write_file("d00042/file-00042", "content");
                run_until(&n_changed, 1);
                print_message("told after %.3f ms\n", (double) (now_usec(CLOCK_MONOTONIC) - begin) / 1000);
                begin = now_usec(CLOCK_MONOTONIC);
                run_until_idle();
                print_message("idle after %.3f ms\n", (double) (now_usec(CLOCK_MONOTONIC) - begin) / 1000);
        }
}

#define RUN_WITH_LOOP(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

RUN_TESTS(RUN_WITH_LOOP(file_changes), RUN_WITH_LOOP(others_do_not_count),
        RUN_WITH_LOOP(absent_file_appears), RUN_WITH_LOOP(absent_directories_appear_step_by_step),
        RUN_WITH_LOOP(absent_directories_appear_at_once),
        RUN_WITH_LOOP(what_happens_before_the_watch_is_told_after_it), RUN_WITH_LOOP(directory_replaced),
        RUN_WITH_LOOP(link_repointed), RUN_WITH_LOOP(links_of_all_kinds),
        RUN_WITH_LOOP(the_middle_of_a_chain_changes), RUN_WITH_LOOP(link_into_a_directory_on_the_way),
        RUN_WITH_LOOP(circle_of_links), RUN_WITH_LOOP(link_whose_target_s_directory_is_replaced),
        RUN_WITH_LOOP(entries), RUN_WITH_LOOP(root_with_entries), RUN_WITH_LOOP(identity_at_arming),
        RUN_WITH_LOOP(thousands_of_files_dropped), RUN_WITH_LOOP(queue_overflow),
        RUN_WITH_LOOP(directory_made_during_an_overflow), RUN_WITH_LOOP(limit),
        RUN_WITH_LOOP(room_at_the_limit), RUN_WITH_LOOP(bad_paths), RUN_WITH_LOOP(set_replaced),
        RUN_WITH_LOOP(set_while_events_come), RUN_WITH_LOOP(set_replaced_while_the_child_runs),
        RUN_WITH_LOOP(nothing_is_left_in_the_kernel), RUN_WITH_LOOP(nothing_is_left_of_a_killed_child),
        RUN_WITH_LOOP(child_killed_in_the_middle), RUN_WITH_LOOP(path_that_kills),
        RUN_WITH_LOOP(path_that_hangs), RUN_WITH_LOOP(events_before_the_child_tells),
        RUN_WITH_LOOP(freed_in_every_state), RUN_WITH_LOOP(freed_by_its_handlers),
        RUN_WITH_LOOP(whatever_happens), RUN_WITH_LOOP(idle_means_no_timer), RUN_WITH_LOOP(size),
        RUN_WITH_LOOP(which_of_the_list_changed_is_told), RUN_WITH_LOOP(bench),
        RUN_WITH_LOOP(mount_that_hangs), RUN_WITH_LOOP(mounted_over),
        RUN_WITH_LOOP(one_directory_at_two_places), RUN_WITH_LOOP(limit_of_the_kernel))
