/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Between the files that read what foreign modules say. */

#include <jansson.h>

#include "foreign-protocol.h"

/* Bytes of a line that an error shows. */
#define FOREIGN_EXCERPT_MAX 100

/* Sets *reterr, anew, to one line of UTF-8, whatever went in: words of jansson's quote what it could not read, and ours
 * cut what is long. Return: -EBADMSG. */
int foreign_wrong(char **reterr, const char *format, ...) _printf_(2, 3);

/* The beginning of a line, cut between characters. Return: the buffer. */
const char *foreign_excerpt(char buffer[static FOREIGN_EXCERPT_MAX + 8], const char *line, size_t size);

/* A member that is a string without NUL; NULL if it is something else. */
const char *foreign_get_string(const json_t *object, const char *key);

/* A line that is an object, as a new reference; or NULL and *reterr. quiet: the line must not be quoted. */
json_t *foreign_parse_line(const char *line, size_t size, bool quiet, char **reterr);

/* A state has ended: notes it and tells the sink. */
void foreign_end_state(ForeignAnswer *answer, size_t i, ForeignVerdict verdict, const char *error);

/* "directory", "leaf", "absent". Return: 0; -EBADMSG. */
int foreign_take_path_kind(ForeignAnswer *answer, size_t i, const char *word, char **reterr);

/* foreign-answer.c and foreign-shell.c: as foreign_answer_line(). */
int foreign_take_json_line(ForeignAnswer *answer, const char *line, size_t size, char **reterr);
int foreign_take_shell_line(ForeignAnswer *answer, const char *line, size_t size, char **reterr);

/* Frees what the lines so far have said of a state. */
void foreign_shell_clear(ForeignAnswer *answer);
