/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/socket.h>

#include "test.h"
#include "walk.h"

/* ---- What agentd would provide ---------------------------------------------------------------------------------- */

static char said[1024];

void *agentd_alloc(AgentdPrepare *prepare, size_t size) {
        return test_calloc(1, size);
}

void agentd_prepare_error(AgentdPrepare *prepare, int parameter, const char *format, ...) {
        va_list args;

        va_start(args, format);
        (void) vsnprintf(said, sizeof(said), format, args);
        va_end(args);
}

/* ---- A directory to walk ---------------------------------------------------------------------------------------- */

static char top[64];

static int make_top(void) {
        int fd;

        (void) snprintf(top, sizeof(top), "/tmp/agentd-test-walk-XXXXXX");
        assert_non_null(mkdtemp(top));
        fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(fd >= 0);
        return fd;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        return remove(path);
}

static void remove_top(int fd) {
        safe_close(fd);
        ASSERT_OK(nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS));
}

TEST(patterns) {
        static const struct {
                const char *pattern, *path;
                bool directory, matches;
        } cases[] = {
                { "*.bak", "a.bak", false, true },
                { "*.bak", "a/b/c.bak", false, true },
                { "*.bak", "a.bak/c", false, false },
                { "*.bak", ".bak", false, true }, /* a dot is like any character */
                { "*", ".hidden", false, true },
                { "cache/", "cache", true, true },
                { "cache/", "a/cache", true, true },
                { "cache/", "cache", false, false },
                { "cache", "cache", false, true },
                { "cache", "cache", true, true },
                { "cache", "Cache", false, false },
                { "/cache", "cache", false, true },
                { "/cache", "a/cache", false, false },
                { "/cache/", "cache", true, true },
                { "/cache/", "cache", false, false },
                { "a/*", "a/b", false, true },
                { "a/*", "a/b/c", false, false },
                { "a/*", "x/a/b", false, false },
                { "a/*/c", "a/b/c", false, true },
                { "a/*/", "a/b", true, true },
                { "a/*/", "a/b", false, false },
                { "?", "a/b", false, true },
                { "a?b", "a/b", false, false },
                { "a?b/c", "axb/c", false, true },
                { "[ab]", "b", false, true },
                { "[ab", "[ab", false, true }, /* no end: not a class */
                { "\\*", "*", false, true },
                { "\\*", "a", false, false },
                { "a\\", "a\\", false, false }, /* nothing follows the backslash */
                { "\xff*", "\xff\x01", false, true },
                { "a\nb", "a\nb", false, true },
        };

        FOREACH_ELEMENT(c, cases)
                if (pattern_matches(c->pattern, c->path, c->directory) != c->matches)
                        fail_msg("'%s' and '%s'", c->pattern, c->path);
        assert_false(patterns_match(NULL, "a", false));
        assert_false(patterns_match((const char *const[]){ NULL }, "a", false));
        assert_true(patterns_match((const char *const[]){ "b", "a", NULL }, "a", false));
}

TEST(what_is_shown) {
        static const struct {
                const char *text, *shown;
        } cases[] = {
                { "", "" },
                { "plain name", "plain name" },
                { "new\nline", "new\\nline" },
                { "tab\t", "tab\\t" },
                { "back\\n", "back\\\\n" },
                { "\x1b[31m", "\\x1b[31m" },
                { "\x7f", "\\x7f" },
                { "\xff\xfe", "\\xff\\xfe" },
                { "\xc3\xbc", "\xc3\xbc" },
                { "\xc3", "\\xc3" },
                { "\xc0\x80", "\\xc0\\x80" },                   /* over-long */
                { "\xed\xa0\x80", "\\xed\\xa0\\x80" },          /* a surrogate */
                { "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" }, /* beyond Unicode */
                { "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },     /* all four bytes */
                { "\xc2\x9b"
                  "31m",
                        "\\xc2\\x9b"
                        "31m" },                       /* a control of C1 */
                { "\xe2\x80\xae", "\\xe2\\x80\\xae" }, /* turns the text round */
                { "\xe2\x80\x8f", "\\xe2\\x80\\x8f" },
                { "\xe2\x81\xa9", "\\xe2\\x81\\xa9" },
                { "\xe2\x82\xac", "\xe2\x82\xac" },
        };
        char buffer[64];

        FOREACH_ELEMENT(c, cases)
                ASSERT_STREQ(walk_show(c->text, buffer, sizeof(buffer)), c->shown);
        /* Cut off within the buffer, whatever is at its end. */
        for (size_t size = 8; size <= sizeof(buffer); size++) {
                char text[300];

                memset(text, '\xff', sizeof(text));
                text[sizeof(text) - 1] = 0;
                memset(buffer, 'x', sizeof(buffer));
                (void) walk_show(text, buffer, size);
                assert_true(strlen(buffer) < size && endswith(buffer, "…"));
        }
}

TEST(paths) {
        static WalkPath path;
        size_t before, deeper;
        char name[NAME_MAX + 1];

        walk_path_init(&path, "/srv/www");
        before = walk_path_enter(&path, "a");
        ASSERT_STREQ(path.text, "/srv/www/a");
        ASSERT_STREQ(walk_path_below(&path), "a");
        deeper = walk_path_enter(&path, "b\n");
        ASSERT_STREQ(walk_path_below(&path), "a/b\n");
        ASSERT_STREQ(walk_path_shown_below(&path), "a/b\\n");
        ASSERT_STREQ(walk_path_shown(&path), "/srv/www/a/b\\n");
        walk_path_leave(&path, deeper);
        ASSERT_STREQ(path.text, "/srv/www/a");
        walk_path_leave(&path, before);
        ASSERT_STREQ(path.text, "/srv/www");

        walk_path_init(&path, "/");
        before = walk_path_enter(&path, "a");
        (void) walk_path_enter(&path, "b");
        ASSERT_STREQ(path.text, "/a/b");
        ASSERT_STREQ(walk_path_below(&path), "a/b");

        /* The deepest there can be, with the longest names. */
        memset(name, '\xff', NAME_MAX);
        name[NAME_MAX] = 0;
        walk_path_init(&path, "/srv");
        for (int i = 0; i < WALK_DEPTH_MAX; i++)
                (void) walk_path_enter(&path, name);
        ASSERT_EQ(strlen(path.text), 4 + WALK_DEPTH_MAX * (NAME_MAX + 1));
        assert_true(strlen(walk_path_shown(&path)) < sizeof(path.shown));
}

TEST(entries_are_sorted_and_limited) {
        static const char *const names[] = { "b", "a", "\xff", "a\nb", ".hidden", "B", "aa" };
        int fd = make_top();

        FOREACH_ELEMENT(name, names) {
                int file = openat(fd, *name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

                assert_true(file >= 0);
                safe_close(file);
        }
        for (size_t max = 0; max <= 8; max++) {
                ENTRIES entries = {};

                ASSERT_EQ(entries_read(fd, max, &entries), max < 7 ? -E2BIG : 0);
                assert_true(entries.n <= max);
                /* Twice, since the position is not shared. */
                if (max >= 7) {
                        static const char *const sorted[] = { ".hidden", "B", "a", "a\nb", "aa", "b",
                                "\xff" };

                        ASSERT_EQ(entries.n, 7);
                        for (size_t i = 0; i < 7; i++)
                                ASSERT_STREQ(entry_name(&entries, i), sorted[i]);
                }
        }
        remove_top(fd);
}

TEST(only_directories_are_entered) {
        int fd = make_top(), sub;
        struct statx st;

        ASSERT_OK(mkdirat(fd, "dir", 0700));
        ASSERT_OK(symlinkat("dir", fd, "link"));
        ASSERT_OK(symlinkat("/", fd, "root"));
        ASSERT_OK(mkfifoat(fd, "fifo", 0600));
        sub = walk_enter(fd, "dir");
        assert_true(sub >= 0);
        safe_close(sub);
        ASSERT_EQ(walk_enter(fd, "link"), -ENOTDIR);
        ASSERT_EQ(walk_enter(fd, "root"), -ENOTDIR);
        ASSERT_EQ(walk_enter(fd, "fifo"), -ENOTDIR);
        ASSERT_EQ(walk_enter(fd, "missing"), -ENOENT);
        ASSERT_EQ(walk_enter(fd, ".."), -EXDEV);
        ASSERT_OK(walk_look(fd, "link", &st));
        assert_true(S_ISLNK(st.stx_mode) && !walk_is_mount(&st));
        ASSERT_EQ(walk_look(fd, "missing", &st), -ENOENT);
        remove_top(fd);

        fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_EQ(walk_enter(fd, "proc"), -EXDEV);
        ASSERT_OK(walk_look(fd, "proc", &st));
        assert_true(walk_is_mount(&st));
        safe_close(fd);
}

TEST(temporaries) {
        static const struct {
                const char *name;
                int64_t age_sec;
                bool young;
        } cases[] = {
                { ".agentd-0123456789abcdef", 0, true },
                { ".agentd-0123456789abcdef", -1000, true },
                { ".agentd-0123456789abcdef", 3599, true },
                { ".agentd-0123456789abcdef", 3600, false },
                { ".agentd-0123456789abcde", 0, false },
                { ".agentd-0123456789abcdef0", 0, false },
                { ".agentd-0123456789abcdeF", 0, false },
                { "agentd-0123456789abcdef", 0, false },
                { ".agentd-", 0, false },
                { "", 0, false },
        };

        FOREACH_ELEMENT(c, cases) {
                const struct statx st = { .stx_ctime.tv_sec = 1000000 };

                ASSERT_EQ(is_young_temporary(c->name, &st, 1000000 + c->age_sec), c->young);
        }
}

TEST(parameters) {
        static const struct {
                AgentdValue value;
                int r;
                uint32_t depth;
        } depths[] = {
                { { .type = AGENTD_BOOLEAN, .boolean = true }, 0, WALK_DEPTH_MAX },
                { { .type = AGENTD_BOOLEAN }, 0, 0 },
                { { .type = AGENTD_INTEGER, .integer = 1 }, 0, 1 },
                { { .type = AGENTD_INTEGER, .integer = WALK_DEPTH_MAX }, 0, WALK_DEPTH_MAX },
                { { .type = AGENTD_INTEGER, .integer = WALK_DEPTH_MAX + 1 }, -EINVAL, 42 },
                { { .type = AGENTD_INTEGER }, -EINVAL, 42 },
                { { .type = AGENTD_INTEGER, .integer = -1 }, -EINVAL, 42 },
                { { .type = AGENTD_STRING, .string = "true", .size = 4 }, -EINVAL, 42 },
                { { .type = AGENTD_FLOAT, .real = 1 }, -EINVAL, 42 },
                { { .type = AGENTD_LIST }, -EINVAL, 42 },
        };
        static const AgentdValue items[] = {
                { .type = AGENTD_STRING, .string = "a", .size = 1 },
                { .type = AGENTD_STRING, .string = "", .size = 0 },
                { .type = AGENTD_STRING, .string = "a\0b", .size = 3 },
                { .type = AGENTD_STRING, .string = "/", .size = 1 },
                { .type = AGENTD_STRING, .string = "a\nb", .size = 3 },
        };
        const char *const *list = (const char *const *) said;

        FOREACH_ELEMENT(c, depths) {
                uint32_t depth = 42;

                said[0] = 0;
                ASSERT_EQ(depth_prepare(NULL, 0, "recurse", &c->value, &depth), c->r);
                ASSERT_EQ(depth, c->depth);
                ASSERT_EQ(said[0] != 0, c->r < 0);
        }
        ASSERT_OK(patterns_prepare(NULL, 0, "exclude", &(AgentdValue){}, &list));
        ASSERT_NULL(list);
        for (uint32_t i = 0; i < ELEMENTSOF(items); i++) {
                said[0] = 0;
                ASSERT_EQ(patterns_prepare(NULL, 0, "exclude",
                                  &(AgentdValue){ .type = AGENTD_LIST, .n = 1, .items = &items[i] }, &list),
                        i == 0 ? 0 : -EINVAL);
                ASSERT_EQ(said[0] != 0, i > 0);
                test_free((void *) list);
        }
}

TEST(directories_of_the_system) {
        static const char *const yes[] = { "/", "/usr", "/etc", "/home", "/var", "/var/lib", "/usr/local" };
        static const char *const no[] = { "/srv/www", "/var/tmp", "/tmp", "/var/log", "/usr/local/lib/x",
                "/data", "" };

        FOREACH_ELEMENT(path, yes)
                assert_true(is_system_directory(*path));
        FOREACH_ELEMENT(path, no)
                assert_false(is_system_directory(*path));
}

RUN_TESTS(RUN(patterns), RUN(what_is_shown), RUN(paths), RUN(entries_are_sorted_and_limited),
        RUN(only_directories_are_entered), RUN(temporaries), RUN(parameters), RUN(directories_of_the_system))
