/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "mount-table.h"
#include "test.h"

TEST(below) {
        static const struct {
                const char *path, *directory;
                bool below;
        } cases[] = {
                { "/", "/", true },
                { "/a", "/", true },
                { "/a", "/a", true },
                { "/a/b", "/a", true },
                { "/ab", "/a", false },
                { "/a", "/a/b", false },
                { "/", "/a", false },
                { "/a b/c", "/a b", true },
        };

        FOREACH_ELEMENT(c, cases)
                if (path_is_below(c->path, c->directory) != c->below)
                        fail_msg("'%s' below '%s'", c->path, c->directory);
}

#define ROOT "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
#define HOME "30 22 8:2 / /home rw shared:2 - ext4 /dev/sda2 rw\n"
#define NFS  "31 30 0:50 / /home/ada/net rw - nfs server:/x rw\n"

TEST(mount_points) {
        static const struct {
                const char *table, *path;
                int r;
                const char *mount;
        } cases[] = {
                { ROOT, "/", 0, "/" },
                { ROOT, "/etc/motd", 0, "/" },
                { ROOT HOME, "/home", 0, "/home" },
                { ROOT HOME, "/home/ada", 0, "/home" },
                { ROOT HOME, "/homes/ada", 0, "/" },
                { ROOT HOME NFS, "/home/ada/net/file", 0, "/home/ada/net" },
                { ROOT HOME NFS, "/home/ada/nets", 0, "/home" },
                /* In any order. */
                { NFS HOME ROOT, "/home/ada/net/file", 0, "/home/ada/net" },
                { HOME, "/etc", -ENOENT, NULL },
                { "", "/etc", -ENOENT, NULL },
                /* Blanks, backslashes and tabs are escaped. */
                { ROOT "40 22 0:1 / /mnt/a\\040b\\134c rw - tmpfs x rw\n", "/mnt/a b\\c/d", 0,
                        "/mnt/a b\\c" },
                { ROOT "40 22 0:1 / /mnt/a\\011 rw - tmpfs x rw\n", "/mnt/a\t", 0, "/mnt/a\t" },
                { ROOT "40 22 0:1 / /mnt/a\\04 rw - tmpfs x rw\n", "/mnt/a\\04", 0, "/mnt/a\\04" },
                /* What is no line of a mount table is passed over. */
                { "\n\nnonsense\n1 2 3 4\n" ROOT, "/x", 0, "/" },
                { "1 2 3 4", "/x", -ENOENT, NULL },
                { "1 2 3 4 /x", "/x/y", 0, "/x" },
        };

        FOREACH_ELEMENT(c, cases) {
                char *mount = (char *) c;

                ASSERT_EQ(mount_point_of(c->table, c->path, &mount), c->r);
                if (c->r < 0) {
                        ASSERT_TRUE(mount == (const char *) c);
                        continue;
                }
                ASSERT_STREQ(mount, c->mount);
                free(mount);
        }
}

TEST(of_this_process) {
        char *mount;

        ASSERT_OK(mount_point_of(NULL, "/proc/self/mountinfo", &mount));
        ASSERT_STREQ(mount, "/proc");
        free(mount);
}

RUN_TESTS(RUN(below), RUN(mount_points), RUN(of_this_process))
