/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <sys/stat.h>
#include <syslog.h>

#include "foreign.h"
#include "test.h"

static char directory[64];
static char said[8192]; /* what was logged, a line each */

static int setup(_unused_ void **state) {
        (void) snprintf(directory, sizeof(directory), "/tmp/test-foreign-XXXXXX");
        *said = 0;
        return mkdtemp(directory) ? 0 : -1;
}

static int on_remove(
        const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *ftw) {
        return remove(path);
}

static int teardown(_unused_ void **state) {
        return nftw(directory, on_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static void keep_log(_unused_ void *userdata, int level, const char *text) {
        size_t used = strlen(said);

        (void) snprintf(said + used, sizeof(said) - used, "%d %s\n", level, text);
}

static const ForeignHost host = { .root = "/", .log = keep_log };

/* ---- What a program is told ------------------------------------------------------------------------------------ */

static AgentdValue string(const char *text) {
        return (AgentdValue){ .type = AGENTD_STRING, .string = text, .size = strlen(text) };
}

static char *written(ForeignEncoding encoding, const AgentdParameter *parameters, const AgentdValue *values,
        int expected, const char **ret_why) {
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);
        uint32_t bad = 99;

        ASSERT_NOT_NULL(f);
        ASSERT_EQ(foreign_write_parameters(f, encoding, parameters, values, &bad, ret_why), expected);
        ASSERT_EQ(bad, expected < 0 ? 0 : 99);
        assert_true(fclose(f) == 0);
        return text;
}

TEST(parameters_are_written_as_json) {
        static const AgentdParameter fields[] = { { .name = "x", .type = AGENTD_MODE },
                { .name = "y", .type = AGENTD_FLOAT }, {} };
        static const AgentdParameter parameters[] = {
                { .name = "a", .type = AGENTD_STRING },
                { .name = "b", .type = AGENTD_MODE },
                { .name = "c", .type = AGENTD_RECORD, .fields = fields },
                { .name = "d", .type = AGENTD_TABLE },
                { .name = "e", .type = AGENTD_INTEGER },
                {},
        };
        const AgentdValue record[] = { { .type = AGENTD_INTEGER, .integer = 07 },
                { .type = AGENTD_FLOAT, .real = 0.5 } };
        const AgentdMember members[] = { { "k\"", { .type = AGENTD_LIST, .n = 2, .items = record } } };
        const AgentdValue values[] = {
                { .type = AGENTD_STRING, .string = "\"\\\n\t\x01\x7f\0é", .size = 9 },
                { .type = AGENTD_INTEGER, .integer = 0644 },
                { .type = AGENTD_RECORD, .n = 2, .items = record },
                { .type = AGENTD_TABLE, .n = 1, .members = members },
                {},
        };
        _cleanup_free_ char *text = NULL;
        const char *why;

        text = written(FOREIGN_JSON, parameters, values, 0, &why);
        ASSERT_STREQ(text, "{\"a\":\"\\\"\\\\\\n\\u0009\\u0001\\u007f\\u0000é\",\"b\":\"0644\","
                           "\"c\":{\"x\":\"0007\",\"y\":0.5},\"d\":{\"k\\\"\":[7,0.5]},\"e\":null}");
}

TEST(what_is_owed_is_told) {
        static const struct {
                uint32_t flags;
                const char *json, *shell;
        } cases[] = {
                { 0, "\"pending\":false,\"noticed\":false,\"reload\":false,\"restart\":false",
                        "pending=false noticed=false reload=false restart=false" },
                { AGENTD_STATE_PENDING | AGENTD_STATE_NOTICED,
                        "\"pending\":true,\"noticed\":true,\"reload\":false,\"restart\":false",
                        "pending=true noticed=true reload=false restart=false" },
                { AGENTD_STATE_NOTICED | AGENTD_STATE_RELOAD,
                        "\"pending\":false,\"noticed\":true,\"reload\":true,\"restart\":false",
                        "pending=false noticed=true reload=true restart=false" },
                { AGENTD_STATE_NOTICED | AGENTD_STATE_RESTART,
                        "\"pending\":false,\"noticed\":true,\"reload\":false,\"restart\":true",
                        "pending=false noticed=true reload=false restart=true" },
        };

        FOREACH_ELEMENT(c, cases)
                for (ForeignEncoding encoding = FOREIGN_JSON; encoding <= FOREIGN_SHELL; encoding++) {
                        const AgentdState s = { .id = "x:a", .name = "a", .flags = c->flags };
                        const ForeignCall call = {
                                .request = FOREIGN_CHECK, .encoding = encoding, .type = "x", .root = "/"
                        };
                        _cleanup_free_ char *text = NULL;
                        size_t size = 0;
                        FILE *f = open_memstream(&text, &size);

                        foreign_write_state(f, &call, 0, &s, "", 0);
                        assert_true(fclose(f) == 0);
                        assert_true(strstr(text, encoding == FOREIGN_JSON ? c->json : c->shell) != NULL);
                }
}

TEST(what_cannot_be_told_is_refused) {
        static const struct {
                ForeignEncoding encoding;
                AgentdValue value;
                const char *why;
        } cases[] = {
                { FOREIGN_JSON, { .type = AGENTD_FLOAT, .real = NAN },
                        "is not a finite number, which JSON does not have" },
                { FOREIGN_JSON, { .type = AGENTD_FLOAT, .real = -INFINITY },
                        "is not a finite number, which JSON does not have" },
                { FOREIGN_JSON, { .type = AGENTD_STRING, .string = "\xff", .size = 1 },
                        "is not UTF-8, which a program cannot be given" },
                { FOREIGN_SHELL, { .type = AGENTD_STRING, .string = "\xff", .size = 1 },
                        "is not UTF-8, which a program cannot be given" },
                { FOREIGN_SHELL, { .type = AGENTD_STRING, .string = "a\0b", .size = 3 },
                        "has a NUL in it, which a shell cannot be given" },
        };
        static const AgentdParameter parameters[] = { { .name = "a", .type = AGENTD_ANY }, {} };

        FOREACH_ELEMENT(c, cases) {
                const AgentdValue list = { .type = AGENTD_LIST, .n = 1, .items = &c->value };
                const char *why = NULL;
                char *text = written(c->encoding, parameters, &c->value, -EINVAL, &why);

                ASSERT_STREQ(why, c->why);
                free(text);
                text = written(c->encoding, parameters, &list, -EINVAL, &why);
                free(text);
        }
}

/* Whatever a text holds, a shell assigns it and does nothing else. */
TEST(a_shell_reads_what_was_written) {
        static const char *const texts[] = { "", "a", " a  b ", "it's", "''", "'\"'\"'", "$(exit 3)",
                "`exit 3`", "a\nb\n\n", "\n", "\\", "\\n\\\\", "$NL", "\"$NL\"", "; exit 3", "' ; exit 3; '",
                "*", "~", "é Ё 漢 \U0001f600", "\t\r\x01\x7f", "#", "-n", "a=b", "\xc2\x81\xc2\x88" };
        static const AgentdParameter parameters[] = { { .name = "text", .type = AGENTD_STRING },
                { .name = "list", .type = AGENTD_LIST }, {} };
        _cleanup_free_ char *script = NULL, *command = NULL, *output = NULL;
        const char *p;
        size_t size;
        FILE *f, *pipe;

        assert_true(asprintf(&script, "%s/script", directory) > 0);
        f = fopen(script, "we");
        ASSERT_NOT_NULL(f);
        (void) fputs("NL=$(printf '\\nx'); NL=${NL%x}\nwhile read -r line; do eval \"$line\"; printf '%s|' "
                     "\"$p_text\"; "
                     "eval \"set -- $p_list\"; for i; do printf '%s,' \"$i\"; done; done <<'END'\n",
                f);
        FOREACH_ELEMENT(text, texts) {
                const AgentdValue items[] = { string(*text), string("x"), string(*text) };
                const AgentdValue values[] = { items[0], { .type = AGENTD_LIST, .n = 3, .items = items } };
                uint32_t bad;
                const char *why;

                ASSERT_OK(foreign_write_parameters(f, FOREIGN_SHELL, parameters, values, &bad, &why));
                (void) fputc('\n', f);
        }
        (void) fputs("END\n", f);
        assert_true(fclose(f) == 0);

        assert_true(asprintf(&command, "LANG=C.UTF-8 sh %s", script) > 0);
        output = calloc(1, KIB(16));
        pipe = popen(command, "re");
        ASSERT_NOT_NULL(output);
        assert_true(pipe != NULL);
        size = fread(output, 1, KIB(16) - 1, pipe);
        ASSERT_EQ(pclose(pipe), 0);
        p = output;
        FOREACH_ELEMENT(text, texts) {
                _cleanup_free_ char *expected = NULL;

                assert_true(asprintf(&expected, "%s|%s,x,%s,", *text, *text, *text) > 0);
                if (!startswith(p, expected))
                        fail_msg("'%s' became '%.60s'", *text, p);
                p += strlen(expected);
        }
        ASSERT_EQ((size_t) (p - output), size);
}

/* ---- What it says ---------------------------------------------------------------------------------------------- */

static void put_result(void *userdata, size_t i, ForeignVerdict verdict, const char *error) {
        size_t used = strlen(said);

        (void) snprintf(said + used, sizeof(said) - used, "%zu:%s%s%s;", i,
                verdict == FOREIGN_DONE     ? "done"
                : verdict == FOREIGN_FAILED ? "failed"
                                            : "unknown",
                error ? "=" : "", error ?: "");
}

static const char *word(const AgentdValue *value) {
        return value->type == AGENTD_STRING ? value->string : value->type == AGENTD_NONE ? "-" : "?";
}

static void put_difference(void *userdata, size_t i, const char *attribute, const AgentdValue *is,
        const AgentdValue *should, bool text) {
        size_t used = strlen(said);

        (void) snprintf(said + used, sizeof(said) - used, "%zu:%s %s%s→%s;", i, text ? "text" : "differs",
                attribute, word(is), word(should));
}

static void put_undo(void *userdata, size_t i, const char *what, const AgentdValue *old) {
        size_t used = strlen(said);

        (void) snprintf(said + used, sizeof(said) - used, "%zu:undo %s=%s;", i, what, word(old));
}

static void put_error(void *userdata, size_t i, const char *parameter, const char *text) {
        size_t used = strlen(said);

        (void) snprintf(said + used, sizeof(said) - used, "%zu:error %s=%s;", i, parameter ?: "-", text);
}

static void put_watch(void *userdata, size_t i, const char *kind, const char *what) {
        size_t used = strlen(said);

        (void) snprintf(said + used, sizeof(said) - used, "%zu:watch %s=%s;", i, kind, what);
}

static void put_after(void *userdata, size_t i, const char *id) {
        put_watch(userdata, i, "after", id);
}

static void put_path_kind(void *userdata, size_t i, AgentdPathKind kind) {
        put_watch(userdata, i, "kind", (const char *[]){ "directory", "leaf", "absent" }[kind]);
}

static const ForeignSink sink = {
        .log = keep_log,
        .finish = put_result,
        .difference = put_difference,
        .undo = put_undo,
        .error = put_error,
        .watch = put_watch,
        .after = put_after,
        .path_kind = put_path_kind,
};

typedef struct Case {
        const char *lines; /* the last of them decides */
        int r;
        const char *said; /* what the sink was told; or, if r < 0, the error */
} Case;

static void check_case(ForeignRequest request, ForeignEncoding encoding, const Case *c) {
        _cleanup_free_ char *copy = strdup(c->lines), *error = NULL;
        ForeignAnswer answer;
        char *line, *rest = copy;
        int r = 0;

        *said = 0;
        ASSERT_OK(foreign_answer_init(&answer, request, encoding, 2, &sink, NULL));
        while (r == 0 && (line = strsep(&rest, "\n")))
                r = foreign_answer_line(&answer, line, strlen(line), &error);
        if (r != c->r)
                fail_msg("%s: %d (%s), not %d", c->lines, r, error ?: said, c->r);
        ASSERT_STREQ(r < 0 ? error : said, c->said);
        foreign_answer_done(&answer);
}

TEST(answers_in_json) {
        static const Case checks[] = {
                { "{\"results\":[{\"index\":1,\"result\":\"ok\"},{\"index\":0,\"result\":\"failed\","
                  "\"error\":\"e\"}]}",
                        1, "1:done;0:failed=e;" },
                { "{\"results\":[]}", 1, "" },
                { "{\"results\":[{\"index\":0,\"result\":\"ok\"}],\"more\":true}", 0, "0:done;" },
                { "{\"results\":[{\"index\":0,\"result\":\"ok\"}],\"more\":true}\n{\"results\":[{\"index\":"
                  "1,\"result\":\"ok\"}]}",
                        1, "0:done;1:done;" },
                { "{\"results\":[{\"index\":0,\"result\":\"drifted\",\"differences\":[{\"attribute\":\"a\","
                  "\"is\":\"x\","
                  "\"should\":null},{\"attribute\":\"b\",\"text\":true}]}]}",
                        1, "0:differs ax→-;0:text b-→-;0:done;" },
                { "{\"results\":[{\"index\":0,\"result\":\"ok\"}],\"more\":true}\n{\"error\":\"all\"}", 1,
                        "0:done;1:failed=all;" },
                { "{\"log\":\"info\",\"message\":\"m\"}\n{\"results\":[]}", 1, "6 m\n" },
                { "{\"results\":[{\"index\":0,\"result\":\"ok\",\"later\":1}],\"later\":{}}", 1, "0:done;" },
                { "{\"results\":[{\"index\":0,\"result\":\"changed\"}]}", 1,
                        "0:failed=the module's answer is wrong: 'result' is 'changed'; it must be ok, "
                        "drifted, failed or "
                        "unknown;" },
                { "{}", -EBADMSG,
                        "answered with an object that has neither an array 'results' nor an 'error'" },
                { "{\"error\":\"\"}", -EBADMSG,
                        "answered with an object that has neither an array 'results' nor an 'error'" },
                { "[]", -EBADMSG, "answered with JSON that is no object; an answer begins with '{'" },
                { "", -EBADMSG,
                        "answered with a line that is not JSON ('[' or '{' expected near end of file): ''" },
                { "{\"results\":[{}]}", -EBADMSG,
                        "answered with a result that has no 'index', which says the state that it is for" },
                { "{\"results\":[{\"index\":\"0\"}]}", -EBADMSG,
                        "answered with a result that has no 'index', which says the state that it is for" },
                { "{\"results\":[{\"index\":2,\"result\":\"ok\"}]}", -EBADMSG,
                        "answered for state 2; it was asked about 0 to 1" },
                { "{\"results\":[{\"index\":0,\"result\":\"ok\"},{\"index\":0,\"result\":\"ok\"}]}",
                        -EBADMSG, "answered twice for state 0" },
                { "{\"log\":\"info\"}", -EBADMSG,
                        "answered with a log line that is not {\"log\": \"error\" … \"debug\", \"message\": "
                        "\"…\"}" },
        };
        static const Case applies[] = {
                { "{\"results\":[{\"index\":0,\"result\":\"ok\",\"undo\":[{\"what\":\"w\",\"old\":\"o\"}]}]"
                  "}",
                        1, "0:undo w=o;0:done;" },
                { "{\"results\":[{\"index\":0,\"result\":\"ok\",\"differences\":[{\"attribute\":\"a\"}]}]}",
                        1, "0:done;" },
                { "{\"results\":[{\"index\":0,\"result\":\"drifted\"}]}", 1,
                        "0:failed=the module's answer is wrong: 'drifted' is no result of apply; what "
                        "cannot be made so is "
                        "'failed';" },
                { "{\"results\":[{\"index\":0,\"result\":\"ok\",\"undo\":[1]}]}", 1,
                        "0:failed=the module's answer is wrong: an item of 'undo' must be an object with a "
                        "'what' that is a "
                        "string;" },
        };
        static const Case prepares[] = {
                { "{\"results\":[{\"index\":0,\"errors\":[{\"parameter\":\"p\",\"message\":\"m\"},{"
                  "\"message\":\"n\"}]}]}",
                        1, "0:error p=m;0:error -=n;0:done;" },
                { "{\"results\":[{\"index\":1,\"watch\":{\"paths\":[\"/"
                  "a\"],\"units\":[\"u\"],\"bus\":[\"b\"]},\"after\":[\"x:y\"],"
                  "\"path_kind\":\"leaf\"}]}",
                        1,
                        "1:watch path=/a;1:watch unit=u;1:watch bus=b;1:watch after=x:y;1:watch "
                        "kind=leaf;1:done;" },
                { "{\"results\":[{\"index\":0,\"watch\":[]}]}", 1,
                        "0:failed=the module's answer is wrong: 'watch' must be an object;" },
                { "{\"results\":[{\"index\":0,\"after\":[\"\"]}]}", 1,
                        "0:failed=the module's answer is wrong: 'after' must be an array of strings;" },
                { "{\"results\":[{\"index\":0,\"path_kind\":1}]}", 1,
                        "0:failed=the module's answer is wrong: 'path_kind' is ''; it must be directory, "
                        "leaf or absent;" },
        };

        FOREACH_ELEMENT(c, checks)
                check_case(FOREIGN_CHECK, FOREIGN_JSON, c);
        FOREACH_ELEMENT(c, applies)
                check_case(FOREIGN_APPLY, FOREIGN_JSON, c);
        FOREACH_ELEMENT(c, prepares)
                check_case(FOREIGN_PREPARE, FOREIGN_JSON, c);
}

TEST(answers_of_shells) {
        static const Case checks[] = {
                { "done\ndone\nend", 1, "0:done;1:done;" },
                { "end", 1, "" },
                { "done", 0, "0:done;" },
                { "differs a\nis 1\nshould 2\nshould 3\ndiffers-text b\nis \nshould\ndone", 0,
                        "0:differs a1→2\n3;0:text b→;0:done;" },
                { "differs a\nfailed no\nunknown hm", 0, "0:differs a-→-;0:failed=no;1:unknown=hm;" },
                { "log debug a b\nend", 1, "7 a b\n" },
                { "done\ndone\ndone", -EBADMSG,
                        "answered 'done' for one state more than the 2 it was asked about" },
                { "differs a\nend", -EBADMSG, "answered 'end' in the middle of a state; 'done' ends that" },
                { "is 1", -EBADMSG, "answered with 'is' before it said what, with 'differs' or 'undo'" },
                { "failed", -EBADMSG, "answered 'failed' with nothing behind it" },
                { "undo x", -EBADMSG,
                        "answered 'undo x', which is none of the protocol; what programs that it runs print "
                        "must not go to its "
                        "standard output" },
                { "", -EBADMSG,
                        "answered '', which is none of the protocol; what programs that it runs print must "
                        "not go to its standard "
                        "output" },
                { "done \xff", -EBADMSG, "answered with a line that is not UTF-8, or has a NUL in it" },
                { "log shout x", -EBADMSG,
                        "answered with a log line that is not 'log LEVEL TEXT', LEVEL being one of error, "
                        "warning, notice, info, "
                        "debug" },
        };
        static const Case applies[] = {
                { "undo a\nis b\nundo c\ndone", 0, "0:undo a=b;0:undo c=-;0:done;" },
                { "differs a\nis b\ndone\nend", 1, "0:done;" },
        };
        static const Case prepares[] = {
                { "error p a b\nerror - c\nwatch path /x y\nafter a:b\npath-kind absent\ndone\nend", 1,
                        "0:error p=a b;0:error -=c;0:watch path=/x y;0:watch after=a:b;0:watch "
                        "kind=absent;0:done;" },
                { "error p", -EBADMSG,
                        "answered with an error that is not 'error PARAMETER TEXT', or 'error - TEXT' for "
                        "the state as such" },
                { "path-kind tree", -EBADMSG,
                        "answered with a line that is wrong: 'path_kind' is 'tree'; it must be directory, "
                        "leaf or absent" },
        };

        FOREACH_ELEMENT(c, checks)
                check_case(FOREIGN_CHECK, FOREIGN_SHELL, c);
        FOREACH_ELEMENT(c, applies)
                check_case(FOREIGN_APPLY, FOREIGN_SHELL, c);
        FOREACH_ELEMENT(c, prepares)
                check_case(FOREIGN_PREPARE, FOREIGN_SHELL, c);
}

/* ---- Programs -------------------------------------------------------------------------------------------------- */

#define HELLO(name)                                                                            \
        "{\"name\":\"" name "\",\"version\":\"3\",\"protocol\":1,\"types\":[{\"name\":\"" name \
        "\",\"prepare\":true}]}"

static char *install(const char *name, const char *text, mode_t mode) {
        char *path;
        int fd;

        assert_true(asprintf(&path, "%s/%s", directory, name) > 0);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        ASSERT_OK(write_full(fd, text, strlen(text)));
        ASSERT_OK(fchmod(fd, mode));
        (void) close(fd);
        return path;
}

TEST(a_program_is_opened_and_asked) {
        _cleanup_free_ char *path = install("prog",
                "#!/bin/sh\nread -r hello\necho 'one line' >&2\necho '" HELLO(
                        "prog") "'\n"
                                "while read -r line; do echo \"$line\" >&2; echo "
                                "'{\"results\":[{\"index\":0,\"result\":\"ok\"}]}'; done\n",
                0755);
        _cleanup_free_ char *other = install("other", "#!/bin/sh\nexit\n", 0755);
        _cleanup_(module_closep) Module *module = NULL;
        uint8_t wrong[IMAGE_BUILD_ID_SIZE] = {};
        ForeignHost picky = host;
        ForeignAnswer answer;
        char *error = NULL;

        if (module_open_any(path, &host, &module, &error) < 0)
                fail_msg("%s", error);
        ASSERT_NOT_NULL(module->foreign);
        ASSERT_STREQ(module->info.version, "3");
        ASSERT_EQ(module->build_id_size, IMAGE_BUILD_ID_SIZE);
        ASSERT_EQ(module->n_types, 1);
        ASSERT_EQ(module->types[0].flags, AGENTD_NO_PLAN);
        ASSERT_NOT_NULL(module->types[0].check);
        ASSERT_TRUE(foreign_type(module, &module->types[0])->prepare);
        ASSERT_TRUE(!foreign_type(module, &module->types[0])->root);
        ASSERT_STREQ(said, "4 prog: one line\n");

        for (int i = 0; i < 3; i++) {
                *said = 0;
                ASSERT_OK(foreign_answer_init(&answer, FOREIGN_CHECK, FOREIGN_JSON, 1, &sink, NULL));
                ASSERT_OK(foreign_ask(module, "{}\n", 3, &answer, USEC_PER_MINUTE, &error));
                ASSERT_TRUE(answer.ended[0]);
                assert_true(strstr(said, "0:done;") && strstr(said, "4 prog: {}\n"));
                foreign_answer_done(&answer);
        }

        /* The one that is wanted, and nothing is run if it is another. */
        picky.build_id = module->build_id;
        {
                _cleanup_(module_closep) Module *again = NULL;

                ASSERT_OK(module_open_any(path, &picky, &again, &error));
        }
        *said = 0;
        picky.build_id = wrong;
        ASSERT_EQ(module_open_any(path, &picky, &module, &error), -ESTALE);
        ASSERT_STREQ(said, "");
        picky.build_id = module->build_id;
        ASSERT_EQ(module_open_any(other, &picky, &module, &error), -ESTALE);
}

TEST(a_program_that_does_not_answer_is_said_to) {
        static const struct {
                const char *text;
                int r;
                const char *error;
        } cases[] = {
                { "exit 3", -EPIPE,
                        "exited with status 3 instead of answering; it has to read requests until its "
                        "standard input ends" },
                { "echo why >&2; exit 3", -EPIPE,
                        "exited with status 3 instead of answering; it has to read requests until its "
                        "standard input ends: why" },
                { "printf 'half of it' >&2; kill -9 $$", -EPIPE, "died of signal 9 (Killed): half of it" },
                { "sleep 60 & exit 3", -EPIPE,
                        "exited with status 3 instead of answering; it has to read requests until its "
                        "standard input ends" },
                { "exec >&-; sleep 60", -EPIPE, "closed its standard output, on which it has to answer" },
                { "sleep 60", -ETIMEDOUT, "did not answer within 300ms" },
                { "while :; do echo '{\"log\":\"info\",\"message\":\"x\"}'; sleep 60; done", -ETIMEDOUT,
                        "did not answer within 300ms" },
                { "echo nonsense; sleep 60", -EBADMSG,
                        "answered with a line that is not JSON ('[' or '{' expected near 'nonsense'): "
                        "'nonsense'" },
                { "exec <&-; sleep 60", -ETIMEDOUT, "did not answer within 300ms" },
                { "exec cat /dev/zero", -EMSGSIZE,
                        "answered with a line of more than 8 MiB; a line must be shorter, \"more\": true "
                        "lets others follow" },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *text = NULL, *path = NULL, *error = NULL;
                _cleanup_(module_closep) Module *module = NULL;
                ForeignAnswer answer;
                int r;

                assert_true(asprintf(&text,
                                    "#!/bin/sh\nread -r hello\necho '" HELLO("prog") "'\nread -r line\n%s\n",
                                    c->text) > 0);
                path = install("prog", text, 0755);
                if (module_open_any(path, &host, &module, &error) < 0)
                        fail_msg("%s: %s", c->text, error);
                ASSERT_OK(foreign_answer_init(&answer, FOREIGN_CHECK, FOREIGN_JSON, 1, &sink, NULL));
                r = foreign_ask(module, "{}\n", 3, &answer,
                        c->r == -ETIMEDOUT ? 300 * USEC_PER_MSEC : USEC_PER_MINUTE, &error);
                if (r != c->r)
                        fail_msg("%s: %d (%s), not %d", c->text, r, error ?: "fine", c->r);
                ASSERT_STREQ(error, c->error);
                ASSERT_NULL(module->foreign->process);
                foreign_answer_done(&answer);
        }
}

/* Both pipes are full before either side has finished. */
TEST(a_large_request_and_a_large_answer_pass_each_other) {
        _cleanup_free_ char *path = install("prog",
                "#!/bin/sh\nread -r hello\necho '" HELLO(
                        "prog") "'\nwhile :; do head -c 1000000 /dev/zero | tr '\\0' 'x' >&2;"
                                " printf '{\"results\":[],\"x\":\"'; head -c 3000000 | tr '\\n' 'x'; echo "
                                "'\"}'; done\n",
                0755);
        _cleanup_(module_closep) Module *module = NULL;
        _cleanup_free_ char *request = malloc(3000000), *error = NULL;
        ForeignAnswer answer;

        ASSERT_NOT_NULL(request);
        memset(request, 'y', 3000000);
        request[2999999] = '\n';
        ASSERT_OK(module_open_any(path, &host, &module, &error));
        for (int i = 0; i < 2; i++) {
                ASSERT_OK(foreign_answer_init(&answer, FOREIGN_CHECK, FOREIGN_JSON, 1, &sink, NULL));
                if (foreign_ask(module, request, 3000000, &answer, USEC_PER_MINUTE, &error) < 0)
                        fail_msg("%s", error ?: "?");
                ASSERT_TRUE(answer.closed);
                foreign_answer_done(&answer);
        }
}

TEST(what_is_no_program_is_refused) {
        static const struct {
                const char *name, *text;
                mode_t mode;
                int r;
                const char *error;
        } cases[] = {
                { "prog", "x", 0644, -EACCES, "it is not executable for everybody; chmod 0755 makes it so" },
                { "prog", "x", 0700, -EACCES, "it is not executable for everybody; chmod 0755 makes it so" },
                { "prog", "x", 0777, -EPERM,
                        "others than root can write it; it must belong to root, mode 0644 or 0755" },
                { "prog", "x", 0755, -EPIPE,
                        "it did not run: it cannot be executed: Exec format error (a script must begin with "
                        "'#!' and its "
                        "interpreter)" },
                { "prog", "#!/bin/sh\necho '" HELLO("gorp") "'", 0755, -EINVAL,
                        "it calls itself 'gorp', so its file must be 'gorp'" },
                { "prog",
                        "#!/bin/sh\necho "
                        "'{\"name\":\"prog\",\"version\":\"1\",\"protocol\":1,\"types\":[{\"name\":\"a\"},{"
                        "\"name\":"
                        "\"a\"}]}'",
                        0755, -EINVAL, "state type 'a' is declared twice" },
                { "prog", "#!/bin/sh\necho '{\"protocol\":1,\"types\":[]}'", 0755, -EINVAL,
                        "it has no name of a-z, 0-9, -" },
        };

        static const char *const bad[] = { "", "A", "1a", "a.py", "a~", ".a", "a_b", "a b", "a.so" };

        ASSERT_TRUE(foreign_name_is_good("a-1"));
        FOREACH_ELEMENT(name, bad)
                ASSERT_TRUE(!foreign_name_is_good(*name));

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *path = install(c->name, c->text, c->mode), *error = NULL;
                Module *module = NULL;

                ASSERT_EQ(foreign_open(path, &host, &module, &error), c->r);
                ASSERT_STREQ(error, c->error);
                ASSERT_NULL(module);
        }
}

#define RUN_FRESH(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

RUN_TESTS(RUN(parameters_are_written_as_json), RUN(what_is_owed_is_told),
        RUN(what_cannot_be_told_is_refused), RUN_FRESH(a_shell_reads_what_was_written), RUN(answers_in_json),
        RUN(answers_of_shells), RUN_FRESH(a_program_is_opened_and_asked),
        RUN_FRESH(a_program_that_does_not_answer_is_said_to),
        RUN_FRESH(a_large_request_and_a_large_answer_pass_each_other),
        RUN_FRESH(what_is_no_program_is_refused))
