/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "test.h"

#include "download-directory.h"
#include "download.h"

#define HEX32 "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef"

TEST(names_differ_when_anything_does) {
        static const char *const one[] = { "https://a/x", NULL },
                                 *const two[] = { "https://a/x", "https://b/x", NULL },
                                 *const joined[] = { "https://a/xhttps://b/x", NULL },
                                 *const keys[] = { "RWQ", NULL };
        const AgentdDownload downloads[] = {
                { .urls = one },
                { .urls = two },
                { .urls = joined },
                { .urls = one, .checksum = HEX32 },
                { .urls = one, .signature = HEX32 },
                { .urls = one, .keys = keys },
        };
        char names[ELEMENTSOF(downloads)][DOWNLOAD_NAME_MAX], other[DOWNLOAD_NAME_MAX];

        for (size_t i = 0; i < ELEMENTSOF(downloads); i++) {
                (void) download_name(names[i], "file:/x", &downloads[i], DOWNLOAD_PART);
                ASSERT_TRUE(download_name_is(names[i], DOWNLOAD_PART));
                ASSERT_FALSE(download_name_is(names[i], DOWNLOAD_SIGNATURE));
                for (size_t k = 0; k < i; k++)
                        ASSERT_FALSE(streq(names[i], names[k]));
                (void) download_name(other, "file:/y", &downloads[i], DOWNLOAD_PART);
                ASSERT_FALSE(streq(names[i], other));
                (void) download_name(other, "file:/x", &downloads[i], DOWNLOAD_PART);
                ASSERT_STREQ(names[i], other);
        }
        ASSERT_FALSE(download_name_is("store.db", DOWNLOAD_PART));
        ASSERT_FALSE(download_name_is(".part", DOWNLOAD_PART));
        ASSERT_FALSE(download_name_is("../0123456789abcdef0123456789abc.part", DOWNLOAD_PART));
}

static json_t *parsed_request(const AgentdDownload *download, const DownloadRequest *request) {
        _cleanup_free_ char *text = download_request(download, request);
        json_t *json;

        ASSERT_NOT_NULL(text);
        json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        ASSERT_NOT_NULL(json);
        return json;
}

TEST(a_request_says_what_is_asked_for) {
        static const char *const urls[] = { "https://a/x", "https://b/x", NULL }, *const headers[] = {
                "X: y", NULL
        };
        const AgentdDownload download = { .urls = urls, .headers = headers, .retries = 3, .max_bytes = 100 };
        const DownloadRequest request = { .urls = urls + 1, .with_headers = true, .deadline_usec = 1500000 };
        json_t *json;

        ASSERT_OK(setenv("https_proxy", "http://proxy:8080", 1));
        json = parsed_request(&download, &request);
        ASSERT_EQ(json_array_size(json_object_get(json, "urls")), 1);
        ASSERT_EQ(json_array_size(json_object_get(json, "headers")), 1);
        ASSERT_EQ(json_integer_value(json_object_get(json, "max_bytes")), 100);
        ASSERT_EQ(json_integer_value(json_object_get(json, "deadline_msec")), 1500);
        ASSERT_EQ(json_integer_value(json_object_get(json, "retries")), 3);
        ASSERT_STREQ(json_string_value(json_object_get(json_object_get(json, "environment"), "https_proxy")),
                "http://proxy:8080");
        ASSERT_NULL(json_object_get(json, "proxy"));
        ASSERT_NULL(json_object_get(json, "resume"));
        ASSERT_NULL(json_object_get(json, "credentials"));
        json_decref(json);
        ASSERT_OK(unsetenv("https_proxy"));
}

TEST(a_proxy_that_is_given_stands_alone) {
        static const char *const urls[] = { "https://a/x", NULL };
        const AgentdDownload download = { .urls = urls, .proxy = "" };
        const DownloadRequest request = { .urls = urls, .deadline_usec = 1, .resume = true };
        json_t *json = parsed_request(&download, &request);

        ASSERT_STREQ(json_string_value(json_object_get(json, "proxy")), "");
        ASSERT_NULL(json_object_get(json, "environment"));
        ASSERT_EQ(json_integer_value(json_object_get(json, "max_bytes")), GIB(1));
        ASSERT_EQ(json_integer_value(json_object_get(json, "deadline_msec")), 1);
        ASSERT_EQ(json_object_size(json_object_get(json, "resume")), 0);
        ASSERT_NOT_NULL(json_object_get(json, "resume"));
        json_decref(json);
}

TEST(what_is_no_text_cannot_be_asked_for) {
        static const char *const urls[] = { "https://a/\xff", NULL };
        const AgentdDownload download = { .urls = urls };
        const DownloadRequest request = { .urls = urls, .deadline_usec = 1 };

        ASSERT_NULL(download_request(&download, &request));
}

TEST(answers_are_read) {
        static const struct {
                const char *text;
                int r, error;
        } cases[] = {
                { "{\"error\":\"none\",\"bytes\":3}", 0, 0 },
                { "{\"error\":\"timeout\",\"text\":\"x\"}\n", 0, -ETIMEDOUT },
                { "{\"error\":\"too-large\"}", 0, -EFBIG },
                { "{\"error\":\"not-found\"}", 0, -ENOENT },
                { "{\"error\":\"denied\"}", 0, -EACCES },
                { "{\"error\":\"unreachable\"}", 0, -EHOSTUNREACH },
                { "{\"error\":\"protocol\"}", 0, -EPROTO },
                { "{\"error\":\"request\"}", 0, -EINVAL },
                { "{\"error\":\"local\",\"errno\":28}", 0, -ENOSPC },
                { "{\"error\":\"local\",\"errno\":-28}", 0, -EIO },
                { "{\"error\":\"local\",\"errno\":99999999999}", 0, -EIO },
                { "{\"error\":\"local\"}", 0, -EIO },
                { "", -EBADMSG, 0 },
                { "agentd-fetch: symbol lookup error", -EBADMSG, 0 },
                { "{}", -EBADMSG, 0 },
                { "[]", -EBADMSG, 0 },
                { "{\"error\":null}", -EBADMSG, 0 },
                { "{\"error\":\"other\"}", -EBADMSG, 0 },
                { "{\"error\":\"none\",\"bytes\":-1}", -EBADMSG, 0 },
                { "{\"error\":\"none\"}{\"error\":\"none\"}", -EBADMSG, 0 },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_(download_answer_done) DownloadAnswer answer = {};

                ASSERT_EQ(download_answer_parse(c->text, strlen(c->text), &answer), c->r);
                ASSERT_EQ(answer.error, c->error);
                ASSERT_EQ(answer.error < 0, !!answer.text);
        }
}

TEST(of_an_answer_only_the_validator_is_kept) {
        static const char text[] = "{\"error\":\"timeout\",\"url\":\"https://a/x\",\"etag\":\"\\\"1\\\"\","
                                   "\"last_modified\":null,\"more\":[1,2,3]}";
        static const char none[] = "{\"error\":\"timeout\",\"url\":\"https://a/x\",\"etag\":null}";
        _cleanup_(download_answer_done) DownloadAnswer answer = {}, without = {};

        ASSERT_OK(download_answer_parse(text, sizeof(text) - 1, &answer));
        ASSERT_EQ(json_object_size(answer.validator), 2);
        ASSERT_STREQ(json_string_value(json_object_get(answer.validator, "etag")), "\"1\"");
        ASSERT_OK(download_answer_parse(none, sizeof(none) - 1, &without));
        ASSERT_NULL(without.validator);
}

TEST(origins_are_compared) {
        static const struct {
                const char *a, *b;
                bool same;
        } cases[] = {
                { "https://a/x", "https://a/y", true },
                { "https://a", "HTTPS://A/y", true },
                { "https://a?x", "https://a/y", true },
                { "https://a/x", "https://b/x", false },
                { "https://a/x", "http://a/x", false },
                { "https://a/x", "https://a:8443/x", false },
                { "https://a/x", "https://a.b/x", false },
                { "https://a@b/x", "https://a/x", false },
                { "x", "x", false },
        };

        FOREACH_ELEMENT(c, cases)
                ASSERT_EQ(download_same_origin(c->a, c->b), c->same);
}

static void put_part(int dir_fd, const char *name, off_t size, time_t age) {
        const struct timespec times[] = { { .tv_sec = time(NULL) - age }, { .tv_sec = time(NULL) - age } };
        _cleanup_close_ int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        ASSERT_TRUE(fd >= 0 && ftruncate(fd, size) == 0 && futimens(fd, times) == 0);
}

/* The oldest parts go first; not our own, not one that is being written, and nothing else. */
TEST(parts_have_a_limit_together) {
        char path[] = "/tmp/test-download.XXXXXX", ours[DOWNLOAD_NAME_MAX], name[8][DOWNLOAD_NAME_MAX];
        static const struct {
                off_t size;
                time_t age;
                bool stays;
        } parts[] = {
                { 100, 50, false },
                { 100, 60, true }, /* being written */
                { 100, 40, false },
                { 100, 30, false },
                { 100, 20, true },
                { 10, 10, true },
        };
        _cleanup_close_ int dir_fd = -EBADF, writer = -EBADF;

        ASSERT_NOT_NULL(mkdtemp(path));
        dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_TRUE(dir_fd >= 0);
        (void) snprintf(ours, sizeof(ours), "%032x.part", 0xff);
        put_part(dir_fd, ours, 100, 100);
        put_part(dir_fd, "notes", 1000, 1000);
        for (unsigned i = 0; i < ELEMENTSOF(parts); i++) {
                (void) snprintf(name[i], sizeof(name[i]), "%032x.part", i);
                ASSERT_TRUE(download_name_is(name[i], DOWNLOAD_PART));
                put_part(dir_fd, name[i], parts[i].size, parts[i].age);
        }
        writer = openat(dir_fd, name[1], O_RDWR | O_CLOEXEC);
        ASSERT_TRUE(writer >= 0 && flock(writer, LOCK_EX) == 0);

        download_directory_clean(dir_fd, 610, "", ours);
        for (unsigned i = 0; i < ELEMENTSOF(parts); i++)
                ASSERT_EQ(faccessat(dir_fd, name[i], F_OK, 0), 0);
        download_directory_clean(dir_fd, 310, "", ours);
        for (unsigned i = 0; i < ELEMENTSOF(parts); i++) {
                ASSERT_EQ(faccessat(dir_fd, name[i], F_OK, 0) == 0, parts[i].stays);
                (void) unlinkat(dir_fd, name[i], 0);
        }
        ASSERT_EQ(unlinkat(dir_fd, ours, 0), 0);
        ASSERT_EQ(unlinkat(dir_fd, "notes", 0), 0);
        ASSERT_EQ(rmdir(path), 0);
}

RUN_TESTS(RUN(parts_have_a_limit_together), RUN(names_differ_when_anything_does),
        RUN(a_request_says_what_is_asked_for), RUN(a_proxy_that_is_given_stands_alone),
        RUN(what_is_no_text_cannot_be_asked_for), RUN(answers_are_read),
        RUN(of_an_answer_only_the_validator_is_kept), RUN(origins_are_compared))
