/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the verbs of agentctl share. main.c has the table of them; each is in a verb-NAME.c and gets an Invocation.
 */

#include <jansson.h>

#include "client.h"
#include "progress.h"
#include "result-text.h"
#include "util.h"

/* Source: DESIGN, "Exit status"; the same as of agentd --once. */
enum {
        EXIT_FINE = 0,
        EXIT_STATE_FAILED = 1, /* or a run did not go through */
        EXIT_INVALID = 2,      /* the command line or a role is wrong */
        EXIT_UNREACHABLE = 3,  /* agentd does not answer, or not as it should */
        EXIT_PENDING = 4,      /* plan --check: something would be changed */
};

/* What can be completed. Those up to COMPLETE_WORDS are asked of the daemon, by `agentctl __complete KIND`. */
typedef enum Complete {
        COMPLETE_NOTHING,
        COMPLETE_STATES,
        COMPLETE_RUNS,
        COMPLETE_DOCS,
        COMPLETE_FACTS,
        COMPLETE_ROLES,
        COMPLETE_TYPES,
        COMPLETE_TAGS,
        COMPLETE_TRIGGERS,
        COMPLETE_WORDS, /* of a list in the table */
        COMPLETE_FILES,
        _COMPLETE_MAX,
} Complete;

typedef struct Option {
        const char *name;     /* without dashes; NULL ends a list */
        const char *argument; /* "PATH"; NULL: none */
        const char *help;     /* one line */
        const char *words;    /* for COMPLETE_WORDS, with blanks between */
        Complete complete;
        char letter; /* 0: none */
        bool many;   /* may be given more than once, and each counts: option_next() */
} Option;

#define OPTIONS_MAX 12

typedef struct Invocation Invocation;

typedef struct Verb {
        const char *name;
        const char *arguments;                 /* "[STATE…]"; "" */
        const char *help;                      /* one line */
        const char *more;                      /* further text of its own --help; NULL */
        const char *words;                     /* for COMPLETE_WORDS */
        const Option *options;                 /* NULL: none */
        size_t min, max;                       /* words that follow */
        int (*handle)(Invocation *invocation); /* Return: exit status; what went wrong was told */
        Complete complete;                     /* what the words that follow are */
        bool hidden;
} Verb;

struct Invocation {
        const Verb *verb;
        const char **words; /* what follows the verb, n_words of them */
        size_t n_words;
        const char *values[OPTIONS_MAX]; /* of verb->options: NULL: not given; "" if it has no argument */
        const char **
                many; /* of options that may be given more than once: pairs of name and value, n_many of them */
        size_t n_many;
        bool json, quiet, pager;
        OutputStyle style;
        Progress progress;
        Client client;
};

extern const Verb verbs[];
extern const size_t n_verbs;
extern const Option global_options[];

const Verb *verb_find(const char *name);

/* The value of an option of the verb, which must have it; NULL: it was not given. */
const char *option_value(const Invocation *invocation, const char *name);

/* The values of one that may be given more than once, one by one: *position begins as 0. NULL: that is all. */
const char *option_next(const Invocation *invocation, const char *name, size_t *position);

/* Tells what is wrong with the command line. Return: EXIT_INVALID. */
int usage(const Verb *verb, const char *format, ...) _printf_(2, 3);

/* "12 states: 10 ok, 2 changed (34ms)", and what kept the run from going through; verb-runs.c. */
void print_run_summary(const json_t *run, const OutputStyle *style);

/* What agentd --doc has a text about; verb-agentd.c. Return: its exit status. */
int agentd_doc_names(void (*on_name)(void *userdata, const char *name, const char *what), void *userdata);

/* help.c */
void help_print(void);
void help_print_verb(const Verb *verb);

/* Verbs. */
int verb_status(Invocation *invocation);
int verb_states(Invocation *invocation);
int verb_show(Invocation *invocation);
int verb_explain(Invocation *invocation);
int verb_plan(Invocation *invocation);
int verb_apply(Invocation *invocation);
int verb_runs(Invocation *invocation);
int verb_run(Invocation *invocation);
int verb_watch(Invocation *invocation);
int verb_triggers(Invocation *invocation);
int verb_trigger(Invocation *invocation);
int verb_validate(Invocation *invocation);
int verb_content(Invocation *invocation);
int verb_eval(Invocation *invocation);
int verb_facts(Invocation *invocation);
int verb_reload(Invocation *invocation);
int verb_disable(Invocation *invocation);
int verb_enable(Invocation *invocation);
int verb_doc(Invocation *invocation);
int verb_schema(Invocation *invocation);
int verb_log_level(Invocation *invocation);
int verb_completion(Invocation *invocation);
int verb_complete(Invocation *invocation);
int verb_help(Invocation *invocation);
