/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>

#include "content.h"
#include "daemon.h"
#include "disable.h"
#include "doc.h"
#include "eval.h"
#include "log.h"
#include "once.h"
#include "output.h"
#include "page.h"
#include "schema.h"
#include "store.h"
#include "util.h"

static bool arg_once, arg_validate, arg_doc, arg_schema, arg_style, arg_force;
static const char *arg_content, *arg_eval, *arg_role, *arg_item;
static int arg_log_level = -1;
static DocOptions arg_doc_options;
static SchemaOptions arg_schema_options;
static OnceOptions arg_options = { .root = "/" };
static const char **arg_vars;
static size_t arg_n_vars;
static const char **arg_tags;
static size_t arg_n_tags;

static void help(void) {
        (void) printf("agentd [OPTION…]\n"
                      "agentd --once [--plan [--check]] [--diff] [--json] [OPTION…]\n"
                      "agentd --validate [OPTION…] [FILE…]\n"
                      "agentd --explain STATE [--json] [OPTION…]\n"
                      "agentd --eval EXPRESSION [--role NAME] [--item VALUE] [OPTION…]\n"
                      "agentd --doc [NAME]\n"
                      "agentd --schema [agentd.toml]\n"
                      "agentd --content HASH [--force]\n"
                      "\n"
                      "Keeps this host in the state that the roles in conf.d declare. Without --once,\n"
                      "--validate, --explain, --eval, --doc, --schema or --content it is the service,\n"
                      "which 'agentctl' talks to.\n"
                      "\n"
                      "  --once             do a single run, without daemon\n"
                      "  --plan             only say what would change\n"
                      "  --check            with --plan: exit with 4 if anything would change\n"
                      "  --diff             show differences of text\n"
                      "  --json             print one JSON object a line\n"
                      "  -v --verbose       show states that are fine as well\n"
                      "  --validate         look for errors in roles and settings, or in these files\n"
                      "  --explain STATE    say where all that is said of a state comes from, and what\n"
                      "                     it waits for; a glob is all states that match\n"
                      "  --eval EXPRESSION  try an expression, as of a state's 'when', and print its\n"
                      "                     value; with --check exit with 1 if it is false\n"
                      "  --role NAME        with --eval: 'vars' are those of that role\n"
                      "  --item VALUE       with --eval: 'item' is that, in TOML or JSON\n"
                      "  --doc              show what a state type or agentd.toml takes, or\n"
                      "                     list what there is\n"
                      "  --style STYLE      with --doc: text (default), markdown, roff or toml\n"
                      "  --schema           print the JSON Schema of roles, or of agentd.toml: with it\n"
                      "                     editors complete and check them\n"
                      "  --content HASH     write out old content that a change has replaced\n"
                      "  --force            with --content: to a terminal, even if it is no text\n"
                      "  --root DIR         manage the tree in DIR instead of this host\n"
                      "  --conf-dir DIR     roles are DIR/*.toml, instead of those in conf.d\n"
                      "  --var NAME=VALUE   set a variable, whatever the roles say\n"
                      "  --tag TAG          with --once: only states with this tag, or another one\n"
                      "                     that is named, and what they require\n"
                      "  --module-dir DIR   look for modules in DIR first\n"
                      "  --log-level LEVEL  error, warning, notice, info (default) or debug\n"
                      "  -h --help          show this\n"
                      "  --version          show the version\n"
                      "\n"
                      "Exit status: 0 fine, 1 a state failed, 2 usage, or an invalid role or\n"
                      "expression, 4 changes are pending (--plan --check).\n");
}

static int usage(const char *format, ...) _printf_(1, 2);

static int usage(const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;

        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        log_error("%s; see agentd --help", text ?: "out of memory");
        return EXIT_INVALID;
}

/* A directory given by the user, as an absolute path without links; NULL if there is none. */
static const char *directory_argument(const char *option, const char *path) {
        struct stat st;
        char *real = realpath(path, NULL);

        if (!real) {
                (void) usage("%s '%s': %s", option, path, strerror(errno));
                return NULL;
        }
        if (stat(real, &st) < 0 || !S_ISDIR(st.st_mode)) {
                (void) usage("%s '%s' is not a directory", option, path);
                free(real);
                return NULL;
        }
        return real;
}

/* Return: 0; minus the exit status. */
static int add_var(const char *text) {
        const char *equal = strchr(text, '=');

        if (!equal || equal == text)
                return -usage("--var '%s' is not NAME=VALUE", text);
        if (!utf8_is_valid(text, strlen(text)))
                return -usage("--var: it is not UTF-8");
        arg_vars[arg_n_vars++] = text;
        return 0;
}

enum {
        ARG_ONCE = 0x100,
        ARG_PLAN,
        ARG_CHECK,
        ARG_DIFF,
        ARG_JSON,
        ARG_VALIDATE,
        ARG_EXPLAIN,
        ARG_EVAL,
        ARG_ROLE,
        ARG_ITEM,
        ARG_DOC,
        ARG_SCHEMA,
        ARG_STYLE,
        ARG_CONTENT,
        ARG_FORCE,
        ARG_ROOT,
        ARG_CONF_DIR,
        ARG_MODULE_DIR,
        ARG_VAR,
        ARG_TAG,
        ARG_LOG_LEVEL,
        ARG_VERSION,
};

/* Return: 1 go on; 0 all is done; or minus the exit status. */
static int parse_argv(int argc, char **argv) {
        static const struct option options[] = {
                { "once", no_argument, NULL, ARG_ONCE },
                { "plan", no_argument, NULL, ARG_PLAN },
                { "check", no_argument, NULL, ARG_CHECK },
                { "diff", no_argument, NULL, ARG_DIFF },
                { "json", no_argument, NULL, ARG_JSON },
                { "verbose", no_argument, NULL, 'v' },
                { "validate", no_argument, NULL, ARG_VALIDATE },
                { "explain", required_argument, NULL, ARG_EXPLAIN },
                { "eval", required_argument, NULL, ARG_EVAL },
                { "role", required_argument, NULL, ARG_ROLE },
                { "item", required_argument, NULL, ARG_ITEM },
                { "doc", no_argument, NULL, ARG_DOC },
                { "schema", no_argument, NULL, ARG_SCHEMA },
                { "style", required_argument, NULL, ARG_STYLE },
                { "content", required_argument, NULL, ARG_CONTENT },
                { "force", no_argument, NULL, ARG_FORCE },
                { "root", required_argument, NULL, ARG_ROOT },
                { "conf-dir", required_argument, NULL, ARG_CONF_DIR },
                { "module-dir", required_argument, NULL, ARG_MODULE_DIR },
                { "var", required_argument, NULL, ARG_VAR },
                { "tag", required_argument, NULL, ARG_TAG },
                { "log-level", required_argument, NULL, ARG_LOG_LEVEL },
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, ARG_VERSION },
                {},
        };
        const char **directory;
        int c, level, r;

        /* At most as many as there are words. */
        arg_vars = calloc((size_t) argc + 1, sizeof(char *));
        arg_tags = calloc((size_t) argc + 1, sizeof(char *));
        if (!arg_vars || !arg_tags)
                return -usage("out of memory");
        while ((c = getopt_long(argc, argv, "hv", options, NULL)) >= 0) {
                switch (c) {
                case ARG_ONCE: arg_once = true; break;
                case ARG_PLAN: arg_options.plan = true; break;
                case ARG_CHECK: arg_options.check = true; break;
                case ARG_DIFF: arg_options.diff = true; break;
                case ARG_JSON: arg_options.json = true; break;
                case 'v': arg_options.verbose = true; break;
                case ARG_VALIDATE: arg_validate = true; break;
                case ARG_EXPLAIN: arg_options.explain = optarg; break;
                case ARG_EVAL: arg_eval = optarg; break;
                case ARG_ROLE: arg_role = optarg; break;
                case ARG_ITEM: arg_item = optarg; break;
                case ARG_DOC: arg_doc = true; break;
                case ARG_SCHEMA: arg_schema = true; break;
                case ARG_STYLE:
                        if (reference_style_from_string(optarg, &arg_doc_options.style) < 0)
                                return -usage(
                                        "--style '%s' is not one of text, markdown, roff, toml", optarg);
                        arg_style = true;
                        break;
                case ARG_CONTENT: arg_content = optarg; break;
                case ARG_FORCE: arg_force = true; break;
                case ARG_ROOT:
                case ARG_CONF_DIR:
                case ARG_MODULE_DIR:
                        directory = c == ARG_ROOT       ? &arg_options.root
                                    : c == ARG_CONF_DIR ? &arg_options.conf_dir
                                                        : &arg_options.module_dir;
                        *directory = directory_argument(c == ARG_ROOT       ? "--root"
                                                        : c == ARG_CONF_DIR ? "--conf-dir"
                                                                            : "--module-dir",
                                optarg);
                        if (!*directory)
                                return -EXIT_INVALID;
                        break;
                case ARG_VAR:
                        r = add_var(optarg);
                        if (r < 0)
                                return r;
                        break;
                case ARG_TAG: arg_tags[arg_n_tags++] = optarg; break;
                case ARG_LOG_LEVEL:
                        if (log_level_from_string(optarg, &level) < 0)
                                return -usage(
                                        "--log-level '%s' is not one of error, warning, notice, info, debug",
                                        optarg);
                        log_set_max_level(level);
                        arg_options.keep_log_level = true;
                        break;
                case ARG_VERSION: (void) printf("agentd %s\n", AGENTD_VERSION); return 0;
                case 'h': help(); return 0;
                default: return -EXIT_INVALID; /* getopt has said why */
                }
        }

        if (arg_style && !arg_doc)
                return -usage("--style goes with --doc");
        if (arg_force && !arg_content)
                return -usage("--force goes with --content");
        if ((arg_role || arg_item) && !arg_eval)
                return -usage("%s goes with --eval", arg_role ? "--role" : "--item");
        if (arg_schema) {
                if (arg_once || arg_validate || arg_doc || arg_eval || arg_content || arg_options.explain ||
                        arg_options.plan || arg_options.check || arg_options.diff || arg_options.json ||
                        arg_options.verbose || arg_options.conf_dir || arg_n_vars > 0 || arg_n_tags > 0 ||
                        !streq(arg_options.root, "/"))
                        return -usage("--schema goes with --module-dir only");
                if (optind + 1 < argc)
                        return -usage("'%s' is one word too many", argv[optind + 1]);
                arg_schema_options.name = argv[optind];
                arg_schema_options.module_dir = arg_options.module_dir;
                return 1;
        }
        if (arg_options.explain) {
                if (arg_eval || arg_content || arg_doc || arg_once || arg_validate || arg_options.plan ||
                        arg_options.check || arg_options.diff || arg_options.verbose)
                        return -usage("--explain goes with --json, --root, --conf-dir, --module-dir and "
                                      "--var only");
                if (optind < argc)
                        return -usage("'%s' is one word too many", argv[optind]);
                if (!utf8_is_valid(arg_options.explain, strlen(arg_options.explain)))
                        return -usage("--explain: it is not UTF-8");
                arg_options.vars = arg_vars;
                return 1;
        }
        if (arg_eval) {
                if (arg_content || arg_doc || arg_once || arg_validate || arg_options.plan ||
                        arg_options.diff || arg_options.verbose)
                        return -usage(
                                "--eval goes with --role, --item, --check, --json, --root, --conf-dir, "
                                "--module-dir and --var only");
                if (optind < argc)
                        return -usage("'%s' is one word too many; quote the expression", argv[optind]);
                return 1;
        }
        if (arg_content) {
                if (arg_doc || arg_once || arg_validate || arg_options.plan || arg_options.diff ||
                        arg_options.json)
                        return -usage(
                                "--content excludes --once, --validate, --doc and what goes with them");
                if (optind < argc)
                        return -usage("'%s' is one word too many", argv[optind]);
                return 1;
        }
        if (arg_doc) {
                if (arg_once || arg_validate || arg_options.plan || arg_options.diff || arg_options.json)
                        return -usage("--doc excludes --once, --validate and what goes with them");
                if (optind + 1 < argc)
                        return -usage("'%s' is one word too many", argv[optind + 1]);
                arg_doc_options.name = argv[optind];
                arg_doc_options.module_dir = arg_options.module_dir;
                return 1;
        }
        if (arg_once && arg_validate)
                return -usage("--once and --validate exclude each other");
        if (arg_options.check && !arg_options.plan)
                return -usage("--check goes with --plan");
        if (!arg_once && (arg_options.plan || arg_options.diff || arg_options.json || arg_options.verbose))
                return -usage("--plan, --diff, --json and --verbose go with --once");
        if (!arg_once && !arg_validate && arg_n_vars > 0)
                return -usage(
                        "--var goes with --once and --validate: the service is given variables by vars.d");
        arg_options.vars = arg_vars;
        if (!arg_once && arg_n_tags > 0)
                return -usage("--tag goes with --once");
        arg_options.tags = arg_tags;
        arg_options.n_tags = arg_n_tags;
        if (!arg_once && !arg_validate && !streq(arg_options.root, "/"))
                return -usage("--root goes with --once and --validate: the service manages this host");
        if (optind < argc) {
                if (!arg_validate)
                        return -usage("'%s' is one word too many", argv[optind]);
                if (arg_options.conf_dir)
                        return -usage("Give either files or --conf-dir");
                arg_options.role_files = (const char *const *) argv + optind;
        }
        return 1;
}

/* A descriptor that the caller has closed would be given to the next file that we open, and what we print would end up
 * in it. What is written to a closed standard output shall be an error, hence it is not /dev/null for writing. */
static void open_standard_descriptors(void) {
        static const int flags[] = { O_WRONLY, O_RDONLY, O_WRONLY };

        for (int fd = 0; fd < (int) ELEMENTSOF(flags); fd++)
                if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", flags[fd]) < 0)
                        (void) open("/", O_RDONLY | O_DIRECTORY);
}

int main(int argc, char **argv) {
        int r;

        /* Roles may hold secrets: they are not to lie about in core dumps. */
        (void) setrlimit(RLIMIT_CORE, &(struct rlimit){});
        /* A limit of file sizes is an error that is reported, not an end without a word. */
        (void) signal(SIGXFSZ, SIG_IGN);
        open_standard_descriptors();
        /* What the store starts; not for people. */
        if (argc == 6 && streq(argv[1], "--housekeeper"))
                return housekeeper_main(argv[2], argv[3], argv[4], argv[5]);
        (void) setvbuf(stdout, NULL, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF, KIB(64));
        r = parse_argv(argc, argv);
        if (r == 0)
                return output_flush(stdout) < 0 ? EXIT_STATE_FAILED : EXIT_FINE;
        if (r < 0)
                return -r;
        if (sodium_init() < 0) {
                log_error("Failed to set up libsodium");
                return EXIT_STATE_FAILED;
        }

        if (arg_options.explain)
                return once_explain(&arg_options);
        if (arg_eval)
                return eval_run(&(EvalOptions){
                        .expression = arg_eval,
                        .root = arg_options.root,
                        .conf_dir = arg_options.conf_dir,
                        .module_dir = arg_options.module_dir,
                        .vars = arg_vars,
                        .role = arg_role,
                        .item = arg_item,
                        .json = arg_options.json,
                        .check = arg_options.check,
                });
        if (arg_content)
                return content_print(STATE_DIRECTORY, arg_content, arg_force);
        if (arg_doc)
                return doc_run(&arg_doc_options);
        if (arg_schema)
                return schema_run(&arg_schema_options);
        if (arg_once)
                return once_run(&arg_options);
        if (arg_validate)
                return once_validate(&arg_options);
        return daemon_run(&(DaemonOptions){
                .conf_dir = arg_options.conf_dir,
                .module_dir = arg_options.module_dir,
                .log_level = arg_log_level,
                .argv = argv,
        });
}
