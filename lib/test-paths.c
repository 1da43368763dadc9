/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "paths.h"

#define SOMEBODY 65534 /* a uid that is neither root nor ours */
#define NOID     ((uid_t) -1)

/* Each test works in a directory of its own, which it sees as the root of all paths. */
static char top[64];
static int root = -EBADF;

static int setup(_unused_ void **state) {
        int fd;

        (void) umask(022);
        (void) snprintf(top, sizeof(top), "/tmp/test-paths-XXXXXX");
        if (!mkdtemp(top) || chmod(top, 0755) < 0 || path_open_root(top, &fd) < 0)
                return -1;
        root = fd;
        return 0;
}

static int teardown(_unused_ void **state) {
        char command[128];

        root = safe_close(root);
        (void) snprintf(command, sizeof(command), "rm -rf '%s'", top);
        return system(command) == 0 ? 0 : -1;
}

/* All of these take paths below the root, without the first slash. */
static void make_directory(const char *path, mode_t mode, uid_t uid) {
        ASSERT_OK(mkdirat(root, path, 0700));
        ASSERT_OK(fchownat(root, path, uid, (gid_t) -1, 0));
        ASSERT_OK(fchmodat(root, path, mode, 0));
}

static void make_link(const char *path, const char *target, uid_t uid) {
        ASSERT_OK(symlinkat(target, root, path));
        ASSERT_OK(fchownat(root, path, uid, (gid_t) -1, AT_SYMLINK_NOFOLLOW));
}

static void make_file(const char *path, const char *content) {
        _cleanup_close_ int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(write_full(fd, content, strlen(content)));
}

static bool exists(const char *path) {
        struct stat st;

        return fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void assert_content(const char *path, const char *expected) {
        _cleanup_close_ int fd = openat(root, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        char buffer[256] = {};

        ASSERT_TRUE(fd >= 0);
        ASSERT_TRUE(read_full(fd, buffer, sizeof(buffer) - 1) >= 0);
        ASSERT_STREQ(buffer, expected);
}

static void assert_mode(const char *path, mode_t mode, uid_t uid) {
        struct stat st;

        ASSERT_OK(fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW));
        ASSERT_EQ(st.st_mode & 07777, mode);
        ASSERT_EQ(st.st_uid, uid);
}

/* Nothing of ours may be left in a directory. */
static void assert_no_temporary(const char *directory) {
        char command[160];

        (void) snprintf(command, sizeof(command), "! ls -A '%s/%s' | grep -q '^\\.agentd-'", top, directory);
        ASSERT_OK(system(command));
}

#define REQUIRE(condition, reason)                     \
        do {                                           \
                if (!(condition)) {                    \
                        print_message("# %s", reason); \
                        skip();                        \
                }                                      \
        } while (0)
#define REQUIRE_ROOT() REQUIRE(geteuid() == 0, "needs root\n")

TEST(normalise) {
        static char long_part[NAME_MAX + 3], longest_part[NAME_MAX + 2], long_path[PATH_MAX + 1];
        static const struct {
                const char *in, *out;
                int r;
        } cases[] = {
                { "/", "/", 0 },
                { "//", "/", 0 },
                { "/.", "/", 0 },
                { "/a", "/a", 0 },
                { "/a/", "/a", 0 },
                { "//a///b//", "/a/b", 0 },
                { "/./a/./b/.", "/a/b", 0 },
                { "/a/...", "/a/...", 0 },
                { "/a/..b", "/a/..b", 0 },
                { "/a/.b", "/a/.b", 0 },
                { "/a b/ä", "/a b/ä", 0 },
                { longest_part, longest_part, 0 },
                { "", NULL, -EINVAL },
                { "a", NULL, -EINVAL },
                { "./a", NULL, -EINVAL },
                { "..", NULL, -EINVAL },
                { "/..", NULL, -EINVAL },
                { "/a/../b", NULL, -EINVAL },
                { "/a/..", NULL, -EINVAL },
                { "/a/../", NULL, -EINVAL },
                { long_part, NULL, -ENAMETOOLONG },
                { long_path, NULL, -ENAMETOOLONG },
        };

        memset(long_part, 'x', sizeof(long_part) - 1);
        memset(longest_part, 'x', sizeof(longest_part) - 1);
        long_part[0] = longest_part[0] = '/';
        for (size_t i = 0; i < PATH_MAX; i++)
                long_path[i] = i % 2 ? 'x' : '/';

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *out = NULL;

                ASSERT_EQ(path_normalise(c->in, &out), c->r);
                if (c->out)
                        ASSERT_STREQ(out, c->out);
                else
                        ASSERT_NULL(out);
        }

        long_path[PATH_MAX - 1] = '\0'; /* and one less is the longest good one */
        {
                _cleanup_free_ char *out = NULL;

                ASSERT_OK(path_normalise(long_path, &out));
        }
}

TEST(walks_refuse_what_is_not_normalised) {
        static const struct {
                const char *path;
                int directory, parent;
        } cases[] = {
                { "/", 0, -EISDIR },
                { "/a", 0, 0 },
                { "/a/b", 0, 0 },
                { "/a/f", -ENOTDIR, 0 },
                { "/a/f/x", -ENOTDIR, -ENOTDIR },
                { "/a/none", -ENOENT, 0 },
                { "/none/x", -ENOENT, -ENOENT },
                { "", -EINVAL, -EINVAL },
                { "a", -EINVAL, -EINVAL },
                { "//", -EINVAL, -EINVAL },
                { "/a/", -EINVAL, -EINVAL },
                { "/a//b", -EINVAL, -EINVAL },
                { "/a/./b", -EINVAL, -EINVAL },
                { "/a/../a", -EINVAL, -EINVAL },
                { "/..", -EINVAL, -EINVAL },
                { "/.", -EINVAL, -EINVAL },
        };

        make_directory("a", 0755, NOID);
        make_directory("a/b", 0755, NOID);
        make_file("a/f", "");

        FOREACH_ELEMENT(c, cases) {
                _cleanup_close_ int directory = -EBADF, parent = -EBADF;
                const char *name = NULL;

                ASSERT_EQ(path_open_directory(root, c->path, 0, NULL, &directory), c->directory);
                ASSERT_EQ(directory >= 0, c->directory == 0);
                ASSERT_EQ(path_open_parent(root, c->path, 0, NULL, &parent, &name), c->parent);
                ASSERT_EQ(parent >= 0, c->parent == 0);
                ASSERT_EQ(name != NULL, c->parent == 0);
                if (name)
                        ASSERT_STREQ(name, strrchr(c->path, '/') + 1);
        }
}

static bool same_directory(int fd, const char *path) {
        struct stat a, b;

        return fstat(fd, &a) == 0 && fstatat(root, path, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
               a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/*
 * The tree of the next two tests:
 *
 *      good/           root's, with a directory "in" and all kinds of links
 *      theirs/         somebody's
 *      theirs/roots/   root's, but they chose where it is
 *      group/          root's, writable by its group
 *      sticky/         like /tmp
 */
TEST(links_are_followed_only_where_nobody_else_can_put_them) {
        static const struct {
                const char *path, *where; /* where it leads; NULL if refused */
                int r;
        } cases[] = {
                { "/good/relative", "good/in", 0 },
                { "/good/absolute", "good/in", 0 },
                { "/good/chain", "good/in", 0 },
                { "/good/up", "good/in", 0 },
                { "/good/out", "good/in", 0 },
                { "/good/beyond", "good/in", 0 },
                { "/good/dots", "good/in", 0 },
                { "/good/top", ".", 0 },
                { "/good/slashes", "good/in", 0 },
                { "/good/to-theirs", "theirs", 0 },
                { "/good/back", "good/in", 0 },
                { "/good/to-file", NULL, -ENOTDIR },
                { "/good/dangling", NULL, -ENOENT },
                { "/good/loop", NULL, -ELOOP },
                { "/good/self", NULL, -ELOOP },
                { "/good/to-theirs/link", NULL, -ELOOP },
                { "/theirs", "theirs", 0 },
                { "/theirs/in", "theirs/in", 0 },
                { "/theirs/link", NULL, -ELOOP },
                { "/theirs/roots-link", NULL, -ELOOP },
                { "/theirs/roots", "theirs/roots", 0 },
                { "/theirs/roots/link", NULL,
                        -ELOOP }, /* they can exchange theirs/roots for another of root's */
                { "/group/link", NULL, -ELOOP },
                { "/sticky/link", "good/in", 0 },
                { "/sticky/twice", NULL, -ELOOP }, /* a hard link to a link of root's costs them nothing */
                { "/sticky/their-link", NULL, -ELOOP },
                { "/sticky/roots/link", "good/in", 0 },
                { "/sticky/theirs/link", NULL, -ELOOP },
                { "/long", "good/in", 0 },
        };

        REQUIRE_ROOT();

        make_directory("good", 0755, 0);
        make_directory("good/in", 0755, 0);
        make_file("good/file", "");
        make_directory("theirs", 0755, SOMEBODY);
        make_directory("theirs/in", 0755, 0);
        make_directory("theirs/roots", 0755, 0);
        make_directory("group", 0775, 0);
        make_directory("sticky", 01777, 0);
        make_directory("sticky/roots", 0755, 0);
        make_directory("sticky/theirs", 0755, SOMEBODY);

        make_link("good/relative", "in", 0);
        make_link("good/absolute", "/good/in", 0);
        make_link("good/chain", "relative", 0);
        make_link("good/up", "../good/in", 0);
        make_link("good/out", "../../../../good/in", 0);
        make_link("good/beyond", "/../../good/in", 0);
        make_link("good/dots", "./in/../../good/./in/.", 0);
        make_link("good/top", "../..", 0);
        make_link("good/slashes", "//good//in//", 0);
        make_link("good/to-theirs", "../theirs", 0);
        make_link("good/back", "../theirs/../good/relative", 0);
        make_link("good/to-file", "file", 0);
        make_link("good/dangling", "none", 0);
        make_link("good/loop", "loop", 0);
        make_link("good/self", "../good/self/x", 0);
        make_link("theirs/link", "/good/in", SOMEBODY);
        make_link("theirs/roots-link", "/good/in", 0);
        make_link("theirs/roots/link", "/good/in", 0);
        make_link("group/link", "/good/in", 0);
        make_link("sticky/link", "/good/in", 0);
        ASSERT_OK(linkat(root, "theirs/roots-link", root, "sticky/twice", 0));
        make_link("sticky/their-link", "/good/in", SOMEBODY);
        make_link("sticky/roots/link", "/good/in", 0);
        make_link("sticky/theirs/link", "/good/in", SOMEBODY);

        /* 39 links to links, the last to good/relative: 40 in all. One more is too many, below. */
        make_link("l1", "good/relative", 0);
        for (int i = 2; i < 40; i++) {
                char name[16], target[16];

                (void) snprintf(name, sizeof(name), i == 39 ? "long" : "l%d", i);
                (void) snprintf(target, sizeof(target), "l%d", i - 1);
                make_link(name, target, 0);
        }
        make_link("longer", "long", 0);

        FOREACH_ELEMENT(c, cases) {
                _cleanup_close_ int fd = -EBADF, strict = -EBADF;
                _cleanup_free_ char *why = NULL;
                int r;

                r = path_open_directory(root, c->path, 0, NULL, &fd);
                if (r != c->r)
                        print_message("# %s gives %d\n", c->path, r);
                ASSERT_EQ(r, c->r);
                if (c->where)
                        ASSERT_TRUE(same_directory(fd, c->where));
                else
                        ASSERT_EQ(fd, -EBADF);

                /* Without links, only those that have none. */
                r = path_open_directory(root, c->path, PATH_NO_SYMLINKS, NULL, &strict);
                ASSERT_EQ(r, c->where && streq(c->path + 1, c->where) ? 0 : -ELOOP);

                ASSERT_EQ(path_explain_refusal(root, c->path, 0, &why), c->r == -ELOOP ? 0 : -ENOENT);
        }

        {
                _cleanup_free_ char *why = NULL;
                int fd = -EBADF;

                ASSERT_EQ(path_open_directory(root, "/longer", 0, NULL, &fd), -ELOOP);
                ASSERT_EQ(fd, -EBADF);
                ASSERT_OK(path_explain_refusal(root, "/theirs/link/x", 0, &why));
                ASSERT_STREQ(why, "symlink '/theirs/link' in a directory that others can write");
        }
}

TEST(a_user_follows_his_own_and_roots_links) {
        pid_t pid;
        int status;

        REQUIRE_ROOT();

        make_directory("theirs", 0755, SOMEBODY);
        make_directory("others", 0755, SOMEBODY - 1);
        make_link("theirs/link", "/theirs", SOMEBODY);
        make_link("others/link", "/theirs", SOMEBODY - 1);
        make_link("link", "/theirs", 0);

        pid = fork();
        if (pid == 0) {
                int fd;

                if (setresuid(SOMEBODY, SOMEBODY, SOMEBODY) < 0)
                        _exit(9);
                if (path_open_directory(root, "/theirs/link", 0, NULL, &fd) != 0)
                        _exit(1);
                if (path_open_directory(root, "/link", 0, NULL, &fd) != 0)
                        _exit(2);
                if (path_open_directory(root, "/others/link", 0, NULL, &fd) != -ELOOP)
                        _exit(3);
                _exit(0);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
}

TEST(magic_links_are_not_followed) {
        _cleanup_close_ int host = -EBADF;
        static const struct {
                const char *path;
                int r;
        } cases[] = {
                { "/proc/self", 0 },
                { "/proc/self/fd", 0 },
                { "/proc/net", 0 },
                { "/proc/self/root", -ELOOP },
                { "/proc/self/cwd", -ELOOP },
                { "/proc/self/root/tmp", -ELOOP },
        };

        REQUIRE(access("/proc/self/root", F_OK) == 0, "needs /proc\n");
        ASSERT_OK(path_open_root("/", &host));
        FOREACH_ELEMENT(c, cases) {
                _cleanup_close_ int fd = -EBADF;

                ASSERT_EQ(path_open_directory(host, c->path, 0, NULL, &fd), c->r);
        }
}

static char made[512];

static void on_made(_unused_ void *userdata, const char *path) {
        strcat(made, path);
        strcat(made, " ");
}

TEST(missing_directories_are_made_and_reported) {
        const PathCreate create = { .mode = 0751, .uid = NOID, .gid = (gid_t) -1, .made = on_made };
        _cleanup_close_ int fd = -EBADF, again = -EBADF, linked = -EBADF;
        const char *name;

        made[0] = '\0';
        make_directory("a", 0755, NOID);
        make_link("a/link", "deep/er", NOID);
        (void) umask(077);

        ASSERT_OK(path_open_directory(root, "/a/b/c", 0, &create, &fd));
        ASSERT_STREQ(made, "/a/b /a/b/c ");
        ASSERT_TRUE(same_directory(fd, "a/b/c"));
        ASSERT_EQ(fcntl(fd, F_GETFL) & O_PATH, O_PATH);
        assert_mode("a/b", 0751, geteuid());
        assert_mode("a/b/c", 0751, geteuid());

        made[0] = '\0';
        ASSERT_OK(path_open_parent(root, "/a/b/c/d", 0, &create, &again, &name));
        ASSERT_STREQ(made, "");
        ASSERT_FALSE(exists("a/b/c/d"));

        /* The path reported is the real one. */
        ASSERT_OK(path_open_directory(root, "/a/link/x", 0, &create, &linked));
        ASSERT_STREQ(made, "/a/deep /a/deep/er /a/deep/er/x ");
        (void) umask(022);
}

/* Kills who calls fsync(), fchmod() or fchown(). */
static int die_at_what_follows(void) {
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 3, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fchmod, 2, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fchown, 1, 0),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        };
        const struct sock_fprog program = { .len = ELEMENTSOF(code), .filter = code };

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
                prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
                return -errno;
        return 0;
}

TEST(directory_of_a_killed_walk_has_its_mode) {
        static const struct {
                mode_t wanted, left;
                gid_t gid;
        } cases[] = {
                { 0751, 0751, (gid_t) -1 },
                { 0700, 0700, (gid_t) -1 },
                { 01777, 01777, (gid_t) -1 },
                { 0755, 0755, 65533 }, /* its group is still another one */
                { 0750, 0700, 65533 },
                { 0775, 0755, 65533 },
                { 0705, 0700, 65533 },
        };

        FOREACH_ELEMENT(c, cases) {
                const PathCreate create = { .mode = c->wanted, .uid = NOID, .gid = c->gid };
                char path[8];
                int status;
                pid_t pid;

                (void) snprintf(path, sizeof(path), "/d%zu", (size_t) (c - cases));
                pid = fork();
                ASSERT_TRUE(pid >= 0);
                if (pid == 0) {
                        int fd;

                        (void) umask(077);
                        if (die_at_what_follows() >= 0)
                                (void) path_open_directory(root, path, 0, &create, &fd);
                        _exit(EXIT_FAILURE);
                }
                ASSERT_EQ(waitpid(pid, &status, 0), pid);
                REQUIRE(WIFSIGNALED(status), "needs seccomp\n");
                ASSERT_EQ(WTERMSIG(status), SIGSYS);
                assert_mode(path + 1, c->left, geteuid());
        }
}

TEST(made_directories_get_owner_and_set_id_bits) {
        const PathCreate create = { .mode = 02775, .uid = SOMEBODY, .gid = 65533, .made = on_made };
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        REQUIRE_ROOT();

        made[0] = '\0';
        ASSERT_OK(path_open_directory(root, "/a/b", PATH_NO_SYNC, &create, &fd));
        ASSERT_STREQ(made, "/a /a/b "); /* the second one in a directory that is somebody's already */
        assert_mode("a/b", 02775, SOMEBODY);
        ASSERT_OK(fstatat(root, "a/b", &st, 0));
        ASSERT_EQ(st.st_gid, 65533);
}

TEST(cache_finds_without_a_system_call) {
        PathCache cache;
        const char *name;
        int fd, status;
        pid_t pid;

        for (int i = 0; i < PATH_CACHE_MAX; i++) {
                char path[16];

                (void) snprintf(path, sizeof(path), "d%d", i);
                make_directory(path, 0755, NOID);
        }

        path_cache_init(&cache, root, 0);
        for (int i = 0; i < PATH_CACHE_MAX; i++) {
                char path[32];

                (void) snprintf(path, sizeof(path), "/d%d/file", i);
                ASSERT_OK(path_cache_parent(&cache, path, NULL, &fd, &name));
                ASSERT_STREQ(name, "file");
        }

        pid = fork();
        if (pid == 0) {
                /* From here on every call but read, write, exit kills. */
                if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
                        _exit(9);
                for (int i = 0; i < 3 * PATH_CACHE_MAX; i++) {
                        char path[] = "/dXX/other";
                        int n = i % PATH_CACHE_MAX;

                        if (n < 10)
                                memcpy(path, "/dX/other", sizeof("/dX/other"));
                        else
                                path[2] = '1';
                        path[n < 10 ? 2 : 3] = (char) ('0' + n % 10);
                        if (path_cache_parent(&cache, path, NULL, &fd, &name) != 0)
                                syscall(SYS_exit, 1);
                        if (!streq(name, "other"))
                                syscall(SYS_exit, 2);
                }
                syscall(SYS_exit, 0);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        path_cache_done(&cache);
        REQUIRE(!(WIFEXITED(status) && WEXITSTATUS(status) == 9), "needs seccomp\n");
        ASSERT_EQ(status, 0);
}

TEST(cache_keeps_the_last_used) {
        PathCache cache;
        const char *name;
        int fd;

        for (int i = 0; i < 100; i++) {
                char path[16];

                (void) snprintf(path, sizeof(path), "d%d", i);
                make_directory(path, 0755, NOID);
        }

        path_cache_init(&cache, root, 0);
        for (int i = 0; i < 100; i++)
                for (int k = 0; k < 2; k++) {
                        char path[32];

                        (void) snprintf(path, sizeof(path), "/d%d/file", k ? 0 : i);
                        ASSERT_OK(path_cache_parent(&cache, path, NULL, &fd, &name));
                        path[strlen(path) - 5] = '\0';
                        ASSERT_TRUE(same_directory(fd, path + 1));
                }

        /* /d0 was asked for all the time, so it has its first descriptor still; /d1 has not been for long. */
        ASSERT_OK(renameat(root, "d0", root, "was-d0"));
        ASSERT_OK(renameat(root, "d1", root, "was-d1"));
        ASSERT_OK(path_cache_parent(&cache, "/d0/x", NULL, &fd, &name));
        ASSERT_TRUE(same_directory(fd, "was-d0"));
        ASSERT_EQ(path_cache_parent(&cache, "/d1/x", NULL, &fd, &name), -ENOENT);

        path_cache_clear(&cache);
        ASSERT_EQ(path_cache_parent(&cache, "/d0/x", NULL, &fd, &name), -ENOENT);
        ASSERT_OK(path_cache_parent(&cache, "/top", NULL, &fd, &name));
        ASSERT_TRUE(same_directory(fd, "."));
        ASSERT_EQ(path_cache_parent(&cache, "/", NULL, &fd, &name), -EISDIR);
        ASSERT_EQ(path_cache_parent(&cache, "x", NULL, &fd, &name), -EINVAL);
        path_cache_done(&cache);
}

static int replace(int dir_fd, const char *name, const char *content, mode_t mode, unsigned flags) {
        _cleanup_(path_replace_abort) PathReplacement p = {};
        int r;

        r = path_replace_begin(&p, dir_fd, name);
        if (r < 0)
                return r;
        r = path_replace_write(&p, content, strlen(content));
        if (r < 0)
                return r;
        return path_replace_commit(&p, NOID, (gid_t) -1, mode, flags);
}

TEST(replace_is_all_or_nothing) {
        PathReplacement p;

        ASSERT_OK(replace(root, "f", "one", 0640, 0));
        assert_content("f", "one");
        assert_mode("f", 0640, geteuid());

        ASSERT_OK(path_replace_begin(&p, root, "f"));
        ASSERT_OK(path_replace_write(&p, "tw", 2));
        assert_content("f", "one");
        path_replace_abort(&p);
        assert_content("f", "one");
        assert_no_temporary("");
        ASSERT_EQ(path_replace_write(&p, "o", 1), -ECANCELED);
        ASSERT_EQ(path_replace_commit(&p, NOID, NOID, 0644, 0), -ECANCELED);

        ASSERT_OK(replace(root, "f", "two", 0600, PATH_NO_SYNC));
        assert_content("f", "two");
        assert_mode("f", 0600, geteuid());

        /* A link is replaced, what it points to is not touched. */
        make_link("link", "f", NOID);
        ASSERT_OK(replace(root, "link", "three", 0600, 0));
        assert_content("link", "three");
        assert_content("f", "two");

        make_directory("directory", 0755, NOID);
        ASSERT_EQ(replace(root, "directory", "x", 0644, 0), -EISDIR);
        assert_no_temporary("");

        path_replace_abort(&(PathReplacement){});
}

TEST(names_are_single_parts) {
        static const char *const bad[] = { "", ".", "..", "a/b", "/a", "a/" };
        char longest[NAME_MAX + 2] = {};

        FOREACH_ELEMENT(name, bad) {
                char *data = NULL;

                ASSERT_EQ(replace(root, *name, "x", 0644, 0), -EINVAL);
                ASSERT_EQ(path_make_symlink(root, *name, "x", NOID, NOID, 0), -EINVAL);
                ASSERT_EQ(path_remove(root, *name, 0), -EINVAL);
                ASSERT_EQ(path_read_file(root, *name, 100, &data, NULL, NULL), -EINVAL);
                ASSERT_NULL(data);
        }

        memset(longest, 'x', NAME_MAX + 1);
        ASSERT_EQ(replace(root, longest, "x", 0644, 0), -ENAMETOOLONG);
        longest[NAME_MAX] = '\0';
        ASSERT_OK(replace(root, longest, "x", 0644, 0));
}

TEST(replace_sets_owner_before_mode) {
        PathReplacement p;

        REQUIRE_ROOT();

        ASSERT_OK(path_replace_begin(&p, root, "f"));
        ASSERT_OK(path_replace_commit(&p, SOMEBODY, 65533, 06755, 0));
        assert_mode("f", 06755, SOMEBODY); /* chown after chmod would have cleared the set-id bits */
}

TEST(stale_temporaries_are_removed) {
        PathReplacement first, second;
        char temporary[PATH_TEMPORARY_SIZE];

        /* Killed before it committed. */
        ASSERT_OK(path_replace_begin(&first, root, "f"));
        ASSERT_OK(path_replace_write(&first, "half", 4));
        memcpy(temporary, first.temporary, sizeof(temporary));
        ASSERT_EQ(strlen(temporary), 24);
        ASSERT_TRUE(startswith(temporary, ".agentd-"));
        ASSERT_TRUE(exists(temporary));

        ASSERT_OK(path_replace_begin(&second, root, "f"));
        ASSERT_STREQ(second.temporary, temporary);
        ASSERT_OK(path_replace_write(&second, "whole", 5));

        /* Had it not been killed, it must not rename what is another's now, nor remove it. */
        ASSERT_EQ(path_replace_commit(&first, NOID, NOID, 0644, 0), -ESTALE);
        ASSERT_FALSE(exists("f"));
        ASSERT_OK(path_replace_commit(&second, NOID, NOID, 0644, 0));
        assert_content("f", "whole");
        assert_no_temporary("");

        /* Whatever else has the name: a link is not followed, an empty directory goes, a full one is an error. */
        make_file("precious", "precious");
        make_link(temporary, "precious", NOID);
        ASSERT_OK(replace(root, "f", "1", 0644, 0));
        assert_content("precious", "precious");
        make_directory(temporary, 0755, NOID);
        ASSERT_OK(replace(root, "f", "2", 0644, 0));
        make_directory(temporary, 0755, NOID);
        ASSERT_OK(path_make_symlink(root, "f", "x", NOID, NOID, 0));
        make_directory(temporary, 0755, NOID);
        {
                char inside[64];

                (void) snprintf(inside, sizeof(inside), "%s/x", temporary);
                make_file(inside, "");
                /* Who keeps the name occupied does not keep us from repairing. */
                ASSERT_OK(replace(root, "f", "3", 0644, 0));
                assert_content("f", "3");
                ASSERT_OK(path_make_symlink(root, "f", "x", NOID, NOID, 0));
        }

        /* Other names have other temporaries. */
        ASSERT_OK(path_replace_begin(&first, root, "g"));
        ASSERT_FALSE(streq(first.temporary, temporary));
        path_replace_abort(&first);
}

TEST(copies_whole_files) {
        static const size_t sizes[] = { 0, 1, 4095, 65536, 65537, 1000000 };
        _cleanup_free_ char *content = malloc(1000000);

        ASSERT_NOT_NULL(content);
        for (size_t i = 0; i < 1000000; i++)
                content[i] = (char) (i * 7919 >> 3);

        FOREACH_ELEMENT(size, sizes) {
                _cleanup_close_ int source = -EBADF, copy = -EBADF;
                PathReplacement p;
                uint64_t copied = 42;

                source = openat(root, "source", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
                ASSERT_TRUE(source >= 0);
                ASSERT_OK(write_full(source, content, *size));

                ASSERT_EQ(lseek(source, 0, SEEK_SET), 0);
                ASSERT_OK(path_replace_begin(&p, root, "copy"));
                ASSERT_OK(path_replace_copy(&p, source, *size, &copied));
                ASSERT_EQ(copied, *size);
                ASSERT_OK(path_replace_commit(&p, NOID, NOID, 0644, PATH_NO_SYNC));
                ASSERT_OK(path_open_file(root, "copy", &copy, NULL));
                ASSERT_EQ(path_compare_file(copy, content, *size), 1);

                if (*size > 0) {
                        ASSERT_EQ(lseek(source, 0, SEEK_SET), 0);
                        ASSERT_OK(path_replace_begin(&p, root, "copy"));
                        ASSERT_EQ(path_replace_copy(&p, source, *size - 1, &copied), -EFBIG);
                        ASSERT_EQ(path_replace_commit(&p, NOID, NOID, 0644, 0), -EFBIG);
                        assert_no_temporary("");
                }
        }

        /* What says that it has no size, and what cannot seek. */
        {
                _cleanup_close_ int source = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
                int pipes[2];
                PathReplacement p;
                uint64_t copied = 0;

                ASSERT_TRUE(source >= 0);
                ASSERT_OK(path_replace_begin(&p, root, "copy"));
                ASSERT_OK(path_replace_copy(&p, source, UINT64_MAX, &copied));
                ASSERT_TRUE(copied > 100);
                path_replace_abort(&p);

                ASSERT_OK(pipe2(pipes, O_CLOEXEC));
                ASSERT_OK(write_full(pipes[1], "piped", 5));
                safe_close(pipes[1]);
                ASSERT_OK(path_replace_begin(&p, root, "copy"));
                ASSERT_OK(path_replace_copy(&p, pipes[0], UINT64_MAX, &copied));
                ASSERT_EQ(copied, 5);
                ASSERT_OK(path_replace_commit(&p, NOID, NOID, 0644, 0));
                assert_content("copy", "piped");
                safe_close(pipes[0]);
        }
}

TEST(symlinks_are_made_and_replaced) {
        char target[64] = {};

        ASSERT_OK(path_make_symlink(root, "l", "one", NOID, NOID, 0));
        ASSERT_EQ(readlinkat(root, "l", target, sizeof(target)), 3);
        ASSERT_OK(path_make_symlink(root, "l", "/else/where", NOID, NOID, PATH_NO_SYNC));
        ASSERT_EQ(readlinkat(root, "l", target, sizeof(target)), 11);
        ASSERT_STREQ(target, "/else/where");

        make_file("f", "file");
        ASSERT_OK(path_make_symlink(root, "f", "one", NOID, NOID, 0));
        ASSERT_EQ(readlinkat(root, "f", target, sizeof(target)), 3);
        make_directory("d", 0755, NOID);
        ASSERT_EQ(path_make_symlink(root, "d", "one", NOID, NOID, 0), -EISDIR);
        ASSERT_EQ(path_make_symlink(root, "e", "", NOID, NOID, 0), -ENOENT);
        assert_no_temporary("");

        if (geteuid() == 0) {
                struct stat st;

                ASSERT_OK(path_make_symlink(root, "l", "f", SOMEBODY, 65533, 0));
                ASSERT_OK(fstatat(root, "l", &st, AT_SYMLINK_NOFOLLOW));
                ASSERT_EQ(st.st_uid, SOMEBODY);
                ASSERT_EQ(st.st_gid, 65533);
        }
}

TEST(remove_takes_one_entry) {
        make_file("f", "");
        make_link("l", "f", NOID);
        make_directory("d", 0755, NOID);
        make_directory("full", 0755, NOID);
        make_file("full/x", "");

        ASSERT_OK(path_remove(root, "l", 0));
        ASSERT_TRUE(exists("f"));
        ASSERT_OK(path_remove(root, "f", PATH_NO_SYNC));
        ASSERT_OK(path_remove(root, "d", 0));
        ASSERT_EQ(path_remove(root, "full", 0), -ENOTEMPTY);
        ASSERT_EQ(path_remove(root, "f", 0), -ENOENT);
        ASSERT_FALSE(exists("f") || exists("l") || exists("d"));
        ASSERT_TRUE(exists("full/x"));
}

TEST(reading_takes_regular_files_only) {
        static const struct {
                const char *name;
                size_t limit;
                int r;
        } cases[] = {
                { "f", 100, 0 },
                { "f", 5, 0 },
                { "f", 4, -EFBIG },
                { "f", 0, -EFBIG },
                { "empty", 0, 0 },
                { "d", 100, -EISDIR },
                { "l", 100, -ELOOP },
                { "fifo", 100, -ENXIO },
                { "socket", 100, -ENXIO },
                { "none", 100, -ENOENT },
        };
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int s = -EBADF;

        make_file("f", "12345");
        make_file("empty", "");
        make_directory("d", 0755, NOID);
        make_link("l", "f", NOID);
        ASSERT_OK(mkfifoat(root, "fifo", 0600));
        s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", top);
        ASSERT_OK(bind(s, (struct sockaddr *) &address, sizeof(address)));

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *data = NULL;
                size_t size = 42;
                struct stat st = { .st_size = 42 };

                ASSERT_EQ(path_read_file(root, c->name, c->limit, &data, &size, &st), c->r);
                if (c->r == 0) {
                        ASSERT_EQ(size, st.st_size);
                        ASSERT_EQ(strlen(data), size);
                        ASSERT_STREQ(data, streq(c->name, "f") ? "12345" : "");
                } else {
                        ASSERT_NULL(data);
                        ASSERT_EQ(size, 42);
                        ASSERT_EQ(st.st_size, 42);
                }
        }

        /* A file that says it has no size. */
        {
                _cleanup_close_ int proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
                _cleanup_free_ char *data = NULL;
                size_t size;

                ASSERT_OK(path_read_file(proc, "smaps", MIB(16), &data, &size, NULL));
                ASSERT_TRUE(size > 4096);
                ASSERT_EQ(path_read_file(proc, "smaps", 4096, &data, &size, NULL), -EFBIG);
        }
}

TEST(compare_sees_every_difference) {
        static const size_t sizes[] = { 0, 1, 65535, 65536, 65537, 131072, 200000 };
        _cleanup_free_ char *content = calloc(1, 200001);

        for (size_t i = 0; i < 200000; i++)
                content[i] = (char) (i * 31 >> 2);

        FOREACH_ELEMENT(size, sizes) {
                _cleanup_close_ int fd = openat(root, "f", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

                ASSERT_OK(write_full(fd, content, *size));
                ASSERT_EQ(path_compare_file(fd, content, *size), 1);
                ASSERT_EQ(lseek(fd, 0, SEEK_CUR), *size);
                ASSERT_EQ(path_compare_file(fd, content, *size + 1), 0);
                if (*size == 0)
                        continue;
                ASSERT_EQ(path_compare_file(fd, content, *size - 1), 0);
                content[*size - 1] ^= 1;
                ASSERT_EQ(path_compare_file(fd, content, *size), 0);
                content[*size - 1] ^= 1;
                content[0] ^= 1;
                ASSERT_EQ(path_compare_file(fd, content, *size), 0);
                content[0] ^= 1;
        }
        ASSERT_EQ(path_compare_file(-EBADF, "", 0), -EBADF);
}

/*
 * Somebody who owns home/ exchanges home/sub, a directory, and home/evil, a link to outside/, as fast as they can,
 * while root replaces home/sub/f, makes directories below, links and removes.
 */
TEST(nobody_gets_a_write_outside) {
        const PathCreate create = { .mode = 0755, .uid = NOID, .gid = (gid_t) -1 };
        unsigned written = 0, refused = 0;
        usec_t deadline;
        pid_t pid;
        int fd, alive[2], status;

        REQUIRE_ROOT();

        make_directory("outside", 0755, 0);
        make_file("outside/f", "precious");
        make_file("outside/gone", "precious");
        make_directory("home", 0755, SOMEBODY);
        make_directory("home/sub", 0755, SOMEBODY);
        make_link("home/evil", "../outside", SOMEBODY);
        ASSERT_OK(pipe2(alive, O_CLOEXEC));

        pid = fork();
        if (pid == 0) {
                int home = openat(root, "home", O_RDONLY | O_DIRECTORY);

                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (home < 0 || setresgid(SOMEBODY, SOMEBODY, SOMEBODY) < 0 ||
                        setresuid(SOMEBODY, SOMEBODY, SOMEBODY) < 0)
                        _exit(1);
                safe_close(alive[0]);
                for (bool told = false;;) {
                        if (renameat2(home, "sub", home, "evil", RENAME_EXCHANGE) < 0)
                                _exit(errno == EINVAL || errno == ENOSYS ? 77 : 1);
                        if (!told && write(alive[1], "x", 1) < 0)
                                _exit(1);
                        told = true;
                }
        }
        safe_close(alive[1]);
        ASSERT_EQ(read(alive[0], (char[1]){}, 1), 1);
        safe_close(alive[0]);

        deadline = now_usec(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC;
        for (unsigned i = 0;
                i < 2000 || ((written == 0 || refused == 0) && now_usec(CLOCK_MONOTONIC) < deadline); i++) {
                const char *name;
                int r;

                r = path_open_parent(root, "/home/sub/f", 0, NULL, &fd, &name);
                if (r == 0) {
                        ASSERT_FALSE(same_directory(fd, "outside"));
                        ASSERT_OK(replace(fd, name, "root was here", 0644, PATH_NO_SYNC));
                        ASSERT_OK(path_make_symlink(fd, "link", "x", 0, 0, PATH_NO_SYNC));
                        r = path_remove(fd, "gone", PATH_NO_SYNC);
                        ASSERT_TRUE(r == 0 || r == -ENOENT);
                        safe_close(fd);
                        written++;
                } else {
                        ASSERT_EQ(r, -ELOOP);
                        refused++;
                }

                r = path_open_directory(root, "/home/sub/new", PATH_NO_SYNC, &create, &fd);
                if (r == 0) {
                        (void) unlinkat(fd, "../new", AT_REMOVEDIR);
                        safe_close(fd);
                } else
                        ASSERT_EQ(r, -ELOOP);
        }

        ASSERT_EQ(waitpid(pid, &status, WNOHANG), 0);
        ASSERT_OK(kill(pid, SIGKILL));
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_TRUE(written > 0);
        ASSERT_TRUE(refused > 0);
        assert_content("outside/f", "precious");
        assert_content("outside/gone", "precious");
        ASSERT_FALSE(exists("outside/link"));
        ASSERT_FALSE(exists("outside/new"));
        assert_no_temporary("outside");
}

/* Made as a directory of root's, then exchanged for another of root's that is private: its mode must stay. */
TEST(nobody_gets_a_directory_opened) {
        const PathCreate create = { .mode = 0777, .uid = SOMEBODY, .gid = (gid_t) -1 };
        usec_t deadline;
        pid_t pid;
        int status;

        REQUIRE_ROOT();

        make_directory("home", 0755, SOMEBODY);
        make_directory("home/private", 0700, 0);
        make_file("home/private/secret", "secret");

        pid = fork();
        if (pid == 0) {
                int home = openat(root, "home", O_RDONLY | O_DIRECTORY);

                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (home < 0 || setresgid(SOMEBODY, SOMEBODY, SOMEBODY) < 0 ||
                        setresuid(SOMEBODY, SOMEBODY, SOMEBODY) < 0)
                        _exit(1);
                for (;;) {
                        (void) renameat2(home, "private", home, "new", RENAME_EXCHANGE);
                        (void) unlinkat(home, "new", AT_REMOVEDIR);
                        (void) renameat2(home, "new", home, "private", RENAME_NOREPLACE);
                        (void) unlinkat(home, "private", AT_REMOVEDIR);
                }
        }

        deadline = now_usec(CLOCK_MONOTONIC) + USEC_PER_SEC;
        for (unsigned i = 0; i < 2000 || now_usec(CLOCK_MONOTONIC) < deadline; i++) {
                int fd, r;

                r = path_open_directory(root, "/home/new", PATH_NO_SYNC, &create, &fd);
                ASSERT_TRUE(r == 0 || r == -ESTALE || r == -ENOENT);
                if (r == 0)
                        safe_close(fd);
        }

        ASSERT_OK(kill(pid, SIGKILL));
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        assert_mode(exists("home/private/secret") ? "home/private" : "home/new", 0700, 0);
}

/* Makes the directory "m" a file system of our own that nobody else sees; NULL or the reason why it cannot be. */
static const char *mount_tmpfs(const char *options) {
        char path[96];

        if (geteuid() != 0)
                return "needs root\n";
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return "needs a mount namespace\n";
        /* The old descriptor is of the old namespace, where nothing will be mounted. */
        root = safe_close(root);
        ASSERT_OK(path_open_root(top, &root));
        make_directory("m", 0755, 0);
        (void) snprintf(path, sizeof(path), "%s/m", top);
        if (mount("tmpfs", path, "tmpfs", 0, options) < 0)
                return "needs to mount a tmpfs\n";
        return NULL;
}

TEST(a_full_file_system_keeps_the_old_file) {
        static char big[KIB(256)];
        const char *reason = mount_tmpfs("size=64k,nr_inodes=8");
        _cleanup_close_ int fd = -EBADF, source = -EBADF;
        char path[96];
        PathReplacement p;

        REQUIRE(!reason, reason);
        ASSERT_OK(path_open_directory(root, "/m", 0, NULL, &fd));
        ASSERT_OK(replace(fd, "f", "old", 0644, 0));

        memset(big, 'x', sizeof(big));
        ASSERT_OK(path_replace_begin(&p, fd, "f"));
        ASSERT_EQ(path_replace_write(&p, big, sizeof(big)), -ENOSPC);
        assert_no_temporary("m");
        ASSERT_EQ(path_replace_write(&p, "x", 1), -ENOSPC);
        ASSERT_EQ(path_replace_commit(&p, 0, 0, 0644, 0), -ENOSPC);
        assert_content("m/f", "old");

        source = openat(root, "source", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ASSERT_OK(write_full(source, big, sizeof(big)));
        ASSERT_EQ(lseek(source, 0, SEEK_SET), 0);
        ASSERT_OK(path_replace_begin(&p, fd, "f"));
        ASSERT_EQ(path_replace_copy(&p, source, UINT64_MAX, NULL), -ENOSPC);
        assert_no_temporary("m");
        assert_content("m/f", "old");

        /* No inode left. */
        for (int i = 0; i < 6; i++) {
                (void) snprintf(path, sizeof(path), "m/%d", i);
                make_file(path, "");
        }
        ASSERT_EQ(path_replace_begin(&p, fd, "f"), -ENOSPC);
        ASSERT_EQ(path_make_symlink(fd, "f", "x", 0, 0, 0), -ENOSPC);
        assert_content("m/f", "old");

        fd = safe_close(fd);
        (void) snprintf(path, sizeof(path), "%s/m", top);
        ASSERT_OK(umount2(path, MNT_DETACH));
}

TEST(a_read_only_file_system_is_an_error) {
        const char *reason = mount_tmpfs("size=64k");
        const PathCreate create = { .mode = 0755, .uid = NOID, .gid = (gid_t) -1 };
        _cleanup_close_ int fd = -EBADF, made_fd = -EBADF;
        char path[96];
        PathReplacement p;

        REQUIRE(!reason, reason);
        ASSERT_OK(path_open_directory(root, "/m", 0, NULL, &fd));
        ASSERT_OK(replace(fd, "f", "old", 0644, 0));
        make_directory("m/d", 0755, 0);
        (void) snprintf(path, sizeof(path), "%s/m", top);
        ASSERT_OK(mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL));

        ASSERT_EQ(path_replace_begin(&p, fd, "f"), -EROFS);
        ASSERT_EQ(path_make_symlink(fd, "f", "x", 0, 0, 0), -EROFS);
        ASSERT_EQ(path_remove(fd, "f", 0), -EROFS);
        ASSERT_EQ(path_remove(fd, "d", 0), -EROFS);
        ASSERT_EQ(path_open_directory(root, "/m/x", 0, &create, &made_fd), -EROFS);
        ASSERT_OK(path_open_directory(root, "/m/d", 0, &create, &made_fd));
        assert_content("m/f", "old");

        fd = safe_close(fd);
        made_fd = safe_close(made_fd);
        ASSERT_OK(umount2(path, MNT_DETACH));
}

#define RUN_IN_TREE(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

RUN_TESTS(RUN(normalise), RUN_IN_TREE(walks_refuse_what_is_not_normalised),
        RUN_IN_TREE(links_are_followed_only_where_nobody_else_can_put_them),
        RUN_IN_TREE(a_user_follows_his_own_and_roots_links), RUN(magic_links_are_not_followed),
        RUN_IN_TREE(missing_directories_are_made_and_reported),
        RUN_IN_TREE(directory_of_a_killed_walk_has_its_mode),
        RUN_IN_TREE(made_directories_get_owner_and_set_id_bits),
        RUN_IN_TREE(cache_finds_without_a_system_call), RUN_IN_TREE(cache_keeps_the_last_used),
        RUN_IN_TREE(replace_is_all_or_nothing), RUN_IN_TREE(names_are_single_parts),
        RUN_IN_TREE(replace_sets_owner_before_mode), RUN_IN_TREE(stale_temporaries_are_removed),
        RUN_IN_TREE(copies_whole_files), RUN_IN_TREE(symlinks_are_made_and_replaced),
        RUN_IN_TREE(remove_takes_one_entry), RUN_IN_TREE(reading_takes_regular_files_only),
        RUN_IN_TREE(compare_sees_every_difference), RUN_IN_TREE(nobody_gets_a_write_outside),
        RUN_IN_TREE(nobody_gets_a_directory_opened), RUN_IN_TREE(a_full_file_system_keeps_the_old_file),
        RUN_IN_TREE(a_read_only_file_system_is_an_error))
