/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Helpers that look for units, programs and variables, over a tree that the test makes. */

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

#include "expression.h"
#include "test.h"

static char root[] = "/tmp/test-expression-host-XXXXXX";
static int root_fd = -EBADF;

static int on_remove(
        const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *ftw) {
        return remove(path);
}

/* The path in the tree, with the directories above it made. Valid until the next. */
static const char *in(const char *path) {
        static char full[PATH_MAX];

        (void) snprintf(full, sizeof(full), "%s%s", root, path);
        for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
                *p = 0;
                (void) mkdir(full, 0755);
                *p = '/';
        }
        return full;
}

static void put(const char *path, const char *text, mode_t mode) {
        _cleanup_close_ int fd = open(in(path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(write_full(fd, text, strlen(text)));
}

static void make_tree(void) {
        ASSERT_NOT_NULL(mkdtemp(root));
        root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        ASSERT_TRUE(root_fd >= 0);

        put("/usr/lib/systemd/system/ssh.service", "[Service]\n", 0644);
        put("/usr/lib/systemd/system/getty@.service", "[Service]\n", 0644);
        put("/usr/lib/systemd/system/masked.service", "[Service]\n", 0644);
        put("/usr/lib/systemd/system/emptied.socket", "[Socket]\n", 0644);
        put("/usr/lib/systemd/system/stale.service", "[Service]\n", 0644);
        put("/usr/lib/systemd/system/tty@.service", "[Service]\n", 0644);
        put("/usr/lib/systemd/system/dir.service/inner", "", 0644);
        put("/etc/systemd/system/own.timer", "[Timer]\n", 0644);
        put("/etc/systemd/system/emptied.socket", "", 0644);
        put("/run/systemd/transient/now.scope", "[Scope]\n", 0644);
        ASSERT_OK(symlink("/dev/null", in("/etc/systemd/system/masked.service")));
        ASSERT_OK(symlink("/dev/null", in("/etc/systemd/system/tty@off.service")));
        ASSERT_OK(symlink("/usr/lib/systemd/system/ssh.service", in("/etc/systemd/system/sshd.service")));
        ASSERT_OK(symlink("/nowhere", in("/etc/systemd/system/stale.service")));
        ASSERT_OK(symlink("/nowhere", in("/etc/systemd/system/gone.service")));

        put("/usr/bin/tool-1", "", 0755);
        put("/usr/bin/data", "", 0644);
        put("/usr/bin/folder/x", "", 0644);
        put("/usr/local/sbin/mine", "", 0711);
        ASSERT_OK(symlink("/etc/alternatives/tool", in("/usr/bin/tool")));
        ASSERT_OK(symlink("/usr/bin/tool-1", in("/etc/alternatives/tool")));
        ASSERT_OK(symlink("usr/bin", in("/bin")));
}

static int evaluate(Arena *arena, const char *source, Value *ret, Diagnostic *reterr) {
        const HelperSet helpers = helper_set(root_fd);
        const ExpressionContext context = { .scratch = arena, .helpers = &helpers };
        Expression *e;
        int r;

        r = expression_parse(arena, (Place){}, source, strlen(source), &e, reterr);
        if (r < 0)
                return r;
        return expression_evaluate(&context, e, ret, reterr);
}

TEST(truth) {
        static const struct {
                const char *source;
                bool truth;
        } cases[] = {
                { "has_unit('ssh.service')", true },
                { "has_unit('sshd.service')", true }, /* an alias */
                { "has_unit('own.timer')", true },
                { "has_unit('now.scope')", true },
                { "has_unit('ssh.socket')", false },
                { "has_unit('masked.service')", false },
                { "has_unit('emptied.socket')", false }, /* an empty file masks as well */
                { "has_unit('stale.service')",
                        true }, /* the link leads nowhere, the file behind it counts */
                { "has_unit('gone.service')", false },
                { "has_unit('dir.service')", false },
                { "has_unit('getty@.service')", true },
                { "has_unit('getty@tty1.service')", true },
                { "has_unit('getty@tty1.socket')", false },
                { "has_unit('tty@on.service')", true },
                { "has_unit('tty@off.service')", false }, /* of a template, this one is masked */
                { "has_command('tool')", true },          /* over two links, the second in the tree */
                { "has_command('tool-1')", true },
                { "has_command('mine')", true },
                { "has_command('data')", false },
                { "has_command('folder')", false },
                { "has_command('sh')", false },
                { "env('TEST_EXPRESSION') == 'a b'", true },
                { "env('TEST_EXPRESSION_NOT') == null", true },
                { "default(env('TEST_EXPRESSION_NOT'), 'x') == 'x'", true },
        };
        Arena arena = {};

        ASSERT_OK(arena_map(&arena, MIB(4), NULL));
        ASSERT_OK(setenv("TEST_EXPRESSION", "a b", true));
        FOREACH_ELEMENT(c, cases) {
                Diagnostic d = {};
                Value value = {};

                if (evaluate(&arena, c->source, &value, &d) < 0)
                        fail_msg("%s: %s", c->source, d.message);
                if (value.type != VALUE_BOOLEAN || value.boolean != c->truth)
                        fail_msg("%s is wrong", c->source);
        }
        arena_unmap(&arena);
}

TEST(errors) {
        static const char unit[] =
                "has_unit(): wants the name of a unit with its ending, like 'ssh.service'";
        static const char command[] =
                "has_command(): wants the name of a program, without '/'; is_file() takes a path";
        static const struct {
                const char *source, *message;
        } cases[] = {
                { "has_unit('')", unit },
                { "has_unit('ssh')", unit },
                { "has_unit('.service')", unit },
                { "has_unit('ssh.servic')", unit },
                { "has_unit('ssh.service/')", unit },
                { "has_unit('/ssh.service')", unit },
                { "has_unit('../x/ssh.service')", unit },
                { "has_unit('ssh\\u0000.service')", unit },
                { "has_unit(1)", "has_unit(): wants a string here, not an integer" },
                { "has_command('')", command },
                { "has_command('/bin/sh')", command },
                { "has_command('../bin/sh')", command },
                { "has_command('sh\\u0000')", command },
                { "env('')", "env(): wants the name of a variable" },
                { "env('A=b')", "env(): wants the name of a variable" },
                { "env('TEST_BAD')", "env(): the value is not UTF-8" },
        };
        Arena arena = {};
        Diagnostic d = {};
        Value value;
        char *many;

        ASSERT_OK(arena_map(&arena, MIB(4), NULL));
        ASSERT_OK(setenv("TEST_BAD", "\xff", true));
        FOREACH_ELEMENT(c, cases) {
                ASSERT_EQ(evaluate(&arena, c->source, &value, &d), -EINVAL);
                if (!streq(d.message, c->message))
                        fail_msg("%s: %s", c->source, d.message);
        }

        many = arena_printf(&arena, "has_unit('%0300d.service')", 0);
        ASSERT_EQ(evaluate(&arena, many, &value, &d), -EINVAL);
        ASSERT_STREQ(d.message, unit);
        many = arena_printf(&arena, "has_command('%0300d')", 0);
        ASSERT_EQ(evaluate(&arena, many, &value, &d), -EINVAL);
        ASSERT_STREQ(d.message, command);
        arena_unmap(&arena);
}

/* Last: takes the tree away. */
TEST(cleanup) {
        root_fd = safe_close(root_fd);
        (void) nftw(root, on_remove, 16, FTW_DEPTH | FTW_PHYS);
        ASSERT_EQ(access(root, F_OK), -1);
}

TEST(setup) {
        make_tree();
}

RUN_TESTS(RUN(setup), RUN(truth), RUN(errors), RUN(cleanup))
