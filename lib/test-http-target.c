/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include "http-target.h"

TEST(decode) {
        static const struct {
                const char *in;
                bool plus;
                int r;
                const char *out;
        } cases[] = {
                { "", false, 0, "" },
                { "file:%2Fetc%2fmotd", false, 0, "file:/etc/motd" },
                { "a%20b+c", false, 0, "a b+c" },
                { "a%20b+c%2B", true, 0, "a b c+" },
                { "m%C3%B6tley", false, 0, "m\xc3\xb6tley" },
                { "m\xc3\xb6tley", false, 0, "m\xc3\xb6tley" },
                { "%25%32%35", false, 0, "%25" },
                { "%", false, -EINVAL, NULL },
                { "%4", false, -EINVAL, NULL },
                { "a%", false, -EINVAL, NULL },
                { "%4g", false, -EINVAL, NULL },
                { "%g4", false, -EINVAL, NULL },
                { "% 4", false, -EINVAL, NULL },
                { "%-1", false, -EINVAL, NULL },
                { "%%41", false, -EINVAL, NULL },
                { "%00", false, -EILSEQ, NULL },
                { "a%00b", false, -EILSEQ, NULL },
                { "%0a", false, -EILSEQ, NULL },
                { "\t", false, -EILSEQ, NULL },
                { "%7F", false, -EILSEQ, NULL },
                { "%C2%85", false, -EILSEQ, NULL },
                { "%ff", false, -EILSEQ, NULL },
                { "\xff", false, -EILSEQ, NULL },
                { "%C3", false, -EILSEQ, NULL },
                { "%C0%AF", false, -EILSEQ, NULL },
                { "%ED%A0%80", false, -EILSEQ, NULL },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *text = strdup(c->in);

                ASSERT_NOT_NULL(text);
                ASSERT_EQ(http_decode(text, c->plus), c->r);
                if (c->out)
                        ASSERT_STREQ(text, c->out);
        }
}

TEST(split) {
        static const struct {
                const char *in, *path, *query;
        } cases[] = {
                { "/", "/", "" },
                { "/v1/status", "/v1/status", "" },
                { "/a?", "/a", "" },
                { "/a?b=c?d", "/a", "b=c?d" },
                { "/a?b#c", "/a", "b" },
                { "/a#b?c", "/a", "" },
                { "http://localhost/a?b", "/a", "b" },
                { "HTTP://x:1//a", "//a", "" },
                { "http://localhost", NULL, NULL },
                { "https://localhost/", NULL, NULL },
                { "", NULL, NULL },
                { "*", NULL, NULL },
                { "a/b", NULL, NULL },
                { "?a", NULL, NULL },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *text = strdup(c->in);
                char *path, *query;

                ASSERT_NOT_NULL(text);
                ASSERT_EQ(http_target_split(text, &path, &query), c->path ? 0 : -EINVAL);
                if (!c->path)
                        continue;
                ASSERT_STREQ(path, c->path);
                ASSERT_STREQ(query, c->query);
        }
}

TEST(match) {
        static const struct {
                const char *pattern, *path;
                unsigned n;
                const char *part;
        } cases[] = {
                { "/v1/status", "/v1/status", 3, NULL },
                { "/v1/status", "/v1/stat%75s", 3, NULL },
                { "/v1/", "/v1/", 3, NULL },
                { "/", "/", 2, NULL },
                { "/v1/states/{id}", "/v1/states/file:%2Fetc%2Fmotd", 3, "file:%2Fetc%2Fmotd" },
                { "/v1/states/{id}", "/v1/states/file:/etc/motd", 3, "file:/etc/motd" },
                { "/v1/states/{id}", "/v1/states/file:/etc/", 3, "file:/etc/" },
                { "/v1/states/{id}", "/v1/states//", 3, "/" },
                { "/v1/runs/{run}/results", "/v1/runs/7/results", 4, "7" },
                { "/v1/runs/{run}", "/v1/runs/7/results", 3, "7/results" },
                { "/v1/status", "/v1/statu", 0, NULL },
                { "/v1/status", "/v1/status/", 0, NULL },
                { "/v1/status", "/v1/statusx", 0, NULL },
                { "/v1/status", "//v1/status", 0, NULL },
                { "/v1/status", "/v1//status", 0, NULL },
                { "/v1/status", "/v1%2Fstatus", 0, NULL },
                { "/v1/status", "/v1/status%00", 0, NULL },
                { "/v1/status", "/v1/status%", 0, NULL },
                { "/v1/status", "/v1/st%7", 0, NULL },
                { "/v1/status", "/v1/Status", 0, NULL },
                { "/v1/status", "/v1/../v1/status", 0, NULL },
                { "/v1/status", "/", 0, NULL },
                { "/v1/status", "", 0, NULL },
                { "/", "", 0, NULL },
                { "/", "//", 0, NULL },
                { "/v1/", "/v1", 0, NULL },
                { "/v1", "/v1/", 0, NULL },
                { "/v1/states/{id}", "/v1/states/", 0, NULL },
                { "/v1/states/{id}", "/v1/states", 0, NULL },
                { "/v1/runs/{run}/results", "/v1/runs//results", 0, NULL },
                { "/v1/runs/{run}/results", "/v1/runs/7%2F8/results", 4, "7%2F8" },
                { "/v1/states/{id}/explain", "/v1/states/file:%2Fa%2Fb/explain", 4, "file:%2Fa%2Fb" },
                { "/v1/states/{id}/explain", "/v1/states/file:/a/explain", 0, NULL },
                { "/v1/states/{id}", "/v1/states/file:/a/explain", 3, "file:/a/explain" },
                { "/v1/states/{id}", "/v1/states/file:%2Fa%2Fexplain", 3, "file:%2Fa%2Fexplain" },
                { "/v1/runs/{run}/results", "/v1/runs/7/8/results", 0, NULL },
                { "/v1/runs/{run}/results", "/v1/runs/7/results/", 0, NULL },
        };

        FOREACH_ELEMENT(c, cases) {
                const char *part = "untouched";
                size_t size = 42;

                ASSERT_EQ(http_path_match(c->pattern, c->path, &part, &size), c->n);
                if (c->n == 0)
                        ASSERT_STREQ(part, "untouched");
                else if (!c->part)
                        ASSERT_NULL(part);
                else {
                        ASSERT_EQ(size, strlen(c->part));
                        ASSERT_EQ(strncmp(part, c->part, size), 0);
                }
        }
}

TEST(query) {
        static const struct {
                const char *in;
                int r;
                const char *out; /* NAME=VALUE; … */
        } cases[] = {
                { "", 0, "" },
                { "&&", 0, "" },
                { "a=b", 0, "a=b;" },
                { "a", 0, "a=;" },
                { "a=", 0, "a=;" },
                { "=b", 0, "=b;" },
                { "a=b=c", 0, "a=b=c;" },
                { "a=b&a=c&", 0, "a=b;a=c;" },
                { "a%3db=%26+x", 0, "a=b=& x;" },
                { "a=%", -EINVAL, NULL },
                { "%=a", -EINVAL, NULL },
                { "a=b&c=%zz", -EINVAL, NULL },
                { "a=%00", -EILSEQ, NULL },
                { "%ff=a", -EILSEQ, NULL },
                { "a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a", 0,
                        "a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;"
                        "a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;a=;" },
                { "a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a", -E2BIG, NULL },
        };

        FOREACH_ELEMENT(c, cases) {
                HttpParameter parameters[HTTP_PARAMETERS_MAX];
                _cleanup_free_ char *text = strdup(c->in);
                char out[1024] = "";
                size_t n = 42;

                ASSERT_NOT_NULL(text);
                ASSERT_EQ(http_query_parse(text, parameters, &n), c->r);
                if (c->r < 0) {
                        ASSERT_EQ(n, 42);
                        continue;
                }
                for (size_t i = 0; i < n; i++) {
                        size_t used = strlen(out);

                        (void) snprintf(out + used, sizeof(out) - used, "%s=%s;", parameters[i].name,
                                parameters[i].value);
                }
                ASSERT_STREQ(out, c->out);
        }
}

TEST(etag) {
        static const struct {
                const char *header;
                bool matches;
        } cases[] = {
                { "\"abc\"", true },
                { "W/\"abc\"", true },
                { "*", true },
                { "\"x\", \"abc\"", true },
                { "\"x\",W/\"y\" , \"abc\"", true },
                { ",, \"abc\"", true },
                { "", false },
                { "abc", false },
                { "\"abcd\"", false },
                { "\"ab\"", false },
                { "\"x \"abc\"", false },
                { "\"", false },
                { "\"abc", false },
                { "W/", false },
                { "W/W/\"abc\"", false },
                { "x, \"abc\"", false },
        };

        FOREACH_ELEMENT(c, cases)
                ASSERT_EQ(http_etag_matches(c->header, "\"abc\""), c->matches);
}

RUN_TESTS(RUN(decode), RUN(split), RUN(match), RUN(query), RUN(etag))
