/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "content-internal.h"
#include "test.h"

typedef struct Fixture {
        char directory[64];
        ContentStore *store;
} Fixture;

static void fixture_init(Fixture *f) {
        (void) snprintf(f->directory, sizeof(f->directory), "/tmp/test-content-XXXXXX");
        ASSERT_NOT_NULL(mkdtemp(f->directory));
        ASSERT_OK(content_store_open(f->directory, true, &f->store));
}

static int remove_one(
        const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *ftw) {
        return remove(path);
}

static void fixture_done(Fixture *f) {
        f->store = content_store_free(f->store);
        ASSERT_OK(nftw(f->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS));
}

static void fixture_reopen(Fixture *f) {
        f->store = content_store_free(f->store);
        ASSERT_OK(content_store_open(f->directory, true, &f->store));
}

static char *path_of(const Fixture *f, const char *name) {
        static char path[1024];

        (void) snprintf(path, sizeof(path), "%s/content/%.2s/%s", f->directory, name, name);
        return path;
}

/* Files below content/, whose names begin so. */
static unsigned count(const Fixture *f, const char *prefix) {
        char path[128];
        unsigned n = 0;

        for (int i = -1; i < 256; i++) {
                DIR *dir;

                if (i < 0)
                        (void) snprintf(path, sizeof(path), "%s/content", f->directory);
                else
                        (void) snprintf(path, sizeof(path), "%s/content/%02x", f->directory, (unsigned) i);
                dir = opendir(path);
                if (!dir)
                        continue;
                for (const struct dirent *entry; (entry = readdir(dir));)
                        n += entry->d_type == DT_REG && startswith(entry->d_name, prefix);
                (void) closedir(dir);
        }
        return n;
}

typedef struct Bytes {
        uint8_t *data;
        size_t size;
} Bytes;

static int gather(void *userdata, const void *data, size_t size) {
        Bytes *bytes = userdata;

        bytes->data = realloc(bytes->data, bytes->size + size);
        if (!bytes->data)
                return -ENOMEM;
        memcpy(bytes->data + bytes->size, data, size);
        bytes->size += size;
        return 0;
}

static void check_content(Fixture *f, const char *name, const void *data, size_t size, bool sealed) {
        ContentKept kept = {};
        const char *why = NULL;
        Bytes bytes = {};

        ASSERT_EQ(content_get(f->store, name, gather, &bytes, &kept, &why), 0);
        ASSERT_EQ(bytes.size, size);
        ASSERT_TRUE(size == 0 || memcmp(bytes.data, data, size) == 0);
        ASSERT_EQ(kept.size, size);
        ASSERT_EQ(kept.sealed, sealed);
        ASSERT_STREQ(kept.name, name);
        free(bytes.data);
}

static int get(Fixture *f, const char *name, const char **ret_why) {
        return content_get(f->store, name, NULL, NULL, NULL, ret_why);
}

/* Text that can be packed, or what cannot. */
static uint8_t *make(size_t size, bool random) {
        uint8_t *data = malloc(MAX(size, (size_t) 1));

        ASSERT_NOT_NULL(data);
        if (random)
                randombytes_buf(data, size);
        else
                for (size_t i = 0; i < size; i++)
                        data[i] = "a line of a file\n"[i % 17] ^ (i / 5000 % 2);
        return data;
}

static int file_of(const void *content, size_t size) {
        int fd = memfd_create("test", MFD_CLOEXEC);

        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(write_full(fd, content, size));
        return fd;
}

static void hash_of(const void *data, size_t size, char name[CONTENT_NAME_SIZE]) {
        uint8_t hash[CONTENT_HASH_SIZE];

        (void) crypto_generichash(hash, sizeof(hash), data, size, NULL, 0);
        (void) sodium_bin2hex(name, CONTENT_NAME_SIZE, hash, sizeof(hash));
}

/* Ends with the test, also if that fails. */
static pid_t fork_child(void) {
        pid_t pid = fork();

        ASSERT_TRUE(pid >= 0);
        if (pid == 0)
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        return pid;
}

/* ---- What is kept ------------------------------------------------------------------------------------------------- */

TEST(contents_of_all_sizes_come_back) {
        static const size_t sizes[] = { 0, 1, 2, 63, 64, 65, 1000, KIB(64), CONTENT_BLOCK - 1, CONTENT_BLOCK,
                CONTENT_BLOCK + 1, 2 * CONTENT_BLOCK - 1, 2 * CONTENT_BLOCK, 2 * CONTENT_BLOCK + 1,
                MIB(10) };
        Fixture f;

        fixture_init(&f);
        FOREACH_ELEMENT(size, sizes)
                for (unsigned kind = 0; kind < 4; kind++) {
                        bool sealed = kind & 1, random = kind & 2;
                        _cleanup_free_ uint8_t *data = make(*size, random);
                        _cleanup_close_ int fd = file_of(data, *size);
                        ContentKept kept, again;
                        char name[CONTENT_NAME_SIZE];
                        struct stat st;

                        ASSERT_OK(content_put(f.store, data, *size, sealed, &kept));
                        ASSERT_EQ(kept.size, *size);
                        ASSERT_EQ(kept.sealed, sealed);
                        hash_of(data, *size, name);
                        ASSERT_EQ(streq(kept.name, name), !sealed);
                        check_content(&f, kept.name, data, *size, sealed);

                        /* Packed if that makes it smaller, and hardly larger if not. */
                        ASSERT_OK(stat(path_of(&f, kept.name), &st));
                        ASSERT_EQ(st.st_mode & 07777, 0600);
                        ASSERT_TRUE((size_t) st.st_size <= *size + 100 + 21 * (*size / CONTENT_BLOCK));
                        if (!random && *size >= 1000)
                                ASSERT_TRUE((size_t) st.st_size < *size / 2);

                        /* From a file it is the same one; its offset stays. */
                        ASSERT_OK(content_put_file(f.store, fd, sealed, UINT64_MAX, &again));
                        ASSERT_STREQ(again.name, kept.name);
                        ASSERT_EQ(again.size, *size);
                        ASSERT_EQ(lseek(fd, 0, SEEK_CUR), (off_t) *size);

                        /* And from a file that is not there yet. */
                        ASSERT_OK(unlink(path_of(&f, kept.name)));
                        ASSERT_OK(content_put_file(f.store, fd, sealed, *size, &again));
                        check_content(&f, again.name, data, *size, sealed);
                        if (*size > 0)
                                ASSERT_EQ(content_put_file(f.store, fd, sealed, *size - 1, &again), -EFBIG);
                }
        ASSERT_EQ(count(&f, CONTENT_TEMPORARY), 0);
        fixture_done(&f);
}

TEST(the_same_content_is_written_once) {
        static const size_t sizes[] = { 10, 1000, CONTENT_BLOCK * 3 };
        Fixture f;

        fixture_init(&f);
        FOREACH_ELEMENT(size, sizes)
                for (unsigned sealed = 0; sealed < 2; sealed++) {
                        _cleanup_free_ uint8_t *data = make(*size, false);
                        static const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
                        struct stat before, after;
                        ContentKept kept;

                        ASSERT_OK(content_put(f.store, data, *size, sealed, &kept));
                        ASSERT_OK(stat(path_of(&f, kept.name), &before));
                        ASSERT_OK(utimensat(AT_FDCWD, path_of(&f, kept.name), old, 0));
                        fixture_reopen(&f);
                        ASSERT_OK(content_put(f.store, data, *size, sealed, &kept));
                        ASSERT_OK(stat(path_of(&f, kept.name), &after));
                        ASSERT_TRUE(before.st_ino == after.st_ino);
                        ASSERT_TRUE(after.st_mtim.tv_sec > 1000); /* kept for longer */
                }
        fixture_done(&f);
}

TEST(what_is_sealed_shows_nothing) {
        static const char secret[] = "hunter2 is the password of all passwords, which nobody may see; "
                                     "it is hunter2, and again hunter2";
        ContentKept here, there, open;
        uint8_t buffer[512];
        const char *why;
        Fixture a, b;
        ssize_t n;
        int fd;

        fixture_init(&a);
        fixture_init(&b);
        ASSERT_OK(content_put(a.store, secret, sizeof(secret), true, &here));
        ASSERT_OK(content_put(b.store, secret, sizeof(secret), true, &there));
        ASSERT_OK(content_put(a.store, secret, sizeof(secret), false, &open));
        ASSERT_FALSE(streq(here.name, there.name));
        ASSERT_FALSE(streq(here.name, open.name));

        fd = openat(AT_FDCWD, path_of(&a, here.name), O_RDONLY | O_CLOEXEC);
        n = read_full(fd, buffer, sizeof(buffer));
        ASSERT_TRUE(n > 0);
        ASSERT_NULL(memmem(buffer, (size_t) n, "hunter", 6));
        safe_close(fd);

        /* With another key it cannot be read, and without. */
        {
                char from[128], to[128];

                (void) snprintf(from, sizeof(from), "%s/content.key", b.directory);
                (void) snprintf(to, sizeof(to), "%s/content.key", a.directory);
                ASSERT_OK(rename(from, to));
                fixture_reopen(&a);
                ASSERT_EQ(get(&a, here.name, &why), -EBADMSG);
                ASSERT_NOT_NULL(strstr(why, "another content.key"));
                ASSERT_OK(unlink(to));
                fixture_reopen(&a);
                ASSERT_EQ(get(&a, here.name, &why), -ENOKEY);
                ASSERT_OK(get(&a, open.name, &why)); /* needs none, and makes none */
                ASSERT_EQ(access(to, F_OK), -1);
        }
        fixture_done(&a);
        fixture_done(&b);
}

TEST(keys_that_are_none) {
        static const struct {
                size_t size;
                mode_t mode;
                int r;
        } cases[] = { { 0, 0600, -EBADMSG }, { 31, 0600, -EBADMSG }, { 33, 0600, -EBADMSG },
                { 32, 0640, -EPERM }, { 32, 0604, -EPERM }, { 32, 0400, 0 } };
        ContentKept kept;
        Fixture f;

        fixture_init(&f);
        FOREACH_ELEMENT(c, cases) {
                uint8_t bytes[33];
                char path[128];
                int fd;

                memset(bytes, 'k', sizeof(bytes));
                (void) snprintf(path, sizeof(path), "%s/content.key", f.directory);
                (void) unlink(path);
                fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
                ASSERT_OK(write_full(fd, bytes, c->size));
                ASSERT_OK(fchmod(fd, c->mode));
                safe_close(fd);
                fixture_reopen(&f);
                ASSERT_EQ(content_put(f.store, "secret", 6, true, &kept), c->r);
                ASSERT_OK(content_put(f.store, "open", 4, false, &kept));
        }
        {
                uint8_t zero[32] = {};
                char path[128];
                int fd;

                (void) snprintf(path, sizeof(path), "%s/content.key", f.directory);
                (void) unlink(path);
                fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
                ASSERT_OK(write_full(fd, zero, sizeof(zero)));
                safe_close(fd);
                fixture_reopen(&f);
                ASSERT_EQ(content_put(f.store, "secret", 6, true, &kept), -EBADMSG);
                ASSERT_OK(unlink(path));
                ASSERT_OK(mkdir(path, 0700));
                ASSERT_EQ(content_put(f.store, "secret", 6, true, &kept), -EBADMSG);
        }
        fixture_done(&f);
}

/* ---- What can happen to a file ------------------------------------------------------------------------------------ */

TEST(a_file_that_is_cut_short_is_told) {
        static const size_t sizes[] = { 0, 100, 1000, CONTENT_BLOCK + 1000 };
        Fixture f;

        fixture_init(&f);
        FOREACH_ELEMENT(size, sizes)
                for (unsigned kind = 0; kind < 4; kind++) {
                        bool sealed = kind & 1;
                        _cleanup_free_ uint8_t *data = make(*size, kind & 2);
                        ContentKept kept;
                        struct stat st;
                        off_t step;

                        ASSERT_OK(content_put(f.store, data, *size, sealed, &kept));
                        ASSERT_OK(stat(path_of(&f, kept.name), &st));
                        step = MAX(st.st_size / 500, 1);
                        for (off_t at = st.st_size - 1; at >= 0; at -= step) {
                                const char *why = NULL;

                                ASSERT_OK(truncate(path_of(&f, kept.name), at));
                                ASSERT_EQ(get(&f, kept.name, &why), -EBADMSG);
                                ASSERT_NOT_NULL(why);
                        }
                        /* What is damaged is replaced. */
                        ASSERT_OK(content_put(f.store, data, *size, sealed, &kept));
                        check_content(&f, kept.name, data, *size, sealed);

                        /* Zeros, as some file systems leave them. */
                        ASSERT_OK(truncate(path_of(&f, kept.name), 0));
                        ASSERT_OK(truncate(path_of(&f, kept.name), st.st_size));
                        {
                                const char *why = NULL;

                                ASSERT_EQ(get(&f, kept.name, &why), -EBADMSG);
                        }
                        ASSERT_OK(content_put(f.store, data, *size, sealed, &kept));
                        check_content(&f, kept.name, data, *size, sealed);
                }
        fixture_done(&f);
}

TEST(no_bit_can_be_flipped) {
        static const size_t sizes[] = { 0, 5, 300 };
        Fixture f;

        fixture_init(&f);
        FOREACH_ELEMENT(size, sizes)
                for (unsigned kind = 0; kind < 4; kind++) {
                        _cleanup_free_ uint8_t *data = make(*size, kind & 2);
                        ContentKept kept;
                        struct stat st;
                        int fd;

                        ASSERT_OK(content_put(f.store, data, *size, kind & 1, &kept));
                        fd = open(path_of(&f, kept.name), O_RDWR | O_CLOEXEC);
                        ASSERT_TRUE(fd >= 0);
                        ASSERT_OK(fstat(fd, &st));
                        for (off_t bit = 0; bit < 8 * st.st_size; bit++) {
                                const char *why = NULL;
                                uint8_t byte;
                                int r;

                                ASSERT_EQ(pread(fd, &byte, 1, bit / 8), 1);
                                byte ^= (uint8_t) (1u << (bit % 8));
                                ASSERT_EQ(pwrite(fd, &byte, 1, bit / 8), 1);
                                r = get(&f, kept.name, &why);
                                /* A version to come; sealed, while there is no key; and bits of a zstd frame that lead to
                                 * the same content. */
                                if (bit / 8 == 8)
                                        ASSERT_EQ(r, -EPROTONOSUPPORT);
                                else if (r == -ENOKEY)
                                        ASSERT_EQ(bit, 8 * 9);
                                else if (r == 0)
                                        ASSERT_TRUE(!(kind & 1) &&
                                                    bit >= 8 * (off_t) (sizeof(ContentHeader) + 4));
                                else
                                        ASSERT_EQ(r, -EBADMSG);
                                if (r == 0)
                                        why = "";
                                ASSERT_NOT_NULL(why);
                                byte ^= (uint8_t) (1u << (bit % 8));
                                ASSERT_EQ(pwrite(fd, &byte, 1, bit / 8), 1);
                        }
                        /* And none may follow. */
                        ASSERT_EQ(pwrite(fd, "x", 1, st.st_size), 1);
                        {
                                const char *why = NULL;

                                ASSERT_EQ(get(&f, kept.name, &why), -EBADMSG);
                        }
                        safe_close(fd);
                }
        fixture_done(&f);
}

TEST(what_lies_in_the_place_of_a_file) {
        const char *why = NULL;
        ContentKept kept;
        char name[CONTENT_NAME_SIZE];
        Fixture f;

        fixture_init(&f);
        hash_of("x", 1, name);
        ASSERT_EQ(get(&f, name, &why), -ENOENT);
        ASSERT_OK(content_put(f.store, "x", 1, false, &kept));
        ASSERT_OK(unlink(path_of(&f, name)));

        ASSERT_OK(mkdir(path_of(&f, name), 0700));
        ASSERT_EQ(get(&f, name, &why), -EBADMSG);
        ASSERT_EQ(content_put(f.store, "x", 1, false, &kept), -EISDIR);
        ASSERT_OK(rmdir(path_of(&f, name)));

        ASSERT_OK(mkfifo(path_of(&f, name), 0600));
        ASSERT_EQ(get(&f, name, &why), -EBADMSG);
        ASSERT_OK(content_put(f.store, "x", 1, false, &kept));
        ASSERT_OK(get(&f, name, &why));
        ASSERT_OK(unlink(path_of(&f, name)));

        /* A link is not followed. */
        ASSERT_OK(symlink("/etc/passwd", path_of(&f, name)));
        ASSERT_EQ(get(&f, name, &why), -ELOOP);
        ASSERT_OK(content_put(f.store, "x", 1, false, &kept));
        ASSERT_OK(get(&f, name, &why));
        ASSERT_EQ(count(&f, CONTENT_TEMPORARY), 0);
        fixture_done(&f);
}

TEST(names_that_are_none) {
        static const char *const names[] = {
                "",
                "a",
                "../../../../../../../../../../../../../../../../../../etc/passwd",
                "BDDD813C634239723171EF3FEE98579B94964E3BB1CB3E427262C8C068D52319",
                "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d5231",
                "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d523190",
                "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d5231g",
        };
        Fixture f;

        fixture_init(&f);
        FOREACH_ELEMENT(name, names) {
                const char *why = NULL;

                ASSERT_EQ(get(&f, *name, &why), -EINVAL);
                ASSERT_NOT_NULL(why);
        }
        fixture_done(&f);
}

/* ---- No space ----------------------------------------------------------------------------------------------------- */

TEST(without_space_nothing_is_left_behind) {
        Fixture f;
        pid_t pid;
        int status;

        fixture_init(&f);
        pid = fork_child();
        if (pid == 0) {
                _cleanup_free_ uint8_t *data = make(MIB(1), true);
                ContentKept kept = { .size = 42 };

                (void) signal(SIGXFSZ, SIG_IGN);
                (void) setrlimit(RLIMIT_FSIZE, &(struct rlimit){ KIB(200), KIB(200) });
                if (content_put(f.store, data, MIB(1), false, &kept) != -EFBIG || kept.size != 42)
                        _exit(1);
                if (content_put(f.store, data, KIB(1), false, &kept) != 0)
                        _exit(2);
                _exit(0);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
        ASSERT_EQ(count(&f, ""), 1);
        fixture_done(&f);
}

TEST(a_directory_that_cannot_be) {
        ContentStore *store = NULL;
        char path[128];
        Fixture f;

        ASSERT_EQ(content_store_open("/nonexistent", true, &store), -ENOENT);
        fixture_init(&f);
        ASSERT_EQ(content_store_open(f.directory, false, &store), 0);
        store = content_store_free(store);
        (void) snprintf(path, sizeof(path), "%s/content", f.directory);
        ASSERT_OK(rmdir(path));
        ASSERT_EQ(content_store_open(f.directory, false, &store), -ENOENT);
        ASSERT_OK(symlink("/tmp", path));
        ASSERT_EQ(content_store_open(f.directory, true, &store), -ENOTDIR);
        ASSERT_NULL(store);
        fixture_done(&f);
}

/* ---- Several at once ---------------------------------------------------------------------------------------------- */

TEST(many_processes_at_once) {
        enum { PROCESSES = 4, ROUNDS = 60 };
        const char *why;
        Fixture f;

        fixture_init(&f);
        for (unsigned i = 0; i < PROCESSES; i++)
                if (fork_child() == 0) {
                        ContentStore *store = NULL;

                        /* The key as well is made by all at once. */
                        if (content_store_open(f.directory, true, &store) < 0)
                                _exit(1);
                        for (unsigned k = 0; k < ROUNDS; k++) {
                                _cleanup_free_ uint8_t *data = make(1000 + 100 * k, false);
                                ContentKept kept;

                                if (content_put(store, data, 1000 + 100 * k, k & 1, &kept) < 0 ||
                                        content_get(store, kept.name, NULL, NULL, NULL, &why) < 0)
                                        _exit(2);
                        }
                        _exit(0);
                }
        for (unsigned i = 0; i < PROCESSES; i++) {
                int status;

                ASSERT_TRUE(wait(&status) > 0);
                ASSERT_EQ(status, 0);
        }
        /* One key: each content once. */
        ASSERT_EQ(count(&f, ""), ROUNDS);
        fixture_done(&f);
}

TEST(a_file_that_grows_while_it_is_read) {
        enum { ROUNDS = 30 };
        _cleanup_free_ uint8_t *piece = make(KIB(8), true);
        const char *why = NULL;
        Fixture f;
        pid_t pid;
        int fd;

        fixture_init(&f);
        fd = memfd_create("grows", MFD_CLOEXEC);
        ASSERT_TRUE(fd >= 0);
        pid = fork_child();
        if (pid == 0) {
                /* Grows, and changes in front, until it is killed. */
                for (unsigned i = 0;; i++) {
                        (void) pwrite(fd, piece, KIB(8), (off_t) KIB(8) * (i % 128));
                        (void) pwrite(fd, &i, sizeof(i), 0);
                        if (i % 1024 == 0)
                                (void) ftruncate(fd, 0);
                }
        }
        for (unsigned i = 0; i < ROUNDS; i++) {
                ContentKept kept, back;
                int r = content_put_file(f.store, fd, i & 1, MIB(100), &kept);

                ASSERT_OK(r);
                /* Whatever it was: the name is that of what is there. */
                ASSERT_OK(content_get(f.store, kept.name, NULL, NULL, &back, &why));
                ASSERT_TRUE(back.size == kept.size);
        }
        ASSERT_OK(kill(pid, SIGKILL));
        ASSERT_EQ(waitpid(pid, NULL, 0), pid);
        safe_close(fd);
        ASSERT_EQ(count(&f, CONTENT_TEMPORARY), 0);
        fixture_done(&f);
}

/* ---- Collecting --------------------------------------------------------------------------------------------------- */

#define NOW now_usec(CLOCK_REALTIME)

static void make_old(const char *path, time_t seconds) {
        const struct timespec t[2] = { { .tv_sec = time(NULL) - seconds },
                { .tv_sec = time(NULL) - seconds } };

        ASSERT_OK(utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW));
}

/* Those that are wanted, ended by NULL. */
static int is_listed(void *userdata, const char *name) {
        for (const char *const *p = userdata; *p; p++)
                if (streq(*p, name))
                        return 1;
        return 0;
}

TEST(what_nobody_wants_goes_after_an_hour) {
        ContentKept kept[4];
        const char *why, *wanted[] = { kept[0].name, NULL };
        char path[192];
        Fixture f;

        fixture_init(&f);
        for (unsigned i = 0; i < ELEMENTSOF(kept); i++) {
                ASSERT_OK(content_put(f.store, &i, sizeof(i), false, &kept[i]));
                make_old(path_of(&f, kept[i].name), 3700);
        }
        make_old(path_of(&f, kept[2].name), 3000);               /* young */
        make_old(path_of(&f, kept[3].name), -30 * 24 * 60 * 60); /* of a clock that was wrong */

        /* What writers left, and what is somebody else's. */
        for (unsigned i = 0; i < 3; i++) {
                static const char *const names[] = { "content/.new-1", "content/.new-2", "content/README" };
                int fd;

                (void) snprintf(path, sizeof(path), "%s/%s", f.directory, names[i]);
                fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
                ASSERT_TRUE(fd >= 0);
                safe_close(fd);
                if (i != 1)
                        make_old(path, 3700);
        }
        ASSERT_OK(content_collect(f.directory, UINT64_MAX, NOW, is_listed, wanted));
        ASSERT_OK(get(&f, kept[0].name, &why));
        ASSERT_EQ(get(&f, kept[1].name, &why), -ENOENT);
        ASSERT_OK(get(&f, kept[2].name, &why));
        ASSERT_EQ(get(&f, kept[3].name, &why), -ENOENT);
        ASSERT_EQ(count(&f, CONTENT_TEMPORARY), 1);
        ASSERT_EQ(count(&f, "README"), 1);
        fixture_done(&f);
}

TEST(the_oldest_go_if_it_is_too_much) {
        ContentKept kept[10];
        const char *why, *wanted[] = { kept[0].name, kept[1].name, kept[9].name, NULL };
        Fixture f;

        fixture_init(&f);
        for (unsigned i = 0; i < ELEMENTSOF(kept); i++) {
                _cleanup_free_ uint8_t *data = make(KIB(8) - 100, true);

                ASSERT_OK(content_put(f.store, data, KIB(8) - 100, false, &kept[i]));
                make_old(path_of(&f, kept[i].name), 1000 - (time_t) i);
        }
        ASSERT_OK(content_collect(f.directory, KIB(80), NOW, is_listed, wanted));
        ASSERT_EQ(count(&f, ""), 10);
        ASSERT_OK(content_collect(f.directory, KIB(60), NOW, is_listed, wanted));
        ASSERT_EQ(count(&f, ""), 6);
        for (unsigned i = 0; i < ELEMENTSOF(kept); i++)
                ASSERT_EQ(get(&f, kept[i].name, &why), i < 4 ? -ENOENT : 0);
        ASSERT_OK(content_collect(f.directory, 0, NOW, is_listed, wanted));
        ASSERT_EQ(count(&f, ""), 0);
        fixture_done(&f);
}

static int is_unknown(_unused_ void *userdata, _unused_ const char *name) {
        return -EIO;
}

TEST(nothing_goes_while_it_cannot_be_told) {
        ContentKept kept;
        Fixture f;

        fixture_init(&f);
        ASSERT_OK(content_put(f.store, "x", 1, false, &kept));
        make_old(path_of(&f, kept.name), 10000);
        ASSERT_EQ(content_collect(f.directory, 0, NOW, is_unknown, NULL), -EIO);
        ASSERT_EQ(count(&f, ""), 1);
        fixture_done(&f);
        /* No store is no trouble. */
        ASSERT_OK(content_collect("/nonexistent", 0, NOW, is_unknown, NULL));
}

TEST(what_is_kept_anew_is_not_collected) {
        enum { ROUNDS = 300 };
        static const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
        const char *wanted[] = { NULL }, *why;
        Fixture f;
        pid_t pid;

        fixture_init(&f);
        pid = fork_child();
        if (pid == 0)
                for (;;) {
                        (void) content_collect(f.directory, UINT64_MAX, NOW, is_listed, wanted);
                }
        for (unsigned i = 0; i < ROUNDS; i++) {
                ContentKept kept;

                ASSERT_OK(content_put(f.store, "again and again", 15, false, &kept));
                /* It is young, so nobody may take it away for good; for a moment it may be without its name. */
                for (unsigned k = 0; get(&f, kept.name, &why) == -ENOENT; k++)
                        ASSERT_TRUE(k < 1000000);
                /* Now one may; if it is without its name at this moment, the next round will do. */
                (void) utimensat(AT_FDCWD, path_of(&f, kept.name), old, 0);
        }
        ASSERT_OK(kill(pid, SIGKILL));
        ASSERT_EQ(waitpid(pid, NULL, 0), pid);
        fixture_done(&f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                RUN(contents_of_all_sizes_come_back),
                RUN(the_same_content_is_written_once),
                RUN(what_is_sealed_shows_nothing),
                RUN(keys_that_are_none),
                RUN(a_file_that_is_cut_short_is_told),
                RUN(no_bit_can_be_flipped),
                RUN(what_lies_in_the_place_of_a_file),
                RUN(names_that_are_none),
                RUN(without_space_nothing_is_left_behind),
                RUN(a_directory_that_cannot_be),
                RUN(many_processes_at_once),
                RUN(a_file_that_grows_while_it_is_read),
                RUN(what_nobody_wants_goes_after_an_hour),
                RUN(the_oldest_go_if_it_is_too_much),
                RUN(nothing_goes_while_it_cannot_be_told),
                RUN(what_is_kept_anew_is_not_collected),
        };

        return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
