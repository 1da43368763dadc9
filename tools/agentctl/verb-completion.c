/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What shells need to complete command lines, from the table of verbs. */

#include "agentctl.h"
#include "json.h"
#include "terminal.h"

/* How long a key may hang. */
#define COMPLETE_TIMEOUT_USEC USEC_PER_SEC

static const char *const kind_names[_COMPLETE_MAX] = {
        [COMPLETE_STATES] = "states",
        [COMPLETE_RUNS] = "runs",
        [COMPLETE_DOCS] = "docs",
        [COMPLETE_FACTS] = "facts",
        [COMPLETE_ROLES] = "roles",
        [COMPLETE_TYPES] = "types",
        [COMPLETE_TAGS] = "tags",
        [COMPLETE_TRIGGERS] = "triggers",
};

/* ---- What a word may become ------------------------------------------------------------------------------------ */

typedef struct Words {
        Complete kind;
        const char *prefix;
        json_t *seen;
} Words;

/* "WORD", and after a tab what it means. Words that a terminal would obey are not offered. */
static void offer(Words *words, const char *word, const char *meaning) {
        if (!word || !startswith(word, words->prefix) || json_object_get(words->seen, word))
                return;
        for (const unsigned char *p = (const unsigned char *) word; *p; p++)
                if (*p < ' ' || *p == 0x7f || (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0))
                        return;
        (void) json_object_set_new(words->seen, word, json_true());
        (void) fputs(word, stdout);
        if (meaning) {
                (void) fputc('\t', stdout);
                output_clean(stdout, meaning, strlen(meaning));
        }
        (void) fputc('\n', stdout);
}

static int on_item(void *userdata, json_t *item) {
        Words *words = userdata;
        const json_t *tag;
        char number[32];
        size_t i;

        switch (words->kind) {
        case COMPLETE_STATES: offer(words, get_text(item, "state"), get_text(item, "result")); break;
        case COMPLETE_ROLES: offer(words, get_text(item, "role"), NULL); break;
        case COMPLETE_TRIGGERS: offer(words, get_text(item, "trigger"), get_text(item, "type")); break;
        case COMPLETE_TYPES: offer(words, get_text(item, "type"), NULL); break;
        case COMPLETE_TAGS:
                json_array_foreach(json_object_get(item, "tags"), i, tag) {
                        offer(words, json_string_value(tag), NULL);
                }
                break;
        default:
                (void) snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, get_integer(item, "run"));
                offer(words, number, get_text(item, "started"));
        }
        return 0;
}

static void on_doc_name(void *userdata, const char *name, const char *what) {
        offer(userdata, name, what);
}

/* Names down to values. */
static void offer_facts(Words *words, const json_t *facts, const char *name) {
        const char *key;
        json_t *member;

        json_object_foreach((json_t *) facts, key, member) {
                _cleanup_free_ char *longer = NULL;

                if (asprintf(&longer, "%s%s%s", name, *name ? "." : "", key) < 0)
                        return;
                offer(words, longer, NULL);
                offer_facts(words, member, longer);
        }
}

/* Those that begin so; all, if the prefix has what means something in a glob. */
static char *states_path(const char *prefix) {
        _cleanup_free_ char *path = strdup("/v1/states"), *glob = NULL;

        if (!path || asprintf(&glob, "%s*", prefix) < 0) {
                glob = NULL;
                return NULL;
        }
        if (*prefix && !strpbrk(prefix, "*?[\\") && query_add(&path, "match", glob) < 0)
                return NULL;
        return TAKE_PTR(path);
}

int verb_complete(Invocation *invocation) {
        Client *client = &invocation->client;
        Words words = { .prefix = invocation->n_words > 1 ? invocation->words[1] : "" };
        _cleanup_free_ char *path = NULL;
        json_t *facts = NULL;
        int r;

        for (; words.kind < _COMPLETE_MAX; words.kind++)
                if (kind_names[words.kind] && streq(kind_names[words.kind], invocation->words[0]))
                        break;
        if (words.kind == _COMPLETE_MAX)
                return usage(NULL, "There is nothing to complete as '%s'", invocation->words[0]);

        client->silent = true;
        client->progress = NULL;
        client->timeout_usec = MIN(client->timeout_usec, COMPLETE_TIMEOUT_USEC);
        words.seen = json_object();
        switch (words.kind) {
        case COMPLETE_FACTS:
                r = client_get(client, "/v1/facts", &facts);
                if (r == 0)
                        offer_facts(&words, facts, "");
                json_decref(facts);
                break;
        case COMPLETE_DOCS:
                r = agentd_doc_names(on_doc_name, &words);
                offer(&words, "agentd.toml", "settings of agentd itself");
                break;
        case COMPLETE_RUNS: r = client_pages(client, "/v1/runs", NULL, on_item, &words); break;
        case COMPLETE_TRIGGERS:
                offer(&words, "fire", NULL);
                r = client_pages(client, "/v1/triggers", NULL, on_item, &words);
                break;
        default:
                path = words.kind == COMPLETE_STATES ? states_path(words.prefix) : strdup("/v1/states");
                r = path ? client_pages(client, path, NULL, on_item, &words) : EXIT_STATE_FAILED;
        }
        json_decref(words.seen);
        return r;
}

/* ---- Scripts --------------------------------------------------------------------------------------------------- */

/* NULL: the verbs. */
static void print_words(const char *words) {
        const char *blank = "";

        if (words)
                (void) printf("%s", words);
        for (size_t i = 0; !words && i < n_verbs; i++) {
                if (verbs[i].hidden)
                        continue;
                (void) printf("%s%s", blank, verbs[i].name);
                blank = " ";
        }
}

/* What a verb, or an option, is followed by, as the argument of a function of the script: a kind that is asked for,
 * "files", or "words WORD…". */
static void print_source(Complete complete, const char *words) {
        if (complete == COMPLETE_WORDS) {
                (void) printf("words ");
                print_words(words);
        } else if (complete == COMPLETE_FILES)
                (void) printf("files");
        else
                (void) printf("%s", kind_names[complete] ?: "nothing");
}

static void print_option_names(const Option *options) {
        for (const Option *o = options; o && o->name; o++)
                (void) printf(" --%s", o->name);
}

/* The parts that bash and zsh have in common: variables `options`, `source` and `verb`. */
static void print_cases(void) {
        (void) printf("    case $verb in\n");
        for (size_t i = 0; i < n_verbs; i++) {
                if (verbs[i].hidden)
                        continue;
                (void) printf("        %s) source='", verbs[i].name);
                print_source(verbs[i].complete, verbs[i].words);
                (void) printf("' options='");
                print_option_names(verbs[i].options);
                (void) printf("' ;;\n");
        }
        (void) printf("        '') source='");
        print_source(COMPLETE_WORDS, NULL);
        (void) printf("' ;;\n"
                      "    esac\n"
                      "    options+='");
        print_option_names(global_options);
        (void) printf("'\n"
                      "    case \"$verb $previous\" in\n");
        for (const Option *o = global_options; o->name; o++)
                if (o->argument) {
                        (void) printf("        *' --%s') source='", o->name);
                        print_source(o->complete, o->words);
                        (void) printf("' options= ;;\n");
                }
        for (size_t i = 0; i < n_verbs; i++)
                for (const Option *o = verbs[i].options; o && o->name; o++)
                        if (o->argument) {
                                (void) printf("        '%s --%s') source='", verbs[i].name, o->name);
                                print_source(o->complete, o->words);
                                (void) printf("' options= ;;\n");
                        }
        (void) printf("    esac\n");
}

static void print_bash(void) {
        (void) printf("# Completion of agentctl for bash, made by agentctl completion bash.\n"
                      "\n"
                      "_agentctl() {\n"
                      "    local line=${COMP_LINE:0:COMP_POINT} verb= previous= options= source=nothing "
                      "word i current\n"
                      "    local -a words\n"
                      "\n"
                      "    # Not COMP_WORDS: bash splits ids of states at their colons.\n"
                      "    read -ra words <<<\"$line\"\n"
                      "    [[ $line == *[[:space:]] ]] && words+=('')\n"
                      "    current=${words[${#words[@]} - 1]}\n"
                      "    for ((i = 1; i < ${#words[@]} - 1; i++)); do\n"
                      "        word=${words[i]}\n"
                      "        if [[ $word == --socket ]]; then\n"
                      "            ((i++))\n"
                      "        elif [[ $word != -* ]]; then\n"
                      "            verb=$word\n"
                      "            break\n"
                      "        fi\n"
                      "    done\n"
                      "    previous=${words[${#words[@]} - 2]}\n"
                      "    if [[ $current == --*=* ]]; then\n"
                      "        previous=${current%%%%=*}\n"
                      "        current=${current#*=}\n"
                      "    fi\n"
                      "\n");
        print_cases();
        (void) printf(
                "\n"
                "    COMPREPLY=()\n"
                "    if [[ $current == -* && $options ]]; then\n"
                "        COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
                "        return\n"
                "    fi\n"
                "    case $source in\n"
                "        nothing) ;;\n"
                "        'words '*) COMPREPLY=($(compgen -W \"${source#words }\" -- \"$current\")) ;;\n"
                "        files)\n"
                "            compopt -o filenames 2>/dev/null\n"
                "            mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
                "            ;;\n"
                "        *)\n"
                "            mapfile -t COMPREPLY < <(agentctl __complete \"$source\" \"$current\" "
                "2>/dev/null)\n"
                "            # What follows the tab is for other shells; blanks must be quoted.\n"
                "            for i in \"${!COMPREPLY[@]}\"; do\n"
                "                word=${COMPREPLY[i]%%%%$'\\t'*}\n"
                "                # The part up to the last colon is not replaced by bash.\n"
                "                if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then\n"
                "                    word=${word#\"${current%%\"${current##*:}\"}\"}\n"
                "                fi\n"
                "                [[ $word == *[^A-Za-z0-9_./:@%%+,=-]* ]] && printf -v word %%q \"$word\"\n"
                "                COMPREPLY[i]=$word\n"
                "            done\n"
                "            ;;\n"
                "    esac\n"
                "}\n"
                "\n"
                "complete -F _agentctl agentctl\n");
}

static void print_zsh(void) {
        (void) printf("#compdef agentctl\n"
                      "# Completion of agentctl for zsh, made by agentctl completion zsh.\n"
                      "\n"
                      "_agentctl() {\n"
                      "    local verb= previous= options= source=nothing i\n"
                      "    local -a found\n"
                      "\n"
                      "    for ((i = 2; i < CURRENT; i++)); do\n"
                      "        if [[ $words[i] == --socket ]]; then\n"
                      "            ((i++))\n"
                      "        elif [[ $words[i] != -* ]]; then\n"
                      "            verb=$words[i]\n"
                      "            break\n"
                      "        fi\n"
                      "    done\n"
                      "    previous=$words[CURRENT-1]\n"
                      "    if [[ $PREFIX == --*=* ]]; then\n"
                      "        previous=${PREFIX%%%%=*}\n"
                      "        compset -P '*='\n"
                      "    fi\n"
                      "\n");
        print_cases();
        (void) printf("\n"
                      "    if [[ $PREFIX == -* && -n $options ]]; then\n"
                      "        compadd -- ${=options}\n"
                      "        return\n"
                      "    fi\n"
                      "    case $source in\n"
                      "        nothing) ;;\n"
                      "        'words '*) compadd -- ${=source#words } ;;\n"
                      "        files) _files ;;\n"
                      "        *)\n"
                      "            found=(\"${(@f)$(agentctl __complete $source \"${(Q)PREFIX}\" "
                      "2>/dev/null)}\")\n"
                      "            found=(\"${(@)found%%%%$'\\t'*}\")\n"
                      "            compadd -- \"${(@)found:#}\"\n"
                      "            ;;\n"
                      "    esac\n"
                      "}\n"
                      "\n"
                      "_agentctl \"$@\"\n");
}

/* fish quotes with '…', where only \ and ' mean something; no help has them. */
static void print_fish_source(Complete complete, const char *words) {
        switch (complete) {
        case COMPLETE_NOTHING: (void) printf(" -f"); break;
        case COMPLETE_FILES: (void) printf(" -F"); break;
        case COMPLETE_WORDS:
                (void) printf(" -f -a '");
                print_words(words);
                (void) printf("'");
                break;
        default: (void) printf(" -f -a '(agentctl __complete %s (commandline -ct))'", kind_names[complete]);
        }
}

static void print_fish_options(const char *verb, const Option *options) {
        for (const Option *o = options; o && o->name; o++) {
                (void) printf("complete -c agentctl");
                if (verb)
                        (void) printf(" -n '__fish_seen_subcommand_from %s'", verb);
                if (o->letter)
                        (void) printf(" -s %c", o->letter);
                (void) printf(" -l %s", o->name);
                if (o->argument) {
                        (void) printf(" -r");
                        print_fish_source(o->complete, o->words);
                } else
                        (void) printf(" -f");
                (void) printf(" -d '%s'\n", o->help);
        }
}

static void print_fish(void) {
        (void) printf("# Completion of agentctl for fish, made by agentctl completion fish.\n"
                      "\n"
                      "complete -c agentctl -f\n");
        print_fish_options(NULL, global_options);
        for (size_t i = 0; i < n_verbs; i++) {
                const Verb *verb = &verbs[i];

                if (verb->hidden)
                        continue;
                (void) printf("\ncomplete -c agentctl -n __fish_use_subcommand -a %s -d '%s'\n", verb->name,
                        verb->help);
                if (verb->complete != COMPLETE_NOTHING) {
                        (void) printf(
                                "complete -c agentctl -n '__fish_seen_subcommand_from %s'", verb->name);
                        print_fish_source(verb->complete, verb->words);
                        (void) fputc('\n', stdout);
                }
                print_fish_options(verb->name, verb->options);
        }
}

int verb_completion(Invocation *invocation) {
        const char *shell = invocation->words[0];

        if (streq(shell, "bash"))
                print_bash();
        else if (streq(shell, "zsh"))
                print_zsh();
        else if (streq(shell, "fish"))
                print_fish();
        else
                return usage(
                        invocation->verb, "There is completion for bash, zsh and fish, not for '%s'", shell);
        return EXIT_FINE;
}
