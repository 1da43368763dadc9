/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>

#include "path-watch-internal.h"
#include "test.h"

#define DEADLINE_USEC (30 * USEC_PER_SEC)

static sd_event *event;
static PathWatch *watch;
static char top[PATH_MAX];
static unsigned n_changed, n_overflows, n_armed;
static char *error;

/* ---- Helpers --------------------------------------------------------------------------------------------------- */

static uint32_t told; /* a bit for each index below 32 */

static void on_changed(_unused_ void *userdata, const uint32_t *indices, size_t n, bool overflow) {
        ASSERT_TRUE(n > 0 || overflow);
        for (size_t i = 0; i < n; i++)
                if (indices[i] < 32)
                        told |= UINT32_C(1) << indices[i];
        n_changed++;
        n_overflows += overflow;
}

static void on_armed(_unused_ void *userdata, const char *e) {
        n_armed++;
        free(error);
        error = e ? strdup(e) : NULL;
}

static const PathWatchHandlers handlers = { .on_changed = on_changed, .on_armed = on_armed };

static int setup(_unused_ void **state) {
        const char *base = getenv("TMPDIR");
        sigset_t mask;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        ASSERT_OK(sigprocmask(SIG_BLOCK, &mask, NULL));
        ASSERT_TRUE(snprintf(top, sizeof(top), "%s/test-watch-trees-XXXXXX", base ?: "/tmp") > 0);
        ASSERT_NOT_NULL(mkdtemp(top));
        ASSERT_OK(sd_event_new(&event));
        n_changed = n_overflows = n_armed = told = 0;
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

/* Watches a tree, and another if there is one, and waits until all is armed and quiet. */
static void arm_trees(size_t max, const PathToWatch *list, size_t n) {
        n_armed = 0;
        ASSERT_OK(path_watch_set(watch, list, n, max));
        run_until(&n_armed, 1);
        run_until_idle();
        n_changed = n_overflows = n_armed = told = 0;
}

static void arm_tree(const char *path, unsigned depth, const char *exclude) {
        const PathToWatch tree = { .path = at(path), .tree = true, .depth = depth, .exclude = exclude };

        arm_trees(SIZE_MAX, &tree, 1);
        ASSERT_NULL(error);
}

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

/* Directories that are watched below the tree's own place. */
static size_t count_below(const char *path) {
        char parent[PATH_MAX];
        size_t ways = 1;

        (void) strcpy(parent, at(path));
        for (const char *p = parent; (p = strchr(p, '/')); p++)
                ways++;
        return path_watch_count(watch) - ways;
}

static void make_path(const char *path) {
        char part[PATH_MAX];

        for (size_t n = 0; path[n]; n++)
                if (path[n + 1] == '/' || !path[n + 1]) {
                        (void) snprintf(part, sizeof(part), "%.*s", (int) n + 1, path);
                        (void) mkdir(at(part), 0755);
                }
}

TEST(whatever_lies_below_counts) {
        make_path("t/a/b/c");
        write_file("t/a/b/c/f", "1");
        arm_tree("t", 0, NULL);
        ASSERT_EQ(count_below("t"), 3);
        write_file("t/a/b/c/f", "2");
        expect_change();
        ASSERT_OK(chmod(at("t/a/b/c/f"), 0600));
        expect_change();
        ASSERT_OK(chmod(at("t/a/b"), 0700));
        expect_change();
        write_file("t/f", "1");
        expect_change();
        ASSERT_OK(unlink(at("t/a/b/c/f")));
        expect_change();
        ASSERT_OK(rmdir(at("t/a/b/c")));
        expect_change();
        ASSERT_EQ(count_below("t"), 2);
        write_file("beside", "1");
        expect_silence();
}

TEST(new_directories_are_watched) {
        make_path("t");
        arm_tree("t", 0, NULL);
        make_directory("t/a");
        expect_change();
        ASSERT_EQ(count_below("t"), 1);
        write_file("t/a/f", "1");
        expect_change();
        /* At once, so that nobody has seen the middle. */
        make_path("t/b/c/d/e");
        write_file("t/b/c/d/e/f", "1");
        expect_change();
        ASSERT_EQ(count_below("t"), 5);
        write_file("t/b/c/d/e/f", "2");
        expect_change();
        /* What comes as a whole. */
        make_path("u/v/w");
        expect_silence();
        move("u", "t/u");
        expect_change();
        ASSERT_EQ(count_below("t"), 8);
        write_file("t/u/v/w/f", "1");
        expect_change();
}

TEST(directories_that_go_are_not) {
        make_path("t/a/b/c");
        make_path("t/x");
        arm_tree("t", 0, NULL);
        move("t/a", "away");
        expect_change();
        ASSERT_EQ(count_below("t"), 1);
        write_file("away/b/c/f", "1");
        write_file("away/f", "1");
        expect_silence();
        move("away", "t/x/back");
        expect_change();
        ASSERT_EQ(count_below("t"), 4);
        write_file("t/x/back/b/c/f", "2");
        expect_change();
        /* Within the tree. */
        move("t/x/back", "t/here");
        expect_change();
        ASSERT_EQ(count_below("t"), 4);
        write_file("t/here/b/c/f", "3");
        expect_change();
        ASSERT_EQ(kernel_count(), path_watch_count(watch));
}

TEST(the_tree_itself_comes_and_goes) {
        arm_tree("p/t", 0, NULL);
        make_path("p/t/a");
        write_file("p/t/a/f", "1");
        expect_change();
        ASSERT_EQ(count_below("p/t"), 1);
        write_file("p/t/a/f", "2");
        expect_change();
        move("p", "q");
        expect_change();
        write_file("q/t/a/f", "3");
        expect_silence();
        ASSERT_EQ(kernel_count(), path_watch_count(watch));
        make_path("p/t/b/c");
        expect_change();
        write_file("p/t/b/c/f", "1");
        expect_change();
}

TEST(what_is_excluded_is_not_looked_into) {
        make_path("t/.git/objects");
        make_path("t/a/.git/objects");
        make_path("t/a/cache/x");
        make_path("t/cache/x");
        arm_tree("t", 0, ".git\na/cac*\n");
        ASSERT_EQ(count_below("t"), 3); /* a, cache, cache/x */
        write_file("t/.git/objects/f", "1");
        write_file("t/a/.git/f", "1");
        write_file("t/a/cache/x/f", "1");
        make_directory("t/a/.git/new");
        expect_silence();
        write_file("t/cache/x/f", "1");
        expect_change();
        /* Its own coming is an event of the directory that it is in. */
        make_path("t/cache/x/.git/y");
        expect_change();
        write_file("t/cache/x/.git/y/f", "1");
        expect_silence();
        ASSERT_EQ(count_below("t"), 3);
}

TEST(depth) {
        make_path("t/1/2/3/4");
        static const size_t below[] = { 4, 0, 1, 2, 3, 4, 4 };

        for (unsigned depth = 0; depth < ELEMENTSOF(below); depth++) {
                arm_tree("t", depth, NULL);
                ASSERT_EQ(count_below("t"), below[depth]);
                ASSERT_EQ(kernel_count(), path_watch_count(watch));
        }
        arm_tree("t", 2, NULL);
        write_file("t/1/f", "1");
        expect_change();
        make_directory("t/1/new");
        expect_change();
        write_file("t/1/new/f", "1");
        write_file("t/1/2/f", "1");
        expect_silence();
}

TEST(links_are_not_followed_but_that_of_the_tree) {
        make_path("t/a");
        make_path("other/x");
        make_link("../other", "t/link");
        make_link("t", "l");
        arm_tree("t", 0, NULL);
        write_file("other/x/f", "1");
        expect_silence();
        ASSERT_EQ(count_below("t"), 1);

        arm_tree("l", 0, NULL);
        write_file("t/a/f", "1");
        expect_change();
        make_path("t/a/b");
        expect_change();
        write_file("t/a/b/f", "1");
        expect_change();
        /* The link leads elsewhere. */
        ASSERT_OK(unlink(at("l")));
        make_link("other", "l");
        expect_change();
        write_file("other/x/f", "2");
        expect_change();
        write_file("t/a/f", "2");
        expect_silence();
        ASSERT_EQ(kernel_count(), path_watch_count(watch));
}

TEST(one_tree_in_another_and_files_in_them) {
        PathToWatch list[] = {
                { .tree = true },
                { .tree = true, .depth = 1 },
                {},
                { .tree = true },
        };

        make_path("t/a/b/c");
        make_path("t/z");
        list[0].path = at("t");
        list[1].path = at("t/a");
        list[2].path = at("t/a/b/f");
        list[3].path = at("t/a/b");
        arm_trees(SIZE_MAX, list, 4);
        write_file("t/z/f", "1");
        expect_told(1u << 0);
        write_file("t/a/f", "1");
        expect_told(1u << 0 | 1u << 1);
        write_file("t/a/b/f", "1");
        /* That which is not so deep is told as well: a word too many. */
        expect_told(15);
        write_file("t/a/b/c/f", "1");
        expect_told(1u << 0 | 1u << 1 | 1u << 3);
        ASSERT_OK(rename(at("t/a"), at("t/b")));
        expect_told(15);
}

TEST(another_list_keeps_what_was_watched) {
        _cleanup_free_ char *t = strdup(at("t")), *f = strdup(at("f"));
        PathToWatch list[] = { { .path = t, .tree = true }, { .path = f } };

        make_path("t/a/b");
        arm_trees(SIZE_MAX, list, 1);
        for (unsigned i = 0; i < 20; i++) {
                ASSERT_OK(path_watch_set(watch, list, 1 + i % 2, SIZE_MAX));
                ASSERT_EQ(count_below("t"), 2);
                write_file("t/a/b/f", "1");
                run_until(&n_changed, 1);
                n_changed = 0;
        }
        run_until_idle();
        /* As a mere path, and gone. */
        list[0].tree = false;
        arm_trees(SIZE_MAX, list, 2);
        write_file("t/a/b/f", "2");
        expect_silence();
        arm_trees(SIZE_MAX, list, 0);
        ASSERT_EQ(kernel_count(), 0);
}

TEST(limit) {
        PathToWatch tree = { .tree = true };
        size_t ways, max;

        for (unsigned i = 0; i < 50; i++) {
                char path[32];

                (void) snprintf(path, sizeof(path), "t/d%u/e", i);
                make_path(path);
        }
        tree.path = at("t");
        arm_trees(SIZE_MAX, &tree, 1);
        ways = path_watch_count(watch) - 100;
        /* Those that are there stay; so begin anew. A tree gets three quarters. */
        max = (ways + 30) / 3 * 4 + (ways + 30) % 3;
        arm_trees(max, &tree, 1);
        arm_trees(max, NULL, 0);
        arm_trees(max, &tree, 1);
        ASSERT_NOT_NULL(error);
        ASSERT_NOT_NULL(strstr(error, "1 of 1 paths is not watched"));
        ASSERT_NOT_NULL(strstr(error, "the limit of"));
        ASSERT_EQ(path_watch_count(watch), ways + 30);
        ASSERT_EQ(kernel_count(), ways + 30);
        write_file("t/f", "1");
        expect_change();
        make_directory("t/new");
        run_until(&n_changed, 1);
        run_until_idle();
        ASSERT_EQ(path_watch_count(watch), ways + 30);
        n_changed = n_overflows = 0;
        /* There is room again. */
        for (unsigned i = 0; i < 50; i++) {
                char path[32];

                (void) snprintf(path, sizeof(path), "t/d%u/e", i);
                ASSERT_OK(rmdir(at(path)));
                (void) snprintf(path, sizeof(path), "t/d%u", i);
                ASSERT_OK(rmdir(at(path)));
        }
        run_until_idle();
        n_changed = n_overflows = 0;
        write_file("t/new/f", "1");
        run_until_idle();
        ASSERT_EQ(count_below("t"), 1);
        write_file("t/new/f", "2");
        expect_change();
        ASSERT_NULL(error);
}

/* Whoever may write in a tree can fill it with directories. */
TEST(a_tree_leaves_room_for_others) {
        PathToWatch list[] = { { .tree = true }, {}, {} };
        size_t ways, max;

        for (unsigned i = 0; i < 200; i++) {
                char path[32];

                (void) snprintf(path, sizeof(path), "t/d%u", i);
                make_path(path);
        }
        make_path("z/y");
        list[0].path = at("t");
        list[1].path = at("t/d199/f");
        list[2].path = at("z/y/f");
        arm_trees(SIZE_MAX, list, 1);
        ways = path_watch_count(watch) - 200;
        arm_trees(SIZE_MAX, NULL, 0);
        max = ways + 100;
        arm_trees(max, list, 3);
        ASSERT_NOT_NULL(error);
        ASSERT_NOT_NULL(strstr(error, "1 of 3 paths is not watched"));
        ASSERT_TRUE(path_watch_count(watch) <= max - max / 4 + 3);
        write_file("z/y/f", "1");
        expect_change();
        write_file("t/d199/f", "1");
        expect_change();

        /* Also what comes to be there later. */
        for (unsigned i = 200; i < 300; i++) {
                char path[32];

                (void) snprintf(path, sizeof(path), "t/d%u", i);
                make_path(path);
        }
        run_until_idle();
        ASSERT_TRUE(path_watch_count(watch) <= max - max / 4 + 3);
}

TEST(a_burst_is_told_in_few_words) {
        make_path("t/a/b");
        arm_tree("t", 0, NULL);
        for (unsigned i = 0; i < 20000; i++) {
                char path[64];

                (void) snprintf(path, sizeof(path), "t/a/b/f%u", i % 100);
                write_file(path, "1");
                if (i % 1000 == 999)
                        run_once(now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC);
        }
        run_until_idle();
        ASSERT_TRUE(n_changed > 0 && n_changed <= 100);
        ASSERT_EQ(told, 1);
}

TEST(an_overflow_loses_nothing) {
        make_path("t/a");
        arm_tree("t", 0, NULL);
        for (unsigned i = 0; i < 40000; i++) {
                char path[64];

                (void) snprintf(path, sizeof(path), "t/a/f%u", i % 2);
                write_file(path, "1");
        }
        make_path("t/b/c");
        run_until_idle();
        ASSERT_TRUE(n_changed > 0);
        n_changed = n_overflows = 0;
        write_file("t/b/c/f", "1");
        expect_change();
        ASSERT_EQ(count_below("t"), 3);
}

static unsigned n_directories;

static int count_directory(
        _unused_ const char *path, _unused_ const struct stat *st, int type, _unused_ struct FTW *f) {
        n_directories += type == FTW_D;
        return 0;
}

/* Names of directories that came and went are not kept for ever. */
TEST(whatever_happens) {
        unsigned seed = 1;
        char a[64], b[64];

        make_path("t");
        make_path("away");
        arm_tree("t", 0, NULL);
        for (unsigned i = 0; i < 3000; i++) {
                static const char *const tops[] = { "t", "t/1", "t/2", "t/1/3", "away", "t/2/2" };

                (void) snprintf(a, sizeof(a), "%s/%d", tops[(size_t) rand_r(&seed) % ELEMENTSOF(tops)],
                        rand_r(&seed) % 5);
                (void) snprintf(b, sizeof(b), "%s/%d", tops[(size_t) rand_r(&seed) % ELEMENTSOF(tops)],
                        rand_r(&seed) % 5);
                switch (rand_r(&seed) % 6) {
                case 0:
                case 1:
                case 2: (void) mkdir(at(a), 0755); break;
                case 3: (void) rmdir(at(a)); break;
                case 4: (void) rename(at(a), at(b)); break;
                default: ASSERT_TRUE(sd_event_run(event, 0) >= 0);
                }
        }
        run_until_idle();
        n_directories = 0;
        ASSERT_OK(nftw(at("t"), count_directory, 16, FTW_PHYS));
        ASSERT_EQ(count_below("t"), n_directories - 1);
        ASSERT_EQ(kernel_count(), path_watch_count(watch));
        for (unsigned i = 0; i < 2000; i++) {
                (void) snprintf(a, sizeof(a), "t/name-%u", i);
                ASSERT_OK(mkdir(at(a), 0755));
                ASSERT_OK(rmdir(at(a)));
                if (i % 50 == 0)
                        run_until_idle();
        }
        run_until_idle();
        ASSERT_TRUE(path_watch_size(watch) < KIB(64));
}

/* Figures, with AGENTD_BENCH=1 in the environment. */
TEST(bench) {
        usec_t begin;
        size_t n;

        if (!getenv("AGENTD_BENCH"))
                return;
        make_directory("t");
        for (unsigned i = 0; i < 10000; i++) {
                char path[64];

                (void) snprintf(path, sizeof(path), "t/%02u/%u", i % 100, i);
                make_path(path);
        }
        for (unsigned i = 0; i < 3; i++) {
                arm_trees(SIZE_MAX, NULL, 0);
                begin = now_usec(CLOCK_MONOTONIC);
                arm_tree("t", 0, NULL);
                print_message("%zu directories: armed in %.1f ms, %zu bytes\n", count_below("t"),
                        (double) (now_usec(CLOCK_MONOTONIC) - begin) / 1000, path_watch_size(watch));
        }
        begin = now_usec(CLOCK_MONOTONIC);
        for (unsigned i = 0; i < 100000; i++) {
                char path[64];

                n = i % 10000;
                (void) snprintf(path, sizeof(path), "t/%02zu/%zu/f", n % 100, n);
                if (i < 10000)
                        write_file(path, "");
                else
                        ASSERT_OK(utimensat(AT_FDCWD, at(path), NULL, 0));
                if (i % 1000 == 0)
                        ASSERT_TRUE(sd_event_run(event, 0) >= 0);
        }
        run_until_idle();
        print_message("100000 changes: told %u times, %u overflows, %.1f ms\n", n_changed, n_overflows,
                (double) (now_usec(CLOCK_MONOTONIC) - begin) / 1000);
}

#define RUN_WITH_LOOP(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

RUN_TESTS(RUN_WITH_LOOP(whatever_lies_below_counts), RUN_WITH_LOOP(new_directories_are_watched),
        RUN_WITH_LOOP(directories_that_go_are_not), RUN_WITH_LOOP(the_tree_itself_comes_and_goes),
        RUN_WITH_LOOP(what_is_excluded_is_not_looked_into), RUN_WITH_LOOP(depth),
        RUN_WITH_LOOP(links_are_not_followed_but_that_of_the_tree),
        RUN_WITH_LOOP(one_tree_in_another_and_files_in_them),
        RUN_WITH_LOOP(another_list_keeps_what_was_watched), RUN_WITH_LOOP(limit),
        RUN_WITH_LOOP(a_tree_leaves_room_for_others), RUN_WITH_LOOP(a_burst_is_told_in_few_words),
        RUN_WITH_LOOP(an_overflow_loses_nothing), RUN_WITH_LOOP(whatever_happens), RUN_WITH_LOOP(bench))
