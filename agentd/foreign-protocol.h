/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What foreign modules say, and what they are told. docs/foreign-modules.md is the contract. */

#include <stdio.h>

#include "arena.h"
#include "module.h"
#include "util.h"

#define FOREIGN_PROTOCOL 1

/* Bytes of the line with the declarations. */
#define FOREIGN_HELLO_MAX MIB(1)

typedef enum ForeignEncoding {
        FOREIGN_JSON,
        FOREIGN_SHELL,
        _FOREIGN_ENCODING_MAX,
} ForeignEncoding;

typedef enum ForeignRequest {
        FOREIGN_PREPARE,
        FOREIGN_CHECK,
        FOREIGN_APPLY,
        _FOREIGN_REQUEST_MAX,
} ForeignRequest;

/* What AgentdStateType has no room for. */
typedef struct ForeignType {
        bool prepare; /* it wants to see the states when the roles are loaded */
        bool root;    /* it respects --root */
} ForeignType;

typedef struct ForeignHello {
        AgentdModule info; /* not checked yet: what module_open() would find in a shared object */
        ForeignType *types;
        ForeignEncoding encoding;
} ForeignHello;

/*
 * foreign_read_hello() - declarations from the line that answers the handshake
 * @arena:  for all of them; 64 times the size of the line, or more
 * @reterr: allocated; what follows "it ": "answered …"
 *
 * Return: 0; -EBADMSG.
 */
int foreign_read_hello(Arena *arena, const char *line, size_t size, ForeignHello *ret, char **reterr);

/* True, and *reterr says why, if a list of parameters has one that the encoding cannot carry. */
bool foreign_cannot_carry(ForeignEncoding encoding, const AgentdParameter *parameters, char **reterr);

/* ---- Answers --------------------------------------------------------------------------------------------------- */

/* How a state ends. */
typedef enum ForeignVerdict {
        FOREIGN_DONE,
        FOREIGN_FAILED,
        FOREIGN_UNKNOWN,
} ForeignVerdict;

/* Who is told what an answer says. `i` is always the index of a state that has not ended. Texts are UTF-8. */
typedef struct ForeignSink {
        void (*log)(void *userdata, int level, const char *text);
        void (*finish)(void *userdata, size_t i, ForeignVerdict verdict, const char *error);
        /* In check and apply. */
        void (*difference)(void *userdata, size_t i, const char *attribute, const AgentdValue *is,
                const AgentdValue *should, bool text);
        void (*undo)(void *userdata, size_t i, const char *what, const AgentdValue *old);
        /* In prepare. parameter: NULL for the state as such. */
        void (*error)(void *userdata, size_t i, const char *parameter, const char *text);
        void (*watch)(
                void *userdata, size_t i, const char *kind, const char *what); /* "path", "unit", "bus" */
        void (*after)(void *userdata, size_t i, const char *id);
        void (*path_kind)(void *userdata, size_t i, AgentdPathKind kind);
} ForeignSink;

typedef struct ForeignAnswer {
        ForeignRequest request;
        ForeignEncoding encoding;
        const ForeignSink *sink;
        void *userdata;
        bool quiet;     /* errors must not quote what was said, as a state of the request is sensitive */
        size_t n;       /* states that were asked about */
        size_t n_ended; /* … and those that have ended */
        bool closed;    /* the answer is whole */
        bool *ended;
        /* Of the encoding for shells: what the lines so far have said of state n_ended. */
        struct {
                char kind; /* of what is being described: 'd'ifference, 't'ext, 'u'ndo, or 0 */
                bool differs;
                char *name, *is, *should;
                size_t is_size, should_size;
        } shell;
} ForeignAnswer;

int foreign_answer_init(ForeignAnswer *answer, ForeignRequest request, ForeignEncoding encoding, size_t n,
        const ForeignSink *sink, void *userdata);
void foreign_answer_done(ForeignAnswer *answer);

/*
 * foreign_answer_line() - takes one line of an answer
 * @line: NUL-terminated
 *
 * What is wrong with one state ends that state alone, as failed.
 * Return: 1 the answer is whole: states that have not ended were not spoken of; 0 more has to follow; -EBADMSG: the line
 *         is none of the protocol, *reterr is what follows "program 'PATH' "; -ENOMEM.
 */
int foreign_answer_line(ForeignAnswer *answer, const char *line, size_t size, char **reterr);

/* ---- Requests -------------------------------------------------------------------------------------------------- */

typedef struct ForeignCall {
        ForeignRequest request;
        ForeignEncoding encoding;
        const char *type;
        const char *root;
        unsigned flags; /* AGENTD_PLAN, AGENTD_DIFF */
} ForeignCall;

/* The first line that a program is sent, and with FOREIGN_SHELL the one after its answer. */
void foreign_write_hello(FILE *f, const char *root);
void foreign_write_begin(FILE *f);

/*
 * foreign_write_parameters() - the values of a state's parameters
 * @ret_bad: on failure, the index of the parameter
 *
 * Return: 0; -EINVAL, and *ret_why says in a few words what a program cannot be given.
 */
int foreign_write_parameters(FILE *f, ForeignEncoding encoding, const AgentdParameter *parameters,
        const AgentdValue *values, uint32_t *ret_bad, const char **ret_why);

/* A request is a head, its states, and a tail. Names and ids are UTF-8. */
void foreign_write_head(FILE *f, const ForeignCall *call);
void foreign_write_state(FILE *f, const ForeignCall *call, size_t i, const AgentdState *state,
        const char *parameters, size_t parameters_size);
void foreign_write_tail(FILE *f, const ForeignCall *call);
