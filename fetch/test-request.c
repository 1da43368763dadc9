/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include "request.h"

#define LEAST "\"max_bytes\":10,\"deadline_msec\":1000"
#define URLS  "\"urls\":[\"https://a/x\"]"

TEST(a_request_is_read) {
        static const char text[] =
                "{\"urls\":[\"https://a/x\",\"http://b/"
                "x?token=1\"],\"max_bytes\":1048576,\"deadline_msec\":5000,"
                "\"attempt_msec\":700,\"stall_msec\":2000,\"backoff_msec\":3,\"retries\":4,"
                "\"headers\":[\"X-A: 1\",\"X-B:\"],\"credentials\":\"machine a\\n login b\",\"proxy\":\"\","
                "\"environment\":{\"http_proxy\":\"http://p\"},\"ca_file\":\"/etc/ca.pem\","
                "\"resume\":{\"url\":\"https://a/x\",\"etag\":\"\\\"1\\\"\",\"last_modified\":null}}";
        _cleanup_(fetch_request_done) FetchRequest request = {};
        _cleanup_free_ char *error = NULL;

        ASSERT_OK(fetch_request_parse(text, sizeof(text) - 1, &request, &error));
        ASSERT_EQ(request.n_urls, 2);
        ASSERT_STREQ(request.urls[1], "http://b/x?token=1");
        ASSERT_EQ(request.max_bytes, MIB(1));
        ASSERT_EQ(request.deadline_usec, 5 * USEC_PER_SEC);
        ASSERT_EQ(request.attempt_usec, 700 * USEC_PER_MSEC);
        ASSERT_EQ(request.stall_usec, 2 * USEC_PER_SEC);
        ASSERT_EQ(request.retries, 4);
        ASSERT_EQ(json_array_size(request.headers), 2);
        ASSERT_STREQ(request.proxy, "");
        ASSERT_TRUE(request.resume);
        ASSERT_STREQ(request.resume_etag, "\"1\"");
        ASSERT_NULL(request.resume_last_modified);
}

TEST(what_is_not_given_has_a_default) {
        static const char text[] = "{" URLS "," LEAST ",\"proxy\":null,\"resume\":null}";
        _cleanup_(fetch_request_done) FetchRequest request = {};
        _cleanup_free_ char *error = NULL;

        ASSERT_OK(fetch_request_parse(text, sizeof(text) - 1, &request, &error));
        ASSERT_EQ(request.stall_usec, 30 * USEC_PER_SEC);
        ASSERT_EQ(request.retries, 0);
        ASSERT_NULL(request.proxy);
        ASSERT_NULL(request.headers);
        ASSERT_FALSE(request.resume);
}

TEST(a_wrong_request_is_refused) {
        static const struct {
                const char *text, *words;
        } cases[] = {
                { "", "not JSON" },
                { "{", "not JSON" },
                { "[]", "object" },
                { "null", "not JSON" },
                { "{}", "'urls'" },
                { "{" URLS "," LEAST ",\"url\":1}", "'url' is not known" },
                { "{" URLS "," URLS "," LEAST "}", "not JSON" },
                { "{" URLS "," LEAST "} x", "not JSON" },
                { "{\"urls\":[]," LEAST "}", "'urls'" },
                { "{\"urls\":\"https://a\"," LEAST "}", "'urls'" },
                { "{\"urls\":[1]," LEAST "}", "'urls'" },
                { "{\"urls\":[\"\"]," LEAST "}", "'urls'" },
                { "{\"urls\":[\"https://a/\\r\\nX: y\"]," LEAST "}", "'urls'" },
                { "{\"urls\":[\"https://a/\\u0000\"]," LEAST "}", "'urls'" },
                { "{" URLS ",\"max_bytes\":10}", "'deadline_msec'" },
                { "{" URLS ",\"deadline_msec\":10}", "'max_bytes'" },
                { "{" URLS ",\"max_bytes\":0,\"deadline_msec\":10}", "'max_bytes'" },
                { "{" URLS ",\"max_bytes\":-1,\"deadline_msec\":10}", "'max_bytes'" },
                { "{" URLS ",\"max_bytes\":9223372036854775807,\"deadline_msec\":10}", "'max_bytes'" },
                { "{" URLS ",\"max_bytes\":1.5,\"deadline_msec\":10}", "'max_bytes'" },
                { "{" URLS ",\"max_bytes\":1,\"deadline_msec\":9223372036854775807}", "'deadline_msec'" },
                { "{" URLS "," LEAST ",\"retries\":101}", "'retries'" },
                { "{" URLS "," LEAST ",\"stall_msec\":10}", "'stall_msec'" },
                { "{" URLS "," LEAST ",\"headers\":\"X: y\"}", "'headers'" },
                { "{" URLS "," LEAST ",\"headers\":[\"X\"]}", "'headers'" },
                { "{" URLS "," LEAST ",\"headers\":[\": y\"]}", "'headers'" },
                { "{" URLS "," LEAST ",\"headers\":[\"X y: z\"]}", "'headers'" },
                { "{" URLS "," LEAST ",\"headers\":[\"X: y\\r\\nZ: a\"]}", "'headers'" },
                { "{" URLS "," LEAST ",\"headers\":[null]}", "'headers'" },
                { "{" URLS "," LEAST ",\"proxy\":1}", "'proxy'" },
                { "{" URLS "," LEAST ",\"ca_file\":\"ca.pem\"}", "'ca_file'" },
                { "{" URLS "," LEAST ",\"credentials\":[]}", "'credentials'" },
                { "{" URLS "," LEAST ",\"credentials\":\"a\\u0000b\"}", "'credentials'" },
                { "{" URLS "," LEAST ",\"environment\":{\"LD_PRELOAD\":\"/x\"}}", "'environment'" },
                { "{" URLS "," LEAST ",\"environment\":{\"http_proxy\":1}}", "'environment'" },
                { "{" URLS "," LEAST ",\"environment\":[]}", "'environment'" },
                { "{" URLS "," LEAST ",\"resume\":true}", "'resume'" },
                { "{" URLS "," LEAST ",\"resume\":{\"etag\":\"\\\"a\\\"\\r\\nX: y\"}}", "'etag'" },
        };

        FOREACH_ELEMENT(c, cases) {
                FetchRequest request = { .n_urls = 42 };
                _cleanup_free_ char *error = NULL;

                ASSERT_EQ(fetch_request_parse(c->text, strlen(c->text), &request, &error), -EINVAL);
                ASSERT_EQ(request.n_urls, 42);
                ASSERT_NOT_NULL(error);
                if (!strstr(error, c->words))
                        fail_msg("%s: %s", c->text, error);
        }
}

TEST(credentials_are_found_by_host) {
        static const struct {
                const char *text, *host;
                int r;
                const char *user, *password;
        } cases[] = {
                { "machine a login u password p", "a", 1, "u", "p" },
                { "machine A.Example login u password p", "a.example", 1, "u", "p" },
                { "machine a\n\tlogin u\n\tpassword p\nmachine b login v password q\n", "b", 1, "v", "q" },
                { "machine a login u password p machine a login v password q", "a", 1, "u", "p" },
                { "machine a password p", "a", 1, NULL, "p" },
                { "machine a login \"a b\" password \"\\\"#\\\\\"", "a", 1, "a b", "\"#\\" },
                { "machine a login u password #p", "a", 1, "u", "#p" },
                { "# a comment\nmachine a login u password p # and one more\n", "a", 1, "u", "p" },
                { "machine a account x login u password p", "a", 1, "u", "p" },
                { "machine b login v password q\ndefault login u password p", "a", 1, "u", "p" },
                { "default login u password p machine a login v password q", "a", 1, "u", "p" },
                { "macdef init\nmachine a login x password y\n\nmachine a login u password p", "a", 1, "u",
                        "p" },
                { "machine ::1 login u password p", "[::1]", 1, "u", "p" },
                { "machine [::1] login u password p", "[::1]", 1, "u", "p" },
                { "machine ::1 login u password p", "[::12]", 0, NULL, NULL },
                { "machine a\r\nlogin u\r\npassword p\r\n", "a", 1, "u", "p" },
                { "macdef init\nmachine a", "a", 0, NULL, NULL },
                { "", "a", 0, NULL, NULL },
                { "machine b login u password p", "a", 0, NULL, NULL },
                { "machine b login machine password a", "a", 0, NULL, NULL },
                { "machine", "a", -EINVAL, NULL, NULL },
                { "machine a login", "a", -EINVAL, NULL, NULL },
                { "machine a user u", "a", -EINVAL, NULL, NULL },
                { "login u password p", "a", -EINVAL, NULL, NULL },
                { "machine a password \"p", "a", -EINVAL, NULL, NULL },
                { "machine b user u", "a", -EINVAL, NULL, NULL },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_(fetch_login_done) FetchLogin login = {};

                ASSERT_EQ(netrc_find(c->text, c->host, &login), c->r);
                ASSERT_EQ(!login.user, !c->user);
                ASSERT_EQ(!login.password, !c->password);
                if (c->user)
                        ASSERT_STREQ(login.user, c->user);
                if (c->password)
                        ASSERT_STREQ(login.password, c->password);
        }
}

TEST(urls_are_taken_apart) {
        static const struct {
                const char *text;
                int r;
                FetchScheme scheme;
                const char *host, *port, *shown;
        } cases[] = {
                { "https://a/x", 0, FETCH_HTTPS, "a", "443", "https://a/x" },
                { "HTTP://a:8080/x?token=secret#f", 0, FETCH_HTTP, "a", "8080", "http://a:8080/x" },
                { "http://[::1]:80/", 0, FETCH_HTTP, "[::1]", "80", "http://[::1]:80/" },
                { "ftp://a/x", 0, FETCH_FTP, "a", "21", "ftp://a/x" },
                { "file:///etc/motd", 0, FETCH_FILE, "", "0", "file:///etc/motd" },
                { "https://u:p@a/x", -EACCES, 0, NULL, NULL, NULL },
                { "https://u@a/x", -EACCES, 0, NULL, NULL, NULL },
                { "gopher://a/x", -EPROTONOSUPPORT, 0, NULL, NULL, NULL },
                { "ftps://a/x", -EPROTONOSUPPORT, 0, NULL, NULL, NULL },
                { "javascript://a/x", -EPROTONOSUPPORT, 0, NULL, NULL, NULL },
                { "a/x", -EINVAL, 0, NULL, NULL, NULL },
                { "/etc/motd", -EINVAL, 0, NULL, NULL, NULL },
                { "", -EINVAL, 0, NULL, NULL, NULL },
                { "https://", -EINVAL, 0, NULL, NULL, NULL },
                { "https://a:99999/", -EINVAL, 0, NULL, NULL, NULL },
                { "https://a b/", -EINVAL, 0, NULL, NULL, NULL },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_(fetch_url_done) FetchUrl url = {};
                int r = fetch_url_parse(c->text, &url);

                if (r != c->r)
                        fail_msg("%s: %d", c->text, r);
                if (r < 0)
                        continue;
                ASSERT_EQ(url.scheme, c->scheme);
                ASSERT_STREQ(url.host, c->host);
                ASSERT_STREQ(url.port, c->port);
                ASSERT_STREQ(url.shown, c->shown);
        }
}

TEST(redirects_go_where_they_may) {
        static const struct {
                const char *from, *to;
                bool allowed, same;
        } cases[] = {
                { "https://a/", "https://a:443/x", true, true },
                { "https://a/", "https://A/x", true, true },
                { "https://a/", "https://b/", true, false },
                { "https://a/", "https://a:444/", true, false },
                { "https://a/", "http://a/", false, false },
                { "https://a/", "file:///etc/motd", false, false },
                { "http://a/", "https://a/", true, false },
                { "http://a/", "http://a/x", true, true },
                { "http://a/", "ftp://a/", false, false },
                { "http://a/", "file:///etc/motd", false, false },
                { "ftp://a/", "ftp://a/x", false, true },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_(fetch_url_done) FetchUrl from = {}, to = {};

                ASSERT_OK(fetch_url_parse(c->from, &from));
                ASSERT_OK(fetch_url_parse(c->to, &to));
                ASSERT_EQ(fetch_redirect_allowed(&from, &to), c->allowed);
                ASSERT_EQ(fetch_url_same_origin(&from, &to), c->same);
        }
}

RUN_TESTS(RUN(a_request_is_read), RUN(what_is_not_given_has_a_default), RUN(a_wrong_request_is_refused),
        RUN(credentials_are_found_by_host), RUN(urls_are_taken_apart), RUN(redirects_go_where_they_may))
