/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Owns a directory that agentd manages, and does what it can to have agentd touch something else.
 *
 *      attacker SEED ROUNDS SECONDS DIRECTORY CANARY-DIRECTORY
 *
 * Goes on until it has changed names that often and is told to stop (its standard input ends), at most SECONDS. Prints
 * what it did as a line of JSON. Names that it attacks: those in `names`, d0 … in directories that are laid down, removed or
 * unpacked, and whatever is called .agentd-*.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;
static unsigned long n_done, n_temporaries, n_within;
static char canary[256];
static const char *directory;

/* What is wanted in the directory, apart from what is in directories of its own. */
static const char *const names[] = { "file0", "file1", "file2", "file3", "link", "dir", "gone", "a/deep",
        "a/b/deeper", "forced", "forced-dir", "forced-gone", "laid", "recursed", "tidied", "unpacked",
        "shared" };
#define N_NAMES (sizeof(names) / sizeof(names[0]))

/* Directories that are walked, for what is in them. */
static const char *const walked[] = { "forced", "forced-dir", "forced-gone", "laid", "recursed", "tidied",
        "unpacked", "shared" };
#define N_WALKED (sizeof(walked) / sizeof(walked[0]))

static unsigned roll(unsigned n) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return (unsigned) (state >> 33) % n;
}

static void count(int r) {
        if (r == 0)
                n_done++;
}

static const char *target(char *buffer, size_t size) {
        static const char *const places[] = { "secret", "open", "tree", "tree/inside", "nothing",
                "tree/nothing" };

        (void) snprintf(buffer, size, "%s/%s", canary, places[roll(sizeof(places) / sizeof(places[0]))]);
        return buffer;
}

static void clear(const char *name) {
        if (unlink(name) == 0 || rmdir(name) == 0 || errno == ENOENT)
                return;
        /* A directory that is not empty. */
        (void) rename(name, roll(2) ? "old0" : "old1");
}

/* Puts something in the place of a name: at once, or with a moment in between. */
static void place(const char *name) {
        char path[512], fresh[32];
        int fd, exchange;

        (void) snprintf(fresh, sizeof(fresh), "fresh%u", roll(4));
        clear(fresh);
        switch (roll(8)) {
        case 0:
        case 1:
        case 2: count(symlink(target(path, sizeof(path)), fresh)); break;
        case 3:
                /* The one that everybody may write: of others, links are forbidden by a sysctl. */
                (void) snprintf(path, sizeof(path), "%s/open", canary);
                count(link(path, fresh));
                break;
        case 4: count(mkfifo(fresh, 0666)); break;
        case 5: count(mkdir(fresh, 0777)); break;
        case 6: count(symlink(roll(2) ? "dir" : "..", fresh)); break;
        default:
                fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
                if (fd >= 0) {
                        count(write(fd, "mine\n", 5) == 5 ? 0 : -1);
                        (void) close(fd);
                }
        }
        exchange = roll(3) == 0;
        if (exchange && renameat2(AT_FDCWD, fresh, AT_FDCWD, name, RENAME_EXCHANGE) == 0) {
                n_done++;
                return;
        }
        if (rename(fresh, name) == 0) {
                n_done++;
                return;
        }
        clear(name);
        count(rename(fresh, name));
}

/* The link that is wanted, but for its owner, which is put right in place: then it is another file. */
static void right_link(void) {
        char path[512];

        clear("link");
        count(symlink("target", "link"));
        (void) snprintf(path, sizeof(path), "%s/open", canary);
        clear("fresh9");
        count(link(path, "fresh9"));
        for (unsigned i = roll(200000); i > 0; i--)
                __asm__ volatile("");
        count(rename("fresh9", "link"));
}

/* A file that is wanted but for its mode, likewise. */
static void right_file(void) {
        char path[512];
        int fd;

        for (unsigned i = 0; i < 10; i++) {
                char fresh[] = "fresh0";

                fresh[5] = (char) ('0' + i);
                clear(fresh);
        }
        clear("file2");
        fd = open("file2", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (fd >= 0)
                (void) close(fd);
        (void) snprintf(path, sizeof(path), "%s/%s", canary, roll(2) ? "open" : "secret");
        clear("fresh8");
        count(roll(2) ? link(path, "fresh8") : symlink(path, "fresh8"));
        for (unsigned i = roll(200000); i > 0; i--)
                __asm__ volatile("");
        count(rename("fresh8", "file2"));

        /* When it has been opened it loses this name, and looks like one that never had another. */
        for (unsigned i = roll(20000); i > 0; i--)
                __asm__ volatile("");
        clear("file2");
}

/* A directory on the way becomes a link to one outside, and itself again. */
static void swap(const char *name, const char *aside) {
        char path[512];

        if (rename(name, aside) < 0) {
                clear(name);
                if (rename(aside, name) < 0)
                        count(mkdir(name, 0755));
                return;
        }
        n_done++;
        (void) snprintf(path, sizeof(path), "%s/%s", canary, roll(2) ? "tree" : "");
        count(symlink(roll(4) ? path : "dir", name));
        for (unsigned i = roll(2000); i > 0; i--)
                __asm__ volatile("");
        if (roll(2))
                clear(name);
        count(rename(aside, name));
}

/* What agentd is just about to rename. */
static void temporaries(const char *where) {
        struct dirent *entry;
        DIR *d = opendir(where);

        if (!d)
                return;
        while ((entry = readdir(d))) {
                char name[512];

                if (strncmp(entry->d_name, ".agentd-", 8) != 0)
                        continue;
                (void) snprintf(name, sizeof(name), "%.200s/%.255s", where, entry->d_name);
                n_temporaries++;
                if (roll(2))
                        place(name);
                else if (roll(2))
                        clear(name);
                else
                        count(rename(name, "file1"));
        }
        (void) closedir(d);
}

/* Their names never change: a temporary can be put there before agentd does. */
static void seen_before(void) {
        static char seen[16][32];
        static unsigned n;
        struct dirent *entry;
        DIR *d;

        if (n > 0 && roll(4)) {
                place(seen[roll(n)]);
                return;
        }
        d = opendir(".");
        while (d && (entry = readdir(d)))
                if (strncmp(entry->d_name, ".agentd-", 8) == 0 && n < 16) {
                        unsigned i = 0;

                        while (i < n && strcmp(seen[i], entry->d_name) != 0)
                                i++;
                        if (i == n)
                                (void) snprintf(seen[n++], sizeof(seen[0]), "%.31s", entry->d_name);
                }
        if (d)
                (void) closedir(d);
}

/*
 * In a directory that is walked, d0 … become symlinks to one outside, and directories again. By descriptor: it goes on when the
 * directory has another name, as what is being removed has.
 */
static void within(void) {
        const char *name = walked[roll(N_WALKED)];
        char path[512], sub[32], link_name[32];
        int fd, d;

        fd = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) {
                clear(name);
                count(mkdir(name, 0777));
                fd = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        if (fd < 0)
                return;
        (void) snprintf(path, sizeof(path), "%s/tree", canary);
        for (unsigned i = 0; i < 6; i++) {
                (void) snprintf(sub, sizeof(sub), "d%u", i);
                (void) snprintf(link_name, sizeof(link_name), "l%u", i);
                if (mkdirat(fd, sub, 0777) == 0) {
                        d = openat(fd, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                        (void) mkdirat(d, "deep", 0777);
                        (void) close(openat(d, "inside", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
                        (void) close(d);
                }
                (void) symlinkat(path, fd, link_name);
        }
        for (unsigned i = 50 + roll(200); i > 0; i--) {
                unsigned n = roll(6);

                (void) snprintf(sub, sizeof(sub), "d%u", n);
                (void) snprintf(link_name, sizeof(link_name), "l%u", n);
                if (renameat2(fd, sub, fd, link_name, RENAME_EXCHANGE) == 0)
                        n_within++;
                for (unsigned k = roll(2000); k > 0; k--)
                        __asm__ volatile("");
        }
        n_done++;
        (void) close(fd);
}

static void once(void) {
        switch (roll(28)) {
        case 0:
        case 1: swap("a", "a.aside"); break;
        case 2: swap("a/b", "a/b.aside"); break;
        case 3: swap("dir", "dir.aside"); break;
        case 4: swap("a", "b.aside"); break;
        case 5:
        case 6: temporaries(roll(2) ? "." : "a"); break;
        case 7: seen_before(); break;
        case 8:
                /* The directory itself, which is named by its whole path. */
                if (chmod(directory, roll(2) ? 0777 : 0755) == 0 && roll(4) == 0)
                        clear(names[roll(N_NAMES)]);
                break;
        case 9: clear(names[roll(N_NAMES)]); break;
        case 10:
        case 11: right_link(); break;
        case 12:
        case 13:
        case 14:
        case 15:
        case 16: right_file(); break;
        case 17: swap(walked[roll(N_WALKED)], "walked.aside"); break;
        case 18:
        case 19:
        case 20:
        case 21:
        case 22:
        case 23: within(); break;
        default: place(names[roll(N_NAMES)]);
        }
}

static double now(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
        unsigned long rounds;
        double end;

        if (argc != 6 || geteuid() == 0)
                return 2;
        state = strtoul(argv[1], NULL, 10) * 0x9E3779B97F4A7C15u + 1;
        rounds = strtoul(argv[2], NULL, 10);
        end = now() + strtod(argv[3], NULL);
        directory = argv[4];
        (void) snprintf(canary, sizeof(canary), "%.200s", argv[5]);
        (void) umask(0);
        if (chdir(directory) < 0)
                return 1;

        for (unsigned i = 0; now() < end; i++) {
                struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };

                once();
                if (i % 64 == 0 && n_done >= rounds && poll(&in, 1, 0) > 0)
                        break;
        }
        (void) printf("{\"changed\": %lu, \"temporaries\": %lu, \"within\": %lu}\n", n_done, n_temporaries,
                n_within);
        return 0;
}
