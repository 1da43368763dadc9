/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "module-load.h"
#include "test.h"

static char directory[64];

static int setup(_unused_ void **state) {
        (void) snprintf(directory, sizeof(directory), "/tmp/test-module-load-XXXXXX");
        return mkdtemp(directory) ? 0 : -1;
}

static int on_remove(
        const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *ftw) {
        return remove(path);
}

static int teardown(_unused_ void **state) {
        return nftw(directory, on_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static char *module_path(const char *variable, const char *name) {
        char *path;

        assert_true(asprintf(&path, "%s/%s.so", getenv(variable), name) > 0);
        return path;
}

static char *copy_of(const char *name, const char *as, mode_t mode) {
        _cleanup_free_ char *from = module_path("TEST_MODULE_DIR", name);
        _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC), out = -EBADF;
        _cleanup_free_ char *data = malloc(MIB(4));
        char *path;
        ssize_t n;

        assert_true(asprintf(&path, "%s/%s", directory, as) > 0);
        out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(in >= 0 && out >= 0);
        n = read_full(in, data, MIB(4));
        assert_true(n > 0 && (size_t) n < MIB(4));
        ASSERT_OK(write_full(out, data, (size_t) n));
        ASSERT_OK(fchmod(out, mode));
        return path;
}

static void refused(const char *path, int r, const char *error) {
        Module *module = (Module *) 1;
        char *text = NULL;
        int q = module_open(path, &module, &text);

        if (q != r)
                fail_msg("%s: %d (%s), not %d", path, q, text ?: "accepted", r);
        ASSERT_STREQ(text, error);
        ASSERT_TRUE(module == (Module *) 1);
        free(text);
}

TEST(bad_modules_are_refused) {
        static const struct {
                const char *name, *error;
        } cases[] = {
                { "bad-symbol", "it has no 'agentd_module'; AGENTD_MODULE() makes one" },
                { "bad-abi", "it was built for module interface 2, this agentd has 1; rebuild it with this "
                             "agentd's <agentd/module.h>" },
                { "bad-size", "its description says a size (24 bytes) that cannot be" },
                { "bad-size-large", "its description says a size (1048576 bytes) that cannot be" },
                { "bad-type-size", "its description says sizes of declarations that cannot be" },
                { "bad-parameter-size", "its description says sizes of declarations that cannot be" },
                { "bad-parameter-odd", "its description says sizes of declarations that cannot be" },
                { "bad-name", "it calls itself 'other', so its file must be 'other.so'" },
                { "bad-name-prefix", "it calls itself 'bad-name', so its file must be 'bad-name.so'" },
                { "bad-name-letters", "it has no name of a-z, 0-9, -" },
                { "bad-version", "it has no version" },
                { "bad-check", "state type 'bad-check' has no check callback" },
                { "bad-apply", "state type 'bad-apply' has no apply callback" },
                { "bad-type-name", "state type 1 has no name of a-z, 0-9, -" },
                { "bad-type-twice", "state type 'bad-type-twice' is declared twice" },
                { "bad-type-endless", "the list of state types has no end (NULL)" },
                { "bad-twice", "bad-twice: parameter 'one' is declared twice" },
                { "bad-parameter-name",
                        "bad-parameter-name: 'One' is no name for a parameter (a-z, 0-9, _)" },
                { "bad-parameter-type",
                        "bad-parameter-type: parameter 'one' has a type that this agentd does not know" },
                { "bad-parameter-none",
                        "bad-parameter-none: parameter 'one' has a type that this agentd does not know" },
                { "bad-field", "one: parameter 'x' has a type that this agentd does not know" },
                { "bad-deep", "one: fields are nested too deeply" },
                { "bad-endless", "bad-endless: the list of parameters has no end (one without name)" },
                { "bad-empty", "it provides nothing" },
                { "bad-trigger", "it provides something else than state types and helpers, which this "
                                 "agentd cannot use" },
                { "bad-helper-name", "helper 'bad_helpers' is not called as the module is, or that and "
                                     "_WORD, of a-z, 0-9, _" },
                { "bad-helper-size", "a helper says a size (8 bytes) that cannot be" },
                { "bad-helper-call", "helper 'bad_helper_call' has no callback" },
                { "bad-helper-arity",
                        "helper 'bad_helper_arity' takes at least 2 arguments, and at most 1" },
                { "bad-helper-types",
                        "helper 'bad_helper_types_x': argument 2 has a type that none can have" },
                { "bad-helper-twice", "helper 'bad_helper_twice' is declared twice" },
                { "bad-build-id", "it has no build id; link it with -Wl,--build-id" },
                { "bad-undefined", "undefined symbol: agentd_of_tomorrow" },
        };

        FOREACH_ELEMENT(c, cases) {
                _cleanup_free_ char *path = module_path("TEST_MODULE_DIR", c->name);

                refused(path, -EINVAL, c->error);
        }
}

static char *put(const char *name, const char *text, mode_t mode) {
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

TEST(what_is_no_module_file_is_refused) {
        static const char writable[] =
                "others than root can write it; it must belong to root, mode 0644 or 0755";
        _cleanup_free_ char *missing = NULL, *fifo = NULL, *text = NULL, *empty = NULL, *group = NULL,
                            *world = NULL, *link = NULL;
        Module *module;
        char *error;

        assert_true(asprintf(&missing, "%s/missing.so", directory) > 0);
        refused(missing, -ENOENT, "No such file or directory");
        refused(directory, -EINVAL, "it is not a regular file");
        assert_true(asprintf(&fifo, "%s/fifo.so", directory) > 0);
        ASSERT_OK(mkfifo(fifo, 0600));
        refused(fifo, -EINVAL, "it is not a regular file");
        refused("/dev/null", -EINVAL, "it is not a regular file");

        text = put("text.so",
                "I am no shared object, whatever my name says, and long enough to have the header of one.\n",
                0644);
        refused(text, -EINVAL, "invalid ELF header");
        empty = put("empty.so", "", 0644);
        refused(empty, -EINVAL, "file too short");

        world = copy_of("layout-long", "world.so", 0666);
        refused(world, -EPERM, writable);
        group = copy_of("layout-long", "group.so", 0664);
        refused(group, -EPERM, writable);
        /* The target of a link counts, and the name of the link. */
        assert_true(asprintf(&link, "%s/layout-long.so", directory) > 0);
        ASSERT_OK(symlink(world, link));
        refused(link, -EPERM, writable);
        ASSERT_OK(chmod(world, 0644));
        refused(world, -EINVAL, "it calls itself 'layout-long', so its file must be 'layout-long.so'");
        ASSERT_OK(module_open(link, &module, &error));
        module_close(module);

        if (geteuid() == 0) {
                ASSERT_OK(chown(world, 12345, 0));
                refused(world, -EPERM, writable);
        }
}

static Module *opened(const char *variable, const char *name) {
        _cleanup_free_ char *path = module_path(variable, name);
        char *error = NULL;
        Module *module = NULL;
        int r = module_open(path, &module, &error);

        if (r < 0)
                fail_msg("%s: %s", name, error ?: strerror(-r));
        ASSERT_NULL(error);
        ASSERT_STREQ(module->path, path);
        ASSERT_STREQ(module->info.name, name);
        ASSERT_STREQ(module->info.version, "1");
        assert_true(module->build_id_size >= 16 && module->build_id_size <= IMAGE_BUILD_ID_SIZE);
        return module;
}

TEST(a_module_is_opened) {
        Module *module = opened("MODULE_DIR", "file"), *again;
        const AgentdStateType *file = module_find_type(module, "file");

        ASSERT_EQ(module->n_types, 1);
        ASSERT_NOT_NULL(file);
        ASSERT_NULL(module_find_type(module, "fil"));
        ASSERT_EQ(file->flags & AGENTD_NAME_IS_PATH, AGENTD_NAME_IS_PATH);
        ASSERT_STREQ(file->parameters[0].name, "ensure");
        ASSERT_TRUE(parameters_count(file->parameters) > 8);
        ASSERT_EQ(parameters_count(file->parameters[8].fields), 2);
        ASSERT_EQ(parameters_count(NULL), 0);

        /* Each opening stands for itself, and says the same build id. */
        again = opened("MODULE_DIR", "file");
        ASSERT_EQ(again->build_id_size, module->build_id_size);
        assert_memory_equal(again->build_id, module->build_id, module->build_id_size);
        module_close(module);
        ASSERT_STREQ(again->types[0].parameters[1].name, "content");
        module_close(again);

        module = opened("MODULE_DIR", "hosts-entry");
        again = opened("MODULE_DIR", "file");
        assert_memory_not_equal(again->build_id, module->build_id, module->build_id_size);
        module_close(module);
        module_close(again);
        ASSERT_NULL(module_close(NULL));
}

/* What a module did not know of is zero, and what lies behind its structs is not looked at. */
TEST(a_module_of_an_older_header_is_opened) {
        Module *module = opened("TEST_MODULE_DIR", "layout-short");

        ASSERT_NULL(module->info.trigger_types);
        ASSERT_NULL(module->info.sink_types);
        ASSERT_NULL(module->info.builtins);
        ASSERT_NULL(module->info.fact_sources);
        ASSERT_EQ(module->n_types, 1);
        ASSERT_EQ(parameters_count(module->types[0].parameters), 2);
        ASSERT_STREQ(module->types[0].parameters[1].name, "two");
        module_close(module);
}

TEST(a_module_of_a_newer_header_is_opened) {
        Module *module = opened("TEST_MODULE_DIR", "layout-long");
        const AgentdStateType *type = module_find_type(module, "layout-long");

        ASSERT_EQ(module->n_types, 2);
        ASSERT_NOT_NULL(module_find_type(module, "layout-long-second"));
        ASSERT_EQ(type->batch_max, 3);
        ASSERT_EQ(type->flags & AGENTD_NO_PLAN, AGENTD_NO_PLAN);
        ASSERT_EQ(parameters_count(type->parameters), 3);
        ASSERT_STREQ(type->parameters[0].default_value, "1");
        ASSERT_STREQ(type->parameters[1].name, "two");
        ASSERT_EQ(parameters_count(type->parameters[1].fields), 2);
        ASSERT_STREQ(type->parameters[1].fields[0].default_value, "7");
        ASSERT_STREQ(type->parameters[1].fields[1].name, "y");
        ASSERT_EQ(type->parameters[2].type, AGENTD_MODE);
        ASSERT_EQ(type->parameters[2].flags & AGENTD_REQUIRED, AGENTD_REQUIRED);
        module_close(module);
}

/* It has all that there was, and finds all functions that there were. Box tests run it. */
TEST(a_module_of_the_first_header_is_opened) {
        Module *module = opened("TEST_MODULE_DIR", "abi-1");
        const AgentdStateType *type = module_find_type(module, "abi-1");
        const AgentdParameter *p = type->parameters;

        ASSERT_STREQ(type->documentation, "Keeps a text, as modules of the first version did");
        ASSERT_EQ(type->flags, AGENTD_NAME_IS_PATH);
        ASSERT_EQ(type->batch_max, 5);
        ASSERT_EQ(type->timeout_usec, 20 * USEC_PER_SEC);
        ASSERT_NOT_NULL(type->prepare);
        ASSERT_NOT_NULL(type->watch);
        ASSERT_NOT_NULL(type->check);
        ASSERT_NOT_NULL(type->apply);
        ASSERT_EQ(parameters_count(p), 5);
        ASSERT_EQ(p[0].flags, AGENTD_REQUIRED);
        ASSERT_STREQ(p[0].documentation, "the text");
        ASSERT_STREQ(p[1].default_value, "0644");
        ASSERT_STREQ(p[2].choices[1], "no");
        ASSERT_NULL(p[2].choices[2]);
        ASSERT_STREQ(p[2].exclusive, "words");
        ASSERT_EQ(parameters_count(p[3].fields), 2);
        ASSERT_STREQ(p[3].fields[0].default_value, "7");
        ASSERT_EQ(p[4].type, AGENTD_LIST);
        module_close(module);
}

/* No check finds out every lie. What must not be is that the lie is taken for the truth; a crash is in a child. */
TEST(a_module_that_lies_harms_the_process_that_opens_it_at_most) {
        int status = 0;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                _cleanup_free_ char *path = module_path("TEST_MODULE_DIR", "bad-stride");
                Module *module;
                char *error;

                (void) setrlimit(RLIMIT_CORE, &(struct rlimit){});
                (void) signal(SIGSEGV, SIG_DFL);
                _exit(module_open(path, &module, &error) < 0 ? 0 : 42);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != 42);
}

#define RUN_FRESH(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

RUN_TESTS(RUN(bad_modules_are_refused), RUN_FRESH(what_is_no_module_file_is_refused),
        RUN(a_module_is_opened), RUN(a_module_of_an_older_header_is_opened),
        RUN(a_module_of_a_newer_header_is_opened), RUN(a_module_of_the_first_header_is_opened),
        RUN(a_module_that_lies_harms_the_process_that_opens_it_at_most))
